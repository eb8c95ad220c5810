//! Rows of one or more files as columns in memory: 8 bytes a number, 4 bytes a text.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use super::LearnError;
use super::spelling::{Spelling, is_plain};
use crate::export::number_text;

/// Code of a text that is missing.
pub const MISSING: u32 = u32::MAX;

/// A table in the order of its files and rows.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    columns: Vec<Column>,
    time: Option<Time>,
    files: Vec<(PathBuf, Range<usize>)>,
    rows: usize,
}

/// A named column, without the time.
#[derive(Clone, Debug)]
pub struct Column {
    /// Name without unit, unique in the frame.
    pub name: String,
    /// Unit as the file writes it; empty where none is given.
    pub unit: String,
    /// Its values.
    pub values: Values,
    /// First cell that is no number where most are.
    bad: Option<BadCell>,
    /// Of a column of numbers the cells that stay as they are written when they are labels.
    spelling: Option<Box<Spelling>>,
}

/// Values from top to bottom.
#[derive(Clone, Debug)]
pub enum Values {
    /// `[rows]` numbers; NaN where there is none.
    Number(Vec<f64>),
    /// Texts.
    Text {
        /// Every text once, in the order of appearance.
        levels: Vec<String>,
        /// `[rows]` places in `levels`; [`MISSING`] where there is none.
        codes: Vec<u32>,
    },
}

/// When the rows were recorded.
#[derive(Clone, Debug)]
pub struct Time {
    /// Title of the column.
    pub name: String,
    /// `[rows]` as the file writes it.
    pub shown: Vec<Box<str>>,
    /// As numbers.
    pub clock: Clock,
}

/// Times as numbers.
#[derive(Clone, Debug)]
pub enum Clock {
    /// `[rows]` nanoseconds since 1970, UTC; `i64::MIN` where there is none.
    Utc(Vec<i64>),
    /// `[rows]` in a unit of the file's own, such as minutes since the start; NaN where there is
    /// none.
    Number(Vec<f64>),
}

#[derive(Clone, Debug)]
struct BadCell {
    file: String,
    line: u64,
    place: usize,
    text: String,
}

impl Column {
    /// A column of numbers, NaN where one is missing.
    #[must_use]
    pub fn of_numbers(name: &str, unit: &str, numbers: Vec<f64>) -> Self {
        let values = Values::Number(numbers);
        Self { name: name.to_owned(), unit: unit.to_owned(), values, bad: None, spelling: None }
    }

    /// A column of texts, of numbers where most are.
    #[must_use]
    pub fn of_texts(name: &str, texts: &[Option<String>]) -> Self {
        let mut growing = Growing { name: name.to_owned(), ..Growing::default() };
        for (row, text) in texts.iter().enumerate() {
            let number = text.as_ref().map_or(Some(f64::NAN), |text| text.parse().ok());
            growing.numbers.push(number.unwrap_or(f64::NAN));
            if let (Some(_), Some(text)) = (number, text)
                && !is_plain(text)
            {
                growing.spelling.note(row, text);
            }
            if let (None, Some(text)) = (number, text) {
                let code = growing.level(text);
                growing.texts.push((row, code));
            }
        }
        growing.finish(texts.len())
    }

    /// Whether it holds texts.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.values, Values::Text { .. })
    }

    /// `[rows]` its numbers.
    ///
    /// # Errors
    /// [`LearnError::Cell`] for the first cell that is none; [`LearnError::Train`] for texts.
    pub fn numbers(&self) -> Result<&[f64], LearnError> {
        if let Some(bad) = &self.bad {
            return Err(LearnError::Cell {
                file: bad.file.clone(),
                line: bad.line,
                place: bad.place,
                column: self.name.clone(),
                text: bad.text.clone(),
            });
        }
        match &self.values {
            Values::Number(numbers) => Ok(numbers),
            Values::Text { .. } => Err(LearnError::Train(format!(
                "the column {} holds text, this kind of model takes numbers; leave it out with \
                 --ignore {}",
                self.name, self.name
            ))),
        }
    }

    /// Text of one row, numbers as short as they can be written (`4`, not `4.0`); `None` where
    /// there is none.
    #[must_use]
    pub fn text(&self, row: usize) -> Option<String> {
        match &self.values {
            Values::Number(numbers) => {
                numbers.get(row).filter(|x| !x.is_nan()).map(|x| number_text(*x))
            }
            Values::Text { levels, codes } => {
                let code = codes.get(row).copied()?;
                levels.get(usize::try_from(code).ok()?).cloned()
            }
        }
    }

    /// Text of one row as a label: as [`Column::text`], but where the column holds a text, or
    /// digits that a number would not keep, such as `01`, every cell stays as it is written.
    #[must_use]
    pub fn written(&self, row: usize) -> Option<String> {
        let spelt = self.spelling.as_ref().and_then(|spelling| spelling.of(row));
        spelt.map(str::to_owned).or_else(|| self.text(row))
    }

    /// Whether a row may be written otherwise than its number is printed.
    #[must_use]
    pub fn is_spelt(&self) -> bool {
        self.spelling.is_some()
    }

    /// Number of missing cells.
    #[must_use]
    pub fn missing(&self) -> usize {
        match &self.values {
            Values::Number(numbers) => numbers.iter().filter(|x| x.is_nan()).count(),
            Values::Text { codes, .. } => codes.iter().filter(|code| **code == MISSING).count(),
        }
    }
}

impl Frame {
    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Its columns, the time left out.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Names of its columns.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// The column of a name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column of a name.
    ///
    /// # Errors
    /// [`LearnError::Columns`] when there is none.
    pub fn need(&self, name: &str) -> Result<&Column, LearnError> {
        self.column(name).ok_or_else(|| LearnError::Columns {
            missing: vec![name.to_owned()],
            known: self.names(),
        })
    }

    /// Whether the column of times has this name: it is no column like others, and may be left out
    /// like one.
    #[must_use]
    pub fn is_time(&self, name: &str) -> bool {
        self.time.as_ref().is_some_and(|time| time.name == name)
    }

    /// Adds a column, such as a derived one; one of the same name is replaced.
    pub fn put(&mut self, column: Column) {
        self.columns.retain(|old| old.name != column.name);
        self.columns.push(column);
    }

    /// Takes a column out, if it is there.
    pub fn remove(&mut self, name: &str) {
        self.columns.retain(|column| column.name != name);
    }

    /// When the rows were recorded; `None` when the files do not say.
    #[must_use]
    pub fn time(&self) -> Option<&Time> {
        self.time.as_ref()
    }

    /// The files with their rows.
    #[must_use]
    pub fn files(&self) -> &[(PathBuf, Range<usize>)] {
        &self.files
    }

    /// The time of a row as text: what the file writes, else the row's number counted from 1.
    #[must_use]
    pub fn shown_time(&self, row: usize) -> String {
        let shown = self.time.as_ref().and_then(|time| time.shown.get(row));
        shown.map_or_else(|| (row + 1).to_string(), |text| text.to_string())
    }
}

/// Takes cells in the order of files and rows.
#[derive(Debug, Default)]
pub struct FrameBuilder {
    columns: Vec<Growing>,
    places: HashMap<String, usize>,
    files: Vec<(PathBuf, Range<usize>)>,
    rows: usize,
    time: Option<String>,
    shown: Vec<Box<str>>,
    utc: Vec<i64>,
    number: Vec<f64>,
}

/// A column on its way: numbers, and beside them what was none.
#[derive(Debug, Default)]
struct Growing {
    name: String,
    unit: String,
    numbers: Vec<f64>,
    texts: Vec<(usize, u32)>,
    levels: Vec<String>,
    known: HashMap<String, u32>,
    bad: Option<BadCell>,
    spelling: Spelling,
}

/// A cell.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    /// None.
    Missing,
    /// A number.
    Number(f64),
    /// A number that may be written otherwise than it is printed.
    Spelt(f64, &'a str),
    /// A text, with its line and its place in the line, for people.
    Text(&'a str, u64, usize),
}

impl FrameBuilder {
    /// Begins a file whose columns are `(name, unit)`; gives the place of each for
    /// [`FrameBuilder::cell`].
    ///
    /// # Errors
    /// [`LearnError::File`] when a name comes twice, or when the columns are not those of the file
    /// before; [`LearnError::Unit`] when a unit is not.
    pub fn begin(
        &mut self,
        path: &std::path::Path,
        columns: &[(String, String)],
        time: Option<&str>,
    ) -> Result<Vec<usize>, LearnError> {
        let wrong = |what: String| LearnError::File { path: path.to_owned(), what };
        let first = self.files.is_empty();
        let mut places = Vec::new();
        for (name, unit) in columns {
            if first && !self.places.contains_key(name) {
                self.places.insert(name.clone(), self.columns.len());
                let (name, unit) = (name.clone(), unit.clone());
                self.columns.push(Growing { name, unit, ..Growing::default() });
            } else if first {
                return Err(wrong(format!("the column {name} is there twice")));
            }
            let Some(place) = self.places.get(name).copied() else {
                return Err(wrong(format!("it has a column {name} that the first file has not")));
            };
            if places.contains(&place) {
                return Err(wrong(format!("the column {name} is there twice")));
            }
            if let Some(column) = self.columns.get(place)
                && column.unit != *unit
            {
                return Err(wrong(format!(
                    "the column {name} is in \"{unit}\", in the first file in \"{}\"",
                    column.unit
                )));
            }
            places.push(place);
        }
        if let Some(lost) = (0..self.columns.len()).find(|place| !places.contains(place)) {
            let name = self.columns.get(lost).map_or("", |column| column.name.as_str());
            return Err(wrong(format!("it has no column {name}, the first file has one")));
        }
        if first {
            self.time = time.map(str::to_owned);
        } else if self.time.as_deref() != time {
            return Err(wrong("it and the first file do not have the same time column".to_owned()));
        }
        self.files.push((path.to_owned(), self.rows..self.rows));
        Ok(places)
    }

    /// The cell of a column in the row that is being filled.
    pub fn cell(&mut self, place: usize, cell: Cell<'_>) {
        let file = self.files.last().map(|(path, _)| path);
        let Some(column) = self.columns.get_mut(place) else { return };
        // A column may be given in any order, but only once a row.
        column.numbers.resize(self.rows, f64::NAN);
        match cell {
            Cell::Missing => column.numbers.push(f64::NAN),
            Cell::Number(x) => column.numbers.push(x),
            Cell::Spelt(x, text) => {
                column.numbers.push(x);
                column.spelling.note(self.rows, text);
            }
            Cell::Text(text, line, at) => {
                column.numbers.push(f64::NAN);
                let code = column.level(text);
                column.texts.push((self.rows, code));
                if column.bad.is_none() {
                    column.bad = Some(BadCell {
                        file: file.map_or_else(String::new, |path| path.display().to_string()),
                        line,
                        place: at,
                        text: text.to_owned(),
                    });
                }
            }
        }
    }

    /// The time of the row that is being filled: as shown, in UTC [ns], as a number.
    pub fn at(&mut self, shown: &str, utc: i64, number: f64) {
        self.shown.push(shown.into());
        self.utc.push(utc);
        self.number.push(number);
    }

    /// Ends a row; columns without a cell are missing.
    pub fn end_row(&mut self) {
        self.rows += 1;
        if let Some((_, rows)) = self.files.last_mut() {
            rows.end = self.rows;
        }
    }

    /// The frame.
    ///
    /// # Errors
    /// [`LearnError::NoRows`] without rows.
    pub fn finish(self) -> Result<Frame, LearnError> {
        if self.rows == 0 {
            let names = self.files.iter().map(|(path, _)| path.display().to_string());
            let names = names.collect::<Vec<String>>().join(", ");
            return Err(LearnError::NoRows(format!("{names} holds titles only")));
        }
        let rows = self.rows;
        let clock = if self.utc.iter().any(|utc| *utc != i64::MIN) {
            Clock::Utc(self.utc)
        } else {
            Clock::Number(self.number)
        };
        let time = self.time.map(|name| Time { name, shown: self.shown, clock });
        let columns = self.columns.into_iter().map(|column| column.finish(rows)).collect();
        Ok(Frame { columns, time, files: self.files, rows })
    }
}

impl Growing {
    fn level(&mut self, text: &str) -> u32 {
        if let Some(code) = self.known.get(text) {
            return *code;
        }
        let code = u32::try_from(self.levels.len()).unwrap_or(MISSING);
        self.known.insert(text.to_owned(), code);
        self.levels.push(text.to_owned());
        code
    }

    /// Numbers where most cells are, else texts.
    fn finish(mut self, rows: usize) -> Column {
        self.numbers.resize(rows, f64::NAN);
        let numbers = self.numbers.iter().filter(|x| !x.is_nan()).count();
        if self.texts.len() <= numbers {
            let keep = !self.texts.is_empty() || self.spelling.has_name();
            for (row, code) in &self.texts {
                let text = usize::try_from(*code).ok().and_then(|code| self.levels.get(code));
                self.spelling.note(*row, text.map_or("", String::as_str));
            }
            self.spelling.sort();
            return Column {
                name: self.name,
                unit: self.unit,
                values: Values::Number(self.numbers),
                bad: self.bad,
                spelling: keep.then(|| Box::new(self.spelling)),
            };
        }
        let mut codes = vec![MISSING; rows];
        let whole = std::mem::take(&mut self.numbers);
        let spelling = std::mem::take(&mut self.spelling);
        for (row, (slot, x)) in codes.iter_mut().zip(whole).enumerate() {
            if x.is_nan() {
                continue;
            }
            let text = spelling.of(row).map_or_else(|| number_text(x), str::to_owned);
            *slot = self.level(&text);
        }
        for (row, code) in &self.texts {
            if let Some(slot) = codes.get_mut(*row) {
                *slot = *code;
            }
        }
        let values = Values::Text { levels: self.levels, codes };
        Column { name: self.name, unit: self.unit, values, bad: None, spelling: None }
    }
}
