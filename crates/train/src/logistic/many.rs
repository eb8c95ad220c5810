//! Three classes or more: a softmax of one line for each.
//!
//! Minimises `-sum(ln p[label]) + (penalty n / 2) sum_j |b_j|^2`, intercepts not penalised. What is
//! added to all lines alike changes no probability, and the penalty makes the slopes sum to 0; the
//! intercepts are kept so. The steps are those of L-BFGS (Nocedal and Wright, algorithm 7.4), begun
//! not at the unit matrix but at Böhning's bound (1992): no Hessian of a softmax is larger than half
//! the rows' own products for each class, one small matrix for all classes where Newton's grows
//! with their square. Without history a step is that of the bound, and lowers the loss for sure.

use super::{FOLDS, Line, PENALTIES};
use crate::forest::calibrate::{softmax_loss, temperature};
use crate::forest::fit::train_rows;
use crate::linear_algebra::{Cholesky, Square};
use crate::monitor::in_parallel;
use crate::table::{Scaling, Table};

/// Steps at most; twenty to sixty are usual.
const STEPS_MAX: usize = 300;
/// Steps that are remembered.
const MEMORY: usize = 12;

/// Log-odds of one row, `[c]`.
pub(super) type Logits = Vec<f64>;

/// `[penalties][n]` log-odds of every row by lines that have not seen its fold.
pub(super) fn held_out_logits(
    columns: &Table,
    scaling: &Scaling,
    (labels, classes): (&[u16], usize),
    fold: &[usize],
    blocked: bool,
) -> Vec<Vec<Logits>> {
    let folds: Vec<usize> = (0..FOLDS).collect();
    let found = in_parallel(&folds, |held| {
        let train = train_rows(fold, *held, blocked);
        let keep = |row: usize| train.binary_search(&u32::try_from(row).unwrap_or(0)).is_ok();
        let scaling = scaling.of_rows(columns, keep);
        let path = path(columns, &scaling, (labels, classes), &train, &PENALTIES);
        let mut z = vec![0.0; columns.columns()];
        let mut rows = Vec::new();
        for (row, x) in columns.iter().enumerate().filter(|(row, _)| fold[*row] == *held) {
            scaling.apply(x, &mut z);
            let of = |lines: &Vec<Line>| lines.iter().map(|line| line.logit(&z)).collect();
            rows.push((row, path.iter().map(of).collect::<Vec<Logits>>()));
        }
        rows
    });
    let mut held = vec![vec![Logits::new(); labels.len()]; PENALTIES.len()];
    for (row, logits) in found.into_iter().flatten() {
        for (held, logits) in held.iter_mut().zip(logits) {
            held[row] = logits;
        }
    }
    held
}

/// Mean of -ln of the probability given to what came.
pub(super) fn log_loss(logits: &[Logits], labels: &[u16]) -> f64 {
    let pairs = logits.iter().zip(labels);
    let loss = pairs.map(|(logits, label)| softmax_loss(&shifted(logits), *label, 1.0));
    loss.sum::<f64>() / labels.len().max(1) as f64
}

/// The slope under which the log-odds of rows that were held out say how often they are right.
pub(super) fn slope<'l>(rows: impl Iterator<Item = (&'l Logits, u16)>) -> f64 {
    let (logits, labels): (Vec<Logits>, Vec<u16>) =
        rows.map(|(logits, label)| (shifted(logits), label)).unzip();
    temperature(&logits, &labels)
}

/// `[n][c]` probabilities, each by a calibration that has not seen its fold.
pub(super) fn cross_calibrated(logits: &[Logits], labels: &[u16], fold: &[usize]) -> Vec<Vec<f64>> {
    let slopes: Vec<f64> = (0..FOLDS)
        .map(|held| {
            let rows = logits.iter().zip(labels).zip(fold).filter(|(_, fold)| **fold != held);
            slope(rows.map(|((logits, label), _)| (logits, *label)))
        })
        .collect();
    let said = |(logits, fold): (&Logits, &usize)| {
        let slope = slopes.get(*fold).copied().unwrap_or(1.0);
        let mut p: Vec<f64> = shifted(logits).iter().map(|x| libm::exp(slope * x)).collect();
        let sum: f64 = p.iter().sum();
        for p in &mut p {
            *p /= sum;
        }
        p
    };
    logits.iter().zip(fold).map(said).collect()
}

/// Log-odds less the largest, which changes no probability and keeps powers finite.
fn shifted(logits: &Logits) -> Logits {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter().map(|x| x - top).collect()
}

/// Lines `[penalties][c]` for penalties that grow weaker, each from the ones before on.
pub(super) fn path(
    columns: &Table,
    scaling: &Scaling,
    (labels, classes): (&[u16], usize),
    rows: &[u32],
    penalties: &[f64],
) -> Vec<Vec<Line>> {
    let sample = Sample::new(columns, scaling, (labels, classes), rows);
    let mut weights = sample.start();
    let mut found = Vec::with_capacity(penalties.len());
    for penalty in penalties {
        weights = sample.descend(weights, penalty * rows.len() as f64);
        found.push(sample.lines(&weights));
    }
    found
}

/// Standardised rows, a 1 behind each, with their labels. Weights are `[c][w]`, the intercept last.
struct Sample {
    w: usize,
    z: Vec<f64>,
    labels: Vec<usize>,
    /// `[c]` rows of each class.
    counts: Vec<f64>,
    /// Sum of the products of the rows, `[w][w]`.
    products: Square,
}

impl Sample {
    fn new(
        columns: &Table,
        scaling: &Scaling,
        (labels, classes): (&[u16], usize),
        rows: &[u32],
    ) -> Self {
        let w = columns.columns() + 1;
        let mut z = vec![1.0; rows.len() * w];
        let mut products = Square::zeros(w);
        for (z, row) in z.chunks_exact_mut(w).zip(rows) {
            scaling.apply(columns.row(*row as usize), &mut z[..w - 1]);
            products.add_outer(1.0, z, z);
        }
        let label = |row: &u32| usize::from(labels.get(*row as usize).copied().unwrap_or(0));
        let labels: Vec<usize> = rows.iter().map(label).collect();
        let mut counts = vec![0.0; classes];
        for label in &labels {
            counts[*label] += 1.0;
        }
        Self { w, z, labels, counts, products }
    }

    /// The shares of the classes, whatever the columns are.
    fn start(&self) -> Vec<f64> {
        let odds: Vec<f64> = self.counts.iter().map(|rows| libm::log(rows + 0.5)).collect();
        let mean = odds.iter().sum::<f64>() / odds.len() as f64;
        let mut weights = vec![0.0; odds.len() * self.w];
        for (line, odds) in weights.chunks_exact_mut(self.w).zip(odds) {
            line[self.w - 1] = odds - mean;
        }
        weights
    }

    /// Lines whose intercepts and slopes sum to 0.
    fn lines(&self, weights: &[f64]) -> Vec<Line> {
        let c = self.counts.len();
        let mut mean = vec![0.0; self.w];
        for line in weights.chunks_exact(self.w) {
            mean.iter_mut().zip(line).for_each(|(mean, x)| *mean += x / c as f64);
        }
        let of = |line: &[f64]| {
            let mut slopes: Vec<f64> = line.iter().zip(&mean).map(|(x, mean)| x - mean).collect();
            let intercept = slopes.pop().unwrap_or(0.0);
            Line { intercept, slopes }
        };
        weights.chunks_exact(self.w).map(of).collect()
    }

    /// Penalised negative log likelihood, and its gradient. A class without a row stands still: its
    /// intercept would fall without end.
    fn loss(&self, weights: &[f64], ridge: f64, gradient: &mut [f64]) -> f64 {
        let (w, c) = (self.w, self.counts.len());
        gradient.fill(0.0);
        let mut loss = 0.0;
        let mut p = vec![0.0; c];
        for (z, label) in self.z.chunks_exact(w).zip(&self.labels) {
            for (p, line) in p.iter_mut().zip(weights.chunks_exact(w)) {
                *p = dot(line, z);
            }
            let top = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let own = p[*label];
            let mut sum = 0.0;
            for p in &mut p {
                *p = libm::exp(*p - top);
                sum += *p;
            }
            loss += libm::log(sum) + top - own;
            for (class, (line, p)) in gradient.chunks_exact_mut(w).zip(&p).enumerate() {
                let off = p / sum - f64::from(u8::from(class == *label));
                line.iter_mut().zip(z).for_each(|(gradient, z)| *gradient += off * z);
            }
        }
        let lines = gradient.chunks_exact_mut(w).zip(weights.chunks_exact(w));
        for ((gradient, line), rows) in lines.zip(&self.counts) {
            for (gradient, slope) in gradient.iter_mut().zip(line).take(w - 1) {
                *gradient += ridge * slope;
                loss += 0.5 * ridge * slope * slope;
            }
            if *rows < 0.5 {
                gradient.fill(0.0);
            }
        }
        loss
    }

    /// Steps down from weights on, until one gains nothing.
    fn descend(&self, mut weights: Vec<f64>, ridge: f64) -> Vec<f64> {
        let mut bound = Square::zeros(self.w);
        bound.add(0.5, &self.products);
        // The intercepts, last in each line, are held by the rows alone.
        bound.diagonal_mut().take(self.w - 1).for_each(|x| *x += ridge);
        let Some(bound) = Cholesky::new(&bound) else { return weights };
        let mut gradient = vec![0.0; weights.len()];
        let mut loss = self.loss(&weights, ridge, &mut gradient);
        let mut history: Vec<Pair> = Vec::new();
        let (mut next, mut found) = (weights.clone(), gradient.clone());
        for _ in 0..STEPS_MAX {
            let mut step = self.step(&gradient, &bound, &history);
            let mut slope = dot(&step, &gradient);
            if slope.is_nan() || slope <= 0.0 {
                history.clear();
                step = self.step(&gradient, &bound, &history);
                slope = dot(&step, &gradient);
            }
            if slope.is_nan() || slope <= 1e-14 * (1.0 + loss) {
                break;
            }
            let mut size = 1.0;
            let lower = loop {
                for (next, (x, step)) in next.iter_mut().zip(weights.iter().zip(&step)) {
                    *next = x - size * step;
                }
                let lower = self.loss(&next, ridge, &mut found);
                if lower <= loss - 1e-4 * size * slope {
                    break Some(lower);
                }
                size *= 0.5;
                if size < 1e-9 {
                    break None;
                }
            };
            let Some(lower) = lower else { break };
            let moved = next.iter().zip(&weights).map(|(a, b)| a - b).collect();
            let bent = found.iter().zip(&gradient).map(|(a, b)| a - b).collect();
            history.extend(Pair::new(moved, bent));
            if history.len() > MEMORY {
                history.remove(0);
            }
            std::mem::swap(&mut weights, &mut next);
            std::mem::swap(&mut gradient, &mut found);
            loss = lower;
        }
        weights
    }

    /// What to take off the weights: the inverse Hessian, as far as the history knows it, times the
    /// gradient.
    fn step(&self, gradient: &[f64], bound: &Cholesky, history: &[Pair]) -> Vec<f64> {
        let mut step = gradient.to_vec();
        let mut shares = Vec::with_capacity(history.len());
        for pair in history.iter().rev() {
            let share = dot(&pair.moved, &step) / pair.curvature;
            step.iter_mut().zip(&pair.bent).for_each(|(x, bent)| *x -= share * bent);
            shares.push(share);
        }
        self.solve(bound, &mut step);
        if let Some(last) = history.last() {
            let mut bent = last.bent.clone();
            self.solve(bound, &mut bent);
            let scale = last.curvature / dot(&bent, &last.bent).max(f64::MIN_POSITIVE);
            for x in &mut step {
                *x *= scale;
            }
        }
        for (pair, share) in history.iter().zip(shares.into_iter().rev()) {
            let more = share - dot(&pair.bent, &step) / pair.curvature;
            step.iter_mut().zip(&pair.moved).for_each(|(x, moved)| *x += more * moved);
        }
        step
    }

    fn solve(&self, bound: &Cholesky, weights: &mut [f64]) {
        weights.chunks_exact_mut(self.w).for_each(|line| bound.solve(line));
    }
}

/// How far the weights moved, and by how much the gradient changed.
struct Pair {
    moved: Vec<f64>,
    bent: Vec<f64>,
    /// `moved . bent`, > 0.
    curvature: f64,
}

impl Pair {
    fn new(moved: Vec<f64>, bent: Vec<f64>) -> Option<Self> {
        let curvature = dot(&moved, &bent);
        let least = 1e-10 * libm::sqrt(dot(&moved, &moved) * dot(&bent, &bent));
        (curvature > least).then_some(Self { moved, bent, curvature })
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
