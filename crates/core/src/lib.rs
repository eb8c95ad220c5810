//! The decisions of trimloop.
//!
//! Everything here is pure: no clock, no I/O, no randomness, no threads, and no allocation once
//! a [`cell::Cell`] is built. The live service, the simulator, replay and the tests call the same
//! [`cell::Cell::step`]; only who fills the [`scan::Scan`] and who carries out the
//! [`scan::Actions`] differs.
//!
//! Modules in reading order: what arrives, what is made of it, what is decided, what is remembered.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::float_cmp))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod cell;
pub mod plan;
pub mod scan;

pub mod tag;
pub mod time;
pub mod unit;

pub mod cycle;
pub mod feature;
pub mod image;

pub mod drift;
pub mod model;
pub mod verdict;

pub mod control;
pub mod effect;
pub mod guard;
pub mod interlock;
pub mod ledger;
pub mod mode;
pub mod watchdog;

pub mod event;
pub mod record;

mod slip;

#[cfg(test)]
mod properties;
