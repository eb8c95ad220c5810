//! `trimloop data`: audit, lags and join, and rows out of a history.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod learn;

use learn::{BEGIN, Folder, TITLES, csv, process};
use trimloop::clock::Clock;
use trimloop::output::{Named, Names};
use trimloop::store::{Store, StoreOptions};
use trimloop_core::plan::FeatureId;
use trimloop_core::record::{FeatureRow, Record};
use trimloop_core::time::Utc;

/// The worst finding decides the exit code; the report is one page.
#[test]
fn audits_say_where_why_and_what_next() {
    let folder = Folder::new("data-audit");
    folder.write("good.csv", &csv(&TITLES, &process(1, BEGIN, 600, None)));
    let good = folder.json("data audit --data good.csv");
    assert_eq!(good["ok"], true, "{good}");
    let mut rows = process(1, BEGIN, 600, None);
    for cells in rows.iter_mut().skip(300) {
        let melt: f64 = cells[1].parse().unwrap();
        cells[1] = format!("{:.3}", melt + 273.15);
    }
    rows[50][3] = "99999".to_owned();
    folder.write("bad.csv", &csv(&TITLES, &rows));
    let output = folder.run("data audit --data bad.csv --report bad.html");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in
        ["problem [units] melt", "degC and K", "warning [outliers] fill", "rows 51", "next:"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let page = folder.read("bad.html");
    assert!(page.contains("degC and K") && page.contains("</html>"));
    // 600 rows with memory are few, which is a warning.
    assert_eq!(folder.run("data audit --data good.csv").status.code(), Some(0));
    assert_eq!(folder.run("data audit --data good.csv --deny-warnings").status.code(), Some(3));
}

/// A signal that leads by five rows is proposed so.
#[test]
fn lags_are_proposed() {
    let folder = Folder::new("data-lags");
    let rows = process(1, BEGIN, 600, None);
    let late: Vec<Vec<String>> = (5..600)
        .map(|row| rows[row][..6].iter().cloned().chain([rows[row - 5][6].clone()]).collect())
        .collect();
    folder.write("late.csv", &csv(&TITLES, &late));
    let found = folder.json("data lags --data late.csv --target weight --max-lag 20");
    let first = &found["lags"][0];
    assert_eq!((&first["column"], &first["lag"]), (&"fill".into(), &5.into()), "{found}");
}

/// Joining the same labels twice changes nothing.
#[test]
fn joins_are_idempotent() {
    let folder = Folder::new("data-join");
    folder.write("parts.csv", "part_id,x [bar]\n1,5\n2,6\n3,7\n");
    let once = "part_id,result\n1,19.5\n3,19.7\n";
    folder.write("lab.csv", once);
    folder.write("twice.csv", &format!("{once}1,19.5\n9,1\n"));
    folder.ok("data join --data parts.csv --labels lab.csv --by part_id --out a.csv");
    let told =
        folder.json("data join --data parts.csv --labels twice.csv --by part_id --out b.csv");
    assert_eq!(folder.read("a.csv"), "part_id,x [bar],result\n1,5,19.5\n2,6,\n3,7,19.7\n");
    assert_eq!(folder.read("b.csv"), folder.read("a.csv"));
    assert_eq!((&told["again"], &told["without_row"]), (&1.into(), &1.into()));
    let (code, text) = folder.fails("data join --data parts.csv --labels lab.csv --out c.csv");
    assert!(code == 2 && text.contains("--by"), "{text}");
}

/// Features of the store are rows like others; without rows there is an error, not an empty model.
#[test]
fn models_are_trained_on_the_history() {
    let folder = Folder::new("data-history");
    folder.write("trimloop.toml", "name = \"cell-1\"\n");
    let named = |name: &str, unit: &str| Named { name: name.into(), unit: unit.into() };
    let titles = ["melt", "mould", "fill", "hold", "cushion"];
    let store = Store::open(&StoreOptions {
        dir: folder.0.join("data"),
        names: Names { features: titles.map(|name| named(name, "bar")).into(), ..Names::default() },
        clock: Clock::start(),
        node: "cell-1".into(),
        recipe: "lid".into(),
        revision: 1,
        plan_hash: [1; 32],
    });
    let store = store.unwrap();
    let sender = store.sender();
    for (part, cells) in (1_i64..).zip(process(1, BEGIN, 400, None)) {
        let utc = Utc::from_nanos((BEGIN + 20 * part) * 1_000_000_000);
        for (id, cell) in (0..).zip(&cells[1..6]) {
            let row = FeatureRow {
                part,
                feature: FeatureId(id),
                value: cell.parse().ok(),
                coverage: 1.0,
            };
            sender.record(utc, Record::Feature(row));
        }
    }
    sender.barrier().unwrap();
    drop(sender);
    drop(store);
    let train = "model train --kind monitor --history features --out m";
    folder.ok(train);
    let shown = folder.json("model show m");
    assert_eq!(shown["inputs"].as_array().unwrap().len(), 5);
    assert_eq!(shown["inputs"][0]["unit"], "bar");
    let scores = folder.ok("model score --model m --history features --format csv");
    assert_eq!(scores.lines().count(), 401);
    let (_, text) = folder.fails(&format!("{train} --to 1999-01-01 --force"));
    assert!(text.contains("TL0721"), "{text}");
    let audit = folder.json("data audit --history features");
    assert_eq!(audit["rows"], 400);
    parquet(&folder);
}

/// What is exported as Parquet is the same table.
#[cfg(feature = "parquet")]
fn parquet(folder: &Folder) {
    for end in ["csv", "parquet"] {
        folder.ok(&format!("export features --wide --out parts.{end}"));
        folder.ok(&format!("model score --model m --data parts.{end} --output {end}.txt"));
    }
    assert_eq!(folder.read("parquet.txt").lines().count(), 401);
    let scores = |name: &str| -> Vec<String> {
        // Times are written with more digits there.
        folder.read(name).lines().map(|l| l.split_once(',').unwrap().1.to_owned()).collect()
    };
    assert_eq!(scores("parquet.txt"), scores("csv.txt"));
}

/// This build reads none.
#[cfg(not(feature = "parquet"))]
fn parquet(folder: &Folder) {
    folder.write("parts.parquet", "PAR1");
    let (code, text) = folder.fails("data audit --data parts.parquet");
    assert!(code == 1 && text.contains("feature `parquet`"), "{text}");
}
