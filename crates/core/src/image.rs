//! The process image: the newest sample of every tag, judged.
//!
//! A sample is judged once, on arrival ([`Image::accept`]); its age is judged whenever it is read
//! ([`Image::reading`]). First reason wins, in this order:
//!
//! | check | finds | verdict |
//! |---|---|---|
//! | link or own age | nothing heard for too long [link time] | Stale |
//! | server status | severity 10 | Bad |
//! | number | NaN, infinite, no value | Bad |
//! | range | outside `[lo, hi]` | Bad |
//! | Uncertain | severity 01, unless the tag accepts it | Uncertain |
//! | skew | its stamp is too far from the clock it should follow | Suspect |
//! | rate | faster than the tag can; three agreeing samples are a step | Suspect |
//! | spike | far from the median of seven | Suspect |
//! | frozen | too many unchanged samples while running | Suspect |
//!
//! There is no last-known-good: what is not Good is shown, but neither scored nor acted on.
//!
//! A register that stands still sends nothing. So a value found too fast or spiky that then stands
//! is believed in the end: after the time the tag needs to get there, or three usual sample
//! intervals. Otherwise one step of a quiet tag would leave it Suspect for good.

use alloc::vec;
use alloc::vec::Vec;

use crate::plan::{LinkPlan, Plan, PlcId, TagPlan};
use crate::tag::{Doubt, Fault, Quality, Reading, Sample, Status, TagId, Value};
use crate::time::{Mono, Now, Process, Span, Utc};

mod check;
mod clock;
#[cfg(test)]
pub(crate) mod fixture;

pub use clock::{Jump, ProcessClock};

use check::{Moment, Offset, Pace, Rate, Spike};
use clock::Skew;

/// Usual sample intervals after which a standing spike is the new level.
const SPIKE_STANDS: f64 = 3.0;
/// Weight of a new sample interval.
const INTERVAL_WEIGHT: f64 = 0.25;
/// Share of the skew limit below which the server clock counts as right again.
const SKEW_REARM: f64 = 0.5;
/// Coarsest source stamp that is usual [UA stamps of PLCs are whole milliseconds].
const STAMP_STEP: Span = Span::from_millis(1);

/// The newest sample of every tag. All memory is taken in [`Image::new`].
#[derive(Clone, Debug)]
pub struct Image {
    slots: Vec<Slot>,
    times: Times,
}

/// What samples of this scan are placed and judged by.
#[derive(Clone, Debug)]
struct Times {
    now: Now,
    process: Process,
    /// Process time of the scan before.
    process_before: Process,
    /// `[links]` what each PLC's tags are judged by.
    heard: Vec<Heard>,
}

/// What is known of one PLC in this scan.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// When anything last came from it.
    life: Option<Mono>,
    clock: ProcessClock,
    /// Its server's clock against ours.
    server: Offset,
    server_skewed: bool,
}

/// A judged sample, as the later stages see it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent findings, not a state")]
pub struct Accepted {
    /// Which tag.
    pub tag: TagId,
    /// Verdict on this sample, its age left aside.
    pub quality: Quality,
    /// Its value; means something only when `quality` is Good. The one before it when it has none.
    pub value: Value,
    /// Whether the value differs from the last one before it, those without meaning (status Bad,
    /// not a number) left out on both sides; true for the first since the link came up.
    pub changed: bool,
    /// Process time at which it was taken: by its source stamp where that can be believed, else the
    /// time of receipt. Per tag it never runs backwards; never later than the scan.
    pub at: Process,
    /// Whether its source stamp differs from that of the sample before; true when it has none.
    pub new_source_time: bool,
    /// Whether it made a fast change believable: the third agreeing sample.
    pub step_accepted: bool,
    /// Whether with it the server's clock was found off by more than `skew_max` (smoothed, told
    /// once until it was right again). Says nothing about `quality`.
    pub skewed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// `None`: nothing since the link came up.
    received: Option<Mono>,
    at: Process,
    value: Value,
    /// Last value that the server did not call Bad and that is a number.
    known: Option<Value>,
    quality: Quality,
    source_time: Option<Utc>,
    skew: Skew,
    /// Source clock against ours, without a clock tag.
    offset: Offset,
    unchanged: u32,
    /// Usual process time between samples [ns]; 0 = not known yet.
    interval: f64,
    rate: Rate,
    spike: Spike,
}

impl Slot {
    const EMPTY: Self = Self {
        received: None,
        at: Process::from_nanos(0),
        value: Value::Float(f64::NAN),
        known: None,
        quality: Quality::Missing,
        source_time: None,
        skew: Skew::None,
        offset: Offset::ZERO,
        unchanged: 0,
        interval: 0.0,
        rate: Rate::NEW,
        spike: Spike::NEW,
    };
}

impl Image {
    /// All tags Missing.
    pub fn new(plan: &Plan) -> Self {
        Self {
            slots: vec![Slot::EMPTY; plan.tags.len()],
            times: Times {
                now: Now::default(),
                process: Process::default(),
                process_before: Process::default(),
                heard: plan.links.iter().map(Heard::new).collect(),
            },
        }
    }

    /// Starts a scan. `links`, `[links]`: the clock of each PLC, which has taken the scan's time and
    /// clock samples already, and when anything last came from that PLC, keep-alives included
    /// (`None`: nothing yet). The first clock is process time.
    pub fn begin<'c>(
        &mut self,
        now: Now,
        links: impl IntoIterator<Item = (&'c ProcessClock, Option<Mono>)>,
    ) {
        let times = &mut self.times;
        times.now = now;
        times.process_before = times.process;
        for (heard, (clock, life)) in times.heard.iter_mut().zip(links) {
            heard.clock = *clock;
            heard.life = life;
        }
        if let Some(lead) = times.heard.first() {
            times.process = lead.clock.now();
        }
    }

    /// Takes a sample in and judges it. `running` is whether the machine produces; only then do
    /// unchanged samples count as frozen. A tag the plan does not have comes back Missing.
    pub fn accept(&mut self, plan: &Plan, sample: &Sample, running: bool) -> Accepted {
        let skewed = self.times.watch_server(plan, sample);
        let tag = plan.tags.get(sample.tag.index());
        let (Some(tag), Some(slot)) = (tag, self.slots.get_mut(sample.tag.index())) else {
            return Accepted {
                tag: sample.tag,
                quality: Quality::Missing,
                value: sample.value.unwrap_or(Value::Float(f64::NAN)),
                changed: false,
                at: self.times.process,
                new_source_time: false,
                step_accepted: false,
                skewed,
            };
        };
        let stamp = sample.source_time;
        let new_source_time = stamp.is_none() || stamp != slot.source_time;
        slot.skew = self.times.judge_stamp(plan, sample, slot, new_source_time);
        let moment = self.times.place(plan, sample, slot);
        slot.observe_interval(moment.at);
        let changed = slot.take_value(sample, running);
        let (quality, step_accepted) = slot.judge(tag, sample, moment);
        slot.quality = quality;
        slot.at = moment.at;
        slot.received = Some(sample.received);
        slot.source_time = stamp;
        Accepted {
            tag: sample.tag,
            quality,
            value: slot.value,
            changed,
            at: moment.at,
            new_source_time,
            step_accepted,
            skewed,
        }
    }

    /// The newest sample with its age judged against this scan.
    ///
    /// Missing: nothing since the link came up (the value is NaN then). Stale: the link was silent
    /// for longer than the plan's `stale_after`, or the sample is older than its tag allows.
    pub fn reading(&self, plan: &Plan, tag: TagId) -> Reading {
        let both = self.slots.get(tag.index()).zip(plan.tags.get(tag.index()));
        let (slot, quality) = match both {
            Some((slot, of)) => (slot, self.judge_age(plan, of, slot)),
            None => (&Slot::EMPTY, Quality::Missing),
        };
        Reading {
            value: slot.value,
            quality,
            source_time: slot.source_time,
            received: slot.received.unwrap_or_default(),
        }
    }

    /// Quality of the tag in this scan; see [`Image::reading`].
    pub fn quality(&self, plan: &Plan, tag: TagId) -> Quality {
        self.reading(plan, tag).quality
    }

    /// The value as a number [unit of the tag], finite; `None` unless Good.
    pub fn good(&self, plan: &Plan, tag: TagId) -> Option<f64> {
        let reading = self.reading(plan, tag);
        let value = reading.quality.is_good().then(|| reading.value.as_f64());
        value.filter(|x| x.is_finite())
    }

    /// The value as a whole number; `None` unless Good and whole.
    pub fn good_int(&self, plan: &Plan, tag: TagId) -> Option<i64> {
        let reading = self.reading(plan, tag);
        if reading.quality.is_good() { reading.value.as_i64() } else { None }
    }

    /// The link to a PLC was lost: every tag of it is Missing until it is received again, and what
    /// the checks remember is forgotten, because the gap says nothing about rates or neighbours.
    pub fn forget(&mut self, plan: &Plan, plc: PlcId) {
        for (slot, _) in self.slots.iter_mut().zip(&plan.tags).filter(|(_, tag)| tag.plc == plc) {
            // Process time goes on, so a tag's samples must not fall behind it.
            *slot = Slot { at: slot.at, ..Slot::EMPTY };
        }
        if let Some(heard) = self.times.heard.get_mut(plc.index()) {
            heard.life = None;
            heard.server = Offset::ZERO;
            heard.server_skewed = false;
        }
    }

    fn judge_age(&self, plan: &Plan, tag: &TagPlan, slot: &Slot) -> Quality {
        let Some(received) = slot.received else { return Quality::Missing };
        let plc = tag.plc.index();
        let silent = match (self.times.heard.get(plc).and_then(|h| h.life), plan.links.get(plc)) {
            (Some(life), Some(link)) => self.times.now.mono - life > link.stale_after,
            _ => true,
        };
        let old = tag.stale_after.is_some_and(|limit| self.times.now.mono - received > limit);
        if silent || old {
            return Quality::Stale;
        }
        let process = self.times.process;
        let stands = match slot.quality {
            Quality::Suspect(Doubt::Rate) => {
                tag.rate_max.is_some_and(|r| slot.rate.settled(process, r, tag.resolution))
            }
            Quality::Suspect(Doubt::Spike) => {
                let stood = (process - slot.at).as_nanos() as f64;
                slot.interval > 0.0 && stood > SPIKE_STANDS * slot.interval
            }
            _ => false,
        };
        if stands { Quality::Good } else { slot.quality }
    }
}

impl Times {
    /// UTC of a sample's receipt.
    fn utc_received(&self, sample: &Sample) -> Utc {
        self.now.utc - (self.now.mono - sample.received)
    }

    /// One server, one clock: all tags together tell whether it is right. True once when not.
    fn watch_server(&mut self, plan: &Plan, sample: &Sample) -> bool {
        let Some(stamp) = sample.server_time else { return false };
        let plc = plan.plc_of(sample.tag).index();
        let offset = stamp - self.utc_received(sample);
        let (Some(heard), Some(link)) = (self.heard.get_mut(plc), plan.links.get(plc)) else {
            return false;
        };
        heard.server.observe(offset, link.skew_max);
        let was = heard.server_skewed;
        heard.server_skewed =
            heard.server.beyond(link.skew_max, if was { SKEW_REARM } else { 1.0 });
        heard.server_skewed && !was
    }

    /// Judges the source stamp. A stamp seen before keeps its verdict, and the first one since the
    /// link came up may be as old as it likes: both are what a value that stands still sends.
    fn judge_stamp(&self, plan: &Plan, sample: &Sample, slot: &mut Slot, new: bool) -> Skew {
        let plc = plan.plc_of(sample.tag).index();
        let (Some(stamp), Some(heard), Some(link)) =
            (sample.source_time, self.heard.get(plc), plan.links.get(plc))
        else {
            return Skew::None;
        };
        let limit = link.skew_max;
        if !new {
            return slot.skew;
        }
        let first = slot.received.is_none();
        let skew = if heard.clock.follows() {
            heard.clock.skewed(stamp, limit).unwrap_or(Skew::None)
        } else {
            let distance = stamp - self.utc_received(sample);
            if first && distance < Span::ZERO {
                return Skew::None;
            }
            slot.offset.observe(distance, limit);
            match slot.offset.beyond(limit, 1.0) {
                true if distance < Span::ZERO => Skew::Behind,
                true => Skew::Ahead,
                false => Skew::None,
            }
        };
        if first && skew == Skew::Behind { Skew::None } else { skew }
    }

    /// When the sample was taken, in process time.
    fn place(&self, plan: &Plan, sample: &Sample, slot: &Slot) -> Moment {
        let plc = plan.plc_of(sample.tag);
        let process = self.process;
        let leads = self.heard.first().is_some_and(|lead| lead.clock.follows());
        let of_plc = self.heard.get(plc.index()).zip(plan.links.get(plc.index()));
        let by_stamp = sample.source_time.zip(of_plc).and_then(|(stamp, (heard, link))| {
            if heard.clock.follows() {
                let at = heard.clock.place(stamp, link.skew_max)?;
                return Some(process - self.as_process(plc, heard.clock.now() - at));
            }
            let lag = self.now.utc - stamp;
            let near = lag >= Span::ZERO && lag <= link.skew_max;
            near.then(|| process - self.as_process(plc, lag))
        });
        let (at, slack) = match by_stamp {
            Some(at) => (at, STAMP_STEP),
            // Somewhere between the last scan and this one.
            None if leads => (process, process - self.process_before),
            None => {
                let age = (self.now.mono - sample.received).max(Span::ZERO);
                (process - age, process - self.process_before)
            }
        };
        Moment { at: at.min(process).max(slot.at), slack: slack.max(STAMP_STEP) }
    }

    /// Time on the clock of a PLC as process time: two plants may run at different speeds, when both
    /// are simulated.
    fn as_process(&self, plc: PlcId, span: Span) -> Span {
        match (self.heard.first(), self.heard.get(plc.index())) {
            (Some(lead), Some(own)) if plc != PlcId::LEAD => own.clock.onto(&lead.clock, span),
            _ => span,
        }
    }
}

impl Heard {
    fn new(link: &LinkPlan) -> Self {
        let clock = ProcessClock::new(link);
        Self { life: None, clock, server: Offset::ZERO, server_skewed: false }
    }
}

impl Slot {
    fn observe_interval(&mut self, at: Process) {
        let gap = (at - self.at).as_nanos() as f64;
        if self.received.is_none() || gap <= 0.0 {
            return;
        }
        if self.interval > 0.0 {
            self.interval += INTERVAL_WEIGHT * (gap - self.interval);
        } else {
            self.interval = gap;
        }
    }

    /// Keeps the value and counts how long it has not changed; tells whether it did.
    fn take_value(&mut self, sample: &Sample, running: bool) -> bool {
        let Some(value) = sample.value else { return false };
        self.value = value;
        if matches!(sample.status, Status::Bad(_)) || !value.as_f64().is_finite() {
            return false;
        }
        let changed = self.known != Some(value);
        self.known = Some(value);
        // A stopped machine holds its values: it neither proves a sensor frozen nor heals it.
        if changed {
            self.unchanged = 0;
        } else if running {
            self.unchanged = self.unchanged.saturating_add(1);
        }
        changed
    }

    fn judge(&mut self, tag: &TagPlan, sample: &Sample, moment: Moment) -> (Quality, bool) {
        if matches!(sample.status, Status::Bad(_)) {
            return (Quality::Bad(Fault::Server), false);
        }
        let Some(x) = sample.value.map(Value::as_f64).filter(|x| x.is_finite()) else {
            return (Quality::Bad(Fault::NotANumber), false);
        };
        if tag.range.is_some_and(|(low, high)| !(low <= x && x <= high)) {
            return (Quality::Bad(Fault::Range), false);
        }
        if matches!(sample.status, Status::Uncertain(_)) && !tag.accept_uncertain {
            return (Quality::Uncertain, false);
        }
        // Both filters see every usable value, whatever the other says of it.
        let pace = match tag.rate_max {
            Some(rate_max) => self.rate.judge(x, moment, rate_max, tag.resolution),
            None => Pace::Plausible,
        };
        if pace == Pace::Step {
            self.spike.restart(x);
        }
        let spike = tag.spike && self.spike.judge(x, tag.resolution);
        let frozen = tag.frozen_after > 0 && self.unchanged >= tag.frozen_after;
        let quality = if self.skew != Skew::None {
            Quality::Suspect(Doubt::Skew)
        } else if pace == Pace::TooFast {
            Quality::Suspect(Doubt::Rate)
        } else if spike {
            Quality::Suspect(Doubt::Spike)
        } else if frozen {
            Quality::Suspect(Doubt::Frozen)
        } else {
            Quality::Good
        };
        (quality, pace == Pace::Step)
    }
}

#[cfg(test)]
mod tests;
