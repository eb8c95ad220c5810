//! Starts and joins what makes a cell live; the only spawner.
//!
//! ```text
//! PLC links (tokio tasks) --samples, acks, links--> intake --> scan thread --> dispatch
//!        ^-------------- writes, heartbeats, each to its own PLC -----------------+
//! ```
//!
//! Several cells may run in one process; they share nothing but the clock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};
use trimloop_core::cell::{Cell, LoopStatus};
use trimloop_core::drift::Drift;
use trimloop_core::model::forecast::Forecast;
use trimloop_core::plan::{ModelId, Plan, PlanError, PlcId};
use trimloop_core::scan::{Command, Link, Order};
use trimloop_core::tag::{Reading, Sample, TagId};
use trimloop_core::time::{Now, Process, Span, Utc};
use trimloop_recipe::plc_config::{Address, Member};
use trimloop_recipe::unit::Unit;
use trimloop_recipe::{Bound, PlcConfig};

use crate::clock::{Clock, wait_of};
use crate::dispatch::{Dispatch, DispatchCounts, OrderBook, OrderResult, Seen, Watchers};
use crate::intake::{Intake, IntakeCounts, QueueFull, lock};
use crate::journal::JournalWriter;
use crate::latency::{Histogram, Stopwatch, Summary};
use crate::notice::{Notice, Notices};
use crate::plc::{
    self, LinkConfig, LinkCounts, LinkStatus, NodeConfig, PlcError, Purpose, Scalar, handshake,
};
use crate::realtime::RealtimePriority;
use crate::scan::{Board, ScanCounts, Scanner};
use crate::store::StoreSender;

/// Deadline of stopping: the PLC has one second to close the session.
const STOP_MAX: Duration = Duration::from_secs(4);

/// What a cell is made of.
pub struct CellSettings {
    /// Recipe, PLCs and models.
    pub bound: Bound,
    /// Where scans are kept, before they are used. `None` is for what is never a plant: tests, and
    /// the demo's arm that writes nothing.
    pub journal: Option<JournalWriter>,
    /// Where rows are kept.
    pub store: Option<StoreSender>,
    /// Name in the PLC's session list.
    pub client_name: String,
    /// Certificates.
    pub pki_dir: PathBuf,
    /// Folder from which relative paths of secrets count: that of the PLC configs.
    pub secrets_dir: PathBuf,
    /// Priority of the scan thread; `None` for that of any other.
    pub realtime: Option<RealtimePriority>,
}

/// Why a cell did not start, or did not take an order.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The plan does not hold together.
    #[error("the plan was refused")]
    Plan(#[source] PlanError),
    /// The link could not be prepared.
    #[error("the PLC link could not be prepared")]
    Plc(#[source] PlcError),
    /// The system gave no thread.
    #[error("the scan thread could not be started")]
    Thread(#[source] std::io::Error),
    /// Too many orders are waiting.
    #[error("the order was not taken")]
    Order(#[source] QueueFull),
    /// The cell has ended.
    #[error("the cell has been stopped")]
    Stopped,
}

/// A cell that runs. Clones are handles to the same cell.
#[derive(Clone)]
pub struct CellHandle {
    inner: Arc<Inner>,
}

struct Inner {
    plan: Plan,
    clock: Clock,
    intake: Intake,
    watchers: Arc<Watchers>,
    orders: Arc<OrderBook>,
    next_order: AtomicU64,
    board: Arc<Mutex<Board>>,
    /// By `PlcId`.
    plcs: Vec<plc::View>,
    notices: Notices,
    /// One per PLC link.
    stops: Vec<watch::Sender<bool>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    scan: JoinHandle<()>,
    /// Disconnected when all tasks have ended.
    tasks: Receiver<()>,
}

/// A snapshot of a cell.
#[derive(Clone, Debug)]
pub struct CellStatus {
    /// Recipe name.
    pub recipe: String,
    /// Recipe revision.
    pub revision: u32,
    /// Clocks of the last scan shown here.
    pub at: Now,
    /// PLCs; the first leads.
    pub plcs: Vec<PlcStatus>,
    /// What the shells told last.
    pub notices: Vec<Notice>,
    /// Part being made; 0 before the first.
    pub part: i64,
    /// Process time.
    pub process: Process,
    /// Tags.
    pub tags: Vec<TagStatus>,
    /// Loops.
    pub loops: Vec<LoopState>,
    /// What drifts, of which model.
    pub drifts: Vec<(ModelId, Drift)>,
    /// Forecasts after the newest part, of which model.
    pub forecasts: Vec<(ModelId, Forecast)>,
    /// Counts.
    pub counts: CellCounts,
    /// Change received to write confirmed.
    pub latency: Summary,
    /// The same, whole.
    pub latency_histogram: Histogram,
}

impl CellStatus {
    /// Whether every PLC has a session with live subscriptions.
    #[must_use]
    pub fn all_up(&self) -> bool {
        self.plcs.iter().all(|plc| plc.link.up)
    }

    /// A counter of all PLC links together.
    pub fn of_links(&self, counter: impl Fn(&LinkCounts) -> u64) -> u64 {
        self.plcs.iter().map(|plc| counter(&plc.plc.counts)).sum()
    }
}

/// A PLC in a snapshot.
#[derive(Clone, Debug, Default)]
pub struct PlcStatus {
    /// Name of its PLC config.
    pub name: String,
    /// Link as the cell sees it.
    pub link: Link,
    /// Link as the PLC shell sees it.
    pub plc: LinkStatus,
}

/// A tag in a snapshot.
#[derive(Clone, Debug)]
pub struct TagStatus {
    /// Name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// Newest sample as judged; `None` before the first.
    pub reading: Option<Reading>,
    /// Its age.
    pub age: Option<Span>,
}

/// A loop in a snapshot.
#[derive(Clone, Debug)]
pub struct LoopState {
    /// Name.
    pub name: String,
    /// Name of its setpoint.
    pub setpoint: String,
    /// State; `None` before the first scan.
    pub status: Option<LoopStatus>,
}

/// Counters of a cell since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellCounts {
    /// Of the queues.
    pub intake: IntakeCounts,
    /// Of the scan.
    pub scan: ScanCounts,
    /// Of dispatch.
    pub dispatch: DispatchCounts,
    /// What slow watchers missed.
    pub watchers_lost: u64,
}

impl CellHandle {
    /// Starts a cell: its scan thread, and its PLC link on `runtime`.
    ///
    /// # Errors
    /// [`ServiceError`] when the plan or the PLC config cannot work, or no thread is to be had.
    /// A PLC that is not there is no error: the link keeps trying.
    pub fn start(settings: CellSettings, runtime: &Handle) -> Result<Self, ServiceError> {
        let clock = Clock::start();
        let configs = link_configs(&settings);
        let Bound { plan, plcs: described, .. } = settings.bound;
        let (intake, batch) = Intake::for_plcs(plan.links.len(), plan.tags.len(), clock);
        let notices = Notices::new(clock, settings.store.clone());
        let links = (0..).map(PlcId).zip(configs).zip(described);
        let links = links.map(|((plc, config), described)| {
            let mut link =
                plc::link(config, intake.of(plc), notices.clone()).map_err(ServiceError::Plc)?;
            if let Some(store) = settings.store.clone() {
                link.fill_gaps(Arc::new(store), described.link.backfill);
            }
            Ok(link)
        });
        let links = links.collect::<Result<Vec<_>, _>>()?;
        let cell = Cell::new(plan.clone()).map_err(ServiceError::Plan)?;
        let watchers = Arc::new(Watchers::default());
        let orders = Arc::new(OrderBook::default());
        let board = Arc::new(Mutex::new(Board::new(plan.tags.len(), plan.loops.len())));
        let audit = settings.store.clone();
        let dispatch = Dispatch {
            ports: links.iter().map(|link| link.port.clone()).collect(),
            store: settings.store,
            intake: intake.clone(),
            watchers: Arc::clone(&watchers),
            orders: Arc::clone(&orders),
            stopwatch: Stopwatch::default(),
            counts: DispatchCounts::default(),
        };
        let scanner = Scanner::new(
            (intake.clone(), batch),
            cell,
            settings.journal,
            dispatch,
            Arc::clone(&board),
        );
        let realtime = settings.realtime;
        let scan = std::thread::Builder::new()
            .name(thread_name(&plan.name))
            .spawn(move || {
                if let Some(Err(refused)) = realtime.map(RealtimePriority::take) {
                    warn!("{refused}");
                }
                scanner.run()
            })
            .map_err(ServiceError::Thread)?;
        let (done, tasks) = mpsc::sync_channel::<()>(1);
        let (mut plcs, mut stops) = (Vec::new(), Vec::new());
        for (link, plan) in links.into_iter().zip(&plan.links) {
            if let Some(store) = audit.clone() {
                let plc = plan.name.clone();
                runtime.spawn(link.view.tell_problems(move |problem, is_here| {
                    let what = if is_here { "register refused" } else { "register as before" };
                    let detail = format!("{plc}: {}: {}", problem.node, problem.what);
                    store.audit(0, "plc", what, &detail);
                }));
            }
            for (_, task) in link.tasks {
                let done = done.clone();
                runtime.spawn(async move {
                    task.await;
                    drop(done);
                });
            }
            plcs.push(link.view);
            stops.push(link.stop);
        }
        info!(recipe = %plan.name, revision = plan.revision, "The cell runs, in SHADOW.");
        let inner = Inner {
            // Grows across restarts, so that the audit never sees a number twice.
            next_order: AtomicU64::new((clock.utc().as_nanos() / 1_000_000).unsigned_abs()),
            plan,
            clock,
            intake,
            watchers,
            orders,
            board,
            plcs,
            notices,
            stops,
            running: Mutex::new(Some(Running { scan, tasks })),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Queues an order; its number. What becomes of it: [`Self::wait_order`], and an event.
    ///
    /// # Errors
    /// [`ServiceError::Order`] when too many wait, [`ServiceError::Stopped`] after the end.
    pub fn order(&self, command: Command) -> Result<u64, ServiceError> {
        if lock(&self.inner.running).is_none() {
            return Err(ServiceError::Stopped);
        }
        let id = self.inner.next_order.fetch_add(1, Ordering::Relaxed);
        self.inner.intake.order(Order { id, command }).map_err(ServiceError::Order)?;
        Ok(id)
    }

    /// Waits for what becomes of an order. Not on an async thread.
    #[must_use]
    pub fn wait_order(&self, id: u64, timeout: Duration) -> OrderResult {
        self.inner.orders.wait(id, timeout, self.inner.clock)
    }

    /// A snapshot, about 50 ms old at most.
    #[must_use]
    pub fn status(&self) -> CellStatus {
        let inner = &*self.inner;
        let board = lock(&inner.board).clone();
        let now = inner.clock.mono();
        let tags = inner.plan.tags.iter().zip(&board.readings).map(|(tag, reading)| TagStatus {
            name: tag.name.clone(),
            unit: tag.unit.clone(),
            reading: *reading,
            age: reading.map(|reading| now - reading.received),
        });
        let loops = inner.plan.loops.iter().zip(&board.loops).map(|(plan, status)| LoopState {
            name: plan.name.clone(),
            setpoint: inner
                .plan
                .setpoints
                .get(plan.setpoint.index())
                .map(|setpoint| setpoint.name.clone())
                .unwrap_or_default(),
            status: *status,
        });
        CellStatus {
            recipe: inner.plan.name.clone(),
            revision: inner.plan.revision,
            at: board.at,
            plcs: (0..)
                .map(PlcId)
                .zip(inner.plan.links.iter().zip(&inner.plcs))
                .map(|(plc, (plan, view))| PlcStatus {
                    name: plan.name.clone(),
                    link: inner.intake.of(plc).link(),
                    plc: view.status(),
                })
                .collect(),
            notices: inner.notices.recent(),
            part: board.part,
            process: board.process,
            tags: tags.collect(),
            loops: loops.collect(),
            drifts: board.drifts,
            forecasts: board.forecasts,
            counts: CellCounts {
                intake: inner.intake.counts(),
                scan: board.scan,
                dispatch: board.dispatch,
                watchers_lost: inner.watchers.lost(),
            },
            latency: board.latency.summary(),
            latency_histogram: board.latency,
        }
    }

    /// Has a span of time read from the history that a PLC keeps, or all PLCs do; the names of
    /// those. What came of it is told as an event.
    ///
    /// # Errors
    /// A sentence, when there is no such PLC, or nothing is read from its history.
    pub fn backfill(&self, plc: Option<&str>, from: Utc, to: Utc) -> Result<Vec<String>, String> {
        let inner = &*self.inner;
        let to = to.min(inner.clock.utc());
        let all = || inner.plan.links.iter().zip(&inner.plcs);
        let mut noted = Vec::new();
        for (link, view) in all().filter(|(link, _)| plc.is_none_or(|plc| plc == link.name)) {
            if !view.fill_gap(from, to) {
                return Err(format!(
                    "nothing is read from the history of {}: its PLC config says `backfill = \"0 s\"`",
                    link.name
                ));
            }
            noted.push(link.name.clone());
        }
        match plc {
            Some(plc) if noted.is_empty() => {
                let names: Vec<&str> = all().map(|(link, _)| link.name.as_str()).collect();
                Err(format!("there is no PLC \"{plc}\"; there are: {}", names.join(", ")))
            }
            _ => Ok(noted),
        }
    }

    /// Events, decisions, ledger rows, labels and parts from now on. A watcher that is too slow
    /// misses some, counted.
    #[must_use]
    pub fn events(&self) -> Receiver<Seen> {
        self.inner.watchers.subscribe()
    }

    /// Where this cell's notices go.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.inner.notices.clone()
    }

    /// The plan that runs.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.inner.plan
    }

    /// The clock of all stamps.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.inner.clock
    }

    /// Ends the scan thread, then all PLC links at once, whose sessions are closed. Later calls do nothing.
    /// Not on an async thread.
    pub fn stop(self) {
        let Some(running) = lock(&self.inner.running).take() else { return };
        self.inner.intake.stop();
        if running.scan.join().is_err() {
            error!("The scan thread had panicked.");
        }
        self.inner.stop_links();
        if running.tasks.recv_timeout(STOP_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            error!("A PLC link did not end in time; its session runs out by itself.");
        }
        info!(recipe = %self.inner.plan.name, "The cell has ended.");
    }
}

impl Inner {
    fn stop_links(&self) {
        for stop in &self.stops {
            stop.send_replace(true);
        }
    }
}

impl Drop for Inner {
    /// A cell whose last handle goes without [`CellHandle::stop`] ends by itself.
    fn drop(&mut self) {
        self.intake.stop();
        self.stop_links();
    }
}

impl plc::History for StoreSender {
    fn keep(&self, samples: &[Sample]) -> oneshot::Receiver<BTreeMap<TagId, u64>> {
        self.backfill(samples)
    }

    fn whole_until(&self, plc: &str) -> Option<Utc> {
        self.whole_until(plc)
    }

    fn set_whole_until(&self, plc: &str, utc: Utc) {
        self.set_whole_until(plc, utc);
    }

    fn dropped(&self) -> u64 {
        self.counts().samples_dropped
    }

    fn takes(&self) -> bool {
        !self.counts().history_stopped
    }
}

/// Linux cuts thread names at 15 bytes.
fn thread_name(recipe: &str) -> String {
    let short: String = recipe.chars().filter(char::is_ascii_graphic).take(10).collect();
    format!("scan-{short}")
}

/// How each PLC is reached, and which tags live on it.
fn link_configs(settings: &CellSettings) -> Vec<LinkConfig> {
    let configs = (0..).map(PlcId).zip(&settings.bound.plcs);
    configs.map(|(id, plc)| link_config(settings, id, plc)).collect()
}

fn link_config(settings: &CellSettings, id: PlcId, plc: &PlcConfig) -> LinkConfig {
    let Bound { plan, tag_nodes, .. } = &settings.bound;
    let mut nodes = Vec::with_capacity(tag_nodes.len() + 1);
    let mut heartbeat = plc.heartbeat.map(|heartbeat| heartbeat.write);
    for (tag, (of, place)) in (0..).map(TagId).zip(plan.tags.iter().zip(tag_nodes)) {
        let Some(node) = plc.nodes.get(*place).filter(|_| of.plc == id) else { continue };
        let setpoint = plan.setpoints.iter().find(|setpoint| setpoint.tag == tag);
        let purpose = match setpoint {
            Some(setpoint) if plc.guard(*place).is_some() => {
                Purpose::Guarded { grid: setpoint.grid, low: setpoint.low, high: setpoint.high }
            }
            Some(setpoint) => {
                Purpose::Setpoint { grid: setpoint.grid, low: setpoint.low, high: setpoint.high }
            }
            None if heartbeat == Some(*place) => {
                heartbeat = None;
                Purpose::Heartbeat
            }
            None => Purpose::Read,
        };
        nodes.push(node_config(node, Some(tag), purpose));
    }
    if let Some(node) = heartbeat.and_then(|place| plc.nodes.get(place)) {
        nodes.push(node_config(node, None, Purpose::Heartbeat));
    }
    nodes.extend(handshake_nodes(&settings.bound, id, plc));
    let known = |unit: &Unit| !unit.is_none() && unit.free_words().next().is_none();
    let here = (0..).map(TagId).zip(&plan.tags).filter(|(_, tag)| tag.plc == id);
    let units =
        here.filter_map(|(tag, plan)| Some((tag, Unit::parse(&plan.unit).ok().filter(known)?)));
    let link =
        plc_link(plc, nodes, &settings.client_name, &settings.pki_dir, &settings.secrets_dir);
    LinkConfig { units: units.collect(), ..link }
}

/// How the PLC of a PLC config is reached, to read and write `nodes`.
pub(crate) fn plc_link(
    plc: &PlcConfig,
    nodes: Vec<NodeConfig>,
    client_name: &str,
    pki_dir: &Path,
    secrets_dir: &Path,
) -> LinkConfig {
    LinkConfig {
        name: plc.name.clone(),
        url: plc.url.clone(),
        standby: plc.standby.clone(),
        publishing: wait_of(plc.publishing),
        security: plc.security,
        user: plc.user_from(secrets_dir),
        per_call: plc.per_call,
        nodes,
        units: BTreeMap::new(),
        client_name: client_name.to_owned(),
        pki_dir: pki_dir.to_owned(),
    }
}

/// Members of the handshake blocks of a PLC; none while the recipe has no guarded setpoint there.
fn handshake_nodes(bound: &Bound, id: PlcId, plc: &PlcConfig) -> Vec<NodeConfig> {
    let Bound { plan, tag_nodes, .. } = bound;
    let mut blocks = Vec::new();
    for setpoint in &plan.setpoints {
        let place = tag_nodes.get(usize::from(setpoint.tag.0));
        let place = place.filter(|_| plan.plc_of(setpoint.tag) == id);
        let Some(guard) = place.and_then(|place| plc.guard(*place)) else { continue };
        blocks.push((setpoint.name.as_str(), Some(setpoint.tag), &guard.members));
    }
    if let Some(owner) = plc.owner.as_ref().filter(|_| !blocks.is_empty()) {
        blocks.push(("owner", None, &owner.members));
    }
    let node = |block: &str, guard, member: &'static str, address: &Address| NodeConfig {
        name: format!("{block}/{member}"),
        tag: None,
        address: address.clone(),
        scalar: handshake::member(member).map(|(scalar, _)| scalar),
        sampling_ms: 0.0,
        queue: None,
        purpose: Purpose::Member { guard, member },
    };
    let members = |(block, guard, members): (&str, Option<TagId>, &Vec<Member>)| {
        members.iter().map(|(name, address)| node(block, guard, name, address)).collect::<Vec<_>>()
    };
    blocks.into_iter().flat_map(members).collect()
}

/// Starts the tasks of a link that no cell belongs to: somebody looks at a PLC.
pub(crate) fn spawn_link(tasks: Vec<(&'static str, plc::Task)>, runtime: &Handle) -> Vec<Joined> {
    tasks.into_iter().map(|(_, task)| runtime.spawn(task)).collect()
}

/// A task that was started.
pub(crate) type Joined = tokio::task::JoinHandle<()>;

/// A node of a PLC config as the link takes it.
pub(crate) fn node_config(
    node: &trimloop_recipe::NodeConfig,
    tag: Option<TagId>,
    purpose: Purpose,
) -> NodeConfig {
    NodeConfig {
        name: node.name.clone(),
        tag,
        address: node.address.clone(),
        scalar: node.kind.and_then(|kind| Scalar::from_name(kind.word())),
        sampling_ms: node.sampling.as_secs_f64() * 1e3,
        // One is what a config gets that says nothing; it would lose all but the newest value.
        queue: (node.queue > 1).then_some(node.queue),
        purpose,
    }
}
