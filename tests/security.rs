//! Encrypted links with servers that this project did not write: every policy, every kind of
//! user, refusals that say why, certificates that change, and restarts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]
#![expect(clippy::print_stdout, reason = "figures are shown with --nocapture")]

#[path = "support/ca.rs"]
mod ca;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/link.rs"]
mod link;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ca::Authority;
use foreign::{ForeignServer, Kind, or_skip};
use link::{Client, TTL, approved, grid};
use serde_json::json;
use trimloop::clock::Clock;
use trimloop::pki::{LIFE_DAYS, Pki, Place};
use trimloop::plc::{LinkConfig, LinkState, NodeConfig, Purpose, application_uri_of};
use trimloop_core::scan::AckResult;
use trimloop_core::tag::TagId;
use trimloop_core::time::{Span, Utc};
use trimloop_core::unit::Ticks;
use trimloop_recipe::plc_config::{
    Address, Identifier, PerCall, Policy, Secret, Security, SecurityMode, User,
};
use x509_cert::der::{Decode as _, Encode as _, EncodePem as _, pem::LineEnding};

const NAME: &str = "security";
const POLICIES: [Policy; 3] =
    [Policy::Basic256Sha256, Policy::Aes128Sha256RsaOaep, Policy::Aes256Sha256RsaPss];
const MODES: [SecurityMode; 2] = [SecurityMode::Sign, SecurityMode::SignAndEncrypt];
const ENCRYPTED: Security = Security::Policy(Policy::Basic256Sha256, SecurityMode::SignAndEncrypt);

/// Certificates of both sides for one test, in a folder of their own.
struct Keys {
    folder: PathBuf,
    kind: Kind,
    clock: Clock,
}

impl Keys {
    fn new(test: &str, kind: Kind) -> Self {
        let clock = Clock::start();
        Self::made_at(test, kind, clock.utc())
    }

    /// Both sides know each other; ours was made at `ours`.
    fn made_at(test: &str, kind: Kind, ours: Utc) -> Self {
        let clock = Clock::start();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("security").join(test);
        drop(fs::remove_dir_all(&folder));
        let keys = Self { folder, kind, clock };
        fs::create_dir_all(keys.server().join("trusted")).unwrap();
        keys.pki().create(&application_uri_of(NAME), ours).unwrap();
        keys.new_server_certificate(true);
        let user = Pki::new(&keys.folder.join("user"));
        user.create("urn:trimloop:operator", clock.utc()).unwrap();
        fs::copy(user.own().certificate, keys.server().join("user.der")).unwrap();
        keys.server_trusts(&keys.pki().own().certificate, "client.der");
        keys
    }

    fn pki(&self) -> Pki {
        Pki::new(&self.folder.join("client"))
    }

    fn server(&self) -> PathBuf {
        self.folder.join("server")
    }

    fn server_trusts(&self, certificate: &Path, name: &str) {
        fs::copy(certificate, self.server().join("trusted").join(name)).unwrap();
    }

    /// Gives the server a certificate; whether we trust it.
    fn new_server_certificate(&self, trusted: bool) -> String {
        let made = self.folder.join("made");
        drop(fs::remove_dir_all(&made));
        let pki = Pki::new(&made);
        let uri = format!("urn:trimloop:foreign:{}", self.kind.name());
        let certificate = pki.create(&uri, self.clock.utc()).unwrap();
        let parsed = x509_cert::Certificate::from_der(&certificate.der).unwrap();
        fs::write(self.server().join("server.der"), &certificate.der).unwrap();
        fs::write(self.server().join("server.pem"), parsed.to_pem(LineEnding::LF).unwrap())
            .unwrap();
        fs::copy(pki.own().private_key, self.server().join("server-key.pem")).unwrap();
        if trusted {
            let file = self.server().join("server.der");
            self.pki().decide(file.to_str().unwrap(), Place::Trusted).unwrap();
        }
        certificate.fingerprint()
    }

    /// Gives the server a certificate of a CA; with `sent`, it sends the issuer along.
    fn issued_server_certificate(&self, by: &Authority, serial: u8, sent: bool) {
        let uri = format!("urn:trimloop:foreign:{}", self.kind.name());
        let (certificate, key) = by.issue(&uri, serial, self.clock.utc());
        fs::write(self.server().join("server.der"), certificate.to_der().unwrap()).unwrap();
        let mut pem = certificate.to_pem(LineEnding::LF).unwrap();
        if sent {
            pem.push_str(&by.certificate.to_pem(LineEnding::LF).unwrap());
        }
        fs::write(self.server().join("server.pem"), pem).unwrap();
        fs::write(self.server().join("server-key.pem"), key).unwrap();
    }

    fn start(&self, port: u16) -> Result<ForeignServer, foreign::Skip> {
        let folder = self.server();
        let server =
            ForeignServer::start_with(self.kind, port, &["--security", folder.to_str().unwrap()])?;
        server.ask(json!({"cmd": "add", "tags": [
            {"id": "Value", "type": "Double", "value": 1.0},
            {"id": "Setpoint", "type": "Double", "value": 100.0, "writable": true},
        ]}));
        Ok(server)
    }

    fn config(&self, url: &str, security: Security, user: User) -> LinkConfig {
        let setpoint =
            Purpose::Setpoint { grid: grid(), low: Ticks::new(0), high: Ticks::new(400) };
        let node = |name: &str, tag: u16, purpose: Purpose| NodeConfig {
            name: name.to_owned(),
            tag: Some(TagId(tag)),
            address: Address::Id {
                namespace: "urn:trimloop:foreign".to_owned(),
                identifier: Identifier::Text(name.to_owned()),
            },
            scalar: None,
            sampling_ms: 0.0,
            queue: None,
            purpose,
        };
        LinkConfig {
            name: "foreign".to_owned(),
            url: url.to_owned(),
            publishing: Duration::from_millis(10),
            security,
            user,
            per_call: PerCall::default(),
            standby: Vec::new(),
            nodes: vec![node("Value", 0, Purpose::Read), node("Setpoint", 1, setpoint)],
            units: std::collections::BTreeMap::new(),
            client_name: NAME.to_owned(),
            pki_dir: self.folder.join("client"),
        }
    }

    fn password(&self, password: &str) -> User {
        let file = self.folder.join(format!("password-{password}"));
        fs::write(&file, format!("{password}\n")).unwrap();
        User::Password { name: "operator".to_owned(), secret: Secret::File(file) }
    }

    fn certificate_user(&self) -> User {
        let pair = Pki::new(&self.folder.join("user")).own();
        User::Certificate { certificate: pair.certificate, private_key: pair.private_key }
    }
}

/// Sets values until one of them arrives under an epoch after `after`; how long that took.
fn data_flow(client: &mut Client, server: &ForeignServer, after: u64) -> Span {
    let mut next = 1000.0;
    client.until("data", |client| {
        let arrived = client.link.epoch > after && client.link.up && client.holds(0, next);
        if !arrived {
            next += 1.0;
            server.ask(json!({"cmd": "set", "values": {"Value": next}}));
        }
        arrived
    })
}

fn every_policy(test: &str, kind: Kind) {
    let keys = Keys::new(test, kind);
    let Some(server) = or_skip(test, keys.start(0)) else { return };
    let users = [
        ("anonymous", User::Anonymous),
        ("password", keys.password("right")),
        ("certificate", keys.certificate_user()),
    ];
    for policy in POLICIES {
        for mode in MODES {
            for (who, user) in &users {
                let security = Security::Policy(policy, mode);
                let mut client = Client::start(keys.config(server.url(), security, user.clone()));
                let took = data_flow(&mut client, &server, 0);
                println!("{test}: {policy:?} {mode:?} {who}: data after {} ms", took.as_millis());
                let write = approved(1, 55.0, 1, client.link.epoch, client.clock.mono(), TTL);
                client.port.write(write).unwrap();
                client.until("the write", |client| client.acks.contains_key(&1));
                assert_eq!(client.acks.get(&1), Some(&AckResult::Good));
                client.close();
            }
        }
    }
}

#[test]
fn every_policy_connects_to_asyncua() {
    every_policy("every_policy_connects_to_asyncua", Kind::Asyncua);
}

#[test]
fn every_policy_connects_to_node_opcua() {
    every_policy("every_policy_connects_to_node_opcua", Kind::NodeOpcua);
}

fn refusals(test: &str, kind: Kind) {
    let keys = Keys::new(test, kind);
    let Some(server) = or_skip(test, keys.start(0)) else { return };
    // A wrong password: said, never shown, and not tried again.
    let client = Client::start(keys.config(server.url(), ENCRYPTED, keys.password("wr0ng")));
    let status = client.status("refused", |status| status.state == LinkState::Refused);
    let why = status.trouble.unwrap_or_default();
    assert!(why.contains("password is wrong") && !why.contains("wr0ng"), "{why}");
    drop(client);
    // A secret that is not there.
    let gone =
        User::Password { name: "x".to_owned(), secret: Secret::File("/no/such/file".into()) };
    let client = Client::start(keys.config(server.url(), ENCRYPTED, gone));
    said(&client, "/no/such/file cannot be read");
    drop(client);
    // A server that people do not trust: put aside, and taken without a restart once they do.
    let [(_, _, certificate)] = &keys
        .pki()
        .list()
        .into_iter()
        .filter(|(place, _, _)| *place == Place::Trusted)
        .collect::<Vec<_>>()[..]
    else {
        panic!("one server is trusted")
    };
    let print = certificate.fingerprint();
    keys.pki().decide(&print[..12], Place::Rejected).unwrap();
    let mut client = Client::start(keys.config(server.url(), ENCRYPTED, User::Anonymous));
    said(&client, &format!("plc cert trust {}", &print[..16]));
    keys.pki().decide(&print[..12], Place::Trusted).unwrap();
    data_flow(&mut client, &server, 0);
}

fn said(client: &Client, expect: &str) {
    let told = |why: &str| why.contains(expect);
    let status = client.status(expect, |status| status.trouble.as_deref().is_some_and(told));
    println!("{}", status.trouble.unwrap_or_default());
}

#[test]
fn pain_13_asyncua_refusals_are_explained() {
    refusals("pain_13_asyncua_refusals_are_explained", Kind::Asyncua);
}

#[test]
fn pain_13_node_opcua_refusals_are_explained() {
    refusals("pain_13_node_opcua_refusals_are_explained", Kind::NodeOpcua);
}

/// A server that does not know us says so, and we say what to do.
fn not_known(test: &str, kind: Kind) {
    let keys = Keys::new(test, kind);
    // Some servers refuse an empty trust list: this one knows somebody else.
    let stranger = Pki::new(&keys.folder.join("user")).own();
    keys.server_trusts(&stranger.certificate, "client.der");
    let Some(server) = or_skip(test, keys.start(0)) else { return };
    let client = Client::start(keys.config(server.url(), ENCRYPTED, User::Anonymous));
    said(&client, "does not trust our certificate");
}

#[test]
fn pain_13_asyncua_does_not_know_us() {
    not_known("pain_13_asyncua_does_not_know_us", Kind::Asyncua);
}

#[test]
fn pain_13_node_opcua_does_not_know_us() {
    not_known("pain_13_node_opcua_does_not_know_us", Kind::NodeOpcua);
}

/// The server comes back with a new certificate: trusted ahead it goes on, else people are told.
fn rollover(test: &str, kind: Kind) {
    let keys = Keys::new(test, kind);
    let Some(mut server) = or_skip(test, keys.start(0)) else { return };
    let mut client = Client::start(keys.config(server.url(), ENCRYPTED, User::Anonymous));
    data_flow(&mut client, &server, 0);
    keys.new_server_certificate(true);
    server = restarted(&keys, server);
    let epoch = client.link.epoch;
    data_flow(&mut client, &server, epoch);
    keys.new_server_certificate(false);
    let _server = restarted(&keys, server);
    said(&client, "not trusted yet");
}

fn restarted(keys: &Keys, server: ForeignServer) -> ForeignServer {
    let port = server.port();
    drop(server);
    keys.start(port).unwrap_or_else(|skip| panic!("it started before: {skip}"))
}

#[test]
fn pain_14_asyncua_rolls_its_certificate_over() {
    rollover("pain_14_asyncua_rolls_its_certificate_over", Kind::Asyncua);
}

#[test]
fn pain_14_node_opcua_rolls_its_certificate_over() {
    rollover("pain_14_node_opcua_rolls_its_certificate_over", Kind::NodeOpcua);
}

/// A renewed certificate of ours: until the server knows it the old one works, then it is in
/// force; and the coming end of the old one is told.
fn renewal(test: &str, kind: Kind) {
    let now = Clock::start().utc();
    // Five days are left of ours.
    let day = Span::from_secs(86_400);
    let keys = Keys::made_at(test, kind, now - day.times(i64::from(LIFE_DAYS) - 5));
    let Some(server) = or_skip(test, keys.start(0)) else { return };
    let old = keys.pki().list();
    let next = keys.pki().renew(&application_uri_of(NAME), now).unwrap();
    let mut client = Client::start(keys.config(server.url(), ENCRYPTED, User::Anonymous));
    data_flow(&mut client, &server, 0);
    let own = |keys: &Keys| keys.pki().list().into_iter().find(|(at, _, _)| *at == Place::Own);
    assert_eq!(own(&keys), old.into_iter().find(|(at, _, _)| *at == Place::Own));
    let told = client.notices.recent();
    let expiry = told.iter().find(|notice| notice.code == "certificate_expiry");
    let sentence = expiry.map(|notice| notice.sentence.clone()).unwrap_or_default();
    assert!(sentence.contains("4 days; run `trimloop plc cert renew`"), "{told:?}");
    drop(client);
    keys.server_trusts(&keys.pki().next().certificate, "next.der");
    let server = restarted(&keys, server);
    let mut client = Client::start(keys.config(server.url(), ENCRYPTED, User::Anonymous));
    data_flow(&mut client, &server, 0);
    assert_eq!(own(&keys).map(|(_, _, certificate)| certificate), Some(next));
    assert!(client.notices.recent().iter().any(|notice| notice.code == "certificate_renewed"));
}

#[test]
fn pain_14_renewal_overlaps_with_asyncua() {
    renewal("pain_14_renewal_overlaps_with_asyncua", Kind::Asyncua);
}

#[test]
fn pain_14_renewal_overlaps_with_node_opcua() {
    renewal("pain_14_renewal_overlaps_with_node_opcua", Kind::NodeOpcua);
}

/// After each of ten kills and restarts data are back soon after the server is.
///
/// The limit of the project is 1.5 s; here 5 s stand for loaded machines, and the figures are
/// shown.
fn restarts(test: &str, kind: Kind) {
    let keys = Keys::new(test, kind);
    let Some(mut server) = or_skip(test, keys.start(0)) else { return };
    let mut client = Client::start(keys.config(server.url(), ENCRYPTED, User::Anonymous));
    data_flow(&mut client, &server, 0);
    let mut gaps = Vec::new();
    for _ in 0..10 {
        server = restarted(&keys, server);
        let epoch = client.link.epoch;
        gaps.push(data_flow(&mut client, &server, epoch).as_millis());
    }
    println!("{test}: data back after [ms] {gaps:?}");
    assert!(gaps.iter().all(|gap| *gap < 5000), "{gaps:?}");
    let status = client.status("live", |status| status.state == LinkState::Live);
    assert_eq!(status.counts.resubscriptions, 10);
}

#[test]
fn encrypted_data_come_back_from_asyncua() {
    restarts("encrypted_data_come_back_from_asyncua", Kind::Asyncua);
}

#[test]
fn encrypted_data_come_back_from_node_opcua() {
    restarts("encrypted_data_come_back_from_node_opcua", Kind::NodeOpcua);
}

/// A server with a certificate of the plant's CA is taken when the chain ends in an issuer that a
/// person trusts, without a restart of the service; and no longer once it is revoked.
fn issued(test: &str, kind: Kind) {
    let keys = Keys::new(test, kind);
    let now = keys.clock.utc();
    let root = Authority::new("Root", None, now);
    let plant = Authority::new("Plant", Some(&root), now);
    keys.issued_server_certificate(&plant, 11, false);
    let Some(server) = or_skip(test, keys.start(0)) else { return };
    let mut client = Client::start(keys.config(server.url(), ENCRYPTED, User::Anonymous));
    said(&client, "issued by CN=Plant, which is not a trusted issuer");
    let trust = |authority: &Authority, name: &str| {
        let file = authority.save(&keys.folder.join(name));
        keys.pki().decide(file.to_str().unwrap(), Place::Issuer).unwrap()
    };
    trust(&root, "root.pem");
    said(&client, "issued by CN=Plant, which is not a trusted issuer");
    trust(&plant, "plant.pem");
    data_flow(&mut client, &server, 0);
    let write = approved(1, 55.0, 1, client.link.epoch, client.clock.mono(), TTL);
    client.port.write(write).unwrap();
    client.until("the write", |client| client.acks.contains_key(&1));
    assert_eq!(client.acks.get(&1), Some(&AckResult::Good));
    // Nothing was trusted but the issuers.
    let places: Vec<Place> = keys.pki().list().into_iter().map(|(place, _, _)| place).collect();
    assert_eq!(places.iter().filter(|place| **place == Place::Issuer).count(), 2);
    // The next certificate of the server needs nobody here, until the CA takes it back.
    keys.issued_server_certificate(&plant, 12, false);
    let epoch = client.link.epoch;
    let server = restarted(&keys, server);
    data_flow(&mut client, &server, epoch);
    let list = plant.revoke(&[12], &keys.folder.join("plant.crl"), now);
    keys.pki().add_list(&list).unwrap();
    let server = restarted(&keys, server);
    said(&client, "CN=Plant revoked CN=press,O=plant on");
    drop((client, server));
}

#[test]
fn a_trusted_issuer_vouches_for_asyncua() {
    issued("a_trusted_issuer_vouches_for_asyncua", Kind::Asyncua);
}

#[test]
fn a_trusted_issuer_vouches_for_node_opcua() {
    issued("a_trusted_issuer_vouches_for_node_opcua", Kind::NodeOpcua);
}

/// Known limit of the OPC UA library (0.19.0): a server that sends its issuers along cannot be
/// spoken to. It is told, with what to do, instead of failing in the middle.
#[test]
fn a_server_that_sends_its_issuers_is_told() {
    let test = "a_server_that_sends_its_issuers_is_told";
    let keys = Keys::new(test, Kind::NodeOpcua);
    let now = keys.clock.utc();
    let root = Authority::new("Root", None, now);
    let plant = Authority::new("Plant", Some(&root), now);
    keys.issued_server_certificate(&plant, 11, true);
    let file = root.save(&keys.folder.join("root.pem"));
    keys.pki().decide(file.to_str().unwrap(), Place::Issuer).unwrap();
    let Some(server) = or_skip(test, keys.start(0)) else { return };
    let client = Client::start(keys.config(server.url(), ENCRYPTED, User::Anonymous));
    said(&client, "appends 1 more certificate(s) to its own");
}

/// A certificate of ours that a CA made is imported with its key, shown, and taken by a server
/// that knows it.
fn imported(test: &str, kind: Kind) {
    let keys = Keys::new(test, kind);
    let now = keys.clock.utc();
    let plant = Authority::new("Plant", None, now);
    let (certificate, key) = plant.issue(&application_uri_of(NAME), 21, now);
    let (file, key_file) = (keys.folder.join("ours.pem"), keys.folder.join("ours-key.pem"));
    fs::write(&file, certificate.to_pem(LineEnding::LF).unwrap()).unwrap();
    fs::write(&key_file, &key).unwrap();
    let pki = keys.pki();
    // What does not belong together, or not to us, is refused.
    let user = Pki::new(&keys.folder.join("user")).own().private_key;
    let uri = application_uri_of(NAME);
    assert!(pki.import(&file, &user, &uri, now).unwrap_err().to_string().contains("private key"));
    let other = pki.import(&file, &key_file, "urn:other", now).unwrap_err().to_string();
    assert!(other.contains("this service is urn:other"), "{other}");
    let (taken, in_force) = pki.import(&file, &key_file, &uri, now).unwrap();
    assert!(!in_force && taken.issuer == "CN=Plant");
    keys.server_trusts(&pki.next().certificate, "ours.der");
    // Some servers want to know the issuer, too, and what it took back.
    for folder in ["issuers", "crl"] {
        fs::create_dir_all(keys.server().join(folder)).unwrap();
    }
    let issuer = plant.certificate.to_der().unwrap();
    fs::write(keys.server().join("issuers/plant.der"), issuer).unwrap();
    plant.revoke(&[], &keys.server().join("crl/plant.crl"), now);
    let Some(server) = or_skip(test, keys.start(0)) else { return };
    let mut client = Client::start(keys.config(server.url(), ENCRYPTED, User::Anonymous));
    data_flow(&mut client, &server, 0);
    let own = pki.list().into_iter().find(|(place, _, _)| *place == Place::Own);
    assert_eq!(own.map(|(_, _, certificate)| certificate), Some(taken));
}

#[test]
fn our_certificate_of_a_ca_is_taken_by_asyncua() {
    imported("our_certificate_of_a_ca_is_taken_by_asyncua", Kind::Asyncua);
}

#[test]
fn our_certificate_of_a_ca_is_taken_by_node_opcua() {
    imported("our_certificate_of_a_ca_is_taken_by_node_opcua", Kind::NodeOpcua);
}
