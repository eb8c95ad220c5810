//! `trimloop plc`: the PLC's side, seen from outside. Nothing here writes a node.

mod cert;
mod conform;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global, Ui};

const EXAMPLES: &str = "\
Examples:
  trimloop plc cert show                      Our certificate and the servers we know
  trimloop plc cert trust 3f9c2b              Trust a server that was put aside
  trimloop simulate --handshake test          A press whose guard blocks are in test mode
  trimloop plc conform opc.tcp://127.0.0.1:4855   Does it refuse what it must refuse?

There is no `plc write`: only a loop writes, inside its limits.";

/// What to do with the PLC.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct PlcArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Certificates of the OPC UA link: ours, and the servers we trust
    Cert(cert::CertArgs),
    /// Test the handshake blocks of a PLC in test mode; prints a report
    Conform(conform::ConformArgs),
}

pub(super) fn run(ui: &Ui, global: &Global, args: &PlcArgs) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Cert(args) => cert::run(ui, global, args),
        Verb::Conform(args) => conform::run(ui, args),
    }
}
