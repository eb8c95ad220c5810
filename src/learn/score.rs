//! Drives a scorer over a frame.

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

/// Scores every row, in the order of the frame; a row out for each row in.
///
/// # Errors
/// Columns that are missing or in another unit, cells that are no numbers, a sheet that cannot be
/// written.
pub fn score(
    frame: &Frame,
    scorer: &mut dyn Scorer,
    sheet: &mut dyn Sheet,
) -> Result<Summary, LearnError> {
    let inputs = scorer.inputs().to_vec();
    let bound = bind(frame, &inputs)?;
    let mut summary = Summary { rows: frame.rows(), ..Summary::default() };
    let mut values = vec![0.0; inputs.len()];
    let starts: Vec<usize> = frame.files().iter().map(|(_, rows)| rows.start).collect();
    for row in 0..frame.rows() {
        if row > 0 && starts.contains(&row) {
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
    if summary.missing == summary.rows {
        let why = "every row lacks a value that the model needs".to_owned();
        return Err(LearnError::NoRows(why));
    }
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
        // A table without units cannot contradict the model.
        if !column.unit.is_empty() && column.unit != input.unit {
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
