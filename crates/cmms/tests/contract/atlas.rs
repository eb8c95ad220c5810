//! A double of Atlas CMMS, by hand: its API file is served by a running instance only.

use serde_json::{Value, json};
use trimloop_cmms::{Connector, Kind};

use super::server::{Answer, Request};
use super::world::{Book, Kept, Product};
use super::{time, token};

pub struct Atlas {
    book: Book,
}

pub fn double() -> Atlas {
    Atlas { book: Book::default() }
}

pub fn config(url: &str) -> Connector {
    let mut config = Connector::new(Kind::Atlas, url);
    config.secret = Some(token());
    config
}

fn said(status: u16, text: &str) -> Answer {
    Answer::json(status, &json!({"message": text, "success": false}))
}

fn shown(order: &Kept) -> Value {
    json!({
        "id": order.id, "title": order.title, "status": order.status,
        "createdAt": time(order.created), "updatedAt": time(order.updated),
        "primaryUser": {"id": 42}, "feedback": null,
    })
}

impl Atlas {
    fn search(&mut self, request: &Request, now: i64) -> Answer {
        let body = request.json();
        let filters = body["filterFields"].as_array().cloned().unwrap_or_default();
        let fits = |order: &&Kept| {
            filters.iter().all(|filter| {
                assert_eq!(filter["operation"], "cn", "the double knows no other operation");
                assert_eq!(filter["field"], "title");
                let wanted = filter["value"].as_str().unwrap().to_lowercase();
                order.title.to_lowercase().contains(&wanted)
            })
        };
        let all: Vec<Value> = self.book.listed(now).filter(fits).map(shown).collect();
        // Pages of two, whatever is asked for: an instance may bound them.
        let page = usize::try_from(body["pageNum"].as_u64().unwrap_or(0)).unwrap();
        let content: Vec<Value> = all.iter().skip(page * 2).take(2).cloned().collect();
        let last = (page + 1) * 2 >= all.len();
        Answer::json(200, &json!({"content": content, "last": last, "totalElements": all.len()}))
    }

    fn create(&mut self, request: &Request, now: i64) -> Answer {
        let body = request.json();
        let known = ["title", "description", "priority", "asset", "dueDate", "primaryUser", "team"];
        for name in body.as_object().into_iter().flatten().map(|(name, _)| name) {
            if !known.contains(&name.as_str()) {
                self.book.complain(format!("there is no {name}"));
            }
        }
        let priorities = ["NONE", "LOW", "MEDIUM", "HIGH"];
        if !priorities.iter().any(|known| body["priority"] == *known) {
            self.book.complain(format!("priority {}", body["priority"]));
        }
        let title = body["title"].as_str().unwrap_or_default();
        if title.is_empty() || !body["asset"]["id"].is_i64() {
            return said(422, "title: must not be blank");
        }
        let id = self.book.create(title, "OPEN", now);
        Answer::json(200, &shown(self.book.one(&id.to_string()).unwrap()))
    }
}

impl Product for Atlas {
    fn book(&mut self) -> &mut Book {
        &mut self.book
    }

    fn handle(&mut self, request: &Request, now: i64) -> Answer {
        if request.header("x-api-key") != Some("s3cret-token") {
            let given = request.header("x-api-key").unwrap_or_default();
            return said(401, &format!("the key {given} is not known"));
        }
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["work-orders"]) => self.create(request, now),
            ("POST", ["work-orders", "search"]) => self.search(request, now),
            ("GET", ["work-orders", id]) => match self.book.one(id) {
                Some(order) => Answer::json(200, &shown(order)),
                None => said(404, "Not found"),
            },
            ("POST", ["comments"]) => {
                let body = request.json();
                let id = body["workOrder"]["id"].to_string();
                let Some(order) = self.book.one_mut(&id) else { return said(404, "Not found") };
                order.comments.push(body["content"].as_str().unwrap_or_default().to_owned());
                Answer::json(200, &json!({"id": 1}))
            }
            ("POST", ["comments", "search", id]) => {
                let Some(order) = self.book.one(id) else { return said(404, "Not found") };
                let comment = |text: &String| json!({"id": 1, "content": text, "system": false});
                Answer::json(200, &json!(order.comments.iter().map(comment).collect::<Vec<_>>()))
            }
            _ => said(404, "no such path"),
        }
    }
}
