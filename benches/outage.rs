//! An outage of InfluxDB under load: 5,000 values a second while it is away, then how long until
//! everything is there, and what the catching up does to a thread with the pace of the scan.
//!
//! ```console
//! $ cargo bench --bench outage                        # an hour
//! $ cargo bench --bench outage -- --minutes 1
//! ```
//!
//! Needs the packages of `tests/support/influx.rs`. Exits with 1 when rows are missing, when
//! catching up takes more than five minutes, or when the p99 of the paced thread is more than
//! twice what it was before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock itself")]

#[path = "../tests/support/foreign.rs"]
mod foreign;
#[path = "../tests/support/influx.rs"]
mod influx;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use influx::{DATABASE, Influx};
use trimloop::clock::Clock;
use trimloop::notice::Notices;
use trimloop::output::{Named, Names};
use trimloop::settings::{Dialect, InfluxSettings, InfluxUser};
use trimloop::sink::{Pace, Sink, SinkOptions};
use trimloop::store::{Store, StoreOptions, StoreSender};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Span};

/// 50 tags every 10 ms.
const TAGS: u16 = 50;
const PERIOD: Duration = Duration::from_millis(10);
/// Time to measure before the outage.
const BEFORE: Duration = Duration::from_secs(20);
const CATCH_UP_MAX: Duration = Duration::from_secs(300);
const PHASES: usize = 3;

/// The paced thread: from when it should wake until it has handed its samples over [ns].
struct Load {
    stop: AtomicBool,
    phase: AtomicUsize,
    scans: AtomicU64,
}

fn load(shared: &Load, sender: &StoreSender, clock: Clock) -> [Vec<u64>; PHASES] {
    let mut took: [Vec<u64>; PHASES] = Default::default();
    let mut next = Instant::now();
    while !shared.stop.load(Ordering::Acquire) {
        next += PERIOD;
        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
        let utc = clock.utc();
        let number = shared.scans.fetch_add(1, Ordering::AcqRel);
        let samples: Vec<Sample> = (0..TAGS)
            .map(|tag| Sample {
                tag: TagId(tag),
                value: Some(Value::Float(number as f64 + f64::from(tag) / 100.0)),
                status: Status::Good,
                source_time: Some(utc),
                server_time: None,
                received: Mono::default(),
            })
            .collect();
        sender.samples(utc, &samples);
        let late = Instant::now().saturating_duration_since(next);
        let place = shared.phase.load(Ordering::Acquire);
        took[place].push(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
    }
    took
}

fn p99_ms(took: &mut [u64]) -> f64 {
    took.sort_unstable();
    took.get(took.len() * 99 / 100).copied().unwrap_or(0) as f64 / 1e6
}

fn pause(span: Duration) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let minutes = words.iter().position(|word| word == "--minutes").and_then(|i| words.get(i + 1));
    let minutes: f64 = minutes.map_or(60.0, |text| text.parse().unwrap());
    let mut server = Influx::start().unwrap_or_else(|skip| panic!("{skip}"));
    let dir = std::env::temp_dir().join(format!("trimloop-outage-{}", std::process::id()));
    let clock = Clock::start();
    let tags = (0..TAGS).map(|i| Named { name: format!("tag{i}"), unit: String::new() }).collect();
    let store = Store::open(&StoreOptions {
        dir: dir.clone(),
        names: Names { tags, ..Names::default() },
        clock,
        node: "bench".into(),
        recipe: "outage".into(),
        revision: 1,
        plan_hash: [0; 32],
    })
    .unwrap();
    let settings = InfluxSettings {
        url: format!("http://127.0.0.1:{}", server.port),
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
    };
    let sink = Sink::start(SinkOptions {
        settings,
        data: dir.clone(),
        store: store.sender(),
        notices: Notices::new(clock, Some(store.sender())),
        clock,
        pace: Pace::default(),
    })
    .unwrap();
    let view = sink.view();
    let shared = Arc::new(Load {
        stop: AtomicBool::new(false),
        phase: AtomicUsize::new(0),
        scans: AtomicU64::new(0),
    });
    let of_thread = Arc::clone(&shared);
    let sender = store.sender();
    let thread = std::thread::spawn(move || load(&of_thread, &sender, clock));
    pause(BEFORE);
    shared.phase.store(1, Ordering::Release);
    server.kill();
    pause(Duration::from_secs_f64(minutes * 60.0));
    let waiting = view.status();
    server.restart();
    shared.phase.store(2, Ordering::Release);
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
    shared.stop.store(true, Ordering::Release);
    let [mut before, mut away, mut after] = thread.join().unwrap();
    store.sender().barrier().unwrap();
    let rows = shared.scans.load(Ordering::Acquire) * u64::from(TAGS);
    let dropped = store.sender().counts().samples_dropped;
    let count = || {
        let found = server.rows("SELECT count(value) FROM trimloop_sample");
        found.first().and_then(|row| row[1].as_u64()).unwrap_or(0)
    };
    let mut looks = 0;
    while count() + dropped < rows && looks < 120 {
        pause(Duration::from_millis(500));
        looks += 1;
    }
    let arrived = count();
    let status = view.status();
    sink.stop();
    drop(store);
    drop(std::fs::remove_dir_all(&dir));
    let (before, away, after) = (p99_ms(&mut before), p99_ms(&mut away), p99_ms(&mut after));
    let ratio = after / before;
    println!(
        "outage          {minutes} min at 5,000 values/s; {} rows waited",
        waiting.behind_rows
    );
    println!(
        "caught up       {:.1} s after the return, first rows after {:.1} s",
        caught_up.as_secs_f64(),
        first.as_secs_f64()
    );
    println!(
        "rows            {rows} made, {arrived} in InfluxDB, {dropped} dropped by the store, {} sent twice",
        status.rows_resent
    );
    println!(
        "p99 of 10 ms    before {before:.2} ms, away {away:.2} ms, catching up {after:.2} ms: ratio {ratio:.2}"
    );
    let whole = arrived + dropped == rows && dropped == 0;
    if !whole || caught_up > CATCH_UP_MAX || ratio > 2.0 {
        std::process::exit(1);
    }
}
