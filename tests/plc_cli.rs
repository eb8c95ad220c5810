//! `trimloop plc` as people and scripts use it, against our simulator and against servers that this
//! project did not write.

#![expect(clippy::unwrap_used, reason = "a test ends where its assumptions do")]

#[path = "support/foreign.rs"]
mod foreign;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use foreign::{ForeignServer, Kind, or_skip};
use serde_json::{Value, json};
use trimloop_recipe::check_plc_config;
use trimloop_simulator::{Scenario, Simulator, SimulatorSettings};

/// A folder of its own under the system's temporary one, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trimloop-plc-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trimloop"));
        command.current_dir(&self.0).args(args).env("NO_COLOR", "1");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRIMLOOP_") {
                command.env_remove(name);
            }
        }
        command.output().unwrap()
    }

    /// Runs and expects an exit code; what it printed.
    fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{out}\n{err}");
        out
    }

    fn json(&self, code: i32, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.extend(["--format", "json"]);
        serde_json::from_str(&self.expect(code, &all)).unwrap()
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.join(file), text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn simulator() -> (tokio::runtime::Runtime, Simulator) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = SimulatorSettings::new(Scenario::all().swap_remove(0), 7);
    let simulator = runtime.block_on(Simulator::start(settings)).unwrap();
    (runtime, simulator)
}

/// All that the shipped PLC config names is found by browsing, under the same addresses.
#[test]
fn browsing_the_simulator_finds_what_the_shipped_config_names() {
    let (_runtime, simulator) = simulator();
    let scratch = Scratch::new("simulator");
    let url = simulator.url();
    scratch.expect(0, &["plc", "browse", &url, "--write-tags", "press-9.toml"]);
    let (found, diagnostics) = check_plc_config("press-9.toml", &scratch.read("press-9.toml"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let found: BTreeSet<_> = found.unwrap().nodes.into_iter().map(|node| node.address).collect();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("plc-configs/press-4.toml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let shipped = check_plc_config("press-4.toml", &shipped).0.unwrap();
    for node in shipped.nodes {
        assert!(found.contains(&node.address), "{}", node.name);
    }
    let again = scratch.run(&["plc", "browse", &url, "--write-tags", "press-9.toml"]);
    assert_eq!(again.status.code(), Some(2), "overwritten unasked");
    scratch.expect(0, &["plc", "browse", &url, "--write-tags", "press-9.toml", "--force"]);
    let melt = scratch.json(0, &["plc", "browse", &url, "--filter", "melt*"]);
    let [melt] = melt["variables"].as_array().unwrap().as_slice() else { panic!("{melt}") };
    assert_eq!(melt["path"], "Objects/simulator:Press4/simulator:MeltTemp");
    assert_eq!((&melt["unit"], &melt["range"]), (&json!("degC"), &json!([150.0, 280.0])));
    assert_eq!((&melt["writable"], &melt["type"]), (&json!(false), &json!("Double")));
}

/// Whoever is not there is exit 4 with a code; what is not there is exit 1; there is no way to
/// write.
#[test]
fn failures_have_their_exit_codes() {
    let scratch = Scratch::new("failures");
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gone = format!("opc.tcp://127.0.0.1:{port}");
    for verb in ["discover", "browse"] {
        let failed = scratch.json(4, &["plc", verb, &gone]);
        assert_eq!(failed["error"]["code"], "TL0640", "{failed}");
    }
    for verb in ["read", "watch"] {
        let failed = scratch.json(4, &["plc", verb, &gone, "i=2258"]);
        assert_eq!(failed["error"]["code"], "TL0640", "{failed}");
    }
    scratch.expect(2, &["plc", "browse"]);
    scratch.expect(2, &["plc", "write", &gone, "i=2258", "1"]);
    let (_runtime, simulator) = simulator();
    let url = simulator.url();
    scratch.expect(1, &["plc", "read", &url, "simulator:s=Nothing"]);
    scratch.expect(1, &["plc", "browse", &url, "--from", "simulator:s=Nothing"]);
    scratch.expect(1, &["plc", "watch", &url, "simulator:s=Nothing"]);
    scratch.expect(2, &["plc", "read", &url, "simulatr:s=Press4.MeltTemp"]);
    scratch.expect(2, &["plc", "read", &url, "MeltTemp"]);
}

/// A server is described, its values are read in every way of naming them, and changes are told.
fn verbs(name: &str, kind: Kind) {
    let Some(server) = or_skip(name, ForeignServer::start(kind, 0)) else { return };
    server.ask(json!({"cmd": "add", "tags": [
        {"id": "Hold", "type": "Float", "value": 100.5, "writable": true, "low": 0, "high": 200,
         "unit": "bar"},
        {"id": "Count", "number": 4711, "type": "UInt32", "value": 7},
    ]}));
    server.ask(json!({"cmd": "parts"}));
    let scratch = Scratch::new(name);
    let url = server.url();
    let found = scratch.json(0, &["plc", "discover", url]);
    assert_eq!(found["endpoints"][0]["policy"], "None", "{found}");
    assert_eq!(found["endpoints"][0]["users"], json!(["Anonymous"]), "{found}");
    assert!(!found["servers"].as_array().unwrap().is_empty(), "{found}");
    let index = format!("ns={};s=Hold", server.namespace_index());
    let ways = [
        "foreign:s=Hold",
        "nsu=urn:trimloop:foreign;s=Hold",
        index.as_str(),
        "Objects/foreign:Cell/foreign:Hold",
    ];
    let mut args = vec!["plc", "read", url];
    args.extend(ways);
    let read = scratch.json(0, &args);
    for (node, way) in read["nodes"].as_array().unwrap().iter().zip(ways) {
        assert_eq!((&node["node"], &node["value"]), (&json!(way), &json!(100.5)), "{read}");
        assert_eq!((&node["status"], &node["type"]), (&json!("Good"), &json!("Float")));
        assert!(node["source_time"].is_string(), "{node}");
    }
    let press = scratch.json(0, &["plc", "read", url, "foreign:s=Press"]);
    let press = &press["nodes"][0]["value"];
    assert_eq!((&press["Pressure"], &press["Zones"][2]["Temp"]), (&json!(480.5), &json!(202.0)));
    let cell = ["plc", "browse", url, "--from", "Objects/foreign:Cell"];
    let browsed = scratch.json(0, &cell);
    let all = browsed["variables"].as_array().unwrap();
    let hold = all.iter().find(|row| row["id"] == "foreign:s=Hold").unwrap();
    assert_eq!(
        (&hold["range"], &hold["unit"], &hold["writable"], &hold["value"]),
        (&json!([0.0, 200.0]), &json!("bar"), &json!(true), &json!(100.5))
    );
    let mut tags = cell.to_vec();
    tags.extend(["--write-tags", "cell.toml"]);
    scratch.expect(0, &tags);
    let text = scratch.read("cell.toml");
    assert!(!text.contains("ns="), "an index of a namespace was written: {text}");
    let config = check_plc_config("cell.toml", &text).0.unwrap();
    let node = |name: &str| &config.nodes[config.node(name).unwrap()];
    // A number moves with a download, so its browse path is taken.
    assert!(matches!(node("count").address, trimloop_recipe::plc_config::Address::Path(_)));
    assert!(text.contains("Cell/foreign:Press: TrimloopPress"), "left out unsaid: {text}");
    assert!(text.contains("Cell/foreign:Temps: Double array"), "left out unsaid: {text}");
    scratch.expect(0, &["check", "cell.toml"]);
    // By name now, and with a part that a person added.
    let more = "\n[node.zone_2]\nid = \"foreign:s=Press\"\nfield = \"Zones[2].Temp\"\n";
    scratch.write("cell.toml", &format!("{text}{more}"));
    let read = scratch.json(0, &["plc", "read", "cell.toml", "hold", "count", "zone_2"]);
    let values: Vec<&Value> =
        read["nodes"].as_array().unwrap().iter().map(|n| &n["value"]).collect();
    assert_eq!(values, [&json!(100.5), &json!(7), &json!(202.0)]);
    let args = ["plc", "watch", "cell.toml", "hold", "zone_2", "--count", "2", "--format", "jsonl"];
    let lines = scratch.expect(0, &args);
    let told: BTreeSet<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| format!("{} {} {}", row["node"], row["value"], row["status"]))
        .collect();
    let expect = ["\"hold\" 100.5 \"Good\"", "\"zone_2\" 202.0 \"Good\""];
    assert_eq!(told, expect.map(str::to_owned).into());
}

#[test]
fn verbs_work_with_asyncua() {
    verbs("verbs_work_with_asyncua", Kind::Asyncua);
}

#[test]
fn verbs_work_with_node_opcua() {
    verbs("verbs_work_with_node_opcua", Kind::NodeOpcua);
}

/// Pain 16: nobody types 2,500 tags. One folder with more nodes than fit one answer becomes a PLC
/// config that passes the check, by one command; what is cut is said.
fn thousands(name: &str, kind: Kind) {
    let Some(server) = or_skip(name, ForeignServer::start(kind, 0)) else { return };
    let tags: Vec<Value> = (0..2500)
        .map(|n| json!({"id": format!("Zone{n:04}.Temp"), "type": "Double", "value": n}))
        .collect();
    server.ask(json!({"cmd": "add", "tags": tags}));
    let scratch = Scratch::new(name);
    let url = server.url();
    let browse = ["plc", "browse", url, "--filter", "Zone*"];
    let mut write = browse.to_vec();
    write.extend(["--write-tags", "zones.toml"]);
    let written = scratch.json(0, &write);
    assert_eq!(written["nodes"], 2500);
    let (config, found) = check_plc_config("zones.toml", &scratch.read("zones.toml"));
    assert!(found.is_empty(), "{}", found.len());
    let names: BTreeSet<_> = config.unwrap().nodes.into_iter().map(|node| node.name).collect();
    assert_eq!(names.len(), 2500);
    let mut few = browse.to_vec();
    few.extend(["--most", "10"]);
    let few = scratch.json(0, &few);
    assert_eq!(few["variables"].as_array().unwrap().len(), 10);
    assert!(few["cut"].as_str().unwrap().contains("first 10"), "{}", few["cut"]);
}

#[test]
fn pain_16_thousands_of_tags_with_asyncua() {
    thousands("pain_16_thousands_of_tags_with_asyncua", Kind::Asyncua);
}

#[test]
fn pain_16_thousands_of_tags_with_node_opcua() {
    thousands("pain_16_thousands_of_tags_with_node_opcua", Kind::NodeOpcua);
}

/// Pain 16: a list of another tool becomes a PLC config; a row that cannot be used is reported at
/// its place, and the rest is taken.
#[test]
fn pain_16_lists_are_imported() {
    let scratch = Scratch::new("import");
    scratch.write(
        "tags.csv",
        "name;id;type;sampling;comment\nmelt_temp;Press4.MeltTemp;Double;100;at the nozzle\n\
         bad;Press4.Bad;Floot;;\nhold;Press4.Hold;real;;\n",
    );
    let import = ["plc", "import", "tags.csv", "--namespace", "press=urn:plant:press"];
    let mut write = import.to_vec();
    write.extend(["--write-tags", "press-5.toml"]);
    let output = scratch.run(&write);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("tags.csv:3:16") && err.contains("Floot"), "{err}");
    let text = scratch.read("press-5.toml");
    assert!(text.contains("#   line 3") && text.contains("bad;Press4.Bad;Floot"), "{text}");
    let (config, found) = check_plc_config("press-5.toml", &text);
    assert!(found.is_empty(), "{found:?}");
    let names: Vec<String> = config.unwrap().nodes.into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["hold", "melt_temp"]);
    scratch.expect(0, &["check", "press-5.toml"]);
    scratch.expect(1, &import);
    scratch.write("tags.csv", "a;b\n1;2\n");
    scratch.expect(2, &import);
}

/// Profiles are listed, and shown as their files; a wrong name is answered with the nearest.
#[test]
fn profiles_are_listed_and_shown() {
    let scratch = Scratch::new("profiles");
    let listed = scratch.json(0, &["plc", "profiles"]);
    let names: Vec<&str> =
        listed["profiles"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(names, ["beckhoff", "kepware", "rockwell", "s7-1200", "s7-1500"]);
    assert!(scratch.expect(0, &["plc", "profiles"]).contains("s7-1500   Siemens"));
    let shown = scratch.expect(0, &["plc", "profiles", "s7-1500"]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("plc-configs/profiles/s7-1500.toml");
    assert_eq!(shown, std::fs::read_to_string(file).unwrap());
    let wrong = scratch.run(&["plc", "profiles", "s7-150"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean \"s7-1500\"?"));
}
