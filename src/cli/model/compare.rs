//! `trimloop model compare`: champion and challenger on the same rows.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Opened, failure, table_text};
use crate::cli::source::SourceArgs;
use crate::cli::{Exit, Failure, Global, Ui};
use crate::learn::evaluate::{Estimate, Judged, Scores, estimate, judge};
use crate::learn::{Frame, LearnError, kinds};

const EXAMPLES: &str = "\
Examples:
  trimloop model compare press models/press-r2 --data later.csv
  trimloop model compare press-r1 press-r2 --data later.csv --label faulty
  trimloop model compare quality-r1 quality-r2 --data parts.csv --label quality --format json

Losses of the same rows are compared: for a monitor rows that are judged wrongly (without --label
every row is taken for normal; in the label 0, ok and normal are normal, all else is faulty), for a
classifier wrong classes, for a soft sensor squared errors. The interval comes from resampling blocks
of rows, because neighbours resemble each other. Rows must be ones that neither was trained on.
Exit: 0 the challenger is better or no worse as far as these rows can say, 1 it is worse.";

/// Which two, on what.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct CompareArgs {
    /// Folder or name of the champion
    champion: PathBuf,
    /// Folder or name of the challenger
    challenger: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
    /// Column that holds what is true
    #[arg(long, env = "TRIMLOOP_LABEL", hide_env = true, value_name = "COLUMN")]
    label: Option<String>,
    /// Seed of the resampling
    #[arg(long, env = "TRIMLOOP_SEED", hide_env = true, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &CompareArgs) -> Result<Exit, Failure> {
    let champion = Opened::find(global, &args.champion)?;
    let challenger = Opened::find(global, &args.challenger)?;
    let fail = |error: LearnError| failure(&error);
    let label = args.label.as_deref();
    let frame = args.source.frame(ui, global, label)?;
    let a = judged(&champion, &frame, label).map_err(fail)?;
    let b = judged(&challenger, &frame, label).map_err(fail)?;
    if a.what != b.what {
        let why = "a monitor, a classifier and a soft sensor cannot be compared with one another";
        return Err(fail(LearnError::Option(why.to_owned())));
    }
    let differences: Vec<f64> = a.loss.iter().zip(&b.loss).map(|(a, b)| b - a).collect();
    let Some(difference) = estimate(&differences, args.seed) else {
        let why = "no row is judged by both models".to_owned();
        return Err(fail(LearnError::NoRows(why)));
    };
    let verdict = verdict(&difference);
    let (name_a, name_b) = (champion.name(), challenger.name());
    let mut lines = vec![[String::new(), name_a.clone(), name_b.clone()]];
    for (name, x) in &a.facts {
        let other = b.fact(name).map_or_else(String::new, |x| format!("{x:.4}"));
        lines.push([name.clone(), format!("{x:.4}"), other]);
    }
    let human = format!(
        "{}\n{} a row: {:+.5} ({:+.5} to {:+.5}, 95 %), {} rows\n{name_b} is {verdict}\n",
        table_text(&lines),
        a.what,
        difference.mean,
        difference.low,
        difference.high,
        difference.rows,
    );
    let facts = |judged: &Judged| {
        let pairs = judged.facts.iter().map(|(name, x)| (name.clone(), json!(x)));
        pairs.collect::<serde_json::Map<String, serde_json::Value>>()
    };
    let worse = difference.low > 0.0;
    let mut object = ui.head("trimloop.model.compare/1", !worse);
    object["champion"] = json!({ "model": name_a, "facts": facts(&a) });
    object["challenger"] = json!({ "model": name_b, "facts": facts(&b) });
    object["difference"] = json!({
        "what": a.what,
        "mean": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "rows": difference.rows,
    });
    object["verdict"] = json!(verdict);
    ui.result(&human, &object);
    Ok(if worse { Exit::Failed } else { Exit::Ok })
}

fn verdict(difference: &Estimate) -> &'static str {
    if difference.low > 0.0 {
        "worse"
    } else if difference.high < 0.0 {
        "better"
    } else {
        "no worse as far as these rows can say"
    }
}

fn judged(model: &Opened, frame: &Frame, label: Option<&str>) -> Result<Judged, LearnError> {
    let mut scorer = kinds::scorer(&model.artifact)?;
    let scores = Scores::of(frame, &mut *scorer)?;
    judge(frame, &scores, label)
}
