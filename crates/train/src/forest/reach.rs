//! The domain of a classifier: how far its rows reach, in each input and in all of them together.
//!
//! What the rows reach is not how far rows like them reach: of inputs without end, fresh rows pass the
//! largest of some hundred now and then. So every fold is measured by the others, and the limits are
//! set where few of the rows that were held out pass them.

use trimloop_core::plan::Reach;

use super::fit::FOLDS;
use crate::linear_algebra::{Cholesky, Square};
use crate::table::Table;

/// Share of held-out rows that the box may leave out, all inputs together.
const BEYOND_BOX: f64 = 0.0025;
/// Share of held-out rows whose T2 may be too large.
const BEYOND_T2: f64 = 0.0075;
/// Ends are widened by this share of the span at least.
const WIDEN_MIN: f64 = 0.02;
/// An input of no more values than this keeps its ends: they are codes, steps or counts, and a value
/// beyond them is one that was never seen.
const VALUES_FEW: usize = 20;
/// Most inputs whose T2 is kept: the work for a part grows with their square.
const INPUTS_MAX: usize = 256;
/// Most rows that covariances are made of: more say next to nothing new.
const ROWS_MAX: usize = 20_000;
/// Share of each variance that is taken out of its covariances: relations that hold almost exactly
/// are not believed to the last digit.
const SHRINKAGE: f64 = 0.01;

/// Lowest and highest value of every input, widened so that few rows like these lie beyond.
///
/// - `fold`: `[n]` fold of each row.
pub(crate) fn span(table: &Table, fold: &[usize]) -> Vec<(f64, f64)> {
    let ends = |column: usize, keep: &dyn Fn(usize) -> bool| {
        let values = table.column(column).zip(fold).filter(|(_, fold)| keep(**fold));
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _)| {
            (low.min(x), high.max(x))
        })
    };
    let mut beyond = vec![0.0_f64; table.rows()];
    let mut spans = Vec::with_capacity(table.columns());
    for column in 0..table.columns() {
        let all = ends(column, &|_| true);
        if is_few(table.column(column)) {
            spans.push((all, false));
            continue;
        }
        let inner: Vec<_> = (0..FOLDS).map(|held| ends(column, &|fold| fold != held)).collect();
        for ((beyond, x), fold) in beyond.iter_mut().zip(table.column(column)).zip(fold) {
            let (low, high) = inner.get(*fold).copied().unwrap_or((x, x));
            // What does not change in the other folds has no span to measure by.
            if high > low {
                *beyond = beyond.max((low - x).max(x - high) / (high - low));
            }
        }
        spans.push((all, true));
    }
    let wider = quantile(&mut beyond, BEYOND_BOX).max(WIDEN_MIN);
    let widened = |((low, high), open): ((f64, f64), bool)| {
        let more = if open { wider * (high - low) } else { 0.0 };
        // Ends of numbers without end stay finite.
        ((low - more).max(f64::MIN), (high + more).min(f64::MAX))
    };
    spans.into_iter().map(widened).collect()
}

/// Whether an input takes few values only.
fn is_few(values: impl Iterator<Item = f64>) -> bool {
    let mut seen: Vec<f64> = Vec::with_capacity(VALUES_FEW + 1);
    for x in values {
        if let Err(at) = seen.binary_search_by(|value| value.total_cmp(&x)) {
            if seen.len() == VALUES_FEW {
                return false;
            }
            seen.insert(at, x);
        }
    }
    true
}

/// Distance from the rows, and the largest of the domain; `None` where there are too many inputs,
/// or numbers that no covariance has.
pub(super) fn find(table: &Table, fold: &[usize]) -> Option<Reach> {
    let p = table.columns();
    if p == 0 || p > INPUTS_MAX || table.rows() < 2 {
        return None;
    }
    let stride = table.rows().div_ceil(ROWS_MAX);
    let scale = Scale::of(table);
    let rows = |held: Option<usize>| {
        let rows = table.iter().zip(fold).step_by(stride);
        rows.filter(move |(_, fold)| Some(**fold) != held).map(|(row, _)| row)
    };
    let mut t2 = Vec::with_capacity(table.rows());
    for held in 0..FOLDS {
        let rest = scale.reach(rows(Some(held)))?;
        let of = table.iter().zip(fold).step_by(stride).filter(|(_, fold)| **fold == held);
        t2.extend(of.map(|(row, _)| rest.t2(row)));
    }
    let t2_out = farthest(&mut t2);
    let found = Reach { t2_out, ..scale.reach(rows(None))? };
    let finite = found.mean.iter().chain(&found.white).chain([&t2_out]).all(|x| x.is_finite());
    (t2_out > 0.0 && finite).then_some(found)
}

/// Largest T2 of the domain from those of rows by the others.
pub(crate) fn farthest(t2: &mut [f64]) -> f64 {
    quantile(t2, BEYOND_T2)
}

/// The value that so small a share of others passes; the largest where they are few.
fn quantile(values: &mut [f64], beyond: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of rows")]
    let above = (values.len() as f64 * beyond) as usize;
    let at = values.len().saturating_sub(1 + above);
    values.get(at).copied().unwrap_or(0.0)
}

/// Where every input lies and how far it spreads, so that covariances are of like numbers.
struct Scale {
    centre: Vec<f64>,
    deviation: Vec<f64>,
}

impl Scale {
    fn of(table: &Table) -> Self {
        let n = table.rows() as f64;
        let (mut centre, mut deviation) = (Vec::new(), Vec::new());
        for column in 0..table.columns() {
            let mean = table.column(column).sum::<f64>() / n;
            let squares: f64 = table.column(column).map(|x| (x - mean) * (x - mean)).sum();
            let found = libm::sqrt(squares / n);
            centre.push(mean);
            // An input that never changes is watched by the box alone.
            deviation.push(if found > 1e-12 * mean.abs() { found } else { f64::INFINITY });
        }
        Self { centre, deviation }
    }

    /// Means and whitening of chosen rows; `t2_out` is none yet.
    fn reach<'t>(&self, rows: impl Iterator<Item = &'t [f64]>) -> Option<Reach> {
        let p = self.centre.len();
        let (mut n, mut sum, mut squares) = (0.0, vec![0.0; p], Square::zeros(p));
        let mut z = vec![0.0; p];
        for row in rows {
            let columns = row.iter().zip(&self.centre).zip(&self.deviation);
            for (z, ((x, centre), deviation)) in z.iter_mut().zip(columns) {
                *z = (x - centre) / deviation;
            }
            n += 1.0;
            sum.iter_mut().zip(&z).for_each(|(sum, z)| *sum += z);
            squares.add_outer(1.0, &z, &z);
        }
        let mean: Vec<f64> = sum.iter().map(|sum| sum / f64::max(n, 1.0)).collect();
        squares.add_outer(-n, &mean, &mean);
        for (at, row) in squares.rows_mut().enumerate() {
            for (other, x) in row.iter_mut().enumerate() {
                *x *= if other == at { 1.0 } else { 1.0 - SHRINKAGE } / f64::max(n - 1.0, 1.0);
                if other == at {
                    *x = x.max(SHRINKAGE);
                }
            }
        }
        let inverse = Cholesky::new(&squares)?.factor_inverse();
        let weights = inverse.rows().enumerate().flat_map(|(at, row)| {
            row.iter().zip(&self.deviation).take(at + 1).map(|(w, deviation)| w / deviation)
        });
        let back = mean.iter().zip(&self.deviation).zip(&self.centre);
        let place = |((mean, deviation), centre): ((&f64, &f64), &f64)| {
            if deviation.is_finite() { centre + mean * deviation } else { *centre }
        };
        let (white, mean) = (weights.collect(), back.map(place).collect());
        Some(Reach { mean, white, t2_out: 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forest::fit::fold_of;
    use crate::noise::Noise;

    /// Rows of eight inputs, of which the last follows the first and one never changes.
    fn rows(seed: u64, n: usize) -> (Table, Vec<usize>) {
        let mut noise = Noise::new(seed);
        let row = |_| {
            let mut row: Vec<f64> = (0..7).map(|i| f64::from(i) + noise.normal()).collect();
            row[6] = 5.0;
            row.push(100.0 - 3.0 * row[0] + 0.3 * noise.normal());
            row
        };
        let rows: Vec<Vec<f64>> = (0..n).map(row).collect();
        let labels = vec![0; n];
        let names = (0..8).map(|i| format!("c{i}")).collect();
        (Table::new(names, &rows).unwrap(), fold_of(&labels, 1, (false, None), seed))
    }

    fn inside(span: &[(f64, f64)], reach: &Reach, row: &[f64]) -> bool {
        let mut ends = row.iter().zip(span);
        ends.all(|(x, (low, high))| low <= x && x <= high) && reach.t2(row) <= reach.t2_out
    }

    /// Of fresh rows about 1 % are out; what is far off, what breaks a relation and what moved though
    /// it never did is.
    #[test]
    fn fresh_rows_are_in() {
        let mut out = 0.0;
        for seed in 0..10 {
            let (table, fold) = rows(seed, 600);
            let (span, reach) = (span(&table, &fold), find(&table, &fold).unwrap());
            let (fresh, _) = rows(100 + seed, 1000);
            out += fresh.iter().filter(|row| !inside(&span, &reach, row)).count() as f64 / 1e4;
            let good = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 100.0];
            assert!(inside(&span, &reach, &good));
            for (at, x) in [(0, 7.0), (6, 5.1), (7, 105.0), (7, f64::MAX)] {
                let mut bad = good;
                bad[at] = x;
                assert!(!inside(&span, &reach, &bad), "{at} {x}");
            }
        }
        assert!(out > 0.003 && out < 0.02, "{out}");
    }

    /// Too many inputs have a box alone, two rows are no reason to fail, and few values keep their ends.
    #[test]
    fn odd_tables() {
        let table = |p: usize, n: usize| {
            let row = |at: usize| (0..p).map(|i| (i * at) as f64).collect();
            let rows: Vec<Vec<f64>> = (0..n).map(row).collect();
            Table::new((0..p).map(|i| format!("c{i}")).collect(), &rows).unwrap()
        };
        assert!(find(&table(INPUTS_MAX + 1, 4), &[0, 1, 2, 3]).is_none());
        let two = table(3, 2);
        if let Some(reach) = find(&two, &[0, 1]) {
            assert!(reach.t2(two.row(0)).is_finite());
        }
        assert_eq!(span(&two, &[0, 1]), [(0.0, 0.0), (0.0, 1.0), (0.0, 2.0)]);
    }
}
