//! Models from files: tables in, artifacts and scores out.
//!
//! - [`read`] turns CSV and Parquet files into one [`Frame`].
//! - [`kinds`] is where the kinds of model hook in: one function to train, one [`kinds::Scorer`].
//! - [`score`] drives a scorer over a frame, a row out for each row in.
//!
//! Nothing here runs on the live path, and nothing reads a clock: the same files, options and seed
//! give the same bytes.

pub mod audit;
pub mod beside;
pub mod card;
mod classifier;
pub mod drift;
mod error;
pub mod evaluate;
pub mod forecast;
mod frame;
#[cfg(feature = "train")]
pub mod import;
pub mod join;
pub mod kinds;
mod label;
pub mod lags;
#[cfg(feature = "train")]
mod leak;
pub mod lifecycle;
mod monitor;
mod plan;
pub mod plots;
pub mod read;
mod regression;
pub mod report;
pub mod score;
mod select;
mod spelling;
pub mod standing;

pub use error::LearnError;
pub use frame::{Cell as FrameCell, Clock, Column, Frame, FrameBuilder, MISSING, Time, Values};
pub use label::{Labels, labels};
pub use select::{Inputs, numeric_inputs};
pub(crate) use spelling::is_name;
