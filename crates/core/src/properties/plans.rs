//! Random valid plans: few tags, one to three setpoints, every limit drawn, zero width included.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::rng::Rng;
use crate::mode::Mode;
use crate::plan::{
    BindingPlan, Budget, ChallengerPlan, CharacteristicId, CharacteristicPlan, Clause, Condition,
    Controller, Cut, CyclePlan, DriftPlan, EffectPlan, FeatureId, FeaturePlan, HeartbeatPlan,
    InterlockId, InterlockPlan, LinearPlan, LinkPlan, LoopPlan, Model, ModelId, ModelPlan,
    PcaLimits, PcaPlan, Plan, PlcId, Rate, RowPlan, RulesPlan, RunToRunPlan, ScoreReference,
    SetpointId, SetpointPlan, SignatureId, SignaturePlan, Source, TagPlan, Take,
};
use crate::tag::TagId;
use crate::time::Span;
use crate::unit::{Grid, Ticks};

pub(super) const PART: TagId = TagId(0);
pub(super) const ENABLE: TagId = TagId(1);
pub(super) const ECHO: TagId = TagId(2);
pub(super) const CLOCK: TagId = TagId(3);
pub(super) const PRODUCT: TagId = TagId(4);
pub(super) const STATE: TagId = TagId(5);
/// Contact of the interlock that holds.
pub(super) const DOOR: TagId = TagId(6);
/// Analog value of the interlock that trips: closed from [`AIR_CLOSED`] up.
pub(super) const AIR: TagId = TagId(7);
/// The one process input.
pub(super) const INPUT: TagId = TagId(8);
pub(super) const LABEL_PART: TagId = TagId(9);
pub(super) const LABEL_VALUE: TagId = TagId(10);
const FIXED: u16 = 11;

pub(super) const AIR_CLOSED: f64 = 5.0;
pub(super) const PRODUCING: i64 = 6;
pub(super) const PRODUCT_OURS: i64 = 1;
/// Mean and scale of the input in training.
pub(super) const INPUT_MEAN: f64 = 50.0;
pub(super) const INPUT_SCALE: f64 = 10.0;

pub(super) const fn register(setpoint: u16) -> TagId {
    TagId(FIXED + 3 * setpoint)
}

pub(super) const fn plc_low(setpoint: u16) -> TagId {
    TagId(FIXED + 3 * setpoint + 1)
}

pub(super) const fn plc_high(setpoint: u16) -> TagId {
    TagId(FIXED + 3 * setpoint + 2)
}

fn tag(name: String) -> TagPlan {
    TagPlan {
        name,
        plc: PlcId::LEAD,
        unit: String::new(),
        range: None,
        rate_max: None,
        resolution: 0.0,
        spike: false,
        frozen_after: 0,
        stale_after: None,
        accept_uncertain: false,
    }
}

fn tags(rng: &mut Rng, setpoints: u16) -> Vec<TagPlan> {
    let mut tags: Vec<_> = (0..FIXED + 3 * setpoints).map(|i| tag(format!("t{i}"))).collect();
    let input = &mut tags[INPUT.index()];
    input.range = Some((-100.0, 200.0));
    input.frozen_after = rng.pick(&[0, 0, 6]);
    input.stale_after = rng.chance(300).then_some(Span::from_millis(1500));
    input.accept_uncertain = rng.chance(300);
    tags[AIR.index()].range = Some((0.0, 20.0));
    if rng.chance(200) {
        tags[register(0).index()].stale_after = Some(Span::from_millis(3000));
    }
    tags
}

fn setpoint(rng: &mut Rng, index: u16) -> SetpointPlan {
    let (mantissa, decimals) = rng.pick(&[(1, 0), (5, 1), (25, 2), (1, 2), (2, 0), (3, 1)]);
    let baseline = rng.range(-20, 50);
    let width = rng.pick(&[0, 8, 30, 30, 30, 30]);
    let step = rng.pick(&[1, 2, 3, 4, 6]);
    SetpointPlan {
        name: format!("u{index}"),
        unit: String::new(),
        tag: register(index),
        grid: Grid::new(mantissa, decimals).unwrap(),
        baseline: Ticks::new(baseline),
        low: Ticks::new(baseline - rng.range(0, width)),
        high: Ticks::new(baseline + rng.range(0, width)),
        trim_max: Ticks::new(rng.pick(&[0, 3, 10, 20, 20, 20, 20])),
        step_up: Ticks::new(if rng.chance(20) { 0 } else { step }),
        step_down: Ticks::new(if rng.chance(20) { 0 } else { rng.pick(&[step, step, 1, 4]) }),
        rate: rng.chance(400).then(|| Rate {
            ticks: Ticks::new(rng.range(1, 10)),
            per: Span::from_millis(rng.range(200, 3000)),
        }),
        deadband: Ticks::new(rng.pick(&[0, 0, 1, 2])),
        dwell: Span::from_millis(rng.pick(&[0, 0, 100, 400, 1500])),
        budget: rng.chance(400).then(|| Budget {
            writes: u32::try_from(rng.range(1, 6)).unwrap(),
            per: Span::from_millis(rng.range(500, 10_000)),
        }),
        plc_low: rng.chance(400).then(|| plc_low(index)),
        plc_high: rng.chance(400).then(|| plc_high(index)),
        confirm: Span::from_millis(rng.pick(&[200, 400, 800])),
        ttl: Span::from_millis(2000),
    }
}

fn rows(rng: &mut Rng, setpoints: &[SetpointPlan]) -> Vec<RowPlan> {
    if setpoints.len() < 2 {
        return Vec::new();
    }
    let row = |rng: &mut Rng, index: usize| {
        let mut weights = Vec::new();
        for (i, _) in (0_u16..).zip(setpoints) {
            if i < 2 || rng.chance(500) {
                weights.push((SetpointId(i), rng.pick(&[1, 1, 2, 3, -1, -2])));
            }
        }
        let at = |(id, w): &(SetpointId, i64)| w * setpoints[id.index()].baseline.count();
        let base: i64 = weights.iter().map(at).sum();
        RowPlan { name: format!("r{index}"), weights, max: base + rng.range(0, 15) }
    };
    let count = rng.pick(&[0, 1, 1, 2]);
    (0..count).map(|index| row(rng, index)).collect()
}

fn controller(rng: &mut Rng) -> Controller {
    if rng.chance(350) {
        let mut rows = vec![(SignatureId(0), Ticks::new(rng.range(1, 8)))];
        if rng.chance(700) {
            rows.push((SignatureId(1), Ticks::new(-rng.range(1, 8))));
        }
        return Controller::Rules(RulesPlan {
            rows,
            decay_permille: rng.pick(&[0, 100, 500, 1000]),
        });
    }
    // A gain that no number can be divided by: the wish overflows.
    let gain = if rng.chance(40) { 1e-310 } else { rng.pick(&[0.05, 0.2, 1.0]) };
    Controller::RunToRun(RunToRunPlan {
        characteristic: CharacteristicId(0),
        target: 10.0,
        tolerance: 1.0,
        gain: if rng.chance(300) { -gain } else { gain },
        lambda: rng.pick(&[0.2, 0.5, 1.0]),
        labels_min: u32::try_from(rng.range(0, 3)).unwrap(),
        feed_forward: rng.chance(500).then_some(ModelId(1)),
        feed_forward_filter: rng.pick(&[0.5, 1.0]),
    })
}

fn loop_plan(rng: &mut Rng, index: u16) -> LoopPlan {
    let locks = rng.pick(&[&[][..], &[0], &[0, 1], &[1]]);
    LoopPlan {
        name: format!("l{index}"),
        setpoint: SetpointId(index),
        controller: controller(rng),
        mode_max: rng.pick(&[
            Mode::Auto,
            Mode::Auto,
            Mode::Auto,
            Mode::Auto,
            Mode::Advisory,
            Mode::Shadow,
        ]),
        inputs: if rng.chance(300) { vec![INPUT] } else { vec![] },
        interlocks: locks.iter().map(|i| InterlockId(*i)).collect(),
        domain: rng.chance(300).then_some(ModelId(0)),
        settle: u32::try_from(rng.range(0, 1)).unwrap(),
        label_timeout: rng.pick(&[0, 3, 8, 8]),
        effect: EffectPlan {
            labels: rng.pick(&[2, 3, 4]),
            worse_than: rng.pick(&[1.0, 1.5, 3.0]),
            saturated_after: 3,
            oscillation_crossings: rng.pick(&[2, 3, 4]),
            oscillation_window: rng.pick(&[4, 8, 12]),
        },
    }
}

fn link(rng: &mut Rng) -> LinkPlan {
    LinkPlan {
        name: String::from("lead"),
        stale_after: Span::from_millis(1000),
        heartbeat: rng.chance(400).then_some(HeartbeatPlan {
            echo: ECHO,
            period: Span::from_millis(100),
            timeout: Span::from_millis(700),
        }),
        enable: rng.chance(500).then_some(ENABLE),
        clock: rng.chance(400).then_some(CLOCK),
        clock_step_max: Span::from_millis(2000),
        skew_max: Span::from_millis(5000),
    }
}

fn models(rng: &mut Rng) -> Vec<ModelPlan> {
    let limits = |t2: f64| PcaLimits { t2, spe: 1.0 };
    let monitor = PcaPlan {
        inputs: vec![FeatureId(0)],
        lags: 0,
        mean: vec![INPUT_MEAN],
        scale: vec![INPUT_SCALE],
        loadings: vec![1.0],
        eigenvalues: vec![1.0],
        alarm: limits(6.0),
        domain_out: limits(9.0),
        domain_in: limits(6.0),
    };
    let sensor = LinearPlan {
        inputs: vec![FeatureId(0)],
        coefficients: vec![0.1],
        mean: vec![INPUT_MEAN],
        scale: vec![INPUT_SCALE],
        intercept: 5.0,
        half_width: 0.5,
        span: vec![(15.0, 85.0)],
        domain: rng.chance(300).then_some(ModelId(0)),
    };
    let plan = |name: &str, model| ModelPlan { name: String::from(name), hash: [0; 32], model };
    vec![plan("monitor", Model::Pca(monitor)), plan("sensor", Model::Linear(sensor))]
}

fn signatures(rng: &mut Rng) -> Vec<SignaturePlan> {
    let clause = |above, on, off| Clause { source: Source::Feature(FeatureId(0)), above, on, off };
    let (need, of) = rng.pick(&[(1, 1), (2, 3)]);
    let plan = |name: &str, clause| SignaturePlan {
        name: String::from(name),
        clauses: vec![clause],
        all: true,
        need,
        of,
    };
    vec![plan("high", clause(true, 60.0, 55.0)), plan("low", clause(false, 40.0, 45.0))]
}

fn interlocks() -> Vec<InterlockPlan> {
    let plan = |name: &str, tag, closed, trips| InterlockPlan {
        name: String::from(name),
        tag,
        closed,
        trips,
    };
    vec![
        plan("door", DOOR, Condition::Equals(1), false),
        plan("air", AIR, Condition::Above(AIR_CLOSED), true),
    ]
}

/// Enable, echo and clock of a PLC.
pub(super) fn own_tags(plan: &Plan, plc: usize) -> [TagId; 3] {
    if plc == 0 {
        return [ENABLE, ECHO, CLOCK];
    }
    let end = u16::try_from(plan.tags.len()).unwrap();
    [TagId(end - 3), TagId(end - 2), TagId(end - 1)]
}

/// Gives some tags of a plan to a second PLC.
fn spread(rng: &mut Rng, plan: &mut Plan) {
    for index in 0..plan.tags.len() {
        let own = [ENABLE, ECHO, CLOCK].iter().any(|tag| tag.index() == index);
        if !own && rng.chance(400) {
            plan.tags[index].plc = PlcId(1);
        }
    }
    let second = ["enable", "echo", "clock"].map(|name| tag(format!("second_{name}")));
    plan.tags.extend(second.map(|tag| TagPlan { plc: PlcId(1), ..tag }));
    let [enable, echo, clock] = own_tags(plan, 1);
    let drawn = link(rng);
    plan.links.push(LinkPlan {
        name: String::from("second"),
        heartbeat: drawn.heartbeat.map(|heartbeat| HeartbeatPlan { echo, ..heartbeat }),
        enable: drawn.enable.map(|_| enable),
        clock: drawn.clock.map(|_| clock),
        ..drawn
    });
}

/// Watches the models of a plan for drift, and puts challengers beside them. Drawn last, so that all
/// else of a seed is what it was.
fn watch(rng: &mut Rng, plan: &mut Plan) {
    let deviation = rng.pick(&[0.02, 0.05, 0.2]);
    let watch = |rng: &mut Rng, model, score, truth| DriftPlan {
        model: ModelId(model),
        inputs: Vec::new(),
        score,
        truth,
        classes: Vec::new(),
        demotes: rng.chance(500),
    };
    if rng.chance(600) {
        let usual = ScoreReference { mean: 0.1, deviation, memory: 0.0 };
        plan.drifts.push(watch(rng, 0, Some(usual), None));
    }
    if rng.chance(600) {
        plan.drifts.push(watch(rng, 1, None, Some(CharacteristicId(0))));
    }
    challenge(plan, rng.chance(300), rng.chance(300));
}

/// Another monitor, another sensor beside those of a plan.
pub(super) fn challenge(plan: &mut Plan, monitor: bool, sensor: bool) {
    for (of, asked) in [(0, monitor), (1, sensor)] {
        if !asked {
            continue;
        }
        let mut other = plan.models[of].clone();
        other.name.push_str("/other");
        match &mut other.model {
            Model::Pca(pca) => pca.mean[0] += INPUT_SCALE,
            Model::Linear(linear) => linear.coefficients[0] = 0.2,
            _ => {}
        }
        let model = ModelId(u16::try_from(plan.models.len()).unwrap());
        let of = ModelId(u16::try_from(of).unwrap());
        plan.models.push(other);
        plan.challengers.push(ChallengerPlan { model, of });
    }
}

/// A random plan of one PLC or two that [`Plan::check`] accepts.
pub(super) fn draw(rng: &mut Rng) -> Plan {
    let mut plan = draw_one(rng);
    if rng.chance(500) {
        spread(rng, &mut plan);
    }
    watch(rng, &mut plan);
    plan
}

/// A random plan of one PLC that [`Plan::check`] accepts.
pub(super) fn draw_one(rng: &mut Rng) -> Plan {
    let count = rng.pick(&[1, 1, 2, 2, 3]);
    let setpoints: Vec<_> = (0..count).map(|i| setpoint(rng, i)).collect();
    // Sometimes the last setpoint belongs to nobody and only shares a joint limit.
    let looped = if count > 1 && rng.chance(200) { count - 1 } else { count };
    let cut = rng.pick(&[
        Cut::Finished(PART),
        Cut::Finished(PART),
        Cut::Started(PART),
        Cut::Every(Span::from_millis(300)),
    ]);
    Plan {
        name: String::from("drawn"),
        revision: 1,
        hash: [0; 32],
        tags: tags(rng, count),
        period: Span::from_millis(100),
        cycle: CyclePlan {
            latch: Span::from_millis(rng.pick(&[0, 0, 200])),
            cut,
            warm_up: u32::try_from(rng.range(0, 2)).unwrap(),
            running: rng.chance(300).then_some((STATE, PRODUCING)),
        },
        links: vec![link(rng)],
        bindings: if rng.chance(500) {
            vec![BindingPlan { name: String::from("product"), tag: PRODUCT, equals: PRODUCT_OURS }]
        } else {
            vec![]
        },
        features: vec![FeaturePlan {
            name: String::from("x"),
            unit: String::new(),
            tag: INPUT,
            take: rng.pick(&[Take::Last, Take::Last, Take::Mean]),
            window: None,
            lag: 0,
            coverage_min: rng.pick(&[0.0, 0.5]),
            combine: None,
        }],
        models: models(rng),
        signatures: signatures(rng),
        interlocks: interlocks(),
        drifts: Vec::new(),
        forecasts: Vec::new(),
        challengers: Vec::new(),
        characteristics: vec![CharacteristicPlan {
            name: String::from("y"),
            unit: String::new(),
            part: LABEL_PART,
            value: LABEL_VALUE,
            range: (-1000.0, 1000.0),
        }],
        rows: rows(rng, &setpoints),
        setpoints,
        loops: (0..looped).map(|i| loop_plan(rng, i)).collect(),
    }
}
