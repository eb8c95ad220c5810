//! Maintenance: a thread that follows the recorder and keeps alarms, cases and work orders.
//!
//! - [`faults`]: what is watched.
//! - [`findings`]: what technicians found, as labels.
//! - [`notices`]: those who bring notices of alarms to people.
//! - [`plant`]: stock and people, from the plant's own tables.
//! - [`message`]: what people ask for, over the control socket.
//! - `wake`: webhooks of the system, which bring the next poll.
//!
//! The loop shares nothing with it but the disk: it reads what the recorder committed, and writes a
//! file of its own (`work.db`). The rounds are those of `trimloop_orders::engine`.

pub mod faults;
pub mod findings;
pub mod message;
pub mod notices;
pub mod plant;
mod wake;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{debug, warn};
use trimloop_cmms::wake::Listener;
use trimloop_cmms::{Connector, Sender, WorkSystem, connect};
use trimloop_core::time::Utc;
use trimloop_orders::book::Book;
use trimloop_orders::engine::{Ask, Engine, EngineError, Setup};

use crate::clock::Clock;
use crate::error::chain;
use crate::notice::Notices;
use crate::output::Zone;
use crate::settings::{Channel, WorkSettings};
use notices::{Came, Couriers};

/// Pause between two looks at the recorder, which commits once a second.
pub const LOOK: Duration = Duration::from_secs(1);
/// People's questions that may wait.
const ASKS_MAX: usize = 16;
/// How long a person waits for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(8);

/// What a desk needs.
#[derive(Debug)]
pub struct DeskOptions {
    /// The data folder, with the store in it.
    pub data: PathBuf,
    /// What is watched, and how.
    pub setup: Setup,
    /// All times.
    pub clock: Clock,
    /// Pause between two looks at the recorder.
    pub look: Duration,
    /// The system that keeps the orders; `None` for the built-in book. A simulated cell has none,
    /// whatever stands here.
    pub connector: Option<Connector>,
    /// Where refused webhooks are told.
    pub notices: Notices,
    /// What the plant says of its codes, assets, people and stock.
    pub plant: WorkSettings,
    /// Who is told of alarms away from the page. Those of a simulated cell are files beside its
    /// data, whatever stands here.
    pub channels: Vec<Channel>,
    /// Name of the cell in notices.
    pub cell: String,
}

/// Opens the desk with its system.
type Opens = fn(&DeskOptions, Utc) -> Result<Engine, EngineError>;

/// A desk that runs; dropping it ends the thread after its round.
#[derive(Debug)]
pub struct Desk {
    notes: SyncSender<Note>,
    thread: Option<JoinHandle<()>>,
    setup: Setup,
}

/// For those who ask.
#[derive(Clone, Debug)]
pub struct DeskHandle {
    notes: SyncSender<Note>,
    names: Vec<(String, trimloop_work::key::Fingerprint)>,
}

#[derive(Debug)]
enum Note {
    Question(Question),
    Came(Came),
    Stop,
}

#[derive(Debug)]
struct Question {
    ask: Ask,
    actor: String,
    answer: SyncSender<Result<String, String>>,
}

impl Desk {
    /// Starts the desk of a cell, with its orders where the options say.
    ///
    /// # Errors
    /// When the system gives no thread. A file that cannot be used is tried again.
    pub fn start(options: DeskOptions) -> std::io::Result<Self> {
        let (notes, inbox) = sync_channel(ASKS_MAX);
        let (channels, clock) = (&options.channels, options.clock);
        let couriers = Couriers::live(channels, &sender(&options), clock, &tells(&notes))?;
        let woken = Arc::new(AtomicBool::new(false));
        let wake = options.connector.as_ref().and_then(|connector| connector.wake.clone());
        let listener = wake.and_then(|wake| wake::listen(wake, &options, &woken));
        let beside = Beside { couriers, woken, _listener: listener };
        Self::spawn(options, live, beside, (notes, inbox))
    }

    /// The same for a simulated cell: its orders stay on this machine, whatever the settings say.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn simulated(options: DeskOptions) -> std::io::Result<Self> {
        let (notes, inbox) = sync_channel(ASKS_MAX);
        let (data, channels, clock) = (&options.data, &options.channels, options.clock);
        let tells = tells(&notes);
        let couriers = Couriers::simulated(data, channels, &sender(&options), clock, &tells)?;
        let beside = Beside { couriers, woken: Arc::default(), _listener: None };
        Self::spawn(options, simulated, beside, (notes, inbox))
    }

    fn spawn(
        mut options: DeskOptions,
        opens: Opens,
        beside: Beside,
        (notes, inbox): (SyncSender<Note>, Receiver<Note>),
    ) -> std::io::Result<Self> {
        options.setup.channels = notices::plans(&options.channels);
        let setup = options.setup.clone();
        let thread = std::thread::Builder::new()
            .name("work".to_owned())
            .spawn(move || run(&options, &inbox, opens, &beside))?;
        Ok(Self { notes, thread: Some(thread), setup })
    }

    /// For those who ask.
    #[must_use]
    pub fn handle(&self) -> DeskHandle {
        DeskHandle { notes: self.notes.clone(), names: faults::names(&self.setup) }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // It fails only when the thread has ended already.
        drop(self.notes.send(Note::Stop));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The work desk's thread ended by itself.");
        }
    }
}

impl DeskHandle {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn ask(&self, ask: Ask, actor: &str) -> Result<String, String> {
        let (answer, said) = sync_channel(1);
        let question = Question { ask, actor: actor.to_owned(), answer };
        self.notes.try_send(Note::Question(question)).map_err(|error| match error {
            TrySendError::Full(_) => "the work desk is busy; ask again".to_owned(),
            TrySendError::Disconnected(_) => "the work desk has ended".to_owned(),
        })?;
        let late = |_| "the work desk did not answer in 8 s; look with `trimloop work list`";
        said.recv_timeout(ANSWER_MAX).map_err(late)?
    }

    /// The faults that are watched, by name.
    #[must_use]
    pub fn names(&self) -> &[(String, trimloop_work::key::Fingerprint)] {
        &self.names
    }
}

fn sender(options: &DeskOptions) -> Sender {
    // People read it where the machine is.
    Sender { cell: options.cell.clone(), when: |at| Zone::Local.text(at.as_nanos(), 0) }
}

/// How a courier tells the desk; false when the desk has ended.
fn tells(notes: &SyncSender<Note>) -> impl Fn(Came) -> bool + Clone + Send + use<> {
    let notes = notes.clone();
    move |came| notes.send(Note::Came(came)).is_ok()
}

fn live(options: &DeskOptions, now: Utc) -> Result<Engine, EngineError> {
    let setup = options.setup.clone();
    let Some(connector) = &options.connector else {
        return Engine::with_book(&options.data, setup, now);
    };
    let system = system(connector, options.clock)?;
    Engine::open(&options.data, Setup { poll: connector.poll, ..setup }, system, now)
}

/// The system that the settings name; nothing is asked yet.
///
/// # Errors
/// [`EngineError::System`] for what does not fit its product.
pub fn system(connector: &Connector, clock: Clock) -> Result<Box<dyn WorkSystem>, EngineError> {
    let system = connect(connector, Arc::new(move || clock.utc()));
    system.map_err(|error| EngineError::System(error.to_string()))
}

fn simulated(options: &DeskOptions, now: Utc) -> Result<Engine, EngineError> {
    let setup = options.setup.clone();
    let book = Book::open(&options.data, &setup.stamp)?;
    Engine::simulated(&options.data, setup, book, now)
}

/// What works beside the desk, and ends with it.
struct Beside {
    couriers: Couriers,
    /// A webhook came since the last round.
    woken: Arc<AtomicBool>,
    _listener: Option<Listener>,
}

fn run(options: &DeskOptions, inbox: &Receiver<Note>, opens: Opens, beside: &Beside) {
    let mut engine: Option<Engine> = None;
    let mut trouble: Option<String> = None;
    let mut labeller = Labeller::default();
    let mut silence = Silence::default();
    loop {
        if let Some(engine) = &mut engine
            && beside.woken.swap(false, Ordering::Relaxed)
        {
            engine.wake();
        }
        let done = step(options, &mut engine, opens, &beside.couriers);
        if let Some(engine) = &engine {
            labeller.look(options, engine);
            silence.look(options, engine);
        }
        match &done {
            Err(error) => {
                let why = chain(error);
                if trouble.as_ref() != Some(&why) {
                    warn!(why, "The work desk cannot go on; it tries again.");
                }
                trouble = Some(why);
                // What is on disk counts.
                engine = None;
            }
            Ok(_) if trouble.take().is_some() => debug!("The work desk goes on."),
            Ok(_) => {}
        }
        let pause = if matches!(done, Ok(true)) { Duration::ZERO } else { options.look };
        match inbox.recv_timeout(pause) {
            Ok(Note::Stop) => return,
            Ok(Note::Question(question)) => {
                let said = match &mut engine {
                    Some(engine) => engine.ask(&question.ask, &question.actor, options.clock.utc()),
                    None => Err("the work desk cannot use its files now".to_owned()),
                };
                // Who asked may have gone.
                drop(question.answer.try_send(said));
            }
            // Without an engine its files say that it is under way: it is sent again.
            Ok(Note::Came(Came { channel, id, how })) => {
                if let Some(engine) = &mut engine {
                    engine.noticed(&channel, &id, &how);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Tells people when nobody knows what becomes of the orders, and when that is over.
#[derive(Debug, Default)]
struct Silence {
    is_told: bool,
}

impl Silence {
    fn look(&mut self, options: &DeskOptions, engine: &Engine) {
        let (name, _) = engine.system();
        match engine.trouble() {
            Some(why) if !self.is_told => {
                warn!(system = name, why, "What became of the work orders is not known.");
                let sentence = format!(
                    "{name} does not answer what became of the work orders: {why}. None is lost; \
                     `trimloop connector test cmms` tries it."
                );
                options.notices.tell("cmms_failing", "cmms", sentence);
                self.is_told = true;
            }
            None if self.is_told => {
                let sentence = format!("{name} answers again what became of the work orders.");
                options.notices.tell("cmms_recovered", "cmms", sentence);
                self.is_told = false;
            }
            _ => {}
        }
    }
}

/// Hands on what technicians found.
#[derive(Debug, Default)]
struct Labeller {
    /// Up to which change of the outcomes it was handed on.
    given: Option<u64>,
    trouble: Option<String>,
}

impl Labeller {
    fn look(&mut self, options: &DeskOptions, engine: &Engine) {
        let newest = Some(engine.outcomes_at());
        if self.given == newest {
            return;
        }
        let (data, codes) = (&options.data, &options.plant.codes);
        let why = match engine.outcomes() {
            Ok(outcomes) => match findings::give(data, &outcomes, codes, options.clock.utc()) {
                Ok(_) => {
                    (self.given, self.trouble) = (newest, None);
                    return;
                }
                Err(error) => chain(&error),
            },
            Err(error) => chain(&error),
        };
        // It is tried again with each round, and told once.
        if self.trouble.as_ref() != Some(&why) {
            warn!(why, "What technicians found could not be kept as labels; it is tried again.");
            self.trouble = Some(why);
        }
    }
}

/// One round; opens what is not open.
fn step(
    options: &DeskOptions,
    engine: &mut Option<Engine>,
    opens: Opens,
    couriers: &Couriers,
) -> Result<bool, EngineError> {
    let now = options.clock.utc();
    if engine.is_none() {
        *engine = Some(opens(options, now)?);
    }
    let Some(engine) = engine else { return Ok(false) };
    let more = engine.round(now)?;
    for notice in engine.notices()? {
        if let Some(Came { channel, id, how }) = couriers.carry(notice) {
            engine.noticed(&channel, &id, &how);
        }
    }
    Ok(more)
}
