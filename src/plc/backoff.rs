//! Pauses between attempts to connect.

use std::time::Duration;

use super::mutant::{Mutant, broken};

/// Longest pause between two attempts; with a connect of well below a second, data are back
/// within 5 s of a server's return.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Doubling pauses with jitter, so that many clients of one PLC do not come back at once.
pub(super) struct Backoff {
    attempt: u32,
    seed: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { attempt: 0, seed: seed | 1 }
    }

    pub(super) fn next(&mut self) -> Duration {
        let whole = BACKOFF_MIN.saturating_mul(1 << self.attempt.min(10)).min(BACKOFF_MAX);
        if broken(Mutant::NoBackoff) {
            return Duration::from_millis(1);
        }
        self.attempt = self.attempt.saturating_add(1);
        // xorshift64: the jitter needs to differ, not to be unguessable.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let half = whole / 2;
        half + half.mul_f64((self.seed % 1000) as f64 / 1000.0)
    }

    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pauses grow to the cap and no further, and two links do not march in step.
    #[test]
    fn pain_07_pauses_grow_with_jitter() {
        let mut one = Backoff::new(1);
        let mut other = Backoff::new(0xDEAD_BEEF);
        let mut same = 0;
        for attempt in 0..50 {
            let whole = BACKOFF_MIN.saturating_mul(1 << attempt.min(10)).min(BACKOFF_MAX);
            let (a, b) = (one.next(), other.next());
            assert!(a >= whole / 2 && a <= whole && whole <= BACKOFF_MAX);
            same += u32::from(a == b);
        }
        assert!(same < 5);
        one.reset();
        assert!(one.next() <= BACKOFF_MIN);
    }
}
