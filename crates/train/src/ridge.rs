//! Linear soft sensor by ridge regression, with a conformal interval.
//!
//! `b = (Z'Z + ridge I)^-1 Z'(y - mean(y))` on standardised columns Z; the intercept is not
//! penalised: a penalised one gave a hold-out R2 of -4 and -267 (`methods.md` section 2, Traps).
//!
//! **The interval** comes from rows the coefficients have not seen: the rows are cut into blocks
//! of time, each block is predicted by a fit to the others (with a gap, so that neighbours do not
//! leak), and the half width is the `ceil((n+1) level)`-th smallest of all these absolute
//! residuals. The coefficients handed out are then fitted to every row. Compared with a single
//! split, no history is lost to calibration; a fit to fewer rows errs more, so the interval is
//! slightly wide rather than narrow.

use nalgebra::{DMatrix, DVector};
use trimloop_core::plan::{FeatureId, LinearPlan, ModelId};

use crate::TrainError;
use crate::blocks::{blocks, conformal, trains};
use crate::table::{Scaling, Table};

/// Most columns, as for monitors.
const COLUMNS_MAX: usize = 200;
/// Fewest rows whatever the columns.
const ROWS_MIN: usize = 30;
/// Smallest pivot of the scaled normal equations, relative to the largest, that is not rounding.
const PIVOT_MIN: f64 = 1e-10;

/// How a soft sensor is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct RidgeOptions {
    /// Penalty on the standardised coefficients, on the scale of `Z'Z` (a sum over rows), >= 0.
    pub ridge: f64,
    /// Share of fresh labels inside the interval, 0.5 to 0.99.
    pub level: f64,
    /// Blocks of time that are held out in turn, 2 to 20.
    pub blocks: usize,
    /// Rows left out on both sides of a held-out block: at least the label delay plus the longest
    /// window of a feature.
    pub gap: usize,
}

impl Default for RidgeOptions {
    fn default() -> Self {
        Self { ridge: 1.0, level: 0.9, blocks: 5, gap: 5 }
    }
}

/// A fitted soft sensor of `p` columns, in the units of the table and the labels.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearFit {
    /// `[p]` names of the columns.
    pub names: Vec<String>,
    /// `[p]` coefficients [unit of y per unit of the column].
    pub coefficients: Vec<f64>,
    /// `[p]` means.
    pub mean: Vec<f64>,
    /// `[p]` standard deviations, each > 0.
    pub scale: Vec<f64>,
    /// Intercept [unit of y].
    pub intercept: f64,
    /// Half width of the interval [unit of y].
    pub half_width: f64,
    /// `[p]` lowest and highest training values.
    pub span: Vec<(f64, f64)>,
    /// Training rows.
    pub rows: usize,
    /// Root mean square error on held-out blocks [unit of y].
    pub rmse_held_out: f64,
    /// Share of the variance of y explained on held-out blocks; negative when worse than its mean.
    pub r2_held_out: f64,
    /// Root mean square error of taking the previous label for the next [unit of y].
    pub rmse_persistence: f64,
}

impl LinearFit {
    /// As a soft sensor of the plan.
    ///
    /// - `domain`: monitor whose domain it shares.
    ///
    /// # Errors
    /// [`TrainError::Ids`] unless there is one id for each column, in their order.
    pub fn plan(
        &self,
        inputs: &[FeatureId],
        domain: Option<ModelId>,
    ) -> Result<LinearPlan, TrainError> {
        if inputs.len() != self.names.len() {
            return Err(TrainError::Ids { have: inputs.len(), need: self.names.len() });
        }
        Ok(LinearPlan {
            inputs: inputs.to_vec(),
            coefficients: self.coefficients.clone(),
            mean: self.mean.clone(),
            scale: self.scale.clone(),
            intercept: self.intercept,
            half_width: self.half_width,
            span: self.span.clone(),
            domain,
        })
    }

    /// Prediction for one row [unit of y].
    ///
    /// - `row`: `[p]` in the order of `names`.
    pub fn predict(&self, row: &[f64]) -> f64 {
        let terms = self.coefficients.iter().zip(row).map(|(c, x)| c * x);
        self.intercept + terms.sum::<f64>()
    }
}

/// Fits a soft sensor to rows and their labels in time order.
///
/// - `x`: `n` rows of `p` columns; `y`: `[n]` labels, finite.
///
/// # Errors
/// 1 to 200 columns and at least 30 rows, and as many as the level needs, are required; constant
/// columns are all named; exact repeats among the columns need a ridge above 0.
pub fn fit_ridge(x: &Table, y: &[f64], options: &RidgeOptions) -> Result<LinearFit, TrainError> {
    check(x, y, options)?;
    let scaling = Scaling::of(x)?;
    let mut residuals = Vec::with_capacity(x.rows());
    for held in blocks(x.rows(), options.blocks) {
        let keep = |index: usize| trains(index, &held, options.gap);
        let line = Line::fit(x, y, scaling.of_rows(x, keep), options.ridge, keep)?;
        let rows = held.clone().filter_map(|index| Some((index, y.get(index)?)));
        residuals.extend(rows.map(|(index, y)| (y - line.predict(x.row(index))).abs()));
    }
    let line = Line::fit(x, y, scaling, options.ridge, |_| true)?;
    let line = (line.coefficients, line.intercept, line.scaling);
    LinearFit::of(x, y, line, residuals, options.level)
}

impl LinearFit {
    /// A line with what its held-out residuals, one for each row, say about it.
    ///
    /// - `line`: `[p]` coefficients, intercept, and the scaling they were found with.
    /// - `residuals`: absolute ones.
    pub(crate) fn of(
        x: &Table,
        y: &[f64],
        (coefficients, intercept, scaling): (Vec<f64>, f64, Scaling),
        mut residuals: Vec<f64>,
        level: f64,
    ) -> Result<Self, TrainError> {
        let n = y.len() as f64;
        let mean = y.iter().sum::<f64>() / n;
        let variance = y.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>();
        let squares = residuals.iter().map(|r| r * r).sum::<f64>();
        let steps = y.windows(2).filter_map(|pair| match pair {
            [last, next] => Some((next - last) * (next - last)),
            _ => None,
        });
        Ok(Self {
            names: x.names().to_vec(),
            rows: y.len(),
            rmse_held_out: libm::sqrt(squares / n),
            r2_held_out: 1.0 - squares / variance,
            rmse_persistence: libm::sqrt(steps.sum::<f64>() / (n - 1.0)),
            half_width: conformal(&mut residuals, level)
                .ok_or(TrainError::Option("the interval needs more rows for this level"))?,
            span: (0..x.columns()).map(|column| span(x.column(column))).collect(),
            coefficients,
            intercept,
            mean: scaling.mean,
            scale: scaling.scale,
        })
    }
}

pub(crate) fn check(x: &Table, y: &[f64], options: &RidgeOptions) -> Result<(), TrainError> {
    let (have, what) = (x.columns(), "a soft sensor");
    if !(1..=COLUMNS_MAX).contains(&have) {
        return Err(TrainError::Columns { have, low: 1, high: COLUMNS_MAX, what });
    }
    if y.len() != x.rows() {
        return Err(TrainError::Labels { labels: y.len(), rows: x.rows() });
    }
    if let Some(index) = y.iter().position(|y| !y.is_finite()) {
        return Err(TrainError::NotFinite { row: index + 1, column: "the label".to_owned() });
    }
    if !(options.ridge >= 0.0 && options.ridge.is_finite()) {
        return Err(TrainError::Option("the ridge must be 0 or more"));
    }
    if !(0.5..=0.99).contains(&options.level) {
        return Err(TrainError::Option("the level of the interval must be 0.5 to 0.99"));
    }
    if !(2..=20).contains(&options.blocks) {
        return Err(TrainError::Option("2 to 20 blocks can be held out"));
    }
    // 99 rows for the highest level: the rank must exist.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 99")]
    let rank = libm::ceil(options.level / (1.0 - options.level) - 1e-9) as usize;
    let need = ROWS_MIN.max(rank);
    if x.rows() < need {
        return Err(TrainError::TooFewRows { have: x.rows(), need, what });
    }
    let (lowest, highest) = span(y.iter().copied());
    if highest - lowest <= 1e-12 * lowest.abs().max(highest.abs()) {
        return Err(TrainError::Option("the labels do not change, there is nothing to predict"));
    }
    let left = |held: &std::ops::Range<usize>| {
        (0..x.rows()).filter(|index| trains(*index, held, options.gap)).count()
    };
    if blocks(x.rows(), options.blocks).any(|held| left(&held) < 10) {
        return Err(TrainError::Option("the gap between blocks leaves too few rows to train on"));
    }
    Ok(())
}

struct Line {
    scaling: Scaling,
    coefficients: Vec<f64>,
    intercept: f64,
}

impl Line {
    fn fit(
        x: &Table,
        y: &[f64],
        scaling: Scaling,
        ridge: f64,
        keep: impl Fn(usize) -> bool,
    ) -> Result<Self, TrainError> {
        let p = x.columns();
        let rows = || x.iter().zip(y).enumerate().filter(|(index, _)| keep(*index));
        let (sum, n) = rows().fold((0.0, 0.0), |(sum, n), (_, (_, y))| (sum + y, n + 1.0));
        let mean = sum / f64::max(n, 1.0);
        // Products in plain order: no kernel that depends on the processor.
        let (mut products, mut right) = (vec![0.0; p * p], vec![0.0; p]);
        let mut z = vec![0.0; p];
        for (_, (row, y)) in rows() {
            scaling.apply(row, &mut z);
            for ((line, right), a) in products.chunks_exact_mut(p).zip(&mut right).zip(&z) {
                *right += a * (y - mean);
                for (sum, b) in line.iter_mut().zip(&z) {
                    *sum += a * b;
                }
            }
        }
        for (index, sum) in products.iter_mut().enumerate() {
            if index % (p + 1) == 0 {
                *sum += ridge;
            }
        }
        let factor = DMatrix::from_vec(p, p, products).cholesky().ok_or(TrainError::Singular)?;
        let pivots = factor.l_dirty().diagonal();
        let largest = pivots.iter().fold(0.0, |m: f64, x| m.max(*x));
        if !pivots.iter().all(|x| x * x > PIVOT_MIN * largest * largest) {
            return Err(TrainError::Singular);
        }
        let scaled = factor.solve(&DVector::from_vec(right));
        let coefficients: Vec<f64> =
            scaled.iter().zip(&scaling.scale).map(|(b, scale)| b / scale).collect();
        let at_mean: f64 = coefficients.iter().zip(&scaling.mean).map(|(c, m)| c * m).sum();
        Ok(Self { intercept: mean - at_mean, coefficients, scaling })
    }

    fn predict(&self, row: &[f64]) -> f64 {
        self.intercept + self.coefficients.iter().zip(row).map(|(c, x)| c * x).sum::<f64>()
    }
}

fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    /// `y = 19 + 0.5 (a - 300) / 10 - 0.2 b + noise`, far from the origin.
    fn history(seed: u64, n: usize, noise_sd: f64) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut noise = Noise::new(seed);
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let (a, b) = noise.normals();
            rows.push(vec![300.0 + 10.0 * a, b]);
            labels.push(19.0 + 0.5 * a - 0.2 * b + noise_sd * noise.normal());
        }
        (rows, labels)
    }

    fn table(rows: &[Vec<f64>]) -> Table {
        Table::new((0..rows[0].len()).map(|i| format!("c{i}")).collect(), rows).unwrap()
    }

    fn exact() -> RidgeOptions {
        RidgeOptions { ridge: 0.0, ..RidgeOptions::default() }
    }

    /// Without noise and ridge the line comes back to rounding.
    #[test]
    fn recovers_the_line() {
        let (rows, labels) = history(1, 60, 0.0);
        let fit = fit_ridge(&table(&rows), &labels, &exact()).unwrap();
        for (found, expect) in fit.coefficients.iter().zip([0.05, -0.2]) {
            assert!((found - expect).abs() < 1e-9, "{fit:?}");
        }
        assert!((fit.intercept - 4.0).abs() < 1e-7, "{fit:?}");
        assert!(fit.half_width < 1e-9 && fit.r2_held_out > 0.999_999);
        let ids = [FeatureId(4), FeatureId(2)];
        let plan = fit.plan(&ids, Some(ModelId(1))).unwrap();
        assert_eq!((plan.inputs.as_slice(), plan.domain), (&ids[..], Some(ModelId(1))));
        assert!(fit.plan(&ids[..1], None).is_err());
    }

    /// However large the ridge, the prediction at the means stays the mean label.
    #[test]
    fn intercept_is_not_penalised() {
        let (rows, labels) = history(1, 200, 0.1);
        let mean = labels.iter().sum::<f64>() / 200.0;
        for ridge in [0.0, 1.0, 1e3, 1e9] {
            let options = RidgeOptions { ridge, ..exact() };
            let fit = fit_ridge(&table(&rows), &labels, &options).unwrap();
            assert!((fit.predict(&fit.mean) - mean).abs() < 1e-9);
            assert!(fit.r2_held_out > -0.05, "ridge {ridge}: {}", fit.r2_held_out);
        }
    }

    /// The interval holds on fresh rows as often as its level says, within 2 se and a little.
    #[test]
    fn interval_covers() {
        for level in [0.8, 0.9, 0.95] {
            let mut inside = 0.0;
            for seed in 0..20 {
                let (rows, labels) = history(100 + seed, 150, 0.3);
                let options = RidgeOptions { level, ..RidgeOptions::default() };
                let fit = fit_ridge(&table(&rows), &labels, &options).unwrap();
                let (fresh, truth) = history(900 + seed, 500, 0.3);
                let hits = fresh.iter().zip(&truth);
                let hits = hits.filter(|(row, y)| (fit.predict(row) - **y).abs() <= fit.half_width);
                inside += hits.count() as f64 / 10_000.0;
            }
            assert!((inside - level).abs() < 0.02, "level {level}: {inside}");
        }
    }

    /// What cannot be fitted says why.
    #[test]
    fn refuses() {
        let (rows, labels) = history(1, 60, 0.1);
        let error = |rows: &[Vec<f64>], labels: &[f64], options: &RidgeOptions| {
            fit_ridge(&table(rows), labels, options).unwrap_err()
        };
        let short = error(&rows[..20], &labels[..20], &exact());
        assert!(matches!(short, TrainError::TooFewRows { have: 20, need: 30, .. }));
        let strict = RidgeOptions { level: 0.99, ..exact() };
        let short = error(&rows, &labels, &strict);
        assert!(matches!(short, TrainError::TooFewRows { need: 99, .. }));
        assert_eq!(
            error(&rows, &labels[1..], &exact()),
            TrainError::Labels { labels: 59, rows: 60 }
        );
        let mut spoilt = labels.clone();
        spoilt[3] = f64::NAN;
        assert!(matches!(error(&rows, &spoilt, &exact()), TrainError::NotFinite { row: 4, .. }));
        assert!(matches!(error(&rows, &[0.3; 60], &exact()), TrainError::Option(_)));
        let twice: Vec<_> = rows.iter().map(|r| vec![r[0], r[1], 2.0 * r[0] - 7.0]).collect();
        assert_eq!(error(&twice, &labels, &exact()), TrainError::Singular);
        assert!(fit_ridge(&table(&twice), &labels, &RidgeOptions::default()).is_ok());
        let flat: Vec<_> = rows.iter().map(|r| vec![r[0], 5.0]).collect();
        assert_eq!(error(&flat, &labels, &exact()), TrainError::Constant(vec!["c1".to_owned()]));
        for bad in [
            RidgeOptions { ridge: -1.0, ..exact() },
            RidgeOptions { ridge: f64::NAN, ..exact() },
            RidgeOptions { level: 1.0, ..exact() },
            RidgeOptions { blocks: 1, ..exact() },
            RidgeOptions { gap: 1000, ..exact() },
        ] {
            assert!(matches!(error(&rows, &labels, &bad), TrainError::Option(_)));
        }
    }
}
