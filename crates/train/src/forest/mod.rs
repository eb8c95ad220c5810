//! Tree ensembles: grown here, scored by the core.

mod grow;
mod ranks;

use trimloop_core::model::forest::{Forest, unbound};
use trimloop_core::plan::{ForestPlan, Link, Node, Step, Tree};

pub use grow::Growth;
use grow::{Grower, Grown};
pub(crate) use ranks::Ranks;

/// Columns of numbers with a class for each row.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// `[q][n]`, finite, rounded as the scorer rounds.
    pub columns: Vec<Vec<f32>>,
    /// `[n]` place of the class of each row.
    pub labels: Vec<u16>,
    /// Number of classes.
    pub classes: usize,
}

/// Trees over ranks, grown by as many threads as the machine has processors; which thread grows
/// which tree changes nothing.
pub(crate) fn grow(
    ranks: &Ranks,
    data: &Labelled,
    weights: &[f64],
    growth: &Growth,
    train: &[u32],
) -> Vec<Grown> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(growth.trees);
    let mut trees = vec![Grown::default(); growth.trees];
    let share = growth.trees.div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        for (part, trees) in trees.chunks_mut(share).enumerate() {
            scope.spawn(move || {
                let mut grower = Grower::new(ranks, &data.labels, weights, growth);
                for (place, tree) in trees.iter_mut().enumerate() {
                    *tree = grower.tree(train, part * share + place);
                }
            });
        }
    });
    trees
}

/// A plan of grown trees, without calibration.
pub(crate) fn plan(trees: Vec<Grown>, inputs: usize, steps: &[Step], classes: usize) -> ForestPlan {
    let outputs = if classes == 2 { 1 } else { classes };
    let count = trees.len();
    // Trees of like depth go down together; the sort is stable, so the order is always the same.
    let mut trees = trees;
    trees.sort_by_key(|tree| tree.depth);
    let (mut nodes, mut values, mut roots) = (Vec::<Node>::new(), Vec::new(), Vec::new());
    for tree in trees {
        let root = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        roots.push(Tree { root, depth: tree.depth });
        nodes.extend(tree.nodes);
        values.extend(tree.values);
    }
    ForestPlan {
        inputs: unbound(inputs),
        steps: steps.to_vec(),
        span: vec![(f64::MIN, f64::MAX); inputs],
        domain: None,
        trees: roots,
        nodes,
        values,
        base: vec![0.0; outputs],
        factor: 1.0 / count as f64,
        link: Link::Votes,
        slope: 1.0,
        bias: vec![0.0; outputs],
        classes: (0..classes).map(|c| c.to_string()).collect(),
        weights: vec![1.0; classes],
        remember: None,
    }
}

/// Scratch.
pub fn experiment(
    data: &Labelled,
    weights: &[f64],
    growth: &Growth,
    train: &[u32],
    test: &[u32],
) -> Vec<Vec<f64>> {
    let ranks = Ranks::new(&data.columns);
    experiment_ranked(&ranks, data, weights, growth, train, test)
}

fn experiment_ranked(
    ranks: &Ranks,
    data: &Labelled,
    weights: &[f64],
    growth: &Growth,
    train: &[u32],
    test: &[u32],
) -> Vec<Vec<f64>> {
    let trees = grow(ranks, data, weights, growth, train);
    let plan = plan(trees, data.columns.len(), &[], data.classes);
    assert!(plan.fits());
    let mut forest = Forest::new(&plan);
    let mut row = Vec::new();
    test.iter()
        .map(|at| {
            row.clear();
            row.extend(data.columns.iter().map(|c| f64::from(c[*at as usize])));
            let features: Vec<_> = row
                .iter()
                .map(|x| trimloop_core::feature::FeatureValue { value: Some(*x), coverage: 1.0 })
                .collect();
            let score = forest.score(&plan, &features, None);
            assert!(score.known);
            forest.probabilities().to_vec()
        })
        .collect()
}
