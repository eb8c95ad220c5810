//! `history-YYYYMMDD.db`: samples, parts and 1 s roll-ups of one UTC day. WAL, synchronous NORMAL.
//!
//! Today's file and, for late rows, yesterday's are open. A day that is over goes on the
//! *backlog*: its roll-ups are finished, a round at a time, and its file is closed as one plain
//! file. At a start every day that is there goes through the backlog once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Transaction, params};

use trimloop_core::record::{ForecastRow, PartRow, Record};
use trimloop_core::tag::TagId;
use trimloop_core::time::Utc;

use super::StoreError;
use super::evidence;
use super::queue::{FLUSH_ROWS, SampleRow};
use super::rollup;
use super::samples;
use super::state::{Ids, State, open_checked, open_unchecked};
use crate::output::{Names, day_text};

/// Longest span of sample times in one flush.
const FLUSH_SPAN_NANOS: i64 = 60_000_000_000;
/// Day files kept open: today, and two for late rows, which may lie on both sides of a midnight.
const DAYS_OPEN: usize = 3;
/// Statements of a day that are kept prepared, more than there are.
const STATEMENTS_MAX: usize = 32;
/// How long the end of a day waits for a reader; then it is tried again later.
const BUSY_MAX: Duration = Duration::from_millis(100);

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
CREATE TABLE IF NOT EXISTS forecast(ts INTEGER, part INTEGER, model INTEGER, value REAL, low REAL,
  high REAL, trend TEXT, to_limit REAL, early REAL, late REAL,
  PRIMARY KEY(ts, part, model)) WITHOUT ROWID;
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
    /// The open month file of roll-ups, by month.
    month: Option<(String, Connection)>,
    /// Days to finish: roll-ups, then the file.
    backlog: VecDeque<String>,
    /// The day of the backlog that is being finished.
    finishing: Option<Day>,
    /// Last noted clock offset per tag [ns].
    offsets: Vec<i64>,
    /// Days whose file failed as a damaged one does; they are checked when opened again.
    suspect: BTreeSet<String>,
    /// Messages about files that were set aside.
    pub(super) notices: Vec<String>,
}

#[derive(Debug)]
struct Day {
    name: String,
    db: Connection,
    seq: i64,
}

/// What became of samples whose time and tag may be there already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Samples that replaced another.
    pub(super) doubled: u64,
    /// Samples out of a PLC's history that were new, by tag; others of them change nothing.
    pub(super) backfilled: BTreeMap<TagId, u64>,
}

impl Day {
    /// One transaction.
    fn write<'a>(
        &mut self,
        boot: i64,
        ids: &Ids,
        offsets: &mut [i64],
        chunks: impl Iterator<Item = &'a [SampleRow]>,
        rows: impl Iterator<Item = &'a (Utc, Record)>,
    ) -> rusqlite::Result<Written> {
        let tx = self.db.transaction()?;
        let mut seq = self.seq;
        let mut written = Written::default();
        for chunk in chunks {
            for flush in flushes(chunk) {
                let taken = samples::put_flush(&tx, seq, flush, ids, offsets, &mut written)?;
                seq += i64::from(taken);
            }
        }
        let mut stamps = Vec::new();
        for (utc, record) in rows {
            put_record(&tx, boot, *utc, record, ids)?;
            if is_sent(record) {
                stamps.push(utc.as_nanos());
            }
        }
        seq = put_record_flushes(&tx, seq, stamps)?;
        tx.commit()?;
        self.seq = seq;
        Ok(written)
    }
}

impl History {
    pub(super) fn new(dir: &Path, state: &State, names: &Names) -> Self {
        Self {
            dir: dir.to_owned(),
            ids: state.ids.clone(),
            names: names.clone(),
            boot: state.boot,
            days: Vec::new(),
            month: None,
            backlog: rollup::day_files(dir).into_iter().map(|(day, _)| day).collect(),
            finishing: None,
            offsets: vec![0; names.tags.len()],
            suspect: BTreeSet::new(),
            notices: Vec::new(),
        }
    }

    /// Opens the file of a day, so that a damaged one is found at the start.
    pub(super) fn open_day(&mut self, utc: Utc, state: &State) -> Result<(), StoreError> {
        self.day(&day_text(utc), state).map(|_| ())
    }

    /// Writes samples (any order, any days) and rows, one transaction per day.
    ///
    /// A sample of the same time and tag is replaced by a live one, and never by one out of a PLC's
    /// history.
    pub(super) fn write(
        &mut self,
        samples: &mut [SampleRow],
        rows: &[(Utc, Record)],
        state: &State,
    ) -> Result<Written, StoreError> {
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
        let mut written = Written::default();
        for name in days {
            let (ids, boot) = (self.ids.clone(), self.boot);
            let mut offsets = self.offsets.clone();
            let of_day = |utc: i64| day_text(Utc::from_nanos(utc)) == name;
            let day = self.day(&name, state)?;
            let chunks = samples
                .chunk_by(|a, b| day_number(a.ts) == day_number(b.ts))
                .filter(|chunk| chunk.first().is_some_and(|row| of_day(row.ts)));
            let rows = rows.iter().filter(|(utc, _)| of_day(utc.as_nanos()));
            match day.write(boot, &ids, &mut offsets, chunks, rows) {
                Ok(more) => {
                    written.doubled += more.doubled;
                    for (tag, new) in more.backfilled {
                        *written.backfilled.entry(tag).or_default() += new;
                    }
                }
                Err(source) => {
                    if is_damage(&source) {
                        // Opened again, it is checked, and set aside.
                        self.days.retain(|day| day.name != name);
                        self.suspect.insert(name);
                    }
                    return Err(StoreError::Sql { what: "write history", source });
                }
            }
            self.offsets = offsets;
        }
        Ok(written)
    }

    fn day(&mut self, name: &str, state: &State) -> Result<&mut Day, StoreError> {
        if let Some(at) = self.days.iter().position(|day| day.name == name) {
            // Most recently used last.
            self.days.get_mut(at..).unwrap_or_default().rotate_left(1);
        } else {
            if self.days.len() >= DAYS_OPEN {
                // Late rows of some old days do not close the one of today.
                let names = self.days.iter().enumerate().map(|(at, day)| (&day.name, at));
                let at = names.min().map_or(0, |(_, at)| at);
                let oldest = self.days.remove(at);
                self.backlog.push_back(oldest.name);
            }
            if let Some(late) = self.finishing.take_if(|day| day.name == name) {
                self.backlog.push_back(late.name);
            }
            let day = self.open(name, state)?;
            self.days.push(day);
        }
        self.days.last_mut().ok_or(StoreError::Unsound)
    }

    fn open(&mut self, name: &str, state: &State) -> Result<Day, StoreError> {
        // A look at every page of a day that is over takes minutes, in which nothing is written.
        let is_past = self.days.iter().any(|day| day.name.as_str() > name);
        if is_past && !self.suspect.remove(name) {
            match open_unchecked(&self.path_of(name)).and_then(|db| self.set_up(name, db, state)) {
                Err(StoreError::Open { source, .. }) if is_damage(&source) => {}
                opened => return opened,
            }
        }
        let (db, _) = self.open_or_aside(&self.path_of(name), "")?;
        self.set_up(name, db, state)
    }

    fn set_up(&mut self, name: &str, db: Connection, state: &State) -> Result<Day, StoreError> {
        let path = self.path_of(name);
        let sql = |source| StoreError::Open { path: path.clone(), source };
        db.pragma_update(None, "synchronous", "NORMAL").map_err(sql)?;
        // Roll-ups sort some megabytes at a time; in files that would wear the disk for nothing.
        db.pragma_update(None, "temp_store", "MEMORY").map_err(sql)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        db.execute_batch(SCHEMA).map_err(sql)?;
        db.execute_batch(evidence::SCHEMA).map_err(sql)?;
        db.execute_batch(rollup::DAY_SCHEMA).map_err(sql)?;
        copy_names(&db, &self.ids, &self.names).map_err(sql)?;
        // A power cut may take the last flushes with it, but not what a sink has sent of them, or
        // what is folded into the roll-ups of the month.
        let flushed: i64 = db
            .query_row(
                "SELECT max((SELECT coalesce(max(seq), 0) FROM flush),
                            (SELECT coalesce(max(seq), 0) FROM record_flush))",
                [],
                |row| row.get(0),
            )
            .map_err(sql)?;
        let sent = state.cursor_max(name).map_err(sql)?;
        let month = self.month(rollup::month_of(name))?;
        rollup::rewind(&db, month, name).map_err(sql)?;
        let folded = rollup::rolled(month, "day", name).map_err(sql)?;
        Ok(Day { name: name.to_owned(), db, seq: 1 + flushed.max(sent).max(folded) })
    }

    /// Opens a database; a damaged one is set aside, told, and a new one begun (`true`).
    fn open_or_aside(&mut self, path: &Path, then: &str) -> Result<(Connection, bool), StoreError> {
        match open_checked(path) {
            Err(StoreError::Corrupt { what, .. }) => {
                let kept = set_aside(path)?;
                let notice = format!(
                    "The history file {} was damaged ({what}); it was moved to {} and a new one \
                     begun.{then}",
                    path.display(),
                    kept.display()
                );
                tracing::warn!("{notice}");
                self.notices.push(notice);
                Ok((open_checked(path)?, true))
            }
            other => Ok((other?, false)),
        }
    }

    /// The file of roll-ups of a month. A damaged one is made again from the days that are left.
    fn month(&mut self, name: &str) -> Result<&mut Connection, StoreError> {
        if self.month.as_ref().is_none_or(|(open, _)| open != name) {
            if let Some((_, db)) = self.month.take()
                && let Err(error) = close_day(db)
            {
                tracing::debug!(%error, "A month of roll-ups is being read; it stays as it is.");
            }
            let path = self.dir.join(rollup::month_file(name));
            let then = " Its roll-ups are made again from the days that are left.";
            let (db, again) = self.open_or_aside(&path, then)?;
            let sql = |source| StoreError::Open { path: path.clone(), source };
            db.pragma_update(None, "synchronous", "NORMAL").map_err(sql)?;
            db.pragma_update(None, "temp_store", "MEMORY").map_err(sql)?;
            db.execute_batch(rollup::MONTH_SCHEMA).map_err(sql)?;
            copy_names(&db, &self.ids, &self.names).map_err(sql)?;
            if again {
                let days = rollup::day_files(&self.dir).into_iter().map(|(day, _)| day);
                let open = |day: &String| self.days.iter().any(|d| d.name == *day);
                let days: Vec<String> = days
                    .filter(|day| rollup::month_of(day) == name && !open(day))
                    .filter(|day| !self.backlog.contains(day))
                    .collect();
                self.backlog.extend(days);
            }
            self.month = Some((name.to_owned(), db));
        }
        self.month.as_mut().map(|(_, db)| db).ok_or(StoreError::Unsound)
    }

    /// One round of roll-ups over the open days; whether more is left.
    pub(super) fn roll(&mut self) -> Result<bool, StoreError> {
        let mut more = false;
        let mut days = std::mem::take(&mut self.days);
        let mut rolled = Ok(());
        for day in &mut days {
            match self.roll_day(day) {
                Ok(left) => more |= left,
                Err(error) => rolled = Err(error),
            }
        }
        self.days = days;
        rolled.map(|()| more)
    }

    fn roll_day(&mut self, day: &mut Day) -> Result<bool, StoreError> {
        let month = self.month(rollup::month_of(&day.name))?;
        let rolled = rollup::roll(&mut day.db, month, &day.name);
        if rolled.is_err() {
            // Opened again, it is checked again, and set aside when it is damaged.
            self.month = None;
        }
        rolled.map_err(|source| StoreError::Sql { what: "make roll-ups", source })
    }

    /// Puts open days before `today` on the backlog: late rows for them are not to be expected.
    pub(super) fn retire(&mut self, today: &str) {
        let (over, open) =
            std::mem::take(&mut self.days).into_iter().partition(|day| day.name.as_str() < today);
        self.days = open;
        let over: Vec<Day> = over;
        self.backlog.extend(over.into_iter().map(|day| day.name));
    }

    /// One round on the backlog; whether more is left. A day that is open is not on it.
    pub(super) fn finish(&mut self) -> Result<bool, StoreError> {
        let mut day = match self.finishing.take() {
            Some(day) => day,
            None => match self.next_to_finish()? {
                Some(day) => day,
                None => return Ok(false),
            },
        };
        match self.roll_day(&mut day) {
            Ok(true) => {
                self.finishing = Some(day);
                return Ok(true);
            }
            Ok(false) => {}
            Err(StoreError::Sql { source, .. }) if is_damage(&source) => {
                drop(day.db);
                // Whichever of the two files it is, the check of its pages tells.
                self.tell_if_damaged(&day.name)?;
                return Ok(!self.backlog.is_empty());
            }
            Err(error) => {
                self.backlog.push_back(day.name);
                return Err(error);
            }
        }
        if let Err(source) = close_day(day.db) {
            self.backlog.push_back(day.name);
            return Err(StoreError::Sql { what: "close a day of history", source });
        }
        Ok(!self.backlog.is_empty())
    }

    fn next_to_finish(&mut self) -> Result<Option<Day>, StoreError> {
        while let Some(name) = self.backlog.pop_front() {
            let path = self.path_of(&name);
            if self.days.iter().any(|day| day.name == name) || !path.exists() {
                continue;
            }
            let db = match open_to_finish(&path) {
                Ok(db) => db,
                Err(source) if is_damage(&source) => {
                    self.tell_if_damaged(&name)?;
                    continue;
                }
                Err(source) => {
                    self.backlog.push_back(name);
                    return Err(StoreError::Open { path, source });
                }
            };
            let month = self.month(rollup::month_of(&name))?;
            rollup::rewind(&db, month, &name)
                .map_err(|source| StoreError::Open { path, source })?;
            // No sample is written through this one, so it needs no number.
            return Ok(Some(Day { name, db, seq: 0 }));
        }
        Ok(None)
    }

    /// Checks a closed day's file, and sets it aside when it is damaged.
    fn tell_if_damaged(&mut self, name: &str) -> Result<(), StoreError> {
        let path = self.path_of(name);
        let Err(StoreError::Corrupt { what, .. }) = open_checked(&path) else { return Ok(()) };
        let kept = set_aside(&path)?;
        let (path, kept) = (path.display(), kept.display());
        let notice =
            format!("The history file {path} was damaged ({what}); it was moved to {kept}.");
        tracing::warn!("{notice}");
        self.notices.push(notice);
        Ok(())
    }

    fn path_of(&self, day: &str) -> PathBuf {
        self.dir.join(format!("history-{day}.db"))
    }

    /// Days that must not be removed: they are open, or about to be.
    pub(super) fn is_open(&self, name: &str) -> bool {
        self.days.iter().chain(&self.finishing).any(|day| day.name == name)
    }

    /// Whether the month's file is the open one.
    pub(super) fn is_month_open(&self, name: &str) -> bool {
        self.month.as_ref().is_some_and(|(open, _)| open == name)
    }

    pub(super) fn close(self) -> rusqlite::Result<()> {
        let days = self.days.into_iter().chain(self.finishing).map(|day| day.db);
        for db in days.chain(self.month.map(|(_, db)| db)) {
            db.close().map_err(|(_, error)| error)?;
        }
        Ok(())
    }
}

/// The names go into each file, so that it can be read alone.
fn copy_names(db: &Connection, ids: &Ids, names: &Names) -> rusqlite::Result<()> {
    let tx = db.unchecked_transaction()?;
    {
        let mut statement =
            tx.prepare("INSERT OR REPLACE INTO name(id, kind, name, unit) VALUES(?, ?, ?, ?)")?;
        for (kind, ids, names) in [
            ("tag", &ids.tags, &names.tags),
            ("feature", &ids.features, &names.features),
            ("model", &ids.models, &names.models),
            ("characteristic", &ids.characteristics, &names.characteristics),
        ] {
            for (id, named) in ids.iter().zip(names) {
                statement.execute(params![id, kind, named.name, named.unit])?;
            }
        }
    }
    tx.commit()
}

/// A closed day as it is, without the check of every page: that would read gigabytes.
fn open_to_finish(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY_MAX)?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS flush(
        seq INTEGER PRIMARY KEY, min_ts INTEGER, max_ts INTEGER, rows INTEGER);",
    )?;
    db.execute_batch(rollup::DAY_SCHEMA)?;
    Ok(db)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
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

/// Whether a sink sends the row: evidence stays here, decisions and ledger are in `state.db`.
fn is_sent(record: &Record) -> bool {
    match record {
        Record::Part(_)
        | Record::Feature(_)
        | Record::Score(_)
        | Record::Contribution(_)
        | Record::Forecast(_)
        | Record::Label(_) => true,
        Record::Check(_)
        | Record::Input(_)
        | Record::Wish(_)
        | Record::Decision(_)
        | Record::Ledger(_) => false,
    }
}

/// Notes the times of rows that are not samples, so that a sink can read whole ranges of them: at
/// most 2000 rows and 60 s each. Returns the next number.
fn put_record_flushes(
    tx: &Transaction<'_>,
    mut seq: i64,
    mut stamps: Vec<i64>,
) -> rusqlite::Result<i64> {
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
        Record::Forecast(row) => put_forecast(tx, ts, row, of(&ids.models, row.model.index()))?,
        Record::Check(row) => evidence::put_check(tx, boot, row)?,
        Record::Input(row) => evidence::put_input(tx, boot, row, ids)?,
        Record::Wish(row) => evidence::put_wish(tx, boot, row)?,
        // These live in state.db.
        Record::Decision(_) | Record::Ledger(_) => {}
    }
    Ok(())
}

fn put_forecast(
    tx: &Transaction<'_>,
    ts: i64,
    row: &ForecastRow,
    model: Option<i64>,
) -> rusqlite::Result<()> {
    let made = &row.forecast;
    let (early, late) = made.to_limit_range.unzip();
    tx.prepare_cached(
        "INSERT OR REPLACE INTO forecast(ts, part, model, value, low, high, trend, to_limit, early,
           late)
         VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        ts,
        row.part,
        model,
        made.value,
        made.low,
        made.high,
        made.trend.word(),
        made.to_limit,
        early,
        late
    ])?;
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
