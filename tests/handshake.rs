//! The PLC link through the handshake blocks of the simulated PLC: ownership, requests, refusals,
//! loss, and two controllers.

#![expect(clippy::unwrap_used, reason = "a test ends where its assumptions do")]

#[path = "support/link.rs"]
mod link;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use link::{Client, TTL, approved, grid};
use tokio::runtime::Runtime;
use trimloop::plc::{LinkConfig, LinkState, NodeConfig, Purpose, Scalar, handshake};
use trimloop_core::scan::AckResult;
use trimloop_core::tag::TagId;
use trimloop_core::unit::Ticks;
use trimloop_recipe::plc_config::{Address, Identifier, PerCall, Security, User};
use trimloop_simulator::{
    BlockCommand, HandshakeSettings, Scenario, SimCommand, Simulator, SimulatorSettings,
};

const URI: &str = "urn:trimloop:simulator";
const HOLD: u16 = 0;
const COOL: u16 = 1;
const ALIVE: u16 = 2;
const TRIP: u16 = 3;
const OWNER_SLOT: u16 = 4;
/// OPC UA status of a guard that is not enabled, or in local.
const DENIED: u32 = 0x801F_0000;

struct Press {
    runtime: Runtime,
    simulator: Option<Simulator>,
}

impl Press {
    fn start() -> Self {
        Self::start_with(None)
    }

    /// With a server that refuses larger reads and writes.
    fn start_with(per_call: Option<(usize, usize)>) -> Self {
        let runtime = Runtime::new().unwrap();
        let handshake =
            Some(HandshakeSettings { hb_timeout_ms: 1500, ..HandshakeSettings::default() });
        let nominal = Scenario::named("nominal").unwrap();
        let settings =
            SimulatorSettings { handshake, per_call, ..SimulatorSettings::new(nominal, 1) };
        let simulator = Some(runtime.block_on(Simulator::start(settings)).unwrap());
        Self { runtime, simulator }
    }

    fn simulator(&self) -> &Simulator {
        self.simulator.as_ref().unwrap()
    }

    fn command(&self, command: SimCommand) {
        self.runtime.block_on(self.simulator().command(command)).unwrap();
    }

    fn setpoints(&self) -> [f64; 2] {
        self.simulator().report().setpoints
    }
}

fn node(name: &str, tag: Option<u16>, scalar: Scalar, purpose: Purpose) -> NodeConfig {
    NodeConfig {
        name: name.to_owned(),
        tag: tag.map(TagId),
        address: Address::Id {
            namespace: URI.to_owned(),
            identifier: Identifier::Text(format!("Press4.{name}")),
        },
        scalar: Some(scalar),
        sampling_ms: 0.0,
        queue: None,
        purpose,
    }
}

fn config(press: &Press, slot: char) -> LinkConfig {
    let guarded =
        |low, high| Purpose::Guarded { grid: grid(), low: Ticks::new(low), high: Ticks::new(high) };
    let plain = Purpose::Read;
    let mut nodes = vec![
        node("HoldPressureGuard.VOut", Some(HOLD), Scalar::Double, guarded(600, 800)),
        node("CoolTimeGuard.VOut", Some(COOL), Scalar::Double, guarded(28, 40)),
        node("Owner.OwnerAlive", Some(ALIVE), Scalar::Boolean, plain),
        node("HoldPressureGuard.TripReason", Some(TRIP), Scalar::UInt16, plain),
        node("Owner.OwnerSlot", Some(OWNER_SLOT), Scalar::UInt16, plain),
        node(&format!("Owner.{slot}_Heartbeat"), None, Scalar::UInt32, Purpose::Heartbeat),
    ];
    let mut members = |object: &str, guard, names: &[&'static str]| {
        for member in names {
            let (scalar, _) = handshake::member(member).unwrap();
            let purpose = Purpose::Member { guard, member };
            nodes.push(node(&format!("{object}.{member}"), None, scalar, purpose));
        }
    };
    let owner = ["OwnerAlive", "EpochNow", "OwnerSlot", "Granted"];
    members("Owner", None, &owner);
    let ours = if slot == 'A' { ["A_NodeId", "A_Request"] } else { ["B_NodeId", "B_Request"] };
    members("Owner", None, &ours);
    let guard = [
        "VExt", "TtlMs", "Epoch", "ModelId", "Stamp", "Seq", "AckSeq", "AckCode", "LastSeq",
        "ClockMs", "TtlMaxMs", "Test",
    ];
    members("HoldPressureGuard", Some(TagId(HOLD)), &guard);
    members("CoolTimeGuard", Some(TagId(COOL)), &guard);
    LinkConfig {
        name: format!("press {slot}"),
        url: press.simulator().url(),
        publishing: Duration::from_millis(10),
        security: Security::None,
        user: User::Anonymous,
        per_call: PerCall::default(),
        standby: Vec::new(),
        nodes,
        units: std::collections::BTreeMap::new(),
        client_name: format!("handshake-{slot}"),
        pki_dir: std::env::temp_dir().join("trimloop-handshake-test-pki"),
    }
}

/// Forwards to the press, and cuts right behind a message that names the armed node: what was
/// said arrives, what is answered does not.
struct Tap {
    port: u16,
    armed: Arc<Mutex<Option<&'static str>>>,
}

impl Tap {
    fn start(press: &Press) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), press.simulator().port());
        let armed: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let tap = Self { port, armed: Arc::clone(&armed) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || forward(back.0, back.1, &Mutex::default()));
                let armed = Arc::clone(&armed);
                std::thread::spawn(move || forward(client, server, &armed));
            }
        });
        tap
    }
}

fn forward(mut from: TcpStream, mut into: TcpStream, armed: &Mutex<Option<&'static str>>) {
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut armed = armed.lock().unwrap();
        let names = |node: &&str| buffer[..count].windows(node.len()).any(|w| w == node.as_bytes());
        let cut = armed.take_if(|node| names(&&**node)).is_some();
        drop(armed);
        if cut {
            // Nobody hears the answer.
            from.shutdown(Shutdown::Both).ok();
        }
        if into.write_all(&buffer[..count]).is_err() || cut {
            break;
        }
    }
    into.shutdown(Shutdown::Both).ok();
}

/// A controller that beats while it waits.
struct Controller {
    client: Client,
    beat: u32,
    seq: u64,
}

impl Controller {
    fn start(press: &Press, slot: char) -> Self {
        Self { client: Client::start(config(press, slot)), beat: 0, seq: 0 }
    }

    fn through(tap: &Tap, press: &Press) -> Self {
        let url = format!("opc.tcp://127.0.0.1:{}", tap.port);
        let config = LinkConfig { url, ..config(press, 'A') };
        Self { client: Client::start(config), beat: 0, seq: 0 }
    }

    fn until(&mut self, what: &str, mut wanted: impl FnMut(&mut Client) -> bool) {
        let beat = &mut self.beat;
        self.client.until(what, |client| {
            *beat += 1;
            client.port.heartbeat(*beat);
            wanted(client)
        });
    }

    fn granted(&mut self) {
        self.until("a grant", |client| client.link.up && client.holds(ALIVE, 1.0));
    }

    /// Sends a write in the present epoch; its number.
    fn send(&mut self, tag: u16, to: f64) -> u64 {
        self.seq += 1;
        let (epoch, now) = (self.client.link.epoch, self.client.clock.mono());
        self.client.port.write(approved(tag, to, self.seq, epoch, now, TTL)).unwrap();
        self.seq
    }

    fn write(&mut self, tag: u16, to: f64) -> AckResult {
        let seq = self.send(tag, to);
        self.until("an answer", |client| client.acks.contains_key(&seq));
        self.client.acks[&seq]
    }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// The cell is granted before the link opens; requests are answered by the block and read back;
/// direct writes to the setpoints behind the guards are not possible any more.
#[test]
fn requests_go_through_the_guards() {
    let press = Press::start();
    let mut a = Controller::start(&press, 'A');
    a.granted();
    for (tag, to) in [(HOLD, 364.0), (COOL, 16.5), (HOLD, 361.5), (HOLD, 366.5)] {
        assert_eq!(a.write(tag, to), AckResult::Good);
        a.until("the read-back", |client| client.holds(tag, to));
    }
    assert!(near(press.setpoints()[0], 366.5) && near(press.setpoints()[1], 16.5));
    // Farther than MaxStep: the block takes what it may, and the read-back tells.
    assert_eq!(a.write(HOLD, 380.0), AckResult::Good);
    a.until("the step", |client| client.holds(HOLD, 371.5));
    let status = a.client.status("live", |status| status.state == LinkState::Live);
    assert!(status.problems.is_empty(), "{status:?}");
}

/// Where the server takes one or two values a call, and refuses more, a request is several calls: the
/// grant, the values and the answer come about all the same.
#[test]
fn requests_keep_to_small_calls() {
    for (read, write) in [(1, 1), (3, 2)] {
        let press = Press::start_with(Some((read, write)));
        let mut a = Controller::start(&press, 'A');
        a.granted();
        for to in [362.0, 361.5] {
            assert_eq!(a.write(HOLD, to), AckResult::Good, "{read} and {write} a call");
            a.until("the read-back", |client| client.holds(HOLD, to));
        }
        assert!(near(press.setpoints()[0], 361.5));
        press.command(SimCommand::Enable(false));
        assert_eq!(a.write(HOLD, 363.0), AckResult::Refused(DENIED));
    }
}

/// Disabled and local are refusals, and nothing moves; released again, requests pass again.
#[test]
fn refusals_of_the_block_are_refusals() {
    let press = Press::start();
    let mut a = Controller::start(&press, 'A');
    a.granted();
    press.command(SimCommand::Enable(false));
    assert_eq!(a.write(HOLD, 362.0), AckResult::Refused(DENIED));
    press.command(SimCommand::Enable(true));
    press.command(SimCommand::Block(BlockCommand::Remote(false)));
    assert_eq!(a.write(HOLD, 362.0), AckResult::Refused(DENIED));
    press.command(SimCommand::Block(BlockCommand::Remote(true)));
    assert!(near(press.setpoints()[0], 360.0));
    assert_eq!(a.write(HOLD, 362.0), AckResult::Good);
    // In test mode nothing is even asked.
    press.command(SimCommand::Block(BlockCommand::Test(true)));
    assert_eq!(a.write(HOLD, 363.0), AckResult::NotSent);
}

/// A request that waits for `ApplyEn` when the server goes away is Unknown, not Good; the next
/// session begins with a new grant, and nothing of the old one is carried out.
#[test]
fn nothing_survives_a_disconnect() {
    let press = Press::start();
    let mut a = Controller::start(&press, 'A');
    a.granted();
    let epoch = a.client.link.epoch;
    press.command(SimCommand::Block(BlockCommand::ApplyEn(false)));
    let seq = a.send(HOLD, 364.0);
    a.until("nothing for a while", |client| client.view.status().counts.heartbeats > 20);
    assert!(!a.client.acks.contains_key(&seq), "no answer while it waits");
    press.command(SimCommand::RestartServer);
    a.until("an answer", |client| client.acks.contains_key(&seq));
    assert_eq!(a.client.acks[&seq], AckResult::Unknown);
    a.until("a new epoch", |client| client.link.up && client.link.epoch > epoch);
    press.command(SimCommand::Block(BlockCommand::ApplyEn(true)));
    assert_eq!(a.write(COOL, 16.5), AckResult::Good);
    assert!(near(press.setpoints()[0], 360.0), "the old request is void: {:?}", press.setpoints());
}

/// A heartbeat that stops costs the cell: the setpoint ramps back, the other holds, the link's
/// epoch ends, and what was approved in it is not sent.
#[test]
fn silence_costs_the_cell() {
    let press = Press::start();
    let mut a = Controller::start(&press, 'A');
    a.granted();
    assert_eq!(a.write(HOLD, 364.0), AckResult::Good);
    assert_eq!(a.write(COOL, 16.5), AckResult::Good);
    let epoch = a.client.link.epoch;
    // Without beats.
    a.client.until("the end of the epoch", |client| client.link.epoch != epoch || !client.link.up);
    let now = a.client.clock.mono();
    a.client.port.write(approved(HOLD, 365.0, 900, epoch, now, TTL)).unwrap();
    a.until("an answer", |client| client.acks.contains_key(&900));
    assert_eq!(a.client.acks[&900], AckResult::NotSent);
    a.until("the return", |client| client.holds(HOLD, 360.0) && client.holds(TRIP, 1.0));
    assert!(near(press.setpoints()[0], 360.0) && near(press.setpoints()[1], 16.5));
    a.until("a new grant", |client| {
        client.link.up && client.link.epoch > epoch && client.holds(ALIVE, 1.0)
    });
    assert_eq!(a.write(HOLD, 362.0), AckResult::Good);
}

/// Two controllers: the second reads but does not write, until the first says goodbye.
#[test]
fn two_controllers_never_both_write() {
    let press = Press::start();
    let mut a = Controller::start(&press, 'A');
    a.granted();
    assert_eq!(a.write(HOLD, 364.0), AckResult::Good);
    let mut b = Controller::start(&press, 'B');
    let mut seen = false;
    // A beats on while B looks around.
    while !seen {
        a.until("a beat", |_| true);
        b.until("a look", |_| true);
        let status = b.client.view.status();
        seen = status.problems.iter().any(|p| p.stops_writes && p.what.contains("another"));
        assert!(b.client.link.epoch == 0 || !b.client.link.up || !seen, "B has an epoch");
    }
    assert!(b.client.holds(HOLD, 364.0), "B reads");
    assert_eq!(b.write(HOLD, 350.0), AckResult::NotSent);
    a.until("a beat", |client| client.holds(OWNER_SLOT, 1.0));
    assert!(near(press.setpoints()[0], 364.0));
    a.client.stop.send_replace(true);
    b.until("B's grant", |client| client.link.up && client.holds(OWNER_SLOT, 2.0));
    b.until("the return", |client| client.holds(HOLD, 360.0));
    assert_eq!(b.write(HOLD, 358.0), AckResult::Good);
    assert_eq!(a.client.view.status().state, LinkState::Stopped);
}

/// The connection breaks between the two calls: values lie in the mailbox, no request was made,
/// nothing moves, and the next request is judged by its own values.
#[test]
fn a_break_between_the_calls_makes_no_request() {
    let press = Press::start();
    let tap = Tap::start(&press);
    let mut a = Controller::through(&tap, &press);
    a.granted();
    let epoch = a.client.link.epoch;
    *tap.armed.lock().unwrap() = Some("HoldPressureGuard.VExt");
    assert_eq!(a.write(HOLD, 364.0), AckResult::NotSent);
    assert!(tap.armed.lock().unwrap().is_none(), "the tap has cut");
    a.until("a new epoch", |client| client.link.up && client.link.epoch > epoch);
    assert!(near(press.setpoints()[0], 360.0));
    assert_eq!(a.write(HOLD, 361.0), AckResult::Good);
    a.until("the read-back", |client| client.holds(HOLD, 361.0));
}

/// The connection breaks behind the second call: the request was made and its answer is lost.
/// That is Unknown, and it is not made again.
#[test]
fn a_break_behind_the_calls_is_unknown() {
    let press = Press::start();
    let tap = Tap::start(&press);
    let mut a = Controller::through(&tap, &press);
    a.granted();
    let epoch = a.client.link.epoch;
    *tap.armed.lock().unwrap() = Some("HoldPressureGuard.Seq");
    assert_eq!(a.write(HOLD, 364.0), AckResult::Unknown);
    assert!(tap.armed.lock().unwrap().is_none(), "the tap has cut");
    a.until("a new epoch", |client| client.link.up && client.link.epoch > epoch);
    // The new grant ends the old one, so the guard returns to its baseline and stays there.
    a.until("the return", |client| client.holds(HOLD, 360.0));
    assert_eq!(a.write(COOL, 16.5), AckResult::Good);
    assert!(near(press.setpoints()[0], 360.0));
}

/// A controller whose loops are all in SHADOW does not beat yet; the link keeps the cell for it.
/// From the first beat on, only its beats count.
#[test]
fn a_cell_in_shadow_keeps_its_grant() {
    let press = Press::start();
    let mut a = Controller::start(&press, 'A');
    let client = &mut a.client;
    client.until("a grant", |client| client.link.up && client.holds(ALIVE, 1.0));
    let epoch = client.link.epoch;
    // 30 beats of 90 ms are longer than the time-out of 1.5 s.
    client.until("beats of the link", |client| client.view.status().counts.heartbeats >= 30);
    assert!(client.link.epoch == epoch && client.holds(ALIVE, 1.0), "{:?}", client.link);
    assert_eq!(a.write(HOLD, 362.0), AckResult::Good);
    let client = &mut a.client;
    client.until("the loss", |client| client.link.epoch != epoch || !client.link.up);
}
