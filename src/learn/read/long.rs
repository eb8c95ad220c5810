//! Long tables made wide.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::title::{instant, is_time, number};
use crate::learn::frame::Cell;
use crate::learn::{FrameBuilder, LearnError};

/// The rows of one time or part: it as written, and `(tag, value)` of each.
type Instant = (Box<str>, Vec<(usize, f64)>);

/// Names of a column of part ids.
const PARTS: [&str; 4] = ["part_id", "part", "partid", "teil"];

/// A long table on its way.
pub(super) struct Long {
    /// Column of times, or of part ids.
    key: usize,
    /// Name of the column of part ids, where there are no times.
    part: Option<String>,
    /// Places of the parts in the order in which they come first.
    parts: HashMap<String, i64>,
    tag: usize,
    value: usize,
    unit: Option<usize>,
    quality: Option<usize>,
    tags: Vec<(String, String)>,
    known: HashMap<String, usize>,
    decimal_comma: bool,
    /// By time [ns], or place of the part.
    rows: BTreeMap<i64, Instant>,
}

impl Long {
    /// By the names of the columns; `None` when the table is not long.
    pub(super) fn of(columns: &[(String, String)], decimal_comma: bool) -> Option<Self> {
        let place =
            |wanted: &str| columns.iter().position(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let time = columns.iter().position(|(name, _)| is_time(name));
        let key = time.or_else(|| PARTS.iter().find_map(|name| place(name)))?;
        let part = columns.get(key).filter(|_| time.is_none()).map(|(name, _)| name.clone());
        Some(Self {
            key,
            part,
            parts: HashMap::new(),
            decimal_comma,
            tag: ["tag", "feature", "variable"].iter().find_map(|name| place(name))?,
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
        let key = cell(self.key);
        let at = if self.part.is_some() {
            let next = i64::try_from(self.parts.len()).unwrap_or(i64::MAX);
            *self.parts.entry(key.to_owned()).or_insert(next)
        } else {
            instant(key)
                .or_else(|| key.parse::<f64>().ok().map(order_of))
                .ok_or_else(|| format!("\"{key}\" is no time"))?
        };
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
        let value =
            number(text, self.decimal_comma).ok_or_else(|| format!("\"{text}\" is no number"))?;
        // A value that the PLC itself calls bad is none.
        let bad = self.quality.is_some_and(|at| cell(at).eq_ignore_ascii_case("bad"));
        let row = self.rows.entry(at).or_insert_with(|| (key.into(), Vec::new()));
        row.1.push((place, if bad { f64::NAN } else { value }));
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        path: &Path,
        builder: &mut FrameBuilder,
    ) -> Result<(), LearnError> {
        if let Some(part) = self.part.take() {
            return self.finish_parts(part, path, builder);
        }
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

impl Long {
    /// A row for each part. A value that a part does not have is missing: it is not that of the
    /// part before.
    fn finish_parts(
        self,
        part: String,
        path: &Path,
        builder: &mut FrameBuilder,
    ) -> Result<(), LearnError> {
        let mut columns = vec![(part, String::new())];
        columns.extend(self.tags);
        let places = builder.begin(path, &columns, None)?;
        for (line, (part, values)) in (2..).zip(self.rows.into_values()) {
            let mut cells = vec![Cell::Missing; places.len()];
            for (tag, value) in values.into_iter().filter(|(_, value)| !value.is_nan()) {
                if let Some(cell) = cells.get_mut(tag + 1) {
                    *cell = Cell::Number(value);
                }
            }
            if let Some(cell) = cells.first_mut() {
                *cell = match number(&part, false) {
                    Some(x) if !x.is_nan() => Cell::Number(x),
                    _ => Cell::Text(&part, line, 1),
                };
            }
            for (place, cell) in places.iter().zip(cells) {
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
