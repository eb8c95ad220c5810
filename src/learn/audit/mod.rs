//! What is wrong with data before anything is learnt from them.
//!
//! Every finding says where it is, what was found, why it matters and what to do next. A *problem*
//! makes a model wrong; a *warning* may; a *note* is worth knowing.

mod columns;
mod labels;
mod rows;
mod time;

use serde::Serialize;

use super::card::CardTable;
use super::{Frame, LearnError};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A model learnt from these rows is wrong.
    Problem,
    /// It may be.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// Word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which check: `gaps`, `frozen`, `outliers`, `quantised`, `clock`, `units`, `duplicates`,
    /// `leakage`, `balance`, `bias`, `constant`, `repeats`, `memory`, `text`.
    pub check: &'static str,
    /// Column, rows, file.
    pub place: String,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub next: &'static str,
}

/// Findings, worst first, with a summary of each column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Rows that were looked at.
    pub rows: usize,
    /// Columns, the time left out.
    pub columns: usize,
    /// When they were recorded: first and last time as written; empty without a time.
    pub recorded: String,
    /// What was found, worst first.
    pub findings: Vec<Finding>,
    /// A row for each column.
    #[serde(skip)]
    pub summary: CardTable,
}

impl Audit {
    /// Number of findings of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Looks a table through.
///
/// - `label`: column that shall be learnt; without it leakage, balance and bias are not looked at.
///
/// # Errors
/// A label column that is not there, a cell that is no number.
pub fn audit(frame: &Frame, label: Option<&str>) -> Result<Audit, LearnError> {
    let label = label.map(|name| frame.need(name)).transpose()?;
    let mut findings = Vec::new();
    let (found, summary) = columns::look(frame)?;
    findings.extend(found);
    findings.extend(time::look(frame));
    findings.extend(rows::look(frame)?);
    if let Some(label) = label {
        findings.extend(labels::look(frame, label)?);
    }
    // Stable: within a severity the order of the checks stays.
    findings.sort_by_key(|finding| finding.severity);
    let recorded = match frame.time() {
        Some(_) => format!("{} to {}", frame.shown_time(0), frame.shown_time(frame.rows() - 1)),
        None => String::new(),
    };
    let (rows, columns) = (frame.rows(), frame.columns().len());
    Ok(Audit { rows, columns, recorded, findings, summary })
}

/// Values that are there, with their rows counted from 1.
fn known(values: &[f64]) -> impl Iterator<Item = (usize, f64)> + '_ {
    values.iter().enumerate().filter(|(_, x)| x.is_finite()).map(|(row, x)| (row + 1, *x))
}

/// Middle of sorted values; NaN without any.
fn median(sorted: &[f64]) -> f64 {
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => at(n / 2),
        n => f64::midpoint(at(n / 2 - 1), at(n / 2)),
    }
}

/// Rows for people: `3, 7, 12 and 40 more`.
fn some_rows(rows: &[usize]) -> String {
    let shown: Vec<String> = rows.iter().take(5).map(usize::to_string).collect();
    let rest = rows.len().saturating_sub(5);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests;
