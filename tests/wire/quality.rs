//! Stretches of bad, stale and missing values: what may still move, and what may not.

use serde_json::{Value, json};
use trimloop_core::event::What;
use trimloop_core::guard::Reason;
use trimloop_core::mode::{Mode, Owner, Rung, Trip};
use trimloop_core::plan::{FeatureId, LinearPlan, Model};
use trimloop_core::record::Outcome;
use trimloop_core::tag::{Fault, Quality, TagId};
use trimloop_core::unit::Ticks;
use trimloop_recipe::Models;
use trimloop_recipe::artifact::{Artifact, FeatureSpec, Header};

use crate::foreign::Kind;
use crate::rig::{LIMIT, Rig, Setup, assert_envelope, decisions, events, is_write, ledger, sent};

on_each_stack!(
    a_bad_input_leaves_labels_only,
    a_stale_input_leaves_labels_only,
    a_bad_input_sends_a_rule_loop_home,
    a_stale_input_sends_a_rule_loop_home,
    nothing_moves_blind,
    a_held_loop_is_not_blamed,
);

/// Without it, the tag Melt need not be fed.
const STEADY: [(&str, &str); 1] = [("stale = \"1 s\"\n", "")];
const BAD: Quality = Quality::Bad(Fault::Server);

/// `size = 10 mm + x`, exactly what the plant does at its baseline.
fn sensor() -> Models {
    let plan = LinearPlan {
        inputs: vec![FeatureId(0)],
        coefficients: vec![1.0],
        mean: vec![0.0],
        scale: vec![1.0],
        intercept: 10.0,
        half_width: 0.1,
        span: vec![(-10.0, 10.0)],
        domain: None,
    };
    let header = Header {
        id: "sensor-r1".to_owned(),
        kind: trimloop_recipe::artifact::Kind::Linear,
        features: vec![FeatureSpec { name: "x".to_owned(), unit: "mm".to_owned() }],
        recipe: "forward".to_owned(),
        rows: 100,
        window: None,
        seed: 1,
        note: String::new(),
    };
    let mut models = Models::new();
    models.insert("sensor", Artifact::new(header, &Model::Linear(plan)).unwrap().write());
    models
}

/// x never rests, so the loop always has something to do; too little to count as oscillation.
fn waves() -> Value {
    let x = |part: i32| 0.6 * (f64::from(part) / 12.0).sin();
    json!((1..5000).map(|part| (part, x(part))).collect::<Vec<_>>())
}

fn tag(rig: &Rig, name: &str) -> TagId {
    let place = rig.cell.plan().tags.iter().position(|tag| tag.name == name).unwrap();
    TagId(u16::try_from(place).unwrap())
}

/// Waits until a tag is told to have a quality; the place after it.
fn wait_quality(rig: &Rig, mark: usize, name: &str, quality: Quality) -> usize {
    let tag = tag(rig, name);
    rig.log.wait_event(&format!("{quality:?} of {name}"), mark, |what| {
        *what == What::TagQuality(tag, quality)
    })
}

fn a_bad_input_leaves_labels_only(test: &str, kind: Kind) {
    let setup = Setup { recipe: ("forward", &STEADY), models: sensor(), ..Setup::default() };
    let Some(rig) = Rig::start(test, kind, setup) else { return };
    leaves_labels_only(test, &rig, |rig, mark| {
        rig.status("Mould", "BadSensorFailure", Value::Null);
        let from = wait_quality(rig, mark, "mould", BAD);
        rig.parts(60);
        rig.set("Mould", 41.0);
        (from, wait_quality(rig, from, "mould", Quality::Good))
    });
    rig.finish();
}

fn a_stale_input_leaves_labels_only(test: &str, kind: Kind) {
    let setup = Setup { models: sensor(), ..Setup::of("forward") };
    let Some(rig) = Rig::start(test, kind, setup) else { return };
    rig.feed_melt(60);
    leaves_labels_only(test, &rig, |rig, mark| {
        rig.server.wait_event("played", LIMIT);
        let from = wait_quality(rig, mark, "melt", Quality::Stale);
        rig.parts(60);
        rig.feed_melt(6000);
        (from, wait_quality(rig, from, "melt", Quality::Good))
    });
    rig.finish();
}

/// While an upstream input is not Good, moves rest on labels alone (rung 1), none on the sensor.
/// `trouble` makes it so and mends it; it tells from where to where in the log.
fn leaves_labels_only(test: &str, rig: &Rig, trouble: impl Fn(&Rig, usize) -> (usize, usize)) {
    rig.plant(1, &waves());
    rig.parts(12);
    rig.raise(0);
    let full = |row: &trimloop_core::record::DecisionRow| is_write(row) && row.rung == Rung::Full;
    rig.log.wait_decision("write by the sensor", 0, full);
    rig.log.wait_confirmed(0, 3);
    let (from, to) = trouble(rig, rig.log.mark());
    let told = rig.log.since(from);
    let told = &told[..to - from];
    let by_score: Vec<_> = decisions(told).filter(|row| full(row)).collect();
    assert!(by_score.is_empty(), "{by_score:?}");
    let by_label =
        decisions(told).filter(|row| is_write(row) && row.rung == Rung::FeedbackOnly).count();
    println!("{test}: {by_label} label-fed writes meanwhile, none by the sensor");
    assert!(by_label > 0 && decisions(told).filter(|row| is_write(row)).count() == by_label);
    rig.log.wait_decision("write by the sensor again", to, full);
    assert_envelope(&rig.written("PressureSP"), 50.0, (47.0, 53.0), 0.5, 0.01);
    assert_eq!(rig.loop_status(0).trip, Trip::Clear);
}

fn a_bad_input_sends_a_rule_loop_home(test: &str, kind: Kind) {
    let setup = Setup { recipe: ("rules", &STEADY), ..Setup::default() };
    let Some(rig) = Rig::start(test, kind, setup) else { return };
    sends_a_rule_loop_home(test, &rig, |rig, mark| {
        rig.status("Mould", "BadSensorFailure", Value::Null);
        let from = wait_quality(rig, mark, "mould", BAD);
        home(rig);
        rig.set("Mould", 41.0);
        (from, wait_quality(rig, from, "mould", Quality::Good))
    });
    rig.finish();
}

fn a_stale_input_sends_a_rule_loop_home(test: &str, kind: Kind) {
    let Some(rig) = Rig::start(test, kind, Setup::of("rules")) else { return };
    rig.feed_melt(50);
    sends_a_rule_loop_home(test, &rig, |rig, mark| {
        rig.server.wait_event("played", LIMIT);
        let from = wait_quality(rig, mark, "melt", Quality::Stale);
        home(rig);
        rig.feed_melt(6000);
        (from, wait_quality(rig, from, "melt", Quality::Good))
    });
    rig.finish();
}

fn home(rig: &Rig) {
    rig.until("the baseline", |status| {
        status.loops[0].status.is_some_and(|state| state.read_back == Some(Ticks::new(5000)))
    });
    rig.parts(20);
}

/// A rule loop has no labels to fall back on: it ramps to the baseline and rests there.
fn sends_a_rule_loop_home(test: &str, rig: &Rig, trouble: impl Fn(&Rig, usize) -> (usize, usize)) {
    rig.plant(1, &json!([[1, 3.0]]));
    rig.parts(5);
    rig.raise(0);
    rig.until("the trim limit", |status| {
        status.loops[0].status.is_some_and(|state| state.read_back == Some(Ticks::new(4900)))
    });
    let (from, to) = trouble(rig, rig.log.mark());
    let told = rig.log.since(from);
    let told = &told[..to - from];
    assert!(!decisions(told).any(is_write), "{}", rig.log.tail());
    let returns = decisions(told).filter(|row| matches!(row.outcome, Outcome::Return(_))).count();
    println!("{test}: {returns} moves of the return ramp meanwhile");
    assert!(returns >= 4 && sent(told).len() == returns, "1 bar by 0.25 bar: {returns}");
    rig.log.wait_decision("write by the rule again", to, is_write);
    assert_envelope(&rig.written("PressureSP"), 50.0, (49.0, 50.0), 0.25, 0.01);
    assert_eq!(rig.loop_status(0).trip, Trip::Clear);
}

/// Waits for a hold, then until nothing is under way; then 30 parts without any write.
fn rests(rig: &Rig, mark: usize, reason: Reason) {
    rig.log.wait_decision(&format!("hold for {reason:?}"), mark, |row| {
        row.outcome == Outcome::Hold(reason)
    });
    rig.settled();
    let ours = rig.written("PressureSP");
    assert_envelope(&ours, ours.first().copied().unwrap_or(0.0), (47.0, 53.0), 0.5, 0.01);
    let mark = rig.log.mark();
    rig.parts(30);
    let told = rig.log.since(mark);
    assert!(sent(&told).is_empty(), "{:?}", ledger(&told).collect::<Vec<_>>());
    assert_eq!(rig.written("PressureSP"), [0.0; 0], "{reason:?}");
    let reasons = decisions(&told).all(|row| row.outcome == Outcome::Hold(reason));
    assert!(reasons, "{:?}", decisions(&told).collect::<Vec<_>>());
}

/// An open interlock, one that cannot be read, a setpoint that cannot be read: not even a label
/// moves anything. Afterwards the loop goes on by itself.
fn nothing_moves_blind(test: &str, kind: Kind) {
    let setup = Setup { recipe: ("forward", &STEADY), models: sensor(), ..Setup::default() };
    let Some(rig) = Rig::start(test, kind, setup) else { return };
    rig.plant(1, &waves());
    rig.parts(12);
    rig.raise(0);
    rig.log.wait_confirmed(0, 3);

    let mark = rig.log.mark();
    rig.set("Door", false);
    rests(&rig, mark, Reason::Interlock);
    let mark = rig.log.mark();
    rig.set("Door", true);
    rig.log.wait_confirmed(mark, 2);

    let mark = rig.log.mark();
    rig.status("Door", "BadSensorFailure", Value::Null);
    rests(&rig, mark, Reason::Interlock);
    // Nothing is under way now, which would make the register readable again.
    let held = rig.holds("PressureSP");
    rig.status("PressureSP", "BadDeviceFailure", held);
    wait_quality(&rig, mark, "pressure_sp", BAD);
    let mark = rig.log.mark();
    rig.set("Door", true);
    rests(&rig, mark, Reason::ReadBack);
    let mark = rig.log.mark();
    rig.set("PressureSP", held);
    rig.log.wait_confirmed(mark, 2);
    let state = rig.loop_status(0);
    assert_eq!((state.in_force, state.owner, state.trip), (Mode::Auto, Owner::Ours, Trip::Clear));
    rig.finish();
}

/// Parts go far off target while a door holds the loop. It could not help that: no trip, and it
/// goes on when the door is closed.
fn a_held_loop_is_not_blamed(test: &str, kind: Kind) {
    let setup = Setup { recipe: ("forward", &STEADY), models: sensor(), ..Setup::default() };
    let Some(rig) = Rig::start(test, kind, setup) else { return };
    let x = |part: i32| 2.0 * (f64::from(part) / 8.0).sin();
    rig.plant(1, &json!((1..5000).map(|part| (part, x(part))).collect::<Vec<_>>()));
    rig.parts(12);
    rig.raise(0);
    rig.log.wait_confirmed(0, 3);
    rig.set("Door", false);
    rig.parts(100);
    let told = rig.log.since(0);
    let blamed = |what: &&What| matches!(what, What::Tripped(..) | What::EffectMissing(_));
    assert_eq!(events(&told).find(blamed), None);
    let mark = rig.log.mark();
    rig.set("Door", true);
    rig.log.wait_confirmed(mark, 3);
    assert_eq!(rig.loop_status(0).trip, Trip::Clear);
    rig.finish();
}
