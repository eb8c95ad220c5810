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
use crate::plan::{BindingPlan, Condition, LoopPlan, Plan};
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
}

impl LoopBook {
    const NEW: Self = Self {
        asked: Mode::Shadow,
        owned: false,
        trip: None,
        latched: false,
        told: Mode::Shadow,
        open: None,
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
    clock_ms: Option<i64>,
    link: Link,
    live: bool,
    /// `[tags]`; `None` since the session began.
    seen: Vec<Option<Seen>>,
    beats: Vec<(u32, Mono)>,
    echoed: Option<Mono>,
    setpoints: Vec<SetpointBook>,
    loops: Vec<LoopBook>,
    last_write: u64,
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
            link: Link::default(),
            live: false,
            seen: vec![None; plan.tags.len()],
            beats: Vec::new(),
            echoed: None,
            setpoints: vec![SetpointBook::NEW; plan.setpoints.len()],
            loops: vec![LoopBook::NEW; plan.loops.len()],
            last_write: 0,
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
        if self.started && self.plan.link.clock.is_none() && !self.backwards {
            self.process += gap.as_nanos();
        }
        self.started = true;
        self.crowded |= scan.commands.len() > 20;
        let was = self.link;
        self.link = scan.link;
        if scan.link.epoch != was.epoch || scan.link.up != was.up {
            self.end_session();
        }
        let life = self.link.life;
        let fresh = life.is_some_and(|at| self.now - at <= self.plan.link.stale_after);
        self.live = self.link.up && fresh;
        self.follow_clock(scan.changes);
        let running = self.plan.cycle.running.is_none();
        for sample in scan.changes {
            self.take(*sample, running);
        }
        self.hear_echo();
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

    fn end_session(&mut self) {
        self.seen.fill(None);
        self.beats.clear();
        self.echoed = None;
        self.clock_ms = None;
        for book in &mut self.setpoints {
            book.end_session();
        }
        for book in &mut self.loops {
            book.asked = book.asked.min(Mode::Shadow);
            book.owned = false;
            book.open = None;
            book.latched |= book.trip.is_some();
        }
    }

    /// Process time follows the clock tag, without its jumps.
    fn follow_clock(&mut self, samples: &[Sample]) {
        let Some(tag) = self.plan.link.clock else { return };
        for sample in samples.iter().filter(|s| s.tag == tag && s.status == Status::Good) {
            let Some(ms) = sample.value.and_then(Value::as_i64) else { continue };
            if let Some(last) = self.clock_ms.replace(ms) {
                let step = ms - last;
                if step > 0 && Span::from_millis(step) <= self.plan.link.clock_step_max {
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
        let heard = self.link.life.is_some_and(|at| self.now - at <= self.plan.link.stale_after);
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
        self.live.then_some(Read { ticks, exact, on_grid, received })
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

    fn hear_echo(&mut self) {
        let Some(plan) = self.plan.link.heartbeat else { return };
        let Some(echo) = self.usable_int(plan.echo) else { return };
        let sent = self.beats.iter().find(|(count, _)| i64::from(*count) == echo);
        self.echoed = self.echoed.max(sent.map(|(_, at)| *at));
    }

    fn alive(&self) -> bool {
        match self.plan.link.heartbeat {
            None => true,
            Some(plan) => self.echoed.is_some_and(|at| self.now - at <= plan.timeout),
        }
    }

    fn enabled(&self) -> bool {
        self.plan.link.enable.is_none_or(|tag| self.usable_int(tag) == Some(1))
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
        let plc = if self.enabled() { Mode::Auto } else { Mode::Shadow };
        self.loops[index].asked.min(self.plan.loops[index].mode_max).min(plc)
    }

    /// Counts what the books alone know.
    pub(super) fn count(&self, tally: &mut Tally) {
        tally.confirmed += self.setpoints.iter().map(|b| b.confirmed).sum::<u64>();
    }
}
