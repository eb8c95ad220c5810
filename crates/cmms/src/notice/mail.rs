//! Mail over SMTP.
//!
//! | what happened | is |
//! |---|---|
//! | accepted after the text | done |
//! | 530, 534, 535, 538; no encryption that can be trusted; no secret | `Paused` |
//! | another 5xx | `Refused` |
//! | 4xx, no connection, cut off, too slow | `Unknown`: sent again |
//!
//! One recipient that is refused refuses the message for all of them.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport as _};
use trimloop_core::time::Utc;
use trimloop_work::notify::Notice;

use super::{Courier, Sender, texts};
use crate::Trouble;
use crate::secret::SecretPlace;
use crate::text::one_line;

/// How long one command may take; a message takes five of them.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Codes that say who we are, or what we asked before, was not good enough.
const LOGIN_CODES: [u16; 4] = [530, 534, 535, 538];

/// How the line to the server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    /// From the first byte on (port 465).
    Tls,
    /// After a command of SMTP, or not at all (port 587).
    StartTls,
    /// Not (port 25): whoever is on the line reads it.
    Open,
}

impl MailSecurity {
    /// Word in the settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::StartTls => "starttls",
            Self::Open => "none",
        }
    }

    /// Usual port.
    pub const fn port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::Open => 25,
        }
    }
}

/// A mail server, and to whom it brings notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Host of the server.
    pub host: String,
    /// Port of it.
    pub port: u16,
    /// How the line to it is encrypted.
    pub security: MailSecurity,
    /// Certificates that the server is judged by (PEM), instead of those of public issuers.
    pub ca_file: Option<PathBuf>,
    /// User and password, where the server wants some.
    pub login: Option<(String, SecretPlace)>,
    /// Who sends: `trimloop <trimloop@plant.example>`.
    pub from: String,
    /// Who gets it; at least one.
    pub recipients: Vec<String>,
}

impl Mail {
    /// Which address is none, if one is.
    pub fn wrong_address(&self) -> Option<&str> {
        let all = std::iter::once(&self.from).chain(&self.recipients);
        all.into_iter().find(|text| text.parse::<Mailbox>().is_err()).map(String::as_str)
    }

    fn message(&self, notice: &Notice, sender: &Sender) -> Result<Message, String> {
        let address = |text: &String| {
            text.parse::<Mailbox>().map_err(|error| format!("\"{text}\" is no address: {error}"))
        };
        let from = address(&self.from)?;
        let domain = from.email.domain();
        let (title, text) = texts(notice, sender);
        let nanos = u64::try_from(notice.at.as_nanos()).unwrap_or_default();
        // The same for each try: servers and readers that look at it show the message once.
        let id = format!("<{}.{}@{domain}>", notice.id, notice.channel);
        let raw = |name, value: &str| {
            HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
        };
        let mut message = Message::builder()
            .message_id(Some(id))
            .date(UNIX_EPOCH + Duration::from_nanos(nanos))
            .subject(title)
            // RFC 3834: nobody's absence shall be answered to us.
            .raw_header(raw("Auto-Submitted", "auto-generated"))
            .header(ContentType::TEXT_PLAIN);
        if notice.priority() == 1 {
            message = message.raw_header(raw("Importance", "high"));
        }
        for recipient in &self.recipients {
            message = message.to(address(recipient)?);
        }
        message.from(from).body(text).map_err(|error| error.to_string())
    }

    fn transport(&self) -> Result<SmtpTransport, String> {
        let own = |error: lettre::transport::smtp::Error| words(&error);
        let encrypted = || {
            let mut tls = TlsParameters::builder(self.host.clone());
            if let Some(path) = &self.ca_file {
                let why =
                    |why| format!("the certificates in {} cannot be used: {why}", path.display());
                let pem = std::fs::read(path).map_err(|error| why(error.to_string()))?;
                let certificate = Certificate::from_pem(&pem).map_err(|error| why(own(error)))?;
                tls = tls.add_root_certificate(certificate);
                tls = tls.certificate_store(CertificateStore::None);
            }
            tls.build_rustls().map_err(own)
        };
        let tls = match self.security {
            MailSecurity::Tls => Tls::Wrapper(encrypted()?),
            MailSecurity::StartTls => Tls::Required(encrypted()?),
            MailSecurity::Open => Tls::None,
        };
        let mut transport = SmtpTransport::builder_dangerous(&self.host)
            .port(self.port)
            .tls(tls)
            .timeout(Some(TIME_MAX))
            .hello_name(ClientId::Domain("trimloop".to_owned()));
        if let Some((user, secret)) = &self.login {
            transport = transport.credentials(Credentials::new(user.clone(), secret.read()?));
        }
        Ok(transport.build())
    }
}

impl Courier for Mail {
    fn deliver(&self, notice: &Notice, sender: &Sender, _now: Utc) -> Result<(), Trouble> {
        let place = format!("mail: {}:{}", self.host, self.port);
        let paused = |why: String| Trouble::Paused(format!("{place}: {why}"));
        let message = self.message(notice, sender).map_err(paused)?;
        let transport = self.transport().map_err(paused)?;
        let Err(error) = transport.send(&message) else { return Ok(()) };
        let code = error.status().map(u16::from);
        let text = format!("{place}: {}", words(&error));
        Err(match code {
            Some(code) if LOGIN_CODES.contains(&code) => {
                Trouble::Paused(format!("{text}; check user and password"))
            }
            Some(500..) => Trouble::Refused(format!("{text}; check sender and recipients")),
            None if is_tls(&error) => Trouble::Paused(format!(
                "{text}; the server must speak TLS, with a certificate that is trusted: name the \
                 issuer's certificate as ca_file"
            )),
            _ => Trouble::Unknown(text),
        })
    }
}

/// An error and its causes, on one line.
fn words(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text.extend([": ", &said]);
        }
        cause = inner.source();
    }
    one_line(&text)
}

/// Whether encryption failed; the handshake runs inside reads and writes, which wrap what it finds.
fn is_tls(error: &lettre::transport::smtp::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        let wrapped = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inner.is::<rustls::Error>() || wrapped.is_some_and(is_of_tls) {
            return true;
        }
        cause = inner.source();
    }
    error.is_tls()
}

fn is_of_tls(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<rustls::Error>()
}
