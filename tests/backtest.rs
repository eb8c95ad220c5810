//! A press recorded in real time, in SHADOW, and the backtest of its history.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;

use rusqlite::Connection;
use serde_json::Value as Json;
use trimloop::backtest::{BacktestSettings, Data, GAP, Report, backtest, report_text};
use trimloop::clock::Clock;
use trimloop::export::{Cell, Sheet};
use trimloop::output::Names;
use trimloop::store::{Store, StoreOptions};
use trimloop_core::plan::Plan;
use trimloop_core::time::Span;
use trimloop_simulator::Scenario;
use world::{World, shipped};

/// From 08:00 on, 24 s each: past midnight by an hour and 20 minutes.
const PAST_MIDNIGHT: u64 = 2600;
/// Three hours and a third.
const MORNING: u64 = 500;
/// Parts of the recipe's warm-up.
const WARM_UP: i64 = 10;

/// A project with the shipped files and the history of one run; removed at the end.
struct Recorded(PathBuf);

impl Drop for Recorded {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Recorded {
    fn new(name: &str, parts: u64) -> Self {
        let dir =
            std::env::temp_dir().join(format!("trimloop-backtest-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        let recorded = Self(dir);
        let bound = shipped();
        for file in &bound.files {
            let path = recorded.0.join(&file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &file.bytes).unwrap();
        }
        std::fs::write(recorded.0.join("trimloop.toml"), "name = \"press-4\"\n").unwrap();
        let store = Store::open(&StoreOptions {
            dir: recorded.data(),
            names: Names::of(&bound.plan),
            clock: Clock::start(),
            node: "press-4".to_owned(),
            recipe: bound.plan.name.clone(),
            revision: bound.plan.revision,
            plan_hash: bound.plan.hash,
        })
        .unwrap();
        let mut scenario = Scenario::named("lot-change").unwrap();
        (scenario.inspect_every, scenario.inspect_delay) = (4, 3);
        let mut world = World::in_real_time(&bound, scenario, 3, store.sender());
        for parts in (50..=parts).step_by(50) {
            world.produce(parts);
            store.sender().barrier().unwrap();
        }
        assert_eq!(store.sender().counts().samples_dropped, 0);
        recorded
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn tested(&self, settings: &BacktestSettings<'_>) -> (Report, Vec<Vec<String>>) {
        let data = Data::store(&self.data()).unwrap();
        let mut rows = Rows::default();
        let stop = AtomicBool::new(false);
        let report = backtest(&data, settings, Some(&mut rows), &mut |_| (), &stop).unwrap();
        (report, rows.0)
    }

    /// What the live cell decided: by loop and part, outcome and reason, wish and limited wish.
    fn live(&self) -> BTreeMap<(String, i64), [String; 4]> {
        let state = Connection::open(self.data().join("state.db")).unwrap();
        let sql = "SELECT loop, part, outcome, reason, desired, limited FROM decision";
        let mut rows = state.prepare(sql).unwrap();
        let text = |x: Option<String>| x.map_or("Null".to_owned(), |x| format!("Text({x:?})"));
        let number = |x: Option<f64>| x.map_or("Null".to_owned(), |x| format!("Float({x:?})"));
        let rows = rows.query_map([], |row| {
            let key = (format!("Text({:?})", row.get::<_, String>(0)?), row.get(1)?);
            let (outcome, reason) = (text(row.get(2)?), text(row.get(3)?));
            Ok((key, [outcome, reason, number(row.get(4)?), number(row.get(5)?)]))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trimloop"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRIMLOOP_") {
                command.env_remove(name);
            }
        }
        command.current_dir(&self.0).args(args).env("NO_COLOR", "1").output().unwrap()
    }

    /// Exit code, stdout, stderr.
    fn says(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.run(args);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// The result of a command that works.
    fn out(&self, args: &[&str]) -> String {
        let (code, out, said) = self.says(args);
        assert_eq!(code, 0, "{args:?}: {out}{said}");
        out
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn is_there(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }
}

/// Keeps rows as text.
#[derive(Default)]
struct Rows(Vec<Vec<String>>);

impl Sheet for Rows {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        self.0.push(cells.iter().map(|cell| format!("{cell:?}")).collect());
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn settings(plan: &Plan) -> BacktestSettings<'_> {
    let (other, from, to, lead_in) = (None, None, None, None);
    BacktestSettings { plan, other, from, to, lead_in, gap: GAP, jobs: 2 }
}

/// With every day warmed up by all that was before it, the core decides on the samples what it
/// decided live: outcome, reason, wish and limited wish, bit by bit.
///
/// But for the start: of two values of one tag in one millisecond the history keeps the last, so the
/// press's first standstill, which took no time, is not in it.
///
/// How many days run at once changes nothing.
#[test]
fn the_core_decides_on_history_what_it_decided_live() {
    let recorded = Recorded::new("live", PAST_MIDNIGHT);
    let plan = shipped().plan;
    let all = Some(Span::from_secs(86_400));
    let (report, rows) = recorded.tested(&BacktestSettings { lead_in: all, ..settings(&plan) });
    let live = recorded.live();
    assert!(live.len() > 5000, "{}", live.len());
    assert_eq!(rows.len(), live.len());
    for row in &rows {
        let part: i64 = row[2].trim_start_matches("Int(").trim_end_matches(')').parse().unwrap();
        let decided = [&row[6], &row[7], &row[8], &row[9]].map(String::clone);
        let then = &live[&(row[3].clone(), part)];
        assert!(*then == decided || part <= WARM_UP + 1, "{row:?}\nlive {then:?}");
    }
    let text = report_text(&report);
    assert!(report.recipe.findings.bad > 10, "{text}");
    assert!(report.recipe.loops.iter().any(|l| l.would_write > 100), "{text}");
    // With the warm-up of a recipe's own length: one day after the other, and side by side.
    let one = recorded.tested(&BacktestSettings { jobs: 1, ..settings(&plan) });
    let two = recorded.tested(&BacktestSettings { jobs: 2, ..settings(&plan) });
    assert!(one == two, "{}\n{}", report_text(&one.0), report_text(&two.0));
    let joins = one.0.recipe.joins;
    assert_eq!((joins.midnights, joins.only_once), (1, 0), "{joins:?}");
    assert!(joins.compared > 250 && joins.same * 100 >= joins.compared * 95, "{joins:?}");
}

/// The history, the same as CSV in one file or two, and as Parquet, give the same decisions.
#[test]
fn history_and_files_give_the_same() {
    let recorded = Recorded::new("files", MORNING);
    recorded.out(&["backtest", "--decisions", "history.csv"]);
    let expected = recorded.read("history.csv");
    assert!(expected.lines().count() > 900, "{}", expected.lines().count());
    recorded.out(&["export", "--out", "all.csv"]);
    recorded.out(&["export", "--to", "2026-01-05T10:00", "--out", "first.csv"]);
    recorded.out(&["export", "--from", "2026-01-05T10:00", "--out", "second.csv"]);
    let runs: [&[&str]; 2] =
        [&["--data", "all.csv"], &["--data", "second.csv", "--data", "first.csv"]];
    for files in runs {
        let mut args = vec!["backtest", "--force", "--decisions", "files.csv"];
        args.extend(files);
        recorded.out(&args);
        assert!(recorded.read("files.csv") == expected, "{files:?}");
    }
    #[cfg(feature = "parquet")]
    {
        recorded.out(&["export", "--out", "all.parquet"]);
        let args = ["backtest", "--data", "all.parquet", "--decisions", "parquet.csv"];
        recorded.out(&args);
        assert!(recorded.read("parquet.csv") == expected);
        recorded.out(&["backtest", "--decisions", "decisions.parquet"]);
        assert_eq!(&std::fs::read(recorded.0.join("decisions.parquet")).unwrap()[..4], b"PAR1");
    }
    // A wide table holds the same values, without their quality; all of them were good.
    recorded.out(&["export", "--wide", "--out", "wide.csv"]);
    let wide: Json = serde_json::from_str(
        &recorded.out(&["backtest", "--data", "wide.csv", "--format", "json"]),
    )
    .unwrap();
    assert_eq!(wide["recipe"]["parts"], MORNING);
    // Tags that spoke once, 20 days before, are still known.
    let all = recorded.read("all.csv");
    let (titles, rows) = all.split_once('\n').unwrap();
    let tag = |row: &str| row.split(',').nth(1).unwrap().to_owned();
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    rows.lines().for_each(|row| *told.entry(tag(row)).or_default() += 1);
    let (once, often): (Vec<&str>, Vec<&str>) = rows.lines().partition(|row| told[&tag(row)] == 1);
    assert!(!once.is_empty(), "{told:?}");
    let before = once.iter().map(|row| row.replacen("2026-01-05", "2025-12-16", 1));
    let lines: Vec<String> = std::iter::once(titles.to_owned())
        .chain(before)
        .chain(often.iter().map(|row| (*row).to_owned()))
        .collect();
    recorded.write("before.csv", &(lines.join("\n") + "\n"));
    let from = ["--from", "2026-01-05T00:00", "--data", "before.csv"];
    recorded.out(&[&["backtest", "--force", "--decisions", "files.csv"], &from[..]].concat());
    assert!(recorded.read("files.csv") == expected, "{once:?}");
    // An hour is missing: one silence, and fewer parts.
    let kept: Vec<&str> = all.lines().filter(|row| !row.starts_with("2026-01-05T09")).collect();
    recorded.write("hole.csv", &(kept.join("\n") + "\n"));
    let args = ["backtest", "--data", "hole.csv", "--format", "json"];
    let hole: Json = serde_json::from_str(&recorded.out(&args)).unwrap();
    assert_eq!(hole["recipe"]["silences"], 1, "{hole}");
    let parts = hole["recipe"]["parts"].as_u64().unwrap();
    assert!((MORNING - 152..MORNING - 148).contains(&parts), "{parts}");
}

/// Gates pass and fail with their values; a changed recipe differs, the same one does not.
#[test]
fn gates_and_other_recipes() {
    let recorded = Recorded::new("gates", MORNING);
    recorded.write(
        "gates.toml",
        "min_parts = 400\nmin_labels = 50\n[loop.weight]\nmax_writes_per_hour = 150\n",
    );
    let out = recorded.out(&["backtest", "--gate", "gates.toml"]);
    assert_eq!(out.matches("gate passed").count(), 3, "{out}");
    assert!(out.contains("Not causal") && out.contains("not a safety system"), "{out}");
    recorded.write(
        "gates.toml",
        "min_parts = 400\nmax_writes_per_hour = 1\nnot_worse_than_other = true\n",
    );
    let (code, out, _) = recorded.says(&["backtest", "--gate", "gates.toml"]);
    assert_eq!(code, 1, "{out}");
    for part in ["TL0746", "NOT PASSED  max_writes_per_hour of loop weight", "--against names one"]
    {
        assert!(out.contains(part), "{part}: {out}");
    }
    let args = ["backtest", "--against", "housing-lid", "--format", "json"];
    let same: Json = serde_json::from_str(&recorded.out(&args)).unwrap();
    assert_eq!(same["recipe"], same["other"]);
    let paired = &same["comparison"]["loops"][1];
    assert_eq!((&paired["difference_max"], &paired["would_write"][1]), (&0.0.into(), &0.into()));
    assert!(paired["pairs"].as_u64().unwrap() > 400, "{paired}");
    let changed = recorded.read("recipes/housing-lid.toml");
    let changed = changed
        .replace(
            "above = \"720 bar\", clear = \"700 bar\"",
            "above = \"500 bar\", clear = \"490 bar\"",
        )
        .replace("lambda       = 0.3", "lambda       = 0.1")
        .replace("revision = 1 ", "revision = 2 ");
    std::fs::create_dir(recorded.0.join("next")).unwrap();
    recorded.write("next/housing-lid.toml", &changed);
    let args =
        ["backtest", "next/housing-lid.toml", "--against", "housing-lid", "--format", "json"];
    let other: Json = serde_json::from_str(&recorded.out(&args)).unwrap();
    // What the recipe in force gives does not depend on what it is held against.
    assert_eq!(other["other"], same["recipe"]);
    assert_eq!(other["recipe"]["revision"], 2);
    assert_ne!(other["recipe"]["findings"], other["other"]["findings"]);
    let paired = &other["comparison"]["loops"][1];
    assert!(paired["difference_max"].as_f64().unwrap() > 0.0, "{paired}");
    recorded.out(&[
        "backtest",
        "next/housing-lid.toml",
        "--against",
        "housing-lid",
        "--report",
        "out.html",
    ]);
    let page = recorded.read("out.html");
    for part in ["Not causal", "not a safety system", "housing-lid r2", "<svg", "Day by day"] {
        assert!(page.contains(part), "{part}");
    }
    for part in ["<script", "http:", "https:", "@import", "NaN"] {
        assert!(!page.contains(part), "{part}");
    }
}

/// What cannot be says what, where and what next, and leaves no file.
#[test]
fn mistakes_say_what_next() {
    let recorded = Recorded::new("mistakes", 50);
    recorded.out(&["export", "--tags", "melt_temp", "--out", "one.csv"]);
    recorded.out(&["export", "--every", "1m", "--out", "minutes.csv"]);
    recorded.out(&["export", "--out", "all.csv"]);
    let all = recorded.read("all.csv");
    recorded.write("kelvin.csv", &all.replace("melt_temp,degC", "melt_temp,K"));
    let mut rows: Vec<&str> = all.lines().collect();
    rows.swap(1, 400);
    recorded.write("swapped.csv", &rows.join("\n"));
    recorded.write("gates.toml", "min_detectd = 0.5\n");
    recorded.write("there.html", "mine");
    for (args, code, parts) in [
        (&["nothing-lid"][..], 2, &["TL0106", "nothing-lid", "housing-lid"][..]),
        (&["no.toml"], 2, &["TL0106", "no.toml"]),
        (&["--from", "1999-01-01", "--to", "1999-01-02"], 1, &["TL0721", "2026-01-05T08:00:00Z"]),
        (&["--last", "a week"], 2, &["TL0722", "7d"]),
        (&["--data", "one.csv"], 1, &["TL0740", "part_id", "housing-lid r1"]),
        (&["--data", "minutes.csv"], 4, &["TL0742", "minutes.csv", "roll-ups"]),
        (
            &["--data", "kelvin.csv"],
            1,
            &["TL0741", "melt_temp", "\"K\"", "\"degC\"", "kelvin.csv row"],
        ),
        (&["--data", "swapped.csv"], 4, &["TL0742", "row 3", "order of time"]),
        (&["--data", "all.csv", "--data", "all.csv"], 4, &["TL0742", "begins before"]),
        (&["--data", "trimloop.toml"], 4, &["TL0742", ".csv"]),
        (&["--gate", "gates.toml"], 2, &["TL0744", "gates.toml:1:1", "min_detected"]),
        (&["--gate", "none.toml"], 2, &["TL0743", "none.toml"]),
        (&["--report", "there.html"], 2, &["TL0723", "--force"]),
        (&["--decisions", "x.doc"], 2, &["TL0723", ".csv"]),
        (&["--decisions", "x.csv", "--from", "1999-01-01", "--to", "1999-01-02"], 1, &["TL0721"]),
    ] {
        let args: Vec<&str> = std::iter::once("backtest").chain(args.iter().copied()).collect();
        let (exit, out, said) = recorded.says(&args);
        assert_eq!(exit, code, "{args:?}: {out}{said}");
        for part in parts {
            assert!(said.contains(part), "{args:?}: {part:?} is missing in\n{said}");
        }
    }
    assert!(!recorded.is_there("x.csv"));
    assert_eq!(recorded.read("there.html"), "mine");
    std::fs::write(recorded.data().join("history-20260105.db"), vec![0x5a; 9000]).unwrap();
    let (exit, _, said) = recorded.says(&["backtest"]);
    assert!(exit == 4 && said.contains("history-20260105.db"), "{said}");
    let bare = Path::new("data");
    assert!(!bare.join("state.db").exists(), "tests leave nothing in the tree");
}
