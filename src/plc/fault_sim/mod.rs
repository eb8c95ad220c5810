//! Core and link on a seeded network and PLC, in virtual time.
//!
//! The link's own tasks, the intake, the scanner, the dispatcher and the cell run as they do in
//! the service. Simulated are the wire and all behind it ([`wire`], [`world`], [`server`]), the
//! people ([`run`]) and time. The judge ([`oracle`]) states what must hold.
//!
//! A run is its seed: the same seed gives the same run, event by event. A failing seed is shrunk
//! to the faults it needs and printed with the command that replays it:
//!
//! ```text
//! TRIMLOOP_SEED=123 TRIMLOOP_FAULTS=2048 cargo test -p trimloop --lib fault_sim::replay -- --nocapture
//! ```
//!
//! `TRIMLOOP_SEEDS=100000` runs so many instead of 10,000.

mod faults;
mod kit;
mod oracle;
mod rng;
mod run;
mod server;
mod wire;
mod world;

use std::env;

use faults::{Fault, Faults};
use oracle::Tally;
use run::play;

use super::mutant::{Mutant, with_mutant};

/// Seeds of a run of all tests below.
const SEEDS: u64 = 10_000;
/// Tests that share them, so that they run side by side.
const PARTS: u64 = 8;
fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Leaves out what a failure does not need.
fn shrink(seed: u64, says: &str) -> u64 {
    let kind = says.get(..2);
    let mut mask = (1 << Fault::ALL.len()) - 1;
    for fault in Fault::ALL {
        let fewer = mask & !(1 << *fault as u64);
        let still = play(seed, Faults { may: fewer, must: 0 }, false).broken;
        if still.is_some_and(|(_, why)| why.get(..2) == kind) {
            mask = fewer;
        }
    }
    mask
}

/// Why a seed fails, and how to see it again.
fn report(seed: u64, says: &str) -> String {
    let mask = shrink(seed, says);
    let names: Vec<&Fault> =
        Fault::ALL.iter().filter(|fault| mask & (1 << **fault as u64) != 0).collect();
    let least = play(seed, Faults { may: mask, must: 0 }, false).broken;
    format!(
        "seed {seed}: {says}\nfaults needed: {names:?}, then {least:?}\nTRIMLOOP_SEED={seed} \
         TRIMLOOP_FAULTS={mask} cargo test -p trimloop --lib fault_sim::replay -- --nocapture"
    )
}

/// Plays one part of the seeds.
fn part(number: u64) {
    let seeds = setting("TRIMLOOP_SEEDS").unwrap_or(SEEDS);
    let mut tally = Tally::default();
    for seed in (number..seeds).step_by(usize::try_from(PARTS).unwrap()) {
        let played = play(seed, Faults::ANY, false);
        if let Some((at, why)) = played.broken {
            panic!("after {at} ms, {}", report(seed, &why));
        }
        tally.add(&played.tally);
    }
    let seen = [
        tally.handed,
        tally.good,
        tally.refused,
        tally.not_sent,
        tally.unknown,
        tally.confirmed,
        tally.not_taken,
        tally.mismatch,
        tally.foreign,
        tally.approved,
        tally.beats,
        tally.late,
        tally.switches,
        tally.halved,
    ];
    assert!(seeds < SEEDS || tally.impostors > 0, "no impostor was met: {tally:?}");
    // Few seeds need not show all.
    assert!(seeds < SEEDS || seen.iter().all(|count| *count > 20), "hardly happened: {tally:?}");
    say(&format!("{tally:?}"));
}

#[expect(clippy::print_stdout, reason = "read by a person with --nocapture")]
fn say(text: &str) {
    println!("{text}");
}

macro_rules! parts {
    ($($name:ident $number:literal),+) => {
        $(
            /// No invariant is broken in this part of the seeds.
            #[test]
            fn $name() {
                part($number);
            }
        )+
    };
}

parts!(
    seeds_0 0, seeds_1 1, seeds_2 2, seeds_3 3, seeds_4 4, seeds_5 5, seeds_6 6, seeds_7 7
);

/// Plays `TRIMLOOP_SEED` with all that happens; seed 0 without.
#[test]
fn replay() {
    let seed = setting("TRIMLOOP_SEED");
    let may = setting("TRIMLOOP_FAULTS").unwrap_or(u64::MAX);
    let played = play(seed.unwrap_or(0), Faults { may, must: 0 }, seed.is_some());
    for line in &played.lines {
        say(line);
    }
    assert!(played.broken.is_none(), "{:?}", played.broken);
}

/// The same seed is the same run, event by event; another seed is another.
#[test]
fn a_run_is_its_seed() {
    let mut hashes = Vec::new();
    for seed in 0..40 {
        let (first, second) = (play(seed, Faults::ANY, false), play(seed, Faults::ANY, true));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.tally, second.tally, "seed {seed}");
        hashes.push(first.hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 40);
}

/// A seeded fault of the link, the invariants that it may break first, the faults of network and
/// PLC that bring it out, and the seeds in which they must.
type Killed = (Mutant, &'static [&'static str], &'static [Fault], u64);

const MUTANTS: [Killed; 13] = [
    (Mutant::GateLeftOpen, &["W3", "W4"], &[Fault::Drop], 100),
    (Mutant::TtlUnchecked, &["W2"], &[Fault::SlowDispatch], 100),
    (Mutant::EpochUnchecked, &["W3"], &[Fault::SlowDispatch, Fault::Drop], 600),
    (Mutant::NoReadBack, &["F2"], &[], 20),
    (Mutant::BlindRetry, &["W1"], &[Fault::Swallowed], 100),
    (Mutant::AmbiguousRefused, &["F1"], &[Fault::Ambiguous], 100),
    (Mutant::ReadsAreLife, &["D2"], &[Fault::Stall, Fault::Ignored, Fault::SlowCall], 1000),
    (Mutant::SilenceUnseen, &["L3"], &[Fault::Stall], 100),
    (Mutant::NoGoodbye, &["L1"], &[Fault::StopStart], 100),
    (Mutant::NoBackoff, &["L1"], &[Fault::Restart], 100),
    (Mutant::FateForgotten, &["F1"], &[Fault::SlowDispatch], 100),
    (Mutant::ServerUnchecked, &["W5"], &[Fault::Impostor], 100),
    (Mutant::CallsUncut, &["C1"], &[], 20),
];

/// The simulation finds each seeded fault of the link, and names the invariant.
#[test]
fn each_mutant_is_found() {
    let mut wrong = false;
    for (mutant, says, faults, seeds) in MUTANTS {
        let faults = Faults::with(faults);
        let found = with_mutant(mutant, || {
            (0..seeds).find_map(|seed| Some((seed, play(seed, faults, false).broken?.1)))
        });
        let (seed, why) = found.unwrap_or_default();
        let named = says.iter().any(|word| why.starts_with(word));
        wrong |= !named;
        say(&format!("{mutant:?}, named {named}: seed {seed}: {why}"));
    }
    assert!(!wrong, "a seeded fault was not found, see above");
}
