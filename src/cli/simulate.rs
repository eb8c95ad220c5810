//! `trimloop simulate`: only the simulated PLC.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum, builder::FalseyValueParser};
use serde_json::json;

use trimloop_simulator::{
    FaultKind, HandshakeSettings, Scenario, ScheduledFault, Simulator, SimulatorSettings, Speed,
};

use super::{Exit, Failure, Ui};
use crate::error::{REQUEST, SIMULATOR, chain};

const EXAMPLES: &str = "\
Examples:
  trimloop simulate                              Nominal press on opc.tcp://127.0.0.1:4855, 1x
  trimloop simulate --list                       All scenarios
  trimloop simulate --scenario wear --speed 20   Twenty times faster
  trimloop simulate --handshake test             With guard blocks, for `trimloop plc conform`
  trimloop simulate --fault write-ignored@300..400  Misbehaves while it makes these parts
  trimloop simulate --pki /tmp/press             With encrypted endpoints as well
  trimloop simulate --parts 500 --speed max --port 0 --format json

While it runs, `trimloop fault` switches what it does wrong. Everything is simulated, and only
this machine can reach it.";

/// Where it listens unless it is told otherwise.
pub(super) const PORT: u16 = 4855;

/// What to simulate.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct SimulateArgs {
    /// List the scenarios
    #[arg(long, env = "TRIMLOOP_LIST", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    list: bool,
    /// Scenario to play
    #[arg(
        long,
        env = "TRIMLOOP_SCENARIO",
        hide_env = true,
        default_value = "nominal",
        value_name = "NAME"
    )]
    scenario: String,
    /// Seed of all disturbances
    #[arg(long, env = "TRIMLOOP_SEED", hide_env = true, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Times real time, or max
    #[arg(long, env = "TRIMLOOP_SPEED", hide_env = true, default_value = "1", value_name = "N|max", value_parser = speed)]
    speed: Speed,
    /// Stop after so many parts [default: never]
    #[arg(long, env = "TRIMLOOP_PARTS", hide_env = true, value_name = "N")]
    parts: Option<u64>,
    /// TCP port on 127.0.0.1; 0 takes any free one
    #[arg(
        long,
        env = "TRIMLOOP_PORT",
        hide_env = true,
        default_value_t = PORT,
        value_name = "PORT"
    )]
    port: u16,
    /// With the handshake blocks: off, on, or test (the machine keeps its baselines)
    #[arg(
        long,
        env = "TRIMLOOP_HANDSHAKE",
        hide_env = true,
        value_enum,
        default_value = "off",
        hide_possible_values = true,
        value_name = "MODE"
    )]
    handshake: Handshake,
    /// Fault from a part on, to before another: NAME[@FROM[..TO]]; see `trimloop fault list`
    #[arg(
        long = "fault",
        env = "TRIMLOOP_FAULT",
        hide_env = true,
        value_delimiter = ',',
        value_name = "FAULT"
    )]
    faults: Vec<String>,
    /// Folder of its certificate: offers encrypted endpoints too [default: none]
    #[arg(long, env = "TRIMLOOP_PKI", hide_env = true, value_name = "DIR")]
    pki: Option<PathBuf>,
}

/// Whether the simulated PLC has the handshake blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Handshake {
    /// No: setpoints are written directly.
    Off,
    /// Yes.
    On,
    /// Yes, in test mode.
    Test,
}

impl Handshake {
    fn settings(self) -> Option<HandshakeSettings> {
        let test = self == Self::Test;
        (self != Self::Off).then(|| HandshakeSettings { test, ..HandshakeSettings::default() })
    }
}

/// Reads `1`, `20` or `max`.
pub(super) fn speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    match text.parse::<f64>() {
        Ok(times) if (0.01..=10_000.0).contains(&times) => Ok(Speed::Times(times)),
        _ => Err("a number from 0.01 to 10000, or max".to_owned()),
    }
}

/// A scenario by name.
pub(super) fn scenario(name: &str) -> Result<Scenario, Failure> {
    Scenario::named(name).ok_or_else(|| {
        let all = Scenario::all();
        let names = all.iter().map(|s| s.name);
        let near = trimloop_recipe::diagnostic::did_you_mean(name, names);
        let message = format!("there is no scenario \"{name}\"");
        let help = near.unwrap_or_else(|| "`trimloop simulate --list` lists them".to_owned());
        Failure::new(&REQUEST, message, Exit::Usage).help(help)
    })
}

/// Reads `half-open`, `half-open@300` or `half-open@300..400`; parts count from 1.
fn scheduled(text: &str) -> Result<ScheduledFault, Failure> {
    let (name, range) = text.split_once('@').unwrap_or((text, "1"));
    let fault = super::fault::named(name)?;
    let (from, to) = match range.split_once("..") {
        Some((from, to)) => (from.parse().ok(), to.parse().ok()),
        None => (range.parse().ok(), Some(u64::MAX)),
    };
    match (from, to) {
        (Some(from @ 1..), Some(to)) if from < to => {
            Ok(ScheduledFault::new(from, to, FaultKind::Switch(fault)))
        }
        _ => {
            let message = format!("\"{range}\" is no range of parts");
            Err(Failure::new(&REQUEST, message, Exit::Usage)
                .help(format!("from 1, the end left out: --fault {fault}@300..400")))
        }
    }
}

pub(super) fn run(ui: &Ui, args: &SimulateArgs) -> Result<Exit, Failure> {
    if args.list {
        return Ok(list(ui));
    }
    let mut scenario = scenario(&args.scenario)?;
    for fault in &args.faults {
        scenario.faults.push(scheduled(fault)?);
    }
    let settings = SimulatorSettings {
        scenario,
        seed: args.seed,
        parts: args.parts,
        speed: args.speed,
        port: args.port,
        autostart: true,
        handshake: args.handshake.settings(),
        relay: true,
        pki: args.pki.clone(),
        control: Some(super::fault::folder()?),
        per_call: None,
    };
    let failed = |error: &(dyn std::error::Error + 'static)| {
        let help = match error.downcast_ref::<trimloop_simulator::Error>() {
            Some(trimloop_simulator::Error::Needs { .. }) => {
                "encrypted endpoints: --pki DIR; the handshake blocks: --handshake on"
            }
            _ => "another port: --port 0 takes any free one",
        };
        Failure::new(&SIMULATOR, chain(error), Exit::Unreachable).help(help)
    };
    let interrupted = super::run::Signals::block().map_err(|error| failed(&error))?;
    ui.start_logs("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let stop = interrupted.into_receiver().map_err(|error| failed(&error))?;
    let (report, cut) =
        runtime.block_on(play(ui, settings, stop)).map_err(|error| failed(&error))?;
    let verdict = &report.verdict;
    let mut object = ui.head("trimloop.simulate/1", true);
    object["scenario"] = json!(report.scenario);
    object["seed"] = json!(report.seed);
    object["finished"] = json!(report.finished);
    object["setpoints"] =
        json!({ "hold_pressure": report.setpoints[0], "cool_time": report.setpoints[1] });
    object["fallbacks"] = json!(report.fallbacks);
    let causes: serde_json::Map<String, serde_json::Value> = verdict
        .scrap
        .iter()
        .map(|(cause, parts)| (format!("{cause:?}").to_lowercase(), json!(parts)))
        .collect();
    object["parts"] = json!(verdict.parts);
    object["scrap_rate"] = json!(verdict.scrap_rate());
    object["scrap"] = json!(causes);
    object["violations"] = json!(verdict.violations());
    let text = format!(
        "{} seed {}: {} parts, {:.1} % scrap, {} violations, {} times in fallback; hold pressure {:.1} bar, \
         cool time {:.1} s (simulated)\n",
        report.scenario,
        report.seed,
        verdict.parts,
        100.0 * verdict.scrap_rate(),
        verdict.violations(),
        report.fallbacks,
        report.setpoints[0],
        report.setpoints[1]
    );
    ui.result(&text, &object);
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(if cut { Exit::Interrupted } else { Exit::Ok })
}

async fn play(
    ui: &Ui,
    settings: SimulatorSettings,
    stop: tokio::sync::oneshot::Receiver<()>,
) -> Result<(trimloop_simulator::Report, bool), trimloop_simulator::Error> {
    let parts = settings.parts;
    let simulator = Simulator::start(settings).await?;
    ui.note(&format!(
        "simulated press at {} ({}); Ctrl-C ends it",
        simulator.url(),
        parts.map_or("no end".to_owned(), |parts| format!("{parts} parts"))
    ));
    let cut = tokio::select! {
        done = simulator.wait_finished() => { done?; false }
        _ = stop => true,
    };
    let report = simulator.report();
    simulator.shutdown().await;
    Ok((report, cut))
}

fn list(ui: &Ui) -> Exit {
    let all = Scenario::all();
    let mut object = ui.head("trimloop.scenarios/1", true);
    object["scenarios"] = all
        .iter()
        .map(|s| {
            let faults: Vec<String> = s.faults.iter().map(fault_text).collect();
            json!({ "name": s.name, "title": s.title, "faults": faults })
        })
        .collect();
    let width = all.iter().map(|s| s.name.len()).max().unwrap_or(0);
    let text: String = all.iter().map(|s| format!("{:width$}  {}\n", s.name, s.title)).collect();
    ui.result(&text, &object);
    Exit::Ok
}

fn fault_text(fault: &trimloop_simulator::ScheduledFault) -> String {
    let end = match fault.to_part {
        u64::MAX => "the end".to_owned(),
        part => format!("part {part}"),
    };
    format!("{:?} from part {} to {end}", fault.kind, fault.from_part)
}
