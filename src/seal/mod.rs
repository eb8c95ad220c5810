//! Signed heads: now and then, and at the end, the service signs how far its records go, so that a
//! tail that was cut off, or a chain that was made anew, does not pass for the whole.
//!
//! ```text
//! audit, ledger (state.db) --tips--+
//! journal, as far as synced --tip--+--> heads.log, one signed line each; hash-chained
//! ```
//!
//! - A line names only what a power cut cannot take any more.
//! - The key is made at the first start and never leaves `keys/audit.key` (mode 0600). Who may
//!   write there can sign anything: keep the public key, and a copy of `heads.log`, elsewhere.
//! - Signing is none of the scan thread's business and holds nothing up; when it fails, it is
//!   said, and the records go on.

mod head;
mod key;
mod unsigned;
mod verify;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use trimloop_core::time::{Mono, Span};

use crate::clock::Clock;
use crate::journal::Tips as JournalTips;
use crate::store::{StoreSender, Tip};

pub use head::{Head, LineError, read_heads};
pub use key::{AuditKey, KeyError, fingerprint, key_from_text, public_key};
pub use verify::{ChainReport, Finding, VerifyError, VerifyReport, verify};

/// File of the heads, in the data folder.
pub const HEADS: &str = "heads.log";
/// How often it is looked whether there is something to sign.
const LOOK: Duration = Duration::from_secs(60);
/// The journal alone, which grows all the time, is signed this often.
const JOURNAL_EVERY: Span = Span::from_secs(600);

/// Why heads cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file of the heads.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What stands in it is not what was written.
    #[error("{} is damaged: line {line} {what}; check it with `trimloop audit verify`, then move it away", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        what: LineError,
    },
    /// The system gave no thread.
    #[error("cannot start the thread that signs the records")]
    Thread(#[source] std::io::Error),
}

/// What is signed.
pub struct SealSettings {
    /// The data folder.
    pub data: PathBuf,
    /// Audit and ledger.
    pub store: StoreSender,
    /// The journal.
    pub journal: JournalTips,
    /// Clock of the stamps.
    pub clock: Clock,
}

/// Signs on a thread of its own; dropping it signs once more and joins. Drop it after the last row
/// is committed and before the store is closed.
#[derive(Debug)]
pub struct Sealer {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    key: [u8; 32],
    new_key: bool,
    lost: Option<String>,
}

impl Sealer {
    /// Opens or makes the key, reads the last head and begins to sign.
    ///
    /// # Errors
    /// [`SealError`] when key or file cannot be used.
    pub fn start(settings: SealSettings) -> Result<Self, SealError> {
        let (key, new_key) = AuditKey::open(&settings.data)?;
        let public = key.public();
        let book = Book::open(settings, key)?;
        let lost = book.lost(new_key);
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("seal".to_owned())
            .spawn(move || book.run(&stopped))
            .map_err(SealError::Thread)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), key: public, new_key, lost })
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// What was signed before this start, and is not there any more.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// Whether the key was made at this start.
    #[must_use]
    pub fn is_new_key(&self) -> bool {
        self.new_key
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The thread that signs the records ended by itself.");
        }
    }
}

/// The file of the heads, open for more.
struct Book {
    settings: SealSettings,
    key: AuditKey,
    path: PathBuf,
    file: File,
    last: Option<Head>,
    signed_at: Mono,
    failing: bool,
}

impl Book {
    fn open(settings: SealSettings, key: AuditKey) -> Result<Self, SealError> {
        let path = settings.data.join(HEADS);
        let failed = |source| SealError::Write { path: path.clone(), source };
        let (heads, torn) = read_heads(&path)
            .map_err(failed)?
            .map_err(|(line, what)| SealError::Damaged { path: path.clone(), line, what })?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        if let Some(whole) = torn {
            // The power went while it was written; what it would have said is signed anew.
            tracing::warn!("The last signed head was cut off by a power cut; it is removed.");
            file.set_len(whole).map_err(failed)?;
        }
        let signed_at = settings.clock.mono();
        let last = heads.last().cloned();
        Ok(Self { settings, key, path, file, last, signed_at, failing: false })
    }

    /// Whether the records go as far as was signed. Hashes are `audit verify`'s to compare.
    fn lost(&self, new_key: bool) -> Option<String> {
        let tips = self.settings.store.tips();
        let Some(last) = &self.last else {
            let old = !new_key && tips.audit.number > 0;
            return old.then(|| format!("the signed heads ({HEADS}) are gone"));
        };
        let short = |name: &str, signed: Tip, found: Tip| {
            let (signed, found) = (signed.number, found.number);
            (signed > found).then(|| {
                format!("the {name} had {signed} entries when it was signed, and has {found}")
            })
        };
        short("audit trail", last.audit, tips.audit)
            .or_else(|| short("write ledger", last.ledger, tips.ledger))
    }

    fn run(mut self, stopped: &Receiver<()>) {
        loop {
            let ended = matches!(stopped.recv_timeout(LOOK), Err(RecvTimeoutError::Disconnected));
            match self.seal(ended) {
                Ok(()) => self.failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        let error = crate::error::chain(&error);
                        tracing::error!(
                            error,
                            "The records cannot be signed; they go on all the same."
                        );
                    }
                }
            }
            if ended {
                return;
            }
        }
    }

    /// Signs what is new; at the end everything.
    fn seal(&mut self, ended: bool) -> Result<(), SealError> {
        let rows = self.settings.store.tips();
        let journal = self.settings.journal.sync();
        let now = self.settings.clock.now();
        if let Some(last) = &self.last {
            let rows_same = (last.audit, last.ledger) == (rows.audit, rows.ledger);
            let waits =
                last.journal == journal || (!ended && now.mono - self.signed_at < JOURNAL_EVERY);
            if rows_same && waits {
                return Ok(());
            }
        }
        let head = Head {
            number: self.last.as_ref().map_or(1, |last| last.number + 1),
            utc: now.utc,
            boot: self.settings.store.boot(),
            audit: rows.audit,
            ledger: rows.ledger,
            journal,
            before: self.last.as_ref().map_or([0; 32], Head::hash),
            key: self.key.public(),
            signature: [0; 64],
        };
        let head = head.signed(&self.key);
        let failed = |source| SealError::Write { path: self.path.clone(), source };
        self.file
            .write_all(format!("{}\n", head.line()).as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(failed)?;
        self.signed_at = now.mono;
        self.last = Some(head);
        Ok(())
    }
}

/// Place of the heads below a data folder.
#[must_use]
pub fn heads_path(data: &Path) -> PathBuf {
    data.join(HEADS)
}

#[cfg(test)]
mod tests;
