//! Moments as people type them: `2026-11-22`, `2026-11-22T21:09`, `2026-11-22 21:09:52.123Z`.

use trimloop_core::time::Utc;

/// Text that is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a moment is written 2026-11-22T21:09:52Z, in UTC; seconds and time may be left out")]
pub struct NoMoment;

/// Reads a moment in UTC.
///
/// # Errors
/// [`NoMoment`] when it is written in another way, or no such day exists.
pub fn moment(text: &str) -> Result<Utc, NoMoment> {
    let text = text.trim();
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, ""));
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next(), 4)?, digits(parts.next(), 2)?, parts.next());
    let day = digits(day, 2)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(NoMoment),
    };
    if parts.next().is_some() || !(1..=days).contains(&day) || !(1678..=2261).contains(&year) {
        return Err(NoMoment);
    }
    let nanos = day_number(year, month, day) * 86_400_000_000_000;
    Ok(Utc::from_nanos(nanos + time_of_day(time)?))
}

/// Nanoseconds of `21:09`, `21:09:52` or `21:09:52.123`; nothing is midnight.
fn time_of_day(text: &str) -> Result<i64, NoMoment> {
    if text.is_empty() {
        return Ok(0);
    }
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let mut parts = whole.split(':');
    let (hour, minute) = (digits(parts.next(), 2)?, digits(parts.next(), 2)?);
    let second = match parts.next() {
        Some(text) => digits(Some(text), 2)?,
        None if fraction.is_none() => 0,
        None => return Err(NoMoment),
    };
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return Err(NoMoment);
    }
    let mut nanos = 0;
    if let Some(fraction) = fraction {
        let width = u32::try_from(fraction.len()).map_err(|_| NoMoment)?;
        let scale = 9_u32.checked_sub(width).filter(|_| width > 0).ok_or(NoMoment)?;
        nanos = digits(Some(fraction), fraction.len())? * 10_i64.pow(scale);
    }
    Ok(((hour * 60 + minute) * 60 + second) * 1_000_000_000 + nanos)
}

fn digits(text: Option<&str>, width: usize) -> Result<i64, NoMoment> {
    let text = text.filter(|text| text.len() == width && text.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or(NoMoment)
}

/// Days since 1970-01-01.
///
/// # Source
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let shifted = (month + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::utc_text;

    /// What is shown can be typed back, and every shorter form means its begin.
    #[test]
    fn moments_come_back_as_they_are_shown() {
        for text in
            ["1970-01-01T00:00:00.000Z", "2000-02-29T23:59:59.999Z", "2026-11-22T21:39:52.120Z"]
        {
            assert_eq!(moment(text).map(utc_text).as_deref(), Ok(text));
        }
        let midnight = moment("2026-11-22").unwrap();
        assert_eq!(utc_text(midnight), "2026-11-22T00:00:00.000Z");
        assert_eq!(moment("2026-11-22 21:09"), moment("2026-11-22T21:09:00Z"));
    }

    /// Days and times that do not exist are refused.
    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "now",
            "2026-13-01",
            "2026-02-29",
            "2026-11-31",
            "2026-11-22T24:00",
            "26-11-22",
            "2026-11-22T1:00",
            "2026-11-22T21:09:52.",
            "2026-11-22T21:09.5",
            "2026-11-22T21:09:52+01:00",
        ] {
            assert_eq!(moment(text), Err(NoMoment), "{text}");
        }
    }
}
