//! The whole service against OPC UA servers on foreign stacks: asyncua (Python) and node-opcua
//! (JavaScript). Client and simulator of trimloop share a library and so its blind spots; here
//! nothing is shared but the wire.
//!
//! - Every test waits for what is to happen, with a deadline, never for time to pass.
//! - What was written is judged by what the *server* saw.
//! - Tests skip by name where Python, Node.js or reference data are missing; see
//!   `tests/foreign/README.md`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]
#![expect(clippy::print_stdout, reason = "measured figures are printed")]

/// One `#[test]` per stack of each function `fn(name, kind)` of this module.
macro_rules! on_each_stack {
    ($($test:ident),+ $(,)?) => {
        mod asyncua { $(#[test] fn $test() { super::$test(concat!("asyncua::", stringify!($test)), $crate::foreign::Kind::Asyncua); })+ }
        mod node_opcua { $(#[test] fn $test() { super::$test(concat!("node_opcua::", stringify!($test)), $crate::foreign::Kind::NodeOpcua); })+ }
    };
}

#[path = "support/foreign.rs"]
mod foreign;

#[path = "wire/rig.rs"]
mod rig;

#[path = "wire/closed_loop.rs"]
mod closed_loop;
#[path = "wire/latency.rs"]
mod latency;
#[path = "wire/people.rs"]
mod people;
#[path = "wire/quality.rs"]
mod quality;
#[path = "wire/reference.rs"]
mod reference;
#[path = "wire/restart.rs"]
mod restart;
#[path = "wire/service.rs"]
mod service;
#[path = "wire/types.rs"]
mod types;
