//! Files, one after the other in time.

use std::path::{Path, PathBuf};

use super::csv::CsvFile;
#[cfg(feature = "parquet")]
use super::parquet::ParquetFile;
use super::{Each, Units};
use crate::export::{FileFormat, ReadError};

/// One file that was looked at.
#[derive(Debug)]
enum DataFile {
    Csv(CsvFile),
    #[cfg(feature = "parquet")]
    Parquet(ParquetFile),
}

/// Files in the order of time.
#[derive(Debug)]
pub struct Files(Vec<DataFile>);

impl DataFile {
    fn open(path: &Path) -> Result<Self, ReadError> {
        let failed = |what: &str| ReadError::File { path: path.to_owned(), what: what.to_owned() };
        match FileFormat::of(path) {
            Some(FileFormat::Csv) => Ok(Self::Csv(CsvFile::open(path)?)),
            #[cfg(feature = "parquet")]
            Some(FileFormat::Parquet) => Ok(Self::Parquet(ParquetFile::open(path)?)),
            #[cfg(not(feature = "parquet"))]
            Some(FileFormat::Parquet) => {
                Err(failed("this trimloop was built without the feature `parquet`"))
            }
            Some(FileFormat::Xlsx) | None => {
                Err(failed("its name ends neither in .csv nor in .parquet"))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Csv(file) => &file.path,
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => &file.path,
        }
    }

    fn extent(&self) -> (i64, i64) {
        match self {
            Self::Csv(file) => file.extent,
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.extent,
        }
    }

    fn units(&self) -> &Units {
        match self {
            Self::Csv(file) => &file.units.0,
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => &file.units.0,
        }
    }

    fn read(&self, names: &[String], range: (i64, i64), each: Each<'_>) -> Result<(), ReadError> {
        match self {
            Self::Csv(file) => file.read(names, range, each),
            #[cfg(feature = "parquet")]
            Self::Parquet(file) => file.read(names, range, each),
        }
    }
}

impl Files {
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, ReadError> {
        let mut files = paths.iter().map(|p| DataFile::open(p)).collect::<Result<Vec<_>, _>>()?;
        files.sort_by_key(DataFile::extent);
        for (before, after) in files.iter().zip(files.iter().skip(1)) {
            if before.extent().1 >= after.extent().0 {
                let path = after.path().to_owned();
                let what = format!("begins before {} ends", before.path().display());
                return Err(ReadError::File { path, what });
            }
        }
        Ok(Self(files))
    }

    pub(super) fn name(&self) -> String {
        let names = self.0.iter().map(|file| file.path().display().to_string());
        names.collect::<Vec<String>>().join(", ")
    }

    pub(super) fn extent(&self) -> Option<(i64, i64)> {
        let all = self.0.iter().map(DataFile::extent).filter(|(first, last)| first <= last);
        all.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    pub(super) fn units(&self) -> Units {
        let mut units = Units::new();
        for (tag, found) in self.0.iter().flat_map(|file| file.units()) {
            units.entry(tag.clone()).or_default().extend(found.iter().cloned());
        }
        units
    }

    pub(super) fn read(
        &self,
        names: &[String],
        range: (i64, i64),
        each: Each<'_>,
    ) -> Result<(), ReadError> {
        let touched = self.0.iter().filter(|file| {
            let (first, last) = file.extent();
            first < range.1 && last >= range.0
        });
        for file in touched {
            file.read(names, range, each)?;
        }
        Ok(())
    }
}
