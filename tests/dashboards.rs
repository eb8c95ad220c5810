//! What is made from the one table of measurements: the reference page and the Grafana dashboards.
//! `UPDATE=1 cargo test --test dashboards` rewrites them.
//!
//! The InfluxQL of the dashboards is run on InfluxDB 1.6.7, on rows of every kind that the sink
//! wrote; Flux and SQL are only compared with the table by name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/influx.rs"]
mod influx;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use foreign::or_skip;
use influx::{DATABASE, Influx, wait_for};
use trimloop::clock::Clock;
use trimloop::notice::Notices;
use trimloop::output::{Named, Names, SetpointName};
use trimloop::settings::{Dialect, InfluxSettings, InfluxUser};
use trimloop::sink::measurements::{COMMON_TAGS, Field, Kind, MEASUREMENTS, Measurement, Source};
use trimloop::sink::{Pace, Sink, SinkOptions};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::guard::{Cut, FailedChecks, Reason};
use trimloop_core::ledger::Fate;
use trimloop_core::mode::{Mode, Rung};
use trimloop_core::model::forecast::{Forecast, Trend};
use trimloop_core::plan::{CharacteristicId, FeatureId, LoopId, ModelId, SetpointId};
use trimloop_core::record::{
    ContributionRow, DecisionRow, FeatureRow, ForecastRow, LabelRow, LedgerRow, Outcome, PartRow,
    Record, ScoreRow,
};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Process, Span, Utc};
use trimloop_core::unit::{Grid, Ticks};

const GENERATED: &str =
    "<!-- Written by tests/dashboards.rs: UPDATE=1 cargo test --test dashboards -->\n\n";
/// Numbers that name something: no curve of them says anything.
const NAMES: [&str; 5] = ["part", "number", "write", "rank", "quality"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a generated file with the one in the tree; `UPDATE=1` writes it.
fn check_file(file: &str, text: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{file} is stale: UPDATE=1 cargo test --test dashboards");
}

/// docs/src/reference/measurements.md says what the lines hold.
#[test]
fn page_of_measurements() {
    let mut text = format!(
        "{GENERATED}# Measurements in InfluxDB\n\nWhat `[influx]` sends, made from the table in \
         `src/sink/measurements.rs`. Every line has the tags `cell` ({}) and `site` ({}). Times are \
         nanoseconds. A field never changes its kind; one that is unknown is left out. How to set \
         it up: [InfluxDB and Grafana](../how-to/influxdb.md).\n",
        COMMON_TAGS[0].says, COMMON_TAGS[1].says
    );
    for measurement in &MEASUREMENTS {
        writeln!(text, "\n## {}\n\n{}\n", measurement.name, measurement.says).unwrap();
        for tag in measurement.tags {
            writeln!(text, "- tag `{}`: {}", tag.key, tag.says).unwrap();
        }
        if !measurement.tags.is_empty() {
            text.push('\n');
        }
        text.push_str("| field | kind | unit | what it is |\n|---|---|---|---|\n");
        for field in measurement.fields {
            let (kind, unit) = (field.kind.word(), field.unit);
            writeln!(text, "| `{}` | {kind} | {unit} | {} |", field.key, field.says).unwrap();
        }
    }
    check_file("docs/src/reference/measurements.md", &text);
}

// --- Dashboards -------------------------------------------------------------------------------

#[derive(Clone, Copy)]
enum Language {
    InfluxQl,
    Flux,
    Sql,
}

impl Language {
    const ALL: [Self; 3] = [Self::InfluxQl, Self::Flux, Self::Sql];

    fn word(self) -> &'static str {
        match self {
            Self::InfluxQl => "influxql",
            Self::Flux => "flux",
            Self::Sql => "sql",
        }
    }

    /// A curve of one field, by the tags of its measurement.
    fn curve(self, of: &Measurement, field: &Field) -> String {
        let tags: Vec<String> = of.tags.iter().map(|tag| format!("\"{}\"", tag.key)).collect();
        let (name, key) = (of.name, field.key);
        let by = tags.iter().fold(String::new(), |all, tag| format!("{all}, {tag}"));
        match self {
            Self::InfluxQl => format!(
                "SELECT mean(\"{key}\") FROM \"{name}\" WHERE $timeFilter AND \"cell\" =~ \
                 /^$cell$/ GROUP BY time($__interval){by} fill(none)"
            ),
            Self::Flux => format!(
                "from(bucket: v.defaultBucket)\n  |> range(start: v.timeRangeStart, stop: \
                 v.timeRangeStop)\n  |> filter(fn: (r) => r._measurement == \"{name}\" and \
                 r._field == \"{key}\" and r.cell =~ /^${{cell:regex}}$/)\n  |> \
                 aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)"
            ),
            Self::Sql => format!(
                "SELECT $__dateBin(time) AS time{by}, avg(\"{key}\") AS \"{key}\" FROM \"{name}\" \
                 WHERE $__timeFilter(time) AND \"cell\" ~ '^${{cell:regex}}$' GROUP BY \
                 $__dateBin(time){by} ORDER BY time"
            ),
        }
    }

    /// The last rows, as a table.
    fn rows(self, of: &Measurement) -> String {
        let keys: Vec<&str> =
            of.tags.iter().map(|tag| tag.key).chain(of.fields.iter().map(|f| f.key)).collect();
        let list: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
        let (name, list) = (of.name, list.join(", "));
        match self {
            Self::InfluxQl => format!(
                "SELECT {list} FROM \"{name}\" WHERE $timeFilter AND \"cell\" =~ /^$cell$/ ORDER \
                 BY time DESC LIMIT 200"
            ),
            Self::Flux => format!(
                "from(bucket: v.defaultBucket)\n  |> range(start: v.timeRangeStart, stop: \
                 v.timeRangeStop)\n  |> filter(fn: (r) => r._measurement == \"{name}\" and r.cell \
                 =~ /^${{cell:regex}}$/)\n  |> pivot(rowKey: [\"_time\"], columnKey: [\"_field\"], \
                 valueColumn: \"_value\")\n  |> keep(columns: [\"_time\", {list}])\n  |> group()\n  \
                 |> sort(columns: [\"_time\"], desc: true)\n  |> limit(n: 200)"
            ),
            Self::Sql => format!(
                "SELECT time, {list} FROM \"{name}\" WHERE $__timeFilter(time) AND \"cell\" ~ \
                 '^${{cell:regex}}$' ORDER BY time DESC LIMIT 200"
            ),
        }
    }

    fn cells(self) -> &'static str {
        match self {
            Self::InfluxQl => "SHOW TAG VALUES FROM \"trimloop_sample\" WITH KEY = \"cell\"",
            Self::Flux => {
                "import \"influxdata/influxdb/schema\"\nschema.measurementTagValues(bucket: \
                 v.defaultBucket, measurement: \"trimloop_sample\", tag: \"cell\")"
            }
            Self::Sql => "SELECT DISTINCT \"cell\" FROM \"trimloop_sample\"",
        }
    }

    fn target(self, query: &str, table: bool) -> Json {
        let format = if table { "table" } else { "time_series" };
        match self {
            Self::InfluxQl => {
                json!({"refId": "A", "rawQuery": true, "query": query, "resultFormat": format})
            }
            Self::Flux => json!({"refId": "A", "query": query}),
            Self::Sql => json!({"refId": "A", "rawSql": query, "rawQuery": true, "format": format}),
        }
    }
}

/// What a dashboard shows: title, unit, query, whether it is a table.
fn panels(language: Language) -> Vec<(String, &'static str, String, bool)> {
    let mut panels = Vec::new();
    for measurement in &MEASUREMENTS {
        let short = measurement.name.trim_start_matches("trimloop_");
        let curved = |field: &&Field| {
            matches!(field.kind, Kind::Float | Kind::Int) && !NAMES.contains(&field.key)
        };
        for field in measurement.fields.iter().filter(curved) {
            let title = format!("{short}: {}", field.key.replace('_', " "));
            let unit = match field.unit {
                "s" => "s",
                "1" => "percentunit",
                _ => "none",
            };
            panels.push((title, unit, language.curve(measurement, field), false));
        }
        if matches!(measurement.source, Source::State { .. }) {
            panels.push((format!("{short}: rows"), "none", language.rows(measurement), true));
        }
    }
    panels
}

fn dashboard(language: Language) -> String {
    let source = json!({"type": "influxdb", "uid": "${datasource}"});
    let panels: Vec<Json> = (0..)
        .zip(panels(language))
        .map(|(place, (title, unit, query, table))| {
            json!({
                "id": place + 1,
                "title": title,
                "type": if table { "table" } else { "timeseries" },
                "datasource": source,
                "gridPos": {"h": 8, "w": 12, "x": place % 2 * 12, "y": place / 2 * 8},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "targets": [language.target(&query, table)],
            })
        })
        .collect();
    let dashboard = json!({
        "title": format!("trimloop ({})", language.word()),
        "uid": format!("trimloop-{}", language.word()),
        "tags": ["trimloop"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "influxdb"},
            {
                "name": "cell", "type": "query", "datasource": source, "query": language.cells(),
                "refresh": 2, "includeAll": true, "allValue": ".*",
            },
        ]},
        "panels": panels,
    });
    serde_json::to_string_pretty(&dashboard).unwrap() + "\n"
}

/// dashboards/ is what the table says.
#[test]
fn dashboards_are_current() {
    for language in Language::ALL {
        check_file(&format!("dashboards/{}/trimloop.json", language.word()), &dashboard(language));
    }
}

/// Every name in double quotes of the Flux and SQL queries is in the table.
#[test]
fn flux_and_sql_name_what_there_is() {
    let mut known: BTreeSet<&str> = COMMON_TAGS.iter().map(|tag| tag.key).collect();
    for measurement in &MEASUREMENTS {
        known.insert(measurement.name);
        known.extend(measurement.tags.iter().map(|tag| tag.key));
        known.extend(measurement.fields.iter().map(|field| field.key));
    }
    let words = ["_time", "_field", "_value"];
    for language in [Language::Flux, Language::Sql] {
        for (title, _, query, _) in panels(language) {
            let names: Vec<&str> = query.split('"').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "{title}");
            for name in names {
                assert!(known.contains(name) || words.contains(&name), "{title}: {name}");
            }
        }
    }
}

// --- On a real server -------------------------------------------------------------------------

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn open(dir: &Path, clock: Clock) -> Store {
    let named = |name: &str| vec![Named { name: name.into(), unit: "bar".into() }];
    let grid = Grid::new(5, 1).unwrap();
    let options = StoreOptions {
        dir: dir.to_owned(),
        names: Names {
            tags: ["temp", "count", "gate", "old"]
                .map(|name| Named { name: name.into(), unit: String::new() })
                .to_vec(),
            features: named("fill, work"),
            models: named("weight"),
            characteristics: named("weight"),
            setpoints: vec![SetpointName { name: "hold".into(), unit: "bar".into(), grid }],
            loops: named("weight"),
            loop_setpoints: vec![0],
            ..Names::default()
        },
        clock,
        node: "cell-1".into(),
        recipe: "lid".into(),
        revision: 1,
        plan_hash: [1; 32],
    };
    Store::open(&options).unwrap()
}

/// One row of every kind, twice.
fn records(number: u64) -> Vec<Record> {
    let (part, model, feature) = (7, ModelId(0), FeatureId(0));
    let second = |n: i64| Process::from_millis(n * 1000);
    vec![
        Record::Part(PartRow {
            part,
            number,
            began: second(1),
            ended: second(9),
            warm_up: false,
            mixed: false,
            gap: true,
        }),
        Record::Feature(FeatureRow { part, feature, value: Some(1.5), coverage: 0.9 }),
        Record::Score(ScoreRow {
            part,
            model,
            value: Some(0.5),
            low: 0.25,
            high: 0.75,
            in_domain: true,
            alarm: false,
        }),
        Record::Contribution(ContributionRow { part, model, feature, rank: 1, share: 0.5, z: 2.5 }),
        Record::Forecast(ForecastRow {
            part,
            model,
            forecast: Forecast {
                value: 0.75,
                low: 0.5,
                high: 1.0,
                trend: Trend::Up,
                to_limit: Some(40.0),
                to_limit_range: Some((30.0, 60.0)),
            },
        }),
        Record::Label(LabelRow {
            part,
            characteristic: CharacteristicId(0),
            value: 31.5,
            used: true,
        }),
        Record::Decision(DecisionRow {
            number,
            part,
            loop_id: LoopId(0),
            desired: Some(360.0),
            limited: Some(Ticks::new(720)),
            read_back: Some(Ticks::new(710)),
            outcome: Outcome::Hold(Reason::Dwell),
            failed: FailedChecks::NONE,
            cut: Cut::Nothing,
            mode: Mode::Auto,
            rung: Rung::Full,
        }),
        Record::Ledger(LedgerRow {
            write: number,
            setpoint: SetpointId(0),
            desired: 360.0,
            limited: Ticks::new(720),
            sent: Ticks::new(720),
            issued: Mono::from_millis(10),
            acknowledged: Some(Mono::from_millis(11)),
            read_back: Some(Ticks::new(720)),
            confirmed: Some(Mono::from_millis(12)),
            fate: Fate::Confirmed,
        }),
    ]
}

/// Every field of the table is really written, in its kind, and every InfluxQL query of the
/// dashboard finds rows.
#[test]
fn influxdb_has_every_field_and_answers_every_panel() {
    let name = "influxdb_has_every_field_and_answers_every_panel";
    let Some(server) = or_skip(name, Influx::start()) else { return };
    let dir = std::env::temp_dir().join(format!("trimloop-dashboards-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&dir));
    let scratch = Scratch(dir);
    let clock = Clock::start();
    let store = open(&scratch.0, clock);
    let sender = store.sender();
    let notices = Notices::new(clock, Some(store.sender()));
    notices.tell("register_problem", "press-4", "It is \"read only\", \\ and more.".into());
    for number in 1..=2 {
        let utc = clock.utc();
        let sample = |tag, value, source: Option<Utc>| Sample {
            tag: TagId(tag),
            value: Some(value),
            status: Status::Good,
            source_time: source,
            server_time: None,
            received: Mono::default(),
        };
        let far = utc - Span::from_secs(3600);
        sender.samples(
            utc,
            &[
                sample(0, Value::Float(221.5), Some(utc)),
                sample(1, Value::Int(number as i64), Some(utc)),
                sample(2, Value::Bool(true), Some(utc)),
                sample(3, Value::Float(1.0), Some(far)),
            ],
        );
        let missed = sample(0, Value::Float(221.0), Some(utc - Span::from_secs(5)));
        sender.backfill(&[missed]).blocking_recv().unwrap();
        for record in records(number) {
            sender.record(utc, record);
        }
        sender.barrier().unwrap();
    }
    let settings = InfluxSettings {
        url: format!("http://127.0.0.1:{}", server.port),
        dialect: Dialect::V1,
        database: DATABASE.into(),
        retention_policy: String::new(),
        org: String::new(),
        bucket: String::new(),
        user: InfluxUser::Nobody,
        ca_file: None,
        site: "north".into(),
        cell: "cell 1".into(),
        max_age: Span::from_secs(86_400),
        batch: 1000,
    };
    let data = scratch.0.clone();
    let pace = Pace::default();
    let options = SinkOptions { settings, data, store: store.sender(), notices, clock, pace };
    let sink = Sink::start(options).unwrap();
    let view = sink.view();
    // 10 samples, 8 records twice, one event.
    wait_for("all rows", || view.status().rows_sent >= 27);
    sink.stop();
    for measurement in &MEASUREMENTS {
        let result = server.query(&format!("SHOW FIELD KEYS FROM \"{}\"", measurement.name));
        let keys = result["series"][0]["values"].as_array().cloned().unwrap_or_default();
        let found: BTreeSet<(String, String)> = keys
            .iter()
            .map(|row| (row[0].as_str().unwrap().into(), row[1].as_str().unwrap().into()))
            .collect();
        let kind = |kind| match kind {
            Kind::Text => "string",
            Kind::Float | Kind::Int | Kind::Bool => Kind::word(kind),
        };
        let expected: BTreeSet<(String, String)> = measurement
            .fields
            .iter()
            .filter(|field| field.key != "svalue")
            .map(|field| (field.key.to_owned(), kind(field.kind).to_owned()))
            .collect();
        assert_eq!(found, expected, "{}", measurement.name);
        let rows = server.rows(&format!("SELECT * FROM \"{}\"", measurement.name)).len();
        let expected = match measurement.name {
            "trimloop_sample" => 10,
            "trimloop_event" => 1,
            _ => 2,
        };
        assert_eq!(rows, expected, "{}", measurement.name);
    }
    for (title, _, query, _) in panels(Language::InfluxQl) {
        let query = query.replace("$timeFilter", "time > now() - 1h");
        let query = query.replace("$__interval", "10s").replace("$cell", ".*");
        let result = server.query(&query);
        assert!(result["series"][0]["values"][0].is_array(), "{title}: {query}: {result}");
    }
    let cells = server.query(Language::InfluxQl.cells());
    assert_eq!(cells["series"][0]["values"][0][1], "cell 1");
}
