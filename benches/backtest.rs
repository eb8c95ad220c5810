//! How fast a backtest is, and how much memory it takes:
//! `cargo bench --features parquet --bench backtest`.
//!
//! The shipped recipe with so many further tags that 200 are recorded, each once a second; a part
//! ends every 30 s, every tenth is measured. First one day from the history that the store itself
//! wrote, then 30 days (`TRIMLOOP_BENCH_DAYS`) from Parquet files as `trimloop export` writes them,
//! one for each day. Files are made in the system's temporary folder, about 4 GB of them. The memory
//! is the peak of the resident set (`VmHWM`) while the backtest runs.
//!
//! Goals on 2 cores: the day in 20 s, the 30 days in 300 s, 512 MB for both.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "its result")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use trimloop::backtest::{BacktestSettings, Data, GAP, backtest};
use trimloop::clock::Clock;
use trimloop::export::{Cell, Column, FileFormat, Kind, OutputFile};
use trimloop::output::{Names, Zone};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Utc};
use trimloop_recipe::{Bound, Models, bind, check, check_plc_config};

const TAGS: usize = 200;
/// 2026-11-01T00:00:00Z.
const BEGIN: i64 = 1_793_491_200_000_000_000;
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;
/// Seconds of one part.
const PART: i64 = 30;

/// The shipped recipe with further tags, [`TAGS`] in all.
fn bound() -> Bound {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let with = |further: usize| {
        let (mut recipe, mut plc) =
            (read("recipes/housing-lid.toml"), read("plc-configs/press-4.toml"));
        for n in 0..further {
            write!(
                recipe,
                "\n[tag.further_{n}]\nunit = \"bar\"\nrange = [\"0 bar\", \"1000 bar\"]\nwatch = true\n"
            )
            .unwrap();
            write!(plc, "\n[node.further_{n}]\nid = \"press:s=Further{n}\"\ntype = \"Double\"\n")
                .unwrap();
        }
        let recipe = check("recipes/housing-lid.toml", &recipe).0.unwrap();
        let plc = check_plc_config("plc-configs/press-4.toml", &plc).0.unwrap();
        let models = Models::read(&root.join("models"), recipe.model_files());
        bind(&recipe, std::slice::from_ref(&plc), &models).unwrap()
    };
    let own = with(0).plan.tags.len();
    with(TAGS - own)
}

/// What a tag reads at a second.
fn value(name: &str, second: i64) -> Value {
    let part = second / PART;
    // One number in -1..1 for each tag and second.
    let noise = |salt: i64| {
        let x = (second * 6_364_136_223_846_793_005 + salt).wrapping_mul(1_442_695_040_888_963_407);
        ((x >> 33) % 2000) as f64 / 1000.0 - 1.0
    };
    let salt: i64 = name.bytes().map(i64::from).sum();
    let near = |middle: f64, width: f64| Value::Float(middle + width * noise(salt));
    match name {
        "part_id" => Value::Int(1 + part),
        "insp_part_id" => Value::Int(((part - 2) / 10 * 10).max(0)),
        "insp_weight" => Value::Float(19.42 + 0.1 * ((part / 10) as f64 * 0.37).sin()),
        "insp_ok" | "door_closed" | "enable" => Value::Bool(true),
        "fallback_active" => Value::Bool(false),
        "machine_state" => Value::Int(6),
        "product_id" => Value::Int(1),
        "clock" => Value::Int((BEGIN / 1_000_000) + second * 1000),
        "heartbeat_out" => Value::Int(0),
        "hold_pressure_sp" => Value::Float(360.0),
        "hold_pressure_min" => Value::Float(290.0),
        "hold_pressure_max" => Value::Float(430.0),
        "cool_time_sp" => Value::Float(16.0),
        "cool_time_min" => Value::Float(14.0),
        "cool_time_max" => Value::Float(20.0),
        "melt_temp" => near(220.0, 0.4),
        "mould_temp" => near(40.0 + 3.0 * (second as f64 / 20_000.0).sin(), 0.2),
        "coolant_temp" => near(30.0, 0.2),
        "injection_peak_pressure" => near(650.0 + 80.0 * (second as f64 / 9_000.0).sin(), 5.0),
        "fill_time" => near(1.5, 0.05),
        "fill_pressure_integral" => near(700.0, 20.0),
        "cushion" => near(5.53, 0.1),
        "plasticising_time" => near(9.0, 0.2),
        "cycle_time" => near(30.0, 0.1),
        _ => near(300.0, 40.0),
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("trimloop-bench-backtest-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// One day, by the store.
fn record(bound: &Bound, dir: &Path) {
    let store = Store::open(&StoreOptions {
        dir: dir.to_owned(),
        names: Names::of(&bound.plan),
        clock: Clock::start(),
        node: "bench".into(),
        recipe: bound.plan.name.clone(),
        revision: bound.plan.revision,
        plan_hash: bound.plan.hash,
    })
    .unwrap();
    let sender = store.sender();
    let mut samples = Vec::with_capacity(TAGS);
    for second in 0..DAY {
        let utc = Utc::from_nanos(BEGIN + second * SECOND);
        samples.clear();
        samples.extend((0_u16..).zip(&bound.plan.tags).map(|(tag, plan)| Sample {
            tag: TagId(tag),
            value: Some(value(&plan.name, second)),
            status: Status::Good,
            source_time: Some(utc),
            server_time: None,
            received: Mono::default(),
        }));
        sender.samples(utc, &samples);
        if second % 50 == 49 {
            sender.barrier().unwrap();
        }
    }
    sender.barrier().unwrap();
    assert_eq!(sender.counts().samples_dropped, 0);
}

/// One day of Parquet, as exported.
fn export(bound: &Bound, path: &Path, day: i64) {
    let columns: Vec<Column> = [
        ("time", Kind::Time(9)),
        ("tag", Kind::Text),
        ("unit", Kind::Text),
        ("value", Kind::Number),
        ("quality", Kind::Text),
        ("status", Kind::Int),
        ("stamp", Kind::Text),
    ]
    .map(|(name, kind)| Column::new(name, kind))
    .into();
    let file = OutputFile::begin(path, true).unwrap();
    let mut sheet = file.sheet(FileFormat::Parquet, &columns, Zone::Utc, "samples").unwrap();
    for second in day * DAY..(day + 1) * DAY {
        for tag in &bound.plan.tags {
            let value = match value(&tag.name, second) {
                Value::Float(x) => Cell::Float(x),
                Value::Int(i) => Cell::Int(i),
                Value::Bool(b) => Cell::Int(i64::from(b)),
            };
            sheet
                .row(&[
                    Cell::Time(BEGIN + second * SECOND),
                    Cell::Text(tag.name.as_str().into()),
                    Cell::Text(tag.unit.as_str().into()),
                    value,
                    Cell::Text("good".into()),
                    Cell::Int(0),
                    Cell::Text("source".into()),
                ])
                .unwrap();
        }
    }
    sheet.finish().unwrap();
    file.keep().unwrap();
}

/// Peak of the resident set since the last time it was asked [MB].
fn peak_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    kib / 1024.0
}

fn test(clock: Clock, bound: &Bound, what: &str, open: impl FnOnce() -> Data) {
    peak_mb();
    let begun = clock.mono();
    let data = open();
    let opened = (clock.mono() - begun).as_secs_f64();
    let settings = BacktestSettings {
        plan: &bound.plan,
        other: None,
        from: None,
        to: None,
        lead_in: None,
        gap: GAP,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let stop = AtomicBool::new(false);
    let report = backtest(&data, &settings, None, &mut |_| (), &stop).unwrap();
    let seconds = (clock.mono() - begun).as_secs_f64();
    println!(
        "{what:24} {seconds:7.1} s  ({opened:.1} s to look at the files)  {:6.0} MB peak  {} samples, \
         {} scans, {} parts, {} labels",
        peak_mb(),
        report.recipe.samples,
        report.recipe.scans,
        report.recipe.parts,
        report.recipe.findings.labels,
    );
}

fn main() {
    let clock = Clock::start();
    let bound = bound();
    assert_eq!(bound.plan.tags.len(), TAGS);
    let scratch = Scratch::new();
    let dir = scratch.0.join("data");
    record(&bound, &dir);
    println!("a day of history made in {:.0} s", (clock.mono() - Mono::default()).as_secs_f64());
    test(clock, &bound, "1 day, SQLite", || Data::store(&dir).unwrap());
    if FileFormat::Parquet.missing_feature().is_some() {
        println!("no Parquet: --features parquet");
        return;
    }
    let days = std::env::var("TRIMLOOP_BENCH_DAYS").ok().and_then(|text| text.parse().ok());
    let days: i64 = days.unwrap_or(30);
    let path = |day: i64| scratch.0.join(format!("day-{day:03}.parquet"));
    let begun = clock.mono();
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (bound, path) = (&bound, &path);
            scope.spawn(move || {
                for day in (half..days).step_by(2) {
                    export(bound, &path(day), day);
                }
            });
        }
    });
    println!("{days} days of Parquet made in {:.0} s", (clock.mono() - begun).as_secs_f64());
    let files: Vec<PathBuf> = (0..days).map(path).collect();
    test(clock, &bound, &format!("{days} days, Parquet"), || Data::files(&files).unwrap());
}
