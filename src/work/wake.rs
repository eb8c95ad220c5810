//! Webhooks of the system that keeps the orders: each makes the desk look at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};
use trimloop_cmms::Wake;
use trimloop_cmms::wake::{Heard, Listener};
use trimloop_core::time::{Span, Utc};

use super::DeskOptions;

/// Refused webhooks are told at most so often: anybody can send some.
const TELL_EVERY: Span = Span::from_secs(3600);

/// Begins to listen. Where that cannot be, people are told, and orders are polled as ever.
pub(super) fn listen(
    wake: Wake,
    options: &DeskOptions,
    woken: &Arc<AtomicBool>,
) -> Option<Listener> {
    let (clock, woken) = (options.clock, Arc::clone(woken));
    let notices = options.notices.clone();
    let refused = Mutex::new(Refused::default());
    let told = move |heard| match heard {
        Heard::Woken => woken.store(true, Ordering::Relaxed),
        Heard::Refused { peer, why } => {
            let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
            let due = refused.one_more(clock.utc());
            drop(refused);
            if let Some(count) = due {
                let many = if count > 1 {
                    format!(" ({count} since the last notice)")
                } else {
                    String::new()
                };
                let sentence = format!(
                    "A webhook from {} was refused{many}: {why}. Orders are polled as ever; correct \
                     cmms.wake_* or the product's webhook, or find out who sends it.",
                    peer.ip()
                );
                notices.tell("webhook_refused", "cmms", sentence);
            }
        }
    };
    let listen = wake.listen;
    match Listener::start(wake, Arc::new(move || clock.utc()), Arc::new(told)) {
        Ok(listener) => {
            info!(address = %listener.address(), "Webhooks of the CMMS are heard.");
            Some(listener)
        }
        Err(error) => {
            warn!(address = %listen, %error, "Webhooks of the CMMS cannot be heard; it is polled.");
            let sentence = format!(
                "No webhook of the CMMS can be heard at {listen}: {error}. Orders are polled as \
                 ever; correct cmms.wake and start again."
            );
            options.notices.tell("webhook_refused", "cmms", sentence);
            None
        }
    }
}

/// Counts what was refused, and says when to tell.
#[derive(Debug, Default)]
struct Refused {
    count: u64,
    told: Option<Utc>,
}

impl Refused {
    /// How many were refused since it was told last, if it is time to tell.
    fn one_more(&mut self, now: Utc) -> Option<u64> {
        self.count += 1;
        let is_due = self.told.is_none_or(|told| now - told >= TELL_EVERY);
        is_due.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is told at once, the others once an hour with their number.
    #[test]
    fn refusals_do_not_flood() {
        let mut refused = Refused::default();
        let begin = Utc::from_millis(0);
        assert_eq!(refused.one_more(begin), Some(1));
        for second in 1..100 {
            assert_eq!(refused.one_more(begin + Span::from_secs(second)), None);
        }
        assert_eq!(refused.one_more(begin + TELL_EVERY), Some(100));
    }
}
