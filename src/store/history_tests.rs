//! Roll-ups against a brute-force fold, damage, retention, and the disk's floor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rusqlite::Connection;

use trimloop_core::guard::{Cut, FailedChecks};
use trimloop_core::mode::{Mode, Rung};
use trimloop_core::plan::LoopId;
use trimloop_core::record::{DecisionRow, Outcome, Record};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Span, Utc};

use super::history::History;
use super::keeper::Keeper;
use super::queue::UnsentTold;
use super::rollup::{HOUR, MINUTE, SECOND, day_files, month_files};
use super::state::State;
use super::*;
use crate::limits::HistoryLimits;
use crate::output::{Named, day_text};

/// 2026-11-22T23:58:00Z: spans of the tests cross a day.
const T0: i64 = 1_795_391_880_000_000_000;
const TAGS: u16 = 3;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trimloop-history-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn options(&self) -> StoreOptions {
        let tags =
            (0..TAGS).map(|i| Named { name: format!("tag_{i}"), unit: "bar".into() }).collect();
        StoreOptions {
            dir: self.0.clone(),
            names: Names { tags, ..Names::default() },
            clock: Clock::start(),
            node: "cell-1".into(),
            recipe: "lid".into(),
            revision: 1,
            plan_hash: [1; 32],
        }
    }

    /// The parts of a store without its thread, so that a test says what happens when.
    fn parts(&self) -> (State, History) {
        let options = self.options();
        let state = State::open(&self.0.join("state.db"), &options).unwrap();
        let history = History::new(&self.0, &state, &options.names);
        (state, history)
    }

    fn write(&self, samples: &[Sample]) {
        let store = Store::open(&self.options()).unwrap();
        for sample in samples {
            store.sender().samples(sample.source_time.unwrap(), &[*sample]);
        }
    }

    fn days(&self) -> Vec<String> {
        day_files(&self.0).into_iter().map(|(day, _)| day).collect()
    }

    /// Without the file that every start makes for its own day.
    fn test_days(&self) -> Vec<String> {
        self.days().into_iter().filter(|day| day == "20261122" || day == "20261123").collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn sample(ts: i64, tag: u16, value: Option<Value>, status: Status) -> Sample {
    Sample {
        tag: TagId(tag),
        value,
        status,
        source_time: Some(Utc::from_nanos(ts)),
        server_time: None,
        received: Mono::default(),
    }
}

fn plain(ts: i64, value: f64) -> Sample {
    sample(ts, 0, Some(Value::Float(value)), Status::Good)
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Bucket {
    min: Option<f64>,
    max: Option<f64>,
    sum: f64,
    count: i64,
    quality: i64,
}

type Buckets = BTreeMap<(i64, u16), Bucket>;

/// What the roll-ups must be: a fold over the last sample of each time and tag.
fn brute_force(batches: &[Vec<Sample>], step: i64) -> Buckets {
    let mut last: BTreeMap<(i64, u16), Sample> = BTreeMap::new();
    for sample in batches.iter().flatten() {
        last.insert((sample.source_time.unwrap().as_nanos(), sample.tag.0), *sample);
    }
    let mut buckets = Buckets::new();
    for ((ts, tag), sample) in last {
        let bucket = buckets.entry((ts.div_euclid(step) * step, tag)).or_default();
        let (status, bad) = match sample.status {
            Status::Good => (0, false),
            Status::Uncertain(code) => (code, false),
            Status::Bad(code) => (code, true),
        };
        bucket.quality = bucket.quality.max(i64::from(status));
        let value = match sample.value {
            Some(Value::Float(x)) => Some(x).filter(|x| x.is_finite()),
            Some(Value::Int(i)) => Some(i as f64),
            Some(Value::Bool(b)) => Some(f64::from(u8::from(b))),
            None => None,
        };
        if let Some(x) = value.filter(|_| !bad) {
            bucket.min = Some(bucket.min.map_or(x, |min| min.min(x)));
            bucket.max = Some(bucket.max.map_or(x, |max| max.max(x)));
            bucket.sum += x;
            bucket.count += 1;
        }
    }
    buckets
}

fn stored(files: &[PathBuf], table: &str) -> Buckets {
    let mut buckets = Buckets::new();
    for path in files {
        let db = Connection::open(path).unwrap();
        let mut statement = db
            .prepare(&format!(
                "SELECT r.ts, n.name, r.min, r.max, r.mean, r.count, r.quality
                 FROM {table} r JOIN name n ON n.id = r.tag"
            ))
            .unwrap();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let name: String = row.get(1).unwrap();
            let tag = name.trim_start_matches("tag_").parse().unwrap();
            let count: i64 = row.get(5).unwrap();
            let mean: Option<f64> = row.get(4).unwrap();
            assert_eq!(mean.is_some(), count > 0);
            let bucket = Bucket {
                min: row.get(2).unwrap(),
                max: row.get(3).unwrap(),
                sum: mean.unwrap_or(0.0) * count as f64,
                count,
                quality: row.get(6).unwrap(),
            };
            assert!(buckets.insert((row.get(0).unwrap(), tag), bucket).is_none());
        }
    }
    buckets
}

fn paths(files: Vec<(String, PathBuf)>) -> Vec<PathBuf> {
    files.into_iter().map(|(_, path)| path).collect()
}

fn assert_levels(dir: &Path, batches: &[Vec<Sample>]) {
    let days = paths(day_files(dir));
    let months = paths(month_files(dir));
    let levels = [
        ("rollup_1s", SECOND, &days),
        ("rollup_1m", MINUTE, &months),
        ("rollup_1h", HOUR, &months),
    ];
    for (table, step, files) in levels {
        let expected = brute_force(batches, step);
        let found = stored(files, table);
        let keys = |buckets: &Buckets| buckets.keys().copied().collect::<Vec<_>>();
        assert_eq!(keys(&found), keys(&expected), "{table}");
        for (key, want) in &expected {
            let got = &found[key];
            let same = (got.min, got.max, got.count, got.quality)
                == (want.min, want.max, want.count, want.quality);
            let near = (got.sum - want.sum).abs() <= 1e-9 * (1.0 + want.sum.abs());
            assert!(same && near, "{table} {key:?}: {got:?}, not {want:?}");
        }
    }
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let value = prop_oneof![
        5 => (-1e6..1e6_f64).prop_map(|x| Some(Value::Float(x))),
        2 => (-1000..1000_i64).prop_map(|i| Some(Value::Int(i))),
        1 => any::<bool>().prop_map(|b| Some(Value::Bool(b))),
        1 => Just(None),
        1 => Just(Some(Value::Float(f64::NAN))),
        1 => Just(Some(Value::Float(f64::INFINITY))),
    ];
    let status = prop_oneof![
        6 => Just(Status::Good),
        1 => Just(Status::Uncertain(0x4090_0000)),
        1 => Just(Status::Bad(0x808C_0000)),
    ];
    // 2.5 minutes around midnight on a coarse grid, so that stamps collide; 0 to 999 ns beside it.
    let ts = (0..1500_i64, prop_oneof![3 => Just(0_i64), 1 => 0..1000_i64])
        .prop_map(|(tenths, nanos)| T0 + tenths * 100_000_000 + nanos);
    (ts, 0..TAGS, value, status).prop_map(|(ts, tag, v, status)| sample(ts, tag, v, status))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// However late, doubled or bad samples come, and wherever the service is restarted, each
    /// level is the fold of what is stored.
    #[test]
    fn every_level_is_the_fold_of_the_samples(
        batches in prop::collection::vec(prop::collection::vec(any_sample(), 0..60), 1..4),
    ) {
        let scratch = Scratch::new("fold");
        for batch in &batches {
            scratch.write(batch);
        }
        assert_levels(&scratch.0, &batches);
    }
}

/// Samples out of a PLC's history fill what is missing, are marked, come into the roll-ups of days
/// long closed, and never replace a live one; told is how many were new.
#[test]
fn backfilled_samples_fill_and_never_replace() {
    let scratch = Scratch::new("backfill");
    let live: Vec<Sample> = (0..60).map(|i| plain(T0 + i * SECOND, i as f64)).collect();
    scratch.write(&live);
    let store = Store::open(&scratch.options()).unwrap();
    // Beyond midnight, and over the last ten live ones with other values.
    let late: Vec<Sample> = (50..300).map(|i| plain(T0 + i * SECOND, 1000.0 + i as f64)).collect();
    assert_eq!(
        store.sender().backfill(&late).blocking_recv(),
        Ok(BTreeMap::from([(TagId(0), 240)]))
    );
    assert_eq!(store.sender().backfill(&late).blocking_recv(), Ok(BTreeMap::new()));
    let without = Sample { source_time: None, ..plain(T0, 1.0) };
    assert_eq!(store.sender().backfill(&[without]).blocking_recv(), Ok(BTreeMap::new()));
    assert_eq!(store.sender().counts().samples_doubled, 0);
    drop(store);
    let (state, mut history) = scratch.parts();
    while history.finish().unwrap() {}
    history.close().unwrap();
    drop(state);
    // What comes last wins in the fold, so the live ones come last.
    assert_levels(&scratch.0, &[late, live]);
    let marked = |day: &str| -> (i64, i64) {
        let db = Connection::open(scratch.0.join(format!("history-{day}.db"))).unwrap();
        let sql = "SELECT count(*), sum(quality >> 33 & 1) FROM sample";
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!((marked("20261122"), marked("20261123")), ((120, 60), (180, 180)));
}

/// Up to when a PLC's history is whole outlives the service.
#[test]
fn what_is_whole_outlives_the_service() {
    let scratch = Scratch::new("whole");
    let store = Store::open(&scratch.options()).unwrap();
    assert_eq!(store.sender().whole_until("press"), None);
    for ts in [T0, T0 - SECOND] {
        store.sender().set_whole_until("press", Utc::from_nanos(ts));
    }
    assert_eq!(store.sender().whole_until("press"), Some(Utc::from_nanos(T0 - SECOND)));
    drop(store);
    let store = Store::open(&scratch.options()).unwrap();
    assert_eq!(store.sender().whole_until("press"), Some(Utc::from_nanos(T0 - SECOND)));
    assert_eq!(store.sender().whole_until("dryer"), None);
}

/// A month of roll-ups that is gone or damaged is made again from the days that are left.
#[test]
fn a_damaged_month_is_made_again() {
    let scratch = Scratch::new("month");
    let samples: Vec<Sample> = (0..400).map(|i| plain(T0 + i * SECOND, i as f64)).collect();
    scratch.write(&samples);
    assert_eq!(scratch.test_days(), ["20261122", "20261123"]);
    let month = scratch.0.join("rollup-202611.db");
    for damage in [true, false] {
        if damage {
            std::fs::write(&month, vec![0x5a; 9000]).unwrap();
        } else {
            std::fs::remove_file(&month).unwrap();
        }
        let (state, mut history) = scratch.parts();
        while history.finish().unwrap() {}
        assert_levels(&scratch.0, std::slice::from_ref(&samples));
        assert_eq!(history.notices.len(), usize::from(damage), "{:?}", history.notices);
        history.close().unwrap();
        state.close().unwrap();
        // Finished days are one plain file each.
        let beside = |end: &str| scratch.0.join(format!("history-20261122.db{end}")).exists();
        assert!(!beside("-wal") && !beside("-shm"));
        let db = Connection::open(scratch.0.join("history-20261122.db")).unwrap();
        let mode: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "delete");
    }
    assert!(scratch.0.join("rollup-202611.db.damaged-1").exists());
}

/// A closed day whose pages are damaged is set aside at the next start; the others are finished.
#[test]
fn a_damaged_closed_day_is_set_aside() {
    let scratch = Scratch::new("day");
    scratch.write(&(0..200).map(|i| plain(T0 + i * SECOND, 1.0)).collect::<Vec<_>>());
    std::fs::write(scratch.0.join("history-20261122.db"), vec![0x5a; 9000]).unwrap();
    std::fs::remove_file(scratch.0.join("rollup-202611.db")).unwrap();
    let (_state, mut history) = scratch.parts();
    while history.finish().unwrap() {}
    assert_eq!(history.notices.len(), 1, "{:?}", history.notices);
    assert_eq!(scratch.test_days(), ["20261123"]);
    assert!(scratch.0.join("history-20261122.db.damaged-1").exists());
    let months = paths(month_files(&scratch.0));
    assert_eq!(stored(&months, "rollup_1m").len(), 2);
}

/// When a power cut took the end of a day that the month has folded already, the month is folded
/// again from what is left.
#[test]
fn a_day_behind_its_month_is_folded_again() {
    let scratch = Scratch::new("behind");
    let early: Vec<Sample> = (0..30).map(|i| plain(T0 + i * SECOND, 5.0)).collect();
    scratch.write(&early);
    let day = scratch.0.join("history-20261122.db");
    let before = std::fs::read(&day).unwrap();
    scratch.write(&[plain(T0 + 31 * SECOND, 9.0), plain(T0 + 90 * SECOND, 9.0)]);
    std::fs::write(&day, before).unwrap();
    let late = vec![plain(T0 + 40 * SECOND, 7.0)];
    scratch.write(&late);
    assert_levels(&scratch.0, &[early, late]);
}

fn day_of(clock: Clock, days: i64) -> i64 {
    clock.utc().as_nanos() - days * 24 * HOUR
}

/// Old days go by age and by bytes; today's stays whatever the bounds; what a sink had not sent is
/// told.
#[test]
fn retention_removes_closed_days_and_tells_what_was_not_sent() {
    let scratch = Scratch::new("retention");
    let clock = Clock::start();
    let days = [9, 3, 1, 0].map(|days| day_of(clock, days));
    let samples = days.map(|ts| plain(ts, 1.0));
    scratch.write(&samples);
    let names = days.map(|ts| day_text(Utc::from_nanos(ts)));
    assert_eq!(scratch.days(), names);
    let state = Connection::open(scratch.0.join("state.db")).unwrap();
    for (day, seq) in [(&names[0], 1), (&names[1], 0)] {
        state.execute("INSERT INTO sink_cursor VALUES('influx', ?, ?)", (day, seq)).unwrap();
    }
    let (state, mut history) = scratch.parts();
    let told = UnsentTold::default();
    let tend = |limits: HistoryLimits, history: &mut History| {
        let mut keeper = Keeper::new(&scratch.0, clock, limits, told.clone());
        let told = keeper.tend(history, &state);
        (told.into_iter().map(|notice| notice.code).collect::<Vec<_>>(), keeper.unsent)
    };
    let week = HistoryLimits { raw_age: Span::from_secs(7 * 86_400), ..HistoryLimits::KEEP_ALL };
    // The sink had sent all of the oldest day.
    assert_eq!(tend(week, &mut history), (vec![], 0));
    assert_eq!(scratch.days(), names[1..]);
    let nothing = HistoryLimits { raw_bytes: 0, rollup_bytes: 0, ..HistoryLimits::KEEP_ALL };
    assert_eq!(tend(nothing, &mut history), (vec!["history_unsent"; 2], 2));
    let days: Vec<String> = told.lock().unwrap().iter().map(|(_, day)| day.clone()).collect();
    assert_eq!(days, names[1..3]);
    assert_eq!(scratch.days(), names[3..]);
    let now = HistoryLimits { raw_age: Span::ZERO, ..nothing };
    assert_eq!(tend(now, &mut history), (vec![], 0));
    assert_eq!(scratch.days(), names[3..]);
}

/// Below the floor the history stops and says so; state.db goes on.
#[test]
fn below_the_floor_only_history_stops() {
    let scratch = Scratch::new("floor");
    let limits = HistoryLimits { free_bytes: u64::MAX, ..HistoryLimits::KEEP_ALL };
    let store = Store::open_within(&scratch.options(), limits).unwrap();
    let sender = store.sender();
    sender.samples(Utc::from_nanos(T0), &[plain(T0, 1.0)]);
    let decision = DecisionRow {
        number: 1,
        part: 1,
        loop_id: LoopId(0),
        desired: None,
        limited: None,
        read_back: None,
        outcome: Outcome::WouldWrite,
        failed: FailedChecks::NONE,
        cut: Cut::Nothing,
        mode: Mode::Shadow,
        rung: Rung::Full,
    };
    sender.record(Utc::from_nanos(T0), Record::Decision(decision));
    sender.barrier().unwrap();
    assert!(sender.sound());
    assert_eq!(sender.counts().samples_dropped, 1);
    drop(store);
    let state = Connection::open(scratch.0.join("state.db")).unwrap();
    let count = |sql: &str| state.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM event WHERE code = 'history_stopped'"), 1);
    assert_eq!(count("SELECT count(*) FROM decision"), 1);
    assert_eq!(scratch.days().len(), 1, "only today's empty file");
}
