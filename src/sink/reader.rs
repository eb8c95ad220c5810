//! What is not sent yet: whole flushes out of the store, by a cursor each.
//!
//! - A *source* has one cursor: a day of history (`20261122`), or a table of `state.db`.
//! - A *unit* is what a cursor moves over at once: a flush of samples, a range of other rows of a
//!   day, up to 500 rows of a table.
//! - The *position* is where reading goes on; after an outage it is set back by the overlap. The
//!   *cursor* never goes back.
//!
//! Connections are read-only and open for one batch only, so that the store can close a day.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use trimloop_core::time::{Mono, Span};

use super::line::{self, Origin};
use super::measurements::{MEASUREMENTS, Measurement, Source};

/// What a server may have lost of what it acknowledged before it died.
const OVERLAP: Span = Span::from_secs(60);
const OVERLAP_NANOS: i64 = 60_000_000_000;
/// The same for tables of `state.db`, at a start.
const OVERLAP_ROWS: i64 = 500;
/// Acknowledged units that are remembered for the overlap.
const ACKS_MAX: usize = 20_000;
/// Units looked at in one query.
const UNITS_MAX: i64 = 64;
/// Newest days that may still get rows.
const DAYS_WRITTEN: usize = 2;
/// How long a read waits for the store's writer.
const BUSY: Duration = Duration::from_secs(2);

/// Why the store cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", .path.display())]
pub struct ReadError {
    /// Which database.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: rusqlite::Error,
}

/// What a cursor moves over at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) source: String,
    pub(super) seq: i64,
    /// Position before it.
    before: i64,
    pub(super) rows: u64,
    min_ts: i64,
    max_ts: i64,
    kind: UnitKind,
    /// Older than the sink sends; it has no lines in the batch.
    pub(super) expired: bool,
    /// Acknowledged once already.
    pub(super) again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnitKind {
    Samples,
    Records,
    State,
}

/// Lines to send, with the units that they are of.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    text: String,
    /// End of each line in the text.
    ends: Vec<usize>,
    pub(super) units: Vec<Unit>,
}

impl Batch {
    pub(super) fn lines(&self) -> usize {
        self.ends.len()
    }

    /// A line with its line end.
    pub(super) fn line(&self, index: usize) -> &str {
        let begin = index.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(begin);
        self.text.get(begin..end).unwrap_or_default()
    }

    /// Bytes of a range of lines.
    pub(super) fn bytes(&self, from: usize, to: usize) -> usize {
        let at = |i: usize| i.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        at(to).saturating_sub(at(from))
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// Where reading goes on.
    at: i64,
    /// Highest acknowledged: the cursor.
    cursor: i64,
    saved: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Behind {
    rows: u64,
    oldest: i64,
}

/// Rows that went before they were sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// Source.
    pub(super) source: String,
    /// How many; 0 when nobody can know.
    pub(super) rows: u64,
    /// What became of them.
    pub(super) why: String,
}

/// Reads what is not sent yet.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
    origin: Origin,
    positions: BTreeMap<String, Position>,
    behind: BTreeMap<String, Behind>,
    /// Days that cannot be read, and are left alone.
    broken: BTreeSet<String>,
    acks: VecDeque<(Mono, String, i64)>,
}

impl Reader {
    /// Begins behind the cursors of `sink`, less the overlap: the server may have died with us.
    pub(super) fn open(dir: &Path, sink: &str, origin: Origin) -> Result<Self, ReadError> {
        let mut reader = Self {
            dir: dir.to_owned(),
            origin,
            positions: BTreeMap::new(),
            behind: BTreeMap::new(),
            broken: BTreeSet::new(),
            acks: VecDeque::new(),
        };
        let path = reader.state_path();
        let sql = |source| ReadError { path: path.clone(), source };
        let db = connect(&path).map_err(sql)?;
        let mut statement =
            db.prepare("SELECT day, seq FROM sink_cursor WHERE sink = ?").map_err(sql)?;
        let cursors = statement
            .query_map([sink], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
            .map_err(sql)?;
        for (source, cursor) in cursors {
            let at = match state_source(&source) {
                Some(_) => cursor.saturating_sub(OVERLAP_ROWS).max(0),
                None => cursor,
            };
            reader.positions.insert(source, Position { at, cursor, saved: cursor });
        }
        for day in reader.days().into_iter().rev().take(DAYS_WRITTEN) {
            let Some(position) = reader.positions.get(&day).copied() else { continue };
            let path = reader.day_path(&day);
            let at = connect_day(&path).and_then(|db| overlap_of(&db, position.cursor));
            let at = at.unwrap_or(position.cursor);
            reader.positions.insert(day, Position { at, ..position });
        }
        Ok(reader)
    }

    fn state_path(&self) -> PathBuf {
        self.dir.join("state.db")
    }

    fn day_path(&self, day: &str) -> PathBuf {
        self.dir.join(format!("history-{day}.db"))
    }

    /// Days of history there are, oldest first.
    fn days(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut days: Vec<String> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let day = name.strip_prefix("history-")?.strip_suffix(".db")?;
                let fits = day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit());
                fits.then(|| day.to_owned())
            })
            .collect();
        days.sort();
        days
    }

    /// The next lines, in order of their sources: at least one unit when there is any.
    ///
    /// - `oldest` [ns UTC]: rows before it are passed over.
    pub(super) fn next_batch(
        &mut self,
        oldest: i64,
        lines_max: usize,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        let mut batch = Batch::default();
        let full = |batch: &Batch| {
            batch.ends.len() >= lines_max || batch.text.len() >= bytes_max
                // Many expired units have no lines.
                || batch.units.len() >= 1000
        };
        let path = self.state_path();
        let sql = |source| ReadError { path: path.clone(), source };
        let db = connect(&path).map_err(sql)?;
        for measurement in &MEASUREMENTS {
            if let Source::State { cursor, numbers } = measurement.source
                && !full(&batch)
            {
                self.take_state(&db, measurement, cursor, numbers, oldest, &mut batch)
                    .map_err(sql)?;
            }
        }
        drop(db);
        let days = self.days();
        let written = days.len().saturating_sub(DAYS_WRITTEN);
        for (place, day) in days.iter().enumerate() {
            let waits = self.behind.get(day).is_some_and(|behind| behind.rows > 0);
            if full(&batch) || !(waits || place >= written) || self.broken.contains(day) {
                continue;
            }
            let path = self.day_path(day);
            if let Err(source) = self.take_day(&path, day, oldest, &full, &mut batch) {
                return Err(ReadError { path, source });
            }
        }
        Ok(batch)
    }

    fn take_state(
        &mut self,
        db: &Connection,
        measurement: &Measurement,
        cursor: &str,
        numbers: &str,
        oldest: i64,
        batch: &mut Batch,
    ) -> rusqlite::Result<()> {
        let position = self.positions.get(cursor).copied().unwrap_or_default();
        let Some(mut unit) = state_unit(db, cursor, numbers, position.at)? else {
            self.behind.remove(cursor);
            return Ok(());
        };
        unit.expired = unit.max_ts < oldest;
        unit.again = unit.seq <= position.cursor;
        if !unit.expired {
            push_rows(db, &self.origin, measurement, params![unit.before, unit.seq], batch)?;
        }
        batch.units.push(unit);
        Ok(())
    }

    fn take_day(
        &mut self,
        path: &Path,
        day: &str,
        oldest: i64,
        full: &dyn Fn(&Batch) -> bool,
        batch: &mut Batch,
    ) -> rusqlite::Result<()> {
        let db = connect_day(path)?;
        let position = self.positions.get(day).copied().unwrap_or_default();
        let units = day_units(&db, day, position.at)?;
        if units.is_empty() {
            self.behind.remove(day);
        }
        for mut unit in units {
            if full(batch) {
                break;
            }
            unit.expired = unit.max_ts < oldest;
            unit.again = unit.seq <= position.cursor;
            let (wanted, from, to) = (unit.kind, unit.min_ts, unit.max_ts);
            for measurement in MEASUREMENTS.iter().filter(|_| !unit.expired) {
                let origin = &self.origin;
                match measurement.source {
                    Source::Samples if wanted == UnitKind::Samples => {
                        push_rows(&db, origin, measurement, params![from, to, unit.seq], batch)?;
                    }
                    Source::Records if wanted == UnitKind::Records => {
                        push_rows(&db, origin, measurement, params![from, to], batch)?;
                    }
                    _ => {}
                }
            }
            batch.units.push(unit);
        }
        Ok(())
    }

    /// Everything of the batch is with the server, or counted.
    pub(super) fn acknowledge(&mut self, batch: &Batch, now: Mono) {
        for unit in &batch.units {
            let position = self.positions.entry(unit.source.clone()).or_default();
            position.at = unit.seq;
            if unit.seq > position.cursor {
                position.cursor = unit.seq;
                // Only what is new: else a server that fails every minute would get the same
                // minute for ever.
                self.acks.push_back((now, unit.source.clone(), unit.before));
            }
            if let Some(behind) = self.behind.get_mut(&unit.source) {
                behind.rows = behind.rows.saturating_sub(unit.rows);
                behind.oldest = behind.oldest.max(unit.max_ts);
            }
        }
        while self.acks.len() > ACKS_MAX || self.acks.front().is_some_and(|a| now - a.0 > OVERLAP) {
            self.acks.pop_front();
        }
    }

    /// Sets the positions back to what was acknowledged within the overlap; call when an outage
    /// begins.
    pub(super) fn rewind(&mut self, now: Mono) {
        self.acks.retain(|ack| now - ack.0 <= OVERLAP);
        for (_, source, before) in &self.acks {
            if let Some(position) = self.positions.get_mut(source) {
                position.at = position.at.min(*before);
            }
        }
    }

    /// Cursors that moved since the last call.
    pub(super) fn unsaved(&mut self) -> Vec<(String, i64)> {
        let mut moved = Vec::new();
        for (source, position) in &mut self.positions {
            if position.cursor > position.saved {
                position.saved = position.cursor;
                moved.push((source.clone(), position.cursor));
            }
        }
        moved
    }

    /// A day that is damaged, and passed over from now on; false when the error is another.
    pub(super) fn pass_over(&mut self, error: &ReadError) -> bool {
        let damaged = matches!(
            error.source.sqlite_error_code(),
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
        );
        let day = self.days().into_iter().find(|day| self.day_path(day) == error.path);
        day.is_some_and(|day| damaged && self.broken.insert(day))
    }

    /// Rows that wait, and the time of the oldest of them [ns UTC].
    pub(super) fn waiting(&self) -> (u64, Option<i64>) {
        let behind = self.behind.values().filter(|behind| behind.rows > 0);
        let rows = behind.clone().map(|behind| behind.rows).sum();
        (rows, behind.map(|behind| behind.oldest).min())
    }

    /// Looks at every source anew; what went before it was sent.
    pub(super) fn survey(&mut self) -> Result<Vec<Gone>, ReadError> {
        let mut gone = Vec::new();
        let days = self.days();
        let known: Vec<String> = self.behind.keys().cloned().collect();
        for source in known {
            if state_source(&source).is_none() && !days.contains(&source) {
                let rows = self.behind.remove(&source).map_or(0, |behind| behind.rows);
                self.positions.remove(&source);
                if rows > 0 {
                    let why = "its history file was removed".to_owned();
                    gone.push(Gone { source, rows, why });
                }
            }
        }
        for day in days {
            if self.broken.contains(&day) {
                continue;
            }
            let path = self.day_path(&day);
            let at = self.positions.get(&day).map_or(0, |position| position.at);
            match connect_day(&path).and_then(|db| day_behind(&db, at)) {
                Ok(behind) => {
                    self.behind.insert(day, behind);
                }
                Err(source) => {
                    let error = ReadError { path, source };
                    if !self.pass_over(&error) {
                        return Err(error);
                    }
                    let why = format!("the file is damaged: {}", error.source);
                    gone.push(Gone { source: day, rows: 0, why });
                }
            }
        }
        Ok(gone)
    }
}

fn state_source(source: &str) -> Option<&'static Measurement> {
    MEASUREMENTS.iter().find(
        |measurement| matches!(measurement.source, Source::State { cursor, .. } if cursor == source),
    )
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

/// Tables that a day file of an older trimloop lacks, with their columns.
const LATER_TABLES: [(&str, &str); 3] = [
    ("contact", "tag INTEGER PRIMARY KEY"),
    ("record_flush", "seq INTEGER PRIMARY KEY, min_ts INTEGER, max_ts INTEGER, rows INTEGER"),
    ("forecast", "ts, part, model, value, low, high, trend, to_limit, early, late"),
];

/// A day file; what one of an older trimloop lacks is empty.
fn connect_day(path: &Path) -> rusqlite::Result<Connection> {
    let db = connect(path)?;
    for (table, columns) in LATER_TABLES {
        let there: bool =
            db.query_row("SELECT count(*) FROM sqlite_master WHERE name = ?1", [table], |row| {
                row.get(0)
            })?;
        if !there {
            db.execute_batch(&format!("CREATE TEMP TABLE {table}({columns})"))?;
        }
    }
    Ok(db)
}

fn push_rows(
    db: &Connection,
    origin: &Origin,
    measurement: &Measurement,
    params: &[&dyn rusqlite::ToSql],
    batch: &mut Batch,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(measurement.sql)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        if line::push_row(&mut batch.text, origin, measurement, row)? {
            batch.ends.push(batch.text.len());
        }
    }
    Ok(())
}

/// The next rows of a table of `state.db`.
fn state_unit(
    db: &Connection,
    cursor: &str,
    numbers: &str,
    at: i64,
) -> rusqlite::Result<Option<Unit>> {
    let mut statement = db.prepare_cached(numbers)?;
    let mut rows = statement.query([at])?;
    let mut unit: Option<Unit> = None;
    while let Some(row) = rows.next()? {
        let (seq, utc): (i64, i64) = (row.get(0)?, row.get(1)?);
        let unit = unit.get_or_insert_with(|| Unit {
            source: cursor.to_owned(),
            seq,
            before: at,
            rows: 0,
            min_ts: utc,
            max_ts: utc,
            kind: UnitKind::State,
            expired: false,
            again: false,
        });
        unit.seq = seq;
        unit.rows += 1;
        unit.min_ts = unit.min_ts.min(utc);
        unit.max_ts = unit.max_ts.max(utc);
    }
    Ok(unit)
}

fn day_units(db: &Connection, day: &str, at: i64) -> rusqlite::Result<Vec<Unit>> {
    let mut statement = db.prepare_cached(
        "SELECT seq, min_ts, max_ts, rows, 0 FROM flush WHERE seq > ?1
         UNION ALL SELECT seq, min_ts, max_ts, rows, 1 FROM record_flush WHERE seq > ?1
         ORDER BY seq LIMIT ?2",
    )?;
    let mut before = at;
    let units = statement.query_map([at, UNITS_MAX], |row| {
        let seq = row.get(0)?;
        let records: bool = row.get(4)?;
        Ok(Unit {
            source: day.to_owned(),
            seq,
            before: std::mem::replace(&mut before, seq),
            rows: row.get::<_, i64>(3)?.unsigned_abs(),
            min_ts: row.get(1)?,
            max_ts: row.get(2)?,
            kind: if records { UnitKind::Records } else { UnitKind::Samples },
            expired: false,
            again: false,
        })
    })?;
    units.collect()
}

fn day_behind(db: &Connection, at: i64) -> rusqlite::Result<Behind> {
    db.query_row(
        "SELECT coalesce(sum(rows), 0), coalesce(min(min_ts), 0) FROM (
           SELECT rows, min_ts FROM flush WHERE seq > ?1
           UNION ALL SELECT rows, min_ts FROM record_flush WHERE seq > ?1)",
        [at],
        |row| Ok(Behind { rows: row.get::<_, i64>(0)?.unsigned_abs(), oldest: row.get(1)? }),
    )
}

/// Where to begin so that the last minute before a cursor is sent again.
fn overlap_of(db: &Connection, cursor: i64) -> rusqlite::Result<i64> {
    let first: Option<i64> = db.query_row(
        "WITH sent AS (SELECT seq, max_ts FROM flush WHERE seq <= ?1
           UNION ALL SELECT seq, max_ts FROM record_flush WHERE seq <= ?1)
         SELECT min(seq) FROM sent WHERE max_ts >= (SELECT max(max_ts) FROM sent) - ?2",
        [cursor, OVERLAP_NANOS],
        |row| row.get(0),
    )?;
    Ok(first.map_or(cursor, |first| first - 1))
}
