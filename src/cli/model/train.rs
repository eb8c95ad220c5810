//! `trimloop model train`.

use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::life::audit;
use super::{Opened, failure, write};
use crate::cli::source::SourceArgs;
use crate::cli::{Exit, Failure, Global, Ui};
use crate::error::EXPORT_FILE;
use crate::learn::card::Card;
use crate::learn::evaluate::Scores;
use crate::learn::kinds::{Learner, TrainKind, TrainRequest, Trained, train};
use crate::learn::lifecycle::{self, Lifecycle, State};
use crate::learn::{Frame, LearnError, drift, kinds, plots, read};

const EXAMPLES: &str = "\
Examples:
  trimloop model train --kind monitor --data normal.csv --far 0.01 --out models/press-r1
  trimloop model train --kind monitor --data normal.csv --calibration again.csv --out models/m-r1
  trimloop model train --kind classifier --label quality --data parts.csv --out models/q-r1
  trimloop model train --kind classifier --label-from-file 'fault_(\\d+)' --data f*.csv --out m/f-r1
  trimloop model train --kind regression --label weight --feature 'power = torque * speed' \\
      --ignore part_id --data parts.csv --out models/weight-r1
  trimloop model train --kind classifier --learner logistic --label nok --data parts.csv --out m/n-r1
  trimloop model train --kind regression --learner pls --label weight --data parts.csv --out m/w-r1
  trimloop model train --kind monitor --learner mewma --data parts.csv --out m/parts-r1
  trimloop model train --kind monitor --learner pca --data parts.csv --out m/plane-r1
  trimloop model train --kind monitor --learner dpca --lags 2 --data normal.csv --out m/dpca-r1

Rows are in the order of time; limits and errors come from held-out blocks of time. The same data,
options and seed give the same model.tlm, byte for byte. Memory: 8 bytes a cell for the table, twice
that while fitting: 100,000 rows of 200 columns take 0.7 GB, for a classifier too; dpca takes as
much again for each lag. Trees over more than 20,000 rows have a sample of them each, so that their
time does not grow with the table.";

/// What to learn from what.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct TrainArgs {
    /// What the model is for
    #[arg(long, env = "TRIMLOOP_KIND", hide_env = true, value_enum)]
    kind: TrainKind,
    /// How it is learnt [default: dynamic, forest, ridge by the kind]
    #[arg(long, env = "TRIMLOOP_LEARNER", hide_env = true, value_enum)]
    learner: Option<Learner>,
    /// Rows before each row that dpca judges with it, 1 to 10 [default: 2]
    #[arg(
        long,
        env = "TRIMLOOP_LAGS",
        hide_env = true,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=10)
    )]
    lags: Option<u8>,
    #[command(flatten)]
    source: SourceArgs,
    /// Column to predict or to tell apart
    #[arg(long, env = "TRIMLOOP_LABEL", hide_env = true, value_name = "COLUMN")]
    label: Option<String>,
    /// The label is in the file's name: first group of this pattern
    #[arg(long, env = "TRIMLOOP_LABEL_FROM_FILE", hide_env = true, value_name = "PATTERN")]
    label_from_file: Option<String>,
    /// Share of normal rows that may alarm
    #[arg(
        long,
        env = "TRIMLOOP_FAR",
        hide_env = true,
        value_name = "SHARE",
        default_value_t = 0.01
    )]
    far: f64,
    /// Another recording of normal operation, for the limits
    #[arg(
        long,
        env = "TRIMLOOP_CALIBRATION",
        hide_env = true,
        value_name = "FILE",
        num_args = 1..
    )]
    calibration: Vec<PathBuf>,
    /// Columns that are no inputs
    #[arg(long, env = "TRIMLOOP_IGNORE", hide_env = true, value_name = "COLUMNS", value_delimiter = ',', num_args = 1..)]
    ignore: Vec<String>,
    /// Another column made of those that are there; may be given again
    #[arg(long, env = "TRIMLOOP_FEATURE", hide_env = true, value_name = "NAME = FORMULA")]
    feature: Vec<String>,
    /// Seed of everything that is drawn
    #[arg(long, env = "TRIMLOOP_SEED", hide_env = true, default_value_t = 1)]
    seed: u64,
    /// Name in the model [default: kind and a hash of its inputs]
    #[arg(long, env = "TRIMLOOP_NAME", hide_env = true)]
    name: Option<String>,
    /// Folder for model.tlm and card.md
    #[arg(long, env = "TRIMLOOP_OUT", hide_env = true, value_name = "DIR")]
    out: PathBuf,
    /// Write over a model that is there and more than TRAINED
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    force: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &TrainArgs) -> Result<Exit, Failure> {
    let model = args.out.join("model.tlm");
    if model.exists() && !args.force {
        vacant(&model, &args.out)?;
    }
    if !(args.far > 0.0 && args.far <= 0.2) {
        let why = format!("--far {} must be above 0 and at most 0.2", args.far);
        return Err(failure(&LearnError::Option(why)));
    }
    let frame = args.source.frame(ui, global, args.label.as_deref())?;
    let trained = fit(ui, args, &frame).map_err(|error| failure(&error))?;
    settle(ui, global, &args.out, &trained, "train")
}

/// Writes a new model with its card into a folder, audits that, and tells it.
///
/// - `verb`: "train" or "import".
pub(super) fn settle(
    ui: &Ui,
    global: &Global,
    out: &Path,
    trained: &Trained,
    verb: &str,
) -> Result<Exit, Failure> {
    let model = out.join("model.tlm");
    std::fs::create_dir_all(out).map_err(|error| {
        let message = format!("cannot make {}: {error}", out.display());
        Failure::new(&EXPORT_FILE, message, Exit::Failed)
    })?;
    let card = &trained.card;
    let page = card.markdown();
    let facts = serde_json::to_string_pretty(card).unwrap_or_default() + "\n";
    write(&out.join("card.json"), facts.as_bytes())?;
    write(&out.join("card.md"), page.as_bytes())?;
    // A model that is written over begins its life anew.
    let life = Lifecycle::new(card.model.clone());
    write(&out.join(lifecycle::FILE), life.text().as_bytes())?;
    // Last, so that a folder with a model has its card.
    write(&model, &trained.artifact.write())?;
    audit(ui, global, &format!("model {} {verb}ed into {}", card.id, out.display()), "")?;
    for warning in &card.warnings {
        ui.warn(warning);
    }
    let mut object = ui.head(&format!("trimloop.model.{verb}/1"), true);
    object["model"] = json!(model);
    object["card"] = json!(card);
    ui.result(&format!("{page}\nWritten to {}\n", model.display()), &object);
    Ok(Exit::Ok)
}

/// A model that is merely trained is made again with one command; any other is not written over.
pub(super) fn vacant(model: &Path, dir: &Path) -> Result<(), Failure> {
    let state = Opened::open(dir).map(|there| there.life.state);
    if matches!(state, Ok(State::Trained)) {
        return Ok(());
    }
    let what = state.map_or_else(|error| error.to_string(), |state| state.word().to_owned());
    let message = format!("{} is there already ({what})", model.display());
    Err(Failure::new(&EXPORT_FILE, message, Exit::Usage)
        .help("choose another folder, or write over it with --force"))
}

fn fit(ui: &Ui, args: &TrainArgs, frame: &Frame) -> Result<Trained, LearnError> {
    let calibration = match args.calibration.as_slice() {
        [] => None,
        paths => Some(read::frame(paths)?),
    };
    let bar = bar(ui);
    let progress = |what: &str, done: u64, all: u64| {
        bar.set_length(all);
        bar.set_position(done);
        bar.set_message(what.to_owned());
        true
    };
    let trained = train(&TrainRequest {
        kind: args.kind,
        learner: args.learner,
        lags: args.lags,
        frame,
        calibration: calibration.as_ref(),
        label: args.label.as_deref(),
        label_from_file: args.label_from_file.as_deref(),
        far: args.far,
        seed: args.seed,
        ignore: &args.ignore,
        features: &args.feature,
        id: args.name.as_deref(),
        progress: &progress,
    });
    bar.finish_and_clear();
    let mut trained = trained?;
    trained.card.data = args.source.digests()?;
    if args.kind == TrainKind::Monitor {
        trained.card.far = Some(args.far);
    }
    let mut scorer = kinds::scorer(&trained.artifact)?;
    let names: Vec<String> = scorer.inputs().iter().map(|input| input.name.clone()).collect();
    let scores = Scores::of(frame, &mut *scorer)?;
    let unseen = trained.unseen.take();
    let usual = unseen.as_deref().or_else(|| scores.numbers("score"));
    let reference = drift::reference(frame, &names, usual)?;
    let mut trained = trained.with_reference(&reference)?;
    picture(&scores, &mut trained.card);
    Ok(trained)
}

/// What the training rows look like to the model, where its kind brings no picture of its own.
pub(super) fn picture(scores: &Scores, card: &mut Card) {
    if !card.plots.is_empty() {
        return;
    }
    if let Some(values) = scores.numbers("score") {
        let limit = scores.numbers("threshold").and_then(|x| x.first().copied());
        let title = "Score of the training rows and its limit";
        card.plots.push(plots::limit_chart(title, "score", values, limit));
    }
    let shares = scores.mean_contributions();
    if !shares.is_empty() {
        let title = "Contributions in the training rows, mean of their size";
        card.plots.push(plots::bars(title, "share of the score", shares));
    }
}

fn bar(ui: &Ui) -> ProgressBar {
    if !ui.has_bars() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(1);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}
