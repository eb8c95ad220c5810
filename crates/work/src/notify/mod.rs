//! Who hears of an alarm away from the page, and when.
//!
//! ```text
//!            group wait, quiet hours, messages an hour        the courier
//! news --> pending lines, or a count ------> one notice ----------------> delivered
//!    \                                        ^    |  not done, or nobody knows: later again
//!     '-- not acknowledged in time --> the channel that it escalates to
//! ```
//!
//! - A *channel* is one way to people: a mailbox, an address, a file. It is told alarms up to a
//!   priority, or only what other channels escalate to it.
//! - A *line* is of one alarm. Lines that come together go out as one *notice*. Beyond
//!   [`LINES_MAX`] lines alarms are counted: "and 37 more".
//! - A channel has at most one notice on its way. While it cannot be delivered, and while a channel
//!   has sent as many as it may within an hour, lines and counts wait for the next one.
//! - **Invariant:** no hour sees more notices of a channel than its plan says. The last one of an
//!   hour is kept for urgent alarms.
//! - **Invariant:** in quiet hours only urgent alarms are told.
//! - **Invariant:** an alarm that nobody acknowledged is named or counted in a notice; its end is
//!   told where its begin was told by name.
//! - **Invariant:** an alarm escalates once from a channel, and once to a channel, while it is on.
//!
//! - A *digest* is a notice that lists work orders, at times of the day; see [`Digest`]. It does not
//!   count for the hour, and a notice of alarms that is due goes before it.
//!
//! A notice is stored as being sent before its first byte leaves. After a restart, or when nobody
//! knows whether it arrived, it is sent again under the same id: at least once.

mod digest;
mod lane;
mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trimloop_core::time::{Span, Utc};

use crate::key::Fingerprint;
use crate::shift::{Shift, Zone};
use crate::wire;
use crate::works::{AlarmNews, Heard};

use lane::{Begun, Lane};

pub use digest::{DIGESTS_MAX, Digest, ORDERS_MAX, OrderLine, Section};

/// Most alarms that one notice names, and that wait by name.
pub const LINES_MAX: usize = 20;
/// A notice that was refused so often for what it says is given up; its alarms are counted.
pub const REFUSALS_MAX: u32 = 3;
/// Between two tries, at first and at most.
const RETRY: (Span, Span) = (Span::from_secs(10), Span::from_secs(600));
const HOUR: Span = Span::from_secs(3600);

/// What a channel is told, and when.
#[derive(Clone, Debug)]
pub struct ChannelPlan {
    /// Its name.
    pub name: String,
    /// Alarms of this priority and of more urgent ones, 1 to 4; 0 for what others escalate only.
    pub priority: u8,
    /// Up to this priority an alarm is told in quiet hours too, 0 for none to 4.
    pub urgent: u8,
    /// Most notices within an hour, > 0.
    pub per_hour: usize,
    /// From the first alarm to the notice: what belongs together comes together.
    pub group_wait: Span,
    /// Quiet hours.
    pub quiet: Vec<Shift>,
    /// Zone of the quiet hours, and of the times of digests.
    pub zone: Zone,
    /// An alarm that is on, and that nobody acknowledged so long after this channel was to be told,
    /// is told to that channel.
    pub escalate: Option<(Span, String)>,
    /// Times of the day in the zone at which the work orders are told, minutes 0 to 1439; at most
    /// [`DIGESTS_MAX`], quiet hours or not.
    pub orders: Vec<u16>,
}

impl ChannelPlan {
    /// With what most need: six notices an hour, priority 1 is urgent, no quiet hours.
    pub fn new(name: &str, priority: u8) -> Self {
        Self {
            name: name.to_owned(),
            priority,
            urgent: 1,
            per_hour: 6,
            group_wait: Span::from_secs(30),
            quiet: Vec::new(),
            zone: Zone::Fixed(0),
            escalate: None,
            orders: Vec::new(),
        }
    }

    /// Whether it is to be quiet at a time.
    pub fn is_quiet(&self, at: Utc) -> bool {
        let minute = self.zone.minutes(at);
        self.quiet.iter().any(|hours| hours.holds(minute))
    }

    const fn is_urgent(&self, priority: u8) -> bool {
        priority <= self.urgent
    }
}

/// What a notice says of one alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which.
    pub alarm: Fingerprint,
    /// Its name.
    pub name: String,
    /// 1, the most urgent, to 4.
    pub priority: u8,
    /// When it began; `None` where that was told before.
    #[serde(with = "wire::maybe")]
    pub began: Option<Utc>,
    /// When it ended; `None` while it is on.
    #[serde(with = "wire::maybe")]
    pub ended: Option<Utc>,
    /// How often it began since it was told last.
    pub times: u32,
    /// It comes and goes, and stays on until a person acknowledges it.
    pub chatters: bool,
    /// Channel at which nobody acknowledged it.
    pub from: Option<String>,
    /// What was seen, one line; empty for nothing.
    pub seen: String,
}

/// One message to one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The same for every try, another for every other notice: 16 hexadecimal digits.
    pub id: String,
    /// To whom.
    pub channel: String,
    /// When it was written.
    #[serde(with = "wire::one")]
    pub at: Utc,
    /// Alarms by name, the most urgent first; at most [`LINES_MAX`].
    pub lines: Vec<Line>,
    /// Alarms that began and are not named.
    pub more: u32,
    /// Alarms that were named before, and whose end is only counted.
    pub more_ended: u32,
    /// Work orders, in place of alarms.
    #[serde(default)]
    pub digest: Option<Digest>,
}

impl Notice {
    /// Priority of the most urgent alarm that it names; 4 where it names none.
    pub fn priority(&self) -> u8 {
        self.lines.iter().map(|line| line.priority).min().unwrap_or(4)
    }
}

/// How a try to deliver ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is there.
    Delivered,
    /// It did not arrive, or nobody knows; not again before this time, where one is named.
    Failed(Option<Utc>, String),
    /// Refused for what it says.
    Refused(String),
}

/// How a channel does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Its name.
    pub name: &'a str,
    /// Alarms that wait by name.
    pub waiting: usize,
    /// Alarms that wait and are only counted.
    pub counted: u32,
    /// Alarms that are on, of which it was or will be told.
    pub follows: usize,
    /// The notice on its way: its id, tries so far, and why it is not there.
    pub outgoing: Option<(&'a str, u32, Option<&'a str>)>,
    /// Not before this time it is tried again.
    pub next_at: Option<Utc>,
    /// Notices that were delivered.
    pub delivered: u64,
    /// Newest of those.
    pub delivered_at: Option<Utc>,
    /// Notices that were refused for what they said, and given up.
    pub given_up: u64,
}

/// What must be stored of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyState {
    lanes: BTreeMap<String, Lane>,
    /// Number of the next notice.
    next: u64,
}

impl NotifyState {
    /// How each channel does.
    pub fn shown(&self) -> impl Iterator<Item = Shown<'_>> {
        self.lanes.iter().map(|(name, lane)| lane.shown(name))
    }
}

/// All channels.
#[derive(Clone, Debug)]
pub struct Notify {
    plans: Vec<ChannelPlan>,
    state: NotifyState,
}

impl Notify {
    /// Of what was stored, under the channels of today; one that is gone takes what it was to tell
    /// with it. What was on its way may have arrived, and is sent again.
    ///
    /// - `plans`: each with another name.
    pub fn new(plans: Vec<ChannelPlan>, mut state: NotifyState, at: Utc) -> Self {
        state.lanes.retain(|name, _| plans.iter().any(|plan| plan.name == *name));
        for plan in &plans {
            state.lanes.entry(plan.name.clone()).or_default().recover(plan, at);
        }
        Self { plans, state }
    }

    /// What must be stored.
    pub fn state(&self) -> &NotifyState {
        &self.state
    }

    /// Ends what is not on any more: the recipe may have changed meanwhile.
    pub fn keep(&mut self, is_on: impl Fn(Fingerprint) -> bool, at: Utc) {
        for lane in self.state.lanes.values_mut() {
            lane.keep(&is_on, at);
        }
    }

    /// Takes in what is new of an alarm; never before the last call's time.
    pub fn take(&mut self, news: &AlarmNews) {
        let (alarm, at) = (news.subject.fingerprint(), news.at);
        for plan in &self.plans {
            let Some(lane) = self.state.lanes.get_mut(&plan.name) else { continue };
            match news.what {
                Heard::Raised if news.priority <= plan.priority => {
                    let (name, priority) = (news.subject.name(), news.priority);
                    lane.begin(plan, &Begun { alarm, name, priority, began: at }, at, None);
                }
                Heard::Raised => {}
                Heard::Cleared => lane.end(plan, alarm, at),
                Heard::Chatters => lane.chatters(plan, alarm, at),
                Heard::Known => lane.known(alarm),
            }
        }
    }

    /// Lets time pass: notices are written, and alarms escalate.
    ///
    /// - `seen`: what was seen of an alarm, one line.
    pub fn tick(&mut self, at: Utc, seen: impl Fn(Fingerprint) -> Option<String>) {
        for place in 0..self.plans.len() {
            self.escalate(place, at);
        }
        for plan in &self.plans {
            let Some(lane) = self.state.lanes.get_mut(&plan.name) else { continue };
            if let Some(notice) = lane.write(plan, self.state.next, at, &seen) {
                self.state.next += 1;
                lane.queue(notice, at);
            }
        }
    }

    /// Channels that are to be told the work orders now, each with the time of its last digest: what
    /// closed from then on, and before `at`, belongs to this one. They stay due until
    /// [`Self::digest`].
    pub fn digests_due(&mut self, at: Utc) -> Vec<(String, Utc)> {
        let mut all = Vec::new();
        for plan in &self.plans {
            let Some(lane) = self.state.lanes.get_mut(&plan.name) else { continue };
            all.extend(lane.digests.due(plan, at).map(|since| (plan.name.clone(), since)));
        }
        all
    }

    /// The work orders for a channel that is to be told them; `None` where there are none: then
    /// nobody is written to.
    pub fn digest(&mut self, channel: &str, digest: Option<Digest>, at: Utc) {
        let Some(plan) = self.plans.iter().find(|plan| plan.name == channel) else { return };
        let Some(lane) = self.state.lanes.get_mut(channel) else { return };
        let notice = digest.map(|digest| {
            let number = self.state.next;
            self.state.next += 1;
            lane::digest(&plan.name, number, at, digest)
        });
        lane.digests.write(plan, notice, at);
    }

    fn escalate(&mut self, place: usize, at: Utc) {
        let Some(plan) = self.plans.get(place) else { return };
        let Some(lane) = self.state.lanes.get_mut(&plan.name) else { return };
        let begun = lane.late(plan, at);
        let Some((_, to)) = &plan.escalate else { return };
        let Some(next) = self.plans.iter().find(|other| other.name == *to) else { return };
        let Some(lane) = self.state.lanes.get_mut(to) else { return };
        for begun in &begun {
            lane.begin(next, begun, at, Some(&plan.name));
        }
    }

    /// The notice that is to be sent to a channel now, if there is one. It is marked; store that
    /// before its first byte leaves.
    pub fn next(&mut self, channel: &str, at: Utc) -> Option<Notice> {
        self.state.lanes.get_mut(channel)?.send(at)
    }

    /// How a try ended. One that is not under way is passed over.
    pub fn sent(&mut self, channel: &str, id: &str, how: &Delivery, at: Utc) {
        if let Some(lane) = self.state.lanes.get_mut(channel) {
            lane.sent(id, how, at);
        }
    }
}
