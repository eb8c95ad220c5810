//! Any interleaving of crashes, lost and doubled replies, late commits, stale and missing news,
//! flapping conditions and people: never two open orders for one fault, and exactly one once
//! everything works again and the condition holds.
//!
//! `TRIMLOOP_HISTORIES=100000 cargo test -p trimloop-work --test histories` runs as many as that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use trimloop_core::time::{Span, Utc};
use trimloop_work::desk::{Alarm, CaseState, Desk, DeskPlan, Mode, OrderState};
use trimloop_work::key::{ExtKey, Subject};
use trimloop_work::outbox::{Operation, Request, RowState, Sent, Terms};

const FAULTS: usize = 3;
const STEPS: usize = 120;

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn place(&mut self, of: usize) -> usize {
        usize::try_from(self.below(of as u64)).unwrap()
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// An order at the other system, which takes in every create it is sent.
#[derive(Clone, Debug)]
struct Remote {
    key: ExtKey,
    state: OrderState,
    updated: Utc,
    /// Searches and lists show it from then on.
    listed: Utc,
}

impl Remote {
    fn is_open(&self) -> bool {
        !matches!(self.state, OrderState::Done | OrderState::Cancelled | OrderState::Rejected)
    }
}

struct World {
    dice: Dice,
    at: Utc,
    /// As it is on disk.
    desk: Desk,
    remote: Vec<Remote>,
    /// News that was read and not yet handed on.
    news: Vec<(ExtKey, OrderState, Utc)>,
    active: [bool; FAULTS],
}

fn subject(fault: usize) -> Subject {
    Subject {
        site: "north".into(),
        cell: "press-4".into(),
        asset: format!("asset-{fault}"),
        mode: "worn".into(),
        component: String::new(),
    }
}

fn alarm(fault: usize) -> Alarm {
    Alarm { subject: subject(fault), priority: 3, mode: Mode::Auto, proof: None }
}

fn never(_: &Subject, _: &Subject) -> bool {
    false
}

impl World {
    fn new(seed: u64) -> Self {
        let (proof, storm_cases) = (Span::from_secs(1800), usize::MAX);
        let plan = DeskPlan { proof, storm_cases, ..DeskPlan::default() };
        Self {
            dice: Dice(seed),
            at: Utc::from_millis(1_795_341_600_000),
            desk: Desk::new(plan, Terms::default(), never),
            remote: Vec::new(),
            news: Vec::new(),
            active: [false; FAULTS],
        }
    }

    /// One thing happens. `calm`: nothing fails, and conditions and people rest.
    fn step(&mut self, calm: bool) {
        self.at = self.at + Span::from_secs(1 + self.dice.below(45).cast_signed());
        let at = self.at;
        match if calm { 2 + self.dice.below(3) } else { self.dice.below(9) } {
            0 | 1 => {
                let fault = self.dice.place(FAULTS);
                self.active[fault] = !self.active[fault];
                if self.active[fault] {
                    self.desk.raised(&alarm(fault), at);
                } else {
                    self.desk.cleared(&subject(fault), at);
                }
            }
            3 => self.poll(calm),
            4 => self.desk.tick(at),
            5 | 6 => self.person(),
            7 => self.desk.recover(at),
            _ => self.request(calm),
        }
        self.check();
    }

    fn request(&mut self, calm: bool) {
        let at = self.at;
        let mut after = self.desk.clone();
        let Some(request) = after.take(at) else { return };
        // A crash before the row is stored: nothing was sent.
        if !calm && self.dice.one_in(10) {
            self.desk.recover(at);
            return;
        }
        self.desk = after;
        match request {
            Request::Send(row) => {
                // A crash between the store and the first byte.
                if !calm && self.dice.one_in(10) {
                    self.desk.recover(at);
                    return;
                }
                let fate = if calm { 5 } else { self.dice.below(8) };
                let arrives = fate != 0 && fate != 1 && fate != 4;
                if arrives && row.operation == Operation::Create {
                    let late = |dice: &mut Dice, most| {
                        Span::from_secs(if calm { 0 } else { dice.below(most).cast_signed() })
                    };
                    let from = at + late(&mut self.dice, 50);
                    let listed = from + late(&mut self.dice, 60);
                    let state = OrderState::Open;
                    self.remote.push(Remote { key: row.key, state, updated: from, listed });
                }
                match fate {
                    0 => self.desk.sent(
                        row.id,
                        Sent::NotDone(at + Span::from_secs(5), "429".into()),
                        at,
                    ),
                    // Lost on the way there, or on the way back.
                    1 | 2 => self.desk.sent(row.id, Sent::Unknown("no answer".into()), at),
                    3 | 4 => self.desk.recover(at),
                    5 | 6 => self.desk.sent(row.id, Sent::Delivered, at),
                    _ => {
                        self.desk.sent(row.id, Sent::Delivered, at);
                        self.desk.sent(row.id, Sent::Delivered, at);
                    }
                }
            }
            Request::Search(row) => {
                if !calm && self.dice.one_in(5) {
                    match self.dice.below(2) {
                        0 => self.desk.recover(at),
                        _ => self.desk.searched(row.id, None, at),
                    }
                    return;
                }
                let found = match row.operation {
                    Operation::Create => {
                        self.remote.iter().any(|r| r.key == row.key && r.listed <= at)
                    }
                    Operation::Comment(_) => false,
                };
                self.desk.searched(row.id, Some(found), at);
            }
        }
    }

    /// Reads the list, and hands on what was read, some of it late, twice or never.
    fn poll(&mut self, calm: bool) {
        let at = self.at;
        let seen = self.remote.iter().filter(|order| order.listed <= at);
        self.news.extend(seen.map(|order| (order.key, order.state, order.updated)));
        if calm {
            for (key, state, updated) in std::mem::take(&mut self.news) {
                self.desk.order_is(key, state, updated, at);
            }
            return;
        }
        while !self.news.is_empty() && !self.dice.one_in(4) {
            let place = self.dice.place(self.news.len());
            let (key, state, updated) = self.news[place];
            if !self.dice.one_in(4) {
                self.desk.order_is(key, state, updated, at);
            }
            if !self.dice.one_in(3) {
                self.news.swap_remove(place);
            }
        }
    }

    fn person(&mut self) {
        let at = self.at;
        let open: Vec<usize> = (0..self.remote.len())
            .filter(|place| self.remote[*place].is_open() && self.remote[*place].listed <= at)
            .collect();
        if open.is_empty() {
            return;
        }
        let place = open[self.dice.place(open.len())];
        self.remote[place].state = match self.dice.below(6) {
            0 => OrderState::InProgress,
            1 => OrderState::OnHold,
            2 => OrderState::Cancelled,
            _ => OrderState::Done,
        };
        self.remote[place].updated = at;
    }

    fn open_orders(&self, fault: usize) -> usize {
        let fingerprint = subject(fault).fingerprint();
        let of = |order: &&Remote| order.key.fingerprint == fingerprint && order.is_open();
        self.remote.iter().filter(of).count()
    }

    fn check(&self) {
        for fault in 0..FAULTS {
            let open = self.open_orders(fault);
            assert!(open <= 1, "{open} open orders for fault {fault}: {:?}", self.remote);
        }
        // Every order ever made has a key of its own.
        let mut keys: BTreeMap<ExtKey, usize> = BTreeMap::new();
        self.remote.iter().for_each(|order| *keys.entry(order.key).or_default() += 1);
        assert!(keys.values().all(|count| *count == 1), "{:?}", self.remote);
    }

    /// Everything works again: what must then be so.
    fn settle(&mut self) {
        self.news.clear();
        for _ in 0..200 {
            self.step(true);
        }
        for row in self.desk.outbox().rows() {
            assert!(matches!(row.state, RowState::Delivered), "{row:?}");
        }
        for fault in 0..FAULTS {
            let case = self.desk.case(subject(fault).fingerprint());
            let refused = case.is_some_and(|case| matches!(case.state, CaseState::Refused(_)));
            if self.active[fault] && !refused {
                assert_eq!(self.open_orders(fault), 1, "fault {fault}: {case:?}");
            }
            if !self.active[fault] && case.is_some() {
                // Somebody's order is open, or refused; nothing waits for us.
                assert!(refused || self.open_orders(fault) == 1, "fault {fault}: {case:?}");
            }
        }
    }
}

#[test]
fn at_most_one_open_order_and_in_the_end_exactly_one() {
    let histories = std::env::var("TRIMLOOP_HISTORIES");
    let histories: u64 = histories.map_or(5_000, |text| text.parse().unwrap());
    let mut orders = 0;
    for seed in 0..histories {
        let mut world = World::new(seed);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                world.step(false);
            }
            world.settle();
        }));
        assert!(run.is_ok(), "history {seed}");
        orders += world.remote.len();
    }
    // The histories say something: there is about an order for each.
    assert!(orders as u64 > histories, "{orders} orders in {histories} histories");
}
