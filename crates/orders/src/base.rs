//! `work.db`: the desk's state, what people were told, what was heard of alarms, closed cases, and the
//! orders of the book.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};
use trimloop_core::time::Utc;
use trimloop_work::desk::{Case, Closing};
use trimloop_work::key::ExtKey;
use trimloop_work::notify::NotifyState;
use trimloop_work::rate::Logged;
use trimloop_work::works::{AlarmNews, Heard, WorksState};

use crate::findings::Outcome;
use crate::meters::Meters;
use crate::rows::Cursor;

/// Name of the file in the data folder.
pub const FILE: &str = "work.db";
/// How long a request waits for another process that writes.
const BUSY: Duration = Duration::from_secs(2);
/// Newest lines of what people were told that are kept.
const TOLD_MAX: i64 = 10_000;
/// Newest lines of the alarm log that are kept: at the rate of a flood without end, a week.
const LOG_MAX: i64 = 20_000;
/// Most closed cases that are read at once: more than anybody reads in a list.
const CLOSED_MAX: u32 = 1000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS desk(one INTEGER PRIMARY KEY CHECK(one = 1), body TEXT NOT NULL)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told(
  id INTEGER PRIMARY KEY, utc INTEGER NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL,
  detail TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS closed_case(
  key TEXT PRIMARY KEY, utc INTEGER NOT NULL, how TEXT NOT NULL, body TEXT NOT NULL)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcome(
  key TEXT NOT NULL, source TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY(key, source))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarm_log(
  id INTEGER PRIMARY KEY, utc INTEGER NOT NULL, alarm TEXT NOT NULL, priority INTEGER NOT NULL,
  what TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS alarm_log_utc ON alarm_log(utc);
CREATE TABLE IF NOT EXISTS remote(key TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS work_order(
  id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, title TEXT NOT NULL, body TEXT NOT NULL,
  priority INTEGER NOT NULL, asset TEXT NOT NULL, mode TEXT NOT NULL, due INTEGER,
  assignee TEXT, state TEXT NOT NULL, made INTEGER NOT NULL, updated INTEGER NOT NULL,
  problem TEXT, cause TEXT, remedy TEXT);
CREATE INDEX IF NOT EXISTS work_order_updated ON work_order(updated);
CREATE TABLE IF NOT EXISTS order_part(
  work_order INTEGER NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL,
  reference TEXT NOT NULL, quantity INTEGER NOT NULL, PRIMARY KEY(work_order, place))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS part_used(
  work_order INTEGER NOT NULL, place INTEGER NOT NULL, reference TEXT NOT NULL,
  quantity INTEGER NOT NULL, PRIMARY KEY(work_order, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS order_comment(
  id INTEGER PRIMARY KEY, work_order INTEGER NOT NULL, utc INTEGER NOT NULL, actor TEXT NOT NULL,
  text TEXT NOT NULL, marker TEXT);
";

/// Why `work.db` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The file.
    #[error("cannot use {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// What is in it was not written by this program.
    #[error("{} holds what this version cannot have written: {why}", .path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What.
        why: String,
    },
}

/// Everything that must come back after a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Layout of this text.
    pub version: u32,
    /// Up to where the recorder was read.
    pub cursor: Cursor,
    /// The desk's time [ns UTC]: it never runs backwards.
    pub at: i64,
    /// The other system was asked for changes since then [ns UTC].
    pub polled: i64,
    /// Newest part that a row named; 0 before the first.
    #[serde(default)]
    pub part: i64,
    /// What counts.
    #[serde(default)]
    pub meters: Meters,
    /// What people are told away from the page.
    #[serde(default)]
    pub notify: NotifyState,
    /// Alarms, cases, requests.
    pub works: WorksState,
}

/// Layout that this version writes.
pub const VERSION: u32 = 1;

/// A closed case, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedCase {
    /// The case as it was.
    pub case: Case,
    /// When it was closed.
    pub at: Utc,
    /// How.
    pub how: String,
}

/// A line of what people were told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldLine {
    /// When [ns UTC].
    pub utc: i64,
    /// Of which case.
    pub key: String,
    /// What: `opened`, `proposed`, `ordered`, `order`, `closed`, `unknown_word`.
    pub what: String,
    /// In which way.
    pub detail: String,
}

/// What a round adds to the file beside the desk's state.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Told.
    pub told: Vec<ToldLine>,
    /// Closed, with how.
    pub closed: Vec<(Case, Closing, Utc)>,
    /// Names of orders at the other system.
    pub remote: Vec<(ExtKey, String)>,
    /// What came of orders.
    pub outcomes: Vec<Outcome>,
    /// What was heard of alarms.
    pub alarms: Vec<AlarmNews>,
}

impl News {
    /// Nothing is to be stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
            && self.closed.is_empty()
            && self.remote.is_empty()
            && self.outcomes.is_empty()
            && self.alarms.is_empty()
    }
}

/// The open file. One process writes it; others may read meanwhile.
#[derive(Debug)]
pub struct Base {
    path: PathBuf,
    db: Connection,
    /// As it is on disk.
    saved: Option<String>,
}

impl Base {
    /// Opens the file of a data folder, and makes it where it is not there.
    ///
    /// # Errors
    /// [`BaseError::File`].
    pub fn open(data: &Path) -> Result<Self, BaseError> {
        let path = data.join(FILE);
        let db = connect(&path).map_err(|source| BaseError::File { path: path.clone(), source })?;
        Ok(Self { path, db, saved: None })
    }

    /// Opens the file of a data folder to look at it; `None` where there is none.
    ///
    /// # Errors
    /// [`BaseError::File`].
    pub fn look(data: &Path) -> Result<Option<Self>, BaseError> {
        let db = look(data)?;
        Ok(db.map(|db| Self { path: data.join(FILE), db, saved: None }))
    }

    fn file(&self, source: rusqlite::Error) -> BaseError {
        BaseError::File { path: self.path.clone(), source }
    }

    /// What was stored last; `None` before the first round.
    ///
    /// # Errors
    /// [`BaseError`], also when the text is of another program or version.
    pub fn stored(&mut self) -> Result<Option<Stored>, BaseError> {
        let body: Option<String> = self
            .db
            .query_row("SELECT body FROM desk", [], |row| row.get(0))
            .optional()
            .map_err(|source| self.file(source))?;
        let Some(body) = body else { return Ok(None) };
        let broken = |why: String| BaseError::Broken { path: self.path.clone(), why };
        let stored: Stored =
            serde_json::from_str(&body).map_err(|error| broken(error.to_string()))?;
        if stored.version != VERSION {
            return Err(broken(format!("layout {}; this one writes {VERSION}", stored.version)));
        }
        self.saved = Some(body);
        Ok(Some(stored))
    }

    /// Stores a round; true when there was something to store. On disk when it returns.
    ///
    /// # Errors
    /// [`BaseError::File`]; nothing of the round is stored then.
    pub fn save(&mut self, stored: &Stored, news: &News) -> Result<bool, BaseError> {
        let body = serde_json::to_string(stored).map_err(|error| BaseError::Broken {
            path: self.path.clone(),
            why: error.to_string(),
        })?;
        let is_same = self.saved.as_deref() == Some(body.as_str());
        if is_same && news.is_empty() {
            return Ok(false);
        }
        let path = self.path.clone();
        let file = |source| BaseError::File { path: path.clone(), source };
        let tx = self.db.transaction().map_err(file)?;
        put(&tx, &body, news).map_err(file)?;
        tx.commit().map_err(file)?;
        self.saved = Some(body);
        Ok(true)
    }

    /// The name of an order at the other system.
    ///
    /// # Errors
    /// [`BaseError::File`].
    pub fn remote(&self, key: ExtKey) -> Result<Option<String>, BaseError> {
        self.db
            .query_row("SELECT id FROM remote WHERE key = ?", [key.to_string()], |row| row.get(0))
            .optional()
            .map_err(|source| self.file(source))
    }

    /// The newest closed cases, newest first.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn closed(&self, most: u32) -> Result<Vec<ClosedCase>, BaseError> {
        self.closed_within([i64::MIN, i64::MAX], most)
    }

    /// The newest cases that were closed from one time on and before another, newest first.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn closed_from(&self, [from, to]: [Utc; 2]) -> Result<Vec<ClosedCase>, BaseError> {
        self.closed_within([from.as_nanos(), to.as_nanos()], CLOSED_MAX)
    }

    fn closed_within(&self, [from, to]: [i64; 2], most: u32) -> Result<Vec<ClosedCase>, BaseError> {
        let sql = "SELECT utc, how, body FROM closed_case WHERE utc >= ? AND utc < ?
                   ORDER BY utc DESC, key LIMIT ?";
        let mut statement = self.db.prepare(sql).map_err(|source| self.file(source))?;
        let rows = statement
            .query_map(params![from, to, most], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })
            .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
            .map_err(|source| self.file(source))?;
        let read = |(utc, how, body): (i64, String, String)| {
            let case = serde_json::from_str(&body).map_err(|error| BaseError::Broken {
                path: self.path.clone(),
                why: error.to_string(),
            })?;
            Ok(ClosedCase { case, at: Utc::from_nanos(utc), how })
        };
        rows.into_iter().map(read).collect()
    }

    /// What came of orders, those of one fault in the order of their numbers.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn outcomes(&self) -> Result<Vec<Outcome>, BaseError> {
        if !self.has("outcome")? {
            return Ok(Vec::new());
        }
        let read = |sql: &str| {
            let mut statement = self.db.prepare(sql)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        };
        let bodies = read("SELECT body FROM outcome").map_err(|source| self.file(source))?;
        let outcome = |body: &String| self.outcome_of(body);
        let mut all = bodies.iter().map(outcome).collect::<Result<Vec<_>, _>>()?;
        all.sort_by(|a, b| (a.key, &a.source).cmp(&(b.key, &b.source)));
        Ok(all)
    }

    /// What came of one order.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn outcome(&self, key: ExtKey, source: &str) -> Result<Option<Outcome>, BaseError> {
        let sql = "SELECT body FROM outcome WHERE key = ? AND source = ?";
        let body: Option<String> = self
            .db
            .query_row(sql, params![key.to_string(), source], |row| row.get(0))
            .optional()
            .map_err(|source| self.file(source))?;
        body.as_ref().map(|body| self.outcome_of(body)).transpose()
    }

    fn outcome_of(&self, body: &str) -> Result<Outcome, BaseError> {
        serde_json::from_str(body)
            .map_err(|error| BaseError::Broken { path: self.path.clone(), why: error.to_string() })
    }

    /// What was heard of alarms in a time, oldest first.
    ///
    /// # Errors
    /// [`BaseError::File`].
    pub fn alarm_log(&self, from: Utc, to: Utc) -> Result<Vec<Logged>, BaseError> {
        if !self.has("alarm_log")? {
            return Ok(Vec::new());
        }
        let sql = "SELECT utc, alarm, what FROM alarm_log WHERE utc >= ? AND utc < ? ORDER BY id";
        let read = || {
            let mut statement = self.db.prepare(sql)?;
            let rows = statement.query_map(params![from.as_nanos(), to.as_nanos()], |row| {
                let what = Heard::parse(&row.get::<_, String>(2)?);
                let (at, name) = (Utc::from_nanos(row.get(0)?), row.get(1)?);
                Ok(what.map(|what| Logged { at, name, what }))
            })?;
            let rows: Vec<Option<Logged>> = rows.collect::<rusqlite::Result<_>>()?;
            Ok(rows.into_iter().flatten().collect())
        };
        read().map_err(|source| self.file(source))
    }

    /// First and newest line of the alarm log; `None` where there is none.
    ///
    /// # Errors
    /// [`BaseError::File`].
    pub fn alarm_log_extent(&self) -> Result<Option<(Utc, Utc)>, BaseError> {
        if !self.has("alarm_log")? {
            return Ok(None);
        }
        let extent = self.db.query_row("SELECT min(utc), max(utc) FROM alarm_log", [], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
        });
        let extent = extent.map_err(|source| self.file(source))?;
        Ok(extent.map(|(first, last)| (Utc::from_nanos(first), Utc::from_nanos(last))))
    }

    /// Whether a table is there: a file of before that nobody opened for writing since may lack it.
    fn has(&self, table: &str) -> Result<bool, BaseError> {
        let there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)";
        self.db.query_row(there, [table], |row| row.get(0)).map_err(|source| self.file(source))
    }

    /// What people were told of a case, or of all, newest first.
    ///
    /// # Errors
    /// [`BaseError::File`].
    pub fn told(&self, key: Option<&str>, most: u32) -> Result<Vec<ToldLine>, BaseError> {
        let sql = "SELECT utc, key, what, detail FROM told WHERE ?1 IS NULL OR key = ?1
                   ORDER BY id DESC LIMIT ?2";
        let mut statement = self.db.prepare(sql).map_err(|source| self.file(source))?;
        let rows = statement.query_map(params![key, most], |row| {
            Ok(ToldLine {
                utc: row.get(0)?,
                key: row.get(1)?,
                what: row.get(2)?,
                detail: row.get(3)?,
            })
        });
        rows.and_then(Iterator::collect).map_err(|source| self.file(source))
    }
}

/// A connection that only looks; `None` where there is no file.
pub(crate) fn look(data: &Path) -> Result<Option<Connection>, BaseError> {
    let path = data.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&path, flags);
    match opened.and_then(|db| db.busy_timeout(BUSY).map(|()| db)) {
        Ok(db) => Ok(Some(db)),
        Err(source) => Err(BaseError::File { path, source }),
    }
}

/// A connection that writes and is durable: a commit has reached the disk.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute_batch(SCHEMA)?;
    Ok(db)
}

fn put(tx: &Transaction<'_>, body: &str, news: &News) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT OR REPLACE INTO desk(one, body) VALUES(1, ?)")?.execute([body])?;
    for line in &news.told {
        tx.prepare_cached("INSERT INTO told(utc, key, what, detail) VALUES(?, ?, ?, ?)")?
            .execute(params![line.utc, line.key, line.what, line.detail])?;
    }
    if !news.told.is_empty() {
        tx.prepare_cached("DELETE FROM told WHERE id <= (SELECT max(id) FROM told) - ?")?
            .execute([TOLD_MAX])?;
    }
    for (case, how, at) in &news.closed {
        // A case is plain data; turning it into text cannot fail.
        let body = serde_json::to_string(case).unwrap_or_default();
        tx.prepare_cached(
            "INSERT OR REPLACE INTO closed_case(key, utc, how, body) VALUES(?, ?, ?, ?)",
        )?
        .execute(params![case.key.to_string(), at.as_nanos(), how.word(), body])?;
    }
    for outcome in &news.outcomes {
        let body = serde_json::to_string(outcome).unwrap_or_default();
        tx.prepare_cached("INSERT OR REPLACE INTO outcome(key, source, body) VALUES(?, ?, ?)")?
            .execute(params![outcome.key.to_string(), outcome.source, body])?;
    }
    for news in &news.alarms {
        tx.prepare_cached("INSERT INTO alarm_log(utc, alarm, priority, what) VALUES(?, ?, ?, ?)")?
            .execute(params![
                news.at.as_nanos(),
                news.subject.name(),
                news.priority,
                news.what.word()
            ])?;
    }
    if !news.alarms.is_empty() {
        tx.prepare_cached("DELETE FROM alarm_log WHERE id <= (SELECT max(id) FROM alarm_log) - ?")?
            .execute([LOG_MAX])?;
    }
    for (key, id) in &news.remote {
        tx.prepare_cached("INSERT OR REPLACE INTO remote(key, id) VALUES(?, ?)")?
            .execute(params![key.to_string(), id])?;
    }
    Ok(())
}
