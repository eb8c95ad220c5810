//! A test thread in the place of the scan thread, over a PLC link that runs by itself; and writes
//! as the guard makes them.

#![allow(dead_code, reason = "each test binary uses a part; `expect` fails in one that uses all")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::Runtime;
use trimloop::clock::Clock;
use trimloop::intake::{Batch, Intake};
use trimloop::notice::Notices;
use trimloop::plc::{self, LinkConfig, LinkStatus, Port, View};
use trimloop_core::guard::{ApprovedWrite, Decision, Evidence, Intent, permit};
use trimloop_core::mode::{Mode, Trip};
use trimloop_core::plan::{
    Cut, CyclePlan, LinkPlan, Plan, PlcId, SetpointId, SetpointPlan, TagPlan,
};
use trimloop_core::scan::{AckResult, Link};
use trimloop_core::tag::{Sample, TagId, Value};
use trimloop_core::time::{Mono, Span};
use trimloop_core::unit::{Grid, Stand, Ticks};

/// Generous: a loaded machine is not a broken one. Promises have deadlines of their own.
const LONG: Duration = Duration::from_secs(20);
/// Tags of the plan behind [`approved`].
const TAGS: usize = 6;

pub struct Client {
    pub runtime: Runtime,
    pub intake: Intake,
    pub batch: Batch,
    pub port: Port,
    pub view: View,
    pub stop: tokio::sync::watch::Sender<bool>,
    pub clock: Clock,
    pub last: Mono,
    pub link: Link,
    pub samples: Vec<Sample>,
    pub acks: BTreeMap<u64, AckResult>,
    pub notices: Notices,
}

impl Client {
    pub fn start(config: LinkConfig) -> Self {
        Self::start_with(config, |_| {})
    }

    /// `prepare` gets the link before its tasks run.
    pub fn start_with(config: LinkConfig, prepare: impl FnOnce(&mut plc::Link)) -> Self {
        let runtime = Runtime::new().unwrap();
        let clock = Clock::start();
        let (intake, batch) = Intake::new(config.nodes.len(), clock);
        let notices = Notices::new(clock, None);
        let mut link = plc::link(config, intake.clone(), notices.clone()).unwrap();
        prepare(&mut link);
        for (_, task) in link.tasks {
            runtime.spawn(task);
        }
        Self {
            runtime,
            intake,
            batch,
            port: link.port,
            view: link.view,
            stop: link.stop,
            clock,
            last: clock.mono(),
            link: Link::default(),
            samples: Vec::new(),
            acks: BTreeMap::new(),
            notices,
        }
    }

    /// Scans until `wanted` holds; how long that took.
    pub fn until(&mut self, what: &str, mut wanted: impl FnMut(&mut Self) -> bool) -> Span {
        let start = self.clock.mono();
        loop {
            assert!(self.intake.wait(&mut self.batch, Some(self.last), Span::from_millis(20)));
            self.last = self.clock.mono();
            self.link = self.batch.links[0];
            self.samples.extend_from_slice(&self.batch.changes);
            self.acks.extend(self.batch.acks.iter().map(|ack| (ack.write, ack.result)));
            if wanted(self) {
                return self.last - start;
            }
            let waited = self.last - start;
            let status = self.view.status();
            assert!(waited < Span::from_secs(20), "{what} within 20 s; {status:?}");
        }
    }

    pub fn value(&self, tag: u16) -> Option<f64> {
        let newest = self.samples.iter().rev().find(|sample| sample.tag == TagId(tag))?;
        newest.value.map(Value::as_f64)
    }

    pub fn holds(&self, tag: u16, wanted: f64) -> bool {
        self.value(tag).is_some_and(|value| (value - wanted).abs() < 1e-9)
    }

    pub fn status(&self, what: &str, wanted: impl Fn(&LinkStatus) -> bool) -> LinkStatus {
        let result = self.runtime.block_on(self.view.wait_for(LONG, wanted));
        result.unwrap_or_else(|status| panic!("{what}: {status:?}"))
    }
}

impl Client {
    /// Ends the link and waits for its goodbye.
    pub fn close(self) {
        self.stop.send_replace(true);
        self.status("stopped", |status| status.state == plc::LinkState::Stopped);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Half a unit per tick.
pub fn grid() -> Grid {
    Grid::new(5, 1).unwrap()
}

/// A write as the guard makes it.
pub fn approved(tag: u16, to: f64, seq: u64, epoch: u64, issued: Mono, ttl: Span) -> ApprovedWrite {
    let tag_plan = |name: &str| TagPlan {
        name: name.to_owned(),
        plc: PlcId::LEAD,
        unit: "bar".to_owned(),
        range: None,
        rate_max: None,
        resolution: 0.0,
        spike: false,
        frozen_after: 0,
        stale_after: None,
        accept_uncertain: false,
    };
    let far = Ticks::new(1000);
    let plan = Plan {
        name: "test".to_owned(),
        revision: 1,
        hash: [0; 32],
        tags: (0..TAGS).map(|tag| tag_plan(&tag.to_string())).collect(),
        period: Span::from_millis(100),
        cycle: CyclePlan {
            cut: Cut::Every(Span::from_secs(1)),
            warm_up: 0,
            running: None,
            latch: Span::ZERO,
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
        features: Vec::new(),
        models: Vec::new(),
        signatures: Vec::new(),
        interlocks: Vec::new(),
        drifts: Vec::new(),
        forecasts: Vec::new(),
        challengers: Vec::new(),
        characteristics: Vec::new(),
        setpoints: vec![SetpointPlan {
            name: "setpoint".to_owned(),
            unit: "bar".to_owned(),
            tag: TagId(tag),
            grid: grid(),
            baseline: Ticks::new(200),
            low: Ticks::new(0),
            high: Ticks::new(1000),
            trim_max: far,
            step_up: far,
            step_down: far,
            rate: None,
            deadband: Ticks::new(1),
            dwell: Span::ZERO,
            budget: None,
            plc_low: None,
            plc_high: None,
            confirm: Span::from_secs(3),
            ttl,
        }],
        rows: Vec::new(),
        loops: Vec::new(),
    };
    let evidence = Evidence {
        clock_backwards: false,
        on_time: true,
        trip: Trip::Clear,
        mode: Mode::Auto,
        plc: PlcId::LEAD,
        enabled: true,
        owned: true,
        link: true,
        epoch,
        heartbeat: true,
        bound: true,
        warm: true,
        inputs: true,
        interlocks: true,
        interlock_trips: false,
        read_back: Some(Stand::on(Ticks::new(200))),
        unchanged: true,
        domain: true,
        plc_low: None,
        plc_high: None,
        plc_range_unknown: false,
        authority_permille: 1000,
        rate_left: far,
        rested: true,
        budget: true,
        approved: true,
        idle: true,
        now: issued,
        seq,
    };
    match permit(&plan, SetpointId(0), Intent::Score, to, &evidence, &[]).decision {
        Decision::Write(write) => write,
        other => panic!("{other:?}"),
    }
}

/// Long enough for any machine.
pub const TTL: Span = Span::from_secs(10);
