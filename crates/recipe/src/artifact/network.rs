//! A neural network of a forest artifact as arrays.

use trimloop_core::plan::{Activation, Layer, NetworkPlan};

use super::{Array, Artifact, Data};

/// Arrays of a neural network, in file order, behind those of the trees.
pub(super) const NAMES: [&str; 4] = ["layer", "network", "network_bias", "network_centre"];

pub(super) fn arrays(plan: &NetworkPlan) -> [Array; 4] {
    let [layer, weights, bias, centre] = NAMES;
    let array = |name, shape, data| Array { name, shape, data };
    let layers = plan.layers.iter().flat_map(|layer| [layer.units, code(layer.activation)]);
    let f64s = |name, data: &[f64]| array(name, vec![data.len()], Data::F64(data.to_vec()));
    [
        array(layer, vec![plan.layers.len(), 2], Data::U16(layers.collect())),
        f64s(weights, &plan.weights),
        f64s(bias, &plan.bias),
        f64s(centre, &plan.centre),
    ]
}

/// Shapes as the layers say them; none where there is no network.
pub(super) fn shapes(artifact: &Artifact, columns: usize) -> Vec<(&'static str, Vec<usize>)> {
    if NAMES.iter().all(|name| artifact.array(name).is_none()) {
        return Vec::new();
    }
    let (layers, _) = artifact.u16s("layer").as_chunks::<2>();
    let (mut width, mut weights, mut units) = (columns, 0_usize, 0_usize);
    for [own, _] in layers {
        let own = usize::from(*own);
        weights = weights.saturating_add(own.saturating_mul(width));
        units = units.saturating_add(own);
        width = own;
    }
    let shapes = [vec![layers.len(), 2], vec![weights], vec![units], vec![columns]];
    NAMES.into_iter().zip(shapes).collect()
}

/// The network; only of an artifact that has one, whose shapes were checked. `None` when an
/// activation is not known.
pub(super) fn plan(artifact: &Artifact) -> Option<NetworkPlan> {
    let (layers, _) = artifact.u16s("layer").as_chunks::<2>();
    let layers: Option<Vec<_>> = layers
        .iter()
        .map(|[units, code]| Some(Layer { units: *units, activation: activation(*code)? }))
        .collect();
    Some(NetworkPlan {
        layers: layers?,
        weights: artifact.data("network").to_vec(),
        bias: artifact.data("network_bias").to_vec(),
        centre: artifact.data("network_centre").to_vec(),
    })
}

const fn code(activation: Activation) -> u16 {
    match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Tanh => 2,
        Activation::Sigmoid => 3,
    }
}

const fn activation(code: u16) -> Option<Activation> {
    Some(match code {
        0 => Activation::Identity,
        1 => Activation::Relu,
        2 => Activation::Tanh,
        3 => Activation::Sigmoid,
        _ => return None,
    })
}
