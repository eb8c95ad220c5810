//! The only reader of clocks.
//!
//! - *Mono*: nanoseconds since the service started, never backwards; for ages, timeouts, TTL.
//! - *UTC*: nanoseconds since the Unix epoch; may step when the machine's clock is set.
//!
//! Everything else gets a [`Clock`] handed in, so that a test can see every place that asks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trimloop_core::time::{Mono, Now, Span, Utc};

/// The service's clocks. Copies share one origin, so stamps of all shells can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// UTC at the origin of a clock that follows the runtime's virtual time.
    #[cfg(test)]
    simulated: Option<Utc>,
}

impl Clock {
    /// A clock that begins now. One per process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
            #[cfg(test)]
            simulated: None,
        }
    }

    /// A clock that begins at `utc` and follows the virtual time of a paused runtime.
    #[cfg(test)]
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(crate) fn simulated(utc: Utc) -> Self {
        Self { origin: tokio::time::Instant::now().into_std(), simulated: Some(utc) }
    }

    /// Time since the start.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn mono(&self) -> Mono {
        #[cfg(not(test))]
        let now = Instant::now();
        #[cfg(test)]
        let now = match self.simulated {
            Some(_) => tokio::time::Instant::now().into_std(),
            None => Instant::now(),
        };
        let since = now.saturating_duration_since(self.origin);
        Mono::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Wall-clock time. Saturates outside the years 1678 to 2262.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn utc(&self) -> Utc {
        #[cfg(test)]
        if let Some(begin) = self.simulated {
            return begin + (self.mono() - Mono::default());
        }
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos)
            }
        };
        Utc::from_nanos(nanos)
    }

    /// Both, read one after the other.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), utc: self.utc() }
    }
}

/// A span as a waiting time; nothing when it is negative.
#[must_use]
pub fn wait_of(span: Span) -> Duration {
    Duration::from_nanos(u64::try_from(span.as_nanos()).unwrap_or(0))
}

/// A waiting time as a span; saturates.
#[must_use]
pub fn span_of(wait: Duration) -> Span {
    Span::from_nanos(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monotonic time does not run backwards, copies agree on its origin, UTC is this century.
    #[test]
    fn clocks_run_forwards() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.mono();
        let second = copy.mono();
        assert!(second >= first);
        assert!(second < Mono::from_millis(60_000));
        assert!(clock.utc() > Utc::from_millis(1_600_000_000_000));
    }

    /// Spans and waiting times convert without wrapping.
    #[test]
    fn waits_never_wrap() {
        assert_eq!(wait_of(Span::from_millis(-5)), Duration::ZERO);
        assert_eq!(wait_of(Span::from_millis(5)), Duration::from_millis(5));
        assert_eq!(span_of(Duration::MAX), Span::MAX);
    }
}
