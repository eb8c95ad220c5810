//! The directions in which causes move a process.

use alloc::vec::Vec;

/// Most sizes that a cause is tried at.
pub const SIZES_MAX: usize = 8;

/// In which directions each cause moves the inputs away from where the process is calm, and how far
/// they then spread. `p` inputs, `c` classes, `r` directions of each class.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    /// `[p]` means of the inputs where the process is calm.
    pub calm: Vec<f64>,
    /// `[c][r][p]` weights of the deviations from [`Directions::calm`] [1 per unit of the input].
    /// Where the process is calm, each weighted sum has variance 1 and goes with no other of its
    /// class.
    pub weights: Vec<f64>,
    /// `[c][r]` mean square of each sum over parts of the class, dimensionless, > 0.
    pub spread: Vec<f64>,
    /// 1 to [`SIZES_MAX`] shares of the spread that a part may show, above 0 to 1: a fault that has
    /// just begun moves the process the same way, but less.
    pub sizes: Vec<f64>,
    /// What a log likelihood counts beside that of the votes, > 0.
    pub counts: f64,
    /// The most that a part may speak against a class by its directions, > 0, in log-odds.
    pub at_most: f64,
    /// What a part counts, above 0 to 1: neighbours repeat each other.
    pub worth: f64,
}

impl Directions {
    /// Whether the arrays fit together, and every number is one that it can be.
    pub(super) fn fits(&self, inputs: usize, classes: usize) -> bool {
        let positive = |x: &f64| *x > 0.0 && x.is_finite();
        let each = self.spread.len() / classes.max(1);
        self.calm.len() == inputs
            && each > 0
            && each <= inputs
            && self.spread.len() == each * classes
            && Some(self.weights.len()) == self.spread.len().checked_mul(inputs)
            && self.calm.iter().chain(&self.weights).all(|x| x.is_finite())
            && self.spread.iter().all(positive)
            && (1..=SIZES_MAX).contains(&self.sizes.len())
            && self.sizes.iter().all(|x| *x > 0.0 && *x <= 1.0)
            && [self.counts, self.at_most].iter().all(positive)
            && self.worth > 0.0
            && self.worth <= 1.0
    }
}
