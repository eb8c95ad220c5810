//! The service of trimloop: everything that touches the world. What is decided lives in
//! `trimloop-core`, what may be asked of it in `trimloop-recipe`.
//!
//! Modules in reading order: what runs, how a reading goes through it, what is kept, and how
//! people talk to it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::float_cmp))]

pub mod service;

pub mod clock;
pub mod pki;
pub mod plc;

pub mod intake;
pub mod scan;

pub mod dispatch;
pub mod latency;
pub mod notice;
pub mod realtime;

pub mod backtest;
pub mod journal;
pub mod labels;
pub mod learn;
pub mod limits;
pub mod replay;
pub mod seal;
pub mod sink;
pub mod store;
pub mod why;
pub mod work;

pub mod control;
pub mod export;
pub mod output;
pub mod settings;

pub mod cli;
pub mod demo;
pub mod error;
