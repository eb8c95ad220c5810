//! The linear soft sensor: prediction, conformal interval, domain.
//!
//! `y = intercept + sum(coef * x)`, interval `y -+ half_width` (split conformal, `methods.md`
//! section 2).

use crate::feature::FeatureValue;
use crate::plan::LinearPlan;

use super::{Contribution, Score, known};

/// A soft sensor has no memory; only whether its arrays fit together.
#[derive(Clone, Debug)]
pub(super) struct LinearState {
    usable: bool,
}

impl LinearState {
    pub(super) fn new(plan: &LinearPlan) -> Self {
        let p = plan.inputs.len();
        let numbers = plan.coefficients.iter().chain(&plan.mean);
        let usable = p > 0
            && plan.coefficients.len() == p
            && plan.mean.len() == p
            && plan.scale.len() == p
            && plan.span.len() == p
            && numbers.chain([&plan.intercept]).all(|x| x.is_finite())
            && plan.scale.iter().all(|x| *x > 0.0 && x.is_finite())
            && plan.span.iter().all(|(low, high)| low <= high)
            && plan.half_width >= 0.0
            && plan.half_width.is_finite();
        Self { usable }
    }

    /// - `monitor`: whether the monitor whose domain this sensor shares is in it; `None` without
    ///   such a monitor.
    pub(super) fn score(
        &self,
        plan: &LinearPlan,
        features: &[FeatureValue],
        monitor: Option<bool>,
    ) -> Score {
        if !self.usable {
            return Score::UNKNOWN;
        }
        let mut prediction = plan.intercept;
        let mut inside = true;
        let inputs = plan.inputs.iter().zip(&plan.coefficients).zip(&plan.span);
        for ((input, coefficient), (low, high)) in inputs {
            let Some(x) = known(features, *input) else { return Score::UNKNOWN };
            prediction += coefficient * x;
            inside &= *low <= x && x <= *high;
        }
        let mut score = Score::of_value(prediction, false);
        if score.known {
            score.in_domain = inside && monitor.unwrap_or(true);
            score.low = prediction - plan.half_width;
            score.high = prediction + plan.half_width;
        }
        score
    }
}

/// `coef * (x - mean)` of each input.
pub(super) fn contributions(
    plan: &LinearPlan,
    features: &[FeatureValue],
    mut offer: impl FnMut(Contribution),
) {
    let shape = plan.coefficients.iter().zip(&plan.mean).zip(&plan.scale);
    for (feature, ((coefficient, mean), scale)) in plan.inputs.iter().zip(shape) {
        let Some(x) = known(features, *feature) else { continue };
        let share = coefficient * (x - mean);
        offer(Contribution { feature: *feature, share, z: (x - mean) / scale });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::value;
    use crate::plan::FeatureId;
    use alloc::vec;

    fn plan() -> LinearPlan {
        LinearPlan {
            inputs: vec![FeatureId(1), FeatureId(0)],
            coefficients: vec![2.0, -0.5],
            mean: vec![10.0, 4.0],
            scale: vec![2.0, 1.0],
            intercept: 1.0,
            half_width: 0.3,
            span: vec![(5.0, 15.0), (0.0, 8.0)],
            domain: None,
        }
    }

    /// Prediction, interval, span and monitor, row by row.
    #[test]
    fn predicts() {
        let state = LinearState::new(&plan());
        // feature 0, feature 1, monitor, prediction, in domain
        let rows = [
            (4.0, 10.0, None, 19.0, true),
            (8.0, 15.0, Some(true), 27.0, true),
            (8.5, 15.0, Some(true), 26.75, false),
            (4.0, 4.9, None, 8.8, false),
            (4.0, 10.0, Some(false), 19.0, false),
        ];
        for (a, b, monitor, expect, in_domain) in rows {
            let score = state.score(&plan(), &[value(a), value(b)], monitor);
            assert!(score.known);
            assert!(libm::fabs(score.value - expect) < 1e-12, "{score:?}");
            assert!(libm::fabs(score.high - score.low - 0.6) < 1e-12);
            assert_eq!(score.in_domain, in_domain, "{a} {b} {monitor:?}");
        }
        assert!(!state.score(&plan(), &[value(1.0)], None).known);
        assert!(!state.score(&plan(), &[value(f64::NAN), value(1.0)], None).known);
    }

    /// Contributions sum to the distance from the prediction at the means.
    #[test]
    fn contributions_sum() {
        let mut sum = 0.0;
        contributions(&plan(), &[value(6.0), value(11.0)], |c| sum += c.share);
        assert!(libm::fabs(sum - (2.0 - 1.0)) < 1e-12);
    }
}
