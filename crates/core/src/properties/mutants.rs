//! Seeded faults of the guard: proves that the properties can fail.
//!
//! Each mutant switches one check off. Most are caught by the judge of the closed world. The
//! rest ([`COVERED`]) stand behind another check that the cell makes before the guard is asked;
//! all are caught where the guard is asked directly ([`super::permits`]).

use alloc::string::String;
use alloc::vec::Vec;

use super::faults::{Fault, Faults};
use super::rng::Rng;
use super::run::Run;
use super::tally::Tally;
use crate::guard::{Mutant, with_mutant};

pub(super) const ALL: [Mutant; 20] = [
    Mutant::Clamp,
    Mutant::Trim,
    Mutant::Step,
    Mutant::Rate,
    Mutant::Dwell,
    Mutant::Budget,
    Mutant::Rows,
    Mutant::Mode,
    Mutant::Enable,
    Mutant::Owner,
    Mutant::Link,
    Mutant::Plc,
    Mutant::Binding,
    Mutant::Input,
    Mutant::Interlock,
    Mutant::External,
    Mutant::Domain,
    Mutant::Trip,
    Mutant::Pending,
    Mutant::NonFinite,
];

/// Most runs of 400 scans that a mutant may survive.
const RUNS: u32 = 1000;

/// Mutant, a fault that brings it out (of every run), what the judge says of it.
const KILLED: [(Mutant, Fault, &str); 15] = [
    (Mutant::Clamp, Fault::WrongGain, "(I1)"),
    (Mutant::Trim, Fault::Operator, "(I2)"),
    (Mutant::Step, Fault::WrongGain, "(I3)"),
    (Mutant::Rate, Fault::WrongGain, "(I3)"),
    (Mutant::Dwell, Fault::WrongGain, "(I4)"),
    (Mutant::Budget, Fault::WrongGain, "(I4)"),
    (Mutant::Rows, Fault::WrongGain, "(I10)"),
    (Mutant::Mode, Fault::TripOrder, "(I11)"),
    (Mutant::Owner, Fault::Operator, "not ours"),
    (Mutant::Binding, Fault::Unbound, "to another product"),
    (Mutant::Interlock, Fault::Interlock, "open interlock (I5)"),
    (Mutant::External, Fault::Operator, "(I7)"),
    (Mutant::Domain, Fault::Interlock, "out of its domain (I5)"),
    (Mutant::Pending, Fault::NoAnswer, "still open"),
    (Mutant::NonFinite, Fault::WrongGain, "(I8)"),
];

/// Mutants that cannot reach a write, and what stands before them.
const COVERED: [(Mutant, &str); 5] = [
    (Mutant::Enable, "the cell lowers the mode in force while the PLC does not enable"),
    (Mutant::Link, "a register counts as read back only while the link lives"),
    (Mutant::Plc, "the cell asks with the evidence of the PLC that the setpoint lives on"),
    (Mutant::Input, "a bad input takes the loop off rung FULL, and with it the domain"),
    (Mutant::Trip, "a tripped loop asks for nothing but its ramp"),
];

fn first_failure(mutant: Mutant, fault: Option<Fault>) -> Option<String> {
    let mut rng = Rng::new(7);
    let mut tally = Tally::default();
    (0..RUNS).find_map(|_| {
        let others = (0..rng.below(6)).map(|_| rng.pick(Fault::ALL));
        let faults: Vec<_> = others.chain(fault).collect();
        let run = Run { seed: rng.next(), faults: Faults::of(&faults).0, scans: 400 };
        with_mutant(mutant, || run.play(&mut tally, false)).err()
    })
}

/// With any of these checks broken, the closed world breaks the invariant that rests on it.
#[test]
fn each_mutant_breaks_its_invariant() {
    for (mutant, fault, says) in KILLED {
        let why = first_failure(mutant, Some(fault)).unwrap_or_default();
        assert!(why.contains(says), "{mutant:?} {fault:?}: {why}");
    }
}

/// The others survive in the closed world because something else holds as well. One that is
/// killed here belongs into the table above.
#[test]
fn covered_mutants_break_nothing() {
    for (mutant, cover) in COVERED {
        assert_eq!(first_failure(mutant, None), None, "{mutant:?} is covered: {cover}");
    }
}

/// No mutant is forgotten.
#[test]
fn every_mutant_is_in_a_table() {
    let known = KILLED.iter().map(|k| k.0).chain(COVERED.iter().map(|c| c.0));
    let known: Vec<_> = known.collect();
    assert!(ALL.iter().all(|m| known.contains(m)) && known.len() == ALL.len());
}
