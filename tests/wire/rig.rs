//! A foreign server, a cell that runs against it, and everything both have told.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use trimloop::clock::{Clock, span_of};
use trimloop::dispatch::{OrderResult, Seen};
use trimloop::output::Names;
use trimloop::service::{CellHandle, CellSettings, CellStatus, LoopState};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::cell::LoopStatus;
use trimloop_core::event::What;
use trimloop_core::ledger::Fate;
use trimloop_core::mode::Mode;
use trimloop_core::plan::LoopId;
use trimloop_core::record::{DecisionRow, LedgerRow, Outcome, Record};
use trimloop_core::scan::Command;
use trimloop_core::time::Span;
use trimloop_recipe::{Bound, Models, bind, check, check_plc_config, render};

use crate::foreign::{ForeignServer, Kind, or_skip};

/// How long anything may take. Generous: a loaded machine is not a broken one.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Time between two parts of the plant.
pub const PART_MS: u32 = 40;

const CELL: &str = include_str!("cell.toml");
const RECIPES: [(&str, &str); 4] = [
    ("labels", include_str!("labels.toml")),
    ("rules", include_str!("rules.toml")),
    ("forward", include_str!("forward.toml")),
    ("relays", include_str!("relays.toml")),
];

/// Tests that measure time run alone, as far as this process goes.
static QUIET: RwLock<()> = RwLock::new(());

#[expect(dead_code, reason = "held until the test ends")]
pub enum Share {
    Alone(RwLockWriteGuard<'static, ()>),
    Shared(RwLockReadGuard<'static, ()>),
}

/// What a test starts with.
#[derive(Default)]
pub struct Setup {
    /// Recipe by name, and changes to its text.
    pub recipe: (&'static str, &'static [(&'static str, &'static str)]),
    /// Changes to the text of the PLC config.
    pub plc: &'static [(&'static str, &'static str)],
    /// Types of the server's tags that are not those of [`tags`].
    pub types: &'static [(&'static str, &'static str)],
    /// Model artifacts.
    pub models: Models,
    /// Runs while no other test does.
    pub alone: bool,
}

impl Setup {
    pub fn of(recipe: &'static str) -> Self {
        Self { recipe: (recipe, &[]), ..Self::default() }
    }
}

/// `text` with every `from` replaced, each of which must be there.
pub fn varied(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "the template has no {from:?}");
        text = text.replace(from, to);
    }
    text
}

/// The texts of a recipe and of the PLC config `cell` for a server.
pub fn texts(setup: &Setup, url: &str) -> (String, String) {
    let (name, changes) = setup.recipe;
    let recipe = RECIPES.iter().find(|(known, _)| *known == name).unwrap().1;
    let plc = varied(CELL, &[("opc.tcp://127.0.0.1:4840", url)]);
    (varied(recipe, changes), varied(&plc, setup.plc))
}

/// A recipe bound to its PLC config; the test fails with what is wrong with either.
pub fn bound(recipe: (&str, &str), plc: (&str, &str), models: &Models) -> Bound {
    let refused = |found: &[trimloop_recipe::Diagnostic]| -> ! {
        panic!("{}", render(found, trimloop_recipe::Color::Never))
    };
    let (recipe, found) = check(&format!("recipes/{}.toml", recipe.0), recipe.1);
    let Some(recipe) = recipe else { refused(&found) };
    let (plc, found) = check_plc_config(&format!("plc-configs/{}.toml", plc.0), plc.1);
    let Some(plc) = plc else { refused(&found) };
    match bind(&recipe, &[plc], models) {
        Ok(bound) => bound,
        Err(found) => refused(&found),
    }
}

/// The tags that cell.toml names.
pub fn tags(types: &[(&str, &str)]) -> Value {
    let kind = |id: &str, usual: &'static str| -> String {
        types.iter().find(|(known, _)| *known == id).map_or(usual, |(_, kind)| kind).to_owned()
    };
    json!([
        {"id": "X", "type": "Double"},
        {"id": "Quality", "type": "Double", "value": 10.0},
        {"id": "PartId", "type": "Int32"},
        {"id": "Size", "type": "Double", "value": 10.0},
        {"id": "SizePart", "type": "Int32"},
        {"id": "Melt", "type": "Double", "value": 230.0},
        {"id": "MeltBeat", "type": "Int32"},
        {"id": "Mould", "type": "Double", "value": 40.0},
        {"id": "Door", "type": "Boolean", "value": true},
        {"id": "PressureSP", "type": kind("PressureSP", "Double"), "value": 50, "writable": true},
        {"id": "SecondSP", "type": kind("SecondSP", "Double"), "value": 50, "writable": true},
        {"id": "ThirdSP", "type": kind("ThirdSP", "Double"), "value": 50, "writable": true},
    ])
}

/// An empty folder of the test's own.
pub fn scratch(test: &str) -> PathBuf {
    let folder = format!("wire-{}-{}", test.replace("::", "-"), std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A server whose tags are there before it listens, as after a restart of a PLC.
pub fn server_with(test: &str, kind: Kind, port: u16, tags: &Value) -> Option<ForeignServer> {
    let dir = scratch(&format!("{test}-tags"));
    let file = dir.join("tags.json");
    std::fs::write(&file, tags.to_string()).unwrap();
    let file = file.display().to_string();
    let server = or_skip(test, ForeignServer::start_with(kind, port, &["--tags", &file]));
    std::fs::remove_dir_all(dir).unwrap();
    server
}

/// A server and a cell.
pub struct Rig {
    pub cell: CellHandle,
    pub log: Log,
    pub server: ForeignServer,
    /// Keeps rows; its folder.
    pub store: Option<(Store, PathBuf)>,
    runtime: Runtime,
    tags: Value,
    test: String,
    _share: Share,
}

impl Rig {
    /// Starts both and waits for the link; `None` where the stack is missing.
    pub fn start(test: &str, kind: Kind, setup: Setup) -> Option<Self> {
        let rig = Self::start_unlinked(test, kind, setup)?;
        rig.linked();
        Some(rig)
    }

    /// Starts both.
    pub fn start_unlinked(test: &str, kind: Kind, setup: Setup) -> Option<Self> {
        let tags = tags(setup.types);
        let share = share(setup.alone);
        let server = server_with(test, kind, 0, &tags)?;
        let (recipe, plc) = texts(&setup, server.url());
        let bound = bound((setup.recipe.0, &recipe), ("cell", &plc), &setup.models);
        Some(Self::with(test, server, tags, bound, None, share))
    }

    /// A cell of the test's own tags and files, with a store.
    pub fn of(
        test: &str,
        server: ForeignServer,
        tags: Value,
        bound: impl FnOnce(&str) -> Bound,
    ) -> Self {
        let bound = bound(server.url());
        let dir = scratch(test);
        let store = Store::open(&StoreOptions {
            dir: dir.clone(),
            names: Names::of(&bound.plan),
            clock: Clock::start(),
            node: "wire".to_owned(),
            recipe: bound.plan.name.clone(),
            revision: bound.plan.revision,
            plan_hash: bound.plan.hash,
        })
        .unwrap();
        let rig = Self::with(test, server, tags, bound, Some((store, dir)), share(false));
        rig.linked();
        rig
    }

    fn with(
        test: &str,
        server: ForeignServer,
        tags: Value,
        bound: Bound,
        store: Option<(Store, PathBuf)>,
        share: Share,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let settings = CellSettings {
            bound,
            journal: None,
            store: store.as_ref().map(|(store, _)| store.sender()),
            client_name: "wire".to_owned(),
            pki_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("wire-pki"),
            secrets_dir: std::path::PathBuf::new(),
            realtime: None,
        };
        let cell = CellHandle::start(settings, runtime.handle()).unwrap();
        let log = Log::of(&cell);
        let test = test.to_owned();
        Self { cell, log, server, store, runtime, tags, test, _share: share }
    }

    /// Waits until the link is up and every tag has been read.
    pub fn linked(&self) {
        self.until("the link", |status| {
            let read = |quality: &str| quality != "missing";
            status.plcs[0].link.up
                && status
                    .tags
                    .iter()
                    .all(|tag| tag.reading.is_some_and(|reading| read(reading.quality.word())))
        });
    }

    /// Waits until the status is as wanted, looking after everything that is told; how long it
    /// took.
    pub fn until(&self, what: &str, wanted: impl Fn(&CellStatus) -> bool) -> Span {
        let clock = self.cell.clock();
        let start = clock.mono();
        let mut seen = 0;
        loop {
            let status = self.cell.status();
            let waited = clock.mono() - start;
            if wanted(&status) {
                return waited;
            }
            if waited > span_of(LIMIT) {
                let CellStatus { plcs, counts, loops, .. } = status;
                panic!(
                    "{}: {what}: {plcs:?}\n{counts:?}\n{loops:?}\n{}",
                    self.test,
                    self.log.tail()
                );
            }
            // The board is at most 50 ms old: it is looked at again without news, too.
            seen = self.log.news(seen, Duration::from_millis(20));
        }
    }

    /// State of a loop, when the cell has seen a scan.
    pub fn loop_status(&self, index: usize) -> LoopStatus {
        let state: &LoopState = &self.cell.status().loops[index];
        state.status.unwrap()
    }

    /// The raise to AUTO is carried out.
    pub fn raise(&self, index: u16) {
        assert_eq!(self.ask_auto(index), OrderResult::Done, "{}", self.log.tail());
    }

    /// What becomes of the raise to AUTO.
    pub fn ask_auto(&self, index: u16) -> OrderResult {
        let order = self.cell.order(Command::SetMode(LoopId(index), Mode::Auto)).unwrap();
        self.cell.wait_order(order, LIMIT)
    }

    /// Waits for so many more parts.
    pub fn parts(&self, count: usize) {
        let from = self.log.mark();
        self.log.wait_count(&format!("{count} parts"), from, count, |seen| {
            matches!(seen, Seen::Record(_, Record::Part(_)))
        });
    }

    /// Runs the plant for ever from part `first`, with x as in `script`. Its report of parts is
    /// read by [`Self::made`].
    pub fn plant(&self, first: u32, script: &Value) {
        self.server.ask(json!({
            "cmd": "closed_loop", "x": "X", "u": "PressureSP", "y": "Quality", "part": "PartId",
            "label": "Size", "label_part": "SizePart", "label_delay_parts": 3,
            "parts": 1_000_000, "first_part": first, "period_ms": PART_MS,
            "gain": 2.0, "u0": 50.0, "target": 10.0, "x_script": script,
        }));
    }

    /// Keeps the tag Melt fresh for so many tenths of a second; then it goes stale.
    pub fn feed_melt(&self, tenths: usize) {
        let dir = scratch(&format!("{}-melt", self.test));
        let file = dir.join("melt.csv");
        let mut text = "melt\n".to_owned();
        for row in 0..tenths {
            writeln!(text, "{}", 230 + row % 2).unwrap();
        }
        std::fs::write(&file, text).unwrap();
        self.server.ask(json!({"cmd": "play", "file": file, "columns": {"melt": "Melt"},
            "edge": "MeltBeat", "period_ms": 100}));
        // It has been read by now.
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Sizes of the parts made since the last call, as the plant knows them.
    pub fn made(&self) -> Vec<f64> {
        let events = self.server.take_events("part");
        events.iter().filter_map(|event| event["y"].as_f64()).collect()
    }

    /// Values written since the last call, as the server took them, oldest first.
    pub fn written(&self, id: &str) -> Vec<f64> {
        let events = self.server.take_events("write");
        let ours = events.iter().filter(|event| event["id"] == id);
        ours.map(|event| event["value"].as_f64().unwrap()).collect()
    }

    /// What a register of the server holds.
    pub fn holds(&self, id: &str) -> f64 {
        self.server.ask(json!({"cmd": "get", "ids": [id]}))["values"][id].as_f64().unwrap()
    }

    pub fn set(&self, id: &str, value: impl Into<Value>) {
        let mut values = serde_json::Map::new();
        values.insert(id.to_owned(), value.into());
        self.server.ask(json!({"cmd": "set", "values": values}));
    }

    pub fn status(&self, id: &str, code: &str, value: impl Into<Value>) {
        let value: Value = value.into();
        self.server.ask(json!({"cmd": "status", "id": id, "code": code, "value": value}));
    }

    /// The server is killed and started again on its port; false where the stack is missing.
    pub fn restart_server(&mut self) -> bool {
        let (kind, port) = (self.server.kind(), self.server.port());
        self.server.kill();
        let Some(server) = server_with(&self.test, kind, port, &self.tags) else { return false };
        self.server = server;
        true
    }

    /// The same, but the new server has no tags yet.
    pub fn restart_server_empty(&mut self) -> bool {
        let (kind, port) = (self.server.kind(), self.server.port());
        self.server.kill();
        let Some(server) = or_skip(&self.test, ForeignServer::start(kind, port)) else {
            return false;
        };
        self.server = server;
        true
    }

    pub fn add_tags(&self) {
        self.server.ask(json!({"cmd": "add", "tags": self.tags}));
    }

    /// Stops the plant, waits until the cell has seen its last part, then as [`Self::settled`].
    pub fn stop_plant(&self) {
        self.server.ask(json!({"cmd": "stop"}));
        let last = self.holds("PartId") as i64;
        self.log.wait(
            "last part",
            0,
            |seen| matches!(seen, Seen::Record(_, Record::Part(row)) if row.part == last),
        );
        self.settled();
    }

    /// Waits until what became of every write is known. The board would not do: it may be older
    /// than the newest write.
    pub fn settled(&self) {
        self.log.wait_all("an end of every write", |log| {
            let mut open = HashSet::new();
            for row in ledger(log) {
                match row.fate {
                    Fate::Sent | Fate::Acknowledged | Fate::Unknown => open.insert(row.write),
                    _ => open.remove(&row.write),
                };
            }
            open.is_empty()
        });
    }

    /// Ends the cell and the server; nothing was lost on the way.
    pub fn finish(self) -> Option<PathBuf> {
        let status = self.cell.status();
        assert_eq!(status.counts.watchers_lost, 0);
        assert_eq!(status.counts.intake.dropped, 0);
        assert_eq!(status.plcs[0].plc.counts.overflows, 0);
        self.cell.stop();
        let dir = self.store.map(|(_, dir)| dir);
        self.runtime.shutdown_timeout(Duration::from_secs(5));
        self.server.quit();
        dir
    }
}

/// Keeps other tests of this process away, or only those that want to be alone.
pub fn share(alone: bool) -> Share {
    if alone {
        Share::Alone(QUIET.write().unwrap_or_else(PoisonError::into_inner))
    } else {
        Share::Shared(QUIET.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Everything a cell told since it started, in order.
pub struct Log {
    shared: Arc<(Mutex<Vec<Seen>>, Condvar)>,
}

impl Log {
    fn of(cell: &CellHandle) -> Self {
        let shared: Arc<(Mutex<Vec<Seen>>, Condvar)> = Arc::default();
        let (receiver, kept) = (cell.events(), Arc::clone(&shared));
        thread::spawn(move || {
            for seen in receiver {
                kept.0.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
                kept.1.notify_all();
            }
        });
        Self { shared }
    }

    /// Where the log ends now.
    pub fn mark(&self) -> usize {
        self.shared.0.lock().unwrap().len()
    }

    /// What was told from a mark on.
    pub fn since(&self, mark: usize) -> Vec<Seen> {
        self.shared.0.lock().unwrap()[mark..].to_vec()
    }

    /// Waits until the log is longer than `known`; its length.
    fn news(&self, known: usize, within: Duration) -> usize {
        let log = self.shared.0.lock().unwrap();
        let more = |log: &mut Vec<Seen>| log.len() <= known;
        self.shared.1.wait_timeout_while(log, within, more).unwrap().0.len()
    }

    /// Waits for something from a mark on; the place after it.
    pub fn wait(&self, what: &str, mark: usize, wanted: impl Fn(&Seen) -> bool) -> usize {
        self.wait_count(what, mark, 1, wanted)
    }

    /// Waits for `count` such things from a mark on; the place after the last.
    pub fn wait_count(
        &self,
        what: &str,
        mark: usize,
        count: usize,
        wanted: impl Fn(&Seen) -> bool,
    ) -> usize {
        let (mut at, mut found) = (mark, 0);
        let log = self.shared.0.lock().unwrap();
        let (log, outcome) = self
            .shared
            .1
            .wait_timeout_while(log, LIMIT, |log| {
                while found < count && at < log.len() {
                    found += usize::from(wanted(&log[at]));
                    at += 1;
                }
                found < count
            })
            .unwrap();
        drop(log);
        assert!(!outcome.timed_out(), "no {what} ({found} of {count})\n{}", self.tail());
        at
    }

    /// Waits until the whole log is as wanted.
    fn wait_all(&self, what: &str, wanted: impl Fn(&[Seen]) -> bool) {
        let log = self.shared.0.lock().unwrap();
        let (log, outcome) =
            self.shared.1.wait_timeout_while(log, LIMIT, |log| !wanted(log)).unwrap();
        drop(log);
        assert!(!outcome.timed_out(), "no {what}\n{}", self.tail());
    }

    /// Waits for an event.
    pub fn wait_event(&self, what: &str, mark: usize, wanted: impl Fn(&What) -> bool) -> usize {
        self.wait(what, mark, |seen| matches!(seen, Seen::Event(_, event) if wanted(&event.what)))
    }

    /// Waits for `count` writes that are read back.
    pub fn wait_confirmed(&self, mark: usize, count: usize) -> usize {
        self.wait_count("confirmed writes", mark, count, |seen| {
            matches!(seen, Seen::Record(_, Record::Ledger(row)) if row.fate == Fate::Confirmed)
        })
    }

    /// Waits for a decision.
    pub fn wait_decision(
        &self,
        what: &str,
        mark: usize,
        wanted: impl Fn(&DecisionRow) -> bool,
    ) -> usize {
        self.wait(
            what,
            mark,
            |seen| matches!(seen, Seen::Record(_, Record::Decision(row)) if wanted(row)),
        )
    }

    /// The end of the log, for messages.
    pub fn tail(&self) -> String {
        let log = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alarming: Vec<String> = log
            .iter()
            .filter_map(|seen| match seen {
                Seen::Event(_, event) => Some((event.part, event.what)),
                _ => None,
            })
            .filter(|(_, what)| {
                !matches!(what, What::TagQuality(..) | What::OrderDone(_) | What::Saturated(_))
            })
            .map(|(part, what)| format!("{part}: {what:?}"))
            .collect();
        let lines = log.iter().rev().take(60).rev().map(|seen| match seen {
            Seen::Event(_, event) => {
                format!("{:?} part {}: {:?}", event.at.mono, event.part, event.what)
            }
            other => format!("{other:?}"),
        });
        format!("{}\nbefore: {}", lines.collect::<Vec<_>>().join("\n"), alarming.join(", "))
    }
}

/// Events among what was told.
pub fn events(seen: &[Seen]) -> impl Iterator<Item = &What> {
    seen.iter().filter_map(|seen| match seen {
        Seen::Event(_, event) => Some(&event.what),
        _ => None,
    })
}

/// Decisions among what was told.
pub fn decisions(seen: &[Seen]) -> impl Iterator<Item = &DecisionRow> {
    seen.iter().filter_map(|seen| match seen {
        Seen::Record(_, Record::Decision(row)) => Some(row),
        _ => None,
    })
}

/// Ledger rows among what was told.
pub fn ledger(seen: &[Seen]) -> impl Iterator<Item = &LedgerRow> {
    seen.iter().filter_map(|seen| match seen {
        Seen::Record(_, Record::Ledger(row)) => Some(row),
        _ => None,
    })
}

/// Whether a decision moves the setpoint other than on the ramp to the baseline.
pub fn is_write(row: &DecisionRow) -> bool {
    matches!(row.outcome, Outcome::Write(_))
}

/// Writes that went out, by number of the ledger.
pub fn sent(seen: &[Seen]) -> Vec<u64> {
    ledger(seen).filter(|row| row.fate == Fate::Sent).map(|row| row.write).collect()
}

/// Every write that went out was read back.
pub fn assert_all_confirmed(seen: &[Seen]) {
    for write in sent(seen) {
        let confirmed = ledger(seen).any(|row| {
            row.write == write && row.fate == Fate::Confirmed && row.read_back == Some(row.sent)
        });
        let rows: Vec<_> = ledger(seen).filter(|row| row.write == write).collect();
        assert!(confirmed, "write {write} is not confirmed: {rows:?}");
    }
}

/// Values that a server took stay inside limits and steps and on the grid, from `start` on.
pub fn assert_envelope(written: &[f64], start: f64, (low, high): (f64, f64), step: f64, grid: f64) {
    let mut at = start;
    for value in written {
        let ticks = value / grid;
        assert!((ticks - ticks.round()).abs() < 1e-3, "{value} is off the grid: {written:?}");
        assert!(*value >= low - 1e-6 && *value <= high + 1e-6, "{value} is outside: {written:?}");
        assert!((value - at).abs() <= step + 1e-6, "{at} to {value} is a leap: {written:?}");
        at = *value;
    }
}
