//! `trimloop fault`: makes the running simulator misbehave, and lists what it can do wrong.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use trimloop_simulator::{CATALOGUE, Fault, Faults, control};

use super::{Exit, Failure, Ui};
use crate::control::own_user;
use crate::error::{REQUEST, SIMULATOR};

/// Longest wait for an answer: a new certificate takes some seconds to make.
const ANSWER_MAX: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "\
Examples:
  trimloop fault list                        What it can do wrong, and what is on
  trimloop fault on write-ignored            Until it is switched off
  trimloop fault on half-open --for 5s       For five seconds
  trimloop fault off write-ignored
  trimloop fault on server-slow --port 4860  The simulator at that port

It reaches `trimloop simulate` on this machine, of the same user, and nothing else. What the loop
does about each: docs/src/how-to/misbehave.md.";

/// What shall go wrong.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct FaultArgs {
    /// What to do
    #[arg(value_enum)]
    action: Action,
    /// Name of the fault, as in `trimloop fault list`
    name: Option<String>,
    /// On for this time only, such as 5s or 2min
    #[arg(long = "for", env = "TRIMLOOP_FOR", hide_env = true, value_name = "TIME", value_parser = super::plc::time)]
    lasts: Option<Duration>,
    /// TCP port of the simulator
    #[arg(
        long,
        env = "TRIMLOOP_PORT",
        hide_env = true,
        default_value_t = super::simulate::PORT,
        value_name = "PORT"
    )]
    port: u16,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// List the faults and which of them are on.
    List,
    /// Switch one on.
    On,
    /// Switch one off.
    Off,
}

/// Folder of the control sockets of this user's simulators.
///
/// # Errors
/// It is somebody else's.
pub(super) fn folder() -> Result<PathBuf, Failure> {
    let folder = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) => PathBuf::from(dir).join("trimloop-simulator"),
        None => std::env::temp_dir().join(format!("trimloop-simulator-{}", own_user())),
    };
    let owner = std::fs::metadata(&folder).map(|data| data.uid());
    if owner.is_ok_and(|uid| uid != own_user().as_raw()) {
        let message = format!("the folder {} belongs to another user", folder.display());
        return Err(Failure::new(&SIMULATOR, message, Exit::Unreachable)
            .help("set XDG_RUNTIME_DIR to a folder of your own"));
    }
    Ok(folder)
}

/// A fault by name.
pub(super) fn named(name: &str) -> Result<Fault, Failure> {
    Fault::named(name).ok_or_else(|| {
        let names = CATALOGUE.iter().map(|entry| entry.name);
        let near = trimloop_recipe::diagnostic::did_you_mean(name, names);
        let help = near.unwrap_or_else(|| "`trimloop fault list` lists them".to_owned());
        Failure::new(&REQUEST, format!("there is no fault \"{name}\""), Exit::Usage).help(help)
    })
}

pub(super) fn run(ui: &Ui, args: &FaultArgs) -> Result<Exit, Failure> {
    let usage = |message: &str, help: &str| Failure::new(&REQUEST, message, Exit::Usage).help(help);
    let name = args.name.as_deref();
    let (on, name) = match (args.action, name) {
        (Action::List, None) => return list(ui, args.port),
        (Action::List, Some(_)) => {
            return Err(usage("the list takes no name", "trimloop fault list"));
        }
        (Action::On | Action::Off, None) => {
            return Err(usage("which fault?", "`trimloop fault list` lists them"));
        }
        (action, Some(name)) => (action == Action::On, name),
    };
    if args.lasts.is_some() && !on {
        return Err(usage("--for goes with `on`", "trimloop fault on NAME --for 5s"));
    }
    let fault = named(name)?;
    let entry = fault.entry();
    if args.lasts.is_some() && !entry.lasts {
        let message = format!("{fault} happens once; it does not last");
        return Err(usage(&message, "leave --for out"));
    }
    let request = match (on, args.lasts) {
        (true, Some(lasts)) => format!("on {fault} {}", lasts.as_millis()),
        (true, None) => format!("on {fault}"),
        (false, _) => format!("off {fault}"),
    };
    ask(args.port, &request)?;
    let mut object = ui.head("trimloop.fault/1", true);
    object["name"] = json!(entry.name);
    object["on"] = json!(on && entry.lasts);
    let text = match (on, args.lasts) {
        (true, _) if !entry.lasts => format!("{fault} happened: {}\n", entry.title),
        (true, Some(lasts)) => {
            format!("{fault} is on for {} s: {}\n", lasts.as_secs_f64(), entry.title)
        }
        (true, None) => format!("{fault} is on: {}\n", entry.title),
        (false, _) => format!("{fault} is off\n"),
    };
    ui.result(&text, &object);
    Ok(Exit::Ok)
}

fn list(ui: &Ui, port: u16) -> Result<Exit, Failure> {
    let on = match ask(port, "list") {
        Ok(lines) => Some(
            lines
                .iter()
                .filter_map(|line| Fault::named(line.strip_prefix("on ")?))
                .fold(Faults::NONE, Faults::with),
        ),
        // The list says what there is, also while no simulator runs.
        Err(failure) => {
            ui.note(&format!("no simulator answers on port {port}; what it could do wrong:"));
            drop(failure);
            None
        }
    };
    let is_on = |fault| on.is_some_and(|on| on.has(fault));
    let mut object = ui.head("trimloop.faults/1", true);
    object["simulator"] = json!(on.is_some());
    object["faults"] = CATALOGUE
        .iter()
        .map(|entry| {
            json!({
                "name": entry.name,
                "title": entry.title,
                "must": entry.must,
                "lasts": entry.lasts,
                "on": is_on(entry.fault),
            })
        })
        .collect();
    let width = CATALOGUE.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    let row = |entry: &trimloop_simulator::catalogue::Entry| {
        let mark = if is_on(entry.fault) { "ON" } else { "  " };
        format!("{:width$}  {mark}  {}\n", entry.name, entry.title)
    };
    let text: String = CATALOGUE.iter().map(row).collect();
    ui.result(&text, &object);
    Ok(Exit::Ok)
}

/// Asks the simulator at a port; the lines of its answer before `ok`.
fn ask(port: u16, request: &str) -> Result<Vec<String>, Failure> {
    let path = control::socket(&folder()?, port);
    let failed = |error: std::io::Error| {
        let message = match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                format!("no simulator answers on port {port}")
            }
            _ => format!("the simulator on port {port} did not answer: {error}"),
        };
        Failure::new(&SIMULATOR, message, Exit::Unreachable)
            .help("start one with `trimloop simulate`, or name its port with --port")
    };
    let mut stream = UnixStream::connect(&path).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(failed)?;
    stream.write_all(format!("{request}\n").as_bytes()).map_err(failed)?;
    let mut lines = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(failed)?;
        if line == "ok" {
            return Ok(lines);
        }
        if let Some(why) = line.strip_prefix("error ") {
            return Err(Failure::new(&REQUEST, why, Exit::Failed)
                .help("`trimloop simulate --help` says how to start one that can"));
        }
        lines.push(line);
    }
    Err(failed(ErrorKind::UnexpectedEof.into()))
}
