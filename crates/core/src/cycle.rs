//! Parts: where one ends, under which setpoints it was made, and what is remembered of it.
//!
//! Terms:
//! - *edge*: a change of the part id while it is Good. The first id after a start or a lost link is
//!   no edge, only the reference; nor is the same id told again.
//! - *clean*: no flag set. Estimators learn from clean parts only.
//!
//! Invariant: a setpoint is given for a part only if its read-back was the same tick at begin and
//! end and never seen to differ in between; labels are paired with that number and no other.

use alloc::vec;
use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::image::Accepted;
use crate::plan::{Cut, PARTS_MAX, Plan, PlcId};
use crate::tag::TagId;
use crate::time::{Process, Span};
use crate::unit::Ticks;

/// A finished part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part<'a> {
    /// Part id of the PLC, or the count of time cuts.
    pub id: i64,
    /// Counts stored parts from 1 since the start.
    pub number: u64,
    /// Process time of its begin; of its first sight when the begin was missed (flag `gap`).
    pub began: Process,
    /// Process time of its end.
    pub ended: Process,
    /// `[features]` in the plan's order.
    pub features: &'a [FeatureValue],
    /// `[setpoints]` read-back in force for the whole part; `None` when it moved or is unknown.
    pub setpoints: &'a [Option<Ticks>],
    /// What speaks against learning from it.
    pub flags: PartFlags,
}

/// What speaks against learning from a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags, not a state")]
pub struct PartFlags {
    /// Among the first after a start, a stop or a product change.
    pub warm_up: bool,
    /// A setpoint moved, or its read-back came or went, during the part.
    pub mixed: bool,
    /// Something of it is missing: its begin, the link, its id for a while, a part before it; or
    /// the machine was not running.
    pub gap: bool,
    /// The machine was not running, or not known to be, at some time of the part.
    pub stopped: bool,
}

impl PartFlags {
    /// Whether estimators may learn from the part.
    pub const fn clean(self) -> bool {
        !(self.warm_up || self.mixed || self.gap || self.stopped)
    }
}

/// Finds the cuts and keeps the last [`PARTS_MAX`] parts. All memory is taken in [`Cycles::new`].
#[derive(Clone, Debug)]
pub struct Cycles {
    /// Ring: part `number` is at `(number - 1) % PARTS_MAX`.
    parts: Vec<Stored>,
    /// `[PARTS_MAX][features]`.
    features: Vec<FeatureValue>,
    /// `[PARTS_MAX][setpoints]`.
    setpoints: Vec<Option<Ticks>>,
    feature_count: usize,
    setpoint_count: usize,
    /// `[tags]` index of the setpoint whose register the tag is.
    setpoint_of: Vec<Option<u16>>,
    number: u64,
    now: Current,
    /// `[setpoints]` read-back when the part began.
    at_begin: Vec<Option<Ticks>>,
    /// `[setpoints]` whether it was seen to differ from that since.
    moved: Vec<bool>,
    /// Parts flagged after a start, a stop or a product change, and how many still will be.
    warm_up: u32,
    warm_up_left: u32,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    id: i64,
    number: u64,
    began: Process,
    ended: Process,
    flags: PartFlags,
}

/// The part in work.
#[derive(Clone, Copy, Debug)]
struct Current {
    /// Reference id; `None` until one is seen.
    id: Option<i64>,
    began: Process,
    /// Next time cut; `None` before the first look.
    due: Option<Process>,
    time_cuts: i64,
    gap: bool,
    stopped: bool,
}

impl Cycles {
    /// No part yet; the first `warm_up` ones will be flagged, and the very first of a tag-driven
    /// cut has a gap, because its begin was not seen.
    pub fn new(plan: &Plan) -> Self {
        let mut setpoint_of = vec![None; plan.tags.len()];
        for (i, setpoint) in (0_u16..).zip(&plan.setpoints) {
            if let Some(slot) = setpoint_of.get_mut(setpoint.tag.index()) {
                *slot = Some(i);
            }
        }
        let (feature_count, setpoint_count) = (plan.features.len(), plan.setpoints.len());
        Self {
            parts: Vec::with_capacity(PARTS_MAX),
            features: vec![FeatureValue::UNKNOWN; PARTS_MAX.saturating_mul(feature_count)],
            setpoints: vec![None; PARTS_MAX.saturating_mul(setpoint_count)],
            feature_count,
            setpoint_count,
            setpoint_of,
            number: 0,
            now: Current {
                id: None,
                began: Process::default(),
                due: None,
                time_cuts: 0,
                gap: !matches!(plan.cycle.cut, Cut::Every(_)),
                stopped: false,
            },
            at_begin: vec![None; setpoint_count],
            moved: vec![false; setpoint_count],
            warm_up: plan.cycle.warm_up,
            warm_up_left: plan.cycle.warm_up,
        }
    }

    /// Looks at a judged sample, or without one at process time only: the id of the part that ended
    /// there. Give it every sample; it also watches the setpoints' registers and the running tag.
    ///
    /// Store the part ([`Cycles::store`]) before the next id; other samples of the same moment may
    /// be looked at in between and count for the part that ended.
    pub fn cut(
        &mut self,
        plan: &Plan,
        accepted: Option<&Accepted>,
        process: Process,
    ) -> Option<i64> {
        if let Some(accepted) = accepted {
            self.watch_setpoint(plan, accepted);
            self.watch_running(plan, accepted);
        }
        match plan.cycle.cut {
            Cut::Every(span) => self.cut_by_time(span, process),
            Cut::Finished(tag) => {
                let accepted = accepted.filter(|a| a.tag == tag)?;
                self.edge(accepted, process).map(|(_, new)| new)
            }
            Cut::Started(tag) => {
                let accepted = accepted.filter(|a| a.tag == tag)?;
                self.edge(accepted, process).map(|(old, _)| old)
            }
        }
    }

    /// Old and new id.
    fn edge(&mut self, accepted: &Accepted, process: Process) -> Option<(i64, i64)> {
        let id = accepted.value.as_i64().filter(|_| accepted.quality.is_good());
        let Some(new) = id else {
            // While the id cannot be read, an edge may pass unseen.
            self.now.gap = true;
            return None;
        };
        match self.now.id.replace(new) {
            None => {
                self.now.began = process;
                None
            }
            Some(old) if old == new => None,
            Some(old) => {
                // Parts in between ended unseen: this one's data are theirs too.
                self.now.gap |= new.checked_sub(old) != Some(1);
                Some((old, new))
            }
        }
    }

    fn cut_by_time(&mut self, span: Span, process: Process) -> Option<i64> {
        if span <= Span::ZERO {
            return None;
        }
        let Some(due) = self.now.due else {
            self.now.began = process;
            self.now.due = Some(process + span);
            return None;
        };
        if process < due {
            return None;
        }
        // Cuts stay on their grid; if process time leapt over several, this part is too long.
        let missed = (process - due).as_nanos() / span.as_nanos();
        self.now.gap |= missed > 0;
        self.now.due = Some(due + span.times(missed.saturating_add(1)));
        self.now.time_cuts = self.now.time_cuts.saturating_add(1);
        Some(self.now.time_cuts)
    }

    fn watch_setpoint(&mut self, plan: &Plan, accepted: &Accepted) {
        let index = self.setpoint_of.get(accepted.tag.index()).copied().flatten();
        let Some(index) = index.map(usize::from) else { return };
        let Some(setpoint) = plan.setpoints.get(index) else { return };
        if !accepted.quality.is_good() {
            return;
        }
        let ticks = setpoint.grid.nearest(accepted.value.as_f64());
        let begin = self.at_begin.get(index).copied().flatten();
        let early =
            plan.cycle.latch > Span::ZERO && accepted.at - self.now.began <= plan.cycle.latch;
        if early && ticks.is_some() {
            if let Some(begin) = self.at_begin.get_mut(index) {
                *begin = ticks;
            }
            return;
        }
        if let (Some(moved), Some(begin)) = (self.moved.get_mut(index), begin) {
            // A move there and back leaves begin and end equal, but not the part.
            *moved |= ticks != Some(begin);
        }
    }

    fn watch_running(&mut self, plan: &Plan, accepted: &Accepted) {
        let Some((tag, value)) = plan.cycle.running else { return };
        if accepted.tag == tag {
            let running = accepted.quality.is_good() && accepted.value.as_i64() == Some(value);
            self.now.stopped |= !running;
        }
    }

    /// Stores the part that [`Cycles::cut`] found, ended at `process`, and begins the next. Tells
    /// its number.
    ///
    /// - `features`: `[features]`; those missing count as unknown.
    /// - `setpoints_now`: `[setpoints]` read-back at the cut, `None` = unknown.
    /// - `running`: whether the machine is known to produce at the cut.
    pub fn store(
        &mut self,
        _plan: &Plan,
        id: i64,
        process: Process,
        features: &[FeatureValue],
        setpoints_now: &[Option<Ticks>],
        running: bool,
    ) -> u64 {
        self.number = self.number.saturating_add(1);
        let slot = ring_slot(self.number);
        let stopped = self.now.stopped || !running;
        if stopped {
            self.warm_up_left = self.warm_up;
        }
        let flags = PartFlags {
            warm_up: self.warm_up_left > 0,
            mixed: self.keep_setpoints(slot, setpoints_now),
            gap: self.now.gap || stopped,
            stopped,
        };
        if !stopped {
            self.warm_up_left = self.warm_up_left.saturating_sub(1);
        }
        let ended = process.max(self.now.began);
        let part = Stored { id, number: self.number, began: self.now.began, ended, flags };
        match self.parts.get_mut(slot) {
            Some(old) => *old = part,
            None => self.parts.push(part),
        }
        if let Some(row) = row_mut(&mut self.features, slot, self.feature_count) {
            let given = features.iter().copied().chain(core::iter::repeat(FeatureValue::UNKNOWN));
            for (kept, value) in row.iter_mut().zip(given) {
                *kept = value;
            }
        }
        self.now.began = ended;
        self.now.gap = false;
        self.now.stopped = !running;
        self.number
    }

    /// Keeps what stood for the whole part, makes the read-backs now those of the next part's
    /// begin; true when any moved, came or went.
    fn keep_setpoints(&mut self, slot: usize, setpoints_now: &[Option<Ticks>]) -> bool {
        let Some(row) = row_mut(&mut self.setpoints, slot, self.setpoint_count) else {
            return false;
        };
        let mut mixed = false;
        let ends = setpoints_now.iter().copied().chain(core::iter::repeat(None));
        let begins = self.at_begin.iter_mut().zip(&mut self.moved);
        for ((kept, end), (begin, moved)) in row.iter_mut().zip(ends).zip(begins) {
            let stood = *begin == end && !*moved;
            mixed |= !stood;
            *kept = if stood { end } else { None };
            *begin = end;
            *moved = false;
        }
        mixed
    }

    /// Parts that will still be flagged as warm-up.
    pub fn warm_up_left(&self) -> u32 {
        self.warm_up_left
    }

    /// The newest part with this id; `None` when it is not, or no longer, known. Looks at no more
    /// than [`PARTS_MAX`] ids, the newest first.
    pub fn find(&self, id: i64) -> Option<Part<'_>> {
        // Two runs of the ring, each walked backwards: up to the newest part, then the older lap.
        let split = if self.number == 0 { 0 } else { ring_slot(self.number) + 1 };
        let newer = self.parts.iter().take(split).rev();
        let older = self.parts.iter().skip(split).rev();
        newer.chain(older).find(|part| part.id == id).and_then(|part| self.part(part))
    }

    /// The last stored part.
    pub fn newest(&self) -> Option<Part<'_>> {
        if self.number == 0 {
            return None;
        }
        self.parts.get(ring_slot(self.number)).and_then(|part| self.part(part))
    }

    fn part(&self, part: &Stored) -> Option<Part<'_>> {
        let slot = ring_slot(part.number);
        Some(Part {
            id: part.id,
            number: part.number,
            began: part.began,
            ended: part.ended,
            features: row(&self.features, slot, self.feature_count)?,
            setpoints: row(&self.setpoints, slot, self.setpoint_count)?,
            flags: part.flags,
        })
    }

    /// What tells two histories apart where no label asks for an older part.
    #[cfg(test)]
    pub(crate) fn digest(&self, digest: &mut crate::properties::explore::digest::Digest) {
        let Self { now, at_begin, moved, warm_up_left, .. } = self;
        let Current { id, began, due, time_cuts: _, gap, stopped } = now;
        digest.add(&(id, began, due, gap, stopped, at_begin, moved, warm_up_left));
        digest.add(&self.newest().map(|part| part.flags));
    }

    /// The link to a PLC was lost, and its setpoints are unknown.
    ///
    /// The part in work has a gap where that PLC cuts the parts, says whether the machine runs, or
    /// gives a feature. Where it cuts them, the next id only sets the reference.
    pub fn link_lost(&mut self, plan: &Plan, plc: PlcId) {
        let on = |tag: TagId| plan.plc_of(tag) == plc;
        let cuts = plan.plc_of_cycle() == plc;
        if cuts {
            self.now.id = None;
        }
        let runs = plan.cycle.running.is_some_and(|(tag, _)| on(tag));
        self.now.gap |= cuts || runs || plan.features.iter().any(|feature| on(feature.tag));
        for (begin, setpoint) in self.at_begin.iter_mut().zip(&plan.setpoints) {
            if on(setpoint.tag) {
                *begin = None;
            }
        }
    }

    /// Product change, start: the next `warm_up` parts feed no estimator.
    pub fn disturb(&mut self) {
        self.warm_up_left = self.warm_up;
    }
}

/// Where part `number` (from 1) lies in the ring.
fn ring_slot(number: u64) -> usize {
    let slot = number.saturating_sub(1) % PARTS_MAX as u64;
    usize::try_from(slot).unwrap_or(0)
}

fn row<T>(table: &[T], slot: usize, width: usize) -> Option<&[T]> {
    let start = slot.checked_mul(width)?;
    table.get(start..start.checked_add(width)?)
}

fn row_mut<T>(table: &mut [T], slot: usize, width: usize) -> Option<&mut [T]> {
    let start = slot.checked_mul(width)?;
    table.get_mut(start..start.checked_add(width)?)
}

#[cfg(test)]
mod tests;
