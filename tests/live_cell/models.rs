//! Trained models in a cell: what runs live is what scores files, signatures explain themselves,
//! drift is told and steps down, and a challenger only watches.
//!
//! Press and core run in virtual time, their rows go through the real store.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use rusqlite::Connection;
use trimloop::clock::Clock;
use trimloop::output::Names;
use trimloop::store::{Store, StoreOptions};
use trimloop_core::drift::DriftCheck;
use trimloop_core::event::What;
use trimloop_core::mode::Mode;
use trimloop_core::plan::{LoopId, ModelId};
use trimloop_recipe::{Bound, Project};
use trimloop_simulator::Scenario;
use trimloop_simulator::fault::{FaultKind, ScheduledFault};

use super::learn::Folder;
use super::world::{World, shipped};

/// Part from which a barrel zone is 14 K cold.
const COLD: u64 = 300;
const UPSTREAM: &str =
    "fill_pressure,fill_work,melt_temp,mould_temp,cushion,plasticising_time,screw_torque";

/// What a run told.
struct Told {
    events: Vec<(u64, What)>,
    bound: Bound,
    world: World,
}

impl Told {
    /// Part of the first such event since the zone is cold: a new lot may have brought one before.
    fn first(&self, is: impl Fn(&What) -> bool) -> Option<u64> {
        let mut since = self.events.iter().filter(|(part, _)| *part >= COLD);
        since.find(|(_, what)| is(what)).map(|(part, _)| *part)
    }

    fn model(&self, name: &str) -> ModelId {
        let place = self.bound.plan.models.iter().position(|model| model.name == name);
        ModelId(u16::try_from(place.unwrap_or_else(|| panic!("no {name}"))).unwrap())
    }

    fn signature(&self, name: &str) -> impl Fn(&What) -> bool {
        let place = self.bound.plan.signatures.iter().position(|s| s.name == name).unwrap();
        move |what| matches!(what, What::Signature(id, true) if id.index() == place)
    }

    fn loop_id(&self, name: &str) -> LoopId {
        let place = self.bound.plan.loops.iter().position(|of| of.name == name).unwrap();
        LoopId(u16::try_from(place).unwrap())
    }
}

/// A project in a folder of `folder`: files of the plan, settings, data.
fn project(folder: &Folder, name: &str, bound: &Bound) {
    for file in &bound.files {
        let path = folder.0.join(name).join(&file.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &file.bytes).unwrap();
    }
    folder.write(&format!("{name}/trimloop.toml"), "name = \"press-4\"\n");
}

/// Runs the press, its zone cold within `cold`, and keeps the rows.
fn run(
    folder: &Folder,
    name: &str,
    bound: Bound,
    (seed, parts): (u64, u64),
    cold: &[Range<u64>],
) -> Told {
    let store = Store::open(&StoreOptions {
        dir: folder.0.join(name).join("data"),
        names: Names::of(&bound.plan),
        clock: Clock::start(),
        node: "press-4".to_owned(),
        recipe: bound.plan.name.clone(),
        revision: bound.plan.revision,
        plan_hash: bound.plan.hash,
    })
    .unwrap();
    let mut scenario = Scenario::named("nominal").unwrap();
    let fault = |of: &Range<u64>| ScheduledFault::new(of.start, of.end, FaultKind::Heater(-14.0));
    scenario.faults = cold.iter().map(fault).collect();
    let mut world = World::new(&bound, scenario, seed, true);
    world.store = Some(store.sender());
    for parts in (50..=parts).step_by(50) {
        world.produce(parts);
        store.sender().barrier().unwrap();
    }
    let counts = store.sender().counts();
    assert_eq!((counts.rows_lost, counts.samples_dropped), (0, 0));
    Told { events: std::mem::take(&mut world.run.events), bound, world }
}

/// The shipped recipe with the models of `folder`/live in it.
fn extended(folder: &Folder, more: &str) -> Bound {
    let text = std::fs::read_to_string(folder.0.join("live/recipes/housing-lid.toml")).unwrap();
    // The weight loop asks the trained monitor, so that it rests on it.
    let text = text.replacen("domain        = \"upstream\"", "domain        = \"press\"", 1);
    folder.write("live/recipes/housing-lid.toml", &(text + more));
    let project = Project::read(&folder.0.join("live")).unwrap();
    let recipe = project.recipe("housing-lid");
    project.bind(recipe.unwrap()).unwrap_or_else(|found| panic!("{found:?}"))
}

const MODELS: &str = r#"
[model.press]
file       = "press-r1"
on_drift   = "shadow"
challenger = "press-r2"
forecast   = { ahead = 20 }

[model.zone]
file = "zone-r1"

[model.lagged]
file = "lagged-r1"

[signature.unlike]
when = { any = [
  { t2 = "press", above = 1.0, clear = 0.8 },
  { spe = "press", above = 1.0, clear = 0.8 },
] }

[signature.cold_zone]
when = { probability = "zone", class = "1", above = 0.6, clear = 0.4 }
"#;

/// A table of features with a column `state`: 1 for parts within `cold`, else 0.
fn labelled(text: &str, cold: &[Range<u64>]) -> String {
    let mut lines = text.lines();
    let titles = lines.next().unwrap();
    let part = titles.split(',').position(|title| title == "part").unwrap();
    let mut out = format!("{titles},state\n");
    for line in lines {
        let number: u64 = line.split(',').nth(part).unwrap().parse().unwrap();
        let state = u8::from(cold.iter().any(|of| of.contains(&number)));
        out.push_str(&format!("{line},{state}\n"));
    }
    out
}

/// Rows of a query over the day files of a project, first column the part.
fn rows(dir: &Path, sql: &str) -> BTreeMap<i64, Vec<Option<f64>>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir.join("data")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("history-") || !name.ends_with(".db") {
            continue;
        }
        let db = Connection::open(&path).unwrap();
        let mut query = db.prepare(sql).unwrap();
        let columns = query.column_count();
        let rows = query.query_map([], |row| {
            let cells = (1..columns).map(|column| row.get::<_, Option<f64>>(column));
            Ok((row.get::<_, i64>(0)?, cells.collect::<Result<Vec<_>, _>>()?))
        });
        found.extend(rows.unwrap().map(Result::unwrap));
    }
    found
}

fn cells<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let mut lines = text.lines();
    let place = lines.next().unwrap().split(',').position(|title| title == name);
    let place = place.unwrap_or_else(|| panic!("no column {name}"));
    lines.map(|line| line.split(',').nth(place).unwrap()).collect()
}

/// Scores of a model as the cell stored them, in the order of the parts.
fn stored(dir: &Path, model: &str) -> Vec<(i64, Vec<Option<f64>>)> {
    let sql = format!(
        "SELECT s.part, s.value, s.in_domain, s.alarm FROM score s JOIN name n ON n.id = s.model
         WHERE n.kind = 'model' AND n.name = '{model}' ORDER BY s.ts"
    );
    rows(dir, &sql).into_iter().collect()
}

/// Live and from a file: the same scores, bit for bit, for every part.
fn same_scores(folder: &Folder, dir: &Path, model: &str, file: &str) {
    let live = stored(dir, model);
    let line = format!("model score --model live/models/{file} --data live.csv --format csv");
    let scored = folder.ok(&line);
    let domains = cells(&scored, "domain");
    assert_eq!(live.len(), domains.len(), "{model}: a row for each part");
    let monitor = scored.lines().next().unwrap().contains("threshold");
    let values: Vec<Option<f64>> = if monitor {
        cells(&scored, "score").iter().map(|cell| cell.parse().ok()).collect()
    } else {
        let classes = cells(&scored, "class");
        let columns: BTreeMap<&str, Vec<&str>> =
            ["0", "1"].into_iter().map(|c| (c, cells(&scored, &format!("p_{c}")))).collect();
        let of_class = |(row, class): (usize, &&str)| columns.get(class)?.get(row)?.parse().ok();
        classes.iter().enumerate().map(of_class).collect()
    };
    let mut known = 0;
    for (((part, live), value), domain) in live.iter().zip(&values).zip(domains) {
        let bits = |x: Option<f64>| x.map(f64::to_bits);
        assert_eq!(bits(live[0]), bits(*value), "{model}, part {part}");
        let inside = if live[1] == Some(1.0) { "in" } else { "out" };
        let inside = if value.is_none() { "missing" } else { inside };
        assert_eq!(inside, domain, "{model}, part {part}");
        known += usize::from(value.is_some());
    }
    assert!(known > 500, "{model}: {known} parts were scored");
}

/// Live and from a file: the same forecasts, bit for bit, after every part; and what is exported of
/// them is what was stored. Returns how many there are.
fn same_forecasts(folder: &Folder, model: &str, file: &str) -> usize {
    let line = format!("model score --model live/models/{file} --data live.csv --forecast 20");
    let scored = folder.ok(&format!("{line} --format csv"));
    let live = folder.ok("export forecasts --out - --config live");
    let number = |cell: &str| cell.parse::<f64>().ok().map(f64::to_bits);
    let columns = ["forecast", "forecast_low", "forecast_high", "time_to_limit"];
    let of = |text: &str| -> Vec<(Vec<Option<u64>>, String)> {
        let numbers = columns.map(|name| cells(text, name));
        let trends = cells(text, "trend").into_iter().enumerate();
        let row = |(row, trend): (usize, &str)| {
            (numbers.iter().map(|cells| number(cells[row])).collect(), trend.to_owned())
        };
        trends.map(row).collect()
    };
    // Before there are enough parts no forecast is stored, and the file has an empty row.
    let made: Vec<_> = of(&scored).into_iter().filter(|(cells, _)| cells[0].is_some()).collect();
    assert!(cells(&live, "model").iter().all(|name| *name == model));
    assert_eq!(of(&live), made);
    let near = |cell: &str| cell.parse::<f64>().is_ok_and(|time| time <= 20.0);
    assert!(cells(&live, "time_to_limit").iter().any(|cell| near(cell)));
    made.len()
}

/// A monitor and a forest that were trained on recorded runs find a cold barrel zone live: their
/// signatures come on and say what is behind them; what they score is what `model score` makes of
/// the same rows. The monitor drifts, so the loop that rests on it steps down, and only that one.
/// Its challenger is scored beside it and moves nothing.
#[test]
fn trained_models_run_live() {
    let folder = Folder::new("live-models");
    let bound = shipped();
    for name in ["normal", "cold", "live"] {
        project(&folder, name, &bound);
    }
    drop(run(&folder, "normal", bound.clone(), (1, 1500), &[]));
    // Several spells, so that a model can be held against one that it was not trained on.
    let spells: Vec<Range<u64>> = (1..8).map(|spell| spell * 120..spell * 120 + 60).collect();
    drop(run(&folder, "cold", bound, (2, 960), &spells));
    for name in ["normal", "cold"] {
        folder.ok(&format!(
            "export features --wide --tags {UPSTREAM} --out {name}.csv --config {name}"
        ));
    }
    folder.write("labelled.csv", &labelled(&folder.read("cold.csv"), &spells));
    for (out, far) in [("press-r1", "0.005"), ("press-r2", "0.2")] {
        folder.ok(&format!(
            "model train --kind monitor --data normal.csv --ignore part --far {far} --out live/models/{out}"
        ));
    }
    // Each part with the two before it.
    folder
        .ok("model train --kind monitor --learner dpca --lags 2 --data normal.csv --ignore part \
         --out live/models/lagged-r1");
    folder.ok("model train --kind classifier --label state --data labelled.csv --ignore part \
         --out live/models/zone-r1");

    let cold = COLD..u64::MAX;
    let bound = extended(&folder, MODELS);
    let told = run(&folder, "live", bound, (3, 600), std::slice::from_ref(&cold));
    let dir = folder.0.join("live");
    folder.ok(&format!("export features --wide --tags {UPSTREAM} --out live.csv --config live"));
    same_scores(&folder, &dir, "press", "press-r1");
    same_scores(&folder, &dir, "press/press-r2", "press-r2");
    same_scores(&folder, &dir, "zone", "zone-r1");
    same_scores(&folder, &dir, "lagged", "lagged-r1");
    assert!(same_forecasts(&folder, "press", "press-r1") > 500);

    // Both signatures come on within a few parts, and what they rest on is stored with the part.
    for (signature, model) in [("unlike", "press"), ("cold_zone", "zone")] {
        let on = told.first(told.signature(signature)).unwrap();
        assert!((COLD..COLD + 30).contains(&on), "{signature} came on at part {on}");
        let sql = format!(
            "SELECT c.part, c.rank, c.share, f.id FROM contribution c
             JOIN name n ON n.id = c.model JOIN name f ON f.id = c.feature
             WHERE n.name = '{model}' AND c.rank = 1 AND c.part = {on} AND f.name IN
             ('melt_temp', 'plasticising_time', 'screw_torque', 'fill_pressure', 'fill_work')"
        );
        assert_eq!(rows(&dir, &sql).len(), 1, "{signature}: no cause with part {on}");
    }

    // The score stays high: the monitor drifts, and the loop that asks it steps down.
    let press = told.model("press");
    let score = |what: &What| {
        matches!(what, What::Drift(model, drift)
            if *model == press && drift.check == DriftCheck::Score && drift.value > drift.limit)
    };
    let drifted = told.first(score).unwrap();
    assert!((COLD..COLD + 100).contains(&drifted), "{drifted}");
    let (weight, cooling) = (told.loop_id("weight"), told.loop_id("cooling"));
    let lowered =
        |what: &What| matches!(what, What::Demoted(of, by) if *of == weight && *by == press);
    assert_eq!(told.first(lowered), Some(drifted));
    let modes = [weight, cooling].map(|id| told.world.cell.loop_status(id).unwrap().in_force);
    assert_eq!(modes, [Mode::Shadow, Mode::Auto]);
    let challenger = told.model("press/press-r2");
    assert_eq!(told.bound.plan.champion_of(challenger), Some(press));
    assert!(
        !told.events.iter().any(|(_, what)| matches!(what, What::Drift(m, _) if *m == challenger))
    );

    // Champion and challenger by their records: the challenger alarms more easily, and both saw
    // every part. Labels say of each how often it was right.
    let alarms = |model: &str| {
        let on = stored(&dir, model).into_iter().filter(|(_, row)| row[2] == Some(1.0));
        on.count()
    };
    let found = folder.json("model beside press --config live --label weight --good 19.3,19.5");
    let (champion, challenger) = (&found["champion"], &found["challenger"]);
    assert_eq!(challenger["model"], "press-r2");
    for (side, model) in [(champion, "press"), (challenger, "press/press-r2")] {
        assert_eq!(side["deeds"]["alarms"], alarms(model), "{found}");
        assert!(side["deeds"]["loss"].as_f64().unwrap() < 1.0, "{found}");
    }
    assert!(alarms("press/press-r2") > alarms("press"), "{found}");
    assert_eq!(found["parts"], stored(&dir, "press").len());
    assert!(found["labelled"].as_u64().unwrap() > 200, "{found}");
    let agreement = found["agreement"]["mean"].as_f64().unwrap();
    assert!((0.5..1.0).contains(&agreement), "{found}");
    let text = folder.ok("model beside press --config live");
    assert!(text.contains("press-r2 is not judged"), "{text}");
    for (line, says) in [
        ("model beside zone --config live", "no challenger ran beside zone"),
        ("model beside press --config live --challenger press-r3", "there ran press-r2"),
        ("model beside press --config live --label weight", "--good LOW,HIGH"),
        ("model beside press --config live --label weight --good 2,1", "ends before it begins"),
    ] {
        let (code, text) = folder.fails(line);
        assert!(code == 2 && text.contains(says), "{line}: {text}");
    }

    // So is the limit that the score came to.
    let near = |what: &What| matches!(what, What::LimitNear(model, _) if *model == press);
    let reached = told.first(near).unwrap();
    assert!((COLD..COLD + 30).contains(&reached), "{reached}");

    // It is told like every event.
    let events = folder.ok("export events --out - --config live");
    assert!(events.lines().any(|line| line.contains("model_drift") && line.contains("press")));
    assert!(events.lines().any(|line| line.contains("limit_near") && line.contains("press")));
    assert!(events.lines().any(|line| line.contains("demoted") && line.contains("weight")));
}
