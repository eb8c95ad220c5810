//! The write ledger: what became of every approved write, and what a register holds.
//!
//! ```text
//! IDLE -> SENT -> ACKNOWLEDGED -> CONFIRMED -> PROVEN | UNPROVEN
//!           |          +- still the old value at the deadline -> NOT_TAKEN (twice: trip)
//!           |          +- part of the way, and stands there  -> MISMATCH, adopted (51: trip)
//!           |          +- anywhere else at the deadline        -> MISMATCH, a person's change
//!           +- refused, not sent -> IDLE + event
//!           +- no answer -> UNKNOWN -> read back -> CONFIRMED | NOT_TAKEN | MISMATCH
//! ```
//!
//! A retry is never a blind resend: the controller proposes again and the guard decides again.

use crate::guard::ApprovedWrite;
use crate::plan::{Rate, SetpointPlan};
use crate::record::LedgerRow;
use crate::scan::{Ack, AckResult};
use crate::slip::{Slip, slips};
use crate::time::{Mono, Process, Span};
use crate::unit::{Stand, Ticks};

/// Where a write stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Handed to the shell.
    Sent,
    /// The server answered Good; the register is not read back yet.
    Acknowledged,
    /// No answer: perhaps written. Counts as written until the register is read.
    Unknown,
    /// The register holds it.
    Confirmed,
    /// The process followed.
    Proven,
    /// The process did not follow within the effect window.
    Unproven,
    /// Refused by the server, with this OPC UA status.
    Refused(u32),
    /// Never left the house.
    NotSent,
    /// The register still holds the old value.
    NotTaken,
    /// The register holds something else.
    Mismatch,
}

/// A foreign value must stand this long before it counts as somebody's change: a notification
/// from before our write may still be under way [link time].
const FOREIGN_AFTER: Span = Span::from_millis(250);
/// Writes in a row that may end short of their target before the loop trips.
const SHORT_MAX: u8 = 50;
/// Moves remembered for budget and rate; a full memory counts as an exhausted budget.
const MOVES: usize = crate::plan::BUDGET_MAX as usize;

/// A register as read back in this scan: Good and fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBack {
    /// Where it stands.
    pub stand: Stand,
    /// When it was received.
    pub received: Mono,
}

/// What a register told when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The pending write is in the register.
    Confirmed,
    /// It is not, at the deadline; `true` = for the second time running.
    NotTaken(bool),
    /// It went part of the way, and was adopted; `true` = too often running.
    Mismatch(bool),
    /// Somebody else changed an idle register.
    Foreign(Ticks),
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    write: u64,
    from: Stand,
    to: Ticks,
    issued: Mono,
    fate: Fate,
    /// Place last seen, and since when.
    stands: Option<(Stand, Mono)>,
}

/// A write that was given up, and may still be applied late.
#[derive(Clone, Copy, Debug)]
struct Late {
    to: Ticks,
    until: Mono,
    /// Whether the register holding it then would be our doing; not after somebody else's change.
    ours: bool,
    /// The PLC answered, moved and stood still: no reason to wait for more.
    answered: bool,
}

/// One setpoint register and the newest write to it.
#[derive(Clone, Debug)]
pub struct Register {
    believed: Option<Stand>,
    previous: Option<Stand>,
    late: Option<Late>,
    pending: Option<Pending>,
    failures: u8,
    foreign_since: Option<Mono>,
    row: Option<LedgerRow>,
    moves: [(Process, Ticks); MOVES],
    made: usize,
    started: Process,
}

impl Register {
    /// A register nobody has read yet. `started`: process time from which rates are counted.
    pub const fn new(started: Process) -> Self {
        Self {
            believed: None,
            previous: None,
            late: None,
            pending: None,
            failures: 0,
            foreign_since: None,
            row: None,
            moves: [(Process::from_nanos(0), Ticks::ZERO); MOVES],
            made: 0,
            started,
        }
    }

    /// Books an approved write as sent.
    ///
    /// - `from`: where the register stood when the write was approved.
    pub fn issue(
        &mut self,
        write: &ApprovedWrite,
        from: Stand,
        desired: f64,
        now: Process,
    ) -> LedgerRow {
        self.pending = Some(Pending {
            write: write.seq(),
            from,
            to: write.to(),
            issued: write.issued(),
            fate: Fate::Sent,
            stands: None,
        });
        let distance = from.distance(write.to());
        if let Some(slot) = self.moves.get_mut(self.made % MOVES) {
            *slot = (now, distance);
        }
        self.made += 1;
        let row = LedgerRow {
            write: write.seq(),
            setpoint: write.setpoint(),
            desired,
            limited: write.to(),
            sent: write.to(),
            issued: write.issued(),
            acknowledged: None,
            read_back: None,
            confirmed: None,
            fate: Fate::Sent,
        };
        self.row = Some(row);
        row
    }

    /// Takes the answer to the pending write; `None` when it is not about that one.
    pub fn answer(&mut self, ack: &Ack) -> Option<LedgerRow> {
        let pending = self.pending.as_mut().filter(|p| p.write == ack.write)?;
        let fate = match ack.result {
            AckResult::Good => Fate::Acknowledged,
            AckResult::Unknown => Fate::Unknown,
            AckResult::Refused(status) => Fate::Refused(status),
            AckResult::NotSent => Fate::NotSent,
        };
        pending.fate = fate;
        if matches!(fate, Fate::Refused(_) | Fate::NotSent) {
            self.pending = None;
        }
        self.enter(fate, |row| row.acknowledged = Some(ack.at))
    }

    /// Looks at the register. `None` for `read` = not readable now: nothing can be concluded.
    ///
    /// - `ours`: a foreign value is adopted without a finding while this is `false` (another
    ///   product is being set up, or nobody has taken the loop yet).
    pub fn observe(
        &mut self,
        limits: &SetpointPlan,
        read: Option<ReadBack>,
        now: Mono,
        ours: bool,
    ) -> Option<(Finding, Option<LedgerRow>)> {
        let read = read?;
        if self.late.is_some_and(|late| now > late.until) {
            self.late = None;
        }
        if let Some(pending) = self.pending {
            return self.settle(limits, pending, read, now);
        }
        let Some(believed) = self.believed else {
            self.believed = Some(read.stand);
            return self.resolve_lost(read);
        };
        if read.stand == believed {
            self.foreign_since = None;
            return None;
        }
        if self.late.is_some_and(|late| late.ours && read.stand.is(late.to)) {
            // The PLC applied a write after its deadline. It was permitted, and it is ours.
            self.adopt(read.stand);
            return None;
        }
        // A change that a person made before the binding broke stays his.
        if !ours && self.foreign_since.is_none() {
            self.adopt(read.stand);
            return None;
        }
        let since = *self.foreign_since.get_or_insert(now);
        let patience =
            if self.previous == Some(read.stand) { limits.confirm } else { FOREIGN_AFTER };
        if now - since < patience {
            return None;
        }
        self.adopt(read.stand);
        Some((Finding::Foreign(read.stand.nearest()), None))
    }

    /// The first look after a lost session tells what became of the write that was under way.
    fn resolve_lost(&mut self, read: ReadBack) -> Option<(Finding, Option<LedgerRow>)> {
        let row = self.row.filter(|row| row.fate == Fate::Unknown)?;
        let taken = read.stand.is(row.sent);
        let fate = if taken { Fate::Confirmed } else { Fate::NotTaken };
        let row = self.enter(fate, |row| {
            row.read_back = Some(read.stand.nearest());
            row.confirmed = taken.then_some(read.received);
        });
        Some((if taken { Finding::Confirmed } else { Finding::NotTaken(false) }, row))
    }

    fn settle(
        &mut self,
        limits: &SetpointPlan,
        pending: Pending,
        read: ReadBack,
        now: Mono,
    ) -> Option<(Finding, Option<LedgerRow>)> {
        if read.stand.is(pending.to) && read.received >= pending.issued {
            self.failures = 0;
            self.previous = Some(pending.from);
            self.close(read.stand);
            let row = self.enter(Fate::Confirmed, |row| {
                row.read_back = Some(pending.to);
                row.confirmed = Some(read.received.max(pending.issued));
            });
            return Some((Finding::Confirmed, row));
        }
        let (low, high) = (pending.from.low().min(pending.to), pending.from.high().max(pending.to));
        let between = low <= read.stand.low() && read.stand.high() <= high;
        let taken = read.stand != pending.from;
        let since = match pending.stands {
            Some((stand, since)) if stand == read.stand => since,
            _ => now,
        };
        if let Some(pending) = &mut self.pending {
            pending.stands = Some((read.stand, since));
        }
        // A PLC that clamps or shortens a move stands still part of the way.
        let short =
            pending.fate == Fate::Acknowledged && taken && between && now - since >= FOREIGN_AFTER;
        if !short && now - pending.issued < limits.confirm {
            return None;
        }
        let unanswered =
            matches!(pending.fate, Fate::Sent | Fate::Unknown) && !slips(Slip::BlindRetry);
        // Without so much as "no answer" we know it at the deadline.
        let told = self.row.and_then(|row| row.acknowledged);
        let told = told.unwrap_or(pending.issued + limits.confirm);
        if unanswered && (read.received <= pending.issued || read.received < told) {
            // No answer, and no look at the register since we know that: it stays unknown, and
            // nothing moves. What came while the call was under way may be from before the write.
            return None;
        }
        // A PLC may clamp or ramp: part of the way is adopted, but not for ever.
        let patience = if taken { SHORT_MAX } else { 1 };
        let again = self.failures >= patience;
        self.failures = self.failures.saturating_add(1);
        self.close(read.stand);
        let until = now + limits.confirm;
        self.late = Some(Late { to: pending.to, until, ours: true, answered: short });
        let fate = if taken { Fate::Mismatch } else { Fate::NotTaken };
        let row = self.enter(fate, |row| row.read_back = Some(read.stand.nearest()));
        let finding = if taken && !between {
            // No clamp or ramp of the PLC ends there: a person set it while our write was under way.
            self.adopt(read.stand);
            Finding::Foreign(read.stand.nearest())
        } else if taken {
            Finding::Mismatch(again)
        } else {
            Finding::NotTaken(again)
        };
        Some((finding, row))
    }

    fn close(&mut self, holds: Stand) {
        self.pending = None;
        self.believed = Some(holds);
        self.foreign_since = None;
    }

    /// Takes the value as it stands for the one to work from.
    pub fn adopt(&mut self, stand: Stand) {
        self.believed = Some(stand);
        self.previous = None;
        if let Some(late) = &mut self.late {
            late.ours = false;
        }
        self.failures = 0;
        self.foreign_since = None;
    }

    /// A person has looked at a trip: the next failure is the first again.
    pub const fn forgive(&mut self) {
        self.failures = 0;
    }

    /// Another product was set up: whatever the register holds next is the value to work from.
    pub const fn rebase(&mut self) {
        if self.pending.is_none() {
            self.believed = None;
            self.foreign_since = None;
        }
    }

    /// Session lost: a pending write is unknown, and whatever is read next is adopted.
    pub fn link_lost(&mut self) -> Option<LedgerRow> {
        self.believed = None;
        self.previous = None;
        self.late = None;
        self.foreign_since = None;
        self.failures = 0;
        self.pending.take()?;
        self.enter(Fate::Unknown, |_| ())
    }

    /// Ends the effect watch of the newest write.
    pub fn prove(&mut self, proven: bool) -> Option<LedgerRow> {
        self.row.filter(|row| row.fate == Fate::Confirmed)?;
        self.enter(if proven { Fate::Proven } else { Fate::Unproven }, |_| ())
    }

    fn enter(&mut self, fate: Fate, change: impl FnOnce(&mut LedgerRow)) -> Option<LedgerRow> {
        let row = self.row.as_mut()?;
        row.fate = fate;
        change(row);
        Some(*row)
    }

    /// Whether the register holds what was last written or adopted, with nothing under way.
    pub fn unchanged(&self, stand: Stand) -> bool {
        self.believed == Some(stand)
    }

    /// Books the newest move as of now while it is under way, or may still be applied: it reaches
    /// the register at some time up to its read-back, and dwell and rate count from the latest.
    ///
    /// - `now`: process time, moved on by what the read-back's own stamp is ahead of the PLC clock.
    pub fn stamp(&mut self, now: Process) {
        let late = self.late.is_some_and(|late| !late.answered);
        let under_way = self.pending.is_some() || late;
        if under_way
            && let Some(newest) = self.made.checked_sub(1)
            && let Some((at, _)) = self.moves.get_mut(newest % MOVES)
        {
            *at = now;
        }
    }

    /// Whether no write awaits its read-back.
    pub const fn idle(&self) -> bool {
        self.pending.is_none()
    }

    /// The newest write and where it stands.
    pub const fn newest(&self) -> Option<&LedgerRow> {
        self.row.as_ref()
    }

    /// The lowest and highest value that the register may hold, given what is read: its own
    /// place, and the target of a write that is pending or was given up and may still be applied.
    pub fn may_hold(&self, read: Option<Stand>) -> Option<(Ticks, Ticks)> {
        let read = read?;
        let coming = self.pending.map(|p| p.to).into_iter().chain(self.late.map(|l| l.to));
        let range = (read.low(), read.high());
        Some(coming.fold(range, |(low, high), to| (low.min(to), high.max(to))))
    }

    /// Process time since the last write, or since the start when there was none.
    pub fn since_write(&self, now: Process) -> Span {
        match self.newest_moves().next() {
            Some(&(at, _)) => now - at,
            None => now - self.started,
        }
    }

    /// Writes made within the last `per`, both ends included.
    pub fn writes_within(&self, per: Span, now: Process) -> u32 {
        let count = self.newest_moves().take_while(|(at, _)| now - *at <= per).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Ticks moved within the window of a rate, both ends included.
    pub fn moved_within(&self, rate: Rate, now: Process) -> Ticks {
        let mut sum = Ticks::ZERO;
        let mut count = 0;
        for (_, distance) in self.newest_moves().take_while(|(at, _)| now - *at <= rate.per) {
            sum = sum + *distance;
            count += 1;
        }
        // Older moves of this window may have been forgotten.
        if count == MOVES { Ticks::new(i64::MAX) } else { sum }
    }

    /// What tells two registers apart where neither rate nor budget asks for older moves.
    #[cfg(test)]
    pub(crate) fn digest(&self, digest: &mut crate::properties::explore::digest::Digest) {
        let Self { believed, previous, late, pending, failures, foreign_since, row, .. } = self;
        digest.add(&(believed, previous, late, pending, failures, foreign_since, row));
        digest.add(&(self.made == 0).then_some(self.started));
        self.newest_moves().take(1).for_each(|made| digest.add(made));
    }

    fn newest_moves(&self) -> impl Iterator<Item = &(Process, Ticks)> {
        let kept = self.made.min(MOVES);
        (1..=kept).filter_map(move |back| self.moves.get((self.made - back) % MOVES))
    }
}
