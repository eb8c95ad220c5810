//! The conformance test of the handshake blocks: does this PLC refuse what it must refuse?
//!
//! Specification: `docs/src/reference/handshake.md`. The test plays a controller, a right one and
//! wrong ones, and reads what the blocks make of it. It writes only while every guard of the cell
//! shows `Test` = TRUE, and asks again before each request. What it finds is a report that an
//! acceptance protocol can hold; it is no safety certificate.
//!
//! - [`bench`]: the session, the blocks and their members, life signs, requests.
//! - [`checks`]: what is tried, and what must come of it.

mod bench;
mod checks;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use trimloop_recipe::plc_config::{PerCall, Security, User};

use super::client::Server;
use super::wire::{Ended, News};
use super::{LinkConfig, PlcError};
use crate::clock::Clock;

/// Deadline of connecting.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What to test.
#[derive(Clone, Debug)]
pub struct Conform {
    /// `opc.tcp://HOST:PORT`.
    pub url: String,
    /// Names of the guards to test, as browsed; empty for all.
    pub only: Vec<String>,
    /// Where the OPC UA library may look for certificates.
    pub pki_dir: PathBuf,
}

/// What the server says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identified {
    /// Application URI.
    pub uri: String,
    /// Product name.
    pub product: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// Software version.
    pub version: String,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable name, such as `upper-limit`.
    pub id: &'static str,
    /// The block it was tried on.
    pub block: String,
    /// Rules of the specification.
    pub rules: &'static str,
    /// What was done.
    pub done: String,
    /// What the specification asks for.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// Whether that is the same.
    pub passed: bool,
}

/// What came of a conformance test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Address.
    pub url: String,
    /// What answered there.
    pub server: Identified,
    /// The owner block.
    pub owner: String,
    /// The guards that were tested.
    pub guards: Vec<String>,
    /// In the order in which they were made.
    pub checks: Vec<Check>,
}

impl Report {
    /// Checks that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }

    /// Whether every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failed().next().is_none()
    }
}

/// Why no report could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConformError {
    /// The client or the address does not hold together.
    #[error(transparent)]
    Setup(#[from] PlcError),
    /// No connection, or it was lost.
    #[error("{0}")]
    Link(String),
    /// The blocks cannot be found.
    #[error("{0}")]
    Blocks(String),
    /// A guard is not in test mode; nothing was written, or nothing more.
    #[error("{0} is not in test mode")]
    NotInTest(String),
    /// A controller owns the cell.
    #[error("controller {0} owns the cell")]
    Owned(u32),
}

/// Runs the test.
///
/// # Errors
/// [`ConformError`] when no report can be made; a failed check is no error.
pub async fn conform(setup: &Conform, clock: Clock) -> Result<Report, ConformError> {
    let config = LinkConfig {
        name: "conform".to_owned(),
        url: setup.url.clone(),
        publishing: Duration::from_millis(100),
        security: Security::None,
        user: User::Anonymous,
        per_call: PerCall::all(100),
        standby: Vec::new(),
        nodes: Vec::new(),
        units: std::collections::BTreeMap::new(),
        client_name: "trimloop-conform".to_owned(),
        pki_dir: setup.pki_dir.clone(),
    };
    let server = Server::alone(&config)?;
    let (session, mut news, _) = server.session().await.map_err(|ended| match ended {
        Ended::Stopped => ConformError::Link("stopped".to_owned()),
        Ended::Refused(why) | Ended::Blocked(why) | Ended::Lost(why) => ConformError::Link(why),
        Ended::Weak(level) => ConformError::Link(format!("its service level is {level}")),
    })?;
    let lost =
        |what: &str, why: &dyn std::fmt::Display| ConformError::Link(format!("{what}: {why}"));
    let work = async {
        let connected = timeout(CONNECT_MAX, session.wait_for_connection()).await;
        if connected != Ok(true) {
            return Err(ConformError::Link(format!("{} does not log us in", setup.url)));
        }
        let tested = checks::all(setup, &session, clock).await;
        session.disable_reconnects();
        // The server drops the session by itself when this fails.
        drop(timeout(Duration::from_secs(1), session.disconnect()).await);
        tested
    };
    let mut work = Box::pin(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            event = news.next() => match event {
                Some(News::Lost(status)) => return Err(lost("the connection was lost", &status)),
                Some(News::Connected | News::Failed(_)) => {}
                // The end follows our own goodbye.
                None => return work.await,
                Some(News::Ended(status)) => return Err(lost("the session ended", &status)),
            },
        }
    }
}
