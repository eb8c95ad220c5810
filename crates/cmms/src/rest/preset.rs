//! Presets: how the generic adapter talks to one product, as TOML.
//!
//! A *pointer* is a JSON pointer (RFC 6901) into an answer. A *template* is one of `minijinja`
//! (the language of Jinja); what it may name is in [`super::template`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use trimloop_recipe::diagnostic::{Diagnostic, Source};
use trimloop_work::desk::OrderState;
use ureq::http::Method;

use crate::codes::{PRESET_FORM, PRESET_VALUE};

/// A text and where it stands.
pub(super) type Placed = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPreset {
    name: Placed,
    product: String,
    #[serde(default)]
    tested: Option<String>,
    #[serde(default = "per_minute")]
    requests_per_minute: u32,
    #[serde(default = "title_max")]
    title_max: Spanned<usize>,
    #[serde(default = "body_max")]
    body_max: Spanned<usize>,
    #[serde(default)]
    time: Option<Placed>,
    #[serde(default)]
    headers: BTreeMap<String, Placed>,
    login: RawLogin,
    create: RawCreate,
    #[serde(default)]
    find: Option<RawList>,
    changed: RawList,
    read: RawRead,
    #[serde(default)]
    comment: Option<RawRequest>,
    #[serde(default)]
    comments: Option<RawList>,
    #[serde(default)]
    reading: Option<RawRequest>,
    check: RawRequest,
    order: RawOrder,
    status: RawStatus,
}

/// Who we are; the secrets themselves are in the settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLogin {
    pub(super) kind: Placed,
    #[serde(default)]
    pub(super) header: Option<String>,
    #[serde(default)]
    pub(super) word: Option<String>,
    #[serde(default)]
    pub(super) key_header: Option<String>,
    #[serde(default)]
    pub(super) time_header: Option<String>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) base64: bool,
    #[serde(default)]
    pub(super) token_url: Option<String>,
    #[serde(default)]
    pub(super) scope: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequest {
    #[serde(default)]
    pub(super) method: Option<Placed>,
    pub(super) path: Placed,
    #[serde(default)]
    pub(super) body: Option<Placed>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCreate {
    #[serde(default)]
    method: Option<Placed>,
    path: Placed,
    body: Placed,
    id: Placed,
    #[serde(default)]
    idempotency_header: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawList {
    #[serde(default)]
    method: Option<Placed>,
    path: Placed,
    #[serde(default)]
    body: Option<Placed>,
    list: Placed,
    #[serde(default)]
    next: Option<Placed>,
    #[serde(default)]
    page_size: Option<Spanned<usize>>,
    /// Of comments alone: where the text of one stands.
    #[serde(default)]
    text: Option<Placed>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRead {
    #[serde(default)]
    method: Option<Placed>,
    path: Placed,
    #[serde(default)]
    body: Option<Placed>,
    #[serde(default)]
    order: Option<Placed>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOrder {
    id: Placed,
    key: Placed,
    status: Placed,
    #[serde(default)]
    updated: Option<Placed>,
    #[serde(default)]
    hold: Option<Placed>,
    #[serde(default)]
    assignee: Option<Placed>,
    #[serde(default)]
    problem: Option<Placed>,
    #[serde(default)]
    cause: Option<Placed>,
    #[serde(default)]
    remedy: Option<Placed>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStatus {
    requested: Vec<Placed>,
    open: Vec<Placed>,
    in_progress: Vec<Placed>,
    on_hold: Vec<Placed>,
    done: Vec<Placed>,
    cancelled: Vec<Placed>,
    rejected: Vec<Placed>,
}

const fn per_minute() -> u32 {
    60
}

fn title_max() -> Spanned<usize> {
    Spanned::new(0..0, 200)
}

fn body_max() -> Spanned<usize> {
    Spanned::new(0..0, 8000)
}

/// How a product writes a time in a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeForm {
    Rfc3339,
    Sql,
    Seconds,
    Millis,
}

/// A request that is made from templates.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) method: Method,
    pub(super) path: Placed,
    pub(super) body: Option<Placed>,
}

/// A request that is answered with a list, page by page.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) made: Made,
    pub(super) list: String,
    pub(super) next: Option<String>,
    /// Pages are asked for by `page` or `offset` until one has fewer.
    pub(super) page_size: Option<usize>,
}

/// Pointers to what an order says.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) status: String,
    pub(super) updated: Option<String>,
    pub(super) hold: Option<String>,
    pub(super) assignee: Option<String>,
    pub(super) problem: Option<String>,
    pub(super) cause: Option<String>,
    pub(super) remedy: Option<String>,
}

/// A preset whose form is right; its templates are tried by [`super::template`].
#[derive(Clone, Debug)]
pub(super) struct Preset {
    pub(super) source: Arc<Source>,
    pub(super) name: String,
    pub(super) product: String,
    pub(super) tested: Option<String>,
    pub(super) per_minute: u32,
    pub(super) title_max: usize,
    pub(super) body_max: usize,
    pub(super) time: TimeForm,
    pub(super) headers: BTreeMap<String, Placed>,
    pub(super) login: RawLogin,
    pub(super) create: Made,
    pub(super) created_id: String,
    pub(super) idempotency_header: Option<String>,
    pub(super) find: Option<Listed>,
    pub(super) changed: Listed,
    pub(super) read: Made,
    pub(super) read_order: String,
    pub(super) comment: Option<Made>,
    pub(super) comments: Option<(Listed, String)>,
    /// Tells a reading of a meter.
    pub(super) reading: Option<Made>,
    pub(super) check: Made,
    pub(super) order: Fields,
    pub(super) status: BTreeMap<String, OrderState>,
}

/// What is wrong in a file, as it is found.
struct Checker {
    source: Arc<Source>,
    found: Vec<Diagnostic>,
}

impl Checker {
    fn wrong(&mut self, span: Range<usize>, message: String, help: &str) {
        let diagnostic = Diagnostic::error(&PRESET_VALUE, &self.source, span, message);
        self.found.push(diagnostic.help(help));
    }

    fn pointer(&mut self, text: &Placed) -> String {
        let value = text.get_ref();
        if !value.is_empty() && !value.starts_with('/') {
            let message = format!("this is not a JSON pointer: {value}");
            let help = format!("begin it with a slash: \"/{value}\"; \"\" is the whole answer");
            self.wrong(text.span(), message, &help);
        }
        value.clone()
    }

    fn maybe_pointer(&mut self, text: Option<&Placed>) -> Option<String> {
        text.map(|text| self.pointer(text))
    }

    fn method(&mut self, text: Option<&Placed>, usual: Method) -> Method {
        let Some(text) = text else { return usual };
        match text.get_ref().as_str() {
            "GET" => Method::GET,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            other => {
                let message = format!("this method is not used here: {other}");
                self.wrong(text.span(), message, "use GET, POST, PUT or PATCH");
                usual
            }
        }
    }

    fn made(&mut self, raw: &RawRequest, usual: Method) -> Made {
        let path = raw.path.get_ref();
        if path.contains("://") || path.starts_with('/') {
            let message = format!("this is not below the address of the settings: {path}");
            let help = "write what follows the address, such as \"api/tickets/\"";
            self.wrong(raw.path.span(), message, help);
        }
        let method = self.method(raw.method.as_ref(), usual);
        Made { method, path: raw.path.clone(), body: raw.body.clone() }
    }

    fn listed(&mut self, raw: &RawList) -> Listed {
        let request = RawRequest {
            method: raw.method.clone(),
            path: raw.path.clone(),
            body: raw.body.clone(),
        };
        let usual = if raw.body.is_some() { Method::POST } else { Method::GET };
        let size = raw.page_size.as_ref().map(|size| *size.get_ref());
        if let Some(place) = raw.page_size.as_ref().filter(|_| size == Some(0)) {
            self.wrong(place.span(), "a page of 0 never ends".to_owned(), "use 1 or more");
        }
        Listed {
            made: self.made(&request, usual),
            list: self.pointer(&raw.list),
            next: self.maybe_pointer(raw.next.as_ref()),
            page_size: size,
        }
    }

    fn time(&mut self, text: Option<&Placed>) -> TimeForm {
        match text.map(|text| text.get_ref().as_str()) {
            None | Some("rfc3339") => TimeForm::Rfc3339,
            Some("sql") => TimeForm::Sql,
            Some("seconds") => TimeForm::Seconds,
            Some("millis") => TimeForm::Millis,
            Some(other) => {
                let message = format!("this form of a time is not known: {other}");
                let span = text.map_or(0..0, Spanned::span);
                self.wrong(span, message, "use rfc3339, sql, seconds or millis");
                TimeForm::Rfc3339
            }
        }
    }

    fn status(&mut self, raw: &RawStatus) -> BTreeMap<String, OrderState> {
        let all = [
            (OrderState::Requested, &raw.requested),
            (OrderState::Open, &raw.open),
            (OrderState::InProgress, &raw.in_progress),
            (OrderState::OnHold, &raw.on_hold),
            (OrderState::Done, &raw.done),
            (OrderState::Cancelled, &raw.cancelled),
            (OrderState::Rejected, &raw.rejected),
        ];
        let mut known = BTreeMap::new();
        for (state, words) in all {
            for word in words {
                let before = known.insert(folded(word.get_ref()), state);
                if let Some(before) = before {
                    let (word_is, name) = (word.get_ref(), before.word());
                    let message = format!("the word {word_is} already means {name}");
                    self.wrong(word.span(), message, "name each word once");
                }
            }
        }
        if raw.done.is_empty() {
            let message = "no word means that an order is done".to_owned();
            self.wrong(0..0, message, "add done = [\"…\"] to [status]: without it no case ends");
        }
        known
    }
}

/// A word of a product as it is looked up: products change their capitals between versions.
pub(super) fn folded(word: &str) -> String {
    word.trim().to_lowercase()
}

impl Preset {
    /// Reads a preset; `file` is its name in messages.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, or the first thing where it is not TOML.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let source = Source::new(file, text);
        let raw: RawPreset = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let message = error.message().trim().replace('\n', "; ");
            vec![Diagnostic::error(&PRESET_FORM, &source, span, message)]
        })?;
        let mut check = Checker { source: Arc::clone(&source), found: Vec::new() };
        let create = RawRequest {
            method: raw.create.method.clone(),
            path: raw.create.path.clone(),
            body: Some(raw.create.body.clone()),
        };
        let read = RawRequest {
            method: raw.read.method.clone(),
            path: raw.read.path.clone(),
            body: raw.read.body.clone(),
        };
        let reads = if read.body.is_some() { Method::POST } else { Method::GET };
        let checks = if raw.check.body.is_some() { Method::POST } else { Method::GET };
        for list in [raw.find.as_ref(), Some(&raw.changed)].into_iter().flatten() {
            if let Some(text) = &list.text {
                let help = "name the fields of an order in [order]";
                check.wrong(text.span(), "`text` is of [comments]".to_owned(), help);
            }
        }
        let comments = raw.comments.as_ref().and_then(|raw| {
            let Some(text) = &raw.text else {
                let message = "[comments] lacks `text`".to_owned();
                let help = "say where the text of a comment stands: text = \"/note\"";
                check.wrong(raw.path.span(), message, help);
                return None;
            };
            Some((check.listed(raw), check.pointer(text)))
        });
        let o = &raw.order;
        let order = Fields {
            id: check.pointer(&o.id),
            key: check.pointer(&o.key),
            status: check.pointer(&o.status),
            updated: check.maybe_pointer(o.updated.as_ref()),
            hold: check.maybe_pointer(o.hold.as_ref()),
            assignee: check.maybe_pointer(o.assignee.as_ref()),
            problem: check.maybe_pointer(o.problem.as_ref()),
            cause: check.maybe_pointer(o.cause.as_ref()),
            remedy: check.maybe_pointer(o.remedy.as_ref()),
        };
        // A title must hold the key and a word.
        if *raw.title_max.get_ref() < 30 {
            let message = "a title of less than 30 has no room for the key".to_owned();
            check.wrong(raw.title_max.span(), message, "use 30 or more");
        }
        if raw.name.get_ref().is_empty() {
            check.wrong(raw.name.span(), "the name is empty".to_owned(), "give it a short word");
        }
        let preset = Self {
            name: raw.name.get_ref().clone(),
            product: raw.product,
            tested: raw.tested,
            per_minute: raw.requests_per_minute,
            title_max: *raw.title_max.get_ref(),
            body_max: *raw.body_max.get_ref(),
            time: check.time(raw.time.as_ref()),
            headers: raw.headers,
            login: raw.login,
            create: check.made(&create, Method::POST),
            created_id: check.pointer(&raw.create.id),
            idempotency_header: raw.create.idempotency_header,
            find: raw.find.as_ref().map(|raw| check.listed(raw)),
            changed: check.listed(&raw.changed),
            read: check.made(&read, reads),
            read_order: check.maybe_pointer(raw.read.order.as_ref()).unwrap_or_default(),
            comment: raw.comment.as_ref().map(|raw| check.made(raw, Method::POST)),
            comments,
            reading: raw.reading.as_ref().map(|raw| check.made(raw, Method::POST)),
            check: check.made(&raw.check, checks),
            order,
            status: check.status(&raw.status),
            source,
        };
        if check.found.is_empty() { Ok(preset) } else { Err(check.found) }
    }
}
