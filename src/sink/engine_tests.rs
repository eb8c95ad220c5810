//! Days of sending in milliseconds: a real store, a server of rules, and time that the test moves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::Connection;
use trimloop_core::tag::{Sample, Status, TagId, Value};

use super::super::line::Origin;
use super::super::measurements::MEASUREMENTS;
use super::*;
use crate::clock::Clock;
use crate::limits::HistoryLimits;
use crate::output::{Named, Names, day_text};
use crate::store::{Store, StoreOptions};

const T0: Utc = Utc::from_millis(1_795_383_592_000);
const HOUR: Span = Span::from_secs(3600);

/// What the server does with the next requests, in turn; then it takes everything.
type Rule = Box<dyn FnMut(&str, &mut BTreeMap<String, String>) -> Answer>;

/// Keeps series and time -> fields, as InfluxDB does.
#[derive(Default)]
struct Model {
    points: BTreeMap<String, String>,
    requests: Vec<usize>,
    rule: Option<Rule>,
}

fn http(status: u16, body: &str) -> Answer {
    Answer::Http { status, retry_after: None, body: body.to_owned() }
}

fn put(lines: &str, points: &mut BTreeMap<String, String>) {
    for line in lines.lines() {
        let parsed = influxdb_line_protocol::parse_lines(line).next().unwrap().unwrap();
        let key = format!("{} {}", parsed.series, parsed.timestamp.unwrap());
        points.insert(key, format!("{:?}", parsed.field_set));
    }
}

impl Server for Model {
    fn write(&mut self, lines: &str) -> Answer {
        self.requests.push(lines.lines().count());
        if let Some(rule) = &mut self.rule {
            return rule(lines, &mut self.points);
        }
        put(lines, &mut self.points);
        http(204, "")
    }
}

struct Rig {
    dir: PathBuf,
    store: Option<Store>,
    server: Model,
    now: Now,
}

impl Rig {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("trimloop-sink-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        let now = Now { mono: Mono::from_millis(0), utc: T0 };
        let mut rig = Self { dir, store: None, server: Model::default(), now };
        rig.start();
        rig
    }

    fn start(&mut self) {
        self.start_within(HistoryLimits::KEEP_ALL);
    }

    fn start_within(&mut self, limits: HistoryLimits) {
        let named = |name: &str| Named { name: name.into(), unit: String::new() };
        let names =
            Names { tags: ["temp", "count", "gate"].map(named).to_vec(), ..Names::default() };
        self.store = None;
        let options = StoreOptions {
            dir: self.dir.clone(),
            names,
            clock: Clock::start(),
            node: "cell-1".into(),
            recipe: "lid".into(),
            revision: 1,
            plan_hash: [1; 32],
        };
        self.store = Some(Store::open_within(&options, limits).unwrap());
    }

    fn engine(&self) -> Engine {
        let origin = Origin { cell: "cell-1".into(), site: String::new() };
        let reader = Reader::open(&self.dir, "influx", origin).unwrap();
        let dead = DeadLetters::open(&self.dir, "influx").unwrap();
        let limits = Limits {
            dialect: Dialect::V1,
            lines_max: 1000,
            max_age: Span::from_secs(14 * 86_400),
            probe: PROBE,
        };
        Engine::new(limits, reader, dead, 7)
    }

    /// Three tags a scan, one scan each `step`; committed at the end, or each scan.
    fn fill(&self, from: Utc, scans: i64, step: Span) {
        let sender = self.store.as_ref().unwrap().sender();
        let mut utc = from;
        for i in 0..scans {
            let sample = |tag, value| Sample {
                tag: TagId(tag),
                value: Some(value),
                status: Status::Good,
                source_time: Some(utc),
                server_time: None,
                received: Mono::default(),
            };
            sender.samples(
                utc,
                &[
                    sample(0, Value::Float(i as f64)),
                    sample(1, Value::Int(i)),
                    sample(2, Value::Bool(i % 2 == 0)),
                ],
            );
            utc = utc + step;
        }
        sender.barrier().unwrap();
    }

    /// Steps until nothing waits; time goes on as the engine asks, a second for a look.
    fn run(&mut self, engine: &mut Engine) -> usize {
        for steps in 0..10_000 {
            match engine.step(self.now, &mut self.server) {
                Step::Idle => {
                    self.save(engine);
                    return steps;
                }
                Step::Sent(_) => self.pass(Span::from_millis(100)),
                Step::Wait(pause) => self.pass(span_of(pause)),
            }
        }
        panic!("never done: {:?}", engine.status);
    }

    fn pass(&mut self, span: Span) {
        self.now.mono = self.now.mono + span;
        self.now.utc = self.now.utc + span;
    }

    fn save(&self, engine: &mut Engine) {
        let sender = self.store.as_ref().unwrap().sender();
        for (source, seq) in engine.reader.unsaved() {
            sender.cursor("influx", &source, seq);
        }
        sender.barrier().unwrap();
    }

    /// Points of one measurement.
    fn count(&self, measurement: &str) -> usize {
        self.server.points.keys().filter(|key| key.starts_with(measurement)).count()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.store = None;
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

fn codes(engine: &Engine) -> Vec<&'static str> {
    engine.tells.iter().map(|tell| tell.0).collect()
}

/// Every sample arrives once, with its kind; a new start sends the last minute only.
#[test]
fn all_rows_arrive_and_a_start_sends_the_last_minute() {
    let mut rig = Rig::new("all");
    rig.fill(T0, 2000, Span::from_millis(100));
    rig.pass(Span::from_secs(200));
    let mut engine = rig.engine();
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 6000);
    for (tag, fields) in [("temp", "value"), ("count", "ivalue"), ("gate", "bvalue")] {
        let of_tag = |key: &&String| key.contains(&format!("tag={tag}"));
        let key = rig.server.points.keys().find(of_tag).unwrap();
        assert!(rig.server.points[key].contains(fields), "{key} {}", rig.server.points[key]);
    }
    assert_eq!(engine.status.behind_rows, 0);
    assert_eq!(engine.status.rows_resent, 0);
    let mut again = rig.engine();
    rig.run(&mut again);
    assert_eq!(rig.count("trimloop_sample"), 6000);
    // 60 s of 200, in whole flushes of up to 2000 rows.
    assert!((1800..=4200).contains(&again.status.rows_resent), "{}", again.status.rows_resent);
}

/// Rows that come behind the cursor, out of a PLC's history, are sent like others and marked.
#[test]
fn backfilled_rows_are_sent_late() {
    let mut rig = Rig::new("backfill");
    rig.fill(T0, 100, Span::from_millis(100));
    let mut engine = rig.engine();
    rig.run(&mut engine);
    let sample = |ms: i64| Sample {
        tag: TagId(0),
        value: Some(Value::Float(0.5)),
        status: Status::Good,
        source_time: Some(T0 + Span::from_millis(ms)),
        server_time: None,
        received: Mono::default(),
    };
    // Between the others, over some of them, and on the day before.
    let late: Vec<Sample> = (0..200).map(|n| sample(n * 50)).chain([sample(-86_400_000)]).collect();
    let sender = rig.store.as_ref().unwrap().sender();
    assert_eq!(sender.backfill(&late).blocking_recv(), Ok(BTreeMap::from([(TagId(0), 101)])));
    rig.pass(SURVEY);
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 401);
    let marked = rig.server.points.values().filter(|fields| fields.contains("backfilled")).count();
    assert_eq!(marked, 101);
    assert_eq!(engine.status.behind_rows, 0);
}

/// Reset before and after the commit, a time-out, 5xx: the same rows again, once each in the end;
/// what the server lost of the last minute is sent again.
#[test]
fn an_outage_loses_and_doubles_nothing() {
    let mut rig = Rig::new("outage");
    rig.fill(T0, 200, Span::from_millis(100));
    let mut engine = rig.engine();
    rig.run(&mut engine);
    // The server dies and loses everything that it had just acknowledged.
    rig.server.points.clear();
    rig.fill(T0 + Span::from_secs(20), 200, Span::from_millis(100));
    let mut turn = 0;
    rig.server.rule = Some(Box::new(move |lines, points| {
        turn += 1;
        match turn {
            1..=60 => Answer::Lost("connection refused".into()),
            61 => http(500, "panic"),
            62 => {
                put(lines, points);
                Answer::Lost("reset".into())
            }
            63 => Answer::Http { status: 503, retry_after: Some("90".into()), body: "".into() },
            _ => {
                put(lines, points);
                http(204, "")
            }
        }
    }));
    let began = rig.now.mono;
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 1200);
    assert_eq!(engine.status.rows_resent, 600);
    assert!(rig.now.mono - began > Span::from_secs(90));
    assert_eq!(codes(&engine), ["sink_unreachable", "sink_recovered"]);
    assert_eq!(engine.status.state, SinkState::Sending);
}

/// A server that fails every half minute still gets everything: the overlap does not run in circles.
#[test]
fn a_flapping_server_is_served() {
    let mut rig = Rig::new("flap");
    rig.fill(T0, 20_000, Span::from_millis(10));
    let mut engine = rig.engine();
    let mut requests = 0;
    rig.server.rule = Some(Box::new(move |lines, points| {
        requests += 1;
        if requests % 7 == 0 {
            return Answer::Lost("reset".into());
        }
        put(lines, points);
        http(204, "")
    }));
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 60_000);
}

/// One bad line in a thousand costs at most 20 requests more and ends, alone, as a dead letter.
#[test]
fn poison_is_found_by_halves() {
    let mut rig = Rig::new("poison");
    rig.fill(T0, 333, Span::from_millis(1));
    let mut engine = rig.engine();
    rig.server.rule = Some(Box::new(|lines, points| {
        // v1: good lines are stored, and `dropped` is wrong.
        let good: String =
            lines.lines().filter(|l| !l.contains("=217i")).map(|l| format!("{l}\n")).collect();
        put(&good, points);
        let bad = good.len() != lines.len();
        if bad {
            http(400, "{\"error\":\"partial write: unable to parse dropped=0\"}")
        } else {
            http(204, "")
        }
    }));
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 998);
    assert!(rig.server.requests.len() <= 21, "{:?}", rig.server.requests);
    let files = engine.dead.files().unwrap();
    let text = std::fs::read_to_string(&files[0]).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("HTTP 400: partial write") && lines[1].contains("ivalue=217i"));
    assert_eq!((engine.status.rows_dead, codes(&engine)), (1, vec!["sink_dead_letters"]));
    // The overlap of a new start does not bury it twice.
    let mut again = rig.engine();
    rig.run(&mut again);
    assert_eq!(again.status.rows_dead, 0);
    assert_eq!(std::fs::read_to_string(&files[0]).unwrap(), text);
}

/// 401, 404, a redirect: everything waits, people are told once, a look each minute.
#[test]
fn a_refusal_holds_and_keeps_all() {
    for status in [401, 403, 404, 307, 405] {
        let mut rig = Rig::new(&format!("hold-{status}"));
        rig.fill(T0, 10, Span::from_millis(100));
        let mut engine = rig.engine();
        let mut requests = 0;
        rig.server.rule = Some(Box::new(move |lines, points| {
            requests += 1;
            if requests <= 5 {
                return http(status, "no");
            }
            put(lines, points);
            http(204, "")
        }));
        let began = rig.now.mono;
        assert_eq!(engine.step(rig.now, &mut rig.server), Step::Wait(PROBE));
        assert_eq!(engine.status.state, SinkState::Held);
        assert_eq!(engine.status.behind_rows, 30);
        rig.pass(span_of(PROBE));
        rig.run(&mut engine);
        assert!(rig.now.mono - began >= span_of(PROBE * 5));
        assert_eq!(rig.count("trimloop_sample"), 30);
        assert_eq!(codes(&engine), ["sink_held", "sink_recovered"]);
    }
}

/// 413: half the size from then on, for an hour; a single line that is too large is a dead letter.
#[test]
fn a_body_too_large_is_halved() {
    let mut rig = Rig::new("large");
    rig.fill(T0, 300, Span::from_millis(100));
    let mut engine = rig.engine();
    rig.server.rule = Some(Box::new(|lines, points| {
        if lines.len() > 20_000 {
            return http(413, "");
        }
        put(lines, points);
        http(204, "")
    }));
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 900);
    let refused = engine.status.requests["413"];
    rig.fill(T0 + Span::from_secs(60), 300, Span::from_millis(100));
    rig.run(&mut engine);
    assert_eq!((rig.count("trimloop_sample"), engine.status.requests["413"]), (1800, refused));
    rig.server.rule = Some(Box::new(|_, _| http(413, "")));
    rig.fill(T0 + Span::from_secs(120), 1, Span::from_millis(100));
    rig.run(&mut engine);
    assert_eq!(engine.status.rows_dead, 3);
}

/// A field whose kind the server refuses is left out after 16 refusals, counted, tried again every
/// ten minutes, and sent again once it is taken. Other fields go on.
#[test]
fn a_refused_field_is_quarantined() {
    let mut rig = Rig::new("quarantine");
    rig.fill(T0, 100, Span::from_millis(100));
    let mut engine = rig.engine();
    let conflict = "{\"error\":\"partial write: field type conflict: input field \\\"value\\\" on \
                    measurement \\\"trimloop_sample\\\" is type float, already exists as type \
                    string dropped=1\"}";
    rig.server.rule = Some(Box::new(move |lines, points| {
        let good: String =
            lines.lines().filter(|l| !l.contains(" value=")).map(|l| format!("{l}\n")).collect();
        put(&good, points);
        if good.len() == lines.len() { http(204, "") } else { http(400, conflict) }
    }));
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 200);
    assert_eq!((engine.status.rows_dead, engine.status.rows_quarantined), (16, 84));
    assert_eq!(codes(&engine), ["sink_dead_letters", "sink_quarantine"]);
    rig.pass(CANARY);
    rig.fill(T0 + HOUR, 10, Span::from_millis(100));
    rig.run(&mut engine);
    assert_eq!((engine.status.rows_dead, engine.status.rows_quarantined), (16, 94));
    rig.server.rule = None;
    rig.pass(CANARY);
    rig.fill(T0 + HOUR + HOUR, 10, Span::from_millis(100));
    rig.run(&mut engine);
    assert_eq!(engine.status.rows_quarantined, 94);
    assert_eq!(rig.count("trimloop_sample"), 200 + 20 + 30);
    assert_eq!(codes(&engine).last(), Some(&"sink_quarantine"));
}

/// A server that refuses every line whatever it is, is not believed: the rows are kept.
#[test]
fn a_server_that_refuses_everything_holds() {
    let mut rig = Rig::new("everything");
    rig.fill(T0, 300, Span::from_millis(100));
    let mut engine = rig.engine();
    rig.server.rule = Some(Box::new(|_, _| http(400, "{\"error\":\"unable to parse\"}")));
    assert_eq!(engine.step(rig.now, &mut rig.server), Step::Wait(PROBE));
    assert_eq!(engine.status.rows_dead, u64::from(STREAK_MAX));
    assert_eq!(engine.status.state, SinkState::Held);
    rig.server.rule = None;
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 900 - STREAK_MAX as usize);
}

/// Rows that are too old, and those of a file that was removed, are counted and told once.
#[test]
fn what_is_never_sent_is_counted() {
    let mut rig = Rig::new("expired");
    let old = T0 - Span::from_secs(15 * 86_400);
    rig.fill(old, 10, Span::from_millis(100));
    rig.fill(T0 - Span::from_secs(86_400), 20, Span::from_millis(100));
    rig.fill(T0, 5, Span::from_millis(100));
    let mut engine = rig.engine();
    rig.server.rule = Some(Box::new(|_, _| Answer::Lost("refused".into())));
    assert!(matches!(engine.step(rig.now, &mut rig.server), Step::Wait(_)));
    assert_eq!(engine.status.rows_expired, 30);
    assert_eq!(engine.status.behind_rows, 105);
    let day = day_text(T0 - Span::from_secs(86_400));
    std::fs::remove_file(rig.dir.join(format!("history-{day}.db"))).unwrap();
    rig.pass(SURVEY);
    engine.step(rig.now, &mut rig.server);
    assert_eq!(engine.status.rows_expired, 90);
    rig.server.rule = None;
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 15);
    let told: Vec<_> = engine.tells.iter().filter(|t| t.0 == "sink_expired").collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].1.contains("60 rows") && told[1].1.contains(&day), "{told:?}");
}

/// A day that retention removed is told by the store; the sink counts it and is silent.
#[test]
fn what_retention_removes_is_told_once() {
    let mut rig = Rig::new("retained");
    let now = Clock::start().utc();
    let old = now - Span::from_secs(2 * 86_400);
    rig.now.utc = now;
    rig.fill(old - HOUR, 10, Span::from_millis(100));
    let mut engine = rig.engine();
    rig.run(&mut engine);
    rig.save(&mut engine);
    rig.fill(old, 20, Span::from_millis(100));
    rig.server.rule = Some(Box::new(|_, _| Answer::Lost("refused".into())));
    rig.pass(SURVEY);
    engine.step(rig.now, &mut rig.server);
    assert_eq!(engine.status.behind_rows, 60);
    rig.start_within(HistoryLimits { raw_age: Span::ZERO, ..HistoryLimits::KEEP_ALL });
    let sender = rig.store.as_ref().unwrap().sender();
    // The writer looks after retention between two commits; the second has what it tells.
    for commit in 1..=2 {
        sender.audit_committed(commit, "test", "look", "retention").unwrap();
    }
    let mut engine = engine.with_store(sender);
    rig.pass(SURVEY);
    engine.step(rig.now, &mut rig.server);
    assert_eq!(engine.status.rows_expired, 60);
    assert!(!codes(&engine).contains(&"sink_expired"), "{:?}", engine.tells);
    let state = Connection::open(rig.dir.join("state.db")).unwrap();
    let told: Vec<String> = state
        .prepare("SELECT sentence FROM event WHERE code = 'history_unsent'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("60 rows of "), "{told:?}");
}

/// A power cut takes the last flushes of the history, but not the cursor: what is written after it
/// has later numbers, and is sent.
#[test]
fn after_a_power_cut_new_rows_are_sent() {
    let mut rig = Rig::new("power");
    rig.fill(T0, 100, Span::from_millis(100));
    rig.fill(T0 + Span::from_secs(20), 100, Span::from_millis(100));
    let mut engine = rig.engine();
    rig.run(&mut engine);
    rig.store = None;
    let file = rig.dir.join(format!("history-{}.db", day_text(T0)));
    let db = Connection::open(file).unwrap();
    db.execute_batch(
        "DELETE FROM sample WHERE seq = (SELECT max(seq) FROM flush);
         DELETE FROM flush WHERE seq = (SELECT max(seq) FROM flush)",
    )
    .unwrap();
    drop(db);
    rig.start();
    rig.fill(T0 + Span::from_secs(40), 100, Span::from_millis(100));
    let mut engine = rig.engine();
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 900);
}

/// A damaged day is passed over, told, and the others go on.
#[test]
fn a_damaged_day_does_not_stop_the_others() {
    let mut rig = Rig::new("damaged");
    rig.fill(T0, 10, Span::from_millis(100));
    let day = day_text(T0 - Span::from_secs(86_400));
    std::fs::write(rig.dir.join(format!("history-{day}.db")), vec![0x5a; 9000]).unwrap();
    let mut engine = rig.engine();
    rig.run(&mut engine);
    assert_eq!(rig.count("trimloop_sample"), 30);
    assert_eq!(codes(&engine), ["sink_expired"]);
}

/// Each query gives the columns of its measurement: two, the tags, the fields.
#[test]
fn every_query_has_the_columns_of_the_table() {
    let rig = Rig::new("columns");
    rig.fill(T0, 1, Span::from_millis(100));
    let history = Connection::open(rig.dir.join(format!("history-{}.db", day_text(T0)))).unwrap();
    let state = Connection::open(rig.dir.join("state.db")).unwrap();
    for measurement in &MEASUREMENTS {
        let is_state =
            matches!(measurement.source, super::super::measurements::Source::State { .. });
        let db = if is_state { &state } else { &history };
        let statement = db.prepare(measurement.sql).unwrap();
        let expected = 2 + measurement.tags.len() + measurement.fields.len();
        assert_eq!(statement.column_count(), expected, "{}", measurement.name);
    }
}
