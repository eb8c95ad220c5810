//! Roll-ups: minimum, maximum, mean, count and worst quality of each tag in 1 s (in the day's
//! file), 1 min and 1 h (`rollup-YYYYMM.db`).
//!
//! A roll-up is always *folded again* from the level below, never added to, so late and doubled
//! samples cannot make it wrong. What must be folded is not remembered in memory: each flush has a
//! number and a span of time, and each level keeps the number up to which it is folded. A killed
//! process goes on from there; a month file that is missing or was set aside is made again from
//! the days that are left.
//!
//! - *span*: a half-open interval of sample times [ns], cut at the level's buckets.
//! - *bucket*: one level's interval, named by its begin.
//!
//! Minimum, maximum, mean and count are over samples that have a finite value and are not Bad;
//! the worst quality is over all of them, as the largest OPC UA status code.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

pub(crate) const SECOND: i64 = 1_000_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
/// Flushes that one round folds: 50 000 samples, some 30 ms, so that a barrier never waits long.
const FLUSHES_MAX: i64 = 25;

pub(super) const DAY_SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS rollup_1s(ts INTEGER, tag INTEGER, min, max, mean REAL, count INTEGER,
  quality INTEGER, PRIMARY KEY(ts, tag)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rolled(level TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
";

pub(super) const MONTH_SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS rollup_1m(ts INTEGER, tag INTEGER, min, max, mean REAL, count INTEGER,
  quality INTEGER, PRIMARY KEY(ts, tag)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rollup_1h(ts INTEGER, tag INTEGER, min, max, mean REAL, count INTEGER,
  quality INTEGER, PRIMARY KEY(ts, tag)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS name(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, unit TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rolled(day TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
";

/// Samples of a span as buckets of `?3` ns; the columns are those of the roll-up tables.
pub(crate) const FOLD_SAMPLES: &str = "
SELECT ts - ts % ?3, tag, min(v), max(v), avg(v), count(v), max(quality & 4294967295)
FROM (SELECT ts, tag, quality,
        CASE WHEN quality & 2147483648 = 0
          AND value BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308 THEN value END AS v
      FROM sample WHERE ts >= ?1 AND ts < ?2)
GROUP BY 1, 2";

/// The file name of a month (`YYYYMM`).
pub(super) fn month_file(month: &str) -> String {
    format!("rollup-{month}.db")
}

/// The month of a day (`YYYYMMDD`).
pub(crate) fn month_of(day: &str) -> &str {
    day.get(..6).unwrap_or(day)
}

/// Buckets of a finer level, folded again into buckets of `?3` ns.
pub(super) fn fold_buckets(table: &str) -> String {
    format!(
        "SELECT ts - ts % ?3, tag, min(min), max(max),
           CASE WHEN sum(count) > 0 THEN sum(mean * count) / sum(count) END, sum(count),
           max(quality)
         FROM {table} WHERE ts >= ?1 AND ts < ?2 GROUP BY 1, 2"
    )
}

/// Spans of the flushes after `seq`, joined and cut at buckets of `step` ns; and the last number.
pub(super) fn pending(
    db: &Connection,
    seq: i64,
    last: i64,
    most: i64,
    step: i64,
) -> rusqlite::Result<(i64, Vec<(i64, i64)>)> {
    let mut statement = db.prepare_cached(
        "SELECT seq, min_ts, max_ts FROM flush WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
    )?;
    let mut rows = statement.query(params![seq, last, most])?;
    let mut reached = seq;
    let mut spans = Vec::new();
    while let Some(row) = rows.next()? {
        reached = row.get(0)?;
        if let (Some(first), Some(last)) = (row.get::<_, Option<i64>>(1)?, row.get(2)?) {
            spans.push(bucket_span(first, last, step));
        }
    }
    Ok((reached, join(spans)))
}

/// Spans of all flushes after `seq`, joined and cut at buckets of `step` ns.
pub(crate) fn pending_since(
    db: &Connection,
    seq: i64,
    step: i64,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    pending(db, seq, i64::MAX, i64::MAX, step).map(|(_, spans)| spans)
}

fn bucket_span(first: i64, last: i64, step: i64) -> (i64, i64) {
    (first - first.rem_euclid(step), last - last.rem_euclid(step) + step)
}

/// Overlapping and touching spans as one, in order.
pub(super) fn join(mut spans: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    spans.sort_unstable();
    let mut joined: Vec<(i64, i64)> = Vec::with_capacity(spans.len());
    for (begin, end) in spans {
        match joined.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((begin, end)),
        }
    }
    joined
}

/// Folds what the day's flushes have touched; whether more is left for another round.
pub(super) fn roll(
    day: &mut Connection,
    month: &mut Connection,
    name: &str,
) -> rusqlite::Result<bool> {
    let last: i64 =
        day.query_row("SELECT coalesce(max(seq), 0) FROM flush", [], |row| row.get(0))?;
    let begun = rolled(day, "level", "1s")?;
    let (reached, spans) = pending(day, begun, last, FLUSHES_MAX, SECOND)?;
    let mut more = reached > begun && reached < last;
    if reached > begun {
        let tx = day.transaction()?;
        {
            let sql = format!("INSERT OR REPLACE INTO rollup_1s {FOLD_SAMPLES}");
            let mut fold = tx.prepare_cached(&sql)?;
            for (begin, end) in spans {
                fold.execute(params![begin, end, SECOND])?;
            }
        }
        tx.execute("INSERT OR REPLACE INTO rolled(level, seq) VALUES('1s', ?)", [reached])?;
        tx.commit()?;
    }
    let begun = rolled(month, "day", name)?;
    let (done, spans) = pending(day, begun, reached, FLUSHES_MAX, MINUTE)?;
    if done > begun {
        let tx = month.transaction()?;
        fold_month(day, &tx, &spans)?;
        tx.execute("INSERT OR REPLACE INTO rolled(day, seq) VALUES(?, ?)", params![name, done])?;
        tx.commit()?;
    }
    more |= done > begun && done < last;
    Ok(more)
}

/// Folds seconds of the day into minutes, and these into hours.
fn fold_month(
    day: &Connection,
    tx: &Transaction<'_>,
    spans: &[(i64, i64)],
) -> rusqlite::Result<()> {
    let mut seconds = day.prepare_cached(&fold_buckets("rollup_1s"))?;
    let mut insert =
        tx.prepare_cached("INSERT OR REPLACE INTO rollup_1m VALUES(?, ?, ?, ?, ?, ?, ?)")?;
    for (begin, end) in spans {
        let mut rows = seconds.query(params![begin, end, MINUTE])?;
        while let Some(row) = rows.next()? {
            for column in 0..7_usize {
                let value: rusqlite::types::Value = row.get(column)?;
                insert.raw_bind_parameter(column + 1, value)?;
            }
            insert.raw_execute()?;
        }
    }
    let hours = spans.iter().map(|(begin, end)| bucket_span(*begin, end - 1, HOUR)).collect();
    let sql = format!("INSERT OR REPLACE INTO rollup_1h {}", fold_buckets("rollup_1m"));
    let mut fold = tx.prepare_cached(&sql)?;
    for (begin, end) in join(hours) {
        fold.execute(params![begin, end, HOUR])?;
    }
    Ok(())
}

/// The flush number up to which `key` is folded; 0 when it never was, or there is no such table.
pub(crate) fn rolled(db: &Connection, column: &str, key: &str) -> rusqlite::Result<i64> {
    let there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'rolled'";
    if db.query_row(there, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    let sql = format!("SELECT seq FROM rolled WHERE {column} = ?");
    let found = db.prepare_cached(&sql)?.query_row([key], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0))
}

/// After a power cut the month may hold what the day has lost. Then the day's buckets are made
/// again from what is there. A day that was begun anew keeps the buckets of its damaged file.
pub(super) fn rewind(day: &Connection, month: &Connection, name: &str) -> rusqlite::Result<()> {
    let (flushed, first, last): (i64, Option<i64>, Option<i64>) = day.query_row(
        "SELECT coalesce(max(seq), 0), min(min_ts), max(max_ts) FROM flush",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
    if rolled(month, "day", name)? <= flushed || name_day(first) != name_day(last) {
        return Ok(());
    }
    let begin = name_day(first) * 24 * HOUR;
    let tx = month.unchecked_transaction()?;
    for table in ["rollup_1m", "rollup_1h"] {
        let sql = format!("DELETE FROM {table} WHERE ts >= ? AND ts < ?");
        tx.execute(&sql, params![begin, begin + 24 * HOUR])?;
    }
    tx.execute("INSERT OR REPLACE INTO rolled(day, seq) VALUES(?, 0)", [name])?;
    tx.commit()
}

fn name_day(ts: i64) -> i64 {
    ts.div_euclid(24 * HOUR)
}

/// Month files that lie in a folder, by month, oldest first.
pub(crate) fn month_files(dir: &Path) -> Vec<(String, PathBuf)> {
    dated_files(dir, "rollup-", 6)
}

/// Day files that lie in a folder, by day, oldest first.
pub(crate) fn day_files(dir: &Path) -> Vec<(String, PathBuf)> {
    dated_files(dir, "history-", 8)
}

fn dated_files(dir: &Path, prefix: &str, digits: usize) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let date = file.strip_prefix(prefix)?.strip_suffix(".db")?;
            let fits = date.len() == digits && date.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| (date.to_owned(), entry.path()))
        })
        .collect();
    found.sort();
    found
}
