//! People: they raise loops, approve, take over, trip, reset, and get things wrong.

use alloc::vec::Vec;

use super::super::faults::Fault;
use super::super::rng::Rng;
use super::{OwnedScan, World};
use crate::mode::Mode;
use crate::plan::{CharacteristicId, LoopId, Plan};
use crate::scan::{Command, Label, Order, Proposal};
use crate::unit::Ticks;

pub(super) struct People {
    /// `[loops]` the mode they like.
    likes: Vec<Mode>,
    asks: Vec<Proposal>,
    pub(super) queue: Vec<Command>,
    next: u64,
}

impl People {
    pub(super) fn new(plan: &Plan, rng: &mut Rng) -> Self {
        let modes = [Mode::Auto, Mode::Auto, Mode::Auto, Mode::Advisory, Mode::Shadow];
        let likes = plan.loops.iter().map(|_| rng.pick(&modes)).collect();
        Self { likes, asks: Vec::new(), queue: Vec::new(), next: 1 }
    }

    pub(super) fn ask(&mut self, proposal: Proposal) {
        if self.asks.len() > 8 {
            self.asks.remove(0);
        }
        self.asks.push(proposal);
    }

    fn give(&mut self, out: &mut OwnedScan, command: Command) {
        out.commands.push(Order { id: self.next, command });
        self.next += 1;
    }
}

impl World {
    pub(super) fn give_orders(&mut self, out: &mut OwnedScan) {
        let loops = self.people.likes.len();
        let queue = core::mem::take(&mut self.people.queue);
        for command in queue {
            self.people.give(out, command);
        }
        let index = self.rng.below(loops + 1);
        let id = LoopId(u16::try_from(index).unwrap());
        let likes = self.people.likes.get(index).copied().unwrap_or(Mode::Auto);
        if self.rng.chance(300) {
            self.people.give(out, Command::SetMode(id, likes));
        }
        if self.rng.chance(150) {
            self.people.give(out, Command::Reset(id));
        }
        self.approve(out);
        if self.strikes(Fault::TripOrder, 12) {
            self.people.give(out, Command::Trip(id));
        }
        self.tell_wild_labels(out);
        self.order_anything(out, id);
        if self.strikes(Fault::Flood, 10) {
            for _ in 0..400 {
                self.people.give(out, Command::Reset(LoopId(99)));
            }
        }
    }

    fn approve(&mut self, out: &mut OwnedScan) {
        let yes = self.rng.chance(600);
        let patient = self.rng.chance(700);
        let Some(proposal) = self.people.asks.last().copied() else { return };
        if patient && yes {
            self.people.asks.pop();
            let expected = proposal.from;
            self.people.give(out, Command::Approve { proposal: proposal.id, expected });
        }
        let proposal = self.rng.pick(&[proposal.id, proposal.id + 1, proposal.id.wrapping_sub(1)]);
        let asked = self.people.asks.last().copied().map_or(Ticks::ZERO, |p| p.from);
        let expected = asked + Ticks::new(self.rng.pick(&[0, 0, 1]));
        if self.strikes(Fault::WrongApproval, 60) {
            self.people.give(out, Command::Approve { proposal, expected });
        }
        let deny = self.rng.chance(500);
        if self.strikes(Fault::WrongApproval, 40) && deny {
            self.people.give(out, Command::Deny { proposal });
        }
    }

    fn tell_wild_labels(&mut self, out: &mut OwnedScan) {
        let part = self.rng.range(90, 200);
        let value = self.rng.pick(&[f64::NAN, f64::INFINITY, 1e308, -1e308, 500.0, 10.0]);
        let of = CharacteristicId(self.rng.pick(&[0, 0, 0, 7]));
        if self.strikes(Fault::WildLabel, 40) {
            let label = Label { part, characteristic: of, value };
            self.people.give(out, Command::Label(label));
            self.people.give(out, Command::Label(label));
        }
    }

    fn order_anything(&mut self, out: &mut OwnedScan, id: LoopId) {
        let mode = self.rng.pick(&[Mode::Off, Mode::Shadow, Mode::Advisory, Mode::Auto]);
        let command = self.rng.pick(&[
            Command::SetMode(id, mode),
            Command::SetMode(id, mode),
            Command::SetMode(id, mode),
            Command::TakeManual(id),
            Command::Reset(id),
            Command::Deny { proposal: self.seq % 7 },
        ]);
        if self.strikes(Fault::Orders, 60) {
            self.people.give(out, command);
        }
    }
}
