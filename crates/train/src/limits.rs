//! Limits of T2 and SPE (`methods.md` section 2).

use statrs::distribution::{Beta, ChiSquared, ContinuousCDF, Normal};
use thiserror::Error;

use crate::blocks::largest;
use crate::noise::Noise;

/// Draws of the weighted chi-squared sum.
const DRAWS: usize = 200_000;
/// Relative difference of two approximations above which neither is believed.
const DISAGREE: f64 = 0.10;

/// Why a limit has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LimitError {
    /// Counts or the level are out of range.
    #[error("the level must be above 0 and below 1, with 1 or more components and more rows")]
    Range,
    /// Nothing is left outside the components.
    #[error("the components explain the rows completely; take fewer components")]
    NoResidual,
}

fn checked(k: usize, n: usize, alpha: f64) -> Result<(f64, f64), LimitError> {
    if k == 0 || n < k + 2 || !(alpha > 0.0 && alpha < 1.0) {
        return Err(LimitError::Range);
    }
    Ok((k as f64, n as f64))
}

/// Upper limit of T2 for new rows: `k (n^2-1) / (n (n-k)) * F_(1-alpha)(k, n-k)`.
///
/// - `k`: components; `n`: training rows; `alpha`: share of normal rows beyond the limit.
///
/// # Errors
/// [`LimitError::Range`].
pub fn t2_limit(k: usize, n: usize, alpha: f64) -> Result<f64, LimitError> {
    let (k, n) = checked(k, n, alpha)?;
    // F quantile from that of the beta distribution of x = k F / (k F + n - k).
    let x = beta_quantile(k / 2.0, (n - k) / 2.0, alpha)?;
    Ok((n * n - 1.0) / n * x / (1.0 - x))
}

/// Upper limit of T2 for the training rows themselves:
/// `(n-1)^2 / n * Beta_(1-alpha)(k/2, (n-k-1)/2)`. Arguments as in [`t2_limit`].
///
/// # Errors
/// [`LimitError::Range`].
pub fn t2_limit_training(k: usize, n: usize, alpha: f64) -> Result<f64, LimitError> {
    let (k, n) = checked(k, n, alpha)?;
    Ok((n - 1.0) * (n - 1.0) / n * beta_quantile(k / 2.0, (n - k - 1.0) / 2.0, alpha)?)
}

/// Upper `alpha` quantile by halving: independent of the library's own search.
fn beta_quantile(a: f64, b: f64, alpha: f64) -> Result<f64, LimitError> {
    let beta = Beta::new(a, b).map_err(|_| LimitError::Range)?;
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if beta.sf(middle) > alpha { low = middle } else { high = middle }
    }
    Ok(high)
}

/// Upper limit of SPE from the eigenvalues left out.
///
/// Jackson-Mudholkar with signed `h0`; where it and Box's `g chi2_h` differ by more than 10 %, or
/// where its bracket is not positive, the quantile of `sum(lambda_a chi2_1)` from 200 000 seeded
/// draws.
///
/// - `residual`: eigenvalues outside the components, each >= 0.
///
/// # Errors
/// [`LimitError::NoResidual`] when they are all 0, [`LimitError::Range`] for a bad level.
pub fn spe_limit(residual: &[f64], alpha: f64, seed: u64) -> Result<f64, LimitError> {
    let spe = SpeLimit::new(residual)?;
    match (spe.jackson_mudholkar(alpha)?, spe.box_approximation(alpha)?) {
        (Some(jm), boxed) if (jm - boxed).abs() <= DISAGREE * jm.min(boxed) => Ok(jm),
        _ => Ok(drawn(residual, alpha, seed)),
    }
}

struct SpeLimit {
    theta: [f64; 3],
}

impl SpeLimit {
    fn new(residual: &[f64]) -> Result<Self, LimitError> {
        let power = |i: i32| residual.iter().map(|l| l.powi(i)).sum::<f64>();
        let theta = [power(1), power(2), power(3)];
        if theta.iter().all(|t| *t > 0.0 && t.is_finite()) {
            Ok(Self { theta })
        } else {
            Err(LimitError::NoResidual)
        }
    }

    fn jackson_mudholkar(&self, alpha: f64) -> Result<Option<f64>, LimitError> {
        let normal = Normal::new(0.0, 1.0).map_err(|_| LimitError::Range)?;
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(LimitError::Range);
        }
        let z = normal.inverse_cdf(1.0 - alpha);
        let [t1, t2, t3] = self.theta;
        let h0 = 1.0 - 2.0 * t1 * t3 / (3.0 * t2 * t2);
        if h0.abs() < 1e-6 {
            return Ok(None);
        }
        // h0 stays outside the root: inside, a negative one would take the lower tail.
        let root = libm::sqrt(2.0 * t2);
        let bracket = 1.0 + z * h0 * root / t1 + t2 * h0 * (h0 - 1.0) / (t1 * t1);
        Ok((bracket > 0.0).then(|| t1 * libm::pow(bracket, 1.0 / h0)))
    }

    fn box_approximation(&self, alpha: f64) -> Result<f64, LimitError> {
        let [t1, t2, _] = self.theta;
        let chi2 = ChiSquared::new(t1 * t1 / t2).map_err(|_| LimitError::Range)?;
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(LimitError::Range);
        }
        Ok(t2 / t1 * chi2.inverse_cdf(1.0 - alpha))
    }
}

fn drawn(residual: &[f64], alpha: f64, seed: u64) -> f64 {
    let mut noise = Noise::new(seed);
    let draw = |_| {
        let mut sum = 0.0;
        for pair in residual.chunks(2) {
            let (a, b) = noise.normals();
            for (eigenvalue, x) in pair.iter().zip([a, b]) {
                sum += eigenvalue * x * x;
            }
        }
        sum
    };
    let mut sums: Vec<f64> = (0..DRAWS).map(draw).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to DRAWS")]
    let rank = libm::ceil(alpha * DRAWS as f64).max(1.0) as usize;
    largest(&mut sums, rank).unwrap_or(f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expect: f64, digits: f64) {
        assert!((found - expect).abs() <= digits, "{found} instead of {expect}");
    }

    /// Reference values of `methods.md` section 7.
    #[test]
    fn t2_reference_values() {
        near(t2_limit(3, 40, 0.01).unwrap(), 14.130, 6e-4);
        near(t2_limit_training(3, 40, 0.01).unwrap(), 10.163, 6e-4);
        near(t2_limit(8, 200, 0.01).unwrap(), 21.708, 6e-4);
        near(t2_limit_training(8, 200, 0.01).unwrap(), 19.483, 6e-4);
    }

    /// Reference values of `methods.md` section 7: many equal eigenvalues, then one large one,
    /// where Jackson-Mudholkar is wide, Box narrow, and the truth about 17.1.
    #[test]
    fn spe_reference_values() {
        let equal = SpeLimit::new(&[0.25; 42]).unwrap();
        near(equal.jackson_mudholkar(0.01).unwrap().unwrap(), 16.556, 6e-4);
        near(equal.box_approximation(0.01).unwrap(), 16.552, 6e-4);
        near(spe_limit(&[0.25; 42], 0.01, 1).unwrap(), 16.556, 6e-4);
        let mut one = vec![0.2; 42];
        one[0] = 1.2;
        let large = SpeLimit::new(&one).unwrap();
        near(large.jackson_mudholkar(0.01).unwrap().unwrap(), 17.714, 6e-4);
        near(large.box_approximation(0.01).unwrap(), 16.114, 6e-4);
        near(drawn(&one, 0.01, 1), 17.1, 0.15);
        // 9.9 % apart: still Jackson-Mudholkar. A larger eigenvalue goes to the draws.
        near(spe_limit(&one, 0.01, 1).unwrap(), 17.714, 6e-4);
        one[0] = 4.0;
        let limit = spe_limit(&one, 0.01, 1).unwrap();
        near(limit, drawn(&one, 0.01, 1), 0.0);
        near(limit, spe_limit(&one, 0.01, 1).unwrap(), 0.0);
    }

    /// One residual eigenvalue: the draws must give its chi-squared quantile, 6.635 at 1 %.
    #[test]
    fn draws_match_chi_squared() {
        near(drawn(&[1.0], 0.01, 5), 6.635, 0.1);
        near(drawn(&[1.0], 0.5, 5), 0.455, 0.01);
    }

    /// Levels and counts out of range are refused, not guessed.
    #[test]
    fn refuses() {
        for alpha in [0.0, 1.0, -1.0, f64::NAN] {
            assert_eq!(t2_limit(3, 40, alpha), Err(LimitError::Range));
            assert_eq!(spe_limit(&[1.0, 2.0], alpha, 1), Err(LimitError::Range));
        }
        assert_eq!(t2_limit(0, 40, 0.01), Err(LimitError::Range));
        assert_eq!(t2_limit(39, 40, 0.01), Err(LimitError::Range));
        assert_eq!(spe_limit(&[], 0.01, 1), Err(LimitError::NoResidual));
        assert_eq!(spe_limit(&[0.0], 0.01, 1), Err(LimitError::NoResidual));
    }
}
