//! What may happen between two scans, one thing at a time, in plain words.

use core::fmt;

use crate::mode::Mode;
use crate::plan::LoopId;
use crate::scan::{AckResult, Command};
use crate::unit::Ticks;

/// An order of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Raise(Mode),
    Manual,
    /// The proposal that was shown last, open or not.
    Approve,
    Deny,
    Trip,
    Reset,
}

impl Ask {
    /// As the cell takes it. `shown`: number of the proposal shown last, and where it began.
    pub(super) fn command(self, shown: Option<(u64, i64)>) -> Command {
        let (proposal, from) = shown.unwrap_or_default();
        match self {
            Self::Raise(mode) => Command::SetMode(LoopId(0), mode),
            Self::Manual => Command::TakeManual(LoopId(0)),
            Self::Approve => Command::Approve { proposal, expected: Ticks::new(from) },
            Self::Deny => Command::Deny { proposal },
            Self::Trip => Command::Trip(LoopId(0)),
            Self::Reset => Command::Reset(LoopId(0)),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raise(mode) => write!(f, "asks for {}", mode.word().to_uppercase()),
            Self::Manual => f.write_str("takes manual"),
            Self::Approve => f.write_str("approves the proposal"),
            Self::Deny => f.write_str("denies the proposal"),
            Self::Trip => f.write_str("trips the loop"),
            Self::Reset => f.write_str("resets the trip"),
        }
    }
}

/// What becomes of a write on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Answered Good and applied.
    Taken,
    /// Answered Good, and the PLC went half of the way.
    Half,
    /// Applied; the answer is still under way.
    Applied,
    /// Answered Good; not applied, at least not yet.
    Good,
    Refused,
    NotSent,
    /// The answer is lost; not applied, at least not yet.
    NoAnswer,
    /// Applied, and the answer is lost.
    Lost,
}

impl Fate {
    pub(super) const ALL: [Self; 8] = [
        Self::Taken,
        Self::Half,
        Self::Applied,
        Self::Good,
        Self::Refused,
        Self::NotSent,
        Self::NoAnswer,
        Self::Lost,
    ];

    /// What the shell reports; `None` when nothing came yet.
    pub(super) const fn answer(self) -> Option<AckResult> {
        match self {
            Self::Taken | Self::Half | Self::Good => Some(AckResult::Good),
            Self::Refused => Some(AckResult::Refused(7)),
            Self::NotSent => Some(AckResult::NotSent),
            Self::NoAnswer | Self::Lost => Some(AckResult::Unknown),
            Self::Applied => None,
        }
    }

    /// Whether the register moves.
    pub(super) const fn applies(self) -> bool {
        matches!(self, Self::Taken | Self::Half | Self::Applied | Self::Lost)
    }

    /// Whether this can become of a write that has been applied, or answered, or neither.
    pub(super) const fn follows(self, applied: bool, answered: bool) -> bool {
        match (applied, answered) {
            (false, false) => true,
            (false, true) => matches!(self, Self::Applied),
            (true, false) => matches!(self, Self::Good | Self::NoAnswer),
            (true, true) => false,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Taken => "is applied and answered Good",
            Self::Half => "is applied half of the way and answered Good",
            Self::Applied => "is applied",
            Self::Good => "is answered Good",
            Self::Refused => "is refused",
            Self::NotSent => "is not sent",
            Self::NoAnswer => "gets no answer",
            Self::Lost => "is applied and gets no answer",
        }
    }
}

/// What the input shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Input {
    Calm,
    High,
    Bad,
}

/// One step of the exploration: what happens, and the scan after it (several where it says so).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing but time: one scan.
    Scan,
    /// One scan without notifications; they wait.
    Deaf,
    /// One scan with the oldest notification of the register only.
    Slow,
    /// The scan thread pauses, longer than three periods.
    Late,
    /// Four scans, longer than any timeout.
    Wait,
    /// Two minutes: a proposal runs out.
    Minutes,
    /// Four scans in which nothing is heard.
    Silence,
    /// Four scans in which the PLC does not echo.
    NoEcho,
    Person(Ask),
    /// Two orders in one scan.
    People(Ask, Ask),
    /// The setpoint is turned by hand.
    Hand(i64),
    /// Turned by hand, and an order in the same scan.
    HandAnd(i64, Ask),
    Input(Input),
    /// The PLC's enable changes.
    Enable,
    /// Index into the writes under way.
    Plc(usize, Fate),
    Down,
    /// A session: the first after a lost one, or a new one in place of the old.
    Session,
    /// The service dies and starts again.
    Crash,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scan => f.write_str("a scan"),
            Self::Deaf => f.write_str("a scan while notifications wait"),
            Self::Slow => f.write_str("a scan with the oldest notification only"),
            Self::Late => f.write_str("a scan comes late"),
            Self::Wait => f.write_str("four scans pass"),
            Self::Minutes => f.write_str("two minutes pass"),
            Self::Silence => f.write_str("nothing is heard for four scans"),
            Self::NoEcho => f.write_str("the PLC does not echo for four scans"),
            Self::Person(ask) => write!(f, "a person {ask}"),
            Self::People(a, b) => write!(f, "a person {a}, another {b}, in one scan"),
            Self::Hand(to) => write!(f, "the setpoint is turned to {to} by hand"),
            Self::HandAnd(to, ask) => {
                write!(f, "the setpoint is turned to {to} by hand while a person {ask}")
            }
            Self::Input(Input::Calm) => f.write_str("the input is calm"),
            Self::Input(Input::High) => f.write_str("the input is high"),
            Self::Input(Input::Bad) => f.write_str("the input is bad"),
            Self::Enable => f.write_str("the PLC's enable changes"),
            Self::Plc(0, fate) => write!(f, "the oldest write {}", fate.words()),
            Self::Plc(_, fate) => write!(f, "the write after it {}", fate.words()),
            Self::Down => f.write_str("the link goes down"),
            Self::Session => f.write_str("a new session"),
            Self::Crash => f.write_str("the service dies and starts again"),
        }
    }
}
