//! How long from a change to a verified write: a histogram of fixed size.
//!
//! A round trip begins when the newest sample of the scan that made the write was received, and
//! ends with the scan in which the ledger says Confirmed. Wall time.

use trimloop_core::time::{Mono, Span};

/// Steps per doubling: 64 keep a percentile within 1.6 %.
const STEPS: u64 = 64;
/// Up to 2^40 µs, 12 days.
const BUCKETS: usize = 64 * 36;
/// Writes that may be under way at a time: one per setpoint.
const UNDER_WAY: usize = trimloop_core::plan::SETPOINTS_MAX;

/// Round trips by duration.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    largest: Span,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), total: 0, largest: Span::ZERO }
    }
}

/// A histogram in four numbers [ms]; zero when there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Round trips.
    pub count: u64,
    /// Half of them were at most this long.
    pub p50_ms: f64,
    /// 99 % of them were at most this long.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    // The top 7 bits: which doubling, which of its 64 steps.
    let shift = u64::from(micros.ilog2()) - 6;
    (STEPS * shift + (micros >> shift)) as usize
}

/// Upper end of a bucket [µs].
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    (((bucket - STEPS * shift) + 1) << shift) - 1
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, span: Span) {
        let micros = u64::try_from(span.as_nanos()).unwrap_or(0) / 1000;
        if let Some(count) = self.counts.get_mut(bucket(micros).min(BUCKETS - 1)) {
            *count += 1;
        }
        self.total += 1;
        self.largest = self.largest.max(span);
    }

    /// Copies another one's counts, without allocating.
    pub fn copy_from(&mut self, other: &Self) {
        self.counts.copy_from_slice(&*other.counts);
        self.total = other.total;
        self.largest = other.largest;
    }

    /// Adds another one's counts.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.total += other.total;
        self.largest = self.largest.max(other.largest);
    }

    /// The smallest duration [ms] that `share` (0 to 1) of the round trips do not exceed.
    #[must_use]
    pub fn percentile_ms(&self, share: f64) -> f64 {
        let wanted = (share * self.total as f64).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return (upper(at) as f64 / 1e3).min(self.largest.as_secs_f64() * 1e3);
            }
        }
        0.0
    }

    /// The usual numbers.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.total,
            p50_ms: self.percentile_ms(0.50),
            p99_ms: self.percentile_ms(0.99),
            max_ms: self.largest.as_secs_f64() * 1e3,
        }
    }
}

/// Measures round trips.
#[derive(Debug)]
pub struct Stopwatch {
    under_way: [Option<(u64, Mono)>; UNDER_WAY],
    next: usize,
    /// The result.
    pub histogram: Histogram,
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self { under_way: [None; UNDER_WAY], next: 0, histogram: Histogram::default() }
    }
}

impl Stopwatch {
    /// A write was made from a change that was received at `change`.
    pub fn begin(&mut self, write: u64, change: Mono) {
        if let Some(slot) = self.under_way.get_mut(self.next) {
            *slot = Some((write, change));
        }
        self.next = (self.next + 1) % UNDER_WAY;
    }

    /// It was confirmed in a scan at `now`.
    pub fn confirm(&mut self, write: u64, now: Mono) {
        let slot = self.under_way.iter_mut().find(|slot| slot.is_some_and(|(w, _)| w == write));
        if let Some((_, change)) = slot.and_then(Option::take) {
            self.histogram.add(now - change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Buckets cover every duration without a gap, and none is wider than 1/64 of its value.
    #[test]
    fn buckets_are_seamless() {
        for micros in (0..100_000).chain((0..39).map(|power| (1 << power) + 1)) {
            let at = bucket(micros);
            assert!(at < BUCKETS && micros <= upper(at), "{micros}");
            assert!(upper(at) - micros <= micros / 64, "{micros} {}", upper(at));
            assert!(bucket(micros + 1) <= at + 1, "{micros}");
        }
    }

    /// Percentiles of 1 to 1000 ms are what they should be, and never above the largest.
    #[test]
    fn percentiles_are_near() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.summary(), Summary::default());
        for ms in 1..=1000 {
            histogram.add(Span::from_millis(ms));
        }
        let summary = histogram.summary();
        assert!((summary.p50_ms - 500.0).abs() < 8.0, "{summary:?}");
        assert!((summary.p99_ms - 990.0).abs() < 16.0, "{summary:?}");
        assert!((summary.max_ms - 1000.0).abs() < 1e-9 && summary.count == 1000);
        let mut twice = Histogram::default();
        twice.copy_from(&histogram);
        twice.merge(&histogram);
        assert_eq!(twice.summary().count, 2000);
    }

    /// A write is measured once, by its number; unknown ones are not.
    #[test]
    fn round_trips_are_matched() {
        let mut watch = Stopwatch::default();
        watch.begin(7, Mono::from_millis(100));
        watch.begin(8, Mono::from_millis(105));
        watch.confirm(9, Mono::from_millis(110));
        watch.confirm(7, Mono::from_millis(109));
        watch.confirm(7, Mono::from_millis(500));
        let summary = watch.histogram.summary();
        assert!(summary.count == 1 && (summary.max_ms - 9.0).abs() < 1e-9, "{summary:?}");
    }
}
