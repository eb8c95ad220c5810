//! The demo: one press twice, with the same disturbances, over real OPC UA.
//!
//! ```text
//! simulator OFF <--OPC UA--> cell in SHADOW      decides, writes nothing
//! simulator ON  <--OPC UA--> cell raised to AUTO
//! ```
//!
//! Everything is the shipped thing: recipe, PLC config, models, PLC link, journal, store. The
//! person who raises the loops is played by this module, and the technician who works on orders;
//! nothing else is. Scrap and violations
//! are counted by the simulator's own judge.

mod technician;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::Serialize;
use tokio::runtime::Runtime;
use trimloop_core::event::What;
use trimloop_core::mode::Mode;
use trimloop_core::plan::LoopId;
use trimloop_core::record::{Outcome, Record};
use trimloop_core::scan::Command;
use trimloop_core::time::Span;
use trimloop_recipe::{Bound, Color, Models, bind, check, check_plc_config, render};
use trimloop_simulator::{
    Report, Scenario, Simulator, SimulatorSettings, Speed, Violations, scrap_floor,
};

use crate::clock::Clock;
use crate::dispatch::{OrderResult, Seen};
use crate::journal::{JournalError, JournalHead, JournalWriter, keep_plan};
use crate::notice::Notices;
use crate::output::Names;
use crate::seal::{SealError, SealSettings, Sealer};
use crate::service::{CellHandle, CellSettings, ServiceError};
use crate::settings::WorkSettings;
use crate::store::{Store, StoreError, StoreOptions};
use crate::work::faults::{self, Place};
use crate::work::{Desk, DeskOptions};

use technician::Technician;

/// How long links may take to come up, and an order to be answered.
const PATIENCE: Span = Span::from_secs(30);
/// How often progress is told while nothing else happens.
const PROGRESS: Duration = Duration::from_millis(200);

/// About what a cycle of the press takes [ms].
const CYCLE_MS: i64 = 24_000;

const RECIPE: &str = include_str!("../recipes/housing-lid.toml");
const PLC: &str = include_str!("../plc-configs/press-4.toml");
const MODELS: [(&str, &[u8]); 2] = [
    ("upstream-r1", include_bytes!("../models/upstream-r1/model.tlm")),
    ("weight-sensor-r1", include_bytes!("../models/weight-sensor-r1/model.tlm")),
];

/// What to play.
#[derive(Clone, Debug)]
pub struct DemoSettings {
    /// Faults and disturbances.
    pub scenario: Scenario,
    /// Seed of both arms.
    pub seed: u64,
    /// Parts of each arm.
    pub parts: u64,
    /// Wall time of one part.
    pub pace: Duration,
    /// Where journal, history and certificates of the run go.
    pub data: PathBuf,
}

/// Why the demo could not be played.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The shipped files do not fit together.
    #[error("the built-in recipe does not check:\n{0}")]
    Recipe(String),
    /// A simulator failed.
    #[error("the simulated press did not run")]
    Simulator(#[from] trimloop_simulator::Error),
    /// A cell failed.
    #[error("the service did not run")]
    Service(#[from] ServiceError),
    /// The store failed.
    #[error("the demo's store could not be opened")]
    Store(#[from] StoreError),
    /// The journal failed.
    #[error("the demo's journal could not be opened")]
    Journal(#[from] JournalError),
    /// The records could not be signed.
    #[error("the demo's records cannot be signed")]
    Seal(#[from] SealError),
    /// Something that takes a moment never came.
    #[error("{0} in {1} s")]
    Late(&'static str, i64),
}

/// What is told while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// Links are up and loops raised; production starts.
    Started {
        /// Addresses of both presses, off and on.
        urls: &'a [String; 2],
        /// Names of the plan that runs.
        names: &'a Names,
    },
    /// Something the cell in AUTO saw or did.
    Seen(&'a Seen, &'a Names),
    /// What became of a work order.
    Work(&'a str),
    /// Parts made and scrapped so far.
    Parts {
        /// Report of the press without correction.
        off: &'a Report,
        /// Report of the press with correction.
        on: &'a Report,
    },
}

/// Result of a demo, as printed.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// Scenario played.
    pub scenario: &'static str,
    /// Seed of both arms.
    pub seed: u64,
    /// Scrap rate that a controller with perfect knowledge of the next part is left with.
    pub scrap_floor: f64,
    /// Arm in SHADOW.
    pub loop_off: Arm,
    /// Arm in AUTO.
    pub loop_on: ArmOn,
    /// Limits broken on the arm in AUTO, by the simulator's judge.
    pub violations: ViolationCounts,
    /// Change received to write confirmed by read-back [ms wall].
    pub latency_ms: Latency,
    /// Subscriptions made anew on the arm in AUTO.
    pub resubscriptions: u64,
    /// State of each loop at the end.
    pub loops: Vec<LoopEnd>,
    /// Work orders that were made for the check ring.
    pub orders: Vec<OrderEnd>,
    /// Events and rows that a slow terminal missed; the counts of holds lack them.
    pub missed: u64,
}

/// One arm.
#[derive(Clone, Debug, Serialize)]
pub struct Arm {
    /// Parts made.
    pub parts: u64,
    /// Share of scrap, 0 to 1.
    pub scrap_rate: f64,
    /// Scrap parts by true cause.
    pub scrap: BTreeMap<String, u64>,
}

/// The arm in AUTO.
#[derive(Clone, Debug, Serialize)]
pub struct ArmOn {
    /// Parts and scrap.
    #[serde(flatten)]
    pub arm: Arm,
    /// Writes that the PLC took.
    pub writes: u64,
    /// Decisions that wrote nothing, by first reason.
    pub holds: BTreeMap<&'static str, u64>,
    /// Trips, by reason.
    pub trips: BTreeMap<&'static str, u64>,
}

/// Violations over both setpoints.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ViolationCounts {
    limit: u64,
    step: u64,
    rate: u64,
    dwell: u64,
    trim: u64,
    interlock: u64,
}

impl ViolationCounts {
    fn add(&mut self, of: &Violations) {
        self.limit += of.limit;
        self.step += of.step;
        self.rate += of.rate;
        self.dwell += of.dwell;
        self.trim += of.trim;
        self.interlock += of.interlock;
    }

    /// Sum over all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.limit + self.step + self.rate + self.dwell + self.trim + self.interlock
    }
}

/// Latency of verified writes [ms].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Writes measured.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Longest.
    pub max: f64,
}

/// A loop at the end of a run.
#[derive(Clone, Debug, Serialize)]
pub struct LoopEnd {
    /// Name.
    pub name: String,
    /// Mode in force.
    pub mode: &'static str,
    /// Why it is tripped.
    pub trip: Option<&'static str>,
    /// Place on the fallback ladder.
    pub rung: &'static str,
}

/// A work order for the check ring at the end of a run.
#[derive(Clone, Debug, Serialize)]
pub struct OrderEnd {
    /// Its key.
    pub key: String,
    /// Its line.
    pub title: String,
    /// Part at which it was seen first.
    pub ordered_at: u64,
    /// Part at which the technician fitted a new ring.
    pub done_at: Option<u64>,
    /// How its case ended; `None` while it is open.
    pub closed: Option<String>,
}

/// The shipped recipe, bound to a press at `url`.
fn bound(url: &str) -> Result<Bound, DemoError> {
    let failed = |found: &[_]| DemoError::Recipe(render(found, Color::Never));
    let (recipe, found) = check("recipes/housing-lid.toml", RECIPE);
    let recipe = recipe.ok_or_else(|| failed(&found))?;
    let (plc, found) = check_plc_config("plc-configs/press-4.toml", PLC);
    let plc = plc.ok_or_else(|| failed(&found))?;
    let mut models = Models::new();
    for (name, bytes) in MODELS {
        models.insert(name, bytes.to_vec());
    }
    let mut bound = bind(&recipe, &[plc], &models).map_err(|found| failed(&found))?;
    for plc in &mut bound.plcs {
        url.clone_into(&mut plc.url);
    }
    Ok(bound)
}

/// Plays both arms to the end.
///
/// # Errors
/// [`DemoError`] when the shipped files, a simulator or the service fail.
pub fn play(
    settings: &DemoSettings,
    runtime: &Runtime,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<DemoReport, DemoError> {
    let presses = [start_press(settings, runtime)?, start_press(settings, runtime)?];
    let urls = [presses[0].url(), presses[1].url()];
    let stage = Stage::open(settings, runtime, &urls)?;
    let outcome = stage.perform(settings, runtime, &presses, &urls, &mut tell);
    stage.close();
    for press in presses {
        runtime.block_on(press.shutdown());
    }
    outcome
}

fn start_press(settings: &DemoSettings, runtime: &Runtime) -> Result<Simulator, DemoError> {
    let mut press = SimulatorSettings::new(settings.scenario.clone(), settings.seed);
    press.parts = Some(settings.parts);
    press.speed = Speed::Pace(settings.pace);
    press.relay = settings.scenario.needs_relay();
    Ok(runtime.block_on(Simulator::start(press))?)
}

/// Both cells and the store of the one in AUTO.
struct Stage {
    clock: Clock,
    off: CellHandle,
    on: CellHandle,
    names: Names,
    store: Store,
    sealer: Sealer,
    work: Desk,
    data: PathBuf,
}

impl Stage {
    fn open(
        settings: &DemoSettings,
        runtime: &Runtime,
        urls: &[String; 2],
    ) -> Result<Self, DemoError> {
        let clock = Clock::start();
        let on = bound(&urls[1])?;
        let names = Names::of(&on.plan);
        let store = Store::open(&StoreOptions {
            dir: settings.data.clone(),
            names: names.clone(),
            clock,
            node: "demo".to_owned(),
            recipe: on.plan.name.clone(),
            revision: on.plan.revision,
            plan_hash: on.plan.hash,
        })?;
        let journal = JournalWriter::open(
            &settings.data.join("journal"),
            &JournalHead {
                recipe: on.plan.name.clone(),
                revision: on.plan.revision,
                plan_hash: on.plan.hash,
                node: "demo".to_owned(),
                boot: store.boot(),
                utc: clock.utc(),
            },
        )?;
        keep_plan(&settings.data.join("journal"), &on)?;
        let sealer = Sealer::start(SealSettings {
            data: settings.data.clone(),
            store: store.sender(),
            journal: journal.tips(),
            clock,
        })?;
        // The desk waits for proofs in the press's time: a part takes milliseconds here.
        let pace_ms = i64::try_from(settings.pace.as_millis()).unwrap_or(i64::MAX).max(1);
        let place = Place { site: String::new(), cell: "demo".to_owned() };
        let work = Desk::simulated(DeskOptions {
            data: settings.data.clone(),
            setup: faults::setup(&on, &place, (clock.utc(), (CYCLE_MS / pace_ms).max(1))),
            clock,
            look: PROGRESS,
            connector: None,
            notices: Notices::new(clock, None),
            plant: WorkSettings::default(),
            channels: Vec::new(),
            cell: place.cell.clone(),
        })
        .map_err(ServiceError::Thread)?;
        let cell = |bound, arm: &str, journal, store| CellSettings {
            bound,
            journal,
            store,
            client_name: format!("trimloop demo {arm}"),
            pki_dir: settings.data.join("pki").join(arm),
            secrets_dir: PathBuf::new(),
            realtime: None,
        };
        let handle = runtime.handle();
        let off = CellHandle::start(cell(bound(&urls[0])?, "off", None, None), handle)?;
        let on = CellHandle::start(cell(on, "on", Some(journal), Some(store.sender())), handle)?;
        let data = settings.data.clone();
        Ok(Self { clock, off, on, names, store, sealer, work, data })
    }

    fn perform(
        &self,
        settings: &DemoSettings,
        runtime: &Runtime,
        presses: &[Simulator; 2],
        urls: &[String; 2],
        tell: &mut impl FnMut(Progress<'_>),
    ) -> Result<DemoReport, DemoError> {
        let seen = self.on.events();
        for cell in [&self.off, &self.on] {
            self.wait_live(cell)?;
        }
        self.raise()?;
        tell(Progress::Started { urls, names: &self.names });
        for press in presses {
            runtime.block_on(press.start_production())?;
        }
        let mut tally = Tally::default();
        let mut technician = Technician::new(&self.data, self.work.handle());
        self.watch(settings, runtime, presses, (&seen, &mut technician), &mut tally, tell)?;
        let status = self.on.status();
        let reports = presses.each_ref().map(Simulator::report);
        tell(Progress::Parts { off: &reports[0], on: &reports[1] });
        let [off, on] = reports;
        let mut violations = ViolationCounts::default();
        for writes in &on.verdict.writes {
            violations.add(&writes.violations);
        }
        let latency = status.latency;
        let loops = status.loops.iter().filter_map(|l| {
            let state = l.status?;
            Some(LoopEnd {
                name: l.name.clone(),
                mode: state.in_force.word(),
                trip: state.trip.reason().map(|r| r.word()),
                rung: state.rung.word(),
            })
        });
        Ok(DemoReport {
            scenario: settings.scenario.name,
            seed: settings.seed,
            scrap_floor: scrap_floor(&settings.scenario, settings.seed, settings.parts),
            loop_off: arm(&off),
            loop_on: ArmOn {
                arm: arm(&on),
                writes: on.verdict.writes.iter().map(|w| w.accepted).sum(),
                holds: tally.holds,
                trips: tally.trips,
            },
            violations,
            latency_ms: Latency {
                count: latency.count,
                p50: latency.p50_ms,
                p99: latency.p99_ms,
                max: latency.max_ms,
            },
            resubscriptions: status.of_links(|link| link.resubscriptions),
            loops: loops.collect(),
            orders: technician.orders(),
            missed: status.counts.watchers_lost,
        })
    }

    /// Waits until the cell has a live link.
    fn wait_live(&self, cell: &CellHandle) -> Result<(), DemoError> {
        let deadline = self.clock.mono() + PATIENCE;
        let events = cell.events();
        while !cell.status().all_up() {
            if self.clock.mono() > deadline {
                return Err(DemoError::Late("the OPC UA link did not come up", 30));
            }
            // Any event is a reason to look again.
            if events.recv_timeout(PROGRESS) == Err(RecvTimeoutError::Disconnected) {
                return Err(ServiceError::Stopped.into());
            }
        }
        Ok(())
    }

    /// Plays the person who raises every loop to AUTO; asks again while the registers have not
    /// been read yet.
    fn raise(&self) -> Result<(), DemoError> {
        let deadline = self.clock.mono() + PATIENCE;
        for index in 0..self.on.plan().loops.len() {
            let id = LoopId(u16::try_from(index).unwrap_or(u16::MAX));
            loop {
                let order = self.on.order(Command::SetMode(id, Mode::Auto))?;
                if self.on.wait_order(order, PROGRESS) == OrderResult::Done {
                    let of_loop = self.on.plan().loops.get(index);
                    let what =
                        format!("loop auto {}: done", of_loop.map_or("?", |l| l.name.as_str()));
                    self.store.sender().audit(order, "demo", &what, "the demo raises every loop");
                    break;
                }
                if self.clock.mono() > deadline {
                    return Err(DemoError::Late("a loop did not go to AUTO", 30));
                }
            }
        }
        Ok(())
    }

    /// Watches both presses to their last part.
    fn watch(
        &self,
        settings: &DemoSettings,
        runtime: &Runtime,
        presses: &[Simulator; 2],
        (seen, technician): (&Receiver<Seen>, &mut Technician),
        tally: &mut Tally,
        tell: &mut impl FnMut(Progress<'_>),
    ) -> Result<(), DemoError> {
        let mut told = self.clock.mono();
        loop {
            match seen.recv_timeout(PROGRESS) {
                Ok(news) => {
                    tell(Progress::Seen(&news, &self.names));
                    tally.take(&news);
                    // A lost session leaves the loops in SHADOW: people raise them again.
                    if let Seen::Event(_, event) = &news
                        && matches!(event.what, What::LinkUp(..))
                    {
                        self.raise()?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(ServiceError::Stopped.into()),
            }
            if self.clock.mono() - told < Span::from_millis(200) {
                continue;
            }
            told = self.clock.mono();
            let reports = presses.each_ref().map(Simulator::report);
            tell(Progress::Parts { off: &reports[0], on: &reports[1] });
            if let Some(sentence) = technician.look(runtime, &presses[1])? {
                tell(Progress::Work(&sentence));
            }
            if presses.iter().all(|press| press.part() >= settings.parts) {
                return Ok(());
            }
        }
    }

    fn close(self) {
        self.off.stop();
        self.on.stop();
        if self.store.sender().barrier().is_err() {
            tracing::warn!("The demo's last rows could not be written.");
        }
        drop(self.work);
        // Signs everything up to here.
        drop(self.sealer);
        drop(self.store);
    }
}

fn arm(report: &Report) -> Arm {
    let verdict = &report.verdict;
    let name = |cause| format!("{cause:?}").to_lowercase();
    Arm {
        parts: verdict.parts,
        scrap_rate: verdict.scrap_rate(),
        scrap: verdict.scrap.iter().map(|(cause, n)| (name(cause), *n)).collect(),
    }
}

/// Counts of what was decided.
#[derive(Default)]
struct Tally {
    holds: BTreeMap<&'static str, u64>,
    trips: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn take(&mut self, seen: &Seen) {
        match seen {
            Seen::Record(_, Record::Decision(row)) => {
                if let Outcome::Hold(reason) = row.outcome {
                    *self.holds.entry(reason.word()).or_default() += 1;
                }
            }
            Seen::Event(_, event) => {
                if let What::Tripped(_, reason) = event.what {
                    *self.trips.entry(reason.word()).or_default() += 1;
                }
            }
            Seen::Record(..) | Seen::Ask(..) => {}
        }
    }
}
