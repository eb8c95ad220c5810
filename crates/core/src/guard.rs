//! The guard: the permit that every move passes, and the only maker of an [`ApprovedWrite`].
//!
//! [`permit`] is pure and total. It works on whole ticks; the first check that fails decides, all
//! that failed are kept as a bit set. The checks and their order are those of [`Reason`].
//!
//! Terms: *desired* what the controller wants; *limited* what the limits leave of it; *cut* the
//! last limit that took something away.
//!
//! No other code can make an approved write:
//!
//! ```compile_fail
//! // The fields are private (E0451).
//! let w = trimloop_core::guard::ApprovedWrite { seq: 1, epoch: 1 };
//! ```
//!
//! ```compile_fail
//! // Nor can one be sent twice: it is not `Clone`.
//! fn twice(w: trimloop_core::guard::ApprovedWrite) {
//!     let again = w.clone();
//! }
//! ```
//!
//! Reading one is what everybody may:
//!
//! ```
//! fn once(w: trimloop_core::guard::ApprovedWrite) -> f64 {
//!     w.value()
//! }
//! ```

mod rows;

use crate::mode::{Mode, Trip, TripReason};
use crate::plan::{Plan, PlcId, Rate, SetpointId, SetpointPlan};
use crate::tag::TagId;
use crate::time::{Mono, Span};
use crate::unit::{Stand, Ticks};

pub(crate) use rows::room as row_room;

/// One permitted move of one setpoint. Made here and nowhere else, carried out once.
#[derive(Debug, PartialEq)]
pub struct ApprovedWrite {
    seq: u64,
    plc: PlcId,
    epoch: u64,
    setpoint: SetpointId,
    tag: TagId,
    from: Ticks,
    to: Ticks,
    value: f64,
    issued: Mono,
    ttl: Span,
}

impl ApprovedWrite {
    /// Number of this write; grows by one.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// PLC it goes to, and no other.
    pub const fn plc(&self) -> PlcId {
        self.plc
    }

    /// Session of that PLC it belongs to; dead in any other.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Which setpoint.
    pub const fn setpoint(&self) -> SetpointId {
        self.setpoint
    }

    /// Tag to write and read back.
    pub const fn tag(&self) -> TagId {
        self.tag
    }

    /// Where the register stood.
    pub const fn from(&self) -> Ticks {
        self.from
    }

    /// Where it goes.
    pub const fn to(&self) -> Ticks {
        self.to
    }

    /// The number for the wire [setpoint unit].
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// Link time of its making.
    pub const fn issued(&self) -> Mono {
        self.issued
    }

    /// Age at which it must no longer be sent.
    pub const fn ttl(&self) -> Span {
        self.ttl
    }
}

/// Why nothing is written, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// 1: this scan came more than three periods after the last.
    ClockLate,
    /// 2: tripped.
    Tripped,
    /// 3: the mode in force forbids it.
    Mode,
    /// 3: the PLC does not enable us.
    NotEnabled,
    /// 3: the operator, or nobody known, owns the setpoint.
    NotOwner,
    /// 4: the link to the setpoint's PLC is down or silent.
    LinkDown,
    /// 4: the PLC does not echo our heartbeat.
    Heartbeat,
    /// 4: bound to another product, recipe or machine state, or the machine does not run.
    NotBound,
    /// 4: start-up, warm-up or just after a change.
    WarmUp,
    /// 5: an input is bad, stale, suspect or not covered.
    Input,
    /// 6: an interlock is open or unknown.
    Interlock,
    /// 7: the setpoint's own read-back is missing, stale or not on its grid.
    ReadBack,
    /// 7: somebody else changed the setpoint.
    ExternalChange,
    /// 8: the model is out of its domain, or its score unknown.
    Domain,
    /// 9: the proposal is not a finite number.
    NotFinite,
    /// 10: the setpoint stands outside its limits.
    OutsideLimits,
    /// 11: the rate limit leaves nothing.
    Rate,
    /// 12: not worth a write.
    Deadband,
    /// 13: too soon after the last write, or the last move has not settled.
    Dwell,
    /// 14: no writes left in the window.
    Budget,
    /// 15: a joint limit.
    JointLimit,
    /// 16: the approval is missing or too old.
    Approval,
    /// 17: the last write is not read back yet.
    Pending,
    /// No controller has anything to say yet.
    NoProposal,
}

impl Reason {
    /// All reasons, in the order of the checks.
    pub const ALL: [Self; 24] = [
        Self::ClockLate,
        Self::Tripped,
        Self::Mode,
        Self::NotEnabled,
        Self::NotOwner,
        Self::LinkDown,
        Self::Heartbeat,
        Self::NotBound,
        Self::WarmUp,
        Self::Input,
        Self::Interlock,
        Self::ReadBack,
        Self::ExternalChange,
        Self::Domain,
        Self::NotFinite,
        Self::OutsideLimits,
        Self::Rate,
        Self::Deadband,
        Self::Dwell,
        Self::Budget,
        Self::JointLimit,
        Self::Approval,
        Self::Pending,
        Self::NoProposal,
    ];

    /// Stable `snake_case` word for records, pages and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClockLate => "clock_late",
            Self::Tripped => "tripped",
            Self::Mode => "mode",
            Self::NotEnabled => "not_enabled",
            Self::NotOwner => "not_owner",
            Self::LinkDown => "link_down",
            Self::Heartbeat => "heartbeat",
            Self::NotBound => "not_bound",
            Self::WarmUp => "warm_up",
            Self::Input => "input",
            Self::Interlock => "interlock",
            Self::ReadBack => "read_back",
            Self::ExternalChange => "external_change",
            Self::Domain => "domain",
            Self::NotFinite => "not_finite",
            Self::OutsideLimits => "outside_limits",
            Self::Rate => "rate",
            Self::Deadband => "deadband",
            Self::Dwell => "dwell",
            Self::Budget => "budget",
            Self::JointLimit => "joint_limit",
            Self::Approval => "approval",
            Self::Pending => "pending",
            Self::NoProposal => "no_proposal",
        }
    }

    const fn bit(self) -> u32 {
        1 << (self as u8)
    }
}

/// The set of checks that failed in one decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FailedChecks(u32);

impl FailedChecks {
    /// None failed.
    pub const NONE: Self = Self(0);

    /// As stored: bit `i` is `Reason::ALL[i]`.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From its stored form.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether this one failed.
    pub const fn contains(self, reason: Reason) -> bool {
        self.0 & reason.bit() != 0
    }

    /// Adds one.
    pub const fn insert(&mut self, reason: Reason) {
        self.0 |= reason.bit();
    }

    /// The first in the order of the checks.
    pub fn first(self) -> Option<Reason> {
        Reason::ALL.into_iter().find(|&r| self.contains(r))
    }
}

/// The last limit that took something away from a wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cut {
    /// Nothing did.
    #[default]
    Nothing,
    /// Lowest or highest value of the recipe.
    Absolute,
    /// Largest trim.
    Trim,
    /// Trim or step under reduced authority.
    Authority,
    /// Limits shown by the PLC.
    Plc,
    /// Step per write.
    Step,
    /// Rate.
    Rate,
}

impl Cut {
    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Absolute => "absolute",
            Self::Trim => "trim",
            Self::Authority => "authority",
            Self::Plc => "plc",
            Self::Step => "step",
            Self::Rate => "rate",
        }
    }
}

/// Why a move is asked for; each kind has its own list of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A controller's proposal that rests on scores or soft sensors (rung 0): every check.
    Score,
    /// A controller's proposal that rests on labels alone (rung 1): inputs and domain not asked.
    Label,
    /// The ramp to the baseline: inputs, domain, approval, deadband and warm-up not asked.
    Return,
}

/// What holds in one observation. Filled by the cell from the same scan the proposal came from.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one field per check, each true = passed")]
pub struct Evidence {
    /// The monotonic clock ran backwards.
    pub clock_backwards: bool,
    /// The scan came in time.
    pub on_time: bool,
    /// Trip state.
    pub trip: Trip,
    /// Mode in force.
    pub mode: Mode,
    /// PLC that this evidence is about; that of the setpoint, or nothing is permitted.
    pub plc: PlcId,
    /// The PLC enables us.
    pub enabled: bool,
    /// The setpoint is ours.
    pub owned: bool,
    /// The link to that PLC lives.
    pub link: bool,
    /// Its session number.
    pub epoch: u64,
    /// The heartbeat is echoed, or none is configured.
    pub heartbeat: bool,
    /// All bindings hold and the machine runs.
    pub bound: bool,
    /// Past start-up and warm-up.
    pub warm: bool,
    /// The critical inputs are good.
    pub inputs: bool,
    /// All interlocks are closed.
    pub interlocks: bool,
    /// One that trips is open.
    pub interlock_trips: bool,
    /// Register as read back: Good and fresh.
    pub read_back: Option<Stand>,
    /// It equals what was last written or adopted.
    pub unchanged: bool,
    /// Model known and in domain.
    pub domain: bool,
    /// The PLC's own lower limit, rounded up to the grid.
    pub plc_low: Option<Ticks>,
    /// The PLC's own upper limit, rounded down to the grid.
    pub plc_high: Option<Ticks>,
    /// The PLC shows limits, but they are not readable now.
    pub plc_range_unknown: bool,
    /// Share of step and trim allowed [1/1000], 1 to 1000.
    pub authority_permille: i64,
    /// What the rate limit leaves, see [`rate_allowance`].
    pub rate_left: Ticks,
    /// Dwell is over and the last move has settled.
    pub rested: bool,
    /// A write is left in the window.
    pub budget: bool,
    /// A fresh approval of just this proposal.
    pub approved: bool,
    /// No write awaits its read-back.
    pub idle: bool,
    /// Now.
    pub now: Mono,
    /// Number for the next write.
    pub seq: u64,
}

/// What the guard says.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// Send this.
    Write(ApprovedWrite),
    /// Send this move of a return ramp.
    Return(ApprovedWrite),
    /// All checks pass; SHADOW writes nothing.
    WouldWrite,
    /// All checks pass but the approval: put it before a person.
    Ask,
    /// Write nothing, for this first reason.
    Hold(Reason),
    /// Trip.
    Trip(TripReason),
}

/// A decision with what is needed to explain it.
#[derive(Debug, PartialEq)]
pub struct Permit {
    /// The decision.
    pub decision: Decision,
    /// What the limits left of the wish.
    pub limited: Option<Ticks>,
    /// The last limit that cut.
    pub cut: Cut,
    /// All checks that failed.
    pub failed: FailedChecks,
}

/// Distance that the rate limit leaves [ticks, >= 0].
///
/// The smaller of `floor(rate * elapsed)` since the last write and what the sliding window of the
/// rate has not used up. Without a rate limit it is unbounded.
///
/// - `elapsed`: process time since the last write (or since the start, when there was none).
/// - `used`: ticks moved within the last `rate.per` of process time.
pub fn rate_allowance(rate: Option<Rate>, elapsed: Span, used: Ticks) -> Ticks {
    let Some(rate) = rate else { return Ticks::new(i64::MAX) };
    let per = i128::from(rate.per.as_nanos().max(1));
    let time = i128::from(elapsed.as_nanos().max(0));
    let since = i128::from(rate.ticks.count()) * time / per;
    let since = i64::try_from(since).unwrap_or(i64::MAX);
    let left = (rate.ticks - used).count();
    Ticks::new(since.min(left).max(0))
}

/// Decides one proposal.
///
/// - `desired`: [setpoint unit]; may be anything, non-finite included.
/// - `registers`: `[setpoints]`, for each setpoint the lowest and highest value it may hold now
///   (equal unless a write is pending), `None` = unknown; used for the joint limits.
pub fn permit(
    plan: &Plan,
    setpoint: SetpointId,
    intent: Intent,
    desired: f64,
    evidence: &Evidence,
    registers: &[Option<(Ticks, Ticks)>],
) -> Permit {
    let Some(limits) = plan.setpoints.get(setpoint.index()) else {
        return Permit {
            decision: Decision::Hold(Reason::NoProposal),
            limited: None,
            cut: Cut::Nothing,
            failed: FailedChecks::NONE,
        };
    };
    let mut failed = conditions(intent, evidence);
    if evidence.plc != plan.plc_of(limits.tag) && !broken(Mutant::Plc) {
        // What another PLC shows says nothing about this one.
        failed.insert(Reason::LinkDown);
    }
    let mut cut = Cut::Nothing;
    let mut limited = None;
    let mut empty = false;

    let wanted = match intent {
        Intent::Return => Some(limits.baseline),
        Intent::Score | Intent::Label => wish(limits, desired),
    };
    if wanted.is_none() && !broken(Mutant::NonFinite) {
        failed.insert(Reason::NotFinite);
    }
    if let (Some(from), Some(wanted)) = (evidence.read_back, wanted) {
        match limit(limits, intent, evidence, from, wanted) {
            Limited::To(to, by) => {
                cut = by;
                limited = Some(to);
                let distance = from.distance(to);
                let too_small = match intent {
                    // The last move of a ramp may be shorter than the deadband: it must arrive.
                    Intent::Return => distance == Ticks::ZERO || !nears(from, to, wanted),
                    Intent::Score | Intent::Label => {
                        distance < limits.deadband || distance == Ticks::ZERO
                    }
                };
                if too_small {
                    let why = if by == Cut::Rate { Reason::Rate } else { Reason::Deadband };
                    failed.insert(why);
                }
                let rows = rows::hold(plan, setpoint, intent, from, to, registers);
                if !rows && !broken(Mutant::Rows) {
                    failed.insert(Reason::JointLimit);
                }
            }
            Limited::Nowhere => failed.insert(Reason::Rate),
            Limited::Empty => empty = true,
            Limited::Outside => failed.insert(Reason::OutsideLimits),
        }
    } else if evidence.read_back.is_none() {
        failed.insert(Reason::ReadBack);
    }

    let decision = decide(limits, setpoint, intent, evidence, limited, empty, failed);
    Permit { decision, limited, cut, failed }
}

/// Checks 1 to 9, 13, 14, 16 and 17: what does not depend on where the move goes.
fn conditions(intent: Intent, e: &Evidence) -> FailedChecks {
    let mut failed = FailedChecks::NONE;
    let is_return = intent == Intent::Return;
    let mut check = |passed: bool, reason: Reason| {
        if !passed {
            failed.insert(reason);
        }
    };
    check(e.on_time, Reason::ClockLate);
    let trip_passes = match e.trip {
        Trip::Clear => true,
        Trip::Returning(_) => is_return,
        Trip::Latched(_) => false,
    };
    check(trip_passes || broken(Mutant::Trip), Reason::Tripped);
    // A ramp to the baseline moves by itself: in ADVISORY only what a person approved may move.
    let least = if is_return { Mode::Auto } else { Mode::Advisory };
    check(e.mode >= least || broken(Mutant::Mode), Reason::Mode);
    check(e.enabled || broken(Mutant::Enable), Reason::NotEnabled);
    check(e.owned || broken(Mutant::Owner), Reason::NotOwner);
    check(e.link || broken(Mutant::Link), Reason::LinkDown);
    check(e.heartbeat, Reason::Heartbeat);
    check(e.bound || broken(Mutant::Binding), Reason::NotBound);
    check(is_return || e.warm, Reason::WarmUp);
    check(intent != Intent::Score || e.inputs || broken(Mutant::Input), Reason::Input);
    check(e.interlocks || broken(Mutant::Interlock), Reason::Interlock);
    check(e.read_back.is_some(), Reason::ReadBack);
    check(!e.plc_range_unknown, Reason::ReadBack);
    check(e.unchanged || broken(Mutant::External), Reason::ExternalChange);
    check(intent != Intent::Score || e.domain || broken(Mutant::Domain), Reason::Domain);
    check(e.rested || broken(Mutant::Dwell), Reason::Dwell);
    check(e.budget || broken(Mutant::Budget), Reason::Budget);
    check(is_return || e.mode != Mode::Advisory || e.approved, Reason::Approval);
    check(e.idle || broken(Mutant::Pending), Reason::Pending);
    failed
}

/// Puts the failed checks into one decision.
fn decide(
    limits: &SetpointPlan,
    setpoint: SetpointId,
    intent: Intent,
    e: &Evidence,
    limited: Option<Ticks>,
    empty: bool,
    failed: FailedChecks,
) -> Decision {
    if e.clock_backwards {
        return Decision::Trip(TripReason::Clock);
    }
    let tripped = e.trip != Trip::Clear;
    if !tripped && !e.interlocks && e.interlock_trips && e.mode >= Mode::Advisory {
        return Decision::Trip(TripReason::Interlock);
    }
    let mut without_approval = failed;
    without_approval.0 &= !Reason::Approval.bit();
    // In SHADOW the question is what would have been written: who may write is not asked.
    let mut without_mode = without_approval;
    without_mode.0 &= !Reason::Mode.bit();
    if e.mode == Mode::Shadow && failed.contains(Reason::Mode) {
        without_mode.0 &= !Reason::NotOwner.bit();
    }
    match (without_mode.first(), limited, e.read_back) {
        (Some(reason), _, _) => {
            // An earlier reason wins over the trip: a loop that may not act has no range to lack.
            let mode_first = failed.contains(Reason::Mode) && Reason::Mode < reason;
            Decision::Hold(if mode_first && e.mode == Mode::Off { Reason::Mode } else { reason })
        }
        (None, _, _) if e.mode == Mode::Off => Decision::Hold(Reason::Mode),
        (None, _, _) if empty => {
            if tripped {
                Decision::Hold(Reason::Tripped)
            } else if e.mode < Mode::Advisory {
                Decision::Hold(Reason::OutsideLimits)
            } else {
                Decision::Trip(TripReason::EmptyRange)
            }
        }
        (None, Some(to), Some(from)) => {
            if failed.contains(Reason::Mode) {
                // A ramp belongs to a trip or a rung of a loop that acts: nobody would have moved.
                let ramp = intent == Intent::Return;
                return if ramp { Decision::Hold(Reason::Mode) } else { Decision::WouldWrite };
            }
            if failed.contains(Reason::Approval) {
                return Decision::Ask;
            }
            let write = ApprovedWrite {
                seq: e.seq,
                plc: e.plc,
                epoch: e.epoch,
                setpoint,
                tag: limits.tag,
                from: from.nearest(),
                to,
                value: limits.grid.value(to),
                issued: e.now,
                ttl: limits.ttl,
            };
            if intent == Intent::Return { Decision::Return(write) } else { Decision::Write(write) }
        }
        (None, _, _) => Decision::Hold(Reason::NoProposal),
    }
}

/// Whether a move of a ramp ends closer to the baseline than where the register stands.
fn nears(from: Stand, to: Ticks, baseline: Ticks) -> bool {
    if baseline >= from.high() { to >= from.high() } else { to <= from.low() }
}

/// The wish on its grid; `None` when it is not a finite number.
fn wish(limits: &SetpointPlan, desired: f64) -> Option<Ticks> {
    if broken(Mutant::NonFinite) && !desired.is_finite() {
        return Some(limits.high);
    }
    if !desired.is_finite() {
        return None;
    }
    // A finite wish beyond every tick is as good as the far end: the clamp decides.
    let far = if desired > 0.0 { Ticks::new(i64::MAX) } else { Ticks::new(i64::MIN) };
    Some(limits.grid.nearest(desired).unwrap_or(far))
}

enum Limited {
    To(Ticks, Cut),
    /// The intersection of the limits is empty.
    Empty,
    /// The register stands outside the limits.
    Outside,
    /// The rate limit leaves no tick to go to.
    Nowhere,
}

/// Checks 10 and 11: clamps, step, rate.
fn limit(
    limits: &SetpointPlan,
    intent: Intent,
    e: &Evidence,
    from: Stand,
    wanted: Ticks,
) -> Limited {
    let trim_low = limits.baseline - limits.trim_max;
    let trim_high = limits.baseline + limits.trim_max;
    let mut low = limits.low.max(trim_low);
    let mut high = limits.high.min(trim_high);
    if broken(Mutant::Trim) {
        (low, high) = (limits.low, limits.high);
    }
    if broken(Mutant::Clamp) {
        (low, high) = (limits.low - Ticks::new(1), limits.high + Ticks::new(1));
    }
    let recipe = (low, high);
    low = low.max(e.plc_low.unwrap_or(low));
    high = high.min(e.plc_high.unwrap_or(high));
    if low > high {
        return Limited::Empty;
    }
    if from.low() < low || from.high() > high {
        return Limited::Outside;
    }

    let scaled = |ticks: Ticks| {
        // Authority never grows a limit and always leaves one tick, so that a ramp can end.
        let share = ticks.count().saturating_mul(e.authority_permille.clamp(1, 1000)) / 1000;
        Ticks::new(share.max(1).min(ticks.count()))
    };
    let is_return = intent == Intent::Return;
    let reduced = if is_return { limits.trim_max } else { scaled(limits.trim_max) };
    let (step_up, step_down) = if is_return {
        (limits.step_up, limits.step_down)
    } else {
        (scaled(limits.step_up), scaled(limits.step_down))
    };

    let mut cut = Cut::Nothing;
    let mut to = wanted;
    let mut clamp = |to: &mut Ticks, lo: Ticks, hi: Ticks, by: Cut| {
        // A reduced band may lie beside the register; the step below then leads towards it.
        let held = (*to).max(lo).min(hi);
        if held != *to {
            *to = held;
            cut = by;
        }
    };
    clamp(&mut to, recipe.0, recipe.1, recipe_cut(limits, wanted));
    clamp(&mut to, low, high, Cut::Plc);
    clamp(&mut to, limits.baseline - reduced, limits.baseline + reduced, Cut::Authority);
    clamp(&mut to, low, high, Cut::Plc);
    // From beside the grid a move is counted from the far neighbour; there may be no tick to go to.
    let mut bounds = [
        (from.high() - step_down, from.low() + step_up, Cut::Step),
        (from.high() - e.rate_left, from.low() + e.rate_left, Cut::Rate),
    ];
    if broken(Mutant::Step) {
        bounds[0] = bounds[1];
    }
    if broken(Mutant::Rate) {
        bounds[1] = bounds[0];
    }
    for (lo, hi, by) in bounds {
        if lo > hi {
            return Limited::Nowhere;
        }
        clamp(&mut to, lo, hi, by);
    }
    Limited::To(to, cut)
}

/// Which of the recipe's two bounds a wish runs into.
fn recipe_cut(limits: &SetpointPlan, wanted: Ticks) -> Cut {
    let absolute = wanted < limits.low || wanted > limits.high;
    let trim_inside = (limits.baseline + limits.trim_max) < limits.high;
    let trim_inside_low = (limits.baseline - limits.trim_max) > limits.low;
    let binding_trim = if wanted > limits.baseline { trim_inside } else { trim_inside_low };
    if absolute && !binding_trim { Cut::Absolute } else { Cut::Trim }
}

/// Seeded faults that show that the properties can fail; they exist in this crate's own tests
/// only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    Clamp,
    Trim,
    Step,
    Rate,
    Dwell,
    Budget,
    Rows,
    Mode,
    Enable,
    Owner,
    Link,
    Plc,
    Binding,
    Input,
    Interlock,
    External,
    Domain,
    Trip,
    Pending,
    NonFinite,
}

#[cfg(not(test))]
const fn broken(_: Mutant) -> bool {
    false
}

#[cfg(test)]
use tests::broken;
#[cfg(test)]
pub(crate) use tests::with_mutant;

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell as StdCell;

    std::thread_local! {
        static MUTANT: StdCell<Option<Mutant>> = const { StdCell::new(None) };
    }

    pub(crate) fn broken(mutant: Mutant) -> bool {
        MUTANT.with(|m| m.get() == Some(mutant))
    }

    /// Runs `f` with one check of the guard broken.
    pub(crate) fn with_mutant<R>(mutant: Mutant, f: impl FnOnce() -> R) -> R {
        MUTANT.with(|m| m.set(Some(mutant)));
        let result = f();
        MUTANT.with(|m| m.set(None));
        result
    }
}
