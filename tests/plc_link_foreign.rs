//! The PLC link against servers that this project did not write: values in, setpoints out and read
//! back, refusals, Bad quality, a kill with a restart, and a PLC with two addresses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]

#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/link.rs"]
mod link;

use std::time::Duration;

use foreign::{ForeignServer, Kind, or_skip};
use link::{Client, TTL, approved, grid};
use opcua::client::{ClientBuilder, IdentityToken};
use opcua::types::{
    AttributeId, DataValue, DateTime, NodeId, NumericRange, StatusCode, Variant, WriteValue,
};
use serde_json::json;
use trimloop::plc::{LinkConfig, LinkState, NodeConfig, Purpose, Scalar};
use trimloop_core::scan::AckResult;
use trimloop_core::tag::{Status, TagId};
use trimloop_core::time::Span;
use trimloop_core::unit::Ticks;
use trimloop_recipe::plc_config::{Address, Identifier, OPC_UA, PerCall, Security, Segment, User};

const URI: &str = "urn:trimloop:foreign";

#[test]
fn link_works_with_asyncua() {
    works_with("link_works_with_asyncua", Kind::Asyncua);
}

#[test]
fn link_works_with_node_opcua() {
    works_with("link_works_with_node_opcua", Kind::NodeOpcua);
}

fn config(url: &str) -> LinkConfig {
    let setpoint = Purpose::Setpoint { grid: grid(), low: Ticks::new(0), high: Ticks::new(400) };
    let step = |namespace: &str, name: &str| Segment {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let node = |name: &str, tag: Option<u16>, purpose: Purpose| NodeConfig {
        name: name.to_owned(),
        tag: tag.map(TagId),
        address: Address::Id {
            namespace: URI.to_owned(),
            identifier: Identifier::Text(name.to_owned()),
        },
        scalar: None,
        sampling_ms: 0.0,
        queue: None,
        purpose,
    };
    let mut by_path = node("Count", Some(1), Purpose::Read);
    by_path.address =
        Address::Path(vec![step(OPC_UA, "Objects"), step(URI, "Cell"), step(URI, "Count")]);
    by_path.scalar = Some(Scalar::UInt32);
    LinkConfig {
        name: "foreign".to_owned(),
        url: url.to_owned(),
        publishing: Duration::from_millis(10),
        security: Security::None,
        user: User::Anonymous,
        per_call: PerCall::default(),
        standby: Vec::new(),
        nodes: vec![
            node("Value", Some(0), Purpose::Read),
            by_path,
            node("Setpoint", Some(2), setpoint),
            node("Narrow", Some(3), Purpose::Read),
            node("Beat", None, Purpose::Heartbeat),
        ],
        units: std::collections::BTreeMap::new(),
        client_name: "plc_link_foreign".to_owned(),
        pki_dir: std::env::temp_dir().join("trimloop-test-client-pki"),
    }
}

fn add(server: &ForeignServer) {
    server.ask(json!({"cmd": "add", "tags": [
        {"id": "Value", "type": "Double", "value": 1.0},
        {"id": "Count", "type": "UInt32", "value": 4_294_967_295_u32},
        {"id": "Setpoint", "type": "Float", "value": 100.0, "writable": true, "low": 0, "high": 200},
        {"id": "Narrow", "type": "Float", "value": 1.0, "writable": true, "low": 0, "high": 100},
        {"id": "Beat", "type": "Int16", "value": 0, "writable": true},
    ]}));
}

/// Sets values until one of them arrives under an epoch after `after`.
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

fn works_with(test: &str, kind: Kind) {
    let Some(mut server) = or_skip(test, ForeignServer::start(kind, 0)) else {
        return;
    };
    add(&server);
    let mut client = Client::start(config(server.url()));
    client.until("all first values", |client| {
        client.link.up && (0..4).all(|tag| client.value(tag).is_some())
    });
    let status = client.status("live", |status| status.state == LinkState::Live);
    assert!(status.no_delay && status.problems.is_empty(), "{status:?}");
    assert!(client.holds(1, 4_294_967_295.0));

    let mut trips = Vec::new();
    for seq in 1..=50 {
        let to = 110.5 + f64::from(u32::try_from(seq).unwrap() % 40);
        let issued = client.clock.mono();
        client.port.write(approved(2, to, seq, 1, issued, TTL)).unwrap();
        client.until("a write answered and read back", |client| {
            client.acks.contains_key(&seq) && client.holds(2, to)
        });
        assert_eq!(client.acks.get(&seq), Some(&AckResult::Good));
        trips.push((client.clock.mono() - issued).as_secs_f64() * 1e3);
    }
    trips.sort_by(f64::total_cmp);
    eprintln!(
        "{}: write, ack, read-back p50 {:.2} max {:.2} ms",
        kind.name(),
        trips[25],
        trips[49]
    );

    server.ask(json!({"cmd": "refuse", "id": "Setpoint", "code": "BadUserAccessDenied"}));
    let write = approved(2, 120.0, 100, 1, client.clock.mono(), TTL);
    client.port.write(write).unwrap();
    client.until("a refusal", |client| client.acks.contains_key(&100));
    assert_eq!(client.acks.get(&100), Some(&AckResult::Refused(0x801F_0000)));

    client.port.heartbeat(0x8001);
    client.status("a heartbeat", |status| status.counts.heartbeats == 1);
    let beat = server.ask(json!({"cmd": "get", "ids": ["Beat"]}));
    assert_eq!(beat["values"]["Beat"], json!(1));

    server.ask(json!({"cmd": "status", "id": "Value", "code": "BadSensorFailure"}));
    client.until("Bad quality", |client| {
        let newest = client.samples.iter().rev().find(|sample| sample.tag == TagId(0)).unwrap();
        newest.status == Status::Bad(0x808C_0000) && newest.value.is_none()
    });
    data_flow(&mut client, &server, 0);

    let (epoch, port) = (client.link.epoch, server.port());
    server.kill();
    client.until("the link to go down", |client| !client.link.up);
    let server = ForeignServer::start(kind, port).unwrap_or_else(|skip| panic!("{skip:?}"));
    add(&server);
    let back = data_flow(&mut client, &server, epoch);
    eprintln!("{}: restart, data back after {} ms", kind.name(), back.as_millis());
    assert!(back < Span::from_secs(5), "{back:?}");
}

/// Only the value is written: servers that refuse a status or timestamps with it, as many PLCs do,
/// take all our writes; one that a library makes as usual is refused.
fn value_only(test: &str, kind: Kind) {
    let Some(server) = or_skip(test, ForeignServer::start(kind, 0)) else { return };
    add(&server);
    server.ask(json!({"cmd": "strict"}));
    let mut client = Client::start(config(server.url()));
    client.until("the link", |client| client.link.up && client.value(2).is_some());
    let write = approved(2, 120.0, 1, client.link.epoch, client.clock.mono(), TTL);
    client.port.write(write).unwrap();
    client.until("an answer", |client| client.acks.contains_key(&1));
    assert_eq!(client.acks.get(&1), Some(&AckResult::Good));
    assert_eq!(server.wait_event("write", Duration::from_secs(20))["bare"], json!(true));
    client.port.heartbeat(7);
    let beat = server.wait_event("write", Duration::from_secs(20));
    assert_eq!((&beat["id"], &beat["bare"]), (&json!("Beat"), &json!(true)));
    let stamped = client.runtime.block_on(stamped_write(server.url()));
    assert_eq!(stamped, StatusCode::BadWriteNotSupported, "the server is not strict");
}

/// What a server makes of a write with a timestamp, by a plain client of the library.
async fn stamped_write(url: &str) -> StatusCode {
    let mut client = ClientBuilder::new()
        .application_name("other")
        .application_uri("urn:trimloop:other")
        .pki_dir(std::env::temp_dir().join("trimloop-test-client-pki"))
        .session_retry_limit(0)
        .client()
        .unwrap();
    let endpoint = opcua::types::EndpointDescription::from(url);
    let identity = IdentityToken::new_anonymous();
    let (session, events) = client.connect_to_matching_endpoint(endpoint, identity).await.unwrap();
    let events = events.spawn();
    session.wait_for_connection().await;
    let namespace = session.get_namespace_index(URI).await.unwrap();
    let write = WriteValue {
        node_id: NodeId::new(namespace, "Setpoint"),
        attribute_id: AttributeId::Value as u32,
        index_range: NumericRange::None,
        value: DataValue::new_at(Variant::Float(121.0), DateTime::now()),
    };
    let status = session.write(&[write]).await.unwrap()[0];
    session.disconnect().await.unwrap();
    events.await.unwrap();
    status
}

#[test]
fn pain_04_value_only_with_asyncua() {
    value_only("pain_04_value_only_with_asyncua", Kind::Asyncua);
}

#[test]
fn pain_04_value_only_with_node_opcua() {
    value_only("pain_04_value_only_with_node_opcua", Kind::NodeOpcua);
}

/// A setpoint whose limits reach beyond the register's EURange is refused, and nothing is written.
#[test]
fn pain_01_limits_beyond_the_range_are_refused() {
    let test = "pain_01_limits_beyond_the_range_are_refused";
    let Some(server) = or_skip(test, ForeignServer::start(Kind::Asyncua, 0)) else {
        return;
    };
    add(&server);
    let mut wide = config(server.url());
    wide.nodes[3].purpose = wide.nodes[2].purpose;
    let mut client = Client::start(wide);
    client.until("data", |client| client.value(0).is_some());
    let status = client.status("live", |status| status.state == LinkState::Live);
    assert!(
        status.problems.iter().any(|p| p.node == "Narrow" && p.what.contains("EURange")),
        "{status:?}"
    );
    assert!(!client.link.up);
}

/// A setpoint as the server holds it.
fn held(server: &ForeignServer) -> f64 {
    let answer = server.ask(json!({"cmd": "get", "ids": ["Setpoint"]}));
    answer["values"]["Setpoint"].as_f64().unwrap()
}

/// Writes once under the present epoch, and sees it taken.
fn write(client: &mut Client, seq: u64, to: f64) {
    let write = approved(2, to, seq, client.link.epoch, client.clock.mono(), TTL);
    client.port.write(write).unwrap();
    client.until("a write answered", |client| client.acks.contains_key(&seq));
    assert_eq!(client.acks.get(&seq), Some(&AckResult::Good));
}

/// The link at this address, live.
fn uses(client: &Client, url: &str) {
    client.status(url, |status| status.state == LinkState::Live && status.address == url);
}

fn both(first: &ForeignServer, second: &ForeignServer) -> LinkConfig {
    LinkConfig { standby: vec![second.url().to_owned()], ..config(first.url()) }
}

/// When the first address goes dead, data come by the second under a new epoch; nothing of the old
/// one is written there, and the first is used again when the second goes.
fn two_addresses(test: &str, kind: Kind) {
    let Some(mut first) = or_skip(test, ForeignServer::start(kind, 0)) else { return };
    let mut second = ForeignServer::start(kind, 0).unwrap_or_else(|skip| panic!("{skip}"));
    add(&first);
    add(&second);
    let mut client = Client::start(both(&first, &second));
    data_flow(&mut client, &first, 0);
    uses(&client, first.url());
    write(&mut client, 1, 120.0);
    let (epoch, port) = (client.link.epoch, first.port());
    first.kill();
    let back = data_flow(&mut client, &second, epoch);
    eprintln!(
        "{}: first address dead, data by the second after {} ms",
        kind.name(),
        back.as_millis()
    );
    assert!(back < Span::from_secs(5), "{back:?}");
    uses(&client, second.url());
    // A write of the old session is dropped, and the second server was not written to.
    client.port.write(approved(2, 130.0, 2, epoch, client.clock.mono(), TTL)).unwrap();
    client.until("an answer", |client| client.acks.contains_key(&2));
    assert_eq!(client.acks.get(&2), Some(&AckResult::NotSent));
    assert!((held(&second) - 100.0).abs() < 1e-9 && second.take_events("write").is_empty());
    write(&mut client, 3, 140.0);
    assert!((held(&second) - 140.0).abs() < 1e-9);
    let told = client.notices.recent();
    assert!(
        told.iter().any(|one| one.code == "address_changed" && one.sentence.contains(second.url())),
        "{told:?}"
    );
    let first = ForeignServer::start(kind, port).unwrap_or_else(|skip| panic!("{skip}"));
    add(&first);
    let epoch = client.link.epoch;
    second.kill();
    data_flow(&mut client, &first, epoch);
    uses(&client, first.url());
    assert!((held(&first) - 100.0).abs() < 1e-9);
}

#[test]
fn two_addresses_with_asyncua() {
    two_addresses("two_addresses_with_asyncua", Kind::Asyncua);
}

#[test]
fn two_addresses_with_node_opcua() {
    two_addresses("two_addresses_with_node_opcua", Kind::NodeOpcua);
}

/// A server of another name behind the second address is not the PLC: nothing is read from it or
/// written to it, people are told, and the link comes back by the first address.
#[test]
fn another_server_behind_an_address_is_refused() {
    let test = "another_server_behind_an_address_is_refused";
    let Some(mut first) = or_skip(test, ForeignServer::start(Kind::Asyncua, 0)) else { return };
    let Some(other) = or_skip(test, ForeignServer::start(Kind::NodeOpcua, 0)) else { return };
    add(&first);
    add(&other);
    let mut client = Client::start(both(&first, &other));
    data_flow(&mut client, &first, 0);
    let (epoch, port) = (client.link.epoch, first.port());
    first.kill();
    client.until("the link to go down", |client| !client.link.up);
    let code = |client: &Client| {
        let told = client.notices.recent();
        told.iter().filter(|one| one.code == "other_server").count()
    };
    client.until("an event", |client| code(client) > 0);
    client.port.write(approved(2, 130.0, 1, epoch, client.clock.mono(), TTL)).unwrap();
    client.until("an answer", |client| client.acks.contains_key(&1));
    assert_eq!(client.acks.get(&1), Some(&AckResult::NotSent));
    let first = ForeignServer::start(Kind::Asyncua, port).unwrap_or_else(|skip| panic!("{skip}"));
    add(&first);
    data_flow(&mut client, &first, epoch);
    uses(&client, first.url());
    assert_eq!(code(&client), 1);
    assert!((held(&other) - 100.0).abs() < 1e-9 && other.take_events("write").is_empty());
    let sentence = client.notices.recent().into_iter().find(|one| one.code == "other_server");
    let sentence = sentence.map(|one| one.sentence).unwrap_or_default();
    assert!(sentence.contains("urn:trimloop:foreign:node-opcua"), "{sentence}");
}

/// A server that says it serves badly is left for a better one, at the start and later.
fn service_level(test: &str, kind: Kind) {
    let Some(first) = or_skip(test, ForeignServer::start(kind, 0)) else { return };
    let second = ForeignServer::start(kind, 0).unwrap_or_else(|skip| panic!("{skip}"));
    let level = |server: &ForeignServer, value: u8| {
        server.ask(json!({"cmd": "level", "value": value}));
    };
    add(&first);
    add(&second);
    level(&first, 1);
    let mut client = Client::start(both(&first, &second));
    data_flow(&mut client, &second, 0);
    uses(&client, second.url());
    // Both serve badly now: the better one is used.
    level(&first, 150);
    level(&second, 100);
    let epoch = client.link.epoch;
    data_flow(&mut client, &first, epoch);
    uses(&client, first.url());
    // Alone, the worst is better than none.
    level(&first, 0);
    let epoch = client.link.epoch;
    drop(second);
    data_flow(&mut client, &first, epoch);
    uses(&client, first.url());
}

#[test]
fn the_better_server_is_used_of_asyncua() {
    service_level("the_better_server_is_used_of_asyncua", Kind::Asyncua);
}

#[test]
fn the_better_server_is_used_of_node_opcua() {
    service_level("the_better_server_is_used_of_node_opcua", Kind::NodeOpcua);
}
