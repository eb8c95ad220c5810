//! A press recorded in real time, in SHADOW, and the backtest of its history.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use rusqlite::Connection;
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
const PARTS: u64 = 2600;
/// Parts of the recipe's warm-up.
const WARM_UP: i64 = 10;

/// The data folder of one recorded run, made once for all tests of this process.
fn recorded() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = std::env::temp_dir().join(format!("trimloop-backtest-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        let bound = shipped();
        let store = Store::open(&StoreOptions {
            dir: dir.join("data"),
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
        for parts in (50..=PARTS).step_by(50) {
            world.produce(parts);
            store.sender().barrier().unwrap();
        }
        assert_eq!(store.sender().counts().samples_dropped, 0);
        dir
    })
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

fn tested(settings: &BacktestSettings<'_>) -> (Report, Vec<Vec<String>>) {
    let data = Data::store(&recorded().join("data")).unwrap();
    let mut rows = Rows::default();
    let stop = AtomicBool::new(false);
    let report = backtest(&data, settings, Some(&mut rows), &mut |_| (), &stop).unwrap();
    (report, rows.0)
}

/// What the live cell decided: by loop and part, outcome and reason, wish and limited wish.
fn live() -> BTreeMap<(String, i64), [String; 4]> {
    let state = Connection::open(recorded().join("data/state.db")).unwrap();
    let mut rows = state
        .prepare("SELECT loop, part, outcome, reason, desired, limited FROM decision")
        .unwrap();
    let text = |x: Option<String>| x.map_or("Null".to_owned(), |x| format!("Text({x:?})"));
    let number = |x: Option<f64>| x.map_or("Null".to_owned(), |x| format!("Float({x:?})"));
    let rows = rows.query_map([], |row| {
        let key = (format!("Text({:?})", row.get::<_, String>(0)?), row.get(1)?);
        let (outcome, reason) = (text(row.get(2)?), text(row.get(3)?));
        Ok((key, [outcome, reason, number(row.get(4)?), number(row.get(5)?)]))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// With every day warmed up by all that was before it, the core decides on the samples what it
/// decided live: outcome, reason, wish and limited wish, bit by bit.
///
/// But for the start: of two values of one tag in one millisecond the history keeps the last, so the
/// press's first standstill, which took no time, is not in it.
#[test]
fn the_core_decides_on_history_what_it_decided_live() {
    let plan = shipped().plan;
    let all = Span::from_secs(86_400);
    let (report, rows) = tested(&BacktestSettings { lead_in: Some(all), ..settings(&plan) });
    let live = live();
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
    let loops = &report.recipe.loops;
    assert!(loops.iter().any(|l| l.would_write > 100), "{text}");
}

/// How many days run at once changes nothing, bit by bit.
#[test]
fn side_by_side_is_as_one_after_the_other() {
    let plan = shipped().plan;
    let one = tested(&BacktestSettings { jobs: 1, ..settings(&plan) });
    let two = tested(&BacktestSettings { jobs: 2, ..settings(&plan) });
    assert!(one == two, "{}\n{}", report_text(&one.0), report_text(&two.0));
    assert_eq!(one.0.recipe.joins.midnights, 1);
}
