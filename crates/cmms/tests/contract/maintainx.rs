//! A double of `MaintainX`: what its OpenAPI file says, with a memory.

use serde_json::{Value, json};
use trimloop_cmms::{Connector, Kind};

use super::schema::OpenApi;
use super::server::{Answer, Request};
use super::world::{Book, Kept, Product};
use super::{time, token};

pub struct MaintainX {
    book: Book,
    schema: Option<OpenApi>,
}

pub fn double(test: &str) -> MaintainX {
    MaintainX { book: Book::default(), schema: OpenApi::load(test) }
}

pub fn config(url: &str) -> Connector {
    let mut config = Connector::new(Kind::MaintainX, &format!("{url}/v1"));
    config.secret = Some(token());
    config.set.insert("organization".into(), "7".into());
    config
}

fn shown(order: &Kept) -> Value {
    json!({
        "id": order.id, "sequentialId": 1, "title": order.title, "status": order.status,
        "updatedAt": time(order.updated), "createdAt": time(order.created),
        "creatorId": 1, "organizationId": 7, "assignees": [{"type": "USER", "id": 42}],
    })
}

impl MaintainX {
    fn list(&mut self, request: &Request, now: i64) -> Answer {
        if let Some(schema) = &self.schema {
            self.book.complaints.extend(schema.query("/workorders", &request.query));
        }
        let since = |name: &str| request.asks(name).map(super::seconds);
        let (created, updated) = (since("createdAt[gte]"), since("updatedAt[gte]"));
        let fits = |order: &&Kept| {
            created.is_none_or(|since| order.created >= since)
                && updated.is_none_or(|since| order.updated >= since)
        };
        let limit: usize = request.asks("limit").and_then(|text| text.parse().ok()).unwrap_or(100);
        if limit > 200 {
            self.book.complain(format!("limit {limit}"));
        }
        // Pages of two, so that there is more than one.
        let from: usize = request.asks("cursor").and_then(|text| text.parse().ok()).unwrap_or(0);
        let all: Vec<Value> = self.book.listed(now).filter(fits).map(shown).collect();
        let page: Vec<Value> = all.iter().skip(from).take(2).cloned().collect();
        let next = (from + 2 < all.len()).then(|| (from + 2).to_string());
        Answer::json(200, &json!({"workOrders": page, "nextCursor": next, "nextPageUrl": null}))
    }

    fn create(&mut self, request: &Request, now: i64) -> Answer {
        let body = request.json();
        if let Some(schema) = &self.schema {
            self.book.complaints.extend(schema.body("/workorders", &body));
        }
        let Some(title) = body["title"].as_str() else {
            let said = json!({"errors": [{"error": "should have required property 'title'"}]});
            return Answer::json(400, &said);
        };
        // Checked by hand too, for where the schema is not there.
        let priorities = ["NONE", "LOW", "MEDIUM", "HIGH"];
        if !priorities.iter().any(|known| body["priority"] == *known) {
            self.book.complain(format!("priority {}", body["priority"]));
        }
        for (name, is_right) in [
            ("assetId", body["assetId"].is_i64()),
            ("partsUsed", body.pointer("/partsUsed/0/partId").is_some_and(Value::is_i64)),
            ("assignees", body.pointer("/assignees/0/id").is_some()),
            ("dueDate", body["dueDate"].as_str().is_some_and(|text| text.ends_with('Z'))),
        ] {
            if !is_right {
                self.book.complain(format!("{name}: {}", body[name]));
            }
        }
        let id = self.book.create(title, "OPEN", now);
        Answer::json(200, &json!({"id": id}))
    }
}

impl Product for MaintainX {
    fn book(&mut self) -> &mut Book {
        &mut self.book
    }

    fn handle(&mut self, request: &Request, now: i64) -> Answer {
        if request.header("authorization") != Some("Bearer s3cret-token") {
            let given = request.header("authorization").unwrap_or_default();
            return Answer::json(401, &json!({"error": format!("token {given} is not known")}));
        }
        if request.header("x-organization-id") != Some("7") {
            return Answer::json(400, &json!({"errors": [{"error": "Missing x-organization-id"}]}));
        }
        let Some(path) = request.path.strip_prefix("/v1/") else {
            return Answer::json(404, &json!({"error": "no such path"}));
        };
        let parts: Vec<&str> = path.split('/').collect();
        let gone = Answer::json(404, &json!({"error": "Not Found."}));
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["workorders"]) => self.create(request, now),
            ("GET", ["workorders"]) => self.list(request, now),
            ("GET", ["workorders", id]) => match self.book.one(id) {
                Some(order) => Answer::json(200, &json!({"workOrder": shown(order)})),
                None => gone,
            },
            ("POST", ["workorders", id, "comments"]) => {
                let body = request.json();
                if let Some(schema) = &self.schema {
                    let wrong = schema.body("/workorders/{id}/comments", &body);
                    self.book.complaints.extend(wrong);
                }
                let Some(order) = self.book.one_mut(id) else { return gone };
                order.comments.push(body["content"].as_str().unwrap_or_default().to_owned());
                Answer::json(201, &json!({"id": order.comments.len()}))
            }
            ("GET", ["workorders", id, "comments"]) => {
                let Some(order) = self.book.one(id) else { return gone };
                let comment = |text: &String| json!({"id": 1, "authorId": 1, "content": text, "createdAt": time(now)});
                let comments: Vec<Value> = order.comments.iter().map(comment).collect();
                Answer::json(200, &json!({"comments": comments, "nextCursor": null}))
            }
            ("POST", ["meterreadings"]) => {
                let body = request.json();
                if let Some(schema) = &self.schema {
                    self.book.complaints.extend(schema.items("/meterreadings", &body));
                }
                let one = &body[0];
                let (Some(88), Some(value)) = (one["meterId"].as_i64(), one["value"].as_f64())
                else {
                    return Answer::json(404, &json!({"error": "meter Not Found"}));
                };
                let at = one["readingDate"].as_str().map_or(now, super::seconds);
                // "cannot be further than 3 days"
                if now - at > 3 * 86_400 {
                    return Answer::json(400, &json!({"errors": [{"error": "readingDate"}]}));
                }
                self.book.readings.push(("88".to_owned(), value, at));
                Answer::json(201, &json!([{"meterId": 88, "value": value, "createdAt": time(now)}]))
            }
            _ => Answer::json(404, &json!({"error": "no such path"})),
        }
    }
}
