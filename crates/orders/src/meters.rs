//! Meters of a cell: parts made, hours run, share of each loop's trim in use; and what of them was
//! told to another system.
//!
//! - Numbers are whole thousandths, so that adding and comparing them is exact.
//! - What counts only rises: it is added up from the parts that the recorder kept, each one once.
//! - A reading is stored before it is sent, and sent again as it is until the answer is known: its
//!   time makes it the same reading.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trimloop_core::time::{Span, Utc};
use trimloop_work::key::Subject;

use crate::rows::{PartCursor, PartRow};

/// Parts made.
pub const CYCLES: &str = "cycles";
/// Hours of the parts.
pub const RUN_HOURS: &str = "run_hours";
/// Before the name of a loop: share of its trim in use [%].
pub const USED: &str = "authority_used.";

/// A part that seems to take longer was not made all that time.
const PART_MAX_NS: i64 = 3_600_000_000_000;
const MILLI_HOUR_NS: i64 = 3_600_000_000;
/// A reading that did not arrive is sent again after so long, at first and at most.
const RETRY: (Span, Span) = (Span::from_secs(10), Span::from_secs(600));

/// All meters of a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meters {
    /// Up to which part they count.
    pub(crate) cursor: PartCursor,
    cycles: i64,
    run_ns: i64,
    /// By loop [0.001 %].
    used: BTreeMap<String, i64>,
    /// What was told, by meter.
    lanes: BTreeMap<String, Lane>,
    /// Planned work, by name.
    #[serde(default)]
    plans: BTreeMap<String, Planned>,
}

/// Planned work: since when it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Planned {
    meter: String,
    /// Between two of them [0.001].
    every: i64,
    /// The meter when it was done last, or first heard of [0.001].
    base: i64,
    is_due: bool,
}

/// Planned work, as the recipe says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRule {
    /// Name: also that of its trigger.
    pub name: String,
    /// What it is about.
    pub subject: Subject,
    /// Meter: [`CYCLES`] or [`RUN_HOURS`].
    pub meter: &'static str,
    /// How far the meter goes on between two of them.
    pub every: u32,
}

/// Planned work for people.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanShown {
    /// Name.
    pub name: String,
    /// Meter.
    pub meter: String,
    /// How far it went on since the work was done last.
    pub since: f64,
    /// At how much it is due.
    pub every: f64,
    /// An order for it is open, or on its way.
    pub is_due: bool,
}

/// What was told of one meter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lane {
    sent: Option<Told>,
    pending: Option<Told>,
    tries: u32,
    next_at: i64,
    error: Option<String>,
}

/// A value [0.001] and its time [ns UTC].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    milli: i64,
    at: i64,
}

/// Which meters another system keeps, and how often it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeterPlan {
    /// Its name for a meter of ours.
    pub names: BTreeMap<String, String>,
    /// Least time between two readings of one meter.
    pub every: Span,
}

/// A reading that is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// Our name.
    pub meter: String,
    /// Value.
    pub value: f64,
    /// When it was that.
    pub at: Utc,
}

/// A meter for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Name.
    pub meter: String,
    /// Value.
    pub value: f64,
    /// Unit; empty for a count.
    pub unit: &'static str,
    /// What was told last, and when.
    pub sent: Option<(f64, Utc)>,
    /// Why a reading is still to be told.
    pub error: Option<String>,
}

/// How a reading was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is there.
    Yes,
    /// Perhaps, or not yet: the same again, not before a time where the system named one.
    Again(Option<Utc>, String),
    /// Refused for what it says: the next one will be another.
    Refused(String),
}

impl Meters {
    /// Adds parts; each is given once.
    pub(crate) fn count(&mut self, parts: &[PartRow], cursor: PartCursor) {
        for part in parts {
            self.cycles += 1;
            self.run_ns += (part.ended - part.began).clamp(0, PART_MAX_NS);
        }
        self.cursor = cursor;
    }

    /// A decision says how much of its trim a loop uses [%].
    pub(crate) fn uses(&mut self, of_loop: &str, percent: f64) {
        #[expect(clippy::cast_possible_truncation, reason = "at most 1e9; NaN becomes 0")]
        let milli = (1000.0 * percent).round().clamp(0.0, 1e9) as i64;
        self.used.insert(of_loop.to_owned(), milli);
    }

    /// Value of a meter [0.001].
    pub(crate) fn milli(&self, meter: &str) -> Option<i64> {
        match meter {
            CYCLES => Some(self.cycles.saturating_mul(1000)),
            RUN_HOURS => Some(self.run_ns / MILLI_HOUR_NS),
            _ => self.used.get(meter.strip_prefix(USED)?).copied(),
        }
    }

    /// Whether planned work is due. It counts from when it was first heard of, or done last; while
    /// other work is open at the same place (`is_held`) it waits. Once due it is until it is done.
    pub(crate) fn plan(&mut self, rule: &PlanRule, is_held: bool) -> bool {
        let now = self.milli(rule.meter).unwrap_or(0);
        let begin = || Planned { meter: String::new(), every: 0, base: now, is_due: false };
        let plan = self.plans.entry(rule.name.clone()).or_insert_with(begin);
        if plan.meter != rule.meter {
            // Another meter is another plan.
            (plan.meter, plan.base, plan.is_due) = (rule.meter.to_owned(), now, false);
        }
        plan.every = 1000 * i64::from(rule.every);
        plan.is_due |= !is_held && now - plan.base >= plan.every;
        plan.is_due
    }

    /// Planned work was done, or something else that comes to the same.
    pub(crate) fn done(&mut self, rule: &PlanRule) {
        let now = self.milli(rule.meter).unwrap_or(0);
        if let Some(plan) = self.plans.get_mut(&rule.name) {
            (plan.base, plan.is_due) = (now, false);
        }
    }

    /// Lets go of plans that the recipe no longer has.
    pub(crate) fn keep_plans(&mut self, rules: &[PlanRule]) {
        self.plans.retain(|name, _| rules.iter().any(|rule| rule.name == *name));
    }

    /// All planned work.
    pub fn plans(&self) -> Vec<PlanShown> {
        let shown = |(name, plan): (&String, &Planned)| PlanShown {
            name: name.clone(),
            meter: plan.meter.clone(),
            since: of_milli(self.milli(&plan.meter).unwrap_or(0) - plan.base),
            every: of_milli(plan.every),
            is_due: plan.is_due,
        };
        self.plans.iter().map(shown).collect()
    }

    /// All meters, with what was told of them.
    pub fn shown(&self) -> Vec<Shown> {
        let used = self.used.keys().map(|of_loop| format!("{USED}{of_loop}"));
        let names = [CYCLES.to_owned(), RUN_HOURS.to_owned()].into_iter().chain(used);
        let shown = |meter: String| {
            let lane = self.lanes.get(&meter);
            Shown {
                value: of_milli(self.milli(&meter).unwrap_or(0)),
                unit: match meter.as_str() {
                    CYCLES => "",
                    RUN_HOURS => "h",
                    _ => "%",
                },
                sent: lane
                    .and_then(|lane| lane.sent)
                    .map(|told| (of_milli(told.milli), Utc::from_nanos(told.at))),
                error: lane.and_then(|lane| lane.error.clone()),
                meter,
            }
        };
        names.map(shown).collect()
    }

    /// The next reading to send, if one is due. It is marked: store the meters before sending it.
    pub(crate) fn due(&mut self, plan: &MeterPlan, now: Utc) -> Option<Due> {
        for meter in plan.names.keys() {
            let Some(milli) = self.milli(meter) else { continue };
            let lane = self.lanes.entry(meter.clone()).or_default();
            if now.as_nanos() < lane.next_at {
                continue;
            }
            let is_new = match lane.sent {
                None => true,
                // A count that is no further says nothing new.
                Some(sent) => {
                    let far = now.as_nanos() - sent.at >= plan.every.as_nanos();
                    far && (milli > sent.milli || meter.starts_with(USED) && milli != sent.milli)
                }
            };
            if lane.pending.is_none() && is_new {
                lane.pending = Some(Told { milli, at: now.as_nanos() });
            }
            let Some(told) = lane.pending else { continue };
            lane.tries += 1;
            let at = Utc::from_nanos(told.at);
            return Some(Due { meter: meter.clone(), value: of_milli(told.milli), at });
        }
        None
    }

    /// How the reading that was due was taken.
    pub(crate) fn told(&mut self, meter: &str, how: Taken, plan: &MeterPlan, now: Utc) {
        let Some(lane) = self.lanes.get_mut(meter) else { return };
        match how {
            Taken::Yes => {
                (lane.sent, lane.error, lane.tries) = (lane.pending.take(), None, 0);
            }
            Taken::Again(not_before, why) => {
                let tries = i64::from(lane.tries.clamp(1, 12));
                let wait = RETRY.0.times(tries * tries).min(RETRY.1);
                lane.next_at = not_before.unwrap_or(now).max(now + wait).as_nanos();
                lane.error = Some(why);
            }
            Taken::Refused(why) => {
                (lane.pending, lane.tries, lane.error) = (None, 0, Some(why));
                lane.next_at = (now + plan.every).as_nanos();
            }
        }
    }
}

/// Thousandths as a number.
#[expect(clippy::cast_precision_loss, reason = "meters stay far below 2^53 thousandths")]
fn of_milli(milli: i64) -> f64 {
    milli as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Utc {
        Utc::from_millis(1000 * seconds)
    }

    fn plan() -> MeterPlan {
        let names = [(CYCLES, "88"), (RUN_HOURS, "89"), ("authority_used.weight", "90")];
        let names = names.map(|(ours, theirs)| (ours.to_owned(), theirs.to_owned()));
        MeterPlan { names: names.into(), every: Span::from_secs(3600) }
    }

    fn parts(meters: &mut Meters, count: i64, seconds: i64) {
        let one = PartRow { began: 0, ended: seconds * 1_000_000_000 };
        let cursor = meters.cursor.clone();
        meters.count(&vec![one; usize::try_from(count).unwrap()], cursor);
    }

    /// What is due at a time, all of it taken as given.
    fn take(meters: &mut Meters, seconds: i64, how: &Taken) -> Vec<(String, f64, Utc)> {
        let mut all = Vec::new();
        while let Some(due) = meters.due(&plan(), at(seconds)) {
            meters.told(&due.meter, how.clone(), &plan(), at(seconds));
            all.push((due.meter, due.value, due.at));
        }
        all
    }

    /// Parts add up; a long one counts an hour, a turned one nothing; each reading is told once an
    /// hour, and only what is new.
    #[test]
    fn meters_rise_and_are_told_at_their_rate() {
        let mut meters = Meters::default();
        parts(&mut meters, 90, 20);
        parts(&mut meters, 1, 99_999);
        parts(&mut meters, 1, -5);
        let values: Vec<f64> = meters.shown().iter().map(|shown| shown.value).collect();
        assert_eq!(values, [92.0, 1.5]);
        let told = take(&mut meters, 1000, &Taken::Yes);
        let expected = [("cycles", 92.0), ("run_hours", 1.5)];
        assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value, at(1000))));
        parts(&mut meters, 1, 20);
        meters.uses("weight", 41.25);
        assert_eq!(take(&mut meters, 4599, &Taken::Yes).len(), 1, "the new meter alone");
        assert_eq!(take(&mut meters, 4600, &Taken::Yes).len(), 2);
        assert_eq!(take(&mut meters, 99_999, &Taken::Yes), [], "nothing is new");
        meters.uses("weight", 12.0);
        let told = take(&mut meters, 99_999, &Taken::Yes);
        assert_eq!(told, [("authority_used.weight".to_owned(), 12.0, at(99_999))]);
        let sent = meters.shown()[0].sent;
        assert_eq!(sent, Some((93.0, at(4600))));
    }

    /// A reading whose fate is not known is sent again as it was, also after a restart; one that is
    /// refused gives way to the next.
    #[test]
    fn a_reading_is_sent_until_it_is_known_to_be_there() {
        let mut meters = Meters::default();
        parts(&mut meters, 5, 20);
        let mut plan = plan();
        plan.names.retain(|name, _| name == CYCLES);
        let due = meters.due(&plan, at(0)).unwrap();
        assert_eq!((due.value, due.at), (5.0, at(0)));
        // Killed before the answer.
        let text = serde_json::to_string(&meters).unwrap();
        let mut meters: Meters = serde_json::from_str(&text).unwrap();
        parts(&mut meters, 5, 20);
        assert_eq!(meters.due(&plan, at(60)), Some(due.clone()), "the same reading");
        meters.told(CYCLES, Taken::Again(Some(at(300)), "429".into()), &plan, at(60));
        assert_eq!(meters.due(&plan, at(299)), None);
        assert_eq!(meters.shown()[0].error.as_deref(), Some("429"));
        assert_eq!(meters.due(&plan, at(300)), Some(due));
        meters.told(CYCLES, Taken::Refused("no such meter".into()), &plan, at(300));
        assert_eq!(meters.due(&plan, at(3899)), None);
        let next = meters.due(&plan, at(3900)).unwrap();
        assert_eq!((next.value, next.at), (10.0, at(3900)));
        meters.told(CYCLES, Taken::Yes, &plan, at(3900));
        assert_eq!(
            (meters.shown()[0].sent, &meters.shown()[0].error),
            (Some((10.0, at(3900))), &None)
        );
    }
}
