//! A small plan for the tests of image, feature and cycle.

use alloc::string::String;
use alloc::vec;

use crate::plan::{Cut, CyclePlan, LinkPlan, Plan, PlcId, TagPlan};
use crate::tag::TagId;
use crate::time::Span;

/// A tag with every check off.
pub(crate) fn tag(name: &str) -> TagPlan {
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

/// Four tags: `0` part id, `1` and `2` analog, `3` a setpoint's register. No clock tag.
pub(crate) fn plan() -> Plan {
    Plan {
        name: String::from("fixture"),
        revision: 1,
        hash: [0; 32],
        tags: vec![tag("part"), tag("a"), tag("b"), tag("setpoint")],
        period: Span::from_millis(100),
        cycle: CyclePlan {
            cut: Cut::Finished(TagId(0)),
            warm_up: 0,
            latch: Span::ZERO,
            running: None,
        },
        links: vec![LinkPlan {
            name: String::from("plc"),
            stale_after: Span::from_secs(2),
            heartbeat: None,
            enable: None,
            clock: None,
            clock_step_max: Span::from_secs(10),
            skew_max: Span::from_secs(2),
        }],
        bindings: vec![],
        features: vec![],
        models: vec![],
        signatures: vec![],
        interlocks: vec![],
        drifts: vec![],
        forecasts: vec![],
        challengers: vec![],
        characteristics: vec![],
        setpoints: vec![],
        rows: vec![],
        loops: vec![],
    }
}
