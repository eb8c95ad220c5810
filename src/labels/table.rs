//! Labels out of a table: a row for each value, or a column for each characteristic.

use std::path::Path;

use super::{Label, LabelValue};
use crate::learn::LearnError;
use crate::learn::read::{TextCell, Texts};

/// Which columns say what; those that are left out are found by their usual names.
#[derive(Clone, Debug, Default)]
pub struct Titles {
    /// Part id; usually `part` or `part_id`.
    pub part: Option<String>,
    /// What is measured; usually `characteristic`. Without such a column every other one is a
    /// characteristic of its own.
    pub characteristic: Option<String>,
    /// Who measured; usually `source`.
    pub source: Option<String>,
    /// The value, beside a characteristic; usually `value`.
    pub value: Option<String>,
    /// Who measured, where no column says so.
    pub source_name: String,
}

/// The labels of a table; cells without a value are none.
///
/// # Errors
/// A column that is not there, a row without a part, a time that is none, no label at all.
pub fn labels_of(file: &Path, table: &Texts, titles: &Titles) -> Result<Vec<Label>, LearnError> {
    let find = |given: &Option<String>, usual: &[&str]| match given {
        Some(name) => table.place(name).map(Some).ok_or_else(|| LearnError::Columns {
            missing: vec![name.clone()],
            known: table.columns.iter().map(|(name, _)| name.clone()).collect(),
        }),
        None => Ok(usual.iter().find_map(|name| table.place(name))),
    };
    let part = find(&titles.part, &["part", "part_id"])?.ok_or_else(|| {
        let why = "no column says which part a label is of; name it by --part".to_owned();
        LearnError::Option(why)
    })?;
    let characteristic = find(&titles.characteristic, &["characteristic"])?;
    let source = find(&titles.source, &["source"])?;
    let (time, unit) = (table.time(), table.place("unit"));
    let value = find(&titles.value, &["value"])?;
    let values: Vec<usize> = match (characteristic, value) {
        (Some(_), Some(value)) => vec![value],
        (Some(_), None) => {
            let why = "no column holds the value of the characteristic; name it by --value";
            return Err(LearnError::Option(why.to_owned()));
        }
        (None, _) => {
            let other = |at: &usize| ![Some(part), source, time].contains(&Some(*at));
            (0..table.columns.len()).filter(other).collect()
        }
    };
    let mut labels = Vec::new();
    for (line, cells) in &table.rows {
        let wrong = |what: &str| LearnError::File {
            path: file.to_owned(),
            what: format!("line {line}: {what}"),
        };
        let text = |place: usize| cells.get(place).map_or("", |cell| cell.trim());
        if text(part).is_empty() {
            return Err(wrong("there is no part id"));
        }
        let measured = match time.map(text).filter(|text| !text.is_empty()) {
            Some(text) => Some(Texts::instant(text).ok_or_else(|| {
                wrong(&format!("\"{text}\" is no time; write 2026-11-22T10:00:05Z"))
            })?),
            None => None,
        };
        for place in &values {
            let value = match table.cell(text(*place)) {
                TextCell::Missing => continue,
                TextCell::Number(x) => LabelValue::Number(x),
                TextCell::Text(text) => LabelValue::Text(text),
            };
            let (name, of_title) = table.columns.get(*place).cloned().unwrap_or_default();
            let (name, unit) = match characteristic {
                Some(at) => (text(at).to_owned(), unit.map_or(of_title, |at| text(at).to_owned())),
                None => (name, of_title),
            };
            if name.is_empty() {
                return Err(wrong("the characteristic is not said"));
            }
            let source = source.map_or(titles.source_name.as_str(), text).to_owned();
            let part = text(part).to_owned();
            labels.push(Label { part, characteristic: name, source, value, unit, measured });
        }
    }
    if labels.is_empty() {
        return Err(LearnError::NoRows(format!("{} holds no label", file.display())));
    }
    Ok(labels)
}
