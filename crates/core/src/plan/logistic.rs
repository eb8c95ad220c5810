//! What a logistic classifier is made of.

use alloc::string::String;
use alloc::vec::Vec;

use super::{FeatureId, ModelId, Step};

/// A logistic classifier of two classes. `p` inputs, `q` columns (inputs, then one per step).
///
/// `logit = intercept + sum(coef * x)`, the log-odds of the second class before calibration.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticPlan {
    /// `[p]` features.
    pub inputs: Vec<FeatureId>,
    /// `[q - p]` what is worked out of the columns before it; steps with a memory are not taken.
    pub steps: Vec<Step>,
    /// `[p]` lowest and highest training values; outside is out of domain.
    pub span: Vec<(f64, f64)>,
    /// Monitor whose domain this classifier shares.
    pub domain: Option<ModelId>,
    /// `[q]` coefficients [1 per unit of the column].
    pub coefficients: Vec<f64>,
    /// Log-odds where every column is 0.
    pub intercept: f64,
    /// `[q]` training means, the reference of contributions.
    pub mean: Vec<f64>,
    /// `[q]` training standard deviations, each > 0.
    pub scale: Vec<f64>,
    /// `[q][q]` row-major, symmetric and positive definite: inverse covariance of the
    /// standardised training columns, for T2.
    pub precision: Vec<f64>,
    /// Largest T2 of the domain, > 0: beyond it no training row mixed its columns like this.
    pub t2_out: f64,
    /// From log-odds to a probability that comes true as often as it says.
    pub calibration: Calibration,
    /// `[2]` names of the classes.
    pub classes: Vec<String>,
    /// `[2]` the best class is the one of largest probability times weight, each > 0.
    pub weights: Vec<f64>,
}

impl LogisticPlan {
    /// Columns `q`.
    pub fn columns(&self) -> usize {
        self.inputs.len() + self.steps.len()
    }
}

/// How log-odds become the probability of the second class.
#[derive(Clone, Debug, PartialEq)]
pub enum Calibration {
    /// `1 / (1 + exp(-(slope * logit + bias)))` (Platt 1999).
    Platt {
        /// Slope, > 0.
        slope: f64,
        /// What is added.
        bias: f64,
    },
    /// Lines through points of (log-odds, probability), both rising; level beyond the ends.
    Isotonic(Vec<(f64, f64)>),
}
