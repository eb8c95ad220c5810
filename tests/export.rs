//! `trimloop query` and `trimloop export` over a store, with a service beside and without.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;

use trimloop::clock::Clock;
use trimloop::output::{Named, Names, Zone, parse_instant};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::guard::{Cut, FailedChecks, Reason};
use trimloop_core::mode::{Mode, Rung};
use trimloop_core::plan::{FeatureId, LoopId};
use trimloop_core::record::{DecisionRow, FeatureRow, Outcome, Record};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Utc};

/// 2026-11-22T23:59:00Z: the data cross a day.
const T0: i64 = 1_795_391_940_000_000_000;
const SECOND: i64 = 1_000_000_000;
const SECONDS: i64 = 150;

struct Project(PathBuf);

impl Project {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trimloop-export-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("trimloop.toml"), "name = \"cell-1\"\n").unwrap();
        Self(path)
    }

    fn store(&self) -> Store {
        let named = |name: &str, unit: &str| Named { name: name.into(), unit: unit.into() };
        Store::open(&StoreOptions {
            dir: self.0.join("data"),
            names: Names {
                tags: vec![named("melt_temp", "degC"), named("part_id", "")],
                features: vec![named("fill", "bar"), named("odd, \"name\"", "mm")],
                loops: vec![named("weight", "")],
                ..Names::default()
            },
            clock: Clock::start(),
            node: "cell-1".into(),
            recipe: "lid".into(),
            revision: 1,
            plan_hash: [1; 32],
        })
        .unwrap()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trimloop"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRIMLOOP_") {
                command.env_remove(name);
            }
        }
        command.current_dir(&self.0).args(args).env("NO_COLOR", "1").env("TZ", "Etc/GMT-2");
        command.output().unwrap()
    }

    /// The result of a command that works.
    fn out(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Exit code and message of one that does not.
    fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        (output.status.code().unwrap(), text(&output.stderr))
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn value_at(second: i64) -> f64 {
    220.0 + second as f64 * 0.1
}

/// One value of melt_temp each second, every tenth of them Bad; a part number each minute; a
/// feature row and a decision at the end.
fn fill(store: &Store) {
    let sender = store.sender();
    let sample = |ts: i64, tag: u16, value: Value, status: Status| Sample {
        tag: TagId(tag),
        value: Some(value),
        status,
        source_time: Some(Utc::from_nanos(ts)),
        server_time: None,
        received: Mono::default(),
    };
    for second in 0..SECONDS {
        let ts = T0 + second * SECOND;
        let bad = second % 10 == 9;
        let status = if bad { Status::Bad(0x808C_0000) } else { Status::Good };
        sender
            .samples(Utc::from_nanos(ts), &[sample(ts, 0, Value::Float(value_at(second)), status)]);
        if second % 60 == 0 {
            let part = Value::Int(9_007_199_254_740_993 + second);
            sender.samples(Utc::from_nanos(ts), &[sample(ts, 1, part, Status::Good)]);
        }
    }
    let end = Utc::from_nanos(T0 + 61 * SECOND);
    for (feature, value) in [(0, Some(650.25)), (1, None)] {
        let feature = FeatureRow { part: 7, feature: FeatureId(feature), value, coverage: 1.0 };
        sender.record(end, Record::Feature(feature));
    }
    sender.record(
        end,
        Record::Decision(DecisionRow {
            number: 1,
            part: 7,
            loop_id: LoopId(0),
            desired: Some(360.5),
            limited: None,
            read_back: None,
            outcome: Outcome::Hold(Reason::Dwell),
            failed: FailedChecks::NONE,
            cut: Cut::Nothing,
            mode: Mode::Auto,
            rung: Rung::Full,
        }),
    );
    sender.barrier().unwrap();
}

fn lines(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

fn nanos(text: &str) -> i64 {
    parse_instant(text, Zone::Utc).unwrap().as_nanos()
}

/// Every sample comes out once, exact in time, value and quality, across the day.
#[test]
fn every_sample_comes_out_exactly_once() {
    let project = Project::new("raw");
    fill(&project.store());
    let said = project.out(&["export", "--out", "all.csv"]);
    assert!(said.starts_with("153 rows of samples"), "{said}");
    let csv = project.read("all.csv");
    let rows = lines(&csv);
    assert_eq!(rows[0], ["time", "tag", "unit", "value", "quality", "status", "stamp"]);
    let melt: Vec<_> = rows.iter().filter(|row| row[1] == "melt_temp").collect();
    assert_eq!(melt.len(), 150);
    for (second, row) in (0..).zip(&melt) {
        assert_eq!(nanos(row[0]), T0 + second * SECOND);
        assert_eq!(row[2], "degC");
        // Exact: bit by bit.
        assert_eq!(row[3].parse::<f64>().unwrap().to_bits(), value_at(second).to_bits());
        let quality = if second % 10 == 9 { ["bad", "2156658688"] } else { ["good", "0"] };
        assert_eq!(row[4..6], quality);
    }
    assert!(csv.contains(",part_id,,9007199254740993,good,0,source\n"), "beyond 2^53");
    assert_eq!(project.files(), ["all.csv", "data", "trimloop.toml"]);
}

/// Minutes and hours beside a running service are those of everything committed, folded already
/// or not.
#[test]
fn rollups_are_whole_while_the_service_runs() {
    let project = Project::new("rolled");
    let mut seen = Vec::new();
    let store = project.store();
    fill(&store);
    // First none is folded (the store makes them once a minute), then all are.
    for every in ["1s", "1m", "1h"] {
        seen.push(project.out(&["export", "--every", every, "--out", "-"]));
    }
    drop(store);
    for (every, before) in ["1s", "1m", "1h"].iter().zip(&seen) {
        let after = project.out(&["export", "--every", every, "--out", "-"]);
        assert_eq!(lines(&after).len(), lines(before).len(), "{every}");
        for (a, b) in lines(&after).iter().zip(lines(before)) {
            // The mean is summed in another order.
            let mean = |row: &[&str]| row.get(5).and_then(|x| x.parse::<f64>().ok());
            let near = mean(a).zip(mean(&b)).is_none_or(|(a, b)| (a - b).abs() < 1e-9);
            assert!(near && a[..5] == b[..5] && a[6..] == b[6..], "{every}: {a:?} {b:?}");
        }
    }
    let minutes: Vec<_> = lines(&seen[1]).into_iter().filter(|row| row[1] == "melt_temp").collect();
    assert_eq!(minutes.len(), 3);
    let good: Vec<f64> = (0..60).filter(|s| s % 10 != 9).map(value_at).collect();
    let first = &minutes[0];
    assert_eq!((first[0], first[3], first[4]), ("2026-11-22T23:59:00Z", "220", "225.8"));
    let mean = good.iter().sum::<f64>() / good.len() as f64;
    assert!((first[5].parse::<f64>().unwrap() - mean).abs() < 1e-9);
    assert_eq!(first[6..], ["54", "bad", "2156658688"]);
}

/// A column for each tag, with its unit in the header; what is Bad or missing is empty.
#[test]
fn wide_tables_have_units_and_gaps() {
    let project = Project::new("wide");
    fill(&project.store());
    let csv = project.out(&["export", "--wide", "--tags", "part*,melt_temp", "--out", "-"]);
    let rows = lines(&csv);
    assert_eq!(rows[0], ["time", "part_id", "melt_temp [degC]"]);
    assert_eq!(rows.len(), 151);
    assert_eq!(rows[1][1..], ["9007199254740993", "220"]);
    assert_eq!(rows[2][1..], ["", "220.1"]);
    assert_eq!(rows[10][1..], ["", ""]);
    let args = ["export", "--wide", "--every", "1m", "--stat", "min,count", "--out", "-"];
    let csv = project.out(&args);
    let header = "time,melt_temp min [degC],melt_temp count,part_id min,part_id count";
    assert_eq!(csv.lines().next(), Some(header));
    let csv = project.out(&["export", "features", "--wide", "--out", "-"]);
    assert_eq!(
        csv,
        "time,part,fill [bar],\"odd, \"\"name\"\" [mm]\"\n\
                     2026-11-23T00:00:01.000Z,7,650.25,\n"
    );
}

/// Queries: a table, JSON, CSV; local time; the other kinds of rows.
#[test]
fn queries_show_what_was_asked() {
    let project = Project::new("query");
    fill(&project.store());
    let range = ["--from", "2026-11-23T00:00:00", "--to", "2026-11-23T00:00:02"];
    let with = |more: &[&'static str]| {
        let args: Vec<&str> =
            ["query", "melt_temp"].into_iter().chain(range).chain(more.iter().copied()).collect();
        project.out(&args)
    };
    let table = with(&[]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.lines().next().unwrap().contains("value"), "{table}");
    assert!(table.contains("2026-11-23T00:00:01.000000000Z"), "{table}");
    let object: Json = serde_json::from_str(&with(&["--format", "json"])).unwrap();
    assert_eq!(object["schema"], "trimloop.query/1");
    assert_eq!(object["rows"][0][3], value_at(60));
    assert_eq!(object["rows"].as_array().unwrap().len(), 2);
    let csv = with(&["--format", "csv", "--every", "1h", "--wide"]);
    assert_eq!(csv.lines().count(), 2, "{csv}");
    let line: Json =
        serde_json::from_str(with(&["--format", "jsonl"]).lines().next().unwrap()).unwrap();
    assert_eq!(line["tag"], "melt_temp");
    let local = project.out(&[
        "query",
        "part_id",
        "--local",
        "--from",
        "2026-11-23T02:00",
        "--to",
        "2026-11-23T02:01",
        "--every",
        "1m",
    ]);
    assert!(local.contains("2026-11-23T02:00:00+02:00"), "{local}");
    let decisions = project.out(&["query", "--what", "decisions", "--from", "2026-11-22"]);
    assert!(decisions.contains("weight") && decisions.contains("dwell"), "{decisions}");
    let last = project.out(&["query", "melt_temp", "--from", "2026-11-22", "--rows", "5"]);
    assert_eq!(last.lines().count(), 6);
    assert!(last.contains("00:01:29"), "the newest: {last}");
    // Of a data folder that no settings name, such as that of a demo.
    let elsewhere = Project::new("query-elsewhere");
    std::fs::remove_file(elsewhere.0.join("trimloop.toml")).unwrap();
    let folder = project.0.join("data");
    let data = ["--data", folder.to_str().unwrap(), "--from", "2026-11-22"];
    let query = ["query", "melt_temp", "--rows", "5"].into_iter().chain(data);
    assert_eq!(elsewhere.out(&query.collect::<Vec<&str>>()), last);
    let export = ["export", "--tags", "melt_temp", "--out", "-"].into_iter().chain(data);
    let csv = elsewhere.out(&export.collect::<Vec<&str>>());
    assert!(csv.contains("melt_temp"), "{csv}");
}

/// What cannot be is said with what next, and leaves no file.
#[test]
fn mistakes_say_what_next() {
    let project = Project::new("mistakes");
    let (code, said) = project.fails(&["query", "melt_temp"]);
    assert!(code == 4 && said.contains("TL0724") && said.contains("data"), "{said}");
    fill(&project.store());
    std::fs::write(project.0.join("there.csv"), "mine").unwrap();
    for (args, code, parts) in [
        (&["query", "melt_tmp"][..], 2, &["TL0720", "melt_tmp", "did you mean", "melt_temp"][..]),
        (
            &["export", "--from", "1999-01-01", "--to", "1999-01-02", "--out", "x.csv"],
            1,
            &["TL0721", "from 2026-11-22T23:59:00Z to 2026-11-23T00:01:29Z"],
        ),
        (&["query", "--last", "1 fortnight"], 2, &["TL0722", "1 fortnight", "15min"]),
        (&["query", "--from", "yesterday"], 2, &["TL0722", "yesterday", "2026-11-22T10:00"]),
        (&["query", "--what", "events", "--every", "1m"], 2, &["TL0722", "samples"]),
        (&["export", "parts", "--wide", "--out", "x.csv"], 2, &["TL0722", "parts"]),
        (&["export", "parts", "--out", "x.csv"], 1, &["TL0721", "no parts"]),
        (&["export", "--out", "there.csv"], 2, &["TL0723", "--force"]),
        (&["export", "--out", "x.doc"], 2, &["TL0723", ".csv"]),
        (&["export", "--out", "no/folder/x.csv"], 1, &["TL0723", "no/folder/x.csv"]),
        (&["status", "--format", "csv"], 2, &["query"]),
        (&["export"], 2, &["--out"]),
    ] {
        let (exit, said) = project.fails(args);
        assert_eq!(exit, code, "{args:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{args:?}: {part:?} is missing in\n{said}");
        }
    }
    assert_eq!(project.files(), ["data", "there.csv", "trimloop.toml"]);
    assert_eq!(project.read("there.csv"), "mine");
    project.out(&["export", "--out", "there.csv", "--force"]);
    assert!(project.read("there.csv").starts_with("time,"));
}

/// A build without the feature says how to get it.
#[cfg(not(feature = "xlsx"))]
#[test]
fn a_missing_feature_is_said() {
    let project = Project::new("feature");
    let (code, said) = project.fails(&["export", "--out", "x.xlsx"]);
    assert!(code == 2 && said.contains("TL0725") && said.contains("--features xlsx"), "{said}");
}

/// A file that cannot be read is an error, not a hole.
#[test]
fn a_damaged_file_is_no_hole() {
    let project = Project::new("damaged");
    fill(&project.store());
    std::fs::write(project.0.join("data/history-20261122.db"), vec![0x5a; 9000]).unwrap();
    let (code, said) = project.fails(&["export", "--out", "x.csv"]);
    assert!(code == 4 && said.contains("history-20261122.db"), "{said}");
    assert!(!project.files().contains(&"x.csv".to_owned()));
}

/// The Python block of the book reads the files, with Python's own SQLite.
#[test]
fn the_book_reads_the_files_with_python() {
    let name = "the_book_reads_the_files_with_python";
    let Ok(found) = Command::new("python3").arg("--version").output() else {
        skip(name, "no python3");
        return;
    };
    assert!(found.status.success());
    let project = Project::new("python");
    fill(&project.store());
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/reference/store.md");
    let page = std::fs::read_to_string(page).unwrap();
    let block = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let script = format!("{block}\nprint(rows)\n");
    let output =
        Command::new("python3").current_dir(&project.0).args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows = text(&output.stdout);
    assert!(rows.starts_with("[('2026-11-22 23:59:00', 'melt_temp', 220.0, 'degC'), "), "{rows}");
    assert_eq!(rows.matches("melt_temp").count(), 5, "{rows}");
}

fn skip(test: &str, why: &str) {
    let required = std::env::var_os("TRIMLOOP_REQUIRE_FOREIGN").is_some_and(|value| value == "1");
    assert!(!required, "{test}: {why}");
    let line = format!("skipped: {test}: {why}\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
}
