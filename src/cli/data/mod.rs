//! `trimloop data`: tables looked at before anything is learnt from them.

mod audit;
mod join;
mod lags;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global, Ui};

const EXAMPLES: &str = "\
Examples:
  trimloop data audit --data parts.csv --label quality --report audit.html
  trimloop data lags --data line.csv --target thickness
  trimloop data join --data parts.csv --labels lab.csv --by part_id --out joined.csv

Tables are CSV (, ; tab; titles in the first line, a unit as `name [unit]`) or, in builds with that
feature, Parquet; wide, or long with the columns time, tag, value.";

/// Recorded data: audit, lags, join.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct DataArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What is wrong with data, where, why it matters, what to do
    Audit(audit::AuditArgs),
    /// How many rows each column leads another
    Lags(lags::LagsArgs),
    /// Labels to rows, by part or by transport delay
    Join(join::JoinArgs),
}

pub(super) fn run(ui: &Ui, global: &Global, args: &DataArgs) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Audit(args) => audit::run(ui, global, args),
        Verb::Lags(args) => lags::run(ui, global, args),
        Verb::Join(args) => join::run(ui, args),
    }
}
