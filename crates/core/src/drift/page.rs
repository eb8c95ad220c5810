//! Page-Hinkley: has the loss grown beyond what is usual?
//!
//! The usual loss is that of the first labels. From then on `m += loss - mean - 0.5 sd` is summed,
//! and drift is a sum more than `25 sd` above its lowest. Losses with memory make longer runs, so
//! that limit grows with the variance of their sums, `(1 + r) / (1 - r)` times that of independent
//! ones, which keeps the chance of a false alarm.

use super::spread::worth;

/// Allowance and limit in standard deviations of the loss.
const PAGE: (f64, f64) = (0.5, 25.0);
/// Independent losses of which the usual one is learnt, and most losses that this may take.
const FIRST: (f64, u32) = (80.0, 500);
/// Largest memory that is believed of so few losses.
const MEMORY_MAX: f64 = 0.9;
/// One loss counts at most so many standard deviations above the usual: three absurd labels are
/// no drift.
const CAP: f64 = 8.0;
/// Weight of the newest loss in the mean that must come back before drift is over.
const LAMBDA: f64 = 0.05;

/// The usual loss, or what is known of it so far.
#[derive(Clone, Copy, Debug)]
enum Usual {
    /// Sums over the first losses, each less the very first.
    Learning(Sums),
    Known {
        mean: f64,
        deviation: f64,
        limit: f64,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: u32,
    first: f64,
    last: f64,
    sum: f64,
    square: f64,
    lagged: f64,
}

impl Sums {
    fn push(&mut self, loss: f64) {
        if self.count == 0 {
            self.first = loss;
        }
        let d = loss - self.first;
        if self.count > 0 {
            self.lagged += self.last * d;
        }
        self.count += 1;
        self.last = d;
        self.sum += d;
        self.square += d * d;
    }

    /// Mean, standard deviation and memory.
    fn moments(&self) -> (f64, f64, f64) {
        let n = f64::from(self.count);
        let mean = self.sum / n;
        let square = (self.square - n * mean * mean).max(0.0);
        // The first distance is 0 by its definition.
        let lagged = self.lagged - mean * (2.0 * self.sum - self.last) + (n - 1.0) * mean * mean;
        // Few losses show less memory than there is: two standard errors are added.
        let memory = if square > 0.0 { lagged / square + 2.0 / libm::sqrt(n) } else { 0.0 };
        (self.first + mean, libm::sqrt(square / (n - 1.0).max(1.0)), memory.clamp(0.0, MEMORY_MAX))
    }
}

/// Losses, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct PageHinkley {
    usual: Usual,
    floor: f64,
    sum: f64,
    lowest: f64,
    recent: f64,
    beyond: bool,
}

impl PageHinkley {
    /// - `floor`: least standard deviation that the usual loss is taken to have, > 0: losses that
    ///   never differed have no spread to measure by.
    pub const fn new(floor: f64) -> Self {
        let sums = Sums { count: 0, first: 0.0, last: 0.0, sum: 0.0, square: 0.0, lagged: 0.0 };
        Self {
            usual: Usual::Learning(sums),
            floor,
            sum: 0.0,
            lowest: 0.0,
            recent: 0.0,
            beyond: false,
        }
    }

    /// Takes a finite loss in; `true` when drift is found with it.
    pub fn push(&mut self, loss: f64) -> bool {
        let (mean, deviation, limit) = match &mut self.usual {
            Usual::Learning(sums) => {
                sums.push(loss);
                let (mean, deviation, memory) = sums.moments();
                let n = f64::from(sums.count);
                if worth(n, memory) >= FIRST.0 || sums.count >= FIRST.1 {
                    let deviation = deviation.max(self.floor);
                    let limit = PAGE.1 * deviation * (1.0 + memory) / (1.0 - memory);
                    self.usual = Usual::Known { mean, deviation, limit };
                    self.recent = mean;
                }
                return false;
            }
            Usual::Known { mean, deviation, limit } => (*mean, *deviation, *limit),
        };
        let loss = loss.min(mean + CAP * deviation);
        self.sum += loss - mean - PAGE.0 * deviation;
        self.lowest = self.lowest.min(self.sum);
        self.recent += LAMBDA * (loss - self.recent);
        if self.beyond {
            if self.recent < mean + PAGE.0 * deviation {
                self.beyond = false;
                (self.sum, self.lowest) = (0.0, 0.0);
            }
            return false;
        }
        self.beyond = self.sum - self.lowest > limit;
        self.beyond
    }

    /// Whether the usual loss is known, so that drift can be found.
    pub const fn learnt(&self) -> bool {
        matches!(self.usual, Usual::Known { .. })
    }

    /// Whether the loss has grown.
    pub const fn beyond(&self) -> bool {
        self.beyond
    }

    /// Sum above its lowest, and limit [unit of the loss]; 0 and NaN before the usual loss is known.
    pub const fn evidence(&self) -> (f64, f64) {
        match self.usual {
            Usual::Learning(_) => (0.0, f64::NAN),
            Usual::Known { limit, .. } => (self.sum - self.lowest, limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::Noise;

    fn losses(seed: u64, n: usize, memory: f64) -> alloc::vec::Vec<f64> {
        let mut noise = Noise::new(seed);
        let mut x = 0.0;
        let scale = libm::sqrt(1.0 - memory * memory);
        let next = |_| {
            x = memory * x + scale * noise.normal();
            libm::fabs(x)
        };
        (0..n).map(next).collect()
    }

    /// Moments that are summed up are those of the losses.
    #[test]
    fn moments_by_hand() {
        let mut sums = Sums::default();
        for x in [5.0, 6.0, 8.0, 5.0] {
            sums.push(x);
        }
        let (mean, deviation, memory) = sums.moments();
        assert_eq!((mean, deviation), (6.0, libm::sqrt(2.0)));
        // (-1)(0) + (0)(2) + (2)(-1) = -2, over 6, and two standard errors.
        assert_eq!(memory, -2.0 / 6.0 + 1.0);
        for x in [5.0, 5.0] {
            sums.push(x);
        }
        let d = [5.0, 6.0, 8.0, 5.0, 5.0, 5.0].map(|x| x - 34.0 / 6.0);
        let lagged: f64 = d.windows(2).map(|w| w[0] * w[1]).sum();
        let square: f64 = d.iter().map(|x| x * x).sum();
        let expect = lagged / square + 2.0 / libm::sqrt(6.0);
        assert!(libm::fabs(sums.moments().2 - expect) < 1e-12);
    }

    /// Losses that grow are found and their return is told; steady ones, with memory or not, are
    /// not taken for growing.
    #[test]
    fn growth_is_found_and_ends() {
        let mut steady = 0;
        for (seed, memory) in (0..60_u32).map(|i| (u64::from(i) + 1, f64::from(i % 3) * 0.35)) {
            let mut page = PageHinkley::new(1e-6);
            steady += u32::from(losses(seed, 3000, memory).iter().any(|x| page.push(*x)));
        }
        assert!(steady <= 6, "{steady} in 180,000 labels");
        let mut page = PageHinkley::new(1e-6);
        let rows = losses(3, 900, 0.0);
        let at = |row: usize, x: &f64| x + if (300..500).contains(&row) { 1.5 } else { 0.0 };
        let mut on = None;
        let mut off = None;
        for (row, x) in rows.iter().enumerate() {
            if page.push(at(row, x)) {
                on = on.or(Some(row));
            } else if on.is_some() && !page.beyond() {
                off = off.or(Some(row));
            }
        }
        assert!((300..360).contains(&on.unwrap()), "{on:?}");
        assert!((500..600).contains(&off.unwrap()), "{off:?}");
    }

    /// One absurd label is no drift; losses that never differed have the floor for a spread.
    #[test]
    fn one_absurd_label_is_no_drift() {
        let mut page = PageHinkley::new(0.05);
        assert!((0..200).all(|_| !page.push(0.0)) && page.learnt());
        assert!(!page.push(1e9) && !page.push(0.0) && !page.beyond());
        assert!((0..4).any(|_| page.push(1e9)));
    }
}
