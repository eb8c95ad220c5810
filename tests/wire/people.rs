//! Somebody else moves the setpoint, or the PLC does not take ours.

use serde_json::json;
use trimloop_core::event::What;
use trimloop_core::guard::Reason;
use trimloop_core::ledger::Fate;
use trimloop_core::mode::{Mode, Owner, Trip};
use trimloop_core::plan::SetpointId;
use trimloop_core::record::Outcome;
use trimloop_core::unit::Ticks;

use crate::foreign::Kind;
use crate::rig::{LIMIT, Rig, Setup, assert_envelope, decisions, events, ledger, sent};

on_each_stack!(an_operator_is_never_fought, a_refused_write_is_not_pressed);

/// Raised and on target: the loop has nothing to do.
fn settle(rig: &Rig) {
    let mut mark = rig.log.wait_confirmed(0, 2);
    loop {
        rig.parts(15);
        let told = rig.log.since(mark);
        let at_rest = decisions(&told).all(|row| row.outcome == Outcome::Hold(Reason::Deadband));
        if at_rest && sent(&told).is_empty() {
            return;
        }
        assert!(mark < 20_000, "{}", rig.log.tail());
        mark = rig.log.mark();
    }
}

/// The operator sets another value: it is adopted and told, the loop steps down, and nothing is
/// written over it until a person raises the loop again.
fn an_operator_is_never_fought(test: &str, kind: Kind) {
    let Some(rig) = Rig::start(test, kind, Setup::of("labels")) else { return };
    rig.plant(1, &json!([[1, 2.0]]));
    rig.parts(10);
    rig.raise(0);
    settle(&rig);
    let ours = rig.written("PressureSP");
    assert_envelope(&ours, 50.0, (47.0, 53.0), 0.5, 0.01);

    let mark = rig.log.mark();
    rig.set("PressureSP", 51.5);
    rig.log.wait_event("adopted change", mark, |what| {
        *what == What::ExternalChange(SetpointId(0), Ticks::new(5150))
    });
    rig.until("the operator's loop", |status| {
        status.loops[0]
            .status
            .is_some_and(|state| (state.in_force, state.owner) == (Mode::Advisory, Owner::Operator))
    });
    // 5 mm off target: the loop would have much to do.
    rig.parts(40);
    let told = rig.log.since(mark);
    assert!(sent(&told).is_empty(), "{}", rig.log.tail());
    assert_eq!(rig.written("PressureSP"), [0.0; 0]);
    assert!((rig.holds("PressureSP") - 51.5).abs() < 1e-9);
    let state = rig.loop_status(0);
    assert_eq!((state.owner, state.trip), (Owner::Operator, Trip::Clear));
    assert_eq!(events(&told).filter(|w| matches!(w, What::ExternalChange(..))).count(), 1);

    let mark = rig.log.mark();
    rig.raise(0);
    rig.log.wait_confirmed(mark, 3);
    settle(&rig);
    assert_envelope(&rig.written("PressureSP"), 51.5, (47.0, 53.0), 0.5, 0.01);
    assert!((rig.holds("PressureSP") - 49.0).abs() < 0.15, "back to where quality is right");
    rig.finish();
}

/// A refusal is told, the next attempt waits for the dwell like any other, and when the PLC takes
/// writes again the loop goes on by itself.
fn a_refused_write_is_not_pressed(test: &str, kind: Kind) {
    const SLOW: [(&str, &str); 1] = [("dwell    = \"100 ms\"", "dwell    = \"300 ms\"")];
    let setup = Setup { recipe: ("labels", &SLOW), ..Setup::default() };
    let Some(rig) = Rig::start(test, kind, setup) else { return };
    rig.server.ask(json!({"cmd": "refuse", "id": "PressureSP", "code": "BadUserAccessDenied"}));
    rig.plant(1, &json!([[1, 2.0]]));
    rig.parts(10);
    rig.raise(0);
    let mut at = 0;
    for _ in 0..4 {
        at = rig.log.wait_event("refusal", at, |what| {
            *what == What::WriteRefused(SetpointId(0), 0x801F_0000)
        });
    }
    rig.server.wait_event("write_refused", LIMIT);
    let mut times: Vec<i64> = rig
        .server
        .take_events("write_refused")
        .iter()
        .filter_map(|event| event["t_ms"].as_i64())
        .collect();
    times.sort_unstable();
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    println!("{test}: ms between refused writes {gaps:?}");
    // Decided at least 300 ms apart; one of two may have been under way a little longer.
    assert!(gaps.len() >= 2 && gaps.iter().all(|gap| *gap >= 250), "{gaps:?}");
    assert_eq!(rig.written("PressureSP"), [0.0; 0]);
    assert_eq!(rig.loop_status(0).trip, Trip::Clear);

    rig.server.ask(json!({"cmd": "refuse", "id": "PressureSP", "code": null}));
    let mark = rig.log.mark();
    rig.log.wait_confirmed(mark, 2);
    let state = rig.loop_status(0);
    assert_eq!((state.in_force, state.owner, state.trip), (Mode::Auto, Owner::Ours, Trip::Clear));
    settle(&rig);
    assert!((rig.holds("PressureSP") - 49.0).abs() < 0.15);
    assert_envelope(&rig.written("PressureSP"), 50.0, (47.0, 53.0), 0.5, 0.01);
    let told = rig.log.since(mark);
    let refused = ledger(&told).filter(|row| matches!(row.fate, Fate::Refused(_))).count();
    assert!(refused <= 1, "one may have been under way");
    rig.finish();
}
