//! Feed-forward neural networks: outputs, and contributions that sum to them.
//!
//! The columns, the sums and what the units give lie one after the other in one array per network,
//! so that a layer reads one run of it and writes the next.
//!
//! A *contribution* compares the part with the centre of training. Going back from an output, a unit
//! passes on `(gives - gives at the centre) / (sum - sum at the centre)` for each unit of its sum;
//! a column's share is what arrives at it times its distance from the centre. Each step is an exact
//! difference, so that with the output at the centre the shares sum to the output, which gradient
//! times input does not, and sampled integrated gradients do only about.
//!
//! Source: the rescale rule of `DeepLIFT` (Shrikumar, Greenside, Kundaje 2017); test
//! `shares_sum_to_the_output`.

use alloc::vec;
use alloc::vec::Vec;

use crate::plan::{Activation, NetworkPlan, UNITS_MAX};

use super::dot;

/// Distance of a sum from that at the centre, as a share of their size, below which the slope stands
/// for the ratio of two differences that rounding would spoil.
const BESIDE: f64 = 1e-8;

/// What the units of one network gave for the newest part, and at the centre of training.
#[derive(Clone, Debug)]
pub(super) struct Network {
    newest: Run,
    centre: Run,
}

/// `[q + units]` columns, then units; the sums of columns are the columns.
#[derive(Clone, Debug)]
struct Run {
    sums: Vec<f64>,
    gives: Vec<f64>,
}

impl Network {
    /// Allocates everything; only for a plan that fits.
    pub(super) fn new(plan: &NetworkPlan) -> Self {
        let size = plan.centre.len() + plan.bias.len();
        let run = Run { sums: vec![0.0; size], gives: vec![0.0; size] };
        let mut network = Self { newest: run.clone(), centre: run };
        network.centre.fill(plan, plan.centre.iter().copied());
        network
    }

    /// Adds what the network makes of a part to `outputs`, `[k]`.
    ///
    /// - `columns`: `[q]`, as the trees see them.
    pub(super) fn add(&mut self, plan: &NetworkPlan, columns: &[f32], outputs: &mut [f64]) {
        self.newest.fill(plan, columns.iter().map(|x| f64::from(*x)));
        let last = self.newest.last(outputs.len());
        for (output, x) in outputs.iter_mut().zip(last) {
            *output += x;
        }
    }

    /// Adds the contributions of the newest part to an output, times `sign`, to `shares`, `[q]`, and
    /// returns that output at the centre, times `sign`.
    pub(super) fn share(
        &self,
        plan: &NetworkPlan,
        (output, outputs): (usize, usize),
        sign: f64,
        shares: &mut [f64],
    ) -> f64 {
        // What each unit of the layer is worth to the output, and each of the layer before it.
        let (mut worth, mut before) = ([0.0; UNITS_MAX], [0.0; UNITS_MAX]);
        if let Some(slot) = worth.get_mut(output) {
            *slot = sign;
        }
        let mut units = self.newest.sums.len();
        let mut weights = plan.weights.len();
        for (place, layer) in plan.layers.iter().enumerate().rev() {
            let own = usize::from(layer.units);
            let earlier = place.checked_sub(1).and_then(|place| plan.layers.get(place));
            let width = earlier.map_or(plan.centre.len(), |layer| usize::from(layer.units));
            units = units.saturating_sub(own);
            weights = weights.saturating_sub(own * width);
            before.fill(0.0);
            let rows = plan.weights.get(weights..).unwrap_or_default().chunks(width.max(1));
            for (index, (row, worth)) in rows.zip(worth.iter().take(own)).enumerate() {
                let worth = worth * self.passes(units + index, layer.activation);
                for (slot, weight) in before.iter_mut().zip(row) {
                    *slot += worth * weight;
                }
            }
            core::mem::swap(&mut worth, &mut before);
        }
        let columns = self.newest.gives.iter().zip(&plan.centre);
        for ((share, worth), (x, centre)) in shares.iter_mut().zip(&worth).zip(columns) {
            *share += worth * (x - centre);
        }
        sign * self.centre.last(outputs).get(output).copied().unwrap_or(0.0)
    }

    /// What a unit gave more than at the centre for each unit of its sum more.
    fn passes(&self, at: usize, activation: Activation) -> f64 {
        let of = |list: &[f64]| list.get(at).copied().unwrap_or(0.0);
        let (sum, from) = (of(&self.newest.sums), of(&self.centre.sums));
        let away = sum - from;
        if libm::fabs(away) <= BESIDE * (libm::fabs(sum) + libm::fabs(from)) {
            return slope(activation, of(&self.newest.gives));
        }
        (of(&self.newest.gives) - of(&self.centre.gives)) / away
    }
}

impl Run {
    fn fill(&mut self, plan: &NetworkPlan, columns: impl Iterator<Item = f64>) {
        let q = plan.centre.len();
        let slots = self.sums.iter_mut().zip(&mut self.gives).take(q);
        for ((sum, gives), x) in slots.zip(columns) {
            (*sum, *gives) = (x, x);
        }
        let (mut from, mut at, mut weights, mut bias) = (0, q, 0, 0);
        for layer in &plan.layers {
            let (units, width) = (usize::from(layer.units), at - from);
            let (earlier, later) = self.gives.split_at_mut(at);
            let earlier = earlier.get(from..).unwrap_or_default();
            let rows = plan.weights.get(weights..).unwrap_or_default().chunks(width.max(1));
            let biases = plan.bias.get(bias..).unwrap_or_default();
            let sums = self.sums.get_mut(at..).unwrap_or_default();
            let slots = sums.iter_mut().zip(later).take(units);
            for (((sum, gives), row), bias) in slots.zip(rows).zip(biases) {
                *sum = bias + dot(row, earlier);
                *gives = activate(layer.activation, *sum);
            }
            (from, at) = (at, at + units);
            weights += units * width;
            bias += units;
        }
    }

    /// What the last units gave.
    fn last(&self, outputs: usize) -> &[f64] {
        let from = self.gives.len().saturating_sub(outputs);
        self.gives.get(from..).unwrap_or_default()
    }
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        // Not the larger of the two by a function: that would make 0 of NaN.
        Activation::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Activation::Tanh => libm::tanh(x),
        Activation::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
    }
}

/// The slope where a unit gives `y`.
fn slope(activation: Activation, y: f64) -> f64 {
    match activation {
        Activation::Identity => 1.0,
        Activation::Relu => f64::from(u8::from(y > 0.0)),
        Activation::Tanh => 1.0 - y * y,
        Activation::Sigmoid => y * (1.0 - y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::forest::Forest;
    use crate::model::tests::{Noise, unknown, value};
    use crate::plan::{FeatureId, ForestPlan, Layer, Link};
    use alloc::string::String;
    use proptest::prelude::*;

    fn forest(network: NetworkPlan, classes: &[&str], outputs: usize) -> ForestPlan {
        let p = network.centre.len();
        ForestPlan {
            inputs: (0..).map(FeatureId).take(p).collect(),
            steps: Vec::new(),
            span: vec![(-5.0, 5.0); p],
            domain: None,
            linear: None,
            network: Some(network),
            trees: Vec::new(),
            nodes: Vec::new(),
            values: Vec::new(),
            base: vec![0.0; outputs],
            factor: 1.0,
            link: if classes.is_empty() { Link::Share } else { Link::Margin },
            slope: 1.0,
            bias: vec![0.0; outputs],
            weights: vec![1.0; classes.len()],
            classes: classes.iter().copied().map(String::from).collect(),
            remember: None,
            likeness: None,
            directions: None,
            reach: None,
            half_width: classes.is_empty().then_some(1.0),
        }
    }

    /// Two inputs, two hidden units, one output.
    fn small(activation: Activation) -> NetworkPlan {
        NetworkPlan {
            layers: vec![
                Layer { units: 2, activation },
                Layer { units: 1, activation: Activation::Identity },
            ],
            weights: vec![1.0, -1.0, 0.5, 2.0, 3.0, -2.0],
            bias: vec![0.5, -1.0, 0.25],
            centre: vec![1.0, 0.0],
        }
    }

    fn near(found: f64, expect: f64) {
        assert!(libm::fabs(found - expect) < 1e-12, "{found} instead of {expect}");
    }

    /// Output, domain, contributions by hand; what is unknown stays so.
    #[test]
    fn by_hand() {
        let plan = forest(small(Activation::Relu), &[], 1);
        assert!(plan.fits());
        let mut state = Forest::new(&plan);
        // x = (2, 3): sums (-0.5, 6), so 0.25 - 2 * 6. At (1, 0): sums (1.5, -0.5), so 4.75.
        let score = state.score(&plan, &[value(2.0), value(3.0)], None);
        near(score.value, -11.75);
        assert!(score.known && score.in_domain);
        let mut shares = [0.0; 2];
        near(state.contributions(&plan, 0, &mut shares), 4.75);
        // Units pass (0 - 1.5) / -2 = 0.75 and 6 / 6.5 on.
        near(shares[0], 3.0 * 0.75 * 1.0 - 2.0 * 6.0 / 6.5 * 0.5);
        near(shares[1], (-(3.0 * 0.75) - 2.0 * 6.0 / 6.5 * 2.0) * 3.0);
        // At the centre nothing contributes.
        state.score(&plan, &[value(1.0), value(0.0)], None);
        near(state.contributions(&plan, 0, &mut shares), state.outputs()[0]);
        assert_eq!(shares, [0.0, 0.0]);
        assert!(!state.score(&plan, &[value(6.0), value(0.0)], None).in_domain);
        for odd in [unknown(), value(f64::NAN), value(1e300)] {
            assert!(!state.score(&plan, &[value(1.0), odd], None).known);
        }
        let class = forest(small(Activation::Tanh), &["ok", "nok"], 1);
        let mut state = Forest::new(&class);
        state.score(&class, &[value(2.0), value(3.0)], None);
        let logit = 0.25 + 3.0 * libm::tanh(-0.5) - 2.0 * libm::tanh(6.0);
        near(state.probabilities()[1], 1.0 / (1.0 + libm::exp(-logit)));
    }

    /// Arrays that do not fit together are never scored.
    #[test]
    fn bad_plans_stay_unknown() {
        let spoil: [fn(&mut NetworkPlan); 10] = [
            |n| n.layers.clear(),
            |n| n.layers[1].units = 2,
            |n| n.layers[0].units = 0,
            |n| n.layers[0].units = 1025,
            |n| n.layers[1].activation = Activation::Relu,
            |n| n.weights.truncate(5),
            |n| n.weights[0] = f64::NAN,
            |n| n.bias.push(0.0),
            |n| n.centre.truncate(1),
            |n| n.bias[2] = f64::INFINITY,
        ];
        for (index, spoil) in spoil.iter().enumerate() {
            let mut plan = forest(small(Activation::Relu), &[], 1);
            spoil(plan.network.as_mut().unwrap());
            let mut state = Forest::new(&plan);
            assert!(!state.score(&plan, &[value(1.0), value(1.0)], None).known, "{index}");
        }
    }

    proptest! {
        /// Whatever the network, the shares and the output at the centre sum to the output, of every
        /// class, also close to the centre.
        #[test]
        fn shares_sum_to_the_output(
            p in 1_usize..12,
            hidden in prop::collection::vec((1_u16..12, 0..4_u8), 0..4),
            classes in 0_usize..5,
            far in prop::sample::select(vec![1.0, 1e-6, 1e-12]),
            seed in any::<u64>(),
        ) {
            let mut noise = Noise::new(seed);
            let mut draws = |n: usize| -> Vec<f64> { (0..n).map(|_| noise.normal()).collect() };
            let classes = if classes == 1 { 0 } else { classes };
            let outputs = if classes > 2 { classes } else { 1 };
            let mut layers: Vec<_> = hidden.iter().map(|(units, kind)| Layer {
                units: *units,
                activation: match kind {
                    0 => Activation::Identity,
                    1 => Activation::Relu,
                    2 => Activation::Tanh,
                    _ => Activation::Sigmoid,
                },
            }).collect();
            let last = u16::try_from(outputs).unwrap();
            layers.push(Layer { units: last, activation: Activation::Identity });
            let widths: Vec<_> = layers.iter().map(|layer| usize::from(layer.units)).collect();
            let before = [p].into_iter().chain(widths.iter().copied());
            let weights = widths.iter().zip(before).map(|(own, before)| own * before).sum();
            let network = NetworkPlan {
                layers,
                weights: draws(weights),
                bias: draws(widths.iter().sum()),
                // Of few digits, so that a part can lie exactly on it in f32 too.
                centre: draws(p).into_iter().map(|x| libm::round(64.0 * x) / 64.0).collect(),
            };
            let names = ["a", "b", "c", "d"];
            let plan = forest(network.clone(), &names[..classes], outputs);
            prop_assert!(plan.fits());
            let mut state = Forest::new(&plan);
            let off = draws(p);
            let features: Vec<_> =
                network.centre.iter().zip(off).map(|(c, off)| value(c + far * off)).collect();
            prop_assert!(state.score(&plan, &features, None).known);
            for class in 0..classes.max(1) {
                let mut shares = vec![0.0; p];
                let sum = state.contributions(&plan, class, &mut shares)
                    + shares.iter().sum::<f64>();
                let sign = if classes == 2 && class == 0 { -1.0 } else { 1.0 };
                let output = sign * state.outputs()[if classes > 2 { class } else { 0 }];
                prop_assert!(libm::fabs(sum - output) < 1e-7 * (1.0 + libm::fabs(output)), "{sum} {output}");
            }
        }
    }
}
