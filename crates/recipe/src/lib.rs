//! Recipes, PLC configs and model artifacts of trimloop: TOML in, a checked plan out.
//!
//! ```text
//! recipes/NAME.toml     --check-->            Recipe    --+
//! plc-configs/NAME.toml --check_plc_config--> PlcConfig --+--bind--> Bound { plan, plcs, .. }
//! models/NAME/model.tlm --Models::read-->     Models    --+
//! FILE.onnx             --onnx::Imported::read--> ForestPlan --> model.tlm
//! ```
//!
//! - A mistake never panics and never passes: it becomes a [`Diagnostic`] with a code, a place and
//!   advice. One structural mistake ends the reading of a file; else all semantic ones are shown.
//! - Limits go from decimal text to whole [`Ticks`](trimloop_core::unit::Ticks) without a float.
//! - [`Recipe`], [`PlcConfig`] and [`Bound`] cannot be built with errors in them.
//!
//! Modules in reading order: what a number is, what a file looks like, what may be wrong with it,
//! how that is said, what is made of it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::let_underscore_must_use))]

pub mod quantity;
pub mod unit;

pub mod raw;
pub mod spanned;

pub mod check;
pub mod fault;
pub mod recipe;

pub mod codes;
pub mod diagnostic;

pub mod plc_config;

pub mod artifact;
pub mod bind;
pub mod case;
pub mod onnx;
pub mod project;
pub mod schema;

pub use bind::{Bound, Models, PlanFile, bind};
pub use case::run_checks;
pub use check::check;
pub use diagnostic::{Color, Diagnostic, Severity, has_errors, render};
pub use plc_config::{NodeConfig, PlcConfig, check_plc_config};
pub use project::Project;
pub use recipe::Recipe;
