//! Long tables made wide.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::title::{instant, is_time, number};
use crate::learn::frame::Cell;
use crate::learn::{FrameBuilder, LearnError};

/// The rows of one time: the time as written, and `(tag, value)` of each.
type Instant = (Box<str>, Vec<(usize, f64)>);

/// A long table on its way.
pub(super) struct Long {
    time: usize,
    tag: usize,
    value: usize,
    unit: Option<usize>,
    quality: Option<usize>,
    tags: Vec<(String, String)>,
    known: HashMap<String, usize>,
    /// By time [ns].
    rows: BTreeMap<i64, Instant>,
}

impl Long {
    /// By the names of the columns; `None` when the table is not long.
    pub(super) fn of(columns: &[(String, String)]) -> Option<Self> {
        let place =
            |wanted: &str| columns.iter().position(|(name, _)| name.eq_ignore_ascii_case(wanted));
        Some(Self {
            time: columns.iter().position(|(name, _)| is_time(name))?,
            tag: place("tag").or_else(|| place("feature"))?,
            value: place("value")?,
            unit: place("unit"),
            quality: place("quality"),
            tags: Vec::new(),
            known: HashMap::new(),
            rows: BTreeMap::new(),
        })
    }

    pub(super) fn row(&mut self, cells: &[String]) -> Result<(), String> {
        let cell = |at: usize| cells.get(at).map_or("", |cell| cell.trim());
        let time = cell(self.time);
        let utc = instant(time)
            .or_else(|| time.parse::<f64>().ok().map(order_of))
            .ok_or_else(|| format!("\"{time}\" is no time"))?;
        let (tag, unit) = (cell(self.tag), self.unit.map_or("", cell));
        let place = match self.known.get(tag) {
            Some(place) => *place,
            None => {
                self.known.insert(tag.to_owned(), self.tags.len());
                self.tags.push((tag.to_owned(), unit.to_owned()));
                self.tags.len() - 1
            }
        };
        if self.tags.get(place).is_some_and(|(_, first)| first != unit) {
            return Err(format!("{tag} is in \"{unit}\", before in another unit"));
        }
        let text = cell(self.value);
        let value = number(text, false).ok_or_else(|| format!("\"{text}\" is no number"))?;
        // A value that the PLC itself calls bad is none.
        let bad = self.quality.is_some_and(|at| cell(at).eq_ignore_ascii_case("bad"));
        let row = self.rows.entry(utc).or_insert_with(|| (time.into(), Vec::new()));
        row.1.push((place, if bad { f64::NAN } else { value }));
        Ok(())
    }

    pub(super) fn finish(self, path: &Path, builder: &mut FrameBuilder) -> Result<(), LearnError> {
        let places = builder.begin(path, &self.tags, Some("time"))?;
        let mut held = vec![f64::NAN; self.tags.len()];
        for (utc, (shown, values)) in self.rows {
            for (tag, value) in values {
                if let Some(slot) = held.get_mut(tag) {
                    *slot = value;
                }
            }
            let is_utc = instant(&shown).is_some();
            builder.at(
                &shown,
                if is_utc { utc } else { i64::MIN },
                shown.parse().unwrap_or(f64::NAN),
            );
            for (place, value) in places.iter().zip(&held) {
                let cell = if value.is_nan() { Cell::Missing } else { Cell::Number(*value) };
                builder.cell(*place, cell);
            }
            builder.end_row();
        }
        Ok(())
    }
}

/// An integer in the order of the numbers: small times count in units of their own.
#[expect(clippy::cast_possible_truncation, reason = "saturates; NaN is first")]
fn order_of(x: f64) -> i64 {
    (x * 1e6) as i64
}
