//! One GET for a table of labels. No redirect is followed and no proxy of the environment used: a
//! token goes where it was sent.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use crate::settings::SecretPlace;
use crate::sink::{ClientError, certificates, secret};

const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Most of an answer.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where from, and who we are.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `http://` or `https://`.
    pub url: &'a str,
    /// File with the bearer token; `None` where nobody is asked.
    pub token_file: Option<&'a Path>,
    /// PEM certificates that alone vouch for the server; `None` for the public ones.
    pub ca_file: Option<&'a Path>,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The request cannot be made.
    #[error("{0}")]
    Local(String),
    /// No answer, or "later".
    #[error("no labels now: {0}")]
    Away(String),
    /// Refused.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// More than any table of labels.
    #[error("the answer is larger than 64 MiB; ask for less, such as the labels of a day")]
    TooLarge,
}

/// The bytes of the answer.
///
/// # Errors
/// [`FetchError`].
pub fn fetch(request: &Request<'_>) -> Result<Vec<u8>, FetchError> {
    let local = |error: ClientError| FetchError::Local(error.to_string());
    let url = request.url;
    if !(url.starts_with("http://") || url.starts_with("https://")) || url.contains('@') {
        let why = format!("\"{url}\" is no address: write http://… or https://…, without a user");
        return Err(FetchError::Local(why));
    }
    let mut tls = TlsConfig::builder();
    if let Some(path) = request.ca_file {
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates(path).map_err(local)?));
    }
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_connect(Some(CONNECT_MAX))
        .timeout_global(Some(ANSWER_MAX))
        .user_agent(concat!("trimloop/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build())
        .build();
    let mut get = Agent::new_with_config(config)
        .get(url)
        .header("Accept", "application/json, text/csv;q=0.9");
    let token = request.token_file.map(|file| secret(&SecretPlace::File(file.to_owned())));
    if let Some(token) = token.transpose().map_err(local)? {
        get = get.header("Authorization", format!("Bearer {token}"));
    }
    let response = get.call().map_err(|error| FetchError::Away(format!("{url}: {error}")))?;
    let status = response.status().as_u16();
    match status {
        200 => {}
        408 | 429 | 500.. => return Err(FetchError::Away(format!("{url}: HTTP {status}"))),
        300..400 => {
            let why = format!("{url}: HTTP {status} sends elsewhere; name that address itself");
            return Err(FetchError::Refused(why));
        }
        _ => return Err(FetchError::Refused(format!("{url}: HTTP {status}"))),
    }
    let mut bytes = Vec::new();
    let mut body = response.into_body().into_reader().take(BYTES_MAX + 1);
    let read = body.read_to_end(&mut bytes);
    read.map_err(|error| FetchError::Away(format!("{url}: the answer breaks off: {error}")))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(FetchError::TooLarge);
    }
    Ok(bytes)
}
