//! Atlas CMMS (Grashjs), self-hosted or in the cloud.
//!
//! - Written from its source, never run against the product: its `OpenAPI` file is served by a running
//!   instance only.
//! - An order has no field for an outside reference (`customId` is read-only): our key stands at the
//!   end of the title, and the title is searched.
//! - There is no cancelled state: an order is deleted instead, which reads as lost.
//! - API keys need a paid entitlement there; without it the answer is 403.

use serde::Serialize;
use serde_json::{Value, json};
use trimloop_core::time::Utc;
use trimloop_work::desk::OrderState;
use trimloop_work::key::ExtKey;
use ureq::http::Method;

use crate::http::{Ask, Http, Login, Site};
use crate::rest::oldest_first;
use crate::text::{key_in, marked, shorten, titled};
use crate::when::{self, CLOCKS, Clock};
use crate::{CloseCodes, ConfigError, Connector, Draft, Remote, Trouble, WorkSystem};

const PER_MINUTE: u32 = 60;
const TITLE_MAX: usize = 200;
const TEXT_MAX: usize = 10_000;
const PAGE: usize = 100;
const PAGES_MAX: usize = 50;

/// Another thing by its number.
#[derive(Serialize)]
struct Id {
    id: i64,
}

/// Body of `POST work-orders`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    title: String,
    description: String,
    priority: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_user: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<Id>,
}

pub(crate) struct Atlas {
    http: Http,
}

impl Atlas {
    pub(crate) fn new(config: &Connector, clock: Clock) -> Result<Self, ConfigError> {
        config.allows(&["login"])?;
        let secret = config.wants_secret("the API key of Atlas")?;
        let (header, word) = match config.set.get("login").map(String::as_str) {
            None | Some("api_key") => ("x-api-key", ""),
            Some("token") => ("Authorization", "Bearer"),
            Some(other) => {
                let why = format!("\"{other}\" is not known; use \"api_key\" or \"token\"");
                return Err(ConfigError::setting("set.login", why));
            }
        };
        let site = Site {
            product: "Atlas CMMS".to_owned(),
            url: config.url.clone(),
            ca_file: config.ca_file.clone(),
            login: Login::Token {
                header: header.to_owned(),
                word: word.to_owned(),
                user: None,
                secret,
            },
            per_minute: config.requests_per_minute.unwrap_or(PER_MINUTE),
            limits: config.limits,
        };
        Ok(Self { http: Http::new(site, clock).map_err(ConfigError::Ca)? })
    }

    fn search(&mut self, filters: &Value) -> Result<Vec<Remote>, Trouble> {
        let mut all = Vec::new();
        for page in 0..PAGES_MAX {
            let body = json!({
                "filterFields": filters,
                "pageNum": page,
                "pageSize": PAGE,
                "sortField": "id",
                "direction": "ASC",
            });
            let reply = self.http.ask(&Ask::json(Method::POST, "work-orders/search", &body))?;
            let json = reply.json()?;
            let entries = json.get("content").and_then(Value::as_array);
            let entries = entries.ok_or_else(|| reply.nonsense("it has no content"))?;
            for entry in entries {
                let lacks = || reply.nonsense("an order lacks id, status or time");
                all.push(remote(entry).ok_or_else(lacks)?);
            }
            let is_last = json.get("last").and_then(Value::as_bool);
            if is_last.unwrap_or(entries.len() < PAGE) || entries.is_empty() {
                return Ok(all);
            }
        }
        Err(Trouble::Unknown(format!("Atlas CMMS: the list has more than {PAGES_MAX} pages")))
    }
}

fn contains(text: &str) -> Value {
    json!({"field": "title", "operation": "cn", "value": text})
}

fn number(what: &str, text: &str) -> Result<Id, Trouble> {
    text.trim().parse().map(|id| Id { id }).map_err(|_| {
        Trouble::Refused(format!("Atlas CMMS: {what} must be a number there, not \"{text}\""))
    })
}

fn new_order(draft: &Draft) -> Result<NewOrder, Trouble> {
    let key = draft.key.to_string();
    let text = shorten(&draft.body, TEXT_MAX - key.len() - 2);
    // "team:12", or the number of a user.
    let (user, team) = match draft.assignee.as_deref() {
        None => (None, None),
        Some(text) => match text.strip_prefix("team:") {
            Some(team) => (None, Some(number("the team", team)?)),
            None => (Some(number("the person", text)?), None),
        },
    };
    Ok(NewOrder {
        title: titled(&draft.title, draft.key, TITLE_MAX),
        description: format!("{text}\n\n{key}"),
        priority: match draft.priority {
            0..=2 => "HIGH",
            3 => "MEDIUM",
            _ => "LOW",
        },
        asset: draft.asset_ref.as_deref().map(|id| number("the asset", id)).transpose()?,
        due_date: draft.due.map(when::rfc3339),
        primary_user: user,
        team,
    })
}

fn remote(entry: &Value) -> Option<Remote> {
    let word = entry.get("status")?.as_str()?;
    let known = match word {
        "OPEN" => Some(OrderState::Open),
        "IN_PROGRESS" => Some(OrderState::InProgress),
        "ON_HOLD" => Some(OrderState::OnHold),
        "COMPLETE" => Some(OrderState::Done),
        _ => None,
    };
    let remedy = entry.get("feedback").and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(Remote {
        id: entry.get("id")?.as_i64()?.to_string(),
        key: entry.get("title").and_then(Value::as_str).and_then(key_in),
        state: known.unwrap_or(OrderState::Open),
        word: word.to_owned(),
        is_word_unknown: known.is_none(),
        updated: when::parse(entry.get("updatedAt")?)?,
        assignee: entry.pointer("/primaryUser/id").map(Value::to_string),
        close: CloseCodes { remedy: remedy.map(str::to_owned), ..CloseCodes::default() },
    })
}

impl WorkSystem for Atlas {
    fn name(&self) -> &'static str {
        "atlas"
    }

    fn can_search(&self) -> bool {
        true
    }

    fn create(&mut self, order: &Draft, _idempotency: &str) -> Result<String, Trouble> {
        let ask = Ask::json(Method::POST, "work-orders", &json!(new_order(order)?));
        let reply = self.http.ask(&ask)?;
        let id = reply.json()?.get("id").and_then(Value::as_i64);
        id.map(|id| id.to_string()).ok_or_else(|| reply.nonsense("it has no id"))
    }

    fn comment(&mut self, id: &str, text: &str, marker: &str) -> Result<(), Trouble> {
        let order = number("an order", id)?;
        let body = json!({"content": marked(text, marker, TEXT_MAX), "workOrder": order});
        self.http.change(&Ask::json(Method::POST, "comments", &body)).map(drop)
    }

    fn has_comment(&mut self, id: &str, marker: &str) -> Result<bool, Trouble> {
        let ask = Ask::json(Method::POST, format!("comments/search/{id}"), &json!({}));
        let Some(reply) = self.http.ask_one(&ask)? else { return Ok(false) };
        let json = reply.json()?;
        let comments = json.as_array().ok_or_else(|| reply.nonsense("it is no list"))?;
        let text = |comment: &Value| comment.get("content")?.as_str().map(|t| t.contains(marker));
        Ok(comments.iter().any(|comment| text(comment) == Some(true)))
    }

    fn find(&mut self, key: ExtKey, _since: Utc) -> Result<Vec<Remote>, Trouble> {
        let mut found = self.search(&json!([contains(&key.fingerprint.to_string())]))?;
        found.retain(|remote| remote.key == Some(key));
        found.sort_by_cached_key(oldest_first);
        Ok(found)
    }

    fn changed(&mut self, since: Utc) -> Result<Vec<Remote>, Trouble> {
        // Its filter compares times as texts of JavaScript only, so all of ours are read and the
        // old ones left out here.
        let mut found = self.search(&json!([contains("[TLW-")]))?;
        found.retain(|remote| remote.key.is_some() && remote.updated >= since - CLOCKS);
        Ok(found)
    }

    fn read(&mut self, id: &str) -> Result<Option<Remote>, Trouble> {
        let Some(reply) = self.http.ask_one(&Ask::get(format!("work-orders/{id}")))? else {
            return Ok(None);
        };
        let order = remote(&reply.json()?);
        order.map(Some).ok_or_else(|| reply.nonsense("it has no id, status or time"))
    }

    fn check(&mut self) -> Result<String, Trouble> {
        let body = json!({"filterFields": [], "pageNum": 0, "pageSize": 1});
        self.http.ask(&Ask::json(Method::POST, "work-orders/search", &body))?.json()?;
        Ok("Atlas CMMS shows its work orders; this adapter was never run against the product"
            .into())
    }
}
