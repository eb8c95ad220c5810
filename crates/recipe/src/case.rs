//! Runs the `[[check]]` tables of a recipe on the production core.
//!
//! A small machine stands in for the plant: it makes parts of 20 s (or of the recipe's `every`),
//! holds every tag at a value, echoes the heartbeat, takes writes at once and reports labels one
//! part late. It is no simulation of a process: labels follow setpoints by the gains that the
//! recipe itself states, nothing else follows anything.

use std::ops::Range;

use trimloop_core::cell::Cell;
use trimloop_core::mode::Mode;
use trimloop_core::plan::{Condition, Controller, Cut, LoopId, Plan, SetpointId, SignatureId};
use trimloop_core::record::{Outcome, Record};
use trimloop_core::scan::{Ack, AckResult, Action, Command, Link, Order, Scan};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Span, Utc};
use trimloop_core::unit::Ticks;

use crate::bind::Bound;
use crate::check::{Meaning, TagUnit, Values};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::raw::{RawCheck, RawExpect, RawGiven};
use crate::recipe::Recipe;
use crate::spanned::{At, Literal};
use crate::unit::Unit;

/// Most scans of one test; longer ones get shorter parts.
const SCANS_MAX: i64 = 120_000;
/// UTC at which tests begin: 2020-01-01, so that clocks look like clocks.
const START_MS: i64 = 1_577_836_800_000;

/// Runs every `[[check]]` of a recipe; one diagnostic for each that fails.
///
/// The same recipe gives the same answer: there is no clock and no randomness in it.
pub fn run_checks(recipe: &Recipe, bound: &Bound) -> Vec<Diagnostic> {
    recipe.raw.check.iter().filter_map(|check| run_one(recipe, bound, check)).collect()
}

fn run_one(recipe: &Recipe, bound: &Bound, check: &At<RawCheck>) -> Option<Diagnostic> {
    let fail = |span: Range<usize>, label: String| {
        let message = format!("check \"{}\" failed", check.name.get());
        Some(Diagnostic::error(&codes::CHECK_FAILED, &recipe.source, span, message).label(label))
    };
    let mut plan = bound.plan.clone();
    for tag in &mut plan.tags {
        // A test holds values still on purpose: that is no frozen sensor.
        tag.frozen_after = 0;
    }
    let cell = match Cell::new(plan) {
        Ok(cell) => cell,
        Err(error) => return fail(check.name.span(), error.to_string()),
    };
    let mut machine = Machine::new(recipe, bound, check.given.get(), cell);
    machine.run(check.given.get());
    let (span, label) = machine.judge(recipe, check.expect.get())?;
    fail(span, label)
}

/// The stand-in for the plant, and the cell under test.
struct Machine<'a> {
    plan: &'a Plan,
    cell: Cell,
    /// `[tags]` the value of each.
    values: Vec<Value>,
    /// `[setpoints]` where the register stands.
    registers: Vec<Ticks>,
    /// `[setpoints]` lowest and highest tick ever written.
    written: Vec<Option<(Ticks, Ticks)>>,
    /// `[setpoints]` outcome of the last decision of its loop.
    decided: Vec<Option<Outcome>>,
    /// Label values at the baselines, by characteristic.
    labels: Vec<Option<f64>>,
    mode: Mode,
    scan: i64,
    acks: Vec<Ack>,
}

impl<'a> Machine<'a> {
    fn new(recipe: &Recipe, bound: &'a Bound, given: &RawGiven, cell: Cell) -> Self {
        let plan = &bound.plan;
        let mut machine = Self {
            plan,
            cell,
            values: plan.tags.iter().map(|tag| Value::Float(middle(tag.range))).collect(),
            registers: plan.setpoints.iter().map(|setpoint| setpoint.baseline).collect(),
            written: vec![None; plan.setpoints.len()],
            decided: vec![None; plan.setpoints.len()],
            labels: vec![None; plan.characteristics.len()],
            mode: Mode::Auto,
            scan: 0,
            acks: Vec::new(),
        };
        machine.settle(given);
        machine.take_given(recipe, given);
        machine
    }

    fn set(&mut self, tag: TagId, value: Value) {
        if let Some(slot) = self.values.get_mut(tag.index()) {
            *slot = value;
        }
    }

    /// Everything as it must be for writing.
    fn settle(&mut self, given: &RawGiven) {
        let plan = self.plan;
        for (tag, slot) in plan.tags.iter().zip(&mut self.values) {
            if tag.unit.is_empty() {
                *slot = Value::Int(0);
            }
        }
        for chart in plan.models.iter().filter_map(|model| match &model.model {
            trimloop_core::plan::Model::Chart(chart) => Some(chart),
            _ => None,
        }) {
            if let Some(feature) = plan.features.get(chart.input.index()) {
                self.set(feature.tag, Value::Float(chart.mean));
            }
        }
        if let Some((tag, value)) = plan.cycle.running {
            self.set(tag, Value::Int(value));
        }
        for binding in &plan.bindings {
            self.set(binding.tag, Value::Int(binding.equals));
        }
        for setpoint in &plan.setpoints {
            let limits = [(setpoint.plc_low, setpoint.low), (setpoint.plc_high, setpoint.high)];
            for (tag, ticks) in limits {
                if let Some(tag) = tag {
                    self.set(tag, Value::Float(setpoint.grid.value(ticks)));
                }
            }
        }
        for interlock in &plan.interlocks {
            let open = given.open.iter().any(|name| name.as_str() == interlock.name);
            let now = self.values.get(interlock.tag.index()).copied();
            let span = plan.tags.get(interlock.tag.index()).and_then(|tag| tag.range);
            if let Some(value) =
                now.and_then(|now| interlock_value(interlock.closed, open, now, span))
            {
                self.set(interlock.tag, value);
            }
        }
        for enable in plan.links.iter().filter_map(|link| link.enable) {
            self.set(enable, Value::Bool(true));
        }
    }

    /// What the test says, over what was settled.
    fn take_given(&mut self, recipe: &Recipe, given: &RawGiven) {
        if given.mode.as_ref().is_some_and(|mode| mode.as_str() == "shadow") {
            self.mode = Mode::Shadow;
        }
        for (name, literal) in given.values.iter() {
            let place = self.plan.tags.iter().position(|tag| tag.name == name.as_str());
            let Some(place) = place else { continue };
            let unit = self.plan.tags.get(place).map_or("", |tag| tag.unit.as_str());
            if let Some(value) = number(recipe, literal, unit)
                && let Ok(id) = u16::try_from(place)
            {
                self.set(TagId(id), value);
            }
        }
        for (name, literal) in given.labels.iter() {
            let place = self.plan.characteristics.iter().position(|c| c.name == name.as_str());
            let Some(place) = place else { continue };
            let unit = self.plan.characteristics.get(place).map_or("", |c| c.unit.as_str());
            let value = number(recipe, literal, unit).map(Value::as_f64);
            if let Some(slot) = self.labels.get_mut(place) {
                *slot = value;
            }
        }
    }

    fn run(&mut self, given: &RawGiven) {
        let period = self.plan.period;
        let warm_up = i64::from(self.plan.cycle.warm_up);
        let parts = given.parts.get().saturating_add(warm_up).clamp(1, 2000);
        let length = match self.plan.cycle.cut {
            Cut::Every(every) => every,
            _ => Span::from_secs(20),
        };
        let scans = (length.as_nanos() / period.as_nanos().max(1)).max(1);
        let scans = scans.min((SCANS_MAX / parts).max(10));
        for part in 1..=parts {
            for place in 0..scans {
                // Values arrive a few times during each part; ids at its end.
                let news = place % (scans / 8).max(1) == 0;
                self.step(news, None);
            }
            self.step(true, Some(part));
        }
    }

    /// A label's value: as given, moved by what its loop has moved.
    fn label(&self, place: usize) -> Option<f64> {
        let mut value = self.labels.get(place).copied().flatten()?;
        for of in &self.plan.loops {
            let Controller::RunToRun(run) = &of.controller else { continue };
            let (Some(setpoint), Some(at)) = (
                self.plan.setpoints.get(of.setpoint.index()),
                self.registers.get(of.setpoint.index()),
            ) else {
                continue;
            };
            if run.characteristic.index() == place {
                value +=
                    run.gain * (setpoint.grid.value(*at) - setpoint.grid.value(setpoint.baseline));
            }
        }
        Some(value)
    }

    /// One scan; `ended` is the part that has just been finished.
    fn step(&mut self, news: bool, ended: Option<i64>) {
        let plan = self.plan;
        let elapsed = plan.period.times(self.scan);
        let mono = Mono::from_nanos(elapsed.as_nanos());
        let utc = Utc::from_nanos(Span::from_millis(START_MS).as_nanos() + elapsed.as_nanos());
        for clock in plan.links.iter().filter_map(|link| link.clock) {
            self.set(clock, Value::Int(START_MS + elapsed.as_millis()));
        }
        for (place, setpoint) in plan.setpoints.iter().enumerate() {
            if let Some(ticks) = self.registers.get(place) {
                self.set(setpoint.tag, Value::Float(setpoint.grid.value(*ticks)));
            }
        }
        let mut orders = Vec::new();
        let mut last: Vec<TagId> = Vec::new();
        if let Some(part) = ended {
            self.end_part(part, &mut last);
            orders = self.orders();
        }
        let sample = |tag: TagId, value: Value| Sample {
            tag,
            value: Some(value),
            status: Status::Good,
            source_time: Some(utc),
            server_time: Some(utc),
            received: mono,
        };
        let always: Vec<TagId> = plan
            .links
            .iter()
            .flat_map(|link| [link.clock, link.heartbeat.map(|heartbeat| heartbeat.echo)])
            .flatten()
            .collect();
        let links = vec![Link { up: true, epoch: 1, life: Some(mono) }; plan.links.len()];
        let setpoints: Vec<TagId> = plan.setpoints.iter().map(|setpoint| setpoint.tag).collect();
        let mut changes = Vec::new();
        for (place, value) in self.values.iter().enumerate() {
            let Ok(id) = u16::try_from(place) else { break };
            let tag = TagId(id);
            let due = news || always.contains(&tag) || setpoints.contains(&tag);
            if due && !last.contains(&tag) {
                changes.push(sample(tag, *value));
            }
        }
        // Ids come after the values that they name.
        for tag in last {
            if let Some(value) = self.values.get(tag.index()) {
                changes.push(sample(tag, *value));
            }
        }
        let acks = std::mem::take(&mut self.acks);
        let scan = Scan {
            seq: u64::try_from(self.scan).unwrap_or(0),
            now: Now { mono, utc },
            links: &links,
            changes: &changes,
            acks: &acks,
            commands: &orders,
        };
        self.scan += 1;
        let actions: Vec<Action> = self.cell.step(scan).collect();
        for action in actions {
            self.carry_out(&action, mono);
        }
    }

    /// Puts the ids of a finished part, and of the labelled one before it, into the tags.
    fn end_part(&mut self, part: i64, last: &mut Vec<TagId>) {
        let plan = self.plan;
        if let Cut::Finished(tag) | Cut::Started(tag) = plan.cycle.cut {
            self.set(tag, Value::Int(part));
            last.push(tag);
        }
        for (place, characteristic) in plan.characteristics.iter().enumerate() {
            if let Some(value) = self.label(place).filter(|_| part > 1) {
                self.set(characteristic.value, Value::Float(value));
                self.set(characteristic.part, Value::Int(part - 1));
                last.push(characteristic.part);
            }
        }
    }

    /// Asks every loop for the mode of the test until it has it.
    fn orders(&self) -> Vec<Order> {
        let mut orders = Vec::new();
        for place in 0..self.plan.loops.len() {
            let Ok(id) = u16::try_from(place) else { break };
            let loop_id = LoopId(id);
            let wanted =
                self.plan.loops.get(place).map_or(Mode::Shadow, |of| of.mode_max.min(self.mode));
            // A trip stays: raising it again would hide it from the test.
            let asked = self.cell.loop_status(loop_id).map(|status| status.asked);
            if asked.is_some_and(|asked| asked < wanted) {
                let command = Command::SetMode(loop_id, wanted);
                orders.push(Order { id: u64::from(id), command });
            }
        }
        orders
    }

    fn carry_out(&mut self, action: &Action, at: Mono) {
        match action {
            Action::Write(write) => {
                let place = write.setpoint().index();
                if let Some(slot) = self.registers.get_mut(place) {
                    *slot = write.to();
                }
                if let Some(slot) = self.written.get_mut(place) {
                    let (low, high) = slot.unwrap_or((write.to(), write.to()));
                    *slot = Some((low.min(write.to()), high.max(write.to())));
                }
                self.acks.push(Ack { write: write.seq(), result: AckResult::Good, at });
            }
            Action::Heartbeat(plc, count) => {
                let link = self.plan.links.get(plc.index());
                if let Some(heartbeat) = link.and_then(|link| link.heartbeat) {
                    self.set(heartbeat.echo, Value::Int(i64::from(*count)));
                }
            }
            Action::Record(Record::Decision(row)) => {
                let setpoint = self.plan.loops.get(row.loop_id.index()).map(|of| of.setpoint);
                if let Some(slot) = setpoint.and_then(|s| self.decided.get_mut(s.index())) {
                    *slot = Some(row.outcome);
                }
            }
            Action::Ask(_) | Action::Record(_) | Action::Event(_) => {}
        }
    }

    /// The first expectation that does not hold: where, and what happened instead.
    fn judge(&self, recipe: &Recipe, expect: &RawExpect) -> Option<(Range<usize>, String)> {
        for (name, wanted) in [(&expect.signature, true), (&expect.no_signature, false)] {
            let Some(name) = name else { continue };
            let place = self.plan.signatures.iter().position(|s| s.name == name.as_str())?;
            let on = self.cell.signatures().is_on(SignatureId(u16::try_from(place).ok()?));
            if on != wanted {
                let said = if on { "it is on at the end" } else { "it is off at the end" };
                return Some((name.span(), said.to_owned()));
            }
        }
        self.judge_setpoint(recipe, expect).or_else(|| self.judge_hold(expect))
    }

    fn judge_setpoint(
        &self,
        recipe: &Recipe,
        expect: &RawExpect,
    ) -> Option<(Range<usize>, String)> {
        let name = expect.setpoint.as_ref()?;
        let place = self.plan.setpoints.iter().position(|s| s.name == name.as_str())?;
        let id = SetpointId(u16::try_from(place).ok()?);
        let setpoint = self.plan.setpoints.get(id.index())?;
        let stands = self.registers.get(place).copied()?;
        let written = self.written.get(place).copied()?;
        let show = |ticks: Ticks| format!("{} {}", setpoint.grid.value(ticks), setpoint.unit);
        if let Some(moves) = &expect.moves {
            let good = match moves.as_str() {
                "up" => stands > setpoint.baseline,
                "down" => stands < setpoint.baseline,
                _ => written.is_none(),
            };
            if !good {
                let said = match written {
                    None => format!(
                        "it was never written and stands at {}{}",
                        show(stands),
                        self.why_not(place)
                    ),
                    Some(_) => format!(
                        "it stands at {}, the baseline is {}",
                        show(stands),
                        show(setpoint.baseline)
                    ),
                };
                return Some((moves.span(), said));
            }
        }
        let (within, (lowest, highest)) = expect.within.as_ref().zip(written)?;
        let [low, high] = &within.0;
        let low = number(recipe, low, &setpoint.unit)?.as_f64();
        let high = number(recipe, high, &setpoint.unit)?.as_f64();
        let inside = setpoint.grid.value(lowest) >= low && setpoint.grid.value(highest) <= high;
        (!inside).then(|| {
            (within.span(), format!("it was written from {} to {}", show(lowest), show(highest)))
        })
    }

    fn why_not(&self, setpoint: usize) -> String {
        match self.decided.get(setpoint).copied().flatten() {
            Some(Outcome::Hold(reason)) => format!(" (held: {})", reason.word()),
            Some(Outcome::Trip(reason)) => format!(" (tripped: {})", reason.word()),
            Some(Outcome::WouldWrite) => " (shadow: would have been written)".to_owned(),
            _ => String::new(),
        }
    }

    fn judge_hold(&self, expect: &RawExpect) -> Option<(Range<usize>, String)> {
        let hold = expect.hold.as_ref()?;
        let named = expect.setpoint.as_ref();
        let mut said = String::from("nothing was decided");
        for (setpoint, outcome) in self.plan.setpoints.iter().zip(&self.decided) {
            if named.is_some_and(|name| name.as_str() != setpoint.name) {
                continue;
            }
            match outcome {
                Some(Outcome::Hold(reason)) if reason.word() == hold.as_str() => return None,
                Some(Outcome::Hold(reason)) => said = format!("held for {}", reason.word()),
                Some(_) => "not held".clone_into(&mut said),
                None => {}
            }
        }
        Some((hold.span(), said))
    }
}

fn middle(range: Option<(f64, f64)>) -> f64 {
    range.map_or(0.0, |(low, high)| low + (high - low) / 2.0)
}

/// A value at which the interlock is closed or open; `None` leaves the value as it is.
fn interlock_value(
    closed: Condition,
    open: bool,
    now: Value,
    range: Option<(f64, f64)>,
) -> Option<Value> {
    let (low, high) = range.unwrap_or((f64::MIN, f64::MAX));
    match (closed, open) {
        (Condition::Equals(wanted), false) => Some(Value::Int(wanted)),
        (Condition::Equals(wanted), true) => Some(Value::Int(i64::from(wanted == 0))),
        (Condition::Above(limit), false) => {
            (now.as_f64() < limit).then_some(Value::Float(limit.max(low)))
        }
        (Condition::Below(limit), false) => {
            (now.as_f64() > limit).then_some(Value::Float(limit.min(high)))
        }
        (Condition::Above(_), true) => Some(Value::Float(low)),
        (Condition::Below(_), true) => Some(Value::Float(high)),
    }
}

/// A checked literal as a value of `unit`.
fn number(recipe: &Recipe, literal: &At<Literal>, unit: &str) -> Option<Value> {
    if unit.is_empty() {
        match literal.text.as_str() {
            "true" => return Some(Value::Bool(true)),
            "false" => return Some(Value::Bool(false)),
            text => {
                if let Ok(whole) = text.parse() {
                    return Some(Value::Int(whole));
                }
            }
        }
    }
    // It was checked with the recipe; a mistake found here would be told there.
    let mut quiet = Values::new(&recipe.source);
    let unit = TagUnit::Known(Unit::parse(unit).ok()?);
    quiet.quantity(literal, &unit, Meaning::Point, "").map(|value| Value::Float(value.to_f64()))
}
