//! The links to the PLCs: which stand, what a lost one takes with it, life signs.
//!
//! Each PLC has its own session, epoch, heartbeat and clock. Losing one takes the values of its
//! tags, its setpoints' registers and the authority of the loops that write them. What belongs to
//! another PLC goes on; where it rests on a lost tag, it steps down as for any value that is not
//! Good.

use alloc::vec::Vec;

use super::Cell;
use crate::event::What;
use crate::image::ProcessClock;
use crate::mode::Mode;
use crate::plan::{CHANGES_MAX, LinkPlan, LoopId, Plan, PlcId};
use crate::record::Record;
use crate::scan::{Action, Link};
use crate::tag::{Sample, Status, Value};
use crate::time::{Mono, Span, Utc};
use crate::watchdog::Watchdog;

/// One PLC.
#[derive(Debug)]
pub(super) struct PlcLink {
    /// As its shell told in this scan.
    pub(super) link: Link,
    /// The session stands and spoke lately.
    pub(super) live: bool,
    pub(super) clock: ProcessClock,
    watchdog: Watchdog,
    /// The heartbeat is echoed, or there is none.
    pub(super) heartbeat: bool,
    /// Life signs are sent: from the first loop on this PLC that acts to the end of the session.
    /// Before that nothing of ours is in the PLC; after it a pause would make the PLC fall back.
    pub(super) beating: bool,
}

impl PlcLink {
    fn new(plan: &LinkPlan) -> Self {
        Self {
            link: Link::default(),
            live: false,
            clock: ProcessClock::new(plan),
            watchdog: Watchdog::new(plan.heartbeat),
            heartbeat: false,
            beating: false,
        }
    }

    /// Age of the newest echoed beat, counted from its sending; `None` before the first.
    pub(super) fn echo_age(&self, now: Mono) -> Option<Span> {
        self.watchdog.echo_age(now)
    }

    /// The newest beat.
    #[cfg(test)]
    pub(super) const fn newest_beat(&self) -> u32 {
        self.watchdog.newest_beat()
    }

    /// What tells two links apart, see [`super::digest`].
    #[cfg(test)]
    pub(super) fn digest(&self, digest: &mut crate::properties::explore::digest::Digest) {
        let Self {
            link: Link { up, epoch: _, life },
            live,
            clock: _, // Follows the monotonic clock; the image keeps a copy.
            watchdog,
            heartbeat: _, // Made anew by each scan.
            beating,
        } = self;
        watchdog.digest(digest);
        digest.add(&(up, life, live, beating));
    }
}

pub(super) fn of(plan: &Plan) -> Vec<PlcLink> {
    plan.links.iter().map(PlcLink::new).collect()
}

/// Process time by which a stamp of a PLC's tag is ahead of the newest clock sample of that PLC.
pub(super) fn ahead(links: &[PlcLink], plc: PlcId, stamp: Utc) -> Span {
    match (links.first(), links.get(plc.index())) {
        // The leading clock tells of time in steps: the stamp may lie a whole one further on.
        (Some(lead), Some(own)) if plc != PlcId::LEAD => {
            own.clock.onto(&lead.clock, own.clock.ahead(stamp)) + lead.clock.interval()
        }
        (Some(lead), _) => lead.clock.ahead(stamp),
        _ => Span::ZERO,
    }
}

/// All PLCs of a plan.
fn plcs(plan: &Plan) -> impl Iterator<Item = PlcId> + use<> {
    let count = u16::try_from(plan.links.len()).unwrap_or(u16::MAX);
    (0..count).map(PlcId)
}

impl Cell {
    /// Whether the session of a PLC stands and spoke lately.
    pub(super) fn live(&self, plc: PlcId) -> bool {
        self.links.get(plc.index()).is_some_and(|link| link.live)
    }

    /// The PLC that a loop writes to.
    pub(super) fn plc_of_loop(&self, index: usize) -> PlcId {
        let plan = self.plan.loops.get(index);
        plan.map_or(PlcId::LEAD, |plan| self.plan.plc_of_setpoint(plan.setpoint))
    }

    /// Process time goes on while the leading PLC is away and another is not.
    pub(super) fn coast(&mut self) {
        let others = self.links.iter().skip(1).any(|link| link.live);
        if let Some(lead) = self.links.first_mut() {
            lead.clock.coast(others && !lead.live);
        }
    }

    /// New sessions, lost ones, silent ones.
    pub(super) fn follow_links(&mut self, links: &[Link]) {
        for plc in plcs(&self.plan) {
            self.follow_link(plc, links.get(plc.index()).copied().unwrap_or_default());
        }
    }

    fn follow_link(&mut self, plc: PlcId, link: Link) {
        let (Some(plan), Some(state)) =
            (self.plan.links.get(plc.index()), self.links.get_mut(plc.index()))
        else {
            return;
        };
        let was = core::mem::replace(&mut state.link, link);
        let was_live = state.live;
        let fresh = link.life.is_some_and(|at| self.now.mono - at <= plan.stale_after);
        let live = link.up && fresh;
        state.live = live;
        let lost = was.up && (!link.up || link.epoch != was.epoch);
        // Left-overs of an old session may have trickled in while the link was down.
        if lost || (link.up && !was.up) {
            self.lose_session(plc);
        }
        if live && (!was_live || lost) {
            self.out.must_tell(What::LinkUp(plc, link.epoch));
        } else if !live && was_live {
            self.out.must_tell(What::LinkDown(plc));
        }
    }

    /// Moves the clocks on, before any sample is judged by them.
    pub(super) fn follow_clocks(&mut self, samples: &[Sample]) {
        for (plc, (plan, link)) in (0_u16..).zip(self.plan.links.iter().zip(&mut self.links)) {
            let Some(tag) = plan.clock else { continue };
            for sample in samples.iter().take(CHANGES_MAX) {
                if sample.tag == tag
                    && sample.status == Status::Good
                    && let Some(ms) = sample.value.and_then(Value::as_i64)
                    && link.clock.on_clock(ms).is_some()
                {
                    self.out.event(What::ProcessClockJump(PlcId(plc)));
                }
            }
        }
        if let Some(lead) = self.links.first() {
            self.process = lead.clock.now();
        }
        self.image.begin(self.now, self.links.iter().map(|l| (&l.clock, l.link.life)));
    }

    /// Nothing of a PLC survives its session: no value, no owner, no authority. People raise the
    /// loops on it again.
    fn lose_session(&mut self, plc: PlcId) {
        self.image.forget(&self.plan, plc);
        self.features.lose(&self.plan, plc);
        self.cycles.link_lost(&self.plan, plc);
        self.due.forget(&self.plan, plc);
        if let Some(link) = self.links.get_mut(plc.index()) {
            link.clock.forget();
            link.watchdog.forget();
            link.beating = false;
        }
        for (register, limits) in self.registers.iter_mut().zip(&self.plan.setpoints) {
            if self.plan.plc_of(limits.tag) == plc
                && let Some(row) = register.link_lost()
            {
                self.out.must(Record::Ledger(row));
            }
        }
        for (index, (plan, state)) in (0_u16..).zip(self.plan.loops.iter().zip(&mut self.loops)) {
            if self.plan.plc_of_setpoint(plan.setpoint) == plc
                && let Some(reason) = state.release()
            {
                self.out.must_tell(What::Latched(LoopId(index), reason));
            }
        }
    }

    /// Takes the echoes in.
    pub(super) fn observe_heartbeats(&mut self) {
        for (plc, (plan, link)) in (0_u16..).zip(self.plan.links.iter().zip(&mut self.links)) {
            if let Some(plan) = plan.heartbeat
                && let Some(value) = self.image.good_int(&self.plan, plan.echo)
            {
                link.watchdog.echo(value);
            }
            let alive = link.watchdog.alive(self.now.mono);
            if alive != link.heartbeat && link.beating && plan.heartbeat.is_some() {
                let plc = PlcId(plc);
                let what = if alive { What::HeartbeatBack(plc) } else { What::HeartbeatLost(plc) };
                self.out.must_tell(what);
            }
            link.heartbeat = alive;
        }
    }

    /// Sends the life signs that are due.
    pub(super) fn beat(&mut self) {
        for plc in plcs(&self.plan) {
            let acts = self.plan.loops.iter().zip(&self.loops).any(|(plan, state)| {
                state.in_force >= Mode::Advisory && self.plan.plc_of_setpoint(plan.setpoint) == plc
            });
            let Some(link) = self.links.get_mut(plc.index()) else { continue };
            link.beating |= link.live && acts;
            if link.link.up
                && link.beating
                && let Some(count) = link.watchdog.beat(self.now.mono)
            {
                self.out.urgent(Action::Heartbeat(plc, count));
            }
        }
    }
}
