//! Times that people type and zones that they read: `2026-11-22`, `2026-11-22 10:00`,
//! `2026-11-22T10:00:05.25Z`, `2026-11-22T10:00+01:00`; lengths as `90s`, `15min`, `1h`, `7d`.

use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveDateTime, TimeZone};

use trimloop_core::time::{Span, Utc};

/// In which zone times without one are read, and all are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// UTC, shown with `Z`.
    #[default]
    Utc,
    /// That of this computer (`TZ`), shown with its offset.
    Local,
}

impl Zone {
    /// Offset from UTC at a time [s].
    #[must_use]
    pub fn offset_secs(self, nanos: i64) -> i32 {
        match self {
            Self::Utc => 0,
            Self::Local => {
                let utc = DateTime::from_timestamp_nanos(nanos).naive_utc();
                Local.offset_from_utc_datetime(&utc).local_minus_utc()
            }
        }
    }

    /// ISO 8601 with `digits` (0, 3, 6 or 9) of the second's fraction.
    #[must_use]
    pub fn text(self, nanos: i64, digits: usize) -> String {
        let utc = DateTime::from_timestamp_nanos(nanos);
        let shape = match digits {
            0 => chrono::SecondsFormat::Secs,
            3 => chrono::SecondsFormat::Millis,
            6 => chrono::SecondsFormat::Micros,
            _ => chrono::SecondsFormat::Nanos,
        };
        let offset = FixedOffset::east_opt(self.offset_secs(nanos));
        match (self, offset) {
            (Self::Local, Some(offset)) => utc.with_timezone(&offset).to_rfc3339_opts(shape, false),
            _ => utc.to_rfc3339_opts(shape, true),
        }
    }
}

/// A time in `zone`, unless it says its own; `None` when it is none, or far from this century.
#[must_use]
pub fn parse_instant(text: &str, zone: Zone) -> Option<Utc> {
    let text = text.trim().replacen(' ', "T", 1);
    let nanos = |time: DateTime<chrono::Utc>| time.timestamp_nanos_opt().map(Utc::from_nanos);
    let with_zone = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"];
    let zoned = text.strip_suffix('Z').map_or(text.clone(), |bare| format!("{bare}+00:00"));
    let fixed = with_zone.iter().find_map(|shape| DateTime::parse_from_str(&zoned, shape).ok());
    if let Some(time) = fixed {
        return nanos(time.to_utc());
    }
    let plain = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|shape| NaiveDateTime::parse_from_str(&text, shape).ok());
    let day = || NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let plain = plain.or_else(day)?;
    match zone {
        Zone::Utc => nanos(plain.and_utc()),
        // In the hour that comes twice, the first; in the one that is left out, none.
        Zone::Local => nanos(Local.from_local_datetime(&plain).earliest()?.to_utc()),
    }
}

/// Text that is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a moment is written 2026-11-22T21:09:52Z; seconds and time may be left out, and without Z or an offset it is in UTC"
)]
pub struct NoMoment;

/// [`parse_instant`] in UTC.
///
/// # Errors
/// [`NoMoment`] when it is written in another way, or no such day exists.
pub fn moment(text: &str) -> Result<Utc, NoMoment> {
    parse_instant(text, Zone::Utc).ok_or(NoMoment)
}

/// A length of time; `None` when it is none.
#[must_use]
pub fn parse_length(text: &str) -> Option<Span> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(end)?;
    let secs = match unit.trim() {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return None,
    };
    let nanos = number.parse::<f64>().ok()? * secs * 1e9;
    #[expect(clippy::cast_possible_truncation, reason = "bounded on the line above")]
    (nanos.is_finite() && (1.0..9e18).contains(&nanos)).then(|| Span::from_nanos(nanos as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::utc_text;

    /// Dates, times, fractions and offsets are read; nonsense is not.
    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("1970-01-02", 86_400.0),
            ("1970-01-01 10:30", 37_800.0),
            ("1970-01-01T10:30:05.25", 37_805.25),
            ("1970-01-01T10:30:05Z", 37_805.0),
            ("1970-01-01T10:30+01:00", 34_200.0),
            ("1970-01-01T10:30:00.5+0100", 34_200.5),
        ] {
            let read = parse_instant(text, Zone::Utc).map(|utc| utc.as_nanos() as f64 / 1e9);
            assert_eq!(read, Some(seconds), "{text}");
        }
        for text in ["", "now", "22.11.2026", "2026-13-01", "2026-11-22T25:00", "9999-01-01"] {
            assert_eq!(parse_instant(text, Zone::Utc), None, "{text}");
        }
    }

    /// What is shown is read back, to the nanosecond.
    #[test]
    fn what_is_shown_is_read_back() {
        let nanos = 1_795_383_592_123_456_789;
        assert_eq!(Zone::Utc.text(nanos, 3), "2026-11-22T21:39:52.123Z");
        for zone in [Zone::Utc, Zone::Local] {
            let shown = zone.text(nanos, 9);
            assert_eq!(parse_instant(&shown, Zone::Utc), Some(Utc::from_nanos(nanos)), "{shown}");
        }
    }

    /// Days and times that do not exist are refused, and what is shown elsewhere is read back.
    #[test]
    fn moments_are_read() {
        for text in ["1970-01-01T00:00:00.000Z", "2000-02-29T23:59:59.999Z"] {
            assert_eq!(moment(text).map(utc_text).as_deref(), Ok(text));
        }
        assert_eq!(moment("2026-11-22 21:09"), moment("2026-11-22T21:09:00Z"));
        for text in ["2026-02-29", "2026-11-31", "2026-11-22T24:00", "2026-11-22T21:09:52."] {
            assert_eq!(moment(text), Err(NoMoment), "{text}");
        }
    }

    /// Lengths have a unit.
    #[test]
    fn lengths_are_read() {
        assert_eq!(parse_length("1h"), Some(Span::from_secs(3600)));
        assert_eq!(parse_length("1.5 d"), Some(Span::from_secs(129_600)));
        assert_eq!(parse_length("15min"), Some(Span::from_secs(900)));
        for text in ["", "1", "h", "-1h", "1 y", "1e99d"] {
            assert_eq!(parse_length(text), None, "{text}");
        }
    }
}
