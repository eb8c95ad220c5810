//! Evidence: how far each check of the permit was from failing, what the decision rested on, and
//! what its wish was made of.
//!
//! Kept for decisions that move or trip something, and for holds, proposals and would-be writes
//! when they change: at most [`ROWS_MAX`] rows per loop and step, from memory taken before.
//!
//! Nothing here decides: the guard has, and the rows repeat what it looked at with numbers.

use super::Cell;
use super::links::PlcLink;
use super::state::Told;
use crate::guard::{Decision, Evidence, Intent, Permit, Reason, row_room};
use crate::ledger::Register;
use crate::mode::{Mode, Rung};
use crate::plan::{
    Condition, Controller, FeatureId, LinkPlan, LoopPlan, Model, ModelId, SetpointId, SetpointPlan,
};
use crate::record::{Answer, CheckRow, InputRow, Measure, Record, WishRow};
use crate::tag::TagId;
use crate::time::Span;
use crate::unit::{Stand, Ticks};

/// Checks that are told: all reasons but "no proposal", which is none.
const CHECKS: usize = Reason::ALL.len() - 1;
/// Inputs that are told; further ones are left out.
const INPUTS_MAX: usize = 64;
/// Rows of one explanation; a loop may decide twice in a step, by its ramp and by its wish.
pub(super) const ROWS_MAX: usize = 2 * (CHECKS + INPUTS_MAX + 1);

/// Numbers of one check.
#[derive(Clone, Copy)]
struct Found {
    measured: Option<f64>,
    limit: Option<f64>,
    margin: Option<f64>,
    measure: Measure,
    subject: Option<u16>,
}

impl Found {
    /// A yes or no.
    const STATE: Self =
        Self { measured: None, limit: None, margin: None, measure: Measure::State, subject: None };

    /// Passes while `measured <= limit`.
    fn at_most(measure: Measure, measured: f64, limit: f64) -> Self {
        let margin = Some(limit - measured);
        Self { measured: Some(measured), limit: Some(limit), margin, measure, subject: None }
    }

    /// Passes while `measured >= limit`.
    fn at_least(measure: Measure, measured: f64, limit: f64) -> Self {
        let margin = Some(measured - limit);
        Self { measured: Some(measured), limit: Some(limit), margin, measure, subject: None }
    }

    /// A number without a limit of its own.
    fn only(measure: Measure, measured: Option<f64>) -> Self {
        Self { measured, measure, ..Self::STATE }
    }

    fn about(self, subject: u16) -> Self {
        Self { subject: Some(subject), ..self }
    }

    /// The one that is closer to failing.
    fn worse(self, other: Self) -> Self {
        match (self.margin, other.margin) {
            (Some(a), Some(b)) if b < a => other,
            (None, Some(_)) => other,
            _ => self,
        }
    }
}

/// A decision while it is explained.
struct Case<'a> {
    plan: &'a LoopPlan,
    limits: &'a SetpointPlan,
    register: &'a Register,
    index: usize,
    setpoint: usize,
    intent: Intent,
    evidence: &'a Evidence,
    permit: &'a Permit,
    /// No controller had a wish: told by the reason, not by a check.
    silent: bool,
}

impl Cell {
    /// Explains the decision that is about to be recorded, if it is worth it. Call before the
    /// write is booked: dwell and budget are told as the guard saw them.
    pub(super) fn explain(
        &mut self,
        index: usize,
        intent: Intent,
        evidence: &Evidence,
        permit: &Permit,
    ) {
        let told = match &permit.decision {
            Decision::Write(_) | Decision::Return(_) => Told::Move,
            Decision::WouldWrite => Told::Would(permit.limited),
            Decision::Ask => Told::Ask(permit.limited),
            Decision::Hold(reason) => Told::Hold(*reason),
            Decision::Trip(_) => Told::Trip,
        };
        if self.is_news(index, told) {
            self.tell(index, intent, (evidence, permit), false);
        }
    }

    /// The same where no controller had anything to say.
    pub(super) fn explain_silence(&mut self, index: usize, reason: Reason) {
        if !self.is_news(index, Told::Hold(reason)) {
            return;
        }
        let Some(setpoint) = self.plan.loops.get(index).map(|l| l.setpoint.index()) else { return };
        let evidence = self.evidence(index, setpoint, Intent::Score, false);
        // Without a wish there is nowhere to go; what else would have held it is told all the same.
        let permit = self.ask_guard(setpoint, Intent::Score, f64::NAN, &evidence);
        self.tell(index, Intent::Score, (&evidence, &permit), true);
    }

    fn is_news(&mut self, index: usize, told: Told) -> bool {
        let Some(state) = self.loops.get_mut(index) else { return false };
        let before = state.told.replace(told);
        matches!(told, Told::Move | Told::Trip) || before != Some(told)
    }

    fn tell(
        &mut self,
        index: usize,
        intent: Intent,
        (evidence, permit): (&Evidence, &Permit),
        silent: bool,
    ) {
        let decision = self.next_decision;
        if let Some(wish) = self.wish_row(index, decision) {
            self.out.must(Record::Wish(wish));
        }
        self.tell_inputs(index, decision);
        for check in Reason::ALL.into_iter().take(CHECKS) {
            let Some(plan) = self.plan.loops.get(index) else { return };
            let setpoint = plan.setpoint.index();
            let (Some(limits), Some(register)) =
                (self.plan.setpoints.get(setpoint), self.registers.get(setpoint))
            else {
                return;
            };
            let case =
                Case { plan, limits, register, index, setpoint, intent, evidence, permit, silent };
            let answer = case.answer(check);
            let found = self.found(&case, check);
            let Found { measured, limit, margin, measure, subject } = found;
            self.out.must(Record::Check(CheckRow {
                decision,
                check,
                answer,
                measured,
                limit,
                margin,
                measure,
                subject,
            }));
        }
    }

    fn wish_row(&self, index: usize, decision: u64) -> Option<WishRow> {
        let (plan, state) = (self.plan.loops.get(index)?, self.loops.get(index)?);
        let nothing = WishRow {
            decision,
            target: None,
            bias: None,
            fed: None,
            gain: None,
            labels: 0,
            signature: None,
        };
        match (&plan.controller, &state.controller) {
            (Controller::RunToRun(c1), Some(controller)) if state.rung < Rung::Return => {
                let (bias, fed, labels) = controller.terms(c1, state.rung);
                let (target, gain) = (Some(c1.target), Some(c1.gain));
                Some(WishRow { target, bias: Some(bias), fed, gain, labels, ..nothing })
            }
            (Controller::Rules(c0), _) => {
                let on = c0.rows.iter().find(|(s, _)| self.signatures.is_on(*s));
                Some(WishRow { signature: on.map(|(s, _)| *s), ..nothing })
            }
            _ => None,
        }
    }

    /// Tags that the loop asks for, then the features of rung 0, each once.
    fn tell_inputs(&mut self, index: usize, decision: u64) {
        let mut wanted = core::mem::take(&mut self.explained);
        wanted.fill(false);
        if let Some(plan) = self.plan.loops.get(index) {
            self.for_each_feature(plan, |feature| {
                if let Some(slot) = wanted.get_mut(feature) {
                    *slot = true;
                }
            });
        }
        let mut told = 0;
        let tags = self.plan.loops.get(index).map_or(0, |plan| plan.inputs.len());
        for place in 0..tags.min(INPUTS_MAX) {
            let tag = self.plan.loops.get(index).and_then(|plan| plan.inputs.get(place)).copied();
            let Some(tag) = tag else { continue };
            let (quality, age) = self.heard(tag);
            let value = self.image.good(&self.plan, tag);
            let row = InputRow { decision, tag, feature: None, value, coverage: 1.0, quality, age };
            self.out.must(Record::Input(row));
            told += 1;
        }
        for (id, _) in (0_u16..).zip(&wanted).filter(|(_, wanted)| **wanted) {
            if told >= INPUTS_MAX {
                break;
            }
            let feature = crate::plan::FeatureId(id);
            let Some(tag) = self.plan.features.get(feature.index()).map(|f| f.tag) else {
                continue;
            };
            let Some(of) = self.part_features.get(feature.index()).copied() else { continue };
            let (quality, age) = self.heard(tag);
            self.out.must(Record::Input(InputRow {
                decision,
                tag,
                feature: Some(feature),
                value: of.value,
                coverage: of.coverage,
                quality,
                age,
            }));
            told += 1;
        }
        self.explained = wanted;
    }

    fn heard(&self, tag: TagId) -> (crate::tag::Quality, Option<Span>) {
        let reading = self.image.reading(&self.plan, tag);
        let missing = reading.quality == crate::tag::Quality::Missing;
        (reading.quality, (!missing).then(|| self.now.mono - reading.received))
    }

    /// The PLC that a loop writes to: its plan, and where its link stands.
    fn link_of(&self, index: usize) -> (Option<&LinkPlan>, Option<&PlcLink>) {
        let place = self.plc_of_loop(index).index();
        (self.plan.links.get(place), self.links.get(place))
    }

    fn found(&self, case: &Case<'_>, check: Reason) -> Found {
        let seconds = |span: Span| span.as_secs_f64();
        let now = self.now.mono;
        match check {
            Reason::ClockLate => {
                let late = self.plan.period.times(super::LATE_PERIODS);
                Found::at_most(Measure::Seconds, seconds(self.pause), seconds(late))
            }
            Reason::LinkDown => {
                let (plan, link) = self.link_of(case.index);
                match (plan, link.and_then(|link| link.link.life)) {
                    (Some(plan), Some(life)) => {
                        let limit = seconds(plan.stale_after);
                        Found::at_most(Measure::Seconds, seconds(now - life), limit)
                    }
                    _ => Found::STATE,
                }
            }
            Reason::Heartbeat => {
                let (plan, link) = self.link_of(case.index);
                let timeout = plan.and_then(|plan| plan.heartbeat).map(|h| seconds(h.timeout));
                // Before anything acts no beat is sent, so that its age says nothing.
                let counts = link.is_some_and(|link| link.heartbeat || !case.evidence.heartbeat);
                match (link.and_then(|link| link.echo_age(now)), timeout) {
                    (Some(age), Some(limit)) if counts => {
                        Found::at_most(Measure::Seconds, seconds(age), limit)
                    }
                    _ => Found::STATE,
                }
            }
            // Parts that are still to be flagged do not hold a part that is past it.
            Reason::WarmUp if case.evidence.warm => Found::STATE,
            Reason::WarmUp => {
                Found::at_most(Measure::Parts, f64::from(self.cycles.warm_up_left()), 0.0)
            }
            Reason::Input => self.weakest_input(case.plan),
            Reason::Interlock => self.closest_interlock(case.plan),
            Reason::ReadBack => {
                let read = self.read.get(case.setpoint).copied().flatten();
                Found::only(Measure::Seconds, read.map(|r| seconds(now - r.received)))
            }
            Reason::Domain => self.farthest_model(case.plan),
            Reason::Dwell => self.rest(case),
            Reason::Budget => case.limits.budget.map_or(Found::STATE, |budget| {
                let used = case.register.writes_within(budget.per, self.process);
                let before = f64::from(budget.writes) - 1.0;
                Found {
                    limit: Some(f64::from(budget.writes)),
                    ..Found::at_most(Measure::Writes, f64::from(used), before)
                }
            }),
            Reason::JointLimit => self.row_found(case),
            Reason::Approval => {
                let open = self.loops.get(case.index).and_then(|l| l.proposal);
                open.map_or(Found::STATE, |p| {
                    Found::at_least(Measure::Seconds, seconds(p.expires - now), 0.0)
                })
            }
            Reason::OutsideLimits => case.range(),
            Reason::Rate => case.step(),
            Reason::Deadband => case.deadband(),
            _ => Found::STATE,
        }
    }

    /// The tag that is not good, or the feature whose coverage is closest to its least.
    fn weakest_input(&self, plan: &LoopPlan) -> Found {
        let good = |tag: TagId| self.image.quality(&self.plan, tag).is_good();
        if let Some(bad) = plan.inputs.iter().find(|tag| !good(**tag)) {
            return Found::STATE.about(bad.0);
        }
        let mut worst = Found::STATE;
        let mut bad = None;
        self.for_each_feature(plan, |feature| {
            let of = self.plan.features.get(feature).zip(self.part_features.get(feature));
            let Some((of, value)) = of else { return };
            if bad.is_none() && (value.value.is_none() || !good(of.tag)) {
                bad = Some(of.tag);
            }
            let found = Found::at_least(Measure::Share, value.coverage, of.coverage_min);
            worst = worst.worse(found.about(of.tag.0));
        });
        match bad {
            // Its coverage may be whole: what failed is the quality of this tag.
            Some(tag) if worst.margin.is_none_or(|m| m >= 0.0) => Found::STATE.about(tag.0),
            _ => worst,
        }
    }

    fn closest_interlock(&self, plan: &LoopPlan) -> Found {
        let mut worst = Found::STATE;
        for id in &plan.interlocks {
            let Some(lock) = self.plan.interlocks.get(id.index()) else { continue };
            let value = self.image.good(&self.plan, lock.tag);
            let found = match (lock.closed, value) {
                (Condition::Above(limit), Some(x)) => Found::at_least(Measure::Tag, x, limit),
                (Condition::Below(limit), Some(x)) => Found::at_most(Measure::Tag, x, limit),
                _ => Found::STATE,
            };
            if !self.interlocks.is_closed(*id) {
                return found.about(id.0);
            }
            worst = worst.worse(found.about(id.0));
        }
        worst
    }

    /// The model that is farthest out, as a share of the limit of its domain.
    fn farthest_model(&self, plan: &LoopPlan) -> Found {
        let fed = match &plan.controller {
            Controller::RunToRun(c1) => c1.feed_forward,
            Controller::Rules(_) => None,
        };
        let shared = fed.and_then(|id| match self.plan.models.get(id.index()).map(|m| &m.model) {
            Some(Model::Linear(linear)) => linear.domain,
            Some(Model::Forest(forest)) => forest.domain,
            Some(Model::Logistic(logistic)) => logistic.domain,
            _ => None,
        });
        let mut worst = Found::STATE;
        let known = [fed, shared, plan.domain].into_iter().flatten();
        for id in known.chain(self.models_of_rules(plan)) {
            let found = self.domain_share(id).map_or(Found::STATE, |share| {
                Found::at_most(Measure::Share, share, 1.0).about(id.0)
            });
            worst = worst.worse(found);
        }
        worst
    }

    fn domain_share(&self, id: ModelId) -> Option<f64> {
        let score = self.models.get(id).filter(|score| score.known)?;
        match &self.plan.models.get(id.index())?.model {
            Model::Pca(pca) => {
                Some((score.t2 / pca.domain_out.t2).max(score.spe / pca.domain_out.spe))
            }
            Model::Monitor(_) | Model::Combined(_) => Some(score.value),
            Model::Linear(linear) => self.span_share(&linear.inputs, &linear.span),
            // Out of domain wherever it stands: it was never held against labels.
            Model::Forest(forest) if forest.is_sensor() && forest.half_width.is_none() => None,
            Model::Forest(forest) => {
                let span = self.span_share(&forest.inputs, &forest.span)?;
                Some(forest.reach.as_ref().map_or(span, |reach| span.max(score.t2 / reach.t2_out)))
            }
            Model::Logistic(logistic) => {
                let span = self.span_share(&logistic.inputs, &logistic.span)?;
                Some(span.max(score.t2 / logistic.t2_out))
            }
            Model::Chart(_) => None,
        }
    }

    /// How far the input that is farthest out lies from the middle of its training span, 1 is the
    /// end of the span.
    fn span_share(&self, inputs: &[FeatureId], span: &[(f64, f64)]) -> Option<f64> {
        // A model from elsewhere may have none: nothing says how far out it is.
        if span.is_empty() {
            return None;
        }
        let mut share = 0.0_f64;
        for (input, (low, high)) in inputs.iter().zip(span) {
            let x = self.part_features.get(input.index())?.value?;
            let (middle, half) = (f64::midpoint(*low, *high), (high - low) / 2.0);
            if half > 0.0 {
                share = share.max(libm::fabs(x - middle) / half);
            }
        }
        Some(share)
    }

    /// Parts still to settle, or the time since the last write.
    fn rest(&self, case: &Case<'_>) -> Found {
        let number = self.cycles.newest().map_or(0, |p| p.number);
        let settled = self.loops.get(case.index).map_or(0, |l| l.settled_at);
        if case.intent != Intent::Return && number < settled {
            return Found::at_least(Measure::Parts, number as f64, settled as f64);
        }
        let since = case.register.since_write(self.process).as_secs_f64();
        Found::at_least(Measure::Seconds, since, case.limits.dwell.as_secs_f64())
    }

    fn row_found(&self, case: &Case<'_>) -> Found {
        if case.intent == Intent::Return {
            // It may pass a full row when it lowers the sum.
            return Found::STATE;
        }
        let id = SetpointId(u16::try_from(case.setpoint).unwrap_or(u16::MAX));
        let room = case.permit.limited.and_then(|to| row_room(&self.plan, id, to, &self.may_hold));
        room.map_or(Found::STATE, |(sum, max)| Found::at_most(Measure::Row, sum as f64, max as f64))
    }
}

impl Case<'_> {
    fn answer(&self, check: Reason) -> Answer {
        if check == Reason::NotFinite && self.silent {
            return Answer::NotAsked;
        }
        if self.permit.failed.contains(check) {
            return Answer::Failed;
        }
        if check == Reason::Deadband && self.permit.failed.contains(Reason::Rate) {
            // What the rate leaves is too small: that is the rate's failure.
            return Answer::NotAsked;
        }
        let is_return = self.intent == Intent::Return;
        let asked = match check {
            Reason::WarmUp | Reason::NotFinite => !is_return,
            Reason::Input | Reason::Domain => self.intent == Intent::Score,
            Reason::Approval => !is_return && self.evidence.mode == Mode::Advisory,
            Reason::OutsideLimits | Reason::Rate | Reason::Deadband | Reason::JointLimit => {
                self.permit.limited.is_some()
            }
            _ => true,
        };
        if asked { Answer::Passed } else { Answer::NotAsked }
    }

    /// Where the move ends, or the register stands, between its limits.
    fn range(&self) -> Found {
        let limits = self.limits;
        let at = self.permit.limited.or(self.evidence.read_back.map(Stand::nearest));
        let Some(at) = at else { return Found::STATE };
        let low = limits.low.max(limits.baseline - limits.trim_max);
        let high = limits.high.min(limits.baseline + limits.trim_max);
        let low = low.max(self.evidence.plc_low.unwrap_or(low));
        let high = high.min(self.evidence.plc_high.unwrap_or(high));
        let value = |ticks: Ticks| limits.grid.value(ticks);
        if at - low < high - at {
            let margin = Some(value(at - low));
            Found { margin, ..Found::at_least(Measure::Setpoint, value(at), value(low)) }
        } else {
            let margin = Some(value(high - at));
            Found { margin, ..Found::at_most(Measure::Setpoint, value(at), value(high)) }
        }
    }

    fn distance(&self) -> Option<(Ticks, bool)> {
        let (to, from) = (self.permit.limited?, self.evidence.read_back?);
        Some((from.distance(to), to > from.low()))
    }

    /// The move against the tighter of step and rate.
    fn step(&self) -> Found {
        let Some((distance, up)) = self.distance() else { return Found::STATE };
        let step = if up { self.limits.step_up } else { self.limits.step_down };
        let limit = step.min(self.evidence.rate_left);
        // Where the rate leaves less than is worth a write, that much was needed.
        let failed = self.permit.failed.contains(Reason::Rate);
        let needed = self.limits.deadband.max(Ticks::new(1));
        let distance = if failed { needed } else { distance };
        let value = |ticks: Ticks| self.limits.grid.value(ticks);
        Found {
            margin: Some(value(limit - distance)),
            ..Found::at_most(Measure::Setpoint, value(distance), value(limit))
        }
    }

    fn deadband(&self) -> Found {
        let Some((distance, _)) = self.distance() else { return Found::STATE };
        let value = |ticks: Ticks| self.limits.grid.value(ticks);
        let one = Ticks::new(1);
        // The last move of a ramp may be as short as it must.
        let is_return = self.intent == Intent::Return;
        let least = if is_return { one } else { self.limits.deadband.max(one) };
        Found {
            margin: Some(value(distance - least)),
            ..Found::at_least(Measure::Setpoint, value(distance), value(least))
        }
    }
}
