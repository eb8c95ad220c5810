//! Samples and roll-ups of selected tags, in the order of time.
//!
//! Roll-ups are made once a minute. What has come since is folded here, level by level, so that
//! a reader always sees the whole history, up to the last commit.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::Cell;
use super::archive::{Archive, Db, ReadError, Tag, within_day};
use super::table::Every;
use crate::store::fold::{
    FOLD_SAMPLES, HOUR, MINUTE, SECOND, month_of, pending_since, rolled_up_to,
};

/// Time of samples that one transaction reads.
const SLICE: i64 = MINUTE;
/// Time of buckets that one transaction reads.
const ROLLED_SLICE: i64 = 24 * HOUR;

/// A sample.
pub(super) struct Sampled {
    pub(super) ts: i64,
    /// Place in the selection.
    pub(super) tag: usize,
    pub(super) value: Cell<'static>,
    /// OPC UA status; bit 32: the receive time stands for a source time that was far off.
    pub(super) quality: i64,
}

/// A bucket of a roll-up.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) ts: i64,
    pub(super) tag: usize,
    pub(super) min: Cell<'static>,
    pub(super) max: Cell<'static>,
    pub(super) mean: Option<f64>,
    pub(super) count: i64,
    pub(super) quality: i64,
}

type Each<'a, T> = &'a mut dyn FnMut(T) -> Result<(), ReadError>;

pub(super) fn number(value: ValueRef<'_>) -> Cell<'static> {
    match value {
        ValueRef::Integer(i) => Cell::Int(i),
        ValueRef::Real(x) => Cell::Float(x),
        _ => Cell::Null,
    }
}

/// A file's ids, as a list for SQL and by id.
struct Ids {
    list: String,
    places: HashMap<i64, usize>,
}

impl Ids {
    fn of(file: &Db, tags: &[Tag]) -> Result<Self, ReadError> {
        let places = file.ids(tags)?;
        let mut ids: Vec<String> = places.keys().map(i64::to_string).collect();
        ids.sort();
        Ok(Self { list: ids.join(","), places })
    }
}

/// Samples of a range.
pub(super) fn samples(
    archive: &Archive,
    tags: &[Tag],
    (from, to): (i64, i64),
    each: Each<'_, Sampled>,
) -> Result<(), ReadError> {
    for day in archive.days_in(from, to) {
        let Some(file) = archive.day(&day)? else { continue };
        let ids = Ids::of(&file, tags)?;
        let sql = format!(
            "SELECT ts, tag, value, quality FROM sample
             WHERE ts >= ?1 AND ts < ?2 AND tag IN ({}) ORDER BY ts, tag",
            ids.list
        );
        let (from, to) = within_day(&day, from, to);
        file.sliced(("sample", "ts"), &sql, (from, to, SLICE), &mut |row| {
            let sampled = || {
                let tag = ids.places.get(&row.get(1)?).copied().unwrap_or(usize::MAX);
                let value = number(row.get_ref(2)?);
                Ok(Sampled { ts: row.get(0)?, tag, value, quality: row.get(3)? })
            };
            each(file.read(sampled())?)
        })?;
    }
    Ok(())
}

/// Buckets that touch a range.
pub(super) fn buckets(
    archive: &Archive,
    every: Every,
    tags: &[Tag],
    (from, to): (i64, i64),
    each: Each<'_, Bucket>,
) -> Result<(), ReadError> {
    let Some(step) = every.step() else { return Ok(()) };
    let from = from - from.rem_euclid(step);
    let to = to.saturating_sub(1);
    let to = (to - to.rem_euclid(step)).saturating_add(step);
    let days = match every {
        Every::Second => archive.days_in(from, to),
        _ => archive.rolled_days_in(from, to),
    };
    for day in days {
        let (from, to) = within_day(&day, from, to);
        let file =
            |db: Option<Db>| db.map(|db| Ids::of(&db, tags).map(|ids| (db, ids))).transpose();
        let of_day = Day {
            day: file(archive.day(&day)?)?,
            month: file(archive.month(month_of(&day))?)?,
            name: day,
        };
        of_day.buckets(step, from, to, each)?;
    }
    Ok(())
}

struct Day {
    name: String,
    day: Option<(Db, Ids)>,
    month: Option<(Db, Ids)>,
}

impl Day {
    /// Buckets of `step` ns: those that are made, and the others folded from the level below.
    fn buckets(
        &self,
        step: i64,
        from: i64,
        to: i64,
        each: Each<'_, Bucket>,
    ) -> Result<(), ReadError> {
        let (made, table) = match step {
            SECOND => (self.day.as_ref(), "rollup_1s"),
            MINUTE => (self.month.as_ref(), "rollup_1m"),
            _ => (self.month.as_ref(), "rollup_1h"),
        };
        let made = match made {
            Some((db, ids)) if db.has_table(table)? => Some((db, ids)),
            _ => None,
        };
        let touched = self.touched(step, made.is_some(), from, to)?;
        let mut at = from;
        for (begin, end) in touched {
            if let Some((db, ids)) = made {
                stored(db, ids, table, at, begin, each)?;
            }
            match step {
                SECOND => self.fold_samples(begin, end, each)?,
                MINUTE => self.fold(MINUTE, SECOND, begin, end, each)?,
                _ => self.fold(HOUR, MINUTE, begin, end, each)?,
            }
            at = end;
        }
        if let Some((db, ids)) = made {
            stored(db, ids, table, at, to, each)?;
        }
        Ok(())
    }

    /// Spans whose buckets are not made yet, within the range.
    fn touched(
        &self,
        step: i64,
        made: bool,
        from: i64,
        to: i64,
    ) -> Result<Vec<(i64, i64)>, ReadError> {
        let Some((day, _)) = &self.day else { return Ok(Vec::new()) };
        if !made {
            return Ok(vec![(from, to)]);
        }
        let seq = match (step, &self.month) {
            (SECOND, _) => day.read(rolled_up_to(&day.db, "level", "1s"))?,
            (_, Some((month, _))) => month.read(rolled_up_to(&month.db, "day", &self.name))?,
            _ => 0,
        };
        let spans = day.read(pending_since(&day.db, seq, step))?;
        let cut = spans.into_iter().map(|(begin, end)| (begin.max(from), end.min(to)));
        Ok(cut.filter(|(begin, end)| begin < end).collect())
    }

    fn fold_samples(&self, from: i64, to: i64, each: Each<'_, Bucket>) -> Result<(), ReadError> {
        let Some((day, ids)) = &self.day else { return Ok(()) };
        let sql = format!("{} ORDER BY 1, 2", FOLD_SAMPLES.replace("?3", &SECOND.to_string()))
            .replace("ts < ?2", &format!("ts < ?2 AND tag IN ({})", ids.list));
        day.sliced(("sample", "ts"), &sql, (from, to, SLICE), &mut |row| {
            each(day.read(bucket(row, ids))?)
        })
    }

    fn fold(
        &self,
        step: i64,
        below: i64,
        from: i64,
        to: i64,
        each: Each<'_, Bucket>,
    ) -> Result<(), ReadError> {
        let mut begin = i64::MIN;
        let mut open: BTreeMap<usize, Bucket> = BTreeMap::new();
        self.buckets(below, from, to, &mut |bucket| {
            let ts = bucket.ts - bucket.ts.rem_euclid(step);
            if ts != begin {
                begin = ts;
                for (_, whole) in std::mem::take(&mut open) {
                    each(whole)?;
                }
            }
            let bucket = Bucket { ts, ..bucket };
            match open.get_mut(&bucket.tag) {
                Some(whole) => whole.add(&bucket),
                None => {
                    open.insert(bucket.tag, bucket);
                }
            }
            Ok(())
        })?;
        open.into_values().try_for_each(each)
    }
}

impl Bucket {
    fn add(&mut self, other: &Self) {
        let smaller = |a: &Cell<'_>, b: &Cell<'_>| match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a < b,
            (some, none) => some.is_some() && none.is_none(),
        };
        if smaller(&other.min, &self.min) {
            self.min = other.min.clone();
        }
        // Turned round, so that nothing never replaces a number.
        if other.max != Cell::Null && (self.max == Cell::Null || smaller(&self.max, &other.max)) {
            self.max = other.max.clone();
        }
        let count = self.count + other.count;
        let sum = |bucket: &Self| bucket.mean.map_or(0.0, |mean| mean * bucket.count as f64);
        self.mean = (count > 0).then(|| (sum(self) + sum(other)) / count as f64);
        self.count = count;
        self.quality = self.quality.max(other.quality);
    }
}

fn stored(
    db: &Db,
    ids: &Ids,
    table: &str,
    from: i64,
    to: i64,
    each: Each<'_, Bucket>,
) -> Result<(), ReadError> {
    let sql = format!(
        "SELECT ts, tag, min, max, mean, count, quality FROM {table}
         WHERE ts >= ?1 AND ts < ?2 AND tag IN ({}) ORDER BY ts, tag",
        ids.list
    );
    db.sliced((table, "ts"), &sql, (from, to, ROLLED_SLICE), &mut |row| {
        each(db.read(bucket(row, ids))?)
    })
}

fn bucket(row: &Row<'_>, ids: &Ids) -> rusqlite::Result<Bucket> {
    Ok(Bucket {
        ts: row.get(0)?,
        tag: ids.places.get(&row.get(1)?).copied().unwrap_or(usize::MAX),
        min: number(row.get_ref(2)?),
        max: number(row.get_ref(3)?),
        mean: row.get(4)?,
        count: row.get(5)?,
        quality: row.get(6)?,
    })
}
