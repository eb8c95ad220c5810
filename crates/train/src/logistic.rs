//! Logistic regression, ridge-penalised, with calibrated probabilities.
//!
//! Of two classes it minimises `-sum(ln p) + (penalty n / 2) |b|^2` over standardised columns by
//! Newton's method (iteratively reweighted least squares). The intercept is not penalised: the mean probability
//! stays the share of the class. The penalty keeps classes that a line parts without a mistake,
//! and columns that repeat others, from driving coefficients to infinity. More classes have a line
//! each ([`many`]).
//!
//! - **The penalty** is the one of the least log loss on held-out rows.
//! - **Calibration** sees held-out log-odds only: Platt's two parameters below
//!   [`ISOTONIC_ROWS`] rows of the rarer class, isotonic regression from there on
//!   (`methods.md` section 2); one slope for all of more than two classes. What the card says of
//!   the probabilities comes from calibrations that
//!   have not seen the fold they are judged on.
//! - **The domain** is that of forests: a box about the training values, and T2 of the columns, both
//!   as wide as rows that were held out show.

mod many;

use trimloop_core::plan::{CLASSES_MAX, Calibration, FeatureId, LogisticPlan, Step};

use crate::forest::HeldOut;
use crate::forest::calibrate::platt_of;
use crate::forest::fit::{FOLDS, fold_of, train_rows};
use crate::forest::held_out::{judge_said, weights};
use crate::forest::reach::{farthest, span};
use crate::linear_algebra::{Cholesky, Square};
use crate::monitor::in_parallel;
use crate::table::{Scaling, Table, TrainError};

/// Fewest rows, as for forests.
const ROWS_MIN: usize = 20;
/// Most columns, inputs and derived ones: a matrix of their square is kept and multiplied.
const COLUMNS_MAX: usize = 200;
/// Penalties that are tried, in rows, the strongest first.
const PENALTIES: [f64; 5] = [1.0, 0.1, 0.01, 1e-3, 1e-4];
/// Rows of the rarer class from which isotonic regression is better than Platt's curve.
const ISOTONIC_ROWS: usize = 200;
/// Newton steps at most; five to ten are usual.
const STEPS_MAX: usize = 60;
/// Share of the covariance of the columns that is taken for independent, so that it has an inverse
/// also where columns repeat others.
const SHRINKAGE: f64 = 1e-3;

/// What is asked of a fit.
pub struct LogisticOptions<'a> {
    /// Seed of how rows are dealt out to folds.
    pub seed: u64,
    /// Columns derived by hand: name and step over inputs, none with a memory.
    pub steps: Vec<(String, Step)>,
    /// Rows are in the order of time: hold out blocks of them, not rows at random.
    pub blocked: bool,
    /// Told what is being done, steps done and steps in all; `false` asks to stop.
    pub progress: &'a (dyn Fn(&str, u64, u64) -> bool + Sync),
}

/// A trained classifier and what is known about it.
#[derive(Clone, Debug)]
pub struct LogisticFit {
    /// The plan; its inputs are the columns of the table.
    pub plan: LogisticPlan,
    /// `[q]` names of its columns.
    pub columns: Vec<String>,
    /// Penalty chosen, in rows.
    pub penalty: f64,
    /// Every penalty tried with its log loss on held-out rows, before calibration.
    pub tried: Vec<(f64, f64)>,
    /// What held-out rows say about it.
    pub held_out: HeldOut,
    /// Whether blocks of time were held out.
    pub blocked: bool,
}

/// Fits a logistic classifier.
///
/// - `labels`: `[n]` the place of each row's class in `classes`.
///
/// # Errors
/// Fewer than 2 classes or more than 64, fewer than 20 rows or 2 of a class, columns that do not
/// change (all named), a derived column that is not finite, [`TrainError::Stopped`].
pub fn fit_logistic(
    table: &Table,
    labels: &[u16],
    classes: &[String],
    options: &LogisticOptions<'_>,
) -> Result<LogisticFit, TrainError> {
    check(table, labels, classes, options)?;
    let columns = derived(table, &options.steps)?;
    let scaling = Scaling::of(&columns)?;
    let fold = fold_of(labels, classes.len(), (options.blocked, None), options.seed);
    let step = |what: &str, done| {
        if (options.progress)(what, done, 3) { Ok(()) } else { Err(TrainError::Stopped) }
    };
    let rows = Rows { columns: &columns, scaling: &scaling, labels, fold: &fold };
    let found = if classes.len() == 2 {
        rows.two(options.blocked, &step)?
    } else {
        rows.many(classes.len(), options.blocked, &step)?
    };
    let weights = weights(&found.said, labels, classes.len());
    let held_out = judge_said(found.said, labels, &fold, classes, &weights);
    let how = (found.calibration, weights);
    let mut plan = plan(table, &columns, (&scaling, &fold), &found.lines, how, (classes, options))?;
    plan.span = span(table, &fold);
    let (columns, penalty) = (columns.names().to_vec(), found.penalty);
    let (tried, blocked) = (found.tried, options.blocked);
    Ok(LogisticFit { plan, columns, penalty, tried, held_out, blocked })
}

/// What the rows of a table show.
struct Found {
    /// Every penalty tried with its log loss.
    tried: Vec<(f64, f64)>,
    penalty: f64,
    /// `[n][c]` what was said of each row without its fold.
    said: Vec<Vec<f64>>,
    calibration: Calibration,
    /// `[k]` lines over all rows.
    lines: Vec<Line>,
}

/// Told which of three steps begins.
type Progress<'p> = &'p dyn Fn(&str, u64) -> Result<(), TrainError>;

struct Rows<'r> {
    columns: &'r Table,
    scaling: &'r Scaling,
    labels: &'r [u16],
    fold: &'r [usize],
}

impl Rows<'_> {
    fn two(&self, blocked: bool, step: Progress<'_>) -> Result<Found, TrainError> {
        let Self { columns, scaling, labels, fold } = *self;
        step("holding out", 1)?;
        let held = held_out_logits(columns, scaling, labels, fold, blocked);
        let (best, tried) = best_of(held.iter().map(|logits| log_loss(logits, labels)));
        let logits = &held[best];
        step("calibrating", 2)?;
        let said = cross_calibrated(logits, labels, fold);
        step("fitting", 3)?;
        let line = path(columns, scaling, labels, &self.all(), &PENALTIES[..=best]).pop();
        let line = line.unwrap_or_else(|| Line::zero(columns.columns()));
        let calibration = calibrate(logits.iter().copied().zip(labels.iter().copied()));
        Ok(Found { tried, penalty: PENALTIES[best], said, calibration, lines: vec![line] })
    }

    fn many(&self, c: usize, blocked: bool, step: Progress<'_>) -> Result<Found, TrainError> {
        let Self { columns, scaling, labels, fold } = *self;
        step("holding out", 1)?;
        let held = many::held_out_logits(columns, scaling, (labels, c), fold, blocked);
        let (best, tried) = best_of(held.iter().map(|logits| many::log_loss(logits, labels)));
        let logits = &held[best];
        step("calibrating", 2)?;
        let said = many::cross_calibrated(logits, labels, fold);
        step("fitting", 3)?;
        let all = self.all();
        let lines = many::path(columns, scaling, (labels, c), &all, &PENALTIES[..=best]).pop();
        let lines = lines.unwrap_or_else(|| vec![Line::zero(columns.columns()); c]);
        let slope = many::slope(logits.iter().zip(labels.iter().copied()));
        let calibration = Calibration::Softmax { slope };
        Ok(Found { tried, penalty: PENALTIES[best], said, calibration, lines })
    }

    fn all(&self) -> Vec<u32> {
        (0..self.labels.len()).filter_map(|row| u32::try_from(row).ok()).collect()
    }
}

/// Place of the best penalty, and all with their log losses.
fn best_of(losses: impl Iterator<Item = f64>) -> (usize, Vec<(f64, f64)>) {
    let tried: Vec<(f64, f64)> = PENALTIES.into_iter().zip(losses).collect();
    let mut best = 0;
    for at in 1..tried.len() {
        // From the strongest on: a weaker penalty has to earn it.
        if tried[at].1 < tried[best].1 * (1.0 - 1e-4) {
            best = at;
        }
    }
    (best, tried)
}

fn check(
    table: &Table,
    labels: &[u16],
    classes: &[String],
    options: &LogisticOptions<'_>,
) -> Result<(), TrainError> {
    let (n, what) = (table.rows(), "a logistic classifier");
    if !(2..=CLASSES_MAX).contains(&classes.len()) {
        return Err(TrainError::Option("a classifier tells 2 to 64 classes apart"));
    }
    if labels.iter().any(|label| usize::from(*label) >= classes.len()) {
        return Err(TrainError::Option("a label is none of the classes"));
    }
    if labels.len() != n {
        return Err(TrainError::Labels { labels: labels.len(), rows: n });
    }
    if n < ROWS_MIN {
        return Err(TrainError::TooFewRows { have: n, need: ROWS_MIN, what });
    }
    let have = table.columns() + options.steps.len();
    if table.columns() == 0 || have > COLUMNS_MAX {
        return Err(TrainError::Columns { have, low: 1, high: COLUMNS_MAX, what });
    }
    for (class, name) in classes.iter().enumerate() {
        let rows = labels.iter().filter(|label| usize::from(**label) == class).count();
        if rows < 2 {
            return Err(TrainError::Class { class: name.clone(), rows, need: 2 });
        }
    }
    Ok(())
}

/// The table with its derived columns, worked out by the scorer's own code.
fn derived(table: &Table, steps: &[(String, Step)]) -> Result<Table, TrainError> {
    let mut names = table.names().to_vec();
    names.extend(steps.iter().map(|(name, _)| name.clone()));
    let plain: Vec<Step> = steps.iter().map(|(_, step)| *step).collect();
    if plain.iter().any(|step| step.weight().is_some()) {
        return Err(TrainError::Option("a logistic classifier takes no columns with a memory"));
    }
    let mut rows = Vec::with_capacity(table.rows());
    for (index, row) in table.iter().enumerate() {
        let mut row = row.to_vec();
        row.resize(names.len(), 0.0);
        if LogisticPlan::derive(&plain, table.columns(), &mut row).is_none() {
            let bad = row.iter().position(|x| !x.is_finite()).unwrap_or(table.columns());
            let column = names.get(bad).cloned().unwrap_or_default();
            return Err(TrainError::NotFinite { row: index + 1, column });
        }
        rows.push(row);
    }
    Table::new(names, &rows)
}

/// Coefficients over standardised columns.
#[derive(Clone, Debug)]
struct Line {
    intercept: f64,
    slopes: Vec<f64>,
}

impl Line {
    fn zero(q: usize) -> Self {
        Self { intercept: 0.0, slopes: vec![0.0; q] }
    }

    fn logit(&self, z: &[f64]) -> f64 {
        self.intercept + self.slopes.iter().zip(z).map(|(b, z)| b * z).sum::<f64>()
    }

    /// `self - size * step`, `step` with the intercept last.
    fn less(&self, size: f64, step: &[f64]) -> Self {
        let slopes = self.slopes.iter().zip(step).map(|(b, s)| b - size * s).collect();
        let intercept = self.intercept - size * step.last().copied().unwrap_or(0.0);
        Self { intercept, slopes }
    }
}

/// Standardised rows with their labels.
struct Sample {
    q: usize,
    z: Vec<f64>,
    labels: Vec<f64>,
}

impl Sample {
    fn new(columns: &Table, scaling: &Scaling, labels: &[u16], rows: &[u32]) -> Self {
        let q = columns.columns();
        let mut z = vec![0.0; rows.len() * q];
        for (z, row) in z.chunks_exact_mut(q).zip(rows) {
            scaling.apply(columns.row(*row as usize), z);
        }
        let label = |row: &u32| f64::from(labels.get(*row as usize).copied().unwrap_or(0));
        Self { q, z, labels: rows.iter().map(label).collect() }
    }

    fn rows(&self) -> impl Iterator<Item = (&[f64], f64)> {
        self.z.chunks_exact(self.q).zip(self.labels.iter().copied())
    }

    /// Penalised negative log likelihood.
    fn loss(&self, line: &Line, ridge: f64) -> f64 {
        let square: f64 = line.slopes.iter().map(|b| b * b).sum();
        let loss = |(z, label): (&[f64], f64)| {
            let logit = line.logit(z);
            softplus(logit) - label * logit
        };
        self.rows().map(loss).sum::<f64>() + 0.5 * ridge * square
    }

    /// Newton steps from a line on, each halved until the loss falls.
    fn newton(&self, mut line: Line, ridge: f64) -> Line {
        let mut loss = self.loss(&line, ridge);
        for _ in 0..STEPS_MAX {
            let Some(step) = self.step(&line, ridge) else { break };
            let mut size = 1.0;
            let mut next = line.less(size, &step);
            let mut found = self.loss(&next, ridge);
            while (found.is_nan() || found > loss) && size > 1e-6 {
                size *= 0.5;
                next = line.less(size, &step);
                found = self.loss(&next, ridge);
            }
            if found.is_nan() || found > loss {
                break;
            }
            let gained = loss - found;
            (line, loss) = (next, found);
            if gained <= 1e-12 * (1.0 + loss) {
                break;
            }
        }
        line
    }

    /// Inverse Hessian times gradient, `[q + 1]`, the intercept last.
    fn step(&self, line: &Line, ridge: f64) -> Option<Vec<f64>> {
        let q = self.q;
        let mut hessian = Square::zeros(q + 1);
        let mut gradient = vec![0.0; q + 1];
        let mut row = vec![1.0; q + 1];
        for (z, label) in self.rows() {
            let p = sigmoid(line.logit(z));
            row.get_mut(..q)?.copy_from_slice(z);
            // A floor, so that rows that are sure still hold the intercept.
            hessian.add_outer((p * (1.0 - p)).max(1e-10), &row, &row);
            for (sum, x) in gradient.iter_mut().zip(&row) {
                *sum += (p - label) * x;
            }
        }
        let slopes = hessian.diagonal_mut().zip(gradient.iter_mut()).zip(&line.slopes);
        for ((diagonal, gradient), slope) in slopes {
            *diagonal += ridge;
            *gradient += ridge * slope;
        }
        Cholesky::new(&hessian)?.solve(&mut gradient);
        gradient.iter().all(|x| x.is_finite()).then_some(gradient)
    }
}

/// Lines for penalties that grow weaker, each from the one before on.
fn path(
    columns: &Table,
    scaling: &Scaling,
    labels: &[u16],
    rows: &[u32],
    penalties: &[f64],
) -> Vec<Line> {
    let sample = Sample::new(columns, scaling, labels, rows);
    let (n, some) = (sample.labels.len() as f64, sample.labels.iter().sum::<f64>());
    let mut line = Line::zero(columns.columns());
    line.intercept = libm::log((some + 0.5) / (n - some + 0.5));
    let one_class = some < 0.5 || n - some < 0.5;
    let mut lines = Vec::with_capacity(penalties.len());
    for penalty in penalties {
        // Rows of one class only say nothing about the columns, and drive the intercept away.
        if !one_class {
            line = sample.newton(line, penalty * n);
        }
        lines.push(line.clone());
    }
    lines
}

/// `[penalties][n]` log-odds of every row by a line that has not seen its fold.
fn held_out_logits(
    columns: &Table,
    scaling: &Scaling,
    labels: &[u16],
    fold: &[usize],
    blocked: bool,
) -> Vec<Vec<f64>> {
    let folds: Vec<usize> = (0..FOLDS).collect();
    let found = in_parallel(&folds, |held| {
        let train = train_rows(fold, *held, blocked);
        let keep = |row: usize| train.binary_search(&u32::try_from(row).unwrap_or(0)).is_ok();
        let scaling = scaling.of_rows(columns, keep);
        let lines = path(columns, &scaling, labels, &train, &PENALTIES);
        let mut z = vec![0.0; columns.columns()];
        let mut logits = Vec::new();
        for (row, x) in columns.iter().enumerate().filter(|(row, _)| fold[*row] == *held) {
            scaling.apply(x, &mut z);
            logits.push((row, lines.iter().map(|line| line.logit(&z)).collect::<Vec<f64>>()));
        }
        logits
    });
    let mut held = vec![vec![0.0; labels.len()]; PENALTIES.len()];
    for (row, logits) in found.into_iter().flatten() {
        for (held, logit) in held.iter_mut().zip(logits) {
            held[row] = logit;
        }
    }
    held
}

/// Mean of -ln of the probability given to what came.
fn log_loss(logits: &[f64], labels: &[u16]) -> f64 {
    let pairs = logits.iter().zip(labels);
    let loss = pairs.map(|(x, label)| softplus(*x) - f64::from(*label) * x);
    loss.sum::<f64>() / labels.len().max(1) as f64
}

/// `[n][2]` probabilities, each by a calibration that has not seen its fold.
fn cross_calibrated(logits: &[f64], labels: &[u16], fold: &[usize]) -> Vec<Vec<f64>> {
    let calibrations: Vec<Calibration> = (0..FOLDS)
        .map(|held| {
            let rows = logits.iter().zip(labels).zip(fold).filter(|(_, fold)| **fold != held);
            calibrate(rows.map(|((x, label), _)| (*x, *label)))
        })
        .collect();
    let rows = logits.iter().zip(fold);
    rows.map(|(x, fold)| {
        let p = calibrations.get(*fold).map_or(0.5, |c| c.probability(*x));
        vec![1.0 - p, p]
    })
    .collect()
}

fn calibrate(points: impl Iterator<Item = (f64, u16)>) -> Calibration {
    let (odds, labels): (Vec<f64>, Vec<u16>) = points.unzip();
    let some = labels.iter().filter(|label| **label == 1).count();
    let none = labels.len() - some;
    if some.min(none) >= ISOTONIC_ROWS {
        return Calibration::Isotonic(isotonic(&odds, &labels));
    }
    let (slope, bias) = platt_of(&odds, &labels);
    Calibration::Platt { slope, bias }
}

/// Isotonic regression by pooling adjacent violators: a point for each block, at the mean of its
/// log-odds. Shares are kept off 0 and 1 as Platt's targets are: no row is sure.
fn isotonic(odds: &[f64], labels: &[u16]) -> Vec<(f64, f64)> {
    let mut rows: Vec<(f64, f64)> =
        odds.iter().zip(labels).map(|(x, label)| (*x, f64::from(*label))).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    // (rows, sum of log-odds, sum of labels) of each block.
    let mut blocks: Vec<(f64, f64, f64)> = Vec::new();
    let mut last = f64::NAN;
    for (x, label) in rows {
        let mut block = (1.0, x, label);
        // Equal log-odds are one point, whatever their labels.
        if x.total_cmp(&last).is_eq()
            && let Some(before) = blocks.pop()
        {
            block = (block.0 + before.0, block.1 + before.1, block.2 + before.2);
        }
        last = x;
        while let Some(before) = blocks.last().copied().filter(|b| b.2 / b.0 >= block.2 / block.0) {
            blocks.pop();
            block = (block.0 + before.0, block.1 + before.1, block.2 + before.2);
        }
        blocks.push(block);
    }
    let some: f64 = labels.iter().map(|label| f64::from(*label)).sum();
    let none = labels.len() as f64 - some;
    let (low, high) = (1.0 / (none + 2.0), (some + 1.0) / (some + 2.0));
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(blocks.len());
    for (n, x, label) in blocks {
        let point = (x / n, (label / n).clamp(low, high));
        // Rounding of a mean may let two blocks meet.
        if points.last().is_none_or(|before| before.0 < point.0) {
            points.push(point);
        }
    }
    points
}

fn plan(
    table: &Table,
    columns: &Table,
    (scaling, fold): (&Scaling, &[usize]),
    lines: &[Line],
    (calibration, weights): (Calibration, Vec<f64>),
    (classes, options): (&[String], &LogisticOptions<'_>),
) -> Result<LogisticPlan, TrainError> {
    let (_, precision) = shape(columns, scaling, |_| true)?;
    let (mut coefficients, mut intercepts) = (Vec::new(), Vec::new());
    for line in lines {
        let row = line.slopes.iter().zip(&scaling.scale).map(|(b, scale)| b / scale);
        let from = coefficients.len();
        coefficients.extend(row);
        let at_mean: f64 = coefficients[from..].iter().zip(&scaling.mean).map(|(c, m)| c * m).sum();
        intercepts.push(line.intercept - at_mean);
    }
    Ok(LogisticPlan {
        inputs: (0..).map(FeatureId).take(table.columns()).collect(),
        steps: options.steps.iter().map(|(_, step)| *step).collect(),
        // The caller knows what was held out.
        span: Vec::new(),
        domain: None,
        intercepts,
        coefficients,
        mean: scaling.mean.clone(),
        scale: scaling.scale.clone(),
        precision: precision.into_values(),
        t2_out: t2_out(columns, scaling, fold)?,
        calibration,
        classes: classes.to_vec(),
        weights,
    })
}

/// Mean and inverse covariance of chosen rows, standardised as all are.
fn shape(
    columns: &Table,
    scaling: &Scaling,
    keep: impl Fn(usize) -> bool,
) -> Result<(Vec<f64>, Square), TrainError> {
    let q = columns.columns();
    let (mut n, mut mean, mut z) = (0.0, vec![0.0; q], vec![0.0; q]);
    let rows = || columns.iter().enumerate().filter(|(row, _)| keep(*row)).map(|(_, row)| row);
    for row in rows() {
        scaling.apply(row, &mut z);
        n += 1.0;
        mean.iter_mut().zip(&z).for_each(|(mean, z)| *mean += z);
    }
    for mean in &mut mean {
        *mean /= f64::max(n, 1.0);
    }
    let mut covariance = Square::zeros(q);
    for row in rows() {
        scaling.apply(row, &mut z);
        z.iter_mut().zip(&mean).for_each(|(z, mean)| *z -= mean);
        covariance.add_outer((1.0 - SHRINKAGE) / f64::max(n - 1.0, 1.0), &z, &z);
    }
    covariance.diagonal_mut().for_each(|x| *x += SHRINKAGE);
    let precision = Cholesky::new(&covariance).ok_or(TrainError::Singular)?.inverse();
    Ok((mean, precision))
}

/// Largest T2 of the domain: few of the rows pass it when each is measured by the other folds.
fn t2_out(columns: &Table, scaling: &Scaling, fold: &[usize]) -> Result<f64, TrainError> {
    let q = columns.columns();
    let (mut z, mut weighted) = (vec![0.0; q], vec![0.0; q]);
    let mut t2 = Vec::with_capacity(columns.rows());
    for held in 0..FOLDS {
        let (mean, precision) = shape(columns, scaling, |row| fold[row] != held)?;
        for (row, _) in columns.iter().zip(fold).filter(|(_, fold)| **fold == held) {
            scaling.apply(row, &mut z);
            z.iter_mut().zip(&mean).for_each(|(z, mean)| *z -= mean);
            precision.apply(&z, &mut weighted);
            t2.push(z.iter().zip(&weighted).map(|(a, b)| a * b).sum());
        }
    }
    Ok(farthest(&mut t2).clamp(f64::MIN_POSITIVE, f64::MAX))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// `ln(1 + e^x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

#[cfg(test)]
mod tests;
