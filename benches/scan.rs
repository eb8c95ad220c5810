//! How long one step takes: `cargo bench --bench scan`.
//!
//! The cell has 50 tags, 44 features, a PCA monitor of 8 components over all of them, a soft
//! sensor of 10, a chart, 3 signatures and one run-to-run loop in AUTO. A straw PLC takes every
//! write and shows it in the next scan. Times hold the filling of the 50 samples and the draining
//! of the actions; journal, store and wire are left out. Goal: below 20 us for any scan.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should stop")]

use divan::{Bencher, black_box};
use trimloop_core::cell::Cell;
use trimloop_core::feature::FeatureValue;
use trimloop_core::guard::{Decision, Evidence, Intent, permit};
use trimloop_core::mode::{Mode, Trip};
use trimloop_core::model::Models;
use trimloop_core::plan::{
    Budget, CharacteristicId, CharacteristicPlan, Chart, ChartPlan, Clause, Condition, Controller,
    Cut, CyclePlan, EffectPlan, FeatureId, FeaturePlan, InterlockId, InterlockPlan, LinearPlan,
    LinkPlan, LoopId, LoopPlan, Model, ModelId, ModelPlan, PcaLimits, PcaPlan, Plan, PlcId, Rate,
    RunToRunPlan, SetpointId, SetpointPlan, SignaturePlan, Source, TagPlan, Take,
};
use trimloop_core::scan::{Ack, AckResult, Action, Command, Link, Order, Scan};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Span, Utc};
use trimloop_core::unit::{Grid, Stand, Ticks};

const TAGS: u16 = 50;
const PART: TagId = TagId(0);
const INSPECTED: TagId = TagId(1);
const WEIGHT: TagId = TagId(2);
const SETPOINT: TagId = TagId(3);
const STATE: TagId = TagId(4);
const DOOR: TagId = TagId(5);
/// Tags from here on are process values, one feature each.
const FIRST_VALUE: u16 = 6;
const FEATURES: u16 = TAGS - FIRST_VALUE;
const COMPONENTS: usize = 8;
/// Link and process time between two parts.
const CYCLE: Span = Span::from_secs(20);
const BEGIN: Utc = Utc::from_millis(1_767_225_600_000);

fn main() {
    divan::main();
}

fn tag(index: u16) -> TagPlan {
    TagPlan {
        name: format!("tag_{index}"),
        plc: PlcId::LEAD,
        unit: if index < FIRST_VALUE { String::new() } else { "bar".to_owned() },
        range: (index >= FIRST_VALUE).then_some((0.0, 1000.0)),
        rate_max: (index >= FIRST_VALUE).then_some(1000.0),
        resolution: 0.1,
        spike: index >= FIRST_VALUE,
        frozen_after: 0,
        stale_after: None,
        accept_uncertain: false,
    }
}

fn pca(inputs: u16, components: usize) -> PcaPlan {
    let p = usize::from(inputs);
    // Rows of a discrete cosine transform are orthonormal.
    let entry = |a: usize, i: usize| {
        let angle = std::f64::consts::PI * (i as f64 + 0.5) * (a as f64 + 1.0) / p as f64;
        (2.0 / p as f64).sqrt() * angle.cos()
    };
    PcaPlan {
        inputs: (0..inputs).map(FeatureId).collect(),
        lags: 0,
        mean: vec![500.0; p],
        scale: vec![2.0; p],
        loadings: (0..components).flat_map(|a| (0..p).map(move |i| entry(a, i))).collect(),
        eigenvalues: (0..components).map(|a| 8.0 - a as f64 * 0.5).collect(),
        alarm: PcaLimits { t2: 30.0, spe: 120.0 },
        domain_out: PcaLimits { t2: 60.0, spe: 240.0 },
        domain_in: PcaLimits { t2: 40.0, spe: 160.0 },
    }
}

fn models() -> Vec<ModelPlan> {
    let model = |name: &str, model| ModelPlan { name: name.to_owned(), hash: [1; 32], model };
    let sensor = LinearPlan {
        inputs: (0..10).map(FeatureId).collect(),
        coefficients: vec![1e-4; 10],
        mean: vec![500.0; 10],
        scale: vec![2.0; 10],
        intercept: 18.92,
        half_width: 0.02,
        span: vec![(0.0, 1000.0); 10],
        domain: Some(ModelId(0)),
    };
    let chart = ChartPlan {
        input: FeatureId(1),
        mean: 500.0,
        deviation: 2.0,
        ar: 0.5,
        kind: Chart::Ewma { lambda: 0.1, width: 2.814 },
    };
    vec![
        model("monitor", Model::Pca(pca(FEATURES, COMPONENTS))),
        model("sensor", Model::Linear(sensor)),
        model("chart", Model::Chart(chart)),
    ]
}

fn signature(name: &str, sources: &[Source]) -> SignaturePlan {
    let clause = |source: &Source| Clause { source: *source, above: true, on: 0.9, off: 0.8 };
    let clauses = sources.iter().map(clause).collect();
    SignaturePlan { name: name.to_owned(), clauses, all: true, need: 3, of: 5 }
}

fn setpoint() -> SetpointPlan {
    SetpointPlan {
        name: "hold_pressure".to_owned(),
        unit: "bar".to_owned(),
        tag: SETPOINT,
        grid: Grid::new(5, 1).expect("a grid"),
        baseline: Ticks::new(720),
        low: Ticks::new(580),
        high: Ticks::new(860),
        trim_max: Ticks::new(120),
        step_up: Ticks::new(10),
        step_down: Ticks::new(10),
        rate: Some(Rate { ticks: Ticks::new(40), per: Span::from_secs(60) }),
        deadband: Ticks::new(2),
        dwell: CYCLE,
        budget: Some(Budget { writes: 150, per: Span::from_secs(3600) }),
        plc_low: None,
        plc_high: None,
        confirm: Span::from_secs(60),
        ttl: Span::from_secs(2),
    }
}

fn control_loop() -> LoopPlan {
    LoopPlan {
        name: "weight".to_owned(),
        setpoint: SetpointId(0),
        controller: Controller::RunToRun(RunToRunPlan {
            characteristic: CharacteristicId(0),
            target: 19.42,
            tolerance: 0.084,
            gain: 0.0019,
            lambda: 0.3,
            labels_min: 8,
            feed_forward: Some(ModelId(1)),
            feed_forward_filter: 0.5,
        }),
        mode_max: Mode::Auto,
        inputs: Vec::new(),
        interlocks: vec![InterlockId(0)],
        domain: Some(ModelId(0)),
        settle: 0,
        label_timeout: 60,
        effect: EffectPlan {
            labels: 8,
            worse_than: 1.5,
            saturated_after: 50,
            oscillation_crossings: 6,
            oscillation_window: 24,
        },
    }
}

fn plan() -> Plan {
    let feature = |index: u16| FeaturePlan {
        name: format!("feature_{index}"),
        unit: "bar".to_owned(),
        tag: TagId(FIRST_VALUE + index),
        take: if index.is_multiple_of(3) { Take::Mean } else { Take::Last },
        window: index.is_multiple_of(6).then_some(Span::from_secs(60)),
        lag: 0,
        coverage_min: 0.0,
        combine: None,
    };
    Plan {
        name: "bench".to_owned(),
        revision: 1,
        hash: [0; 32],
        tags: (0..TAGS).map(tag).collect(),
        period: CYCLE,
        cycle: CyclePlan {
            cut: Cut::Finished(PART),
            warm_up: 10,
            latch: Span::ZERO,
            running: Some((STATE, 6)),
        },
        links: vec![LinkPlan {
            name: "press".to_owned(),
            stale_after: Span::from_secs(2),
            heartbeat: None,
            enable: None,
            clock: None,
            clock_step_max: Span::from_secs(600),
            skew_max: Span::from_secs(2),
        }],
        bindings: Vec::new(),
        features: (0..FEATURES).map(feature).collect(),
        models: models(),
        signatures: vec![
            signature("in_plane", &[Source::T2(ModelId(0)), Source::Feature(FeatureId(2))]),
            signature("off_plane", &[Source::Spe(ModelId(0))]),
            signature("drift", &[Source::Chart(ModelId(2)), Source::Prediction(ModelId(1))]),
        ],
        interlocks: vec![InterlockPlan {
            name: "door".to_owned(),
            tag: DOOR,
            closed: Condition::Equals(1),
            trips: false,
        }],
        drifts: Vec::new(),
        forecasts: Vec::new(),
        challengers: Vec::new(),
        characteristics: vec![CharacteristicPlan {
            name: "weight".to_owned(),
            unit: "g".to_owned(),
            part: INSPECTED,
            value: WEIGHT,
            range: (17.0, 22.0),
        }],
        setpoints: vec![setpoint()],
        rows: Vec::new(),
        loops: vec![control_loop()],
    }
}

/// A cell with a PLC that takes every write.
struct Straw {
    cell: Cell,
    seq: u64,
    now: Now,
    part: i64,
    register: f64,
    samples: Vec<Sample>,
    acks: Vec<Ack>,
    noise: u64,
    writes: u64,
}

impl Straw {
    fn new() -> Self {
        let mut straw = Self {
            cell: Cell::new(plan()).expect("a plan that holds"),
            seq: 0,
            now: Now { mono: Mono::from_millis(0), utc: BEGIN },
            part: 0,
            register: 360.0,
            samples: Vec::with_capacity(usize::from(TAGS)),
            acks: Vec::with_capacity(4),
            noise: 7,
            writes: 0,
        };
        straw.part();
        straw.part();
        straw.fill(false);
        straw.step(&[Order { id: 1, command: Command::SetMode(LoopId(0), Mode::Auto) }]);
        for _ in 0..200 {
            straw.part();
        }
        assert!(straw.writes > 0, "the loop must act, else the bench shows nothing");
        straw
    }

    /// About normal, within 3 standard deviations.
    fn noise(&mut self) -> f64 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            sum += (self.noise % 1000) as f64 / 1000.0 - 0.5;
        }
        sum * 1.7
    }

    /// New values of all process tags, and with `part` the end of a part and a label.
    fn fill(&mut self, part: bool) {
        self.samples.clear();
        let stamp = self.now.utc;
        let received = self.now.mono;
        let sample = |tag, value| Sample {
            tag,
            value: Some(value),
            status: Status::Good,
            source_time: Some(stamp),
            server_time: Some(stamp),
            received,
        };
        for index in FIRST_VALUE..TAGS {
            let value = 500.0 + 2.0 * self.noise();
            self.samples.push(sample(TagId(index), Value::Float(value)));
        }
        self.samples.push(sample(SETPOINT, Value::Float(self.register)));
        self.samples.push(sample(STATE, Value::Int(6)));
        self.samples.push(sample(DOOR, Value::Bool(true)));
        if part {
            self.part += 1;
            let drift = 0.02 * ((self.part % 64) as f64 / 64.0 - 0.5);
            let weight = 19.42 + 0.0019 * (self.register - 360.0) + drift;
            self.samples.push(sample(WEIGHT, Value::Float(weight)));
            self.samples.push(sample(INSPECTED, Value::Int(self.part - 1)));
            self.samples.push(sample(PART, Value::Int(self.part)));
        }
    }

    fn step(&mut self, commands: &[Order]) {
        self.seq += 1;
        let link = [Link { up: true, epoch: 1, life: Some(self.now.mono) }];
        let scan = Scan {
            seq: self.seq,
            now: self.now,
            links: &link,
            changes: &self.samples,
            acks: &self.acks,
            commands,
        };
        let mut written = None;
        for action in self.cell.step(scan) {
            if let Action::Write(write) = &action {
                written = Some((write.seq(), write.value()));
            }
            black_box(&action);
        }
        self.acks.clear();
        if let Some((write, value)) = written {
            self.register = value;
            self.writes += 1;
            self.acks.push(Ack { write, result: AckResult::Good, at: self.now.mono });
        }
    }

    fn advance(&mut self, by: Span) {
        self.now = Now { mono: self.now.mono + by, utc: self.now.utc + by };
    }

    fn part(&mut self) {
        self.advance(CYCLE);
        self.fill(true);
        self.step(&[]);
    }

    fn values(&mut self) {
        self.advance(Span::from_millis(10));
        self.fill(false);
        self.step(&[]);
    }

    fn idle(&mut self) {
        self.advance(Span::from_millis(100));
        self.samples.clear();
        self.step(&[]);
    }
}

/// Nothing has come: the period is over.
#[divan::bench(sample_count = 1000)]
fn scan_idle(bencher: Bencher) {
    let mut straw = Straw::new();
    bencher.bench_local(|| straw.idle());
}

/// New values of 47 tags within a part.
#[divan::bench(sample_count = 1000)]
fn scan_50_tags(bencher: Bencher) {
    let mut straw = Straw::new();
    bencher.bench_local(|| straw.values());
}

/// New values of all 50 tags, the end of a part, its scores, a label, a decision of the guard.
#[divan::bench(sample_count = 1000)]
fn scan_part_end(bencher: Bencher) {
    let mut straw = Straw::new();
    bencher.bench_local(|| straw.part());
}

/// T2 and SPE of one part: 50 variables, 8 components.
#[divan::bench(sample_count = 1000)]
fn pca_50x8(bencher: Bencher) {
    let mut plan = plan();
    plan.models = vec![ModelPlan {
        name: "monitor".to_owned(),
        hash: [1; 32],
        model: Model::Pca(pca(50, COMPONENTS)),
    }];
    let mut models = Models::new(&plan);
    let features: Vec<FeatureValue> = (0..50)
        .map(|i| FeatureValue { value: Some(500.0 + f64::from(i % 7) - 3.0), coverage: 1.0 })
        .collect();
    models.score(&plan, &features);
    assert!(models.get(ModelId(0)).is_some_and(|score| score.known));
    bencher.bench_local(|| {
        models.score(&plan, black_box(&features));
        black_box(models.get(ModelId(0)).copied())
    });
}

/// The guard alone: a proposal that passes every check.
#[divan::bench(sample_count = 1000)]
fn permit_passes(bencher: Bencher) {
    let plan = plan();
    let evidence = Evidence {
        clock_backwards: false,
        on_time: true,
        trip: Trip::Clear,
        mode: Mode::Auto,
        plc: PlcId::LEAD,
        enabled: true,
        owned: true,
        link: true,
        epoch: 1,
        heartbeat: true,
        bound: true,
        warm: true,
        inputs: true,
        interlocks: true,
        interlock_trips: false,
        read_back: Some(Stand::on(Ticks::new(720))),
        unchanged: true,
        domain: true,
        plc_low: Some(Ticks::new(579)),
        plc_high: Some(Ticks::new(861)),
        plc_range_unknown: false,
        authority_permille: 1000,
        rate_left: Ticks::new(40),
        rested: true,
        budget: true,
        approved: false,
        idle: true,
        now: Mono::from_millis(1000),
        seq: 1,
    };
    let registers = [Some((Ticks::new(720), Ticks::new(720)))];
    let ask = |desired: f64| {
        permit(&plan, SetpointId(0), Intent::Score, desired, black_box(&evidence), &registers)
    };
    assert!(matches!(ask(367.3).decision, Decision::Write(_)));
    bencher.bench_local(|| ask(black_box(367.3)));
}
