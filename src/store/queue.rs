//! The bounded queue into the store's writer thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use trimloop_core::event::Event;
use trimloop_core::record::Record;
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Span, Utc};

use super::StoreError;
use super::chain::Tips;
use crate::clock::Clock;
use crate::notice::Notice;

/// Most samples that wait, and most rows of the other kinds.
pub const ROWS_MAX: usize = 100_000;
/// Most rows under one number of a flush.
pub(super) const FLUSH_ROWS: usize = 2000;
/// Rows after which the writer is woken before its second is over: few commits under load, and
/// room for twice as many before the queue grows.
const WAKE_ROWS: usize = 8000;
/// Longest time a row waits for its commit to begin.
const FLUSH_PERIOD: Duration = Duration::from_secs(1);
/// A source time farther from the receive time than this is not used as the sample's time.
const SOURCE_OFFSET_MAX: Span = Span::from_secs(10);
/// Room for samples before the queue must grow, which it does while the writer is behind.
pub(super) const SAMPLES_RESERVED: usize = 16_384;
/// Room for rows that are not samples before the queue must grow.
pub(super) const ROWS_RESERVED: usize = 8192;

/// A sample on its way to the history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SampleRow {
    /// [ns UTC]: source time, or receive time when the source has none or is too far off.
    pub(super) ts: i64,
    pub(super) tag: u16,
    pub(super) value: Option<Value>,
    pub(super) status: u32,
    /// Source minus receive time [ns] when that was too far off; 0 otherwise.
    pub(super) offset: i64,
    /// Read from the PLC's own history after a gap.
    pub(super) backfilled: bool,
}

/// Samples out of a PLC's history. They wait beside the live ones and never in their place.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) samples: Vec<SampleRow>,
    /// Told how many of each tag were new, once they are in the history; dropped when they are not.
    pub(super) done: oneshot::Sender<BTreeMap<TagId, u64>>,
}

/// Anything but a sample.
#[derive(Debug)]
pub(super) enum Row {
    Record(Utc, Record),
    /// With its number in this start.
    Event(u64, Event),
    Notice(Notice),
    Audit(super::AuditEntry),
    Cursor(CursorRow),
    /// Up to when the history of a PLC lacks nothing [ns UTC].
    Whole(String, i64),
}

/// How far a sink has come.
#[derive(Debug)]
pub(super) struct CursorRow {
    pub(super) sink: &'static str,
    pub(super) day: String,
    pub(super) seq: i64,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) samples: VecDeque<SampleRow>,
    pub(super) rows: Vec<Row>,
    pub(super) late: Vec<Late>,
}

#[derive(Debug)]
struct Inner {
    waiting: Waiting,
    /// Rows ever taken in; [`Inner::committed`] follows it.
    taken: u64,
    committed: u64,
    urgent: bool,
    stop: bool,
    /// The writer thread has ended.
    ended: bool,
}

/// Sinks and days of which people were told that rows went before they were sent.
pub(super) type UnsentTold = Arc<Mutex<BTreeSet<(String, String)>>>;

#[derive(Debug)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
    done: Condvar,
    dropped: AtomicU64,
    lost: AtomicU64,
    pub(super) doubled: AtomicU64,
    unsent: AtomicU64,
    pub(super) unsent_told: UnsentTold,
    history_stopped: AtomicBool,
    pub(super) unsound: AtomicBool,
    /// Ends of the chains as committed.
    pub(super) tips: Mutex<Tips>,
    /// Up to when the history of each PLC lacks nothing [ns UTC].
    pub(super) whole: Mutex<BTreeMap<String, i64>>,
}

/// What happened to rows on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples dropped because the queue was full or the history could not be written.
    pub samples_dropped: u64,
    /// Other rows lost because the store could not be written for too long.
    pub rows_lost: u64,
    /// Samples that came twice for one time and tag; the last one stays.
    pub samples_doubled: u64,
    /// Rows whose retention ended before a sink had sent them.
    pub rows_unsent: u64,
    /// The disk is too full for history; `state.db` goes on.
    pub history_stopped: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                waiting: Waiting {
                    samples: VecDeque::with_capacity(SAMPLES_RESERVED),
                    rows: Vec::with_capacity(ROWS_RESERVED),
                    late: Vec::new(),
                },
                taken: 0,
                committed: 0,
                urgent: false,
                stop: false,
                ended: false,
            }),
            wake: Condvar::new(),
            done: Condvar::new(),
            dropped: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            doubled: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            unsent_told: UnsentTold::default(),
            history_stopped: AtomicBool::new(false),
            unsound: AtomicBool::new(false),
            tips: Mutex::default(),
            whole: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push_row(&self, row: Row) {
        let mut inner = self.lock();
        if inner.waiting.rows.len() >= ROWS_MAX {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.unsound.store(true, Ordering::Release);
            return;
        }
        inner.waiting.rows.push(row);
        self.pushed(inner, 1);
    }

    fn pushed(&self, mut inner: MutexGuard<'_, Inner>, rows: u64) {
        inner.taken += rows;
        let full = inner.waiting.samples.len() + inner.waiting.rows.len() >= WAKE_ROWS;
        drop(inner);
        if full {
            self.wake.notify_one();
        }
    }

    /// Exchanges what waits against an empty `buffer`, after a second or when there is much.
    /// Returns the number to hand to [`Self::committed`], and whether this was the last time.
    pub(super) fn take(&self, buffer: &mut Waiting) -> (u64, bool) {
        let (mut inner, _) = self
            .wake
            .wait_timeout_while(self.lock(), FLUSH_PERIOD, |inner| {
                let waiting = inner.waiting.samples.len() + inner.waiting.rows.len();
                let late = !inner.waiting.late.is_empty();
                !inner.urgent && !inner.stop && !late && waiting < WAKE_ROWS
            })
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut inner.waiting, buffer);
        inner.urgent = false;
        (inner.taken, inner.stop)
    }

    /// All rows up to `taken` are on disk (or counted as dropped).
    pub(super) fn committed(&self, taken: u64) {
        self.lock().committed = taken;
        self.done.notify_all();
    }

    /// A commit failed: who waits for it is told, the rows stay with the writer.
    pub(super) fn failed(&self) {
        // Under the lock, so that nobody goes to sleep between his look and this call.
        let inner = self.lock();
        self.unsound.store(true, Ordering::Release);
        drop(inner);
        self.done.notify_all();
    }

    /// A commit worked, with a word in the audit trail about the first `told` lost rows.
    pub(super) fn sound_again(&self, told: u64) {
        // Rows of others are lost under this lock only, so none can go between look and store.
        let _inner = self.lock();
        if self.lost.load(Ordering::Relaxed) == told {
            self.unsound.store(false, Ordering::Release);
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What the writer's housekeeping has to say.
    pub(super) fn kept(&self, history_stopped: bool, unsent: u64) {
        self.history_stopped.store(history_stopped, Ordering::Relaxed);
        self.unsent.store(unsent, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        // Who waits for these is told that nobody takes them any more.
        inner.waiting.late.clear();
        drop(inner);
        self.done.notify_all();
    }

    pub(super) fn drop_samples(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn lose_rows(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_one();
    }
}

/// The OPC UA status code.
fn code_of(status: Status) -> u32 {
    match status {
        Status::Good => 0,
        Status::Uncertain(code) | Status::Bad(code) => code,
    }
}

/// Hands rows to the store; cheap to clone. Nothing here waits for a disk but [`Self::barrier`]
/// and [`Self::audit_committed`].
#[derive(Clone, Debug)]
pub struct StoreSender {
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Clock,
    pub(super) boot: u64,
}

impl StoreSender {
    /// Number of this start; grows by one.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Ends of the audit and ledger chains that are on disk.
    #[must_use]
    pub fn tips(&self) -> Tips {
        *self.queue.tips.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples as they were handed to a scan; `utc` is the scan's.
    pub fn samples(&self, utc: Utc, samples: &[Sample]) {
        let mut inner = self.queue.lock();
        let mut dropped = 0;
        // Without a source time, two samples of one tag in one scan keep their order by 1 ns.
        for (nanos, sample) in (0_i64..).zip(samples) {
            if inner.waiting.samples.len() >= ROWS_MAX {
                inner.waiting.samples.pop_front();
                dropped += 1;
            }
            let received = utc.as_nanos().saturating_add(nanos);
            let offset = sample.source_time.map(|source| source - utc);
            let near = |offset: Span| {
                offset <= SOURCE_OFFSET_MAX && Span::ZERO - offset <= SOURCE_OFFSET_MAX
            };
            let (ts, offset) = match (sample.source_time, offset) {
                (Some(source), Some(offset)) if near(offset) => (source.as_nanos(), 0),
                (_, offset) => (received, offset.unwrap_or(Span::ZERO).as_nanos()),
            };
            let status = code_of(sample.status);
            let (tag, value) = (sample.tag.0, sample.value);
            let backfilled = false;
            let row = SampleRow { ts, tag, value, status, offset, backfilled };
            inner.waiting.samples.push_back(row);
        }
        self.queue.pushed(inner, samples.len() as u64);
        if dropped > 0 {
            self.queue.drop_samples(dropped);
        }
    }

    /// Samples that a PLC remembered, each with its source time; one without is left out. They
    /// never replace a sample that is there, and never put a live one out of the queue.
    ///
    /// Told is how many of each tag were new, once they are in the history; nothing when they could
    /// not be written. Whoever hands more over before that is told holds them in memory.
    #[must_use]
    pub fn backfill(&self, samples: &[Sample]) -> oneshot::Receiver<BTreeMap<TagId, u64>> {
        let row = |sample: &Sample| {
            Some(SampleRow {
                ts: sample.source_time?.as_nanos(),
                tag: sample.tag.0,
                value: sample.value,
                status: code_of(sample.status),
                offset: 0,
                backfilled: true,
            })
        };
        let (done, told) = oneshot::channel();
        let samples = samples.iter().filter_map(row).collect();
        let mut inner = self.queue.lock();
        if !inner.ended {
            inner.waiting.late.push(Late { samples, done });
        }
        drop(inner);
        self.queue.wake.notify_one();
        told
    }

    /// Up to when the history of a PLC lacks nothing that could be had; `None` when that was never
    /// said.
    #[must_use]
    pub fn whole_until(&self, plc: &str) -> Option<Utc> {
        let whole = self.queue.whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.get(plc).copied().map(Utc::from_nanos)
    }

    /// Says so; on disk within a second, after the samples that were handed over before.
    pub fn set_whole_until(&self, plc: &str, utc: Utc) {
        let mut whole = self.queue.whole.lock().unwrap_or_else(PoisonError::into_inner);
        whole.insert(plc.to_owned(), utc.as_nanos());
        drop(whole);
        self.queue.push_row(Row::Whole(plc.to_owned(), utc.as_nanos()));
    }

    /// A row of the core; `utc` is the scan's.
    pub fn record(&self, utc: Utc, record: Record) {
        self.queue.push_row(Row::Record(utc, record));
    }

    /// An event, and its number in this start.
    pub fn event(&self, number: u64, event: Event) {
        self.queue.push_row(Row::Event(number, event));
    }

    /// What a shell has to tell.
    pub fn notice(&self, notice: Notice) {
        self.queue.push_row(Row::Notice(notice));
    }

    /// Who asked for what, and why. `order` is the number of the queued order, 0 for none.
    pub fn audit(&self, order: u64, actor: &str, what: &str, reason: &str) {
        self.queue.push_row(Row::Audit(super::AuditEntry {
            utc: self.clock.utc(),
            order,
            actor: actor.to_owned(),
            what: what.to_owned(),
            reason: reason.to_owned(),
        }));
    }

    /// How far a sink has come: `day` is a day of history (`20261122`) or another source of its
    /// rows. It is on disk within a second; a cursor never goes back.
    pub fn cursor(&self, sink: &'static str, day: &str, seq: i64) {
        self.queue.push_row(Row::Cursor(CursorRow { sink, day: day.to_owned(), seq }));
    }

    /// [`Self::audit`], then waits until it is on disk. Not for the scan thread.
    ///
    /// # Errors
    /// [`StoreError::Unsound`] when it did not get there: then the order must not be given.
    pub fn audit_committed(
        &self,
        order: u64,
        actor: &str,
        what: &str,
        reason: &str,
    ) -> Result<(), StoreError> {
        self.audit(order, actor, what, reason);
        self.barrier()
    }

    /// Waits until every row handed over before is on disk. Not for the scan thread.
    ///
    /// # Errors
    /// [`StoreError::Unsound`] when the store cannot be written.
    pub fn barrier(&self) -> Result<(), StoreError> {
        let mut inner = self.queue.lock();
        let target = inner.taken;
        inner.urgent = true;
        self.queue.wake.notify_one();
        let inner = self
            .queue
            .done
            .wait_while(inner, |inner| inner.committed < target && !inner.ended && self.sound())
            .unwrap_or_else(PoisonError::into_inner);
        if inner.committed >= target && self.sound() { Ok(()) } else { Err(StoreError::Unsound) }
    }

    /// Whether events, audit, decisions and ledger rows reach the disk. When not, nothing may be
    /// written to the PLC.
    #[must_use]
    pub fn sound(&self) -> bool {
        !self.queue.unsound.load(Ordering::Acquire)
    }

    /// Whether retention removed that day since the start, and told that the sink had not sent all
    /// of it: then the sink need not tell it again.
    #[must_use]
    pub fn unsent_told(&self, sink: &str, day: &str) -> bool {
        let told = self.queue.unsent_told.lock().unwrap_or_else(PoisonError::into_inner);
        told.contains(&(sink.to_owned(), day.to_owned()))
    }

    /// What was dropped, lost or doubled since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            samples_dropped: self.queue.dropped.load(Ordering::Relaxed),
            rows_lost: self.queue.lost.load(Ordering::Relaxed),
            samples_doubled: self.queue.doubled.load(Ordering::Relaxed),
            rows_unsent: self.queue.unsent.load(Ordering::Relaxed),
            history_stopped: self.queue.history_stopped.load(Ordering::Relaxed),
        }
    }
}
