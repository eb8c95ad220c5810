//! A product in a world of its own: its orders, what goes wrong on the way to it, and an outbox
//! that tells it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use trimloop_cmms::{Clock, Connector, Draft, Part, Trouble, WorkSystem, connect};
use trimloop_core::time::{Span, Utc};
use trimloop_work::key::ExtKey;
use trimloop_work::outbox::{Operation, Outbox, Request as Todo, RowState, Sent, Terms};

pub use crate::made_up::key;

use super::server::{Answer, Request, Server};

/// 2026-11-28T14:41:16Z.
const BEGIN: i64 = 1_795_876_876;

/// An order as a product keeps it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub id: u64,
    /// Where our key stands.
    pub title: String,
    pub status: String,
    /// Seconds since 1970.
    pub created: i64,
    pub updated: i64,
    pub comments: Vec<String>,
}

/// The orders of a product.
#[derive(Debug, Default)]
pub struct Book {
    pub orders: Vec<Kept>,
    /// So many seconds pass before a new order is in lists.
    pub search_lag: i64,
    /// Readings of meters: meter, value, time.
    pub readings: Vec<(String, f64, i64)>,
    /// What requests did wrong.
    pub complaints: Vec<String>,
}

impl Book {
    pub fn create(&mut self, title: &str, status: &str, now: i64) -> u64 {
        let id = 4700 + self.orders.len() as u64;
        self.orders.push(Kept {
            id,
            title: title.to_owned(),
            status: status.to_owned(),
            created: now,
            updated: now,
            comments: Vec::new(),
        });
        id
    }

    /// Orders that lists show now.
    pub fn listed(&self, now: i64) -> impl Iterator<Item = &Kept> {
        let lag = self.search_lag;
        self.orders.iter().filter(move |order| order.created + lag <= now)
    }

    pub fn one(&self, id: &str) -> Option<&Kept> {
        self.orders.iter().find(|order| order.id.to_string() == id)
    }

    pub fn one_mut(&mut self, id: &str) -> Option<&mut Kept> {
        self.orders.iter_mut().find(|order| order.id.to_string() == id)
    }

    pub fn complain(&mut self, what: impl Into<String>) {
        self.complaints.push(what.into());
    }
}

/// A double of a product: keeps orders, and says what requests do wrong.
pub trait Product: Send + 'static {
    fn handle(&mut self, request: &Request, now: i64) -> Answer;
    fn book(&mut self) -> &mut Book;
}

/// Random numbers of a seed (xorshift*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

/// What goes wrong on the way.
pub struct Faults {
    pub dice: Dice,
    pub on: bool,
    /// Requests that arrive late.
    late: Vec<(i64, Request)>,
    /// How often each happened.
    pub seen: BTreeMap<&'static str, u32>,
}

/// A product, reachable, with an adapter that talks to it.
pub struct World<P> {
    pub product: Arc<Mutex<P>>,
    pub faults: Arc<Mutex<Faults>>,
    pub now: Arc<AtomicI64>,
    pub server: Server,
}

/// A poisoned lock only means that another thread of the test failed first.
pub fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<P: Product> World<P> {
    pub fn new(product: P, seed: u64) -> Self {
        let product = Arc::new(Mutex::new(product));
        let faults =
            Faults { dice: Dice::new(seed), on: false, late: Vec::new(), seen: BTreeMap::new() };
        let faults = Arc::new(Mutex::new(faults));
        let now = Arc::new(AtomicI64::new(BEGIN));
        let (p, f, n) = (Arc::clone(&product), Arc::clone(&faults), Arc::clone(&now));
        let server = Server::start(move |request| {
            let now = n.load(Ordering::SeqCst);
            spoilt(&mut *locked(&p), &mut locked(&f), &request, now)
        });
        Self { product, faults, now, server }
    }

    pub fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Arc::new(move || Utc::from_millis(now.load(Ordering::SeqCst) * 1000))
    }

    pub fn at(&self) -> Utc {
        (self.clock())()
    }

    pub fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn connect(&self, config: &Connector) -> Box<dyn WorkSystem> {
        connect(config, self.clock()).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn book<T>(&self, look: impl FnOnce(&mut Book) -> T) -> T {
        look(locked(&self.product).book())
    }

    /// What was on its way arrives.
    pub fn settle(&self) {
        let late = std::mem::take(&mut locked(&self.faults).late);
        for (_, request) in late {
            locked(&self.product).handle(&request, self.now.load(Ordering::SeqCst));
        }
    }
}

/// One request through what may go wrong.
fn spoilt(product: &mut impl Product, faults: &mut Faults, request: &Request, now: i64) -> Answer {
    let (due, later) = std::mem::take(&mut faults.late).into_iter().partition(|(at, _)| *at <= now);
    faults.late = later;
    let due: Vec<(i64, Request)> = due;
    for (_, request) in due {
        product.handle(&request, now);
    }
    if !faults.on {
        return product.handle(request, now);
    }
    let changes = request.method != "GET";
    let (name, answer) = match faults.dice.below(20) {
        0 => ("429", Answer::json(429, &error("slow down")).with("Retry-After", "20")),
        1 => ("503", Answer::json(503, &error("busy")).with("Retry-After", "20")),
        2 => ("500 before", Answer::json(500, &error("oops"))),
        3 => ("lost before", Answer::Vanish),
        4 if changes => {
            let wait = i64::try_from(faults.dice.below(25)).unwrap();
            faults.late.push((now + wait, request.clone()));
            ("late", Answer::Vanish)
        }
        5..=6 => {
            product.handle(request, now);
            ("lost after", Answer::Vanish)
        }
        7 => {
            product.handle(request, now);
            ("500 after", Answer::json(500, &error("oops")))
        }
        8 => {
            product.handle(request, now);
            ("cut", Answer::Cut(200, "{".to_owned()))
        }
        9 => {
            product.handle(request, now);
            ("gateway", Answer::Full(502, Vec::new(), "<html>bad gateway</html>".to_owned()))
        }
        _ => ("none", product.handle(request, now)),
    };
    *faults.seen.entry(name).or_default() += 1;
    answer
}

fn error(text: &str) -> serde_json::Value {
    serde_json::json!({"error": text})
}

/// An order with texts that need care.
pub fn draft(asset: &str) -> Draft {
    Draft {
        key: key(asset),
        title: "Rückstromsperre \"worn\" – cushion falls by 0.4 mm a shift, seen at press 4".into(),
        body: format!(
            "{}\nAuthority used 82 %; 'hold pressure' + 30 bar.",
            "Evidence. ".repeat(200)
        ),
        priority: 2,
        asset: asset.into(),
        asset_ref: Some("4711".into()),
        due: Some(Utc::from_millis((BEGIN + 86_400) * 1000)),
        assignee: Some("42".into()),
        parts: vec![Part { reference: "88".into(), name: "Check ring".into(), quantity: 1 }],
        mode: "check_ring_worn".into(),
    }
}

/// An outbox and what it knows, in front of one adapter.
pub struct Teller {
    pub outbox: Outbox,
    pub system: Box<dyn WorkSystem>,
    drafts: BTreeMap<ExtKey, Draft>,
    since: BTreeMap<ExtKey, Utc>,
    ids: BTreeMap<ExtKey, String>,
    /// What went wrong last.
    pub troubles: Vec<Trouble>,
}

impl Teller {
    pub fn new(system: Box<dyn WorkSystem>) -> Self {
        let terms = Terms { settle: Span::from_secs(120), ..Terms::default() };
        Self {
            outbox: Outbox::new(terms),
            system,
            drafts: BTreeMap::new(),
            since: BTreeMap::new(),
            ids: BTreeMap::new(),
            troubles: Vec::new(),
        }
    }

    pub fn order(&mut self, draft: Draft, at: Utc) {
        self.outbox.push(draft.key, Operation::Create, at);
        self.since.insert(draft.key, at);
        self.drafts.insert(draft.key, draft);
    }

    pub fn say(&mut self, key: ExtKey, text: &str, at: Utc) {
        self.outbox.push(key, Operation::Comment(text.to_owned()), at);
    }

    /// Does what there is to do now.
    pub fn work(&mut self, at: Utc) {
        while let Some(todo) = self.outbox.take(at) {
            match todo {
                Todo::Send(row) => {
                    let marker = format!("tl-{}", row.id);
                    let sent = match &row.operation {
                        Operation::Create => {
                            let draft = self.drafts[&row.key].clone();
                            let made = self.system.create(&draft, &row.idempotency_key());
                            made.map(|id| drop(self.ids.insert(row.key, id)))
                        }
                        Operation::Comment(text) => {
                            let id = self.ids[&row.key].clone();
                            self.system.comment(&id, &format!("{text} ({marker})"), &marker)
                        }
                    };
                    let how = match sent {
                        Ok(()) => Sent::Delivered,
                        Err(trouble) => self.trouble(trouble, at),
                    };
                    // A reply that comes twice changes nothing.
                    self.outbox.sent(row.id, how.clone(), at);
                    if how == Sent::Delivered {
                        self.outbox.sent(row.id, how, at);
                    }
                }
                Todo::Search(row) => {
                    let found = match &row.operation {
                        Operation::Create => {
                            let found = self.system.find(row.key, self.since[&row.key]);
                            found.map(|found| {
                                if let Some(first) = found.first() {
                                    self.ids.insert(row.key, first.id.clone());
                                }
                                !found.is_empty()
                            })
                        }
                        Operation::Comment(_) => {
                            let id = self.ids[&row.key].clone();
                            self.system.has_comment(&id, &format!("tl-{}", row.id))
                        }
                    };
                    let found = found.map_err(|trouble| self.trouble(trouble, at)).ok();
                    self.outbox.searched(row.id, found, at);
                }
            }
        }
    }

    fn trouble(&mut self, trouble: Trouble, at: Utc) -> Sent {
        self.troubles.push(trouble.clone());
        match trouble {
            Trouble::NotDone { not_before, why } => {
                Sent::NotDone(not_before.unwrap_or(at + Span::from_secs(10)), why)
            }
            Trouble::Paused(why) => Sent::NotDone(at + Span::from_secs(60), why),
            Trouble::Unknown(why) => Sent::Unknown(why),
            Trouble::Refused(why) => Sent::Refused(why),
        }
    }

    pub fn is_done(&self) -> bool {
        self.outbox.rows().all(|row| row.state == RowState::Delivered)
    }
}

/// Orders and comments through every fault of a seed: at the end each is there once.
pub fn survive<P: Product>(world: &World<P>, config: &Connector, seed: u64) {
    let mut teller = Teller::new(world.connect(config));
    locked(&world.faults).on = true;
    world.book(|book| book.search_lag = 80);
    let assets = ["press-4", "press-5", "dryer-1"];
    for asset in assets {
        teller.order(draft(asset), world.at());
        teller.say(key(asset), "It has become more urgent: priority 1.", world.at());
        teller.say(
            key(asset),
            "The condition is gone. This order stays yours to close.",
            world.at(),
        );
    }
    for step in 0..600 {
        if step == 300 {
            locked(&world.faults).on = false;
        }
        teller.work(world.at());
        world.pass(10);
        if teller.is_done() {
            break;
        }
    }
    world.settle();
    let rows: Vec<_> = teller.outbox.rows().filter(|r| r.state != RowState::Delivered).collect();
    let troubles = &teller.troubles;
    assert!(rows.is_empty(), "seed {seed}: not delivered: {rows:?} after {troubles:?}");
    world.book(|book| {
        let complaints = &book.complaints;
        assert!(complaints.is_empty(), "seed {seed}: {complaints:?}");
        assert_eq!(book.orders.len(), assets.len(), "seed {seed}: {:?} {troubles:?}", book.orders);
        for order in &book.orders {
            let comments = &order.comments;
            assert_eq!(comments.len(), 2, "seed {seed}: {comments:?} {troubles:?}");
        }
    });
}
