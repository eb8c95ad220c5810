//! `trimloop model backtest`: gates on rows that a model was not trained on.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::life::{keep, who};
use super::{Opened, Why, failure, table_text};
use crate::cli::source::SourceArgs;
use crate::cli::{Exit, Failure, Global, Ui};
use crate::learn::evaluate::{Scores, estimate, judge};
use crate::learn::lifecycle::{State, UNTRIED};
use crate::learn::{Clock, Frame, LearnError, kinds};
use crate::output::{Zone, parse_instant};

const EXAMPLES: &str = "\
Examples:
  trimloop model backtest models/press-r2 --data later.csv
  trimloop model backtest press-r2 --data later.csv --label faulty
  trimloop model backtest weight-r3 --data next-week.csv --label weight --reason \"before the trial\"

Rows must be recorded after the training rows: a file that the model was trained on, or rows of its
training window, are refused. Gates: at least 100 rows; 95 % of (normal) rows in the domain; a
monitor: false alarms at most twice what was asked for, and an alarm on half of the rows that --label calls
faulty; a classifier: Brier skill above 0.1; a soft sensor: RMSE below 0.8 of that of the last value, and
the interval holds as often as it says. A monitor that was tried on no faulty rows is told as such, and
`approve` wants a --reason for it then.
Exit: 0 every gate passed and TRAINED is BACKTESTED, 1 a gate not passed.";

/// Fewest rows that can say something.
const ROWS_MIN: usize = 100;
/// Name of the gate, and of the fact.
const FOUND: &str = "faulty rows found";
/// Share of rows in the domain.
const INSIDE_MIN: f64 = 0.95;
/// Share of faulty rows on which a monitor must alarm. A fault is not seen at once, and small ones come
/// and go in the noise; less than half is no better than looking at the parts.
const FOUND_MIN: f64 = 0.5;
/// Level of an interval whose card does not say it.
const LEVEL: f64 = 0.9;

/// Which model, on what.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct BacktestArgs {
    /// Folder or name of the model
    model: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
    /// Column that holds what is true
    #[arg(long, env = "TRIMLOOP_LABEL", hide_env = true, value_name = "COLUMN")]
    label: Option<String>,
    #[command(flatten)]
    why: Why,
}

/// One gate with what was found.
struct Gate {
    name: &'static str,
    value: f64,
    limit: f64,
    /// `None`: there was nothing to try it on.
    passed: Option<bool>,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &BacktestArgs) -> Result<Exit, Failure> {
    let mut model = Opened::find(global, &args.model)?;
    let before = model.life.state;
    let frame = args.source.frame(ui, global, args.label.as_deref())?;
    let found = args.source.digests().and_then(|digests| {
        fresh(&model, &frame, &digests)?;
        Ok((gates(&model, &frame, args.label.as_deref())?, digests))
    });
    let (gates, digests) = found.map_err(|error| failure(&error))?;
    let passed = gates.iter().all(|gate| gate.passed != Some(false));
    if passed && before.may_become(State::Backtested) {
        let mut evidence: Vec<String> = gates.iter().map(Gate::text).collect();
        evidence.extend(digests.iter().map(|digest| format!("data {digest}")));
        model
            .life
            .step(State::Backtested, &who(ui, &args.why.reason), evidence)
            .map_err(|error| failure(&error))?;
        keep(ui, global, &model, before, &args.why.reason)?;
    }
    let mut lines = vec![["gate", "value", "limit", ""].map(str::to_owned)];
    lines.extend(gates.iter().map(|gate| {
        let word = match gate.passed {
            Some(true) => "passed",
            Some(false) => "NOT passed",
            None => "not tried: no row is labelled faulty",
        };
        let value = gate.passed.map_or("-".to_owned(), |_| format!("{:.4}", gate.value));
        [gate.name.to_owned(), value, format!("{:.4}", gate.limit), word.to_owned()]
    }));
    let state = model.life.state.word();
    let human = format!("{}\n{} is {state}\n", table_text(&lines), model.name());
    let rows = gates.iter().map(|gate| {
        json!({ "gate": gate.name, "value": gate.value, "limit": gate.limit, "passed": gate.passed })
    });
    let mut object = ui.head("trimloop.model.backtest/1", passed);
    object["gates"] = rows.collect();
    object["state"] = json!(model.life.state);
    ui.result(&human, &object);
    if passed {
        return Ok(Exit::Ok);
    }
    let broken = gates.iter().filter(|gate| gate.passed == Some(false)).map(|gate| gate.name);
    let why = format!("not passed: {}", broken.collect::<Vec<&str>>().join(", "));
    if ui.is_json() {
        return Ok(Exit::Failed);
    }
    Err(failure(&LearnError::Gate(why)))
}

impl Gate {
    fn at_most(name: &'static str, value: f64, limit: f64) -> Self {
        Self { name, value, limit, passed: Some(value <= limit) }
    }

    fn at_least(name: &'static str, value: f64, limit: f64) -> Self {
        Self { name, value, limit, passed: Some(value >= limit) }
    }

    fn untried(name: &'static str, limit: f64) -> Self {
        Self { name, value: f64::NAN, limit, passed: None }
    }

    fn text(&self) -> String {
        if self.passed.is_none() {
            return format!("{UNTRIED}{}", self.name);
        }
        format!("{} {:.4}, limit {:.4}", self.name, self.value, self.limit)
    }
}

/// Refuses rows that the model was trained on: they would pass whatever it learnt.
fn fresh(model: &Opened, frame: &Frame, digests: &[String]) -> Result<(), LearnError> {
    if digests.iter().any(|digest| model.card.data.contains(digest)) {
        let why = "the model was trained on one of these files; take rows that were recorded later";
        return Err(LearnError::Option(why.to_owned()));
    }
    let Some(window) = &model.artifact.header().window else { return Ok(()) };
    let Some(Clock::Utc(times)) = frame.time().map(|time| &time.clock) else { return Ok(()) };
    let end = parse_instant(&window.to, Zone::Utc).map_or(i64::MIN, |utc| utc.as_nanos());
    let early = times.iter().filter(|utc| **utc != i64::MIN && **utc <= end).count();
    if early > 0 {
        let why = format!(
            "{early} rows were recorded before the end of the training rows, {}; take later ones",
            window.to
        );
        return Err(LearnError::Option(why));
    }
    Ok(())
}

fn gates(model: &Opened, frame: &Frame, label: Option<&str>) -> Result<Vec<Gate>, LearnError> {
    let mut scorer = kinds::scorer(&model.artifact)?;
    let scores = Scores::of(frame, &mut *scorer)?;
    let judged = judge(frame, &scores, label)?;
    let fact = |name: &str| judged.fact(name).unwrap_or(f64::NAN);
    let rows = judged.loss.iter().filter(|x| x.is_finite()).count();
    let mut gates = vec![Gate::at_least("rows", rows as f64, ROWS_MIN as f64)];
    if scores.numbers("alarm").is_some() {
        let far = model.card.far.unwrap_or(0.01);
        gates.push(Gate::at_most("false alarms", fact("false alarms"), 2.0 * far));
        // A monitor that never alarms has no false alarms either.
        gates.push(match judged.fact(FOUND) {
            Some(found) => Gate::at_least(FOUND, found, FOUND_MIN),
            None => Gate::untried(FOUND, FOUND_MIN),
        });
        // On faulty rows leaving the domain is what a monitor is for.
        if label.is_none() {
            gates.push(Gate::at_least("in the domain", scores.inside(), INSIDE_MIN));
        }
        return Ok(gates);
    }
    gates.push(Gate::at_least("in the domain", scores.inside(), INSIDE_MIN));
    if scores.texts("class").is_some() {
        gates.push(Gate::at_least("Brier skill", fact("Brier skill"), 0.1));
        return Ok(gates);
    }
    let last = fact("RMSE of the last value");
    gates.push(Gate::at_most("RMSE", fact("RMSE"), 0.8 * last));
    gates.push(coverage(model, frame, &scores, label)?);
    Ok(gates)
}

/// The interval must hold as often as it says, less two standard errors on rows with memory.
fn coverage(
    model: &Opened,
    frame: &Frame,
    scores: &Scores,
    label: Option<&str>,
) -> Result<Gate, LearnError> {
    let truth = frame.need(label.unwrap_or_default())?.numbers()?;
    let (low, high) = (scores.numbers("low"), scores.numbers("high"));
    let ends = low.unwrap_or_default().iter().zip(high.unwrap_or_default());
    let held = truth.iter().zip(ends).map(|(y, (low, high))| {
        let known = y.is_finite() && low.is_finite();
        if known { f64::from(u8::from(low <= y && y <= high)) } else { f64::NAN }
    });
    let held: Vec<f64> = held.collect();
    let level = model.card.level.unwrap_or(LEVEL);
    // A soft sensor without an interval has none that could hold.
    let Some(found) = estimate(&held, 1) else {
        return Ok(Gate::at_least("inside the interval", 0.0, level));
    };
    let error = (found.high - found.low) / 4.0;
    Ok(Gate::at_least("inside the interval", found.mean, level - 2.0 * error))
}
