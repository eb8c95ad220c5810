//! Principal components of rows, or of rows set beside those before them, under limits that hold.
//!
//! - **Static**: T2 and SPE of each row (PCA).
//! - **Dynamic**: of each row with its `lags` predecessors, so that relations over time count too
//!   (Ku, Storer, Georgakis 1995). A row whose predecessors are not all there is no row.
//!
//! How many components is found as by [`crate::fit_pca`]. Limits are found as those of the dynamic
//! monitor ([`crate::fit_monitor`]): held-out blocks, one-sided tolerance limits for as many independent
//! scores as the rows are worth, T2 and SPE under one false-alarm rate. One thing is different. T2 is
//! divided by the variances that the same rows gave, so that held-out scores hardly show how badly
//! a slow component's variance is known: five swings in the training rows say little about how far
//! the next one goes. So T2 is worth no more independent scores than its slowest component, and SPE
//! no more than the directions that it sums, on the average. And limits are widened until the
//! held-out rows keep the promise with 95 % confidence, not just on the average.

use std::ops::Range;

use trimloop_core::plan::{FeatureId, PCA_LAGS_MAX, PcaLimits, PcaPlan};

use crate::TrainError;
use crate::blocks::{blocks, trains};
use crate::monitor::{in_parallel, joined, predicted};
use crate::pca::{Basis, parallel_analysis};
use crate::promise::{Normality, beyond, rows_per_independent, widening};
use crate::table::{Scaling, Table};

/// Most columns of rows, and most of rows with their predecessors.
const COLUMNS_MAX: usize = 200;
/// See [`COLUMNS_MAX`]; beyond them the eigensolver takes minutes.
const WIDTH_MAX: usize = 600;
/// Fewest rows whatever the columns, and what one value of a row with its predecessors takes.
const ROWS_MIN: usize = 60;
/// See [`ROWS_MIN`].
const ROWS_PER_VALUE: usize = 2;
/// Rows a value below which blocks are short, as of the dynamic monitor.
const FEW_ROWS_PER_VALUE: usize = 20;
/// One-sided 95 % quantile of the normal distribution.
const CONFIDENCE: f64 = 1.645;
/// Shares of normal rows beyond the validity domain, and beyond what brings it back (`methods.md`
/// section 2).
const DOMAIN: (f64, f64) = (0.001, 0.01);

/// How components are fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentsOptions {
    /// Share of normal rows that may alarm, T2 and SPE together, above 0, at most 0.2.
    pub far: f64,
    /// Rows before each row that are judged with it, 0 to 10; 0 is static PCA.
    pub lags: u8,
    /// Blocks of time that are held out in turn, 2 to 50. `None`: 10 below 20 rows a value, 3 from
    /// there on; as of [`crate::MonitorOptions::blocks`].
    pub blocks: Option<usize>,
    /// Rows left out on both sides of a held-out block, besides the lags; at least 1.
    pub gap: usize,
    /// Seed of the choice of components.
    pub seed: u64,
}

impl Default for ComponentsOptions {
    fn default() -> Self {
        Self { far: 0.01, lags: 0, blocks: None, gap: 5, seed: 1 }
    }
}

/// A fitted monitor.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentsFit {
    /// `[p]` names of the columns.
    pub names: Vec<String>,
    /// Inputs are numbered in the order of the columns.
    plan: PcaPlan,
    /// What an approver should know.
    pub report: ComponentsReport,
}

/// Facts about a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentsReport {
    /// Rows of all runs.
    pub rows: usize,
    /// Components that are kept.
    pub components: usize,
    /// Share of variance inside the components, 0 to 1.
    pub explained: f64,
    /// Alarm limits.
    pub alarm: PcaLimits,
    /// As [`crate::MonitorReport::predicted`].
    pub predicted: f64,
    /// Independent scores that the held-out ones are worth, for T2.
    pub independent_t2: f64,
    /// The same for SPE.
    pub independent_spe: f64,
    /// Factor by which both limits were widened to keep the promise on the held-out rows.
    pub widened: f64,
    /// Share of held-out rows beyond the final limits (either of them).
    pub held_out: f64,
    /// Scores of the held-out rows, in their order: the largest share of a final limit.
    pub scores: Vec<f64>,
}

impl ComponentsFit {
    /// As a model of the plan.
    ///
    /// # Errors
    /// [`TrainError::Ids`] unless there is one id for each column, in their order.
    pub fn plan(&self, inputs: &[FeatureId]) -> Result<PcaPlan, TrainError> {
        if inputs.len() != self.names.len() {
            return Err(TrainError::Ids { have: inputs.len(), need: self.names.len() });
        }
        Ok(PcaPlan { inputs: inputs.to_vec(), ..self.plan.clone() })
    }
}

/// Fits components to runs of normal operation, each in time order without gaps.
///
/// - `runs`: the same columns in the same order; cut a run where rows are missing.
///
/// # Errors
/// Fewer than 2 or more than 200 columns, more than 600 values of a row with its predecessors, fewer
/// than `max(60, 2 p (lags + 1))` such rows, other columns in a later run, constant columns (all
/// named), options out of range.
pub fn fit_components(
    runs: &[Table],
    options: &ComponentsOptions,
) -> Result<ComponentsFit, TrainError> {
    let table = joined(runs)?;
    check(&table, options)?;
    let scaling = Scaling::of(&table)?;
    let rows = Lagged::new(runs, usize::from(options.lags))?;
    let (n, width) = (rows.table.rows(), rows.table.columns());
    let need = ROWS_MIN.max(ROWS_PER_VALUE * width);
    if n < need {
        let what = if options.lags == 0 { "PCA" } else { "dynamic PCA (rows with all their lags)" };
        return Err(TrainError::TooFewRows { have: n, need, what });
    }
    let all = Scaling::of(&rows.table)?;
    let basis = Basis::fit(&rows.table, rows.tied(&all), |_| true);
    let most = basis.components_max();
    if most == 0 {
        return Err(TrainError::Singular);
    }
    let components = parallel_analysis(&rows.table, &basis, options.seed).clamp(1, most);
    let held = held_out(&rows, &all, components, options);
    let [t2, spe] = rows.normality(&held, &basis, components);
    let limits = |far: f64| {
        // T2 and SPE have equal parts of the share.
        let found = PcaLimits { t2: t2.limit(far / 2.0), spe: spe.limit(far / 2.0) };
        let sure = sure_share(far, t2.independent.min(spe.independent));
        let widened = widening(&shares(&held, found), sure);
        (PcaLimits { t2: found.t2 * widened, spe: found.spe * widened }, widened)
    };
    let (alarm, widened) = limits(options.far);
    let ((out, _), (back, _)) = (limits(DOMAIN.0), limits(DOMAIN.1));
    let scores = shares(&held, alarm);
    let report = ComponentsReport {
        rows: table.rows(),
        components,
        explained: basis.explained(components),
        alarm,
        predicted: predicted(runs, &table, &scaling, options.gap),
        independent_t2: t2.independent,
        independent_spe: spe.independent,
        widened,
        held_out: beyond(&scores, 1.0),
        scores,
    };
    let p = table.columns();
    let first = |values: &[f64]| values.iter().take(p).copied().collect::<Vec<f64>>();
    let plan = PcaPlan {
        inputs: (0..).map(FeatureId).take(p).collect(),
        lags: options.lags,
        mean: first(&basis.scaling.mean),
        scale: first(&basis.scaling.scale),
        loadings: basis.loadings(components).to_vec(),
        eigenvalues: basis.eigenvalues.iter().take(components).copied().collect(),
        alarm,
        // Widened each by its own rows, a limit could come out within the one for coming back.
        domain_out: PcaLimits { t2: out.t2.max(back.t2), spe: out.spe.max(back.spe) },
        domain_in: back,
    };
    Ok(ComponentsFit { names: table.names().to_vec(), plan, report })
}

fn check(table: &Table, options: &ComponentsOptions) -> Result<(), TrainError> {
    let (have, what) = (table.columns(), "a monitor of principal components");
    if !(2..=COLUMNS_MAX).contains(&have) {
        return Err(TrainError::Columns { have, low: 2, high: COLUMNS_MAX, what });
    }
    if options.lags > PCA_LAGS_MAX {
        return Err(TrainError::Option("a row is judged with at most 10 rows before it"));
    }
    let width = have * (usize::from(options.lags) + 1);
    if width > WIDTH_MAX {
        let what = "dynamic PCA (columns times lags and one more)";
        return Err(TrainError::Columns { have: width, low: 2, high: WIDTH_MAX, what });
    }
    if !(options.far > 0.0 && options.far <= 0.2) {
        return Err(TrainError::Option("the false-alarm rate must be above 0 and at most 0.2"));
    }
    if !options.blocks.is_none_or(|blocks| (2..=50).contains(&blocks)) {
        return Err(TrainError::Option("2 to 50 blocks can be held out"));
    }
    if table.rows() < ROWS_MIN {
        return Err(TrainError::TooFewRows { have: table.rows(), need: ROWS_MIN, what });
    }
    if options.gap == 0 || options.gap > table.rows() / 10 {
        let why = "1 to a tenth of the rows can be left out beside a held-out block";
        return Err(TrainError::Option(why));
    }
    Ok(())
}

/// Rows with their predecessors, the newest first, of all runs one after the other.
struct Lagged {
    table: Table,
    /// Columns of a single row.
    p: usize,
    /// Places of the rows of each run.
    runs: Vec<Range<usize>>,
}

impl Lagged {
    fn new(runs: &[Table], lags: usize) -> Result<Self, TrainError> {
        let names = runs.first().map_or(&[][..], Table::names);
        let beside = |lag: usize| {
            let name = move |name: &String| match lag {
                0 => name.clone(),
                lag => format!("{name}, {lag} rows before"),
            };
            names.iter().map(name)
        };
        let mut rows = Vec::new();
        let mut places = Vec::new();
        for run in runs {
            let start = rows.len();
            for newest in lags..run.rows() {
                let each = (0..=lags).flat_map(|lag| run.row(newest - lag));
                rows.push(each.copied().collect::<Vec<f64>>());
            }
            places.push(start..rows.len());
        }
        places.retain(|place| !place.is_empty());
        let table = Table::new((0..=lags).flat_map(beside).collect(), &rows)?;
        Ok(Self { table, p: names.len(), runs: places })
    }

    /// The scaling of the newest rows for all lags: a variable is standardised as it is, whenever it was.
    fn tied(&self, scaling: &Scaling) -> Scaling {
        let times = self.table.columns() / self.p.max(1);
        let tied = |values: &[f64]| {
            values.iter().take(self.p).copied().collect::<Vec<f64>>().repeat(times)
        };
        Scaling { mean: tied(&scaling.mean), scale: tied(&scaling.scale) }
    }

    /// What is known about T2 and SPE in normal operation.
    fn normality(&self, held: &[PcaLimits], basis: &Basis, k: usize) -> [Normality; 2] {
        let of = |which: fn(&PcaLimits) -> f64| {
            let run = |place: &Range<usize>| {
                let scores = held.get(place.clone()).unwrap_or(&[]);
                scores.iter().map(|score| libm::cbrt(which(score))).collect::<Vec<f64>>()
            };
            let runs: Vec<Vec<f64>> = self.runs.iter().map(run).collect();
            let n = held.len() as f64;
            Normality::of(&runs).worth_at_most(n / self.memory(runs.iter().map(Vec::as_slice)))
        };
        let (slowest, average) = self.slowness(basis, k);
        let n = held.len() as f64;
        [
            of(|score| score.t2).worth_at_most(n / slowest),
            of(|score| score.spe).worth_at_most(n / average),
        ]
    }

    /// Rows that one independent row takes: of the slowest component, and of the residuals, each
    /// weighed by its variance.
    fn slowness(&self, basis: &Basis, k: usize) -> (f64, f64) {
        let width = self.table.columns();
        let n = self.table.rows();
        let mut series = vec![Vec::with_capacity(n); k + width];
        for row in self.table.iter() {
            let (scores, residuals) = basis.parts(row, k);
            for (series, x) in series.iter_mut().zip(scores.into_iter().chain(residuals)) {
                series.push(x);
            }
        }
        // Lags repeat their variable, as slow as it is.
        let kept = series.iter().take(k + self.p).enumerate().collect::<Vec<_>>();
        let found = in_parallel(&kept, |(place, values)| {
            let parts = self.runs.iter().map(|run| values.get(run.clone()).unwrap_or(&[]));
            let weight = if *place < k { 0.0 } else { values.iter().map(|x| x * x).sum() };
            (self.memory(parts), weight)
        });
        let slowest = found.iter().take(k).map(|(memory, _)| *memory).fold(1.0, f64::max);
        let whole: f64 = found.iter().map(|(_, weight)| weight).sum();
        let sum: f64 = found.iter().map(|(memory, weight)| memory * weight).sum();
        (slowest, if whole > 0.0 { sum / whole } else { 1.0 })
    }

    /// Rows that one independent one takes, over runs by their lengths.
    fn memory<'v>(&self, runs: impl Iterator<Item = &'v [f64]>) -> f64 {
        let n = self.table.rows().max(1) as f64;
        runs.map(|run| run.len() as f64 / n * rows_per_independent(run)).sum::<f64>().max(1.0)
    }
}

/// T2 and SPE of every row by the model of the other blocks, in time order.
fn held_out(rows: &Lagged, all: &Scaling, k: usize, options: &ComponentsOptions) -> Vec<PcaLimits> {
    let (n, width) = (rows.table.rows(), rows.table.columns());
    let few = n < FEW_ROWS_PER_VALUE * width;
    let held: Vec<Range<usize>> =
        blocks(n, options.blocks.unwrap_or(if few { 10 } else { 3 })).collect();
    // A row reaches back over its lags: those of a training row must not touch the block either.
    let gap = options.gap + usize::from(options.lags);
    let scored = in_parallel(&held, |held| {
        let keep = |index: usize| trains(index, held, gap);
        let scaling = rows.tied(&all.of_rows(&rows.table, keep));
        let basis = Basis::fit(&rows.table, scaling, keep);
        held.clone().map(|index| basis.score(rows.table.row(index), k)).collect::<Vec<_>>()
    });
    scored.concat()
}

/// Share of the held-out rows that may lie beyond a limit, so that with 95 % confidence no more than
/// `far` of fresh rows do: the tails of a few components are not those of the cube-root law, and
/// four held-out rows of 400 beyond a limit say little.
fn sure_share(far: f64, independent: f64) -> f64 {
    f64::max(far - CONFIDENCE * libm::sqrt(far * (1.0 - far) / independent), 0.0)
}

/// Largest share of a limit in each row.
fn shares(held: &[PcaLimits], limits: PcaLimits) -> Vec<f64> {
    held.iter().map(|score| (score.t2 / limits.t2).max(score.spe / limits.spe)).collect()
}

#[cfg(test)]
mod tests;
