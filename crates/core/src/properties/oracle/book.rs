//! The oracle's book of one register.

use alloc::vec::Vec;

use crate::guard::ApprovedWrite;
use crate::plan::SetpointPlan;
use crate::scan::{Ack, AckResult};
use crate::time::{Mono, Span};
use crate::unit::Ticks;

/// A register as read back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    /// The nearest tick.
    pub(super) ticks: Ticks,
    /// Where it really stands [ticks].
    pub(super) exact: f64,
    pub(super) on_grid: bool,
    pub(super) received: Mono,
}

impl Read {
    fn is(self, ticks: Ticks) -> bool {
        self.on_grid && self.ticks == ticks
    }
}

/// A value that a PLC holds part of the way for so long is where it stopped.
const STANDS: Span = Span::from_millis(250);

/// A write whose fate is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    seq: u64,
    /// Where the register stood [ticks].
    from: f64,
    /// Value last seen, and since when.
    stands: Option<(f64, Mono)>,
    pub(super) to: Ticks,
    issued: Mono,
    /// The server answered Good.
    answered: bool,
    /// When the answer came, whatever it was.
    told: Option<Mono>,
}

#[derive(Clone, Debug)]
pub(super) struct SetpointBook {
    /// The place [ticks] from which trimloop may go on; anything else is somebody's change.
    basis: Option<f64>,
    /// Another value was seen while the bindings held.
    foreign: bool,
    pub(super) open: Option<Open>,
    /// A write that was given up, and until when it may still be applied.
    late: Option<(Ticks, Mono)>,
    /// Process time [ns] and true distance [ticks] of every write.
    moves: Vec<(i64, f64)>,
    pub(super) confirmed: u64,
}

impl SetpointBook {
    pub(super) const NEW: Self = Self {
        basis: None,
        foreign: false,
        open: None,
        late: None,
        moves: Vec::new(),
        confirmed: 0,
    };

    pub(super) fn end_session(&mut self) {
        self.basis = None;
        self.foreign = false;
        self.open = None;
        self.late = None;
    }

    /// A person raises the loop and sees this value.
    pub(super) fn adopt(&mut self, read: Option<Read>) {
        self.basis = read.map(|r| r.exact);
        self.foreign = false;
    }

    /// Another product ran: whatever is read next is its value.
    pub(super) fn rebase(&mut self) {
        if self.open.is_none() {
            self.basis = None;
            self.foreign = false;
        }
    }

    /// Follows answers and read-back of one scan.
    pub(super) fn look(
        &mut self,
        limits: &SetpointPlan,
        acks: &[Ack],
        read: Option<Read>,
        now: Mono,
        elsewhere: bool,
    ) {
        for ack in acks {
            let Some(open) = self.open.as_mut().filter(|o| o.seq == ack.write) else { continue };
            open.told = Some(ack.at);
            match ack.result {
                AckResult::Good => open.answered = true,
                AckResult::Unknown => open.answered = false,
                AckResult::Refused(_) | AckResult::NotSent => self.open = None,
            }
        }
        if self.late.is_some_and(|(_, until)| now > until) {
            self.late = None;
        }
        let Some(read) = read else { return };
        if let Some(open) = self.open {
            self.settle(open, limits.confirm, read, now);
            return;
        }
        let late = self.late.is_some_and(|(to, _)| read.is(to));
        if self.basis.is_none() || late {
            self.adopt(Some(read));
        }
        if self.ours(read) {
            self.foreign = false;
        } else if elsewhere && !self.foreign {
            self.adopt(Some(read));
        } else {
            self.foreign = true;
        }
    }

    fn settle(&mut self, mut open: Open, confirm: Span, read: Read, now: Mono) {
        if read.is(open.to) && read.received >= open.issued {
            self.open = None;
            self.adopt(Some(read));
            self.confirmed += 1;
            return;
        }
        let to = open.to.count() as f64;
        // A PLC that clamps may round as well.
        let (low, high) = (libm::floor(open.from).min(to), libm::ceil(open.from).max(to));
        let between = read.exact >= low && read.exact <= high;
        let since = open.stands.filter(|(at, _)| *at == read.exact).map_or(now, |(_, since)| since);
        open.stands = Some((read.exact, since));
        self.open = Some(open);
        let part_way = open.answered && between && read.exact != open.from;
        let over = now - open.issued >= confirm || (part_way && now - since >= STANDS);
        // Without any answer, that is known at the deadline.
        let told = open.told.unwrap_or(open.issued + confirm);
        let old = read.received <= open.issued || read.received < told;
        if !over || (!open.answered && old) {
            return;
        }
        self.open = None;
        self.late = Some((open.to, now + confirm));
        // A PLC may stop halfway; anything beyond is a person's.
        if between {
            self.adopt(Some(read));
        }
    }

    pub(super) fn ours(&self, read: Read) -> bool {
        self.basis == Some(read.exact)
    }

    /// What the register may hold or come to hold besides what is read.
    pub(super) fn under_way(&self) -> impl Iterator<Item = Ticks> + '_ {
        let open = self.open.iter().map(|o| o.to);
        open.chain(self.late.iter().map(|(to, _)| *to))
    }

    pub(super) fn write(&mut self, write: &ApprovedWrite, from: f64, process: i64) {
        self.open = Some(Open {
            seq: write.seq(),
            from,
            to: write.to(),
            stands: None,
            issued: write.issued(),
            answered: false,
            told: None,
        });
        self.moves.push((process, libm::fabs(write.to().count() as f64 - from)));
    }

    /// Process time [ns] of the last write.
    pub(super) fn last(&self) -> Option<i64> {
        self.moves.last().map(|(at, _)| *at)
    }

    /// Writes and distance within the window that ends now, its far end included.
    pub(super) fn within(&self, per: Span, process: i64) -> (u64, f64) {
        let inside = |(at, _): &&(i64, f64)| process - at <= per.as_nanos();
        let newest = self.moves.iter().rev().take_while(inside);
        newest.fold((0, 0.0), |(n, sum), (_, distance)| (n + 1, sum + distance))
    }
}
