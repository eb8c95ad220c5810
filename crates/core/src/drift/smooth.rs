//! An exponentially weighted mean against a limit with hysteresis.

use crate::plan::ScoreReference;

/// Weight of the newest value.
const LAMBDA: f64 = 0.02;
/// Limit of a score in standard deviations of the mean, and what it may shift besides in those of
/// the score: other runs have other means, and the rows of training fit their model a little better
/// than fresh ones.
const WIDTH: (f64, f64) = (5.0, 0.5);
/// Share of parts out of the domain that is drift, and below which it is over.
const EXITS: (f64, f64) = (0.25, 0.1);
/// One value counts at most this many times the distance from mean to limit: a single absurd part
/// is no drift, seven in a row are.
const CAP: f64 = 8.0;

/// A mean that forgets.
#[derive(Clone, Copy, Debug)]
pub struct Smoothed {
    z: f64,
    cap: f64,
    on: f64,
    off: f64,
    beyond: bool,
}

impl Smoothed {
    /// The score of a monitor. With memory the mean of so many rows spreads wider:
    /// `var = sd^2 l/(2-l) (1 + r(1-l)) / (1 - r(1-l))` for a first-order process.
    pub fn of_score(usual: &ScoreReference) -> Self {
        let r = usual.memory * (1.0 - LAMBDA);
        let spread = libm::sqrt(LAMBDA / (2.0 - LAMBDA) * (1.0 + r) / (1.0 - r));
        let distance = usual.deviation * (WIDTH.0 * spread + WIDTH.1);
        Self {
            z: usual.mean,
            cap: usual.mean + CAP * distance,
            on: usual.mean + distance,
            off: usual.mean + 0.5 * distance,
            beyond: false,
        }
    }

    /// Share of parts out of the domain.
    pub(super) const fn of_exits() -> Self {
        Self { z: 0.0, cap: 1.0, on: EXITS.0, off: EXITS.1, beyond: false }
    }

    /// Takes a finite value in; `true` when the limit is crossed with it.
    pub fn push(&mut self, x: f64) -> bool {
        self.z += LAMBDA * (x.min(self.cap) - self.z);
        let was = self.beyond;
        self.beyond = self.z > if was { self.off } else { self.on };
        self.beyond && !was
    }

    /// Whether the mean is beyond its limit.
    pub const fn beyond(&self) -> bool {
        self.beyond
    }

    /// Mean and limit.
    pub const fn evidence(&self) -> (f64, f64) {
        (self.z, self.on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few absurd values are no drift; a shift that stays is, and its end is told late.
    #[test]
    fn only_what_stays_is_drift() {
        let usual = ScoreReference { mean: 0.4, deviation: 0.1, memory: 0.0 };
        let mut mean = Smoothed::of_score(&usual);
        let limit = 0.4 + 0.5 * libm::sqrt(0.02 / 1.98) + 0.05;
        assert!(libm::fabs(mean.evidence().1 - limit) < 1e-12);
        assert!((0..6).all(|_| !mean.push(1e9)));
        assert!(mean.push(1e9) && mean.beyond());
        let back = (0..200).position(|_| {
            mean.push(0.4);
            !mean.beyond()
        });
        assert!((30..60).contains(&back.unwrap()), "{back:?}");
        let mut exits = Smoothed::of_exits();
        assert_eq!((0..100).position(|_| exits.push(1.0)), Some(14));
        let slow = ScoreReference { memory: 0.9, ..usual };
        assert!(Smoothed::of_score(&slow).evidence().1 > limit + 0.1);
    }
}
