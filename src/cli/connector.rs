//! `trimloop connector`: where history, work orders and notices of alarms are sent.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use trimloop_cmms::{Connector, Sender, Trouble, trial};
use trimloop_core::time::Utc;
use trimloop_orders::engine::{POLL_FAILED, POLLED};
use trimloop_work::outbox::{Operation, RowState};

use super::load::{control_failure, settings};
use super::status::result;
use super::{Exit, Failure, Global, Ui, work};
use crate::control::{Client, Request};
use crate::error::{
    CMMS_SETTING, CONNECTOR_NOT_STORED, CONNECTOR_REFUSED, CONNECTOR_UNKNOWN,
    CONNECTOR_UNREACHABLE, DEAD_LETTERS, NO_SERVICE, chain,
};
use crate::output::dto::{SinkLine, Status};
use crate::output::{Zone, utc_text};
use crate::settings::{Channel, InfluxSettings, Settings};
use crate::sink::{INFLUX, ProbeError, dead_letters, is_loopback, probe, resend};
use crate::work::message::WorkAsk;
use crate::work::notices::courier;
use crate::work::system;

const SCHEMA: &str = "trimloop.connector/1";

const EXAMPLES: &str = "\
Examples:
  trimloop connector list
  trimloop connector test influx          Writes one probe line and reads it back
  trimloop connector test cmms            Asks it whether address, secret and rights would do
  trimloop connector test shift           Sends a test notice over the channel [notify.shift]
  trimloop connector status               Lag, losses and requests of the running service
  trimloop connector resend influx        Sends the dead letters again
  trimloop connector retry 17 --reason \"asset made\"    Sends a refused request of a work order again";

const LIST_EXAMPLES: &str = "\
Examples:
  trimloop connector list
  trimloop connector list --config my-cell --format json";

const TEST_EXAMPLES: &str = "\
Examples:
  trimloop connector test influx
  trimloop connector test influx --format json
  trimloop connector test cmms
  trimloop connector test shift

For influx: writes one line of the measurement trimloop_probe with this moment's time, and asks for
it again. For cmms: asks for something that changes nothing. For a channel of [notify]: sends a notice
that says that it is a test. Needs no running service.";

const STATUS_EXAMPLES: &str = "\
Examples:
  trimloop connector status
  trimloop connector status --format json";

const RETRY_EXAMPLES: &str = "\
Examples:
  trimloop connector status                              Shows refused requests with their numbers
  trimloop connector retry 17 --reason \"asset made\"

A request is refused for what it says (an asset that is not there, a field that must not be empty). Set
that right in the recipe or in the product first. Needs the running service.";

const RESEND_EXAMPLES: &str = "\
Examples:
  trimloop connector resend influx        After the cause is gone
  grep -c '^#' data/dead/influx-*.lp      How many there are, without sending

Lines that are stored now leave the file; refused ones stay. Needs no running service, and does not
disturb one.";

/// What to do.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ConnectorArgs {
    #[command(subcommand)]
    verb: ConnectorVerb,
}

#[derive(Debug, Subcommand)]
enum ConnectorVerb {
    /// Connectors of the settings
    #[command(after_long_help = LIST_EXAMPLES)]
    List,
    /// Ask whether it works: write a probe line and read it back, ask a CMMS, send a test notice
    #[command(after_long_help = TEST_EXAMPLES)]
    Test(Which),
    /// What the running service sends, and what waits
    #[command(after_long_help = STATUS_EXAMPLES)]
    Status,
    /// Send the dead letters again
    #[command(after_long_help = RESEND_EXAMPLES)]
    Resend(Which),
    /// Send a refused request of a work order again
    #[command(after_long_help = RETRY_EXAMPLES)]
    Retry(RetryArgs),
}

/// A request.
#[derive(Debug, Args)]
struct RetryArgs {
    /// Its number, as in `trimloop connector status`
    row: u64,
    /// Why; goes into the audit trail
    #[arg(long, env = "TRIMLOOP_REASON", hide_env = true, value_name = "TEXT")]
    reason: Option<String>,
}

/// A connector.
#[derive(Debug, Args)]
struct Which {
    /// Its name, as in `trimloop connector list`
    name: String,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &ConnectorArgs) -> Result<Exit, Failure> {
    let settings = settings(global)?;
    match &args.verb {
        ConnectorVerb::List => list(ui, &settings),
        ConnectorVerb::Test(which) if which.name == CMMS => test_cmms(ui, cmms(&settings)?),
        ConnectorVerb::Test(which) if channel(&settings, &which.name).is_some() => {
            test_channel(ui, &settings, &which.name)
        }
        ConnectorVerb::Test(which) => test(ui, influx(&settings, &which.name)?),
        ConnectorVerb::Status => status(ui, &settings),
        ConnectorVerb::Resend(which) => send_again(ui, &settings, influx(&settings, &which.name)?),
        ConnectorVerb::Retry(args) => {
            work::ask(ui, global, WorkAsk::Retry { row: args.row }, args.reason.as_deref())
        }
    }
}

fn influx<'a>(settings: &'a Settings, name: &str) -> Result<&'a InfluxSettings, Failure> {
    let found = settings.influx.as_ref().filter(|_| name == INFLUX);
    found.ok_or_else(|| {
        let message = format!("there is no connector \"{name}\"");
        let channels = settings.notify.iter().map(|channel| channel.name.as_str());
        let known: Vec<&str> = settings.influx.iter().map(|_| INFLUX).chain(channels).collect();
        let help = match known.as_slice() {
            [] => "the settings have none; add [influx] with url, dialect and database or bucket"
                .to_owned(),
            _ => format!("there is: {}", known.join(", ")),
        };
        Failure::new(&CONNECTOR_UNKNOWN, message, Exit::Usage).help(help)
    })
}

fn channel<'a>(settings: &'a Settings, name: &str) -> Option<&'a Channel> {
    settings.notify.iter().find(|channel| channel.name == name)
}

/// Sends a notice that says that it is a test.
fn test_channel(ui: &Ui, settings: &Settings, name: &str) -> Result<Exit, Failure> {
    let Some(channel) = channel(settings, name) else { return Ok(Exit::Usage) };
    let now = ui.clock().utc();
    let when = |at: Utc| Zone::Local.text(at.as_nanos(), 0);
    let sender = Sender { cell: settings.name.clone(), when };
    let notice = trial(name, now);
    let came = courier(channel).deliver(&notice, &sender, now);
    came.map_err(|trouble| match trouble {
        Trouble::Paused(why) | Trouble::Refused(why) => {
            Failure::new(&CONNECTOR_REFUSED, why, Exit::Failed)
                .help(format!("correct address, user or secret in [notify.{name}]"))
        }
        Trouble::NotDone { why, .. } | Trouble::Unknown(why) => {
            Failure::new(&CONNECTOR_UNREACHABLE, why, Exit::Unreachable)
                .help(format!("see that it runs, and that [notify.{name}] has its address"))
        }
    })?;
    let mut object = ui.head(SCHEMA, true);
    object["to"] = json!(channel.place());
    object["id"] = json!(notice.id);
    ui.result(&format!("{}: took a test notice, {}\n", channel.place(), notice.id), &object);
    Ok(Exit::Ok)
}

/// How the channels of notices do, as the desk stored it.
fn notices(settings: &Settings) -> Result<(String, Value), Failure> {
    let (_, stored) = work::stored(&settings.data)?;
    let (mut text, mut lines) = (String::new(), Vec::new());
    for of in stored.iter().flat_map(|stored| stored.notify.shown()) {
        let (state, why) = match of.outgoing {
            None => ("ready", None),
            Some((_, 0 | 1, None)) => ("sending", None),
            Some((_, _, why)) => ("failing", why),
        };
        let (waiting, counted, delivered) = (of.waiting, of.counted, of.delivered);
        text.push_str(&format!(
            "notices {} {state}: {delivered} delivered, {waiting} alarms wait, {counted} counted\n",
            of.name
        ));
        if let Some(why) = why {
            let tries = of.outgoing.map_or(0, |(_, tries, _)| tries);
            text.push_str(&format!("  {tries} tries: {why}\n"));
        }
        if let Some(at) = of.next_at.filter(|_| why.is_some()) {
            text.push_str(&format!("  next try {}\n", utc_text(at)));
        }
        if of.given_up > 0 {
            text.push_str(&format!("  {} given up, what they told is in the next\n", of.given_up));
        }
        lines.push(json!({
            "name": of.name, "state": state, "why": why, "delivered": delivered,
            "delivered_at": of.delivered_at.map(utc_text), "waiting": waiting,
            "counted": counted, "follows": of.follows, "given_up": of.given_up,
            "tries": of.outgoing.map(|(_, tries, _)| tries),
        }));
    }
    Ok((text, Value::Array(lines)))
}

/// The connector's name, of whatever product.
const CMMS: &str = "cmms";

fn cmms(settings: &Settings) -> Result<&Connector, Failure> {
    settings.cmms.as_ref().ok_or_else(|| {
        let message = format!("there is no connector \"{CMMS}\": orders are in the built-in book");
        let help = "add [cmms] with kind, url and what the product needs";
        Failure::new(&CONNECTOR_UNKNOWN, message, Exit::Usage).help(help)
    })
}

/// Asks a CMMS without changing anything.
fn test_cmms(ui: &Ui, connector: &Connector) -> Result<Exit, Failure> {
    let mut system = system(connector, ui.clock())
        .map_err(|error| Failure::new(&CMMS_SETTING, error.to_string(), Exit::Usage))?;
    let said = system.check().map_err(|trouble| match trouble {
        Trouble::Paused(why) | Trouble::Refused(why) => {
            Failure::new(&CONNECTOR_REFUSED, why, Exit::Failed)
                .help("correct address, user or secret in [cmms], or the rights in the product")
        }
        Trouble::NotDone { why, .. } | Trouble::Unknown(why) => {
            Failure::new(&CONNECTOR_UNREACHABLE, why, Exit::Unreachable)
                .help("see that the product runs and that cmms.url is its address")
        }
    })?;
    let mut object = ui.head(SCHEMA, true);
    object["url"] = json!(connector.url);
    object["said"] = json!(said);
    ui.result(&format!("{}: {said}\n", connector.url), &object);
    Ok(Exit::Ok)
}

/// Requests to what keeps the orders that are not through, and why.
fn requests(data: &Path) -> Result<(String, Value), Failure> {
    let (base, stored) = work::stored(data)?;
    let rows = stored.as_ref().map_or(&[][..], |stored| stored.works.rows());
    let open = rows.iter().filter(|row| row.state != RowState::Delivered);
    let (mut text, mut lines) = (String::new(), Vec::new());
    for row in open {
        let what = match row.operation {
            Operation::Create => "create",
            Operation::Comment(_) => "comment",
        };
        let why = row.error.as_deref().unwrap_or_default();
        let state = row.state.word();
        let line = format!("  {} {what} {} {state} {why}", row.id, row.key);
        text.push_str(line.trim_end());
        text.push('\n');
        lines.push(json!({"row": row.id, "key": row.key.to_string(), "what": what,
            "state": state, "attempts": row.attempts, "why": row.error}));
    }
    let told = base.map(|base| base.told(None, 500)).transpose();
    let told = told.map_err(|error| work::unreadable(&error))?.unwrap_or_default();
    let polls = told.iter().find(|line| [POLL_FAILED, POLLED].contains(&line.what.as_str()));
    if let Some(failed) = polls.filter(|line| line.what == POLL_FAILED) {
        let at = utc_text(Utc::from_nanos(failed.utc));
        text.push_str(&format!(
            "  not answered since {at}, so that nobody knows what became of the orders: {}\n",
            failed.detail
        ));
    }
    if let Some(paused) = told.iter().find(|line| line.what == "paused")
        && !lines.is_empty()
    {
        let at = utc_text(Utc::from_nanos(paused.utc));
        text.push_str(&format!("  paused {at}: {}\n", paused.detail));
    }
    Ok((text, Value::Array(lines)))
}

fn list(ui: &Ui, settings: &Settings) -> Result<Exit, Failure> {
    let mut object = ui.head(SCHEMA, true);
    let mut text = String::new();
    object["connectors"] = json!([]);
    if let Some(influx) = &settings.influx {
        let letters = dead_letters(&settings.data).map_err(|error| letters_failure(&error))?;
        let place = match influx.database.as_str() {
            "" => format!("bucket {} of {}", influx.bucket, influx.org),
            database => format!("database {database}"),
        };
        text = format!(
            "influx  {}  {} {place}  {letters} dead letters\n",
            influx.url,
            influx.dialect.word()
        );
        if !is_loopback(&influx.url) && influx.url.starts_with("http://") {
            text.push_str("        not encrypted: rows and secrets can be read on the way\n");
        }
        object["connectors"] = json!([{
            "name": INFLUX,
            "url": influx.url,
            "dialect": influx.dialect.word(),
            "database": influx.database,
            "org": influx.org,
            "bucket": influx.bucket,
            "cell": influx.cell,
            "site": influx.site,
            "dead_letters": letters,
        }]);
    }
    if let Some(cmms) = &settings.cmms {
        text.push_str(&format!("cmms    {}  {}\n", cmms.url, cmms.kind.word()));
        if let Some(all) = object["connectors"].as_array_mut() {
            all.push(json!({"name": CMMS, "url": cmms.url, "kind": cmms.kind.word()}));
        }
    }
    for channel in &settings.notify {
        let told = match channel.priority {
            0 => "what others escalate".to_owned(),
            1 => "priority 1".to_owned(),
            least => format!("priorities 1 to {least}"),
        };
        let (name, kind, place) = (&channel.name, channel.kind(), channel.place());
        text.push_str(&format!("{name}  {place}  {kind}, {told}\n"));
        if let Some(all) = object["connectors"].as_array_mut() {
            all.push(
                json!({"name": name, "to": place, "kind": kind, "priority": channel.priority}),
            );
        }
    }
    if text.is_empty() {
        text =
            "no connectors: the settings have no [influx], no [cmms] and no [notify]\n".to_owned();
    }
    ui.result(&text, &object);
    Ok(Exit::Ok)
}

fn test(ui: &Ui, influx: &InfluxSettings) -> Result<Exit, Failure> {
    let found = probe(influx, ui.clock().utc()).map_err(|error| failure(&error))?;
    let read_back = match found.read_back {
        Some(false) => {
            let message = format!("{} took the probe, but does not show it", influx.url);
            return Err(Failure::new(&CONNECTOR_NOT_STORED, message, Exit::Failed));
        }
        Some(true) => "and read it back",
        None => "; this server does not answer questions in that dialect, so it was not read back",
    };
    let mut object = ui.head(SCHEMA, true);
    object["url"] = json!(influx.url);
    object["wrote"] = json!(found.line);
    object["read_back"] = json!(found.read_back);
    let text = format!("{}: wrote one line {read_back}\n  {}\n", influx.url, found.line);
    ui.result(&text.replace(" ;", ";"), &object);
    Ok(Exit::Ok)
}

fn status(ui: &Ui, settings: &Settings) -> Result<Exit, Failure> {
    let mut client = Client::of_service(&settings.data, &settings.socket)
        .map_err(|error| control_failure(&error))?;
    let value = result(client.ask(&Request::Status).map_err(|error| control_failure(&error))?)?;
    let status: Status = serde_json::from_value(value).map_err(|error| {
        let message = format!("the service answered something else (another version?): {error}");
        Failure::new(&NO_SERVICE, message, Exit::Unreachable)
    })?;
    let mut object = ui.head(SCHEMA, true);
    object["sinks"] = json!(status.sinks);
    let mut text: String = status.sinks.iter().map(of_sink).collect();
    if text.is_empty() {
        text = "the service sends history nowhere: it was started without [influx]\n".to_owned();
    }
    let (lines, rows) = requests(&settings.data)?;
    let place = settings.cmms.as_ref().map_or("the built-in book", |cmms| cmms.url.as_str());
    let count = rows.as_array().map_or(0, Vec::len);
    text.push_str(&format!("work orders to {place}: {count} requests wait\n{lines}"));
    object["requests"] = rows;
    let (lines, channels) = notices(settings)?;
    text.push_str(&lines);
    object["notices"] = channels;
    ui.result(&text, &object);
    Ok(Exit::Ok)
}

fn of_sink(sink: &SinkLine) -> String {
    let why = sink.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let mut text = format!(
        "{} {}{why}\n  to      {}\n  behind  {} rows, {:.0} s\n",
        sink.name, sink.state, sink.url, sink.behind_rows, sink.behind_seconds
    );
    for (name, count) in &sink.counters {
        text.push_str(&format!("  {name} {count}\n"));
    }
    text
}

fn send_again(ui: &Ui, settings: &Settings, influx: &InfluxSettings) -> Result<Exit, Failure> {
    let done = resend(influx, &settings.data).map_err(|error| failure(&error))?;
    let left: u64 = done.iter().map(|file| file.left).sum();
    let mut text = String::new();
    for file in &done {
        text.push_str(&format!("{}: {} stored, {} stay\n", file.file, file.stored, file.left));
    }
    if text.is_empty() {
        text = "there are no dead letters\n".to_owned();
    }
    let mut object = ui.head(SCHEMA, left == 0);
    object["files"] = done
        .iter()
        .map(|file| json!({"file": file.file, "stored": file.stored, "left": file.left}))
        .collect();
    ui.result(&text, &object);
    Ok(if left == 0 { Exit::Ok } else { Exit::Failed })
}

fn letters_failure(error: &std::io::Error) -> Failure {
    let message = format!("the dead letters cannot be read: {error}");
    Failure::new(&DEAD_LETTERS, message, Exit::Unreachable)
}

fn failure(error: &ProbeError) -> Failure {
    let text = chain(error);
    match error {
        ProbeError::Local(_) => Failure::new(&CONNECTOR_REFUSED, text, Exit::Usage)
            .help("make the file readable for this user, or correct its name in [influx]"),
        ProbeError::Away(_) => Failure::new(&CONNECTOR_UNREACHABLE, text, Exit::Unreachable)
            .help("see that the server runs and that influx.url is its address"),
        ProbeError::Refused(_) => Failure::new(&CONNECTOR_REFUSED, text, Exit::Failed).help(
            "correct database, bucket, user or token in [influx], or make them on the server; then \
             test again",
        ),
        ProbeError::Letters(_) => Failure::new(&DEAD_LETTERS, text, Exit::Unreachable),
    }
}
