//! `trimloop loop ACTION NAME`: orders to the running service.

use std::io::{BufRead, IsTerminal};

use clap::{ArgAction, Args, builder::FalseyValueParser};
use serde_json::json;

use super::load::{control_failure, settings};
use super::status::result;
use super::{Exit, Failure, Global, Ui};
use crate::control::{Client, LoopAction, Request};
use crate::error::REQUEST;

const EXAMPLES: &str = "\
Examples:
  trimloop loop hold weight --reason \"door open\"
  trimloop loop auto weight --yes --reason \"trial passed\"
  trimloop loop auto weight --dry-run --reason \"what would happen\"
  trimloop loop approve weight --yes --reason \"looks right\"

Orders only queue a command in the service; the guard decides, the PLC keeps the last word.
ADVISORY and AUTO take the OS user who runs the service.";

/// Which loop shall do what, and why.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct LoopArgs {
    /// What it shall do
    #[arg(value_enum)]
    action: LoopAction,
    /// Name of the loop, as in `trimloop status`
    name: String,
    /// Why; goes into the audit trail
    #[arg(long, env = "TRIMLOOP_REASON", hide_env = true, value_name = "TEXT")]
    reason: Option<String>,
    /// Number of the proposal to approve or deny [default: the open one]
    #[arg(long, env = "TRIMLOOP_PROPOSAL", hide_env = true, value_name = "N")]
    proposal: Option<u64>,
    /// Do not ask for the cell's name
    #[arg(long, env = "TRIMLOOP_YES", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    yes: bool,
    /// Only say what would be ordered
    #[arg(long, env = "TRIMLOOP_DRY_RUN", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    dry_run: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &LoopArgs) -> Result<Exit, Failure> {
    let usage =
        |message: String, help: &str| Failure::new(&REQUEST, message, Exit::Usage).help(help);
    let Some(reason) = args.reason.clone().filter(|reason| !reason.trim().is_empty()) else {
        return Err(usage("an order needs a reason".into(), "add --reason \"…\""));
    };
    let settings = settings(global)?;
    let mut client = Client::of_service(&settings.data, &settings.socket)
        .map_err(|error| control_failure(&error))?;
    if args.action.gives_authority() && !args.yes && !args.dry_run {
        confirm(ui, &settings.name, args)?;
    }
    let request = Request::Loop {
        loop_name: args.name.clone(),
        action: args.action,
        reason,
        proposal: args.proposal,
        dry_run: args.dry_run,
    };
    let value = result(client.ask(&request).map_err(|error| control_failure(&error))?)?;
    let message = value.get("message").and_then(|m| m.as_str()).unwrap_or("done").to_owned();
    ui.result(&format!("{message}\n"), &json!(value));
    Ok(Exit::Ok)
}

/// Asks a person to type the cell's name.
fn confirm(ui: &Ui, cell: &str, args: &LoopArgs) -> Result<(), Failure> {
    let refused = |message: &str| {
        Failure::new(&REQUEST, message, Exit::Usage).help("type the cell's name, or add --yes")
    };
    let stdin = std::io::stdin();
    if !stdin.is_terminal() || ui.is_json() {
        return Err(refused("an order that gives authority must be confirmed"));
    }
    ui.note(&format!("{} {}: type the cell's name ({cell}):", args.action.word(), args.name));
    let mut typed = String::new();
    let read = stdin.lock().read_line(&mut typed);
    if read.is_err() || typed.trim() != cell {
        return Err(refused("that is not the cell's name; nothing was ordered"));
    }
    Ok(())
}
