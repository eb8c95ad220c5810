//! The PLC link against servers that this project did not write: values in, setpoints out and read
//! back, refusals, Bad quality, and a kill with a restart.

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
use trimloop_recipe::plc_config::{Address, Identifier, OPC_UA, Security, Segment, User};

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
        items_per_call: 1000,
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
