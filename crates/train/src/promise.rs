//! Limits that a stretch of autocorrelated scores can promise, for all monitors.

use statrs::distribution::{ContinuousCDF, Normal};

use trimloop_core::drift::correlation;

use crate::blocks::{lag1, largest};

/// Confidence that no more than the promised share of fresh rows lies beyond a limit.
const CONFIDENCE: f64 = 0.95;
/// Fewest independent scores that a limit is worked out for.
const INDEPENDENT_MIN: f64 = 5.0;
/// Longest distance over which memory is summed [rows].
const DISTANCE_MAX: usize = 500;

/// What is known about one statistic in normal operation. Cube roots of sums of squares are
/// nearly normal (Wilson and Hilferty 1931), so mean and deviation say where the tail ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normality {
    mean: f64,
    deviation: f64,
    /// Independent scores that the rows are worth.
    pub(crate) independent: f64,
}

impl Normality {
    /// - `runs`: cube roots of the statistic, each run in time order.
    pub(crate) fn of(runs: &[Vec<f64>]) -> Self {
        let n = runs.iter().map(Vec::len).sum::<usize>() as f64;
        let all = || runs.iter().flatten();
        let mean = all().sum::<f64>() / n.max(1.0);
        let squares: f64 = all().map(|x| (x - mean) * (x - mean)).sum();
        let deviation = libm::sqrt(squares / f64::max(n - 1.0, 1.0));
        let memory: f64 = runs.iter().map(|run| run.len() as f64 * lag1(run)).sum::<f64>() / n;
        let memory = memory.clamp(0.0, 0.999);
        let independent = f64::max(n * (1.0 - memory) / (1.0 + memory), INDEPENDENT_MIN);
        Self { mean, deviation, independent }
    }

    /// The same, worth no more independent scores than that.
    pub(crate) fn worth_at_most(self, independent: f64) -> Self {
        let independent = self.independent.min(independent).max(INDEPENDENT_MIN);
        Self { independent, ..self }
    }

    /// One-sided tolerance limit of the statistic: with 95 % confidence no more than `share` of
    /// fresh rows lie beyond it.
    pub(crate) fn limit(&self, share: f64) -> f64 {
        let root = self.mean + tolerance(share, self.independent) * self.deviation;
        root * root * root
    }
}

/// Rows that one independent row takes, at least 1: `1 + 2 (r_1 + r_2 + ...)`, the larger of what a
/// first-order process with the same `r_1` has and the sum itself, taken in pairs for as long as
/// they are positive and fall (initial monotone sequence, Geyer 1992). The sum sees memory that
/// outlasts `r_1`, as of a slow course under fast noise.
pub(crate) fn rows_per_independent(values: &[f64]) -> f64 {
    let r = lag1(values).clamp(0.0, 0.999);
    let (mut sum, mut before) = (1.0, f64::INFINITY);
    for lag in (1..DISTANCE_MAX.min(values.len() / 2)).step_by(2) {
        let pair = correlation(values, lag) + correlation(values, lag + 1);
        if pair.is_nan() || pair <= 0.0 {
            break;
        }
        before = f64::min(before, pair);
        sum += 2.0 * before;
    }
    f64::max((1.0 + r) / (1.0 - r), sum)
}

/// Factor, at least 1, that leaves no more than `far` of the rows beyond any limit.
///
/// - `shares`: each row's largest share of a limit.
pub(crate) fn widening(shares: &[f64], far: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to n")]
    let rank = libm::floor(far * shares.len() as f64 + 1e-9) as usize + 1;
    largest(&mut shares.to_vec(), rank).unwrap_or(1.0).max(1.0)
}

/// Share of rows beyond limits that were widened.
pub(crate) fn beyond(shares: &[f64], widened: f64) -> f64 {
    let beyond = shares.iter().filter(|share| **share > widened).count();
    beyond as f64 / shares.len().max(1) as f64
}

/// Factor of the one-sided normal tolerance limit (Natrella 1963, NIST handbook 7.2.6.3).
fn tolerance(share: f64, n: f64) -> f64 {
    // Never fails: mean 0, deviation 1.
    let Ok(normal) = Normal::new(0.0, 1.0) else { return f64::MAX };
    let (z, c) = (normal.inverse_cdf(1.0 - share), normal.inverse_cdf(CONFIDENCE));
    let a = 1.0 - c * c / (2.0 * (n - 1.0));
    let b = z * z - c * c / n;
    (z + libm::sqrt(f64::max(z * z - a * b, 0.0))) / a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    /// NIST's example: n = 43, 90 % coverage, 99 % confidence gives 1.8752; at our 95 % the
    /// tables (Owen 1963) say 1.6555 for n = 43 by interpolation between 40 and 45, and for 1 %
    /// beyond: 3.981 (n 10), 3.295 (n 20), 2.862 (n 50), 2.684 (n 100).
    #[test]
    fn tolerance_factors() {
        for (n, expect) in [(10.0, 3.981), (20.0, 3.295), (50.0, 2.862), (100.0, 2.684)] {
            let found = tolerance(0.01, n);
            assert!((found / expect - 1.0).abs() < 0.025, "{n}: {found} instead of {expect}");
        }
        assert!((tolerance(0.01, 1e9) - 2.326).abs() < 1e-3);
    }

    /// A first-order process takes `(1 + r) / (1 - r)` rows; a slow course under noise more than its
    /// `r_1` alone would say; rows without memory take one.
    #[test]
    fn memory_is_summed() {
        let mut noise = Noise::new(3);
        let mut x = 0.0;
        let slow: Vec<f64> = (0..20_000)
            .map(|_| {
                x = 0.9 * x + libm::sqrt(0.19) * noise.normal();
                x
            })
            .collect();
        assert!((rows_per_independent(&slow) / 19.0 - 1.0).abs() < 0.2);
        let under: Vec<f64> = slow.iter().map(|x| x + noise.normal()).collect();
        let (r, found) = (lag1(&under), rows_per_independent(&under));
        // Half of the variance is slow: 1 + 2 * 0.5 * 0.9 / 0.1 = 10; r_1 = 0.45 says 2.6.
        assert!((1.0 + r) / (1.0 - r) < 3.0 && (found / 10.0 - 1.0).abs() < 0.25, "{r} {found}");
        let fast: Vec<f64> = (0..20_000).map(|_| noise.normal()).collect();
        assert!(rows_per_independent(&fast) < 1.1);
        assert_eq!(rows_per_independent(&[2.0; 9]), 1.0);
    }

    /// The promise itself: in 19 of 20 stretches of 200 scores with memory 0.8, no more than 1 %
    /// of what may come lies beyond the limit.
    #[test]
    fn promise_is_kept_for_scores_with_memory() {
        let normal = Normal::new(0.0, 1.0).unwrap();
        let mut noise = Noise::new(11);
        let (mut kept, runs) = (0, 400);
        for _ in 0..runs {
            let mut x = noise.normal();
            let scores: Vec<f64> = (0..200)
                .map(|_| {
                    x = 0.8 * x + 0.6 * noise.normal();
                    5.0 + x
                })
                .collect();
            let limit = Normality::of(&[scores]).limit(0.01);
            kept += usize::from(1.0 - normal.cdf(libm::cbrt(limit) - 5.0) <= 0.01);
        }
        let share = kept as f64 / f64::from(runs);
        assert!((0.90..=0.99).contains(&share), "{share}");
    }
}
