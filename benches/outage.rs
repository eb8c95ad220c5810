//! Outages of InfluxDB under load: 5,000 values a second while it is away, then how long until
//! everything is there, and what being away and catching up do to the loop beside it.
//!
//! ```console
//! $ cargo bench --bench outage                               # an hour
//! $ cargo bench --bench outage -- --minutes 2 --rounds 5     # with and without, five times
//! $ cargo bench --bench outage -- --ordinary                 # without realtime_priority
//! ```
//!
//! The loop is the scan's own order of work without a PLC: journal, step of the shipped press with
//! 50 further tags, journal, store, a hundred times a second. What is measured is the time from
//! when a scan is due until its last action is handed over. It runs at the real-time priority of
//! `[runtime] realtime_priority` where the system gives it, since the database is on the same
//! machine; which of both it was is told. Each round measures it with the server
//! there, then kills the server and measures until everything has arrived.
//!
//! Needs the packages of `tests/support/influx.rs`. Exits with 1 when rows are missing, when
//! catching up takes more than five minutes, or when at the median of the rounds the p99 of the
//! loop is both 1.25 times and 1 ms above what it was with the server there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

#[path = "../tests/support/foreign.rs"]
mod foreign;
#[path = "../tests/support/influx.rs"]
mod influx;
#[path = "support/press.rs"]
mod press;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use influx::{DATABASE, Influx};
use trimloop::clock::Clock;
use trimloop::journal::{JournalHead, JournalWriter};
use trimloop::notice::Notices;
use trimloop::output::Names;
use trimloop::realtime::RealtimePriority;
use trimloop::settings::{Dialect, InfluxSettings, InfluxUser};
use trimloop::sink::{Pace, Sink, SinkOptions, SinkView};
use trimloop::store::{Store, StoreOptions, StoreSender};
use trimloop_core::cell::Cell;
use trimloop_core::scan::{Link, Scan};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Now, Span};
use trimloop_recipe::Bound;

/// 50 values every 10 ms.
const VALUES: usize = 50;
const PERIOD: Duration = Duration::from_millis(10);
const SCANS_PER_PART: u64 = 2000;
/// Time with the server there, before each outage.
const THERE: Duration = Duration::from_secs(60);
/// Of the loop.
const PRIORITY: u8 = 20;
const CATCH_UP_MAX: Duration = Duration::from_secs(300);
/// Bounds on the p99 of the loop; one of them is enough.
const RATIO_MAX: f64 = 1.25;
const MORE_MAX_MS: f64 = 1.0;
/// There, away, catching up.
const PHASES: usize = 3;

/// The loop: the scan thread without a PLC.
struct Loop {
    cell: Cell,
    journal: JournalWriter,
    store: StoreSender,
    clock: Clock,
    shared: Arc<Shared>,
}

struct Shared {
    stop: AtomicBool,
    phase: AtomicUsize,
    values: AtomicU64,
}

impl Loop {
    /// Times from due to done by phase [ns].
    fn run(mut self) -> Vec<Vec<u64>> {
        let plan = self.cell.plan();
        let tags = plan.tags.len();
        let part = plan.tags.iter().position(|tag| tag.name == "part_id").unwrap();
        let clock_tag = plan.links[0].clock.unwrap().index();
        let further = (0..tags).filter(|place| plan.tags[*place].name.starts_with("further_"));
        let places: Vec<usize> = further.chain([part, clock_tag]).collect();
        let mut took: Vec<Vec<u64>> = Vec::new();
        let mut due = Instant::now();
        let mut seq = 0_u64;
        while !self.shared.stop.load(Ordering::Acquire) {
            due += PERIOD;
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
            seq += 1;
            let now = self.clock.now();
            let value = |place: usize| match place {
                place if place == part => Value::Int((seq / SCANS_PER_PART).cast_signed()),
                place if place == clock_tag => Value::Int(now.utc.as_nanos() / 1_000_000),
                place => Value::Float(500.0 + (seq % 1000) as f64 / 100.0 + place as f64),
            };
            let sample = |place: &usize| Sample {
                tag: TagId(u16::try_from(*place).unwrap()),
                value: Some(value(*place)),
                status: Status::Good,
                source_time: Some(now.utc),
                server_time: None,
                received: now.mono,
            };
            let samples: Vec<Sample> = places.iter().map(sample).collect();
            self.scan(seq, now, &samples);
            self.shared.values.fetch_add(samples.len() as u64, Ordering::AcqRel);
            let late = Instant::now().saturating_duration_since(due);
            let phase = self.shared.phase.load(Ordering::Acquire);
            if took.len() <= phase {
                took.resize(phase + 1, Vec::new());
            }
            took[phase].push(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
        }
        took
    }

    fn scan(&mut self, seq: u64, now: Now, changes: &[Sample]) {
        let links = [Link { up: true, epoch: 1, life: Some(now.mono) }];
        let scan = Scan { seq, now, links: &links, changes, acks: &[], commands: &[] };
        self.journal.append_scan(&scan).unwrap();
        let actions = self.cell.step(scan);
        self.journal.append_actions(seq, actions.as_slice()).unwrap();
        self.store.samples(now.utc, changes);
    }
}

fn start_loop(bound: &Bound, dir: &Path, store: &Store, clock: Clock) -> Loop {
    let head = JournalHead {
        recipe: bound.plan.name.clone(),
        revision: bound.plan.revision,
        plan_hash: bound.plan.hash,
        node: "bench".to_owned(),
        boot: 1,
        utc: clock.utc(),
    };
    Loop {
        cell: Cell::new(bound.plan.clone()).unwrap(),
        journal: JournalWriter::open(&dir.join("journal"), &head).unwrap(),
        store: store.sender(),
        clock,
        shared: Arc::new(Shared {
            stop: AtomicBool::new(false),
            phase: AtomicUsize::new(0),
            values: AtomicU64::new(0),
        }),
    }
}

fn p99_ms(took: &mut [u64]) -> f64 {
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or(0) as f64 / 1e6
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn pause(span: Duration) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// One outage; how long catching up took.
fn outage(server: &mut Influx, view: &SinkView, shared: &Shared, minutes: f64) -> Duration {
    pause(THERE);
    shared.phase.fetch_add(1, Ordering::AcqRel);
    server.kill();
    pause(Duration::from_secs_f64(minutes * 60.0));
    let waiting = view.status();
    server.restart();
    shared.phase.fetch_add(1, Ordering::AcqRel);
    let back = Instant::now();
    // Up to the pause of the back-off and a survey are spent before the first row.
    while view.status().rows_sent == waiting.rows_sent {
        pause(Duration::from_millis(100));
    }
    let first = back.elapsed();
    while view.status().behind > Span::from_secs(5) && back.elapsed() < 2 * CATCH_UP_MAX {
        pause(Duration::from_millis(200));
    }
    let caught_up = back.elapsed();
    println!(
        "outage          {minutes} min, {} rows waited; caught up {:.1} s after the return, first \
         rows after {:.1} s",
        waiting.behind_rows,
        caught_up.as_secs_f64(),
        first.as_secs_f64()
    );
    shared.phase.fetch_add(1, Ordering::AcqRel);
    caught_up
}

fn influx_settings(port: u16) -> InfluxSettings {
    InfluxSettings {
        url: format!("http://127.0.0.1:{port}"),
        dialect: Dialect::V1,
        database: DATABASE.into(),
        retention_policy: String::new(),
        org: String::new(),
        bucket: String::new(),
        user: InfluxUser::Nobody,
        ca_file: None,
        site: String::new(),
        cell: "bench".into(),
        max_age: Span::from_secs(86_400),
        batch: 5000,
    }
}

fn option(words: &[String], name: &str) -> Option<f64> {
    let place = words.iter().position(|word| word == name)?;
    Some(words.get(place + 1)?.parse().unwrap())
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let minutes = option(&words, "--minutes").unwrap_or(60.0);
    let rounds = option(&words, "--rounds").unwrap_or(1.0) as usize;
    let mut server = Influx::start().unwrap_or_else(|skip| panic!("{skip}"));
    let dir = std::env::temp_dir().join(format!("trimloop-outage-{}", std::process::id()));
    let clock = Clock::start();
    let bound = press::with_further_tags(VALUES - 2);
    let store = Store::open(&StoreOptions {
        dir: dir.clone(),
        names: Names::of(&bound.plan),
        clock,
        node: "bench".into(),
        recipe: "outage".into(),
        revision: 1,
        plan_hash: bound.plan.hash,
    })
    .unwrap();
    let sink = Sink::start(SinkOptions {
        settings: influx_settings(server.port),
        data: dir.clone(),
        store: store.sender(),
        notices: Notices::new(clock, Some(store.sender())),
        clock,
        pace: Pace::default(),
    })
    .unwrap();
    let view = sink.view();
    let scans = start_loop(&bound, &dir, &store, clock);
    let shared = Arc::clone(&scans.shared);
    let ordinary = words.iter().any(|word| word == "--ordinary");
    let thread = std::thread::spawn(move || {
        let asked = RealtimePriority::new(PRIORITY).filter(|_| !ordinary);
        match asked.map(RealtimePriority::take) {
            None => println!("loop            at ordinary priority"),
            Some(Ok(())) => println!("loop            at real-time priority {PRIORITY}"),
            Some(Err(refused)) => println!("loop            {refused}"),
        }
        scans.run()
    });
    let longest = (0..rounds).map(|_| outage(&mut server, &view, &shared, minutes)).max();
    shared.stop.store(true, Ordering::Release);
    let mut took = thread.join().unwrap();
    store.sender().barrier().unwrap();
    let values = shared.values.load(Ordering::Acquire);
    let dropped = store.sender().counts().samples_dropped;
    let count = || {
        let found = server.rows("SELECT count(quality) FROM trimloop_sample");
        found.first().and_then(|row| row[1].as_u64()).unwrap_or(0)
    };
    let mut looks = 0;
    while count() + dropped < values && looks < 120 {
        pause(Duration::from_millis(500));
        looks += 1;
    }
    let arrived = count();
    println!(
        "rows            {values} made, {arrived} in InfluxDB, {dropped} dropped by the store, {} \
         sent twice",
        view.status().rows_resent
    );
    sink.stop();
    drop(server);
    drop(store);
    drop(std::fs::remove_dir_all(&dir));
    let (mut ratios, mut mores) = (Vec::new(), Vec::new());
    for round in took.chunks_exact_mut(PHASES) {
        let [there, away, back] = round else { continue };
        let (there, away, back) = (p99_ms(there), p99_ms(away), p99_ms(back));
        let worst = away.max(back);
        ratios.push(worst / there);
        mores.push(worst - there);
        println!(
            "p99 of the loop {there:.2} ms there, {away:.2} ms away, {back:.2} ms catching up"
        );
    }
    let (ratio, more) = (median(&mut ratios), median(&mut mores));
    println!("median          ratio {ratio:.2}, {more:+.2} ms");
    let whole = arrived == values && dropped == 0;
    let calm = ratio <= RATIO_MAX || more <= MORE_MAX_MS;
    if !whole || !calm || longest.is_none_or(|longest| longest > CATCH_UP_MAX) {
        std::process::exit(1);
    }
}
