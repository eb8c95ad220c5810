//! Labels that people and laboratories bring: `labels.db` in the data folder.
//!
//! - A label is known by part, characteristic and source. Given again it changes nothing; given with
//!   another value it is a correction: a new revision, behind which the old ones stay.
//! - A value that was corrected and comes back with an old file is not taken again, so files may be
//!   imported as often as they come, in any order.
//! - A file of its own, at full durability: the running service holds the writer of `state.db`.
//!
//! Part ids are kept as texts, as they are written: `007` and a number of 20 digits stay what they
//! are.

mod fetch;
mod rows;
mod table;

pub use fetch::{FetchError, Request, fetch};
pub use rows::{Joined, characteristics, put};
pub use table::{Titles, labels_of};

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::learn::is_name;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};

/// Name in the data folder.
pub const FILE: &str = "labels.db";
/// Layout, kept in its `user_version`.
const VERSION: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS label(
  part TEXT NOT NULL, characteristic TEXT NOT NULL, source TEXT NOT NULL,
  revision INTEGER NOT NULL, value NOT NULL, unit TEXT NOT NULL, measured INTEGER,
  imported INTEGER NOT NULL, origin TEXT NOT NULL, actor TEXT NOT NULL,
  PRIMARY KEY(part, characteristic, source, revision)) WITHOUT ROWID;
PRAGMA user_version = 1;";

/// A measured value, or a word such as `short shot`.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelValue {
    /// A finite number.
    Number(f64),
    /// Anything else.
    Text(String),
}

impl LabelValue {
    /// A number where it is one; `01` is a text, it would lose its zero.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let number = text.parse().ok().filter(|x: &f64| x.is_finite() && !is_name(text));
        number.map_or_else(|| Self::Text(text.to_owned()), Self::Number)
    }

    /// As short as it can be read back.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Number(x) => crate::export::number_text(*x),
            Self::Text(text) => text.clone(),
        }
    }
}

/// A label as it is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Part id, as written.
    pub part: String,
    /// What is measured.
    pub characteristic: String,
    /// Who measured; empty where that is not said.
    pub source: String,
    /// Its value.
    pub value: LabelValue,
    /// Its unit; empty for none.
    pub unit: String,
    /// When it was measured [ns UTC].
    pub measured: Option<i64>,
}

/// A label as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// What was given.
    pub label: Label,
    /// 1 for the first value, and one more for each correction.
    pub revision: i64,
    /// When it was imported [ns UTC].
    pub imported: i64,
    /// File or address it is from.
    pub origin: String,
    /// Who imported it.
    pub actor: String,
}

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Labels that were not there.
    pub added: usize,
    /// Labels that are there with this value.
    pub same: usize,
    /// Labels that got another value; the old one is kept.
    pub changed: usize,
    /// Values that were corrected before, and were not taken again.
    pub outdated: usize,
    /// Labels that the table itself gives again; the last one counts.
    pub repeated: usize,
}

/// Where labels are from, who brings them, when.
#[derive(Clone, Debug)]
pub struct Origin {
    /// File or address.
    pub place: String,
    /// Who.
    pub actor: String,
    /// When [ns UTC].
    pub utc: i64,
    /// Whether a value that was corrected before counts again.
    pub reinstate: bool,
}

/// Why labels cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The file.
    #[error("the labels in {} cannot be used", .path.display())]
    Sql {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A later version of trimloop wrote it.
    #[error("{} has layout {found}, this trimloop knows {VERSION}", .path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Layout that was found.
        found: i64,
    },
    /// A correction in another unit.
    #[error("{characteristic} of part {part} is kept in \"{kept}\", and is given in \"{given}\"")]
    Unit {
        /// Which part.
        part: String,
        /// Which characteristic.
        characteristic: String,
        /// Unit that is kept.
        kept: String,
        /// Unit that is given.
        given: String,
    },
}

/// The labels of a project.
#[derive(Debug)]
pub struct LabelStore {
    path: PathBuf,
    db: Connection,
}

impl LabelStore {
    /// Opens the labels of a data folder, or begins them.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn open(data: &Path) -> Result<Self, LabelError> {
        let path = data.join(FILE);
        let sql = |source| LabelError::Sql { path: path.clone(), source };
        let db = Connection::open(&path).map_err(sql)?;
        db.busy_timeout(std::time::Duration::from_secs(5)).map_err(sql)?;
        checked(&path, &db)?;
        let made = || {
            db.pragma_update(None, "journal_mode", "WAL")?;
            db.pragma_update(None, "synchronous", "FULL")?;
            db.execute_batch(SCHEMA)
        };
        made().map_err(sql)?;
        Ok(Self { path, db })
    }

    /// Opens them to read; `None` where none were ever imported.
    ///
    /// # Errors
    /// [`LabelError`].
    pub fn read_only(data: &Path) -> Result<Option<Self>, LabelError> {
        let path = data.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .map_err(|source| LabelError::Sql { path: path.clone(), source })?;
        checked(&path, &db)?;
        Ok(Some(Self { path, db }))
    }

    fn sql(&self, source: rusqlite::Error) -> LabelError {
        LabelError::Sql { path: self.path.clone(), source }
    }

    /// Takes labels, all of them or none.
    ///
    /// # Errors
    /// [`LabelError::Unit`] for a value in another unit than the label's, [`LabelError::Sql`].
    pub fn import(&mut self, labels: &[Label], origin: &Origin) -> Result<Imported, LabelError> {
        let mut done = Imported::default();
        // Within one table the last value counts, or the same table would correct itself for ever.
        let mut last = HashMap::new();
        for (place, label) in labels.iter().enumerate() {
            last.insert((&label.part, &label.characteristic, &label.source), place);
        }
        let path = self.path.clone();
        let sql = |source| LabelError::Sql { path: path.clone(), source };
        let tx = self.db.transaction().map_err(sql)?;
        for (place, label) in labels.iter().enumerate() {
            let key = (&label.part, &label.characteristic, &label.source);
            if last.get(&key) == Some(&place) {
                put_one(&tx, label, origin, &mut done).map_err(|error| match error {
                    Refused::Sql(source) => sql(source),
                    Refused::Unit(kept) => LabelError::Unit {
                        part: label.part.clone(),
                        characteristic: label.characteristic.clone(),
                        kept,
                        given: label.unit.clone(),
                    },
                })?;
            } else {
                done.repeated += 1;
            }
        }
        tx.commit().map_err(sql)?;
        Ok(done)
    }

    /// Labels in the order of part, characteristic, source and revision.
    ///
    /// - `part`, `characteristic`: only these; `all`: earlier revisions too.
    ///
    /// # Errors
    /// [`LabelError::Sql`].
    pub fn labels(
        &self,
        part: Option<&str>,
        characteristic: Option<&str>,
        all: bool,
    ) -> Result<Vec<Kept>, LabelError> {
        let read = || {
            let mut statement = self.db.prepare(
                "SELECT part, characteristic, source, value, unit, measured, revision, imported,
                   origin, actor
                 FROM label l WHERE (?1 IS NULL OR part = ?1)
                   AND (?2 IS NULL OR characteristic = ?2)
                   AND (?3 OR revision = (SELECT max(revision) FROM label m WHERE m.part = l.part
                     AND m.characteristic = l.characteristic AND m.source = l.source))
                 ORDER BY part, characteristic, source, revision",
            )?;
            let rows = statement.query_map(params![part, characteristic, all], |row| {
                let label = Label {
                    part: row.get(0)?,
                    characteristic: row.get(1)?,
                    source: row.get(2)?,
                    value: value(row, 3)?,
                    unit: row.get(4)?,
                    measured: row.get(5)?,
                };
                let (revision, imported) = (row.get(6)?, row.get(7)?);
                Ok(Kept { label, revision, imported, origin: row.get(8)?, actor: row.get(9)? })
            })?;
            rows.collect::<rusqlite::Result<Vec<Kept>>>()
        };
        read().map_err(|source| self.sql(source))
    }
}

fn checked(path: &Path, db: &Connection) -> Result<(), LabelError> {
    let found = db
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|source| LabelError::Sql { path: path.to_owned(), source })?;
    if found > VERSION {
        return Err(LabelError::Newer { path: path.to_owned(), found });
    }
    Ok(())
}

enum Refused {
    Sql(rusqlite::Error),
    /// The unit that is kept.
    Unit(String),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// One label, behind the revisions that are there.
fn put_one(
    tx: &Transaction<'_>,
    label: &Label,
    origin: &Origin,
    done: &mut Imported,
) -> Result<(), Refused> {
    let key = params![label.part, label.characteristic, label.source];
    let newest = tx
        .prepare_cached(
            "SELECT revision, value, unit FROM label WHERE part = ?1 AND characteristic = ?2
             AND source = ?3 ORDER BY revision DESC LIMIT 1",
        )?
        .query_row(key, |row| Ok((row.get::<_, i64>(0)?, value(row, 1)?, row.get::<_, String>(2)?)))
        .optional()?;
    let mut revision = 1;
    if let Some((last, kept, unit)) = newest {
        if unit != label.unit {
            return Err(Refused::Unit(unit));
        }
        if kept == label.value {
            done.same += 1;
            return Ok(());
        }
        if !origin.reinstate && was_there(tx, label)? {
            done.outdated += 1;
            return Ok(());
        }
        revision = last + 1;
        done.changed += 1;
    } else {
        done.added += 1;
    }
    let stored: &dyn rusqlite::ToSql = match &label.value {
        LabelValue::Number(x) => x,
        LabelValue::Text(text) => text,
    };
    tx.prepare_cached(
        "INSERT INTO label(part, characteristic, source, revision, value, unit, measured, imported,
           origin, actor) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        label.part,
        label.characteristic,
        label.source,
        revision,
        stored,
        label.unit,
        label.measured,
        origin.utc,
        origin.place,
        origin.actor,
    ])?;
    Ok(())
}

/// Whether an earlier revision had this value.
fn was_there(tx: &Transaction<'_>, label: &Label) -> rusqlite::Result<bool> {
    let mut statement = tx.prepare_cached(
        "SELECT value FROM label WHERE part = ?1 AND characteristic = ?2 AND source = ?3",
    )?;
    let key = params![label.part, label.characteristic, label.source];
    let rows = statement.query_map(key, |row| value(row, 0))?;
    for kept in rows {
        if kept? == label.value {
            return Ok(true);
        }
    }
    Ok(false)
}

fn value(row: &rusqlite::Row<'_>, place: usize) -> rusqlite::Result<LabelValue> {
    use rusqlite::types::ValueRef;
    Ok(match row.get_ref(place)? {
        ValueRef::Real(x) => LabelValue::Number(x),
        ValueRef::Integer(i) => LabelValue::Number(i as f64),
        ValueRef::Text(text) => LabelValue::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Null | ValueRef::Blob(_) => LabelValue::Text(String::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(part: &str, value: &str) -> Label {
        Label {
            part: part.to_owned(),
            characteristic: "weight".to_owned(),
            source: "lab".to_owned(),
            value: LabelValue::of(value),
            unit: "g".to_owned(),
            measured: None,
        }
    }

    fn origin(place: &str, reinstate: bool) -> Origin {
        Origin { place: place.to_owned(), actor: "anna".to_owned(), utc: 7, reinstate }
    }

    /// Given again nothing changes, a correction is a revision behind which the old value stays, an
    /// old file does not bring it back, and a table that corrects itself settles.
    #[test]
    fn imports_are_idempotent_and_corrections_keep_their_history() {
        let dir = std::env::temp_dir().join(format!("trimloop-labels-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert!(LabelStore::read_only(&dir).unwrap().is_none());
        let mut store = LabelStore::open(&dir).unwrap();
        let counts =
            |done: Imported| [done.added, done.same, done.changed, done.outdated, done.repeated];
        let old = [label("007", "19.5"), label("7", "ok"), label("8", "1")];
        let mut take = |labels: &[Label], place: &str, reinstate| {
            counts(store.import(labels, &origin(place, reinstate)).unwrap())
        };
        assert_eq!(take(&old, "a.csv", false), [3, 0, 0, 0, 0]);
        assert_eq!(take(&old, "a.csv", false), [0, 3, 0, 0, 0]);
        let new = [label("007", "19.4")];
        assert_eq!(take(&new, "b.csv", false), [0, 0, 1, 0, 0]);
        assert_eq!(take(&old, "a.csv", false), [0, 2, 0, 1, 0]);
        assert_eq!(take(&old[..1], "a.csv", true), [0, 0, 1, 0, 0]);
        let itself = [label("9", "1"), label("9", "2")];
        assert_eq!(take(&itself, "c.csv", false), [1, 0, 0, 0, 1]);
        assert_eq!(take(&itself, "c.csv", false), [0, 1, 0, 0, 1]);
        drop(store);
        let mut store = LabelStore::open(&dir).unwrap();
        // Another unit is no correction, and nothing of its table is taken.
        let pounds = Label { unit: "lb".to_owned(), ..label("8", "2") };
        let error = store.import(&[label("10", "1"), pounds], &origin("d.csv", false));
        assert!(error.unwrap_err().to_string().contains("in \"g\", and is given in \"lb\""));
        let all = store.labels(Some("007"), None, true).unwrap();
        let told: Vec<(i64, String, &str)> =
            all.iter().map(|k| (k.revision, k.label.value.text(), k.origin.as_str())).collect();
        let text = |x: &str| x.to_owned();
        assert_eq!(
            told,
            [(1, text("19.5"), "a.csv"), (2, text("19.4"), "b.csv"), (3, text("19.5"), "a.csv")]
        );
        let newest = store.labels(None, Some("weight"), false).unwrap();
        let parts: Vec<&str> = newest.iter().map(|kept| kept.label.part.as_str()).collect();
        assert_eq!(parts, ["007", "7", "8", "9"]);
        drop(store);
        assert!(LabelStore::read_only(&dir).unwrap().is_some());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
