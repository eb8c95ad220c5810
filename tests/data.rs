//! `trimloop data`: audit, lags, join, labels and capability, and rows out of a history.

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

/// Imported twice, a table changes nothing; a correction keeps what it corrects, and an old table
/// does not bring it back. Rows find their labels by part, in training too.
#[test]
fn labels_are_kept_by_part() {
    let folder = Folder::new("data-labels");
    folder.write("trimloop.toml", "name = \"cell-1\"\n");
    let mut parts = "part_id,melt [degC],fill [bar]\n".to_owned();
    let mut lab = "part_id,weight [g],source\n".to_owned();
    for (part, cells) in (1..).zip(process(1, BEGIN, 300, None)) {
        parts.push_str(&format!("{part},{},{}\n", cells[1], cells[3]));
        lab.push_str(&format!("{part:04},{},scale\n", cells[6]));
    }
    folder.write("parts.csv", &parts);
    folder.write("lab.csv", &lab);
    let import = |what: &str| {
        let told = folder.json(&format!("data labels import {what}"));
        let of = &told["imported"][0];
        ["added", "same", "changed", "outdated"].map(|key| of[key].as_u64().unwrap())
    };
    assert_eq!(import("lab.csv"), [300, 0, 0, 0]);
    assert_eq!(import("lab.csv"), [0, 300, 0, 0]);
    folder.write(
        "new.json",
        r#"{"items": [{"part": "0007", "weight [g]": 19.25, "source": "scale"}]}"#,
    );
    assert_eq!(import("new.json --items /items"), [0, 0, 1, 0]);
    assert_eq!(import("lab.csv"), [0, 299, 0, 1]);
    let kept = folder.ok("data labels list --part 0007 --all --format csv");
    let kept: Vec<Vec<&str>> = kept.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((kept.len(), kept[2][3], kept[2][6], kept[2][8]), (3, "19.25", "2", "new.json"));
    // What is listed can be imported again.
    folder.write("all.csv", &folder.ok("data labels list --format csv"));
    assert_eq!(import("all.csv"), [0, 300, 0, 0]);
    folder.ok("data join --data parts.csv --stored --by part_id --out joined.csv");
    let joined = folder.read("joined.csv");
    assert!(joined.starts_with("part_id,melt [degC],fill [bar],weight [g]\n"), "{joined}");
    assert!(joined.lines().nth(7).unwrap().ends_with(",19.25"));
    folder.ok("model train --kind regression --label weight --data parts.csv --out m");
    let shown = folder.json("model show m");
    let inputs: Vec<&str> =
        shown["inputs"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    assert_eq!(inputs, ["melt", "fill"]);
    // Nothing is taken of a table in another unit, or without parts.
    folder.write("kg.csv", "part_id,weight [kg],source\n0009,0.0195,scale\n");
    let (code, text) = folder.fails("data labels import kg.csv");
    assert!(code == 1 && text.contains("TL0718") && text.contains("\"kg\""), "{text}");
    folder.write("bad.csv", "part_id,weight [g]\n,19.5\n");
    assert!(folder.fails("data labels import bad.csv").1.contains("line 2: there is no part id"));
    let (_, text) = folder.fails("data labels list --part 9999");
    assert!(text.contains("TL0721"), "{text}");
}

/// Labels by HTTP: with the token of a file, and each refusal by its code.
#[test]
fn labels_come_over_http() {
    let folder = Folder::new("data-labels-http");
    folder.write("trimloop.toml", "name = \"cell-1\"\n");
    folder.write("token", "secret-1\n");
    let answers = [
        (
            200,
            r#"[{"part": 7, "characteristic": "ok", "value": true, "time": "2026-11-22T10:00:00Z"}]"#,
        ),
        (200, "part;ok\n7;1\n8;0\n"),
        (401, "no secret-1 here"),
        (302, ""),
        (503, ""),
        (200, "[{]"),
    ];
    let (port, server) = http(&answers);
    let url = format!("http://127.0.0.1:{port}/labels?key=hidden");
    let import = format!("data labels import --from-url {url} --token-file token");
    let told = folder.json(&import);
    assert_eq!(told["imported"][0]["added"], 1, "{told}");
    assert!(!told.to_string().contains("hidden"));
    let told = folder.json(&import);
    assert_eq!(
        (&told["imported"][0]["added"], &told["imported"][0]["same"]),
        (&1.into(), &1.into())
    );
    for (code, exit, part) in [
        ("TL0714", 1, "HTTP 401"),
        ("TL0714", 1, "HTTP 302"),
        ("TL0713", 4, "HTTP 503"),
        ("TL0520", 1, "key must be a string"),
    ] {
        let (found, text) = folder.fails(&import);
        assert!(found == exit && text.contains(code) && text.contains(part), "{found} {text}");
        assert!(!text.contains("secret-1"), "{text}");
    }
    for request in server.join().unwrap() {
        let head = request.to_ascii_lowercase();
        assert!(head.starts_with("get /labels?key=hidden http/1.1"), "{head}");
        assert!(head.contains("authorization: bearer secret-1"), "{head}");
    }
    let (code, text) = folder.fails(&import);
    assert!(code == 4 && text.contains("TL0713"), "{text}");
    let (code, text) = folder.fails("data labels import --from-url lims.plant/labels");
    assert!(code == 2 && text.contains("is no address"), "{text}");
}

/// A server that gives each answer once, in turn; what it was asked.
fn http(answers: &[(u16, &'static str)]) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answers = answers.to_vec();
    let server = std::thread::spawn(move || {
        let serve = |(status, body): (u16, &str)| {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                request.push(byte[0]);
            }
            let head = format!(
                "HTTP/1.1 {status} x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        };
        answers.into_iter().map(serve).collect()
    });
    (port, server)
}

/// Capability of a table: known numbers, withheld where the process is not stable, refused where
/// nothing can be said.
#[test]
fn capability_of_a_column() {
    let folder = Folder::new("data-capability");
    let mut table = "part,width [mm],moved [mm]\n".to_owned();
    for part in 0..200 {
        let x = 10.0 + [0.0, 0.1, -0.1, 0.0][part % 4];
        let moved = x + if part < 40 { 0.2 } else { 0.0 };
        table.push_str(&format!("{part},{x:.1},{moved:.1}\n"));
    }
    table.push_str("200,,\n");
    folder.write("parts.csv", &table);
    let ask = "data capability --data parts.csv --column width,moved --lower 9.4 --upper 10.5";
    let found = folder.json(ask);
    let width = &found["columns"][0];
    let overall = (1.0_f64 / 199.0).sqrt();
    let near = |value: &serde_json::Value, expect: f64| {
        let x = value.as_f64().unwrap();
        assert!((x - expect).abs() < 1e-9, "{x} instead of {expect}");
    };
    near(&width["pp"]["value"], 1.1 / 6.0 / overall);
    near(&width["ppk"]["value"], 0.5 / 3.0 / overall);
    let within = 20.0 / 199.0 / std::f64::consts::FRAC_2_SQRT_PI;
    near(&width["cp"]["value"], 1.1 / 6.0 / within);
    assert_eq!((&width["missing"], &width["unit"]), (&1.into(), &"mm".into()));
    let moved = &found["columns"][1];
    assert_eq!((&moved["stable"], moved["cp"].is_null()), (&false.into(), true), "{found}");
    let text = folder.ok(ask);
    for part in ["width [mm], tolerance 9.4 to 10.5", "withheld", "stretch 1 of 5", "95 %)"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let csv = folder.ok(&format!("{ask} --format csv"));
    assert!(csv.starts_with("column,unit,lower,upper,parts,independent,"), "{csv}");
    assert!(csv.lines().nth(2).unwrap().contains(",false,,,,,,,"), "{csv}");
    let one = "data capability --data parts.csv --tolerance width=..10.5";
    assert!(folder.ok(one).contains("one limit only"));
    for (line, exit, part) in [
        ("data capability --data parts.csv --column width --lower 11 --upper 9", 1, "below"),
        ("data capability --data parts.csv --tolerance widht=1..2", 1, "did you mean"),
        ("data capability --data parts.csv --tolerance width=1", 2, "no tolerance"),
        ("data capability --data parts.csv", 2, "--column"),
    ] {
        let (code, text) = folder.fails(line);
        assert!(code == exit && text.contains(part), "{line}: {code} {text}");
    }
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
    folder.write("lab.csv", "part,ok\n7,1\n400,0\n");
    folder.ok("data labels import lab.csv");
    folder.ok("data join --history features --stored --by part --out joined.csv");
    let joined = folder.read("joined.csv");
    assert!(joined.lines().next().unwrap().starts_with("time,part,") && joined.contains(",7,"));
    let labelled = joined.lines().filter(|line| line.ends_with(",1") || line.ends_with(",0"));
    assert_eq!(labelled.count(), 2);
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
