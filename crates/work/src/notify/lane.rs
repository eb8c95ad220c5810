//! One channel: what waits for it, what is on its way, and which alarms it answers for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use trimloop_core::time::Utc;

use super::digest::{Digest, Digests};
use super::{ChannelPlan, Delivery, HOUR, LINES_MAX, Line, Notice, REFUSALS_MAX, RETRY, Shown};
use crate::key::Fingerprint;
use crate::wire;

/// An alarm that a channel is to be told.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) alarm: Fingerprint,
    pub(super) name: String,
    pub(super) priority: u8,
    pub(super) began: Utc,
}

/// An alarm that is on, of which the channel was or will be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "facts that hold or not, each by itself")]
struct Followed {
    name: String,
    priority: u8,
    /// When it began.
    #[serde(with = "wire::one")]
    began: Utc,
    /// When it came to this channel.
    #[serde(with = "wire::one")]
    since: Utc,
    /// When it was to be told at the latest; the time to acknowledge it runs from here.
    #[serde(with = "wire::maybe")]
    due: Option<Utc>,
    /// A person acknowledged it.
    known: bool,
    /// It was named as being on.
    told: bool,
    /// It went on to the next channel.
    escalated: bool,
    /// It came from another channel.
    asked: bool,
}

/// A line that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    line: Line,
    /// Since when.
    #[serde(with = "wire::one")]
    since: Utc,
    /// That it is on was told before.
    was_told: bool,
}

/// Alarms that are only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct More {
    began: u32,
    ended: u32,
    /// Since when the first of them waits.
    #[serde(with = "wire::maybe")]
    since: Option<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outgoing {
    notice: Notice,
    pub(super) sending: bool,
    tries: u32,
    refusals: u32,
    #[serde(with = "wire::one")]
    next_at: Utc,
    error: Option<String>,
}

/// One channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lane {
    follows: BTreeMap<Fingerprint, Followed>,
    /// At most [`LINES_MAX`].
    pending: BTreeMap<Fingerprint, Pending>,
    more: More,
    more_urgent: More,
    /// Times of the notices of the last hour, oldest first: when they were delivered, and of the
    /// one on its way when it was written.
    #[serde(with = "wire::list")]
    times: Vec<Utc>,
    outgoing: Option<Outgoing>,
    #[serde(default)]
    pub(super) digests: Digests,
    delivered: u64,
    #[serde(with = "wire::maybe")]
    delivered_at: Option<Utc>,
    given_up: u64,
}

impl More {
    fn count(&mut self, pending: &Pending) {
        match (pending.line.began, pending.line.ended) {
            (Some(_), _) => self.began = self.began.saturating_add(pending.line.times.max(1)),
            (None, Some(_)) => self.ended = self.ended.saturating_add(1),
            // It was told that it is on, and nothing else is new but that it chatters.
            (None, None) => return,
        }
        let since = self.since.map_or(pending.since, |since| since.min(pending.since));
        self.since = Some(since);
    }
}

impl Lane {
    pub(super) fn shown<'a>(&'a self, name: &'a str) -> Shown<'a> {
        let counts = [self.more, self.more_urgent];
        let out = self.outgoing.as_ref().or(self.digests.outgoing.as_ref());
        Shown {
            name,
            waiting: self.pending.len(),
            counted: counts.iter().fold(0, |all, more| all + more.began + more.ended),
            follows: self.follows.len(),
            outgoing: out.map(|out| (out.notice.id.as_str(), out.tries, out.error.as_deref())),
            next_at: out.filter(|out| !out.sending).map(|out| out.next_at),
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            given_up: self.given_up,
        }
    }

    /// After a restart: what was on its way may have arrived.
    pub(super) fn recover(&mut self, plan: &ChannelPlan, at: Utc) {
        if plan.orders.is_empty() {
            self.digests = Digests::default();
        }
        let both = [self.outgoing.as_mut(), self.digests.outgoing.as_mut()];
        for out in both.into_iter().flatten().filter(|out| out.sending) {
            (out.sending, out.next_at) = (false, at);
            out.error = Some("the service stopped while it was sent".to_owned());
        }
    }

    pub(super) fn keep(&mut self, is_on: &impl Fn(Fingerprint) -> bool, at: Utc) {
        let over: Vec<Fingerprint> =
            self.follows.keys().copied().filter(|alarm| !is_on(*alarm)).collect();
        // Of these nothing urgent is left: any plan will do to keep their ends.
        let plan = ChannelPlan::new("", 4);
        for alarm in over {
            self.end(&plan, alarm, at);
        }
    }

    /// An alarm is on, or nobody acknowledged it at another channel.
    pub(super) fn begin(&mut self, plan: &ChannelPlan, of: &Begun, at: Utc, from: Option<&str>) {
        let alarm = of.alarm;
        match (self.follows.get_mut(&alarm), from) {
            // It was sent here before, or escalates from two channels at once.
            (Some(followed), Some(_)) if followed.asked => return,
            (Some(followed), Some(_)) => followed.asked = true,
            _ => {
                let followed = Followed {
                    name: of.name.clone(),
                    priority: of.priority,
                    began: of.began,
                    since: at,
                    due: None,
                    known: false,
                    told: self.pending.get(&alarm).is_some_and(|pending| pending.was_told),
                    escalated: false,
                    asked: from.is_some(),
                };
                self.follows.insert(alarm, followed);
            }
        }
        self.put(plan, alarm, at, |line, began| {
            line.began = line.began.or(Some(began));
            line.ended = None;
            line.times += u32::from(from.is_none() || line.times == 0);
            line.from = from.map(str::to_owned).or(line.from.take());
        });
    }

    pub(super) fn end(&mut self, plan: &ChannelPlan, alarm: Fingerprint, at: Utc) {
        let Some(followed) = self.follows.remove(&alarm) else { return };
        if let Some(pending) = self.pending.get_mut(&alarm) {
            pending.line.ended = Some(at);
        } else if followed.told {
            self.follows.insert(alarm, followed);
            self.put(plan, alarm, at, |line, _| line.ended = Some(at));
            self.follows.remove(&alarm);
        }
    }

    pub(super) fn chatters(&mut self, plan: &ChannelPlan, alarm: Fingerprint, at: Utc) {
        let Some(followed) = self.follows.get(&alarm) else { return };
        let is_told = followed.told;
        if followed.known && !is_told {
            return;
        }
        self.put(plan, alarm, at, |line, began| {
            line.chatters = true;
            if !is_told && line.began.is_none() {
                (line.began, line.times) = (Some(began), 1);
            }
        });
    }

    /// A person knows of it: what was not told yet need not be, but the end of what was.
    pub(super) fn known(&mut self, alarm: Fingerprint) {
        if let Some(followed) = self.follows.get_mut(&alarm) {
            followed.known = true;
        }
        let Some(pending) = self.pending.get_mut(&alarm) else { return };
        if pending.was_told && pending.line.ended.is_some() {
            (pending.line.began, pending.line.from, pending.line.times) = (None, None, 0);
        } else {
            self.pending.remove(&alarm);
        }
    }

    /// Changes the line of an alarm that is followed, or adds one. Where there is no room the least
    /// urgent of the youngest is only counted.
    fn put(
        &mut self,
        plan: &ChannelPlan,
        alarm: Fingerprint,
        at: Utc,
        change: impl FnOnce(&mut Line, Utc),
    ) {
        let Some(followed) = self.follows.get(&alarm) else { return };
        let pending = self.pending.entry(alarm).or_insert_with(|| Pending {
            line: Line {
                alarm,
                name: followed.name.clone(),
                priority: followed.priority,
                began: None,
                ended: None,
                times: 0,
                chatters: false,
                from: None,
                seen: String::new(),
            },
            since: at,
            was_told: followed.told,
        });
        change(&mut pending.line, followed.began);
        if self.pending.len() <= LINES_MAX {
            return;
        }
        let rank = |(_, it): &(&Fingerprint, &Pending)| (it.line.priority, it.since);
        let last = self.pending.iter().max_by_key(rank).map(|(alarm, _)| *alarm);
        if let Some(last) = last.and_then(|alarm| self.pending.remove(&alarm)) {
            self.count(plan, &last);
        }
    }

    fn count(&mut self, plan: &ChannelPlan, pending: &Pending) {
        let is_urgent = plan.is_urgent(pending.line.priority);
        let more = if is_urgent { &mut self.more_urgent } else { &mut self.more };
        more.count(pending);
    }

    /// Alarms whose time to be acknowledged here is over, each once.
    pub(super) fn late(&mut self, plan: &ChannelPlan, at: Utc) -> Vec<Begun> {
        let quiet = plan.is_quiet(at);
        let mut late = Vec::new();
        for (alarm, followed) in &mut self.follows {
            let may = !quiet || plan.is_urgent(followed.priority);
            if followed.due.is_none() && may && at >= followed.since + plan.group_wait {
                followed.due = Some(at);
            }
            let (Some(due), Some((after, _))) = (followed.due, &plan.escalate) else { continue };
            if !followed.known && !followed.escalated && at >= due + *after {
                followed.escalated = true;
                late.push(Begun {
                    alarm: *alarm,
                    name: followed.name.clone(),
                    priority: followed.priority,
                    began: followed.began,
                });
            }
        }
        late
    }

    /// Writes the next notice, if there is something to say and it may be said.
    pub(super) fn write(
        &mut self,
        plan: &ChannelPlan,
        number: u64,
        at: Utc,
        seen: &impl Fn(Fingerprint) -> Option<String>,
    ) -> Option<Notice> {
        if self.outgoing.is_some() {
            return None;
        }
        self.times.retain(|time| at - *time < HOUR);
        let kept = usize::from(plan.per_hour > 1 && plan.urgent > 0);
        if self.times.len() >= plan.per_hour {
            return None;
        }
        let all = !plan.is_quiet(at);
        // The last one of an hour is for the urgent; what else waits goes with them.
        let any = all && self.times.len() < plan.per_hour - kept;
        let is_urgent = |it: &Pending| plan.is_urgent(it.line.priority);
        let counts = [if all { self.more } else { More::default() }, self.more_urgent];
        let since = [counts[0].since.filter(|_| any), counts[1].since];
        let waits = self.pending.values().filter(|it| any || is_urgent(it)).map(|it| it.since);
        let first = waits.chain(since.into_iter().flatten()).min()?;
        if at < first + plan.group_wait {
            return None;
        }
        let taken: Vec<Fingerprint> = self
            .pending
            .iter()
            .filter(|(_, it)| all || is_urgent(it))
            .map(|(alarm, _)| *alarm)
            .collect();
        let mut lines = Vec::new();
        for alarm in taken {
            let Some(Pending { mut line, .. }) = self.pending.remove(&alarm) else { continue };
            if let Some(followed) = self.follows.get_mut(&alarm) {
                followed.told = true;
            }
            line.seen = seen(alarm).unwrap_or_default();
            lines.push(line);
        }
        lines.sort_by_key(|line| (line.priority, line.began.is_none(), line.began, line.alarm));
        self.more_urgent = More::default();
        if all {
            self.more = More::default();
        }
        Some(Notice {
            id: id(&plan.name, number, at, &lines),
            channel: plan.name.clone(),
            at,
            lines,
            more: counts.iter().map(|more| more.began).sum(),
            more_ended: counts.iter().map(|more| more.ended).sum(),
            digest: None,
        })
    }

    pub(super) fn queue(&mut self, notice: Notice, at: Utc) {
        self.times.push(at);
        self.outgoing = Some(Outgoing::new(notice, at));
    }

    /// One at a time: alarms before work orders.
    pub(super) fn send(&mut self, at: Utc) -> Option<Notice> {
        let both = [self.outgoing.as_mut(), self.digests.outgoing.as_mut()];
        if both.iter().flatten().any(|out| out.sending) {
            return None;
        }
        let out = both.into_iter().flatten().find(|out| at >= out.next_at)?;
        (out.sending, out.tries) = (true, out.tries.saturating_add(1));
        Some(out.notice.clone())
    }

    pub(super) fn sent(&mut self, id: &str, how: &Delivery, at: Utc) {
        let is_it = |out: &Option<Outgoing>| {
            out.as_ref().is_some_and(|out| out.notice.id == id && out.sending)
        };
        let is_digest = is_it(&self.digests.outgoing);
        if !is_digest && !is_it(&self.outgoing) {
            return;
        }
        let place = if is_digest { &mut self.digests.outgoing } else { &mut self.outgoing };
        let Some(out) = place else { return };
        let is_given_up = out.came(how, at);
        if *how == Delivery::Delivered {
            self.delivered += 1;
            self.delivered_at = Some(at);
            let taken = place.take();
            if let Some(out) = taken.filter(|_| is_digest) {
                self.digests.delivered(&out.notice);
            } else if let Some(time) = self.times.last_mut() {
                // It counts from when people got it.
                *time = at;
            }
        } else if is_given_up && is_digest {
            // What it said is in the next one.
            self.digests.outgoing = None;
            self.given_up += 1;
        } else if is_given_up {
            self.give_up(at);
        }
    }

    /// Nobody was told of its alarms: they are counted in the next one, and their ends are not told.
    fn give_up(&mut self, at: Utc) {
        let Some(Outgoing { notice, .. }) = self.outgoing.take() else { return };
        self.given_up += 1;
        self.more.began = self.more.began.saturating_add(notice.more);
        self.more.ended = self.more.ended.saturating_add(notice.more_ended);
        self.more.since = self.more.since.or(Some(at));
        for line in notice.lines {
            if line.began.is_some()
                && let Some(followed) = self.follows.get_mut(&line.alarm)
            {
                followed.told = false;
            }
            self.more.count(&Pending { line, since: at, was_told: false });
        }
    }
}

impl Outgoing {
    pub(super) fn new(notice: Notice, at: Utc) -> Self {
        Self { notice, sending: false, tries: 0, refusals: 0, next_at: at, error: None }
    }

    /// How a try ended; true when it was refused for the last time.
    fn came(&mut self, how: &Delivery, at: Utc) -> bool {
        self.sending = false;
        let tries = i64::from(self.tries.clamp(1, 60));
        let wait = RETRY.0.times(tries * tries).min(RETRY.1);
        match how {
            Delivery::Delivered => {}
            Delivery::Failed(not_before, why) => {
                self.next_at = not_before.unwrap_or(at).max(at + wait);
                self.error = Some(why.clone());
            }
            Delivery::Refused(why) => {
                self.refusals += 1;
                self.next_at = at + wait;
                self.error = Some(why.clone());
            }
        }
        self.refusals >= REFUSALS_MAX
    }
}

/// A notice of work orders.
pub(super) fn digest(channel: &str, number: u64, at: Utc, digest: Digest) -> Notice {
    Notice {
        id: id(channel, number, at, &[]),
        channel: channel.to_owned(),
        at,
        lines: Vec::new(),
        more: 0,
        more_ended: 0,
        digest: Some(digest),
    }
}

/// SHA-256 over what makes this notice another than every other one, its first 64 bits.
fn id(channel: &str, number: u64, at: Utc, lines: &[Line]) -> String {
    let mut sha = Sha256::new();
    sha.update(number.to_be_bytes());
    sha.update(at.as_nanos().to_be_bytes());
    sha.update(channel.as_bytes());
    for line in lines {
        sha.update(line.alarm.to_string().as_bytes());
        let times = [line.began, line.ended].map(|time| time.map_or(0, Utc::as_nanos));
        sha.update(times[0].to_be_bytes());
        sha.update(times[1].to_be_bytes());
    }
    let bytes = sha.finalize();
    let first = bytes.iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    format!("{first:016x}")
}
