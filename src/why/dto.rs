//! `trimloop.why/1`.

use serde::Serialize;

/// The chain of one decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Why {
    /// Id of the write, where there was one.
    pub write: Option<String>,
    /// Id of the decision; `None` when an event belongs to none.
    pub decision: Option<String>,
    /// The event that was asked about.
    pub event: Option<EventRow>,
    /// UTC of the decision.
    pub utc: String,
    /// Number of the start.
    pub start: i64,
    /// Name of the service.
    pub node: String,
    /// Version of trimloop that decided.
    pub trimloop: String,
    /// Recipe.
    pub recipe: String,
    /// Its revision.
    pub revision: i64,
    /// Hash of the plan: recipe, PLC config and models.
    pub plan: String,
    /// SHA-256 of the recipe's file; `None` when the plan is not kept beside the journal.
    pub recipe_sha256: Option<String>,
    /// Models with their hashes; empty when the plan is not kept beside the journal.
    pub models: Vec<Model>,
    /// Part being judged.
    pub part: i64,
    /// Loop.
    #[serde(rename = "loop")]
    pub loop_name: String,
    /// Setpoint that it moves.
    pub setpoint: String,
    /// Its unit.
    pub unit: String,
    /// Decimals that its grid shows.
    #[serde(skip)]
    pub decimals: usize,
    /// Mode in force.
    pub mode: String,
    /// Place on the fallback ladder.
    pub rung: String,
    /// Where the register stood [unit].
    pub read_back: Option<f64>,
    /// What the controller wanted [unit].
    pub desired: Option<f64>,
    /// What the limits left of it [unit].
    pub limited: Option<f64>,
    /// The last limit that cut.
    pub cut: String,
    /// `write`, `return`, `would_write`, `asked`, `hold`, `trip`.
    pub outcome: String,
    /// First reason of a hold or trip.
    pub reason: Option<String>,
    /// All checks that failed.
    pub failed: Vec<String>,
    /// What the wish was made of.
    pub wish: Option<Wish>,
    /// What it rested on.
    pub inputs: Vec<Input>,
    /// Features of the part.
    pub features: Vec<Feature>,
    /// Scores of the part.
    pub scores: Vec<Score>,
    /// Largest shares of the scores.
    pub contributions: Vec<Contribution>,
    /// Each check with its margin.
    pub checks: Vec<Check>,
    /// Decision that inputs, checks and wish are of, when it is an earlier one: nothing but the
    /// numbers has changed since.
    pub evidence_of: Option<String>,
    /// Why inputs and checks are missing.
    pub missing: Option<String>,
    /// Who raised the loop to the mode in force.
    pub raised_by: Option<Order>,
    /// Who approved.
    pub approved_by: Option<Order>,
    /// States of the write.
    pub ledger: Vec<LedgerStep>,
    /// Whether quality followed; `None` where nothing was written.
    pub effect: Option<Effect>,
    /// Quality that its loop controls, measured on parts made after it, at most five.
    pub labels: Vec<Label>,
    /// What happened in the same scan.
    pub events: Vec<EventRow>,
}

/// A model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Name in the recipe.
    pub name: String,
    /// Hash of the artifact.
    pub sha256: String,
    /// Who approved it, where the audit trail says so.
    pub approved_by: Option<Order>,
}

/// Whether quality followed a write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// `proven`, `unproven`, `superseded` (the next write came before it could be judged),
    /// `pending`, or `none` (the register does not hold it).
    pub state: &'static str,
    /// The next write of the same setpoint, which superseded it.
    pub by: Option<String>,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventRow {
    /// Id; `None` for a notice of a shell.
    pub id: Option<String>,
    /// UTC.
    pub utc: String,
    /// Stable word.
    pub code: String,
    /// Whom it is about.
    pub subject: String,
    /// One word or number more.
    pub detail: String,
    /// For people.
    pub sentence: String,
}

/// What a wish was made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Wish {
    /// Target [unit of the quality].
    pub target: Option<f64>,
    /// What labels say beside the soft sensor.
    pub bias: Option<f64>,
    /// What the soft sensor says of the next part.
    pub fed: Option<f64>,
    /// Gain [unit of the quality per setpoint unit].
    pub gain: Option<f64>,
    /// Labels taken in.
    pub labels: i64,
    /// Signature whose move it is.
    pub signature: Option<String>,
}

/// An input.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Input {
    /// Feature, or the tag itself.
    pub name: String,
    /// Tag.
    pub tag: String,
    /// Value [unit].
    pub value: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// Verdict on the tag in that scan.
    pub quality: String,
    /// Age of its newest sample [ms].
    pub age_ms: Option<f64>,
    /// Share of Good time of the feature, 0 to 1.
    pub coverage: f64,
}

/// A feature of the part.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Feature {
    /// Name.
    pub name: String,
    /// Value [unit].
    pub value: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// Coverage, 0 to 1.
    pub coverage: f64,
}

/// A score.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Model.
    pub model: String,
    /// Statistic as share of its limit, or prediction.
    pub value: Option<f64>,
    /// Lower end of a prediction's interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Whether the model is in its domain.
    pub in_domain: bool,
    /// Whether it is over its limit.
    pub alarm: bool,
}

/// A share of a score.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Contribution {
    /// Model.
    pub model: String,
    /// 1 = largest.
    pub rank: i64,
    /// Feature.
    pub feature: String,
    /// Share.
    pub share: f64,
    /// Standardised value.
    pub z: f64,
}

/// One check of the permit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Check {
    /// Number of the check, 1 to 17.
    pub number: u8,
    /// Stable word.
    pub check: String,
    /// `passed`, `failed`, `not_asked`.
    pub answer: String,
    /// What was found [unit].
    pub measured: Option<f64>,
    /// Its limit [unit].
    pub limit: Option<f64>,
    /// Distance from failing [unit]; below 0 it has failed, `None` for a yes or no.
    pub margin: Option<f64>,
    /// Unit of the three: `s`, `share`, `parts`, `writes`, or that of the setpoint or tag.
    pub unit: String,
    /// What came closest to failing.
    pub subject: Option<String>,
}

/// An order of a person, from the audit trail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Audit entry.
    pub entry: i64,
    /// UTC.
    pub utc: String,
    /// Who.
    pub actor: String,
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// One state of a write.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LedgerStep {
    /// UTC of the scan that told it.
    pub utc: String,
    /// `sent`, `acknowledged`, `confirmed`, `proven` ...
    pub fate: String,
    /// As sent [unit].
    pub sent: Option<f64>,
    /// As read back [unit].
    pub read_back: Option<f64>,
    /// Time since it was issued [ms]: of the answer or the read-back where there is one.
    pub after_ms: Option<f64>,
    /// OPC UA status of a refusal.
    pub status: Option<i64>,
}

/// A measured quality.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Label {
    /// UTC.
    pub utc: String,
    /// Part.
    pub part: i64,
    /// What was measured.
    pub name: String,
    /// Value [unit].
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// Whether an estimator used it.
    pub used: bool,
}
