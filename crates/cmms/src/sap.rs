//! Maintenance notifications of SAP S/4HANA: `API_MAINTNOTIFICATION`, `OData` v2.
//!
//! - `MaintNotifExtReferenceNumber` (20, upper case) is our key: creatable, filterable.
//! - Texts are short: 40 for the title, 1333 for what can be written of the long text.
//! - Writing needs a token that a read gives out, with the cookies that came with it.
//! - Phases of a notification are customer data as little as the API says; these are those that
//!   S/4HANA ships (unverified). A notification is a request: it is open once it has an order.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};
use trimloop_core::time::Utc;
use trimloop_work::desk::OrderState;
use trimloop_work::key::ExtKey;
use ureq::http::Method;

use crate::http::{Ask, Http, Login, Reply, Site, before_change};
use crate::rest::oldest_first;
use crate::text::{marked, shorten};
use crate::when::{self, CLOCKS, Clock};
use crate::{CloseCodes, ConfigError, Connector, Draft, Remote, Trouble, WorkSystem};

const PER_MINUTE: u32 = 60;
const TITLE_MAX: usize = 40;
const TEXT_MAX: usize = 1333;
const PAGE: usize = 200;
const PAGES_MAX: usize = 50;
const SET: &str = "MaintenanceNotification";
const FIELDS: &str = "MaintenanceNotification,MaintNotifExtReferenceNumber,NotifProcessingPhase,\
                      NotifProcessingPhaseDesc,LastChangeDateTime,CreationDateTime,\
                      PersonResponsible,MaintenanceOrder,MaintNotifRejectionReasonCode";

/// Body of a new notification.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NewNotification {
    notification_text: String,
    notification_type: String,
    maint_priority: String,
    maint_notif_long_text_for_edit: String,
    maint_notif_ext_reference_number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    technical_object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tech_obj_is_equip_or_funcnl_loc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maintenance_planning_plant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    main_work_center: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    main_work_center_plant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    person_responsible: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maint_notif_rqd_end_date_time: Option<String>,
}

/// What must go with a change.
struct Session {
    token: String,
    cookies: String,
    is_old: bool,
}

pub(crate) struct Sap {
    http: Http,
    kind: String,
    object_type: String,
    planning_plant: Option<String>,
    work_center: Option<String>,
    work_center_plant: Option<String>,
    session: Option<Session>,
}

impl Sap {
    pub(crate) fn new(config: &Connector, clock: Clock) -> Result<Self, ConfigError> {
        const PLANT: &str = "planning_plant";
        const CENTER: &str = "work_center";
        const CENTER_PLANT: &str = "work_center_plant";
        const OBJECT: &str = "object_type";
        config.allows(&["notification_type", PLANT, CENTER, CENTER_PLANT, OBJECT])?;
        let kind = config.needs("notification_type", "such as \"M1\", as your SAP names it")?;
        let fits = |key: &str, value: Option<&String>, max: usize| match value {
            Some(value) if value.encode_utf16().count() > max => {
                let why = format!("has more than {max} characters, which SAP does not take");
                Err(ConfigError::setting(&format!("set.{key}"), why))
            }
            value => Ok(value.cloned()),
        };
        let set = |key: &str, max: usize| fits(key, config.set.get(key), max);
        let user = config.user.clone().ok_or_else(|| {
            ConfigError::setting("user", "missing: the communication user of SAP")
        })?;
        let site = Site {
            product: "SAP".to_owned(),
            url: config.url.clone(),
            ca_file: config.ca_file.clone(),
            login: Login::Basic { user, secret: config.wants_secret("the user's password")? },
            per_minute: config.requests_per_minute.unwrap_or(PER_MINUTE),
            limits: config.limits,
        };
        Ok(Self {
            kind: fits("notification_type", Some(&kind), 2)?.unwrap_or(kind),
            object_type: set(OBJECT, 20)?.unwrap_or_else(|| "EAMS_EQUI".to_owned()),
            planning_plant: set(PLANT, 4)?,
            work_center: set(CENTER, 8)?,
            work_center_plant: set(CENTER_PLANT, 4)?,
            http: Http::new(site, clock).map_err(ConfigError::Ca)?,
            session: None,
        })
    }

    fn notification(&self, draft: &Draft) -> Result<NewNotification, Trouble> {
        let fits = |what: &str, value: &Option<String>, max: usize| match value {
            // A number that is cut is another number.
            Some(value) if value.encode_utf16().count() > max => Err(Trouble::Refused(format!(
                "SAP: {what} \"{value}\" has more than {max} characters"
            ))),
            value => Ok(value.clone()),
        };
        let technical_object = fits("the asset", &draft.asset_ref, 40)?;
        let has_object = technical_object.is_some();
        Ok(NewNotification {
            notification_text: shorten(&draft.title, TITLE_MAX),
            notification_type: self.kind.clone(),
            maint_priority: draft.priority.clamp(1, 4).to_string(),
            maint_notif_long_text_for_edit: shorten(&draft.body, TEXT_MAX),
            maint_notif_ext_reference_number: draft.key.to_string(),
            technical_object,
            tech_obj_is_equip_or_funcnl_loc: has_object.then(|| self.object_type.clone()),
            maintenance_planning_plant: self.planning_plant.clone(),
            main_work_center: self.work_center.clone(),
            main_work_center_plant: self.work_center_plant.clone(),
            person_responsible: fits("the person", &draft.assignee, 12)?,
            maint_notif_rqd_end_date_time: draft
                .due
                .map(|due| format!("/Date({}+0000)/", when::millis(due))),
        })
    }

    /// The token for changes; a request of its own where there is none.
    fn session(&mut self) -> Result<(String, String), Trouble> {
        if let Some(session) = &mut self.session {
            session.is_old = true;
            return Ok((session.token.clone(), session.cookies.clone()));
        }
        let ask = Ask::get("?$format=json").header("x-csrf-token", "Fetch");
        let reply = self.http.ask(&ask).map_err(before_change)?;
        let Some(token) = reply.header("x-csrf-token").map(str::to_owned) else {
            return Err(Trouble::Paused(
                "SAP gives out no x-csrf-token; check that the address ends with the service, \
                 …/sap/opu/odata/sap/API_MAINTNOTIFICATION"
                    .to_owned(),
            ));
        };
        let pairs = reply.headers.get_all("set-cookie").iter();
        let pairs = pairs.filter_map(|value| value.to_str().ok()?.split(';').next());
        let cookies = pairs.map(str::trim).collect::<Vec<_>>().join("; ");
        self.session =
            Some(Session { token: token.clone(), cookies: cookies.clone(), is_old: false });
        Ok((token, cookies))
    }

    /// A change, with the token.
    fn change(&mut self, ask: Ask) -> Result<Reply, Trouble> {
        let (token, cookies) = self.session()?;
        let mut ask = ask.header("x-csrf-token", token);
        if !cookies.is_empty() {
            ask = ask.header("Cookie", cookies);
        }
        let reply = self.http.raw(&ask)?;
        let asks_for_token = reply.status == 403
            && reply.header("x-csrf-token").is_some_and(|v| v.eq_ignore_ascii_case("required"));
        if asks_for_token && self.session.take().is_some_and(|session| session.is_old) {
            let why = "SAP: the session is over; a new one is asked for".to_owned();
            return Err(Trouble::NotDone { not_before: None, why });
        }
        Ok(reply)
    }

    fn list(&mut self, filter: &str) -> Result<Vec<Remote>, Trouble> {
        let filter = utf8_percent_encode(filter, NON_ALPHANUMERIC).to_string();
        let mut all = Vec::new();
        for page in 0..PAGES_MAX {
            let skip = page * PAGE;
            let ask = Ask::get(format!(
                "{SET}?$format=json&$orderby={SET}&$top={PAGE}&$skip={skip}&$select={FIELDS}\
                 &$filter={filter}"
            ));
            let reply = self.http.ask(&ask)?;
            let json = reply.json()?;
            let entries = json.pointer("/d/results").and_then(Value::as_array);
            let entries = entries.ok_or_else(|| reply.nonsense("it has no d/results"))?;
            for entry in entries {
                let lacks = || reply.nonsense("a notification lacks its number or its phase");
                all.push(remote(entry, self.http.now()).ok_or_else(lacks)?);
            }
            if entries.len() < PAGE {
                return Ok(all);
            }
        }
        Err(Trouble::Unknown(format!("SAP: the list has more than {PAGES_MAX} pages")))
    }
}

fn one(id: &str) -> String {
    // In OData a quote within a text is doubled.
    let id = id.replace('\'', "''");
    format!("{SET}('{}')", utf8_percent_encode(&id, NON_ALPHANUMERIC))
}

fn remote(entry: &Value, now: Utc) -> Option<Remote> {
    let text = |name: &str| {
        let text = entry.get(name).and_then(Value::as_str).map(str::trim);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let phase = text("NotifProcessingPhase")?;
    let has_order = text("MaintenanceOrder").is_some();
    let known = match phase.as_str() {
        _ if text("MaintNotifRejectionReasonCode").is_some() => Some(OrderState::Rejected),
        "1" if has_order => Some(OrderState::Open),
        "1" => Some(OrderState::Requested),
        "2" => Some(OrderState::OnHold),
        "3" => Some(OrderState::InProgress),
        "4" => Some(OrderState::Done),
        "5" => Some(OrderState::Cancelled),
        _ => None,
    };
    let word = text("NotifProcessingPhaseDesc")
        .map_or_else(|| phase.clone(), |described| format!("{phase} {described}"));
    Some(Remote {
        id: text("MaintenanceNotification")?,
        key: text("MaintNotifExtReferenceNumber").and_then(|key| ExtKey::parse(&key)),
        state: known.unwrap_or(OrderState::Open),
        word,
        is_word_unknown: known.is_none(),
        // One that was never changed has only the time it was made at, by the same clock.
        updated: ["LastChangeDateTime", "CreationDateTime"]
            .iter()
            .find_map(|name| when::parse(entry.get(*name)?))
            .unwrap_or(now),
        assignee: text("PersonResponsible"),
        close: CloseCodes::default(),
    })
}

impl WorkSystem for Sap {
    fn name(&self) -> &'static str {
        "sap"
    }

    fn can_search(&self) -> bool {
        true
    }

    fn create(&mut self, order: &Draft, _idempotency: &str) -> Result<String, Trouble> {
        let body = json!(self.notification(order)?);
        let reply = self.change(Ask::json(Method::POST, SET, &body))?;
        let reply = self.http.judge(reply)?;
        let json = reply.json()?;
        let id = json.pointer("/d/MaintenanceNotification").and_then(Value::as_str);
        id.map(str::to_owned).ok_or_else(|| reply.nonsense("it has no number"))
    }

    fn comment(&mut self, id: &str, text: &str, marker: &str) -> Result<(), Trouble> {
        let body = json!({"MaintNotifLongTextForEdit": marked(text, marker, TEXT_MAX)});
        let ask = Ask::json(Method::PATCH, one(id), &body).header("If-Match", "*");
        let reply = self.change(ask)?;
        if reply.status == 404 {
            return Err(Trouble::Refused(format!("SAP: there is no notification {id} any more")));
        }
        self.http.judge(reply).map(drop)
    }

    fn has_comment(&mut self, id: &str, marker: &str) -> Result<bool, Trouble> {
        let path = format!("{}?$format=json&$select=MaintNotificationLongText", one(id));
        let Some(reply) = self.http.ask_one(&Ask::get(path))? else { return Ok(false) };
        let json = reply.json()?;
        let text = json.pointer("/d/MaintNotificationLongText").and_then(Value::as_str);
        Ok(text.is_some_and(|text| text.contains(marker)))
    }

    fn find(&mut self, key: ExtKey, _since: Utc) -> Result<Vec<Remote>, Trouble> {
        let mut found = self.list(&format!("MaintNotifExtReferenceNumber eq '{key}'"))?;
        found.retain(|remote| remote.key == Some(key));
        found.sort_by_cached_key(oldest_first);
        Ok(found)
    }

    fn changed(&mut self, since: Utc) -> Result<Vec<Remote>, Trouble> {
        let since = when::rfc3339(since - CLOCKS);
        let mut found = self.list(&format!(
            "startswith(MaintNotifExtReferenceNumber,'TLW-') and LastChangeDateTime ge \
             datetimeoffset'{since}'"
        ))?;
        found.retain(|remote| remote.key.is_some());
        Ok(found)
    }

    fn read(&mut self, id: &str) -> Result<Option<Remote>, Trouble> {
        let path = format!("{}?$format=json&$select={FIELDS}", one(id));
        let Some(reply) = self.http.ask_one(&Ask::get(path))? else { return Ok(None) };
        let json = reply.json()?;
        let order = json.get("d").and_then(|entry| remote(entry, self.http.now()));
        order.map(Some).ok_or_else(|| reply.nonsense("it has no number or no phase"))
    }

    fn check(&mut self) -> Result<String, Trouble> {
        // With a token for changes, so that a right to read alone does not look like enough.
        self.session = None;
        self.session()?;
        self.http.ask(&Ask::get(format!("{SET}?$format=json&$top=1&$select={SET}")))?.json()?;
        Ok("SAP shows its notifications and gives out a token for changes".to_owned())
    }
}
