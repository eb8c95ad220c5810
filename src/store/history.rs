//! `history-YYYYMMDD.db`: samples and parts of one UTC day. WAL, synchronous NORMAL.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, params};

use trimloop_core::record::{PartRow, Record};
use trimloop_core::tag::Value;
use trimloop_core::time::Utc;

use super::StoreError;
use super::queue::{FLUSH_ROWS, SampleRow};
use super::state::{Ids, State, open_checked};
use crate::output::{Names, day_text};

/// Longest span of sample times in one flush.
const FLUSH_SPAN_NANOS: i64 = 60_000_000_000;
/// Set in a sample's quality when its source time was too far off and the receive time is kept.
const CLOCK_FLAG: i64 = 1 << 32;
/// Change of a tag's clock offset after which it is noted again.
const OFFSET_STEP_NANOS: i64 = 1_000_000_000;
/// Day files kept open: today, and yesterday for late rows.
const DAYS_OPEN: usize = 2;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sample(ts INTEGER, tag INTEGER, value, quality INTEGER, seq INTEGER,
  PRIMARY KEY(ts, tag)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flush(
  seq INTEGER PRIMARY KEY, min_ts INTEGER, max_ts INTEGER, rows INTEGER);
CREATE TABLE IF NOT EXISTS record_flush(
  seq INTEGER PRIMARY KEY, min_ts INTEGER, max_ts INTEGER, rows INTEGER);
CREATE TABLE IF NOT EXISTS contact(tag INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS name(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clock_offset(ts INTEGER, tag INTEGER, offset INTEGER,
  PRIMARY KEY(ts, tag)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS part(boot INTEGER, number INTEGER, ts INTEGER, part INTEGER,
  began INTEGER, ended INTEGER, warm_up INTEGER, mixed INTEGER, gap INTEGER,
  PRIMARY KEY(boot, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS feature(ts INTEGER, part INTEGER, feature INTEGER, value REAL,
  coverage REAL, PRIMARY KEY(ts, part, feature)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS score(ts INTEGER, part INTEGER, model INTEGER, value REAL, low REAL,
  high REAL, in_domain INTEGER, alarm INTEGER, PRIMARY KEY(ts, part, model)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contribution(ts INTEGER, part INTEGER, model INTEGER, rank INTEGER,
  feature INTEGER, share REAL, z REAL, PRIMARY KEY(ts, part, model, rank)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS label(ts INTEGER, part INTEGER, characteristic INTEGER, value REAL,
  used INTEGER, PRIMARY KEY(ts, part, characteristic)) WITHOUT ROWID;
";

/// The open day files.
#[derive(Debug)]
pub(super) struct History {
    dir: PathBuf,
    ids: Ids,
    names: Names,
    boot: i64,
    days: Vec<Day>,
    /// Last noted clock offset per tag [ns].
    offsets: Vec<i64>,
    /// Messages about files that were set aside.
    pub(super) notices: Vec<String>,
}

#[derive(Debug)]
struct Day {
    name: String,
    db: Connection,
    seq: i64,
}

impl History {
    pub(super) fn new(dir: &Path, state: &State, names: &Names) -> Self {
        Self {
            dir: dir.to_owned(),
            ids: state.ids.clone(),
            names: names.clone(),
            boot: state.boot,
            days: Vec::new(),
            offsets: vec![0; names.tags.len()],
            notices: Vec::new(),
        }
    }

    /// Opens the file of a day, so that a damaged one is found at the start.
    pub(super) fn open_day(&mut self, utc: Utc, state: &State) -> Result<(), StoreError> {
        self.day(&day_text(utc), state).map(|_| ())
    }

    /// Writes samples (any order, any days) and rows, one transaction per day.
    ///
    /// Returns how many samples replaced one of the same time and tag.
    pub(super) fn write(
        &mut self,
        samples: &mut [SampleRow],
        rows: &[(Utc, Record)],
        state: &State,
    ) -> Result<u64, StoreError> {
        let sql = |source| StoreError::Sql { what: "write history", source };
        // Stable: samples of one time and tag keep their order of arrival, so the last one wins.
        samples.sort_by_key(|row| row.ts);
        let mut days: Vec<String> = rows.iter().map(|(utc, _)| day_text(*utc)).collect();
        days.extend(
            samples
                .chunk_by(|a, b| day_number(a.ts) == day_number(b.ts))
                .filter_map(|chunk| chunk.first().map(|row| day_text(Utc::from_nanos(row.ts)))),
        );
        days.sort();
        days.dedup();
        let mut doubled = 0;
        for name in days {
            let (ids, boot) = (self.ids.clone(), self.boot);
            let mut offsets = self.offsets.clone();
            let of_day = |utc: i64| day_text(Utc::from_nanos(utc)) == name;
            let day = self.day(&name, state)?;
            let tx = day.db.transaction().map_err(sql)?;
            let mut seq = day.seq;
            let chunks = samples
                .chunk_by(|a, b| day_number(a.ts) == day_number(b.ts))
                .filter(|chunk| chunk.first().is_some_and(|row| of_day(row.ts)));
            for chunk in chunks {
                for flush in flushes(chunk) {
                    doubled += put_flush(&tx, seq, flush, &ids, &mut offsets).map_err(sql)?;
                    seq += 1;
                }
            }
            for (utc, record) in rows.iter().filter(|(utc, _)| of_day(utc.as_nanos())) {
                put_record(&tx, boot, *utc, record, &ids).map_err(sql)?;
            }
            let stamps = rows.iter().map(|(utc, _)| utc.as_nanos()).filter(|ts| of_day(*ts));
            seq = put_record_flushes(&tx, seq, stamps).map_err(sql)?;
            tx.commit().map_err(sql)?;
            day.seq = seq;
            self.offsets = offsets;
        }
        Ok(doubled)
    }

    fn day(&mut self, name: &str, state: &State) -> Result<&mut Day, StoreError> {
        if let Some(at) = self.days.iter().position(|day| day.name == name) {
            // Most recently used last.
            self.days.get_mut(at..).unwrap_or_default().rotate_left(1);
        } else {
            if self.days.len() >= DAYS_OPEN {
                let oldest = self.days.remove(0);
                // A reader may hold the file just now; it then stays in WAL mode, and whole.
                if let Err(error) = close_day(oldest.db) {
                    tracing::warn!(%error, day = oldest.name, "A day of history was left in WAL mode.");
                }
            }
            let day = self.open(name, state)?;
            self.days.push(day);
        }
        self.days.last_mut().ok_or(StoreError::Unsound)
    }

    fn open(&mut self, name: &str, state: &State) -> Result<Day, StoreError> {
        let path = self.dir.join(format!("history-{name}.db"));
        let db = match open_checked(&path) {
            Err(StoreError::Corrupt { what, .. }) => {
                let kept = set_aside(&path)?;
                let notice = format!(
                    "The history file {} was damaged ({what}); it was moved to {} and a new one \
                     begun.",
                    path.display(),
                    kept.display()
                );
                tracing::warn!("{notice}");
                self.notices.push(notice);
                open_checked(&path)?
            }
            other => other?,
        };
        let sql = |source| StoreError::Open { path: path.clone(), source };
        db.pragma_update(None, "synchronous", "NORMAL").map_err(sql)?;
        db.execute_batch(SCHEMA).map_err(sql)?;
        self.copy_names(&db).map_err(sql)?;
        // A power cut may take the last flushes with it, but not what a sink has sent of them.
        let flushed: i64 = db
            .query_row(
                "SELECT max((SELECT coalesce(max(seq), 0) FROM flush),
                            (SELECT coalesce(max(seq), 0) FROM record_flush))",
                [],
                |row| row.get(0),
            )
            .map_err(sql)?;
        let sent = state.cursor_max(name).map_err(sql)?;
        Ok(Day { name: name.to_owned(), db, seq: 1 + flushed.max(sent) })
    }

    /// The names go into each file, so that it can be read alone.
    fn copy_names(&self, db: &Connection) -> rusqlite::Result<()> {
        let tx = db.unchecked_transaction()?;
        {
            let mut statement =
                tx.prepare("INSERT OR REPLACE INTO name(id, kind, name, unit) VALUES(?, ?, ?, ?)")?;
            for (kind, ids, names) in [
                ("tag", &self.ids.tags, &self.names.tags),
                ("feature", &self.ids.features, &self.names.features),
                ("model", &self.ids.models, &self.names.models),
                ("characteristic", &self.ids.characteristics, &self.names.characteristics),
            ] {
                for (id, named) in ids.iter().zip(names) {
                    statement.execute(params![id, kind, named.name, named.unit])?;
                }
            }
        }
        tx.commit()
    }

    pub(super) fn close(self) -> rusqlite::Result<()> {
        for day in self.days {
            day.db.close().map_err(|(_, error)| error)?;
        }
        Ok(())
    }
}

/// A day that is over becomes one plain file.
fn close_day(db: Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    db.pragma_update(None, "journal_mode", "DELETE")?;
    db.close().map_err(|(_, error)| error)
}

fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let aside = |path: &Path, n: u32, tail: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}{tail}"));
        PathBuf::from(name)
    };
    let mut n = 1;
    while aside(path, n, "").exists() {
        n += 1;
    }
    let kept = aside(path, n, "");
    let failed = |source| StoreError::Aside { path: path.to_owned(), source };
    std::fs::rename(path, &kept).map_err(failed)?;
    for tail in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(tail);
        let beside = PathBuf::from(beside);
        if beside.exists() {
            std::fs::rename(&beside, aside(path, n, tail)).map_err(failed)?;
        }
    }
    Ok(kept)
}

fn day_number(ts: i64) -> i64 {
    ts.div_euclid(86_400_000_000_000)
}

/// Cuts sorted samples into flushes of at most 2000 rows and 60 s.
fn flushes(mut samples: &[SampleRow]) -> impl Iterator<Item = &[SampleRow]> {
    std::iter::from_fn(move || {
        let first = samples.first()?;
        let end = samples
            .iter()
            .take(FLUSH_ROWS)
            .take_while(|row| row.ts.saturating_sub(first.ts) <= FLUSH_SPAN_NANOS)
            .count();
        let (flush, rest) = samples.split_at_checked(end)?;
        samples = rest;
        Some(flush)
    })
}

/// Notes the times of rows that are not samples, so that a sink can read whole ranges of them: at
/// most 2000 rows and 60 s each. Returns the next number.
fn put_record_flushes(
    tx: &Transaction<'_>,
    mut seq: i64,
    stamps: impl Iterator<Item = i64>,
) -> rusqlite::Result<i64> {
    let mut stamps: Vec<i64> = stamps.collect();
    stamps.sort_unstable();
    let mut rest = stamps.as_slice();
    while let Some(first) = rest.first() {
        let near = |ts: &&i64| ts.saturating_sub(*first) <= FLUSH_SPAN_NANOS;
        let count = rest.iter().take(FLUSH_ROWS).take_while(near).count();
        let (of_flush, others) = rest.split_at(count);
        tx.prepare_cached(
            "INSERT INTO record_flush(seq, min_ts, max_ts, rows) VALUES(?, ?, ?, ?)",
        )?
        .execute(params![seq, first, of_flush.last(), of_flush.len().cast_signed()])?;
        seq += 1;
        rest = others;
    }
    Ok(seq)
}

fn put_flush(
    tx: &Transaction<'_>,
    seq: i64,
    samples: &[SampleRow],
    ids: &Ids,
    offsets: &mut [i64],
) -> rusqlite::Result<u64> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO sample(ts, tag, value, quality, seq) VALUES(?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )?;
    let mut doubled = 0;
    let mut rows = 0_i64;
    for row in samples {
        let Some(tag) = ids.tags.get(usize::from(row.tag)).copied() else { continue };
        let value = match row.value {
            None => rusqlite::types::Value::Null,
            Some(Value::Float(x)) => rusqlite::types::Value::Real(x),
            Some(Value::Int(i)) => rusqlite::types::Value::Integer(i),
            Some(Value::Bool(b)) => rusqlite::types::Value::Integer(i64::from(b)),
        };
        // SQLite keeps no truth values; a sink must not take a contact for a number.
        if let Some(Value::Bool(_)) = row.value {
            tx.prepare_cached("INSERT OR IGNORE INTO contact(tag) VALUES(?)")?.execute([tag])?;
        }
        let flag = if row.offset == 0 { 0 } else { CLOCK_FLAG };
        let quality = i64::from(row.status) | flag;
        rows += 1;
        if insert.execute(params![row.ts, tag, value, quality, seq])? == 0 {
            doubled += 1;
            tx.prepare_cached(
                "UPDATE sample SET value = ?, quality = ?, seq = ? WHERE ts = ? AND tag = ?",
            )?
            .execute(params![value, quality, seq, row.ts, tag])?;
        }
        if let Some(noted) = offsets.get_mut(usize::from(row.tag))
            && row.offset.abs_diff(*noted) > OFFSET_STEP_NANOS.unsigned_abs()
        {
            *noted = row.offset;
            tx.prepare_cached(
                "INSERT OR REPLACE INTO clock_offset(ts, tag, offset) VALUES(?, ?, ?)",
            )?
            .execute(params![row.ts, tag, row.offset])?;
        }
    }
    let (first, last) = (samples.first().map(|r| r.ts), samples.last().map(|r| r.ts));
    tx.prepare_cached("INSERT INTO flush(seq, min_ts, max_ts, rows) VALUES(?, ?, ?, ?)")?
        .execute(params![seq, first, last, rows])?;
    Ok(doubled)
}

fn put_record(
    tx: &Transaction<'_>,
    boot: i64,
    utc: Utc,
    record: &Record,
    ids: &Ids,
) -> rusqlite::Result<()> {
    let ts = utc.as_nanos();
    let of = |list: &[i64], index: usize| list.get(index).copied();
    match record {
        Record::Part(row) => put_part(tx, boot, ts, row)?,
        Record::Feature(row) => {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO feature(ts, part, feature, value, coverage)
                 VALUES(?, ?, ?, ?, ?)",
            )?
            .execute(params![
                ts,
                row.part,
                of(&ids.features, row.feature.index()),
                row.value,
                row.coverage
            ])?;
        }
        Record::Score(row) => {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO score(ts, part, model, value, low, high, in_domain, alarm)
                 VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                ts,
                row.part,
                of(&ids.models, row.model.index()),
                row.value,
                row.low,
                row.high,
                row.in_domain,
                row.alarm
            ])?;
        }
        Record::Contribution(row) => {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO contribution(ts, part, model, rank, feature, share, z)
                 VALUES(?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                ts,
                row.part,
                of(&ids.models, row.model.index()),
                row.rank,
                of(&ids.features, row.feature.index()),
                row.share,
                row.z
            ])?;
        }
        Record::Label(row) => {
            tx.prepare_cached(
                "INSERT OR REPLACE INTO label(ts, part, characteristic, value, used)
                 VALUES(?, ?, ?, ?, ?)",
            )?
            .execute(params![
                ts,
                row.part,
                of(&ids.characteristics, row.characteristic.index()),
                row.value,
                row.used
            ])?;
        }
        // These live in state.db.
        Record::Decision(_) | Record::Ledger(_) => {}
    }
    Ok(())
}

fn put_part(tx: &Transaction<'_>, boot: i64, ts: i64, row: &PartRow) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR REPLACE INTO part(boot, number, ts, part, began, ended, warm_up, mixed, gap)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        boot,
        row.number.cast_signed(),
        ts,
        row.part,
        row.began.as_nanos(),
        row.ended.as_nanos(),
        row.warm_up,
        row.mixed,
        row.gap,
    ])?;
    Ok(())
}
