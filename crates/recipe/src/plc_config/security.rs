//! How the connection is protected, and who we are to the server. Secrets are named here, never
//! held: they stay in files and credentials of their own.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::address::{host, is_loopback};
use super::raw::{RawUrls, RawUser};
use super::{PlcChecker, PlcConfig};
use crate::codes;
use crate::spanned::At;

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    None,
    /// By a policy of OPC UA, with certificates on both sides.
    Policy(Policy, SecurityMode),
}

/// Security policies of OPC UA that are neither withdrawn nor without a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `Basic256Sha256`.
    Basic256Sha256,
    /// `Aes128_Sha256_RsaOaep`.
    Aes128Sha256RsaOaep,
    /// `Aes256_Sha256_RsaPss`.
    Aes256Sha256RsaPss,
}

/// What a policy does to a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityMode {
    /// Signs it: it can be read along, not changed.
    Sign,
    /// Signs and encrypts it.
    #[default]
    SignAndEncrypt,
}

/// Who we are to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum User {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A name with a password.
    Password {
        /// Name.
        name: String,
        /// Where the password is.
        secret: Secret,
    },
    /// An X.509 certificate. Relative paths count from the folder of the PLC config.
    Certificate {
        /// Its file.
        certificate: PathBuf,
        /// File of its private key.
        private_key: PathBuf,
    },
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file of its own; a relative path counts from the folder of the PLC config.
    File(PathBuf),
    /// In a credential that systemd hands over (`LoadCredential=`).
    Credential(String),
}

const POLICIES: [(&str, Option<Policy>); 4] = [
    ("none", None),
    ("Basic256Sha256", Some(Policy::Basic256Sha256)),
    ("Aes128_Sha256_RsaOaep", Some(Policy::Aes128Sha256RsaOaep)),
    ("Aes256_Sha256_RsaPss", Some(Policy::Aes256Sha256RsaPss)),
];

const MODES: [(&str, SecurityMode); 2] =
    [("sign-and-encrypt", SecurityMode::SignAndEncrypt), ("sign", SecurityMode::Sign)];

impl PlcConfig {
    /// Who we are, with relative paths counted from `folder`.
    #[must_use]
    pub fn user_from(&self, folder: &Path) -> User {
        let mut user = self.user.clone();
        match &mut user {
            User::Password { secret: Secret::File(path), .. } => *path = folder.join(&*path),
            User::Certificate { certificate, private_key } => {
                *certificate = folder.join(&*certificate);
                *private_key = folder.join(&*private_key);
            }
            User::Anonymous | User::Password { .. } => {}
        }
        user
    }
}

impl PlcChecker<'_> {
    /// The addresses of the PLC with their places, at least one.
    pub(super) fn addresses(&mut self) -> Option<Vec<(String, Range<usize>)>> {
        let at = &self.raw.plc.get().url;
        let urls: Vec<(String, Range<usize>)> = match at.get() {
            RawUrls::One(url) => vec![(url.clone(), at.span())],
            RawUrls::Several(urls) => {
                urls.iter().map(|url| (url.get().clone(), url.span())).collect()
            }
        };
        let mut good = !urls.is_empty();
        if urls.is_empty() {
            let found = self
                .values
                .error(&codes::URLS, at.span(), "the PLC has no address")
                .help("write it as \"opc.tcp://HOST:PORT\"");
            self.push(found);
        }
        let same = |url: &str| url.trim_end_matches('/').to_ascii_lowercase();
        for (place, (url, span)) in urls.iter().enumerate() {
            if host(url).is_none() {
                good = false;
                let message = format!("\"{url}\" is no OPC UA address");
                let found = self
                    .values
                    .error(&codes::BAD_URL, span.clone(), message)
                    .help("write it as \"opc.tcp://HOST:PORT\"");
                self.push(found);
            }
            let twice = urls.iter().take(place).find(|(other, _)| same(other) == same(url));
            if let Some((_, other)) = twice {
                good = false;
                let found = self
                    .values
                    .error(&codes::URLS, span.clone(), "an address stands there twice")
                    .also(other.clone(), "here, too")
                    .help("remove one, or give the address of the PLC's other network card");
                self.push(found);
            }
        }
        good.then_some(urls)
    }

    pub(super) fn security(&mut self, urls: Option<&[(String, Range<usize>)]>) -> Option<Security> {
        let plc = self.raw.plc.get();
        let policy = self.values.word(&plc.security, &POLICIES, "`security`");
        let mode = match &plc.security_mode {
            None => Some(SecurityMode::default()),
            Some(mode) => self.values.word(mode, &MODES, "`security_mode`"),
        };
        let urls = urls?;
        let abroad = |(url, at): &(String, Range<usize>)| {
            host(url).filter(|host| !is_loopback(host)).map(|host| (host.to_owned(), at.clone()))
        };
        if policy == Some(None)
            && let Some((host, at)) = urls.iter().find_map(abroad)
        {
            self.open_link(&host, at);
        }
        Some(match policy? {
            None => Security::None,
            Some(policy) => Security::Policy(policy, mode?),
        })
    }

    fn open_link(&mut self, host: &str, at: Range<usize>) {
        let plc = self.raw.plc.get();
        let permitted = plc.unprotected.as_ref().is_some_and(|yes| *yes.get());
        let found = self
            .values
            .error(&codes::OPEN_LINK, plc.security.span(), "an unprotected link to another machine")
            .label("allowed to this machine only")
            .also(at, format!("{host} is not this machine"))
            .note("anyone on that network could read along, or answer in the PLC's place")
            .help(
                "use security = \"Basic256Sha256\" and `trimloop plc cert`; on a network of \
                 its own, `unprotected = true` permits it",
            );
        self.push(if permitted { found.warning() } else { found });
    }

    pub(super) fn user(&mut self) -> Option<User> {
        let Some(at) = &self.raw.plc.get().user else { return Some(User::Anonymous) };
        let user: &RawUser = at.get();
        if user.password.is_some() {
            // Not at its place: a diagnostic quotes the line, and goes into logs.
            let at = self.raw.plc.get().name.span();
            let found = self
                .values
                .error(&codes::BAD_USER, at, "`user` holds a `password` in the PLC config itself")
                .label("anyone who may read the PLC config, or its backup, has it")
                .help(
                    "put it into a file of its own (mode 0600) and name that by `password_file`, \
                     or into a systemd credential named by `credential`",
                );
            self.push(found);
            return None;
        }
        let path = |text: &At<String>| PathBuf::from(text.as_str());
        let parts = (
            &user.name,
            &user.password_file,
            &user.credential,
            &user.certificate,
            &user.private_key,
        );
        match parts {
            (Some(name), Some(file), None, None, None) => {
                let secret = Secret::File(path(file));
                Some(User::Password { name: name.get().clone(), secret })
            }
            (Some(name), None, Some(credential), None, None) => {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if credential.is_empty() || !credential.chars().all(plain) {
                    let message = format!("\"{}\" is no name of a credential", credential.get());
                    let found = self
                        .values
                        .error(&codes::BAD_USER, credential.span(), message)
                        .help("use letters, digits, and - _ .");
                    self.push(found);
                    return None;
                }
                let secret = Secret::Credential(credential.get().clone());
                Some(User::Password { name: name.get().clone(), secret })
            }
            (None, None, None, Some(certificate), Some(key)) => {
                Some(User::Certificate { certificate: path(certificate), private_key: path(key) })
            }
            _ => {
                let message = "a user needs one way to prove who it is";
                let found = self.values.error(&codes::BAD_USER, at.span(), message).help(
                    "give `name` with `password_file` or with `credential`, or `certificate` with \
                     `private_key`",
                );
                self.push(found);
                None
            }
        }
    }
}
