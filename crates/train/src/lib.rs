//! Turns recorded history into the models of trimloop.
//!
//! History is a [`Table`]: one row per part in time order, one named column per feature. Order
//! matters, because neighbouring parts resemble each other: whatever judges a fit here holds out
//! whole blocks of time, never random rows.
//!
//! - [`fit_pca`]: T2 and SPE monitor with limits that hold on fresh rows.
//! - [`fit_components`]: the same of rows with their predecessors (dynamic PCA), for any false-alarm
//!   rate and several runs.
//! - [`fit_monitor`]: T2 and SPE of one-step errors, for rows that remember one another.
//! - [`fit_ridge`], [`fit_pls`]: linear soft sensors with a conformal interval.
//! - [`fit_forest`], [`fit_logistic`]: classifiers with calibrated probabilities.
//! - [`capability`]: Cp, Cpk, Pp, Ppk of a characteristic, with intervals.
//! - [`fit_ar1`]: mean, spread and memory of one feature, for its chart.
//!
//! The same table, options and seed give the same bits. Nothing here runs on the live path:
//! quantiles of F, beta and chi-squared are worked out once and stored in the plan.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::float_cmp))]

mod ar1;
mod blocks;
mod capability;
mod components;
mod forest;
mod limits;
mod linear_algebra;
mod logistic;
mod monitor;
mod noise;
mod pca;
mod pls;
mod promise;
mod ridge;
mod table;

pub use ar1::{Ar1Fit, fit_ar1};
pub use blocks::conformal;
pub use capability::{Capability, Index, Tolerance, capability};
pub use components::{ComponentsFit, ComponentsOptions, ComponentsReport, fit_components};
pub use forest::{ClassScore, ForestFit, ForestOptions, Growth, HeldOut, Reliability, fit_forest};
pub use limits::{LimitError, spe_limit, t2_limit, t2_limit_training};
pub use logistic::{LogisticFit, LogisticOptions, fit_logistic};
pub use monitor::{MonitorFit, MonitorOptions, MonitorReport, Prediction, fit_monitor};
pub use pca::{PcaFit, PcaOptions, PcaReport, fit_pca};
pub use pls::{PlsFit, PlsOptions, fit_pls};
pub use ridge::{LinearFit, RidgeOptions, fit_ridge};
pub use table::{Table, TrainError};
