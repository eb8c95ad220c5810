//! Stories of the wire, which the virtual time of `tests/sim.rs` does not have; and the catalogue.

use trimloop_core::event::What;
use trimloop_core::plan::PlcId;
use trimloop_simulator::{CATALOGUE, Fault, FaultKind, Scenario};

use crate::bench::Bench;

/// Each fault of the catalogue has a test in these files, named for it.
#[test]
fn every_fault_has_a_test() {
    let texts = [
        include_str!("writes.rs"),
        include_str!("values.rs"),
        include_str!("server.rs"),
        include_str!("wire.rs"),
    ];
    let tests: Vec<&str> = texts
        .iter()
        .flat_map(|text| text.split("#[test]\n").skip(1))
        .filter_map(|test| test.strip_prefix("fn ")?.split('(').next())
        .collect();
    assert_eq!(tests.len(), CATALOGUE.len(), "{tests:?}");
    for entry in CATALOGUE {
        let name = entry.name.replace('-', "_");
        let own = |test: &&&str| **test == name || test.ends_with(&format!("_{name}"));
        assert_eq!(tests.iter().filter(own).count(), 1, "{name}: {tests:?}");
    }
}

/// A story whose range of parts is over leaves no fault behind, and the loops work again.
#[test]
fn a_scheduled_fault_begins_and_ends() {
    let story = Scenario::named("bad-network").unwrap();
    let wire: Vec<Fault> = story
        .faults
        .iter()
        .filter_map(|fault| match fault.kind {
            FaultKind::Switch(fault) => Some(fault),
            _ => None,
        })
        .collect();
    assert_eq!(wire, [Fault::ServerSlow, Fault::HalfOpen, Fault::PublishStalled]);
    let mut bench = Bench::with(
        |settings| {
            settings.scenario = story.clone();
            // Sooner than in the story: the same faults, a hundred parts each.
            for (place, fault) in settings.scenario.faults.iter_mut().enumerate() {
                fault.from_part = 200 + 300 * place as u64;
                fault.to_part = fault.from_part + 100;
            }
        },
        |_| (),
    );
    bench.auto();
    for fault in wire {
        bench.until("its begin", |bench| bench.press.faults().has(fault));
        bench.until("its end", |bench| !bench.press.faults().has(fault));
    }
    bench.until("the link", |bench| bench.cell.status().plcs[0].link.up);
    assert!(bench.event(0, |what| *what == What::LinkDown(PlcId::LEAD)), "the wire was never dead");
    bench.auto();
    bench.no_violation();
    // A session of before the dead wire may be left on the press; it runs out by itself.
    bench.cell.clone().stop();
}
