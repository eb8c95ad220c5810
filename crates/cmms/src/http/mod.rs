//! Requests to a product: blocking, each on a connection of its own, with what became of it.
//!
//! Whether a request may have been taken in is not guessed from the kind of error: the connection
//! notes when its first byte leaves ([`wire`]). Before that nothing has happened; after it nobody
//! knows, unless the product says so.
//!
//! | what happened | is |
//! |---|---|
//! | no connection, no answer from the name server | `NotDone` |
//! | certificate not trusted, no TLS there | `Paused` |
//! | 2xx | done |
//! | 429, or 503 with `Retry-After` | `NotDone`, not before the time it names |
//! | 401, 402, 403, 405, 407, a redirect, 404 of a collection | `Paused` |
//! | other 4xx | `Refused` |
//! | 303, 408, 425, 5xx, an answer cut off, too slow, too long or without sense | `Unknown` |
//!
//! No redirect is followed and no proxy of the environment used: data go where the settings say.

mod login;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use trimloop_core::time::{Span, Utc};
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request as HttpRequest, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;

pub(crate) use login::{Login, Signature};
use wire::{Sent, Watched};

use crate::Trouble;
use crate::rate::Bucket;
use crate::text::one_line;
use crate::when::{Clock, retry_after};

/// Most of an answer that is read.
const BODY_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Longest wait that a product may ask for.
const WAIT_SECS_MAX: i64 = 600;
/// Wait where it names none.
const WAIT_SECS: i64 = 10;

/// How long each part of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// To find the host and make a connection, with its encryption.
    pub connect: Duration,
    /// To send the request.
    pub send: Duration,
    /// To the first byte of the answer.
    pub answer: Duration,
    /// For the whole of the answer's body.
    pub body: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            send: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            body: Duration::from_secs(20),
        }
    }
}

/// One product at one address.
pub(crate) struct Http {
    product: String,
    base: String,
    agent: Agent,
    sent: Sent,
    login: Login,
    bucket: Bucket,
    clock: Clock,
}

/// What a client is made from.
pub(crate) struct Site {
    pub(crate) product: String,
    /// `http://` or `https://`, host, port, perhaps a path.
    pub(crate) url: String,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) login: Login,
    pub(crate) per_minute: u32,
    pub(crate) limits: TimeLimits,
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Below the address, without a slash before it; or a whole address at the same place.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// With its `Content-Type`.
    pub(crate) body: Option<(&'static str, String)>,
}

/// An answer that was read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// Product, method and address, for messages.
    what: String,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn json(method: Method, path: impl Into<String>, body: &Value) -> Self {
        Self {
            method,
            path: path.into(),
            headers: Vec::new(),
            body: Some(("application/json", body.to_string())),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn json(&self) -> Result<Value, Trouble> {
        serde_json::from_str(&self.body).map_err(|error| {
            Trouble::Unknown(format!(
                "{} was answered with {}, but not with JSON ({error}): {}",
                self.what,
                self.status,
                one_line(&self.body)
            ))
        })
    }

    /// An answer that says nothing that we understand.
    pub(crate) fn nonsense(&self, lacks: &str) -> Trouble {
        Trouble::Unknown(format!(
            "{} was answered with {}, but {lacks}: {}",
            self.what,
            self.status,
            one_line(&self.body)
        ))
    }
}

impl Http {
    /// For this site; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Why its certificates cannot be used.
    pub(crate) fn new(site: Site, clock: Clock) -> Result<Self, String> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &site.ca_file {
            let why = |why| format!("the certificates in {} cannot be used: {why}", path.display());
            let pem = std::fs::read(path).map_err(|error| why(error.to_string()))?;
            tls = tls.root_certs(RootCerts::new_with_certs(&certificates(&pem).map_err(why)?));
        }
        let limits = site.limits;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_send_request(Some(limits.send))
            .timeout_send_body(Some(limits.send))
            .timeout_recv_response(Some(limits.answer))
            .timeout_recv_body(Some(limits.body))
            // A connection that was kept may be dead, and only the sending would tell.
            .max_idle_connections(0)
            .user_agent(concat!("trimloop/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        let sent = Sent::default();
        let connector = Watched::new(sent.clone());
        Ok(Self {
            product: site.product,
            base: site.url.trim_end_matches('/').to_owned(),
            agent: Agent::with_parts(config, connector, DefaultResolver::default()),
            sent,
            login: site.login,
            bucket: Bucket::new(site.per_minute),
            clock,
        })
    }

    pub(crate) fn now(&self) -> Utc {
        (self.clock)()
    }

    /// Asks; an answer that is not 2xx is trouble. For a path that is there whatever we ask, so
    /// that 404 means the wrong address.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Result<Reply, Trouble> {
        let reply = self.raw(ask)?;
        self.judge(reply)
    }

    /// Asks for one thing; `None` where it is not there (404, 410).
    pub(crate) fn ask_one(&mut self, ask: &Ask) -> Result<Option<Reply>, Trouble> {
        let reply = self.raw(ask)?;
        if matches!(reply.status, 404 | 410) {
            // A gateway that knows nothing of the product says 404 too, and an order that seems
            // lost would stop its case: products that we talk to say it in JSON.
            if serde_json::from_str::<Value>(&reply.body).is_ok() || reply.body.trim().is_empty() {
                return Ok(None);
            }
            return Err(Trouble::Paused(message(
                &reply,
                "that is not the product's way to say that an order is gone; check the address",
            )));
        }
        self.judge(reply).map(Some)
    }

    /// Changes one thing, which must be there.
    pub(crate) fn change(&mut self, ask: &Ask) -> Result<Reply, Trouble> {
        let what = self.what(ask);
        self.ask_one(ask)?
            .ok_or_else(|| Trouble::Refused(format!("{what}: the order is not there any more")))
    }

    /// Asks; an answer of any status, with no secret in it.
    pub(crate) fn raw(&mut self, ask: &Ask) -> Result<Reply, Trouble> {
        let address = self.address(&ask.path)?;
        let what = self.what(ask);
        let now = self.now();
        let user = match self.login.headers(&login::Context {
            agent: &self.agent,
            sent: &self.sent,
            now,
            ask,
            address: &address,
        }) {
            Ok(user) => user,
            Err(login::Failed::Secret(why)) => {
                return Err(Trouble::Paused(format!("{}: {why}", self.product)));
            }
            Err(login::Failed::Asked(error)) => {
                return Err(self.lost(&error, &format!("{}: the login", self.product)));
            }
            Err(login::Failed::Answered(status, body)) => {
                let words = words(&body);
                let text = format!(
                    "{}: the login was answered with {status}: {words}; check user and secret",
                    self.product
                );
                let is_ours = (400..500).contains(&status) && status != 429;
                return Err(if is_ours { Trouble::Paused(text) } else { not_done(text) });
            }
        };
        if let Err(next) = self.bucket.take(now) {
            let why = format!("{}: as many requests as agreed were made", self.product);
            return Err(Trouble::NotDone { not_before: Some(next), why });
        }
        let mut request = HttpRequest::builder().method(ask.method.clone()).uri(&address);
        request = request.header("Accept", "application/json");
        for (name, value) in ask.headers.iter().chain(&user.headers) {
            request = request.header(name, value);
        }
        if let Some((kind, _)) = &ask.body {
            request = request.header("Content-Type", *kind);
        }
        let body = ask.body.as_ref().map(|(_, body)| body.clone());
        self.sent.reset();
        let answered = match body {
            Some(body) => run(&self.agent, request.body(body)),
            None => run(&self.agent, request.body(())),
        };
        let mut response = answered.map_err(|error| self.lost(&error, &what))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let read = response.body_mut().with_config().limit(BODY_BYTES_MAX).lossy_utf8(true);
        let body = match read.read_to_string() {
            Ok(body) => body,
            // What the status says is known, whatever became of the words.
            Err(_) if !(200..300).contains(&status) => "(its words did not arrive)".to_owned(),
            Err(error) => {
                let text = format!("{what}: answered with {status}, and then: {error}");
                return Err(Trouble::Unknown(text));
            }
        };
        // Some quote the token that they refuse; what is said is stored and shown.
        Ok(Reply { status, headers, body: user.hide(&body), what })
    }

    /// What an answer means, by its status.
    pub(crate) fn judge(&mut self, reply: Reply) -> Result<Reply, Trouble> {
        let status = reply.status;
        if (200..300).contains(&status) {
            return Ok(reply);
        }
        let wait = reply.header("Retry-After").map(|text| retry_after(text, self.now()));
        let not_before = || {
            let seconds = wait.flatten().unwrap_or(WAIT_SECS).min(WAIT_SECS_MAX);
            Some(self.now() + Span::from_secs(seconds))
        };
        Err(match status {
            429 => Trouble::NotDone {
                not_before: not_before(),
                why: message(&reply, "too many requests; it goes on by itself"),
            },
            503 if wait.is_some() => Trouble::NotDone {
                not_before: not_before(),
                why: message(&reply, "it goes on by itself"),
            },
            401 if self.login.forget() => Trouble::NotDone {
                not_before: None,
                why: message(&reply, "the session is over; a new one is asked for"),
            },
            401 => Trouble::Paused(message(&reply, "check user and secret")),
            402 | 403 => Trouble::Paused(message(
                &reply,
                "check user and secret, the user's rights, and the licence",
            )),
            404 | 405 | 407 | 410 => {
                Trouble::Paused(message(&reply, "check the address in the settings"))
            }
            300..=302 | 304..=399 => {
                let to = one_line(reply.header("Location").unwrap_or("elsewhere"));
                let help = format!("it points to {to}, which is not followed; check the address");
                Trouble::Paused(message(&reply, &help))
            }
            303 | 408 | 425 | 100..=199 | 500.. => {
                Trouble::Unknown(message(&reply, "whether it was done is looked up"))
            }
            _ => Trouble::Refused(message(&reply, "the same again would be refused again")),
        })
    }

    /// What an error without an answer means.
    fn lost(&self, error: &ureq::Error, what: &str) -> Trouble {
        let text = format!("{what}: {error}");
        if self.sent.is_sent() {
            return Trouble::Unknown(text);
        }
        match wire::kind(error) {
            wire::Kind::Tls => Trouble::Paused(format!(
                "{text}; the address must speak TLS, with a certificate that is trusted: name the \
                 issuer's certificate as ca_file"
            )),
            wire::Kind::Settings => Trouble::Paused(format!("{text}; check the address")),
            wire::Kind::Connection => not_done(text),
        }
    }

    /// The whole address. One that an answer gave must be at the same place: the secret goes
    /// nowhere else.
    fn address(&self, path: &str) -> Result<String, Trouble> {
        if !path.starts_with("http://") && !path.starts_with("https://") {
            return Ok(format!("{}/{}", self.base, path.trim_start_matches('/')));
        }
        let origin = |url: &str| {
            let (scheme, rest) = url.split_once("://").unwrap_or_default();
            format!("{scheme}://{}", rest.split(['/', '?', '#']).next().unwrap_or_default())
        };
        if origin(path) == origin(&self.base) {
            return Ok(path.to_owned());
        }
        let (product, to, ours) = (&self.product, origin(path), origin(&self.base));
        Err(Trouble::Paused(format!(
            "{product}: the next page is said to be at {to}, not at {ours}; set the address to the \
             one that the product knows itself by"
        )))
    }

    /// A request as it is shown: without its query.
    fn what(&self, ask: &Ask) -> String {
        let path = ask.path.split('?').next().unwrap_or_default();
        let address = self.address(path).unwrap_or_else(|_| path.to_owned());
        format!("{}: {} {address}", self.product, ask.method)
    }
}

fn run<B: ureq::AsSendBody>(
    agent: &Agent,
    request: Result<HttpRequest<B>, ureq::http::Error>,
) -> Result<Response<ureq::Body>, ureq::Error> {
    agent.run(request.map_err(ureq::Error::Http)?)
}

/// Trouble with a look that comes before a change: the change itself was surely not done.
pub(crate) fn before_change(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Unknown(why) => not_done(why),
        other => other,
    }
}

fn not_done(why: String) -> Trouble {
    Trouble::NotDone { not_before: None, why }
}

fn name(status: u16) -> String {
    let reason = ureq::http::StatusCode::from_u16(status).ok();
    let reason = reason.and_then(|status| status.canonical_reason()).unwrap_or_default();
    format!("{status} {reason}").trim_end().to_owned()
}

/// The product's own words in an answer, on one line.
fn words(body: &str) -> String {
    let Ok(json) = serde_json::from_str::<Value>(body) else { return one_line(body) };
    let places = [
        "/error/message/value",
        "/error/message",
        "/Error/message",
        "/message",
        "/detail",
        "/error",
    ];
    let text = places.iter().find_map(|place| json.pointer(place)?.as_str());
    match text {
        Some(text) => one_line(text),
        None => one_line(&json.to_string()),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, String> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(found) }
}

/// What a product said, for people.
fn message(reply: &Reply, then: &str) -> String {
    let words = words(&reply.body);
    let colon = if words.is_empty() { "" } else { ": " };
    format!("{}: {}{colon}{words}; {then}", reply.what, name(reply.status))
}
