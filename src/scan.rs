//! The scan thread: intake -> journal -> [`Cell::step`] -> journal -> dispatch.
//!
//! - Runs when samples, acks or orders have arrived, never sooner than 1 ms after the last scan,
//!   or when the plan's period is over.
//! - Each scan is in the journal before it is used, and its actions before they are carried out.
//!   A journal or store that cannot write stops all writes; watching and deciding go on.
//! - Nothing here waits for a network, a disk's flush or another thread's work; only short
//!   mutexes are taken, and a reader of the status is never waited for.

use std::sync::{Arc, Mutex};

use tracing::{error, warn};
use trimloop_core::cell::{Cell, LoopStatus};
use trimloop_core::drift::Drift;
use trimloop_core::event::{Event, What};
use trimloop_core::model::forecast::Forecast;
use trimloop_core::plan::{LoopId, ModelId};
use trimloop_core::scan::{Link, Scan};
use trimloop_core::tag::{Reading, TagId};
use trimloop_core::time::{Mono, Now, Process, Span};

use crate::clock::Clock;
use crate::dispatch::{Dispatch, DispatchCounts};
use crate::intake::{Batch, Intake};
use crate::journal::JournalWriter;
use crate::latency::Histogram;

/// How often the status is put up for others.
const BOARD_EVERY: Span = Span::from_millis(50);

/// What the scan thread counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCounts {
    /// Scans.
    pub scans: u64,
    /// Samples in them.
    pub samples: u64,
    /// Scans that left samples for the next.
    pub overruns: u64,
    /// Longest scan, from intake to the last action.
    pub longest: Span,
    /// Journal refused something: nothing is written any more.
    pub journal_poisoned: bool,
}

/// The cell's state as others see it, at most [`BOARD_EVERY`] old.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// Clocks of the scan.
    pub at: Now,
    /// Links as the scan saw them, by `PlcId`.
    pub links: Vec<Link>,
    /// Part being made.
    pub part: i64,
    /// Process time.
    pub process: Process,
    /// Tags, by index.
    pub readings: Vec<Option<Reading>>,
    /// Loops, by index.
    pub loops: Vec<Option<LoopStatus>>,
    /// What drifts, of which model.
    pub drifts: Vec<(ModelId, Drift)>,
    /// Forecasts after the newest part, of which model.
    pub forecasts: Vec<(ModelId, Forecast)>,
    /// Counts of the scan.
    pub scan: ScanCounts,
    /// Counts of dispatch.
    pub dispatch: DispatchCounts,
    /// Change to verified write.
    pub latency: Histogram,
}

impl Board {
    /// Room for a plan.
    #[must_use]
    pub fn new(tags: usize, loops: usize) -> Self {
        Self { readings: vec![None; tags], loops: vec![None; loops], ..Self::default() }
    }
}

/// All that the scan thread owns.
pub struct Scanner {
    /// Where things come from.
    pub intake: Intake,
    /// Its buffers.
    pub batch: Batch,
    /// The decisions.
    pub cell: Cell,
    /// The journal; `None` only where nothing real is moved.
    pub journal: Option<JournalWriter>,
    /// Where things go.
    pub dispatch: Dispatch,
    /// Status for others.
    pub board: Arc<Mutex<Board>>,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    seq: u64,
    last: Option<Mono>,
    shown: Option<Mono>,
    counts: ScanCounts,
    unsound: bool,
}

impl Scanner {
    /// A scanner before its first scan.
    #[must_use]
    pub fn new(
        (intake, batch): (Intake, Batch),
        cell: Cell,
        journal: Option<JournalWriter>,
        dispatch: Dispatch,
        board: Arc<Mutex<Board>>,
    ) -> Self {
        Self { intake, batch, cell, journal, dispatch, board, state: State::default() }
    }

    /// Scans until the intake is stopped.
    pub fn run(mut self) {
        let clock = self.intake.clock();
        let period = self.cell.plan().period;
        while self.intake.wait(&mut self.batch, self.state.last, period) {
            self.scan(clock);
        }
        self.show(clock.mono(), true);
    }

    /// One scan if one is due; whether there was one. For tests that drive time themselves.
    #[cfg(test)]
    pub(crate) fn round(&mut self) -> bool {
        let period = self.cell.plan().period;
        let due = self.intake.poll(&mut self.batch, self.state.last, period);
        if due {
            self.scan(self.intake.clock());
        }
        due
    }

    fn scan(&mut self, clock: Clock) {
        let now = clock.now();
        self.state.last = Some(now.mono);
        self.state.seq += 1;
        let scan = Scan {
            seq: self.state.seq,
            now,
            links: &self.batch.links,
            changes: &self.batch.changes,
            acks: &self.batch.acks,
            commands: &self.batch.orders,
        };
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.append_scan(&scan)
        {
            self.state.counts.tell_poisoned(&error);
        }
        let actions = self.cell.step(scan);
        if let Some(journal) = &mut self.journal
            && let Err(error) = journal.append_actions(scan.seq, actions.as_slice())
        {
            self.state.counts.tell_poisoned(&error);
        }
        let journaled = self.journal.as_ref().is_none_or(|journal| !journal.poisoned());
        let stored = self.dispatch.store.as_ref().is_none_or(|store| store.sound());
        if self.state.unsound == stored {
            self.state.unsound = !stored;
            if !stored {
                error!("The store does not take the audit trail: nothing is written to the PLC.");
            }
        }
        let newest = scan.changes.iter().map(|sample| sample.received).max();
        self.dispatch.carry_out(now, newest, journaled && stored, actions);
        if let Some(store) = &self.dispatch.store {
            store.samples(now.utc, &self.batch.changes);
        }
        self.dispatch.expire(&self.batch.expired);
        self.state.counts.journal_poisoned = !journaled;
        self.count(now);
        let end = clock.mono();
        self.state.counts.longest = self.state.counts.longest.max(end - now.mono);
        self.show(end, false);
    }

    fn count(&mut self, now: Now) {
        let counts = &mut self.state.counts;
        counts.scans += 1;
        counts.samples += self.batch.changes.len() as u64;
        if self.batch.left > 0 {
            counts.overruns += 1;
            let left = u32::try_from(self.batch.left).unwrap_or(u32::MAX);
            warn!(left, "More samples came than one scan takes; the rest waits.");
            let (process, part) = (self.cell.process(), self.cell.part());
            self.dispatch.event(Event { at: now, process, part, what: What::Overrun(left) });
        }
    }

    /// Puts the status up, unless somebody reads it just now.
    fn show(&mut self, now: Mono, last: bool) {
        if !last && self.state.shown.is_some_and(|shown| now - shown < BOARD_EVERY) {
            return;
        }
        let Ok(mut board) = self.board.try_lock() else { return };
        self.state.shown = Some(now);
        board.at = Now { mono: self.state.last.unwrap_or(now), ..self.intake.clock().now() };
        board.links.clear();
        board.links.extend_from_slice(&self.batch.links);
        board.part = self.cell.part();
        board.process = self.cell.process();
        for (tag, slot) in (0..).zip(&mut board.readings) {
            *slot = self.cell.reading(TagId(tag));
        }
        for (loop_id, slot) in (0..).zip(&mut board.loops) {
            *slot = self.cell.loop_status(LoopId(loop_id));
        }
        board.drifts.clear();
        let plan = self.cell.plan();
        for model in plan.drifts.iter().map(|of| of.model) {
            let found = self.cell.drifts().of_model(plan, model);
            board.drifts.extend(found.map(|drift| (model, drift)));
        }
        board.forecasts.clear();
        for model in plan.forecasts.iter().map(|of| of.model) {
            let found = self.cell.forecasts().of_model(model);
            board.forecasts.extend(found.map(|forecast| (model, *forecast)));
        }
        board.scan = self.state.counts;
        board.dispatch = self.dispatch.counts;
        board.latency.copy_from(&self.dispatch.stopwatch.histogram);
    }
}

impl ScanCounts {
    fn tell_poisoned(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.journal_poisoned, true) {
            error!(%error, "The journal cannot be written: nothing is written to the PLC.");
        }
    }
}
