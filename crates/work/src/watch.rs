//! From what the recorder stored to alarms: which fault each event speaks of, and whether it says
//! that the fault is there.
//!
//! - Conditions with an event for their begin and one for their end hold in between. Of a model that
//!   drifts by several checks all must be over.
//! - *Authority used* and *at a limit* are levels, read from the decisions.
//! - A start of the service forgets what held: nothing is known until the recorder tells it again, or
//!   [`QUIET_PARTS`] parts went by without a word.
//! - A fault is of what its trigger looks at: a bad reading is a fault of the sensor, a lost link of
//!   the link, a part out of domain of the model; none of them ever of the asset behind it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use trimloop_core::time::{Span, Utc};

use crate::alarm::{Alarm, AlarmPlan, Change};
use crate::desk::Mode;
use crate::key::{Fingerprint, Subject};

/// Parts after a start whose silence means that a condition of before is gone.
pub const QUIET_PARTS: u64 = 20;
/// A level must fall so far below where it raises the alarm before it counts as normal [%].
pub const BELOW_PERCENT: f64 = 5.0;

/// What a fault is seen by. Names are those of the recipe.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// A signature is on.
    Signature(String),
    /// A chart or monitor is over its limit.
    Chart(String),
    /// A loop uses so much of its trim, or more.
    AuthorityUsed {
        /// Which.
        of_loop: String,
        /// From here on [%].
        percent: f64,
    },
    /// A loop has stood at a limit for too long.
    Saturated(String),
    /// A loop tripped.
    Tripped(String),
    /// A tag is not good.
    Sensor(String),
    /// The link to a PLC is down, or its heartbeat is lost.
    Link(String),
    /// A model is out of its domain.
    OutOfDomain(String),
    /// A model drifts.
    Drift(String),
    /// Planned work is due.
    Planned(String),
}

/// Code of the event that planned work is due, or was done; the desk tells it to itself.
pub const PLAN_DUE: &str = "plan_due";

impl Trigger {
    /// What it looks at: `tag:cushion`. Relations between faults are made of these.
    pub fn node(&self) -> String {
        match self {
            Self::Signature(name) => format!("signature:{name}"),
            Self::Chart(name) | Self::OutOfDomain(name) | Self::Drift(name) => {
                format!("model:{name}")
            }
            Self::AuthorityUsed { of_loop: name, .. }
            | Self::Saturated(name)
            | Self::Tripped(name) => format!("loop:{name}"),
            Self::Sensor(name) => format!("tag:{name}"),
            Self::Link(name) => format!("plc:{name}"),
            Self::Planned(name) => format!("plan:{name}"),
        }
    }

    /// Whether it can silence what rests on it: links, sensors and models can, an asset cannot.
    pub const fn is_of_system(&self) -> bool {
        matches!(self, Self::Sensor(_) | Self::Link(_) | Self::OutOfDomain(_) | Self::Drift(_))
    }

    /// Of an event: a member of the condition, and whether it holds now.
    fn of_event<'a>(&self, code: &str, about: &str, detail: &'a str) -> Option<(&'a str, bool)> {
        let one = |holds: bool| Some(("", holds));
        match (self, code) {
            (Self::Signature(name), "signature") | (Self::Chart(name), "alarm")
                if name == about =>
            {
                one(detail == "on")
            }
            (Self::Planned(name), PLAN_DUE) if name == about => one(detail == "on"),
            (Self::OutOfDomain(name), "domain") if name == about => one(detail == "out"),
            (Self::Sensor(name), "tag_quality") if name == about => one(detail != "good"),
            (Self::Tripped(name), "tripped") if name == about => one(true),
            (Self::Tripped(name), "reset") if name == about => one(false),
            (Self::Saturated(name), "saturated") if name == about => one(true),
            (Self::Link(name), "link_down" | "link_up") if name == about => {
                Some(("link", code == "link_down"))
            }
            (Self::Link(name), "heartbeat_lost" | "heartbeat_back") if name == about => {
                Some(("heartbeat", code == "heartbeat_lost"))
            }
            (Self::Drift(name), "model_drift" | "model_drift_over") if name == about => {
                let check = detail.split_whitespace().next().unwrap_or_default();
                Some((check, code == "model_drift"))
            }
            _ => None,
        }
    }
}

/// A fault that is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// What it is about.
    pub subject: Subject,
    /// What it is seen by.
    pub trigger: Trigger,
    /// How it becomes an alarm.
    pub alarm: AlarmPlan,
    /// 1, the most urgent, to 4.
    pub priority: u8,
    /// Who decides about an order.
    pub order: Mode,
    /// How long it must stay normal after the work; `None` for the desk's own.
    pub proof: Option<Span>,
}

/// One row of the recorder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen<'a> {
    /// Start of the service that it is of.
    pub boot: i64,
    /// When; never before the row before it.
    pub at: Utc,
    /// Part being made; 0 for none.
    pub part: i64,
    /// What it says.
    pub says: Says<'a>,
}

/// What a row of the recorder says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Says<'a> {
    /// An event: its code, whom it is about, the rest in one word or number.
    Event(&'a str, &'a str, &'a str),
    /// A decision of a loop.
    Level {
        /// Which.
        of_loop: &'a str,
        /// Share of the trim in use [%]; `None` while the loop does not own its setpoint.
        used_percent: Option<f64>,
        /// Whether a limit cut what it wanted.
        at_limit: bool,
    },
}

/// What a row says of a fault.
enum Heard {
    /// It does not speak of it.
    Nothing,
    /// Nobody knows.
    Unknown,
    /// Whether it is there.
    Is(bool),
}

/// What came of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// What people hear.
    pub changes: Vec<(Fingerprint, Change)>,
    /// Conditions that began with it; their alarms may follow after a delay.
    pub begun: Vec<Fingerprint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    subject: Subject,
    alarm: Alarm,
    /// What of it holds.
    members: BTreeSet<String>,
    /// Nothing was heard of it since the start.
    unknown: bool,
}

/// What must be stored of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchState {
    boot: Option<i64>,
    first_part: Option<i64>,
    entries: Vec<Entry>,
}

impl WatchState {
    /// All alarms.
    pub(crate) fn alarms(&self) -> impl Iterator<Item = (&Subject, &Alarm)> {
        self.entries.iter().map(|entry| (&entry.subject, &entry.alarm))
    }
}

/// All alarms.
#[derive(Clone, Debug)]
pub struct Watch {
    faults: BTreeMap<Fingerprint, Watched>,
    entries: BTreeMap<Fingerprint, Entry>,
    boot: Option<i64>,
    /// First part of this start of the service.
    first_part: Option<i64>,
}

impl Watch {
    /// Of faults that are all normal. Of two with the same fingerprint the first counts.
    pub fn new(faults: impl IntoIterator<Item = Watched>) -> Self {
        let mut watch = Self {
            faults: BTreeMap::new(),
            entries: BTreeMap::new(),
            boot: None,
            first_part: None,
        };
        for fault in faults {
            let fingerprint = fault.subject.fingerprint();
            let entry = Entry {
                subject: fault.subject.clone(),
                alarm: Alarm::new(fault.alarm.clone()),
                members: BTreeSet::new(),
                unknown: false,
            };
            watch.entries.entry(fingerprint).or_insert(entry);
            watch.faults.entry(fingerprint).or_insert(fault);
        }
        watch
    }

    /// What was stored, under the faults of today. Alarms of faults that nobody watches any more
    /// are dropped; those that were on come back, to be told as cleared.
    ///
    /// # Errors
    /// What in it cannot be.
    pub fn restore(
        faults: impl IntoIterator<Item = Watched>,
        state: WatchState,
    ) -> Result<(Self, Vec<Subject>), String> {
        let mut watch = Self::new(faults);
        (watch.boot, watch.first_part) = (state.boot, state.first_part);
        let mut gone = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in state.entries {
            let fingerprint = entry.subject.fingerprint();
            if !seen.insert(fingerprint) {
                return Err(format!("there are two alarms of {fingerprint}"));
            }
            if let Some(fault) = watch.faults.get(&fingerprint) {
                let alarm = entry.alarm.under(fault.alarm.clone());
                watch.entries.insert(fingerprint, Entry { alarm, ..entry });
            } else if entry.alarm.is_on() {
                gone.push(entry.subject);
            }
        }
        Ok((watch, gone))
    }

    /// What must be stored.
    pub fn state(&self) -> WatchState {
        WatchState {
            boot: self.boot,
            first_part: self.first_part,
            entries: self.entries.values().cloned().collect(),
        }
    }

    /// Start of the service that was heard last.
    pub fn boot(&self) -> Option<i64> {
        self.boot
    }

    /// The faults that are watched.
    pub fn faults(&self) -> impl Iterator<Item = (Fingerprint, &Watched)> {
        self.faults.iter().map(|(fingerprint, fault)| (*fingerprint, fault))
    }

    /// One of them.
    pub fn fault(&self, fingerprint: Fingerprint) -> Option<&Watched> {
        self.faults.get(&fingerprint)
    }

    /// All alarms.
    pub fn alarms(&self) -> impl Iterator<Item = (&Subject, &Alarm)> {
        self.entries.values().map(|entry| (&entry.subject, &entry.alarm))
    }

    /// The alarm of a fault, for what people do with it.
    pub fn alarm(&mut self, fingerprint: Fingerprint) -> Option<&mut Alarm> {
        self.entries.get_mut(&fingerprint).map(|entry| &mut entry.alarm)
    }

    /// Takes a row in.
    pub fn take(&mut self, seen: &Seen<'_>) -> Taken {
        let (mut changes, mut begun) = (Vec::new(), Vec::new());
        if self.boot != Some(seen.boot) {
            (self.boot, self.first_part) = (Some(seen.boot), None);
            for (fingerprint, entry) in &mut self.entries {
                entry.members.clear();
                entry.unknown = true;
                changes.extend(entry.alarm.observe(None, seen.at).map(|c| (*fingerprint, c)));
            }
        }
        if self.first_part.is_none() && seen.part != 0 {
            self.first_part = Some(seen.part);
        }
        let quiet = self.first_part.is_some_and(|first| seen.part.abs_diff(first) >= QUIET_PARTS);
        for (fingerprint, entry) in &mut self.entries {
            let Some(fault) = self.faults.get(fingerprint) else { continue };
            let was_normal = entry.members.is_empty();
            let is_level = matches!(fault.trigger, Trigger::AuthorityUsed { .. });
            let is_over = entry.unknown && quiet && seen.part != 0 && !is_level;
            let abnormal = match entry.says(&fault.trigger, &seen.says) {
                Heard::Is(abnormal) => Some(abnormal),
                Heard::Unknown => None,
                Heard::Nothing if is_over => Some(false),
                Heard::Nothing => continue,
            };
            entry.unknown &= abnormal.is_none();
            if was_normal && !entry.members.is_empty() {
                begun.push(*fingerprint);
            }
            changes.extend(entry.alarm.observe(abnormal, seen.at).map(|c| (*fingerprint, c)));
        }
        Taken { changes, begun }
    }

    /// Lets time pass: delays and shelving end.
    pub fn tick(&mut self, at: Utc) -> Vec<(Fingerprint, Change)> {
        let each = self.entries.iter_mut();
        each.filter_map(|(fingerprint, entry)| Some((*fingerprint, entry.alarm.tick(at)?)))
            .collect()
    }
}

impl Entry {
    /// What a row says of it.
    fn says(&mut self, trigger: &Trigger, says: &Says<'_>) -> Heard {
        match *says {
            Says::Event(code, about, detail) => {
                let Some((member, holds)) = trigger.of_event(code, about, detail) else {
                    return Heard::Nothing;
                };
                if holds {
                    self.members.insert(member.to_owned());
                } else {
                    self.members.remove(member);
                }
                Heard::Is(!self.members.is_empty())
            }
            Says::Level { of_loop, used_percent, at_limit } => match trigger {
                Trigger::AuthorityUsed { of_loop: own, percent } if own == of_loop => {
                    let Some(used) = used_percent else { return Heard::Unknown };
                    if used >= *percent {
                        self.members.insert(String::new());
                    } else if used < percent - BELOW_PERCENT {
                        self.members.clear();
                    }
                    Heard::Is(!self.members.is_empty())
                }
                Trigger::Saturated(own) if own == of_loop && !at_limit => {
                    self.members.clear();
                    Heard::Is(false)
                }
                _ => Heard::Nothing,
            },
        }
    }
}
