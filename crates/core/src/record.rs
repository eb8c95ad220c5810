//! Rows for the store: parts, features, scores, decisions, the write ledger.

use crate::guard::{Cut, FailedChecks, Reason};
use crate::ledger::Fate;
use crate::mode::{Mode, Rung, TripReason};
use crate::plan::{CharacteristicId, FeatureId, LoopId, ModelId, SetpointId};
use crate::time::{Mono, Process};
use crate::unit::Ticks;

/// One row. Small and `Copy`, so that a step can emit many without allocating.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record {
    /// A part ended.
    Part(PartRow),
    /// One of its features.
    Feature(FeatureRow),
    /// One score of it.
    Score(ScoreRow),
    /// A large contribution to a score that is over its limit, or that a write rests on.
    Contribution(ContributionRow),
    /// A measured quality, matched to its part.
    Label(LabelRow),
    /// What the guard made of one loop's proposal.
    Decision(DecisionRow),
    /// A state change of the write ledger.
    Ledger(LedgerRow),
}

/// A finished part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PartRow {
    /// Part id of the PLC.
    pub part: i64,
    /// Counts parts since the service started.
    pub number: u64,
    /// Process time of its begin.
    pub began: Process,
    /// Process time of its end.
    pub ended: Process,
    /// Made during warm-up.
    pub warm_up: bool,
    /// A setpoint moved meanwhile.
    pub mixed: bool,
    /// Data or parts are missing.
    pub gap: bool,
}

/// A feature of a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureRow {
    /// Part id.
    pub part: i64,
    /// Which.
    pub feature: FeatureId,
    /// Its value [unit of the feature]; `None` = unknown.
    pub value: Option<f64>,
    /// Coverage, 0 to 1.
    pub coverage: f64,
}

/// A score of a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRow {
    /// Part id.
    pub part: i64,
    /// Which model.
    pub model: ModelId,
    /// Chart statistic as share of its limit, T2 or SPE (the larger share of its limit), or
    /// prediction [unit of y]; `None` = unknown.
    pub value: Option<f64>,
    /// Lower end of a prediction's interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether the model is in its domain.
    pub in_domain: bool,
    /// Whether the score is over its limit.
    pub alarm: bool,
}

/// A variable's share of a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContributionRow {
    /// Part id.
    pub part: i64,
    /// Which model.
    pub model: ModelId,
    /// Which feature.
    pub feature: FeatureId,
    /// 1 = largest.
    pub rank: u8,
    /// Share of the score.
    pub share: f64,
    /// Standardised value.
    pub z: f64,
}

/// A label that found its part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelRow {
    /// Part id.
    pub part: i64,
    /// What was measured.
    pub characteristic: CharacteristicId,
    /// Value [unit of the characteristic].
    pub value: f64,
    /// Whether it was used by an estimator (the part was clean).
    pub used: bool,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written, as the given write.
    Write(u64),
    /// A move of a return ramp, as the given write.
    Return(u64),
    /// In SHADOW: what would have been written.
    WouldWrite,
    /// Put before a person, as the given proposal.
    Asked(u64),
    /// Nothing written, for this first reason.
    Hold(Reason),
    /// Tripped.
    Trip(TripReason),
}

/// One decision of the guard, with everything needed to explain it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionRow {
    /// Counts up per cell.
    pub number: u64,
    /// Part id.
    pub part: i64,
    /// Whose.
    pub loop_id: LoopId,
    /// What the controller wanted [setpoint unit]; `None` = nothing computed.
    pub desired: Option<f64>,
    /// What the limits left of it.
    pub limited: Option<Ticks>,
    /// Where the register stood; `None` = unknown.
    pub read_back: Option<Ticks>,
    /// Outcome with its one first reason.
    pub outcome: Outcome,
    /// All checks that failed, for the curious.
    pub failed: FailedChecks,
    /// The last limit that cut the wish.
    pub cut: Cut,
    /// Mode in force.
    pub mode: Mode,
    /// Rung.
    pub rung: Rung,
}

/// One state change of one pending write: the six values and its fate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LedgerRow {
    /// Write number.
    pub write: u64,
    /// Which setpoint.
    pub setpoint: SetpointId,
    /// What the controller wanted [setpoint unit].
    pub desired: f64,
    /// After the limits.
    pub limited: Ticks,
    /// As sent.
    pub sent: Ticks,
    /// When it was issued.
    pub issued: Mono,
    /// When the server answered; `None` = not yet or never.
    pub acknowledged: Option<Mono>,
    /// What was read back.
    pub read_back: Option<Ticks>,
    /// When it was confirmed.
    pub confirmed: Option<Mono>,
    /// Where it stands now.
    pub fate: Fate,
}
