//! What held-out rows say about a classifier.

use super::calibrate::{self, Reliability};

/// How well one class is found, over all held-out rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassScore {
    /// Name.
    pub class: String,
    /// Rows that are of it.
    pub rows: usize,
    /// Share of the rows taken for it that are of it; `None` when none was.
    pub precision: Option<f64>,
    /// Share of its rows that were taken for it.
    pub recall: f64,
    /// Harmonic mean of both; 0 when nothing was found.
    pub f1: f64,
}

/// Results over rows that the trees that judged them had not seen.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// Share of rows taken for their own class, of each fold.
    pub folds: Vec<f64>,
    /// The same over all rows.
    pub accuracy: f64,
    /// Mean of -ln of the probability given to what came.
    pub log_loss: f64,
    /// Mean squared error of the probabilities, summed over the classes.
    pub brier: f64,
    /// `[c][c]` rows by class and by what they were taken for.
    pub confusion: Vec<Vec<usize>>,
    /// Of each class.
    pub classes: Vec<ClassScore>,
    /// Probabilities against what came: of the second of two classes, of the best of more.
    pub reliability: Vec<Reliability>,
    /// `[n][c]` calibrated probabilities, in the order of the rows.
    pub probabilities: Vec<Vec<f64>>,
}

/// - `fold`: `[n]` which fold each row was held out in.
pub(super) fn judge(
    votes: &[Vec<f64>],
    labels: &[u16],
    fold: &[usize],
    names: &[String],
    (slope, bias, weights): (f64, &[f64], &[f64]),
) -> HeldOut {
    let of = |v: &Vec<f64>| calibrate::probabilities(v, slope, bias);
    judge_said(votes.iter().map(of).collect(), labels, fold, names, weights)
}

/// - `probabilities`: `[n][c]`, calibrated; the other arguments as for [`judge`].
pub(crate) fn judge_said(
    probabilities: Vec<Vec<f64>>,
    labels: &[u16],
    fold: &[usize],
    names: &[String],
    weights: &[f64],
) -> HeldOut {
    let c = names.len();
    let best: Vec<usize> = probabilities.iter().map(|p| best_of(p, weights)).collect();
    let mut confusion = vec![vec![0; c]; c];
    let mut folds: Vec<(f64, f64)> = Vec::new();
    let (mut log_loss, mut brier) = (0.0, 0.0);
    for (((p, best), label), fold) in probabilities.iter().zip(&best).zip(labels).zip(fold) {
        let label = usize::from(*label);
        confusion[label][*best] += 1;
        folds.resize(folds.len().max(fold + 1), (0.0, 0.0));
        folds[*fold].0 += f64::from(u8::from(*best == label));
        folds[*fold].1 += 1.0;
        log_loss -= libm::log(p[label].max(1e-9));
        for (class, p) in p.iter().enumerate() {
            let came = f64::from(u8::from(class == label));
            brier += (p - came) * (p - came);
        }
    }
    let n = labels.len() as f64;
    let right: usize = (0..c).map(|class| confusion[class][class]).sum();
    let said = probabilities.iter().zip(&best).zip(labels).map(|((p, best), label)| {
        if c == 2 { (p[1], *label == 1) } else { (p[*best], *best == usize::from(*label)) }
    });
    HeldOut {
        folds: folds.iter().filter(|(_, rows)| *rows > 0.0).map(|(a, b)| a / b).collect(),
        accuracy: right as f64 / n,
        log_loss: log_loss / n,
        brier: brier / n,
        classes: classes(&confusion, names),
        confusion,
        reliability: calibrate::reliability(said),
        probabilities,
    }
}

fn classes(confusion: &[Vec<usize>], names: &[String]) -> Vec<ClassScore> {
    let of = |(class, name): (usize, &String)| {
        let rows: usize = confusion[class].iter().sum();
        let taken: usize = confusion.iter().map(|row| row[class]).sum();
        let right = confusion[class][class] as f64;
        ClassScore {
            class: name.clone(),
            rows,
            precision: (taken > 0).then(|| right / taken as f64),
            recall: right / rows.max(1) as f64,
            f1: 2.0 * right / (rows + taken).max(1) as f64,
        }
    };
    names.iter().enumerate().map(of).collect()
}

pub(super) fn best_of(probabilities: &[f64], weights: &[f64]) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (class, (p, weight)) in probabilities.iter().zip(weights).enumerate() {
        if p * weight > best.1 {
            best = (class, p * weight);
        }
    }
    best.0
}

/// Weights of two classes: even, unless another threshold finds the rarer one clearly better.
pub(crate) fn weights(probabilities: &[Vec<f64>], labels: &[u16], classes: usize) -> Vec<f64> {
    let even = vec![1.0; classes];
    if classes != 2 {
        return even;
    }
    let some = labels.iter().filter(|label| **label == 1).count();
    let rare = u16::from(2 * some <= labels.len());
    let f1 = |threshold: f64| {
        let (mut right, mut sum) = (0.0, 0.0);
        for (p, label) in probabilities.iter().zip(labels) {
            let taken = p[usize::from(rare)] > threshold;
            let is = *label == rare;
            right += 2.0 * f64::from(u8::from(taken && is));
            sum += f64::from(u8::from(taken)) + f64::from(u8::from(is));
        }
        right / f64::max(sum, 1.0)
    };
    let mut best = (0.5, f1(0.5) + WORTH);
    for step in 4..=46_u8 {
        let threshold = f64::from(step) / 50.0;
        let found = f1(threshold);
        if found > best.1 {
            best = (threshold, found);
        }
    }
    let mut weights = even;
    weights[usize::from(rare)] = (1.0 - best.0) / best.0;
    weights
}

/// By how much another threshold must raise F1 on held-out rows: less is chance.
const WORTH: f64 = 0.01;
