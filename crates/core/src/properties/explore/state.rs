//! One state of the exploration: the PLC, the link and the people around a real cell.
//!
//! The cell itself is not kept but rebuilt from the scans since its start, as the service does
//! from its journal: a scan takes a microsecond, a copy of a cell many kilobytes. What tells two
//! states apart is [`Cell::digest`](crate::cell::Cell), the PLC and the judge's books.

use core::hash::{Hash, Hasher};
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use super::act::{Act, Ask, Fate, Input};
use super::judge::{Judge, Told};
use super::plant::{CALM, ECHO, ENABLE, HIGH, INPUT, PERIOD, REGISTER};
use super::sights::{Sight, Sights};
use crate::cell::Cell;
use crate::mode::Mode;
use crate::plan::{LoopId, Plan};
use crate::properties::world::OwnedScan;
use crate::scan::{Ack, Action, Link, Order};
use crate::tag::{Sample, Status, TagId, Value};
use crate::time::{Mono, Now, Utc};
use crate::unit::Ticks;

/// Writes that may be under way at once, those of dead sessions included.
const FLIGHTS: usize = 2;
/// Older beats and life signs prove nothing [ms].
const OLD: i64 = 1000;
/// Received and answered a little before the scan [ms].
const SAMPLED: i64 = 20;
const ANSWERED: i64 = 10;

/// The scans since the cell was built.
#[derive(Debug)]
struct Journal {
    before: Option<Arc<Journal>>,
    scans: Vec<OwnedScan>,
}

/// A write on its way, or answered and still to be applied.
#[derive(Clone, Copy, Debug)]
struct Flight {
    write: u64,
    from: i64,
    to: i64,
    applied: bool,
    answered: bool,
    /// Its service lives and waits for the answer.
    awaited: bool,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    journal: Option<Arc<Journal>>,
    digest: u64,
    now_ms: i64,
    seq: u64,
    order: u64,
    link: Link,
    /// The register, and whether a hand put it there.
    register: (i64, bool),
    /// Notifications of the register that wait.
    pipe: Vec<(i64, bool)>,
    /// The shell will read the register, because a write was answered.
    reread: bool,
    input: Input,
    enabled: bool,
    /// What the PLC echoes, and when we sent that.
    echo: (u32, i64),
    /// Whether input, enable and echo are told.
    told: [bool; 3],
    flights: Vec<Flight>,
    judge: Judge,
    /// Steps from the root.
    pub(super) steps: usize,
    /// The rule that the last step broke.
    pub(super) broken: Option<&'static str>,
}

/// What a scan of an act has that is not usual.
#[derive(Clone, Copy, Debug)]
struct Pass<'a> {
    after: i64,
    /// Most notifications of the register; `None` = and none of anything else.
    notifications: Option<usize>,
    life: bool,
    echoes: bool,
    lost: bool,
    orders: &'a [Ask],
    answer: Option<Ack>,
}

const USUAL: Pass<'static> = Pass {
    after: PERIOD,
    notifications: Some(usize::MAX),
    life: true,
    echoes: true,
    lost: false,
    orders: &[],
    answer: None,
};

/// Hears what a step did, for a trace.
pub(super) type Ear<'a> = &'a mut dyn FnMut(&[Action], &Cell);

impl State {
    /// A service that has just started beside a PLC with a live session.
    pub(super) fn boot(plan: &Plan) -> Self {
        Self {
            journal: None,
            digest: Cell::new(plan.clone()).unwrap().digest(),
            now_ms: 1_000_000,
            seq: 0,
            order: 0,
            link: Link { up: true, epoch: 1, life: None },
            register: (0, false),
            pipe: std::vec![(0, false)],
            reread: false,
            input: Input::Calm,
            enabled: true,
            echo: (0, 0),
            told: [false; 3],
            flights: Vec::new(),
            judge: Judge::NEW,
            steps: 0,
            broken: None,
        }
    }

    /// The cell as it stands.
    fn cell(&self, plan: &Plan) -> Cell {
        let mut cell = Cell::new(plan.clone()).unwrap();
        let mut parts = Vec::new();
        let mut next = self.journal.as_deref();
        while let Some(journal) = next {
            parts.push(&journal.scans);
            next = journal.before.as_deref();
        }
        for scan in parts.into_iter().rev().flatten() {
            drop(cell.step(scan.scan()));
        }
        cell
    }

    /// Everything that may happen here.
    pub(super) fn acts(&self, acts: &mut Vec<Act>) {
        use Act::{
            Crash, Deaf, Down, Enable, Hand, HandAnd, Late, Minutes, NoEcho, People, Person, Scan,
            Session, Silence, Slow, Wait,
        };
        use Ask::{Approve, Deny, Manual, Raise, Reset, Trip};
        acts.extend([Scan, Wait, Deaf, Late, Silence, NoEcho, Enable, Session, Crash]);
        for mode in [Mode::Auto, Mode::Advisory, Mode::Shadow, Mode::Off] {
            acts.push(Person(Raise(mode)));
        }
        acts.extend([Manual, Trip, Reset].map(Person));
        acts.extend([People(Raise(Mode::Auto), Manual), People(Manual, Raise(Mode::Auto))]);
        acts.push(People(Trip, Raise(Mode::Auto)));
        for to in [-2, 0, 7] {
            if to != self.register.0 {
                acts.push(Hand(to));
            }
        }
        acts.push(HandAnd(-2, Raise(Mode::Auto)));
        if self.judge.shown().is_some() {
            acts.extend([Approve, Deny].map(Person));
            acts.extend([People(Approve, Manual), HandAnd(-2, Approve), Minutes]);
        }
        if self.pipe.len() > 1 {
            acts.push(Slow);
        }
        for input in [Input::Calm, Input::High, Input::Bad] {
            if input != self.input {
                acts.push(Act::Input(input));
            }
        }
        if self.link.up {
            acts.push(Down);
        }
        for (index, flight) in self.flights.iter().enumerate() {
            let possible = Fate::ALL.into_iter().filter(|fate| {
                let follows = fate.follows(flight.applied, flight.answered);
                follows && (flight.awaited || *fate == Fate::Applied)
            });
            acts.extend(possible.map(|fate| Act::Plc(index, fate)));
        }
    }

    /// The state after an act.
    pub(super) fn after(&self, plan: &Plan, act: Act, sights: &Sights, ear: Ear<'_>) -> Self {
        let mut next = self.clone();
        let mut cell = if act == Act::Crash { next.crash(plan, sights) } else { self.cell(plan) };
        let mut asks = [Ask::Manual; 2];
        let (pass, scans) = next.begin(act, &mut asks, sights);
        let mut journal = Journal { before: next.journal.take(), scans: Vec::new() };
        for number in 0..scans {
            let first = number == 0;
            let pass =
                if first { pass } else { Pass { lost: false, orders: &[], answer: None, ..pass } };
            let scan = next.scan(&mut cell, pass, sights, ear);
            journal.scans.push(scan);
            if next.broken.is_some() {
                break;
            }
        }
        next.journal = Some(Arc::new(journal));
        next.digest = cell.digest();
        next.steps += 1;
        next
    }

    /// What an act changes in the world, how its scans differ from the usual, and their number.
    fn begin<'a>(&mut self, act: Act, asks: &'a mut [Ask; 2], sights: &Sights) -> (Pass<'a>, u32) {
        let usual = Pass { orders: &[], ..USUAL };
        match act {
            Act::Scan => (usual, 1),
            Act::Deaf => (Pass { notifications: None, ..usual }, 1),
            Act::Slow => (Pass { notifications: Some(1), ..usual }, 1),
            Act::Late => (Pass { after: 4 * PERIOD, ..usual }, 1),
            Act::Wait => (usual, 4),
            Act::Minutes => (Pass { after: 121_000, ..usual }, 1),
            Act::Silence => (Pass { notifications: None, life: false, ..usual }, 4),
            Act::NoEcho => (Pass { echoes: false, ..usual }, 4),
            Act::Person(ask) => {
                asks[0] = ask;
                (Pass { orders: &asks[..1], ..usual }, 1)
            }
            Act::People(a, b) => {
                *asks = [a, b];
                (Pass { orders: &asks[..], ..usual }, 1)
            }
            Act::Hand(to) => {
                self.turn(to, true);
                (usual, 1)
            }
            Act::HandAnd(to, ask) => {
                self.turn(to, true);
                asks[0] = ask;
                (Pass { orders: &asks[..1], ..usual }, 1)
            }
            Act::Input(input) => {
                self.input = input;
                self.told[0] = false;
                (usual, 1)
            }
            Act::Enable => {
                self.enabled = !self.enabled;
                self.told[1] = false;
                (usual, 1)
            }
            Act::Plc(index, fate) => {
                (Pass { answer: self.decide(index, fate, sights), ..usual }, 1)
            }
            Act::Down => {
                self.link.up = false;
                (Pass { lost: true, ..usual }, 1)
            }
            Act::Session => {
                if self.judge.raised() == Mode::Auto {
                    sights.see(Sight::SessionTakesAuto);
                }
                self.new_session();
                (Pass { lost: true, ..usual }, 1)
            }
            Act::Crash => (Pass { lost: true, ..usual }, 1),
        }
    }

    fn turn(&mut self, to: i64, hand: bool) {
        if self.register.0 != to {
            self.pipe.push((to, hand));
            // A server's queue of one: what nobody fetched in time is overwritten.
            if self.pipe.len() > 2 {
                self.pipe.remove(1);
            }
        }
        self.register = (to, hand);
    }

    fn new_session(&mut self) {
        self.link = Link { up: true, epoch: self.link.epoch + 1, life: self.link.life };
        self.pipe = std::vec![self.register];
        self.told = [false; 3];
    }

    fn crash(&mut self, plan: &Plan, sights: &Sights) -> Cell {
        if self.judge.raised() == Mode::Auto {
            sights.see(Sight::CrashTakesAuto);
        }
        self.journal = None;
        self.new_session();
        self.link.life = None;
        self.judge = Judge::NEW;
        self.reread = false;
        self.flights.retain(|flight| !flight.applied);
        self.flights.iter_mut().for_each(|flight| flight.awaited = false);
        Cell::new(plan.clone()).unwrap()
    }

    /// The PLC and the wire decide over a write.
    fn decide(&mut self, index: usize, fate: Fate, sights: &Sights) -> Option<Ack> {
        let flight = &mut self.flights[index];
        let Flight { write, from, to, .. } = *flight;
        flight.applied |= fate.applies();
        flight.answered |= fate.answer().is_some();
        let late = fate == Fate::Applied && flight.answered;
        let done = (flight.applied && flight.answered) || !flight.awaited;
        if done || matches!(fate, Fate::Refused | Fate::NotSent) {
            self.flights.remove(index);
        }
        if fate.applies() {
            let to = if fate == Fate::Half { from + (to - from) / 2 } else { to };
            self.turn(to, false);
        }
        if late {
            sights.see(Sight::LateApply);
        }
        let at = Mono::from_millis(self.now_ms + PERIOD - ANSWERED);
        fate.answer().map(|result| Ack { write, result, at })
    }

    /// One scan; the world reacts to what the cell does, the judge to both.
    fn scan(
        &mut self,
        cell: &mut Cell,
        pass: Pass<'_>,
        sights: &Sights,
        ear: Ear<'_>,
    ) -> OwnedScan {
        self.now_ms += pass.after;
        self.seq += 1;
        self.echo.1 = (self.echo.1 + pass.after).min(OLD);
        let life = self.link.up && pass.life;
        if life {
            self.link.life = Some(Mono::from_millis(self.now_ms));
        }
        let heard = life && pass.notifications.is_some();
        let (changes, register) = self.notify(if heard { pass.notifications } else { None });
        if pass.answer.is_some_and(|ack| {
            use crate::scan::AckResult::{Good, Unknown};
            matches!(ack.result, Good | Unknown)
        }) {
            self.reread = true;
        }
        let first = self.order + 1;
        let orders: Vec<(u64, Ask)> = (first..).zip(pass.orders.iter().copied()).collect();
        self.order += orders.len() as u64;
        let shown = self.judge.shown();
        let command = |(id, ask): &(u64, Ask)| Order { id: *id, command: ask.command(shown) };
        let told = Told {
            after: pass.after,
            life,
            up: self.link.up,
            epoch: self.link.epoch,
            lost: pass.lost,
            register: &register,
            enable: changes.iter().any(|s| s.tag == ENABLE).then_some(self.enabled),
            echo: changes.iter().any(|s| s.tag == ECHO).then_some(self.echo.1),
            answer: pass.answer.map(|ack| (ack.write, ack.result)),
            orders: &orders,
        };
        let scan = OwnedScan {
            seq: self.seq,
            now: Now { mono: Mono::from_millis(self.now_ms), utc: Utc::default() },
            links: vec![self.link],
            changes,
            acks: pass.answer.into_iter().collect(),
            commands: orders.iter().map(command).collect(),
        };
        self.judge.look(&told);
        let actions: Vec<Action> = cell.step(scan.scan()).collect();
        ear(&actions, cell);
        let status = cell.loop_status(LoopId(0)).unwrap();
        self.broken = self.judge.judge(&told, &actions, &status, sights).err();
        self.react(&actions, pass.echoes);
        scan
    }

    /// What is told now: the register's notifications, and whatever else has changed.
    fn notify(&mut self, most: Option<usize>) -> (Vec<Sample>, Vec<(i64, bool)>) {
        let Some(most) = most else { return (Vec::new(), Vec::new()) };
        if core::mem::take(&mut self.reread) {
            self.pipe.push(self.register);
        }
        let count = self.pipe.len().min(most);
        let register: Vec<_> = self.pipe.drain(..count).collect();
        let received = Mono::from_millis(self.now_ms - SAMPLED);
        let sample = |tag: TagId, value, status| Sample {
            tag,
            value: Some(value),
            status,
            source_time: None,
            server_time: None,
            received,
        };
        let good = |tag, value| sample(tag, value, Status::Good);
        let of_register = |(value, _): &(i64, bool)| good(REGISTER, Value::Float(*value as f64));
        let mut changes: Vec<_> = register.iter().map(of_register).collect();
        let input = match self.input {
            Input::Calm => good(INPUT, Value::Float(CALM)),
            Input::High => good(INPUT, Value::Float(HIGH)),
            Input::Bad => sample(INPUT, Value::Float(CALM), Status::Bad(0x8000_0000)),
        };
        let others = [
            input,
            good(ENABLE, Value::Bool(self.enabled)),
            good(ECHO, Value::Int(i64::from(self.echo.0))),
        ];
        let untold = others.into_iter().zip(self.told).filter(|(_, told)| !told);
        changes.extend(untold.map(|(sample, _)| sample));
        self.told = [true; 3];
        (changes, register)
    }

    fn react(&mut self, actions: &[Action], echoes: bool) {
        for action in actions {
            match action {
                Action::Write(write) => {
                    if self.flights.len() == FLIGHTS {
                        self.flights.remove(0);
                    }
                    self.flights.push(Flight {
                        write: write.seq(),
                        from: write.from().count(),
                        to: write.to().count(),
                        applied: false,
                        answered: false,
                        awaited: true,
                    });
                }
                Action::Heartbeat(_, count) if echoes && self.link.up => {
                    self.echo = (*count, 0);
                    self.told[2] = false;
                }
                _ => {}
            }
        }
    }

    /// What keeps every move half done: the input high below, bad (so that it ramps back) above.
    pub(super) fn next_short(&self) -> Act {
        let want = match self.register.0 {
            ..=1 => Input::High,
            3.. => Input::Bad,
            _ => self.input,
        };
        if let Some(flight) = self.flights.first() {
            // Half of a single tick is no move at all.
            let half = (flight.to - flight.from).abs() > 1;
            Act::Plc(0, if half { Fate::Half } else { Fate::Refused })
        } else if want == self.input {
            Act::Scan
        } else {
            Act::Input(want)
        }
    }

    /// Where the loop and the register stand, in words.
    pub(super) fn words(cell: &Cell) -> std::string::String {
        let s = cell.loop_status(LoopId(0)).unwrap();
        std::format!(
            "{} asked, {} in force, owner {:?}, {:?}, register read as {:?}",
            s.asked.word(),
            s.in_force.word(),
            s.owner,
            s.trip,
            s.read_back.map(Ticks::count)
        )
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, to: &mut H) {
        self.digest.hash(to);
        let life = self.link.life.map(|at| (self.now_ms - at.as_nanos() / 1_000_000).min(OLD));
        (self.link.up, life, self.register, &self.pipe, self.reread).hash(to);
        (self.input, self.enabled, self.echo.1, self.told, self.broken).hash(to);
        for flight in &self.flights {
            let Flight { write, from, to: target, applied, answered, awaited } = *flight;
            // An answer that nobody awaits names no write.
            let back = awaited.then(|| self.judge.write - write);
            (back, from, target, applied, answered, awaited).hash(to);
        }
        self.judge.key().hash(to);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let of = |state: &Self| {
            let mut hasher = std::hash::DefaultHasher::new();
            state.hash(&mut hasher);
            hasher.finish()
        };
        of(self) == of(other)
    }
}
