//! Setpoints as whole numbers: [`Ticks`] on a [`Grid`].
//!
//! Limits, steps and trims are compared as integers, so no rounding can carry a setpoint over a
//! limit (`0.3 / 0.1` in `f64` floors to 2). A float appears only in [`Grid::value`], the number
//! that goes onto the wire.

use core::ops::{Add, Neg, Sub};

/// Largest magnitude of a tick count; keeps every product on the limit path inside `i64`.
pub const TICKS_MAX: i64 = 1 << 40;

/// A setpoint, or a difference of setpoints, in steps of its [`Grid`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(i64);

impl Ticks {
    /// No ticks.
    pub const ZERO: Self = Self(0);

    /// From a count; clamped to plus or minus [`TICKS_MAX`].
    pub const fn new(count: i64) -> Self {
        if count > TICKS_MAX {
            Self(TICKS_MAX)
        } else if count < -TICKS_MAX {
            Self(-TICKS_MAX)
        } else {
            Self(count)
        }
    }

    /// The count.
    pub const fn count(self) -> i64 {
        self.0
    }

    /// Magnitude.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }
}

impl Add for Ticks {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.0.saturating_add(other.0))
    }
}

impl Sub for Ticks {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.0.saturating_sub(other.0))
    }
}

impl Neg for Ticks {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

/// The grid of a setpoint: one tick is `mantissa / 10^decimals` of its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    mantissa: i64,
    decimals: u8,
}

impl Grid {
    /// A grid of `mantissa / 10^decimals` per tick; `None` unless `mantissa` is 1 to 10^9 and
    /// `decimals` at most 9.
    pub const fn new(mantissa: i64, decimals: u8) -> Option<Self> {
        if mantissa < 1 || mantissa > 1_000_000_000 || decimals > 9 {
            return None;
        }
        Some(Self { mantissa, decimals })
    }

    /// Numerator of one tick.
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// Decimal places of one tick.
    pub const fn decimals(self) -> u8 {
        self.decimals
    }

    fn scale(self) -> f64 {
        // Powers of ten up to 10^9 are exact in f64.
        10_i64.pow(u32::from(self.decimals)) as f64
    }

    /// One tick in the setpoint's unit.
    pub fn tick(self) -> f64 {
        self.mantissa as f64 / self.scale()
    }

    /// The setpoint in its unit: one exact product, one correctly rounded division.
    pub fn value(self, ticks: Ticks) -> f64 {
        ticks.0.saturating_mul(self.mantissa) as f64 / self.scale()
    }

    /// The tick nearest to `value` [unit]; `None` when `value` is not finite or beyond
    /// [`TICKS_MAX`].
    pub fn nearest(self, value: f64) -> Option<Ticks> {
        let ticks = libm::round(value / self.tick());
        if !ticks.is_finite() || libm::fabs(ticks) > TICKS_MAX as f64 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "range checked above")]
        Some(Ticks(ticks as i64))
    }

    /// Whether `value` is a tick: exactly, or as a PLC's REAL (`f32`) keeps it.
    pub fn holds(self, value: f64) -> bool {
        let Some(ticks) = self.nearest(value) else { return false };
        let exact = self.value(ticks);
        #[expect(clippy::cast_possible_truncation, reason = "what a REAL keeps is the question")]
        let real = f64::from(exact as f32);
        libm::fabs(value - exact) <= self.tick() * 1e-9 || libm::fabs(value - real) <= 0.0
    }
}

/// Where a register stands: on a tick, or beside it, between two neighbours.
///
/// trimloop writes ticks only; a person or a clamping PLC may leave a register beside the grid.
/// Distances are then counted from the far neighbour, so that no limit is passed by a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stand {
    low: Ticks,
    high: Ticks,
    nearest: Ticks,
    /// Bits of the value when it is beside the grid, so that two such places differ.
    beside: u64,
}

impl Stand {
    /// On a tick.
    pub const fn on(ticks: Ticks) -> Self {
        Self { low: ticks, high: ticks, nearest: ticks, beside: 0 }
    }

    /// The tick at or below.
    pub const fn low(self) -> Ticks {
        self.low
    }

    /// The tick at or above.
    pub const fn high(self) -> Ticks {
        self.high
    }

    /// The nearest tick.
    pub const fn nearest(self) -> Ticks {
        self.nearest
    }

    /// Whether it is on a tick.
    pub const fn on_grid(self) -> bool {
        self.beside == 0
    }

    /// Whether it is exactly on this tick.
    pub fn is(self, ticks: Ticks) -> bool {
        self == Self::on(ticks)
    }

    /// Distance to a tick, rounded up to whole ticks.
    pub fn distance(self, to: Ticks) -> Ticks {
        (to - self.low).abs().max((to - self.high).abs())
    }
}

impl Grid {
    /// Where `value` [unit] stands; `None` when it is not finite or beyond [`TICKS_MAX`].
    pub fn stand(self, value: f64) -> Option<Stand> {
        let nearest = self.nearest(value)?;
        if self.holds(value) {
            return Some(Stand::on(nearest));
        }
        let one = Ticks::new(1);
        let below = value < self.value(nearest);
        let (low, high) = if below { (nearest - one, nearest) } else { (nearest, nearest + one) };
        Some(Stand { low, high, nearest, beside: value.to_bits().max(1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values come back to the tick they were made from, also through an `f32`.
    #[test]
    fn grid_round_trips() {
        for (mantissa, decimals) in [(1, 0), (5, 1), (25, 2), (3, 1), (1, 6), (2, 0)] {
            let grid = Grid::new(mantissa, decimals).unwrap();
            for count in [-1_000_000, -7, -1, 0, 1, 2, 3, 719, 720, 100_001] {
                let ticks = Ticks::new(count);
                let value = grid.value(ticks);
                assert_eq!(grid.nearest(value), Some(ticks));
                assert!(grid.holds(value));
                #[expect(clippy::cast_possible_truncation, reason = "a PLC's REAL is what we test")]
                let real = value as f32;
                assert!(grid.holds(f64::from(real)), "{count} of {mantissa}e-{decimals}");
                assert!(!grid.holds(value + 0.4 * grid.tick()));
            }
        }
    }

    /// Beside the grid, distances are rounded up, and two places are not the same.
    #[test]
    fn beside_the_grid() {
        let grid = Grid::new(5, 1).unwrap();
        let stand = grid.stand(10.2).unwrap();
        assert!(!stand.on_grid());
        assert_eq!((stand.low().count(), stand.high().count()), (20, 21));
        assert_eq!(stand.nearest().count(), 20);
        assert_eq!(stand.distance(Ticks::new(22)).count(), 2);
        assert_eq!(stand.distance(Ticks::new(20)).count(), 1);
        assert_ne!(stand, grid.stand(10.3).unwrap());
        assert!(!stand.is(Ticks::new(20)));
        assert!(grid.stand(10.5).unwrap().is(Ticks::new(21)));
        assert_eq!(grid.stand(f64::NAN), None);
    }

    /// What is not a number is on no grid.
    #[test]
    fn non_finite_has_no_tick() {
        let grid = Grid::new(1, 1).unwrap();
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            assert_eq!(grid.nearest(value), None);
            assert!(!grid.holds(value));
        }
    }
}
