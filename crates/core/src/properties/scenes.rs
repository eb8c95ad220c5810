//! Approvals, restarts and ramps, scene by scene, on a plant that does what it is told.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::plans::{self, INPUT, PART, PRODUCT, PRODUCT_OURS};
use super::rng::Rng;
use crate::cell::Cell;
use crate::event::{OrderRefusal, What};
use crate::mode::{Mode, Owner, Rung, Trip, TripReason};
use crate::plan::{BindingPlan, Clause, Controller, Cut, LoopId, Model, ModelId, Plan, RulesPlan};
use crate::plan::{SignatureId, Source};
use crate::record::{Outcome, Record};
use crate::scan::{Ack, AckResult, Action, Command, Link, Order, Proposal, Scan};
use crate::tag::{Sample, Status, TagId, Value};
use crate::time::{Mono, Now, Span, Utc};
use crate::unit::{Grid, Ticks};

const LOOP: LoopId = LoopId(0);
const HIGH: f64 = 70.0;
const LOW: f64 = 30.0;
const MIDDLE: f64 = 50.0;

/// One setpoint at 100 (80 to 120, trim 15, steps of 5), moved by rules: 4 up while the input is
/// high, 4 down while it is low. No other condition.
fn plan() -> Plan {
    let mut plan = plans::draw_one(&mut Rng::new(0));
    plan.tags.iter_mut().for_each(|t| (t.frozen_after, t.stale_after) = (0, None));
    plan.setpoints.truncate(1);
    plan.loops.truncate(1);
    plan.rows.clear();
    plan.bindings =
        vec![BindingPlan { name: String::from("product"), tag: PRODUCT, equals: PRODUCT_OURS }];
    plan.cycle.cut = Cut::Finished(PART);
    plan.cycle.running = None;
    plan.cycle.warm_up = 0;
    let link = &mut plan.links[0];
    (link.heartbeat, link.enable, link.clock) = (None, None, None);
    plan.features[0].coverage_min = 0.0;
    plan.features[0].take = crate::plan::Take::Last;
    plan.signatures.iter_mut().for_each(|s| (s.need, s.of) = (1, 1));
    let limits = &mut plan.setpoints[0];
    limits.grid = Grid::new(1, 0).unwrap();
    limits.baseline = Ticks::new(100);
    (limits.low, limits.high) = (Ticks::new(80), Ticks::new(120));
    limits.trim_max = Ticks::new(15);
    (limits.step_up, limits.step_down) = (Ticks::new(5), Ticks::new(5));
    (limits.rate, limits.budget) = (None, None);
    limits.deadband = Ticks::new(1);
    limits.dwell = Span::ZERO;
    (limits.plc_low, limits.plc_high) = (None, None);
    let of = &mut plan.loops[0];
    of.controller = Controller::Rules(RulesPlan {
        rows: vec![(SignatureId(0), Ticks::new(4)), (SignatureId(1), Ticks::new(-4))],
        decay_permille: 0,
    });
    of.mode_max = Mode::Auto;
    of.inputs.clear();
    of.interlocks.clear();
    of.domain = None;
    of.settle = 0;
    plan
}

/// A cell on its bench: every scan 100 ms later, a part per scan, writes applied at once.
struct Bench {
    cell: Cell,
    ms: i64,
    seq: u64,
    epoch: u64,
    part: i64,
    register: i64,
    /// How far beside that it really stands [ticks].
    beside: f64,
    /// The link stands, but says nothing.
    silent: bool,
    product: Value,
    heard: Option<Mono>,
    input: f64,
    parts_end: bool,
    /// The PLC stops every move halfway.
    stops_short: bool,
    answers: Vec<Ack>,
    /// What the last scan brought.
    writes: Vec<(i64, i64)>,
    returns: u32,
    asked: Option<Proposal>,
    told: Vec<What>,
}

impl Bench {
    fn new() -> Self {
        Self {
            cell: Cell::new(plan()).unwrap(),
            ms: 1_000,
            seq: 0,
            epoch: 1,
            part: 1,
            register: 100,
            beside: 0.0,
            silent: false,
            product: Value::Int(PRODUCT_OURS),
            heard: None,
            input: MIDDLE,
            parts_end: true,
            stops_short: false,
            answers: Vec::new(),
            writes: Vec::new(),
            returns: 0,
            asked: None,
            told: Vec::new(),
        }
    }

    /// A bench on which the loop was raised to this mode, some scans ago.
    fn raised(mode: Mode) -> Self {
        let mut bench = Self::new();
        bench.run(8);
        bench.order(&[Command::SetMode(LOOP, mode)]);
        assert!(bench.told.contains(&What::OrderDone(0)), "{:?}", bench.told);
        bench
    }

    fn order(&mut self, commands: &[Command]) {
        self.ms += 100;
        self.seq += 1;
        self.part += i64::from(self.parts_end);
        let now = Mono::from_millis(self.ms);
        let sample = |tag: TagId, value| Sample {
            tag,
            value: Some(value),
            status: Status::Good,
            source_time: None,
            server_time: None,
            received: now,
        };
        let changes = [
            sample(INPUT, Value::Float(self.input)),
            sample(plans::register(0), Value::Float(self.register as f64 + self.beside)),
            sample(PRODUCT, self.product),
            sample(PART, Value::Int(self.part)),
        ];
        let changes = if self.silent { &[][..] } else { &changes[..] };
        self.heard = if self.silent { self.heard } else { Some(now) };
        let order = |(id, command): (u64, &Command)| Order { id, command: *command };
        let commands: Vec<_> = (0..).zip(commands).map(order).collect();
        let acks = core::mem::take(&mut self.answers);
        let scan = Scan {
            seq: self.seq,
            now: Now { mono: now, utc: Utc::from_millis(self.ms) },
            links: &[Link { up: true, epoch: self.epoch, life: self.heard }],
            changes,
            acks: &acks,
            commands: &commands,
        };
        self.writes.clear();
        self.told.clear();
        self.asked = None;
        for action in self.cell.step(scan) {
            match action {
                Action::Write(w) => {
                    self.writes.push((w.from().count(), w.to().count()));
                    let (from, to) = (w.from().count(), w.to().count());
                    self.register = if self.stops_short { i64::midpoint(from, to) } else { to };
                    self.answers.push(Ack { write: w.seq(), result: AckResult::Good, at: now });
                }
                Action::Ask(proposal) => self.asked = Some(proposal),
                Action::Event(event) => self.told.push(event.what),
                Action::Record(Record::Decision(row)) => {
                    self.returns += u32::from(matches!(row.outcome, Outcome::Return(_)));
                }
                Action::Record(_) | Action::Heartbeat(..) => {}
            }
        }
    }

    /// So many scans without an order; all writes of them.
    fn run(&mut self, scans: u32) -> Vec<(i64, i64)> {
        let mut writes = Vec::new();
        for _ in 0..scans {
            self.order(&[]);
            writes.append(&mut self.writes);
        }
        writes
    }

    /// The proposal of the last scan, or the next one.
    fn proposal(&mut self) -> Proposal {
        for _ in 0..20 {
            if let Some(proposal) = self.asked {
                return proposal;
            }
            self.order(&[]);
        }
        panic!("nothing is proposed");
    }

    fn status(&self) -> (Mode, Owner, Trip) {
        let status = self.cell.loop_status(LOOP).unwrap();
        (status.asked, status.owner, status.trip)
    }
}

fn approve(of: Proposal) -> Command {
    Command::Approve { proposal: of.id, expected: of.from }
}

type Act = fn(&mut Bench, Proposal);
/// Name, what is done with the proposal, what is answered, what is written.
type Approval = (&'static str, Act, What, &'static [(i64, i64)]);

/// Every way in which an approval comes to nothing, and the one in which it does not.
#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn approvals() {
    let done = What::OrderDone(0);
    let refused = |why| What::OrderRefused(0, why);
    let rows: &[Approval] = &[
        ("fresh", |b, p| b.order(&[approve(p)]), done, &[(100, 104)]),
        (
            "last moment",
            |b, p| {
                b.parts_end = false;
                b.run(1198);
                b.order(&[approve(p)]);
            },
            done,
            &[(100, 104)],
        ),
        (
            "too late",
            |b, p| {
                b.parts_end = false;
                b.run(1200);
                b.order(&[approve(p)]);
            },
            refused(OrderRefusal::Expired),
            &[],
        ),
        (
            "long gone",
            |b, p| {
                b.parts_end = false;
                b.run(1300);
                b.order(&[approve(p)]);
            },
            refused(OrderRefusal::Superseded),
            &[],
        ),
        (
            "seen elsewhere",
            |b, p| b.order(&[Command::Approve { proposal: p.id, expected: Ticks::new(99) }]),
            refused(OrderRefusal::SetpointMoved),
            &[],
        ),
        (
            "moved since",
            |b, p| {
                b.register = 101;
                b.order(&[approve(p)]);
            },
            refused(OrderRefusal::SetpointMoved),
            &[],
        ),
        (
            "another number",
            |b, p| b.order(&[approve(Proposal { id: p.id + 1, ..p })]),
            refused(OrderRefusal::Superseded),
            &[],
        ),
        (
            "denied",
            |b, p| {
                b.order(&[Command::Deny { proposal: p.id }]);
                b.parts_end = false;
                b.order(&[approve(p)]);
            },
            refused(OrderRefusal::Superseded),
            &[],
        ),
        (
            "superseded",
            |b, p| {
                b.input = LOW;
                b.order(&[]);
                let newer = b.proposal();
                assert_ne!(newer.id, p.id);
                b.order(&[approve(p)]);
            },
            refused(OrderRefusal::Superseded),
            &[],
        ),
        (
            "mode lowered",
            |b, p| {
                b.order(&[Command::SetMode(LOOP, Mode::Shadow)]);
                b.order(&[approve(p)]);
            },
            refused(OrderRefusal::Superseded),
            &[],
        ),
        (
            "taken over in the same scan",
            |b, p| b.order(&[approve(p), Command::TakeManual(LOOP)]),
            refused(OrderRefusal::Superseded),
            &[],
        ),
        (
            "denied in the same scan",
            |b, p| b.order(&[approve(p), Command::Deny { proposal: p.id }]),
            refused(OrderRefusal::Superseded),
            &[],
        ),
        (
            "tripped in the same scan",
            |b, p| b.order(&[approve(p), Command::Trip(LOOP)]),
            refused(OrderRefusal::Held),
            &[],
        ),
        (
            "a new session",
            |b, p| {
                b.epoch += 1;
                b.order(&[approve(p)]);
            },
            refused(OrderRefusal::Superseded),
            &[],
        ),
        (
            "once only",
            |b, p| {
                b.order(&[approve(p)]);
                b.order(&[approve(p)]);
            },
            refused(OrderRefusal::Superseded),
            &[],
        ),
    ];
    for (name, act, says, writes) in rows {
        let mut bench = Bench::raised(Mode::Advisory);
        bench.input = HIGH;
        let proposal = bench.proposal();
        assert_eq!((proposal.from, proposal.to), (Ticks::new(100), Ticks::new(104)));
        act(&mut bench, proposal);
        assert!(bench.told.contains(says), "{name}: {:?}", bench.told);
        assert_eq!(bench.writes, *writes, "{name}");
    }
}

/// Two approvals of one proposal in one scan move it once, and both are answered.
#[test]
fn approved_twice_moves_once() {
    let mut bench = Bench::raised(Mode::Advisory);
    bench.input = HIGH;
    let proposal = bench.proposal();
    bench.order(&[approve(proposal), approve(proposal)]);
    assert_eq!(bench.writes, [(100, 104)]);
    assert!(bench.told.contains(&What::OrderDone(0)));
    assert!(bench.told.contains(&What::OrderRefused(1, OrderRefusal::Superseded)));
}

/// Whatever made an approval void, the loop asks again afterwards.
#[test]
fn a_void_approval_blocks_nothing() {
    for void in [Command::TakeManual(LOOP), Command::SetMode(LOOP, Mode::Shadow)] {
        let mut bench = Bench::raised(Mode::Advisory);
        bench.input = HIGH;
        let proposal = bench.proposal();
        bench.order(&[approve(proposal), void]);
        bench.order(&[Command::SetMode(LOOP, Mode::Advisory)]);
        assert_ne!(bench.proposal().id, proposal.id, "{void:?}");
    }
}

/// AUTO moves by itself; what it moves ends with the trim.
#[test]
fn auto_moves_to_the_trim_limit() {
    let mut bench = Bench::raised(Mode::Auto);
    bench.input = HIGH;
    assert_eq!(bench.run(40), [(100, 104), (104, 108), (108, 112), (112, 115)]);
}

/// A start and a new session: nobody owns the setpoint, SHADOW, and no write until people raise it.
#[test]
fn after_a_restart_nothing_moves() {
    let restart: fn(&mut Bench) = |b| b.cell = Cell::new(plan()).unwrap();
    let session: fn(&mut Bench) = |b| b.epoch += 1;
    for (name, act) in [("restart", restart), ("new session", session)] {
        let mut bench = Bench::raised(Mode::Auto);
        bench.input = HIGH;
        assert!(!bench.run(4).is_empty());
        act(&mut bench);
        assert_eq!(bench.run(50), [], "{name}");
        assert_eq!(bench.status(), (Mode::Shadow, Owner::Unknown, Trip::Clear), "{name}");
        bench.order(&[Command::SetMode(LOOP, Mode::Auto)]);
        assert_eq!(bench.status().1, Owner::Ours, "{name}");
        assert!(!bench.run(8).is_empty(), "{name}");
    }
}

/// An operator's turn of the knob ends the loop's say until a person raises it again.
#[test]
fn an_operator_is_never_overruled() {
    let mut bench = Bench::raised(Mode::Auto);
    bench.input = HIGH;
    bench.run(2);
    bench.register = 97;
    assert_eq!(bench.run(60), []);
    assert_eq!(bench.status(), (Mode::Advisory, Owner::Operator, Trip::Clear));
    bench.order(&[Command::SetMode(LOOP, Mode::Auto)]);
    assert_eq!(bench.writes, [(97, 101)]);
}

type Change = fn(&mut Bench);

/// However the change comes about, it is a person's: by less than a tick, while the link is silent,
/// while the product tag cannot be read, while a write is under way.
#[test]
fn no_change_slips_through() {
    let rows: [(&str, Change); 4] = [
        ("less than a tick", |b| b.beside = 0.3),
        ("in a silence", |b| {
            b.silent = true;
            b.run(30);
            (b.silent, b.register) = (false, 97);
        }),
        ("product unreadable", |b| {
            b.product = Value::Float(f64::NAN);
            b.run(2);
            b.register = 97;
            b.run(2);
            b.product = Value::Int(PRODUCT_OURS);
        }),
        ("under a write", |b| {
            while b.writes.is_empty() {
                b.order(&[]);
            }
            b.register = 90;
        }),
    ];
    for (name, change) in rows {
        let mut bench = Bench::raised(Mode::Auto);
        bench.input = HIGH;
        bench.run(2);
        change(&mut bench);
        assert_eq!(bench.run(60), [], "{name}");
        assert_eq!(bench.status().1, Owner::Operator, "{name}");
    }
}

/// Another product brings its own setpoint: no operator's change, and the loop goes on from there.
#[test]
fn another_product_is_no_operator() {
    let mut bench = Bench::raised(Mode::Auto);
    bench.run(2);
    bench.product = Value::Int(2);
    bench.run(2);
    bench.register = 97;
    bench.run(2);
    bench.product = Value::Int(PRODUCT_OURS);
    assert_eq!(bench.run(10), []);
    assert_eq!(bench.status(), (Mode::Auto, Owner::Ours, Trip::Clear));
    bench.input = HIGH;
    assert_eq!(bench.run(2).first(), Some(&(97, 101)));
}

/// I15: from every trim an unblocked ramp takes ceil(trim / step) moves and latches at the
/// baseline; then nothing moves, until a reset that ends in SHADOW.
#[test]
fn a_trip_ramps_home_and_latches() {
    for trim in -15..=15_i64 {
        let mut bench = Bench::new();
        bench.register = 100 + trim;
        bench.run(8);
        bench.order(&[Command::SetMode(LOOP, Mode::Auto)]);
        bench.returns = 0;
        bench.order(&[Command::Trip(LOOP)]);
        bench.run(20);
        let moves = (trim.unsigned_abs()).div_ceil(5);
        assert_eq!(u64::from(bench.returns), moves, "trim {trim}");
        assert_eq!(bench.register, 100, "trim {trim}");
        let latched = Trip::Latched(TripReason::Operator);
        assert_eq!(bench.status(), (Mode::Shadow, Owner::Ours, latched), "trim {trim}");
        bench.input = HIGH;
        bench.order(&[Command::SetMode(LOOP, Mode::Auto)]);
        assert!(bench.told.contains(&What::OrderRefused(0, OrderRefusal::Tripped)));
        assert_eq!(bench.run(20), []);
        bench.order(&[Command::Reset(LOOP)]);
        assert_eq!(bench.status(), (Mode::Shadow, Owner::Ours, Trip::Clear));
        assert_eq!(bench.run(20), []);
    }
}

/// A PLC that stops every move halfway is followed for a while, then tripped, and no ramp is sent
/// down a path at fault.
#[test]
fn a_plc_that_never_arrives_trips() {
    let mut bench = Bench::raised(Mode::Auto);
    bench.stops_short = true;
    let mut writes = 0;
    for _ in 0..120 {
        bench.input = if bench.register > 100 { LOW } else { HIGH };
        writes += bench.run(8).len();
    }
    let latched = Trip::Latched(TripReason::Mismatch);
    assert_eq!(bench.status(), (Mode::Shadow, Owner::Ours, latched));
    // A move that is one tick short of nothing arrives, and begins the count anew.
    assert!((51..60).contains(&writes), "{writes}");
}

/// A bad input is no reason to hold the last value: after three parts the trim is given back.
#[test]
fn a_lost_input_gives_the_trim_back() {
    let mut bench = Bench::raised(Mode::Auto);
    bench.input = HIGH;
    bench.run(40);
    bench.input = f64::NAN;
    assert_eq!(bench.run(30), [(115, 110), (110, 105), (105, 100)]);
    let status = bench.cell.loop_status(LOOP).unwrap();
    assert_eq!((status.rung, status.trip), (Rung::Return, Trip::Clear));
}

/// Rules on a signature of a prediction move nothing while the model is out of its domain, though
/// the recipe names no domain for the loop.
#[test]
fn rules_stay_on_known_ground() {
    let scene = |span: (f64, f64)| {
        let mut plan = plan();
        let Model::Linear(sensor) = &mut plan.models[1].model else { panic!("no sensor") };
        (sensor.span, sensor.domain) = (vec![span], None);
        // 12 at a high input, 10 in the middle.
        let source = Source::Prediction(ModelId(1));
        plan.signatures[0].clauses[0] = Clause { source, above: true, on: 11.0, off: 10.5 };
        let mut bench = Bench::new();
        bench.cell = Cell::new(plan).unwrap();
        bench.run(8);
        bench.order(&[Command::SetMode(LOOP, Mode::Auto)]);
        bench.input = HIGH;
        bench.run(20)
    };
    assert_eq!(scene((15.0, 85.0)).first(), Some(&(100, 104)));
    assert_eq!(scene((15.0, 65.0)), []);
}

/// A plan whose every limit is zero wide builds, runs and never moves anything (I14).
#[test]
fn zero_width_plans_move_nothing() {
    let mut still = plan();
    let limits = &mut still.setpoints[0];
    (limits.low, limits.high) = (limits.baseline, limits.baseline);
    limits.trim_max = Ticks::ZERO;
    (limits.step_up, limits.step_down) = (Ticks::ZERO, Ticks::ZERO);
    let mut bench = Bench::new();
    bench.cell = Cell::new(still).unwrap();
    bench.run(8);
    bench.order(&[Command::SetMode(LOOP, Mode::Auto)]);
    bench.input = HIGH;
    assert_eq!(bench.run(50), []);
    let empty = Plan {
        tags: plan().tags,
        setpoints: vec![],
        loops: vec![],
        signatures: vec![],
        models: vec![],
        features: vec![],
        drifts: Vec::new(),
        forecasts: Vec::new(),
        challengers: Vec::new(),
        characteristics: vec![],
        interlocks: vec![],
        ..plan()
    };
    bench.cell = Cell::new(empty).unwrap();
    assert_eq!(bench.run(50), []);
}

/// The same scans through a fresh cell: the same actions, bit for bit (I12).
#[test]
fn replay_is_bit_identical() {
    let play = || {
        let mut bench = Bench::raised(Mode::Auto);
        let mut trail: Vec<String> = Vec::new();
        for part in 0..200_i64 {
            bench.input = MIDDLE + 25.0 * libm::sin(part as f64 / 9.0);
            bench.order(&[]);
            trail.push(format!("{:?} {:?}", bench.writes, bench.told));
        }
        trail
    };
    assert_eq!(play(), play());
}
