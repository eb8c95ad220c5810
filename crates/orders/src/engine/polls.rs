//! What became of the orders: asked when it is due, or sooner when a webhook came.

use trimloop_cmms::{Remote, Trouble};
use trimloop_core::time::Span;
use trimloop_work::desk::{CaseState, OrderState};
use trimloop_work::key::ExtKey;

use super::{Engine, EngineError, PAUSE, POLL_BACK};
use crate::base::BaseError;

/// A webhook brings a poll no sooner than so long after the last one.
pub(super) const WOKEN: Span = Span::from_secs(5);
/// Polls in a row that must fail before it is told.
const POLLS_FAIL: u32 = 2;
/// Lines of what was told among which the last one of polls is looked for.
const TOLD_LOOKED: u32 = 500;
/// Told when polls begin to fail.
pub const POLL_FAILED: &str = "poll_failed";
/// Told when one is answered again.
pub const POLLED: &str = "polled";

impl Engine {
    /// The system says that something changed: the next round asks what, or one some seconds later
    /// when it has just been asked.
    pub fn wake(&mut self) {
        self.next_poll = self.next_poll.min(self.last_poll + WOKEN);
    }

    /// What became of the orders.
    pub(super) fn poll(&mut self) -> Result<(), EngineError> {
        let open: Vec<ExtKey> = self
            .works
            .desk
            .cases()
            .filter(|case| !matches!(case.state, CaseState::Waiting(_) | CaseState::Proposed))
            .map(|case| case.key)
            .collect();
        if open.is_empty() || self.at < self.next_poll {
            return Ok(());
        }
        self.setup.stamp.set(self.at);
        (self.last_poll, self.next_poll) = (self.at, self.at + self.setup.poll);
        let begin = self.at;
        let first = open.first().copied();
        let trouble = match self.system.changed(self.polled - POLL_BACK) {
            Ok(all) => {
                for remote in &all {
                    self.learn(remote)?;
                }
                self.polled = begin;
                self.look_for_lost(&open, &all)?
            }
            // The next poll asks for the same again.
            Err(trouble) => Some(trouble),
        };
        if let Some(Trouble::Paused(why)) = &trouble {
            self.paused = Some((self.at + PAUSE, why.clone()));
        }
        self.polled_with(trouble, first);
        Ok(())
    }

    /// Tells once when polls begin to fail, and once when one is answered again. A single one that
    /// fails is nothing yet, unless a person must set something right.
    fn polled_with(&mut self, trouble: Option<Trouble>, of: Option<ExtKey>) {
        let Some(key) = of else { return };
        let was_told = self.trouble().is_some();
        let Some(trouble) = trouble else {
            self.failing = None;
            if was_told {
                self.tell(key, POLLED, "");
            }
            return;
        };
        let tries = self.failing.as_ref().map_or(0, |(tries, _)| *tries);
        let is_urgent = matches!(trouble, Trouble::Paused(_));
        let why = trouble.why().to_owned();
        let tries = tries.saturating_add(1).max(if is_urgent { POLLS_FAIL } else { 1 });
        self.failing = Some((tries, why.clone()));
        if !was_told && self.trouble().is_some() {
            self.tell(key, POLL_FAILED, &why);
        }
    }

    /// Why nobody knows what becomes of the orders, if the system does not answer.
    pub fn trouble(&self) -> Option<&str> {
        let failing = self.failing.as_ref().filter(|(tries, _)| *tries >= POLLS_FAIL);
        failing.map(|(_, why)| why.as_str())
    }

    fn learn(&mut self, remote: &Remote) -> Result<(), EngineError> {
        let Some(key) = remote.key else { return Ok(()) };
        // Once, not with each poll.
        if !remote.is_word_unknown {
            self.strange.remove(&key);
        } else if self.strange.insert(key, remote.word.clone()).as_ref() != Some(&remote.word) {
            let detail = format!("\"{}\" is not known, and taken for open", remote.word);
            self.tell(key, "unknown_word", &detail);
        }
        self.missing.remove(&key);
        match remote.assignee.clone().filter(|_| self.known.contains_key(&key)) {
            Some(who) => self.assignees.insert(key, who),
            None => self.assignees.remove(&key),
        };
        // The reply that named it may have been lost: comments need its name.
        if self.base.remote(key)?.is_none() {
            self.news.remote.push((key, remote.id.clone()));
        }
        self.works.desk.order_is(key, remote.state, remote.updated, self.at);
        self.found(key, remote)
    }

    /// An order that is open and was not among the news is read by itself; not there twice in a row
    /// is gone.
    ///
    /// The last trouble of those reads, if one failed.
    fn look_for_lost(
        &mut self,
        open: &[ExtKey],
        news: &[Remote],
    ) -> Result<Option<Trouble>, EngineError> {
        let mut trouble = None;
        for key in open.iter().filter(|key| !news.iter().any(|order| order.key == Some(**key))) {
            let Some(id) = self.base.remote(*key)? else { continue };
            match self.system.read(&id) {
                Ok(Some(remote)) => self.learn(&Remote { key: Some(*key), ..remote })?,
                Ok(None) => {
                    let looks = self.missing.entry(*key).or_default();
                    *looks += 1;
                    if *looks >= 2 {
                        self.works.desk.order_is(*key, OrderState::Lost, self.at, self.at);
                    }
                }
                Err(failed) => trouble = Some(failed),
            }
        }
        Ok(trouble)
    }

    /// Whether the system answers is found out by the next poll; until then it is as it was.
    pub(super) fn recall_polls(&mut self) -> Result<(), BaseError> {
        let told = self.base.told(None, TOLD_LOOKED)?;
        let last = told.into_iter().find(|line| [POLL_FAILED, POLLED].contains(&&*line.what));
        let failed = last.filter(|line| line.what == POLL_FAILED);
        self.failing = failed.map(|line| (POLLS_FAIL, line.detail));
        Ok(())
    }
}
