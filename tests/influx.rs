//! The InfluxDB sink against real servers, with a proxy of faults before them: every row arrives
//! exactly once, what is refused is in the dead-letter file, whoever is killed.
//!
//! InfluxDB 1.6.7 (v1) and VictoriaMetrics 1.79 behind vmauth (v2) come from Debian's packages;
//! without them the tests are skipped by name. v3 has the proxy's own answers only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/fault_proxy.rs"]
mod fault_proxy;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/influx.rs"]
mod influx;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value as Json;

use fault_proxy::{Fault, Proxy};
use foreign::or_skip;
use influx::{DATABASE, Influx, TOKEN, Victoria, wait_for};
use trimloop::clock::Clock;
use trimloop::notice::Notices;
use trimloop::output::{Named, Names};
use trimloop::settings::{Dialect, InfluxSettings, InfluxUser, SecretPlace};
use trimloop::sink::{Pace, Sink, SinkOptions, SinkState, SinkStatus};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Span, Utc};

/// Tags of the store; the last is what the servers refuse.
const TAGS: [&str; 4] = ["temp", "count", "gate", "poison"];
const STEP: Span = Span::from_millis(10);

struct Plant {
    dir: PathBuf,
    clock: Clock,
    store: Option<Store>,
}

impl Plant {
    fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("trimloop-influx-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        let mut plant = Self { dir, clock: Clock::start(), store: None };
        plant.open();
        plant
    }

    fn at(dir: PathBuf) -> Self {
        let mut plant = Self { dir, clock: Clock::start(), store: None };
        plant.open();
        plant
    }

    fn open(&mut self) {
        let named = |name: &str| Named { name: name.into(), unit: String::new() };
        let options = StoreOptions {
            dir: self.dir.clone(),
            names: Names { tags: TAGS.map(named).to_vec(), ..Names::default() },
            clock: self.clock,
            node: "cell-1".into(),
            recipe: "lid".into(),
            revision: 1,
            plan_hash: [1; 32],
        };
        self.store = Some(Store::open(&options).unwrap());
    }

    fn sender(&self) -> trimloop::store::StoreSender {
        self.store.as_ref().unwrap().sender()
    }

    /// A float, a whole number and a contact each scan; every hundredth scan a poisoned float.
    fn fill(&self, from: Utc, scans: i64) {
        let sender = self.sender();
        let mut utc = from;
        for i in 0..scans {
            let sample = |tag: u16, value| Sample {
                tag: TagId(tag),
                value: Some(value),
                status: Status::Good,
                source_time: Some(utc),
                server_time: None,
                received: Mono::default(),
            };
            let mut samples = vec![
                sample(0, Value::Float(i as f64 / 8.0)),
                sample(1, Value::Int(i)),
                sample(2, Value::Bool(i % 2 == 0)),
            ];
            if i % 100 == 50 {
                samples.push(sample(3, Value::Float(-1.0)));
            }
            sender.samples(utc, &samples);
            utc = utc + STEP;
        }
        sender.barrier().unwrap();
    }

    /// Time and value of each tag in the history: what must be in the server.
    fn history(&self) -> BTreeMap<(String, i64), f64> {
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(&self.dir).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with("history-") || !name.ends_with(".db") {
                continue;
            }
            let db = Connection::open(entry.path()).unwrap();
            let sql = "SELECT n.name, s.ts, CAST(s.value AS REAL) FROM sample s JOIN name n ON n.id = s.tag";
            let mut statement = db.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| {
                Ok(((row.get::<_, String>(0)?, row.get::<_, i64>(1)?), row.get::<_, f64>(2)?))
            });
            all.extend(rows.unwrap().map(Result::unwrap));
        }
        all
    }

    fn sink(&self, settings: InfluxSettings) -> Sink {
        let options = SinkOptions {
            settings,
            data: self.dir.clone(),
            store: self.sender(),
            notices: Notices::new(self.clock, Some(self.sender())),
            clock: self.clock,
            pace: Pace {
                request_max: Duration::from_millis(1500),
                probe: Duration::from_millis(100),
            },
        };
        Sink::start(options).unwrap()
    }

    fn dead(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join("dead")).into_iter().flatten().flatten();
        let files = entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "lp"));
        let text: String =
            files.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.store = None;
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn settings(url: &str, dialect: Dialect) -> InfluxSettings {
    let v2 = dialect == Dialect::V2;
    InfluxSettings {
        url: url.to_owned(),
        dialect,
        database: if v2 { String::new() } else { DATABASE.to_owned() },
        retention_policy: String::new(),
        org: if v2 { "plant".to_owned() } else { String::new() },
        bucket: if v2 { "trimloop".to_owned() } else { String::new() },
        user: InfluxUser::Nobody,
        ca_file: None,
        site: "north".to_owned(),
        cell: "cell-1".to_owned(),
        max_age: Span::from_secs(14 * 86_400),
        batch: 1000,
    }
}

fn wait_sent(sink: &Sink, what: &str, mut is_so: impl FnMut(&SinkStatus) -> bool) -> SinkStatus {
    let view = sink.view();
    wait_for(what, || is_so(&view.status()));
    view.status()
}

fn idle(status: &SinkStatus, rows: u64) -> bool {
    status.state == SinkState::Sending && status.behind_rows == 0 && status.rows_sent >= rows
}

/// What InfluxDB 1.6 holds of the samples.
fn stored(server: &Influx) -> BTreeMap<(String, i64), f64> {
    let mut all = BTreeMap::new();
    for tag in TAGS {
        let q =
            format!("SELECT value, ivalue, bvalue FROM trimloop_sample WHERE \"tag\" = '{tag}'");
        for row in server.rows(&q) {
            let value = row[1..].iter().find(|v| !v.is_null()).unwrap();
            let value = value.as_f64().or(value.as_bool().map(f64::from)).unwrap();
            let doubled = all.insert((tag.to_owned(), row[0].as_i64().unwrap()), value);
            assert_eq!(doubled, None);
        }
    }
    all
}

type Points = BTreeMap<(String, i64), f64>;

/// Equality of many points, with a short message; without the poisoned tag, which goes through
/// while the proxy only breaks connections.
fn assert_same(found: &Points, expected: &Points) {
    let mut found = found.clone();
    found.retain(|key, _| key.0 != "poison");
    let found = &found;
    let differ = |a: &Points, b: &Points| -> Vec<String> {
        let other = a.iter().filter(|(key, value)| b.get(*key) != Some(*value));
        other.take(5).map(|point| format!("{point:?}")).collect()
    };
    let (more, less) = (differ(found, expected), differ(expected, found));
    let (n, m) = (found.len(), expected.len());
    assert!(more.is_empty() && less.is_empty(), "{n} for {m}: {more:?}, missing {less:?}");
}

/// Splits what a v1 server keeps of lines.
fn without_poison(lines: &str) -> String {
    lines.lines().filter(|l| !l.contains("tag=poison")).map(|l| format!("{l}\n")).collect()
}

/// Within a request the points of a series follow one another in time.
fn assert_ordered(requests: &[String]) {
    for lines in requests {
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for line in lines.lines() {
            let series = line.split(' ').next().unwrap();
            let ts: i64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            let before = last.insert(series, ts);
            assert!(before.is_none_or(|before| before < ts), "{line}");
        }
    }
}

/// Faults before a write goes well, in turn; `None` from then on.
fn faults(number: usize) -> Option<Fault> {
    let answer = |status, headers: &str| Fault::Answer(status, headers.into(), "{}".into());
    Some(match number {
        1 => answer(429, ""),
        2 => answer(429, "Retry-After: 1\r\n"),
        3 => answer(503, ""),
        4 => answer(503, "Retry-After: 1\r\n"),
        5 => Fault::ResetBefore,
        6 => Fault::ResetAfter,
        7 => Fault::SlowBody,
        8 => Fault::Silence,
        9 => answer(401, ""),
        10 => answer(404, ""),
        11 => answer(413, ""),
        12 => answer(500, ""),
        _ => return None,
    })
}

/// v1: through every fault each row is in InfluxDB exactly once, and the poisoned lines, alone, are
/// dead letters.
#[test]
fn v1_every_row_once_through_every_fault() {
    let name = "v1_every_row_once_through_every_fault";
    let Some(server) = or_skip(name, Influx::start()) else { return };
    let proxy = Proxy::start(
        server.port,
        Box::new(|number, lines| {
            let good = without_poison(lines);
            faults(number).unwrap_or_else(|| match good.len() == lines.len() {
                true => Fault::None,
                // Good lines are stored, and `dropped` lies, as 1.6.7 does.
                false => {
                    let body = "{\"error\":\"partial write: unable to parse 'x' dropped=0\"}";
                    Fault::Partial(good, 400, body.into())
                }
            })
        }),
    );
    let plant = Plant::new("v1");
    let begin = plant.clock.utc() - Span::from_secs(120);
    plant.fill(begin, 1500);
    let sink = plant.sink(settings(&proxy.url(), Dialect::V1));
    let status = wait_sent(&sink, "all rows sent", |s| idle(s, 4500));
    // What comes later is sent too, by the same cursor.
    plant.fill(begin + Span::from_secs(60), 100);
    let status = wait_sent(&sink, "later rows", |s| idle(s, status.rows_sent + 300));
    sink.stop();
    let mut expected = plant.history();
    expected.retain(|key, _| key.0 != "poison");
    assert_eq!(expected.len(), 4800);
    assert_same(&stored(&server), &expected);
    let dead = plant.dead();
    assert_eq!(dead.len(), 16);
    assert!(dead.iter().all(|line| line.contains("tag=poison")), "{dead:?}");
    assert_eq!(status.rows_dead, 16);
    assert_ordered(&proxy.seen());
    let q = "SELECT count(quality) FROM trimloop_sample WHERE \"tag\" != 'poison'";
    assert_eq!(server.rows(q)[0][1], 4800);
}

/// v2 through vmauth with a token out of a file, to VictoriaMetrics: the same; a refused batch is
/// refused whole.
#[test]
fn v2_every_row_once_through_every_fault() {
    let name = "v2_every_row_once_through_every_fault";
    let Some(server) = or_skip(name, Victoria::start()) else { return };
    let proxy = Proxy::start(
        server.port,
        Box::new(|number, lines| {
            let body = "{\"code\":\"invalid\",\"message\":\"unable to parse\"}".to_owned();
            let is_bad = lines.contains("tag=poison");
            faults(number).unwrap_or_else(|| match (number % 2, is_bad) {
                (_, false) => Fault::None,
                (0, true) => Fault::Answer(400, String::new(), body),
                (_, true) => Fault::Answer(422, String::new(), body),
            })
        }),
    );
    let plant = Plant::new("v2");
    let token = plant.dir.join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let begin = Utc::from_millis(plant.clock.utc().as_nanos() / 1_000_000 - 120_000);
    plant.fill(begin, 1000);
    let user = InfluxUser::Token(SecretPlace::File(token));
    let sink = plant.sink(InfluxSettings { user, ..settings(&proxy.url(), Dialect::V2) });
    let status = wait_sent(&sink, "all rows sent", |s| idle(s, 3000));
    sink.stop();
    let mut expected = plant.history();
    expected.retain(|key, _| key.0 != "poison");
    let mut found = BTreeMap::new();
    for field in ["value", "ivalue", "bvalue"] {
        for (tag, time, value) in server.export(&format!("trimloop_sample_{field}")) {
            let doubled = found.insert((tag, time * 1_000_000), value);
            assert_eq!(doubled, None);
        }
    }
    assert_same(&found, &expected);
    assert_eq!((status.rows_dead, plant.dead().len()), (10, 10));
    assert!(plant.dead().iter().all(|line| line.contains("tag=poison")));
}

/// v3, against the proxy's own answers only: lines named by the server are dead letters, the rest
/// is stored; a limit of the schema holds.
#[test]
fn v3_lines_that_the_server_names_are_dead_letters() {
    let proxy = Proxy::start(
        0,
        Box::new(|number, lines| {
            if number == 1 {
                return Fault::Answer(
                    422,
                    String::new(),
                    "{\"error\":\"too many columns\"}".into(),
                );
            }
            let bad: Vec<String> = (1..)
                .zip(lines.lines())
                .filter(|(_, line)| line.contains("tag=poison"))
                .map(|(n, _)| format!("{{\"line_number\":{n},\"error_message\":\"bad line\"}}"))
                .collect();
            if bad.is_empty() {
                return Fault::None;
            }
            let body = format!("{{\"error\":\"partial write\",\"data\":[{}]}}", bad.join(","));
            Fault::Answer(400, String::new(), body)
        }),
    );
    let plant = Plant::new("v3");
    plant.fill(plant.clock.utc() - Span::from_secs(60), 1000);
    let sink = plant.sink(settings(&proxy.url(), Dialect::V3));
    let status = wait_sent(&sink, "all rows sent", |s| idle(s, 3000));
    sink.stop();
    assert_eq!((status.rows_dead, plant.dead().len()), (10, 10));
    assert_eq!((status.requests["422"], status.requests.contains_key("400")), (1, true));
}

/// InfluxDB 1.6's own words: a field that another program made a text is left out after 16
/// refusals, the others are stored; rows beyond the retention are counted, not dead.
#[test]
fn conflicts_and_retention_of_a_real_server() {
    let name = "conflicts_and_retention_of_a_real_server";
    let Some(server) = or_skip(name, Influx::start()) else { return };
    let plant = Plant::new("conflict");
    let begin = plant.clock.utc() - Span::from_secs(60);
    let other = format!("trimloop_sample,tag=other value=\"text\" {}\n", begin.as_nanos());
    assert_eq!(server.write(&other), 204);
    plant.fill(begin, 90);
    let sink = plant.sink(settings(&format!("http://127.0.0.1:{}", server.port), Dialect::V1));
    let status = wait_sent(&sink, "the rest sent", |s| idle(s, 180));
    sink.stop();
    assert_eq!((status.rows_dead, status.rows_quarantined), (16, 75));
    let found = stored(&server);
    assert_eq!(found.len(), 180);
    server.query("CREATE DATABASE short WITH DURATION 1h");
    let plant = Plant::new("retention");
    plant.fill(plant.clock.utc() - Span::from_secs(3 * 86_400), 90);
    let mut settings = settings(&format!("http://127.0.0.1:{}", server.port), Dialect::V1);
    settings.database = "short".to_owned();
    let sink = plant.sink(settings);
    let status = wait_sent(&sink, "old rows counted", |s| s.rows_expired >= 271);
    sink.stop();
    assert_eq!((status.rows_expired, status.rows_dead), (271, 0));
}

// --- Kills ------------------------------------------------------------------------------------

const ROLE: &str = "TRIMLOOP_TEST_INFLUX_DIR";
const TARGET: &str = "TRIMLOOP_TEST_INFLUX_URL";

/// The service's part; only does anything when started by the test below.
#[test]
fn load() {
    let Some(dir) = std::env::var_os(ROLE).map(PathBuf::from) else { return };
    let plant = Plant::at(dir);
    let _sink = plant.sink(settings(&std::env::var(TARGET).unwrap(), Dialect::V1));
    for batch in 0.. {
        let now = plant.clock.utc();
        // Each process has stamps of its own: they follow the clock.
        plant.fill(now, 20);
        assert!(batch < 100_000, "nobody killed this process");
    }
}

/// Our own process and InfluxDB are killed in turn, hard, while rows flow. In the end every row of
/// the history is in the server, once.
#[test]
fn kills_of_both_sides_lose_nothing() {
    let name = "kills_of_both_sides_lose_nothing";
    let Some(mut server) = or_skip(name, Influx::start()) else { return };
    let url = format!("http://127.0.0.1:{}", server.port);
    let plant = Plant::new("kill");
    let dir = plant.dir.clone();
    let mut plant = plant;
    plant.store = None;
    let count = |server: &Influx| {
        let rows = server.rows("SELECT count(ivalue) FROM trimloop_sample");
        rows.first().and_then(|row| row[1].as_u64()).unwrap_or(0)
    };
    let mut seen = 0;
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "load"])
            .env(ROLE, &dir)
            .env(TARGET, &url)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_for("rows of this round", || count(&server) > seen);
        if round % 2 == 1 {
            server.kill();
            server.restart();
            let before = count(&server);
            wait_for("rows after the server's return", || count(&server) > before);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        seen = count(&server);
    }
    plant.open();
    let sink = plant.sink(settings(&url, Dialect::V1));
    let mut expected = plant.history();
    expected.retain(|key, _| key.0 == "count");
    wait_for("all rows", || count(&server) >= expected.len() as u64);
    wait_sent(&sink, "an idle sink", |s| idle(s, 1));
    sink.stop();
    let mut found = stored(&server);
    found.retain(|key, _| key.0 == "count");
    assert_same(&found, &expected);
    // The cursor stands at the last flush: nothing is behind it.
    plant.sender().barrier().unwrap();
    let state = Connection::open(dir.join("state.db")).unwrap();
    let cursors: Vec<(String, i64)> = state
        .prepare("SELECT day, seq FROM sink_cursor WHERE sink = 'influx' AND length(day) = 8")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(!cursors.is_empty());
    for (day, seq) in cursors {
        let history = Connection::open(dir.join(format!("history-{day}.db"))).unwrap();
        let last: i64 =
            history.query_row("SELECT max(seq) FROM flush", [], |row| row.get(0)).unwrap();
        assert_eq!(seq, last);
    }
}

// --- The command ------------------------------------------------------------------------------

fn trimloop(dir: &std::path::Path, words: &[&str]) -> (Output, Json) {
    let output = Command::new(env!("CARGO_BIN_EXE_trimloop"))
        .args(words)
        .args(["--format", "json", "--config"])
        .arg(dir)
        .output()
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap();
    (output, json)
}

/// `connector test` writes and reads back; each refusal has its code, and no secret is printed.
/// `resend` empties the dead-letter file of what is taken now.
#[test]
fn the_connector_is_tested_and_dead_letters_are_sent_again() {
    let name = "the_connector_is_tested_and_dead_letters_are_sent_again";
    let Some(server) = or_skip(name, Influx::start()) else { return };
    let plant = Plant::new("cli");
    let write = |influx: &str| {
        let text = format!("[paths]\ndata = \".\"\n{influx}");
        std::fs::write(plant.dir.join("trimloop.toml"), text).unwrap();
    };
    let v1 = format!(
        "[influx]\nurl = \"http://127.0.0.1:{}\"\ndialect = \"v1\"\ndatabase = \"trimloop\"\n",
        server.port
    );
    write("");
    let (output, json) = trimloop(&plant.dir, &["connector", "test", "influx"]);
    assert_eq!((output.status.code(), &json["error"]["code"]), (Some(2), &"TL0712".into()));
    write(&v1);
    let (output, json) = trimloop(&plant.dir, &["connector", "test", "influx"]);
    assert_eq!((output.status.code(), &json["read_back"]), (Some(0), &true.into()), "{json}");
    assert_eq!(server.rows("SELECT count(probe) FROM trimloop_probe")[0][1], 1);
    write(&v1.replace("\"trimloop\"", "\"elsewhere\""));
    let (output, json) = trimloop(&plant.dir, &["connector", "test", "influx"]);
    assert_eq!((output.status.code(), &json["error"]["code"]), (Some(1), &"TL0714".into()));
    assert!(json["error"]["message"].as_str().unwrap().contains("database not found"), "{json}");
    write(&v1.replace(&format!(":{}", server.port), ":9"));
    let (output, json) = trimloop(&plant.dir, &["connector", "test", "influx"]);
    assert_eq!((output.status.code(), &json["error"]["code"]), (Some(4), &"TL0713".into()));
    // Dead letters of another day: one that is taken now, one that never will be.
    write(&v1);
    std::fs::create_dir_all(plant.dir.join("dead")).unwrap();
    let letters =
        "# t HTTP 400: x\nm,tag=a value=1 1795383592000000000\n# t HTTP 400: y\nno line\n";
    let file = plant.dir.join("dead/influx-20261122.lp");
    std::fs::write(&file, letters).unwrap();
    let (_, json) = trimloop(&plant.dir, &["connector", "list"]);
    assert_eq!(json["connectors"][0]["dead_letters"], 2, "{json}");
    let (output, json) = trimloop(&plant.dir, &["connector", "resend", "influx"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((&json["files"][0]["stored"], &json["files"][0]["left"]), (&1.into(), &1.into()));
    assert_eq!(plant.dead(), ["no line"]);
    assert_eq!(server.rows("SELECT value FROM m")[0][1], 1.0);
}

/// The token of v2 is read from its file and never printed; without it vmauth refuses.
#[test]
fn a_token_opens_and_is_not_shown() {
    let name = "a_token_opens_and_is_not_shown";
    let Some(server) = or_skip(name, Victoria::start()) else { return };
    let plant = Plant::new("token");
    let text = format!(
        "[paths]\ndata = \".\"\n[influx]\nurl = \"http://127.0.0.1:{}\"\ndialect = \"v2\"\n\
         org = \"o\"\nbucket = \"b\"\ntoken_file = \"token\"\n",
        server.port
    );
    std::fs::write(plant.dir.join("trimloop.toml"), text).unwrap();
    for (token, exit) in [(None, 2), (Some("wrong-7"), 1), (Some(TOKEN), 0)] {
        if let Some(token) = token {
            std::fs::write(plant.dir.join("token"), token).unwrap();
        }
        let (output, json) = trimloop(&plant.dir, &["connector", "test", "influx"]);
        assert_eq!(output.status.code(), Some(exit), "{json}");
        let shown = [output.stdout, output.stderr].concat();
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(!shown.contains("wrong-7") && !shown.contains(TOKEN), "{shown}");
        if exit == 0 {
            // VictoriaMetrics does not answer InfluxDB's questions.
            assert_eq!(json["read_back"], Json::Null);
        }
    }
    // A new series is readable after a while.
    wait_for("the probe", || server.export("trimloop_probe_probe").len() == 1);
}

// --- The way back -----------------------------------------------------------------------------

/// The command in the plant's folder: exit code, stdout, stderr.
fn words(dir: &std::path::Path, line: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_trimloop"))
        .current_dir(dir)
        .args(line)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What the sink sent comes back as the rows of the history, to the nanosecond and the last bit;
/// means of seconds too; and rows of another program by a query. Every refusal says why.
#[test]
fn rows_come_back_as_they_were_sent() {
    let name = "rows_come_back_as_they_were_sent";
    let Some(server) = or_skip(name, Influx::start()) else { return };
    let plant = Plant::new("back");
    // Not on a millisecond, and more rows than a block of the answer holds.
    let now = plant.clock.utc().as_nanos();
    let begin = Utc::from_nanos(now - now % 1_000_000_000 - 600_000_000_000 + 123_456_789);
    plant.fill(begin, 4100);
    let sink = plant.sink(settings(&format!("http://127.0.0.1:{}", server.port), Dialect::V1));
    wait_sent(&sink, "all rows sent", |s| idle(s, 12_341));
    sink.stop();
    let influx = format!(
        "[paths]\ndata = \".\"\n[influx]\nurl = \"http://127.0.0.1:{}\"\ndialect = \"v1\"\n\
         database = \"{DATABASE}\"\ncell = \"cell-1\"\nsite = \"north\"\n",
        server.port
    );
    let write = |text: &str| std::fs::write(plant.dir.join("trimloop.toml"), text).unwrap();
    write(&influx);
    // A label far away: the rows are all that is compared.
    std::fs::write(plant.dir.join("none.csv"), "time,ok\n1999-01-01T00:00:00Z,1\n").unwrap();
    let rows = |source: &[&str], out: &str| {
        let line = [
            &["data", "join", "--config", "."],
            source,
            &["--labels", "none.csv", "--delay", "1s", "--force", "--out", out],
        ]
        .concat();
        let (code, _, error) = words(&plant.dir, &line);
        assert_eq!(code, Some(0), "{line:?}: {error}");
        std::fs::read_to_string(plant.dir.join(out)).unwrap()
    };
    let ours = rows(&["--history", "samples", "--every", "raw"], "a.csv");
    let theirs = rows(&["--influx", "samples", "--every", "raw"], "b.csv");
    assert_eq!(ours.lines().count(), 4101);
    assert!(ours == theirs, "other rows came back than were sent");
    assert!(ours.lines().nth(1).unwrap().contains("789Z,"), "{}", ours.lines().nth(1).unwrap());
    let some = ["--tags", "temp,gate", "--every", "1s"];
    let ours = rows(&[&["--history", "samples"], &some[..]].concat(), "a.csv");
    let theirs = rows(&[&["--influx", "samples"], &some[..]].concat(), "b.csv");
    assert_eq!((ours.lines().count(), theirs.lines().count()), (43, 43));
    for (ours, theirs) in ours.lines().zip(theirs.lines()).skip(1) {
        for (ours, theirs) in ours.split(',').zip(theirs.split(',')) {
            let near = |a: &str, b: &str| {
                let pair = a.parse::<f64>().ok().zip(b.parse::<f64>().ok());
                pair.is_some_and(|(a, b)| (a - b).abs() <= 1e-9 * a.abs())
            };
            assert!(ours == theirs || near(ours, theirs), "{ours} and {theirs}");
        }
    }
    // Somebody else's measurement.
    let lines = "press,machine=m1 force=1.5 1000000001\npress,machine=m1 force=0.1 2000000000\n\
                 press,machine=m2 force=7i 2000000000\n";
    assert_eq!(server.write(&lines.replace("7i", "7")), 204);
    let query = "SELECT force FROM press GROUP BY machine";
    let found = rows(&["--query", query], "c.csv");
    assert_eq!(
        found.lines().take(3).collect::<Vec<_>>(),
        [
            "time,m1,m2,ok",
            "1970-01-01T00:00:01.000000001Z,1.5,,",
            "1970-01-01T00:00:02.000000000Z,0.1,7,",
        ]
    );
    // An answer that fills its last block is whole.
    let block: String = (0..10_000).map(|i| format!("block x={i} {i}\n")).collect();
    assert_eq!(server.write(&block), 204);
    assert_eq!(rows(&["--query", "SELECT x FROM block"], "d.csv").lines().count(), 10_001);
    refusals(&plant.dir, &write, &influx, &server);
}

fn refusals(dir: &std::path::Path, write: &dyn Fn(&str), influx: &str, server: &Influx) {
    let fails = |source: &[&str], code: &str, exit: i32, part: &str| {
        let line = [&["data", "audit", "--config", "."], source].concat();
        let (found, _, error) = words(dir, &line);
        let told = error.contains(code) && error.contains(part);
        assert!(told && found == Some(exit), "{line:?}: {found:?} {error}");
    };
    fails(&["--query", "SELEKT 1"], "TL0717", 1, "begin with SELECT");
    fails(&["--query", "SELECT FROM"], "TL0717", 1, "error parsing query");
    fails(&["--query", "SELECT * INTO a FROM press"], "TL0717", 1, "writes into the server");
    fails(&["--query", "SHOW MEASUREMENTS"], "TL0717", 1, "no times");
    fails(&["--query", "SELECT x FROM nothing"], "TL0721", 1, "there are no answers");
    fails(&["--influx", "samples", "--to", "1999-01-01"], "TL0721", 1, "there are no samples");
    fails(&["--influx", "samples", "--tags", "tempp"], "TL0720", 2, "temp");
    fails(&["--influx", "features"], "TL0721", 1, "there are no features");
    let both = words(dir, &["data", "audit", "--influx", "samples", "--history", "samples"]);
    assert_eq!(both.0, Some(2), "{}", both.2);
    write(&influx.replace(DATABASE, "elsewhere"));
    fails(&["--influx", "samples"], "TL0714", 1, "database not found: elsewhere");
    write(&influx.replace(&format!(":{}", server.port), ":9"));
    fails(&["--influx", "samples"], "TL0713", 4, "does not answer");
    write("[paths]\ndata = \".\"\n");
    fails(&["--influx", "samples"], "TL0712", 2, "no table [influx]");
}

/// A token that is refused is not printed, and no answer of somebody else is taken for rows.
#[test]
fn a_query_is_refused_without_its_token() {
    let name = "a_query_is_refused_without_its_token";
    let Some(server) = or_skip(name, Victoria::start()) else { return };
    let plant = Plant::new("query-token");
    let text = format!(
        "[paths]\ndata = \".\"\n[influx]\nurl = \"http://127.0.0.1:{}\"\ndialect = \"v2\"\n\
         org = \"o\"\nbucket = \"b\"\ntoken_file = \"token\"\n",
        server.port
    );
    std::fs::write(plant.dir.join("trimloop.toml"), text).unwrap();
    for token in ["wrong-7", TOKEN] {
        std::fs::write(plant.dir.join("token"), token).unwrap();
        let line = ["data", "audit", "--config", ".", "--influx", "samples"];
        let (code, out, error) = words(&plant.dir, &line);
        let shown = format!("{out}{error}");
        assert!(!shown.contains("wrong-7") && !shown.contains(TOKEN), "{shown}");
        assert_eq!(code, Some(1), "{error}");
        // VictoriaMetrics answers no InfluxQL: there are no rows, not wrong ones.
        let expected = if token == TOKEN { "TL0721" } else { "TL07" };
        assert!(error.contains(expected), "{token}: {error}");
    }
}
