//! Seeded faults of the state machines: they show that the exploration of states can fail.
//!
//! Those of the guard are in [`crate::guard`]. Outside this crate's own tests none exists.

/// A thing left undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slip {
    /// A lost session leaves the mode as it was.
    SessionKeepsMode,
    /// Taking manual leaves the mode as it was.
    ManualKeepsMode,
    /// An operator's change is adopted, and the loop goes on.
    HandIgnored,
    /// A write without an answer is given up by what was read before that was known.
    BlindRetry,
    /// A trip that was reset leaves the mode as it was.
    ResetKeepsMode,
    /// A model that drifts leaves the mode of the loops that rest on it as it was.
    DriftKeepsMode,
}

#[cfg(not(test))]
pub(crate) const fn slips(_: Slip) -> bool {
    false
}

#[cfg(test)]
pub(crate) use tests::{slips, with_slip};

#[cfg(test)]
mod tests {
    use super::Slip;
    use core::cell::Cell;

    std::thread_local! {
        static SLIP: Cell<Option<Slip>> = const { Cell::new(None) };
    }

    pub(crate) fn slips(slip: Slip) -> bool {
        SLIP.with(|s| s.get() == Some(slip))
    }

    /// Runs `f` with one thing left undone.
    pub(crate) fn with_slip<R>(slip: Slip, f: impl FnOnce() -> R) -> R {
        SLIP.with(|s| s.set(Some(slip)));
        let result = f();
        SLIP.with(|s| s.set(None));
        result
    }
}
