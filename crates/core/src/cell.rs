//! The cell: everything that one [`Cell::step`] goes through, in order.
//!
//! Links and orders first (a takeover in this scan wins), then image, parts, features, scores,
//! signatures, labels, then conditions and registers, and at last each loop: effect, rung,
//! proposal, permit. Analyse first, act after.

#[cfg(test)]
mod digest;
mod drift;
mod drive;
mod explain;
mod forecast;
mod intake;
mod links;
mod orders;
mod outbox;
mod state;

use alloc::vec;
use alloc::vec::Vec;

use crate::cycle::Cycles;
use crate::drift::Drifts;
use crate::event::What;
use crate::feature::{FeatureValue, Features};
use crate::image::Image;
use crate::interlock::{Change, Interlocks};
use crate::ledger::{Finding, ReadBack, Register};
use crate::mode::{Mode, Owner, Rung, TripReason};
use crate::model::Models;
use crate::plan::{LoopId, Plan, PlanError, SetpointId};
use crate::record::Record;
use crate::scan::{Ack, AckResult, Actions, Command, ORDERS_MAX, Order, Scan};
use crate::slip::{Slip, slips};
use crate::tag::{Quality, Reading, TagId};
use crate::time::{Mono, Now, Process, Span};
use crate::unit::Ticks;
use crate::verdict::Signatures;

use intake::{Due, LabelMemory};
use links::PlcLink;
use outbox::Outbox;
use state::LoopState;

pub use forecast::Forecasts;
pub use state::LoopStatus;

/// Scans may come this many periods late before nothing is written on them.
const LATE_PERIODS: i64 = 3;

/// One cell: a plan and all state that its decisions rest on.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact about this scan")]
pub struct Cell {
    plan: Plan,
    image: Image,
    features: Features,
    cycles: Cycles,
    models: Models,
    drifts: Drifts,
    forecasts: Forecasts,
    signatures: Signatures,
    interlocks: Interlocks,
    /// `[links]`
    links: Vec<PlcLink>,
    registers: Vec<Register>,
    loops: Vec<LoopState>,
    out: Outbox,

    /// Clocks of this scan.
    now: Now,
    process: Process,
    on_time: bool,
    /// Time since the scan before.
    pause: Span,
    clock_backwards: bool,
    started: bool,
    /// A part ended in this scan.
    part_ended: bool,
    /// Id of the newest part.
    part: i64,
    due: Due,
    labels: Vec<LabelMemory>,

    /// `[features]` of the newest part.
    part_features: Vec<FeatureValue>,
    /// `[setpoints]` as read back in this scan.
    read: Vec<Option<ReadBack>>,
    ticks: Vec<Option<Ticks>>,
    /// `[setpoints]` the two values each may hold.
    may_hold: Vec<Option<(Ticks, Ticks)>>,
    /// `[tags]` quality as last reported.
    quality: Vec<Quality>,
    swept: usize,
    /// `[features]` scratch of an explanation.
    explained: Vec<bool>,
    /// `[models]` domain and alarm as last reported.
    in_domain: Vec<bool>,
    alarm: Vec<bool>,
    /// `[signatures]` as last reported.
    signature_on: Vec<bool>,
    next_write: u64,
    next_proposal: u64,
    next_decision: u64,
}

impl Cell {
    /// Builds a cell in SHADOW, owner unknown. All memory is taken here.
    ///
    /// # Errors
    /// [`PlanError`] when an index or a bound of the plan does not hold.
    pub fn new(plan: Plan) -> Result<Self, PlanError> {
        plan.check()?;
        let setpoints = plan.setpoints.len();
        let rows = plan.features.len()
            + 6 * plan.models.len()
            + plan.signatures.len()
            + plan.forecasts.len();
        let room = 256 + 4 * rows + plan.tags.len().min(1024) + 16 * plan.loops.len();
        Ok(Self {
            image: Image::new(&plan),
            features: Features::new(&plan),
            cycles: Cycles::new(&plan),
            models: Models::new(&plan),
            drifts: Drifts::new(&plan),
            forecasts: Forecasts::new(&plan),
            signatures: Signatures::new(&plan),
            interlocks: Interlocks::new(&plan),
            links: links::of(&plan),
            registers: vec![Register::new(Process::default()); setpoints],
            loops: plan.loops.iter().map(LoopState::new).collect(),
            out: Outbox::new(
                room,
                (16 + explain::ROWS_MAX) * plan.loops.len()
                    + ORDERS_MAX
                    + 4 * plan.links.len()
                    + plan.interlocks.len()
                    + plan.bindings.len(),
            ),
            now: Now::default(),
            process: Process::default(),
            on_time: false,
            pause: Span::ZERO,
            clock_backwards: false,
            started: false,
            part_ended: false,
            part: 0,
            due: Due::new(&plan),
            labels: vec![LabelMemory::new(); plan.characteristics.len()],
            part_features: vec![FeatureValue { value: None, coverage: 0.0 }; plan.features.len()],
            read: vec![None; setpoints],
            ticks: vec![None; setpoints],
            may_hold: vec![None; setpoints],
            quality: vec![Quality::Missing; plan.tags.len()],
            swept: 0,
            explained: vec![false; plan.features.len()],
            in_domain: vec![true; plan.models.len()],
            alarm: vec![false; plan.models.len()],
            signature_on: vec![false; plan.signatures.len()],
            next_write: 1,
            next_proposal: 1,
            next_decision: 1,
            plan,
        })
    }

    /// One step. Total: whatever the scan holds, it neither panics nor allocates.
    pub fn step(&mut self, scan: Scan<'_>) -> Actions<'_> {
        self.begin(&scan);
        self.follow_links(scan.links);
        self.follow_clocks(scan.changes);
        for ack in scan.acks {
            self.take_ack(ack);
        }
        self.take_samples(scan.changes);
        self.sweep();
        self.observe_machine();
        self.observe_registers();
        // A takeover comes last: it wins over whatever else is asked in this scan.
        let takeover = |order: &&Order| matches!(order.command, Command::TakeManual(_));
        for order in scan.commands.iter().filter(|order| !takeover(order)) {
            self.take_order(order);
        }
        for order in scan.commands.iter().filter(takeover) {
            self.take_order(order);
        }
        for index in 0..self.loops.len() {
            self.drive(index);
        }
        self.beat();
        self.out.drain()
    }

    fn begin(&mut self, scan: &Scan<'_>) {
        let before = self.now.mono;
        self.clock_backwards = self.started && scan.now.mono < before;
        let late = self.plan.period.times(LATE_PERIODS);
        self.pause = if self.started { scan.now.mono - before } else { Span::ZERO };
        self.on_time = self.started && !self.clock_backwards && scan.now.mono - before <= late;
        if self.clock_backwards {
            // Ages are judged against the newest time seen, so that nothing grows younger.
            self.now.utc = scan.now.utc;
        } else {
            self.now = scan.now;
        }
        self.started = true;
        self.coast();
        for link in &mut self.links {
            link.clock.begin(self.now);
        }
        if let Some(lead) = self.links.first() {
            self.process = lead.clock.now();
        }
        self.part_ended = false;
        self.out.begin(self.now, self.process);
        if self.clock_backwards {
            self.out.event(What::MonotonicBackwards);
        }
    }

    fn take_ack(&mut self, ack: &Ack) {
        for register in &mut self.registers {
            let Some(row) = register.answer(ack) else { continue };
            self.out.must(Record::Ledger(row));
            match ack.result {
                AckResult::Refused(status) => {
                    self.out.event(What::WriteRefused(row.setpoint, status));
                }
                AckResult::Unknown => {
                    self.out.event(What::WriteUnknown(row.setpoint));
                }
                AckResult::Good | AckResult::NotSent => {}
            }
        }
    }

    /// Interlocks, bindings, heartbeat.
    fn observe_machine(&mut self) {
        let (plan, out) = (&self.plan, &mut self.out);
        let mut rebound = false;
        self.interlocks.observe(plan, &self.image, |change| match change {
            Change::Interlock(id, closed) => out.must_tell(What::Interlock(id, closed)),
            Change::Binding(id, bound) => {
                rebound |= bound;
                out.must_tell(What::Binding(id, bound));
            }
        });
        if rebound && self.interlocks.bound() {
            self.cycles.disturb();
        }
        if self.interlocks.came_back() {
            // Another product ran: its setpoints are gone, whatever stands now is the new start.
            for state in &mut self.loops {
                state.effect.forget();
            }
            for register in &mut self.registers {
                register.rebase();
            }
        }
        self.observe_heartbeats();
    }

    /// Reads every setpoint back and settles what is pending.
    fn observe_registers(&mut self) {
        // While another product runs, whoever sets it up owns its setpoints.
        let ours_to_watch = !self.interlocks.other();
        for index in 0..self.registers.len() {
            self.read_register(index);
            let read = self.read.get(index).copied().flatten();
            let owner = self.loop_of(index).and_then(|l| self.loops.get(l)).map(|l| l.owner);
            let ours = ours_to_watch && owner != Some(Owner::Unknown);
            let (Some(register), Some(limits)) =
                (self.registers.get_mut(index), self.plan.setpoints.get(index))
            else {
                continue;
            };
            // The register may have been set after the clock sample that we last heard.
            let (tag, plc) = (limits.tag, self.plan.plc_of(limits.tag));
            let stamp = self.image.reading(&self.plan, tag).source_time;
            let ahead = stamp.map_or(Span::ZERO, |stamp| links::ahead(&self.links, plc, stamp));
            register.stamp(self.process + ahead);
            let found = register.observe(limits, read, self.now.mono, ours);
            let held = register.may_hold(read.map(|r| r.stand));
            if let Some(slot) = self.may_hold.get_mut(index) {
                *slot = held;
            }
            if let Some((finding, row)) = found {
                if let Some(row) = row {
                    self.out.must(Record::Ledger(row));
                }
                self.take_finding(index, finding);
            }
        }
    }

    fn read_register(&mut self, index: usize) {
        let read = self.plan.setpoints.get(index).and_then(|limits| {
            let reading = self.image.reading(&self.plan, limits.tag);
            let value = reading.value.as_f64();
            let good = self.live(self.plan.plc_of(limits.tag)) && reading.quality.is_good();
            let stand = limits.grid.stand(value).filter(|_| good)?;
            Some(ReadBack { stand, received: reading.received })
        });
        if let Some(slot) = self.read.get_mut(index) {
            *slot = read;
        }
        if let Some(slot) = self.ticks.get_mut(index) {
            *slot = read.map(|r| r.stand.nearest());
        }
    }

    fn take_finding(&mut self, setpoint: usize, finding: Finding) {
        let Some(index) = self.loop_of(setpoint) else { return };
        match finding {
            Finding::Confirmed => {
                let part = self.cycles.newest().map_or(0, |p| p.number);
                if let Some(state) = self.loops.get_mut(index) {
                    state.confirmed(part);
                }
            }
            Finding::NotTaken(false) | Finding::Mismatch(false) => {}
            Finding::NotTaken(true) => self.trip(index, TripReason::NotTaken),
            Finding::Mismatch(true) => self.trip(index, TripReason::Mismatch),
            Finding::Foreign(ticks) => {
                let id = u16::try_from(setpoint).unwrap_or(u16::MAX);
                self.out.must_tell(What::ExternalChange(SetpointId(id), ticks));
                if !slips(Slip::HandIgnored) {
                    self.yield_to_operator(index);
                }
            }
        }
    }

    /// A person moved the setpoint, or took the loop.
    fn yield_to_operator(&mut self, index: usize) {
        if let Some(reason) = self.loops.get_mut(index).and_then(LoopState::yield_to_operator) {
            let id = LoopId(u16::try_from(index).unwrap_or(u16::MAX));
            self.out.must_tell(What::Latched(id, reason));
        }
    }

    fn loop_of(&self, setpoint: usize) -> Option<usize> {
        self.plan.loops.iter().position(|l| l.setpoint.index() == setpoint)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What a loop is doing; `None` when there is no such loop.
    pub fn loop_status(&self, loop_id: LoopId) -> Option<LoopStatus> {
        let limits = self.plan.loops.get(loop_id.index())?;
        let state = self.loops.get(loop_id.index())?;
        let read_back = self.ticks.get(limits.setpoint.index()).copied().flatten();
        Some(LoopStatus {
            asked: state.asked,
            in_force: state.in_force,
            owner: state.owner,
            trip: state.trip,
            rung: if self.live(self.plc_of_loop(loop_id.index())) {
                state.rung
            } else {
                Rung::Released
            },
            read_back,
            desired: state.desired,
            limited: state.limited,
            held: state.held,
            authority_used: self.authority_used(loop_id.index()).unwrap_or(0.0),
            authority_permille: state.authority,
            open_proposal: state.proposal,
            writes: state.writes,
            last_write: self
                .registers
                .get(limits.setpoint.index())
                .and_then(Register::newest)
                .map(|row| row.write),
        })
    }

    /// A tag as judged in the last step; `None` when there is no such tag.
    pub fn reading(&self, tag: TagId) -> Option<Reading> {
        self.plan.tags.get(tag.index())?;
        Some(self.image.reading(&self.plan, tag))
    }

    /// Process time of the last step.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Id of the newest finished part; 0 before the first.
    pub fn part(&self) -> i64 {
        self.part
    }

    /// Scores and contributions of the newest part, for explanations.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// What drifts as of the newest part.
    pub fn drifts(&self) -> &Drifts {
        &self.drifts
    }

    /// Forecasts as of the newest part.
    pub fn forecasts(&self) -> &Forecasts {
        &self.forecasts
    }

    /// Signatures as of the newest part.
    pub fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// Features of the newest part, `[features]`.
    pub fn features(&self) -> &[FeatureValue] {
        &self.part_features
    }

    /// Age reference of the last step.
    pub fn mono(&self) -> Mono {
        self.now.mono
    }
}

/// The mode in force: the least of what is asked, what the recipe allows and what the PLC enables.
fn in_force(asked: Mode, recipe: Mode, enabled: bool) -> Mode {
    let plc = if enabled { Mode::Auto } else { Mode::Shadow };
    asked.min(recipe).min(plc)
}
