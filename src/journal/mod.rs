//! The journal: every scan before it is used, every step's actions after. Append-only,
//! checksummed, hash-chained, rotated by size.
//!
//! ```text
//! file    = magic (16 bytes), record of kind Head, records
//! record  = length u32 | kind u8 | payload | chain [16] | crc32 u32     (little-endian)
//! chain_n = sha256(chain_{n-1} | kind | length | payload); each record stores its first 16 bytes
//! head    = names the last chain value (32 bytes) of the file before it
//! ```
//!
//! A record is one `write(2)` straight from the scan thread: a killed process loses nothing that
//! was appended. A thread of its own syncs to disk every 50 ms at the latest, so a power cut loses
//! at most that. A torn tail is copied aside and cut off at the next start, never a panic.
//!
//! Invariants: no two records share a place in the chain; a file is only ever appended to; after
//! a failed write the writer is *poisoned* and takes nothing more ("no audit, no write").

mod actions;
mod codec;
mod format;
mod plans;
mod reader;
mod sync;
mod writer;

pub use actions::{Note, WriteNote, decode_actions, digest, encode_actions};
pub use codec::{Malformed, OwnedScan, decode_scan, encode_scan};
pub use format::{FILE_BYTES_MAX, JournalHead};
pub use plans::{PlanError, hex, keep_plan, kept_plan};
pub use reader::{
    Damage, Entry, Item, Raw, Reader, Verified, files as journal_numbers, journal_files, verify,
    verify_with,
};
pub use sync::{JournalTip, Tips};
pub use writer::{JournalWriter, SetAside};

use std::path::PathBuf;

/// What went wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory could not be made or listed.
    #[error("cannot use the journal directory {}", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process writes here.
    #[error("another trimloop writes the journal in {}; stop it first", .path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read the journal file {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be made, cut or set aside.
    #[error("cannot prepare the journal file {}", .path.display())]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A record could not be appended.
    #[error("cannot append to the journal file {}", .path.display())]
    Append {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A record was larger than any reader takes.
    #[error("a journal record of {bytes} bytes is larger than the {max} a reader takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// An earlier append failed; nothing is appended any more.
    #[error("the journal failed before and takes nothing more until a restart")]
    Poisoned,
    /// The thread that syncs could not be started.
    #[error("cannot start the journal's sync thread")]
    Thread {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
