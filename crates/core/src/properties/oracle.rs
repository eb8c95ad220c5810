//! The judge: watches plan, scans and actions, keeps its own books, never looks into the cell.
//!
//! [`Oracle::look`] takes a scan in before the cell does; [`Oracle::judge`] holds the actions
//! against `methods.md` section 4, invariants I1 to I15. What it calls usable is the least that
//! must hold of a sample; the image may be stricter, never laxer.

mod book;
mod verdicts;
mod write;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::tally::Tally;
use crate::mode::{Mode, TripReason};
use crate::plan::{BindingPlan, Condition, LoopPlan, Plan, PlcId};
use crate::scan::{Link, Proposal, Scan};
use crate::tag::{Sample, Status, TagId, Value};
use crate::time::{Mono, Span};

use book::{Read, SetpointBook};

/// What the oracle remembers of a tag: its newest sample.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sample: Sample,
    /// Newest number, and for how many samples it has stood.
    number: Option<Value>,
    same: u32,
}

/// What the oracle believes of a loop, from orders and events alone.
#[derive(Clone, Copy, Debug)]
struct LoopBook {
    asked: Mode,
    owned: bool,
    trip: Option<TripReason>,
    latched: bool,
    /// Mode in force, as told.
    told: Mode,
    /// Open proposal, and whether scores are behind it.
    open: Option<(Proposal, bool)>,
    /// Must step down in this scan, because a model drifts.
    lowers: bool,
}

/// What the oracle knows of the link to one PLC.
#[derive(Clone, Debug, Default)]
struct LinkBook {
    link: Link,
    live: bool,
    beats: Vec<(u32, Mono)>,
    echoed: Option<Mono>,
}

impl LoopBook {
    const NEW: Self = Self {
        asked: Mode::Shadow,
        owned: false,
        trip: None,
        latched: false,
        told: Mode::Shadow,
        open: None,
        lowers: false,
    };
}

#[expect(clippy::struct_excessive_bools, reason = "a book of facts, not a state machine")]
pub(super) struct Oracle<'p> {
    plan: &'p Plan,
    started: bool,
    /// A binding was seen to hold another value since all of them held.
    elsewhere: bool,
    backwards: bool,
    on_time: bool,
    /// A flood of orders may have crowded out the events that tell the modes in force.
    crowded: bool,
    /// Newest monotonic time.
    now: Mono,
    /// Process time [ns], from the first scan.
    process: i64,
    /// Newest value of the clock that leads.
    clock_ms: Option<i64>,
    links: Vec<LinkBook>,
    /// `[tags]`; `None` since the session began.
    seen: Vec<Option<Seen>>,
    setpoints: Vec<SetpointBook>,
    loops: Vec<LoopBook>,
    last_write: u64,
    /// Scans in which a session ended and a loop on another PLC acted on.
    kept: u64,
    /// Newest value of the one feature.
    feature: Option<f64>,
    warm: bool,
    /// Newest known parts beyond the monitor's domain, bit 0 the newest; parts inside in a row.
    beyond: u32,
    inside: u32,
    in_domain: bool,
}

/// What is wrong, for the report.
pub(super) type Verdict = Result<(), String>;

/// Fails with a sentence unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        let holds: bool = $holds;
        if !holds {
            return Err(alloc::format!($($why)+));
        }
    };
}
use ensure;

impl<'p> Oracle<'p> {
    pub(super) fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            started: false,
            elsewhere: true,
            backwards: false,
            on_time: false,
            crowded: false,
            now: Mono::default(),
            process: 0,
            clock_ms: None,
            links: vec![LinkBook::default(); plan.links.len()],
            seen: vec![None; plan.tags.len()],
            setpoints: vec![SetpointBook::NEW; plan.setpoints.len()],
            loops: vec![LoopBook::NEW; plan.loops.len()],
            last_write: 0,
            kept: 0,
            feature: None,
            warm: false,
            beyond: 0,
            inside: 0,
            in_domain: true,
        }
    }

    /// Takes in what the cell is about to see.
    pub(super) fn look(&mut self, scan: &Scan<'_>) {
        let before = self.now;
        self.backwards = self.started && scan.now.mono < before;
        let gap = scan.now.mono - before;
        self.on_time = self.started && !self.backwards && gap <= self.plan.period.times(3);
        if !self.backwards {
            self.now = scan.now.mono;
        }
        // While the leading PLC is away, time may pass for the others; never faster than it does.
        let others = self.links.iter().skip(1).any(|book| book.live);
        let coasts = self.clock_ms.is_none() && others && !self.links[0].live;
        let free = self.plan.links[0].clock.is_none() || coasts;
        if self.started && free && !self.backwards {
            self.process += gap.as_nanos();
        }
        self.started = true;
        self.crowded |= scan.commands.len() > 20;
        for (index, link) in scan.links.iter().enumerate() {
            let was = core::mem::replace(&mut self.links[index].link, *link);
            if link.epoch != was.epoch || link.up != was.up {
                self.end_session(PlcId(u16::try_from(index).unwrap()));
            }
            let stale_after = self.plan.links[index].stale_after;
            let fresh = link.life.is_some_and(|at| self.now - at <= stale_after);
            self.links[index].live = link.up && fresh;
        }
        self.follow_clock(scan.changes);
        let running = self.plan.cycle.running.is_none();
        for sample in scan.changes {
            self.take(*sample, running);
        }
        self.hear_echoes();
        let rebound = self.follow_bindings();
        for index in 0..self.setpoints.len() {
            let read = self.read(index);
            let limits = &self.plan.setpoints[index];
            let book = &mut self.setpoints[index];
            if rebound {
                book.rebase();
            }
            book.look(limits, scan.acks, read, self.now, self.elsewhere);
        }
    }

    /// Nothing of this PLC outlives its session; what belongs to another does.
    fn end_session(&mut self, plc: PlcId) {
        for (seen, tag) in self.seen.iter_mut().zip(&self.plan.tags) {
            *seen = seen.filter(|_| tag.plc != plc);
        }
        let book = &mut self.links[plc.index()];
        book.beats.clear();
        book.echoed = None;
        if plc == PlcId::LEAD {
            self.clock_ms = None;
        }
        for (book, limits) in self.setpoints.iter_mut().zip(&self.plan.setpoints) {
            if self.plan.plc_of(limits.tag) == plc {
                book.end_session();
            }
        }
        let mut kept = false;
        for (book, of) in self.loops.iter_mut().zip(&self.plan.loops) {
            if self.plan.plc_of_setpoint(of.setpoint) != plc {
                kept |= book.owned && book.told >= Mode::Advisory && book.trip.is_none();
                continue;
            }
            book.asked = book.asked.min(Mode::Shadow);
            book.owned = false;
            book.open = None;
            book.latched |= book.trip.is_some();
        }
        self.kept += u64::from(kept);
    }

    /// Process time follows the clock tag, without its jumps.
    fn follow_clock(&mut self, samples: &[Sample]) {
        let lead = &self.plan.links[0];
        let Some(tag) = lead.clock else { return };
        for sample in samples.iter().filter(|s| s.tag == tag && s.status == Status::Good) {
            let Some(ms) = sample.value.and_then(Value::as_i64) else { continue };
            if let Some(last) = self.clock_ms.replace(ms) {
                let step = ms - last;
                if step > 0 && Span::from_millis(step) <= lead.clock_step_max {
                    self.process += step * 1_000_000;
                }
            }
        }
    }

    fn take(&mut self, sample: Sample, count: bool) {
        let index = sample.tag.index();
        let before = self.seen[index];
        let mut number = before.and_then(|b| b.number);
        let mut same = before.map_or(0, |b| b.same);
        let usable = sample.value.filter(|v| v.as_f64().is_finite());
        if let (Some(value), false) = (usable, matches!(sample.status, Status::Bad(_))) {
            if number == Some(value) {
                same += u32::from(count);
            } else {
                same = 0;
            }
            number = Some(value);
        }
        self.seen[index] = Some(Seen { sample, number, same });
    }

    /// The value of a tag, if it may be acted on at all.
    fn usable(&self, tag: TagId) -> Option<Value> {
        let seen = self.seen[tag.index()]?;
        let of = &self.plan.tags[tag.index()];
        let sample = seen.sample;
        let x = sample.value?.as_f64();
        let status = match sample.status {
            Status::Good => true,
            Status::Uncertain(_) => of.accept_uncertain,
            Status::Bad(_) => false,
        };
        let in_range = of.range.is_none_or(|(low, high)| x >= low && x <= high);
        let fresh = of.stale_after.is_none_or(|limit| self.now - sample.received <= limit);
        let moving = of.frozen_after == 0 || seen.same < of.frozen_after;
        let stale_after = self.plan.links[of.plc.index()].stale_after;
        let life = self.links[of.plc.index()].link.life;
        let heard = life.is_some_and(|at| self.now - at <= stale_after);
        let good = status && x.is_finite() && in_range && fresh && moving && heard;
        sample.value.filter(|_| good)
    }

    fn usable_int(&self, tag: TagId) -> Option<i64> {
        self.usable(tag).and_then(Value::as_i64)
    }

    /// A register as read back.
    fn read(&self, setpoint: usize) -> Option<Read> {
        let limits = &self.plan.setpoints[setpoint];
        let value = self.usable(limits.tag)?.as_f64();
        let ticks = limits.grid.nearest(value)?;
        // On its tick, or as a PLC's REAL holds that tick.
        let tick = limits.grid.value(ticks);
        #[expect(clippy::cast_possible_truncation, reason = "a REAL is what may be read back")]
        let real = f64::from(tick as f32);
        let same = libm::fabs(value - tick) <= 1e-9 * limits.grid.tick();
        let on_grid = same || value == real;
        let received = self.seen[limits.tag.index()]?.sample.received;
        let exact = if on_grid { ticks.count() as f64 } else { value / limits.grid.tick() };
        self.live(self.plan.plc_of(limits.tag)).then_some(Read { ticks, exact, on_grid, received })
    }

    /// True when all bindings hold again after one of them held another value.
    fn follow_bindings(&mut self) -> bool {
        let other = |b: &BindingPlan| self.usable_int(b.tag).is_some_and(|v| v != b.equals);
        if self.plan.bindings.iter().any(other) {
            self.elsewhere = true;
            return false;
        }
        let rebound = self.elsewhere && self.bound();
        self.elsewhere &= !rebound;
        rebound
    }

    fn hear_echoes(&mut self) {
        for (index, link) in self.plan.links.iter().enumerate() {
            let Some(plan) = link.heartbeat else { continue };
            let Some(echo) = self.usable_int(plan.echo) else { continue };
            let book = &mut self.links[index];
            let sent = book.beats.iter().find(|(count, _)| i64::from(*count) == echo);
            book.echoed = book.echoed.max(sent.map(|(_, at)| *at));
        }
    }

    fn live(&self, plc: PlcId) -> bool {
        self.links[plc.index()].live
    }

    /// PLC that a loop writes to.
    fn plc(&self, index: usize) -> PlcId {
        self.plan.plc_of_setpoint(self.plan.loops[index].setpoint)
    }

    fn alive(&self, plc: PlcId) -> bool {
        match self.plan.links[plc.index()].heartbeat {
            None => true,
            Some(plan) => {
                let echoed = self.links[plc.index()].echoed;
                echoed.is_some_and(|at| self.now - at <= plan.timeout)
            }
        }
    }

    fn enabled(&self, plc: PlcId) -> bool {
        let enable = self.plan.links[plc.index()].enable;
        enable.is_none_or(|tag| self.usable_int(tag) == Some(1))
    }

    fn bound(&self) -> bool {
        self.plan.bindings.iter().all(|b| self.usable_int(b.tag) == Some(b.equals))
    }

    fn running(&self) -> bool {
        self.plan.cycle.running.is_none_or(|(tag, value)| self.usable_int(tag) == Some(value))
    }

    /// Interlocks of a loop that are open, those that trip only, or all.
    fn open(&self, of: &LoopPlan, trips_only: bool) -> bool {
        of.interlocks.iter().any(|id| {
            let lock = &self.plan.interlocks[id.index()];
            let closed = match lock.closed {
                Condition::Equals(v) => self.usable_int(lock.tag) == Some(v),
                Condition::Above(v) => self.usable(lock.tag).is_some_and(|x| x.as_f64() >= v),
                Condition::Below(v) => self.usable(lock.tag).is_some_and(|x| x.as_f64() <= v),
            };
            !closed && (lock.trips || !trips_only)
        })
    }

    fn in_force(&self, index: usize) -> Mode {
        let plc = if self.enabled(self.plc(index)) { Mode::Auto } else { Mode::Shadow };
        self.loops[index].asked.min(self.plan.loops[index].mode_max).min(plc)
    }

    /// Counts what the books alone know.
    pub(super) fn count(&self, tally: &mut Tally) {
        tally.kept += self.kept;
        tally.confirmed += self.setpoints.iter().map(|b| b.confirmed).sum::<u64>();
    }
}
