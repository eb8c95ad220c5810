//! Small dense matrices in plain loops: no kernel that depends on the processor, so that the same
//! rows give the same model on every machine.

/// A square matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Square {
    p: usize,
    values: Vec<f64>,
}

impl Square {
    pub(crate) fn zeros(p: usize) -> Self {
        Self { p, values: vec![0.0; p * p] }
    }

    pub(crate) fn rows(&self) -> impl DoubleEndedIterator<Item = &[f64]> + ExactSizeIterator {
        self.values.chunks_exact(self.p.max(1))
    }

    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        self.values.chunks_exact_mut(self.p.max(1))
    }

    pub(crate) fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// Adds `weight * a b'`.
    pub(crate) fn add_outer(&mut self, weight: f64, a: &[f64], b: &[f64]) {
        for (row, a) in self.rows_mut().zip(a) {
            let a = weight * a;
            for (x, b) in row.iter_mut().zip(b) {
                *x += a * b;
            }
        }
    }

    /// Adds `weight * other`.
    pub(crate) fn add(&mut self, weight: f64, other: &Self) {
        for (x, y) in self.values.iter_mut().zip(&other.values) {
            *x += weight * y;
        }
    }

    pub(crate) fn diagonal(&self) -> impl Iterator<Item = f64> {
        self.values.iter().step_by(self.p + 1).copied()
    }

    pub(crate) fn diagonal_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        self.values.iter_mut().step_by(self.p + 1)
    }

    pub(crate) fn transposed(&self) -> Self {
        let columns = (0..self.p).flat_map(|c| self.values.iter().skip(c).step_by(self.p));
        Self { p: self.p, values: columns.copied().collect() }
    }

    /// `self * other`.
    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut product = Self::zeros(self.p);
        for (out, row) in product.rows_mut().zip(self.rows()) {
            for (x, other) in row.iter().zip(other.rows()) {
                for (out, y) in out.iter_mut().zip(other) {
                    *out += x * y;
                }
            }
        }
        product
    }

    /// `self * x`.
    pub(crate) fn apply(&self, x: &[f64], out: &mut [f64]) {
        for (out, row) in out.iter_mut().zip(self.rows()) {
            *out = row.iter().zip(x).map(|(a, b)| a * b).sum();
        }
    }
}

/// Lower Cholesky factor of a symmetric positive definite matrix.
pub(crate) struct Cholesky(Square);

impl Cholesky {
    /// `None` when the matrix is not positive definite.
    pub(crate) fn new(matrix: &Square) -> Option<Self> {
        let p = matrix.p;
        let mut factor = Square::zeros(p);
        for (index, values) in matrix.rows().enumerate() {
            let (above, rest) = factor.values.split_at_mut(index * p);
            let row = rest.get_mut(..p)?;
            for (column, value) in values.iter().take(index + 1).enumerate() {
                let done = row.get(..column)?;
                let other = above.get(column * p..).filter(|_| column < index).unwrap_or(done);
                let sum: f64 = done.iter().zip(other).map(|(a, b)| a * b).sum();
                let left = value - sum;
                let entry = if column < index {
                    left / other.get(column)?
                } else if left > 0.0 {
                    libm::sqrt(left)
                } else {
                    return None;
                };
                *row.get_mut(column)? = entry;
            }
        }
        Some(Self(factor))
    }

    /// `matrix^-1 right`, every row of `right` a right-hand side.
    pub(crate) fn solve_rows(&self, right: &Square) -> Square {
        let mut solved = right.clone();
        let upper = self.0.transposed();
        for x in solved.rows_mut() {
            self.solve_with(&upper, x);
        }
        solved
    }

    /// `matrix^-1 x`, in place.
    pub(crate) fn solve(&self, x: &mut [f64]) {
        self.solve_with(&self.0.transposed(), x);
    }

    /// - `upper`: the transposed factor.
    fn solve_with(&self, upper: &Square, x: &mut [f64]) {
        self.forward(x);
        for (index, row) in upper.rows().enumerate().rev() {
            let (head, done) = x.split_at_mut(index + 1);
            let sum: f64 = row.iter().skip(index + 1).zip(&*done).map(|(a, b)| a * b).sum();
            if let (Some(x), Some(diagonal)) = (head.last_mut(), row.get(index)) {
                *x = (*x - sum) / diagonal;
            }
        }
    }

    /// `factor^-1 x`, in place.
    pub(crate) fn forward(&self, x: &mut [f64]) {
        for (index, row) in self.0.rows().enumerate() {
            let (done, rest) = x.split_at_mut(index);
            let sum: f64 = row.iter().zip(&*done).map(|(a, b)| a * b).sum();
            if let (Some(x), Some(diagonal)) = (rest.first_mut(), row.get(index)) {
                *x = (*x - sum) / diagonal;
            }
        }
    }

    /// The lower factor.
    pub(crate) fn factor(&self) -> &Square {
        &self.0
    }

    /// `factor^-1`, lower triangular as the factor is.
    pub(crate) fn factor_inverse(&self) -> Square {
        let mut columns = Square::zeros(self.0.p);
        columns.diagonal_mut().for_each(|x| *x = 1.0);
        columns.rows_mut().for_each(|column| self.forward(column));
        columns.transposed()
    }

    /// `matrix^-1`, exactly symmetric.
    pub(crate) fn inverse(&self) -> Square {
        let mut identity = Square::zeros(self.0.p);
        identity.diagonal_mut().for_each(|x| *x = 1.0);
        let mut inverse = self.solve_rows(&identity);
        let mirrored = inverse.transposed();
        for (x, y) in inverse.values.iter_mut().zip(&mirrored.values) {
            *x = f64::midpoint(*x, *y);
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::Noise;

    fn random(p: usize, noise: &mut Noise) -> Square {
        let mut matrix = Square::zeros(p);
        matrix.values.iter_mut().for_each(|x| *x = noise.normal());
        matrix
    }

    /// The inverse undoes the matrix, solutions solve, and what is no covariance is refused.
    #[test]
    fn inverts_and_solves() {
        let mut noise = Noise::new(4);
        for p in [1, 2, 7, 30] {
            let root = random(p, &mut noise);
            let mut matrix = root.times(&root.transposed());
            matrix.diagonal_mut().for_each(|x| *x += 0.5);
            let factor = Cholesky::new(&matrix).unwrap();
            let unit = matrix.times(&factor.inverse());
            for (index, x) in unit.values.iter().enumerate() {
                let expect = f64::from(u8::from(index % (p + 1) == 0));
                assert!((x - expect).abs() < 1e-9, "{x} at {index} of {p}");
            }
            let right = random(p, &mut noise);
            let back = factor.solve_rows(&right).times(&matrix);
            for (x, y) in back.values.iter().zip(&right.values) {
                assert!((x - y).abs() < 1e-8, "{x} instead of {y}");
            }
            matrix.diagonal_mut().for_each(|x| *x = -*x);
            assert!(Cholesky::new(&matrix).is_none());
        }
        assert!(Cholesky::new(&Square::zeros(2)).is_none());
    }
}
