//! A recipe as serde reads it: shapes and places only, no meaning.
//!
//! Values that people may get wrong in a way worth explaining are kept as they stand, with their
//! place ([`At`]), and judged in [`mod@crate::check`]. Only keys, tables and the difference between
//! text, list and number are settled here.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::spanned::{At, Literal, Named, Pair, Whole};

/// A trimloop recipe: what is read, what is watched for, and what may be moved, how far.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRecipe {
    /// Name, revision, PLC config.
    pub recipe: At<RawHead>,
    /// Tags by name; their addresses stand in the PLC config.
    #[serde(default)]
    pub tag: Named<RawTag>,
    /// How production is cut into parts.
    pub cycle: At<RawCycle>,
    /// What must match before anything is written.
    #[serde(default)]
    pub bind: Named<RawEquals>,
    /// Conditions of acting.
    #[serde(default)]
    pub interlock: Named<RawInterlock>,
    /// Numbers taken from the tags for each part.
    #[serde(default)]
    pub feature: Named<RawFeature>,
    /// Trained models.
    #[serde(default)]
    pub model: Named<RawModel>,
    /// Control charts.
    #[serde(default)]
    pub chart: Named<RawChart>,
    /// Signatures of defects.
    #[serde(default)]
    pub signature: Named<RawSignature>,
    /// Inspection results that come back later.
    #[serde(default)]
    pub label: Named<RawLabel>,
    /// What may be moved, and how far.
    #[serde(default)]
    pub setpoint: Named<RawSetpoint>,
    /// Joint limits over several setpoints.
    #[serde(default)]
    pub row: Named<RawRow>,
    /// Control loops.
    #[serde(default, rename = "loop")]
    pub loops: Named<RawLoop>,
    /// Faults for maintenance; they decide nothing about setpoints.
    #[serde(default)]
    pub fault: Named<RawFault>,
    /// Maintenance that is due by a meter; it decides nothing about setpoints.
    #[serde(default)]
    pub plan: Named<RawPlan>,
    /// Tests of this recipe.
    #[serde(default)]
    pub check: Vec<At<RawCheck>>,
}

/// Name, revision, PLC config.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawHead {
    /// Name; the file is called NAME.toml.
    pub name: At<String>,
    /// Revision, from 1; every change that reaches a machine gets a new one.
    pub revision: At<i64>,
    /// PLC config of the leading PLC: plc-configs/PLC.toml. Tags are its own unless they say
    /// otherwise, and its clock moves process time.
    pub plc: At<String>,
    /// Longest time between two scans, "1 ms" to "10 s"; default "100 ms".
    pub period: Option<At<Literal>>,
    /// Free text for people.
    pub note: Option<At<String>>,
}

/// A tag and the checks on its values.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTag {
    /// PLC config of the PLC it lives on, where that is not the one that leads.
    pub plc: Option<At<String>>,
    /// Unit of the value, such as "bar"; none for counts, ids and contacts.
    pub unit: Option<At<String>>,
    /// Plausible values, low and high; anything outside is Bad.
    pub range: Option<At<Pair>>,
    /// Fastest plausible change, such as "5 degC / 1 s".
    pub rate: Option<At<Literal>>,
    /// Smallest step the sensor can show.
    pub resolution: Option<At<Literal>>,
    /// Whether single outliers are set aside; default true for tags with a unit.
    pub spike: Option<At<bool>>,
    /// Unchanged samples in a row, machine running, before the tag is Suspect; 0 (default) never.
    pub frozen: Option<At<i64>>,
    /// Age of its own newest sample after which the tag is Stale; default: only the link counts.
    pub stale: Option<At<Literal>>,
    /// "refuse" (default) or "accept" values that the server calls uncertain.
    pub uncertain: Option<At<String>>,
    /// True when the tag is only shown and recorded; silences the warning that nothing uses it.
    pub watch: Option<At<bool>>,
}

/// How production is cut into parts: exactly one of `finished`, `started`, `every`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCycle {
    /// Id tag whose change names the part just finished.
    pub finished: Option<At<String>>,
    /// Id tag whose change names the part that begins.
    pub started: Option<At<String>>,
    /// Length of a part of a continuous process.
    pub every: Option<At<Literal>>,
    /// First parts after a start, a stop or a product change, which teach nothing; default 10.
    pub warm_up: Option<At<i64>>,
    /// Time after the begin of a part in which a moved setpoint still counts as in force for all
    /// of it, for machines that take setpoints over later in the cycle; default none.
    pub latch: Option<At<Literal>>,
    /// Tag and value that say "producing" (`PackML` Execute is 6).
    pub running: Option<At<RawEquals>>,
}

/// A tag and the value it must hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEquals {
    /// The tag; one without a unit.
    pub tag: At<String>,
    /// The whole number, or true or false.
    pub equals: At<Whole>,
}

/// A condition of acting. A value that is not known counts as open.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawInterlock {
    /// The tag.
    pub tag: At<String>,
    /// When the interlock is closed, which permits acting.
    pub closed: At<RawCondition>,
    /// What opening does: "hold" (default) or "trip".
    pub opens: Option<At<String>>,
}

/// A test on one tag: exactly one of `equals`, `above`, `below`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCondition {
    /// Holds this whole number, or true or false.
    pub equals: Option<At<Whole>>,
    /// At least.
    pub above: Option<At<Literal>>,
    /// At most.
    pub below: Option<At<Literal>>,
}

/// One number per part: `tag` and `take`, or one of `difference`, `product`, `ratio`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFeature {
    /// The tag.
    pub tag: Option<At<String>>,
    /// "last", "mean", "deviation", "min", "max" or "slope".
    pub take: Option<At<String>>,
    /// The first feature less the second; both take a tag, in the same unit.
    pub difference: Option<At<Vec<At<String>>>>,
    /// The first feature times the second; both take a tag.
    pub product: Option<At<Vec<At<String>>>>,
    /// The first feature over the second; both take a tag. Unknown where the second is 0.
    pub ratio: Option<At<Vec<At<String>>>>,
    /// Exponential window in process time; default: the part's own samples only.
    pub window: Option<At<Literal>>,
    /// Parts by which the tag runs ahead of the part it made, 0 (default) to 64.
    pub lag: Option<At<i64>>,
    /// Least share of Good time or samples, 0 to 1, default 0.8; below, the feature is unknown.
    pub coverage: Option<At<Literal>>,
    /// True when the feature is only recorded, to train on later; silences the warning that
    /// nothing uses it.
    pub watch: Option<At<bool>>,
}

/// A trained model in models/FILE/model.tlm.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawModel {
    /// Folder under models/.
    pub file: At<String>,
    /// Hash of the artifact; another one is refused.
    pub sha256: Option<At<String>>,
    /// Label that a soft sensor predicts, or whose value is the class of a classifier; gives the unit,
    /// and what the model is held to when its drift is watched.
    pub predicts: Option<At<String>>,
    /// Monitor whose domain a soft sensor shares.
    pub domain: Option<At<String>>,
    /// When the model drifts: "notify" (default) tells it, "shadow" also lowers the loops that rest
    /// on the model to SHADOW.
    pub on_drift: Option<At<String>>,
    /// Carries the score of a monitor, or what a soft sensor predicts, on with every part.
    pub forecast: Option<At<RawForecast>>,
    /// Folder under models/ of a model of the same kind that runs beside this one and drives
    /// nothing.
    pub challenger: Option<At<String>>,
    /// Hash of the challenger's artifact; another one is refused.
    pub challenger_sha256: Option<At<String>>,
}

/// Where a score or a predicted quality goes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawForecast {
    /// Parts ahead, 1 to 1000.
    pub ahead: At<i64>,
    /// Lower end of the tolerance of what a soft sensor predicts.
    pub low: Option<At<Literal>>,
    /// Upper end. The limit of a monitor is that of its score.
    pub high: Option<At<Literal>>,
}

/// A control chart on one feature: exactly one of `ewma`, `cusum`, `rules`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawChart {
    /// What is charted.
    pub feature: At<String>,
    /// Mean of the feature when all is well.
    pub mean: At<Literal>,
    /// Standard deviation of the feature when all is well, > 0.
    pub deviation: At<Literal>,
    /// How much of one part's deviation shows in the next, -1 to 1; default 0.
    pub ar: Option<At<Literal>>,
    /// Exponentially weighted moving average.
    pub ewma: Option<At<RawEwma>>,
    /// Cumulative sum, both sides.
    pub cusum: Option<At<RawCusum>>,
    /// Run rules: "shewhart", "western-electric", "standard" (Nelson's 1, 2, 5, 6) or "nelson".
    pub rules: Option<At<String>>,
}

/// Exponentially weighted moving average.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEwma {
    /// Weight of the newest part, 0 to 1.
    pub lambda: At<Literal>,
    /// Width of the limits in standard deviations.
    pub width: At<Literal>,
}

/// Cumulative sum.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCusum {
    /// Allowance in standard deviations.
    pub allowance: At<Literal>,
    /// Decision interval in standard deviations.
    pub decision: At<Literal>,
}

/// The signature of a defect, on when `need` of the last `of` parts agree.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSignature {
    /// Parts that must agree; default 3.
    pub need: Option<At<i64>>,
    /// Among so many, 1 to 32; default 5.
    pub of: Option<At<i64>>,
    /// What is watched for.
    pub when: At<RawWhen>,
}

/// One clause, or `all = [ clauses ]`, or `any = [ clauses ]`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWhen {
    /// Every one of these.
    pub all: Option<At<Vec<At<RawClause>>>>,
    /// At least one of these.
    pub any: Option<At<Vec<At<RawClause>>>>,
    /// A feature, in its unit.
    pub feature: Option<At<String>>,
    /// A chart's statistic as a share of its limit.
    pub chart: Option<At<String>>,
    /// T2 of a monitor as a share of its limit.
    pub t2: Option<At<String>>,
    /// SPE of a monitor as a share of its limit.
    pub spe: Option<At<String>>,
    /// Prediction of a soft sensor, in the unit of its label.
    pub prediction: Option<At<String>>,
    /// Probability that a classifier gives to `class`, 0 to 1.
    pub probability: Option<At<String>>,
    /// The class of `probability`.
    pub class: Option<At<String>>,
    /// On when above this.
    pub above: Option<At<Literal>>,
    /// On when below this.
    pub below: Option<At<Literal>>,
    /// Off again at this; on the near side of the limit.
    pub clear: Option<At<Literal>>,
}

/// One comparison: one of `feature`, `chart`, `t2`, `spe`, `prediction`, `probability` (with
/// `class`), one of `above`, `below`, and `clear`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawClause {
    /// A feature, in its unit.
    pub feature: Option<At<String>>,
    /// A chart's statistic as a share of its limit.
    pub chart: Option<At<String>>,
    /// T2 of a monitor as a share of its limit.
    pub t2: Option<At<String>>,
    /// SPE of a monitor as a share of its limit.
    pub spe: Option<At<String>>,
    /// Prediction of a soft sensor, in the unit of its label.
    pub prediction: Option<At<String>>,
    /// Probability that a classifier gives to `class`, 0 to 1.
    pub probability: Option<At<String>>,
    /// The class of `probability`.
    pub class: Option<At<String>>,
    /// On when above this.
    pub above: Option<At<Literal>>,
    /// On when below this.
    pub below: Option<At<Literal>>,
    /// Off again at this; on the near side of the limit.
    pub clear: Option<At<Literal>>,
}

/// Measured quality that comes back from inspection.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLabel {
    /// Unit of the value.
    pub unit: At<String>,
    /// Tag that names the inspected part.
    pub part: At<String>,
    /// Tag with the measured value, in `unit`.
    pub value: At<String>,
    /// Plausible values, low and high; a label outside is refused.
    pub range: At<Pair>,
}

/// A setpoint and its bounds.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSetpoint {
    /// Tag that is written and read back.
    pub tag: At<String>,
    /// Smallest change that the machine takes; everything below counts in it.
    pub grid: At<Literal>,
    /// Value without any trim.
    pub baseline: At<Literal>,
    /// Lowest value ever written.
    pub low: At<Literal>,
    /// Highest value ever written.
    pub high: At<Literal>,
    /// Largest distance from the baseline.
    pub trim: At<Literal>,
    /// Largest move in one write, or { up = …, down = … }.
    pub step: At<RawStep>,
    /// Largest change per time, such as "20 bar / 60 s".
    pub rate: Option<At<Literal>>,
    /// Smallest change worth writing; default none.
    pub deadband: Option<At<Literal>>,
    /// Least process time between two writes.
    pub dwell: At<Literal>,
    /// Most writes per time.
    pub budget: Option<At<RawBudget>>,
    /// Tag with the PLC's own lower limit.
    pub plc_low: Option<At<String>>,
    /// Tag with the PLC's own upper limit.
    pub plc_high: Option<At<String>>,
    /// Time in which a write must be read back; default "3 s".
    pub confirm: Option<At<Literal>>,
    /// Age at which an unsent write is dropped; default "2 s".
    pub ttl: Option<At<Literal>>,
}

/// Most writes per time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawBudget {
    /// Writes, 1 to 256.
    pub writes: At<i64>,
    /// In any window of this length.
    pub per: At<Literal>,
}

/// A joint limit: the weighted sum of the setpoints is at most `max`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRow {
    /// Weight of each setpoint, such as "2 kN / 1 bar".
    pub weights: Named<At<Literal>>,
    /// The limit, in the unit of the weights' first part.
    pub max: At<Literal>,
}

/// A control loop: exactly one of `run_to_run`, `rules`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLoop {
    /// What it moves.
    pub setpoint: At<String>,
    /// Highest mode the recipe allows: "shadow", "advisory" or "auto".
    pub mode: At<String>,
    /// Tags that must be good besides those of the features it uses.
    #[serde(default)]
    pub inputs: Vec<At<String>>,
    /// Interlocks that must be closed; default all.
    pub interlocks: Option<Vec<At<String>>>,
    /// Monitor in whose domain the loop must be to use its models.
    pub domain: Option<At<String>>,
    /// Parts after a confirmed move before its effect is judged; default 1.
    pub settle: Option<At<i64>>,
    /// Correction from measured quality.
    pub run_to_run: Option<At<RawRunToRun>>,
    /// Correction by a table of moves.
    pub rules: Option<At<RawRules>>,
    /// Parts without a label after which feedback from labels stops; default 60.
    pub label_timeout: Option<At<i64>>,
    /// When the loop must have proved itself.
    pub effect: Option<At<RawEffect>>,
}

/// Correction from measured quality.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRunToRun {
    /// What is controlled.
    pub label: At<String>,
    /// Value wanted.
    pub target: At<Literal>,
    /// Half of the tolerance, > 0.
    pub tolerance: At<Literal>,
    /// Change of the label per change of the setpoint, such as "0.00175 g / 1 bar".
    pub gain: At<Literal>,
    /// Standard error of the gain, from the bump test.
    pub gain_error: Option<At<Literal>>,
    /// Weight of a new label, 0 to 1; default 0.3.
    pub lambda: Option<At<Literal>>,
    /// Labels before the first move; default 8.
    pub labels: Option<At<i64>>,
    /// Soft sensor whose prediction is fed forward.
    pub feed_forward: Option<At<String>>,
    /// Weight of the newest prediction, 0 to 1; default 0.5.
    pub filter: Option<At<Literal>>,
}

/// Correction by a table: the first signature that is on moves the setpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRules {
    /// Share of the trim given back per part while no signature is on; default "10 %".
    pub decay: Option<At<Literal>>,
    /// Signatures and moves, the most important first.
    pub moves: At<Vec<At<RawMove>>>,
}

/// A signature and the move it causes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawMove {
    /// The signature.
    pub on: At<String>,
    /// The move, up or down.
    #[serde(rename = "move")]
    pub by: At<Literal>,
}

/// When a loop must have proved itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawEffect {
    /// Labels that are averaged, 2 to 32; default 8.
    pub labels: Option<At<i64>>,
    /// Mean distance from target, in half tolerances, that counts as no help; default 1.5.
    pub worse_than: Option<At<Literal>>,
    /// Moves at a limit in a row before an event; default 50.
    pub saturated_after: Option<At<i64>>,
    /// Crossings of the target in `window` labels that count as oscillation; default 6.
    pub crossings: Option<At<i64>>,
    /// Window of the oscillation detector in labels, up to 64; default 24.
    pub window: Option<At<i64>>,
}

/// A test of the recipe, run on the production code.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCheck {
    /// What it shows, in words.
    pub name: At<String>,
    /// What the machine does.
    pub given: At<RawGiven>,
    /// What trimloop must do.
    pub expect: At<RawExpect>,
}

/// What the machine does in a test: `parts` parts, one after the other.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGiven {
    /// How many parts are made, 1 to 512.
    pub parts: At<i64>,
    /// Mode the loops are asked for: "shadow" or "auto" (default).
    pub mode: Option<At<String>>,
    /// Values of tags during the parts. Others: setpoints at baseline, interlocks closed,
    /// bindings matching, the rest in the middle of their range.
    #[serde(default)]
    pub values: Named<At<Literal>>,
    /// Measured value of each label, as it would be with all setpoints at their baselines. Where
    /// a run-to-run loop controls it, it follows that loop's setpoint by the loop's gain.
    #[serde(default)]
    pub labels: Named<At<Literal>>,
    /// Interlocks that are open.
    #[serde(default)]
    pub open: Vec<At<String>>,
}

/// What trimloop must do by the end of the test.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawExpect {
    /// Signature that must be on.
    pub signature: Option<At<String>>,
    /// Signature that must be off.
    pub no_signature: Option<At<String>>,
    /// Setpoint that `moves` and `within` speak of.
    pub setpoint: Option<At<String>>,
    /// "up", "down" or "not": where the setpoint must have been written to, seen from its
    /// baseline.
    pub moves: Option<At<String>>,
    /// Values that the setpoint must never leave.
    pub within: Option<At<Pair>>,
    /// Reason for which the last decision on `setpoint` (or any, if none is named) held, such as
    /// "interlock".
    pub hold: Option<At<String>>,
}

/// A step limit, the same both ways or not.
#[derive(Clone, Debug)]
pub enum RawStep {
    /// Both ways.
    Both(Literal),
    /// Up and down.
    Each(RawUpDown),
}

/// A step limit for each way.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawUpDown {
    /// Largest move up in one write.
    pub up: At<Literal>,
    /// Largest move down in one write.
    pub down: At<Literal>,
}

/// A fault that maintenance works on: what it is seen by, whose it is, and what to do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFault {
    /// What it is seen by: exactly one of its keys.
    pub when: At<RawFaultWhen>,
    /// Asset, as people call it; default the leading PLC's name.
    pub asset: Option<At<String>>,
    /// Component of the asset; default none.
    pub component: Option<At<String>>,
    /// By its consequence, 1 (at once) to 4 (when there is time); default 3.
    pub priority: Option<At<i64>>,
    /// "propose" (default): a person approves the order; "auto": it is made at once.
    pub order: Option<At<String>>,
    /// How long it must be there before the alarm is on; default none.
    pub on_delay: Option<At<Literal>>,
    /// How long it must be gone before the alarm is off; default none.
    pub off_delay: Option<At<Literal>>,
    /// Stays on until a person acknowledges it; default false.
    pub latch: Option<At<bool>>,
    /// How long it must stay away after the work is done; default "8 h".
    pub proof: Option<At<Literal>>,
    /// One line for the order; default from the fault's name.
    pub title: Option<At<String>>,
    /// What to do, for the technician.
    pub advice: Option<At<String>>,
    /// Who is proposed.
    pub assignee: Option<At<String>>,
    /// What it takes to repair it, such as "mechanic": among those who have it somebody is proposed.
    pub skill: Option<At<String>>,
    /// Id of the asset at the system that keeps the orders; default what the settings say.
    pub asset_ref: Option<At<String>>,
    /// Spare parts that are likely to be needed.
    #[serde(default)]
    pub parts: Vec<At<RawFaultPart>>,
}

/// Maintenance that is due by a meter.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPlan {
    /// How often: "50000 cycles" (parts) or "500 h" (of running), counted from when it was done last.
    pub every: At<String>,
    /// Asset, as people call it; default the leading PLC's name.
    pub asset: Option<At<String>>,
    /// Component of the asset; default none.
    pub component: Option<At<String>>,
    /// By its consequence, 1 (at once) to 4 (when there is time); default 3.
    pub priority: Option<At<i64>>,
    /// "propose" (default): a person approves the order; "auto": it is made at once.
    pub order: Option<At<String>>,
    /// One line for the order; default from the plan's name.
    pub title: Option<At<String>>,
    /// What to do, for the technician.
    pub advice: Option<At<String>>,
    /// Who is proposed.
    pub assignee: Option<At<String>>,
    /// What it takes to do it, such as "mechanic": among those who have it somebody is proposed.
    pub skill: Option<At<String>>,
    /// Id of the asset at the system that keeps the orders; default what the settings say.
    pub asset_ref: Option<At<String>>,
    /// Spare parts that are likely to be needed.
    #[serde(default)]
    pub parts: Vec<At<RawFaultPart>>,
}

impl RawPlan {
    /// As a fault whose condition is told elsewhere.
    pub(crate) fn as_fault(&self) -> RawFault {
        RawFault {
            when: At::new(RawFaultWhen::default(), self.every.span()),
            asset: self.asset.clone(),
            component: self.component.clone(),
            priority: self.priority.clone(),
            order: self.order.clone(),
            on_delay: None,
            off_delay: None,
            latch: None,
            proof: None,
            title: self.title.clone(),
            advice: self.advice.clone(),
            assignee: self.assignee.clone(),
            skill: self.skill.clone(),
            asset_ref: self.asset_ref.clone(),
            parts: self.parts.clone(),
        }
    }
}

/// What a fault is seen by.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFaultWhen {
    /// A signature that is on.
    pub signature: Option<At<String>>,
    /// A chart or monitor that is over its limit.
    pub chart: Option<At<String>>,
    /// A loop that stands at a limit for too long.
    pub saturated: Option<At<String>>,
    /// A loop that tripped.
    pub tripped: Option<At<String>>,
    /// A tag that is not good.
    pub sensor: Option<At<String>>,
    /// A PLC whose link or heartbeat is lost.
    pub link: Option<At<String>>,
    /// A model that is out of its domain.
    pub domain: Option<At<String>>,
    /// A model that drifts.
    pub drift: Option<At<String>>,
    /// A loop, with `authority_used`.
    #[serde(rename = "loop")]
    pub of_loop: Option<At<String>>,
    /// Share of the loop's trim from which on it counts, such as "60 %".
    pub authority_used: Option<At<Literal>>,
}

/// A spare part.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFaultPart {
    /// What people call it.
    pub name: At<String>,
    /// As the store or the CMMS names it; default its name.
    #[serde(rename = "ref")]
    pub reference: Option<At<String>>,
    /// How many, 1 to 999; default 1.
    pub quantity: Option<At<i64>>,
}
