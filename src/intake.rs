//! Bounded queues into the scan thread, each with its written policy.
//!
//! | what | policy | when full |
//! |---|---|---|
//! | samples | all, in order of arrival, up to [`SAMPLES_PER_TAG`] per tag | the oldest of that tag is dropped and counted |
//! | acks | never dropped | cannot be: each answers one of a bounded number of writes |
//! | orders | first in, first out, [`ORDERS_MAX`] | the newcomer is refused; one that waits for over [`ORDER_LIFE`] dies |
//! | links | latest of each PLC | overwritten |
//!
//! Producers take one short mutex. The scan thread swaps the filled buffer against an empty one,
//! so in steady state nothing allocates on either side.
//!
//! A *session* number, one per PLC, guards against stragglers: samples of a PLC session that is
//! over are not taken in, however late they come. What happens to one PLC's session is nothing to
//! another's.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trimloop_core::plan::{CHANGES_MAX, PlcId};
use trimloop_core::scan::{Ack, Link, ORDERS_MAX, Order};
use trimloop_core::tag::Sample;
use trimloop_core::time::{Mono, Span};

use crate::clock::{Clock, wait_of};

/// Samples of one tag that may wait; at 10 ms publishing and 10 values a publish, 64 are more than
/// half a period of 100 ms.
pub const SAMPLES_PER_TAG: usize = 64;
/// Age at which a waiting order dies; only a scan thread that hangs lets one get so old.
pub const ORDER_LIFE: Span = Span::from_secs(5);
/// Scans are never closer together.
pub const SCAN_MIN: Span = Span::from_millis(1);

const NONE: u32 = u32::MAX;
const ACKS_ROOM: usize = 256;

/// Takes a lock; a thread that panicked while it held one left whole values behind, because all
/// updates below are complete before they are visible.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The producers' end, for the link of one PLC. Clones share the queues, and so do the handles of
/// all PLCs of a cell.
#[derive(Clone, Debug)]
pub struct Intake {
    shared: Arc<Shared>,
    /// Whose session this handle opens and closes.
    plc: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    samples: Queue,
    acks: Vec<Ack>,
    orders: Vec<(Order, Mono)>,
    /// By `PlcId`.
    lines: Vec<Line>,
    link_news: bool,
    stop: bool,
    counts: IntakeCounts,
}

/// The link to one PLC, and the number of its session.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    link: Link,
    session: u64,
}

/// What the queues had to turn away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Samples taken in.
    pub samples: u64,
    /// Samples dropped because their tag's queue was full.
    pub dropped: u64,
    /// Samples that came after their session was over, or for an unknown tag.
    pub stray: u64,
    /// Orders refused because the queue was full.
    pub orders_refused: u64,
    /// Orders that died waiting.
    pub orders_expired: u64,
}

/// The order queue is full: try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ORDERS_MAX} orders are already waiting for the scan")]
pub struct QueueFull;

#[derive(Clone, Copy, Debug)]
struct Slot {
    sample: Sample,
    next: u32,
    live: bool,
}

/// All samples in order of arrival; per tag a chain through its slots, so that the oldest of a
/// tag is found at once.
#[derive(Debug)]
struct Queue {
    slots: Vec<Slot>,
    chains: Vec<Chain>,
}

#[derive(Clone, Copy, Debug)]
struct Chain {
    head: u32,
    tail: u32,
    count: u32,
}

const EMPTY: Chain = Chain { head: NONE, tail: NONE, count: 0 };

impl Queue {
    /// Twice the samples that may live: a full buffer is then at least half dead, so putting it
    /// together costs a constant per sample.
    fn room(tags: usize) -> usize {
        (tags * SAMPLES_PER_TAG * 2).max(SAMPLES_PER_TAG)
    }

    fn new(tags: usize) -> Self {
        Self { slots: Vec::with_capacity(Self::room(tags)), chains: vec![EMPTY; tags] }
    }

    /// Queues a sample; `None` for an unknown tag, else whether an older one had to go.
    fn push(&mut self, sample: Sample) -> Option<bool> {
        if self.slots.len() == self.slots.capacity() {
            self.close_ranks();
        }
        let chain = self.chains.get_mut(sample.tag.index())?;
        let mut dropped = false;
        if chain.count as usize >= SAMPLES_PER_TAG
            && let Some(oldest) = self.slots.get_mut(chain.head as usize)
        {
            oldest.live = false;
            chain.head = oldest.next;
            chain.count -= 1;
            dropped = true;
        }
        link(&mut self.slots, chain, sample);
        Some(dropped)
    }

    fn close_ranks(&mut self) {
        self.slots.retain(|slot| slot.live);
        self.chains.fill(EMPTY);
        for at in 0..self.slots.len() {
            let index = u32::try_from(at).unwrap_or(NONE);
            let tag = self.slots[at].sample.tag.index();
            self.slots[at].next = NONE;
            if let Some(chain) = self.chains.get_mut(tag) {
                let tail = chain.tail as usize;
                if chain.count == 0 {
                    chain.head = index;
                } else if let Some(last) = self.slots.get_mut(tail) {
                    last.next = index;
                }
                chain.tail = index;
                chain.count += 1;
            }
        }
    }

    fn swap(&mut self, empty: &mut Vec<Slot>) {
        std::mem::swap(&mut self.slots, empty);
        self.chains.fill(EMPTY);
    }
}

fn link(slots: &mut Vec<Slot>, chain: &mut Chain, sample: Sample) {
    let index = u32::try_from(slots.len()).unwrap_or(NONE);
    slots.push(Slot { sample, next: NONE, live: true });
    if chain.count == 0 {
        chain.head = index;
    } else if let Some(last) = slots.get_mut(chain.tail as usize) {
        last.next = index;
    }
    chain.tail = index;
    chain.count += 1;
}

/// The scan thread's end: buffers that are swapped with the queues.
#[derive(Debug)]
pub struct Batch {
    slots: Vec<Slot>,
    at: usize,
    /// Samples of this scan, oldest first.
    pub changes: Vec<Sample>,
    /// Answers to writes.
    pub acks: Vec<Ack>,
    /// Orders that still live.
    pub orders: Vec<Order>,
    /// Orders that died waiting, by number.
    pub expired: Vec<u64>,
    /// The links as they stand, by `PlcId`.
    pub links: Vec<Link>,
    /// Samples left for the next scan.
    pub left: usize,
}

impl Intake {
    /// Queues for tags `0..tags` of one PLC, and the buffers for their one consumer.
    #[must_use]
    pub fn new(tags: usize, clock: Clock) -> (Self, Batch) {
        Self::for_plcs(1, tags, clock)
    }

    /// Queues for tags `0..tags` of several PLCs. The handle is that of the leading one; see
    /// [`Self::of`].
    #[must_use]
    pub fn for_plcs(plcs: usize, tags: usize, clock: Clock) -> (Self, Batch) {
        let state = State {
            samples: Queue::new(tags),
            acks: Vec::with_capacity(ACKS_ROOM),
            orders: Vec::with_capacity(ORDERS_MAX),
            lines: vec![Line::default(); plcs],
            link_news: false,
            stop: false,
            counts: IntakeCounts::default(),
        };
        let batch = Batch {
            slots: Vec::with_capacity(Queue::room(tags)),
            at: 0,
            changes: Vec::with_capacity(Queue::room(tags).min(CHANGES_MAX)),
            acks: Vec::with_capacity(ACKS_ROOM),
            orders: Vec::with_capacity(ORDERS_MAX),
            expired: Vec::with_capacity(ORDERS_MAX),
            links: vec![Link::default(); plcs],
            left: 0,
        };
        let shared = Shared { state: Mutex::new(state), wake: Condvar::new(), clock };
        (Self { shared: Arc::new(shared), plc: 0 }, batch)
    }

    /// The handle for the link of another PLC, to the same queues.
    #[must_use]
    pub fn of(&self, plc: PlcId) -> Self {
        Self { shared: Arc::clone(&self.shared), plc: plc.index() }
    }

    /// The clock that stamps what comes in.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// Opens a PLC session with its first samples, in one go: a scan sees both or neither.
    ///
    /// With `announce`, the link is up under a new epoch; without, samples flow but nothing may
    /// be written. Returns the session number, which later samples must carry, and the epoch.
    pub fn open(&self, announce: bool, life: Mono, first: &[Sample]) -> (u64, u64) {
        let mut state = lock(&self.shared.state);
        let Some(line) = state.lines.get_mut(self.plc) else { return (0, 0) };
        line.session += 1;
        line.link.up = announce;
        line.link.epoch += u64::from(announce);
        line.link.life = Some(life);
        let numbers = (line.session, line.link.epoch);
        state.link_news = true;
        state.take_in(first);
        drop(state);
        self.shared.wake.notify_one();
        numbers
    }

    /// Closes the session: the link is down, and its late samples are strays.
    pub fn close(&self) {
        let mut state = lock(&self.shared.state);
        let Some(line) = state.lines.get_mut(self.plc) else { return };
        line.session += 1;
        let was_up = std::mem::replace(&mut line.link.up, false);
        state.link_news |= was_up;
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Takes samples of a session in. `life`: whether they prove that the subscription delivers,
    /// which a read of our own does not.
    pub fn samples(&self, session: u64, samples: &[Sample], received: Mono, life: bool) {
        let mut state = lock(&self.shared.state);
        let line = state.lines.get_mut(self.plc).filter(|line| line.session == session);
        let Some(line) = line else {
            state.counts.stray += samples.len() as u64;
            return;
        };
        if life {
            line.link.life = Some(received);
        }
        state.take_in(samples);
        drop(state);
        if !samples.is_empty() {
            self.shared.wake.notify_one();
        }
    }

    /// Takes the answer to a write in.
    pub fn ack(&self, ack: Ack) {
        lock(&self.shared.state).acks.push(ack);
        self.shared.wake.notify_one();
    }

    /// Queues an order.
    ///
    /// # Errors
    /// [`QueueFull`] when [`ORDERS_MAX`] are waiting.
    pub fn order(&self, order: Order) -> Result<(), QueueFull> {
        let now = self.shared.clock.mono();
        let mut state = lock(&self.shared.state);
        if state.orders.len() >= ORDERS_MAX {
            state.counts.orders_refused += 1;
            return Err(QueueFull);
        }
        state.orders.push((order, now));
        drop(state);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Asks the consumer to end.
    pub fn stop(&self) {
        lock(&self.shared.state).stop = true;
        self.shared.wake.notify_one();
    }

    /// The link to this handle's PLC as the next scan will see it.
    #[must_use]
    pub fn link(&self) -> Link {
        lock(&self.shared.state).lines.get(self.plc).map_or_else(Link::default, |line| line.link)
    }

    /// What was turned away so far.
    #[must_use]
    pub fn counts(&self) -> IntakeCounts {
        lock(&self.shared.state).counts
    }

    /// Waits until there is work and [`SCAN_MIN`] has passed since `last`, or until `period` has
    /// passed; then moves what waits into `batch`. False when asked to end.
    pub fn wait(&self, batch: &mut Batch, last: Option<Mono>, period: Span) -> bool {
        let clock = self.shared.clock;
        let mut state = lock(&self.shared.state);
        loop {
            if state.stop {
                return false;
            }
            let Some(left) = state.until_due(batch, last, period, clock.mono()) else { break };
            state = self.pause(state, wait_of(left));
        }
        state.fill(batch, clock.mono());
        true
    }

    /// [`Self::wait`] without waiting: false when no scan is due.
    #[cfg(test)]
    pub(crate) fn poll(&self, batch: &mut Batch, last: Option<Mono>, period: Span) -> bool {
        let now = self.shared.clock.mono();
        let mut state = lock(&self.shared.state);
        let due = !state.stop && state.until_due(batch, last, period, now).is_none();
        if due {
            state.fill(batch, now);
        }
        due
    }

    fn pause<'a>(&'a self, state: MutexGuard<'a, State>, wait: Duration) -> MutexGuard<'a, State> {
        match self.shared.wake.wait_timeout(state, wait) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}

impl State {
    fn has_work(&self) -> bool {
        self.link_news
            || !self.samples.slots.is_empty()
            || !self.acks.is_empty()
            || !self.orders.is_empty()
    }

    /// How long until a scan is due; `None`: it is now.
    fn until_due(
        &self,
        batch: &Batch,
        last: Option<Mono>,
        period: Span,
        now: Mono,
    ) -> Option<Span> {
        let last = last?;
        let work = self.has_work() || batch.at < batch.slots.len();
        let due = last + if work { SCAN_MIN.min(period) } else { period };
        (now < due).then(|| due - now)
    }

    fn take_in(&mut self, samples: &[Sample]) {
        for sample in samples {
            match self.samples.push(*sample) {
                Some(dropped) => {
                    self.counts.samples += 1;
                    self.counts.dropped += u64::from(dropped);
                }
                None => self.counts.stray += 1,
            }
        }
    }

    fn fill(&mut self, batch: &mut Batch, now: Mono) {
        batch.links.clear();
        batch.links.extend(self.lines.iter().map(|line| line.link));
        self.link_news = false;
        batch.acks.clear();
        batch.acks.append(&mut self.acks);
        batch.orders.clear();
        batch.expired.clear();
        for (order, queued) in self.orders.drain(..) {
            if now - queued > ORDER_LIFE {
                self.counts.orders_expired += 1;
                batch.expired.push(order.id);
            } else {
                batch.orders.push(order);
            }
        }
        if batch.at >= batch.slots.len() {
            batch.slots.clear();
            batch.at = 0;
            self.samples.swap(&mut batch.slots);
        }
        batch.gather(CHANGES_MAX);
    }
}

impl Batch {
    /// Copies up to `most` live samples from where the last scan stopped.
    fn gather(&mut self, most: usize) {
        self.changes.clear();
        while let Some(slot) = self.slots.get(self.at) {
            if self.changes.len() >= most {
                break;
            }
            self.at += 1;
            if slot.live {
                self.changes.push(slot.sample);
            }
        }
        let rest = self.slots.get(self.at..).unwrap_or_default();
        self.left = rest.iter().filter(|slot| slot.live).count();
        if self.left == 0 {
            self.at = self.slots.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimloop_core::plan::LoopId;
    use trimloop_core::scan::{AckResult, Command};
    use trimloop_core::tag::{Status, TagId, Value};

    fn sample(tag: u16, value: i64) -> Sample {
        Sample {
            tag: TagId(tag),
            value: Some(Value::Int(value)),
            status: Status::Good,
            source_time: None,
            server_time: None,
            received: Mono::from_nanos(value),
        }
    }

    fn values(batch: &Batch) -> Vec<(u16, i64)> {
        batch.changes.iter().map(|s| (s.tag.0, s.value.and_then(Value::as_i64).unwrap())).collect()
    }

    fn take(intake: &Intake, batch: &mut Batch) {
        assert!(intake.wait(batch, None, Span::from_millis(100)));
    }

    /// Samples come out in order of arrival; over the bound of a tag its own oldest goes first.
    #[test]
    fn oldest_of_the_tag_is_dropped_and_counted() {
        let (intake, mut batch) = Intake::new(2, Clock::start());
        let (session, _) = intake.open(true, Mono::default(), &[]);
        intake.samples(session, &[sample(1, -1)], Mono::default(), true);
        let many = SAMPLES_PER_TAG as i64 + 10;
        for value in 0..many {
            intake.samples(session, &[sample(0, value)], Mono::default(), true);
        }
        intake.samples(session, &[sample(1, -2)], Mono::default(), true);
        take(&intake, &mut batch);
        let mut expect = vec![(1, -1)];
        expect.extend((10..many).map(|value| (0, value)));
        expect.push((1, -2));
        assert_eq!(values(&batch), expect);
        assert_eq!(intake.counts().dropped, 10);
    }

    /// A thousand buffers' worth of one noisy tag neither grows memory nor hurts its neighbour.
    #[test]
    fn a_flood_stays_bounded() {
        let (intake, mut batch) = Intake::new(3, Clock::start());
        let (session, _) = intake.open(true, Mono::default(), &[sample(2, 7)]);
        let room = lock(&intake.shared.state).samples.slots.capacity();
        for value in 0..(room as i64 * 1000) {
            intake.samples(session, &[sample(0, value)], Mono::default(), true);
        }
        assert_eq!(lock(&intake.shared.state).samples.slots.capacity(), room);
        take(&intake, &mut batch);
        assert_eq!(batch.changes.len(), SAMPLES_PER_TAG + 1);
        assert_eq!(values(&batch)[0], (2, 7));
        take(&intake, &mut batch);
        assert!(batch.changes.is_empty());
    }

    /// What does not fit into one scan waits for the next, still in order.
    #[test]
    fn the_rest_waits() {
        let (intake, mut batch) = Intake::new(1, Clock::start());
        let all: Vec<Sample> = (0..10).map(|value| sample(0, value)).collect();
        let (session, _) = intake.open(true, Mono::default(), &all);
        take(&intake, &mut batch);
        batch.at = 0;
        batch.gather(4);
        assert_eq!((batch.changes.len(), batch.left), (4, 6));
        intake.samples(session, &[sample(0, 99)], Mono::default(), true);
        take(&intake, &mut batch);
        assert_eq!(values(&batch), (4..10).map(|value| (0, value)).collect::<Vec<_>>());
        take(&intake, &mut batch);
        assert_eq!(values(&batch), [(0, 99)]);
    }

    /// Samples of a session that is over are strays; the link goes up only where announced.
    #[test]
    fn sessions_fence_samples() {
        let (intake, mut batch) = Intake::new(1, Clock::start());
        let (first, epoch) = intake.open(true, Mono::default(), &[]);
        assert_eq!(epoch, 1);
        intake.close();
        intake.samples(first, &[sample(0, 1)], Mono::default(), true);
        let (second, epoch) = intake.open(false, Mono::default(), &[]);
        assert_eq!((second != first, epoch, intake.link().up), (true, 1, false));
        intake.samples(second, &[sample(0, 2)], Mono::from_nanos(5), true);
        intake.samples(second, &[sample(0, 3)], Mono::from_nanos(9), false);
        take(&intake, &mut batch);
        assert_eq!(values(&batch), [(0, 2), (0, 3)]);
        assert_eq!(batch.links[0].life, Some(Mono::from_nanos(5)));
        assert_eq!(intake.counts().stray, 1);
        assert_eq!(intake.open(true, Mono::default(), &[]).1, 2);
    }

    /// What happens to the session of one PLC is nothing to that of another.
    #[test]
    fn each_plc_has_a_session_of_its_own() {
        let (press, mut batch) = Intake::for_plcs(2, 2, Clock::start());
        let dryer = press.of(PlcId(1));
        let (of_press, _) = press.open(true, Mono::from_nanos(1), &[]);
        let (first, epoch) = dryer.open(true, Mono::from_nanos(2), &[sample(1, 1)]);
        assert_eq!(epoch, 1);
        dryer.close();
        dryer.samples(first, &[sample(1, 2)], Mono::from_nanos(3), true);
        press.samples(of_press, &[sample(0, 3)], Mono::from_nanos(4), true);
        take(&press, &mut batch);
        assert_eq!(values(&batch), [(1, 1), (0, 3)], "the closed session's straggler is left out");
        let link = |up, life| Link { up, epoch: 1, life: Some(Mono::from_nanos(life)) };
        assert_eq!(batch.links, [link(true, 4), link(false, 2)]);
        assert_eq!(dryer.open(true, Mono::from_nanos(5), &[]).1, 2);
        assert_eq!((press.link().epoch, dryer.link().epoch), (1, 2));
        // A handle for a PLC that the cell does not have opens nothing.
        assert_eq!(press.of(PlcId(2)).open(true, Mono::default(), &[]), (0, 0));
    }

    /// The order queue refuses when full; acks are never refused.
    #[test]
    fn orders_are_bounded_and_acks_are_not() {
        let (intake, mut batch) = Intake::new(1, Clock::start());
        let command = Command::Reset(LoopId(0));
        for id in 0..ORDERS_MAX as u64 {
            intake.order(Order { id, command }).unwrap();
        }
        assert_eq!(intake.order(Order { id: 99, command }), Err(QueueFull));
        for write in 0..1000 {
            intake.ack(Ack { write, result: AckResult::Good, at: Mono::default() });
        }
        take(&intake, &mut batch);
        assert_eq!((batch.orders.len(), batch.acks.len()), (ORDERS_MAX, 1000));
        intake.order(Order { id: 99, command }).unwrap();
    }

    /// A sample wakes the scan at once, but never sooner than 1 ms after the last; without
    /// samples the period ends the wait.
    #[test]
    fn the_scan_keeps_its_own_pace() {
        let clock = Clock::start();
        let (intake, mut batch) = Intake::new(1, clock);
        let (session, _) = intake.open(true, Mono::default(), &[]);
        take(&intake, &mut batch);
        let last = clock.mono();
        let period = Span::from_millis(20);
        assert!(intake.wait(&mut batch, Some(last), period));
        assert!(clock.mono() - last >= period);

        let last = clock.mono();
        let producer = intake.clone();
        let feeder = std::thread::spawn(move || {
            producer.samples(session, &[sample(0, 1)], Mono::default(), true);
        });
        assert!(intake.wait(&mut batch, Some(last), Span::from_secs(60)));
        let waited = clock.mono() - last;
        assert!(waited >= SCAN_MIN && waited < Span::from_secs(30));
        assert_eq!(batch.changes.len(), 1);
        feeder.join().unwrap();

        intake.stop();
        assert!(!intake.wait(&mut batch, None, period));
    }
}
