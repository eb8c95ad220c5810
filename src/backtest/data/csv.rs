//! CSV files. One pass at the start checks the order of time and notes where each hour begins, so
//! that every day is read from its own place.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use trimloop_core::tag::Value;

use super::Each;
use super::layout::{Found, Layout};
use crate::export::{RawSample, ReadError};
use crate::output::{Zone, parse_instant};

const HOUR: i64 = 3_600_000_000_000;
/// Longest row [bytes]; a file without rows must not fill the memory.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Buffer of a reader.
const BUFFER: usize = 1 << 18;

/// A CSV file that was looked through.
#[derive(Debug)]
pub(super) struct CsvFile {
    pub(super) path: PathBuf,
    layout: Layout,
    /// First time of each hour that has rows, where it stands [byte], and its row.
    hours: Vec<(i64, u64, u64)>,
    pub(super) extent: (i64, i64),
    pub(super) units: Found,
}

/// A file that is read line by line.
struct Lines<'p> {
    path: &'p Path,
    reader: BufReader<File>,
    line: String,
    /// Byte behind the current line.
    offset: u64,
    row: u64,
    clock: Times,
}

/// Reads times; the date of the row before is not worked out again.
#[derive(Default)]
struct Times {
    date: String,
    begin: i64,
}

impl Times {
    /// [ns UTC]
    fn read(&mut self, text: &str) -> Option<i64> {
        self.plain(text).or_else(|| parse_instant(text, Zone::Utc).map(|utc| utc.as_nanos()))
    }

    /// `2026-11-22T10:00:00.123456789Z`, as exported.
    fn plain(&mut self, text: &str) -> Option<i64> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        if self.date != date {
            let midnight = format!("{date}T00:00:00Z");
            self.begin = parse_instant(&midnight, Zone::Utc)?.as_nanos();
            date.clone_into(&mut self.date);
        }
        let digits = |range: std::ops::Range<usize>| -> Option<i64> {
            let part = time.as_bytes().get(range)?;
            part.iter().try_fold(0_i64, |sum, byte| {
                byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
            })
        };
        let is = |at: usize, byte: u8| time.as_bytes().get(at) == Some(&byte);
        let fraction = time.len().checked_sub(9)?;
        if time.len() > 18 || !is(2, b':') || !is(5, b':') || !is(8, b'.') || fraction == 0 {
            return None;
        }
        let scale = 10_i64.pow(9 - u32::try_from(fraction).ok()?);
        let (hour, minute, second) = (digits(0..2)?, digits(3..5)?, digits(6..8)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = hour * 3600 + minute * 60 + second;
        Some(self.begin + seconds * 1_000_000_000 + digits(9..time.len())? * scale)
    }
}

impl<'p> Lines<'p> {
    fn open(path: &'p Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|error| failed(path, error.to_string()))?;
        let reader = BufReader::with_capacity(BUFFER, file);
        Ok(Self { path, reader, line: String::new(), offset: 0, row: 0, clock: Times::default() })
    }

    /// The next line; `false` at the end.
    fn next(&mut self) -> Result<bool, ReadError> {
        self.line.clear();
        let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut self.line);
        let bytes = read.map_err(|error| self.wrong(&error.to_string()))?;
        if bytes as u64 == LINE_BYTES_MAX {
            return Err(self.wrong("the row has no end"));
        }
        self.offset += bytes as u64;
        self.row += 1;
        Ok(bytes > 0)
    }

    fn wrong(&self, what: &str) -> ReadError {
        failed(self.path, format!("row {}: {what}", self.row))
    }

    /// The time of a row that must not be before `last`.
    fn time(&mut self, text: &str, last: i64) -> Result<i64, ReadError> {
        let Some(ts) = self.clock.read(text) else {
            return Err(self.wrong(&format!("\"{text}\" is no time")));
        };
        if ts < last {
            return Err(self.wrong("the rows are not in the order of time"));
        }
        Ok(ts)
    }
}

fn failed(path: &Path, what: String) -> ReadError {
    ReadError::File { path: path.to_owned(), what }
}

/// Cuts a line into cells; `None` when a quoted cell does not end in it.
fn split(line: &str, cells: &mut Vec<String>) -> Option<usize> {
    let line = line.trim_end_matches(['\n', '\r']);
    let mut count = 0;
    let mut rest = line;
    loop {
        if cells.len() <= count {
            cells.push(String::new());
        }
        let cell = cells.get_mut(count)?;
        cell.clear();
        count += 1;
        let after = if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (text, more) = quoted.split_once('"')?;
                cell.push_str(text);
                match more.strip_prefix('"') {
                    Some(more) => {
                        cell.push('"');
                        quoted = more;
                    }
                    None => break more,
                }
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (text, more) = rest.split_at_checked(end)?;
            cell.push_str(text);
            more
        };
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Some(count),
            None => return None,
        }
    }
}

impl CsvFile {
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let mut lines = Lines::open(path)?;
        let mut cells = Vec::new();
        if !lines.next()? {
            return Err(failed(path, "the file is empty".to_owned()));
        }
        let titles = split(&lines.line, &mut cells)
            .ok_or_else(|| lines.wrong("a quoted title does not end"))?;
        let layout = Layout::of(cells.get(..titles).unwrap_or_default())
            .map_err(|what| failed(path, what))?;
        let mut file = Self {
            path: path.to_owned(),
            layout,
            hours: Vec::new(),
            extent: (i64::MAX, i64::MIN),
            units: Found::default(),
        };
        file.look_through(&mut lines, &mut cells)?;
        Ok(file)
    }

    fn look_through(
        &mut self,
        lines: &mut Lines<'_>,
        cells: &mut Vec<String>,
    ) -> Result<(), ReadError> {
        let path = self.path.display().to_string();
        let (time, tag, unit) = match &self.layout {
            Layout::Long { time, tag, unit, .. } => (*time, Some(*tag), *unit),
            Layout::Wide { time, tags } => {
                for (_, name, unit) in tags {
                    self.units.add(name, unit, || path.clone());
                }
                (*time, None, None)
            }
        };
        let mut begin = lines.offset;
        let mut last = i64::MIN;
        while lines.next()? {
            split(&lines.line, cells).ok_or_else(|| lines.wrong("a quoted cell does not end"))?;
            let cell = |at: usize| cells.get(at).map_or("", String::as_str);
            last = lines.time(cell(time), last)?;
            if let Some(tag) = tag {
                let row = lines.row;
                self.units.add(cell(tag), unit.map_or("", cell), || format!("{path} row {row}"));
            }
            if self
                .hours
                .last()
                .is_none_or(|(first, _, _)| last.div_euclid(HOUR) != first.div_euclid(HOUR))
            {
                self.hours.push((last, begin, lines.row));
            }
            begin = lines.offset;
            self.extent = (self.extent.0.min(last), last);
        }
        Ok(())
    }

    pub(super) fn read(
        &self,
        names: &[String],
        (from, to): (i64, i64),
        each: Each<'_>,
    ) -> Result<(), ReadError> {
        let mut lines = Lines::open(&self.path)?;
        // The hour before the first that begins later than the range may still hold its begin.
        let place = self.hours.partition_point(|(first, _, _)| *first < from).saturating_sub(1);
        let Some((_, offset, row)) = self.hours.get(place) else { return Ok(()) };
        let sought = lines.reader.seek(SeekFrom::Start(*offset));
        sought.map_err(|error| lines.wrong(&error.to_string()))?;
        lines.row = row.saturating_sub(1);
        let places: Vec<Option<u16>> = match &self.layout {
            Layout::Long { .. } => Vec::new(),
            Layout::Wide { tags, .. } => {
                tags.iter().map(|(_, tag, _)| place_of(names, tag)).collect()
            }
        };
        let known: std::collections::HashMap<&str, u16> =
            (0_u16..).zip(names).map(|(place, name)| (name.as_str(), place)).collect();
        let mut cells = Vec::new();
        let mut last = i64::MIN;
        while lines.next()? {
            split(&lines.line, &mut cells)
                .ok_or_else(|| lines.wrong("a quoted cell does not end"))?;
            let cell = |at: usize| cells.get(at).map_or("", String::as_str);
            let (Layout::Long { time, .. } | Layout::Wide { time, .. }) = &self.layout;
            last = lines.time(cell(*time), last)?;
            if last >= to {
                return Ok(());
            }
            if last < from {
                continue;
            }
            match &self.layout {
                Layout::Long { tag, value, status, stamp, .. } => {
                    let Some(tag) = known.get(cell(*tag)).copied() else { continue };
                    let status = status.map_or("0", cell);
                    let status = if status.is_empty() { Ok(0) } else { status.parse() };
                    let status = status.map_err(|_| lines.wrong("the status is no number"))?;
                    let value = number(cell(*value)).map_err(|what| lines.wrong(&what))?;
                    let stamped = stamp.map_or("", cell) != "receive";
                    each(RawSample { ts: last, tag, value, status, stamped })?;
                }
                Layout::Wide { tags, .. } => {
                    for ((at, _, _), tag) in tags.iter().zip(&places) {
                        let Some(tag) = *tag else { continue };
                        let value = number(cell(*at)).map_err(|what| lines.wrong(&what))?;
                        if value.is_some() {
                            each(RawSample { ts: last, tag, value, status: 0, stamped: true })?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

pub(super) fn place_of(names: &[String], name: &str) -> Option<u16> {
    names.iter().position(|known| known == name).and_then(|place| u16::try_from(place).ok())
}

fn number(text: &str) -> Result<Option<Value>, String> {
    match text {
        "" => Ok(None),
        "true" | "false" => Ok(Some(Value::Bool(text == "true"))),
        text => {
            let whole = text.parse().map(Value::Int);
            let any = whole.or_else(|_| text.parse().map(Value::Float));
            any.map(Some).map_err(|_| format!("\"{text}\" is no number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells are cut as they are written, and a quote that does not end is seen.
    #[test]
    fn cells_are_cut_as_written() {
        let mut cells = Vec::new();
        for (line, expected) in [
            ("a,b,c\n", &["a", "b", "c"][..]),
            ("a,\"b, \"\"x\"\"\",\r\n", &["a", "b, \"x\"", ""]),
            ("\n", &[""]),
        ] {
            let count = split(line, &mut cells).unwrap();
            assert_eq!(cells[..count], *expected, "{line:?}");
        }
        assert_eq!(split("a,\"b\n", &mut cells), None);
        assert_eq!(split("a,\"b\"c\n", &mut cells), None);
    }

    /// The quick way to a time gives what the slow one gives, and no more.
    #[test]
    fn times_are_read_as_everywhere() {
        let mut times = Times::default();
        for text in [
            "2026-11-22T23:59:59.123456789Z",
            "2026-11-22T00:00:00.5Z",
            "2026-11-23T10:00:00.123Z",
            "2026-11-23T10:00:00+02:00",
            "2026-11-23",
            "2026-11-23T25:00:00.123Z",
            "2026-11-23T10:00:00.Z",
            "2026-13-23T10:00:00.123Z",
            "never",
        ] {
            let slow = parse_instant(text, Zone::Utc).map(|utc| utc.as_nanos());
            assert_eq!(times.read(text), slow, "{text}");
        }
    }
}
