//! One spoilt table for each check, and a clean one that is left in peace.

use std::path::Path;

use super::*;
use crate::learn::FrameBuilder;
use crate::learn::evaluate::Random;
use crate::learn::frame::Cell;

/// Rows of noise: `a`, `b` independent, `label` 0 or 1 by noise.
fn table(n: usize) -> Vec<[f64; 3]> {
    let mut random = Random(5);
    let mut uniform = || random.below(1 << 30) as f64 / f64::from(1 << 30);
    (0..n)
        .map(|_| {
            let bell = |u: f64| u * 2.0 - 1.0;
            [10.0 + bell(uniform()), 5.0 + bell(uniform()), f64::from(u8::from(uniform() > 0.6))]
        })
        .collect()
}

fn frame(rows: &[[f64; 3]], time: impl Fn(usize) -> i64) -> Frame {
    let mut builder = FrameBuilder::default();
    let columns = ["a", "b", "label"].map(|name| (name.to_owned(), "bar".to_owned()));
    let places = builder.begin(Path::new("t.csv"), &columns, Some("time")).unwrap();
    for (row, values) in rows.iter().enumerate() {
        for (place, x) in places.iter().zip(values) {
            let cell = if x.is_nan() { Cell::Missing } else { Cell::Number(*x) };
            builder.cell(*place, cell);
        }
        let utc = time(row) * 1_000_000_000;
        builder.at(&utc.to_string(), utc, f64::NAN);
        builder.end_row();
    }
    builder.finish().unwrap()
}

fn steady(row: usize) -> i64 {
    1_700_000_000 + 10 * i64::try_from(row).unwrap()
}

fn checks(frame: &Frame) -> Vec<(Severity, &'static str, String)> {
    let found = audit(frame, Some("label")).unwrap().findings;
    found.into_iter().map(|f| (f.severity, f.check, f.place)).collect()
}

/// Clean rows give no problem and no warning.
#[test]
fn clean_rows_are_left_in_peace() {
    let found = checks(&frame(&table(600), steady));
    assert!(found.iter().all(|(severity, ..)| *severity == Severity::Note), "{found:?}");
}

/// Each way of spoiling the table is found, at its place, and as bad as it is.
#[test]
fn spoilt_rows_are_found() {
    type Spoil = fn(&mut Vec<[f64; 3]>);
    let cases: [(Spoil, Severity, &str, &str); 13] = [
        (|t| t.iter_mut().take(400).for_each(|r| r[0] = f64::NAN), Severity::Problem, "gaps", "a"),
        (
            |t| t.iter_mut().skip(100).take(60).for_each(|r| r[0] = 10.1),
            Severity::Warning,
            "frozen",
            "a",
        ),
        (
            // Lost every third row.
            |t| {
                for (i, r) in t.iter_mut().skip(100).take(60).enumerate() {
                    r[0] = if i % 3 == 1 { f64::NAN } else { 10.1 };
                }
            },
            Severity::Warning,
            "frozen",
            "a",
        ),
        (|t| t[77][1] = 500.0, Severity::Warning, "outliers", "b"),
        (|t| t.iter_mut().for_each(|r| r[0] = r[0].round()), Severity::Note, "quantised", "a"),
        (
            |t| {
                for (place, r) in t.iter_mut().enumerate() {
                    // Little noise: the middles of two parts differ by the units alone.
                    r[0] = (10.0 + 0.1 * (r[0] - 10.0)) * if place < 300 { 1.0 } else { 10.0 };
                }
            },
            Severity::Problem,
            "units",
            "a",
        ),
        (
            |t| {
                for (place, r) in t.iter_mut().enumerate() {
                    let celsius = 60.0 + r[0];
                    r[0] = if place < 300 { celsius } else { 1.8 * celsius + 32.0 };
                }
            },
            Severity::Problem,
            "units",
            "a",
        ),
        (
            |t| {
                for (place, r) in t.iter_mut().enumerate() {
                    // Within a tenth of the rows, not between two.
                    r[0] = (10.0 + 0.1 * (r[0] - 10.0)) * if place < 510 { 1.0 } else { 1000.0 };
                }
            },
            Severity::Problem,
            "units",
            "a",
        ),
        (|t| t.iter_mut().for_each(|r| r[1] = 3.0), Severity::Note, "constant", "b"),
        (
            |t| t.iter_mut().enumerate().for_each(|(i, r)| r[1] = i as f64),
            Severity::Warning,
            "counter",
            "b",
        ),
        (
            |t| {
                let first: Vec<_> = t[..50].to_vec();
                t.extend(first);
            },
            Severity::Warning,
            "duplicates",
            "rows",
        ),
        (|t| t.iter_mut().for_each(|r| r[1] += 9.0 * r[2]), Severity::Problem, "leakage", "b"),
        (
            |t| t.iter_mut().enumerate().for_each(|(i, r)| r[2] = f64::from(u8::from(i < 12))),
            Severity::Problem,
            "balance",
            "label",
        ),
    ];
    for (spoil, severity, check, place) in cases {
        let mut rows = table(600);
        spoil(&mut rows);
        let found = checks(&frame(&rows, steady));
        let expect = (severity, check, place.to_owned());
        assert!(found.contains(&expect), "{expect:?} is not in {found:?}");
    }
}

/// Time: backwards, doubles, a gap, an hour.
#[test]
fn clocks_are_looked_at() {
    let rows = table(300);
    let back = frame(&rows, |row| steady(row) - if row == 100 { 50 } else { 0 });
    assert!(checks(&back).contains(&(Severity::Problem, "clock", "time".to_owned())));
    let turned = |row: usize| steady(1000) - steady(row) + if row == 100 { 900 } else { 0 };
    let found = audit(&frame(&rows, turned), None).unwrap().findings;
    let clock: Vec<&str> =
        found.iter().filter(|f| f.place == "time").map(|f| f.what.as_str()).collect();
    assert!(
        clock[0].contains("reversed order") && clock[1].contains("goes back 1 times"),
        "{clock:?}"
    );
    let gap = frame(&rows, |row| steady(row) + if row >= 100 { 500 } else { 0 });
    assert!(checks(&gap).contains(&(Severity::Warning, "gaps", "time".to_owned())));
    let hour = frame(&rows, |row| steady(row) + if row >= 100 { 3600 } else { 0 });
    let found = audit(&hour, None).unwrap().findings;
    assert!(found.iter().any(|f| f.what.contains("jumps by an hour")), "{found:?}");
}

/// A class of one stretch only, labels that were given more often at one time, and rows with a label
/// that differ in spread or in a text; rows chosen at random, or every third, do not.
#[test]
fn labels_of_a_time() {
    let found = |rows: &[[f64; 3]]| {
        let found = audit(&frame(rows, steady), Some("label")).unwrap().findings;
        let bias = found.into_iter().filter(|f| f.check == "bias");
        bias.map(|f| f.what).collect::<Vec<String>>()
    };
    let mut rows = table(600);
    rows.iter_mut().skip(250).take(60).for_each(|r| r[2] = 2.0);
    let what = found(&rows);
    assert!(what.len() == 1 && what[0].contains("all 60 rows of 2 lie between"), "{what:?}");

    let mut rows = table(600);
    rows.iter_mut().enumerate().filter(|(i, _)| i % 3 > 0).for_each(|(_, r)| r[2] = f64::NAN);
    assert!(found(&rows).is_empty());
    rows.iter_mut().skip(180).take(60).for_each(|r| r[2] = 1.0);
    let what = found(&rows);
    assert!(what.iter().any(|w| w.contains("100 % of those from")), "{what:?}");

    // The same mean, another spread.
    let mut rows = table(600);
    for row in rows.iter_mut().filter(|row| (row[1] - 5.0).abs() < 0.4) {
        row[2] = f64::NAN;
    }
    let what = found(&rows);
    assert!(what.len() == 1 && what[0].contains("b is at most"), "{what:?}");
}

/// Rows with a label that are of one grade mostly.
#[test]
fn labels_of_a_grade() {
    let mut builder = FrameBuilder::default();
    let columns = ["x", "grade", "label"].map(|name| (name.to_owned(), String::new()));
    let places = builder.begin(Path::new("t.csv"), &columns, None).unwrap();
    for (row, values) in table(400).iter().enumerate() {
        builder.cell(places[0], Cell::Number(values[0]));
        let grade = if row % 2 == 0 { "M" } else { "L" };
        builder.cell(places[1], Cell::Text(grade, 1, 1));
        if row % 2 == 0 || row % 7 == 0 {
            builder.cell(places[2], Cell::Number(values[2]));
        }
        builder.end_row();
    }
    let found = audit(&builder.finish().unwrap(), Some("label")).unwrap().findings;
    assert!(
        found.iter().any(|f| f.what.contains("no label") && f.what.contains("grade is")),
        "{found:?}"
    );
}

/// Labels that come in stretches, and rows that were not chosen at random.
#[test]
fn bias_is_found() {
    let mut rows = table(600);
    rows.iter_mut().enumerate().for_each(|(i, r)| r[2] = f64::from(u8::from(i < 300)));
    assert!(checks(&frame(&rows, steady)).contains(&(
        Severity::Warning,
        "bias",
        "label".to_owned()
    )));
    let mut rows = table(600);
    for row in rows.iter_mut().filter(|row| row[0] < 10.0) {
        row[2] = f64::NAN;
    }
    let found = audit(&frame(&rows, steady), Some("label")).unwrap().findings;
    assert!(found.iter().any(|f| f.check == "bias" && f.what.contains("no label")), "{found:?}");
}
