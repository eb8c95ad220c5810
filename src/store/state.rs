//! `state.db`: what must survive a power cut. WAL, synchronous FULL.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, Transaction, params};

use trimloop_core::event::Event;
use trimloop_core::ledger::Fate;
use trimloop_core::record::{DecisionRow, LedgerRow, Outcome};
use trimloop_core::time::{Mono, Utc};

use super::chain::{self, Tip, Tips};
use super::queue::CursorRow;
use super::{StoreError, StoreOptions};
use crate::notice::Notice;
use crate::output::{Named, Names, event_text};

/// Layout of `state.db`, kept in its `user_version`.
pub const STATE_VERSION: i64 = 2;

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
  sentence TEXT NOT NULL, number INTEGER);
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
  status INTEGER, prev BLOB, hash BLOB);
CREATE INDEX IF NOT EXISTS ledger_write ON ledger(boot, write);
CREATE INDEX IF NOT EXISTS ledger_utc ON ledger(utc);
CREATE TABLE IF NOT EXISTS sink_cursor(
  sink TEXT NOT NULL, day TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY(sink, day))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS whole(plc TEXT PRIMARY KEY, utc INTEGER NOT NULL) WITHOUT ROWID;
";

/// Over columns that layout 1 does not have.
const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS event_number ON event(boot, number) WHERE number IS NOT NULL;
CREATE INDEX IF NOT EXISTS decision_write ON decision(boot, write) WHERE write IS NOT NULL;
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
    audit: Tip,
    ledger: Tip,
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
        migrate(&db, found).map_err(sql)?;
        db.execute_batch(INDEXES).map_err(sql)?;
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
        let audit = chain::tip(&db, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1");
        let ledger = chain::tip(&db, "SELECT id, hash FROM ledger ORDER BY id DESC LIMIT 1");
        let (audit, ledger) = (audit.map_err(sql)?, ledger.map_err(sql)?);
        Ok(Self { db, boot, ids, names: options.names.clone(), audit, ledger })
    }

    /// Ends of the chains that are on disk.
    pub(super) fn tips(&self) -> Tips {
        Tips { audit: self.audit, ledger: self.ledger }
    }

    /// Highest sequence that any sink has sent of a day.
    pub(super) fn cursor_max(&self, day: &str) -> rusqlite::Result<i64> {
        self.db.query_row(
            "SELECT coalesce(max(seq), 0) FROM sink_cursor WHERE day = ?",
            [day],
            |row| row.get(0),
        )
    }

    /// Sinks that were at work on a day or before it, and how far each has sent that day.
    pub(super) fn sinks_of(&self, day: &str) -> rusqlite::Result<Vec<(String, i64)>> {
        let mut statement = self.db.prepare_cached(
            "SELECT sink, max(CASE WHEN day = ?1 THEN seq ELSE 0 END) FROM sink_cursor
             WHERE day <= ?1 GROUP BY sink ORDER BY sink",
        )?;
        let rows = statement.query_map([day], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Up to when the history of each PLC lacks nothing [ns UTC].
    pub(super) fn whole(&self) -> rusqlite::Result<BTreeMap<String, i64>> {
        let mut statement = self.db.prepare("SELECT plc, utc FROM whole")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Writes all rows in one transaction, or none.
    pub(super) fn write(&mut self, rows: &StateRows) -> rusqlite::Result<()> {
        let (mut audit, mut ledger) = (self.audit, self.ledger);
        let tx = self.db.transaction()?;
        for (number, event) in &rows.events {
            put_event(&tx, self.boot, &self.names, *number, event)?;
        }
        for notice in &rows.notices {
            put_notice(&tx, self.boot, notice)?;
        }
        for (utc, row) in &rows.decisions {
            put_decision(&tx, self.boot, &self.names, *utc, row)?;
        }
        for (utc, row) in &rows.ledger {
            ledger = put_ledger(&tx, self.boot, &self.names, *utc, row, ledger)?;
        }
        for row in &rows.cursors {
            tx.prepare_cached(
                "INSERT INTO sink_cursor(sink, day, seq) VALUES(?, ?, ?)
                 ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)",
            )?
            .execute(params![row.sink, row.day, row.seq])?;
        }
        for (plc, utc) in &rows.whole {
            tx.prepare_cached("INSERT OR REPLACE INTO whole(plc, utc) VALUES(?, ?)")?
                .execute(params![plc, utc])?;
        }
        for entry in &rows.audit {
            audit = put_audit(&tx, self.boot, entry, audit)?;
        }
        tx.commit()?;
        (self.audit, self.ledger) = (audit, ledger);
        Ok(())
    }

    pub(super) fn close(self) -> rusqlite::Result<()> {
        self.db.close().map_err(|(_, error)| error)
    }
}

/// Stores an entry behind `before`; the new end of the trail.
fn put_audit(
    tx: &Transaction<'_>,
    boot: i64,
    entry: &AuditEntry,
    before: Tip,
) -> rusqlite::Result<Tip> {
    let seq = before.number + 1;
    let hash = chain::audit_hash(&before.hash, seq, boot, entry);
    tx.prepare_cached(
        "INSERT INTO audit(seq, utc, boot, orders, actor, what, reason, prev, hash)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        seq,
        entry.utc.as_nanos(),
        boot,
        entry.order.cast_signed(),
        entry.actor,
        entry.what,
        entry.reason,
        before.hash.as_slice(),
        hash.as_slice(),
    ])?;
    Ok(Tip { number: seq, hash })
}

/// Adds one entry to a `state.db` that no service writes, under the boot of the last one.
pub(super) fn append_audit(path: &Path, entry: &AuditEntry) -> Result<(), StoreError> {
    let db = open_checked(path)?;
    let sql = |source| StoreError::Open { path: path.to_owned(), source };
    let found: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(sql)?;
    if found != STATE_VERSION {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: STATE_VERSION });
    }
    let added = || {
        db.pragma_update(None, "synchronous", "FULL")?;
        let tx = Transaction::new_unchecked(&db, rusqlite::TransactionBehavior::Immediate)?;
        let boot = tx.query_row("SELECT coalesce(max(boot), 0) FROM boot", [], |r| r.get(0))?;
        let tip = chain::tip(&tx, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")?;
        put_audit(&tx, boot, entry, tip)?;
        tx.commit()
    };
    added().map_err(|source| StoreError::Sql { what: "add to the audit trail", source })
}

/// Rows of `state.db` that wait for their commit.
#[derive(Debug, Default)]
pub(super) struct StateRows {
    pub(super) events: Vec<(u64, Event)>,
    pub(super) notices: Vec<Notice>,
    pub(super) decisions: Vec<(Utc, DecisionRow)>,
    pub(super) ledger: Vec<(Utc, LedgerRow)>,
    pub(super) audit: Vec<AuditEntry>,
    pub(super) cursors: Vec<CursorRow>,
    /// PLC, and up to when its history lacks nothing [ns UTC].
    pub(super) whole: Vec<(String, i64)>,
}

impl StateRows {
    pub(super) fn len(&self) -> usize {
        self.events.len()
            + self.notices.len()
            + self.decisions.len()
            + self.ledger.len()
            + self.audit.len()
            + self.cursors.len()
            + self.whole.len()
    }

    /// Gives up what is not about writes and people's orders, and these only beyond `most`;
    /// returns how many rows that were.
    pub(super) fn shed(&mut self, most: usize) -> u64 {
        let before = self.len();
        self.events.clear();
        self.notices.clear();
        self.decisions.clear();
        self.whole.clear();
        self.ledger.truncate(most / 2);
        self.audit.truncate(most / 2);
        (before - self.len()) as u64
    }

    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.notices.clear();
        self.decisions.clear();
        self.ledger.clear();
        self.audit.clear();
        self.cursors.clear();
        self.whole.clear();
    }
}

/// Brings a database of an older layout up to [`STATE_VERSION`]; a new one has it already.
fn migrate(db: &Connection, found: i64) -> rusqlite::Result<()> {
    if found != 1 {
        return Ok(());
    }
    db.execute_batch(
        "BEGIN IMMEDIATE;
         ALTER TABLE event ADD COLUMN number INTEGER;
         ALTER TABLE ledger ADD COLUMN prev BLOB;
         ALTER TABLE ledger ADD COLUMN hash BLOB;",
    )?;
    chain::seal_old_ledger(db)?;
    db.pragma_update(None, "user_version", STATE_VERSION)?;
    db.execute_batch("COMMIT")
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
    // Of a new file only: half the calls of the operating system for the same rows.
    db.pragma_update(None, "page_size", 8192).map_err(sql)?;
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
    number: u64,
    event: &Event,
) -> rusqlite::Result<()> {
    let text = event_text(&event.what, names);
    tx.prepare_cached(
        "INSERT INTO event(boot, utc, process, part, code, subject, detail, sentence, number)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        number.cast_signed(),
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
    before: Tip,
) -> rusqlite::Result<Tip> {
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
    let stored = chain::LedgerEntry {
        boot,
        write: row.write.cast_signed(),
        utc: utc.as_nanos(),
        setpoint: names.setpoint_name(row.setpoint.index()),
        desired: Some(row.desired).filter(|x| !x.is_nan()),
        limited: value(row.limited),
        sent: value(row.sent),
        read_back: row.read_back.and_then(value),
        issued: row.issued.as_nanos(),
        acknowledged: row.acknowledged.map(Mono::as_nanos),
        confirmed: row.confirmed.map(Mono::as_nanos),
        fate: fate.to_owned(),
        status: status.map(i64::from),
    };
    chain::put_ledger(tx, &stored, before)
}
