//! Rows for the store: parts, features, scores, decisions, the write ledger.

use crate::guard::{Cut, FailedChecks, Reason};
use crate::ledger::Fate;
use crate::mode::{Mode, Rung, TripReason};
use crate::model::forecast::Forecast;
use crate::plan::{CharacteristicId, FeatureId, LoopId, ModelId, SetpointId, SignatureId};
use crate::tag::{Quality, TagId};
use crate::time::{Mono, Process, Span};
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
    /// One check of the permit, in a decision that is explained.
    Check(CheckRow),
    /// One input that such a decision rested on.
    Input(InputRow),
    /// What its wish was made of.
    Wish(WishRow),
    /// Where a score or a predicted quality goes from there.
    Forecast(ForecastRow),
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

/// A forecast made after a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastRow {
    /// Part id.
    pub part: i64,
    /// Which model.
    pub model: ModelId,
    /// What it was carried on to: a share of the limit of a monitor, or a prediction [unit of y];
    /// times in parts.
    pub forecast: Forecast,
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

/// What a check said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It would have let the move pass.
    Passed,
    /// It would not.
    Failed,
    /// It is not asked for such a move, or there was nothing to ask it about.
    NotAsked,
}

impl Answer {
    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotAsked => "not_asked",
        }
    }
}

/// In what the numbers of a [`CheckRow`] are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A yes or no: there are no numbers.
    State,
    /// Seconds: of link time, for `dwell` of process time.
    Seconds,
    /// The setpoint's unit.
    Setpoint,
    /// The unit of the tag that the interlock looks at.
    Tag,
    /// A share; 1 is all.
    Share,
    /// Parts.
    Parts,
    /// Writes.
    Writes,
    /// Weighted ticks of a joint limit.
    Row,
}

impl Measure {
    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Seconds => "s",
            Self::Setpoint => "setpoint",
            Self::Tag => "tag",
            Self::Share => "share",
            Self::Parts => "parts",
            Self::Writes => "writes",
            Self::Row => "row",
        }
    }
}

/// One check of one decision, with its distance from failing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckRow {
    /// [`DecisionRow::number`].
    pub decision: u64,
    /// Which check.
    pub check: Reason,
    /// What it said.
    pub answer: Answer,
    /// What was found [`measure`].
    pub measured: Option<f64>,
    /// The limit it was held against [`measure`].
    pub limit: Option<f64>,
    /// Distance from failing [`measure`]: below 0 it has failed. `None` for a yes or no.
    pub margin: Option<f64>,
    /// Unit of the three.
    pub measure: Measure,
    /// Index of what came closest to failing: a tag for `input`, an interlock for `interlock`, a
    /// model for `domain`.
    pub subject: Option<u16>,
}

/// One input of a decision, as the image saw it in that scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputRow {
    /// [`DecisionRow::number`].
    pub decision: u64,
    /// Which tag.
    pub tag: TagId,
    /// Which feature of it; `None` where the loop asks for the tag itself.
    pub feature: Option<FeatureId>,
    /// Value of the feature in the newest part, or of the tag [its unit]; `None` = unknown.
    pub value: Option<f64>,
    /// Share of Good time that the feature rests on, 0 to 1; 1 for a tag.
    pub coverage: f64,
    /// Verdict on the tag in that scan.
    pub quality: Quality,
    /// Age of its newest sample [link time]; `None` before the first.
    pub age: Option<Span>,
}

/// What a wish was made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WishRow {
    /// [`DecisionRow::number`].
    pub decision: u64,
    /// Run-to-run: target [unit of the characteristic].
    pub target: Option<f64>,
    /// Run-to-run: what labels say beside the soft sensor [unit of the characteristic].
    pub bias: Option<f64>,
    /// Run-to-run: what the soft sensor says of the next part [unit of the characteristic].
    pub fed: Option<f64>,
    /// Run-to-run: gain [unit of the characteristic per setpoint unit].
    pub gain: Option<f64>,
    /// Run-to-run: labels taken in so far.
    pub labels: u32,
    /// Rules: the signature whose move it is.
    pub signature: Option<SignatureId>,
}
