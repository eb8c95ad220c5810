//! Who we are to the server, who it is to us, and why one of us turned the other away.
//!
//! Every refusal is said in one sentence with the next step. Ours are found before we connect,
//! so that a certificate status from the wire is always the server's word about us.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use opcua::client::IdentityToken;
use opcua::crypto::{PrivateKey, SecurityPolicy, X509};
use opcua::types::{MessageSecurityMode, StatusCode, UserTokenType};
use tokio::time::sleep;
use tracing::warn;
use trimloop_core::time::Utc;
use trimloop_recipe::plc_config::{Policy, Secret, Security, SecurityMode, User};

use super::client::Servers;
use super::{Shared, stopped};
use crate::pki::{Certificate, Distrust, Pki};

/// Key lengths that all our policies take [bit].
const KEY_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// Days before the end of a certificate at which people are told.
const THRESHOLDS: [i64; 4] = [60, 30, 7, 0];
/// Time between two looks at the certificates.
const LOOK: Duration = Duration::from_hours(1);

pub(super) fn policy(security: Security) -> (SecurityPolicy, MessageSecurityMode) {
    match security {
        Security::None => (SecurityPolicy::None, MessageSecurityMode::None),
        Security::Policy(policy, mode) => (
            match policy {
                Policy::Basic256Sha256 => SecurityPolicy::Basic256Sha256,
                Policy::Aes128Sha256RsaOaep => SecurityPolicy::Aes128Sha256RsaOaep,
                Policy::Aes256Sha256RsaPss => SecurityPolicy::Aes256Sha256RsaPss,
            },
            match mode {
                SecurityMode::Sign => MessageSecurityMode::Sign,
                SecurityMode::SignAndEncrypt => MessageSecurityMode::SignAndEncrypt,
            },
        ),
    }
}

pub(super) fn token_type(user: &User) -> UserTokenType {
    match user {
        User::Anonymous => UserTokenType::Anonymous,
        User::Password { .. } => UserTokenType::UserName,
        User::Certificate { .. } => UserTokenType::Certificate,
    }
}

/// The token to sign in with. Secrets are read anew each time, so that a changed password needs
/// no restart, and kept no longer than the session.
///
/// # Errors
/// A sentence for the administrator; it never holds the secret.
pub(super) fn token(user: &User) -> Result<IdentityToken, String> {
    match user {
        User::Anonymous => Ok(IdentityToken::new_anonymous()),
        User::Password { name, secret } => {
            Ok(IdentityToken::new_user_name(name.clone(), read_secret(secret)?))
        }
        User::Certificate { certificate, private_key } => {
            let parsed = Certificate::read(certificate).map_err(|error| {
                format!("the user's certificate cannot be used: {}", crate::error::chain(&error))
            })?;
            let x509 = X509::from_der(&parsed.der).map_err(|_| {
                format!("the user's certificate {} cannot be used", certificate.display())
            })?;
            only_ours(private_key);
            let key = PrivateKey::read_pem_file(private_key).map_err(|_| {
                let path = private_key.display();
                format!("the user's private key {path} cannot be read as PEM; see that it is there and that this service may read it")
            })?;
            Ok(IdentityToken::new_x509(x509, key))
        }
    }
}

fn read_secret(secret: &Secret) -> Result<String, String> {
    let path = match secret {
        Secret::File(path) => path.clone(),
        Secret::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                format!(
                    "the credential \"{name}\" is not there, because systemd handed none over; \
                     add `LoadCredential={name}:FILE` to the unit, or use `password_file`"
                )
            })?;
            PathBuf::from(folder).join(name)
        }
    };
    only_ours(&path);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("the password file {} cannot be read: {error}", path.display()))?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(format!("the password file {} is empty", path.display()));
    }
    Ok(password.to_owned())
}

/// Warns of a secret that other users of this machine may read.
fn only_ours(path: &Path) {
    let open = std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    if open {
        warn!(path = %path.display(), "Other users of this machine may read this secret; `chmod 600` it.");
    }
}

/// What is known of a server before we connect.
pub(super) struct Facts<'a> {
    pub(super) certificate: Option<&'a Certificate>,
    /// By people, or by an issuer that they trust.
    pub(super) trusted: bool,
    /// Why no issuer vouches for it, or why it is not taken at all.
    pub(super) distrust: Option<&'a Distrust>,
    /// As its endpoint says.
    pub(super) application_uri: &'a str,
    /// Host of the address that we use.
    pub(super) host: &'a str,
    pub(super) now: Utc,
}

/// Why we do not talk to a server; `None` when all is well. OPC 10000-4, 6.1.3.
pub(super) fn refusal(facts: &Facts<'_>) -> Option<String> {
    let Some(certificate) = facts.certificate else {
        return Some(
            "the server shows no certificate that can be read; give it one, or look at its \
             endpoints with `trimloop plc discover`"
                .to_owned(),
        );
    };
    let days = certificate.days_left(facts.now);
    if days < 0 {
        return Some(format!(
            "the server's certificate {certificate} ran out {} days ago; renew it on the server, \
             then trust the new one with `trimloop plc cert trust`",
            -days
        ));
    }
    if certificate.not_before > facts.now {
        return Some(format!(
            "the server's certificate {certificate} is not valid yet; compare the clocks of this \
             machine and of the server"
        ));
    }
    if !KEY_BITS.contains(&certificate.key_bits) {
        return Some(format!(
            "the server's certificate {certificate} has a key of {} bits, and the security policy \
             takes RSA of {} to {}; make a new one on the server",
            certificate.key_bits,
            KEY_BITS.start(),
            KEY_BITS.end()
        ));
    }
    let uri = certificate.application_uri.as_deref().unwrap_or("none");
    if uri != facts.application_uri {
        return Some(format!(
            "the server's certificate {certificate} is for the application {uri}, but the server \
             calls itself {}; make its certificate anew after changing its name",
            facts.application_uri
        ));
    }
    if !names_host(&certificate.hosts, facts.host) {
        let hosts = match certificate.hosts.as_slice() {
            [] => "no host at all".to_owned(),
            hosts => hosts.join(", "),
        };
        return Some(format!(
            "the server's certificate {certificate} is for {hosts}, not for {}; use a name it \
             holds in `url`, or make it anew on the server",
            facts.host
        ));
    }
    if let Some(why) = facts.distrust.filter(|_| !facts.trusted) {
        return Some(format!("the server's certificate {} {why}", certificate.subject));
    }
    if !facts.trusted {
        let print = certificate.fingerprint();
        let issuer = if certificate.self_signed() {
            String::new()
        } else {
            format!(", issued by {},", certificate.issuer)
        };
        return Some(format!(
            "the server's certificate {}{issuer} is not trusted yet; compare its SHA-256 {print} \
             with the server's own, then run `trimloop plc cert trust {}`",
            certificate.subject,
            print.get(..16).unwrap_or(&print)
        ));
    }
    None
}

fn names_host(hosts: &[String], host: &str) -> bool {
    let loopback = |name: &str| {
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    };
    hosts.iter().any(|name| name.eq_ignore_ascii_case(host) || (loopback(name) && loopback(host)))
}

/// What is wrong with our own certificate, before we show it.
pub(super) fn own_refusal(own: &Certificate, application_uri: &str, now: Utc) -> Option<String> {
    let uri = own.application_uri.as_deref().unwrap_or("none");
    if uri != application_uri {
        return Some(format!(
            "our certificate is for the application {uri}, but this service is {application_uri} \
             (`name` in trimloop.toml); run `trimloop plc cert renew --activate` and trust the \
             new one on the server"
        ));
    }
    if own.days_left(now) < 0 {
        return Some(
            "our own certificate has run out; run `trimloop plc cert renew --activate` and trust \
             the new one on the server"
                .to_owned(),
        );
    }
    None
}

/// What the OPC UA library (0.19.0) cannot do with what a server shows.
pub(super) fn unreadable_chain(shown: &[Certificate]) -> Option<String> {
    let (leaf, sent) = shown.split_first()?;
    (!sent.is_empty()).then(|| {
        format!(
            "the server appends {} more certificate(s) to its own, {}, which our OPC UA library \
             does not take yet; let the server show its own certificate only, and trust its \
             issuers here with `trimloop plc cert trust --issuer FILE`",
            sent.len(),
            leaf.subject
        )
    })
}

/// The server's word about us, in a sentence; `None` when the status is about something else.
pub(super) fn explain(status: StatusCode) -> Option<&'static str> {
    const TRUST_US: &str = "the server does not trust our certificate; trust it on the server \
        (`trimloop plc cert show` names its file and fingerprint)";
    Some(match status {
        StatusCode::BadCertificateUntrusted
        | StatusCode::BadSecurityChecksFailed
        | StatusCode::BadCertificateChainIncomplete
        | StatusCode::BadCertificateInvalid
        | StatusCode::BadCertificateUseNotAllowed => TRUST_US,
        StatusCode::BadCertificateTimeInvalid | StatusCode::BadCertificateIssuerTimeInvalid => {
            "the server finds our certificate out of its time; compare the clocks, or run \
             `trimloop plc cert renew`"
        }
        StatusCode::BadCertificateUriInvalid => {
            "the server finds another application URI in our certificate than we state; run \
             `trimloop plc cert renew --activate` and trust the new one on the server"
        }
        StatusCode::BadCertificateHostNameInvalid => {
            "the server finds another host name in our certificate; run `trimloop plc cert renew` \
             on this machine and trust the new one on the server"
        }
        StatusCode::BadCertificateRevoked | StatusCode::BadCertificateIssuerRevoked => {
            "our certificate was revoked; run `trimloop plc cert renew --activate` and trust the \
             new one on the server"
        }
        StatusCode::BadCertificateRevocationUnknown
        | StatusCode::BadCertificateIssuerRevocationUnknown => {
            "the server finds no revocation list for the issuer of our certificate; give it one, \
             or trust our certificate itself"
        }
        StatusCode::BadSecurityPolicyRejected | StatusCode::BadSecurityModeRejected => {
            "the server does not take this security policy or mode; `trimloop plc discover` lists \
             what it offers"
        }
        StatusCode::BadIdentityTokenRejected | StatusCode::BadUserAccessDenied => {
            "the server does not know this user, or the password is wrong; correct [plc.user] \
             and its secret"
        }
        StatusCode::BadIdentityTokenInvalid => {
            "the server does not take this user, or not this kind of user; correct [plc.user] \
             (`trimloop plc discover` lists what it takes)"
        }
        StatusCode::BadUserSignatureInvalid => {
            "the private key does not belong to the user's certificate; correct [plc.user]"
        }
        StatusCode::BadNonceInvalid | StatusCode::BadApplicationSignatureInvalid => {
            "the server finds our signature wrong; see that own/cert.der and private/private.pem \
             belong together (`trimloop plc cert renew --activate` makes both anew)"
        }
        _ => return None,
    })
}

/// What a failed attempt means when [`explain`] does not tell. The server answered the question
/// for its endpoints a moment ago.
pub(super) fn failed(security: Security, status: StatusCode) -> &'static str {
    match (status, security) {
        (StatusCode::BadTooManySessions | StatusCode::BadMaxConnectionsReached, _) => {
            "the server has as many sessions as it takes; end others, or raise its limit"
        }
        (StatusCode::BadServerHalted | StatusCode::BadShutdown, _) => "the server is shutting down",
        (status, Security::Policy(..)) if closed(status) => {
            "the server closed the encrypted channel without a reason, mostly because it does not \
             trust our certificate; trust it on the server (`trimloop plc cert show` names its \
             file and fingerprint)"
        }
        _ => "no connection",
    }
}

/// Statuses of a connection that the peer closed; some stacks send none that can be read.
fn closed(status: StatusCode) -> bool {
    !status.is_bad()
        || matches!(
            status,
            StatusCode::BadConnectionClosed
                | StatusCode::BadSecureChannelClosed
                | StatusCode::BadCommunicationError
                | StatusCode::BadUnexpectedError
                | StatusCode::BadTcpInternalError
        )
}

/// The threshold to tell now: the smallest that was reached and not told yet.
fn due(days_left: i64, told: Option<i64>) -> Option<i64> {
    let reached = THRESHOLDS.into_iter().filter(|days| days_left <= *days).min()?;
    told.is_none_or(|told| reached < told).then_some(reached)
}

/// Tells 60, 30 and 7 days ahead that our certificate or the server's runs out.
pub(super) async fn watch(shared: Arc<Shared>, servers: Servers, pki: Pki) {
    let mut stop = shared.stop.clone();
    let mut told: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        let own = Certificate::read(&pki.own().certificate).ok();
        let ours = own.map(|certificate| ("our certificate", certificate));
        let theirs = servers.certificates();
        let theirs = theirs.into_iter().map(|certificate| ("its certificate", certificate));
        for (whose, certificate) in ours.into_iter().chain(theirs) {
            let print = certificate.fingerprint();
            let days = certificate.days_left(shared.clock.utc());
            if let Some(threshold) = due(days, told.get(&print).copied()) {
                told.insert(print, threshold);
                let plc = &shared.config.name;
                let sentence = expiry(plc, whose, &certificate, days);
                warn!(%plc, "{sentence}");
                shared.notices.tell("certificate_expiry", plc, sentence);
            }
        }
        // Soon after a connect the server's certificate is known.
        let news = servers.seen();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = news => {}
            () = sleep(LOOK) => {}
        }
    }
}

fn expiry(plc: &str, whose: &str, certificate: &Certificate, days: i64) -> String {
    let when = match days {
        ..0 => "has run out".to_owned(),
        0 => "runs out today".to_owned(),
        1 => "runs out in 1 day".to_owned(),
        days => format!("runs out in {days} days"),
    };
    let next = if whose == "our certificate" {
        "run `trimloop plc cert renew` and trust the new one on the server"
    } else {
        "renew it on the server, and trust the new one here with `trimloop plc cert trust` ahead"
    };
    format!("PLC {plc}: {whose} {certificate} {when}; {next}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn certificate() -> Certificate {
        Certificate {
            der: vec![1, 2, 3],
            subject: "CN=press".to_owned(),
            issuer: "CN=press".to_owned(),
            application_uri: Some("urn:press".to_owned()),
            hosts: vec!["press-4".to_owned(), "127.0.0.1".to_owned()],
            not_before: Utc::from_millis(10 * DAY),
            not_after: Utc::from_millis(110 * DAY),
            key_bits: 2048,
        }
    }

    /// Pain 13: every refusal names its cause and the next step, the cause that must be mended
    /// first goes first.
    #[test]
    fn pain_13_our_refusals_are_explained() {
        type Change = fn(&mut Certificate);
        let rows: [(Change, &str, &str, bool, i64, &str, &str); 9] = [
            (|_| {}, "urn:press", "press-4", true, 50, "", ""),
            (|_| {}, "urn:press", "localhost", true, 50, "", ""),
            (|_| {}, "urn:press", "press-4", false, 50, "not trusted yet", "plc cert trust"),
            (
                |c| c.issuer = "CN=CA".into(),
                "urn:press",
                "PRESS-4",
                false,
                50,
                "issued by CN=CA",
                "trust",
            ),
            (|_| {}, "urn:press", "press-4", true, 115, "ran out 5 days ago", "renew"),
            (|_| {}, "urn:press", "press-4", true, 5, "not valid yet", "clocks"),
            (
                |c| c.key_bits = 1024,
                "urn:press",
                "press-4",
                true,
                50,
                "1024 bits",
                "make a new one",
            ),
            (|_| {}, "urn:other", "press-4", true, 50, "calls itself urn:other", "anew"),
            (|_| {}, "urn:press", "10.0.0.9", true, 50, "not for 10.0.0.9", "`url`"),
        ];
        for (change, application_uri, host, trusted, day, cause, next) in rows {
            let mut certificate = certificate();
            change(&mut certificate);
            let now = Utc::from_millis(day * DAY);
            let certificate = Some(&certificate);
            let distrust = None;
            let facts = Facts { certificate, trusted, distrust, application_uri, host, now };
            match refusal(&facts) {
                None => assert_eq!(cause, ""),
                Some(said) => assert!(
                    !cause.is_empty() && said.contains(cause) && said.contains(next),
                    "{said}"
                ),
            }
        }
        let facts = Facts {
            certificate: None,
            trusted: true,
            distrust: None,
            application_uri: "urn:press",
            host: "x",
            now: Utc::from_millis(0),
        };
        assert!(refusal(&facts).is_some_and(|said| said.contains("shows no certificate")));
    }

    /// What the server says about us is told as a sentence; what is not about certificates or
    /// users is left to others.
    #[test]
    fn pain_13_their_refusals_are_explained() {
        for (status, expect) in [
            (StatusCode::BadCertificateUntrusted, "trust it on the server"),
            (StatusCode::BadSecurityChecksFailed, "trust it on the server"),
            (StatusCode::BadCertificateTimeInvalid, "clocks"),
            (StatusCode::BadCertificateUriInvalid, "application URI"),
            (StatusCode::BadCertificateHostNameInvalid, "host name"),
            (StatusCode::BadSecurityPolicyRejected, "plc discover"),
            (StatusCode::BadIdentityTokenRejected, "password is wrong"),
            (StatusCode::BadUserSignatureInvalid, "private key"),
        ] {
            assert!(explain(status).is_some_and(|said| said.contains(expect)), "{status}");
        }
        assert_eq!(explain(StatusCode::BadTimeout), None);
        let certificate = certificate();
        let late = Utc::from_millis(111 * DAY);
        let now = Utc::from_millis(50 * DAY);
        assert_eq!(own_refusal(&certificate, "urn:press", now), None);
        for (uri, now, expect) in [("urn:x", now, "urn:x"), ("urn:press", late, "run out")] {
            let said = own_refusal(&certificate, uri, now);
            assert!(said.is_some_and(|said| said.contains(expect) && said.contains("renew")));
        }
    }

    /// Pain 14: each threshold is told once, and a late start tells only the nearest.
    #[test]
    fn pain_14_expiry_is_told_at_60_30_and_7_days() {
        let mut told = None;
        let mut said = Vec::new();
        for days in (-2..=70).rev() {
            if let Some(threshold) = due(days, told) {
                said.push((days, threshold));
                told = Some(threshold);
            }
        }
        assert_eq!(said, [(60, 60), (30, 30), (7, 7), (0, 0)]);
        assert_eq!(due(12, None), Some(30));
        assert_eq!(due(12, Some(30)), None);
        assert_eq!(due(300, None), None);
        let certificate = certificate();
        for (days, expect) in [(-1, "has run out"), (0, "today"), (1, "1 day;"), (7, "7 days;")] {
            let said = expiry("press-4", "our certificate", &certificate, days);
            assert!(said.contains(expect) && said.contains("plc cert renew"), "{said}");
        }
    }

    /// A secret is read to its end without the line end, and what is wrong with it never shows it.
    #[test]
    fn secrets_are_read_from_their_files() {
        let path = std::env::temp_dir().join(format!("trimloop-secret-{}", std::process::id()));
        for (text, expect) in [
            ("s3cret\n", Some("s3cret")),
            ("s3cret\r\n", Some("s3cret")),
            (" x ", Some(" x ")),
            ("\n", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read_secret(&Secret::File(path.clone())).ok().as_deref(), expect);
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read_secret(&Secret::File(path)).unwrap_err().contains("cannot be read"));
    }
}
