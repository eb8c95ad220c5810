//! Where the samples come from: the history of a service, or files that `trimloop export` wrote.

mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::export::{RawSample, ReadError};

/// Gets each sample; an error ends the reading.
pub(super) type Each<'a> = &'a mut dyn FnMut(RawSample) -> Result<(), ReadError>;

/// Samples of one plant.
#[derive(Debug)]
pub enum Data {
    /// A data folder with day files.
    Store(PathBuf),
}

/// Units that a tag has in a range, with where each was found.
pub(super) type Units = BTreeMap<String, Vec<(String, String)>>;

impl Data {
    /// What it is, for people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Store(dir) => format!("history in {}", dir.display()),
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

    /// First and last sample [ns UTC].
    ///
    /// # Errors
    /// [`ReadError`] when it cannot be read.
    pub fn extent(&self) -> Result<Option<(i64, i64)>, ReadError> {
        match self {
            Self::Store(dir) => store::extent(dir),
        }
    }

    /// Tags of a range with their units.
    pub(super) fn units(&self, from: i64, to: i64) -> Result<Units, ReadError> {
        match self {
            Self::Store(dir) => store::open(dir)?.tag_units(from, to),
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
        }
    }
}
