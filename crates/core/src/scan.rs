//! What goes into a step and what comes out: [`Scan`] in, [`Actions`] out.

use alloc::vec::{Drain, Vec};

use crate::event::Event;
use crate::guard::ApprovedWrite;
use crate::mode::Mode;
use crate::plan::{CharacteristicId, LoopId, PlcId};
use crate::record::Record;
use crate::tag::Sample;
use crate::time::{Mono, Now};
use crate::unit::Ticks;

/// Orders of one scan at most: each is answered, whatever else there is to tell.
pub const ORDERS_MAX: usize = 64;

/// Everything one step may know. Built by the shell, journaled before it is used.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// Counts up by one per scan since the service started.
    pub seq: u64,
    /// The clocks, read once.
    pub now: Now,
    /// The PLC links, in the order of [`Plan::links`](crate::plan::Plan::links); one that is missing
    /// counts as down.
    pub links: &'a [Link],
    /// Samples in order of arrival.
    pub changes: &'a [Sample],
    /// Answers to writes.
    pub acks: &'a [Ack],
    /// What people and other shells ask.
    pub commands: &'a [Order],
}

/// A PLC link as its shell sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Whether a session with live subscriptions and checked tags stands.
    pub up: bool,
    /// Number of that session; grows with each new one. Writes of another epoch are dead.
    pub epoch: u64,
    /// When anything last came from the PLC, keep-alives included.
    pub life: Option<Mono>,
}

/// What became of a write on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckResult {
    /// The server answered Good. Not done yet: the register must be read back.
    Good,
    /// The server refused, with this OPC UA status; nothing was written.
    Refused(u32),
    /// Not sent: expired, other epoch, link down. Nothing was written.
    NotSent,
    /// No answer, or an ambiguous one: perhaps written, perhaps later.
    Unknown,
}

/// Answer to one approved write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// [`ApprovedWrite::seq`].
    pub write: u64,
    /// What became of it.
    pub result: AckResult,
    /// When we knew.
    pub at: Mono,
}

/// A command with the number under which the shell keeps who asked and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Order {
    /// Audit number.
    pub id: u64,
    /// What is asked.
    pub command: Command,
}

/// What people and other shells may ask. None of them carries a setpoint to write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    /// Ask for a mode; raising one is refused while tripped or above the recipe's cap.
    SetMode(LoopId, Mode),
    /// Owner becomes the operator, mode SHADOW, the last setpoint stays.
    TakeManual(LoopId),
    /// Approve a proposal, if the setpoint still stands where the approver saw it.
    Approve {
        /// [`Proposal::id`].
        proposal: u64,
        /// Read-back the approver saw.
        expected: Ticks,
    },
    /// Turn a proposal down.
    Deny {
        /// [`Proposal::id`].
        proposal: u64,
    },
    /// Trip the loop: ramp to the baseline and latch.
    Trip(LoopId),
    /// Clear a latched trip; the loop comes back in SHADOW.
    Reset(LoopId),
    /// A measured quality that did not come by OPC UA.
    Label(Label),
}

/// One measured quality of one part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// Part id.
    pub part: i64,
    /// What was measured.
    pub characteristic: CharacteristicId,
    /// Value [unit of the characteristic].
    pub value: f64,
}

/// A move that a loop would like, before the guard has seen it or while a person decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal {
    /// Counts up per cell.
    pub id: u64,
    /// Whose.
    pub loop_id: LoopId,
    /// Where the setpoint stood.
    pub from: Ticks,
    /// Where it should go, already limited as the guard would.
    pub to: Ticks,
    /// Link time at which it dies.
    pub expires: Mono,
}

/// What the shell must do.
#[derive(Debug)]
pub enum Action {
    /// Send these moves.
    Write(ApprovedWrite),
    /// Send our life sign to this PLC.
    Heartbeat(PlcId, u32),
    /// Show a proposal to a person (ADVISORY).
    Ask(Proposal),
    /// Store a row.
    Record(Record),
    /// Tell the audit trail and people.
    Event(Event),
}

/// The actions of one step, in order; draining them hands each out exactly once.
#[derive(Debug)]
pub struct Actions<'a> {
    inner: Drain<'a, Action>,
}

impl<'a> Actions<'a> {
    pub(crate) fn new(buffer: &'a mut Vec<Action>) -> Self {
        Self { inner: buffer.drain(..) }
    }

    /// The actions still to be carried out, for the journal's digest and for tests.
    pub fn as_slice(&self) -> &[Action] {
        self.inner.as_slice()
    }
}

impl Iterator for Actions<'_> {
    type Item = Action;
    fn next(&mut self) -> Option<Action> {
        self.inner.next()
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl ExactSizeIterator for Actions<'_> {}
