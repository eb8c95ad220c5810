//! Gaps of the link against servers that keep a history of their own: what was missed is read from
//! there, once, marked, and never shown to the cell.
//!
//! asyncua cuts an answer without a continuation point, or pages with one, and here refuses large
//! calls without having said so; node-opcua states its limit and pages.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]

#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/link.rs"]
mod link;
#[path = "support/proxy.rs"]
mod proxy;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use foreign::{ForeignServer, Kind, or_skip};
use link::Client;
use proxy::Proxy;
use rusqlite::Connection;
use serde_json::json;
use trimloop::clock::Clock;
use trimloop::output::{Named, Names};
use trimloop::plc::{LinkConfig, LinkState, NodeConfig, Purpose};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::tag::{TagId, Value};
use trimloop_core::time::{Span, Utc};
use trimloop_recipe::plc_config::{Address, Identifier, PerCall, Security, User};

const URI: &str = "urn:trimloop:foreign";
const TAGS: [&str; 4] = ["Value", "Flow", "Part", "Bare"];
const DAY: Span = Span::from_secs(86_400);
/// In the quality of a sample that came out of the PLC's history.
const BACKFILLED: i64 = 1 << 33;

fn config(port: u16) -> LinkConfig {
    let node = |(tag, name): (u16, &str)| NodeConfig {
        name: name.to_owned(),
        tag: Some(TagId(tag)),
        address: Address::Id {
            namespace: URI.to_owned(),
            identifier: Identifier::Text(name.to_owned()),
        },
        scalar: None,
        sampling_ms: 0.0,
        queue: None,
        purpose: Purpose::Read,
    };
    LinkConfig {
        name: "press".to_owned(),
        url: format!("opc.tcp://127.0.0.1:{port}/trimloop"),
        publishing: Duration::from_millis(10),
        security: Security::None,
        user: User::Anonymous,
        per_call: PerCall::default(),
        standby: Vec::new(),
        nodes: (0..).zip(TAGS).map(node).collect(),
        units: BTreeMap::new(),
        client_name: "backfill".to_owned(),
        pki_dir: std::env::temp_dir().join("trimloop-test-client-pki"),
    }
}

fn add(server: &ForeignServer) {
    let tag = |id: &str| json!({"id": id, "type": "Double", "value": 0.5});
    let tags: Vec<_> = TAGS.iter().map(|id| tag(id)).collect();
    server.ask(json!({"cmd": "add", "tags": tags}));
}

fn reads(server: &ForeignServer) -> u64 {
    server.ask(json!({"cmd": "history_count"}))["reads"].as_u64().unwrap()
}

/// A data folder and its open store.
struct Plant {
    dir: PathBuf,
    store: Option<Store>,
}

impl Plant {
    fn new(name: &str) -> Self {
        let name = format!("trimloop-backfill-{}-{}", name.replace("::", "-"), std::process::id());
        let dir = std::env::temp_dir().join(name);
        drop(std::fs::remove_dir_all(&dir));
        let mut plant = Self { dir, store: None };
        plant.open();
        plant
    }

    fn open(&mut self) {
        let named = |name: &str| Named { name: name.into(), unit: String::new() };
        let options = StoreOptions {
            dir: self.dir.join("data"),
            names: Names { tags: TAGS.map(named).to_vec(), ..Names::default() },
            clock: Clock::start(),
            node: "cell-1".into(),
            recipe: "lid".into(),
            revision: 1,
            plan_hash: [1; 32],
        };
        self.store = None;
        self.store = Some(Store::open(&options).unwrap());
        std::fs::write(self.dir.join("trimloop.toml"), "name = \"cell-1\"\n").unwrap();
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn client(&self, config: LinkConfig) -> Client {
        let history = Arc::new(self.store().sender());
        Client::start_with(config, |link| link.fill_gaps(history, DAY))
    }

    /// Scans until `wanted` holds, and stores what the scans saw, as the service does.
    fn until(&self, client: &mut Client, what: &str, mut wanted: impl FnMut(&mut Client) -> bool) {
        let sender = self.store().sender();
        client.until(what, |client| {
            sender.samples(client.clock.utc(), &client.batch.changes);
            wanted(client)
        });
    }

    /// Time [ns] and value of a tag's samples, and whether each is marked.
    fn samples(&self, tag: &str) -> BTreeMap<i64, (f64, bool)> {
        self.store().sender().barrier().unwrap();
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(self.dir.join("data")).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with("history-") || !name.ends_with(".db") {
                continue;
            }
            let db = Connection::open(entry.path()).unwrap();
            let sql = "SELECT s.ts, s.value, s.quality FROM sample s JOIN name n ON n.id = s.tag
                       WHERE n.name = ? AND s.value IS NOT NULL";
            let mut statement = db.prepare(sql).unwrap();
            let rows = statement.query_map([tag], |row| {
                let quality: i64 = row.get(2)?;
                Ok((row.get::<_, i64>(0)?, (row.get::<_, f64>(1)?, quality & BACKFILLED != 0)))
            });
            all.extend(rows.unwrap().map(Result::unwrap));
        }
        all
    }

    /// What `trimloop query` says of the stamps of a tag.
    fn stamps(&self, tag: &str) -> BTreeMap<String, usize> {
        let output = Command::new(env!("CARGO_BIN_EXE_trimloop"))
            .args(["query", tag, "--last", "1h", "--format", "jsonl", "--config"])
            .arg(&self.dir)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            *counts.entry(row["stamp"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        counts
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.store = None;
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn now_ms() -> i64 {
    Clock::start().utc().as_nanos() / 1_000_000
}

/// Values `from`, `from + 1`, … of a tag, a millisecond apart; their times [ns].
fn series(
    server: &ForeignServer,
    tag: &str,
    from: u32,
    count: u32,
    t_ms: i64,
) -> BTreeMap<i64, f64> {
    let values: Vec<u32> = (from..from + count).collect();
    server.ask(json!({"cmd": "series", "id": tag, "values": values, "t_ms": t_ms}));
    let at = |n: u32| (t_ms + i64::from(n)) * 1_000_000;
    (0..count).map(|n| (at(n), f64::from(from + n))).collect()
}

fn live(plant: &Plant, client: &mut Client) {
    plant.until(client, "first values", |client| {
        client.link.up && (0..4).all(|tag| client.value(tag).is_some())
    });
    client.status("live", |status| status.state == LinkState::Live);
}

/// Every value of a gap is in the history, and marked but for the last, which the new subscription
/// may have brought as well.
fn assert_filled(plant: &Plant, tag: &str, missed: &BTreeMap<i64, f64>) {
    let stored = plant.samples(tag);
    for (place, (ts, value)) in missed.iter().enumerate() {
        let found = stored.get(ts).unwrap_or_else(|| panic!("{tag} lacks {value} at {ts}"));
        assert!((found.0 - value).abs() < 1e-9, "{tag}: {found:?} is not {value}");
        assert!(found.1 || place + 1 == missed.len(), "{tag}: {value} is not marked");
    }
    let of = |known: &f64| missed.values().any(|value| (value - known).abs() < 1e-9);
    // A value that came by the subscription late has the time of receipt, and says so.
    let marked = stored.values().filter(|(value, marked)| *marked && of(value)).count();
    assert!((missed.len() - 1..=missed.len()).contains(&marked), "{tag}: {marked} marked");
}

/// What the cell saw of values of a gap: nothing but the last, as the present value.
fn assert_unseen(client: &Client, tag: u16, missed: &BTreeMap<i64, f64>) {
    let last = missed.values().next_back().copied().unwrap();
    let seen = client.samples.iter().filter(|sample| sample.tag == TagId(tag));
    for value in seen.filter_map(|sample| sample.value.map(Value::as_f64)) {
        let in_gap = missed.values().any(|missed| (missed - value).abs() < 1e-9);
        assert!(!in_gap || (value - last).abs() < 1e-9, "the cell saw {value} out of the history");
    }
}

fn gaps_filled(client: &Client, count: u64) -> bool {
    client.view.status().counts.gaps_filled == count
}

fn told(client: &Client, code: &str) -> Vec<String> {
    let recent = client.notices.recent();
    recent.into_iter().filter(|notice| notice.code == code).map(|notice| notice.sentence).collect()
}

/// A cut, then a stop of the service: what the PLC did meanwhile is there afterwards.
fn gaps_are_filled(test: &str, kind: Kind) {
    let Some(server) = or_skip(test, ForeignServer::start(kind, 0)) else { return };
    add(&server);
    server.ask(json!({
        "cmd": "historize", "ids": ["Value", "Flow", "Part"], "page": 700, "nodes_max": 2,
    }));
    let mut plant = Plant::new(test);
    let proxy = Proxy::start(server.port());
    let mut client = plant.client(config(proxy.port));
    live(&plant, &mut client);
    let before = series(&server, "Value", 1, 20, now_ms() - 100);
    plant.until(&mut client, "live values", |client| client.holds(0, 20.0));

    proxy.shut(true);
    plant.until(&mut client, "the link to go down", |client| !client.link.up);
    let cut = now_ms();
    let missed = series(&server, "Value", 1000, 2500, cut);
    let missed_flow = series(&server, "Flow", 5000, 30, cut);
    let through = Utc::from_millis(cut + 2500);
    plant.until(&mut client, "the time of the values", |client| client.clock.utc() > through);
    proxy.shut(false);
    plant.until(&mut client, "the gap to be filled", |client| gaps_filled(client, 1));
    assert_filled(&plant, "Value", &missed);
    assert_filled(&plant, "Flow", &missed_flow);
    assert_unseen(&client, 0, &missed);
    let stored = plant.samples("Value");
    for (ts, value) in &before {
        let live =
            stored.get(ts).is_none_or(|(stored, marked)| (stored - value).abs() < 1e-9 && !marked);
        assert!(live, "{value} was live");
    }
    let filled = told(&client, "gap_filled");
    assert_eq!(filled.len(), 1, "{filled:?}");
    assert!(
        filled[0].contains("the link was down") && filled[0].contains(": Value 2"),
        "{filled:?}"
    );
    assert!(filled[0].contains(", Flow ") && !filled[0].contains("Part"), "{filled:?}");
    assert!(filled[0].contains("No history there: Bare."), "{filled:?}");
    assert!(client.view.status().counts.backfilled >= 2528);
    let paged = reads(&server);
    assert!(paged >= 4, "{paged} reads for 2500 values");

    client.close();
    plant.open();
    let missed = series(&server, "Part", 1, 50, now_ms());
    let mut client = plant.client(config(proxy.port));
    live(&plant, &mut client);
    plant.until(&mut client, "the stop to be filled", |client| gaps_filled(client, 1));
    assert_filled(&plant, "Part", &missed);
    assert_unseen(&client, 2, &missed);
    let filled = told(&client, "gap_filled");
    assert!(filled[0].contains("the service did not run"), "{filled:?}");
    let stamps = plant.stamps("Part");
    assert!(stamps["backfill"] >= 49 && stamps["source"] >= 1, "{stamps:?}");
    eprintln!("{}: {paged} reads for 2530 values, {stamps:?}", kind.name());
}

#[test]
fn gaps_are_filled_with_asyncua() {
    gaps_are_filled("gaps_are_filled_with_asyncua", Kind::Asyncua);
}

#[test]
fn gaps_are_filled_with_node_opcua() {
    gaps_are_filled("gaps_are_filled_with_node_opcua", Kind::NodeOpcua);
}

/// More values than were asked for, and no continuation point: the rest is asked for all the same.
#[test]
fn a_cut_answer_is_not_the_end() {
    let test = "a_cut_answer_is_not_the_end";
    let Some(server) = or_skip(test, ForeignServer::start(Kind::Asyncua, 0)) else { return };
    add(&server);
    server.ask(json!({"cmd": "historize", "ids": ["Value"]}));
    let plant = Plant::new(test);
    let proxy = Proxy::start(server.port());
    let mut client = plant.client(config(proxy.port));
    live(&plant, &mut client);
    proxy.shut(true);
    plant.until(&mut client, "the link to go down", |client| !client.link.up);
    let cut = now_ms();
    let missed = series(&server, "Value", 1000, 2300, cut);
    let through = Utc::from_millis(cut + 2300);
    plant.until(&mut client, "the time of the values", |client| client.clock.utc() > through);
    proxy.shut(false);
    plant.until(&mut client, "the gap to be filled", |client| gaps_filled(client, 1));
    assert_filled(&plant, "Value", &missed);
    assert_eq!(reads(&server), 2, "2000 and the rest");
}

/// What the server's own queue dropped is read from its history. Its overflow bit says so; asyncua
/// sets none.
#[test]
fn an_overflow_is_filled() {
    let test = "an_overflow_is_filled";
    let Some(server) = or_skip(test, ForeignServer::start(Kind::NodeOpcua, 0)) else { return };
    add(&server);
    server.ask(json!({"cmd": "historize", "ids": ["Value", "Flow"]}));
    let plant = Plant::new(test);
    let mut narrow = config(server.port());
    narrow.publishing = Duration::from_millis(200);
    narrow.nodes[0].queue = Some(3);
    let mut client = plant.client(narrow);
    live(&plant, &mut client);
    let first = now_ms();
    series(&server, "Value", 1, 1, first);
    plant.until(&mut client, "a value", |client| client.holds(0, 1.0));
    let values = series(&server, "Value", 2, 100, first + 1);
    plant.until(&mut client, "an overflow", |client| client.view.status().counts.overflows > 0);
    let through = Utc::from_millis(first + 102);
    plant.until(&mut client, "the time of the values", |client| client.clock.utc() > through);
    plant.until(&mut client, "the overflow to be filled", |client| gaps_filled(client, 1));
    let stored = plant.samples("Value");
    let found = values.keys().filter(|ts| stored.contains_key(ts)).count();
    assert_eq!(found, values.len());
    assert!(values.keys().filter(|ts| stored[ts].1).count() >= 90);
    let filled = told(&client, "gap_filled");
    assert!(filled[0].contains("of Value of PLC press (values were dropped"), "{filled:?}");
}

/// A PLC without a history: each gap is counted, and people are told once.
#[test]
fn no_history_is_told_once() {
    let test = "no_history_is_told_once";
    let Some(server) = or_skip(test, ForeignServer::start(Kind::Asyncua, 0)) else { return };
    add(&server);
    let plant = Plant::new(test);
    let proxy = Proxy::start(server.port());
    let mut client = plant.client(config(proxy.port));
    live(&plant, &mut client);
    for gap in 1..=2 {
        let epoch = client.link.epoch;
        proxy.cut();
        plant.until(&mut client, "another epoch", |client| client.link.epoch > epoch);
        plant.until(&mut client, "the gap to be given up", |client| {
            client.view.status().counts.gaps_unfilled == gap
        });
    }
    let unfilled = told(&client, "gap_unfilled");
    assert_eq!(unfilled.len(), 1, "{unfilled:?}");
    assert!(unfilled[0].contains("keeps no history"), "{unfilled:?}");
    assert_eq!(reads(&server), 0);
}
