//! A whole cell against the simulator over OPC UA: service, guard, link, PLC.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod learn;
#[path = "live_cell/models.rs"]
mod models;
#[path = "support/world.rs"]
mod world;

use std::path::Path;
use std::time::Duration;

use trimloop::clock::{Clock, span_of};
use trimloop::dispatch::OrderResult;
use trimloop::output::Names;
use trimloop::service::{CellHandle, CellSettings, CellStatus};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::mode::Mode;
use trimloop_core::plan::LoopId;
use trimloop_core::scan::Command;
use trimloop_core::time::Span;
use trimloop_recipe::Project;
use trimloop_recipe::plc_config::NodeType;
use trimloop_simulator::{Scenario, SimCommand, Simulator, SimulatorSettings};

const LONG: Duration = Duration::from_secs(60);

struct Watch(CellHandle, Clock);

impl Watch {
    /// Looks at the status at each thing seen until `wanted` holds; how long that took.
    fn until(&self, what: &str, wanted: impl Fn(&CellStatus) -> bool) -> Span {
        let seen = self.0.events();
        let start = self.1.mono();
        loop {
            let status = self.0.status();
            let waited = self.1.mono() - start;
            if wanted(&status) {
                return waited;
            }
            assert!(
                waited < span_of(LONG),
                "{what}: plcs {:?} counts {:?} loops {:?}",
                status.plcs,
                status.counts,
                status.loops
            );
            // Nothing seen for a while is no failure: the status is looked at again.
            seen.recv_timeout(Duration::from_millis(20)).ok();
        }
    }
}

/// Loops raised to AUTO write setpoints that are read back; after a restart of the server data
/// are back within 5 s, and the loops are in SHADOW. Stopping closes the session.
#[test]
fn a_cell_runs_against_the_simulator() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scenario = Scenario::all().swap_remove(0);
    let mut settings = SimulatorSettings::new(scenario, 7);
    settings.autostart = true;
    let simulator = runtime.block_on(Simulator::start(settings)).unwrap();

    let project = Project::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut bound = project.bind(project.recipe("housing-lid").unwrap()).unwrap();
    bound.plcs[0].url = simulator.url();
    let settings = CellSettings {
        bound,
        journal: None,
        store: None,
        client_name: "live_cell".to_owned(),
        pki_dir: std::env::temp_dir().join("trimloop-test-client-pki"),
        secrets_dir: std::path::PathBuf::new(),
        realtime: None,
    };
    let cell = CellHandle::start(settings, runtime.handle()).unwrap();
    let watch = Watch(cell.clone(), cell.clock());
    watch.until("the link", |status| status.plcs[0].link.up && status.part > 10);
    let status = cell.status();
    assert!(status.plcs[0].plc.problems.is_empty(), "{:?}", status.plcs[0].plc.problems);
    for (loop_id, _) in (0..).zip(&status.loops) {
        let order = cell.order(Command::SetMode(LoopId(loop_id), Mode::Auto)).unwrap();
        assert_eq!(cell.wait_order(order, LONG), OrderResult::Done);
    }
    watch.until("five confirmed writes", |status| status.latency.count >= 5);
    let status = cell.status();
    let (link, counts) = (status.plcs[0].plc.counts, status.counts);
    eprintln!("latency {:?}", status.latency);
    eprintln!("link {link:?}\ncounts {counts:?}");
    assert_eq!((link.writes_refused, link.writes_unknown, counts.intake.dropped), (0, 0, 0));

    let epoch = status.plcs[0].link.epoch;
    runtime.block_on(simulator.command(SimCommand::RestartServer)).unwrap();
    let back = watch.until("data after the restart", |status| {
        status.plcs[0].link.up
            && status.plcs[0].link.epoch > epoch
            && status.tags.iter().all(|tag| tag.age.is_some_and(|age| age < Span::from_secs(5)))
    });
    assert!(back < Span::from_secs(5), "{back:?}");
    eprintln!("server restart: all tags back after {} ms", back.as_millis());
    let in_force = |status: &CellStatus| {
        status.loops.iter().filter_map(|state| state.status).all(|s| s.in_force == Mode::Shadow)
    };
    assert!(in_force(&cell.status()), "{:?}", cell.status().loops);

    cell.clone().stop();
    cell.stop();
    runtime.block_on(simulator.shutdown());
}

/// The shipped PLC config, rewritten for a PLC that has the handshake blocks.
fn guarded() -> String {
    let mut text = include_str!("../plc-configs/press-4.toml").to_owned();
    let blocks = "[owner]\nblock = \"press:s=Press4.Owner\"\nslot = \"A\"\n\n\
                  [guard.hold_pressure_sp]\nblock = \"press:s=Press4.HoldPressureGuard\"\n\n\
                  [guard.cool_time_sp]\nblock = \"press:s=Press4.CoolTimeGuard\"\n\n[link]";
    for (direct, behind) in [
        ("[link]", blocks),
        ("Press4.HeartbeatIn", "Press4.Owner.A_Heartbeat"),
        ("Press4.HeartbeatOut", "Press4.Owner.A_Echo"),
        (
            "Press4.HoldPressureSP\"\ntype     = \"Double\"\nwritable = true",
            "Press4.HoldPressureGuard.VOut\"\ntype = \"Double\"",
        ),
        (
            "Press4.CoolTimeSP\"\ntype     = \"Double\"\nwritable = true",
            "Press4.CoolTimeGuard.VOut\"\ntype = \"Double\"",
        ),
    ] {
        assert!(text.contains(direct), "{direct}");
        text = text.replacen(direct, behind, 1);
    }
    text
}

/// The same recipe behind guard blocks: AUTO writes through them and is read back, the judge in
/// the PLC sees no violation, and stopping gives the cell back.
#[test]
fn a_cell_runs_behind_guard_blocks() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut settings = SimulatorSettings::new(Scenario::all().swap_remove(0), 7);
    settings.autostart = true;
    settings.handshake = Some(trimloop_simulator::HandshakeSettings::default());
    let simulator = runtime.block_on(Simulator::start(settings)).unwrap();

    let mut project = Project::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (config, found) = trimloop_recipe::check_plc_config("press-4.toml", &guarded());
    project.plc_configs = vec![config.unwrap_or_else(|| panic!("{found:?}"))];
    let mut bound = project.bind(project.recipe("housing-lid").unwrap()).unwrap();
    bound.plcs[0].url = simulator.url();
    let settings = CellSettings {
        bound,
        journal: None,
        store: None,
        client_name: "live_cell_guarded".to_owned(),
        pki_dir: std::env::temp_dir().join("trimloop-test-client-pki"),
        secrets_dir: std::path::PathBuf::new(),
        realtime: None,
    };
    let cell = CellHandle::start(settings, runtime.handle()).unwrap();
    let watch = Watch(cell.clone(), cell.clock());
    watch.until("the link", |status| status.plcs[0].link.up && status.part > 10);
    let problems = cell.status().plcs[0].plc.problems.clone();
    assert!(problems.is_empty(), "{problems:?}");
    for (loop_id, _) in (0..).zip(&cell.status().loops) {
        let order = cell.order(Command::SetMode(LoopId(loop_id), Mode::Auto)).unwrap();
        assert_eq!(cell.wait_order(order, LONG), OrderResult::Done);
    }
    watch.until("five confirmed writes", |status| status.latency.count >= 5);
    let counts = cell.status().plcs[0].plc.counts;
    assert_eq!((counts.writes_refused, counts.writes_unknown), (0, 0), "{counts:?}");
    let verdict = simulator.report().verdict;
    let taken: u64 = verdict.writes.iter().map(|writes| writes.accepted).sum();
    assert!(taken >= 5, "{verdict:?}");
    assert_eq!(verdict.violations(), 0, "{verdict:?}");
    eprintln!("latency {:?}", cell.status().latency);

    cell.clone().stop();
    cell.stop();
    runtime.block_on(simulator.shutdown());
}

/// A register that is not as configured stands in the audit trail, with what is wrong.
#[test]
fn a_refused_register_is_in_the_audit_trail() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = SimulatorSettings::new(Scenario::all().swap_remove(0), 7);
    let simulator = runtime.block_on(Simulator::start(settings)).unwrap();
    let project = Project::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut bound = project.bind(project.recipe("housing-lid").unwrap()).unwrap();
    bound.plcs[0].url = simulator.url();
    let hold = bound.plcs[0].node("hold_pressure_sp").unwrap();
    bound.plcs[0].nodes[hold].kind = Some(NodeType::Float);
    let dir = std::env::temp_dir().join(format!("trimloop-live-audit-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let store = Store::open(&StoreOptions {
        dir: dir.clone(),
        names: Names::of(&bound.plan),
        clock: Clock::start(),
        node: "live_cell".to_owned(),
        recipe: bound.plan.name.clone(),
        revision: bound.plan.revision,
        plan_hash: bound.plan.hash,
    })
    .unwrap();
    let settings = CellSettings {
        bound,
        journal: None,
        store: Some(store.sender()),
        client_name: "live_cell".to_owned(),
        pki_dir: std::env::temp_dir().join("trimloop-test-client-pki"),
        secrets_dir: std::path::PathBuf::new(),
        realtime: None,
    };
    let cell = CellHandle::start(settings, runtime.handle()).unwrap();
    let watch = Watch(cell.clone(), cell.clock());
    let sender = store.sender();
    let state = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    watch.until("the audit", |_| {
        sender.barrier().unwrap();
        let query = "SELECT reason FROM audit WHERE actor = 'plc' AND what = 'register refused'";
        let reason = state.query_row(query, [], |row| row.get::<_, String>(0));
        reason.is_ok_and(|reason| reason.starts_with("press-4: hold_pressure_sp: it is Double"))
    });
    assert!(!cell.status().plcs[0].link.up, "nothing may be written");
    cell.stop();
    runtime.block_on(simulator.shutdown());
    drop(store);
    std::fs::remove_dir_all(dir).unwrap();
}
