//! Runs the `[[check]]` tests of a recipe on the production core, against a PLC of straw.
//!
//! The straw PLC makes one part after the other, takes every write, echoes the heartbeat and
//! enables us; setpoints stand at their baselines, interlocks are closed, bindings match, other
//! tags hold the middle of their range, or what `given` says. Labels come one part later.

use trimloop_core::cell::Cell;
use trimloop_core::event::What;
use trimloop_core::guard::Reason;
use trimloop_core::mode::Mode;
use trimloop_core::plan::{Condition, Cut, LoopId, Plan, SetpointPlan};
use trimloop_core::record::{Outcome, Record};
use trimloop_core::scan::{Ack, AckResult, Action, Command, Link, Order, Scan};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Span, Utc};

use trimloop_recipe::codes;
use trimloop_recipe::diagnostic::Diagnostic;
use trimloop_recipe::quantity::Quantity;
use trimloop_recipe::raw::{RawCheck, RawExpect, RawGiven};
use trimloop_recipe::spanned::At;
use trimloop_recipe::unit::Unit;
use trimloop_recipe::{Bound, Recipe};

/// Process time that one part takes, where the recipe does not cut by time.
const PART: Span = Span::from_secs(30);
/// Scans per part where process time follows the PLC's clock.
const SCANS_PER_PART: i64 = 10;
/// Most scans per part where process time is link time.
const SCANS_PER_PART_MAX: i64 = 2000;
/// 2026-01-01T00:00:00Z, the begin of every test.
const BEGIN: Utc = Utc::from_millis(1_767_225_600_000);

/// Runs every test of a recipe; what failed, as diagnostics at the test's name.
pub(super) fn run(recipe: &Recipe, bound: &Bound) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for check in &recipe.raw().check {
        let wrong = match Straw::new(recipe, bound, &check.given) {
            None => vec!["the plan was refused".to_owned()],
            Some(mut straw) => {
                straw.run(*check.given.parts);
                straw.judge(recipe, &check.expect)
            }
        };
        if let Some(first) = wrong.first() {
            let message = format!("check \"{}\" failed", check.name.get());
            let mut diagnostic =
                Diagnostic::error(&codes::CHECK_FAILED, recipe.source(), place(check), message)
                    .label(first.as_str());
            if wrong.len() > 1 {
                diagnostic = diagnostic.note(wrong[1..].join("; "));
            }
            found.push(diagnostic.help("correct the rule, or the expectation"));
        }
    }
    found
}

fn place(check: &At<RawCheck>) -> std::ops::Range<usize> {
    check.name.span()
}

/// A PLC of straw with the cell that is tested.
struct Straw<'a> {
    plan: &'a Plan,
    cell: Cell,
    /// What each tag holds.
    values: Vec<Value>,
    /// Measured value of each characteristic; `None` = never measured.
    labels: Vec<Option<f64>>,
    mode: Mode,
    seq: u64,
    now: Now,
    /// Process time of the PLC's clock [ns since the Unix epoch].
    clock: i64,
    beat: u32,
    acks: Vec<Ack>,
    orders: u64,
    /// What is seen: per signature, whether it is on; per setpoint, every written value; per loop,
    /// the last reason to hold.
    signatures: Vec<bool>,
    written: Vec<Vec<f64>>,
    held: Vec<Option<Reason>>,
}

impl<'a> Straw<'a> {
    fn new(recipe: &Recipe, bound: &'a Bound, given: &RawGiven) -> Option<Self> {
        let plan = &bound.plan;
        let cell = Cell::new(plan.clone()).ok()?;
        let mode = match given.mode.as_ref().map(|mode| mode.as_str()) {
            Some("shadow") => Mode::Shadow,
            _ => Mode::Auto,
        };
        let mut straw = Self {
            plan,
            cell,
            values: plan.tags.iter().map(|tag| middle(tag.range)).collect(),
            labels: vec![None; plan.characteristics.len()],
            mode,
            seq: 0,
            now: Now { mono: Mono::from_millis(1000), utc: BEGIN },
            clock: BEGIN.as_nanos(),
            beat: 0,
            acks: Vec::new(),
            orders: 0,
            signatures: vec![false; plan.signatures.len()],
            written: vec![Vec::new(); plan.setpoints.len()],
            held: vec![None; plan.loops.len()],
        };
        straw.prepare();
        for (name, literal) in given.values.iter() {
            let unit = recipe.raw().tag.get(name).and_then(|(_, tag)| tag.unit.as_ref());
            let unit = unit.map_or("", |unit| unit.as_str());
            let value = match literal.text.as_str() {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                text => number(text, unit).map(Value::Float),
            };
            let tag = plan.tags.iter().position(|tag| tag.name == name.as_str());
            if let (Some(value), Some(slot)) = (value, tag.and_then(|t| straw.values.get_mut(t))) {
                *slot = value;
            }
        }
        for (name, literal) in given.labels.iter() {
            let found = plan.characteristics.iter().position(|c| c.name == name.as_str());
            let Some(place) = found else { continue };
            let unit = plan.characteristics.get(place).map_or("", |c| c.unit.as_str());
            if let Some(slot) = straw.labels.get_mut(place) {
                *slot = number(&literal.text, unit);
            }
        }
        for name in &given.open {
            let interlock = plan.interlocks.iter().find(|i| i.name == name.as_str());
            if let Some(interlock) = interlock {
                straw.set(interlock.tag, opposite(interlock.closed));
            }
        }
        Some(straw)
    }

    /// Everything that must hold before trimloop may act.
    fn prepare(&mut self) {
        let plan = self.plan;
        for setpoint in &plan.setpoints {
            let at = |ticks| Value::Float(setpoint.grid.value(ticks));
            self.set(setpoint.tag, at(setpoint.baseline));
            for (tag, limit) in
                [(setpoint.plc_low, setpoint.low), (setpoint.plc_high, setpoint.high)]
            {
                if let Some(tag) = tag {
                    self.set(tag, at(limit));
                }
            }
        }
        for interlock in &plan.interlocks {
            self.set(interlock.tag, satisfying(interlock.closed));
        }
        for binding in &plan.bindings {
            self.set(binding.tag, Value::Int(binding.equals));
        }
        if let Some((tag, state)) = plan.cycle.running {
            self.set(tag, Value::Int(state));
        }
        if let Some(tag) = plan.link.enable {
            self.set(tag, Value::Bool(true));
        }
        if let Some(heartbeat) = plan.link.heartbeat {
            self.set(heartbeat.echo, Value::Int(0));
        }
        if let Some(tag) = self.part_tag() {
            self.set(tag, Value::Int(1000));
        }
        for characteristic in &plan.characteristics {
            self.set(characteristic.part, Value::Int(0));
        }
    }

    fn part_tag(&self) -> Option<TagId> {
        match self.plan.cycle.cut {
            Cut::Finished(tag) | Cut::Started(tag) => Some(tag),
            Cut::Every(_) => None,
        }
    }

    fn set(&mut self, tag: TagId, value: Value) {
        if let Some(slot) = self.values.get_mut(tag.index()) {
            *slot = value;
        }
    }

    fn sample(&self, tag: TagId) -> Option<Sample> {
        Some(Sample {
            tag,
            value: Some(*self.values.get(tag.index())?),
            status: Status::Good,
            // Stamps of a PLC follow its own clock where it shows one.
            source_time: Some(match self.plan.link.clock {
                Some(_) => Utc::from_nanos(self.clock),
                None => self.now.utc,
            }),
            server_time: Some(self.now.utc),
            received: self.now.mono,
        })
    }

    /// Makes `parts` parts.
    fn run(&mut self, parts: i64) {
        let part_time = match self.plan.cycle.cut {
            Cut::Every(every) => every,
            Cut::Finished(_) | Cut::Started(_) => PART,
        };
        let scans = if self.plan.link.clock.is_some() {
            SCANS_PER_PART
        } else {
            let period = self.plan.period.as_nanos().max(1);
            (part_time.as_nanos() / period).clamp(1, SCANS_PER_PART_MAX)
        };
        // What happened before the first part: everything is read once.
        let all: Vec<TagId> =
            (0..self.values.len()).filter_map(|i| u16::try_from(i).ok()).map(TagId).collect();
        self.scan(&all, &[]);
        for part in 1..=parts {
            for scan in 1..=scans {
                self.clock += part_time.as_nanos() / scans;
                // The part's values come with its last scan, its id after them.
                let last = scan == scans;
                let mut changed = if last { all.clone() } else { Vec::new() };
                if let Some(heartbeat) = self.plan.link.heartbeat {
                    changed.retain(|tag| *tag != heartbeat.echo);
                    changed.push(heartbeat.echo);
                }
                if let Some(clock) = self.plan.link.clock {
                    self.set(clock, Value::Int(self.clock / 1_000_000));
                    changed.retain(|tag| *tag != clock);
                    changed.insert(0, clock);
                }
                if last {
                    self.finish_part(part, &mut changed);
                }
                let orders = if scan == 1 { self.raise() } else { Vec::new() };
                self.scan(&changed, &orders);
            }
        }
        // What the last part led to is written and read back.
        for _settle in 0..3 {
            self.scan(&[], &[]);
        }
    }

    fn finish_part(&mut self, part: i64, changed: &mut Vec<TagId>) {
        let plan = self.plan;
        for (characteristic, value) in plan.characteristics.iter().zip(self.labels.clone()) {
            changed.retain(|tag| *tag != characteristic.part && *tag != characteristic.value);
            if let (Some(value), true) = (value, part > 1) {
                self.set(characteristic.value, Value::Float(value));
                let labelled = if self.part_tag().is_some() { 1000 + part - 1 } else { part - 1 };
                self.set(characteristic.part, Value::Int(labelled));
                changed.push(characteristic.value);
                changed.push(characteristic.part);
            }
        }
        if let Some(tag) = self.part_tag() {
            self.set(tag, Value::Int(1000 + part));
            changed.retain(|changed| *changed != tag);
            changed.push(tag);
        }
    }

    /// Orders that bring every loop into the mode of the test, as far as its recipe allows.
    fn raise(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        for (index, of_loop) in (0_u16..).zip(&self.plan.loops) {
            let id = LoopId(index);
            let wanted = self.mode.min(of_loop.mode_max);
            if self.cell.loop_status(id).is_some_and(|status| status.asked != wanted) {
                self.orders += 1;
                orders.push(Order { id: self.orders, command: Command::SetMode(id, wanted) });
            }
        }
        orders
    }

    fn scan(&mut self, changed: &[TagId], commands: &[Order]) {
        let step = self.plan.period;
        self.now = Now { mono: self.now.mono + step, utc: self.now.utc + step };
        let changes: Vec<Sample> = changed.iter().filter_map(|tag| self.sample(*tag)).collect();
        let acks = std::mem::take(&mut self.acks);
        self.seq += 1;
        let link = Link { up: true, epoch: 1, life: Some(self.now.mono) };
        let scan =
            Scan { seq: self.seq, now: self.now, link, changes: &changes, acks: &acks, commands };
        let mut moved: Vec<(TagId, f64)> = Vec::new();
        for action in self.cell.step(scan) {
            match action {
                Action::Write(write) => {
                    moved.push((write.tag(), write.value()));
                    if let Some(list) = self.written.get_mut(write.setpoint().index()) {
                        list.push(write.value());
                    }
                    let at = self.now.mono;
                    self.acks.push(Ack { write: write.seq(), result: AckResult::Good, at });
                }
                Action::Heartbeat(beat) => self.beat = beat,
                Action::Event(event) => {
                    if let What::Signature(id, on) = event.what
                        && let Some(slot) = self.signatures.get_mut(id.index())
                    {
                        *slot = on;
                    }
                }
                Action::Record(Record::Decision(row)) => {
                    if let Some(slot) = self.held.get_mut(row.loop_id.index()) {
                        *slot = match row.outcome {
                            Outcome::Hold(reason) => Some(reason),
                            _ => None,
                        };
                    }
                }
                Action::Record(_) | Action::Ask(_) => {}
            }
        }
        if let Some(heartbeat) = self.plan.link.heartbeat {
            self.set(heartbeat.echo, Value::Int(i64::from(self.beat)));
        }
        if !moved.is_empty() {
            let tags: Vec<TagId> = moved.iter().map(|(tag, _)| *tag).collect();
            for (tag, value) in moved {
                self.set(tag, Value::Float(value));
            }
            self.scan(&tags, &[]);
        }
    }

    /// What did not come as expected, in words.
    fn judge(&self, recipe: &Recipe, expect: &RawExpect) -> Vec<String> {
        let mut wrong = Vec::new();
        for (name, wanted) in [(&expect.signature, true), (&expect.no_signature, false)] {
            let Some(name) = name else { continue };
            let found = self.plan.signatures.iter().position(|s| s.name == name.as_str());
            let on = found.and_then(|place| self.signatures.get(place)).copied();
            if on != Some(wanted) {
                let word = if wanted { "off" } else { "on" };
                wrong.push(format!("signature {} is {word} at the end", name.get()));
            }
        }
        let setpoint = expect
            .setpoint
            .as_ref()
            .and_then(|name| self.plan.setpoints.iter().position(|s| s.name == name.as_str()));
        if let Some((place, plan)) =
            setpoint.and_then(|place| Some((place, self.plan.setpoints.get(place)?)))
        {
            let written = self.written.get(place).map_or(&[][..], Vec::as_slice);
            self.judge_setpoint(recipe, expect, plan, written, &mut wrong);
        }
        if let Some(hold) = &expect.hold {
            let words: Vec<&str> = self.held.iter().flatten().map(|r| r.word()).collect();
            if !words.contains(&hold.as_str()) {
                let seen = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
                wrong.push(format!("held by {seen} at the end, not by {}", hold.get()));
            }
        }
        wrong
    }

    fn judge_setpoint(
        &self,
        recipe: &Recipe,
        expect: &RawExpect,
        plan: &SetpointPlan,
        written: &[f64],
        wrong: &mut Vec<String>,
    ) {
        let decimals = usize::from(plan.grid.decimals());
        let show = |x: f64| format!("{x:.decimals$} {}", plan.unit);
        let baseline = plan.grid.value(plan.baseline);
        let last = written.last().copied();
        let why = || {
            let words: Vec<&str> = self.held.iter().flatten().map(|r| r.word()).collect();
            if words.is_empty() { String::new() } else { format!(" (held: {})", words.join(", ")) }
        };
        if let Some(moves) = &expect.moves {
            let fits = match moves.as_str() {
                "up" => last.is_some_and(|x| x > baseline),
                "down" => last.is_some_and(|x| x < baseline),
                _ => last.is_none(),
            };
            if !fits {
                wrong.push(match last {
                    None => format!("{} was never written{}", plan.name, why()),
                    Some(x) => format!(
                        "{} was written {} times, from {} to {}",
                        plan.name,
                        written.len(),
                        show(baseline),
                        show(x)
                    ),
                });
            }
        }
        if let Some(within) = &expect.within {
            let unit = recipe.raw().tag.get(&plan.name).map_or(plan.unit.as_str(), |_| &plan.unit);
            let [low, high] = &within.0;
            let (low, high) = (number(&low.text, unit), number(&high.text, unit));
            let outside = written
                .iter()
                .find(|x| low.is_some_and(|low| **x < low) || high.is_some_and(|h| **x > h));
            if let Some(x) = outside {
                wrong.push(format!("{} was written to {}", plan.name, show(*x)));
            }
        }
    }
}

/// A quantity as a number in `unit`; checked before, so that `None` is not expected.
fn number(text: &str, unit: &str) -> Option<f64> {
    let read = Quantity::parse(text).ok()?;
    let want = Unit::parse(unit).ok()?;
    Some(read.unit.convert_point(read.value, &want)?.to_f64())
}

fn middle(range: Option<(f64, f64)>) -> Value {
    range.map_or(Value::Int(0), |(low, high)| Value::Float(low.midpoint(high)))
}

fn satisfying(condition: Condition) -> Value {
    match condition {
        Condition::Equals(x) => Value::Int(x),
        Condition::Above(x) | Condition::Below(x) => Value::Float(x),
    }
}

fn opposite(condition: Condition) -> Value {
    match condition {
        Condition::Equals(x) => Value::Int(if x == 0 { 1 } else { 0 }),
        Condition::Above(x) => Value::Float(x - x.abs().max(1.0)),
        Condition::Below(x) => Value::Float(x + x.abs().max(1.0)),
    }
}
