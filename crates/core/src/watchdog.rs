//! Heartbeats both ways, in link time.
//!
//! We send a counter; the PLC echoes it. The age of the echo is counted from when the echoed beat
//! was *sent*, so a PLC that answers late is as dead as one that does not answer.

use crate::plan::HeartbeatPlan;
use crate::time::{Mono, Span};

/// Beats whose sending time is remembered; older echoes count as no echo.
const REMEMBERED: usize = 64;

/// Highest beat: what a signed 16-bit register holds.
const COUNTER_MAX: u32 = 32_767;

/// Sends beats and judges echoes.
#[derive(Clone, Debug)]
pub struct Watchdog {
    plan: Option<HeartbeatPlan>,
    counter: u32,
    sent: [Option<(u32, Mono)>; REMEMBERED],
    last_sent: Option<Mono>,
    echoed: Option<Mono>,
}

impl Watchdog {
    /// A watchdog that has seen nothing yet; without a plan it always reports life.
    pub fn new(plan: Option<HeartbeatPlan>) -> Self {
        Self { plan, counter: 0, sent: [None; REMEMBERED], last_sent: None, echoed: None }
    }

    /// The next beat, when one is due.
    pub fn beat(&mut self, now: Mono) -> Option<u32> {
        let plan = self.plan?;
        if self.last_sent.is_some_and(|at| now - at < plan.period) {
            return None;
        }
        self.last_sent = Some(now);
        // Fits any PLC's counter; 0 is what a PLC shows before it has heard anything.
        self.counter = if self.counter >= COUNTER_MAX { 1 } else { self.counter + 1 };
        let slot = self.counter as usize % REMEMBERED;
        if let Some(slot) = self.sent.get_mut(slot) {
            *slot = Some((self.counter, now));
        }
        Some(self.counter)
    }

    /// Takes the echo register in.
    pub fn echo(&mut self, value: i64) {
        let Ok(value) = u32::try_from(value) else { return };
        if self.last_sent.is_none() {
            // What a PLC still shows from an earlier session must not look like life: count on.
            self.counter = value.min(COUNTER_MAX);
            return;
        }
        let slot = self.sent.get(value as usize % REMEMBERED).copied().flatten();
        if let Some((counter, at)) = slot
            && counter == value
            && self.echoed.is_none_or(|before| before <= at)
        {
            self.echoed = Some(at);
        }
    }

    /// Whether the PLC lives by its echo; always, when the PLC has none.
    pub fn alive(&self, now: Mono) -> bool {
        match (self.plan, self.echoed) {
            (None, _) => true,
            (Some(plan), Some(at)) => now - at <= plan.timeout,
            (Some(_), None) => false,
        }
    }

    /// Age of the newest echoed beat, counted from its sending; `None` before the first.
    pub fn echo_age(&self, now: Mono) -> Option<Span> {
        self.echoed.map(|at| now - at)
    }

    /// The newest beat.
    #[cfg(test)]
    pub(crate) const fn newest_beat(&self) -> u32 {
        self.counter
    }

    /// What tells two watchdogs apart: times, and the beats whose echo would still prove life.
    #[cfg(test)]
    pub(crate) fn digest(&self, digest: &mut crate::properties::explore::digest::Digest) {
        let Self { plan: _, counter: _, sent, last_sent, echoed } = self;
        digest.add(&(last_sent, echoed));
        for back in 0..self.counter.min(12) {
            let beat = self.counter - back;
            let slot = sent.get(beat as usize % REMEMBERED).copied().flatten();
            digest.add(&slot.filter(|(kept, _)| *kept == beat).map(|(_, at)| at));
        }
    }

    /// A new session starts: echoes of the old one prove nothing.
    pub fn forget(&mut self) {
        self.sent = [None; REMEMBERED];
        self.last_sent = None;
        self.echoed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::TagId;

    fn at(ms: i64) -> Mono {
        Mono::from_millis(ms)
    }

    fn watchdog() -> Watchdog {
        Watchdog::new(Some(HeartbeatPlan {
            echo: TagId(0),
            period: Span::from_millis(200),
            timeout: Span::from_millis(1000),
        }))
    }

    /// A beat a period; alive only while echoes of recent beats come.
    #[test]
    fn echo_keeps_alive() {
        let mut dog = watchdog();
        assert!(!dog.alive(at(0)));
        assert_eq!(dog.beat(at(0)), Some(1));
        assert_eq!(dog.beat(at(199)), None);
        assert_eq!(dog.beat(at(200)), Some(2));
        dog.echo(1);
        assert!(dog.alive(at(1000)));
        assert!(!dog.alive(at(1001)), "counted from when the beat was sent");
        dog.echo(2);
        assert!(dog.alive(at(1200)));
    }

    /// Numbers we never sent, or sent in another session, prove nothing.
    #[test]
    fn foreign_echo_is_no_life() {
        let mut dog = watchdog();
        assert_eq!(dog.beat(at(0)), Some(1));
        for value in [0, 2, -1, 65, i64::MAX] {
            dog.echo(value);
            assert!(!dog.alive(at(1)));
        }
        dog.forget();
        dog.echo(1);
        assert!(!dog.alive(at(1)));
    }

    /// An echo left over from an earlier session is not taken for the answer to a new beat.
    #[test]
    fn left_over_echo_is_no_life() {
        for left_over in [0, 1, 5, 32_766, 32_767, 1_000_000] {
            let mut dog = watchdog();
            dog.echo(left_over);
            for beat in 0..3 {
                assert!(dog.beat(at(200 * beat)).is_some());
                dog.echo(left_over);
                assert!(!dog.alive(at(200 * beat)), "{left_over}");
            }
        }
    }

    /// A PLC without a heartbeat is judged by its link alone.
    #[test]
    fn no_heartbeat_no_judgement() {
        let mut dog = Watchdog::new(None);
        assert_eq!(dog.beat(at(0)), None);
        assert!(dog.alive(at(1_000_000)));
    }
}
