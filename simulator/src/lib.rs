//! A simulated injection-moulding cell and its PLC behind a real OPC UA server.
//!
//! The plant is seeded and pure; the PLC is pure; a judge counts, by its own numbers, what a
//! client did. Nothing here knows the controller: it is a machine with an OPC UA port. Results
//! are simulator results, never field claims.
//!
//! | module | duty |
//! |---|---|
//! | [`plant`] | one shot per call: material, machine, disturbances |
//! | [`plc`] | setpoints with limits, local enable, heartbeat watchdog, fallback |
//! | [`block`] | the handshake blocks `TL_Guard` and `TL_Owner`, for a PLC that checks again |
//! | [`fault`], [`scenario`] | what goes wrong, and when |
//! | [`catalogue`] | what can be switched on and off while it runs |
//! | [`sensors`], [`inspection`] | true values to published ones |
//! | [`judge`] | independent counts of violations and scrap |
//! | [`cell`] | all of these joined, still pure |
//! | [`oracle`] | scrap without control and with perfect knowledge |
//! | [`nodes`], [`server`] | the OPC UA side and the pace of production |
//! | `relay` | what lies between server and client: slow, silent, half-open |
//! | `control` | the local socket by which people switch faults |

pub mod block;
pub mod plant;
pub mod plc;

pub mod catalogue;
pub mod fault;
pub mod scenario;

pub mod inspection;
pub mod sensors;

pub mod judge;

pub mod cell;

pub mod oracle;

pub mod nodes;

mod address;
pub mod control;
mod link;
mod relay;
pub mod server;
mod shared;

pub use block::cell::BlockCommand;
pub use block::{Defect, HandshakeSettings};
pub use catalogue::{CATALOGUE, Fault, Faults};
pub use fault::{FaultKind, ScheduledFault, Sensor};
pub use judge::{Verdict, Violations, WriteCounts};
pub use oracle::{scrap_floor, scrap_open_loop};
pub use plant::moulding::Cause;
pub use plc::Setpoint;
pub use scenario::Scenario;
pub use server::{Load, Report, SimCommand, Simulator, SimulatorSettings, Speed};

/// Why a simulator could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port could not be bound.
    #[error("could not listen on 127.0.0.1:{port}")]
    Bind {
        /// Port asked for.
        port: u16,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The OPC UA stack did not accept its settings.
    #[error("the OPC UA server did not start: {0}")]
    Server(String),
    /// The fault needs something that the settings leave out.
    #[error("the fault {fault} needs {what}")]
    Needs {
        /// Which.
        fault: Fault,
        /// What is missing.
        what: &'static str,
    },
    /// The control socket could not be made.
    #[error("cannot make the control socket {}", .path.display())]
    Control {
        /// Where.
        path: std::path::PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The simulator has ended.
    #[error("the simulator has ended")]
    Gone,
}

/// Result of this crate's operations.
pub type Result<T> = std::result::Result<T, Error>;
