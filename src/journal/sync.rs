//! The thread that brings appended records to the disk, in groups.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::JournalError;

/// Longest time that an appended record waits for its sync to begin.
const SYNC_PERIOD: Duration = Duration::from_millis(50);

/// End of the chain after some record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalTip {
    /// Number of the file; 0 before the first.
    pub file: u64,
    /// Bytes of it up to there.
    pub bytes: u64,
    /// Chain value.
    pub chain: [u8; 32],
}

/// Tells how far the journal is on the disk. Clones look at the same journal.
#[derive(Clone, Debug)]
pub struct Tips(pub(super) Arc<Shared>);

impl Tips {
    /// End of the chain that a power cut cannot take any more.
    #[must_use]
    pub fn synced(&self) -> JournalTip {
        *self.0.synced_tip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what was appended to the disk, then as [`Self::synced`].
    #[must_use]
    pub fn sync(&self) -> JournalTip {
        self.0.sync();
        self.synced()
    }
}

/// What scan thread and sync thread share. The scan thread only stores an atomic; it takes the
/// lock when a file is rotated, and the sync thread never holds it while it syncs.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) poisoned: AtomicBool,
    appended: AtomicU64,
    synced: AtomicU64,
    files: Mutex<Files>,
    /// End of what is appended; the scan thread never waits for it.
    tip: Mutex<JournalTip>,
    synced_tip: Mutex<JournalTip>,
    /// Held during a sync, so that two callers do not take one another's closed files.
    syncing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Files {
    current: Option<Arc<File>>,
    /// Closed files whose last records may not be on the disk yet; at most a few.
    closed: Vec<Arc<File>>,
    directory: PathBuf,
}

impl Shared {
    /// One more record is in the page cache.
    pub(super) fn appended(&self, tip: JournalTip) {
        // While the sync thread copies it, it stays one record old.
        if let Ok(mut slot) = self.tip.try_lock() {
            *slot = tip;
        }
        self.appended.fetch_add(1, Ordering::Release);
    }

    /// A new file takes over.
    pub(super) fn rotate(&self, file: Arc<File>, directory: &std::path::Path) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let old = files.current.replace(file);
        files.closed.extend(old);
        directory.clone_into(&mut files.directory);
    }

    /// Syncs what was appended until now; a failed sync poisons the journal, because the kernel
    /// may have dropped the pages it could not write.
    pub(super) fn sync(&self) {
        let _one_at_a_time = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let appended = self.appended.load(Ordering::Acquire);
        if appended == self.synced.load(Ordering::Acquire) {
            return;
        }
        let tip = *self.tip.lock().unwrap_or_else(PoisonError::into_inner);
        let (current, closed, directory) = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            let closed = std::mem::take(&mut files.closed);
            (files.current.clone(), closed, std::mem::take(&mut files.directory))
        };
        let mut result = Ok(());
        if !directory.as_os_str().is_empty() {
            result = result.and_then(|()| File::open(&directory)?.sync_all());
        }
        for file in closed.iter().chain(&current) {
            result = result.and_then(|()| file.sync_data());
        }
        match result {
            Ok(()) => {
                *self.synced_tip.lock().unwrap_or_else(PoisonError::into_inner) = tip;
                self.synced.store(appended, Ordering::Release);
            }
            Err(error) => {
                if !self.poisoned.swap(true, Ordering::AcqRel) {
                    tracing::error!(%error, "The journal could not be synced to the disk; \
                        no setpoint is written until a restart.");
                }
            }
        }
    }
}

/// The running thread; dropping it syncs once more and joins.
#[derive(Debug)]
pub(super) struct Syncer {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, JournalError> {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("journal-sync".to_owned())
            .spawn(move || run(&shared, &stopped))
            .map_err(|source| JournalError::Thread { source })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The journal's sync thread ended by itself.");
        }
    }
}

fn run(shared: &Shared, stopped: &Receiver<()>) {
    loop {
        let wait = stopped.recv_timeout(SYNC_PERIOD);
        shared.sync();
        if matches!(wait, Err(RecvTimeoutError::Disconnected)) {
            return;
        }
    }
}
