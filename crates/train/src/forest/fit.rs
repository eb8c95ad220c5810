//! From rows and classes to a calibrated plan.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use trimloop_core::plan::{ForestPlan, Step};

use super::derive::{self, Named, small};
use super::grow::TREE_ROWS_MAX;
use super::held_out::{HeldOut, judge, weights};
use super::{Grown, Growth, Labelled, Ranks, calibrate, directions, grow, plan, reach, vote};
use crate::blocks::blocks;
use crate::noise::Noise;
use crate::table::{Table, TrainError};

/// Fewest rows that a classifier is trained on.
const ROWS_MIN: usize = 20;
/// Trees of a screening.
const SCREEN_TREES: usize = 30;
/// Parts that are held out in turn.
pub(crate) const FOLDS: usize = 5;
/// A trial with more columns must lower the log loss by this share to be taken.
const WORTH: f64 = 0.01;
/// Weight of the newest row in the means and deviations of a diagnosis: ten rows of memory.
const NEWEST: f64 = 0.1;
/// Probability that the cause of a row is that of the row before: it may change once in as many
/// rows as the columns remember, for a change that is faster they could not show.
const STAYS: f64 = 1.0 - NEWEST;
/// Most rows that a leaf of a tree over a long table must hold.
const LEAF_MAX: u32 = 5;

/// What is asked of a fit.
pub struct ForestOptions<'a> {
    /// Trees of the result, 10 to 2000.
    pub trees: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Columns derived by hand: name and step over inputs.
    pub steps: Vec<Named>,
    /// Propose further columns.
    pub propose: bool,
    /// `[p]` unit of each input: differences are proposed within one unit.
    pub units: Vec<String>,
    /// `[p]` inputs that hold codes of words, which nothing is derived from.
    pub coded: Vec<bool>,
    /// Rows are in the order of time: hold out blocks of them, not rows at random.
    pub blocked: bool,
    /// Runs of a process, each of one class, over which evidence accumulates; `None` judges each
    /// row alone.
    pub runs: Option<Vec<Range<usize>>>,
    /// Told what is being done, steps done and steps in all; `false` asks to stop.
    pub progress: &'a (dyn Fn(&str, u64, u64) -> bool + Sync),
}

/// A trained forest and what is known about it.
#[derive(Clone, Debug)]
pub struct ForestFit {
    /// The plan; its inputs are the columns of the table.
    pub plan: ForestPlan,
    /// `[q]` names of its columns.
    pub columns: Vec<String>,
    /// `[q]` share of the purity that the splits on each gave, summing to 1.
    pub importance: Vec<f64>,
    /// What held-out rows say about it.
    pub held_out: HeldOut,
    /// Ways that were tried, and their log loss on held-out rows; the chosen one first.
    pub tried: Vec<(String, f64)>,
    /// Whether blocks of time were held out.
    pub blocked: bool,
    /// Rows that each tree was grown on, where those are not all.
    pub tree_rows: Option<usize>,
}

/// One way of growing over one choice of columns.
#[derive(Clone, Copy)]
struct Way {
    /// Proposed columns, the best first; 0 for none.
    proposed: usize,
    random: bool,
    /// Share of the columns at each split, 0 for the root.
    share: f64,
}

impl Way {
    fn words(self) -> String {
        let how = if self.random { "random thresholds" } else { "best thresholds" };
        let share = if self.share > 0.0 {
            format!("{:.0} % of the columns a split", 100.0 * self.share)
        } else {
            "root of the columns a split".to_owned()
        };
        match self.proposed {
            0 => format!("{how}, {share}"),
            n => format!("{how}, {share}, up to {n} proposed columns"),
        }
    }
}

/// From the simplest on.
const WAYS: [Way; 8] = [
    Way { proposed: 0, random: false, share: 0.0 },
    Way { proposed: 0, random: false, share: 0.6 },
    Way { proposed: 0, random: true, share: 0.0 },
    Way { proposed: 4, random: false, share: 0.6 },
    Way { proposed: 12, random: false, share: 0.6 },
    Way { proposed: 24, random: false, share: 0.0 },
    Way { proposed: 24, random: true, share: 0.0 },
    Way { proposed: 80, random: true, share: 0.0 },
];

/// Fits a forest.
///
/// - `labels`: `[n]` place of each row's class in `classes`.
///
/// # Errors
/// Fewer than 20 rows or 2 of a class, a derived column that is not finite,
/// [`TrainError::Stopped`].
pub fn fit_forest(
    table: &Table,
    labels: &[u16],
    classes: &[String],
    options: &ForestOptions<'_>,
) -> Result<ForestFit, TrainError> {
    check(table, labels, classes, options)?;
    let work = AtomicU64::new(0);
    Fit { table, labels, classes, options, done: work }.run()
}

fn check(
    table: &Table,
    labels: &[u16],
    classes: &[String],
    options: &ForestOptions<'_>,
) -> Result<(), TrainError> {
    let (n, p) = (table.rows(), table.columns());
    if labels.len() != n {
        return Err(TrainError::Labels { labels: labels.len(), rows: n });
    }
    if n < ROWS_MIN {
        return Err(TrainError::TooFewRows { have: n, need: ROWS_MIN, what: "a classifier" });
    }
    let high = trimloop_core::plan::COLUMNS_MAX;
    let have = match options.runs {
        Some(_) => 4 * p,
        None => p + options.steps.len(),
    };
    if p == 0 || have > high {
        return Err(TrainError::Columns { have, low: 1, high, what: "a classifier" });
    }
    if !(10..=2000).contains(&options.trees) {
        return Err(TrainError::Option("a forest has 10 to 2000 trees"));
    }
    if !(2..=trimloop_core::plan::CLASSES_MAX).contains(&classes.len()) {
        return Err(TrainError::Option("a classifier tells 2 to 64 classes apart"));
    }
    for (class, name) in classes.iter().enumerate() {
        let rows = labels.iter().filter(|label| usize::from(**label) == class).count();
        if rows < 2 {
            return Err(TrainError::Class { class: name.clone(), rows, need: 2 });
        }
    }
    Ok(())
}

/// Of a table of more rows than a tree may have, a part spread over all of them says which way is
/// better.
const TRIED_ROWS: usize = 10_000;

struct Fit<'a> {
    table: &'a Table,
    labels: &'a [u16],
    classes: &'a [String],
    options: &'a ForestOptions<'a>,
    /// Trees grown so far.
    done: AtomicU64,
}

/// What trains while one fold is held out.
struct Cut {
    train: Vec<u32>,
    /// Proposed columns by what they tell on those rows, the best first.
    screened: Vec<usize>,
}

/// Columns to grow on, and which of them were proposed.
struct Grounds {
    data: Labelled,
    ranks: Ranks,
    /// Behind the inputs.
    steps: Vec<Named>,
    /// Place of the first proposed column.
    given: usize,
}

impl Fit<'_> {
    fn run(&self) -> Result<ForestFit, TrainError> {
        let grounds = self.grounds()?;
        let fold = self.folds();
        let train: Vec<Vec<u32>> = (0..FOLDS).map(|held| self.train_rows(&fold, held)).collect();
        let cuts: Vec<Cut> = train
            .into_iter()
            .map(|train| Ok(Cut { screened: self.screen(&grounds, &train)?, train }))
            .collect::<Result<_, TrainError>>()?;
        if self.options.runs.is_some() {
            let way = Way { proposed: 0, random: true, share: 0.1 };
            return self.finish(&grounds, way, (&fold, &cuts), Vec::new());
        }
        let ways: Vec<Way> = if grounds.steps.len() + self.table.columns() > grounds.given {
            WAYS.to_vec()
        } else {
            WAYS.iter().copied().filter(|way| way.proposed == 0).collect()
        };
        let losses = self.losses(&grounds, (&fold, &cuts), &ways)?;
        let mut best = 0;
        for at in 1..ways.len() {
            if losses[at] < losses[best] * (1.0 - WORTH) {
                best = at;
            }
        }
        let mut tried: Vec<(String, f64)> =
            ways.iter().zip(&losses).map(|(way, loss)| (way.words(), *loss)).collect();
        let chosen = tried.remove(best);
        tried.insert(0, chosen);
        self.finish(&grounds, ways[best], (&fold, &cuts), tried)
    }

    /// Trees of the whole fit, nearly: what is screened depends on what is found.
    fn work(&self) -> u64 {
        let (trees, folds) = (self.options.trees, FOLDS);
        let held_out = folds * self.fold_trees();
        let (screens, ways) = match (self.options.runs.is_some(), self.options.propose) {
            (true, _) => (0, 0),
            (false, true) => (folds + 2, WAYS.len()),
            (false, false) => (0, WAYS.iter().filter(|way| way.proposed == 0).count()),
        };
        let tried = screens * SCREEN_TREES + folds * ways * self.tried_trees();
        (tried + held_out + trees) as u64
    }

    /// Whether there are more rows than one tree may have.
    fn is_long(&self) -> bool {
        self.labels.len() > TREE_ROWS_MAX
    }

    /// Half the trees say nearly as well what to expect; many rows say it with a quarter.
    fn fold_trees(&self) -> usize {
        (self.options.trees / if self.is_long() { 4 } else { 2 }).max(10)
    }

    /// Many rows say with fewer trees which way is better.
    fn tried_trees(&self) -> usize {
        if self.is_long() { 20 } else { (120_000 / self.labels.len().max(1)).clamp(30, 60) }
    }

    /// Each how many rows one is used to try ways.
    fn stride(&self) -> usize {
        if self.is_long() { self.labels.len().div_ceil(TRIED_ROWS) } else { 1 }
    }

    /// Rows that a leaf must hold. Single rows of a long table would make its trees large, not
    /// better.
    fn leaf(&self) -> u32 {
        if self.options.runs.is_some() {
            return 3;
        }
        u32::try_from(self.labels.len() / TREE_ROWS_MAX).unwrap_or(LEAF_MAX).clamp(1, LEAF_MAX)
    }

    /// Grows trees, telling after each how far the fit is.
    fn grow(
        &self,
        what: &str,
        ground: (&Ranks, &Labelled),
        growth: &Growth,
        (allowed, train): (&[usize], &[u32]),
    ) -> Result<Vec<Grown>, TrainError> {
        let all = self.work();
        let grown = || {
            let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
            (self.options.progress)(what, done.min(all), all)
        };
        let trees = grow(ground.0, ground.1, growth, (allowed, train), &grown);
        trees.ok_or(TrainError::Stopped)
    }

    fn grounds(&self) -> Result<Grounds, TrainError> {
        let p = self.table.columns();
        let mut steps = self.options.steps.clone();
        let mut starts = Vec::new();
        if let Some(runs) = &self.options.runs {
            starts.extend(runs.iter().map(|run| run.start));
            steps = dynamic(self.table.names());
        }
        let given = p + steps.len();
        if self.options.runs.is_none() && self.options.propose {
            steps.extend(derive::proposals(self.table, self.options, &self.order()?));
        }
        let columns = derive::columns(self.table, &steps, &starts)?;
        let ranks = Ranks::new(&columns);
        let labels = self.labels.to_vec();
        let data = Labelled { columns, labels, classes: self.classes.len() };
        Ok(Grounds { data, ranks, steps, given })
    }

    /// Inputs by what they tell alone, most first: which of many are paired.
    fn order(&self) -> Result<Vec<usize>, TrainError> {
        let inputs: Vec<usize> = (0..self.table.columns()).collect();
        let Ok(columns) = derive::columns(self.table, &[], &[]) else { return Ok(inputs) };
        let ranks = Ranks::new(&columns);
        let labels = self.labels.to_vec();
        let data = Labelled { columns, labels, classes: self.classes.len() };
        let growth = Growth { trees: SCREEN_TREES, seed: self.options.seed, ..Growth::default() };
        let all = self.rows(|_| true);
        let trees = self.grow("looking", (&ranks, &data), &growth, (&inputs, &all))?;
        Ok(derive::ranked(&trees, &data.columns, &inputs))
    }

    fn rows(&self, keep: impl Fn(usize) -> bool) -> Vec<u32> {
        (0..self.labels.len())
            .filter(|row| keep(*row))
            .map(|row| u32::try_from(row).unwrap_or(u32::MAX))
            .collect()
    }

    fn folds(&self) -> Vec<usize> {
        let (labels, runs) = (self.labels, self.options.runs.as_deref());
        let blocked = self.options.blocked;
        fold_of(labels, self.classes.len(), (blocked, runs), self.options.seed)
    }

    fn train_rows(&self, fold: &[usize], held: usize) -> Vec<u32> {
        let blocked = self.options.blocked || self.options.runs.is_some();
        train_rows(fold, held, blocked)
    }

    fn screen(&self, grounds: &Grounds, train: &[u32]) -> Result<Vec<usize>, TrainError> {
        let all: Vec<usize> = (0..grounds.data.columns.len()).collect();
        let proposed: Vec<usize> = (grounds.given..all.len()).collect();
        if proposed.is_empty() {
            return Ok(proposed);
        }
        let growth = Growth {
            trees: SCREEN_TREES,
            columns: 0.15,
            seed: self.options.seed ^ 0x5C4E,
            ..Growth::default()
        };
        let ground = (&grounds.ranks, &grounds.data);
        let trees = self.grow("screening", ground, &growth, (&all, train))?;
        Ok(derive::ranked(&trees, &grounds.data.columns, &proposed))
    }

    fn trees(
        &self,
        grounds: &Grounds,
        (what, way): (&str, Way),
        count: usize,
        train: &[u32],
        screened: &[usize],
    ) -> Result<(Vec<usize>, Vec<Grown>), TrainError> {
        let mut allowed: Vec<usize> = (0..grounds.given).collect();
        allowed.extend(screened.iter().take(way.proposed));
        let growth = Growth {
            trees: count,
            columns: way.share,
            leaf: self.leaf(),
            random: way.random,
            seed: self.options.seed,
            ..Growth::default()
        };
        let ground = (&grounds.ranks, &grounds.data);
        let trees = self.grow(what, ground, &growth, (&allowed, train))?;
        Ok((allowed, trees))
    }

    fn outputs(&self) -> usize {
        if self.classes.len() == 2 { 1 } else { self.classes.len() }
    }

    /// Log loss of every way after calibration, over the same folds; columns are screened anew in
    /// each, on the rows that train.
    fn losses(
        &self,
        grounds: &Grounds,
        (fold, cuts): (&[usize], &[Cut]),
        ways: &[Way],
    ) -> Result<Vec<f64>, TrainError> {
        let judged: Vec<usize> = (0..fold.len()).step_by(self.stride()).collect();
        let blank = vec![vec![0.0; self.outputs()]; judged.len()];
        let mut votes = vec![blank; ways.len()];
        for (held, cut) in cuts.iter().enumerate() {
            let train: Vec<u32> = cut.train.iter().copied().step_by(self.stride()).collect();
            for (way, votes) in ways.iter().zip(&mut votes) {
                let (count, screened) = (self.tried_trees(), &cut.screened);
                let (_, trees) = self.trees(grounds, ("trying", *way), count, &train, screened)?;
                let rows = judged.iter().copied().zip(votes);
                vote_held(grounds, &trees, rows.filter(|(row, _)| fold[*row] == held));
            }
        }
        let labels: Vec<u16> = judged.iter().map(|row| self.labels[*row]).collect();
        let fold: Vec<usize> = judged.iter().map(|row| fold[*row]).collect();
        let loss = |votes: &Vec<Vec<f64>>| {
            let (slope, bias) = calibrate::fit(votes, &labels, self.outputs());
            let even = vec![1.0; self.classes.len()];
            judge(votes, &labels, &fold, self.classes, (slope, &bias, &even)).log_loss
        };
        Ok(votes.iter().map(loss).collect())
    }

    fn finish(
        &self,
        grounds: &Grounds,
        way: Way,
        (fold, cuts): (&[usize], &[Cut]),
        tried: Vec<(String, f64)>,
    ) -> Result<ForestFit, TrainError> {
        let mut votes = vec![vec![0.0; self.outputs()]; fold.len()];
        for (held, cut) in cuts.iter().enumerate() {
            let (what, count) = (("holding out", way), self.fold_trees());
            let (_, trees) = self.trees(grounds, what, count, &cut.train, &cut.screened)?;
            let rows = votes.iter_mut().enumerate();
            vote_held(grounds, &trees, rows.filter(|(row, _)| fold[*row] == held));
        }
        let (slope, bias) = calibrate::fit(&votes, self.labels, self.outputs());
        let said: Vec<Vec<f64>> =
            votes.iter().map(|v| calibrate::probabilities(v, slope, &bias)).collect();
        let weights = weights(&said, self.labels, self.classes.len());
        let held_out = judge(&votes, self.labels, fold, self.classes, (slope, &bias, &weights));
        let all = self.rows(|_| true);
        let screened = if way.proposed > 0 { self.screen(grounds, &all)? } else { Vec::new() };
        let (what, count) = (("growing", way), self.options.trees);
        let (allowed, trees) = self.trees(grounds, what, count, &all, &screened)?;
        let mut fit = self.plan(grounds, &allowed, trees);
        calibrate::apply(&mut fit.0, slope, bias);
        fit.0.weights = weights;
        fit.0.span = reach::span(self.table, fold);
        fit.0.reach = reach::find(self.table, fold);
        if self.options.runs.is_some() {
            let votes = calibrate::likeness(&votes, self.labels, self.classes.len());
            fit.0.remember = Some(STAYS);
            fit.0.likeness = Some(votes);
            fit.0.directions = directions::find(self.table, self.labels, self.classes.len());
        }
        let (plan, columns, importance) = fit;
        let blocked = self.options.blocked || self.options.runs.is_some();
        let tree_rows = self.is_long().then_some(TREE_ROWS_MAX);
        Ok(ForestFit { plan, columns, importance, held_out, tried, blocked, tree_rows })
    }

    /// The plan with those columns that a split looks at; inputs stay in any case.
    fn plan(
        &self,
        grounds: &Grounds,
        allowed: &[usize],
        trees: Vec<Grown>,
    ) -> (ForestPlan, Vec<String>, Vec<f64>) {
        let p = self.table.columns();
        let mut gains = vec![0.0; grounds.data.columns.len()];
        for tree in &trees {
            for (sum, gain) in gains.iter_mut().zip(&tree.gains) {
                *sum += gain;
            }
        }
        let used = |column: &usize| *column < p || gains[*column] > 0.0;
        let kept: Vec<usize> = allowed.iter().copied().filter(used).collect();
        let mut place = vec![0; gains.len()];
        for (at, column) in kept.iter().enumerate() {
            place[*column] = small(at);
        }
        let behind = || kept.iter().filter(|column| **column >= p).map(|c| &grounds.steps[c - p]);
        let steps: Vec<Step> = behind().map(|(_, step)| *step).collect();
        let mut names = self.table.names().to_vec();
        names.extend(behind().map(|(name, _)| name.clone()));
        let all: f64 = gains.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let importance = kept.iter().map(|column| gains[*column] / all).collect();
        let plan = plan(trees, p, steps, &place, self.classes.to_vec());
        (plan, names, importance)
    }
}

/// The fold of each row: blocks of time (of each run), else every class dealt out evenly.
pub(crate) fn fold_of(
    labels: &[u16],
    classes: usize,
    (blocked, runs): (bool, Option<&[Range<usize>]>),
    seed: u64,
) -> Vec<usize> {
    let n = labels.len();
    let mut fold = vec![0; n];
    if blocked || runs.is_some() {
        for run in runs.unwrap_or(std::slice::from_ref(&(0..n))) {
            for (at, block) in blocks(run.len(), FOLDS).enumerate() {
                fold[run.start + block.start..run.start + block.end].fill(at);
            }
        }
        return fold;
    }
    let mut noise = Noise::new(seed ^ 0x00F0_1D5A);
    let mut next = 0;
    for class in 0..classes {
        let of = |row: &usize| usize::from(labels[*row]) == class;
        let mut rows: Vec<usize> = (0..n).filter(of).collect();
        for at in (1..rows.len()).rev() {
            rows.swap(at, noise.below(at + 1));
        }
        for row in rows {
            fold[row] = next % FOLDS;
            next += 1;
        }
    }
    fold
}

/// Rows that may train what is judged on a fold: in blocks of time, neighbours stay out too.
pub(crate) fn train_rows(fold: &[usize], held: usize, blocked: bool) -> Vec<u32> {
    let gap = if blocked { (fold.len() / 500).clamp(1, 20) } else { 0 };
    let near = |row: usize| {
        let from = row.saturating_sub(gap);
        let to = (row + gap + 1).min(fold.len());
        fold[from..to].contains(&held)
    };
    (0..fold.len())
        .filter(|row| fold[*row] != held && (gap == 0 || !near(*row)))
        .map(|row| u32::try_from(row).unwrap_or(u32::MAX))
        .collect()
}

/// Level, deviation and roughness of every input, as they have lately been.
fn dynamic(names: &[String]) -> Vec<Named> {
    let of = |kind: &str, make: fn(u16) -> Step| -> Vec<Named> {
        let named =
            |(place, name): (usize, &String)| (format!("{kind} of {name}"), make(small(place)));
        names.iter().enumerate().map(named).collect()
    };
    let mut steps = of("mean", |of| Step::Mean { of, weight: NEWEST });
    steps.extend(of("deviation", |of| Step::Deviation { of, weight: NEWEST }));
    steps.extend(of("roughness", |of| Step::Successive { of, weight: NEWEST }));
    steps
}

/// Votes of trees on rows that they were not grown on.
fn vote_held<'v>(
    grounds: &Grounds,
    trees: &[Grown],
    rows: impl Iterator<Item = (usize, &'v mut Vec<f64>)>,
) {
    vote(trees, &grounds.data.columns, &mut rows.collect::<Vec<_>>());
}
