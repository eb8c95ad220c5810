//! Files into a [`Frame`].
//!
//! A table is *wide*, a column for each variable, or *long*, a row for each time and tag with the
//! columns `time`, `tag`, `value` (what `trimloop export` writes). A long table is made wide: a row
//! for each time, in which a tag holds its last value, because a PLC says nothing while a value is
//! steady.

mod csv;
mod long;
#[cfg(feature = "parquet")]
mod parquet;
mod table;
mod texts;
mod title;

pub use texts::{Cell as TextCell, Texts, texts};
#[cfg(feature = "train")]
pub(super) use title::named;

use std::path::PathBuf;

use super::{Frame, FrameBuilder, LearnError};
use crate::export::FileFormat;

/// Reads files one after the other; each row's file stays known.
///
/// # Errors
/// [`LearnError::File`] for what is no table, [`LearnError::NoRows`] for titles without rows.
pub fn frame(paths: &[PathBuf]) -> Result<Frame, LearnError> {
    let mut builder = FrameBuilder::default();
    for path in paths {
        match FileFormat::of(path) {
            #[cfg(feature = "parquet")]
            Some(FileFormat::Parquet) => parquet::read(path, &mut builder)?,
            #[cfg(not(feature = "parquet"))]
            Some(FileFormat::Parquet) => {
                let what = "this trimloop was built without the feature `parquet`".to_owned();
                return Err(LearnError::File { path: path.clone(), what });
            }
            Some(FileFormat::Xlsx) => {
                let what = "XLSX cannot be read; save it as CSV".to_owned();
                return Err(LearnError::File { path: path.clone(), what });
            }
            // Whatever else it is called: .txt, .tsv, .dat.
            Some(FileFormat::Csv) | None => csv::read(path, &mut builder)?,
        }
    }
    builder.finish()
}
