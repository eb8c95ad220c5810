//! Rows out of the store, into files and onto the terminal.
//!
//! - A *selection* says what, of which names, from when to when ([`Selection`]).
//! - The *archive* reads it, a slice of time after the other, with bounded memory ([`Archive`]).
//! - A *sheet* takes rows: CSV, XLSX, Parquet, or a table for people ([`Sheet`]).
//!
//! Reads only, and never holds a transaction longer than one slice, so that the service beside it
//! is not held up.

mod archive;
mod csv;
mod file;
#[cfg(feature = "parquet")]
mod parquet;
mod raw;
mod rolled;
mod table;
#[cfg(feature = "xlsx")]
mod xlsx;

pub use archive::{Archive, ReadError};
pub use csv::{CsvSheet, cell_text};
pub use file::{FileError, FileFormat, OutputFile};
pub use raw::RawSample;
pub use table::{Every, Selection, Shape, Statistic, What, WriteTable};

use std::borrow::Cow;
use std::io;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nanoseconds since 1970, UTC; shown with so many digits of the second's fraction.
    Time(usize),
    /// A whole number.
    Int,
    /// A number; whole ones keep all their digits where the format can.
    Number,
    /// Text.
    Text,
    /// Yes or no.
    Bool,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Unit; empty where there is none, or where it stands in a column of its own.
    pub unit: String,
    /// What it holds.
    pub kind: Kind,
}

impl Column {
    /// A column without a unit.
    #[must_use]
    pub fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), unit: String::new(), kind }
    }

    /// The same with a unit.
    #[must_use]
    pub fn of_unit(name: &str, unit: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), kind }
    }

    /// `melt_temp [degC]`.
    #[must_use]
    pub fn title(&self) -> String {
        if self.unit.is_empty() {
            self.name.clone()
        } else {
            format!("{} [{}]", self.name, self.unit)
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing: unknown, not zero.
    Null,
    /// Nanoseconds since 1970, UTC.
    Time(i64),
    /// A whole number.
    Int(i64),
    /// Any number.
    Float(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// Yes or no.
    Bool(bool),
}

impl Cell<'_> {
    /// A number for formats that know only floating point: whole ones beyond 2^53 are rounded.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(i) | Self::Time(i) => Some(*i as f64),
            Self::Float(x) => Some(*x),
            Self::Bool(b) => Some(f64::from(u8::from(*b))),
            Self::Null | Self::Text(_) => None,
        }
    }
}

/// Takes the rows of one table.
pub trait Sheet {
    /// One row, as many cells as there are columns.
    ///
    /// # Errors
    /// When it cannot be written.
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()>;

    /// Ends the table; nothing is complete before.
    ///
    /// # Errors
    /// When the rest cannot be written.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A number as short as it can be read back exactly: `221.5`, `1e-7`.
#[must_use]
pub fn number_text(x: f64) -> String {
    let size = x.abs();
    if size != 0.0 && !(1e-5..1e16).contains(&size) { format!("{x:e}") } else { format!("{x}") }
}
