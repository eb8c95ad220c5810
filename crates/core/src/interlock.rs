//! Interlocks and bindings: what must hold on the machine before anything is written.
//!
//! Unknown is open: a contact that cannot be read permits nothing.

use alloc::vec;
use alloc::vec::Vec;

use crate::image::Image;
use crate::plan::{Condition, InterlockId, LoopPlan, Plan};

/// State of all interlocks and bindings in one scan.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts about one scan")]
pub struct Interlocks {
    closed: Vec<bool>,
    bound: Vec<bool>,
    running: bool,
    /// A binding tag is readable and holds another value.
    other: bool,
    /// It did, and all bindings hold since this scan.
    came_back: bool,
    away: bool,
}

/// A change, for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An interlock opened (`false`) or closed.
    Interlock(InterlockId, bool),
    /// A binding broke (`false`) or holds; index into the plan's bindings.
    Binding(u16, bool),
}

impl Interlocks {
    /// All open, nothing bound.
    pub fn new(plan: &Plan) -> Self {
        Self {
            closed: vec![false; plan.interlocks.len()],
            bound: vec![false; plan.bindings.len()],
            running: false,
            other: false,
            came_back: false,
            away: false,
        }
    }

    /// Looks at the image; tells every change.
    pub fn observe(&mut self, plan: &Plan, image: &Image, mut changed: impl FnMut(Change)) {
        for (i, (lock, was)) in (0_u16..).zip(plan.interlocks.iter().zip(&mut self.closed)) {
            let closed = match lock.closed {
                Condition::Equals(v) => image.good_int(plan, lock.tag) == Some(v),
                Condition::Above(v) => image.good(plan, lock.tag).is_some_and(|x| x >= v),
                Condition::Below(v) => image.good(plan, lock.tag).is_some_and(|x| x <= v),
            };
            if closed != *was {
                *was = closed;
                changed(Change::Interlock(InterlockId(i), closed));
            }
        }
        self.other = false;
        for (i, (binding, was)) in (0_u16..).zip(plan.bindings.iter().zip(&mut self.bound)) {
            let value = image.good_int(plan, binding.tag);
            let bound = value == Some(binding.equals);
            // A tag that cannot be read is no other product: nothing is written, nothing adopted.
            self.other |= value.is_some() && !bound;
            if bound != *was {
                *was = bound;
                changed(Change::Binding(i, bound));
            }
        }
        self.away |= self.other;
        self.came_back = self.away && self.bound.iter().all(|b| *b);
        if self.came_back {
            self.away = false;
        }
        self.running = match plan.cycle.running {
            None => true,
            Some((tag, value)) => image.good_int(plan, tag) == Some(value),
        };
    }

    /// Whether production runs, as far as the recipe can tell.
    pub fn running(&self) -> bool {
        self.running
    }

    /// Whether product, recipe and machine state are the ones the plan was made for.
    pub fn bound(&self) -> bool {
        self.bound.iter().all(|b| *b)
    }

    /// Whether another product, recipe or machine state is known to be there.
    pub fn other(&self) -> bool {
        self.other
    }

    /// Whether ours came back in this scan, after another was there.
    pub fn came_back(&self) -> bool {
        self.came_back
    }

    /// Whether every interlock of the loop is closed.
    pub fn closed(&self, of: &LoopPlan) -> bool {
        of.interlocks.iter().all(|i| self.closed.get(i.index()).copied().unwrap_or(false))
    }

    /// Whether an open interlock of the loop trips it.
    pub fn trips(&self, plan: &Plan, of: &LoopPlan) -> bool {
        of.interlocks.iter().any(|i| {
            let open = !self.closed.get(i.index()).copied().unwrap_or(false);
            open && plan.interlocks.get(i.index()).is_some_and(|lock| lock.trips)
        })
    }

    /// Whether this one is closed.
    pub fn is_closed(&self, id: InterlockId) -> bool {
        self.closed.get(id.index()).copied().unwrap_or(false)
    }
}
