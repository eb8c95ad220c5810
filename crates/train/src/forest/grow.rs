//! One tree from rows of ranks.

use trimloop_core::plan::{DEPTH_MAX, Node};

use super::ranks::Ranks;
use crate::noise::Noise;

/// How trees are grown.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// Trees, 1 to 2000.
    pub trees: usize,
    /// Share of the columns that each split may choose from, above 0 to 1.
    pub columns: f64,
    /// Rows that a leaf must hold at least, from 1.
    pub leaf: u32,
    /// Splits from the root to a leaf at most, 1 to 64.
    pub depth: u8,
    /// Draw thresholds at random instead of looking for the best one (extremely randomised trees,
    /// Geurts 2006), from all rows. Else every tree has a bootstrap sample of the rows
    /// (Breiman 2001). Either way a tree has at most 20,000 rows, drawn anew for each.
    pub random: bool,
    /// Seed; each tree has its own sequence.
    pub seed: u64,
}

impl Default for Growth {
    fn default() -> Self {
        Self { trees: 200, columns: 0.0, leaf: 1, depth: DEPTH_MAX, random: false, seed: 1 }
    }
}

/// A grown tree: nodes breadth first, and what each of them says, `[nodes][k]`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grown {
    pub(crate) nodes: Vec<Node>,
    pub(crate) values: Vec<f32>,
    pub(crate) depth: u8,
    /// `[q]` how much purity the splits on each column gave.
    pub(crate) gains: Vec<f64>,
}

/// Most nodes of one tree: children are counted in 16 bits.
const NODES_MAX: usize = 1 << 16;
/// Most rows of one tree. Of a longer table every tree has a sample of its own of so many rows,
/// drawn from all of them: trees on fewer rows are worse one by one but less alike, so that their
/// mean loses next to nothing (subagging, Bühlmann and Yu 2002), and the time of a tree does not
/// grow with the table.
pub(super) const TREE_ROWS_MAX: usize = 20_000;

struct Open {
    from: usize,
    to: usize,
    depth: u8,
}

struct Split {
    column: usize,
    threshold: f32,
    gain: f64,
}

/// Grows trees one after another in the same memory.
pub(crate) struct Grower<'a> {
    ranks: &'a Ranks,
    labels: &'a [u16],
    class_weights: &'a [f64],
    growth: &'a Growth,
    classes: usize,
    rows: Vec<u32>,
    times: Vec<u16>,
    order: Vec<usize>,
    allowed: &'a [usize],
    /// Of the rows of the node at hand, side by side: class, weight, and rank in one column.
    classes_here: Vec<u16>,
    weights_here: Vec<f64>,
    ranks_here: Vec<u16>,
    /// Rank and place in the node, of 16 bits each.
    sorted: Vec<u32>,
    table: Vec<f64>,
    left: Vec<f64>,
    total: Vec<f64>,
    spare: Vec<u32>,
}

impl<'a> Grower<'a> {
    /// - `allowed`: columns that splits may look at.
    pub(crate) fn new(
        ranks: &'a Ranks,
        labels: &'a [u16],
        class_weights: &'a [f64],
        growth: &'a Growth,
        allowed: &'a [usize],
    ) -> Self {
        let classes = class_weights.len();
        Self {
            ranks,
            labels,
            class_weights,
            growth,
            classes,
            rows: Vec::new(),
            times: vec![0; labels.len()],
            order: allowed.to_vec(),
            allowed,
            classes_here: Vec::new(),
            weights_here: Vec::new(),
            ranks_here: Vec::new(),
            sorted: Vec::new(),
            table: Vec::new(),
            left: vec![0.0; classes],
            total: vec![0.0; classes],
            spare: Vec::new(),
        }
    }

    /// Tree number `index` over the rows in `train`.
    pub(crate) fn tree(&mut self, train: &[u32], index: usize) -> Grown {
        // SplitMix64 takes neighbouring seeds as far apart as any.
        let mut noise = Noise::new(self.growth.seed ^ (index as u64).wrapping_mul(0x9E37_79B9));
        self.sample(train, &mut noise);
        self.order.copy_from_slice(self.allowed);
        let mut tree = Grown { gains: vec![0.0; self.ranks.columns()], ..Grown::default() };
        let mut open = vec![Open { from: 0, to: self.rows.len(), depth: 0 }];
        let mut at = 0;
        while at < open.len() {
            let Open { from, to, depth } = open[at];
            self.count(from, to);
            self.say(&mut tree.values);
            let room = open.len() + 2 <= NODES_MAX && depth < self.growth.depth.min(DEPTH_MAX);
            let split = if room { self.split(from, to, &mut noise) } else { None };
            let leaf = u16::try_from(at).unwrap_or(u16::MAX);
            tree.nodes.push(match split {
                None => Node { threshold: f32::MAX, column: 0, left: leaf },
                Some(split) => {
                    tree.gains[split.column] += split.gain - self.whole();
                    let middle = self.part(from, to, &split);
                    let left = u16::try_from(open.len()).unwrap_or(u16::MAX);
                    open.push(Open { from, to: middle, depth: depth + 1 });
                    open.push(Open { from: middle, to, depth: depth + 1 });
                    tree.depth = tree.depth.max(depth + 1);
                    let column = u16::try_from(split.column).unwrap_or(u16::MAX);
                    Node { threshold: split.threshold, column, left }
                }
            });
            at += 1;
        }
        tree
    }

    fn sample(&mut self, train: &[u32], noise: &mut Noise) {
        self.rows.clear();
        self.times.fill(0);
        let draws = train.len().min(TREE_ROWS_MAX);
        if self.growth.random {
            // Each row with the chance that so many of the rest are still wanted (Knuth,
            // selection sampling); of a table that is not long every row.
            for (seen, row) in train.iter().enumerate() {
                let (rest, wanted) = (train.len() - seen, draws - self.rows.len());
                if wanted == rest || noise.below(rest) < wanted {
                    self.rows.push(*row);
                    self.times[*row as usize] = 1;
                }
            }
            return;
        }
        for _ in 0..draws {
            let row = train[noise.below(train.len())] as usize;
            self.times[row] = self.times[row].saturating_add(1);
        }
        self.rows.extend(train.iter().filter(|row| self.times[**row as usize] > 0));
    }

    /// Looks at the rows of a node: their classes and weights, and the sums by class.
    fn count(&mut self, from: usize, to: usize) {
        self.total.fill(0.0);
        self.classes_here.clear();
        self.weights_here.clear();
        for row in &self.rows[from..to] {
            let class = self.labels[*row as usize];
            let times = f64::from(self.times[*row as usize]);
            let weight = times * self.class_weights[usize::from(class)];
            self.total[usize::from(class)] += weight;
            self.classes_here.push(class);
            self.weights_here.push(weight);
        }
    }

    /// Purity of the node that was counted last, unsplit.
    fn whole(&self) -> f64 {
        let squares: f64 = self.total.iter().map(|x| x * x).sum();
        squares / self.total.iter().sum::<f64>()
    }

    /// Shares of the classes at the node; with two classes that of the second.
    fn say(&self, values: &mut Vec<f32>) {
        let sum: f64 = self.total.iter().sum();
        let skip = usize::from(self.classes == 2);
        #[expect(clippy::cast_possible_truncation, reason = "shares are stored in f32")]
        values.extend(self.total.iter().skip(skip).map(|x| (x / sum) as f32));
    }

    fn split(&mut self, from: usize, to: usize, noise: &mut Noise) -> Option<Split> {
        let leaf = self.growth.leaf as usize;
        let pure = self.total.iter().filter(|x| **x > 0.0).count() < 2;
        if pure || to - from < 2 * leaf.max(1) {
            return None;
        }
        let q = self.order.len();
        let mut tries = self.growth.tries(q);
        let mut best: Option<Split> = None;
        // Columns in a random order, as many as do change here.
        for drawn in 0..q {
            if tries == 0 {
                break;
            }
            self.order.swap(drawn, drawn + noise.below(q - drawn));
            let column = self.order[drawn];
            let (low, high) = self.look(from, to, column);
            if low == high {
                continue;
            }
            tries -= 1;
            let found = if self.growth.random {
                self.random_split(column, (low, high), noise)
            } else {
                self.best_split(column)
            };
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.gain > best.gain)
            {
                best = Some(found);
            }
        }
        best
    }

    /// Fetches the ranks of a node's rows in a column; the least and the largest.
    fn look(&mut self, from: usize, to: usize, column: usize) -> (u16, u16) {
        let ranks = self.ranks.of(column);
        self.ranks_here.clear();
        self.ranks_here.extend(self.rows[from..to].iter().map(|row| ranks[*row as usize]));
        let ends = self.ranks_here.iter();
        ends.fold((u16::MAX, 0), |(low, high), x| (low.min(*x), high.max(*x)))
    }

    /// Class and weight of every row of the node, with its rank in the column at hand.
    fn here(&self) -> impl Iterator<Item = (u16, usize, f64)> {
        let classes = self.classes_here.iter().map(|class| usize::from(*class));
        let rows = self.ranks_here.iter().zip(classes).zip(&self.weights_here);
        rows.map(|((rank, class), weight)| (*rank, class, *weight))
    }

    fn random_split(
        &mut self,
        column: usize,
        (low, high): (u16, u16),
        noise: &mut Noise,
    ) -> Option<Split> {
        let threshold = self.ranks.between(column, low, high, noise.uniform());
        let last = self.ranks.last_left(column, threshold);
        let mut left = std::mem::take(&mut self.left);
        left.fill(0.0);
        let mut rows = 0;
        for (_, class, weight) in self.here().filter(|(rank, ..)| *rank <= last) {
            rows += 1;
            left[class] += weight;
        }
        self.left = left;
        let leaf = self.growth.leaf as usize;
        if rows < leaf || self.ranks_here.len() - rows < leaf {
            return None;
        }
        let gain = purity(&self.left, &self.total);
        Some(Split { column, threshold, gain })
    }

    /// The threshold of largest purity. Few distinct values are counted, many are sorted.
    fn best_split(&mut self, column: usize) -> Option<Split> {
        let distinct = self.ranks.distinct(column);
        if distinct * self.classes <= 2 * self.ranks_here.len() {
            self.best_of_table(column, distinct)
        } else {
            self.best_of_sorted(column)
        }
    }

    fn best_of_table(&mut self, column: usize, distinct: usize) -> Option<Split> {
        // Of each rank the weight by class, then the rows.
        let wide = self.classes + 1;
        let mut table = std::mem::take(&mut self.table);
        table.clear();
        table.resize(distinct * wide, 0.0);
        for (rank, class, weight) in self.here() {
            let cell = usize::from(rank) * wide;
            table[cell + class] += weight;
            table[cell + self.classes] += 1.0;
        }
        let mut sweep = Sweep::new(&self.total, &mut self.left);
        let (all, leaf) = (self.ranks_here.len() as f64, f64::from(self.growth.leaf.max(1)));
        let (mut rows, mut last, mut best) = (0.0, None, None);
        for (rank, cell) in table.chunks_exact(wide).enumerate() {
            if cell[self.classes] <= 0.0 {
                continue;
            }
            if let Some(last) = last
                && rows >= leaf
                && all - rows >= leaf
            {
                sweep.offer(last, rank, &mut best);
            }
            for (class, weight) in cell[..self.classes].iter().enumerate() {
                if *weight > 0.0 {
                    sweep.take(class, *weight);
                }
            }
            rows += cell[self.classes];
            last = Some(rank);
        }
        self.table = table;
        self.made(column, best)
    }

    fn best_of_sorted(&mut self, column: usize) -> Option<Split> {
        self.sorted.clear();
        let key = |(rank, place): (&u16, u32)| (u32::from(*rank) << 16) | place;
        self.sorted.extend(self.ranks_here.iter().zip(0..).map(key));
        self.sorted.sort_unstable();
        let mut sweep = Sweep::new(&self.total, &mut self.left);
        let leaf = self.growth.leaf.max(1) as usize;
        let all = self.sorted.len();
        let mut best = None;
        let mut last = None;
        for (rows, key) in self.sorted.iter().enumerate() {
            let (rank, place) = ((key >> 16) as usize, (key & 0xFFFF) as usize);
            if let Some(last) = last
                && last != rank
                && rows >= leaf
                && all - rows >= leaf
            {
                sweep.offer(last, rank, &mut best);
            }
            sweep.take(usize::from(self.classes_here[place]), self.weights_here[place]);
            last = Some(rank);
        }
        self.made(column, best)
    }

    fn made(&self, column: usize, best: Option<(usize, usize, f64)>) -> Option<Split> {
        let (last, next, gain) = best?;
        let threshold = self.ranks.middle(column, last, next);
        Some(Split { column, threshold, gain })
    }

    /// Rows to the left first, in their order; the place where the right ones begin.
    fn part(&mut self, from: usize, to: usize, split: &Split) -> usize {
        let last = self.ranks.last_left(split.column, split.threshold);
        let ranks = self.ranks.of(split.column);
        self.spare.clear();
        let mut middle = from;
        for at in from..to {
            let row = self.rows[at];
            if ranks[row as usize] <= last {
                self.rows[middle] = row;
                middle += 1;
            } else {
                self.spare.push(row);
            }
        }
        self.rows[middle..to].copy_from_slice(&self.spare);
        middle
    }
}

impl Growth {
    /// Columns that a split tries, of `q`; a share of 0 means the square root.
    pub(crate) fn tries(&self, q: usize) -> usize {
        let q_f = q as f64;
        let tries = if self.columns > 0.0 { self.columns * q_f } else { libm::sqrt(q_f) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to q")]
        let tries = libm::floor(tries + 1e-9).max(1.0) as usize;
        tries.min(q)
    }
}

/// Rows go over to the left one after another; purity is kept up to date in constant time.
struct Sweep<'a> {
    left: &'a mut [f64],
    total: &'a [f64],
    /// Sums of squares and weights, left and right.
    squares: (f64, f64),
    weights: (f64, f64),
}

impl<'a> Sweep<'a> {
    fn new(total: &'a [f64], left: &'a mut [f64]) -> Self {
        left.fill(0.0);
        let squares = total.iter().map(|x| x * x).sum();
        Self { left, total, squares: (0.0, squares), weights: (0.0, total.iter().sum()) }
    }

    fn take(&mut self, class: usize, weight: f64) {
        let (left, right) = (self.left[class], self.total[class] - self.left[class]);
        self.squares.0 += weight * (2.0 * left + weight);
        self.squares.1 += weight * (weight - 2.0 * right);
        self.weights.0 += weight;
        self.weights.1 -= weight;
        self.left[class] = left + weight;
    }

    fn offer(&self, last: usize, next: usize, best: &mut Option<(usize, usize, f64)>) {
        let gain = self.squares.0 / self.weights.0 + self.squares.1 / self.weights.1;
        if best.is_none_or(|(_, _, most)| gain > most) {
            *best = Some((last, next, gain));
        }
    }
}

/// Sum over both sides of the squared class weights over their sum: least Gini impurity is most.
fn purity(left: &[f64], total: &[f64]) -> f64 {
    let (mut a, mut b, mut wa, mut wb) = (0.0, 0.0, 0.0, 0.0);
    for (l, t) in left.iter().zip(total) {
        let r = t - l;
        a += l * l;
        b += r * r;
        wa += l;
        wb += r;
    }
    a / f64::max(wa, f64::MIN_POSITIVE) + b / f64::max(wb, f64::MIN_POSITIVE)
}
