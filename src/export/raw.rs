//! Samples as they are in the day files: nothing turned into text, every tag in one pass.
//!
//! The way into a backtest, which reads tens of millions of them.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;

use trimloop_core::tag::Value;

use super::archive::{Archive, ReadError, within_day};
use super::table::CLOCK_FLAG;
use crate::store::fold::MINUTE;

/// Time of samples that one transaction reads.
const SLICE: i64 = MINUTE;

/// A sample of the history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawSample {
    /// [ns UTC]
    pub ts: i64,
    /// Place in the list of names.
    pub tag: u16,
    /// `None` where the server sent none.
    pub value: Option<Value>,
    /// OPC UA status code.
    pub status: u32,
    /// Whether `ts` is the source's own; else the time of receipt stands for it.
    pub stamped: bool,
}

impl Archive {
    /// Units of the tags of a range, by name and day (`YYYYMMDD`): a tag may have had another once.
    ///
    /// # Errors
    /// [`ReadError`] when a file cannot be read.
    pub fn tag_units(
        &self,
        from: i64,
        to: i64,
    ) -> Result<BTreeMap<String, Vec<(String, String)>>, ReadError> {
        let mut units: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for day in self.days_in(from, to) {
            let Some(file) = self.day(&day)? else { continue };
            for (_, name, unit) in file.names("tag")? {
                let known = units.entry(name).or_default();
                if known.last().is_none_or(|(_, last)| *last != unit) {
                    known.push((day.clone(), unit));
                }
            }
        }
        Ok(units)
    }

    /// Samples of a range in the order of time, then of the store's tag ids.
    ///
    /// # Errors
    /// [`ReadError`] when a file cannot be read, or `each` fails.
    pub fn raw_samples(
        &self,
        names: &[String],
        (from, to): (i64, i64),
        each: &mut dyn FnMut(RawSample) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let sql = "SELECT ts, tag, value, quality FROM sample
                   WHERE ts >= ?1 AND ts < ?2 ORDER BY ts, tag";
        for day in self.days_in(from, to) {
            let Some(file) = self.day(&day)? else { continue };
            // Ids count up from 1, so that a list is short, and a look into it cheap.
            let mut places: Vec<Option<u16>> = Vec::new();
            for (id, name, _) in file.names("tag")? {
                let place = names.iter().position(|known| *known == name);
                let (Ok(id), Some(place)) = (usize::try_from(id), place) else { continue };
                if places.len() <= id {
                    places.resize(id + 1, None);
                }
                if let Some(slot) = places.get_mut(id) {
                    *slot = u16::try_from(place).ok();
                }
            }
            let (from, to) = within_day(&day, from, to);
            file.sliced(("sample", "ts"), sql, (from, to, SLICE), &mut |row| {
                let id: i64 = file.read(row.get(1))?;
                let place = usize::try_from(id).ok().and_then(|id| places.get(id).copied());
                let Some(tag) = place.flatten() else { return Ok(()) };
                let value = match file.read(row.get_ref(2))? {
                    ValueRef::Integer(i) => Some(Value::Int(i)),
                    ValueRef::Real(x) => Some(Value::Float(x)),
                    _ => None,
                };
                let quality: i64 = file.read(row.get(3))?;
                each(RawSample {
                    ts: file.read(row.get(0))?,
                    tag,
                    value,
                    status: u32::try_from(quality & 0xFFFF_FFFF).unwrap_or(u32::MAX),
                    stamped: quality & CLOCK_FLAG == 0,
                })
            })?;
        }
        Ok(())
    }
}
