//! Hash chains of `state.db`: the audit trail and the write ledger.
//!
//! Each row carries the hash of the row before (`prev`) and its own: SHA-256 over `prev` and the
//! canonical bytes of its columns, in the order of the table. A changed, removed, moved or
//! renumbered row breaks the chain; a tail that was cut off shows against a signed head only.
//!
//! Canonical bytes: numbers as 8 little-endian bytes, floats by their bits, texts with their length
//! before them; in the ledger a column that may be NULL has one byte before it, 0 for NULL.

use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use trimloop_core::time::Utc;

use super::AuditEntry;

/// End of a chain: number and hash of its newest row; 0 and zero bytes before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tip {
    /// Number of the row.
    pub number: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// Ends of both chains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tips {
    /// Of the audit trail.
    pub audit: Tip,
    /// Of the write ledger.
    pub ledger: Tip,
}

/// Where a chain stops being whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table} entry {seq} {what}")]
pub struct ChainBreak {
    /// `audit` or `ledger`.
    pub table: &'static str,
    /// Entry.
    pub seq: i64,
    /// What is wrong.
    pub what: &'static str,
}

/// A row of the ledger as stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LedgerEntry {
    pub(super) boot: i64,
    pub(super) write: i64,
    pub(super) utc: i64,
    pub(super) setpoint: String,
    pub(super) desired: Option<f64>,
    pub(super) limited: Option<f64>,
    pub(super) sent: Option<f64>,
    pub(super) read_back: Option<f64>,
    pub(super) issued: i64,
    pub(super) acknowledged: Option<i64>,
    pub(super) confirmed: Option<i64>,
    pub(super) fate: String,
    pub(super) status: Option<i64>,
}

const LEDGER_COLUMNS: &str = "id, boot, write, utc, setpoint, desired, limited, sent, read_back, \
                              issued, acknowledged, confirmed, fate, status, prev, hash";

impl LedgerEntry {
    /// From a row of [`LEDGER_COLUMNS`].
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            boot: row.get(1)?,
            write: row.get(2)?,
            utc: row.get(3)?,
            setpoint: row.get(4)?,
            desired: row.get(5)?,
            limited: row.get(6)?,
            sent: row.get(7)?,
            read_back: row.get(8)?,
            issued: row.get(9)?,
            acknowledged: row.get(10)?,
            confirmed: row.get(11)?,
            fate: row.get(12)?,
            status: row.get(13)?,
        })
    }

    fn hash(&self, prev: &[u8; 32], id: i64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(prev);
        for number in [id, self.boot, self.write, self.utc] {
            hash.update(number.to_le_bytes());
        }
        text(&mut hash, &self.setpoint);
        for value in [self.desired, self.limited, self.sent, self.read_back] {
            // SQLite keeps no sign of zero.
            option(&mut hash, value.map(|x| (x + 0.0).to_bits().to_le_bytes()));
        }
        hash.update(self.issued.to_le_bytes());
        for time in [self.acknowledged, self.confirmed] {
            option(&mut hash, time.map(i64::to_le_bytes));
        }
        text(&mut hash, &self.fate);
        option(&mut hash, self.status.map(i64::to_le_bytes));
        hash.finalize().into()
    }
}

fn text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text.as_bytes());
}

fn option(hash: &mut Sha256, bytes: Option<[u8; 8]>) {
    hash.update([u8::from(bytes.is_some())]);
    if let Some(bytes) = bytes {
        hash.update(bytes);
    }
}

/// Hash of one audit entry.
pub(super) fn audit_hash(prev: &[u8; 32], seq: i64, boot: i64, entry: &AuditEntry) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(prev);
    for number in [seq, entry.utc.as_nanos(), boot, entry.order.cast_signed()] {
        hash.update(number.to_le_bytes());
    }
    for part in [&entry.actor, &entry.what, &entry.reason] {
        text(&mut hash, part);
    }
    hash.finalize().into()
}

/// The newest row of a chain.
pub(super) fn tip(db: &Connection, newest: &str) -> rusqlite::Result<Tip> {
    let found = db.query_row(newest, [], |row| Ok(Tip { number: row.get(0)?, hash: row.get(1)? }));
    Ok(found.optional()?.unwrap_or_default())
}

/// Stores a row behind `before`; the new end of the chain.
pub(super) fn put_ledger(
    db: &Connection,
    entry: &LedgerEntry,
    before: Tip,
) -> rusqlite::Result<Tip> {
    let id = before.number + 1;
    let hash = entry.hash(&before.hash, id);
    db.prepare_cached(
        "INSERT INTO ledger(id, boot, write, utc, setpoint, desired, limited, sent, read_back,
           issued, acknowledged, confirmed, fate, status, prev, hash)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        id,
        entry.boot,
        entry.write,
        entry.utc,
        entry.setpoint,
        entry.desired,
        entry.limited,
        entry.sent,
        entry.read_back,
        entry.issued,
        entry.acknowledged,
        entry.confirmed,
        entry.fate,
        entry.status,
        before.hash.as_slice(),
        hash.as_slice(),
    ])?;
    Ok(Tip { number: id, hash })
}

/// Chains the rows that a ledger had before it was chained.
pub(super) fn seal_old_ledger(db: &Connection) -> rusqlite::Result<()> {
    let mut rows = db.prepare(&format!("SELECT {LEDGER_COLUMNS} FROM ledger ORDER BY id"))?;
    let entries: Vec<(i64, LedgerEntry)> = rows
        .query_map([], |row| Ok((row.get(0)?, LedgerEntry::of(row)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut prev = [0; 32];
    for (id, entry) in entries {
        let hash = entry.hash(&prev, id);
        db.prepare_cached("UPDATE ledger SET prev = ?, hash = ? WHERE id = ?")?
            .execute(params![prev.as_slice(), hash.as_slice(), id])?;
        prev = hash;
    }
    Ok(())
}

/// One row of a chain, on its way through a check.
struct Link {
    seq: i64,
    prev: [u8; 32],
    hash: [u8; 32],
    computed: [u8; 32],
}

/// Walks a chain; `each` gets every row that fits.
fn walk(
    table: &'static str,
    rows: impl Iterator<Item = rusqlite::Result<Link>>,
    each: &mut dyn FnMut(Tip),
) -> rusqlite::Result<Result<u64, ChainBreak>> {
    let mut before = Tip::default();
    for row in rows {
        let row = match row {
            Ok(row) => row,
            // What stands there is not what was ever written.
            Err(rusqlite::Error::InvalidColumnType(..)) => {
                let seq = before.number + 1;
                return Ok(Err(ChainBreak {
                    table,
                    seq,
                    what: "was changed after it was written",
                }));
            }
            Err(error) => return Err(error),
        };
        let broken = |what| Ok(Err(ChainBreak { table, seq: row.seq, what }));
        if row.seq != before.number + 1 {
            return broken("follows a gap in the numbers");
        }
        if row.prev != before.hash {
            return broken("does not follow the entry before it");
        }
        if row.hash != row.computed {
            return broken("was changed after it was written");
        }
        before = Tip { number: row.seq, hash: row.hash };
        each(before);
    }
    Ok(Ok(before.number.unsigned_abs()))
}

/// A stored hash; one of another length fits nothing.
fn stored(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; 32]> {
    let bytes: Option<Vec<u8>> = row.get(column)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or([0xff; 32]))
}

/// Checks the audit trail of an open `state.db`: numbers without a gap, every hash, every link.
/// Returns how many entries there are.
///
/// # Errors
/// [`rusqlite::Error`] when it cannot be read.
pub fn verify_audit(db: &Connection) -> rusqlite::Result<Result<u64, ChainBreak>> {
    verify_audit_with(db, &mut |_| ())
}

/// [`verify_audit`], with a look at every entry that fits.
///
/// # Errors
/// As [`verify_audit`].
pub fn verify_audit_with(
    db: &Connection,
    each: &mut dyn FnMut(Tip),
) -> rusqlite::Result<Result<u64, ChainBreak>> {
    let mut statement = db.prepare(
        "SELECT seq, utc, boot, orders, actor, what, reason, prev, hash FROM audit ORDER BY seq",
    )?;
    let rows = statement.query_map([], |row| {
        let entry = AuditEntry {
            utc: Utc::from_nanos(row.get(1)?),
            order: row.get::<_, i64>(3)?.cast_unsigned(),
            actor: row.get(4)?,
            what: row.get(5)?,
            reason: row.get(6)?,
        };
        let (seq, prev) = (row.get(0)?, stored(row, 7)?);
        let computed = audit_hash(&prev, seq, row.get(2)?, &entry);
        Ok(Link { seq, prev, hash: stored(row, 8)?, computed })
    })?;
    walk("audit", rows, each)
}

/// Checks the write ledger of an open `state.db`, with a look at every entry that fits.
///
/// # Errors
/// [`rusqlite::Error`] when it cannot be read.
pub fn verify_ledger_with(
    db: &Connection,
    each: &mut dyn FnMut(Tip),
) -> rusqlite::Result<Result<u64, ChainBreak>> {
    let mut statement = db.prepare(&format!("SELECT {LEDGER_COLUMNS} FROM ledger ORDER BY id"))?;
    let rows = statement.query_map([], |row| {
        let entry = LedgerEntry::of(row)?;
        let (seq, prev) = (row.get(0)?, stored(row, 14)?);
        let computed = entry.hash(&prev, seq);
        Ok(Link { seq, prev, hash: stored(row, 15)?, computed })
    })?;
    walk("ledger", rows, each)
}
