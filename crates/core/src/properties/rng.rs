//! A small deterministic generator, so that a run is its seed and nothing else.

/// `SplitMix64`: one addition and three mixes per number.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 to `n - 1`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n.max(1)).unwrap_or(1);
        usize::try_from(self.next() % n).unwrap_or(0)
    }

    /// `low` to `high`, both included.
    pub(super) fn range(&mut self, low: i64, high: i64) -> i64 {
        let span = high.abs_diff(low).saturating_add(1);
        low.saturating_add_unsigned(self.next() % span)
    }

    /// True in so many of 1000 cases.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.next() % 1000 < permille
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let index = self.below(of.len());
        of[index]
    }

    /// -1 to 1.
    pub(super) fn noise(&mut self) -> f64 {
        self.range(-1_000_000, 1_000_000) as f64 / 1e6
    }
}
