//! Faults for maintenance, as a recipe declares them. They decide nothing about setpoints, so they
//! are no part of the plan, its hash or a journal.

use trimloop_core::time::Span;

/// A fault of the recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Its name: the failure mode.
    pub name: String,
    /// What it is seen by.
    pub when: When,
    /// Asset.
    pub asset: String,
    /// Component; empty for the asset as a whole.
    pub component: String,
    /// 1, the most urgent, to 4.
    pub priority: u8,
    /// Whether the order is made at once; else a person approves it.
    pub is_auto: bool,
    /// Time to be there before it counts.
    pub on_delay: Span,
    /// Time to be gone before it counts.
    pub off_delay: Span,
    /// Stays on until a person acknowledges it.
    pub latches: bool,
    /// Time to stay away after the work; `None` for the usual one.
    pub proof: Option<Span>,
    /// One line for the order.
    pub title: String,
    /// What to do; may be empty.
    pub advice: String,
    /// Who is proposed.
    pub assignee: Option<String>,
    /// What it takes to repair it.
    pub skill: Option<String>,
    /// Id of the asset at the system that keeps the orders.
    pub asset_ref: Option<String>,
    /// Spare parts: name, reference, quantity.
    pub parts: Vec<(String, String, u32)>,
}

/// What counts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// Parts made.
    Cycles,
    /// Hours run.
    RunHours,
}

/// What a fault is seen by; names are those of the recipe, and known.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    /// A signature is on.
    Signature(String),
    /// A chart or monitor is over its limit.
    Chart(String),
    /// A loop is at a limit for too long.
    Saturated(String),
    /// A loop tripped.
    Tripped(String),
    /// A tag is not good.
    Sensor(String),
    /// The link to a PLC is lost.
    Link(String),
    /// A model is out of its domain.
    Domain(String),
    /// A model drifts.
    Drift(String),
    /// A loop uses this share of its trim or more [%].
    AuthorityUsed(String, f64),
    /// A meter went on by so much since the work was done last.
    Every(Meter, u32),
}
