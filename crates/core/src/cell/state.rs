//! State of one loop.

use crate::control::RunToRun;
use crate::effect::Effect;
use crate::guard::{Cut, Intent, Reason};
use crate::mode::{Mode, Owner, Rung, Trip, TripReason};
use crate::plan::{Controller, LoopPlan};
use crate::scan::Proposal;
use crate::slip::{Slip, slips};
use crate::unit::Ticks;

/// Full authority [1/1000].
pub(super) const FULL: i64 = 1000;

/// What a loop is doing, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoopStatus {
    /// Mode asked for.
    pub asked: Mode,
    /// Mode in force.
    pub in_force: Mode,
    /// Who moves the setpoint.
    pub owner: Owner,
    /// Trip state.
    pub trip: Trip,
    /// Place on the fallback ladder.
    pub rung: Rung,
    /// Register as read back.
    pub read_back: Option<Ticks>,
    /// What the controller last wanted [setpoint unit].
    pub desired: Option<f64>,
    /// What the limits left of it.
    pub limited: Option<Ticks>,
    /// First reason of the last hold; `None` after a write.
    pub held: Option<Reason>,
    /// Share of the trim limit in use [%].
    pub authority_used: f64,
    /// Share of step and trim allowed [1/1000].
    pub authority_permille: i64,
    /// A proposal that waits for a person.
    pub open_proposal: Option<Proposal>,
    /// Writes confirmed since the start.
    pub writes: u64,
    /// Number of the newest write of its setpoint; `None` before the first.
    pub last_write: Option<u64>,
}

/// Labels still to come before a confirmed move is called proven or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// First part made under the move.
    pub(super) from_part: u64,
    /// Labels (or parts, for a loop without labels) still to come.
    pub(super) left: u32,
}

/// What a decision came to, as far as a new explanation depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Move,
    Would(Option<Ticks>),
    Ask(Option<Ticks>),
    Hold(Reason),
    Trip,
}

#[derive(Debug)]
pub(super) struct LoopState {
    pub(super) asked: Mode,
    pub(super) in_force: Mode,
    pub(super) owner: Owner,
    pub(super) trip: Trip,
    pub(super) rung: Rung,
    /// Parts in a row that would allow a higher rung.
    pub(super) better: u32,
    /// Parts in a row on rung RETURN.
    pub(super) fallen: u32,
    pub(super) controller: Option<RunToRun>,
    pub(super) effect: Effect,
    pub(super) authority: i64,
    /// Parts since the last label; `None` before the first.
    pub(super) unlabelled: Option<u32>,
    /// Part number before which the last move has not settled.
    pub(super) settled_at: u64,
    pub(super) watch: Option<Watch>,
    pub(super) desired: Option<f64>,
    pub(super) limited: Option<Ticks>,
    pub(super) cut: Cut,
    pub(super) held: Option<Reason>,
    /// Hold reason of the ramp as last recorded.
    pub(super) ramp_held: Option<Reason>,
    pub(super) proposal: Option<Proposal>,
    /// List of checks that the open proposal was made under; an approval changes nothing in it.
    pub(super) proposal_intent: Intent,
    /// That of the newest wish.
    pub(super) asking_intent: Intent,
    /// Audit id of an order that approves the open proposal in this scan.
    pub(super) approval: Option<u64>,
    pub(super) writes: u64,
    /// What the last explained decision came to.
    pub(super) told: Option<Told>,
    /// A finding of effect verification that trips at the end of this scan.
    pub(super) pending_trip: Option<TripReason>,
    /// Parts after a confirmed move that it needs to settle.
    settle: u64,
    /// Labels that judge a move.
    judged_by: u32,
}

impl LoopState {
    pub(super) fn new(of: &LoopPlan) -> Self {
        let controller = match &of.controller {
            Controller::RunToRun(plan) => Some(RunToRun::new(plan)),
            Controller::Rules(_) => None,
        };
        Self {
            asked: Mode::Shadow.min(of.mode_max),
            in_force: Mode::Shadow.min(of.mode_max),
            owner: Owner::Unknown,
            trip: Trip::Clear,
            rung: Rung::Released,
            better: 0,
            fallen: 0,
            controller,
            effect: Effect::new(),
            authority: FULL,
            unlabelled: None,
            settled_at: 0,
            watch: None,
            desired: None,
            limited: None,
            cut: Cut::Nothing,
            held: None,
            ramp_held: None,
            proposal: None,
            proposal_intent: Intent::Score,
            asking_intent: Intent::Score,
            approval: None,
            writes: 0,
            told: None,
            pending_trip: None,
            settle: u64::from(of.settle),
            judged_by: u32::from(of.effect.labels),
        }
    }

    /// A session ended: SHADOW at most, and nobody owns the setpoint until a person says so.
    /// Tells the reason of a trip that latches by it.
    pub(super) fn release(&mut self) -> Option<TripReason> {
        if !slips(Slip::SessionKeepsMode) {
            self.asked = self.asked.min(Mode::Shadow);
        }
        self.owner = Owner::Unknown;
        self.rung = Rung::Released;
        self.better = 0;
        self.proposal = None;
        self.watch = None;
        self.stop_ramp()
    }

    /// A person moved the setpoint, or took the loop.
    /// Tells the reason of a trip that latches by it.
    pub(super) fn yield_to_operator(&mut self) -> Option<TripReason> {
        self.owner = Owner::Operator;
        self.asked = self.asked.min(Mode::Advisory);
        self.proposal = None;
        self.watch = None;
        self.effect.forget();
        self.stop_ramp()
    }

    fn stop_ramp(&mut self) -> Option<TripReason> {
        let Trip::Returning(reason) = self.trip else { return None };
        self.trip = Trip::Latched(reason);
        Some(reason)
    }

    /// A move is in the register; `part`: number of the newest finished part.
    pub(super) fn confirmed(&mut self, part: u64) {
        self.writes += 1;
        // The part being made now saw both values; settling starts with the next one.
        self.settled_at = part + 1 + self.settle;
        self.watch = Some(Watch { from_part: part + 2, left: self.judged_by });
    }

    /// What tells two loops apart, see [`super::digest`].
    #[cfg(test)]
    pub(super) fn digest(
        &self,
        now: crate::time::Mono,
        digest: &mut crate::properties::explore::digest::Digest,
    ) {
        let Self {
            asked,
            in_force,
            owner,
            trip,
            rung,
            better,
            fallen,
            controller,
            effect: _, // Nobody labels.
            authority,
            unlabelled,
            settled_at,
            watch,
            desired,
            limited,
            cut,
            held,
            ramp_held,
            proposal,
            proposal_intent,
            asking_intent,
            approval,
            writes: _,
            pending_trip,
            settle: _,
            judged_by: _,
            told: _, // What was told last, for people.
        } = self;
        digest.add(&(asked, in_force, owner, trip, rung, authority, unlabelled));
        digest.few(*better);
        digest.few(*fallen);
        digest.add(controller);
        digest.part(*settled_at);
        if let Some(watch) = watch {
            digest.part(watch.from_part);
            digest.add(&watch.left);
        }
        digest.add(&(desired, limited, cut, held, ramp_held));
        // Only whether it is still open counts: see `explore::plant` for how it runs out.
        digest.add(&proposal.map(|p| (p.from, p.to, p.expires < now)));
        digest.add(&(proposal_intent, asking_intent, approval, pending_trip));
    }
}
