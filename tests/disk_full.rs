//! A file system that is really full: a small tmpfs in a mount namespace of its own. The store
//! holds, and goes on by itself when there is room again.
//!
//! The work is done by this test binary itself, started again inside the namespace with [`ROLE`]
//! set. Where the system gives no such namespace, the test is skipped by name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;

use trimloop::clock::Clock;
use trimloop::limits::HistoryLimits;
use trimloop::output::{Named, Names};
use trimloop::store::{Store, StoreOptions, verify_audit};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Utc};

const ROLE: &str = "TRIMLOOP_TEST_FULL_DIR";
/// 2026-11-22T10:00:00Z.
const T0_MILLIS: i64 = 1_795_341_600_000;
/// Attempts of a barrier before a test gives up; each waits for the writer's next round.
const ATTEMPTS: usize = 10_000_000;

fn options(dir: &Path) -> StoreOptions {
    let tags = vec![Named { name: "melt_temp".into(), unit: "degC".into() }];
    StoreOptions {
        dir: dir.to_owned(),
        names: Names { tags, ..Names::default() },
        clock: Clock::start(),
        node: "full-test".into(),
        recipe: "lid".into(),
        revision: 1,
        plan_hash: [3; 32],
    }
}

fn sample(millis: i64) -> Sample {
    Sample {
        tag: TagId(0),
        value: Some(Value::Float(221.5)),
        status: Status::Good,
        source_time: Some(Utc::from_millis(millis)),
        server_time: None,
        received: Mono::default(),
    }
}

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut ballast = File::create(path).unwrap();
    for block in [1 << 16, 1 << 12, 1] {
        let bytes = vec![0x5a; block];
        while ballast.write_all(&bytes).is_ok() {}
    }
    // Whole pages are what tmpfs gives out, so now none is left.
    assert_eq!(ballast.write_all(&[0]).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

/// Inside the namespace; only does anything when started by the test below.
#[test]
fn inside() {
    let Some(dir) = std::env::var_os(ROLE).map(PathBuf::from) else { return };
    let data = dir.join("data");
    let store = Store::open(&options(&data)).unwrap();
    let sender = store.sender();
    let ballast = dir.join("ballast");
    let mut order = 0;
    for round in 0..3 {
        order += 1;
        sender.audit_committed(order, "test", "loop auto weight", "room").unwrap();
        fill(&ballast);
        // Sooner or later the log of the database needs a page that is not to be had.
        let mut refused = 0;
        for n in 0..2000 {
            order += 1;
            let millis = T0_MILLIS + round * 3_600_000 + n;
            sender.samples(Utc::from_millis(millis), &[sample(millis)]);
            if sender.audit_committed(order, "test", "loop auto weight", &"x".repeat(4096)).is_err()
            {
                refused += 1;
                if refused == 3 {
                    break;
                }
            }
        }
        assert_eq!(refused, 3, "the file system was not full");
        assert!(!sender.sound());
        std::fs::remove_file(&ballast).unwrap();
        let mut attempts = (0..ATTEMPTS).filter(|_| {
            std::thread::yield_now();
            sender.barrier().is_ok()
        });
        assert!(attempts.next().is_some(), "round {round}: it did not go on");
        assert!(sender.sound());
        assert_eq!(sender.counts().rows_lost, 0);
    }
    drop(store);
    // Nothing that was asked for is missing, not even what waited while the disk was full.
    let state = Connection::open(data.join("state.db")).unwrap();
    assert_eq!(verify_audit(&state).unwrap(), Ok(order));
    let orders: u64 = state
        .query_row("SELECT count(DISTINCT orders) FROM audit", [], |row| row.get::<_, i64>(0))
        .unwrap()
        .unsigned_abs();
    assert_eq!(orders, order);
    for name in std::fs::read_dir(&data).unwrap().flatten().map(|entry| entry.path()) {
        if name.extension().is_some_and(|end| end == "db") {
            let db = Connection::open(&name).unwrap();
            let check: String = db.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
            assert_eq!(check, "ok", "{}", name.display());
        }
    }
    std::fs::remove_dir_all(&data).unwrap();
    floor(&dir);
    println!("inside: all held");
}

/// The floor on a real file system: history stops before the disk is full, the audit goes on.
fn floor(dir: &Path) {
    let limits = HistoryLimits { free_bytes: 2 << 20, ..HistoryLimits::KEEP_ALL };
    let data = dir.join("floor");
    let store = Store::open_within(&options(&data), limits).unwrap();
    let sender = store.sender();
    let told = |millis: i64| {
        sender.samples(Utc::from_millis(millis), &[sample(millis)]);
        sender.audit_committed(1, "test", "loop hold weight", "floor").unwrap();
        // The counter is put up after the commit that was waited for.
        sender.barrier().unwrap();
        sender.counts().samples_dropped
    };
    assert_eq!(told(T0_MILLIS), 0);
    let ballast = dir.join("ballast");
    let free = nix::sys::statvfs::statvfs(dir).unwrap();
    let free = free.blocks_available() * free.fragment_size();
    std::fs::write(&ballast, vec![0x5a; usize::try_from(free).unwrap() - (1 << 20)]).unwrap();
    assert_eq!(told(T0_MILLIS + 1), 1);
    assert_eq!(told(T0_MILLIS + 2), 2);
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(told(T0_MILLIS + 3), 2);
    drop(store);
    let history = Connection::open(data.join("history-20261122.db")).unwrap();
    let rows: i64 = history.query_row("SELECT count(*) FROM sample", [], |r| r.get(0)).unwrap();
    assert_eq!(rows, 2);
    let state = Connection::open(data.join("state.db")).unwrap();
    let events = "SELECT group_concat(code, ' ') FROM (SELECT code FROM event ORDER BY id)";
    let events: String = state.query_row(events, [], |row| row.get(0)).unwrap();
    assert_eq!(events, "history_stopped history_resumed");
}

/// A full disk stops the audit, and nothing is lost when there is room again.
#[test]
fn a_full_disk_holds_and_goes_on() {
    if std::env::var_os(ROLE).is_some() {
        return;
    }
    let name = "a_full_disk_holds_and_goes_on";
    let dir = std::env::temp_dir().join(format!("trimloop-full-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mount = "mount -t tmpfs -o size=8m none \"$1\"";
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
        command.arg(&dir).arg(std::env::current_exe().unwrap()).env(ROLE, &dir);
        command
    };
    if !inside(mount).output().is_ok_and(|output| output.status.success()) {
        let line = format!("skipped: {name}: no mount namespace with a tmpfs is to be had\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        return;
    }
    let script = format!("{mount} && exec \"$2\" --exact inside --nocapture");
    let output = inside(&script).output().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("inside: all held"), "{out}\n{err}");
}
