//! The server dies, or hangs, in the middle of a run.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use trimloop_core::event::What;
use trimloop_core::mode::{Mode, Owner};
use trimloop_core::plan::PlcId;
use trimloop_core::time::Span;

use crate::foreign::Kind;
use crate::rig::{Rig, Setup, assert_envelope, sent};

on_each_stack!(
    a_killed_server_comes_back_in_shadow,
    a_hung_server_is_not_written_to,
    registers_that_come_late_are_found,
);

/// Data within 5 s of the server's return; in SHADOW, under a new epoch, and nothing is written
/// until a person raises the loop again.
fn a_killed_server_comes_back_in_shadow(test: &str, kind: Kind) {
    let Some(mut rig) = Rig::start(test, kind, Setup::of("labels")) else { return };
    rig.plant(1, &json!([[1, 2.0]]));
    rig.parts(10);
    rig.raise(0);
    rig.log.wait_confirmed(0, 2);
    let before = rig.cell.status();
    let (epoch, part) = (before.plcs[0].link.epoch, before.part);

    // SIGKILL: no goodbye. What it told before is still there to be judged.
    let mark = rig.log.mark();
    assert!(rig.restart_server());
    let back = rig.until("data after the restart", |status| {
        status.plcs[0].link.up
            && status.plcs[0].link.epoch > epoch
            && status.tags.iter().all(|tag| {
                tag.reading.is_some_and(|reading| reading.quality.is_good())
                    && tag.age.is_some_and(|age| age < Span::from_secs(5))
            })
    });
    println!("{test}: data {} ms after the server was ready", back.as_millis());
    assert!(back < Span::from_secs(5), "{back:?}");
    rig.log.wait_event("link down", mark, |what| *what == What::LinkDown(PlcId::LEAD));
    let state = rig.loop_status(0);
    assert_eq!((state.in_force, state.owner), (Mode::Shadow, Owner::Unknown));

    let mark = rig.log.mark();
    rig.plant(u32::try_from(part).unwrap() + 10, &json!([[1, 2.0]]));
    rig.parts(40);
    assert!(sent(&rig.log.since(mark)).is_empty(), "{}", rig.log.tail());
    assert_eq!(rig.written("PressureSP"), [0.0; 0]);
    assert_eq!(rig.loop_status(0).in_force, Mode::Shadow);

    let mark = rig.log.mark();
    rig.raise(0);
    rig.log.wait_confirmed(mark, 2);
    rig.parts(30);
    assert!((rig.holds("PressureSP") - 49.0).abs() < 0.3);
    // The new server began at its own 50 bar.
    assert_envelope(&rig.written("PressureSP"), 50.0, (47.0, 53.0), 0.5, 0.01);
    rig.finish();
}

/// A server that stands still (SIGSTOP) keeps its connection open. The silence is noticed, and
/// when it goes on nothing is written before a person says so.
fn a_hung_server_is_not_written_to(test: &str, kind: Kind) {
    let Some(rig) = Rig::start(test, kind, Setup::of("labels")) else { return };
    let script: Vec<_> =
        (1..4000).map(|part| (part, 0.6 * (f64::from(part) / 12.0).sin())).collect();
    rig.plant(1, &json!(script));
    rig.parts(10);
    rig.raise(0);
    rig.log.wait_confirmed(0, 5);
    let epoch = rig.cell.status().plcs[0].link.epoch;

    let pid = Pid::from_raw(i32::try_from(rig.server.pid()).unwrap());
    let mark = rig.log.mark();
    kill(pid, Signal::SIGSTOP).unwrap();
    let down = rig.log.wait_event("link down", mark, |what| *what == What::LinkDown(PlcId::LEAD));
    rig.until("the link given up", |status| !status.plcs[0].link.up);
    let silent = rig.log.since(down);
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(sent(&silent).is_empty(), "{silent:?}");
    let back = rig
        .until("data again", |status| status.plcs[0].link.up && status.plcs[0].link.epoch > epoch);
    println!("{test}: data {} ms after the server went on", back.as_millis());
    rig.linked();

    rig.written("PressureSP");
    let mark = rig.log.mark();
    rig.parts(40);
    assert!(sent(&rig.log.since(mark)).is_empty(), "{}", rig.log.tail());
    assert_eq!(rig.written("PressureSP"), [0.0; 0]);
    let state = rig.loop_status(0);
    assert_eq!((state.in_force, state.owner), (Mode::Shadow, Owner::Unknown));
    rig.raise(0);
    rig.log.wait_confirmed(mark, 3);
    rig.cell.stop();
}

/// A PLC that answers before its program has loaded has no registers yet.
fn registers_that_come_late_are_found(test: &str, kind: Kind) {
    let Some(mut rig) = Rig::start(test, kind, Setup::of("labels")) else { return };
    assert!(rig.restart_server_empty());
    rig.until("missing registers", |status| !status.plcs[0].plc.problems.is_empty());
    assert!(!rig.cell.status().plcs[0].link.up);
    rig.add_tags();
    // They come one after the other: the link may open before the last one is there.
    let back = rig.until("data of all", |status| {
        status.plcs[0].link.up && status.plcs[0].plc.problems.is_empty()
    });
    println!("{test}: data {} ms after the registers were there", back.as_millis());
    assert!(back < Span::from_secs(5), "{back:?}");
    rig.linked();
    assert_eq!(rig.loop_status(0).in_force, Mode::Shadow);
    rig.finish();
}
