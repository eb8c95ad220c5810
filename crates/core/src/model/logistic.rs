//! Logistic classifiers: log-odds, calibration, contributions, domain.
//!
//! A contribution is `coef * (x - mean)`; over all columns they sum to the log-odds of the part
//! less those at the training means. Of more than two classes `coef` is that of the class less the
//! mean of the others, which of two gives the log-odds again. The domain is a box about the training
//! values, and T2 of the columns: a part may lie inside every range and still be a mixture that no
//! training row was (Montgomery, Peck and Vining call it *hidden extrapolation*).

use alloc::vec;
use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::plan::{CLASSES_MAX, COLUMNS_MAX, Calibration, LogisticPlan, Step};

use super::forest::{largest, softmax, split_steps};
use super::{Contribution, Score, dot, known};

/// Newest result of one classifier; it has no memory.
#[derive(Clone, Debug)]
pub struct Logistic {
    usable: bool,
    /// `[q]` columns of the newest part.
    columns: Vec<f64>,
    /// `[q]` the same, standardised.
    z: Vec<f64>,
    /// `[k]` log-odds before calibration.
    logits: Vec<f64>,
    /// `[c]`
    probabilities: Vec<f64>,
    best: usize,
}

impl Logistic {
    /// Allocates everything. A plan whose arrays do not fit together is never usable.
    pub fn new(plan: &LogisticPlan) -> Self {
        let q = plan.columns();
        Self {
            usable: plan.fits(),
            columns: vec![0.0; q],
            z: vec![0.0; q],
            logits: vec![0.0; plan.outputs()],
            probabilities: vec![0.0; plan.classes.len()],
            best: 0,
        }
    }

    /// Scores one part.
    ///
    /// - `features`: indexed by the ids of the plan's inputs.
    /// - `monitor`: whether the monitor whose domain this classifier shares is in it; `None`
    ///   without such a monitor.
    ///
    /// The score's value is the probability of the best class, its T2 that of the domain. An
    /// unknown input, or a derived column that is no finite number, makes it unknown.
    pub fn score(
        &mut self,
        plan: &LogisticPlan,
        features: &[FeatureValue],
        monitor: Option<bool>,
    ) -> Score {
        if !self.usable {
            return Score::UNKNOWN;
        }
        let mut inside = true;
        for ((column, input), (low, high)) in
            self.columns.iter_mut().zip(&plan.inputs).zip(&plan.span)
        {
            let Some(x) = known(features, *input) else { return Score::UNKNOWN };
            inside &= *low <= x && x <= *high;
            *column = x;
        }
        let Some(t2) = self.run(plan) else { return Score::UNKNOWN };
        self.calibrate(plan);
        self.best = largest(self.probabilities.iter().zip(&plan.weights).map(|(p, w)| p * w));
        let value = self.probabilities.get(self.best).copied().unwrap_or(f64::NAN);
        let mut score = Score::of_value(value, false);
        if score.known {
            score.in_domain = inside && t2 <= plan.t2_out && monitor.unwrap_or(true);
            score.t2 = t2;
        }
        score
    }

    /// Log-odds, and T2 of the inputs in `columns`; `None` when one is not finite.
    fn run(&mut self, plan: &LogisticPlan) -> Option<f64> {
        derive(&plan.steps, plan.inputs.len(), &mut self.columns)?;
        let rows = plan.coefficients.chunks_exact(self.columns.len().max(1));
        for (logit, (row, intercept)) in self.logits.iter_mut().zip(rows.zip(&plan.intercepts)) {
            *logit = intercept + dot(row, &self.columns);
        }
        let shape = self.columns.iter().zip(&plan.mean).zip(&plan.scale);
        for (z, ((x, mean), scale)) in self.z.iter_mut().zip(shape) {
            *z = (x - mean) / scale;
        }
        let mut t2 = 0.0;
        for (z, row) in self.z.iter().zip(plan.precision.chunks_exact(self.z.len().max(1))) {
            t2 += z * dot(row, &self.z);
        }
        (self.logits.iter().all(|x| x.is_finite()) && t2.is_finite()).then_some(t2)
    }

    /// Probabilities of the log-odds.
    fn calibrate(&mut self, plan: &LogisticPlan) {
        if let ([logit], [none, some]) = (self.logits.as_slice(), self.probabilities.as_mut_slice())
        {
            *some = plan.calibration.probability(*logit);
            *none = 1.0 - *some;
            return;
        }
        let Calibration::Softmax { slope } = plan.calibration else { return };
        for (p, logit) in self.probabilities.iter_mut().zip(&self.logits) {
            *p = slope * logit;
        }
        softmax(&mut self.probabilities);
    }

    /// `[c]` probabilities of the newest part.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// `[k]` log-odds of the newest part before calibration.
    pub fn logits(&self) -> &[f64] {
        &self.logits
    }

    /// Place of the best class of the newest part.
    pub fn best(&self) -> usize {
        self.best
    }

    /// Contributions of the newest part to the log-odds of a class.
    ///
    /// - `class`: of two classes the first has those of the second, negated.
    /// - `shares`: `[q]`, one per column, overwritten. They sum to the log-odds of the class less
    ///   those at the training means; of more than two classes to its log-odds against the mean
    ///   of the others.
    pub fn contributions(&self, plan: &LogisticPlan, class: usize, shares: &mut [f64]) {
        let (c, q) = (plan.classes.len(), self.columns.len());
        if c > 2 {
            let shape = shares.iter_mut().zip(&self.columns).zip(&plan.mean);
            for (column, ((share, x), mean)) in shape.enumerate() {
                let each = || plan.coefficients.iter().skip(column).step_by(q.max(1)).copied();
                let own = each().nth(class).unwrap_or(0.0);
                let others = (each().sum::<f64>() - own) / (c - 1) as f64;
                *share = (own - others) * (x - mean);
            }
            return;
        }
        let sign = if class == 0 { -1.0 } else { 1.0 };
        let shape = self.columns.iter().zip(&plan.coefficients).zip(&plan.mean);
        for (share, ((x, coefficient), mean)) in shares.iter_mut().zip(shape) {
            *share = sign * coefficient * (x - mean);
        }
    }

    /// The newest contributions per input: those of derived columns in equal parts to the columns
    /// that they are made of.
    pub(super) fn offer(&self, plan: &LogisticPlan, mut offer: impl FnMut(Contribution)) {
        let mut room = [0.0; COLUMNS_MAX];
        let Some(shares) = room.get_mut(..plan.columns()) else { return };
        self.contributions(plan, self.best, shares);
        split_steps(&plan.steps, plan.inputs.len(), shares);
        for ((feature, share), z) in plan.inputs.iter().zip(shares.iter()).zip(&self.z) {
            offer(Contribution { feature: *feature, share: *share, z: *z });
        }
    }
}

impl Calibration {
    /// Probability of the second of two classes at a log-odds, 0 to 1; never falls as the log-odds
    /// rise.
    pub fn probability(&self, logit: f64) -> f64 {
        match self {
            Self::Platt { slope, bias } => 1.0 / (1.0 + libm::exp(-(slope * logit + bias))),
            Self::Isotonic(points) => interpolate(points, logit),
            Self::Softmax { slope } => 1.0 / (1.0 + libm::exp(-(slope * logit))),
        }
    }

    fn fits(&self, classes: usize) -> bool {
        if matches!(self, Self::Softmax { .. }) != (classes > 2) {
            return false;
        }
        let probability = |p: f64| (0.0..=1.0).contains(&p);
        match self {
            Self::Platt { slope, bias } => *slope > 0.0 && slope.is_finite() && bias.is_finite(),
            Self::Softmax { slope } => *slope > 0.0 && slope.is_finite(),
            Self::Isotonic(points) => {
                !points.is_empty()
                    && points.iter().all(|(x, p)| x.is_finite() && probability(*p))
                    && points.iter().zip(points.iter().skip(1)).all(|(a, b)| {
                        let step = b.0 - a.0;
                        // Points whose distance overflows would make NaN of what lies between.
                        a.0 < b.0 && step.is_finite() && a.1 <= b.1
                    })
            }
        }
    }
}

/// Height at `x` of the line through rising points; level beyond the ends.
fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let right = points.partition_point(|point| point.0 < x);
    let before = right.checked_sub(1).and_then(|left| points.get(left));
    match (before, points.get(right)) {
        (Some((x0, p0)), Some((x1, p1))) => p0 + (p1 - p0) * ((x - x0) / (x1 - x0)),
        (Some((_, p)), None) | (None, Some((_, p))) => *p,
        (None, None) => f64::NAN,
    }
}

/// Fills the columns behind the first `p`; `None` when one is not a finite number, or when a step
/// has a memory.
fn derive(steps: &[Step], p: usize, columns: &mut [f64]) -> Option<()> {
    for (index, step) in steps.iter().enumerate() {
        let (a, b) = step.operands();
        let a = columns.get(usize::from(a)).copied()?;
        let b = columns.get(usize::from(b)).copied()?;
        let x = match *step {
            Step::Difference(..) => a - b,
            Step::Product(..) => a * b,
            Step::Ratio(..) => a / b,
            Step::Mean { .. } | Step::Deviation { .. } | Step::Successive { .. } => return None,
        };
        *columns.get_mut(p + index)? = x;
    }
    columns.iter().all(|x| x.is_finite()).then_some(())
}

impl LogisticPlan {
    /// Whether the arrays fit together and every number is one that its kind can be.
    pub fn fits(&self) -> bool {
        let (p, q) = (self.inputs.len(), self.columns());
        let (k, c) = (self.outputs(), self.classes.len());
        let finite = |values: &[f64]| values.iter().all(|x| x.is_finite());
        let positive = |x: &f64| *x > 0.0 && x.is_finite();
        let steps = self.steps.iter().enumerate().all(|(index, step)| {
            let (a, b) = step.operands();
            usize::from(a.max(b)) < p + index && step.weight().is_none()
        });
        p > 0
            && q <= COLUMNS_MAX
            && steps
            && self.span.len() == p
            && self.span.iter().all(|(low, high)| low <= high)
            && q.checked_mul(k) == Some(self.coefficients.len())
            && self.intercepts.len() == k
            && self.mean.len() == q
            && self.scale.len() == q
            && q.checked_mul(q) == Some(self.precision.len())
            && finite(&self.coefficients)
            && finite(&self.mean)
            && finite(&self.precision)
            && self.scale.iter().all(positive)
            && finite(&self.intercepts)
            && positive(&self.t2_out)
            && self.calibration.fits(c)
            && (2..=CLASSES_MAX).contains(&c)
            && self.weights.len() == c
            && self.weights.iter().all(positive)
    }

    /// Columns of a part from its inputs, `[q]` into `columns`; `None` when one is not a finite
    /// number. For training, which must see what the scorer sees.
    ///
    /// - `columns`: the inputs, then room for one per step.
    pub fn derive(steps: &[Step], inputs: usize, columns: &mut [f64]) -> Option<()> {
        derive(steps, inputs, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{Noise, unknown, value};
    use crate::plan::FeatureId;
    use alloc::string::String;
    use proptest::prelude::*;

    /// Two inputs and their product.
    fn plan() -> LogisticPlan {
        LogisticPlan {
            inputs: vec![FeatureId(1), FeatureId(0)],
            steps: vec![Step::Product(0, 1)],
            span: vec![(0.0, 10.0), (0.0, 10.0)],
            domain: None,
            coefficients: vec![1.0, -2.0, 0.5],
            intercepts: vec![-1.0],
            mean: vec![2.0, 1.0, 2.0],
            scale: vec![1.0, 2.0, 4.0],
            precision: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            t2_out: 9.0,
            calibration: Calibration::Platt { slope: 2.0, bias: 0.5 },
            classes: ["ok", "nok"].map(String::from).to_vec(),
            weights: vec![1.0, 1.0],
        }
    }

    fn near(found: f64, expect: f64) {
        assert!(libm::fabs(found - expect) < 1e-12, "{found} instead of {expect}");
    }

    /// Log-odds, probability, T2, domain and contributions by hand.
    #[test]
    fn by_hand() {
        let plan = plan();
        assert!(plan.fits());
        let mut state = Logistic::new(&plan);
        // x = 4, y = 1, x y = 4: -1 + 4 - 2 + 2 = 3; z = (2, 0, 0.5), T2 = 4.25.
        let score = state.score(&plan, &[value(1.0), value(4.0)], None);
        near(state.logits()[0], 3.0);
        near(state.probabilities()[1], 1.0 / (1.0 + libm::exp(-6.5)));
        near(state.probabilities()[0] + state.probabilities()[1], 1.0);
        near(score.t2, 4.25);
        assert!(score.known && score.in_domain && !score.alarm && state.best() == 1);
        // At the means: -1 + 2 - 2 + 1 = 0, so the shares sum to the log-odds.
        let mut shares = [0.0; 3];
        state.contributions(&plan, 1, &mut shares);
        assert_eq!(shares, [2.0, 0.0, 1.0]);
        state.contributions(&plan, 0, &mut shares);
        assert_eq!(shares, [-2.0, 0.0, -1.0]);
        // Per input: the product's share in halves.
        let mut offered = Vec::new();
        state.offer(&plan, |c| offered.push((c.feature, c.share, c.z)));
        assert_eq!(offered, [(FeatureId(1), 2.5, 2.0), (FeatureId(0), 0.5, 0.0)]);

        // Inside the box, and yet a mixture of its own: T2 = 16 + 0.25 + 0.25.
        let score = state.score(&plan, &[value(0.5), value(6.0)], None);
        assert!(score.known && !score.in_domain, "{score:?}");
        let score = state.score(&plan, &[value(1.0), value(4.0)], Some(false));
        assert!(!score.in_domain);
        let score = state.score(&plan, &[value(10.5), value(0.1)], None);
        assert!(score.known && !score.in_domain && state.best() == 0);
        for odd in [unknown(), value(f64::NAN), value(1e300)] {
            assert!(!state.score(&plan, &[odd, value(1e300)], None).known);
        }
    }

    /// Three classes by hand: a softmax of the log-odds, contributions against the mean of the
    /// others, and of equals the first.
    #[test]
    fn three_classes_by_hand() {
        let mut plan = LogisticPlan {
            coefficients: vec![1.0, -2.0, 0.5, 0.0, 0.0, 0.0, -1.0, 2.0, -0.5],
            intercepts: vec![-1.0, 0.0, 1.0],
            calibration: Calibration::Softmax { slope: 0.5 },
            classes: ["a", "b", "c"].map(String::from).to_vec(),
            weights: vec![1.0; 3],
            ..plan()
        };
        assert!(plan.fits());
        let mut state = Logistic::new(&plan);
        // As above the log-odds are 3; those of the others 0 and -3.
        let score = state.score(&plan, &[value(1.0), value(4.0)], None);
        assert_eq!(state.logits(), [3.0, 0.0, -3.0]);
        let sum = libm::exp(1.5) + 1.0 + libm::exp(-1.5);
        near(state.probabilities()[2], libm::exp(-1.5) / sum);
        near(state.probabilities().iter().sum(), 1.0);
        near(score.value, libm::exp(1.5) / sum);
        assert!(score.known && score.in_domain && state.best() == 0);
        // (1, -2, 0.5) less the mean of the others is 1.5 times that; the deviations are (2, 0, 2).
        let mut shares = [0.0; 3];
        state.contributions(&plan, 0, &mut shares);
        assert_eq!(shares, [3.0, 0.0, 1.5]);
        state.contributions(&plan, 1, &mut shares);
        assert_eq!(shares, [0.0; 3]);
        plan.coefficients.fill(0.0);
        plan.intercepts.fill(0.25);
        state.score(&plan, &[value(1.0), value(4.0)], None);
        assert_eq!((state.best(), state.probabilities()[0]), (0, 1.0 / 3.0));
        for spoil in [
            |p: &mut LogisticPlan| p.coefficients.truncate(3),
            |p: &mut LogisticPlan| p.intercepts.truncate(1),
            |p: &mut LogisticPlan| p.weights.truncate(2),
            |p: &mut LogisticPlan| p.calibration = Calibration::Platt { slope: 1.0, bias: 0.0 },
            |p: &mut LogisticPlan| p.calibration = Calibration::Softmax { slope: -1.0 },
        ] {
            let mut plan = plan.clone();
            spoil(&mut plan);
            assert!(!plan.fits());
        }
    }

    /// A class that counts more is the best one at a lower probability.
    #[test]
    fn weights_move_the_threshold() {
        let mut plan = plan();
        plan.calibration = Calibration::Platt { slope: 1.0, bias: -3.5 };
        let mut state = Logistic::new(&plan);
        state.score(&plan, &[value(1.0), value(4.0)], None);
        assert_eq!(state.best(), 0);
        plan.weights = vec![1.0, 2.0];
        let score = state.score(&plan, &[value(1.0), value(4.0)], None);
        assert_eq!(state.best(), 1);
        near(score.value, 1.0 / (1.0 + libm::exp(0.5)));
    }

    /// Isotonic points: level beyond the ends, lines between.
    #[test]
    fn isotonic_interpolates() {
        let points = vec![(-1.0, 0.1), (0.0, 0.3), (2.0, 0.3), (3.0, 0.9)];
        let calibration = Calibration::Isotonic(points);
        assert!(calibration.fits(2) && !calibration.fits(3));
        for (x, expect) in
            [(-9.0, 0.1), (-1.0, 0.1), (-0.5, 0.2), (1.0, 0.3), (2.5, 0.6), (3.0, 0.9), (9.0, 0.9)]
        {
            near(calibration.probability(x), expect);
        }
        for bad in [
            vec![],
            vec![(0.0, 0.5), (0.0, 0.6)],
            vec![(0.0, 0.5), (1.0, 0.4)],
            vec![(0.0, 1.5)],
            vec![(f64::NAN, 0.5)],
            vec![(f64::MIN, 0.5), (f64::MAX, 0.6)],
        ] {
            assert!(!Calibration::Isotonic(bad.clone()).fits(2), "{bad:?}");
        }
    }

    /// Arrays that do not fit together, or hold what they must not, never give a known score.
    #[test]
    fn bad_plans_stay_unknown() {
        let spoil: [fn(&mut LogisticPlan); 15] = [
            |p| p.coefficients.truncate(2),
            |p| p.coefficients[0] = f64::NAN,
            |p| p.precision.truncate(4),
            |p| p.scale[0] = 0.0,
            |p| p.mean.push(0.0),
            |p| p.span[0] = (2.0, 1.0),
            |p| p.t2_out = 0.0,
            |p| p.intercepts[0] = f64::INFINITY,
            |p| p.intercepts.push(0.0),
            |p| p.calibration = Calibration::Softmax { slope: 1.0 },
            |p| p.steps[0] = Step::Product(0, 2),
            |p| p.steps[0] = Step::Mean { of: 0, weight: 0.1 },
            |p| p.calibration = Calibration::Platt { slope: 0.0, bias: 0.0 },
            |p| p.classes.truncate(1),
            |p| p.weights[0] = 0.0,
        ];
        for (index, spoil) in spoil.iter().enumerate() {
            let mut plan = plan();
            spoil(&mut plan);
            let mut state = Logistic::new(&plan);
            assert!(!state.score(&plan, &[value(1.0), value(1.0)], None).known, "{index}");
        }
    }

    proptest! {
        /// Whatever the coefficients, the shares of the columns, and those per input, sum to the
        /// log-odds less those at the means; probabilities sum to 1.
        #[test]
        fn contributions_sum_to_the_logit(p in 2_usize..12, seed in any::<u64>()) {
            let mut noise = Noise::new(seed);
            let mut draws = |n: usize| -> Vec<f64> { (0..n).map(|_| noise.normal()).collect() };
            let q = p + 2;
            let mut precision = vec![0.0; q * q];
            precision.iter_mut().step_by(q + 1).for_each(|x| *x = 1.0);
            let plan = LogisticPlan {
                inputs: (0..).map(FeatureId).take(p).collect(),
                steps: vec![Step::Difference(0, 1), Step::Product(1, 0)],
                span: vec![(-9.0, 9.0); p],
                coefficients: draws(q),
                mean: draws(q),
                scale: vec![1.5; q],
                precision,
                intercepts: draws(1),
                ..plan()
            };
            let mut state = Logistic::new(&plan);
            let features: Vec<_> = draws(p).into_iter().map(value).collect();
            prop_assert!(state.score(&plan, &features, None).known);
            let at_means = plan.intercepts[0] + dot(&plan.coefficients, &plan.mean);
            for (class, sign) in [(0, -1.0), (1, 1.0)] {
                let mut shares = vec![0.0; q];
                state.contributions(&plan, class, &mut shares);
                let sum: f64 = shares.iter().sum();
                let expect = sign * (state.logits()[0] - at_means);
                prop_assert!(libm::fabs(sum - expect) < 1e-9, "{sum} {expect}");
                if class == state.best() {
                    let mut offered = 0.0;
                    state.offer(&plan, |c| offered += c.share);
                    prop_assert!(libm::fabs(offered - expect) < 1e-9, "{offered} {expect}");
                }
            }
            let sum: f64 = state.probabilities().iter().sum();
            prop_assert!(libm::fabs(sum - 1.0) < 1e-12);
        }
    }
}
