//! The blocks in the simulated press: one owner, two guards, called every 10 ms.
//!
//! Wired as `plc-configs/blocks/TL_Harness.st` shows it. Hold pressure ramps to its baseline when
//! the owner is lost, cool time holds.

use opcua::types::Variant;

use super::guard::{self, Guard};
use super::nodes;
use super::owner::{self, Owner};
use super::{DT_MAX_MS, Defect};
use crate::plc::{SPECS, Setpoint};

/// Time between two calls \[ms wall].
pub const CYCLE_MS: u64 = 10;
/// Speed of the return \[unit/s]: hold pressure, cool time.
pub const RAMP_RATES: [f64; 2] = [5.0, 0.5];
/// Whether the value is held when the owner is lost.
pub const HOLD_ON_LOSS: [bool; 2] = [false, true];

/// How the blocks start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeSettings {
    /// In test mode: the machine keeps its baselines.
    pub test: bool,
    /// Silence after which a controller is dead \[ms].
    pub hb_timeout_ms: u32,
    /// A planted mistake.
    pub defect: Option<Defect>,
}

impl Default for HandshakeSettings {
    fn default() -> Self {
        Self { test: false, hb_timeout_ms: 1000, defect: None }
    }
}

/// Switches of the PLC program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockCommand {
    /// Test mode on or off.
    Test(bool),
    /// Remote (`true`) or local.
    Remote(bool),
    /// Whether requests may be applied now.
    ApplyEn(bool),
}

/// A request that was answered in a cycle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answered {
    /// Which setpoint.
    pub setpoint: Setpoint,
    /// Value asked for.
    pub asked: f64,
    /// Value given out before.
    pub before: f64,
    /// Value given out after; `None` when refused.
    pub after: Option<f64>,
}

/// Owner, guards, mailboxes and switches.
#[derive(Debug, Clone)]
pub struct BlockCell {
    owner: Owner,
    guards: [Guard; 2],
    pub(super) owner_in: owner::Inputs,
    pub(super) guard_in: [guard::Inputs; 2],
    called_ms: Option<u64>,
    told: Vec<Variant>,
}

impl BlockCell {
    /// Blocks before their first call.
    #[must_use]
    pub fn new(settings: HandshakeSettings) -> Self {
        let guard_in = Setpoint::ALL.map(|setpoint| {
            let k = setpoint.index();
            guard::Inputs {
                remote: true,
                v_min: SPECS[k].min,
                v_max: SPECS[k].max,
                max_step: SPECS[k].step,
                hold_on_loss: HOLD_ON_LOSS[k],
                ramp_rate: RAMP_RATES[k],
                test: settings.test,
                ..guard::Inputs::default()
            }
        });
        Self {
            owner: Owner::new(settings.defect),
            guards: [Guard::new(settings.defect), Guard::new(settings.defect)],
            owner_in: owner::Inputs {
                hb_timeout_ms: settings.hb_timeout_ms,
                ..owner::Inputs::default()
            },
            guard_in,
            called_ms: None,
            told: Vec::new(),
        }
    }

    /// Calls the blocks if a cycle has passed. `bases` are the recipe values of the product.
    ///
    /// Returns what was answered in this call, or `None` when it was not yet time.
    pub fn call(
        &mut self,
        now_ms: u64,
        bases: [f64; 2],
        enable: bool,
    ) -> Option<[Option<Answered>; 2]> {
        let dt = match self.called_ms {
            None => CYCLE_MS,
            Some(called) => now_ms.saturating_sub(called),
        };
        if dt < CYCLE_MS {
            return None;
        }
        self.called_ms = Some(now_ms);
        let dt_ms = u32::try_from(dt).unwrap_or(DT_MAX_MS);
        self.owner_in.dt_ms = dt_ms;
        let owner = self.owner.step(&self.owner_in);
        let mut answered = [None; 2];
        for setpoint in Setpoint::ALL {
            let k = setpoint.index();
            let before = *self.guards[k].outputs();
            let input = &mut self.guard_in[k];
            input.dt_ms = dt_ms;
            input.enable = enable;
            input.v_base = bases[k];
            if self.guards[k].outputs().clock_ms == 0 {
                input.v_int = bases[k];
            }
            input.owner_alive = owner.owner_alive;
            input.epoch_now = owner.epoch_now;
            input.owner_end = owner.end_reason;
            let after = self.guards[k].step(input);
            if after.ack_seq != before.ack_seq {
                let taken =
                    (guard::code::ACCEPTED..guard::code::SEQUENCE).contains(&after.ack_code);
                answered[k] = Some(Answered {
                    setpoint,
                    asked: input.mailbox.v_ext,
                    before: before.v_out,
                    after: taken.then_some(after.v_out),
                });
            }
        }
        Some(answered)
    }

    /// Values for the machine: what the guards give out, or the baselines in test mode.
    #[must_use]
    pub fn values(&self) -> [f64; 2] {
        Setpoint::ALL.map(|setpoint| {
            let k = setpoint.index();
            let input = &self.guard_in[k];
            if input.test { input.v_base } else { self.guards[k].outputs().v_out }
        })
    }

    /// Whether a guard lost its controller and none has come back.
    #[must_use]
    pub fn tripped(&self) -> bool {
        self.guards.iter().any(|guard| guard.outputs().trip_reason != guard::trip::NONE)
    }

    /// Turns a switch.
    pub fn command(&mut self, command: BlockCommand) {
        for input in &mut self.guard_in {
            match command {
                BlockCommand::Test(on) => input.test = on,
                BlockCommand::Remote(on) => input.remote = on,
                BlockCommand::ApplyEn(on) => input.apply_en = on,
            }
        }
    }

    /// The operator's value at the panel, given out in local.
    pub fn operator_sets(&mut self, setpoint: Setpoint, value: f64) {
        self.guard_in[setpoint.index()].v_int = value;
    }

    /// What the owner block told.
    #[must_use]
    pub fn owner(&self) -> &owner::Outputs {
        self.owner.outputs()
    }

    /// What a guard told.
    #[must_use]
    pub fn guard(&self, setpoint: Setpoint) -> &guard::Outputs {
        self.guards[setpoint.index()].outputs()
    }

    /// Members that changed since the last question, by position; `feedback` is what the machine
    /// uses.
    pub fn take_changes(&mut self, feedback: [f64; 2]) -> Vec<(usize, Variant)> {
        let all = nodes::values(self, feedback);
        let old = std::mem::replace(&mut self.told, all.clone());
        let changed = |(at, value): &(usize, Variant)| old.get(*at) != Some(value);
        (0..).zip(all).filter(changed).collect()
    }

    /// Whether a guard is in test mode: then nothing that happens here reaches the machine.
    #[must_use]
    pub fn in_test(&self) -> bool {
        self.guard_in.iter().any(|input| input.test)
    }

    pub(super) fn note_heartbeat(&mut self, slot: usize) {
        self.owner.note_write(slot);
    }
}
