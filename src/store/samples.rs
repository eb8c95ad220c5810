//! Samples into the table of their day, many rows a statement.
//!
//! SQLite opens and closes its cursor for each statement; a statement of a hundred rows goes on from
//! row to row at the end of the table, which halves what a row costs.

use rusqlite::types::{ToSql, Value as Sql};
use rusqlite::{Statement, Transaction, params};
use trimloop_core::tag::{TagId, Value};

use super::history::Written;
use super::queue::SampleRow;
use super::state::Ids;

/// Set in a sample's quality when its source time was too far off and the receive time is kept.
const CLOCK_FLAG: i64 = 1 << 32;
/// Set in the quality of a sample that was read from the PLC's own history after a gap.
const BACKFILL_FLAG: i64 = 1 << 33;
/// Change of a tag's clock offset after which it is noted again.
const OFFSET_STEP_NANOS: i64 = 1_000_000_000;
/// Rows of one statement, largest first.
const BATCHES: [usize; 3] = [100, 10, 1];

/// A row with the number that its tag has in the files.
type Known<'a> = (i64, &'a SampleRow);

/// Writes one flush of samples in the order of their times. Whether the flush took its number; one
/// that brings nothing new leaves it to the next.
pub(super) fn put_flush(
    tx: &Transaction<'_>,
    seq: i64,
    samples: &[SampleRow],
    ids: &Ids,
    offsets: &mut [i64],
    written: &mut Written,
) -> rusqlite::Result<bool> {
    let known = |row| -> Option<Known<'_>> {
        let row: &SampleRow = row;
        Some((*ids.tags.get(usize::from(row.tag))?, row))
    };
    let rows: Vec<Known<'_>> = samples.iter().filter_map(known).collect();
    let mut count = 0;
    for run in rows.chunk_by(|(_, a), (_, b)| a.backfilled == b.backfilled) {
        if run.first().is_some_and(|(_, row)| row.backfilled) {
            count += put_backfilled(tx, seq, run, written)?;
        } else {
            put_live(tx, seq, run, written)?;
            count += run.len();
        }
    }
    for (tag, row) in &rows {
        // SQLite keeps no truth values; a sink must not take a contact for a number.
        if let Some(Value::Bool(_)) = row.value {
            tx.prepare_cached("INSERT OR IGNORE INTO contact(tag) VALUES(?)")?.execute([tag])?;
        }
        if !row.backfilled {
            note_offset(tx, *tag, row, offsets)?;
        }
    }
    if count == 0 {
        return Ok(false);
    }
    let (first, last) = (samples.first().map(|r| r.ts), samples.last().map(|r| r.ts));
    tx.prepare_cached("INSERT INTO flush(seq, min_ts, max_ts, rows) VALUES(?, ?, ?, ?)")?
        .execute(params![seq, first, last, count.cast_signed()])?;
    Ok(true)
}

fn put_live(
    tx: &Transaction<'_>,
    seq: i64,
    rows: &[Known<'_>],
    written: &mut Written,
) -> rusqlite::Result<()> {
    let mut rest = rows;
    for size in BATCHES {
        let batches = rest.chunks_exact(size);
        rest = batches.remainder();
        let mut insert = tx.prepare_cached(&insert_of(size))?;
        for batch in batches {
            written.doubled += put_batch(tx, &mut insert, seq, batch)?;
        }
    }
    Ok(())
}

/// What the service saw itself stays; how many rows are new.
fn put_backfilled(
    tx: &Transaction<'_>,
    seq: i64,
    rows: &[Known<'_>],
    written: &mut Written,
) -> rusqlite::Result<usize> {
    let mut insert = tx.prepare_cached(&insert_of(1))?;
    let mut new = 0;
    for (tag, row) in rows {
        if insert.execute(params![seq, row.ts, tag, value_of(row), quality_of(row)])? > 0 {
            *written.backfilled.entry(TagId(row.tag)).or_default() += 1;
            new += 1;
        }
    }
    Ok(new)
}

fn insert_of(rows: usize) -> String {
    let values = vec!["(?1, ?, ?, ?, ?)"; rows].join(", ");
    format!("INSERT OR IGNORE INTO sample(seq, ts, tag, value, quality) VALUES{values}")
}

/// One statement of new rows. When some are there already, all are written again one by one, in the
/// order in which they came, so that the last one stays.
fn put_batch(
    tx: &Transaction<'_>,
    insert: &mut Statement<'_>,
    seq: i64,
    batch: &[Known<'_>],
) -> rusqlite::Result<u64> {
    // The first parameter is the number of the flush, for all rows.
    let mut parameter = 0;
    let mut bind = |value: &dyn ToSql| {
        parameter += 1;
        insert.raw_bind_parameter(parameter, value)
    };
    bind(&seq)?;
    for (tag, row) in batch {
        bind(&row.ts)?;
        bind(tag)?;
        bind(&value_of(row))?;
        bind(&quality_of(row))?;
    }
    let doubled = batch.len() - insert.raw_execute()?;
    if doubled > 0 {
        let mut update = tx.prepare_cached(
            "UPDATE sample SET value = ?, quality = ?, seq = ? WHERE ts = ? AND tag = ?",
        )?;
        for (tag, row) in batch {
            update.execute(params![value_of(row), quality_of(row), seq, row.ts, tag])?;
        }
    }
    Ok(doubled as u64)
}

fn value_of(row: &SampleRow) -> Sql {
    match row.value {
        None => Sql::Null,
        Some(Value::Float(x)) => Sql::Real(x),
        Some(Value::Int(i)) => Sql::Integer(i),
        Some(Value::Bool(b)) => Sql::Integer(i64::from(b)),
    }
}

fn quality_of(row: &SampleRow) -> i64 {
    let flag = match (row.backfilled, row.offset) {
        (true, _) => BACKFILL_FLAG,
        (false, 0) => 0,
        (false, _) => CLOCK_FLAG,
    };
    i64::from(row.status) | flag
}

fn note_offset(
    tx: &Transaction<'_>,
    tag: i64,
    row: &SampleRow,
    offsets: &mut [i64],
) -> rusqlite::Result<()> {
    if let Some(noted) = offsets.get_mut(usize::from(row.tag))
        && row.offset.abs_diff(*noted) > OFFSET_STEP_NANOS.unsigned_abs()
    {
        *noted = row.offset;
        tx.prepare_cached("INSERT OR REPLACE INTO clock_offset(ts, tag, offset) VALUES(?, ?, ?)")?
            .execute(params![row.ts, tag, row.offset])?;
    }
    Ok(())
}
