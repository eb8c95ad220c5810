//! `trimloop events`: alarms, and what people do with them.

use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Subcommand};
use serde_json::{Value, json};
use trimloop_core::time::{Span, Utc};
use trimloop_orders::base::Base;
use trimloop_work::alarm::{Alarm, AlarmState};
use trimloop_work::key::{Fingerprint, Subject};
use trimloop_work::rate::{FLOOD, Logged, Rate};

use super::audit::DataArg;
use super::work::{ask, stored, unreadable};
use super::{Exit, Failure, Global, Ui};
use crate::error::{SELECTION, WORK_REFUSED};
use crate::output::{duration_text, parse_length, utc_text};
use crate::work::faults;
use crate::work::message::WorkAsk;

const EXAMPLES: &str = "\
Examples:
  trimloop events list                                     Alarms that are on, or put aside
  trimloop events show press-4.check_ring_worn.check_ring
  trimloop events ack press-4.check_ring_worn.check_ring --reason \"seen\"
  trimloop events shelve press-4.link_lost --minutes 60 --reason \"PLC download\"
  trimloop events rate --last 8h                           How many alarms an operator gets

Every recorded event, not only alarms: `trimloop query events`.";

const LIST_EXAMPLES: &str = "\
Examples:
  trimloop events list
  trimloop events list --all --format json";

const SHOW_EXAMPLES: &str = "\
Examples:
  trimloop events show press-4.link_lost
  trimloop events show 3QH7K0M2B9XE --format json";

const ACT_EXAMPLES: &str = "\
Examples:
  trimloop events ack press-4.link_lost --reason \"seen\"
  trimloop events shelve press-4.link_lost --minutes 60 --reason \"PLC download\"
  trimloop events unshelve press-4.link_lost --reason \"download is over\"";

const RATE_EXAMPLES: &str = "\
Examples:
  trimloop events rate                                     The last 8 h of this cell
  trimloop events rate --last 7d --format json
  trimloop events rate --also /srv/cell-2/data             One operator watches both cells

Counted is each alarm that began, in windows of ten minutes, for one operator position. The benchmark is
that of EEMUA 191 and ISA-18.2: on average one in ten minutes is acceptable, two can be managed, and more
than ten in ten minutes are a flood. Reads work.db; needs no running service.";

/// What to do with alarms.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct EventsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Alarms that are on, put aside, or wait for a person
    List(ListArgs),
    /// One alarm with its evidence
    Show(ShowArgs),
    /// Somebody knows
    Ack(ActArgs),
    /// Put aside for a time, at most 8 h
    Shelve(ActArgs),
    /// Take back
    Unshelve(ActArgs),
    /// How many alarms an operator gets, against what people can handle
    #[command(after_long_help = RATE_EXAMPLES)]
    Rate(RateArgs),
}

#[derive(Debug, Args)]
#[command(after_long_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    data: DataArg,
    /// Normal ones too
    #[arg(long, env = "TRIMLOOP_ALL", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    all: bool,
}

#[derive(Debug, Args)]
#[command(after_long_help = SHOW_EXAMPLES)]
struct ShowArgs {
    /// Name of the alarm, or its fingerprint
    alarm: String,
    #[command(flatten)]
    data: DataArg,
}

#[derive(Debug, Args)]
#[command(after_long_help = ACT_EXAMPLES)]
struct ActArgs {
    /// Name of the alarm, or its fingerprint
    alarm: String,
    /// Why; goes into the audit trail
    #[arg(long, env = "TRIMLOOP_REASON", hide_env = true, value_name = "TEXT")]
    reason: Option<String>,
    /// For `shelve`: how long [min]
    #[arg(long, env = "TRIMLOOP_MINUTES", hide_env = true, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=480))]
    minutes: u32,
}

#[derive(Debug, Args)]
struct RateArgs {
    #[command(flatten)]
    data: DataArg,
    /// Data folder of another cell that the same operator watches; may be given several times
    #[arg(long, env = "TRIMLOOP_ALSO", hide_env = true, value_name = "DIR", value_delimiter = ',')]
    also: Vec<PathBuf>,
    /// The last 90min, 8h or 7d
    #[arg(
        long,
        env = "TRIMLOOP_LAST",
        hide_env = true,
        value_name = "LENGTH",
        default_value = "8h"
    )]
    last: String,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &EventsArgs) -> Result<Exit, Failure> {
    match &args.what {
        What::List(args) => list(ui, &args.data.folder(global)?, args.all),
        What::Rate(args) => rate(ui, &args.data.folder(global)?, args),
        What::Show(args) => show(ui, &args.data.folder(global)?, &args.alarm),
        What::Ack(args) => {
            let of = WorkAsk::Ack { alarm: args.alarm.clone() };
            ask(ui, global, of, args.reason.as_deref())
        }
        What::Shelve(args) => {
            let of = WorkAsk::Shelve { alarm: args.alarm.clone(), minutes: args.minutes };
            ask(ui, global, of, args.reason.as_deref())
        }
        What::Unshelve(args) => {
            let of = WorkAsk::Unshelve { alarm: args.alarm.clone() };
            ask(ui, global, of, args.reason.as_deref())
        }
    }
}

fn alarm_json(subject: &Subject, alarm: &Alarm) -> Value {
    json!({
        "name": faults::name(subject),
        "fingerprint": subject.fingerprint().to_string(),
        "asset": subject.asset,
        "fault": subject.mode,
        "component": subject.component,
        "state": alarm.state().word(),
        "on": alarm.is_on(),
        "shelved_until": alarm.shelved_until().map(utc_text),
    })
}

fn alarm_line(subject: &Subject, alarm: &Alarm) -> String {
    let until =
        alarm.shelved_until().map_or_else(String::new, |at| format!(" until {}", utc_text(at)));
    let on = if alarm.is_on() { "on " } else { "off" };
    format!("{on}  {}{until}  {}\n", alarm.state().word(), faults::name(subject))
}

fn list(ui: &Ui, data: &Path, all: bool) -> Result<Exit, Failure> {
    let (_, stored) = stored(data)?;
    let alarms: Vec<_> = stored
        .iter()
        .flat_map(|stored| stored.works.alarms())
        .filter(|(_, alarm)| all || alarm.is_on() || alarm.state() != AlarmState::Normal)
        .collect();
    let text: String = alarms.iter().map(|(subject, alarm)| alarm_line(subject, alarm)).collect();
    let mut object = ui.head("trimloop.alarms/1", true);
    object["alarms"] = alarms.iter().map(|(subject, alarm)| alarm_json(subject, alarm)).collect();
    ui.result(if text.is_empty() { "no alarm is on\n" } else { &text }, &object);
    Ok(Exit::Ok)
}

fn show(ui: &Ui, data: &Path, name: &str) -> Result<Exit, Failure> {
    let (_, stored) = stored(data)?;
    let asked = Fingerprint::parse(name);
    let found = stored
        .iter()
        .flat_map(|stored| stored.works.alarms())
        .find(|(subject, _)| faults::name(subject) == name || Some(subject.fingerprint()) == asked);
    let Some((subject, alarm)) = found else {
        let failure =
            Failure::new(&WORK_REFUSED, format!("there is no alarm \"{name}\""), Exit::Usage);
        return Err(failure.help("`trimloop events list --all` names them"));
    };
    let mut object = ui.head("trimloop.alarm/1", true);
    object["alarm"] = alarm_json(subject, alarm);
    let mut text = alarm_line(subject, alarm);
    let of = subject.fingerprint();
    if let Some(evidence) = stored.iter().find_map(|stored| stored.works.evidence(of)) {
        text.push_str(&format!("raised last {}", utc_text(evidence.at)));
        if evidence.part != 0 {
            text.push_str(&format!(", part {}", evidence.part));
        }
        text.push('\n');
        for line in &evidence.lines {
            text.push_str(&format!("{line}\n"));
        }
        object["raised"] = utc_text(evidence.at).into();
        object["part"] = evidence.part.into();
        object["evidence"] = json!(evidence.lines);
    }
    let case = stored.iter().flat_map(|s| s.works.cases()).find(|case| case.key.fingerprint == of);
    if let Some(case) = case {
        text.push_str(&format!("case {}: {}\n", case.key, case.state.word()));
        object["case"] = case.key.to_string().into();
    }
    ui.result(&text, &object);
    Ok(Exit::Ok)
}

/// Most rows of the lists for people; JSON has all.
const ROWS_MAX: usize = 10;

fn rate(ui: &Ui, data: &Path, args: &RateArgs) -> Result<Exit, Failure> {
    let long = parse_length(&args.last).ok_or_else(|| {
        let message = format!("\"{}\" is no length of time", args.last);
        Failure::new(&SELECTION, message, Exit::Usage).help("write 90min, 8h or 7d")
    })?;
    let folders = std::iter::once(data).chain(args.also.iter().map(PathBuf::as_path));
    let mut bases = Vec::new();
    for folder in folders {
        let base = Base::look(folder).map_err(|error| unreadable(&error))?;
        // Silence of a folder that is none would look like a quiet shift.
        let Some(base) = base else {
            let message = format!("there is no work.db in {}", folder.display());
            return Err(Failure::new(&WORK_REFUSED, message, Exit::Usage)
                .help("`trimloop run` makes it in the data folder"));
        };
        bases.push(base);
    }
    let mut to = ui.clock().utc();
    let mut first: Option<Utc> = None;
    for base in &bases {
        let extent = base.alarm_log_extent().map_err(|error| unreadable(&error))?;
        if let Some((begin, newest)) = extent {
            first = Some(first.map_or(begin, |first| first.min(begin)));
            // A simulated cell is ahead of the clock.
            to = to.max(newest + Span::from_nanos(1));
        }
    }
    let from = to + Span::from_nanos(-long.as_nanos());
    let mut log: Vec<Logged> = Vec::new();
    for base in &bases {
        log.extend(base.alarm_log(from, to).map_err(|error| unreadable(&error))?);
    }
    let rate = Rate::of(&log, from, to);
    let mut object = ui.head("trimloop.alarm_rate/1", true);
    object["rate"] = rate_json(&rate);
    object["log_begins"] = first.map(utc_text).into();
    let mut text = rate_text(&rate);
    if let Some(first) = first.filter(|first| *first > from) {
        text.push_str(&format!("the alarm log begins at {}\n", utc_text(first)));
    }
    ui.result(&text, &object);
    Ok(Exit::Ok)
}

fn rate_json(rate: &Rate) -> Value {
    json!({
        "from": utc_text(rate.from),
        "to": utc_text(rate.to),
        "alarms": rate.alarms,
        "per_10_min": rate.mean,
        "load": rate.load.word(),
        "peak": rate.peak.map(|(alarms, from)| json!({"alarms": alarms, "from": utc_text(from)})),
        "flood_percent": rate.flood_percent,
        "floods": rate.floods.iter().map(|flood| json!({
            "from": utc_text(flood.from), "to": utc_text(flood.to), "alarms": flood.alarms,
        })).collect::<Vec<_>>(),
        "frequent": rate.frequent.iter().map(|(name, count)| {
            json!({"name": name, "alarms": count})
        }).collect::<Vec<_>>(),
        "chattering": rate.chattering,
        "windows": rate.windows.iter().map(|(from, count)| {
            json!({"from": utc_text(*from), "alarms": count})
        }).collect::<Vec<_>>(),
    })
}

fn rate_text(rate: &Rate) -> String {
    let long = duration_text(rate.to - rate.from);
    let mut text = format!(
        "{} alarms in {long} up to {}, for one operator position\n\
         on average   {:.2} in 10 min: {} (acceptable up to 1, manageable up to 2)\n",
        rate.alarms,
        utc_text(rate.to),
        rate.mean,
        rate.load.word(),
    );
    if let Some((count, from)) = rate.peak {
        let flood = if count > FLOOD { ": a flood" } else { "" };
        text.push_str(&format!("at most      {count} in 10 min, from {}{flood}\n", utc_text(from)));
    }
    text.push_str(&format!(
        "floods       {} (more than {FLOOD} in 10 min), {:.1} % of the time\n",
        rate.floods.len(),
        rate.flood_percent
    ));
    for flood in rate.floods.iter().rev().take(ROWS_MAX) {
        let (from, to) = (utc_text(flood.from), utc_text(flood.to));
        text.push_str(&format!("  {from} to {to}  {} alarms\n", flood.alarms));
    }
    if !rate.frequent.is_empty() {
        text.push_str("most frequent\n");
    }
    for (name, count) in rate.frequent.iter().take(ROWS_MAX) {
        let percent = 100 * count / rate.alarms.max(1);
        text.push_str(&format!("  {count:>5}  {percent:>3} %  {name}\n"));
    }
    if !rate.chattering.is_empty() {
        text.push_str(&format!("chattering   {}\n", rate.chattering.join(", ")));
    }
    let busy = rate.windows.iter().filter(|(_, count)| *count > 0);
    let busy: Vec<_> = busy.rev().take(ROWS_MAX).collect();
    if !busy.is_empty() {
        text.push_str("newest windows of 10 min with alarms\n");
    }
    for (from, count) in busy {
        text.push_str(&format!("  {count:>5}  from {}\n", utc_text(*from)));
    }
    text
}
