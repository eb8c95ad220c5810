//! Sums over pairs of neighbouring rows, from which a transition is fitted without the rows.

use nalgebra::{DMatrix, SymmetricEigen};

use crate::linear_algebra::{Cholesky, Square};

/// Share of each error's variance that is taken out of its covariance with the others: relations
/// that hold almost exactly in some hundred rows are not believed to the last digit.
const SHRINKAGE: f64 = 0.01;
/// Smallest error variance, in variances of the variable: what repeats itself exactly in training
/// may still move by a thousandth of its spread.
const ERROR_MIN: f64 = 1e-6;

/// From what of the row before each row is predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// All of it, by ridge regression; the ridge in pairs.
    Ridge(f64),
    /// So many of its canonical variates; the ridge as above.
    Canonical(f64, usize),
    /// Nothing: the mean is expected.
    Mean,
}

/// Sums over pairs (row before, row) of standardised rows.
#[derive(Clone, Debug)]
pub(super) struct Pairs {
    n: f64,
    before: Vec<f64>,
    after: Vec<f64>,
    before_before: Square,
    /// Row: variable after; column: variable before.
    after_before: Square,
    after_after: Square,
}

/// How the next row follows from one.
#[derive(Clone, Debug)]
pub(super) struct Transition {
    /// `[p]` mean of the standardised rows.
    pub(super) mean: Vec<f64>,
    /// Row: variable expected; column: variable before.
    pub(super) matrix: Square,
}

impl Pairs {
    pub(super) fn new(p: usize) -> Self {
        Self {
            n: 0.0,
            before: vec![0.0; p],
            after: vec![0.0; p],
            before_before: Square::zeros(p),
            after_before: Square::zeros(p),
            after_after: Square::zeros(p),
        }
    }

    pub(super) fn add(&mut self, before: &[f64], after: &[f64]) {
        self.n += 1.0;
        for (sums, row) in [(&mut self.before, before), (&mut self.after, after)] {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
        self.before_before.add_outer(1.0, before, before);
        self.after_before.add_outer(1.0, after, before);
        self.after_after.add_outer(1.0, after, after);
    }

    /// Adds `weight` times the sums of others; -1 takes pairs out again.
    pub(super) fn merge(&mut self, weight: f64, other: &Self) {
        self.n += weight * other.n;
        for (sums, others) in [(&mut self.before, &other.before), (&mut self.after, &other.after)] {
            for (sum, x) in sums.iter_mut().zip(others) {
                *sum += weight * x;
            }
        }
        self.before_before.add(weight, &other.before_before);
        self.after_before.add(weight, &other.after_before);
        self.after_after.add(weight, &other.after_after);
    }

    /// Ridge regression of each row on the one before, both from the mean of the pairs; `ridge`
    /// in pairs. `None` when even the ridge leaves it undefined.
    pub(super) fn transition(&self, ridge: f64) -> Option<Transition> {
        let mean: Vec<f64> = self.after.iter().map(|sum| sum / self.n.max(1.0)).collect();
        let (mut before_before, after_before, _) = self.centred(&mean);
        before_before.diagonal_mut().for_each(|x| *x += ridge * self.n);
        let matrix = Cholesky::new(&before_before)?.solve_rows(&after_before);
        Some(Transition { mean, matrix })
    }

    /// How the next row is expected from one; `None` as for [`Pairs::transition`].
    pub(super) fn expectation(&self, way: Way) -> Option<Transition> {
        match way {
            Way::Ridge(ridge) => self.transition(ridge),
            Way::Canonical(ridge, rank) => self.canonical(ridge, rank),
            Way::Mean => {
                let mean: Vec<f64> = self.after.iter().map(|sum| sum / self.n.max(1.0)).collect();
                Some(Transition { matrix: Square::zeros(mean.len()), mean })
            }
        }
    }

    /// The ridge transition through the `rank` canonical variates that go most with the next row:
    /// canonical variate analysis with a past of one row.
    ///
    /// With the covariance of the rows `L L'` and `A` the ridge transition, `U` the leading
    /// eigenvectors of `L^-1 A S_before,after L^-T`, it is `L U U' L^-1 A`.
    fn canonical(&self, ridge: f64, rank: usize) -> Option<Transition> {
        let full = self.transition(ridge)?;
        let (_, after_before, mut after_after) = self.centred(&full.mean);
        after_after.diagonal_mut().for_each(|x| *x += ridge * self.n);
        let factor = Cholesky::new(&after_after)?;
        let mut explained = full.matrix.times(&after_before.transposed());
        explained.rows_mut().for_each(|row| factor.forward(row));
        let mut explained = explained.transposed();
        explained.rows_mut().for_each(|row| factor.forward(row));
        let p = self.after.len();
        let mirrored = explained.transposed();
        explained.add(1.0, &mirrored);
        let eigen = SymmetricEigen::new(DMatrix::from_vec(p, p, explained.into_values()));
        let mut order: Vec<usize> = (0..p).collect();
        order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
        let mut onto = Square::zeros(p);
        for column in order.into_iter().take(rank) {
            let vector: Vec<f64> = eigen.eigenvectors.column(column).iter().copied().collect();
            onto.add_outer(1.0, &vector, &vector);
        }
        let mut whitened = full.matrix.transposed();
        whitened.rows_mut().for_each(|row| factor.forward(row));
        let through = onto.times(&whitened.transposed());
        Some(Transition { matrix: factor.factor().times(&through), mean: full.mean })
    }

    /// Sum of the outer products of the errors that a transition makes on these pairs.
    pub(super) fn errors(&self, transition: &Transition) -> Square {
        let (before_before, after_before, mut sum) = self.centred(&transition.mean);
        let cross = transition.matrix.times(&after_before.transposed());
        sum.add(-1.0, &cross);
        sum.add(-1.0, &cross.transposed());
        let spread = transition.matrix.times(&before_before);
        sum.add(1.0, &spread.times(&transition.matrix.transposed()));
        sum
    }

    /// Inverse covariance of the errors, shrunk towards independence.
    pub(super) fn precision(&self, transition: &Transition) -> Option<Square> {
        let errors = self.errors(transition);
        let mut covariance = Square::zeros(self.after.len());
        covariance.add((1.0 - SHRINKAGE) / self.n.max(1.0), &errors);
        for (x, error) in covariance.diagonal_mut().zip(errors.diagonal()) {
            *x += SHRINKAGE * error / self.n.max(1.0) + ERROR_MIN;
        }
        Some(Cholesky::new(&covariance)?.inverse())
    }

    pub(super) fn count(&self) -> f64 {
        self.n
    }

    /// The three sums of products, counted from `mean`.
    fn centred(&self, mean: &[f64]) -> (Square, Square, Square) {
        let about = |products: &Square, left: &[f64], right: &[f64]| {
            let mut centred = products.clone();
            centred.add_outer(-1.0, left, mean);
            centred.add_outer(-1.0, mean, right);
            centred.add_outer(self.n, mean, mean);
            centred
        };
        (
            about(&self.before_before, &self.before, &self.before),
            about(&self.after_before, &self.after, &self.before),
            about(&self.after_after, &self.after, &self.after),
        )
    }
}
