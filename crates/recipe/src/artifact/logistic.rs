//! Logistic classifiers as arrays.

use trimloop_core::plan::{Calibration, FeatureId, LogisticPlan};

use super::{Array, Artifact, ArtifactError, Data, forest, monitor};

/// Arrays of a logistic classifier, in file order.
const NAMES: [&str; 11] = [
    "coefficients",
    "mean",
    "scale",
    "span",
    "intercept",
    "precision",
    "t2_out",
    "curve",
    "weights",
    "step",
    "step_weight",
];

pub(super) fn arrays(plan: &LogisticPlan) -> Vec<Array> {
    // By the span: a plan to be stored may not be bound to features yet.
    let (inputs, steps) = (plan.span.len(), plan.steps.len());
    let q = inputs + steps;
    let curve: Vec<f64> = match &plan.calibration {
        Calibration::Platt { slope, bias } => vec![*slope, *bias],
        Calibration::Isotonic(points) => points.iter().flat_map(|(x, p)| [*x, *p]).collect(),
        Calibration::Softmax { slope } => vec![*slope, 0.0],
    };
    let points = curve.len() / 2;
    let f64s = [
        (coefficients(plan.outputs(), q), plan.coefficients.clone()),
        (vec![q], plan.mean.clone()),
        (vec![q], plan.scale.clone()),
        (vec![inputs, 2], plan.span.iter().flat_map(|(low, high)| [*low, *high]).collect()),
        (vec![plan.outputs()], plan.intercepts.clone()),
        (vec![q, q], plan.precision.clone()),
        (vec![1], vec![plan.t2_out]),
        (vec![points, 2], curve),
        (vec![plan.classes.len()], plan.weights.clone()),
    ];
    let named = NAMES.into_iter().zip(f64s);
    let mut arrays: Vec<Array> =
        named.map(|(name, (shape, data))| Array { name, shape, data: Data::F64(data) }).collect();
    arrays.extend(forest::step_arrays(&plan.steps, steps));
    arrays
}

/// Shape of the coefficients: of two classes a row alone.
fn coefficients(outputs: usize, columns: usize) -> Vec<usize> {
    if outputs == 1 { vec![columns] } else { vec![outputs, columns] }
}

/// Shapes as far as the number of inputs says; the others follow the arrays.
pub(super) fn shapes(artifact: &Artifact) -> Vec<(&'static str, Vec<usize>)> {
    let p = artifact.header.features.len();
    let len = |name| artifact.array(name).map_or(0, |array| array.data.len());
    let steps = len("step_weight");
    let q = p + steps;
    let c = artifact.classifier.as_ref().map_or(0, |about| about.classes.len());
    let k = if c > 2 { c } else { 1 };
    let shapes = [
        coefficients(k, q),
        vec![q],
        vec![q],
        vec![p, 2],
        vec![k],
        vec![q, q],
        vec![1],
        vec![len("curve") / 2, 2],
        vec![c],
        vec![steps, 3],
        vec![steps],
    ];
    NAMES.into_iter().zip(shapes).collect()
}

/// The plan; only of an artifact whose shapes were checked.
pub(super) fn plan(artifact: &Artifact, inputs: Vec<FeatureId>) -> Option<LogisticPlan> {
    let about = artifact.classifier.as_ref()?;
    let (span, _) = artifact.data("span").as_chunks::<2>();
    let (curve, _) = artifact.data("curve").as_chunks::<2>();
    let calibration = match (about.link.as_str(), curve) {
        (SOFTMAX, [[slope, _]]) => Calibration::Softmax { slope: *slope },
        (PLATT, [[slope, bias]]) => Calibration::Platt { slope: *slope, bias: *bias },
        (ISOTONIC, points) => Calibration::Isotonic(points.iter().map(|[x, p]| (*x, *p)).collect()),
        _ => return None,
    };
    let single = |name| artifact.data(name).first().copied();
    Some(LogisticPlan {
        inputs,
        steps: forest::steps(artifact)?,
        span: span.iter().map(|[low, high]| (*low, *high)).collect(),
        domain: None,
        coefficients: artifact.data("coefficients").to_vec(),
        intercepts: artifact.data("intercept").to_vec(),
        mean: artifact.data("mean").to_vec(),
        scale: artifact.data("scale").to_vec(),
        precision: artifact.data("precision").to_vec(),
        t2_out: single("t2_out")?,
        calibration,
        classes: about.classes.clone(),
        weights: artifact.data("weights").to_vec(),
    })
}

pub(super) fn check(artifact: &Artifact) -> Result<(), ArtifactError> {
    forest::check_words(artifact)?;
    let impossible = |why: &str| Err(ArtifactError::Impossible(why.to_owned()));
    let inputs = (0..).map(FeatureId).take(artifact.header.features.len()).collect();
    match plan(artifact, inputs) {
        Some(plan) if !monitor::positive_definite(&plan.precision, plan.columns()) => {
            impossible("the precision is not symmetric and positive definite")
        }
        Some(plan) if plan.fits() => Ok(()),
        Some(_) => impossible("a number of the classifier is outside its range"),
        None => impossible("it has a calibration or a step that this trimloop does not know"),
    }
}

const PLATT: &str = "platt";
const ISOTONIC: &str = "isotonic";
const SOFTMAX: &str = "softmax";

pub(super) const fn link_word(calibration: &Calibration) -> &'static str {
    match calibration {
        Calibration::Platt { .. } => PLATT,
        Calibration::Isotonic(_) => ISOTONIC,
        Calibration::Softmax { .. } => SOFTMAX,
    }
}
