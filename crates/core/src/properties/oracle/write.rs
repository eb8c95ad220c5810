//! One write against everything that must hold for it.

use alloc::format;
use alloc::string::String;

use super::super::tally::Tally;
use super::{Oracle, Read, Verdict, ensure};
use crate::guard::ApprovedWrite;
use crate::ledger::Fate;
use crate::mode::{Mode, Rung};
use crate::plan::{Controller, Model, ModelId, SetpointPlan};
use crate::record::{DecisionRow, Outcome, Record};
use crate::scan::{Action, Command, Scan};
use crate::tag::{TagId, Value};

impl Oracle<'_> {
    pub(super) fn judge_write(
        &mut self,
        scan: &Scan<'_>,
        actions: &[Action],
        write: &ApprovedWrite,
        tally: &mut Tally,
    ) -> Verdict {
        let setpoint = write.setpoint().index();
        let limits = &self.plan.setpoints[setpoint];
        let index = self.plan.loops.iter().position(|l| l.setpoint == write.setpoint());
        let Some(index) = index else { return Err(format!("no loop for {write:?}")) };
        ensure!(write.seq() > self.last_write, "numbers do not grow: {write:?}");
        self.last_write = write.seq();
        let row = audited(actions, write)?;
        self.judge_moment(write, index)?;
        tally.beside_a_dead_link += u64::from(self.links.iter().any(|book| !book.live));
        judge_number(limits, write)?;
        self.judge_range(write, limits)?;
        let read = self.judge_register(write, setpoint)?;
        let change = write.to().count() as f64 - read.exact;
        self.judge_pace(write, limits, change)?;
        self.judge_rows(write, row, tally)?;
        if matches!(row.outcome, Outcome::Return(_)) {
            self.judge_return(index)?;
        } else {
            self.judge_wish(scan, write, row, tally)?;
            let deadband = limits.deadband.count() as f64;
            ensure!(libm::ceil(libm::fabs(change)) >= deadband, "below the deadband: {write:?}");
        }
        self.setpoints[setpoint].write(write, read.exact, self.process);
        Ok(())
    }

    /// I5, I9: link, epoch, clocks, contacts, in this very scan.
    fn judge_moment(&self, write: &ApprovedWrite, index: usize) -> Verdict {
        let of = &self.plan.loops[index];
        let plc = self.plc(index);
        ensure!(write.plc() == plc, "to another PLC than its setpoint's: {write:?}");
        let epoch = self.links[plc.index()].link.epoch;
        ensure!(self.live(plc) && write.epoch() == epoch, "dead link or epoch: {write:?}");
        ensure!(write.issued() == self.now, "not issued now: {write:?}");
        ensure!(!self.backwards && self.on_time, "written in a late or backward scan (I9)");
        ensure!(self.enabled(plc), "written without enable (I5)");
        ensure!(self.alive(plc), "written without heartbeat (I5)");
        ensure!(self.bound() && self.running(), "written to another product or a stopped machine");
        ensure!(!self.open(of, false), "written with an open interlock (I5)");
        ensure!(self.loops[index].owned, "written to a setpoint that is not ours (I7)");
        Ok(())
    }

    /// I1, I2: inside recipe, trim and PLC limits of this observation.
    fn judge_range(&self, write: &ApprovedWrite, limits: &SetpointPlan) -> Verdict {
        let to = write.to();
        ensure!(to >= limits.low && to <= limits.high, "outside absolute limits (I1): {write:?}");
        let trim = (to - limits.baseline).abs();
        ensure!(trim <= limits.trim_max, "beyond the trim limit (I2): {write:?}");
        // A REAL of a PLC may be off by one rounding.
        let slack = 1e-3 * limits.grid.tick();
        for (tag, low) in [(limits.plc_low, true), (limits.plc_high, false)] {
            let Some(tag) = tag else { continue };
            let shown = self.usable(tag).map(Value::as_f64);
            let Some(shown) = shown else {
                return Err(format!("PLC limit unreadable (I1): {write:?}"));
            };
            let beyond = if low { shown - write.value() } else { write.value() - shown };
            ensure!(beyond <= slack, "outside the PLC limit {shown} (I1): {write:?}");
        }
        Ok(())
    }

    /// I3, I4: step, rate, dwell, budget, in process time.
    ///
    /// - `change`: from where the register really stands [ticks].
    fn judge_pace(&self, write: &ApprovedWrite, limits: &SetpointPlan, change: f64) -> Verdict {
        let book = &self.setpoints[write.setpoint().index()];
        let distance = libm::fabs(change);
        let step = if change > 0.0 { limits.step_up } else { limits.step_down };
        ensure!(distance > 0.0, "a write that moves nothing: {write:?}");
        ensure!(distance <= step.count() as f64, "over the step limit (I3): {write:?}");
        if let Some(rate) = limits.rate {
            let since = i128::from(self.process - book.last().unwrap_or(0));
            let per = i128::from(rate.per.as_nanos());
            let allowed = i128::from(rate.ticks.count()) * since / per;
            let allowed = allowed.min(1_000_000_000) as f64;
            ensure!(distance <= allowed, "over the rate since last (I3): {write:?}");
            let (_, moved) = book.within(rate.per, self.process);
            let window = moved + distance;
            let over = window > rate.ticks.count() as f64;
            ensure!(!over, "{window} ticks, over the rate in its window (I3): {write:?}");
        }
        if let Some(last) = book.last() {
            let dwell = self.process - last >= limits.dwell.as_nanos();
            ensure!(dwell, "within the dwell time (I4): {write:?}");
        }
        if let Some(budget) = limits.budget {
            let (count, _) = book.within(budget.per, self.process);
            ensure!(count < u64::from(budget.writes), "over the budget (I4): {write:?}");
        }
        Ok(())
    }

    /// I5, I7: from what is read back now, ours, with nothing under way.
    fn judge_register(&self, write: &ApprovedWrite, setpoint: usize) -> Result<Read, String> {
        let book = &self.setpoints[setpoint];
        let Some(read) = self.read(setpoint) else {
            return Err(format!("no read-back (I5): {write:?}"));
        };
        ensure!(read.ticks == write.from(), "read-back is {read:?} (I5): {write:?}");
        ensure!(book.open.is_none(), "the last write is still open: {write:?}");
        ensure!(book.ours(read), "a person's change is overwritten (I7): {read:?} {write:?}");
        Ok(read)
    }

    /// I10: whatever the other registers hold or will hold.
    fn judge_rows(&self, write: &ApprovedWrite, row: &DecisionRow, tally: &mut Tally) -> Verdict {
        for limit in &self.plan.rows {
            let own = limit.weights.iter().find(|(id, _)| *id == write.setpoint());
            let Some((_, own)) = own else { continue };
            tally.rows_judged += 1;
            let change = own * (write.to() - write.from()).count();
            if matches!(row.outcome, Outcome::Return(_)) && change <= 0 {
                continue;
            }
            let mut worst = (own * write.to().count()) as f64;
            for (id, weight) in limit.weights.iter().filter(|(id, _)| *id != write.setpoint()) {
                let Some(read) = self.read(id.index()) else {
                    return Err(format!("row with an unknown register (I10): {write:?}"));
                };
                let under_way = self.setpoints[id.index()].under_way();
                let weight = *weight as f64;
                let coming = under_way.map(|t| weight * t.count() as f64);
                worst += coming.fold(weight * read.exact, f64::max);
            }
            let (max, name) = (limit.max, &limit.name);
            ensure!(worst <= max as f64, "{worst} > {max} in row {name} (I10): {write:?}");
        }
        Ok(())
    }

    /// I6, I11: a ramp needs AUTO, a trip that is not latched or the lowest rung.
    fn judge_return(&self, index: usize) -> Verdict {
        let book = &self.loops[index];
        ensure!(self.in_force(index) == Mode::Auto, "a ramp outside AUTO (I11)");
        ensure!(!book.latched, "a move after the trip latched (I6)");
        let barred = book.trip.is_some_and(crate::mode::TripReason::bars_return);
        ensure!(!barred, "a ramp after {:?} (I6)", book.trip);
        Ok(())
    }

    /// I5, I6, I11: a controller's move needs AUTO or this very approval, and its evidence.
    fn judge_wish(
        &mut self,
        scan: &Scan<'_>,
        write: &ApprovedWrite,
        row: &DecisionRow,
        tally: &mut Tally,
    ) -> Verdict {
        let index = row.loop_id.index();
        let book = self.loops[index];
        ensure!(book.trip.is_none(), "a controller's move after a trip (I6): {write:?}");
        ensure!(row.rung <= Rung::FeedbackOnly, "a controller's move on rung {:?}", row.rung);
        ensure!(self.warm, "a move during warm-up");
        let approval = book.open.filter(|(p, _)| {
            let says =
                |c: &Command| *c == Command::Approve { proposal: p.id, expected: write.from() };
            let approved = scan.commands.iter().any(|o| says(&o.command));
            approved && p.from == write.from() && p.to == write.to() && self.now <= p.expires
        });
        let mode = self.in_force(index);
        ensure!(
            mode == Mode::Auto || (mode == Mode::Advisory && approval.is_some()),
            "written in {mode:?} without this approval (I11): {write:?}"
        );
        let mut score = self.by_score(index, row.rung);
        if let Some((proposal, by_score)) = approval {
            tally.approved += 1;
            score |= by_score;
            self.drop_proposal(proposal.id);
        }
        if score {
            tally.by_score += 1;
            self.judge_score(index)?;
        }
        Ok(())
    }

    /// I5: inputs usable and known, models in their domain, now.
    fn judge_score(&self, index: usize) -> Verdict {
        let of = &self.plan.loops[index];
        let good = |tag: &TagId| self.usable(*tag).is_some();
        ensure!(of.inputs.iter().all(good), "written by a score on bad inputs (I5)");
        let model = match &of.controller {
            Controller::RunToRun(c1) => c1.feed_forward,
            Controller::Rules(_) => None,
        };
        let needs_feature =
            model.is_some() || of.domain.is_some() || matches!(of.controller, Controller::Rules(_));
        if needs_feature {
            let tag = self.plan.features[0].tag;
            ensure!(good(&tag) && self.feature.is_some(), "written by a score of nothing (I5)");
        }
        let inside = [model, of.domain].into_iter().flatten().all(|m| self.inside_domain(m));
        ensure!(inside, "written by a score out of its domain (I5)");
        Ok(())
    }

    fn inside_domain(&self, id: ModelId) -> bool {
        let Some(x) = self.feature else { return false };
        match &self.plan.models[id.index()].model {
            Model::Pca(_)
            | Model::Monitor(_)
            | Model::Combined(_)
            | Model::Forest(_)
            | Model::Logistic(_) => self.in_domain,
            Model::Linear(linear) => {
                let (low, high) = linear.span[0];
                let monitor = linear.domain.is_none_or(|m| self.inside_domain(m));
                x >= low && x <= high && monitor
            }
            Model::Chart(_) => true,
        }
    }
}

/// I1, I8: the number on the wire is the tick, and finite.
fn judge_number(limits: &SetpointPlan, write: &ApprovedWrite) -> Verdict {
    let scale = 10_i64.pow(u32::from(limits.grid.decimals())) as f64;
    let exact = (write.to().count() * limits.grid.mantissa()) as f64 / scale;
    let same = exact.to_bits() == write.value().to_bits();
    ensure!(same && exact.is_finite(), "{exact} is not the value of {write:?} (I8)");
    ensure!(write.tag() == limits.tag && write.ttl() == limits.ttl, "another tag: {write:?}");
    Ok(())
}

/// I13: one decision and one opening of the ledger in the same scan.
fn audited<'a>(actions: &'a [Action], write: &ApprovedWrite) -> Result<&'a DecisionRow, String> {
    let seq = write.seq();
    let mut decision = None;
    let (mut decisions, mut openings) = (0, 0);
    for action in actions {
        match action {
            Action::Record(Record::Decision(row))
                if row.outcome == Outcome::Write(seq) || row.outcome == Outcome::Return(seq) =>
            {
                decisions += 1;
                decision = Some(row);
            }
            Action::Record(Record::Ledger(row)) if row.write == seq && row.fate == Fate::Sent => {
                openings += 1;
            }
            _ => {}
        }
    }
    match decision {
        Some(row) if decisions == 1 && openings == 1 => Ok(row),
        _ => Err(format!("{decisions} decisions, {openings} ledger rows (I13): {write:?}")),
    }
}
