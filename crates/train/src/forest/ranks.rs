//! Columns as ranks of their distinct `f32` values: what trees are grown on.

/// Rows up to which every distinct value is a possible threshold, below 65,536; above, columns are
/// cut into [`BINS`] bins of equal share.
const EXACT_ROWS: usize = 20_000;
/// Bins of a column of many rows: a threshold is then off by a 256th of the rows at most, which the
/// mean over trees evens out, and a split costs a pass over the bins instead of a sort (as
/// `LightGBM` does, Ke 2017, with as many).
const BINS: usize = 256;

/// `n` rows of `q` columns, each value replaced by its rank.
#[derive(Clone, Debug)]
pub(crate) struct Ranks {
    /// 16 bits hold [`EXACT_ROWS`] and [`BINS`]; half the memory is half the time of a split.
    ranks: Vec<Vec<u16>>,
    /// Of each column and rank the least and the largest value.
    values: Vec<Vec<(f32, f32)>>,
}

impl Ranks {
    /// From columns `[q][n]` of finite numbers.
    pub(crate) fn new(columns: &[Vec<f32>]) -> Self {
        let mut ranks = Vec::with_capacity(columns.len());
        let mut values = Vec::with_capacity(columns.len());
        for column in columns {
            let mut sorted = column.clone();
            sorted.sort_unstable_by(f32::total_cmp);
            let cells = cells(&sorted);
            let rank = |x: &f32| {
                let place = cells.partition_point(|(_, high)| high < x);
                u16::try_from(place).unwrap_or(u16::MAX)
            };
            ranks.push(column.iter().map(rank).collect());
            values.push(cells);
        }
        Self { ranks, values }
    }

    pub(crate) fn columns(&self) -> usize {
        self.ranks.len()
    }

    /// Ranks of a column, `[n]`.
    pub(crate) fn of(&self, column: usize) -> &[u16] {
        &self.ranks[column]
    }

    pub(crate) fn distinct(&self, column: usize) -> usize {
        self.values[column].len()
    }

    /// The middle between two ranks that follow each other in a node, rounded down.
    pub(crate) fn middle(&self, column: usize, last: usize, next: usize) -> f32 {
        down(f64::midpoint(
            f64::from(self.values[column][last].1),
            f64::from(self.values[column][next].0),
        ))
    }

    /// A threshold between two ranks, at `share` (above 0 to 1) of the way down from the higher.
    pub(crate) fn between(&self, column: usize, low: u16, high: u16, share: f64) -> f32 {
        let a = f64::from(self.values[column][usize::from(low)].1);
        let b = f64::from(self.values[column][usize::from(high)].0);
        // Rounding down may not pass below the lower value: it is itself an f32.
        down(b - share * (b - a))
            .min(self.values[column][usize::from(high)].0.next_down())
            .max(self.values[column][usize::from(low)].1)
    }

    /// The last rank that goes left at a threshold. Bins lie on one side as a whole: the one that
    /// a threshold cuts goes left.
    pub(crate) fn last_left(&self, column: usize, threshold: f32) -> u16 {
        let place = self.values[column].partition_point(|(low, _)| *low <= threshold);
        u16::try_from(place.saturating_sub(1)).unwrap_or(u16::MAX)
    }
}

/// Distinct values, or bins of neighbouring values.
fn cells(sorted: &[f32]) -> Vec<(f32, f32)> {
    let mut cells: Vec<(f32, f32)> = Vec::new();
    let share = if sorted.len() > EXACT_ROWS { sorted.len().div_ceil(BINS) } else { 1 };
    let mut rows = 0;
    for x in sorted {
        match cells.last_mut() {
            // Equal values share a cell; -0.0 equals 0.0.
            Some((_, high)) if *high >= *x || rows < share => *high = *x,
            _ => {
                cells.push((*x, *x));
                rows = 0;
            }
        }
        rows += 1;
    }
    cells
}

/// The largest `f32` at most `x`.
fn down(x: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounded, then corrected")]
    let near = x as f32;
    if f64::from(near) > x { near.next_down() } else { near }
}
