//! What a server's answer means, and how long to wait after it. Pure; the table is in
//! `docs/src/how-to/influxdb.md`.

use std::time::Duration;

use serde_json::Value;

use crate::settings::Dialect;

/// Longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// What an unreadable `Retry-After` counts as.
const RETRY_AFTER_UNREADABLE: Duration = Duration::from_secs(10);
/// Longest back-off, before jitter.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Longest reason that is kept.
const REASON_CHARS_MAX: usize = 300;

/// What came back for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP answer.
    Http {
        /// Its status.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<String>,
        /// The body's begin.
        body: String,
    },
    /// None: refused or reset. The server may have stored the lines all the same.
    Lost(String),
    /// None in time; as [`Self::Lost`], but the server may have been started anew meanwhile.
    TimedOut(String),
    /// The request could not be made: no secret to read.
    Local(String),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Stored: go on.
    Stored,
    /// All but these lines (from 0) are stored.
    StoredExcept(Vec<(usize, String)>),
    /// At least one line is bad; which, only halving finds out.
    Bisect(String),
    /// So many lines are older than what the server keeps; the rest is stored.
    Expired(u64),
    /// The body is too large: halve it.
    TooLarge,
    /// A person must set something right: keep everything, alarm, probe.
    Hold(String),
    /// Overloaded: stop all writes for so long, or for the back-off if that is longer.
    Overload(Option<Duration>, String),
    /// Perhaps stored: the same bytes again after the back-off.
    Unknown(String),
}

/// What an answer means.
#[must_use]
pub fn judge(dialect: Dialect, answer: &Answer) -> Verdict {
    let (status, retry_after, body) = match answer {
        Answer::Lost(why) | Answer::TimedOut(why) => return Verdict::Unknown(why.clone()),
        Answer::Local(why) => return Verdict::Hold(why.clone()),
        Answer::Http { status, retry_after, body } => (*status, retry_after.as_deref(), body),
    };
    let parsed = serde_json::from_str::<Value>(body).ok();
    let reason = reason(status, parsed.as_ref(), body);
    match status {
        200..=299 => Verdict::Stored,
        400 => bad_request(dialect, parsed.as_ref(), reason),
        413 => Verdict::TooLarge,
        // The docs and the source of 2.8 disagree on whether the rest is stored.
        422 if dialect == Dialect::V2 => Verdict::Bisect(reason),
        408 => Verdict::Unknown(reason),
        429 | 502 | 503 | 504 => Verdict::Overload(retry_after.map(wait_of_header), reason),
        500..=599 => Verdict::Unknown(reason),
        _ => Verdict::Hold(reason),
    }
}

fn bad_request(dialect: Dialect, parsed: Option<&Value>, reason: String) -> Verdict {
    let has = |word: &str| reason.contains(word);
    match dialect {
        Dialect::V1 if has("beyond retention policy") && !has("unable to parse") => {
            match dropped(&reason) {
                // What it counts is known to be wrong at times; halving counts line by line.
                0 => Verdict::Bisect(reason),
                count => Verdict::Expired(count),
            }
        }
        Dialect::V1 if has("partial write") || has("unable to parse") => Verdict::Bisect(reason),
        // Such as "database is required": no line is to blame.
        Dialect::V1 => Verdict::Hold(reason),
        // vmauth's answer to a token that it does not know.
        Dialect::V2 if has("auth token") => Verdict::Hold(reason),
        Dialect::V2 => match parsed.and_then(|body| body.get("code")).and_then(Value::as_str) {
            Some("invalid" | "unprocessable entity") | None => Verdict::Bisect(reason),
            Some(_) => Verdict::Hold(reason),
        },
        Dialect::V3 => {
            let lines = parsed.and_then(|body| body.get("data")).and_then(Value::as_array);
            let bad: Vec<(usize, String)> = lines
                .into_iter()
                .flatten()
                .filter_map(|line| {
                    let number = usize::try_from(line.get("line_number")?.as_u64()?).ok()?;
                    let why = line.get("error_message").and_then(Value::as_str).unwrap_or(&reason);
                    Some((number.checked_sub(1)?, shortened(why)))
                })
                .collect();
            if bad.is_empty() { Verdict::Bisect(reason) } else { Verdict::StoredExcept(bad) }
        }
    }
}

fn dropped(reason: &str) -> u64 {
    let digits = reason.split_once("dropped=").map_or("", |(_, rest)| rest);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The server's own words, in one line.
fn reason(status: u16, parsed: Option<&Value>, body: &str) -> String {
    let said = parsed
        .and_then(|body| body.get("error").or_else(|| body.get("message")))
        .and_then(Value::as_str)
        .unwrap_or(body);
    let said = shortened(said);
    if said.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {said}") }
}

fn shortened(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(REASON_CHARS_MAX).map(plain).collect()
}

/// Seconds; a date counts as unreadable, because the server's clock may be another.
fn wait_of_header(header: &str) -> Duration {
    let seconds = header.trim().parse::<u64>().map(Duration::from_secs);
    seconds.unwrap_or(RETRY_AFTER_UNREADABLE).min(RETRY_AFTER_MAX)
}

/// n²/40 s as Telegraf does, at most 10 s (a server that is back should not wait), and up to a fifth
/// more.
///
/// - `random`: any number; what differs between two senders keeps them apart.
#[must_use]
pub fn backoff(attempt: u32, random: u64) -> Duration {
    let n = attempt.min(100);
    let whole = (Duration::from_millis(25) * n.saturating_mul(n)).min(BACKOFF_MAX);
    whole + whole.mul_f64((random % 1000) as f64 / 5000.0)
}

/// The field that the server names in a refusal of kinds, with its measurement.
#[must_use]
pub fn refused_field(reason: &str) -> Option<&str> {
    let (_, rest) = reason.split_once("field \"")?;
    rest.split_once('"').map(|(field, _)| field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: u16, retry_after: Option<&str>, body: &str) -> Answer {
        Answer::Http { status, retry_after: retry_after.map(str::to_owned), body: body.into() }
    }

    /// One row per row of the table in the docs.
    #[test]
    fn each_answer_has_its_action() {
        use Dialect::{V1, V2, V3};
        let seconds = |s| Some(Duration::from_secs(s));
        let why = |v: Verdict| match v {
            Verdict::Stored => "stored".to_owned(),
            Verdict::StoredExcept(lines) => format!("except {:?}", lines[0]),
            Verdict::Bisect(_) => "bisect".into(),
            Verdict::Expired(n) => format!("expired {n}"),
            Verdict::TooLarge => "halve".into(),
            Verdict::Hold(_) => "hold".into(),
            Verdict::Overload(wait, _) if wait.is_none() => "overload".into(),
            Verdict::Overload(wait, _) => format!("overload {}", wait.unwrap().as_secs()),
            Verdict::Unknown(_) => "again".into(),
        };
        let partial = r#"{"error":"partial write: field type conflict dropped=0"}"#;
        let old = r#"{"error":"partial write: points beyond retention policy dropped=7"}"#;
        let v3 = r#"{"error":"partial write","data":[{"line_number":3,"error_message":"bad"}]}"#;
        for (dialect, answer, expected) in [
            (V1, http(204, None, ""), "stored"),
            (V2, http(200, None, ""), "stored"),
            (V1, http(400, None, partial), "bisect"),
            (V1, http(400, None, r#"{"error":"unable to parse 'x'"}"#), "bisect"),
            (V1, http(400, None, old), "expired 7"),
            (V1, http(400, None, &old.replace('7', "0")), "bisect"),
            (V1, http(400, None, r#"{"error":"database is required"}"#), "hold"),
            (V2, http(400, None, r#"{"code":"invalid","message":"x"}"#), "bisect"),
            (V2, http(400, None, r#"{"code":"internal error","message":"x"}"#), "hold"),
            (V2, http(400, None, "cannot parse"), "bisect"),
            (V2, http(400, None, "cannot find the provided auth token"), "hold"),
            (V3, http(400, None, v3), "except (2, \"bad\")"),
            (V3, http(400, None, r#"{"error":"x"}"#), "bisect"),
            (V1, http(413, None, ""), "halve"),
            (V2, http(422, None, ""), "bisect"),
            (V3, http(422, None, ""), "hold"),
            (V1, http(401, None, ""), "hold"),
            (V2, http(403, None, ""), "hold"),
            (V3, http(404, None, ""), "hold"),
            (V1, http(307, None, ""), "hold"),
            (V1, http(405, None, ""), "hold"),
            (V1, http(408, None, ""), "again"),
            (V1, http(500, None, ""), "again"),
            (V1, http(429, Some("7"), ""), "overload 7"),
            (V1, http(503, Some("86400"), ""), "overload 600"),
            (V1, http(503, Some("Wed, 21 Oct 2026 07:28:00 GMT"), ""), "overload 10"),
            (V1, http(504, None, ""), "overload"),
            (V1, Answer::Lost("reset".into()), "again"),
            (V1, Answer::TimedOut("10 s".into()), "again"),
            (V1, Answer::Local("no token".into()), "hold"),
        ] {
            assert_eq!(why(judge(dialect, &answer)), expected, "{dialect:?} {answer:?}");
        }
        assert_eq!(judge(V1, &http(503, Some("3"), "busy")).clone(), {
            Verdict::Overload(seconds(3), "HTTP 503: busy".into())
        });
    }

    /// Back-off grows with the square, is capped, and jitters upwards by a fifth at most.
    #[test]
    fn backoff_is_bounded() {
        assert_eq!(backoff(0, 0), Duration::ZERO);
        assert_eq!(backoff(2, 0), Duration::from_millis(100));
        for attempt in 0..200 {
            let (low, high) = (backoff(attempt, 0), backoff(attempt, 999));
            assert!(high >= low && high <= low.mul_f64(1.2), "{attempt}");
            assert!(high <= Duration::from_secs(12));
        }
        assert_eq!(backoff(u32::MAX, 0), BACKOFF_MAX);
    }

    /// The field of a kind conflict is found in the words of InfluxDB 1.6.
    #[test]
    fn the_field_of_a_conflict_is_named() {
        let said = "HTTP 400: partial write: field type conflict: input field \"value\" on \
                    measurement \"trimloop_sample\" is type float, already exists as type string";
        assert_eq!(refused_field(said), Some("value"));
        assert_eq!(refused_field("HTTP 400: unable to parse"), None);
    }
}
