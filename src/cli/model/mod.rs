//! `trimloop model`: from recorded data to a signature that is in force.

mod score;
#[cfg(feature = "train")]
mod train;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global, Ui};
use crate::error::EXPORT_FILE;
use crate::learn::LearnError;
use trimloop_recipe::artifact::{Artifact, BYTES_MAX};

const EXAMPLES: &str = "\
Examples:
  trimloop model train --kind monitor --data normal.csv --far 0.01 --out models/press-r1
  trimloop model score --model models/press-r1 --data today.csv --format csv > scores.csv
  trimloop model train --kind regression --label weight --data parts.csv --out models/weight-r2

Tables are CSV (, ; tab; titles in the first line, a unit as `name [unit]`) or, in builds with that
feature, Parquet.";

/// Models: train, score.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ModelArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Learn a model from recorded rows
    #[cfg(feature = "train")]
    Train(train::TrainArgs),
    /// Score rows with a model
    Score(score::ScoreArgs),
}

pub(super) fn run(ui: &Ui, _global: &Global, args: &ModelArgs) -> Result<Exit, Failure> {
    match &args.verb {
        #[cfg(feature = "train")]
        Verb::Train(args) => train::run(ui, args),
        Verb::Score(args) => score::run(ui, args),
    }
}

/// The model of a folder, or in a file.
fn open(path: &Path) -> Result<Artifact, LearnError> {
    let path = file_of(path);
    let wrong = |what: String| LearnError::File { path: path.clone(), what };
    if !path.is_file() {
        return Err(LearnError::NoModel(path));
    }
    let size = std::fs::metadata(&path).map_err(|error| wrong(error.to_string()))?.len();
    if usize::try_from(size).unwrap_or(usize::MAX) > BYTES_MAX {
        return Err(wrong(format!("{size} bytes are more than any model has")));
    }
    let bytes = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
    Artifact::read(&bytes).map_err(|source| LearnError::Artifact { path, source })
}

fn file_of(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|end| end == "tlm") {
        path.to_owned()
    } else {
        path.join("model.tlm")
    }
}

/// Whether whoever read our output has had enough: `| head`.
fn nobody_reads(error: &LearnError) -> bool {
    matches!(error, LearnError::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn failure(error: &LearnError) -> Failure {
    let exit = match error {
        LearnError::Option(_) => Exit::Usage,
        LearnError::Interrupted => Exit::Interrupted,
        _ => Exit::Failed,
    };
    Failure::new(error.code(), error.to_string(), exit).help(error.help())
}

/// A file beside others, whole or not there.
#[cfg(feature = "train")]
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    let failed = |error: std::io::Error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::new(&EXPORT_FILE, message, Exit::Failed)
    };
    let part = path.with_extension("part");
    let mut file = std::fs::File::create(&part).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&part, path).map_err(failed)
}
