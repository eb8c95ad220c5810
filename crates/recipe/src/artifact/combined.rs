//! Several monitors under common limits as arrays: those of one monitor, with a row for each.

use trimloop_core::plan::{CombinedPlan, FeatureId, MonitorPlan, PcaLimits};

use super::{Array, Artifact, Data, Shapes, monitor};

/// Most members.
const MEMBERS_MAX: usize = 8;

/// Arrays in file order for `p` inputs, `m` members and `g` gaps of each.
fn shapes_of(p: usize, m: usize, g: usize) -> Shapes {
    vec![
        ("mean", vec![m, p]),
        ("scale", vec![m, p]),
        ("transition", vec![m, p, p]),
        ("precision", vec![m, p, p]),
        ("gap", vec![m, g]),
        ("weights", vec![m, 2]),
        ("limits", vec![m, 2]),
    ]
}

pub(super) fn shapes(artifact: &Artifact) -> Shapes {
    let m = artifact.data("limits").len() / 2;
    let g = artifact.data("gap").len().checked_div(m).unwrap_or(0);
    shapes_of(artifact.header.features.len(), m, g)
}

pub(super) fn arrays(plan: &CombinedPlan) -> Vec<Array> {
    let joined = |of: fn(&MonitorPlan) -> Vec<f64>| plan.members.iter().flat_map(of).collect();
    let data: [Vec<f64>; 7] = [
        joined(|m| m.mean.clone()),
        joined(|m| m.scale.clone()),
        joined(|m| m.transition.clone()),
        joined(|m| m.precision.clone()),
        joined(|m| m.gap.clone()),
        joined(|m| vec![m.weight_t2, m.weight_spe]),
        joined(|m| vec![m.alarm.t2, m.alarm.spe]),
    ];
    let first = plan.members.first();
    let (p, g) = first.map_or((0, 0), |member| (member.mean.len(), member.gap.len()));
    let all = shapes_of(p, plan.members.len(), g).into_iter().zip(data);
    all.map(|((name, shape), data)| Array { name, shape, data: Data::F64(data) }).collect()
}

pub(super) fn plan(artifact: &Artifact, inputs: &[FeatureId]) -> CombinedPlan {
    let m = artifact.data("limits").len() / 2;
    let part = |name, index: usize| {
        let data = artifact.data(name);
        let size = data.len().checked_div(m).unwrap_or(0);
        data.get(index * size..(index + 1) * size).unwrap_or(&[]).to_vec()
    };
    let pair = |name, index| match part(name, index)[..] {
        [a, b] => (a, b),
        _ => (f64::NAN, f64::NAN),
    };
    let member = |index| {
        let ((weight_t2, weight_spe), (t2, spe)) = (pair("weights", index), pair("limits", index));
        MonitorPlan {
            inputs: inputs.to_vec(),
            mean: part("mean", index),
            scale: part("scale", index),
            transition: part("transition", index),
            precision: part("precision", index),
            gap: part("gap", index),
            weight_t2,
            weight_spe,
            alarm: PcaLimits { t2, spe },
        }
    };
    CombinedPlan { members: (0..m).map(member).collect() }
}

/// Why members with arrays of the right shapes are none; scales were checked before.
pub(super) fn impossible(artifact: &Artifact) -> Option<&'static str> {
    let inputs: Vec<FeatureId> =
        (0..).map(FeatureId).take(artifact.header.features.len()).collect();
    let plan = plan(artifact, &inputs);
    if !(1..=MEMBERS_MAX).contains(&plan.members.len()) {
        return Some("it must have 1 to 8 members");
    }
    plan.members.iter().find_map(monitor::impossible)
}
