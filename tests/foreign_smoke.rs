//! Proves that the foreign OPC UA servers come up, obey their protocol, and come back on the same
//! port after a kill. What trimloop makes of them is tested in the wire tests.

#[path = "support/foreign.rs"]
mod foreign;

use std::fs;
use std::path::Path;
use std::time::Duration;

use foreign::{ForeignServer, Kind, or_skip};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn asyncua_obeys_and_comes_back() {
    obeys_and_comes_back("asyncua_obeys_and_comes_back", Kind::Asyncua);
}

#[test]
fn node_opcua_obeys_and_comes_back() {
    obeys_and_comes_back("node_opcua_obeys_and_comes_back", Kind::NodeOpcua);
}

#[test]
fn asyncua_plays_and_runs_a_plant() {
    plays_and_runs_a_plant("asyncua_plays_and_runs_a_plant", Kind::Asyncua);
}

#[test]
fn node_opcua_plays_and_runs_a_plant() {
    plays_and_runs_a_plant("node_opcua_plays_and_runs_a_plant", Kind::NodeOpcua);
}

/// One tag of each type, one value each that only that type or a wider one holds.
fn tags() -> Value {
    json!({"cmd": "add", "tags": [
        {"id": "MeltTemp", "type": "Double", "value": 231.0, "low": 0, "high": 400},
        {"id": "Setpoint", "type": "Float", "value": 58.5, "writable": true},
        {"id": "Small", "type": "Int16", "value": -32768},
        {"id": "Whole", "type": "Int32", "value": -2_147_483_648_i64},
        {"id": "Long", "type": "Int64", "value": "-9223372036854775808"},
        {"id": "Count", "type": "UInt32", "value": 4_294_967_295_u32, "writable": true},
        {"id": "Open", "type": "Boolean", "value": true},
    ]})
}

fn value(server: &ForeignServer, id: &str) -> (Value, Value) {
    let answer = server.ask(json!({"cmd": "get", "ids": [id]}));
    (answer["values"][id].clone(), answer["codes"][id].clone())
}

fn obeys_and_comes_back(test: &str, kind: Kind) {
    let Some(mut server) = or_skip(test, ForeignServer::start(kind, 0)) else {
        return;
    };
    let port = server.port();
    assert_eq!(server.url(), format!("opc.tcp://127.0.0.1:{port}/trimloop"));
    assert!(server.namespace_index() > 0);

    server.ask(tags());
    let ids = ["MeltTemp", "Setpoint", "Small", "Whole", "Long", "Count", "Open"];
    let answer = server.ask(json!({"cmd": "get", "ids": ids}));
    let expected = json!({
        "MeltTemp": 231.0, "Setpoint": 58.5, "Small": -32768, "Whole": -2_147_483_648_i64,
        "Long": "-9223372036854775808", "Count": 4_294_967_295_u32, "Open": true,
    });
    for id in ids {
        // One server writes 231.0 and the other 231.
        let same = answer["values"][id].as_f64() == expected[id].as_f64();
        assert!(same, "{id}: {answer}");
        assert_eq!(answer["codes"][id], "Good", "{id}");
    }
    assert_eq!(answer["values"]["Long"], expected["Long"]);
    assert_eq!(answer["values"]["Open"], expected["Open"]);

    server.ask(json!({"cmd": "set", "values": {"MeltTemp": 231.25, "Open": false}}));
    assert_eq!(value(&server, "MeltTemp"), (json!(231.25), json!("Good")));
    assert_eq!(value(&server, "Open"), (json!(false), json!("Good")));

    server.ask(json!({"cmd": "status", "id": "MeltTemp", "code": "BadSensorFailure"}));
    assert_eq!(value(&server, "MeltTemp"), (Value::Null, json!("BadSensorFailure")));
    server.ask(json!({"cmd": "status", "id": "MeltTemp", "code": "UncertainLastUsableValue"}));
    assert_eq!(value(&server, "MeltTemp"), (json!(231.25), json!("UncertainLastUsableValue")));
    server.ask(json!({"cmd": "set", "values": {"MeltTemp": "NaN"}}));
    assert_eq!(value(&server, "MeltTemp"), (json!("NaN"), json!("Good")));

    // One wrong value: nothing of the command is done.
    server.send(&json!({"cmd": "set", "values": {"MeltTemp": 1.5, "Small": 32768}}));
    let error = server.wait_event("error", LIMIT);
    assert_eq!(error["cmd"], "set");
    assert_eq!(value(&server, "MeltTemp").0, json!("NaN"));

    server.kill();
    let Some(successor) = or_skip(test, ForeignServer::start(kind, port)) else {
        return;
    };
    assert_eq!(successor.port(), port);
    successor.ask(tags());
    assert_eq!(value(&successor, "Open"), (json!(true), json!("Good")));
    successor.quit();
}

fn plays_and_runs_a_plant(test: &str, kind: Kind) {
    let Some(server) = or_skip(test, ForeignServer::start(kind, 0)) else {
        return;
    };
    server.ask(json!({"cmd": "add", "tags": [
        {"id": "X", "type": "Double"}, {"id": "Y", "type": "Double"},
        {"id": "U", "type": "Double", "value": 50, "writable": true},
        {"id": "Part", "type": "Int32"}, {"id": "LabelPart", "type": "Int32"},
    ]}));

    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.csv"));
    let rows = "a,note,b\n1.5,first,10\n2.5,\"a, quoted\",\n3.5,last,30\n";
    assert!(fs::write(&file, rows).is_ok(), "{}", file.display());
    server.ask(json!({"cmd": "play", "file": file, "columns": {"a": "X", "b": "Y"},
        "edge": "Part", "from": 1, "to": 2, "first_edge": 7}));
    assert_eq!(server.wait_event("played", LIMIT)["rows"], 1);
    assert_eq!(value(&server, "X"), (json!(2.5), json!("Good")));
    assert_eq!(value(&server, "Y"), (Value::Null, json!("BadNoData")));
    assert_eq!(value(&server, "Part").0, json!(7));
    server.ask(json!({"cmd": "play", "file": file, "columns": {"a": "X", "b": "Y"},
        "edge": "Part", "from": 2}));
    server.wait_event("played", LIMIT);
    assert_eq!(value(&server, "Part").0, json!(8), "the edge goes on by itself");

    server.ask(json!({"cmd": "closed_loop", "x": "X", "u": "U", "y": "Y", "part": "Part",
        "label_part": "LabelPart", "label_delay_parts": 2, "gain": 2.0, "target": 10.0,
        "period_ms": 1, "parts": 4, "x_script": [[2, 0.5], [4, 1.5]]}));
    let done = server.wait_event("closed_loop_done", LIMIT);
    assert_eq!(done["parts"], 4);
    let made: Vec<_> = server.take_events("part").iter().map(|part| part["y"].as_f64()).collect();
    assert_eq!(made, [Some(10.0), Some(10.5), Some(10.5), Some(11.5)]);
    assert_eq!(value(&server, "LabelPart").0, json!(4), "late labels follow the last part");
    assert_eq!(value(&server, "Y").0, json!(11.5));

    // A plant without end stops when told.
    server.ask(json!({"cmd": "closed_loop", "x": "X", "u": "U", "y": "Y", "part": "Part",
        "period_ms": 1, "parts": 1_000_000}));
    server.wait_event("part", LIMIT);
    assert_eq!(server.ask(json!({"cmd": "stop"}))["stopped"], 1);
}
