//! What a feed-forward neural network is made of.

use alloc::vec::Vec;

/// Most layers, the one that gives the outputs among them.
pub const LAYERS_MAX: usize = 16;
/// Most units of one layer.
pub const UNITS_MAX: usize = 1024;
/// Most weights of one network: some 2 ms for a part on a small PC.
pub const WEIGHTS_MAX: usize = 1 << 20;

/// A feed-forward network over `q` columns with `k` outputs, which are added to what trees and
/// linear terms give. Layer `l` has `u[l]` units over the `u[l - 1]` of the layer before it; the
/// first is over the columns.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkPlan {
    /// Layers in their order, 1 to [`LAYERS_MAX`]; the last has `k` units and is
    /// [`Activation::Identity`].
    pub layers: Vec<Layer>,
    /// Weights of all layers one after the other, each `[u[l]][u[l - 1]]`, row-major.
    pub weights: Vec<f64>,
    /// `[u[0] + u[1] + ...]` what is added to the sum of each unit.
    pub bias: Vec<f64>,
    /// `[q]` values that contributions are counted from, such as the means of training.
    pub centre: Vec<f64>,
}

/// One layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Units, 1 to [`UNITS_MAX`].
    pub units: u16,
    /// What a unit makes of its sum.
    pub activation: Activation,
}

/// What a unit makes of its sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// The larger of it and 0.
    Relu,
    /// Its hyperbolic tangent, -1 to 1.
    Tanh,
    /// `1 / (1 + exp(-x))`, 0 to 1.
    Sigmoid,
}

impl Activation {
    /// Word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
        }
    }
}

impl NetworkPlan {
    /// Whether the arrays fit together for so many columns and outputs, and every number is finite.
    pub fn fits(&self, columns: usize, outputs: usize) -> bool {
        let (mut width, mut weights, mut units) = (columns, 0_usize, 0_usize);
        for layer in &self.layers {
            let own = usize::from(layer.units);
            if !(1..=UNITS_MAX).contains(&own) {
                return false;
            }
            weights = weights.saturating_add(own.saturating_mul(width));
            units = units.saturating_add(own);
            width = own;
        }
        let finite = |values: &[f64]| values.iter().all(|x| x.is_finite());
        (1..=LAYERS_MAX).contains(&self.layers.len())
            && width == outputs
            && self.layers.last().is_some_and(|last| last.activation == Activation::Identity)
            && weights <= WEIGHTS_MAX
            && self.weights.len() == weights
            && self.bias.len() == units
            && self.centre.len() == columns
            && finite(&self.weights)
            && finite(&self.bias)
            && finite(&self.centre)
    }
}
