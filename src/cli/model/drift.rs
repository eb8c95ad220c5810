//! `trimloop model drift`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use serde_json::json;

use super::life::{keep, who};
use super::{Opened, failure, table_text};
use crate::cli::source::SourceArgs;
use crate::cli::{Exit, Failure, Global, Ui};
use crate::learn::drift::{Drift, drift};
use crate::learn::evaluate::{Scores, judge};
use crate::learn::lifecycle::State;
use crate::learn::{Frame, LearnError, kinds};

const EXAMPLES: &str = "\
Examples:
  trimloop model drift press --data today.csv
  trimloop model drift press --history features --last 1d --suspend
  trimloop model drift weight-r3 --data labelled.csv --label weight

Inputs: population stability index of each column against the training rows; for a monitor an EWMA of
its score. With --label: Page-Hinkley on its losses. With --suspend an ACTIVE model that drifts becomes
SUSPENDED, with the findings as evidence, in the audit trail.
Exit: 0 no drift, 1 drift.";

/// Which model, on what.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct DriftArgs {
    /// Folder or name of the model
    model: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
    /// Column that holds what is true
    #[arg(long, env = "TRIMLOOP_LABEL", hide_env = true, value_name = "COLUMN")]
    label: Option<String>,
    /// Take an ACTIVE model that drifts out of force
    #[arg(long, env = "TRIMLOOP_SUSPEND", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    suspend: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &DriftArgs) -> Result<Exit, Failure> {
    let mut model = Opened::find(global, &args.model)?;
    let label = args.label.as_deref();
    let frame = args.source.frame(ui, global, label)?;
    let found = look(&model, &frame, label).map_err(|error| failure(&error))?;
    let drifting: Vec<&Drift> = found.iter().filter(|drift| drift.drifts).collect();
    let before = model.life.state;
    if args.suspend && !drifting.is_empty() && before == State::Active {
        let text =
            |d: &&Drift| format!("{} of {} {:.3}, limit {:.3}", d.check, d.place, d.value, d.limit);
        let evidence = drifting.iter().map(text).collect();
        let step = model.life.step(State::Suspended, &who(ui, "drift"), evidence);
        step.map_err(|error| failure(&error))?;
        keep(ui, global, &model, before, "drift")?;
    }
    let mut lines = vec![["check", "of", "value", "limit", "first row", ""].map(str::to_owned)];
    lines.extend(found.iter().map(|d| {
        let row = if d.row > 0 { d.row.to_string() } else { String::new() };
        let word = if d.drifts { "DRIFTS" } else { "" };
        let (value, limit) = (format!("{:.3}", d.value), format!("{:.3}", d.limit));
        [d.check.to_owned(), d.place.clone(), value, limit, row, word.to_owned()]
    }));
    let state = model.life.state.word();
    let human = format!("{}\n{} is {state}\n", table_text(&lines), model.name());
    let mut object = ui.head("trimloop.model.drift/1", drifting.is_empty());
    object["findings"] = json!(found);
    object["state"] = json!(model.life.state);
    ui.result(&human, &object);
    Ok(if drifting.is_empty() { Exit::Ok } else { Exit::Failed })
}

fn look(model: &Opened, frame: &Frame, label: Option<&str>) -> Result<Vec<Drift>, LearnError> {
    let Some(reference) = &model.card.reference else {
        let why =
            "the model's card does not say what its training rows looked like; train it again";
        return Err(LearnError::Option(why.to_owned()));
    };
    let mut scorer = kinds::scorer(&model.artifact)?;
    let scores = Scores::of(frame, &mut *scorer)?;
    let losses = match label {
        Some(label) => Some(judge(frame, &scores, Some(label))?.loss),
        None => None,
    };
    drift(frame, reference, scores.numbers("score"), losses.as_deref())
}
