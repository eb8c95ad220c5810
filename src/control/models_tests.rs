//! A running loop whose model loses its state, with the shipped recipe and a port of straw.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use trimloop_core::time::Utc;
use trimloop_recipe::{Bound, Project};

use super::super::server::OrderOutcome;
use super::*;
use crate::clock::Clock;
use crate::learn::lifecycle::{FILE, Lifecycle, State, Who};
use crate::output::Names;
use crate::output::dto::{EventLine, LoopStatus, Status};
use crate::store::{Store, StoreOptions};

/// Loops that do what they are told.
#[derive(Default)]
struct Straw {
    loops: Mutex<Vec<LoopStatus>>,
    orders: Mutex<Vec<Command>>,
}

impl Port for Straw {
    fn status(&self) -> Status {
        Status { loops: self.loops.lock().unwrap().clone(), ..Status::default() }
    }

    fn order(&self, command: Command) -> Result<u64, String> {
        let Command::SetMode(of, mode) = command else { panic!("{command:?}") };
        self.loops.lock().unwrap()[of.index()].asked = mode.word().to_owned();
        self.orders.lock().unwrap().push(command);
        Ok(12)
    }

    fn wait(&self, order: u64, _longest: Duration) -> OrderOutcome {
        assert_eq!(order, 12);
        OrderOutcome::Done
    }

    fn bar(&self, of: LoopId) -> Option<Bar> {
        panic!("nobody raises loop {of:?}")
    }

    fn backfill(&self, _: Option<&str>, _: Utc, _: Utc) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }

    fn watch(&self, _each: &mut dyn FnMut(Option<EventLine>) -> bool) {}
}

fn shipped() -> Bound {
    let project = Project::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    project.bind(project.recipe("housing-lid").unwrap()).unwrap()
}

/// Folder of a model that went this way, with an artifact that nobody reads.
fn went(models: &Path, bound: &Bound, name: &str, way: &[State]) -> PathBuf {
    let dir = models.join(&bound.model_folders[name]);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("model.tlm"), "").unwrap();
    let model = bound.plan.models.iter().find(|model| model.name == name).unwrap();
    let hash = model.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut life = Lifecycle::new(hash);
    let who = Who { utc: String::new(), actor: String::new(), reason: String::new() };
    for state in way {
        life.step(*state, &who, vec!["rows 500".to_owned()]).unwrap();
    }
    std::fs::write(dir.join(FILE), life.text()).unwrap();
    dir
}

/// A suspended model takes the loops that rest on it to SHADOW, once, with an audit entry and a
/// notice; when it is in force again that is told, and nothing is raised.
#[test]
fn a_suspended_model_lowers_its_loops() {
    use State::{Active, Approved, Backtested, Challenger, Suspended};
    let dir = std::env::temp_dir().join(format!("trimloop-watch-{}", std::process::id()));
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    let bound = shipped();
    let clock = Clock::start();
    let store = Store::open(&StoreOptions {
        dir: dir.join("data"),
        names: Names::of(&bound.plan),
        clock,
        node: "cell-1".into(),
        recipe: "lid".into(),
        revision: 1,
        plan_hash: [0; 32],
    })
    .unwrap();
    let models = dir.join("models");
    let way = [Backtested, Challenger, Approved, Active, Suspended, Approved, Active];
    for name in ["upstream", "weight-sensor"] {
        went(&models, &bound, name, &way[..4]);
    }
    let port = Arc::new(Straw::default());
    let raise = || {
        let loops = bound.plan.loops.iter().map(|of| LoopStatus {
            name: of.name.clone(),
            asked: "auto".to_owned(),
            trip: "clear".to_owned(),
            ..LoopStatus::default()
        });
        *port.loops.lock().unwrap() = loops.collect();
    };
    raise();
    let supports = Arc::new(Supports::of(&models, &bound));
    let notices = Notices::new(clock, None);
    let mut watch =
        Watch::new(supports, Arc::<Straw>::clone(&port), store.sender(), notices.clone());
    watch.look();
    assert_eq!((port.orders.lock().unwrap().len(), notices.recent().len()), (0, 0));

    // The weight loop feeds the soft sensor forward; the cooling loop rests on the monitor alone.
    let weight = bound.plan.loops.iter().position(|of| of.name == "weight").unwrap();
    let lowered = Command::SetMode(LoopId(u16::try_from(weight).unwrap()), Mode::Shadow);
    went(&models, &bound, "weight-sensor", &way[..5]);
    watch.look();
    watch.look();
    assert_eq!(*port.orders.lock().unwrap(), [lowered]);
    let told = notices.recent();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].code, &*told[0].subject), ("model_state", "weight-sensor-r1"));
    let sentence = &told[0].sentence;
    assert!(sentence.contains("SUSPENDED") && sentence.contains("approve"), "{sentence}");

    // A ramp of a tripped loop goes on: it ends in SHADOW anyway.
    raise();
    port.loops.lock().unwrap()[weight].trip = "returning".to_owned();
    watch.look();
    assert_eq!(port.orders.lock().unwrap().len(), 1);

    port.loops.lock().unwrap()[weight].asked = "shadow".to_owned();
    went(&models, &bound, "weight-sensor", &way);
    watch.look();
    assert_eq!((port.orders.lock().unwrap().len(), notices.recent().len()), (1, 2));

    drop(watch);
    drop(store);
    let db = rusqlite::Connection::open(dir.join("data/state.db")).unwrap();
    let mut rows = db.prepare("SELECT actor, what, reason FROM audit ORDER BY seq").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let rows: Vec<(String, String, String)> = rows.map(Result::unwrap).collect();
    let said: Vec<&str> = rows.iter().map(|(_, what, _)| what.as_str()).collect();
    assert_eq!(said, ["loop shadow weight", "loop shadow weight: done"]);
    assert!(rows.iter().all(|(who, _, why)| who == "service" && why.contains("SUSPENDED")));
    std::fs::remove_dir_all(&dir).unwrap();
}
