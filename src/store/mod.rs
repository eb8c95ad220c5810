//! The embedded store: `state.db` (what must never be lost) and `history-YYYYMMDD.db` (what may
//! be dropped, counted).
//!
//! | file | synchronous | content |
//! |---|---|---|
//! | `state.db` | FULL | boots, events, audit and ledger (hash-chained), decisions, names, cursors |
//! | `history-YYYYMMDD.db` | NORMAL | samples, parts, features, scores, labels, evidence, 1 s roll-ups of a day |
//! | `rollup-YYYYMM.db` | NORMAL | 1 min and 1 h roll-ups; made again when it is gone |
//!
//! One writer thread takes rows from one bounded queue and commits every second or 8000 rows.
//! Between two commits it keeps the history within its bounds (`keeper`).
//!
//! Policy of the queue: when it is full the oldest *sample* is dropped and counted; events, audit,
//! decisions and ledger rows are never dropped while the store works. When `state.db` cannot be
//! written, or more than the bound of such rows wait, [`StoreSender::sound`] turns false and the
//! scan thread sends no writes ("no audit, no write").
//!
//! Layout for readers: `docs/src/reference/store.md`.

mod chain;
mod evidence;
mod history;
mod keeper;
mod queue;
mod rollup;
mod samples;
mod state;
mod writer;

pub use chain::{ChainBreak, Tip, Tips, verify_audit, verify_audit_with, verify_ledger_with};
pub use queue::{Counts, ROWS_MAX, StoreSender};
pub use state::{AuditEntry, STATE_VERSION};
pub use writer::{Store, audit_offline};

pub(crate) use rollup::{day_files, month_files};

/// What readers of roll-ups need to fold what is not folded yet.
pub(crate) mod fold {
    pub(crate) use super::rollup::{
        FOLD_SAMPLES, HOUR, MINUTE, SECOND, month_of, pending_since, rolled as rolled_up_to,
    };
}

use std::path::PathBuf;

use crate::clock::Clock;
use crate::output::Names;

/// Under what a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Folder of the database files; made when missing.
    pub dir: PathBuf,
    /// The plan's names.
    pub names: Names,
    /// For the stamps of audit rows.
    pub clock: Clock,
    /// Name of this computer or service.
    pub node: String,
    /// Recipe name.
    pub recipe: String,
    /// Recipe revision.
    pub revision: u32,
    /// Hash of the plan.
    pub plan_hash: [u8; 32],
}

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder could not be made or locked.
    #[error("cannot use the data folder {}", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process writes here.
    #[error("another trimloop uses the data folder {}; stop it first", .path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// A database could not be opened or prepared.
    #[error("cannot open the database {}", .path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// `state.db` fails its own check.
    #[error("the database {} is damaged ({what}); restore it from a backup, or move it away to begin a new one", .path.display())]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What `quick_check` says.
        what: String,
    },
    /// `state.db` was written by a newer trimloop.
    #[error("the database {} has layout {found}; this trimloop knows {known}", .path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Rows could not be read or written.
    #[error("cannot {what} in the store")]
    Sql {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A damaged history file could not be set aside.
    #[error("cannot set the damaged file {} aside", .path.display())]
    Aside {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The writer thread could not be started.
    #[error("cannot start the store's writer thread")]
    Thread {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The writer could not commit, or has ended.
    #[error("the store does not take rows to disk any more; see the log")]
    Unsound,
}

#[cfg(test)]
mod history_tests;
