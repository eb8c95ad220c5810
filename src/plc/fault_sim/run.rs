//! One run: the service on the simulated network, with its people, from a seed to a verdict.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use trimloop_core::cell::Cell;
use trimloop_core::guard::ApprovedWrite;
use trimloop_core::mode::{Mode, Trip};
use trimloop_core::plan::LoopId;
use trimloop_core::scan::{Ack, AckResult, Command, Order, Proposal};
use trimloop_core::tag::{TagId, Value};
use trimloop_core::time::Span;

use super::faults::{Fault, Faults};
use super::kit::{ENABLE, INPUT, PART};
use super::oracle::Tally;
use super::wire::{SimDial, pass};
use super::world::{END, Hub, Ms, QUIET, UTC, World, note};
use crate::clock::Clock;
use crate::dispatch::{Dispatch, DispatchCounts, OrderBook, Seen, Watchers};
use crate::intake::Intake;
use crate::latency::Stopwatch;
use crate::plc::{LinkState, Port, View, assemble};
use crate::scan::{Board, Scanner};

/// The driver of a run looks around at least this often.
const LOOK: Ms = 10;
/// A run goes on at least so long after its last fault.
const CALM: Ms = 2500;

/// What came of a run.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) broken: Option<(Ms, String)>,
    pub(super) hash: u64,
    pub(super) lines: Vec<String>,
    pub(super) tally: Tally,
}

struct Service {
    scanner: Scanner,
    events: Receiver<Seen>,
    intake: Intake,
    view: View,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    port: Port,
    /// What the dispatcher hands out, and when it passes it on.
    writes: mpsc::Receiver<ApprovedWrite>,
    beats: watch::Receiver<Option<u32>>,
    held: VecDeque<(Ms, ApprovedWrite)>,
    held_beat: Option<(Ms, u32)>,
    asks: Vec<(Ms, Proposal)>,
}

impl Service {
    fn start(hub: &Hub) -> Self {
        let mut world = hub.lock();
        let now = i64::try_from(world.now()).unwrap();
        let clock = Clock::simulated(UTC + Span::from_millis(now));
        let plan = world.kit.plan.clone();
        let (intake, batch) = Intake::new(plan.tags.len(), clock);
        let config = world.kit.config.clone();
        world.oracle.service_starts(&intake);
        world.met = false;
        note!(world, "service starts");
        drop(world);
        let notices = crate::notice::Notices::new(intake.clock(), None);
        let dial = Box::new(SimDial(hub.clone()));
        let (link, _) = assemble(config, intake.clone(), notices, dial);
        let (port, writes, beats) = Port::open_ended();
        let watchers = Arc::new(Watchers::default());
        let events = watchers.subscribe();
        let board = Board::new(plan.tags.len(), plan.loops.len());
        let dispatch = Dispatch {
            ports: vec![port],
            store: None,
            intake: intake.clone(),
            watchers,
            orders: Arc::new(OrderBook::default()),
            stopwatch: Stopwatch::default(),
            counts: DispatchCounts::default(),
        };
        let cell = Cell::new(plan).unwrap();
        let scanner = Scanner::new(
            (intake.clone(), batch),
            cell,
            None,
            dispatch,
            Arc::new(Mutex::new(board)),
        );
        let mut tasks = JoinSet::new();
        for (_, task) in link.tasks {
            tasks.spawn(task);
        }
        Self {
            scanner,
            events,
            intake,
            view: link.view,
            stop: link.stop,
            tasks,
            port: link.port,
            writes,
            beats,
            held: VecDeque::new(),
            held_beat: None,
            asks: Vec::new(),
        }
    }

    /// Ends as a killed process does.
    async fn kill(mut self, hub: &Hub) {
        self.tasks.abort_all();
        self.ended(hub).await;
    }

    /// Ends as it should.
    async fn stop(mut self, hub: &Hub) {
        let open = hub.lock().clean_session();
        let since = hub.lock().now();
        self.stop.send_replace(true);
        let limit = hub.lock().now() + 3000;
        while !self.tasks.is_empty() && hub.lock().now() < limit {
            pass(5).await;
            hub.lock().run();
            while self.tasks.try_join_next().is_some() {}
        }
        let left = self.tasks.len();
        if left > 0 {
            hub.lock().oracle.fail(format!("L1: {left} tasks do not end"));
        }
        let left_open = |world: &World| open.is_some() && world.clean_server(open, since);
        if left_open(&hub.lock()) {
            hub.lock().oracle.fail("L1: the session was left open".to_owned());
        }
        Box::pin(self.kill(hub)).await;
    }

    async fn ended(&mut self, hub: &Hub) {
        while self.tasks.join_next().await.is_some() {}
        let trash = hub.lock().hang_up_all();
        drop(trash);
    }

    /// One scan if one is due, and what follows from it.
    fn scan(&mut self, hub: &Hub) {
        if !self.scanner.round() {
            return;
        }
        let seen: Vec<Seen> = self.events.try_iter().collect();
        let mut world = hub.lock();
        let now = world.now();
        for seen in &seen {
            if let Seen::Ask(_, proposal) = seen {
                let at = now + world.rng.range(50, 3000);
                self.asks.push((at, *proposal));
            }
        }
        let link = self.scanner.batch.links[0];
        let (samples, acks) = (self.scanner.batch.changes.len(), self.scanner.batch.acks.len());
        note!(world, "scan", link.up, link.epoch, samples, acks, seen.len());
        if world.trace.loud {
            let told = seen.iter().filter(|s| {
                matches!(
                    s,
                    Seen::Event(..) | Seen::Record(_, trimloop_core::record::Record::Ledger(_))
                )
            });
            let lines: Vec<String> = self
                .scanner
                .batch
                .acks
                .iter()
                .map(|ack| format!("         {ack:?}"))
                .chain(told.map(|seen| match seen {
                    Seen::Event(_, event) => format!("         {:?}", event.what),
                    other => format!("         {other:?}"),
                }))
                .collect();
            world.trace.lines.extend(lines);
        }
        world.oracle.scan(now, &self.scanner.batch, &seen);
    }

    /// Passes on what was decided, at once or late.
    fn dispatch(&mut self, hub: &Hub) {
        let mut world = hub.lock();
        let now = world.now();
        while let Ok(write) = self.writes.try_recv() {
            let slow = world.rng.range(50, 3000);
            let pause = if world.strikes(Fault::SlowDispatch, 700) { slow } else { 0 };
            self.held.push_back((now + pause, write));
        }
        if self.beats.has_changed().unwrap_or(false)
            && let Some(beat) = *self.beats.borrow_and_update()
        {
            let slow = world.rng.range(50, 800);
            let pause = if world.strikes(Fault::SlowDispatch, 300) { slow } else { 0 };
            self.held_beat = Some((now + pause, beat));
        }
        if let Some((_, beat)) = self.held_beat.take_if(|held| held.0 <= now) {
            self.port.heartbeat(beat);
        }
        while self.held.front().is_some_and(|held| held.0 <= now)
            && let Some((_, write)) = self.held.pop_front()
        {
            world.oracle.passed(now, write.seq());
            if let Err(seq) = self.port.write(write) {
                let at = self.intake.clock().mono();
                self.intake.ack(Ack { write: seq, result: AckResult::NotSent, at });
            }
        }
    }

    /// Whether the link is live and every tag shows what the PLC holds.
    fn healed(&self, world: &World) -> Result<(), String> {
        let status = self.view.status();
        if status.state != LinkState::Live || !status.problems.is_empty() {
            return Err(format!("the link is {:?}", status));
        }
        let reading = |tag: usize| {
            let reading = self.scanner.cell.reading(TagId(u16::try_from(tag).unwrap())).unwrap();
            (reading.quality.is_good(), reading.value)
        };
        let (fresh, part) = reading(PART);
        let behind = world.server.part - part.as_i64().unwrap_or(0);
        if !fresh || behind > 4 {
            return Err(format!("the part is {part:?} of {}", world.server.part));
        }
        for tag in [ENABLE, INPUT] {
            let (fresh, value) = reading(tag);
            if !fresh || (tag == ENABLE && value != Value::Bool(true)) {
                return Err(format!("tag {tag} is {value:?}, Good: {fresh}"));
            }
        }
        Ok(())
    }
}

/// People at the panel.
struct People {
    next: Ms,
    orders: u64,
}

impl People {
    fn act(&mut self, service: &mut Service, hub: &Hub) {
        let now = hub.lock().now();
        let mut due = Vec::new();
        service.asks.retain(|(at, proposal)| {
            let wait = *at > now;
            if !wait {
                due.push(*proposal);
            }
            wait
        });
        for proposal in due {
            let denied = hub.lock().rng.chance(200);
            let command = if denied {
                Command::Deny { proposal: proposal.id }
            } else {
                Command::Approve { proposal: proposal.id, expected: proposal.from }
            };
            self.order(service, hub, command);
        }
        if now < self.next {
            return;
        }
        self.next = now + hub.lock().rng.range(100, 800);
        for index in 0..service.scanner.cell.plan().loops.len() {
            let id = LoopId(u16::try_from(index).unwrap());
            let Some(status) = service.scanner.cell.loop_status(id) else { continue };
            let mut world = hub.lock();
            let wild = world.strikes(Fault::Wild, 300);
            let mode = if world.rng.chance(750) { Mode::Auto } else { Mode::Advisory };
            let odd = [
                Command::TakeManual(id),
                Command::Trip(id),
                Command::SetMode(id, Mode::Shadow),
                Command::SetMode(id, Mode::Advisory),
            ];
            let odd = world.rng.pick(&odd);
            let idle = world.rng.chance(300);
            drop(world);
            let command = match status.trip {
                _ if wild => odd,
                _ if idle => continue,
                Trip::Latched(_) => Command::Reset(id),
                Trip::Clear if status.asked < Mode::Advisory => Command::SetMode(id, mode),
                _ if status.owner != trimloop_core::mode::Owner::Ours => Command::SetMode(id, mode),
                _ => continue,
            };
            self.order(service, hub, command);
        }
    }

    fn order(&mut self, service: &Service, hub: &Hub, command: Command) {
        self.orders += 1;
        let id = self.orders;
        let mut world = hub.lock();
        note!(world, "order", id);
        if world.trace.loud {
            world.trace.lines.push(format!("         {command:?}"));
        }
        world.oracle.ordered(id, command);
        drop(world);
        // A full queue is an answer, too.
        let _told = service.intake.order(Order { id, command });
    }
}

/// Plays a run on a runtime of its own; `loud`: with a trace.
pub(super) fn play(seed: u64, faults: Faults, loud: bool) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(Box::pin(live(seed, faults, loud)))
}

enum Verdict {
    Goes,
    Over,
    Broken,
}

/// Whether the run is over, and how.
fn verdict(service: &Service, hub: &Hub, now: Ms) -> Verdict {
    let mut world = hub.lock();
    let healed = now >= QUIET + CALM && service.healed(&world).is_ok();
    if now >= END
        && let Err(why) = service.healed(&world)
    {
        world.oracle.fail(format!("L2: {} ms after the last fault, {why}", now - QUIET));
    }
    if world.oracle.broken.is_some() {
        Verdict::Broken
    } else if now >= END || healed {
        Verdict::Over
    } else {
        Verdict::Goes
    }
}

async fn live(seed: u64, faults: Faults, loud: bool) -> Played {
    let hub = Hub::new(World::new(seed, faults, loud));
    let mut service = Service::start(&hub);
    let mut people = People { next: 500, orders: 0 };
    let mut scan_after: Ms = 0;
    let mut broken_at = None;
    loop {
        let (now, strike, next) = {
            let mut world = hub.lock();
            world.run();
            (world.now(), world.strikes.pop_front(), world.next())
        };
        let trash = std::mem::take(&mut hub.lock().trash);
        drop(trash);
        match strike {
            Some(Fault::Crash) => {
                Box::pin(service.kill(&hub)).await;
                service = Service::start(&hub);
            }
            Some(Fault::StopStart) => {
                Box::pin(service.stop(&hub)).await;
                service = Service::start(&hub);
            }
            Some(_) => scan_after = now + hub.lock().rng.range(100, 1500),
            None => {}
        }
        // The link's tasks take what has arrived.
        tokio::task::yield_now().await;
        if now >= scan_after {
            service.scan(&hub);
            people.act(&mut service, &hub);
            service.dispatch(&hub);
        }
        match verdict(&service, &hub, now) {
            Verdict::Broken => {
                broken_at = Some(now);
                break;
            }
            Verdict::Over => break,
            Verdict::Goes => {}
        }
        let wake = next.clamp(now + 1, now + LOOK);
        pass(wake - now).await;
    }
    Box::pin(service.kill(&hub)).await;
    let mut world = hub.lock();
    if broken_at.is_none() {
        let now = world.now();
        world.oracle.end(now);
    }
    let at = broken_at.unwrap_or(END);
    Played {
        broken: world.oracle.broken.take().map(|why| (at, why)),
        hash: world.trace.hash,
        lines: std::mem::take(&mut world.trace.lines),
        tally: world.oracle.tally,
    }
}
