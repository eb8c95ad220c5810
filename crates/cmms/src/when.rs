//! Times as products write them.

use chrono::{DateTime, NaiveDateTime, SecondsFormat};
use serde_json::Value;
use trimloop_core::time::{Span, Utc};

/// What tells the time: adapters read no clock.
pub type Clock = std::sync::Arc<dyn Fn() -> Utc + Send + Sync>;

/// A product's clock may be so far behind ours: it is asked for what it did since then, less this.
pub(crate) const CLOCKS: Span = Span::from_secs(600);

fn date_time(at: Utc) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_nanos(at.as_nanos())
}

/// `2026-11-28T14:41:16.000Z`.
pub(crate) fn rfc3339(at: Utc) -> String {
    date_time(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `2026-11-28 14:41:16`, UTC.
pub(crate) fn sql(at: Utc) -> String {
    date_time(at).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `Sat, 28 Nov 2026 14:41:16 GMT`.
#[cfg(test)]
fn http_date(at: Utc) -> String {
    date_time(at).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Whole seconds since 1970.
pub(crate) fn seconds(at: Utc) -> i64 {
    at.as_nanos().div_euclid(1_000_000_000)
}

/// Whole milliseconds since 1970.
pub(crate) fn millis(at: Utc) -> i64 {
    at.as_nanos().div_euclid(1_000_000)
}

/// A time in any of the forms that products use: RFC 3339 with or without a colon in its offset,
/// `2026-11-28 14:41:16` (UTC), `/Date(1795876876000+0000)/` of `OData`, seconds or milliseconds
/// since 1970 as a number. `None` for anything else.
pub(crate) fn parse(value: &Value) -> Option<Utc> {
    match value {
        Value::Number(number) => {
            // Seconds reach this in the year 5138, milliseconds did in 1973.
            const MILLIS_FROM: i64 = 100_000_000_000;
            let number = number.as_i64().or_else(|| Some(trunc(number.as_f64()?)))?;
            let millis =
                if number.abs() < MILLIS_FROM { number.checked_mul(1000)? } else { number };
            Some(Utc::from_millis(millis))
        }
        Value::String(text) => parse_text(text.trim()),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn trunc(number: f64) -> i64 {
    number as i64
}

fn parse_text(text: &str) -> Option<Utc> {
    if let Some(rest) = text.strip_prefix("/Date(") {
        // What follows the milliseconds is the offset of the user who wrote it; they are UTC.
        let digits = rest.split(['+', ')']).next()?;
        let digits = digits
            .char_indices()
            .find(|(at, c)| *at > 0 && *c == '-')
            .map_or(digits, |(at, _)| &digits[..at]);
        return digits.parse().ok().map(Utc::from_millis);
    }
    let nanos = |time: DateTime<chrono::Utc>| time.timestamp_nanos_opt().map(Utc::from_nanos);
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return nanos(time.to_utc());
    }
    if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
        return nanos(time.to_utc());
    }
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let plain = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    plain.and_then(|time| nanos(time.and_utc()))
}

/// Seconds of a `Retry-After`: a number, or a date.
pub(crate) fn retry_after(text: &str, now: Utc) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds.max(0));
    }
    let form = "%a, %d %b %Y %H:%M:%S GMT";
    let at = NaiveDateTime::parse_from_str(text, form).ok()?.and_utc().timestamp();
    Some((at - seconds(now)).max(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The number is that of `date -u -d 2026-11-28T14:41:16 +%s`.
    const AT: i64 = 1_795_876_876;

    #[test]
    fn one_moment_in_all_forms() {
        let at = Utc::from_millis(AT * 1000);
        for form in [
            json!("2026-11-28T14:41:16Z"),
            json!("2026-11-28T14:41:16.000Z"),
            json!("2026-11-28T15:41:16+01:00"),
            json!("2026-11-28T15:41:16+0100"),
            json!("2026-11-28 14:41:16"),
            json!("2026-11-28T14:41:16"),
            json!("/Date(1795876876000)/"),
            json!("/Date(1795876876000+0060)/"),
            json!("/Date(1795876876000-0060)/"),
            json!(AT),
            json!(AT * 1000),
            json!(1_795_876_876.25),
        ] {
            assert_eq!(parse(&form), Some(at), "{form}");
        }
        assert_eq!(parse(&json!("/Date(-1000)/")), Some(Utc::from_millis(-1000)));
        for wrong in [json!("yesterday"), json!(""), json!(null), json!("/Date(x)/"), json!([1])] {
            assert_eq!(parse(&wrong), None, "{wrong}");
        }
        assert_eq!(parse(&json!(rfc3339(at))), Some(at));
        assert_eq!(parse(&json!(sql(at))), Some(at));
    }

    #[test]
    fn a_wait_is_a_number_or_a_date() {
        let now = Utc::from_millis(AT * 1000);
        let later = http_date(Utc::from_millis((AT + 90) * 1000));
        assert_eq!(retry_after("120", now), Some(120));
        assert_eq!(retry_after(&later, now), Some(90));
        assert_eq!((retry_after("-5", now), retry_after("soon", now)), (Some(0), None));
    }
}
