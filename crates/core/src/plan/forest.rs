//! What a tree ensemble is made of; linear terms and a neural network may stand beside the trees,
//! or alone.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Directions, FeatureId, ModelId, NetworkPlan, Reach};

/// Most columns of a tree ensemble, inputs and derived ones together.
pub const COLUMNS_MAX: usize = 1024;
/// Most classes of a classifier.
pub const CLASSES_MAX: usize = 64;
/// Deepest tree.
pub const DEPTH_MAX: u8 = 64;

/// A classifier or a soft sensor made of trees, linear terms, a neural network, or several of them,
/// whose outputs are added. `p` inputs, `q` columns
/// (inputs, then one per step), `c` classes (none for a soft sensor), `k` outputs (1 for two
/// classes: that of the second; 1 for a soft sensor: its prediction; else `c`).
#[derive(Clone, Debug, PartialEq)]
pub struct ForestPlan {
    /// `[p]` features.
    pub inputs: Vec<FeatureId>,
    /// `[q - p]` what is worked out of the columns before it.
    pub steps: Vec<Step>,
    /// `[p]` lowest and highest values of the domain: those of training, in newer models widened so
    /// that few parts like them lie beyond; outside is out of domain. Empty where nobody knows
    /// them, as of a model from elsewhere: then every part is out of domain.
    pub span: Vec<(f64, f64)>,
    /// The domain of all inputs together: too far is out of domain. `None` in models before it, where
    /// the spans alone are.
    pub reach: Option<Reach>,
    /// Monitor whose domain this classifier shares.
    pub domain: Option<ModelId>,
    /// Linear terms, added to what the trees give.
    pub linear: Option<LinearTerms>,
    /// A neural network, added to what the trees give.
    pub network: Option<NetworkPlan>,
    /// The trees, in the order of summation; none where there are only linear terms or a network.
    pub trees: Vec<Tree>,
    /// `[nodes]` of all trees.
    pub nodes: Vec<Node>,
    /// `[nodes][k]` what a part that reaches a node adds to each output; of inner nodes the mean
    /// of the training parts that passed it, for contributions.
    pub values: Vec<f32>,
    /// `[k]` outputs without any tree.
    pub base: Vec<f64>,
    /// What the sum over the trees is multiplied by: 1 over their number for means.
    pub factor: f64,
    /// How outputs become probabilities.
    pub link: Link,
    /// Calibration: slope of the log-odds, > 0.
    pub slope: f64,
    /// `[k]` calibration: what is added to the log-odds.
    pub bias: Vec<f64>,
    /// `[c]` names of the classes, 2 to [`CLASSES_MAX`]; none for a soft sensor.
    pub classes: Vec<String>,
    /// `[c]` the best class is the one of largest probability times weight, each > 0.
    pub weights: Vec<f64>,
    /// For a diagnosis: what remains of the evidence for each class from one part to the next,
    /// 0 to below 1; `None` judges every part alone. With [`ForestPlan::likeness`] the probability
    /// that the cause of a part is that of the part before.
    pub remember: Option<f64>,
    /// For a diagnosis: `[c][c]` mean votes that parts of each class get, learnt from parts that the
    /// trees had not seen, each above 0 to 1. `None` adds up the votes themselves, as models before
    /// it did.
    pub likeness: Option<Vec<f64>>,
    /// For a diagnosis with [`ForestPlan::likeness`]: directions of the causes, whose likelihoods
    /// count beside those of the votes.
    pub directions: Option<Directions>,
    /// Soft sensor: half the width of its interval [unit of y], >= 0; `None` where it was never held
    /// against labels: then every part is out of domain. `None` for a classifier.
    pub half_width: Option<f64>,
}

/// Linear terms: output `j` gains `sum(coefficients[j][i] * column[i])`.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearTerms {
    /// `[k][q]` coefficients.
    pub coefficients: Vec<f64>,
    /// `[q]` values that contributions are counted from, such as the means of training.
    pub centre: Vec<f64>,
}

impl ForestPlan {
    /// Whether directions belong to these inputs and classes, beside votes that can be compared.
    pub(crate) fn directions_fit(&self) -> bool {
        self.directions.as_ref().is_none_or(|directions| {
            self.likeness.is_some() && directions.fits(self.inputs.len(), self.classes.len())
        })
    }

    /// Whether the domain belongs to these inputs; where no span is known, there is none.
    pub(crate) fn reach_fits(&self) -> bool {
        let spans = !self.span.is_empty();
        self.reach.as_ref().is_none_or(|reach| spans && reach.fits(self.inputs.len()))
    }

    /// Outputs `k`.
    pub fn outputs(&self) -> usize {
        if self.classes.len() > 2 { self.classes.len() } else { 1 }
    }

    /// Whether it predicts a number, not a class.
    pub fn is_sensor(&self) -> bool {
        self.classes.is_empty()
    }

    /// Columns `q`.
    pub fn columns(&self) -> usize {
        self.inputs.len() + self.steps.len()
    }
}

/// One derived column; operands are columns before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The first less the second.
    Difference(u16, u16),
    /// The first times the second.
    Product(u16, u16),
    /// The first over the second; unknown where that is 0.
    Ratio(u16, u16),
    /// Exponentially weighted mean over parts; begins at the first value.
    Mean {
        /// The column.
        of: u16,
        /// Weight of the newest part, 0 to 1.
        weight: f64,
    },
    /// Exponentially weighted standard deviation over parts; begins at 0.
    Deviation {
        /// The column.
        of: u16,
        /// Weight of the newest part, 0 to 1.
        weight: f64,
    },
    /// Exponentially weighted root mean square of the change from one part to the next; begins
    /// at 0. Unlike the deviation it does not see a drift.
    Successive {
        /// The column.
        of: u16,
        /// Weight of the newest part, 0 to 1.
        weight: f64,
    },
}

impl Step {
    /// The weight of the newest part, where the step has a memory.
    pub const fn weight(self) -> Option<f64> {
        match self {
            Self::Difference(..) | Self::Product(..) | Self::Ratio(..) => None,
            Self::Mean { weight, .. }
            | Self::Deviation { weight, .. }
            | Self::Successive { weight, .. } => Some(weight),
        }
    }

    /// The operands; the second is the first again where there is one only.
    pub const fn operands(self) -> (u16, u16) {
        match self {
            Self::Difference(a, b) | Self::Product(a, b) | Self::Ratio(a, b) => (a, b),
            Self::Mean { of, .. } | Self::Deviation { of, .. } | Self::Successive { of, .. } => {
                (of, of)
            }
        }
    }
}

/// One tree: a run of nodes, the root first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Place of the root in [`ForestPlan::nodes`].
    pub root: u32,
    /// Splits on the longest way to a leaf.
    pub depth: u8,
}

/// A split, or a leaf. Eight bytes, so that eight nodes share a cache line.
///
/// A column of at most `threshold` goes to `left`, a larger one to the node after it. Both are
/// counted from the root. A leaf leads to itself: its threshold is [`f32::MAX`], its `left` its own
/// place, so that several trees can go down together without asking which has arrived.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Node {
    /// Largest value that goes left, finite.
    pub threshold: f32,
    /// The column.
    pub column: u16,
    /// Place of the left child.
    pub left: u16,
}

/// How the outputs of the trees become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// They are probabilities; no calibration.
    Share,
    /// They are probabilities, to be calibrated on their log-odds.
    Votes,
    /// They are log-odds.
    Margin,
}
