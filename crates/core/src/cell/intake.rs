//! Samples in; parts, scores and labels out.

use alloc::vec;
use alloc::vec::Vec;

use super::Cell;
use crate::effect::Labelled;
use crate::event::{OrderRefusal, What};
use crate::model::Contribution;
use crate::plan::{
    CHANGES_MAX, CharacteristicId, Controller, Cut, ModelId, Plan, PlcId, SignatureId, Source,
};
use crate::record::{ContributionRow, FeatureRow, LabelRow, PartRow, Record, ScoreRow};
use crate::scan::Label;
use crate::tag::{Sample, TagId};
use crate::time::Utc;

/// Tags whose age is looked at per scan, so that a silent tag is reported without a walk over all.
const SWEEP: usize = 64;
/// Labels remembered per characteristic, so that one told twice counts once.
const REMEMBERED: usize = 64;
/// Contributions stored with a score over its limit.
const TOP: usize = 3;

/// Edges that wait for the other values of their moment: within one notification the order of
/// tags means nothing, so a cut is made when a later moment begins or the scan ends.
#[derive(Clone, Debug)]
pub(super) struct Due {
    cut: Option<(i64, Option<Utc>)>,
    /// `[characteristics]` part id of the label and its moment.
    labels: Vec<Option<(i64, Option<Utc>)>>,
    /// `[characteristics]` newest part id seen.
    seen: Vec<Option<i64>>,
}

impl Due {
    pub(super) fn new(plan: &Plan) -> Self {
        let n = plan.characteristics.len();
        Self { cut: None, labels: vec![None; n], seen: vec![None; n] }
    }

    /// A PLC was lost: ids that it told before mean nothing after.
    pub(super) fn forget(&mut self, plan: &Plan, plc: PlcId) {
        if plan.plc_of_cycle() == plc {
            self.cut = None;
        }
        let slots = self.labels.iter_mut().zip(&mut self.seen);
        for ((label, seen), of) in slots.zip(&plan.characteristics) {
            if plan.plc_of(of.part) == plc {
                *label = None;
                *seen = None;
            }
        }
    }
}

/// The newest labelled parts of one characteristic.
#[derive(Clone, Debug)]
pub(super) struct LabelMemory {
    parts: [i64; REMEMBERED],
    count: usize,
}

impl LabelMemory {
    pub(super) const fn new() -> Self {
        Self { parts: [0; REMEMBERED], count: 0 }
    }

    /// `false` when this part was labelled before.
    fn first_time(&mut self, part: i64) -> bool {
        let known = self.count.min(REMEMBERED);
        if self.parts.iter().take(known).any(|p| *p == part) {
            return false;
        }
        if let Some(slot) = self.parts.get_mut(self.count % REMEMBERED) {
            *slot = part;
        }
        self.count += 1;
        true
    }
}

impl Cell {
    pub(super) fn take_samples(&mut self, samples: &[Sample]) {
        if let Some(left) = samples.len().checked_sub(CHANGES_MAX).filter(|n| *n > 0) {
            self.out.event(What::Overrun(u32::try_from(left).unwrap_or(u32::MAX)));
        }
        for sample in samples.iter().take(CHANGES_MAX) {
            if self.plan.tags.get(sample.tag.index()).is_some() {
                self.settle_due(self.plan.plc_of(sample.tag), sample.source_time);
                self.take_sample(sample);
            }
        }
        self.settle_all();
        if matches!(self.plan.cycle.cut, Cut::Every(_))
            && self.live(PlcId::LEAD)
            && let Some(id) = self.cycles.cut(&self.plan, None, self.process)
        {
            self.finish_part(id);
        }
    }

    fn take_sample(&mut self, sample: &Sample) {
        let running = self.interlocks.running();
        let accepted = self.image.accept(&self.plan, sample, running);
        self.features.accept(&self.plan, &accepted);
        self.report_quality(sample.tag);
        if accepted.step_accepted {
            self.out.event(What::StepAccepted(sample.tag));
        }
        if accepted.skewed {
            self.out.event(What::ClockSkew(sample.tag));
        }
        if let Some(id) = self.cycles.cut(&self.plan, Some(&accepted), self.process) {
            // Another id of the same moment is still due: it ends first, or it would be lost.
            if let Some((before, _)) = self.due.cut.take() {
                self.finish_part(before);
            }
            self.due.cut = Some((id, sample.source_time));
        }
        for index in 0..self.plan.characteristics.len() {
            let part = self.plan.characteristics.get(index).map(|c| c.part);
            if part == Some(sample.tag) && accepted.quality.is_good() {
                self.take_label_edge(index, accepted.value.as_i64(), sample.source_time);
            }
        }
    }

    /// A new part id of an inspection result.
    fn take_label_edge(&mut self, index: usize, part: Option<i64>, at: Option<Utc>) {
        let Some(part) = part else { return };
        let Some(seen) = self.due.seen.get_mut(index) else { return };
        let before = seen.replace(part);
        // What the register held before we came belongs to a part we know nothing of.
        if before.is_none() || before == Some(part) {
            return;
        }
        self.settle_label(index);
        if let Some(slot) = self.due.labels.get_mut(index) {
            *slot = Some((part, at));
        }
    }

    /// Carries out what is due before a sample of a later moment is taken in. Moments are those of
    /// one PLC: the stamps of two clocks have no order.
    fn settle_due(&mut self, plc: PlcId, next: Option<Utc>) {
        let later = |due: Option<Utc>| match (due, next) {
            (Some(due), Some(next)) => next > due,
            _ => false,
        };
        for index in 0..self.due.labels.len() {
            let due = self.due.labels.get(index).copied().flatten();
            let of = self.plan.characteristics.get(index);
            let here = of.is_some_and(|of| self.plan.plc_of(of.part) == plc);
            if here && due.is_some_and(|(_, at)| later(at)) {
                self.settle_label(index);
            }
        }
        if let Some((id, at)) = self.due.cut
            && self.plan.plc_of_cycle() == plc
            && later(at)
        {
            self.due.cut = None;
            self.finish_part(id);
        }
    }

    fn settle_all(&mut self) {
        for index in 0..self.due.labels.len() {
            self.settle_label(index);
        }
        if let Some((id, _)) = self.due.cut.take() {
            self.finish_part(id);
        }
    }

    fn settle_label(&mut self, index: usize) {
        let Some(slot) = self.due.labels.get_mut(index) else { return };
        let Some((part, _)) = slot.take() else { return };
        let Some(plan) = self.plan.characteristics.get(index) else { return };
        let Some(value) = self.image.good(&self.plan, plan.value) else { return };
        let characteristic = CharacteristicId(u16::try_from(index).unwrap_or(u16::MAX));
        // Nobody waits for an answer here: what is wrong with it is told by an event.
        let _told = self.take_label(Label { part, characteristic, value });
    }

    /// Reports a change of quality, once.
    fn report_quality(&mut self, tag: TagId) {
        let now = self.image.quality(&self.plan, tag);
        if let Some(before) = self.quality.get_mut(tag.index())
            && *before != now
            && self.out.event(What::TagQuality(tag, now))
        {
            *before = now;
        }
    }

    /// Looks at the age of the next few tags.
    pub(super) fn sweep(&mut self) {
        let tags = self.plan.tags.len();
        for _ in 0..SWEEP.min(tags) {
            self.swept = if self.swept + 1 < tags { self.swept + 1 } else { 0 };
            self.report_quality(TagId(u16::try_from(self.swept).unwrap_or(u16::MAX)));
        }
    }

    /// Closes a part: features, scores, signatures, rows.
    fn finish_part(&mut self, id: i64) {
        self.part_ended = true;
        self.part = id;
        self.out.part(id);
        let features = self.features.close(&self.plan, &self.image, self.process);
        for (kept, new) in self.part_features.iter_mut().zip(features) {
            *kept = *new;
        }
        for index in 0..self.registers.len() {
            self.read_register(index);
        }
        let running = self.interlocks.running() && self.interlocks.bound();
        let number = self.cycles.store(
            &self.plan,
            id,
            self.process,
            &self.part_features,
            &self.ticks,
            running,
        );
        self.models.score(&self.plan, &self.part_features);
        let clean = self.cycles.newest().is_some_and(|part| part.flags.clean());
        self.drifts.observe(&self.plan, &self.part_features, &self.models, clean, number);
        self.signatures.observe(&self.plan, &self.part_features, &self.models);
        for (plan, state) in self.plan.loops.iter().zip(&mut self.loops) {
            if let (Controller::RunToRun(plan), Some(c1)) =
                (&plan.controller, &mut state.controller)
            {
                let score = plan.feed_forward.and_then(|m| self.models.get(m));
                let usable = score.filter(|s| s.known && s.in_domain);
                c1.predict(plan, number, usable.map(|s| s.value));
            }
            state.unlabelled = state.unlabelled.map(|n| n.saturating_add(1));
        }
        self.record_part(id, number);
        self.report_scores();
        self.follow_drift();
        self.forecast(id);
    }

    fn record_part(&mut self, id: i64, number: u64) {
        if let Some(part) = self.cycles.newest() {
            self.out.record(Record::Part(PartRow {
                part: id,
                number,
                began: part.began,
                ended: part.ended,
                warm_up: part.flags.warm_up,
                mixed: part.flags.mixed,
                gap: part.flags.gap || part.flags.stopped,
            }));
        }
        for (index, feature) in (0_u16..).zip(&self.part_features) {
            self.out.record(Record::Feature(FeatureRow {
                part: id,
                feature: crate::plan::FeatureId(index),
                value: feature.value,
                coverage: feature.coverage,
            }));
        }
        for index in 0..u16::try_from(self.plan.models.len()).unwrap_or(u16::MAX) {
            let model = ModelId(index);
            let Some(score) = self.models.get(model).copied() else { continue };
            self.out.record(Record::Score(ScoreRow {
                part: id,
                model,
                value: score.known.then_some(score.value),
                low: score.low,
                high: score.high,
                in_domain: score.in_domain,
                alarm: score.alarm,
            }));
            if score.alarm || (score.known && !score.in_domain) {
                self.record_contributions(id, model);
            }
        }
    }

    pub(super) fn record_contributions(&mut self, part: i64, model: ModelId) {
        let mut top = [Contribution::NONE; TOP];
        let count = self.models.top(&self.plan, &self.part_features, model, &mut top);
        for (rank, c) in (1_u8..).zip(top.iter().take(count)) {
            self.out.record(Record::Contribution(ContributionRow {
                part,
                model,
                feature: c.feature,
                rank,
                share: c.share,
                z: c.z,
            }));
        }
    }

    fn report_scores(&mut self) {
        for index in 0..u16::try_from(self.plan.models.len()).unwrap_or(u16::MAX) {
            let model = ModelId(index);
            let Some(score) = self.models.get(model).copied().filter(|s| s.known) else { continue };
            if let Some(was) = self.in_domain.get_mut(model.index())
                && *was != score.in_domain
                && self.out.event(What::Domain(model, score.in_domain))
            {
                *was = score.in_domain;
            }
            if let Some(was) = self.alarm.get_mut(model.index())
                && *was != score.alarm
                && self.out.event(What::Alarm(model, score.alarm))
            {
                *was = score.alarm;
            }
        }
        for index in 0..u16::try_from(self.plan.signatures.len()).unwrap_or(u16::MAX) {
            let id = SignatureId(index);
            let on = self.signatures.is_on(id);
            if let Some(was) = self.signature_on.get_mut(id.index())
                && *was != on
                && self.out.event(What::Signature(id, on))
            {
                *was = on;
                if on {
                    self.explain_signature(id);
                }
            }
        }
    }

    /// A chart or monitor over its limit was explained with its score; what other models are made
    /// of is worth a row when a signature that looks at them comes on.
    fn explain_signature(&mut self, id: SignatureId) {
        let clauses = self.plan.signatures.get(id.index()).map_or(0, |s| s.clauses.len());
        for place in 0..clauses {
            let signature = self.plan.signatures.get(id.index());
            let source = signature.and_then(|s| s.clauses.get(place)).map(|clause| clause.source);
            let Some(Source::Prediction(model) | Source::Probability(model, _)) = source else {
                continue;
            };
            if self.models.get(model).is_some_and(|score| score.in_domain) {
                self.record_contributions(self.part, model);
            }
        }
    }

    /// Matches a label to its part and lets the loops that control it learn.
    pub(super) fn take_label(&mut self, label: Label) -> Result<(), OrderRefusal> {
        let index = label.characteristic.index();
        let plan = self.plan.characteristics.get(index).ok_or(OrderRefusal::Unknown)?;
        let (low, high) = plan.range;
        if !(label.value >= low && label.value <= high) {
            self.out.event(What::LabelRefused(label.characteristic, label.part));
            return Err(OrderRefusal::Held);
        }
        let Some(part) = self.cycles.find(label.part) else {
            self.out.event(What::LabelUnmatched(label.characteristic, label.part));
            return Err(OrderRefusal::Unknown);
        };
        if !self.labels.get_mut(index).is_some_and(|memory| memory.first_time(label.part)) {
            // Told before: idempotent.
            return Ok(());
        }
        let clean = part.flags.clean();
        let number = part.number;
        if clean {
            let moved = |model| super::drift::moved(&self.plan, &part, label.characteristic, model);
            let (of, value) = (label.characteristic, label.value);
            self.drifts.judge(&self.plan, of, value, number, moved);
        }
        let mut used = false;
        let plans = self.plan.loops.iter().zip(&mut self.loops).enumerate();
        for (loop_index, (plan, state)) in plans {
            let Controller::RunToRun(c1_plan) = &plan.controller else { continue };
            if c1_plan.characteristic != label.characteristic {
                continue;
            }
            let setpoint = plan.setpoint.index();
            let Some(limits) = self.plan.setpoints.get(setpoint) else { continue };
            let ticks = part.setpoints.get(setpoint).copied().flatten();
            let (Some(ticks), true) = (ticks, clean) else { continue };
            state.unlabelled = Some(0);
            let trim = limits.grid.value(ticks - limits.baseline);
            if let Some(c1) = &mut state.controller {
                c1.observe(c1_plan, label.value, trim, number);
                used = true;
            }
            let fed = state.controller.as_mut().and_then(|c1| c1.prediction(number));
            let judged = Labelled {
                error: (label.value - c1_plan.target) / c1_plan.tolerance,
                push: c1_plan.gain * trim / c1_plan.tolerance,
                fed: fed.unwrap_or(0.0) / c1_plan.tolerance,
            };
            super::drive::judge_label(
                &mut self.out,
                crate::plan::LoopId(u16::try_from(loop_index).unwrap_or(u16::MAX)),
                plan,
                state,
                self.registers.get_mut(setpoint),
                judged,
                number,
            );
        }
        self.out.record(Record::Label(LabelRow {
            part: label.part,
            characteristic: label.characteristic,
            value: label.value,
            used,
        }));
        self.follow_drift();
        Ok(())
    }
}
