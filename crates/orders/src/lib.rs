//! The work desk on files: it follows the recorder's events and decisions, keeps alarms, cases,
//! requests and orders in `work.db`, and talks to one system that keeps work orders.
//!
//! ```text
//! state.db --rows--> Engine (trimloop_work::works) --requests--> Book, or another WorkSystem
//!                       |  one commit per round                     |
//!                       '--> work.db <-- orders, comments ----------'
//! ```
//!
//! - [`rows`]: what the recorder stored, behind a cursor.
//! - [`mod@base`]: its file, `work.db`.
//! - [`book`]: the built-in order book, for shops without a CMMS.
//! - [`engine`]: a round, and what people ask for.
//! - [`meters`]: what counts, and what of it another system was told.
//! - [`plant`]: spare parts and people, for an order that is made.
//! - [`findings`]: what technicians found, and how often orders are right.
//!
//! **Invariant:** the cursor commits together with what its rows brought about, and a request is on
//! disk before it leaves: a killed process loses and doubles nothing.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod base;
pub mod book;
pub mod draft;
pub mod engine;
pub mod findings;
pub mod meters;
pub mod plant;
pub mod rows;
