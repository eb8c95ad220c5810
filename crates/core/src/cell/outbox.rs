//! The actions of one step, in a buffer of fixed capacity.

use alloc::vec::Vec;

use crate::event::{Event, What};
use crate::record::Record;
use crate::scan::{Action, Actions};
use crate::time::{Now, Process};

/// Collects actions without ever allocating: beyond its capacity records and events are counted
/// and left out, while writes always have room.
#[derive(Debug)]
pub(super) struct Outbox {
    buffer: Vec<Action>,
    room: usize,
    left_out: u32,
    at: Now,
    process: Process,
    part: i64,
}

impl Outbox {
    /// `room`: records and events per step; `reserved`: writes, proposals and beats beside them.
    pub(super) fn new(room: usize, reserved: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(room + reserved),
            room,
            left_out: 0,
            at: Now::default(),
            process: Process::default(),
            part: 0,
        }
    }

    pub(super) fn begin(&mut self, at: Now, process: Process) {
        self.buffer.clear();
        self.at = at;
        self.process = process;
        let before = core::mem::take(&mut self.left_out);
        if before > 0 {
            self.event(What::Overrun(before));
        }
    }

    pub(super) fn part(&mut self, part: i64) {
        self.part = part;
    }

    pub(super) fn event(&mut self, what: What) {
        let event = Event { at: self.at, process: self.process, part: self.part, what };
        self.push(Action::Event(event));
    }

    pub(super) fn record(&mut self, record: Record) {
        self.push(Action::Record(record));
    }

    /// The rows of a write: no audit, no write, so they have room of their own.
    pub(super) fn must(&mut self, record: Record) {
        self.urgent(Action::Record(record));
    }

    /// An event that nobody may miss: at most a few per loop and step.
    pub(super) fn must_tell(&mut self, what: What) {
        let event = Event { at: self.at, process: self.process, part: self.part, what };
        self.urgent(Action::Event(event));
    }

    /// Writes, proposals and beats: at most one per setpoint and step, so they always fit.
    pub(super) fn urgent(&mut self, action: Action) {
        if self.buffer.len() < self.buffer.capacity() {
            self.buffer.push(action);
        }
    }

    fn push(&mut self, action: Action) {
        if self.buffer.len() < self.room {
            self.buffer.push(action);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    pub(super) fn drain(&mut self) -> Actions<'_> {
        Actions::new(&mut self.buffer)
    }
}
