//! `trimloop backtest`: history through a recipe.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use trimloop_core::time::Span;
use trimloop_recipe::Bound;
use trimloop_recipe::diagnostic::{did_you_mean, has_errors};

use super::load::{project, settings};
use super::select::read_failure;
use super::{Exit, Failure, Global, Ui};
use crate::backtest::{BacktestError, BacktestSettings, Data, GAP, Report, backtest, report_text};
use crate::error::{
    BACKTEST_TAGS, BACKTEST_UNIT, EXPORT_FILE, NO_ROWS, PLAN_NOT_KEPT, RECIPE_CHOICE, SELECTION,
    chain,
};
use crate::output::{Zone, parse_instant, parse_length};
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  trimloop backtest housing-lid --last 7d
  trimloop backtest housing-lid --from 2026-11-01 --to 2026-11-15
  trimloop backtest next/housing-lid.toml --against housing-lid --last 7d

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
    /// Warm-up before each day [default: 4h, or 8 of the longest window]
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
    let data = Data::store(&settings.data).map_err(|error| read_failure(&error))?;
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
    let bar = ui.has_bars().then(|| {
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {eta} left");
        let bar = ProgressBar::new(1000);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    });
    let stop = AtomicBool::new(false);
    let began = ui.clock().mono();
    let report = backtest(
        &data,
        &how,
        None,
        &mut |share| {
            if let Some(bar) = &bar {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 to 1000"
                )]
                bar.set_position((share.clamp(0.0, 1.0) * 1000.0) as u64);
            }
        },
        &stop,
    );
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let report = report.map_err(|error| failure(&error))?;
    let took = (ui.clock().mono() - began).as_secs_f64();
    ui.note(&format!("{} samples in {took:.1} s", report.recipe.samples));
    tell(ui, &report, took);
    Ok(Exit::Ok)
}

fn tell(ui: &Ui, report: &Report, took: f64) {
    let mut object = ui.head("trimloop.backtest/1", true);
    object["took_s"] = json!(took);
    object["causal"] = json!(false);
    if let (Some(object), Ok(serde_json::Value::Object(more))) =
        (object.as_object_mut(), serde_json::to_value(report))
    {
        object.extend(more);
    }
    ui.result(&report_text(report), &object);
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
