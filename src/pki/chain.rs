//! Whether a trusted issuer vouches for a certificate: path validation after RFC 5280, 6.1, as far
//! as OPC UA needs it.
//!
//! - An *anchor* is an issuer that a person has put into `pki/issuers`: a root or an intermediate.
//! - A chain goes from the server's certificate by its issuer, over issuers that the server sent or
//!   that are anchors themselves, to an anchor.
//! - A *list* is a revocation list (CRL). What a list of the issuer names is refused. An issuer
//!   without a list is taken without one; a list past its time still counts, and that is told. A
//!   list that cannot be read, or that its issuer did not sign, refuses everything of that issuer.
//!
//! RSA with SHA-256, SHA-384 and SHA-512 is checked, in PKCS #1 v1.5 and PSS; all else is refused.

use std::fmt;
use std::path::PathBuf;

use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use trimloop_core::time::Utc;
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::der::{Decode, Encode as _, Reader as _, SliceReader};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, CrlNumber, ExtendedKeyUsage,
    KeyUsage, NameConstraints, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::{Certificate, utc_of};

/// Issuers above a certificate before it is given up; plants have two or three.
const DEPTH_MAX: usize = 8;
/// Shortest key of an issuer [bit], as for servers.
const KEY_BITS_MIN: usize = 2048;

const SHA256_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const SHA1_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// Why nobody vouches for a certificate. Shown after "the server's certificate …"; each says what
/// to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// A person rejected it.
    Rejected {
        /// Beginning of its SHA-256.
        print: String,
    },
    /// Its issuer is not known here.
    UnknownIssuer {
        /// Subject of the certificate whose issuer is missing.
        of: String,
        /// The missing issuer.
        issuer: String,
        /// Beginning of the SHA-256 of the server's certificate.
        print: String,
    },
    /// The issuer's certificate has run out.
    IssuerRanOut {
        /// Which issuer.
        issuer: String,
        /// Days ago.
        days: i64,
    },
    /// The issuer's certificate is not valid yet.
    IssuerNotYet {
        /// Which issuer.
        issuer: String,
    },
    /// The issuer may not issue certificates.
    NotAnIssuer {
        /// Which.
        issuer: String,
        /// What its certificate lacks.
        lacks: &'static str,
    },
    /// The signature is not the issuer's.
    WrongSignature {
        /// Subject of the certificate.
        of: String,
        /// Who should have signed.
        issuer: String,
    },
    /// The signature cannot be checked.
    Algorithm {
        /// Subject of the certificate, or the list's issuer.
        of: String,
        /// By which algorithm it is signed.
        by: String,
    },
    /// The issuer took it back.
    Revoked {
        /// Subject of the certificate.
        of: String,
        /// Who took it back.
        issuer: String,
        /// Day, as YYYY-MM-DD.
        on: String,
    },
    /// A revocation list that cannot be used.
    List {
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A condition that we cannot check.
    Condition {
        /// Subject of the certificate.
        of: String,
        /// Object identifier of the extension.
        extension: String,
    },
    /// The server's certificate is for something else.
    Usage {
        /// What it lacks.
        lacks: &'static str,
    },
}

impl Distrust {
    /// Whether it stands although a person trusts the certificate itself.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Revoked { .. } | Self::Rejected { .. })
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { print } => write!(
                f,
                "was rejected by a person; `trimloop plc cert trust {print}` takes that back"
            ),
            Self::UnknownIssuer { of, issuer, print } => write!(
                f,
                "has a chain that ends at {of}, issued by {issuer}, which is not a trusted issuer; \
                 get the issuer's certificate from the plant's CA and run `trimloop plc cert trust \
                 --issuer FILE`, or trust this one server with `trimloop plc cert trust {print}`"
            ),
            Self::IssuerRanOut { issuer, days } => write!(
                f,
                "is issued under {issuer}, which ran out {days} days ago; trust the issuer's new \
                 certificate with `trimloop plc cert trust --issuer FILE`"
            ),
            Self::IssuerNotYet { issuer } => write!(
                f,
                "is issued under {issuer}, which is not valid yet; compare the clocks of this \
                 machine and of the CA"
            ),
            Self::NotAnIssuer { issuer, lacks } => write!(
                f,
                "is issued under {issuer}, which may not issue certificates: {lacks}; trust the \
                 CA that is meant with `trimloop plc cert trust --issuer FILE`"
            ),
            Self::WrongSignature { of, issuer } => write!(
                f,
                "cannot be trusted: the signature of {of} is not that of {issuer}; it may be \
                 forged, or the CA has a new key: trust its new certificate with `trimloop plc \
                 cert trust --issuer FILE`"
            ),
            Self::Algorithm { of, by } => write!(
                f,
                "cannot be checked: {of} is signed with {by}, and RSA with SHA-256, SHA-384 or \
                 SHA-512 is needed; let the CA issue it anew"
            ),
            Self::Revoked { of, issuer, on } => write!(
                f,
                "is no longer valid: {issuer} revoked {of} on {on}; give the server a new \
                 certificate"
            ),
            Self::List { file, what } => write!(
                f,
                "cannot be checked against the revocation list {}: {what}; replace the file, or \
                 remove it",
                file.display()
            ),
            Self::Condition { of, extension } => write!(
                f,
                "cannot be checked: {of} holds a condition that is not known here ({extension}); \
                 let the CA issue it without, or trust the server's certificate itself"
            ),
            Self::Usage { lacks } => write!(
                f,
                "is not for an OPC UA server: {lacks}; let the CA issue it anew, or trust the \
                 server's certificate itself"
            ),
        }
    }
}

/// Who vouches for a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Issuers from the next one to the anchor.
    pub issuers: Vec<Certificate>,
    /// Files of lists past their time.
    pub outdated: Vec<PathBuf>,
}

/// One revocation list as it was found.
pub(super) struct List {
    file: PathBuf,
    /// Its words, and the bytes that are signed; `None` for a file that is no list.
    read: Option<(CertificateList, Vec<u8>)>,
}

impl List {
    /// Reads a list from DER or PEM.
    pub(super) fn parse(file: PathBuf, bytes: &[u8]) -> Self {
        let decoded;
        let der = if bytes.trim_ascii_start().starts_with(b"-----") {
            decoded = x509_cert::der::pem::decode_vec(bytes.trim_ascii_start()).ok();
            decoded.as_ref().map(|(_, der)| der.as_slice())
        } else {
            Some(bytes)
        };
        let read =
            der.and_then(|der| Some((CertificateList::from_der(der).ok()?, signed_part(der)?)));
        Self { file, read }
    }

    /// Whether it could be read.
    pub(super) const fn is_list(&self) -> bool {
        self.read.is_some()
    }
}

/// A certificate with what a chain needs of it.
struct Link {
    shown: Certificate,
    parsed: x509_cert::Certificate,
    signed: Vec<u8>,
}

impl Link {
    fn new(certificate: &Certificate) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(&certificate.der).ok()?;
        Some(Self { shown: certificate.clone(), parsed, signed: signed_part(&certificate.der)? })
    }

    fn subject(&self) -> &Name {
        &self.parsed.tbs_certificate.subject
    }

    fn issuer(&self) -> &Name {
        &self.parsed.tbs_certificate.issuer
    }

    fn get<'a, T: Decode<'a> + AssociatedOid>(&'a self) -> Option<T> {
        self.parsed.tbs_certificate.get::<T>().ok().flatten().map(|(_, value)| value)
    }

    fn key(&self) -> Option<rsa::RsaPublicKey> {
        let key = self.parsed.tbs_certificate.subject_public_key_info.to_der().ok()?;
        let info = rsa::pkcs8::SubjectPublicKeyInfoRef::from_der(&key).ok()?;
        rsa::RsaPublicKey::try_from(info).ok()
    }
}

/// The first part of a signed structure, as the signer had it.
fn signed_part(der: &[u8]) -> Option<Vec<u8>> {
    let mut reader = SliceReader::new(der).ok()?;
    reader
        .sequence(|inner| {
            let signed = inner.tlv_bytes()?.to_vec();
            inner.tlv_bytes()?;
            inner.tlv_bytes()?;
            Ok(signed)
        })
        .ok()
}

/// Looks for a chain from `leaf` to an anchor.
///
/// # Errors
/// [`Distrust`] when there is none: of several ways the reason of the one that came furthest.
pub(super) fn vouch(
    leaf: &Certificate,
    sent: &[Certificate],
    anchors: &[Certificate],
    lists: &[List],
    now: Utc,
) -> Result<Chain, Distrust> {
    let unknown = || Distrust::Condition { of: leaf.subject.clone(), extension: "DER".to_owned() };
    let start = Link::new(leaf).ok_or_else(unknown)?;
    let links = |all: &[Certificate]| all.iter().filter_map(Link::new).collect::<Vec<_>>();
    let (anchors, sent) = (links(anchors), links(sent));
    let search = Search { anchors: &anchors, sent: &sent, lists, now, leaf };
    let chain = search.climb(&start, &mut Vec::new())?;
    is_for_a_server(&start)?;
    Ok(chain)
}

fn is_for_a_server(leaf: &Link) -> Result<(), Distrust> {
    known_extensions(
        &leaf.shown.subject,
        leaf.parsed.tbs_certificate.extensions.as_deref(),
        &[KeyUsage::OID, ExtendedKeyUsage::OID, BasicConstraints::OID, SubjectAltName::OID],
    )?;
    if leaf.get::<KeyUsage>().is_some_and(|usage| !usage.digital_signature()) {
        return Err(Distrust::Usage { lacks: "it may not sign (key usage)" });
    }
    let server = |usage: &ExtendedKeyUsage| {
        usage.0.iter().any(|of| *of == ID_KP_SERVER_AUTH || *of == ANY_EXTENDED_KEY_USAGE)
    };
    if leaf.get::<ExtendedKeyUsage>().is_some_and(|usage| !server(&usage)) {
        return Err(Distrust::Usage { lacks: "it is not for servers (extended key usage)" });
    }
    Ok(())
}

/// Refuses conditions that bind and that are not among `known`.
fn known_extensions(
    of: &str,
    extensions: Option<&[Extension]>,
    known: &[ObjectIdentifier],
) -> Result<(), Distrust> {
    let odd = extensions
        .unwrap_or_default()
        .iter()
        // Limits on names bind even where a CA forgot to say so.
        .find(|one| {
            one.extn_id == NameConstraints::OID || one.critical && !known.contains(&one.extn_id)
        });
    odd.map_or(Ok(()), |one| {
        Err(Distrust::Condition { of: of.to_owned(), extension: one.extn_id.to_string() })
    })
}

struct Search<'a> {
    anchors: &'a [Link],
    sent: &'a [Link],
    lists: &'a [List],
    now: Utc,
    leaf: &'a Certificate,
}

impl<'a> Search<'a> {
    /// Goes up from `child`; `path` are the issuers so far, lowest first.
    fn climb(&self, child: &Link, path: &mut Vec<&'a Link>) -> Result<Chain, Distrust> {
        let print = self.leaf.fingerprint();
        let mut best = Distrust::UnknownIssuer {
            of: child.shown.subject.clone(),
            issuer: child.shown.issuer.clone(),
            print: print.get(..16).unwrap_or(&print).to_owned(),
        };
        if path.len() >= DEPTH_MAX {
            return Err(best);
        }
        let named = |one: &&Link| one.subject() == child.issuer();
        let anchors = self.anchors.iter().filter(named).map(|one| (one, true));
        let sent = self.sent.iter().filter(named).map(|one| (one, false));
        for (issuer, is_anchor) in anchors.chain(sent) {
            if path.iter().any(|one| one.shown.der == issuer.shown.der)
                || (!is_anchor && issuer.shown.der == child.shown.der)
            {
                continue;
            }
            let outcome = self.signed_by(child, issuer, path.len()).and_then(|outdated| {
                if is_anchor {
                    let issuers = path.iter().copied().chain([issuer]);
                    let issuers = issuers.map(|one| one.shown.clone()).collect();
                    return Ok(Chain { issuers, outdated });
                }
                path.push(issuer);
                let above = self.climb(issuer, path);
                path.pop();
                above.map(|mut chain| {
                    chain.outdated.extend(outdated);
                    chain
                })
            });
            match outcome {
                Ok(chain) => return Ok(chain),
                Err(why) => {
                    let rank = |why: &Distrust| match why {
                        Distrust::UnknownIssuer { of, .. } if *of == child.shown.subject => 0,
                        Distrust::WrongSignature { .. } => 1,
                        _ => 2,
                    };
                    if rank(&why) > rank(&best) {
                        best = why;
                    }
                }
            }
        }
        Err(best)
    }

    /// Whether `issuer` signed `child`, may do so, and did not take it back; the lists that are
    /// past their time. `below`: issuers between the server and this one.
    fn signed_by(
        &self,
        child: &Link,
        issuer: &Link,
        below: usize,
    ) -> Result<Vec<PathBuf>, Distrust> {
        let name = &issuer.shown.subject;
        let of = &child.shown.subject;
        let signature = child.parsed.signature.as_bytes();
        verify(issuer, of, &child.parsed.signature_algorithm, &child.signed, signature)?;
        // The algorithm stands in a certificate twice, once signed and once not.
        if child.parsed.signature_algorithm != child.parsed.tbs_certificate.signature {
            return Err(Distrust::WrongSignature { of: of.clone(), issuer: name.clone() });
        }
        if issuer.shown.not_after < self.now {
            let days = -issuer.shown.days_left(self.now);
            return Err(Distrust::IssuerRanOut { issuer: name.clone(), days });
        }
        if issuer.shown.not_before > self.now {
            return Err(Distrust::IssuerNotYet { issuer: name.clone() });
        }
        if let Some(lacks) = no_issuer(issuer, below) {
            return Err(Distrust::NotAnIssuer { issuer: name.clone(), lacks });
        }
        known_extensions(
            name,
            issuer.parsed.tbs_certificate.extensions.as_deref(),
            &[
                KeyUsage::OID,
                ExtendedKeyUsage::OID,
                BasicConstraints::OID,
                SubjectAltName::OID,
                SubjectKeyIdentifier::OID,
                CertificatePolicies::OID,
            ],
        )?;
        self.revoked(child, issuer)
    }

    /// Looks into the lists of `issuer`; those past their time.
    fn revoked(&self, child: &Link, issuer: &Link) -> Result<Vec<PathBuf>, Distrust> {
        let mut outdated = Vec::new();
        let (mut sound, mut wrong) = (0, None);
        for list in self.lists {
            let bad =
                |what: &str| Distrust::List { file: list.file.clone(), what: what.to_owned() };
            let Some((read, signed)) = &list.read else {
                return Err(bad("it is no revocation list (DER or PEM)"));
            };
            let words = &read.tbs_cert_list;
            if words.issuer != *issuer.subject() {
                continue;
            }
            let name = &issuer.shown.subject;
            let may = issuer.get::<KeyUsage>().is_none_or(|usage| usage.crl_sign());
            let signature = read.signature.as_bytes();
            if !may || verify(issuer, name, &read.signature_algorithm, signed, signature).is_err() {
                wrong = Some(bad(&format!("it is not signed by {name}")));
                continue;
            }
            let entries = words.revoked_certificates.as_deref().unwrap_or_default();
            let odd = entries
                .iter()
                .filter_map(|entry| entry.crl_entry_extensions.as_deref())
                .chain(words.crl_extensions.as_deref())
                .flatten()
                .any(|one| {
                    one.critical
                        && ![AuthorityKeyIdentifier::OID, CrlNumber::OID].contains(&one.extn_id)
                });
            if odd {
                return Err(bad("it is a partial list, which is not understood here"));
            }
            sound += 1;
            let serial = &child.parsed.tbs_certificate.serial_number;
            if let Some(entry) = entries.iter().find(|entry| entry.serial_number == *serial) {
                let on = crate::output::utc_text(utc_of(entry.revocation_date));
                return Err(Distrust::Revoked {
                    of: child.shown.subject.clone(),
                    issuer: name.clone(),
                    on: on.get(..10).unwrap_or_default().to_owned(),
                });
            }
            if words.next_update.is_some_and(|next| utc_of(next) < self.now) {
                outdated.push(list.file.clone());
            }
        }
        match wrong {
            // A CA with a new key has lists of both.
            Some(why) if sound == 0 => Err(why),
            _ => Ok(outdated),
        }
    }
}

/// What keeps a certificate from issuing another; `below`: issuers between it and the server.
fn no_issuer(issuer: &Link, below: usize) -> Option<&'static str> {
    let Some(constraints) = issuer.get::<BasicConstraints>().filter(|constraints| constraints.ca)
    else {
        return Some("it is not marked as a CA (basic constraints)");
    };
    if constraints.path_len_constraint.is_some_and(|most| below > usize::from(most)) {
        return Some("it permits fewer issuers below it (path length)");
    }
    if issuer.get::<KeyUsage>().is_some_and(|usage| !usage.key_cert_sign()) {
        return Some("it may not sign certificates (key usage)");
    }
    if issuer.shown.key_bits < KEY_BITS_MIN {
        return Some("its key is no RSA key of 2048 bits or more");
    }
    None
}

/// What keeps a certificate from being an anchor.
pub(super) fn no_anchor(certificate: &Certificate) -> Option<&'static str> {
    match Link::new(certificate) {
        Some(link) => no_issuer(&link, 0),
        None => Some("it cannot be read"),
    }
}

fn verify(
    issuer: &Link,
    of: &str,
    algorithm: &AlgorithmIdentifierOwned,
    signed: &[u8],
    signature: Option<&[u8]>,
) -> Result<(), Distrust> {
    let wrong =
        || Distrust::WrongSignature { of: of.to_owned(), issuer: issuer.shown.subject.clone() };
    let odd = |by: String| Distrust::Algorithm { of: of.to_owned(), by };
    let signature = signature.ok_or_else(wrong)?;
    let key = issuer.key().ok_or_else(|| odd("a key that is not RSA".to_owned()))?;
    if signature.len() != key.size() {
        return Err(wrong());
    }
    let good = match algorithm.oid {
        SHA256_RSA => pkcs1::<rsa::sha2::Sha256>(key, signed, signature),
        SHA384_RSA => pkcs1::<rsa::sha2::Sha384>(key, signed, signature),
        SHA512_RSA => pkcs1::<rsa::sha2::Sha512>(key, signed, signature),
        PSS => match pss_hash(algorithm) {
            Some(SHA256) => pss::<rsa::sha2::Sha256>(key, signed, signature),
            Some(SHA384) => pss::<rsa::sha2::Sha384>(key, signed, signature),
            Some(SHA512) => pss::<rsa::sha2::Sha512>(key, signed, signature),
            _ => return Err(odd("RSA-PSS with another hash".to_owned())),
        },
        SHA1_RSA => return Err(odd("RSA and SHA-1, which is broken".to_owned())),
        other => return Err(odd(other.to_string())),
    };
    if good { Ok(()) } else { Err(wrong()) }
}

fn pkcs1<D>(key: rsa::RsaPublicKey, signed: &[u8], signature: &[u8]) -> bool
where
    D: rsa::sha2::Digest + rsa::pkcs8::AssociatedOid,
{
    let signature = rsa::pkcs1v15::Signature::try_from(signature);
    let key = rsa::pkcs1v15::VerifyingKey::<D>::new(key);
    signature.is_ok_and(|signature| key.verify(signed, &signature).is_ok())
}

fn pss<D>(key: rsa::RsaPublicKey, signed: &[u8], signature: &[u8]) -> bool
where
    D: rsa::sha2::Digest + rsa::sha2::digest::FixedOutputReset,
{
    let signature = rsa::pss::Signature::try_from(signature);
    let key = rsa::pss::VerifyingKey::<D>::new(key);
    signature.is_ok_and(|signature| key.verify(signed, &signature).is_ok())
}

/// The hash of RSA-PSS, where the mask uses the same.
fn pss_hash(algorithm: &AlgorithmIdentifierOwned) -> Option<ObjectIdentifier> {
    let parameters = algorithm.parameters.as_ref()?.to_der().ok()?;
    let parameters = rsa::pkcs1::RsaPssParams::try_from(parameters.as_slice()).ok()?;
    let mask = parameters.mask_gen.parameters?.oid;
    (mask == parameters.hash.oid).then_some(parameters.hash.oid)
}

#[cfg(test)]
mod tests;
