//! The invariants of the envelope (`methods.md` section 4), held against a hostile world.
//!
//! A run is a seed, a set of faults and a length. The seed draws a plan ([`plans`]) and a PLC with
//! plant and people around it ([`world`]); the judge ([`oracle`]) sees only plan, scans and actions.
//! A failing run is shrunk to fewer faults and fewer scans, and printed; put it into
//! [`replayed_failures`] to keep it.
//!
//! `PROPERTIES_SEED` and `PROPERTIES_RUNS` choose other runs than those of every build;
//! `PROPERTIES_TRACE=1` prints the plan and every scan of a failure.

mod fates;
mod faults;
mod mutants;
mod oracle;
mod permits;
mod plans;
mod rng;
mod run;
mod scenes;
mod tally;
mod world;

use std::cell::RefCell;
use std::env;
use std::println;

use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use faults::{Fault, Faults};
use run::Run;
use tally::Tally;

const RUNS: u32 = 2600;
const SCANS: u32 = 400;

fn setting<T: core::str::FromStr>(name: &str, otherwise: T) -> T {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A few faults at a time: enough to meet in pairs, few enough to let a loop work. Shrinking takes
/// faults away; the scan in which a run fails is in its report.
fn runs() -> impl Strategy<Value = Run> {
    let faults = subsequence(Fault::ALL.to_vec(), 0..=14).prop_map(|list| Faults::of(&list).0);
    let shape = (any::<u64>().no_shrink(), faults);
    shape.prop_map(|(seed, faults)| Run { seed, faults, scans: SCANS })
}

/// I1 to I15 in a million steps of closed-loop trouble, and every reason, trip and rung seen.
#[test]
fn closed_world() {
    let config = Config {
        cases: setting("PROPERTIES_RUNS", RUNS),
        rng_seed: RngSeed::Fixed(setting("PROPERTIES_SEED", 1)),
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..Config::default()
    };
    let tally = RefCell::new(Tally::default());
    let result = TestRunner::new(config)
        .run(&runs(), |run| run.play(&mut tally.borrow_mut(), false).map_err(TestCaseError::fail));
    let tally = tally.into_inner();
    if let Err(TestError::Fail(why, run)) = &result {
        if setting("PROPERTIES_TRACE", 0) > 0 {
            let _ = run.play(&mut Tally::default(), true);
        }
        panic!("{run:?}\n{why}");
    }
    println!("{tally:#?}");
    let missing = tally.missing();
    assert!(missing.is_empty(), "never happened: {missing}");
}

#[test]
fn zz_survey() {
    use std::collections::BTreeMap;
    let mut kinds: BTreeMap<std::string::String, (u32, u32, std::string::String)> = BTreeMap::new();
    let mut rng = rng::Rng::new(setting("PROPERTIES_SEED", 1));
    let start = std::time::Instant::now();
    let mut tally = Tally::default();
    for _ in 0..setting("PROPERTIES_RUNS", 2600) {
        let n = rng.below(15);
        let mut mask = 0;
        for _ in 0..n {
            mask |= 1u64 << rng.below(Fault::ALL.len());
        }
        let run = Run { seed: rng.next(), faults: mask, scans: SCANS };
        if let Err(why) = run.play(&mut tally, false) {
            let text =
                why.split("]): ").nth(1).unwrap_or(&why).chars().collect::<std::string::String>();
            let key: std::string::String =
                text.chars().take(38).filter(|c| !c.is_ascii_digit()).collect();
            let e = kinds.entry(key).or_insert((0, 99, std::string::String::new()));
            e.0 += 1;
            if mask.count_ones() < e.1 {
                e.1 = mask.count_ones();
                e.2 = std::format!("{run:?} {why}");
            }
        }
    }
    for (k, v) in kinds {
        println!("{:5} {k}\n      {}", v.0, v.2.chars().take(900).collect::<std::string::String>());
    }
    println!("{:?} steps {} missing {}", start.elapsed(), tally.steps, tally.missing());
    println!("{tally:?}");
}
#[test]
fn zz_one() {
    let run = Run { seed: setting("RUN_SEED", 0), faults: setting("RUN_FAULTS", 0), scans: SCANS };
    println!("{:?}", run.play(&mut Tally::default(), true));
}
