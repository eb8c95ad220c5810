//! Linear soft sensor by partial least squares, with a conformal interval.
//!
//! PLS looks for the few directions of the standardised columns that go most with the label, and
//! regresses on those: many columns that say the same thing twice stay a stable predictor. The
//! result is a line over the columns, stored and scored as any linear soft sensor.
//!
//! The directions come from `Z'Z` and `Z'y` alone (Dayal and `MacGregor` 1997, *Improved PLS
//! algorithms*, kernel version); with one label this is the same as SIMPLS and NIPALS.
//!
//! **How many** directions is decided by blocks of time that the fit has not seen: the fewest whose
//! root mean square error is within 1 % of the least. The interval comes from the same held-out
//! rows as in [`crate::fit_ridge`].

use crate::TrainError;
use crate::blocks::{blocks, trains};
use crate::linear_algebra::Square;
use crate::ridge::{LinearFit, RidgeOptions, check};
use crate::table::{Scaling, Table};

/// Most components that are tried.
const COMPONENTS_MAX: usize = 20;
/// A component more has to lower the held-out error by this share.
const WORTH: f64 = 0.01;
/// What is left of the covariance with the label, relative to the start, that is only rounding.
const NOTHING: f64 = 1e-10;

/// How a PLS soft sensor is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct PlsOptions {
    /// Components; `None` chooses by held-out blocks, up to 20.
    pub components: Option<usize>,
    /// Share of fresh labels inside the interval, 0.5 to 0.99.
    pub level: f64,
    /// Blocks of time that are held out in turn, 2 to 20.
    pub blocks: usize,
    /// Rows left out on both sides of a held-out block.
    pub gap: usize,
}

impl Default for PlsOptions {
    fn default() -> Self {
        let RidgeOptions { level, blocks, gap, .. } = RidgeOptions::default();
        Self { components: None, level, blocks, gap }
    }
}

/// A fitted soft sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct PlsFit {
    /// The line over the columns, and what held-out blocks say about it.
    pub line: LinearFit,
    /// Components it is made of.
    pub components: usize,
    /// Root mean square error on held-out blocks [unit of y] with 1, 2, … components.
    pub tried: Vec<f64>,
}

/// Fits a soft sensor to rows and their labels in time order.
///
/// - `x`: `n` rows of `p` columns; `y`: `[n]` labels, finite.
///
/// # Errors
/// As [`crate::fit_ridge`]; columns may repeat one another. [`TrainError::Components`] when more
/// were asked for than the rows carry.
pub fn fit_pls(x: &Table, y: &[f64], options: &PlsOptions) -> Result<PlsFit, TrainError> {
    let PlsOptions { level, blocks: count, gap, .. } = *options;
    check(x, y, &RidgeOptions { ridge: 0.0, level, blocks: count, gap })?;
    let scaling = Scaling::of(x)?;
    let whole = Lines::fit(x, y, scaling, |_| true);
    let mut folds = Vec::new();
    for held in blocks(x.rows(), count) {
        let keep = |index: usize| trains(index, &held, gap);
        folds.push((held.clone(), Lines::fit(x, y, whole.scaling.of_rows(x, keep), keep)));
    }
    let carried = folds.iter().map(|(_, lines)| lines.slopes.len());
    let most = carried.min().unwrap_or(0).min(whole.slopes.len());
    if most == 0 {
        let why = "no column goes with the label, there is nothing to predict it from";
        return Err(TrainError::Option(why));
    }
    let residuals = |components: usize| -> Vec<f64> {
        let of = |(held, lines): &(std::ops::Range<usize>, Lines)| {
            let (coefficients, intercept) = lines.line(components);
            let off = |index: usize| {
                let row = x.row(index).iter().zip(&coefficients);
                let said = intercept + row.map(|(x, c)| c * x).sum::<f64>();
                (y.get(index).copied().unwrap_or(f64::NAN) - said).abs()
            };
            held.clone().map(off).collect::<Vec<f64>>()
        };
        folds.iter().flat_map(of).collect()
    };
    let rmse = |components| {
        let squares: f64 = residuals(components).iter().map(|r| r * r).sum();
        libm::sqrt(squares / y.len() as f64)
    };
    let tried: Vec<f64> = (1..=most).map(rmse).collect();
    let components = match options.components {
        Some(asked) if (1..=most).contains(&asked) => asked,
        Some(asked) => return Err(TrainError::Components { asked, most }),
        None => {
            let least = tried.iter().copied().fold(f64::INFINITY, f64::min);
            tried.iter().position(|rmse| *rmse <= least * (1.0 + WORTH)).map_or(1, |at| at + 1)
        }
    };
    let (coefficients, intercept) = whole.line(components);
    let line = (coefficients, intercept, whole.scaling);
    let line = LinearFit::of(x, y, line, residuals(components), level)?;
    Ok(PlsFit { line, components, tried })
}

/// Lines with 1, 2, … components over standardised columns.
struct Lines {
    scaling: Scaling,
    mean: f64,
    /// `[components][p]`.
    slopes: Vec<Vec<f64>>,
}

impl Lines {
    fn fit(x: &Table, y: &[f64], scaling: Scaling, keep: impl Fn(usize) -> bool) -> Self {
        let p = x.columns();
        let rows = || x.iter().zip(y).enumerate().filter(|(index, _)| keep(*index));
        let (sum, n) = rows().fold((0.0, 0.0), |(sum, n), (_, (_, y))| (sum + y, n + 1.0));
        let mean = sum / f64::max(n, 1.0);
        let (mut products, mut right) = (Square::zeros(p), vec![0.0; p]);
        let mut z = vec![0.0; p];
        for (_, (row, y)) in rows() {
            scaling.apply(row, &mut z);
            products.add_outer(1.0, &z, &z);
            for (right, z) in right.iter_mut().zip(&z) {
                *right += z * (y - mean);
            }
        }
        Self { scaling, mean, slopes: components(&products, right) }
    }

    /// Coefficients in the units of the table, and intercept.
    fn line(&self, components: usize) -> (Vec<f64>, f64) {
        let slopes = self.slopes.get(components.saturating_sub(1)).map_or(&[][..], Vec::as_slice);
        let columns = slopes.iter().zip(&self.scaling.scale);
        let coefficients: Vec<f64> = columns.map(|(b, scale)| b / scale).collect();
        let at_mean: f64 = coefficients.iter().zip(&self.scaling.mean).map(|(c, m)| c * m).sum();
        (coefficients, self.mean - at_mean)
    }
}

/// Slopes with 1, 2, … components, as far as the label is not yet explained.
///
/// - `products`: `Z'Z`; `right`: `Z'y`.
fn components(products: &Square, mut right: Vec<f64>) -> Vec<Vec<f64>> {
    let p = right.len();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let start = libm::sqrt(dot(&right, &right));
    let mut found: Vec<Vec<f64>> = Vec::new();
    // Loadings and rotations of the components so far.
    let mut before: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    let mut slopes = vec![0.0; p];
    while found.len() < p.min(COMPONENTS_MAX) {
        let norm = libm::sqrt(dot(&right, &right));
        if norm <= NOTHING * start || norm <= 0.0 {
            break;
        }
        let weight: Vec<f64> = right.iter().map(|x| x / norm).collect();
        let mut rotation = weight.clone();
        for (loading, earlier) in &before {
            let share = dot(loading, &weight);
            for (r, earlier) in rotation.iter_mut().zip(earlier) {
                *r -= share * earlier;
            }
        }
        let mut loading = vec![0.0; p];
        products.apply(&rotation, &mut loading);
        let square = dot(&rotation, &loading);
        if !(square > 0.0 && square.is_finite()) {
            break;
        }
        let gain = dot(&rotation, &right) / square;
        for x in &mut loading {
            *x /= square;
        }
        for ((right, loading), (slope, rotation)) in
            right.iter_mut().zip(&loading).zip(slopes.iter_mut().zip(&rotation))
        {
            *right -= loading * gain * square;
            *slope += gain * rotation;
        }
        before.push((loading, rotation));
        found.push(slopes.clone());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn table(rows: &[Vec<f64>]) -> Table {
        Table::new((0..rows[0].len()).map(|i| format!("c{i}")).collect(), rows).unwrap()
    }

    /// scikit-learn 1.9.1, `PLSRegression(n_components=a, scale=True)` on the data by these
    /// formulas: coefficients, and the prediction of the first row.
    #[test]
    fn reference() {
        let (mut rows, mut y) = (Vec::new(), Vec::new());
        for i in 0..40_u32 {
            let x = f64::from(i);
            let a = libm::sin(0.7 * x);
            let row = vec![
                a,
                libm::cos(1.3 * x) + 0.5 * a,
                0.1 * f64::from((7 * i) % 11),
                a + 0.01 * f64::from((5 * i) % 7),
            ];
            y.push(3.0 + 2.0 * row[0] - row[1] + 0.5 * row[2] + 0.2 * libm::cos(2.1 * x));
            rows.push(row);
        }
        let expect = [
            (
                [0.830_371_905_4, -0.130_517_377_5, 0.262_932_204_1, 0.828_497_277_4],
                2.936_878_443_3,
            ),
            (
                [0.992_417_238_3, -0.965_946_330_2, 0.721_168_418_5, 0.989_150_699_0],
                1.896_982_764_0,
            ),
            (
                [0.999_508_325_7, -0.991_900_770_7, 0.523_855_842_7, 0.995_571_041_2],
                1.971_242_840_6,
            ),
        ];
        let x = table(&rows);
        for (at, (coefficients, first)) in expect.iter().enumerate() {
            let options =
                PlsOptions { components: Some(at + 1), gap: 1, blocks: 3, ..Default::default() };
            let fit = fit_pls(&x, &y, &options).unwrap();
            assert_eq!(fit.components, at + 1);
            for (found, expect) in fit.line.coefficients.iter().zip(coefficients) {
                assert!((found - expect).abs() < 1e-9, "{at}: {:?}", fit.line.coefficients);
            }
            assert!((fit.line.predict(x.row(0)) - first).abs() < 1e-9);
        }
    }

    /// Two hidden causes behind twelve columns, two of which are the same.
    fn hidden(seed: u64, n: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut noise = Noise::new(seed);
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let (a, b) = noise.normals();
            let mut row: Vec<f64> = (0..11)
                .map(|i| {
                    let (c, s) = (libm::cos(f64::from(i)), libm::sin(f64::from(i)));
                    50.0 + c * a + s * b + 0.1 * noise.normal()
                })
                .collect();
            row.push(3.0 * row[0]);
            rows.push(row);
            labels.push(7.0 + a - 0.5 * b + 0.2 * noise.normal());
        }
        (rows, labels)
    }

    /// Few components are enough, the interval holds on fresh rows, and the same rows give the
    /// same bits.
    #[test]
    fn few_components_are_found() {
        let mut inside = 0.0;
        for seed in 0..10 {
            let (rows, labels) = hidden(seed, 150);
            let fit = fit_pls(&table(&rows), &labels, &PlsOptions::default()).unwrap();
            assert!((1..=4).contains(&fit.components), "{:?}", fit.tried);
            assert!(fit.line.r2_held_out > 0.9, "{}", fit.line.r2_held_out);
            assert_eq!(fit, fit_pls(&table(&rows), &labels, &PlsOptions::default()).unwrap());
            let (fresh, truth) = hidden(1000 + seed, 200);
            let off = |(row, y): (&Vec<f64>, &f64)| (fit.line.predict(row) - y).abs();
            let hits = fresh.iter().zip(&truth).map(off).filter(|off| *off <= fit.line.half_width);
            inside += hits.count() as f64 / 2000.0;
        }
        assert!((0.86..=0.95).contains(&inside), "{inside}");
    }

    /// What cannot be fitted says why.
    #[test]
    fn refuses() {
        let (rows, labels) = hidden(1, 60);
        let error =
            |options: &PlsOptions, y: &[f64]| fit_pls(&table(&rows), y, options).unwrap_err();
        let many = PlsOptions { components: Some(13), ..Default::default() };
        assert!(matches!(error(&many, &labels), TrainError::Components { asked: 13, .. }));
        assert!(matches!(error(&PlsOptions::default(), &[1.0; 60]), TrainError::Option(_)));
        assert!(matches!(error(&PlsOptions::default(), &labels[1..]), TrainError::Labels { .. }));
        let few = fit_pls(&table(&rows[..3]), &labels[..3], &PlsOptions::default()).unwrap_err();
        assert!(matches!(few, TrainError::TooFewRows { have: 3, .. }));
    }
}
