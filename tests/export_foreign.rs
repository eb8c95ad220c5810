//! Exported files as foreign programs read them: DuckDB (CSV, Parquet) and openpyxl (XLSX).
//!
//! XLSX and Parquet are in builds with these features only:
//! `cargo test --features xlsx,parquet --test export_foreign`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/foreign.rs"]
mod foreign;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use trimloop::clock::Clock;
use trimloop::output::{Named, Names};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Utc};

use foreign::{or_skip, python_with};

/// 2026-11-22T10:00:00Z.
const T0: i64 = 1_795_341_600_000_000_000;
/// More than one row group of Parquet, 0.1 s apart.
const ROWS: i64 = 120_000;

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn value(row: i64) -> Option<f64> {
    (row % 1000 != 7).then(|| 220.0 + row as f64 / 1024.0)
}

/// A project whose history has [`ROWS`] rows of `melt_temp`; every thousandth has no value.
fn project(name: &str) -> Scratch {
    let dir = std::env::temp_dir().join(format!("trimloop-foreign-{name}-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&dir));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("trimloop.toml"), "name = \"cell-1\"\n").unwrap();
    let store = Store::open(&StoreOptions {
        dir: dir.join("data"),
        names: Names {
            tags: vec![Named { name: "melt_temp".into(), unit: "°C".into() }],
            ..Names::default()
        },
        clock: Clock::start(),
        node: "cell-1".into(),
        recipe: "lid".into(),
        revision: 1,
        plan_hash: [1; 32],
    })
    .unwrap();
    let sender = store.sender();
    for row in 0..ROWS {
        let utc = Utc::from_nanos(T0 + row * 100_000_000);
        let sample = Sample {
            tag: TagId(0),
            value: value(row).map(Value::Float),
            status: if value(row).is_some() { Status::Good } else { Status::Bad(0x8031_0000) },
            source_time: Some(utc),
            server_time: None,
            received: Mono::default(),
        };
        sender.samples(utc, &[sample]);
        if row % 20_000 == 0 {
            sender.barrier().unwrap();
        }
    }
    sender.barrier().unwrap();
    assert_eq!(sender.counts().samples_dropped, 0);
    Scratch(dir)
}

fn export(dir: &Path, args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trimloop"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRIMLOOP_") {
            command.env_remove(name);
        }
    }
    let output = command.current_dir(dir).arg("export").args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What a Python script prints as JSON.
fn python(python: &Path, dir: &Path, script: &str) -> Json {
    let output = Command::new(python).current_dir(dir).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Rows, values, their sum, the first and last time in microseconds, and rows that are Bad.
fn expected() -> Json {
    let values: Vec<f64> = (0..ROWS).filter_map(value).collect();
    let micros = |row: i64| T0 / 1000 + row * 100_000;
    serde_json::json!([
        ROWS,
        values.len(),
        values.iter().sum::<f64>(),
        micros(0),
        micros(ROWS - 1),
        ROWS - i64::try_from(values.len()).unwrap(),
    ])
}

fn duckdb(file: &str) -> String {
    format!(
        "import duckdb, json\n\
         db = duckdb.connect()\n\
         db.execute(\"SET TimeZone = 'UTC'\")\n\
         print(json.dumps(db.execute(\"\"\"SELECT count(*), count(value), sum(value),\n\
           epoch_us(min(time)::TIMESTAMPTZ), epoch_us(max(time)::TIMESTAMPTZ), count(*) FILTER (quality = 'bad')\n\
           FROM '{file}' WHERE tag = 'melt_temp' AND unit = '°C'\"\"\").fetchone()))"
    )
}

/// DuckDB reads the CSV by itself: times as times, nothing as nothing.
#[test]
fn duckdb_reads_csv() {
    let name = "duckdb_reads_csv";
    let Some(interpreter) = or_skip(name, python_with("export", "requirements-export.txt")) else {
        return;
    };
    let scratch = project("csv");
    export(&scratch.0, &["--out", "rows.csv"]);
    assert_eq!(python(&interpreter, &scratch.0, &duckdb("rows.csv")), expected());
}

/// DuckDB reads the Parquet file, over several row groups, with nanosecond times in UTC.
#[cfg(feature = "parquet")]
#[test]
fn duckdb_reads_parquet() {
    let name = "duckdb_reads_parquet";
    let Some(interpreter) = or_skip(name, python_with("export", "requirements-export.txt")) else {
        return;
    };
    let scratch = project("parquet");
    export(&scratch.0, &["--out", "rows.parquet"]);
    assert_eq!(python(&interpreter, &scratch.0, &duckdb("rows.parquet")), expected());
    let size = |name: &str| std::fs::metadata(scratch.0.join(name)).unwrap().len();
    export(&scratch.0, &["--out", "rows.csv"]);
    assert!(size("rows.parquet") * 5 < size("rows.csv"));
    export(&scratch.0, &["--wide", "--every", "1m", "--stat", "mean,count", "--out", "w.parquet"]);
    let script = "import duckdb, json\n\
        print(json.dumps(duckdb.execute(\"\"\"SELECT count(*), sum(\"melt_temp count\"),\n\
        max(\"melt_temp mean [°C]\") FROM 'w.parquet'\"\"\").fetchone(), default=str))";
    let found = python(&interpreter, &scratch.0, script);
    assert_eq!(found[0], 200);
    let good = (0..ROWS).filter_map(value).count();
    assert_eq!(found[1].to_string().trim_matches('"'), good.to_string());
}

/// openpyxl reads the XLSX file: dates are dates, numbers numbers, the header stands still.
#[cfg(feature = "xlsx")]
#[test]
fn openpyxl_reads_xlsx() {
    let name = "openpyxl_reads_xlsx";
    let Some(interpreter) = or_skip(name, python_with("export", "requirements-export.txt")) else {
        return;
    };
    let scratch = project("xlsx");
    export(&scratch.0, &["--to", "2026-11-22T10:10", "--out", "rows.xlsx"]);
    let script = "import openpyxl, json\n\
        book = openpyxl.load_workbook('rows.xlsx', read_only=True)\n\
        sheet = book.active\n\
        rows = [list(row) for row in sheet.iter_rows(values_only=True)]\n\
        first = rows[1]\n\
        print(json.dumps([sheet.title, rows[0], len(rows) - 1, first[0].isoformat(), first[1:],\n\
            sum(row[3] for row in rows[1:] if row[3] is not None),\n\
            sum(row[3] is None for row in rows[1:]), rows[2][0].isoformat()]))";
    let found = python(&interpreter, &scratch.0, script);
    let values: Vec<f64> = (0..6000).filter_map(value).collect();
    let header = ["time [UTC]", "tag", "unit", "value", "quality", "status", "stamp"];
    let expected = serde_json::json!([
        "samples",
        header,
        6000,
        "2026-11-22T10:00:00",
        ["melt_temp", "°C", 220, "good", 0, "source"],
        values.iter().sum::<f64>(),
        6000 - values.len(),
        "2026-11-22T10:00:00.100000",
    ]);
    assert_eq!(found, expected);
}
