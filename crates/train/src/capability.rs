//! Process capability: how a measured characteristic fits its tolerance, with intervals.
//!
//! - `Cp`, `Cpk` from the spread within neighbours (mean moving range / 1.128): what the process
//!   could do if it stayed where it is.
//! - `Pp`, `Ppk` from the spread of all parts: what it did.
//!
//! Intervals are those of Bissell (1990) and of the chi-squared distribution, with as many degrees
//! of freedom as the parts are worth: neighbours that resemble one another say less, of the mean
//! (`n (1 - r) / (1 + r)`, r the lag-1 autocorrelation) more so than of the spread
//! (`n (1 - r^2) / (1 + r^2)`).

use statrs::distribution::{ChiSquared, ContinuousCDF, DiscreteCDF, Normal, Poisson};

use crate::TrainError;
use crate::blocks::lag1;

/// Mean range of two independent standard normal values.
const D2: f64 = core::f64::consts::FRAC_2_SQRT_PI;
/// Fewest parts.
const PARTS_MIN: usize = 20;
/// Autocorrelation from which the moving range says nothing about the spread of a process.
const MEMORY_MAX: f64 = 0.5;

/// Stretches of time that are compared, and the parts that each needs.
const STRETCHES: usize = 5;
const STRETCH_MIN: usize = 10;
/// Standard errors from which a stretch has a level of its own: by chance in 1 of 500 processes.
const SHIFT_MIN: f64 = 4.0;
/// Share of a normal process beyond 3 standard deviations, and how unlikely more of them must be.
const BEYOND: f64 = 0.0027;
const BEYOND_CHANCE: f64 = 0.001;

/// Tolerance of a characteristic, in its unit; at least one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Lowest good value.
    pub low: Option<f64>,
    /// Highest good value.
    pub high: Option<f64>,
}

/// An index with its two-sided interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Index {
    /// Estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a characteristic is capable of.
#[derive(Clone, Debug, PartialEq)]
pub struct Capability {
    /// Parts.
    pub parts: usize,
    /// Independent parts that they are worth for the mean.
    pub independent: f64,
    /// Mean [unit].
    pub mean: f64,
    /// Standard deviation within neighbours [unit].
    pub within: f64,
    /// Standard deviation of all parts [unit].
    pub overall: f64,
    /// Tolerance over 6 standard deviations within; `None` with one side only.
    pub cp: Option<Index>,
    /// Distance of the mean from the nearer limit over 3 standard deviations within.
    pub cpk: Index,
    /// As `cp`, with all parts.
    pub pp: Option<Index>,
    /// As `cpk`, with all parts.
    pub ppk: Index,
    /// Share of parts outside the tolerance.
    pub outside: f64,
    /// The stretch of time whose level is furthest from that of the others, when it is more than
    /// chance and memory explain: the process is not stable.
    pub shift: Option<Shift>,
    /// Parts beyond 3 standard deviations within of the mean.
    pub beyond: usize,
    /// They are more than a stable process has.
    pub outliers: bool,
    /// Neighbours resemble one another so much (r above 0.5) that `cp` and `cpk` flatter; go by
    /// `pp` and `ppk`.
    pub flattered: bool,
}

/// A stretch of time with a level of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Which, counted from 1.
    pub stretch: usize,
    /// Of how many of the same length.
    pub of: usize,
    /// Its mean [unit].
    pub mean: f64,
    /// Distance from the mean of the others, in its standard errors.
    pub errors: f64,
}

impl Capability {
    /// Whether `cp` and `cpk` say what the process can do: it is stable, and its neighbours are
    /// independent enough.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        self.shift.is_none() && !self.outliers && !self.flattered
    }
}

/// Capability of measured values in time order.
///
/// - `values`: `[n]` \[unit\], finite, n >= 20; `level`: of the intervals, 0.5 to 0.999.
///
/// # Errors
/// Too few values, values that do not change or are not finite, a tolerance without a side or with
/// its sides swapped, a level out of range.
pub fn capability(
    values: &[f64],
    tolerance: Tolerance,
    level: f64,
) -> Result<Capability, TrainError> {
    check(values, tolerance, level)?;
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    let overall = libm::sqrt(squares / (n - 1.0));
    let neighbours = values.iter().zip(values.iter().skip(1));
    let within = neighbours.map(|(a, b)| (b - a).abs()).sum::<f64>() / (n - 1.0) / D2;
    if overall <= 1e-12 * mean.abs() || within <= 0.0 {
        return Err(TrainError::Constant(vec!["the characteristic".to_owned()]));
    }
    let memory = lag1(values);
    let shrink = memory.clamp(0.0, 0.99);
    let worth = |r: f64| f64::max(n * (1.0 - r) / (1.0 + r), 3.0);
    let (independent, for_spread) = (worth(shrink), worth(shrink * shrink));
    let outside = values.iter().filter(|x| {
        tolerance.low.is_some_and(|low| **x < low) || tolerance.high.is_some_and(|high| **x > high)
    });
    let width = |deviation: f64| match (tolerance.low, tolerance.high) {
        (Some(low), Some(high)) => {
            Some(spread((high - low) / (6.0 * deviation), for_spread, level))
        }
        _ => None,
    };
    let nearer = |deviation: f64| {
        let sides = [tolerance.low.map(|low| mean - low), tolerance.high.map(|high| high - mean)];
        let nearest = sides.into_iter().flatten().fold(f64::INFINITY, f64::min);
        centred(nearest / (3.0 * deviation), (independent, for_spread), level)
    };
    let beyond = values.iter().filter(|x| (*x - mean).abs() > 3.0 * within).count();
    Ok(Capability {
        parts: values.len(),
        independent,
        mean,
        within,
        overall,
        cp: width(within),
        cpk: nearer(within),
        pp: width(overall),
        ppk: nearer(overall),
        outside: outside.count() as f64 / n,
        shift: shift(values),
        beyond,
        outliers: is_more(beyond, BEYOND * n),
        flattered: memory > MEMORY_MAX,
    })
}

/// The stretch that is furthest off. Spread and memory are those within stretches, so that a shift
/// does not hide itself.
fn shift(values: &[f64]) -> Option<Shift> {
    let of = (values.len() / STRETCH_MIN).min(STRETCHES);
    let length = values.len() / of.max(1);
    let stretches: Vec<&[f64]> = values.chunks(length.max(1)).take(of).collect();
    let means: Vec<f64> =
        stretches.iter().map(|x| x.iter().sum::<f64>() / x.len() as f64).collect();
    let own: Vec<f64> = stretches
        .iter()
        .zip(&means)
        .flat_map(|(stretch, mean)| stretch.iter().map(move |x| x - mean))
        .collect();
    let memory = lag1(&own).clamp(0.0, 0.95);
    let variance = own.iter().map(|x| x * x).sum::<f64>() / (own.len() - of) as f64;
    let error = libm::sqrt(variance / length as f64 * (1.0 + memory) / (1.0 - memory));
    let all: f64 = means.iter().sum();
    let others = |mean: f64| (all - mean) / (of as f64 - 1.0);
    // A mean less the mean of the others.
    let spread = error * libm::sqrt(of as f64 / (of as f64 - 1.0));
    let errors = means.iter().map(|mean| (mean - others(*mean)) / spread);
    let (place, errors) = errors.enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))?;
    let mean = means.get(place).copied()?;
    (errors.abs() > SHIFT_MIN).then_some(Shift { stretch: place + 1, of, mean, errors })
}

/// Whether so many are more than the expected number has by chance.
fn is_more(count: usize, expected: f64) -> bool {
    let below = count.checked_sub(1).map(|below| below as u64);
    let tail = |below| Poisson::new(expected).map_or(1.0, |poisson| 1.0 - poisson.cdf(below));
    below.is_some_and(|below| tail(below) < BEYOND_CHANCE)
}

fn check(values: &[f64], tolerance: Tolerance, level: f64) -> Result<(), TrainError> {
    let what = "a capability";
    if values.len() < PARTS_MIN {
        return Err(TrainError::TooFewRows { have: values.len(), need: PARTS_MIN, what });
    }
    if let Some(row) = values.iter().position(|x| !x.is_finite()) {
        let column = "the characteristic".to_owned();
        return Err(TrainError::NotFinite { row: row + 1, column });
    }
    let finite = |side: Option<f64>| side.is_none_or(f64::is_finite);
    let ordered = match (tolerance.low, tolerance.high) {
        (Some(low), Some(high)) => low < high,
        (low, high) => low.is_some() || high.is_some(),
    };
    if !(ordered && finite(tolerance.low) && finite(tolerance.high)) {
        return Err(TrainError::Option("a tolerance needs a lower limit below its upper, or one"));
    }
    if !(0.5..=0.999).contains(&level) {
        return Err(TrainError::Option("the level of the intervals must be 0.5 to 0.999"));
    }
    Ok(())
}

/// Interval of an index that only knows a spread: `n-1` degrees of freedom of a variance.
fn spread(value: f64, n: f64, level: f64) -> Index {
    let freedom = f64::max(n - 1.0, 1.0);
    let quantile = |share: f64| {
        let chi = ChiSquared::new(freedom).map_or(freedom, |chi| chi.inverse_cdf(share));
        value * libm::sqrt(chi / freedom)
    };
    Index { value, low: quantile((1.0 - level) / 2.0), high: quantile(f64::midpoint(1.0, level)) }
}

/// Interval of an index that knows a mean and a spread (Bissell 1990).
fn centred(value: f64, (mean, spread): (f64, f64), level: f64) -> Index {
    let z =
        Normal::new(0.0, 1.0).map_or(2.0, |normal| normal.inverse_cdf(f64::midpoint(1.0, level)));
    let half =
        z * libm::sqrt(1.0 / (9.0 * mean) + value * value / (2.0 * f64::max(spread - 1.0, 1.0)));
    Index { value, low: value - half, high: value + half }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    const BOTH: Tolerance = Tolerance { low: Some(-4.0), high: Some(4.0) };

    fn values(seed: u64, n: usize, mean: f64, rho: f64) -> Vec<f64> {
        let mut noise = Noise::new(seed);
        let mut x = noise.normal();
        (0..n)
            .map(|_| {
                x = rho * x + libm::sqrt(1.0 - rho * rho) * noise.normal();
                mean + x
            })
            .collect()
    }

    /// 20 000 independent values one deviation off centre: Cp 4/3, Cpk 1, and as many degrees of
    /// freedom as parts.
    #[test]
    fn indices_of_a_known_process() {
        let found = capability(&values(1, 20_000, 1.0, 0.0), BOTH, 0.95).unwrap();
        for (index, expect) in [
            (found.cp.unwrap(), 4.0 / 3.0),
            (found.pp.unwrap(), 4.0 / 3.0),
            (found.cpk, 1.0),
            (found.ppk, 1.0),
        ] {
            assert!((index.value - expect).abs() < 0.02, "{index:?} instead of {expect}");
            assert!(index.low < index.value && index.value < index.high);
        }
        assert!(found.independent > 18_000.0 && !found.flattered, "{found:?}");
        let one = Tolerance { low: None, high: Some(4.0) };
        let found = capability(&values(1, 20_000, 1.0, 0.0), one, 0.95).unwrap();
        assert!(found.cp.is_none() && (found.cpk.value - 1.0).abs() < 0.02);
        assert!((found.outside - 0.00135).abs() < 0.001, "{}", found.outside);
    }

    /// In nine of ten samples of 100 the 90 % intervals hold the true index, for values that
    /// remember one another too; the moving range then flatters, and that is told.
    #[test]
    fn intervals_hold() {
        for rho in [0.0, 0.7] {
            let (mut pp, mut ppk, runs) = (0, 0, 600);
            for seed in 0..runs {
                let found = capability(&values(seed, 200, 1.0, rho), BOTH, 0.9).unwrap();
                let holds = |index: Index, x: f64| index.low <= x && x <= index.high;
                pp += u32::from(holds(found.pp.unwrap(), 4.0 / 3.0));
                ppk += u32::from(holds(found.ppk, 1.0));
                if rho > 0.0 {
                    assert!(found.within < found.overall);
                }
            }
            for kept in [pp, ppk] {
                let share = f64::from(kept) / runs as f64;
                assert!((0.84..=0.97).contains(&share), "memory {rho}: {share}");
            }
        }
        assert!(capability(&values(3, 2000, 1.0, 0.7), BOTH, 0.9).unwrap().flattered);
    }

    /// 40 values whose mean, ranges and squares are known by hand.
    #[test]
    fn indices_by_hand() {
        let values: Vec<f64> =
            (0..40).map(|part| 10.0 + [0.0, 1.0, -1.0, 0.0][part % 4] * 0.1).collect();
        let found = capability(&values, Tolerance { low: Some(9.4), high: Some(10.5) }, 0.95);
        let found = found.unwrap();
        // Mean 10, squares 40/2 of 0.01; ranges 0.1, 0.2, 0.1, 0 in turn, 39 of them.
        let overall = libm::sqrt(0.2 / 39.0);
        let within = (10.0 * 0.4) / 39.0 / D2;
        for (index, expect) in [
            (found.pp.unwrap(), 1.1 / (6.0 * overall)),
            (found.ppk, 0.5 / (3.0 * overall)),
            (found.cp.unwrap(), 1.1 / (6.0 * within)),
            (found.cpk, 0.5 / (3.0 * within)),
        ] {
            assert!((index.value - expect).abs() < 1e-9, "{index:?} instead of {expect}");
        }
        // Bissell: 1.96 sqrt(1/(9 n) + ppk^2/(2 (n - 1))) on either side; the ranges alternate, so
        // every part counts.
        let ppk = found.ppk;
        let half = 1.959_963_984_540_054 * libm::sqrt(1.0 / 360.0 + ppk.value * ppk.value / 78.0);
        assert!((ppk.high - ppk.value - half).abs() < 1e-6, "{ppk:?} {half}");
        // Chi-squared of 39: 23.654 and 58.120 are its 2.5 % and 97.5 %.
        let pp = found.pp.unwrap();
        for (end, chi) in [(pp.low, 23.654_f64), (pp.high, 58.120)] {
            assert!((end / pp.value - libm::sqrt(chi / 39.0)).abs() < 1e-4, "{pp:?}");
        }
        assert!(found.is_stable());
    }

    /// A process that moves by one deviation for a fifth of the time is not stable, nor is one with
    /// outliers; a stable one is called unstable once in a hundred times at most, with memory too.
    #[test]
    fn instability_is_told() {
        let mut moved = values(1, 500, 0.0, 0.0);
        for x in &mut moved[300..400] {
            *x += 1.0;
        }
        let found = capability(&moved, BOTH, 0.95).unwrap();
        let shift = found.shift.unwrap();
        assert!((shift.stretch, shift.of) == (4, 5) && shift.errors > 4.0, "{shift:?}");
        assert!((shift.mean - 1.0).abs() < 0.4 && !found.is_stable());
        let mut outliers = values(2, 500, 0.0, 0.0);
        for x in outliers.iter_mut().step_by(50) {
            *x = 5.0;
        }
        assert!(capability(&outliers, BOTH, 0.95).unwrap().outliers);
        for rho in [0.0, 0.4] {
            let unstable = (0..400)
                .map(|seed| capability(&values(seed, 300, 0.0, rho), BOTH, 0.95).unwrap())
                .filter(|found| found.shift.is_some() || (rho < 0.1 && found.outliers))
                .count();
            assert!(unstable <= 6, "memory {rho}: {unstable} of 400");
        }
    }

    /// What cannot be told is refused.
    #[test]
    fn refuses() {
        let good = values(1, 50, 0.0, 0.0);
        let refused =
            |values: &[f64], tolerance, level| capability(values, tolerance, level).is_err();
        assert!(refused(&good[..19], BOTH, 0.95));
        assert!(refused(&[1.5; 50], BOTH, 0.95));
        let mut gap = good.clone();
        gap[7] = f64::NAN;
        assert!(refused(&gap, BOTH, 0.95));
        for (low, high) in [(None, None), (Some(1.0), Some(1.0)), (Some(f64::NAN), None)] {
            assert!(refused(&good, Tolerance { low, high }, 0.95));
        }
        for level in [0.0, 1.0, f64::NAN] {
            assert!(refused(&good, BOTH, level));
        }
        assert!(!refused(&good, BOTH, 0.95));
    }
}
