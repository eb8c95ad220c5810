//! Do the rows of today still look like those a model was trained on, and does it still err as
//! little?
//!
//! - *Inputs*: the population stability index of each column over the deciles of training, which is
//!   `(B-1)(1/n + 1/m)` on the average where nothing drifts; n and m are what the rows are worth as
//!   independent ones. An EWMA of the score of a monitor.
//! - *Errors*: Page-Hinkley on the losses of labelled rows.
//!
//! `methods.md` section 2, *Drift*. All of it is told with its limit; nothing is put right here.

use serde::{Deserialize, Serialize};

use super::{Frame, LearnError};

/// Bins of the index.
const BINS: usize = 10;
/// Index that is drift whatever the rows.
const PSI: f64 = 0.2;
/// 99.9 % quantile of chi-squared with `BINS - 1` degrees of freedom.
const CHI2: f64 = 27.877;
/// Weight of the newest score.
const LAMBDA: f64 = 0.05;
/// Limit of the EWMA in its standard deviations.
const WIDTH: f64 = 5.0;
/// Allowance and limit of Page-Hinkley, in standard deviations of the loss.
const PAGE: (f64, f64) = (0.5, 25.0);
/// Labelled rows from which the usual loss is taken.
const FIRST: usize = 50;

/// What the training rows looked like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Inputs.
    pub columns: Vec<ColumnReference>,
    /// Mean, standard deviation and lag-1 autocorrelation of a monitor's score on the training
    /// rows.
    pub score: Option<(f64, f64, f64)>,
}

/// What one input looked like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnReference {
    /// Name.
    pub name: String,
    /// Ends of the bins, rising; fewer than nine where values repeat.
    pub ends: Vec<f64>,
    /// Share of the training rows in each bin, one more than `ends`.
    pub shares: Vec<f64>,
    /// Independent rows that the training rows were worth.
    pub rows: f64,
    /// Lag-1 autocorrelation in training; a shift would look like memory in the new rows.
    pub memory: f64,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// `psi`, `score`, `loss`.
    pub check: &'static str,
    /// Column, or what it is about.
    pub place: String,
    /// What was found.
    pub value: f64,
    /// From where on it is drift.
    pub limit: f64,
    /// First row that was beyond the limit, counted from 1; for the index 0.
    pub row: usize,
    /// Whether it is.
    pub drifts: bool,
}

/// What the columns of training look like.
///
/// # Errors
/// A column that is not there or holds no numbers.
pub fn reference(
    frame: &Frame,
    inputs: &[String],
    scores: Option<&[f64]>,
) -> Result<Reference, LearnError> {
    let mut columns = Vec::new();
    for name in inputs {
        let column = frame.need(name)?;
        if column.is_text() {
            continue;
        }
        let values = known(column.numbers()?);
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let mut ends: Vec<f64> =
            (1..BINS).filter_map(|i| sorted.get(i * sorted.len() / BINS)).copied().collect();
        ends.dedup();
        let shares = shares(&values, &ends);
        let memory = lag1(&values);
        let rows = worth(values.len(), memory);
        columns.push(ColumnReference { name: name.clone(), ends, shares, rows, memory });
    }
    let score = scores.map(|scores| {
        let values = known(scores);
        let (mean, sd) = moments(&values);
        (mean, sd, lag1(&values))
    });
    Ok(Reference { columns, score })
}

/// Looks for drift in rows.
///
/// - `scores`: a monitor's score of each row; `losses`: of labelled rows, NaN where there is no
///   label.
///
/// # Errors
/// A column that is not there or holds no numbers.
pub fn drift(
    frame: &Frame,
    reference: &Reference,
    scores: Option<&[f64]>,
    losses: Option<&[f64]>,
) -> Result<Vec<Drift>, LearnError> {
    let mut found = Vec::new();
    for column in &reference.columns {
        let values = known(frame.need(&column.name)?.numbers()?);
        if values.is_empty() {
            continue;
        }
        let value = index(&column.shares, &shares(&values, &column.ends));
        let limit =
            PSI.max(CHI2 * (1.0 / column.rows.max(1.0) + 1.0 / worth(values.len(), column.memory)));
        let (place, drifts) = (column.name.clone(), value > limit);
        found.push(Drift { check: "psi", place, value, limit, row: 0, drifts });
    }
    if let (Some(scores), Some(usual)) = (scores, reference.score) {
        found.push(ewma(scores, usual));
    }
    found.extend(losses.and_then(page_hinkley));
    Ok(found)
}

fn known(values: &[f64]) -> Vec<f64> {
    values.iter().copied().filter(|x| x.is_finite()).collect()
}

fn shares(values: &[f64], ends: &[f64]) -> Vec<f64> {
    let mut counts = vec![0.0; ends.len() + 1];
    for x in values {
        if let Some(count) = counts.get_mut(ends.partition_point(|end| end <= x)) {
            *count += 1.0;
        }
    }
    let n = values.len().max(1) as f64;
    counts.iter().map(|count| count / n).collect()
}

/// `sum((p - q) ln(p / q))`; an empty bin counts as half a row of ten thousand.
fn index(p: &[f64], q: &[f64]) -> f64 {
    let floor = |x: f64| x.max(5e-5);
    p.iter().zip(q).map(|(p, q)| (p - q) * (floor(*p) / floor(*q)).ln()).sum()
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, (square / (n - 1.0).max(1.0)).sqrt())
}

fn lag1(values: &[f64]) -> f64 {
    let (mean, sd) = moments(values);
    let pairs = values.iter().zip(values.iter().skip(1)).map(|(a, b)| (a - mean) * (b - mean));
    let scale = sd * sd * values.len().max(1) as f64;
    if scale > 0.0 { (pairs.sum::<f64>() / scale).clamp(0.0, 0.98) } else { 0.0 }
}

/// Independent rows that rows with memory are worth, at least 1.
fn worth(rows: usize, r: f64) -> f64 {
    (rows as f64 * (1.0 - r) / (1.0 + r)).max(1.0)
}

fn ewma(scores: &[f64], (mean, sd, r): (f64, f64, f64)) -> Drift {
    // Memory widens the EWMA as it widens a mean.
    let wider = ((1.0 + r) / (1.0 - r)).sqrt();
    let limit = mean + WIDTH * sd * (LAMBDA / (2.0 - LAMBDA)).sqrt() * wider;
    let (mut z, mut highest, mut row) = (mean, f64::NEG_INFINITY, 0);
    for (place, x) in scores.iter().enumerate().filter(|(_, x)| x.is_finite()) {
        z += LAMBDA * (x - z);
        highest = highest.max(z);
        if z > limit && row == 0 {
            row = place + 1;
        }
    }
    let place = "the score, EWMA".to_owned();
    Drift { check: "score", place, value: highest, limit, row, drifts: row > 0 }
}

/// Losses that grow: the usual loss is that of the first rows; `None` with too few of them.
fn page_hinkley(losses: &[f64]) -> Option<Drift> {
    let rows: Vec<(usize, f64)> =
        losses.iter().copied().enumerate().filter(|(_, x)| x.is_finite()).collect();
    let first: Vec<f64> = rows.iter().take(FIRST).map(|(_, x)| *x).collect();
    if rows.len() <= FIRST {
        return None;
    }
    let (mean, sd) = moments(&first);
    // A loss of 0 and 1 that was never 1 has no spread to measure by.
    let sd = sd.max(0.05);
    let (mut sum, mut lowest, mut largest, mut row) = (0.0_f64, 0.0_f64, 0.0_f64, 0);
    for (place, x) in rows.iter().skip(FIRST) {
        sum += x - mean - PAGE.0 * sd;
        lowest = lowest.min(sum);
        largest = largest.max(sum - lowest);
        if sum - lowest > PAGE.1 * sd && row == 0 {
            row = place + 1;
        }
    }
    let place = "the loss, Page-Hinkley".to_owned();
    let (value, limit) = (largest, PAGE.1 * sd);
    Some(Drift { check: "loss", place, value, limit, row, drifts: row > 0 })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::learn::evaluate::Random;
    use crate::learn::{FrameBuilder, FrameCell};

    fn noise(seed: u64, n: usize, memory: f64, shift: f64) -> Vec<f64> {
        let mut random = Random(seed);
        let mut x = 0.0;
        (0..n)
            .map(|_| {
                let sum: usize = (0..12).map(|_| random.below(1 << 20)).sum();
                x = memory * x + sum as f64 / f64::from(1 << 20) - 6.0;
                x + shift
            })
            .collect()
    }

    fn frame(values: &[f64]) -> Frame {
        let mut builder = FrameBuilder::default();
        let columns = [("x".to_owned(), String::new())];
        let places = builder.begin(Path::new("t.csv"), &columns, None).unwrap();
        for x in values {
            builder.cell(places[0], FrameCell::Number(*x));
            builder.end_row();
        }
        builder.finish().unwrap()
    }

    /// Fresh rows seldom drift, also with memory; shifted ones do, and the first row is told.
    #[test]
    fn drift_is_found_and_quiet_rows_are_not() {
        for memory in [0.0, 0.7] {
            let train = noise(1, 600, memory, 0.0);
            let kept = reference(&frame(&train), &["x".to_owned()], Some(&train)).unwrap();
            let look = |seed: u64, shift: f64| {
                let rows = noise(seed, 400, memory, shift);
                drift(&frame(&rows), &kept, Some(&rows), None).unwrap()
            };
            let quiet = (10..60).filter(|seed| look(*seed, 0.0).iter().any(|d| d.drifts));
            assert!(quiet.count() <= 3, "memory {memory}");
            let (_, sd) = moments(&train);
            for seed in 10..20 {
                let found = look(seed, 2.0 * sd);
                assert!(found.iter().all(|d| d.drifts), "memory {memory}: {found:?}");
                assert!(found[1].row > 1);
            }
        }
    }

    /// Errors that grow are found some rows later; steady ones are not.
    #[test]
    fn growing_losses_are_found() {
        let losses = |growth: f64| -> Vec<f64> {
            let noise = noise(3, 500, 0.0, 0.0);
            let grow = |row: usize| if row >= 300 { growth } else { 0.0 };
            noise.iter().enumerate().map(|(row, x)| x.abs() + grow(row)).collect()
        };
        let steady = page_hinkley(&losses(0.0)).unwrap();
        assert!(!steady.drifts, "{steady:?}");
        let grown = page_hinkley(&losses(1.5)).unwrap();
        assert!(grown.drifts && (300..400).contains(&grown.row), "{grown:?}");
        assert_eq!(page_hinkley(&[1.0; 20]), None);
    }
}
