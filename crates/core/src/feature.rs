//! Features: one number per part, streamed from the samples of one tag, with coverage.
//!
//! Terms:
//! - *hold*: a value stands until the next sample of its tag; a steady register sends nothing.
//! - *part-level* (`window` None): the part's own samples, equal weight. A tag that sent nothing
//!   in a part but stayed Good has the held value, deviation 0 and slope 0.
//! - *windowed*: exponential weights over process time, across parts; the held value joins with
//!   the time for which it stood, so a sample that arrives with the cut weighs from the next part
//!   on. Least and largest use a sliding window of the same length.
//! - *coverage*: share of the part's process time in which the tag was Good; with a window the
//!   exponentially weighted share of all time before. Below `coverage_min` the feature is unknown.
//! - *lag*: the value of so many parts ago.
//! - *combined*: difference, product or ratio of two other features of the part; its coverage is the
//!   smaller of theirs.
//!
//! Invariant: a value is unknown (`None`) or finite; unknown is never 0.

use alloc::vec;
use alloc::vec::Vec;

use crate::image::{Accepted, Image};
use crate::plan::{Combine, FeatureId, FeaturePlan, Plan, PlcId, Take};
use crate::tag::TagId;
use crate::time::{Process, Span};

mod stream;

use stream::{Largest, Moments, Slope, Tally};

/// One feature of one part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureValue {
    /// The value [unit of the feature], finite; `None` = unknown.
    pub value: Option<f64>,
    /// Share of Good time that it rests on, 0 to 1.
    pub coverage: f64,
}

impl FeatureValue {
    /// Nothing known.
    pub const UNKNOWN: Self = Self { value: None, coverage: 0.0 };
}

/// All features of a plan. All memory is taken in [`Features::new`].
#[derive(Clone, Debug)]
pub struct Features {
    /// `states` of tag `i` are `members[starts[i] .. starts[i + 1]]`.
    starts: Vec<usize>,
    members: Vec<usize>,
    states: Vec<State>,
    values: Vec<FeatureValue>,
    /// Process time at which the part began.
    began: Process,
    newest: Process,
}

#[derive(Clone, Debug)]
struct State {
    tag: TagId,
    take: Take,
    window: Option<Window>,
    coverage_min: f64,
    /// Up to when time has been counted.
    since: Process,
    /// The value that stands, while Good.
    held: Option<f64>,
    /// Good time of the part.
    good: Span,
    tally: Tally,
    slope: Slope,
    /// Process time of the newest point of `slope`.
    slope_at: Process,
    /// Values of parts still to come out, oldest at `next`; empty without lag.
    waiting: Vec<FeatureValue>,
    next: usize,
}

#[derive(Clone, Debug)]
struct Window {
    length: Span,
    seconds: f64,
    moments: Moments,
    /// For Min (of the negated value) and Max only.
    largest: Option<Largest>,
}

impl Features {
    /// Nothing known of any feature.
    pub fn new(plan: &Plan) -> Self {
        let mut starts = Vec::with_capacity(plan.tags.len() + 1);
        let mut members = Vec::with_capacity(plan.features.len());
        starts.push(0);
        for tag in 0..plan.tags.len() {
            let of_tag = plan
                .features
                .iter()
                .enumerate()
                .filter(|(_, f)| f.tag.index() == tag && f.combine.is_none());
            members.extend(of_tag.map(|(i, _)| i));
            starts.push(members.len());
        }
        Self {
            starts,
            members,
            states: plan.features.iter().map(State::new).collect(),
            values: vec![FeatureValue::UNKNOWN; plan.features.len()],
            began: Process::default(),
            newest: Process::default(),
        }
    }

    /// Takes a judged sample; work is proportional to the features of its tag. One that is not
    /// Good ends the held value: the tag is not covered until the next Good one.
    pub fn accept(&mut self, _plan: &Plan, accepted: &Accepted) {
        self.newest = self.newest.max(accepted.at);
        let tag = accepted.tag.index();
        let range = self.starts.get(tag).zip(self.starts.get(tag.saturating_add(1)));
        let Some(members) = range.and_then(|(a, b)| self.members.get(*a..*b)) else { return };
        let good = accepted.quality.is_good().then(|| accepted.value.as_f64());
        for member in members {
            if let Some(state) = self.states.get_mut(*member) {
                state.accept(good.filter(|x| x.is_finite()), accepted.at);
            }
        }
    }

    /// Ends the part at `at`: one value per feature, in the plan's order, lag applied. The next
    /// part begins with whatever values stand.
    ///
    /// The image has the last word on quality. A tag that went Stale or Missing without a sample
    /// has not been Good since it was last heard; one that turned Good without a sample is Good
    /// from here on.
    pub fn close(&mut self, plan: &Plan, image: &Image, at: Process) -> &[FeatureValue] {
        let at = at.max(self.newest);
        let duration = at - self.began;
        for (state, out) in self.states.iter_mut().zip(&mut self.values) {
            let held = image.good(plan, state.tag);
            *out = state.close(held, at, duration);
        }
        self.combine(plan);
        self.began = at;
        self.newest = at;
        &self.values
    }

    fn combine(&mut self, plan: &Plan) {
        for (index, feature) in plan.features.iter().enumerate() {
            let Some(combine) = feature.combine else { continue };
            let (a, b) = combine.of();
            let of = |id: FeatureId| self.values.get(id.index()).copied();
            let (a, b) =
                (of(a).unwrap_or(FeatureValue::UNKNOWN), of(b).unwrap_or(FeatureValue::UNKNOWN));
            let value = a.value.zip(b.value).map(|(x, y)| match combine {
                Combine::Difference(..) => x - y,
                Combine::Product(..) => x * y,
                Combine::Ratio(..) => x / y,
            });
            let value = value.filter(|x| x.is_finite());
            if let Some(out) = self.values.get_mut(index) {
                *out = FeatureValue { value, coverage: a.coverage.min(b.coverage) };
            }
        }
    }

    /// Values of the last closed part, in the plan's order.
    pub fn values(&self) -> &[FeatureValue] {
        &self.values
    }

    /// A PLC was lost: what its tags told is forgotten, windows and lags included.
    ///
    /// Where it cuts the parts, nobody knows how many have passed: the part in work began when the
    /// newest sample was taken, what the tags of other PLCs told of it counts for none, and all lags
    /// are unknown.
    pub fn lose(&mut self, plan: &Plan, plc: PlcId) {
        let cuts = plan.plc_of_cycle() == plc;
        if cuts {
            self.began = self.newest;
        }
        for (state, value) in self.states.iter_mut().zip(&mut self.values) {
            if plan.plc_of(state.tag) == plc {
                state.reset(self.newest);
                *value = FeatureValue::UNKNOWN;
            } else if cuts {
                state.restart(self.newest);
            }
        }
        // What rests on a lost value is lost, whatever PLC its first tag is of.
        self.combine(plan);
    }
}

impl State {
    fn new(plan: &FeaturePlan) -> Self {
        let extreme = matches!(plan.take, Take::Min | Take::Max);
        // "The value in force when the part ended" has no use for a window.
        let length = plan.window.filter(|w| *w > Span::ZERO && plan.take != Take::Last);
        Self {
            tag: plan.tag,
            take: plan.take,
            window: length.map(|length| Window {
                length,
                seconds: length.as_secs_f64(),
                moments: Moments::EMPTY,
                largest: extreme.then(Largest::new),
            }),
            coverage_min: plan.coverage_min,
            since: Process::default(),
            held: None,
            good: Span::ZERO,
            tally: Tally::EMPTY,
            slope: Slope::EMPTY,
            slope_at: Process::default(),
            waiting: vec![FeatureValue::UNKNOWN; usize::from(plan.lag)],
            next: 0,
        }
    }

    fn reset(&mut self, at: Process) {
        if let Some(window) = &mut self.window {
            window.moments = Moments::EMPTY;
            if let Some(largest) = &mut window.largest {
                largest.clear();
            }
        }
        self.since = at;
        self.held = None;
        self.good = Span::ZERO;
        self.tally = Tally::EMPTY;
        self.slope = Slope::EMPTY;
        self.slope_at = at;
        self.waiting.fill(FeatureValue::UNKNOWN);
    }

    /// The part in work begins anew; what stands, stands on.
    fn restart(&mut self, at: Process) {
        self.advance(at);
        self.good = Span::ZERO;
        self.tally = Tally::EMPTY;
        if self.window.is_none() {
            self.slope = Slope::EMPTY;
            self.slope_at = self.since;
        }
        self.waiting.fill(FeatureValue::UNKNOWN);
    }

    /// Counts the time since the last call as spent at the held value.
    fn advance(&mut self, at: Process) {
        let at = at.max(self.since);
        let time = at - self.since;
        self.since = at;
        if self.held.is_some() {
            self.good += time;
        }
        if let Some(window) = &mut self.window {
            window.moments.hold(self.held, time.as_secs_f64(), window.seconds);
        }
    }

    /// The held value gives way to another, or to none.
    fn replace(&mut self, held: Option<f64>) {
        let old = self.held;
        self.held = held;
        let (Some(x), Some(window)) = (old, &mut self.window) else { return };
        if let Some(largest) = &mut window.largest {
            let x = if self.take == Take::Min { -x } else { x };
            largest.replaced(x, self.since.as_nanos(), window.length.as_nanos());
        }
    }

    fn accept(&mut self, good: Option<f64>, at: Process) {
        self.advance(at);
        self.replace(good);
        if let Some(x) = good {
            self.tally.add(x);
            self.add_to_slope(x);
        }
    }

    fn add_to_slope(&mut self, x: f64) {
        let seconds = (self.since - self.slope_at).as_secs_f64();
        self.slope.add(x, seconds, self.window.as_ref().map(|w| w.seconds));
        self.slope_at = self.since;
    }

    fn close(&mut self, good: Option<f64>, at: Process, duration: Span) -> FeatureValue {
        if good.is_none() {
            // Silent death: nobody knows when, so none of the time since it was heard counts.
            self.replace(None);
        }
        self.advance(at);
        if self.held.is_none() && good.is_some() {
            self.held = good;
        }
        let value = self.value(at, duration);
        self.good = Span::ZERO;
        self.tally = Tally::EMPTY;
        if self.window.is_none() {
            self.slope = Slope::EMPTY;
            self.slope_at = self.since;
        }
        self.delay(value)
    }

    fn value(&mut self, at: Process, duration: Span) -> FeatureValue {
        let silent = self.tally.count == 0;
        if let (true, Take::Slope, Some(x), true) =
            (silent, self.take, self.held, self.window.is_some())
        {
            // A ramp that has come to rest sends nothing; the value that stands is a point too.
            self.add_to_slope(x);
        }
        let coverage = match &self.window {
            Some(window) => window.moments.weight,
            None if duration > Span::ZERO => {
                self.good.as_nanos() as f64 / duration.as_nanos() as f64
            }
            None => f64::from(u8::from(self.held.is_some())),
        };
        let coverage = coverage.clamp(0.0, 1.0);
        let value = match &mut self.window {
            Some(window) => match self.take {
                Take::Last => self.held,
                Take::Mean => window.moments.mean(),
                Take::Deviation => window.moments.deviation(),
                Take::Slope => self.slope.slope(),
                Take::Min | Take::Max => {
                    let sign = if self.take == Take::Min { -1.0 } else { 1.0 };
                    let held = self.held.map(|x| sign * x);
                    let (now, length) = (at.as_nanos(), window.length.as_nanos());
                    let value = window.largest.as_mut().and_then(|l| l.value(held, now, length));
                    value.map(|x| sign * x)
                }
            },
            None => self.part_value(silent),
        };
        let known = coverage >= self.coverage_min;
        FeatureValue { value: value.filter(|x| known && x.is_finite()), coverage }
    }

    fn part_value(&self, silent: bool) -> Option<f64> {
        match self.take {
            Take::Last => self.held,
            Take::Mean | Take::Min | Take::Max if silent => self.held,
            // It did not change: that is known, not missing.
            Take::Deviation | Take::Slope if silent => self.held.map(|_| 0.0),
            Take::Mean => self.tally.mean(),
            Take::Deviation => self.tally.deviation(),
            Take::Min => Some(self.tally.min),
            Take::Max => Some(self.tally.max),
            Take::Slope => self.slope.slope(),
        }
    }

    /// Puts a value in at the end of the lag and takes out the one whose turn has come.
    fn delay(&mut self, value: FeatureValue) -> FeatureValue {
        let count = self.waiting.len();
        let Some(slot) = self.waiting.get_mut(self.next) else { return value };
        let out = core::mem::replace(slot, value);
        self.next = (self.next + 1) % count;
        out
    }
}

#[cfg(test)]
mod tests;
