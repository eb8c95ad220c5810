//! Classifiers and soft sensors made of trees: probabilities or a prediction, path contributions,
//! evidence over parts. Linear terms may stand beside the trees or in their place.
//!
//! Columns are rounded to `f32` before a tree sees them, as they were in training, so that a part
//! takes the same way in `f32` and `f64` (`methods.md` section 2, *Exactness*). Eight trees go down
//! side by side: their loads overlap, where one tree alone would wait for each node.
//!
//! A *path contribution* is what the way down a tree adds to an output at each split, given to the
//! column that the split looks at. With the mean at the roots they sum to the output.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::plan::{COLUMNS_MAX, ForestPlan, Link, Node, Step, Tree};

use super::{Contribution, Score, known};

/// Trees that go down together.
const LANES: usize = 8;
/// Probabilities are kept this far from 0 and 1 before their log-odds are taken.
const VOTES_FLOOR: f64 = 1e-3;
/// The least probability that counts as evidence: no single part decides a diagnosis.
const EVIDENCE_FLOOR: f64 = 1e-3;

/// Memory and newest result of one classifier or soft sensor.
#[derive(Clone, Debug)]
pub struct Forest {
    usable: bool,
    /// `[q]` columns of the newest part.
    columns: Vec<f64>,
    /// The same, rounded; as long as a column can be numbered, so that no split reaches out of it.
    rounded: Box<[f32; COLUMNS_MAX]>,
    /// `[q - p]` memory of each step: mean and variance, or last value and mean square of the
    /// changes; `None` before the first part.
    memory: Vec<Option<(f64, f64)>>,
    /// `[k]` outputs before link and calibration.
    outputs: Vec<f64>,
    /// `[c]` probabilities.
    probabilities: Vec<f64>,
    /// `[c]` evidence so far.
    evidence: Vec<f64>,
    best: usize,
}

impl Forest {
    /// Allocates everything. A plan whose arrays do not fit together is never usable.
    pub fn new(plan: &ForestPlan) -> Self {
        let (c, k) = (plan.classes.len(), plan.outputs());
        Self {
            usable: plan.fits(),
            columns: vec![0.0; plan.columns()],
            rounded: Box::new([0.0; COLUMNS_MAX]),
            memory: vec![None; plan.steps.len()],
            outputs: vec![0.0; k],
            probabilities: vec![0.0; c],
            evidence: vec![0.0; c],
            best: 0,
        }
    }

    /// Scores one part.
    ///
    /// - `features`: indexed by the ids of the plan's inputs.
    /// - `monitor`: whether the monitor whose domain this classifier shares is in it; `None`
    ///   without such a monitor.
    ///
    /// The score's value is the probability of the best class, of a soft sensor its prediction; low
    /// and high are NaN where it has no interval. An unknown input makes it unknown and keeps
    /// means, deviations and evidence. Out of domain is whatever lies outside the training spans,
    /// and every part where there are none, or of a soft sensor no interval: such a model was
    /// never held against this process.
    pub fn score(
        &mut self,
        plan: &ForestPlan,
        features: &[FeatureValue],
        monitor: Option<bool>,
    ) -> Score {
        if !self.usable {
            return Score::UNKNOWN;
        }
        for (column, input) in self.columns.iter_mut().zip(&plan.inputs) {
            let Some(x) = known(features, *input) else { return Score::UNKNOWN };
            *column = x;
        }
        let mut spans = self.columns.iter().zip(&plan.span);
        let inside = !plan.span.is_empty() && spans.all(|(x, (low, high))| low <= x && x <= high);
        if self.derive(plan).is_none() || self.run(plan).is_none() {
            return Score::UNKNOWN;
        }
        let of = if plan.is_sensor() { &self.outputs } else { &self.probabilities };
        if !of.iter().all(|x| x.is_finite()) {
            return Score::UNKNOWN;
        }
        self.weigh(plan);
        let of = if plan.is_sensor() { &self.outputs } else { &self.probabilities };
        let value = of.get(self.best).copied().unwrap_or(f64::NAN);
        let mut score = Score::of_value(value, false);
        if score.known {
            score.in_domain = inside && monitor.unwrap_or(true);
        }
        if score.known && plan.is_sensor() {
            score.in_domain &= plan.half_width.is_some();
            let half = plan.half_width.unwrap_or(f64::NAN);
            (score.low, score.high) = (value - half, value + half);
        }
        score
    }

    /// Columns of a part from its inputs, `[q]`; `None` when one is not a finite number. For
    /// training, which must see what the scorer sees.
    pub fn columns_of(&mut self, plan: &ForestPlan, inputs: &[f64]) -> Option<&[f64]> {
        for (column, x) in self.columns.iter_mut().zip(inputs) {
            *column = *x;
        }
        self.derive(plan)?;
        Some(&self.columns)
    }

    /// Fills the derived columns and the rounded row. Memories change only when all is known.
    fn derive(&mut self, plan: &ForestPlan) -> Option<()> {
        let p = plan.inputs.len();
        for (index, (step, memory)) in plan.steps.iter().zip(&self.memory).enumerate() {
            let (a, b) = step.operands();
            let a = self.columns.get(usize::from(a)).copied()?;
            let b = self.columns.get(usize::from(b)).copied()?;
            let x = match *step {
                Step::Difference(..) => a - b,
                Step::Product(..) => a * b,
                Step::Ratio(..) => a / b,
                Step::Mean { .. } => follow(*step, *memory, a).0,
                Step::Deviation { .. } | Step::Successive { .. } => {
                    libm::sqrt(follow(*step, *memory, a).1)
                }
            };
            *self.columns.get_mut(p + index)? = x;
        }
        for (rounded, x) in self.rounded.iter_mut().zip(&self.columns) {
            #[expect(clippy::cast_possible_truncation, reason = "as in training")]
            let x = *x as f32;
            if !x.is_finite() {
                return None;
            }
            *rounded = x;
        }
        for (step, memory) in plan.steps.iter().zip(&mut self.memory) {
            if step.weight().is_some() {
                let x = self.columns.get(usize::from(step.operands().0)).copied()?;
                *memory = Some(follow(*step, *memory, x));
            }
        }
        Some(())
    }

    /// Outputs, then probabilities and best class.
    fn run(&mut self, plan: &ForestPlan) -> Option<()> {
        self.outputs.fill(0.0);
        let (groups, rest) = plan.trees.as_chunks::<LANES>();
        if let [sum] = self.outputs.as_mut_slice() {
            for group in groups {
                for leaf in leaves(&plan.nodes, group, &self.rounded)? {
                    *sum += f64::from(*plan.values.get(leaf as usize)?);
                }
            }
            for tree in rest {
                let [leaf] = leaves(&plan.nodes, &[*tree], &self.rounded)?;
                *sum += f64::from(*plan.values.get(leaf as usize)?);
            }
        } else {
            for group in groups {
                for leaf in leaves(&plan.nodes, group, &self.rounded)? {
                    add(&mut self.outputs, &plan.values, leaf as usize)?;
                }
            }
            for tree in rest {
                let [leaf] = leaves(&plan.nodes, &[*tree], &self.rounded)?;
                add(&mut self.outputs, &plan.values, leaf as usize)?;
            }
        }
        for (output, base) in self.outputs.iter_mut().zip(&plan.base) {
            *output = *base + plan.factor * *output;
        }
        if let Some(linear) = &plan.linear {
            let rows = linear.coefficients.chunks(self.columns.len().max(1));
            for (output, row) in self.outputs.iter_mut().zip(rows) {
                for (coefficient, x) in row.iter().zip(self.rounded.iter()) {
                    *output += coefficient * f64::from(*x);
                }
            }
        }
        self.link(plan);
        Some(())
    }

    /// Probabilities of outputs; a soft sensor has none.
    fn link(&mut self, plan: &ForestPlan) {
        let calibrated = self.outputs.iter().zip(&plan.bias);
        if let ([output], [none, some]) =
            (self.outputs.as_slice(), self.probabilities.as_mut_slice())
        {
            let bias = plan.bias.first().copied().unwrap_or(0.0);
            let p = match plan.link {
                Link::Share => *output,
                Link::Votes => {
                    let p = output.clamp(VOTES_FLOOR, 1.0 - VOTES_FLOOR);
                    sigmoid(plan.slope * libm::log(p / (1.0 - p)) + bias)
                }
                Link::Margin => sigmoid(plan.slope * output + bias),
            };
            (*none, *some) = (1.0 - p, p);
            return;
        }
        for (p, (output, bias)) in self.probabilities.iter_mut().zip(calibrated) {
            *p = match plan.link {
                Link::Share => *output,
                Link::Votes => plan.slope * libm::log(output.max(0.0) + VOTES_FLOOR) + bias,
                Link::Margin => plan.slope * output + bias,
            };
        }
        if plan.link != Link::Share {
            softmax(&mut self.probabilities);
        }
    }

    /// Chooses the best class, and adds to the evidence of a diagnosis.
    fn weigh(&mut self, plan: &ForestPlan) {
        let weighted = self.probabilities.iter().zip(&plan.weights).map(|(p, w)| p * w);
        self.best = largest(weighted);
        let Some(remember) = plan.remember else { return };
        // Votes, where there are any: calibration took neighbouring parts for independent ones,
        // which a sum over neighbours cannot do.
        let votes = plan.link == Link::Votes && self.outputs.len() == self.evidence.len();
        let says = if votes { &self.outputs } else { &self.probabilities };
        for (evidence, p) in self.evidence.iter_mut().zip(says) {
            *evidence = remember * *evidence + libm::log(p.max(0.0) + EVIDENCE_FLOOR);
        }
    }

    /// Whether it predicts a number, not a class.
    pub(super) fn is_sensor(&self) -> bool {
        self.probabilities.is_empty()
    }

    /// `[c]` probabilities of the newest part.
    pub fn probabilities(&self) -> &[f64] {
        &self.probabilities
    }

    /// `[k]` outputs of the newest part before link and calibration: what contributions sum to.
    pub fn outputs(&self) -> &[f64] {
        &self.outputs
    }

    /// Place of the best class of the newest part.
    pub fn best(&self) -> usize {
        self.best
    }

    /// Place of the class that the evidence so far speaks for; the best class without memory.
    pub fn cause(&self, plan: &ForestPlan) -> usize {
        match plan.remember {
            Some(_) => largest(self.evidence.iter().copied()),
            None => self.best,
        }
    }

    /// Path contributions of the newest part to the output of a class, and what the roots give. A
    /// linear term contributes its coefficient times the distance from the centre; its value at the
    /// centre belongs to the roots.
    ///
    /// - `class`: with two classes, the first has the contributions of the second, negated. 0 for a
    ///   soft sensor.
    /// - `shares`: `[q]`, one per column, overwritten; with the returned value they sum to the
    ///   output (for the first of two classes, to its negative).
    pub fn contributions(&self, plan: &ForestPlan, class: usize, shares: &mut [f64]) -> f64 {
        shares.fill(0.0);
        if !self.usable {
            return 0.0;
        }
        let k = self.outputs.len();
        let (output, sign) = match (plan.classes.len(), class) {
            (2, 0) => (0, -1.0),
            (0 | 2, _) => (0, 1.0),
            _ => (class, 1.0),
        };
        let factor = sign * plan.factor;
        let value = |node: usize| {
            plan.values.get(node * k + output).copied().map_or(0.0, f64::from) * factor
        };
        let mut sum = sign * plan.base.get(output).copied().unwrap_or(0.0);
        for tree in &plan.trees {
            let root = tree.root as usize;
            let mut at = root;
            let mut have = value(at);
            sum += have;
            for _ in 0..tree.depth {
                let Some(node) = plan.nodes.get(at) else { break };
                let next = root + usize::from(node.left) + usize::from(self.goes_right(*node));
                if next == at {
                    break;
                }
                at = next;
                let now = value(at);
                if let Some(share) = shares.get_mut(usize::from(node.column)) {
                    *share += now - have;
                }
                have = now;
            }
        }
        if let Some(linear) = &plan.linear {
            let q = self.columns.len();
            let row = linear.coefficients.get(output * q..).unwrap_or_default();
            let columns = self.rounded.iter().zip(&linear.centre);
            for ((share, coefficient), (x, centre)) in shares.iter_mut().zip(row).zip(columns) {
                *share += sign * coefficient * (f64::from(*x) - centre);
                sum += sign * coefficient * centre;
            }
        }
        sum
    }

    /// The newest contributions per input: those of derived columns in equal parts to the columns
    /// that they are made of.
    pub(super) fn offer(&self, plan: &ForestPlan, mut offer: impl FnMut(Contribution)) {
        let mut room = [0.0; COLUMNS_MAX];
        let Some(shares) = room.get_mut(..plan.columns()) else { return };
        self.contributions(plan, self.best, shares);
        split_steps(&plan.steps, plan.inputs.len(), shares);
        for (place, ((input, share), x)) in
            plan.inputs.iter().zip(shares.iter()).zip(&self.columns).enumerate()
        {
            // Where no span is known, nothing says what is far.
            let (low, high) = plan.span.get(place).copied().unwrap_or((0.0, 0.0));
            let half = (high - low) / 2.0;
            let z = if half > 0.0 { (x - f64::midpoint(low, high)) / half } else { 0.0 };
            offer(Contribution { feature: *input, share: *share, z });
        }
    }

    fn goes_right(&self, node: Node) -> bool {
        let column = usize::from(node.column) % COLUMNS_MAX;
        self.rounded.get(column).is_some_and(|x| *x > node.threshold)
    }

    /// Forgets means, deviations and evidence: another product, another run.
    pub fn reset(&mut self) {
        self.memory.fill(None);
        self.evidence.fill(0.0);
    }
}

/// Gives the shares of derived columns, behind the first `p`, in equal parts to the columns that
/// they are made of.
pub(super) fn split_steps(steps: &[Step], p: usize, shares: &mut [f64]) {
    for (index, step) in steps.iter().enumerate().rev() {
        let share = shares.get(p + index).copied().unwrap_or(0.0);
        let (a, b) = step.operands();
        for operand in [a, b] {
            if let Some(of) = shares.get_mut(usize::from(operand)) {
                *of += share / 2.0;
            }
        }
    }
}

/// Leaves that a part reaches in `N` trees, as places in `nodes`.
fn leaves<const N: usize>(
    nodes: &[Node],
    trees: &[Tree; N],
    row: &[f32; COLUMNS_MAX],
) -> Option<[u32; N]> {
    let mut at = [0; N];
    let mut depth = 0;
    for (at, tree) in at.iter_mut().zip(trees) {
        *at = tree.root;
        depth = depth.max(tree.depth);
    }
    for _ in 0..depth {
        let mut moved = 0;
        for (at, tree) in at.iter_mut().zip(trees) {
            let node = nodes.get(*at as usize)?;
            // The remainder costs one instruction and spares a comparison and a branch.
            let x = row.get(usize::from(node.column) % COLUMNS_MAX)?;
            let next = tree.root + u32::from(node.left) + u32::from(*x > node.threshold);
            moved |= next ^ *at;
            *at = next;
        }
        if moved == 0 {
            break;
        }
    }
    Some(at)
}

fn add(outputs: &mut [f64], values: &[f32], leaf: usize) -> Option<()> {
    let k = outputs.len();
    let row = values.get(leaf.checked_mul(k)?..)?.get(..k)?;
    for (output, value) in outputs.iter_mut().zip(row) {
        *output += f64::from(*value);
    }
    Some(())
}

/// The memory of a step after `x`.
fn follow(step: Step, memory: Option<(f64, f64)>, x: f64) -> (f64, f64) {
    let (Some((before, square)), Some(weight)) = (memory, step.weight()) else { return (x, 0.0) };
    let off = x - before;
    match step {
        Step::Successive { .. } => (x, square + weight * (off * off - square)),
        _ => (before + weight * off, (1.0 - weight) * (square + weight * off * off)),
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn softmax(scores: &mut [f64]) {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = libm::exp(*score - top);
        sum += *score;
    }
    for score in scores.iter_mut() {
        *score /= sum;
    }
}

/// Place of the largest; the first of equals.
fn largest(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

impl ForestPlan {
    /// Whether the arrays fit together, every way down ends in a leaf of its own tree, and every
    /// number is one that its kind can be.
    pub fn fits(&self) -> bool {
        let (p, q, c, k) = (self.inputs.len(), self.columns(), self.classes.len(), self.outputs());
        let finite = |values: &[f64]| values.iter().all(|x| x.is_finite());
        let steps = self.steps.iter().enumerate().all(|(index, step)| {
            let (a, b) = step.operands();
            let earlier = usize::from(a.max(b)) < p + index;
            let weight = step.weight().unwrap_or(1.0);
            earlier && weight > 0.0 && weight <= 1.0
        });
        p > 0
            && q <= COLUMNS_MAX
            && c != 1
            && c <= crate::plan::CLASSES_MAX
            && [0, p].contains(&self.span.len())
            && self.span.iter().all(|(low, high)| low <= high)
            && self.linear_fits(q)
            && self.sensor_fits()
            && steps
            && self.base.len() == k
            && self.bias.len() == k
            && self.weights.len() == c
            && finite(&self.base)
            && finite(&self.bias)
            && finite(&[self.factor, self.slope])
            && self.slope > 0.0
            && self.weights.iter().all(|w| *w > 0.0 && w.is_finite())
            && self.remember.is_none_or(|r| (0.0..1.0).contains(&r))
            && self.nodes.len().checked_mul(k) == Some(self.values.len())
            && self.values.iter().all(|x| x.is_finite())
            && self.trees_fit(q)
    }

    fn linear_fits(&self, columns: usize) -> bool {
        self.linear.as_ref().is_none_or(|linear| {
            Some(linear.coefficients.len()) == self.outputs().checked_mul(columns)
                && linear.centre.len() == columns
                && linear.coefficients.iter().chain(&linear.centre).all(|x| x.is_finite())
        })
    }

    /// An interval belongs to a soft sensor; classes, links and evidence to a classifier.
    fn sensor_fits(&self) -> bool {
        let width = self.half_width.is_none_or(|half| half >= 0.0 && half.is_finite());
        if self.is_sensor() {
            width && self.link == Link::Share && self.remember.is_none()
        } else {
            self.half_width.is_none()
        }
    }

    fn trees_fit(&self, columns: usize) -> bool {
        let ends = self.trees.iter().skip(1).map(|tree| tree.root as usize);
        let mut from = 0;
        for (tree, end) in self.trees.iter().zip(ends.chain([self.nodes.len()])) {
            let Some(nodes) = self.nodes.get(from..end) else { return false };
            let size = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
            if tree.root as usize != from || nodes.is_empty() || size > 1 << 16 {
                return false;
            }
            if tree.depth > crate::plan::DEPTH_MAX || !tree_fits(nodes, tree.depth, columns) {
                return false;
            }
            from = end;
        }
        from == self.nodes.len() && (!self.trees.is_empty() || self.linear.is_some())
    }
}

/// Children come in pairs after their parent, each pair with one parent, so that every way down
/// ends; the longest is `depth`.
fn tree_fits(nodes: &[Node], depth: u8, columns: usize) -> bool {
    // Breadth first: the pairs follow each other in the order of their parents.
    let mut next = 1;
    let mut level_end = 1;
    let mut levels = 0;
    for (index, node) in nodes.iter().enumerate() {
        if index == level_end {
            levels += 1;
            level_end = next;
        }
        if !node.threshold.is_finite() || usize::from(node.column) >= columns {
            return false;
        }
        let left = usize::from(node.left);
        if left == index {
            if node.threshold < f32::MAX {
                return false;
            }
        } else if left == next {
            next += 2;
        } else {
            return false;
        }
    }
    next == nodes.len() && levels == usize::from(depth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{unknown, value};
    use crate::plan::{FeatureId, LinearTerms};
    use alloc::string::String;

    fn split(threshold: f32, column: u16, left: u16) -> Node {
        Node { threshold, column, left }
    }

    fn leaf(place: u16) -> Node {
        split(f32::MAX, 0, place)
    }

    /// Two trees over two inputs and their product, three classes.
    fn plan() -> ForestPlan {
        ForestPlan {
            inputs: vec![FeatureId(1), FeatureId(0)],
            steps: vec![Step::Product(0, 1)],
            span: vec![(0.0, 10.0), (0.0, 10.0)],
            domain: None,
            trees: vec![Tree { root: 0, depth: 1 }, Tree { root: 3, depth: 2 }],
            nodes: vec![
                split(2.0, 0, 1),
                leaf(1),
                leaf(2),
                split(6.0, 2, 1),
                leaf(1),
                split(4.0, 1, 3),
                leaf(3),
                leaf(4),
            ],
            values: [
                [0.5, 0.25, 0.25],
                [1.0, 0.0, 0.0],
                [0.0, 0.5, 0.5],
                [0.2, 0.4, 0.4],
                [0.75, 0.25, 0.0],
                [0.0, 0.5, 0.5],
                [0.0, 1.0, 0.0],
                [0.0, 0.0, 1.0],
            ]
            .concat(),
            base: vec![0.0; 3],
            factor: 0.5,
            link: Link::Share,
            slope: 1.0,
            bias: vec![0.0; 3],
            classes: ["a", "b", "c"].map(String::from).to_vec(),
            weights: vec![1.0; 3],
            remember: None,
            linear: None,
            half_width: None,
        }
    }

    /// Leaves, derived column, best class, domain and contributions by hand.
    #[test]
    fn by_hand() {
        let plan = plan();
        assert!(plan.fits());
        let mut forest = Forest::new(&plan);
        // input 0 (feature 1), input 1 (feature 0), outputs, best, in domain
        let rows = [
            (2.0, 3.0, [0.875, 0.125, 0.0], 0, true),
            (2.1, 3.0, [0.0, 0.75, 0.25], 1, true),
            (2.1, 4.5, [0.0, 0.25, 0.75], 2, true),
            (11.0, 0.5, [0.375, 0.375, 0.25], 0, false),
        ];
        for (x, y, expect, best, inside) in rows {
            let score = forest.score(&plan, &[value(y), value(x)], None);
            assert!(score.known);
            for (have, expect) in forest.probabilities().iter().zip(expect) {
                assert!(libm::fabs(have - expect) < 1e-7, "{x} {y}: {:?}", forest.probabilities());
            }
            assert_eq!((forest.best(), score.in_domain), (best, inside), "{x} {y}");
            let mut shares = [0.0; 3];
            for (class, output) in expect.iter().enumerate() {
                let roots = forest.contributions(&plan, class, &mut shares);
                assert!(libm::fabs(roots + shares.iter().sum::<f64>() - output) < 1e-6);
            }
        }
        let before = forest.probabilities().to_vec();
        assert!(!forest.score(&plan, &[value(1.0), unknown()], None).known);
        assert!(!forest.score(&plan, &[value(1e30), value(1e30)], None).known);
        assert_eq!(forest.probabilities(), before);
        assert!(!forest.score(&plan, &[value(3.0), value(2.0)], Some(false)).in_domain);
    }

    /// Nine equal trees, eight of which go down together, say what one says.
    #[test]
    fn groups_agree() {
        let one = plan();
        let mut many = plan();
        let nodes = one.nodes.get(3..).unwrap();
        many.nodes = nodes.repeat(9);
        many.values = one.values.get(9..).unwrap().repeat(9);
        many.trees = (0..9).map(|i| Tree { root: i * 5, depth: 2 }).collect();
        many.factor = 1.0 / 9.0;
        assert!(many.fits());
        let mut forest = Forest::new(&many);
        forest.score(&many, &[value(4.5), value(2.1)], None);
        assert!(libm::fabs(forest.probabilities()[2] - 1.0) < 1e-12);
    }

    /// Votes and margins through slope and bias, for two classes and for more.
    #[test]
    fn calibrates() {
        let mut plan = plan();
        plan.link = Link::Votes;
        plan.slope = 2.0;
        let mut forest = Forest::new(&plan);
        forest.score(&plan, &[value(3.0), value(2.0)], None);
        let weights = [0.876_f64, 0.126, 0.001].map(|x| x * x);
        let sum: f64 = weights.iter().sum();
        for (p, weight) in forest.probabilities().iter().zip(weights) {
            assert!(libm::fabs(p - weight / sum) < 1e-9);
        }
        plan.nodes.truncate(3);
        plan.trees.truncate(1);
        plan.classes.truncate(2);
        plan.weights = vec![1.0, 9.0];
        (plan.base, plan.bias, plan.factor) = (vec![-1.0], vec![0.5], 1.0);
        (plan.link, plan.slope) = (Link::Margin, 2.0);
        plan.values = vec![0.0, 0.5, 2.0];
        let mut forest = Forest::new(&plan);
        forest.score(&plan, &[value(3.0), value(1.0)], None);
        let p = 1.0 / (1.0 + libm::exp(0.5));
        assert!(libm::fabs(forest.probabilities()[1] - p) < 1e-12);
        // 0.38 counts nine times.
        assert_eq!(forest.best(), 1);
        let mut shares = [0.0; 3];
        assert!(libm::fabs(forest.contributions(&plan, 1, &mut shares) + 1.0) < 1e-12);
        assert!(libm::fabs(shares[0] - 0.5) < 1e-12);
        forest.contributions(&plan, 0, &mut shares);
        assert!(libm::fabs(shares[0] + 0.5) < 1e-12);
    }

    /// Linear terms beside trees, of a soft sensor: prediction, interval, domain, contributions.
    #[test]
    fn predicts() {
        let mut plan = plan();
        plan.classes.clear();
        plan.weights.clear();
        (plan.base, plan.bias) = (vec![0.25], vec![0.0]);
        plan.values = plan.values.chunks(3).map(|row| row[0]).collect();
        plan.linear =
            Some(LinearTerms { coefficients: vec![2.0, -1.0, 0.0], centre: vec![1.0, 3.0, 0.0] });
        plan.half_width = Some(0.5);
        assert!(plan.fits());
        let score = |plan: &ForestPlan, x: f64, y: f64| {
            let mut forest = Forest::new(plan);
            (forest.score(plan, &[value(y), value(x)], None), forest)
        };
        // Trees give 0.875 at (2, 3), of which 0.35 at the roots.
        let (found, forest) = score(&plan, 2.0, 3.0);
        assert!(libm::fabs(found.value - 2.125) < 1e-12, "{found:?}");
        assert!(libm::fabs(found.low - 1.625) < 1e-12 && libm::fabs(found.high - 2.625) < 1e-12);
        assert!(found.in_domain && forest.probabilities().is_empty());
        let mut shares = [0.0; 3];
        let roots = forest.contributions(&plan, 0, &mut shares);
        assert!(libm::fabs(roots - (0.25 + 0.35 + 2.0 - 3.0)) < 1e-7, "{roots}");
        assert!(libm::fabs(roots + shares.iter().sum::<f64>() - 2.125) < 1e-12);
        assert!(!score(&plan, 11.0, 3.0).0.in_domain);
        // Never held against labels, or against rows at all: never in domain.
        plan.half_width = None;
        let (found, _) = score(&plan, 2.0, 3.0);
        assert!(found.known && !found.in_domain && found.low.is_nan() && found.high.is_nan());
        plan.half_width = Some(0.5);
        plan.span.clear();
        assert!(plan.fits());
        let (found, forest) = score(&plan, 2.0, 3.0);
        assert!(found.known && !found.in_domain);
        let mut offered = 0;
        forest.offer(&plan, |c| {
            assert_eq!(c.z, 0.0);
            offered += 1;
        });
        assert_eq!(offered, 2);
        // Linear terms alone.
        plan.trees.clear();
        plan.nodes.clear();
        plan.values.clear();
        assert!(plan.fits());
        assert!(libm::fabs(score(&plan, 2.0, 3.0).0.value - 1.25) < 1e-12);
    }

    /// Mean, deviation and root mean square of changes follow their recursions from the first part
    /// on; a part that is unknown leaves them alone; a reset begins anew.
    #[test]
    fn steps_remember() {
        let mut plan = plan();
        plan.steps = vec![
            Step::Mean { of: 0, weight: 0.5 },
            Step::Deviation { of: 0, weight: 0.5 },
            Step::Successive { of: 0, weight: 0.5 },
        ];
        let mut forest = Forest::new(&plan);
        let mut columns = |x: f64| {
            let columns = forest.columns_of(&plan, &[x, 1.0]);
            columns.map(|c| [c[2], c[3], c[4]])
        };
        assert_eq!(columns(1.0), Some([1.0, 0.0, 0.0]));
        // Mean 2, variance 0.5 (0 + 0.5 * 4) = 1, mean square 2.
        let [mean, deviation, change] = columns(3.0).unwrap();
        assert_eq!((mean, deviation), (2.0, 1.0));
        assert!(libm::fabs(change - libm::sqrt(2.0)) < 1e-12);
        assert_eq!(columns(f64::NAN), None);
        let [mean, ..] = columns(2.0).unwrap();
        assert_eq!(mean, 2.0);
        forest.reset();
        assert_eq!(forest.columns_of(&plan, &[7.0, 1.0]).unwrap()[2], 7.0);
    }

    /// Evidence speaks for what came most, and gives way when something else comes.
    #[test]
    fn evidence_adds_up() {
        let mut plan = plan();
        plan.remember = Some(0.8);
        let mut forest = Forest::new(&plan);
        let mut cause = |x: f64, y: f64, times: usize| {
            for _ in 0..times {
                forest.score(&plan, &[value(y), value(x)], None);
            }
            forest.cause(&plan)
        };
        assert_eq!(cause(2.1, 4.5, 10), 2);
        assert_eq!(cause(1.0, 1.0, 10), 0);
        assert_eq!(cause(2.1, 4.5, 10), 2);
    }

    /// Arrays that do not fit together, or lead out of their tree, never give a known score.
    #[test]
    fn bad_plans_stay_unknown() {
        let spoil: [fn(&mut ForestPlan); 18] = [
            |p| p.half_width = Some(1.0),
            |p| p.span.truncate(1),
            |p| p.classes.truncate(1),
            |p| p.linear = Some(LinearTerms { coefficients: vec![1.0; 3], centre: vec![0.0; 3] }),
            |p| p.values.truncate(3),
            |p| p.values[0] = f32::NAN,
            |p| p.base.truncate(1),
            |p| p.weights[0] = 0.0,
            |p| p.slope = 0.0,
            |p| p.span[0] = (2.0, 1.0),
            |p| p.remember = Some(1.0),
            |p| p.steps[0] = Step::Product(0, 2),
            |p| p.trees[1].root = 4,
            |p| p.trees[1].depth = 1,
            |p| p.nodes[0].left = 0,
            |p| p.nodes[3].left = 3,
            |p| p.nodes[3].column = 3,
            |p| p.nodes[1].threshold = 1.0,
        ];
        for (index, spoil) in spoil.iter().enumerate() {
            let mut plan = plan();
            spoil(&mut plan);
            let mut forest = Forest::new(&plan);
            assert!(!forest.score(&plan, &[value(1.0), value(1.0)], None).known, "{index}");
        }
    }
}
