//! One round of the desk: rows in, state on disk, requests out, news in; and what people ask for.

mod counting;
mod notices;
mod polls;

pub use polls::{POLL_FAILED, POLLED};

use std::collections::BTreeMap;
use std::path::Path;

use trimloop_cmms::{Remote, Trouble, WorkSystem};
use trimloop_core::time::{Span, Utc};
use trimloop_work::desk::{Case, Closing, DeskPlan, OrderState, Told};
use trimloop_work::key::{ExtKey, Fingerprint};
use trimloop_work::notify::{ChannelPlan, Notify, NotifyState};
use trimloop_work::outbox::{Operation, Request, Row as OutboxRow, Sent, Terms};
use trimloop_work::watch::{Says, Seen, Trigger, Watched};
use trimloop_work::works::{Relations, Works, WorksState};

use crate::base::{Base, BaseError, News, Stored, ToldLine, VERSION};
use crate::book::{Act, Book, Stamp};
use crate::draft::{Origin, draft};
use crate::findings::{Outcome, kept};
use crate::meters::{MeterPlan, Meters, PlanRule};
use crate::rows::{Cursor, ReadError, Recorder, Row, What};

/// Longest time that an alarm may be put aside.
pub const SHELVE_MAX: Span = Span::from_secs(8 * 3600);
/// A system that a person must set right is asked again after so long.
const PAUSE: Span = Span::from_secs(60);
/// News that arrive late are asked for again so far back.
const POLL_BACK: Span = Span::from_secs(600);
/// A request that surely did not happen is tried again after so long, at first and at most.
const RETRY: (Span, Span) = (Span::from_secs(1), Span::from_secs(60));

/// Where a loop's trim begins, and how far it goes [unit of its setpoint].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trim {
    /// Baseline.
    pub baseline: f64,
    /// Most distance from it, > 0.
    pub most: f64,
}

/// What a desk is about.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Faults that are watched.
    pub faults: Vec<Watched>,
    /// What rests on what.
    pub relations: Relations,
    /// How cases are worked.
    pub plan: DeskPlan,
    /// Waits of the outbox.
    pub terms: Terms,
    /// What orders say.
    pub origin: Origin,
    /// By loop.
    pub trims: BTreeMap<String, Trim>,
    /// The system is asked for news so often.
    pub poll: Span,
    /// How times are shown.
    pub utc_text: fn(Utc) -> String,
    /// The desk's time: where it begins, and how many times faster than the machine's it runs. A
    /// simulated cell whose parts take milliseconds waits for proofs in its own time.
    pub pace: (Utc, i64),
    /// The time that the book's orders carry.
    pub stamp: Stamp,
    /// Meters that the system keeps; the book keeps none.
    pub meters: MeterPlan,
    /// Work that is due by a meter.
    pub plans: Vec<PlanRule>,
    /// Who is told of alarms away from the page.
    pub channels: Vec<ChannelPlan>,
}

/// A system whose orders stay on this machine: the only kind that a simulated cell may have.
///
/// ```compile_fail,E0277
/// fn of_simulation(maker: impl Fn() -> Box<dyn trimloop_cmms::WorkSystem>) {
///     fn takes(_: impl trimloop_orders::engine::StaysHere) {}
///     takes(maker());
/// }
/// ```
///
/// ```
/// fn of_simulation(book: trimloop_orders::book::Book) {
///     fn takes(_: impl trimloop_orders::engine::StaysHere) {}
///     takes(book);
/// }
/// ```
pub trait StaysHere: WorkSystem + 'static {}

impl StaysHere for Book {}

/// Why the desk cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Its own file.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The recorder's.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The system that keeps the orders cannot be used as the settings say.
    #[error("the work orders go nowhere: {0}")]
    System(String),
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// He knows of an alarm.
    Acknowledge(Fingerprint),
    /// It is put aside for so long.
    Shelve(Fingerprint, Span),
    /// It is taken back.
    Unshelve(Fingerprint),
    /// A draft becomes an order.
    Approve(Fingerprint),
    /// Things stay as they are: the case ends.
    Accept(Fingerprint),
    /// The repair helped: the proof ends early.
    Verify(Fingerprint),
    /// A request that was refused is sent again.
    Retry(u64),
    /// Something is done with an order of the book.
    Order(ExtKey, Act),
}

/// The desk of a cell.
pub struct Engine {
    setup: Setup,
    base: Base,
    recorder: Recorder,
    works: Works,
    notify: Notify,
    cursor: Cursor,
    at: Utc,
    polled: Utc,
    system: Box<dyn WorkSystem>,
    /// The same orders for people, where the system is the built-in book.
    book: Option<Book>,
    /// Open cases as they were, for what is kept of them when they close.
    known: BTreeMap<ExtKey, Case>,
    news: News,
    /// A person must set something right; nothing is sent before then.
    paused: Option<(Utc, String)>,
    next_poll: Utc,
    /// When the system was last asked for news.
    last_poll: Utc,
    /// Newest part that a row named; 0 before the first.
    part: i64,
    /// What came of orders that may still change.
    outcomes: BTreeMap<ExtKey, Outcome>,
    /// Grows with each change of those.
    outcomes_at: u64,
    meters: Meters,
    /// Parts are counted again then.
    next_count: Utc,
    /// Polls in a row that failed, and why the last one did.
    failing: Option<(u32, String)>,
    /// Words of orders that were told not to be known.
    strange: BTreeMap<ExtKey, String>,
    /// Looks that did not find an order any more.
    missing: BTreeMap<ExtKey, u32>,
    /// Who works on an open order, as the system said last.
    assignees: BTreeMap<ExtKey, String>,
    /// What is on disk, and since when.
    saved: Option<(WorksState, NotifyState, Utc)>,
}

impl Engine {
    /// The desk of a data folder with any system.
    ///
    /// # Errors
    /// [`EngineError`] when a file cannot be read, or holds what this version did not write.
    pub fn open(
        data: &Path,
        setup: Setup,
        system: Box<dyn WorkSystem>,
        now: Utc,
    ) -> Result<Self, EngineError> {
        Self::with(data, setup, system, None, now)
    }

    /// The desk of a data folder with the built-in book.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_book(data: &Path, setup: Setup, now: Utc) -> Result<Self, EngineError> {
        let system = Box::new(Book::open(data, &setup.stamp)?);
        let book = Book::open(data, &setup.stamp)?;
        Self::with(data, setup, system, Some(book), now)
    }

    /// The desk of a simulated cell: its orders stay here.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn simulated(
        data: &Path,
        setup: Setup,
        system: impl StaysHere,
        now: Utc,
    ) -> Result<Self, EngineError> {
        let book = Book::open(data, &setup.stamp)?;
        Self::with(data, setup, Box::new(system), Some(book), now)
    }

    fn with(
        data: &Path,
        setup: Setup,
        system: Box<dyn WorkSystem>,
        book: Option<Book>,
        now: Utc,
    ) -> Result<Self, EngineError> {
        let mut base = Base::open(data)?;
        let recorder = Recorder::new(data);
        let (faults, relations) = (setup.faults.clone(), setup.relations.clone());
        let (plan, terms) = (setup.plan, setup.terms);
        let now = paced(setup.pace, now);
        let (works, told, cursor, at, polled, part, meters) = match base.stored()? {
            None => {
                let works = Works::new(faults, relations, plan, terms);
                let told = NotifyState::default();
                (works, told, recorder.begin()?, now, now, 0, Meters::default())
            }
            Some(stored) => {
                let at = now.max(Utc::from_nanos(stored.at));
                let works = Works::restore(faults, relations, plan, terms, stored.works, at);
                let broken = |why| BaseError::Broken { path: data.join(crate::base::FILE), why };
                let mut works = works.map_err(broken)?;
                works.desk.recover(at);
                let polled = Utc::from_nanos(stored.polled);
                let Stored { notify, cursor, part, meters, .. } = stored;
                (works, notify, cursor, at, polled, part, meters)
            }
        };
        let notify = notices::restored(&setup, told, &works, at);
        let mut engine = Self {
            setup,
            base,
            recorder,
            works,
            notify,
            cursor,
            at,
            polled,
            system,
            book,
            known: BTreeMap::new(),
            news: News::default(),
            paused: None,
            next_poll: at,
            last_poll: at - polls::WOKEN,
            part,
            meters,
            next_count: at,
            outcomes: BTreeMap::new(),
            outcomes_at: 0,
            failing: None,
            strange: BTreeMap::new(),
            missing: BTreeMap::new(),
            assignees: BTreeMap::new(),
            saved: None,
        };
        engine.know();
        let source = engine.system.name().to_owned();
        for key in engine.known.keys() {
            let found = engine.base.outcome(*key, &source)?;
            engine.outcomes.extend(found.map(|found| (*key, found)));
        }
        engine.recall_polls()?;
        engine.save()?;
        Ok(engine)
    }

    /// Alarms, cases and requests.
    pub fn works(&self) -> &Works {
        &self.works
    }

    /// What counts.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Name of the system, and why nothing is sent to it, if a person must set something right.
    pub fn system(&self) -> (&str, Option<&str>) {
        (self.system.name(), self.paused.as_ref().map(|(_, why)| why.as_str()))
    }

    /// A number that grows with each change of what came of orders.
    pub fn outcomes_at(&self) -> u64 {
        self.outcomes_at
    }

    /// What came of all orders so far.
    ///
    /// # Errors
    /// [`BaseError`].
    pub fn outcomes(&self) -> Result<Vec<Outcome>, BaseError> {
        self.base.outcomes()
    }

    /// One round; true when there may be more to read at once.
    ///
    /// # Errors
    /// [`EngineError`]; what was read is read again then.
    pub fn round(&mut self, now: Utc) -> Result<bool, EngineError> {
        let rows = self.recorder.after(self.cursor)?;
        let more = !rows.is_empty();
        for row in &rows {
            self.take(row);
        }
        if !more {
            // Rows that are still to come may be older than the clock.
            self.at = self.at.max(paced(self.setup.pace, now));
        }
        self.works.tick(self.at);
        self.hear();
        self.save()?;
        self.send()?;
        self.poll()?;
        self.count();
        self.tell_meters()?;
        self.works.tick(self.at);
        self.hear();
        self.write_notices()?;
        self.save()?;
        Ok(more)
    }

    fn take(&mut self, row: &Row) {
        self.at = self.at.max(paced(self.setup.pace, Utc::from_nanos(row.utc)));
        self.works.tick(self.at);
        self.hear();
        if row.part != 0 {
            self.part = row.part;
        }
        let (says, sentence) = match &row.what {
            What::Event(event) => {
                self.cursor.event = event.id;
                (Says::Event(&event.code, &event.subject, &event.detail), event.sentence.as_str())
            }
            What::Decision(decision) => {
                self.cursor.decision = (row.boot, decision.number);
                let is_ours = ["auto", "advisory"].contains(&decision.mode.as_str());
                let trim = self.setup.trims.get(&decision.of_loop).filter(|_| is_ours);
                let used = trim.zip(decision.read_back);
                let used = used.map(|(t, at)| 100.0 * (at - t.baseline).abs() / t.most);
                if let Some(used) = used {
                    self.meters.uses(&decision.of_loop, used);
                }
                let limits = ["absolute", "trim", "plc", "authority"];
                let level = Says::Level {
                    of_loop: &decision.of_loop,
                    used_percent: used,
                    at_limit: limits.contains(&decision.cut.as_str()),
                };
                (level, "")
            }
        };
        let seen = Seen { boot: row.boot, at: self.at, part: row.part, says };
        let begun = self.works.take(&seen, sentence);
        for fingerprint in begun {
            let Some(evidence) = self.works.evidence.get_mut(&fingerprint) else { continue };
            if let Says::Level { of_loop, used_percent: Some(used), .. } = says {
                evidence.lines.push(format!("{of_loop} uses {used:.0} % of its trim."));
            }
            // A reading or a link has none; and those may come and go by the thousand.
            let trigger = self.works.watch.fault(fingerprint).map(|fault| &fault.trigger);
            if !matches!(trigger, Some(Trigger::Sensor(_) | Trigger::Link(_))) {
                evidence.lines.extend(self.recorder.contributions(row.part, row.utc));
            }
        }
        self.hear();
    }

    /// What a person asks for; what to tell him.
    ///
    /// # Errors
    /// Why not, for people; or the file, as a sentence.
    pub fn ask(&mut self, ask: &Ask, actor: &str, now: Utc) -> Result<String, String> {
        self.at = self.at.max(paced(self.setup.pace, now));
        let at = self.at;
        let no_alarm = || "there is no alarm of this name".to_owned();
        let done = |done: bool, what: &str, else_: &str| {
            if done { Ok(what.to_owned()) } else { Err(else_.to_owned()) }
        };
        let works = &mut self.works;
        let said = match ask {
            Ask::Acknowledge(of) => {
                works.acknowledge(*of, at).then(|| "acknowledged".to_owned()).ok_or_else(no_alarm)
            }
            Ask::Shelve(_, long) if *long > SHELVE_MAX || *long <= Span::ZERO => {
                Err("an alarm is put aside for at most 8 h".to_owned())
            }
            Ask::Shelve(of, long) => works
                .shelve(*of, at + *long, at)
                .then(|| format!("put aside until {}", (self.setup.utc_text)(at + *long)))
                .ok_or_else(no_alarm),
            Ask::Unshelve(of) => {
                works.unshelve(*of, at).then(|| "taken back".to_owned()).ok_or_else(no_alarm)
            }
            Ask::Approve(of) => done(
                works.desk.approve(*of, at),
                "approved: the order is on its way",
                "there is no draft that waits for approval, nor an order that was called off",
            ),
            Ask::Accept(of) => done(
                works.desk.accept(*of, at),
                "accepted: the case is closed",
                "the case has an order: who works on it closes that first",
            ),
            Ask::Verify(of) => done(
                works.desk.verify(*of, at),
                "proven: the case is closed",
                "it takes an order that is done, and a condition that is gone",
            ),
            Ask::Retry(row) => done(
                works.desk.retry(*row, at),
                "it is sent again",
                "no refused request has this number",
            ),
            Ask::Order(key, act) => self.order(*key, act, actor),
        }?;
        self.hear();
        let failed = |error: EngineError| error.to_string();
        self.save().map_err(failed)?;
        self.next_poll = at;
        self.poll().map_err(failed)?;
        self.hear();
        self.save().map_err(failed)?;
        Ok(said)
    }

    fn order(&mut self, key: ExtKey, act: &Act, actor: &str) -> Result<String, String> {
        let Some(book) = &mut self.book else {
            let name = self.system.name();
            return Err(format!("the orders are kept in {name}: change them there"));
        };
        self.setup.stamp.set(self.at);
        book.act(key, act, actor).map(|state| format!("order {key} is {}", state.word()))
    }

    /// Everything that may go out goes out. Each request is on disk before it leaves.
    fn send(&mut self) -> Result<(), EngineError> {
        if self.paused.as_ref().is_some_and(|(until, _)| self.at < *until) {
            return Ok(());
        }
        while let Some(request) = self.works.desk.take(self.at) {
            self.save()?;
            self.setup.stamp.set(self.at);
            let (Request::Send(row) | Request::Search(row)) = &request;
            let answered = match &request {
                Request::Send(row) => self.deliver(row)?,
                Request::Search(row) => self.search(row)?,
            };
            let trouble = answered.err();
            self.paused = None;
            if let Some(why) = trouble {
                let until = self.at + PAUSE;
                self.tell(row.key, "paused", &why);
                self.paused = Some((until, why));
            }
            self.save()?;
            if self.paused.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Sends a row; `Err` when a person must set something right first.
    fn deliver(&mut self, row: &OutboxRow) -> Result<Result<(), String>, EngineError> {
        let at = self.at;
        let sent = match &row.operation {
            Operation::Create => {
                let case = self.known.get(&row.key).cloned();
                let Some(case) = case else {
                    let why = "its case is not there any more".to_owned();
                    self.works.desk.sent(row.id, Sent::Refused(why), at);
                    return Ok(Ok(()));
                };
                let evidence = self.works.evidence.get(&row.key.fingerprint);
                let (origin, text) = (&self.setup.origin, self.setup.utc_text);
                let order = draft(&case, evidence, origin, at, text);
                let made = self.system.create(&order, &row.idempotency_key());
                made.map(|id| self.news.remote.push((row.key, id)))
            }
            Operation::Comment(text) => match self.base.remote(row.key)? {
                Some(id) => self.system.comment(&id, text, &row.idempotency_key()),
                None => Err(Trouble::Refused("nobody knows the order's number".to_owned())),
            },
        };
        let (how, pause) = match sent {
            Ok(()) => (Sent::Delivered, None),
            Err(Trouble::NotDone { not_before, why }) => {
                let tries = i64::from(row.attempts.clamp(1, 12));
                let wait = RETRY.0.times(tries * tries).min(RETRY.1);
                let next = not_before.unwrap_or(at).max(at + wait);
                (Sent::NotDone(next, why), None)
            }
            Err(Trouble::Unknown(why)) => (Sent::Unknown(why), None),
            Err(Trouble::Refused(why)) => (Sent::Refused(why), None),
            // It was not taken in, and is not at fault.
            Err(Trouble::Paused(why)) => (Sent::NotDone(at + PAUSE, why.clone()), Some(why)),
        };
        self.works.desk.sent(row.id, how, at);
        Ok(pause.map_or(Ok(()), Err))
    }

    /// Looks whether a row arrived.
    fn search(&mut self, row: &OutboxRow) -> Result<Result<(), String>, EngineError> {
        let since = self.known.get(&row.key).map_or(self.at, |case| case.opened) - POLL_BACK;
        let found = match &row.operation {
            // It is told again with the same idempotency key: at least once.
            _ if !self.system.can_search() => Ok(None),
            Operation::Create => self.system.find(row.key, since).map(|orders| {
                // Of several the oldest is ours; people hear of the others.
                if orders.len() > 1 {
                    let detail = format!("{} orders have this key", orders.len());
                    self.tell(row.key, "several", &detail);
                }
                orders.first().map(|order| order.id.clone())
            }),
            Operation::Comment(_) => match self.base.remote(row.key)? {
                Some(id) => {
                    let has = self.system.has_comment(&id, &row.idempotency_key());
                    match has {
                        // It shows no comments: better none than one each time somebody asks.
                        Err(Trouble::Refused(_)) => Ok(Some(id)),
                        has => has.map(|has| has.then_some(id)),
                    }
                }
                None => Ok(None),
            },
        };
        let (at, id) = (self.at, row.id);
        let pause = match found {
            Ok(Some(remote)) => {
                self.news.remote.push((row.key, remote));
                self.works.desk.searched(id, Some(true), at);
                None
            }
            Ok(None) => {
                self.works.desk.searched(id, Some(false), at);
                None
            }
            Err(trouble) => {
                self.works.desk.searched(id, None, at);
                match trouble {
                    Trouble::Paused(why) => Some(why),
                    _ => None,
                }
            }
        };
        Ok(pause.map_or(Ok(()), Err))
    }

    /// Keeps what an order says of what was found.
    fn found(&mut self, key: ExtKey, remote: &Remote) -> Result<(), EngineError> {
        let known = match self.outcomes.get(&key) {
            Some(known) => Some(known.clone()),
            // Codes may come when the case is closed already.
            None => self.base.outcome(key, self.system.name())?,
        };
        let Some(known) = known.filter(|known| remote.updated.as_nanos() >= known.updated) else {
            return Ok(());
        };
        let codes = kept(remote.close.clone());
        let is_done = remote.state == OrderState::Done;
        let new = Outcome {
            state: remote.state.word().to_owned(),
            updated: remote.updated.as_nanos(),
            done_part: known.done_part.or(Some(self.part)).filter(|part| is_done && *part != 0),
            codes,
            ..known.clone()
        };
        if new != known {
            self.keep(new);
        }
        Ok(())
    }

    fn keep(&mut self, outcome: Outcome) {
        self.outcomes_at += 1;
        self.outcomes.insert(outcome.key, outcome.clone());
        self.news.outcomes.push(outcome);
    }

    fn tell(&mut self, key: ExtKey, what: &str, detail: &str) {
        self.news.told.push(ToldLine {
            utc: self.at.as_nanos(),
            key: key.to_string(),
            what: what.to_owned(),
            detail: detail.to_owned(),
        });
    }

    /// Takes over what people should hear, and keeps what closed.
    fn hear(&mut self) {
        self.hear_alarms();
        for told in self.works.desk.told() {
            match told {
                Told::Opened(key) => self.tell(key, "opened", ""),
                Told::Proposed(key) => self.tell(key, "proposed", ""),
                Told::Ordered(key) => {
                    self.tell(key, "ordered", "");
                    self.begin_outcome(key);
                }
                Told::Order(key, state) => {
                    self.tell(key, "order", state.word());
                    match (state, self.outcomes.get(&key).cloned()) {
                        (OrderState::Done, _) => self.plan_done(key),
                        // What is gone tells nothing of itself any more.
                        (OrderState::Lost, Some(outcome)) => {
                            self.keep(Outcome { state: state.word().to_owned(), ..outcome });
                        }
                        _ => {}
                    }
                }
                Told::Closed(key, how) => {
                    self.tell(key, "closed", how.word());
                    self.assignees.remove(&key);
                    if how == Closing::Accepted {
                        self.plan_done(key);
                    }
                    if let Some(case) = self.known.remove(&key) {
                        self.news.closed.push((case, how, self.at));
                    }
                    if let Some(outcome) = self.outcomes.remove(&key) {
                        let (end_part, how) = (Some(self.part), Some(how.word().to_owned()));
                        self.keep(Outcome { end_part, how, ..outcome });
                        self.outcomes.remove(&key);
                    }
                }
            }
        }
        self.know();
    }

    fn begin_outcome(&mut self, key: ExtKey) {
        let case = self.works.desk.case(key.fingerprint).filter(|case| case.key == key);
        // Planned work finds no fault, and is not to be right or wrong.
        let Some(case) = case.filter(|_| !self.is_plan(key.fingerprint)) else { return };
        let evidence = self.works.evidence.get(&key.fingerprint);
        let begun = Outcome::begun(key, self.system.name(), case.subject.clone(), self.at);
        let (after, first_part) = (case.after, evidence.map_or(0, |evidence| evidence.part));
        self.keep(Outcome { after, first_part, ..begun });
    }

    fn know(&mut self) {
        for case in self.works.desk.cases() {
            self.known.insert(case.key, case.clone());
        }
    }

    /// Stores what changed. Rows that changed nothing may be read again: their place is stored now
    /// and then only, so that a quiet day wears no flash out.
    fn save(&mut self) -> Result<(), EngineError> {
        let works = self.works.state();
        let is_quiet = self.news.is_empty()
            && self.saved.as_ref().is_some_and(|(saved, told, at)| {
                *saved == works && told == self.notify.state() && self.at - *at < QUIET
            });
        if is_quiet { Ok(()) } else { self.store() }
    }

    /// Stores everything.
    fn store(&mut self) -> Result<(), EngineError> {
        let works = self.works.state();
        let stored = Stored {
            version: VERSION,
            cursor: self.cursor,
            // Coarse, so that nothing is written while nothing happens.
            at: self.at.as_nanos() / COARSE * COARSE,
            polled: self.polled.as_nanos() / COARSE * COARSE,
            part: self.part,
            meters: self.meters.clone(),
            notify: self.notify.state().clone(),
            works,
        };
        self.base.save(&stored, &self.news)?;
        self.saved = Some((stored.works, stored.notify, self.at));
        self.news = News::default();
        Ok(())
    }
}

/// The place in the recorder is stored so often while nothing else changes.
const QUIET: Span = Span::from_secs(60);
/// Grain of stored times [ns].
const COARSE: i64 = 600_000_000_000;

/// The desk's time at a time of the machine.
fn paced((begin, factor): (Utc, i64), now: Utc) -> Utc {
    begin + (now - begin).times(factor)
}
