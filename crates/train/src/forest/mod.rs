//! Tree ensembles: grown here, scored by the core.
//!
//! [`fit_forest`] tries ways of growing and columns derived from the inputs by cross-validation,
//! grows the best on all rows, and calibrates its probabilities on what was held out.

pub(crate) mod calibrate;
mod derive;
mod directions;
pub(crate) mod fit;
mod grow;
pub(crate) mod held_out;
mod ranks;
pub(crate) mod reach;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use trimloop_core::plan::{FeatureId, ForestPlan, Link, Node, Step, Tree};

pub use calibrate::Reliability;
pub use fit::{ForestFit, ForestOptions, fit_forest};
pub use grow::Growth;
use grow::{Grower, Grown};
pub use held_out::{ClassScore, HeldOut};
use ranks::Ranks;

/// Columns of numbers with a class for each row.
struct Labelled {
    /// `[q][n]`, finite, rounded as the scorer rounds.
    columns: Vec<Vec<f32>>,
    /// `[n]` place of the class of each row.
    labels: Vec<u16>,
    /// Number of classes.
    classes: usize,
}

/// Trees over ranks, grown by as many threads as the machine has processors; which thread grows
/// which tree changes nothing. `None` when somebody asked to stop.
///
/// - `allowed`: columns that splits may look at.
/// - `train`: rows.
/// - `grown`: called after each tree; `false` asks to stop.
fn grow(
    ranks: &Ranks,
    data: &Labelled,
    growth: &Growth,
    (allowed, train): (&[usize], &[u32]),
    grown: &(dyn Fn() -> bool + Sync),
) -> Option<Vec<Grown>> {
    let mut trees = vec![Grown::default(); growth.trees];
    let share = growth.trees.div_ceil(threads()).max(1);
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (part, trees) in trees.chunks_mut(share).enumerate() {
            let stopped = &stopped;
            scope.spawn(move || {
                let weights = vec![1.0; data.classes];
                let mut grower = Grower::new(ranks, &data.labels, &weights, growth, allowed);
                for (place, tree) in trees.iter_mut().enumerate() {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    *tree = grower.tree(train, part * share + place);
                    if !grown() {
                        stopped.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (!stopped.into_inner()).then_some(trees)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Rows that go down one tree after another: what a tree and so many rows need stays in the cache.
const ROWS_TOGETHER: usize = 256;

/// Mean over the trees of what the leaves of rows say.
///
/// - `rows`: each with its `[k]` votes, overwritten.
fn vote(trees: &[Grown], columns: &[Vec<f32>], rows: &mut [(usize, &mut Vec<f64>)]) {
    let share = rows.len().div_ceil(threads()).max(ROWS_TOGETHER);
    std::thread::scope(|scope| {
        for rows in rows.chunks_mut(share) {
            scope.spawn(move || {
                for rows in rows.chunks_mut(ROWS_TOGETHER) {
                    vote_together(trees, columns, rows);
                }
            });
        }
    });
}

fn vote_together(trees: &[Grown], columns: &[Vec<f32>], rows: &mut [(usize, &mut Vec<f64>)]) {
    for (_, votes) in rows.iter_mut() {
        votes.fill(0.0);
    }
    for tree in trees {
        for (row, votes) in rows.iter_mut() {
            let mut at = 0;
            loop {
                let node = tree.nodes[at];
                let right = columns[usize::from(node.column)][*row] > node.threshold;
                let next = usize::from(node.left) + usize::from(right);
                if next == at {
                    break;
                }
                at = next;
            }
            let says = &tree.values[at * votes.len()..];
            for (vote, value) in votes.iter_mut().zip(says) {
                *vote += f64::from(*value);
            }
        }
    }
    for vote in rows.iter_mut().flat_map(|(_, votes)| votes.iter_mut()) {
        *vote /= trees.len() as f64;
    }
}

/// A plan of grown trees, without calibration.
///
/// - `place`: `[q]` column of the plan for each column that was grown on.
fn plan(
    mut trees: Vec<Grown>,
    inputs: usize,
    steps: Vec<Step>,
    place: &[u16],
    classes: Vec<String>,
) -> ForestPlan {
    let outputs = if classes.len() == 2 { 1 } else { classes.len() };
    let count = trees.len();
    // Trees of like depth go down together; the sort is stable, so the order is always the same.
    trees.sort_by_key(|tree| tree.depth);
    let (mut nodes, mut values, mut roots) = (Vec::<Node>::new(), Vec::new(), Vec::new());
    for tree in trees {
        let root = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        roots.push(Tree { root, depth: tree.depth });
        let column = |node: &Node| place.get(usize::from(node.column)).copied().unwrap_or(0);
        nodes.extend(tree.nodes.iter().map(|node| Node { column: column(node), ..*node }));
        values.extend(tree.values);
    }
    let weights = vec![1.0; classes.len()];
    ForestPlan {
        // By their places in the table; a recipe binds them to its features by name.
        inputs: (0..).map(FeatureId).take(inputs).collect(),
        steps,
        span: vec![(f64::MIN, f64::MAX); inputs],
        reach: None,
        domain: None,
        trees: roots,
        nodes,
        values,
        base: vec![0.0; outputs],
        factor: 1.0 / count as f64,
        link: Link::Votes,
        slope: 1.0,
        bias: vec![0.0; outputs],
        classes,
        weights,
        remember: None,
        likeness: None,
        directions: None,
        linear: None,
        network: None,
        half_width: None,
    }
}
