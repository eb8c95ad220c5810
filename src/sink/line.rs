//! Rows as lines of InfluxDB's line protocol. The crate's parser is the oracle of the tests.

use std::fmt::Write as _;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::measurements::{Kind, Measurement};

/// What every line says about where it is from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The cell.
    pub cell: String,
    /// The site; empty for none.
    pub site: String,
}

/// Appends the line of a row, with its line end. `false`, and nothing appended, when the row has
/// no field at all.
///
/// # Errors
/// When the row has not the columns of its measurement.
pub(super) fn push_row(
    out: &mut String,
    origin: &Origin,
    measurement: &Measurement,
    row: &Row<'_>,
) -> rusqlite::Result<bool> {
    let begin = out.len();
    out.push_str(measurement.name);
    push_tag(out, "cell", &origin.cell);
    let mut column = 2;
    for tag in measurement.tags {
        match row.get_ref(column)? {
            ValueRef::Text(text) => push_tag(out, tag.key, &String::from_utf8_lossy(text)),
            ValueRef::Integer(number) => push_tag(out, tag.key, &number.to_string()),
            _ => {}
        }
        column += 1;
    }
    push_tag(out, "site", &origin.site);
    let mut separator = ' ';
    for field in measurement.fields {
        let value = row.get_ref(column)?;
        column += 1;
        if push_field(out, separator, field.key, field.kind, value) {
            separator = ',';
        }
    }
    if separator == ' ' {
        out.truncate(begin);
        return Ok(false);
    }
    let (ts, bump): (i64, i64) = (row.get(0)?, row.get(1)?);
    push(out, format_args!(" {}\n", ts.saturating_add(bump)));
    Ok(true)
}

/// Writing into a text does not fail.
fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}

/// A tag; an empty value is none. The format cannot say a line end in one, nor a backslash before
/// what it escapes, so both become `_`.
pub(super) fn push_tag(out: &mut String, key: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    out.push(',');
    out.push_str(key);
    out.push('=');
    for c in value.chars() {
        match c {
            ',' | '=' | ' ' => {
                out.push('\\');
                out.push(c);
            }
            '\\' => out.push('_'),
            c if c.is_control() => out.push('_'),
            c => out.push(c),
        }
    }
}

/// A field of its kind; `false` for one without a value, or with one that the format cannot say.
pub(super) fn push_field(
    out: &mut String,
    separator: char,
    key: &str,
    kind: Kind,
    value: ValueRef<'_>,
) -> bool {
    let head = out.len();
    out.push(separator);
    out.push_str(key);
    out.push('=');
    match (kind, value) {
        (Kind::Float, ValueRef::Real(x)) if x.is_finite() => push(out, format_args!("{x:?}")),
        (Kind::Float, ValueRef::Integer(i)) => push(out, format_args!("{:?}", i as f64)),
        (Kind::Int, ValueRef::Integer(i)) => push(out, format_args!("{i}i")),
        (Kind::Bool, ValueRef::Integer(i)) => out.push_str(if i == 0 { "false" } else { "true" }),
        (Kind::Text, ValueRef::Text(text)) => push_text(out, &String::from_utf8_lossy(text)),
        _ => {
            out.truncate(head);
            return false;
        }
    }
    true
}

fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use influxdb_line_protocol::{FieldValue, parse_lines};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever names and values are, the parser of InfluxDB's own crate reads one line, with
        /// the kinds that we meant and the values that the format can say.
        #[test]
        fn the_parser_reads_what_was_written(
            name in ".{1,20}", text in ".{0,30}", x in any::<f64>(), i in any::<i64>(),
            ts in any::<i64>(),
        ) {
            let mut out = "m".to_owned();
            push_tag(&mut out, "tag", &name);
            let mut first = true;
            let mut separator = || if std::mem::take(&mut first) { ' ' } else { ',' };
            push_field(&mut out, separator(), "i", Kind::Int, ValueRef::Integer(i));
            let wrote = push_field(&mut out, separator(), "x", Kind::Float, ValueRef::Real(x));
            push_field(&mut out, separator(), "t", Kind::Text, ValueRef::Text(text.as_bytes()));
            push(&mut out, format_args!(" {ts}\n"));
            let lines: Vec<_> = parse_lines(&out).collect();
            prop_assert_eq!(lines.len(), 1);
            let line = lines.into_iter().next().unwrap().unwrap();
            prop_assert_eq!(line.timestamp, Some(ts));
            let replaced = |c: char| if c == '\\' || c.is_control() { '_' } else { c };
            let wanted: String = name.chars().map(replaced).collect();
            prop_assert_eq!(line.tag_value("tag").unwrap().to_string(), wanted);
            prop_assert_eq!(wrote, x.is_finite());
            let printed: String =
                text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            for (key, value) in &line.field_set {
                match (key.as_str(), value) {
                    ("i", FieldValue::I64(read)) => prop_assert_eq!(*read, i),
                    ("x", FieldValue::F64(read)) => prop_assert_eq!(read.to_bits(), x.to_bits()),
                    ("t", FieldValue::String(read)) => prop_assert_eq!(read.as_str(), &printed),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }

    /// A kind that does not fit leaves the field out; it is never sent as another kind.
    #[test]
    fn a_field_has_its_kind_or_is_not_there() {
        let mut out = String::new();
        assert!(!push_field(&mut out, ' ', "v", Kind::Float, ValueRef::Real(f64::NAN)));
        assert!(!push_field(&mut out, ' ', "v", Kind::Float, ValueRef::Null));
        assert!(!push_field(&mut out, ' ', "v", Kind::Int, ValueRef::Real(1.5)));
        assert!(!push_field(&mut out, ' ', "v", Kind::Bool, ValueRef::Text(b"true")));
        assert_eq!(out, "");
        assert!(push_field(&mut out, ' ', "v", Kind::Float, ValueRef::Integer(3)));
        assert_eq!(out, " v=3.0");
    }
}
