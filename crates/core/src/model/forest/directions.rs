//! How much a part looks like each cause by the directions in which it lies.
//!
//! With `y` the weighted sums of a part and `l` their spreads under a class, a cause at size `a` gives
//! each sum the variance `v = 1 + a (l - 1)`, where a calm process gives 1. The log likelihood ratio
//! of normal sums is then `sum(y^2 (1 - 1/v) - ln v) / 2`, at the size that fits best. The mean of a
//! class is part of its spread, so that a fault is known again with the other sign too.

use alloc::vec;
use alloc::vec::Vec;

use crate::plan::{Directions, SIZES_MAX};

/// Sums are kept within this, so that their squares stay finite.
const SUM_MAX: f64 = 1e150;

/// What is worked out once, and the newest part.
#[derive(Clone, Debug)]
pub(super) struct Likelihoods {
    /// `[c][sizes]` sums of `ln v` over the directions.
    logs: Vec<f64>,
    /// `[c]` log likelihood ratios of the newest part.
    pub(super) of: Vec<f64>,
}

impl Likelihoods {
    /// Allocates everything.
    pub(super) fn new(plan: &Directions, classes: usize) -> Self {
        let each = plan.spread.len() / classes.max(1);
        let log = |size: &f64, spread: &[f64]| -> f64 {
            spread.iter().map(|spread| libm::log(1.0 + size * (spread - 1.0))).sum()
        };
        let spreads = plan.spread.chunks_exact(each.max(1));
        let logs = spreads.flat_map(|spread| plan.sizes.iter().map(move |size| log(size, spread)));
        Self { logs: logs.collect(), of: vec![0.0; classes] }
    }

    /// Compares a part, `[p]` inputs, with every class.
    pub(super) fn compare(&mut self, plan: &Directions, inputs: &[f64]) {
        let each = (plan.spread.len() / self.of.len().max(1)).max(1);
        let sizes = plan.sizes.len();
        let rows = plan.weights.chunks_exact((each * plan.calm.len()).max(1));
        let spreads = plan.spread.chunks_exact(each);
        let classes = rows.zip(spreads).zip(self.logs.chunks_exact(sizes.max(1)));
        for (of, ((rows, spreads), logs)) in self.of.iter_mut().zip(classes) {
            let mut sums = [0.0; SIZES_MAX];
            for (row, spread) in rows.chunks_exact(plan.calm.len().max(1)).zip(spreads) {
                let deviations = inputs.iter().zip(&plan.calm);
                let y: f64 =
                    row.iter().zip(deviations).map(|(weight, (x, calm))| weight * (x - calm)).sum();
                let y = y.clamp(-SUM_MAX, SUM_MAX);
                for (sum, size) in sums.iter_mut().zip(&plan.sizes) {
                    let over = size * (spread - 1.0);
                    *sum += y * y * (over / (1.0 + over));
                }
            }
            let at = sums.iter().zip(logs).map(|(sum, log)| (sum - log) / 2.0);
            *of = at.fold(f64::NEG_INFINITY, f64::max);
        }
    }

    /// What the newest part says of each class, in log-odds, 0 for the best.
    pub(super) fn says(&self, plan: &Directions) -> impl Iterator<Item = f64> {
        let top = self.of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.of.iter().map(move |of| (plan.counts * (of - top)).max(-plan.at_most))
    }
}
