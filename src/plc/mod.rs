//! The link to one PLC over OPC UA (`async-opcua`). No OPC UA type leaves this folder.
//!
//! - [`connector`]: TCP with `TCP_NODELAY` and a deadline; the library sets neither.
//! - [`wire`], [`client`]: the seam to the library, and the library behind it.
//! - [`session`]: the one owner of connecting, reconnecting and tearing down.
//! - [`route`]: which of the PLC's addresses is tried next.
//! - [`resolve`], [`check`], [`identity`]: addresses to node ids, what they must be, and whether
//!   they still are what they were, on every connect.
//! - [`structure`]: elements of arrays and fields of structures.
//! - [`subscribe`]: monitored items, and the callback that feeds the intake.
//! - [`security`]: who we are to the server, who it is to us, and why not.
//! - [`backfill`]: gaps filled from the history that the server keeps.
//! - [`conform`]: the test of a PLC's handshake blocks; not part of the link.
//! - [`handshake`]: writing through guard blocks, where the PLC has them.
//! - `fault_sim`: the other side of the seam for tests, in virtual time.
//! - [`changes`], [`decode`], [`write`], [`heartbeat`]: values in, setpoints out, life signs out.
//! - [`discover`], [`explore`], [`browse`], [`show`]: looking around on a server, for people.
//!
//! Link states:
//!
//! ```text
//! DOWN -> CONNECTING -> RESOLVING (addresses, types) -> SUBSCRIBED -first data-> LIVE -> DOWN
//!  |                                                        +- a setpoint is wrong: data flow,
//!  |                                                           but no epoch, so no writes
//!  +-- the server refuses who we are: REFUSED, no more attempts
//! ```
//!
//! Invariants:
//! - Nothing is written across a disconnect: a write is handed to the transport under the gate
//!   that [`session`] closes before it connects again, and only in its own epoch.
//! - Each LIVE is a new epoch with resolved addresses, checked types and a new subscription.
//! - Nothing here waits without a deadline.

mod backfill;
mod backoff;
mod browse;
mod changes;
mod check;
mod client;
pub mod conform;
mod connector;
mod decode;
mod discover;
mod explore;
#[cfg(test)]
mod fault_sim;
pub mod handshake;
mod heartbeat;
mod identity;
mod mutant;
mod resolve;
mod route;
mod security;
mod session;
mod show;
mod structure;
mod subscribe;
mod wire;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use trimloop_core::guard::ApprovedWrite;
use trimloop_core::tag::TagId;
use trimloop_core::time::{Mono, Span, Utc};
use trimloop_core::unit::{Grid, Ticks};
use trimloop_recipe::plc_config::{Address, PerCall, Security, User};
use trimloop_recipe::unit::Unit;

use crate::clock::Clock;
use crate::intake::{Intake, lock};
use crate::notice::Notices;
use crate::output::{duration_text, utc_text};
use crate::pki::{Pki, PkiError};

pub use backfill::History;
pub use browse::{Ask, Browsed, Variable};
pub use client::{Offer, application_uri_of, offers};
pub use connector::connect_tcp;
pub use discover::{CertificateFound, Discovery, EndpointFound, ServerFound, discover};
pub use explore::{ExploreError, Explorer, ReadRow, Sought, explore};
pub use show::{Shown, show_tag};

/// Writes that may wait for the link; a full queue answers `NotSent`.
pub const WRITES_MAX: usize = 64;

/// Where a PLC is, how it is spoken to, and what is read and written there.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Name in logs.
    pub name: String,
    /// `opc.tcp://host:port/path`.
    pub url: String,
    /// Further addresses of the same PLC, in the order in which they are tried.
    pub standby: Vec<String>,
    /// Publishing interval asked for.
    pub publishing: Duration,
    /// Channel security.
    pub security: Security,
    /// Who we are to the server; paths are absolute or count from the working folder.
    pub user: User,
    /// Most items per service call; the server's own limits count too.
    pub per_call: PerCall,
    /// Nodes: one per tag, and the heartbeat register.
    pub nodes: Vec<NodeConfig>,
    /// Units that the recipe states, by tag; compared with those that the server states. None for
    /// tags without one and for units that no table knows.
    pub units: BTreeMap<TagId, Unit>,
    /// Name of this client in the server's session list.
    pub client_name: String,
    /// Certificates: `own`, `trusted`, `rejected`.
    pub pki_dir: PathBuf,
}

/// One register of the PLC.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Name in the PLC config.
    pub name: String,
    /// The tag it feeds; `None` for a register that is only written.
    pub tag: Option<TagId>,
    /// Where it is.
    pub address: Address,
    /// Type it must have; `None` takes what the server says.
    pub scalar: Option<Scalar>,
    /// Sampling interval asked for [ms]; 0 = as fast as the server can.
    pub sampling_ms: f64,
    /// Queue on the server; `None` = from the ratio of publishing to sampling.
    pub queue: Option<u32>,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a register is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// Read.
    Read,
    /// Read, and written by approved writes.
    Setpoint {
        /// Its grid.
        grid: Grid,
        /// Lowest value.
        low: Ticks,
        /// Highest value.
        high: Ticks,
    },
    /// Read; approved writes go through the guard block before it.
    Guarded {
        /// Its grid.
        grid: Grid,
        /// Lowest value.
        low: Ticks,
        /// Highest value.
        high: Ticks,
    },
    /// Written with our life sign.
    Heartbeat,
    /// A member of a handshake block; see [`handshake::member`].
    Member {
        /// Tag of the guarded setpoint; `None` for the owner block.
        guard: Option<TagId>,
        /// Its name in the specification.
        member: &'static str,
    },
}

impl Purpose {
    /// Whether we write the node itself.
    #[must_use]
    pub fn is_written(self) -> bool {
        match self {
            Self::Read | Self::Guarded { .. } => false,
            Self::Setpoint { .. } | Self::Heartbeat => true,
            Self::Member { member, .. } => {
                handshake::member(member).is_some_and(|(_, written)| written)
            }
        }
    }
}

/// Types a register may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Contact.
    Boolean,
    /// 8 bits, signed.
    SByte,
    /// 8 bits.
    Byte,
    /// 16 bits, signed.
    Int16,
    /// 16 bits.
    UInt16,
    /// 32 bits, signed.
    Int32,
    /// 32 bits.
    UInt32,
    /// 64 bits, signed.
    Int64,
    /// 64 bits.
    UInt64,
    /// 32-bit floating point.
    Float,
    /// 64-bit floating point.
    Double,
    /// A point in time.
    DateTime,
}

impl Scalar {
    /// All, in the order of their OPC UA numbers.
    pub const ALL: [Self; 12] = [
        Self::Boolean,
        Self::SByte,
        Self::Byte,
        Self::Int16,
        Self::UInt16,
        Self::Int32,
        Self::UInt32,
        Self::Int64,
        Self::UInt64,
        Self::Float,
        Self::Double,
        Self::DateTime,
    ];

    /// Name as OPC UA spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "Boolean",
            Self::SByte => "SByte",
            Self::Byte => "Byte",
            Self::Int16 => "Int16",
            Self::UInt16 => "UInt16",
            Self::Int32 => "Int32",
            Self::UInt32 => "UInt32",
            Self::Int64 => "Int64",
            Self::UInt64 => "UInt64",
            Self::Float => "Float",
            Self::Double => "Double",
            Self::DateTime => "DateTime",
        }
    }

    /// From its OPC UA name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scalar| scalar.name() == name)
    }
}

/// Where the link stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected.
    #[default]
    Down,
    /// Looking for the server.
    Connecting,
    /// Looking for the registers and checking them.
    Resolving,
    /// Subscribed; no data yet.
    Subscribed,
    /// Data flow.
    Live,
    /// The server refuses who we are; no further attempts.
    Refused,
    /// Stopped by us.
    Stopped,
}

impl LinkState {
    /// Stable word for records and pages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Connecting => "connecting",
            Self::Resolving => "resolving",
            Self::Subscribed => "subscribed",
            Self::Live => "live",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// A register that is not what the configuration says; its tag is not read, or nothing written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name in the PLC config.
    pub node: String,
    /// Whether it stops all writes (a setpoint or the heartbeat).
    pub stops_writes: bool,
    /// What is wrong, for the engineer at the machine.
    pub what: String,
}

/// The link, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkStatus {
    /// State.
    pub state: LinkState,
    /// The address that is used, or tried.
    pub address: String,
    /// How many addresses the PLC has.
    pub addresses: usize,
    /// What went wrong last, while it is not live.
    pub trouble: Option<String>,
    /// Registers that are not what the configuration says.
    pub problems: Vec<Problem>,
    /// Whether the socket sends without delay.
    pub no_delay: bool,
    /// Publishing interval as the server revised it [ms].
    pub publishing_ms: f64,
    /// Longest silence of the subscription as the server revised it [ms].
    pub keep_alive_ms: f64,
    /// The gap that is read from the PLC's history just now, or will be.
    pub filling: Option<Filling>,
    /// Counters.
    pub counts: LinkCounts,
}

/// A gap that is not filled yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling {
    /// Its begin.
    pub from: Utc,
    /// Its end.
    pub to: Utc,
    /// Tags in it that the server has a history of.
    pub tags: usize,
    /// Those of them that are read to the end.
    pub tags_done: usize,
    /// Further gaps.
    pub waiting: usize,
}

impl fmt::Display for Filling {
    /// `gap of 42.0 s from 2026-11-22T21:09:52.123Z: 3 of 5 tags read, 1 more waits`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, from) = (duration_text(self.to - self.from), utc_text(self.from));
        write!(f, "gap of {length} from {from}: {} of {} tags read", self.tags_done, self.tags)?;
        match self.waiting {
            0 => Ok(()),
            1 => f.write_str(", 1 more waits"),
            more => write!(f, ", {more} more wait"),
        }
    }
}

/// What the link counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// Sessions that came up, reactivated ones included.
    pub connects: u64,
    /// Subscriptions made after the first.
    pub resubscriptions: u64,
    /// Notifications, keep-alives included.
    pub notifications: u64,
    /// Samples whose overflow bit says that the server dropped some before them.
    pub overflows: u64,
    /// Values that no tag can hold: text, structures, arrays, numbers beyond 64 bits.
    pub undecodable: u64,
    /// Samples older than a read-back that came in before them, dropped.
    pub outrun: u64,
    /// Writes answered Good.
    pub writes_good: u64,
    /// Writes refused.
    pub writes_refused: u64,
    /// Writes not sent.
    pub writes_not_sent: u64,
    /// Writes without a clear answer.
    pub writes_unknown: u64,
    /// Life signs sent.
    pub heartbeats: u64,
    /// Life signs that failed.
    pub heartbeats_failed: u64,
    /// Gaps that were filled from the PLC's history.
    pub gaps_filled: u64,
    /// Gaps that could not be.
    pub gaps_unfilled: u64,
    /// Values that came so, those that were there already left out.
    pub backfilled: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
struct Counters {
    connects: AtomicU64,
    subscriptions: AtomicU64,
    notifications: AtomicU64,
    overflows: AtomicU64,
    undecodable: AtomicU64,
    outrun: AtomicU64,
    writes_good: AtomicU64,
    writes_refused: AtomicU64,
    writes_not_sent: AtomicU64,
    writes_unknown: AtomicU64,
    heartbeats: AtomicU64,
    heartbeats_failed: AtomicU64,
    gaps_filled: AtomicU64,
    gaps_unfilled: AtomicU64,
    backfilled: AtomicU64,
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    fn read(&self) -> LinkCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LinkCounts {
            connects: get(&self.connects),
            resubscriptions: get(&self.subscriptions).saturating_sub(1),
            notifications: get(&self.notifications),
            overflows: get(&self.overflows),
            undecodable: get(&self.undecodable),
            outrun: get(&self.outrun),
            writes_good: get(&self.writes_good),
            writes_refused: get(&self.writes_refused),
            writes_not_sent: get(&self.writes_not_sent),
            writes_unknown: get(&self.writes_unknown),
            heartbeats: get(&self.heartbeats),
            heartbeats_failed: get(&self.heartbeats_failed),
            gaps_filled: get(&self.gaps_filled),
            gaps_unfilled: get(&self.gaps_unfilled),
            backfilled: get(&self.backfilled),
        }
    }
}

/// What the tasks of one link share.
struct Shared {
    config: LinkConfig,
    intake: Intake,
    notices: Notices,
    clock: Clock,
    counters: Counters,
    status: Mutex<LinkStatus>,
    /// The gate of all writes; `None` while nothing may be written.
    gate: Mutex<Option<Arc<session::Live>>>,
    /// What each register was when it was first found.
    known: Mutex<identity::Known>,
    /// Times whose samples did not come.
    book: backfill::Book,
    /// Which server was met first, where the PLC has several addresses.
    server: Mutex<identity::KnownServer>,
    /// Told when the gate opens or the status changes.
    news: Notify,
    stop: watch::Receiver<bool>,
}

impl Shared {
    /// The address at this place: the first, then the others in their order.
    fn address(&self, place: usize) -> &str {
        let config = &self.config;
        let other = place.checked_sub(1).and_then(|place| config.standby.get(place));
        other.unwrap_or(&config.url)
    }

    fn set_state(&self, state: LinkState) {
        let mut status = lock(&self.status);
        status.state = state;
        if state == LinkState::Live {
            status.trouble = None;
        }
        drop(status);
        self.news.notify_waiters();
    }

    fn set_trouble(&self, state: LinkState, trouble: String) {
        let mut status = lock(&self.status);
        status.state = state;
        status.trouble = Some(trouble);
        drop(status);
        self.news.notify_waiters();
    }
}

/// Why a link could not even be set up.
#[derive(Debug, thiserror::Error)]
pub enum PlcError {
    /// The settings of the OPC UA client do not hold together.
    #[error("the OPC UA client refuses its settings: {0}")]
    Client(String),
    /// No certificate to show.
    #[error("certificates cannot be used")]
    Pki(#[source] PkiError),
    /// A URL that is none.
    #[error("not an OPC UA address (opc.tcp://host:port): {0}")]
    Url(String),
}

/// A task of the link, to be run by the service.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One link before it runs: what others may do with it, and the tasks that make it live.
pub struct Link {
    /// What the scan thread sends by.
    pub port: Port,
    /// What others may ask.
    pub view: View,
    /// Ends the tasks.
    pub stop: watch::Sender<bool>,
    /// Name and future of each task.
    pub tasks: Vec<(&'static str, Task)>,
}

impl Link {
    /// Fills gaps from the history that the PLC's server keeps, with a task more. `longest` is what
    /// is read of a gap at most; nothing where it is zero. Call before the tasks run.
    pub fn fill_gaps(&mut self, history: Arc<dyn History>, longest: Span) {
        if longest > Span::ZERO {
            let shared = Arc::clone(&self.view.shared);
            backfill::prepare(&shared, history.as_ref());
            self.tasks.push(("backfill", Box::pin(backfill::run(shared, history, longest))));
        }
    }
}

/// Prepares a link; nothing happens before its tasks run.
///
/// # Errors
/// [`PlcError`] when the configuration cannot work at all.
pub fn link(config: LinkConfig, intake: Intake, notices: Notices) -> Result<Link, PlcError> {
    let servers = client::Servers::new(&config, intake.clock(), &notices)?;
    let pki = Pki::new(&config.pki_dir);
    let (mut link, shared) = assemble(config, intake, notices, Box::new(servers.clone()));
    if shared.config.security != Security::None {
        link.tasks.push(("certificates", Box::pin(security::watch(shared, servers, pki))));
    }
    Ok(link)
}

/// A link over any way to make sessions.
fn assemble(
    config: LinkConfig,
    intake: Intake,
    notices: Notices,
    dial: Box<dyn wire::Dial>,
) -> (Link, Arc<Shared>) {
    let (stop, stopped) = watch::channel(false);
    let (writes, queue) = mpsc::channel(WRITES_MAX);
    let (beats, beat) = watch::channel(None);
    let addresses = 1 + config.standby.len();
    let shared = Arc::new(Shared {
        clock: intake.clock(),
        intake,
        notices,
        config,
        counters: Counters::default(),
        status: Mutex::new(LinkStatus { addresses, ..LinkStatus::default() }),
        gate: Mutex::new(None),
        known: Mutex::default(),
        book: backfill::Book::default(),
        server: Mutex::default(),
        news: Notify::new(),
        stop: stopped,
    });
    let tasks: Vec<(&'static str, Task)> = vec![
        ("session", Box::pin(session::run(Arc::clone(&shared), dial))),
        ("writes", Box::pin(write::run(Arc::clone(&shared), queue))),
        ("heartbeat", Box::pin(heartbeat::run(Arc::clone(&shared), beat))),
    ];
    let view = View { shared: Arc::clone(&shared) };
    (Link { port: Port { writes, beats }, view, stop, tasks }, shared)
}

/// How the scan thread sends. Never blocks.
#[derive(Clone, Debug)]
pub struct Port {
    writes: mpsc::Sender<ApprovedWrite>,
    beats: watch::Sender<Option<u32>>,
}

impl Port {
    /// A port without a link, with what comes out of it; for tests and simulations.
    #[must_use]
    pub fn open_ended() -> (Self, mpsc::Receiver<ApprovedWrite>, watch::Receiver<Option<u32>>) {
        let (writes, queue) = mpsc::channel(WRITES_MAX);
        let (beats, beat) = watch::channel(None);
        (Self { writes, beats }, queue, beat)
    }

    /// Queues a write. Policy: [`WRITES_MAX`], in order; when full or when the link has ended,
    /// the number of the write comes back and it was not sent.
    ///
    /// # Errors
    /// The write's number.
    pub fn write(&self, write: ApprovedWrite) -> Result<(), u64> {
        self.writes.try_send(write).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(write) | mpsc::error::TrySendError::Closed(write) => {
                write.seq()
            }
        })
    }

    /// Sends a life sign. Policy: latest.
    pub fn heartbeat(&self, beat: u32) {
        self.beats.send_replace(Some(beat));
    }
}

/// The link as others see it.
#[derive(Clone)]
pub struct View {
    shared: Arc<Shared>,
}

impl View {
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> LinkStatus {
        let mut status = lock(&self.shared.status).clone();
        status.counts = self.shared.counters.read();
        status.filling = self.shared.book.filling();
        status
    }

    /// Has a span of time read from the PLC's own history once the link stands; false where nothing
    /// ever is.
    #[must_use]
    pub fn fill_gap(&self, from: Utc, to: Utc) -> bool {
        self.shared.book.ask(from, to)
    }

    /// Tells each problem as it comes (true) and goes (false), until the link stops.
    pub fn tell_problems(&self, tell: impl Fn(&Problem, bool) + Send + 'static) -> Task {
        let shared = Arc::clone(&self.shared);
        let mut stop = shared.stop.clone();
        Box::pin(async move {
            let mut told: Vec<Problem> = Vec::new();
            while !*stop.borrow() {
                let news = shared.news.notified();
                let now = lock(&shared.status).problems.clone();
                told.iter().filter(|old| !now.contains(old)).for_each(|old| tell(old, false));
                now.iter().filter(|new| !told.contains(new)).for_each(|new| tell(new, true));
                told = now;
                tokio::select! {
                    () = stopped(&mut stop) => {}
                    () = news => {}
                }
            }
        })
    }

    /// Waits until `wanted` holds of the status.
    ///
    /// # Errors
    /// The status as it stands when `within` is over.
    pub async fn wait_for(
        &self,
        within: Duration,
        wanted: impl Fn(&LinkStatus) -> bool,
    ) -> Result<LinkStatus, LinkStatus> {
        let wait = async {
            loop {
                let news = self.shared.news.notified();
                let status = self.status();
                if wanted(&status) {
                    return status;
                }
                // Counters change without news.
                drop(tokio::time::timeout(Duration::from_millis(20), news).await);
            }
        };
        tokio::time::timeout(within, wait).await.map_err(|_| self.status())
    }
}

/// Waits for the stop; an end of its sender is one, too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Whether something of age `now - since` is over its `ttl`.
fn expired(now: Mono, since: Mono, ttl: Span) -> bool {
    now - since > ttl
}
