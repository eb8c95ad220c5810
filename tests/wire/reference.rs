//! Real data, played by a foreign server: moulded parts one by one, and a chemical process that
//! drifts off.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};
use trimloop::dispatch::Seen;
use trimloop_core::event::What;
use trimloop_core::plan::{FeatureId, Model};
use trimloop_core::record::Record;
use trimloop_recipe::artifact::{Artifact, FeatureSpec, Header};
use trimloop_recipe::{Bound, Models};
use trimloop_train::{PcaOptions, Table, fit_pca};

use crate::foreign::{ForeignServer, Kind, or_skip, reference_data};
use crate::rig::{LIMIT, Rig, bound, server_with};

on_each_stack!(every_part_arrives_once_with_its_values, a_fault_is_told_after_it_begins);

/// Several parts fall into one message of the server, which orders it by tag. Only asyncua: its
/// stamps have microseconds, those of node-opcua cannot tell parts apart that are so close.
#[test]
fn parts_in_one_message_are_told_apart() {
    parts_arrive("parts_in_one_message_are_told_apart", Kind::Asyncua, 4);
}

/// So close together that some have the same stamp on node-opcua, which has milliseconds: whose
/// values are whose nobody can tell then, but none of the parts is lost.
#[test]
fn no_part_is_lost_with_equal_stamps() {
    let test = "no_part_is_lost_with_equal_stamps";
    let Some((_, kept)) = keep_parts(test, Kind::NodeOpcua, 4) else { return };
    let ids: Vec<i64> = (1..=PARTS as i64).collect();
    let lost: Vec<_> = ids.iter().filter(|id| !kept.parts.contains(id)).collect();
    println!("{test}: {} parts kept, lost {lost:?}", kept.parts.len());
    assert_eq!(kept.parts, ids);
}

/// Injection-moulded parts played.
const PARTS: usize = 400;
/// Normal rows of the chemical process, how many of them train, rows with fault 1.
const NORMAL: usize = 500;
const TRAINING: usize = 350;
const FAULTY: usize = 200;
const ROW_MS: u32 = 20;

/// A CSV file of numbers.
struct Numbers {
    path: PathBuf,
    names: Vec<String>,
    rows: Vec<Vec<f64>>,
}

/// The columns of a reference file but for one; `None` where there is no such file.
fn numbers(test: &str, file: &str, without: &str) -> Option<Numbers> {
    let path = or_skip(test, reference_data(file))?;
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let wanted: Vec<usize> = (0..header.len()).filter(|at| header[*at] != without).collect();
    let row = |line: &str| -> Vec<f64> {
        let cells: Vec<&str> = line.split(',').collect();
        wanted.iter().map(|at| cells[*at].parse().unwrap()).collect()
    };
    let rows = lines.filter(|line| !line.is_empty()).map(row).collect();
    let names = wanted.iter().map(|at| header[*at].to_owned()).collect();
    Some(Numbers { path, names, rows })
}

impl Numbers {
    fn server(&self, test: &str, kind: Kind) -> Option<(ForeignServer, Value)> {
        let mut tags = vec![json!({"id": "Row", "type": "Int32"})];
        tags.extend(self.names.iter().map(|name| json!({"id": name, "type": "Double"})));
        let tags = Value::from(tags);
        Some((server_with(test, kind, 0, &tags)?, tags))
    }

    /// A PLC config and a recipe with one feature per column, a part per row.
    fn bound(&self, url: &str, rest: &str, models: &Models) -> Bound {
        let mut plc = format!(
            "[plc]\nname = \"played\"\nurl = \"{url}\"\npublishing = \"10 ms\"\n\
             namespaces = {{ f = \"urn:trimloop:foreign\" }}\nsecurity = \"none\"\n\
             [node.row]\nid = \"f:s=Row\"\ntype = \"Int32\"\nqueue = 50\n"
        );
        let mut recipe = "[recipe]\nname = \"played\"\nrevision = 1\nplc = \"played\"\n\
             [cycle]\nfinished = \"row\"\nwarm_up = 0\n[tag.row]\n"
            .to_owned();
        for name in &self.names {
            writeln!(plc, "[node.{name}]\nid = \"f:s={name}\"\ntype = \"Double\"\nqueue = 50")
                .unwrap();
            writeln!(recipe, "[tag.{name}]").unwrap();
            writeln!(recipe, "[feature.{name}]\ntag = \"{name}\"\ntake = \"last\"\nwatch = true")
                .unwrap();
        }
        recipe += rest;
        bound(("played", &recipe), ("played", &plc), models)
    }

    fn play(&self, server: &ForeignServer, to: usize, period_ms: u32) {
        let columns: serde_json::Map<String, Value> =
            self.names.iter().map(|name| (name.clone(), name.clone().into())).collect();
        server.ask(json!({"cmd": "play", "file": self.path, "columns": columns, "edge": "Row",
            "to": to, "period_ms": period_ms}));
        server.wait_event("played", LIMIT);
    }
}

/// Waits until part `id` has been made.
fn wait_part(rig: &Rig, id: usize) {
    rig.log.wait(
        &format!("part {id}"),
        0,
        |seen| matches!(seen, Seen::Record(_, Record::Part(row)) if row.part == id as i64),
    );
}

/// Each row of the file is one part with exactly its values: none lost, none twice, in order.
fn every_part_arrives_once_with_its_values(test: &str, kind: Kind) {
    parts_arrive(test, kind, 25);
}

/// Plays the parts; the file, and what the store kept of them.
fn keep_parts(test: &str, kind: Kind, period_ms: u32) -> Option<(Numbers, Kept)> {
    let data = numbers(test, "injection/injection_train.csv", "quality")?;
    assert_eq!(data.names.len(), 13);
    let (server, tags) = data.server(test, kind)?;
    let rig = Rig::of(test, server, tags, |url| data.bound(url, "", &Models::new()));
    data.play(&rig.server, PARTS, period_ms);
    wait_part(&rig, PARTS);
    let dir = rig.finish().unwrap();
    let kept = Kept::read(&dir);
    std::fs::remove_dir_all(dir).unwrap();
    Some((data, kept))
}

fn parts_arrive(test: &str, kind: Kind, period_ms: u32) {
    let Some((data, kept)) = keep_parts(test, kind, period_ms) else { return };
    let ids: Vec<i64> = (1..=PARTS as i64).collect();
    assert_eq!(kept.parts, ids, "one part per row, in order");
    let mut wrong = Vec::new();
    for (part, row) in (1..).zip(&data.rows[..PARTS]) {
        for (name, expect) in data.names.iter().zip(row) {
            let got = kept.features.iter().filter(|f| f.0 == part && f.1 == *name);
            let got: Vec<Option<f64>> = got.map(|f| f.2).collect();
            if got != [Some(*expect)] {
                wrong.push(format!("part {part} {name}: {got:?}, not {expect}"));
            }
        }
    }
    println!(
        "{test}: {} parts with {} values, {} of them wrong",
        ids.len(),
        kept.features.len(),
        wrong.len()
    );
    assert_eq!(kept.features.len(), PARTS * data.names.len());
    assert!(
        wrong.is_empty(),
        "{} wrong, the first: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(8)]
    );
    // Nobody saw the first part begin.
    assert_eq!(kept.gaps, [1]);
}

/// What the store kept of one run.
struct Kept {
    parts: Vec<i64>,
    gaps: Vec<i64>,
    /// Part, feature, value.
    features: Vec<(i64, String, Option<f64>)>,
}

impl Kept {
    fn read(dir: &Path) -> Self {
        let mut kept = Self { parts: Vec::new(), gaps: Vec::new(), features: Vec::new() };
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                name.starts_with("history-") && name.ends_with(".db")
            })
            .collect();
        // Two when the run went past midnight.
        files.sort();
        for file in files {
            let database = Connection::open(&file).unwrap();
            let mut query =
                database.prepare("SELECT part, gap FROM part ORDER BY boot, number").unwrap();
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            for (part, gap) in rows.map(|row: rusqlite::Result<(i64, i64)>| row.unwrap()) {
                kept.parts.push(part);
                kept.gaps.extend((gap != 0).then_some(part));
            }
            let sql =
                "SELECT part, name, value FROM feature JOIN name ON name.id = feature.feature";
            let mut query = database.prepare(sql).unwrap();
            let rows =
                query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
            kept.features.extend(rows.map(|row| row.unwrap()));
        }
        kept
    }
}

/// A PCA monitor of the first 350 normal rows of the Tennessee Eastman process stays silent for
/// all 500, and its signature comes on after fault 1 begins.
fn a_fault_is_told_after_it_begins(test: &str, kind: Kind) {
    let folder = "tennessee_eastman";
    let Some(normal) = numbers(test, &format!("{folder}/train_normal.csv"), "time_min") else {
        return;
    };
    let Some(faulty) = numbers(test, &format!("{folder}/train_fault_01.csv"), "time_min") else {
        return;
    };
    assert_eq!((normal.names.len(), &normal.names), (52, &faulty.names));
    let mut models = Models::new();
    models.insert("monitor", monitor(test, &normal));
    let Some((server, tags)) = normal.server(test, kind) else { return };
    let signature = "[model.monitor]\nfile = \"monitor\"\n[signature.upset]\nneed = 3\nof = 5\n\
        when = { any = [{ t2 = \"monitor\", above = 1.0, clear = 0.8 }, \
        { spe = \"monitor\", above = 1.0, clear = 0.8 }] }\n";
    let rig = Rig::of(test, server, tags, |url| normal.bound(url, signature, &models));
    normal.play(&rig.server, NORMAL, ROW_MS);
    wait_part(&rig, NORMAL);
    faulty.play(&rig.server, FAULTY, ROW_MS);
    wait_part(&rig, NORMAL + FAULTY);

    let told = rig.log.since(0);
    let told = |wanted: fn(&What) -> bool| -> Vec<i64> {
        let events = told.iter().filter_map(|seen| match seen {
            Seen::Event(_, event) if wanted(&event.what) => Some(event.part),
            _ => None,
        });
        events.collect()
    };
    let alarms = told(|what| matches!(what, What::Alarm(_, true)));
    let signatures = told(|what| matches!(what, What::Signature(_, true)));
    let change = NORMAL as i64;
    let early = alarms.iter().filter(|row| **row <= change).collect::<Vec<_>>();
    println!(
        "{test}: signature on at rows {signatures:?}; the fault begins with row {}",
        change + 1
    );
    println!("{test}: {} single alarms before it, at rows {early:?}", early.len());
    let first = signatures.first().copied();
    assert!(first.is_some_and(|row| row > change), "{signatures:?}");
    assert!(first.is_some_and(|row| row <= change + 100), "{signatures:?}");
    std::fs::remove_dir_all(rig.finish().unwrap()).unwrap();
}

/// The monitor as an artifact. Columns that never change in training tell nothing and stay out.
fn monitor(test: &str, normal: &Numbers) -> Vec<u8> {
    let rows = &normal.rows[..TRAINING];
    let changes = |at: &usize| rows.iter().any(|row| (row[*at] - rows[0][*at]).abs() > 0.0);
    let kept: Vec<usize> = (0..normal.names.len()).filter(changes).collect();
    let names: Vec<String> = kept.iter().map(|at| normal.names[*at].clone()).collect();
    let rows: Vec<Vec<f64>> =
        rows.iter().map(|row| kept.iter().map(|at| row[*at]).collect()).collect();
    let fit = fit_pca(&Table::new(names.clone(), &rows).unwrap(), &PcaOptions::default()).unwrap();
    println!(
        "{test}: {} columns, {} components, {:.1} % of held-out rows alarm",
        names.len(),
        fit.components,
        100.0 * fit.report.held_out
    );
    let ids: Vec<FeatureId> = (0..names.len()).map(|at| FeatureId(at as u16)).collect();
    let header = Header {
        id: "monitor-r1".to_owned(),
        kind: trimloop_recipe::artifact::Kind::Pca,
        features: names.into_iter().map(|name| FeatureSpec { name, unit: String::new() }).collect(),
        recipe: "played r1".to_owned(),
        rows: rows.len() as u64,
        window: None,
        seed: 1,
        note: String::new(),
    };
    Artifact::new(header, &Model::Pca(fit.plan(&ids).unwrap())).unwrap().write()
}
