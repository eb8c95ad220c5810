//! Which columns and rows a kind of model learns from.

use super::{Column, Frame, LearnError};

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
/// that stay the same and columns mostly without values are left out and told.
///
/// - `label`: left out of the inputs; rows without it are left out too.
///
/// # Errors
/// An ignored or label column that is not there, a cell that is no number, no column or row left.
pub fn numeric_inputs<'f>(
    frame: &'f Frame,
    label: Option<&str>,
    ignore: &[String],
) -> Result<Inputs<'f>, LearnError> {
    for name in ignore {
        frame.need(name)?;
    }
    let label = label.map(|name| frame.need(name)).transpose()?;
    let rows = frame.rows();
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
        if 2 * column.missing() > rows {
            left_out.push(format!(
                "{} has a value in {} of {rows} rows only",
                column.name,
                rows - column.missing()
            ));
        } else if constant(numbers) {
            left_out.push(format!("{} does not change", column.name));
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
