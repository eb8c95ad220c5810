//! How far the rows of training reach, all inputs together.

use alloc::vec::Vec;

/// The distance of a part from the rows of training. `p` inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// `[p]` training means [unit of the input].
    pub mean: Vec<f64>,
    /// `[p (p + 1) / 2]` the lower triangle `W`, row by row, that makes the training covariance the
    /// unit matrix: `T2` is the square of the length of `W (x - mean)`.
    pub white: Vec<f64>,
    /// Largest T2 of the domain, dimensionless, > 0.
    pub t2_out: f64,
}

impl Reach {
    /// T2 of a part, `[p]`, dimensionless, >= 0.
    pub fn t2(&self, inputs: &[f64]) -> f64 {
        let mut left = self.white.as_slice();
        let mut t2 = 0.0;
        for row in 1..=self.mean.len() {
            let Some((weights, rest)) = left.split_at_checked(row) else { return f64::NAN };
            left = rest;
            let deviations = inputs.iter().zip(&self.mean);
            let y: f64 = weights.iter().zip(deviations).map(|(w, (x, mean))| w * (x - mean)).sum();
            t2 += y * y;
        }
        t2
    }

    /// Whether the arrays belong to so many inputs, and every number is one that it can be.
    pub(super) fn fits(&self, inputs: usize) -> bool {
        let triangle = inputs.checked_mul(inputs + 1).map(|twice| twice / 2);
        self.mean.len() == inputs
            && Some(self.white.len()) == triangle
            && self.mean.iter().chain(&self.white).all(|x| x.is_finite())
            && self.t2_out > 0.0
            && self.t2_out.is_finite()
    }
}
