//! Rows: doubles, and how much memory there is between neighbours.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::columns::finding;
use super::{Finding, Severity, known, median, some_rows};
use crate::learn::{Frame, LearnError, Values};

/// Rows that fewer independent ones than this are worth are few.
const EFFECTIVE_MIN: f64 = 200.0;

pub(super) fn look(frame: &Frame) -> Result<Vec<Finding>, LearnError> {
    let mut found = Vec::new();
    found.extend(doubles(frame));
    found.extend(memory(frame)?);
    Ok(found)
}

fn digest(frame: &Frame, row: usize) -> u64 {
    // Fixed keys: the same table gives the same report.
    let mut hasher = DefaultHasher::new();
    for column in frame.columns() {
        match &column.values {
            Values::Number(numbers) => {
                numbers.get(row).map_or(0, |x| x.to_bits()).hash(&mut hasher);
            }
            Values::Text { codes, .. } => codes.get(row).hash(&mut hasher),
        }
    }
    hasher.finish()
}

fn same(frame: &Frame, a: usize, b: usize) -> bool {
    frame.columns().iter().all(|column| match &column.values {
        Values::Number(numbers) => {
            numbers.get(a).map(|x| x.to_bits()) == numbers.get(b).map(|x| x.to_bits())
        }
        Values::Text { codes, .. } => codes.get(a) == codes.get(b),
    })
}

fn doubles(frame: &Frame) -> Option<Finding> {
    let mut seen: HashMap<u64, usize> = HashMap::new();
    let mut rows = Vec::new();
    for row in 0..frame.rows() {
        let first = *seen.entry(digest(frame, row)).or_insert(row);
        if first != row && same(frame, first, row) {
            rows.push(row + 1);
        }
    }
    let share = rows.len() as f64 / frame.rows() as f64;
    (!rows.is_empty()).then(|| {
        finding(
            (if share > 0.01 { Severity::Warning } else { Severity::Note }, "duplicates"),
            "rows",
            format!("{} rows repeat an earlier one in every column: {}", rows.len(), some_rows(&rows)),
            "A double on both sides of a split is known by heart: the model looks better than it is.",
            "drop the doubles, unless the machine really stood still",
        )
    })
}

/// From the median lag-1 autocorrelation r of the columns: `n (1 - r) / (1 + r)` rows.
fn memory(frame: &Frame) -> Result<Option<Finding>, LearnError> {
    let mut found = Vec::new();
    for column in frame.columns().iter().filter(|column| !column.is_text()) {
        let values = column.numbers()?;
        let n = known(values).count().max(1) as f64;
        let mean = known(values).map(|(_, x)| x).sum::<f64>() / n;
        let square: f64 = known(values).map(|(_, x)| (x - mean) * (x - mean)).sum();
        if square > 0.0 {
            let pairs = values.iter().zip(values.iter().skip(1));
            let lagged = pairs.map(|(a, b)| (a - mean) * (b - mean)).filter(|x| x.is_finite());
            found.push(lagged.sum::<f64>() / square);
        }
    }
    found.sort_by(f64::total_cmp);
    let r = median(&found).clamp(0.0, 0.999);
    let effective = frame.rows() as f64 * (1.0 - r) / (1.0 + r);
    let few = effective < EFFECTIVE_MIN;
    Ok((r > 0.3 || few).then(|| {
        finding(
            (if few { Severity::Warning } else { Severity::Note }, "memory"),
            "rows",
            format!(
                "neighbours resemble each other (median lag-1 autocorrelation {r:.2}): {} rows are \
                 worth about {effective:.0} independent ones",
                frame.rows()
            ),
            "Limits and errors taken from single rows would promise too much; random splits leak.",
            "training here holds out blocks of time; record a longer stretch where rows are few",
        )
    }))
}
