//! CSV with any of the usual delimiters; titles in the first line.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use super::table::{Source, Table};
use crate::learn::{FrameBuilder, LearnError};

/// Looked at for the delimiter [bytes].
const SNIFF: u64 = 1 << 16;

pub(super) fn read(path: &Path, builder: &mut FrameBuilder) -> Result<(), LearnError> {
    let wrong = |what: String| LearnError::File { path: path.to_owned(), what };
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let (source, decimal_comma) = rows(file).map_err(wrong)?;
    Table { path, source, decimal_comma }.read(builder)
}

/// The rows of a file, and whether `12,5` is a number in it.
pub(super) fn rows<R: Read + Seek>(mut input: R) -> Result<(Rows<R>, bool), String> {
    let mut first = Vec::new();
    let sniffed = BufReader::new((&mut input).take(SNIFF)).read_until(b'\n', &mut first);
    sniffed.map_err(|error| error.to_string())?;
    if first.contains(&0) {
        return Err("it is no text file".to_owned());
    }
    if first.iter().all(u8::is_ascii_whitespace) {
        return Err("it does not begin with a line of titles".to_owned());
    }
    input.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    let delimiter = delimiter(&first);
    let reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(BufReader::with_capacity(1 << 18, input));
    Ok((Rows { reader, record: ByteRecord::new() }, delimiter != b','))
}

/// The sign that parts the titles, whichever comes most often outside quotes.
fn delimiter(line: &[u8]) -> u8 {
    let count = |sign: u8| {
        let mut quoted = false;
        line.iter()
            .filter(|byte| {
                quoted ^= **byte == b'"';
                !quoted && **byte == sign
            })
            .count()
    };
    // Of equals the first.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(|sign| count(*sign)).unwrap_or(b',')
}

pub(super) struct Rows<R> {
    reader: csv::Reader<BufReader<R>>,
    record: ByteRecord,
}

impl<R: Read> Source for Rows<R> {
    fn next(&mut self, cells: &mut Vec<String>) -> Result<Option<u64>, String> {
        let there = self.reader.read_byte_record(&mut self.record);
        if !there.map_err(|error| error.to_string())? {
            return Ok(None);
        }
        cells.clear();
        cells.extend(self.record.iter().map(text));
        // A record begins where the one before it ended: blank lines between them are not its own.
        let begin = self.record.position().map_or(0, csv::Position::line);
        let own = 1 + self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let passed = self.reader.position().line().saturating_sub(begin);
        Ok(Some(begin + passed.saturating_sub(own)))
    }
}

/// UTF-8, else Latin-1, in which every byte is a letter: `°C` of an old machine.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}
