//! The population stability index: is an input spread as it was in training?

use crate::plan::{BINS, InputReference};

/// Index that is drift, however many rows.
const INDEX: f64 = 0.2;
/// 99.9 % quantile of chi-squared with `BINS - 1` degrees of freedom.
const CHI2: f64 = 27.877;
/// Independent rows in a window: ten in each bin, so that an empty one tells something.
const WINDOW: f64 = 100.0;
/// Longest window [rows].
const WINDOW_MAX: f64 = 10_000.0;
/// Windows in a row that must agree.
const WINDOWS: u8 = 2;

/// Bin of a value; `ends` rise or repeat.
pub fn bin(ends: &[f64], x: f64) -> usize {
    ends.partition_point(|end| *end <= x)
}

/// `sum((p - q) ln(p / q))` over the shares of two samples; an empty bin counts as half a row of
/// ten thousand.
///
/// - `p`, `q`: `[bins]`, each 0 to 1.
pub fn stability_index(p: &[f64], q: &[f64]) -> f64 {
    let floor = |x: f64| x.max(5e-5);
    p.iter().zip(q).map(|(p, q)| (p - q) * libm::log(floor(*p) / floor(*q))).sum()
}

/// From where on the index of two samples is drift: it averages `(bins - 1)(1/n + 1/m)` where
/// nothing drifts.
///
/// - `n`, `m`: independent rows of each.
pub fn stability_limit(n: f64, m: f64) -> f64 {
    INDEX.max(CHI2 * (1.0 / n.max(1.0) + 1.0 / m.max(1.0)))
}

/// Independent rows that rows with memory are worth, at least 1.
///
/// - `memory`: lag-1 correlation of a first-order process, 0 <= x < 1.
pub fn worth(rows: f64, memory: f64) -> f64 {
    (rows * (1.0 - memory) / (1.0 + memory)).max(1.0)
}

/// Deciles of known values, and the share of them in each bin; all 0 without any value.
pub fn deciles(values: &[f64]) -> ([f64; BINS - 1], [f64; BINS]) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let end = |i: usize| sorted.get((i + 1) * sorted.len() / BINS).copied().unwrap_or(0.0);
    let ends = core::array::from_fn(end);
    let mut counts = [0.0; BINS];
    for x in values {
        if let Some(count) = counts.get_mut(bin(&ends, *x)) {
            *count += 1.0;
        }
    }
    let n = count(values).max(1.0);
    (ends, counts.map(|count| count / n))
}

/// Mean and standard deviation.
pub fn moments(values: &[f64]) -> (f64, f64) {
    let n = count(values).max(1.0);
    let mean = values.iter().sum::<f64>() / n;
    let square: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    (mean, libm::sqrt(square / (n - 1.0).max(1.0)))
}

/// Correlation of the values with those `lag` rows later; 0 when the values do not change.
pub fn correlation(values: &[f64], lag: usize) -> f64 {
    let mean = values.iter().sum::<f64>() / count(values).max(1.0);
    let square: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    let later = values.iter().skip(lag);
    let product: f64 = values.iter().zip(later).map(|(a, b)| (a - mean) * (b - mean)).sum();
    if square > 0.0 { product / square } else { 0.0 }
}

/// Memory of rows: the lag-1 correlation, 0 to 0.999, of a first-order process whose rows are worth
/// as many independent ones. Lots and slow drifts are seen by the correlations at all lags up to
/// the first that is no longer above 0 (Geyer's initial positive sequence), not by the first alone.
pub fn persistence(values: &[f64]) -> f64 {
    let n = values.len();
    let most = (n / 4).min(20_000_000 / n.max(1)).max(1);
    let mut sum = 0.0;
    for pair in 0..most.div_ceil(2) {
        let both = correlation(values, 2 * pair + 1) + correlation(values, 2 * pair + 2);
        if both <= 0.0 {
            break;
        }
        sum += both;
    }
    // Rows per independent one: 1 + 2 sum, of a first-order process (1 + r) / (1 - r).
    (sum / (1.0 + sum)).clamp(0.0, 0.999)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 rows")]
const fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

/// One input, window after window.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    counts: [u32; BINS],
    seen: u32,
    window: u32,
    limit: f64,
    /// Index of the newest whole window.
    value: f64,
    /// Windows in a row that say otherwise than `beyond`.
    against: u8,
    beyond: bool,
}

impl Spread {
    pub(super) fn new(input: &InputReference) -> Self {
        let window = libm::ceil(WINDOW / worth(1e6, input.memory) * 1e6).min(WINDOW_MAX);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 10,000")]
        let rows = window as u32;
        Self {
            counts: [0; BINS],
            seen: 0,
            window: rows,
            limit: stability_limit(input.rows, worth(window, input.memory)),
            value: 0.0,
            against: 0,
            beyond: false,
        }
    }

    /// Takes a value in; `true` when the input is found to drift with it.
    pub(super) fn push(&mut self, input: &InputReference, x: f64) -> bool {
        if let Some(count) = self.counts.get_mut(bin(&input.ends, x)) {
            *count += 1;
        }
        self.seen += 1;
        if self.seen < self.window {
            return false;
        }
        let share = |count: u32| f64::from(count) / f64::from(self.seen);
        self.value = stability_index(&input.shares, &self.counts.map(share));
        self.counts = [0; BINS];
        self.seen = 0;
        if (self.value > self.limit) == self.beyond {
            self.against = 0;
            return false;
        }
        self.against += 1;
        if self.against < WINDOWS {
            return false;
        }
        self.against = 0;
        self.beyond = !self.beyond;
        self.beyond
    }

    pub(super) const fn beyond(&self) -> bool {
        self.beyond
    }

    /// Index and limit.
    pub(super) const fn evidence(&self) -> (f64, f64) {
        (self.value, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FeatureId;

    /// Bins, index and limit by hand.
    #[test]
    fn by_hand() {
        let ends = [1.0, 2.0, 2.0];
        assert_eq!([0.0, 1.0, 1.5, 2.0, 9.0].map(|x| bin(&ends, x)), [0, 1, 1, 3, 3]);
        let (p, q) = ([0.5, 0.5], [0.25, 0.75]);
        let index = 0.25 * libm::log(2.0) - 0.25 * libm::log(0.5 / 0.75);
        assert!(libm::fabs(stability_index(&p, &q) - index) < 1e-15);
        assert_eq!(stability_index(&p, &p), 0.0);
        assert!(stability_index(&[1.0, 0.0], &[0.0, 1.0]).is_finite());
        assert!(libm::fabs(stability_limit(1000.0, 100.0) - 27.877 * 0.011) < 1e-12);
        assert_eq!(stability_limit(1e9, 1e9), 0.2);
        assert_eq!(worth(100.0, 0.5), 100.0 / 3.0);
        assert_eq!(worth(2.0, 0.9), 1.0);
    }

    /// One odd window is not drift, two are, and it takes two to end it.
    #[test]
    fn two_windows_decide() {
        let input = InputReference {
            feature: FeatureId(0),
            ends: core::array::from_fn(|i| i as f64 + 1.0),
            shares: [0.1; BINS],
            rows: 1e6,
            memory: 0.0,
        };
        let mut spread = Spread::new(&input);
        let mut window = |odd: bool| {
            let mut found = false;
            for row in 0..100_u32 {
                let x = if odd { 0.5 } else { f64::from(row % 10) + 0.5 };
                found |= spread.push(&input, x);
            }
            (found, spread.beyond())
        };
        let told = [false, true, false, true, true, true, false, true, false, false];
        let expect = [
            (false, false),
            (false, false),
            (false, false),
            (false, false),
            (true, true),
            (false, true),
            (false, true),
            (false, true),
            (false, true),
            (false, false),
        ];
        assert_eq!(told.map(&mut window), expect);
    }
}
