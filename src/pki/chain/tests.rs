//! Chains of a root, an intermediate and a server, each with one thing wrong.

use std::str::FromStr as _;
use std::sync::OnceLock;
use std::time::Duration;

use rsa::pkcs8::EncodePublicKey as _;
use rsa::rand_core::OsRng;
use rsa::signature::{Keypair, SignatureEncoding, Signer};
use x509_cert::builder::{Builder as _, CertificateBuilder, Profile};
use x509_cert::crl::{RevokedCert, TbsCertList};
use x509_cert::der::asn1::{BitString, UtcTime};
use x509_cert::der::flagset::FlagSet;
use x509_cert::ext::AsExtension;
use x509_cert::ext::pkix::KeyUsages;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{DynSignatureAlgorithmIdentifier, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

use super::*;

type Key = rsa::RsaPrivateKey;
type V15 = rsa::pkcs1v15::SigningKey<rsa::sha2::Sha256>;

const DAY: u64 = 86_400;
/// Day on which everything is looked at.
const TODAY: u64 = 20_000;

/// Keys take seconds to make: four are made once.
fn key(at: usize) -> Key {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    let make = || (0..4).map(|_| Key::new(&mut OsRng, 2048).unwrap()).collect();
    KEYS.get_or_init(make)[at].clone()
}

fn time(day: u64) -> Time {
    Time::UtcTime(UtcTime::from_unix_duration(Duration::from_secs(day * DAY)).unwrap())
}

fn now() -> Utc {
    Utc::from_millis(i64::try_from(TODAY * DAY * 1000).unwrap())
}

/// What a certificate is to say.
#[derive(Clone)]
struct Spec {
    subject: &'static str,
    issuer: &'static str,
    serial: u8,
    key: usize,
    signer: usize,
    from: u64,
    to: u64,
    constraints: Option<BasicConstraints>,
    usage: Option<FlagSet<KeyUsages>>,
    purposes: Option<Vec<ObjectIdentifier>>,
    odd: Option<&'static str>,
    sha1: bool,
    pss: bool,
}

const CA: BasicConstraints = BasicConstraints { ca: true, path_len_constraint: None };

fn root() -> Spec {
    Spec {
        subject: "CN=Root",
        issuer: "CN=Root",
        serial: 1,
        key: 0,
        signer: 0,
        from: TODAY - 100,
        to: TODAY + 100,
        constraints: Some(CA),
        usage: Some(KeyUsages::KeyCertSign | KeyUsages::CRLSign),
        purposes: None,
        odd: None,
        sha1: false,
        pss: false,
    }
}

fn middle() -> Spec {
    Spec { subject: "CN=Plant", serial: 2, key: 1, ..root() }
}

fn server() -> Spec {
    Spec {
        subject: "CN=press",
        issuer: "CN=Plant",
        serial: 3,
        key: 2,
        signer: 1,
        constraints: Some(BasicConstraints { ca: false, path_len_constraint: None }),
        usage: Some(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment),
        purposes: Some(vec![ID_KP_SERVER_AUTH]),
        ..root()
    }
}

/// An extension that nobody knows, critical.
struct Odd(Vec<u8>);

impl AssociatedOid for Odd {
    const OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.3.4.5");
}

impl x509_cert::der::Encode for Odd {
    fn encoded_len(&self) -> x509_cert::der::Result<x509_cert::der::Length> {
        x509_cert::der::asn1::OctetStringRef::new(&self.0)?.encoded_len()
    }
    fn encode(&self, writer: &mut impl x509_cert::der::Writer) -> x509_cert::der::Result<()> {
        x509_cert::der::asn1::OctetStringRef::new(&self.0)?.encode(writer)
    }
}

impl AsExtension for Odd {
    fn critical(&self, _: &Name, _: &[Extension]) -> bool {
        true
    }
}

fn made(spec: &Spec) -> Certificate {
    if spec.pss {
        let signer = rsa::pss::SigningKey::<rsa::sha2::Sha256>::new(key(spec.signer));
        return built::<_, rsa::pss::Signature>(spec, &Seeded(signer));
    }
    built::<_, rsa::pkcs1v15::Signature>(spec, &V15::new(key(spec.signer)))
}

/// RSA-PSS draws a salt; the builder asks for a signer that needs no source of one.
struct Seeded(rsa::pss::SigningKey<rsa::sha2::Sha256>);

impl Signer<rsa::pss::Signature> for Seeded {
    fn try_sign(&self, message: &[u8]) -> Result<rsa::pss::Signature, rsa::signature::Error> {
        rsa::signature::RandomizedSigner::try_sign_with_rng(&self.0, &mut OsRng, message)
    }
}

impl Keypair for Seeded {
    type VerifyingKey = rsa::pss::VerifyingKey<rsa::sha2::Sha256>;
    fn verifying_key(&self) -> Self::VerifyingKey {
        self.0.verifying_key()
    }
}

impl DynSignatureAlgorithmIdentifier for Seeded {
    fn signature_algorithm_identifier(&self) -> x509_cert::spki::Result<AlgorithmIdentifierOwned> {
        self.0.signature_algorithm_identifier()
    }
}

fn built<S, G>(spec: &Spec, signer: &S) -> Certificate
where
    S: Keypair + DynSignatureAlgorithmIdentifier + Signer<G>,
    S::VerifyingKey: rsa::pkcs8::EncodePublicKey,
    G: x509_cert::spki::SignatureBitStringEncoding,
{
    let public = key(spec.key).to_public_key().to_public_key_der().unwrap();
    let mut builder = CertificateBuilder::new(
        Profile::Manual { issuer: Some(Name::from_str(spec.issuer).unwrap()) },
        SerialNumber::new(&[spec.serial]).unwrap(),
        Validity { not_before: time(spec.from), not_after: time(spec.to) },
        Name::from_str(spec.subject).unwrap(),
        SubjectPublicKeyInfoOwned::from_der(public.as_bytes()).unwrap(),
        signer,
    )
    .unwrap();
    if let Some(constraints) = &spec.constraints {
        builder.add_extension(constraints).unwrap();
    }
    if let Some(usage) = spec.usage {
        builder.add_extension(&KeyUsage(usage)).unwrap();
    }
    if let Some(purposes) = &spec.purposes {
        builder.add_extension(&ExtendedKeyUsage(purposes.clone())).unwrap();
    }
    if let Some(odd) = spec.odd {
        builder.add_extension(&Odd(odd.into())).unwrap();
    }
    let mut built = builder.build::<G>().unwrap();
    if spec.sha1 {
        built.tbs_certificate.signature.oid = SHA1_RSA;
        built.signature_algorithm.oid = SHA1_RSA;
    }
    Certificate::parse(&built.to_der().unwrap()).unwrap()
}

/// A list of what the key at `signer` took back under the name `issuer`.
fn list(issuer: &str, signer: usize, serials: &[u8], next: u64) -> List {
    let signer = V15::new(key(signer));
    let signature = signer.signature_algorithm_identifier().unwrap();
    let revoked = |serial: &u8| RevokedCert {
        serial_number: SerialNumber::new(&[*serial]).unwrap(),
        revocation_date: time(TODAY - 3),
        crl_entry_extensions: None,
    };
    let tbs_cert_list = TbsCertList {
        version: x509_cert::Version::V2,
        signature: signature.clone(),
        issuer: Name::from_str(issuer).unwrap(),
        this_update: time(TODAY - 10),
        next_update: Some(time(next)),
        revoked_certificates: (!serials.is_empty()).then(|| serials.iter().map(revoked).collect()),
        crl_extensions: None,
    };
    let signed = tbs_cert_list.to_der().unwrap();
    let list = CertificateList {
        tbs_cert_list,
        signature_algorithm: signature,
        signature: BitString::from_bytes(&signer.sign(&signed).to_vec()).unwrap(),
    };
    List::parse(PathBuf::from("plant.crl"), &list.to_der().unwrap())
}

fn subjects(chain: &Chain) -> Vec<&str> {
    chain.issuers.iter().map(|one| one.subject.as_str()).collect()
}

/// A chain is found from its pieces, wherever they come from, in any order.
#[test]
fn a_trusted_issuer_vouches() {
    let (root, middle, server) = (made(&root()), made(&middle()), made(&server()));
    let empty: &[Certificate] = &[];
    let all = [root.clone(), middle.clone()];
    for (sent, anchors, expect) in [
        (&all[1..], &all[..1], vec!["CN=Plant", "CN=Root"]),
        (empty, &all[..], vec!["CN=Plant"]),
        // An intermediate may be an anchor by itself.
        (empty, &all[1..], vec!["CN=Plant"]),
        (&all[..], &all[..1], vec!["CN=Plant", "CN=Root"]),
    ] {
        let chain = vouch(&server, sent, anchors, &[], now()).unwrap();
        assert_eq!(subjects(&chain), expect);
    }
    // In PSS, too.
    let pss = made(&Spec { pss: true, ..self::server() });
    assert!(vouch(&pss, &[], &all, &[], now()).is_ok());
    // A usage that is not limited, and a CA without a stated usage.
    let free = made(&Spec { usage: None, purposes: None, ..self::server() });
    let plain = made(&Spec { usage: None, ..self::middle() });
    assert!(vouch(&free, &[plain], &all[..1], &[], now()).is_ok());
}

/// Each defect is found, named, and told with the next step.
#[test]
fn each_defect_is_told() {
    type Change = fn(&mut Spec, &mut Spec, &mut Spec);
    let rows: [(Change, &str, &str); 14] = [
        (|r, _, _| r.to = TODAY - 2, "CN=Root, which ran out 2 days ago", "--issuer FILE"),
        (|_, m, _| m.to = TODAY - 1, "CN=Plant, which ran out 1 days ago", "--issuer FILE"),
        (|_, m, _| m.from = TODAY + 1, "CN=Plant, which is not valid yet", "clocks"),
        (|_, m, _| m.constraints = None, "CN=Plant, which may not", "not marked as a CA"),
        (
            |_, m, _| {
                m.constraints = Some(BasicConstraints { ca: false, path_len_constraint: None });
            },
            "CN=Plant, which may not",
            "basic constraints",
        ),
        (
            |r, _, _| {
                r.constraints = Some(BasicConstraints { ca: true, path_len_constraint: Some(0) });
            },
            "CN=Root, which may not",
            "path length",
        ),
        (
            |_, m, _| m.usage = Some(KeyUsages::CRLSign.into()),
            "CN=Plant, which may not",
            "key usage",
        ),
        (|_, _, s| s.signer = 3, "signature of CN=press is not that of CN=Plant", "forged"),
        (|_, m, _| m.signer = 3, "signature of CN=Plant is not that of CN=Root", "forged"),
        (|_, _, s| s.sha1 = true, "signed with RSA and SHA-1", "issue it anew"),
        (|_, m, _| m.odd = Some("x"), "1.2.3.4.5", "without"),
        (|_, _, s| s.odd = Some("x"), "CN=press holds a condition", "without"),
        (|_, _, s| s.usage = Some(KeyUsages::KeyEncipherment.into()), "may not sign", "anew"),
        (|_, _, s| s.purposes = Some(vec![]), "not for servers", "anew"),
    ];
    for (change, cause, next) in rows {
        let (mut r, mut m, mut s) = (root(), middle(), server());
        change(&mut r, &mut m, &mut s);
        let said = vouch(&made(&s), &[made(&m)], &[made(&r)], &[], now()).unwrap_err().to_string();
        assert!(said.contains(cause) && said.contains(next), "{cause}: {said}");
    }
}

/// Without the issuer, its name is told; what was sent along is no reason to trust.
#[test]
fn an_unknown_issuer_is_named() {
    let (root, middle, server) = (made(&root()), made(&middle()), made(&server()));
    let other = made(&Spec { subject: "CN=Other", issuer: "CN=Other", ..self::root() });
    for (sent, anchors, of, issuer) in [
        (vec![], vec![other.clone()], "CN=press", "CN=Plant"),
        (vec![], vec![root.clone()], "CN=press", "CN=Plant"),
        (vec![middle.clone()], vec![other.clone()], "CN=Plant", "CN=Root"),
        (vec![middle.clone(), root.clone()], vec![other], "CN=Root", "CN=Root"),
    ] {
        let why = vouch(&server, &sent, &anchors, &[], now()).unwrap_err();
        let said = why.to_string();
        assert!(
            said.contains(&format!("ends at {of}, issued by {issuer},"))
                && said.contains("plc cert trust --issuer FILE")
                && said.contains(&server.fingerprint()[..16]),
            "{said}"
        );
        assert!(!why.is_final());
    }
}

/// What an issuer took back is refused for good, at every step; a list that cannot be used
/// refuses what it is about, and one past its time still counts.
#[test]
fn revocation_lists_are_obeyed() {
    let (root, middle, server) = (made(&root()), made(&middle()), made(&server()));
    let anchors = [root];
    let sent = [middle];
    let judge = |lists: &[List]| vouch(&server, &sent, &anchors, lists, now());
    let fresh = TODAY + 5;
    for (lists, of) in [
        (vec![list("CN=Plant", 1, &[9, 3], fresh)], "CN=press"),
        (vec![list("CN=Root", 0, &[2], fresh)], "CN=Plant"),
        (vec![list("CN=Plant", 1, &[3], TODAY - 1)], "CN=press"),
    ] {
        let why = judge(&lists).unwrap_err();
        assert!(why.is_final());
        assert!(why.to_string().contains(&format!("revoked {of} on 2024-10-01")), "{why}");
    }
    for lists in [
        vec![],
        vec![list("CN=Plant", 1, &[9], fresh), list("CN=Root", 0, &[3], fresh)],
        // Another CA's list is not about ours, whoever signed it.
        vec![list("CN=Other", 3, &[2, 3], fresh)],
        // The list of the CA's old key does not spoil that of the new.
        vec![list("CN=Plant", 3, &[3], fresh), list("CN=Plant", 1, &[], fresh)],
    ] {
        assert_eq!(judge(&lists).unwrap().outdated, Vec::<PathBuf>::new());
    }
    let old = judge(&[list("CN=Plant", 1, &[], TODAY - 1)]).unwrap();
    assert_eq!(old.outdated, [PathBuf::from("plant.crl")]);
    for (lists, what) in [
        (vec![list("CN=Plant", 3, &[], fresh)], "not signed by CN=Plant"),
        (vec![List::parse(PathBuf::from("x.crl"), b"hello")], "no revocation list"),
    ] {
        let why = judge(&lists).unwrap_err();
        assert!(why.to_string().contains(what) && !why.is_final(), "{why}");
    }
    // An issuer that may not sign lists has none.
    let mute = made(&Spec { usage: Some(KeyUsages::KeyCertSign.into()), ..self::middle() });
    let lists = [list("CN=Plant", 1, &[], fresh)];
    let why = vouch(&server, &[mute], &anchors, &lists, now()).unwrap_err();
    assert!(why.to_string().contains("not signed by CN=Plant"), "{why}");
}

/// Chains that lead round and round, or on and on, end.
#[test]
fn endless_chains_end() {
    let a = made(&Spec { subject: "CN=A", issuer: "CN=B", serial: 4, key: 1, signer: 3, ..root() });
    let b = made(&Spec { subject: "CN=B", issuer: "CN=A", serial: 5, key: 3, signer: 1, ..root() });
    let leaf = made(&Spec { issuer: "CN=A", signer: 1, ..server() });
    assert!(vouch(&leaf, &[a, b], &[made(&root())], &[], now()).is_err());
}
