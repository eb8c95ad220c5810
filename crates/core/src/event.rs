//! Coded events: what people and the audit trail are told.

use crate::drift::{Drift, DriftCheck};
use crate::mode::{Mode, Rung, TripReason};
use crate::plan::{CharacteristicId, InterlockId, LoopId, ModelId, PlcId, SetpointId, SignatureId};
use crate::tag::{Quality, TagId};
use crate::time::{Now, Process};
use crate::unit::Ticks;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Scan clock.
    pub at: Now,
    /// Process time.
    pub process: Process,
    /// Number of the part being made; 0 before the first.
    pub part: i64,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// The link to a PLC came up; the number is its epoch.
    LinkUp(PlcId, u64),
    /// The link to a PLC went down or silent.
    LinkDown(PlcId),
    /// A PLC stopped echoing our heartbeat.
    HeartbeatLost(PlcId),
    /// It echoes again.
    HeartbeatBack(PlcId),
    /// A tag changed quality.
    TagQuality(TagId, Quality),
    /// A fast change was believed after three agreeing samples.
    StepAccepted(TagId),
    /// Server and service clocks differ too much.
    ClockSkew(TagId),
    /// A PLC's clock jumped; where it leads, process time stood still meanwhile.
    ProcessClockJump(PlcId),
    /// Our monotonic clock ran backwards.
    MonotonicBackwards,
    /// A signature came on (`true`) or went off.
    Signature(SignatureId, bool),
    /// A model left (`false`) or re-entered its validity domain.
    Domain(ModelId, bool),
    /// A chart or monitor is over (`true`) or back under its limit.
    Alarm(ModelId, bool),
    /// An interlock opened (`false`) or closed.
    Interlock(InterlockId, bool),
    /// A binding broke (`false`) or holds again; index into the plan's bindings.
    Binding(u16, bool),
    /// The mode in force changed.
    ModeInForce(LoopId, Mode),
    /// An order was carried out; the number is its audit id.
    OrderDone(u64),
    /// An order was refused.
    OrderRefused(u64, OrderRefusal),
    /// The rung changed.
    Rung(LoopId, Rung),
    /// A setpoint was found changed by somebody else, and adopted.
    ExternalChange(SetpointId, Ticks),
    /// A loop tripped.
    Tripped(LoopId, TripReason),
    /// A tripped loop reached its baseline and latched.
    Latched(LoopId, TripReason),
    /// A trip was reset.
    Reset(LoopId),
    /// The moves did not help; authority was halved.
    EffectMissing(LoopId),
    /// The loop oscillates; its gain was halved.
    Oscillating(LoopId),
    /// The loop has stood at a limit for too long.
    Saturated(LoopId),
    /// Share of the trim limit in use crossed a step upwards [%].
    AuthorityUsed(LoopId, u8),
    /// The PLC refused a write, with this OPC UA status.
    WriteRefused(SetpointId, u32),
    /// A write got no answer; it is read back before anything else.
    WriteUnknown(SetpointId),
    /// A label named a part that is not (or no longer) known.
    LabelUnmatched(CharacteristicId, i64),
    /// A label was out of its range, or not a number.
    LabelRefused(CharacteristicId, i64),
    /// Samples beyond the bound of one scan were left for the next.
    Overrun(u32),
    /// A model drifts, by this check.
    Drift(ModelId, Drift),
    /// That check no longer says so.
    DriftOver(ModelId, DriftCheck),
    /// A loop was lowered to SHADOW because a model that it rests on drifts.
    Demoted(LoopId, ModelId),
    /// What a model says reaches its limit within the horizon, in so many parts.
    LimitNear(ModelId, f64),
    /// It no longer does.
    LimitFar(ModelId),
}

/// Why an order was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderRefusal {
    /// No such loop, proposal or characteristic.
    Unknown,
    /// The loop is tripped: reset first.
    Tripped,
    /// Above what the recipe allows.
    AboveRecipe,
    /// The proposal is not the newest, or was decided.
    Superseded,
    /// The proposal ran out.
    Expired,
    /// The setpoint no longer stands where the approver saw it.
    SetpointMoved,
    /// The permit holds it now.
    Held,
    /// There is nothing to reset, or the trip is still returning.
    NotLatched,
}

impl OrderRefusal {
    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Tripped => "tripped",
            Self::AboveRecipe => "above_recipe",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::SetpointMoved => "setpoint_moved",
            Self::Held => "held",
            Self::NotLatched => "not_latched",
        }
    }
}
