//! Drives a scorer over a frame.

use trimloop_recipe::unit::Unit;

use super::kinds::{Domain, Scorer};
use super::{Frame, LearnError, Values};
use crate::export::{Cell, Column, Kind, Sheet};

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows in and out.
    pub rows: usize,
    /// Rows like those of training.
    pub inside: usize,
    /// Rows unlike them.
    pub outside: usize,
    /// Rows with a missing input.
    pub missing: usize,
}

/// A column of the frame as an input of the model.
enum Bound<'f> {
    Number(&'f [f64]),
    /// Code of each row, and for each code its place among the levels of the model.
    Text(&'f [u32], Vec<f64>),
}

impl Bound<'_> {
    fn value(&self, row: usize) -> f64 {
        match self {
            Self::Number(numbers) => numbers.get(row).copied().unwrap_or(f64::NAN),
            Self::Text(codes, places) => {
                let code = codes.get(row).and_then(|code| usize::try_from(*code).ok());
                code.and_then(|code| places.get(code)).copied().unwrap_or(f64::NAN)
            }
        }
    }
}

/// Titles of a table of scores: the time, then what the scorer gives.
#[must_use]
pub fn columns(scorer: &dyn Scorer) -> Vec<Column> {
    let mut columns = vec![Column::new("time", Kind::Text)];
    columns.extend(scorer.columns());
    columns
}

/// Scores every row, in the order of the frame; a row out for each row in. Nothing is written to a
/// sheet before it is sure that rows can be scored.
///
/// # Errors
/// Columns that are missing or in another unit, cells that are no numbers, no row with all values,
/// a sheet that cannot be written.
pub fn score<'s>(
    frame: &Frame,
    scorer: &mut dyn Scorer,
    sheet: impl FnOnce(&[Column]) -> std::io::Result<Box<dyn Sheet + 's>>,
) -> Result<Summary, LearnError> {
    let inputs = scorer.inputs().to_vec();
    let bound = bind(frame, &inputs)?;
    let whole = |row: usize| bound.iter().all(|column| !column.value(row).is_nan());
    if !(0..frame.rows()).any(whole) {
        let why = "every row lacks a value that the model needs".to_owned();
        return Err(LearnError::NoRows(why));
    }
    let mut sheet = sheet(&columns(scorer)).map_err(LearnError::Write)?;
    let mut summary = Summary { rows: frame.rows(), ..Summary::default() };
    let mut values = vec![0.0; inputs.len()];
    let mut starts = frame.files().iter().map(|(_, rows)| rows.start).skip(1).peekable();
    for row in 0..frame.rows() {
        while starts.next_if_eq(&row).is_some() {
            scorer.restart();
        }
        for (value, column) in values.iter_mut().zip(&bound) {
            *value = column.value(row);
        }
        let mut cells = vec![Cell::Text(frame.shown_time(row).into())];
        match scorer.row(&values, &mut cells) {
            Domain::In => summary.inside += 1,
            Domain::Out => summary.outside += 1,
            Domain::Missing => summary.missing += 1,
        }
        sheet.row(&cells).map_err(LearnError::Write)?;
    }
    sheet.finish().map_err(LearnError::Write)?;
    Ok(summary)
}

fn bind<'f>(
    frame: &'f Frame,
    inputs: &[super::kinds::Input],
) -> Result<Vec<Bound<'f>>, LearnError> {
    let missing: Vec<String> = inputs
        .iter()
        .filter(|input| frame.column(&input.name).is_none())
        .map(|input| input.name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(LearnError::Columns { missing, known: frame.names() });
    }
    let mut bound = Vec::new();
    for input in inputs {
        let column = frame.need(&input.name)?;
        if !same_unit(&column.unit, &input.unit) {
            return Err(LearnError::Unit {
                column: input.name.clone(),
                model: input.unit.clone(),
                data: column.unit.clone(),
            });
        }
        bound.push(if input.levels.is_empty() {
            Bound::Number(column.numbers()?)
        } else {
            texts(column, &input.levels)?
        });
    }
    Ok(bound)
}

/// Whether two units may be the same: where one is not given nothing contradicts, and `°C` is
/// `degC`.
pub(super) fn same_unit(a: &str, b: &str) -> bool {
    let known = || Some(Unit::parse(a).ok()?.is_same(&Unit::parse(b).ok()?));
    a.is_empty() || b.is_empty() || a == b || known().unwrap_or(false)
}

fn texts<'f>(column: &'f super::Column, levels: &[String]) -> Result<Bound<'f>, LearnError> {
    match &column.values {
        Values::Text { levels: found, codes } => {
            #[expect(clippy::cast_precision_loss, reason = "a few levels")]
            let place = |text: &String| {
                levels.iter().position(|level| level == text).map_or(-1.0, |place| place as f64)
            };
            Ok(Bound::Text(codes, found.iter().map(place).collect()))
        }
        // Nothing in the column: missing in every row.
        Values::Number(numbers) if numbers.iter().all(|x| x.is_nan()) => Ok(Bound::Number(numbers)),
        Values::Number(_) => Err(LearnError::Train(format!(
            "the column {} holds numbers, the model was trained on texts such as {}",
            column.name,
            levels.first().map_or("", String::as_str)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units contradict only where both are given and differ.
    #[test]
    fn units_contradict_where_both_are_given() {
        for (a, b, same) in
            [("bar", "bar", true), ("", "bar", true), ("bar", "MPa", false), ("x1", "x2", false)]
        {
            assert_eq!(same_unit(a, b), same, "{a} {b}");
        }
    }
}
