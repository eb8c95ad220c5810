//! Who we are to a product, as headers of a request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::Sha256;
use trimloop_core::time::{Span, Utc};
use ureq::Agent;

use super::Ask;
use super::wire::Sent;
use crate::secret::SecretPlace;
use crate::when;

/// A token is asked for again so long before it ends.
const TOKEN_MARGIN: Span = Span::from_secs(60);
/// How long one is used that does not say when it ends.
const TOKEN_SECS: i64 = 300;
/// Most of a token's answer that is read.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// How we say who we are.
#[derive(Clone)]
pub(crate) enum Login {
    /// We do not.
    Nobody,
    /// `Authorization: Basic`.
    Basic {
        /// Name of the user.
        user: String,
        /// Password.
        secret: SecretPlace,
    },
    /// A token in a header, behind a word such as `Bearer`, which may be empty.
    Token {
        /// Header.
        header: String,
        /// The word.
        word: String,
        /// Before the token: `user:` where the product wants a pair.
        user: Option<String>,
        /// Token.
        secret: SecretPlace,
    },
    /// The request is signed.
    Hmac(Signature),
    /// OAuth 2, client credentials (RFC 6749, 4.4).
    OAuth2 {
        /// Where tokens are given out.
        token_url: String,
        /// Name of the client.
        client: String,
        /// Its secret.
        secret: SecretPlace,
        /// What is asked for; may be empty.
        scope: String,
        /// The token that is in use.
        token: Option<Token>,
    },
}

/// A token that was given out.
#[derive(Clone)]
pub(crate) struct Token {
    value: String,
    until: Utc,
    /// It was used for a request before the newest one.
    is_old: bool,
}

/// How a request is signed: HMAC-SHA256 over a text that is made of it.
#[derive(Clone)]
pub(crate) struct Signature {
    /// Header with the signature.
    pub(crate) header: String,
    /// Before the signature in it; may be empty.
    pub(crate) prefix: &'static str,
    /// Header with the name of the key, and that name.
    pub(crate) key: Option<(String, String)>,
    /// Header with the time, in seconds since 1970.
    pub(crate) time_header: Option<String>,
    /// What is signed: these words are replaced: `{method}`, `{url}` (without its scheme),
    /// `{path}`, `{time}`, `{body}`.
    pub(crate) text: String,
    /// In base64 instead of hexadecimal digits.
    pub(crate) is_base64: bool,
    /// Key.
    pub(crate) secret: SecretPlace,
}

/// What a login may look at.
pub(super) struct Context<'a> {
    pub(super) agent: &'a Agent,
    pub(super) sent: &'a Sent,
    pub(super) now: Utc,
    pub(super) ask: &'a Ask,
    pub(super) address: &'a str,
}

/// Who we are, for one request.
pub(super) struct User {
    pub(super) headers: Vec<(String, String)>,
    secrets: Vec<String>,
}

/// Why we cannot say who we are.
pub(super) enum Failed {
    Secret(String),
    Asked(ureq::Error),
    Answered(u16, String),
}

impl User {
    /// The text without the secrets.
    pub(super) fn hide(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, s| text.replace(s.as_str(), "[secret]"))
    }
}

impl Login {
    /// The headers for a request.
    pub(super) fn headers(&mut self, context: &Context<'_>) -> Result<User, Failed> {
        let authorization = "Authorization".to_owned();
        let (headers, secrets) = match self {
            Self::Nobody => (Vec::new(), Vec::new()),
            Self::Basic { user, secret } => {
                let secret = secret.read().map_err(Failed::Secret)?;
                let pair = BASE64.encode(format!("{user}:{secret}"));
                (vec![(authorization, format!("Basic {pair}"))], vec![secret, pair])
            }
            Self::Token { header, word, user, secret } => {
                let secret = secret.read().map_err(Failed::Secret)?;
                let user = user.as_ref().map_or_else(String::new, |user| format!("{user}:"));
                let value = format!("{word} {user}{secret}").trim_start().to_owned();
                (vec![(header.clone(), value)], vec![secret])
            }
            Self::Hmac(signature) => {
                let secret = signature.secret.read().map_err(Failed::Secret)?;
                (signature.headers(&secret, context), vec![secret])
            }
            Self::OAuth2 { token_url, client, secret, scope, token } => {
                let kept = token.as_mut().filter(|token| context.now < token.until);
                let value = if let Some(kept) = kept {
                    kept.is_old = true;
                    kept.value.clone()
                } else {
                    let secret = secret.read().map_err(Failed::Secret)?;
                    let fresh = fetch(token_url, client, &secret, scope, context)?;
                    token.insert(fresh).value.clone()
                };
                (vec![(authorization, format!("Bearer {value}"))], vec![value])
            }
        };
        Ok(User { headers, secrets })
    }

    /// Lets go of a token that the product refuses; whether another one may help, because this
    /// one was taken before.
    pub(super) fn forget(&mut self) -> bool {
        match self {
            Self::OAuth2 { token, .. } => token.take().is_some_and(|token| token.is_old),
            _ => false,
        }
    }
}

fn fetch(
    url: &str,
    client: &str,
    secret: &str,
    scope: &str,
    context: &Context<'_>,
) -> Result<Token, Failed> {
    let form = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut body = "grant_type=client_credentials".to_owned();
    if !scope.is_empty() {
        body.push_str("&scope=");
        body.push_str(&form(scope));
    }
    // RFC 6749, 2.3.1: name and secret are encoded as in a form, then joined.
    let pair = BASE64.encode(format!("{}:{}", form(client), form(secret)));
    context.sent.reset();
    let answered = context
        .agent
        .post(url)
        .header("Authorization", format!("Basic {pair}"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Accept", "application/json")
        .send(body);
    // Whatever becomes of a token, nothing was done at the product.
    context.sent.reset();
    let mut response = answered.map_err(Failed::Asked)?;
    let status = response.status().as_u16();
    let read = response.body_mut().with_config().limit(TOKEN_BYTES_MAX).read_to_string();
    let body = read.map_err(Failed::Asked)?.replace(secret, "[secret]").replace(&pair, "[secret]");
    if status != 200 {
        return Err(Failed::Answered(status, body));
    }
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    let Some(token) = json.get("access_token").and_then(Value::as_str) else {
        // The body may hold a token in another place: it is not shown.
        return Err(Failed::Answered(status, "it holds no access_token".to_owned()));
    };
    let seconds = json.get("expires_in").and_then(Value::as_i64).unwrap_or(TOKEN_SECS);
    let until = context.now + Span::from_secs(seconds) - TOKEN_MARGIN;
    Ok(Token { value: token.to_owned(), until, is_old: false })
}

impl Signature {
    fn headers(&self, secret: &str, context: &Context<'_>) -> Vec<(String, String)> {
        let time = when::seconds(context.now).to_string();
        let url = context.address.split_once("://").map_or("", |(_, rest)| rest);
        let path = url.find('/').map_or("/", |at| &url[at..]);
        let body = context.ask.body.as_ref().map_or("", |(_, body)| body.as_str());
        // In one pass: what a body holds is not replaced.
        let mut text = String::new();
        let mut rest = self.text.as_str();
        while let Some(at) = rest.find('{') {
            let (before, word) = rest.split_at(at);
            text.push_str(before);
            let known = [
                ("{method}", context.ask.method.as_str()),
                ("{url}", url),
                ("{path}", path),
                ("{time}", &time),
                ("{body}", body),
            ];
            if let Some((name, value)) = known.iter().find(|(name, _)| word.starts_with(name)) {
                text.push_str(value);
                rest = &word[name.len()..];
            } else {
                text.push('{');
                rest = &word[1..];
            }
        }
        text.push_str(rest);
        // Standard Webhooks writes keys of any bytes so.
        let key = secret.strip_prefix("whsec_").and_then(|rest| BASE64.decode(rest).ok());
        let signed = sign(key.as_deref().unwrap_or(secret.as_bytes()), text.as_bytes());
        let value = if self.is_base64 { BASE64.encode(signed) } else { hex(&signed) };
        let mut headers = vec![(self.header.clone(), format!("{}{value}", self.prefix))];
        headers.extend(self.key.clone());
        headers.extend(self.time_header.clone().map(|name| (name, time)));
        headers
    }
}

fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
    // A key of any length is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn signs_as_the_standard_does() {
        let signed = sign(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(
            hex(&signed),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
