//! One loop: trip, mode, rung, proposal, permit.

use super::outbox::Outbox;
use super::state::{FULL, LoopState};
use super::{Cell, in_force};
use crate::control::rule_move;
use crate::effect::{Finding, Labelled};
use crate::event::{OrderRefusal, What};
use crate::guard::{
    ApprovedWrite, Cut, Decision, Evidence, Intent, Permit, Reason, permit, rate_allowance,
};
use crate::ledger::{Fate, Register};
use crate::mode::{Mode, Owner, Rung, Trip, TripReason};
use crate::plan::{Controller, LoopId, LoopPlan, Model, ModelId, PlcId, SetpointPlan, Source};
use crate::record::{DecisionRow, Outcome, Record};
use crate::scan::{Action, Proposal};
use crate::tag::TagId;
use crate::time::Span;
use crate::unit::{Grid, Stand, Ticks};

/// How long a person has to approve a proposal [link time].
const APPROVAL: Span = Span::from_secs(120);
/// Good parts in a row before a loop climbs a rung again.
const CLIMB_AFTER: u32 = 3;
/// Parts on rung RETURN before the ramp starts: a single bad part is no reason to give back a trim.
const RAMP_AFTER: u32 = 3;

/// Lets effect verification see a label of part `number`.
pub(super) fn judge_label(
    out: &mut Outbox,
    id: LoopId,
    plan: &LoopPlan,
    state: &mut LoopState,
    register: Option<&mut Register>,
    label: Labelled,
    number: u64,
) {
    let acting =
        state.in_force >= Mode::Advisory && state.owner == Owner::Ours && state.trip == Trip::Clear;
    if let Some(watch) = &mut state.watch
        && number >= watch.from_part
    {
        watch.left = watch.left.saturating_sub(1);
    }
    if !acting {
        return;
    }
    // While the PLC does not take our writes, distance from target says nothing about them.
    let taken = register
        .as_ref()
        .and_then(|r| r.newest())
        .is_some_and(|row| matches!(row.fate, Fate::Confirmed | Fate::Proven | Fate::Unproven));
    // A loop that is held by something outside it cannot have helped.
    let free = state.held.is_none_or(|reason| {
        use Reason::{Budget, Deadband, Dwell, JointLimit, Pending, Rate};
        matches!(reason, Deadband | Dwell | Pending | Rate | JointLimit | Budget)
    });
    let trimmed = taken && free && libm::fabs(label.push) > 0.0;
    let finding = state.effect.observe(&plan.effect, label, trimmed);
    if state.watch.is_some_and(|w| w.left == 0) {
        state.watch = None;
        let distance = state.effect.distance(plan.effect.labels);
        let proven = distance.is_some_and(|d| d <= plan.effect.worse_than);
        if let Some(row) = register.and_then(|r| r.prove(proven)) {
            out.must(Record::Ledger(row));
        }
    }
    match finding {
        None => {}
        Some(Finding::Missing) => {
            state.authority = FULL / 2;
            out.event(What::EffectMissing(id));
        }
        Some(Finding::Oscillates) => {
            if let Some(controller) = &mut state.controller {
                controller.detune();
            }
            out.event(What::Oscillating(id));
        }
        Some(Finding::MissingAgain | Finding::Contradicted) => {
            state.pending_trip = Some(TripReason::NoEffect);
        }
        Some(Finding::OscillatesAgain) => state.pending_trip = Some(TripReason::Oscillation),
        Some(Finding::Passed) => state.authority = (state.authority * 2).min(FULL),
    }
}

impl Cell {
    /// Runs one loop for this scan.
    pub(super) fn drive(&mut self, index: usize) {
        let Some(plan) = self.plan.loops.get(index) else { return };
        let (setpoint, mode_max) = (plan.setpoint.index(), plan.mode_max);
        let id = LoopId(u16::try_from(index).unwrap_or(u16::MAX));
        let force = {
            let enabled = self.enabled(self.plc_of_loop(index));
            let Some(state) = self.loops.get_mut(index) else { return };
            let force = in_force(state.asked, mode_max, enabled);
            if force != state.in_force {
                state.in_force = force;
                self.out.must_tell(What::ModeInForce(id, force));
            }
            force
        };
        if let Some(reason) = self.loops.get_mut(index).and_then(|l| l.pending_trip.take()) {
            self.trip(index, reason);
        }
        if self.clock_backwards {
            self.trip(index, TripReason::Clock);
        }
        if self.interlock_trips(index) {
            self.trip(index, TripReason::Interlock);
        }
        self.choose_rung(index, id);
        self.expire_proposal(index);

        let Some(state) = self.loops.get(index) else { return };
        match state.trip {
            Trip::Returning(reason) => {
                self.refuse_approval(index);
                self.ramp(index, setpoint, Some(reason));
            }
            Trip::Latched(_) => self.refuse_approval(index),
            Trip::Clear if state.approval.is_some() => {
                if state.rung >= Rung::Return {
                    self.refuse_approval(index);
                } else {
                    self.act_on_approval(index, setpoint);
                }
            }
            Trip::Clear if state.rung == Rung::Return && state.fallen >= RAMP_AFTER => {
                self.refuse_approval(index);
                if force == Mode::Auto && state_owned(self.loops.get(index)) {
                    self.ramp(index, setpoint, None);
                }
                if self.part_ended {
                    self.propose(index, setpoint);
                }
            }
            Trip::Clear => {
                if self.part_ended && force != Mode::Off {
                    self.propose(index, setpoint);
                }
            }
        }
        if self.part_ended {
            self.watch_authority(index, id);
            self.prove_rule(index, setpoint);
        }
    }

    /// A rule's move has worked when its signature goes off; labels judge the other controllers.
    fn prove_rule(&mut self, index: usize, setpoint: usize) {
        let Some(Controller::Rules(rules)) = self.plan.loops.get(index).map(|l| &l.controller)
        else {
            return;
        };
        let on = rules.rows.iter().any(|(s, _)| self.signatures.is_on(*s));
        let number = self.cycles.newest().map_or(0, |p| p.number);
        let Some(state) = self.loops.get_mut(index) else { return };
        let Some(watch) = state.watch.as_mut().filter(|w| number >= w.from_part) else { return };
        watch.left = watch.left.saturating_sub(1);
        if on && watch.left > 0 {
            return;
        }
        state.watch = None;
        if let Some(row) = self.registers.get_mut(setpoint).and_then(|r| r.prove(!on)) {
            self.out.must(Record::Ledger(row));
        }
    }

    /// Whether an interlock that trips is open while the loop acts; looked at in every scan.
    fn interlock_trips(&self, index: usize) -> bool {
        let (Some(plan), Some(state)) = (self.plan.loops.get(index), self.loops.get(index)) else {
            return false;
        };
        let acting = state.in_force >= Mode::Advisory && state.owner == Owner::Ours;
        self.live(self.plc_of_loop(index)) && acting && self.interlocks.trips(&self.plan, plan)
    }

    /// Latches a trip; ramps to the baseline first where the loop was acting and still may.
    pub(super) fn trip(&mut self, index: usize, reason: TripReason) {
        let id = LoopId(u16::try_from(index).unwrap_or(u16::MAX));
        let Some(state) = self.loops.get_mut(index) else { return };
        match state.trip {
            Trip::Latched(_) => return,
            Trip::Returning(_) if !reason.bars_return() => return,
            Trip::Returning(_) | Trip::Clear => {}
        }
        if state.trip == Trip::Clear {
            self.out.must_tell(What::Tripped(id, reason));
        }
        let acting = state.in_force == Mode::Auto && state.owner == Owner::Ours;
        state.proposal = None;
        state.watch = None;
        if acting && !reason.bars_return() {
            state.trip = Trip::Returning(reason);
            state.ramp_held = None;
        } else {
            self.latch(index, reason);
        }
    }

    fn latch(&mut self, index: usize, reason: TripReason) {
        let id = LoopId(u16::try_from(index).unwrap_or(u16::MAX));
        if let Some(state) = self.loops.get_mut(index) {
            state.trip = Trip::Latched(reason);
            state.asked = state.asked.min(Mode::Shadow);
            self.out.must_tell(What::Latched(id, reason));
        }
    }

    /// Whether a PLC permits writes; one without the contact does.
    pub(super) fn enabled(&self, plc: PlcId) -> bool {
        match self.plan.links.get(plc.index()).and_then(|link| link.enable) {
            None => true,
            Some(tag) => self.image.good_int(&self.plan, tag) == Some(1),
        }
    }

    fn expire_proposal(&mut self, index: usize) {
        let now = self.now.mono;
        if let Some(state) = self.loops.get_mut(index)
            && state.proposal.is_some_and(|p| now > p.expires)
        {
            state.proposal = None;
        }
    }

    /// Down at once, up again after [`CLIMB_AFTER`] good parts.
    fn choose_rung(&mut self, index: usize, id: LoopId) {
        let Some(plan) = self.plan.loops.get(index) else { return };
        let live = self.live(self.plc_of_loop(index));
        let inputs = self.inputs_good(plan);
        let domain = self.domain_good(plan);
        let Some(state) = self.loops.get_mut(index) else { return };
        let labels = plan.label_timeout > 0
            && matches!(plan.controller, Controller::RunToRun(_))
            && state.unlabelled.is_none_or(|n| n <= plan.label_timeout);
        let best = if !live {
            Rung::Released
        } else if inputs && domain && (labels || feeds_forward(plan)) {
            Rung::Full
        } else if labels {
            Rung::FeedbackOnly
        } else {
            Rung::Return
        };
        if self.part_ended {
            state.better = if best < state.rung { state.better.saturating_add(1) } else { 0 };
            let returning = best >= Rung::Return;
            state.fallen = if returning { state.fallen.saturating_add(1) } else { 0 };
        }
        // From RELEASED any live rung is taken at once: the loop stands in SHADOW there.
        let climb = state.rung == Rung::Released || state.better >= CLIMB_AFTER;
        if best > state.rung || (best < state.rung && climb) {
            state.rung = best;
            state.better = 0;
            self.out.must_tell(What::Rung(id, best));
        }
    }

    /// Critical tags Good now, and every feature of rung 0 known for the newest part.
    pub(super) fn inputs_good(&self, plan: &LoopPlan) -> bool {
        let good = |tag: TagId| self.image.quality(&self.plan, tag).is_good();
        if !plan.inputs.iter().all(|tag| good(*tag)) {
            return false;
        }
        let mut all = true;
        self.for_each_feature(plan, |feature| {
            let known = self.part_features.get(feature).is_some_and(|f| f.value.is_some());
            let tag = self.plan.features.get(feature).map(|f| f.tag);
            all &= known && tag.is_some_and(good);
        });
        all
    }

    /// Calls `f` with the index of every feature that rung 0 of the loop rests on; of a combined
    /// one also with those of the two that it is made of.
    pub(super) fn for_each_feature(&self, plan: &LoopPlan, mut f: impl FnMut(usize)) {
        let mut f = |index: usize| {
            f(index);
            if let Some(combine) = self.plan.features.get(index).and_then(|f| f.combine) {
                f(combine.of().0.index());
                f(combine.of().1.index());
            }
        };
        match &plan.controller {
            Controller::RunToRun(c1) => {
                if let Some(model) = c1.feed_forward {
                    self.for_each_input(model.index(), &mut f);
                }
            }
            Controller::Rules(c0) => {
                for (signature, _) in &c0.rows {
                    let Some(s) = self.plan.signatures.get(signature.index()) else { continue };
                    for clause in &s.clauses {
                        match clause.source {
                            Source::Feature(id) => f(id.index()),
                            Source::Chart(m)
                            | Source::T2(m)
                            | Source::Spe(m)
                            | Source::Prediction(m)
                            | Source::Probability(m, _) => self.for_each_input(m.index(), &mut f),
                        }
                    }
                }
            }
        }
        if let Some(model) = plan.domain {
            self.for_each_input(model.index(), &mut f);
        }
    }

    fn for_each_input(&self, model: usize, f: &mut impl FnMut(usize)) {
        match self.plan.models.get(model).map(|m| &m.model) {
            Some(Model::Chart(chart)) => f(chart.input.index()),
            Some(Model::Pca(pca)) => pca.inputs.iter().for_each(|i| f(i.index())),
            Some(Model::Monitor(monitor)) => monitor.inputs.iter().for_each(|i| f(i.index())),
            Some(Model::Combined(combined)) => {
                combined.inputs().iter().for_each(|i| f(i.index()));
            }
            Some(Model::Linear(linear)) => linear.inputs.iter().for_each(|i| f(i.index())),
            Some(Model::Forest(forest)) => forest.inputs.iter().for_each(|i| f(i.index())),
            Some(Model::Logistic(logistic)) => {
                logistic.inputs.iter().for_each(|i| f(i.index()));
            }
            None => {}
        }
    }

    fn domain_good(&self, plan: &LoopPlan) -> bool {
        let in_domain =
            |m| self.models.get(m).is_some_and(|s: &crate::model::Score| s.known && s.in_domain);
        let fed = match &plan.controller {
            Controller::RunToRun(c1) => c1.feed_forward.is_none_or(in_domain),
            Controller::Rules(_) => self.models_of_rules(plan).all(in_domain),
        };
        fed && plan.domain.is_none_or(in_domain)
    }

    /// Models whose predictions and probabilities have signatures on that a rule of the loop acts
    /// on. A monitor is none of them: to be beyond its limits is what it tells.
    pub(super) fn models_of_rules(&self, plan: &LoopPlan) -> impl Iterator<Item = ModelId> {
        let rows = match &plan.controller {
            Controller::Rules(c0) => c0.rows.as_slice(),
            Controller::RunToRun(_) => &[],
        };
        let on = rows.iter().map(|(signature, _)| *signature).filter(|s| self.signatures.is_on(*s));
        let clauses = on.filter_map(|s| self.plan.signatures.get(s.index()));
        clauses.flat_map(|s| &s.clauses).filter_map(|clause| match clause.source {
            Source::Prediction(m) | Source::Probability(m, _) => Some(m),
            Source::Feature(_) | Source::Chart(_) | Source::T2(_) | Source::Spe(_) => None,
        })
    }

    /// What the controller wants, decided by the guard.
    fn propose(&mut self, index: usize, setpoint: usize) {
        let Some((plan, state, limits)) = self.parts_of(index, setpoint) else { return };
        let rung = state.rung;
        let from = self.ticks.get(setpoint).copied().flatten();
        let (desired, intent) = match (&plan.controller, &state.controller) {
            (Controller::RunToRun(c1), Some(controller)) => {
                let trim = controller.propose(c1, rung);
                let base = limits.grid.value(limits.baseline);
                let by_score = rung == Rung::Full && c1.feed_forward.is_some();
                let intent = if by_score { Intent::Score } else { Intent::Label };
                (trim.map(|t| base + t), intent)
            }
            (Controller::Rules(c0), _) if rung == Rung::Full => {
                let to = from.map(|from| rule_move(c0, limits, &self.signatures, from));
                (to.map(|to| limits.grid.value(to)), Intent::Score)
            }
            _ => (None, Intent::Score),
        };
        let Some(desired) = desired else {
            self.record_silence(index);
            return;
        };
        let evidence = self.evidence(index, setpoint, intent, false);
        let permit = self.ask_guard(setpoint, intent, desired, &evidence);
        if let Some(state) = self.loops.get_mut(index) {
            state.asking_intent = intent;
        }
        // What moves a machine is explained: the shares of the sensor that was fed forward.
        let fed = self.plan.loops.get(index).and_then(fed_forward).filter(|_| {
            intent == Intent::Score && matches!(permit.decision, Decision::Write(_) | Decision::Ask)
        });
        if let Some(model) = fed {
            self.record_contributions(self.part, model);
        }
        self.explain(index, intent, &evidence, &permit);
        self.carry_out(index, setpoint, desired, permit, None);
    }

    /// No controller has anything to say: a decision all the same, so that nobody wonders.
    fn record_silence(&mut self, index: usize) {
        let inputs = self.plan.loops.get(index).is_some_and(|l| self.inputs_good(l));
        let reason = match self.loops.get(index) {
            Some(state) if state.rung == Rung::Return && inputs => Reason::Domain,
            Some(state) if state.rung == Rung::Return => Reason::Input,
            Some(state) if state.rung == Rung::Released => Reason::LinkDown,
            _ => Reason::NoProposal,
        };
        let mut failed = crate::guard::FailedChecks::NONE;
        failed.insert(reason);
        let permit =
            Permit { decision: Decision::Hold(reason), limited: None, cut: Cut::Nothing, failed };
        self.explain_silence(index, reason);
        self.record_decision(index, None, &permit, Outcome::Hold(reason));
        if let Some(state) = self.loops.get_mut(index) {
            state.held = Some(reason);
            state.desired = None;
            state.limited = None;
        }
    }

    /// A person approved the open proposal: every check again, now.
    fn act_on_approval(&mut self, index: usize, setpoint: usize) {
        let Some(state) = self.loops.get_mut(index) else { return };
        let Some(order) = state.approval.take() else { return };
        let intent = state.proposal_intent;
        let Some(proposal) = state.proposal.take() else {
            self.out.must_tell(What::OrderRefused(order, OrderRefusal::Superseded));
            return;
        };
        let Some(limits) = self.plan.setpoints.get(setpoint) else { return };
        let desired = limits.grid.value(proposal.to);
        let evidence = self.evidence(index, setpoint, intent, true);
        let mut permit = self.ask_guard(setpoint, intent, desired, &evidence);
        if permit.limited != Some(proposal.to) && matches!(permit.decision, Decision::Write(_)) {
            // The limits have moved since: what would be written is not what was approved.
            permit.decision = Decision::Hold(Reason::Approval);
            permit.failed.insert(Reason::Approval);
        }
        self.explain(index, intent, &evidence, &permit);
        self.carry_out(index, setpoint, desired, permit, Some(order));
    }

    fn refuse_approval(&mut self, index: usize) {
        if let Some(state) = self.loops.get_mut(index)
            && let Some(order) = state.approval.take()
        {
            state.proposal = None;
            self.out.must_tell(What::OrderRefused(order, OrderRefusal::Held));
        }
    }

    /// One move of the ramp to the baseline, where one is due. `trip`: the trip that asks for it.
    fn ramp(&mut self, index: usize, setpoint: usize, trip: Option<TripReason>) {
        let Some((_, _, limits)) = self.parts_of(index, setpoint) else { return };
        let baseline = limits.baseline;
        let base = limits.grid.value(baseline);
        let at = self.read.get(setpoint).copied().flatten();
        let idle = self.registers.get(setpoint).is_some_and(Register::idle);
        if at.is_some_and(|at| at.stand.is(baseline)) && idle {
            if let Some(reason) = trip {
                self.latch(index, reason);
            }
            return;
        }
        let evidence = self.evidence(index, setpoint, Intent::Return, false);
        let permit = self.ask_guard(setpoint, Intent::Return, base, &evidence);
        if let Decision::Hold(reason) = permit.decision {
            // The ramp asks in every scan: only a new reason is worth a row.
            let Some(state) = self.loops.get_mut(index) else { return };
            let news = state.ramp_held != Some(reason);
            state.ramp_held = Some(reason);
            state.held = Some(reason);
            if news && !matches!(reason, Reason::Dwell | Reason::Rate | Reason::Pending) {
                self.explain(index, Intent::Return, &evidence, &permit);
                self.record_decision(index, Some(base), &permit, Outcome::Hold(reason));
            }
            return;
        }
        self.explain(index, Intent::Return, &evidence, &permit);
        self.carry_out(index, setpoint, base, permit, None);
    }

    pub(super) fn ask_guard(
        &self,
        setpoint: usize,
        intent: Intent,
        desired: f64,
        e: &Evidence,
    ) -> Permit {
        let id = crate::plan::SetpointId(u16::try_from(setpoint).unwrap_or(u16::MAX));
        permit(&self.plan, id, intent, desired, e, &self.may_hold)
    }

    /// Does what the guard said, and records it.
    fn carry_out(
        &mut self,
        index: usize,
        setpoint: usize,
        desired: f64,
        permit: Permit,
        order: Option<u64>,
    ) {
        let id = LoopId(u16::try_from(index).unwrap_or(u16::MAX));
        let Permit { decision, limited, cut, failed } = permit;
        let row = Permit { decision: Decision::WouldWrite, limited, cut, failed };
        let (outcome, held) = match decision {
            Decision::Write(write) => {
                let seq = write.seq();
                self.send(setpoint, write, desired);
                (Outcome::Write(seq), None)
            }
            Decision::Return(write) => {
                let seq = write.seq();
                self.send(setpoint, write, desired);
                (Outcome::Return(seq), None)
            }
            Decision::WouldWrite => (Outcome::WouldWrite, None),
            Decision::Ask => (self.ask(index, setpoint, limited), None),
            Decision::Hold(reason) => (Outcome::Hold(reason), Some(reason)),
            Decision::Trip(reason) => {
                self.trip(index, reason);
                (Outcome::Trip(reason), Some(Reason::Tripped))
            }
        };
        if let Some(order) = order {
            let done = matches!(outcome, Outcome::Write(_));
            self.out.must_tell(if done {
                What::OrderDone(order)
            } else {
                What::OrderRefused(order, OrderRefusal::Held)
            });
        }
        self.record_decision(index, Some(desired), &row, outcome);
        let effect = self.plan.loops.get(index).map(|l| l.effect);
        let (Some(state), Some(effect)) = (self.loops.get_mut(index), effect) else { return };
        state.desired = Some(desired);
        state.limited = limited;
        state.cut = cut;
        state.held = held;
        state.ramp_held = None;
        let at_limit = matches!(cut, Cut::Absolute | Cut::Trim | Cut::Plc | Cut::Authority);
        if self.part_ended && state.effect.at_limit(&effect, at_limit) {
            self.out.event(What::Saturated(id));
        }
    }

    fn send(&mut self, setpoint: usize, write: ApprovedWrite, desired: f64) {
        self.next_write = write.seq() + 1;
        if let Some(register) = self.registers.get_mut(setpoint) {
            let from = self.read.get(setpoint).copied().flatten();
            let from = from.map_or(Stand::on(write.from()), |r| r.stand);
            let row = register.issue(&write, from, desired, self.process);
            self.out.must(Record::Ledger(row));
            let held = self.read.get(setpoint).copied().flatten().map(|r| r.stand);
            if let Some(slot) = self.may_hold.get_mut(setpoint) {
                *slot = register.may_hold(held);
            }
        }
        self.out.urgent(Action::Write(write));
    }

    /// Puts a proposal before a person, unless the same one stands there already.
    fn ask(&mut self, index: usize, setpoint: usize, limited: Option<Ticks>) -> Outcome {
        let from = self.ticks.get(setpoint).copied().flatten();
        let (Some(from), Some(to), Some(state)) = (from, limited, self.loops.get_mut(index)) else {
            return Outcome::Hold(Reason::Approval);
        };
        let same = |p: &Proposal| p.to == to && p.from == from;
        if let Some(open) = state.proposal.filter(same)
            && state.proposal_intent == state.asking_intent
        {
            return Outcome::Asked(open.id);
        }
        let proposal = Proposal {
            id: self.next_proposal,
            loop_id: LoopId(u16::try_from(index).unwrap_or(u16::MAX)),
            from,
            to,
            expires: self.now.mono + APPROVAL,
        };
        self.next_proposal += 1;
        state.proposal = Some(proposal);
        state.proposal_intent = state.asking_intent;
        self.out.urgent(Action::Ask(proposal));
        Outcome::Asked(proposal.id)
    }

    fn record_decision(
        &mut self,
        index: usize,
        desired: Option<f64>,
        permit: &Permit,
        outcome: Outcome,
    ) {
        let Some(plan) = self.plan.loops.get(index) else { return };
        let Some(state) = self.loops.get(index) else { return };
        let row = DecisionRow {
            number: self.next_decision,
            part: self.part,
            loop_id: LoopId(u16::try_from(index).unwrap_or(u16::MAX)),
            desired,
            limited: permit.limited,
            read_back: self.ticks.get(plan.setpoint.index()).copied().flatten(),
            outcome,
            failed: permit.failed,
            cut: permit.cut,
            mode: state.in_force,
            rung: state.rung,
        };
        self.next_decision += 1;
        self.out.must(Record::Decision(row));
    }

    fn parts_of(
        &self,
        index: usize,
        setpoint: usize,
    ) -> Option<(&LoopPlan, &LoopState, &SetpointPlan)> {
        let plan = self.plan.loops.get(index)?;
        Some((plan, self.loops.get(index)?, self.plan.setpoints.get(setpoint)?))
    }

    /// What holds in this scan, for one loop.
    pub(super) fn evidence(
        &self,
        index: usize,
        setpoint: usize,
        intent: Intent,
        approved: bool,
    ) -> Evidence {
        let mut e = self.common_evidence(approved);
        let Some((plan, state, limits)) = self.parts_of(index, setpoint) else { return e };
        self.link_evidence(&mut e, self.plan.plc_of(limits.tag), state.in_force);
        e.trip = state.trip;
        e.mode = state.in_force;
        e.owned = state.owner == Owner::Ours;
        e.inputs = self.inputs_good(plan);
        e.domain = state.rung == Rung::Full && self.domain_good(plan);
        e.interlocks = self.interlocks.closed(plan);
        e.interlock_trips = self.interlocks.trips(&self.plan, plan);
        e.authority_permille = state.authority;
        let read = self.read.get(setpoint).copied().flatten();
        e.read_back = read.map(|r| r.stand);
        let number = self.cycles.newest().map_or(0, |p| p.number);
        let settled = intent == Intent::Return || number >= state.settled_at;
        if let Some(register) = self.registers.get(setpoint) {
            let since = register.since_write(self.process);
            e.unchanged = e.read_back.is_some_and(|t| register.unchanged(t)) || !register.idle();
            e.idle = register.idle();
            // Before the first write since the start others may have been made: dwell counts on.
            e.rested = settled && since >= limits.dwell;
            e.budget = limits
                .budget
                .is_none_or(|b| register.writes_within(b.per, self.process) < b.writes);
            let used = limits.rate.map_or(Ticks::ZERO, |r| register.moved_within(r, self.process));
            e.rate_left = rate_allowance(limits.rate, since, used);
        }
        let (low, high, unknown) = self.plc_range(limits);
        e.plc_low = low;
        e.plc_high = high;
        e.plc_range_unknown = unknown;
        e
    }

    /// What holds for every loop. Where a field is not filled later, it says no.
    fn common_evidence(&self, approved: bool) -> Evidence {
        let warm = self.cycles.newest().is_some_and(|p| !p.flags.warm_up);
        Evidence {
            clock_backwards: self.clock_backwards,
            on_time: self.on_time,
            trip: Trip::Latched(TripReason::Operator),
            mode: Mode::Off,
            plc: PlcId::LEAD,
            enabled: false,
            owned: false,
            link: false,
            epoch: 0,
            heartbeat: false,
            bound: self.interlocks.bound() && self.interlocks.running(),
            warm,
            inputs: false,
            interlocks: false,
            interlock_trips: false,
            read_back: None,
            unchanged: false,
            domain: false,
            plc_low: None,
            plc_high: None,
            plc_range_unknown: false,
            authority_permille: FULL,
            rate_left: Ticks::ZERO,
            rested: false,
            budget: false,
            approved,
            idle: false,
            now: self.now.mono,
            seq: self.next_write,
        }
    }

    /// What the PLC shows on which the setpoint lives.
    fn link_evidence(&self, e: &mut Evidence, plc: PlcId, in_force: Mode) {
        let Some(link) = self.links.get(plc.index()) else { return };
        e.plc = plc;
        e.enabled = self.enabled(plc);
        e.link = link.live;
        e.epoch = link.link.epoch;
        // Before anything acts no beat is sent, so there is none to be echoed.
        e.heartbeat = link.heartbeat || (in_force < Mode::Advisory && !link.beating);
    }

    /// The limits that the PLC shows, rounded inward; the flag: it should show some but does not.
    fn plc_range(&self, limits: &SetpointPlan) -> (Option<Ticks>, Option<Ticks>, bool) {
        let read = |tag: Option<TagId>, up: bool| match tag {
            None => Ok(None),
            Some(tag) => {
                let value = self.image.good(&self.plan, tag).ok_or(())?;
                inward(limits.grid, value, up).map(Some).ok_or(())
            }
        };
        match (read(limits.plc_low, true), read(limits.plc_high, false)) {
            (Ok(low), Ok(high)) => (low, high, false),
            _ => (None, None, true),
        }
    }

    /// Share of the trim limit in use [%]; `None` while the register is not readable.
    pub(super) fn authority_used(&self, index: usize) -> Option<f64> {
        let plan = self.plan.loops.get(index)?;
        let limits = self.plan.setpoints.get(plan.setpoint.index())?;
        let at = self.ticks.get(plan.setpoint.index()).copied().flatten()?;
        let trim = (at - limits.baseline).abs().count();
        Some(100.0 * trim as f64 / limits.trim_max.count().max(1) as f64)
    }

    fn watch_authority(&mut self, index: usize, id: LoopId) {
        let Some(used) = self.authority_used(index) else { return };
        let Some(state) = self.loops.get_mut(index) else { return };
        if state.owner == Owner::Ours
            && let Some(step) = state.effect.authority(used)
        {
            self.out.event(What::AuthorityUsed(id, step));
        }
    }
}

fn state_owned(state: Option<&LoopState>) -> bool {
    state.is_some_and(|s| s.owner == Owner::Ours)
}

/// The soft sensor that a loop feeds forward.
fn fed_forward(plan: &LoopPlan) -> Option<ModelId> {
    match &plan.controller {
        Controller::RunToRun(c1) => c1.feed_forward,
        Controller::Rules(_) => None,
    }
}

fn feeds_forward(plan: &LoopPlan) -> bool {
    match &plan.controller {
        Controller::Rules(_) => true,
        Controller::RunToRun(c1) => c1.feed_forward.is_some(),
    }
}

/// The tick at or inside a limit shown by the PLC; `None` when it is not a number.
fn inward(grid: Grid, value: f64, up: bool) -> Option<Ticks> {
    let nearest = grid.nearest(value)?;
    if grid.holds(value) {
        return Some(nearest);
    }
    let exact = grid.value(nearest);
    Some(match (up, exact < value) {
        (true, true) => nearest + Ticks::new(1),
        (false, false) => nearest - Ticks::new(1),
        _ => nearest,
    })
}
