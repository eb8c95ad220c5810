//! `trimloop model`: from recorded data to a signature that is in force.

mod backtest;
mod beside;
mod compare;
mod drift;
#[cfg(feature = "train")]
mod import;
mod life;
mod list;
mod score;
mod show;
#[cfg(feature = "train")]
mod train;

pub(super) use life::audit;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use trimloop_recipe::artifact::{Artifact, BYTES_MAX};

use super::load::settings;
use super::{Exit, Failure, Global, Ui};
use crate::error::EXPORT_FILE;
use crate::learn::LearnError;
use crate::learn::card::Card;
use crate::learn::lifecycle::{Lifecycle, State, family};

const EXAMPLES: &str = "\
Examples:
  trimloop model train --kind monitor --data normal.csv --far 0.01 --out models/press-r2
  trimloop model import weight.onnx --inputs train.csv --domain train.csv --out models/weight-r1
  trimloop model score --model models/press-r2 --data today.csv --format csv > scores.csv
  trimloop model show models/press-r2 --report press.html
  trimloop model backtest models/press-r2 --data later.csv
  trimloop model compare press models/press-r2 --data later.csv
  trimloop model beside press --last 7d
  trimloop model challenge press-r2 && trimloop model approve press-r2 --reason \"trial passed\"
  trimloop model promote press-r2 --reason \"fewer false alarms\"
  trimloop model rollback press --reason \"alarms on good parts\"

A model is named by its folder, by its name in the project's models folder, or as press: the
revision press-rN that is ACTIVE there.";

/// Signatures of defects: train, score, compare, bring into force.
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
    /// Take over trees or a linear model from an ONNX file
    #[cfg(feature = "train")]
    Import(import::ImportArgs),
    /// Score rows with a model
    Score(score::ScoreArgs),
    /// The card of a model, and its report with plots
    Show(show::ShowArgs),
    /// Models of this project, with their states
    List(list::ListArgs),
    /// Champion and challenger on the same rows
    Compare(compare::CompareArgs),
    /// Champion and challenger by what they said live
    Beside(beside::BesideArgs),
    /// Gates on rows a model was not trained on; TRAINED becomes BACKTESTED
    Backtest(backtest::BacktestArgs),
    /// Whether rows still look like those of training, and errors are still as small
    Drift(drift::DriftArgs),
    /// BACKTESTED becomes CHALLENGER: it runs beside the champion and drives nothing
    Challenge(life::LifeArgs),
    /// CHALLENGER becomes APPROVED: a person takes responsibility
    Approve(life::LifeArgs),
    /// APPROVED becomes ACTIVE, the ACTIVE one of its family RETIRED
    Promote(life::LifeArgs),
    /// ACTIVE becomes SUSPENDED
    Suspend(life::LifeArgs),
    /// Out of use for good
    Retire(life::LifeArgs),
    /// The ACTIVE one becomes SUSPENDED, the one before it ACTIVE
    Rollback(life::LifeArgs),
}

pub(super) fn run(ui: &Ui, global: &Global, args: &ModelArgs) -> Result<Exit, Failure> {
    match &args.verb {
        #[cfg(feature = "train")]
        Verb::Train(args) => train::run(ui, global, args),
        #[cfg(feature = "train")]
        Verb::Import(args) => import::run(ui, global, args),
        Verb::Score(args) => score::run(ui, global, args),
        Verb::Show(args) => show::run(ui, global, args),
        Verb::List(args) => list::run(ui, global, args),
        Verb::Compare(args) => compare::run(ui, global, args),
        Verb::Beside(args) => beside::run(ui, global, args),
        Verb::Backtest(args) => backtest::run(ui, global, args),
        Verb::Drift(args) => drift::run(ui, global, args),
        Verb::Challenge(args) => life::step(ui, global, args, State::Challenger),
        Verb::Approve(args) => life::step(ui, global, args, State::Approved),
        Verb::Promote(args) => life::promote(ui, global, args),
        Verb::Suspend(args) => life::step(ui, global, args, State::Suspended),
        Verb::Retire(args) => life::step(ui, global, args, State::Retired),
        Verb::Rollback(args) => life::rollback(ui, global, args),
    }
}

/// Why a person does this.
#[derive(Debug, Args)]
struct Why {
    /// Why; goes into the audit trail
    #[arg(
        long,
        env = "TRIMLOOP_REASON",
        hide_env = true,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,
}

/// A model with what stands beside it.
struct Opened {
    /// Folder of the model.
    dir: PathBuf,
    artifact: Artifact,
    life: Lifecycle,
    card: Card,
}

impl Opened {
    /// Opens the model that a person named.
    fn find(global: &Global, named: &Path) -> Result<Self, Failure> {
        let path = locate(global, named)?;
        Self::open(&path).map_err(|error| failure(&error))
    }

    /// Opens the model in a folder or file.
    fn open(path: &Path) -> Result<Self, LearnError> {
        let file = file_of(path);
        let artifact = read(&file)?;
        let hash = hex(&artifact.hash());
        let dir = file.parent().unwrap_or(Path::new("")).to_owned();
        let life = Lifecycle::read(&dir, &hash)?;
        let card = card(&dir, &artifact, &hash)?;
        Ok(Self { dir, artifact, life, card })
    }

    /// Name of its folder, for people.
    fn name(&self) -> String {
        let name = self.dir.canonicalize().ok();
        let name = name.as_ref().and_then(|dir| dir.file_name());
        name.map_or_else(|| self.card.id.clone(), |name| name.to_string_lossy().into_owned())
    }
}

/// Where the named model is: a folder or file that is there, else a model of the project, else the
/// ACTIVE revision of that name.
fn locate(global: &Global, named: &Path) -> Result<PathBuf, Failure> {
    if named.exists() {
        return Ok(named.to_owned());
    }
    // A path says where to look; a bare name is looked up in the project.
    if named.components().count() > 1 {
        return Err(failure(&LearnError::NoModel(named.to_owned())));
    }
    let dir = settings(global)?.models.join(named);
    if dir.exists() {
        return Ok(dir);
    }
    let active = family_of(&dir)
        .into_iter()
        .find(|other| Opened::open(other).is_ok_and(|model| model.life.state == State::Active));
    active.ok_or_else(|| {
        failure(&LearnError::NoModel(dir)).help(
            "name a folder with model.tlm, or a model of the project; `trimloop model list` shows \
             them",
        )
    })
}

/// Revisions of a name without one.
fn family_of(dir: &Path) -> Vec<PathBuf> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    family(&dir.with_file_name(format!("{name}-r1")))
}

/// The card beside a model; one that is missing or of another model is made of the artifact.
fn card(dir: &Path, artifact: &Artifact, hash: &str) -> Result<Card, LearnError> {
    let path = dir.join("card.json");
    let wrong = |what: String| LearnError::File { path: path.clone(), what };
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let card: Card = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
            if card.model != hash {
                return Err(wrong("it is the card of another model.tlm".to_owned()));
            }
            Ok(card)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let header = artifact.header();
            let facts = [("rows", header.rows.to_string()), ("fit", header.note.clone())];
            Ok(Card {
                id: header.id.clone(),
                model: hash.to_owned(),
                headline: format!("A {} model without a card.", header.kind.word()),
                facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
                ..Card::default()
            })
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn read(path: &Path) -> Result<Artifact, LearnError> {
    let wrong = |what: String| LearnError::File { path: path.to_owned(), what };
    if !path.is_file() {
        return Err(LearnError::NoModel(path.to_owned()));
    }
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if usize::try_from(size).unwrap_or(usize::MAX) > BYTES_MAX {
        return Err(wrong(format!("{size} bytes are more than any model has")));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let path = path.to_owned();
    Artifact::read(&bytes).map_err(|source| LearnError::Artifact { path, source })
}

fn file_of(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|end| end == "tlm") {
        path.to_owned()
    } else {
        path.join("model.tlm")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of each file, hexadecimal.
pub(super) fn digests(paths: &[PathBuf]) -> Result<Vec<String>, LearnError> {
    use sha2::{Digest as _, Sha256};
    let digest = |path: &PathBuf| {
        let wrong = |error: std::io::Error| LearnError::File {
            path: path.clone(),
            what: error.to_string(),
        };
        // Read in pieces: tables outgrow what should be held twice.
        let mut file = std::fs::File::open(path).map_err(wrong)?;
        let (mut sha, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
        loop {
            let read = std::io::Read::read(&mut file, &mut buffer).map_err(wrong)?;
            match buffer.get(..read) {
                Some(bytes) if read > 0 => sha.update(bytes),
                _ => return Ok(hex(&sha.finalize())),
            }
        }
    };
    paths.iter().map(digest).collect()
}

/// Whether whoever read our output has had enough: `| head`.
fn nobody_reads(error: &LearnError) -> bool {
    matches!(error, LearnError::Write(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
}

pub(super) fn failure(error: &LearnError) -> Failure {
    let exit = match error {
        LearnError::Option(_) | LearnError::NoModel(_) => Exit::Usage,
        LearnError::Interrupted => Exit::Interrupted,
        _ => Exit::Failed,
    };
    Failure::new(error.code(), error.to_string(), exit).help(error.help())
}

/// Lines of cells under one another.
pub(super) fn table_text<const N: usize>(lines: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<String>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A file that is not written over unasked.
pub(super) fn write_new(path: &Path, bytes: &[u8], over: bool) -> Result<(), Failure> {
    if path.exists() && !over {
        let message = format!("{} is there already", path.display());
        return Err(Failure::new(&EXPORT_FILE, message, Exit::Usage)
            .help("choose another file, or write over it with --force"));
    }
    write(path, bytes)
}

/// A file beside others, whole or not there.
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
