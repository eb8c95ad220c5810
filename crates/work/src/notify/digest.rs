//! A list of work orders that comes at times of the day: for those who do not sit at the cell.
//!
//! - A *slot* is one such time on one day, as minutes since 1970-01-01 in the channel's zone. It is
//!   never smaller than the last one, so that an hour that comes twice has no digest twice; one that
//!   a clock leaves out is told right after it.
//! - **Invariant:** each order of the desk is in one section. What was closed is in the first digest
//!   that is delivered after it: the time of a digest ends it, and begins the next one.

use serde::{Deserialize, Serialize};
use trimloop_core::time::{Span, Utc};

use super::lane::Outgoing;
use super::{ChannelPlan, Notice};
use crate::desk::{Case, CaseState, OrderState};
use crate::key::ExtKey;
use crate::shift::DAY_MINUTES;
use crate::wire;

/// Most times a day.
pub const DIGESTS_MAX: usize = 12;
/// Most orders that one digest names.
pub const ORDERS_MAX: usize = 40;
/// Later than this a digest is left out: the next one tells its news too [minutes].
const LATE_MAX: i64 = 12 * 60;

/// Where an order is told, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// A person must decide, or nothing goes on.
    Person,
    /// It is to be worked on.
    Open,
    /// It is done, and the condition must stay normal for a while.
    Proof,
    /// It ended since the last digest.
    Closed,
}

impl Section {
    const ALL: [Self; 4] = [Self::Person, Self::Open, Self::Proof, Self::Closed];

    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Open => "open",
            Self::Proof => "proof",
            Self::Closed => "closed",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Person => "Waiting for a person",
            Self::Open => "Open",
            Self::Proof => "Done, waiting for proof",
            Self::Closed => "Closed since the last list",
        }
    }
}

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderLine {
    /// Its key.
    pub key: ExtKey,
    /// Where it is told.
    pub section: Section,
    /// Asset, fault and component in one word.
    pub name: String,
    /// The asset.
    pub asset: String,
    /// The fault.
    pub fault: String,
    /// 1, the most urgent, to 4.
    pub priority: u8,
    /// First alarm.
    #[serde(with = "wire::one")]
    pub opened: Utc,
    /// It began since the last digest.
    pub is_new: bool,
    /// The condition is abnormal now.
    pub active: bool,
    /// A stable word: how it ended, the state of its order, or that of its case.
    pub state: String,
    /// Who works on it, where that is known.
    pub assignee: Option<String>,
    /// Number of the order in the system that keeps it, where it has one of its own.
    pub number: Option<String>,
    /// The order before it that did not help.
    pub after: Option<ExtKey>,
    /// The request that the system refused: a person sends it again, or not.
    pub refused: Option<u64>,
}

impl OrderLine {
    /// Of a case that is not closed; `None` while it waits for what belongs to it: nobody was told
    /// of it then.
    ///
    /// - `since`: time of the last digest.
    /// - `refused`: number of the request for its order that the system refused.
    pub fn of(case: &Case, since: Utc, refused: Option<u64>) -> Option<Self> {
        let section = match case.state {
            CaseState::Waiting(_) => return None,
            CaseState::Proposed | CaseState::Refused(_) => Section::Person,
            CaseState::Ordered if refused.is_some() => Section::Person,
            CaseState::Ordered => Section::Open,
            CaseState::Verifying { .. } => Section::Proof,
        };
        let order = case.order.map(|(state, _)| state);
        let state = match case.state {
            CaseState::Ordered => order.unwrap_or(OrderState::Requested).word(),
            CaseState::Refused(state) => state.word(),
            CaseState::Verifying { .. } => OrderState::Done.word(),
            other => other.word(),
        };
        let mut line = Self::new(case, since, section, state);
        line.refused = refused;
        Some(line)
    }

    /// Of a case that was closed; `None` where nobody was told of it.
    ///
    /// - `how`: stable word of [`crate::desk::Closing`].
    pub fn closed(case: &Case, since: Utc, how: &str) -> Option<Self> {
        let was_told = !["dropped", "explained"].contains(&how);
        was_told.then(|| Self::new(case, since, Section::Closed, how))
    }

    fn new(case: &Case, since: Utc, section: Section, state: &str) -> Self {
        Self {
            key: case.key,
            section,
            name: case.subject.name(),
            asset: case.subject.asset.clone(),
            fault: case.subject.mode.clone(),
            priority: case.priority,
            opened: case.opened,
            is_new: case.opened >= since,
            active: case.active,
            state: state.to_owned(),
            assignee: None,
            number: None,
            after: case.after,
            refused: None,
        }
    }

    /// `P2 press-4.check_ring_worn: in progress, 3 h old, by ben`.
    ///
    /// - `at`: time of the digest.
    pub fn text(&self, at: Utc) -> String {
        let mut text = format!("P{} {}: ", self.priority, self.name);
        let state = match (self.section, self.state.as_str()) {
            (Section::Person, _) if self.refused.is_some() => "the system refused the order",
            (_, "proposed") => "a draft waits for approval",
            (_, "cancelled") => "the order was called off",
            (_, "rejected") => "the order was not accepted",
            (_, "lost") => "the order is not there any more",
            (_, "requested") => "asked for",
            (_, "in_progress") => "in progress",
            (_, "on_hold") => "on hold",
            (Section::Proof, _) if self.active => "done, and the condition is there",
            (Section::Proof, _) => "done, and the condition is gone",
            (_, "proven") => "proven: the repair helped",
            (_, "ineffective") => "ineffective: the repair did not help",
            (_, "accepted") => "accepted as it is",
            (_, other) => other,
        };
        text.push_str(state);
        let age = if self.section == Section::Closed { "began" } else { "since" };
        text.extend([", ", age, " ", &age_of(at - self.opened)]);
        text.push_str(if self.section == Section::Closed { " ago" } else { "" });
        if self.is_new && self.section != Section::Closed {
            text.push_str(", new");
        }
        if !self.active && self.section == Section::Open {
            text.push_str(", the condition is gone");
        }
        if let Some(after) = self.after {
            text.extend([format!(", after {after}, which did not last")]);
        }
        if let Some(who) = &self.assignee {
            text.extend([", by ", who]);
        }
        text
    }
}

/// `40 min`, `5 h`, `12 d`.
fn age_of(span: Span) -> String {
    let minutes = (span.as_millis() / 60_000).max(0);
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / DAY_MINUTES),
    }
}

/// Work orders of a cell at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// The last digest, or when there began to be some.
    #[serde(with = "wire::one")]
    pub since: Utc,
    /// The system that keeps the orders; `None` for the built-in book.
    pub system: Option<String>,
    /// Orders by section, the most urgent and oldest first; at most [`ORDERS_MAX`].
    pub lines: Vec<OrderLine>,
    /// Orders that are not named.
    pub more: u32,
    /// All orders by section, of [`Section`], named or not.
    pub counts: [u32; 4],
    /// New ones among those that are not closed.
    pub new: u32,
}

impl Digest {
    /// Sorts the orders, and cuts them to what a person reads; `None` where there are none.
    ///
    /// - `since`: time of the last digest.
    /// - `lines`: all of them, in any order, each once.
    pub fn new(since: Utc, system: Option<String>, mut lines: Vec<OrderLine>) -> Option<Self> {
        lines.sort_by_key(|line| (line.section, line.priority, line.opened, line.key));
        let count = |is: &dyn Fn(&&OrderLine) -> bool| {
            u32::try_from(lines.iter().filter(is).count()).unwrap_or(u32::MAX)
        };
        let counts = Section::ALL.map(|section| count(&|line| line.section == section));
        let new = count(&|line| line.is_new && line.section != Section::Closed);
        let more = lines.len().saturating_sub(ORDERS_MAX);
        lines.truncate(ORDERS_MAX);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        (!lines.is_empty()).then_some(Self { since, system, lines, more, counts, new })
    }

    pub(super) fn title(&self, cell: &str) -> String {
        let words = ["waiting for a person", "open", "to be proven", "closed"];
        let counts = self.counts.iter().zip(words).filter(|(count, _)| **count > 0);
        let mut parts: Vec<String> =
            counts.map(|(count, word)| format!("{count} {word}")).collect();
        if self.new > 0 {
            parts.push(format!("{} new", self.new));
        }
        format!("[{cell}] work orders: {}", parts.join(", "))
    }

    pub(super) fn body(&self, cell: &str, at: Utc, when: impl Fn(Utc) -> String) -> String {
        let mut text =
            format!("Work orders of {cell}, {}, and what is new since {}\n", when(at), {
                when(self.since)
            });
        for (section, count) in Section::ALL.into_iter().zip(self.counts) {
            let mut lines = self.lines.iter().filter(|line| line.section == section).peekable();
            if lines.peek().is_some() {
                text.extend([format!("\n{} ({count})\n", section.title())]);
            }
            for line in lines {
                text.extend(["  ", &line.text(at), "\n"]);
                text.extend(["      ", &self.acts(line), "\n"]);
            }
        }
        if self.more > 0 {
            text.extend([format!("\nand {} more\n", self.more)]);
        }
        text.push_str("\ntrimloop work list                    shows all of them\n");
        if let Some(system) = &self.system {
            let told = "the orders are worked on there; what waits for a person is decided here";
            text.extend([format!("{system}: {told}\n")]);
        }
        text.push_str(
            "\ntrimloop is not a safety system: what must not wait for a reader stays in the PLC.\n",
        );
        text
    }

    /// The key of an order, and what acts on it.
    fn acts(&self, line: &OrderLine) -> String {
        let mut text = match (&self.system, &line.number) {
            (Some(system), Some(number)) => format!("{} is {number} in {system}", line.key),
            (Some(_), None) => line.key.to_string(),
            (None, _) => format!("trimloop work show {}", line.key),
        };
        match (line.section, line.refused) {
            (Section::Person, Some(row)) => {
                text.extend([format!("; trimloop connector retry {row} --reason TEXT")]);
            }
            (Section::Person, None) => {
                text.extend([format!("; trimloop work approve {} --reason TEXT", line.key)]);
            }
            _ => {}
        }
        text
    }
}

/// What a channel knows of its digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Digests {
    /// Newest slot that came; `None` before the first look.
    slot: Option<i64>,
    /// Time of the last one that was delivered, or had nothing to tell.
    #[serde(with = "wire::maybe")]
    since: Option<Utc>,
    /// On its way; beside the notices of alarms, which go first.
    pub(super) outgoing: Option<Outgoing>,
}

/// The newest slot that has come.
///
/// - `times`: minutes of the day, 0 to 1439.
/// - `minute`: since 1970-01-01 in the zone.
fn newest(times: &[u16], minute: i64) -> Option<i64> {
    let today = minute.div_euclid(DAY_MINUTES);
    let on = |day: i64| times.iter().map(move |time| day * DAY_MINUTES + i64::from(*time));
    on(today - 1).chain(on(today)).filter(|slot| *slot <= minute).max()
}

impl Digests {
    /// Since when news belong to a digest that is to be written now, if one is.
    pub(super) fn due(&mut self, plan: &ChannelPlan, at: Utc) -> Option<Utc> {
        let minute = plan.zone.minutes(at);
        let slot = newest(&plan.orders, minute)?;
        let (Some(last), Some(since)) = (self.slot, self.since) else {
            // A new channel is told of what comes from now on.
            (self.slot, self.since) = (Some(slot), Some(at));
            return None;
        };
        if slot <= last {
            return None;
        }
        if minute - slot >= LATE_MAX {
            self.slot = Some(slot);
            return None;
        }
        // Somebody may be reading the last one: what is newer waits for what comes of it.
        let is_sending = self.outgoing.as_ref().is_some_and(|out| out.sending);
        (!is_sending).then_some(since)
    }

    /// A digest that was due is written; the one that did not get through is in it.
    pub(super) fn write(&mut self, plan: &ChannelPlan, notice: Option<Notice>, at: Utc) {
        self.slot = newest(&plan.orders, plan.zone.minutes(at)).max(self.slot);
        if notice.is_none() {
            self.since = Some(at);
        }
        self.outgoing = notice.map(|notice| Outgoing::new(notice, at));
    }

    /// It is there: the next one begins where it ended.
    pub(super) fn delivered(&mut self, notice: &Notice) {
        self.since = Some(notice.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shift::Zone;

    /// Name, zone, times of the day, and whether a digest is due at a minute.
    type Looks<'a> = (&'a str, Zone, &'a [u16], &'a [(i64, bool)]);

    /// Minutes of 1970-01-0N.
    fn on(day: i64, hour: i64, minute: i64) -> i64 {
        (day - 1) * DAY_MINUTES + hour * 60 + minute
    }

    fn utc(minute: i64) -> Utc {
        Utc::from_millis(minute * 60_000)
    }

    #[test]
    fn the_newest_time_that_came() {
        let two = [6 * 60 + 30, 14 * 60 + 30];
        for (now, expected) in [
            (on(3, 6, 29), on(2, 14, 30)),
            (on(3, 6, 30), on(3, 6, 30)),
            (on(3, 14, 29), on(3, 6, 30)),
            (on(3, 23, 59), on(3, 14, 30)),
            (on(4, 0, 0), on(3, 14, 30)),
            (on(-2, 6, 30), on(-2, 6, 30)),
        ] {
            assert_eq!(newest(&two, now), Some(expected), "{now}");
        }
        assert_eq!(newest(&[], on(3, 0, 0)), None);
        assert_eq!(newest(&[0], on(3, 0, 0)), Some(on(3, 0, 0)));
    }

    /// A look at each of these times [UTC]; true where a digest is due. One in time, late, too late,
    /// several at once; an hour that comes twice, and one that is left out.
    #[test]
    fn each_time_is_due_once() {
        // One hour ahead of UTC until 01:00 UTC of the third, then two; back to one on the fifth.
        let summer = |nanos: i64| {
            let minute = nanos.div_euclid(60_000_000_000);
            if (on(3, 1, 0)..on(5, 1, 0)).contains(&minute) { 7200 } else { 3600 }
        };
        let utc_zone = Zone::Fixed(0);
        let morning = vec![390];
        let night = vec![150];
        let looks: [Looks<'_>; 7] = [
            (
                "in time",
                utc_zone,
                &morning,
                &[
                    (on(2, 6, 0), false),
                    (on(2, 6, 29), false),
                    (on(2, 6, 30), true),
                    (on(2, 6, 30), false),
                    (on(3, 6, 29), false),
                    (on(3, 6, 31), true),
                ],
            ),
            ("late", utc_zone, &morning, &[(on(2, 6, 0), false), (on(2, 18, 29), true)]),
            (
                "too late",
                utc_zone,
                &morning,
                &[
                    (on(2, 6, 0), false),
                    (on(2, 18, 30), false),
                    (on(2, 18, 31), false),
                    (on(3, 6, 30), true),
                ],
            ),
            (
                "several at once",
                utc_zone,
                &[390, 870],
                &[(on(2, 6, 0), false), (on(4, 15, 0), true), (on(4, 15, 1), false)],
            ),
            ("first look", utc_zone, &morning, &[(on(2, 6, 31), false), (on(3, 6, 30), true)]),
            // 02:30 is not there on the third: it is told at 03:00, which is 01:00 UTC.
            (
                "left out",
                Zone::By(summer),
                &night,
                &[
                    (on(2, 1, 31), false),
                    (on(3, 0, 59), false),
                    (on(3, 1, 0), true),
                    (on(3, 1, 30), false),
                    (on(4, 0, 30), true),
                ],
            ),
            // 02:30 comes twice on the fifth.
            (
                "comes twice",
                Zone::By(summer),
                &night,
                &[
                    (on(4, 0, 31), false),
                    (on(5, 0, 30), true),
                    (on(5, 1, 30), false),
                    (on(6, 1, 29), false),
                    (on(6, 1, 30), true),
                ],
            ),
        ];
        for (name, zone, times, looks) in looks {
            let plan = ChannelPlan { zone, orders: times.to_vec(), ..ChannelPlan::new("x", 0) };
            let mut digests = Digests::default();
            for (minute, expected) in looks {
                let due = digests.due(&plan, utc(*minute));
                assert_eq!(due.is_some(), *expected, "{name}: {minute}");
                if due.is_some() {
                    digests.write(&plan, None, utc(*minute));
                }
            }
        }
    }

    #[test]
    fn ages_are_short() {
        for (minutes, text) in
            [(0, "0 min"), (119, "119 min"), (120, "2 h"), (2879, "47 h"), (2880, "2 d")]
        {
            assert_eq!(age_of(Span::from_secs(60 * minutes)), text);
        }
    }
}
