//! How many rows a column leads another: pre-whitened cross-correlation.
//!
//! Two series with memory are correlated at many lags even where neither drives the other. So an
//! autoregression is fitted to the input, both series are filtered by it, and only then are they
//! correlated (Box and Jenkins, *Time Series Analysis*, chapter 11). What comes out is a proposal
//! for a person; nothing is shifted by itself.

use serde::Serialize;

use super::{Frame, LearnError};

/// Longest autoregression [rows].
const ORDER_MAX: usize = 12;
/// Share of wrong proposals over all lags and columns together.
const ALPHA: f64 = 0.01;

/// What one column has to do with the target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lag {
    /// The column.
    pub column: String,
    /// Rows by which the column leads the target; `None` when no correlation is beyond chance.
    pub lag: Option<usize>,
    /// Correlation of the filtered series at the strongest lag.
    pub r: f64,
    /// Correlation that chance reaches in 1 % of tables, over all lags and columns.
    pub limit: f64,
    /// Rows the correlation rests on.
    pub rows: usize,
}

/// Lags of every column of numbers that changes, strongest first.
///
/// - `max`: longest lag [rows].
///
/// # Errors
/// No such target, too few rows, cells that are no numbers.
pub fn lags(
    frame: &Frame,
    target: &str,
    ignore: &[String],
    max: usize,
) -> Result<Vec<Lag>, LearnError> {
    let y = frame.need(target)?.numbers()?;
    let n = frame.rows();
    if n < 3 * max.max(ORDER_MAX) || n < 50 {
        let need = (3 * max.max(ORDER_MAX)).max(50);
        let why = format!("{n} rows are too few for lags up to {max}: at least {need} are needed");
        return Err(LearnError::Train(why));
    }
    let usable = |column: &&super::Column| {
        column.name != target && !column.is_text() && !ignore.contains(&column.name)
    };
    let columns: Vec<&super::Column> = frame.columns().iter().filter(usable).collect();
    let tests = ((max + 1) * columns.len().max(1)) as f64;
    let mut found = Vec::new();
    for column in columns {
        let x = column.numbers()?;
        let Some(weights) = autoregression(x) else { continue };
        let (x, y) = (filtered(x, &weights), filtered(y, &weights));
        let (x, y) = (centred(&x), centred(&y));
        let size = |z: &[f64]| z.iter().filter(|z| z.is_finite()).map(|z| z * z).sum::<f64>();
        let scale = (size(&x) * size(&y)).sqrt();
        if scale <= 0.0 {
            continue;
        }
        let at = |lag: usize| {
            let pairs = x.iter().zip(y.iter().skip(lag)).map(|(a, b)| a * b);
            pairs.filter(|z| z.is_finite()).sum::<f64>() / scale
        };
        let strongest = (0..=max).map(|lag| (lag, at(lag)));
        let strongest = strongest.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        let Some((lag, r)) = strongest else { continue };
        let rows = x.iter().zip(&y).filter(|(a, b)| (**a + **b).is_finite()).count();
        let limit = normal_quantile(1.0 - ALPHA / 2.0 / tests) / (rows.max(1) as f64).sqrt();
        let lag = (r.abs() > limit).then_some(lag);
        found.push(Lag { column: column.name.clone(), lag, r, limit, rows });
    }
    found.sort_by(|a, b| b.r.abs().total_cmp(&a.r.abs()).then_with(|| a.column.cmp(&b.column)));
    Ok(found)
}

/// Weights of an autoregression by Levinson and Durbin, its order by the criterion of Akaike;
/// `None` for a series that does not change.
fn autoregression(x: &[f64]) -> Option<Vec<f64>> {
    let x = centred(x);
    let n = x.iter().filter(|x| x.is_finite()).count() as f64;
    let covariance: Vec<f64> = (0..=ORDER_MAX)
        .map(|lag| {
            let pairs = x.iter().zip(x.iter().skip(lag)).map(|(a, b)| a * b);
            pairs.filter(|z| z.is_finite()).sum::<f64>() / n
        })
        .collect();
    let first = covariance.first().copied().filter(|c| *c > 1e-300)?;
    let mut weights: Vec<f64> = Vec::new();
    let mut error = first;
    let mut best = (n * error.ln(), Vec::new());
    for order in 1..=ORDER_MAX {
        let known = weights.iter().enumerate();
        let known = known.map(|(i, w)| w * covariance.get(order - 1 - i).copied().unwrap_or(0.0));
        let reflection =
            (covariance.get(order).copied().unwrap_or(0.0) - known.sum::<f64>()) / error;
        let turned: Vec<f64> = weights.iter().rev().copied().collect();
        for (weight, other) in weights.iter_mut().zip(turned) {
            *weight -= reflection * other;
        }
        weights.push(reflection);
        error *= 1.0 - reflection * reflection;
        if error <= first * 1e-12 {
            break;
        }
        let criterion = n * error.ln() + 2.0 * order as f64;
        if criterion < best.0 {
            best = (criterion, weights.clone());
        }
    }
    Some(best.1)
}

/// What the autoregression does not foresee.
fn filtered(x: &[f64], weights: &[f64]) -> Vec<f64> {
    let residual = |row: usize| {
        let past = weights.iter().enumerate().map(|(i, w)| {
            w * row.checked_sub(i + 1).and_then(|at| x.get(at)).copied().unwrap_or(f64::NAN)
        });
        x.get(row).copied().unwrap_or(f64::NAN) - past.sum::<f64>()
    };
    (0..x.len()).map(residual).collect()
}

fn centred(x: &[f64]) -> Vec<f64> {
    let known = || x.iter().copied().filter(|x| x.is_finite());
    let mean = known().sum::<f64>() / known().count().max(1) as f64;
    x.iter().map(|x| x - mean).collect()
}

/// Quantile of the standard normal for 0.5 < p < 1 (Abramowitz and Stegun 26.2.23, error below
/// 4.5e-4).
fn normal_quantile(p: f64) -> f64 {
    let t = (-2.0 * (1.0 - p).max(1e-300).ln()).sqrt();
    let top = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let bottom = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    t - top / bottom
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::learn::FrameBuilder;
    use crate::learn::evaluate::Random;
    use crate::learn::frame::Cell;

    /// `x` with memory, `y` follows it 7 rows later, `z` has the same memory and nothing to do
    /// with either.
    fn frame(seed: u64) -> Frame {
        let mut random = Random(seed);
        let mut noise = || {
            let sum: usize = (0..12).map(|_| random.below(1 << 20)).sum();
            sum as f64 / f64::from(1 << 20) - 6.0
        };
        let (mut x, mut z) = (vec![0.0], vec![0.0]);
        for row in 0..600 {
            x.push(0.9 * x[row] + noise());
            z.push(0.9 * z[row] + noise());
        }
        let mut builder = FrameBuilder::default();
        let columns = ["x", "y", "z"].map(|name| (name.to_owned(), String::new()));
        let places = builder.begin(Path::new("t.csv"), &columns, None).unwrap();
        for row in 10..600 {
            let y = -0.5 * x[row - 7] + 0.5 * noise();
            for (place, value) in places.iter().zip([x[row], y, z[row]]) {
                builder.cell(*place, Cell::Number(value));
            }
            builder.end_row();
        }
        builder.finish().unwrap()
    }

    /// The true lag is proposed with its sign; a stranger with as much memory is not.
    #[test]
    fn finds_the_lag_and_no_other() {
        for seed in 1..=10 {
            let found = lags(&frame(seed), "y", &[], 30).unwrap();
            assert_eq!(found[0].column, "x", "{found:?}");
            assert_eq!(found[0].lag, Some(7), "{found:?}");
            assert!(found[0].r < -0.3, "{found:?}");
            assert_eq!(found[1].lag, None, "{found:?}");
        }
        assert!(lags(&frame(1), "y", &[], 500).is_err());
        assert!(lags(&frame(1), "w", &[], 10).is_err());
    }

    /// Quantiles as tabulated.
    #[test]
    fn quantiles() {
        for (p, z) in [(0.975, 1.959_96), (0.995, 2.575_83), (0.999_95, 3.890_59)] {
            assert!((normal_quantile(p) - z).abs() < 5e-4, "{p}");
        }
    }
}
