//! Training rows, and what can be wrong with them.

use thiserror::Error;

/// Rows of history in time order, `n` rows of `p` named columns, all finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    names: Vec<String>,
    values: Vec<f64>,
}

/// Why a model is not fitted. Rows and columns are counted from 1.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TrainError {
    /// A row has more or fewer values than there are columns.
    #[error("row {row} has {have} values, the table has {need} columns")]
    RowLength {
        /// The row.
        row: usize,
        /// Its values.
        have: usize,
        /// The columns.
        need: usize,
    },
    /// A value is NaN or infinite.
    #[error("row {row} of {column} is not a finite number; leave out rows with gaps")]
    NotFinite {
        /// The row.
        row: usize,
        /// Name of the column.
        column: String,
    },
    /// Not enough history.
    #[error("{have} rows are too few: {what} needs at least {need}")]
    TooFewRows {
        /// Rows given.
        have: usize,
        /// Rows needed.
        need: usize,
        /// For what.
        what: &'static str,
    },
    /// Too few or too many columns.
    #[error("{have} columns: {what} takes {low} to {high}")]
    Columns {
        /// Columns given.
        have: usize,
        /// Fewest.
        low: usize,
        /// Most.
        high: usize,
        /// Which fit.
        what: &'static str,
    },
    /// Columns that never change tell nothing and cannot be scaled.
    #[error("these columns do not change in the training rows, leave them out: {}", .0.join(", "))]
    Constant(Vec<String>),
    /// More components were asked for than the rows carry.
    #[error("{asked} components were asked for, the rows carry 1 to {most}")]
    Components {
        /// Asked for.
        asked: usize,
        /// Most that leave a residual and carry variance.
        most: usize,
    },
    /// An option is out of range.
    #[error("{0}")]
    Option(&'static str),
    /// The number of labels is not the number of rows.
    #[error("{labels} labels for {rows} rows: each row needs one")]
    Labels {
        /// Labels given.
        labels: usize,
        /// Rows given.
        rows: usize,
    },
    /// The columns determine one another, so that coefficients are not defined.
    #[error("some columns repeat others exactly; set a ridge above 0 or leave columns out")]
    Singular,
    /// The number of feature ids is not that of the columns.
    #[error("{have} feature ids for {need} columns")]
    Ids {
        /// Ids given.
        have: usize,
        /// Columns of the fit.
        need: usize,
    },
    /// A class has too few rows to be told apart.
    #[error("class {class} has {rows} row, {need} at least must be there")]
    Class {
        /// Name of the class.
        class: String,
        /// Its rows.
        rows: usize,
        /// Rows needed.
        need: usize,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Stopped,
    /// A distribution had no such quantile.
    #[error("no limit could be worked out: {0}")]
    Limit(#[from] crate::LimitError),
}

impl Table {
    /// Checks rows and takes them over.
    ///
    /// # Errors
    /// [`TrainError::RowLength`] or [`TrainError::NotFinite`] for the first bad row.
    pub fn new(names: Vec<String>, rows: &[Vec<f64>]) -> Result<Self, TrainError> {
        let mut values = Vec::with_capacity(rows.len() * names.len());
        for (index, row) in rows.iter().enumerate() {
            let (have, need) = (row.len(), names.len());
            if have != need {
                return Err(TrainError::RowLength { row: index + 1, have, need });
            }
            if let Some((_, column)) = row.iter().zip(&names).find(|(x, _)| !x.is_finite()) {
                return Err(TrainError::NotFinite { row: index + 1, column: column.clone() });
            }
            values.extend_from_slice(row);
        }
        Ok(Self { names, values })
    }

    /// Names of the columns, `[p]`.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Number of rows n; 0 without columns.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.names.len()).unwrap_or(0)
    }

    /// Number of columns p.
    pub fn columns(&self) -> usize {
        self.names.len()
    }

    /// One row, `[p]`, counted from 0; empty behind the last.
    pub fn row(&self, index: usize) -> &[f64] {
        let p = self.names.len();
        self.values.get(index * p..(index + 1) * p).unwrap_or(&[])
    }

    /// All rows in time order.
    pub fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.names.len().max(1))
    }

    /// One column from top to bottom, counted from 0.
    pub fn column(&self, index: usize) -> impl Iterator<Item = f64> {
        self.iter().filter_map(move |row| row.get(index).copied())
    }
}

/// Mean and standard deviation of each column over chosen rows.
#[derive(Clone, Debug)]
pub(crate) struct Scaling {
    /// `[p]`.
    pub(crate) mean: Vec<f64>,
    /// `[p]`, each > 0.
    pub(crate) scale: Vec<f64>,
}

impl Scaling {
    /// Over every row.
    ///
    /// # Errors
    /// [`TrainError::Constant`] with the name of every column that does not change.
    pub(crate) fn of(table: &Table) -> Result<Self, TrainError> {
        let (mean, scale) = moments(table, |_| true);
        let flat = |((mean, scale), _): &((&f64, &f64), &String)| {
            // Rounding of a constant column leaves a deviation of a few ulps of its mean.
            **scale <= 1e-12 * mean.abs().max(f64::MIN_POSITIVE)
        };
        let columns = mean.iter().zip(&scale).zip(&table.names);
        let constant: Vec<_> = columns.filter(flat).map(|(_, name)| name.clone()).collect();
        if constant.is_empty() {
            Ok(Self { mean, scale })
        } else {
            Err(TrainError::Constant(constant))
        }
    }

    /// Over the rows that `keep` takes; a column that is still there keeps its scale of all rows.
    pub(crate) fn of_rows(&self, table: &Table, keep: impl Fn(usize) -> bool) -> Self {
        let (mean, mut scale) = moments(table, keep);
        for (scale, all) in scale.iter_mut().zip(&self.scale) {
            if *scale < 1e-3 * all {
                *scale = *all;
            }
        }
        Self { mean, scale }
    }

    /// z-scores of one row into `z`.
    pub(crate) fn apply(&self, row: &[f64], z: &mut [f64]) {
        let columns = row.iter().zip(&self.mean).zip(&self.scale);
        for (z, ((x, mean), scale)) in z.iter_mut().zip(columns) {
            *z = (x - mean) / scale;
        }
    }
}

/// Means and standard deviations (divisor n-1), two passes.
fn moments(table: &Table, keep: impl Fn(usize) -> bool) -> (Vec<f64>, Vec<f64>) {
    let p = table.columns();
    let (mut mean, mut scale, mut n) = (vec![0.0; p], vec![0.0; p], 0.0);
    let rows = || table.iter().enumerate().filter(|(index, _)| keep(*index));
    for (_, row) in rows() {
        n += 1.0;
        for (mean, x) in mean.iter_mut().zip(row) {
            *mean += x;
        }
    }
    for mean in &mut mean {
        *mean /= f64::max(n, 1.0);
    }
    for (_, row) in rows() {
        for (scale, (x, mean)) in scale.iter_mut().zip(row.iter().zip(&mean)) {
            *scale += (x - mean) * (x - mean);
        }
    }
    for scale in &mut scale {
        *scale = libm::sqrt(*scale / f64::max(n - 1.0, 1.0));
    }
    (mean, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("c{i}")).collect()
    }

    /// Bad rows are named as an engineer counts them.
    #[test]
    fn refuses_bad_rows() {
        let error = Table::new(names(2), &[vec![1.0, 2.0], vec![3.0]]).unwrap_err();
        assert_eq!(error, TrainError::RowLength { row: 2, have: 1, need: 2 });
        let error = Table::new(names(2), &[vec![1.0, 2.0], vec![3.0, f64::NAN]]).unwrap_err();
        assert_eq!(error, TrainError::NotFinite { row: 2, column: "c1".to_owned() });
        assert!(error.to_string().contains("row 2 of c1"));
        let table = Table::new(names(0), &[]).unwrap();
        assert_eq!((table.rows(), table.iter().count()), (0, 0));
    }

    /// All constant columns are named at once, rounding included.
    #[test]
    fn names_constant_columns() {
        let rows: Vec<_> = (0..9).map(|i| vec![0.1 + 0.2, f64::from(i), 0.0]).collect();
        let error = Scaling::of(&Table::new(names(3), &rows).unwrap()).unwrap_err();
        assert_eq!(error, TrainError::Constant(vec!["c0".to_owned(), "c2".to_owned()]));
    }
}
