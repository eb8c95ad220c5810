//! Small tables as texts, where a part id must stay what is written: CSV, or an array of JSON
//! objects.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

use serde_json::Value;

use super::csv;
use super::table::Source as _;
use super::title::{instant, is_time, is_unit_row, named, number, unit_of};
use crate::learn::{LearnError, is_name};

/// A table of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    /// Name and unit of each column.
    pub columns: Vec<(String, String)>,
    /// `[rows]` line or place, counted from 1, and `[columns]` cells.
    pub rows: Vec<(u64, Vec<String>)>,
    decimal_comma: bool,
}

/// What a cell says.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Missing,
    /// A finite number.
    Number(f64),
    /// Another text.
    Text(String),
}

/// Reads a table.
///
/// - `items`: where in a JSON document the array stands (RFC 6901), such as `/data/labels`.
///
/// # Errors
/// [`LearnError::File`] for what is no table.
pub fn texts(name: &Path, bytes: &[u8], items: Option<&str>) -> Result<Texts, LearnError> {
    let wrong = |what: String| LearnError::File { path: name.to_owned(), what };
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'[' | b'{')) || items.is_some() {
        return json(bytes, items).map_err(wrong);
    }
    let (mut source, decimal_comma) = csv::rows(Cursor::new(bytes)).map_err(wrong)?;
    let mut cells = Vec::new();
    source.next(&mut cells).map_err(wrong)?;
    let mut table = Texts {
        columns: cells.iter().map(|title| named(title)).collect(),
        rows: Vec::new(),
        decimal_comma,
    };
    while let Some(line) = source.next(&mut cells).map_err(wrong)? {
        if table.rows.is_empty() && is_unit_row(&cells) {
            for ((_, unit), cell) in table.columns.iter_mut().zip(&cells) {
                if unit.is_empty() {
                    *unit = unit_of(cell);
                }
            }
        } else if cells.iter().any(|cell| !cell.trim().is_empty()) {
            let (have, width) = (cells.len(), table.columns.len());
            if have != width {
                return Err(wrong(format!("line {line} has {have} cells, the titles are {width}")));
            }
            table.rows.push((line, std::mem::take(&mut cells)));
        }
    }
    Ok(table)
}

/// Objects as rows; a key that only some of them have is empty in the others.
fn json(bytes: &[u8], items: Option<&str>) -> Result<Texts, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let array = match items {
        Some(pointer) => document.pointer(pointer).ok_or_else(|| {
            format!("it has nothing at {pointer}; write a JSON pointer, such as /data/labels")
        })?,
        None => &document,
    };
    let array = array.as_array().ok_or("it is no JSON array of objects; say where one is")?;
    let mut table = Texts::default();
    let mut places = HashMap::new();
    for (number, object) in (1..).zip(array) {
        let object = object.as_object().ok_or(format!("item {number} is no object"))?;
        let mut row = vec![String::new(); table.columns.len()];
        for (key, value) in object {
            let place = *places.entry(key.clone()).or_insert_with(|| {
                table.columns.push(named(key));
                table.columns.len() - 1
            });
            row.resize(table.columns.len(), String::new());
            let text = match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => {
                    return Err(format!("item {number}: {key} is no number, text or truth value"));
                }
            };
            if let Some(slot) = row.get_mut(place) {
                *slot = text;
            }
        }
        table.rows.push((number, row));
    }
    for (_, row) in &mut table.rows {
        row.resize(table.columns.len(), String::new());
    }
    Ok(table)
}

impl Texts {
    /// Place of a column, capital letters aside.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// Place of the time of the rows.
    #[must_use]
    pub fn time(&self) -> Option<usize> {
        self.columns.iter().position(|(name, _)| is_time(name))
    }

    /// What a cell says; `01` is no number, it would lose its zero.
    #[must_use]
    pub fn cell(&self, text: &str) -> Cell {
        match number(text, self.decimal_comma) {
            Some(x) if x.is_nan() => Cell::Missing,
            Some(_) if is_name(text.trim()) => Cell::Text(text.trim().to_owned()),
            Some(x) => Cell::Number(x),
            None => Cell::Text(text.trim().to_owned()),
        }
    }

    /// A time [ns UTC]; `None` where a cell says none.
    #[must_use]
    pub fn instant(text: &str) -> Option<i64> {
        instant(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, items: Option<&str>) -> Result<Texts, String> {
        texts(Path::new("t"), text.as_bytes(), items).map_err(|error| error.to_string())
    }

    /// Part ids stay as written, in CSV and in JSON; what is no table says why.
    #[test]
    fn texts_stay_as_written() {
        let table = of("part;weight [g]\n007;19,5\n\n12345678901234567890;\n", None).unwrap();
        assert_eq!(table.columns[1], ("weight".to_owned(), "g".to_owned()));
        assert_eq!(
            table.rows,
            [
                (2, vec!["007".to_owned(), "19,5".to_owned()]),
                (4, vec!["12345678901234567890".to_owned(), String::new()]),
            ]
        );
        assert_eq!(table.cell("19,5"), Cell::Number(19.5));
        assert_eq!((table.cell(""), table.cell("ok")), (Cell::Missing, Cell::Text("ok".into())));
        assert_eq!(table.cell(" 01 "), Cell::Text("01".into()));
        let json =
            r#"{"data": [{"part": 12345678901234567890, "w": 0.1}, {"part": "7", "ok": true}]}"#;
        let table = of(json, Some("/data")).unwrap();
        let row = |place: usize| table.rows[place].1.join("|");
        assert_eq!((row(0), row(1)), ("12345678901234567890|0.1|".into(), "7||true".into()));
        for (text, items, part) in [
            (json, None, "no JSON array"),
            (json, Some("/labels"), "nothing at /labels"),
            ("[1]", None, "item 1 is no object"),
            ("[{\"a\": [1]}]", None, "item 1: a"),
            ("[{", None, "EOF"),
            ("a,b\n1\n", None, "line 2 has 1 cells"),
        ] {
            let error = of(text, items).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
