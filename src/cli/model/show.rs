//! `trimloop model show`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use serde_json::json;

use super::{Opened, failure, write_new};
use crate::cli::{Exit, Failure, Global, Ui};
use crate::learn::card::{Card, CardTable};
use crate::learn::evaluate::{Scores, judge, truths};
use crate::learn::{Frame, LearnError, kinds, plots, read, report};

const EXAMPLES: &str = "\
Examples:
  trimloop model show models/press-r2
  trimloop model show press --report press.html
  trimloop model show quality-r1 --report q.html --data later.csv --label quality

The report is one HTML file with plots, nothing from elsewhere. With --data it also shows what the
model makes of those rows: limit chart and contributions, and with --label ROC, precision and
recall, reliability.";

/// Which model, where to.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ShowArgs {
    /// Folder or name of the model
    model: PathBuf,
    /// Write the report with plots (HTML)
    #[arg(long, env = "TRIMLOOP_REPORT", hide_env = true, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Tables to judge it on
    #[arg(long, env = "TRIMLOOP_DATA", hide_env = true, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Column of those tables that holds what is true
    #[arg(long, env = "TRIMLOOP_LABEL", hide_env = true, value_name = "COLUMN", requires = "data")]
    label: Option<String>,
    /// Write over a report that is there
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    force: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &ShowArgs) -> Result<Exit, Failure> {
    let model = Opened::find(global, &args.model)?;
    let mut card = model.card.clone();
    if !args.data.is_empty() {
        judged(&model, args, &mut card).map_err(|error| failure(&error))?;
    }
    let state = model.life.facts();
    if let Some(path) = &args.report {
        let page = report::html(&card, &state, env!("CARGO_PKG_VERSION"));
        write_new(path, page.as_bytes(), args.force)?;
    }
    let mut human = card.markdown();
    human.push('\n');
    for (name, value) in &state {
        human.push_str(&format!("{name}: {value}\n"));
    }
    let header = model.artifact.header();
    let units =
        header.features.iter().map(|feature| json!({ "name": feature.name, "unit": feature.unit }));
    let mut object = ui.head("trimloop.model.show/1", true);
    object["card"] = json!(card);
    object["life"] = json!(model.life);
    object["kind"] = json!(header.kind.word());
    object["inputs"] = units.collect();
    ui.result(&human, &object);
    Ok(Exit::Ok)
}

/// What the model makes of rows.
fn judged(model: &Opened, args: &ShowArgs, card: &mut Card) -> Result<(), LearnError> {
    let frame = read::frame(&args.data)?;
    let mut scorer = kinds::scorer(&model.artifact)?;
    let scores = Scores::of(&frame, &mut *scorer)?;
    let names = args.data.iter().map(|path| path.display().to_string());
    let names = names.collect::<Vec<String>>().join(", ");
    let mut rows = vec![
        vec!["rows".to_owned(), frame.rows().to_string()],
        vec!["in the domain".to_owned(), format!("{:.3}", scores.inside())],
    ];
    let is_monitor = scores.numbers("alarm").is_some();
    if args.label.is_some() || is_monitor {
        let judged = judge(&frame, &scores, args.label.as_deref())?;
        rows.extend(judged.facts.iter().map(|(name, x)| vec![name.clone(), format!("{x:.4}")]));
    }
    card.tables.push(CardTable { title: format!("On {names}"), head: Vec::new(), rows });
    if let Some(values) = scores.numbers("score") {
        let limit = scores.numbers("threshold").and_then(|x| x.first().copied());
        card.plots.push(plots::limit_chart(&format!("Score on {names}"), "score", values, limit));
    }
    if let Some(values) = scores.numbers("prediction") {
        let title = format!("Prediction on {names}");
        card.plots.push(plots::limit_chart(&title, "prediction", values, None));
    }
    let shares = scores.mean_contributions();
    if !shares.is_empty() {
        let title = format!("Contributions on {names}, mean of their size");
        card.plots.push(plots::bars(&title, "share of the score", shares));
    }
    if let Some(label) = &args.label {
        let named = against(&frame, &scores, label)?;
        if !named.is_empty() {
            card.plots.push(plots::roc(&named));
            card.plots.push(plots::precision_recall(&named));
        }
        if scores.numbers("alarm").is_none() && !named.is_empty() {
            card.plots.push(plots::reliability(&named));
        }
    }
    Ok(())
}

/// A name, and scores with whether they should be high.
type Judged = (String, Vec<(f64, bool)>);

/// Scores per class, or for a monitor of faulty rows.
fn against(frame: &Frame, scores: &Scores, label: &str) -> Result<Vec<Judged>, LearnError> {
    let truth = frame.need(label)?;
    let text = |row: usize| truth.text(row);
    if let Some(values) = scores.numbers("score") {
        let faulty = |row: usize| {
            text(row).is_some_and(|text| !["0", "", "ok", "normal"].contains(&text.as_str()))
        };
        let rows = values.iter().enumerate().map(|(row, x)| (*x, faulty(row))).collect();
        return Ok(vec![("faulty".to_owned(), rows)]);
    }
    let probabilities = scores.probabilities();
    let names: Vec<String> = probabilities.iter().map(|(name, _)| name.clone()).collect();
    let truth = truths(truth, frame.rows(), &names);
    let of_class = |(class, values): (String, &[f64])| {
        let rows = values.iter().zip(&truth);
        let rows = rows.map(|(p, truth)| (*p, truth.as_ref() == Some(&class))).collect();
        (class, rows)
    };
    Ok(probabilities.into_iter().map(of_class).collect())
}
