//! The dynamic monitor as arrays: how it is laid out, and what it cannot be.

use trimloop_core::plan::{FeatureId, MonitorPlan, PcaLimits};

use super::{Array, Artifact, Data, Shapes};

/// Missing rows a monitor can look across; more would only repeat the spread of normal rows.
const GAP_MAX: usize = 64;
/// Largest difference of two mirrored entries of the precision, relative to its largest one.
const SYMMETRIC: f64 = 1e-9;

/// Arrays in file order for `p` inputs and `g` gaps.
pub(super) fn shapes(p: usize, g: usize) -> Shapes {
    vec![
        ("mean", vec![p]),
        ("scale", vec![p]),
        ("transition", vec![p, p]),
        ("precision", vec![p, p]),
        ("gap", vec![g]),
        ("weights", vec![2]),
        ("limits", vec![2]),
    ]
}

pub(super) fn arrays(plan: &MonitorPlan) -> Vec<Array> {
    let data = [
        plan.mean.clone(),
        plan.scale.clone(),
        plan.transition.clone(),
        plan.precision.clone(),
        plan.gap.clone(),
        vec![plan.weight_t2, plan.weight_spe],
        vec![plan.alarm.t2, plan.alarm.spe],
    ];
    let shapes = shapes(plan.inputs.len(), plan.gap.len());
    let all = shapes.into_iter().zip(data);
    all.map(|((name, shape), data)| Array { name, shape, data: Data::F64(data) }).collect()
}

pub(super) fn plan(artifact: &Artifact, inputs: Vec<FeatureId>) -> MonitorPlan {
    let pair = |name| {
        let mut pair = artifact.data(name).iter().copied();
        (pair.next().unwrap_or(f64::NAN), pair.next().unwrap_or(f64::NAN))
    };
    let ((weight_t2, weight_spe), (t2, spe)) = (pair("weights"), pair("limits"));
    MonitorPlan {
        inputs,
        mean: artifact.data("mean").to_vec(),
        scale: artifact.data("scale").to_vec(),
        transition: artifact.data("transition").to_vec(),
        precision: artifact.data("precision").to_vec(),
        gap: artifact.data("gap").to_vec(),
        weight_t2,
        weight_spe,
        alarm: PcaLimits { t2, spe },
    }
}

/// Why a monitor with arrays of the right shapes is none; scales were checked before.
pub(super) fn impossible(plan: &MonitorPlan) -> Option<&'static str> {
    let all = |values: &[f64], holds: fn(f64) -> bool| values.iter().all(|x| holds(*x));
    if plan.gap.is_empty() || plan.gap.len() > GAP_MAX {
        return Some("it must look across 1 to 64 missing rows");
    }
    if !all(&plan.gap, |x| x >= 1.0) {
        return Some("an error after a gap cannot be smaller than one without");
    }
    if !all(&[plan.weight_t2, plan.weight_spe], |x| x > 0.0 && x <= 1.0) {
        return Some("a smoothing weight must be above 0 and at most 1");
    }
    if !all(&[plan.alarm.t2, plan.alarm.spe], |x| x > 0.0) {
        return Some("a limit is not above 0");
    }
    (!positive_definite(&plan.precision, plan.inputs.len()))
        .then_some("the precision is not symmetric and positive definite")
}

/// Symmetry, then whether a Cholesky decomposition comes to its end.
pub(super) fn positive_definite(matrix: &[f64], p: usize) -> bool {
    let rows: Vec<&[f64]> = matrix.chunks_exact(p.max(1)).collect();
    let most = matrix.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    let at = |row: usize, column: usize| rows.get(row).and_then(|r| r.get(column)).copied();
    let mirrored = (0..p).all(|row| {
        (0..row).all(|column| match (at(row, column), at(column, row)) {
            (Some(a), Some(b)) => (a - b).abs() <= SYMMETRIC * most,
            _ => false,
        })
    });
    let mut root: Vec<Vec<f64>> = Vec::with_capacity(p);
    for (row, values) in rows.iter().enumerate() {
        let mut built: Vec<f64> = Vec::with_capacity(row + 1);
        for (column, value) in values.iter().take(row + 1).enumerate() {
            let above = root.get(column).map_or(&built[..], |above| &above[..]);
            let rest = value - built.iter().zip(above).map(|(a, b)| a * b).sum::<f64>();
            let entry = match above.get(column) {
                Some(diagonal) => rest / diagonal,
                None if rest > 0.0 => rest.sqrt(),
                None => return false,
            };
            built.push(entry);
        }
        root.push(built);
    }
    mirrored
}
