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
use trimloop_core::drift::{
    PageHinkley, Smoothed, bin, deciles, moments, persistence, stability_index, stability_limit,
    worth,
};
use trimloop_core::plan::{BINS, FeatureId, InputReference, ScoreReference};
use trimloop_recipe::artifact::{Artifact, Reference as Kept};

use super::{Frame, LearnError};

/// Least spread of losses that are 0 or 1: one that was never 1 has no spread to measure by.
const CLASS_FLOOR: f64 = 0.05;

/// What the training rows looked like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Inputs.
    pub columns: Vec<ColumnReference>,
    /// Mean, standard deviation and memory from row to row of a monitor's score on rows of training
    /// that the fit did not see: those that it saw score lower than any fresh ones.
    pub score: Option<(f64, f64, f64)>,
}

/// What one input looked like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnReference {
    /// Name.
    pub name: String,
    /// Ends of the bins, rising; equal, or in old cards fewer than nine, where values repeat.
    pub ends: Vec<f64>,
    /// Share of the training rows in each bin, one more than `ends`.
    pub shares: Vec<f64>,
    /// Independent rows that the training rows were worth.
    pub rows: f64,
    /// Memory from row to row in training, as the lag-1 correlation of a first-order process; a shift
    /// would look like memory in the new rows.
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
/// - `scores`: of a monitor, on rows that its fit did not see.
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
        let (ends, shares) = deciles(&values);
        let memory = persistence(&values);
        let rows = worth(count(&values), memory);
        let (ends, shares) = (ends.to_vec(), shares.to_vec());
        columns.push(ColumnReference { name: name.clone(), ends, shares, rows, memory });
    }
    let score = scores.map(|scores| {
        let values = known(scores);
        let (mean, sd) = moments(&values);
        (mean, sd, persistence(&values))
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
        let value = stability_index(&column.shares, &shares(&values, &column.ends));
        let limit = stability_limit(column.rows, worth(count(&values), column.memory));
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
        if let Some(count) = counts.get_mut(bin(ends, *x)) {
            *count += 1.0;
        }
    }
    let n = values.len().max(1) as f64;
    counts.iter().map(|count| count / n).collect()
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 rows")]
fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

/// The reference as the artifact keeps it, for the live watch; columns of text are left out.
#[must_use]
pub fn kept(reference: &Reference, artifact: &Artifact) -> Kept {
    let features = &artifact.header().features;
    let input = |column: &ColumnReference| {
        let place = features.iter().position(|feature| feature.name == column.name)?;
        let ends = column.ends.as_slice().try_into().ok()?;
        let shares = <[f64; BINS]>::try_from(column.shares.as_slice()).ok()?;
        Some(InputReference {
            feature: FeatureId(u16::try_from(place).ok()?),
            ends,
            shares,
            rows: column.rows,
            memory: column.memory,
        })
    };
    let score = reference.score.filter(|(_, deviation, _)| *deviation > 0.0);
    let score = score.map(|(mean, deviation, memory)| ScoreReference { mean, deviation, memory });
    Kept { inputs: reference.columns.iter().filter_map(input).collect(), score }
}

fn ewma(scores: &[f64], (mean, deviation, memory): (f64, f64, f64)) -> Drift {
    let mut smoothed = Smoothed::of_score(&ScoreReference { mean, deviation, memory });
    let (mut highest, mut row) = (f64::NEG_INFINITY, 0);
    for (place, x) in scores.iter().enumerate().filter(|(_, x)| x.is_finite()) {
        if smoothed.push(*x) && row == 0 {
            row = place + 1;
        }
        highest = highest.max(smoothed.evidence().0);
    }
    let (place, limit) = ("the score, EWMA".to_owned(), smoothed.evidence().1);
    Drift { check: "score", place, value: highest, limit, row, drifts: row > 0 }
}

/// Losses that grow: the usual loss is that of the first rows; `None` with too few of them.
fn page_hinkley(losses: &[f64]) -> Option<Drift> {
    let known = || losses.iter().copied().enumerate().filter(|(_, x)| x.is_finite());
    let whole = known().all(|(_, x)| x.min((x - 1.0).abs()) < f64::EPSILON);
    let mut page = PageHinkley::new(if whole { CLASS_FLOOR } else { f64::MIN_POSITIVE });
    let (mut largest, mut row) = (0.0_f64, 0);
    for (place, x) in known() {
        if page.push(x) && row == 0 {
            row = place + 1;
        }
        largest = largest.max(page.evidence().0);
    }
    if !page.learnt() {
        return None;
    }
    let (place, limit) = ("the loss, Page-Hinkley".to_owned(), page.evidence().1);
    Some(Drift { check: "loss", place, value: largest, limit, row, drifts: row > 0 })
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
