//! The day files of a history.

use std::path::Path;

use crate::export::{Archive, ReadError, What};

pub(super) fn open(dir: &Path) -> Result<Archive, ReadError> {
    Archive::open(dir)
}

pub(super) fn extent(dir: &Path) -> Result<Option<(i64, i64)>, ReadError> {
    open(dir)?.extent(What::Samples, false)
}
