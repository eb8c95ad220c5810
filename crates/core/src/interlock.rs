//! Interlocks and bindings: what must hold on the machine before anything is written.
//!
//! Unknown is open: a contact that cannot be read permits nothing.

use alloc::vec;
use alloc::vec::Vec;

use crate::image::Image;
use crate::plan::{Condition, InterlockId, LoopPlan, Plan};

/// State of all interlocks and bindings in one scan.
#[derive(Clone, Debug)]
pub struct Interlocks {
    closed: Vec<bool>,
    bound: Vec<bool>,
    running: bool,
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
        for (i, (binding, was)) in (0_u16..).zip(plan.bindings.iter().zip(&mut self.bound)) {
            let bound = image.good_int(plan, binding.tag) == Some(binding.equals);
            if bound != *was {
                *was = bound;
                changed(Change::Binding(i, bound));
            }
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
