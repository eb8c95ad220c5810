//! An adversarial PLC, plant and operator around one cell: makes scans, reacts to actions.
//!
//! Everything is drawn from one seed. A fault that is not in the mask still draws its numbers, so
//! that switching one off changes as little of the run as possible.

mod people;
mod press;

use alloc::vec;
use alloc::vec::Vec;

use super::faults::{Fault, Faults};
use super::plans::{self, INPUT};
use super::rng::Rng;
use crate::plan::Plan;
use crate::scan::{Ack, Action, Link, Order, Scan};
use crate::tag::{Sample, Status, TagId, Value};
use crate::time::{Mono, Now, Span, Utc};

/// A scan with its own memory.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnedScan {
    pub(super) seq: u64,
    pub(super) now: Now,
    pub(super) links: Vec<Link>,
    pub(super) changes: Vec<Sample>,
    pub(super) acks: Vec<Ack>,
    pub(super) commands: Vec<Order>,
}

impl OwnedScan {
    pub(super) fn scan(&self) -> Scan<'_> {
        Scan {
            seq: self.seq,
            now: self.now,
            links: &self.links,
            changes: &self.changes,
            acks: &self.acks,
            commands: &self.commands,
        }
    }
}

/// One PLC as the network and its clock show it.
struct Line {
    link: Link,
    down_for: u32,
    silent_for: u32,
    clock_ms: i64,
}

impl Line {
    fn new(clock_ms: i64) -> Self {
        let link = Link { up: true, epoch: 1, life: None };
        Self { link, down_for: 0, silent_for: 0, clock_ms }
    }

    fn heard(&self) -> bool {
        self.link.up && self.silent_for == 0
    }
}

pub(super) struct World {
    plan: Plan,
    rng: Rng,
    faults: Faults,
    seq: u64,
    /// The service's clocks and the PLC's [ms].
    mono_ms: i64,
    utc_ms: i64,
    /// Largest monotonic time handed out [ms].
    newest_ms: i64,
    lines: Vec<Line>,
    /// `[tags]` what the PLC holds.
    value: Vec<Value>,
    /// `[tags]` whether that has been told.
    told: Vec<bool>,
    muted_for: Vec<u32>,
    /// Samples carry source times.
    stamps: bool,
    press: press::Press,
    people: people::People,
}

impl World {
    pub(super) fn new(plan: &Plan, seed: u64, faults: Faults) -> Self {
        let mut rng = Rng::new(seed ^ 0x5EED_0F40_u64);
        let press = press::Press::new(plan, &mut rng, faults);
        let people = people::People::new(plan, &mut rng);
        let count = plan.tags.len();
        let mut world = Self {
            plan: plan.clone(),
            faults,
            seq: 0,
            mono_ms: 1_000,
            utc_ms: 1_700_000_000_000,
            lines: Vec::new(),
            newest_ms: 1_000,
            value: vec![Value::Int(0); count],
            told: vec![false; count],
            muted_for: vec![0; count],
            stamps: rng.chance(500),
            press,
            people,
            rng,
        };
        for plc in 0..plan.links.len() {
            // Two PLCs that nobody has set to the same time.
            let off = if plc == 0 { 0 } else { world.rng.pick(&[0, 2_000, -4_000]) };
            world.lines.push(Line::new(1_700_000_000_000 + off));
        }
        world.init_press();
        world
    }

    /// Draws, and tells whether the fault strikes.
    fn strikes(&mut self, fault: Fault, permille: u64) -> bool {
        let drawn = self.rng.chance(permille);
        drawn && self.faults.has(fault)
    }

    fn set(&mut self, tag: TagId, value: Value) {
        let slot = &mut self.value[tag.index()];
        if *slot != value {
            *slot = value;
            self.told[tag.index()] = false;
        }
    }

    const fn mono(&self) -> Mono {
        Mono::from_millis(self.mono_ms)
    }

    /// The next scan, into the memory of the last.
    pub(super) fn next(&mut self, out: &mut OwnedScan) {
        out.changes.clear();
        out.acks.clear();
        out.commands.clear();
        self.seq += 1;
        let before_ms = self.newest_ms;
        self.advance_clocks();
        for plc in 0..self.lines.len() {
            self.advance_link(plc);
        }
        self.run_press();
        self.emit(before_ms, out);
        self.answer_writes(out);
        self.give_orders(out);
        out.seq = self.seq;
        out.now = Now { mono: self.mono(), utc: Utc::from_millis(self.utc_ms) };
        out.links.clear();
        out.links.extend(self.lines.iter().map(|line| line.link));
    }

    fn advance_clocks(&mut self) {
        let mut dt = self.rng.range(20, 130);
        let late = self.rng.range(301, 1500);
        if self.strikes(Fault::LateScan, 40) {
            dt = late;
        }
        let back = self.rng.range(1, 900);
        if self.strikes(Fault::MonoBack, 6) {
            self.mono_ms -= back;
        } else {
            self.mono_ms += dt;
        }
        self.newest_ms = self.newest_ms.max(self.mono_ms);
        let step = self.rng.range(-10_000_000, 10_000_000);
        self.utc_ms += if self.strikes(Fault::UtcStep, 6) { step } else { dt };
        for plc in 0..self.lines.len() {
            let jump = self.rng.pick(&[-100_000, -500, -1, 2_001, 50_000]);
            let step = if self.strikes(Fault::PlcClockJump, 15) { jump } else { dt };
            self.lines[plc].clock_ms += step;
            let [_, _, clock] = plans::own_tags(&self.plan, plc);
            self.set(clock, Value::Int(self.lines[plc].clock_ms));
        }
    }

    fn advance_link(&mut self, plc: usize) {
        let down_for = u32::try_from(self.rng.range(1, 8)).unwrap();
        if self.lines[plc].down_for > 0 {
            self.lines[plc].down_for -= 1;
            if self.lines[plc].down_for == 0 {
                self.reconnect(plc);
            }
        } else if self.strikes(Fault::LinkDown, 8) {
            self.lines[plc].down_for = down_for;
            self.lines[plc].link.up = false;
        } else if self.strikes(Fault::NewEpoch, 6) {
            self.reconnect(plc);
        }
        let silent_for = u32::try_from(self.rng.range(5, 30)).unwrap();
        if self.strikes(Fault::LinkSilent, 6) {
            self.lines[plc].silent_for = silent_for;
        }
        let now = self.mono();
        let line = &mut self.lines[plc];
        line.silent_for = line.silent_for.saturating_sub(1);
        if line.heard() {
            line.link.life = Some(now);
        }
    }

    fn reconnect(&mut self, plc: usize) {
        let line = &mut self.lines[plc];
        line.link.up = true;
        line.link.epoch += 1;
        line.silent_for = 0;
        for (told, tag) in self.told.iter_mut().zip(&self.plan.tags) {
            *told &= tag.plc.index() != plc;
        }
    }

    /// Samples of this scan. While the link is down or silent hardly any come: what was under way.
    fn emit(&mut self, before_ms: i64, out: &mut OwnedScan) {
        for index in 0..self.value.len() {
            let heard = self.lines[self.plan.tags[index].plc.index()].heard();
            let clock = self.is_clock(index);
            let again = match index {
                _ if index == INPUT.index() => 600,
                _ if clock => 900,
                _ => 60,
            };
            let send = self.rng.chance(if self.told[index] { again } else { 940 });
            let leftover = self.rng.chance(15);
            let muted = self.muted_for[index] > 0;
            self.muted_for[index] = self.muted_for[index].saturating_sub(1);
            if send && !muted && (heard || leftover) {
                let tag = TagId(u16::try_from(index).unwrap());
                let sample = self.sample(tag, before_ms);
                out.changes.push(sample);
                let followed = self.plan.links.iter().any(|link| link.clock == Some(tag));
                if followed && self.rng.chance(100) {
                    out.changes.push(sample);
                }
            }
        }
        let silent_for = u32::try_from(self.rng.range(10, 40)).unwrap();
        if self.strikes(Fault::SilentTag, 10) {
            let tag = self.rng.below(self.value.len());
            self.muted_for[tag] = silent_for;
        }
        if self.strikes(Fault::Reorder, 60) && out.changes.len() > 1 {
            // An old value overtakes: same tag, earlier stamps, other value.
            let mut old = self.rng.pick(&out.changes);
            let shift = self.rng.pick(&[-1_i64, 1]);
            old.value = match old.value {
                Some(Value::Int(i)) => Some(Value::Int(i - 1)),
                Some(Value::Float(x)) => Some(Value::Float(self.nudge(old.tag, x, shift))),
                other => other,
            };
            old.received = Mono::from_millis(before_ms - 200);
            self.told[old.tag.index()] = false;
            out.changes.push(old);
            let (a, b) = (self.rng.below(out.changes.len()), self.rng.below(out.changes.len()));
            out.changes.swap(a, b);
        }
    }

    fn sample(&mut self, tag: TagId, before_ms: i64) -> Sample {
        let index = tag.index();
        let mut value = Some(self.value[index]);
        let mut status = Status::Good;
        self.told[index] = true;
        let wrong = self.rng.pick(&[
            Some(Value::Float(f64::NAN)),
            Some(Value::Float(f64::INFINITY)),
            Some(Value::Float(f64::NEG_INFINITY)),
            None,
        ]);
        if self.strikes(Fault::BadStatus, 12) {
            status = Status::Bad(0x8000_0000);
            self.told[index] = false;
        }
        if self.strikes(Fault::Uncertain, 20) {
            status = Status::Uncertain(0x4000_0000);
            self.told[index] = false;
        }
        if self.strikes(Fault::NonFinite, 12) {
            value = wrong;
            self.told[index] = false;
        }
        let far = self.rng.pick(&[1e9, -1e9, 1e300, 0.5]);
        if self.strikes(Fault::OutOfRange, 10) && !self.is_clock(index) {
            value = value.map(|v| Value::Float(v.as_f64() + far));
            self.told[index] = false;
        }
        let from = before_ms.min(self.mono_ms);
        let received = Mono::from_millis(self.rng.range(from, self.mono_ms));
        let clock_ms = self.lines[self.plan.tags[index].plc.index()].clock_ms;
        let stamp = self.stamps.then_some(Utc::from_millis(clock_ms));
        Sample { tag, value, status, source_time: stamp, server_time: stamp, received }
    }

    /// A neighbouring value of the tag.
    fn nudge(&self, tag: TagId, x: f64, by: i64) -> f64 {
        let setpoint = self.plan.setpoints.iter().find(|s| s.tag == tag);
        let tick = setpoint.map_or(1.0, |s| s.grid.tick());
        x + tick * by as f64
    }

    /// Looks at what the cell wants done.
    pub(super) fn react(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Write(write) => self.take_write(write),
                Action::Heartbeat(plc, count) => {
                    let lost = self.strikes(Fault::NoEcho, 250);
                    if !lost {
                        let [_, echo, _] = plans::own_tags(&self.plan, plc.index());
                        self.set(echo, Value::Int(i64::from(*count)));
                    }
                }
                Action::Ask(proposal) => self.people.ask(*proposal),
                Action::Record(_) | Action::Event(_) => {}
            }
        }
    }

    /// Whether the service restarts before the next scan.
    pub(super) fn restarts(&mut self) -> bool {
        let restarts = self.strikes(Fault::Restart, 4);
        if restarts {
            (0..self.lines.len()).for_each(|plc| self.reconnect(plc));
        }
        restarts
    }

    fn is_clock(&self, index: usize) -> bool {
        let clock = |plc| plans::own_tags(&self.plan, plc)[2].index() == index;
        (0..self.lines.len()).any(clock)
    }

    fn later(&self, ms: i64) -> Mono {
        self.mono() + Span::from_millis(ms)
    }

    fn show_register(&mut self, setpoint: usize) {
        let ticks = self.press.registers[setpoint];
        let limits = &self.plan.setpoints[setpoint];
        let beside = self.press.beside[setpoint] * limits.grid.tick();
        let (tag, value) = (limits.tag, limits.grid.value(ticks) + beside);
        self.set(tag, Value::Float(value));
    }

    fn show_range(&mut self, setpoint: usize, low: f64, high: f64) {
        let id = u16::try_from(setpoint).unwrap();
        let grid = self.plan.setpoints[setpoint].grid;
        self.set(plans::plc_low(id), Value::Float(low * grid.tick()));
        self.set(plans::plc_high(id), Value::Float(high * grid.tick()));
    }
}
