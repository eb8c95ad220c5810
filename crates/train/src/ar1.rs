//! Mean, spread and memory of one feature, for an EWMA or CUSUM chart.

use trimloop_core::plan::{Chart, ChartPlan, FeatureId};

use crate::TrainError;
use crate::blocks::lag1;

/// Fewest values that say anything about memory.
const ROWS_MIN: usize = 30;
/// A feature that remembers more than this drifts; its residuals are charted as if it were here.
const AR_MAX: f64 = 0.98;

/// An AR(1) process: `x_k - mean = ar (x_(k-1) - mean) + e`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ar1Fit {
    /// Mean [unit of the feature].
    pub mean: f64,
    /// Standard deviation of the feature, > 0: `residual_deviation / sqrt(1 - ar^2)` [its unit].
    pub deviation: f64,
    /// Lag-1 coefficient, -0.98 to 0.98.
    pub ar: f64,
    /// Standard deviation of `e`: mean moving range / 1.128, which a few steps of the level
    /// within the training rows hardly widen [unit of the feature].
    pub residual_deviation: f64,
    /// Training values.
    pub rows: usize,
}

impl Ar1Fit {
    /// As a chart of the plan.
    pub fn plan(&self, input: FeatureId, kind: Chart) -> ChartPlan {
        ChartPlan { input, mean: self.mean, deviation: self.deviation, ar: self.ar, kind }
    }
}

/// Fits an AR(1) process to one feature in time order.
///
/// The lag-1 autocorrelation is raised by its bias of `(1 + 4 r) / n` (Marriott and Pope 1954).
///
/// # Errors
/// Fewer than 30 values, one that is not finite, or none that differs.
pub fn fit_ar1(name: &str, values: &[f64]) -> Result<Ar1Fit, TrainError> {
    let n = values.len();
    if n < ROWS_MIN {
        return Err(TrainError::TooFewRows { have: n, need: ROWS_MIN, what: "a chart" });
    }
    if let Some(index) = values.iter().position(|x| !x.is_finite()) {
        return Err(TrainError::NotFinite { row: index + 1, column: name.to_owned() });
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let r = lag1(values);
    let ar = (r + (1.0 + 4.0 * r) / n as f64).clamp(-AR_MAX, AR_MAX);
    let pairs = values.windows(2);
    let residuals: Vec<f64> = pairs
        .filter_map(|pair| match pair {
            [last, x] => Some((x - mean) - ar * (last - mean)),
            _ => None,
        })
        .collect();
    let ranges = residuals.windows(2).filter_map(|pair| match pair {
        [last, e] => Some((e - last).abs()),
        _ => None,
    });
    // 1.128: mean range of two standard normal draws, 2/sqrt(pi).
    let residual_deviation = ranges.sum::<f64>() / (n - 2) as f64 / 1.128;
    let deviation = residual_deviation / libm::sqrt(1.0 - ar * ar);
    if deviation <= 1e-12 * mean.abs().max(f64::MIN_POSITIVE) {
        return Err(TrainError::Constant(vec![name.to_owned()]));
    }
    Ok(Ar1Fit { mean, deviation, ar, residual_deviation, rows: n })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    /// Recovers the process that made the values.
    #[test]
    fn recovers() {
        for rho in [-0.6, 0.0, 0.5, 0.9] {
            let mut noise = Noise::new(11);
            let mut x = noise.normal();
            let mut next = |_| {
                x = rho * x + libm::sqrt(1.0 - rho * rho) * noise.normal();
                300.0 + 4.0 * x
            };
            let values: Vec<f64> = (0..20_000).map(&mut next).collect();
            let fit = fit_ar1("pressure", &values).unwrap();
            assert!((fit.ar - rho).abs() < 0.02, "{fit:?}");
            assert!((fit.mean - 300.0).abs() < 0.4, "{fit:?}");
            assert!((fit.deviation / 4.0 - 1.0).abs() < 0.1, "{fit:?}");
            let plan = fit.plan(FeatureId(3), Chart::Ewma { lambda: 0.1, width: 2.814 });
            assert_eq!((plan.input, plan.ar), (FeatureId(3), fit.ar));
        }
    }

    /// What cannot be fitted says why.
    #[test]
    fn refuses() {
        let error = |values: &[f64]| fit_ar1("pressure", values).unwrap_err();
        assert!(matches!(error(&[1.0; 5]), TrainError::TooFewRows { have: 5, need: 30, .. }));
        assert_eq!(error(&[0.3; 50]), TrainError::Constant(vec!["pressure".to_owned()]));
        let mut values = [1.0; 50];
        values[7] = f64::NAN;
        assert!(matches!(error(&values), TrainError::NotFinite { row: 8, .. }));
    }
}
