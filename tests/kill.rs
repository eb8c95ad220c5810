//! Killed hard, under load, several times: everything acknowledged is there, nothing is doubled,
//! the journal's chain and the audit chain are whole.
//!
//! The load is this test binary itself, started again with [`ROLE`] set. It is killed after a
//! number of acknowledgements drawn from a fixed seed, so nothing here waits by the clock.
//! `TRIMLOOP_KILL_ROUNDS=200 cargo test --test kill` kills more often than the twelve times of the
//! suite.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;

use trimloop::clock::Clock;
use trimloop::journal::{Item, JournalHead, JournalWriter, Reader, verify};
use trimloop::output::{Named, Names};
use trimloop::store::{Store, StoreOptions, verify_audit, verify_ledger_with};
use trimloop_core::guard::{Cut, FailedChecks};
use trimloop_core::ledger::Fate;
use trimloop_core::mode::{Mode, Rung};
use trimloop_core::plan::{LoopId, SetpointId};
use trimloop_core::record::{DecisionRow, LedgerRow, Outcome, Record};
use trimloop_core::scan::{Action, Link, Scan};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Utc};
use trimloop_core::unit::Ticks;

/// Variable with the number of kills.
const ROUNDS: &str = "TRIMLOOP_KILL_ROUNDS";
const ROLE: &str = "TRIMLOOP_TEST_KILL_DIR";
const SAMPLES_PER_SCAN: u64 = 20;
/// Scans between two barriers of the store.
const BARRIER: u64 = 16;
/// 2026-11-22T10:00:00Z; the load stays within that day.
const T0_MILLIS: i64 = 1_795_341_600_000;

fn options(dir: &Path) -> StoreOptions {
    let tags = (0..SAMPLES_PER_SCAN)
        .map(|i| Named { name: format!("tag{i}"), unit: "bar".into() })
        .collect();
    let loops = vec![Named { name: "weight".into(), unit: String::new() }];
    StoreOptions {
        dir: dir.to_owned(),
        names: Names { tags, loops, ..Names::default() },
        clock: Clock::start(),
        node: "kill-test".into(),
        recipe: "load".into(),
        revision: 1,
        plan_hash: [3; 32],
    }
}

fn decision(number: u64) -> Record {
    Record::Decision(DecisionRow {
        number,
        part: 1,
        loop_id: LoopId(0),
        desired: Some(1.0),
        limited: None,
        read_back: None,
        outcome: Outcome::WouldWrite,
        failed: FailedChecks::NONE,
        cut: Cut::Nothing,
        mode: Mode::Shadow,
        rung: Rung::Full,
    })
}

fn ledger(write: u64) -> Record {
    Record::Ledger(LedgerRow {
        write,
        setpoint: SetpointId(0),
        desired: 1.5,
        limited: Ticks::new(3),
        sent: Ticks::new(3),
        issued: Mono::from_millis(1),
        acknowledged: None,
        read_back: None,
        confirmed: None,
        fate: Fate::Sent,
    })
}

/// The load; only does anything when started by the test below.
#[test]
fn load() {
    let Some(dir) = std::env::var_os(ROLE).map(PathBuf::from) else { return };
    let store = Store::open(&options(&dir)).unwrap();
    let boot = store.boot();
    let head = JournalHead { boot, recipe: "load".into(), ..JournalHead::default() };
    // Small files, so that rotation is killed too.
    let mut journal = JournalWriter::open_sized(&dir.join("journal"), &head, 100_000).unwrap();
    let sender = store.sender();
    let mut out = std::io::stdout().lock();
    writeln!(out, "boot {boot}").unwrap();
    for seq in 1_u64.. {
        // Each boot has its own minute, so that no two samples share time and tag.
        let millis = T0_MILLIS + boot.cast_signed() * 60_000 + seq.cast_signed();
        let utc = Utc::from_millis(millis);
        let samples: Vec<Sample> = (0..SAMPLES_PER_SCAN)
            .map(|tag| Sample {
                tag: TagId(u16::try_from(tag).unwrap()),
                value: Some(Value::Int(seq.cast_signed())),
                status: Status::Good,
                source_time: Some(utc),
                server_time: None,
                received: Mono::default(),
            })
            .collect();
        let now = Now { mono: Mono::from_millis(seq.cast_signed()), utc };
        let links = &[Link::default()];
        let scan = Scan { seq, now, links, changes: &samples, acks: &[], commands: &[] };
        journal.append_scan(&scan).unwrap();
        journal.append_actions(seq, &[Action::Record(decision(seq))]).unwrap();
        writeln!(out, "journal {seq}").unwrap();
        sender.samples(utc, &samples);
        sender.record(utc, decision(seq));
        sender.record(utc, ledger(seq));
        sender.audit(seq, "test", "load", "kill");
        if seq.is_multiple_of(BARRIER) {
            sender.barrier().unwrap();
            writeln!(out, "store {seq}").unwrap();
        }
    }
}

/// What the load said was safe, by boot: last journaled scan, last stored scan.
type Acknowledged = BTreeMap<u64, (u64, u64)>;

/// Runs the load and kills it after `lines` lines of its output.
fn run_and_kill(dir: &Path, lines: usize, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "load", "--nocapture"])
        .env(ROLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut boot = 0;
    let mut seen = 0;
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    // What the pipe still holds after the kill was said before it, so it counts too.
    while let Some(Ok(line)) = output.next() {
        // The last line may be cut by the kill.
        let number = |text: &str| text.parse::<u64>().ok();
        let parsed = line.split_once(' ').and_then(|(a, b)| Some((a, number(b)?)));
        match parsed {
            Some(("boot", number)) => boot = number,
            Some(("journal", seq)) => {
                let entry = acknowledged.entry(boot).or_default();
                // A cut number is smaller than the one it was; it never claims too much.
                entry.0 = entry.0.max(seq);
            }
            Some(("store", seq)) => {
                let entry = acknowledged.entry(boot).or_default();
                entry.1 = entry.1.max(seq);
            }
            _ => continue,
        }
        seen += 1;
        if seen == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= lines, "the load ended by itself after {seen} lines");
}

/// Twelve kills in a row over one data folder, or as many as [`ROUNDS`] says.
#[test]
fn killed_hard_nothing_acknowledged_is_lost_or_doubled() {
    if std::env::var_os(ROLE).is_some() {
        return;
    }
    let dir = std::env::temp_dir().join(format!("trimloop-kill-{}", std::process::id()));
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    let mut acknowledged = Acknowledged::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let rounds = std::env::var(ROUNDS).map_or(12, |text| text.parse().unwrap());
    for _kill in 0..rounds {
        // xorshift64; lines from 3 to 402.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let lines = 3 + usize::try_from(random % 400).unwrap();
        run_and_kill(&dir, lines, &mut acknowledged);
    }
    // A last start sets the last tail in order.
    let store = Store::open(&options(&dir)).unwrap();
    drop(JournalWriter::open(&dir.join("journal"), &JournalHead::default()).unwrap());
    drop(store);

    check_journal(&dir, &acknowledged);
    check_store(&dir, &acknowledged);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn check_journal(dir: &Path, acknowledged: &Acknowledged) {
    let dir = dir.join("journal");
    verify(&dir).unwrap().unwrap();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "tlj"))
        .collect();
    files.sort();
    let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for path in files {
        let mut reader = Reader::open(&path).unwrap();
        let mut boot = 0;
        while let Some(entry) = reader.next_entry().unwrap() {
            match entry.item {
                Item::Head(head) => boot = head.boot,
                Item::Scan(scan) => {
                    assert_eq!(scan.changes.len() as u64, SAMPLES_PER_SCAN);
                    found.entry(boot).or_default().push(scan.seq);
                }
                Item::Actions { .. } => {}
            }
        }
    }
    for (boot, (journaled, _)) in acknowledged {
        let scans = found.get(boot).map_or(&[][..], Vec::as_slice);
        let expected: Vec<u64> = (1..=scans.len() as u64).collect();
        assert_eq!(scans, expected, "boot {boot}");
        assert!(scans.len() as u64 >= *journaled, "boot {boot}: {} < {journaled}", scans.len());
    }
}

fn check_store(dir: &Path, acknowledged: &Acknowledged) {
    let state = Connection::open(dir.join("state.db")).unwrap();
    verify_audit(&state).unwrap().unwrap();
    verify_ledger_with(&state, &mut |_| ()).unwrap().unwrap();
    let history = Connection::open(dir.join("history-20261122.db")).unwrap();
    let check: String = history.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(check, "ok");
    for (boot, (_, stored)) in acknowledged {
        let count = |db: &Connection, sql: &str| -> (u64, u64) {
            db.query_row(sql, [boot.cast_signed()], |row| {
                Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
            })
            .unwrap()
        };
        for sql in [
            "SELECT count(*), coalesce(max(orders), 0) FROM audit WHERE boot = ?",
            "SELECT count(*), coalesce(max(number), 0) FROM decision WHERE boot = ?",
            "SELECT count(*), coalesce(max(write), 0) FROM ledger WHERE boot = ?",
        ] {
            let (rows, last) = count(&state, sql);
            assert_eq!(rows, last, "boot {boot}: a row is missing or doubled ({sql})");
            assert!(last >= *stored, "boot {boot}: {last} < {stored} ({sql})");
        }
        let sql = format!(
            "SELECT count(*), coalesce(max(value), 0) FROM sample
             WHERE ts / 1000000 > {T0_MILLIS} + ?1 * 60000
               AND ts / 1000000 < {T0_MILLIS} + (?1 + 1) * 60000"
        );
        let (rows, last) = count(&history, &sql);
        assert_eq!(rows, last * SAMPLES_PER_SCAN, "boot {boot}: samples");
        assert!(last >= *stored, "boot {boot}: samples {last} < {stored}");
    }
}
