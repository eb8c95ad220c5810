//! `trimloop plc`: the PLC's side, seen from outside. Nothing here writes a node.

mod cert;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global, Ui};

const EXAMPLES: &str = "\
Examples:
  trimloop plc cert show                      Our certificate and the servers we know
  trimloop plc cert trust 3f9c2b              Trust a server that was put aside

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
}

pub(super) fn run(ui: &Ui, global: &Global, args: &PlcArgs) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Cert(args) => cert::run(ui, global, args),
    }
}
