//! Carries out the actions of a step, in their order: writes and life signs to the PLC link,
//! rows and events to the store and to whoever watches.
//!
//! | to | policy |
//! |---|---|
//! | PLC writes | to their own PLC, bounded; when full, without a link or an audit: `NotSent` |
//! | heartbeat | to its own PLC, latest |
//! | store | its own queue; never waits |
//! | watchers | bounded, lossy, counted |
//! | order results | the last [`RESULTS_MAX`] |

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tracing::error;
use trimloop_core::event::{Event, OrderRefusal, What};
use trimloop_core::guard::ApprovedWrite;
use trimloop_core::ledger::Fate;
use trimloop_core::record::Record;
use trimloop_core::scan::{Ack, AckResult, Action, Proposal};
use trimloop_core::time::{Mono, Now, Utc};

use crate::clock::{Clock, span_of, wait_of};
use crate::intake::{Intake, lock};
use crate::latency::Stopwatch;
use crate::plc::Port;
use crate::store::StoreSender;

/// Results of orders that are kept for who asked.
pub const RESULTS_MAX: usize = 256;
/// What may wait for one watcher.
pub const SEEN_MAX: usize = 4096;

/// What a watcher sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// An event, with its number in this start.
    Event(u64, Event),
    /// A part, a score, a label, a decision or a ledger row, with the scan's UTC.
    Record(Utc, Record),
    /// A proposal for a person to decide.
    Ask(Utc, Proposal),
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderResult {
    /// Carried out.
    Done,
    /// Refused by the cell.
    Refused(OrderRefusal),
    /// Died waiting for the scan.
    Expired,
    /// Not known yet.
    Waiting,
}

/// Results of orders, for who waits for them.
#[derive(Debug)]
pub struct OrderBook {
    results: Mutex<VecDeque<(u64, OrderResult)>>,
    news: Condvar,
}

impl Default for OrderBook {
    fn default() -> Self {
        Self { results: Mutex::new(VecDeque::with_capacity(RESULTS_MAX)), news: Condvar::new() }
    }
}

impl OrderBook {
    fn enter(&self, order: u64, result: OrderResult) {
        let mut results = lock(&self.results);
        if results.len() >= RESULTS_MAX {
            results.pop_front();
        }
        results.push_back((order, result));
        drop(results);
        self.news.notify_all();
    }

    /// Waits for what becomes of an order; [`OrderResult::Waiting`] when time is up.
    pub fn wait(&self, order: u64, within: Duration, clock: Clock) -> OrderResult {
        let deadline = clock.mono() + span_of(within);
        let mut results = lock(&self.results);
        loop {
            if let Some((_, result)) = results.iter().rev().find(|(id, _)| *id == order) {
                return *result;
            }
            let left = wait_of(deadline - clock.mono());
            if left.is_zero() {
                return OrderResult::Waiting;
            }
            results = match self.news.wait_timeout(results, left) {
                Ok((results, _)) => results,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// Who watches.
#[derive(Debug, Default)]
pub struct Watchers {
    list: Mutex<Vec<SyncSender<Seen>>>,
    lost: AtomicU64,
}

impl Watchers {
    /// A new watcher; ends when its receiver is dropped.
    pub fn subscribe(&self) -> Receiver<Seen> {
        let (sender, receiver) = sync_channel(SEEN_MAX);
        lock(&self.list).push(sender);
        receiver
    }

    /// What watchers that were too slow did not see.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn tell(&self, seen: Seen) {
        lock(&self.list).retain(|watcher| match watcher.try_send(seen) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        });
    }
}

/// What dispatch counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DispatchCounts {
    /// Writes handed to the link.
    pub writes: u64,
    /// Writes that could not be: no audit, no link, or its queue was full.
    pub writes_held_back: u64,
    /// Confirmed writes.
    pub confirmed: u64,
    /// Decisions to hold.
    pub holds: u64,
    /// Events told; the number of the newest.
    pub events: u64,
}

/// Carries out actions.
pub struct Dispatch {
    /// Where writes go, by `PlcId`; one that is missing takes none.
    pub ports: Vec<Port>,
    /// Where rows go.
    pub store: Option<StoreSender>,
    /// Where answers of writes that were not sent go.
    pub intake: Intake,
    /// Who watches.
    pub watchers: Arc<Watchers>,
    /// Results of orders.
    pub orders: Arc<OrderBook>,
    /// Latency.
    pub stopwatch: Stopwatch,
    /// Counts.
    pub counts: DispatchCounts,
}

impl Dispatch {
    /// Carries out the actions of the scan at `now`.
    ///
    /// - `newest`: when the newest sample of the scan was received.
    /// - `audited`: whether the journal and the store take what is decided; without, nothing is
    ///   written.
    pub fn carry_out(
        &mut self,
        now: Now,
        newest: Option<Mono>,
        audited: bool,
        actions: impl Iterator<Item = Action>,
    ) {
        for action in actions {
            match action {
                Action::Write(write) => self.write(now, newest, audited, write),
                Action::Heartbeat(plc, beat) => {
                    if let Some(port) = self.ports.get(plc.index()) {
                        port.heartbeat(beat);
                    }
                }
                Action::Ask(proposal) => self.watchers.tell(Seen::Ask(now.utc, proposal)),
                Action::Record(record) => self.record(now, record),
                Action::Event(event) => self.event(event),
            }
        }
    }

    /// Orders that died waiting.
    pub fn expire(&mut self, orders: &[u64]) {
        for order in orders {
            self.orders.enter(*order, OrderResult::Expired);
        }
    }

    fn write(&mut self, now: Now, newest: Option<Mono>, audited: bool, write: ApprovedWrite) {
        let seq = write.seq();
        let sent = match self.ports.get(write.plc().index()) {
            Some(port) if audited => port.write(write),
            _ => Err(seq),
        };
        match sent {
            Ok(()) => {
                self.counts.writes += 1;
                self.stopwatch.begin(seq, newest.unwrap_or(now.mono));
            }
            Err(seq) => {
                self.counts.writes_held_back += 1;
                error!(seq, audited, "A write was held back: no audit, no link, or a full queue.");
                self.intake.ack(Ack { write: seq, result: AckResult::NotSent, at: now.mono });
            }
        }
    }

    fn record(&mut self, now: Now, record: Record) {
        match &record {
            Record::Ledger(row) => {
                if row.fate == Fate::Confirmed {
                    self.counts.confirmed += 1;
                    self.stopwatch.confirm(row.write, now.mono);
                }
                self.watchers.tell(Seen::Record(now.utc, record));
            }
            Record::Decision(row) => {
                let held = matches!(row.outcome, trimloop_core::record::Outcome::Hold(_));
                self.counts.holds += u64::from(held);
                self.watchers.tell(Seen::Record(now.utc, record));
            }
            Record::Part(_) | Record::Label(_) | Record::Score(_) | Record::Contribution(_) => {
                self.watchers.tell(Seen::Record(now.utc, record));
            }
            // Too many for watchers; the store has them.
            Record::Feature(_)
            | Record::Forecast(_)
            | Record::Check(_)
            | Record::Input(_)
            | Record::Wish(_) => {}
        }
        if let Some(store) = &self.store {
            store.record(now.utc, record);
        }
    }

    /// Tells an event; also those that the scan itself has to tell.
    pub fn event(&mut self, event: Event) {
        match event.what {
            What::OrderDone(order) => self.orders.enter(order, OrderResult::Done),
            What::OrderRefused(order, why) => {
                self.orders.enter(order, OrderResult::Refused(why));
            }
            _ => {}
        }
        self.counts.events += 1;
        let number = self.counts.events;
        self.watchers.tell(Seen::Event(number, event));
        if let Some(store) = &self.store {
            store.event(number, event);
        }
    }
}
