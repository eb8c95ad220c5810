//! Rows of an InfluxDB, asked for in InfluxQL and given block by block.
//!
//! InfluxDB 1 answers `/query`; 2 and 3 keep that address for InfluxQL (of 2, a bucket is a
//! database there). Only questions are let through: the same address takes `DROP` as well.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde_json::Value;

use super::client::{Asked, Client, ClientError, QUERY_MAX};
use crate::settings::InfluxSettings;

/// Most of an error's text that is shown [characters].
const WHY_MAX: usize = 300;
/// Most bytes of an answer that says no.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A secret or certificate cannot be used.
    #[error("{0}")]
    Local(String),
    /// No answer, or "later".
    #[error("InfluxDB at {url} does not answer: {why}")]
    Away {
        /// Address of the settings.
        url: String,
        /// Why.
        why: String,
    },
    /// Refused: who we are, or where the rows shall be.
    #[error("InfluxDB at {url} refuses: {why}")]
    Refused {
        /// Address of the settings.
        url: String,
        /// The server's words.
        why: String,
    },
    /// The question itself.
    #[error("{0}")]
    Query(String),
    /// Whoever takes the rows wants no more.
    #[error("{0}")]
    Stopped(String),
}

/// Rows of one series.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Block {
    /// Measurement.
    #[serde(default)]
    pub name: String,
    /// Tags of `GROUP BY`, by key.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Titles; `time` [ns since 1970] first.
    #[serde(default)]
    pub columns: Vec<String>,
    /// `[rows][columns]` null, a number, a contact or a text.
    #[serde(default)]
    pub values: Vec<Vec<Value>>,
    /// More of this series comes in the next block.
    #[serde(default)]
    partial: bool,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    results: Vec<Outcome>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    #[serde(default)]
    series: Vec<Block>,
    #[serde(default)]
    partial: bool,
    error: Option<String>,
}

/// A text as InfluxQL writes it: `'it\'s'`.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Asks one question and hands every block of rows to `take`, in the order of the server.
///
/// # Errors
/// [`QueryError`]: nothing of an answer that breaks off may be taken for all of it.
pub fn query(
    settings: &InfluxSettings,
    q: &str,
    take: &mut dyn FnMut(Block) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    only_reads(q)?;
    let local = |error: ClientError| QueryError::Local(error.to_string());
    let client = Client::new(settings, QUERY_MAX).map_err(local)?;
    let url = settings.url.as_str();
    let away = |why: String| QueryError::Away { url: url.to_owned(), why };
    let asked = match client.query(q).map_err(local)? {
        Ok(asked) => asked,
        Err(why) => return Err(away(why)),
    };
    if asked.status != 200 {
        return Err(refusal(url, asked));
    }
    let Asked { body, .. } = asked;
    let mut more = false;
    let messages = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, body));
    for message in messages.into_iter::<Message>() {
        let message = message.map_err(|error| {
            if error.is_syntax() || error.is_data() {
                let why = format!("{url} answers with something else than InfluxDB does: {error}");
                return QueryError::Query(why);
            }
            away(format!("the answer breaks off: {error}"))
        })?;
        if let Some(why) = message.error {
            return Err(wrong(url, &why));
        }
        more = false;
        for outcome in message.results {
            if let Some(why) = outcome.error {
                return Err(wrong(url, &why));
            }
            more |= outcome.partial;
            for block in outcome.series {
                more |= block.partial;
                take(block)?;
            }
        }
    }
    if more {
        let why = "the server gave a part of the rows only; ask for less, or raise its limit of \
                   rows";
        return Err(QueryError::Query(why.to_owned()));
    }
    Ok(())
}

/// What a server says in `error`, by whose turn it is.
fn wrong(url: &str, why: &str) -> QueryError {
    let why = short(why);
    let place = ["database not found", "database name required", "retention policy not found"];
    if place.iter().any(|known| why.contains(known)) {
        return QueryError::Refused { url: url.to_owned(), why };
    }
    QueryError::Query(format!("InfluxDB cannot answer the query: {why}"))
}

fn refusal(url: &str, asked: Asked) -> QueryError {
    let status = asked.status;
    let mut body = Vec::new();
    let read = asked.body.take(REFUSAL_BYTES_MAX).read_to_end(&mut body);
    let text = read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&body).into_owned());
    // vmauth quotes the token that it refuses.
    let text = asked.user.map_or_else(|| text.clone(), |user| user.hide(&text));
    let said = serde_json::from_str::<Value>(&text).ok().and_then(|json| {
        let word = |key: &str| json.get(key).and_then(Value::as_str).map(str::to_owned);
        word("error").or_else(|| word("message"))
    });
    let said = short(&said.unwrap_or(text));
    let url = url.to_owned();
    let why = format!("HTTP {status} {said}").trim_end().to_owned();
    match status {
        400 | 413 | 422 => wrong(&url, &said),
        408 | 429 | 500.. => QueryError::Away { url, why },
        _ => QueryError::Refused { url, why },
    }
}

fn short(text: &str) -> String {
    let text = text.trim();
    let mut short: String = text.chars().take(WHY_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// One question, and nothing that changes the server.
fn only_reads(q: &str) -> Result<(), QueryError> {
    let bare = unquoted(q);
    let words: Vec<String> = bare
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_uppercase)
        .collect();
    let asks = matches!(words.first().map(String::as_str), Some("SELECT" | "SHOW"));
    let refused = |why: &str| Err(QueryError::Query(format!("{why}: {}", short(q))));
    if !asks {
        return refused("a query must begin with SELECT");
    }
    if words.iter().any(|word| word == "INTO") {
        return refused("SELECT … INTO writes into the server, which is not done here");
    }
    if bare.trim_end().trim_end_matches(';').contains(';') {
        return refused("one query at a time");
    }
    Ok(())
}

/// The text without what stands in quotes.
fn unquoted(q: &str) -> String {
    let mut bare = String::new();
    let mut quote = None;
    let mut letters = q.chars();
    while let Some(c) = letters.next() {
        match quote {
            Some(_) if c == '\\' => drop(letters.next()),
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                bare.push(' ');
            }
            None => bare.push(c),
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Questions pass; what writes, and more than one statement, does not, in quotes or out of them.
    #[test]
    fn only_questions_pass() {
        for (q, passes) in [
            ("SELECT value FROM trimloop_sample", true),
            ("  select mean(value) from m where \"tag\" = 'it''s; INTO' ;", true),
            ("SHOW TAG VALUES FROM m WITH KEY = \"tag\"", true),
            ("SELECT * INTO other FROM m", false),
            ("SELECT 1; DROP DATABASE plant", false),
            ("SELECT x FROM m WHERE a = 'b\\'; c'", true),
            ("DROP DATABASE plant", false),
            ("", false),
        ] {
            assert_eq!(only_reads(q).is_ok(), passes, "{q}");
        }
        assert_eq!(quoted("it's a \\"), "'it\\'s a \\\\'");
    }
}
