//! A product of no vendor, for the generic adapter: its preset, and logins of each kind.

use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use trimloop_cmms::{Connector, Kind};

use super::server::{Answer, Request};
use super::world::{Book, Kept, Product};
use super::{folder, seconds, time, token};

/// The preset without its login.
pub const PRESET: &str = r#"
name = "plain"
product = "Plain"
title_max = 60
body_max = 500

[create]
path = "orders"
body = '''
{
  "name": {{ order.titled | tojson }}, "text": {{ order.text | tojson }},
  {%- if order.asset_ref %}
  "machine": {{ order.asset_ref }},
  {%- endif %}
  "queue": {{ set.queue | tojson }},
  "urgency": "{{ ["now", "soon", "later", "some day"][order.priority - 1] }}",
  "parts": [{% for part in order.parts %}{{ part.reference }}{% if not loop.last %},{% endif %}{% endfor %}]
}'''
id = "/made/number"

[find]
path = "orders?with={{ fingerprint }}&size={{ page_size }}&from={{ offset }}"
list = "/orders"
page_size = 2

[changed]
path = "orders?with=TLW-&after={{ since | urlencode }}&size={{ page_size }}&from={{ offset }}"
list = "/orders"
page_size = 2

[read]
path = "orders/{{ id }}"

[comment]
path = "orders/{{ id }}/notes"
body = '{"note": {{ text | tojson }}}'

[comments]
path = "orders/{{ id }}/notes"
list = ""
text = "/note"

[reading]
path = "meters/{{ meter }}/readings"
body = '{"what": {{ name | tojson }}, "reads": {{ value }}, "at": {{ time | tojson }}}'

[check]
path = "orders?size=1&from=0"

[order]
id = "/number"
key = "/name"
status = "/is"
updated = "/changed"
hold = "/waits"
assignee = "/by"
cause = "/why"

[status]
open = ["open"]
in_progress = ["running"]
done = ["finished"]
cancelled = ["dropped"]
rejected = ["refused"]
"#;

/// What a request must carry.
pub type Check = fn(&Request) -> bool;

pub struct Plain {
    book: Book,
    is_known: Check,
    /// Tokens given out.
    pub tokens: u32,
}

pub fn double(is_known: Check) -> Plain {
    Plain { book: Book::default(), is_known, tokens: 0 }
}

pub fn basic(request: &Request) -> bool {
    let pair = BASE64.encode("trimloop:s3cret-token");
    request.header("authorization") == Some(format!("Basic {pair}").as_str())
}

/// With the preset and this login, in a file of its own.
pub fn config(url: &str, name: &str, login: &str) -> Connector {
    // Tests run side by side, in one process or in many.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = folder().join(format!("{name}-{}-{number}.toml", std::process::id()));
    std::fs::write(&file, format!("{PRESET}\n[login]\n{login}\n")).unwrap();
    let mut config = Connector::new(Kind::Rest, url);
    config.preset = Some(file);
    config.user = Some("trimloop".into());
    config.secret = Some(token());
    config.set.insert("queue".into(), "presses".into());
    config
}

fn shown(order: &Kept) -> Value {
    json!({
        "number": order.id, "name": order.title, "is": order.status,
        "changed": time(order.updated), "waits": false, "by": "42", "why": null,
    })
}

impl Product for Plain {
    fn book(&mut self) -> &mut Book {
        &mut self.book
    }

    fn handle(&mut self, request: &Request, now: i64) -> Answer {
        if request.path == "/token" {
            let pair = BASE64.encode("trimloop:s3cret%2Dtoken");
            let is_ours = request.header("authorization") == Some(format!("Basic {pair}").as_str())
                && request.body == "grant_type=client_credentials&scope=orders%2Ewrite";
            if !is_ours {
                return Answer::json(401, &json!({"error": "invalid_client"}));
            }
            self.tokens += 1;
            let token = format!("token-{}", self.tokens);
            return Answer::json(200, &json!({"access_token": token, "expires_in": 3600}));
        }
        if !(self.is_known)(request) {
            let given = request.header("authorization").unwrap_or_default();
            return Answer::json(401, &json!({"message": format!("nobody knows {given}")}));
        }
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        let gone = Answer::json(404, &json!({"message": "gone"}));
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["orders"]) => {
                let body = request.json();
                let title = body["name"].as_str().unwrap_or_default();
                let text = body["text"].as_str().unwrap_or_default();
                let right = body["urgency"] == "soon"
                    && body["queue"] == "presses"
                    && body["machine"] == 4711
                    && body["parts"] == json!([88])
                    && text.chars().count() <= 500
                    && request.header("idempotency-key").is_some_and(|key| key.starts_with("TLW-"));
                if !right {
                    self.book.complain(body.to_string());
                }
                if title.chars().count() > 60 {
                    return Answer::json(400, &json!({"message": "name is too long"}));
                }
                let id = self.book.create(title, "open", now);
                Answer::json(201, &json!({"made": {"number": id}}))
            }
            ("GET", ["orders"]) => {
                let wanted = request.asks("with").unwrap_or_default();
                let after = request.asks("after").map_or(0, seconds);
                let number =
                    |name: &str| request.asks(name).and_then(|t| t.parse().ok()).unwrap_or(0);
                let fits = |order: &&Kept| order.title.contains(wanted) && order.updated >= after;
                let orders = self.book.listed(now).filter(fits).map(shown);
                let page: Vec<Value> = orders.skip(number("from")).take(number("size")).collect();
                Answer::json(200, &json!({"orders": page}))
            }
            ("GET", ["orders", id]) => {
                self.book.one(id).map_or(gone, |order| Answer::json(200, &shown(order)))
            }
            ("POST", ["orders", id, "notes"]) => {
                let note = request.json()["note"].as_str().unwrap_or_default().to_owned();
                let Some(order) = self.book.one_mut(id) else { return gone };
                order.comments.push(note);
                order.updated = now;
                Answer::json(201, &json!({}))
            }
            ("GET", ["orders", id, "notes"]) => {
                let Some(order) = self.book.one(id) else { return gone };
                let note = |text: &String| json!({"note": text});
                Answer::json(200, &json!(order.comments.iter().map(note).collect::<Vec<_>>()))
            }
            ("POST", ["meters", "88", "readings"]) => {
                let body = request.json();
                if body["what"] != "cycles" {
                    self.book.complain(body.to_string());
                }
                let (value, at) = (body["reads"].as_f64().unwrap(), &body["at"]);
                let at = seconds(at.as_str().unwrap_or_default());
                self.book.readings.push(("88".to_owned(), value, at));
                Answer::json(201, &json!({}))
            }
            ("POST", ["meters", ..]) => gone,
            _ => Answer::json(404, &json!({"message": "no such path"})),
        }
    }
}
