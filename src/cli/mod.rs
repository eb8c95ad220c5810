//! The command line: parse, call, print. One file per verb group.
//!
//! stdout carries the result, stderr progress and logs. With `--format json` stdout holds exactly
//! one JSON object, errors included. Exit codes: [`Exit`].

mod audit;
mod backtest;
mod check;
mod completions;
mod connector;
mod data;
pub mod demo;
mod events;
mod explain;
mod export;
mod fault;
mod init;
mod load;
mod loops;
mod model;
mod plc;
mod query;
mod replay;
mod run;
mod schema;
mod select;
mod simulate;
mod source;
mod status;
mod ui;
mod why;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use ui::{Failure, Ui};

/// Exit codes of every verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All well.
    Ok = 0,
    /// The checked thing failed: recipe, gate, chain.
    Failed = 1,
    /// Wrong use: options, settings.
    Usage = 2,
    /// Warnings, with `--deny-warnings`.
    Warnings = 3,
    /// PLC, store or service cannot be reached.
    Unreachable = 4,
    /// Not permitted.
    NotPermitted = 5,
    /// A mistake in trimloop itself.
    Internal = 70,
    /// Interrupted from the keyboard.
    Interrupted = 130,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated rows, where rows come out: `query`, `model score`.
    Csv,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

const TEMPLATE: &str = "\
{about}

Usage: trimloop [OPTIONS] <COMMAND>
Try it:
  demo         Simulated cell with and without correction; nothing leaves this machine
  simulate     Only the simulated PLC (--scenario, --seed); fault makes it misbehave
  init         Write a commented starter project
Run it:
  run          Run the service (what systemd starts)
  check        Settings, PLC configs, recipes, models; changes nothing
  status       What each loop does, and why  events work  Alarms, and work orders
  loop         manual | hold | shadow | advisory | auto | off | approve | deny | reset
Look back:
  why          Why a setpoint was written, or was not
  replay       A journal again, bit for bit
  backtest     History through a recipe: what it would have done
  audit        verify | list | show | key
  query        Samples, roll-ups, parts, decisions, events on the terminal
  export       The same into a file: CSV; XLSX and Parquet with those features
Your PLC, your data:
  plc          discover | browse | read | watch | import | cert | conform
  connector    Where history goes: list | test | status | resend
  data         Before anything is learnt: audit | lags | join
  model        train | score | show | compare | backtest | promote | rollback | …
More:
  explain      What a TL code means    schema       JSON Schema of a file format
  completions  For your shell          help         Help for a command
Options:
{options}{after-help}";

const EXAMPLES: &str = "\
Examples:
  trimloop init my-cell               Write a starter project to my-cell/
  trimloop check --config my-cell     Check everything in it
  trimloop simulate --list            Scenarios of the simulated press
  trimloop explain TL0103             What an error code means
  trimloop schema recipe              For completion in your editor

Exit codes: 0 ok, 1 the checked thing failed, 2 usage, 3 warnings with --deny-warnings,
4 PLC, store or service unreachable, 5 not permitted, 70 internal error, 130 interrupted.";

/// Reads your PLC, spots a defect coming, and nudges setpoints back, inside limits you set.
#[derive(Debug, Parser)]
#[command(
    name = "trimloop",
    version,
    help_template = TEMPLATE,
    after_long_help = EXAMPLES,
    disable_help_subcommand = false,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Settings file, or folder with trimloop.toml [default: ./, then /etc/trimloop/]
    #[arg(
        short,
        long,
        global = true,
        env = "TRIMLOOP_CONFIG",
        value_name = "FILE",
        hide_env = true
    )]
    pub config: Option<PathBuf>,
    /// How results are printed
    #[arg(
        long,
        global = true,
        env = "TRIMLOOP_FORMAT",
        value_enum,
        default_value_t,
        hide_default_value = true,
        hide_env = true
    )]
    pub format: Format,
    /// Colour of messages
    #[arg(
        long,
        global = true,
        env = "TRIMLOOP_COLOR",
        value_enum,
        default_value_t,
        hide_default_value = true,
        hide_env = true,
        value_name = "WHEN"
    )]
    pub color: ColorChoice,
    /// Say less
    #[arg(
        short,
        long,
        global = true,
        env = "TRIMLOOP_QUIET",
        hide_env = true,
        value_parser = FalseyValueParser::new(),
        action = ArgAction::SetTrue
    )]
    pub quiet: bool,
    /// Say more (-vv: everything)
    #[arg(short, long, global = true, env = "TRIMLOOP_VERBOSE", hide_env = true, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Simulated cell with and without correction; nothing leaves this machine
    Demo(demo::DemoArgs),
    /// Only the simulated PLC
    Simulate(simulate::SimulateArgs),
    /// Make the simulated PLC misbehave
    Fault(fault::FaultArgs),
    /// Write a commented starter project
    Init(init::InitArgs),
    /// Run the service (what systemd starts)
    Run(run::RunArgs),
    /// Check settings, PLC configs, recipes and models; changes nothing
    Check(check::CheckArgs),
    /// What each loop is doing, and why
    Status(status::StatusArgs),
    /// Tell a loop what to do
    Loop(loops::LoopArgs),
    /// Alarms, and what people do with them
    Events(events::EventsArgs),
    /// Cases and work orders
    Work(work::WorkArgs),
    /// Why a setpoint was written, or was not
    Why(why::WhyArgs),
    /// A journal again, bit for bit
    Replay(replay::ReplayArgs),
    /// History through a recipe: what it would have detected and written
    Backtest(backtest::BacktestArgs),
    /// Who asked for what, and whether the records are whole
    Audit(audit::AuditArgs),
    /// Recorded rows, before anything is learnt from them: audit, lags, join
    Data(data::DataArgs),
    /// Signatures of defects: train, score, compare, bring into force
    Model(model::ModelArgs),
    /// The PLC from outside; there is no `plc write`
    Plc(plc::PlcArgs),
    /// Samples, roll-ups, parts, decisions, events on the terminal
    Query(query::QueryArgs),
    /// Samples, roll-ups, parts, decisions, events into a file
    Export(export::ExportArgs),
    /// Where history is sent: InfluxDB
    Connector(connector::ConnectorArgs),
    /// What a TL code means
    Explain(explain::ExplainArgs),
    /// JSON Schema of a file format
    Schema(schema::SchemaArgs),
    /// Completions for your shell
    Completions(completions::CompletionsArgs),
}

/// Parses the command line, runs one verb, prints its failure, and gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // A closed pipe is no reason to fail.
            drop(error.print());
            return ExitCode::from(exit as u8);
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(Exit::Usage as u8);
        }
    };
    let has_rows = match &cli.verb {
        Verb::Query(_) | Verb::Model(_) => true,
        Verb::Data(args) => args.has_rows(),
        _ => false,
    };
    if cli.global.format == Format::Csv && !has_rows {
        let text = "--format csv is for commands whose results are rows: `query`, `model score`, \
                    `data labels list`, `data capability`";
        let error = Cli::command().error(clap::error::ErrorKind::ArgumentConflict, text);
        drop(error.print());
        return ExitCode::from(Exit::Usage as u8);
    }
    let ui = Ui::new(&cli.global);
    let done = match cli.verb {
        Verb::Demo(args) => demo::run(&ui, &args),
        Verb::Simulate(args) => simulate::run(&ui, &args),
        Verb::Fault(args) => fault::run(&ui, &args),
        Verb::Init(args) => init::run(&ui, &args),
        Verb::Run(args) => run::run(&ui, &cli.global, &args),
        Verb::Check(args) => check::run(&ui, &cli.global, &args),
        Verb::Status(args) => status::run(&ui, &cli.global, &args),
        Verb::Loop(args) => loops::run(&ui, &cli.global, &args),
        Verb::Events(args) => events::run(&ui, &cli.global, &args),
        Verb::Work(args) => work::run(&ui, &cli.global, &args),
        Verb::Why(args) => why::run(&ui, &cli.global, &args),
        Verb::Replay(args) => replay::run(&ui, &cli.global, &args),
        Verb::Backtest(args) => backtest::run(&ui, &cli.global, &args),
        Verb::Audit(args) => audit::run(&ui, &cli.global, &args),
        Verb::Data(args) => data::run(&ui, &cli.global, &args),
        Verb::Model(args) => model::run(&ui, &cli.global, &args),
        Verb::Plc(args) => plc::run(&ui, &cli.global, &args),
        Verb::Query(args) => query::run(&ui, &cli.global, &args),
        Verb::Export(args) => export::run(&ui, &cli.global, &args),
        Verb::Connector(args) => connector::run(&ui, &cli.global, &args),
        Verb::Explain(args) => explain::run(&ui, &args),
        Verb::Schema(args) => schema::run(&ui, &args),
        Verb::Completions(args) => completions::run(&ui, &args),
    };
    let exit = match done {
        Ok(exit) => exit as u8,
        Err(failure) => ui.fail(&failure),
    };
    ExitCode::from(exit)
}

/// The whole command, for completions and manual pages.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// clap finds no contradiction in the definitions.
    #[test]
    fn the_definitions_hold() {
        command().debug_assert();
    }

    /// The short help of every command fits a screen of 80 by 36, and names every command.
    #[test]
    fn short_help_fits_a_screen() {
        let mut command = command();
        command.build();
        let top = command.render_help().to_string();
        for sub in command.get_subcommands_mut() {
            assert!(top.contains(sub.get_name()), "{} is not in the help", sub.get_name());
            let lines = sub.render_help().to_string().lines().count();
            assert!(lines <= 36, "{}: {lines} lines", sub.get_name());
        }
        assert!(top.lines().count() <= 36, "{top}");
    }

    /// Every option can be set by a variable, and every command's long help ends with examples.
    #[test]
    fn options_have_twins_and_commands_examples() {
        let mut command = command();
        command.build();
        // The help command holds a bare copy of every other.
        let subs = command.get_subcommands().filter(|sub| sub.get_name() != "help");
        let subs = subs.flat_map(|sub| {
            let nested: Vec<_> = sub.get_subcommands().cloned().collect();
            nested.into_iter().chain([sub.clone()])
        });
        for mut sub in subs.filter(|sub| sub.get_name() != "help") {
            for option in sub.get_arguments().filter(|a| a.get_long().is_some()) {
                let long = option.get_long().unwrap_or_default();
                if ["help", "version"].contains(&long) {
                    continue;
                }
                let twin = option.get_env().and_then(|env| env.to_str()).unwrap_or_default();
                assert!(twin.starts_with("TRIMLOOP_"), "{} --{long}", sub.get_name());
            }
            let long = sub.render_long_help().to_string();
            assert!(long.contains("Examples:"), "{}", sub.get_name());
        }
    }
}
