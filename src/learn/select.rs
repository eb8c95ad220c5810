//! Which columns and rows a kind of model learns from.

use super::leak::{is_count, only_rises};
use super::{Column, Frame, LearnError};

/// Beyond it squares of a few rows overflow, and no sensor reads it.
const ABSURD: f64 = 1e100;

/// Columns and rows that can be learnt from.
#[derive(Debug)]
pub struct Inputs<'f> {
    /// Columns of numbers that change.
    pub columns: Vec<&'f Column>,
    /// Rows in which each of these columns, and the label where there is one, has a value.
    pub rows: Vec<usize>,
    /// What was left out, for the card and for people.
    pub left_out: Vec<String>,
}

/// Columns of numbers that change, without `ignore`, and their rows without gaps. Texts, columns
/// that stay the same, number the rows or only rise with them, and columns mostly without values are
/// left out and told.
///
/// - `label`: left out of the inputs; rows without it are left out too.
///
/// # Errors
/// An ignored or label column that is not there, a cell that is no number or an absurd one, no
/// column or row left.
pub fn numeric_inputs<'f>(
    frame: &'f Frame,
    label: Option<&str>,
    ignore: &[String],
) -> Result<Inputs<'f>, LearnError> {
    for name in ignore.iter().filter(|name| !frame.is_time(name)) {
        frame.need(name)?;
    }
    let label = label.map(|name| frame.need(name)).transpose()?;
    let rows = frame.rows();
    let files: Vec<_> = frame.files().iter().map(|(_, rows)| rows.clone()).collect();
    let mut columns = Vec::new();
    let mut left_out = Vec::new();
    for column in frame.columns() {
        let is_label = label.is_some_and(|label| label.name == column.name);
        if is_label || ignore.contains(&column.name) {
            continue;
        }
        if column.is_text() {
            left_out.push(format!("{} holds text", column.name));
            continue;
        }
        let numbers = column.numbers()?;
        if let Some(row) = numbers.iter().position(|x| x.abs() > ABSURD) {
            let x = numbers.get(row).copied().unwrap_or_default();
            let why = format!(
                "{} is {x:e} in row {} of the data: a mark for \"no value\", perhaps; make such cells \
                 empty, or leave the column out by --ignore",
                column.name,
                row + 1
            );
            return Err(LearnError::Train(why));
        }
        if 2 * column.missing() > rows {
            left_out.push(format!(
                "{} has a value in {} of {rows} rows only",
                column.name,
                rows - column.missing()
            ));
        } else if constant(numbers) {
            left_out.push(format!("{} does not change", column.name));
        } else if is_count(numbers) {
            left_out.push(format!("{} numbers the rows", column.name));
        } else if only_rises(numbers, &files) {
            left_out.push(format!("{} only rises, as a clock or a counter does", column.name));
        } else {
            columns.push(column);
        }
    }
    let mut series = Vec::new();
    for column in columns.iter().chain(&label) {
        series.push(column.numbers()?);
    }
    let whole = |row: &usize| series.iter().all(|x| x.get(*row).is_some_and(|x| x.is_finite()));
    let kept: Vec<usize> = (0..rows).filter(whole).collect();
    if columns.is_empty() {
        let why = format!("no column is left to learn from ({})", left_out.join("; "));
        return Err(LearnError::Train(why));
    }
    if kept.is_empty() {
        let why = "in every row a value is missing; leave out the columns with gaps by --ignore";
        return Err(LearnError::NoRows(why.to_owned()));
    }
    if kept.len() < rows {
        left_out.push(format!("{} of {rows} rows have a missing value", rows - kept.len()));
    }
    Ok(Inputs { columns, rows: kept, left_out })
}

fn constant(numbers: &[f64]) -> bool {
    let known = numbers.iter().copied().filter(|x| x.is_finite());
    let ends =
        known.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let size = ends.0.abs().max(ends.1.abs());
    ends.1 - ends.0 <= 1e-12 * size
}

impl Inputs<'_> {
    /// The kept rows, `[n][p]`, in the order of `columns`.
    ///
    /// # Errors
    /// [`LearnError::Cell`] as [`Column::numbers`].
    pub fn matrix(&self) -> Result<Vec<Vec<f64>>, LearnError> {
        let mut series = Vec::new();
        for column in &self.columns {
            series.push(column.numbers()?);
        }
        let value = |x: &&[f64], row: usize| x.get(row).copied().unwrap_or(f64::NAN);
        let row = |row: &usize| series.iter().map(|x| value(x, *row)).collect();
        Ok(self.rows.iter().map(row).collect())
    }
}
