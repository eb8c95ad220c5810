//! IBM Maximo (MAS): service requests by its JSON API, object structure `mxapisr`.
//!
//! - Written from IBM's guide to the API, never run against the product: object structures are made
//!   per installation, so there is no schema to hold it against.
//! - The header `transactionid` makes a repeated create answer 409, for some minutes only; our key
//!   at the end of the description is what is searched.
//! - An asset is one together with its site.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};
use trimloop_core::time::Utc;
use trimloop_work::desk::OrderState;
use trimloop_work::key::ExtKey;
use ureq::http::Method;

use crate::http::{Ask, Http, Login, Site, before_change};
use crate::rest::oldest_first;
use crate::text::{key_in, marked, shorten, titled};
use crate::when::{self, CLOCKS, Clock};
use crate::{CloseCodes, ConfigError, Connector, Draft, Reading, Remote, Trouble, WorkSystem};

const PER_MINUTE: u32 = 60;
/// `TICKET.DESCRIPTION` and `WORKLOG.DESCRIPTION` of an installation as it comes.
const TITLE_MAX: usize = 100;
const TEXT_MAX: usize = 30_000;
const PAGE: usize = 200;
const PAGES_MAX: usize = 50;
const FIELDS: &str =
    "ticketid,description,status,changedate,owner,problemcode,fr1code,fr2code,href";

/// Body of a new service request.
#[derive(Serialize)]
struct NewRequest {
    description: String,
    description_longdescription: String,
    reportedpriority: u8,
    siteid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    assetnum: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    targetfinish: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

pub(crate) struct Maximo {
    http: Http,
    structure: String,
    site: String,
}

impl Maximo {
    pub(crate) fn new(config: &Connector, clock: Clock) -> Result<Self, ConfigError> {
        config.allows(&["site", "object_structure"])?;
        let structure = config.set.get("object_structure").cloned();
        let site = Site {
            product: "Maximo".to_owned(),
            url: config.url.clone(),
            ca_file: config.ca_file.clone(),
            login: Login::Token {
                header: "apikey".to_owned(),
                word: String::new(),
                user: None,
                secret: config.wants_secret("the API key of Maximo")?,
            },
            per_minute: config.requests_per_minute.unwrap_or(PER_MINUTE),
            limits: config.limits,
        };
        Ok(Self {
            http: Http::new(site, clock).map_err(ConfigError::Ca)?,
            structure: structure.unwrap_or_else(|| "mxapisr".to_owned()),
            site: config.needs("site", "the site of the assets, such as \"BEDFORD\"")?,
        })
    }

    fn path(&self, query: &str) -> String {
        format!("api/os/{}?lean=1{query}", self.structure)
    }

    /// The entries that a condition holds for, with these fields.
    fn entries(&mut self, condition: &str, fields: &str) -> Result<Vec<Value>, Trouble> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let query = format!(
            "&oslc.pageSize={PAGE}&oslc.orderBy=%2Bticketid&oslc.select={}&oslc.where={}",
            encoded(fields),
            encoded(condition)
        );
        let mut path = self.path(&query);
        let mut all = Vec::new();
        for _page in 0..PAGES_MAX {
            let reply = self.http.ask(&Ask::get(path))?;
            let json = reply.json()?;
            let entries = json.get("member").and_then(Value::as_array);
            let entries = entries.ok_or_else(|| reply.nonsense("it has no member"))?;
            all.extend(entries.iter().cloned());
            let next = json.pointer("/responseInfo/nextPage/href").and_then(Value::as_str);
            match next {
                Some(next) if !entries.is_empty() => path = String::from(next),
                _ => return Ok(all),
            }
        }
        Err(Trouble::Unknown(format!("Maximo: the list has more than {PAGES_MAX} pages")))
    }

    fn remotes(&mut self, condition: &str) -> Result<Vec<Remote>, Trouble> {
        let entries = self.entries(condition, FIELDS)?;
        let lacks =
            || Trouble::Unknown("Maximo: a request lacks number, status or time".to_owned());
        entries.iter().map(|entry| remote(entry).ok_or_else(lacks)).collect()
    }
}

/// A text within a condition.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace(['"', '\\', '%', '_'], ""))
}

fn remote(entry: &Value) -> Option<Remote> {
    let text = |name: &str| {
        let text = entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    let word = text("status")?;
    let known = match word.as_str() {
        "NEW" | "WAPPR" => Some(OrderState::Requested),
        "QUEUED" | "APPR" | "WSCH" => Some(OrderState::Open),
        "INPROG" | "INPRG" => Some(OrderState::InProgress),
        "PENDING" | "WMATL" | "WPCOND" => Some(OrderState::OnHold),
        "RESOLVED" | "COMP" | "CLOSED" | "CLOSE" => Some(OrderState::Done),
        "CAN" | "CANCELLED" => Some(OrderState::Cancelled),
        "REJECTED" => Some(OrderState::Rejected),
        _ => None,
    };
    Some(Remote {
        id: text("ticketid")?,
        key: text("description").as_deref().and_then(key_in),
        state: known.unwrap_or(OrderState::Open),
        word,
        is_word_unknown: known.is_none(),
        updated: when::parse(entry.get("changedate")?)?,
        assignee: text("owner"),
        close: CloseCodes {
            problem: text("problemcode"),
            cause: text("fr1code"),
            remedy: text("fr2code"),
        },
    })
}

impl WorkSystem for Maximo {
    fn name(&self) -> &'static str {
        "maximo"
    }

    fn can_search(&self) -> bool {
        true
    }

    fn create(&mut self, order: &Draft, idempotency: &str) -> Result<String, Trouble> {
        let key = order.key.to_string();
        let body = NewRequest {
            description: titled(&order.title, order.key, TITLE_MAX),
            description_longdescription: format!(
                "{}\n\n{key}",
                shorten(&order.body, TEXT_MAX - key.len() - 2)
            ),
            reportedpriority: order.priority.clamp(1, 4),
            siteid: self.site.clone(),
            assetnum: order.asset_ref.clone(),
            targetfinish: order.due.map(when::rfc3339),
            owner: order.assignee.clone(),
        };
        let ask = Ask::json(Method::POST, self.path(""), &json!(body))
            .header("transactionid", idempotency)
            .header("properties", "ticketid");
        let reply = self.http.raw(&ask)?;
        if reply.status == 409 {
            // It was taken before; which number it got, a search tells.
            let why = "Maximo: this request was taken before; it is looked up".to_owned();
            return Err(Trouble::Unknown(why));
        }
        let reply = self.http.judge(reply)?;
        let id = reply.json()?.get("ticketid").and_then(Value::as_str).map(str::to_owned);
        id.ok_or_else(|| reply.nonsense("it has no ticketid"))
    }

    fn comment(&mut self, id: &str, text: &str, marker: &str) -> Result<(), Trouble> {
        let condition = format!("ticketid={}", quoted(id));
        let entries = self.entries(&condition, "ticketid,href").map_err(before_change)?;
        let Some(entry) = entries.first() else {
            return Err(Trouble::Refused(format!("Maximo: there is no request {id} any more")));
        };
        let Some(href) = entry.get("href").and_then(Value::as_str) else {
            return Err(Trouble::Paused(
                "Maximo: a request lacks its href; check the address".into(),
            ));
        };
        let body = json!({"worklog": [{
            "description": marked(text, marker, TITLE_MAX),
            "description_longdescription": shorten(text, TEXT_MAX),
            "logtype": "CLIENTNOTE",
        }]});
        let separator = if href.contains('?') { '&' } else { '?' };
        let ask = Ask::json(Method::POST, format!("{href}{separator}lean=1"), &body)
            .header("x-method-override", "PATCH")
            .header("patchtype", "MERGE");
        self.http.change(&ask).map(drop)
    }

    fn has_comment(&mut self, id: &str, marker: &str) -> Result<bool, Trouble> {
        let condition = format!("ticketid={}", quoted(id));
        let entries = self.entries(&condition, "ticketid,worklog{description}")?;
        let logs = entries.iter().filter_map(|entry| entry.get("worklog")?.as_array()).flatten();
        let mut texts = logs.filter_map(|log| log.get("description")?.as_str());
        Ok(texts.any(|text| text.contains(marker)))
    }

    fn find(&mut self, key: ExtKey, _since: Utc) -> Result<Vec<Remote>, Trouble> {
        let mut found = self.remotes(&format!("description=\"%{}%\"", key.fingerprint))?;
        found.retain(|remote| remote.key == Some(key));
        found.sort_by_cached_key(oldest_first);
        Ok(found)
    }

    fn changed(&mut self, since: Utc) -> Result<Vec<Remote>, Trouble> {
        let since = when::rfc3339(since - CLOCKS);
        let condition = format!("description=\"%[TLW-%\" and changedate>=\"{since}\"");
        let mut found = self.remotes(&condition)?;
        found.retain(|remote| remote.key.is_some());
        Ok(found)
    }

    fn read(&mut self, id: &str) -> Result<Option<Remote>, Trouble> {
        Ok(self.remotes(&format!("ticketid={}", quoted(id)))?.into_iter().next())
    }

    fn reading(&mut self, reading: &Reading) -> Result<(), Trouble> {
        // "asset:meter": a meter belongs to an asset there.
        let Some((asset, meter)) = reading.meter.split_once(':') else {
            let said = &reading.meter;
            let why = format!("Maximo: write a meter as ASSETNUM:METERNAME, not \"{said}\"");
            return Err(Trouble::Refused(why));
        };
        let body = json!({
            "siteid": self.site,
            "assetnum": asset,
            "metername": meter,
            "newreading": reading.value.to_string(),
            "newreadingdate": when::rfc3339(reading.at),
            "inspector": "TRIMLOOP",
        });
        let ask = Ask::json(Method::POST, "api/os/mxmeterdata?lean=1".to_owned(), &body);
        let there = self.http.ask_one(&ask)?;
        let gone = || Trouble::Refused(format!("Maximo: there is no meter {meter} of {asset}"));
        there.map(drop).ok_or_else(gone)
    }

    fn check(&mut self) -> Result<String, Trouble> {
        let path = self.path("&oslc.pageSize=1&oslc.select=ticketid");
        self.http.ask(&Ask::get(path))?.json()?;
        Ok("Maximo shows its service requests; this adapter was never run against the product"
            .into())
    }
}
