//! Every state that modes, link, PLC, people and crashes can bring a cell into, up to a bound.
//!
//! The closed world beside this module draws its runs; this one leaves nothing out: from a few
//! states worth starting from ([`ROOTS`]) it tries every act ([`act`]) in every order, breadth
//! first, with the model checker stateright. Each state holds the real [`Cell`](crate::cell::Cell)
//! with a small plan ([`plant`]) and an independent judge ([`judge`]). A broken rule is printed
//! with the shortest way to it; what must be seen on the way ([`sights`]) is listed, so that an
//! exploration that explores nothing fails.
//!
//! Two states are one when nothing they may ever do differs ([`digest`] says why that is so). The
//! one thing merged beyond that is how long an open proposal still lives: within the bound it runs
//! out by [`Act::Minutes`](act::Act::Minutes) or not at all.
//!
//! `TRIMLOOP_EXPLORE_DEPTH` chooses another bound than that of every build.

mod act;
pub(crate) mod digest;
mod judge;
mod plant;
mod sights;
mod state;

use core::fmt::Write as _;
use std::string::String;
use std::sync::{Arc, OnceLock};
use std::vec::Vec;
use std::{format, println};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::setting;
use crate::guard::{Mutant, with_mutant};
use crate::mode::Mode;
use crate::plan::Plan;
use crate::scan::Action;
use crate::slip::{Slip, with_slip};
use act::{Act, Ask, Fate, Input};
use sights::{Sight, Sights};
use state::State;

/// Acts after a root in every build.
const DEPTH: usize = 3;

const AUTO: Act = Act::Person(Ask::Raise(Mode::Auto));
const ADVISORY: Act = Act::Person(Ask::Raise(Mode::Advisory));
const TRIP: Act = Act::Person(Ask::Trip);
const HIGH: Act = Act::Input(Input::High);
const TAKEN: Act = Act::Plc(0, Fate::Taken);

/// States to start from, and how each is reached from a boot.
const ROOTS: [(&str, &[Act]); 10] = [
    ("a service that has just started", &[]),
    ("a loop in AUTO with nothing to do", &[Act::Scan, AUTO, Act::Wait]),
    ("a write in flight", &[Act::Scan, AUTO, Act::Wait, HIGH]),
    (
        "a loop in AUTO at its limit",
        &[Act::Scan, AUTO, Act::Wait, HIGH, TAKEN, Act::Scan, TAKEN, Act::Wait],
    ),
    ("a proposal before a person", &[Act::Scan, ADVISORY, Act::Wait, HIGH]),
    (
        "a ramp after a trip",
        &[Act::Scan, AUTO, Act::Wait, HIGH, TAKEN, Act::Scan, TAKEN, Act::Wait, TRIP],
    ),
    ("a latched trip", &[Act::Scan, AUTO, Act::Wait, TRIP]),
    ("an operator's setpoint", &[Act::Scan, AUTO, Act::Wait, Act::Hand(-2), Act::Wait]),
    (
        "a hand at the register while a write is in flight",
        &[Act::Scan, AUTO, Act::Wait, HIGH, Act::Hand(-2), Act::Wait],
    ),
    (
        "a write not taken once",
        &[Act::Scan, AUTO, Act::Wait, HIGH, Act::Plc(0, Fate::Good), Act::Wait],
    ),
];

/// A fault seeded into the cell.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Guard(Mutant),
    State(Slip),
}

/// What the exploration looks at.
#[derive(Debug)]
struct World {
    plan: Plan,
    depth: usize,
    fault: Option<Fault>,
    sights: Arc<Sights>,
    /// The first broken state: the checker would go on to report later ones.
    first: OnceLock<State>,
}

impl World {
    fn new(depth: usize, fault: Option<Fault>) -> Self {
        let sights = Arc::new(Sights::default());
        Self { plan: plant::plan(), depth, fault, sights, first: OnceLock::new() }
    }

    fn step(&self, state: &State, act: Act, ear: state::Ear<'_>) -> State {
        let mut step = || state.after(&self.plan, act, &self.sights, ear);
        match self.fault {
            None => step(),
            Some(Fault::Guard(mutant)) => with_mutant(mutant, step),
            Some(Fault::State(slip)) => with_slip(slip, step),
        }
    }

    fn root(&self, acts: &[Act]) -> State {
        let mut root = State::boot(&self.plan);
        for act in acts {
            if root.broken.is_none() {
                root = self.step(&root, *act, &mut |_, _| {});
            }
        }
        root.steps = 0;
        root
    }

    /// Plays a way from a root, in words; the way to the root where that alone breaks a rule.
    fn tell(&self, root: usize, acts: &[Act]) -> String {
        let (name, begin) = ROOTS[root];
        let (name, begin, acts) = match acts {
            [] => (ROOTS[0].0, ROOTS[0].1, begin),
            acts => (name, begin, acts),
        };
        let mut text = format!("From {name}:\n");
        let mut state = self.root(begin);
        for (number, act) in (1..).zip(acts) {
            let _never_fails = writeln!(text, "{number}. {act}");
            let mut heard = String::new();
            let mut ear = |actions: &[Action], cell: &crate::cell::Cell| {
                for action in actions {
                    let _never_fails = match action {
                        Action::Write(w) => {
                            writeln!(
                                heard,
                                "   -> writes {} over {}",
                                w.to().count(),
                                w.from().count()
                            )
                        }
                        Action::Event(event) => writeln!(heard, "   -> tells {:?}", event.what),
                        Action::Ask(p) => writeln!(heard, "   -> proposes {}", p.to.count()),
                        Action::Record(_) | Action::Heartbeat(_, _) => Ok(()),
                    };
                }
                let _never_fails = writeln!(heard, "   = {}", State::words(cell));
            };
            state = self.step(&state, *act, &mut ear);
            text.push_str(&heard);
        }
        let _never_fails = writeln!(text, "Broken: {}", state.broken.unwrap_or("nothing"));
        text
    }
}

const RULES: &str = "every rule of the judge holds";

impl Model for World {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        ROOTS.iter().map(|(_, acts)| self.root(acts)).collect()
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        if state.broken.is_none() && state.steps < self.depth {
            state.acts(acts);
        }
    }

    fn next_state(&self, state: &State, act: Act) -> Option<State> {
        Some(self.step(state, act, &mut |_, _| {}))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        std::vec![Property::always(RULES, |world: &World, state: &State| {
            state.broken.is_none() || world.first.get_or_init(|| state.clone()) != state
        })]
    }
}

/// How far it came.
#[derive(Debug)]
struct Report {
    states: usize,
    steps: usize,
    /// Acts from a root to the furthest state, or to the broken one.
    depth: usize,
    /// The shortest way to a broken rule, told.
    broken: Option<String>,
    sights: Arc<Sights>,
}

/// One thread: only then is the first broken state the nearest.
fn explore(depth: usize, fault: Option<Fault>) -> Report {
    let world = World::new(depth, fault);
    let sights = Arc::clone(&world.sights);
    let checker = world.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut depth = checker.max_depth() - 1;
    let broken = checker.discovery(RULES).map(|path| {
        let teller = World::new(depth, fault);
        let init = path.clone().into_states().first().cloned();
        let begins = |(_, acts): &(&str, &[Act])| Some(teller.root(acts)) == init;
        let root = ROOTS.iter().position(begins).unwrap();
        let acts = path.into_actions();
        depth = acts.len();
        teller.tell(root, &acts)
    });
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    Report { states, steps, depth, broken, sights }
}

/// No rule is broken in any state within the bound, and everything worth seeing was seen.
#[test]
fn no_rule_is_broken() {
    let depth = setting("TRIMLOOP_EXPLORE_DEPTH", DEPTH);
    let report = explore(depth, None);
    println!(
        "{} states by {} steps, {} acts deep from {} roots",
        report.states,
        report.steps,
        report.depth,
        ROOTS.len()
    );
    if let Some(way) = report.broken {
        panic!("{way}");
    }
    // Half a hundred moves lie before that one: see the test below.
    let far = [Sight::TripMismatch];
    let near: Vec<_> = Sight::ALL.iter().copied().filter(|s| !far.contains(s)).collect();
    let missing = report.sights.missing(&near);
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

/// A fault, the most acts that lead to a broken rule with it, and what the judge says then.
const FOUND: [(Fault, usize, &str); 7] = [
    (Fault::Guard(Mutant::Mode), 1, "a write although nobody raised the loop"),
    (Fault::Guard(Mutant::External), 1, "a write over a value that a hand has set"),
    (Fault::State(Slip::SessionKeepsMode), 1, "the mode rose and nobody asked"),
    (Fault::State(Slip::ManualKeepsMode), 1, "the mode rose and nobody asked"),
    (Fault::State(Slip::ResetKeepsMode), 3, "the mode rose and nobody asked"),
    (Fault::State(Slip::HandIgnored), 0, "the mode rose and nobody asked"),
    (Fault::State(Slip::BlindRetry), 2, "a write while the last is unknown"),
];

/// With any of these faults in the cell a rule breaks, and the shortest way there is told.
#[test]
fn each_fault_is_found() {
    for (fault, depth, says) in FOUND {
        let report = explore(depth, Some(fault));
        let way = report.broken.unwrap_or_default();
        println!("{fault:?}\n{way}");
        assert!(way.contains(&format!("Broken: {says}")), "{fault:?}: {way}");
        assert_eq!(report.depth, depth, "{fault:?}: {way}");
    }
}

/// The fifty-first move running that the PLC takes half of trips the loop.
#[test]
fn moves_that_stay_short_trip() {
    let world = World::new(usize::MAX, None);
    let mut state = world.root(&[Act::Scan, AUTO, Act::Wait]);
    let tripped = (0..600).find(|_| {
        let act = state.next_short();
        state = world.step(&state, act, &mut |_, _| {});
        assert_eq!(state.broken, None, "{act}");
        world.sights.missing(&[Sight::TripMismatch]).is_empty()
    });
    assert!(tripped.is_some_and(|acts| acts > 300), "{tripped:?}");
}

/// Whatever else is asked in the same scan, and in whatever order: who takes manual has it.
#[test]
fn a_takeover_wins_over_the_orders_beside_it() {
    let world = World::new(usize::MAX, None);
    let raise = Ask::Raise(Mode::Auto);
    for (_, root) in ROOTS {
        for act in [Act::People(Ask::Manual, raise), Act::People(raise, Ask::Manual)] {
            let state = world.step(&world.root(root), act, &mut |_, _| {});
            assert_eq!(state.broken, None, "{act}");
        }
    }
}
