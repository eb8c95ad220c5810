//! The books of an independent judge: what it heard told to the cell, and what the cell did.
//!
//! It knows what the cell cannot: whose hand moved the register, and which writes are under way.
//! Ages are kept as numbers [ms] up to [`OLD`], so that two states of the books are the same when
//! nothing the judge may ever say of them differs.

use super::act::Ask;
use super::plant::{PATIENCE, PERIOD, REACH, STEP, TIMEOUT};
use super::sights::{Sight, Sights};
use crate::cell::LoopStatus;
use crate::event::What;
use crate::guard::ApprovedWrite;
use crate::ledger::Fate;
use crate::mode::{Mode, Owner, Trip, TripReason};
use crate::record::{Outcome, Record};
use crate::scan::{AckResult, Action, Proposal};

/// An age that no rule tells from an older one [ms].
const OLD: i64 = 1000;

fn older(age: i64, by: i64) -> i64 {
    (age + by).min(OLD)
}

/// The newest write of the session whose fate is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Open {
    from: i64,
    to: i64,
    age: i64,
    /// What the shell reported: `Some(true)` Good, `Some(false)` no answer.
    answer: Option<bool>,
    /// The register was told after that.
    read: bool,
    /// The cell has given it up: an answer that comes later tells nothing new.
    over: bool,
    /// Its session is over: whatever is answered now, the register is read first.
    dead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tripped {
    No,
    Returning,
    Latched,
}

/// What a scan told the cell, and what was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told<'a> {
    /// Time since the scan before [ms].
    pub(super) after: i64,
    /// Something was heard.
    pub(super) life: bool,
    pub(super) up: bool,
    pub(super) epoch: u64,
    /// A session that the scan before did not have, or none any more.
    pub(super) lost: bool,
    /// The register, and whether a hand put it there; oldest first.
    pub(super) register: &'a [(i64, bool)],
    pub(super) enable: Option<bool>,
    /// Age of the beat that is echoed [ms].
    pub(super) echo: Option<i64>,
    pub(super) answer: Option<(u64, AckResult)>,
    /// Orders and their numbers.
    pub(super) orders: &'a [(u64, Ask)],
}

#[derive(Clone, Debug)]
pub(super) struct Judge {
    /// The most that people asked for in this session and were granted.
    raised: Mode,
    /// A person gave the loop over, and nobody took it back since.
    owned: bool,
    /// A person moved the setpoint, the cell has seen it, and nobody gave the loop back.
    hand: bool,
    /// A value of a hand has stood for so long [ms].
    foreign: Option<i64>,
    /// The register as the loop may take it for its own.
    ours: Option<i64>,
    /// As told in this session.
    told: Option<i64>,
    open: Option<Open>,
    /// Target of a write that the cell has given up, and for how long.
    late: Option<(i64, i64)>,
    trip: Tripped,
    enable: Option<bool>,
    echo: Option<i64>,
    life: i64,
    /// The proposal shown last; whether it may still be approved.
    shown: Option<(Proposal, bool)>,
    /// Number of the newest write; not part of the state's key.
    pub(super) write: u64,
}

impl Judge {
    pub(super) const NEW: Self = Self {
        raised: Mode::Shadow,
        owned: false,
        hand: false,
        foreign: None,
        ours: None,
        told: None,
        open: None,
        late: None,
        trip: Tripped::No,
        enable: None,
        echo: None,
        life: OLD,
        shown: None,
        write: 0,
    };

    /// What tells two states of the books apart.
    pub(super) fn key(&self) -> impl core::hash::Hash + use<> {
        let shown = self.shown.map(|(p, open)| (p.from, p.to, open));
        let modes = (self.raised, self.trip, self.owned, self.hand, self.foreign);
        (
            modes,
            self.ours,
            self.told,
            self.open,
            self.late,
            self.enable,
            self.echo,
            self.life,
            shown,
        )
    }

    /// The most that people asked for.
    pub(super) const fn raised(&self) -> Mode {
        self.raised
    }

    /// Number of the proposal shown last, and where it began.
    pub(super) fn shown(&self) -> Option<(u64, i64)> {
        self.shown.map(|(p, _)| (p.id, p.from.count()))
    }

    /// Takes in what a scan tells, before the cell does.
    pub(super) fn look(&mut self, told: &Told<'_>) {
        let by = told.after;
        self.life = if told.life { 0 } else { older(self.life, by) };
        self.foreign = self.foreign.map(|age| older(age, by));
        self.echo = self.echo.map(|age| older(age, by));
        self.late = self.late.map(|(to, age)| (to, older(age, by)));
        if let Some(open) = &mut self.open {
            open.age = older(open.age, by);
            // Whose value it is can be said when the write's fate is known.
            self.foreign = self.foreign.map(|age| if open.over { age } else { 0 });
        }
        if let Some((_, open)) = &mut self.shown {
            *open &= by < 60_000;
        }
        if told.lost {
            self.lose();
        }
        for &(value, hand) in told.register {
            self.hear(value, hand);
        }
        if let Some(open) = self.open.as_mut().filter(|o| o.answer.is_none() && o.age >= TIMEOUT) {
            (open.answer, open.read) = (Some(false), false);
        }
        self.enable = told.enable.or(self.enable);
        self.echo = told.echo.or(self.echo);
        if let Some((write, result)) = told.answer
            && let Some(open) =
                self.open.filter(|open| !(open.dead || open.over) && write == self.write)
        {
            self.open = match result {
                AckResult::Refused(_) | AckResult::NotSent => None,
                AckResult::Good => Some(Open { answer: Some(true), read: false, ..open }),
                AckResult::Unknown => Some(Open { answer: Some(false), read: false, ..open }),
            };
        }
    }

    /// Nothing survives a session.
    fn lose(&mut self) {
        let lost = |open| Open { answer: Some(false), read: false, dead: true, ..open };
        let trip = if self.trip == Tripped::No { Tripped::No } else { Tripped::Latched };
        let shown = self.shown.map(|(p, _)| (p, false));
        *self = Self {
            raised: self.raised.min(Mode::Shadow),
            open: self.open.map(lost),
            trip,
            shown,
            life: self.life,
            write: self.write,
            ..Self::NEW
        };
    }

    fn hear(&mut self, value: i64, hand: bool) {
        self.told = Some(value);
        // What the PLC makes of our write is ours, and so is a hand that sets just what we wrote.
        let open = self.open.filter(|open| !open.over);
        let late = self.late.is_some_and(|(to, age)| to == value && age <= TIMEOUT);
        let own = late || open.is_some_and(|open| !hand || open.to == value);
        if own || self.ours.is_none() {
            self.ours = Some(value);
        }
        self.foreign = if self.ours == Some(value) { None } else { self.foreign.or(Some(0)) };
        if let Some(open) = &mut self.open {
            open.read = true;
            if value == open.to {
                self.open = None;
            }
        }
    }

    /// Holds what the cell did against the rules; the first that is broken.
    pub(super) fn judge(
        &mut self,
        told: &Told<'_>,
        actions: &[Action],
        status: &LoopStatus,
        sights: &Sights,
    ) -> Result<(), &'static str> {
        let manual = told.orders.iter().any(|(_, ask)| *ask == Ask::Manual);
        for action in actions {
            match action {
                Action::Event(event) => self.take_event(event.what, told, sights)?,
                Action::Ask(proposal) => self.shown = Some((*proposal, true)),
                Action::Write(write) => {
                    if manual {
                        return Err("a write in the scan in which a person takes manual");
                    }
                    self.judge_write(write, told, sights)?;
                }
                Action::Record(record) => self.take_record(record, sights),
                Action::Heartbeat(_, _) => {}
            }
        }
        self.judge_status(told, status, manual)
    }

    fn take_event(
        &mut self,
        what: What,
        told: &Told<'_>,
        sights: &Sights,
    ) -> Result<(), &'static str> {
        match what {
            What::OrderDone(id) => {
                let ask = told.orders.iter().find(|(number, _)| *number == id);
                if let Some((_, ask)) = ask {
                    self.granted(*ask, sights);
                }
            }
            What::OrderRefused(..) => sights.see(Sight::OrderRefused),
            What::ExternalChange(..) => {
                sights.see(Sight::OperatorOwns);
                (self.hand, self.owned, self.late) = (true, false, None);
                self.raised = self.raised.min(Mode::Advisory);
            }
            What::Tripped(_, reason) => {
                sights.see(match reason {
                    TripReason::NotTaken => Sight::TripNotTaken,
                    TripReason::Mismatch => Sight::TripMismatch,
                    _ => Sight::TripOrder,
                });
                self.trip = Tripped::Returning;
            }
            What::Latched(..) => {
                if self.trip == Tripped::Returning && self.told == Some(0) {
                    sights.see(Sight::LatchedAtBaseline);
                }
                self.trip = Tripped::Latched;
                self.raised = self.raised.min(Mode::Advisory);
            }
            What::Reset(_) => {
                if !told.orders.iter().any(|(_, ask)| *ask == Ask::Reset) {
                    return Err("a trip was reset and nobody asked");
                }
                self.trip = Tripped::No;
                self.raised = self.raised.min(Mode::Shadow);
                sights.see(Sight::Reset);
            }
            What::HeartbeatLost(_) => sights.see(Sight::HeartbeatLost),
            What::LinkDown(_) => sights.see(Sight::LinkDown),
            _ => {}
        }
        Ok(())
    }

    fn granted(&mut self, ask: Ask, sights: &Sights) {
        match ask {
            Ask::Raise(mode) => {
                self.raised = mode;
                if mode >= Mode::Advisory && !self.owned {
                    // The loop is given over, from where it stands.
                    if self.hand {
                        sights.see(Sight::GivenBack);
                    }
                    (self.hand, self.owned, self.late) = (false, true, None);
                    self.ours = self.told;
                    self.foreign = None;
                }
            }
            Ask::Manual => {
                self.raised = self.raised.min(Mode::Shadow);
                self.owned = false;
            }
            Ask::Deny => sights.see(Sight::Denied),
            Ask::Approve => sights.see(Sight::Approved),
            Ask::Trip | Ask::Reset => {}
        }
    }

    fn take_record(&mut self, record: &Record, sights: &Sights) {
        match record {
            Record::Decision(row) => match row.outcome {
                Outcome::Return(_) if self.trip == Tripped::No => sights.see(Sight::RampByRung),
                Outcome::Return(_) => sights.see(Sight::RampByTrip),
                Outcome::WouldWrite => sights.see(Sight::WouldWrite),
                _ => {}
            },
            Record::Ledger(row) => {
                if let Some(open) = &mut self.open
                    && matches!(row.fate, Fate::NotTaken | Fate::Mismatch)
                {
                    open.over = true;
                    self.late = Some((open.to, 0));
                }
                let unknown = self.open.is_some_and(|o| o.answer == Some(false));
                let heard = row.read_back.is_some();
                sights.see(match row.fate {
                    Fate::Confirmed if row.acknowledged.is_none() => Sight::ConfirmedUnanswered,
                    Fate::Confirmed if self.raised == Mode::Auto => Sight::ConfirmedInAuto,
                    Fate::Confirmed => Sight::Confirmed,
                    Fate::NotTaken if unknown && heard => Sight::UnknownNotTaken,
                    Fate::NotTaken => Sight::NotTaken,
                    Fate::Mismatch => Sight::Mismatch,
                    Fate::Unknown => Sight::Unknown,
                    Fate::Refused(_) => Sight::Refused,
                    _ => return,
                });
            }
            _ => {}
        }
    }

    fn judge_write(
        &mut self,
        write: &ApprovedWrite,
        told: &Told<'_>,
        sights: &Sights,
    ) -> Result<(), &'static str> {
        let (from, to) = (write.from().count(), write.to().count());
        let asked = |ask| told.orders.iter().any(|(_, a)| *a == ask);
        let approved = asked(Ask::Approve)
            && self
                .shown
                .is_some_and(|(p, open)| open && p.to == write.to() && p.from.count() == from);
        let checks = [
            (self.raised >= Mode::Advisory, "a write although nobody raised the loop"),
            (self.raised >= Mode::Auto || approved, "a write in ADVISORY that nobody approved"),
            (self.enable == Some(true), "a write without the PLC's enable"),
            (told.up && self.life <= TIMEOUT, "a write on a dead link"),
            (write.epoch() == told.epoch, "a write of another session"),
            (told.after <= 3 * PERIOD, "a write in a late scan"),
            (self.echo.is_some_and(|age| age <= TIMEOUT), "a write without an echo"),
            (self.told == Some(from), "a write from where the register does not stand"),
            (!self.hand, "a write over an operator's change"),
            (self.foreign.is_none(), "a write over a value that a hand has set"),
            (self.trip != Tripped::Latched, "a write after the trip latched"),
            (
                self.trip == Tripped::No || (to.abs() < from.abs() && to * from >= 0),
                "a write away from the baseline after a trip",
            ),
            (to.abs() <= REACH, "a write beyond the limits"),
            ((to - from).abs() <= STEP && to != from, "a write over the step"),
            (write.seq() > self.write, "a write with an old number"),
        ];
        self.write = write.seq();
        if let Some((_, why)) = checks.iter().find(|(holds, _)| !holds) {
            return Err(why);
        }
        if let Some(open) = self.open {
            let moved = self.told.is_some_and(|told| told != open.from);
            match open.answer {
                None => return Err("two writes are in flight"),
                Some(false) if !open.read => return Err("a write while the last is unknown"),
                Some(true) if open.age < TIMEOUT && !(open.read && moved) => {
                    return Err("a write before the last was read back");
                }
                Some(_) => {}
            }
        }
        if approved && self.raised == Mode::Advisory {
            sights.see(Sight::WrittenOnApproval);
        }
        self.open =
            Some(Open { from, to, age: 0, answer: None, read: false, over: false, dead: false });
        Ok(())
    }

    fn judge_status(
        &self,
        told: &Told<'_>,
        status: &LoopStatus,
        manual: bool,
    ) -> Result<(), &'static str> {
        let stood = self.foreign.is_some_and(|age| age >= PATIENCE + 2 * PERIOD);
        let heard = status.read_back.is_some() && self.open.is_none_or(|open| open.over);
        let moded = status.asked.max(status.in_force);
        let fresh = told.lost && told.orders.is_empty();
        let latched = matches!(status.trip, Trip::Latched(_));
        let checks = [
            (status.asked <= self.raised, "the mode rose and nobody asked"),
            // The scan in which a trip latches still shows the mode before it.
            (
                status.in_force <= status.asked || latched,
                "the mode in force is above the one asked for",
            ),
            (!manual || moded <= Mode::Shadow, "manual was taken and the loop did not yield"),
            (!manual || status.owner == Owner::Operator, "manual was taken by nobody"),
            (!fresh || moded <= Mode::Shadow, "a new session above SHADOW"),
            (!fresh || status.owner == Owner::Unknown, "a new session with an owner"),
            (!self.hand || status.owner != Owner::Ours, "an operator's setpoint is called ours"),
            (!(stood && heard && status.owner == Owner::Ours), "a hand was not noticed"),
            (
                (status.trip == Trip::Clear) == (self.trip == Tripped::No)
                    && latched == (self.trip == Tripped::Latched),
                "a trip came or went untold",
            ),
        ];
        match checks.iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(why),
            None => Ok(()),
        }
    }
}
