//! The checks that need memory: rate, spike, clock offset.

use crate::time::{Process, Span};

/// Samples in the spike window.
const WINDOW: usize = 7;
/// Agreeing samples that make a fast change a step.
const STEP_SAMPLES: u8 = 3;
/// Makes the median absolute deviation of normal noise its standard deviation.
const MAD_TO_SD: f64 = 1.4826;
/// Spike limit [standard deviations].
const SPIKE_WIDTH: f64 = 3.0;
/// Weight of a new clock offset.
const OFFSET_WEIGHT: f64 = 0.25;

/// When a sample was taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment {
    /// Best guess.
    pub(super) at: Process,
    /// How much earlier it may have been.
    pub(super) slack: Span,
}

/// What the rate check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// As fast as the tag can.
    Plausible,
    /// Faster, not believed.
    TooFast,
    /// Faster, and believed from here on: three samples agree.
    Step,
}

/// Rate check with acceptance of steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Last believed value and its time.
    believed: Option<(f64, Moment)>,
    /// Newest value that was too fast, its time, and how many such agree.
    candidate: Option<(f64, Moment, u8)>,
}

/// Whether `x` can have been reached at `rate_max` [unit/s]. Both times are uncertain by the slack
/// of the earlier one, which is read in the tag's favour.
fn reachable(from: (f64, Moment), x: f64, at: Process, rate_max: f64, resolution: f64) -> bool {
    let seconds = (at - from.1.at + from.1.slack).as_secs_f64();
    libm::fabs(x - from.0) <= rate_max * seconds.max(0.0) + resolution
}

impl Rate {
    pub(super) const NEW: Self = Self { believed: None, candidate: None };

    /// Judges a finite value.
    pub(super) fn judge(&mut self, x: f64, moment: Moment, rate_max: f64, resolution: f64) -> Pace {
        let near = |from, at| reachable(from, x, at, rate_max, resolution);
        if self.believed.is_none_or(|from| near(from, moment.at)) {
            self.believed = Some((x, moment));
            self.candidate = None;
            return Pace::Plausible;
        }
        let agreeing = match self.candidate {
            Some((last, then, n)) if near((last, then), moment.at) => n.saturating_add(1),
            _ => 1,
        };
        if agreeing < STEP_SAMPLES {
            self.candidate = Some((x, moment, agreeing));
            return Pace::TooFast;
        }
        self.believed = Some((x, moment));
        self.candidate = None;
        Pace::Step
    }

    /// Whether a value that was too fast has been held so long that the tag could have got there:
    /// a register that stands still sends no samples that could agree.
    pub(super) fn settled(&self, now: Process, rate_max: f64, resolution: f64) -> bool {
        match (self.believed, self.candidate) {
            (Some(from), Some((x, ..))) => reachable(from, x, now, rate_max, resolution),
            _ => false,
        }
    }
}

/// Spike check: distance from the median of the last seven values, the newest among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spike {
    /// Oldest first once full.
    window: [f64; WINDOW],
    filled: usize,
}

impl Spike {
    pub(super) const NEW: Self = Self { window: [0.0; WINDOW], filled: 0 };

    /// Takes a finite value; true when it is an outlier. False until seven values are there, or
    /// while neither noise nor `resolution` [unit] gives a scale to judge by.
    pub(super) fn judge(&mut self, x: f64, resolution: f64) -> bool {
        self.window.rotate_left(1);
        if let Some(newest) = self.window.last_mut() {
            *newest = x;
        }
        self.filled = (self.filled + 1).min(WINDOW);
        if self.filled < WINDOW {
            return false;
        }
        let middle = median(self.window);
        let mad = median(self.window.map(|v| libm::fabs(v - middle)));
        let limit = SPIKE_WIDTH * MAD_TO_SD * mad.max(resolution);
        limit > 0.0 && libm::fabs(x - middle) > limit
    }

    /// A step was accepted: `x` is the level from now on.
    pub(super) fn restart(&mut self, x: f64) {
        self.window = [x; WINDOW];
        self.filled = WINDOW;
    }
}

/// Of finite values, by 13 exchanges (N. Devillard, *Fast median search*, 1998, `opt_med7`). This is
/// done twice for each sample, and sorting would guess wrong at every branch: what is compared is
/// noise.
fn median([a, b, c, d, e, f, g]: [f64; WINDOW]) -> f64 {
    let (a, f) = exchange(a, f);
    let (a, d) = exchange(a, d);
    let (b, g) = exchange(b, g);
    let (c, e) = exchange(c, e);
    let (_, b) = exchange(a, b);
    let (d, f) = exchange(d, f);
    let (c, g) = exchange(c, g);
    let (_, d) = exchange(c, d);
    let (d, _) = exchange(d, g);
    let (e, _) = exchange(e, f);
    let (b, e) = exchange(b, e);
    let (_, d) = exchange(b, d);
    let (d, _) = exchange(d, e);
    d
}

/// The smaller one first.
fn exchange(a: f64, b: f64) -> (f64, f64) {
    (if b < a { b } else { a }, if b < a { a } else { b })
}

/// Smoothed distance of two clocks. Each new distance is cut to twice the limit before it counts,
/// so a lone late sample never says "skewed" and three in a row do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offset {
    nanos: f64,
}

impl Offset {
    pub(super) const ZERO: Self = Self { nanos: 0.0 };

    pub(super) fn observe(&mut self, distance: Span, limit: Span) {
        let cut = 2.0 * limit.as_nanos() as f64;
        let cut_distance = (distance.as_nanos() as f64).min(cut).max(-cut);
        self.nanos += OFFSET_WEIGHT * (cut_distance - self.nanos);
    }

    /// Whether the smoothed distance is beyond `share` of the limit.
    pub(super) fn beyond(self, limit: Span, share: f64) -> bool {
        libm::fabs(self.nanos) > share * limit.as_nanos() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What selects the middle one of all rows of zeros and ones selects it of all rows (the 0-1
    /// principle: D. E. Knuth, *TAOCP* 3, 5.3.4).
    #[test]
    fn the_middle_one_of_seven_is_found() {
        for bits in 0_u32..1 << WINDOW {
            let values: [f64; WINDOW] = core::array::from_fn(|place| f64::from(bits >> place & 1));
            let expected = if bits.count_ones() > 3 { 1.0 } else { 0.0 };
            assert_eq!(median(values), expected, "{values:?}");
        }
        assert_eq!(median([3.5, -2.0, 7.0, 1.0, 9.5, -4.0, 2.5]), 2.5);
    }

    fn moment(ms: i64) -> Moment {
        Moment { at: Process::from_millis(ms), slack: Span::ZERO }
    }

    /// Rate: 2 unit/s; one outlier is not believed, three agreeing samples are a step.
    #[test]
    fn three_agreeing_samples_are_a_step() {
        use Pace::{Plausible, Step, TooFast};
        let rows: [&[(i64, f64, Pace)]; 4] = [
            &[(0, 10.0, Plausible), (1000, 12.0, Plausible), (2000, 14.1, TooFast)],
            // An outlier, then the old level: no step.
            &[(0, 10.0, Plausible), (100, 90.0, TooFast), (200, 10.1, Plausible)],
            &[
                (0, 10.0, Plausible),
                (100, 90.0, TooFast),
                (200, 90.1, TooFast),
                (300, 90.0, Step),
                (400, 90.1, Plausible),
            ],
            // Outliers that disagree never add up.
            &[
                (0, 10.0, Plausible),
                (100, 90.0, TooFast),
                (200, 40.0, TooFast),
                (300, 90.0, TooFast),
                (400, 40.0, TooFast),
            ],
        ];
        for row in rows {
            let mut rate = Rate::NEW;
            for (ms, x, pace) in row {
                assert_eq!(rate.judge(*x, moment(*ms), 2.0, 0.0), *pace, "{row:?} at {ms}");
            }
        }
    }

    /// A value that was too fast but has stood is believed once the tag could have got there.
    #[test]
    fn a_held_value_becomes_reachable() {
        let mut rate = Rate::NEW;
        rate.judge(10.0, moment(0), 2.0, 0.0);
        assert_eq!(rate.judge(20.0, moment(1000), 2.0, 0.0), Pace::TooFast);
        assert!(!rate.settled(Process::from_millis(4_900), 2.0, 0.0));
        assert!(rate.settled(Process::from_millis(5_000), 2.0, 0.0));
    }

    /// Spike limit by hand: window 1 2 3 4 5 6 x has median 4 and MAD 2, limit 8.8956.
    #[test]
    fn a_spike_is_three_deviations_from_the_median() {
        let ramp = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let flat = [5.0; 6];
        let rows: [(&[f64], f64, f64, bool); 8] = [
            (&ramp, 0.0, 12.8, false),
            (&ramp, 0.0, 12.9, true),
            (&ramp, 3.0, 17.3, false),
            (&ramp, 3.0, 17.4, true),
            // No noise and no resolution: nothing to judge by.
            (&flat, 0.0, 500.0, false),
            (&flat, 1.0, 9.4, false),
            (&flat, 1.0, 9.5, true),
            // Fewer than seven values.
            (&[5.0; 5], 1.0, 500.0, false),
        ];
        for (before, resolution, x, expect) in rows {
            let mut spike = Spike::NEW;
            for v in before {
                assert!(!spike.judge(*v, resolution));
            }
            assert_eq!(spike.judge(x, resolution), expect, "{before:?} {resolution} {x}");
        }
    }

    /// The fourth sample of a new level is no spike any more.
    #[test]
    fn a_lasting_step_is_no_spike() {
        let mut spike = Spike::NEW;
        for _ in 0..7 {
            spike.judge(5.0, 0.1);
        }
        let verdicts = [(); 4].map(|()| spike.judge(9.0, 0.1));
        assert_eq!(verdicts, [true, true, true, false]);
    }

    /// One late sample never says skewed, three in a row from rest do, and good ones heal it.
    #[test]
    fn clocks_are_skewed_after_three() {
        let limit = Span::from_secs(2);
        let mut offset = Offset::ZERO;
        for (seconds, expect) in [
            (-3_600, false),
            (-3_600, false),
            (-3_600, true),
            (-3_600, true),
            (-3_600, true),
            (0, true),
            (0, false),
            (3_600, false),
            (0, false),
            (1, false),
        ] {
            offset.observe(Span::from_secs(seconds), limit);
            assert_eq!(offset.beyond(limit, 1.0), expect, "{seconds} {offset:?}");
        }
    }
}
