//! JSON shapes, one per `schema` id. Core types are never serialised as they are.

use serde::{Deserialize, Serialize};

/// `trimloop.status/2`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `trimloop.status/2`.
    pub schema: String,
    /// Version of the service.
    pub version: String,
    /// UTC.
    pub generated: String,
    /// Whether all links are up, the records are sound and no loop is tripped.
    pub ok: bool,
    /// Name of the service.
    pub cell: String,
    /// Recipe.
    pub recipe: String,
    /// Its revision.
    pub revision: u32,
    /// The PLC links; the first leads.
    pub plcs: Vec<LinkStatus>,
    /// Part being made.
    pub part: i64,
    /// Writes confirmed since the start.
    pub writes: u64,
    /// Loops.
    pub loops: Vec<LoopStatus>,
    /// Models that drift, a line for each check that says so.
    #[serde(default)]
    pub drifts: Vec<DriftLine>,
    /// Forecasts after the newest part, where the recipe asks for them.
    #[serde(default)]
    pub forecasts: Vec<ForecastLine>,
    /// Tags.
    pub tags: Vec<TagStatus>,
    /// What the shells told last, oldest first.
    #[serde(default)]
    pub notices: Vec<NoticeLine>,
    /// Sinks of history, such as InfluxDB.
    #[serde(default)]
    pub sinks: Vec<SinkLine>,
    /// Counters by name.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// Change received to write confirmed [ms].
    pub latency_ms: Latency,
    /// Whether journal and store take records; else nothing is written to the PLC.
    pub records_sound: bool,
}

/// One check by which a model drifts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DriftLine {
    /// The model.
    pub model: String,
    /// `inputs`, `score`, `domain`, `loss` or `calibration`.
    pub check: String,
    /// The input, of `inputs`.
    pub feature: Option<String>,
    /// What was found.
    pub value: f64,
    /// The limit it was held against.
    pub limit: f64,
    /// For people.
    pub sentence: String,
}

/// Where the score of a monitor, or what a soft sensor predicts, goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForecastLine {
    /// The model.
    pub model: String,
    /// Expected at the horizon.
    pub forecast: f64,
    /// Lower end of the 90 % interval there.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// `none`, `up` or `down`.
    pub trend: String,
    /// Parts until a limit is reached; 0 when it is passed, none when that cannot be foreseen.
    pub time_to_limit: Option<f64>,
    /// Its 10 % quantile.
    pub time_to_limit_p10: Option<f64>,
    /// Its 90 % quantile.
    pub time_to_limit_p90: Option<f64>,
    /// For people.
    pub sentence: String,
}

/// A sink of history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkLine {
    /// Its name: `influx`.
    pub name: String,
    /// Where it sends to.
    pub url: String,
    /// `starting`, `sending`, `retrying` or `held`.
    pub state: String,
    /// Why it does not send.
    pub why: Option<String>,
    /// Rows that wait.
    pub behind_rows: u64,
    /// Age of the oldest of them [s].
    pub behind_seconds: f64,
    /// `rows_sent`, `rows_resent`, `rows_dead`, `rows_quarantined`, `rows_expired`, and
    /// `requests_STATUS`; all since the start.
    pub counters: std::collections::BTreeMap<String, u64>,
}

/// One notice: a register that is not as configured, a certificate that runs out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeLine {
    /// UTC.
    pub at: String,
    /// Stable word.
    pub code: String,
    /// What it is about.
    pub subject: String,
    /// What is the matter, and what to do.
    pub sentence: String,
}

/// The link to one PLC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// PLC config.
    pub plc: String,
    /// A session with live subscriptions stands.
    pub up: bool,
    /// Its number.
    pub epoch: u64,
    /// Age of the last sign of life [ms].
    pub age_ms: Option<f64>,
    /// `down`, `connecting`, `resolving`, `subscribed`, `live`, `refused` or `stopped`.
    #[serde(default)]
    pub state: String,
    /// Address of the PLC that is used, or tried.
    #[serde(default)]
    pub address: String,
    /// How many addresses the PLC has.
    #[serde(default)]
    pub addresses: usize,
    /// What went wrong last.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Nodes that are not what the PLC config says.
    #[serde(default)]
    pub problems: Vec<String>,
    /// A gap that is being filled from the PLC's own history, in words.
    #[serde(default)]
    pub backfill: Option<String>,
}

/// A loop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoopStatus {
    /// Its name.
    pub name: String,
    /// Mode in force.
    pub mode: String,
    /// Mode asked for.
    pub asked: String,
    /// `unknown`, `ours` or `operator`.
    pub owner: String,
    /// `clear`, `returning` or `latched`.
    pub trip: String,
    /// Why it tripped.
    pub trip_reason: Option<String>,
    /// Place on the fallback ladder.
    pub rung: String,
    /// Setpoint it moves.
    pub setpoint: String,
    /// Its unit.
    pub unit: String,
    /// Decimals that its grid shows.
    pub decimals: u8,
    /// Register as read back.
    pub read_back: Option<f64>,
    /// What the controller wants.
    pub desired: Option<f64>,
    /// What the limits leave of it.
    pub limited: Option<f64>,
    /// First reason of the last hold.
    pub held: Option<String>,
    /// Share of the trim in use [%].
    pub authority_used_percent: f64,
    /// Share of step and trim allowed [%].
    pub authority_percent: f64,
    /// Writes confirmed since the start.
    pub writes: u64,
    /// Id of the newest write, for `trimloop why`.
    #[serde(default)]
    pub last_write: Option<String>,
    /// A proposal that waits for a person.
    pub proposal: Option<ProposalStatus>,
}

/// A proposal that waits for a person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProposalStatus {
    /// Its number, for `trimloop loop approve|deny`.
    pub id: u64,
    /// Where the setpoint stood.
    pub from: f64,
    /// Where it should go.
    pub to: f64,
    /// The same in ticks, as an approval must repeat it.
    pub from_ticks: i64,
    /// Time left [ms].
    pub expires_ms: Option<f64>,
}

/// A tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TagStatus {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its value, for display only when `quality` is not `good`.
    pub value: Option<f64>,
    /// Verdict of the last scan.
    pub quality: String,
    /// Age of the last sample [ms].
    pub age_ms: Option<f64>,
}

/// Percentiles [ms]; `None` without a single measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: Option<f64>,
    /// 99 of 100 are shorter.
    pub p99: Option<f64>,
}

/// One line of `trimloop.events/1`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// For `trimloop why`.
    #[serde(default)]
    pub id: String,
    /// UTC.
    pub utc: String,
    /// Part being made.
    pub part: i64,
    /// Stable word.
    pub code: String,
    /// Whom it is about.
    pub subject: String,
    /// One word or number more.
    pub detail: String,
    /// For people.
    pub sentence: String,
}

/// `trimloop.loop/1`: what became of an order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoopAnswer {
    /// `trimloop.loop/1`, or `trimloop.plan/1` for a dry run.
    pub schema: String,
    /// Version of the service.
    pub version: String,
    /// UTC.
    pub generated: String,
    /// Whether it was (or would be) carried out.
    pub ok: bool,
    /// Loop.
    #[serde(rename = "loop")]
    pub loop_name: String,
    /// What was asked.
    pub action: String,
    /// Mode in force before.
    pub before: String,
    /// Mode in force after.
    pub after: String,
    /// Number of the order; 0 for a dry run.
    pub order: u64,
    /// What that means, for people.
    pub message: String,
    /// Setpoint moves that the order itself would make: none, orders only queue commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
}
