//! The principal-component monitor: components, limits, and limits that hold on fresh rows.
//!
//! Formulas: `methods.md` section 2. Two places look at time:
//!
//! - **How many components**: parallel analysis against the same columns, each turned by its own
//!   random number of rows. That keeps every column's memory and breaks what joins them; noise
//!   drawn row by row would call slow columns structure.
//! - **Limits**: the formulas assume independent rows and the true covariance. Fresh rows of a
//!   process with memory lie further out, so the rows are cut into blocks of time, each block is
//!   scored by the model of the others, and where the held-out rows exceed the formula's limit
//!   more often than promised, the limit is widened until they do not (it is never narrowed).

use nalgebra::{DMatrix, SymmetricEigen};
use trimloop_core::plan::{FeatureId, PcaLimits, PcaPlan};

use crate::TrainError;
use crate::blocks::{blocks, lag1, largest, trains};
use crate::limits::{spe_limit, t2_limit};
use crate::monitor::in_parallel;
use crate::noise::Noise;
use crate::promise::widening;
use crate::table::{Scaling, Table};

/// Most columns; beyond them the eigensolver and the rows needed outgrow a small PC.
const COLUMNS_MAX: usize = 200;
/// Fewest rows whatever the columns.
const ROWS_MIN: usize = 30;
/// Random references of parallel analysis.
const REFERENCES: usize = 40;
/// Rows of a reference at most: fewer rows scatter more, so that a longer table keeps no component
/// that it should not.
const REFERENCE_ROWS: usize = 10_000;
/// An eigenvalue of a correlation matrix below this is rounding.
const EIGENVALUE_MIN: f64 = 1e-9;
/// Levels of the validity domain: out, in (`methods.md` section 2).
const DOMAIN: (f64, f64) = (0.001, 0.01);

/// How a monitor is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct PcaOptions {
    /// Share of normal rows that may alarm, above 0, at most 0.2, for each of T2 and SPE.
    pub alpha: f64,
    /// Number of components; `None` chooses by parallel analysis.
    pub components: Option<usize>,
    /// Blocks of time that are held out in turn, 2 to 20.
    pub blocks: usize,
    /// Rows left out on both sides of a held-out block.
    pub gap: usize,
    /// Seed of parallel analysis and of drawn limits.
    pub seed: u64,
}

impl Default for PcaOptions {
    fn default() -> Self {
        Self { alpha: 0.01, components: None, blocks: 5, gap: 5, seed: 1 }
    }
}

/// A fitted monitor. `p` columns, `k` components.
#[derive(Clone, Debug, PartialEq)]
pub struct PcaFit {
    /// `[p]` names of the columns.
    pub names: Vec<String>,
    /// `[p]` means.
    pub mean: Vec<f64>,
    /// `[p]` standard deviations, each > 0.
    pub scale: Vec<f64>,
    /// `[k][p]` row-major orthonormal loadings; the largest of each row is positive.
    pub loadings: Vec<f64>,
    /// `[p]` all eigenvalues of the correlation matrix, largest first; the first `k` are kept.
    pub eigenvalues: Vec<f64>,
    /// Number of components k.
    pub components: usize,
    /// Alarm limits at `alpha`.
    pub alarm: PcaLimits,
    /// Limits of the validity domain, 0.1 %.
    pub domain_out: PcaLimits,
    /// Limits for coming back, 1 %.
    pub domain_in: PcaLimits,
    /// What an approver should know.
    pub report: PcaReport,
}

/// Facts about a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct PcaReport {
    /// Training rows.
    pub rows: usize,
    /// Rows that as many independent ones are worth, from the median lag-1 autocorrelation r of
    /// the columns: `rows (1 - r) / (1 + r)`. Below 10 p the limits rest on the held-out blocks.
    pub rows_effective: f64,
    /// Share of variance inside the components, 0 to 1.
    pub explained: f64,
    /// Alarm limits of the formulas alone.
    pub theoretical: PcaLimits,
    /// Share of held-out rows beyond the formulas' alarm limits (either one).
    pub held_out_theoretical: f64,
    /// Share of held-out rows beyond the alarm limits of this fit (either one).
    pub held_out: f64,
}

impl PcaFit {
    /// As a monitor of the plan.
    ///
    /// # Errors
    /// [`TrainError::Ids`] unless there is one id for each column, in their order.
    pub fn plan(&self, inputs: &[FeatureId]) -> Result<PcaPlan, TrainError> {
        if inputs.len() != self.names.len() {
            return Err(TrainError::Ids { have: inputs.len(), need: self.names.len() });
        }
        Ok(PcaPlan {
            inputs: inputs.to_vec(),
            lags: 0,
            mean: self.mean.clone(),
            scale: self.scale.clone(),
            loadings: self.loadings.clone(),
            eigenvalues: self.eigenvalues.iter().take(self.components).copied().collect(),
            alarm: self.alarm,
            domain_out: self.domain_out,
            domain_in: self.domain_in,
        })
    }
}

/// Fits a monitor to rows of normal operation in time order.
///
/// # Errors
/// Fewer than 2 or more than 200 columns, fewer than `max(30, 2 p)` rows, constant columns (all
/// named), options out of range, more components than the rows carry.
pub fn fit_pca(table: &Table, options: &PcaOptions) -> Result<PcaFit, TrainError> {
    check(table, options)?;
    let scaling = Scaling::of(table)?;
    let basis = Basis::fit(table, scaling.clone(), |_| true);
    let most = basis.components_max();
    let components = match options.components {
        Some(asked) if asked == 0 || asked > most => {
            return Err(TrainError::Components { asked, most });
        }
        Some(asked) => asked,
        None => parallel_analysis(table, &basis, options.seed).clamp(1, most.max(1)),
    };
    let n = table.rows();
    let held = held_out(table, &scaling, components, options);
    let theory = |alpha| basis.limits(components, n, alpha, options.seed);
    let limits = |alpha: f64| {
        let supported = supported_level(alpha, n);
        let theory_there = theory(supported)?;
        Ok::<_, TrainError>(widened(&held, theory(alpha)?, theory_there, supported))
    };
    let alarm = limits(options.alpha)?;
    let theoretical = theory(options.alpha)?;
    let report = PcaReport {
        rows: n,
        rows_effective: rows_effective(table),
        explained: basis.explained(components),
        theoretical,
        held_out_theoretical: share_beyond(&held, theoretical),
        held_out: share_beyond(&held, alarm),
    };
    Ok(PcaFit {
        names: table.names().to_vec(),
        loadings: basis.loadings(components).to_vec(),
        components,
        alarm,
        domain_out: limits(DOMAIN.0)?,
        domain_in: limits(DOMAIN.1)?,
        report,
        mean: basis.scaling.mean,
        scale: basis.scaling.scale,
        eigenvalues: basis.eigenvalues,
    })
}

fn check(table: &Table, options: &PcaOptions) -> Result<(), TrainError> {
    let (have, what) = (table.columns(), "a monitor");
    if !(2..=COLUMNS_MAX).contains(&have) {
        return Err(TrainError::Columns { have, low: 2, high: COLUMNS_MAX, what });
    }
    if !(options.alpha > 0.0 && options.alpha <= 0.2) {
        return Err(TrainError::Option("alpha must be above 0 and at most 0.2"));
    }
    if !(2..=20).contains(&options.blocks) {
        return Err(TrainError::Option("2 to 20 blocks can be held out"));
    }
    let need = ROWS_MIN.max(2 * have);
    if table.rows() < need {
        return Err(TrainError::TooFewRows { have: table.rows(), need, what });
    }
    let smallest = (0..table.rows()).filter(|i| trains(*i, &fold(table, options, 0), options.gap));
    if smallest.count() <= have {
        return Err(TrainError::Option("the gap between blocks leaves too few rows to train on"));
    }
    Ok(())
}

/// Scaled directions of variance of some rows.
pub(crate) struct Basis {
    pub(crate) scaling: Scaling,
    /// `[p]`, largest first.
    pub(crate) eigenvalues: Vec<f64>,
    /// `[p][p]` row-major, one direction a row.
    vectors: Vec<f64>,
}

impl Basis {
    pub(crate) fn fit(table: &Table, scaling: Scaling, keep: impl Fn(usize) -> bool) -> Self {
        let p = table.columns();
        let rows = table.iter().enumerate().filter(|(index, _)| keep(*index));
        let mut z = vec![0.0; p];
        let mut moments = Moments::new(p);
        for (_, row) in rows {
            scaling.apply(row, &mut z);
            moments.add(&z);
        }
        let eigen = SymmetricEigen::new(moments.covariance());
        let mut order: Vec<usize> = (0..p).collect();
        let value = |index: usize| eigen.eigenvalues.get(index).copied().unwrap_or(0.0);
        order.sort_by(|a, b| value(*b).total_cmp(&value(*a)));
        let mut vectors = Vec::with_capacity(p * p);
        for index in &order {
            let column = eigen.eigenvectors.column(*index);
            // An eigenvector has no sign of its own; its largest entry is made positive.
            let largest =
                column.iter().fold(0.0_f64, |m, x| if x.abs() > m.abs() { *x } else { m });
            let sign = if largest < 0.0 { -1.0 } else { 1.0 };
            vectors.extend(column.iter().map(|x| sign * x));
        }
        let eigenvalues = order.into_iter().map(|index| value(index).max(0.0)).collect();
        Self { scaling, eigenvalues, vectors }
    }

    /// Most components that carry variance and leave some outside.
    pub(crate) fn components_max(&self) -> usize {
        self.eigenvalues.iter().filter(|l| **l > EIGENVALUE_MIN).count().saturating_sub(1)
    }

    pub(crate) fn loadings(&self, k: usize) -> &[f64] {
        self.vectors.get(..k * self.eigenvalues.len()).unwrap_or(&[])
    }

    pub(crate) fn explained(&self, k: usize) -> f64 {
        let inside: f64 = self.eigenvalues.iter().take(k).sum();
        inside / self.eigenvalues.iter().sum::<f64>()
    }

    fn limits(&self, k: usize, n: usize, alpha: f64, seed: u64) -> Result<PcaLimits, TrainError> {
        let residual = self.eigenvalues.get(k..).unwrap_or(&[]);
        Ok(PcaLimits { t2: t2_limit(k, n, alpha)?, spe: spe_limit(residual, alpha, seed)? })
    }

    /// T2 and SPE of one row with `k` components.
    pub(crate) fn score(&self, row: &[f64], k: usize) -> PcaLimits {
        let (t, r) = self.parts(row, k);
        let scores = t.iter().zip(&self.eigenvalues);
        let mut t2 = 0.0;
        for (t, eigenvalue) in scores {
            t2 += t * t / eigenvalue.max(EIGENVALUE_MIN);
        }
        PcaLimits { t2, spe: r.iter().map(|r| r * r).sum() }
    }

    /// Scores `[k]` of one row, and its residuals `[p]`.
    pub(crate) fn parts(&self, row: &[f64], k: usize) -> (Vec<f64>, Vec<f64>) {
        let p = row.len();
        let mut r = vec![0.0; p];
        self.scaling.apply(row, &mut r);
        let (z, mut scores) = (r.clone(), Vec::with_capacity(k));
        for v in self.loadings(k).chunks_exact(p) {
            let t: f64 = v.iter().zip(&z).map(|(v, z)| v * z).sum();
            scores.push(t);
            for (r, v) in r.iter_mut().zip(v) {
                *r -= t * v;
            }
        }
        (scores, r)
    }
}

/// Sums of products of centred rows, in plain order: no kernel that depends on the processor.
struct Moments {
    products: Vec<f64>,
    p: usize,
    n: f64,
}

impl Moments {
    fn new(p: usize) -> Self {
        Self { products: vec![0.0; p * p], p, n: 0.0 }
    }

    fn add(&mut self, z: &[f64]) {
        self.n += 1.0;
        for (row, a) in self.products.chunks_exact_mut(self.p).zip(z) {
            for (sum, b) in row.iter_mut().zip(z) {
                *sum += a * b;
            }
        }
    }

    fn covariance(&self) -> DMatrix<f64> {
        let divisor = f64::max(self.n - 1.0, 1.0);
        DMatrix::from_iterator(self.p, self.p, self.products.iter().map(|sum| sum / divisor))
    }
}

/// Components whose eigenvalue is above those of tables with the same columns, unjoined: the
/// third largest of 40 references (about 95 %).
pub(crate) fn parallel_analysis(table: &Table, basis: &Basis, seed: u64) -> usize {
    let (n, p) = (table.rows().min(REFERENCE_ROWS), table.columns());
    let mut columns = vec![vec![0.0; n]; p];
    let mut z = vec![0.0; p];
    for (index, row) in table.iter().take(n).enumerate() {
        basis.scaling.apply(row, &mut z);
        for (column, z) in columns.iter_mut().zip(&z) {
            if let Some(slot) = column.get_mut(index) {
                *slot = *z;
            }
        }
    }
    let mut noise = Noise::new(seed);
    // Each turn goes on from the one before.
    let mut turn = vec![0; p];
    let turns: Vec<Vec<usize>> = (0..REFERENCES)
        .map(|_| {
            for by in &mut turn {
                *by = (*by + noise.below(n)) % n;
            }
            turn.clone()
        })
        .collect();
    let found = in_parallel(&turns, |turn| {
        let (mut moments, mut z) = (Moments::new(p), vec![0.0; p]);
        for index in 0..n {
            for (z, (column, by)) in z.iter_mut().zip(columns.iter().zip(turn)) {
                *z = column.get((index + by) % n).copied().unwrap_or(0.0);
            }
            moments.add(&z);
        }
        let mut values: Vec<f64> =
            moments.covariance().symmetric_eigenvalues().iter().copied().collect();
        values.sort_unstable_by(|a, b| b.total_cmp(a));
        values
    });
    let mut references = vec![Vec::with_capacity(REFERENCES); p];
    for values in found {
        for (reference, value) in references.iter_mut().zip(values) {
            reference.push(value);
        }
    }
    let mut components = 0;
    for (value, reference) in basis.eigenvalues.iter().zip(&mut references) {
        if largest(reference, 3).is_none_or(|threshold| *value <= threshold) {
            break;
        }
        components += 1;
    }
    components
}

fn fold(table: &Table, options: &PcaOptions, index: usize) -> std::ops::Range<usize> {
    blocks(table.rows(), options.blocks).nth(index).unwrap_or(0..0)
}

/// T2 and SPE of every row by the model of the other blocks, in time order.
fn held_out(table: &Table, all: &Scaling, k: usize, options: &PcaOptions) -> Vec<PcaLimits> {
    let mut scores = Vec::with_capacity(table.rows());
    for held in blocks(table.rows(), options.blocks) {
        let keep = |index: usize| trains(index, &held, options.gap);
        let basis = Basis::fit(table, all.of_rows(table, keep), keep);
        scores.extend(held.clone().map(|index| basis.score(table.row(index), k)));
    }
    scores
}

/// The rarest level that `n` held-out rows can speak for: five of them lie beyond it.
fn supported_level(alpha: f64, n: usize) -> f64 {
    alpha.max(5.0 / n as f64)
}

/// `theory` at a level, widened by as much as the held-out rows pass `there`, the formulas'
/// limits at the supported level. Never narrowed.
fn widened(held: &[PcaLimits], theory: PcaLimits, there: PcaLimits, level: f64) -> PcaLimits {
    let factor = |of: fn(&PcaLimits) -> f64| {
        let shares: Vec<f64> = held.iter().map(|score| of(score) / of(&there)).collect();
        widening(&shares, level)
    };
    PcaLimits { t2: theory.t2 * factor(|l| l.t2), spe: theory.spe * factor(|l| l.spe) }
}

fn share_beyond(held: &[PcaLimits], limits: PcaLimits) -> f64 {
    let beyond = held.iter().filter(|s| s.t2 > limits.t2 || s.spe > limits.spe).count();
    beyond as f64 / held.len().max(1) as f64
}

fn rows_effective(table: &Table) -> f64 {
    let mut memory: Vec<f64> = (0..table.columns())
        .map(|column| lag1(&table.column(column).collect::<Vec<_>>()).max(0.0))
        .collect();
    let r = largest(&mut memory, table.columns() / 2 + 1).unwrap_or(0.0);
    table.rows() as f64 * (1.0 - r) / (1.0 + r)
}

#[cfg(test)]
mod tests;
