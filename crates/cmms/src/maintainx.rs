//! `MaintainX`, REST API v1.
//!
//! - Creating is not de-duplicated there, and `externalData` cannot be searched: our key stands at
//!   the end of the title. How its filter `title` compares is not documented, so orders made since
//!   the loss are looked through instead.
//! - The list leaves out orders that a planner has moved into the future, unless it is asked for
//!   them.
//! - Comments do not move `updatedAt`.

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
use crate::{CloseCodes, ConfigError, Connector, Draft, Reading, Remote, Trouble, WorkSystem};

/// Documented: 100 requests in 60 s for a user; others may use the same one.
const PER_MINUTE: u32 = 80;
/// No length is documented.
const TITLE_MAX: usize = 200;
const TEXT_MAX: usize = 10_000;
const PAGE: usize = 200;
const PAGES_MAX: usize = 50;

/// Body of `POST workorders`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewOrder {
    title: String,
    description: String,
    priority: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    external_data: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_date: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assignees: Vec<Assignee>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts_used: Vec<PartUsed>,
}

#[derive(Serialize)]
struct Assignee {
    #[serde(rename = "type")]
    kind: &'static str,
    id: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartUsed {
    part_id: i64,
    quantity_used: u32,
}

pub(crate) struct MaintainX {
    http: Http,
    organization: Option<String>,
}

impl MaintainX {
    pub(crate) fn new(config: &Connector, clock: Clock) -> Result<Self, ConfigError> {
        config.allows(&["organization"])?;
        let organization = config.set.get("organization").cloned();
        if organization.as_ref().is_some_and(|id| id.parse::<i64>().is_err()) {
            return Err(ConfigError::setting("set.organization", "must be its number"));
        }
        let site = Site {
            product: "MaintainX".to_owned(),
            url: config.url.clone(),
            ca_file: config.ca_file.clone(),
            login: Login::Token {
                header: "Authorization".to_owned(),
                word: "Bearer".to_owned(),
                user: None,
                secret: config.wants_secret("the API key of MaintainX")?,
            },
            per_minute: config.requests_per_minute.unwrap_or(PER_MINUTE),
            limits: config.limits,
        };
        Ok(Self { http: Http::new(site, clock).map_err(ConfigError::Ca)?, organization })
    }

    fn with_organization(&self, ask: Ask) -> Ask {
        match &self.organization {
            Some(id) => ask.header("x-organization-id", id.clone()),
            None => ask,
        }
    }

    /// All entries of a list, over its pages; none where what they belong to is gone.
    fn list(&mut self, path: &str, query: &str, name: &str) -> Result<Vec<Value>, Trouble> {
        let mut all = Vec::new();
        let mut cursor: Option<String> = None;
        for _page in 0..PAGES_MAX {
            let from = cursor.as_ref().map_or_else(String::new, |cursor| {
                let encoded = percent_encoding::utf8_percent_encode(
                    cursor,
                    percent_encoding::NON_ALPHANUMERIC,
                );
                format!("&cursor={encoded}")
            });
            let ask = Ask::get(format!("{path}?limit={PAGE}{query}{from}"));
            let ask = self.with_organization(ask);
            let reply = if path == "workorders" {
                self.http.ask(&ask)?
            } else {
                let Some(reply) = self.http.ask_one(&ask)? else { return Ok(Vec::new()) };
                reply
            };
            let json = reply.json()?;
            let entries = json.get(name).and_then(Value::as_array);
            let entries = entries.ok_or_else(|| reply.nonsense(&format!("it has no {name}")))?;
            all.extend(entries.iter().cloned());
            cursor = json.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.as_ref().is_none_or(String::is_empty) || entries.is_empty() {
                return Ok(all);
            }
        }
        Err(Trouble::Unknown(format!("MaintainX: the list has more than {PAGES_MAX} pages")))
    }

    fn orders(&mut self, field: &str, since: Utc) -> Result<Vec<Remote>, Trouble> {
        let since = when::rfc3339(since - CLOCKS);
        let since = since.replace(':', "%3A");
        let query = format!("&show_upcoming=true&{field}%5Bgte%5D={since}&expand=assignees");
        let orders = self.list("workorders", &query, "workOrders")?;
        let lacks = || Trouble::Unknown("MaintainX: an order lacks id, status or time".to_owned());
        orders.iter().map(|order| remote(order).ok_or_else(lacks)).collect()
    }
}

fn new_order(draft: &Draft) -> Result<NewOrder, Trouble> {
    let number = |what: &str, text: &str| {
        text.trim().parse::<i64>().map_err(|_| {
            Trouble::Refused(format!("MaintainX: {what} must be a number there, not \"{text}\""))
        })
    };
    let key = draft.key.to_string();
    let text = shorten(&draft.body, TEXT_MAX - key.len() - 2);
    let part = |part: &crate::Part| {
        let part_id = number("a part's reference", &part.reference)?;
        Ok(PartUsed { part_id, quantity_used: part.quantity })
    };
    // "team:12", "12", or an e-mail address.
    let assignee = |text: &String| {
        let (kind, id) = match text.split_once(':') {
            Some(("team", id)) => ("TEAM", id),
            Some(("user", id)) => ("USER", id),
            _ => ("USER", text.as_str()),
        };
        Assignee { kind, id: id.parse::<i64>().map_or_else(|_| json!(id), |id| json!(id)) }
    };
    Ok(NewOrder {
        title: titled(&draft.title, draft.key, TITLE_MAX),
        description: format!("{text}\n\n{key}"),
        priority: match draft.priority {
            0..=2 => "HIGH",
            3 => "MEDIUM",
            _ => "LOW",
        },
        kind: "REACTIVE",
        external_data: json!({"trimloop": key}),
        asset_id: draft.asset_ref.as_deref().map(|id| number("the asset", id)).transpose()?,
        due_date: draft.due.map(when::rfc3339),
        assignees: draft.assignee.iter().map(assignee).collect(),
        parts_used: draft.parts.iter().map(part).collect::<Result<_, Trouble>>()?,
    })
}

fn remote(order: &Value) -> Option<Remote> {
    let word = order.get("status")?.as_str()?;
    let known = match word {
        "OPEN" => Some(OrderState::Open),
        "IN_PROGRESS" => Some(OrderState::InProgress),
        "ON_HOLD" => Some(OrderState::OnHold),
        "DONE" => Some(OrderState::Done),
        "CANCELED" | "SKIPPED" => Some(OrderState::Cancelled),
        _ => None,
    };
    let deleted = order.get("deletedAt").is_some_and(|at| !at.is_null());
    let state = if deleted { OrderState::Lost } else { known.unwrap_or(OrderState::Open) };
    let assignee = order.pointer("/assignees/0/id");
    Some(Remote {
        id: order.get("id")?.as_i64()?.to_string(),
        key: order.get("title").and_then(Value::as_str).and_then(key_in),
        state,
        word: word.to_owned(),
        is_word_unknown: known.is_none(),
        updated: when::parse(order.get("updatedAt")?)?,
        assignee: assignee.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)),
        close: CloseCodes::default(),
    })
}

fn meter_number(text: &str) -> Result<i64, Trouble> {
    text.trim().parse().map_err(|_| {
        Trouble::Refused(format!("MaintainX: a meter must be a number there, not \"{text}\""))
    })
}

impl WorkSystem for MaintainX {
    fn name(&self) -> &'static str {
        "maintainx"
    }

    fn can_search(&self) -> bool {
        true
    }

    fn create(&mut self, order: &Draft, _idempotency: &str) -> Result<String, Trouble> {
        let body = json!(new_order(order)?);
        let ask = self.with_organization(Ask::json(Method::POST, "workorders", &body));
        let reply = self.http.ask(&ask)?;
        let id = reply.json()?.get("id").and_then(Value::as_i64);
        id.map(|id| id.to_string()).ok_or_else(|| reply.nonsense("it has no id"))
    }

    fn comment(&mut self, id: &str, text: &str, marker: &str) -> Result<(), Trouble> {
        let body = json!({"content": marked(text, marker, TEXT_MAX)});
        let ask = Ask::json(Method::POST, format!("workorders/{id}/comments"), &body);
        self.http.change(&self.with_organization(ask)).map(drop)
    }

    fn has_comment(&mut self, id: &str, marker: &str) -> Result<bool, Trouble> {
        let comments = self.list(&format!("workorders/{id}/comments"), "", "comments")?;
        let text = |comment: &Value| comment.get("content")?.as_str().map(|t| t.contains(marker));
        Ok(comments.iter().any(|comment| text(comment) == Some(true)))
    }

    fn find(&mut self, key: ExtKey, since: Utc) -> Result<Vec<Remote>, Trouble> {
        let mut found = self.orders("createdAt", since)?;
        found.retain(|remote| remote.key == Some(key));
        found.sort_by_cached_key(oldest_first);
        Ok(found)
    }

    fn changed(&mut self, since: Utc) -> Result<Vec<Remote>, Trouble> {
        let mut found = self.orders("updatedAt", since)?;
        found.retain(|remote| remote.key.is_some());
        Ok(found)
    }

    fn read(&mut self, id: &str) -> Result<Option<Remote>, Trouble> {
        let ask = self.with_organization(Ask::get(format!("workorders/{id}?expand=assignees")));
        let Some(reply) = self.http.ask_one(&ask)? else { return Ok(None) };
        let json = reply.json()?;
        let order = json.get("workOrder").and_then(remote);
        order.map(Some).ok_or_else(|| reply.nonsense("it has no order with id, status and time"))
    }

    fn reading(&mut self, reading: &Reading) -> Result<(), Trouble> {
        let id = meter_number(&reading.meter)?;
        let at = when::rfc3339(reading.at);
        let body = json!([{"meterId": id, "value": reading.value, "readingDate": at}]);
        let ask = Ask::json(Method::POST, "meterreadings", &body);
        let there = self.http.ask_one(&self.with_organization(ask))?;
        let gone = || Trouble::Refused(format!("MaintainX: there is no meter {id}"));
        there.map(drop).ok_or_else(gone)
    }

    fn check(&mut self) -> Result<String, Trouble> {
        let ask = self.with_organization(Ask::get("workorders?limit=1"));
        let reply = self.http.ask(&ask)?;
        reply.json()?;
        Ok("MaintainX shows its work orders; whether it takes new ones is seen with the first"
            .into())
    }
}
