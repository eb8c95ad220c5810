//! What the recorder stored since a cursor: events and decisions of `state.db`, in the order of
//! their times.
//!
//! Connections are read-only and open for one look only. Rows are never removed from these tables,
//! and their numbers only grow, so a cursor is a number.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

/// Most events in one look.
const EVENTS_MAX: u32 = 500;
/// Most decisions in one look.
const DECISIONS_MAX: u32 = 2000;
/// Contributions of a part stand at most so long before what they brought about [ns].
const CONTRIBUTIONS_BACK: i64 = 600_000_000_000;
/// Most parts in one look.
const PARTS_MAX: u32 = 5000;
/// How long a look waits for the recorder.
const BUSY: Duration = Duration::from_secs(2);

/// Up to where the recorder was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Number of the last event.
    pub event: i64,
    /// Start of the service, and number in it, of the last decision.
    pub decision: (i64, i64),
}

/// Up to which part of history was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartCursor {
    /// UTC day of its file, `20261128`; empty before the first.
    pub day: String,
    /// Start of the service, and number in it.
    pub part: (i64, i64),
}

/// A part of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartRow {
    /// Begin and end [ns of process time].
    pub began: i64,
    /// End.
    pub ended: i64,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its number in the table.
    pub id: i64,
    /// Stable word.
    pub code: String,
    /// Whom it is about.
    pub subject: String,
    /// The rest in one word or number.
    pub detail: String,
    /// For people.
    pub sentence: String,
}

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionRow {
    /// Its number in its start.
    pub number: i64,
    /// Loop.
    pub of_loop: String,
    /// Where the register stood.
    pub read_back: Option<f64>,
    /// Mode in force.
    pub mode: String,
    /// What cut the wish.
    pub cut: String,
}

/// Either.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An event.
    Event(EventRow),
    /// A decision.
    Decision(DecisionRow),
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Start of the service.
    pub boot: i64,
    /// When [ns UTC].
    pub utc: i64,
    /// Part being made; 0 for none.
    pub part: i64,
    /// What.
    pub what: What,
}

/// Why the recorder's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", .path.display())]
pub struct ReadError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: rusqlite::Error,
}

/// Reads the recorder.
#[derive(Clone, Debug)]
pub struct Recorder {
    data: PathBuf,
}

impl Recorder {
    /// Of a data folder.
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    fn open(&self) -> Result<(PathBuf, Connection), ReadError> {
        let path = self.data.join("state.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&path, flags);
        match opened.and_then(|db| db.busy_timeout(BUSY).map(|()| db)) {
            Ok(db) => Ok((path, db)),
            Err(source) => Err(ReadError { path, source }),
        }
    }

    /// Where a desk begins that has read nothing yet: with this start of the service. What was
    /// before is over, and nobody wants an order for it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn begin(&self) -> Result<Cursor, ReadError> {
        let (path, db) = self.open()?;
        let sql = "SELECT (SELECT coalesce(max(id), 0) FROM event WHERE boot < b.boot), b.boot
                   FROM (SELECT coalesce(max(boot), 0) AS boot FROM boot) AS b";
        db.query_row(sql, [], |row| Ok(Cursor { event: row.get(0)?, decision: (row.get(1)?, 0) }))
            .map_err(|source| ReadError { path, source })
    }

    /// Rows after a cursor, by time; an empty list when there are none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn after(&self, cursor: Cursor) -> Result<Vec<Row>, ReadError> {
        let (path, db) = self.open()?;
        let read = events(&db, cursor.event)
            .and_then(|events| Ok((events, decisions(&db, cursor.decision)?)));
        let (events, decisions) = read.map_err(|source| ReadError { path, source })?;
        Ok(merge(events, decisions))
    }

    /// The contributions to a model's score of a part, the largest first, as lines for people;
    /// empty where its day is gone.
    pub fn contributions(&self, part: i64, utc: i64) -> Vec<String> {
        let path = self.data.join(format!("history-{}.db", day_of(utc)));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let lines = Connection::open_with_flags(path, flags).and_then(|db| {
            db.busy_timeout(BUSY)?;
            let mut statement = db.prepare(
                "SELECT m.name, f.name, c.z FROM contribution c
                 JOIN name m ON m.id = c.model JOIN name f ON f.id = c.feature
                 WHERE c.part = ?1 AND c.rank <= 3 AND c.ts BETWEEN ?2 - ?3 AND ?2
                 ORDER BY c.ts DESC, m.name, c.rank LIMIT 6",
            )?;
            let rows = statement.query_map(params![part, utc, CONTRIBUTIONS_BACK], |row| {
                let (model, feature): (String, String) = (row.get(0)?, row.get(1)?);
                let z: f64 = row.get(2)?;
                Ok(format!("{model}: {feature} {z:+.1} standard deviations"))
            })?;
            rows.collect::<rusqlite::Result<Vec<String>>>()
        });
        // Evidence that is gone is no reason to make no order.
        lines.unwrap_or_default()
    }

    /// Parts after a cursor in the order of days, and the cursor behind them; none where their files
    /// are gone or cannot be read now.
    pub fn parts(&self, after: &PartCursor) -> (Vec<PartRow>, PartCursor) {
        let (mut rows, mut cursor) = (Vec::new(), after.clone());
        let names = std::fs::read_dir(&self.data).into_iter().flatten().flatten();
        let day = |name: String| {
            let day = name.strip_prefix("history-")?.strip_suffix(".db")?;
            (day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit())).then(|| day.to_owned())
        };
        let mut days: Vec<String> =
            names.filter_map(|entry| day(entry.file_name().into_string().ok()?)).collect();
        days.retain(|day| *day >= after.day);
        days.sort_unstable();
        for day in days {
            // What cannot be read now may be read later, so nothing behind it is read before.
            let Ok((found, last)) = self.parts_of(&day, cursor.part) else { break };
            rows.extend(found);
            if let Some(last) = last {
                cursor = PartCursor { day, part: last };
            }
            if rows.len() >= PARTS_MAX as usize {
                break;
            }
        }
        (rows, cursor)
    }

    fn parts_of(&self, day: &str, after: (i64, i64)) -> rusqlite::Result<PartsOfDay> {
        let path = self.data.join(format!("history-{day}.db"));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(BUSY)?;
        let mut statement = db.prepare(
            "SELECT began, ended, boot, number FROM part WHERE (boot, number) > (?, ?)
             ORDER BY boot, number LIMIT ?",
        )?;
        let rows = statement.query_map(params![after.0, after.1, PARTS_MAX], |row| {
            let part = PartRow { began: row.get(0)?, ended: row.get(1)? };
            Ok((part, (row.get(2)?, row.get(3)?)))
        })?;
        let rows = rows.collect::<rusqlite::Result<Vec<(PartRow, (i64, i64))>>>()?;
        let last = rows.last().map(|(_, place)| *place);
        Ok((rows.into_iter().map(|(part, _)| part).collect(), last))
    }

    /// The newest event's number; 0 for none.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn newest(&self) -> Result<i64, ReadError> {
        let (path, db) = self.open()?;
        let newest = db
            .query_row("SELECT max(id) FROM event", [], |row| row.get::<_, Option<i64>>(0))
            .optional();
        newest.map(|id| id.flatten().unwrap_or(0)).map_err(|source| ReadError { path, source })
    }
}

/// Parts of one day, and the place of the last.
type PartsOfDay = (Vec<PartRow>, Option<(i64, i64)>);

fn events(db: &Connection, after: i64) -> rusqlite::Result<Vec<Row>> {
    let mut statement = db.prepare_cached(
        "SELECT boot, utc, part, id, code, subject, detail, sentence FROM event
         WHERE id > ? ORDER BY id LIMIT ?",
    )?;
    let rows = statement.query_map(params![after, EVENTS_MAX], |row| {
        let event = EventRow {
            id: row.get(3)?,
            code: row.get(4)?,
            subject: row.get(5)?,
            detail: row.get(6)?,
            sentence: row.get(7)?,
        };
        let (boot, utc, part) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Row { boot, utc, part, what: What::Event(event) })
    })?;
    rows.collect()
}

fn decisions(db: &Connection, (boot, number): (i64, i64)) -> rusqlite::Result<Vec<Row>> {
    let mut statement = db.prepare_cached(
        "SELECT boot, utc, part, number, loop, read_back, mode, cut FROM decision
         WHERE (boot, number) > (?, ?) ORDER BY boot, number LIMIT ?",
    )?;
    let rows = statement.query_map(params![boot, number, DECISIONS_MAX], |row| {
        let decision = DecisionRow {
            number: row.get(3)?,
            of_loop: row.get(4)?,
            read_back: row.get(5)?,
            mode: row.get(6)?,
            cut: row.get(7)?,
        };
        let (boot, utc, part) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Row { boot, utc, part, what: What::Decision(decision) })
    })?;
    rows.collect()
}

/// By time; each list keeps its own order, because its cursor is a place in it. A list that was cut
/// off holds the other back: what is after its end may come before.
fn merge(events: Vec<Row>, decisions: Vec<Row>) -> Vec<Row> {
    let end = |rows: &[Row], most: u32| {
        if rows.len() < most as usize {
            i64::MAX
        } else {
            rows.last().map_or(i64::MAX, |row| row.utc)
        }
    };
    let horizon = end(&events, EVENTS_MAX).min(end(&decisions, DECISIONS_MAX));
    let mut merged = Vec::with_capacity(events.len() + decisions.len());
    let (mut events, mut decisions) =
        (events.into_iter().peekable(), decisions.into_iter().peekable());
    loop {
        let next = match (events.peek(), decisions.peek()) {
            (None, None) => break,
            (Some(event), Some(decision)) if event.utc > decision.utc => decisions.next(),
            (None, Some(_)) => decisions.next(),
            (Some(_), _) => events.next(),
        };
        // The first row always goes, so that a clock that was set back stops nothing.
        match next {
            Some(row) if row.utc <= horizon || merged.is_empty() => merged.push(row),
            _ => break,
        }
    }
    merged
}

/// UTC day of a time, `20261128`.
fn day_of(utc: i64) -> String {
    // Days since 1970 into a date: Howard Hinnant's civil_from_days.
    let z = utc.div_euclid(86_400_000_000_000) + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(utc: i64, id: i64) -> Row {
        let (code, subject, detail, sentence) = Default::default();
        Row {
            boot: 1,
            utc,
            part: 0,
            what: What::Event(EventRow { id, code, subject, detail, sentence }),
        }
    }

    /// Two lists become one by time; one that was cut off holds the other back.
    #[test]
    fn rows_are_merged_by_time() {
        let utc = |rows: Vec<Row>| rows.iter().map(|row| row.utc).collect::<Vec<_>>();
        assert_eq!(
            utc(merge(vec![row(1, 1), row(5, 2)], vec![row(3, 1), row(9, 2)])),
            [1, 3, 5, 9]
        );
        let full: Vec<Row> = (0..500).map(|n| row(n, n)).collect();
        assert_eq!(merge(full, vec![row(600, 1)]).len(), 500);
        assert_eq!(utc(merge(vec![row(9, 1), row(2, 2)], vec![row(3, 1)])), [3, 9, 2]);
    }

    /// Days are those of the store's files.
    #[test]
    fn days_have_their_names() {
        assert_eq!(day_of(0), "19700101");
        assert_eq!(day_of(1_795_341_600_000_000_000), "20261122");
        assert_eq!(day_of(951_782_400_000_000_000), "20000229");
    }
}
