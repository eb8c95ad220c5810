//! Parquet files: row groups outside a range are not read, and of the others only five columns.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::basic::{Encoding, LogicalType, TimeUnit, Type as Physical};
use parquet::column::page::Page;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::statistics::Statistics;

use trimloop_core::tag::Value;

use super::Each;
use super::csv::place_of;
use super::layout::{Found, Layout};
use crate::export::{RawSample, ReadError};

/// Rows decoded at a time.
const BATCH: usize = 8192;

/// A Parquet file that was looked at.
#[derive(Debug)]
pub(super) struct ParquetFile {
    pub(super) path: PathBuf,
    layout: Layout,
    /// What a step of the time column is [ns].
    scale: i64,
    /// First and last time of each row group, as stored.
    groups: Vec<(i64, i64)>,
    pub(super) extent: (i64, i64),
    pub(super) units: Found,
}

/// Values of a column, `None` where there are none.
enum Column {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Text(Vec<ByteArray>),
}

/// A column on its way through a row group.
struct Cursor {
    reader: ColumnReader,
    column: Column,
    levels: Vec<i16>,
    /// Next value: those that are missing take no place.
    value: usize,
    row: usize,
}

impl Cursor {
    fn open(group: &dyn RowGroupReader, place: usize) -> Result<Self, ParquetError> {
        let reader = group.get_column_reader(place)?;
        let column = match &reader {
            ColumnReader::Int64ColumnReader(_) => Column::Int(Vec::new()),
            ColumnReader::DoubleColumnReader(_) => Column::Float(Vec::new()),
            ColumnReader::BoolColumnReader(_) => Column::Bool(Vec::new()),
            ColumnReader::ByteArrayColumnReader(_) => Column::Text(Vec::new()),
            _ => return Err(ParquetError::General("a column is of an unknown type".to_owned())),
        };
        Ok(Self { reader, column, levels: Vec::new(), value: 0, row: 0 })
    }

    /// Decodes the next rows; their number.
    fn fill(&mut self) -> Result<usize, ParquetError> {
        self.levels.clear();
        (self.value, self.row) = (0, 0);
        let levels = Some(&mut self.levels);
        let (rows, values, _) = match (&mut self.reader, &mut self.column) {
            (ColumnReader::Int64ColumnReader(reader), Column::Int(values)) => {
                values.clear();
                reader.read_records(BATCH, levels, None, values)?
            }
            (ColumnReader::DoubleColumnReader(reader), Column::Float(values)) => {
                values.clear();
                reader.read_records(BATCH, levels, None, values)?
            }
            (ColumnReader::BoolColumnReader(reader), Column::Bool(values)) => {
                values.clear();
                reader.read_records(BATCH, levels, None, values)?
            }
            (ColumnReader::ByteArrayColumnReader(reader), Column::Text(values)) => {
                values.clear();
                reader.read_records(BATCH, levels, None, values)?
            }
            _ => (0, 0, 0),
        };
        if self.levels.is_empty() && values == rows {
            // A column that must have a value has no levels.
            self.levels.resize(rows, 1);
        }
        Ok(rows)
    }

    /// Whether the next row has a value, and its place.
    fn next(&mut self) -> Option<usize> {
        let there = self.levels.get(self.row).is_some_and(|level| *level > 0);
        self.row += 1;
        let place = self.value;
        self.value += usize::from(there);
        there.then_some(place)
    }

    fn int(&mut self) -> Option<i64> {
        let place = self.next()?;
        match &self.column {
            Column::Int(values) => values.get(place).copied(),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&[u8]> {
        let place = self.next()?;
        match &self.column {
            Column::Text(values) => values.get(place).map(ByteArray::data),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let place = self.next()?;
        match &self.column {
            Column::Int(values) => values.get(place).copied().map(Value::Int),
            Column::Float(values) => values.get(place).copied().map(Value::Float),
            Column::Bool(values) => values.get(place).copied().map(Value::Bool),
            Column::Text(_) => None,
        }
    }
}

/// Finds tags by their bytes. Rows come in rounds, so that the tag that followed last time is most
/// often the one that follows again.
struct Finder<'n> {
    names: &'n [String],
    after: Vec<Option<usize>>,
    last: usize,
    strangers: BTreeSet<Vec<u8>>,
}

impl<'n> Finder<'n> {
    fn new(names: &'n [String]) -> Self {
        Self {
            names,
            after: vec![None; names.len() + 1],
            last: names.len(),
            strangers: BTreeSet::new(),
        }
    }

    fn find(&mut self, tag: &[u8]) -> Option<u16> {
        let guess = self.after.get(self.last).copied().flatten();
        let fits = |place: &usize| self.names.get(*place).is_some_and(|n| n.as_bytes() == tag);
        let place = match guess.filter(fits) {
            Some(place) => place,
            None => {
                if self.strangers.contains(tag) {
                    return None;
                }
                let Some(place) = self.names.iter().position(|name| name.as_bytes() == tag) else {
                    self.strangers.insert(tag.to_owned());
                    return None;
                };
                if let Some(slot) = self.after.get_mut(self.last) {
                    *slot = Some(place);
                }
                place
            }
        };
        self.last = place;
        u16::try_from(place).ok()
    }
}

impl ParquetFile {
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let failed = |what: String| ReadError::File { path: path.to_owned(), what };
        let reader = reader(path)?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let titles: Vec<String> = schema.columns().iter().map(|c| c.name().to_owned()).collect();
        let layout = Layout::of(&titles).map_err(failed)?;
        let (Layout::Long { time, .. } | Layout::Wide { time, .. }) = &layout;
        let time = *time;
        let column = schema.column(time);
        let unit = match column.logical_type_ref() {
            Some(LogicalType::Timestamp(kind)) => Some(kind.unit),
            _ => None,
        };
        let scale = match (column.physical_type(), unit) {
            (Physical::INT64, Some(TimeUnit::NANOS)) => 1,
            (Physical::INT64, Some(TimeUnit::MICROS)) => 1000,
            (Physical::INT64, Some(TimeUnit::MILLIS)) => 1_000_000,
            _ => return Err(failed("the column \"time\" is no timestamp".to_owned())),
        };
        let mut file = Self {
            path: path.to_owned(),
            layout,
            scale,
            groups: Vec::new(),
            extent: (i64::MAX, i64::MIN),
            units: Found::default(),
        };
        file.look_through(&reader, time).map_err(|error| failed(error.to_string()))?;
        Ok(file)
    }

    fn look_through(
        &mut self,
        reader: &SerializedFileReader<File>,
        time: usize,
    ) -> Result<(), ParquetError> {
        let path = self.path.display().to_string();
        for index in 0..reader.num_row_groups() {
            let bounds = bounds(reader, index, time)?;
            let Some((first, last)) = bounds else { continue };
            if self.groups.last().is_some_and(|(_, before)| first < *before) {
                let what = format!("row group {index} begins before the one in front of it ends");
                return Err(ParquetError::General(what));
            }
            // Row groups without rows have no place in the list of bounds.
            while self.groups.len() < index {
                self.groups.push((first, first));
            }
            self.groups.push((first, last));
            self.extent.0 = self.extent.0.min(first.saturating_mul(self.scale));
            self.extent.1 = last.saturating_mul(self.scale);
            if let Layout::Long { tag, unit, .. } = self.layout {
                self.units_of(reader, (index, tag, unit), &path)?;
            }
        }
        if let Layout::Wide { tags, .. } = &self.layout {
            for (_, name, unit) in tags {
                self.units.add(name, unit, || path.clone());
            }
        }
        Ok(())
    }

    /// Tags and units of a row group. Where its dictionaries show nothing new, its rows are not read.
    fn units_of(
        &mut self,
        reader: &SerializedFileReader<File>,
        (index, tag, unit): (usize, usize, Option<usize>),
        path: &str,
    ) -> Result<(), ParquetError> {
        let group = reader.get_row_group(index)?;
        let words = dictionary(&*group, tag)?;
        let units = unit.map(|unit| dictionary(&*group, unit)).transpose()?.flatten();
        if let (Some(words), Some(units)) = (words, units) {
            let known: Option<BTreeSet<Vec<u8>>> = words
                .iter()
                .map(|word| {
                    let found = self.units.0.get(std::str::from_utf8(word).ok()?)?;
                    Some(found.last()?.1.as_bytes().to_vec())
                })
                .collect();
            if known == Some(units) {
                return Ok(());
            }
        }
        let mut tags = Cursor::open(&*group, tag)?;
        let mut units = unit.map(|unit| Cursor::open(&*group, unit)).transpose()?;
        loop {
            let rows = tags.fill()?;
            if let Some(units) = &mut units {
                units.fill()?;
            }
            if rows == 0 {
                return Ok(());
            }
            for _ in 0..rows {
                let tag = String::from_utf8_lossy(tags.text().unwrap_or_default());
                let unit = units.as_mut().and_then(Cursor::text).unwrap_or_default();
                let unit = String::from_utf8_lossy(unit);
                self.units.add(&tag, &unit, || format!("{path}, row group {index}"));
            }
        }
    }

    pub(super) fn read(
        &self,
        names: &[String],
        range: (i64, i64),
        each: Each<'_>,
    ) -> Result<(), ReadError> {
        let reader = reader(&self.path)?;
        for (index, (first, last)) in self.groups.iter().enumerate() {
            let scaled = |at: i64| at.saturating_mul(self.scale);
            if scaled(*last) < range.0 || scaled(*first) >= range.1 {
                continue;
            }
            let group = reader.get_row_group(index).map_err(|error| self.failed(&error))?;
            match &self.layout {
                Layout::Long { .. } => self.long(&*group, names, range, each)?,
                Layout::Wide { .. } => self.wide(&*group, names, range, each)?,
            }
        }
        Ok(())
    }

    fn failed(&self, error: &ParquetError) -> ReadError {
        ReadError::File { path: self.path.clone(), what: error.to_string() }
    }

    fn out_of_order(&self) -> ReadError {
        let what = "the rows are not in the order of time, or one has no time".to_owned();
        ReadError::File { path: self.path.clone(), what }
    }

    fn long(
        &self,
        group: &dyn RowGroupReader,
        names: &[String],
        (from, to): (i64, i64),
        each: Each<'_>,
    ) -> Result<(), ReadError> {
        let Layout::Long { time, tag, value, status, stamp, .. } = self.layout else {
            return Ok(());
        };
        let open = |place| Cursor::open(group, place).map_err(|error| self.failed(&error));
        let (mut times, mut tags, mut values) = (open(time)?, open(tag)?, open(value)?);
        let mut statuses = status.map(open).transpose()?;
        let mut stamps = stamp.map(open).transpose()?;
        let mut finder = Finder::new(names);
        let mut last = i64::MIN;
        loop {
            let mut rows = 0;
            let some = [Some(&mut times), Some(&mut tags), Some(&mut values)].into_iter();
            for cursor in some.chain([statuses.as_mut(), stamps.as_mut()]).flatten() {
                rows = cursor.fill().map_err(|error| self.failed(&error))?;
            }
            if rows == 0 {
                return Ok(());
            }
            for _ in 0..rows {
                let ts = times.int().map(|at| at.saturating_mul(self.scale));
                let place = tags.text().and_then(|tag| finder.find(tag));
                let value = values.number();
                let status = statuses.as_mut().and_then(Cursor::int).unwrap_or(0);
                let stamped = stamps.as_mut().and_then(Cursor::text) != Some(b"receive");
                let Some(ts) = ts.filter(|ts| *ts >= last) else {
                    return Err(self.out_of_order());
                };
                last = ts;
                if ts >= to {
                    return Ok(());
                }
                let (Some(tag), true) = (place, ts >= from) else { continue };
                let status = u32::try_from(status).unwrap_or(u32::MAX);
                each(RawSample { ts, tag, value, status, stamped })?;
            }
        }
    }

    fn wide(
        &self,
        group: &dyn RowGroupReader,
        names: &[String],
        (from, to): (i64, i64),
        each: Each<'_>,
    ) -> Result<(), ReadError> {
        let Layout::Wide { time, tags } = &self.layout else { return Ok(()) };
        let open = |place| Cursor::open(group, place).map_err(|error| self.failed(&error));
        let mut times = open(*time)?;
        let mut columns = Vec::new();
        for (place, name, _) in tags {
            if let Some(tag) = place_of(names, name) {
                columns.push((tag, open(*place)?));
            }
        }
        let mut last = i64::MIN;
        loop {
            let rows = times.fill().map_err(|error| self.failed(&error))?;
            for (_, column) in &mut columns {
                column.fill().map_err(|error| self.failed(&error))?;
            }
            if rows == 0 {
                return Ok(());
            }
            for _ in 0..rows {
                let ts = times.int().map(|at| at.saturating_mul(self.scale));
                let Some(ts) = ts.filter(|ts| *ts >= last) else {
                    return Err(self.out_of_order());
                };
                last = ts;
                if ts >= to {
                    return Ok(());
                }
                for (tag, column) in &mut columns {
                    let (value, tag) = (column.number(), *tag);
                    if value.is_some() && ts >= from {
                        each(RawSample { ts, tag, value, status: 0, stamped: true })?;
                    }
                }
            }
        }
    }
}

fn reader(path: &Path) -> Result<SerializedFileReader<File>, ReadError> {
    let failed = |what: String| ReadError::File { path: path.to_owned(), what };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    SerializedFileReader::new(file).map_err(|error| failed(error.to_string()))
}

/// First and last time of a row group, by its statistics, else by its rows.
fn bounds(
    reader: &SerializedFileReader<File>,
    index: usize,
    time: usize,
) -> Result<Option<(i64, i64)>, ParquetError> {
    let column = reader.metadata().row_group(index).column(time);
    if let Some(Statistics::Int64(found)) = column.statistics()
        && let (Some(first), Some(last)) = (found.min_opt(), found.max_opt())
    {
        return Ok(Some((*first, *last)));
    }
    let group = reader.get_row_group(index)?;
    let mut times = Cursor::open(&*group, time)?;
    let mut found: Option<(i64, i64)> = None;
    loop {
        let rows = times.fill()?;
        if rows == 0 {
            return Ok(found);
        }
        for at in (0..rows).filter_map(|_| times.int()).collect::<Vec<i64>>() {
            let (first, last) = found.unwrap_or((at, at));
            found = Some((first.min(at), last.max(at)));
        }
    }
}

/// The words of a column in a row group, where it has a dictionary of all of them.
fn dictionary(
    group: &dyn RowGroupReader,
    place: usize,
) -> Result<Option<BTreeSet<Vec<u8>>>, ParquetError> {
    // A column that outgrew its dictionary has pages with words in plain, too.
    let whole = group.metadata().column(place).page_encoding_stats_mask().is_some_and(|pages| {
        pages.is_only(Encoding::RLE_DICTIONARY) || pages.is_only(Encoding::PLAIN_DICTIONARY)
    });
    if !whole {
        return Ok(None);
    }
    let mut pages = group.get_column_page_reader(place)?;
    let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.get_next_page()? else {
        return Ok(None);
    };
    // Plain byte arrays: their length in 4 bytes, then the bytes.
    let mut words = BTreeSet::new();
    let mut rest: &[u8] = &buf;
    for _ in 0..num_values {
        let Some((length, more)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some((word, more)) = more.split_at_checked(length) else { return Ok(None) };
        words.insert(word.to_vec());
        rest = more;
    }
    Ok(Some(words))
}
