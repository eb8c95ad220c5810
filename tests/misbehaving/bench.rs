//! A simulated press, the production service on it, and all that the service told.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::runtime::Runtime;
use trimloop::clock::{Clock, span_of};
use trimloop::dispatch::{OrderResult, Seen};
use trimloop::service::{CellHandle, CellSettings, TagStatus};
use trimloop_core::cell::LoopStatus;
use trimloop_core::event::What;
use trimloop_core::ledger::Fate;
use trimloop_core::mode::{Mode, Rung};
use trimloop_core::plan::{LoopId, SetpointId};
use trimloop_core::record::{DecisionRow, LedgerRow, Outcome, Record};
use trimloop_core::scan::Command;
use trimloop_core::tag::{Quality, Value};
use trimloop_core::time::{Mono, Span};
use trimloop_recipe::Project;
use trimloop_simulator::{Fault, Load, Scenario, Simulator, SimulatorSettings, WriteCounts};

/// How long anything may take. Generous: a loaded machine is not a broken one. Promises have
/// deadlines of their own.
pub const LONG: Duration = Duration::from_secs(60);
/// Time between two parts.
const PACE: Duration = Duration::from_millis(25);

pub struct Bench {
    pub runtime: Runtime,
    pub press: Simulator,
    pub cell: CellHandle,
    pub clock: Clock,
    seen: Receiver<Seen>,
    pub told: Vec<Seen>,
}

impl Bench {
    /// The shipped recipe on the nominal press.
    pub fn start() -> Self {
        Self::with(|_| (), |_| ())
    }

    /// The same with other settings.
    pub fn with(
        press: impl FnOnce(&mut SimulatorSettings),
        change: impl FnOnce(&mut CellSettings),
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let nominal = Scenario::named("nominal").unwrap();
        let mut settings = SimulatorSettings {
            speed: trimloop_simulator::Speed::Pace(PACE),
            autostart: true,
            relay: true,
            ..SimulatorSettings::new(nominal, 7)
        };
        press(&mut settings);
        let press = runtime.block_on(Simulator::start(settings)).unwrap();
        let project = Project::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let bound = project.bind(project.recipe("housing-lid").unwrap()).unwrap();
        let mut settings = CellSettings {
            bound,
            journal: None,
            store: None,
            client_name: "misbehaving".to_owned(),
            pki_dir: std::env::temp_dir().join("trimloop-test-client-pki"),
            secrets_dir: PathBuf::new(),
            realtime: None,
        };
        change(&mut settings);
        settings.bound.plcs[0].url = press.url();
        let cell = CellHandle::start(settings, runtime.handle()).unwrap();
        let (clock, seen) = (cell.clock(), cell.events());
        Self { runtime, press, cell, clock, seen, told: Vec::new() }
    }

    /// The same with all loops in AUTO, and five writes confirmed.
    pub fn in_auto() -> Self {
        let mut bench = Self::start();
        bench.auto();
        bench
    }

    /// Waits for a link that may write, raises all loops, and waits for five more writes.
    pub fn auto(&mut self) {
        self.until("the link", |bench| {
            let status = bench.cell.status();
            status.plcs[0].link.up && status.part > 10
        });
        let loops = u16::try_from(self.cell.plan().loops.len()).unwrap();
        for id in (0..loops).map(LoopId) {
            let order = self.cell.order(Command::SetMode(id, Mode::Auto)).unwrap();
            assert_eq!(self.cell.wait_order(order, LONG), OrderResult::Done);
        }
        self.more_writes(5);
    }

    /// Waits until so many more writes are confirmed.
    pub fn more_writes(&mut self, count: usize) {
        let from = self.mark();
        self.until("confirmed writes", |bench| {
            bench.rows(from).filter(|row| row.fate == Fate::Confirmed).count() >= count
        });
    }

    /// Takes in what was told and looks whether `wanted` holds; how long that took.
    pub fn until(&mut self, what: &str, mut wanted: impl FnMut(&Self) -> bool) -> Span {
        let start = self.clock.mono();
        loop {
            self.told.extend(self.seen.try_iter());
            let waited = self.clock.mono() - start;
            if wanted(self) {
                return waited;
            }
            if waited >= span_of(LONG) {
                let status = self.cell.status();
                panic!(
                    "{what}: link {:?} plc {:?} counts {:?} loops {:?}; last told {:?}",
                    status.plcs[0].link,
                    status.plcs[0].plc,
                    status.counts,
                    status.loops,
                    self.told.iter().rev().take(12).collect::<Vec<_>>()
                );
            }
            self.told.extend(self.seen.recv_timeout(Duration::from_millis(20)));
        }
    }

    /// Switches a fault, with what is told before and after apart: the place of the border.
    pub fn switch(&mut self, fault: Fault, on: bool) -> usize {
        self.runtime.block_on(self.press.switch(fault, on)).unwrap();
        assert!(!fault.entry().lasts || self.press.faults().has(fault) == on);
        self.mark()
    }

    /// The place in what was told up to now.
    pub fn mark(&mut self) -> usize {
        self.told.extend(self.seen.try_iter());
        self.told.len()
    }

    /// Events told since a place.
    pub fn events(&self, from: usize) -> impl DoubleEndedIterator<Item = What> {
        self.told[from..].iter().filter_map(|seen| match seen {
            Seen::Event(_, event) => Some(event.what),
            _ => None,
        })
    }

    pub fn event(&self, from: usize, is: impl Fn(&What) -> bool) -> bool {
        self.events(from).any(|what| is(&what))
    }

    /// Rows of the ledger since a place.
    pub fn rows(&self, from: usize) -> impl Iterator<Item = LedgerRow> {
        self.told[from..].iter().filter_map(|seen| match seen {
            Seen::Record(_, Record::Ledger(row)) => Some(*row),
            _ => None,
        })
    }

    /// Decisions since a place.
    pub fn decisions(&self, from: usize) -> impl Iterator<Item = DecisionRow> {
        self.told[from..].iter().filter_map(|seen| match seen {
            Seen::Record(_, Record::Decision(row)) => Some(*row),
            _ => None,
        })
    }

    /// Writes issued since a place.
    pub fn sent(&self, from: usize) -> Vec<LedgerRow> {
        self.rows(from).filter(|row| row.fate == Fate::Sent).collect()
    }

    /// What became of one write, in order.
    pub fn fates(&self, write: u64) -> Vec<Fate> {
        self.rows(0).filter(|row| row.write == write).map(|row| row.fate).collect()
    }

    /// The loop of the weight, and its setpoint.
    pub fn weight(&self) -> (LoopId, SetpointId) {
        let loops = &self.cell.plan().loops;
        let at = loops.iter().position(|plan| plan.name == "weight").unwrap();
        (LoopId(u16::try_from(at).unwrap()), loops[at].setpoint)
    }

    /// Where the loop of the weight stands.
    pub fn weight_loop(&self) -> LoopStatus {
        let loops = self.cell.status().loops;
        loops.into_iter().find(|of| of.name == "weight").and_then(|of| of.status).unwrap()
    }

    /// Every loop's mode in force is SHADOW.
    pub fn all_in_shadow(&self) -> bool {
        let loops = self.cell.status().loops;
        loops.iter().all(|of| of.status.is_some_and(|status| status.in_force == Mode::Shadow))
    }

    pub fn tag(&self, name: &str) -> TagStatus {
        let tags = self.cell.status().tags;
        tags.into_iter().find(|tag| tag.name == name).unwrap()
    }

    pub fn quality(&self, name: &str) -> Option<Quality> {
        self.tag(name).reading.map(|reading| reading.quality)
    }

    /// What the press itself counted of hold pressure and cool time together.
    pub fn counted(&self) -> WriteCounts {
        let [hold, cool] = self.press.report().verdict.writes;
        WriteCounts {
            attempts: hold.attempts + cool.attempts,
            accepted: hold.accepted + cool.accepted,
            refused: hold.refused + cool.refused,
            wrong_type: hold.wrong_type + cool.wrong_type,
            ..WriteCounts::default()
        }
    }

    /// What clients cost the press.
    pub fn load(&self) -> Load {
        self.runtime.block_on(self.press.load()).unwrap()
    }

    /// Waits for the session that comes after a lost one: every tag anew, and nothing written.
    /// `from`: the place at which the link went.
    pub fn back(&mut self, from: usize) {
        self.until("the link's return", |bench| {
            let up = bench.events(from).rev().find_map(|what| match what {
                What::LinkUp(..) => Some(true),
                What::LinkDown(_) => Some(false),
                _ => None,
            });
            up == Some(true)
        });
        self.until("every tag anew", |bench| {
            let fresh = |tag: &TagStatus| tag.age.is_some_and(|age| age < Span::from_secs(5));
            bench.cell.status().tags.iter().all(fresh)
        });
        assert!(self.all_in_shadow(), "{:?}", self.cell.status().loops);
    }

    /// No write was issued later than `after` a place in what was told, up to now.
    pub fn nothing_issued(&mut self, from: usize, after: Mono) {
        self.mark();
        let late: Vec<LedgerRow> =
            self.sent(from).into_iter().filter(|row| row.issued > after).collect();
        assert!(late.is_empty(), "{late:?}");
    }

    /// The press saw no write that broke a limit.
    pub fn no_violation(&self) {
        let verdict = self.press.report().verdict;
        assert_eq!(verdict.violations(), 0, "{:?}", verdict.writes);
        assert_eq!(self.cell.status().counts.watchers_lost, 0, "the test saw everything");
    }

    /// Stops the service and checks that no session of it is left.
    pub fn end(self) {
        self.cell.clone().stop();
        self.runtime.block_on(async {
            let load = self.press.load().await.unwrap();
            assert_eq!(load.sessions, 0, "a session is left on the press");
            self.press.shutdown().await;
        });
    }
}

/// Whether the loop of the weight feeds forward.
pub fn full(bench: &Bench) -> bool {
    bench.weight_loop().rung == Rung::Full
}

/// Whether a decision moved or would move something.
pub fn moved(row: &DecisionRow) -> bool {
    matches!(row.outcome, Outcome::Write(_) | Outcome::Return(_))
}

/// A reading as a number.
pub fn number(tag: &TagStatus) -> f64 {
    tag.reading.map_or(f64::NAN, |reading| Value::as_f64(reading.value))
}
