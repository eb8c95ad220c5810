//! Certificates of the OPC UA link: our own, those of servers that people trust, and those that
//! were turned away.
//!
//! ```text
//! pki/own/cert.der      private/private.pem     in force
//! pki/own/next.der      private/next.pem        renewed; in force once the server takes it
//! pki/own/old-HEX.der                           what was in force before
//! pki/trusted/*.der     rejected/*.der          servers
//! pki/rejected/HEX.refused                      a person rejected it, whoever issued it
//! pki/issuers/*.der     crl/*                   trusted issuers, and revocation lists
//! pki/session/                                  what the OPC UA library is told to take
//! ```
//!
//! A server is trusted by its certificate itself, put into `trusted` by a person, or because an
//! issuer in `issuers` vouches for it ([`chain`]). What was revoked, or rejected by a person, is
//! taken neither way.

mod chain;

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use opcua::crypto::{CertificateStore, PrivateKey, X509};
use rsa::pkcs1::DecodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, SecretDocument};
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256};
use trimloop_core::time::{Span, Utc};
use x509_cert::builder::{Builder as _, CertificateBuilder, Profile};
use x509_cert::der::asn1::{Ia5String, OctetString};
use x509_cert::der::{Decode as _, Encode as _, Reader as _, pem::LineEnding};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use x509_cert::time::{Time, Validity};

pub use chain::{Chain, Distrust};

/// Length of our RSA keys [bit]: within every policy we speak.
const KEY_BITS: u32 = 2048;
/// Life of a certificate that we make.
pub const LIFE_DAYS: u32 = 825;
/// A new certificate is valid from an hour ago: clocks of plants differ.
const BACK_DATED: Duration = Duration::from_hours(1);

/// What went wrong with certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file or folder.
    #[error("cannot {what} {}", .path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate that is none.
    #[error("{} is no X.509 certificate (DER or PEM)", .path.display())]
    NotACertificate {
        /// Which.
        path: PathBuf,
    },
    /// A key that is none.
    #[error("{} is no RSA private key (PEM)", .path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
    },
    /// Key or certificate could not be made.
    #[error("no certificate could be made: {0}")]
    Make(String),
    /// A certificate that may not issue others.
    #[error("{subject} is no issuer: {lacks}")]
    NotAnIssuer {
        /// Whose certificate.
        subject: String,
        /// What it lacks.
        lacks: &'static str,
    },
    /// A revocation list that is none.
    #[error("{} is no revocation list (DER or PEM)", .path.display())]
    NotAList {
        /// Which.
        path: PathBuf,
    },
    /// A certificate from elsewhere that cannot be ours.
    #[error("{} cannot be our certificate: {why}", .path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is one.
    #[error("there is a certificate already: {}", .path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// None fits, or several do.
    #[error("{count} certificates have a fingerprint that begins with {given}")]
    Unclear {
        /// What was asked for.
        given: String,
        /// How many fit.
        count: usize,
    },
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::File { what, path, source }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate itself.
    pub der: Vec<u8>,
    /// Subject, as in `CN=press-4,O=ACME`.
    pub subject: String,
    /// Issuer; equal to the subject when it is self-signed.
    pub issuer: String,
    /// Application URI; OPC UA ties a certificate to one.
    pub application_uri: Option<String>,
    /// Host names and addresses.
    pub hosts: Vec<String>,
    /// Valid from.
    pub not_before: Utc,
    /// Valid until.
    pub not_after: Utc,
    /// Length of the key [bit]; 0 when it is not RSA.
    pub key_bits: usize,
}

impl Certificate {
    /// Reads one from DER or PEM; of several the first, which is the owner's.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        Self::parse_all(bytes).into_iter().next()
    }

    /// Reads all from DER or PEM: servers and CAs append the issuers. What follows something that
    /// cannot be read is left out.
    #[must_use]
    pub fn parse_all(bytes: &[u8]) -> Vec<Self> {
        if bytes.trim_ascii_start().starts_with(b"-----") {
            let all = x509_cert::Certificate::load_pem_chain(bytes).unwrap_or_default();
            return all.iter().map_while(Self::of).collect();
        }
        let Ok(mut reader) = x509_cert::der::SliceReader::new(bytes) else { return Vec::new() };
        let mut all = Vec::new();
        while !reader.is_finished()
            && let Ok(parsed) = x509_cert::Certificate::decode(&mut reader)
            && let Some(certificate) = Self::of(&parsed)
        {
            all.push(certificate);
        }
        all
    }

    fn of(parsed: &x509_cert::Certificate) -> Option<Self> {
        let body = &parsed.tbs_certificate;
        let names = body.get::<SubjectAltName>().ok().flatten().map(|(_, names)| names.0);
        let mut application_uri = None;
        let mut hosts = Vec::new();
        for name in names.unwrap_or_default() {
            match name {
                GeneralName::UniformResourceIdentifier(uri) if application_uri.is_none() => {
                    application_uri = Some(uri.to_string());
                }
                GeneralName::DnsName(host) => hosts.push(host.to_string()),
                GeneralName::IpAddress(bytes) => hosts.extend(ip_text(bytes.as_bytes())),
                _ => {}
            }
        }
        let key = body.subject_public_key_info.to_der().ok()?;
        let key = rsa::pkcs8::SubjectPublicKeyInfoRef::from_der(&key).ok();
        let key = key.and_then(|info| rsa::RsaPublicKey::try_from(info).ok());
        Some(Self {
            der: parsed.to_der().ok()?,
            subject: body.subject.to_string(),
            issuer: body.issuer.to_string(),
            application_uri,
            hosts,
            not_before: utc_of(body.validity.not_before),
            not_after: utc_of(body.validity.not_after),
            key_bits: key.map_or(0, |key| key.n().bits()),
        })
    }

    /// Reads one from a file.
    ///
    /// # Errors
    /// [`PkiError::File`], [`PkiError::NotACertificate`].
    pub fn read(path: &Path) -> Result<Self, PkiError> {
        let bytes = fs::read(path).map_err(file("read", path))?;
        Self::parse(&bytes).ok_or_else(|| PkiError::NotACertificate { path: path.to_owned() })
    }

    /// SHA-256 of the certificate, in hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(&self.der))
    }

    /// Time left; negative when it is over.
    #[must_use]
    pub fn left(&self, now: Utc) -> Span {
        self.not_after - now
    }

    /// Whole days left; negative when it is over.
    #[must_use]
    pub fn days_left(&self, now: Utc) -> i64 {
        self.left(now).as_millis().div_euclid(86_400_000)
    }

    /// Whether it vouches for itself.
    #[must_use]
    pub fn self_signed(&self) -> bool {
        self.subject == self.issuer
    }

    /// File name in `trusted` and `rejected`: the one that the library looks for.
    fn file_name(&self) -> String {
        match X509::from_der(&self.der) {
            Ok(x509) => CertificateStore::cert_file_name(&x509),
            Err(_) => format!("{}.der", self.fingerprint()),
        }
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print = self.fingerprint();
        write!(f, "{} (SHA-256 {})", self.subject, print.get(..16).unwrap_or(&print))
    }
}

/// A time of a certificate; far ones saturate.
fn utc_of(time: Time) -> Utc {
    let nanos = time.to_unix_duration().as_nanos();
    Utc::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

fn ip_text(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Where a certificate lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Ours, in force.
    Own,
    /// Ours, renewed, not in force yet.
    Next,
    /// A server that people trust.
    Trusted,
    /// A server that was turned away.
    Rejected,
    /// An issuer that people trust.
    Issuer,
}

impl Place {
    /// Stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Next => "next",
            Self::Trusted => "trusted",
            Self::Rejected => "rejected",
            Self::Issuer => "issuer",
        }
    }
}

/// What we make of a server's certificate, by those who vouch for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is taken.
    pub trusted: bool,
    /// Why no issuer vouches for it, or why it is not taken although people trust it; `None` for
    /// one that vouches for itself.
    pub distrust: Option<Distrust>,
    /// The issuers that vouch for it.
    pub chain: Option<Chain>,
}

/// The folder of certificates.
#[derive(Clone, Debug)]
pub struct Pki {
    dir: PathBuf,
}

/// Certificate and key that we may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// File of the certificate (DER).
    pub certificate: PathBuf,
    /// File of the private key (PEM).
    pub private_key: PathBuf,
}

impl Pki {
    /// A folder; nothing is made yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where ours is.
    #[must_use]
    pub fn own(&self) -> Pair {
        self.pair("cert", "private")
    }

    /// Where the renewed one is until the server takes it.
    #[must_use]
    pub fn next(&self) -> Pair {
        self.pair("next", "next")
    }

    fn pair(&self, certificate: &str, key: &str) -> Pair {
        Pair {
            certificate: self.dir.join("own").join(format!("{certificate}.der")),
            private_key: self.dir.join("private").join(format!("{key}.pem")),
        }
    }

    fn folder(&self, place: Place) -> PathBuf {
        self.dir.join(match place {
            Place::Own | Place::Next => "own",
            Place::Trusted => "trusted",
            Place::Rejected => "rejected",
            Place::Issuer => "issuers",
        })
    }

    fn make_folders(&self) -> Result<(), PkiError> {
        for name in ["own", "private", "trusted", "rejected", "issuers", "crl"] {
            let path = self.dir.join(name);
            fs::create_dir_all(&path).map_err(file("make the folder", &path))?;
        }
        Ok(())
    }

    /// Makes a key and a self-signed certificate for `application_uri`, in force at once.
    ///
    /// # Errors
    /// [`PkiError::Exists`] when there is one: `renew` replaces it.
    pub fn create(&self, application_uri: &str, now: Utc) -> Result<Certificate, PkiError> {
        let own = self.own();
        if own.certificate.exists() || own.private_key.exists() {
            return Err(PkiError::Exists { path: own.certificate });
        }
        self.make(&own, application_uri, now)
    }

    /// Makes the next pair. It comes into force when the server takes it, or by
    /// [`Self::activate`]; until then the old one stays.
    ///
    /// # Errors
    /// [`PkiError`] when it could not be made.
    pub fn renew(&self, application_uri: &str, now: Utc) -> Result<Certificate, PkiError> {
        let next = self.next();
        for path in [&next.certificate, &next.private_key] {
            if path.exists() {
                fs::remove_file(path).map_err(file("remove", path))?;
            }
        }
        self.make(&next, application_uri, now)
    }

    /// Puts the renewed pair in force; the old certificate is kept beside it.
    ///
    /// # Errors
    /// [`PkiError::File`] when there is none, or it could not be moved.
    pub fn activate(&self) -> Result<(), PkiError> {
        let (own, next) = (self.own(), self.next());
        if let Ok(old) = Certificate::read(&own.certificate) {
            let print = old.fingerprint();
            let name = format!("old-{}.der", print.get(..16).unwrap_or(&print));
            let kept = self.folder(Place::Own).join(name);
            fs::copy(&own.certificate, &kept).map_err(file("write", &kept))?;
        }
        for (from, to) in
            [(&next.private_key, &own.private_key), (&next.certificate, &own.certificate)]
        {
            fs::rename(from, to).map_err(file("move", from))?;
        }
        Ok(())
    }

    fn make(&self, pair: &Pair, uri: &str, now: Utc) -> Result<Certificate, PkiError> {
        self.make_folders()?;
        let key = PrivateKey::new(KEY_BITS).map_err(|error| PkiError::Make(error.to_string()))?;
        let secret = key.to_der().map_err(|error| PkiError::Make(error.to_string()))?;
        let made = self_signed(secret.as_bytes(), uri, now);
        let der = made.map_err(|error| PkiError::Make(error.to_string()))?;
        self.write_pair(pair, &der, &secret)?;
        Certificate::read(&pair.certificate)
    }

    fn write_pair(&self, pair: &Pair, der: &[u8], secret: &SecretDocument) -> Result<(), PkiError> {
        self.make_folders()?;
        let pem = secret
            .to_pem("PRIVATE KEY", LineEnding::LF)
            .map_err(|error| PkiError::Make(error.to_string()))?;
        let path = &pair.private_key;
        let mut open = fs::OpenOptions::new();
        let mut out = open
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(file("write", path))?;
        out.write_all(pem.as_bytes()).map_err(file("write", path))?;
        fs::write(&pair.certificate, der).map_err(file("write", &pair.certificate))
    }

    /// All certificates with where they are, in a steady order. Files that are none are left out.
    #[must_use]
    pub fn list(&self) -> Vec<(Place, PathBuf, Certificate)> {
        let mut all = Vec::new();
        for (place, pair) in [(Place::Own, self.own()), (Place::Next, self.next())] {
            if let Ok(certificate) = Certificate::read(&pair.certificate) {
                all.push((place, pair.certificate, certificate));
            }
        }
        for place in [Place::Trusted, Place::Rejected, Place::Issuer] {
            let Ok(entries) = fs::read_dir(self.folder(place)) else { continue };
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.sort();
            for path in files {
                if let Ok(certificate) = Certificate::read(&path) {
                    all.push((place, path, certificate));
                }
            }
        }
        all
    }

    /// Whether people trust this certificate itself.
    #[must_use]
    pub fn trusts(&self, certificate: &Certificate) -> bool {
        let path = self.folder(Place::Trusted).join(certificate.file_name());
        Certificate::read(&path).is_ok_and(|kept| kept.der == certificate.der)
    }

    /// What we make of a server that shows `shown`: its own certificate first, then issuers that
    /// it may have sent along.
    #[must_use]
    pub fn judge(&self, shown: &[Certificate], now: Utc) -> Verdict {
        let Some((leaf, sent)) = shown.split_first() else { return Verdict::default() };
        let itself = self.trusts(leaf);
        if self.refused(leaf).exists() {
            let print = leaf.fingerprint();
            let print = print.get(..16).unwrap_or(&print).to_owned();
            let distrust = Some(Distrust::Rejected { print });
            return Verdict { trusted: false, distrust, chain: None };
        }
        if leaf.self_signed() {
            return Verdict { trusted: itself, distrust: None, chain: None };
        }
        match chain::vouch(leaf, sent, &self.issuers(), &self.lists(), now) {
            Ok(chain) => Verdict { trusted: true, distrust: None, chain: Some(chain) },
            Err(why) => {
                Verdict { trusted: itself && !why.is_final(), distrust: Some(why), chain: None }
            }
        }
    }

    /// The trusted issuers.
    fn issuers(&self) -> Vec<Certificate> {
        let all = self.list().into_iter().filter(|(place, _, _)| *place == Place::Issuer);
        all.map(|(_, _, certificate)| certificate).collect()
    }

    /// The revocation lists, in a steady order.
    fn lists(&self) -> Vec<chain::List> {
        let Ok(entries) = fs::read_dir(self.dir.join("crl")) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        // One that cannot be read is like one that is none: it refuses.
        let list = |file: PathBuf| {
            let bytes = fs::read(&file).unwrap_or_default();
            chain::List::parse(file, &bytes)
        };
        files.into_iter().filter(|file| file.is_file()).map(list).collect()
    }

    /// Takes a copy of a revocation list into `crl`, under its own name.
    ///
    /// # Errors
    /// [`PkiError::NotAList`], [`PkiError::File`].
    pub fn add_list(&self, path: &Path) -> Result<PathBuf, PkiError> {
        let bytes = fs::read(path).map_err(file("read", path))?;
        if !chain::List::parse(path.to_owned(), &bytes).is_list() {
            return Err(PkiError::NotAList { path: path.to_owned() });
        }
        self.make_folders()?;
        let kept = self.dir.join("crl").join(path.file_name().unwrap_or_default());
        // In one step: the service may read it at any moment.
        let part = self.dir.join("list.part");
        fs::write(&part, &bytes).map_err(file("write", &part))?;
        fs::rename(&part, &kept).map_err(file("write", &kept))?;
        Ok(kept)
    }

    /// Mark of a certificate that a person rejected.
    fn refused(&self, certificate: &Certificate) -> PathBuf {
        self.folder(Place::Rejected).join(format!("{}.refused", certificate.fingerprint()))
    }

    /// The folder that the OPC UA library looks into. It knows no issuers, so it is told by
    /// [`Self::accept`] which certificate to take; whether to is decided here.
    #[must_use]
    pub fn library_dir(&self) -> PathBuf {
        self.dir.join("session")
    }

    /// Lets the library take a certificate that was judged a moment ago.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn accept(&self, certificate: &Certificate) -> Result<(), PkiError> {
        let (trusted, rejected) =
            (self.library_dir().join("trusted"), self.library_dir().join("rejected"));
        for path in [&trusted, &rejected] {
            fs::create_dir_all(path).map_err(file("make the folder", path))?;
        }
        let left = rejected.join(certificate.file_name());
        if left.exists() {
            fs::remove_file(&left).map_err(file("remove", &left))?;
        }
        let path = trusted.join(certificate.file_name());
        if fs::read(&path).is_ok_and(|kept| kept == certificate.der) {
            return Ok(());
        }
        let part = trusted.join(format!("{}.part", certificate.fingerprint()));
        fs::write(&part, &certificate.der).map_err(file("write", &part))?;
        fs::rename(&part, &path).map_err(file("write", &path))
    }

    /// Puts a certificate aside for a person to look at.
    ///
    /// # Errors
    /// [`PkiError::File`].
    pub fn put_aside(&self, certificate: &Certificate) -> Result<PathBuf, PkiError> {
        self.put(Place::Rejected, certificate)
    }

    fn put(&self, place: Place, certificate: &Certificate) -> Result<PathBuf, PkiError> {
        self.make_folders()?;
        let path = self.folder(place).join(certificate.file_name());
        fs::write(&path, &certificate.der).map_err(file("write", &path))?;
        Ok(path)
    }

    /// Moves a certificate to `to`: trusted, rejected, or among the trusted issuers. `given` is a
    /// file, or the beginning of the fingerprint of one that is in one of these places.
    ///
    /// # Errors
    /// [`PkiError::Unclear`] when not exactly one fits, [`PkiError::NotAnIssuer`].
    pub fn decide(&self, given: &str, to: Place) -> Result<Certificate, PkiError> {
        let path = Path::new(given);
        let certificate = if path.is_file() {
            Certificate::read(path)?
        } else {
            let wanted = given.to_ascii_lowercase().replace(':', "");
            let mut fit: Vec<Certificate> = self
                .list()
                .into_iter()
                .filter(|(place, _, c)| {
                    matches!(place, Place::Trusted | Place::Rejected | Place::Issuer)
                        && !wanted.is_empty()
                        && c.fingerprint().starts_with(&wanted)
                })
                .map(|(_, _, certificate)| certificate)
                .collect();
            fit.dedup();
            match (fit.pop(), fit.len()) {
                (Some(one), 0) => one,
                (None, _) => return Err(PkiError::Unclear { given: given.to_owned(), count: 0 }),
                (_, more) => {
                    return Err(PkiError::Unclear { given: given.to_owned(), count: more + 1 });
                }
            }
        };
        if to == Place::Issuer
            && let Some(lacks) = chain::no_anchor(&certificate)
        {
            return Err(PkiError::NotAnIssuer { subject: certificate.subject, lacks });
        }
        self.put(to, &certificate)?;
        let refused = self.refused(&certificate);
        if to == Place::Rejected {
            fs::write(&refused, []).map_err(file("write", &refused))?;
        } else if refused.exists() {
            fs::remove_file(&refused).map_err(file("remove", &refused))?;
        }
        for other in [Place::Trusted, Place::Rejected, Place::Issuer] {
            let left = self.folder(other).join(certificate.file_name());
            if other != to && left.exists() {
                fs::remove_file(&left).map_err(file("remove", &left))?;
            }
        }
        Ok(certificate)
    }

    /// Takes a certificate and its key that were made elsewhere, such as by the plant's CA. They
    /// come into force as a renewed pair does, or at once where there is none yet.
    ///
    /// # Errors
    /// [`PkiError::NotOurs`] when the two do not belong together, or not to this service.
    pub fn import(
        &self,
        certificate: &Path,
        key: &Path,
        application_uri: &str,
        now: Utc,
    ) -> Result<(Certificate, bool), PkiError> {
        let parsed = Certificate::read(certificate)?;
        let not_ours = |why: String| PkiError::NotOurs { path: certificate.to_owned(), why };
        let uri = parsed.application_uri.as_deref().unwrap_or("none");
        if uri != application_uri {
            return Err(not_ours(format!(
                "it is for the application {uri}, and this service is {application_uri}"
            )));
        }
        if parsed.left(now) < Span::ZERO {
            return Err(not_ours("it has run out".to_owned()));
        }
        let text = fs::read_to_string(key).map_err(file("read", key))?;
        let secret = rsa::RsaPrivateKey::from_pkcs8_pem(&text)
            .ok()
            .or_else(|| rsa::RsaPrivateKey::from_pkcs1_pem(&text).ok())
            .ok_or_else(|| PkiError::NotAKey { path: key.to_owned() })?;
        let public = SubjectPublicKeyInfoOwned::from_key(secret.to_public_key())
            .map_err(|error| PkiError::Make(error.to_string()))?;
        let own = x509_cert::Certificate::from_der(&parsed.der)
            .map_err(|error| PkiError::Make(error.to_string()))?;
        if own.tbs_certificate.subject_public_key_info != public {
            return Err(not_ours(format!("{} is not its private key", key.display())));
        }
        let first = !self.own().certificate.exists() && !self.own().private_key.exists();
        let pair = if first { self.own() } else { self.next() };
        for path in [&pair.certificate, &pair.private_key] {
            if path.exists() {
                fs::remove_file(path).map_err(file("remove", path))?;
            }
        }
        let secret = secret.to_pkcs8_der().map_err(|error| PkiError::Make(error.to_string()))?;
        self.write_pair(&pair, &parsed.der, &secret)?;
        Ok((parsed, first))
    }
}

/// A self-signed application instance certificate, OPC 10000-6 table 43.
fn self_signed(
    key_der: &[u8],
    uri: &str,
    now: Utc,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let key = rsa::RsaPrivateKey::from_pkcs8_der(key_der)?;
    let signer = rsa::pkcs1v15::SigningKey::<rsa::sha2::Sha256>::new(key.clone());
    let public = SubjectPublicKeyInfoOwned::from_key(key.to_public_key())?;
    // Issuer and serial number name a certificate: two of ours must differ.
    let serial = Sha256::digest(public.to_der()?);
    let serial = SerialNumber::new(&[&[0x01], serial.get(..15).unwrap_or_default()].concat())?;
    let now = Duration::from_nanos(u64::try_from(now.as_nanos())?);
    let begins = now.saturating_sub(BACK_DATED);
    let ends = now + Duration::from_hours(24 * u64::from(LIFE_DAYS));
    let date = |at: Duration| -> Result<Time, x509_cert::der::Error> {
        let whole = Duration::from_secs(at.as_secs());
        Ok(Time::UtcTime(x509_cert::der::asn1::UtcTime::from_unix_duration(whole)?))
    };
    let validity = Validity { not_before: date(begins)?, not_after: date(ends)? };
    let subject = Name::from_str(&format!("CN=trimloop,O={}", uri.replace([',', '+', '='], "_")))?;
    let profile = Profile::Manual { issuer: Some(subject.clone()) };
    let mut builder = CertificateBuilder::new(profile, serial, validity, subject, public, &signer)?;
    builder.add_extension(&BasicConstraints { ca: false, path_len_constraint: None })?;
    builder.add_extension(&KeyUsage(
        KeyUsages::DigitalSignature
            | KeyUsages::NonRepudiation
            | KeyUsages::KeyEncipherment
            | KeyUsages::DataEncipherment
            | KeyUsages::KeyCertSign,
    ))?;
    builder.add_extension(&ExtendedKeyUsage(vec![
        x509_cert::der::oid::db::rfc5280::ID_KP_CLIENT_AUTH,
        x509_cert::der::oid::db::rfc5280::ID_KP_SERVER_AUTH,
    ]))?;
    let mut names = vec![GeneralName::UniformResourceIdentifier(Ia5String::new(uri)?)];
    for host in host_names() {
        names.push(GeneralName::DnsName(Ia5String::new(&host)?));
    }
    names.push(GeneralName::IpAddress(OctetString::new([127, 0, 0, 1])?));
    builder.add_extension(&SubjectAltName(names))?;
    Ok(builder.build::<rsa::pkcs1v15::Signature>()?.to_der()?)
}

/// Names of this machine.
fn host_names() -> Vec<String> {
    let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let mut names = vec!["localhost".to_owned()];
    names.extend(own.filter(|name| !name.is_empty() && name != "localhost" && name.is_ascii()));
    names
}
