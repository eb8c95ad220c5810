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
    /// (Breiman 2001).
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
    sorted: Vec<u64>,
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
        if self.growth.random {
            self.rows.extend_from_slice(train);
            for row in train {
                self.times[*row as usize] = 1;
            }
            return;
        }
        self.times.fill(0);
        for _ in 0..train.len() {
            let row = train[noise.below(train.len())] as usize;
            self.times[row] = self.times[row].saturating_add(1);
        }
        self.rows.extend(train.iter().filter(|row| self.times[**row as usize] > 0));
    }

    fn weight(&self, row: u32) -> (usize, f64) {
        let class = usize::from(self.labels[row as usize]);
        (class, f64::from(self.times[row as usize]) * self.class_weights[class])
    }

    fn count(&mut self, from: usize, to: usize) {
        self.total.fill(0.0);
        for at in from..to {
            let (class, weight) = self.weight(self.rows[at]);
            self.total[class] += weight;
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
            let (low, high) = self.range(from, to, column);
            if low == high {
                continue;
            }
            tries -= 1;
            let found = if self.growth.random {
                self.random_split(from, to, column, (low, high), noise)
            } else {
                self.best_split(from, to, column)
            };
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.gain > best.gain)
            {
                best = Some(found);
            }
        }
        best
    }

    fn range(&self, from: usize, to: usize, column: usize) -> (u32, u32) {
        let ranks = self.ranks.of(column);
        let of = |row: &u32| ranks[*row as usize];
        let rows = &self.rows[from..to];
        rows.iter().map(of).fold((u32::MAX, 0), |(low, high), x| (low.min(x), high.max(x)))
    }

    fn random_split(
        &mut self,
        from: usize,
        to: usize,
        column: usize,
        (low, high): (u32, u32),
        noise: &mut Noise,
    ) -> Option<Split> {
        let threshold = self.ranks.between(column, low, high, noise.uniform());
        let last = self.ranks.last_left(column, threshold);
        self.left.fill(0.0);
        let ranks = self.ranks.of(column);
        let mut rows = 0;
        for at in from..to {
            let row = self.rows[at];
            if ranks[row as usize] <= last {
                rows += 1;
                let (class, weight) = self.weight(row);
                self.left[class] += weight;
            }
        }
        let leaf = self.growth.leaf as usize;
        if rows < leaf || to - from - rows < leaf {
            return None;
        }
        let gain = purity(&self.left, &self.total);
        Some(Split { column, threshold, gain })
    }

    /// The threshold of largest purity. Few distinct values are counted, many are sorted.
    fn best_split(&mut self, from: usize, to: usize, column: usize) -> Option<Split> {
        let distinct = self.ranks.distinct(column);
        if distinct * self.classes <= 2 * (to - from) {
            self.best_of_table(from, to, column, distinct)
        } else {
            self.best_of_sorted(from, to, column)
        }
    }

    fn best_of_table(
        &mut self,
        from: usize,
        to: usize,
        column: usize,
        distinct: usize,
    ) -> Option<Split> {
        // Of each rank the weight by class, then the rows.
        let wide = self.classes + 1;
        self.table.clear();
        self.table.resize(distinct * wide, 0.0);
        let ranks = self.ranks.of(column);
        for at in from..to {
            let row = self.rows[at];
            let (class, weight) = self.weight(row);
            let cell = ranks[row as usize] as usize * wide;
            self.table[cell + class] += weight;
            self.table[cell + self.classes] += 1.0;
        }
        let mut sweep = Sweep::new(&self.total, &mut self.left);
        let (all, leaf) = ((to - from) as f64, f64::from(self.growth.leaf.max(1)));
        let (mut rows, mut last, mut best) = (0.0, None, None);
        for (rank, cell) in self.table.chunks_exact(wide).enumerate() {
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
        self.made(column, best)
    }

    fn best_of_sorted(&mut self, from: usize, to: usize, column: usize) -> Option<Split> {
        let ranks = self.ranks.of(column);
        let mut sorted = std::mem::take(&mut self.sorted);
        sorted.clear();
        let key = |row: &u32| (u64::from(ranks[*row as usize]) << 32) | u64::from(*row);
        sorted.extend(self.rows[from..to].iter().map(key));
        sorted.sort_unstable();
        let mut left = std::mem::take(&mut self.left);
        let mut sweep = Sweep::new(&self.total, &mut left);
        let leaf = self.growth.leaf.max(1) as usize;
        let mut best = None;
        let mut last = None;
        for (rows, key) in sorted.iter().enumerate() {
            #[expect(clippy::cast_possible_truncation, reason = "two halves of 32 bits")]
            let (rank, row) = ((key >> 32) as usize, *key as u32);
            if let Some(last) = last
                && last != rank
                && rows >= leaf
                && to - from - rows >= leaf
            {
                sweep.offer(last, rank, &mut best);
            }
            let (class, weight) = self.weight(row);
            sweep.take(class, weight);
            last = Some(rank);
        }
        self.left = left;
        self.sorted = sorted;
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
