//! `trimloop backtest`: history through a recipe.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{ArgAction, Args, builder::FalseyValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::oneshot::Receiver;

use trimloop_core::time::Span;
use trimloop_recipe::Bound;
use trimloop_recipe::diagnostic::{did_you_mean, has_errors};

use super::export::file_failure;
use super::load::{project, settings};
use super::run::Signals;
use super::select::read_failure;
use super::{Exit, Failure, Global, Ui};
use crate::backtest::{
    BacktestError, BacktestSettings, Data, GAP, GateLine, Gates, Report, backtest,
    decision_columns, gate_text, report_html, report_text,
};
use crate::error::{
    BACKTEST_FILE, BACKTEST_TAGS, BACKTEST_UNIT, EXPORT_FILE, GATE_NOT_PASSED, GATE_SYNTAX,
    NO_ROWS, PLAN_NOT_KEPT, RECIPE_CHOICE, SELECTION, chain,
};
use crate::export::{FileFormat, OutputFile, ReadError, Sheet};
use crate::output::{Zone, parse_instant, parse_length};
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  trimloop backtest housing-lid --last 7d
  trimloop backtest housing-lid --from 2026-11-01 --to 2026-11-15
  trimloop backtest --last 7d --report out.html --decisions out.csv
  trimloop backtest --data week.csv --gate gates.toml
  trimloop backtest next/housing-lid.toml --against housing-lid --last 7d

Files are those of `trimloop export`: .csv, and .parquet in builds with that feature.
Not causal: nothing that would have been written is fed back. The service may run.
Exit: 0 done and every gate passed, 1 a gate not passed, 2 wrong use, 4 the data cannot be read.";

/// Which recipe, on what.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct BacktestArgs {
    /// Recipe of this project, or a recipe file [default: that of the settings]
    recipe: Option<String>,
    /// From this time on: 2026-11-22, 2026-11-22T10:00, in UTC
    #[arg(long, env = "TRIMLOOP_FROM", hide_env = true, value_name = "TIME")]
    from: Option<String>,
    /// Before this time
    #[arg(long, env = "TRIMLOOP_TO", hide_env = true, value_name = "TIME")]
    to: Option<String>,
    /// The last 1h or 7d
    #[arg(long, env = "TRIMLOOP_LAST", hide_env = true, value_name = "LENGTH", conflicts_with_all = ["from", "to"])]
    last: Option<String>,
    /// Another recipe on the same samples
    #[arg(long, env = "TRIMLOOP_AGAINST", hide_env = true, value_name = "OTHER")]
    against: Option<String>,
    /// Files instead of the history; may be given again
    #[arg(long, env = "TRIMLOOP_DATA", hide_env = true, value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Limits to keep (TOML)
    #[arg(long, env = "TRIMLOOP_GATE", hide_env = true, value_name = "FILE")]
    gate: Option<PathBuf>,
    /// Write the report with plots (HTML)
    #[arg(long, env = "TRIMLOOP_REPORT", hide_env = true, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write every decision (.csv, .parquet)
    #[arg(long, env = "TRIMLOOP_DECISIONS", hide_env = true, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Write over files that are there
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    force: bool,
    /// Warm-up before each day [default: 12h, or 8 of the longest window]
    #[arg(long, env = "TRIMLOOP_LEAD_IN", hide_env = true, value_name = "LENGTH")]
    lead_in: Option<String>,
    /// Silence that counts as a lost link [default: 60s]
    #[arg(long, env = "TRIMLOOP_GAP", hide_env = true, value_name = "LENGTH")]
    gap: Option<String>,
    /// Days at once [default: one for each processor]
    #[arg(long, env = "TRIMLOOP_JOBS", hide_env = true, value_name = "N")]
    jobs: Option<usize>,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &BacktestArgs) -> Result<Exit, Failure> {
    let settings = settings(global)?;
    let recipe = bound(&settings, args.recipe.as_deref())?;
    let other = args.against.as_deref().map(|name| bound(&settings, Some(name))).transpose()?;
    let gates = args.gate.as_deref().map(|path| gates(path, &recipe)).transpose()?;
    let mut out = Outputs::begin(args)?;
    // Before the threads begin, so that Ctrl-C leaves no part of a file behind.
    let signals = Signals::block().and_then(|s| s.into_receiver().map_err(|_| nix::Error::EAGAIN));
    let began = ui.clock().mono();
    let data = match args.data.as_slice() {
        [] => Data::store(&settings.data),
        files => Data::files(files),
    };
    let data = data.map_err(|error| failure(&error.into()))?;
    let (from, to) = range(ui, args)?;
    let how = BacktestSettings {
        plan: &recipe.plan,
        other: other.as_ref().map(|bound| &bound.plan),
        from,
        to,
        lead_in: args.lead_in.as_deref().map(length).transpose()?,
        gap: args.gap.as_deref().map(length).transpose()?.unwrap_or(GAP),
        jobs: args.jobs.unwrap_or_else(processors),
    };
    let report = tested(ui, &data, &how, &mut out, signals.ok())?;
    let took = (ui.clock().mono() - began).as_secs_f64();
    let lines = gates.map(|gates| gates.judge(&report)).unwrap_or_default();
    out.keep(&report, &lines)?;
    ui.note(&format!("{} samples in {took:.1} s", report.recipe.samples));
    Ok(tell(ui, &report, &lines, took))
}

/// Runs it under a progress bar; Ctrl-C stops it.
fn tested(
    ui: &Ui,
    data: &Data,
    how: &BacktestSettings<'_>,
    out: &mut Outputs,
    mut signals: Option<Receiver<()>>,
) -> Result<Report, Failure> {
    let bar = ui.has_bars().then(|| {
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {eta} left");
        let bar = ProgressBar::new(1000);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    });
    let stop = AtomicBool::new(false);
    let mut progress = |share: f64| {
        if signals.as_mut().is_some_and(|stop| stop.try_recv().is_ok()) {
            stop.store(true, Ordering::Relaxed);
        }
        if let Some(bar) = &bar {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 1000"
            )]
            bar.set_position((share.clamp(0.0, 1.0) * 1000.0) as u64);
        }
    };
    let sheet = out.sheet.as_mut().map(|sheet| &mut **sheet as &mut dyn Sheet);
    let report = backtest(data, how, sheet, &mut progress, &stop);
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    report.map_err(|error| failure(&error))
}

/// Files that are there whole or not at all.
struct Outputs {
    report: Option<OutputFile>,
    decisions: Option<OutputFile>,
    sheet: Option<Box<dyn Sheet>>,
}

impl Outputs {
    fn begin(args: &BacktestArgs) -> Result<Self, Failure> {
        let begin = |path: &PathBuf| {
            OutputFile::begin(path, args.force).map_err(|error| file_failure(&error))
        };
        let report = args.report.as_ref().map(begin).transpose()?;
        let Some(path) = &args.decisions else {
            return Ok(Self { report, decisions: None, sheet: None });
        };
        let format = FileFormat::of(path).ok_or_else(|| {
            let message = format!("the end of {} names no format", path.display());
            Failure::new(&EXPORT_FILE, message, Exit::Usage).help("end it with .csv or .parquet")
        })?;
        let file = begin(path)?;
        let sheet = file
            .sheet(format, &decision_columns(), Zone::Utc, "decisions")
            .map_err(|error| file_failure(&error))?;
        Ok(Self { report, decisions: Some(file), sheet: Some(sheet) })
    }

    fn keep(self, report: &Report, gates: &[GateLine]) -> Result<(), Failure> {
        if let Some(file) = self.report {
            let page = report_html(report, gates, env!("CARGO_PKG_VERSION"));
            let kept = file.text(&page).and_then(|()| file.keep());
            kept.map_err(|error| file_failure(&error))?;
        }
        if let (Some(sheet), Some(file)) = (self.sheet, self.decisions) {
            sheet.finish().map_err(|error| failure(&BacktestError::Decisions(error)))?;
            file.keep().map_err(|error| file_failure(&error))?;
        }
        Ok(())
    }
}

fn gates(path: &Path, recipe: &Bound) -> Result<Gates, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read the gate file {}: {error}", path.display());
        Failure::new(&GATE_SYNTAX, message, Exit::Usage)
            .help("name a file with limits, such as min_detected = 0.6")
    })?;
    let loops: Vec<String> = recipe.plan.loops.iter().map(|l| l.name.clone()).collect();
    Gates::read(&path.display().to_string(), &text, &loops)
        .map_err(|found| Failure::Diagnostics(found, Exit::Usage))
}

fn tell(ui: &Ui, report: &Report, gates: &[GateLine], took: f64) -> Exit {
    let passed = gates.iter().all(|line| line.passed);
    let mut object = ui.head("trimloop.backtest/1", passed);
    object["took_s"] = json!(took);
    object["causal"] = json!(false);
    object["code"] = json!((!passed).then_some(GATE_NOT_PASSED.code));
    object["gates"] = json!(gates);
    if let (Some(object), Ok(serde_json::Value::Object(more))) =
        (object.as_object_mut(), serde_json::to_value(report))
    {
        object.extend(more);
    }
    let mut human = report_text(report);
    if !gates.is_empty() {
        human.push_str(&format!("\n{}", gate_text(gates)));
    }
    if !passed {
        human.push_str(&format!("{}: {}\n", GATE_NOT_PASSED.code, GATE_NOT_PASSED.title));
    }
    ui.result(&human, &object);
    if passed { Exit::Ok } else { Exit::Failed }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A recipe of the project by name, or one in a file, bound to the PLC configs of the project.
fn bound(settings: &Settings, named: Option<&str>) -> Result<Bound, Failure> {
    let Some(named) = named else { return super::load::bound(settings) };
    let is_file = named.ends_with(".toml");
    let files = if is_file { vec![PathBuf::from(named)] } else { Vec::new() };
    if is_file && !Path::new(named).is_file() {
        let message = format!("there is no recipe file {named}");
        return Err(Failure::new(&RECIPE_CHOICE, message, Exit::Usage)
            .help("name a file that is there, or a recipe of the project by its name"));
    }
    let project = project(settings, &files);
    let found = if is_file { project.recipes.first() } else { project.recipe(named) };
    let Some(recipe) = found else {
        if has_errors(&project.diagnostics) {
            return Err(Failure::Diagnostics(project.diagnostics, Exit::Failed));
        }
        let names: Vec<&str> = project.recipes.iter().map(|recipe| recipe.name()).collect();
        let help = did_you_mean(named, names.iter().copied())
            .unwrap_or_else(|| format!("the recipes are: {}", names.join(", ")));
        let message = format!("there is no recipe \"{named}\"");
        return Err(Failure::new(&RECIPE_CHOICE, message, Exit::Usage).help(help));
    };
    project.bind(recipe).map_err(|found| Failure::Diagnostics(found, Exit::Failed))
}

fn range(ui: &Ui, args: &BacktestArgs) -> Result<(Option<i64>, Option<i64>), Failure> {
    if let Some(text) = &args.last {
        let now = ui.clock().utc().as_nanos();
        return Ok((Some(now.saturating_sub(length(text)?.as_nanos())), None));
    }
    let instant = |text: &String| {
        parse_instant(text, Zone::Utc).map(|utc| utc.as_nanos()).ok_or_else(|| {
            let message = format!("\"{text}\" is no time");
            Failure::new(&SELECTION, message, Exit::Usage)
                .help("write 2026-11-22, 2026-11-22T10:00 or 2026-11-22T10:00:05+01:00")
        })
    };
    Ok((args.from.as_ref().map(instant).transpose()?, args.to.as_ref().map(instant).transpose()?))
}

fn length(text: &str) -> Result<Span, Failure> {
    parse_length(text).ok_or_else(|| {
        let message = format!("\"{text}\" is no length of time");
        Failure::new(&SELECTION, message, Exit::Usage).help("write 90s, 15min, 1h or 7d")
    })
}

fn failure(error: &BacktestError) -> Failure {
    let text = chain(error);
    match error {
        BacktestError::Read(ReadError::File { .. }) => {
            Failure::new(&BACKTEST_FILE, text, Exit::Unreachable).help(
                "take a file of `trimloop export --out`, without --every; several may not overlap",
            )
        }
        BacktestError::Read(error @ (ReadError::Open { .. } | ReadError::Read { .. })) => {
            read_failure(error).help("take a range without that day, or restore it from a backup")
        }
        BacktestError::Read(error) => read_failure(error),
        BacktestError::Empty(_) => Failure::new(&NO_ROWS, text, Exit::Failed)
            .help("samples come while `trimloop run` runs; --config names another cell's folder"),
        BacktestError::Range { extent } => {
            let (first, last) = (Zone::Utc.text(extent.0, 0), Zone::Utc.text(extent.1, 0));
            Failure::new(&NO_ROWS, text, Exit::Failed)
                .help(format!("there are samples from {first} to {last}"))
        }
        BacktestError::Tags { tags, known, .. } => {
            let near =
                tags.first().and_then(|tag| did_you_mean(tag, known.iter().map(String::as_str)));
            Failure::new(&BACKTEST_TAGS, text, Exit::Failed).help(near.unwrap_or_else(|| {
                "take a range in which they were recorded, or a recipe without them".to_owned()
            }))
        }
        BacktestError::Unit { .. } => Failure::new(&BACKTEST_UNIT, text, Exit::Failed)
            .help("bring the recipe to the recorded unit, or begin after the unit was changed"),
        BacktestError::Plan(_) => Failure::new(&PLAN_NOT_KEPT, text, Exit::Failed),
        BacktestError::Decisions(_) => Failure::new(&EXPORT_FILE, text, Exit::Failed),
        BacktestError::Thread => Failure::new(&SELECTION, text, Exit::Internal),
    }
}
