//! A double of Maximo, by hand: there is no schema of it that could be had.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trimloop_cmms::{Connector, Kind};

use super::server::{Answer, Request};
use super::world::{Book, Kept, Product};
use super::{seconds, time, token};

const STRUCTURE: &str = "/maximo/api/os/mxapisr";

pub struct Maximo {
    book: Book,
    /// Transactions that were taken.
    taken: BTreeSet<String>,
}

pub fn double() -> Maximo {
    Maximo { book: Book::default(), taken: BTreeSet::new() }
}

pub fn config(url: &str) -> Connector {
    let mut config = Connector::new(Kind::Maximo, &format!("{url}/maximo"));
    config.secret = Some(token());
    config.set.insert("site".into(), "BEDFORD".into());
    config
}

fn said(status: u16, text: &str) -> Answer {
    let error = json!({"message": text, "reasonCode": "BMXAA0001E", "statusCode": status});
    Answer::json(status, &json!({"Error": error}))
}

/// Whether an order fits one part of a condition.
fn fits(order: &Kept, part: &str) -> bool {
    let value = part.split('"').nth(1).unwrap_or_default();
    if part.starts_with("description=\"%") {
        order.title.contains(value.trim_matches('%'))
    } else if part.starts_with("ticketid=\"") {
        order.id.to_string() == value
    } else if part.starts_with("changedate>=\"") {
        order.updated >= seconds(value)
    } else {
        panic!("the double does not know this condition: {part}")
    }
}

impl Maximo {
    fn list(&mut self, request: &Request, now: i64) -> Answer {
        let condition = request.asks("oslc.where").unwrap_or_default().to_owned();
        let parts: Vec<&str> = condition.split(" and ").filter(|part| !part.is_empty()).collect();
        let by_number = condition.starts_with("ticketid=");
        // The search may lag; a look at one number does not.
        let orders: Vec<Kept> = if by_number {
            self.book.orders.clone()
        } else {
            self.book.listed(now).cloned().collect()
        };
        let host = request.header("host").unwrap_or_default();
        let shown = |order: &Kept| {
            let logs: Vec<Value> =
                order.comments.iter().map(|text| json!({"description": text})).collect();
            json!({
                "ticketid": order.id.to_string(), "description": order.title,
                "status": order.status, "changedate": time(order.updated),
                "href": format!("http://{host}{STRUCTURE}/_{}", order.id), "worklog": logs,
            })
        };
        let all: Vec<Value> = orders
            .iter()
            .filter(|order| parts.iter().all(|part| fits(order, part)))
            .map(shown)
            .collect();
        // Pages of two, so that there is more than one; the next one at a whole address.
        let from: usize = request.asks("from").and_then(|text| text.parse().ok()).unwrap_or(0);
        let page: Vec<Value> = all.iter().skip(from).take(2).cloned().collect();
        let mut answer = json!({"member": page, "responseInfo": {}});
        if from + 2 < all.len() {
            let encoded: String = condition.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let next =
                format!("http://{host}{STRUCTURE}?lean=1&from={}&oslc.where={encoded}", from + 2);
            answer["responseInfo"] = json!({"nextPage": {"href": next}});
        }
        Answer::json(200, &answer)
    }

    fn create(&mut self, request: &Request, now: i64) -> Answer {
        let body = request.json();
        let transaction = request.header("transactionid").unwrap_or_default().to_owned();
        if transaction.is_empty() {
            self.book.complain("no transactionid");
        }
        if self.taken.contains(&transaction) {
            return said(409, "BMXAA9548E - the transaction was processed");
        }
        let known = [
            "description",
            "description_longdescription",
            "reportedpriority",
            "siteid",
            "assetnum",
            "targetfinish",
            "owner",
        ];
        for name in body.as_object().into_iter().flatten().map(|(name, _)| name) {
            if !known.contains(&name.as_str()) {
                self.book.complain(format!("there is no {name}"));
            }
        }
        let title = body["description"].as_str().unwrap_or_default().to_owned();
        if title.is_empty() || title.chars().count() > 100 || body["siteid"] != "BEDFORD" {
            return said(400, "BMXAA4049E - the value of DESCRIPTION exceeds its length");
        }
        if !body["reportedpriority"].is_u64() {
            self.book.complain(format!("reportedpriority {}", body["reportedpriority"]));
        }
        self.taken.insert(transaction);
        let id = self.book.create(&title, "NEW", now);
        let answer = json!({"ticketid": id.to_string()});
        let asked = request.header("properties") == Some("ticketid");
        if asked { Answer::json(201, &answer) } else { Answer::Full(201, vec![], String::new()) }
    }
}

impl Product for Maximo {
    fn book(&mut self) -> &mut Book {
        &mut self.book
    }

    fn handle(&mut self, request: &Request, now: i64) -> Answer {
        if request.header("apikey") != Some("s3cret-token") {
            let given = request.header("apikey").unwrap_or_default();
            return said(401, &format!("BMXAA7901E - the key {given} is not known"));
        }
        if request.asks("lean") != Some("1") {
            self.book.complain(format!("without lean: {:?}", request.query));
        }
        let one = request.path.strip_prefix(STRUCTURE).and_then(|rest| rest.strip_prefix("/_"));
        match (request.method.as_str(), one) {
            ("POST", None) if request.path == STRUCTURE => self.create(request, now),
            ("GET", None) if request.path == STRUCTURE => self.list(request, now),
            ("POST", Some(id)) => {
                let merges = request.header("x-method-override") == Some("PATCH")
                    && request.header("patchtype") == Some("MERGE");
                if !merges {
                    self.book.complain("a change would replace what is there");
                }
                let log = request.json()["worklog"][0]["description"].clone();
                let text = log.as_str().unwrap_or_default().to_owned();
                if text.is_empty() || text.chars().count() > 100 {
                    return said(400, "BMXAA4049E - the value of DESCRIPTION exceeds its length");
                }
                let Some(order) = self.book.one_mut(id) else { return said(404, "not found") };
                order.comments.push(text);
                order.updated = now;
                Answer::Full(204, Vec::new(), String::new())
            }
            ("POST", None) if request.path.ends_with("/api/os/mxmeterdata") => {
                let body = request.json();
                let is_there = body["assetnum"] == "P4" && body["metername"] == "CYCLES";
                if !is_there || body["siteid"] != "BEDFORD" {
                    return said(404, "BMXAA4121E - the meter is not there");
                }
                let value = body["newreading"].as_str().and_then(|text| text.parse().ok());
                let at = body["newreadingdate"].as_str().map(super::seconds);
                let (Some(value), Some(at)) = (value, at) else {
                    return said(400, "BMXAA4049E - NEWREADING");
                };
                self.book.readings.push(("CYCLES".to_owned(), value, at));
                Answer::Full(201, Vec::new(), String::new())
            }
            _ => said(404, "BMXAA8313E - no such resource"),
        }
    }
}
