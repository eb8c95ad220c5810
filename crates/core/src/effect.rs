//! Effect verification: did the moves help, does the loop oscillate, is it at its limits?
//!
//! Works on label errors in half tolerances, `(y - T) / tol`, so that every limit is a count or a
//! ratio. A first finding of distance or swing halves the authority (or the tuning); a second one,
//! with no window that passed in between, trips the loop. A contradiction trips at once.
//!
//! Three things are looked for. *Distance*: the labels stay far from target. *Swing*: they go
//! from side to side. *Contradiction*: label to label, the moves explain the change of quality
//! worse than a plant with the opposite sign, or with four times the gain, would. A wrong sign
//! shows there long before the error is large. Perfect control cannot be mistaken for it: there
//! the right and the opposite sign explain equally little.

use crate::plan::EffectPlan;

/// Longest window of label errors.
pub const WINDOW_MAX: usize = 64;
/// Labels on either side of the target count for oscillation only beyond this error [half
/// tolerances]; noise of a capable process stays inside.
const SWING: f64 = 1.0;
/// A move counts for the contradiction test from this size on [half tolerances].
const MOVE_MIN: f64 = 0.1;
/// Gains of the plants that the right one is held against, as multiples of it.
const RIVALS: [f64; 2] = [-1.0, 4.0];
/// A rival is believed when the right gain leaves this many times its squares.
const CONTRADICTION: f64 = 2.5;
/// Moves needed before a rival is believed.
const MOVES_MIN: u32 = 6;
/// A label, or a change from label to label, beyond this is odd [half tolerances]: a short shot or
/// a slip of the scale says nothing about the moves. Errors that count are clipped there.
const OUTLIER: f64 = 4.0;
/// Odd labels running that are left out.
const ODD_MAX: u32 = 16;
/// Weight of older moves.
const MEMORY: f64 = 0.9;
/// Least mean square left by the right gain over [`MOVES_MIN`] moves [half tolerances squared]:
/// below it nothing is wrong that matters.
const LEFT_MIN: f64 = 0.05;
/// Shares of the trim limit that are reported when crossed upwards [%].
const AUTHORITY_STEPS: [u8; 3] = [60, 80, 95];

/// What the monitor found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Labels stayed far from target although the loop moved: halve the authority.
    Missing,
    /// Again: trip.
    MissingAgain,
    /// The moves do the opposite of, or far more than, what they should: trip.
    Contradicted,
    /// The error swings from side to side: detune.
    Oscillates,
    /// Again: trip.
    OscillatesAgain,
    /// A window passed: whatever was reduced may grow back.
    Passed,
}

/// One label, as effect verification sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Labelled {
    /// `(y - T) / tol`.
    pub error: f64,
    /// What the trim should have added to it, `b (u - u_b) / tol`.
    pub push: f64,
    /// What the soft sensor says the inputs added, `f(z) / tol`; 0 without one.
    pub fed: f64,
}

/// Effect monitor of one loop.
#[derive(Clone, Debug)]
pub struct Effect {
    errors: [f64; WINDOW_MAX],
    /// Labels since the last finding, up to the window.
    fresh: usize,
    next: usize,
    judged: usize,
    missing: bool,
    oscillating: bool,
    /// Odd labels running.
    odd: u32,
    before: Option<Labelled>,
    moves: u32,
    left: f64,
    left_by_rival: [f64; RIVALS.len()],
    saturated: u32,
    reported: u8,
}

impl Default for Effect {
    fn default() -> Self {
        Self::new()
    }
}

impl Effect {
    /// A monitor that has seen nothing.
    pub const fn new() -> Self {
        Self {
            errors: [0.0; WINDOW_MAX],
            fresh: 0,
            next: 0,
            judged: 0,
            missing: false,
            oscillating: false,
            odd: 0,
            before: None,
            moves: 0,
            left: 0.0,
            left_by_rival: [0.0; RIVALS.len()],
            saturated: 0,
            reported: 0,
        }
    }

    /// Takes the label of a part that was made while we were in charge, in order of parts.
    ///
    /// - `trimmed`: the part was made under a trim of ours; only then do distance and swing count.
    pub fn observe(
        &mut self,
        plan: &EffectPlan,
        label: Labelled,
        trimmed: bool,
    ) -> Option<Finding> {
        let error = label.error;
        if !(error.is_finite() && label.push.is_finite() && label.fed.is_finite()) {
            return None;
        }
        if self.contradicted(label) {
            self.restart();
            return Some(Finding::Contradicted);
        }
        if !trimmed || self.odd(error) {
            return None;
        }
        if let Some(slot) = self.errors.get_mut(self.next) {
            *slot = error.clamp(-OUTLIER, OUTLIER);
        }
        self.next = (self.next + 1) % WINDOW_MAX;
        self.fresh = (self.fresh + 1).min(WINDOW_MAX);
        self.judged += 1;
        if self.crossings(plan) >= u32::from(plan.oscillation_crossings.max(2)) {
            let again = self.oscillating;
            self.oscillating = true;
            self.restart();
            return Some(if again { Finding::OscillatesAgain } else { Finding::Oscillates });
        }
        let labels = usize::from(plan.labels).clamp(2, 32);
        if self.judged < labels {
            return None;
        }
        if self.median(0, labels) > plan.worse_than && !self.improves(labels) {
            return Some(self.missed());
        }
        let window = usize::from(plan.oscillation_window).clamp(labels, WINDOW_MAX);
        if self.judged >= window && (self.missing || self.oscillating) {
            self.missing = false;
            self.oscillating = false;
            return Some(Finding::Passed);
        }
        None
    }

    /// Whether the newer half of the window is clearly closer to target than the older: a large
    /// disturbance that is being worked off is no missing effect.
    fn improves(&self, labels: usize) -> bool {
        let half = labels / 2;
        self.median(0, half) < 0.75 * self.median(half, half)
    }

    /// Median distance from target of `n` labels, `skip` back from the newest [half tolerances].
    /// The median, because a short shot now and then says nothing about the moves.
    fn median(&self, skip: usize, n: usize) -> f64 {
        let mut sorted = [0.0; WINDOW_MAX];
        let mut count = 0;
        for (slot, error) in sorted.iter_mut().zip(self.newest(skip + n).skip(skip)) {
            *slot = libm::fabs(error);
            count += 1;
        }
        let Some(known) = sorted.get_mut(..count) else { return 0.0 };
        known.sort_unstable_by(f64::total_cmp);
        let (low, high) = (known.get((count.max(1) - 1) / 2), known.get(count / 2));
        f64::midpoint(low.copied().unwrap_or(0.0), high.copied().unwrap_or(0.0))
    }

    /// Whether a label is left out as odd. A process that makes short shots for a while is not
    /// lost; one that stands that far off for [`ODD_MAX`] labels running is.
    fn odd(&mut self, error: f64) -> bool {
        self.odd = if libm::fabs(error) > OUTLIER { self.odd.saturating_add(1) } else { 0 };
        self.odd > 0 && self.odd <= ODD_MAX
    }

    fn missed(&mut self) -> Finding {
        let again = self.missing;
        self.missing = true;
        self.restart();
        if again { Finding::MissingAgain } else { Finding::Missing }
    }

    /// Holds the change since the last label against what the move explains, and against what a
    /// rival gain would.
    fn contradicted(&mut self, label: Labelled) -> bool {
        let Some(before) = self.before.replace(label) else { return false };
        let push = label.push - before.push;
        if libm::fabs(push) < MOVE_MIN {
            return false;
        }
        let change = (label.error - before.error) - (label.fed - before.fed);
        if libm::fabs(change) > OUTLIER {
            self.before = None;
            return false;
        }
        let square = |x: f64| x * x;
        self.moves += 1;
        self.left = MEMORY * self.left + square(change - push);
        let mut rival_wins = false;
        for (left, gain) in self.left_by_rival.iter_mut().zip(RIVALS) {
            *left = MEMORY * *left + square(change - gain * push);
            rival_wins |= self.left > CONTRADICTION * *left;
        }
        self.moves >= MOVES_MIN && rival_wins && self.left > LEFT_MIN * f64::from(MOVES_MIN)
    }

    /// Median distance from target of the newest `n` labels [half tolerances]; `None` when fewer
    /// are known since the last finding.
    pub fn distance(&self, n: u8) -> Option<f64> {
        let n = usize::from(n).clamp(1, WINDOW_MAX);
        (self.fresh >= n).then(|| self.median(0, n))
    }

    fn newest(&self, n: usize) -> impl Iterator<Item = f64> + '_ {
        let n = n.min(self.fresh);
        (1..=n).filter_map(move |back| {
            self.errors.get((self.next + WINDOW_MAX - back) % WINDOW_MAX).copied()
        })
    }

    /// Changes of side between errors beyond [`SWING`] in the window.
    fn crossings(&self, plan: &EffectPlan) -> u32 {
        let window = usize::from(plan.oscillation_window).clamp(4, WINDOW_MAX);
        let mut side = 0.0_f64;
        let mut crossings = 0;
        for error in self.newest(window) {
            if libm::fabs(error) < SWING {
                continue;
            }
            if side * error < 0.0 {
                crossings += 1;
            }
            side = error;
        }
        crossings
    }

    fn restart(&mut self) {
        self.fresh = 0;
        self.judged = 0;
        self.moves = 0;
        self.left = 0.0;
        self.left_by_rival = [0.0; RIVALS.len()];
    }

    /// Forgets findings: after a reset by a person, a product change, or while not in charge.
    pub fn forget(&mut self) {
        *self = Self::new();
    }

    /// Counts a part at a limit; `true` once when it has been too many in a row.
    pub fn at_limit(&mut self, plan: &EffectPlan, at_limit: bool) -> bool {
        if !at_limit {
            self.saturated = 0;
            return false;
        }
        self.saturated = self.saturated.saturating_add(1);
        self.saturated == plan.saturated_after.max(1)
    }

    /// Reports a step of authority used that was crossed upwards; re-arms 5 % below it.
    pub fn authority(&mut self, used_percent: f64) -> Option<u8> {
        let mut reached = 0;
        for step in AUTHORITY_STEPS {
            if used_percent >= f64::from(step) {
                reached = step;
            }
        }
        if reached > self.reported {
            self.reported = reached;
            return Some(reached);
        }
        if used_percent + 5.0 < f64::from(self.reported) {
            self.reported = reached;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: EffectPlan = EffectPlan {
        labels: 4,
        worse_than: 1.5,
        saturated_after: 3,
        oscillation_crossings: 4,
        oscillation_window: 12,
    };

    fn findings(errors: &[f64]) -> std::vec::Vec<(usize, Finding)> {
        let mut effect = Effect::new();
        let seen = errors.iter().enumerate();
        let label = |error| Labelled { error, push: 0.0, fed: 0.0 };
        seen.filter_map(|(i, &e)| effect.observe(&PLAN, label(e), true).map(|f| (i, f))).collect()
    }

    /// Plays a plant of `gain` times the believed one, with moves by `step` and a disturbance that
    /// the moves cancel by `cancel`.
    fn first_finding(gain: f64, cancel: f64) -> Option<(usize, Finding)> {
        let mut effect = Effect::new();
        let mut push = 0.0;
        let mut disturbance = 0.0;
        (0..40).find_map(|i| {
            let step = if i % 3 == 0 { 0.3 } else { -0.2 };
            push += step;
            disturbance -= cancel * step;
            let noise = if i % 2 == 0 { 0.1 } else { -0.1 };
            let error = 0.3 * (disturbance + gain * push + noise);
            let label = Labelled { error, push: 0.3 * push, fed: 0.0 };
            let label = Labelled { error: label.error / 0.3, push: label.push / 0.3, ..label };
            effect.observe(&PLAN, label, false).map(|f| (i, f))
        })
    }

    /// A wrong sign or a manifold gain contradicts the moves within a few labels; a gain that is
    /// about right does not, nor does control so good that quality never moves.
    #[test]
    fn contradiction() {
        for (gain, cancel, found) in [
            (1.0, 0.0, false),
            (0.5, 0.0, false),
            (1.6, 0.0, false),
            (1.0, 1.0, false),
            (0.0, 0.0, false),
            (-1.0, 0.0, true),
            (8.0, 0.0, true),
        ] {
            let first = first_finding(gain, cancel);
            assert_eq!(first.is_some(), found, "gain {gain} cancel {cancel}: {first:?}");
            if let Some((label, finding)) = first {
                assert_eq!(finding, Finding::Contradicted);
                assert!(label < 12, "gain {gain}: only at label {label}");
            }
        }
    }

    /// Far from target: halve after one window, trip after the next; good windows forgive.
    #[test]
    fn missing_effect() {
        let far = [2.0; 8];
        assert_eq!(findings(&far), [(3, Finding::Missing), (7, Finding::MissingAgain)]);
        assert_eq!(findings(&[1.4; 40]), []);
        let mut mixed = std::vec![2.0; 4];
        mixed.extend([0.2; 12]);
        mixed.extend([2.5; 4]);
        let kinds: std::vec::Vec<_> = findings(&mixed).into_iter().map(|f| f.1).collect();
        assert_eq!(kinds, [Finding::Missing, Finding::Passed, Finding::Missing]);
    }

    /// Swings beyond the tolerance from side to side are oscillation; small ones are noise.
    #[test]
    fn oscillation() {
        let swing: std::vec::Vec<f64> =
            (0..20).map(|i| if i % 2 == 0 { 1.2 } else { -1.2 }).collect();
        let found = findings(&swing);
        assert_eq!(found[0], (4, Finding::Oscillates));
        assert_eq!(found[1], (9, Finding::OscillatesAgain));
        let noise: std::vec::Vec<f64> =
            (0..40).map(|i| if i % 2 == 0 { 0.8 } else { -0.8 }).collect();
        assert_eq!(findings(&noise), []);
    }

    /// Short shots among good labels say nothing; a loop that stands far off for good does.
    #[test]
    fn odd_labels() {
        let shorts: std::vec::Vec<f64> =
            (0..60).map(|i| if i % 3 == 0 { 0.2 } else { -7.0 }).collect();
        assert_eq!(findings(&shorts), []);
        let lost = findings(&[-7.0; 40]);
        assert_eq!(lost[0], (19, Finding::Missing));
        assert_eq!(lost[1], (23, Finding::MissingAgain));
    }

    /// NaN is no label.
    #[test]
    fn non_finite_is_ignored() {
        assert_eq!(findings(&[f64::NAN; 20]), []);
    }

    /// Saturation and authority are each reported once per excursion.
    #[test]
    fn limits_are_reported_once() {
        let mut effect = Effect::new();
        let hits: std::vec::Vec<bool> = (0..5).map(|_| effect.at_limit(&PLAN, true)).collect();
        assert_eq!(hits, [false, false, true, false, false]);
        assert_eq!(effect.authority(61.0), Some(60));
        assert_eq!(effect.authority(64.0), None);
        assert_eq!(effect.authority(58.0), None, "hysteresis");
        assert_eq!(effect.authority(61.0), None);
        assert_eq!(effect.authority(99.0), Some(95));
        assert_eq!(effect.authority(10.0), None);
        assert_eq!(effect.authority(80.0), Some(80));
    }
}
