//! The [`Plan`]: a checked recipe bound to tags and models, everything bounded.
//!
//! Only `trimloop-recipe` makes plans for the service. [`Cell::new`](crate::cell::Cell::new)
//! checks once more what its own memory safety and bounds rest on ([`Plan::check`]).
//!
//! Units: floats carry the unit that the recipe states for the tag or characteristic; setpoint
//! limits are [`Ticks`] of the setpoint's grid, rounded inward.

mod check;
mod directions;
mod drift;
mod forecast;
mod forest;
mod logistic;
mod network;
mod reach;

use alloc::string::String;
use alloc::vec::Vec;

use crate::tag::TagId;
use crate::time::Span;
use crate::unit::{Grid, Ticks};

pub use directions::{Directions, SIZES_MAX};
pub use drift::{BINS, ChallengerPlan, DriftPlan, InputReference, ScoreReference};
pub use forecast::ForecastOf;
pub use forest::{CLASSES_MAX, COLUMNS_MAX, DEPTH_MAX, ForestPlan, LinearTerms, Link, Node};
pub use forest::{Step, Tree};
pub use logistic::{Calibration, LogisticPlan};
pub use network::{Activation, LAYERS_MAX, Layer, NetworkPlan, UNITS_MAX, WEIGHTS_MAX};
pub use reach::Reach;

/// Most tags in one plan.
pub const TAGS_MAX: usize = 60_000;
/// Most PLCs of one cell.
pub const PLCS_MAX: usize = 8;
/// Most features in one plan.
pub const FEATURES_MAX: usize = 1024;
/// Most samples taken into one scan; the rest wait for the next, counted.
pub const CHANGES_MAX: usize = 65_536;
/// Most setpoints in one plan.
pub const SETPOINTS_MAX: usize = 64;
/// Parts kept while their labels are awaited.
pub const PARTS_MAX: usize = 512;
/// Longest n-of-m window of a signature.
pub const N_OF_M_MAX: u8 = 32;
/// Longest lag of a feature [parts].
pub const LAG_MAX: u8 = 64;
/// Most parts before a part that a principal-component monitor looks at beside it.
pub const PCA_LAGS_MAX: u8 = 10;
/// Most writes that a budget window can hold.
pub const BUDGET_MAX: u32 = 256;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u16);

        impl $name {
            /// As an index.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

impl TagId {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

index! {
    /// Index into [`Plan::links`].
    PlcId
}

impl PlcId {
    /// The PLC that leads: its clock tag moves process time.
    pub const LEAD: Self = Self(0);
}

index! {
    /// Index into [`Plan::features`].
    FeatureId
}
index! {
    /// Index into [`Plan::models`].
    ModelId
}
index! {
    /// Index into [`Plan::signatures`].
    SignatureId
}
index! {
    /// Index into [`Plan::setpoints`].
    SetpointId
}
index! {
    /// Index into [`Plan::loops`].
    LoopId
}
index! {
    /// Index into [`Plan::interlocks`].
    InterlockId
}
index! {
    /// Index into [`Plan::characteristics`].
    CharacteristicId
}

/// A checked recipe. Index types above point into its vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Recipe name.
    pub name: String,
    /// Recipe revision.
    pub revision: u32,
    /// SHA-256 of recipe, PLC configs and models as bound together.
    pub hash: [u8; 32],
    /// Tags, those of setpoints and heartbeat included.
    pub tags: Vec<TagPlan>,
    /// Longest time between two scans.
    pub period: Span,
    /// How production is cut into parts.
    pub cycle: CyclePlan,
    /// One link per PLC, 1 to [`PLCS_MAX`]; the first is the PLC that leads ([`PlcId::LEAD`]).
    pub links: Vec<LinkPlan>,
    /// What must match before anything is written: product, recipe number, machine mode.
    pub bindings: Vec<BindingPlan>,
    /// Numbers taken from the tags for each part.
    pub features: Vec<FeaturePlan>,
    /// Scores over features.
    pub models: Vec<ModelPlan>,
    /// Models that are watched for drift.
    pub drifts: Vec<DriftPlan>,
    /// Models whose course is forecast.
    pub forecasts: Vec<ForecastOf>,
    /// Models that run beside others and drive nothing.
    pub challengers: Vec<ChallengerPlan>,
    /// Defect signatures: rules over features and scores.
    pub signatures: Vec<SignaturePlan>,
    /// Conditions of acting.
    pub interlocks: Vec<InterlockPlan>,
    /// Measured quality that comes back later.
    pub characteristics: Vec<CharacteristicPlan>,
    /// What may be moved, and how far.
    pub setpoints: Vec<SetpointPlan>,
    /// Joint limits over several setpoints.
    pub rows: Vec<RowPlan>,
    /// Control loops, each over one setpoint; no two share one.
    pub loops: Vec<LoopPlan>,
}

/// One tag and the image's checks on it.
#[derive(Clone, Debug, PartialEq)]
pub struct TagPlan {
    /// Name in the recipe.
    pub name: String,
    /// The PLC that it is read from and written to.
    pub plc: PlcId,
    /// Unit as written in the recipe; empty for counts and contacts.
    pub unit: String,
    /// Plausible values `[lo, hi]`, outside is Bad; `None` leaves it to the server.
    pub range: Option<(f64, f64)>,
    /// Fastest plausible change [unit/s of process time].
    pub rate_max: Option<f64>,
    /// Smallest step the sensor can show [unit]; floors the spike check.
    pub resolution: f64,
    /// Whether single outliers are set aside (median of 7, 3 MAD).
    pub spike: bool,
    /// Unchanged samples in a row, machine running, before the tag is Suspect; 0 = never.
    pub frozen_after: u32,
    /// Own-sample age [link time] after which the tag is Stale. `None`: only the link's life
    /// counts, because a steady value sends nothing.
    pub stale_after: Option<Span>,
    /// Whether Uncertain counts as Good for this tag.
    pub accept_uncertain: bool,
}

/// How production is cut into parts (or ticks, which are parts of a continuous process).
#[derive(Clone, Debug, PartialEq)]
pub struct CyclePlan {
    /// The cut.
    pub cut: Cut,
    /// First parts after start, a stop or a product change, which feed no estimator.
    pub warm_up: u32,
    /// Process time after the begin of a part in which a moved setpoint still counts as in force
    /// for all of it, because the machine takes its setpoints over later in the cycle; zero = any
    /// move makes the part mixed.
    pub latch: Span,
    /// Tag and value that say "producing" (`PackML` Execute is 6); parts made otherwise are flagged.
    pub running: Option<(TagId, i64)>,
}

/// What ends a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The id tag changes; the new id names the part just finished.
    Finished(TagId),
    /// The id tag changes; the new id names the part that begins.
    Started(TagId),
    /// Every so much process time; parts are numbered from 1.
    Every(Span),
}

/// The link to one PLC: its session, heartbeat, enable contact and clock are its own.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkPlan {
    /// Name of its PLC config.
    pub name: String,
    /// Link silence [link time] after which every tag of this PLC is Stale and nothing is written
    /// to it.
    pub stale_after: Span,
    /// Heartbeat both ways, where the PLC has one.
    pub heartbeat: Option<HeartbeatPlan>,
    /// Contact by which the PLC permits writes; anything but true caps the mode of the loops on it
    /// at SHADOW.
    pub enable: Option<TagId>,
    /// PLC clock [ms since the Unix epoch]. Process time follows that of the leading PLC; those of
    /// the others only place the stamps of their own tags.
    pub clock: Option<TagId>,
    /// Largest believable forward step of the PLC clock between two of its samples; a larger one
    /// counts as a jump and adds no process time.
    pub clock_step_max: Span,
    /// Largest believable difference between a stamp and our clock (mapped to link time).
    pub skew_max: Span,
}

/// Life signs both ways [link time].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatPlan {
    /// Tag in which the PLC echoes our counter.
    pub echo: TagId,
    /// Time between our beats.
    pub period: Span,
    /// Echo age after which nothing is written.
    pub timeout: Span,
}

/// A tag that must hold one value, else trimloop is bound to another product or machine state.
#[derive(Clone, Debug, PartialEq)]
pub struct BindingPlan {
    /// What it is called in events.
    pub name: String,
    /// The tag.
    pub tag: TagId,
    /// The value it must hold.
    pub equals: i64,
}

/// One number per part.
#[derive(Clone, Debug, PartialEq)]
pub struct FeaturePlan {
    /// Name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// Where it comes from.
    pub tag: TagId,
    /// What is taken.
    pub take: Take,
    /// Exponential window [process time]; `None` takes the part's own samples only.
    pub window: Option<Span>,
    /// Parts by which the tag runs ahead of the part it made.
    pub lag: u8,
    /// Least share of Good time or samples, 0 to 1; below it the feature is unknown.
    pub coverage_min: f64,
    /// Worked out of two other features instead of the tag, which is then that of the first.
    pub combine: Option<Combine>,
}

/// A feature made of two others of the same part, neither of them combined itself. Unknown when one
/// of them is, or when the result is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// The first less the second.
    Difference(FeatureId, FeatureId),
    /// The first times the second.
    Product(FeatureId, FeatureId),
    /// The first over the second.
    Ratio(FeatureId, FeatureId),
}

impl Combine {
    /// The two features.
    pub const fn of(self) -> (FeatureId, FeatureId) {
        match self {
            Self::Difference(a, b) | Self::Product(a, b) | Self::Ratio(a, b) => (a, b),
        }
    }
}

/// What a feature takes from its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The value in force when the part ended.
    Last,
    /// Mean.
    Mean,
    /// Standard deviation.
    Deviation,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
    /// Least-squares slope [unit/s].
    Slope,
}

/// A score over features.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelPlan {
    /// Name.
    pub name: String,
    /// SHA-256 of the artifact; all zero for charts written in the recipe.
    pub hash: [u8; 32],
    /// The mathematics.
    pub model: Model,
}

/// The kinds of model.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a few in a plan, and none is moved in a step")]
pub enum Model {
    /// EWMA, CUSUM or run rules on one feature.
    Chart(ChartPlan),
    /// T2 and SPE over many features.
    Pca(PcaPlan),
    /// T2 and SPE of one-step errors: many features whose rows remember one another.
    Monitor(MonitorPlan),
    /// Several dynamic monitors under limits found together.
    Combined(CombinedPlan),
    /// Linear soft sensor with interval.
    Linear(LinearPlan),
    /// Classifier made of trees.
    Forest(ForestPlan),
    /// Logistic classifier.
    Logistic(LogisticPlan),
}

/// A control chart on one standardised feature or on the one-step residual of a soft sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ChartPlan {
    /// What is charted.
    pub input: FeatureId,
    /// In-control mean [unit of the feature].
    pub mean: f64,
    /// In-control standard deviation [unit of the feature], > 0.
    pub deviation: f64,
    /// AR(1) coefficient of the in-control feature, -1 < x < 1; the chart runs on one-step
    /// residuals `x_k - ar*x_(k-1)`, which are independent where the raw values are not.
    pub ar: f64,
    /// The statistic.
    pub kind: Chart,
}

/// The chart statistics of `methods.md` section 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Chart {
    /// `z += lambda (x - z)`; signal at `width * sqrt(lambda/(2-lambda))`.
    Ewma {
        /// Weight of the newest value, 0 < x <= 1.
        lambda: f64,
        /// Limit width L in standard deviations of z.
        width: f64,
    },
    /// Two-sided `C = max(0, C + x - k)`; signal at `h`.
    Cusum {
        /// Allowance k [standard deviations].
        allowance: f64,
        /// Decision interval h [standard deviations].
        decision: f64,
    },
    /// Signal beyond 3 standard deviations, and by run rules.
    Shewhart {
        /// Which rules.
        rules: Rules,
    },
}

/// Sets of run rules, numbered as by Nelson (1984).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// 1: beyond 3.
    Shewhart,
    /// 1; 2 of 3 beyond 2; 4 of 5 beyond 1; 8 on one side.
    WesternElectric,
    /// 1, 2, 5 and 6: beyond 3; 9 on one side; 2 of 3 beyond 2; 4 of 5 beyond 1.
    Standard,
    /// All eight: also 6 rising or falling, 14 alternating, 15 within 1, 8 beyond 1.
    Nelson,
}

/// A principal-component monitor. `p` inputs, `k` components, `w = (lags + 1) p` values.
#[derive(Clone, Debug, PartialEq)]
pub struct PcaPlan {
    /// `[p]` features.
    pub inputs: Vec<FeatureId>,
    /// Parts before each part that are judged with it, 0 to [`PCA_LAGS_MAX`]; 0: the part alone.
    pub lags: u8,
    /// `[p]` training means.
    pub mean: Vec<f64>,
    /// `[p]` training standard deviations, each > 0.
    pub scale: Vec<f64>,
    /// `[k][w]` row-major orthonormal loadings: those of the part, then of the part before it, ...
    pub loadings: Vec<f64>,
    /// `[k]` eigenvalues, each > 0, largest first.
    pub eigenvalues: Vec<f64>,
    /// Alarm limits.
    pub alarm: PcaLimits,
    /// Limits of the validity domain (99.9 %).
    pub domain_out: PcaLimits,
    /// Limits for coming back into the domain (99 %).
    pub domain_in: PcaLimits,
}

impl PcaPlan {
    /// Values that are judged at once: `(lags + 1) p`.
    pub fn width(&self) -> usize {
        (usize::from(self.lags) + 1).saturating_mul(self.inputs.len())
    }
}

/// A dynamic monitor on the errors of predicting each row from the one before. `p` inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorPlan {
    /// `[p]` features.
    pub inputs: Vec<FeatureId>,
    /// `[p]` training means.
    pub mean: Vec<f64>,
    /// `[p]` training standard deviations, each > 0.
    pub scale: Vec<f64>,
    /// `[p][p]` row-major: the expected standardised row is this times the standardised row
    /// before it.
    pub transition: Vec<f64>,
    /// `[p][p]` row-major, symmetric and positive definite: inverse covariance of the errors.
    pub precision: Vec<f64>,
    /// `[g]`, each >= 1: how much larger an error is after 1, 2, ... missing rows; the last also
    /// for the first row of all, which is measured from the mean.
    pub gap: Vec<f64>,
    /// Weight of the newest error in T2, 0 < x <= 1.
    pub weight_t2: f64,
    /// Weight of the newest squared error in SPE, 0 < x <= 1.
    pub weight_spe: f64,
    /// Alarm limits. Beyond them the monitor is out of its domain too.
    pub alarm: PcaLimits,
}

/// Several dynamic monitors of the same features, whose limits were found together.
#[derive(Clone, Debug, PartialEq)]
pub struct CombinedPlan {
    /// At least one, each with the same inputs.
    pub members: Vec<MonitorPlan>,
}

impl CombinedPlan {
    /// The features.
    pub fn inputs(&self) -> &[FeatureId] {
        self.members.first().map_or(&[], |member| &member.inputs)
    }
}

/// A pair of limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PcaLimits {
    /// Limit of T2.
    pub t2: f64,
    /// Limit of SPE.
    pub spe: f64,
}

/// A linear soft sensor `y = intercept + sum(coef * x)`. `p` inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearPlan {
    /// `[p]` features.
    pub inputs: Vec<FeatureId>,
    /// `[p]` coefficients [unit of y per unit of the feature].
    pub coefficients: Vec<f64>,
    /// `[p]` training means, the reference of contributions [unit of the feature].
    pub mean: Vec<f64>,
    /// `[p]` training standard deviations, each > 0.
    pub scale: Vec<f64>,
    /// Intercept [unit of y].
    pub intercept: f64,
    /// Half width of the conformal prediction interval [unit of y].
    pub half_width: f64,
    /// `[p]` lowest and highest training values; outside is out of domain.
    pub span: Vec<(f64, f64)>,
    /// Monitor whose domain this sensor shares.
    pub domain: Option<ModelId>,
}

/// What a clause looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A feature [its unit].
    Feature(FeatureId),
    /// The chart's statistic as a share of its limit: 1 is the limit.
    Chart(ModelId),
    /// T2 as a share of its alarm limit.
    T2(ModelId),
    /// SPE as a share of its alarm limit.
    Spe(ModelId),
    /// Prediction of a soft sensor [unit of y].
    Prediction(ModelId),
    /// Probability of one class of a classifier, by its place, 0 to 1.
    Probability(ModelId, u8),
}

/// One comparison with hysteresis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clause {
    /// What is compared.
    pub source: Source,
    /// True when above the limits, else below.
    pub above: bool,
    /// Limit at which the clause becomes true.
    pub on: f64,
    /// Limit at which it becomes false; on the near side of `on`.
    pub off: f64,
}

/// A defect signature: clauses joined, held for n of m parts.
#[derive(Clone, Debug, PartialEq)]
pub struct SignaturePlan {
    /// Name of the defect.
    pub name: String,
    /// Clauses, 1 to 8.
    pub clauses: Vec<Clause>,
    /// All clauses, or any.
    pub all: bool,
    /// Parts that must agree ...
    pub need: u8,
    /// ... among so many (1 to [`N_OF_M_MAX`]).
    pub of: u8,
}

/// A condition of acting. Unknown counts as open.
#[derive(Clone, Debug, PartialEq)]
pub struct InterlockPlan {
    /// Name.
    pub name: String,
    /// The tag.
    pub tag: TagId,
    /// When it is closed (acting is permitted).
    pub closed: Condition,
    /// Whether opening trips the loops instead of holding them.
    pub trips: bool,
}

/// A test on one tag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// Holds this whole number (a contact is 0 or 1).
    Equals(i64),
    /// At least.
    Above(f64),
    /// At most.
    Below(f64),
}

/// Measured quality that comes back from inspection.
#[derive(Clone, Debug, PartialEq)]
pub struct CharacteristicPlan {
    /// Name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// Tag that names the inspected part; a change of it is a label.
    pub part: TagId,
    /// Tag with the measured value.
    pub value: TagId,
    /// Plausible values; outside, the label is refused.
    pub range: (f64, f64),
}

/// A setpoint and its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct SetpointPlan {
    /// Name.
    pub name: String,
    /// Unit.
    pub unit: String,
    /// Tag that is written and read back.
    pub tag: TagId,
    /// The grid all ticks below count.
    pub grid: Grid,
    /// Recipe value.
    pub baseline: Ticks,
    /// Lowest value.
    pub low: Ticks,
    /// Highest value.
    pub high: Ticks,
    /// Largest distance from the baseline, > 0.
    pub trim_max: Ticks,
    /// Largest move up in one write, > 0.
    pub step_up: Ticks,
    /// Largest move down in one write, > 0.
    pub step_down: Ticks,
    /// Largest change per time.
    pub rate: Option<Rate>,
    /// Smallest change worth writing.
    pub deadband: Ticks,
    /// Least process time between two writes.
    pub dwell: Span,
    /// Writes per sliding window.
    pub budget: Option<Budget>,
    /// Tags with the PLC's own limits, where it shows them.
    pub plc_low: Option<TagId>,
    /// See `plc_low`.
    pub plc_high: Option<TagId>,
    /// Link time in which a write must be read back.
    pub confirm: Span,
    /// Link time after which an unsent write is dropped.
    pub ttl: Span,
}

/// A rate limit: at most `ticks` in any `per` of process time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Distance, > 0.
    pub ticks: Ticks,
    /// Time, > 0.
    pub per: Span,
}

/// At most `writes` in any `per` of process time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Writes, 1 to [`BUDGET_MAX`].
    pub writes: u32,
    /// Window, > 0.
    pub per: Span,
}

/// A joint limit `sum(weight * ticks) <= max` in whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct RowPlan {
    /// Name.
    pub name: String,
    /// Weight of each setpoint that takes part; magnitude at most 10^6.
    pub weights: Vec<(SetpointId, i64)>,
    /// The limit.
    pub max: i64,
}

/// A control loop.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopPlan {
    /// Name.
    pub name: String,
    /// What it moves.
    pub setpoint: SetpointId,
    /// How it decides.
    pub controller: Controller,
    /// Highest mode the recipe allows.
    pub mode_max: crate::mode::Mode,
    /// Tags that must be Good for rung 0, besides those of the features it uses.
    pub inputs: Vec<TagId>,
    /// Interlocks that must be closed.
    pub interlocks: Vec<InterlockId>,
    /// Monitor in whose domain rung 0 must be.
    pub domain: Option<ModelId>,
    /// Parts after a confirmed move before its effect is judged or another move proposed.
    pub settle: u32,
    /// Parts without a label after which label feedback no longer counts; 0 = no label feedback.
    pub label_timeout: u32,
    /// Effect verification.
    pub effect: EffectPlan,
}

/// When a loop must have proved itself (`methods.md` section 4, checks 18 to 21).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EffectPlan {
    /// Labels that are looked at together, 2 to 32.
    pub labels: u8,
    /// Median distance from target, in half tolerances, above which the moves have not helped.
    pub worse_than: f64,
    /// Moves at a limit in a row before an event is raised [parts].
    pub saturated_after: u32,
    /// Zero crossings of the label error in `oscillation_window` labels that count as oscillation.
    pub oscillation_crossings: u8,
    /// Window of the oscillation detector [labels], up to 64.
    pub oscillation_window: u8,
}

/// How a loop decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Controller {
    /// C0: moves by table.
    Rules(RulesPlan),
    /// C1: run-to-run EWMA.
    RunToRun(RunToRunPlan),
}

/// C0: the first signature that is on moves the setpoint; none on decays it to the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct RulesPlan {
    /// Signature and move, in order of precedence.
    pub rows: Vec<(SignatureId, Ticks)>,
    /// Share of the trim given back per part while no signature is on, in 1/1000.
    pub decay_permille: u16,
}

/// C1: `e = y - b (u - u_b) - f(z) - a`, `a += lambda e`, `u* = u_b + (T - f(z) - a) / b`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunToRunPlan {
    /// What is controlled.
    pub characteristic: CharacteristicId,
    /// Target T [qu].
    pub target: f64,
    /// Half tolerance [qu], > 0.
    pub tolerance: f64,
    /// Gain b used [qu per setpoint unit]; already `sign(b)(|b| + 2 se)` by the gain rule.
    pub gain: f64,
    /// Weight of a new label, 0 < x <= 1.
    pub lambda: f64,
    /// Labels before the first move.
    pub labels_min: u32,
    /// Soft sensor of y at the baseline setpoint, fed forward on rung 0.
    pub feed_forward: Option<ModelId>,
    /// Weight of the newest prediction in the fed-forward EWMA, 0 < x <= 1.
    pub feed_forward_filter: f64,
}

impl Plan {
    /// A plan that only scores: these models, whose inputs are numbered as the caller numbers his
    /// columns, and no machine.
    pub fn of_models(name: String, hash: [u8; 32], models: Vec<ModelPlan>) -> Self {
        Self {
            name,
            revision: 1,
            hash,
            tags: Vec::new(),
            period: Span::from_secs(1),
            cycle: CyclePlan {
                cut: Cut::Every(Span::from_secs(1)),
                warm_up: 0,
                latch: Span::ZERO,
                running: None,
            },
            links: Vec::new(),
            bindings: Vec::new(),
            features: Vec::new(),
            models,
            drifts: Vec::new(),
            forecasts: Vec::new(),
            challengers: Vec::new(),
            signatures: Vec::new(),
            interlocks: Vec::new(),
            characteristics: Vec::new(),
            setpoints: Vec::new(),
            rows: Vec::new(),
            loops: Vec::new(),
        }
    }

    /// The PLC that a tag lives on; that of an unknown tag is the leading one.
    pub fn plc_of(&self, tag: TagId) -> PlcId {
        self.tags.get(tag.index()).map_or(PlcId::LEAD, |tag| tag.plc)
    }

    /// The PLC that a setpoint lives on; that of an unknown one is the leading one.
    pub fn plc_of_setpoint(&self, setpoint: SetpointId) -> PlcId {
        let setpoint = self.setpoints.get(setpoint.index());
        setpoint.map_or(PlcId::LEAD, |setpoint| self.plc_of(setpoint.tag))
    }

    /// The PLC whose tags or clock cut the parts: that of the id tag, else the leading one.
    pub fn plc_of_cycle(&self) -> PlcId {
        match self.cycle.cut {
            Cut::Finished(id) | Cut::Started(id) => self.plc_of(id),
            Cut::Every(_) => PlcId::LEAD,
        }
    }
}

/// Why a plan was refused; the recipe checker finds all of these first, with line and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanError(pub &'static str);

impl core::fmt::Display for PlanError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "plan refused: {}", self.0)
    }
}

impl core::error::Error for PlanError {}
