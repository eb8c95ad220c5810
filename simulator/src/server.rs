//! The simulator as a whole: production at a chosen pace, the OPC UA server, commands.
//!
//! One task owns production and the server's life. Time in a slot, wall:
//!
//! ```text
//!   part N complete, published          latch          part N+1 complete, published
//!   |<------ handling (share of pace) ---->|<------------ shot ------------>|
//! ```
//!
//! A write that arrives before the latch acts on part N+1, a later one on part N+2.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::address::Moment;
use crate::block::HandshakeSettings;
use crate::block::cell::BlockCommand;
use crate::catalogue::{Fault, Faults, Layer};
use crate::cell::Cell;
use crate::control::Control;
use crate::fault::FaultKind;
use crate::judge::Verdict;
use crate::link::{Link, OF_A_LIFE, Terms};
use crate::nodes::{Batch, block_changes, label_values, values};
use crate::plc::Setpoint;
use crate::relay::Wire;
use crate::scenario::Scenario;
use crate::shared::Shared;
use crate::{Error, Result};

/// How often the watchdog is looked at \[wall].
const WATCH: Duration = Duration::from_millis(10);
/// Longest wall time without a publication of clock and temperatures.
const REFRESH: Duration = Duration::from_millis(250);
/// Share of the slot before the latch at real or scaled time: mould open, eject, close, fill.
const HANDLING: f64 = 0.15;
/// The same for a fixed pace. Larger, because there a slot lasts about as long as a client's
/// answer, and which part a write acts on should not hang on the scheduler.
const HANDLING_PACED: f64 = 0.6;
/// Commands that can wait.
const COMMANDS_MAX: usize = 64;

/// How fast process time runs against wall time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// A shot takes its cycle time.
    Real,
    /// This many times faster; at least 0.01.
    Times(f64),
    /// One shot per this wall period.
    Pace(Duration),
    /// As fast as the machine can; no client can keep up.
    Max,
}

/// What to simulate.
#[derive(Debug, Clone)]
pub struct SimulatorSettings {
    /// Faults and inspection plan.
    pub scenario: Scenario,
    /// Seed of all disturbances and draws.
    pub seed: u64,
    /// Parts after which production stops; `None` for no end.
    pub parts: Option<u64>,
    /// Pace of production.
    pub speed: Speed,
    /// TCP port on 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// Start production at once; otherwise at [`Simulator::start_production`].
    pub autostart: bool,
    /// With the handshake blocks; `None` for setpoints that are written directly.
    pub handshake: Option<HandshakeSettings>,
    /// A relay before the server, for the faults of the wire: two more hops for each message.
    pub relay: bool,
    /// Folder of the server's certificate, which is made when it is not there: with one, encrypted
    /// endpoints are offered too, and every client certificate is taken.
    pub pki: Option<PathBuf>,
    /// Folder of the control socket, see [`crate::control::socket`]; `None` for no socket.
    pub control: Option<PathBuf>,
    /// Most values in one read and in one write, as a small PLC takes; `None` for what the library
    /// takes.
    pub per_call: Option<(usize, usize)>,
}

impl SimulatorSettings {
    /// A scenario at one shot per 25 ms, any port, at standstill.
    #[must_use]
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        Self {
            scenario,
            seed,
            parts: None,
            speed: Speed::Pace(Duration::from_millis(25)),
            port: 0,
            autostart: false,
            handshake: None,
            relay: false,
            pki: None,
            control: None,
            per_call: None,
        }
    }

    /// Whether a fault of the catalogue can be had with these settings.
    ///
    /// # Errors
    /// [`Error::Needs`] with what is missing.
    pub fn allow(&self, fault: Fault) -> Result<()> {
        let missing = match fault {
            _ if fault.entry().layer == Layer::Wire && !self.relay => Some("the relay"),
            Fault::CertificateChanged if self.pki.is_none() => Some("encrypted endpoints"),
            Fault::BatchPartial if self.handshake.is_none() => {
                Some("the handshake blocks: single writes have no parts")
            }
            _ => None,
        };
        missing.map_or(Ok(()), |what| Err(Error::Needs { fault, what }))
    }
}

/// Something done to the cell while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SimCommand {
    /// A fault from the next part on, for so many parts.
    Inject {
        /// The fault.
        kind: FaultKind,
        /// Its length \[parts].
        parts: u64,
    },
    /// All faults end, those of the scenario too.
    ClearFaults,
    /// An operator sets a setpoint at the panel.
    Operator {
        /// Which one.
        setpoint: Setpoint,
        /// Value in its unit; clipped to the PLC limits.
        value: f64,
    },
    /// The key switch of the local enable.
    Enable(bool),
    /// The door: `true` is closed.
    Door(bool),
    /// A new check ring is fitted.
    ReplaceCheckRing,
    /// The server is gone for this wall time.
    StopLink(Duration),
    /// The server closes all connections and comes back at once, on the same port.
    RestartServer,
    /// A switch of the handshake blocks.
    Block(BlockCommand),
}

/// What clients cost the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Connections taken since the start; 0 without the relay.
    pub connections: u64,
    /// Connections that stand now; 0 without the relay.
    pub open: u64,
    /// Sessions that the server holds now.
    pub sessions: u32,
    /// Writes that went to registers which only look like ours, see [`Fault::NamespacesMoved`].
    pub strays: u64,
}

/// How a run stands or ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// Seed.
    pub seed: u64,
    /// What the judge counted.
    pub verdict: Verdict,
    /// How often the PLC fell back to its recipe values.
    pub fallbacks: u64,
    /// Setpoints in the PLC: hold pressure \[bar], cool time \[s].
    pub setpoints: [f64; 2],
    /// Process time of the PLC [ms since the Unix epoch].
    pub clock_ms: i64,
    /// All parts asked for are made.
    pub finished: bool,
}

/// Progress of production.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Progress {
    part: u64,
    finished: bool,
}

/// Orders from the handle to the task.
enum Order {
    Start,
    Command(SimCommand),
    /// A fault of the catalogue, on or off; on for so long. Told when it is in force.
    Switch {
        fault: Fault,
        on: bool,
        lasts: Option<Duration>,
        told: oneshot::Sender<()>,
    },
    /// What clients cost.
    Load(oneshot::Sender<Load>),
    Shutdown,
}

/// Switches faults of a running simulator.
#[derive(Clone)]
pub(crate) struct Switchboard {
    settings: SimulatorSettings,
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
}

impl Switchboard {
    /// Switches a fault, for so long when that is given, and waits until it is in force.
    pub(crate) async fn switch(
        &self,
        fault: Fault,
        on: bool,
        lasts: Option<Duration>,
    ) -> Result<()> {
        self.settings.allow(fault)?;
        let (told, in_force) = oneshot::channel();
        let order = Order::Switch { fault, on, lasts, told };
        self.orders.send(order).await.map_err(|_| Error::Gone)?;
        in_force.await.map_err(|_| Error::Gone)
    }

    /// The faults that are on.
    pub(crate) fn faults(&self) -> Faults {
        self.shared.cell().faults()
    }
}

/// Handle of a running simulator. Dropping it ends production and server soon after;
/// [`Simulator::shutdown`] waits for that.
pub struct Simulator {
    board: Switchboard,
    control: Option<Control>,
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
    port: u16,
}

impl Simulator {
    /// Binds the port and serves the cell at standstill, or producing with `autostart`.
    ///
    /// Needs a tokio runtime with timers and I/O.
    ///
    /// # Errors
    /// [`Error::Bind`] when the port is taken, [`Error::Server`] when the stack refuses.
    pub async fn start(settings: SimulatorSettings) -> Result<Self> {
        let mut cell = Cell::new(settings.scenario.clone(), settings.seed);
        if let Some(handshake) = settings.handshake {
            cell.set_handshake(handshake);
        }
        for fault in &settings.scenario.faults {
            if let FaultKind::Switch(fault) = fault.kind {
                settings.allow(fault)?;
            }
        }
        let shared = Arc::new(Shared::new(cell));
        let wire = settings.relay.then(Arc::<Wire>::default);
        let (pki, per_call) = (settings.pki.clone(), settings.per_call);
        let terms = Terms { faults: Faults::NONE, wire, pki, per_call };
        let link = Link::open(&shared, settings.port, &terms)?;
        let port = link.port();
        let (orders, receiver) = mpsc::channel(COMMANDS_MAX);
        let board = Switchboard { settings: settings.clone(), shared: Arc::clone(&shared), orders };
        let folder = settings.control.as_deref();
        let control = folder.map(|dir| Control::start(dir, port, board.clone())).transpose()?;
        let (sender, progress) = watch::channel(Progress::default());
        let runner = Runner {
            shared: Arc::clone(&shared),
            speed: settings.speed,
            parts: settings.parts,
            port,
            link: Some(link),
            link_back: None,
            terms,
            ends: Vec::new(),
            progress: sender,
            phase: Phase::Standstill,
            slot_started: Instant::now(),
            slot_wall: Duration::ZERO,
            refreshed: Instant::now(),
        };
        let task = tokio::spawn(runner.run(receiver));
        let simulator = Self { board, control, progress, task, port };
        if settings.autostart {
            simulator.start_production().await?;
        }
        Ok(simulator)
    }

    /// Address for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("opc.tcp://127.0.0.1:{}/", self.port)
    }

    /// TCP port in use.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Parts made so far.
    #[must_use]
    pub fn part(&self) -> u64 {
        self.progress.borrow().part
    }

    /// Starts production; once running, does nothing.
    ///
    /// # Errors
    /// [`Error::Gone`] after the simulator ended.
    pub async fn start_production(&self) -> Result<()> {
        self.order(Order::Start).await
    }

    /// Does something to the cell.
    ///
    /// # Errors
    /// [`Error::Gone`] after the simulator ended.
    pub async fn command(&self, command: SimCommand) -> Result<()> {
        self.order(Order::Command(command)).await
    }

    /// Switches a fault of the catalogue on or off and waits until that is in force. One that the
    /// scenario has scheduled stays on while the scenario says so.
    ///
    /// # Errors
    /// [`Error::Needs`] when the settings leave out what it takes, [`Error::Gone`] after the end.
    pub async fn switch(&self, fault: Fault, on: bool) -> Result<()> {
        self.board.switch(fault, on, None).await
    }

    /// Switches a fault on for a wall time.
    ///
    /// # Errors
    /// As [`Simulator::switch`].
    pub async fn switch_for(&self, fault: Fault, lasts: Duration) -> Result<()> {
        self.board.switch(fault, true, Some(lasts)).await
    }

    /// The faults that are on.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.board.faults()
    }

    /// What clients cost the server.
    ///
    /// # Errors
    /// [`Error::Gone`] after the simulator ended.
    pub async fn load(&self) -> Result<Load> {
        let (told, load) = oneshot::channel();
        self.order(Order::Load(told)).await?;
        load.await.map_err(|_| Error::Gone)
    }

    /// Waits until all parts asked for are made; without an end, until the simulator is gone.
    ///
    /// # Errors
    /// [`Error::Gone`] when the simulator ended before.
    pub async fn wait_finished(&self) -> Result<()> {
        let mut progress = self.progress.clone();
        progress.wait_for(|p| p.finished).await.map(|_| ()).map_err(|_| Error::Gone)
    }

    /// Waits until at least `part` parts are made.
    ///
    /// # Errors
    /// [`Error::Gone`] when the simulator ended before.
    pub async fn wait_part(&self, part: u64) -> Result<()> {
        let mut progress = self.progress.clone();
        progress.wait_for(|p| p.part >= part).await.map(|_| ()).map_err(|_| Error::Gone)
    }

    /// The counts so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let cell = self.board.shared.cell();
        Report {
            scenario: self.board.settings.scenario.name,
            seed: self.board.settings.seed,
            verdict: cell.judge().verdict().clone(),
            fallbacks: cell.plc().fallbacks(),
            setpoints: Setpoint::ALL.map(|s| cell.plc().value(s)),
            clock_ms: cell.clock_ms(),
            finished: self.progress.borrow().finished,
        }
    }

    /// Ends production and server and waits for it.
    pub async fn shutdown(self) {
        drop(self.control);
        // A task that is already gone needs no order.
        self.board.orders.send(Order::Shutdown).await.ok();
        self.task.await.ok();
    }

    async fn order(&self, order: Order) -> Result<()> {
        self.board.orders.send(order).await.map_err(|_| Error::Gone)
    }
}

/// Where production is within its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Standstill,
    Handling,
    Shot,
}

/// The task behind a [`Simulator`].
struct Runner {
    shared: Arc<Shared>,
    speed: Speed,
    parts: Option<u64>,
    port: u16,
    link: Option<Link>,
    link_back: Option<Instant>,
    /// How the server is made, with the faults that it and the wire follow now.
    terms: Terms,
    /// Faults that end by themselves, and when.
    ends: Vec<(Fault, Instant)>,
    progress: watch::Sender<Progress>,
    phase: Phase,
    slot_started: Instant,
    slot_wall: Duration,
    refreshed: Instant,
}

impl Runner {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut watch = interval(WATCH);
        watch.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Start) => self.begin().await,
                    Some(Order::Command(command)) => self.command(command).await,
                    Some(Order::Switch { fault, on, lasts, told }) => {
                        self.switch(fault, on, lasts).await;
                        // Who does not wait any more need not be told.
                        told.send(()).ok();
                    }
                    Some(Order::Load(told)) => {
                        told.send(self.load()).ok();
                    }
                    Some(Order::Shutdown) | None => break,
                },
                _ = watch.tick() => self.watch().await,
                () = sleep_until(self.due()), if self.phase != Phase::Standstill => {
                    self.step().await;
                }
            }
        }
        if let Some(link) = self.link.take() {
            link.close().await;
        }
    }

    /// When the present phase ends.
    fn due(&self) -> Instant {
        match self.phase {
            Phase::Handling => {
                let share =
                    if matches!(self.speed, Speed::Pace(_)) { HANDLING_PACED } else { HANDLING };
                self.slot_started + self.slot_wall.mul_f64(share)
            }
            Phase::Shot | Phase::Standstill => self.slot_started + self.slot_wall,
        }
    }

    async fn begin(&mut self) {
        let finished = self.progress.borrow().finished;
        if self.phase == Phase::Standstill && !finished {
            self.shared.cell().set_producing(true);
            self.slot_started = Instant::now();
            self.open_slot().await;
        }
    }

    async fn step(&mut self) {
        if self.phase == Phase::Handling {
            self.shared.cell().latch();
            self.phase = Phase::Shot;
            return;
        }
        self.finish_slot();
        if self.phase == Phase::Standstill {
            return;
        }
        // Keep the pace on average, but do not chase a long delay.
        let planned = self.slot_started + self.slot_wall;
        let now = Instant::now();
        self.slot_started = if now > planned + self.slot_wall { now } else { planned };
        self.open_slot().await;
        if self.speed == Speed::Max {
            tokio::task::yield_now().await;
        }
    }

    /// Completes the shot and publishes it.
    fn finish_slot(&mut self) {
        let mut cell = self.shared.cell();
        let slot = cell.complete();
        let part = cell.part();
        let finished = self.parts.is_some_and(|parts| part >= parts);
        if finished {
            cell.set_producing(false);
            self.phase = Phase::Standstill;
        }
        let batch = if slot.shot.is_some() { Batch::Part } else { Batch::Between };
        let mut all = values(&cell, batch);
        if slot.label.is_some() {
            all.extend(label_values(slot.label));
        }
        if let Some(link) = &self.link {
            link.publish(all, self.moment(&cell));
        }
        drop(cell);
        self.refreshed = Instant::now();
        self.progress.send_replace(Progress { part, finished });
    }

    /// Opens the next slot: faults take effect, a link loss begins.
    async fn open_slot(&mut self) {
        let link_loss_ms = {
            let mut cell = self.shared.cell();
            let link_loss_ms = cell.prepare();
            self.slot_wall = match self.speed {
                Speed::Real => wall(cell.slot_ms(), 1.0),
                Speed::Times(factor) => wall(cell.slot_ms(), factor.max(0.01)),
                Speed::Pace(period) => period,
                Speed::Max => Duration::ZERO,
            };
            self.publish_state(&cell);
            link_loss_ms
        };
        self.phase = Phase::Handling;
        self.follow_faults().await;
        if let Some(ms) = link_loss_ms {
            self.stop_link(Duration::from_millis(ms)).await;
        }
    }

    /// Watchdog, refresh of slow values, return of the link.
    async fn watch(&mut self) {
        self.end_faults().await;
        let gone = self.terms.faults.has(Fault::ServerGone);
        if !gone && self.link_back.is_some_and(|at| Instant::now() >= at) {
            self.open_link();
        }
        let mut cell = self.shared.cell();
        if cell.take_edge() {
            self.publish_state(&cell);
        }
        let changes = block_changes(&mut cell);
        if let Some(link) = self.link.as_ref().filter(|_| !changes.is_empty()) {
            link.publish(changes, self.moment(&cell));
        }
        let passed = self.refreshed.elapsed();
        if passed < REFRESH {
            return;
        }
        self.refreshed = Instant::now();
        let factor = match self.speed {
            Speed::Times(factor) => factor.max(0.01),
            Speed::Real | Speed::Pace(_) | Speed::Max => 1.0,
        };
        if self.phase == Phase::Standstill {
            cell.between(process_ms(passed, factor));
        } else if !matches!(self.speed, Speed::Pace(_)) {
            let into_slot = process_ms(self.slot_started.elapsed(), factor).min(cell.slot_ms());
            cell.between(into_slot);
        }
        if let Some(link) = &self.link {
            link.publish(values(&cell, Batch::Between), self.moment(&cell));
        }
    }

    /// A port still in use is tried again at the next look.
    fn open_link(&mut self) {
        if let Ok(link) = Link::open(&self.shared, self.port, &self.terms) {
            self.link = Some(link);
            self.link_back = None;
        }
    }

    /// A person switches a fault.
    async fn switch(&mut self, fault: Fault, on: bool, lasts: Option<Duration>) {
        self.ends.retain(|(other, _)| *other != fault);
        if fault.entry().lasts {
            self.shared.cell().switch(fault, on);
            let end = lasts.filter(|_| on).map(|lasts| (fault, Instant::now() + lasts));
            self.ends.extend(end);
            self.follow_faults().await;
        } else if on {
            self.happen(fault).await;
        }
        // What it makes of the server is in force when this is told.
        if self.link_back.is_some() && !self.terms.faults.has(Fault::ServerGone) {
            self.open_link();
        }
        self.publish_state(&self.shared.cell());
    }

    /// Ends the faults whose time is over.
    async fn end_faults(&mut self) {
        let now = Instant::now();
        let (over, on) = std::mem::take(&mut self.ends).into_iter().partition(|(_, at)| *at <= now);
        self.ends = on;
        for (fault, _) in Vec::<(Fault, Instant)>::into_iter(over) {
            self.switch(fault, false, None).await;
        }
    }

    /// Server and wire follow the faults that are on now.
    async fn follow_faults(&mut self) {
        let faults = self.shared.cell().faults();
        let changed = faults.changed(self.terms.faults);
        if changed == Faults::NONE {
            return;
        }
        self.terms.faults = faults;
        if let Some(wire) = &self.terms.wire {
            wire.follow(faults);
        }
        if changed.any(&OF_A_LIFE) || changed.has(Fault::ServerGone) {
            self.stop_link(Duration::ZERO).await;
        }
        for fault in changed.iter().filter(|fault| !fault.entry().lasts && faults.has(*fault)) {
            self.happen(fault).await;
        }
    }

    /// What happens once.
    async fn happen(&mut self, fault: Fault) {
        if fault == Fault::CertificateChanged {
            self.terms.forget_certificate();
        }
        self.stop_link(Duration::ZERO).await;
    }

    fn load(&self) -> Load {
        let wire = self.terms.wire.as_ref();
        Load {
            connections: wire.map_or(0, |wire| wire.made()),
            open: wire.map_or(0, |wire| wire.open()),
            sessions: self.link.as_ref().map_or(0, Link::sessions),
            strays: self.shared.strays(),
        }
    }

    async fn command(&mut self, command: SimCommand) {
        match command {
            SimCommand::StopLink(wall) => return self.stop_link(wall).await,
            SimCommand::RestartServer => return self.stop_link(Duration::ZERO).await,
            SimCommand::Inject { kind: FaultKind::LinkLoss { wall_ms }, .. } => {
                return self.stop_link(Duration::from_millis(wall_ms)).await;
            }
            _ => {}
        }
        let mut cell = self.shared.cell();
        match command {
            SimCommand::Inject { kind, parts } => cell.inject(kind, parts),
            SimCommand::ClearFaults => cell.clear_faults(),
            SimCommand::Operator { setpoint, value } => cell.operator_sets(setpoint, value),
            SimCommand::Enable(on) => cell.set_enable(on),
            SimCommand::Block(command) => cell.block_command(command),
            SimCommand::Door(closed) => cell.set_door(closed),
            SimCommand::ReplaceCheckRing => cell.replace_check_ring(),
            SimCommand::StopLink(_) | SimCommand::RestartServer => {}
        }
        self.publish_state(&cell);
        drop(cell);
        self.follow_faults().await;
    }

    /// Takes the server away; production goes on.
    async fn stop_link(&mut self, wall: Duration) {
        let back = Instant::now() + wall;
        if let Some(link) = self.link.take() {
            link.close().await;
        }
        self.link_back = Some(back);
    }

    /// Now, for what is published.
    fn moment(&self, cell: &Cell) -> Moment {
        let wall_ms = self.slot_wall.as_secs_f64() * 1000.0;
        let speed = if wall_ms > 0.0 { cell.slot_ms() as f64 / wall_ms } else { 1.0 };
        Moment { clock_ms: cell.clock_ms(), speed, faults: cell.faults() }
    }

    fn publish_state(&self, cell: &Cell) {
        if let Some(link) = &self.link {
            link.publish(values(cell, Batch::State), self.moment(cell));
        }
    }
}

/// Wall time of `process_ms` at `factor` times real time.
fn wall(process_ms: i64, factor: f64) -> Duration {
    Duration::from_secs_f64((process_ms.max(0) as f64 / 1000.0 / factor).min(1e6))
}

/// Process time \[ms] of a wall time at `factor` times real time.
fn process_ms(wall: Duration, factor: f64) -> i64 {
    (wall.as_secs_f64() * factor * 1000.0) as i64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpStream;

    use super::{SimCommand, Simulator, SimulatorSettings, Speed};
    use crate::fault::FaultKind;
    use crate::oracle::open_loop;
    use crate::plc::Setpoint;
    use crate::scenario::Scenario;

    fn settings(parts: u64) -> SimulatorSettings {
        let nominal = Scenario::named("nominal").unwrap();
        SimulatorSettings {
            parts: Some(parts),
            speed: Speed::Max,
            ..SimulatorSettings::new(nominal, 3)
        }
    }

    #[tokio::test]
    async fn a_run_without_client_is_the_pure_open_loop() {
        let simulator = Simulator::start(settings(500)).await.unwrap();
        assert!(TcpStream::connect(("127.0.0.1", simulator.port())).await.is_ok());
        assert_eq!(simulator.part(), 0, "at standstill until told");
        simulator.start_production().await.unwrap();
        simulator.wait_finished().await.unwrap();
        let report = simulator.report();
        let nominal = Scenario::named("nominal").unwrap();
        assert!(report.finished);
        assert_eq!(report.verdict, open_loop(&nominal, 3, 500));
        simulator.shutdown().await;
    }

    #[tokio::test]
    async fn two_simulators_live_side_by_side_and_free_their_ports() {
        let one = Simulator::start(settings(100)).await.unwrap();
        let two = Simulator::start(settings(100)).await.unwrap();
        assert_ne!(one.port(), two.port());
        let (url, port) = (one.url(), one.port());
        one.shutdown().await;
        let again = Simulator::start(SimulatorSettings { port, ..settings(10) }).await.unwrap();
        assert_eq!(again.url(), url);
        again.shutdown().await;
        two.shutdown().await;
    }

    #[tokio::test]
    async fn commands_reach_the_cell_and_the_link_comes_back() {
        let speed = Speed::Pace(Duration::from_millis(1));
        let simulator =
            Simulator::start(SimulatorSettings { speed, ..settings(400) }).await.unwrap();
        let operator = SimCommand::Operator { setpoint: Setpoint::HoldPressure, value: 371.0 };
        simulator.command(operator).await.unwrap();
        simulator.start_production().await.unwrap();
        let hot = FaultKind::Heater(25.0);
        simulator.command(SimCommand::Inject { kind: hot, parts: 400 }).await.unwrap();
        simulator.command(SimCommand::RestartServer).await.unwrap();
        simulator.wait_finished().await.unwrap();
        let report = simulator.report();
        assert_eq!(report.setpoints[0].to_bits(), 371.0_f64.to_bits());
        assert!(report.verdict.scrap_total() > 50, "{:?}", report.verdict.scrap);
        assert!(TcpStream::connect(("127.0.0.1", simulator.port())).await.is_ok());
        simulator.shutdown().await;
    }
}
