//! `trimloop plc`: what can be asked of a PLC without the service.

mod conform;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Ui};

const EXAMPLES: &str = "\
Examples:
  trimloop simulate --handshake test                  A press whose guard blocks are in test mode
  trimloop plc conform opc.tcp://127.0.0.1:4855       Does it refuse what it must refuse?";

/// What to ask.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct PlcArgs {
    #[command(subcommand)]
    verb: PlcVerb,
}

#[derive(Debug, Subcommand)]
enum PlcVerb {
    /// Test the handshake blocks of a PLC in test mode; prints a report
    Conform(conform::ConformArgs),
}

pub(super) fn run(ui: &Ui, args: &PlcArgs) -> Result<Exit, Failure> {
    match &args.verb {
        PlcVerb::Conform(args) => conform::run(ui, args),
    }
}
