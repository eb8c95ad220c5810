//! `trimloop replay`: a journal again, bit for bit.

use std::path::PathBuf;

use clap::{ArgAction, Args, builder::FalseyValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::load::{bound, settings};
use super::{Exit, Failure, Global, Ui};
use crate::error::{JOURNAL_DAMAGED, JOURNAL_READ, PLACE, PLAN_NOT_KEPT, REPLAY_DIFFERS, chain};
use crate::journal::PlanError;
use crate::output::{RecordId, RecordKind, moment};
use crate::replay::{
    At, Break, Difference, Outcome, ReplayError, ReplaySettings, Report, Scene, replay, report_text,
};

const EXAMPLES: &str = "\
Examples:
  trimloop replay                                    The journal of this folder's service
  trimloop replay /backup/journal                    A folder of journal files, or one file
  trimloop replay --break-on trip --events           Up to the first trip, with the events before
  trimloop replay --from 7-1200 --until 7-1300       Scans 1200 to 1300 of start 7
  trimloop replay --break-on write=7-12              How write 12 of start 7 came about
  trimloop replay --break-on bad=melt_temp           Where that tag is no longer good
  trimloop replay --config next --other-plan         What another recipe would have decided

The plan is the one kept beside the journal (plans/HASH); where it is missing, --config may name a
project with just that plan. Exit: 0 equal, 1 decided otherwise or damaged, 4 the journal or its
plan cannot be read.";

/// What to replay, and how far.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ReplayArgs {
    /// Folder of a journal, or one file of it [default: that of the service]
    journal: Option<PathBuf>,
    /// First scan to compare and tell: SCAN, START-SCAN or a UTC time
    #[arg(long, env = "TRIMLOOP_FROM", hide_env = true, value_name = "WHERE")]
    from: Option<String>,
    /// Last scan
    #[arg(long, env = "TRIMLOOP_UNTIL", hide_env = true, value_name = "WHERE")]
    until: Option<String>,
    /// Stop at: write, write=ID, trip, event=CODE or bad=TAG; may be given again
    #[arg(long, env = "TRIMLOOP_BREAK_ON", hide_env = true, value_name = "WHAT")]
    break_on: Vec<String>,
    /// List the events
    #[arg(long, env = "TRIMLOOP_EVENTS", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    events: bool,
    /// Replay under the plan of --config, though another was recorded
    #[arg(long, env = "TRIMLOOP_OTHER_PLAN", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    other_plan: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &ReplayArgs) -> Result<Exit, Failure> {
    let path = match &args.journal {
        Some(path) => path.clone(),
        None => settings(global)?.data.join("journal"),
    };
    let named = global.config.is_some();
    let project = if args.other_plan || named { Some(bound(&settings(global)?)?) } else { None };
    let (other, project) = if args.other_plan { (project, None) } else { (None, project) };
    let how = ReplaySettings {
        from: args.from.as_deref().map(place).transpose()?,
        until: args.until.as_deref().map(place).transpose()?,
        breaks: args.break_on.iter().map(|text| stop(text)).collect::<Result<_, _>>()?,
        project,
        other,
    };
    let bar = ui.has_bars().then(|| {
        let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}  {eta} left");
        let bar = ProgressBar::new(0);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    });
    let began = ui.clock().mono();
    let report = replay(&path, &how, &mut |done, total| {
        if let Some(bar) = &bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let report = report.map_err(|error| failure(&error))?;
    let took = (ui.clock().mono() - began).as_secs_f64();
    let times = report.recorded_time.as_secs_f64() / took.max(1e-9);
    ui.note(&format!("replayed in {took:.2} s, {times:.0} times as fast as it was recorded"));
    let mut object = ui.head("trimloop.replay/1", report.is_equal());
    body(&mut object, &report, &path, took);
    ui.result(&report_text(&report, args.events), &object);
    if !args.break_on.is_empty() && matches!(report.outcome, Outcome::Equal | Outcome::Until) {
        ui.warn("nothing of --break-on happened there");
    }
    Ok(if report.is_equal() { Exit::Ok } else { Exit::Failed })
}

fn failure(error: &ReplayError) -> Failure {
    let text = chain(error);
    match error {
        ReplayError::Journal(_) | ReplayError::Empty(_) => {
            Failure::new(&JOURNAL_READ, text, Exit::Unreachable)
        }
        ReplayError::Plan { source, .. } => {
            let help = match source {
                PlanError::Missing { .. } => {
                    "name a project with just these files with --config, or replay under another \
                     plan with --other-plan"
                }
                _ => "restore the folder from a backup, or replay with the version that wrote it",
            };
            Failure::new(&PLAN_NOT_KEPT, text, Exit::Unreachable).help(help)
        }
        ReplayError::Refused(..) => Failure::new(&PLAN_NOT_KEPT, text, Exit::Unreachable),
        ReplayError::WhichStart(_) | ReplayError::NoTag(_) | ReplayError::NoStart(..) => {
            Failure::new(&PLACE, text, Exit::Usage)
        }
        ReplayError::NoScan => Failure::new(&PLACE, text, Exit::Usage)
            .help("--from must lie before --until, and both within what was recorded"),
    }
}

/// `1200`, `7-1200` or a moment.
fn place(text: &str) -> Result<At, Failure> {
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| plain)
    };
    if let Some(seq) = number(text) {
        return Ok(At::Scan { boot: None, seq });
    }
    if let Some((boot, seq)) = text.split_once('-')
        && let (Some(boot), Some(seq)) = (number(boot), number(seq))
    {
        return Ok(At::Scan { boot: Some(boot), seq });
    }
    moment(text).map(At::Time).map_err(|error| {
        let message = format!("\"{text}\" is no place in a journal: {error}");
        Failure::new(&PLACE, message, Exit::Usage)
            .help("a scan is written 1200, or 7-1200 for one of start 7")
    })
}

fn stop(text: &str) -> Result<Break, Failure> {
    match text.split_once('=') {
        None if text == "write" => Ok(Break::Write),
        None if text == "trip" => Ok(Break::Trip),
        Some(("write", id)) => match id.parse::<RecordId>() {
            Ok(id) if id.kind == RecordKind::Write => Ok(Break::WriteOf(id)),
            _ => {
                let message = format!("\"{id}\" is no write");
                Err(Failure::new(&PLACE, message, Exit::Usage).help("a write is named 7-12"))
            }
        },
        Some(("event", code)) if !code.is_empty() => Ok(Break::Event(code.to_owned())),
        Some(("bad", tag)) if !tag.is_empty() => Ok(Break::Bad(tag.to_owned())),
        _ => {
            let message = format!("\"{text}\" is nothing that a replay can stop at");
            Err(Failure::new(&PLACE, message, Exit::Usage)
                .help("write, write=ID, trip, event=CODE (such as event=rung) or bad=TAG"))
        }
    }
}

fn body(object: &mut Value, report: &Report, path: &std::path::Path, took: f64) {
    let (word, code) = match &report.outcome {
        Outcome::Equal | Outcome::Until => ("equal", None),
        Outcome::Broke(_) => ("stopped", None),
        Outcome::Differs(_) => ("differs", Some(&REPLAY_DIFFERS)),
        Outcome::OtherPlan => ("other_plan", Some(&REPLAY_DIFFERS)),
        Outcome::Damaged(_) => ("damaged", Some(&JOURNAL_DAMAGED)),
    };
    let plans = report.plans.iter().map(
        |(hash, recipe, revision)| json!({"hash": hash, "recipe": recipe, "revision": revision}),
    );
    let recorded_s = report.recorded_time.as_secs_f64();
    let more = json!({
        "journal": path,
        "outcome": word,
        "code": code.map(|code| code.code),
        "plans": plans.collect::<Vec<_>>(),
        "files": report.files,
        "records": report.records,
        "starts": report.starts,
        "scans": report.scans,
        "compared": report.compared,
        "unanswered": report.unanswered,
        "samples": report.samples,
        "recorded_s": recorded_s,
        "took_s": took,
        "times_real_time": recorded_s / took.max(1e-9),
        "replayed": report.replayed,
        "skipped": report.skipped.iter()
            .map(|s| json!({"start": s.boot, "first_scan": s.first_seq}))
            .collect::<Vec<_>>(),
        "events": report.events,
        "events_left_out": report.events_left_out,
    });
    if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
    match &report.outcome {
        Outcome::Equal | Outcome::Until => {}
        Outcome::Broke(scene) => object["scan"] = scene_json(scene),
        Outcome::Differs(difference) => object["difference"] = difference_json(difference),
        Outcome::OtherPlan => {
            object["recorded"] = json!(report.recorded);
            object["differing"] = json!(report.differing);
            object["difference"] = report.first_difference.as_ref().map(difference_json).into();
        }
        Outcome::Damaged(damage) => {
            object["damage"] = json!({
                "file": damage.file,
                "record": damage.record,
                "byte": damage.offset,
                "what": damage.what,
            });
        }
    }
}

fn scene_json(scene: &Scene) -> Value {
    json!({
        "start": scene.boot, "scan": scene.seq, "utc": scene.utc, "because": scene.because,
        "in": scene.scan, "out": scene.actions,
    })
}

fn difference_json(of: &Difference) -> Value {
    json!({
        "start": of.boot,
        "scan": of.seq,
        "utc": of.utc,
        "file": of.file,
        "byte": of.offset,
        "in": of.scan,
        "recorded": of.recorded,
        "replayed": of.replayed,
    })
}
