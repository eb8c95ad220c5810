//! A journal again, bit for bit: every recorded scan goes through the production core, and what it
//! decides is held against what was recorded.
//!
//! ```text
//! journal --checked record by record--> scan --> Cell::step --> actions == recorded actions?
//!         plans/HASH ------------------------> a new Cell at every start
//! ```
//!
//! - A start of the service is a new [`Cell`], as it was then. A start whose first files are gone
//!   cannot be replayed: nobody knows its state; it is checked for damage and told.
//! - Equal means: the encoded actions are the same bytes. The first scan that differs ends the
//!   replay, with both sides in words.
//! - Under *another* plan tags and loops are matched by name, decisions, writes and events are
//!   compared in words, and the replay goes on to the end: the difference is the result.
//!
//! Nothing here reads a clock or writes to anything.

mod other;
mod report;
mod words;

use std::path::{Path, PathBuf};

use trimloop_core::cell::Cell;
use trimloop_core::event::What;
use trimloop_core::record::Record;
use trimloop_core::scan::Action;
use trimloop_core::tag::{Quality, TagId};
use trimloop_core::time::{Mono, Utc};
use trimloop_recipe::Bound;

use crate::journal::{
    Damage, JournalError, JournalHead, Note, OwnedScan, PlanError, Raw, Reader, decode_actions,
    decode_scan, encode_actions, hex, journal_files, kept_plan,
};
use crate::output::{Names, RecordId, event_text, utc_text};

use other::Translation;
pub use report::{Difference, EventLine, Outcome, Report, Scene, Skipped, Tally, report_text};
use words::{action_lines, scan_lines};

/// Bytes after which progress is told.
const PROGRESS_BYTES: u64 = 1 << 20;
/// Events kept for the report; further ones are counted.
const EVENTS_MAX: usize = 1000;

/// A place in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A scan, of this start or of the only one.
    Scan {
        /// Number of the start; `None`: there is but one.
        boot: Option<u64>,
        /// Number of the scan.
        seq: u64,
    },
    /// The first scan at or after a moment.
    Time(Utc),
}

/// What ends a replay early, to look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// A setpoint is written.
    Write,
    /// This write is made.
    WriteOf(RecordId),
    /// A loop trips.
    Trip,
    /// An event of this code.
    Event(String),
    /// This tag is no longer good.
    Bad(String),
}

/// How to replay.
#[derive(Clone, Debug, Default)]
pub struct ReplaySettings {
    /// What is before it only builds up the state: neither compared nor told.
    pub from: Option<At>,
    /// Last scan.
    pub until: Option<At>,
    /// Ends at the first of these, from `from` on.
    pub breaks: Vec<Break>,
    /// A plan for starts whose own was not kept; taken only when its hash is theirs.
    pub project: Option<Bound>,
    /// Replay under this plan instead of the recorded one.
    pub other: Option<Bound>,
}

/// Why a journal could not be replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is none.
    #[error("there is no journal in {}", .0.display())]
    Empty(PathBuf),
    /// The plan of a start is not to be had.
    #[error(
        "start {boot} was recorded under plan {plan} (recipe {recipe} r{revision}), which cannot be used"
    )]
    Plan {
        /// Which start.
        boot: u64,
        /// Hash of its plan, in short.
        plan: String,
        /// Its recipe.
        recipe: String,
        /// Its revision.
        revision: u32,
        /// Why.
        #[source]
        source: PlanError,
    },
    /// The core refused the plan.
    #[error("the core refuses the plan of start {0}")]
    Refused(u64, #[source] trimloop_core::plan::PlanError),
    /// A place is named by scan alone, and the journal has several starts.
    #[error("the journal holds starts {0}; name one of them: START-SCAN")]
    WhichStart(String),
    /// A break names a tag that no plan has.
    #[error("no plan of this journal has a tag \"{0}\"")]
    NoTag(String),
    /// A place names a start that is not here.
    #[error("the journal holds no start {0}; it holds {1}")]
    NoStart(u64, String),
    /// Nothing lies between the places.
    #[error("no scan of this journal lies there: nothing was compared")]
    NoScan,
}

/// Replays the journal at `path`, a folder or one file.
///
/// - `progress`: gets the bytes done and all bytes, now and then.
///
/// # Errors
/// [`ReplayError`] when it cannot be begun. Damage and differences are results, not errors.
pub fn replay(
    path: &Path,
    settings: &ReplaySettings,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, ReplayError> {
    let files = journal_files(path)?;
    if files.is_empty() {
        return Err(ReplayError::Empty(path.to_owned()));
    }
    let folder = if path.is_file() { path.parent().unwrap_or(Path::new("")) } else { path };
    check_places(&files, settings)?;
    let total = files.iter().filter_map(|file| Some(file.metadata().ok()?.len())).sum();
    let mut run = Run {
        settings,
        folder,
        report: Report::new(),
        now: None,
        actions: Vec::with_capacity(1 << 16),
    };
    let (mut done, mut told) = (0, 0);
    for file in files {
        let mut reader = Reader::open(&file)?;
        run.report.files += 1;
        loop {
            let offset = reader.offset();
            if done + offset >= told + PROGRESS_BYTES {
                told = done + offset;
                progress(told, total);
            }
            let go_on = match reader.next_raw() {
                Ok(None) => break,
                Ok(Some(raw)) => {
                    run.report.records += 1;
                    run.take(raw, &file, offset)?
                }
                Err(damage) => Step::Damaged(damage),
            };
            match go_on {
                Step::On => {}
                Step::Malformed(what) => {
                    run.report.outcome = Outcome::Damaged(reader.damage_at(offset, what));
                }
                Step::Damaged(damage) => run.report.outcome = Outcome::Damaged(damage),
                Step::End(outcome) => run.report.outcome = *outcome,
            }
            if run.report.outcome != Outcome::Equal {
                run.close();
                return run.checked();
            }
        }
        done += reader.offset();
    }
    run.close();
    progress(total, total);
    run.checked()
}

/// What one record led to.
enum Step {
    On,
    Malformed(&'static str),
    Damaged(Damage),
    End(Box<Outcome>),
}

/// Starts that places name must be here; a place without one is clear only where there is but one.
fn check_places(files: &[PathBuf], settings: &ReplaySettings) -> Result<(), ReplayError> {
    let places = || [settings.from, settings.until].into_iter().flatten();
    if !places().any(|at| matches!(at, At::Scan { .. })) {
        return Ok(());
    }
    let mut boots: Vec<u64> = Vec::new();
    for file in files {
        if let Ok(Some(Raw::Head(head))) = Reader::open(file)?.next_raw()
            && !boots.contains(&head.boot)
        {
            boots.push(head.boot);
        }
    }
    let list = || boots.iter().map(u64::to_string).collect::<Vec<String>>().join(", ");
    for at in places() {
        match at {
            At::Scan { boot: None, .. } if boots.len() > 1 => {
                return Err(ReplayError::WhichStart(list()));
            }
            At::Scan { boot: Some(boot), .. } if !boots.contains(&boot) => {
                return Err(ReplayError::NoStart(boot, list()));
            }
            _ => {}
        }
    }
    Ok(())
}

struct Run<'a> {
    settings: &'a ReplaySettings,
    folder: &'a Path,
    report: Report,
    now: Option<Start>,
    /// Encoded actions of the last step.
    actions: Vec<u8>,
}

/// One start of the service.
struct Start {
    head: JournalHead,
    /// `None` while its first scan is not here.
    cell: Option<Cell>,
    names: Names,
    recorded_names: Names,
    translation: Option<Translation>,
    /// The scan whose actions are still to come.
    scan: Option<OwnedScan>,
    last: Option<Mono>,
    last_seq: u64,
    /// Tags of breaks that were not good in the last scan.
    bad: Vec<bool>,
    /// Whether anything of it is told: `from` has passed.
    told: bool,
}

impl Run<'_> {
    fn take(&mut self, raw: Raw<'_>, file: &Path, offset: u64) -> Result<Step, ReplayError> {
        match raw {
            Raw::Head(head) => {
                let same = self.now.as_ref().is_some_and(|now| {
                    now.head.boot == head.boot && now.head.plan_hash == head.plan_hash
                });
                if !same {
                    self.close();
                    self.now = Some(self.start(head)?);
                }
                Ok(Step::On)
            }
            Raw::Scan(bytes) => match decode_scan(bytes) {
                Ok(scan) => self.step(scan),
                Err(malformed) => Ok(Step::Malformed(malformed.0)),
            },
            Raw::Actions { seq, bytes } => Ok(self.compare(seq, bytes, file, offset)),
        }
    }

    fn start(&mut self, head: JournalHead) -> Result<Start, ReplayError> {
        self.report.starts += 1;
        let kept = kept_plan(self.folder, &head.plan_hash);
        let project = self.settings.project.as_ref();
        let own = match (kept, project.filter(|bound| bound.plan.hash == head.plan_hash)) {
            (Ok(bound), _) => bound,
            (Err(_), Some(bound)) => bound.clone(),
            (Err(source), None) => {
                return Err(ReplayError::Plan {
                    boot: head.boot,
                    plan: hex(head.plan_hash.get(..8).unwrap_or_default()),
                    recipe: head.recipe,
                    revision: head.revision,
                    source,
                });
            }
        };
        let other = self.settings.other.as_ref().filter(|o| o.plan.hash != head.plan_hash);
        let translation = other.map(|other| Translation::new(&own.plan, &other.plan));
        let recorded_names = Names::of(&own.plan);
        let plan = other.map_or(own.plan, |other| other.plan.clone());
        let names = Names::of(&plan);
        self.check_tags(&names)?;
        let label = (hex(&plan.hash), plan.name.clone(), plan.revision);
        if !self.report.plans.contains(&label) {
            self.report.plans.push(label);
        }
        let boot = head.boot;
        let cell = Cell::new(plan).map_err(|source| ReplayError::Refused(boot, source))?;
        Ok(Start {
            head,
            cell: Some(cell),
            names,
            recorded_names,
            translation,
            scan: None,
            last: None,
            last_seq: 0,
            bad: vec![false; self.settings.breaks.len()],
            told: self.settings.from.is_none(),
        })
    }

    fn check_tags(&self, names: &Names) -> Result<(), ReplayError> {
        let known = |name: &str| names.tags.iter().any(|tag| tag.name == name);
        for stop in &self.settings.breaks {
            if let Break::Bad(tag) = stop
                && !known(tag)
            {
                return Err(ReplayError::NoTag(tag.clone()));
            }
        }
        Ok(())
    }

    /// Ends what is known of a start: its last scan may have no actions, when it was killed there.
    fn close(&mut self) {
        let Some(start) = self.now.take() else { return };
        if start.cell.is_none() {
            let skipped = Skipped { boot: start.head.boot, first_seq: start.last_seq };
            self.report.skipped.push(skipped);
        } else if start.scan.is_some() && self.report.outcome == Outcome::Equal {
            self.report.unanswered += 1;
        }
    }

    fn step(&mut self, scan: OwnedScan) -> Result<Step, ReplayError> {
        let Some(start) = &mut self.now else {
            return Ok(Step::Malformed("stands before any head"));
        };
        if start.cell.is_none() {
            return Ok(Step::On);
        }
        if start.last_seq == 0 && scan.seq != 1 {
            start.cell = None;
            start.last_seq = scan.seq;
            return Ok(Step::On);
        }
        if scan.seq != start.last_seq + 1 || start.scan.is_some() {
            return Ok(Step::Malformed("is not the scan that follows the one before"));
        }
        if past(self.settings.until, start.head.boot, &scan) {
            return Ok(Step::End(Box::new(Outcome::Until)));
        }
        start.told |= reached(self.settings.from, start.head.boot, &scan);
        start.last_seq = scan.seq;
        let translated;
        let input = match &start.translation {
            Some(translation) => {
                translated = translation.scan(&scan);
                &translated
            }
            None => &scan,
        };
        self.actions.clear();
        if let Some(cell) = &mut start.cell {
            let actions = cell.step(input.as_scan());
            encode_actions(actions.as_slice(), &mut self.actions);
            if start.told {
                let before = start.last.unwrap_or(scan.now.mono);
                self.report.count(&scan, scan.now.mono - before, actions.as_slice());
                note_events(&mut self.report, start.head.boot, &start.names, actions.as_slice());
            } else {
                self.report.events_before += count_events(actions.as_slice());
            }
        }
        start.last = Some(scan.now.mono);
        start.scan = Some(scan);
        Ok(Step::On)
    }

    fn compare(&mut self, seq: u64, recorded: &[u8], file: &Path, offset: u64) -> Step {
        let Some(start) = &mut self.now else { return Step::Malformed("stands before any head") };
        if start.last_seq == 0 {
            // Its scan is in a file that is not here.
            start.cell = None;
            start.last_seq = seq;
        }
        let Some(cell) = &start.cell else { return Step::On };
        let Some(scan) = start.scan.take() else {
            return Step::Malformed("holds actions without their scan");
        };
        if scan.seq != seq {
            return Step::Malformed("holds actions of another scan");
        }
        if start.told {
            self.report.compared += 1;
        }
        let boot = start.head.boot;
        if start.translation.is_some() {
            return self.compare_words(&scan, recorded, file, offset);
        }
        if recorded != self.actions.as_slice() && start.told {
            let difference = difference(
                (boot, &scan, file, offset),
                (recorded, &start.names),
                (&self.actions, &start.names),
            );
            return Step::End(Box::new(Outcome::Differs(Box::new(difference))));
        }
        if self.settings.breaks.is_empty() || !start.told {
            return Step::On;
        }
        let notes = decode_actions(&self.actions).unwrap_or_default();
        let mut hit = None;
        for (stop, was_bad) in self.settings.breaks.iter().zip(&mut start.bad) {
            if hits(stop, (boot, &notes), &start.names, cell, was_bad) && hit.is_none() {
                hit = Some(stop.clone());
            }
        }
        let Some(stop) = hit else { return Step::On };
        let scene = Scene {
            boot,
            seq,
            utc: utc_text(scan.now.utc),
            because: stop.to_string(),
            scan: scan_lines(&scan, &start.names, boot),
            actions: action_lines(&notes, &start.names, boot),
        };
        Step::End(Box::new(Outcome::Broke(Box::new(scene))))
    }

    /// Under another plan: only what people would see differ is a difference, and it goes on.
    fn compare_words(
        &mut self,
        scan: &OwnedScan,
        recorded: &[u8],
        file: &Path,
        offset: u64,
    ) -> Step {
        let Some(start) = &self.now else { return Step::On };
        let boot = start.head.boot;
        let notes = decode_actions(recorded).unwrap_or_default();
        let mine = decode_actions(&self.actions).unwrap_or_default();
        self.report.recorded.take(&notes);
        let (old, new) = (
            other::decided(&notes, &start.recorded_names, boot),
            other::decided(&mine, &start.names, boot),
        );
        if old == new {
            return Step::On;
        }
        self.report.differing += 1;
        if self.report.first_difference.is_none() {
            self.report.first_difference = Some(difference(
                (boot, scan, file, offset),
                (recorded, &start.recorded_names),
                (&self.actions, &start.names),
            ));
        }
        Step::On
    }

    /// The report. That nothing is equal to nothing proves nothing.
    fn checked(self) -> Result<Report, ReplayError> {
        let asked = self.settings.from.is_some() || self.settings.until.is_some();
        let report = self.end();
        let nothing = report.compared == 0 && report.is_equal() && report.skipped.is_empty();
        if asked && nothing { Err(ReplayError::NoScan) } else { Ok(report) }
    }

    fn end(mut self) -> Report {
        if self.report.outcome == Outcome::Equal && self.report.first_difference.is_some() {
            self.report.outcome = Outcome::OtherPlan;
        }
        if self.report.outcome == Outcome::Until {
            // The end that was asked for is no finding.
            self.report.stopped = true;
            self.report.outcome = if self.report.first_difference.is_some() {
                Outcome::OtherPlan
            } else {
                Outcome::Equal
            };
        }
        self.report
    }
}

fn difference(
    (boot, scan, file, offset): (u64, &OwnedScan, &Path, u64),
    (recorded, recorded_names): (&[u8], &Names),
    (replayed, names): (&[u8], &Names),
) -> Difference {
    let lines = |bytes: &[u8], names: &Names| {
        action_lines(&decode_actions(bytes).unwrap_or_default(), names, boot)
    };
    Difference {
        boot,
        seq: scan.seq,
        utc: utc_text(scan.now.utc),
        file: file.to_owned(),
        offset,
        digests: (crate::journal::digest(recorded), crate::journal::digest(replayed)),
        scan: scan_lines(scan, recorded_names, boot),
        recorded: lines(recorded, recorded_names),
        replayed: lines(replayed, names),
    }
}

/// Whether a scan lies behind the last one asked for.
fn past(until: Option<At>, boot: u64, scan: &OwnedScan) -> bool {
    match until {
        None => false,
        Some(At::Time(utc)) => scan.now.utc > utc,
        Some(At::Scan { boot: None, seq }) => scan.seq > seq,
        Some(At::Scan { boot: Some(of), seq }) => boot > of || (boot == of && scan.seq > seq),
    }
}

/// Whether a scan is at or behind the first one asked for.
fn reached(from: Option<At>, boot: u64, scan: &OwnedScan) -> bool {
    match from {
        None => true,
        Some(At::Time(utc)) => scan.now.utc >= utc,
        Some(At::Scan { boot: None, seq }) => scan.seq >= seq,
        Some(At::Scan { boot: Some(of), seq }) => boot > of || (boot == of && scan.seq >= seq),
    }
}

fn hits(
    stop: &Break,
    (boot, notes): (u64, &[Note]),
    names: &Names,
    cell: &Cell,
    was_bad: &mut bool,
) -> bool {
    let events = notes.iter().filter_map(|note| match note {
        Note::Event(event) => Some(event),
        _ => None,
    });
    match stop {
        Break::Write => notes.iter().any(|note| matches!(note, Note::Write(_))),
        Break::WriteOf(id) => {
            let is_it = |note: &Note| match note {
                Note::Record(Record::Ledger(row)) => row.write == id.number,
                _ => false,
            };
            boot == id.boot && notes.iter().any(is_it)
        }
        Break::Trip => events.into_iter().any(|event| matches!(event.what, What::Tripped(..))),
        Break::Event(code) => {
            events.into_iter().any(|event| event_text(&event.what, names).code == code)
        }
        Break::Bad(name) => {
            let place = names.tags.iter().position(|tag| tag.name == *name);
            let tag = place.and_then(|place| u16::try_from(place).ok()).map(TagId);
            let quality = tag.and_then(|tag| cell.reading(tag)).map(|reading| reading.quality);
            // Before its first value a tag is missing: that is no change for the worse.
            let bad = quality.is_some_and(|q| !q.is_good() && q != Quality::Missing);
            let was = std::mem::replace(was_bad, bad);
            bad && !was
        }
    }
}

fn count_events(actions: &[Action]) -> u64 {
    actions.iter().filter(|action| matches!(action, Action::Event(_))).count() as u64
}

/// Events as people see them; those of single tags are counted only.
fn note_events(report: &mut Report, boot: u64, names: &Names, actions: &[Action]) {
    for action in actions {
        let Action::Event(event) = action else { continue };
        report.events_seen += 1;
        if matches!(event.what, What::TagQuality(..) | What::StepAccepted(_) | What::ClockSkew(_)) {
            continue;
        }
        if report.events.len() >= EVENTS_MAX {
            report.events_left_out += 1;
            continue;
        }
        let number = report.events_before + report.events_seen;
        let text = event_text(&event.what, names);
        report.events.push(EventLine {
            id: RecordId::event(boot, number).to_string(),
            utc: utc_text(event.at.utc),
            part: event.part,
            code: text.code,
            sentence: text.sentence,
        });
    }
}

impl Tally {
    /// Counts the actions of one recorded step.
    fn take(&mut self, notes: &[Note]) {
        for note in notes {
            match note {
                Note::Write(_) => self.writes += 1,
                Note::Record(Record::Decision(row)) => self.decide(row.outcome),
                Note::Event(event) if matches!(event.what, What::Tripped(..)) => self.trips += 1,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write => f.write_str("a setpoint is written"),
            Self::WriteOf(id) => write!(f, "write {id} is made"),
            Self::Trip => f.write_str("a loop trips"),
            Self::Event(code) => write!(f, "event {code}"),
            Self::Bad(tag) => write!(f, "{tag} is no longer good"),
        }
    }
}
