//! EWMA, CUSUM and run rules on standardised one-step residuals.
//!
//! Charts promise their run length only for independent values (`methods.md` section 2: AR(1)
//! with 0.5 brings the CUSUM's 465 down to 50), so each value is first freed of what the previous
//! one already told: with `d = x - mean`, the residual `(d_k - f d_j) / (s sqrt(1 - f^2))`,
//! where `f = ar^(k-j)` and `d_j` is the newest known value. For an AR(1) process these residuals
//! are independent with standard deviation 1, over gaps of unknown parts too; the first value
//! stands for itself (`f = 0`).

use crate::feature::FeatureValue;
use crate::plan::{Chart, ChartPlan};

use super::rules::RuleState;
use super::{Contribution, Score, known};

/// A CUSUM stops growing at so many decision intervals. A long excursion then clears within
/// `h/k` parts of the process being right again; the time to the first signal does not change.
const CUSUM_CAP: f64 = 2.0;

/// State of one chart.
#[derive(Clone, Debug)]
pub(super) struct ChartState {
    usable: bool,
    /// EWMA z, or the upper CUSUM, [standard deviations].
    high: f64,
    /// Lower CUSUM [standard deviations], >= 0.
    low: f64,
    /// Distance of the newest known value from the mean [unit of the feature].
    last: f64,
    /// Share of `last` expected in the next value: `ar` to the parts since; 0 before the first.
    carry: f64,
    /// Newest standardised residual.
    residual: f64,
    rules: RuleState,
}

impl ChartState {
    pub(super) fn new(plan: &ChartPlan) -> Self {
        let statistic = match plan.kind {
            Chart::Ewma { lambda, width } => {
                lambda > 0.0 && lambda <= 1.0 && width > 0.0 && width.is_finite()
            }
            Chart::Shewhart { .. } => true,
            Chart::Cusum { allowance, decision } => {
                allowance >= 0.0 && allowance.is_finite() && decision > 0.0 && decision.is_finite()
            }
        };
        let usable = statistic
            && plan.mean.is_finite()
            && plan.deviation > 0.0
            && plan.deviation.is_finite()
            && libm::fabs(plan.ar) < 1.0;
        let rules = RuleState::default();
        Self { usable, high: 0.0, low: 0.0, last: 0.0, carry: 0.0, residual: 0.0, rules }
    }

    pub(super) fn reset(&mut self) {
        self.high = 0.0;
        self.low = 0.0;
        self.last = 0.0;
        self.carry = 0.0;
        self.residual = 0.0;
        self.rules = RuleState::default();
    }

    pub(super) fn score(&mut self, plan: &ChartPlan, features: &[FeatureValue]) -> Score {
        if !self.usable {
            return Score::UNKNOWN;
        }
        let Some(value) = known(features, plan.input) else {
            // One more part between the newest known value and the next.
            self.carry *= plan.ar;
            return Score::UNKNOWN;
        };
        self.observe(plan, value)
    }

    /// One known value.
    fn observe(&mut self, plan: &ChartPlan, value: f64) -> Score {
        let distance = value - plan.mean;
        let deviation = plan.deviation * libm::sqrt(1.0 - self.carry * self.carry);
        let residual = (distance - self.carry * self.last) / deviation;
        if !residual.is_finite() {
            self.carry *= plan.ar;
            return Score::UNKNOWN;
        }
        self.last = distance;
        self.carry = plan.ar;
        self.residual = residual;
        let share = match plan.kind {
            Chart::Ewma { lambda, width } => {
                self.high += lambda * (residual - self.high);
                libm::fabs(self.high) / (width * libm::sqrt(lambda / (2.0 - lambda)))
            }
            Chart::Shewhart { rules } => self.rules.take(rules, residual),
            Chart::Cusum { allowance, decision } => {
                let cap = CUSUM_CAP * decision;
                self.high = (self.high + residual - allowance).clamp(0.0, cap);
                self.low = (self.low - residual - allowance).clamp(0.0, cap);
                self.high.max(self.low) / decision
            }
        };
        Score::of_value(share, share > 1.0)
    }

    pub(super) fn contributions(
        &self,
        plan: &ChartPlan,
        score: &Score,
        mut offer: impl FnMut(Contribution),
    ) {
        let low_side = match plan.kind {
            Chart::Ewma { .. } => self.high < 0.0,
            Chart::Shewhart { .. } => self.residual < 0.0,
            Chart::Cusum { .. } => self.low > self.high,
        };
        let share = if low_side { -score.value } else { score.value };
        offer(Contribution { feature: plan.input, share, z: self.residual });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{Noise, value};
    use crate::plan::FeatureId;

    const EWMA: Chart = Chart::Ewma { lambda: 0.1, width: 2.814 };
    const CUSUM: Chart = Chart::Cusum { allowance: 0.5, decision: 5.0 };

    fn plan(kind: Chart, ar: f64) -> ChartPlan {
        ChartPlan { input: FeatureId(0), mean: 10.0, deviation: 2.0, ar, kind }
    }

    /// Mean parts to the first signal of AR(1) data (`rho`) shifted by `shift` sd.
    fn run_length(plan: &ChartPlan, rho: f64, shift: f64, runs: u32) -> f64 {
        let mut noise = Noise::new(7);
        let mut parts = 0_u64;
        for _ in 0..runs {
            let mut state = ChartState::new(plan);
            let mut x = noise.normal();
            loop {
                parts += 1;
                let score = state.score(plan, &[value(10.0 + 2.0 * (x + shift))]);
                assert!(score.known);
                if score.alarm {
                    break;
                }
                x = rho * x + libm::sqrt(1.0 - rho * rho) * noise.normal();
            }
        }
        parts as f64 / f64::from(runs)
    }

    /// The run lengths of `methods.md` section 2 (independent data), and that the AR term keeps
    /// them for autocorrelated data, where raw charts lose them.
    #[test]
    fn run_lengths() {
        // kind, ar of the chart, rho of the data, shift [sd], runs, expected, tolerance
        let rows = [
            (EWMA, 0.0, 0.0, 0.0, 4000, 500.0, 0.10),
            (EWMA, 0.0, 0.0, 1.0, 4000, 10.3, 0.05),
            (CUSUM, 0.0, 0.0, 0.0, 4000, 465.0, 0.10),
            (CUSUM, 0.0, 0.0, 1.0, 4000, 10.4, 0.05),
            (EWMA, 0.0, 0.5, 0.0, 4000, 61.0, 0.10),
            (CUSUM, 0.0, 0.5, 0.0, 4000, 50.0, 0.10),
            (EWMA, 0.5, 0.5, 0.0, 4000, 500.0, 0.10),
            (CUSUM, 0.5, 0.5, 0.0, 4000, 465.0, 0.10),
        ];
        for (kind, ar, rho, shift, runs, expect, tolerance) in rows {
            let found = run_length(&plan(kind, ar), rho, shift, runs);
            assert!(
                libm::fabs(found / expect - 1.0) < tolerance,
                "{kind:?} ar {ar} rho {rho} shift {shift}: {found} instead of {expect}"
            );
        }
    }

    /// A gap widens the step: residuals stay standard normal when parts are unknown in between.
    #[test]
    fn residuals_stay_standard_over_gaps() {
        let plan = plan(EWMA, 0.8);
        let mut noise = Noise::new(3);
        let mut state = ChartState::new(&plan);
        let (mut x, mut sum, mut squares, mut n) = (noise.normal(), 0.0, 0.0, 0.0);
        for part in 0..60_000 {
            if part % 3 == 0 || part % 7 == 0 {
                state.score(&plan, &[value(10.0 + 2.0 * x)]);
                sum += state.residual;
                squares += state.residual * state.residual;
                n += 1.0;
            } else {
                let gap = FeatureValue { value: None, coverage: 0.0 };
                assert!(!state.score(&plan, &[gap]).known);
            }
            x = 0.8 * x + 0.6 * noise.normal();
        }
        assert!(libm::fabs(sum / n) < 0.02, "mean {}", sum / n);
        assert!(libm::fabs(squares / n - 1.0) < 0.02, "variance {}", squares / n);
    }

    /// The first value stands for itself, both sides work, and a long excursion clears.
    #[test]
    fn cusum_by_hand() {
        let plan = plan(CUSUM, 0.0);
        let mut state = ChartState::new(&plan);
        // 13 is 1.5 sd up: C grows by 1 a part, the limit of 5 is passed by the sixth.
        for part in 1_u32..=6 {
            let score = state.score(&plan, &[value(13.0)]);
            assert!(libm::fabs(score.value - f64::from(part) / 5.0) < 1e-12);
            assert_eq!(score.alarm, part > 5);
        }
        for _ in 0..1000 {
            state.score(&plan, &[value(13.0)]);
        }
        let mut parts = 0;
        while state.score(&plan, &[value(10.0)]).alarm {
            parts += 1;
        }
        assert!(parts <= 10, "{parts}");
        for _ in 0..30 {
            state.score(&plan, &[value(7.0)]);
        }
        let score = state.score(&plan, &[value(7.0)]);
        assert!(score.alarm);
        state.contributions(&plan, &score, |c| {
            assert!(c.share < -1.0);
            assert!(libm::fabs(c.z + 1.5) < 1e-12);
        });
    }
}
