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

    /// Whether it was told. Who tells of a state as it changes keeps one that was not for the next
    /// time he looks, or an alarm would stand for ever whose end nobody heard of.
    pub(super) fn event(&mut self, what: What) -> bool {
        let event = self.of(what);
        self.push(Action::Event(event))
    }

    pub(super) fn record(&mut self, record: Record) {
        self.push(Action::Record(record));
    }

    /// The rows of a write: no audit, no write, so they have room of their own.
    pub(super) fn must(&mut self, record: Record) {
        self.urgent(Action::Record(record));
    }

    /// An event that nobody may miss: at most a few per loop, PLC, interlock and binding in a step.
    pub(super) fn must_tell(&mut self, what: What) {
        let event = self.of(what);
        self.urgent(Action::Event(event));
    }

    /// Writes, proposals and beats: at most one per setpoint and step, so they always fit.
    pub(super) fn urgent(&mut self, action: Action) {
        self.put(action, self.buffer.capacity());
    }

    const fn of(&self, what: What) -> Event {
        Event { at: self.at, process: self.process, part: self.part, what }
    }

    fn push(&mut self, action: Action) -> bool {
        self.put(action, self.room)
    }

    fn put(&mut self, action: Action, room: usize) -> bool {
        let fits = self.buffer.len() < room;
        if fits {
            self.buffer.push(action);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
        fits
    }

    pub(super) fn drain(&mut self) -> Actions<'_> {
        Actions::new(&mut self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlcId;
    use crate::tag::{Quality, TagId};

    /// What does not fit is counted, told in the next step, and left to whoever asked; what must
    /// be told has room of its own.
    #[test]
    fn a_full_step_keeps_what_must_be_told() {
        let mut out = Outbox::new(2, 1);
        out.begin(Now::default(), Process::default());
        let told = [0, 1, 2].map(|tag| out.event(What::TagQuality(TagId(tag), Quality::Good)));
        assert_eq!(told, [true, true, false]);
        out.must_tell(What::HeartbeatBack(PlcId(0)));
        let whats = |out: &mut Outbox| -> Vec<What> {
            let what = |action| match action {
                Action::Event(event) => Some(event.what),
                _ => None,
            };
            out.drain().filter_map(what).collect()
        };
        let back = What::HeartbeatBack(PlcId(0));
        assert_eq!(whats(&mut out).last(), Some(&back));
        out.begin(Now::default(), Process::default());
        assert_eq!(whats(&mut out), [What::Overrun(1)]);
    }
}
