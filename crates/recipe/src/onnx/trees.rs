//! Tree ensembles of ONNX-ML as trees of the core.
//!
//! Ours ask "at most the threshold?" only. `x < t` is at most the number before `t`; above and at
//! least are the other ways round; a split that all numbers pass on one side is left out.

use std::collections::HashMap;

use trimloop_core::plan::{DEPTH_MAX, Node, Tree};

use super::OnnxError;
use super::columns::{Column, Side};
use super::message::Operator;

/// Most numbers in the nodes of all trees: 128 MiB.
const VALUES_MAX: usize = 1 << 25;
/// Most nodes of one tree.
const NODES_MAX: usize = 1 << 16;

const NO_DOUBLES: &str = "export it with inputs of float32, which is what sensors give";

/// Trees as the file has them.
#[derive(Debug, Default)]
pub(super) struct Raw {
    nodes: Vec<RawNode>,
    roots: Vec<usize>,
    /// Leaf, output and weight, in the order of leaves.
    weights: Vec<(usize, usize, f32)>,
}

#[derive(Clone, Copy, Debug)]
enum RawNode {
    Split {
        column: usize,
        test: Test,
        value: f32,
        yes: usize,
        no: usize,
    },
    /// Its number among the leaves.
    Leaf(usize),
}

/// What a split asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    AtMost,
    Below,
    AtLeast,
    Above,
}

/// Trees as the core has them.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) trees: Vec<Tree>,
    pub(super) nodes: Vec<Node>,
    /// `[nodes][k]`
    pub(super) values: Vec<f32>,
}

impl Raw {
    /// Trees of `TreeEnsembleClassifier` (`of` is `class`) and `TreeEnsembleRegressor` (`target`).
    ///
    /// - `outputs`: how many there are.
    pub(super) fn of_nodes(
        operator: &Operator<'_>,
        of: &str,
        outputs: usize,
    ) -> Result<Self, OnnxError> {
        for name in ["nodes_values", "class_weights", "target_weights", "base_values"] {
            if operator.has(&format!("{name}_as_tensor")) {
                return Err(operator.unsupported("its numbers are float64", NO_DOUBLES));
            }
        }
        let trees = operator.ints("nodes_treeids")?;
        let ids = operator.ints("nodes_nodeids")?;
        let columns = operator.ints("nodes_featureids")?;
        let values = operator.floats("nodes_values")?;
        let (yes, no) = (operator.ints("nodes_truenodeids")?, operator.ints("nodes_falsenodeids")?);
        let tests = operator.texts("nodes_modes", |word| test(operator, word))?;
        let count = trees.len();
        let lengths = [ids.len(), columns.len(), values.len(), yes.len(), no.len(), tests.len()];
        if count == 0 || lengths.iter().any(|length| *length != count) {
            return Err(operator.contradiction("its lists of nodes have different lengths"));
        }
        let mut places = HashMap::with_capacity(count);
        for (place, key) in trees.iter().zip(&ids).enumerate() {
            if places.insert(key, place).is_some() {
                let (tree, id) = key;
                let what = format!("tree {tree} has two nodes {id}");
                return Err(operator.contradiction(what));
            }
        }
        let mut raw = Self::default();
        let mut is_child = vec![false; count];
        let ways = yes.iter().zip(&no);
        let nodes = trees.iter().zip(&columns).zip(&values).zip(&tests).zip(ways);
        for (place, ((((tree, column), value), test), (yes, no))) in nodes.enumerate() {
            let Some(test) = *test else {
                raw.nodes.push(RawNode::Leaf(place));
                continue;
            };
            let child = |id: &i64| {
                places
                    .get(&(tree, id))
                    .copied()
                    .ok_or_else(|| operator.contradiction(format!("tree {tree} has no node {id}")))
            };
            let (yes, no) = (child(yes)?, child(no)?);
            for place in [yes, no] {
                if let Some(known) = is_child.get_mut(place) {
                    *known = true;
                }
            }
            let column = usize::try_from(*column).unwrap_or(usize::MAX);
            raw.nodes.push(RawNode::Split { column, test, value: *value, yes, no });
        }
        let mut rooted = std::collections::HashSet::new();
        for (place, (tree, child)) in trees.iter().zip(&is_child).enumerate() {
            if !child {
                if !rooted.insert(tree) {
                    let what = format!("tree {tree} has two roots");
                    return Err(operator.contradiction(what));
                }
                raw.roots.push(place);
            }
        }
        let list = |name: &str| operator.ints(&format!("{of}_{name}"));
        let (trees, ids, targets) = (list("treeids")?, list("nodeids")?, list("ids")?);
        let weights = operator.floats(&format!("{of}_weights"))?;
        if [ids.len(), targets.len(), weights.len()].iter().any(|n| *n != trees.len()) {
            return Err(operator.contradiction("its lists of weights have different lengths"));
        }
        for (((tree, id), target), weight) in trees.iter().zip(&ids).zip(&targets).zip(&weights) {
            let Some(place) = places.get(&(tree, id)).copied() else {
                let what = format!("a weight is of node {id} of tree {tree}, which is not there");
                return Err(operator.contradiction(what));
            };
            raw.weigh(operator, place, *target, *weight, outputs)?;
        }
        raw.weights.sort_by_key(|(leaf, output, _)| (*leaf, *output));
        raw.reach(operator)?;
        Ok(raw)
    }

    /// Trees of `TreeEnsemble`.
    pub(super) fn of_leaves(operator: &Operator<'_>, outputs: usize) -> Result<Self, OnnxError> {
        let floats = |name: &str| {
            let tensor = operator.tensor(name)?;
            let list = tensor.map_or(Ok(None), |tensor| tensor.floats())?;
            list.ok_or_else(|| {
                operator.unsupported(format!("its {name} are not float32"), NO_DOUBLES)
            })
        };
        let (splits, weights) = (floats("nodes_splits")?, floats("leaf_weights")?);
        let modes = operator.tensor("nodes_modes")?.map_or(Ok(None), |tensor| tensor.ints())?;
        let modes = modes.ok_or_else(|| operator.contradiction("its nodes_modes are not uint8"))?;
        let columns = operator.ints("nodes_featureids")?;
        let (yes, no) = (operator.ints("nodes_truenodeids")?, operator.ints("nodes_falsenodeids")?);
        let (yes_leaf, no_leaf) =
            (operator.ints("nodes_trueleafs")?, operator.ints("nodes_falseleafs")?);
        let targets = operator.ints("leaf_targetids")?;
        let count = splits.len();
        let lengths =
            [modes.len(), columns.len(), yes.len(), no.len(), yes_leaf.len(), no_leaf.len()];
        if lengths.iter().any(|length| *length != count) || targets.len() != weights.len() {
            return Err(operator.contradiction("its lists of nodes have different lengths"));
        }
        let mut raw = Self { nodes: vec![RawNode::Leaf(0); count], ..Self::default() };
        let ways = yes.iter().zip(&no).zip(yes_leaf.iter().zip(&no_leaf));
        let nodes = columns.iter().zip(&splits).zip(&modes).zip(ways);
        for (place, (((column, value), mode), ((yes, no), (yes_leaf, no_leaf)))) in
            nodes.enumerate()
        {
            let words = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ"];
            let words = words.into_iter().chain(["BRANCH_NEQ", "BRANCH_MEMBER"]);
            let word = usize::try_from(*mode).ok().and_then(|mode| words.into_iter().nth(mode));
            let test = test(operator, word.unwrap_or("a mode without a name"))?;
            let test = test.ok_or_else(|| operator.contradiction("a split is a leaf"))?;
            let mut child = |id: i64, leaf: i64| {
                let (most, what) =
                    if leaf != 0 { (weights.len(), "leaf") } else { (count, "node") };
                let id = usize::try_from(id)
                    .ok()
                    .filter(|id| *id < most)
                    .ok_or_else(|| operator.contradiction(format!("it has no {what} {id}")))?;
                if leaf == 0 {
                    return Ok(id);
                }
                raw.nodes.push(RawNode::Leaf(id));
                Ok(raw.nodes.len() - 1)
            };
            let (yes, no) = (child(*yes, *yes_leaf)?, child(*no, *no_leaf)?);
            let column = usize::try_from(*column).unwrap_or(usize::MAX);
            if let Some(node) = raw.nodes.get_mut(place) {
                *node = RawNode::Split { column, test, value: *value, yes, no };
            }
        }
        for root in operator.ints("tree_roots")? {
            let root = usize::try_from(root).ok().filter(|root| *root < count);
            let root = root.ok_or_else(|| operator.contradiction("a root is not there"))?;
            raw.roots.push(root);
        }
        for (leaf, (target, weight)) in targets.iter().zip(&weights).enumerate() {
            raw.keep(operator, leaf, *target, *weight, outputs)?;
        }
        raw.reach(operator)?;
        Ok(raw)
    }

    /// Refuses what is no tree: each node must be reached, and by one way only.
    fn reach(&self, operator: &Operator<'_>) -> Result<(), OnnxError> {
        let mut seen = vec![false; self.nodes.len()];
        let mut open = self.roots.clone();
        while let Some(place) = open.pop() {
            match seen.get_mut(place) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(operator.contradiction("two ways lead to one node")),
            }
            if let Some(RawNode::Split { yes, no, .. }) = self.nodes.get(place) {
                open.extend([*yes, *no]);
            }
        }
        if seen.iter().any(|seen| !seen) {
            return Err(operator.contradiction("no way leads to one of its nodes"));
        }
        Ok(())
    }

    fn weigh(
        &mut self,
        operator: &Operator<'_>,
        place: usize,
        target: i64,
        weight: f32,
        outputs: usize,
    ) -> Result<(), OnnxError> {
        match self.nodes.get(place) {
            Some(RawNode::Leaf(leaf)) => self.keep(operator, *leaf, target, weight, outputs),
            _ => Err(operator.contradiction("a weight is of a node that is no leaf")),
        }
    }

    fn keep(
        &mut self,
        operator: &Operator<'_>,
        leaf: usize,
        target: i64,
        weight: f32,
        outputs: usize,
    ) -> Result<(), OnnxError> {
        let output = usize::try_from(target).ok().filter(|output| *output < outputs);
        let Some(output) = output else {
            let what = format!("a weight is for output {target}, there are {outputs}");
            return Err(operator.contradiction(what));
        };
        if !weight.is_finite() {
            return Err(operator.contradiction("a weight is no finite number"));
        }
        self.weights.push((leaf, output, weight));
        Ok(())
    }

    pub(super) fn trees(&self) -> usize {
        self.roots.len()
    }

    /// Whether all weights are for the first output.
    pub(super) fn first_only(&self) -> bool {
        self.weights.iter().all(|(_, output, _)| *output == 0)
    }

    fn weights_of(&self, leaf: usize) -> &[(usize, usize, f32)] {
        let from = self.weights.partition_point(|(of, ..)| *of < leaf);
        let to = self.weights.partition_point(|(of, ..)| *of <= leaf);
        self.weights.get(from..to).unwrap_or_default()
    }

    /// The trees of the core.
    ///
    /// - `columns`: what the columns of the file are.
    /// - `outputs`, `kept`: outputs in the file, and in the core.
    /// - `fold`: fills `[kept]` of what a leaf gives, `[outputs]`.
    pub(super) fn build(
        &self,
        operator: &Operator<'_>,
        columns: &[Column],
        (outputs, kept): (usize, usize),
        fold: impl Fn(&[f32], &mut [f32]) -> Result<(), OnnxError>,
    ) -> Result<Built, OnnxError> {
        let mut built = Built::default();
        let mut dense = vec![0.0; outputs];
        for root in &self.roots {
            let from = built.nodes.len();
            let mut order = vec![(self.settle(operator, columns, *root)?, 0_u8)];
            let mut at = 0;
            while let Some((node, depth)) = order.get(at).copied() {
                if order.len() > NODES_MAX || built.nodes.len() * kept > VALUES_MAX {
                    let what = format!(
                        "{}: a tree, or all together, have too many nodes",
                        operator.place()
                    );
                    return Err(OnnxError::TooLarge(what));
                }
                let own = u16::try_from(at).unwrap_or(u16::MAX);
                let mut values = vec![0.0; kept];
                match node {
                    Settled::Leaf(leaf) => {
                        built.nodes.push(Node { threshold: f32::MAX, column: 0, left: own });
                        dense.fill(0.0);
                        for (_, output, weight) in self.weights_of(leaf) {
                            if let Some(slot) = dense.get_mut(*output) {
                                *slot += weight;
                            }
                        }
                        fold(&dense, &mut values)?;
                    }
                    Settled::Split { column, threshold, left, right } => {
                        if depth >= DEPTH_MAX {
                            let what = format!("a tree is deeper than {DEPTH_MAX} splits");
                            return Err(operator.unsupported(what, "train with a largest depth"));
                        }
                        let place = u16::try_from(order.len()).unwrap_or(u16::MAX);
                        built.nodes.push(Node { threshold, column, left: place });
                        for child in [left, right] {
                            let child = self.settle(operator, columns, child)?;
                            order.push((child, depth + 1));
                        }
                    }
                }
                built.values.extend(values);
                at += 1;
            }
            let depth = order.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
            let root = u32::try_from(from).unwrap_or(u32::MAX);
            built.trees.push(Tree { root, depth });
        }
        if built.trees.is_empty() {
            return Err(operator.contradiction("it has no tree"));
        }
        Ok(built)
    }

    /// The split or leaf that a node comes to, when splits that decide nothing are left out.
    fn settle(
        &self,
        operator: &Operator<'_>,
        columns: &[Column],
        mut place: usize,
    ) -> Result<Settled, OnnxError> {
        // Every way down ends, as `reach` has made sure.
        loop {
            let Some(node) = self.nodes.get(place) else {
                return Err(operator.contradiction("a node is not there"));
            };
            let (column, test, value, yes, no) = match *node {
                RawNode::Leaf(leaf) => return Ok(Settled::Leaf(leaf)),
                RawNode::Split { column, test, value, yes, no } => (column, test, value, yes, no),
            };
            let Some(of) = columns.get(column) else {
                let what = format!("a split asks column {column}, there are {}", columns.len());
                return Err(operator.contradiction(what));
            };
            // "Not below" and "not at most" go the other way; with NaN, which nothing is compared
            // with, every test fails.
            let (limit, yes, no) = match test {
                Test::AtMost => (value, yes, no),
                Test::Below => (value.next_down(), yes, no),
                _ if value.is_nan() => (value, yes, no),
                Test::Above => (value, no, yes),
                Test::AtLeast => (value.next_down(), no, yes),
            };
            place = match of.at_most(limit) {
                Side::All => yes,
                Side::None => no,
                Side::AtMost(threshold) => {
                    return Ok(Settled::Split {
                        column: of.input,
                        threshold,
                        left: yes,
                        right: no,
                    });
                }
                Side::Above(threshold) => {
                    return Ok(Settled::Split {
                        column: of.input,
                        threshold,
                        left: no,
                        right: yes,
                    });
                }
            };
        }
    }
}

/// A node whose way is known.
#[derive(Clone, Copy, Debug)]
enum Settled {
    Split { column: u16, threshold: f32, left: usize, right: usize },
    Leaf(usize),
}

/// What a word asks; `None` for a leaf.
fn test(operator: &Operator<'_>, word: &str) -> Result<Option<Test>, OnnxError> {
    Ok(match word {
        "BRANCH_LEQ" => Some(Test::AtMost),
        "BRANCH_LT" => Some(Test::Below),
        "BRANCH_GTE" => Some(Test::AtLeast),
        "BRANCH_GT" => Some(Test::Above),
        "LEAF" => None,
        _ => {
            let help = "trees here compare numbers only: train without categorical splits";
            let what = format!("splits of the kind {word} are not supported");
            return Err(operator.unsupported(what, help));
        }
    })
}

impl Built {
    /// Gives inner nodes the mean of what lies below them, for contributions.
    ///
    /// - `counts`: `[nodes]` rows that passed each node; where none did, or nothing is known, both
    ///   ways weigh the same.
    pub(super) fn fill(trees: &[Tree], nodes: &[Node], values: &mut [f32], counts: &[u64]) {
        let k = values.len() / nodes.len().max(1);
        let ends = trees.iter().skip(1).map(|tree| tree.root as usize).chain([nodes.len()]);
        for (tree, end) in trees.iter().zip(ends) {
            let root = tree.root as usize;
            for place in (root..end).rev() {
                let Some(node) = nodes.get(place) else { continue };
                let left = root + usize::from(node.left);
                if left == place {
                    continue;
                }
                let count = |place: usize| counts.get(place).copied().unwrap_or(0);
                let all = count(left) + count(left + 1);
                #[expect(clippy::cast_precision_loss, reason = "rows")]
                let share = if all == 0 { 0.5 } else { count(left) as f64 / all as f64 };
                for output in 0..k {
                    let of = |place: usize| {
                        f64::from(values.get(place * k + output).copied().unwrap_or(0.0))
                    };
                    let mean = share * of(left) + (1.0 - share) * of(left + 1);
                    #[expect(clippy::cast_possible_truncation, reason = "between two of f32")]
                    if let Some(slot) = values.get_mut(place * k + output) {
                        *slot = mean as f32;
                    }
                }
            }
        }
    }
}
