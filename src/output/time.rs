//! UTC stamps as text, by the proleptic Gregorian calendar; no locale, no zone.

use trimloop_core::time::{Span, Utc};

const DAY_NANOS: i64 = 86_400_000_000_000;

/// `2026-11-22T21:09:52.123Z`.
#[must_use]
pub fn utc_text(utc: Utc) -> String {
    let nanos = utc.as_nanos();
    let (year, month, day) = civil(nanos.div_euclid(DAY_NANOS));
    let millis = nanos.rem_euclid(DAY_NANOS) / 1_000_000;
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    let (second, milli) = (millis / 1000 % 60, millis % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// `20261122`: the UTC day, as in names of history files.
#[must_use]
pub fn day_text(utc: Utc) -> String {
    let (year, month, day) = civil(utc.as_nanos().div_euclid(DAY_NANOS));
    format!("{year:04}{month:02}{day:02}")
}

/// A length of time in the largest fitting unit: `38 ms`, `4.2 s`, `3 min`, `5 h`.
#[must_use]
pub fn duration_text(span: Span) -> String {
    let millis = span.as_millis();
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{:.1} s", span.as_secs_f64()),
        60_000..3_600_000 => format!("{} min", millis / 60_000),
        3_600_000..172_800_000 => format!("{} h", millis / 3_600_000),
        _ => format!("{} d", millis / 86_400_000),
    }
}

/// Year, month and day of a day number since 1970-01-01.
///
/// # Source
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known days, the leap day and a time before the epoch among them.
    #[test]
    fn stamps_read_as_their_day_and_time() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_383_592, "2026-11-22T21:39:52.000Z"),
            (-1, "1969-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(utc_text(Utc::from_millis(seconds * 1000)), text);
        }
        assert_eq!(day_text(Utc::from_millis(951_782_400_000)), "20000229");
        assert_eq!(duration_text(Span::from_millis(38)), "38 ms");
        assert_eq!(duration_text(Span::from_millis(4200)), "4.2 s");
        assert_eq!(duration_text(Span::from_secs(200)), "3 min");
    }
}
