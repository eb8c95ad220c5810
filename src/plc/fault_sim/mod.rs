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

use faults::Fault;
use oracle::Tally;
use run::play;

use super::mutant::{Mutant, with_mutant};

/// Seeds of a run of all tests below.
const SEEDS: u64 = 10_000;
/// Tests that share them, so that they run side by side.
const PARTS: u64 = 8;
/// All faults.
const ALL: u64 = u64::MAX;

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Leaves out what a failure does not need.
fn shrink(seed: u64, says: &str) -> u64 {
    let kind = says.get(..2);
    let mut mask = (1 << Fault::ALL.len()) - 1;
    for fault in Fault::ALL {
        let fewer = mask & !(1 << *fault as u64);
        let still = play(seed, fewer, false).broken;
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
    let least = play(seed, mask, false).broken;
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
        let played = play(seed, ALL, false);
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
    ];
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
    let mask = setting("TRIMLOOP_FAULTS").unwrap_or(ALL);
    let played = play(seed.unwrap_or(0), mask, seed.is_some());
    for line in &played.lines {
        say(line);
    }
    assert!(played.broken.is_none(), "{:?}", played.broken);
}

#[test]
fn survey() {
    let begin = setting("TRIMLOOP_SEED").unwrap_or(0);
    let mut tally = Tally::default();
    let mut fails: std::collections::BTreeMap<String, Vec<u64>> = Default::default();
    for seed in begin..begin + setting("TRIMLOOP_SEEDS").unwrap_or(1) {
        let played = play(seed, ALL, false);
        tally.add(&played.tally);
        if let Some((_, why)) = played.broken {
            let key: String = why.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
            fails.entry(key).or_default().push(seed);
        }
    }
    say(&format!("{tally:?}"));
    for (key, seeds) in fails {
        let seed = seeds[0];
        say(&format!(
            "{} x {key}: {}",
            seeds.len(),
            report(seed, &play(seed, ALL, false).broken.unwrap().1)
        ));
    }
}

/// The same seed is the same run, event by event; another seed is another.
#[test]
fn a_run_is_its_seed() {
    let mut hashes = Vec::new();
    for seed in 0..40 {
        let (first, second) = (play(seed, ALL, false), play(seed, ALL, true));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.tally, second.tally, "seed {seed}");
        hashes.push(first.hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 40);
}

/// Each seeded fault of the link, the invariant that it breaks, and the seeds in which it must.
const MUTANTS: [(Mutant, &[&str], u64); 11] = [
    (Mutant::GateLeftOpen, &["W3", "W4"], 200),
    (Mutant::TtlUnchecked, &["W2"], 200),
    (Mutant::EpochUnchecked, &["W3"], 200),
    (Mutant::NoReadBack, &["F2"], 20),
    (Mutant::BlindRetry, &["W1"], 200),
    (Mutant::AmbiguousRefused, &["F1"], 200),
    (Mutant::ReadsAreLife, &["D2"], 400),
    (Mutant::SilenceUnseen, &["L3", "L2"], 200),
    (Mutant::NoGoodbye, &["L1"], 400),
    (Mutant::NoBackoff, &["L1"], 200),
    (Mutant::FateForgotten, &["F1"], 200),
];

/// The simulation finds each seeded fault of the link, and names the invariant.
#[test]
fn each_mutant_is_found() {
    let mut wrong = false;
    for (mutant, says, seeds) in MUTANTS {
        let found = with_mutant(mutant, || {
            (0..seeds).find_map(|seed| Some((seed, play(seed, ALL, false).broken?.1)))
        });
        let (seed, why) = found.unwrap_or_default();
        let named = says.iter().any(|word| why.starts_with(word));
        wrong |= !named;
        say(&format!("{mutant:?}, named {named}: seed {seed}: {why}"));
    }
    assert!(!wrong, "a seeded fault was not found, see above");
}
