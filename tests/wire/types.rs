//! Registers of every type that setpoints have in PLCs.

use serde_json::json;
use trimloop::dispatch::OrderResult;
use trimloop_core::event::OrderRefusal;
use trimloop_core::mode::Trip;

use crate::foreign::Kind;
use crate::rig::{Rig, Setup, assert_all_confirmed, assert_envelope, sent};

on_each_stack!(
    every_type_is_written_as_what_it_is,
    a_wrong_type_is_refused_at_connect,
    a_grid_finer_than_the_register_is_refused_at_connect,
);

/// Float with steps of 0.1 bar (no binary fraction), Int16 of 1 bar, Int32 of 5 bar. The servers
/// refuse any other type, and tell whether anything came beside the value.
fn every_type_is_written_as_what_it_is(test: &str, kind: Kind) {
    const RECIPE: [(&str, &str); 3] = [
        (
            "tag      = \"pressure_sp\"\ngrid     = \"0.01 bar\"",
            "tag      = \"pressure_sp\"\ngrid     = \"0.1 bar\"",
        ),
        (
            "tag      = \"second_sp\"\ngrid     = \"0.01 bar\"\nbaseline = \"50 bar\"\nlow      = \"10 bar\"\nhigh     = \"90 bar\"\ntrim     = \"40 bar\"\nstep     = \"0.2 bar\"",
            "tag      = \"second_sp\"\ngrid     = \"1 bar\"\nbaseline = \"50 bar\"\nlow      = \"10 bar\"\nhigh     = \"90 bar\"\ntrim     = \"40 bar\"\nstep     = \"2 bar\"",
        ),
        (
            "tag      = \"third_sp\"\ngrid     = \"0.01 bar\"\nbaseline = \"50 bar\"\nlow      = \"10 bar\"\nhigh     = \"90 bar\"\ntrim     = \"40 bar\"\nstep     = \"0.2 bar\"",
            "tag      = \"third_sp\"\ngrid     = \"5 bar\"\nbaseline = \"50 bar\"\nlow      = \"10 bar\"\nhigh     = \"90 bar\"\ntrim     = \"40 bar\"\nstep     = \"10 bar\"",
        ),
    ];
    const MOVES: [(&str, &str); 5] = [
        RECIPE[0],
        RECIPE[1],
        RECIPE[2],
        (
            "setpoint = \"second\"\nmode     = \"auto\"\nsettle   = 0\nrules    = { moves = [{ on = \"high\", move = \"-0.2 bar\" }, { on = \"low\", move = \"0.2 bar\" }] }",
            "setpoint = \"second\"\nmode     = \"auto\"\nsettle   = 0\nrules    = { moves = [{ on = \"high\", move = \"-1 bar\" }, { on = \"low\", move = \"2 bar\" }] }",
        ),
        (
            "setpoint = \"third\"\nmode     = \"auto\"\nsettle   = 0\nrules    = { moves = [{ on = \"high\", move = \"-0.2 bar\" }, { on = \"low\", move = \"0.2 bar\" }] }",
            "setpoint = \"third\"\nmode     = \"auto\"\nsettle   = 0\nrules    = { moves = [{ on = \"high\", move = \"-5 bar\" }, { on = \"low\", move = \"10 bar\" }] }",
        ),
    ];
    let setup = Setup {
        recipe: ("relays", &MOVES),
        plc: &[
            (
                "id       = \"f:s=PressureSP\"\ntype     = \"Double\"",
                "id       = \"f:s=PressureSP\"\ntype     = \"Float\"",
            ),
            (
                "id       = \"f:s=SecondSP\"\ntype     = \"Double\"",
                "id       = \"f:s=SecondSP\"\ntype     = \"Int16\"",
            ),
            (
                "id       = \"f:s=ThirdSP\"\ntype     = \"Double\"",
                "id       = \"f:s=ThirdSP\"\ntype     = \"Int32\"",
            ),
        ],
        types: &[("PressureSP", "Float"), ("SecondSP", "Int16"), ("ThirdSP", "Int32")],
        ..Setup::default()
    };
    let Some(rig) = Rig::start(test, kind, setup) else { return };
    assert!(rig.cell.status().plcs[0].plc.problems.is_empty());
    rig.plant(1, &json!([[1, -2.0], [30, 2.0]]));
    rig.parts(5);
    for index in 0..3 {
        rig.raise(index);
    }
    rig.log.wait_confirmed(0, 40);
    rig.stop_plant();
    let writes = rig.server.take_events("write");
    assert_eq!(writes.len(), sent(&rig.log.since(0)).len());
    assert!(writes.iter().all(|event| event["bare"] == true), "{writes:?}");
    for (id, step, grid) in
        [("PressureSP", 0.2, 0.1), ("SecondSP", 2.0, 1.0), ("ThirdSP", 10.0, 5.0)]
    {
        let ours = writes.iter().filter(|event| event["id"] == id);
        let values: Vec<f64> = ours.filter_map(|event| event["value"].as_f64()).collect();
        assert!(values.len() > 5, "{id}: {values:?}");
        assert_envelope(&values, 50.0, (10.0, 90.0), step + 1e-5, grid);
    }
    assert_all_confirmed(&rig.log.since(0));
    let status = rig.cell.status();
    assert_eq!(
        (status.plcs[0].plc.counts.writes_refused, status.plcs[0].plc.counts.writes_unknown),
        (0, 0)
    );
    assert!(status.loops.iter().all(|l| l.status.is_some_and(|s| s.trip == Trip::Clear)));
    rig.finish();
}

/// The PLC config says Double, the server has a Float: told, and no link to write by.
fn a_wrong_type_is_refused_at_connect(test: &str, kind: Kind) {
    let setup = Setup { types: &[("PressureSP", "Float")], ..Setup::of("labels") };
    refused(test, kind, setup, "it is Float on the server, the configuration says Double");
}

/// The PLC config leaves the type to the server. Steps of 0.01 bar would be lost in its Int16.
fn a_grid_finer_than_the_register_is_refused_at_connect(test: &str, kind: Kind) {
    let setup = Setup {
        plc: &[(
            "id       = \"f:s=PressureSP\"\ntype     = \"Double\"",
            "id       = \"f:s=PressureSP\"",
        )],
        types: &[("PressureSP", "Int16")],
        ..Setup::of("labels")
    };
    refused(test, kind, setup, "does not fit a Int16 without loss");
}

fn refused(test: &str, kind: Kind, setup: Setup, expect: &str) {
    let Some(rig) = Rig::start_unlinked(test, kind, setup) else { return };
    rig.until("the problem", |status| !status.plcs[0].plc.problems.is_empty());
    let notices = rig.cell.status().notices;
    assert_eq!(notices.len(), 1, "told once: {notices:?}");
    assert_eq!((notices[0].code, notices[0].subject.as_str()), ("register_problem", "pressure_sp"));
    let problems = rig.cell.status().plcs[0].plc.problems.clone();
    println!("{test}: {problems:?}");
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].node.as_str(), problems[0].stops_writes), ("pressure_sp", true));
    assert!(problems[0].what.contains(expect), "{problems:?}");
    assert_eq!(rig.ask_auto(0), OrderResult::Refused(OrderRefusal::Held));
    rig.plant(1, &json!([[1, 2.0]]));
    rig.server.wait_for("part 50", crate::rig::LIMIT, |event| {
        event["event"] == "part" && event["part"] == 50
    });
    assert!(!rig.cell.status().plcs[0].link.up);
    assert_eq!(rig.written("PressureSP"), [0.0; 0]);
    rig.finish();
}
