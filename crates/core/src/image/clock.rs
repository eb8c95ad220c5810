//! Process time, and where the PLC's stamps lie on it.

use crate::plan::LinkPlan;
use crate::time::{Mono, Now, Process, Span, Utc};

/// Link time over which the speed is smoothed [ns]: long against the jitter of one notification,
/// short against a person changing the speed of a simulator.
const SPEED_WINDOW: f64 = 2e9;
/// Clock steps before speed and interval are trusted enough to call a stamp skewed.
const STEPS_TRUSTED: u32 = 3;

/// A step of the PLC clock that added no process time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// It ran backwards by so much.
    Backward(Span),
    /// It stepped forward by so much, more than `clock_step_max`.
    Forward(Span),
}

/// Process time: what the machine has lived through.
///
/// With a clock tag in the plan it follows that clock, and stands still while the clock does (link
/// down, simulator paused); without one it follows the monotonic clock. It never runs backwards.
///
/// In a cell of several PLCs the leading one moves process time. While its link is down and others
/// stand, process time goes on by the monotonic clock ([`ProcessClock::coast`]): their dwell, rates
/// and windows must not stop for a PLC that they have nothing to do with. The clock of another PLC
/// is only there to place the stamps of its own tags.
///
/// Order in a scan: [`ProcessClock::begin`], then [`ProcessClock::on_clock`] for every Good sample
/// of the clock tag, then [`Image::begin`](super::Image::begin) and the samples. Taking the clock
/// first keeps the samples of one batch from being judged by a clock that is older than they are.
#[derive(Clone, Copy, Debug)]
pub struct ProcessClock {
    follows: bool,
    step_max: Span,
    mono: Option<Mono>,
    process: Process,
    /// Newest clock value; `None` until the first one after a start or a lost link.
    newest: Option<Utc>,
    /// What `newest` was when this scan began: a batch may hold samples from all of the time since.
    before: Option<Utc>,
    /// Time between clock samples [process time]: the largest of late, slowly forgotten.
    interval: Span,
    steps: u32,
    counted: Mono,
    run_process: f64,
    run_link: f64,
    coasts: bool,
}

impl ProcessClock {
    /// Stands at zero.
    pub fn new(link: &LinkPlan) -> Self {
        Self {
            follows: link.clock.is_some(),
            step_max: link.clock_step_max,
            mono: None,
            process: Process::default(),
            newest: None,
            before: None,
            interval: Span::ZERO,
            steps: 0,
            counted: Mono::default(),
            run_process: 0.0,
            run_link: 0.0,
            coasts: false,
        }
    }

    /// Starts a scan and tells process time so far. Without a clock tag this is what moves it; a
    /// monotonic clock that ran backwards moves nothing until it has caught up.
    pub fn begin(&mut self, now: Now) -> Process {
        let last = self.mono.unwrap_or(now.mono);
        let mono = last.max(now.mono);
        if !self.follows {
            self.process = self.process + (mono - last);
        } else if self.coasts && self.newest.is_none() {
            // Never faster than the machine ran, nor than time itself: too little only waits longer.
            self.process = self.process + (mono - last).scaled(self.speed().min(1.0));
        }
        self.mono = Some(mono);
        self.before = self.newest;
        self.process
    }

    /// Takes one value of the clock tag [ms since the Unix epoch]. The first after a start or
    /// [`ProcessClock::forget`] only sets the origin. Without a clock tag it does nothing.
    ///
    /// `Some` when the clock jumped: process time stands, and goes on from the new value.
    pub fn on_clock(&mut self, value_ms: i64) -> Option<Jump> {
        if !self.follows {
            return None;
        }
        let mono = self.mono.unwrap_or_default();
        let value = Utc::from_millis(value_ms);
        let Some(last) = self.newest.replace(value) else {
            self.counted = mono;
            return None;
        };
        let step = value - last;
        if step < Span::ZERO || step > self.step_max {
            // Samples still under way carry stamps of the old time: trust none for a while.
            self.steps = 0;
            self.counted = mono;
            let back = Span::ZERO - step;
            return Some(if step < Span::ZERO {
                Jump::Backward(back)
            } else {
                Jump::Forward(step)
            });
        }
        if step > Span::ZERO {
            self.process = self.process + step;
            self.observe_speed(mono, step);
        }
        None
    }

    fn observe_speed(&mut self, mono: Mono, step: Span) {
        let link = (mono - self.counted).as_nanos() as f64;
        if link > 0.0 {
            let kept = libm::exp(-link / SPEED_WINDOW);
            self.run_process *= kept;
            self.run_link = self.run_link * kept + link;
            self.counted = mono;
        }
        self.run_process += step.as_nanos() as f64;
        let faded = Span::from_nanos(self.interval.as_nanos() / 8 * 7);
        self.interval = step.max(faded);
        self.steps = self.steps.saturating_add(1);
    }

    /// Process time by which a stamp on the PLC clock is ahead of the newest clock sample; zero
    /// without a clock tag, and at most the largest believable step.
    pub fn ahead(&self, stamp: Utc) -> Span {
        match self.newest.filter(|_| self.follows) {
            Some(newest) => (stamp - newest).max(Span::ZERO).min(self.step_max),
            None => Span::ZERO,
        }
    }

    /// Process time now.
    pub fn now(&self) -> Process {
        self.process
    }

    /// Process time per link time, smoothed over about 2 s of link time; 1 without a clock tag or
    /// before it has moved. Finite, not negative.
    pub fn speed(&self) -> f64 {
        if self.run_link > 0.0 { self.run_process / self.run_link } else { 1.0 }
    }

    /// Time between two clock samples [process time], the largest of late; zero without a clock tag.
    pub fn interval(&self) -> Span {
        self.interval
    }

    /// The link was lost: process time stands until the clock has been seen twice again.
    pub fn forget(&mut self) {
        self.newest = None;
        self.before = None;
        self.steps = 0;
    }

    /// Whether a stamp of the PLC lies further than `skew_max` [link time] from the PLC's clock.
    /// `None` while the clock is not known well enough to tell, or there is none.
    ///
    /// A stamp may lie anywhere between the clock at the last scan and now, or one clock interval
    /// off either end, because the clock tag itself is that coarse.
    pub(super) fn skewed(&self, stamp: Utc, skew_max: Span) -> Option<Skew> {
        let newest = self.newest.filter(|_| self.steps >= STEPS_TRUSTED)?;
        let before = self.before.unwrap_or(newest);
        let late = (newest.min(before) - self.interval) - stamp;
        let early = stamp - (newest.max(before) + self.interval);
        let allowed = skew_max.as_nanos() as f64 * self.speed().max(1.0);
        let beyond = |distance: Span| distance.as_nanos() as f64 > allowed;
        Some(match (beyond(late), beyond(early)) {
            (true, _) => Skew::Behind,
            (_, true) => Skew::Ahead,
            _ => Skew::None,
        })
    }

    /// Process time of a stamp that [`ProcessClock::skewed`] has not refused; `None` when it lies
    /// too far back to be placed or there is no clock tag.
    pub(super) fn place(&self, stamp: Utc, skew_max: Span) -> Option<Process> {
        let newest = self.newest?;
        let before = self.before.unwrap_or(newest);
        let lag = newest - stamp;
        let scan = (newest - before).max(Span::ZERO);
        let slack = skew_max.as_nanos() as f64 * self.speed().max(1.0);
        let reach = (scan + self.interval).as_nanos() as f64 + slack;
        if lag < Span::ZERO {
            return Some(self.process);
        }
        (lag.as_nanos() as f64 <= reach).then_some(self.process - lag)
    }

    /// Time on this clock as time on `lead`, by their speeds; unchanged while this one stands.
    pub fn onto(&self, lead: &Self, span: Span) -> Span {
        let own = self.speed();
        if own > 0.0 { span.scaled(lead.speed() / own) } else { span }
    }

    /// Whether process time goes on by the monotonic clock while the clock tag is not heard: not
    /// faster than 1, nor than it ran before.
    pub fn coast(&mut self, coasts: bool) {
        self.coasts = coasts;
    }

    /// Whether process time follows a clock tag.
    pub(super) fn follows(&self) -> bool {
        self.follows
    }
}

/// Where a stamp lies against the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skew {
    None,
    Behind,
    Ahead,
}

#[cfg(test)]
mod tests {
    use super::super::fixture::plan;
    use super::*;
    use crate::tag::TagId;
    use proptest::prelude::*;

    fn clock(step_max: Span) -> ProcessClock {
        let mut plan = plan();
        plan.links[0].clock = Some(TagId(0));
        plan.links[0].clock_step_max = step_max;
        ProcessClock::new(&plan.links[0])
    }

    fn at(mono_ms: i64) -> Now {
        Now { mono: Mono::from_millis(mono_ms), utc: Utc::from_millis(mono_ms) }
    }

    /// Process time follows the clock tag, leaves out jumps both ways, and goes on after them.
    #[test]
    fn process_time_follows_the_clock_tag_without_its_jumps() {
        let back = |ms| Some(Jump::Backward(Span::from_millis(ms)));
        let forward = |ms| Some(Jump::Forward(Span::from_millis(ms)));
        let rows = [
            (0, 5_000, 0, None),
            (100, 5_100, 100, None),
            (200, 5_100, 100, None),
            (300, 6_100, 1_100, None),
            (400, 4_000, 1_100, back(2_100)),
            (500, 4_050, 1_150, None),
            (600, 9_000, 1_150, forward(4_950)),
            (700, 9_010, 1_160, None),
        ];
        let mut clock = clock(Span::from_millis(1_000));
        for (mono, value, process, jump) in rows {
            clock.begin(at(mono));
            assert_eq!(clock.on_clock(value), jump, "at {mono}");
            assert_eq!(clock.now(), Process::from_millis(process), "at {mono}");
        }
        // Lost link: the first value afterwards is an origin, however far it is.
        clock.forget();
        clock.begin(at(5_000));
        assert_eq!(clock.on_clock(60_000), None);
        assert_eq!(clock.on_clock(60_001), None);
        assert_eq!(clock.now(), Process::from_millis(1_161));
    }

    /// While the clock is not heard and others stand, time goes on with the monotonic clock, no
    /// faster than the machine ran; the first value afterwards is an origin again.
    #[test]
    fn process_time_coasts_without_its_clock() {
        for (per_scan_ms, passed_ms) in [(100, 1_000), (2_000, 1_000), (50, 500)] {
            let mut clock = clock(Span::from_secs(3_600));
            for scan in 0..200 {
                clock.begin(at(scan * 100));
                clock.on_clock(scan * per_scan_ms);
            }
            clock.forget();
            clock.begin(at(30_000));
            let stands = clock.now();
            clock.begin(at(31_000));
            assert_eq!(clock.now(), stands, "it stands unless it is told to go on");
            clock.coast(true);
            clock.begin(at(32_000));
            let passed = (clock.now() - stands).as_millis();
            assert!((passed - passed_ms).abs() <= passed_ms / 50, "{per_scan_ms}: {passed}");
            let before = clock.now();
            clock.on_clock(900_000);
            clock.on_clock(900_040);
            clock.begin(at(33_000));
            assert_eq!(clock.now(), before + Span::from_millis(40));
        }
    }

    /// Without a clock tag process time is monotonic time since the first scan, and a monotonic
    /// clock that runs back is counted once.
    #[test]
    fn without_a_clock_tag_monotonic_time_counts() {
        let mut clock = ProcessClock::new(&plan().links[0]);
        for (mono, process) in [(700, 0), (800, 100), (750, 100), (790, 100), (900, 200)] {
            assert_eq!(clock.begin(at(mono)), Process::from_millis(process));
        }
        assert_eq!(clock.on_clock(1), None);
        assert_eq!(clock.speed(), 1.0);
    }

    /// The speed of an accelerated plant is found whatever the batching, and survives a pause.
    #[test]
    fn speed_is_process_time_per_link_time() {
        for (per_scan, factor) in [(1, 1), (1, 1_000), (4, 50), (1, 7)] {
            let mut clock = clock(Span::from_secs(3_600));
            let mut value = 0;
            for scan in 0..400 {
                clock.begin(at(scan * 20));
                for _ in 0..per_scan {
                    value += 20 * factor / per_scan;
                    clock.on_clock(value);
                }
            }
            let wanted = (20 * factor / per_scan * per_scan) as f64 / 20.0;
            assert!(libm::fabs(clock.speed() / wanted - 1.0) < 0.02, "{} {wanted}", clock.speed());
            clock.forget();
            clock.begin(at(100_000));
            clock.on_clock(0);
            clock.begin(at(100_020));
            clock.on_clock(20 * factor);
            let speed = clock.speed();
            assert!(libm::fabs(speed / wanted - 1.0) < 0.05, "{speed} {wanted}");
        }
    }

    /// A stamp is skewed only when further off than the limit mapped by the speed, plus one clock
    /// interval; after a jump none is, until the clock is known again.
    #[test]
    fn stamps_are_judged_on_the_plc_clock() {
        let max = Span::from_secs(2);
        let mut clock = clock(Span::from_secs(3_600));
        for scan in 0..100 {
            clock.begin(at(scan * 24));
            clock.on_clock(scan * 24_000);
        }
        // Newest 2 376 000 ms, interval 24 s, speed 1000: 2 s of link time are 2000 s.
        let near = |ms| clock.skewed(Utc::from_millis(ms), max);
        let newest = 2_376_000;
        assert_eq!(near(newest), Some(Skew::None));
        assert_eq!(near(newest + 24_000 + 1_990_000), Some(Skew::None));
        assert_eq!(near(newest + 24_000 + 2_010_000), Some(Skew::Ahead));
        assert_eq!(near(newest - 48_000 - 1_990_000), Some(Skew::None));
        assert_eq!(near(newest - 48_000 - 2_010_000), Some(Skew::Behind));
        let placed = clock.place(Utc::from_millis(newest - 5_000), max);
        assert_eq!(placed, Some(clock.now() - Span::from_secs(5)));
        assert_eq!(clock.place(Utc::from_millis(newest + 5_000), max), Some(clock.now()));
        assert_eq!(clock.place(Utc::from_millis(-9_000_000), max), None);
        assert!(clock.on_clock(0).is_some());
        assert_eq!(clock.skewed(Utc::from_millis(newest), max), None);
    }

    proptest! {
        /// Process time never runs backwards, whatever the two clocks do.
        #[test]
        fn process_time_is_monotone(
            follows in any::<bool>(),
            steps in proptest::collection::vec((any::<i64>(), any::<i64>(), 0_u8..8), 1..60),
        ) {
            let mut plan = plan();
            plan.links[0].clock = follows.then_some(TagId(0));
            let mut clock = ProcessClock::new(&plan.links[0]);
            let mut last = clock.now();
            for (mono, value, what) in steps {
                if what == 0 {
                    clock.forget();
                }
                clock.begin(Now { mono: Mono::from_nanos(mono), utc: Utc::default() });
                clock.on_clock(if what < 4 { value } else { value % 100_000 });
                prop_assert!(clock.now() >= last);
                prop_assert!(clock.speed().is_finite() && clock.speed() >= 0.0);
                last = clock.now();
            }
        }
    }
}
