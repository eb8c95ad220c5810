//! Accumulators that take one number at a time and never allocate afterwards.

use alloc::collections::VecDeque;

/// Steps into which a sliding window is divided: an extreme is forgotten at most one step late.
const EXTREME_STEPS: usize = 64;

/// Mean and variance of a part's own samples (Welford), every sample with equal weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) count: u64,
    mean: f64,
    square: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Tally {
    pub(super) const EMPTY: Self =
        Self { count: 0, mean: 0.0, square: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    pub(super) fn add(&mut self, x: f64) {
        self.count = self.count.saturating_add(1);
        let delta = x - self.mean;
        self.mean += delta / self.count as f64;
        self.square += delta * (x - self.mean);
        self.min = self.min.min(x);
        self.max = self.max.max(x);
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// Sample standard deviation; `None` below two samples.
    pub(super) fn deviation(&self) -> Option<f64> {
        let free = self.count.checked_sub(1).filter(|n| *n > 0)?;
        Some(libm::sqrt(self.square.max(0.0) / free as f64))
    }
}

/// Exponentially weighted mean and variance of a value that holds between its samples.
///
/// Over a stretch `dt` in which the value stands at `x`, with `a = 1 - exp(-dt/tau)`: the weights
/// of the past fade by `1 - a`, and the stretch joins with weight `a`. A stretch that is not Good
/// only fades. With full coverage this is `m += a d`, `v <- (1-a)(v + a d^2)`, `d = x - m`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    /// Weight of the Good past, 0 to 1: the coverage.
    pub(super) weight: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    pub(super) const EMPTY: Self = Self { weight: 0.0, mean: 0.0, variance: 0.0 };

    /// `x` is `None` when the stretch was not Good; `seconds >= 0`, `window > 0` [s].
    pub(super) fn hold(&mut self, x: Option<f64>, seconds: f64, window: f64) {
        let joins = -libm::expm1(-seconds / window);
        self.weight *= 1.0 - joins;
        let Some(x) = x.filter(|_| joins > 0.0) else { return };
        self.weight += joins;
        let share = joins / self.weight;
        let delta = x - self.mean;
        self.mean += share * delta;
        self.variance = (1.0 - share) * (self.variance + share * delta * delta);
        if !self.mean.is_finite() || !self.variance.is_finite() {
            // Values near the end of the f64 range: start over rather than stay NaN for ever.
            *self = Self::EMPTY;
        }
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.weight > 0.0).then_some(self.mean)
    }

    pub(super) fn deviation(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| libm::sqrt(self.variance.max(0.0)))
    }
}

/// Weighted least-squares slope over samples; both origins travel with the newest sample, so that
/// neither a long run nor a large level costs digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slope {
    /// Sums of w, w t, w t^2, w y, w t y; t and y as seen from the newest sample.
    s0: f64,
    s1: f64,
    s2: f64,
    y: f64,
    q: f64,
    newest: f64,
}

impl Slope {
    pub(super) const EMPTY: Self = Self { s0: 0.0, s1: 0.0, s2: 0.0, y: 0.0, q: 0.0, newest: 0.0 };

    /// Adds `x`, `seconds >= 0` after the sample before; `window` [s] fades older samples by
    /// `exp(-seconds/window)`, `None` weighs all alike.
    pub(super) fn add(&mut self, x: f64, seconds: f64, window: Option<f64>) {
        if self.s0 > 0.0 {
            let kept = window.map_or(1.0, |tau| libm::exp(-seconds / tau));
            let rise = x - self.newest;
            self.q -= seconds * self.y;
            self.s2 += seconds * (seconds * self.s0 - 2.0 * self.s1);
            self.s1 -= seconds * self.s0;
            self.y -= rise * self.s0;
            self.q -= rise * self.s1;
            for sum in [&mut self.s0, &mut self.s1, &mut self.s2, &mut self.y, &mut self.q] {
                *sum *= kept;
            }
        }
        self.newest = x;
        // The new sample lies in both origins: it adds to the weight only.
        self.s0 += 1.0;
        let sums = [self.s0, self.s1, self.s2, self.y, self.q];
        if sums.iter().any(|sum| !sum.is_finite()) {
            *self = Self { s0: 1.0, newest: x, ..Self::EMPTY };
        }
    }

    /// Slope [unit/s]; `None` while the samples do not span any time.
    pub(super) fn slope(&self) -> Option<f64> {
        let spread = self.s0 * self.s2 - self.s1 * self.s1;
        (spread > 1e-12 * self.s0 * self.s2).then(|| (self.s0 * self.q - self.s1 * self.y) / spread)
    }
}

/// Largest value held within a sliding window: a monotone queue of fixed capacity.
///
/// An entry is a value and when it was replaced. Values replaced within one 64th of the window of
/// each other share an entry when the later is the smaller, so the queue cannot outgrow its memory
/// and an extreme is forgotten at most that much late.
#[derive(Clone, Debug)]
pub(super) struct Largest {
    queue: VecDeque<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    x: f64,
    /// When the first value that shares this entry was replaced [ns of process time].
    opened: i64,
    /// When the last one was.
    until: i64,
}

impl Largest {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::with_capacity(EXTREME_STEPS + 2) }
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }

    /// `x` stood until `until` [ns], `until` not before that of the last call; `window` [ns] > 0.
    pub(super) fn replaced(&mut self, x: f64, until: i64, window: i64) {
        self.forget(until, window);
        while self.queue.back().is_some_and(|last| last.x <= x) {
            self.queue.pop_back();
        }
        let step = window / 64;
        let full = self.queue.len() > EXTREME_STEPS + 1;
        match self.queue.back_mut() {
            Some(last) if full || until.saturating_sub(last.opened) < step => last.until = until,
            _ => self.queue.push_back(Held { x, opened: until, until }),
        }
    }

    /// Largest value within `window` before `now`, `held` being the one that stands.
    pub(super) fn value(&mut self, held: Option<f64>, now: i64, window: i64) -> Option<f64> {
        self.forget(now, window);
        let past = self.queue.front().map(|first| first.x);
        match (past, held) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        }
    }

    fn forget(&mut self, now: i64, window: i64) {
        let edge = now.saturating_sub(window);
        while self.queue.front().is_some_and(|first| first.until <= edge) {
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn close(a: f64, b: f64, tolerance: f64) -> bool {
        libm::fabs(a - b) <= tolerance * (1.0 + libm::fabs(b))
    }

    /// Mean, deviation and extremes of 2 4 4 4 5 5 7 9: 5, sqrt(32/7), 2, 9.
    #[test]
    fn tally_by_hand() {
        let mut tally = Tally::EMPTY;
        assert_eq!((tally.mean(), tally.deviation()), (None, None));
        for x in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            tally.add(x);
        }
        assert!(close(tally.mean().unwrap(), 5.0, 1e-15));
        assert!(close(tally.deviation().unwrap(), libm::sqrt(32.0 / 7.0), 1e-15));
        assert_eq!((tally.min, tally.max), (2.0, 9.0));
    }

    /// The recursion gives the integrals it stands for, gaps included, however it is cut up.
    #[test]
    fn moments_are_weighted_integrals() {
        let window = 10.0;
        let stretches = [(Some(5.0), 4.0), (None, 3.0), (Some(8.0), 0.5), (Some(-2.0), 6.0)];
        let mut fine = Moments::EMPTY;
        let mut coarse = Moments::EMPTY;
        for (x, seconds) in stretches {
            coarse.hold(x, seconds, window);
            for _ in 0..8 {
                fine.hold(x, seconds / 8.0, window);
            }
        }
        let (mut left, mut w, mut s, mut ss) = (13.5, 0.0, 0.0, 0.0);
        for (x, seconds) in stretches {
            let share = libm::exp(-(left - seconds) / window) - libm::exp(-left / window);
            left -= seconds;
            if let Some(x) = x {
                w += share;
                s += share * x;
                ss += share * x * x;
            }
        }
        let deviation = libm::sqrt(ss / w - (s / w) * (s / w));
        for got in [fine, coarse] {
            assert!(close(got.weight, w, 1e-12));
            assert!(close(got.mean().unwrap(), s / w, 1e-12));
            assert!(close(got.deviation().unwrap(), deviation, 1e-12));
        }
    }

    /// A long run over a large level keeps its digits.
    #[test]
    fn slope_keeps_its_digits() {
        for window in [None, Some(300.0)] {
            let mut slope = Slope::EMPTY;
            for i in 0..100_000 {
                slope.add(1e6 + 1e-4 * f64::from(i), 1.0, window);
            }
            assert!(close(slope.slope().unwrap(), 1e-4, 1e-8), "{:?}", slope.slope());
        }
    }

    /// Textbook weighted least squares with weights `exp(-age/tau)`.
    fn direct(points: &[(f64, f64)], window: Option<f64>) -> Option<f64> {
        let last = points.last()?.0;
        let weight = |t: f64| window.map_or(1.0, |tau| libm::exp((t - last) / tau));
        let total: f64 = points.iter().map(|p| weight(p.0)).sum();
        let t0 = points.iter().map(|p| weight(p.0) * p.0).sum::<f64>() / total;
        let y0 = points.iter().map(|p| weight(p.0) * p.1).sum::<f64>() / total;
        let tt: f64 = points.iter().map(|p| weight(p.0) * (p.0 - t0) * (p.0 - t0)).sum();
        let ty: f64 = points.iter().map(|p| weight(p.0) * (p.0 - t0) * (p.1 - y0)).sum();
        Some(ty / tt)
    }

    proptest! {
        /// The streamed slope equals weighted least squares computed directly.
        #[test]
        fn slope_is_weighted_least_squares(
            steps in proptest::collection::vec((0.01_f64..5.0, -100.0_f64..100.0), 2..60),
            window in proptest::option::of(1.0_f64..50.0),
        ) {
            let mut slope = Slope::EMPTY;
            let (mut t, mut points) = (0.0, Vec::new());
            for (seconds, y) in steps {
                t += seconds;
                points.push((t, y));
                slope.add(y, seconds, window);
            }
            let (got, want) = (slope.slope().unwrap(), direct(&points, window).unwrap());
            prop_assert!(close(got, want, 1e-7), "{got} {want}");
        }

        /// The largest value lies between that of the window and that of a window one step longer,
        /// and the queue never grows.
        #[test]
        fn largest_forgets_at_most_one_step_late(
            steps in proptest::collection::vec((0_i64..40, -50_i32..50), 1..400),
        ) {
            let (window, mut now) = (640_i64, 0);
            let mut largest = Largest::new();
            let room = largest.queue.capacity();
            let mut past: Vec<(f64, i64)> = Vec::new();
            for (gap, x) in steps {
                now += gap;
                past.push((f64::from(x), now));
                largest.replaced(f64::from(x), now, window);
                let over = |edge| past.iter().filter(move |p| p.1 > edge).map(|p| p.0)
                    .fold(f64::NEG_INFINITY, f64::max);
                let got = largest.value(None, now, window).unwrap();
                prop_assert!(over(now - window) <= got && got <= over(now - window - 10));
                prop_assert_eq!(largest.queue.capacity(), room);
            }
        }
    }
}
