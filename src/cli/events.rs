//! `trimloop events`: alarms, and what people do with them.

use std::path::Path;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Subcommand};
use serde_json::{Value, json};
use trimloop_work::alarm::{Alarm, AlarmState};
use trimloop_work::key::{Fingerprint, Subject};

use super::audit::DataArg;
use super::work::{ask, stored};
use super::{Exit, Failure, Global, Ui};
use crate::error::WORK_REFUSED;
use crate::output::utc_text;
use crate::work::faults;
use crate::work::message::WorkAsk;

const EXAMPLES: &str = "\
Examples:
  trimloop events list                                     Alarms that are on, or put aside
  trimloop events show press-4.check_ring_worn.check_ring
  trimloop events ack press-4.check_ring_worn.check_ring --reason \"seen\"
  trimloop events shelve press-4.link_lost --minutes 60 --reason \"PLC download\"

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

pub(super) fn run(ui: &Ui, global: &Global, args: &EventsArgs) -> Result<Exit, Failure> {
    match &args.what {
        What::List(args) => list(ui, &args.data.folder(global)?, args.all),
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
