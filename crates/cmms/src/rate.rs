//! How often a product is asked.

use trimloop_core::time::{Span, Utc};

/// A bucket of tokens, kept as the one time at which it is full again (the generic cell rate
/// algorithm).
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// Requests that may follow one another at once.
    burst: i64,
    /// One more request after this time.
    every: Span,
    full_at: Utc,
}

impl Bucket {
    /// `per_minute` requests in any minute, a quarter of them at once; at least one.
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_minute = i64::from(per_minute.max(1));
        let burst = (per_minute / 4).max(1);
        // What comes at once and what comes after it make up the minute.
        let rest = (per_minute - burst).max(1);
        let every = Span::from_nanos(60_000_000_000 / rest);
        Self { burst, every, full_at: Utc::from_nanos(i64::MIN) }
    }

    /// Takes a token, or says when there will be one.
    pub(crate) fn take(&mut self, now: Utc) -> Result<(), Utc> {
        let all = self.every.times(self.burst);
        // A clock that was set back must not stop us for as long as it was.
        let full_at = self.full_at.max(now).min(now + all);
        let free_at = full_at + self.every - all;
        if free_at > now {
            self.full_at = full_at;
            return Err(free_at);
        }
        self.full_at = full_at + self.every;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Utc {
        Utc::from_millis(1_795_876_876_000 + millis)
    }

    /// Whoever asks as fast as it may is let through so often in each minute.
    #[test]
    fn no_minute_holds_more() {
        for per_minute in [1, 2, 7, 60, 100] {
            let mut bucket = Bucket::new(per_minute);
            let mut taken = Vec::new();
            let mut now = at(0);
            while now < at(300_000) {
                match bucket.take(now) {
                    Ok(()) => taken.push(now),
                    Err(next) => {
                        assert!(next > now);
                        now = next;
                    }
                }
            }
            for first in &taken {
                let minute = Span::from_secs(60);
                let inside = taken.iter().filter(|t| **t >= *first && **t - *first < minute);
                let count = inside.count();
                assert!(count <= usize::try_from(per_minute).unwrap(), "{per_minute}: {count}");
            }
            let expected = usize::try_from(per_minute * 5).unwrap();
            assert!(taken.len() * 2 >= expected, "{per_minute}: {} in five minutes", taken.len());
        }
    }

    #[test]
    fn a_clock_set_back_stops_nobody_for_long() {
        let mut bucket = Bucket::new(60);
        assert_eq!(bucket.take(at(86_400_000)), Ok(()));
        while bucket.take(at(0)).is_ok() {}
        assert!(bucket.take(at(0)).unwrap_err() <= at(2000));
    }
}
