//! The handshake blocks of a PLC, `TL_Guard` and `TL_Owner`, in Rust. Pure logic, no clock.
//!
//! One specification, `docs/src/reference/handshake.md`, two implementations: the Structured
//! Text in `plc-configs/blocks/` and this one. `tests/block.rs` runs both on the same traces and
//! compares every member after every call. Rule numbers (R1, O1) are those of the specification.
//!
//! ```text
//!   controller A --mailbox--> +----------+ OwnerAlive, EpochNow, EndReason
//!   controller B --mailbox--> | TL_Owner | ------------+-----------------+
//!                             +----------+             v                 v
//!   owner --mailbox (VExt .. Seq)------------> | TL_Guard | VOut   | TL_Guard | VOut
//! ```

pub mod cell;
pub mod guard;
pub mod nodes;
pub mod owner;

pub use cell::{BlockCell, HandshakeSettings};

/// Largest time of one call \[ms]; a longer one counts as so much.
pub const DT_MAX_MS: u32 = 60_000;
/// `ClockMs` runs from 0 up to, not including, this \[ms].
pub const CLOCK_WRAP_MS: u32 = 2_000_000_000;
/// Numbers beyond this size count as not finite.
pub const BIG: f64 = 1.0e30;
/// Half of the sequence numbers: nearer is ahead, farther is old.
pub const HALF: u32 = 0x8000_0000;

/// A planted mistake, to show that the conformance test finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Values above `VMax` are taken as they are.
    NoUpperLimit,
    /// Values below `VMin` are taken as they are.
    NoLowerLimit,
    /// `MaxStep` is not looked at.
    NoStep,
    /// Old sequence numbers are taken.
    OldSeqAccepted,
    /// Neither the age nor the size of `TtlMs` is looked at.
    TtlIgnored,
    /// Requests with any epoch are taken.
    EpochIgnored,
    /// The owner lives on without heartbeat.
    HeartbeatIgnored,
    /// Any write of the heartbeat counts, also of the same number.
    HeartbeatRepeats,
    /// Holds where it should return to the baseline.
    HoldsInsteadOfRamp,
    /// Jumps to the baseline instead of ramping.
    RampJumps,
    /// Takes requests while disabled.
    DisableIgnored,
    /// Takes requests while local.
    LocalIgnored,
    /// Takes what is not finite.
    NanAccepted,
    /// Answers a request before it is applied.
    AckBeforeApply,
    /// Keeps a request over a loss and takes it when the heartbeat is back.
    QueuesOverLoss,
    /// Grants a second controller while the first lives.
    SecondOwner,
    /// The epoch does not count up.
    EpochStuck,
}

impl Defect {
    /// All.
    pub const ALL: [Self; 17] = [
        Self::NoUpperLimit,
        Self::NoLowerLimit,
        Self::NoStep,
        Self::OldSeqAccepted,
        Self::TtlIgnored,
        Self::EpochIgnored,
        Self::HeartbeatIgnored,
        Self::HeartbeatRepeats,
        Self::HoldsInsteadOfRamp,
        Self::RampJumps,
        Self::DisableIgnored,
        Self::LocalIgnored,
        Self::NanAccepted,
        Self::AckBeforeApply,
        Self::QueuesOverLoss,
        Self::SecondOwner,
        Self::EpochStuck,
    ];
}
