//! The generic adapter: what one product understands stands in a preset, not in code.

mod preset;
mod template;

use serde_json::{Value, json};
use trimloop_core::time::Utc;
use trimloop_recipe::diagnostic::Diagnostic;
use trimloop_work::desk::OrderState;
use trimloop_work::key::ExtKey;

use preset::{Listed, Made, Preset, folded};
use template::{Names, Templates, with};

use crate::codes::PRESET_VALUE;
use crate::http::{Ask, Http, Login, Reply, Signature, Site};
use crate::secret::SecretPlace;
use crate::text::{key_in, marked};
use crate::when::{self, Clock};
use crate::{CloseCodes, ConfigError, Connector, Draft, Reading, Remote, Trouble, WorkSystem};

/// Pages of a list that are read; a list without an end must not hold us for ever.
const PAGES_MAX: usize = 100;

/// Presets that come with the program, by name.
pub const SHIPPED: [(&str, &str); 5] = [
    ("django-helpdesk", include_str!("../../../../cmms/django-helpdesk.toml")),
    ("erpnext", include_str!("../../../../cmms/erpnext.toml")),
    ("limble", include_str!("../../../../cmms/limble.toml")),
    ("odoo", include_str!("../../../../cmms/odoo.toml")),
    ("upkeep", include_str!("../../../../cmms/upkeep.toml")),
];

pub(crate) struct Rest {
    http: Http,
    preset: Preset,
    templates: Templates,
    headers: Vec<(String, String)>,
}

impl Rest {
    /// For a preset: `file` is its name in messages, `text` what it says.
    pub(crate) fn new(
        config: &Connector,
        file: &str,
        text: &str,
        clock: Clock,
    ) -> Result<Self, ConfigError> {
        let preset = Preset::parse(file, text).map_err(ConfigError::Preset)?;
        let templates = Templates::new(&config.set);
        let found = templates.check(&preset);
        if !found.is_empty() {
            return Err(ConfigError::Preset(found));
        }
        let http = Http::new(
            Site {
                product: preset.product.clone(),
                url: config.url.clone(),
                ca_file: config.ca_file.clone(),
                login: login(&preset, config)?,
                per_minute: config.requests_per_minute.unwrap_or(preset.per_minute),
                limits: config.limits,
            },
            clock,
        )
        .map_err(ConfigError::Ca)?;
        let render = |text| templates.render(text, &Names::new()).unwrap_or_default();
        let headers = preset.headers.iter();
        let headers =
            headers.map(|(name, value)| (name.clone(), render(value.get_ref()))).collect();
        Ok(Self { http, preset, templates, headers })
    }

    fn ask(&self, made: &Made, names: &Names) -> Result<Ask, Trouble> {
        let now = template::at(self.http.now(), self.preset.time);
        let names = &with(names.clone(), [("now", now)]);
        let path = self.templates.text(&made.path, names)?;
        let body = made.body.as_ref().map(|body| self.templates.text(body, names)).transpose()?;
        let body = body.map(|body| ("application/json", body));
        Ok(Ask { method: made.method.clone(), path, headers: self.headers.clone(), body })
    }

    /// Everything in a list, over all its pages; of one order, nothing where it is gone.
    fn list(&mut self, list: &Listed, names: &Names) -> Result<Vec<Value>, Trouble> {
        let is_of_one = names.contains_key("id");
        let mut all = Vec::new();
        let mut next: Option<String> = None;
        for page in 0..PAGES_MAX {
            let mut ask = self.ask(&list.made, &with(names.clone(), template::page(list, page)))?;
            if let Some(next) = next.take() {
                ask.path = next;
            }
            let reply = if is_of_one {
                let Some(reply) = self.http.ask_one(&ask)? else { return Ok(all) };
                reply
            } else {
                self.http.ask(&ask)?
            };
            let json = reply.json()?;
            let entries = json
                .pointer(&list.list)
                .and_then(Value::as_array)
                .ok_or_else(|| reply.nonsense(&format!("there is no list at \"{}\"", list.list)))?;
            let count = entries.len();
            all.extend(entries.iter().cloned());
            let pointed = list.next.as_ref().and_then(|next| json.pointer(next)?.as_str());
            next = pointed.filter(|next| !next.is_empty()).map(str::to_owned);
            let is_full = list.page_size.is_some_and(|size| count >= size);
            if next.is_none() && (!is_full || list.next.is_some()) {
                return Ok(all);
            }
        }
        let product = &self.preset.product;
        Err(Trouble::Unknown(format!("{product}: the list has more than {PAGES_MAX} pages")))
    }

    fn remote(&self, order: &Value, now: Utc) -> Option<Remote> {
        let fields = &self.preset.order;
        let text = |place: &Option<String>| {
            let found = place.as_ref().and_then(|place| word(order.pointer(place)?));
            found.filter(|text| !text.is_empty())
        };
        let word_is = word(order.pointer(&fields.status)?)?;
        let known = self.preset.status.get(&folded(&word_is)).copied();
        let mut state = known.unwrap_or(OrderState::Open);
        let is_held =
            fields.hold.as_ref().and_then(|place| order.pointer(place)).is_some_and(is_true);
        if is_held && matches!(state, OrderState::Open | OrderState::InProgress) {
            state = OrderState::OnHold;
        }
        // A product that names no time of its newest change is believed in the order of asking.
        let updated = fields.updated.as_ref().and_then(|place| when::parse(order.pointer(place)?));
        Some(Remote {
            id: word(order.pointer(&fields.id)?)?,
            key: order.pointer(&fields.key).and_then(Value::as_str).and_then(key_in),
            state,
            word: word_is,
            is_word_unknown: known.is_none(),
            updated: updated.unwrap_or(now),
            assignee: text(&fields.assignee),
            close: CloseCodes {
                problem: text(&fields.problem),
                cause: text(&fields.cause),
                remedy: text(&fields.remedy),
            },
        })
    }

    fn remotes(&mut self, list: &Listed, names: &Names) -> Result<Vec<Remote>, Trouble> {
        let now = self.http.now();
        let entries = self.list(list, names)?;
        let remote = |entry: &Value| {
            self.remote(entry, now).ok_or_else(|| {
                let fields = &self.preset.order;
                Trouble::Unknown(format!(
                    "{}: an order in the list has nothing at \"{}\" or \"{}\"",
                    self.preset.product, fields.id, fields.status
                ))
            })
        };
        entries.iter().map(remote).collect()
    }

    fn since(&self, since: Utc) -> [(&'static str, Value); 1] {
        [("since", template::at(since, self.preset.time))]
    }
}

impl WorkSystem for Rest {
    fn name(&self) -> &str {
        &self.preset.name
    }

    fn can_search(&self) -> bool {
        self.preset.find.is_some()
    }

    fn create(&mut self, order: &Draft, idempotency: &str) -> Result<String, Trouble> {
        let names = with(Names::new(), [("order", template::order(order, &self.preset))]);
        let mut ask = self.ask(&self.preset.create, &names)?;
        let name = self.preset.idempotency_header.as_deref().unwrap_or("Idempotency-Key");
        ask = ask.header(name, idempotency);
        let reply = self.http.ask(&ask)?;
        let json = reply.json()?;
        let place = &self.preset.created_id;
        json.pointer(place)
            .and_then(word)
            .ok_or_else(|| reply.nonsense(&format!("there is no id at \"{place}\"")))
    }

    fn comment(&mut self, id: &str, text: &str, marker: &str) -> Result<(), Trouble> {
        let Some(made) = self.preset.comment.clone() else {
            let why = format!("{}: the preset says nothing of comments", self.preset.product);
            return Err(Trouble::Refused(why));
        };
        let text = marked(text, marker, self.preset.body_max);
        let names = [("id", json!(id)), ("text", json!(text)), ("marker", json!(marker))];
        let ask = self.ask(&made, &with(Names::new(), names))?;
        self.http.change(&ask).map(drop)
    }

    fn has_comment(&mut self, id: &str, marker: &str) -> Result<bool, Trouble> {
        let Some((list, text)) = self.preset.comments.clone() else {
            let why = format!("{}: the preset does not show comments", self.preset.product);
            return Err(Trouble::Refused(why));
        };
        let names = with(Names::new(), [("id", json!(id)), ("marker", json!(marker))]);
        let comments = self.list(&list, &names)?;
        let has = |comment: &Value| comment.pointer(&text)?.as_str().map(|t| t.contains(marker));
        Ok(comments.iter().any(|comment| has(comment) == Some(true)))
    }

    fn find(&mut self, key: ExtKey, since: Utc) -> Result<Vec<Remote>, Trouble> {
        let Some(list) = self.preset.find.clone() else {
            let why = format!("{}: the preset cannot search", self.preset.product);
            return Err(Trouble::Refused(why));
        };
        let names = with(with(Names::new(), template::key(key)), self.since(since));
        let mut found = self.remotes(&list, &names)?;
        found.retain(|remote| remote.key == Some(key));
        found.sort_by_cached_key(oldest_first);
        Ok(found)
    }

    fn changed(&mut self, since: Utc) -> Result<Vec<Remote>, Trouble> {
        let list = self.preset.changed.clone();
        let names = with(Names::new(), self.since(since));
        let mut found = self.remotes(&list, &names)?;
        found.retain(|remote| remote.key.is_some());
        Ok(found)
    }

    fn read(&mut self, id: &str) -> Result<Option<Remote>, Trouble> {
        let ask = self.ask(&self.preset.read, &with(Names::new(), [("id", json!(id))]))?;
        let Some(reply) = self.http.ask_one(&ask)? else { return Ok(None) };
        let json = reply.json()?;
        // A search for one number that finds nothing.
        let Some(order) = json.pointer(&self.preset.read_order) else { return Ok(None) };
        let remote = self.remote(order, self.http.now());
        remote.map(Some).ok_or_else(|| reply.nonsense("the order has no id or no status"))
    }

    fn reading(&mut self, reading: &Reading) -> Result<(), Trouble> {
        let (product, meter) = (&self.preset.product, &reading.meter);
        let Some(made) = &self.preset.reading else {
            let why = format!("{product}: the preset has no [reading], so it is told no meters");
            return Err(Trouble::Refused(why));
        };
        let gone = Trouble::Refused(format!("{product}: there is no meter {meter}"));
        let names = with(Names::new(), template::reading(reading, self.preset.time));
        let ask = self.ask(made, &names)?;
        self.http.ask_one(&ask)?.map(drop).ok_or(gone)
    }

    fn check(&mut self) -> Result<String, Trouble> {
        let ask = self.ask(&self.preset.check, &Names::new())?;
        let reply: Reply = self.http.ask(&ask)?;
        reply.json()?;
        let tested = self.preset.tested.as_ref();
        let tested = tested.map_or_else(
            || "this preset was never run against the product".to_owned(),
            |with| format!("tested against {with}"),
        );
        Ok(format!("{} answers with {}; {tested}", self.preset.product, reply.status))
    }
}

/// Numbers in their order as numbers: 9 before 10.
pub(crate) fn oldest_first(remote: &Remote) -> (usize, String) {
    (remote.id.len(), remote.id.clone())
}

/// A word, a number or yes and no, as text.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !matches!(text.as_str(), "" | "0" | "false" | "no"),
        _ => false,
    }
}

fn login(preset: &Preset, config: &Connector) -> Result<Login, ConfigError> {
    let raw = &preset.login;
    let product = &preset.product;
    let secret = || -> Result<SecretPlace, ConfigError> {
        let why = format!("{product} wants a secret: name its file or its credential");
        config.secret.clone().ok_or_else(|| ConfigError::setting("secret_file", why))
    };
    let user = || -> Result<String, ConfigError> {
        let why = format!("{product} wants a user");
        config.user.clone().ok_or_else(|| ConfigError::setting("user", why))
    };
    let wrong = |message: String, help: &str| {
        let span = raw.kind.span();
        let found = Diagnostic::error(&PRESET_VALUE, &preset.source, span, message).help(help);
        ConfigError::Preset(vec![found])
    };
    let wants = |value: &Option<String>, key: &str| {
        let message = format!("this kind of login needs the key \"{key}\"");
        value.clone().ok_or_else(|| wrong(message, &format!("add {key} = \"…\" to [login]")))
    };
    Ok(match raw.kind.get_ref().as_str() {
        "none" => Login::Nobody,
        "basic" => Login::Basic { user: user()?, secret: secret()? },
        "bearer" => Login::Token {
            header: "Authorization".to_owned(),
            word: raw.word.clone().unwrap_or_else(|| "Bearer".to_owned()),
            user: None,
            secret: secret()?,
        },
        "header" => Login::Token {
            header: wants(&raw.header, "header")?,
            word: raw.word.clone().unwrap_or_default(),
            user: None,
            secret: secret()?,
        },
        "pair" => Login::Token {
            header: raw.header.clone().unwrap_or_else(|| "Authorization".to_owned()),
            word: wants(&raw.word, "word")?,
            user: Some(user()?),
            secret: secret()?,
        },
        "hmac" => Login::Hmac(Signature {
            header: wants(&raw.header, "header")?,
            prefix: "",
            key: match &raw.key_header {
                Some(name) => Some((name.clone(), user()?)),
                None => None,
            },
            time_header: raw.time_header.clone(),
            text: wants(&raw.text, "text")?,
            is_base64: raw.base64,
            secret: secret()?,
        }),
        "oauth2" => {
            let path = wants(&raw.token_url, "token_url")?;
            let is_whole = path.starts_with("https://") || path.starts_with("http://");
            let base = config.url.trim_end_matches('/');
            let token_url = if is_whole { path } else { format!("{base}/{path}") };
            Login::OAuth2 {
                token_url,
                client: user()?,
                secret: secret()?,
                scope: raw.scope.clone().unwrap_or_default(),
                token: None,
            }
        }
        other => {
            let known = "use none, basic, bearer, header, pair, hmac or oauth2";
            return Err(wrong(format!("this kind of login is not known: {other}"), known));
        }
    })
}
