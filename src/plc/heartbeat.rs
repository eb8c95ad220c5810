//! Sends our life sign. A task of its own, so that a slow write of a setpoint never delays it.
//!
//! Policy: latest. A beat that could not be sent in time is not sent later; the PLC counts on
//! change, not on completeness.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};

use super::write::{beat, single, transmit};
use super::{Shared, count, stopped};
use crate::intake::lock;

/// A beat without an answer for so long has failed; the default period is 200 ms.
const ANSWER_MAX: Duration = Duration::from_millis(500);

pub(super) async fn run(shared: Arc<Shared>, mut beats: watch::Receiver<Option<u32>>) {
    let mut stop = shared.stop.clone();
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            changed = beats.changed() => if changed.is_err() { return },
        }
        let Some(number) = *beats.borrow_and_update() else { continue };
        let sent = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            sent = send(&shared, number) => sent,
        };
        match sent {
            // Without a link or a register there is nothing to fail.
            None => {}
            Some(Ok(())) => {
                count(&shared.counters.heartbeats, 1);
                if std::mem::take(&mut failing) {
                    info!(plc = %shared.config.name, "The heartbeat reaches the PLC again.");
                }
            }
            Some(Err(status)) => {
                count(&shared.counters.heartbeats_failed, 1);
                if !std::mem::replace(&mut failing, true) {
                    warn!(plc = %shared.config.name, status, "The heartbeat does not reach the PLC.");
                }
            }
        }
    }
}

async fn send(shared: &Shared, number: u32) -> Option<Result<(), String>> {
    let live = lock(&shared.gate).clone()?;
    let (id, scalar) = live.heartbeat.clone()?;
    let value = beat(number, scalar)?;
    let answer = transmit(shared, &live, vec![(id, value)], ANSWER_MAX, || true).await?;
    match answer.and_then(single) {
        Ok(status) if status.is_good() => Some(Ok(())),
        Ok(status) => Some(Err(status.to_string())),
        Err(error) => Some(Err(error.status().to_string())),
    }
}
