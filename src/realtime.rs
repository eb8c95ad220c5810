//! Threads that go before all others on the machine: `[runtime] realtime_priority`.
//!
//! Without it the scan thread shares the processors like any other. On Linux a thread that wakes
//! then waits until one that computes has used up its slice, about 3 ms; on a small computer that
//! also runs a database, one decision in a hundred is that late.

use std::fmt;

use thread_priority::unix::{
    RealtimeThreadSchedulePolicy, ScheduleParams, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use thread_priority::{Error, ThreadPriority};

/// Priority under `SCHED_FIFO`: 1 to 49, so that the kernel's own interrupt threads (50) go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RealtimePriority(u8);

impl RealtimePriority {
    /// Highest that can be asked for.
    pub const MAX: u8 = 49;

    /// `None` outside 1 to [`Self::MAX`].
    #[must_use]
    pub fn new(priority: u8) -> Option<Self> {
        (1..=Self::MAX).contains(&priority).then_some(Self(priority))
    }

    /// Gives it to the calling thread.
    ///
    /// # Errors
    /// When the system does not allow it to this user; the thread then goes on as before.
    pub fn take(self) -> Result<(), Refused> {
        let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
        let params = ScheduleParams { sched_priority: self.0.into() };
        let priority = ThreadPriority::from_posix(params);
        set_thread_priority_and_policy(thread_native_id(), priority, policy)
            .map_err(|source| Refused { priority: self, source })
    }
}

impl fmt::Display for RealtimePriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The system gave no real-time priority.
#[derive(Debug, thiserror::Error)]
#[error(
    "real-time priority {priority} was refused ({source:?}); the loop runs at ordinary priority: \
     set LimitRTPRIO={priority} in the unit, or take realtime_priority out of [runtime]"
)]
pub struct Refused {
    priority: RealtimePriority,
    source: Error,
}

#[cfg(test)]
mod tests {
    use thread_priority::unix::{thread_native_id, thread_schedule_policy_param};

    use super::*;

    #[test]
    fn only_priorities_below_the_kernels_are_taken() {
        for (priority, fits) in [(0, false), (1, true), (49, true), (50, false), (255, false)] {
            assert_eq!(RealtimePriority::new(priority).is_some(), fits, "{priority}");
        }
    }

    /// What the system says afterwards is what was asked for; where it refuses, the error says what
    /// to do, and the thread is as it was.
    #[test]
    fn a_thread_gets_it_or_is_told_why_not() {
        let of_thread = || thread_schedule_policy_param(thread_native_id()).unwrap();
        let (before, _) = of_thread();
        match RealtimePriority::new(7).unwrap().take() {
            Ok(()) => {
                let (policy, params) = of_thread();
                let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
                assert_eq!((policy, params.sched_priority), (fifo, 7));
            }
            Err(refused) => {
                assert_eq!(of_thread().0, before);
                assert!(refused.to_string().contains("LimitRTPRIO=7"), "{refused}");
            }
        }
    }
}
