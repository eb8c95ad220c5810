//! From alarms to work orders: is it abnormal, is it worth working on, who does it, and did that
//! help.
//!
//! ```text
//! observation --> alarm --> case --> order in the outbox --> CMMS
//!                             ^                                |
//!                             '-- done, cancelled, lost <------'
//! ```
//!
//! - [`alarm`]: one condition with delays, latch, acknowledgement and shelving (ISA-18.2; the
//!   states of OPC UA Part 9).
//! - [`watch`]: which alarm an event of the recorder speaks of.
//! - [`key`]: the fingerprint of a fault, and the key of its order.
//! - [`desk`]: cases. One fault has at most one open order; an order that is done must prove
//!   itself.
//! - [`outbox`]: what is to be told to the other system, and what is known of whether it was.
//! - [`works`]: all of it together, stored and restored.
//! - [`notify`]: who hears of an alarm away from the page, and when.
//! - [`rate`]: how many alarms an operator gets.
//! - [`shift`]: hours of a week.
//!
//! Pure: no clock, no I/O, no randomness. Whoever drives it stores its state before it acts on what
//! it says, and tells it the time.

pub mod alarm;
pub mod desk;
pub mod key;
pub mod notify;
pub mod outbox;
pub mod rate;
pub mod shift;
pub mod watch;
pub mod works;

mod wire;
