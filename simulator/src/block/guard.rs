//! `TL_Guard`: one per setpoint. The PLC's own limits around what a controller asks for.

use super::{BIG, CLOCK_WRAP_MS, DT_MAX_MS, Defect, HALF};

/// What became of a request (`AckCode`).
pub mod code {
    /// Nothing judged since the start.
    pub const NONE: u16 = 0;
    /// Taken as asked.
    pub const ACCEPTED: u16 = 1;
    /// Taken at `VMin` or `VMax`.
    pub const CLAMPED: u16 = 2;
    /// Taken as far as `MaxStep` allows.
    pub const STEPPED: u16 = 3;
    /// Both.
    pub const CLAMPED_STEPPED: u16 = 4;
    /// Refused: the sequence number is not ahead.
    pub const SEQUENCE: u16 = 10;
    /// Refused: older than its `TtlMs`, or from the future.
    pub const STALE: u16 = 11;
    /// Refused: `TtlMs` is 0 or above `TtlMaxMs`.
    pub const TTL: u16 = 12;
    /// Refused: not the epoch of the owner.
    pub const EPOCH: u16 = 13;
    /// Refused: not finite.
    pub const VALUE: u16 = 14;
    /// Refused: `Enable` is FALSE.
    pub const DISABLED: u16 = 15;
    /// Refused: in local.
    pub const LOCAL: u16 = 16;
    /// Refused: no living owner.
    pub const NO_OWNER: u16 = 17;
    /// Refused: the block's settings make no sense.
    pub const CONFIG: u16 = 18;
    /// Refused: baseline or test mode changed while it waited.
    pub const CHANGED: u16 = 19;
}

/// Why the controller lost the setpoint (`TripReason`).
pub mod trip {
    /// It did not.
    pub const NONE: u16 = 0;
    /// The owner's heartbeat stopped.
    pub const HEARTBEAT: u16 = 1;
    /// The owner left, or another took over.
    pub const OWNER: u16 = 2;
    /// The block's settings make no sense.
    pub const CONFIG: u16 = 3;
}

/// Values of `TestForce`.
pub mod force {
    /// As if `Enable` were FALSE.
    pub const DISABLED: u16 = 1;
    /// As if in local.
    pub const LOCAL: u16 = 2;
    /// As if `ApplyEn` were FALSE.
    pub const NOT_NOW: u16 = 3;
}

/// What the controller writes. Values first, [`Mailbox::seq`] last.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mailbox {
    /// Value asked for, in the setpoint's unit.
    pub v_ext: f64,
    /// How long the request may be carried out, from `stamp` on \[ms].
    pub ttl_ms: u32,
    /// Epoch that the owner was granted.
    pub epoch: u32,
    /// Number of the model, for the record.
    pub model_id: u32,
    /// `ClockMs` as the controller read it when it decided \[ms].
    pub stamp: u32,
    /// Sequence number; its change is the request.
    pub seq: u32,
    /// See [`force`]; obeyed in test mode only.
    pub test_force: u16,
}

/// What the PLC program gives at each call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inputs {
    /// Time since the last call by the PLC's own clock \[ms].
    pub dt_ms: u32,
    /// Release: FALSE refuses, and moves nothing.
    pub enable: bool,
    /// Whether a request may be applied in this call; otherwise it waits.
    pub apply_en: bool,
    /// TRUE: remote. FALSE: `v_int` is given out.
    pub remote: bool,
    /// Least value.
    pub v_min: f64,
    /// Greatest value.
    pub v_max: f64,
    /// Largest move of one request.
    pub max_step: f64,
    /// The PLC's own baseline.
    pub v_base: f64,
    /// The operator's value, given out in local.
    pub v_int: f64,
    /// TRUE: keep the value when the owner is lost. FALSE: ramp to the baseline.
    pub hold_on_loss: bool,
    /// Speed of that ramp \[unit/s].
    pub ramp_rate: f64,
    /// Largest `TtlMs` taken \[ms].
    pub ttl_max_ms: u32,
    /// Test mode: the PLC program keeps `v_out` away from the machine.
    pub test: bool,
    /// From `TL_Owner`.
    pub owner_alive: bool,
    /// From `TL_Owner`.
    pub epoch_now: u32,
    /// `EndReason` of `TL_Owner`.
    pub owner_end: u16,
    /// What the controller wrote.
    pub mailbox: Mailbox,
}

impl Default for Inputs {
    /// The initial values of the Structured Text.
    fn default() -> Self {
        Self {
            dt_ms: 0,
            enable: false,
            apply_en: true,
            remote: false,
            v_min: 0.0,
            v_max: 0.0,
            max_step: 0.0,
            v_base: 0.0,
            v_int: 0.0,
            hold_on_loss: false,
            ramp_rate: 0.0,
            ttl_max_ms: 10_000,
            test: false,
            owner_alive: false,
            epoch_now: 0,
            owner_end: 0,
            mailbox: Mailbox::default(),
        }
    }
}

/// What the block tells.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outputs {
    /// Sequence number judged last.
    pub ack_seq: u32,
    /// What became of it; see [`code`].
    pub ack_code: u16,
    /// Highest sequence number used up: the next request takes a higher one.
    pub last_seq: u32,
    /// Value asked for by whoever governs.
    pub v_req: f64,
    /// Value given to the process.
    pub v_out: f64,
    /// A request waits for `ApplyEn`.
    pub pending: bool,
    /// The value in force is the controller's.
    pub active: bool,
    /// On the way to the baseline.
    pub returning: bool,
    /// See [`trip`]; until the next accepted request.
    pub trip_reason: u16,
    /// Model of the value in force; 0 when it is not a controller's.
    pub model_in_force: u32,
    /// The block's clock, 0 to 1,999,999,999 \[ms].
    pub clock_ms: u32,
    /// Counts calls.
    pub heartbeat_out: u32,
}

/// The block with what it remembers.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    out: Outputs,
    called: bool,
    started: bool,
    seq_seen: u32,
    base_seen: f64,
    test_seen: bool,
    epoch_held: u32,
    waiting: Mailbox,
    defect: Option<Defect>,
}

fn finite(value: f64) -> bool {
    (-BIG..=BIG).contains(&value)
}

/// Whether `seq` comes after `last`, where the numbers wrap.
fn ahead(seq: u32, last: u32) -> bool {
    (seq > last && seq - last < HALF) || (seq < last && last - seq > HALF)
}

fn settings_fit(i: &Inputs) -> bool {
    i.v_min >= -BIG
        && i.v_min < i.v_max
        && i.v_max <= BIG
        && i.v_base >= i.v_min
        && i.v_base <= i.v_max
        && i.max_step > 0.0
        && i.max_step <= BIG
        && i.ramp_rate > 0.0
        && i.ramp_rate <= BIG
        && i.ttl_max_ms > 0
        && i.ttl_max_ms <= DT_MAX_MS
}

impl Guard {
    /// A block before its first call, with a planted mistake or none.
    #[must_use]
    pub fn new(defect: Option<Defect>) -> Self {
        Self { defect, ..Self::default() }
    }

    /// What the block told at its last call.
    #[must_use]
    pub fn outputs(&self) -> &Outputs {
        &self.out
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// One call.
    pub fn step(&mut self, i: &Inputs) -> Outputs {
        // R1: time.
        let dt = i.dt_ms.min(DT_MAX_MS);
        self.out.clock_ms += dt;
        if self.out.clock_ms >= CLOCK_WRAP_MS {
            self.out.clock_ms -= CLOCK_WRAP_MS;
        }
        self.out.heartbeat_out = self.out.heartbeat_out.wrapping_add(1);
        // R2: switches, which the conformance test may turn in test mode.
        let forced = if i.test { i.mailbox.test_force } else { 0 };
        let enable = i.enable && forced != force::DISABLED;
        let remote = i.remote && forced != force::LOCAL;
        let apply = i.apply_en && forced != force::NOT_NOW;
        // R3: settings.
        let fits = settings_fit(i);
        // R4: start, new baseline, test mode.
        if !self.called {
            self.called = true;
            self.seq_seen = i.mailbox.seq;
            self.out.last_seq = i.mailbox.seq;
        }
        if fits {
            self.begin_anew(i);
        }
        // R5: loss of the owner, or of the settings.
        self.lose(i, fits);
        // R6: a new request?
        self.receive(&i.mailbox);
        // R7: may it be carried out?
        if self.out.pending {
            self.judge(i, fits, enable, remote, apply);
        }
        // R8: local, return, limits.
        if fits {
            self.give_out(i, remote, dt);
        }
        self.out
    }

    fn begin_anew(&mut self, i: &Inputs) {
        let same_base = self.base_seen.total_cmp(&i.v_base).is_eq();
        if self.started && same_base && self.test_seen == i.test {
            return;
        }
        if self.out.pending {
            self.answer(code::CHANGED);
        }
        self.started = true;
        self.base_seen = i.v_base;
        self.test_seen = i.test;
        self.out.v_out = i.v_base;
        self.out.v_req = i.v_base;
        self.out.active = false;
        self.out.returning = false;
        self.out.model_in_force = 0;
        self.out.trip_reason = trip::NONE;
    }

    fn lose(&mut self, i: &Inputs, fits: bool) {
        let other_epoch = i.epoch_now != self.epoch_held && !self.has(Defect::EpochIgnored);
        let lost = self.out.active && (!i.owner_alive || other_epoch);
        if !fits {
            self.out.trip_reason = trip::CONFIG;
        } else if lost {
            let silent = !i.owner_alive && i.owner_end == trip::HEARTBEAT;
            self.out.trip_reason = if silent { trip::HEARTBEAT } else { trip::OWNER };
        }
        if self.out.active && (lost || !fits) {
            self.out.active = false;
            self.out.model_in_force = 0;
            let hold = i.hold_on_loss || self.has(Defect::HoldsInsteadOfRamp);
            self.out.returning = !hold;
        }
    }

    fn receive(&mut self, mailbox: &Mailbox) {
        if mailbox.seq == self.seq_seen {
            return;
        }
        self.seq_seen = mailbox.seq;
        if ahead(mailbox.seq, self.out.last_seq) || self.has(Defect::OldSeqAccepted) {
            self.out.last_seq = mailbox.seq;
            self.waiting = *mailbox;
            self.out.pending = true;
        } else {
            self.out.ack_seq = mailbox.seq;
            self.out.ack_code = code::SEQUENCE;
        }
    }

    fn answer(&mut self, code: u16) {
        self.out.ack_seq = self.waiting.seq;
        self.out.ack_code = code;
        self.out.pending = false;
    }

    /// Whether the waiting request is older than its time to live, by the block's clock.
    fn stale(&self) -> bool {
        let (now, stamp) = (self.out.clock_ms, self.waiting.stamp);
        if stamp >= CLOCK_WRAP_MS {
            return true;
        }
        // A stamp from the future is almost a whole round old.
        let age = if now >= stamp { now - stamp } else { now + (CLOCK_WRAP_MS - stamp) };
        age > self.waiting.ttl_ms
    }

    fn judge(&mut self, i: &Inputs, fits: bool, enable: bool, remote: bool, apply: bool) {
        let w = self.waiting;
        let ttl_counts = !self.has(Defect::TtlIgnored);
        let keeps = self.has(Defect::QueuesOverLoss);
        let refusal = if ttl_counts && (w.ttl_ms == 0 || w.ttl_ms > i.ttl_max_ms) {
            code::TTL
        } else if ttl_counts && self.stale() && !keeps {
            code::STALE
        } else if !i.owner_alive {
            if keeps {
                return;
            }
            code::NO_OWNER
        } else if w.epoch != i.epoch_now && !self.has(Defect::EpochIgnored) && !keeps {
            code::EPOCH
        } else if !finite(w.v_ext) && !self.has(Defect::NanAccepted) {
            code::VALUE
        } else if !fits {
            code::CONFIG
        } else if !enable && !self.has(Defect::DisableIgnored) {
            code::DISABLED
        } else if !remote && !self.has(Defect::LocalIgnored) {
            code::LOCAL
        } else if apply {
            self.apply(i);
            return;
        } else {
            if self.has(Defect::AckBeforeApply) {
                self.out.ack_seq = w.seq;
                self.out.ack_code = code::ACCEPTED;
            }
            return;
        };
        self.answer(refusal);
    }

    fn apply(&mut self, i: &Inputs) {
        let mut value = self.waiting.v_ext;
        let (mut clamped, mut stepped) = (false, false);
        if value > i.v_max && !self.has(Defect::NoUpperLimit) {
            value = i.v_max;
            clamped = true;
        } else if value < i.v_min && !self.has(Defect::NoLowerLimit) {
            value = i.v_min;
            clamped = true;
        }
        if self.has(Defect::NoStep) {
        } else if value > self.out.v_out + i.max_step {
            value = self.out.v_out + i.max_step;
            stepped = true;
        } else if value < self.out.v_out - i.max_step {
            value = self.out.v_out - i.max_step;
            stepped = true;
        }
        self.out.v_req = self.waiting.v_ext;
        self.out.v_out = value;
        self.out.active = true;
        self.out.returning = false;
        self.out.model_in_force = self.waiting.model_id;
        self.out.trip_reason = trip::NONE;
        self.epoch_held = i.epoch_now;
        self.answer(match (clamped, stepped) {
            (false, false) => code::ACCEPTED,
            (true, false) => code::CLAMPED,
            (false, true) => code::STEPPED,
            (true, true) => code::CLAMPED_STEPPED,
        });
    }

    fn give_out(&mut self, i: &Inputs, remote: bool, dt: u32) {
        let out = &mut self.out;
        let local = !remote && self.defect != Some(Defect::LocalIgnored);
        if local {
            out.active = false;
            out.returning = false;
            out.model_in_force = 0;
            if finite(i.v_int) {
                out.v_req = i.v_int;
                out.v_out = i.v_int;
            }
        } else if out.returning {
            out.v_req = i.v_base;
            let jump = self.defect == Some(Defect::RampJumps);
            let step = if jump { BIG } else { i.ramp_rate * f64::from(dt) / 1000.0 };
            if out.v_out > i.v_base + step {
                out.v_out -= step;
            } else if out.v_out < i.v_base - step {
                out.v_out += step;
            } else {
                out.v_out = i.v_base;
                out.returning = false;
            }
        }
        if out.v_out > i.v_max && self.defect != Some(Defect::NoUpperLimit) {
            out.v_out = i.v_max;
        }
        if out.v_out < i.v_min && self.defect != Some(Defect::NoLowerLimit) {
            out.v_out = i.v_min;
        }
    }
}
