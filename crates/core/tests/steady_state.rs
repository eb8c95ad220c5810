//! In steady state a scan takes no memory, and the same scans give the same actions.
//!
//! A counting allocator stands around 20,000 scans of a busy cell: parts, labels, scores, writes
//! with answers, faults and orders.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell as Counter;
use core::fmt::{self, Write as _};
use std::alloc::System;

use trimloop_core::cell::Cell;
use trimloop_core::event::What;
use trimloop_core::mode::Mode;
use trimloop_core::model::forecast::ForecastPlan;
use trimloop_core::plan::{
    Activation, Calibration, CombinedPlan, ForecastOf, ForestPlan, Layer, Link as TreeLink,
    LogisticPlan, NetworkPlan, Node, Reach, Step, Tree,
};
use trimloop_core::plan::{
    BINS, BindingPlan, Budget, ChallengerPlan, CharacteristicId, CharacteristicPlan, Chart,
    ChartPlan, Clause, Condition, Controller, Cut, CyclePlan, Directions, DriftPlan, EffectPlan,
    FeatureId, FeaturePlan, HeartbeatPlan, InputReference, InterlockId, InterlockPlan, LinearPlan,
    LinkPlan, LoopId, LoopPlan, Model, ModelId, ModelPlan, MonitorPlan, PcaLimits, PcaPlan, Plan,
    PlcId, Rate, RowPlan, RulesPlan, RunToRunPlan, ScoreReference, SetpointId, SetpointPlan,
    SignatureId, SignaturePlan, Source, TagPlan, Take,
};
use trimloop_core::scan::{Ack, AckResult, Action, Command, Label, Link, Order, Scan};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Span, Utc};
use trimloop_core::unit::{Grid, Ticks};

std::thread_local! {
    /// Allocations of this thread; the test harness has threads of its own.
    static TAKEN: Counter<u64> = const { Counter::new(0) };
}

struct Counting;

fn count() {
    // A thread that is being torn down has no counter any more, and is none of ours.
    let _ = TAKEN.try_with(|taken| taken.set(taken.get() + 1));
}

#[expect(unsafe_code, reason = "an allocator cannot be counted without being one")]
// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as promised by our caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as promised by our caller.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as promised by our caller.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SCANS: i64 = 20_000;
const ANALOG: u16 = 24;
const PART: u16 = ANALOG;
const ECHO: u16 = ANALOG + 1;
const CLOCK: u16 = ANALOG + 2;
const PRODUCT: u16 = ANALOG + 3;
const DOOR: u16 = ANALOG + 4;
const LABEL_PART: u16 = ANALOG + 5;
const LABEL_VALUE: u16 = ANALOG + 6;
const REGISTER: u16 = ANALOG + 7;
const TAGS: u16 = REGISTER + 2;

fn name(of: &str, index: u16) -> String {
    format!("{of}{index}")
}

fn tag(index: u16) -> TagPlan {
    let analog = index < ANALOG;
    TagPlan {
        name: name("t", index),
        // The upper half of the analog tags comes from another PLC, which is lost now and then.
        plc: PlcId(u16::from((ANALOG / 2..ANALOG).contains(&index))),
        unit: String::new(),
        range: analog.then_some((-100.0, 200.0)),
        rate_max: analog.then_some(500.0),
        resolution: 0.01,
        spike: analog,
        frozen_after: if analog { 20 } else { 0 },
        stale_after: None,
        accept_uncertain: false,
    }
}

fn feature(index: u16) -> FeaturePlan {
    let takes = [Take::Last, Take::Mean, Take::Deviation, Take::Min, Take::Max, Take::Slope];
    FeaturePlan {
        name: name("f", index),
        unit: String::new(),
        tag: TagId(index % ANALOG),
        take: takes[usize::from(index) % takes.len()],
        window: (index % 2 == 1).then_some(Span::from_secs(5)),
        lag: if index.is_multiple_of(5) { 2 } else { 0 },
        coverage_min: 0.5,
        combine: None,
    }
}

/// Two directions of each of two classes over four inputs.
fn directions() -> Directions {
    Directions {
        calm: vec![50.0; 4],
        weights: (0..16).map(|i| 0.01 * f64::from(i)).collect(),
        spread: vec![4.0, 0.5, 9.0, 2.0],
        sizes: vec![0.1, 1.0],
        counts: 0.5,
        at_most: 4.0,
        worth: 0.2,
    }
}

fn models() -> Vec<ModelPlan> {
    let inputs: Vec<_> = (0..4).map(|i| FeatureId(i * 6)).collect();
    let limits = |t2, spe| PcaLimits { t2, spe };
    let monitor = PcaPlan {
        inputs: inputs.clone(),
        lags: 0,
        mean: vec![50.0; 4],
        scale: vec![10.0; 4],
        loadings: vec![0.5; 4],
        eigenvalues: vec![2.0],
        alarm: limits(6.0, 6.0),
        domain_out: limits(30.0, 30.0),
        domain_in: limits(20.0, 20.0),
    };
    let dynamic = MonitorPlan {
        inputs: inputs.clone(),
        mean: vec![50.0; 4],
        scale: vec![10.0; 4],
        transition: vec![0.2; 16],
        precision: (0..16).map(|i| if i % 5 == 0 { 1.0 } else { 0.1 }).collect(),
        gap: vec![1.2, 1.5],
        weight_t2: 0.2,
        weight_spe: 0.3,
        alarm: limits(30.0, 20.0),
    };
    let sensor = LinearPlan {
        inputs,
        coefficients: vec![0.02; 4],
        mean: vec![50.0; 4],
        scale: vec![10.0; 4],
        intercept: 6.0,
        half_width: 0.3,
        span: vec![(0.0, 100.0); 4],
        domain: Some(ModelId(0)),
    };
    let chart = ChartPlan {
        input: FeatureId(0),
        mean: 50.0,
        deviation: 5.0,
        ar: 0.3,
        kind: Chart::Ewma { lambda: 0.1, width: 2.814 },
    };
    let node = |threshold, left| Node { threshold, column: 4, left };
    let forest = ForestPlan {
        inputs: (0..4).map(|i| FeatureId(i * 6)).collect(),
        steps: vec![Step::Mean { of: 0, weight: 0.1 }],
        span: vec![(0.0, 100.0); 4],
        domain: Some(ModelId(0)),
        trees: (0..9).map(|i| Tree { root: i * 3, depth: 1 }).collect(),
        nodes: [node(50.0, 1), node(f32::MAX, 1), node(f32::MAX, 2)].repeat(9),
        values: [0.5, 0.1, 0.9].repeat(9),
        base: vec![0.0],
        factor: 1.0 / 9.0,
        link: TreeLink::Votes,
        slope: 1.0,
        bias: vec![0.0],
        classes: vec![String::from("ok"), String::from("nok")],
        weights: vec![1.0; 2],
        remember: Some(0.9),
        likeness: Some(vec![0.7, 0.3, 0.4, 0.6]),
        directions: Some(directions()),
        reach: Some(Reach { mean: vec![50.0; 4], white: vec![0.01; 10], t2_out: 9.0 }),
        linear: None,
        network: Some(NetworkPlan {
            layers: vec![
                Layer { units: 2, activation: Activation::Tanh },
                Layer { units: 1, activation: Activation::Identity },
            ],
            weights: (0..12).map(|i| 1e-4 * f64::from(i)).collect(),
            bias: vec![0.0; 3],
            centre: vec![50.0; 5],
        }),
        half_width: None,
    };
    let other = PcaPlan { lags: 1, loadings: vec![0.35; 8], ..monitor.clone() };
    let logistic = LogisticPlan {
        inputs: (0..4).map(|i| FeatureId(i * 6)).collect(),
        steps: vec![Step::Product(0, 1)],
        span: vec![(0.0, 100.0); 4],
        domain: Some(ModelId(0)),
        coefficients: vec![0.1, -0.1, 0.1, -0.1, 0.001],
        intercepts: vec![0.2],
        mean: vec![50.0; 5],
        scale: vec![10.0; 5],
        precision: (0..25).map(|i| f64::from(u8::from(i % 6 == 0))).collect(),
        t2_out: 40.0,
        calibration: Calibration::Isotonic(vec![(-2.0, 0.1), (2.0, 0.9)]),
        classes: vec![String::from("ok"), String::from("nok")],
        weights: vec![1.0; 2],
    };
    let plan = |of: &str, model| ModelPlan { name: String::from(of), hash: [0; 32], model };
    vec![
        plan("monitor", Model::Pca(monitor)),
        plan("sensor", Model::Linear(sensor)),
        plan("chart", Model::Chart(chart)),
        plan("dynamic", Model::Monitor(dynamic.clone())),
        plan("forest", Model::Forest(forest)),
        plan("logistic", Model::Logistic(logistic)),
        plan("combined", Model::Combined(CombinedPlan { members: vec![dynamic; 2] })),
        plan("monitor/other", Model::Pca(other)),
    ]
}

/// Watches over every model that learns, so narrow that parts cross them again and again; none of
/// them lowers a loop, or there would be nothing to write.
fn drifts() -> Vec<DriftPlan> {
    let input = |index: u16| InputReference {
        feature: FeatureId(index * 6),
        ends: core::array::from_fn(|i| 30.0 + 5.0 * f64::from(u8::try_from(i).unwrap())),
        shares: [0.1; BINS],
        rows: 1000.0,
        memory: 0.0,
    };
    let watch = |model, score, truth: Option<u16>| DriftPlan {
        model: ModelId(model),
        inputs: (0..4).map(input).collect(),
        score,
        truth: truth.map(CharacteristicId),
        classes: if model == 4 { vec![10.0, 11.0] } else { Vec::new() },
        demotes: false,
    };
    let usual = ScoreReference { mean: 0.1, deviation: 0.01, memory: 0.2 };
    vec![
        watch(0, Some(usual), None),
        watch(1, None, Some(0)),
        watch(3, Some(usual), None),
        watch(4, None, Some(0)),
    ]
}

fn setpoint(index: u16) -> SetpointPlan {
    SetpointPlan {
        name: name("u", index),
        unit: String::new(),
        tag: TagId(REGISTER + index),
        grid: Grid::new(5, 1).unwrap(),
        baseline: Ticks::new(100),
        low: Ticks::new(60),
        high: Ticks::new(140),
        trim_max: Ticks::new(30),
        step_up: Ticks::new(4),
        step_down: Ticks::new(6),
        rate: Some(Rate { ticks: Ticks::new(20), per: Span::from_secs(10) }),
        deadband: Ticks::new(1),
        dwell: Span::from_millis(300),
        budget: Some(Budget { writes: 60, per: Span::from_secs(60) }),
        plc_low: None,
        plc_high: None,
        confirm: Span::from_secs(3),
        ttl: Span::from_secs(2),
    }
}

fn loops() -> Vec<LoopPlan> {
    let plan = |index: u16, controller| LoopPlan {
        name: name("l", index),
        setpoint: SetpointId(index),
        controller,
        mode_max: Mode::Auto,
        inputs: vec![TagId(1)],
        interlocks: vec![InterlockId(0)],
        domain: Some(ModelId(0)),
        settle: 1,
        label_timeout: 30,
        effect: EffectPlan {
            labels: 8,
            worse_than: 1.5,
            saturated_after: 50,
            oscillation_crossings: 6,
            oscillation_window: 24,
        },
    };
    let run_to_run = RunToRunPlan {
        characteristic: CharacteristicId(0),
        target: 10.0,
        tolerance: 1.0,
        gain: 0.1,
        lambda: 0.3,
        labels_min: 4,
        feed_forward: Some(ModelId(1)),
        feed_forward_filter: 0.5,
    };
    let rules = RulesPlan {
        rows: vec![(SignatureId(0), Ticks::new(3)), (SignatureId(1), Ticks::new(-3))],
        decay_permille: 100,
    };
    vec![plan(0, Controller::RunToRun(run_to_run)), plan(1, Controller::Rules(rules))]
}

fn signatures() -> Vec<SignaturePlan> {
    let plan = |of: &str, source, above, on, off| SignaturePlan {
        name: String::from(of),
        clauses: vec![Clause { source, above, on, off }],
        all: true,
        need: 2,
        of: 3,
    };
    vec![
        plan("high", Source::Feature(FeatureId(0)), true, 58.0, 54.0),
        plan("low", Source::Feature(FeatureId(0)), false, 42.0, 46.0),
        plan("odd", Source::T2(ModelId(0)), true, 1.0, 0.8),
    ]
}

fn link(name: &str, leads: bool) -> LinkPlan {
    LinkPlan {
        name: String::from(name),
        stale_after: Span::from_secs(2),
        heartbeat: leads.then_some(HeartbeatPlan {
            echo: TagId(ECHO),
            period: Span::from_millis(200),
            timeout: Span::from_secs(1),
        }),
        enable: None,
        clock: leads.then_some(TagId(CLOCK)),
        clock_step_max: Span::from_secs(10),
        skew_max: Span::from_secs(2),
    }
}

fn plan() -> Plan {
    Plan {
        name: String::from("busy"),
        revision: 1,
        hash: [0; 32],
        tags: (0..TAGS).map(tag).collect(),
        period: Span::from_millis(100),
        cycle: CyclePlan {
            cut: Cut::Finished(TagId(PART)),
            warm_up: 3,
            running: None,
            latch: Span::ZERO,
        },
        links: vec![link("press", true), link("dryer", false)],
        bindings: vec![BindingPlan {
            name: String::from("product"),
            tag: TagId(PRODUCT),
            equals: 1,
        }],
        features: (0..2 * ANALOG).map(feature).collect(),
        models: models(),
        signatures: signatures(),
        interlocks: vec![InterlockPlan {
            name: String::from("door"),
            tag: TagId(DOOR),
            closed: Condition::Equals(1),
            trips: false,
        }],
        drifts: drifts(),
        forecasts: [(0, Some(1.0), Some(0.0)), (1, Some(12.0), None)]
            .map(|(model, high_limit, floor)| ForecastOf {
                model: ModelId(model),
                how: ForecastPlan { horizon: 20, level: 0.9, low_limit: None, high_limit, floor },
            })
            .to_vec(),
        challengers: vec![ChallengerPlan { model: ModelId(5), of: ModelId(0) }],
        characteristics: vec![CharacteristicPlan {
            name: String::from("y"),
            unit: String::new(),
            part: TagId(LABEL_PART),
            value: TagId(LABEL_VALUE),
            range: (-100.0, 100.0),
        }],
        setpoints: vec![setpoint(0), setpoint(1)],
        rows: vec![RowPlan {
            name: String::from("both"),
            weights: vec![(SetpointId(0), 1), (SetpointId(1), 1)],
            max: 240,
        }],
        loops: loops(),
    }
}

/// A plant in a few numbers; nothing in it allocates once its vectors have grown.
struct Plant {
    noise: u64,
    echo: u32,
    registers: [f64; 2],
    changes: Vec<Sample>,
    acks: Vec<Ack>,
    orders: Vec<Order>,
}

impl Plant {
    fn new() -> Self {
        Self {
            noise: 1,
            echo: 0,
            registers: [50.0; 2],
            changes: Vec::with_capacity(256),
            acks: Vec::with_capacity(16),
            orders: Vec::with_capacity(16),
        }
    }

    /// -1 to 1.
    fn noise(&mut self) -> f64 {
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let bits = u32::try_from(self.noise >> 33).unwrap_or(0);
        f64::from(bits) / f64::from(1_u32 << 30) - 1.0
    }

    fn put(&mut self, tag: u16, value: Value, ms: i64) {
        self.changes.push(Sample {
            tag: TagId(tag),
            value: Some(value),
            status: Status::Good,
            source_time: Some(Utc::from_millis(ms)),
            server_time: Some(Utc::from_millis(ms)),
            received: Mono::from_millis(ms),
        });
    }

    fn fill(&mut self, scan: i64) {
        let ms = 100 * scan;
        self.changes.clear();
        let wave = 14.0 * libm::sin(scan as f64 / 400.0);
        for index in 0..ANALOG {
            let x = 50.0 + wave + 3.0 * self.noise();
            let x = if scan % 997 == 5 { f64::NAN } else { x };
            self.put(index, Value::Float(x), ms);
        }
        self.put(CLOCK, Value::Int(ms), ms);
        self.put(ECHO, Value::Int(i64::from(self.echo)), ms);
        if scan % 3 == 0 {
            self.put(PART, Value::Int(scan / 3), ms);
            let trim = self.registers[0] - 50.0;
            let y = 10.0 + 0.05 * wave + 0.1 * trim + 0.2 * self.noise();
            self.put(LABEL_VALUE, Value::Float(y), ms);
            self.put(LABEL_PART, Value::Int(scan / 3 - 2), ms);
        }
        if scan % 50 == 1 {
            self.put(PRODUCT, Value::Int(if scan % 3000 == 1451 { 2 } else { 1 }), ms);
            self.put(DOOR, Value::Bool(scan % 1700 != 1), ms);
        }
        for index in 0..2_u16 {
            let value = self.registers[usize::from(index)];
            self.put(REGISTER + index, Value::Float(value), ms);
        }
        self.order(scan);
    }

    fn order(&mut self, scan: i64) {
        self.orders.clear();
        let mut give = |command| self.orders.push(Order { id: 1, command });
        let id = LoopId(u16::try_from(scan % 2).unwrap_or(0));
        match scan % 40 {
            10 | 11 => give(Command::SetMode(id, Mode::Auto)),
            20 | 21 => give(Command::Reset(id)),
            _ if scan % 4001 == 7 => give(Command::Trip(id)),
            _ if scan % 1201 == 7 => give(Command::Label(Label {
                part: scan / 3 - 4,
                characteristic: CharacteristicId(0),
                value: f64::NAN,
            })),
            _ => {}
        }
    }
}

/// FNV-1a over whatever is printed into it, without taking memory.
struct Digest(u64);

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        Ok(())
    }
}

/// What a run came to.
#[derive(Debug, Default, PartialEq)]
struct Run {
    taken: u64,
    digest: u64,
    writes: u64,
    records: u64,
    drifts: u32,
}

fn play() -> Run {
    let mut cell = Cell::new(plan()).unwrap();
    let mut plant = Plant::new();
    let mut run = Run { digest: 0xCBF2_9CE4_8422_2325, ..Run::default() };
    for scan in 1..=SCANS {
        plant.fill(scan);
        let now = Mono::from_millis(100 * scan);
        let input = Scan {
            seq: u64::try_from(scan).unwrap_or(0),
            now: Now { mono: now, utc: Utc::from_millis(100 * scan) },
            links: &[
                Link { up: scan % 5003 != 0, epoch: 1, life: Some(now) },
                Link { up: scan % 3001 != 0, epoch: 1, life: Some(now) },
            ],
            changes: &plant.changes,
            acks: &plant.acks,
            commands: &plant.orders,
        };
        let before = TAKEN.get();
        let mut actions = cell.step(input);
        run.taken += TAKEN.get() - before;
        let mut digest = Digest(run.digest);
        write!(digest, "{:?}", actions.as_slice()).unwrap();
        run.digest = digest.0;
        plant.acks.clear();
        for action in &mut actions {
            match action {
                Action::Write(w) => {
                    run.writes += 1;
                    plant.registers[w.setpoint().index()] = w.value();
                    let result =
                        if w.seq() % 9 == 0 { AckResult::Unknown } else { AckResult::Good };
                    plant.acks.push(Ack { write: w.seq(), result, at: now });
                }
                Action::Heartbeat(_, count) => plant.echo = count,
                Action::Record(_) => run.records += 1,
                Action::Event(event) => {
                    run.drifts += u32::from(matches!(event.what, What::Drift(..)));
                }
                Action::Ask(_) => {}
            }
        }
    }
    run
}

/// No allocation in 20,000 scans, and it was not for want of work.
#[test]
fn a_scan_takes_no_memory() {
    let run = play();
    assert_eq!(run.taken, 0, "{run:?}");
    assert!(run.writes > 500 && run.records > 100_000 && run.drifts > 0, "{run:?}");
}

/// The same scans, the same digest of all actions.
#[test]
fn the_same_scans_give_the_same_digest() {
    assert_eq!(play(), play());
}
