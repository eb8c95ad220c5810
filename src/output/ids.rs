//! Names of records that people can type: `7-12` is write 12 of start 7, `e7-33` its event 33,
//! `d7-105` its decision 105.

use std::fmt;
use std::str::FromStr;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// A write of a setpoint.
    Write,
    /// An event.
    Event,
    /// A decision of the permit.
    Decision,
}

impl RecordKind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Write => "",
            Self::Event => "e",
            Self::Decision => "d",
        }
    }

    /// For people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Event => "event",
            Self::Decision => "decision",
        }
    }
}

/// A record of a service, across all its starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// What it is.
    pub kind: RecordKind,
    /// Number of the start, as in the `boot` table.
    pub boot: u64,
    /// Number within that start, from 1.
    pub number: u64,
}

impl RecordId {
    /// A write.
    #[must_use]
    pub const fn write(boot: u64, number: u64) -> Self {
        Self { kind: RecordKind::Write, boot, number }
    }

    /// An event.
    #[must_use]
    pub const fn event(boot: u64, number: u64) -> Self {
        Self { kind: RecordKind::Event, boot, number }
    }

    /// A decision.
    #[must_use]
    pub const fn decision(boot: u64, number: u64) -> Self {
        Self { kind: RecordKind::Decision, boot, number }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}-{}", self.kind.prefix(), self.boot, self.number)
    }
}

/// Text that names no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an id is START-NUMBER for a write (7-12), eSTART-NUMBER for an event (e7-33), dSTART-NUMBER for a decision (d7-105)"
)]
pub struct NoRecordId;

impl FromStr for RecordId {
    type Err = NoRecordId;

    fn from_str(text: &str) -> Result<Self, NoRecordId> {
        let (kind, rest) = match text.as_bytes().first() {
            Some(b'e' | b'E') => (RecordKind::Event, text.get(1..)),
            Some(b'd' | b'D') => (RecordKind::Decision, text.get(1..)),
            _ => (RecordKind::Write, Some(text)),
        };
        let (boot, number) = rest.and_then(|rest| rest.split_once('-')).ok_or(NoRecordId)?;
        let parse = |digits: &str| {
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|_| plain).ok_or(NoRecordId)
        };
        Ok(Self { kind, boot: parse(boot)?, number: parse(number)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown can be typed back; nothing else is taken.
    #[test]
    fn ids_come_back_as_they_are_shown() {
        for id in [RecordId::write(7, 12), RecordId::event(1, 1), RecordId::decision(40, 9_000)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(RecordId::write(7, 12).to_string(), "7-12");
        for wrong in ["", "7", "e7", "7-", "-7", "7-+1", "x7-1", "7-1-1", "e-1"] {
            assert_eq!(wrong.parse::<RecordId>(), Err(NoRecordId), "{wrong}");
        }
    }
}
