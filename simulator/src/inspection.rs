//! The inspection bench: sampled, late, and the only quality data that is published. Pure.

use std::collections::VecDeque;

use crate::plant::moulding::Shot;
use crate::plant::noise::{Draws, Stream};

/// Standard deviation of the scale \[g].
const SCALE_SD_G: f64 = 0.003;
/// Resolution of the scale \[g].
const SCALE_STEP_G: f64 = 0.001;
/// Results that can wait; more than the longest delay in any scenario.
const WAITING_MAX: usize = 4096;

/// One inspection result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// Part inspected.
    pub part: u64,
    /// Weight \[g].
    pub weight_g: f64,
    /// Found good by eye and scale.
    pub ok: bool,
}

/// Parts on their way through inspection.
#[derive(Debug, Clone)]
pub struct Inspection {
    draws: Draws,
    waiting: VecDeque<(u64, Label)>,
}

impl Inspection {
    /// An empty bench.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { draws: Draws::new(seed), waiting: VecDeque::new() }
    }

    /// Puts a part on the bench; its result is due when part `shot.part + delay` is made.
    pub fn put(&mut self, shot: &Shot, delay: u64) {
        let weight_g = shot.weight_g + SCALE_SD_G * self.draws.normal(shot.part, Stream::Scale);
        let label = Label {
            part: shot.part,
            weight_g: (weight_g / SCALE_STEP_G).round() * SCALE_STEP_G,
            ok: shot.cause.is_none(),
        };
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back((shot.part + delay, label));
        }
    }

    /// The next result due, first in first out. At most one per shot, so that no published
    /// result is overwritten before a client can have seen it.
    pub fn take(&mut self, part: u64) -> Option<Label> {
        let (due, _) = self.waiting.front()?;
        if *due > part {
            return None;
        }
        self.waiting.pop_front().map(|(_, label)| label)
    }
}
