//! `trimloop plc`: what a PLC has, and what it says. Only the conformance test writes, and only to
//! blocks in test mode.

mod backfill;
mod browse;
mod cert;
mod conform;
mod csv;
mod discover;
mod import;
mod profiles;
mod read;
mod tags;
mod target;
mod watch;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global, Ui};

pub(super) use watch::time;

const EXAMPLES: &str = "\
Examples:
  trimloop plc discover opc.tcp://127.0.0.1:4855
  trimloop plc browse opc.tcp://127.0.0.1:4855 --filter '*Temp*' --write-tags press-9.toml
  trimloop plc read melt_temp                   By its name in the one PLC config
  trimloop plc watch press-4 melt_temp          Changes as they come, until Ctrl-C
  trimloop plc cert show                        Our certificate and the servers we know
  trimloop plc profiles s7-1500                 What is known of a vendor's server
  trimloop plc backfill --last 3d               Read a gap from the PLC's own history
  trimloop plc conform opc.tcp://127.0.0.1:4855 Does it refuse what it must refuse?

A PLC is named by its address, by its PLC config's name or file, or not at all where there is only
one PLC config. There is no `plc write`: setpoints move by permit only.";

/// What to do with a PLC.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct PlcArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Servers, endpoints and certificates at an address
    Discover(discover::DiscoverArgs),
    /// Variables of a server; writes them as nodes of a PLC config
    Browse(browse::BrowseArgs),
    /// Values, with status and times
    Read(read::ReadArgs),
    /// Changes as they come
    Watch(watch::WatchArgs),
    /// A list of tags (CSV) as nodes of a PLC config
    Import(import::ImportArgs),
    /// Certificates of the OPC UA link: ours, and the servers we trust
    Cert(cert::CertArgs),
    /// What is known of vendors' servers
    Profiles(profiles::ProfilesArgs),
    /// Have the running service read a span of time from the PLC's own history
    Backfill(backfill::BackfillArgs),
    /// Test the handshake blocks of a PLC in test mode; prints a report
    Conform(conform::ConformArgs),
}

pub(super) fn run(ui: &Ui, global: &Global, args: &PlcArgs) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Discover(args) => discover::run(ui, global, args),
        Verb::Browse(args) => browse::run(ui, global, args),
        Verb::Read(args) => read::run(ui, global, args),
        Verb::Watch(args) => watch::run(ui, global, args),
        Verb::Import(args) => import::run(ui, global, args),
        Verb::Cert(args) => cert::run(ui, global, args),
        Verb::Profiles(args) => profiles::run(ui, args),
        Verb::Backfill(args) => backfill::run(ui, global, args),
        Verb::Conform(args) => conform::run(ui, args),
    }
}
