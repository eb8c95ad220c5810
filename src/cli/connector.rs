//! `trimloop connector`: where history is sent.

use clap::{Args, Subcommand};
use serde_json::json;

use super::load::{control_failure, settings};
use super::status::result;
use super::{Exit, Failure, Global, Ui};
use crate::control::{Client, Request};
use crate::error::{
    CONNECTOR_NOT_STORED, CONNECTOR_REFUSED, CONNECTOR_UNKNOWN, CONNECTOR_UNREACHABLE,
    DEAD_LETTERS, NO_SERVICE, chain,
};
use crate::output::dto::{SinkLine, Status};
use crate::settings::{InfluxSettings, Settings};
use crate::sink::{INFLUX, ProbeError, dead_letters, is_loopback, probe, resend};

const SCHEMA: &str = "trimloop.connector/1";

const EXAMPLES: &str = "\
Examples:
  trimloop connector list
  trimloop connector test influx          Writes one probe line and reads it back
  trimloop connector status               Lag, losses and requests of the running service
  trimloop connector resend influx        Sends the dead letters again";

const LIST_EXAMPLES: &str = "\
Examples:
  trimloop connector list
  trimloop connector list --config my-cell --format json";

const TEST_EXAMPLES: &str = "\
Examples:
  trimloop connector test influx
  trimloop connector test influx --format json

Writes one line of the measurement trimloop_probe with this moment's time, and asks for it again.
Needs no running service.";

const STATUS_EXAMPLES: &str = "\
Examples:
  trimloop connector status
  trimloop connector status --format json";

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
    /// Write one probe line and read it back
    #[command(after_long_help = TEST_EXAMPLES)]
    Test(Which),
    /// What the running service sends, and what waits
    #[command(after_long_help = STATUS_EXAMPLES)]
    Status,
    /// Send the dead letters again
    #[command(after_long_help = RESEND_EXAMPLES)]
    Resend(Which),
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
        ConnectorVerb::Test(which) => test(ui, influx(&settings, &which.name)?),
        ConnectorVerb::Status => status(ui, &settings),
        ConnectorVerb::Resend(which) => send_again(ui, &settings, influx(&settings, &which.name)?),
    }
}

fn influx<'a>(settings: &'a Settings, name: &str) -> Result<&'a InfluxSettings, Failure> {
    let found = settings.influx.as_ref().filter(|_| name == INFLUX);
    found.ok_or_else(|| {
        let message = format!("there is no connector \"{name}\"");
        let help = match &settings.influx {
            Some(_) => format!("there is: {INFLUX}"),
            None => "the settings have none; add [influx] with url, dialect and database or bucket"
                .to_owned(),
        };
        Failure::new(&CONNECTOR_UNKNOWN, message, Exit::Usage).help(help)
    })
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
    if text.is_empty() {
        text = "no connectors: the settings have no [influx] table\n".to_owned();
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
