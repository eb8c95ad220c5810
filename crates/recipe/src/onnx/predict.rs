//! The operators that predict: what they give becomes outputs, a link and classes of the core.
//!
//! Where the specification leaves open what an operator gives, and runtimes differ, it is refused:
//! a model that is scored in two ways has no right answer.

use trimloop_core::plan::{CLASSES_MAX, ForestPlan, LinearTerms, Link};

use super::OnnxError;
use super::columns::Column;
use super::message::Operator;
use super::trees::{Built, Raw};

/// How far probabilities may be from summing to 1.
const SUM_OFF: f64 = 1e-5;

/// What an operator predicts.
#[derive(Debug)]
pub(super) struct Predictor {
    pub(super) plan: ForestPlan,
    /// Whether probabilities sum to 1 as they are, so that dividing by their sum changes nothing.
    pub(super) sums: bool,
}

/// How outputs of the file become outputs of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fold {
    /// Each as it is.
    Same,
    /// The second less the first: two classes.
    Difference,
    /// The second, of which the first is the rest or the opposite.
    Second,
}

impl Fold {
    fn apply(self, from: &[f32], to: &mut [f32]) {
        match (self, from, to) {
            (Self::Difference, [a, b], [to]) => *to = b - a,
            (Self::Second, [_, b], [to]) => *to = *b,
            (_, from, to) => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
        }
    }
}

/// Whether two finite numbers are opposite; both zeros are.
fn opposite_of(a: f32, b: f32) -> bool {
    (a + b).abs() <= 0.0
}

const NO_TRANSFORM: &str =
    "runtimes disagree on it; export the model so that it gives probabilities, or plain numbers";

/// A plan without inputs, spans or anything learnt.
pub(super) fn empty(classes: Vec<String>, link: Link, base: Vec<f64>) -> ForestPlan {
    ForestPlan {
        inputs: Vec::new(),
        steps: Vec::new(),
        span: Vec::new(),
        domain: None,
        linear: None,
        network: None,
        trees: Vec::new(),
        nodes: Vec::new(),
        values: Vec::new(),
        bias: vec![0.0; base.len()],
        base,
        factor: 1.0,
        link,
        slope: 1.0,
        weights: vec![1.0; classes.len()],
        classes,
        remember: None,
        likeness: None,
        directions: None,
        reach: None,
        half_width: None,
    }
}

/// Names of the classes.
fn classes(operator: &Operator<'_>, ints: &str) -> Result<Vec<String>, OnnxError> {
    let texts = operator.texts("classlabels_strings", |text| Ok(text.to_owned()))?;
    let classes = if texts.is_empty() {
        operator.ints(ints)?.iter().map(ToString::to_string).collect()
    } else {
        texts
    };
    if !(2..=CLASSES_MAX).contains(&classes.len()) {
        let what = format!("it has {} classes", classes.len());
        return Err(operator.unsupported(what, "2 to 64 classes are supported"));
    }
    Ok(classes)
}

fn transform<'b>(operator: &Operator<'b>) -> Result<&'b str, OnnxError> {
    Ok(operator.text("post_transform")?.unwrap_or("NONE"))
}

fn refused(operator: &Operator<'_>, transform: &str) -> OnnxError {
    let what = format!("post_transform {transform} is not supported here");
    operator.unsupported(what, NO_TRANSFORM)
}

pub(super) fn tree_classifier(
    operator: &Operator<'_>,
    columns: &[Column],
) -> Result<Predictor, OnnxError> {
    let classes = classes(operator, "classlabels_int64s")?;
    let n = classes.len();
    let raw = Raw::of_nodes(operator, "class", n)?;
    let base: Vec<f64> = operator.floats("base_values")?.into_iter().map(f64::from).collect();
    let transform = transform(operator)?;
    // All weights for the first of two classes: by convention they speak for the second.
    let alone = n == 2 && raw.first_only();
    let (link, fold) = match (transform, n) {
        ("LOGISTIC", 2) if alone => (Link::Margin, Fold::Same),
        ("NONE", 2) if alone => (Link::Share, Fold::Same),
        ("LOGISTIC", 2) => (Link::Margin, Fold::Second),
        ("SOFTMAX", 2) if !alone => (Link::Margin, Fold::Difference),
        ("NONE", 2) => (Link::Share, Fold::Second),
        ("SOFTMAX", _) if n > 2 => (Link::Margin, Fold::Same),
        ("NONE", _) => (Link::Share, Fold::Same),
        _ => return Err(refused(operator, transform)),
    };
    let known = if alone { base.len() <= 1 } else { base.is_empty() || base.len() == n };
    if !known {
        let what = format!("it has {} base values for {n} classes", base.len());
        return Err(operator.unsupported(what, NO_TRANSFORM));
    }
    let outputs = if n == 2 { 1 } else { n };
    let base = match (fold, base.as_slice()) {
        (_, []) => vec![0.0; outputs],
        (Fold::Difference, [a, b]) => vec![b - a],
        (Fold::Second, [_, b]) => vec![*b],
        (_, base) => base.to_vec(),
    };
    let opposite = transform == "LOGISTIC" && fold == Fold::Second;
    let built = raw.build(operator, columns, (n, outputs), |from, to| {
        if let ([a, b], true) = (from, opposite)
            && !opposite_of(*a, *b)
        {
            return Err(refused(operator, "LOGISTIC of two classes with scores of their own"));
        }
        fold.apply(from, to);
        Ok(())
    })?;
    if link == Link::Share {
        shares(operator, &raw, columns, (n, alone), &operator.floats("base_values")?)?;
    }
    let mut plan = empty(classes, link, base);
    let Built { trees, nodes, values } = built;
    (plan.trees, plan.nodes, plan.values) = (trees, nodes, values);
    Ok(Predictor { plan, sums: true })
}

/// Refuses scores that are no probabilities: whichever leaves a part reaches, they must be 0 or more
/// and sum to 1.
fn shares(
    operator: &Operator<'_>,
    raw: &Raw,
    columns: &[Column],
    (n, alone): (usize, bool),
    base: &[f32],
) -> Result<(), OnnxError> {
    let sums = std::cell::RefCell::new((false, Vec::new()));
    let built = raw.build(operator, columns, (n, 1), |from, to| {
        let mut sums = sums.borrow_mut();
        sums.0 |= from.iter().any(|x| *x < 0.0);
        let sum = from.iter().map(|x| f64::from(*x)).sum::<f64>();
        sums.1.push(sum);
        to.fill(1.0);
        Ok(())
    })?;
    let (negative, sums) = sums.into_inner();
    let mut sums = sums.into_iter();
    let ends = built.trees.iter().skip(1).map(|tree| tree.root as usize);
    let base: f64 = base.iter().map(|x| f64::from(*x)).sum();
    let (mut low, mut high) = (base, base);
    for (tree, end) in built.trees.iter().zip(ends.chain([built.nodes.len()])) {
        let values = built.values.get(tree.root as usize..end).unwrap_or_default();
        let leaves = values.iter().filter(|x| **x > 0.0).count();
        let of = sums.by_ref().take(leaves);
        let (least, most) = of.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), sum| {
            (low.min(sum), high.max(sum))
        });
        low += least;
        high += most;
    }
    let right = if alone { low >= 0.0 } else { low >= 1.0 - SUM_OFF };
    if negative || !right || high > 1.0 + SUM_OFF {
        let what = "its scores are no probabilities: they do not lie between 0 and 1, or do not sum \
                    to 1";
        return Err(operator.unsupported(what, NO_TRANSFORM));
    }
    Ok(())
}

pub(super) fn tree_regressor(
    operator: &Operator<'_>,
    columns: &[Column],
) -> Result<Predictor, OnnxError> {
    let (raw, average, base) = if operator.kind == "TreeEnsemble" {
        one_target(operator, "n_targets")?;
        let average = match operator.int("aggregate_function")?.unwrap_or(1) {
            0 => true,
            1 => false,
            _ => return Err(aggregate(operator, "MIN or MAX")),
        };
        if operator.int("post_transform")?.unwrap_or(0) != 0 {
            return Err(refused(operator, "other than NONE"));
        }
        (Raw::of_leaves(operator, 1)?, average, Vec::new())
    } else {
        one_target(operator, "n_targets")?;
        let average = match operator.text("aggregate_function")?.unwrap_or("SUM") {
            "AVERAGE" => true,
            "SUM" => false,
            other => return Err(aggregate(operator, other)),
        };
        match transform(operator)? {
            "NONE" => {}
            other => return Err(refused(operator, other)),
        }
        let raw = Raw::of_nodes(operator, "target", 1)?;
        (raw, average, operator.floats("base_values")?)
    };
    let base = match base.as_slice() {
        [] => 0.0,
        [base] => f64::from(*base),
        _ => return Err(operator.contradiction("it has several base values for one target")),
    };
    let Built { trees, nodes, values } = raw.build(operator, columns, (1, 1), |from, to| {
        Fold::Same.apply(from, to);
        Ok(())
    })?;
    let mut plan = empty(Vec::new(), Link::Share, vec![base]);
    if average {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand trees")]
        let trees = raw.trees().max(1) as f64;
        plan.factor = 1.0 / trees;
    }
    (plan.trees, plan.nodes, plan.values) = (trees, nodes, values);
    Ok(Predictor { plan, sums: false })
}

fn aggregate(operator: &Operator<'_>, word: &str) -> OnnxError {
    let what = format!("aggregate_function {word} is not supported");
    operator.unsupported(what, "sums and averages over trees are supported")
}

fn one_target(operator: &Operator<'_>, name: &str) -> Result<(), OnnxError> {
    let targets = operator.int(name)?.unwrap_or(1);
    if targets == 1 {
        return Ok(());
    }
    let what = format!("it predicts {targets} numbers at once");
    Err(operator.unsupported(what, "export one model for each number"))
}

pub(super) fn linear_classifier(
    operator: &Operator<'_>,
    columns: &[Column],
    inputs: usize,
) -> Result<Predictor, OnnxError> {
    let classes = classes(operator, "classlabels_ints")?;
    let count = classes.len();
    let (rows, intercepts) = rows(operator, columns.len(), None)?;
    let transform = transform(operator)?;
    if rows.len() != count {
        let what = format!("it has {} scores for {count} classes", rows.len());
        return Err(operator.unsupported(what, NO_TRANSFORM));
    }
    let mirrored = || {
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| opposite_of(*a, *b));
        matches!((rows.as_slice(), intercepts.as_slice()), ([a, b], [from, to])
            if same(a, b) && same(&[*from], &[*to]))
    };
    let fold = match (transform, count) {
        ("SOFTMAX", 2) => Fold::Difference,
        ("SOFTMAX", _) => Fold::Same,
        ("LOGISTIC", 2) if mirrored() => Fold::Second,
        _ => return Err(refused(operator, transform)),
    };
    let mut terms = linear(&rows, &intercepts, columns, inputs);
    if let ([a, b], true) = (terms.as_mut_slice(), count == 2) {
        if fold == Fold::Difference {
            b.0.iter_mut().zip(&a.0).for_each(|(b, a)| *b -= a);
            b.1 -= a.1;
        }
        terms.remove(0);
    }
    Ok(Predictor { plan: plan_of(classes, Link::Margin, terms, columns), sums: true })
}

pub(super) fn linear_regressor(
    operator: &Operator<'_>,
    columns: &[Column],
    inputs: usize,
) -> Result<Predictor, OnnxError> {
    one_target(operator, "targets")?;
    let (rows, intercepts) = rows(operator, columns.len(), Some(1))?;
    match transform(operator)? {
        "NONE" => {}
        other => return Err(refused(operator, other)),
    }
    let terms = linear(&rows, &intercepts, columns, inputs);
    Ok(Predictor { plan: plan_of(Vec::new(), Link::Share, terms, columns), sums: false })
}

/// Coefficients of each output, and its intercept.
fn rows(
    operator: &Operator<'_>,
    columns: usize,
    count: Option<usize>,
) -> Result<(Vec<Vec<f32>>, Vec<f32>), OnnxError> {
    let coefficients = operator.floats("coefficients")?;
    let mut intercepts = operator.floats("intercepts")?;
    if let (Some(count), true) = (count, intercepts.is_empty()) {
        intercepts = vec![0.0; count];
    }
    let whole = intercepts.len().checked_mul(columns) == Some(coefficients.len());
    if !whole || coefficients.is_empty() || count.is_some_and(|count| count != intercepts.len()) {
        let what = format!(
            "{} coefficients and {} intercepts do not fit {columns} columns",
            coefficients.len(),
            intercepts.len()
        );
        return Err(operator.contradiction(what));
    }
    if coefficients.iter().chain(&intercepts).any(|x| !x.is_finite()) {
        return Err(operator.contradiction("a coefficient is no finite number"));
    }
    Ok((coefficients.chunks(columns).map(<[f32]>::to_vec).collect(), intercepts))
}

/// Coefficients over the inputs, and an intercept, for each output.
fn linear(
    rows: &[Vec<f32>],
    intercepts: &[f32],
    columns: &[Column],
    inputs: usize,
) -> Vec<(Vec<f64>, f64)> {
    let of = |(row, intercept): (&Vec<f32>, &f32)| {
        let mut coefficients = vec![0.0; inputs];
        let mut sum = f64::from(*intercept);
        for (coefficient, column) in row.iter().zip(columns) {
            let (a, b) = column.line();
            if let Some(slot) = coefficients.get_mut(usize::from(column.input)) {
                *slot += f64::from(*coefficient) * a;
            }
            sum += f64::from(*coefficient) * b;
        }
        (coefficients, sum)
    };
    rows.iter().zip(intercepts).map(of).collect()
}

/// `[inputs]` where the columns are 0, which for standardised ones are the means of training.
pub(super) fn zeros(columns: &[Column], inputs: usize) -> Vec<f64> {
    let mut zeros = vec![0.0; inputs];
    for column in columns {
        let (a, b) = column.line();
        let zero = 0.0 - b / a;
        if let (Some(slot), true) = (zeros.get_mut(usize::from(column.input)), zero.is_finite()) {
            *slot = zero;
        }
    }
    zeros
}

/// Contributions are counted from where the scaled column is 0, which for a standardised one is the
/// mean of training.
fn plan_of(
    classes: Vec<String>,
    link: Link,
    terms: Vec<(Vec<f64>, f64)>,
    columns: &[Column],
) -> ForestPlan {
    let inputs = terms.first().map_or(0, |(row, _)| row.len());
    let centre = zeros(columns, inputs);
    let base = terms.iter().map(|(_, intercept)| *intercept).collect();
    let mut plan = empty(classes, link, base);
    let coefficients = terms.into_iter().flat_map(|(row, _)| row).collect();
    plan.linear = Some(LinearTerms { coefficients, centre });
    plan
}
