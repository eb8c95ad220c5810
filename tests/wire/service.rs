//! The command, as people run it, against a foreign server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use trimloop::clock::{Clock, span_of};
use trimloop_core::time::Mono;

use crate::foreign::Kind;
use crate::rig::{
    LIMIT, PART_MS, Setup, assert_envelope, scratch, server_with, share, tags, texts,
};

on_each_stack!(
    the_command_runs_a_loop,
    the_command_writes_in_milliseconds,
    a_killed_service_fills_its_gap,
);

/// The service as a child process; killed when a test ends before it does.
struct Service {
    child: Option<Child>,
    pid: Pid,
}

impl Service {
    fn start(dir: &Path) -> Self {
        let log = File::create(dir.join("run.log")).unwrap();
        let child = command(dir, &["run"]).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let child = child.unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        Self { child: Some(child), pid }
    }

    /// SIGTERM, and how it ends.
    fn terminate(mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        kill(self.pid, Signal::SIGTERM).unwrap();
        let (sender, receiver) = mpsc::sync_channel(1);
        thread::spawn(move || sender.send(child.wait()));
        receiver.recv_timeout(LIMIT).unwrap().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().unwrap_or_default();
            drop(child.wait());
        }
    }
}

/// The command for the folder `dir`, with no variable of ours set.
fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trimloop"));
    command.args(arguments).arg("--config").arg(dir);
    command.current_dir(dir).env("XDG_RUNTIME_DIR", dir).env("NO_COLOR", "1");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRIMLOOP_") {
            command.env_remove(name);
        }
    }
    command
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Asks `trimloop status` until it is as wanted.
fn wait_status(dir: &Path, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let clock = Clock::start();
    loop {
        let output = run(dir, &["status", "--format", "json"]);
        let status: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if let Some(status) = status.filter(&wanted) {
            return status;
        }
        let late = clock.mono() - Mono::default() > span_of(LIMIT);
        let log = || fs::read_to_string(dir.join("run.log")).unwrap_or_default();
        assert!(!late, "{what}: {}\n{}", said(&output), log());
    }
}

/// What is told of a filled gap with these words.
fn told(status: &Value, words: &str) -> Option<String> {
    let notices = status["notices"].as_array()?;
    let sentences = notices.iter().filter(|notice| notice["code"] == "gap_filled");
    let mut sentences = sentences.filter_map(|notice| notice["sentence"].as_str());
    sentences.find(|sentence| sentence.contains(words)).map(str::to_owned)
}

/// Until it is on disk from when on history is missing.
fn wait_mark(dir: &Path) {
    let clock = Clock::start();
    loop {
        let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let found = Connection::open_with_flags(dir.join("data/state.db"), read_only)
            .and_then(|db| db.query_row("SELECT count(*) FROM whole", [], |row| row.get(0)));
        if found.as_ref().is_ok_and(|marks: &u32| *marks > 0) {
            return;
        }
        let late = clock.mono() - Mono::default() > span_of(LIMIT);
        assert!(!late, "no mark: {found:?}");
    }
}

/// `run` in SHADOW, `loop auto` by hand, `status`, and SIGTERM.
fn the_command_runs_a_loop(test: &str, kind: Kind) {
    let Some(server) = server_with(test, kind, 0, &tags(&[])) else { return };
    let dir = project(test, "labels", server.url());
    let check = run(&dir, &["check"]);
    assert!(check.status.success(), "{}", said(&check));
    // Nobody answers before the service runs.
    let nobody = run(&dir, &["status", "--format", "json"]);
    assert!(!nobody.status.success(), "{}", said(&nobody));

    let service = Service::start(&dir);
    let status = wait_status(&dir, "the link", |status| status["plcs"][0]["up"] == true);
    assert_eq!(status["loops"][0]["mode"], "shadow");
    server.ask(json!({
        "cmd": "closed_loop", "x": "X", "u": "PressureSP", "y": "Quality", "part": "PartId",
        "label": "Size", "label_part": "SizePart", "label_delay_parts": 3, "parts": 1_000_000,
        "period_ms": PART_MS, "gain": 2.0, "u0": 50.0, "target": 10.0, "x_script": [[1, 2.0]],
    }));
    wait_status(&dir, "20 parts", |status| status["part"].as_i64() > Some(20));
    assert!(server.take_events("write").is_empty(), "SHADOW writes nothing");

    let raise =
        run(&dir, &["loop", "auto", "size", "--yes", "--reason", "wire test", "--format", "json"]);
    assert!(raise.status.success(), "{}", said(&raise));
    let status = wait_status(&dir, "two writes", |status| status["writes"].as_u64() >= Some(2));
    assert_eq!(status["schema"], "trimloop.status/2");
    assert_eq!(
        (&status["loops"][0]["mode"], &status["loops"][0]["owner"]),
        (&json!("auto"), &json!("ours"))
    );
    assert_eq!((&status["ok"], &status["records_sound"]), (&json!(true), &json!(true)));
    println!("{test}: latency of `trimloop run` with journal and store {}", status["latency_ms"]);
    server.wait_for("a good part", LIMIT, |event| {
        event["event"] == "part" && event["y"].as_f64().is_some_and(|y| (y - 10.0).abs() < 0.3)
    });

    let ended = service.terminate();
    let log = fs::read_to_string(dir.join("run.log")).unwrap();
    assert_eq!(ended.code(), Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    let writes = server.take_events("write");
    let values: Vec<f64> = writes.iter().filter_map(|event| event["value"].as_f64()).collect();
    assert_envelope(&values, 50.0, (47.0, 53.0), 0.5, 0.01);
    let gone = run(&dir, &["status"]);
    assert!(!gone.status.success(), "{}", said(&gone));
    server.quit();
    fs::remove_dir_all(dir).unwrap();
}

/// A config folder for a recipe and a server.
fn project(test: &str, recipe: &'static str, url: &str) -> PathBuf {
    let dir = scratch(test);
    let name = format!("recipes/{recipe}.toml");
    let (recipe, plc) = texts(&Setup::of(recipe), url);
    for (name, text) in [
        (name.as_str(), recipe.as_str()),
        ("plc-configs/cell.toml", plc.as_str()),
        ("trimloop.toml", "name = \"wire\"\n[control]\nsocket = \"control.sock\"\n"),
    ] {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// The acceptance itself: 300 writes of `trimloop run`, which journals and stores everything.
fn the_command_writes_in_milliseconds(test: &str, kind: Kind) {
    let _alone = share(true);
    let Some(server) = server_with(test, kind, 0, &tags(&[])) else { return };
    let dir = project(test, "relays", server.url());
    let service = Service::start(&dir);
    wait_status(&dir, "the link", |status| status["plcs"][0]["up"] == true);
    let script: Vec<_> =
        (0..200).map(|n| (20 * n + 1, if n % 2 == 0 { 2.0 } else { -2.0 })).collect();
    server.ask(json!({
        "cmd": "closed_loop", "x": "X", "u": "PressureSP", "y": "Quality", "part": "PartId",
        "parts": 1_000_000, "period_ms": PART_MS, "x_script": script, "report": false,
    }));
    wait_status(&dir, "5 parts", |status| status["part"].as_i64() > Some(5));
    for name in ["first", "second", "third"] {
        let raise = run(&dir, &["loop", "auto", name, "--yes", "--reason", "wire test"]);
        assert!(raise.status.success(), "{}", said(&raise));
    }
    // Asking is work for the service too: the server is asked how far it is.
    let mut writes = 0;
    while writes < 330 {
        server.wait_event("write", LIMIT);
        writes += 1 + server.take_events("write").len();
    }
    let status = wait_status(&dir, "300 writes", |status| status["writes"].as_u64() >= Some(300));
    let latency = &status["latency_ms"];
    println!("{test}: {} writes of `trimloop run`, verified in ms: {latency}", status["writes"]);
    println!("{test}: longest scan {} us", status["counters"]["scan_longest_us"]);
    assert_eq!(service.terminate().code(), Some(0));
    let millis = |name: &str| latency[name].as_f64().unwrap();
    assert!(millis("p50") <= 20.0 && millis("p99") <= 100.0, "{latency}");
    server.quit();
    fs::remove_dir_all(dir).unwrap();
}

/// Killed without a word, and started again: what the PLC kept meanwhile is in the history, marked,
/// and what was decided before and after still replays bit for bit, because the cell never saw it.
fn a_killed_service_fills_its_gap(test: &str, kind: Kind) {
    let Some(server) = server_with(test, kind, 0, &tags(&[])) else { return };
    server.ask(json!({"cmd": "historize", "ids": ["X", "Size"], "page": 100, "nodes_max": 1}));
    let dir = project(test, "labels", server.url());
    let plant = |first: u32| {
        server.ask(json!({
            "cmd": "closed_loop", "x": "X", "u": "PressureSP", "y": "Quality", "part": "PartId",
            "label": "Size", "label_part": "SizePart", "label_delay_parts": 3, "parts": 20,
            "first_part": first, "period_ms": PART_MS, "gain": 2.0, "u0": 50.0, "target": 10.0,
            "x_script": [[1, 2.0]], "report": false,
        }));
        server.wait_event("closed_loop_done", LIMIT);
    };
    let service = Service::start(&dir);
    wait_status(&dir, "the link", |status| status["plcs"][0]["up"] == true);
    plant(1);
    wait_status(&dir, "the parts", |status| status["part"].as_i64() >= Some(20));
    // What lived for less than a second knows of no gap.
    wait_mark(&dir);
    drop(service);

    let values: Vec<f64> = (0..300).map(|n| f64::from(n) / 100.0 - 20.0).collect();
    let t_ms = Clock::start().utc().as_nanos() / 1_000_000;
    server.ask(json!({"cmd": "series", "id": "X", "values": values, "t_ms": t_ms, "step_ms": 2}));
    let service = Service::start(&dir);
    let status = wait_status(&dir, "the gap to be filled", |status| {
        told(status, "the service did not run").is_some()
    });
    let sentence = told(&status, "the service did not run").unwrap();
    println!("{test}: {sentence}");
    // Asked for by hand, nothing is doubled.
    let again = run(&dir, &["plc", "backfill", "cell", "--last", "10min"]);
    assert!(again.status.success(), "{}", said(&again));
    // Other gaps may be told, too, where values were lost on the way.
    let status =
        wait_status(&dir, "what was asked for", |status| told(status, "(asked for").is_some());
    println!("{test}: {}", told(&status, "(asked for").unwrap());
    let nobody = run(&dir, &["plc", "backfill", "cel", "--last", "10min"]);
    assert!(said(&nobody).contains("TL0726"), "{}", said(&nobody));
    plant(21);
    wait_status(&dir, "more parts", |status| status["part"].as_i64() >= Some(40));
    assert_eq!(service.terminate().code(), Some(0));

    let output = run(&dir, &["query", "x", "--last", "1h", "--format", "jsonl"]);
    let rows = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let marked = |value: f64| {
        let of = |row: &&Value| {
            row["stamp"] == "backfill"
                && row["value"].as_f64().is_some_and(|stored| (stored - value).abs() < 1e-9)
        };
        rows.iter().filter(of).count()
    };
    // The last may have come by the new subscription first.
    let (last, all) = values.split_last().unwrap();
    assert!(all.iter().all(|value| marked(*value) == 1) && marked(*last) <= 1, "{rows:?}");
    let live = rows.iter().filter(|row| row["stamp"] == "source").count();
    assert!(live >= 2, "{live} live samples");

    for arguments in [&["replay"][..], &["audit", "verify"]] {
        let output = run(&dir, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }
    server.quit();
    fs::remove_dir_all(dir).unwrap();
}
