//! The principal-component monitor as arrays: how it is laid out, and what it cannot be.
//!
//! A monitor of single parts has no array `lags`, so that its file is the one it always was. One that
//! looks at the parts before has it, last, and versions that know nothing of lags refuse the file.

use trimloop_core::plan::{FeatureId, PCA_LAGS_MAX, PcaLimits, PcaPlan};

use super::{Array, Artifact, Data, Shapes};

/// Largest error of a product of two loadings; rounding of 11264 products stays below 1e-11.
const ORTHONORMAL: f64 = 1e-6;

/// Arrays in file order for `p` inputs, `k` components and lags as far as there are any.
fn shapes_of(p: usize, k: usize, lags: u16) -> Shapes {
    let mut shapes = vec![
        ("mean", vec![p]),
        ("scale", vec![p]),
        ("loadings", vec![k, (usize::from(lags) + 1) * p]),
        ("eigenvalues", vec![k]),
        ("limits", vec![3, 2]),
    ];
    shapes.extend((lags > 0).then(|| ("lags", vec![1])));
    shapes
}

pub(super) fn shapes(artifact: &Artifact) -> Shapes {
    let (p, k) = (artifact.header.features.len(), artifact.data("eigenvalues").len());
    // An array of lags that says 0 has no place in a file.
    shapes_of(p, k, lags(artifact))
}

fn lags(artifact: &Artifact) -> u16 {
    artifact.u16s("lags").first().copied().unwrap_or(0)
}

pub(super) fn arrays(plan: &PcaPlan, p: usize) -> Vec<Array> {
    let limits = [plan.alarm, plan.domain_out, plan.domain_in];
    let data = [
        Data::F64(plan.mean.clone()),
        Data::F64(plan.scale.clone()),
        Data::F64(plan.loadings.clone()),
        Data::F64(plan.eigenvalues.clone()),
        Data::F64(limits.iter().flat_map(|l| [l.t2, l.spe]).collect()),
        Data::U16(vec![u16::from(plan.lags)]),
    ];
    let shapes = shapes_of(p, plan.eigenvalues.len(), u16::from(plan.lags));
    let all = shapes.into_iter().zip(data);
    all.map(|((name, shape), data)| Array { name, shape, data }).collect()
}

pub(super) fn plan(artifact: &Artifact, inputs: Vec<FeatureId>) -> PcaPlan {
    let limits = artifact.data("limits");
    let pair = |row: usize| {
        let mut pair = limits.iter().skip(2 * row).copied();
        PcaLimits { t2: pair.next().unwrap_or(0.0), spe: pair.next().unwrap_or(0.0) }
    };
    PcaPlan {
        inputs,
        // No artifact has more than the most; should one ever, the core refuses the plan.
        lags: u8::try_from(lags(artifact)).unwrap_or(u8::MAX),
        mean: artifact.data("mean").to_vec(),
        scale: artifact.data("scale").to_vec(),
        loadings: artifact.data("loadings").to_vec(),
        eigenvalues: artifact.data("eigenvalues").to_vec(),
        alarm: pair(0),
        domain_out: pair(1),
        domain_in: pair(2),
    }
}

/// Why a monitor with arrays of the right shapes is none; scales were checked before.
pub(super) fn impossible(artifact: &Artifact) -> Option<&'static str> {
    let positive = |name| artifact.data(name).iter().all(|x| *x > 0.0);
    let lags = lags(artifact);
    if lags > u16::from(PCA_LAGS_MAX) {
        return Some("it looks at more than 10 rows before each row");
    }
    let width = (usize::from(lags) + 1) * artifact.header.features.len();
    let eigenvalues = artifact.data("eigenvalues");
    if eigenvalues.is_empty() || eigenvalues.len() > width {
        return Some("it must have 1 component to one for each feature and lag");
    }
    if !positive("eigenvalues") || !eigenvalues.is_sorted_by(|a, b| a >= b) {
        return Some("eigenvalues must be above 0, largest first");
    }
    if !positive("limits") {
        return Some("a limit is not above 0");
    }
    (!orthonormal(artifact.data("loadings"), width)).then_some("the loadings are not orthonormal")
}

fn orthonormal(loadings: &[f64], width: usize) -> bool {
    let rows: Vec<&[f64]> = loadings.chunks_exact(width.max(1)).collect();
    rows.iter().enumerate().all(|(a, row)| {
        rows.iter().take(a + 1).enumerate().all(|(b, other)| {
            let product: f64 = row.iter().zip(*other).map(|(x, y)| x * y).sum();
            let expect = if a == b { 1.0 } else { 0.0 };
            (product - expect).abs() <= ORTHONORMAL
        })
    })
}
