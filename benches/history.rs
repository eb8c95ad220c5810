//! How fast history is taken in, beside a bare insert, and what it writes:
//! `cargo bench --bench history`.
//!
//! 50 tags at 40 Hz, 10 minutes of them: 1.2 million samples. *Bare* is one prepared
//! `INSERT` of (ts, tag, value) with the same key, WAL and NORMAL, in transactions of 2000 rows.
//! *Store* is the whole way from a scan's samples to the disk: queue, sorting, flush numbers,
//! commits; roll-ups are made at the end and counted apart. Both in one run, in turns, into the
//! system's temporary folder; medians of five. Bytes are those of `write` calls of this process
//! (`wchar` of `/proc/self/io`), WAL and checkpoints included.
//!
//! *InfluxDB* and *VictoriaMetrics* take the same values as lines that were written before, 5,000 a
//! request, one request after the other; without their packages they are left out.
//!
//! Goals: the store at 0.7 of the bare insert or more, at twice InfluxDB or more, at most 110 bytes
//! written per sample.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "its result")]

#[path = "../tests/support/foreign.rs"]
mod foreign;
#[path = "../tests/support/influx.rs"]
mod influx;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use influx::{DATABASE, Influx, Victoria, ask};
use rusqlite::{Connection, params};
use trimloop::clock::Clock;
use trimloop::output::{Named, Names};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Utc};

const TAGS: u16 = 50;
const SCANS: i64 = 24_000;
const ROWS: f64 = 1_200_000.0;
const COMMIT: usize = 2000;
/// Scans in one request to a server.
const REQUEST: usize = 100;
const ROUNDS: usize = 5;
/// 2026-11-22T10:00:00Z.
const BEGIN: i64 = 1_795_341_600_000_000_000;
const PERIOD: i64 = 25_000_000;

fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("trimloop-bench-{name}-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&dir));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Bytes of `write` calls so far.
fn written() -> f64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}

fn value(scan: i64, tag: u16) -> f64 {
    200.0 + (scan as f64 * 0.01 + f64::from(tag)).sin()
}

/// Rows a second and bytes a row of the bare insert.
fn bare(clock: Clock) -> (f64, f64) {
    let dir = folder("bare");
    let mut db = Connection::open(dir.join("bare.db")).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.pragma_update(None, "synchronous", "NORMAL").unwrap();
    db.execute_batch(
        "CREATE TABLE sample(ts INTEGER, tag INTEGER, value, PRIMARY KEY(ts, tag)) WITHOUT ROWID",
    )
    .unwrap();
    let (begun, bytes) = (clock.mono(), written());
    let per_commit = i64::try_from(COMMIT).unwrap() / i64::from(TAGS);
    for first in (0..SCANS).step_by(usize::try_from(per_commit).unwrap()) {
        let tx = db.transaction().unwrap();
        let mut insert = tx.prepare_cached("INSERT INTO sample VALUES(?, ?, ?)").unwrap();
        for scan in first..first + per_commit {
            for tag in 0..TAGS {
                insert.execute(params![BEGIN + scan * PERIOD, tag, value(scan, tag)]).unwrap();
            }
        }
        drop(insert);
        tx.commit().unwrap();
    }
    let secs = (clock.mono() - begun).as_secs_f64();
    checkpoint(&dir.join("bare.db"));
    let result = (ROWS / secs, (written() - bytes) / ROWS);
    std::fs::remove_dir_all(&dir).unwrap();
    result
}

fn checkpoint(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

/// Rows a second, bytes a row, and bytes a row of the roll-ups.
fn store(clock: Clock) -> (f64, f64, f64) {
    let dir = folder("store");
    let tags = (0..TAGS).map(|i| Named { name: format!("tag_{i}"), unit: "bar".into() }).collect();
    let options = StoreOptions {
        dir: dir.clone(),
        names: Names { tags, ..Names::default() },
        clock,
        node: "bench".into(),
        recipe: "bench".into(),
        revision: 1,
        plan_hash: [0; 32],
    };
    let opened = Store::open(&options).unwrap();
    let sender = opened.sender();
    sender.barrier().unwrap();
    let (begun, bytes) = (clock.mono(), written());
    let mut samples = Vec::with_capacity(usize::from(TAGS));
    for scan in 0..SCANS {
        let utc = Utc::from_nanos(BEGIN + scan * PERIOD);
        samples.clear();
        samples.extend((0..TAGS).map(|tag| Sample {
            tag: TagId(tag),
            value: Some(Value::Float(value(scan, tag))),
            status: Status::Good,
            source_time: Some(utc),
            server_time: None,
            received: Mono::default(),
        }));
        sender.samples(utc, &samples);
        // 2000 samples: what one commit takes; the queue never comes near its bound.
        if (scan + 1) % 40 == 0 {
            sender.barrier().unwrap();
        }
    }
    sender.barrier().unwrap();
    let secs = (clock.mono() - begun).as_secs_f64();
    assert_eq!(sender.counts().samples_dropped, 0);
    checkpoint(&dir.join("history-20261122.db"));
    let raw = written() - bytes;
    drop(opened);
    let rolled = written() - bytes - raw;
    std::fs::remove_dir_all(&dir).unwrap();
    (ROWS / secs, raw / ROWS, rolled / ROWS)
}

/// Rows a second of a server that takes lines at a path of a port.
fn lines(clock: Clock, port: u16, path: &str) -> f64 {
    let line = |scan: i64, tag: u16, text: &mut String| {
        let at = BEGIN + scan * PERIOD;
        writeln!(text, "sample,tag=tag_{tag} value={} {at}", value(scan, tag)).unwrap();
    };
    let scans: Vec<i64> = (0..SCANS).collect();
    let requests: Vec<String> = scans
        .chunks(REQUEST)
        .map(|scans| {
            let mut text = String::new();
            for scan in scans {
                (0..TAGS).for_each(|tag| line(*scan, tag, &mut text));
            }
            text
        })
        .collect();
    let begun = clock.mono();
    for request in &requests {
        let answer = ask(port, "POST", path, request);
        assert!(answer.as_ref().is_some_and(|answer| answer.0 == 204), "{answer:?}");
    }
    ROWS / (clock.mono() - begun).as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn main() {
    let clock = Clock::start();
    let (mut bares, mut stores) = (Vec::new(), Vec::new());
    for _round in 0..ROUNDS {
        bares.push(bare(clock));
        stores.push(store(clock));
    }
    let influx = Influx::start()
        .map(|server| lines(clock, server.port, &format!("/write?db={DATABASE}&precision=ns")));
    let victoria = Victoria::start().map(|server| lines(clock, server.direct, "/write"));
    let bare_rate = median(bares.iter().map(|x| x.0).collect());
    let store_rate = median(stores.iter().map(|x| x.0).collect());
    println!(
        "bare insert   {bare_rate:9.0} rows/s  {:6.1} B/row written",
        median(bares.iter().map(|x| x.1).collect())
    );
    println!(
        "store         {store_rate:9.0} rows/s  {:6.1} B/row written",
        median(stores.iter().map(|x| x.1).collect())
    );
    println!(
        "roll-ups      {:6.1} B/row written, all levels",
        median(stores.iter().map(|x| x.2).collect())
    );
    println!("store / bare  {:.2}", store_rate / bare_rate);
    for (name, rate) in [("InfluxDB", influx), ("VictoriaMetrics", victoria)] {
        match rate {
            Ok(rate) => {
                println!("{name:15} {rate:9.0} rows/s; store / {name} {:.1}", store_rate / rate);
            }
            Err(skip) => println!("{name:15} not run: {skip}"),
        }
    }
}
