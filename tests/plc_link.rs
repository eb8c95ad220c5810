//! The PLC link against a real OPC UA server, with a TCP proxy in between that cuts and freezes.
//!
//! The test thread plays the scan thread: it waits on the intake, with deadlines, never on time
//! alone. Regression tests of both workarounds of the OPC UA library are here: `TCP_NODELAY`,
//! and subscriptions that stay dead after a reconnect.

#![expect(clippy::unwrap_used, reason = "a test ends where its assumptions do")]

#[path = "support/link.rs"]
mod link;
#[path = "support/proxy.rs"]
mod proxy;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use link::{Client, TTL, approved, grid};
use opcua::server::address_space::VariableBuilder;
use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua::server::{
    ANONYMOUS_USER_TOKEN_ID, ServerBuilder, ServerEndpoint, ServerHandle, ServerUserToken,
};
use opcua::types::{
    DataTypeId, DataValue, DateTime, NodeId, ObjectId, StatusCode, VariableTypeId, Variant,
};
use proxy::Proxy;
use tokio::runtime::Runtime;
use trimloop::clock::Clock;
use trimloop::dispatch::{Dispatch, DispatchCounts, Seen};
use trimloop::intake::Intake;
use trimloop::latency::Stopwatch;
use trimloop::plc::{self, LinkConfig, LinkState, NodeConfig, Port, Purpose, Scalar};
use trimloop_core::ledger::Fate;
use trimloop_core::plan::SetpointId;
use trimloop_core::record::{LedgerRow, Record};
use trimloop_core::scan::{AckResult, Action};
use trimloop_core::tag::{Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Span};
use trimloop_core::unit::Ticks;
use trimloop_recipe::plc_config::{Address, Identifier, PerCall, Secret, Security, Segment, User};

const URI: &str = "urn:trimloop:test";
/// What the server takes in one call.
const ITEMS_PER_CALL: usize = 3;
const PUBLISHING: Duration = Duration::from_millis(10);
/// Room for a message of many values.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

// --- The server -----------------------------------------------------------------------------

struct Plc {
    runtime: Runtime,
    nodes: Arc<SimpleNodeManager>,
    handle: ServerHandle,
    namespace: u16,
    port: u16,
    writes: Arc<AtomicU64>,
}

/// Registers of the server: name, type, first value, writable.
const REGISTERS: [(&str, DataTypeId, f64, bool); 6] = [
    ("value", DataTypeId::Double, 1.0, false),
    ("other", DataTypeId::Double, 2.0, false),
    ("setpoint", DataTypeId::Double, 100.0, true),
    ("refusing", DataTypeId::Double, 100.0, true),
    ("counted", DataTypeId::Double, 100.0, true),
    ("beat", DataTypeId::Double, 0.0, true),
];

impl Plc {
    /// Serves on `port` (0 = any). `download`: how often namespaces moved since the first.
    fn start(port: u16, download: usize) -> Self {
        Self::start_with(port, download, 0, ITEMS_PER_CALL)
    }

    /// With so many registers `r0`, `r1`, … beside the others, and so many items a call.
    fn start_with(port: u16, download: usize, more: usize, items_per_call: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = listen(port);
        let port = listener.local_addr().unwrap().port();
        let users = [ANONYMOUS_USER_TOKEN_ID.to_owned(), "operator".to_owned()];
        let mut builder = ServerBuilder::new()
            .application_name("test")
            .add_user_token("operator", ServerUserToken::user_pass("operator", "right"))
            .add_endpoint("none", ServerEndpoint::new_none("/", &users))
            .discovery_urls(vec!["/".to_owned()])
            .application_uri("urn:trimloop:test:server")
            .create_sample_keypair(false)
            .pki_dir(std::env::temp_dir().join("trimloop-test-pki"))
            .host("127.0.0.1")
            .port(port)
            .max_message_size(MESSAGE_BYTES_MAX)
            .max_chunk_count(MESSAGE_BYTES_MAX / 8192)
            .subscription_poll_interval_ms(2);
        for moved in 0..download {
            let other = NamespaceMetadata {
                namespace_uri: format!("urn:trimloop:moved:{moved}"),
                ..NamespaceMetadata::default()
            };
            builder = builder.with_node_manager(simple_node_manager(other, &format!("m{moved}")));
        }
        let ours =
            NamespaceMetadata { namespace_uri: URI.to_owned(), ..NamespaceMetadata::default() };
        builder = builder.with_node_manager(simple_node_manager(ours, "test"));
        let limits = &mut builder.limits_mut().subscriptions;
        limits.min_publishing_interval_ms = 1.0;
        limits.min_sampling_interval_ms = 0.0;
        limits.max_queued_notifications = 1000;
        limits.max_monitored_items_per_sub = 100_000;
        let limits = &mut builder.limits_mut().operational;
        limits.max_monitored_items_per_call = items_per_call;
        limits.max_nodes_per_read = items_per_call;
        let _entered = runtime.enter();
        let (server, handle) = builder.build().unwrap();
        let namespace = handle.get_namespace_index(URI).unwrap();
        let nodes = handle.node_managers().get_by_name::<SimpleNodeManager>("test").unwrap();
        fill(&nodes, namespace, more);
        let writes = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&writes);
        let id = |name: &str| NodeId::new(namespace, name);
        nodes.inner().add_write_callback(id("refusing"), |_, _| StatusCode::BadOutOfRange);
        nodes.inner().add_write_callback(id("counted"), move |_, _| {
            seen.fetch_add(1, Ordering::SeqCst);
            StatusCode::Good
        });
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        runtime.spawn(server.run_with(listener));
        Self { runtime, nodes, handle, namespace, port, writes }
    }

    fn set(&self, name: &str, value: f64) {
        let id = NodeId::new(self.namespace, name);
        let data = DataValue::new_at(value, DateTime::now());
        self.nodes
            .set_values(self.handle.subscriptions(), [(&id, None, data)].into_iter())
            .unwrap();
    }

    /// Sets the registers `r0`, `r1`, … in one go.
    fn set_many(&self, count: usize, value: f64) {
        let ids: Vec<NodeId> =
            (0..count).map(|n| NodeId::new(self.namespace, format!("r{n}"))).collect();
        let now = DateTime::now();
        let values = ids.iter().map(|id| (id, None, DataValue::new_at(value, now)));
        self.nodes.set_values(self.handle.subscriptions(), values).unwrap();
    }

    fn get(&self, name: &str) -> Option<f64> {
        let space = self.nodes.address_space().read();
        let node = space.find(&NodeId::new(self.namespace, name))?;
        let data = node.as_node().get_attribute(
            opcua::types::TimestampsToReturn::Neither,
            opcua::types::AttributeId::Value,
            &opcua::types::NumericRange::None,
            &opcua::types::DataEncoding::Binary,
        )?;
        match data.value? {
            Variant::Double(value) => Some(value),
            _ => None,
        }
    }

    /// Like pulling the plug: no goodbye to anybody.
    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

fn listen(port: u16) -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.listen(64).unwrap();
    socket.into()
}

fn fill(nodes: &SimpleNodeManager, namespace: u16, more: usize) {
    let mut space = nodes.address_space().write();
    let folder = NodeId::new(namespace, "folder");
    let name = opcua::types::QualifiedName::new(namespace, "Cell");
    space.add_folder(&folder, name, "Cell", &ObjectId::ObjectsFolder.into());
    let own =
        REGISTERS.map(|(name, kind, value, writable)| (name.to_owned(), kind, value, writable));
    let more = (0..more).map(|n| (format!("r{n}"), DataTypeId::Double, 0.0, false));
    for (name, data_type, value, writable) in own.into_iter().chain(more) {
        let id = NodeId::new(namespace, name.as_str());
        let browse = opcua::types::QualifiedName::new(namespace, name.as_str());
        let mut builder = VariableBuilder::new(&id, browse, name.as_str())
            .data_type(data_type)
            .value(value)
            .value_rank(-1)
            .has_type_definition(VariableTypeId::BaseDataVariableType)
            .component_of(folder.clone());
        if writable {
            builder = builder.writable();
        }
        builder.insert(&mut *space);
    }
}

// --- The client ---------------------------------------------------------------------------

impl Client {
    /// Counts `value` up until the link delivers it under an epoch after `after`.
    fn data_flow(&mut self, plc: &Plc, after: u64) -> Span {
        let mut next = 1000.0;
        self.until("data flow", |client| {
            let arrived = client.link.epoch > after && client.link.up && client.holds(0, next);
            if !arrived {
                next += 1.0;
                plc.set("value", next);
            }
            arrived
        })
    }
}

fn node(name: &str, tag: Option<u16>, purpose: Purpose) -> NodeConfig {
    NodeConfig {
        name: name.to_owned(),
        tag: tag.map(TagId),
        address: Address::Id {
            namespace: URI.to_owned(),
            identifier: Identifier::Text(name.to_owned()),
        },
        scalar: Some(Scalar::Double),
        sampling_ms: 0.0,
        queue: None,
        purpose,
    }
}

/// Tags 0 to 4 are the registers in order; the heartbeat has none.
fn config(port: u16) -> LinkConfig {
    let setpoint = Purpose::Setpoint { grid: grid(), low: Ticks::new(0), high: Ticks::new(400) };
    let mut other = node("other", Some(1), Purpose::Read);
    let step = |namespace: &str, name: &str| Segment {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    other.address = Address::Path(vec![
        step(trimloop_recipe::plc_config::OPC_UA, "Objects"),
        step(URI, "Cell"),
        step(URI, "other"),
    ]);
    LinkConfig {
        name: "test".to_owned(),
        url: format!("opc.tcp://127.0.0.1:{port}"),
        publishing: PUBLISHING,
        security: Security::None,
        user: User::Anonymous,
        per_call: PerCall::default(),
        standby: Vec::new(),
        nodes: vec![
            node("value", Some(0), Purpose::Read),
            other,
            node("setpoint", Some(2), setpoint),
            node("refusing", Some(3), setpoint),
            node("counted", Some(4), setpoint),
            node("beat", None, Purpose::Heartbeat),
        ],
        units: std::collections::BTreeMap::new(),
        client_name: "plc_link".to_owned(),
        pki_dir: std::env::temp_dir().join("trimloop-test-client-pki"),
    }
}

// --- The tests ------------------------------------------------------------------------------

/// Data come in with the link, writes and life signs go out, and the register is read back at
/// once. The socket sends without delay; without that a round trip takes 40 ms and more.
#[test]
fn data_in_setpoints_out() {
    let plc = Plc::start(0, 0);
    let mut client = Client::start(config(plc.port));
    client.until("all first values", |client| {
        client.link.up && (0..5).all(|tag| client.value(tag).is_some())
    });
    assert_eq!(client.link.epoch, 1);
    assert!(client.holds(0, 1.0) && client.holds(1, 2.0) && client.holds(2, 100.0));
    let first = client.samples[0];
    assert_eq!(first.status, Status::Good);
    assert!(first.server_time.is_some() && first.received > Mono::default());
    let status = client.status("live", |status| status.state == LinkState::Live);
    assert!(status.no_delay, "TCP_NODELAY is not set");
    assert!(status.problems.is_empty() && status.keep_alive_ms <= 500.0, "{status:?}");

    let mut trips = Vec::new();
    for seq in 1..=200 {
        let to = 101.0 + (seq % 100) as f64 * 0.5;
        let issued = client.clock.mono();
        client.port.write(approved(2, to, seq, 1, issued, TTL)).unwrap();
        client.until("a write answered and read back", |client| {
            client.acks.contains_key(&seq) && client.holds(2, to)
        });
        assert_eq!(client.acks.get(&seq), Some(&AckResult::Good));
        assert!(plc.get("setpoint").is_some_and(|value| (value - to).abs() < 1e-9));
        trips.push((client.clock.mono() - issued).as_secs_f64() * 1e3);
    }
    trips.sort_by(f64::total_cmp);
    eprintln!("write, ack, read-back in scans: p50 {:.2} ms, p99 {:.2} ms", trips[100], trips[197]);

    client.port.heartbeat(7);
    client.status("a heartbeat", |status| status.counts.heartbeats == 1);
    assert_eq!(plc.get("beat"), Some(7.0));
    let counts = client.view.status().counts;
    assert_eq!((counts.writes_good, counts.resubscriptions, counts.connects), (200, 0, 1));
}

/// A cut connection comes back under a new epoch with data; writes of the old epoch are dead.
/// Regression: the library's subscriptions stay dead after every reconnect.
#[test]
fn pain_05_nothing_is_sent_again_after_a_cut_connection() {
    let plc = Plc::start(0, 0);
    let proxy = Proxy::start(plc.port);
    let mut client = Client::start(config(proxy.port));
    client.data_flow(&plc, 0);
    for round in 1..=3 {
        let epoch = client.link.epoch;
        assert_eq!(epoch, round);
        proxy.cut();
        let back = client.data_flow(&plc, epoch);
        assert!(back < Span::from_secs(5), "{back:?}");
        eprintln!("cut connection: data back after {} ms", back.as_millis());
        let write = approved(4, 55.0, 100 + round, epoch, client.clock.mono(), TTL);
        client.port.write(write).unwrap();
        client.until("an answer", |client| client.acks.contains_key(&(100 + round)));
        assert_eq!(client.acks.get(&(100 + round)), Some(&AckResult::NotSent));
    }
    assert_eq!(plc.writes.load(Ordering::SeqCst), 0);
    assert_eq!(client.view.status().counts.resubscriptions, 3);
}

/// A killed server that comes back after a download (namespaces moved) is resolved anew, and data
/// are back within 5 s of its return.
#[test]
fn pain_06_data_come_back_after_a_server_restart() {
    let mut plc = Plc::start(0, 0);
    let port = plc.port;
    let mut client = Client::start(config(port));
    client.data_flow(&plc, 0);
    for download in 1..=2 {
        let epoch = client.link.epoch;
        let namespace = plc.namespace;
        plc.kill();
        client.until("the link to go down", |client| !client.link.up);
        // Some failed attempts, so that the pauses have grown.
        let start = client.clock.mono();
        client.until("two seconds without a server", |client| {
            client.clock.mono() - start > Span::from_secs(2)
        });
        plc = Plc::start(port, download);
        assert_ne!(plc.namespace, namespace, "the download did not move the namespace");
        let back = client.data_flow(&plc, epoch);
        eprintln!("server restart: data back after {} ms", back.as_millis());
        assert!(back < Span::from_secs(5), "{back:?}");
        assert!(client.link.epoch > epoch);
    }
}

/// A server that accepts and says nothing is given up within a few seconds, although no
/// connection broke, and found again when it speaks.
#[test]
fn pain_08_a_silent_server_is_noticed() {
    let plc = Plc::start(0, 0);
    let proxy = Proxy::start(plc.port);
    let mut client = Client::start(config(proxy.port));
    client.data_flow(&plc, 0);
    proxy.freeze(true);
    let noticed = client.until("the silence to be noticed", |client| !client.link.up);
    assert!(noticed < Span::from_secs(5), "{noticed:?}");
    proxy.freeze(false);
    client.data_flow(&plc, 1);
}

/// A server that takes few items a call gets few: all values are there, and no call fails for its
/// size.
#[test]
fn pain_09_server_limits_are_obeyed() {
    let plc = Plc::start(0, 0);
    let config = config(plc.port);
    assert!(config.per_call.read == 1000 && config.nodes.len() > ITEMS_PER_CALL);
    let mut client = Client::start(config);
    client.until("all first values", |client| {
        client.link.up && (0..5).all(|tag| client.value(tag).is_some())
    });
    let status = client.status("live", |status| status.state == LinkState::Live);
    assert!(status.problems.is_empty(), "{status:?}");
    assert_eq!((status.counts.connects, status.counts.resubscriptions), (1, 0));
}

/// Values that the server had to drop are counted by its overflow bit.
#[test]
fn pain_10_overflow_is_counted() {
    let plc = Plc::start(0, 0);
    let mut slow = config(plc.port);
    slow.publishing = Duration::from_millis(200);
    slow.nodes[0].queue = Some(2);
    let mut client = Client::start(slow);
    client.until("the link", |client| client.link.up && client.value(0).is_some());
    let mut next = 1.0;
    client.until("an overflow", |client| {
        for _ in 0..10 {
            next += 1.0;
            plc.set("value", next);
        }
        client.view.status().counts.overflows > 0
    });
    assert!(client.samples.iter().all(|sample| sample.status == Status::Good));
}

/// A tag of another type, or one that does not exist, is refused at connect; the rest works.
#[test]
fn a_wrong_tag_is_refused() {
    let plc = Plc::start(0, 0);
    let mut wrong = config(plc.port);
    wrong.nodes[0].scalar = Some(Scalar::Int32);
    wrong.nodes[1] = node("gone", Some(1), Purpose::Read);
    let mut client = Client::start(wrong);
    client.until("the link", |client| client.link.up && client.value(2).is_some());
    let status = client.status("live", |status| status.state == LinkState::Live);
    let said: BTreeMap<&str, &str> =
        status.problems.iter().map(|p| (p.node.as_str(), p.what.as_str())).collect();
    assert!(said["value"].contains("it is Double on the server"), "{said:?}");
    assert!(said["gone"].contains("no such node"), "{said:?}");
    assert!(client.value(0).is_none() && client.value(1).is_none());
}

/// A setpoint that may not be written stops all writes: no epoch is announced. Data flow.
#[test]
fn a_wrong_setpoint_stops_writes() {
    let plc = Plc::start(0, 0);
    let mut wrong = config(plc.port);
    let setpoint = wrong.nodes[2].purpose;
    wrong.nodes[0].purpose = setpoint;
    let mut client = Client::start(wrong);
    client.until("data", |client| client.value(1).is_some() && client.value(2).is_some());
    let status = client.status("live", |status| status.state == LinkState::Live);
    assert!(status.problems.iter().any(|p| p.stops_writes && p.what.contains("may not write")));
    assert_eq!((client.link.up, client.link.epoch), (false, 0));
    for epoch in [0, 1] {
        let write = approved(4, 55.0, epoch, epoch, client.clock.mono(), TTL);
        client.port.write(write).unwrap();
        client.until("an answer", |client| client.acks.contains_key(&epoch));
        assert_eq!(client.acks.get(&epoch), Some(&AckResult::NotSent));
    }
    assert_eq!(plc.writes.load(Ordering::SeqCst), 0);
}

/// Writes that are too old, of another epoch, or for a register that is none are never sent;
/// what the server refuses comes back with its code.
#[test]
fn writes_die_or_are_refused() {
    let plc = Plc::start(0, 0);
    let mut client = Client::start(config(plc.port));
    let now = client.clock.mono();
    client.port.write(approved(4, 55.0, 1, 1, now, TTL)).unwrap();
    client.until("the link", |client| client.link.up && client.value(4).is_some());
    let now = client.clock.mono();
    for (seq, tag, epoch, ttl) in
        [(2, 4, 1, Span::from_nanos(1)), (3, 4, 2, TTL), (4, 0, 1, TTL), (5, 3, 1, TTL)]
    {
        client.port.write(approved(tag, 55.0, seq, epoch, now, ttl)).unwrap();
    }
    client.until("five answers", |client| client.acks.len() == 5);
    for seq in 1..=4 {
        assert_eq!(client.acks.get(&seq), Some(&AckResult::NotSent), "write {seq}");
    }
    assert_eq!(client.acks.get(&5), Some(&AckResult::Refused(0x803C_0000)));
    assert_eq!(plc.writes.load(Ordering::SeqCst), 0);
    // And one that may go, to see that counting works.
    client.port.write(approved(4, 55.0, 6, 1, client.clock.mono(), TTL)).unwrap();
    client.until("an answer", |client| client.acks.contains_key(&6));
    assert_eq!(plc.writes.load(Ordering::SeqCst), 1);
}

/// A wrong password is tried once, not for ever; the right one opens the link.
#[test]
fn a_refused_user_is_not_tried_again() {
    let plc = Plc::start(0, 0);
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused-user");
    std::fs::create_dir_all(&folder).unwrap();
    let with = |password: &str| {
        let mut config = config(plc.port);
        let file = folder.join(password);
        std::fs::write(&file, format!("{password}\n")).unwrap();
        config.user = User::Password { name: "operator".to_owned(), secret: Secret::File(file) };
        config
    };
    let client = Client::start(with("hush-7"));
    let status = client.status("refused", |status| status.state == LinkState::Refused);
    assert!(
        status
            .trouble
            .is_some_and(|why| !why.contains("hush-7") && why.contains("password is wrong"))
    );
    let mut client = Client::start(with("right"));
    client.until("the link", |client| client.link.up);
}

/// Without an audit no write leaves the house, and a full queue never blocks the scan: both are
/// answered. A confirmed write is measured from its change.
#[test]
fn dispatch_holds_writes_back() {
    let clock = Clock::start();
    let (intake, mut batch) = Intake::new(1, clock);
    let (port, mut queue, _beats) = Port::open_ended();
    let mut dispatch = Dispatch {
        ports: vec![port],
        store: None,
        intake: intake.clone(),
        watchers: Arc::default(),
        orders: Arc::default(),
        stopwatch: Stopwatch::default(),
        counts: DispatchCounts::default(),
    };
    let now = clock.now();
    let write = |seq| Action::Write(approved(4, 55.0, seq, 1, now.mono, TTL));
    dispatch.carry_out(now, None, false, std::iter::once(write(1)));
    assert!(queue.try_recv().is_err());
    let full = plc::WRITES_MAX as u64;
    dispatch.carry_out(now, Some(now.mono), true, (2..=full + 2).map(write));
    assert_eq!((dispatch.counts.writes, dispatch.counts.writes_held_back), (full, 2));
    assert!(intake.wait(&mut batch, None, Span::from_secs(1)));
    let acks: Vec<(u64, AckResult)> = batch.acks.iter().map(|a| (a.write, a.result)).collect();
    assert_eq!(acks, [(1, AckResult::NotSent), (full + 2, AckResult::NotSent)]);

    let row = Record::Ledger(LedgerRow {
        write: 2,
        setpoint: SetpointId(0),
        desired: 55.0,
        limited: Ticks::new(110),
        sent: Ticks::new(110),
        issued: now.mono,
        acknowledged: Some(now.mono),
        read_back: Some(Ticks::new(110)),
        confirmed: Some(now.mono),
        fate: Fate::Confirmed,
    });
    let seen = dispatch.watchers.subscribe();
    let later = Now { mono: now.mono + Span::from_millis(12), utc: now.utc };
    dispatch.carry_out(later, None, true, std::iter::once(Action::Record(row)));
    assert_eq!(seen.try_recv(), Ok(Seen::Record(now.utc, row)));
    let summary = dispatch.stopwatch.histogram.summary();
    assert!(summary.count == 1 && (summary.max_ms - 12.0).abs() < 1e-9, "{summary:?}");
}

/// 20,000 values that change together come in one message of more than a megabyte, in many chunks.
/// A client that says it takes five, as the library does by itself, gets none of them.
#[test]
fn twenty_thousand_values_change_at_once() {
    const TAGS: usize = 20_000;
    let plc = Plc::start_with(0, 0, TAGS, 1000);
    let nodes = (0..).zip(0..TAGS).map(|(tag, n)| node(&format!("r{n}"), Some(tag), Purpose::Read));
    let nodes = nodes.collect();
    let mut client = Client::start(LinkConfig { nodes, ..config(plc.port) });
    let mut newest = vec![f64::NAN; TAGS];
    let mut all_hold = |client: &mut Client, value: f64| {
        for sample in &client.batch.changes {
            newest[sample.tag.index()] = sample.value.map_or(f64::NAN, Value::as_f64);
        }
        newest.iter().all(|held| (held - value).abs() < 1e-9)
    };
    client.until("all first values", |client| client.link.up && all_hold(client, 0.0));
    for value in [1.0, 2.0, 3.0] {
        plc.set_many(TAGS, value);
        client.until("all values", |client| all_hold(client, value));
    }
    let counts = client.view.status().counts;
    assert_eq!((counts.connects, counts.resubscriptions, counts.overflows), (1, 0, 0));
    assert_eq!((client.link.epoch, client.intake.counts().dropped), (1, 0));
}
