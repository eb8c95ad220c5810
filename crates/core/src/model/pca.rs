//! The principal-component monitor: T2, SPE, their shares, and the validity domain.
//!
//! `x` standardised, loadings `v_a`, eigenvalues `l_a`: `t_a = v_a x`, `T2 = sum(t_a^2 / l_a)`,
//! `r = x - sum(t_a v_a)`, `SPE = r r` (`methods.md` section 2). Limits come stored in the plan.
//!
//! With `lags` (dynamic PCA: Ku, Storer, Georgakis 1995) `x` is the part followed by the parts
//! before it, the newest first, each standardised by the same means and deviations. An unknown part
//! breaks the line: the score stays unknown until a part has all its predecessors again. The share
//! of a variable is the sum over its lags.
//!
//! ```text
//! DOMAIN   in --T2 or SPE > domain_out in 3 of the last 5 known parts--> out
//!          in <--both < domain_in in 20 known parts in a row------------ out
//! ```

use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::plan::{PCA_LAGS_MAX as LAGS_MAX, PcaLimits, PcaPlan};

use super::{Contribution, Score, dot, known};

/// Parts of the last [`OUT_OF`] beyond the domain that end it (`methods.md` section 2).
const OUT_NEED: u32 = 3;
/// See [`OUT_NEED`].
const OUT_OF: u32 = 5;
/// Parts in a row inside `domain_in` that bring the domain back (`methods.md` section 2).
const IN_RUN: u32 = 20;

/// Arrays whose lengths do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeError;

impl core::fmt::Display for ShapeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the arrays do not have p variables and k components")
    }
}

impl core::error::Error for ShapeError {}

/// Splits Hotelling's T2 of one scaled row into one share per variable, and returns T2.
///
/// `share[i] = x[i] * sum_a(t[a] * v[a][i] / lambda[a])`; the shares sum to T2. A negative
/// share pulls the row to the centre. Shares smear over correlated variables: show z too.
///
/// - `x`: `[p]`, dimensionless z-scores, finite.
/// - `v`: `[k][p]` row-major, orthonormal rows; `lambda`: `[k]`, each > 0.
/// - `share`: `[p]`, overwritten; untouched on error.
///
/// # Errors
/// [`ShapeError`] when lengths disagree or `p` is 0.
///
/// # Source
/// `(V x)' L^-1 (V x)` expanded by the components of `x`; test `shares_sum_to_t2`.
pub fn t2_shares(
    x: &[f64],
    v: &[f64],
    lambda: &[f64],
    share: &mut [f64],
) -> Result<f64, ShapeError> {
    let p = x.len();
    if p == 0 || share.len() != p || lambda.len().checked_mul(p) != Some(v.len()) {
        return Err(ShapeError);
    }
    share.fill(0.0);
    let mut t2 = 0.0;
    for (row, lambda) in v.chunks_exact(p).zip(lambda) {
        let t = dot(row, x);
        let weight = t / lambda;
        t2 += t * weight;
        for (share, v) in share.iter_mut().zip(row) {
            *share += weight * v;
        }
    }
    for (share, x) in share.iter_mut().zip(x) {
        *share *= x;
    }
    Ok(t2)
}

/// State and work arrays of one monitor.
#[derive(Clone, Debug)]
pub(super) struct PcaState {
    usable: bool,
    alarm: PcaLimits,
    /// Variables p of one part.
    variables: usize,
    /// `[lags + 1][p]` standardised values of the newest known part and of those before it.
    z: Vec<f64>,
    /// Known parts in a row, up to `lags + 1`.
    parts: usize,
    /// `[k]` scores of `z`.
    t: Vec<f64>,
    /// `[lags + 1][p]` residuals of `z`.
    r: Vec<f64>,
    /// Last known parts, newest in bit 0: beyond `domain_out`.
    beyond: u32,
    /// Known parts in a row inside `domain_in`, up to [`IN_RUN`].
    inside_run: u32,
    in_domain: bool,
}

impl PcaState {
    pub(super) fn new(plan: &PcaPlan) -> Self {
        let p = plan.inputs.len();
        let width = plan.width();
        let k = plan.eigenvalues.len();
        let positive = |x: &f64| *x > 0.0 && x.is_finite();
        let limits = |l: &PcaLimits| positive(&l.t2) && positive(&l.spe);
        let usable = p > 0
            && plan.mean.len() == p
            && plan.scale.len() == p
            && plan.lags <= LAGS_MAX
            && k.checked_mul(width) == Some(plan.loadings.len())
            && plan.scale.iter().all(positive)
            && plan.eigenvalues.iter().all(positive)
            && plan.mean.iter().chain(&plan.loadings).all(|x| x.is_finite())
            && limits(&plan.alarm)
            && limits(&plan.domain_out)
            && limits(&plan.domain_in);
        Self {
            usable,
            alarm: plan.alarm,
            variables: p,
            z: alloc::vec![0.0; width],
            parts: 0,
            t: alloc::vec![0.0; k],
            r: alloc::vec![0.0; width],
            beyond: 0,
            inside_run: 0,
            in_domain: true,
        }
    }

    pub(super) fn alarm(&self) -> PcaLimits {
        self.alarm
    }

    pub(super) fn score(&mut self, plan: &PcaPlan, features: &[FeatureValue]) -> Score {
        if !self.usable {
            return Score::UNKNOWN;
        }
        if self.standardise(plan, features).is_none() {
            self.parts = 0;
            return Score::UNKNOWN;
        }
        self.parts = self.parts.saturating_add(1).min(usize::from(plan.lags) + 1);
        if self.parts <= usize::from(plan.lags) {
            return Score::UNKNOWN;
        }
        let (t2, spe) = self.project(plan);
        let value = (t2 / plan.alarm.t2).max(spe / plan.alarm.spe);
        // Checked one by one: `max` would drop a NaN.
        if !(t2.is_finite() && spe.is_finite() && value.is_finite()) {
            return Score::UNKNOWN;
        }
        self.track_domain(plan, t2, spe);
        let alarm = t2 > plan.alarm.t2 || spe > plan.alarm.spe;
        let in_domain = self.in_domain;
        Score { known: true, in_domain, alarm, t2, spe, value, low: 0.0, high: 0.0 }
    }

    /// Moves the parts in `z` back by one and puts the newest before them; `None` when an input is
    /// unknown.
    fn standardise(&mut self, plan: &PcaPlan, features: &[FeatureValue]) -> Option<()> {
        let kept = self.z.len().saturating_sub(self.variables);
        self.z.copy_within(..kept, self.variables);
        let shape = plan.inputs.iter().zip(&plan.mean).zip(&plan.scale);
        for (z, ((input, mean), scale)) in self.z.iter_mut().zip(shape) {
            *z = (known(features, *input)? - mean) / scale;
        }
        Some(())
    }

    /// T2 and SPE of `z`; fills `t` and `r`.
    fn project(&mut self, plan: &PcaPlan) -> (f64, f64) {
        let p = self.z.len();
        let mut t2 = 0.0;
        self.r.copy_from_slice(&self.z);
        let rows = plan.loadings.chunks_exact(p).zip(&plan.eigenvalues);
        for (t, (row, eigenvalue)) in self.t.iter_mut().zip(rows) {
            *t = dot(row, &self.z);
            t2 += *t * *t / eigenvalue;
            for (r, v) in self.r.iter_mut().zip(row) {
                *r -= *t * v;
            }
        }
        (t2, dot(&self.r, &self.r))
    }

    fn track_domain(&mut self, plan: &PcaPlan, t2: f64, spe: f64) {
        let beyond = t2 > plan.domain_out.t2 || spe > plan.domain_out.spe;
        let inside = t2 < plan.domain_in.t2 && spe < plan.domain_in.spe;
        self.beyond = ((self.beyond << 1) | u32::from(beyond)) & ((1 << OUT_OF) - 1);
        self.inside_run = if inside { (self.inside_run + 1).min(IN_RUN) } else { 0 };
        if self.beyond.count_ones() >= OUT_NEED {
            self.in_domain = false;
        } else if self.inside_run >= IN_RUN {
            self.in_domain = true;
        }
    }

    /// Contributions to whichever of T2 and SPE is larger relative to its alarm limit.
    pub(super) fn contributions(
        &self,
        plan: &PcaPlan,
        score: &Score,
        mut offer: impl FnMut(Contribution),
    ) {
        let (width, p) = (self.z.len(), self.variables);
        let in_plane = score.t2 / self.alarm.t2 >= score.spe / self.alarm.spe;
        let weight = |index: usize| {
            let column = plan.loadings.iter().skip(index).step_by(width);
            let components = column.zip(&self.t).zip(&plan.eigenvalues);
            components.map(|((v, t), eigenvalue)| t / eigenvalue * v).sum::<f64>()
        };
        for (index, (feature, z)) in plan.inputs.iter().zip(&self.z).enumerate() {
            let lags = || (index..width).step_by(p);
            let share = if in_plane {
                let each = lags().zip(self.z.iter().skip(index).step_by(p));
                each.map(|(place, z)| z * weight(place)).sum::<f64>()
            } else {
                // The sign is that of the sum: what lies high in all its lags lies high.
                let each = || self.r.iter().skip(index).step_by(p);
                libm::copysign(each().map(|r| r * r).sum(), each().sum())
            };
            offer(Contribution { feature: *feature, share, z: *z });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{Noise, unknown, value};
    use crate::plan::FeatureId;
    use alloc::vec;
    use proptest::prelude::*;

    /// Two variables, one component along (1, 1)/sqrt 2, no scaling.
    fn diagonal() -> PcaPlan {
        let s = libm::sqrt(0.5);
        PcaPlan {
            inputs: vec![FeatureId(0), FeatureId(1)],
            lags: 0,
            mean: vec![0.0, 0.0],
            scale: vec![1.0, 1.0],
            loadings: vec![s, s],
            eigenvalues: vec![2.0],
            alarm: PcaLimits { t2: 4.0, spe: 4.0 },
            domain_out: PcaLimits { t2: 9.0, spe: 9.0 },
            domain_in: PcaLimits { t2: 4.0, spe: 4.0 },
        }
    }

    /// T2 and SPE by hand: (3, 1) is (2, 2) in the plane and (1, -1) off it.
    #[test]
    fn by_hand() {
        let plan = diagonal();
        let mut state = PcaState::new(&plan);
        let score = state.score(&plan, &[value(3.0), value(1.0)]);
        assert!(libm::fabs(score.t2 - 4.0) < 1e-12, "{score:?}");
        assert!(libm::fabs(score.spe - 2.0) < 1e-12, "{score:?}");
        assert!(libm::fabs(score.value - 1.0) < 1e-12, "{score:?}");
        let mut sum = 0.0;
        state.contributions(&plan, &score, |c| sum += c.share);
        assert!(libm::fabs(sum - 4.0) < 1e-12);
    }

    /// Leaves in 3 of 5, not before; comes back after 20 in a row, a part between the limits
    /// starts the count again, an unknown part changes nothing.
    #[test]
    fn domain_hysteresis() {
        let plan = diagonal();
        let mut state = PcaState::new(&plan);
        let mut feed = |x: f64| {
            let score = state.score(&plan, &[value(x), value(-x)]);
            score.known.then_some(score.in_domain)
        };
        let (far, between, near) = (3.0, 1.8, 0.1);
        for x in [far, near, far, near, near, near] {
            assert_eq!(feed(x), Some(true));
        }
        // Two far parts in five are not enough, a third within five is.
        assert_eq!(feed(far), Some(true));
        assert_eq!(feed(far), Some(true));
        assert_eq!(feed(f64::NAN), None);
        assert_eq!(feed(far), Some(false));
        for _ in 0..19 {
            assert_eq!(feed(near), Some(false));
        }
        assert_eq!(feed(between), Some(false));
        for _ in 0..19 {
            assert_eq!(feed(near), Some(false));
        }
        assert_eq!(feed(f64::NAN), None);
        assert_eq!(feed(near), Some(true));
        assert_eq!(feed(between), Some(true));
    }

    /// Arrays that do not fit together, or hold what they must not, never give a known score.
    #[test]
    fn bad_arrays_stay_unknown() {
        let spoil: [fn(&mut PcaPlan); 9] = [
            |p| p.lags = 1,
            |p| (p.lags, p.loadings) = (11, alloc::vec![0.1; 24]),
            |p| p.loadings.truncate(1),
            |p| p.mean.push(0.0),
            |p| p.scale[0] = 0.0,
            |p| p.eigenvalues[0] = -1.0,
            |p| p.alarm.spe = 0.0,
            |p| p.domain_out.t2 = f64::NAN,
            |p| p.inputs[1] = FeatureId(9),
        ];
        for spoil in spoil {
            let mut plan = diagonal();
            spoil(&mut plan);
            let mut state = PcaState::new(&plan);
            assert!(!state.score(&plan, &[value(0.0), value(0.0)]).known);
        }
        // Finite inputs whose score overflows are unknown too, not infinite.
        let plan = diagonal();
        let mut state = PcaState::new(&plan);
        let score = state.score(&plan, &[value(1e200), value(1e200)]);
        assert!(!score.known && !score.in_domain);
    }

    /// `k` orthonormal rows of length `p`, by Gram-Schmidt on seeded noise.
    fn orthonormal(k: usize, p: usize, seed: u64) -> Vec<f64> {
        let mut noise = Noise::new(seed);
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for _ in 0..k {
            let mut row: Vec<f64> = (0..p).map(|_| noise.normal()).collect();
            for _ in 0..2 {
                for held in &rows {
                    let t = dot(held, &row);
                    for (x, h) in row.iter_mut().zip(held) {
                        *x -= t * h;
                    }
                }
                let norm = libm::sqrt(dot(&row, &row));
                for x in &mut row {
                    *x /= norm;
                }
            }
            rows.push(row);
        }
        rows.concat()
    }

    proptest! {
        /// The shares of any row sum to T2; wrong lengths are refused and touch nothing.
        #[test]
        fn shares_sum_to_t2(p in 1_usize..20, k in 1_usize..20, seed in any::<u64>()) {
            let k = k.min(p);
            let v = orthonormal(k, p, seed);
            let mut noise = Noise::new(seed ^ 1);
            let x: Vec<f64> = (0..p).map(|_| 3.0 * noise.normal()).collect();
            let lambda: Vec<f64> = (0..k).map(|_| 0.01 + noise.uniform()).collect();
            let mut share = vec![7.0; p];
            let t2 = t2_shares(&x, &v, &lambda, &mut share).unwrap();
            let sum: f64 = share.iter().sum();
            prop_assert!(libm::fabs(sum - t2) <= 1e-9 * t2.max(1.0), "{} and {}", sum, t2);
            let held = share.clone();
            prop_assert!(t2_shares(&x, &v[1..], &lambda, &mut share).is_err());
            prop_assert_eq!(held, share);
        }

        /// Lags are the same, bit for bit, as a monitor of single rows that hold them; a row is
        /// unknown while one of those before it is, and at the start; the shares of all lags of a
        /// variable sum to the statistic that leads.
        #[test]
        fn lags_are_longer_rows(
            p in 1_usize..6, lags in 1_u8..5, k in 1_usize..30, seed in any::<u64>()
        ) {
            let width = p * (usize::from(lags) + 1);
            let mut noise = Noise::new(seed);
            let k = k.min(width);
            let limits = PcaLimits { t2: k as f64, spe: 1.0 + (width - k) as f64 };
            let mean: Vec<f64> = (0..p).map(|_| noise.normal()).collect();
            let scale: Vec<f64> = (0..p).map(|_| 0.5 + noise.uniform()).collect();
            let plan = PcaPlan {
                inputs: (0..).map(FeatureId).take(p).collect(),
                lags,
                mean: mean.clone(),
                scale: scale.clone(),
                loadings: orthonormal(k, width, seed),
                eigenvalues: (0..k).map(|_| 0.5 + noise.uniform()).collect(),
                alarm: limits,
                domain_out: limits,
                domain_in: limits,
            };
            let long = PcaPlan {
                inputs: (0..).map(FeatureId).take(width).collect(),
                lags: 0,
                mean: mean.repeat(usize::from(lags) + 1),
                scale: scale.repeat(usize::from(lags) + 1),
                ..plan.clone()
            };
            let (mut state, mut other) = (PcaState::new(&plan), PcaState::new(&long));
            let mut rows: Vec<Vec<FeatureValue>> = Vec::new();
            for _ in 0..40 {
                let mut hole = noise.uniform() < 0.1;
                let row = (0..p).map(|_| {
                    if core::mem::take(&mut hole) { unknown() } else { value(noise.normal()) }
                });
                rows.insert(0, row.collect());
                let score = state.score(&plan, &rows[0]);
                let whole = rows.iter().take(usize::from(lags) + 1).flatten().copied();
                let whole: Vec<FeatureValue> = whole.collect();
                let complete = whole.len() == width && whole.iter().all(|x| x.value.is_some());
                prop_assert_eq!(score.known, complete);
                if !complete {
                    continue;
                }
                prop_assert_eq!(score, other.score(&long, &whole));
                let (mut sum, mut size) = (0.0, 0.0);
                state.contributions(&plan, &score, |c| {
                    sum += c.share;
                    size += libm::fabs(c.share);
                });
                let in_plane = score.t2 / limits.t2 >= score.spe / limits.spe;
                let (found, leads) = if in_plane { (sum, score.t2) } else { (size, score.spe) };
                prop_assert!(libm::fabs(found - leads) <= 1e-9 * (1.0 + leads), "{found} {leads}");
            }
        }
    }
}
