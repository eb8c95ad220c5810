//! A plant's CA: a root, an issuer below it, server certificates, and revocation lists.

#![expect(clippy::unwrap_used, reason = "a test ends where its assumptions do")]

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::OsRng;
use rsa::signature::{SignatureEncoding as _, Signer as _};
use trimloop_core::time::Utc;
use x509_cert::Certificate;
use x509_cert::builder::{Builder as _, CertificateBuilder, Profile};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::der::asn1::{BitString, Ia5String, OctetString, UtcTime};
use x509_cert::der::oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH};
use x509_cert::der::{Encode as _, EncodePem as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{DynSignatureAlgorithmIdentifier as _, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

type Signer = rsa::pkcs1v15::SigningKey<rsa::sha2::Sha256>;

/// Somebody who issues certificates.
pub struct Authority {
    key: rsa::RsaPrivateKey,
    pub certificate: Certificate,
}

fn time(now: Utc, days: i64) -> Time {
    let seconds = now.as_nanos() / 1_000_000_000 + days * 86_400;
    let at = Duration::from_secs(u64::try_from(seconds).unwrap());
    Time::UtcTime(UtcTime::from_unix_duration(at).unwrap())
}

fn key_id(key: &rsa::RsaPrivateKey) -> OctetString {
    use sha2::Digest as _;
    let public = SubjectPublicKeyInfoOwned::from_key(key.to_public_key()).unwrap();
    let digest = sha2::Sha256::digest(public.to_der().unwrap());
    OctetString::new(&digest[..20]).unwrap()
}

impl Authority {
    /// A root, or one below `above`.
    pub fn new(name: &str, above: Option<&Self>, now: Utc) -> Self {
        let key = rsa::RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
        let subject = Name::from_str(&format!("CN={name}")).unwrap();
        let (signer, issuer) = match above {
            Some(above) => (above.key.clone(), above.certificate.tbs_certificate.subject.clone()),
            None => (key.clone(), subject.clone()),
        };
        let mut builder = builder(&signer, issuer, subject, &key, 7, now);
        let ca = BasicConstraints { ca: true, path_len_constraint: None };
        builder.add_extension(&ca).unwrap();
        builder.add_extension(&KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign)).unwrap();
        let certificate = builder.build::<rsa::pkcs1v15::Signature>().unwrap();
        Self { key, certificate }
    }

    /// Writes its certificate as PEM.
    pub fn save(&self, path: &Path) -> PathBuf {
        std::fs::write(path, self.certificate.to_pem(LineEnding::LF).unwrap()).unwrap();
        path.to_owned()
    }

    /// A server certificate for an application at the loopback, with its key as PEM.
    pub fn issue(&self, uri: &str, serial: u8, now: Utc) -> (Certificate, String) {
        let key = rsa::RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
        let issuer = self.certificate.tbs_certificate.subject.clone();
        let subject = Name::from_str("CN=press,O=plant").unwrap();
        let mut builder = builder(&self.key, issuer, subject, &key, serial, now);
        let constraints = BasicConstraints { ca: false, path_len_constraint: None };
        builder.add_extension(&constraints).unwrap();
        let usage = KeyUsages::DigitalSignature
            | KeyUsages::NonRepudiation
            | KeyUsages::KeyEncipherment
            | KeyUsages::DataEncipherment;
        builder.add_extension(&KeyUsage(usage)).unwrap();
        let purposes = ExtendedKeyUsage(vec![ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH]);
        builder.add_extension(&purposes).unwrap();
        let names = SubjectAltName(vec![
            GeneralName::UniformResourceIdentifier(Ia5String::new(uri).unwrap()),
            GeneralName::DnsName(Ia5String::new("localhost").unwrap()),
            GeneralName::IpAddress(OctetString::new([127, 0, 0, 1]).unwrap()),
        ]);
        builder.add_extension(&names).unwrap();
        let certificate = builder.build::<rsa::pkcs1v15::Signature>().unwrap();
        (certificate, key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string())
    }

    /// Writes a list of the serial numbers that it takes back, as DER.
    pub fn revoke(&self, serials: &[u8], path: &Path, now: Utc) -> PathBuf {
        let signer = Signer::new(self.key.clone());
        let signature = signer.signature_algorithm_identifier().unwrap();
        let entry = |serial: &u8| RevokedCert {
            serial_number: SerialNumber::new(&[*serial]).unwrap(),
            revocation_date: time(now, -1),
            crl_entry_extensions: None,
        };
        let tbs_cert_list = TbsCertList {
            version: x509_cert::Version::V2,
            signature: signature.clone(),
            issuer: self.certificate.tbs_certificate.subject.clone(),
            this_update: time(now, -1),
            next_update: Some(time(now, 30)),
            revoked_certificates: (!serials.is_empty())
                .then(|| serials.iter().map(entry).collect()),
            crl_extensions: None,
        };
        let signed = signer.sign(&tbs_cert_list.to_der().unwrap()).to_vec();
        let list = CertificateList {
            tbs_cert_list,
            signature_algorithm: signature,
            signature: BitString::from_bytes(&signed).unwrap(),
        };
        std::fs::write(path, list.to_der().unwrap()).unwrap();
        path.to_owned()
    }
}

fn builder<'a>(
    signer: &rsa::RsaPrivateKey,
    issuer: Name,
    subject: Name,
    key: &rsa::RsaPrivateKey,
    serial: u8,
    now: Utc,
) -> CertificateBuilder<'a, Signer> {
    // The builder borrows its signer; a test may leak one.
    let by: &'static Signer = Box::leak(Box::new(Signer::new(signer.clone())));
    let public = SubjectPublicKeyInfoOwned::from_key(key.to_public_key()).unwrap();
    let mut builder = CertificateBuilder::new(
        Profile::Manual { issuer: Some(issuer) },
        SerialNumber::new(&[serial]).unwrap(),
        Validity { not_before: time(now, -1), not_after: time(now, 365) },
        subject,
        public,
        by,
    )
    .unwrap();
    builder.add_extension(&SubjectKeyIdentifier(key_id(key))).unwrap();
    let above = AuthorityKeyIdentifier {
        key_identifier: Some(key_id(signer)),
        ..AuthorityKeyIdentifier::default()
    };
    builder.add_extension(&above).unwrap();
    builder
}
