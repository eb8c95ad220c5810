//! Requests and answers, one JSON object a line.

use serde::{Deserialize, Serialize};

use crate::work::message::WorkAsk;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// First line of every client: which service is meant, by its data folder. Another service
    /// refuses, so that an order never reaches the wrong machine.
    Hello {
        /// The data folder, canonical.
        data: std::path::PathBuf,
    },
    /// What each loop is doing, and why.
    Status,
    /// Events as they happen, until the client hangs up.
    Events,
    /// A span of time to be read from the PLCs' own history.
    Backfill {
        /// Name of a PLC config; all PLCs when not given.
        #[serde(default)]
        plc: Option<String>,
        /// Begin [ns UTC].
        from: i64,
        /// End [ns UTC].
        to: i64,
    },
    /// An entry for the audit trail about something done beside the service: a model's state.
    Note {
        /// What was done.
        what: String,
        /// Why.
        reason: String,
    },
    /// Something about an alarm, a case or a work order.
    Work {
        /// What.
        ask: WorkAsk,
        /// Why; required.
        reason: String,
    },
    /// An order to a loop.
    Loop {
        /// Its name.
        #[serde(rename = "loop")]
        loop_name: String,
        /// What it shall do.
        action: LoopAction,
        /// Why; required.
        reason: String,
        /// Proposal that is approved or denied; the open one when not given.
        #[serde(default)]
        proposal: Option<u64>,
        /// Only say what would happen.
        #[serde(default)]
        dry_run: bool,
    },
}

/// What a loop can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LoopAction {
    /// The operator takes over; the setpoint stays.
    Manual,
    /// Stop writing and watch on (SHADOW).
    Hold,
    /// SHADOW: decide and record, write nothing.
    Shadow,
    /// ADVISORY: write what a person approves.
    Advisory,
    /// AUTO: write within the limits.
    Auto,
    /// OFF: decide nothing.
    Off,
    /// Approve the open proposal.
    Approve,
    /// Turn it down.
    Deny,
    /// Clear a latched trip; the loop comes back in SHADOW.
    Reset,
}

impl LoopAction {
    /// Stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Hold => "hold",
            Self::Shadow => "shadow",
            Self::Advisory => "advisory",
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Reset => "reset",
        }
    }

    /// Whether it lets trimloop do more than before; such an order needs its audit entry first.
    #[must_use]
    pub const fn gives_authority(self) -> bool {
        matches!(self, Self::Advisory | Self::Auto | Self::Approve | Self::Reset)
    }

    /// Whether only the service's own user may give it.
    #[must_use]
    pub const fn raises_authority(self) -> bool {
        matches!(self, Self::Advisory | Self::Auto)
    }
}

/// What the service answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Done; the object that `--format json` prints.
    Done {
        /// It.
        result: serde_json::Value,
    },
    /// Not done.
    Failed {
        /// Stable code.
        code: String,
        /// What and why.
        error: String,
        /// What next.
        help: String,
        /// Exit code for the client.
        exit: u8,
    },
}
