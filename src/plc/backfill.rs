//! Gaps of the link, filled from the history that the PLC's server keeps of its own values.
//!
//! - A *gap* is a time whose samples we did not get: the link was down, the service did not run, or
//!   a queue on the way was full.
//! - [`Book`] notes gaps as the link sees them; [`run`] reads them when the link stands again, one
//!   page at a time, with a pause after each that is four times as long as the server took.
//! - What is read goes into the history and nowhere else, marked, beside what is there: the cell
//!   never sees it, so no decision is made from it and a replay stays equal.
//! - Asked is only for tags whose server says that we may read their history (`AccessLevel` and
//!   `UserAccessLevel`, bit HistoryRead).
//!
//! Up to when the history lacks nothing is kept with it, so that a start knows its gap, and goes on
//! with one that was not filled to the end. It trails by a minute: what a power cut took is then
//! read again. Asking for too much costs little, because a sample that is there stays as it is.

mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};
use tracing::info;
use trimloop_core::tag::{Sample, TagId};
use trimloop_core::time::{Mono, Now, Span, Utc};

use self::read::{Outcome, REFUSED, Source, fill};
use super::resolve::Resolution;
use super::wire::Wire;
use super::{Filling, LinkConfig, Shared, count, stopped};
use crate::intake::lock;
use crate::output::{duration_text, utc_text};

/// How long the link stands before a gap is read: historians take values in with a delay.
const SETTLE: Span = Span::from_secs(3);
/// How long losses may go on before what was lost so far is read.
const LOSS_MAX: Span = Span::from_secs(600);
/// Pause between two looks at what there is to do.
const LOOK: Duration = Duration::from_millis(500);
/// How far before a look a sample may have been lost that was counted since.
const LOSS_MARGIN: Span = Span::from_secs(2);
/// How often it is noted up to when the history is whole, and how far behind.
const MARK_EVERY: Span = Span::from_secs(10);
const MARK_TRAIL: Span = Span::from_secs(60);
/// The same at the begin, and at an end in good order, when the store writes what it has.
const END_TRAIL: Span = Span::from_secs(2);
/// Gaps that wait; later ones are joined to the last.
const GAPS_MAX: usize = 64;
/// Names in a sentence.
const NAMES_MAX: usize = 5;

/// Where samples out of the PLC's history go.
pub trait History: Send + Sync {
    /// Keeps samples, each with a source time; one whose time and tag are there changes nothing.
    /// Told is how many of each tag were new, once they are in the history; nothing when they could
    /// not be.
    fn keep(&self, samples: &[Sample]) -> oneshot::Receiver<BTreeMap<TagId, u64>>;

    /// Up to when the history of a PLC lacks nothing that could be had; `None` when nobody said.
    fn whole_until(&self, plc: &str) -> Option<Utc>;

    /// Says so.
    fn set_whole_until(&self, plc: &str, utc: Utc);

    /// Live samples that it had to drop since the start.
    fn dropped(&self) -> u64;

    /// Whether samples are written just now; when not, nothing is asked for.
    fn takes(&self) -> bool;
}

/// Why samples are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    LinkDown,
    NotRunning,
    Dropped,
    Asked,
}

impl Cause {
    const fn text(self) -> &'static str {
        match self {
            Self::LinkDown => "the link was down",
            Self::NotRunning => "the service did not run",
            Self::Dropped => "values were dropped on the way",
            Self::Asked => "asked for",
        }
    }
}

/// A time whose samples we did not get, by our clock.
#[derive(Clone, Debug)]
struct Gap {
    from: Utc,
    to: Utc,
    cause: Cause,
    /// `None`: all.
    tags: Option<BTreeSet<TagId>>,
    /// Tags that are read to the end.
    done: BTreeSet<TagId>,
    /// Values that were new so far, by tag.
    filled: BTreeMap<TagId, u64>,
}

/// Losses that may still go on.
#[derive(Clone, Debug)]
struct Loss {
    from: Utc,
    to: Utc,
    begun: Mono,
    last: Mono,
    tags: Option<BTreeSet<TagId>>,
}

/// The gaps of one link.
#[derive(Default)]
pub(super) struct Book {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    /// Somebody fills gaps.
    on: bool,
    source: Option<Arc<Source>>,
    opened: Mono,
    /// When the link was last heard; `None` while it stands, and before it ever did.
    heard: Option<Utc>,
    /// The link stood since the start.
    stood: bool,
    gaps: VecDeque<Gap>,
    loss: Option<Loss>,
}

impl Book {
    fn switch_on(&self, whole: Option<Utc>) {
        let mut state = lock(&self.state);
        state.on = true;
        state.heard = whole;
    }

    /// The link stands: what can be asked for, and a gap that is over.
    pub(super) fn opened(
        &self,
        wire: &Arc<dyn Wire>,
        config: &LinkConfig,
        resolution: &Resolution,
        now: Now,
    ) {
        let mut state = lock(&self.state);
        if !state.on {
            return;
        }
        state.source = Some(Arc::new(Source::new(wire, config, resolution)));
        state.opened = now.mono;
        let cause = if state.stood { Cause::LinkDown } else { Cause::NotRunning };
        state.stood = true;
        if let Some(from) = state.heard.take() {
            state.note(from, now.utc, cause, None);
        }
        drop(state);
        self.news.notify_one();
    }

    /// The link is gone; it was last heard at `heard`.
    pub(super) fn closed(&self, heard: Utc) {
        let mut state = lock(&self.state);
        if state.source.take().is_some() {
            state.heard = Some(heard);
        }
    }

    /// Samples of a tag, or of all, were lost between two times.
    pub(super) fn lost(&self, tag: Option<TagId>, from: Utc, to: Utc, now: Mono) {
        let mut state = lock(&self.state);
        if !state.on {
            return;
        }
        let loss = state.loss.get_or_insert_with(|| Loss {
            from,
            to,
            begun: now,
            last: now,
            tags: tag.map(|_| BTreeSet::new()),
        });
        loss.from = loss.from.min(from);
        loss.to = loss.to.max(to);
        loss.last = now;
        match (&mut loss.tags, tag) {
            (Some(tags), Some(tag)) => drop(tags.insert(tag)),
            _ => loss.tags = None,
        }
    }

    /// A person wants a span to be read; false when nobody fills gaps.
    pub(super) fn ask(&self, from: Utc, to: Utc) -> bool {
        let mut state = lock(&self.state);
        if state.on {
            state.note(from, to, Cause::Asked, None);
        }
        let on = state.on;
        drop(state);
        self.news.notify_one();
        on
    }

    /// The gap to read now, and whom to ask.
    fn next(&self, now: Mono) -> Option<(Arc<Source>, Gap)> {
        let mut state = lock(&self.state);
        let over = |loss: &mut Loss| now - loss.last >= SETTLE || now - loss.begun >= LOSS_MAX;
        if let Some(Loss { from, to, tags, .. }) = state.loss.take_if(over) {
            state.note(from, to, Cause::Dropped, tags);
        }
        let source = state.source.as_ref().filter(|_| now - state.opened >= SETTLE)?;
        Some((Arc::clone(source), state.gaps.front()?.clone()))
    }

    /// Whether this is still the session to ask.
    fn is_current(&self, source: &Arc<Source>) -> bool {
        lock(&self.state).source.as_ref().is_some_and(|now| Arc::ptr_eq(now, source))
    }

    /// Notes how far the first gap is read.
    fn read(&self, gap: &Gap) {
        if let Some(first) = lock(&self.state).gaps.front_mut() {
            first.done.clone_from(&gap.done);
            first.filled.clone_from(&gap.filled);
        }
    }

    /// The first gap is over, filled or not.
    fn finish(&self) {
        lock(&self.state).gaps.pop_front();
    }

    /// Up to when nothing is missing; `None` while something is.
    fn whole(&self, now: Utc) -> Option<Utc> {
        let state = lock(&self.state);
        if !state.gaps.is_empty() || state.loss.is_some() {
            return None;
        }
        state.source.as_ref().map(|_| now).or(state.heard.filter(|_| state.stood))
    }

    /// What is being read, for people; nothing while the link is down, or where there is no history.
    pub(super) fn filling(&self) -> Option<Filling> {
        let state = lock(&self.state);
        let (source, gap) = (state.source.as_ref()?, state.gaps.front()?);
        let tags = source.wanted(gap).count();
        if tags == 0 {
            return None;
        }
        Some(Filling {
            from: gap.from,
            to: gap.to,
            tags,
            tags_done: gap.done.len(),
            waiting: state.gaps.len() - 1,
        })
    }
}

impl State {
    fn note(&mut self, from: Utc, to: Utc, cause: Cause, tags: Option<BTreeSet<TagId>>) {
        if to <= from {
            return;
        }
        if self.gaps.len() >= GAPS_MAX
            && let Some(last) = self.gaps.back_mut()
        {
            (last.from, last.to) = (last.from.min(from), last.to.max(to));
            (last.tags, last.done) = (None, BTreeSet::new());
            return;
        }
        let (done, filled) = (BTreeSet::new(), BTreeMap::new());
        self.gaps.push_back(Gap { from, to, cause, tags, done, filled });
    }
}

/// Fills gaps until the link is stopped. `longest` is what is read at most, from the end of a gap
/// backwards.
pub(super) async fn run(shared: Arc<Shared>, history: Arc<dyn History>, longest: Span) {
    let mut stop = shared.stop.clone();
    let mut filler = Filler::new(shared, history, longest);
    tokio::select! {
        biased;
        () = stopped(&mut stop) => {}
        () = filler.work() => {}
    }
    filler.end();
}

/// Notes that somebody fills the gaps of a link from now on.
pub(super) fn prepare(shared: &Shared, history: &dyn History) {
    shared.book.switch_on(history.whole_until(&shared.config.name));
}

struct Filler {
    shared: Arc<Shared>,
    history: Arc<dyn History>,
    longest: Span,
    /// Up to when the history was said to be whole, and when that was.
    marked: Option<(Utc, Mono)>,
    /// Drops of our own queues, and when they were looked at.
    dropped: u64,
    looked: Utc,
    /// PLCs and tags of which people know that there is no history.
    told_none: BTreeSet<String>,
}

impl Filler {
    fn new(shared: Arc<Shared>, history: Arc<dyn History>, longest: Span) -> Self {
        let dropped = shared.intake.counts().dropped + history.dropped();
        let looked = shared.clock.utc();
        let told_none = BTreeSet::new();
        Self { shared, history, longest, marked: None, dropped, looked, told_none }
    }

    async fn work(&mut self) {
        loop {
            self.look_for_drops();
            match self.shared.book.next(self.shared.clock.mono()) {
                Some((source, gap)) => self.gap(source, gap).await,
                None => {
                    self.mark();
                    // Over when there is news; otherwise it is time for a look.
                    drop(timeout(LOOK, self.shared.book.news.notified()).await);
                }
            }
        }
    }

    /// Our own queues count what they drop, for all PLCs together.
    fn look_for_drops(&mut self) {
        let now = self.shared.clock.now();
        let dropped = self.shared.intake.counts().dropped + self.history.dropped();
        if dropped > self.dropped {
            self.shared.book.lost(None, self.looked - LOSS_MARGIN, now.utc, now.mono);
        }
        (self.dropped, self.looked) = (dropped, now.utc);
    }

    fn mark(&mut self) {
        let now = self.shared.clock.now();
        if self.marked.is_some_and(|(_, at)| now.mono - at < MARK_EVERY) {
            return;
        }
        let Some(whole) = self.shared.book.whole(now.utc) else { return };
        // The first time nothing is known of before, but what is on its way to the disk.
        let trailing = match self.marked {
            Some((before, _)) => (whole - MARK_TRAIL).max(before),
            None => whole - END_TRAIL,
        };
        self.history.set_whole_until(&self.shared.config.name, trailing);
        self.marked = Some((trailing, now.mono));
    }

    fn end(&self) {
        if let Some(whole) = self.shared.book.whole(self.shared.clock.utc()) {
            self.history.set_whole_until(&self.shared.config.name, whole - END_TRAIL);
        }
    }

    async fn gap(&mut self, source: Arc<Source>, mut gap: Gap) {
        if !self.history.takes() {
            return sleep(REFUSED).await;
        }
        // A person may ask for more than is read unasked.
        let asked = match gap.cause {
            Cause::Asked => gap.from,
            _ => gap.from.max(gap.to - self.longest),
        };
        let outcome = if source.wanted(&gap).next().is_none() {
            Outcome::Unfilled("the server keeps no history of its values that we may read".into())
        } else {
            fill(&self.shared, self.history.as_ref(), &source, &mut gap, asked).await
        };
        match outcome {
            Outcome::Filled { refused } if refused.len() >= source.wanted(&gap).count() => {
                let why = refused.first().map_or("", |(_, why)| why.as_str());
                self.unfilled(&source, &gap, &format!("the server refuses its history ({why})"));
            }
            Outcome::Filled { refused } => self.filled(&source, &gap, asked, &refused),
            Outcome::Unfilled(why) => self.unfilled(&source, &gap, &why),
            // Tried again with the next session, or when the store takes rows.
            Outcome::Later => return,
        }
        self.shared.book.finish();
    }

    /// What a gap is about, and the begin of a sentence on it.
    fn of(&self, source: &Source, gap: &Gap) -> (String, String) {
        let plc = &self.shared.config.name;
        let only = gap.tags.as_ref().filter(|tags| tags.len() == 1).and_then(|tags| tags.first());
        let tag = only.and_then(|tag| source.name(*tag));
        let (subject, whose) = match tag {
            Some(tag) => (tag.to_owned(), format!("{tag} of PLC {plc}")),
            None => (plc.clone(), format!("PLC {plc}")),
        };
        let (length, cause) = (duration_text(gap.to - gap.from), gap.cause.text());
        let (from, to) = (utc_text(gap.from), utc_text(gap.to));
        (subject, format!("The gap of {length} of {whose} ({cause}, {from} to {to})"))
    }

    fn filled(&self, source: &Source, gap: &Gap, asked: Utc, refused: &[(TagId, String)]) {
        let counters = &self.shared.counters;
        count(&counters.gaps_filled, 1);
        let (subject, the_gap) = self.of(source, gap);
        let mut sentence = match gap.filled.values().sum::<u64>() {
            0 => format!("{the_gap} lacks nothing: the PLC's own history has no further values."),
            new => format!(
                "{the_gap} was filled with {new} values out of the PLC's own history: {}.",
                each(source, gap)
            ),
        };
        if asked > gap.from {
            sentence.push_str(&format!(" Read was from {} on.", utc_text(asked)));
        }
        let without = source.without(gap);
        if !without.is_empty() {
            sentence.push_str(&format!(" No history there: {}.", names(&without)));
        }
        if let Some((_, why)) = refused.first() {
            let refused: Vec<&str> =
                refused.iter().filter_map(|(tag, _)| source.name(*tag)).collect();
            sentence.push_str(&format!(" Refused: {} ({why}).", names(&refused)));
        }
        info!("{sentence}");
        self.shared.notices.tell("gap_filled", &subject, sentence);
    }

    fn unfilled(&mut self, source: &Source, gap: &Gap, why: &str) {
        count(&self.shared.counters.gaps_unfilled, 1);
        let (subject, the_gap) = self.of(source, gap);
        let sentence = format!("{the_gap} stays: {why}.");
        info!("{sentence}");
        // What has no history would tell it at each loss.
        let none = source.wanted(gap).next().is_none() && gap.cause != Cause::Asked;
        if !none || self.told_none.insert(subject.clone()) {
            self.shared.notices.tell("gap_unfilled", &subject, sentence);
        }
    }
}

/// `melt_temp 120, flow 17`, most values first.
fn each(source: &Source, gap: &Gap) -> String {
    let mut filled: Vec<(u64, &str)> =
        gap.filled.iter().filter_map(|(tag, new)| Some((*new, source.name(*tag)?))).collect();
    filled.sort_by(|a, b| b.cmp(a));
    let texts: Vec<String> = filled.iter().map(|(new, name)| format!("{name} {new}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    names(&texts)
}

/// The first few.
fn names(all: &[&str]) -> String {
    let first = all.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match all.len().checked_sub(NAMES_MAX) {
        Some(more @ 1..) => format!("{first} and {more} more"),
        _ => first,
    }
}
