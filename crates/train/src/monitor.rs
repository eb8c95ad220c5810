//! The dynamic monitor: a transition from row to row, and limits of its errors that hold.
//!
//! Each row is predicted from the one before it by ridge regression; what is left is judged by
//! the two statistics of `trimloop_core::model`. Three things keep the limits honest:
//!
//! - **Held-out blocks**: scores for the limits come from blocks of time whose rows, and their
//!   neighbours, the model that scores them has not seen. Errors of the rows a model was fitted
//!   to are too small, and limits from them too narrow.
//! - **Memory**: smoothed scores resemble their neighbours, so n rows say less than n independent
//!   ones. Limits are one-sided tolerance limits for as many independent scores as the rows are
//!   worth: with 95 % confidence no more than the promised share of fresh rows lies beyond.
//! - **Jointly**: T2 and SPE, of each member where there are several, get equal parts of the
//!   promised share, and all limits are widened by one factor until no more than that share of the
//!   held-out rows lies beyond any.
//!
//! More runs make the model and the limits better: a second normal run is what a calibration is.

use std::ops::Range;

use trimloop_core::plan::{CombinedPlan, FeatureId, Model as Plan, MonitorPlan, PcaLimits};

use crate::TrainError;
use crate::blocks::{blocks, largest, trains};
use crate::linear_algebra::Square;
use crate::promise::{Normality, beyond, widening};
use crate::table::{Scaling, Table};

mod pairs;

use pairs::{Pairs, Transition, Way};

/// Most columns: two matrices of their square are kept and multiplied at each row.
const COLUMNS_MAX: usize = 200;
/// Fewest rows whatever the columns.
const ROWS_MIN: usize = 60;
/// Rows that one column takes at least: each row is predicted from all columns.
const ROWS_PER_COLUMN: usize = 3;
/// Rows a column below which blocks are short; see [`MonitorOptions::blocks`].
const FEW_ROWS_PER_COLUMN: usize = 20;
/// Ridges that are tried, in pairs of rows.
const RIDGES: [f64; 6] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0];
/// Weights of the newest error in T2 and of its square in SPE.
const WEIGHTS: (f64, f64) = (0.2, 0.3);
/// Rows before a held-out block that warm its filters up; 0.8^60 is below 0.001 %.
const WARM_UP: usize = 60;
/// Scores of a run that are not used, its filters being too young.
const YOUNG: usize = 20;
/// Fewest scores that limits are found from.
const SCORES_MIN: usize = 40;
/// Missing rows that a monitor predicts across, plus one: the last is a row without history.
const GAPS: usize = 8;
/// Rows from which the growth of errors over gaps is found.
const GAP_ROWS: usize = 2000;

/// Ranks that are tried for canonical variates, up to the number of columns.
const RANKS: [usize; 12] = [1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135];
/// A variate more has to lower the held-out error by this share.
const WORTH: f64 = 0.01;

/// What a row is predicted from, before its error is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prediction {
    /// All variables of the row before it.
    #[default]
    Row,
    /// As many canonical variates of the row before it as held-out rows are worth: CVA with a past
    /// of one row. Fewer numbers are learnt where many variables follow a few slow states.
    Canonical,
    /// Nothing: T2 is the multivariate EWMA (MEWMA) of the rows themselves, for rows that do not
    /// remember one another.
    Mean,
    /// Once the row before and once nothing: two members under limits found together. The first
    /// sees what changes from row to row, the second what drifts so slowly that it is predicted.
    Both,
}

/// How a dynamic monitor is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorOptions {
    /// Share of normal rows that may alarm, T2 and SPE together, above 0, at most 0.2.
    pub far: f64,
    /// What each row is predicted from.
    pub prediction: Prediction,
    /// Blocks of time that are held out in turn, 2 to 50. `None`: 3 from 20 rows a column on, long
    /// enough to differ from their neighbours as one run differs from another. Below that as many as
    /// there are runs, up to 10, for the same reason: a block of a run whose other rows the model has
    /// seen scores lower than the next run will. One short run has to do with 10, so that the models
    /// that score them are nearly as good as the final one; few rows make its limits wide.
    pub blocks: Option<usize>,
    /// Rows left out on both sides of a held-out block, at least 1.
    pub gap: usize,
}

impl Default for MonitorOptions {
    fn default() -> Self {
        Self { far: 0.01, prediction: Prediction::Row, blocks: None, gap: 5 }
    }
}

/// A fitted monitor. `p` columns.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorFit {
    /// `[p]` names of the columns.
    pub names: Vec<String>,
    /// Everything else, one of each member; inputs are numbered in the order of the columns.
    plans: Vec<MonitorPlan>,
    /// What an approver should know.
    pub report: MonitorReport,
}

/// Facts about a fit.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorReport {
    /// Rows of all runs.
    pub rows: usize,
    /// Ridge that predicted held-out rows best, in pairs of rows.
    pub ridge: f64,
    /// Canonical variates that rows are predicted from; `None` for other predictions.
    pub variates: Option<usize>,
    /// Share of the variance of held-out rows that a prediction from the row before explains, also
    /// where the monitor does not predict; below 0.1 the rows hardly remember one another.
    pub predicted: f64,
    /// Independent scores that the held-out ones are worth, for T2 (of the member with the fewest).
    pub independent_t2: f64,
    /// The same for SPE.
    pub independent_spe: f64,
    /// Factor by which all limits were widened to keep the promise on the held-out rows; 1 when
    /// they kept it at once.
    pub widened: f64,
    /// Share of held-out rows beyond the final limits (any of them).
    pub held_out: f64,
    /// Scores of the held-out rows, in their order: the largest share of a final limit. Rows that
    /// the fit saw score lower, the more so the more columns there are.
    pub scores: Vec<f64>,
}

impl MonitorFit {
    /// As a model of the plan.
    ///
    /// # Errors
    /// [`TrainError::Ids`] unless there is one id for each column, in their order.
    pub fn plan(&self, inputs: &[FeatureId]) -> Result<Plan, TrainError> {
        if inputs.len() != self.names.len() {
            return Err(TrainError::Ids { have: inputs.len(), need: self.names.len() });
        }
        let plans = self.plans.iter().cloned();
        let mut plans: Vec<MonitorPlan> =
            plans.map(|plan| MonitorPlan { inputs: inputs.to_vec(), ..plan }).collect();
        Ok(match plans.pop() {
            Some(plan) if plans.is_empty() => Plan::Monitor(plan),
            last => {
                plans.extend(last);
                Plan::Combined(CombinedPlan { members: plans })
            }
        })
    }

    /// Alarm limits of T2 and SPE, of each member.
    pub fn limits(&self) -> impl Iterator<Item = PcaLimits> {
        self.plans.iter().map(|plan| plan.alarm)
    }
}

/// Fits a dynamic monitor to runs of normal operation, each in time order without gaps.
///
/// - `runs`: the same columns in the same order; cut a run where rows are missing.
///
/// # Errors
/// Fewer than 2 or more than 200 columns, fewer than `max(60, 3 p)` rows in all, other columns in
/// a later run, constant columns (all named), options out of range.
pub fn fit_monitor(runs: &[Table], options: &MonitorOptions) -> Result<MonitorFit, TrainError> {
    let table = joined(runs)?;
    check(&table, options)?;
    let scaling = Scaling::of(&table)?;
    let rows = Rows::new(runs, &table, &scaling);
    let folds = rows.folds(options);
    let ridges = RIDGES.map(Way::Ridge);
    let tried = judged(&rows, &folds, &ridges);
    let best = least(&tried).ok_or(TrainError::Singular)?;
    let (ridge, mut predicted) = (RIDGES[best], 1.0 - tried[best]);
    let (mut ways, mut variates) = (vec![Way::Ridge(ridge)], None);
    match options.prediction {
        Prediction::Row => {}
        Prediction::Mean => ways = vec![Way::Mean],
        Prediction::Both => ways.push(Way::Mean),
        Prediction::Canonical => {
            let ranks = RANKS.into_iter().filter(|rank| *rank < rows.p).chain([rows.p]);
            let canonical: Vec<Way> = ranks.map(|rank| Way::Canonical(ridge, rank)).collect();
            let tried = judged(&rows, &folds, &canonical);
            let best = fewest(&tried).ok_or(TrainError::Singular)?;
            predicted = 1.0 - tried[best];
            ways = vec![canonical[best]];
            variates = match canonical[best] {
                Way::Canonical(_, rank) => Some(rank),
                Way::Ridge(_) | Way::Mean => None,
            };
        }
    }
    let scores: Option<Vec<Scores>> =
        ways.iter().map(|way| held_out(&rows, &folds, *way)).collect();
    let scores = scores.ok_or(TrainError::Singular)?;
    let found = scores.iter().flat_map(|scores| &scores.runs).map(Vec::len).sum::<usize>();
    let found = found / scores.len().max(1);
    if found < SCORES_MIN {
        let what = "the limits of a dynamic monitor (rows whose 20 predecessors are there too)";
        return Err(TrainError::TooFewRows { have: found, need: SCORES_MIN, what });
    }
    let normality: Vec<[Normality; 2]> = scores
        .iter()
        .map(|scores| [0, 1].map(|which| Normality::of(&scores.cube_roots(which))))
        .collect();
    let share = options.far / (2 * ways.len()) as f64;
    let limits = |[t2, spe]: &[Normality; 2]| (t2.limit(share), spe.limit(share));
    let limits: Vec<(f64, f64)> = normality.iter().map(limits).collect();
    let shares = shares(&scores, &limits);
    let widened = widening(&shares, options.far);
    let names = table.names().to_vec();
    let independent = |which: usize| {
        let members = normality.iter().filter_map(|both| both.get(which));
        members.map(|normality| normality.independent).fold(f64::INFINITY, f64::min)
    };
    let report = MonitorReport {
        rows: rows.len(),
        ridge,
        variates,
        predicted,
        independent_t2: independent(0),
        independent_spe: independent(1),
        widened,
        held_out: beyond(&shares, widened),
        scores: shares.iter().map(|share| share / widened).collect(),
    };
    let pairs = rows.pairs(0..rows.len());
    let member = |(way, (t2, spe)): (&Way, &(f64, f64))| {
        let alarm = PcaLimits { t2: t2 * widened, spe: spe * widened };
        Some(Model::fit(&pairs, *way)?.plan(&rows, &scaling, alarm))
    };
    let plans: Option<Vec<MonitorPlan>> = ways.iter().zip(&limits).map(member).collect();
    Ok(MonitorFit { names, plans: plans.ok_or(TrainError::Singular)?, report })
}

/// Share of the variance of held-out rows that a prediction from the row before explains; see
/// [`MonitorReport::predicted`]. 0 where nothing predicts.
pub(crate) fn predicted(runs: &[Table], table: &Table, scaling: &Scaling, gap: usize) -> f64 {
    let options = MonitorOptions { gap, ..MonitorOptions::default() };
    let rows = Rows::new(runs, table, scaling);
    let tried = judged(&rows, &rows.folds(&options), &RIDGES.map(Way::Ridge));
    least(&tried).and_then(|best| tried.get(best)).map_or(0.0, |lost| 1.0 - lost)
}

pub(crate) fn joined(runs: &[Table]) -> Result<Table, TrainError> {
    let names = runs.first().map_or(&[][..], Table::names);
    if runs.iter().any(|run| run.names() != names) {
        return Err(TrainError::Option("every run must have the same columns in the same order"));
    }
    let rows: Vec<Vec<f64>> = runs.iter().flat_map(Table::iter).map(<[f64]>::to_vec).collect();
    Table::new(names.to_vec(), &rows)
}

fn check(table: &Table, options: &MonitorOptions) -> Result<(), TrainError> {
    let (have, what) = (table.columns(), "a dynamic monitor");
    if !(2..=COLUMNS_MAX).contains(&have) {
        return Err(TrainError::Columns { have, low: 2, high: COLUMNS_MAX, what });
    }
    if !(options.far > 0.0 && options.far <= 0.2) {
        return Err(TrainError::Option("the false-alarm rate must be above 0 and at most 0.2"));
    }
    if !options.blocks.is_none_or(|blocks| (2..=50).contains(&blocks)) {
        return Err(TrainError::Option("2 to 50 blocks can be held out"));
    }
    let need = ROWS_MIN.max(ROWS_PER_COLUMN * have);
    if table.rows() < need {
        return Err(TrainError::TooFewRows { have: table.rows(), need, what });
    }
    if options.gap == 0 || options.gap > table.rows() / 10 {
        let why = "1 to a tenth of the rows can be left out beside a held-out block";
        return Err(TrainError::Option(why));
    }
    Ok(())
}

/// Standardised rows of all runs, one after the other.
struct Rows {
    p: usize,
    values: Vec<f64>,
    /// First row of each run, and the number of rows.
    starts: Vec<usize>,
}

/// One held-out block and the sums to judge and to fit without it.
struct Fold {
    held: Range<usize>,
    judged: Pairs,
    kept: Pairs,
}

impl Rows {
    fn new(runs: &[Table], table: &Table, scaling: &Scaling) -> Self {
        let p = table.columns();
        let mut values = vec![0.0; table.rows() * p];
        for (z, row) in values.chunks_exact_mut(p).zip(table.iter()) {
            scaling.apply(row, z);
        }
        let mut starts = vec![0];
        starts.extend(runs.iter().scan(0, |end, run| {
            *end += run.rows();
            Some(*end)
        }));
        Self { p, values, starts }
    }

    fn len(&self) -> usize {
        self.values.len() / self.p
    }

    fn row(&self, index: usize) -> &[f64] {
        self.values.get(index * self.p..(index + 1) * self.p).unwrap_or(&[])
    }

    /// Whether no row comes before this one in its run.
    fn begins(&self, index: usize) -> bool {
        self.starts.binary_search(&index).is_ok()
    }

    /// First row of the run that a row belongs to.
    fn run_start(&self, index: usize) -> usize {
        let run = self.starts.partition_point(|start| *start <= index);
        run.checked_sub(1).and_then(|run| self.starts.get(run)).copied().unwrap_or(0)
    }

    /// Sums over the pairs whose later row is in a range.
    fn pairs(&self, range: Range<usize>) -> Pairs {
        let mut pairs = Pairs::new(self.p);
        for index in range.filter(|index| !self.begins(*index)) {
            pairs.add(self.row(index - 1), self.row(index));
        }
        pairs
    }

    fn folds(&self, options: &MonitorOptions) -> Vec<Fold> {
        let few = self.len() < FEW_ROWS_PER_COLUMN * self.p;
        // The last start is the end.
        let runs = self.starts.len().saturating_sub(1);
        let count = options.blocks.unwrap_or(match runs {
            _ if !few => 3,
            2.. => runs.min(10),
            _ => 10,
        });
        let all: Vec<Range<usize>> = blocks(self.len(), count).collect();
        let sums = in_parallel(&all, |held| self.pairs(held.clone()));
        let mut total = Pairs::new(self.p);
        for pairs in &sums {
            total.merge(1.0, pairs);
        }
        let folds = all.into_iter().zip(sums).map(|(held, judged)| {
            let mut kept = total.clone();
            kept.merge(-1.0, &judged);
            let near = held.start.saturating_sub(options.gap)..held.start;
            kept.merge(-1.0, &self.pairs(near));
            let behind = held.end..(held.end + options.gap).min(self.len());
            debug_assert!(behind.clone().all(|index| !trains(index, &held, options.gap)));
            kept.merge(-1.0, &self.pairs(behind));
            Fold { held, judged, kept }
        });
        folds.collect()
    }
}

/// Share of the variance of held-out rows that each way leaves; NaN where it is undefined.
fn judged(rows: &Rows, folds: &[Fold], ways: &[Way]) -> Vec<f64> {
    let lost = in_parallel(folds, |fold| {
        let lost = |way: &Way| {
            let transition = fold.kept.expectation(*way)?;
            Some(fold.judged.errors(&transition).diagonal().sum::<f64>())
        };
        ways.iter().map(lost).collect::<Vec<Option<f64>>>()
    });
    let pairs: f64 = folds.iter().map(|fold| fold.judged.count()).sum();
    let total =
        |way: usize| lost.iter().map(|fold| fold.get(way).copied().flatten()).sum::<Option<f64>>();
    // The rows are standardised: each column has a variance of 1.
    let share = |way| total(way).map_or(f64::NAN, |lost| lost / (pairs * rows.p as f64));
    (0..ways.len()).map(share).collect()
}

/// Place of the least; the first of equals.
fn least(lost: &[f64]) -> Option<usize> {
    let known = lost.iter().enumerate().filter(|(_, x)| x.is_finite());
    known.min_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at)
}

/// The first place that is hardly worse than the least.
fn fewest(lost: &[f64]) -> Option<usize> {
    let least = *lost.get(least(lost)?)?;
    lost.iter().position(|x| *x <= least * (1.0 + WORTH))
}

/// A transition with the inverse covariance of its errors.
struct Model {
    transition: Transition,
    precision: Square,
}

/// Held-out scores, one list per run.
struct Scores {
    /// `[run][row]` of (T2, SPE).
    runs: Vec<Vec<(f64, f64)>>,
}

impl Model {
    fn fit(pairs: &Pairs, way: Way) -> Option<Self> {
        let transition = pairs.expectation(way)?;
        let precision = pairs.precision(&transition)?;
        Some(Self { transition, precision })
    }

    /// T2 and SPE of the rows of a block, filters warmed up on the rows before it; rows whose
    /// filters are too young are left out.
    fn score(&self, rows: &Rows, block: &Range<usize>) -> Vec<(usize, (f64, f64))> {
        let (weight_t2, weight_spe) = WEIGHTS;
        let inflation = (2.0 - weight_t2) / weight_t2;
        let p = rows.p;
        let [mut expected, mut error, mut weighted, mut shift, mut weighted_shift] =
            std::array::from_fn(|_| vec![0.0; p]);
        let (mut spe, mut age) = (0.0, 0);
        let mut found = Vec::with_capacity(block.len());
        let begin = block.start.saturating_sub(WARM_UP).max(rows.run_start(block.start));
        for index in begin..block.end {
            if index == begin || rows.begins(index) {
                (spe, age) = (p as f64, 0);
                shift.fill(0.0);
                weighted_shift.fill(0.0);
                if rows.begins(index) {
                    continue;
                }
            }
            self.expect(rows.row(index - 1), &mut expected);
            for (error, (x, expected)) in
                error.iter_mut().zip(rows.row(index).iter().zip(&expected))
            {
                *error = x - expected;
            }
            self.precision.apply(&error, &mut weighted);
            spe += weight_spe * (product(&error, &weighted) - spe);
            smooth(&mut shift, &error, weight_t2);
            smooth(&mut weighted_shift, &weighted, weight_t2);
            age += 1;
            if index >= block.start && age > YOUNG {
                found.push((index, (inflation * product(&shift, &weighted_shift), spe)));
            }
        }
        found
    }

    /// The next row, standardised, as a row lets expect it.
    fn expect(&self, row: &[f64], expected: &mut [f64]) {
        let mean = &self.transition.mean;
        let from_mean: Vec<f64> = row.iter().zip(mean).map(|(x, mean)| x - mean).collect();
        self.transition.matrix.apply(&from_mean, expected);
        for (x, mean) in expected.iter_mut().zip(mean) {
            *x += mean;
        }
    }

    fn plan(self, rows: &Rows, scaling: &Scaling, alarm: PcaLimits) -> MonitorPlan {
        let gap = self.gaps(rows);
        let columns = scaling.mean.iter().zip(&scaling.scale).zip(&self.transition.mean);
        MonitorPlan {
            inputs: (0..).map(FeatureId).take(rows.p).collect(),
            mean: columns.map(|((mean, scale), offset)| mean + scale * offset).collect(),
            scale: scaling.scale.clone(),
            transition: self.transition.matrix.into_values(),
            precision: self.precision.into_values(),
            gap,
            weight_t2: WEIGHTS.0,
            weight_spe: WEIGHTS.1,
            alarm,
        }
    }

    /// How much larger errors are after 1, 2, ... missing rows, and from the mean alone: the
    /// square root of the ratio of their 99 % quantiles.
    fn gaps(&self, rows: &Rows) -> Vec<f64> {
        let step = rows.len().div_ceil(GAP_ROWS).max(1);
        let mut squares = vec![Vec::new(); GAPS + 1];
        let (mut expected, mut next) = (vec![0.0; rows.p], vec![0.0; rows.p]);
        let mut weighted = vec![0.0; rows.p];
        let mut square = |row: &[f64], expected: &[f64]| {
            let error: Vec<f64> = row.iter().zip(expected).map(|(x, e)| x - e).collect();
            self.precision.apply(&error, &mut weighted);
            product(&error, &weighted)
        };
        for index in (0..rows.len()).step_by(step) {
            expected.copy_from_slice(rows.row(index));
            for (ahead, squares) in squares.iter_mut().enumerate() {
                let target = index + ahead + 1;
                if ahead == GAPS {
                    squares.push(square(rows.row(index), &self.transition.mean));
                } else if target < rows.len() && rows.run_start(target) <= index {
                    self.expect(&expected, &mut next);
                    std::mem::swap(&mut expected, &mut next);
                    squares.push(square(rows.row(target), &expected));
                }
            }
        }
        let quantile = |values: &mut Vec<f64>| {
            let rank = values.len() / 100 + 1;
            largest(values, rank).unwrap_or(0.0)
        };
        let quantiles: Vec<f64> = squares.iter_mut().map(quantile).collect();
        let one = quantiles.first().copied().unwrap_or(0.0).max(f64::MIN_POSITIVE);
        let mut widest = 1.0_f64;
        let factors = quantiles.iter().skip(1).map(|quantile| {
            widest = widest.max(libm::sqrt(quantile / one));
            widest
        });
        factors.collect()
    }
}

impl Scores {
    /// Cube roots of T2 (0) or SPE (1), run by run.
    fn cube_roots(&self, which: usize) -> Vec<Vec<f64>> {
        let of = |(t2, spe): &(f64, f64)| libm::cbrt(if which == 0 { *t2 } else { *spe });
        self.runs.iter().map(|run| run.iter().map(of).collect()).collect()
    }
}

/// Largest share of a limit in each held-out row, over all members.
fn shares(scores: &[Scores], limits: &[(f64, f64)]) -> Vec<f64> {
    let mut shares: Vec<f64> = Vec::new();
    for (scores, (t2, spe)) in scores.iter().zip(limits) {
        let rows = scores.runs.iter().flatten();
        let of: Vec<f64> = rows.map(|score| (score.0 / t2).max(score.1 / spe)).collect();
        // The blocks are the same, so that members have the same rows.
        shares.resize(of.len(), 0.0);
        for (share, x) in shares.iter_mut().zip(of) {
            *share = share.max(x);
        }
    }
    shares
}

/// Scores of every block by the model of the others; `None` when one of them cannot be fitted.
fn held_out(rows: &Rows, folds: &[Fold], way: Way) -> Option<Scores> {
    let scored = in_parallel(folds, |fold| {
        Model::fit(&fold.kept, way).map(|model| model.score(rows, &fold.held))
    });
    let mut runs = vec![Vec::new(); rows.starts.len()];
    for block in scored {
        for (index, score) in block? {
            let run = rows.starts.partition_point(|start| *start <= index) - 1;
            if let Some(run) = runs.get_mut(run) {
                run.push(score);
            }
        }
    }
    runs.retain(|run| !run.is_empty());
    Some(Scores { runs })
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn smooth(state: &mut [f64], newest: &[f64], weight: f64) {
    for (state, newest) in state.iter_mut().zip(newest) {
        *state += weight * (newest - *state);
    }
}

/// Maps in as many threads as there are cores; results in the order of the items, whatever the
/// number of cores.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(cores).max(1);
    let work = &work;
    std::thread::scope(|scope| {
        let parts: Vec<_> = items
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<R>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests;
