//! `why` over a whole run: every write, hold and trip is explained from the data folder alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;
use trimloop::clock::Clock;
use trimloop::journal::keep_plan;
use trimloop::output::{Names, RecordId};
use trimloop::store::{Store, StoreOptions};
use trimloop::why::{Question, Why, WhyError, why, why_text};
use trimloop_core::time::Utc;
use trimloop_simulator::Scenario;
use trimloop_simulator::cell::EPOCH_MS;
use world::{World, shipped};

/// The data folder of a run, removed at the end.
struct Data(PathBuf);

impl Data {
    /// A run of a scenario whose fault begins early.
    fn of(scenario: &str, parts: u64) -> Self {
        // Tests of one process run side by side under `cargo test`.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = format!("trimloop-why-{number}-{}", std::process::id());
        let path = std::env::temp_dir().join(folder);
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        let bound = shipped();
        let store = Store::open(&StoreOptions {
            dir: path.clone(),
            names: Names::of(&bound.plan),
            clock: Clock::start(),
            node: "press-4".to_owned(),
            recipe: bound.plan.name.clone(),
            revision: bound.plan.revision,
            plan_hash: bound.plan.hash,
        })
        .unwrap();
        std::fs::create_dir_all(path.join("journal")).unwrap();
        keep_plan(&path.join("journal"), &bound).unwrap();
        let mut scenario = Scenario::named(scenario).unwrap();
        scenario.faults.truncate(1);
        for fault in &mut scenario.faults {
            fault.from_part = fault.from_part.min(60);
        }
        (scenario.inspect_every, scenario.inspect_delay) = (2, 2);
        let mut world = World::new(&bound, scenario, 3, false);
        world.store = Some(store.sender());
        world.raise();
        world.produce(parts);
        store.sender().barrier().unwrap();
        Self(path)
    }

    fn state(&self) -> Connection {
        Connection::open(self.0.join("state.db")).unwrap()
    }

    fn ask(&self, id: &str) -> Why {
        why(&self.0, &Question::Id(id.parse::<RecordId>().unwrap()))
            .unwrap_or_else(|e| panic!("{id}: {e}"))
    }

    fn numbers(&self, sql: &str) -> Vec<i64> {
        let state = self.state();
        let mut statement = state.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Every write has its whole chain, and each check that passed had room.
#[test]
fn every_write_is_explained() {
    let data = Data::of("wrong-sign", 130);
    let writes = data.numbers("SELECT DISTINCT write FROM ledger ORDER BY write");
    assert!(writes.len() > 10, "{writes:?}");
    let (mut fed, mut returned, mut superseded) = (0, 0, 0);
    for write in writes {
        let id = format!("1-{write}");
        let chain = data.ask(&id);
        assert_eq!(chain.write.as_deref(), Some(id.as_str()));
        assert_eq!(chain.checks.len(), 23, "{id}");
        for check in &chain.checks {
            assert_ne!(check.answer, "failed", "{id}: {check:?}");
            assert!((1..=17).contains(&check.number), "{check:?}");
            let room = check.margin.is_none_or(|margin| margin >= -1e-9);
            assert!(room || check.answer != "passed" || check.check == "domain", "{id}: {check:?}");
        }
        assert_eq!(chain.ledger.first().map(|step| step.fate.as_str()), Some("sent"), "{id}");
        assert!(chain.ledger.iter().any(|step| step.fate == "confirmed"), "{id}");
        assert_eq!((chain.plan.len(), chain.models.len()), (64, 2));
        assert_eq!(chain.recipe_sha256.as_ref().map(String::len), Some(64));
        let effect = chain.effect.as_ref().unwrap();
        assert_eq!(effect.by.is_some(), effect.state == "superseded", "{id}: {effect:?}");
        superseded += u32::from(effect.by.is_some());
        // Only parts that the write could change, and only what its loop controls.
        assert!(chain.labels.iter().all(|l| l.part > chain.part && l.name == "weight"), "{id}");
        assert!(!chain.unit.is_empty() && chain.missing.is_none(), "{id}: {:?}", chain.missing);
        if chain.outcome == "return" {
            returned += 1;
            continue;
        }
        assert!(!chain.inputs.is_empty() && !chain.scores.is_empty(), "{id}");
        assert!(
            chain.inputs.iter().all(|input| input.age_ms.is_some()),
            "{id}: {:?}",
            chain.inputs
        );
        if chain.wish.as_ref().is_some_and(|wish| wish.fed.is_some()) {
            fed += 1;
            assert!(!chain.contributions.is_empty(), "{id}");
            assert!(chain.inputs.iter().all(|input| input.quality == "good"), "{id}");
        }
        let text = why_text(&chain);
        for part in ["wrote", "recipe housing-lid r1", "inputs", "checks", "confirmed", "effect"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert!(fed > 5 && returned > 0 && superseded > 5, "{fed} {returned} {superseded}");
}

/// A trip is explained from its event; the loop's decision stands beside it.
#[test]
fn a_trip_is_explained_from_its_event() {
    let data = Data::of("wrong-sign", 130);
    let state = data.state();
    let (number, loop_name): (i64, String) = state
        .query_row("SELECT number, subject FROM event WHERE code = 'tripped'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    let chain = data.ask(&format!("e1-{number}"));
    assert_eq!(chain.event.as_ref().map(|event| event.code.as_str()), Some("tripped"));
    assert_eq!(chain.loop_name, loop_name);
    let text = why_text(&chain);
    assert!(
        text.contains("tripped: no effect") && text.contains("The decision it belongs to"),
        "{text}"
    );
}

/// Who raised the loop stands in the chain; an unchanged hold is told by its begin.
#[test]
fn people_and_unchanged_holds() {
    let data = Data::of("nominal", 90);
    let store = data.state();
    // Two decisions running of one loop that were held by the same check.
    let held = data.numbers(
        "SELECT later.number FROM decision AS later
         WHERE later.reason = 'deadband' AND later.loop = 'weight' AND (
           SELECT earlier.reason FROM decision AS earlier
           WHERE earlier.loop = 'weight' AND earlier.number < later.number
           ORDER BY earlier.number DESC LIMIT 1) = 'deadband'",
    );
    let later = data.ask(&format!("d1-{}", held[0]));
    let of = later.evidence_of.clone().unwrap();
    assert!(why_text(&later).contains("the outcome has not changed since"));
    let begin = data.ask(&of);
    assert_eq!((begin.evidence_of, begin.reason.as_deref()), (None, Some("deadband")));
    let failed = begin.checks.iter().find(|check| check.check == "deadband").unwrap();
    assert_eq!((failed.answer.as_str(), failed.number), ("failed", 12));
    assert!(failed.margin.is_some_and(|margin| margin < 0.0), "{failed:?}");
    // The audit of this run is written by hand: nobody sat at the control socket.
    store
        .execute(
            "INSERT INTO audit(seq, utc, boot, orders, actor, what, reason, prev, hash)
             VALUES(1, ?, 1, 7, 'uid:0 (root)', 'loop auto weight: done', 'trial', x'00', x'00')",
            [EPOCH_MS * 1_000_000],
        )
        .unwrap();
    let write: i64 = store
        .query_row(
            "SELECT write FROM decision WHERE outcome = 'write' AND loop = 'weight' LIMIT 1",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let chain = data.ask(&format!("1-{write}"));
    assert_eq!(chain.raised_by.unwrap().reason, "trial");
}

/// What there is not is told with what there is.
#[test]
fn a_failed_look_up_says_what_there_is() {
    let data = Data::of("nominal", 60);
    let failed = |question| match why(&data.0, &question) {
        Err(WhyError::Nothing { what, known }) => format!("{what}; {known}"),
        other => panic!("{other:?}"),
    };
    let text = failed(Question::Id(RecordId::write(1, 99_999)));
    assert!(
        text.starts_with("there is no write 1-99999; of start 1 there are 1-1 to 1-"),
        "{text}"
    );
    let text = failed(Question::Id(RecordId::event(9, 1)));
    assert!(text.contains("there is no event e9-1; there are e1-"), "{text}");
    let early = Utc::from_millis(EPOCH_MS - 1000);
    let text = failed(Question::At(early, Some("weight".into())));
    assert!(text.contains("there is no decision of loop \"weight\" at or before"), "{text}");
    assert!(text.contains("loops: "), "{text}");
    let late = Utc::from_millis(EPOCH_MS + 86_400_000);
    let chain = why(&data.0, &Question::At(late, Some("weight".into()))).unwrap();
    assert_eq!(chain.loop_name, "weight");
    assert!(matches!(
        why(Path::new("/nowhere"), &Question::At(late, None)),
        Err(WhyError::NoStore(_))
    ));
}

/// The commands answer from a folder, with their exit codes.
#[test]
fn the_commands_answer_from_a_folder() {
    let data = Data::of("plc-rejects", 60);
    let folder = data.0.to_str().unwrap();
    let run = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_trimloop"))
            .args(args)
            .args(["--data", folder, "--format", "json"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let json = serde_json::from_str::<serde_json::Value>(&text);
        (output.status.code(), json.unwrap_or_else(|error| panic!("{error}: {text}")))
    };
    let (code, json) = run(&["why", "1-1"]);
    assert_eq!((code, json["schema"].as_str()), (Some(0), Some("trimloop.why/1")));
    assert_eq!(json["write"], "1-1");
    assert_eq!(json["checks"].as_array().map(Vec::len), Some(23));
    let (code, json) = run(&["why", "1-99999"]);
    assert_eq!((code, json["error"]["code"].as_str()), (Some(2), Some("TL0735")));
    let (code, json) = run(&["audit", "verify"]);
    assert_eq!((code, json["ok"].as_bool()), (Some(0), Some(true)), "{json}");
    data.state().execute("UPDATE ledger SET sent = 1 WHERE id = 3", []).unwrap();
    let (code, json) = run(&["audit", "verify"]);
    assert_eq!(code, Some(1));
    assert_eq!(json["findings"][0]["place"], "entry 3");
    let (code, json) = run(&["audit", "show", "1"]);
    assert_eq!((code, json["error"]["code"].as_str()), (Some(2), Some("TL0735")));
}
