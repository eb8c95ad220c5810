//! A double of SAP's notifications: what its metadata say, with a memory and tokens.

use serde_json::{Value, json};
use trimloop_cmms::{Connector, Kind};

use super::schema::Edmx;
use super::server::{Answer, Request};
use super::world::{Book, Kept, Product};
use super::{seconds, token};

const SERVICE: &str = "/sap/opu/odata/sap/API_MAINTNOTIFICATION/";
const SET: &str = "MaintenanceNotification";

pub struct Sap {
    book: Book,
    schema: Option<Edmx>,
    /// The newest token; an older one is refused.
    tokens: u32,
}

pub fn double(test: &str) -> Sap {
    Sap { book: Book::default(), schema: Edmx::load(test), tokens: 0 }
}

pub fn config(url: &str) -> Connector {
    let url = format!("{url}{}", SERVICE.trim_end_matches('/'));
    let mut config = Connector::new(Kind::Sap, &url);
    config.user = Some("TRIMLOOP".into());
    config.secret = Some(token());
    for (key, value) in
        [("notification_type", "M1"), ("planning_plant", "1010"), ("work_center", "MECH")]
    {
        config.set.insert(key.into(), value.into());
    }
    config
}

fn said(status: u16, text: &str) -> Answer {
    let message = json!({"lang": "en", "value": text});
    Answer::json(status, &json!({"error": {"code": "IM/1", "message": message}}))
}

fn shown(order: &Kept) -> Value {
    let changed =
        (order.updated > order.created).then(|| format!("/Date({}+0000)/", order.updated * 1000));
    json!({
        "MaintenanceNotification": order.id.to_string(),
        "MaintNotifExtReferenceNumber": order.title,
        "NotifProcessingPhase": order.status,
        "NotifProcessingPhaseDesc": "as SAP calls it",
        "LastChangeDateTime": changed,
        "CreationDateTime": format!("/Date({}+0000)/", order.created * 1000),
        "PersonResponsible": "", "MaintenanceOrder": "", "MaintNotifRejectionReasonCode": "",
        "MaintNotificationLongText": order.comments.join("\n"),
    })
}

impl Sap {
    fn list(&mut self, request: &Request, now: i64) -> Answer {
        let filter = request.asks("$filter").unwrap_or_default().to_owned();
        let select = request.asks("$select").unwrap_or_default();
        if let Some(schema) = &self.schema {
            self.book.complaints.extend(schema.names(&filter, true));
            self.book.complaints.extend(schema.names(select, false));
        }
        if request.asks("$format") != Some("json") || request.asks("$orderby") != Some(SET) {
            // The check of an address asks for one entry only.
            if request.asks("$top") != Some("1") {
                self.book.complain(format!("{:?}", request.query));
            }
        }
        let fits = |order: &&Kept| {
            filter.split(" and ").filter(|part| !part.is_empty()).all(|part| {
                let value = part.split('\'').nth(1).unwrap_or_default();
                if part.starts_with("startswith(MaintNotifExtReferenceNumber,") {
                    order.title.starts_with(value)
                } else if part.starts_with("MaintNotifExtReferenceNumber eq ") {
                    order.title == value
                } else if part.starts_with("LastChangeDateTime ge datetimeoffset'") {
                    order.updated > order.created && order.updated >= seconds(value)
                } else {
                    panic!("the double does not know this filter: {part}")
                }
            })
        };
        let number = |name: &str, usual: usize| {
            request.asks(name).and_then(|text| text.parse().ok()).unwrap_or(usual)
        };
        let (top, skip) = (number("$top", 100), number("$skip", 0));
        let entries = self.book.listed(now).filter(fits).map(shown);
        let entries: Vec<Value> = entries.skip(skip).take(top).collect();
        Answer::json(200, &json!({"d": {"results": entries}}))
    }

    fn create(&mut self, request: &Request, now: i64) -> Answer {
        let body = request.json();
        if let Some(schema) = &self.schema {
            self.book.complaints.extend(schema.body(&body, true));
        }
        // By hand too, for where the metadata are not there.
        let longest = [
            ("NotificationText", 40),
            ("MaintNotifLongTextForEdit", 1333),
            ("MaintNotifExtReferenceNumber", 20),
            ("NotificationType", 2),
            ("MaintPriority", 1),
            ("TechnicalObject", 40),
            ("PersonResponsible", 12),
        ];
        for (name, max) in longest {
            let Some(text) = body[name].as_str() else {
                self.book.complain(format!("{name} is missing"));
                continue;
            };
            if text.encode_utf16().count() > max || text.is_empty() {
                return said(400, &format!("{name} has more than {max} characters"));
            }
        }
        let reference = body["MaintNotifExtReferenceNumber"].as_str().unwrap_or_default();
        if reference != reference.to_uppercase() {
            self.book.complain(format!("not in capitals: {reference}"));
        }
        let id = self.book.create(reference, "1", now);
        Answer::json(201, &json!({"d": shown(self.book.one(&id.to_string()).unwrap())}))
    }
}

impl Product for Sap {
    fn book(&mut self) -> &mut Book {
        &mut self.book
    }

    fn handle(&mut self, request: &Request, now: i64) -> Answer {
        // TRIMLOOP:s3cret-token
        if request.header("authorization") != Some("Basic VFJJTUxPT1A6czNjcmV0LXRva2Vu") {
            let given = request.header("authorization").unwrap_or_default();
            return said(401, &format!("logon failed for {given}"));
        }
        let Some(path) = request.path.strip_prefix(SERVICE) else {
            return said(404, "no service at this path");
        };
        if request.header("x-csrf-token") == Some("Fetch") {
            self.tokens += 1;
            let token = format!("csrf-{}", self.tokens);
            return Answer::json(200, &json!({"d": {"EntitySets": [SET]}}))
                .with("x-csrf-token", &token)
                .with("Set-Cookie", "SAP_SESSIONID=abc; path=/; HttpOnly")
                .with("Set-Cookie", "sap-usercontext=client=100; path=/");
        }
        if request.method != "GET" {
            let token = format!("csrf-{}", self.tokens);
            let cookie = request.header("cookie").unwrap_or_default();
            let is_known = request.header("x-csrf-token") == Some(token.as_str())
                && cookie == "SAP_SESSIONID=abc; sap-usercontext=client=100";
            if !is_known {
                return said(403, "CSRF token validation failed").with("x-csrf-token", "Required");
            }
        }
        let one = path.strip_prefix(SET).and_then(|rest| rest.strip_prefix("('"));
        let one = one.and_then(|rest| rest.strip_suffix("')"));
        match (request.method.as_str(), one) {
            ("POST", None) if path == SET => self.create(request, now),
            ("GET", None) if path == SET => self.list(request, now),
            ("GET", Some(id)) => match self.book.one(id) {
                Some(order) => Answer::json(200, &json!({"d": shown(order)})),
                None => said(404, "Resource not found"),
            },
            ("PATCH", Some(id)) => {
                let body = request.json();
                if let Some(schema) = &self.schema {
                    self.book.complaints.extend(schema.body(&body, false));
                }
                if request.header("if-match") != Some("*") {
                    return said(428, "Precondition required");
                }
                let Some(order) = self.book.one_mut(id) else {
                    return said(404, "Resource not found");
                };
                let text = body["MaintNotifLongTextForEdit"].as_str().unwrap_or_default();
                order.comments.push(text.to_owned());
                order.updated = now;
                Answer::Full(204, Vec::new(), String::new())
            }
            _ => said(404, "no such resource"),
        }
    }
}
