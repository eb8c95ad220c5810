//! `trimloop model` as engineers use it: train, score, compare, bring into force, and every way in
//! which it must refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod learn;

use learn::{BEGIN, Folder, TITLES, csv, err, process};
use trimloop::clock::Clock;
use trimloop::output::Names;
use trimloop::store::{Store, StoreOptions};

const LATER: i64 = BEGIN + 86_400;

fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.write("trimloop.toml", "name = \"cell-1\"\n");
    folder.write("normal.csv", &csv(&TITLES, &process(1, BEGIN, 600, None)));
    folder.write("later.csv", &csv(&TITLES, &process(2, LATER, 600, None)));
    folder.write("fault.csv", &csv(&TITLES, &process(3, LATER, 300, Some(100))));
    folder
}

const TRAIN: &str = "model train --kind monitor --data normal.csv --ignore weight --out";

/// Cells of a column of a CSV text.
fn column(text: &str, name: &str) -> Vec<String> {
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap().split(',').collect();
    let place = titles.iter().position(|title| *title == name).unwrap_or_else(|| panic!("{name}"));
    lines.map(|line| line.split(',').nth(place).unwrap().to_owned()).collect()
}

fn share(cells: &[String], word: &str) -> f64 {
    cells.iter().filter(|cell| *cell == word).count() as f64 / cells.len() as f64
}

/// A monitor keeps quiet on fresh normal rows and finds the fault with its cause; twice the same
/// seed gives the same bytes, whatever the folder.
#[test]
fn a_monitor_is_trained_and_scores() {
    let folder = folder("model-monitor");
    folder.ok(&format!("{TRAIN} one --far 0.01"));
    folder.ok(&format!("{TRAIN} two --far 0.05"));
    folder.ok(&format!("{TRAIN} two --far 0.01"));
    let bytes = |dir: &str| std::fs::read(folder.0.join(dir).join("model.tlm")).unwrap();
    assert!(bytes("one") == bytes("two"));
    assert_eq!(folder.read("one/card.md"), folder.read("two/card.md"));
    let fresh = folder.ok("model score --model one --data later.csv --format csv");
    let titles = "time,alarm,score,threshold,t2,spe,domain,top1,top1_contribution,top2,";
    assert!(fresh.starts_with(titles), "{fresh:.200}");
    let alarms = column(&fresh, "alarm");
    assert_eq!(alarms.len(), 600);
    assert!(alarms.iter().all(|alarm| alarm == "0" || alarm == "1"));
    assert!(share(&alarms, "1") <= 0.04, "{}", share(&alarms, "1"));
    assert_eq!(column(&fresh, "time")[0], "2026-11-03T00:00:00Z");
    let fault = folder.ok("model score --model one --data fault.csv --format csv");
    let found = column(&fault, "alarm").split_off(110);
    assert!(share(&found, "1") >= 0.9, "{}", share(&found, "1"));
    assert!(share(&column(&fault, "top1").split_off(110), "cushion") >= 0.8);
    // The same by lines of JSON, into a file that is not written over.
    folder.ok("model score --model one --data fault.csv --format jsonl --output s.jsonl");
    assert_eq!(folder.read("s.jsonl").lines().count(), 300);
    let (code, text) = folder.fails("model score --model one --data fault.csv --output s.jsonl");
    assert!(code == 2 && text.contains("already"), "{text}");
}

/// What numbers the rows, or only rises with them, is no input: the rows after would all be unusual.
#[test]
fn counters_are_left_out() {
    let folder = folder("model-counters");
    let titles: Vec<&str> = TITLES.into_iter().chain(["part_id", "hours", "batch"]).collect();
    let rows = |seed: u64, begin: i64, first: usize| {
        let counted = process(seed, begin, 600, None).into_iter().zip(first..);
        let counted = counted.map(|(mut row, n)| {
            row.extend([n.to_string(), format!("{}", n as f64 * 0.125), (n / 20).to_string()]);
            row
        });
        csv(&titles, &counted.collect::<Vec<_>>())
    };
    folder.write("counted.csv", &rows(1, BEGIN, 1));
    folder.write("on.csv", &rows(2, LATER, 100_000));
    folder.ok("model train --kind monitor --data counted.csv --ignore weight,time --out m");
    let card = folder.read("m/card.md");
    for told in ["part_id numbers the rows", "hours only rises", "batch only rises"] {
        assert!(card.contains(told), "{card}");
    }
    let alarms = column(&folder.ok("model score --model m --data on.csv"), "alarm");
    assert!(share(&alarms, "1") <= 0.04, "{}", share(&alarms, "1"));
}

/// A missing value is told, keeps the alarm state, and spoils neither row count nor exit code.
#[test]
fn missing_values_are_marked() {
    let folder = folder("model-missing");
    folder.ok(&format!("{TRAIN} m"));
    let mut rows = process(3, LATER, 300, Some(100));
    rows[200][3] = "NaN".to_owned();
    rows[201][4] = String::new();
    folder.write("gaps.csv", &csv(&TITLES, &rows));
    let output = folder.run("model score --model m --data gaps.csv --format csv");
    assert_eq!(output.status.code(), Some(0));
    assert!(err(&output).contains("2 of 300 rows lack"), "{}", err(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let (alarms, domains) = (column(&text, "alarm"), column(&text, "domain"));
    assert_eq!(domains[200..202], ["missing", "missing"]);
    assert!(domains.iter().all(|d| ["in", "out", "missing"].contains(&d.as_str())));
    assert_eq!(alarms[200], alarms[199]);
    assert_eq!(alarms[201], alarms[199]);
}

/// Delimiter, decimal comma, units in a line of their own, other order of columns: the same scores.
#[test]
fn tables_are_read_however_they_are_written() {
    let folder = folder("model-dialects");
    folder.ok(&format!("{TRAIN} m"));
    let rows = process(2, LATER, 50, None);
    folder.write("plain.csv", &csv(&TITLES, &rows));
    let turned: String = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row[1..].iter().rev().map(|c| c.replace('.', ",")).collect();
            format!("{};{}\r\n", cells.join(";"), row[0])
        })
        .collect();
    let titles = "weight;cushion;hold;fill;mould;melt;time\r\ng;mm;bar;bar;°C;degC;\r\n";
    folder.write("comma.csv", &format!("\u{feff}{titles}{turned}"));
    let long: String = rows
        .iter()
        .flat_map(|row| {
            let tags = ["melt", "mould", "fill", "hold", "cushion"].into_iter();
            tags.zip(&row[1..]).map(|(tag, x)| format!("{},{tag},{x}\n", row[0]))
        })
        .collect();
    folder.write("long.csv", &format!("time,tag,value\n{long}"));
    let comma: String =
        long.lines().map(|line| line.replacen(',', ";", 2).replace('.', ",") + "\n").collect();
    folder.write("long_comma.csv", &format!("time;variable;value\n{comma}"));
    let by_part: String = rows
        .iter()
        .zip(1..)
        .flat_map(|(row, part)| {
            let tags = ["melt", "mould", "fill", "hold", "cushion"].into_iter();
            tags.zip(&row[1..]).map(move |(tag, x)| format!("L{part},{tag},{x}\n"))
        })
        .collect();
    folder.write("parts.csv", &format!("part_id,tag,value\n{by_part}"));
    let plain = folder.ok("model score --model m --data plain.csv");
    assert_eq!(folder.ok("model score --model m --data long_comma.csv"), plain);
    let parts = folder.ok("model score --model m --data parts.csv");
    assert_eq!(column(&parts, "score"), column(&plain, "score"));
    assert_eq!(folder.ok("model score --model m --data comma.csv"), plain);
    assert_eq!(folder.ok("model score --model m --data long.csv"), plain);
}

/// A soft sensor predicts with an interval that holds about as often as it says.
#[test]
fn a_soft_sensor_is_trained_and_scores() {
    let folder = folder("model-sensor");
    folder.ok("model train --kind regression --label weight --data normal.csv --out m");
    let text = folder.ok("model score --model m --data later.csv");
    let number = |name: &str| -> Vec<f64> {
        column(&text, name).iter().map(|cell| cell.parse().unwrap()).collect()
    };
    let truth: Vec<f64> =
        process(2, LATER, 600, None).iter().map(|row| row[6].parse().unwrap()).collect();
    let ends = number("low").into_iter().zip(number("high"));
    let held = ends.zip(&truth).filter(|((low, high), y)| low <= *y && *y <= high).count();
    assert!((0.84..=0.97).contains(&(held as f64 / 600.0)), "{held}");
    let (code, text) = folder.fails("model train --kind regression --data normal.csv --out n");
    assert!(code == 2 && text.contains("TL0527") && text.contains("--label"), "{text}");
}

/// The same by partial least squares: components in the card, the same bytes twice.
#[test]
fn a_soft_sensor_by_partial_least_squares() {
    let folder = folder("model-pls");
    let train =
        "model train --kind regression --learner pls --label weight --data normal.csv --out";
    let card = folder.ok(&format!("{train} one"));
    assert!(card.contains("partial least squares") && card.contains("Components, held-out"));
    folder.ok(&format!("{train} two"));
    let bytes = |dir: &str| std::fs::read(folder.0.join(dir).join("model.tlm")).unwrap();
    assert!(bytes("one") == bytes("two"));
    let text = folder.ok("model score --model one --data later.csv");
    let number = |name: &str| -> Vec<f64> {
        column(&text, name).iter().map(|cell| cell.parse().unwrap()).collect()
    };
    let truth: Vec<f64> =
        process(2, LATER, 600, None).iter().map(|row| row[6].parse().unwrap()).collect();
    let ends = number("low").into_iter().zip(number("high"));
    let held = ends.zip(&truth).filter(|((low, high), y)| low <= *y && *y <= high).count();
    assert!((0.84..=0.97).contains(&(held as f64 / 600.0)), "{held}");
    let squares: f64 = number("prediction").iter().zip(&truth).map(|(a, b)| (a - b).powi(2)).sum();
    assert!((squares / 600.0).sqrt() < 0.03, "{squares}");
}

/// MEWMA, CVA, combined and principal-component monitors keep quiet on fresh normal rows and find the fault; the card says when
/// rows are not what a MEWMA is for.
#[test]
fn other_monitors() {
    let folder = folder("model-monitors");
    for (learner, word) in [
        ("mewma", "remember one another"),
        ("cva", "canonical variates"),
        ("combined", "found together"),
        ("pca", "remember one another"),
        ("dpca --lags 2", "rows with the 2 rows before"),
    ] {
        let (of, learner) = (learner, learner.split(' ').next().unwrap());
        let card = folder.ok(&format!("{TRAIN} {learner} --learner {of}"));
        assert!(card.contains(word), "{card}");
        let fresh = folder.ok(&format!("model score --model {learner} --data later.csv"));
        let false_alarms = share(&column(&fresh, "alarm"), "1");
        assert!(false_alarms <= 0.04, "{learner}: {false_alarms}");
        let fault = folder.ok(&format!("model score --model {learner} --data fault.csv"));
        let found = share(&column(&fault, "alarm").split_off(110), "1");
        assert!(found >= 0.9, "{learner}: {found}");
    }
    // Rows without all their predecessors are not judged: at the start, after a gap, in a new file.
    let mut gap = process(2, LATER, 60, None);
    gap[30][3] = String::new();
    folder.write("gap.csv", &csv(&TITLES, &gap));
    folder.write("next.csv", &csv(&TITLES, &process(4, LATER + 86_400, 60, None)));
    let scored = folder.ok("model score --model dpca --data gap.csv next.csv");
    let missing: Vec<usize> = column(&scored, "domain")
        .iter()
        .enumerate()
        .filter_map(|(row, domain)| (domain == "missing").then_some(row))
        .collect();
    assert_eq!(missing, [0, 1, 30, 31, 32, 60, 61]);
    for line in ["--learner pca --lags 2", "--lags 1", "--learner dpca --lags 11"] {
        let (code, text) = folder.fails(&format!("{TRAIN} no {line}"));
        assert!(code == 2 && text.contains("--lags"), "{line}: {text}");
    }
}

/// Forecasts stand behind the scores, which stay as they are; intervals hold; a drift of the weight
/// is told with the time that is left; nonsense is refused.
#[test]
fn forecasts() {
    let folder = folder("model-forecast");
    folder.ok(&format!("{TRAIN} m"));
    folder.ok("model train --kind regression --label weight --data normal.csv --out w");
    let plain = folder.ok("model score --model m --data later.csv");
    let text = folder.ok("model score --model m --data later.csv --forecast 10");
    let last = ",forecast,forecast_low,forecast_high,time_to_limit,trend";
    assert!(text.lines().next().unwrap().ends_with(last));
    for (with, without) in text.lines().zip(plain.lines()) {
        assert!(with.starts_with(without));
    }
    let held = |text: &str, value: &str| {
        let number = |name: &str| -> Vec<Option<f64>> {
            column(text, name).iter().map(|cell| cell.parse().ok()).collect()
        };
        let (low, high, value) = (number("forecast_low"), number("forecast_high"), number(value));
        let rows = low.iter().zip(&high).zip(value.iter().skip(10));
        let known: Vec<bool> = rows
            .filter_map(|((low, high), x)| Some((*low)? <= (*x)? && (*x)? <= (*high)?))
            .collect();
        assert!(known.len() > 550, "{}", known.len());
        known.iter().filter(|held| **held).count() as f64 / known.len() as f64
    };
    let share = held(&text, "score");
    assert!((0.84..=0.97).contains(&share), "{share}");

    // The weight itself, not only its prediction, stays inside.
    let truth = process(2, LATER, 600, None);
    let text = folder.ok("model score --model w --data later.csv --forecast 10");
    let mut lines = text.lines();
    let mut with = format!("{},weight\n", lines.next().unwrap());
    for (line, row) in lines.zip(&truth) {
        with.push_str(&format!("{line},{}\n", row[6]));
    }
    let share = held(&with, "weight");
    assert!((0.84..=0.97).contains(&share), "{share}");

    // Pressure creeps up by 1 bar a row: 0.004 g, from 19.5 to 21 g in 375 rows.
    let mut drift = process(5, LATER, 300, None);
    for (row, cells) in drift.iter_mut().enumerate() {
        let fill: f64 = cells[3].parse().unwrap();
        cells[3] = format!("{:.4}", fill + row as f64);
    }
    folder.write("drift.csv", &csv(&TITLES, &drift));
    let line = "model score --model w --data drift.csv --forecast 50 --limit-high 21";
    let text = folder.ok(line);
    assert_eq!(column(&text, "trend")[250], "up");
    let time: f64 = column(&text, "time_to_limit")[250].parse().unwrap();
    assert!((75.0..=175.0).contains(&time), "{time}");
    assert_eq!(column(&text, "forecast")[0], "");

    for (more, why) in [
        ("--model m --data later.csv --forecast 0", "1 to 1000"),
        ("--model m --data later.csv --forecast 5 --limit-high 2", "threshold"),
        ("--model w --data later.csv --forecast 5 --limit-low 3 --limit-high 2", "below"),
    ] {
        let (code, text) = folder.fails(&format!("model score {more}"));
        assert!(code == 2 && text.contains(why), "{text}");
    }
}

/// Whatever is wrong is an error with its code and place, before anything is printed.
#[test]
fn what_is_wrong_is_told() {
    let folder = folder("model-wrong");
    folder.ok(&format!("{TRAIN} m"));
    let rows = process(2, LATER, 40, None);
    let with = |name: &str, titles: &[&str], rows: &[Vec<String>]| {
        folder.write(name, &csv(titles, rows));
    };
    with("three.csv", &TITLES, &rows[..3]);
    with("titles.csv", &TITLES, &[]);
    let mut swapped = TITLES;
    (swapped[1], swapped[3]) = ("melt [bar]", "fill [degC]");
    with("units.csv", &swapped, &rows);
    let mut bad = rows.clone();
    bad[4][2] = "6O.1".to_owned();
    with("cell.csv", &TITLES, &bad);
    bad[4][2] = "1e300".to_owned();
    with("huge.csv", &TITLES, &bad);
    let short: Vec<Vec<String>> = rows.iter().map(|row| row[..3].to_vec()).collect();
    with("short.csv", &TITLES[..3], &short);
    let empty: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            row.iter()
                .enumerate()
                .map(|(i, c)| if i == 3 { String::new() } else { c.clone() })
                .collect()
        })
        .collect();
    with("empty.csv", &TITLES, &empty);
    let class: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().cloned().chain(["ok".to_owned()]).collect()).collect();
    let classes: Vec<&str> = TITLES.into_iter().chain(["quality"]).collect();
    with("class.csv", &classes, &class);
    folder.write("numbers.csv", "1,2,3\n4,5,6\n");
    folder.write("ragged.csv", "time,melt\n1,2\n3\n");
    let model = std::fs::read(folder.0.join("m/model.tlm")).unwrap();
    std::fs::create_dir(folder.0.join("broken")).unwrap();
    for (at, name) in [(model.len() / 2, "a.tlm"), (9, "b.tlm"), (0, "c.tlm")] {
        let mut bytes = model.clone();
        bytes[at] ^= 0x55;
        std::fs::write(folder.0.join("broken").join(name), bytes).unwrap();
    }
    std::fs::write(folder.0.join("broken/d.tlm"), &model[..model.len() / 3]).unwrap();
    let train = |rest: &str| format!("model train {rest} --out x");
    let score = |data: &str| format!("model score --model m --data {data}");
    let cases = [
        (train("--kind monitor --data three.csv"), 1, "TL05", "3 rows"),
        (train("--kind monitor --data normal.csv --far 0.9"), 2, "TL0527", "--far 0.9"),
        (train("--kind monitor --data normal.csv --ignore wieght"), 1, "TL0523", "weight"),
        (
            train("--kind monitor --data normal.csv --calibration normal.csv"),
            2,
            "TL0527",
            "given twice",
        ),
        (train("--kind monitor --data normal.csv normal.csv"), 2, "TL0527", "given twice"),
        (train("--kind monitor --data huge.csv"), 1, "TL0526", "1e300 in row 5"),
        (train("--kind monitor --data numbers.csv"), 1, "TL0520", "titles"),
        (train("--kind monitor --data gone.csv"), 1, "TL0520", "gone.csv"),
        (train("--kind regression --label quality --data class.csv"), 1, "TL0526", "text"),
        (score("titles.csv"), 1, "TL0522", "titles only"),
        (score("empty.csv"), 1, "TL0522", "every row"),
        (score("units.csv"), 1, "TL0524", "\"bar\""),
        (score("cell.csv"), 1, "TL0521", "cell.csv:6:3"),
        (score("short.csv"), 1, "TL0523", "fill, hold, cushion"),
        (score("ragged.csv"), 1, "TL0520", "line 3"),
        ("model score --model gone --data later.csv".to_owned(), 2, "TL0513", "gone"),
        ("model score --model broken/a.tlm --data later.csv".to_owned(), 1, "TL0504", "damaged"),
        ("model score --model broken/b.tlm --data later.csv".to_owned(), 1, "TL05", "broken"),
        ("model score --model broken/c.tlm --data later.csv".to_owned(), 1, "TL0502", "TLMD"),
        ("model score --model broken/d.tlm --data later.csv".to_owned(), 1, "TL05", "broken"),
    ];
    for (line, exit, code, part) in cases {
        let (found, text) = folder.fails(&line);
        assert_eq!(found, exit, "{line}: {text}");
        assert!(
            text.contains(code) && text.contains(part) && text.contains("help:"),
            "{line}: {text}"
        );
        assert!(!folder.0.join("x").exists(), "{line} left a folder");
    }
}

/// Into force only by a passed backtest, a challenge and an approval; one command brings the one
/// before back. Every step is in the audit trail, whose chain stays whole.
#[test]
fn models_come_into_force_step_by_step() {
    let folder = folder("model-life");
    let store = Store::open(&StoreOptions {
        dir: folder.0.join("data"),
        names: Names::default(),
        clock: Clock::start(),
        node: "cell-1".into(),
        recipe: "lid".into(),
        revision: 1,
        plan_hash: [1; 32],
    });
    drop(store.unwrap());
    folder.ok(&format!("{TRAIN} models/press-r1"));
    let (code, text) = folder.fails("model promote press-r1");
    assert!(code == 1 && text.contains("TL0528") && text.contains("TRAINED"), "{text}");
    let (code, text) = folder.fails("model backtest press-r1 --data normal.csv");
    assert!(code == 2 && text.contains("trained on one of these files"), "{text}");
    // Faulty rows taken for normal: a gate that must not pass.
    let broken = folder.json("model backtest press-r1 --data fault.csv");
    assert_eq!((&broken["ok"], &broken["state"]), (&false.into(), &"trained".into()));
    let passed = folder.json("model backtest press-r1 --data later.csv");
    assert_eq!((&passed["ok"], &passed["state"]), (&true.into(), &"backtested".into()));
    let (_, text) = folder.fails("model approve press-r1");
    assert!(text.contains("model challenge"), "{text}");
    for step in ["challenge", "approve", "promote"] {
        folder.ok(&format!("model {step} press-r1 --reason trial"));
    }
    // What is in force is not trained over.
    let (code, text) = folder.fails(&format!("{TRAIN} models/press-r1"));
    assert!(code == 2 && text.contains("(ACTIVE)"), "{text}");
    // A second revision replaces the first.
    folder.ok(&format!("{TRAIN} models/press-r2 --seed 2 --name other"));
    folder.ok("model backtest press-r2 --data later.csv");
    // Nobody knows what it finds: no row of the backtest was labelled faulty.
    folder.ok("model challenge press-r2");
    let (code, text) = folder.fails("model approve press-r2");
    assert!(code == 1 && text.contains("not tried: faulty rows found"), "{text}");
    for step in ["approve", "promote"] {
        folder.ok(&format!("model {step} press-r2 --reason trial"));
    }
    let state = |name: &str| {
        let list = folder.json("model list");
        let models = list["models"].as_array().unwrap().clone();
        let found = models.iter().find(|model| model["model"] == name).unwrap();
        found["state"].as_str().unwrap().to_owned()
    };
    assert_eq!((state("press-r1"), state("press-r2")), ("retired".into(), "active".into()));
    // By its bare name the ACTIVE revision is meant.
    let shown = folder.json("model show press");
    assert_eq!(shown["card"]["id"], "other");
    folder.ok("model rollback press --reason false-alarms");
    assert_eq!((state("press-r1"), state("press-r2")), ("active".into(), "suspended".into()));
    // What was suspended does not come back by a second rollback, only by a person's approval.
    let (code, text) = folder.fails("model rollback press");
    assert!(
        code == 1 && text.contains("TL0528") && text.contains("press-r2 is SUSPENDED"),
        "{text}"
    );
    assert_eq!((state("press-r1"), state("press-r2")), ("active".into(), "suspended".into()));
    let trail = folder.ok("audit list --limit 100");
    for part in ["press-r1", "APPROVED to ACTIVE", "ACTIVE to SUSPENDED", "false-alarms"] {
        assert!(trail.contains(part), "{part} is not in\n{trail}");
    }
    let db = rusqlite::Connection::open(folder.0.join("data/state.db")).unwrap();
    // Trained twice, backtested twice, three steps each and the retired one, two of the rollback.
    assert_eq!(trimloop::store::verify_audit(&db).unwrap(), Ok(13));
    // Another artifact in the same folder voids the state.
    let other = folder.0.join("models/press-r2/model.tlm");
    std::fs::copy(other, folder.0.join("models/press-r1/model.tlm")).unwrap();
    let (_, text) = folder.fails("model show press-r1");
    assert!(text.contains("another model.tlm"), "{text}");
}

/// A state that was written into the file by hand is refused by whoever reads it.
#[test]
fn a_state_without_steps_is_refused() {
    let folder = folder("model-forged");
    folder.ok(&format!("{TRAIN} models/press-r1"));
    let file = folder.0.join("models/press-r1/lifecycle.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"trained\"", "\"approved\"")).unwrap();
    for line in ["promote press-r1", "show press-r1", "backtest press-r1 --data later.csv"] {
        let (code, text) = folder.fails(&format!("model {line}"));
        let parts = ["TL0530", "lifecycle.json", "says APPROVED", "lead to TRAINED", "help:"];
        assert!(code == 1 && parts.iter().all(|part| text.contains(part)), "{line}: {text}");
    }
}

/// A monitor must find labelled faults too: one that hardly ever alarms passes every other gate.
#[test]
fn a_backtest_asks_what_a_monitor_finds() {
    let folder = folder("model-finds");
    let mut labelled = process(3, LATER, 600, Some(300));
    for (row, cells) in labelled.iter_mut().enumerate() {
        cells.push(u8::from(row >= 300).to_string());
    }
    let titles: Vec<&str> = TITLES.into_iter().chain(["faulty"]).collect();
    folder.write("labelled.csv", &csv(&titles, &labelled));
    // The same rows with faults that are none.
    for (row, cells) in labelled.iter_mut().enumerate() {
        let last = cells.len() - 1;
        cells[last] = u8::from(row < 100).to_string();
    }
    folder.write("unseen.csv", &csv(&titles, &labelled[..300]));
    folder.ok(&format!("{TRAIN} m"));
    let gate = |line: &str| {
        let found = folder.json(line);
        let gates = found["gates"].as_array().unwrap().clone();
        let gate = gates.iter().find(|gate| gate["gate"] == "faulty rows found").unwrap().clone();
        (found["ok"].as_bool().unwrap(), gate)
    };
    let (ok, untried) = gate("model backtest m --data later.csv");
    assert!(ok && untried["passed"].is_null() && untried["value"].is_null(), "{untried}");
    let told = folder.ok("model backtest m --data later.csv");
    assert!(told.contains("not tried: no row is labelled faulty"), "{told}");
    let (ok, missed) = gate("model backtest m --data unseen.csv --label faulty");
    assert!(!ok && missed["passed"] == false, "{missed}");
    let (ok, found) = gate("model backtest m --data labelled.csv --label faulty");
    assert!(ok && found["passed"] == true && found["value"].as_f64() >= Some(0.5), "{found}");
}

/// Champion and challenger on the same rows, and reports with plots that hold no script.
#[test]
fn models_are_compared_and_shown() {
    let folder = folder("model-compare");
    folder.ok(&format!("{TRAIN} good --far 0.01"));
    folder.ok(&format!("{TRAIN} loud --far 0.2"));
    let found = folder.json("model compare good loud --data later.csv");
    assert_eq!(found["verdict"], "worse");
    let found = folder.json("model compare loud good --data later.csv");
    assert_eq!(found["verdict"], "better");
    let found = folder.json("model compare good good --data later.csv");
    assert_eq!(found["difference"]["mean"], 0.0);
    let mut labelled = process(3, LATER, 300, Some(100));
    for (row, cells) in labelled.iter_mut().enumerate() {
        cells.push(u8::from(row >= 100).to_string());
    }
    let titles: Vec<&str> = TITLES.into_iter().chain(["faulty"]).collect();
    folder.write("labelled.csv", &csv(&titles, &labelled));
    folder.ok("model show good --report g.html --data labelled.csv --label faulty");
    let page = folder.read("g.html");
    for part in ["ROC", "Precision and recall", "Score on labelled.csv", "cushion", "<svg", "limit"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains("NaN") && !page.contains("http"));
    let (_, text) = folder.fails("model show good --report g.html");
    assert!(text.contains("TL0723"), "{text}");
}

/// Rows that moved are told with their column, and take an ACTIVE model out of force when asked to.
#[test]
fn drift_is_told() {
    let folder = folder("model-drift");
    folder.ok(&format!("{TRAIN} m-r1"));
    let quiet = folder.json("model drift m-r1 --data later.csv");
    assert_eq!(quiet["ok"], true, "{quiet}");
    folder.ok("model backtest m-r1 --data later.csv");
    for step in ["challenge", "approve", "promote"] {
        folder.ok(&format!("model {step} m-r1 --reason trial"));
    }
    let moved = folder.json("model drift m-r1 --data fault.csv --suspend");
    assert_eq!((&moved["ok"], &moved["state"]), (&false.into(), &"suspended".into()));
    let findings = moved["findings"].as_array().unwrap();
    let drifting: Vec<&str> = findings
        .iter()
        .filter(|found| found["drifts"] == true)
        .map(|found| found["of"].as_str().or(found["place"].as_str()).unwrap())
        .collect();
    assert_eq!(drifting, ["cushion", "the score, EWMA"], "{moved}");
}

/// An exported model and the rows that onnxruntime scored, in a folder; `label` is the title that its
/// scores get, with half a unit more or less on every other row.
fn exported(name: &str, label: &str) -> (Folder, String) {
    let folder = Folder::new(&format!("model-import-{name}"));
    folder.write("trimloop.toml", "name = \"cell-1\"\n");
    let from = std::path::Path::new("tests/learn/onnx").join(name);
    std::fs::copy(from.with_extension("onnx"), folder.0.join("m.onnx")).unwrap();
    let scores = std::fs::read_to_string(from.with_extension("csv")).unwrap();
    let mut lines = scores.lines();
    lines.next().unwrap();
    let row = |(place, line): (usize, &str)| {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        let off = if place % 2 == 0 { 0.5 } else { -0.5 };
        let last = cells.last().unwrap().parse::<f64>().unwrap() + off;
        cells.truncate(4);
        cells.push(last.to_string());
        cells
    };
    let rows: Vec<_> = lines.enumerate().map(row).collect();
    let titles = ["a [bar]", "b", "c", "d [degC]", label];
    folder.write("rows.csv", &csv(&titles, &rows));
    let twice: Vec<_> = rows.iter().chain(&rows).rev().cloned().collect();
    folder.write("later.csv", &csv(&titles, &twice));
    (folder, scores)
}

/// Numbers of a column.
fn numbers(text: &str, name: &str) -> Vec<f64> {
    column(text, name).iter().map(|cell| cell.parse().unwrap()).collect()
}

/// A soft sensor of boosted trees: never in its domain before rows and labels were shown; then it
/// scores as onnxruntime did, passes its backtest and goes the way of every model.
#[test]
fn an_onnx_soft_sensor_is_taken_over() {
    let (folder, scores) = exported("xgb-reg", "y");
    let expect = numbers(&scores, "prediction");
    let bare = "model import m.onnx --inputs a,b,c,d --unit d=degC";
    let output = folder.run(&format!("{bare} --out bare"));
    let told = err(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("always out of its domain") && told.contains("no interval"), "{told}");
    let text = folder.ok("model score --model bare --data rows.csv --format csv");
    assert!(text.starts_with("time,prediction,low,high,domain,top1,top1_contribution,"), "{text}");
    assert!(column(&text, "domain").iter().all(|domain| domain == "out"));
    assert!(column(&text, "low").iter().all(String::is_empty));
    let output = folder.run("model backtest bare --data later.csv --label y");
    let why = err(&output);
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(why.contains("not passed: in the domain, inside the interval"), "{why}");

    let whole = "--domain rows.csv --calibration rows.csv --label y --inputs rows.csv --out whole";
    folder.ok(&format!("model import m.onnx {whole}"));
    let text = folder.ok("model score --model whole --data rows.csv --format csv");
    let (said, low) = (numbers(&text, "prediction"), numbers(&text, "low"));
    assert_eq!(said.len(), expect.len());
    for ((said, low), expect) in said.iter().zip(low).zip(expect) {
        assert!((said - expect).abs() <= 1e-5 * expect.abs(), "{said} {expect}");
        // Nine tenths of the errors are half a unit.
        assert!((said - low - 0.5).abs() < 1e-3, "{said} {low}");
    }
    assert!(column(&text, "domain").iter().all(|domain| domain == "in"));
    let bytes = std::fs::read(folder.0.join("whole/model.tlm")).unwrap();
    folder.ok(&format!("model import m.onnx {whole}"));
    assert!(bytes == std::fs::read(folder.0.join("whole/model.tlm")).unwrap());

    let shown = folder.json("model show whole");
    assert_eq!(shown["life"]["state"], "trained");
    let card = shown["card"].to_string();
    for part in ["m.onnx", "OnnxMLTools", "SHA-256 of the file", "ai.onnx.ml", "spans of 60 rows"] {
        assert!(card.contains(part), "{part}: {card}");
    }
    let units: Vec<_> = shown["inputs"].as_array().unwrap().iter().map(|i| &i["unit"]).collect();
    assert_eq!(units, ["bar", "", "", "degC"]);
    let (_, why) = folder.fails("model backtest whole --data rows.csv --label y");
    assert!(why.contains("trained on one of these files"), "{why}");
    folder.ok("model backtest whole --data later.csv --label y");
    folder.ok("model compare whole whole --data later.csv --label y");
    folder.ok("model challenge whole");
    folder.ok("model show whole --report r.html --data later.csv --label y");
}

/// Classifiers of trees, of linear terms and of networks: classes and probabilities are those of
/// onnxruntime.
#[test]
fn onnx_classifiers_are_taken_over() {
    for name in ["lgb-multi", "skl-logistic-bin", "gemm-multi"] {
        let (folder, scores) = exported(name, "y");
        let inputs = "--inputs a,b,c,d --label quality --domain rows.csv --out m";
        folder.ok(&format!("model import m.onnx {inputs}"));
        let text = folder.ok("model score --model m --data rows.csv --format csv");
        let classes = if name == "skl-logistic-bin" { 2 } else { 3 };
        if name == "gemm-multi" {
            let shown = folder.ok("model show m");
            assert!(shown.contains("a neural network of layers "), "{shown}");
        }
        let mut best = vec![(-1.0, 0); 60];
        for class in 0..classes {
            let title = format!("p_{class}");
            let (said, expect) = (numbers(&text, &title), numbers(&scores, &title));
            for ((said, expect), best) in said.iter().zip(&expect).zip(&mut best) {
                assert!((said - expect).abs() <= 1e-5 * expect.max(0.01), "{said} {expect}");
                if *expect > best.0 {
                    *best = (*expect, class);
                }
            }
        }
        let best: Vec<_> = best.iter().map(|(_, class)| class.to_string()).collect();
        assert_eq!(column(&text, "class"), best);
        assert!(column(&text, "domain").iter().all(|domain| domain == "in"));
        let gap = "a,b,c,d\n1,,3,4\n1,2,3,4\n";
        folder.write("gap.csv", gap);
        let text = folder.ok("model score --model m --data gap.csv --format csv");
        assert_eq!(column(&text, "domain")[0], "missing");
    }
}

/// What the file or the people leave open is asked for; what does not fit is refused.
#[test]
fn onnx_imports_are_refused() {
    let (folder, _) = exported("skl-gb-bin", "y");
    folder.write("m.pkl", "no model at all");
    folder.write("few.csv", "a,b,c,d\n1,2,3,4\n");
    folder.write("bar.csv", &csv(&["a [MPa]", "b", "c", "d"], &vec![vec!["1".to_owned(); 4]; 40]));
    let named = "m.onnx --inputs a,b,c,d";
    for (line, code, words) in [
        ("m.onnx", 2, "does not name its 4 inputs"),
        ("m.onnx --inputs a,b,c", 2, "has 4 inputs, 3 are named"),
        ("m.onnx --inputs a,b,c,c", 1, "listed twice"),
        ("m.onnx --inputs rows.csv", 2, "5 are named"),
        ("m.pkl --inputs a,b", 1, "TL0540"),
        ("none.onnx", 1, "TL0520"),
        (&*format!("{named} --unit e=bar"), 2, "no input of that name"),
        (&*format!("{named} --unit a"), 2, "NAME=UNIT"),
        (&*format!("{named} --domain few.csv"), 1, "1 rows are whole, 30 are needed"),
        (&*format!("{named} --domain bar.csv --unit a=bar"), 1, "TL0524"),
        ("m.onnx --inputs a,b,c,e --domain rows.csv", 1, "TL0523"),
        (&*format!("{named} --calibration rows.csv"), 2, "--label"),
        (&*format!("{named} --calibration rows.csv --label y"), 2, "predict a number"),
    ] {
        let (found, text) = folder.fails(&format!("model import {line} --out m"));
        assert!(found == code && text.contains(words), "{line}: {found} {text}");
        assert!(!folder.0.join("m").exists(), "{line}");
    }
}
