//! Classifiers and soft sensors made of trees as arrays.

use serde::{Deserialize, Serialize};
use trimloop_core::plan::{
    Directions, FeatureId, ForestPlan, LinearTerms, Link, Node, Reach, Step, Tree,
};

use super::{Array, Artifact, ArtifactError, Data, TEXT_MAX, network};

/// What a classifier, or a soft sensor made of trees, says besides numbers; part of the header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classifier {
    /// The label that it was trained on.
    pub label: String,
    /// Names of the classes, in the order of the probabilities; none for a soft sensor.
    pub classes: Vec<String>,
    /// "share", "votes" or "margin", of a logistic classifier "platt", "isotonic" or "softmax": how
    /// outputs become probabilities.
    pub link: String,
    /// Columns that hold words, and the words in the order of their codes 0, 1, 2, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Words>,
}

/// The words of one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Name of the input.
    pub feature: String,
    /// Its words; the place of each is its code.
    pub codes: Vec<String>,
}

/// Most words of one input.
const WORDS_MAX: usize = 256;

/// Arrays that only some forests have, behind the others.
pub(super) const MORE: [&str; 12] = [
    "linear",
    "centre",
    "half_width",
    "likeness",
    "calm",
    "direction",
    "spread",
    "sizes",
    "counts",
    "reach_mean",
    "reach_white",
    "reach_t2",
];

/// Arrays that every forest has, in file order.
pub(super) const NAMES: [&str; 13] = [
    "span",
    "base",
    "bias",
    "weights",
    "scalars",
    "step",
    "step_weight",
    "root",
    "depth",
    "threshold",
    "column",
    "left",
    "values",
];

pub(super) fn arrays(plan: &ForestPlan) -> Vec<Array> {
    let (nodes, outputs, trees) = (plan.nodes.len(), plan.outputs(), plan.trees.len());
    let (inputs, steps) = (plan.span.len(), plan.steps.len());
    let f64s =
        |name, shape: &[usize], data| Array { name, shape: shape.to_vec(), data: Data::F64(data) };
    let u16s =
        |name, shape: &[usize], data| Array { name, shape: shape.to_vec(), data: Data::U16(data) };
    let f32s =
        |name, shape: &[usize], data| Array { name, shape: shape.to_vec(), data: Data::F32(data) };
    let more = plan.linear.iter().flat_map(|linear| {
        let columns = linear.centre.len();
        [
            f64s("linear", &[outputs, columns], linear.coefficients.clone()),
            f64s("centre", &[columns], linear.centre.clone()),
        ]
    });
    let more = more.chain(plan.half_width.map(|half| f64s("half_width", &[1], vec![half])));
    let classes = plan.classes.len();
    let likeness = plan.likeness.iter();
    let more = more.chain(likeness.map(|x| f64s("likeness", &[classes, classes], x.clone())));
    let more = more.chain(plan.directions.iter().flat_map(|of| {
        let (inputs, each) = (of.calm.len(), of.spread.len() / classes.max(1));
        [
            f64s("calm", &[inputs], of.calm.clone()),
            f64s("direction", &[classes, each, inputs], of.weights.clone()),
            f64s("spread", &[classes, each], of.spread.clone()),
            f64s("sizes", &[of.sizes.len()], of.sizes.clone()),
            f64s("counts", &[3], vec![of.counts, of.at_most, of.worth]),
        ]
    }));
    let more = more.chain(plan.reach.iter().flat_map(|reach| {
        [
            f64s("reach_mean", &[reach.mean.len()], reach.mean.clone()),
            f64s("reach_white", &[reach.white.len()], reach.white.clone()),
            f64s("reach_t2", &[1], vec![reach.t2_out]),
        ]
    }));
    let span = plan.span.iter().flat_map(|(low, high)| [*low, *high]).collect();
    let scalars = vec![plan.factor, plan.slope, plan.remember.unwrap_or(-1.0)];
    let root = plan.trees.iter().map(|tree| tree.root).collect();
    let mut arrays = vec![
        f64s("span", &[inputs, 2], span),
        f64s("base", &[outputs], plan.base.clone()),
        f64s("bias", &[outputs], plan.bias.clone()),
        f64s("weights", &[plan.classes.len()], plan.weights.clone()),
        f64s("scalars", &[3], scalars),
    ];
    arrays.extend(step_arrays(&plan.steps, steps));
    arrays.extend([
        Array { name: "root", shape: vec![trees], data: Data::U32(root) },
        u16s("depth", &[trees], plan.trees.iter().map(|tree| u16::from(tree.depth)).collect()),
        f32s("threshold", &[nodes], plan.nodes.iter().map(|node| node.threshold).collect()),
        u16s("column", &[nodes], plan.nodes.iter().map(|node| node.column).collect()),
        u16s("left", &[nodes], plan.nodes.iter().map(|node| node.left).collect()),
        f32s("values", &[nodes, outputs], plan.values.clone()),
    ]);
    arrays.extend(more);
    arrays.extend(plan.network.iter().flat_map(network::arrays));
    arrays
}

/// Derived columns as arrays: kinds with their operands, then the weights of those with a memory.
pub(super) fn step_arrays(steps: &[Step], count: usize) -> [Array; 2] {
    let kinds = steps.iter().flat_map(|step| {
        let (a, b) = step.operands();
        [kind(*step), a, b]
    });
    let weights = steps.iter().map(|step| step.weight().unwrap_or(0.0)).collect();
    [
        Array { name: "step", shape: vec![count, 3], data: Data::U16(kinds.collect()) },
        Array { name: "step_weight", shape: vec![count], data: Data::F64(weights) },
    ]
}

/// The derived columns of an artifact; `None` when one is of no known kind.
pub(super) fn steps(artifact: &Artifact) -> Option<Vec<Step>> {
    let (kinds, _) = artifact.u16s("step").as_chunks::<3>();
    let steps = kinds.iter().zip(artifact.data("step_weight"));
    steps.map(|(kind, weight)| step(*kind, *weight)).collect()
}

/// Shapes as far as the number of inputs and classes says; the others follow the arrays.
pub(super) fn shapes(artifact: &Artifact) -> Vec<(&'static str, Vec<usize>)> {
    let inputs = artifact.header.features.len();
    let classes = artifact.classifier.as_ref().map_or(0, |about| about.classes.len());
    let outputs = if classes > 2 { classes } else { 1 };
    let len = |name| artifact.array(name).map_or(0, |array| array.data.len());
    // Nobody may know in which spans a model from elsewhere was trained.
    let spans = if len("span") == 0 { 0 } else { inputs };
    let (steps, trees, nodes) = (len("step_weight"), len("root"), len("threshold"));
    let shapes = [
        vec![spans, 2],
        vec![outputs],
        vec![outputs],
        vec![classes],
        vec![3],
        vec![steps, 3],
        vec![steps],
        vec![trees],
        vec![trees],
        vec![nodes],
        vec![nodes],
        vec![nodes],
        vec![nodes, outputs],
    ];
    let columns = inputs + steps;
    let each = len("spread") / classes.max(1);
    let more = [
        vec![outputs, columns],
        vec![columns],
        vec![1],
        vec![classes, classes],
        vec![inputs],
        vec![classes, each, inputs],
        vec![classes, each],
        vec![len("sizes")],
        vec![3],
        vec![inputs],
        vec![inputs * (inputs + 1) / 2],
        vec![1],
    ];
    // Linear terms come with their centre.
    let has = |name| artifact.array(name).is_some();
    let linear = has("linear");
    // Directions are there as a whole or not at all, as is the reach.
    let (moves, reach) = (has("calm"), has("reach_mean"));
    let four = [linear, linear, has("half_width"), has("likeness")];
    let there = four.into_iter().chain([moves; 5]).chain([reach; 3]);
    let more = MORE.into_iter().zip(more).zip(there);
    let more = more.filter_map(|(named, there)| there.then_some(named));
    let network = network::shapes(artifact, columns);
    NAMES.into_iter().zip(shapes).chain(more).chain(network).collect()
}

/// The plan; only of an artifact whose shapes were checked.
pub(super) fn plan(artifact: &Artifact, inputs: Vec<FeatureId>) -> Option<ForestPlan> {
    let about = artifact.classifier.as_ref()?;
    let network = match artifact.array("layer") {
        Some(_) => Some(network::plan(artifact)?),
        None => None,
    };
    let (span, _) = artifact.data("span").as_chunks::<2>();
    let [factor, slope, remember] = *artifact.data("scalars").first_chunk::<3>()?;
    let trees = artifact.u32s("root").iter().zip(artifact.u16s("depth"));
    let trees: Option<Vec<_>> = trees
        .map(|(root, depth)| Some(Tree { root: *root, depth: u8::try_from(*depth).ok()? }))
        .collect();
    let nodes = artifact.f32s("threshold").iter().zip(artifact.u16s("column"));
    let nodes = nodes.zip(artifact.u16s("left"));
    let link = match about.link.as_str() {
        "share" => Link::Share,
        "votes" => Link::Votes,
        "margin" => Link::Margin,
        _ => return None,
    };
    Some(ForestPlan {
        inputs,
        steps: steps(artifact)?,
        span: span.iter().map(|[low, high]| (*low, *high)).collect(),
        reach: artifact.array("reach_mean").map(|_| Reach {
            mean: artifact.data("reach_mean").to_vec(),
            white: artifact.data("reach_white").to_vec(),
            t2_out: artifact.data("reach_t2").first().copied().unwrap_or(0.0),
        }),
        domain: None,
        trees: trees?,
        nodes: nodes
            .map(|((threshold, column), left)| Node {
                threshold: *threshold,
                column: *column,
                left: *left,
            })
            .collect(),
        values: artifact.f32s("values").to_vec(),
        base: artifact.data("base").to_vec(),
        factor,
        link,
        slope,
        bias: artifact.data("bias").to_vec(),
        classes: about.classes.clone(),
        weights: artifact.data("weights").to_vec(),
        remember: (remember >= 0.0).then_some(remember),
        linear: artifact.array("linear").map(|_| LinearTerms {
            coefficients: artifact.data("linear").to_vec(),
            centre: artifact.data("centre").to_vec(),
        }),
        network,
        half_width: artifact.data("half_width").first().copied(),
        likeness: artifact.array("likeness").map(|_| artifact.data("likeness").to_vec()),
        directions: match artifact.array("calm") {
            Some(_) => Some(directions(artifact)?),
            None => None,
        },
    })
}

fn directions(artifact: &Artifact) -> Option<Directions> {
    let [counts, at_most, worth] = *artifact.data("counts").first_chunk::<3>()?;
    Some(Directions {
        calm: artifact.data("calm").to_vec(),
        weights: artifact.data("direction").to_vec(),
        spread: artifact.data("spread").to_vec(),
        sizes: artifact.data("sizes").to_vec(),
        counts,
        at_most,
        worth,
    })
}

/// Label, classes and words of a classifier of any kind.
pub(super) fn check_words(artifact: &Artifact) -> Result<(), ArtifactError> {
    let header = |why: &str| Err(ArtifactError::Header(why.to_owned()));
    let Some(about) = &artifact.classifier else {
        return header("a classifier must say its classes, a soft sensor its label");
    };
    let mut texts = about.classes.iter().chain([&about.label]);
    if texts.any(|text| text.is_empty() || text.len() > TEXT_MAX) {
        return header("a class and a label must have 1 to 256 bytes");
    }
    let mut names: Vec<_> = about.classes.iter().collect();
    names.sort();
    names.dedup();
    if names.len() != about.classes.len() {
        return header("a class is listed twice");
    }
    for words in &about.words {
        let known = artifact.header.features.iter().any(|f| f.name == words.feature);
        let long = words.codes.iter().any(|word| word.len() > TEXT_MAX);
        if !known || words.codes.is_empty() || words.codes.len() > WORDS_MAX || long {
            return header("the words of a feature are not valid");
        }
    }
    Ok(())
}

pub(super) fn check(artifact: &Artifact) -> Result<(), ArtifactError> {
    let impossible = |why: &str| Err(ArtifactError::Impossible(why.to_owned()));
    check_words(artifact)?;
    let remember = artifact.data("scalars").get(2).copied().unwrap_or(-1.0);
    #[expect(clippy::float_cmp, reason = "-1 is written for none")]
    if remember < 0.0 && remember != -1.0 {
        return impossible("what remains of the evidence is negative");
    }
    let inputs = (0..).map(FeatureId).take(artifact.header.features.len()).collect();
    match plan(artifact, inputs) {
        Some(plan) if plan.fits() => Ok(()),
        Some(_) => impossible(
            "a tree does not end in leaves of its own, a layer does not fit the one before it, or a \
             number is outside its range",
        ),
        None => impossible("it has a link, step, tree or layer that this trimloop does not know"),
    }
}

pub(super) const fn link_word(link: Link) -> &'static str {
    match link {
        Link::Share => "share",
        Link::Votes => "votes",
        Link::Margin => "margin",
    }
}

const fn kind(step: Step) -> u16 {
    match step {
        Step::Difference(..) => 0,
        Step::Product(..) => 1,
        Step::Ratio(..) => 2,
        Step::Mean { .. } => 3,
        Step::Deviation { .. } => 4,
        Step::Successive { .. } => 5,
    }
}

fn step([kind, a, b]: [u16; 3], weight: f64) -> Option<Step> {
    Some(match kind {
        0 => Step::Difference(a, b),
        1 => Step::Product(a, b),
        2 => Step::Ratio(a, b),
        3 => Step::Mean { of: a, weight },
        4 => Step::Deviation { of: a, weight },
        5 => Step::Successive { of: a, weight },
        _ => return None,
    })
}
