//! What templates of a preset may name, and trying them before they are needed.
//!
//! | name | is |
//! |---|---|
//! | `order` | the order: `key`, `fingerprint`, `title`, `titled` (with the key at its end), `body`, `text` (with the key at its end), `priority` (1 to 4), `asset`, `asset_ref`, `due`, `assignee`, `parts` (`reference`, `name`, `quantity`), `mode`; what is not known is none |
//! | `key`, `fingerprint` | of the order that is looked for |
//! | `id` | of the order at the product |
//! | `text`, `marker` | of a comment |
//! | `now` | the time, in the preset's form; so is `order.due` |
//! | `since` | of a list: nothing older is wanted |
//! | `page`, `offset`, `page_size` | of a list, from 0 |
//! | `set` | what the settings say in `[cmms.set]` |
//!
//! A name that is not there is an error, not an empty text.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value, json};
use trimloop_core::time::Utc;
use trimloop_recipe::diagnostic::Diagnostic;
use trimloop_work::key::{ExtKey, Subject};

use super::preset::{Listed, Made, Placed, Preset, TimeForm};
use crate::codes::PRESET_TEMPLATE;
use crate::text::{shorten, titled};
use crate::when;
use crate::{Draft, Part, Reading, Trouble};

/// Renders templates of a preset.
pub(super) struct Templates {
    environment: Environment<'static>,
    set: Value,
}

/// What a request is made from.
pub(super) type Names = Map<String, Value>;

impl Templates {
    pub(super) fn new(set: &BTreeMap<String, String>) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // As they come, these two make something of a name that is not there.
        environment.add_filter("tojson", to_json);
        environment.add_filter("urlencode", url_encode);
        Self { environment, set: json!(set) }
    }

    /// The text that a template makes.
    pub(super) fn render(&self, template: &str, names: &Names) -> Result<String, minijinja::Error> {
        let mut names = names.clone();
        names.insert("set".to_owned(), self.set.clone());
        self.environment.render_str(template, Serde(&names))
    }

    /// As a request needs it: an order that a template cannot word is refused.
    pub(super) fn text(&self, template: &Placed, names: &Names) -> Result<String, Trouble> {
        self.render(template.get_ref(), names).map_err(|error| {
            Trouble::Refused(format!("the template of the preset cannot word it: {error}"))
        })
    }

    /// Tries every template of a preset with a sample.
    pub(super) fn check(&self, preset: &Preset) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let sample = sample();
        let bare = Draft {
            asset_ref: None,
            due: None,
            assignee: None,
            parts: Vec::new(),
            ..sample.clone()
        };
        for draft in [&sample, &bare] {
            let names = Self::names(preset, [("order", order(draft, preset))]);
            if found.is_empty() {
                self.try_made(&preset.create, &names, preset, &mut found);
            }
        }
        let one = Self::names(preset, key(sample.key));
        let one = with(one, [("id", json!("4711"))]);
        let comment = [("text", json!("a \"word\"\nmore")), ("marker", json!("tl-1"))];
        let comment = with(one.clone(), comment);
        let since = [("since", at(Utc::from_nanos(0), preset.time))];
        let many = with(one.clone(), since);
        let lists = preset.find.iter().chain([&preset.changed]).map(|list| (list, &many));
        let comments = preset.comments.iter().map(|(list, _)| (list, &comment));
        for (list, names) in lists.chain(comments) {
            let names = with(names.clone(), page(list, 0));
            self.try_made(&list.made, &names, preset, &mut found);
        }
        self.try_made(&preset.read, &one, preset, &mut found);
        self.try_made(&preset.check, &Self::names(preset, []), preset, &mut found);
        if let Some(made) = &preset.comment {
            self.try_made(made, &comment, preset, &mut found);
        }
        if let Some(made) = &preset.reading {
            let sample = Reading {
                meter: "88".into(),
                name: "cycles".into(),
                value: 1.5,
                at: Utc::from_nanos(0),
            };
            let names = Self::names(preset, reading(&sample, preset.time));
            self.try_made(made, &names, preset, &mut found);
        }
        let nothing = Names::new();
        for value in preset.headers.values() {
            self.try_text(value, &nothing, preset, &mut found);
        }
        found
    }

    fn try_made(&self, made: &Made, names: &Names, preset: &Preset, found: &mut Vec<Diagnostic>) {
        self.try_text(&made.path, names, preset, found);
        let Some(body) = &made.body else { return };
        let Some(text) = self.try_text(body, names, preset, found) else { return };
        if let Err(error) = serde_json::from_str::<Value>(&text) {
            let message = format!("with a sample order this makes no JSON: {error}");
            let help = "pass texts through `| tojson`, which also writes their quotes";
            let wrong = Diagnostic::error(&PRESET_TEMPLATE, &preset.source, body.span(), message);
            found.push(wrong.note(format!("it makes: {text}")).help(help));
        }
    }

    fn try_text(
        &self,
        template: &Placed,
        names: &Names,
        preset: &Preset,
        found: &mut Vec<Diagnostic>,
    ) -> Option<String> {
        let error = match self.render(template.get_ref(), names) {
            Ok(text) => return Some(text),
            Err(error) => error,
        };
        let mut start = template.span().start;
        let source = preset.source.text.get(start..).unwrap_or_default();
        // A line of a text in three quotes is a line of the file; a line end right behind the
        // quotes is not part of it. Other texts are on one line.
        let lines = ["'''", "\"\"\""].iter().find_map(|quotes| source.strip_prefix(quotes));
        if let Some(lines) = lines {
            let lines = lines.strip_prefix('\n').unwrap_or(lines);
            let above = error.line().unwrap_or(1).saturating_sub(1);
            let above: usize = lines.split_inclusive('\n').take(above).map(str::len).sum();
            if above > 0 {
                start += source.len() - lines.len() + above;
            }
        }
        let end = template.span().end.max(start);
        let detail = error.detail().map_or_else(|| error.to_string(), str::to_owned);
        let message = format!("this template cannot be used: {detail}");
        let mut wrong = Diagnostic::error(&PRESET_TEMPLATE, &preset.source, start..end, message);
        let known: Vec<String> =
            names.keys().map(String::as_str).chain(["set"]).map(str::to_owned).collect();
        wrong =
            wrong.help(format!("it may name: {}; set.X needs X in [cmms.set]", known.join(", ")));
        found.push(wrong);
        None
    }

    /// Names that hold for every request, and those of one.
    fn names<const N: usize>(preset: &Preset, more: [(&str, Value); N]) -> Names {
        let now = at(Utc::from_nanos(0), preset.time);
        with(with(Names::new(), [("now", now)]), more)
    }
}

fn defined(value: &minijinja::Value) -> Result<(), minijinja::Error> {
    if !value.is_undefined() {
        return Ok(());
    }
    let why = "there is no value of this name";
    Err(minijinja::Error::new(minijinja::ErrorKind::UndefinedError, why))
}

fn to_json(value: &minijinja::Value) -> Result<String, minijinja::Error> {
    defined(value)?;
    serde_json::to_string(value).map_err(|error| {
        minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, error.to_string())
    })
}

fn url_encode(value: &minijinja::Value) -> Result<String, minijinja::Error> {
    defined(value)?;
    minijinja::filters::urlencode(value)
}

/// The names with more.
pub(super) fn with<const N: usize>(mut names: Names, more: [(&str, Value); N]) -> Names {
    names.extend(more.map(|(name, value)| (name.to_owned(), value)));
    names
}

/// Names of an order by its key.
pub(super) fn key(key: ExtKey) -> [(&'static str, Value); 2] {
    [("key", json!(key.to_string())), ("fingerprint", json!(key.fingerprint.to_string()))]
}

/// Names of a reading.
pub(super) fn reading(of: &Reading, form: TimeForm) -> [(&'static str, Value); 4] {
    [
        ("meter", json!(of.meter)),
        ("name", json!(of.name)),
        ("value", json!(of.value)),
        ("time", at(of.at, form)),
    ]
}

/// Names of a page, from 0.
pub(super) fn page(list: &Listed, page: usize) -> [(&'static str, Value); 3] {
    let size = list.page_size.unwrap_or(0);
    [("page", json!(page)), ("offset", json!(page * size)), ("page_size", json!(size))]
}

/// A time as the product wants it.
pub(super) fn at(at: Utc, form: TimeForm) -> Value {
    match form {
        TimeForm::Rfc3339 => json!(when::rfc3339(at)),
        TimeForm::Sql => json!(when::sql(at)),
        TimeForm::Seconds => json!(when::seconds(at)),
        TimeForm::Millis => json!(when::millis(at)),
    }
}

/// The order, as templates see it.
pub(super) fn order(draft: &Draft, preset: &Preset) -> Value {
    let part = |part: &Part| json!({"reference": part.reference, "name": part.name, "quantity": part.quantity});
    let key = draft.key.to_string();
    let tail = format!("\n\n{key}");
    let body = shorten(&draft.body, preset.body_max.saturating_sub(tail.len()));
    json!({
        "key": key,
        "fingerprint": draft.key.fingerprint.to_string(),
        "title": draft.title,
        "titled": titled(&draft.title, draft.key, preset.title_max),
        "text": format!("{body}{tail}"),
        "body": body,
        "priority": draft.priority.clamp(1, 4),
        "asset": draft.asset,
        "asset_ref": draft.asset_ref,
        "due": draft.due.map(|due| at(due, preset.time)),
        "assignee": draft.assignee,
        "parts": draft.parts.iter().map(part).collect::<Vec<_>>(),
        "mode": draft.mode,
    })
}

/// An order with everything that may need care.
fn sample() -> Draft {
    let nobody = Subject {
        site: String::new(),
        cell: String::new(),
        asset: String::new(),
        mode: String::new(),
        component: String::new(),
    };
    Draft {
        key: ExtKey { fingerprint: nobody.fingerprint(), generation: 1 },
        title: "Check ring \"worn\"".to_owned(),
        body: "Cushion falls\\rises:\n5.2 mm.".to_owned(),
        priority: 2,
        asset: "press-4".to_owned(),
        asset_ref: Some("4711".to_owned()),
        due: Some(Utc::from_nanos(0)),
        assignee: Some("42".to_owned()),
        parts: vec![Part { reference: "88".into(), name: "Check ring".into(), quantity: 1 }],
        mode: "check_ring_worn".to_owned(),
    }
}
