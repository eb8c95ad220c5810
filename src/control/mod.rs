//! The control socket: how `status`, `loop` and `events` reach the running service.
//!
//! A Unix socket (mode 0660); one JSON object a line each way. The peer's user id, as the kernel
//! tells it (`SO_PEERCRED`), is the identity: nobody says who they are. Orders only queue a
//! `Command`; none carries a value for the PLC.
//!
//! | may | who |
//! |---|---|
//! | status, events, manual, hold, shadow, off, approve, deny, reset | who may open the socket |
//! | advisory, auto | the OS user who runs the service, until accounts exist |
//!
//! Every order is on disk in the audit trail before it is queued. Without it nothing that gives
//! authority is taken; what takes authority away is carried out all the same. Nothing that gives
//! authority is taken either for a loop that rests on a model which is not in force.

mod cell;
mod client;
mod message;
mod models;
mod server;

pub use cell::CellPort;
pub use client::{Client, ControlError};
pub use message::{Answer, LoopAction, Request};
pub use models::ModelWatch;
pub use server::{
    ControlServer, OrderOutcome, Port, ServerError, ServerOptions, actor, listens, own_user,
};
