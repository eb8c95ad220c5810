//! What happened in all runs together: proves that the properties were not true of nothing.

use alloc::string::String;
use core::fmt::Write as _;

use super::faults::{Fault, Faults};
use crate::guard::Reason;
use crate::mode::{Rung, TripReason};
use crate::record::CheckRow;

pub(super) const TRIPS: [TripReason; 8] = [
    TripReason::Clock,
    TripReason::Interlock,
    TripReason::EmptyRange,
    TripReason::NotTaken,
    TripReason::Mismatch,
    TripReason::NoEffect,
    TripReason::Oscillation,
    TripReason::Operator,
];
pub(super) const RUNGS: [Rung; 4] = [Rung::Full, Rung::FeedbackOnly, Rung::Return, Rung::Released];

/// Counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) runs: u64,
    pub(super) steps: u64,
    pub(super) replayed: u64,
    pub(super) writes: u64,
    pub(super) approved: u64,
    pub(super) by_score: u64,
    pub(super) returns: u64,
    pub(super) confirmed: u64,
    pub(super) would_write: u64,
    pub(super) asks: u64,
    pub(super) foreign: u64,
    pub(super) latched_home: u64,
    pub(super) rows_judged: u64,
    /// Checks of models that were told to be crossed, and loops that stepped down for them.
    pub(super) drifts: u64,
    pub(super) demoted: u64,
    /// Explained checks.
    pub(super) checks: u64,
    /// The first that is told to have passed without room.
    pub(super) roomless: Option<CheckRow>,
    /// Writes to one PLC while the link to another was down or silent.
    pub(super) beside_a_dead_link: u64,
    /// Scans in which one PLC's session ended and an acting loop on another went on.
    pub(super) kept: u64,
    pub(super) holds: [u64; Reason::ALL.len()],
    pub(super) failed: [u64; Reason::ALL.len()],
    pub(super) trips: [u64; TRIPS.len()],
    pub(super) rungs: [u64; RUNGS.len()],
    /// Faults that were switched on in any run.
    pub(super) faults: u64,
}

impl Tally {
    pub(super) fn hold(&mut self, reason: Reason) {
        self.holds[reason as usize] += 1;
    }

    pub(super) fn trip(&mut self, reason: TripReason) {
        let index = TRIPS.iter().position(|r| *r == reason);
        self.trips[index.unwrap_or(0)] += 1;
    }

    pub(super) fn rung(&mut self, rung: Rung) {
        let index = RUNGS.iter().position(|r| *r == rung);
        self.rungs[index.unwrap_or(0)] += 1;
    }

    /// What never happened, by name.
    pub(super) fn missing(&self) -> String {
        let mut missing = String::new();
        for (reason, (holds, failed)) in Reason::ALL.iter().zip(self.holds.iter().zip(&self.failed))
        {
            // A wish that lacks nothing but its approval is asked for, not held.
            let seen = if *reason == Reason::Approval { failed } else { holds };
            if *seen == 0 {
                let _ = write!(missing, "hold {reason:?}; ");
            }
        }
        let counted = [
            ("write", self.writes),
            ("approved write", self.approved),
            ("score-driven write", self.by_score),
            ("return", self.returns),
            ("confirmation", self.confirmed),
            ("would write", self.would_write),
            ("proposal", self.asks),
            ("external change", self.foreign),
            ("ramp that latched at the baseline", self.latched_home),
            ("write under a joint limit", self.rows_judged),
            ("explained check", self.checks),
            ("drift", self.drifts),
            ("loop lowered by drift", self.demoted),
            ("write beside a dead link", self.beside_a_dead_link),
            ("acting loop kept beside a lost session", self.kept),
            ("replay", self.replayed),
        ];
        for (name, _) in counted.iter().filter(|(_, count)| *count == 0) {
            let _ = write!(missing, "{name}; ");
        }
        // A mismatch trips when a PLC has stopped short 51 times running: `scenes` has that.
        let often = |r: TripReason| r != TripReason::Mismatch;
        for (trip, _) in TRIPS.iter().zip(self.trips).filter(|(r, n)| often(**r) && *n == 0) {
            let _ = write!(missing, "trip {trip:?}; ");
        }
        for (rung, _) in RUNGS.iter().zip(self.rungs).filter(|(_, n)| *n == 0) {
            let _ = write!(missing, "rung {rung:?}; ");
        }
        for fault in Fault::ALL.iter().filter(|f| !Faults(self.faults).has(**f)) {
            let _ = write!(missing, "fault {fault:?}; ");
        }
        missing
    }
}
