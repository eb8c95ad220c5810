//! One recipe over one stretch of samples: fills scans, steps the production core, keeps what it
//! decides.
//!
//! - A scan holds the samples of one millisecond, as live, where scans are never closer together.
//!   Where none come, scans follow each other by the recipe's period.
//! - The loops stand in SHADOW: the core itself says what it would have written. Nothing of that is
//!   fed back: what a setpoint's register reads is what was recorded.
//! - A silence of all tags of the recipe longer than `gap` counts as a lost link. When it speaks
//!   again, the last value of each tag counts as its first, as after a new subscription.

use std::collections::{BTreeMap, VecDeque};

use trimloop_core::cell::Cell;
use trimloop_core::event::What;
use trimloop_core::plan::{CHANGES_MAX, Plan, PlanError};
use trimloop_core::record::{DecisionRow, LabelRow, Outcome, Record};
use trimloop_core::scan::{Action, Link, Scan};
use trimloop_core::tag::{Sample, Status, TagId};
use trimloop_core::time::{Mono, Now, Process, Span, Utc};

use super::decided::{Decided, LoopCounts, is_at_limit};
use crate::export::RawSample;

/// Samples closer together than this are in one scan.
const TOGETHER: i64 = 1_000_000;
/// Parts whose ends are kept for labels that come later; as many as the core keeps.
const PARTS_KEPT: usize = trimloop_core::plan::PARTS_MAX;

/// A signature that went on or off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Switch {
    /// [ns UTC]
    pub(super) ts: i64,
    /// Number of the part that ended there, from 1 at the begin of the stretch; 0 and less before.
    pub(super) part: i64,
    pub(super) signature: usize,
    pub(super) on: bool,
}

/// A label that found its part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LabelSeen {
    /// When it came [ns UTC].
    pub(super) ts: i64,
    /// The PLC's id of its part.
    pub(super) id: i64,
    /// When its part ended [ns UTC].
    pub(super) part_ts: i64,
    /// Number of its part, as [`Switch::part`].
    pub(super) part: i64,
    pub(super) characteristic: usize,
    pub(super) value: f64,
}

/// What one stretch gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ArmDay {
    pub(super) parts: u64,
    pub(super) samples: u64,
    pub(super) scans: u64,
    /// Time with a recording [ns].
    pub(super) covered: i64,
    /// Silences that counted as a lost link.
    pub(super) silences: u64,
    /// `[signatures]` at the begin.
    pub(super) on_at_begin: Vec<bool>,
    pub(super) switches: Vec<Switch>,
    pub(super) labels: Vec<LabelSeen>,
    pub(super) labels_unmatched: u64,
    pub(super) labels_refused: u64,
    pub(super) decisions: Vec<Decided>,
    /// Decisions of the last hour before the stretch, made while it warmed up.
    pub(super) warmed: Vec<Decided>,
    /// `[loops]`
    pub(super) loops: Vec<LoopCounts>,
    /// `[models]` times over a limit, and out of the domain.
    pub(super) alarms: Vec<u64>,
    pub(super) out_of_domain: Vec<u64>,
    /// `[tags]` times no longer good.
    pub(super) not_good: Vec<u64>,
    /// `[tags]` never seen, neither here nor before.
    pub(super) never: Vec<bool>,
}

/// The stretch that an arm goes over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// Where the warm-up begins [ns UTC].
    pub(super) lead: i64,
    /// From here on it counts.
    pub(super) begin: i64,
    /// Up to here.
    pub(super) end: i64,
    /// Silence that counts as a lost link [ns].
    pub(super) gap: i64,
}

/// A recipe on its way through the samples.
pub(super) struct Arm<'p> {
    plan: &'p Plan,
    /// Tag of each name of the data.
    tag_of: Vec<Option<TagId>>,
    stretch: Stretch,
    cell: Cell,
    batch: Vec<Sample>,
    first: i64,
    newest: i64,
    /// `[tags]` the last sample.
    known: Vec<Option<RawSample>>,
    links: Vec<Link>,
    up: bool,
    epoch: u64,
    heard: i64,
    last: Option<i64>,
    seq: u64,
    keep: Keep,
}

/// What is kept of the actions.
struct Keep {
    day: ArmDay,
    /// When each known part ended, and its number in the core.
    parts: BTreeMap<i64, (i64, u64)>,
    order: VecDeque<i64>,
    /// Parts of the core before the begin.
    before: Option<u64>,
    newest: u64,
    on: Vec<bool>,
    decided: Vec<DecisionRow>,
    /// `[loops]` process time of the writes that dwell and budget would have left.
    writes: Vec<VecDeque<Process>>,
    was_at_limit: Vec<bool>,
    stretch: Stretch,
}

impl<'p> Arm<'p> {
    pub(super) fn new(
        plan: &'p Plan,
        names: &[String],
        stretch: Stretch,
    ) -> Result<Self, PlanError> {
        let tag_of = names.iter().map(|name| {
            let place = plan.tags.iter().position(|tag| tag.name == *name)?;
            u16::try_from(place).ok().map(TagId)
        });
        Ok(Self {
            plan,
            tag_of: tag_of.collect(),
            stretch,
            cell: Cell::new(plan.clone())?,
            batch: Vec::with_capacity(plan.tags.len()),
            first: 0,
            newest: 0,
            known: vec![None; plan.tags.len()],
            links: vec![Link::default(); plan.links.len()],
            up: false,
            epoch: 0,
            heard: i64::MIN,
            last: None,
            seq: 0,
            keep: Keep::new(plan, stretch),
        })
    }

    /// Whether there are tags of which nothing is known yet.
    pub(super) fn misses_some(&self) -> bool {
        let unknown = |tag: &TagId| self.known.get(tag.index()).is_some_and(Option::is_none);
        self.tag_of.iter().flatten().any(unknown)
    }

    /// The last sample of a tag before the stretch.
    pub(super) fn seed(&mut self, sample: &RawSample) {
        let tag = self.tag_of.get(usize::from(sample.tag)).copied().flatten();
        let Some(slot) = tag.and_then(|tag| self.known.get_mut(tag.index())) else { return };
        if slot.is_none_or(|known| known.ts <= sample.ts) {
            *slot = Some(*sample);
            self.heard = self.heard.max(sample.ts);
        }
    }

    /// All seeds are known: the recording may speak already.
    pub(super) fn begin(&mut self) {
        let lead = self.stretch.lead;
        if self.heard > i64::MIN && lead.saturating_sub(self.heard) <= self.stretch.gap {
            self.connect(lead);
            self.step(lead);
        }
    }

    /// The next sample.
    pub(super) fn take(&mut self, sample: &RawSample) {
        let Some(tag) = self.tag_of.get(usize::from(sample.tag)).copied().flatten() else { return };
        let full = self.batch.len() >= CHANGES_MAX;
        if !self.batch.is_empty() && (full || sample.ts >= self.first.saturating_add(TOGETHER)) {
            self.scan();
        }
        if self.batch.is_empty() {
            self.first = sample.ts;
        }
        self.newest = sample.ts;
        self.batch.push(as_sample(sample, tag, sample.ts));
        if let Some(slot) = self.known.get_mut(tag.index()) {
            *slot = Some(*sample);
        }
        if sample.ts >= self.stretch.begin {
            self.keep.day.samples += 1;
        }
    }

    /// After the last sample.
    pub(super) fn end(mut self) -> ArmDay {
        if !self.batch.is_empty() {
            self.scan();
        }
        self.idle(self.stretch.end);
        let mut day = self.keep.end();
        day.never = self.known.iter().map(Option::is_none).collect();
        day
    }

    fn scan(&mut self) {
        self.idle(self.first);
        // Those that are told in this scan need no value of old.
        let at = self.newest;
        if !self.up {
            self.connect(at);
        }
        self.heard = at;
        self.step(at);
    }

    /// A new session: its first values are the last that were recorded.
    fn connect(&mut self, at: i64) {
        self.up = true;
        self.epoch += 1;
        let told: Vec<bool> = {
            let mut told = vec![false; self.known.len()];
            for sample in &self.batch {
                if let Some(slot) = told.get_mut(sample.tag.index()) {
                    *slot = true;
                }
            }
            told
        };
        let old = (0_u16..).zip(&self.known).zip(&told).filter(|(_, told)| !**told);
        let old = old.filter_map(|((tag, known), _)| Some(as_sample(&(*known)?, TagId(tag), at)));
        let mut batch: Vec<Sample> = old.collect();
        batch.append(&mut self.batch);
        self.batch = batch;
    }

    /// Scans without samples, up to a time.
    fn idle(&mut self, until: i64) {
        let period = self.plan.period.as_nanos().max(TOGETHER);
        while self.up {
            let Some(last) = self.last else { return };
            let next = last.saturating_add(period);
            if next >= until {
                return;
            }
            if next.saturating_sub(self.heard) > self.stretch.gap {
                self.up = false;
                if self.keep.is_counted(next) {
                    self.keep.day.silences += 1;
                }
            }
            let batch = std::mem::take(&mut self.batch);
            self.step(next);
            self.batch = batch;
        }
    }

    /// One step of the core over the batch.
    fn step(&mut self, at: i64) {
        self.seq += 1;
        let mono = Mono::from_nanos(at);
        let link = Link { up: self.up, epoch: self.epoch, life: self.up.then_some(mono) };
        self.links.fill(link);
        let actions = self.cell.step(Scan {
            seq: self.seq,
            now: Now { mono, utc: Utc::from_nanos(at) },
            links: &self.links,
            changes: &self.batch,
            acks: &[],
            commands: &[],
        });
        for action in actions.as_slice() {
            self.keep.action(at, action);
        }
        drop(actions);
        self.keep.decide(self.plan, at, self.cell.process());
        if self.keep.is_counted(at) {
            self.keep.day.scans += 1;
            let from = self.last.unwrap_or(at).max(self.stretch.begin);
            self.keep.day.covered += if self.up { (at - from).max(0) } else { 0 };
        }
        self.last = Some(at);
        self.batch.clear();
    }
}

fn as_sample(of: &RawSample, tag: TagId, received: i64) -> Sample {
    Sample {
        tag,
        value: of.value,
        // The two highest bits of an OPC UA status are its severity (Part 4, 7.39).
        status: match of.status >> 30 {
            0 => Status::Good,
            1 => Status::Uncertain(of.status),
            _ => Status::Bad(of.status),
        },
        source_time: of.stamped.then_some(Utc::from_nanos(of.ts)),
        server_time: None,
        received: Mono::from_nanos(received),
    }
}

impl Keep {
    fn new(plan: &Plan, stretch: Stretch) -> Self {
        Self {
            day: ArmDay {
                loops: vec![LoopCounts::default(); plan.loops.len()],
                alarms: vec![0; plan.models.len()],
                out_of_domain: vec![0; plan.models.len()],
                not_good: vec![0; plan.tags.len()],
                ..ArmDay::default()
            },
            parts: BTreeMap::new(),
            order: VecDeque::new(),
            before: None,
            newest: 0,
            on: vec![false; plan.signatures.len()],
            decided: Vec::new(),
            writes: vec![VecDeque::new(); plan.loops.len()],
            was_at_limit: vec![false; plan.loops.len()],
            stretch,
        }
    }

    fn is_counted(&self, at: i64) -> bool {
        at >= self.stretch.begin && at < self.stretch.end
    }

    /// The first time that counts fixes where parts are counted from, and what was on.
    fn enter(&mut self, at: i64) -> bool {
        let counted = self.is_counted(at);
        if counted && self.before.is_none() {
            self.before = Some(self.newest);
            self.day.on_at_begin.clone_from(&self.on);
        }
        counted
    }

    fn numbered(&self, number: u64) -> i64 {
        number.cast_signed() - self.before.unwrap_or(self.newest).cast_signed()
    }

    fn action(&mut self, at: i64, action: &Action) {
        let counted = self.enter(at);
        match action {
            Action::Record(Record::Part(row)) => {
                self.newest = row.number;
                self.parts.insert(row.part, (at, row.number));
                self.order.push_back(row.part);
                if self.order.len() > PARTS_KEPT
                    && let Some(oldest) = self.order.pop_front()
                    && !self.order.contains(&oldest)
                {
                    self.parts.remove(&oldest);
                }
                self.day.parts += u64::from(counted);
            }
            Action::Record(Record::Label(row)) if counted => self.label(at, row),
            Action::Record(Record::Decision(row)) => self.decided.push(*row),
            Action::Event(event) => self.event(at, counted, &event.what),
            _ => {}
        }
    }

    fn label(&mut self, at: i64, row: &LabelRow) {
        let Some((part_ts, number)) = self.parts.get(&row.part).copied() else { return };
        self.day.labels.push(LabelSeen {
            ts: at,
            id: row.part,
            part_ts,
            part: self.numbered(number),
            characteristic: row.characteristic.index(),
            value: row.value,
        });
    }

    fn event(&mut self, at: i64, counted: bool, what: &What) {
        let count = |list: &mut Vec<u64>, index: usize| {
            if let Some(slot) = list.get_mut(index) {
                *slot += u64::from(counted);
            }
        };
        match *what {
            What::Signature(id, on) => {
                if let Some(slot) = self.on.get_mut(id.index()) {
                    *slot = on;
                }
                if counted {
                    let part = self.numbered(self.newest);
                    self.day.switches.push(Switch { ts: at, part, signature: id.index(), on });
                }
            }
            What::Alarm(id, true) => count(&mut self.day.alarms, id.index()),
            What::Domain(id, false) => count(&mut self.day.out_of_domain, id.index()),
            What::TagQuality(tag, quality) if !quality.is_good() => {
                count(&mut self.day.not_good, tag.index());
            }
            What::LabelUnmatched(..) => self.day.labels_unmatched += u64::from(counted),
            What::LabelRefused(..) => self.day.labels_refused += u64::from(counted),
            _ => {}
        }
    }

    /// Puts the decisions of a scan away, counted where they count.
    fn decide(&mut self, plan: &Plan, at: i64, process: Process) {
        for row in std::mem::take(&mut self.decided) {
            let index = row.loop_id.index();
            let writes = self.is_write(plan, &row, process);
            let decided = Decided { ts: at, row, writes };
            if self.enter(at) {
                if let (Some(of_loop), Some(was)) =
                    (self.day.loops.get_mut(index), self.was_at_limit.get_mut(index))
                {
                    of_loop.add(&decided, *was);
                    *was = is_at_limit(&row);
                }
                self.day.decisions.push(decided);
            } else if at >= self.stretch.begin.saturating_sub(super::JOIN) {
                if let Some(was) = self.was_at_limit.get_mut(index) {
                    *was = is_at_limit(&row);
                }
                self.day.warmed.push(decided);
            }
        }
    }

    /// Whether a would-be write is left when dwell and budget count the writes before it. SHADOW
    /// writes nothing, so the core has nothing to count there.
    fn is_write(&mut self, plan: &Plan, row: &DecisionRow, process: Process) -> bool {
        if row.outcome != Outcome::WouldWrite {
            return false;
        }
        let setpoint = plan.loops.get(row.loop_id.index()).map(|l| l.setpoint.index());
        let Some(limits) = setpoint.and_then(|s| plan.setpoints.get(s)) else { return false };
        let Some(writes) = self.writes.get_mut(row.loop_id.index()) else { return false };
        if writes.back().is_some_and(|last| process - *last < limits.dwell) {
            return false;
        }
        let window = limits.budget.map_or(Span::ZERO, |budget| budget.per);
        while writes.len() > 1 && writes.front().is_some_and(|first| process - *first >= window) {
            writes.pop_front();
        }
        let used = writes.iter().filter(|at| process - **at < window).count();
        let left = limits.budget.is_none_or(|b| used < usize::try_from(b.writes).unwrap_or(0));
        if left {
            writes.push_back(process);
        }
        left
    }

    fn end(mut self) -> ArmDay {
        if self.before.is_none() {
            self.day.on_at_begin = self.on;
        }
        self.day
    }
}
