//! The store's files as a reader sees them: opened read-only, with or without a service beside.
//!
//! Each file's own `name` table says what its ids mean, so files of an older `state.db` are read
//! right too.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::table::What;

const DAY: i64 = 86_400_000_000_000;

/// Why something could not be read, or handed on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No store is there.
    #[error("there is no history in {}", .dir.display())]
    NoStore {
        /// The data folder.
        dir: PathBuf,
    },
    /// A database could not be opened.
    #[error("cannot open {}", .path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A database could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A file of samples could not be read.
    #[error("{}: {what}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why, with its row where one is to blame.
        what: String,
    },
    /// The rows could not be written where they should go.
    #[error("cannot write the rows")]
    Write(#[from] io::Error),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// A tag, as selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) unit: String,
}

/// Told the time [ns] up to which rows are read; `false` asks to stop.
type Hook = Rc<dyn Fn(i64) -> bool>;

/// The files of one data folder.
pub struct Archive {
    dir: PathBuf,
    days: BTreeMap<String, PathBuf>,
    months: BTreeMap<String, PathBuf>,
    hook: Hook,
}

/// An open database with its path, for messages.
pub(super) struct Db {
    pub(super) path: PathBuf,
    pub(super) db: Connection,
    hook: Hook,
}

impl Db {
    fn open(path: &Path, hook: &Hook) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Open { path: path.to_owned(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let opened = Connection::open_with_flags(path, flags).and_then(|db| {
            db.busy_timeout(Duration::from_secs(5))?;
            db.query_row("SELECT count(*) FROM sqlite_master", [], |_| Ok(()))?;
            Ok(db)
        });
        let db = match opened {
            // A folder that may not be written, and no service: then nothing changes the file.
            Err(_) if !beside(path, "-wal").exists() => {
                let escaped = path.to_string_lossy().replace('%', "%25").replace('?', "%3f");
                let uri = format!("file:{}?immutable=1", escaped.replace('#', "%23"));
                Connection::open_with_flags(uri, flags).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
        Ok(Self { path: path.to_owned(), db, hook: Rc::clone(hook) })
    }

    /// Puts the file's path to an error of SQLite.
    pub(super) fn read<T>(&self, result: rusqlite::Result<T>) -> Result<T, ReadError> {
        result.map_err(|source| ReadError::Read { path: self.path.clone(), source })
    }

    pub(super) fn has_table(&self, table: &str) -> Result<bool, ReadError> {
        let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?";
        let found = self.db.query_row(sql, [table], |_| Ok(())).optional();
        Ok(self.read(found)?.is_some())
    }

    /// Ids of the selected tags in this file, with their place in the selection.
    pub(super) fn ids(&self, tags: &[Tag]) -> Result<HashMap<i64, usize>, ReadError> {
        let places: HashMap<&str, usize> =
            tags.iter().enumerate().map(|(place, tag)| (tag.name.as_str(), place)).collect();
        let mut ids = HashMap::new();
        for (id, name, _) in self.names("tag")? {
            if let Some(place) = places.get(name.as_str()) {
                ids.insert(id, *place);
            }
        }
        Ok(ids)
    }

    pub(super) fn names(&self, kind: &str) -> Result<Vec<(i64, String, String)>, ReadError> {
        if !self.has_table("name")? {
            return Ok(Vec::new());
        }
        let rows = || {
            let mut statement =
                self.db.prepare_cached("SELECT id, name, unit FROM name WHERE kind = ?")?;
            let rows =
                statement.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        self.read(rows())
    }

    /// Rows of `sql` (bounds ?1 and ?2 on `time` of `table`), a slice of time after the other: no
    /// transaction lasts longer than one slice.
    pub(super) fn sliced(
        &self,
        (table, time): (&str, &str),
        sql: &str,
        (from, to, slice): (i64, i64, i64),
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let next = format!("SELECT min({time}) FROM {table} WHERE {time} >= ?1 AND {time} < ?2");
        let mut next = self.read(self.db.prepare_cached(&next))?;
        let mut rows = self.read(self.db.prepare_cached(sql))?;
        let mut at = from;
        loop {
            let begin: Option<i64> = self.read(next.query_row([at, to], |row| row.get(0)))?;
            let Some(begin) = begin else { return Ok(()) };
            // Slices begin on their grid, so that no bucket of a roll-up is cut.
            let end = (begin - begin.rem_euclid(slice)).saturating_add(slice).min(to);
            let mut found = self.read(rows.query([begin.max(at), end]))?;
            while let Some(row) = self.read(found.next())? {
                each(row)?;
            }
            drop(found);
            at = end;
            if !(self.hook)(at) {
                return Err(ReadError::Interrupted);
            }
        }
    }
}

impl Archive {
    /// Looks at what is in a data folder.
    ///
    /// # Errors
    /// [`ReadError::NoStore`] when there is nothing.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        let days: BTreeMap<_, _> = crate::store::day_files(dir).into_iter().collect();
        let months: BTreeMap<_, _> = crate::store::month_files(dir).into_iter().collect();
        if days.is_empty() && months.is_empty() && !dir.join("state.db").exists() {
            return Err(ReadError::NoStore { dir: dir.to_owned() });
        }
        Ok(Self { dir: dir.to_owned(), days, months, hook: Rc::new(|_| true) })
    }

    /// Calls `hook` after each slice with the time [ns] that is reached; `false` stops the reading
    /// with [`ReadError::Interrupted`].
    #[must_use]
    pub fn watched(mut self, hook: impl Fn(i64) -> bool + 'static) -> Self {
        self.hook = Rc::new(hook);
        self
    }

    pub(super) fn state(&self) -> Result<Option<Db>, ReadError> {
        let path = self.dir.join("state.db");
        if path.exists() { Db::open(&path, &self.hook).map(Some) } else { Ok(None) }
    }

    pub(super) fn day(&self, day: &str) -> Result<Option<Db>, ReadError> {
        // Its retention may have ended since the folder was looked at.
        let path = self.days.get(day).filter(|path| path.exists());
        path.map(|path| Db::open(path, &self.hook)).transpose()
    }

    pub(super) fn month(&self, month: &str) -> Result<Option<Db>, ReadError> {
        let path = self.months.get(month).filter(|path| path.exists());
        path.map(|path| Db::open(path, &self.hook)).transpose()
    }

    /// Days of a range that have a file of their own, in order.
    pub(super) fn days_in(&self, from: i64, to: i64) -> Vec<String> {
        let days = self.days.keys().filter(|day| {
            day_begin(day).is_some_and(|begin| begin < to && begin.saturating_add(DAY) > from)
        });
        days.cloned().collect()
    }

    /// Days of a range of which there may be roll-ups, in order.
    pub(super) fn rolled_days_in(&self, from: i64, to: i64) -> Vec<String> {
        let months = self.months.keys();
        let begins = months.flat_map(|month| {
            (1..=31).filter_map(move |day| Some(format!("{month}{day:02}")).filter(|d| is_day(d)))
        });
        let mut days: Vec<String> = begins
            .filter(|day| {
                day_begin(day).is_some_and(|begin| begin < to && begin.saturating_add(DAY) > from)
            })
            .collect();
        days.extend(self.days_in(from, to));
        days.sort();
        days.dedup();
        days
    }

    /// All names that rows of this kind may have, with their units.
    ///
    /// # Errors
    /// [`ReadError`] when a file cannot be read.
    pub fn names(&self, what: What) -> Result<Vec<(String, String)>, ReadError> {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        match what.names() {
            super::table::NamesOf::Kind(kind) => {
                // Newest last, so that its unit stands.
                let mut files = Vec::new();
                for month in self.months.keys() {
                    files.extend(self.month(month)?);
                }
                for day in self.days.keys() {
                    files.extend(self.day(day)?);
                }
                files.extend(self.state()?);
                for file in files {
                    for (_, name, unit) in file.names(kind)? {
                        found.insert(name, unit);
                    }
                }
            }
            super::table::NamesOf::Column(table, column) => {
                if let Some(state) = self.state()? {
                    let sql = format!("SELECT DISTINCT {column} FROM {table}");
                    let names = || {
                        let mut statement = state.db.prepare(&sql)?;
                        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
                        rows.collect::<rusqlite::Result<Vec<_>>>()
                    };
                    found.extend(state.read(names())?.into_iter().map(|n| (n, String::new())));
                }
            }
            super::table::NamesOf::None => {}
        }
        Ok(found.into_iter().collect())
    }

    /// Times of the first and the last row of a kind [ns].
    ///
    /// # Errors
    /// [`ReadError`] when a file cannot be read.
    pub fn extent(&self, what: What, rolled: bool) -> Result<Option<(i64, i64)>, ReadError> {
        let (table, time) = what.table();
        let mut files: Vec<(Db, &str)> = Vec::new();
        if what.is_in_state() {
            files.extend(self.state()?.map(|db| (db, table)));
        } else {
            for day in self.days.keys() {
                files.extend(self.day(day)?.map(|db| (db, table)));
            }
            for month in self.months.keys().filter(|_| rolled) {
                files.extend(self.month(month)?.map(|db| (db, "rollup_1m")));
            }
        }
        let mut extent: Option<(i64, i64)> = None;
        for (file, table) in files {
            if !file.has_table(table)? {
                continue;
            }
            // One at a time, so that SQLite takes each from the end of the key.
            let bound = |which: &str| {
                let sql = format!("SELECT {which}({time}) FROM {table}");
                file.read(file.db.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0)))
            };
            if let (Some(first), Some(last)) = (bound("min")?, bound("max")?) {
                let (a, b) = extent.unwrap_or((first, last));
                extent = Some((a.min(first), b.max(last)));
            }
        }
        Ok(extent)
    }
}

/// Begin of a day (`YYYYMMDD`) [ns].
pub(super) fn day_begin(day: &str) -> Option<i64> {
    let date = chrono::NaiveDate::parse_from_str(day, "%Y%m%d").ok()?;
    date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_nanos_opt()
}

/// The part of a range that lies in a day.
pub(super) fn within_day(day: &str, from: i64, to: i64) -> (i64, i64) {
    let begin = day_begin(day).unwrap_or(i64::MAX);
    (from.max(begin), to.min(begin.saturating_add(DAY)))
}

fn is_day(day: &str) -> bool {
    chrono::NaiveDate::parse_from_str(day, "%Y%m%d").is_ok()
}

fn beside(path: &Path, tail: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(tail);
    PathBuf::from(name)
}
