//! The one structural mistake: what serde and the TOML reader say, in our words.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::codes;
use crate::diagnostic::{Diagnostic, Source, did_you_mean};

/// Longest file that is read, in bytes: [`TAGS_MAX`](trimloop_core::plan::TAGS_MAX) tags with a
/// table of some 250 bytes each.
pub const TEXT_MAX: usize = 16 << 20;

/// Reads a TOML text into its raw shape.
///
/// # Errors
/// The first structural mistake.
pub fn parse<T: DeserializeOwned>(source: &Arc<Source>) -> Result<T, Box<Diagnostic>> {
    if source.text.len() > TEXT_MAX {
        let message =
            format!("the file has {} bytes; at most {TEXT_MAX} are read", source.text.len());
        return Err(Box::new(Diagnostic::error(&codes::TOO_MANY, source, 0..0, message)));
    }
    toml::from_str(&source.text).map_err(|error| Box::new(explain(source, &error)))
}

fn explain(source: &Arc<Source>, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    let said = error.message();
    if let Some((word, known)) = listed(said, "unknown field `") {
        let message = format!("there is no key \"{word}\" here");
        let hint = did_you_mean(word, known.iter().copied())
            .unwrap_or_else(|| format!("keys here: {}", known.join(", ")));
        return Diagnostic::error(&codes::UNKNOWN_KEY, source, span, message)
            .label("not a key of this table")
            .help(hint);
    }
    if let Some((word, _)) = listed(said, "missing field `") {
        let message = format!("the key \"{word}\" is missing");
        return Diagnostic::error(&codes::MISSING_KEY, source, span, message)
            .label(format!("needs `{word} = …`"));
    }
    if let Some(rest) = said.strip_prefix("invalid type: ") {
        let (got, wanted) = rest.split_once(", expected ").unwrap_or((rest, "something else"));
        let got = if got == "map" { "a table" } else { got };
        let message = format!("expected {}, found {got}", plain(wanted));
        return Diagnostic::error(&codes::WRONG_TYPE, source, span, message);
    }
    if let Some(rest) = said.strip_prefix("invalid length ") {
        let (got, _) = rest.split_once(',').unwrap_or((rest, ""));
        let message = format!("expected two values, low and high, found {got}");
        return Diagnostic::error(&codes::WRONG_TYPE, source, span, message);
    }
    if said == "duplicate key" {
        return Diagnostic::error(&codes::SYNTAX, source, span, "this key is given twice")
            .help("keep one of the two: nothing says which one counts");
    }
    let message = format!("this is not TOML: {said}");
    Diagnostic::error(&codes::SYNTAX, source, span, message)
}

/// The word in backticks after `prefix`, and all words in backticks after it.
fn listed<'a>(said: &'a str, prefix: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (word, rest) = said.strip_prefix(prefix)?.split_once('`')?;
    Some((word, rest.split('`').skip(1).step_by(2).collect()))
}

/// Type names of serde in words of the reader.
fn plain(wanted: &str) -> String {
    match wanted {
        "i64" => "a whole number".to_owned(),
        "a string" => "a text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list [ … ]".to_owned(),
        "an array of length 2" => "a list of two values, low and high".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}
