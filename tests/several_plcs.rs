//! A cell of two PLCs, each a simulator behind an OPC UA server of its own: the press leads, and a
//! chiller gives the mould temperature, or takes the cooling time as well.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]

use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use trimloop::clock::{Clock, span_of};
use trimloop::dispatch::OrderResult;
use trimloop::plc::LinkState;
use trimloop::service::{CellHandle, CellSettings, CellStatus, PlcStatus, TagStatus};
use trimloop_core::cell::LoopStatus;
use trimloop_core::guard::Reason;
use trimloop_core::mode::{Mode, Owner, Rung};
use trimloop_core::plan::LoopId;
use trimloop_core::scan::Command;
use trimloop_core::time::Mono;
use trimloop_recipe::{Bound, Models, Project, bind, check, check_plc_config};
use trimloop_simulator::{Scenario, Simulator, SimulatorSettings};

const LONG: Duration = Duration::from_secs(60);
const PRESS: &str = include_str!("../plc-configs/press-4.toml");
const RECIPE: &str = include_str!("../recipes/housing-lid.toml");

/// The shipped recipe with some tags on the chiller, and a mould that always counts as warm, so
/// that the loop `cooling` has something to do.
fn bound(press: &str, chiller: &str, elsewhere: &[&str]) -> Bound {
    let mut text = RECIPE.replace(
        "above = \"42 degC\", clear = \"41 degC\"",
        "above = \"20 degC\", clear = \"19 degC\"",
    );
    for tag in elsewhere {
        let table = format!("[tag.{tag}]\n");
        assert!(text.contains(&table), "{tag}");
        text = text.replace(&table, &format!("{table}plc = \"chiller\"\n"));
    }
    let (recipe, found) = check("recipes/housing-lid.toml", &text);
    let recipe = recipe.unwrap_or_else(|| panic!("{found:?}"));
    let config = |name: &str, url: &str| {
        let text = PRESS
            .replace("\"press-4\"", &format!("\"{name}\""))
            .replace("opc.tcp://127.0.0.1:4855", url);
        let (config, found) = check_plc_config(&format!("plc-configs/{name}.toml"), &text);
        config.unwrap_or_else(|| panic!("{found:?}"))
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let models: Models = Project::read(root).unwrap().models;
    bind(&recipe, &[config("chiller", chiller), config("press-4", press)], &models)
        .unwrap_or_else(|found| panic!("{found:?}"))
}

struct Rig {
    runtime: Runtime,
    press: Option<Simulator>,
    chiller: Option<Simulator>,
    ports: (u16, u16),
    cell: CellHandle,
    clock: Clock,
}

impl Rig {
    fn start(name: &str, elsewhere: &[&str]) -> Self {
        let runtime = Runtime::new().unwrap();
        let press = runtime.block_on(Simulator::start(machine(0))).unwrap();
        let chiller = runtime.block_on(Simulator::start(machine(0))).unwrap();
        let settings = CellSettings {
            bound: bound(&press.url(), &chiller.url(), elsewhere),
            journal: None,
            store: None,
            client_name: name.to_owned(),
            pki_dir: std::env::temp_dir().join("trimloop-test-client-pki"),
            secrets_dir: std::path::PathBuf::new(),
            realtime: None,
        };
        let cell = CellHandle::start(settings, runtime.handle()).unwrap();
        let ports = (press.port(), chiller.port());
        let clock = cell.clock();
        let rig = Self { runtime, press: Some(press), chiller: Some(chiller), ports, cell, clock };
        rig.until("both links", |status| status.all_up() && status.part > 10);
        let status = rig.cell.status();
        for plc in &status.plcs {
            assert!(plc.plc.problems.is_empty(), "{}: {:?}", plc.name, plc.plc.problems);
        }
        rig
    }

    /// Looks at the status at each thing seen until `wanted` holds.
    fn until(&self, what: &str, wanted: impl Fn(&CellStatus) -> bool) -> CellStatus {
        let seen = self.cell.events();
        let start = self.clock.mono();
        loop {
            let status = self.cell.status();
            if wanted(&status) {
                return status;
            }
            let waited = self.clock.mono() - start;
            assert!(
                waited < span_of(LONG),
                "{what}: {:?} {:?} {:?}",
                status.plcs,
                status.loops,
                status.tags
            );
            // Nothing seen for a while is no failure: the status is looked at again.
            seen.recv_timeout(Duration::from_millis(20)).ok();
        }
    }

    fn raise(&self, name: &str) {
        let place = self.cell.plan().loops.iter().position(|of| of.name == name).unwrap();
        let id = LoopId(u16::try_from(place).unwrap());
        let order = self.cell.order(Command::SetMode(id, Mode::Auto)).unwrap();
        assert_eq!(self.cell.wait_order(order, LONG), OrderResult::Done, "{name}");
    }

    fn kill(&mut self, press: bool) -> Mono {
        let slot = if press { &mut self.press } else { &mut self.chiller };
        self.runtime.block_on(slot.take().unwrap().shutdown());
        self.clock.mono()
    }

    fn restart_chiller(&mut self) {
        let chiller = self.runtime.block_on(Simulator::start(machine(self.ports.1))).unwrap();
        self.chiller = Some(chiller);
    }

    /// Ends all; every link was told to stop, and has.
    fn stop(self) {
        self.cell.clone().stop();
        let states = self.cell.status().plcs.iter().map(|plc| plc.plc.state).collect::<Vec<_>>();
        assert_eq!(states, [LinkState::Stopped, LinkState::Stopped]);
        for simulator in self.press.into_iter().chain(self.chiller) {
            self.runtime.block_on(simulator.shutdown());
        }
    }
}

fn machine(port: u16) -> SimulatorSettings {
    let mut settings = SimulatorSettings::new(Scenario::all().swap_remove(0), 7);
    settings.autostart = true;
    settings.port = port;
    settings
}

fn plc<'a>(status: &'a CellStatus, name: &str) -> &'a PlcStatus {
    status.plcs.iter().find(|plc| plc.name == name).unwrap()
}

fn of_loop(status: &CellStatus, name: &str) -> LoopStatus {
    status.loops.iter().find(|of| of.name == name).unwrap().status.unwrap()
}

fn tag<'a>(status: &'a CellStatus, name: &str) -> &'a TagStatus {
    status.tags.iter().find(|tag| tag.name == name).unwrap()
}

fn is_good(status: &CellStatus, name: &str) -> bool {
    tag(status, name).reading.is_some_and(|r| r.quality.is_good())
}

/// Good, and received after `since`.
fn fresh(status: &CellStatus, name: &str, since: Mono) -> bool {
    tag(status, name).reading.is_some_and(|r| r.quality.is_good() && r.received > since)
}

/// A loop on the press that rests on a tag of the chiller: while the chiller is dead it stays in
/// AUTO and holds for its input; the press' session is not touched. With the chiller back it climbs
/// by itself. While the press is dead the chiller's tags stay fresh.
#[test]
fn a_loop_outlives_the_plc_of_its_input() {
    let mut rig = Rig::start("several_plcs_input", &["mould_temp"]);
    rig.raise("cooling");
    let status = rig.until("a write", |status| of_loop(status, "cooling").writes > 0);
    let session = plc(&status, "press-4").link.epoch;
    assert_eq!(status.plcs[0].name, "press-4", "the PLC of [recipe] leads");
    assert_eq!(plc(&status, "chiller").plc.counts.writes_good, 0, "{:?}", status.plcs);

    let died = rig.kill(false);
    let held = rig.until("the hold", |status| {
        let of = of_loop(status, "cooling");
        !plc(status, "chiller").link.up
            && of.rung == Rung::Return
            && of.held == Some(Reason::Input)
            && !is_good(status, "mould_temp")
    });
    let of = of_loop(&held, "cooling");
    assert_eq!((of.in_force, of.owner), (Mode::Auto, Owner::Ours));
    let press = plc(&held, "press-4");
    assert_eq!((press.link.up, press.link.epoch, press.plc.counts.connects), (true, session, 1));
    rig.until("the press' data", |status| fresh(status, "melt_temp", died));

    let back = rig.clock.mono();
    rig.restart_chiller();
    let climbed = rig.until("the climb", |status| {
        fresh(status, "mould_temp", back) && of_loop(status, "cooling").rung == Rung::Full
    });
    assert_eq!(of_loop(&climbed, "cooling").in_force, Mode::Auto, "nobody had to raise it");
    assert_eq!(plc(&climbed, "press-4").link.epoch, session);
    let again = plc(&climbed, "chiller").link.epoch;
    assert!(again > 1);

    let died = rig.kill(true);
    let alone = rig.until("the chiller alone", |status| {
        // A value that was under way when the link fell is gone with its age.
        !plc(status, "press-4").link.up
            && fresh(status, "mould_temp", died)
            && !is_good(status, "melt_temp")
    });
    let of = of_loop(&alone, "cooling");
    assert_eq!((of.asked, of.owner, of.rung), (Mode::Shadow, Owner::Unknown, Rung::Released));
    assert_eq!((plc(&alone, "chiller").link.up, plc(&alone, "chiller").link.epoch), (true, again));
    rig.stop();
}

/// A loop on each: the one on the chiller writes there and nowhere else, loses its authority with
/// the chiller and waits for a person; the one on the press goes on in AUTO.
#[test]
fn a_lost_plc_takes_the_authority_of_its_own_loops_only() {
    let elsewhere = ["mould_temp", "cool_time_sp", "cool_time_min", "cool_time_max"];
    let mut rig = Rig::start("several_plcs_setpoint", &elsewhere);
    rig.raise("cooling");
    rig.raise("weight");
    let status = rig.until("writes of both", |status| {
        of_loop(status, "cooling").writes > 0 && of_loop(status, "weight").writes > 0
    });
    let session = plc(&status, "press-4").link.epoch;
    for plc in &status.plcs {
        let counts = plc.plc.counts;
        assert!(counts.writes_good > 0 && counts.heartbeats > 0, "{}: {counts:?}", plc.name);
        assert_eq!((counts.writes_refused, counts.writes_not_sent), (0, 0), "{}", plc.name);
    }

    rig.kill(false);
    let lost = rig.until("the loss", |status| !plc(status, "chiller").link.up);
    let writes = of_loop(&lost, "weight").writes;
    let lost = rig.until("another write to the press", |status| {
        // Its monitor lacks the mould temperature, from the first part on that lacked it.
        of_loop(status, "cooling").rung == Rung::Released
            && of_loop(status, "weight").writes > writes
            && of_loop(status, "weight").rung == Rung::FeedbackOnly
    });
    let (cooling, weight) = (of_loop(&lost, "cooling"), of_loop(&lost, "weight"));
    assert_eq!((cooling.in_force, cooling.owner), (Mode::Shadow, Owner::Unknown));
    assert_eq!((weight.in_force, weight.owner), (Mode::Auto, Owner::Ours));
    assert_eq!(plc(&lost, "press-4").link.epoch, session);

    let back = rig.clock.mono();
    rig.restart_chiller();
    let found = rig.until("the chiller's data", |status| {
        plc(status, "chiller").link.up && fresh(status, "cool_time_sp", back)
    });
    assert_eq!(of_loop(&found, "cooling").in_force, Mode::Shadow, "a person raises it");
    let writes = of_loop(&found, "cooling").writes;
    rig.raise("cooling");
    let last = rig.until("a write again", |status| of_loop(status, "cooling").writes > writes);
    assert_eq!(plc(&last, "press-4").link.epoch, session);
    assert!(plc(&last, "chiller").link.epoch > 1);
    rig.stop();
}
