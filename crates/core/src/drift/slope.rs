//! The calibration slope of a classifier: does its confidence mean what it says?
//!
//! Whether the best class was right is regressed on the log-odds it was given, `logit(right) = a +
//! b x`. A calibrated classifier has `b = 1`; below, it is too sure of itself. The newest labels
//! are fitted anew as they come in, by a bounded number of Newton steps.

/// Labels that are looked at together.
const LABELS: usize = 256;
/// Labels between two fits.
const EVERY: usize = 64;
/// Newton steps at most; a fit that has not settled by then says nothing.
const STEPS: u32 = 30;
/// Slopes that are as they should be.
const GOOD: (f64, f64) = (0.8, 1.25);
/// Standard errors that a slope must be beyond them (0.05 % on either side), and within which it is
/// back.
const ERRORS: (f64, f64) = (3.3, 2.0);
/// Probabilities count this far from 0 and 1.
const FLOOR: f64 = 1e-4;

/// The newest labels of one classifier.
#[derive(Clone, Debug)]
pub(super) struct Slope {
    /// Log-odds of the best class and whether it was right, a ring.
    seen: [(f64, bool); LABELS],
    count: usize,
    value: f64,
    limit: f64,
    beyond: bool,
}

impl Slope {
    pub(super) const fn new() -> Self {
        Self { seen: [(0.0, false); LABELS], count: 0, value: 1.0, limit: f64::NAN, beyond: false }
    }

    /// Takes a label in; `true` when the slope is found wrong with it.
    ///
    /// - `p`: probability of the best class, 0 to 1.
    pub(super) fn push(&mut self, p: f64, right: bool) -> bool {
        let p = p.clamp(FLOOR, 1.0 - FLOOR);
        if let Some(slot) = self.seen.get_mut(self.count % LABELS) {
            *slot = (libm::log(p / (1.0 - p)), right);
        }
        self.count += 1;
        if self.count < LABELS || !self.count.is_multiple_of(EVERY) {
            return false;
        }
        let Some((slope, error)) = fit(&self.seen) else { return false };
        self.value = slope;
        self.limit = if slope < 1.0 { GOOD.0 } else { GOOD.1 };
        let margin = if self.beyond { ERRORS.1 } else { ERRORS.0 } * error;
        let was = self.beyond;
        self.beyond = slope + margin < GOOD.0 || slope - margin > GOOD.1;
        self.beyond && !was
    }

    pub(super) const fn beyond(&self) -> bool {
        self.beyond
    }

    /// Slope, and the bound that it is beyond.
    pub(super) const fn evidence(&self) -> (f64, f64) {
        (self.value, self.limit)
    }
}

/// Slope with its standard error; `None` when there is none, as of answers that are all alike.
fn fit(seen: &[(f64, bool)]) -> Option<(f64, f64)> {
    // From 0 Newton steps do not overshoot: the first one is a linear regression.
    let (mut a, mut b) = (0.0, 0.0);
    for _ in 0..STEPS {
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, right) in seen {
            let p = 1.0 / (1.0 + libm::exp(-(a + b * x)));
            let (error, weight) = (f64::from(u8::from(*right)) - p, p * (1.0 - p));
            ga += error;
            gb += error * x;
            haa += weight;
            hab += weight * x;
            hbb += weight * x * x;
        }
        let determinant = haa * hbb - hab * hab;
        if determinant <= 1e-9 * haa * hbb || !determinant.is_finite() {
            return None;
        }
        let (da, db) = ((hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant);
        a += da;
        b += db;
        if libm::fabs(da) + libm::fabs(db) < 1e-9 {
            return Some((b, libm::sqrt(haa / determinant)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::Noise;

    /// Answers to a classifier whose log-odds are `factor` times too large.
    fn answers(noise: &mut Noise, factor: f64) -> (f64, bool) {
        let honest = 1.0 + noise.normal();
        let p = |x: f64| 1.0 / (1.0 + libm::exp(-x));
        (p(factor * honest), noise.uniform() < p(honest))
    }

    /// A slope is found with its error: as often within two of them as it should be.
    #[test]
    fn slopes_are_found() {
        let mut noise = Noise::new(5);
        let mut within = 0;
        for _ in 0..200 {
            let mut seen = [(0.0, false); LABELS];
            for slot in &mut seen {
                let (p, right) = answers(&mut noise, 2.0);
                *slot = (libm::log(p / (1.0 - p)), right);
            }
            let (slope, error) = fit(&seen).unwrap();
            within += u32::from(libm::fabs(slope - 0.5) < 2.0 * error);
        }
        assert!((182..=198).contains(&within), "{within}");
        assert_eq!(fit(&[(1.0, true); LABELS]), None);
    }

    /// A calibrated classifier keeps quiet for long; one too sure of itself is found, and is back.
    #[test]
    fn only_a_wrong_slope_is_drift() {
        let mut quiet = 0;
        for seed in 1..=20 {
            let (mut noise, mut slope) = (Noise::new(seed), Slope::new());
            for _ in 0..5000 {
                let (p, right) = answers(&mut noise, 1.0);
                quiet += u32::from(slope.push(p, right));
            }
        }
        assert!(quiet <= 1, "{quiet} in 100,000 labels");
        let (mut noise, mut slope) = (Noise::new(3), Slope::new());
        let mut feed = |slope: &mut Slope, factor: f64| {
            (0..600).any(|_| {
                let (p, right) = answers(&mut noise, factor);
                slope.push(p, right)
            })
        };
        assert!(!feed(&mut slope, 1.0) && feed(&mut slope, 3.0) && slope.beyond());
        assert!(slope.evidence().0 < 0.6 && slope.evidence().1 == 0.8);
        feed(&mut slope, 1.0);
        feed(&mut slope, 1.0);
        assert!(!slope.beyond());
    }
}
