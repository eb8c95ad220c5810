//! What a logistic classifier is made of.

use alloc::string::String;
use alloc::vec::Vec;

use super::{FeatureId, ModelId, Step};

/// A logistic classifier. `p` inputs, `q` columns (inputs, then one per step), `c` classes, `k`
/// outputs: 1 for two classes, else `c`.
///
/// `logit[j] = intercept[j] + sum(coef[j] * x)`: of two classes the log-odds of the second before
/// calibration; of more one number for each class, of which only differences mean something.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticPlan {
    /// `[p]` features.
    pub inputs: Vec<FeatureId>,
    /// `[q - p]` what is worked out of the columns before it; steps with a memory are not taken.
    pub steps: Vec<Step>,
    /// `[p]` lowest and highest values of the domain: those of training, in newer models widened so
    /// that few parts like them lie beyond; outside is out of domain.
    pub span: Vec<(f64, f64)>,
    /// Monitor whose domain this classifier shares.
    pub domain: Option<ModelId>,
    /// `[k][q]` coefficients [1 per unit of the column].
    pub coefficients: Vec<f64>,
    /// `[k]` log-odds where every column is 0.
    pub intercepts: Vec<f64>,
    /// `[q]` training means, the reference of contributions.
    pub mean: Vec<f64>,
    /// `[q]` training standard deviations, each > 0.
    pub scale: Vec<f64>,
    /// `[q][q]` row-major, symmetric and positive definite: inverse covariance of the
    /// standardised training columns, for T2.
    pub precision: Vec<f64>,
    /// Largest T2 of the domain, > 0: few parts like those of training mix their columns so oddly.
    pub t2_out: f64,
    /// From log-odds to probabilities that come true as often as they say.
    pub calibration: Calibration,
    /// `[c]` names of the classes, 2 to [`CLASSES_MAX`](super::CLASSES_MAX).
    pub classes: Vec<String>,
    /// `[c]` the best class is the one of largest probability times weight, each > 0.
    pub weights: Vec<f64>,
}

impl LogisticPlan {
    /// Columns `q`.
    pub fn columns(&self) -> usize {
        self.inputs.len() + self.steps.len()
    }

    /// Outputs `k`.
    pub fn outputs(&self) -> usize {
        if self.classes.len() > 2 { self.classes.len() } else { 1 }
    }
}

/// How log-odds become probabilities.
#[derive(Clone, Debug, PartialEq)]
pub enum Calibration {
    /// Of the second of two classes: `1 / (1 + exp(-(slope * logit + bias)))` (Platt 1999).
    Platt {
        /// Slope, > 0.
        slope: f64,
        /// What is added.
        bias: f64,
    },
    /// Of the second of two classes: lines through points of (log-odds, probability), both rising;
    /// level beyond the ends.
    Isotonic(Vec<(f64, f64)>),
    /// Of more than two classes: `exp(slope * logit[j])` over the sum of these (Guo and others 2017
    /// call `1 / slope` the temperature). It never changes which class is the best.
    Softmax {
        /// Slope, > 0.
        slope: f64,
    },
}
