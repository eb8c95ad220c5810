//! The simulated press and the production core in virtual time: no sockets, no clock, no threads.
//!
//! One part takes 24 ms of link time and a whole cycle of process time. The world plays the PLC
//! link (values that changed, acks, read-backs, echoes) and the person who raises the loops again
//! after a lost session; all decisions are the core's.
//!
//! In `real_time` a cycle takes as long on the link's clock as in the press, with a scan in every
//! period, as beside a real machine.

#![allow(dead_code, reason = "each test that has a world uses a part of it")]

use std::collections::BTreeMap;

use opcua::types::Variant;
use trimloop::journal::JournalWriter;
use trimloop::store::StoreSender;
use trimloop_core::cell::Cell;
use trimloop_core::event::What;
use trimloop_core::mode::Mode;
use trimloop_core::plan::LoopId;
use trimloop_core::record::{Outcome, Record};
use trimloop_core::scan::{Ack, AckResult, Action, Command, Link, Order, Scan};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Utc};
use trimloop_recipe::plc_config::{Address, Identifier};
use trimloop_recipe::{Bound, Project};
use trimloop_simulator::cell::{Cell as Press, EPOCH_MS};
use trimloop_simulator::nodes::{self, Batch, NODES, NodeValue};
use trimloop_simulator::plc::Refusal;
use trimloop_simulator::{Scenario, Setpoint};

/// Link time between two looks at the press [ms]; three of them make a part.
const LOOK_MS: i64 = 8;
/// OPC UA status of any refusal here.
const REFUSED: u32 = 0x8000_0000;
/// Scans that may follow one another until nothing new comes of them.
const ECHOES_MAX: usize = 8;

/// The shipped recipe on the shipped press.
pub fn shipped() -> Bound {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = Project::read(root).expect("the shipped files");
    project.bind(project.recipe("housing-lid").expect("the recipe")).expect("a plan")
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Run {
    /// Decisions by outcome, holds by reason.
    pub decisions: BTreeMap<String, u64>,
    /// Events that people should see, with the part.
    pub events: Vec<(u64, What)>,
    /// Scans made.
    pub scans: u64,
}

/// Press and core.
pub struct World {
    /// The press.
    pub press: Press,
    /// The core.
    pub cell: Cell,
    /// What happened.
    pub run: Run,
    /// Where its scans are kept.
    pub journal: Option<JournalWriter>,
    /// Where its rows are kept.
    pub store: Option<StoreSender>,
    /// Tag of each node, where the recipe has one.
    tag_of: Vec<Option<TagId>>,
    /// `[nodes]` as last told.
    told: Vec<Option<(Variant, bool)>>,
    raise: bool,
    /// The link's clock is the press's.
    real_time: bool,
    epoch: u64,
    ms: i64,
    down_until: i64,
    scanned_ms: i64,
}

impl World {
    /// A press at standstill with the link up; loops go to AUTO when `raise`.
    pub fn new(bound: &Bound, scenario: Scenario, seed: u64, raise: bool) -> Self {
        Self::recorded(bound, scenario, seed, raise, None)
    }

    /// The same, with a journal.
    pub fn recorded(
        bound: &Bound,
        scenario: Scenario,
        seed: u64,
        raise: bool,
        journal: Option<JournalWriter>,
    ) -> Self {
        let mut world = Self::idle(bound, scenario, seed, raise, journal);
        world.connect();
        world
    }

    /// A press beside a service in SHADOW, in real time, whose samples and rows are kept.
    pub fn in_real_time(bound: &Bound, scenario: Scenario, seed: u64, store: StoreSender) -> Self {
        let mut world = Self::idle(bound, scenario, seed, false, None);
        (world.real_time, world.store) = (true, Some(store));
        world.connect();
        world
    }

    fn idle(
        bound: &Bound,
        scenario: Scenario,
        seed: u64,
        raise: bool,
        journal: Option<JournalWriter>,
    ) -> Self {
        let is = |tag: usize, id: &str| match &bound.plcs[0].nodes[bound.tag_nodes[tag]].address {
            Address::Id { identifier: Identifier::Text(text), .. } => text == id,
            _ => false,
        };
        let tag_of = NODES.iter().map(|node| {
            let place = (0..bound.plan.tags.len()).find(|tag| is(*tag, node.id))?;
            Some(TagId(u16::try_from(place).expect("a small plan")))
        });
        Self {
            press: Press::new(scenario, seed),
            cell: Cell::new(bound.plan.clone()).expect("a cell"),
            run: Run::default(),
            journal,
            store: None,
            tag_of: tag_of.collect(),
            told: vec![None; NODES.len()],
            raise,
            real_time: false,
            epoch: 1,
            ms: 0,
            down_until: 0,
            scanned_ms: 0,
        }
    }

    /// The time that rows of the store carry.
    pub fn utc(&self) -> Utc {
        Utc::from_millis(EPOCH_MS + self.now_ms())
    }

    /// Link time [ms].
    fn now_ms(&self) -> i64 {
        if self.real_time { self.press.clock_ms() - EPOCH_MS } else { self.ms }
    }

    /// Everything is told anew, as after a subscription; then people raise the loops.
    fn connect(&mut self) {
        self.told.fill(None);
        let mut values = nodes::values(&self.press, Batch::Part);
        values.extend(nodes::label_values(None));
        self.tell(&values);
        self.pass(LOOK_MS);
        self.scan(&[], &[], &[]);
        if self.raise {
            self.raise_loops();
        }
    }

    /// People raise the loops, now and after every lost session.
    pub fn raise(&mut self) {
        self.raise = true;
        self.raise_loops();
    }

    fn raise_loops(&mut self) {
        let loops = 0..u16::try_from(self.cell.plan().loops.len()).expect("few loops");
        let orders: Vec<Order> = loops
            .map(|i| Order {
                id: u64::from(i) + 1,
                command: Command::SetMode(LoopId(i), Mode::Auto),
            })
            .collect();
        self.scan(&[], &[], &orders);
    }

    /// Makes parts until `parts` are made.
    pub fn produce(&mut self, parts: u64) {
        self.press.set_producing(true);
        while self.press.part() < parts {
            self.slot();
        }
    }

    fn slot(&mut self) {
        if let Some(wall_ms) = self.press.prepare() {
            self.down_until = self.ms + i64::try_from(wall_ms).expect("a short time");
            self.epoch += 1;
        }
        self.press.latch();
        for _ in 0..2 {
            self.pass(LOOK_MS);
            self.tell(&nodes::values(&self.press, Batch::State));
        }
        self.pass(LOOK_MS);
        let slot = self.press.complete();
        let mut values = nodes::values(&self.press, Batch::Part);
        if slot.label.is_some() {
            values.extend(nodes::label_values(slot.label));
        }
        self.tell(&values);
    }

    fn pass(&mut self, ms: i64) {
        let was_down = self.ms < self.down_until;
        self.ms += ms;
        self.press.tick(u64::try_from(self.ms).expect("time runs on"));
        if was_down && self.ms >= self.down_until {
            self.connect();
        }
    }

    /// Publishes what changed: measured values always (their stamps are new), states on change.
    fn tell(&mut self, values: &[NodeValue]) {
        let clock = Utc::from_millis(self.press.clock_ms());
        let mut samples = Vec::with_capacity(values.len());
        for (node, value, status) in values {
            let now = (value.clone(), status.is_good());
            let measured = *node < nodes::PART_ID;
            if self.told[*node].as_ref() == Some(&now) && !measured {
                continue;
            }
            let good = now.1;
            self.told[*node] = Some(now);
            let Some(tag) = self.tag_of[*node] else { continue };
            samples.push(Sample {
                tag,
                value: decode(value),
                status: if good { Status::Good } else { Status::Bad(REFUSED) },
                source_time: Some(clock),
                server_time: None,
                received: Mono::from_millis(self.now_ms()),
            });
        }
        self.scan(&samples, &[], &[]);
    }

    /// One scan, and those that its own writes and beats bring about.
    fn scan(&mut self, changes: &[Sample], acks: &[Ack], commands: &[Order]) {
        if self.real_time {
            let period = self.cell.plan().period.as_millis();
            while self.scanned_ms + period < self.now_ms() {
                self.scanned_ms += period;
                self.scan_at(self.scanned_ms, &[], &[], &[]);
            }
        }
        self.scanned_ms = self.now_ms();
        self.scan_at(self.scanned_ms, changes, acks, commands);
    }

    fn scan_at(&mut self, ms: i64, changes: &[Sample], acks: &[Ack], commands: &[Order]) {
        let (mut samples, mut answers) = (changes.to_vec(), acks.to_vec());
        let mut orders = commands.to_vec();
        for _ in 0..ECHOES_MAX {
            let up = self.ms >= self.down_until;
            self.run.scans += 1;
            let now = Mono::from_millis(ms);
            let utc = Utc::from_millis(EPOCH_MS + ms);
            let scan = Scan {
                seq: self.run.scans,
                now: Now { mono: now, utc },
                links: &[Link { up, epoch: self.epoch, life: Some(now) }],
                changes: if up { &samples } else { &[] },
                acks: &answers,
                commands: &orders,
            };
            if let Some(journal) = &mut self.journal {
                journal.append_scan(&scan).expect("a journal that takes it");
            }
            let actions = self.cell.step(scan);
            if let Some(journal) = &mut self.journal {
                journal.append_actions(scan.seq, actions.as_slice()).expect("a journal");
            }
            let actions: Vec<Action> = actions.collect();
            if let Some(store) = self.store.as_ref().filter(|_| up && self.real_time) {
                store.samples(utc, &samples);
            }
            (samples, answers, orders) = (Vec::new(), Vec::new(), Vec::new());
            for action in actions {
                self.keep(now, &action);
                self.carry_out(action, &mut samples, &mut answers);
            }
            if samples.is_empty() && answers.is_empty() {
                return;
            }
        }
    }

    fn keep(&self, now: Mono, action: &Action) {
        let Some(store) = &self.store else { return };
        let utc = Utc::from_millis(EPOCH_MS + now.as_nanos() / 1_000_000);
        match action {
            Action::Record(record) => store.record(utc, *record),
            Action::Event(event) => store.event(self.run.events.len() as u64 + 1, *event),
            _ => {}
        }
    }

    fn carry_out(&mut self, action: Action, samples: &mut Vec<Sample>, answers: &mut Vec<Ack>) {
        let at = Mono::from_millis(self.now_ms());
        let clock = Utc::from_millis(self.press.clock_ms());
        let sample = |tag, value, source_time| Sample {
            tag,
            value: Some(value),
            status: Status::Good,
            source_time,
            server_time: None,
            received: at,
        };
        match action {
            Action::Write(write) => {
                let setpoint = Setpoint::ALL
                    .into_iter()
                    .find(|s| self.tag_of[nodes::SETPOINTS + s.index()] == Some(write.tag()))
                    .expect("a setpoint of the press");
                let taken = self.press.write(setpoint, Some(write.value()));
                let result = match taken {
                    Ok(_) => AckResult::Good,
                    Err(Refusal::Late) => AckResult::Unknown,
                    Err(_) => AckResult::Refused(REFUSED),
                };
                answers.push(Ack { write: write.seq(), result, at });
                if let Ok(value) = taken {
                    samples.push(sample(write.tag(), Value::Float(value), Some(clock)));
                }
            }
            Action::Heartbeat(_, count) => {
                self.press.beat(count);
                if let Some(tag) = self.tag_of[nodes::HEARTBEAT_OUT] {
                    samples.push(sample(tag, Value::Int(i64::from(count)), None));
                }
            }
            Action::Record(Record::Decision(row)) => {
                let name = match row.outcome {
                    Outcome::Hold(reason) => format!("hold {}", reason.word()),
                    Outcome::Write(_) => "write".to_owned(),
                    Outcome::Return(_) => "return".to_owned(),
                    other => format!("{other:?}"),
                };
                *self.run.decisions.entry(name).or_default() += 1;
            }
            Action::Event(event) => self.run.events.push((self.press.part(), event.what)),
            Action::Record(_) | Action::Ask(_) => {}
        }
    }

    /// Share of scrap so far, 0 to 1.
    pub fn scrap(&self) -> f64 {
        self.press.judge().verdict().scrap_rate()
    }

    /// First part at which an event of this kind was told.
    pub fn first(&self, is: impl Fn(&What) -> bool) -> Option<u64> {
        self.run.events.iter().find(|(_, what)| is(what)).map(|(part, _)| *part)
    }
}

fn decode(value: &Variant) -> Option<Value> {
    match value {
        Variant::Double(x) => Some(Value::Float(*x)),
        Variant::Int64(x) => Some(Value::Int(*x)),
        Variant::Int32(x) => Some(Value::Int(i64::from(*x))),
        Variant::UInt32(x) => Some(Value::Int(i64::from(*x))),
        Variant::Boolean(x) => Some(Value::Bool(*x)),
        _ => None,
    }
}
