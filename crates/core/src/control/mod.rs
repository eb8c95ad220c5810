//! Controllers: they only propose. What they want passes the guard like anything else.

mod ewma;
mod rule;

pub use ewma::RunToRun;
pub use rule::rule_move;
