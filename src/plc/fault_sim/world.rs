//! Virtual time, its events, and the network: connections as the client's library shows them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use opcua::types::{
    BrowsePathResult, DataValue, MonitoredItemCreateRequest, MonitoredItemCreateResult,
    NotificationMessage, ReadValueId, StatusCode, WriteValue,
};
use tokio::sync::oneshot;
use trimloop_core::time::Utc;

use super::faults::{Fault, Faults, Window};
use super::kit::Kit;
use super::oracle::Oracle;
use super::rng::Rng;
use super::server::Server;
use crate::clock::Clock;
use crate::plc::subscribe::Feed;
use crate::plc::wire::{Ask, News, Terms};

/// Virtual time since the run began [ms].
pub(super) type Ms = u64;
/// From here on nothing goes wrong any more.
pub(super) const QUIET: Ms = 20_000;
/// By then the link is live again and every tag fresh: registers that were not as expected are
/// looked at every 10 s.
pub(super) const END: Ms = 34_000;
/// When the run begins.
pub(super) const UTC: Utc = Utc::from_millis(1_700_000_000_000);

/// One line of the trace: always part of the hash, kept as text in a replay.
macro_rules! note {
    ($world:expr, $what:literal $(, $value:expr)* $(,)?) => {{
        let now = $world.now();
        $world.trace.mark(now, $what, &[$($value as u64),*]);
        if $world.trace.loud {
            #[allow(unused_mut)]
            let mut line = format!("{now:>6} {}", $what);
            $(line.push_str(&format!(" {}={:?}", stringify!($value), $value));)*
            $world.trace.lines.push(line);
        }
    }};
}
pub(super) use note;

#[derive(Debug)]
pub(super) struct Trace {
    pub(super) hash: u64,
    pub(super) loud: bool,
    pub(super) lines: Vec<String>,
}

impl Trace {
    pub(super) fn mark(&mut self, now: Ms, what: &str, values: &[u64]) {
        let bytes = what.bytes().map(u64::from);
        for part in bytes.chain([now]).chain(values.iter().copied()) {
            self.hash = (self.hash ^ part).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(5);
        }
    }
}

#[derive(Debug)]
pub(super) enum Request {
    Read(Vec<ReadValueId>),
    Write(Vec<WriteValue>),
    Translate(usize),
    Subscribe(Ask),
    Monitor(u32, Vec<MonitoredItemCreateRequest>),
    Unsubscribe(Vec<u32>),
    Close,
}

impl Request {
    /// Items of a call that may have several.
    pub(super) fn items(&self) -> usize {
        match self {
            Self::Read(nodes) => nodes.len(),
            Self::Translate(count) => *count,
            Self::Monitor(_, items) => items.len(),
            Self::Write(_) | Self::Subscribe(_) | Self::Unsubscribe(_) | Self::Close => 1,
        }
    }
}

#[derive(Debug)]
pub(super) enum Reply {
    Values(Vec<DataValue>),
    Statuses(Vec<StatusCode>),
    Paths(Vec<BrowsePathResult>),
    Terms(Terms),
    Items(Vec<MonitoredItemCreateResult>),
    Done,
}

pub(super) enum Event {
    /// An attempt to connect has its outcome.
    Attempt {
        conn: usize,
        number: u32,
    },
    /// A call reaches the server.
    Arrives(u64),
    /// The server does it.
    Does(u64),
    /// Its answer reaches the client.
    Answers(u64, Result<Reply, StatusCode>, Vec<Look>),
    /// The client notices that its line is gone.
    Notices {
        conn: usize,
        line: usize,
    },
    /// A subscription's publishing interval is over.
    Publishes(u32),
    /// A notification reaches the client.
    Tells {
        line: usize,
        sub: u32,
        message: NotificationMessage,
        looks: Vec<Look>,
    },
    /// A write is applied late.
    Applies {
        wrote: usize,
        setpoint: usize,
        value: f64,
    },
    /// A part is made.
    Part,
    Begins(Fault),
    Ends(Fault),
}

/// A look at a register: which, and when it was taken on the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) setpoint: usize,
    pub(super) taken: Ms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Connecting,
    Up,
    Over,
}

/// Application URIs of the PLC, and of the server that is not the PLC.
const SERVERS: [&str; 2] = ["urn:sim:server", "urn:sim:impostor"];

/// One session object of the client's library.
pub(super) struct Conn {
    pub(super) phase: Phase,
    /// Place of the address.
    path: usize,
    /// It leads to a server that is not the PLC.
    impostor: bool,
    /// Its line, while there is one.
    line: Option<usize>,
    session: Option<u32>,
    attempt: u32,
    /// Whether the library asks for data.
    pub(super) asking: bool,
    pub(super) gave_up: bool,
    news: VecDeque<News>,
    pub(super) waker: Option<Waker>,
    pub(super) feeds: BTreeMap<u32, Arc<Feed>>,
}

/// One TCP connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) conn: usize,
    /// Life of the server that it leads to.
    boot: u32,
    /// Bytes under way are lost, too.
    pub(super) broken: bool,
    /// Closed by the client; what is under way still arrives.
    pub(super) closed: bool,
    half_open: bool,
    up_free: Ms,
    pub(super) down_free: Ms,
}

pub(super) struct Call {
    pub(super) line: usize,
    pub(super) request: Option<Request>,
    reply: Option<oneshot::Sender<Result<Reply, StatusCode>>>,
    /// Index of the write in the oracle's list of what was handed over.
    pub(super) wrote: Option<usize>,
}

struct Due(Ms, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// Faults that may keep a call from its answer.
const HINDERING: [Fault; 7] = [
    Fault::SlowCall,
    Fault::Swallowed,
    Fault::AnswerLost,
    Fault::SlowPublish,
    Fault::Drop,
    Fault::HalfOpen,
    Fault::Partition,
];

pub(super) struct World {
    pub(super) kit: Kit,
    pub(super) rng: Rng,
    clock: Clock,
    events: BinaryHeap<Reverse<Due>>,
    numbers: u64,
    active: u64,
    /// When one of [`HINDERING`] last ended.
    hindered: Ms,
    /// The address that cannot be reached, and the one behind which another server is.
    down: Option<usize>,
    swapped: Option<usize>,
    /// The address by which the server says that it serves badly, and its level.
    weak: Option<(usize, u8)>,
    /// The service that runs has been logged in by the PLC.
    pub(super) met: bool,
    pub(super) conns: Vec<Conn>,
    pub(super) lines: Vec<Line>,
    pub(super) calls: BTreeMap<u64, Call>,
    pub(super) server: Server,
    pub(super) oracle: Oracle,
    pub(super) trace: Trace,
    /// Feeds that nobody uses any more; dropped outside the lock, because they own sessions.
    pub(super) trash: Vec<Arc<Feed>>,
    /// Faults that the service itself suffers, for the driver of the run.
    pub(super) strikes: VecDeque<Fault>,
}

/// The world, shared by all who live in it.
#[derive(Clone)]
pub(super) struct Hub {
    state: Arc<Mutex<World>>,
}

impl Hub {
    pub(super) fn new(world: World) -> Self {
        Self { state: Arc::new(Mutex::new(world)) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.state.lock().unwrap()
    }
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults, loud: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut kit = Kit::draw(&mut rng);
        let mut later = Rng::new(seed.wrapping_mul(0xA24B_AED4_963E_E407) ^ 0x5A5A);
        if later.chance(250) || faults.two_addresses() {
            kit.add_address();
        }
        let windows = super::faults::windows(&mut rng, &mut later, faults);
        let mut world = Self {
            server: Server::new(&kit),
            oracle: Oracle::new(&kit),
            rng,
            clock: Clock::simulated(UTC),
            events: BinaryHeap::new(),
            numbers: 0,
            active: 0,
            down: None,
            swapped: None,
            weak: None,
            met: false,
            conns: Vec::new(),
            lines: Vec::new(),
            calls: BTreeMap::new(),
            trace: Trace { hash: seed, loud, lines: Vec::new() },
            trash: Vec::new(),
            hindered: 0,
            strikes: VecDeque::new(),
            kit,
        };
        for Window { fault, from, to } in windows {
            world.schedule(from, Event::Begins(fault));
            world.schedule(to.min(QUIET), Event::Ends(fault));
        }
        world.schedule(100, Event::Part);
        world
    }

    pub(super) fn now(&self) -> Ms {
        u64::try_from(self.clock.mono().as_nanos() / 1_000_000).unwrap()
    }

    pub(super) const fn active(&self, fault: Fault) -> bool {
        self.active & (1 << fault as u64) != 0
    }

    /// Whether an active fault strikes this time.
    pub(super) fn strikes(&mut self, fault: Fault, permille: u64) -> bool {
        let drawn = self.rng.chance(permille);
        drawn && self.active(fault)
    }

    pub(super) fn schedule(&mut self, at: Ms, event: Event) {
        self.numbers += 1;
        self.events.push(Reverse(Due(at, self.numbers, event)));
    }

    pub(super) fn after(&mut self, pause: Ms, event: Event) {
        self.schedule(self.now() + pause, event);
    }

    /// When the next event is due.
    pub(super) fn next(&self) -> Ms {
        self.events.peek().map_or(END, |Reverse(due)| due.0)
    }

    /// Carries out what is due.
    pub(super) fn run(&mut self) {
        let now = self.now();
        while self.next() <= now
            && let Some(Reverse(Due(_, _, event))) = self.events.pop()
        {
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Attempt { conn, number } => self.attempted(conn, number),
            Event::Arrives(id) => self.arrives(id),
            Event::Does(id) => self.does(id),
            Event::Answers(id, answer, looks) => {
                let Some(call) = self.calls.remove(&id) else { return };
                if !self.lines[call.line].broken
                    && let Some(reply) = call.reply
                    && reply.send(answer).is_ok()
                {
                    self.oracle.looked(&looks);
                }
            }
            Event::Notices { conn, line } => {
                if self.conns[conn].line == Some(line) {
                    self.lose(conn, StatusCode::BadConnectionClosed);
                }
            }
            Event::Publishes(sub) => self.publish(sub),
            Event::Tells { line, sub, message, looks } => {
                let at = self.lines[line];
                let conn = &self.conns[at.conn];
                if !at.broken
                    && conn.line == Some(line)
                    && let Some(feed) = conn.feeds.get(&sub)
                {
                    feed.notify(message);
                    let now = self.now();
                    self.oracle.told(now, at.conn, &looks);
                }
            }
            Event::Applies { wrote, setpoint, value } => self.apply(wrote, setpoint, value),
            Event::Part => self.make_part(),
            Event::Begins(fault) => {
                note!(self, "fault begins", fault);
                self.active |= 1 << fault as u64;
                self.begins(fault);
            }
            Event::Ends(fault) => {
                note!(self, "fault ends", fault);
                self.active &= !(1 << fault as u64);
                if HINDERING.contains(&fault) {
                    self.hindered = self.now();
                }
                self.ends(fault);
            }
        }
    }

    /// What happens at once when a fault begins.
    fn begins(&mut self, fault: Fault) {
        let live: Vec<usize> = (0..self.lines.len())
            .filter(|at| !self.lines[*at].broken && !self.lines[*at].closed)
            .collect();
        match fault {
            Fault::Drop => live.iter().for_each(|at| self.cut(*at, 0, 200)),
            Fault::HalfOpen => live.iter().for_each(|at| self.lines[*at].half_open = true),
            Fault::Partition => live.iter().for_each(|at| self.cut(*at, 1000, 6000)),
            Fault::Restart
            | Fault::RestartBaseline
            | Fault::RestartRenumbered
            | Fault::RestartRetyped => self.restart(fault),
            Fault::PathDown | Fault::Impostor | Fault::Weak => self.change_path(fault),
            Fault::SubscriptionEnds => self.end_subscriptions(),
            Fault::ClockJump => self.jump_clock(),
            Fault::Operator => self.turn_setpoint(),
            Fault::EnableOff => self.server.enable = false,
            Fault::Crash | Fault::StopStart | Fault::SlowScan => self.strikes.push_back(fault),
            _ => {}
        }
    }

    /// An address leads nowhere, or to another server; what goes through it breaks.
    fn change_path(&mut self, fault: Fault) {
        if self.kit.addresses() < 2 {
            return;
        }
        // Mostly the one in use.
        let used = self.conns.last().map_or(0, |conn| conn.path);
        let path = if self.rng.chance(800) { used } else { 1 - used };
        note!(self, "address changes", path, fault);
        match fault {
            Fault::PathDown => self.down = Some(path),
            // Behind the one to which the link turns now.
            Fault::Impostor => self.swapped = Some(1 - path),
            _ => {
                let level = self.rng.pick(&[0, 1, 2, 100, 199, 200]);
                self.weak = Some((path, level));
                return;
            }
        }
        let lines: Vec<usize> = (0..self.lines.len())
            .filter(|at| self.conns[self.lines[*at].conn].path == path)
            .collect();
        lines.into_iter().for_each(|at| self.cut(at, 0, 200));
    }

    fn ends(&mut self, fault: Fault) {
        match fault {
            Fault::PathDown => self.down = None,
            Fault::Impostor => self.swapped = None,
            Fault::Weak => self.weak = None,
            Fault::EnableOff => self.server.enable = true,
            Fault::ClockJump => self.server.set_clock(),
            Fault::Operator => self.turn_setpoint(),
            Fault::HalfOpen => {
                // The peer's retransmissions meet a closed port, or they pass again.
                for at in 0..self.lines.len() {
                    if std::mem::take(&mut self.lines[at].half_open) && self.rng.chance(500) {
                        self.cut(at, 0, 3000);
                    }
                }
            }
            Fault::Restart
            | Fault::RestartBaseline
            | Fault::RestartRenumbered
            | Fault::RestartRetyped => {
                self.server.up = true;
                note!(self, "server is back", self.server.boot);
            }
            _ => {}
        }
        if fault == Fault::RestartRetyped {
            self.restart(Fault::Restart);
            self.server.up = true;
        }
    }

    /// Breaks a line; the client notices within a while.
    pub(super) fn cut(&mut self, line: usize, soonest: Ms, latest: Ms) {
        if self.lines[line].broken {
            return;
        }
        self.lines[line].broken = true;
        let conn = self.lines[line].conn;
        let pause = self.rng.range(soonest, latest);
        note!(self, "line broken", line, pause);
        self.after(pause, Event::Notices { conn, line });
        if let Some(session) = self.conns[conn].session {
            self.server.detach(session, line);
        }
    }

    pub(super) fn unreachable(&self, path: usize) -> bool {
        self.active(Fault::Partition) || !self.server.up || self.down == Some(path)
    }

    /// How well the server says that it serves, by the address of a line.
    pub(super) fn level(&self, line: usize) -> u8 {
        let path = self.conns[self.lines[line].conn].path;
        self.weak.filter(|(weak, _)| *weak == path).map_or(255, |(_, level)| level)
    }

    /// The newest session, while nothing stands in the way of closing it.
    pub(super) fn clean_session(&self) -> Option<u32> {
        let conn = self.conns.last().filter(|conn| conn.phase == Phase::Up && !conn.gave_up)?;
        let line = self.lines[conn.line?];
        conn.session.filter(|_| self.calls_pass() && !line.broken && !line.half_open)
    }

    /// Whether that session is still there, and nothing stood in the way since `since`.
    pub(super) fn clean_server(&self, session: Option<u32>, since: Ms) -> bool {
        let there = session.is_some_and(|id| self.server.sessions.contains_key(&id));
        there && self.calls_pass() && self.hindered < since
    }

    fn calls_pass(&self) -> bool {
        self.server.up && !HINDERING.into_iter().any(|fault| self.active(fault))
    }

    // The client's side.

    pub(super) fn attempt(&mut self) {
        let now = self.now();
        self.oracle.attempt(now);
    }

    /// A new session object by an address, and the application URI of the server there.
    ///
    /// A service that has met nobody yet cannot tell one server from another.
    pub(super) fn open(&mut self, path: usize) -> (usize, String) {
        let impostor = self.met && self.swapped == Some(path);
        self.oracle.tally.impostors += u64::from(impostor);
        self.conns.push(Conn {
            phase: Phase::Idle,
            path,
            impostor,
            line: None,
            session: None,
            attempt: 0,
            asking: true,
            gave_up: false,
            news: VecDeque::new(),
            waker: None,
            feeds: BTreeMap::new(),
        });
        let conn = self.conns.len() - 1;
        self.oracle.opened(conn);
        note!(self, "session object", conn);
        (conn, SERVERS[usize::from(impostor)].to_owned())
    }

    pub(super) fn connect(&mut self, conn: usize) {
        self.attempt();
        let at = &mut self.conns[conn];
        at.phase = Phase::Connecting;
        at.attempt += 1;
        let number = at.attempt;
        let pause = match (self.active(Fault::HalfOpen), self.active(Fault::Partition)) {
            (true, _) => 20_000,
            (_, true) => self.rng.range(1000, 4000),
            _ => self.rng.range(2, 60),
        };
        self.after(pause, Event::Attempt { conn, number });
    }

    fn attempted(&mut self, conn: usize, number: u32) {
        let at = &self.conns[conn];
        if at.phase != Phase::Connecting || at.attempt != number {
            return;
        }
        let failed = |world: &mut Self, status| {
            world.conns[conn].phase = Phase::Idle;
            world.tell(conn, News::Failed(status));
        };
        if self.unreachable(at.path) {
            return failed(self, StatusCode::BadCommunicationError);
        }
        let line = self.lines.len();
        let now = self.now();
        let known = at.session.filter(|id| self.server.sessions.contains_key(id));
        let session = match known {
            Some(session) => session,
            None if self.active(Fault::SessionLimit) => {
                return failed(self, StatusCode::BadTooManySessions);
            }
            None => self.server.session(now),
        };
        self.server.attach(session, line, now);
        self.lines.push(Line {
            conn,
            boot: self.server.boot,
            broken: false,
            closed: false,
            half_open: false,
            up_free: 0,
            down_free: 0,
        });
        note!(self, "connected", conn, line, session);
        let open = self.server.sessions.len();
        self.oracle.sessions(open);
        let path = self.conns[conn].path;
        let before = self.conns.iter().take(conn).rev().find(|other| other.session.is_some());
        self.oracle.tally.switches += u64::from(before.is_some_and(|other| other.path != path));
        let at = &mut self.conns[conn];
        at.session = Some(session);
        at.line = Some(line);
        at.phase = Phase::Up;
        // What the library's own reconnect leaves behind.
        at.asking = known.is_none() && number == 1;
        self.tell(conn, News::Connected);
    }

    fn lose(&mut self, conn: usize, status: StatusCode) {
        let at = &mut self.conns[conn];
        at.line = None;
        at.phase = Phase::Idle;
        note!(self, "loss noticed", conn);
        self.fail_calls(conn);
        self.tell(conn, News::Lost(status));
    }

    fn fail_calls(&mut self, conn: usize) {
        for call in self.calls.values_mut().filter(|call| self.lines[call.line].conn == conn) {
            if let Some(reply) = call.reply.take() {
                drop(reply.send(Err(StatusCode::BadConnectionClosed)));
            }
        }
    }

    fn tell(&mut self, conn: usize, news: News) {
        let at = &mut self.conns[conn];
        at.news.push_back(news);
        if let Some(waker) = at.waker.take() {
            waker.wake();
        }
    }

    /// The next news of a session object, as its owner takes them.
    pub(super) fn news(&mut self, conn: usize) -> Option<News> {
        let news = self.conns[conn].news.pop_front()?;
        self.met |= news == News::Connected;
        if news != News::Connected {
            self.oracle.lost(conn);
        }
        Some(news)
    }

    /// The server has answered our goodbye.
    pub(super) fn closed(&mut self, conn: usize) {
        let at = &mut self.conns[conn];
        at.phase = Phase::Over;
        at.session = None;
        if let Some(line) = at.line.take() {
            self.lines[line].closed = true;
        }
        self.tell(conn, News::Ended(StatusCode::Good));
    }

    /// Nobody holds the session object any more: its socket is closed.
    pub(super) fn hang_up(&mut self, conn: usize) {
        let at = &mut self.conns[conn];
        at.phase = Phase::Over;
        let feeds = std::mem::take(&mut at.feeds);
        self.trash.extend(feeds.into_values());
        let line = at.line.take();
        if let (Some(line), Some(session)) = (line, at.session) {
            self.lines[line].closed = true;
            self.server.detach(session, line);
        }
        note!(self, "hung up", conn);
        self.oracle.lost(conn);
    }

    /// The process has ended: the system closes its sockets. Its feeds, to be dropped.
    pub(super) fn hang_up_all(&mut self) -> Vec<Arc<Feed>> {
        for conn in 0..self.conns.len() {
            if self.conns[conn].phase != Phase::Over {
                self.hang_up(conn);
            }
        }
        std::mem::take(&mut self.trash)
    }

    /// Hands a call to the transport.
    pub(super) fn call(
        &mut self,
        conn: usize,
        request: Request,
    ) -> Result<oneshot::Receiver<Result<Reply, StatusCode>>, StatusCode> {
        let now = self.now();
        let line = self.conns[conn].line.filter(|_| self.conns[conn].phase == Phase::Up);
        let mut wrote = None;
        let most = self.kit.config.per_call;
        match &request {
            Request::Read(nodes) => self.oracle.call("read", nodes.len(), most.read),
            Request::Write(values) => self.oracle.call("write", values.len(), most.write),
            Request::Translate(count) => self.oracle.call("translate", *count, most.other),
            Request::Monitor(_, items) => self.oracle.call("monitor", items.len(), most.monitor),
            _ => {}
        }
        if matches!(request, Request::Write(_)) && self.conns[conn].impostor {
            self.oracle.fail("W5: a write to another server than the PLC".to_owned());
        }
        match &request {
            Request::Write(values) => {
                let told = self.read_write(values);
                note!(
                    self,
                    "write",
                    conn,
                    values.len(),
                    told.map_or(99, |t| t.0),
                    told.map_or(0.0, |t| t.1)
                );
                wrote = self.oracle.hand_over(now, conn, values, told, line.is_some());
            }
            Request::Read(nodes) => {
                for node in nodes {
                    if let Some(setpoint) = self.register_of(node) {
                        self.oracle.read_asked(now, setpoint);
                    }
                }
            }
            _ => {}
        }
        let Some(line) = line else { return Err(StatusCode::BadNotConnected) };
        let (reply, answer) = oneshot::channel();
        self.numbers += 1;
        let id = self.numbers;
        self.calls.insert(id, Call { line, request: Some(request), reply: Some(reply), wrote });
        let at = &mut self.lines[line];
        if !at.half_open {
            let arrives = (now + self.rng.range(1, 8)).max(at.up_free + 1);
            at.up_free = arrives;
            self.schedule(arrives, Event::Arrives(id));
        }
        Ok(answer)
    }

    fn arrives(&mut self, id: u64) {
        let Some(call) = self.calls.get(&id) else { return };
        let line = self.lines[call.line];
        let lost = line.broken && self.rng.chance(500);
        if line.boot != self.server.boot || !self.server.up || line.half_open || lost {
            return;
        }
        if self.strikes(Fault::Swallowed, 300) {
            note!(self, "swallowed", id);
            return;
        }
        let slow = self.rng.range(100, 2500);
        let pause = if self.strikes(Fault::SlowCall, 400) { slow } else { self.rng.range(0, 4) };
        self.after(pause, Event::Does(id));
    }

    fn does(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (line, wrote) = (call.line, call.wrote);
        let Some(request) = call.request.take() else { return };
        if self.lines[line].boot != self.server.boot || !self.server.up {
            return;
        }
        let now = self.now();
        let session = self.conns[self.lines[line].conn].session;
        if let Some(session) = session {
            self.server.heard(session, now);
        }
        let (answer, looks) = self.carry_out(line, session, request, wrote);
        if let (Some(wrote), Ok(Reply::Statuses(statuses))) = (wrote, &answer) {
            self.oracle.answered(wrote, statuses.first().copied());
        }
        if self.strikes(Fault::AnswerLost, 300) {
            note!(self, "answer lost", id);
            return;
        }
        if let Some(at) = self.down(line) {
            self.schedule(at, Event::Answers(id, answer, looks));
        }
    }

    /// When something sent now reaches the client; `None`: never.
    pub(super) fn down(&mut self, line: usize) -> Option<Ms> {
        let pause = self.rng.range(1, 8);
        let now = self.now();
        let at = &mut self.lines[line];
        if at.half_open || at.broken || at.closed {
            return None;
        }
        at.down_free = (now + pause).max(at.down_free + 1);
        Some(at.down_free)
    }

    /// The line of a session object, while both ends believe in it.
    pub(super) fn asking(&self, line: usize) -> bool {
        let at = self.lines[line];
        let conn = &self.conns[at.conn];
        !at.broken && !at.closed && !at.half_open && conn.asking && conn.line == Some(line)
    }
}
