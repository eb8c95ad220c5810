//! The judge: watches the wire, the registers, what goes into the core and what comes out of it.
//!
//! It keeps its own books and believes neither the link nor the core. What must hold:
//!
//! - W1 A setpoint is written only when the core has just decided it, once, with that value.
//! - W2 Not older than its TTL when it is handed to the network.
//! - W3 On the session, and in the epoch, in which it was decided; never after news of a loss.
//! - W4 Heartbeats only while the link is up.
//! - D1 A person raised the loop in this epoch, and approved the move where that is asked.
//! - D2 The link is up and the PLC was heard within `stale_after`.
//! - D3 The register was read in this epoch, Good, and stands where we left or adopted it.
//! - D4 The PLC's enable is Good and true, as last told.
//! - D5 Inside limits, trim and step, from the last read-back.
//! - D6 The write before was answered Good or refused, or its register was read since it was handed
//!   over; the ledger has settled it. Known limits: where `confirmed` and Good are looked at.
//! - F1 Each write gets one answer, in time, and the answer is true.
//! - F2 After Good or Unknown the register is read at once, while the session stands.
//! - W5 Nothing is written to another server than the one that was met first.
//! - C1 No call has more items than the PLC config allows.
//! - L1 Attempts to connect and sessions on the server are bounded; a stop closes the session.
//! - L2 After the last fault the link is live again, and every tag fresh.
//! - L3 A link that hears nothing is not called up.

use std::collections::{BTreeMap, VecDeque};

use opcua::types::{StatusCode, WriteValue};
use trimloop_core::event::What;
use trimloop_core::ledger::Fate;
use trimloop_core::mode::Mode;
use trimloop_core::plan::Plan;
use trimloop_core::record::{LedgerRow, Record};
use trimloop_core::scan::{Ack, AckResult, Command, Link};
use trimloop_core::tag::{Sample, Status, Value};
use trimloop_core::unit::Ticks;

use super::kit::{ENABLE, Kit, SETPOINTS};
use super::world::{Look, Ms};
use crate::dispatch::Seen;
use crate::intake::{Batch, Intake};

/// A write is answered within its own deadline of 1 s, whatever delay before the link, and this.
const ANSWER_MAX: Ms = 1500;
/// Attempts to find or to enter the server in any second, for each of its addresses.
const ATTEMPTS_MAX: usize = 14;
/// A subscription that is silent for so long has been given up.
const SILENCE_MAX: Ms = 3000;
/// Sessions that the server may hold at a time for one link, for each of its addresses; lost ones
/// live 30 s.
const SESSIONS_MAX: usize = 10;

/// What a run saw happen, so that nothing is proved by its absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) issued: u64,
    pub(super) handed: u64,
    pub(super) good: u64,
    pub(super) refused: u64,
    pub(super) not_sent: u64,
    pub(super) unknown: u64,
    pub(super) confirmed: u64,
    pub(super) not_taken: u64,
    pub(super) mismatch: u64,
    pub(super) foreign: u64,
    pub(super) epochs: u64,
    pub(super) services: u64,
    pub(super) approved: u64,
    pub(super) beats: u64,
    pub(super) late: u64,
    pub(super) sessions: u64,
    pub(super) attempts: u64,
    pub(super) switches: u64,
    pub(super) impostors: u64,
    pub(super) halved: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.issued += other.issued;
        self.handed += other.handed;
        self.good += other.good;
        self.refused += other.refused;
        self.not_sent += other.not_sent;
        self.unknown += other.unknown;
        self.confirmed += other.confirmed;
        self.not_taken += other.not_taken;
        self.mismatch += other.mismatch;
        self.foreign += other.foreign;
        self.epochs += other.epochs;
        self.services += other.services;
        self.approved += other.approved;
        self.beats += other.beats;
        self.late += other.late;
        self.sessions = self.sessions.max(other.sessions);
        self.attempts = self.attempts.max(other.attempts);
        self.switches += other.switches;
        self.impostors += other.impostors;
        self.halved += other.halved;
    }
}

/// A write that the core decided.
#[derive(Clone, Copy, Debug)]
struct Issued {
    seq: u64,
    setpoint: usize,
    to: Ticks,
    at: Ms,
    epoch: u64,
    /// Session object, and how often it had been lost.
    session: (usize, u32),
    handed: Option<usize>,
    ack: Option<AckResult>,
    /// When the core heard.
    told: Option<Ms>,
    /// When the dispatcher passed it on.
    passed: Option<Ms>,
    read: bool,
    /// The ledger has settled it.
    closed: bool,
    /// By a look that showed its value. Known limit: that look may be older than the write when
    /// the register held the same value before.
    confirmed: bool,
}

/// A write on the wire.
#[derive(Clone, Copy, Debug)]
struct Handed {
    at: Ms,
    /// There was no connection: it never left.
    dead: bool,
    answer: Option<StatusCode>,
    applied: bool,
    /// The service that answers for it has gone.
    orphan: bool,
    seq: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Book {
    /// Value as last taken into a scan of this epoch, and whether it was Good.
    look: Option<(f64, bool)>,
    /// When the newest look that the client has was taken on the server.
    taken: Ms,
    /// The same, once it is in a scan.
    seen: Ms,
    /// Where we left or adopted the register.
    settled: Option<f64>,
    /// What may still be applied late, and until when that is ours.
    late: Option<(f64, Ms)>,
    owned: bool,
    raised: Option<Mode>,
    asked: Ms,
}

pub(super) struct Oracle {
    plan: Plan,
    /// The first thing that was wrong.
    pub(super) broken: Option<String>,
    pub(super) tally: Tally,
    intake: Option<Intake>,
    link: Link,
    enable: Option<bool>,
    books: Vec<Book>,
    commands: BTreeMap<u64, Command>,
    issued: Vec<Issued>,
    handed: Vec<Handed>,
    current: usize,
    losses: Vec<u32>,
    told: Option<Ms>,
    attempts: VecDeque<Ms>,
    addresses: usize,
}

impl Oracle {
    pub(super) fn new(kit: &Kit) -> Self {
        Self {
            plan: kit.plan.clone(),
            broken: None,
            tally: Tally::default(),
            intake: None,
            link: Link::default(),
            enable: None,
            books: vec![Book::default(); kit.plan.setpoints.len()],
            commands: BTreeMap::new(),
            issued: Vec::new(),
            handed: Vec::new(),
            current: 0,
            losses: Vec::new(),
            told: None,
            attempts: VecDeque::new(),
            addresses: kit.addresses(),
        }
    }

    pub(super) fn fail(&mut self, why: String) {
        self.broken.get_or_insert(why);
    }

    fn must(&mut self, holds: bool, why: impl FnOnce() -> String) {
        if !holds {
            self.fail(why());
        }
    }

    // What the network tells.

    pub(super) fn attempt(&mut self, now: Ms) {
        self.attempts.push_back(now);
        self.attempts.retain(|at| now - at < 1000);
        let count = self.attempts.len();
        self.tally.attempts = self.tally.attempts.max(count as u64);
        let most = ATTEMPTS_MAX * self.addresses;
        self.must(count <= most, || format!("L1: {count} attempts within a second"));
    }

    pub(super) fn sessions(&mut self, open: usize) {
        self.tally.sessions = self.tally.sessions.max(open as u64);
        let most = SESSIONS_MAX * self.addresses;
        self.must(open <= most, || format!("L1: {open} sessions on the server"));
    }

    /// A call with so many items goes to the transport, and so many are allowed.
    pub(super) fn call(&mut self, kind: &str, items: usize, most: usize) {
        self.must(items <= most, || format!("C1: {items} items in one {kind}, {most} at most"));
    }

    pub(super) fn opened(&mut self, conn: usize) {
        self.current = conn;
        self.losses.resize(conn + 1, 0);
        self.told = None;
    }

    pub(super) fn lost(&mut self, conn: usize) {
        self.losses[conn] += 1;
        if conn == self.current {
            self.told = None;
        }
    }

    pub(super) fn told(&mut self, now: Ms, conn: usize, looks: &[Look]) {
        if conn == self.current {
            self.told = Some(now);
        }
        self.looked(looks);
    }

    pub(super) fn looked(&mut self, looks: &[Look]) {
        for look in looks {
            let book = &mut self.books[look.setpoint];
            book.taken = book.taken.max(look.taken);
        }
    }

    pub(super) fn read_asked(&mut self, now: Ms, setpoint: usize) {
        self.books[setpoint].asked = now;
    }

    /// A write call is handed to the transport. `told`: node and number; `up`: over a connection.
    pub(super) fn hand_over(
        &mut self,
        now: Ms,
        conn: usize,
        values: &[WriteValue],
        told: Option<(usize, f64)>,
        up: bool,
    ) -> Option<usize> {
        let link = self.intake.as_ref().map(Intake::link).unwrap_or_default();
        let Some((node, value)) = told else {
            self.fail(format!("W1: not one bare value: {values:?}"));
            return None;
        };
        let Some(setpoint) = node.checked_sub(SETPOINTS).filter(|at| *at < self.books.len()) else {
            self.tally.beats += 1;
            self.must(link.up, || format!("W4: a heartbeat without a link, node {node}"));
            return None;
        };
        self.tally.handed += 1;
        let open =
            |i: &&mut Issued| i.setpoint == setpoint && i.handed.is_none() && i.ack.is_none();
        let losses = self.losses[conn];
        let grid = self.plan.setpoints[setpoint].grid;
        let ttl = self.plan.setpoints[setpoint].ttl.as_millis().unsigned_abs();
        let number = self.handed.len();
        // A write that was held back may come after the one that followed it.
        let same = |i: &Issued| grid.nearest(value) == Some(i.to);
        let mut newest = self.issued.iter_mut().rev().filter(|i| open(i)).collect::<Vec<_>>();
        let exact = newest.iter().position(|i| same(i)).unwrap_or(0);
        let Some(issued) = newest.get_mut(exact) else {
            self.fail(format!("W1: {value} to setpoint {setpoint} was not decided, or sent twice"));
            return None;
        };
        issued.handed = Some(number);
        let issued = **issued;
        let dead = !up;
        self.handed.push(Handed {
            at: now,
            dead,
            answer: None,
            applied: false,
            orphan: false,
            seq: issued.seq,
        });
        self.must(same(&issued), || format!("W1: {value} instead of {issued:?}"));
        let age = now - issued.at;
        self.must(age <= ttl, || format!("W2: {age} ms old, TTL {ttl} ms: {issued:?}"));
        let here = issued.session == (conn, losses);
        self.must(here, || format!("W3: on session {conn} after {losses} losses: {issued:?}"));
        let epoch = link.up && link.epoch == issued.epoch;
        self.must(epoch, || format!("W3: in {link:?}: {issued:?}"));
        Some(number)
    }

    pub(super) fn answered(&mut self, wrote: usize, status: Option<StatusCode>) {
        self.handed[wrote].answer = status;
    }

    pub(super) fn applied(&mut self, wrote: usize) {
        self.handed[wrote].applied = true;
        if let Some(issued) = self.issued.iter().find(|i| i.handed == Some(wrote)).copied() {
            if issued.told.is_some() {
                self.tally.late += 1;
            }
            self.true_so_far(&issued);
        }
    }

    /// F1: what was called refused or not sent is never applied.
    fn true_so_far(&mut self, issued: &Issued) {
        let handed = issued.handed.map(|at| self.handed[at]);
        let says_no = matches!(issued.ack, Some(AckResult::NotSent | AckResult::Refused(_)));
        let lie = says_no && handed.is_some_and(|h| h.applied);
        self.must(!lie, || format!("F1: applied all the same: {issued:?}"));
    }

    // What the service does.

    pub(super) fn service_starts(&mut self, intake: &Intake) {
        self.intake = Some(intake.clone());
        self.tally.services += 1;
        self.link = Link::default();
        self.enable = None;
        self.books.fill(Book::default());
        self.commands.clear();
        self.issued.clear();
        for handed in &mut self.handed {
            handed.orphan = true;
        }
    }

    pub(super) fn ordered(&mut self, id: u64, command: Command) {
        self.commands.insert(id, command);
    }

    pub(super) fn passed(&mut self, now: Ms, seq: u64) {
        if let Some(issued) = self.issued.iter_mut().find(|i| i.seq == seq) {
            issued.passed = Some(now);
        }
    }

    /// One scan has been made.
    pub(super) fn scan(&mut self, now: Ms, batch: &Batch, seen: &[Seen]) {
        let link = batch.links[0];
        if link.up != self.link.up || link.epoch != self.link.epoch {
            self.tally.epochs += u64::from(link.up);
            self.enable = None;
            for book in &mut self.books {
                *book = Book { taken: book.taken, asked: book.asked, ..Book::default() };
            }
        }
        self.link = link;
        for ack in &batch.acks {
            self.hear(now, ack);
        }
        for sample in &batch.changes {
            self.take(sample);
        }
        for (at, book) in self.books.iter_mut().enumerate() {
            let newest = self.issued.iter().rev().find(|i| i.setpoint == at);
            let no = |i: &Issued| matches!(i.ack, Some(AckResult::Refused(_) | AckResult::NotSent));
            let idle = newest.is_none_or(|i| i.closed || no(i));
            // A write that was given up and came to pass all the same is ours for a while.
            if let (Some((to, until)), Some((value, true))) = (book.late, book.look)
                && same(to, value)
                && !book.settled.is_some_and(|settled| same(settled, value))
                && idle
                && now <= until
            {
                book.settled = Some(value);
                book.late = None;
            }
        }
        // An approval is reported after the row of the write that it allows.
        let approved = seen.iter().any(|seen| match seen {
            Seen::Event(_, event) => self.is_approval(event.what),
            _ => false,
        });
        for seen in seen {
            match seen {
                Seen::Event(_, event) => self.follow(event.what),
                Seen::Record(_, Record::Ledger(row)) => self.ledger(now, row, approved),
                _ => {}
            }
        }
        self.overdue(now);
    }

    fn hear(&mut self, now: Ms, ack: &Ack) {
        let Some(at) = self.issued.iter().position(|i| i.seq == ack.write) else {
            return self.fail(format!("F1: an answer to a write that nobody made: {ack:?}"));
        };
        let before = self.issued[at];
        self.must(before.ack.is_none(), || format!("F1: a second answer {ack:?}: {before:?}"));
        self.issued[at].ack = Some(ack.result);
        self.issued[at].told = Some(now);
        let issued = self.issued[at];
        let handed = issued.handed.map(|at| self.handed[at]);
        match ack.result {
            AckResult::Good => {
                self.tally.good += 1;
                let good = handed.and_then(|h| h.answer).is_some_and(|status| status.is_good());
                self.must(good, || format!("F1: nobody said Good: {issued:?} {handed:?}"));
            }
            AckResult::Refused(_) => {
                self.tally.refused += 1;
                self.must(handed.is_some(), || format!("F1: refused unsent: {issued:?}"));
            }
            AckResult::NotSent => {
                self.tally.not_sent += 1;
                let unsent = handed.is_none_or(|h| h.dead);
                self.must(unsent, || format!("F1: it was sent: {issued:?} {handed:?}"));
            }
            AckResult::Unknown => {
                self.tally.unknown += 1;
                self.must(handed.is_some(), || format!("F1: unknown, unsent: {issued:?}"));
            }
        }
        self.true_so_far(&issued);
    }

    fn take(&mut self, sample: &Sample) {
        let good = sample.status == Status::Good;
        let tag = sample.tag.index();
        if tag == ENABLE {
            self.enable = Some(good && sample.value.and_then(Value::as_i64) == Some(1));
        }
        if let Some(book) = tag.checked_sub(SETPOINTS).and_then(|at| self.books.get_mut(at)) {
            let value = sample.value.map_or(f64::NAN, Value::as_f64);
            book.look = Some((value, good && value.is_finite()));
            book.seen = book.taken;
        }
    }

    fn is_approval(&self, what: What) -> bool {
        let What::OrderDone(id) = what else { return false };
        matches!(self.commands.get(&id), Some(Command::Approve { .. }))
    }

    fn follow(&mut self, what: What) {
        match what {
            What::OrderDone(id) => match self.commands.remove(&id) {
                Some(Command::SetMode(id, mode)) => {
                    let book = &mut self.books[id.index()];
                    if mode >= Mode::Advisory && !book.owned {
                        book.owned = true;
                        book.settled = book.look.map(|(value, _)| value);
                        book.late = None;
                    }
                    book.raised = (mode >= Mode::Advisory).then_some(mode);
                }
                Some(Command::TakeManual(id)) => {
                    let book = &mut self.books[id.index()];
                    book.owned = false;
                    book.raised = None;
                }
                Some(Command::Approve { .. }) => self.tally.approved += 1,
                _ => {}
            },
            What::ExternalChange(id, _) => {
                self.tally.foreign += 1;
                let book = &mut self.books[id.index()];
                book.owned = false;
                book.raised = None;
                book.late = None;
            }
            What::Latched(id, _) => self.books[id.index()].raised = None,
            _ => {}
        }
    }

    fn ledger(&mut self, now: Ms, row: &LedgerRow, approved: bool) {
        let at = row.setpoint.index();
        let limits = &self.plan.setpoints[at];
        let (grid, confirm) = (limits.grid, limits.confirm.as_millis().unsigned_abs());
        if matches!(row.fate, Fate::Confirmed | Fate::NotTaken | Fate::Mismatch)
            && let Some(issued) = self.issued.iter_mut().find(|i| i.seq == row.write)
        {
            issued.closed = true;
            issued.confirmed = row.fate == Fate::Confirmed;
        }
        match row.fate {
            Fate::Sent => self.decided(now, row, approved),
            Fate::Confirmed => {
                self.tally.confirmed += 1;
                self.books[at].settled = Some(grid.value(row.sent));
            }
            Fate::NotTaken | Fate::Mismatch => {
                self.tally.not_taken += u64::from(row.fate == Fate::NotTaken);
                self.tally.mismatch += u64::from(row.fate == Fate::Mismatch);
                let book = &mut self.books[at];
                book.settled = book.look.map(|(value, _)| value);
                book.late = Some((grid.value(row.sent), now + confirm));
            }
            _ => {}
        }
    }

    /// A write was decided in this scan.
    fn decided(&mut self, now: Ms, row: &LedgerRow, approved: bool) {
        self.tally.issued += 1;
        let at = row.setpoint.index();
        let book = self.books[at];
        let limits = self.plan.setpoints[at].clone();
        let link = self.link;
        let ttl = limits.ttl.as_millis().unsigned_abs();
        let what = format!("write {} of {:?} to setpoint {at}", row.write, row.sent);
        self.must(book.raised.is_some() && book.owned, || format!("D1: nobody raised it: {what}"));
        let asked = book.raised != Some(Mode::Advisory) || approved;
        self.must(asked, || format!("D1: nobody approved it: {what}"));
        let stale = self.plan.links[0].stale_after.as_millis().unsigned_abs();
        let told = self.told;
        let heard = link.up && told.is_some_and(|at| now - at <= stale);
        self.must(heard, || format!("D2: {link:?}, told {told:?}: {what}"));
        let Some((value, true)) = book.look else {
            return self.fail(format!("D3: the register is {:?}: {what}", book.look));
        };
        let stands = book.settled.is_some_and(|settled| same(settled, value));
        self.must(stands, || format!("D3: it was moved: {book:?}: {what}"));
        let enabled = self.plan.links[0].enable.is_none() || self.enable == Some(true);
        self.must(enabled, || format!("D4: not enabled: {what}"));
        let from = limits.grid.nearest(value).unwrap_or(Ticks::ZERO);
        let (to, trim) = (row.sent, (row.sent - limits.baseline).abs());
        let step = if to > from { limits.step_up } else { limits.step_down };
        let inside = to >= limits.low && to <= limits.high && trim <= limits.trim_max;
        let small = (to - from).abs() <= step;
        self.must(inside && small, || format!("D5: from {from:?}: {what}"));
        let before = self.issued.iter().rev().find(|i| i.setpoint == at).copied();
        if let Some(before) = before {
            let handed = before.handed.map(|at| self.handed[at]);
            let no = matches!(before.ack, Some(AckResult::Refused(_) | AckResult::NotSent));
            // After Good the fate is known. Known limit: the ledger may then call it not taken by
            // a look from before, when no read is answered until `confirm` is over.
            let good = before.ack == Some(AckResult::Good);
            let read = good || handed.is_some_and(|h| book.seen >= h.at);
            // Held back before the link for so long that it can no longer be sent.
            let old = now - before.at > ttl || before.epoch != link.epoch;
            let dead = handed.is_none() && old;
            let settled = before.closed || before.epoch != link.epoch;
            let known = no || (settled && (read || dead || before.confirmed));
            self.must(known, || format!("D6: {before:?} {handed:?}, then: {what}, {book:?}"));
        }
        let session = (self.current, self.losses.get(self.current).copied().unwrap_or(0));
        self.issued.push(Issued {
            seq: row.write,
            setpoint: at,
            to,
            at: now,
            epoch: link.epoch,
            session,
            handed: None,
            ack: None,
            told: None,
            passed: None,
            read: false,
            closed: false,
            confirmed: false,
        });
    }

    /// Answers and reads that should have come by now.
    fn overdue(&mut self, now: Ms) {
        let up = self.link.up && self.intake.as_ref().is_some_and(|intake| intake.link().up);
        let told = self.told;
        let silent = up && told.is_some_and(|at| now - at > SILENCE_MAX);
        self.must(!silent, || format!("L3: up, and nothing heard since {told:?}"));
        let link = self.intake.as_ref().map(Intake::link).unwrap_or_default();
        for at in 0..self.issued.len() {
            let issued = self.issued[at];
            if issued.ack.is_none() {
                let late = issued.passed.is_some_and(|passed| now - passed > ANSWER_MAX);
                self.must(!late, || format!("F1: no answer: {issued:?}"));
                continue;
            }
            let (Some(told), false) = (issued.told, issued.read) else { continue };
            let wanted = matches!(issued.ack, Some(AckResult::Good | AckResult::Unknown));
            let handed = issued.handed.map_or(0, |at| self.handed[at].at);
            let asked = self.books[issued.setpoint].asked >= handed.max(1);
            let session = (self.current, self.losses[self.current]);
            let stands = link.up && link.epoch == issued.epoch && session == issued.session;
            if !wanted || asked || !stands {
                self.issued[at].read = true;
            } else {
                let late = now - told > 200;
                self.must(!late, || format!("F2: the register was not read: {issued:?}"));
            }
        }
    }

    /// Writes handed over that nobody will ever answer for; at the end of a run there are none.
    pub(super) fn end(&mut self, now: Ms) {
        let late = |i: &&Issued| i.passed.is_some_and(|passed| now - passed > ANSWER_MAX);
        let open = self.issued.iter().find(|i| late(i) && i.ack.is_none()).copied();
        self.must(open.is_none(), || format!("F1: no answer at the end: {open:?}"));
        let known = self.handed.iter().filter(|h| !h.orphan);
        let issued = &self.issued;
        let lost = known.copied().find(|h| !issued.iter().any(|i| i.seq == h.seq));
        self.must(lost.is_none(), || format!("F1: nobody knows of {lost:?}"));
    }
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}
