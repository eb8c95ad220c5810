//! Values of a server for people: text for a line, JSON for a machine.

use opcua::types::Variant;
use serde_json::{Value, json};

use super::decode::value_of;
use trimloop_core::tag::Value as TagValue;

/// Elements of an array that are written out.
const ELEMENTS_MAX: usize = 16;
/// Letters of a text that are written out.
const LETTERS_MAX: usize = 200;

/// A value as people and machines see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// For a line.
    pub text: String,
    /// For a machine; numbers that JSON cannot carry are texts.
    pub json: Value,
}

impl Shown {
    /// No value.
    #[must_use]
    pub fn nothing() -> Self {
        Self { text: "-".to_owned(), json: Value::Null }
    }

    fn word(text: String) -> Self {
        let json = Value::String(text.clone());
        Self { text, json }
    }
}

/// A value of a tag.
#[must_use]
pub fn show_tag(value: TagValue) -> Shown {
    match value {
        TagValue::Bool(on) => Shown { text: on.to_string(), json: json!(on) },
        TagValue::Int(number) => Shown { text: number.to_string(), json: json!(number) },
        TagValue::Float(number) => match serde_json::Number::from_f64(number) {
            Some(exact) => Shown { text: number.to_string(), json: Value::Number(exact) },
            None => Shown::word(number.to_string()),
        },
    }
}

pub(super) fn show(variant: &Variant) -> Shown {
    match variant {
        Variant::Empty => Shown::nothing(),
        Variant::DateTime(time) if time.is_null() => Shown::nothing(),
        Variant::DateTime(time) => Shown::word(time.to_rfc3339()),
        // The shortest text of the single precision, not of what it is in double.
        Variant::Float(number) if number.is_finite() => {
            let text = number.to_string();
            let json = text.parse::<f64>().map_or(Value::Null, |number| json!(number));
            Shown { text, json }
        }
        Variant::String(text) => Shown::word(short(text.as_ref())),
        Variant::LocalizedText(text) => Shown::word(short(text.text.as_ref())),
        Variant::UInt64(number) => Shown { text: number.to_string(), json: json!(number) },
        Variant::Array(array) => {
            let all: Vec<Shown> = array.values.iter().take(ELEMENTS_MAX).map(show).collect();
            let mut text: Vec<&str> = all.iter().map(|one| one.text.as_str()).collect();
            let more = format!("... {} in all", array.values.len());
            if array.values.len() > ELEMENTS_MAX {
                text.push(&more);
            }
            let text = format!("[{}]", text.join(", "));
            Shown { text, json: all.into_iter().map(|one| one.json).collect() }
        }
        Variant::ExtensionObject(_) => Shown::word("(structure)".to_owned()),
        other => match value_of(other) {
            Ok(Some(value)) => show_tag(value),
            Ok(None) => Shown::nothing(),
            Err(_) => Shown::word(short(&other.to_string())),
        },
    }
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(LETTERS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values read as they were written; what JSON cannot carry is a text.
    #[test]
    fn values_are_shown() {
        for (variant, text, json) in [
            (Variant::Double(231.25), "231.25", json!(231.25)),
            (Variant::Float(0.1), "0.1", json!(0.1)),
            (Variant::Double(f64::NAN), "NaN", json!("NaN")),
            (Variant::UInt64(u64::MAX), "18446744073709551615", json!(u64::MAX)),
            (Variant::Boolean(true), "true", json!(true)),
            (Variant::from("hot"), "hot", json!("hot")),
            (Variant::from(vec![1_i32, 2]), "[1, 2]", json!([1, 2])),
            (Variant::Empty, "-", Value::Null),
        ] {
            assert_eq!(show(&variant), Shown { text: text.to_owned(), json });
        }
        let long = show(&Variant::from(vec![0_u8; 100]));
        assert!(long.text.ends_with("100 in all]"), "{}", long.text);
    }
}
