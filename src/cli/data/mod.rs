//! `trimloop data`: tables looked at before anything is learnt from them.

mod audit;
#[cfg(feature = "train")]
mod capability;
mod join;
mod labels;
mod lags;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global, Ui};

const EXAMPLES: &str = "\
Examples:
  trimloop data audit --data parts.csv --label quality --report audit.html
  trimloop data lags --data line.csv --target thickness
  trimloop data join --data parts.csv --labels lab.csv --by part_id --out joined.csv
  trimloop data labels import lab.csv --part part_id
  trimloop data capability --data parts.csv --tolerance 'weight=19.3..19.7'

Tables are CSV (, ; tab; titles in the first line, a unit as `name [unit]`) or, in builds with that
feature, Parquet; wide, or long with the columns time, tag, value.";

/// Recorded data: audit, lags, join, labels, capability.
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
    /// Labels that are kept by part: import, list
    Labels(labels::LabelsArgs),
    /// Cp, Cpk, Pp, Ppk with intervals
    #[cfg(feature = "train")]
    Capability(capability::CapabilityArgs),
}

impl DataArgs {
    /// Whether its result can be CSV.
    pub(super) fn has_rows(&self) -> bool {
        match &self.verb {
            Verb::Labels(args) => args.has_rows(),
            #[cfg(feature = "train")]
            Verb::Capability(_) => true,
            _ => false,
        }
    }
}

pub(super) fn run(ui: &Ui, global: &Global, args: &DataArgs) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Audit(args) => audit::run(ui, global, args),
        Verb::Lags(args) => lags::run(ui, global, args),
        Verb::Join(args) => join::run(ui, global, args),
        Verb::Labels(args) => labels::run(ui, global, args),
        #[cfg(feature = "train")]
        Verb::Capability(args) => capability::run(ui, global, args),
    }
}
