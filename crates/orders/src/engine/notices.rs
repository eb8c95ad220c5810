//! Notices: what is new of alarms goes to the channels, at times of the day the work orders too, and
//! what they write to whoever carries it.

use std::collections::BTreeSet;

use trimloop_core::time::Utc;
use trimloop_work::key::Fingerprint;
use trimloop_work::notify::{Delivery, Digest, Notice, Notify, NotifyState, OrderLine};
use trimloop_work::works::Works;

use super::{Engine, EngineError, Setup};

/// What was stored, under the channels and faults of today.
pub(super) fn restored(setup: &Setup, told: NotifyState, works: &Works, at: Utc) -> Notify {
    let mut notify = Notify::new(setup.channels.clone(), told, at);
    let on: BTreeSet<Fingerprint> = works
        .watch
        .alarms()
        .filter(|(_, alarm)| alarm.is_on())
        .map(|(subject, _)| subject.fingerprint())
        .collect();
    notify.keep(|alarm| on.contains(&alarm), at);
    notify
}

impl Engine {
    pub(super) fn hear_alarms(&mut self) {
        for news in self.works.heard() {
            self.notify.take(&news);
            self.news.alarms.push(news);
        }
    }

    pub(super) fn write_notices(&mut self) -> Result<(), EngineError> {
        let evidence = &self.works.evidence;
        let seen = |alarm| evidence.get(&alarm).and_then(|it| it.lines.first().cloned());
        self.notify.tick(self.at, seen);
        let due = self.notify.digests_due(self.at);
        if !due.is_empty() {
            // What closed is read from the file.
            self.save()?;
        }
        for (channel, since) in due {
            let digest = self.work_orders(since)?;
            self.notify.digest(&channel, digest, self.at);
        }
        Ok(())
    }

    /// The work orders of this moment, and those that closed from a time on and before now.
    fn work_orders(&self, since: Utc) -> Result<Option<Digest>, EngineError> {
        let cases = self.works.desk.cases();
        let mut lines: Vec<OrderLine> = cases
            .filter_map(|case| OrderLine::of(case, since, self.works.desk.refused_create(case.key)))
            .collect();
        for closed in self.base.closed_from([since, self.at])? {
            lines.extend(OrderLine::closed(&closed.case, since, &closed.how));
        }
        let system = self.book.is_none().then(|| self.system.name().to_owned());
        for line in &mut lines {
            line.assignee = self.assignees.get(&line.key).cloned();
            if system.is_some() {
                line.number = self.base.remote(line.key)?;
            }
        }
        Ok(Digest::new(since, system, lines))
    }

    /// Notices that are to be sent now, at most one for each channel. They are on disk as being sent
    /// when this returns; whoever sends them says what came of it with [`Self::noticed`].
    ///
    /// # Errors
    /// [`EngineError`]; none of them may be sent then.
    pub fn notices(&mut self) -> Result<Vec<Notice>, EngineError> {
        let (notify, at) = (&mut self.notify, self.at);
        let channels = self.setup.channels.iter();
        let all: Vec<Notice> = channels.filter_map(|plan| notify.next(&plan.name, at)).collect();
        if !all.is_empty() {
            self.save()?;
        }
        Ok(all)
    }

    /// What came of a notice; stored with the next round. Lost before that it is sent again.
    pub fn noticed(&mut self, channel: &str, id: &str, how: &Delivery) {
        self.notify.sent(channel, id, how, self.at);
    }
}
