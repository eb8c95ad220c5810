//! The small world around the cell: one loop over one register, in a PLC with enable and echo.
//!
//! Times are short multiples of the scan period, so that few scans pass every timeout.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::mode::Mode;
use crate::plan::{
    Clause, Controller, Cut, CyclePlan, EffectPlan, FeatureId, FeaturePlan, HeartbeatPlan,
    LinkPlan, LoopPlan, Plan, PlcId, RulesPlan, SetpointId, SetpointPlan, SignatureId,
    SignaturePlan, Source, TagPlan, Take,
};
use crate::tag::TagId;
use crate::time::Span;
use crate::unit::{Grid, Ticks};

pub(super) const REGISTER: TagId = TagId(0);
pub(super) const INPUT: TagId = TagId(1);
pub(super) const ENABLE: TagId = TagId(2);
pub(super) const ECHO: TagId = TagId(3);

/// Scan period [ms].
pub(super) const PERIOD: i64 = 100;
/// Read-back deadline, heartbeat timeout, link silence [ms].
pub(super) const TIMEOUT: i64 = 300;
/// How long a foreign value stands, at the latest, before it counts as a person's [ms].
pub(super) const PATIENCE: i64 = TIMEOUT;
/// Limits, trim and step around the baseline 0 [ticks].
pub(super) const REACH: i64 = 4;
pub(super) const STEP: i64 = 2;

/// What the input shows: the signature is off, or on.
pub(super) const CALM: f64 = 10.0;
pub(super) const HIGH: f64 = 90.0;

fn tag(name: &str) -> TagPlan {
    TagPlan {
        name: String::from(name),
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

/// A part ends in every scan. While the input is high the table wants the register a step higher;
/// while it is bad the loop returns to the baseline.
///
/// What [`super::digest`] rests on: no label, no process clock, no source stamps, no spike, rate or
/// frozen check, no rate limit and no budget.
pub(super) fn plan() -> Plan {
    let ms = Span::from_millis;
    Plan {
        name: String::from("explored"),
        revision: 1,
        hash: [0; 32],
        tags: ["register", "input", "enable", "echo"].map(tag).into(),
        period: ms(PERIOD),
        cycle: CyclePlan {
            cut: Cut::Every(ms(PERIOD)),
            warm_up: 0,
            latch: Span::ZERO,
            running: None,
        },
        links: vec![LinkPlan {
            name: String::from("plc"),
            stale_after: ms(TIMEOUT),
            heartbeat: Some(HeartbeatPlan { echo: ECHO, period: ms(PERIOD), timeout: ms(TIMEOUT) }),
            enable: Some(ENABLE),
            clock: None,
            clock_step_max: ms(2000),
            skew_max: ms(5000),
        }],
        bindings: Vec::new(),
        features: vec![FeaturePlan {
            name: String::from("x"),
            unit: String::new(),
            tag: INPUT,
            take: Take::Last,
            window: None,
            lag: 0,
            coverage_min: 0.0,
            combine: None,
        }],
        models: Vec::new(),
        signatures: vec![SignaturePlan {
            name: String::from("high"),
            clauses: vec![Clause {
                source: Source::Feature(FeatureId(0)),
                above: true,
                on: 60.0,
                off: 40.0,
            }],
            all: true,
            need: 1,
            of: 1,
        }],
        interlocks: Vec::new(),
        drifts: Vec::new(),
        forecasts: Vec::new(),
        challengers: Vec::new(),
        characteristics: Vec::new(),
        setpoints: vec![SetpointPlan {
            name: String::from("u"),
            unit: String::new(),
            tag: REGISTER,
            grid: Grid::new(1, 0).unwrap(),
            baseline: Ticks::ZERO,
            low: Ticks::new(-REACH),
            high: Ticks::new(REACH),
            trim_max: Ticks::new(REACH),
            step_up: Ticks::new(STEP),
            step_down: Ticks::new(STEP),
            rate: None,
            deadband: Ticks::new(1),
            dwell: ms(PERIOD),
            budget: None,
            plc_low: None,
            plc_high: None,
            confirm: ms(TIMEOUT),
            ttl: ms(TIMEOUT),
        }],
        rows: Vec::new(),
        loops: vec![LoopPlan {
            name: String::from("l"),
            setpoint: SetpointId(0),
            controller: Controller::Rules(RulesPlan {
                rows: vec![(SignatureId(0), Ticks::new(STEP))],
                decay_permille: 0,
            }),
            mode_max: Mode::Auto,
            inputs: vec![INPUT],
            interlocks: Vec::new(),
            domain: None,
            settle: 0,
            label_timeout: 0,
            effect: EffectPlan {
                labels: 2,
                worse_than: 1.5,
                saturated_after: 1000,
                oscillation_crossings: 4,
                oscillation_window: 8,
            },
        }],
    }
}
