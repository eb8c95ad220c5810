//! What must have been seen, so that an exploration that explores nothing fails.

use core::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

macro_rules! sights {
    ($($name:ident),+ $(,)?) => {
        /// Something worth seeing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Sight { $($name),+ }

        impl Sight {
            pub(super) const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

sights! {
    WouldWrite,
    ConfirmedInAuto,
    Confirmed,
    ConfirmedUnanswered,
    NotTaken,
    Unknown,
    UnknownNotTaken,
    Mismatch,
    Refused,
    WrittenOnApproval,
    Approved,
    Denied,
    OrderRefused,
    OperatorOwns,
    GivenBack,
    TripOrder,
    TripNotTaken,
    TripMismatch,
    RampByTrip,
    RampByRung,
    LatchedAtBaseline,
    Reset,
    HeartbeatLost,
    LinkDown,
    SessionTakesAuto,
    CrashTakesAuto,
    LateApply,
}

/// Those seen so far.
#[derive(Debug, Default)]
pub(super) struct Sights(AtomicU64);

impl Sights {
    pub(super) fn see(&self, sight: Sight) {
        self.0.fetch_or(1 << sight as u64, Ordering::Relaxed);
    }

    /// Those of `expected` that were never seen.
    pub(super) fn missing(&self, expected: &[Sight]) -> Vec<Sight> {
        let seen = self.0.load(Ordering::Relaxed);
        expected.iter().copied().filter(|s| seen & (1 << *s as u64) == 0).collect()
    }
}
