//! Requests to an InfluxDB, blocking: the sink has a thread of its own, so nothing is gained by a
//! runtime, and `ureq` brings a third of the crates of an asynchronous client.
//!
//! No redirect is followed and no proxy of the environment used: data go where the settings say.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::answer::Answer;
use crate::settings::{Dialect, InfluxSettings, InfluxUser, SecretPlace};

/// To make a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// For a whole request.
pub const REQUEST_MAX: Duration = Duration::from_secs(10);
/// For a question to a database: its first rows, and all of them.
const FIRST_ROWS_MAX: Duration = Duration::from_secs(300);
pub(super) const QUERY_MAX: Duration = Duration::from_secs(3600);
/// Rows in a block of an answer.
const BLOCK_ROWS: &str = "10000";
/// Most of an answer that is read.
const BODY_BYTES_MAX: u64 = 256 * 1024;

/// Why no request can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A secret cannot be read.
    #[error("{0}")]
    Secret(String),
    /// The certificates that the server is to be judged by cannot be used.
    #[error("the certificates in {} cannot be used: {why}", .path.display())]
    Ca {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    settings: InfluxSettings,
    agent: Agent,
}

impl Client {
    /// For these settings; nothing is sent yet. `request_max` is the longest time of a request.
    ///
    /// # Errors
    /// [`ClientError::Ca`].
    pub fn new(settings: &InfluxSettings, request_max: Duration) -> Result<Self, ClientError> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &settings.ca_file {
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates(path)?));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(request_max))
            .max_idle_connections(1)
            .user_agent(concat!("trimloop/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Ok(Self { settings: settings.clone(), agent: Agent::new_with_config(config) })
    }

    /// Sends lines, gzipped; `text` is what they are before.
    pub fn write(&self, text: &str) -> Answer {
        let mut gzip = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
        let body = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish());
        let body = match body {
            Ok(body) => body,
            Err(error) => return Answer::Local(format!("the lines cannot be compressed: {error}")),
        };
        let s = &self.settings;
        let query: Vec<(&str, &str)> = match s.dialect {
            Dialect::V1 => {
                vec![("db", &s.database), ("rp", &s.retention_policy), ("precision", "ns")]
            }
            Dialect::V2 => vec![("org", &s.org), ("bucket", &s.bucket), ("precision", "ns")],
            Dialect::V3 => {
                vec![("db", &s.database), ("precision", "nanosecond"), ("accept_partial", "true")]
            }
        };
        let path = match s.dialect {
            Dialect::V1 => "write",
            Dialect::V2 => "api/v2/write",
            Dialect::V3 => "api/v3/write_lp",
        };
        let mut request = self
            .agent
            .post(self.address(path, &query))
            .header("Content-Type", "text/plain; charset=utf-8")
            .header("Content-Encoding", "gzip");
        let user = match self.user() {
            Ok(user) => user,
            Err(error) => return Answer::Local(error.to_string()),
        };
        if let Some(user) = &user {
            request = request.header("Authorization", &user.header);
        }
        answer(request.send(&body[..]), user)
    }

    /// Asks for the field `field` of the measurement at one time, in the dialect's own language.
    pub fn read_back(&self, measurement: &str, field: &str, ts: i64) -> Answer {
        let s = &self.settings;
        let request = match s.dialect {
            Dialect::V1 => {
                let q = format!("SELECT {field} FROM {measurement} WHERE time = {ts}");
                let query = [("db", s.database.as_str()), ("epoch", "ns"), ("q", &q)];
                self.agent.get(self.address("query", &query))
            }
            Dialect::V3 => {
                let q = format!(
                    "SELECT {field} FROM {measurement} WHERE time = to_timestamp_nanos({ts})"
                );
                let query = [("db", s.database.as_str()), ("format", "json"), ("q", &q)];
                self.agent.get(self.address("api/v3/query_sql", &query))
            }
            Dialect::V2 => return self.read_back_flux(measurement, field, ts),
        };
        match self.user() {
            Ok(Some(user)) => {
                answer(request.header("Authorization", &user.header).call(), Some(user))
            }
            Ok(None) => answer(request.call(), None),
            Err(error) => Answer::Local(error.to_string()),
        }
    }

    fn read_back_flux(&self, measurement: &str, field: &str, ts: i64) -> Answer {
        let s = &self.settings;
        let bucket = s.bucket.replace('\\', "\\\\").replace('"', "\\\"");
        let flux = format!(
            "from(bucket: \"{bucket}\") |> range(start: time(v: {ts}), stop: time(v: {})) \
             |> filter(fn: (r) => r._measurement == \"{measurement}\" and r._field == \"{field}\")",
            ts.saturating_add(1)
        );
        let mut request = self
            .agent
            .post(self.address("api/v2/query", &[("org", &s.org)]))
            .header("Content-Type", "application/vnd.flux")
            .header("Accept", "application/csv");
        let user = match self.user() {
            Ok(user) => user,
            Err(error) => return Answer::Local(error.to_string()),
        };
        if let Some(user) = &user {
            request = request.header("Authorization", &user.header);
        }
        answer(request.send(flux), user)
    }

    /// Asks in InfluxQL for blocks of rows; `Err` within says why nobody answers.
    ///
    /// # Errors
    /// [`ClientError::Secret`].
    pub(super) fn query(&self, q: &str) -> Result<Result<Asked, String>, ClientError> {
        let s = &self.settings;
        // InfluxDB 2 knows a bucket by its name here, or by a mapping that its operator made.
        let database = if s.dialect == Dialect::V2 { &s.bucket } else { &s.database };
        let query = [
            ("db", database.as_str()),
            ("rp", &s.retention_policy),
            ("org", &s.org),
            ("epoch", "ns"),
            ("chunked", "true"),
            ("chunk_size", BLOCK_ROWS),
        ];
        let mut request = self
            .agent
            .post(self.address("query", &query))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Accept", "application/json");
        let user = self.user()?;
        if let Some(user) = &user {
            request = request.header("Authorization", &user.header);
        }
        let request = request.config().timeout_recv_response(Some(FIRST_ROWS_MAX)).build();
        let form = format!("q={}", utf8_percent_encode(q, NON_ALPHANUMERIC));
        Ok(match request.send(form) {
            Ok(response) => {
                let status = response.status().as_u16();
                Ok(Asked { status, body: response.into_body().into_reader(), user })
            }
            Err(error) => Err(error.to_string()),
        })
    }

    fn address(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut address = format!("{}/{path}", self.settings.url.trim_end_matches('/'));
        let mut separator = '?';
        for (key, value) in query.iter().filter(|(_, value)| !value.is_empty()) {
            address.push(separator);
            address.push_str(key);
            address.push('=');
            address.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
            separator = '&';
        }
        address
    }

    /// Secrets are read anew each time, so that a changed one needs no restart.
    fn user(&self) -> Result<Option<User>, ClientError> {
        Ok(match &self.settings.user {
            InfluxUser::Nobody => None,
            InfluxUser::Token(place) => {
                let word = if self.settings.dialect == Dialect::V3 { "Bearer" } else { "Token" };
                let secret = secret(place)?;
                Some(User { header: format!("{word} {secret}"), secret })
            }
            InfluxUser::Password { name, place } => {
                let secret = secret(place)?;
                let pair = BASE64.encode(format!("{name}:{secret}"));
                Some(User { header: format!("Basic {pair}"), secret })
            }
        })
    }
}

/// An answer that is still to be read.
pub(super) struct Asked {
    pub(super) status: u16,
    pub(super) body: ureq::BodyReader<'static>,
    /// For hiding what a server says of it.
    pub(super) user: Option<User>,
}

/// Who we are, for one request. Not `Debug`: it is never printed.
pub(super) struct User {
    header: String,
    secret: String,
}

impl User {
    /// The text without the secret.
    pub(super) fn hide(&self, text: &str) -> String {
        text.replace(&self.secret, "[secret]")
    }
}

/// Whether an answer to [`Client::read_back`] holds the value that was written: `Some(false)` when
/// the server says that it is not there, `None` when it did not understand the question.
#[must_use]
pub fn holds(answer: &Answer, value: i64) -> Option<bool> {
    let Answer::Http { status: 200, body, .. } = answer else { return None };
    let Ok(json) = serde_json::from_str::<Value>(body) else {
        // Flux answers in CSV; its rows carry the value in a column of their own.
        let is_csv = body.contains("_value") || body.trim().is_empty();
        return is_csv.then(|| body.split([',', '\r', '\n']).any(|cell| cell == value.to_string()));
    };
    if let Some(rows) = json.as_array() {
        let has = |row: &Value| row.as_object().is_some_and(|r| r.values().any(|v| v == value));
        return Some(rows.iter().any(has));
    }
    let series = json.get("results")?.get(0)?.get("series");
    let rows = series.and_then(|s| s.get(0)?.get("values")?.as_array());
    Some(rows.is_some_and(|rows| rows.iter().any(|row| row.get(1).is_some_and(|v| v == value))))
}

fn answer(
    result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    user: Option<User>,
) -> Answer {
    let mut response = match result {
        Ok(response) => response,
        Err(error) => return lost(&error, error.to_string()),
    };
    let retry_after = response
        .headers()
        .get("Retry-After")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).lossy_utf8(true);
    match body.read_to_string() {
        Ok(body) => {
            // vmauth quotes the token that it refuses; what it says is logged and shown.
            let body = user.map_or_else(|| body.clone(), |user| user.hide(&body));
            Answer::Http { status, retry_after, body }
        }
        // What the status says is known; the words are not needed where all is stored.
        Err(_) if (200..300).contains(&status) => {
            Answer::Http { status, retry_after, body: String::new() }
        }
        Err(error) => lost(&error, format!("HTTP {status}, then {error}")),
    }
}

fn lost(error: &ureq::Error, why: String) -> Answer {
    if matches!(error, ureq::Error::Timeout(_)) { Answer::TimedOut(why) } else { Answer::Lost(why) }
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ClientError> {
    let failed = |why: String| ClientError::Ca { path: path.to_owned(), why };
    let pem = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.map_err(|error| failed(error.to_string()))?
        {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(failed("it holds no certificate".to_owned())) } else { Ok(found) }
}

/// The secret itself; an error never holds it.
pub(crate) fn secret(place: &SecretPlace) -> Result<String, ClientError> {
    let path = match place {
        SecretPlace::File(path) => path.clone(),
        SecretPlace::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                ClientError::Secret(format!(
                    "the credential \"{name}\" is not there, because systemd handed none over; add \
                     `LoadCredential={name}:FILE` to the unit, or name a file"
                ))
            })?;
            PathBuf::from(folder).join(name)
        }
    };
    let text = fs::read_to_string(&path).map_err(|error| {
        ClientError::Secret(format!("the secret in {} cannot be read: {error}", path.display()))
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    let plain = |c: char| c.is_ascii_graphic() || c == ' ' || !c.is_ascii();
    if text.is_empty() || !text.chars().all(plain) {
        let why = format!("the secret in {} is empty or not one line", path.display());
        return Err(ClientError::Secret(why));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each dialect answers to the question for the probe.
    #[test]
    fn a_probe_is_found_in_each_answer() {
        let http =
            |status, body: &str| Answer::Http { status, retry_after: None, body: body.into() };
        let v1 = r#"{"results":[{"series":[{"name":"p","values":[[17,42]]}]}]}"#;
        let csv = ",result,table,_time,_value\r\n,_result,0,2026-11-27T00:00:00Z,42\r\n";
        for (body, expected) in [
            (v1, Some(true)),
            (r#"{"results":[{"statement_id":0}]}"#, Some(false)),
            (csv, Some(true)),
            ("", Some(false)),
            (r#"[{"probe":42}]"#, Some(true)),
            ("[]", Some(false)),
            ("<html>", None),
        ] {
            assert_eq!(holds(&http(200, body), 42), expected, "{body}");
        }
        assert_eq!(holds(&http(404, ""), 42), None);
    }
}
