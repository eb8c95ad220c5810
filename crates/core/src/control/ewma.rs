//! C1: run-to-run EWMA.
//!
//! The plant near its baseline is `y = a + b (u - u_b) + f(z)`: `u` the setpoint *read back for
//! the part*, `f` the soft sensor fed forward (0 without one), `a` what neither explains. Labels
//! move `a`; the wish solves for `u` at the target. Pairing each label with the setpoint of its
//! own part makes the loop stable for any label delay while `0 < true gain / b < 2`
//! (`methods.md` section 3, max-norm contraction).
//!
//! Two estimators run side by side, one with `f` and one without, so that stepping down to label
//! feedback when a sensor fails needs no new learning.

use alloc::vec;
use alloc::vec::Vec;

use crate::mode::Rung;
use crate::plan::{PARTS_MAX, RunToRunPlan};

/// Innovations are clipped to so many half tolerances: one wild label must not swing the loop.
const INNOVATION_MAX: f64 = 4.0;

/// State of one run-to-run controller.
#[derive(Clone, Debug)]
pub struct RunToRun {
    /// Bias beside the soft sensor [qu].
    with_sensor: f64,
    /// Bias of labels alone [qu].
    labels_only: f64,
    /// Labels taken in.
    labels: u32,
    /// Labels taken in that had a prediction.
    paired: u32,
    /// Filtered prediction for the next part [qu].
    filtered: Option<f64>,
    /// `[PARTS_MAX]` predictions by part number.
    predictions: Vec<(u64, f64)>,
    /// Share of lambda in use; an oscillating loop is detuned.
    tuning: f64,
}

impl RunToRun {
    /// A controller that knows nothing but its plan: it assumes that the baseline meets the target.
    pub fn new(plan: &RunToRunPlan) -> Self {
        let slots = if plan.feed_forward.is_some() { PARTS_MAX } else { 0 };
        Self {
            with_sensor: 0.0,
            labels_only: plan.target,
            labels: 0,
            paired: 0,
            filtered: None,
            predictions: vec![(0, 0.0); slots],
            tuning: 1.0,
        }
    }

    /// Takes the soft sensor's prediction [qu] of part `number` (from 1) in; `None` = unknown.
    pub fn predict(&mut self, plan: &RunToRunPlan, number: u64, prediction: Option<f64>) {
        let Some(f) = prediction.filter(|f| f.is_finite()) else { return };
        let weight = plan.feed_forward_filter;
        self.filtered = Some(match self.filtered {
            None => f,
            Some(before) => before + weight * (f - before),
        });
        if let Some(slot) = self.slot(number) {
            *slot = (number, f);
        }
    }

    /// The prediction [qu] kept for part `number`; `None` when there was none.
    pub fn prediction(&mut self, number: u64) -> Option<f64> {
        self.slot(number).filter(|s| s.0 == number).map(|s| s.1)
    }

    fn slot(&mut self, number: u64) -> Option<&mut (u64, f64)> {
        let len = self.predictions.len() as u64;
        let index = usize::try_from(number.checked_rem(len)?).ok()?;
        self.predictions.get_mut(index)
    }

    /// Takes a label in.
    ///
    /// - `value`: measured quality [qu], finite.
    /// - `trim`: `u - u_b` [setpoint unit] read back for that part.
    /// - `number`: the part's number.
    pub fn observe(&mut self, plan: &RunToRunPlan, value: f64, trim: f64, number: u64) {
        let rest = value - plan.gain * trim;
        if !rest.is_finite() {
            return;
        }
        let clip = INNOVATION_MAX * plan.tolerance;
        self.labels = self.labels.saturating_add(1);
        let weight = weight(plan.lambda * self.tuning, self.labels);
        self.labels_only += weight * (rest - self.labels_only).clamp(-clip, clip);
        if let Some(f) = self.prediction(number) {
            self.paired = self.paired.saturating_add(1);
            let weight = self::weight(plan.lambda * self.tuning, self.paired);
            self.with_sensor += weight * (rest - f - self.with_sensor).clamp(-clip, clip);
        }
    }

    /// The trim that meets the target [setpoint unit], or `None` before enough labels.
    pub fn propose(&self, plan: &RunToRunPlan, rung: Rung) -> Option<f64> {
        let trim = match rung {
            Rung::Full if plan.feed_forward.is_some() => {
                if self.paired < plan.labels_min {
                    return None;
                }
                (plan.target - self.filtered? - self.with_sensor) / plan.gain
            }
            Rung::Full | Rung::FeedbackOnly => {
                if self.labels < plan.labels_min {
                    return None;
                }
                (plan.target - self.labels_only) / plan.gain
            }
            Rung::Return | Rung::Released => return None,
        };
        Some(trim)
    }

    /// What [`Self::propose`] rests on at this rung: bias [qu], prediction fed forward [qu], labels.
    pub fn terms(&self, plan: &RunToRunPlan, rung: Rung) -> (f64, Option<f64>, u32) {
        if rung == Rung::Full && plan.feed_forward.is_some() {
            (self.with_sensor, self.filtered, self.paired)
        } else {
            (self.labels_only, None, self.labels)
        }
    }

    /// Halves the weight of new labels.
    pub fn detune(&mut self) {
        self.tuning *= 0.5;
    }

    /// Back to the recipe's tuning; a person has looked.
    pub fn retune(&mut self) {
        self.tuning = 1.0;
    }
}

/// `max(lambda, 1/n)`: the first labels are averaged, so that the start-up value has no weight.
fn weight(lambda: f64, n: u32) -> f64 {
    (1.0 / f64::from(n.max(1))).max(lambda)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CharacteristicId, ModelId};

    fn plan(lambda: f64, sensor: bool) -> RunToRunPlan {
        RunToRunPlan {
            characteristic: CharacteristicId(0),
            target: 10.0,
            tolerance: 1.0,
            gain: 0.5,
            lambda,
            labels_min: 3,
            feed_forward: sensor.then_some(ModelId(0)),
            feed_forward_filter: 1.0,
        }
    }

    /// Plays a plant with true gain `xi * b`, offset 1.2 and labels `delay` parts late; returns
    /// the last error.
    fn settle(xi: f64, delay: usize, parts: usize) -> f64 {
        let plan = plan(0.3, false);
        let mut c1 = RunToRun::new(&plan);
        let mut trims = std::vec::Vec::new();
        let mut trim = 0.0;
        let quality = |trim: f64| 11.2 + plan.gain * xi * trim;
        for part in 0..parts {
            trims.push(trim);
            if part >= delay {
                let u = trims[part - delay];
                c1.observe(&plan, quality(u), u, part as u64);
            }
            if let Some(wish) = c1.propose(&plan, Rung::FeedbackOnly) {
                trim = wish;
            }
        }
        (quality(trim) - plan.target).abs()
    }

    /// Stable for every delay while 0 < xi < 2, and exact in the end.
    #[test]
    fn settles_for_any_delay() {
        for delay in [0, 1, 5, 20] {
            for xi in [0.2, 0.5, 1.0, 1.5, 1.9] {
                let error = settle(xi, delay, 4000);
                assert!(error < 1e-3, "xi {xi} delay {delay}: {error}");
            }
        }
    }

    /// A wrong sign does not settle: that is what effect verification is for.
    #[test]
    fn wrong_sign_diverges() {
        assert!(settle(-0.5, 0, 400) > 1.0);
    }

    /// Nothing is proposed before enough labels, nor on the lower rungs.
    #[test]
    fn waits_for_labels() {
        let plan = plan(0.3, false);
        let mut c1 = RunToRun::new(&plan);
        for n in 1..=3 {
            assert_eq!(c1.propose(&plan, Rung::Full), None);
            c1.observe(&plan, 10.5, 0.0, n);
        }
        assert_eq!(c1.propose(&plan, Rung::FeedbackOnly), Some(-1.0));
        assert_eq!(c1.propose(&plan, Rung::Return), None);
        c1.observe(&plan, f64::NAN, 0.0, 4);
        assert_eq!(c1.propose(&plan, Rung::FeedbackOnly), Some(-1.0));
    }

    /// What the sensor explains is corrected before the label of that part exists.
    #[test]
    fn feeds_forward() {
        let plan = plan(0.3, true);
        let mut c1 = RunToRun::new(&plan);
        for n in 1..=10 {
            c1.predict(&plan, n, Some(10.0));
            c1.observe(&plan, 10.0, 0.0, n);
        }
        assert_eq!(c1.propose(&plan, Rung::Full), Some(0.0));
        c1.predict(&plan, 11, Some(11.0));
        assert_eq!(c1.propose(&plan, Rung::Full), Some(-2.0));
        assert_eq!(c1.propose(&plan, Rung::FeedbackOnly), Some(0.0));
        c1.predict(&plan, 12, None);
        assert_eq!(
            c1.propose(&plan, Rung::Full),
            Some(-2.0),
            "an unknown prediction changes nothing"
        );
    }
}
