//! `state.db`: what must survive a power cut. WAL, synchronous FULL.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::{Digest, Sha256};

use trimloop_core::event::Event;
use trimloop_core::ledger::Fate;
use trimloop_core::record::{DecisionRow, LedgerRow, Outcome};
use trimloop_core::time::{Mono, Utc};

use super::queue::CursorRow;
use super::{StoreError, StoreOptions};
use crate::notice::Notice;
use crate::output::{Named, Names, event_text};

/// Layout of `state.db`, kept in its `user_version`.
pub const STATE_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS boot(
  boot INTEGER PRIMARY KEY, utc INTEGER NOT NULL, node TEXT NOT NULL, version TEXT NOT NULL,
  recipe TEXT NOT NULL, revision INTEGER NOT NULL, plan_hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS name(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL,
  UNIQUE(kind, name));
CREATE TABLE IF NOT EXISTS event(
  id INTEGER PRIMARY KEY, boot INTEGER NOT NULL, utc INTEGER NOT NULL, process INTEGER NOT NULL,
  part INTEGER NOT NULL, code TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL,
  sentence TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_utc ON event(utc);
CREATE TABLE IF NOT EXISTS audit(
  seq INTEGER PRIMARY KEY, utc INTEGER NOT NULL, boot INTEGER NOT NULL, orders INTEGER NOT NULL,
  actor TEXT NOT NULL, what TEXT NOT NULL, reason TEXT NOT NULL,
  prev BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS decision(
  boot INTEGER NOT NULL, number INTEGER NOT NULL, utc INTEGER NOT NULL, part INTEGER NOT NULL,
  loop TEXT NOT NULL, desired REAL, limited REAL, read_back REAL, outcome TEXT NOT NULL,
  reason TEXT, write INTEGER, failed INTEGER NOT NULL, cut TEXT NOT NULL, mode TEXT NOT NULL,
  rung TEXT NOT NULL, PRIMARY KEY(boot, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS decision_utc ON decision(utc);
CREATE TABLE IF NOT EXISTS ledger(
  id INTEGER PRIMARY KEY, boot INTEGER NOT NULL, write INTEGER NOT NULL, utc INTEGER NOT NULL,
  setpoint TEXT NOT NULL, desired REAL, limited REAL, sent REAL, read_back REAL,
  issued INTEGER NOT NULL, acknowledged INTEGER, confirmed INTEGER, fate TEXT NOT NULL,
  status INTEGER);
CREATE INDEX IF NOT EXISTS ledger_write ON ledger(boot, write);
CREATE TABLE IF NOT EXISTS sink_cursor(
  sink TEXT NOT NULL, day TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(sink, day))
  WITHOUT ROWID;
";

/// One entry of the audit trail, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub utc: Utc,
    /// Number of the queued order; 0 = none.
    pub order: u64,
    /// Who: `uid:1000 (anna)`, `service`.
    pub actor: String,
    /// What was asked.
    pub what: String,
    /// Why, in the actor's words.
    pub reason: String,
}

/// Where the audit trail stops being whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit entry {seq} {what}")]
pub struct AuditBreak {
    /// Entry.
    pub seq: i64,
    /// What is wrong.
    pub what: &'static str,
}

/// Ids of the plan's names in the database, by index type.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    pub(super) tags: Vec<i64>,
    pub(super) features: Vec<i64>,
    pub(super) models: Vec<i64>,
    pub(super) characteristics: Vec<i64>,
}

/// The open `state.db`.
#[derive(Debug)]
pub(super) struct State {
    db: Connection,
    pub(super) boot: i64,
    pub(super) ids: Ids,
    names: Names,
    audit_seq: i64,
    audit_hash: [u8; 32],
}

impl State {
    pub(super) fn open(path: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let db = open_checked(path)?;
        let sql = |source| StoreError::Open { path: path.to_owned(), source };
        db.pragma_update(None, "synchronous", "FULL").map_err(sql)?;
        let found: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(sql)?;
        if found > STATE_VERSION {
            let path = path.to_owned();
            return Err(StoreError::Newer { path, found, known: STATE_VERSION });
        }
        db.execute_batch(SCHEMA).map_err(sql)?;
        db.pragma_update(None, "user_version", STATE_VERSION).map_err(sql)?;
        let ids = Ids {
            tags: ids(&db, "tag", &options.names.tags).map_err(sql)?,
            features: ids(&db, "feature", &options.names.features).map_err(sql)?,
            models: ids(&db, "model", &options.names.models).map_err(sql)?,
            characteristics: ids(&db, "characteristic", &options.names.characteristics)
                .map_err(sql)?,
        };
        db.execute(
            "INSERT INTO boot(utc, node, version, recipe, revision, plan_hash)
             VALUES(?, ?, ?, ?, ?, ?)",
            params![
                options.clock.utc().as_nanos(),
                options.node,
                env!("CARGO_PKG_VERSION"),
                options.recipe,
                options.revision,
                options.plan_hash.as_slice(),
            ],
        )
        .map_err(sql)?;
        let boot = db.last_insert_rowid();
        let last: Option<(i64, [u8; 32])> = db
            .query_row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(sql)?;
        let (audit_seq, audit_hash) = last.unwrap_or((0, [0; 32]));
        Ok(Self { db, boot, ids, names: options.names.clone(), audit_seq, audit_hash })
    }

    /// Highest sequence that any sink has sent of a day.
    pub(super) fn cursor_max(&self, day: &str) -> rusqlite::Result<i64> {
        self.db.query_row(
            "SELECT coalesce(max(seq), 0) FROM sink_cursor WHERE day = ?",
            [day],
            |row| row.get(0),
        )
    }

    /// Writes all rows in one transaction, or none.
    pub(super) fn write(&mut self, rows: &StateRows) -> rusqlite::Result<()> {
        let (mut seq, mut hash) = (self.audit_seq, self.audit_hash);
        let tx = self.db.transaction()?;
        for event in &rows.events {
            put_event(&tx, self.boot, &self.names, event)?;
        }
        for notice in &rows.notices {
            put_notice(&tx, self.boot, notice)?;
        }
        for (utc, row) in &rows.decisions {
            put_decision(&tx, self.boot, &self.names, *utc, row)?;
        }
        for (utc, row) in &rows.ledger {
            put_ledger(&tx, self.boot, &self.names, *utc, row)?;
        }
        for row in &rows.cursors {
            tx.prepare_cached(
                "INSERT INTO sink_cursor(sink, day, seq) VALUES(?, ?, ?)
                 ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
            )?
            .execute(params![row.sink, row.day, row.seq])?;
        }
        for entry in &rows.audit {
            seq += 1;
            let prev = hash;
            hash = audit_hash(&prev, seq, self.boot, entry);
            tx.prepare_cached(
                "INSERT INTO audit(seq, utc, boot, orders, actor, what, reason, prev, hash)
                 VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                seq,
                entry.utc.as_nanos(),
                self.boot,
                entry.order.cast_signed(),
                entry.actor,
                entry.what,
                entry.reason,
                prev.as_slice(),
                hash.as_slice(),
            ])?;
        }
        tx.commit()?;
        (self.audit_seq, self.audit_hash) = (seq, hash);
        Ok(())
    }

    pub(super) fn close(self) -> rusqlite::Result<()> {
        self.db.close().map_err(|(_, error)| error)
    }
}

/// Rows of `state.db` that wait for their commit.
#[derive(Debug, Default)]
pub(super) struct StateRows {
    pub(super) events: Vec<Event>,
    pub(super) notices: Vec<Notice>,
    pub(super) decisions: Vec<(Utc, DecisionRow)>,
    pub(super) ledger: Vec<(Utc, LedgerRow)>,
    pub(super) audit: Vec<AuditEntry>,
    pub(super) cursors: Vec<CursorRow>,
}

impl StateRows {
    pub(super) fn len(&self) -> usize {
        self.events.len()
            + self.notices.len()
            + self.decisions.len()
            + self.ledger.len()
            + self.audit.len()
            + self.cursors.len()
    }

    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.notices.clear();
        self.decisions.clear();
        self.ledger.clear();
        self.audit.clear();
        self.cursors.clear();
    }
}

/// Opens a database in WAL mode and runs `quick_check`.
pub(super) fn open_checked(path: &Path) -> Result<Connection, StoreError> {
    let sql = |source| StoreError::Open { path: path.to_owned(), source };
    let corrupt = |what: String| StoreError::Corrupt { path: path.to_owned(), what };
    let db = Connection::open(path).map_err(sql)?;
    db.busy_timeout(std::time::Duration::from_secs(5)).map_err(sql)?;
    let check: rusqlite::Result<String> =
        db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match check {
        Ok(word) if word == "ok" => {}
        Ok(what) => return Err(corrupt(what)),
        Err(error) => {
            return Err(match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                    corrupt(error.to_string())
                }
                _ => sql(error),
            });
        }
    }
    db.pragma_update(None, "journal_mode", "WAL").map_err(sql)?;
    Ok(db)
}

fn ids(db: &Connection, kind: &str, names: &[Named]) -> rusqlite::Result<Vec<i64>> {
    let mut statement = db.prepare(
        "INSERT INTO name(kind, name, unit) VALUES(?, ?, ?)
         ON CONFLICT(kind, name) DO UPDATE SET unit = excluded.unit RETURNING id",
    )?;
    names
        .iter()
        .map(|named| statement.query_row(params![kind, named.name, named.unit], |row| row.get(0)))
        .collect()
}

fn put_event(
    tx: &Transaction<'_>,
    boot: i64,
    names: &Names,
    event: &Event,
) -> rusqlite::Result<()> {
    let text = event_text(&event.what, names);
    tx.prepare_cached(
        "INSERT INTO event(boot, utc, process, part, code, subject, detail, sentence)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        boot,
        event.at.utc.as_nanos(),
        event.process.as_nanos(),
        event.part,
        text.code,
        text.subject,
        text.detail,
        text.sentence,
    ])?;
    Ok(())
}

fn put_notice(tx: &Transaction<'_>, boot: i64, notice: &Notice) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO event(boot, utc, process, part, code, subject, detail, sentence)
         VALUES(?, ?, 0, 0, ?, ?, '', ?)",
    )?
    .execute(params![
        boot,
        notice.at.as_nanos(),
        notice.code,
        notice.subject,
        notice.sentence,
    ])?;
    Ok(())
}

fn put_decision(
    tx: &Transaction<'_>,
    boot: i64,
    names: &Names,
    utc: Utc,
    row: &DecisionRow,
) -> rusqlite::Result<()> {
    let (outcome, reason, write) = match row.outcome {
        Outcome::Write(seq) => ("write", None, Some(seq)),
        Outcome::Return(seq) => ("return", None, Some(seq)),
        Outcome::WouldWrite => ("would_write", None, None),
        Outcome::Asked(id) => ("asked", None, Some(id)),
        Outcome::Hold(reason) => ("hold", Some(reason.word()), None),
        Outcome::Trip(reason) => ("trip", Some(reason.word()), None),
    };
    let setpoint = names.setpoint_of(row.loop_id.index());
    let value = |ticks| setpoint.and_then(|s| names.setpoint_value(s, ticks));
    tx.prepare_cached(
        "INSERT INTO decision(boot, number, utc, part, loop, desired, limited, read_back, outcome,
           reason, write, failed, cut, mode, rung)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )?
    .execute(params![
        boot,
        row.number.cast_signed(),
        utc.as_nanos(),
        row.part,
        names.loop_name(row.loop_id.index()),
        row.desired,
        row.limited.and_then(value),
        row.read_back.and_then(value),
        outcome,
        reason,
        write.map(u64::cast_signed),
        row.failed.bits(),
        row.cut.word(),
        row.mode.word(),
        row.rung.word(),
    ])?;
    Ok(())
}

fn put_ledger(
    tx: &Transaction<'_>,
    boot: i64,
    names: &Names,
    utc: Utc,
    row: &LedgerRow,
) -> rusqlite::Result<()> {
    let (fate, status) = match row.fate {
        Fate::Sent => ("sent", None),
        Fate::Acknowledged => ("acknowledged", None),
        Fate::Unknown => ("unknown", None),
        Fate::Confirmed => ("confirmed", None),
        Fate::Proven => ("proven", None),
        Fate::Unproven => ("unproven", None),
        Fate::Refused(status) => ("refused", Some(status)),
        Fate::NotSent => ("not_sent", None),
        Fate::NotTaken => ("not_taken", None),
        Fate::Mismatch => ("mismatch", None),
    };
    let value = |ticks| names.setpoint_value(row.setpoint.index(), ticks);
    tx.prepare_cached(
        "INSERT INTO ledger(boot, write, utc, setpoint, desired, limited, sent, read_back, issued,
           acknowledged, confirmed, fate, status)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        boot,
        row.write.cast_signed(),
        utc.as_nanos(),
        names.setpoint_name(row.setpoint.index()),
        row.desired,
        value(row.limited),
        value(row.sent),
        row.read_back.and_then(value),
        row.issued.as_nanos(),
        row.acknowledged.map(Mono::as_nanos),
        row.confirmed.map(Mono::as_nanos),
        fate,
        status,
    ])?;
    Ok(())
}

/// Hash of one audit entry over its canonical bytes: numbers as 8 little-endian bytes, texts with
/// their length before them, in the order of the table's columns.
fn audit_hash(prev: &[u8; 32], seq: i64, boot: i64, entry: &AuditEntry) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(prev);
    for number in [seq, entry.utc.as_nanos(), boot, entry.order.cast_signed()] {
        hash.update(number.to_le_bytes());
    }
    for text in [&entry.actor, &entry.what, &entry.reason] {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

/// Checks the audit trail of an open `state.db`: numbers without a gap, every hash, every link.
///
/// # Errors
/// [`rusqlite::Error`] when it cannot be read.
pub fn verify_audit(db: &Connection) -> rusqlite::Result<Result<u64, AuditBreak>> {
    let mut statement = db.prepare(
        "SELECT seq, utc, boot, orders, actor, what, reason, prev, hash FROM audit ORDER BY seq",
    )?;
    let mut rows = statement.query([])?;
    let mut expected = [0_u8; 32];
    let mut count = 0_i64;
    while let Some(row) = rows.next()? {
        count += 1;
        let seq: i64 = row.get(0)?;
        let broken = |what| Ok(Err(AuditBreak { seq, what }));
        if seq != count {
            return broken("follows a gap in the numbers");
        }
        let entry = AuditEntry {
            utc: Utc::from_nanos(row.get(1)?),
            order: row.get::<_, i64>(3)?.cast_unsigned(),
            actor: row.get(4)?,
            what: row.get(5)?,
            reason: row.get(6)?,
        };
        let (prev, hash): ([u8; 32], [u8; 32]) = (row.get(7)?, row.get(8)?);
        if prev != expected {
            return broken("does not follow the entry before it");
        }
        if audit_hash(&prev, seq, row.get(2)?, &entry) != hash {
            return broken("was changed after it was written");
        }
        expected = hash;
    }
    Ok(Ok(count.unsigned_abs()))
}
