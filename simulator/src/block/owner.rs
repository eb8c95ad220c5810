//! `TL_Owner`: one per cell. Which of two controllers may write, one at a time.

use super::{DT_MAX_MS, Defect};

/// No owner, slot A, slot B (`OwnerSlot`).
pub mod slot {
    /// No owner.
    pub const NONE: u16 = 0;
    /// Controller A.
    pub const A: u16 = 1;
    /// Controller B.
    pub const B: u16 = 2;
}

/// Why the last owner is none any more (`EndReason`).
pub mod end {
    /// There is an owner, or there never was.
    pub const NONE: u16 = 0;
    /// Its heartbeat stopped.
    pub const HEARTBEAT: u16 = 1;
    /// It withdrew or renewed its request.
    pub const RELEASED: u16 = 2;
}

/// What one controller writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mailbox {
    /// Number of the controller, for people.
    pub node_id: u32,
    /// 0 releases; a number not seen before asks.
    pub request: u32,
    /// Counter; only its change is a sign of life.
    pub heartbeat: u32,
}

/// What the block gets at each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inputs {
    /// Time since the last call by the PLC's own clock \[ms].
    pub dt_ms: u32,
    /// Silence after which a controller is dead, 1 to 60,000 \[ms].
    pub hb_timeout_ms: u32,
    /// Controllers A and B.
    pub mailbox: [Mailbox; 2],
}

impl Default for Inputs {
    fn default() -> Self {
        Self { dt_ms: 0, hb_timeout_ms: 1000, mailbox: [Mailbox::default(); 2] }
    }
}

/// What the block tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outputs {
    /// There is an owner, and it lives.
    pub owner_alive: bool,
    /// Epoch of the owner; counts up with every grant, never 0 after the first.
    pub epoch_now: u32,
    /// See [`slot`].
    pub owner_slot: u16,
    /// `NodeId` of the owner; 0 without.
    pub owner_node: u32,
    /// Request number that was granted; 0 without an owner.
    pub granted: u32,
    /// See [`end`].
    pub end_reason: u16,
    /// Heartbeats as the block saw them.
    pub echo: [u32; 2],
    /// Counts calls.
    pub heartbeat_out: u32,
}

/// What is known of one controller.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Heartbeat seen last.
    seen: u32,
    /// Whether it ever changed.
    beaten: bool,
    /// Time since it changed \[ms].
    age_ms: u32,
    /// Request number that is used up.
    done: u32,
    alive: bool,
}

/// The block with what it remembers. `epoch_now` should outlive a power cut.
#[derive(Debug, Clone, Default)]
pub struct Owner {
    out: Outputs,
    called: bool,
    slots: [Slot; 2],
    /// A heartbeat write happened, for [`Defect::HeartbeatRepeats`].
    written: [bool; 2],
    defect: Option<Defect>,
}

impl Owner {
    /// A block before its first call, with a planted mistake or none.
    #[must_use]
    pub fn new(defect: Option<Defect>) -> Self {
        Self { defect, ..Self::default() }
    }

    /// What the block told at its last call.
    #[must_use]
    pub fn outputs(&self) -> &Outputs {
        &self.out
    }

    /// Notes that a heartbeat was written, with whatever number: only a broken block cares.
    pub fn note_write(&mut self, slot: usize) {
        if let Some(written) = self.written.get_mut(slot) {
            *written = true;
        }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// One call.
    pub fn step(&mut self, i: &Inputs) -> Outputs {
        // O1: time.
        let dt = i.dt_ms.min(DT_MAX_MS);
        self.out.heartbeat_out = self.out.heartbeat_out.wrapping_add(1);
        // O2: what lies in the mailboxes at the first call is old.
        if !self.called {
            self.called = true;
            for (slot, mailbox) in self.slots.iter_mut().zip(&i.mailbox) {
                slot.seen = mailbox.heartbeat;
                slot.done = mailbox.request;
            }
        }
        // O3: signs of life.
        let repeats = self.has(Defect::HeartbeatRepeats);
        for (k, (slot, mailbox)) in self.slots.iter_mut().zip(&i.mailbox).enumerate() {
            if mailbox.heartbeat != slot.seen || (repeats && self.written[k]) {
                slot.seen = mailbox.heartbeat;
                slot.beaten = true;
                slot.age_ms = 0;
            } else if slot.age_ms <= DT_MAX_MS {
                slot.age_ms += dt;
            }
            self.written[k] = false;
            self.out.echo[k] = slot.seen;
            slot.alive = slot.beaten
                && i.hb_timeout_ms > 0
                && i.hb_timeout_ms <= DT_MAX_MS
                && slot.age_ms <= i.hb_timeout_ms;
        }
        // O4: does the owner go on?
        let before = self.out.owner_slot;
        for (k, mailbox) in i.mailbox.iter().enumerate() {
            let mine = u16::from(k == 0) * slot::A + u16::from(k == 1) * slot::B;
            if before != mine {
                continue;
            }
            if !self.slots[k].alive && !self.has(Defect::HeartbeatIgnored) {
                // A request that outlived its heartbeat is used up, whatever its number.
                self.slots[k].done = mailbox.request;
                self.leave(end::HEARTBEAT);
            } else if mailbox.request != self.out.granted {
                self.leave(end::RELEASED);
            }
        }
        // O5: a grant, if there was no owner when this call began.
        if before == slot::NONE {
            if self.asks(0, i) {
                self.grant(slot::A, 0, i);
            } else if self.asks(1, i) {
                self.grant(slot::B, 1, i);
            }
        } else if self.has(Defect::SecondOwner) {
            let other = usize::from(before == slot::A);
            if self.asks(other, i) {
                self.grant(if other == 0 { slot::A } else { slot::B }, other, i);
            }
        }
        self.out
    }

    fn asks(&self, k: usize, i: &Inputs) -> bool {
        let (slot, mailbox) = (&self.slots[k], &i.mailbox[k]);
        mailbox.request != 0 && mailbox.request != slot.done && slot.alive
    }

    fn grant(&mut self, to: u16, k: usize, i: &Inputs) {
        let mailbox = &i.mailbox[k];
        self.slots[k].done = mailbox.request;
        if !self.has(Defect::EpochStuck) || self.out.epoch_now == 0 {
            self.out.epoch_now =
                if self.out.epoch_now == u32::MAX { 1 } else { self.out.epoch_now + 1 };
        }
        self.out.owner_alive = true;
        self.out.owner_slot = to;
        self.out.owner_node = mailbox.node_id;
        self.out.granted = mailbox.request;
        self.out.end_reason = end::NONE;
    }

    fn leave(&mut self, why: u16) {
        self.out.owner_alive = false;
        self.out.owner_slot = slot::NONE;
        self.out.owner_node = 0;
        self.out.granted = 0;
        self.out.end_reason = why;
    }
}
