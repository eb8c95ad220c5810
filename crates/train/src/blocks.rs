//! Blocks of time: how rows are held out, and quantiles of what was held out.

use std::ops::Range;

/// Cuts `n` rows into `count` contiguous blocks whose lengths differ by at most one.
pub(crate) fn blocks(n: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).map(move |block| block * n / count..(block + 1) * n / count)
}

/// Whether row `index` may train a model that is judged on `held`: it lies at least `gap` rows
/// away, so that no neighbour leaks what the held-out rows look like.
pub(crate) fn trains(index: usize, held: &Range<usize>, gap: usize) -> bool {
    index.saturating_add(gap) < held.start || index >= held.end.saturating_add(gap)
}

/// The `rank`-th largest value, counted from 1; `None` when there are fewer. Sorts `values`.
pub(crate) fn largest(values: &mut [f64], rank: usize) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.len().checked_sub(rank).and_then(|index| values.get(index)).copied()
}

/// Half width of a split conformal interval: the `ceil((n+1) level)`-th smallest of `n` absolute
/// residuals (`methods.md` section 2). `None` when `n` is too small for the level. Sorts them.
pub fn conformal(residuals: &mut [f64], level: f64) -> Option<f64> {
    // 1e-9: (9 + 1) * 0.9 must not become 10 by a rounding of the level.
    let rank = libm::ceil((residuals.len() as f64 + 1.0) * level - 1e-9);
    residuals.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to n+1")]
    let rank = rank as usize;
    rank.checked_sub(1).and_then(|index| residuals.get(index)).copied()
}

/// Lag-1 autocorrelation; 0 when the values do not change.
pub(crate) fn lag1(values: &[f64]) -> f64 {
    trimloop_core::drift::correlation(values, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks cover every row once; the gap keeps neighbours out on both sides.
    #[test]
    fn covers() {
        let all: Vec<usize> = blocks(23, 5).flatten().collect();
        assert_eq!(all, (0..23).collect::<Vec<_>>());
        let kept: Vec<usize> = (0..12).filter(|i| trains(*i, &(4..7), 2)).collect();
        assert_eq!(kept, [0, 1, 9, 10, 11]);
    }

    /// 9 rows are the fewest for 90 %, 19 for 95 % (`methods.md` section 2).
    #[test]
    fn conformal_ranks() {
        let of = |n: u32, level| conformal(&mut (1..=n).map(f64::from).collect::<Vec<_>>(), level);
        assert_eq!(of(8, 0.9), None);
        assert_eq!(of(9, 0.9), Some(9.0));
        assert_eq!(of(18, 0.95), None);
        assert_eq!(of(19, 0.95), Some(19.0));
        assert_eq!(of(99, 0.9), Some(90.0));
        assert_eq!(of(0, 0.9), None);
        assert_eq!(largest(&mut [3.0, 9.0, 5.0], 2), Some(5.0));
        assert_eq!(largest(&mut [3.0], 2), None);
    }
}
