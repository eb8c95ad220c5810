//! The misbehaving PLC: the production service in AUTO against the simulator, one test for each
//! fault of its catalogue. The fault is switched on while loops write, and the test states what the
//! service must do about it, and that it goes on when the fault is over.
//!
//! A test is named for its fault, or for the pain of other systems' users that it stands for.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]
#![expect(clippy::print_stdout, reason = "figures are shown with --nocapture")]

#[path = "misbehaving/bench.rs"]
mod bench;
#[path = "misbehaving/server.rs"]
mod server;
#[path = "misbehaving/stories.rs"]
mod stories;
#[path = "misbehaving/values.rs"]
mod values;
#[path = "misbehaving/wire.rs"]
mod wire;
#[path = "misbehaving/writes.rs"]
mod writes;
