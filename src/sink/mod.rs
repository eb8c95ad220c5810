//! History to InfluxDB: a durable cursor over the store, and no second copy.
//!
//! - [`measurements`]: the one table of what is sent.
//! - `reader` reads whole flushes behind the cursors; `line` makes lines of them.
//! - `engine` sends, waits, halves and holds; `answer` says what an answer means; `dead` keeps
//!   what a server refuses; `client` makes the requests.
//!
//! The way back: `query` asks an InfluxDB for rows, for models; nothing live uses it.
//!
//! Everything else runs on one thread of low priority with memory for one batch; the loop shares
//! nothing with it but the disk. A row is dropped in two cases only, both counted and told: it is
//! older than `max_age`, or its history file is gone.

mod answer;
mod client;
mod dead;
mod engine;
mod line;
pub mod measurements;
mod probe;
mod query;
mod reader;

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, warn};
use trimloop_core::time::Span;

use self::answer::Answer;
use self::client::{Client, REQUEST_MAX};
use self::dead::DeadLetters;
use self::engine::{Engine, Limits, PROBE, Server, Step};
use self::line::Origin;
use self::reader::{ReadError, Reader};
use crate::clock::{Clock, wait_of};
use crate::error::chain;
use crate::intake::lock;
use crate::notice::Notices;
use crate::settings::InfluxSettings;
use crate::store::StoreSender;

pub(crate) use client::{ClientError, certificates, secret};
pub use engine::{SinkState, SinkStatus};
pub use probe::{Probe, ProbeError, Resent, dead_letters, probe, resend};
pub use query::{Block, QueryError, query, quoted};

/// The sink's name: in cursors, counters and commands.
pub const INFLUX: &str = "influx";
/// Pause when nothing waits; the store commits once a second.
const IDLE: Duration = Duration::from_secs(1);
/// Most lines a second, so that catching up leaves the machine to the loop.
const LINES_PER_SECOND: u32 = 100_000;
/// Cursors are saved so often.
const SAVE: Span = Span::from_secs(1);
/// Longest sleep without a look at the store.
const SLICE: Duration = Duration::from_secs(30);
/// How long a stop waits for a request in flight; later it is simply sent again.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Behind everything else on the machine.
const NICE: i32 = 10;

/// What a sink needs.
#[derive(Debug)]
pub struct SinkOptions {
    /// Where to.
    pub settings: InfluxSettings,
    /// The data folder, with the store in it.
    pub data: PathBuf,
    /// For the cursors.
    pub store: StoreSender,
    /// For people.
    pub notices: Notices,
    /// All times.
    pub clock: Clock,
    /// How long things take; a test is less patient.
    pub pace: Pace,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Longest time of a request.
    pub request_max: Duration,
    /// Pause between two looks at a server that a person must set right.
    pub probe: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { request_max: REQUEST_MAX, probe: PROBE }
    }
}

/// A sink that runs.
#[derive(Debug)]
pub struct Sink {
    view: SinkView,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

/// What a sink does, for those who only look.
#[derive(Clone, Debug)]
pub struct SinkView {
    /// Its name.
    pub name: &'static str,
    /// Where it sends to.
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    status: Mutex<SinkStatus>,
    stop: Mutex<bool>,
    wake: Condvar,
}

impl Shared {
    /// Waits so long, or until a stop; true for a stop.
    fn pause(&self, longest: Duration) -> bool {
        let stop = lock(&self.stop);
        let waited = self.wake.wait_timeout_while(stop, longest, |stop| !*stop);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl SinkView {
    /// A snapshot.
    #[must_use]
    pub fn status(&self) -> SinkStatus {
        lock(&self.shared.status).clone()
    }
}

impl Sink {
    /// Starts the thread. A server that is not there, or a secret that cannot be read, is no
    /// error: rows wait.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(options: SinkOptions) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let url = options.settings.url.clone();
        let view = SinkView { name: INFLUX, url, shared: Arc::clone(&shared) };
        let (done, ended) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("sink-influx".to_owned())
            .spawn(move || run(&options, &shared, done))?;
        Ok(Self { view, ended })
    }

    /// For those who only look.
    #[must_use]
    pub fn view(&self) -> SinkView {
        self.view.clone()
    }

    /// Ends the thread. A request in flight may outlive this by seconds; its lines are sent again
    /// at the next start.
    pub fn stop(self) {
        *lock(&self.view.shared.stop) = true;
        self.view.shared.wake.notify_all();
        if self.ended.recv_timeout(STOP_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            debug!("A request to InfluxDB is still in flight.");
        }
    }
}

impl Server for Client {
    fn write(&mut self, lines: &str) -> Answer {
        Self::write(self, lines)
    }
}

/// A server that cannot even be asked, for a reason that a person must set right.
struct Unprepared(String);

impl Server for Unprepared {
    fn write(&mut self, _lines: &str) -> Answer {
        Answer::Local(self.0.clone())
    }
}

fn run(options: &SinkOptions, shared: &Shared, done: SyncSender<()>) {
    // On Linux this is the priority of the calling thread alone.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        warn!(%error, "The InfluxDB sink runs at the priority of the service.");
    }
    if options.settings.url.starts_with("http://") && !is_loopback(&options.settings.url) {
        warn!(
            url = options.settings.url,
            "Rows and secrets go to InfluxDB unencrypted; use https where others share the network."
        );
    }
    let Some(mut engine) = prepared(options, shared) else { return };
    let mut client = Client::new(&options.settings, options.pace.request_max);
    let mut saved = options.clock.mono();
    loop {
        let began = options.clock.now();
        let step = match &mut client {
            Ok(client) => engine.step(began, client),
            Err(error) => engine.step(began, &mut Unprepared(error.to_string())),
        };
        if engine.status.state == SinkState::Held {
            // Its certificates may be set right meanwhile.
            client = Client::new(&options.settings, options.pace.request_max);
        }
        let now = options.clock.mono();
        if now - saved >= SAVE {
            saved = now;
            save(options, &mut engine);
        }
        let pause = match step {
            Step::Idle => IDLE,
            Step::Sent(lines) => {
                let lines = u32::try_from(lines).unwrap_or(u32::MAX);
                let least = Duration::from_secs(1) * lines / LINES_PER_SECOND;
                least.saturating_sub(wait_of(now - began.mono))
            }
            Step::Wait(pause) => pause,
        };
        if rest(options, shared, &mut engine, pause) {
            break;
        }
    }
    save(options, &mut engine);
    drop(done);
}

/// The engine behind its cursors; `None` when the service ends first.
fn prepared(options: &SinkOptions, shared: &Shared) -> Option<Engine> {
    loop {
        match open(options) {
            Ok(engine) => return Some(engine),
            Err(why) => {
                warn!(why, "The InfluxDB sink cannot read the store; it tries again.");
                let mut status = lock(&shared.status);
                status.state = SinkState::Retrying;
                status.why = Some(why);
            }
        }
        if shared.pause(PROBE) {
            return None;
        }
    }
}

fn open(options: &SinkOptions) -> Result<Engine, String> {
    let settings = &options.settings;
    let origin = Origin { cell: settings.cell.clone(), site: settings.site.clone() };
    let reader =
        Reader::open(&options.data, INFLUX, origin).map_err(|error: ReadError| chain(&error))?;
    let dead = DeadLetters::open(&options.data, INFLUX)
        .map_err(|error| format!("the dead-letter folder cannot be read: {error}"))?;
    let limits = Limits {
        dialect: settings.dialect,
        lines_max: settings.batch,
        max_age: settings.max_age,
        probe: options.pace.probe,
    };
    let seed = options.clock.utc().as_nanos().unsigned_abs();
    Ok(Engine::new(limits, reader, dead, seed).with_store(options.store.clone()))
}

/// Shows and tells what happened, and waits; true when the service ends.
fn rest(options: &SinkOptions, shared: &Shared, engine: &mut Engine, pause: Duration) -> bool {
    let begun = options.clock.mono();
    loop {
        for (code, sentence) in engine.tells.drain(..) {
            warn!(code, "{sentence}");
            options.notices.tell(code, INFLUX, sentence);
        }
        lock(&shared.status).clone_from(&engine.status);
        let left = pause.saturating_sub(wait_of(options.clock.mono() - begun));
        if shared.pause(left.min(SLICE)) {
            return true;
        }
        if left <= SLICE {
            return false;
        }
        engine.look(options.clock.now());
    }
}

fn save(options: &SinkOptions, engine: &mut Engine) {
    for (source, seq) in engine.reader.unsaved() {
        options.store.cursor(INFLUX, &source, seq);
    }
}

/// Whether an address is on this machine.
#[must_use]
pub fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    host == "localhost"
        || host.starts_with("localhost:")
        || host.starts_with("127.")
        || host.starts_with("[::1]")
}
