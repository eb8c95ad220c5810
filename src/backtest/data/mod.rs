//! Where the samples come from: the history of a service, or files that `trimloop export` wrote.

mod csv;
mod files;
mod layout;
#[cfg(feature = "parquet")]
mod parquet;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::export::{RawSample, ReadError};

pub use files::Files;

/// Gets each sample; an error ends the reading.
pub(super) type Each<'a> = &'a mut dyn FnMut(RawSample) -> Result<(), ReadError>;

/// Samples of one plant.
#[derive(Debug)]
pub enum Data {
    /// A data folder with day files.
    Store(PathBuf),
    /// Files of `trimloop export`, one after the other in time.
    Files(Files),
}

/// Units that a tag has in a range, with where each was found.
pub(super) type Units = BTreeMap<String, Vec<(String, String)>>;

impl Data {
    /// What it is, for people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Store(dir) => format!("history in {}", dir.display()),
            Self::Files(files) => files.name(),
        }
    }

    /// A history.
    ///
    /// # Errors
    /// [`ReadError::NoStore`] when there is none.
    pub fn store(dir: &Path) -> Result<Self, ReadError> {
        store::open(dir)?;
        Ok(Self::Store(dir.to_owned()))
    }

    /// CSV or Parquet files, in any order; each is looked through once.
    ///
    /// # Errors
    /// [`ReadError::File`] when one cannot be read, holds something else, or two overlap in time.
    pub fn files(paths: &[PathBuf]) -> Result<Self, ReadError> {
        Files::open(paths).map(Self::Files)
    }

    /// First and last sample [ns UTC].
    ///
    /// # Errors
    /// [`ReadError`] when it cannot be read.
    pub fn extent(&self) -> Result<Option<(i64, i64)>, ReadError> {
        match self {
            Self::Store(dir) => store::extent(dir),
            Self::Files(files) => Ok(files.extent()),
        }
    }

    /// Tags of a range with their units.
    pub(super) fn units(&self, from: i64, to: i64) -> Result<Units, ReadError> {
        match self {
            Self::Store(dir) => store::open(dir)?.tag_units(from, to),
            Self::Files(files) => Ok(files.units()),
        }
    }

    /// Samples of the named tags, in the order of time.
    pub(super) fn read(
        &self,
        names: &[String],
        range: (i64, i64),
        each: Each<'_>,
    ) -> Result<(), ReadError> {
        match self {
            Self::Store(dir) => store::open(dir)?.raw_samples(names, range, each),
            Self::Files(files) => files.read(names, range, each),
        }
    }
}
