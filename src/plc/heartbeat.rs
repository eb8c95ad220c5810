//! Sends our life sign. A task of its own, so that a slow write of a setpoint never delays it.
//!
//! Policy: latest. A beat that could not be sent in time is not sent later; the PLC counts on
//! change, not on completeness.
//!
//! The cell beats from the first loop that is raised on. A PLC with handshake blocks would take its
//! grant back before that, so the link beats for it, until the cell's first beat of the epoch:
//! from then on only the cell's beats count, and a cell that hangs loses the grant. Before it,
//! nothing of ours is in force.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::write::{beat, single, transmit};
use super::{Shared, count, stopped};
use crate::intake::lock;

/// A beat without an answer for so long has failed; the default period is 200 ms.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// Pause between two beats of our own; below a tenth of the blocks' usual time-out of 1 s.
const OWN_PERIOD: Duration = Duration::from_millis(90);

pub(super) async fn run(shared: Arc<Shared>, mut beats: watch::Receiver<Option<u32>>) {
    let mut stop = shared.stop.clone();
    let mut failing = false;
    let mut tick = interval(OWN_PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The epoch in which the cell beats, and our own count before.
    let (mut cell_beats, mut own) = (None, 0_u32);
    loop {
        let by_cell = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            changed = beats.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            _ = tick.tick() => false,
        };
        let live = lock(&shared.gate).as_ref().map(|live| (live.epoch, live.owned.is_some()));
        let number = if by_cell {
            cell_beats = live.map(|(epoch, _)| epoch);
            *beats.borrow_and_update()
        } else {
            let ours = live.filter(|(epoch, owned)| *owned && cell_beats != Some(*epoch));
            own = own.wrapping_add(1);
            ours.map(|_| own)
        };
        let Some(number) = number else { continue };
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
