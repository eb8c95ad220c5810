//! The invariants of the envelope (`methods.md` section 4), held against a hostile world.
//!
//! A run is a seed, a set of faults and a length. The seed draws a plan ([`plans`]) and a PLC with
//! plant and people around it ([`world`]); the judge ([`oracle`]) sees only plan, scans and actions.
//! A failing run is shrunk to fewer faults and printed with the scan in which it broke; what it
//! found becomes a scene in [`scenes`] or [`fates`], because a seed means another run as soon as the
//! world learns a new trick.
//!
//! `PROPERTIES_SEED` and `PROPERTIES_RUNS` choose other runs than those of every build;
//! `PROPERTIES_TRACE=1` prints the plan and every scan of a failure; `PROPERTIES_RUN=seed,faults`
//! plays that one alone.

mod beside;
pub(crate) mod explore;
mod fates;
mod faults;
mod garbage;
mod mutants;
mod oracle;
mod permits;
mod plans;
mod rng;
mod run;
mod scenes;
mod tally;
mod world;

use core::cell::RefCell;
use std::env;
use std::println;

use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use faults::{Fault, Faults};
use run::Run;
use tally::Tally;

const RUNS: u32 = 4000;
const SCANS: u32 = 400;

fn setting<T: core::str::FromStr>(name: &str, otherwise: T) -> T {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn one_run() -> Option<(u64, u64)> {
    let text = env::var("PROPERTIES_RUN").ok()?;
    let (seed, faults) = text.split_once(',')?;
    Some((seed.parse().ok()?, faults.parse().ok()?))
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
    if let Some((seed, faults)) = one_run() {
        let run = Run { seed, faults, scans: SCANS };
        run.play(&mut Tally::default(), true).unwrap();
        return;
    }
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
    println!("{tally:?}");
    let roomless = tally.roomless;
    assert!(roomless.is_none(), "told to have passed without room: {roomless:?}");
    let missing = tally.missing();
    assert!(missing.is_empty(), "never happened: {missing}");
    assert!(tally.steps >= 1_000_000 || tally.runs < u64::from(RUNS), "{} steps", tally.steps);
}
