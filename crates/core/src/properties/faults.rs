//! What may go wrong in a run: one bit each, so that shrinking a failure switches faults off.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fault { $($(#[$doc])* $name),+ }

        impl Fault {
            pub(super) const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

faults! {
    /// Samples with status Bad.
    BadStatus,
    /// Samples with status Uncertain.
    Uncertain,
    /// NaN, infinite or missing values.
    NonFinite,
    /// Values far out of range, registers between two ticks.
    OutOfRange,
    /// The input stands still.
    Frozen,
    /// A tag sends nothing for a while.
    SilentTag,
    /// Old values that arrive after new ones.
    Reorder,
    /// The link goes down and comes back with a new epoch.
    LinkDown,
    /// A new epoch without a scan in which the link was down.
    NewEpoch,
    /// The link stands but says nothing.
    LinkSilent,
    /// Writes are refused (and now and then applied all the same).
    Refused,
    /// Writes never leave, or nobody knows.
    NotSent,
    /// No answer at all.
    NoAnswer,
    /// Answers twice, and answers to writes that nobody made.
    ForeignAnswer,
    /// Answered Good, not applied.
    Ignored,
    /// Applied in part.
    Clamped,
    /// Applied after the deadline.
    AppliedLate,
    /// An operator turns the setpoint.
    Operator,
    /// The PLC's own limits move.
    PlcLimits,
    /// The PLC withdraws its enable.
    EnableOff,
    /// Orders of all kinds at the wrong time.
    Orders,
    /// Approvals of the wrong proposal, with the wrong read-back, too late, twice.
    WrongApproval,
    /// People trip loops.
    TripOrder,
    /// Labels that are NaN, for unknown parts, told twice.
    WildLabel,
    /// The monotonic clock runs backwards.
    MonoBack,
    /// The wall clock is set.
    UtcStep,
    /// The PLC clock jumps.
    PlcClockJump,
    /// Scans come late.
    LateScan,
    /// Interlocks open.
    Interlock,
    /// Another product, or the machine stops.
    Unbound,
    /// The PLC stops echoing.
    NoEcho,
    /// The moves do nothing, or the wrong thing.
    WrongGain,
    /// Quality swings from side to side.
    Swing,
    /// Hundreds of useless orders in one scan.
    Flood,
    /// The service restarts.
    Restart,
}

/// A set of faults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults(pub(super) u64);

impl Faults {
    pub(super) const fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u64) != 0
    }

    /// Those of a list.
    pub(super) fn of(list: &[Fault]) -> Self {
        Self(list.iter().fold(0, |bits, fault| bits | 1 << *fault as u64))
    }

    /// The names, for a failure's report.
    pub(super) fn names(self) -> alloc::vec::Vec<Fault> {
        Fault::ALL.iter().copied().filter(|f| self.has(*f)).collect()
    }
}
