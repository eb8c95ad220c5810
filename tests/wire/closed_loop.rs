//! Value in, corrected setpoint out, read back: the loop closes and quality gets better.

use serde_json::json;
use trimloop_core::mode::{Mode, Owner, Trip};
use trimloop_core::record::Outcome;
use trimloop_core::unit::Ticks;

use crate::foreign::Kind;
use crate::rig::{Rig, Setup, assert_all_confirmed, assert_envelope, decisions, is_write, sent};

on_each_stack!(holds_the_target_by_labels, follows_the_disturbance_by_rules);

/// A disturbance of 2 mm stays in the parts while the loop only watches. Raised, it takes it out
/// by labels that come three parts late.
fn holds_the_target_by_labels(test: &str, kind: Kind) {
    let Some(rig) = Rig::start(test, kind, Setup::of("labels")) else { return };
    let boot = rig.loop_status(0);
    assert_eq!((boot.in_force, boot.owner), (Mode::Shadow, Owner::Unknown));
    rig.plant(1, &json!([[1, 2.0]]));
    rig.parts(40);
    let watched = rig.log.since(0);
    assert_eq!(rig.written("PressureSP"), [0.0; 0], "SHADOW writes nothing");
    assert!(sent(&watched).is_empty() && !decisions(&watched).any(is_write));
    let decided = decisions(&watched).last().copied();
    let decided = decided.map(|row| (row.outcome, row.limited));
    assert_eq!(
        decided,
        Some((Outcome::WouldWrite, Some(Ticks::new(4950)))),
        "SHADOW shows what AUTO would do"
    );
    let before = mean_error(&rig.made());

    rig.raise(0);
    rig.log.wait_confirmed(0, 2);
    rig.parts(60);
    let made = rig.made();
    let after = mean_error(&made[made.len() - 20..]);
    println!("{test}: mean distance from target {before:.3} mm in SHADOW, {after:.3} mm in AUTO");
    assert!((before - 2.0).abs() < 0.1 && after < 0.3, "{before} {after}");

    // No part is made from here on, so nothing is decided any more.
    rig.stop_plant();
    let told = rig.log.since(0);
    assert_all_confirmed(&told);
    let written = rig.written("PressureSP");
    assert_eq!(written.len(), sent(&told).len(), "the server saw what was sent, no more");
    assert_envelope(&written, 50.0, (47.0, 53.0), 0.5, 0.01);
    let state = rig.loop_status(0);
    assert_eq!(state.trip, Trip::Clear);
    let holds = rig.holds("PressureSP");
    assert!(state.read_back.is_some_and(|at| (at.count() as f64 * 0.01 - holds).abs() < 1e-9));
    assert!((holds - 49.0).abs() < 0.15, "2 mm at 2 mm/bar: {holds}");
    rig.finish();
}

/// A rule takes the setpoint down while x is high, up to its trim limit, and gives it back when x
/// is low again.
fn follows_the_disturbance_by_rules(test: &str, kind: Kind) {
    const STEADY: [(&str, &str); 1] = [("stale = \"1 s\"\n", "")];
    let setup = Setup { recipe: ("rules", &STEADY), ..Setup::default() };
    let Some(rig) = Rig::start(test, kind, setup) else { return };
    rig.plant(1, &json!([[1, 0.0], [41, 2.0], [141, 0.0]]));
    rig.parts(20);
    assert_eq!(rig.written("PressureSP"), [0.0; 0], "SHADOW writes nothing");
    rig.raise(0);
    rig.server.wait_for("the end of the disturbance", crate::rig::LIMIT, |event| {
        event["event"] == "part" && event["part"] == 141
    });
    let made = rig.made();
    let unmoved = mean_error(&made[40..42]);
    let held = mean_error(&made[120..140]);
    println!("{test}: distance from target {unmoved:.3} mm at first, {held:.3} mm in the end");
    assert!((unmoved - 2.0).abs() < 0.1 && held < 0.1, "{unmoved} {held}");
    rig.until("the baseline", |status| {
        let state = status.loops[0].status;
        state.is_some_and(|state| state.read_back == Some(Ticks::new(5000)))
    });
    rig.stop_plant();
    let written = rig.written("PressureSP");
    assert_envelope(&written, 50.0, (49.0, 50.0), 0.25, 0.01);
    assert!(written.len() >= 5 && (rig.holds("PressureSP") - 50.0).abs() < 1e-9, "{written:?}");
    assert_eq!(rig.loop_status(0).trip, Trip::Clear);
    assert_all_confirmed(&rig.log.since(0));
    rig.finish();
}

/// Mean distance from 10 mm.
fn mean_error(sizes: &[f64]) -> f64 {
    assert!(!sizes.is_empty());
    sizes.iter().map(|size| (size - 10.0).abs()).sum::<f64>() / sizes.len() as f64
}
