//! The result of a backtest.

use serde::Serialize;

use super::decided::Hold;
use super::findings::Findings;

/// What a backtest found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Where the samples came from.
    pub data: String,
    /// Begin of the range.
    pub from: String,
    /// End of the range.
    pub to: String,
    /// Warm-up before each day [s].
    pub lead_in_s: f64,
    /// Silence that counts as a lost link [s].
    pub gap_s: f64,
    /// UTC days of the range without samples.
    pub empty_days: Vec<String>,
    /// The recipe.
    pub recipe: RecipeReport,
    /// The one that it is held against.
    pub other: Option<RecipeReport>,
    /// The recipe beside the other.
    pub comparison: Option<Comparison>,
}

/// What came of one recipe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecipeReport {
    /// Name.
    pub name: String,
    /// Revision.
    pub revision: u32,
    /// SHA-256 of the plan.
    pub plan: String,
    /// Samples of its tags.
    pub samples: u64,
    /// Steps of the core.
    pub scans: u64,
    /// Finished parts.
    pub parts: u64,
    /// Time with a recording [h].
    pub hours: f64,
    /// Silences that counted as a lost link.
    pub silences: u64,
    /// Signatures against labels.
    pub findings: Findings,
    /// Labels of parts that are not in the data, or no longer remembered.
    pub labels_unmatched: u64,
    /// Labels that were no plausible number.
    pub labels_refused: u64,
    /// Loops.
    pub loops: Vec<LoopReport>,
    /// Models.
    pub models: Vec<ModelReport>,
    /// Tags that were not good at times, how often they became so; the worst first.
    pub not_good: Vec<(String, u64)>,
    /// Tags of the recipe of which there is no value.
    pub never: Vec<String>,
    /// How the days were joined.
    pub joins: Joins,
    /// Day by day.
    pub days: Vec<DayReport>,
    /// What is drawn.
    #[serde(skip)]
    pub(super) plots: Vec<LoopPlot>,
    /// Bad and good labels, thinned out: time [ns], characteristic, value.
    #[serde(skip)]
    pub(super) labels: Vec<(i64, usize, f64)>,
    /// Alarms: signature, from, to [ns].
    #[serde(skip)]
    pub(super) alarms: Vec<(usize, i64, i64)>,
    /// Target and tolerance by characteristic, with name and unit.
    #[serde(skip)]
    pub(super) characteristics: Vec<CharacteristicPlot>,
}

/// A measured quality, to draw it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CharacteristicPlot {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) tolerance: Option<(f64, f64)>,
}

/// A loop, to draw it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LoopPlot {
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) points: Vec<Point>,
}

/// A decision, to draw it [setpoint unit].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) ts: i64,
    pub(super) desired: Option<f64>,
    pub(super) limited: Option<f64>,
    pub(super) recorded: Option<f64>,
}

/// What one loop would have done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoopReport {
    /// Name.
    pub name: String,
    /// What it moves.
    pub setpoint: String,
    /// Unit of that.
    pub unit: String,
    /// Decisions.
    pub decisions: u64,
    /// Of them with a wish.
    pub wishes: u64,
    /// That would have been written.
    pub would_write: u64,
    /// Of those what dwell and budget leave.
    pub writes: u64,
    /// The same per hour with a recording.
    pub writes_per_hour: f64,
    /// Decisions whose wish was cut at the end of the setpoint's range: absolute, trim, PLC.
    pub at_limit: u64,
    /// Share of the wishes, 0 to 1.
    pub at_limit_share: f64,
    /// Times it came to a limit.
    pub times_at_limit: u64,
    /// Why it held.
    pub holds: Vec<Hold>,
}

/// What one model said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelReport {
    /// Name.
    pub name: String,
    /// Times it came over its limit.
    pub alarms: u64,
    /// Times it left its domain.
    pub left_domain: u64,
}

/// How days were joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Joins {
    /// Midnights inside the range with samples on both sides.
    pub midnights: u64,
    /// Decisions of the last hour before them, made on both sides.
    pub compared: u64,
    /// Of them the same: outcome, wish, limited, cut.
    pub same: u64,
    /// Made on one side only.
    pub only_once: u64,
}

/// One day.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayReport {
    /// `YYYY-MM-DD`, UTC.
    pub day: String,
    /// Samples.
    pub samples: u64,
    /// Parts.
    pub parts: u64,
    /// Good labels.
    pub good: u64,
    /// Bad ones.
    pub bad: u64,
    /// Signatures that came on.
    pub alarms: u64,
    /// Decisions that would have been written.
    pub would_write: u64,
    /// Of those what dwell and budget leave.
    pub writes: u64,
    /// Decisions at a limit.
    pub at_limit: u64,
}

/// One recipe beside another, on the same parts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Defects that both detect, only the recipe, only the other, neither.
    pub defects: [u64; 4],
    /// Two-sided exact sign test over those that only one detects; `None` without any.
    pub defects_p: Option<f64>,
    /// Days on which the recipe has fewer alarms, as many, more.
    pub days_alarms: [u64; 3],
    /// Loops that both have.
    pub loops: Vec<LoopComparison>,
}

/// One loop of both recipes, decision by decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoopComparison {
    /// Name.
    pub name: String,
    /// Unit of the setpoint.
    pub unit: String,
    /// Decisions on the same part.
    pub pairs: u64,
    /// Both would have written, only the recipe, only the other, neither.
    pub would_write: [u64; 4],
    /// Pairs in which both had a wish.
    pub wishes: u64,
    /// Mean of the recipe's wish less the other's.
    pub difference_mean: Option<f64>,
    /// Standard deviation of that.
    pub difference_deviation: Option<f64>,
    /// Largest.
    pub difference_max: Option<f64>,
}
