//! Time as the core sees it: numbers handed in, never read from a clock.
//!
//! - [`Mono`]: the service's monotonic clock; for ages, timeouts, TTL, heartbeats (*link time*).
//! - [`Utc`]: wall-clock stamps carried by samples; for models, history and skew checks.
//! - [`Process`]: running process time; for dwell, settling, rates and windows. It follows the
//!   PLC's clock tag where one is named, so that an accelerated simulator keeps its proportions,
//!   and it never runs backwards.
//! - [`Span`]: a difference of any of them.
//!
//! All four are whole nanoseconds in an `i64` (292 years); arithmetic saturates.

use core::ops::{Add, AddAssign, Sub};

/// A length of time [ns], signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// Longer than any machine runs.
    pub const MAX: Self = Self(i64::MAX);

    /// From whole nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole milliseconds; saturates.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From whole seconds; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Whole nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds, rounded towards zero.
    pub const fn as_millis(self) -> i64 {
        self.0 / 1_000_000
    }

    /// Seconds; exact to about 100 ns for spans below a year.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// `self` times a whole number; saturates.
    #[must_use]
    pub const fn times(self, n: i64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// Times a factor, rounded towards zero; saturates, and NaN gives no time at all.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and NaN becomes 0")]
    pub const fn scaled(self, by: f64) -> Self {
        Self((self.0 as f64 * by) as i64)
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

macro_rules! instant {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// From whole nanoseconds since this clock's origin.
            pub const fn from_nanos(nanos: i64) -> Self {
                Self(nanos)
            }

            /// From whole milliseconds since this clock's origin; saturates.
            pub const fn from_millis(millis: i64) -> Self {
                Self(millis.saturating_mul(1_000_000))
            }

            /// Whole nanoseconds since this clock's origin.
            pub const fn as_nanos(self) -> i64 {
                self.0
            }
        }

        impl Sub for $name {
            type Output = Span;
            fn sub(self, other: Self) -> Span {
                Span(self.0.saturating_sub(other.0))
            }
        }

        impl Add<Span> for $name {
            type Output = Self;
            fn add(self, span: Span) -> Self {
                Self(self.0.saturating_add(span.0))
            }
        }

        impl Sub<Span> for $name {
            type Output = Self;
            fn sub(self, span: Span) -> Self {
                Self(self.0.saturating_sub(span.0))
            }
        }
    };
}

instant! {
    /// A reading of the service's monotonic clock. Origin: start of the service.
    Mono
}
instant! {
    /// A UTC wall-clock stamp. Origin: the Unix epoch.
    Utc
}
instant! {
    /// Process time that has run since the cell was built. Origin: the first scan.
    Process
}

/// The clocks of one scan, read once by the shell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time of the scan.
    pub mono: Mono,
    /// UTC of the scan; may step when the clock is set.
    pub utc: Utc,
}
