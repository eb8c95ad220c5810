//! Seeded faults of the link itself, to show that the simulation of [`fault_sim`] can fail; they
//! exist in this crate's own tests only.
//!
//! [`fault_sim`]: super

#[cfg(test)]
pub(super) use tests::{broken, with_mutant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// The gate stays open when the connection is lost.
    GateLeftOpen,
    /// The age of a write is not looked at.
    TtlUnchecked,
    /// The epoch of a write is not compared.
    EpochUnchecked,
    /// Registers are not read after a write.
    NoReadBack,
    /// A write without an answer is sent again.
    BlindRetry,
    /// An ambiguous answer counts as a refusal.
    AmbiguousRefused,
    /// Our own reads count as life of the subscription.
    ReadsAreLife,
    /// The subscription is not watched for silence.
    SilenceUnseen,
    /// The session is not closed when it is given up.
    NoGoodbye,
    /// No pauses between attempts.
    NoBackoff,
    /// The answer of a write that was not sent is forgotten.
    FateForgotten,
    /// Another server behind another address is taken for the PLC.
    ServerUnchecked,
    /// Calls are as large as they come.
    CallsUncut,
}

#[cfg(not(test))]
pub(super) const fn broken(_: Mutant) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::Mutant;
    use std::cell::Cell;

    thread_local! {
        static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    pub(in crate::plc) fn broken(mutant: Mutant) -> bool {
        MUTANT.with(|active| active.get() == Some(mutant))
    }

    /// Runs `f` with one part of the link broken.
    pub(in crate::plc) fn with_mutant<R>(mutant: Mutant, f: impl FnOnce() -> R) -> R {
        MUTANT.with(|active| active.set(Some(mutant)));
        let result = f();
        MUTANT.with(|active| active.set(None));
        result
    }
}
