//! Checks every chain of a data folder, and holds them against the signed heads.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use trimloop_core::time::Span;

use super::head::{Head, read_heads};
use super::unsigned::Unsigned;
use super::{HEADS, fingerprint, public_key};
use crate::journal::{JournalError, JournalTip, verify_with};
use crate::output::{duration_text, utc_text};
use crate::store::{ChainBreak, Tip, verify_audit_with, verify_ledger_with};

/// Records of a first start that need no head yet.
const UNSIGNED_MAX: Span = Span::from_secs(180);

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no store.
    #[error("there is no {}", .0.display())]
    NoStore(PathBuf),
    /// It could not be read.
    #[error("cannot read {}", .path.display())]
    Store {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The heads could not be read.
    #[error("cannot read {}", .path.display())]
    Heads {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// `audit`, `ledger`, `journal` or `heads`.
    pub chain: &'static str,
    /// Where: an entry, a line, a record with its byte.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// One chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ChainReport {
    /// Entries, records, or lines that are whole, up to the first that is not.
    pub entries: u64,
    /// Of them behind the last signed head.
    pub unsigned: u64,
    /// Bytes, of the journal only.
    pub bytes: u64,
}

/// What was checked and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Audit trail.
    pub audit: ChainReport,
    /// Write ledger.
    pub ledger: ChainReport,
    /// Journal, in records.
    pub journal: ChainReport,
    /// Signed heads.
    pub heads: u64,
    /// Time of the last one.
    pub last_head: Option<String>,
    /// Fingerprints of the keys that signed.
    pub keys: Vec<String>,
    /// Heads about journal files that somebody has removed.
    pub not_kept: u64,
    /// What is not as it should be, the first of each chain.
    pub findings: Vec<Finding>,
    /// What a person should know, and no finding.
    pub notes: Vec<String>,
}

impl VerifyReport {
    fn find(&mut self, chain: &'static str, place: impl Into<String>, what: impl Into<String>) {
        self.findings.push(Finding { chain, place: place.into(), what: what.into() });
    }
}

/// Checks the records in `data`.
///
/// - `key`: the public key that must have signed; without it the one kept beside the records,
///   which whoever can change the records can change too.
/// - `copy`: an older copy of `heads.log`, kept elsewhere; its heads must be among those here.
/// - `progress`: gets the bytes of the journal that are checked.
///
/// # Errors
/// [`VerifyError`] when something could not be read; what is broken is a finding.
pub fn verify(
    data: &Path,
    key: Option<[u8; 32]>,
    copy: Option<&Path>,
    progress: &mut dyn FnMut(u64),
) -> Result<VerifyReport, VerifyError> {
    let mut report = VerifyReport::default();
    // Heads first: what they sign is on the disk before they are.
    let heads = heads(data, key, copy, &mut report)?;
    let path = data.join("state.db");
    if !path.is_file() {
        return Err(VerifyError::NoStore(path));
    }
    let sql = |source| VerifyError::Store { path: path.clone(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&path, flags).map_err(sql)?;
    let signs = key.is_some() || public_key(data).is_ok();
    if heads.is_empty() && report.findings.is_empty() {
        no_heads(&db, signs, &mut report).map_err(sql)?;
    }
    let audit: Vec<(u64, Tip)> = heads.iter().map(|h| (h.number, h.audit)).collect();
    report.audit = rows(&db, verify_audit_with, "audit", &audit, &mut report).map_err(sql)?;
    let ledger: Vec<(u64, Tip)> = heads.iter().map(|h| (h.number, h.ledger)).collect();
    report.ledger = rows(&db, verify_ledger_with, "ledger", &ledger, &mut report).map_err(sql)?;
    journal(data, &heads, &mut report, progress)?;
    if signs && !report.findings.iter().any(|finding| finding.chain == "heads") {
        cut_heads(data, &heads, &mut report)?;
    }
    Ok(report)
}

fn heads(
    data: &Path,
    key: Option<[u8; 32]>,
    copy: Option<&Path>,
    report: &mut VerifyReport,
) -> Result<Vec<Head>, VerifyError> {
    let read = |path: &Path| {
        read_heads(path).map_err(|source| VerifyError::Heads { path: path.to_owned(), source })
    };
    let path = data.join(HEADS);
    let heads = match read(&path)? {
        Ok((heads, torn)) => {
            if torn.is_some() {
                report.notes.push("the last head was cut off while it was written".to_owned());
            }
            heads
        }
        Err((line, what)) => {
            report.find("heads", format!("line {line} of {HEADS}"), what.to_string());
            Vec::new()
        }
    };
    let given = key.is_some();
    let trusted = key.or_else(|| public_key(data).ok());
    let other = trusted.and_then(|key| heads.iter().find(|head| head.key != key));
    if let Some(head) = other {
        let what = format!("is signed by key {}, not by the one expected", fingerprint(&head.key));
        report.find("heads", format!("head {}", head.number), what);
    }
    if trusted.is_none() && !heads.is_empty() {
        report.find(
            "heads",
            "keys/audit.pub",
            "is missing: nobody knows whose signatures these are",
        );
    }
    if !given && !heads.is_empty() {
        report.notes.push(
            "the key was taken from the folder itself; with --key from elsewhere the signatures \
             prove more"
                .to_owned(),
        );
    }
    for head in &heads {
        let key = fingerprint(&head.key);
        if !report.keys.contains(&key) {
            report.keys.push(key);
        }
    }
    report.heads = heads.len() as u64;
    report.last_head = heads.last().map(|head| utc_text(head.utc));
    if let Some(copy) = copy {
        if !copy.is_file() {
            let source = std::io::ErrorKind::NotFound.into();
            return Err(VerifyError::Heads { path: copy.to_owned(), source });
        }
        match read(copy)? {
            Ok((known, _)) => hold_against(&heads, &known, report),
            Err((line, what)) => {
                report.find(
                    "heads",
                    format!("line {line} of {}", copy.display()),
                    what.to_string(),
                );
            }
        }
    }
    Ok(heads)
}

/// Records that somebody signs, and no signature: only those of the first minutes are as they
/// should be.
fn no_heads(db: &Connection, signs: bool, report: &mut VerifyReport) -> rusqlite::Result<()> {
    let span: Option<i64> = db.query_row(
        "SELECT max((SELECT max(utc) FROM audit), (SELECT max(utc) FROM ledger),
                    (SELECT max(utc) FROM boot)) - min(utc) FROM boot",
        [],
        |row| row.get(0),
    )?;
    if signs && span.is_some_and(|span| span > UNSIGNED_MAX.as_nanos()) {
        let what = "are gone: there is a key that signs these records every minute";
        report.find("heads", HEADS, what);
    } else {
        let note = "there are no signed heads: a tail that was cut off would not show";
        report.notes.push(note.to_owned());
    }
    Ok(())
}

/// Heads and rows that were cut together leave a journal that goes on without either.
fn cut_heads(data: &Path, heads: &[Head], report: &mut VerifyReport) -> Result<(), VerifyError> {
    let dir = data.join("journal");
    if !dir.is_dir() {
        return Ok(());
    }
    let signed = heads.iter().map(|head| (head.journal.file, head.journal.bytes)).max();
    let unsigned = Unsigned::behind(&dir, signed.unwrap_or_default())?;
    if let Some(long) = unsigned.too_long(heads.is_empty()) {
        let what = format!(
            "the journal goes on for {} behind the last head, and the service signs sooner: later \
             heads were taken away, or could not be made (its log would say so)",
            duration_text(long)
        );
        report.find("heads", HEADS, what);
    }
    Ok(())
}

/// Every head of the copy must be here, and the same.
fn hold_against(heads: &[Head], known: &[Head], report: &mut VerifyReport) {
    let missing = known.iter().zip(1..).find(|(head, place)| heads.get(place - 1) != Some(*head));
    if let Some((head, _)) = missing {
        let what = format!("of {} is in the copy, and not here", utc_text(head.utc));
        report.find("heads", format!("head {}", head.number), what);
    }
}

type Walk = fn(&Connection, &mut dyn FnMut(Tip)) -> rusqlite::Result<Result<u64, ChainBreak>>;

/// Walks a chain of `state.db`, with what heads say of it.
fn rows(
    db: &Connection,
    walk: Walk,
    chain: &'static str,
    signed: &[(u64, Tip)],
    report: &mut VerifyReport,
) -> rusqlite::Result<ChainReport> {
    let mut expected: HashMap<i64, Vec<(u64, [u8; 32])>> = HashMap::new();
    for (head, tip) in signed {
        expected.entry(tip.number).or_default().push((*head, tip.hash));
    }
    let mut contradicted: Option<(u64, i64)> = None;
    let mut last = Tip::default();
    let walked = walk(db, &mut |tip| {
        last = tip;
        for (head, hash) in expected.get(&tip.number).into_iter().flatten() {
            if *hash != tip.hash && contradicted.is_none() {
                contradicted = Some((*head, tip.number));
            }
        }
    })?;
    if let Err(broken) = walked {
        report.find(chain, format!("entry {}", broken.seq), broken.what);
    }
    if let Some((head, entry)) = contradicted {
        let what = format!("is not the one that head {head} signed: the chain was made anew");
        report.find(chain, format!("entry {entry}"), what);
    }
    let highest = signed.iter().max_by_key(|(_, tip)| tip.number);
    if let (Some((head, tip)), Ok(_)) = (highest, &walked)
        && tip.number > last.number
    {
        let what = format!(
            "is missing: head {head} signed {} entries, and there are {}",
            tip.number, last.number
        );
        report.find(chain, format!("entry {}", last.number + 1), what);
    }
    let to = highest.map_or(0, |(_, tip)| tip.number);
    Ok(ChainReport {
        entries: last.number.unsigned_abs(),
        unsigned: (last.number - to).max(0).unsigned_abs(),
        bytes: 0,
    })
}

fn journal(
    data: &Path,
    heads: &[Head],
    report: &mut VerifyReport,
    progress: &mut dyn FnMut(u64),
) -> Result<(), VerifyError> {
    let dir = data.join("journal");
    let mut expected: BTreeMap<(u64, u64), (u64, [u8; 32])> = heads
        .iter()
        .filter(|head| head.journal.file > 0)
        .map(|head| ((head.journal.file, head.journal.bytes), (head.number, head.journal.chain)))
        .collect();
    if !dir.is_dir() {
        if let Some((head, _)) = expected.values().next() {
            report.find(
                "journal",
                dir.display().to_string(),
                format!("is gone; head {head} knew it"),
            );
        }
        return Ok(());
    }
    let last_signed = expected.keys().next_back().copied();
    let (mut contradicted, mut unsigned, mut bytes, mut told) = (None, 0_u64, 0_u64, 0_u64);
    let (mut records, mut first) = (0_u64, 0_u64);
    let mut before = JournalTip::default();
    let walked = verify_with(&dir, &mut |tip| {
        let step = if tip.file == before.file { tip.bytes - before.bytes } else { tip.bytes };
        (bytes, before, records) = (bytes + step, tip, records + 1);
        first = if first == 0 { tip.file } else { first };
        if bytes > told + (1 << 20) {
            told = bytes;
            progress(bytes);
        }
        if last_signed.is_none_or(|place| (tip.file, tip.bytes) > place) {
            unsigned += 1;
        }
        if let Some((head, chain)) = expected.remove(&(tip.file, tip.bytes))
            && chain != tip.chain
            && contradicted.is_none()
        {
            contradicted = Some((head, tip.file, tip.bytes));
        }
    })?;
    report.journal = ChainReport { entries: records, unsigned, bytes };
    if let Err(damage) = walked {
        if damage.what != "is cut off" || !is_written(&dir) {
            let file = damage.file.display();
            let place = format!("{file}, record {}, byte {}", damage.record, damage.offset);
            report.find("journal", place, damage.what);
            return Ok(());
        }
        let note = "the service is writing the journal; its last record counts next time";
        report.notes.push(note.to_owned());
    }
    if let Some((head, file, byte)) = contradicted {
        let what = format!("is not the chain that head {head} signed: it was made anew");
        report.find("journal", format!("file {file}, byte {byte}"), what);
    }
    report.not_kept = expected.keys().filter(|(file, _)| *file < first).count() as u64;
    let lost = expected.iter().find(|((file, _), _)| *file >= first.max(1));
    if let Some(((file, byte), (head, _))) = lost {
        let what = format!("is missing: head {head} signed the journal up to there");
        report.find("journal", format!("file {file}, byte {byte}"), what);
    }
    Ok(())
}

/// Whether a service holds the journal.
fn is_written(dir: &Path) -> bool {
    let lock = OpenOptions::new().write(true).open(dir.join("lock"));
    lock.is_ok_and(|file| matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}
