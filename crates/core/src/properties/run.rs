//! One run: a plan, a world, a cell, a judge.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::faults::Faults;
use super::oracle::Oracle;
use super::plans;
use super::rng::Rng;
use super::tally::Tally;
use super::world::{OwnedScan, World};
use crate::cell::Cell;

/// What names a run completely.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) faults: u64,
    pub(super) scans: u32,
}

impl Run {
    /// Plays it; with `trace` every scan and what came of it is printed.
    ///
    /// # Errors
    /// The first broken invariant, with the scan it broke in.
    pub(super) fn play(self, tally: &mut Tally, trace: bool) -> Result<(), String> {
        let faults = Faults(self.faults);
        let plan = plans::draw(&mut Rng::new(self.seed));
        if trace {
            std::println!("{plan:#?}");
        }
        let mut world = World::new(&plan, self.seed, faults);
        let mut cell = new_cell(&plan)?;
        let mut oracle = Oracle::new(&plan);
        let mut scan = OwnedScan::default();
        tally.runs += 1;
        tally.faults |= self.faults;
        let mut replay = self.seed.is_multiple_of(16).then(Replay::default);
        for step in 0..self.scans {
            if world.restarts() {
                oracle.count(tally);
                if let Some(replay) = &mut replay {
                    replay.check(&plan)?;
                    tally.replayed += 1;
                }
                cell = new_cell(&plan)?;
                oracle = Oracle::new(&plan);
            }
            world.next(&mut scan);
            let scan = scan.scan();
            oracle.look(&scan);
            tally.steps += 1;
            let actions = cell.step(scan);
            if trace {
                std::println!("{scan:?}\n  {:?}", actions.as_slice());
            }
            let told = oracle.judge(&scan, actions.as_slice(), tally);
            told.map_err(|why| format!("scan {step} ({:?}): {why}", faults.names()))?;
            world.react(actions.as_slice());
            if let Some(replay) = &mut replay {
                replay.keep(&scan, format!("{:?}", actions.as_slice()));
            }
        }
        oracle.count(tally);
        if let Some(mut replay) = replay {
            replay.check(&plan)?;
            tally.replayed += 1;
        }
        Ok(())
    }
}

fn new_cell(plan: &crate::plan::Plan) -> Result<Cell, String> {
    Cell::new(plan.clone()).map_err(|e| format!("{e}"))
}

/// I12: what one cell saw and did, for another to do again.
#[derive(Default)]
struct Replay {
    kept: Vec<(OwnedScan, String)>,
}

impl Replay {
    fn keep(&mut self, scan: &crate::scan::Scan<'_>, actions: String) {
        let scan = OwnedScan {
            seq: scan.seq,
            now: scan.now,
            links: scan.links.to_vec(),
            changes: scan.changes.to_vec(),
            acks: scan.acks.to_vec(),
            commands: scan.commands.to_vec(),
        };
        self.kept.push((scan, actions));
    }

    fn check(&mut self, plan: &crate::plan::Plan) -> Result<(), String> {
        let mut cell = new_cell(plan)?;
        for (step, (scan, before)) in self.kept.drain(..).enumerate() {
            let again = format!("{:?}", cell.step(scan.scan()).as_slice());
            if again != before {
                return Err(format!("replay differs in step {step} (I12):\n{before}\n{again}"));
            }
        }
        Ok(())
    }
}
