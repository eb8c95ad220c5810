//! What is simulated: a small plan, and the registers of its PLC.

use std::path::PathBuf;
use std::time::Duration;

use trimloop_core::mode::Mode;
use trimloop_core::plan::{
    Clause, Controller, Cut, CyclePlan, EffectPlan, FeatureId, FeaturePlan, HeartbeatPlan,
    LinkPlan, LoopPlan, Plan, PlcId, RulesPlan, SetpointId, SetpointPlan, SignatureId,
    SignaturePlan, Source, TagPlan, Take,
};
use trimloop_core::tag::TagId;
use trimloop_core::time::Span;
use trimloop_core::unit::{Grid, Ticks};
use trimloop_recipe::plc_config::{Address, Identifier, PerCall};

use super::rng::Rng;
use crate::plc::{LinkConfig, NodeConfig, Purpose, Scalar};

pub(super) const URI: &str = "urn:sim:press";
pub(super) const OTHER_URI: &str = "urn:sim:neighbour";
/// Nodes by number; the first ones are tags of the same number.
pub(super) const PART: usize = 0;
pub(super) const ENABLE: usize = 1;
pub(super) const ECHO: usize = 2;
pub(super) const INPUT: usize = 3;
pub(super) const SETPOINTS: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Kit {
    pub(super) plan: Plan,
    pub(super) config: LinkConfig,
    /// `[nodes]`, the heartbeat last.
    pub(super) scalars: Vec<Scalar>,
}

impl Kit {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let setpoints: Vec<SetpointPlan> =
            (0..rng.range(1, 2)).map(|i| setpoint(rng, u16::try_from(i).unwrap())).collect();
        let mut scalars = vec![Scalar::Int64, Scalar::Boolean, Scalar::Int32, Scalar::Double];
        scalars.extend(setpoints.iter().map(|of| match of.grid.decimals() {
            0 => rng.pick(&[Scalar::Int32, Scalar::Double]),
            _ => rng.pick(&[Scalar::Float, Scalar::Double]),
        }));
        let tags = scalars.len();
        scalars.push(Scalar::Int32);
        let plan = plan(rng, tags, setpoints);
        let config = config(rng, &plan, &scalars);
        Self { plan, config, scalars }
    }

    /// The PLC can be reached by a second address, too.
    pub(super) fn add_address(&mut self) {
        self.config.standby.push("opc.tcp://sim-2:4840".to_owned());
    }

    /// Addresses of the PLC.
    pub(super) fn addresses(&self) -> usize {
        1 + self.config.standby.len()
    }

    pub(super) fn beat(&self) -> usize {
        self.scalars.len() - 1
    }

    /// The setpoint that a node is.
    pub(super) fn setpoint(&self, node: usize) -> Option<usize> {
        node.checked_sub(SETPOINTS).filter(|at| *at < self.plan.setpoints.len())
    }
}

fn setpoint(rng: &mut Rng, index: u16) -> SetpointPlan {
    let (mantissa, decimals) = rng.pick(&[(1, 0), (5, 1), (2, 0)]);
    let baseline = 50;
    SetpointPlan {
        name: format!("u{index}"),
        unit: String::new(),
        tag: TagId(u16::try_from(SETPOINTS).unwrap() + index),
        grid: Grid::new(mantissa, decimals).unwrap(),
        baseline: Ticks::new(baseline),
        low: Ticks::new(baseline - 30),
        high: Ticks::new(baseline + 30),
        trim_max: Ticks::new(rng.pick(&[10, 20, 20])),
        step_up: Ticks::new(rng.pick(&[1, 2, 4])),
        step_down: Ticks::new(rng.pick(&[1, 2, 4])),
        rate: None,
        deadband: Ticks::new(rng.pick(&[0, 1])),
        dwell: Span::from_millis(rng.pick(&[0, 0, 300])),
        budget: None,
        plc_low: None,
        plc_high: None,
        confirm: Span::from_millis(rng.pick(&[1500, 3000])),
        // Below `confirm`, so that nothing is sent that the ledger has given up.
        ttl: Span::from_millis(rng.pick(&[300, 700, 1400])),
    }
}

fn plan(rng: &mut Rng, tags: usize, setpoints: Vec<SetpointPlan>) -> Plan {
    let tag = |i: usize| TagPlan {
        name: format!("n{i}"),
        plc: PlcId::LEAD,
        unit: String::new(),
        range: None,
        rate_max: None,
        resolution: 0.0,
        spike: false,
        frozen_after: 0,
        stale_after: None,
        accept_uncertain: false,
    };
    let clause = |above, on, off| Clause { source: Source::Feature(FeatureId(0)), above, on, off };
    let signature = |name: &str, clause| SignaturePlan {
        name: name.to_owned(),
        clauses: vec![clause],
        all: true,
        need: 1,
        of: 1,
    };
    let loops = (0..).zip(&setpoints).map(|(i, _)| LoopPlan {
        name: format!("l{i}"),
        setpoint: SetpointId(i),
        controller: Controller::Rules(RulesPlan {
            rows: vec![(SignatureId(0), Ticks::new(3)), (SignatureId(1), Ticks::new(-3))],
            decay_permille: rng.pick(&[0, 200]),
        }),
        mode_max: Mode::Auto,
        inputs: Vec::new(),
        interlocks: Vec::new(),
        domain: None,
        settle: 0,
        label_timeout: 0,
        effect: EffectPlan {
            labels: 4,
            worse_than: 3.0,
            saturated_after: 100,
            oscillation_crossings: 12,
            oscillation_window: 12,
        },
    });
    Plan {
        loops: loops.collect(),
        name: "simulated".to_owned(),
        revision: 1,
        hash: [0; 32],
        tags: (0..tags).map(tag).collect(),
        period: Span::from_millis(100),
        cycle: CyclePlan {
            cut: Cut::Finished(TagId(0)),
            warm_up: 1,
            latch: Span::ZERO,
            running: None,
        },
        links: vec![LinkPlan {
            name: "faulty".to_owned(),
            stale_after: Span::from_millis(rng.pick(&[1000, 2000])),
            heartbeat: rng.chance(700).then_some(HeartbeatPlan {
                echo: TagId(2),
                period: Span::from_millis(200),
                timeout: Span::from_millis(1000),
            }),
            enable: rng.chance(700).then_some(TagId(1)),
            clock: None,
            clock_step_max: Span::from_millis(2000),
            skew_max: Span::from_millis(5000),
        }],
        bindings: Vec::new(),
        features: vec![FeaturePlan {
            name: "x".to_owned(),
            unit: String::new(),
            tag: TagId(3),
            take: Take::Last,
            window: None,
            lag: 0,
            coverage_min: 0.0,
            combine: None,
        }],
        models: Vec::new(),
        signatures: vec![
            signature("high", clause(true, 60.0, 55.0)),
            signature("low", clause(false, 40.0, 45.0)),
        ],
        interlocks: Vec::new(),
        drifts: Vec::new(),
        forecasts: Vec::new(),
        challengers: Vec::new(),
        characteristics: Vec::new(),
        setpoints,
        rows: Vec::new(),
    }
}

/// Limits that differ by service, so that none is taken for another.
const fn per_call(most: usize) -> PerCall {
    PerCall { read: most, write: 1, monitor: most - 1, other: most + 1 }
}

fn config(rng: &mut Rng, plan: &Plan, scalars: &[Scalar]) -> LinkConfig {
    let node = |(at, scalar): (usize, &Scalar)| {
        let setpoint = at.checked_sub(SETPOINTS).and_then(|i| plan.setpoints.get(i));
        let tag = at < plan.tags.len();
        NodeConfig {
            name: format!("n{at}"),
            tag: tag.then(|| TagId(u16::try_from(at).unwrap())),
            address: Address::Id {
                namespace: URI.to_owned(),
                identifier: Identifier::Text(format!("n{at}")),
            },
            scalar: (at != PART).then_some(*scalar),
            sampling_ms: 0.0,
            queue: None,
            purpose: match setpoint {
                Some(of) => Purpose::Setpoint { grid: of.grid, low: of.low, high: of.high },
                None if tag => Purpose::Read,
                None => Purpose::Heartbeat,
            },
        }
    };
    LinkConfig {
        name: "sim".to_owned(),
        url: "opc.tcp://sim:4840".to_owned(),
        standby: Vec::new(),
        publishing: Duration::from_millis(rng.pick(&[50, 100])),
        security: trimloop_recipe::plc_config::Security::None,
        user: trimloop_recipe::plc_config::User::Anonymous,
        units: std::collections::BTreeMap::new(),
        per_call: per_call(usize::try_from(rng.pick(&[3, 1000])).unwrap()),
        nodes: scalars.iter().enumerate().map(node).collect(),
        client_name: "sim".to_owned(),
        pki_dir: PathBuf::new(),
    }
}
