//! Orders of people and other shells.

use super::{Cell, in_force};
use crate::event::{OrderRefusal, What};
use crate::ledger::Register;
use crate::mode::{Mode, Owner, Trip, TripReason};
use crate::plan::LoopId;
use crate::scan::{Command, Order};
use crate::slip::{Slip, slips};
use crate::unit::Ticks;

use super::state::FULL;

impl Cell {
    pub(super) fn take_order(&mut self, order: &Order) {
        let result = match order.command {
            Command::SetMode(id, mode) => self.set_mode(id, mode),
            Command::TakeManual(id) => self.take_manual(id),
            Command::Approve { proposal, expected } => {
                // Answered when the permit has looked at it again in this scan.
                match self.approve(order.id, proposal, expected) {
                    Ok(()) => return,
                    Err(refusal) => Err(refusal),
                }
            }
            Command::Deny { proposal } => self.deny(proposal),
            Command::Trip(id) => self.order_trip(id),
            Command::Reset(id) => self.reset(id),
            Command::Label(label) => self.take_label(label),
        };
        match result {
            Ok(()) => self.out.must_tell(What::OrderDone(order.id)),
            Err(refusal) => self.out.must_tell(What::OrderRefused(order.id, refusal)),
        }
    }

    fn set_mode(&mut self, id: LoopId, mode: Mode) -> Result<(), OrderRefusal> {
        let index = id.index();
        let plan = self.plan.loops.get(index).ok_or(OrderRefusal::Unknown)?;
        let read = self.read.get(plan.setpoint.index()).copied().flatten();
        let idle = self.registers.get(plan.setpoint.index()).is_some_and(Register::idle);
        let plc = self.plan.plc_of_setpoint(plan.setpoint);
        let (enabled, live) = (self.enabled(plc), self.live(plc));
        let state = self.loops.get_mut(index).ok_or(OrderRefusal::Unknown)?;
        if mode >= Mode::Advisory {
            if state.trip != Trip::Clear {
                return Err(OrderRefusal::Tripped);
            }
            if mode > plan.mode_max {
                return Err(OrderRefusal::AboveRecipe);
            }
            // Without a live link and a readable register there is nothing to take over from.
            let read = read.filter(|_| live).ok_or(OrderRefusal::Held)?;
            if state.owner != Owner::Ours {
                if !idle {
                    return Err(OrderRefusal::Held);
                }
                state.owner = Owner::Ours;
                state.effect.forget();
                if let Some(register) = self.registers.get_mut(plan.setpoint.index()) {
                    register.adopt(read.stand);
                }
            }
        }
        if mode < state.asked {
            state.proposal = None;
        }
        state.asked = mode;
        let force = in_force(mode, plan.mode_max, enabled);
        if force != state.in_force {
            state.in_force = force;
            self.out.must_tell(What::ModeInForce(id, force));
        }
        Ok(())
    }

    fn take_manual(&mut self, id: LoopId) -> Result<(), OrderRefusal> {
        self.loops.get(id.index()).ok_or(OrderRefusal::Unknown)?;
        self.yield_to_operator(id.index());
        if let Some(state) = self.loops.get_mut(id.index())
            && !slips(Slip::ManualKeepsMode)
        {
            state.asked = state.asked.min(Mode::Shadow);
        }
        Ok(())
    }

    fn approve(&mut self, order: u64, proposal: u64, expected: Ticks) -> Result<(), OrderRefusal> {
        let open = self.loops.iter().position(|l| l.proposal.is_some_and(|p| p.id == proposal));
        let index = open.ok_or(OrderRefusal::Superseded)?;
        let setpoint = self.plan.loops.get(index).map(|l| l.setpoint.index());
        let read = setpoint.and_then(|s| self.ticks.get(s).copied().flatten());
        let state = self.loops.get_mut(index).ok_or(OrderRefusal::Unknown)?;
        let open = state.proposal.ok_or(OrderRefusal::Superseded)?;
        if self.now.mono > open.expires {
            state.proposal = None;
            return Err(OrderRefusal::Expired);
        }
        if read != Some(expected) || open.from != expected {
            state.proposal = None;
            return Err(OrderRefusal::SetpointMoved);
        }
        if state.approval.is_some() {
            return Err(OrderRefusal::Superseded);
        }
        state.approval = Some(order);
        Ok(())
    }

    fn deny(&mut self, proposal: u64) -> Result<(), OrderRefusal> {
        let open = self.loops.iter_mut().find(|l| l.proposal.is_some_and(|p| p.id == proposal));
        open.ok_or(OrderRefusal::Superseded)?.proposal = None;
        Ok(())
    }

    fn order_trip(&mut self, id: LoopId) -> Result<(), OrderRefusal> {
        let state = self.loops.get(id.index()).ok_or(OrderRefusal::Unknown)?;
        if state.trip != Trip::Clear {
            return Err(OrderRefusal::Tripped);
        }
        self.trip(id.index(), TripReason::Operator);
        Ok(())
    }

    fn reset(&mut self, id: LoopId) -> Result<(), OrderRefusal> {
        let state = self.loops.get_mut(id.index()).ok_or(OrderRefusal::Unknown)?;
        if !matches!(state.trip, Trip::Latched(_)) {
            return Err(OrderRefusal::NotLatched);
        }
        state.trip = Trip::Clear;
        if !slips(Slip::ResetKeepsMode) {
            state.asked = state.asked.min(Mode::Shadow);
        }
        state.authority = FULL;
        state.effect.forget();
        if let Some(controller) = &mut state.controller {
            controller.retune();
        }
        if let Some(register) = self
            .plan
            .loops
            .get(id.index())
            .map(|l| l.setpoint.index())
            .and_then(|s| self.registers.get_mut(s))
        {
            register.forgive();
        }
        self.out.must_tell(What::Reset(id));
        Ok(())
    }
}
