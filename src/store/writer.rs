//! The writer thread, and the store as its owner sees it.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use trimloop_core::record::Record;
use trimloop_core::time::Utc;

use super::history::History;
use super::keeper::Keeper;
use super::queue::{
    Queue, ROWS_MAX, ROWS_RESERVED, Row, SAMPLES_RESERVED, SampleRow, StoreSender, Waiting,
};
use super::state::{self, State, StateRows};
use super::{AuditEntry, StoreError, StoreOptions};
use crate::clock::Clock;
use crate::limits::HistoryLimits;
use crate::notice::Notice;

/// What the audit trail says of rows that could not be kept.
const LOST: &str = "records lost";

/// The open store. Dropping it commits what waits and joins the writer.
#[derive(Debug)]
pub struct Store {
    sender: StoreSender,
    boot: u64,
    notices: Vec<String>,
    thread: Option<JoinHandle<()>>,
    _lock: File,
}

impl Store {
    /// [`Self::open_within`] without any bound: nothing is ever removed or stopped.
    ///
    /// # Errors
    /// As [`Self::open_within`].
    pub fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        Self::open_within(options, HistoryLimits::KEEP_ALL)
    }

    /// Opens or makes the databases, checks them, notes this start and starts the writer, which
    /// keeps the history within `limits`.
    ///
    /// # Errors
    /// [`StoreError`] when `state.db` cannot be used. A damaged history file is no error: it is
    /// set aside, see [`Self::notices`].
    pub fn open_within(options: &StoreOptions, limits: HistoryLimits) -> Result<Self, StoreError> {
        let dir = options.dir.as_path();
        std::fs::create_dir_all(dir)
            .map_err(|source| StoreError::Directory { path: dir.to_owned(), source })?;
        let lock = lock(dir)?;
        let state = State::open(&dir.join("state.db"), options)?;
        let mut history = History::new(dir, &state, &options.names);
        history.open_day(options.clock.utc(), &state)?;
        let notices = std::mem::take(&mut history.notices);
        let boot = state.boot.unsigned_abs();
        let queue = Arc::new(Queue::new());
        let whole =
            state.whole().map_err(|source| StoreError::Sql { what: "read marks", source })?;
        *queue.whole.lock().unwrap_or_else(PoisonError::into_inner) = whole;
        let keeper = Keeper::new(dir, options.clock, limits, Arc::clone(&queue.unsent_told));
        let writer = Writer::new(Arc::clone(&queue), state, history, keeper, options.clock);
        writer.tell_tips();
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::Thread { source })?;
        let sender = StoreSender { queue, clock: options.clock, boot };
        Ok(Self { sender, boot, notices, thread: Some(thread), _lock: lock })
    }

    /// A handle for those who write rows.
    #[must_use]
    pub fn sender(&self) -> StoreSender {
        self.sender.clone()
    }

    /// Number of this start; grows by one.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// What people must be told about the files found at the start.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.sender.queue.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The store's writer thread ended by itself.");
        }
    }
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Directory { path: dir.to_owned(), source };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("store.lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Adds one entry to the audit trail of a folder whose service does not run.
///
/// # Errors
/// [`StoreError`] when a service runs there, or the trail cannot be written; `Ok(false)` when the
/// folder holds no store.
pub fn audit_offline(dir: &Path, entry: &AuditEntry) -> Result<bool, StoreError> {
    let path = dir.join("state.db");
    if !path.is_file() {
        return Ok(false);
    }
    let _lock = lock(dir)?;
    state::append_audit(&path, entry)?;
    Ok(true)
}

struct Writer {
    queue: Arc<Queue>,
    state: State,
    history: History,
    buffer: Waiting,
    samples: Vec<SampleRow>,
    state_rows: StateRows,
    history_rows: Vec<(Utc, Record)>,
    keeper: Keeper,
    clock: Clock,
    /// Lost rows of `state.db` that the audit trail tells of.
    lost_told: u64,
    /// The last history write failed; said once.
    history_failing: bool,
    /// The last write of `state.db` failed; said once.
    state_failing: bool,
}

impl Writer {
    fn new(
        queue: Arc<Queue>,
        state: State,
        history: History,
        keeper: Keeper,
        clock: Clock,
    ) -> Self {
        Self {
            queue,
            state,
            history,
            buffer: Waiting {
                samples: std::collections::VecDeque::with_capacity(SAMPLES_RESERVED),
                rows: Vec::with_capacity(ROWS_RESERVED),
                late: Vec::new(),
            },
            samples: Vec::new(),
            state_rows: StateRows::default(),
            history_rows: Vec::new(),
            keeper,
            clock,
            lost_told: 0,
            history_failing: false,
            state_failing: false,
        }
    }

    fn run(mut self) {
        loop {
            let (taken, last) = self.queue.take(&mut self.buffer);
            self.sort_rows();
            // History first: an order that is acknowledged has everything before it on disk.
            self.write_history();
            self.write_late();
            if self.write_state() {
                self.queue.committed(taken);
            } else {
                self.queue.failed();
            }
            if last {
                break;
            }
            let notices = self.keeper.tend(&mut self.history, &self.state);
            self.state_rows.notices.extend(notices);
            self.queue.kept(self.keeper.floor.is_stopped(), self.keeper.unsent);
        }
        self.keeper.end(&mut self.history);
        let closed = self.state.close().and(self.history.close());
        if let Err(error) = closed {
            tracing::warn!(%error, "A database could not be closed; it is whole all the same.");
        }
        self.queue.ended();
    }

    fn sort_rows(&mut self) {
        self.samples.extend(self.buffer.samples.drain(..));
        for row in self.buffer.rows.drain(..) {
            match row {
                Row::Event(number, event) => self.state_rows.events.push((number, event)),
                Row::Notice(notice) => self.state_rows.notices.push(notice),
                Row::Audit(entry) => self.state_rows.audit.push(entry),
                Row::Cursor(cursor) => self.state_rows.cursors.push(cursor),
                Row::Whole(plc, utc) => self.state_rows.whole.push((plc, utc)),
                Row::Record(utc, Record::Decision(row)) => {
                    self.state_rows.decisions.push((utc, row));
                }
                Row::Record(utc, Record::Ledger(row)) => self.state_rows.ledger.push((utc, row)),
                Row::Record(utc, record) => self.history_rows.push((utc, record)),
            }
        }
    }

    fn write_history(&mut self) {
        self.state_rows.notices.extend(self.keeper.watch());
        let rows = (self.samples.len() + self.history_rows.len()) as u64;
        if self.keeper.floor.withholds(rows) {
            self.queue.drop_samples(rows);
            self.samples.clear();
            self.history_rows.clear();
        }
        if self.samples.is_empty() && self.history_rows.is_empty() {
            return;
        }
        match self.history.write(&mut self.samples, &self.history_rows, &self.state) {
            Ok(written) => {
                self.queue.doubled.fetch_add(written.doubled, Ordering::Relaxed);
                if std::mem::take(&mut self.history_failing) {
                    tracing::info!("The history is written again.");
                    self.tell("history_resumed", "The history is written again.".to_owned());
                }
            }
            Err(error) => {
                self.queue.drop_samples(rows);
                if !std::mem::replace(&mut self.history_failing, true) {
                    let error = crate::error::chain(&error);
                    tracing::error!(error, "The history cannot be written; samples are dropped.");
                    let sentence =
                        format!("The history cannot be written ({error}); samples are dropped.");
                    self.tell("history_failing", sentence);
                }
            }
        }
        self.samples.clear();
        self.history_rows.clear();
    }

    /// Samples out of a PLC's history, one transaction per day. What cannot be written is asked for
    /// again by whoever read it, so nothing is counted here.
    fn write_late(&mut self) {
        for mut late in std::mem::take(&mut self.buffer.late) {
            if self.keeper.floor.is_stopped() {
                continue;
            }
            match self.history.write(&mut late.samples, &[], &self.state) {
                // Nobody waits any more when the link has ended meanwhile.
                Ok(written) => drop(late.done.send(written.backfilled)),
                Err(error) => {
                    let error = crate::error::chain(&error);
                    tracing::warn!(error, "Samples out of a PLC's history cannot be written yet.");
                }
            }
        }
    }

    fn tell_tips(&self) {
        *self.queue.tips.lock().unwrap_or_else(PoisonError::into_inner) = self.state.tips();
    }

    fn tell(&mut self, code: &'static str, sentence: String) {
        let (at, subject) = (self.clock.utc(), "history".to_owned());
        self.state_rows.notices.push(Notice { at, code, subject, sentence });
    }

    /// Whether everything is on disk; what is not stays for the next time.
    ///
    /// Rows that are lost are told in the audit trail before anything may be written to the PLC
    /// again: then the trail is whole in that it says what it lacks.
    fn write_state(&mut self) -> bool {
        let lost = self.queue.lost();
        if lost > self.lost_told && self.state_rows.audit.last().is_none_or(|e| e.what != LOST) {
            let lacking = lost - self.lost_told;
            self.state_rows.audit.push(AuditEntry {
                utc: self.clock.utc(),
                order: 0,
                actor: "service".to_owned(),
                what: LOST.to_owned(),
                reason: format!("{lacking} rows could not be kept; state.db was not writable"),
            });
        }
        if self.state_rows.len() == 0 {
            return true;
        }
        match self.state.write(&self.state_rows) {
            Ok(()) => {
                self.state_rows.clear();
                self.tell_tips();
                self.lost_told = lost;
                if std::mem::take(&mut self.state_failing) {
                    tracing::info!("state.db is written again.");
                }
                self.queue.sound_again(lost);
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.state_failing, true) {
                    tracing::error!(%error, "state.db cannot be written; no setpoint is written.");
                }
                if self.state_rows.len() > ROWS_MAX {
                    self.queue.lose_rows(self.state_rows.shed(ROWS_MAX / 2));
                }
                false
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
