//! Classifiers and soft sensors made of trees: probabilities or a prediction, path contributions,
//! evidence over parts. Linear terms or a neural network may stand beside the trees or in
//! their place.
//!
//! Columns are rounded to `f32` before a tree sees them, as they were in training, so that a part
//! takes the same way in `f32` and `f64` (`methods.md` section 2, *Exactness*). Eight trees go down
//! side by side: their loads overlap, where one tree alone would wait for each node.
//!
//! A *path contribution* is what the way down a tree adds to an output at each split, given to the
//! column that the split looks at. With the mean at the roots they sum to the output.

mod directions;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::plan::{COLUMNS_MAX, ForestPlan, Link, Node, Step, Tree};

use super::network::Network;
use super::{Contribution, Score, known};
use directions::Likelihoods;

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
    /// What the units of a neural network gave.
    network: Option<Network>,
    /// What the directions of the causes say.
    likelihoods: Option<Likelihoods>,
    /// `[c]` probabilities.
    probabilities: Vec<f64>,
    /// `[c]` evidence so far; equal before the first part.
    evidence: Vec<f64>,
    best: usize,
}

impl Forest {
    /// Allocates everything. A plan whose arrays do not fit together is never usable.
    pub fn new(plan: &ForestPlan) -> Self {
        let (c, k) = (plan.classes.len(), plan.outputs());
        let usable = plan.fits();
        let directions = plan.directions.as_ref().filter(|_| usable);
        Self {
            usable,
            columns: vec![0.0; plan.columns()],
            rounded: Box::new([0.0; COLUMNS_MAX]),
            memory: vec![None; plan.steps.len()],
            outputs: vec![0.0; k],
            network: plan.network.as_ref().filter(|_| usable).map(Network::new),
            likelihoods: directions.map(|directions| Likelihoods::new(directions, c)),
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
    /// means, deviations and evidence. Out of domain is whatever lies outside the spans, or farther
    /// from the rows of training than the T2 of the domain, which the score tells; and every part
    /// where there are no spans, or of a soft sensor no interval: such a model was never held against
    /// this process.
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
            // Written so that a T2 that is no number is out.
            let near = plan.reach.as_ref().is_none_or(|reach| {
                score.t2 = reach.t2(self.columns.get(..plan.inputs.len()).unwrap_or_default());
                score.t2 <= reach.t2_out
            });
            score.in_domain = inside && near && monitor.unwrap_or(true);
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
        if let (Some(network), Some(state)) = (&plan.network, &mut self.network) {
            state.add(network, self.rounded.as_slice(), &mut self.outputs);
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
        self.best = match self.probabilities.as_slice() {
            [_, some] if plan.link == Link::Share => {
                let some = single(*some);
                largest([1.0 - some, some].iter().zip(&plan.weights).map(|(p, w)| p * w))
            }
            probabilities if plan.link == Link::Share => {
                largest(probabilities.iter().zip(&plan.weights).map(|(p, w)| single(*p) * w))
            }
            probabilities => largest(probabilities.iter().zip(&plan.weights).map(|(p, w)| p * w)),
        };
        let Some(remember) = plan.remember else { return };
        if let Some(likeness) = &plan.likeness {
            self.believe(plan, remember, likeness);
            return;
        }
        // Votes, where there are any: calibration took neighbouring parts for independent ones,
        // which a sum over neighbours cannot do.
        let votes = plan.link == Link::Votes && self.outputs.len() == self.evidence.len();
        let says = if votes { &self.outputs } else { &self.probabilities };
        for (evidence, p) in self.evidence.iter_mut().zip(says) {
            *evidence = remember * *evidence + libm::log(p.max(0.0) + EVIDENCE_FLOOR);
        }
    }

    /// Log-odds of the causes after one more part: the forward recursion of a hidden Markov chain
    /// (Rabiner 1989, with the uniform switching of Herbster and Warmuth's fixed share, 1998).
    ///
    /// Before the part, the cause is the one before with probability `stays`, else any. So no cause
    /// falls further behind than `ln(c / (1 - stays))`: whatever rows before the onset spoke for is
    /// undone at the same pace however many they were. The part then speaks for a class as its
    /// votes are those that parts of the class get, the votes taken as shares of one draw:
    /// `sum_j(vote[j] * ln(likeness[k][j]))`. So a class that is often taken for another is told
    /// from it by how often, which votes added up never can. Where the plan has directions of the
    /// causes, what they say is added, and both count as much as a part is worth beside its neighbours.
    fn believe(&mut self, plan: &ForestPlan, stays: f64, likeness: &[f64]) {
        let c = self.evidence.len();
        let directions = plan.directions.as_ref();
        let worth = directions.map_or(1.0, |directions| directions.worth);
        softmax(&mut self.evidence);
        let anew = (1.0 - stays) / c as f64;
        let rows = likeness.chunks_exact(c.max(1));
        for (evidence, expected) in self.evidence.iter_mut().zip(rows) {
            let says: f64 = match (self.outputs.as_slice(), expected) {
                ([some], [of_none, of_some]) => {
                    (1.0 - some) * libm::log(*of_none) + some * libm::log(*of_some)
                }
                (votes, expected) => {
                    votes.iter().zip(expected).map(|(vote, of)| vote * libm::log(*of)).sum()
                }
            };
            *evidence = libm::log(stays * *evidence + anew) + worth * says;
        }
        if let (Some(directions), Some(likelihoods)) = (directions, &mut self.likelihoods) {
            likelihoods.compare(directions, &self.columns);
            for (evidence, says) in self.evidence.iter_mut().zip(likelihoods.says(directions)) {
                *evidence += worth * says;
            }
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
    /// centre belongs to the roots, as does that of a network, whose shares come by the rescale rule.
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
        if let (Some(network), Some(state)) = (&plan.network, &self.network) {
            sum += state.share(network, (output, k), sign, shares);
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

pub(super) fn softmax(scores: &mut [f64]) {
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

/// A share as `f32` holds it: shares of a model from elsewhere are sums of numbers of `f32`, and ten
/// votes of 0.1, five for each of two classes, are a tie there, though the exact sum of what `f32`
/// has in place of 0.1 is above a half.
fn single(share: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "what is asked for")]
    let single = share as f32;
    f64::from(single)
}

/// Place of the largest; the first of equals.
pub(super) fn largest(values: impl Iterator<Item = f64>) -> usize {
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
            && self.network.as_ref().is_none_or(|network| network.fits(q, k))
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
            && self.likeness_fits()
            && self.directions_fit()
            && self.reach_fits()
            && self.nodes.len().checked_mul(k) == Some(self.values.len())
            && self.values.iter().all(|x| x.is_finite())
            && self.trees_fit(q)
    }

    /// Votes can be compared where trees give votes, and evidence is kept.
    fn likeness_fits(&self) -> bool {
        self.likeness.as_ref().is_none_or(|likeness| {
            let c = self.classes.len();
            self.remember.is_some()
                && self.link == Link::Votes
                && Some(likeness.len()) == c.checked_mul(c)
                && likeness.iter().all(|x| *x > 0.0 && *x <= 1.0)
        })
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
        let other = self.linear.is_some() || self.network.is_some();
        from == self.nodes.len() && (!self.trees.is_empty() || other)
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
mod tests;
