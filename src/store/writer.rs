//! The writer thread, and the store as its owner sees it.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use trimloop_core::record::Record;
use trimloop_core::time::Utc;

use super::history::History;
use super::queue::{Queue, ROWS_MAX, Row, SampleRow, StoreSender, Waiting};
use super::state::{State, StateRows};
use super::{StoreError, StoreOptions};

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
    /// Opens or makes the databases, checks them, notes this start and starts the writer.
    ///
    /// # Errors
    /// [`StoreError`] when `state.db` cannot be used. A damaged history file is no error: it is
    /// set aside, see [`Self::notices`].
    pub fn open(options: &StoreOptions) -> Result<Self, StoreError> {
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
        let writer = Writer::new(Arc::clone(&queue), state, history);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::Thread { source })?;
        let sender = StoreSender { queue, clock: options.clock };
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

struct Writer {
    queue: Arc<Queue>,
    state: State,
    history: History,
    buffer: Waiting,
    samples: Vec<SampleRow>,
    state_rows: StateRows,
    history_rows: Vec<(Utc, Record)>,
    /// The last history write failed; said once.
    history_failing: bool,
}

impl Writer {
    fn new(queue: Arc<Queue>, state: State, history: History) -> Self {
        Self {
            queue,
            state,
            history,
            buffer: Waiting {
                samples: std::collections::VecDeque::with_capacity(ROWS_MAX),
                rows: Vec::with_capacity(8192),
            },
            samples: Vec::new(),
            state_rows: StateRows::default(),
            history_rows: Vec::new(),
            history_failing: false,
        }
    }

    fn run(mut self) {
        loop {
            let (taken, last) = self.queue.take(&mut self.buffer);
            self.sort_rows();
            // History first: an order that is acknowledged has everything before it on disk.
            self.write_history();
            if self.write_state() {
                self.queue.committed(taken);
            } else {
                self.queue.failed();
            }
            if last {
                break;
            }
        }
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
                Row::Event(event) => self.state_rows.events.push(event),
                Row::Notice(notice) => self.state_rows.notices.push(notice),
                Row::Audit(entry) => self.state_rows.audit.push(entry),
                Row::Cursor(cursor) => self.state_rows.cursors.push(cursor),
                Row::Record(utc, Record::Decision(row)) => {
                    self.state_rows.decisions.push((utc, row));
                }
                Row::Record(utc, Record::Ledger(row)) => self.state_rows.ledger.push((utc, row)),
                Row::Record(utc, record) => self.history_rows.push((utc, record)),
            }
        }
    }

    fn write_history(&mut self) {
        if self.samples.is_empty() && self.history_rows.is_empty() {
            return;
        }
        match self.history.write(&mut self.samples, &self.history_rows, &self.state) {
            Ok(doubled) => {
                self.queue.doubled.fetch_add(doubled, Ordering::Relaxed);
                if std::mem::take(&mut self.history_failing) {
                    tracing::info!("The history is written again.");
                }
            }
            Err(error) => {
                self.queue.drop_samples((self.samples.len() + self.history_rows.len()) as u64);
                if !std::mem::replace(&mut self.history_failing, true) {
                    let error = crate::error::chain(&error);
                    tracing::error!(error, "The history cannot be written; samples are dropped.");
                }
            }
        }
        self.samples.clear();
        self.history_rows.clear();
    }

    /// Whether everything is on disk; what is not stays for the next time.
    fn write_state(&mut self) -> bool {
        if self.state_rows.len() == 0 {
            return true;
        }
        match self.state.write(&self.state_rows) {
            Ok(()) => {
                self.state_rows.clear();
                self.queue.sound_again();
                true
            }
            Err(error) => {
                tracing::error!(%error, "state.db cannot be written; no setpoint is written.");
                if self.state_rows.len() > ROWS_MAX {
                    self.queue.lose_rows(self.state_rows.len() as u64);
                    self.state_rows.clear();
                }
                false
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
