//! A file that is there whole or not at all: written under another name beside it, brought to the
//! disk, then renamed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::{Column, CsvSheet, Sheet};
use crate::output::Zone;

/// Format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// `.csv`
    Csv,
    /// `.xlsx`
    Xlsx,
    /// `.parquet`
    Parquet,
}

impl FileFormat {
    /// By the end of the file's name.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "xlsx" => Some(Self::Xlsx),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// The cargo feature that this build lacks for it.
    #[must_use]
    pub fn missing_feature(self) -> Option<&'static str> {
        match self {
            Self::Xlsx if cfg!(not(feature = "xlsx")) => Some("xlsx"),
            Self::Parquet if cfg!(not(feature = "parquet")) => Some("parquet"),
            _ => None,
        }
    }
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is there already.
    #[error("{} is there already", .path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// This build cannot write the format.
    #[error("this trimloop was built without the feature `{feature}`")]
    Feature {
        /// Which.
        feature: &'static str,
    },
    /// It cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A file on its way. Dropped before [`Self::keep`], nothing is left of it.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    part: PathBuf,
    file: File,
    kept: bool,
}

impl OutputFile {
    /// Begins a file.
    ///
    /// # Errors
    /// [`FileError`] when it is there and must not be written over, or cannot be made.
    pub fn begin(path: &Path, over: bool) -> Result<Self, FileError> {
        if path.exists() && !over {
            return Err(FileError::Exists { path: path.to_owned() });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part)
            .map_err(|source| FileError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), part, file, kept: false })
    }

    /// A sheet into it.
    ///
    /// # Errors
    /// [`FileError`] when it cannot be written, or this build does not know the format.
    pub fn sheet(
        &self,
        format: FileFormat,
        columns: &[Column],
        zone: Zone,
        title: &str,
    ) -> Result<Box<dyn Sheet>, FileError> {
        let failed = |source| FileError::Write { path: self.path.clone(), source };
        if let Some(feature) = format.missing_feature() {
            return Err(FileError::Feature { feature });
        }
        let file = self.file.try_clone().map_err(failed)?;
        let out = BufWriter::with_capacity(1 << 16, file);
        match format {
            #[cfg(feature = "xlsx")]
            FileFormat::Xlsx => super::xlsx::XlsxSheet::new(out, columns, zone, title)
                .map(|sheet| Box::new(sheet) as Box<dyn Sheet>)
                .map_err(failed),
            #[cfg(feature = "parquet")]
            FileFormat::Parquet => super::parquet::ParquetSheet::new(out, columns)
                .map(|sheet| Box::new(sheet) as Box<dyn Sheet>)
                .map_err(failed),
            _ => {
                let _ = title;
                let sheet = CsvSheet::new(out, columns, zone).map_err(failed)?;
                Ok(Box::new(sheet))
            }
        }
    }

    /// Writes text instead of a sheet.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn text(&self, text: &str) -> Result<(), FileError> {
        let failed = |source| FileError::Write { path: self.path.clone(), source };
        (&self.file).write_all(text.as_bytes()).map_err(failed)
    }

    /// Brings it to the disk under its own name; its bytes.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn keep(mut self) -> Result<u64, FileError> {
        let failed = |source| FileError::Write { path: self.path.clone(), source };
        self.file.sync_all().map_err(failed)?;
        let bytes = self.file.metadata().map_err(failed)?.len();
        std::fs::rename(&self.part, &self.path).map_err(failed)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(failed)?;
        folder.sync_all().map_err(failed)?;
        self.kept = true;
        Ok(bytes)
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if !self.kept && std::fs::remove_file(&self.part).is_err() {
            tracing::debug!(file = %self.part.display(), "A part of a file was left behind.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until it is kept there is no file, and afterwards no part of one.
    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = std::env::temp_dir().join(format!("trimloop-output-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("rows.csv");
        let names = || std::fs::read_dir(&dir).unwrap().count();
        for keep in [false, true] {
            let file = OutputFile::begin(&path, false).unwrap();
            let sheet = file.sheet(FileFormat::Csv, &[], Zone::Utc, "").unwrap();
            sheet.finish().unwrap();
            assert!(!path.exists());
            if keep {
                assert_eq!(file.keep().unwrap(), 1);
            }
        }
        assert_eq!(names(), 1);
        assert!(matches!(OutputFile::begin(&path, false), Err(FileError::Exists { .. })));
        drop(OutputFile::begin(&path, true).unwrap());
        assert!(path.exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
