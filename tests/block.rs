//! The handshake blocks: the Structured Text and the Rust do the same, call by call.
//!
//! The text is run by the interpreter in `block/st.rs`; where `TRIMLOOP_IEC2C` names matiec's
//! compiler, the same traces also run through the code that it makes.

#![expect(clippy::expect_used, clippy::panic, reason = "a test stops where it fails")]

#[path = "block/matiec.rs"]
mod matiec;
#[path = "block/st.rs"]
mod st;

use std::collections::BTreeSet;

use st::{Library, Value};
use trimloop_simulator::block::{CLOCK_WRAP_MS, Defect, guard, owner};

const SOURCES: [&str; 3] = [
    include_str!("../plc-configs/blocks/TL_Owner.st"),
    include_str!("../plc-configs/blocks/TL_Guard.st"),
    include_str!("../plc-configs/blocks/TL_Harness.st"),
];
/// Random traces of each block, and calls in each.
const TRACES: u64 = 150;
const CALLS: usize = 400;

fn library() -> Library {
    let mut library = Library::default();
    SOURCES.into_iter().for_each(|text| library.read(text));
    library
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64);
        choices[usize::try_from(at).expect("few choices")]
    }
}

fn guard_inputs(i: &guard::Inputs) -> Vec<(&'static str, Value)> {
    let (b, u, r) = (Value::Bool, |n: u32| Value::Uint(n.into()), Value::Real);
    let m = &i.mailbox;
    vec![
        ("DtMs", u(i.dt_ms)),
        ("Enable", b(i.enable)),
        ("ApplyEn", b(i.apply_en)),
        ("LocalRemote", b(i.remote)),
        ("VMin", r(i.v_min)),
        ("VMax", r(i.v_max)),
        ("MaxStep", r(i.max_step)),
        ("VBase", r(i.v_base)),
        ("VInt", r(i.v_int)),
        ("HoldOnLoss", b(i.hold_on_loss)),
        ("RampRate", r(i.ramp_rate)),
        ("TtlMaxMs", u(i.ttl_max_ms)),
        ("Test", b(i.test)),
        ("OwnerAlive", b(i.owner_alive)),
        ("EpochNow", u(i.epoch_now)),
        ("OwnerEnd", Value::Uint(i.owner_end.into())),
        ("VExt", r(m.v_ext)),
        ("TtlMs", u(m.ttl_ms)),
        ("Epoch", u(m.epoch)),
        ("ModelId", u(m.model_id)),
        ("Stamp", u(m.stamp)),
        ("Seq", u(m.seq)),
        ("TestForce", Value::Uint(m.test_force.into())),
    ]
}

fn guard_outputs(o: &guard::Outputs) -> Vec<(&'static str, Value)> {
    let (b, u, r) = (Value::Bool, |n: u32| Value::Uint(n.into()), Value::Real);
    vec![
        ("AckSeq", u(o.ack_seq)),
        ("AckCode", Value::Uint(o.ack_code.into())),
        ("LastSeq", u(o.last_seq)),
        ("VReq", r(o.v_req)),
        ("VOut", r(o.v_out)),
        ("Pending", b(o.pending)),
        ("Active", b(o.active)),
        ("Returning", b(o.returning)),
        ("TripReason", Value::Uint(o.trip_reason.into())),
        ("ModelInForce", u(o.model_in_force)),
        ("ClockMs", u(o.clock_ms)),
        ("HeartbeatOut", u(o.heartbeat_out)),
    ]
}

fn owner_inputs(i: &owner::Inputs) -> Vec<(&'static str, Value)> {
    let u = |n: u32| Value::Uint(n.into());
    let [a, b] = &i.mailbox;
    vec![
        ("DtMs", u(i.dt_ms)),
        ("HbTimeoutMs", u(i.hb_timeout_ms)),
        ("A_NodeId", u(a.node_id)),
        ("A_Request", u(a.request)),
        ("A_Heartbeat", u(a.heartbeat)),
        ("B_NodeId", u(b.node_id)),
        ("B_Request", u(b.request)),
        ("B_Heartbeat", u(b.heartbeat)),
    ]
}

fn owner_outputs(o: &owner::Outputs) -> Vec<(&'static str, Value)> {
    let u = |n: u32| Value::Uint(n.into());
    vec![
        ("OwnerAlive", Value::Bool(o.owner_alive)),
        ("EpochNow", u(o.epoch_now)),
        ("OwnerSlot", Value::Uint(o.owner_slot.into())),
        ("OwnerNode", u(o.owner_node)),
        ("Granted", u(o.granted)),
        ("EndReason", Value::Uint(o.end_reason.into())),
        ("A_Echo", u(o.echo[0])),
        ("B_Echo", u(o.echo[1])),
        ("HeartbeatOut", u(o.heartbeat_out)),
    ]
}

/// The same number, to the bit; all that is not a number is one.
fn same(a: Value, b: Value) -> bool {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Uint(a), Value::Uint(b)) => a == b,
        (Value::Real(a), Value::Real(b)) => {
            a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
        }
        _ => false,
    }
}

type Row = Vec<(&'static str, Value)>;

/// Inputs of the calls of one trace, and what Rust made of them.
type Trace = (Vec<Row>, Vec<Row>);

/// Rust's outputs against every other way to run the block.
fn hold_equal(block: &str, traces: &[Trace]) {
    let library = library();
    for (seed, (inputs, outputs)) in traces.iter().enumerate() {
        let mut text = library.instance(block);
        for (call, (row, expect)) in inputs.iter().zip(outputs).enumerate() {
            for (name, value) in row {
                text.put(name, *value);
            }
            text.call(&library);
            for (name, value) in expect {
                let got = text.get(name);
                assert!(
                    same(got, *value),
                    "seed {seed}, call {call}: {block}.{name} is {got:?} in the text, {value:?} in \
                     Rust; inputs {row:?}"
                );
            }
        }
    }
    let Some(compiler) = matiec::compiler() else { return };
    let (inputs, outputs) = (&traces[0].0[0], &traces[0].1[0]);
    let sources = SOURCES.concat();
    let compiled = matiec::Compiled::new(&compiler, &sources, block, inputs, outputs);
    for (seed, (inputs, outputs)) in traces.iter().enumerate() {
        let values = |row: &Row| row.iter().map(|(_, value)| *value).collect();
        let made = compiled.run(&inputs.iter().map(values).collect::<Vec<_>>());
        assert_eq!(made.len(), outputs.len(), "seed {seed}: the compiled block ended early");
        for (call, (got, expect)) in made.iter().zip(outputs).enumerate() {
            for (got, (name, value)) in got.iter().zip(expect) {
                let place = format!("seed {seed}, call {call}: compiled {block}.{name}");
                assert!(same(*got, *value), "{place} is {got:?}, {value:?} in Rust");
            }
        }
    }
}

/// A controller that is mostly right, and every now and then wrong in one way.
fn random_guard(seed: u64) -> Vec<guard::Inputs> {
    let mut draw = Draw(seed);
    let mut i = guard::Inputs {
        v_min: 289.5,
        v_max: 430.5,
        max_step: 5.0,
        v_base: 360.0,
        v_int: 358.0,
        ramp_rate: 50.0,
        hold_on_loss: seed.is_multiple_of(3),
        remote: true,
        enable: true,
        ..guard::Inputs::default()
    };
    // Numbers near the wrap of the sequence and of the clock.
    i.mailbox.seq = draw.of(&[0, 7, u32::MAX - 5, 0x7FFF_FFF0]);
    let mut model = guard::Guard::new(None);
    if seed.is_multiple_of(5) {
        i.owner_alive = true;
        i.epoch_now = 3;
    }
    let mut rows = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        i.dt_ms = if draw.one_in(40) { draw.of(&[0, 900, 70_000, u32::MAX]) } else { 10 };
        let flip = |draw: &mut Draw, value: &mut bool, often: u64, back: u64| {
            if draw.one_in(if *value { often } else { back }) {
                *value = !*value;
            }
        };
        flip(&mut draw, &mut i.enable, 60, 5);
        flip(&mut draw, &mut i.remote, 60, 5);
        flip(&mut draw, &mut i.apply_en, 20, 4);
        let alive = i.owner_alive;
        flip(&mut draw, &mut i.owner_alive, 50, 6);
        if i.owner_alive && !alive {
            i.epoch_now = i.epoch_now.wrapping_add(1).max(1);
        }
        i.owner_end = if i.owner_alive { 0 } else { draw.of(&[1, 1, 2]) };
        if draw.one_in(120) {
            i.epoch_now = draw.of(&[0, 1, 9]);
        }
        if draw.one_in(150) {
            i.test = !i.test;
        }
        i.v_base = if draw.one_in(100) { draw.of(&[360.0, 350.0, 300.0]) } else { i.v_base };
        i.v_int = draw.of(&[i.v_int, i.v_int, 340.0, f64::NAN, 1.0e9]);
        i.max_step = if draw.one_in(80) { draw.of(&[0.0, -1.0, f64::NAN, 1.0e31]) } else { 5.0 };
        i.v_max = if draw.one_in(80) { draw.of(&[f64::INFINITY, 1.0, 362.0]) } else { 430.5 };
        i.ttl_max_ms = if draw.one_in(80) { draw.of(&[0, 60_001]) } else { 10_000 };
        if draw.one_in(3) {
            let now = model.outputs().clock_ms;
            let m = &mut i.mailbox;
            m.v_ext = match draw.below(12) {
                0 => draw.of(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0e31, 0.0, 1000.0]),
                1 => 425.0 + draw.below(10) as f64,
                2 => 285.0 + draw.below(10) as f64,
                _ => model.outputs().v_out - 7.0 + draw.below(28) as f64 * 0.5,
            };
            let odd = draw.one_in(15);
            m.ttl_ms = if odd { draw.of(&[0, 10_001, 1, 60_000]) } else { draw.of(&[50, 1500]) };
            m.epoch = if draw.one_in(15) { draw.of(&[0, 2, 77]) } else { i.epoch_now };
            m.model_id = u32::try_from(draw.below(9)).expect("small");
            let old = u32::try_from(draw.below(80)).expect("small");
            m.stamp = match draw.below(15) {
                0 => now + 20,
                1 => u32::MAX,
                2 => CLOCK_WRAP_MS,
                _ => now.checked_sub(old).unwrap_or(CLOCK_WRAP_MS - old),
            };
            let seen = model.outputs().last_seq;
            m.seq = match draw.below(15) {
                0 => seen.wrapping_sub(1),
                1 => seen.wrapping_add(0x8000_0000),
                2 => seen.wrapping_add(0x7FFF_FFFF),
                3 => seen.wrapping_add(0x8000_0001),
                _ => seen.wrapping_add(1),
            };
            m.test_force = draw.of(&[0, 0, 0, 1, 2, 3, 4]);
        }
        model.step(&i);
        rows.push(i);
    }
    rows
}

fn run_guard(rows: &[guard::Inputs]) -> Vec<guard::Outputs> {
    let mut block = guard::Guard::new(None);
    rows.iter().map(|row| block.step(row)).collect()
}

/// Random controllers, operators and PLC programs: every member the same after every call; and
/// the traces reach every answer and every trip.
#[test]
fn the_guard_in_text_is_the_guard_in_rust() {
    let (mut codes, mut trips) = (BTreeSet::new(), BTreeSet::new());
    let mut traces = Vec::new();
    for seed in 0..TRACES {
        let trace = random_guard(seed);
        let outputs = run_guard(&trace);
        codes.extend(outputs.iter().map(|o| o.ack_code));
        trips.extend(outputs.iter().map(|o| o.trip_reason));
        traces.push((
            trace.iter().map(guard_inputs).collect(),
            outputs.iter().map(guard_outputs).collect(),
        ));
    }
    let all = [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), all, "the traces reach every answer");
    assert_eq!(trips.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3], "and every trip");
    hold_equal("TL_Guard", &traces);
}

/// The traces tell a broken guard from a right one, so an equality that holds means something.
#[test]
fn the_traces_tell_broken_guards() {
    let of_owner = [
        Defect::HeartbeatIgnored,
        Defect::HeartbeatRepeats,
        Defect::SecondOwner,
        Defect::EpochStuck,
    ];
    for defect in Defect::ALL.into_iter().filter(|defect| !of_owner.contains(defect)) {
        let differs = (0..TRACES).any(|seed| {
            let trace = random_guard(seed);
            let (mut right, mut broken) =
                (guard::Guard::new(None), guard::Guard::new(Some(defect)));
            trace.iter().any(|row| {
                let (a, b) = (guard_outputs(&right.step(row)), guard_outputs(&broken.step(row)));
                a.iter().zip(&b).any(|((_, a), (_, b))| !same(*a, *b))
            })
        });
        assert!(differs, "{defect:?}");
    }
}

/// Two controllers that beat, fall silent, ask, renew and release as they like.
#[test]
fn the_owner_in_text_is_the_owner_in_rust() {
    let (mut slots, mut ends) = (BTreeSet::new(), BTreeSet::new());
    let mut traces = Vec::new();
    for seed in 0..TRACES {
        let mut draw = Draw(seed);
        let mut i = owner::Inputs::default();
        i.mailbox[0].heartbeat = draw.of(&[0, u32::MAX - 3]);
        i.mailbox[1].request = draw.of(&[0, 4]);
        let mut beats = [true, true];
        let mut block = owner::Owner::new(None);
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..CALLS {
            i.dt_ms = if draw.one_in(60) { draw.of(&[0, 999, 80_000]) } else { 100 };
            i.hb_timeout_ms = if draw.one_in(100) { draw.of(&[0, 60_001]) } else { 1000 };
            for (m, beats) in i.mailbox.iter_mut().zip(&mut beats) {
                if draw.one_in(30) {
                    *beats = !*beats;
                }
                if *beats && draw.one_in(2) {
                    m.heartbeat = m.heartbeat.wrapping_add(1);
                }
                if draw.one_in(12) {
                    m.request = draw.of(&[0, 1, 2, 3]);
                }
                m.node_id = draw.of(&[m.node_id, 40, 41]);
            }
            inputs.push(owner_inputs(&i));
            let out = block.step(&i);
            slots.insert(out.owner_slot);
            ends.insert(out.end_reason);
            outputs.push(owner_outputs(&out));
        }
        traces.push((inputs, outputs));
    }
    hold_equal("TL_Owner", &traces);
    assert_eq!(slots.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}

/// The harness program wires the blocks as the specification says: a controller gets ownership,
/// writes, falls silent; hold pressure ramps back, cool time holds; in test mode the machine
/// keeps its baselines.
#[test]
fn the_harness_shows_the_whole_way() {
    let library = library();
    let mut plc = library.instance("TL_Harness");
    let uint = |plc: &st::Instance, member: &str| match plc.get(member) {
        Value::Uint(n) => n,
        other => panic!("{member} is {other:?}"),
    };
    let real = |plc: &st::Instance, member: &str| match plc.get(member) {
        Value::Real(x) => x,
        other => panic!("{member} is {other:?}"),
    };
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    plc.call(&library);
    plc.put("Owner.A_NodeId", Value::Uint(7));
    plc.put("Owner.A_Heartbeat", Value::Uint(1));
    plc.put("Owner.A_Request", Value::Uint(1));
    plc.call(&library);
    assert_eq!(uint(&plc, "Owner.Granted"), 1);
    assert_eq!(uint(&plc, "Owner.OwnerNode"), 7);
    for (guard, value) in [("HoldPressureGuard", 364.0), ("CoolTimeGuard", 16.4)] {
        let stamp = uint(&plc, &format!("{guard}.ClockMs"));
        plc.put(&format!("{guard}.VExt"), Value::Real(value));
        plc.put(&format!("{guard}.TtlMs"), Value::Uint(500));
        plc.put(&format!("{guard}.Epoch"), Value::Uint(uint(&plc, "Owner.EpochNow")));
        plc.put(&format!("{guard}.Stamp"), Value::Uint(stamp));
        plc.put(&format!("{guard}.Seq"), Value::Uint(1));
    }
    plc.call(&library);
    assert_eq!(uint(&plc, "HoldPressureGuard.AckCode"), 1);
    assert!(near(real(&plc, "HoldPressure"), 364.0) && near(real(&plc, "CoolTime"), 16.4));
    // 1000 ms of silence are allowed, the call after that is the first of the ramp.
    for _ in 0..99 {
        plc.call(&library);
    }
    assert!(near(real(&plc, "HoldPressure"), 364.0));
    plc.call(&library);
    assert!(near(real(&plc, "HoldPressure"), 363.95), "5 bar/s in 10 ms");
    assert_eq!(uint(&plc, "HoldPressureGuard.TripReason"), 1);
    for _ in 0..100 {
        plc.call(&library);
    }
    assert!(near(real(&plc, "HoldPressure"), 360.0) && near(real(&plc, "CoolTime"), 16.4));
    plc.put("KeyTest", Value::Bool(true));
    plc.call(&library);
    assert!(near(real(&plc, "CoolTime"), 16.0), "test mode starts at the baseline");
}

/// The interpreter is strict: what PLCs would do differently ends it.
#[test]
fn the_interpreter_refuses_what_is_not_portable() {
    for (body, why) in [
        ("x := x - 1;", "overflow"),
        ("x := y;", "another width"),
        ("x := r;", "a float into a whole number"),
        ("z := 1;", "an unknown name"),
        ("r := r + 1;", "mixed types"),
        ("IF x THEN x := 1; END_IF;", "a number as a condition"),
    ] {
        let run = move || {
            let mut library = Library::default();
            library.read(&format!(
                "FUNCTION_BLOCK F VAR x : UDINT; y : UINT; r : LREAL; END_VAR {body} END_FUNCTION_BLOCK"
            ));
            library.instance("F").call(&library);
        };
        assert!(std::panic::catch_unwind(run).is_err(), "{body}: {why}");
    }
}
