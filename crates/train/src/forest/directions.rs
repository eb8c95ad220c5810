//! In which directions each cause moves a process away from where it is calm.
//!
//! Runs of a fault are mostly runs of the fault full grown, while a cause is wanted when it has just
//! begun. What stays the same meanwhile is the direction. So the class that moves least, and those
//! that move like it, say what is calm; for every class the generalised eigenvectors of its mean
//! squares about that calm and of the calm covariance say in which directions it departs, and how
//! far. Those whose spread differs most from calm are kept.

use nalgebra::{DMatrix, SymmetricEigen};
use trimloop_core::plan::Directions;

use crate::linear_algebra::{Cholesky, Square};
use crate::table::Table;

/// Most inputs; beyond them the eigenvectors of many classes take too long.
const INPUTS_MAX: usize = 256;
/// Most directions of a class.
const EACH_MAX: usize = 16;
/// Shares of the spread that a part is compared at.
const SIZES: [f64; 6] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0];
/// What a log likelihood of directions counts beside that of votes.
const COUNTS: f64 = 0.4;
/// The most that a part may speak against a class by directions.
const AT_MOST: f64 = 4.0;
/// What a part is worth beside its neighbours: five together are one.
const WORTH: f64 = 0.2;
/// Least share of each variance that is taken out of its covariances, and share per input and row.
const SHRINKAGE: (f64, f64) = (0.02, 0.25);
/// Added to every variance, in typical variances: no direction is believed to be quite still.
const RIDGE: f64 = 1e-3;
/// As [`RIDGE`], where classes are compared by how much they move: one stuck input is no calm.
const FLOOR: f64 = 0.3;
/// Classes whose mean squares are up to so many times those of the calmest are calm too.
const NEAR: f64 = 1.5;

/// Moments of one class in typical deviations.
struct Class {
    mean: Vec<f64>,
    covariance: Square,
}

impl Class {
    /// Mean squares about a centre.
    fn about(&self, centre: &[f64]) -> Square {
        let off: Vec<f64> = self.mean.iter().zip(centre).map(|(mean, c)| mean - c).collect();
        let mut squares = self.covariance.clone();
        squares.add_outer(1.0, &off, &off);
        squares
    }
}

/// Directions of every class; `None` where there are too many inputs, or numbers that no covariance
/// has.
///
/// - `labels`: `[n]` place of each row's class, every class with 2 rows at least.
pub(super) fn find(table: &Table, labels: &[u16], classes: usize) -> Option<Directions> {
    let p = table.columns();
    if p == 0 || p > INPUTS_MAX {
        return None;
    }
    let (centre, scale) = typical(table, labels, classes)?;
    let classes = moments(table, labels, classes, (&centre, &scale));
    let calm = calm(&classes)?;
    let mut ground = calm.covariance;
    ground.diagonal_mut().for_each(|x| *x += RIDGE);
    let ground = Cholesky::new(&ground)?;
    let each = EACH_MAX.min(p);
    let (mut weights, mut spread) = (Vec::new(), Vec::new());
    for class in &classes {
        let mut squares = class.about(&calm.mean);
        squares.diagonal_mut().for_each(|x| *x += RIDGE);
        for (size, mut direction) in departures(&ground, squares).into_iter().take(each) {
            spread.push(size);
            direction.iter_mut().zip(&scale).for_each(|(weight, scale)| *weight /= scale);
            weights.extend(direction);
        }
    }
    let back = calm.mean.iter().zip(&scale).zip(&centre);
    let calm = back.map(|((mean, scale), centre)| centre + mean * scale).collect();
    let found = Directions {
        calm,
        weights,
        spread,
        sizes: SIZES.to_vec(),
        counts: COUNTS,
        at_most: AT_MOST,
        worth: WORTH,
    };
    let finite = |values: &[f64]| values.iter().all(|x| x.is_finite());
    (finite(&found.calm) && finite(&found.weights) && finite(&found.spread)).then_some(found)
}

/// Mean over all rows, and the deviation that is the median over the classes, of every input.
fn typical(table: &Table, labels: &[u16], classes: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let p = table.columns();
    let rows = table.rows() as f64;
    let mut centre = Vec::with_capacity(p);
    let mut scale = Vec::with_capacity(p);
    for column in 0..p {
        let mean = table.column(column).sum::<f64>() / rows;
        let mut sums = vec![(0.0, 0.0, 0.0); classes];
        for (x, label) in table.column(column).zip(labels) {
            let (n, sum, squares) = sums.get_mut(usize::from(*label))?;
            let x = x - mean;
            (*n, *sum, *squares) = (*n + 1.0, *sum + x, *squares + x * x);
        }
        let variance = |(n, sum, squares): &(f64, f64, f64)| {
            let n = n.max(1.0);
            (squares / n - (sum / n) * (sum / n)).max(0.0)
        };
        let mut variances: Vec<f64> = sums.iter().map(variance).collect();
        variances.sort_by(f64::total_cmp);
        let median = variances.get(variances.len() / 2).copied()?;
        let most = variances.last().copied()?;
        // An input that stands still in most classes is measured by the one that moves it most.
        let deviation = libm::sqrt(if median > 0.0 { median } else { most });
        centre.push(mean);
        scale.push(if deviation > 0.0 { deviation } else { 1.0 });
    }
    Some((centre, scale))
}

/// Mean and covariance of every class, the covariances shrunk towards independence.
fn moments(
    table: &Table,
    labels: &[u16],
    classes: usize,
    (centre, scale): (&[f64], &[f64]),
) -> Vec<Class> {
    let p = table.columns();
    let blank = || Class { mean: vec![0.0; p], covariance: Square::zeros(p) };
    let mut found: Vec<Class> = (0..classes).map(|_| blank()).collect();
    let mut rows = vec![0.0; classes];
    let mut z = vec![0.0; p];
    for (row, label) in table.iter().zip(labels) {
        standardise(row, (centre, scale), &mut z);
        let label = usize::from(*label);
        if let (Some(class), Some(rows)) = (found.get_mut(label), rows.get_mut(label)) {
            class.mean.iter_mut().zip(&z).for_each(|(sum, z)| *sum += z);
            *rows += 1.0;
        }
    }
    for (class, rows) in found.iter_mut().zip(&rows) {
        class.mean.iter_mut().for_each(|sum| *sum /= f64::max(*rows, 1.0));
    }
    for (row, label) in table.iter().zip(labels) {
        standardise(row, (centre, scale), &mut z);
        let label = usize::from(*label);
        if let (Some(class), Some(rows)) = (found.get_mut(label), rows.get(label)) {
            z.iter_mut().zip(&class.mean).for_each(|(z, mean)| *z -= mean);
            class.covariance.add_outer(1.0 / f64::max(rows - 1.0, 1.0), &z, &z);
        }
    }
    for (class, rows) in found.iter_mut().zip(&rows) {
        let (least, per_row) = SHRINKAGE;
        let keep = 1.0 - (per_row * p as f64 / rows.max(1.0)).clamp(least, 1.0);
        for (at, row) in class.covariance.rows_mut().enumerate() {
            for (other, x) in row.iter_mut().enumerate() {
                if other != at {
                    *x *= keep;
                }
            }
        }
    }
    found
}

fn standardise(row: &[f64], (centre, scale): (&[f64], &[f64]), z: &mut [f64]) {
    for (z, ((x, centre), scale)) in z.iter_mut().zip(row.iter().zip(centre).zip(scale)) {
        *z = (x - centre) / scale;
    }
}

/// The calmest class and those that move like it, as one.
fn calm(classes: &[Class]) -> Option<Class> {
    let factor = |class: &Class| {
        let mut raised = class.covariance.clone();
        raised.diagonal_mut().for_each(|x| *x += FLOOR);
        Cholesky::new(&raised)
    };
    let size = |class: &Class| {
        factor(class).map(|factor| factor.factor().diagonal().map(libm::log).sum::<f64>())
    };
    let sizes: Vec<f64> = classes.iter().map(size).collect::<Option<_>>()?;
    let calmest = (0..classes.len()).min_by(|a, b| sizes[*a].total_cmp(&sizes[*b]))?;
    let calmest = classes.get(calmest)?;
    let precision = factor(calmest)?.inverse();
    let squares =
        |class: &Class| -> f64 { precision.times(&class.about(&calmest.mean)).diagonal().sum() };
    let limit = NEAR * squares(calmest);
    let p = calmest.mean.len();
    let mut all = Class { mean: vec![0.0; p], covariance: Square::zeros(p) };
    let alike =
        |class: &&Class| -> bool { std::ptr::eq(*class, calmest) || squares(class) < limit };
    let near: Vec<&Class> = classes.iter().filter(alike).collect();
    let share = 1.0 / near.len().max(1) as f64;
    for class in near {
        all.mean.iter_mut().zip(&class.mean).for_each(|(sum, mean)| *sum += share * mean);
        all.covariance.add(share, &class.covariance);
    }
    Some(all)
}

/// Spread and weights of every direction, the one that differs most from calm first.
fn departures(ground: &Cholesky, mut squares: Square) -> Vec<(f64, Vec<f64>)> {
    squares.rows_mut().for_each(|row| ground.forward(row));
    let mut squares = squares.transposed();
    squares.rows_mut().for_each(|row| ground.forward(row));
    let mirrored = squares.transposed();
    squares.add(1.0, &mirrored);
    let p = squares.rows().len();
    let eigen = SymmetricEigen::new(DMatrix::from_vec(p, p, squares.into_values()));
    // Both halves of the mirrored matrix were added.
    let mut found: Vec<(f64, usize)> =
        eigen.eigenvalues.iter().enumerate().map(|(at, x)| ((x / 2.0).max(1e-6), at)).collect();
    let far = |spread: f64| spread - 1.0 - libm::log(spread);
    found.sort_by(|a, b| far(b.0).total_cmp(&far(a.0)));
    let weights = |at: usize| {
        let vector: Vec<f64> = eigen.eigenvectors.column(at).iter().copied().collect();
        // L^-T u, as N^-1 L u.
        let mut weights = vec![0.0; p];
        ground.factor().apply(&vector, &mut weights);
        ground.solve(&mut weights);
        weights
    };
    found.into_iter().map(|(spread, at)| (spread, weights(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    /// Rows of three classes over two inputs that go together: calm, moved along a direction in
    /// which calm rows hardly lie, and calm again.
    fn rows() -> (Table, Vec<u16>) {
        let mut noise = Noise::new(3);
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for class in 0..3_u16 {
            for _ in 0..400 {
                let (both, own) = (noise.normal(), 0.5 * noise.normal());
                let off = if class == 1 { 3.0 * noise.normal() } else { 0.0 };
                rows.push(vec![50.0 + both + own + off, 1000.0 + 10.0 * (both - own - off)]);
                labels.push(class);
            }
        }
        (Table::new(vec!["a".to_owned(), "b".to_owned()], &rows).unwrap(), labels)
    }

    /// Calm sums have variance 1 and do not go together; of the class that moves, the first sum has
    /// the spread that its rows show, along the direction in which it moves.
    #[test]
    fn finds_the_direction() {
        let (table, labels) = rows();
        let found = find(&table, &labels, 3).unwrap();
        assert_eq!((found.calm.len(), found.weights.len(), found.spread.len()), (2, 12, 6));
        assert!((found.calm[0] - 50.0).abs() < 0.2 && (found.calm[1] - 1000.0).abs() < 2.0);
        let sum = |class: usize, at: usize, row: &[f64]| -> f64 {
            let weights = &found.weights[(class * 2 + at) * 2..][..2];
            (0..2).map(|i| weights[i] * (row[i] - found.calm[i])).sum()
        };
        let mean = |of: u16, what: &dyn Fn(&[f64]) -> f64| -> f64 {
            let rows = table.iter().zip(&labels).filter(|(_, label)| **label == of);
            rows.map(|(row, _)| what(row)).sum::<f64>() / 400.0
        };
        for class in 0..3 {
            for at in 0..2 {
                let square = mean(0, &|row| sum(class, at, row).powi(2));
                // Within what shrinkage and 400 rows make of it.
                assert!((square - 1.0).abs() < 0.25, "{square}");
            }
            let product = mean(0, &|row| sum(class, 0, row) * sum(class, 1, row));
            assert!(product.abs() < 0.25, "{product}");
        }
        let square = mean(1, &|row| sum(1, 0, row).powi(2));
        assert!(square > 25.0 && (found.spread[2] / square - 1.0).abs() < 0.1, "{square}");
        let [a, b] = [found.weights[4], found.weights[5]];
        assert!((a / (-10.0 * b) - 1.0).abs() < 0.1, "{a} {b}");
        for calm in [found.spread[0], found.spread[4]] {
            assert!((calm - 1.0).abs() < 0.2, "{calm}");
        }
    }

    /// An input that never changes says nothing; too many inputs are not tried.
    #[test]
    fn odd_inputs() {
        let (table, labels) = rows();
        let wide = |more: usize| {
            let rows: Vec<Vec<f64>> =
                table.iter().map(|row| [row, &vec![7.0; more]].concat()).collect();
            let names = (0..2 + more).map(|i| format!("c{i}")).collect();
            find(&Table::new(names, &rows).unwrap(), &labels, 3)
        };
        let found = wide(1).unwrap();
        assert!((found.spread[3] - find(&table, &labels, 3).unwrap().spread[2]).abs() < 1e-6);
        assert!(wide(INPUTS_MAX - 1).is_none());
    }
}
