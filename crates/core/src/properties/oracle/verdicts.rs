//! Events, orders, decisions, parts: everything but the writes themselves.

use super::super::tally::Tally;
use super::{LoopBook, Oracle, Verdict, ensure};
use crate::drift::Drift;
use crate::event::{OrderRefusal, What};
use crate::guard::{Cut, Reason};
use crate::mode::{Mode, Rung};
use crate::plan::{Controller, LoopId, Model, ModelId};
use crate::record::{Answer, DecisionRow, Outcome, Record};
use crate::scan::{Action, Command, Order, Proposal, Scan};
use crate::unit::Ticks;

impl Oracle<'_> {
    /// Holds the actions of one step against the invariants.
    pub(in super::super) fn judge(
        &mut self,
        scan: &Scan<'_>,
        actions: &[Action],
        tally: &mut Tally,
    ) -> Verdict {
        for action in actions {
            match action {
                Action::Event(event) => self.take_event(scan, event.what, tally)?,
                Action::Record(record) => self.take_record(record, tally)?,
                Action::Write(write) => self.judge_write(scan, actions, write, tally)?,
                Action::Ask(proposal) => self.take_ask(actions, *proposal, tally)?,
                Action::Heartbeat(plc, count) => {
                    let book = &mut self.links[plc.index()];
                    ensure!(book.link.up, "a life sign without a session: {plc:?}");
                    book.beats.push((*count, self.now));
                    if book.beats.len() > 64 {
                        book.beats.remove(0);
                    }
                }
            }
        }
        answers(scan, actions)?;
        self.must_have_lowered(scan)?;
        self.must_have_tripped()
    }

    /// Whoever acts on a model that is told to drift steps down in the same scan, where the recipe
    /// says so.
    fn take_drift(&mut self, model: ModelId, drift: Drift, tally: &mut Tally) -> Verdict {
        tally.drifts += 1;
        ensure!(drift.value.is_finite() && drift.limit.is_finite(), "{model:?}: {drift:?}");
        if !self.plan.drifts.iter().any(|d| d.model == model && d.demotes) {
            return Ok(());
        }
        for (book, of) in self.loops.iter_mut().zip(&self.plan.loops) {
            let acts = book.asked > Mode::Shadow && book.trip.is_none();
            book.lowers |= acts && self.plan.rests_on(of, model);
        }
        Ok(())
    }

    fn must_have_lowered(&mut self, scan: &Scan<'_>) -> Verdict {
        for (index, book) in self.loops.iter_mut().enumerate() {
            let due = core::mem::take(&mut book.lowers);
            // A person who raises the loop in that very scan has the last word.
            let raised = scan.commands.iter().any(
                |order| matches!(order.command, Command::SetMode(id, _) if id.index() == index),
            );
            let low = book.asked <= Mode::Shadow || book.trip.is_some() || raised;
            ensure!(!due || low, "loop {index} acts on a model that drifts");
        }
        Ok(())
    }

    fn must_have_tripped(&self) -> Verdict {
        for (index, book) in self.loops.iter().enumerate() {
            let of = &self.plan.loops[index];
            let acting = book.owned && book.told >= Mode::Advisory && self.live(self.plc(index));
            let open = acting && !self.crowded && self.open(of, true);
            ensure!(!open || book.trip.is_some(), "an open interlock did not trip loop {index}");
            let clock = self.backwards && book.trip.is_none();
            ensure!(!clock, "the clock ran backwards and loop {index} did not trip (I9)");
        }
        Ok(())
    }

    fn take_event(&mut self, scan: &Scan<'_>, what: What, tally: &mut Tally) -> Verdict {
        match what {
            What::OrderDone(id) => {
                if let Some(order) = scan.commands.iter().find(|o| o.id == id) {
                    self.order_done(order)?;
                }
            }
            What::OrderRefused(id, why) => {
                if let Some(order) = scan.commands.iter().find(|o| o.id == id) {
                    self.order_refused(order, why);
                }
            }
            What::ExternalChange(setpoint, _) => {
                tally.foreign += 1;
                let of = self.plan.loops.iter().position(|l| l.setpoint == setpoint);
                if let Some(book) = of.map(|l| &mut self.loops[l]) {
                    yield_loop(book, Mode::Advisory);
                }
            }
            What::Tripped(id, reason) => {
                tally.trip(reason);
                let book = &mut self.loops[id.index()];
                ensure!(book.trip.is_none(), "loop {id:?} tripped twice");
                book.trip = Some(reason);
                book.open = None;
            }
            What::Latched(id, _) => {
                let setpoint = self.plan.loops[id.index()].setpoint.index();
                let home = self.plan.setpoints[setpoint].baseline;
                let at_home = self.read(setpoint).is_some_and(|read| read.ticks == home);
                tally.latched_home += u64::from(at_home);
                let book = &mut self.loops[id.index()];
                book.latched = true;
                book.asked = book.asked.min(Mode::Shadow);
            }
            What::Reset(id) => {
                let book = &mut self.loops[id.index()];
                book.trip = None;
                book.latched = false;
                book.asked = book.asked.min(Mode::Shadow);
            }
            What::Rung(_, rung) => tally.rung(rung),
            What::Drift(model, drift) => self.take_drift(model, drift, tally)?,
            What::Demoted(id, model) => {
                tally.demoted += 1;
                let demotes = self.plan.drifts.iter().any(|d| d.model == model && d.demotes);
                let rests = self.plan.rests_on(&self.plan.loops[id.index()], model);
                ensure!(demotes && rests, "loop {id:?} was lowered for {model:?}, and need not be");
                let book = &mut self.loops[id.index()];
                ensure!(book.asked > Mode::Shadow, "loop {id:?} was lowered from SHADOW");
                book.asked = Mode::Shadow;
                book.open = None;
                book.lowers = false;
            }
            What::ModeInForce(id, mode) => {
                // What is lost with one PLC takes no authority from the loops on another. An
                // enable contact is left out: the image may doubt it where this book does not.
                let of = &self.plan.links[self.plc(id.index()).index()];
                let quiet = scan.commands.is_empty() && !self.crowded && of.enable.is_none();
                let least = self.in_force(id.index());
                ensure!(!quiet || mode >= least, "{mode:?} in force, and nobody took {least:?}");
                self.loops[id.index()].told = mode;
            }
            _ => {}
        }
        Ok(())
    }

    fn order_done(&mut self, order: &Order) -> Verdict {
        match order.command {
            Command::SetMode(id, mode) => {
                let of = self.plan.loops.get(id.index());
                ensure!(
                    of.is_some_and(|l| mode <= l.mode_max.max(Mode::Shadow)),
                    "mode above the recipe"
                );
                let setpoint = of.map_or(0, |l| l.setpoint.index());
                let read = self.read(setpoint);
                let book = &mut self.loops[id.index()];
                if mode >= Mode::Advisory {
                    ensure!(book.trip.is_none(), "raised while tripped");
                    ensure!(read.is_some(), "raised without a read-back");
                    if !book.owned {
                        ensure!(self.setpoints[setpoint].open.is_none(), "raised over a write");
                        book.owned = true;
                        self.setpoints[setpoint].adopt(read);
                    }
                }
                if mode < book.asked {
                    book.open = None;
                }
                book.asked = mode;
            }
            Command::TakeManual(id) => yield_loop(&mut self.loops[id.index()], Mode::Shadow),
            Command::Deny { proposal } => self.drop_proposal(proposal),
            Command::Approve { .. } | Command::Trip(_) | Command::Reset(_) | Command::Label(_) => {}
        }
        Ok(())
    }

    fn order_refused(&mut self, order: &Order, why: OrderRefusal) {
        if let Command::Approve { proposal, .. } = order.command
            && matches!(
                why,
                OrderRefusal::Expired | OrderRefusal::SetpointMoved | OrderRefusal::Held
            )
        {
            self.drop_proposal(proposal);
        }
    }

    pub(super) fn drop_proposal(&mut self, id: u64) {
        for book in &mut self.loops {
            if book.open.is_some_and(|(p, _)| p.id == id) {
                book.open = None;
            }
        }
    }

    fn take_ask(&mut self, actions: &[Action], proposal: Proposal, tally: &mut Tally) -> Verdict {
        tally.asks += 1;
        let rows = actions.iter().filter_map(|a| match a {
            Action::Record(Record::Decision(row)) => Some(row),
            _ => None,
        });
        let mut rows = rows.filter(|row| row.outcome == Outcome::Asked(proposal.id));
        let row = rows.next();
        ensure!(row.is_some() && rows.next().is_none(), "{proposal:?} has not one decision");
        let index = proposal.loop_id.index();
        let score = row.is_some_and(|row| self.by_score(index, row.rung));
        ensure!(self.loops[index].owned, "{proposal:?} of a loop that is not ours");
        self.loops[index].open = Some((proposal, score));
        Ok(())
    }

    /// Whether a controller's wish on this rung rests on scores.
    pub(super) fn by_score(&self, index: usize, rung: Rung) -> bool {
        match &self.plan.loops[index].controller {
            Controller::Rules(_) => true,
            Controller::RunToRun(c1) => c1.feed_forward.is_some() && rung == Rung::Full,
        }
    }

    fn take_record(&mut self, record: &Record, tally: &mut Tally) -> Verdict {
        match record {
            Record::Part(row) => self.warm = !row.warm_up,
            Record::Feature(row) => {
                self.feature = row.value;
                self.follow_domain();
            }
            Record::Decision(row) => return self.judge_decision(row, tally),
            Record::Check(row) => {
                // A model may stay in its domain for two parts beyond it.
                let counts = row.check != Reason::Domain && row.answer == Answer::Passed;
                let room = row.margin.is_none_or(|margin| margin >= -1e-9);
                if counts && !room {
                    tally.roomless.get_or_insert(*row);
                }
                tally.checks += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// The monitor's domain: out by 3 of the last 5 known parts, back in after 20 in a row.
    fn follow_domain(&mut self) {
        let Some(Model::Pca(plan)) = self.plan.models.first().map(|m| &m.model) else { return };
        let Some(x) = self.feature else { return };
        let z = (x - plan.mean[0]) / plan.scale[0];
        let t2 = z * z / plan.eigenvalues[0];
        let out = t2 > plan.domain_out.t2;
        self.beyond = ((self.beyond << 1) | u32::from(out)) & 0b1_1111;
        self.inside = if t2 < plan.domain_in.t2 { self.inside + 1 } else { 0 };
        if self.beyond.count_ones() >= 3 {
            self.in_domain = false;
        } else if self.inside >= 20 {
            self.in_domain = true;
        }
    }

    fn judge_decision(&self, row: &DecisionRow, tally: &mut Tally) -> Verdict {
        tally.rung(row.rung);
        for (count, reason) in tally.failed.iter_mut().zip(Reason::ALL) {
            *count += u64::from(row.failed.contains(reason));
        }
        match row.outcome {
            Outcome::Hold(reason) => {
                tally.hold(reason);
                // In SHADOW it is not asked who may write.
                let shadow = row.mode == Mode::Shadow && row.failed.contains(Reason::Mode);
                let apart = |r: &Reason| match r {
                    Reason::Mode | Reason::Approval => false,
                    Reason::NotOwner => !shadow,
                    _ => true,
                };
                let mut failed = Reason::ALL.into_iter().filter(|r| row.failed.contains(*r));
                let first = failed.find(apart);
                let stands = first == Some(reason)
                    || (reason == Reason::Approval && row.failed.contains(reason))
                    || (reason == Reason::Mode && (row.mode == Mode::Off || first.is_none()))
                    || (reason == Reason::OutsideLimits && row.limited.is_none())
                    || (reason == Reason::Tripped && row.limited.is_none());
                ensure!(stands, "{reason:?} is not the first reason (I13): {row:?}");
            }
            Outcome::WouldWrite => {
                tally.would_write += 1;
                ensure!(row.mode <= Mode::Shadow, "would write in {:?} (I11)", row.mode);
            }
            Outcome::Asked(_) => {
                ensure!(row.mode == Mode::Advisory, "asked in {:?} (I11)", row.mode);
            }
            Outcome::Write(_) => {
                let desired = row.desired.is_some_and(f64::is_finite);
                ensure!(desired, "written on a wish that is no number (I8): {row:?}");
                tally.writes += 1;
            }
            Outcome::Return(_) => {
                tally.returns += 1;
                self.judge_ramp(row)?;
            }
            Outcome::Trip(_) => {}
        }
        let in_force = row.mode <= self.in_force(row.loop_id.index());
        // A trip in this scan lowers the mode with the next one.
        let falls = self.loops[row.loop_id.index()].trip.is_some();
        ensure!(in_force || falls, "a mode that nobody asked for: {row:?}");
        Ok(())
    }

    /// I6, I15: towards the baseline, in full steps unless rate or PLC cut them, never past it.
    fn judge_ramp(&self, row: &DecisionRow) -> Verdict {
        let LoopId(index) = row.loop_id;
        let limits = &self.plan.setpoints[self.plan.loops[usize::from(index)].setpoint.index()];
        let (Some(from), Some(to)) = (row.read_back, row.limited) else {
            return Err(alloc::format!("a ramp without numbers: {row:?}"));
        };
        let read = self.read(self.plan.loops[usize::from(index)].setpoint.index());
        let exact = read.map_or(f64::NAN, |r| r.exact);
        let before = exact - limits.baseline.count() as f64;
        let after = (to - limits.baseline).count() as f64;
        let towards = libm::fabs(after) < libm::fabs(before) && before * after >= 0.0;
        ensure!(towards, "a ramp away from the baseline (I6): {row:?}");
        let step = if after > before { limits.step_up } else { limits.step_down };
        // From beside its grid the first step may be one tick shorter.
        let beside = Ticks::new(i64::from(read.is_some_and(|r| !r.on_grid)));
        let full = (step - beside).min((from - limits.baseline).abs());
        let cut = matches!(row.cut, Cut::Rate | Cut::Plc);
        ensure!(cut || (to - from).abs() >= full, "a ramp in less than full steps (I15): {row:?}");
        Ok(())
    }
}

/// A person moves the setpoint.
fn yield_loop(book: &mut LoopBook, mode: Mode) {
    book.asked = book.asked.min(mode);
    book.owned = false;
    book.open = None;
    book.latched |= book.trip.is_some();
}

/// Every order is answered once, in its own scan. A flood may crowd answers out.
fn answers(scan: &Scan<'_>, actions: &[Action]) -> Verdict {
    if scan.commands.len() > 20 {
        return Ok(());
    }
    for order in scan.commands {
        let of = |a: &&Action| {
            matches!(a, Action::Event(e) if matches!(e.what,
                What::OrderDone(id) | What::OrderRefused(id, _) if id == order.id))
        };
        let count = actions.iter().filter(of).count();
        ensure!(count == 1, "order {order:?} was answered {count} times");
    }
    Ok(())
}
