//! `trimloop plc backfill`: a span of time out of the PLC's own history, by the running service.

use clap::{ArgAction, Args, builder::FalseyValueParser};

use trimloop_core::time::Utc;

use crate::cli::load::{control_failure, settings};
use crate::cli::select::{bad_length, instant};
use crate::cli::status::result;
use crate::cli::{Exit, Failure, Global, Ui};
use crate::control::{Client, Request};
use crate::output::{Zone, parse_length};

const EXAMPLES: &str = "\
Examples:
  trimloop plc backfill --last 3d                       What all PLCs of the cell remember of it
  trimloop plc backfill press-4 --from 2026-11-22T06:00 --to 2026-11-22T14:00

Gaps since the last stop, up to `[link] backfill`, are read without asking. This is for older ones. The
values go into the history, marked; what is there stays, and no decision is made from them. It takes the
running service, and its event `gap_filled` or `gap_unfilled` says what came of it.";

/// Which span.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(in crate::cli) struct BackfillArgs {
    /// Name of the PLC config [default: all PLCs of the cell]
    plc: Option<String>,
    /// From this time on: 2026-11-22, 2026-11-22T10:00, in UTC unless --local
    #[arg(
        long,
        env = "TRIMLOOP_FROM",
        hide_env = true,
        value_name = "TIME",
        required_unless_present = "last"
    )]
    from: Option<String>,
    /// Up to this time [default: now]
    #[arg(long, env = "TRIMLOOP_TO", hide_env = true, value_name = "TIME")]
    to: Option<String>,
    /// The last 90s, 15min, 1h or 7d
    #[arg(long, env = "TRIMLOOP_LAST", hide_env = true, value_name = "LENGTH", conflicts_with_all = ["from", "to"])]
    last: Option<String>,
    /// Times in this computer's zone (TZ)
    #[arg(long, env = "TRIMLOOP_LOCAL", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    local: bool,
}

impl BackfillArgs {
    /// Begin and end [ns UTC].
    fn span(&self, now: Utc) -> Result<(i64, i64), Failure> {
        let zone = if self.local { Zone::Local } else { Zone::Utc };
        let to = match &self.to {
            Some(to) => instant(to, zone)?,
            None => now.as_nanos(),
        };
        let from = match (&self.from, &self.last) {
            (Some(from), _) => instant(from, zone)?,
            (None, Some(last)) => {
                (now - parse_length(last).ok_or_else(|| bad_length(last))?).as_nanos()
            }
            // The parser asks for one of the two.
            (None, None) => to,
        };
        Ok((from, to))
    }
}

pub(super) fn run(ui: &Ui, global: &Global, args: &BackfillArgs) -> Result<Exit, Failure> {
    let (from, to) = args.span(ui.clock().utc())?;
    let settings = settings(global)?;
    let mut client = Client::of_service(&settings.data, &settings.socket)
        .map_err(|error| control_failure(&error))?;
    let request = Request::Backfill { plc: args.plc.clone(), from, to };
    let value = result(client.ask(&request).map_err(|error| control_failure(&error))?)?;
    let message = value.get("message").and_then(|m| m.as_str()).unwrap_or("done").to_owned();
    ui.result(&format!("{message}\n"), &value);
    Ok(Exit::Ok)
}
