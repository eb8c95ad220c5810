//! Looks now and then at the states of the models that loops rest on. A loop whose model is not in
//! force (any more) is lowered to SHADOW by an order like a person's, in the audit trail; nothing
//! here raises one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use trimloop_core::mode::Mode;
use trimloop_core::plan::LoopId;
use trimloop_core::scan::Command;

use super::server::{ORDER_WAIT, Port, became};
use crate::error::chain;
use crate::learn::standing::{Bar, Supports};
use crate::notice::Notices;
use crate::store::StoreSender;

/// How often: a few small files, so that a suspended model acts for seconds only.
const LOOK: Duration = Duration::from_secs(2);

/// Looks on a thread of its own; dropping it stops and joins.
#[derive(Debug)]
pub struct ModelWatch {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ModelWatch {
    /// Begins to look.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        supports: Arc<Supports>,
        port: Arc<dyn Port>,
        store: StoreSender,
        notices: Notices,
    ) -> std::io::Result<Self> {
        let mut watch = Watch::new(supports, port, store, notices);
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("models".to_owned())
            .spawn(move || watch.run(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ModelWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The thread that looks at the states of models ended by itself.");
        }
    }
}

struct Watch {
    supports: Arc<Supports>,
    port: Arc<dyn Port>,
    store: StoreSender,
    notices: Notices,
    /// What was told of each model; `None` while its loops may act.
    told: Vec<Option<Bar>>,
}

impl Watch {
    fn new(
        supports: Arc<Supports>,
        port: Arc<dyn Port>,
        store: StoreSender,
        notices: Notices,
    ) -> Self {
        let told = vec![None; supports.iter().count()];
        Self { supports, port, store, notices, told }
    }

    fn run(&mut self, stopped: &Receiver<()>) {
        loop {
            self.look();
            if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn look(&mut self) {
        let mut barred: Vec<(LoopId, Bar)> = Vec::new();
        for (support, told) in self.supports.iter().zip(&mut self.told) {
            let bar = support.bar();
            if bar != *told {
                self.notices.tell("model_state", &support.folder, sentence(bar.as_ref()));
                told.clone_from(&bar);
            }
            if let Some(bar) = bar {
                barred.extend(support.loops.iter().map(|of| (*of, bar.clone())));
            }
        }
        if barred.is_empty() {
            return;
        }
        let loops = self.port.status().loops;
        for (place, of) in (0..).zip(&loops) {
            // A loop that is tripped ends its ramp first, and comes back in SHADOW anyway.
            let acts = matches!(of.asked.as_str(), "auto" | "advisory") && of.trip == "clear";
            if let Some((id, bar)) = barred.iter().find(|(id, _)| acts && id.0 == place) {
                self.lower(*id, &of.name, bar);
            }
        }
    }

    /// It only takes authority away: it is carried out also when it cannot be audited.
    fn lower(&self, id: LoopId, name: &str, bar: &Bar) {
        let said = format!("loop shadow {name}");
        if let Err(error) = self.store.audit_committed(0, "service", &said, &bar.why) {
            let error = chain(&error);
            tracing::error!(error, order = %said, reason = %bar.why,
                "An order could not be audited; it is carried out, because it only takes authority away.");
        }
        let (number, became) = match self.port.order(Command::SetMode(id, Mode::Shadow)) {
            Ok(number) => (number, became(&self.port.wait(number, ORDER_WAIT))),
            Err(error) => (0, error),
        };
        self.store.audit(number, "service", &format!("{said}: {became}"), &bar.why);
        tracing::warn!(loop_name = %name, reason = %bar.why, became, "A loop was lowered to SHADOW.");
    }
}

fn sentence(bar: Option<&Bar>) -> String {
    match bar {
        Some(bar) => format!("A loop stays in SHADOW: {}. What to do: {}.", bar.why, bar.way),
        None => "The loops that rest on it may be raised again, by a person.".to_owned(),
    }
}

#[cfg(test)]
#[path = "models_tests.rs"]
mod tests;
