//! Tags, the samples that arrive for them, and what the image makes of a sample.

use crate::time::{Mono, Utc};

/// Index of a tag in [`Plan::tags`](crate::plan::Plan::tags).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagId(pub u16);

/// What a PLC can say. Text and structures are decoded, or refused, by the shell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number with a unit.
    Float(f64),
    /// A counter, id or state; exact up to 64 bits.
    Int(i64),
    /// A contact.
    Bool(bool),
}

impl Value {
    /// As a number: a contact is 0 or 1. Integers beyond 2^53 lose their last digits.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Float(x) => x,
            Self::Int(i) => i as f64,
            Self::Bool(b) => f64::from(u8::from(b)),
        }
    }

    /// As a whole number; `None` for a fraction, a non-finite or an out-of-range float.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::Int(i) => Some(i),
            Self::Bool(b) => Some(i64::from(b)),
            Self::Float(x) => {
                // 2^53: beyond it a float no longer names one whole number.
                let whole = libm::trunc(x);
                let exact =
                    libm::fabs(x - whole) <= 0.0 && libm::fabs(x) <= 9_007_199_254_740_992.0;
                #[expect(clippy::cast_possible_truncation, reason = "range checked above")]
                exact.then_some(whole as i64)
            }
        }
    }
}

/// Quality as the server sent it, with the raw OPC UA status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Severity 00, or no status at all.
    Good,
    /// Severity 01: carries a value that is not to be trusted.
    Uncertain(u32),
    /// Severity 10: whatever value comes with it means nothing.
    Bad(u32),
}

/// One value as it arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Which tag.
    pub tag: TagId,
    /// The value; `None` when the server sent none.
    pub value: Option<Value>,
    /// Quality as sent.
    pub status: Status,
    /// When the source says it was measured; `None` when it does not say.
    pub source_time: Option<Utc>,
    /// When the server says it saw it; `None` when it does not say.
    pub server_time: Option<Utc>,
    /// When we received it.
    pub received: Mono,
}

/// Why a Good sample is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// Changed faster than the tag can.
    Rate,
    /// One sample far from its neighbours.
    Spike,
    /// Unchanged for too many samples while the machine runs.
    Frozen,
    /// Its clock is too far from ours.
    Skew,
}

/// Why a value means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The server said so.
    Server,
    /// Outside the tag's range.
    Range,
    /// Not a finite number, or no value at all.
    NotANumber,
}

/// Quality after the image's checks. Only [`Quality::Good`] reaches a score or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// Usable.
    Good,
    /// The server calls it uncertain.
    Uncertain,
    /// Good by the server, not believed by us.
    Suspect(Doubt),
    /// Means nothing.
    Bad(Fault),
    /// Too old.
    Stale,
    /// Never received, or not since the link came up.
    Missing,
}

impl Quality {
    /// Whether the value may be scored and acted on.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good)
    }

    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain => "uncertain",
            Self::Suspect(Doubt::Rate) => "suspect_rate",
            Self::Suspect(Doubt::Spike) => "suspect_spike",
            Self::Suspect(Doubt::Frozen) => "suspect_frozen",
            Self::Suspect(Doubt::Skew) => "suspect_skew",
            Self::Bad(Fault::Server) => "bad_server",
            Self::Bad(Fault::Range) => "bad_range",
            Self::Bad(Fault::NotANumber) => "bad_not_a_number",
            Self::Stale => "stale",
            Self::Missing => "missing",
        }
    }
}

/// A tag's newest sample with the image's verdict on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The value; meaningful only when `quality` is Good (else for display).
    pub value: Value,
    /// Verdict in this scan.
    pub quality: Quality,
    /// Source time of the sample.
    pub source_time: Option<Utc>,
    /// When it was received.
    pub received: Mono,
}
