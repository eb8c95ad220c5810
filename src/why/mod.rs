//! Why a setpoint was written, or was not: the chain from inputs to effect, from the data folder
//! alone. The service may run or not.
//!
//! | step | from |
//! |---|---|
//! | write, acknowledgement, read-back, effect | `state.db`, ledger |
//! | wish, limit that cut, outcome, mode | `state.db`, decisions |
//! | inputs with quality and age, checks with margins, terms of the wish | history of that day |
//! | features, scores, contributions, labels | history of that day |
//! | who raised or approved | `state.db`, audit trail |
//! | recipe, models, units | `state.db`, and the plan kept beside the journal |
//!
//! Nothing is computed again: what is told was stored when it was decided, and the journal holds
//! the same rows, so that `replay` proves them. An answer is a few look-ups by key.

mod dto;
mod query;
mod text;

use std::path::PathBuf;

use trimloop_core::time::Utc;

pub use dto::{
    Check, Contribution, Effect, EventRow, Feature, Input, Label, LedgerStep, Model, Order, Score,
    Why, Wish,
};
pub use query::why;
pub use text::why_text;

use crate::output::RecordId;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A record.
    Id(RecordId),
    /// What was decided last at a moment, by one loop or by any.
    At(Utc, Option<String>),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WhyError {
    /// There is no store.
    #[error("there is no {}", .0.display())]
    NoStore(PathBuf),
    /// It could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which database.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Nothing of this id or time.
    #[error("{what}; {known}")]
    Nothing {
        /// What there is not.
        what: String,
        /// What there is.
        known: String,
    },
}
