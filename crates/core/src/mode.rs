//! Modes, owners, trips and rungs: who moves a setpoint, and why not us.

/// What a loop is asked to do. The mode in force is the least of all caps.
///
/// ```text
/// OFF <-> SHADOW <-> ADVISORY <-> AUTO   up: a person, PLC enable
///            ^           ^---------+     external change: Owner = Operator
///            +-- boot; take manual: Owner = Operator
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Decides nothing.
    Off,
    /// Decides and records what it would have written.
    Shadow,
    /// Writes what a person approved.
    Advisory,
    /// Writes by itself.
    Auto,
}

impl Mode {
    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shadow => "shadow",
            Self::Advisory => "advisory",
            Self::Auto => "auto",
        }
    }
}

/// Who last moved the setpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// Not known: after a start or a new PLC session, until the register has been read.
    Unknown,
    /// trimloop.
    Ours,
    /// A person or another system. Never fought.
    Operator,
}

/// Place on the fallback ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// Feed-forward and label feedback.
    Full,
    /// Label feedback only.
    FeedbackOnly,
    /// Rate-limited ramp to the baseline.
    Return,
    /// Link lost: the PLC alone.
    Released,
}

impl Rung {
    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::FeedbackOnly => "feedback_only",
            Self::Return => "return",
            Self::Released => "released",
        }
    }
}

/// A latched trip of one loop.
///
/// ```text
/// CLEAR -reason-> RETURNING -at baseline-> LATCHED -reset(who, why)-> CLEAR in SHADOW
///          +-- write path at fault: straight to LATCHED
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trip {
    /// No trip.
    Clear,
    /// Ramping to the baseline.
    Returning(TripReason),
    /// Holds still until a person resets.
    Latched(TripReason),
}

impl Trip {
    /// Why it tripped; `None` when it did not.
    pub const fn reason(self) -> Option<TripReason> {
        match self {
            Self::Clear => None,
            Self::Returning(reason) | Self::Latched(reason) => Some(reason),
        }
    }
}

/// Why a loop tripped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TripReason {
    /// The monotonic clock ran backwards.
    Clock,
    /// An interlock that trips opened.
    Interlock,
    /// The intersection of all limits is empty, or the setpoint stands outside it.
    EmptyRange,
    /// Written, answered Good, and never read back.
    NotTaken,
    /// The PLC kept taking only part of our moves.
    Mismatch,
    /// The moves did not bring quality closer to target.
    NoEffect,
    /// The loop oscillates.
    Oscillation,
    /// A person tripped it.
    Operator,
}

impl TripReason {
    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Interlock => "interlock",
            Self::EmptyRange => "empty_range",
            Self::NotTaken => "not_taken",
            Self::Mismatch => "mismatch",
            Self::NoEffect => "no_effect",
            Self::Oscillation => "oscillation",
            Self::Operator => "operator",
        }
    }

    /// Whether the write path itself is at fault, so that not even RETURN may write.
    pub const fn bars_return(self) -> bool {
        matches!(self, Self::Clock | Self::EmptyRange | Self::NotTaken)
    }
}
