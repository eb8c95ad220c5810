//! `trimloop status`: asks the running service.

use clap::{ArgAction, Args, builder::FalseyValueParser};
use serde_json::Value;

use super::load::{control_failure, settings};
use super::{Exit, Failure, Global, Ui};
use crate::control::{Answer, Client, Request};
use crate::error::NO_SERVICE;
use crate::output::dto::{EventLine, Status};
use crate::output::{metrics_text, status_table};

const EXAMPLES: &str = "\
Examples:
  trimloop status                          The service of this folder or machine
  trimloop status --config my-cell         The service of another folder
  trimloop status --follow                 Events as they happen, until Ctrl-C
  trimloop status --format json
  trimloop status --prometheus > metrics.prom.part && mv metrics.prom.part metrics.prom";

/// What to show.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct StatusArgs {
    /// Show events as they happen, until Ctrl-C
    #[arg(long, env = "TRIMLOOP_FOLLOW", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    follow: bool,
    /// Print metrics in Prometheus' text format
    #[arg(long, env = "TRIMLOOP_PROMETHEUS", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue, conflicts_with = "follow")]
    prometheus: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &StatusArgs) -> Result<Exit, Failure> {
    let settings = settings(global)?;
    let mut client = Client::of_service(&settings.data, &settings.socket)
        .map_err(|error| control_failure(&error))?;
    if args.follow {
        let follow = client.follow(&Request::Events, |answer| match answer {
            Answer::Done { result } => {
                let human = serde_json::from_value::<EventLine>(result.clone()).map_or_else(
                    |_| result.to_string(),
                    |line| format!("{}  {:>8}  {}", line.utc, line.id, line.sentence),
                );
                ui.row(&human, &result)
            }
            Answer::Failed { error, .. } => {
                ui.note(&error);
                false
            }
        });
        follow.map_err(|error| control_failure(&error))?;
        return Ok(Exit::Ok);
    }
    let value = result(client.ask(&Request::Status).map_err(|error| control_failure(&error))?)?;
    let status: Status = serde_json::from_value(value.clone()).map_err(|error| {
        let message = format!("the service answered something else (another version?): {error}");
        Failure::new(&NO_SERVICE, message, Exit::Unreachable)
    })?;
    if args.prometheus {
        ui.text(&metrics_text(&status));
        return Ok(Exit::Ok);
    }
    ui.result(&status_table(&status), &value);
    Ok(Exit::Ok)
}

/// The result in an answer, or its failure.
pub(super) fn result(answer: Answer) -> Result<Value, Failure> {
    match answer {
        Answer::Done { result } => Ok(result),
        Answer::Failed { code, error, help, exit } => {
            Err(Failure::Coded { code, message: error, help, exit })
        }
    }
}
