//! What the shells have to tell people: a register that is not as configured, a certificate that
//! runs out. The core tells what it decides by [`Event`](trimloop_core::event::Event); both kinds
//! stand in the store's `event` table and on the status page.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use trimloop_core::time::Utc;

use crate::clock::Clock;
use crate::intake::lock;
use crate::store::StoreSender;

/// Notices that are kept for the status page.
pub const RECENT_MAX: usize = 64;

/// One thing that people must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When.
    pub at: Utc,
    /// Stable word: `register_problem`, `certificate_expiry`, `address_changed`, `other_server`,
    /// `write_clamped`, `model_state`, `webhook_refused`, `cmms_failing`, `cmms_recovered`.
    pub code: &'static str,
    /// What it is about: a PLC, a register, a certificate.
    pub subject: String,
    /// What is the matter, and what to do next.
    pub sentence: String,
}

/// Where notices go. Clones tell the same readers.
#[derive(Clone, Debug)]
pub struct Notices {
    clock: Clock,
    store: Option<StoreSender>,
    recent: Arc<Mutex<VecDeque<Notice>>>,
}

impl Notices {
    /// Nothing told yet; without a store they are kept for the status page only.
    #[must_use]
    pub fn new(clock: Clock, store: Option<StoreSender>) -> Self {
        Self { clock, store, recent: Arc::default() }
    }

    /// Tells one. Say a thing when it begins, not while it lasts.
    pub fn tell(&self, code: &'static str, subject: &str, sentence: String) {
        let at = self.clock.utc();
        let notice = Notice { at, code, subject: subject.to_owned(), sentence };
        if let Some(store) = &self.store {
            store.notice(notice.clone());
        }
        let mut recent = lock(&self.recent);
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(notice);
    }

    /// The last [`RECENT_MAX`], oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Notice> {
        lock(&self.recent).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The newest are kept.
    #[test]
    fn old_notices_go_first() {
        let notices = Notices::new(Clock::start(), None);
        for n in 0..RECENT_MAX + 3 {
            notices.tell("register_problem", &n.to_string(), String::new());
        }
        let recent = notices.recent();
        assert_eq!(recent.len(), RECENT_MAX);
        assert_eq!(recent.first().map(|notice| notice.subject.as_str()), Some("3"));
    }
}
