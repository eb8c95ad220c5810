//! What is sent, what after which answer, and what is never dropped without a count. Takes its
//! time from outside and has no thread of its own, so that a test can run days of it.
//!
//! ```text
//!           stored                        429, 5xx, lost
//!  SENDING ---------> acknowledge   SENDING ------------> RETRYING --back-off--> SENDING
//!          401, 404, …
//!  SENDING ----------> HELD --every 60 s--> SENDING
//!          400, 413, 422
//!  SENDING -------------> halves --> … --> one line: dead letter
//! ```
//!
//! After any wait the lines are read anew from the cursors, so nothing but counts is kept.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use trimloop_core::time::{Mono, Now, Span, Utc};

use super::INFLUX;
use super::answer::{Answer, Verdict, backoff, judge, refused_field};
use super::dead::DeadLetters;
use super::reader::{Batch, Reader};
use crate::clock::span_of;
use crate::error::chain;
use crate::output::{duration_text, utc_text};
use crate::settings::Dialect;
use crate::store::StoreSender;

/// Largest body before gzip.
pub(super) const BYTES_MAX: usize = 1024 * 1024;
/// How long a smaller body is kept to after a 413.
const CAP_KEPT: Span = Span::from_secs(3600);
/// Pause between two looks at a server that a person must set right.
pub(super) const PROBE: Duration = Duration::from_secs(60);
/// Refusals of one field after which it is left out.
const REFUSALS_MAX: u32 = 16;
/// How often one row of such a field is tried.
const CANARY: Span = Span::from_secs(600);
/// Refused lines in a row, none of them for a field's kind and none stored between: then it is
/// not the lines.
const STREAK_MAX: u32 = 64;
/// Age of a failure that people are told of.
const TOLD_AFTER: Span = Span::from_secs(60);
/// Time between two notices of the same loss.
const TOLD_EVERY: Span = Span::from_secs(3600);
/// Time between two looks at all of the store.
const SURVEY: Span = Span::from_secs(30);
/// Pause after the store could not be read.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// Whoever takes lines.
pub(super) trait Server {
    /// Sends lines once.
    fn write(&mut self, lines: &str) -> Answer;
}

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) dialect: Dialect,
    pub(super) lines_max: usize,
    pub(super) max_age: Span,
    pub(super) probe: Duration,
}

/// What the sink does just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkState {
    /// Nothing was tried yet.
    #[default]
    Starting,
    /// Lines are taken.
    Sending,
    /// The server is away or overloaded.
    Retrying,
    /// A person must set something right.
    Held,
}

impl SinkState {
    /// Stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::Held => "held",
        }
    }
}

/// A sink as people see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// What it does just now.
    pub state: SinkState,
    /// Why it does not send.
    pub why: Option<String>,
    /// Rows that wait.
    pub behind_rows: u64,
    /// Age of the oldest of them.
    pub behind: Span,
    /// Lines stored since the start, those sent again among them.
    pub rows_sent: u64,
    /// Rows of units that were sent a second time, because the server may have lost them.
    pub rows_resent: u64,
    /// Lines in the dead-letter file.
    pub rows_dead: u64,
    /// Lines left out because the server refuses their field.
    pub rows_quarantined: u64,
    /// Rows too old, or removed before they were sent.
    pub rows_expired: u64,
    /// Requests by status; `lost` for those without an answer.
    pub requests: BTreeMap<String, u64>,
}

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing to send.
    Idle,
    /// So many lines are with the server.
    Sent(usize),
    /// Nothing before this time has passed.
    Wait(Duration),
}

/// Why a batch is not with the server.
enum Stop {
    Wait(Duration),
    Hold(String),
}

#[derive(Debug)]
struct Failing {
    since: Mono,
    told: bool,
}

/// A field that is left out.
#[derive(Debug)]
struct Quarantine {
    measurement: String,
    field: String,
    canary: Mono,
}

impl Quarantine {
    fn holds(&self, line: &str) -> bool {
        let rest = line.strip_prefix(self.measurement.as_str());
        rest.is_some_and(|rest| {
            rest.starts_with([',', ' '])
                && [',', ' '].iter().any(|c| rest.contains(&format!("{c}{}=", self.field)))
        })
    }
}

/// A loss that is told at most once an hour.
#[derive(Debug, Default)]
struct Loss {
    untold: u64,
    told: Option<Mono>,
}

/// The state of sending.
#[derive(Debug)]
pub(super) struct Engine {
    limits: Limits,
    pub(super) reader: Reader,
    dead: DeadLetters,
    pub(super) status: SinkStatus,
    /// Notices for people: code and sentence.
    pub(super) tells: Vec<(&'static str, String)>,
    cap: usize,
    cap_until: Mono,
    attempt: u32,
    failing: Option<Failing>,
    /// Requests without an answer, in a row; a time-out counts twice.
    losses: u32,
    /// The overlap of this outage was set back already.
    rewound: bool,
    quarantine: Vec<Quarantine>,
    refusals: HashMap<(String, String), u32>,
    streak: u32,
    surveyed: Option<Mono>,
    dead_loss: Loss,
    expired_loss: Loss,
    seed: u64,
    /// Knows which days went by retention, and were told then.
    store: Option<StoreSender>,
}

impl Engine {
    pub(super) fn new(limits: Limits, reader: Reader, dead: DeadLetters, seed: u64) -> Self {
        Self {
            limits,
            reader,
            dead,
            status: SinkStatus::default(),
            tells: Vec::new(),
            cap: BYTES_MAX,
            cap_until: Mono::default(),
            attempt: 0,
            failing: None,
            losses: 0,
            rewound: false,
            quarantine: Vec::new(),
            refusals: HashMap::new(),
            streak: 0,
            surveyed: None,
            dead_loss: Loss::default(),
            expired_loss: Loss::default(),
            seed: seed | 1,
            store: None,
        }
    }

    /// The same beside the store that removes old days.
    pub(super) fn with_store(self, store: StoreSender) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Reads, sends, and notes what came of it: at most one batch.
    pub(super) fn step(&mut self, now: Now, server: &mut dyn Server) -> Step {
        self.look(now);
        let oldest = (now.utc - self.limits.max_age).as_nanos();
        let mut batch = match self.reader.next_batch(oldest, self.limits.lines_max, BYTES_MAX) {
            Ok(batch) => batch,
            Err(error) => {
                // A damaged day is found, told and passed over by the next survey.
                self.surveyed = None;
                self.status.state = SinkState::Retrying;
                self.status.why = Some(chain(&error));
                return Step::Wait(READ_AGAIN);
            }
        };
        self.pass_expired(&mut batch, now);
        if batch.units.is_empty() {
            // All is sent, so nothing is wrong any more.
            self.status.state = SinkState::Sending;
            self.status.why = None;
            return Step::Idle;
        }
        match self.deliver(&batch, now, server) {
            Ok(()) => {
                let again = batch.units.iter().filter(|unit| unit.again);
                self.status.rows_resent += again.map(|unit| unit.rows).sum::<u64>();
                self.reader.acknowledge(&batch, now.mono);
                self.show_waiting(now.utc);
                Step::Sent(batch.lines())
            }
            Err(Stop::Wait(pause)) => Step::Wait(pause),
            Err(Stop::Hold(why)) => {
                self.hold(why);
                Step::Wait(self.limits.probe)
            }
        }
    }

    /// Looks at all of the store when it is time, also while nothing can be sent.
    pub(super) fn look(&mut self, now: Now) {
        if self.surveyed.is_some_and(|at| now.mono - at < SURVEY) {
            return;
        }
        self.surveyed = Some(now.mono);
        match self.reader.survey() {
            Ok(gone) => {
                for gone in gone {
                    self.status.rows_expired += gone.rows;
                    let store = self.store.as_ref();
                    if store.is_some_and(|store| store.unsent_told(INFLUX, &gone.source)) {
                        continue;
                    }
                    let rows = match gone.rows {
                        0 => "an unknown number of rows".to_owned(),
                        rows => format!("{rows} rows"),
                    };
                    let sentence =
                        format!("{rows} of {} were not sent: {}.", gone.source, gone.why);
                    self.tells.push(("sink_expired", sentence));
                }
            }
            Err(error) => self.status.why = Some(chain(&error)),
        }
        self.show_waiting(now.utc);
    }

    fn show_waiting(&mut self, now: Utc) {
        let (rows, oldest) = self.reader.waiting();
        self.status.behind_rows = rows;
        self.status.behind = oldest.map_or(Span::ZERO, |ts| now - Utc::from_nanos(ts));
    }

    /// Rows too old are counted now: the server may be away for long.
    fn pass_expired(&mut self, batch: &mut Batch, now: Now) {
        let mut passed = Batch::default();
        let mut kept = Vec::new();
        for unit in std::mem::take(&mut batch.units) {
            let first = !kept.iter().any(|other: &super::reader::Unit| other.source == unit.source);
            if unit.expired && first { passed.units.push(unit) } else { kept.push(unit) }
        }
        batch.units = kept;
        let rows = passed.units.iter().filter(|unit| !unit.again).map(|unit| unit.rows).sum();
        self.reader.acknowledge(&passed, now.mono);
        self.count_expired(rows, now.mono);
    }

    fn count_expired(&mut self, rows: u64, now: Mono) {
        self.status.rows_expired += rows;
        let age = duration_text(self.limits.max_age);
        if let Some(rows) = self.expired_loss.count(rows, now) {
            let sentence = format!(
                "{rows} rows were too old to be sent (over {age}, or beyond what the server keeps); \
                 they are counted, and stay in the store as long as it keeps them."
            );
            self.tells.push(("sink_expired", sentence));
        }
    }

    fn deliver(&mut self, batch: &Batch, now: Now, server: &mut dyn Server) -> Result<(), Stop> {
        if now.mono >= self.cap_until {
            self.cap = BYTES_MAX;
        }
        self.try_canaries(batch, now, server)?;
        let mut settled = vec![false; batch.lines()];
        let mut tally = Tally::default();
        let mut stack = vec![(0, batch.lines())];
        while let Some((from, to)) = stack.pop() {
            let live = self.live(batch, from, to, &mut settled, &mut tally);
            let Some((first, rest)) = live.split_first() else { continue };
            let bytes: usize = live.iter().map(|i| batch.bytes(*i, i + 1)).sum();
            let middle = live.get(live.len() / 2).copied().filter(|_| !rest.is_empty());
            let mut halve = || {
                if let Some(middle) = middle {
                    stack.push((middle, to));
                    stack.push((from, middle));
                }
            };
            if middle.is_some() && (live.len() > self.limits.lines_max || bytes > self.cap) {
                halve();
                continue;
            }
            let text: String = live.iter().map(|i| batch.line(*i)).collect();
            match self.ask(now, &text, live.len(), server)? {
                Refusal::None => {}
                Refusal::Lines(lines) => {
                    for (place, why) in lines {
                        let Some(index) = live.get(place).copied() else { continue };
                        self.refuse(now, batch.line(index), &why, &mut tally)?;
                    }
                }
                Refusal::Old(count) => tally.expired += count,
                Refusal::One(why) if middle.is_none() => {
                    self.refuse(now, batch.line(*first), &why, &mut tally)?;
                }
                Refusal::One(_) => halve(),
                Refusal::Size => {
                    self.cap = (bytes / 2).max(1);
                    self.cap_until = now.mono + CAP_KEPT;
                    if middle.is_none() {
                        let why = "HTTP 413: one line is too large";
                        self.refuse(now, batch.line(*first), why, &mut tally)?;
                    }
                    halve();
                }
            }
        }
        self.status.rows_quarantined += tally.quarantined;
        self.count_expired(tally.expired, now.mono);
        Ok(())
    }

    /// Lines of a range that are to be sent; what is left out is noted.
    fn live(
        &self,
        batch: &Batch,
        from: usize,
        to: usize,
        settled: &mut [bool],
        tally: &mut Tally,
    ) -> Vec<usize> {
        let mut live = Vec::with_capacity(to - from);
        for (index, settled) in settled.iter_mut().enumerate().take(to).skip(from) {
            if *settled {
                continue;
            }
            let line = batch.line(index);
            if self.dead.knows(line) {
                *settled = true;
            } else if self.quarantine.iter().any(|quarantine| quarantine.holds(line)) {
                *settled = true;
                tally.quarantined += 1;
            } else {
                live.push(index);
            }
        }
        live
    }

    /// One request, with what its answer means for the sink as a whole.
    fn ask(
        &mut self,
        now: Now,
        text: &str,
        lines: usize,
        server: &mut dyn Server,
    ) -> Result<Refusal, Stop> {
        let answer = server.write(text);
        let word = match &answer {
            Answer::Http { status, .. } => status.to_string(),
            Answer::Lost(_) | Answer::TimedOut(_) => "lost".to_owned(),
            Answer::Local(_) => "unsent".to_owned(),
        };
        *self.status.requests.entry(word).or_default() += 1;
        let lines = lines as u64;
        match judge(self.limits.dialect, &answer) {
            Verdict::Stored => {
                self.works();
                self.streak = 0;
                self.status.rows_sent += lines;
                Ok(Refusal::None)
            }
            Verdict::StoredExcept(bad) => {
                self.works();
                self.status.rows_sent += lines.saturating_sub(bad.len() as u64);
                Ok(Refusal::Lines(bad))
            }
            Verdict::Expired(count) => {
                self.works();
                let count = count.min(lines);
                self.status.rows_sent += lines - count;
                Ok(Refusal::Old(count))
            }
            Verdict::Bisect(why) => Ok(Refusal::One(why)),
            Verdict::TooLarge => Ok(Refusal::Size),
            Verdict::Hold(why) => Err(Stop::Hold(why)),
            Verdict::Overload(asked, why) => Err(self.fails(now, why, asked)),
            Verdict::Unknown(why) => {
                self.note_loss(&answer, now.mono);
                Err(self.fails(now, why, None))
            }
        }
    }

    /// One broken connection is no outage; a second one in a row is, and so is a time-out: the
    /// server may have died with what it had not brought to its disk.
    fn note_loss(&mut self, answer: &Answer, now: Mono) {
        self.losses += match answer {
            Answer::Lost(_) => 1,
            Answer::TimedOut(_) => 2,
            Answer::Http { .. } | Answer::Local(_) => return,
        };
        if self.losses >= 2 && !self.rewound {
            self.reader.rewind(now);
            self.rewound = true;
        }
    }

    /// The server takes lines.
    fn works(&mut self) {
        self.attempt = 0;
        self.losses = 0;
        self.rewound = false;
        let told = self.failing.take().is_some_and(|failing| failing.told);
        if told || self.status.state == SinkState::Held {
            let behind = duration_text(self.status.behind);
            let rows = self.status.behind_rows;
            let sentence = format!("InfluxDB takes rows again; {rows} rows, {behind} old, follow.");
            self.tells.push(("sink_recovered", sentence));
        }
        self.status.state = SinkState::Sending;
        self.status.why = None;
    }

    /// The server is away or overloaded.
    fn fails(&mut self, now: Now, why: String, asked: Option<Duration>) -> Stop {
        self.attempt = self.attempt.saturating_add(1);
        let attempt = self.attempt;
        let pause = backoff(attempt, self.random()).max(asked.unwrap_or_default());
        let failing = self.failing.get_or_insert(Failing { since: now.mono, told: false });
        if !failing.told && now.mono - failing.since + span_of(pause) >= TOLD_AFTER {
            failing.told = true;
            let begin = utc_text(now.utc - (now.mono - failing.since));
            let sentence = format!(
                "InfluxDB takes no rows since {begin} ({why}); they wait in the store and are sent \
                 later."
            );
            self.tells.push(("sink_unreachable", sentence));
        }
        self.status.state = SinkState::Retrying;
        self.status.why = Some(why);
        Stop::Wait(pause)
    }

    fn hold(&mut self, why: String) {
        if self.status.state != SinkState::Held {
            let sentence = format!(
                "InfluxDB refuses rows: {why}. They wait in the store; set it right, `trimloop \
                 connector test influx` says whether it is."
            );
            self.tells.push(("sink_held", sentence));
        }
        self.status.state = SinkState::Held;
        self.status.why = Some(why);
    }

    /// One line is refused for what it is.
    fn refuse(&mut self, now: Now, line: &str, why: &str, tally: &mut Tally) -> Result<(), Stop> {
        if why.contains("retention policy") {
            tally.expired += 1;
            return Ok(());
        }
        let field = refused_field(why).unwrap_or_default();
        self.streak += 1;
        if field.is_empty() && self.streak > STREAK_MAX {
            self.streak = STREAK_MAX;
            return Err(Stop::Hold(format!("every line is refused: {why}")));
        }
        let removed = self.dead.bury(now.utc, why, line).map_err(|error| {
            Stop::Hold(format!("the dead-letter file cannot be written: {error}"))
        })?;
        self.status.rows_dead += 1;
        if removed > 0 {
            let sentence = format!("{removed} old dead letters were removed to make room.");
            self.tells.push(("sink_dead_letters", sentence));
        }
        if let Some(lines) = self.dead_loss.count(1, now.mono) {
            let sentence = format!(
                "{lines} lines were refused and are kept as dead letters ({why}); look at them in \
                 the folder dead/, then `trimloop connector resend influx`."
            );
            self.tells.push(("sink_dead_letters", sentence));
        }
        if !field.is_empty() {
            self.note_refusal(now.mono, line, field);
        }
        Ok(())
    }

    fn note_refusal(&mut self, now: Mono, line: &str, field: &str) {
        let measurement = line.split([',', ' ']).next().unwrap_or_default();
        let key = (measurement.to_owned(), field.to_owned());
        let count = self.refusals.entry(key).or_default();
        *count += 1;
        if *count < REFUSALS_MAX {
            return;
        }
        *count = 0;
        let sentence = format!(
            "InfluxDB refused {field} of {measurement} {REFUSALS_MAX} times: rows with it are left \
             out and counted; one is tried every 10 min. Another program may have written that \
             field with another kind."
        );
        self.tells.push(("sink_quarantine", sentence));
        let (measurement, field) = (measurement.to_owned(), field.to_owned());
        self.quarantine.push(Quarantine { measurement, field, canary: now + CANARY });
    }

    /// Tries one row of each field that is left out, when it is time.
    fn try_canaries(
        &mut self,
        batch: &Batch,
        now: Now,
        server: &mut dyn Server,
    ) -> Result<(), Stop> {
        let mut place = 0;
        while let Some(quarantine) = self.quarantine.get(place) {
            let found = (0..batch.lines()).find(|i| quarantine.holds(batch.line(*i)));
            let Some(index) = found.filter(|_| now.mono >= quarantine.canary) else {
                place += 1;
                continue;
            };
            if matches!(self.ask(now, batch.line(index), 1, server)?, Refusal::None) {
                let lifted = self.quarantine.remove(place);
                let sentence =
                    format!("InfluxDB takes {} of {} again.", lifted.field, lifted.measurement);
                self.tells.push(("sink_quarantine", sentence));
            } else if let Some(quarantine) = self.quarantine.get_mut(place) {
                quarantine.canary = now.mono + CANARY;
                place += 1;
            }
        }
        Ok(())
    }

    /// xorshift64: the jitter needs to differ, not to be unguessable.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }
}

/// Counts of a batch that stand only once all of it is settled.
#[derive(Debug, Default)]
struct Tally {
    quarantined: u64,
    expired: u64,
}

/// What a server that works does not take of a request.
enum Refusal {
    None,
    /// These lines, by their place in the request.
    Lines(Vec<(usize, String)>),
    /// So many lines beyond its retention.
    Old(u64),
    /// At least one, for this reason.
    One(String),
    /// All: too large.
    Size,
}

impl Loss {
    /// Notes a loss; how much is to be told now.
    fn count(&mut self, rows: u64, now: Mono) -> Option<u64> {
        self.untold += rows;
        let due = self.told.is_none_or(|told| now - told >= TOLD_EVERY);
        if self.untold == 0 || !due {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
