//! What counts: parts, meters that another system keeps, and work that is due by them.

use trimloop_cmms::{Reading, Trouble};
use trimloop_core::time::Span;
use trimloop_work::key::{ExtKey, Fingerprint, Subject};
use trimloop_work::watch::{PLAN_DUE, Says, Seen, Trigger};

use super::{Engine, EngineError, PAUSE};
use crate::findings::Finding;
use crate::meters::{CYCLES, PlanRule, Taken};

/// Parts are counted so often.
const COUNT: Span = Span::from_secs(10);

impl Engine {
    /// Adds up the parts since the last look.
    pub(super) fn count(&mut self) {
        if self.at < self.next_count {
            return;
        }
        self.next_count = self.at + COUNT;
        self.read_parts();
        let rules = self.setup.plans.clone();
        self.meters.keep_plans(&rules);
        for rule in &rules {
            self.plan(rule);
        }
    }

    fn read_parts(&mut self) {
        let (parts, cursor) = self.recorder.parts(&self.meters.cursor);
        self.meters.count(&parts, cursor);
    }

    /// Tells the desk whether planned work is due.
    fn plan(&mut self, rule: &PlanRule) {
        // Before the recorder has told of a start the desk would take this for one.
        let Some(boot) = self.works.watch.boot() else { return };
        let is_held = self.known.values().any(|case| {
            let is_plan = self.is_plan(case.key.fingerprint);
            !is_plan && is_same_place(&case.subject, &rule.subject)
        });
        let word = if self.meters.plan(rule, is_held) { "on" } else { "off" };
        let says = Says::Event(PLAN_DUE, &rule.name, word);
        let seen = Seen { boot, at: self.at, part: 0, says };
        let (every, unit) = (rule.every, if rule.meter == CYCLES { "cycles" } else { "h" });
        self.works.take(&seen, &format!("Planned work is due each {every} {unit}."));
        self.hear();
    }

    /// Work was done, or a person let it be: its plan counts anew. A repair at the same place counts
    /// as the planned work, unless nothing was repaired.
    pub(super) fn plan_done(&mut self, key: ExtKey) {
        let Some(case) = self.known.get(&key) else { return };
        let (place, own) = (case.subject.clone(), key.fingerprint);
        let is_plan = self.is_plan(own);
        let codes = self.outcomes.get(&key).map(|outcome| &outcome.codes);
        let finding = codes.map(|codes| self.setup.origin.codes.finding(codes));
        let is_repair = matches!(finding, None | Some(Finding::Confirmed | Finding::Unsaid));
        // What was made until now was made before the work.
        self.read_parts();
        for rule in &self.setup.plans {
            let is_it = rule.subject.fingerprint() == own;
            if is_it || !is_plan && is_repair && is_same_place(&place, &rule.subject) {
                self.meters.done(rule);
            }
        }
        self.next_count = self.at;
    }

    pub(super) fn is_plan(&self, fault: Fingerprint) -> bool {
        let trigger = self.works.watch.fault(fault).map(|fault| &fault.trigger);
        matches!(trigger, Some(Trigger::Planned(_)))
    }

    /// Readings that are due go out, behind all orders. Each is on disk before it leaves.
    pub(super) fn tell_meters(&mut self) -> Result<(), EngineError> {
        let is_away = self.paused.as_ref().is_some_and(|(until, _)| self.at < *until);
        if self.book.is_some() || is_away {
            return Ok(());
        }
        let plan = self.setup.meters.clone();
        while let Some(due) = self.meters.due(&plan, self.at) {
            self.store()?;
            let reading = Reading {
                meter: plan.names.get(&due.meter).cloned().unwrap_or_default(),
                name: due.meter.clone(),
                value: due.value,
                at: due.at,
            };
            let how = match self.system.reading(&reading) {
                Ok(()) => Taken::Yes,
                Err(Trouble::NotDone { not_before, why }) => Taken::Again(not_before, why),
                Err(Trouble::Unknown(why)) => Taken::Again(None, why),
                Err(Trouble::Refused(why)) => Taken::Refused(why),
                Err(Trouble::Paused(why)) => {
                    self.paused = Some((self.at + PAUSE, why.clone()));
                    Taken::Again(Some(self.at + PAUSE), why)
                }
            };
            self.meters.told(&due.meter, how, &plan, self.at);
            self.store()?;
            if self.paused.is_some() {
                break;
            }
        }
        Ok(())
    }
}

/// Whether two faults are of the same component of the same asset.
fn is_same_place(one: &Subject, other: &Subject) -> bool {
    (&one.site, &one.asset, &one.component) == (&other.site, &other.asset, &other.component)
}
