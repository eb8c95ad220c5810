//! Rows of cells into a frame, whatever file they come from.

use std::path::Path;

use super::long::Long;
use super::title::{instant, is_time, is_unit_row, named, number, unit_of};
use crate::learn::frame::Cell;
use crate::learn::spelling::is_plain;
use crate::learn::{FrameBuilder, LearnError};

/// Rows of a file, titles first.
pub(super) trait Source {
    /// The next row into `cells`, and its line, counted from 1; `None` at the end.
    fn next(&mut self, cells: &mut Vec<String>) -> Result<Option<u64>, String>;
}

/// A file that is being read.
pub(super) struct Table<'p, S> {
    pub(super) path: &'p Path,
    pub(super) source: S,
    /// Whether `12,5` is a number.
    pub(super) decimal_comma: bool,
}

impl<S: Source> Table<'_, S> {
    fn wrong(&self, what: String) -> LearnError {
        LearnError::File { path: self.path.to_owned(), what }
    }

    fn next(&mut self, cells: &mut Vec<String>) -> Result<Option<u64>, LearnError> {
        self.source.next(cells).map_err(|what| self.wrong(what))
    }

    pub(super) fn read(mut self, builder: &mut FrameBuilder) -> Result<(), LearnError> {
        let mut cells = Vec::new();
        self.next(&mut cells)?;
        if cells.iter().all(|title| title.trim().parse::<f64>().is_ok()) {
            return Err(self.wrong("its first line has numbers where titles must be".to_owned()));
        }
        let mut columns: Vec<(String, String)> = cells.iter().map(|title| named(title)).collect();
        // An index that a data frame was saved with has no title.
        for (place, (name, _)) in columns.iter_mut().enumerate() {
            if name.is_empty() {
                *name = format!("column_{}", place + 1);
            }
        }
        let mut line = self.next(&mut cells)?;
        if line.is_some() && is_unit_row(&cells) {
            for ((_, unit), cell) in columns.iter_mut().zip(&cells) {
                if unit.is_empty() {
                    *unit = unit_of(cell);
                }
            }
            line = self.next(&mut cells)?;
        }
        if let Some(mut long) = Long::of(&columns, self.decimal_comma) {
            while let Some(at) = line {
                long.row(&cells).map_err(|what| self.wrong(format!("line {at}: {what}")))?;
                line = self.next(&mut cells)?;
            }
            return long.finish(self.path, builder);
        }
        self.wide(builder, columns, cells, line)
    }

    fn wide(
        mut self,
        builder: &mut FrameBuilder,
        mut columns: Vec<(String, String)>,
        mut cells: Vec<String>,
        mut line: Option<u64>,
    ) -> Result<(), LearnError> {
        let width = columns.len();
        let time = columns.iter().position(|(name, _)| is_time(name));
        let time_name = time.map(|at| columns.remove(at).0);
        let mut places = builder.begin(self.path, &columns, time_name.as_deref())?.into_iter();
        let places: Vec<Option<usize>> =
            (0..width).map(|at| if Some(at) == time { None } else { places.next() }).collect();
        while let Some(at) = line {
            // The blank line at the end of some exports.
            let blank = width > 1 && cells.len() <= 1 && cells.iter().all(|c| c.trim().is_empty());
            if !blank {
                if cells.len() != width {
                    let have = cells.len();
                    let what = format!("line {at} has {have} cells, the titles are {width}");
                    return Err(self.wrong(what));
                }
                self.row(builder, &cells, &places, at);
            }
            line = self.next(&mut cells)?;
        }
        Ok(())
    }

    fn row(
        &self,
        builder: &mut FrameBuilder,
        cells: &[String],
        places: &[Option<usize>],
        line: u64,
    ) {
        for ((column, cell), place) in cells.iter().enumerate().zip(places) {
            let value = number(cell, self.decimal_comma);
            let Some(place) = *place else {
                let utc = instant(cell).unwrap_or(i64::MIN);
                builder.at(cell.trim(), utc, value.unwrap_or(f64::NAN));
                continue;
            };
            let cell = match value {
                Some(x) if x.is_nan() => Cell::Missing,
                Some(x) if is_plain(cell.trim()) => Cell::Number(x),
                Some(x) => Cell::Spelt(x, cell.trim()),
                None => Cell::Text(cell.trim(), line, column + 1),
            };
            builder.cell(place, cell);
        }
        builder.end_row();
    }
}
