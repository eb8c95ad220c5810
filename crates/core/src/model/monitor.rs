//! The dynamic monitor: what one row says beyond what the row before it told.
//!
//! `z` standardised, `A` the transition, `P` the inverse covariance of the one-step errors:
//!
//! ```text
//! e = z - A z_before        w = P e
//! SPE = EWMA_s of e w               (weight s, mean p in normal operation)
//! T2  = (2 - t)/t * m' P m          (m = EWMA_t of e: a MEWMA, mean p in normal operation)
//! ```
//!
//! One-step errors of normal operation are nearly independent from row to row, however slowly the
//! process itself wanders; that is why limits found on one run hold on the next. SPE sees errors
//! that grow (sticking valves, jumps), T2 small shifts that stay. Both are sums over variables,
//! so their shares are exact.
//!
//! - **Invariant:** a row that is unknown changes nothing but the expectation for the next one:
//!   it is predicted on, and the error after the gap is divided by how much larger such errors
//!   are (`gap`).
//! - One absurd row counts at most [`CAP`] times the limit, so that the monitor is itself again
//!   soon after it.

use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::plan::{MonitorPlan, PcaLimits};

use super::{Contribution, Score, dot, known};

/// Farthest that a value counts, in standard deviations: absurd, and its squares are finite.
const FAR: f64 = 1e9;
/// Most that one row's squared error counts, in alarm limits of SPE: it alarms at once at any
/// smoothing weight of 0.1 or more, and SPE is below the limit again within ten rows at 0.3.
const CAP: f64 = 10.0;

/// State and work arrays of one dynamic monitor.
#[derive(Clone, Debug)]
pub(super) struct MonitorState {
    usable: bool,
    alarm: PcaLimits,
    /// `[p]` standardised values of the newest known row.
    z: Vec<f64>,
    /// `[p]` what the next row should be.
    expected: Vec<f64>,
    /// `[p]` work: the next expectation while it is formed.
    next: Vec<f64>,
    /// `[p]` one-step error of the newest known row.
    error: Vec<f64>,
    /// `[p]` `P` times that error.
    weighted: Vec<f64>,
    /// `[p]` EWMA of `error * weighted`: the shares of SPE.
    spe: Vec<f64>,
    /// `[p]` EWMA of `error`.
    shift: Vec<f64>,
    /// `[p]` EWMA of `weighted`, which is `P` times `shift`.
    weighted_shift: Vec<f64>,
    /// Rows missing before the next one, up to the length of `gap`; that length at the start.
    missing: usize,
}

impl MonitorState {
    pub(super) fn new(plan: &MonitorPlan) -> Self {
        let p = plan.inputs.len();
        let zeros = || alloc::vec![0.0; p];
        let mut state = Self {
            usable: usable(plan),
            alarm: plan.alarm,
            z: zeros(),
            expected: zeros(),
            next: zeros(),
            error: zeros(),
            weighted: zeros(),
            spe: zeros(),
            shift: zeros(),
            weighted_shift: zeros(),
            missing: 0,
        };
        state.reset(plan);
        state
    }

    /// As if no row had been seen.
    pub(super) fn reset(&mut self, plan: &MonitorPlan) {
        for zeroed in [&mut self.expected, &mut self.shift, &mut self.weighted_shift] {
            zeroed.fill(0.0);
        }
        // What normal operation has on average, so that the start is neither quiet nor loud.
        self.spe.fill(1.0);
        self.missing = plan.gap.len();
    }

    pub(super) fn alarm(&self) -> PcaLimits {
        self.alarm
    }

    pub(super) fn score(&mut self, plan: &MonitorPlan, features: &[FeatureValue]) -> Score {
        if !self.usable {
            return Score::UNKNOWN;
        }
        if self.standardise(plan, features).is_none() || self.weigh(plan).is_none() {
            self.miss(plan);
            return Score::UNKNOWN;
        }
        self.missing = 0;
        predict(&plan.transition, &self.z, &mut self.expected);
        self.filter(plan)
    }

    /// Fills `z`; `None` when an input is unknown.
    fn standardise(&mut self, plan: &MonitorPlan, features: &[FeatureValue]) -> Option<()> {
        let shape = plan.inputs.iter().zip(&plan.mean).zip(&plan.scale);
        for (z, ((input, mean), scale)) in self.z.iter_mut().zip(shape) {
            *z = ((known(features, *input)? - mean) / scale).clamp(-FAR, FAR);
        }
        Some(())
    }

    /// Fills `error` and `weighted`; `None` when they overflow.
    fn weigh(&mut self, plan: &MonitorPlan) -> Option<()> {
        let wider = self.missing.checked_sub(1).and_then(|i| plan.gap.get(i)).copied();
        let share = 1.0 / wider.unwrap_or(1.0);
        let both = self.z.iter().zip(&self.expected);
        for (error, (z, expected)) in self.error.iter_mut().zip(both) {
            *error = (z - expected) * share;
        }
        predict(&plan.precision, &self.error, &mut self.weighted);
        let square = dot(&self.error, &self.weighted);
        let most = CAP * plan.alarm.spe;
        if !square.is_finite() {
            return None;
        }
        if square > most {
            let share = libm::sqrt(most / square);
            for x in self.error.iter_mut().chain(&mut self.weighted) {
                *x *= share;
            }
        }
        Some(())
    }

    /// The row is missing: what is expected next follows from what was expected now.
    fn miss(&mut self, plan: &MonitorPlan) {
        self.missing = self.missing.saturating_add(1).min(plan.gap.len());
        if self.missing == plan.gap.len() {
            // After so many rows nothing is known any more but the mean.
            self.expected.fill(0.0);
        } else {
            predict(&plan.transition, &self.expected, &mut self.next);
            core::mem::swap(&mut self.expected, &mut self.next);
        }
    }

    /// Takes the weighed error in.
    fn filter(&mut self, plan: &MonitorPlan) -> Score {
        let (mut spe, mut t2) = (0.0, 0.0);
        let errors = self.error.iter().zip(&self.weighted);
        let shifts = self.shift.iter_mut().zip(&mut self.weighted_shift);
        for ((error, weighted), (share, (shift, weighted_shift))) in
            errors.zip(self.spe.iter_mut().zip(shifts))
        {
            *share += plan.weight_spe * (error * weighted - *share);
            *shift += plan.weight_t2 * (error - *shift);
            *weighted_shift += plan.weight_t2 * (weighted - *weighted_shift);
            spe += *share;
            t2 += *shift * *weighted_shift;
        }
        t2 *= inflation(plan);
        let value = (t2 / plan.alarm.t2).max(spe / plan.alarm.spe);
        // Checked one by one: `max` would drop a NaN.
        if !(t2.is_finite() && spe.is_finite() && value.is_finite()) {
            return Score::UNKNOWN;
        }
        let alarm = value > 1.0;
        Score { known: true, in_domain: !alarm, alarm, t2, spe, value, low: 0.0, high: 0.0 }
    }

    /// Contributions to whichever of T2 and SPE is larger relative to its alarm limit.
    pub(super) fn contributions(
        &self,
        plan: &MonitorPlan,
        score: &Score,
        mut offer: impl FnMut(Contribution),
    ) {
        let shifted = score.t2 / self.alarm.t2 >= score.spe / self.alarm.spe;
        let inflation = inflation(plan);
        let shifts = self.shift.iter().zip(&self.weighted_shift);
        let variables = plan.inputs.iter().zip(&self.z).zip(self.spe.iter().zip(shifts));
        for ((feature, z), (spe, (shift, weighted))) in variables {
            let share = if shifted { inflation * shift * weighted } else { *spe };
            offer(Contribution { feature: *feature, share, z: *z });
        }
    }
}

/// What brings the filtered errors back to the spread of single ones.
fn inflation(plan: &MonitorPlan) -> f64 {
    (2.0 - plan.weight_t2) / plan.weight_t2
}

/// `out = matrix x`, `[p][p]` row-major.
fn predict(matrix: &[f64], x: &[f64], out: &mut [f64]) {
    // Chunks of 0 would panic; without inputs there is nothing to do.
    for (out, row) in out.iter_mut().zip(matrix.chunks_exact(x.len().max(1))) {
        *out = dot(row, x);
    }
}

fn usable(plan: &MonitorPlan) -> bool {
    let p = plan.inputs.len();
    let positive = |x: &f64| *x > 0.0 && x.is_finite();
    let weight = |x: f64| x > 0.0 && x <= 1.0;
    p > 0
        && plan.mean.len() == p
        && plan.scale.len() == p
        && p.checked_mul(p) == Some(plan.transition.len())
        && p.checked_mul(p) == Some(plan.precision.len())
        && !plan.gap.is_empty()
        && plan.gap.iter().all(|x| *x >= 1.0 && x.is_finite())
        && plan.scale.iter().all(positive)
        && plan.mean.iter().chain(&plan.transition).chain(&plan.precision).all(|x| x.is_finite())
        && weight(plan.weight_t2)
        && weight(plan.weight_spe)
        && positive(&plan.alarm.t2)
        && positive(&plan.alarm.spe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{Noise, unknown, value};
    use crate::plan::FeatureId;
    use alloc::vec;
    use proptest::prelude::*;

    /// Two variables that keep half of their distance from row to row.
    fn half() -> MonitorPlan {
        MonitorPlan {
            inputs: vec![FeatureId(0), FeatureId(1)],
            mean: vec![10.0, 0.0],
            scale: vec![2.0, 1.0],
            transition: vec![0.5, 0.0, 0.0, 0.5],
            precision: vec![1.0, 0.5, 0.5, 2.0],
            gap: vec![1.25, 2.0, 4.0],
            weight_t2: 0.5,
            weight_spe: 1.0,
            alarm: PcaLimits { t2: 30.0, spe: 6.0 },
        }
    }

    fn near(found: f64, expect: f64) {
        assert!(libm::fabs(found - expect) < 1e-12, "{found} instead of {expect}");
    }

    fn sum_of_shares(state: &MonitorState, plan: &MonitorPlan, score: &Score) -> f64 {
        let mut sum = 0.0;
        state.contributions(plan, score, |c| sum += c.share);
        sum
    }

    /// The first row against the mean at the width of the last gap, the second against what the
    /// first lets expect.
    #[test]
    fn by_hand() {
        let plan = half();
        let mut state = MonitorState::new(&plan);
        // z = (4, 0), expected 0, gap factor 4: e = (1, 0), w = (1, 0.5), e w = 1.
        let score = state.score(&plan, &[value(18.0), value(0.0)]);
        near(score.spe, 1.0);
        // m = (0.5, 0), P m = (0.5, 0.25): 3 * 0.25.
        near(score.t2, 0.75);
        near(score.value, 1.0 / 6.0);
        assert!(score.known && score.in_domain && !score.alarm);
        // z = (1, 2), expected (2, 0): e = (-1, 2), w = (0, 3.5), e w = (0, 7).
        let score = state.score(&plan, &[value(12.0), value(2.0)]);
        near(score.spe, 7.0);
        // m = (-0.25, 1), P m = (0.25, 1.875): 3 * (-0.0625 + 1.875).
        near(score.t2, 5.4375);
        assert!(score.alarm && !score.in_domain);
        near(sum_of_shares(&state, &plan, &score), 7.0);
        let mut z = Vec::new();
        state.contributions(&plan, &score, |c| z.push(c.z));
        assert_eq!(z, [1.0, 2.0]);
    }

    /// A missing row is predicted on, the error after it narrowed by its own factor; after as
    /// many as `gap` is long only the mean is left. Nothing is known while it lasts.
    #[test]
    fn gaps() {
        let plan = half();
        for (missing, expected, factor) in
            [(0, 1.0, 1.0), (1, 0.5, 1.25), (2, 0.25, 2.0), (3, 0.0, 4.0), (9, 0.0, 4.0)]
        {
            let mut state = MonitorState::new(&plan);
            state.score(&plan, &[value(10.0), value(2.0)]);
            for _ in 0..missing {
                let score = state.score(&plan, &[value(10.0), unknown()]);
                assert!(!score.known && !score.alarm);
            }
            let score = state.score(&plan, &[value(10.0), value(2.0)]);
            let error = (2.0 - expected) / factor;
            near(score.spe, 2.0 * error * error);
        }
    }

    /// An absurd row alarms and is forgotten: twenty rows later the monitor is quiet.
    #[test]
    fn absurd_rows_are_forgotten() {
        let plan = MonitorPlan { weight_spe: 0.3, weight_t2: 0.1, ..half() };
        let mut state = MonitorState::new(&plan);
        for x in [1e6, 1e100] {
            state.score(&plan, &[value(10.0), value(0.0)]);
            let score = state.score(&plan, &[value(x), value(0.0)]);
            assert!(score.alarm && score.spe < CAP * plan.alarm.spe, "{score:?}");
            let mut rows = 0;
            while state.score(&plan, &[value(10.0), value(0.0)]).alarm {
                rows += 1;
            }
            assert!(rows < 20, "{rows}");
        }
        // However far off, it is known to be.
        let score = state.score(&plan, &[value(1e300), value(-1e300)]);
        assert!(score.known && score.alarm, "{score:?}");
        assert!(state.score(&plan, &[value(10.0), value(0.0)]).known);
    }

    /// Arrays that do not fit together, or hold what they must not, never give a known score.
    #[test]
    fn bad_arrays_stay_unknown() {
        let spoil: [fn(&mut MonitorPlan); 10] = [
            |p| p.transition.truncate(1),
            |p| p.precision.push(0.0),
            |p| p.mean.push(0.0),
            |p| p.scale[0] = 0.0,
            |p| p.gap.clear(),
            |p| p.gap[0] = 0.5,
            |p| p.alarm.spe = 0.0,
            |p| p.weight_t2 = 1.5,
            |p| p.weight_spe = f64::NAN,
            |p| p.inputs[1] = FeatureId(9),
        ];
        for spoil in spoil {
            let mut plan = half();
            spoil(&mut plan);
            let mut state = MonitorState::new(&plan);
            assert!(!state.score(&plan, &[value(0.0), value(0.0)]).known);
        }
    }

    /// After a reset the same rows give the same bits as at the start.
    #[test]
    fn reset_is_a_new_start() {
        let plan = half();
        let mut state = MonitorState::new(&plan);
        let run = |state: &mut MonitorState| {
            [3.0, 14.0, 9.0].map(|x| state.score(&plan, &[value(x), value(-x)]))
        };
        let first = run(&mut state);
        assert_ne!(run(&mut state), first);
        state.reset(&plan);
        assert_eq!(run(&mut state), first);
    }

    proptest! {
        /// For any positive definite precision, any rows and gaps: known scores are finite, not
        /// negative, and the shares sum to the statistic that leads.
        #[test]
        fn shares_sum_to_the_score(p in 1_usize..12, seed in any::<u64>()) {
            let mut noise = Noise::new(seed);
            let mut square = |s: f64| -> Vec<f64> {
                (0..p * p).map(|_| s * noise.normal()).collect()
            };
            let transition = square(0.3);
            let root = square(1.0);
            let mut precision = vec![0.0; p * p];
            for (i, row) in precision.chunks_exact_mut(p).enumerate() {
                for (j, x) in row.iter_mut().enumerate() {
                    *x = (0..p).map(|k| root[i * p + k] * root[j * p + k]).sum();
                }
                row[i] += 0.1;
            }
            let plan = MonitorPlan {
                inputs: (0..).map(FeatureId).take(p).collect(),
                mean: vec![0.0; p],
                scale: vec![1.0; p],
                transition,
                precision,
                gap: vec![1.5, 3.0],
                weight_t2: 0.1,
                weight_spe: 0.3,
                alarm: PcaLimits { t2: 2.0 * p as f64, spe: 2.0 * p as f64 },
            };
            let mut state = MonitorState::new(&plan);
            for row in 0..30 {
                let gap = noise.uniform() < 0.2;
                let spread = if row == 20 { 1e9 } else { 1.0 };
                let features: Vec<_> = (0..p)
                    .map(|_| if gap { unknown() } else { value(spread * noise.normal()) })
                    .collect();
                let score = state.score(&plan, &features);
                prop_assert_eq!(score.known, !gap);
                if score.known {
                    prop_assert!(score.spe >= 0.0 && score.t2 >= -1e-9 * p as f64);
                    let sum = sum_of_shares(&state, &plan, &score);
                    let leads = if score.t2 / plan.alarm.t2 >= score.spe / plan.alarm.spe {
                        score.t2
                    } else {
                        score.spe
                    };
                    prop_assert!(libm::fabs(sum - leads) <= 1e-9 * (1.0 + leads), "{sum} {leads}");
                    prop_assert_eq!(score.alarm, score.value > 1.0);
                }
            }
        }
    }
}
