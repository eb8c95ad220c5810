//! The judge: counts what a controller did, by its own numbers. Pure.
//!
//! It sees every write attempt, taken or not, and every part with its true cause of scrap. It
//! shares no limits with the PLC or any client: a common mistake would be invisible. Only
//! clients' writes count; what the PLC or an operator moves does not.

use std::collections::{BTreeMap, VecDeque};

use crate::plant::moulding::Cause;
use crate::plc::Setpoint;

/// Wall time a write may still be under way after an interlock opened \[ms].
pub const CROSSED_MS: u64 = 100;
/// Windows of parts in which scrap is counted for a chart \[parts].
pub const WINDOW_PARTS: u64 = 100;
/// Room for rounding when comparing setpoints, in their unit; far below any grid.
const ROUNDING: f64 = 1e-6;

/// Limits of one setpoint by which the judge counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgeSpec {
    /// Absolute limits, in the setpoint's unit.
    pub limits: (f64, f64),
    /// Largest change in one write.
    pub step: f64,
    /// Largest sum of changes within `rate_window_s` of process time.
    pub rate: f64,
    /// Window of the rate \[s process time].
    pub rate_window_s: f64,
    /// Least process time between two moves \[s].
    pub dwell_s: f64,
    /// Largest distance from the recipe value.
    pub trim: f64,
}

/// Numbers for hold pressure \[bar] and cool time \[s].
pub const SPECS: [JudgeSpec; 2] = [
    JudgeSpec {
        limits: (290.0, 430.0),
        step: 5.0,
        rate: 20.0,
        rate_window_s: 60.0,
        dwell_s: 20.0,
        trim: 60.0,
    },
    JudgeSpec {
        limits: (14.0, 20.0),
        step: 0.5,
        rate: 2.0,
        rate_window_s: 60.0,
        dwell_s: 60.0,
        trim: 3.0,
    },
];

/// Violations by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Violations {
    /// Outside the absolute limits, or not finite.
    pub limit: u64,
    /// Too large a step.
    pub step: u64,
    /// Too fast.
    pub rate: u64,
    /// Too soon after the last move.
    pub dwell: u64,
    /// Too far from the recipe value.
    pub trim: u64,
    /// Interlock open for more than [`CROSSED_MS`].
    pub interlock: u64,
}

impl Violations {
    /// Sum over all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.limit + self.step + self.rate + self.dwell + self.trim + self.interlock
    }
}

/// Counts for one setpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteCounts {
    /// Writes that arrived.
    pub attempts: u64,
    /// Taken by the PLC.
    pub accepted: u64,
    /// Refused by the PLC.
    pub refused: u64,
    /// Of the attempts: of the wrong type.
    pub wrong_type: u64,
    /// Of the attempts: repeated the value already there.
    pub repeats: u64,
    /// Arrived within [`CROSSED_MS`] after an interlock opened: under way, no violation.
    pub crossed: u64,
    /// What was wrong.
    pub violations: Violations,
}

/// One write attempt as the PLC saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attempt {
    /// Which setpoint.
    pub setpoint: Setpoint,
    /// Value asked for; `None` when the type was wrong.
    pub value: Option<f64>,
    /// Register before the write.
    pub before: f64,
    /// Register after the write; `None` when refused.
    pub after: Option<f64>,
    /// Recipe value of the product loaded.
    pub recipe: f64,
    /// Process time \[s].
    pub process_s: f64,
    /// Wall time for which an interlock has been open \[ms]; `None` when all are closed.
    pub interlock_open_ms: Option<u64>,
}

/// What the judge says so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// Parts made.
    pub parts: u64,
    /// Scrap parts by true cause.
    pub scrap: BTreeMap<Cause, u64>,
    /// Scrap parts in each [`WINDOW_PARTS`] parts, the last one unfinished.
    pub scrap_windows: Vec<u64>,
    /// Sum and sum of squares of the weight's deviation from target \[g], \[g2].
    pub weight_moments: (f64, f64),
    /// Writes to hold pressure and cool time.
    pub writes: [WriteCounts; 2],
}

impl Verdict {
    /// Scrap parts.
    #[must_use]
    pub fn scrap_total(&self) -> u64 {
        self.scrap.values().sum()
    }

    /// Scrap parts per part made, 0 to 1.
    #[must_use]
    pub fn scrap_rate(&self) -> f64 {
        self.scrap_total() as f64 / self.parts.max(1) as f64
    }

    /// Violations of both setpoints.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.writes.iter().map(|w| w.violations.total()).sum()
    }

    /// Root mean square deviation of the weight from target \[g].
    #[must_use]
    pub fn weight_rms_g(&self) -> f64 {
        (self.weight_moments.1 / self.parts.max(1) as f64).sqrt()
    }
}

/// The counting itself.
#[derive(Debug, Clone, Default)]
pub struct Judge {
    verdict: Verdict,
    /// Moves within the rate window: process time \[s] and absolute change.
    moves: [VecDeque<(f64, f64)>; 2],
}

impl Judge {
    /// A judge that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one write attempt.
    pub fn observe(&mut self, attempt: &Attempt) {
        let index = attempt.setpoint.index();
        let spec = &SPECS[index];
        let counts = &mut self.verdict.writes[index];
        counts.attempts += 1;
        match attempt.after {
            Some(_) => counts.accepted += 1,
            None => counts.refused += 1,
        }
        match attempt.interlock_open_ms {
            Some(open_ms) if open_ms > CROSSED_MS => counts.violations.interlock += 1,
            Some(_) => counts.crossed += 1,
            None => {}
        }
        let Some(value) = attempt.value else {
            counts.wrong_type += 1;
            return;
        };
        let bad = &mut counts.violations;
        if !value.is_finite() {
            bad.limit += 1;
            return;
        }
        let (low, high) = spec.limits;
        bad.limit += u64::from(value < low - ROUNDING || value > high + ROUNDING);
        let change = (value - attempt.before).abs();
        if change <= ROUNDING {
            counts.repeats += 1;
            return;
        }
        bad.step += u64::from(change > spec.step + ROUNDING);
        let trim = (value - attempt.recipe).abs();
        // On the way back from an operator's or another recipe's value every step is welcome.
        let outward = trim > (attempt.before - attempt.recipe).abs();
        bad.trim += u64::from(trim > spec.trim + ROUNDING && outward);

        let now = attempt.process_s;
        let moves = &mut self.moves[index];
        while moves.front().is_some_and(|(at, _)| *at <= now - spec.rate_window_s) {
            moves.pop_front();
        }
        let soon = moves.back().is_some_and(|(at, _)| now - at < spec.dwell_s - ROUNDING);
        bad.dwell += u64::from(soon);
        let moved: f64 = moves.iter().map(|(_, change)| change).sum();
        bad.rate += u64::from(moved + change > spec.rate + ROUNDING);
        if let Some(after) = attempt.after {
            moves.push_back((now, (after - attempt.before).abs()));
        }
    }

    /// Counts one part.
    pub fn part(&mut self, cause: Option<Cause>, weight_off_g: f64) {
        let verdict = &mut self.verdict;
        if verdict.parts.is_multiple_of(WINDOW_PARTS) {
            verdict.scrap_windows.push(0);
        }
        verdict.parts += 1;
        verdict.weight_moments.0 += weight_off_g;
        verdict.weight_moments.1 += weight_off_g * weight_off_g;
        if let Some(cause) = cause {
            *verdict.scrap.entry(cause).or_default() += 1;
            if let Some(window) = verdict.scrap_windows.last_mut() {
                *window += 1;
            }
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Judge, Violations};
    use crate::plant::moulding::Cause;
    use crate::plc::Setpoint;

    const HOLD: Attempt = Attempt {
        setpoint: Setpoint::HoldPressure,
        value: Some(365.0),
        before: 360.0,
        after: Some(365.0),
        recipe: 360.0,
        process_s: 1000.0,
        interlock_open_ms: None,
    };

    /// A taken write from `before` to `value` at `process_s`.
    fn moved(before: f64, value: f64, process_s: f64) -> Attempt {
        Attempt { value: Some(value), before, after: Some(value), process_s, ..HOLD }
    }

    fn refused(before: f64, value: f64) -> Attempt {
        Attempt { value: Some(value), before, after: None, ..HOLD }
    }

    /// Counts the attempts and compares with limit, step, rate, dwell, trim, interlock.
    fn check(what: &str, attempts: &[Attempt], expect: [u64; 6]) {
        let mut judge = Judge::new();
        for attempt in attempts {
            judge.observe(attempt);
        }
        let [limit, step, rate, dwell, trim, interlock] = expect;
        let expect = Violations { limit, step, rate, dwell, trim, interlock };
        let setpoint = attempts[0].setpoint.index();
        assert_eq!(judge.verdict().writes[setpoint].violations, expect, "{what}");
    }

    #[test]
    fn each_kind_of_violation_is_counted() {
        let open = |ms| Attempt { interlock_open_ms: Some(ms), ..HOLD };
        let cool = Attempt {
            setpoint: Setpoint::CoolTime,
            recipe: 16.0,
            before: 16.0,
            value: Some(16.5),
            after: Some(16.5),
            ..HOLD
        };
        let cool_again = Attempt {
            before: 16.5,
            value: Some(17.0),
            after: Some(17.0),
            process_s: 1059.0,
            ..cool
        };
        check("a proper move", &[HOLD], [0; 6]);
        check("to the limit", &[moved(425.0, 430.0, 0.0)], [0, 0, 0, 0, 1, 0]);
        check("over it, refused", &[refused(428.0, 431.0)], [1, 0, 0, 0, 1, 0]);
        check("not finite", &[refused(360.0, f64::NAN)], [1, 0, 0, 0, 0, 0]);
        check("5.5 bar at once", &[moved(360.0, 365.5, 0.0)], [0, 1, 0, 0, 0, 0]);
        check("refused, still an attempt", &[refused(360.0, 366.0)], [0, 1, 0, 0, 0, 0]);
        check("dwell", &[HOLD, moved(365.0, 366.0, 1019.0)], [0, 0, 0, 1, 0, 0]);
        check("dwell kept", &[HOLD, moved(365.0, 366.0, 1020.0)], [0; 6]);
        check("refused does not count", &[refused(360.0, 361.0), HOLD], [0; 6]);
        check("cool dwell", &[cool, cool_again], [0, 0, 0, 1, 0, 0]);
        check("trim", &[moved(418.0, 421.0, 0.0)], [0, 0, 0, 0, 1, 0]);
        check("trim, coming back", &[moved(428.0, 424.0, 0.0)], [0; 6]);
        check("door open", &[open(101)], [0, 0, 0, 0, 0, 1]);
        check("crossed the door", &[open(100)], [0; 6]);
        check("a repeat is no move", &[HOLD, moved(365.0, 365.0, 1001.0)], [0; 6]);
        let fast = [
            moved(360.0, 365.0, 0.0),
            moved(365.0, 370.0, 15.0),
            moved(370.0, 375.0, 30.0),
            moved(375.0, 380.0, 45.0),
            moved(380.0, 381.0, 59.0),
        ];
        check("rate", &fast, [0, 0, 1, 4, 0, 0]);
    }

    #[test]
    fn a_write_under_way_is_counted_apart() {
        let mut judge = Judge::new();
        judge.observe(&Attempt { interlock_open_ms: Some(40), ..HOLD });
        judge.observe(&Attempt { value: None, after: None, ..HOLD });
        let counts = judge.verdict().writes[0];
        assert_eq!((counts.crossed, counts.wrong_type, counts.refused), (1, 1, 1));
        assert_eq!(counts.attempts, 2);
    }

    #[test]
    fn parts_and_causes_add_up() {
        let mut judge = Judge::new();
        for part in 0..250 {
            judge.part((part % 50 == 0).then_some(Cause::Weight), 0.01);
        }
        let verdict = judge.verdict();
        assert_eq!((verdict.parts, verdict.scrap_total()), (250, 5));
        assert_eq!(verdict.scrap_windows, [2, 2, 1]);
        assert!((verdict.weight_rms_g() - 0.01).abs() < 1e-9);
    }
}
