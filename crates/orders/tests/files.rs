//! The desk on files: killed at any step, with a system that loses replies, is slow to show what it
//! took in, or is away for a day.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rusqlite::{Connection, params};
use trimloop_cmms::{CloseCodes, Draft, Reading, Remote, Trouble, WorkSystem};
use trimloop_core::time::{Span, Utc};
use trimloop_orders::book::{Act, Book, Stamp};
use trimloop_orders::draft::Origin;
use trimloop_orders::engine::{Ask, Engine, Setup};
use trimloop_orders::findings::{self, Codes};
use trimloop_orders::meters::{CYCLES, MeterPlan, PlanRule};
use trimloop_work::alarm::AlarmPlan;
use trimloop_work::desk::{CaseState, DeskPlan, Mode, OrderState};
use trimloop_work::key::{ExtKey, Subject};
use trimloop_work::outbox::{RowState, Terms};
use trimloop_work::watch::{Trigger, Watched};

#[path = "files/notices.rs"]
mod notices;

const NAMES: [&str; 3] = ["short", "flash", "burn"];

/// A data folder with the tables of the recorder that the desk reads.
struct Folder {
    path: PathBuf,
    db: Connection,
    next: i64,
}

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trimloop-orders-{name}-{}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        std::fs::create_dir_all(&path).unwrap();
        let db = Connection::open(path.join("state.db")).unwrap();
        // The recorder's own durability is its own matter.
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.pragma_update(None, "synchronous", "OFF").unwrap();
        db.execute_batch(
            "CREATE TABLE boot(boot INTEGER PRIMARY KEY);
             INSERT INTO boot VALUES(1);
             CREATE TABLE event(
               id INTEGER PRIMARY KEY, boot INTEGER NOT NULL, utc INTEGER NOT NULL,
               process INTEGER NOT NULL, part INTEGER NOT NULL, code TEXT NOT NULL,
               subject TEXT NOT NULL, detail TEXT NOT NULL, sentence TEXT NOT NULL, number INTEGER);
             CREATE TABLE decision(
               boot INTEGER NOT NULL, number INTEGER NOT NULL, utc INTEGER NOT NULL,
               part INTEGER NOT NULL, loop TEXT NOT NULL, desired REAL, limited REAL, read_back REAL,
               outcome TEXT NOT NULL, reason TEXT, write INTEGER, failed INTEGER NOT NULL,
               cut TEXT NOT NULL, mode TEXT NOT NULL, rung TEXT NOT NULL,
               PRIMARY KEY(boot, number)) WITHOUT ROWID;",
        )
        .unwrap();
        Self { path, db, next: 1 }
    }

    fn event(&mut self, at: Utc, code: &str, subject: &str, detail: &str) {
        let sentence = format!("{code} {subject} {detail}.");
        self.db
            .execute(
                "INSERT INTO event(boot, utc, process, part, code, subject, detail, sentence)
                 VALUES(1, ?, 0, ?, ?, ?, ?, ?)",
                params![at.as_nanos(), self.next, code, subject, detail, sentence],
            )
            .unwrap();
        self.next += 1;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.path));
    }
}

fn setup() -> Setup {
    let watched = |name: &str| Watched {
        subject: Subject {
            site: "north".into(),
            cell: "cell-1".into(),
            asset: "press-4".into(),
            mode: name.into(),
            component: String::new(),
        },
        trigger: Trigger::Signature(name.into()),
        alarm: AlarmPlan { chatter_returns: usize::MAX, ..AlarmPlan::default() },
        priority: 2,
        order: Mode::Auto,
        proof: Some(Span::from_secs(1800)),
    };
    Setup {
        faults: NAMES.map(watched).into(),
        relations: BTreeMap::new(),
        plan: DeskPlan { storm_cases: usize::MAX, ..DeskPlan::default() },
        terms: Terms::default(),
        origin: Origin { recipe: "Recipe: lid r1".into(), ..Origin::default() },
        trims: BTreeMap::new(),
        poll: Span::from_secs(60),
        utc_text: |at| at.as_nanos().to_string(),
        pace: (Utc::from_nanos(0), 1),
        stamp: Stamp::default(),
        meters: MeterPlan::default(),
        plans: Vec::new(),
        channels: Vec::new(),
    }
}

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

#[derive(Clone, Debug)]
struct ShopOrder {
    key: ExtKey,
    state: OrderState,
    updated: Utc,
    listed: Utc,
    comments: Vec<String>,
}

/// Another system: takes in every create it is sent, also a second one with the same key.
struct Shop {
    orders: Vec<ShopOrder>,
    dice: Dice,
    now: Utc,
    /// Nothing fails and nobody is killed.
    calm: bool,
    /// Nobody answers.
    down: bool,
    readings: Vec<Reading>,
    requests: u64,
}

#[derive(Clone)]
struct ShopSystem(Arc<Mutex<Shop>>);

impl ShopSystem {
    fn shop(&self) -> MutexGuard<'_, Shop> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What goes wrong before a request is carried out: the process may be killed.
    fn before(&self) -> Result<(), Trouble> {
        let mut shop = self.shop();
        shop.requests += 1;
        if shop.down {
            return Err(Trouble::NotDone { not_before: None, why: "no connection".into() });
        }
        if shop.calm {
            return Ok(());
        }
        match shop.dice.below(12) {
            0 => Err(Trouble::NotDone { not_before: None, why: "429".into() }),
            1 => Err(Trouble::Unknown("the connection broke".into())),
            2 => Err(Trouble::Paused("401".into())),
            3 => {
                drop(shop);
                resume_unwind(Box::new("killed"))
            }
            _ => Ok(()),
        }
    }

    /// What goes wrong after it: the reply is lost, or the process is killed.
    fn after(&self) -> Result<(), Trouble> {
        let mut shop = self.shop();
        if shop.calm {
            return Ok(());
        }
        match shop.dice.below(5) {
            0 => Err(Trouble::Unknown("no answer came".into())),
            1 => {
                drop(shop);
                resume_unwind(Box::new("killed"))
            }
            _ => Ok(()),
        }
    }
}

fn remote(place: usize, order: &ShopOrder) -> Remote {
    Remote {
        id: place.to_string(),
        key: Some(order.key),
        state: order.state,
        word: order.state.word().into(),
        is_word_unknown: false,
        updated: order.updated,
        assignee: None,
        close: CloseCodes::default(),
    }
}

impl WorkSystem for ShopSystem {
    fn name(&self) -> &'static str {
        "shop"
    }
    fn can_search(&self) -> bool {
        true
    }
    fn create(&mut self, order: &Draft, _: &str) -> Result<String, Trouble> {
        self.before()?;
        let mut shop = self.shop();
        let lag = if shop.calm { 0 } else { shop.dice.below(110).cast_signed() };
        let (now, key) = (shop.now, order.key);
        let listed = now + Span::from_secs(lag);
        let (state, comments) = (OrderState::Open, Vec::new());
        shop.orders.push(ShopOrder { key, state, updated: now, listed, comments });
        let id = (shop.orders.len() - 1).to_string();
        drop(shop);
        self.after()?;
        Ok(id)
    }
    fn comment(&mut self, id: &str, _: &str, marker: &str) -> Result<(), Trouble> {
        self.before()?;
        self.shop().orders[id.parse::<usize>().unwrap()].comments.push(marker.into());
        self.after()
    }
    fn has_comment(&mut self, id: &str, marker: &str) -> Result<bool, Trouble> {
        self.before()?;
        let shop = self.shop();
        Ok(shop.orders[id.parse::<usize>().unwrap()].comments.iter().any(|it| it == marker))
    }
    fn find(&mut self, key: ExtKey, _: Utc) -> Result<Vec<Remote>, Trouble> {
        self.before()?;
        let shop = self.shop();
        let listed =
            shop.orders.iter().enumerate().filter(|(_, o)| o.key == key && o.listed <= shop.now);
        Ok(listed.map(|(place, order)| remote(place, order)).collect())
    }
    fn changed(&mut self, since: Utc) -> Result<Vec<Remote>, Trouble> {
        self.before()?;
        let shop = self.shop();
        let listed = shop.orders.iter().enumerate();
        let listed = listed.filter(|(_, o)| o.updated >= since && o.listed <= shop.now);
        Ok(listed.map(|(place, order)| remote(place, order)).collect())
    }
    fn read(&mut self, id: &str) -> Result<Option<Remote>, Trouble> {
        self.before()?;
        let (shop, place) = (self.shop(), id.parse::<usize>().unwrap());
        Ok(shop.orders.get(place).map(|order| remote(place, order)))
    }
    fn reading(&mut self, reading: &Reading) -> Result<(), Trouble> {
        self.before()?;
        self.shop().readings.push(reading.clone());
        self.after()
    }
    fn check(&mut self) -> Result<String, Trouble> {
        Ok(String::new())
    }
}

fn shop(seed: u64, now: Utc) -> ShopSystem {
    let dice = Dice(seed);
    let (orders, calm, down) = (Vec::new(), false, false);
    let readings = Vec::new();
    ShopSystem(Arc::new(Mutex::new(Shop { orders, dice, now, calm, down, readings, requests: 0 })))
}

fn open(data: &Path, system: &ShopSystem, now: Utc) -> Engine {
    Engine::open(data, setup(), Box::new(system.clone()), now).unwrap()
}

fn open_by_fault(system: &ShopSystem) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    let shop = system.shop();
    let over = [OrderState::Done, OrderState::Cancelled];
    for order in shop.orders.iter().filter(|order| !over.contains(&order.state)) {
        *count.entry(order.key.fingerprint.to_string()).or_default() += 1;
    }
    count
}

fn begin() -> Utc {
    Utc::from_millis(1_795_341_600_000)
}

fn history(seed: u64, folder: &mut Folder) {
    let mut now = begin();
    let mut dice = Dice(seed ^ 0xABCD);
    let system = shop(seed, now);
    let mut engine = Some(open(&folder.path, &system, now));
    let mut active = [false; 3];
    for step in 0..70 {
        let calm = step >= 40;
        now = now + Span::from_secs(1 + dice.below(if calm { 900 } else { 90 }).cast_signed());
        {
            let mut shop = system.shop();
            (shop.now, shop.calm) = (now, calm);
        }
        match dice.below(8) {
            0..=2 if !calm => {
                let which = usize::try_from(dice.below(3)).unwrap();
                active[which] = !active[which];
                let word = if active[which] { "on" } else { "off" };
                folder.event(now, "signature", NAMES[which], word);
            }
            3 if !calm => {
                let mut shop = system.shop();
                if !shop.orders.is_empty() {
                    let count = shop.orders.len() as u64;
                    let which = usize::try_from(shop.dice.below(count)).unwrap();
                    let order = &mut shop.orders[which];
                    (order.state, order.updated) = (OrderState::Done, now);
                }
            }
            4 if !calm => engine = None,
            // A webhook, early, late, repeated or of nothing; others never come.
            5 => engine.iter_mut().for_each(Engine::wake),
            _ => {}
        }
        // Killed between rounds, or in the middle of one.
        let mut running = match engine.take() {
            Some(engine) => engine,
            None => open(&folder.path, &system, now),
        };
        let round = catch_unwind(AssertUnwindSafe(|| running.round(now).map(|_| running)));
        engine = round.ok().map(|ended| ended.expect("a round"));
        let most = open_by_fault(&system).into_values().max().unwrap_or(0);
        assert!(most <= 1, "seed {seed} step {step}: {:?}", system.shop().orders);
    }
    let engine = engine.expect("calm");
    let open = open_by_fault(&system);
    for (name, active) in NAMES.iter().zip(active) {
        let case = engine.works().desk.cases().find(|case| case.subject.mode == *name);
        let Some(case) = case else {
            assert!(!active, "seed {seed}: {name} is there, and nobody works on it");
            continue;
        };
        assert_eq!(case.active, active, "seed {seed}: {name} was lost or doubled");
        if active {
            let count = open.get(&case.key.fingerprint.to_string()).copied().unwrap_or(0);
            assert_eq!(count, 1, "seed {seed}: {case:?} {:?}", system.shop().orders);
        }
    }
    let unsettled = |row: &&trimloop_work::outbox::Row| row.state != RowState::Delivered;
    let left: Vec<_> = engine.works().desk.outbox().rows().filter(unsettled).collect();
    assert!(left.is_empty(), "seed {seed}: {left:?}");
}

/// Any order of kills, lost replies and flapping: at most one open order for a fault at any time,
/// and just one in the end.
///
/// `TRIMLOOP_WORK_HISTORIES=500` runs as many.
#[test]
fn killed_at_any_step_it_makes_one_order() {
    let count = std::env::var("TRIMLOOP_WORK_HISTORIES").ok().and_then(|n| n.parse().ok());
    for seed in 0..count.unwrap_or(12) {
        history(seed, &mut Folder::new(&format!("history-{seed}")));
    }
}

/// A system that is away for a day gets each order once when it is back, and the recorder's rows
/// were read meanwhile.
#[test]
fn away_for_a_day() {
    let mut folder = Folder::new("away");
    let mut now = begin();
    let system = shop(1, now);
    (system.shop().calm, system.shop().down) = (true, true);
    let mut engine = open(&folder.path, &system, now);
    for step in 0..24 * 6 {
        let minute = 10 * step;
        now = now + Span::from_secs(600);
        system.shop().now = now;
        if minute % 300 == 10 && minute < 900 {
            folder.event(now, "signature", NAMES[usize::try_from(minute / 300).unwrap()], "on");
        }
        engine.round(now).unwrap();
        let on = engine.works().watch.alarms().filter(|(_, alarm)| alarm.is_on()).count();
        assert_eq!(on, usize::try_from((minute + 290) / 300).unwrap().min(3), "minute {minute}");
    }
    assert!(system.shop().orders.is_empty() && system.shop().requests > 100);
    system.shop().down = false;
    for _ in 0..10 {
        now = now + Span::from_secs(60);
        system.shop().now = now;
        engine.round(now).unwrap();
    }
    assert_eq!(open_by_fault(&system).into_values().collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(system.shop().orders.len(), 3);
}

/// A webhook brings the next poll, a thousand of them one; without any it comes when it is due.
#[test]
fn a_webhook_brings_the_poll() {
    let mut folder = Folder::new("woken");
    let mut now = begin();
    let system = shop(1, now);
    system.shop().calm = true;
    let mut engine = open(&folder.path, &system, now);
    let mut round = |engine: &mut Engine, seconds: i64| {
        now = now + Span::from_secs(seconds);
        system.shop().now = now;
        let before = system.shop().requests;
        engine.round(now).unwrap();
        system.shop().requests - before
    };
    folder.event(begin(), "signature", NAMES[0], "on");
    // It is read, ordered after its wait, and polled.
    for _ in 0..10 {
        round(&mut engine, 61);
    }
    assert_eq!(system.shop().orders.len(), 1);
    assert_eq!(round(&mut engine, 1), 0, "polled before it is due");
    {
        let mut shop = system.shop();
        (shop.orders[0].state, shop.orders[0].updated) = (OrderState::Done, shop.now);
    }
    round(&mut engine, 5);
    let is_known = |engine: &Engine| {
        let case = engine.works().desk.cases().next().unwrap();
        matches!(case.state, CaseState::Verifying { .. })
    };
    assert!(!is_known(&engine), "nobody asked yet");
    (0..1000).for_each(|_| engine.wake());
    assert_eq!(round(&mut engine, 1), 1, "a thousand webhooks are one poll");
    assert!(is_known(&engine));
    (0..1000).for_each(|_| engine.wake());
    assert_eq!((0..4).map(|_| round(&mut engine, 1)).sum::<u64>(), 0, "just polled");
    assert_eq!(round(&mut engine, 1), 1);
    assert_eq!(round(&mut engine, 58), 0);
    assert_eq!(round(&mut engine, 3), 1, "due without any");
}

/// A system that does not answer polls is told once, also over a restart, and so is its return.
#[test]
fn a_silent_system_is_told() {
    let mut folder = Folder::new("silent");
    let mut now = begin();
    let system = shop(1, now);
    system.shop().calm = true;
    let mut engine = open(&folder.path, &system, now);
    let mut rounds = |engine: &mut Engine, count: usize| {
        for _ in 0..count {
            now = now + Span::from_secs(61);
            system.shop().now = now;
            engine.round(now).unwrap();
        }
        now
    };
    folder.event(begin(), "signature", NAMES[0], "on");
    rounds(&mut engine, 5);
    let told = || {
        let base = trimloop_orders::base::Base::look(&folder.path).unwrap().unwrap();
        let told = base.told(None, 1000).unwrap();
        let polls = told.into_iter().rev().filter(|line| line.what.starts_with("poll"));
        polls.map(|line| line.what).collect::<Vec<_>>()
    };
    assert!(told().is_empty() && engine.trouble().is_none());
    system.shop().down = true;
    rounds(&mut engine, 1);
    assert!(engine.trouble().is_none(), "one is nothing yet");
    let now = rounds(&mut engine, 9);
    assert_eq!((told(), engine.trouble()), (vec!["poll_failed".to_owned()], Some("no connection")));
    drop(engine);
    let mut engine = open(&folder.path, &system, now);
    rounds(&mut engine, 3);
    assert_eq!((told().len(), engine.trouble()), (1, Some("no connection")));
    system.shop().down = false;
    rounds(&mut engine, 3);
    assert_eq!((told(), engine.trouble()), (vec!["poll_failed".into(), "polled".into()], None));
}

/// The whole chain with the built-in book: raised, ordered, worked on, proven, closed; and killed
/// after each step.
#[test]
fn the_book_has_the_whole_chain() {
    let mut folder = Folder::new("book");
    let mut now = begin();
    let reopen = |now| Engine::with_book(&folder.path, setup(), now).unwrap();
    let mut engine = reopen(now);
    assert!(!engine.round(now).unwrap());
    drop(engine);
    folder.event(now, "signature", "short", "on");
    let reopen = |now| Engine::with_book(&folder.path, setup(), now).unwrap();
    engine = reopen(now);
    assert!(engine.round(now).unwrap());
    now = now + Span::from_secs(31);
    engine = reopen(now);
    engine.round(now).unwrap();
    let book = Book::look(&folder.path).unwrap().unwrap();
    let order = book.orders(true, 9).unwrap().remove(0);
    assert_eq!((order.priority, order.title.as_str()), (2, "press-4: short"));
    for line in ["Seen: signature short on.", "Recipe: lid r1", "Part: 1"] {
        assert!(order.body.contains(line), "{}", order.body);
    }
    let ask = |ask: Ask, now: Utc| {
        let mut engine = reopen(now);
        let said = engine.ask(&ask, "uid:7 (ben)", now);
        (said, engine)
    };
    let key = order.key;
    let who = Act::Assign("ben".into());
    assert!(ask(Ask::Order(key, who), now).0.unwrap().ends_with("is open"));
    assert!(ask(Ask::Order(key, Act::Start), now).0.unwrap().ends_with("is in_progress"));
    let close = CloseCodes { remedy: Some("replaced".into()), ..CloseCodes::default() };
    let (said, engine) = ask(Ask::Order(key, Act::Done(close, vec![("CR-40".into(), 2)])), now);
    assert!(said.unwrap().ends_with("is done"));
    let case = engine.works().desk.cases().next().unwrap();
    assert!(matches!(case.state, CaseState::Verifying { normal: None, .. }), "{case:?}");
    drop(engine);
    assert!(ask(Ask::Verify(key.fingerprint), now).0.is_err(), "it is still there");
    assert!(ask(Ask::Order(key, Act::Start), now).0.is_err(), "it is done");
    now = now + Span::from_secs(60);
    drop(book);
    folder.event(now, "signature", "short", "off");
    let mut engine = Engine::with_book(&folder.path, setup(), now).unwrap();
    engine.round(now).unwrap();
    now = now + Span::from_secs(1801);
    engine.round(now).unwrap();
    assert_eq!(engine.works().desk.cases().count(), 0);
    drop(engine);
    let base = trimloop_orders::base::Base::look(&folder.path).unwrap().unwrap();
    let closed = base.closed(9).unwrap();
    assert_eq!((closed.len(), closed[0].how.as_str(), closed[0].case.key), (1, "proven", key));
    let told = base.told(Some(&key.to_string()), 9).unwrap();
    let kept = Book::look(&folder.path).unwrap().unwrap().order(key).unwrap().unwrap();
    assert_eq!(kept.used, [("CR-40".into(), 2)]);
    // What the technician said stays, with the parts that it is about.
    let outcomes = base.outcomes().unwrap();
    assert_eq!(
        (outcomes.len(), outcomes[0].key, outcomes[0].source.as_str()),
        (1, key, "built-in")
    );
    let of = &outcomes[0];
    assert_eq!((of.first_part, of.done_part, of.end_part), (1, Some(1), Some(2)));
    assert_eq!((of.state.as_str(), of.how.as_deref()), ("done", Some("proven")));
    assert_eq!(of.codes, [None, None, Some("replaced".into())]);
    let found = findings::precision(&outcomes, &Codes::default());
    assert_eq!((found[0].orders, found[0].confirmed, found[0].ineffective), (1, 1, 0));
    let words: Vec<String> =
        told.iter().rev().map(|t| format!("{} {}", t.what, t.detail)).collect();
    let chain =
        ["opened ", "ordered ", "order open", "order in_progress", "order done", "closed proven"];
    assert_eq!(words, chain);
}

/// 10,000 raw alarms of a sensor that chatters while its PLC's link is down, with kills in between:
/// at most three cases and one order, and all of it read.
#[test]
fn a_chattering_sensor_that_is_explained_makes_one_order() {
    let mut folder = Folder::new("chatter");
    let fault = |trigger: Trigger, mode: &str| Watched {
        subject: Subject {
            site: "north".into(),
            cell: "cell-1".into(),
            asset: "press-4".into(),
            mode: mode.into(),
            component: String::new(),
        },
        trigger,
        alarm: AlarmPlan::default(),
        priority: 2,
        order: Mode::Auto,
        proof: None,
    };
    let follows = |names: [&str; 2]| names.map(str::to_owned).into();
    let setup = || Setup {
        faults: vec![
            fault(Trigger::Link("press-4".into()), "link_lost"),
            fault(Trigger::Sensor("cushion".into()), "sensor_bad"),
            fault(Trigger::Signature("short".into()), "short"),
        ],
        relations: BTreeMap::from([
            ("plc:press-4".to_owned(), follows(["tag:cushion", "signature:short"])),
            ("tag:cushion".to_owned(), ["signature:short".to_owned()].into()),
        ]),
        plan: DeskPlan::default(),
        ..setup()
    };
    let mut now = begin();
    let system = shop(1, now);
    system.shop().calm = true;
    drop(Engine::open(&folder.path, setup(), Box::new(system.clone()), now).unwrap());
    folder.db.execute_batch("BEGIN").unwrap();
    for n in 0..10_000 {
        now = now + Span::from_secs(1);
        let word = if n % 2 == 0 { "bad" } else { "good" };
        folder.event(now, "tag_quality", "cushion", word);
        if n == 3 {
            folder.event(now, "link_down", "press-4", "");
        }
    }
    folder.db.execute_batch("COMMIT").unwrap();
    let mut opened = std::collections::BTreeSet::new();
    let mut rounds = 0;
    loop {
        // Each round in a process of its own, at the time of the rows that it reads.
        let now = begin() + Span::from_secs(500 * rounds);
        system.shop().now = now;
        let system = Box::new(system.clone());
        let mut engine = Engine::open(&folder.path, setup(), system, now).unwrap();
        let more = engine.round(now).unwrap();
        opened.extend(engine.works().desk.cases().map(|case| case.key));
        rounds += 1;
        if !more {
            break;
        }
    }
    assert!(rounds > 20, "500 rows at most in a round: {rounds}");
    let base = trimloop_orders::base::Base::look(&folder.path).unwrap().unwrap();
    opened.extend(base.closed(99).unwrap().iter().map(|of| of.case.key));
    assert!(opened.len() <= 3, "{opened:?}");
    let shop = system.shop();
    let keys: Vec<String> = shop.orders.iter().map(|order| order.key.to_string()).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let link = fault(Trigger::Link("press-4".into()), "link_lost").subject.fingerprint();
    assert_eq!(shop.orders[0].key.fingerprint, link);
}

/// Parts of the history are counted once, over days and kills; the other system hears of them at
/// its rate, whatever gets lost on the way, and never of less than before.
#[test]
fn meters_count_each_part_once() {
    let folder = Folder::new("meters");
    let history = |day: &str| {
        let db = Connection::open(folder.path.join(format!("history-{day}.db"))).unwrap();
        db.execute_batch(
            "PRAGMA synchronous=OFF;
             CREATE TABLE IF NOT EXISTS part(boot INTEGER, number INTEGER, ts INTEGER, part INTEGER,
               began INTEGER, ended INTEGER, warm_up INTEGER, mixed INTEGER, gap INTEGER,
               PRIMARY KEY(boot, number)) WITHOUT ROWID;",
        )
        .unwrap();
        db
    };
    let put = |db: &Connection, boot: i64, number: i64| {
        let sql = "INSERT INTO part VALUES(?, ?, 0, 7, 0, 36000000000, 0, 0, 0)";
        db.execute(sql, params![boot, number]).unwrap();
    };
    let system = shop(3, begin());
    let names = BTreeMap::from([(CYCLES.to_owned(), "88".to_owned())]);
    let plan = MeterPlan { names, every: Span::from_secs(3600) };
    let setup = || Setup { meters: plan.clone(), ..setup() };
    let (today, tomorrow) = (history("20261122"), history("20261123"));
    let (mut now, mut made) = (begin(), 0);
    let mut engine = None;
    for step in 0..80 {
        now = now + Span::from_secs(300);
        system.shop().now = now;
        system.shop().calm = step >= 60;
        // The service starts anew with the second day; numbers go on.
        for _ in 0..10 {
            made += 1;
            let is_first = step < 40;
            put(if is_first { &today } else { &tomorrow }, 1 + i64::from(!is_first), made);
        }
        let mut running = match engine.take() {
            Some(engine) => engine,
            None => Engine::open(&folder.path, setup(), Box::new(system.clone()), now).unwrap(),
        };
        let round = catch_unwind(AssertUnwindSafe(|| running.round(now).map(|_| running)));
        engine = round.ok().map(|ended| ended.expect("a round"));
    }
    let shown = engine.unwrap().meters().shown();
    assert_eq!((shown[0].meter.as_str(), shown[0].value, shown[1].value), (CYCLES, 800.0, 8.0));
    let shop = system.shop();
    let told = &shop.readings;
    assert!(told.iter().all(|reading| reading.meter == "88"), "{told:?}");
    for pair in told.windows(2) {
        let (old, new) = (&pair[0], &pair[1]);
        let is_same = old == new;
        let is_next = new.value > old.value && new.at - old.at >= Span::from_secs(3600);
        assert!(is_same || is_next, "{pair:?}");
    }
    let times: std::collections::BTreeSet<i64> = told.iter().map(|r| r.at.as_nanos()).collect();
    assert!((5..=7).contains(&times.len()), "once an hour in 6 h 40 min: {times:?}");
    assert!(told.len() > times.len(), "no reply was lost, so nothing was shown");
}

/// Planned work makes one order when its meter says so, counts from when it was done, waits while
/// something at the same place is repaired, and takes that repair for itself.
#[test]
fn planned_work_is_due_by_its_meter() {
    let mut folder = Folder::new("planned");
    let db = Connection::open(folder.path.join("history-20261122.db")).unwrap();
    db.execute_batch(
        "PRAGMA synchronous=OFF;
         CREATE TABLE part(boot INTEGER, number INTEGER, ts INTEGER, part INTEGER,
           began INTEGER, ended INTEGER, warm_up INTEGER, mixed INTEGER, gap INTEGER,
           PRIMARY KEY(boot, number)) WITHOUT ROWID;",
    )
    .unwrap();
    let place = |mode: &str| Subject {
        site: "north".into(),
        cell: "cell-1".into(),
        asset: "press-4".into(),
        mode: mode.into(),
        component: "ring".into(),
    };
    let watched = |trigger: Trigger, mode: &str, proof: i64| Watched {
        subject: place(mode),
        trigger,
        alarm: AlarmPlan::default(),
        priority: 3,
        order: Mode::Auto,
        proof: Some(Span::from_secs(proof)),
    };
    let planned = Trigger::Planned("change".into());
    let rule =
        PlanRule { name: "change".into(), subject: place("change"), meter: CYCLES, every: 100 };
    let setup = || Setup {
        faults: vec![
            watched(planned.clone(), "change", 0),
            watched(Trigger::Signature("short".into()), "worn", 60),
        ],
        plans: vec![rule.clone()],
        ..setup()
    };
    let (mut now, mut made) = (begin(), 0_i64);
    folder.event(now, "signature", "flash", "off");
    // Twenty parts a step, each in a process of its own.
    let mut step = |folder: &Folder, parts: i64| {
        for _ in 0..parts {
            made += 1;
            let sql = "INSERT INTO part VALUES(1, ?, 0, 7, 0, 20000000000, 0, 0, 0)";
            db.execute(sql, [made]).unwrap();
        }
        let mut open = Vec::new();
        for _ in 0..6 {
            now = now + Span::from_secs(11);
            let mut engine = Engine::with_book(&folder.path, setup(), now).unwrap();
            while engine.round(now).unwrap() {}
            let book = Book::look(&folder.path).unwrap().unwrap();
            open = book.orders(true, 9).unwrap();
        }
        (open, now)
    };
    let done = |folder: &Folder, key: ExtKey, problem: Option<&str>, now: Utc| {
        let mut engine = Engine::with_book(&folder.path, setup(), now).unwrap();
        let close = CloseCodes { problem: problem.map(str::to_owned), ..CloseCodes::default() };
        engine.ask(&Ask::Order(key, Act::Done(close, Vec::new())), "ben", now).unwrap();
    };
    assert!(step(&folder, 0).0.is_empty());
    assert!(step(&folder, 99).0.is_empty(), "99 of 100");
    let (open, _) = step(&folder, 1);
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].mode, "change");
    assert!(open[0].body.contains("Planned work is due each 100 cycles."), "{}", open[0].body);
    // It is late, and meanwhile the ring shows its wear: still the one order.
    let (_, at) = step(&folder, 50);
    folder.event(at, "signature", "short", "on");
    let (open, at) = step(&folder, 10);
    assert_eq!(open.len(), 1, "{open:?}");
    folder.event(at, "signature", "short", "off");
    let (open, at) = step(&folder, 0);
    done(&folder, open[0].key, None, at);
    assert!(step(&folder, 99).0.is_empty(), "it counts from when it was done");
    // A repair of the same ring comes first, and is taken for the planned work.
    folder.event(at, "signature", "short", "on");
    let (open, _) = step(&folder, 50);
    assert_eq!(open.iter().map(|order| order.mode.as_str()).collect::<Vec<_>>(), ["worn"]);
    folder.event(now_of(&folder), "signature", "short", "off");
    let (open, at) = step(&folder, 0);
    done(&folder, open[0].key, Some("wear"), at);
    assert!(step(&folder, 50).0.is_empty());
    assert!(step(&folder, 49).0.is_empty());
    let (open, _) = step(&folder, 1);
    assert_eq!(open.iter().map(|order| order.mode.as_str()).collect::<Vec<_>>(), ["change"]);
    let base = trimloop_orders::base::Base::look(&folder.path).unwrap().unwrap();
    let closed = base.closed(9).unwrap();
    let ends: Vec<(&str, &str)> =
        closed.iter().map(|of| (of.case.subject.mode.as_str(), of.how.as_str())).collect();
    assert_eq!(ends, [("worn", "proven"), ("change", "proven")]);
}

/// Time of the newest event and a little more.
fn now_of(folder: &Folder) -> Utc {
    let sql = "SELECT max(utc) FROM event";
    let newest: i64 = folder.db.query_row(sql, [], |row| row.get(0)).unwrap();
    Utc::from_nanos(newest) + Span::from_secs(1)
}
