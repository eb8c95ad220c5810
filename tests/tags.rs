//! Tags as plants have them: elements of arrays, fields of structures, addresses that move with a
//! download, units; against servers that this project did not write.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]

#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/link.rs"]
mod link;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreign::{ForeignServer, Kind, or_skip};
use link::{Client, TTL, approved, grid};
use serde_json::json;
use trimloop::plc::{LinkConfig, LinkState, NodeConfig, Purpose};
use trimloop_core::scan::AckResult;
use trimloop_core::tag::{Status, TagId};
use trimloop_core::unit::Ticks;
use trimloop_recipe::plc_config::{
    Address, Identifier, OPC_UA, Part, PerCall, Security, Segment, User, parse_field, parse_index,
};
use trimloop_recipe::unit::Unit;

const URI: &str = "urn:trimloop:foreign";

fn id(name: &str) -> Address {
    Address::Id { namespace: URI.to_owned(), identifier: Identifier::Text(name.to_owned()) }
}

fn path(name: &str) -> Address {
    let step = |namespace: &str, name: &str| Segment {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    Address::Path(vec![step(OPC_UA, "Objects"), step(URI, "Cell"), step(URI, name)])
}

fn part(of: &str, index: &str, field: &str) -> Address {
    let mut part = Part::default();
    if !index.is_empty() {
        part.index = parse_index(index).unwrap();
    }
    if !field.is_empty() {
        part.field = parse_field(field).unwrap();
    }
    Address::Part { of: Box::new(id(of)), part }
}

fn node(name: &str, tag: u16, address: Address) -> NodeConfig {
    NodeConfig {
        name: name.to_owned(),
        tag: Some(TagId(tag)),
        address,
        scalar: None,
        sampling_ms: 0.0,
        queue: None,
        purpose: Purpose::Read,
    }
}

fn setpoint(name: &str, tag: u16, address: Address) -> NodeConfig {
    let purpose = Purpose::Setpoint { grid: grid(), low: Ticks::new(0), high: Ticks::new(400) };
    NodeConfig { purpose, ..node(name, tag, address) }
}

fn config(url: &str, nodes: Vec<NodeConfig>) -> LinkConfig {
    LinkConfig {
        name: "tags".to_owned(),
        url: url.to_owned(),
        publishing: Duration::from_millis(10),
        security: Security::None,
        user: User::Anonymous,
        per_call: PerCall::default(),
        standby: Vec::new(),
        nodes,
        units: std::collections::BTreeMap::new(),
        client_name: "tags".to_owned(),
        pki_dir: std::env::temp_dir().join("trimloop-test-client-pki"),
    }
}

/// Elements and fields arrive as tags of their own, follow changes, and what is not there is a
/// problem that says what there is.
fn parts(name: &str, kind: Kind) {
    let Some(server) = or_skip(name, ForeignServer::start(kind, 0)) else { return };
    server.ask(json!({"cmd": "parts"}));
    let nodes = vec![
        node("temp_3", 0, part("Temps", "3", "")),
        node("matrix_1_2", 1, part("Matrix", "1,2", "")),
        node("pressure", 2, part("Press", "", "Pressure")),
        node("count", 3, part("Press", "", "Count")),
        node("zone_2", 4, part("Press", "", "Zones[2].Temp")),
        node("best_on", 5, part("Press", "", "Best.On")),
        node("no_field", 6, part("Press", "", "Presure")),
        node("no_element", 7, part("Temps", "8", "")),
        node("whole", 8, id("Temps")),
        node("text", 9, part("Press", "", "Name")),
        node("no_array", 10, part("Press", "0", "Pressure")),
    ];
    let mut client = Client::start(config(server.url(), nodes));
    let status = client.status("live", |status| status.state == LinkState::Live);
    for (node, what) in [
        ("no_field", "it has Name, Pressure, Count, Zones, Best"),
        ("no_element", "the array has 8 elements now"),
        ("whole", "add `index`"),
        ("text", "no tag can hold it"),
        ("no_array", "no array"),
    ] {
        let problem = status.problems.iter().find(|problem| problem.node == node);
        let problem = problem.unwrap_or_else(|| panic!("{node}: {status:?}"));
        assert!(problem.what.contains(what) && !problem.stops_writes, "{problem:?}");
    }
    assert_eq!(status.problems.len(), 5, "{:?}", status.problems);
    for offset in [0.0, 100.0] {
        server.ask(json!({"cmd": "parts", "offset": offset as i64}));
        client.until("all parts", |client| {
            client.holds(0, 3.0 + offset)
                && client.holds(1, 12.0 + offset)
                && client.holds(2, 480.5 + offset)
                && client.holds(3, 7.0 + offset)
                && client.holds(4, 202.0 + offset)
                && client.holds(5, 0.0)
        });
    }
    assert!(client.samples.iter().all(|sample| sample.status == Status::Good));
    assert_eq!(client.view.status().counts.undecodable, 0);
}

#[test]
fn parts_of_values_with_asyncua() {
    parts("parts_of_values_with_asyncua", Kind::Asyncua);
}

#[test]
fn parts_of_values_with_node_opcua() {
    parts("parts_of_values_with_node_opcua", Kind::NodeOpcua);
}

/// A setpoint that is part of a value is never written.
#[test]
fn a_setpoint_is_a_whole_value() {
    let name = "a_setpoint_is_a_whole_value";
    let Some(server) = or_skip(name, ForeignServer::start(Kind::Asyncua, 0)) else { return };
    server.ask(json!({"cmd": "parts"}));
    let nodes = vec![setpoint("hold", 0, part("Press", "", "Pressure"))];
    let client = Client::start(config(server.url(), nodes));
    let status = client.status("live", |status| status.state == LinkState::Live);
    let [problem] = status.problems.as_slice() else { panic!("{status:?}") };
    assert!(problem.stops_writes && problem.what.contains("cannot be written"), "{problem:?}");
    assert!(!client.intake.link().up);
}

/// Pain 15: a download moves the namespace index and every numeric id. Tags by URI with browse
/// path or text go on as if nothing was; nothing is read from what took their place.
fn addresses_move(name: &str, kind: Kind) {
    let start = |arguments: &[&str], port| ForeignServer::start_with(kind, port, arguments);
    let Some(mut server) = or_skip(name, start(&[], 0)) else { return };
    let tags = |value: f64, hold: u32, temp: u32| {
        json!({"cmd": "add", "tags": [
            {"id": "Hold", "number": hold, "type": "Double", "value": 100.0 + value, "writable": true},
            {"id": "Temp", "number": temp, "type": "Double", "value": 200.0 + value},
            {"id": "Speed", "type": "Double", "value": 300.0 + value},
        ]})
    };
    server.ask(tags(0.0, 17, 18));
    let nodes = vec![
        setpoint("hold", 0, path("Hold")),
        node("temp", 1, path("Temp")),
        node("speed", 2, id("Speed")),
    ];
    let mut client = Client::start(config(server.url(), nodes));
    let arrived = |client: &mut Client, value: f64| {
        client.holds(0, 100.0 + value)
            && client.holds(1, 200.0 + value)
            && client.holds(2, 300.0 + value)
    };
    client.until("first values", |client| arrived(client, 0.0));
    let epoch = client.intake.link().epoch;
    let (port, index) = (server.port(), server.namespace_index());
    server.kill();
    // The numbers change places, and three namespaces come before ours.
    let Some(server) = or_skip(name, start(&["--namespaces-before", "3"], port)) else { return };
    assert_ne!(server.namespace_index(), index);
    server.ask(tags(1.0, 18, 17));
    client.until("values after the download", |client| arrived(client, 1.0));
    client.until("writes are open again", |client| client.link.up && client.link.epoch > epoch);
    assert_eq!(client.view.status().problems, []);
}

#[test]
fn pain_15_addresses_move_with_asyncua() {
    addresses_move("pain_15_addresses_move_with_asyncua", Kind::Asyncua);
}

#[test]
fn pain_15_addresses_move_with_node_opcua() {
    addresses_move("pain_15_addresses_move_with_node_opcua", Kind::NodeOpcua);
}

/// Pain 3: a setpoint is written in the type that the register has, whatever that is, and one that
/// would lose by it, or may not be written, stops all writes before the first.
fn wrong_types(name: &str, kind: Kind) {
    let Some(server) = or_skip(name, ForeignServer::start(kind, 0)) else { return };
    let tag = |id: &str, kind: &str, writable: bool| json!({"id": id, "type": kind, "value": 100, "writable": writable});
    server.ask(json!({"cmd": "add", "tags": [
        tag("Float", "Float", true), tag("Double", "Double", true), tag("Int16", "Int16", true),
        tag("ReadOnly", "Double", false),
    ]}));
    server.ask(json!({"cmd": "parts"}));
    for (register, expect) in [
        ("Int16", "does not fit a Int16 without loss"),
        ("ReadOnly", "we may not write it"),
        ("Temps", "the node is an array"),
        ("Press", "no tag can hold it"),
    ] {
        let nodes = vec![setpoint("Double", 0, id("Double")), setpoint("bad", 1, id(register))];
        let client = Client::start(config(server.url(), nodes));
        let status = client.status("live", |status| status.state == LinkState::Live);
        let [problem] = status.problems.as_slice() else { panic!("{register}: {status:?}") };
        assert!(problem.stops_writes && problem.what.contains(expect), "{problem:?}");
        assert!(!client.intake.link().up, "{register}");
    }
    let nodes = vec![setpoint("Float", 0, id("Float")), setpoint("Double", 1, id("Double"))];
    let mut client = Client::start(config(server.url(), nodes));
    client.until("writes are open", |client| client.link.up);
    let epoch = client.link.epoch;
    for (register, tag) in [("Float", 0_u16), ("Double", 1)] {
        let seq = u64::from(tag) + 1;
        let now = client.clock.mono();
        client.port.write(approved(tag, 110.5, seq, epoch, now, TTL)).unwrap();
        let seen = server.wait_event("write", Duration::from_secs(20));
        assert_eq!((&seen["id"], &seen["value"]), (&json!(register), &json!(110.5)));
        assert_eq!(seen["bare"], true, "only the value is sent");
        client.until("the answer", |client| client.acks.contains_key(&seq));
        assert_eq!(client.acks.get(&seq), Some(&AckResult::Good));
    }
}

#[test]
fn pain_03_wrong_types_with_asyncua() {
    wrong_types("pain_03_wrong_types_with_asyncua", Kind::Asyncua);
}

#[test]
fn pain_03_wrong_types_with_node_opcua() {
    wrong_types("pain_03_wrong_types_with_node_opcua", Kind::NodeOpcua);
}

/// A unit that contradicts the recipe stops writes of a setpoint and keeps a tag from being read;
/// the same unit by another word, and one that nobody knows, do neither.
fn units(name: &str, kind: Kind) {
    let Some(server) = or_skip(name, ForeignServer::start(kind, 0)) else { return };
    let tag = |id: &str, unit: &str, code: i32| {
        json!({"id": id, "type": "Double", "value": 1.0, "writable": true, "low": 0, "high": 300,
               "unit": unit, "unit_id": code})
    };
    server.ask(json!({"cmd": "add", "tags": [
        tag("Hold", "bar", -1), tag("HoldKpa", "kPa", -1), tag("Temp", "\u{b0}C", 4_408_652),
        tag("TempF", "\u{b0}F", -1), tag("Odd", "furlong", -1), tag("Speed", "mm/s", -1),
    ]}));
    let unit = |text: &str| Unit::parse(text).unwrap();
    let mut config = config(
        server.url(),
        vec![
            setpoint("hold", 0, id("Hold")),
            node("temp", 1, id("Temp")),
            node("temp_f", 2, id("TempF")),
            node("odd", 3, id("Odd")),
            node("speed", 4, id("Speed")),
        ],
    );
    config.units = [(0, "bar"), (1, "degC"), (2, "degC"), (3, "mm"), (4, "bar")]
        .map(|(tag, text)| (TagId(tag), unit(text)))
        .into();
    let mut client = Client::start(config.clone());
    let status = client.status("live", |status| status.state == LinkState::Live);
    let told: Vec<_> = status.problems.iter().map(|p| (p.node.as_str(), p.stops_writes)).collect();
    assert_eq!(told, [("temp_f", false), ("speed", false)], "{status:?}");
    assert!(status.problems.iter().all(|problem| problem.what.contains("the recipe says")));
    client.until("writes are open", |client| client.link.up && client.holds(3, 1.0));
    config.nodes = vec![setpoint("hold", 0, id("HoldKpa"))];
    let client = Client::start(config);
    let status = client.status("live", |status| status.state == LinkState::Live);
    let [problem] = status.problems.as_slice() else { panic!("{status:?}") };
    assert!(problem.stops_writes, "{problem:?}");
    assert!(problem.what.contains("kPa") && problem.what.contains("bar"), "{problem:?}");
}

#[test]
fn units_are_compared_with_asyncua() {
    units("units_are_compared_with_asyncua", Kind::Asyncua);
}

#[test]
fn units_are_compared_with_node_opcua() {
    units("units_are_compared_with_node_opcua", Kind::NodeOpcua);
}

/// Pain 15: the address is the same after a download, what is behind it is not: nothing is written,
/// a problem is told, and it ends when the old thing is back.
fn another_thing(name: &str, kind: Kind) {
    let start = |port| ForeignServer::start(kind, port);
    let Some(mut server) = or_skip(name, start(0)) else { return };
    let tags = |hold: &str, temp: &str| {
        json!({"cmd": "add", "tags": [
            {"id": "Hold", "number": 17, "browse_name": hold, "type": "Double", "value": 100,
             "writable": true},
            {"id": "Temp", "number": 18, "type": temp, "value": 200},
        ]})
    };
    server.ask(tags("Hold", "Double"));
    let number =
        |number| Address::Id { namespace: URI.to_owned(), identifier: Identifier::Numeric(number) };
    let nodes = vec![setpoint("hold", 0, number(17)), node("temp", 1, number(18))];
    let mut client = Client::start(config(server.url(), nodes));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    client.runtime.spawn(client.view.tell_problems(move |problem, is_here| {
        tell.lock().unwrap().push((problem.node.clone(), is_here));
    }));
    client.until("writes are open", |client| client.link.up && client.holds(1, 200.0));
    let port = server.port();
    for (hold, temp, expect) in [
        ("Speed", "Double", vec![("hold", "now it is \"Speed\"")]),
        (
            "Hold",
            "Float",
            vec![("temp", "it was Double when the service started and is Float now")],
        ),
        ("Hold", "Double", vec![]),
    ] {
        server.kill();
        let Some(next) = or_skip(name, start(port)) else { return };
        server = next;
        server.ask(tags(hold, temp));
        let status = client.status("live again", |status| {
            status.state == LinkState::Live
                && status.problems.len() == expect.len()
                && status.problems.iter().zip(&expect).all(|(p, (node, _))| p.node == *node)
        });
        for (problem, (_, what)) in status.problems.iter().zip(&expect) {
            assert!(problem.stops_writes && problem.what.contains(what), "{problem:?}");
        }
        assert_eq!(client.intake.link().up, expect.is_empty());
    }
    client.until("all was told", |_| {
        let told = told.lock().unwrap();
        let has = |node: &str, is_here| told.contains(&(node.to_owned(), is_here));
        has("hold", true) && has("hold", false) && has("temp", true) && has("temp", false)
    });
}

#[test]
fn pain_15_another_thing_with_asyncua() {
    another_thing("pain_15_another_thing_with_asyncua", Kind::Asyncua);
}

#[test]
fn pain_15_another_thing_with_node_opcua() {
    another_thing("pain_15_another_thing_with_node_opcua", Kind::NodeOpcua);
}
