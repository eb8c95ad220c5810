//! Tests of the store: what is acknowledged is there, once, whatever was there before.

use std::path::PathBuf;

use rusqlite::Connection;

use trimloop_core::event::{Event, What};
use trimloop_core::guard::{Cut, FailedChecks, Reason};
use trimloop_core::mode::{Mode, Rung};
use trimloop_core::plan::{FeatureId, LoopId};
use trimloop_core::record::{DecisionRow, FeatureRow, Outcome};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Process};

use super::super::verify_audit;
use super::*;
use crate::clock::Clock;
use crate::notice::Notices;
use crate::output::{Named, Names, day_text};

const T0: Utc = Utc::from_millis(1_795_383_592_000);

/// A directory of its own under the system's temporary one, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trimloop-store-{name}-{}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        Self(path)
    }

    fn options(&self) -> StoreOptions {
        let named = |name: &str, unit: &str| Named { name: name.into(), unit: unit.into() };
        StoreOptions {
            dir: self.0.clone(),
            names: Names {
                tags: vec![named("melt_temp", "degC"), named("part_id", "")],
                features: vec![named("fill", "bar")],
                loops: vec![named("weight", "")],
                ..Names::default()
            },
            clock: Clock::start(),
            node: "cell-1".into(),
            recipe: "housing-lid".into(),
            revision: 1,
            plan_hash: [1; 32],
        }
    }

    fn state(&self) -> Connection {
        Connection::open(self.0.join("state.db")).unwrap()
    }

    fn history(&self, utc: Utc) -> Connection {
        Connection::open(self.0.join(format!("history-{}.db", day_text(utc)))).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn sample(tag: u16, value: f64, source_time: Option<Utc>) -> Sample {
    Sample {
        tag: TagId(tag),
        value: Some(Value::Float(value)),
        status: Status::Good,
        source_time,
        server_time: None,
        received: Mono::default(),
    }
}

fn decision(number: u64) -> Record {
    Record::Decision(DecisionRow {
        number,
        part: 5,
        loop_id: LoopId(0),
        desired: Some(360.0),
        limited: None,
        read_back: None,
        outcome: Outcome::Hold(Reason::Dwell),
        failed: FailedChecks::NONE,
        cut: Cut::Nothing,
        mode: Mode::Auto,
        rung: Rung::Full,
    })
}

fn one<T: rusqlite::types::FromSql>(db: &Connection, sql: &str) -> T {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn later(millis: i64) -> Utc {
    Utc::from_millis(T0.as_nanos() / 1_000_000 + millis)
}

/// Rows of every kind are in their file after a barrier, under their names.
#[test]
fn rows_are_on_disk_after_a_barrier() {
    let scratch = Scratch::new("rows");
    let store = Store::open(&scratch.options()).unwrap();
    let sender = store.sender();
    sender.samples(T0, &[sample(0, 221.5, Some(later(-5))), sample(1, 7.0, None)]);
    sender.record(T0, decision(1));
    let feature = FeatureRow { part: 5, feature: FeatureId(0), value: Some(650.0), coverage: 1.0 };
    sender.record(T0, Record::Feature(feature));
    let at = Now { mono: Mono::default(), utc: T0 };
    let what = What::ModeInForce(LoopId(0), Mode::Auto);
    sender.event(1, Event { at, process: Process::default(), part: 5, what });
    Notices::new(Clock::start(), Some(store.sender())).tell("register_problem", "sp", "No.".into());
    sender.audit_committed(9, "uid:0 (root)", "loop auto weight", "trial").unwrap();
    let (state, history) = (scratch.state(), scratch.history(T0));
    assert_eq!(one::<String>(&state, "SELECT sentence FROM event"), "weight is in AUTO.");
    let told = "SELECT subject || ': ' || sentence FROM event WHERE code = 'register_problem'";
    assert_eq!(one::<String>(&state, told), "sp: No.");
    assert_eq!(one::<String>(&state, "SELECT reason FROM decision"), "dwell");
    assert_eq!(one::<i64>(&state, "SELECT orders FROM audit"), 9);
    let value: f64 =
        one(&history, "SELECT value FROM sample JOIN name ON name.id = tag AND name = 'melt_temp'");
    assert!((value - 221.5).abs() < 1e-12);
    assert_eq!(one::<i64>(&history, "SELECT count(*) FROM feature WHERE part = 5"), 1);
    assert_eq!(one::<i64>(&history, "SELECT rows FROM flush WHERE seq = 1"), 2);
    assert_eq!(one::<i64>(&history, "SELECT min(ts) FROM sample"), later(-5).as_nanos());
}

/// Of two samples with one time and tag the last stays, and the double is counted.
#[test]
fn the_last_of_two_equal_stamps_wins() {
    let scratch = Scratch::new("double");
    let store = Store::open(&scratch.options()).unwrap();
    let sender = store.sender();
    sender.samples(T0, &[sample(0, 1.0, Some(T0)), sample(0, 2.0, Some(T0))]);
    sender.barrier().unwrap();
    sender.samples(T0, &[sample(0, 3.0, Some(T0))]);
    // Without a source time nothing collides.
    sender.samples(later(1), &[sample(0, 4.0, None), sample(0, 5.0, None)]);
    sender.barrier().unwrap();
    let history = scratch.history(T0);
    assert_eq!(one::<i64>(&history, "SELECT count(*) FROM sample"), 3);
    assert!((one::<f64>(&history, "SELECT value FROM sample ORDER BY ts") - 3.0).abs() < 1e-12);
    assert_eq!(sender.counts().samples_doubled, 2);
}

/// A source clock that is far off is not believed: receive time, a flag, and the difference kept.
#[test]
fn a_far_source_time_is_flagged() {
    let scratch = Scratch::new("skew");
    let store = Store::open(&scratch.options()).unwrap();
    store.sender().samples(T0, &[sample(0, 1.0, Some(later(-3_600_000)))]);
    store.sender().barrier().unwrap();
    let history = scratch.history(T0);
    assert_eq!(one::<i64>(&history, "SELECT ts FROM sample"), T0.as_nanos());
    assert_eq!(one::<i64>(&history, "SELECT quality >> 32 FROM sample"), 1);
    let offset: i64 = one(&history, "SELECT offset FROM clock_offset");
    assert_eq!(offset, -3_600_000_000_000);
}

/// Samples go to the day they were taken; a flush never spans a minute, a day or 2000 rows.
#[test]
fn flushes_are_cut_by_day_minute_and_size() {
    let scratch = Scratch::new("days");
    let store = Store::open(&scratch.options()).unwrap();
    let sender = store.sender();
    // 2026-11-22T23:59:59.5Z
    let midnight = 1_795_391_999_500;
    for i in 0..4500 {
        let utc = Utc::from_millis(midnight - 70_000 + i * 16);
        sender.samples(utc, &[sample(0, 0.5, Some(utc))]);
    }
    sender.barrier().unwrap();
    drop(store);
    let (mut rows, mut flushes) = (0, 0);
    for utc in [midnight - 1000, midnight + 1000] {
        let history = scratch.history(Utc::from_millis(utc));
        let sum: i64 = one(&history, "SELECT coalesce(sum(rows), 0) FROM flush");
        assert_eq!(sum, one::<i64>(&history, "SELECT count(*) FROM sample"));
        assert!(sum > 0);
        rows += sum;
        flushes += one::<i64>(&history, "SELECT count(*) FROM flush");
        let bad = "SELECT count(*) FROM flush WHERE rows > 2000 OR max_ts - min_ts > 60000000000";
        assert_eq!(one::<i64>(&history, bad), 0);
        let lost = "SELECT count(*) FROM sample s WHERE NOT EXISTS(SELECT 1 FROM flush f
                    WHERE f.seq = s.seq AND s.ts BETWEEN f.min_ts AND f.max_ts)";
        assert_eq!(one::<i64>(&history, lost), 0);
    }
    assert_eq!(rows, 4500);
    assert!(flushes >= 4);
}

/// A full queue drops the oldest sample, counted, and nothing else.
#[test]
fn a_full_queue_drops_the_oldest_samples_only() {
    let queue = Arc::new(Queue::new());
    let sender = StoreSender { queue: Arc::clone(&queue), clock: Clock::start(), boot: 1 };
    for i in 0..ROWS_MAX + 10 {
        sender.samples(T0, &[sample(0, i as f64, None)]);
    }
    for number in 0..50 {
        sender.record(T0, decision(number));
    }
    let mut buffer = Waiting::default();
    queue.take(&mut buffer);
    assert_eq!((buffer.samples.len(), buffer.rows.len()), (ROWS_MAX, 50));
    assert_eq!(buffer.samples.front().and_then(|row| row.value), Some(Value::Float(10.0)));
    assert_eq!(sender.counts().samples_dropped, 10);
    assert!(sender.sound());
    // With no writer, rows that must not be dropped end the soundness instead.
    for number in 0..=ROWS_MAX as u64 {
        sender.record(T0, decision(number));
    }
    assert!(!sender.sound());
    assert_eq!(sender.counts().rows_lost, 1);
}

/// A damaged history file is moved away and named; the service starts.
#[test]
fn a_damaged_history_file_is_set_aside() {
    let scratch = Scratch::new("corrupt");
    std::fs::create_dir_all(&scratch.0).unwrap();
    let options = scratch.options();
    let name = format!("history-{}.db", day_text(options.clock.utc()));
    std::fs::write(scratch.0.join(&name), vec![0x5a; 9000]).unwrap();
    let store = Store::open(&options).unwrap();
    let notice = store.notices().first().unwrap();
    assert!(notice.contains(&name) && notice.contains(".damaged-1"), "{notice}");
    assert!(scratch.0.join(format!("{name}.damaged-1")).exists());
    store.sender().barrier().unwrap();
}

/// A damaged or newer state.db stops the start with a reason.
#[test]
fn a_damaged_state_is_an_error() {
    let scratch = Scratch::new("state");
    std::fs::create_dir_all(&scratch.0).unwrap();
    let path = scratch.0.join("state.db");
    std::fs::write(&path, vec![0x5a; 9000]).unwrap();
    assert!(matches!(Store::open(&scratch.options()), Err(StoreError::Corrupt { .. })));
    std::fs::remove_file(&path).unwrap();
    drop(Store::open(&scratch.options()).unwrap());
    scratch.state().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Store::open(&scratch.options()), Err(StoreError::Newer { .. })));
}

/// Two services never share a data folder.
#[test]
fn a_second_store_is_refused() {
    let scratch = Scratch::new("lock");
    let first = Store::open(&scratch.options()).unwrap();
    assert!(matches!(Store::open(&scratch.options()), Err(StoreError::InUse { .. })));
    assert_eq!(first.boot(), 1);
    drop(first);
    assert_eq!(Store::open(&scratch.options()).unwrap().boot(), 2);
}

/// The audit chain goes on across starts; a changed, removed or renumbered entry is found.
#[test]
fn the_audit_chain_finds_changes() {
    let scratch = Scratch::new("audit");
    for _start in 0..2 {
        let store = Store::open(&scratch.options()).unwrap();
        for order in 1..=3 {
            store.sender().audit(order, "uid:1", "loop hold weight", "door");
        }
    }
    let db = scratch.state();
    assert_eq!(verify_audit(&db).unwrap(), Ok(6));
    for (change, undo, seq) in [
        (
            "UPDATE audit SET actor = 'uid:2' WHERE seq = 4",
            "UPDATE audit SET actor = 'uid:1' WHERE seq = 4",
            4,
        ),
        ("UPDATE audit SET seq = 9 WHERE seq = 6", "UPDATE audit SET seq = 6 WHERE seq = 9", 9),
    ] {
        db.execute(change, []).unwrap();
        assert_eq!(verify_audit(&db).unwrap().unwrap_err().seq, seq, "{change}");
        db.execute(undo, []).unwrap();
    }
    db.execute("DELETE FROM audit WHERE seq = 2", []).unwrap();
    assert_eq!(verify_audit(&db).unwrap().unwrap_err().seq, 3);
}

/// Flush numbers are never reused, not even when the history fell behind a sink's cursor.
#[test]
fn flush_numbers_go_on_after_the_furthest_cursor() {
    let scratch = Scratch::new("cursor");
    drop(Store::open(&scratch.options()).unwrap());
    scratch
        .state()
        .execute("INSERT INTO sink_cursor VALUES('influx', ?, 41)", [day_text(T0)])
        .unwrap();
    let store = Store::open(&scratch.options()).unwrap();
    store.sender().samples(T0, &[sample(0, 1.0, Some(T0))]);
    store.sender().barrier().unwrap();
    assert_eq!(one::<i64>(&scratch.history(T0), "SELECT seq FROM flush"), 42);
}
