//! What the plant says when an order is made: which spare parts there are, and who could do it.
//!
//! Nothing is reserved, and nobody is sent: the order says what was seen, and why somebody is
//! proposed.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Debug;

use trimloop_cmms::Part;
use trimloop_core::time::{Span, Utc};
use trimloop_work::shift::{DAY_MINUTES, weekday};

pub use trimloop_work::shift::{Shift, Zone};

const WEEK_MINUTES: i64 = 7 * DAY_MINUTES;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Sources of a plant; `None` where it has none. They are asked for each order anew.
pub trait Plant: Debug + Send + Sync {
    /// The stock of spare parts.
    ///
    /// # Errors
    /// Why nothing is known of it, for people.
    fn stock(&self, now: Utc) -> Option<Result<Stock, String>>;

    /// Those who repair.
    ///
    /// # Errors
    /// Why nothing is known of them, for people.
    fn roster(&self) -> Option<Result<Roster, String>>;
}

/// A stock as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Stock {
    /// By the part's reference.
    pub items: BTreeMap<String, Item>,
    /// When it was like that.
    pub as_of: Utc,
    /// Older than this it may have changed.
    pub max_age: Span,
    /// Why it could not be read anew.
    pub trouble: Option<String>,
}

/// A spare part in a stock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// How many there are, >= 0.
    pub quantity: f64,
    /// Where; may be empty.
    pub location: String,
    /// How long it takes to get more, as the source says it; may be empty.
    pub lead_time: String,
}

impl Stock {
    /// Lines for an order: each part, and how old that is.
    pub fn lines(&self, parts: &[Part], now: Utc, utc_text: fn(Utc) -> String) -> Vec<String> {
        let mut lines: Vec<String> = parts.iter().map(|part| self.line(part)).collect();
        let age = now - self.as_of;
        let minutes = age.as_nanos().max(0) / 60_000_000_000;
        let old = match minutes {
            0..120 => format!("{minutes} min"),
            120..2880 => format!("{} h", minutes / 60),
            _ => format!("{} d", minutes / DAY_MINUTES),
        };
        let mut last = format!("Stock: as of {}, {old} old", utc_text(self.as_of));
        if age > self.max_age {
            last.push_str(": STALE, look before you rely on it");
        }
        if let Some(why) = &self.trouble {
            last.extend([format!("; it could not be read anew: {why}")]);
        }
        lines.push(last);
        lines
    }

    fn line(&self, part: &Part) -> String {
        let Part { reference, name, quantity } = part;
        let mut line = format!("Stock: {quantity} x {name} ({reference}): ");
        let Some(item) = self.items.get(reference) else {
            line.push_str("the stock list does not name it");
            return line;
        };
        let there = item.quantity;
        if there <= 0.0 {
            line.push_str("NOT IN STOCK");
        } else if there < f64::from(*quantity) {
            line.extend([format!("NOT ENOUGH IN STOCK, {there}")]);
        } else {
            line.extend([format!("{there} in stock")]);
        }
        if !item.location.is_empty() {
            line.extend([", at ", &item.location]);
        }
        if !item.lead_time.is_empty() {
            line.extend([", lead time ", &item.lead_time]);
        }
        line
    }
}

/// Those who repair, and in which zone their shifts are.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Offset from UTC at a time [s].
    pub zone: Zone,
    /// They.
    pub people: Vec<Person>,
}

/// One who repairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// As people call them.
    pub name: String,
    /// As the system that keeps the orders names them.
    pub reference: String,
    /// What they can do.
    pub skills: Vec<String>,
    /// Where they are, from the largest place to the smallest: `hall-2/line-1`.
    pub location: Option<String>,
    /// When they work; empty for always.
    pub shifts: Vec<Shift>,
    /// First and last day of each absence [days since 1970-01-01, in the zone].
    pub absent: Vec<(i64, i64)>,
}

/// Who is proposed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Name and reference; `None` for nobody.
    pub who: Option<(String, String)>,
    /// Why, for people.
    pub reason: String,
}

/// When somebody works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Works {
    /// Now, and for so long [min]; who goes home last comes first.
    Now(Reverse<i64>),
    /// Not before so long [min].
    In(i64),
}

impl Roster {
    /// Proposes one with the skill: first who is on shift, then who is near, then who stays longest;
    /// of those who are not, who begins first. Without a skill anybody will do.
    pub fn propose(&self, skill: Option<&str>, place: Option<&str>, now: Utc) -> Proposal {
        let able = |person: &&Person| skill.is_none_or(|skill| person.has(skill));
        let with = skill.map_or_else(String::new, |skill| format!(" with the skill {skill}"));
        let mut able: Vec<(&Person, Works, Option<usize>)> = self
            .people
            .iter()
            .filter(able)
            .filter_map(|person| Some((person, self.works(person, now)?, person.distance(place))))
            .collect();
        able.sort_by_key(|(person, works, distance)| {
            let far = distance.unwrap_or(usize::MAX);
            let (begins, stays) = match works {
                Works::Now(left) => (0, *left),
                Works::In(minutes) => (1 + minutes, Reverse(0)),
            };
            (begins, far, stays, person.name.clone())
        });
        let Some((person, works, distance)) = able.first() else {
            let reason = format!("nobody{with} works within a week");
            return Proposal { who: None, reason };
        };
        let mut reason = format!("{}:", person.name);
        if let Some(skill) = skill {
            reason.extend([" can do ", skill, ","]);
        }
        match works {
            Works::Now(Reverse(WEEK_MINUTES)) => reason.push_str(" has no shifts"),
            Works::Now(Reverse(left)) => {
                let until = self.clock(now, *left);
                reason.extend([format!(" is on shift until {until}")]);
            }
            Works::In(minutes) => {
                let begin = self.clock(now, *minutes);
                reason
                    .extend([format!(" begins on {begin}, before that nobody{with} is on shift")]);
            }
        }
        match (distance, place) {
            (Some(0), Some(place)) => {
                reason.extend([format!(", works there ({place})")]);
            }
            (Some(steps), Some(_)) => {
                let from = person.location.as_deref().unwrap_or_default();
                reason.extend([format!(", {steps} steps away ({from})")]);
            }
            _ => reason.push_str(", how far away is not known"),
        }
        let others = able.len() - 1;
        if others > 0 {
            reason.extend([format!("; {others} more could")]);
        }
        Proposal { who: Some((person.name.clone(), person.reference.clone())), reason }
    }

    /// `Mon 06:00`, so many minutes from now.
    fn clock(&self, now: Utc, minutes: i64) -> String {
        let at = self.zone.minutes(now) + minutes;
        let day = usize::try_from(weekday(at.div_euclid(DAY_MINUTES))).unwrap_or(0);
        let of_day = at.rem_euclid(DAY_MINUTES);
        let day = DAYS.get(day).copied().unwrap_or_default();
        format!("{day} {:02}:{:02}", of_day / 60, of_day % 60)
    }

    /// When a person works; `None` for not within a week.
    fn works(&self, person: &Person, now: Utc) -> Option<Works> {
        let now = self.zone.minutes(now);
        let today = now.div_euclid(DAY_MINUTES);
        let is_there =
            |day: i64| !person.absent.iter().any(|(first, last)| (*first..=*last).contains(&day));
        if person.shifts.is_empty() {
            return is_there(today).then_some(Works::Now(Reverse(WEEK_MINUTES)));
        }
        let mut best: Option<Works> = None;
        // Yesterday's night shift may still be on.
        for day in (today - 1..=today + 7).filter(|day| is_there(*day)) {
            for shift in &person.shifts {
                let Some((begin, end)) = shift.on(day) else { continue };
                let works = if now < begin {
                    Works::In(begin - now)
                } else if now < end {
                    Works::Now(Reverse(end - now))
                } else {
                    continue;
                };
                best = Some(best.map_or(works, |best| best.min(works)));
            }
        }
        best
    }
}

impl Person {
    fn has(&self, skill: &str) -> bool {
        self.skills.iter().any(|own| own.eq_ignore_ascii_case(skill))
    }

    /// Steps up to the place that both share, and down again; `None` where one is not known.
    fn distance(&self, place: Option<&str>) -> Option<usize> {
        let steps = |path: &str| -> Vec<String> {
            path.split('/').map(|step| step.trim().to_lowercase()).collect()
        };
        let (own, other) = (steps(self.location.as_deref()?), steps(place?));
        let shared = own.iter().zip(&other).take_while(|(a, b)| a == b).count();
        Some(own.len() + other.len() - 2 * shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28, a Saturday, 18:00 UTC.
    fn saturday() -> Utc {
        Utc::from_millis(1_795_888_800_000)
    }

    fn hours(n: i64) -> Span {
        Span::from_secs(3600 * n)
    }

    fn person(name: &str, skill: &str, location: &str, shifts: &[(&str, u16, u16)]) -> Person {
        let shift = |(days, from, to): &(&str, u16, u16)| Shift {
            days: DAYS.map(|day| days.contains(day)),
            from: from * 60,
            to: to * 60,
        };
        Person {
            name: name.into(),
            reference: format!("id-{name}"),
            skills: vec![skill.into()],
            location: (!location.is_empty()).then(|| location.into()),
            shifts: shifts.iter().map(shift).collect(),
            absent: Vec::new(),
        }
    }

    fn roster(people: Vec<Person>) -> Roster {
        Roster { zone: Zone::Fixed(3600), people }
    }

    /// On shift before near, near before far; the zone moves the shift; a night shift goes on
    /// behind midnight and over the end of the week.
    #[test]
    fn shift_and_distance_decide() {
        let place = Some("hall-2/line-1");
        let roster = roster(vec![
            person("ann", "mechanic", "hall-2/line-1", &[("Mon Tue Wed Thu Fri", 6, 14)]),
            person("ben", "Mechanic", "hall-1/line-4", &[("Sat Sun", 14, 22)]),
            person("cem", "mechanic", "hall-2/line-3", &[("Sat Sun", 18, 6)]),
            person("dee", "electric", "hall-2/line-1", &[]),
        ]);
        let who = |skill, at: Utc| {
            let proposal = roster.propose(skill, place, at);
            (proposal.who.map(|(name, _)| name).unwrap_or_default(), proposal.reason)
        };
        // 19:00 there: both are on shift, cem is nearer.
        let (name, reason) = who(Some("mechanic"), saturday());
        assert_eq!(name, "cem");
        let expected = "cem: can do mechanic, is on shift until Sun 06:00, 2 steps away \
                        (hall-2/line-3); 2 more could";
        assert_eq!(reason, expected);
        // 15:00 there: cem has not begun.
        let (name, reason) = who(Some("mechanic"), saturday() - hours(4));
        assert_eq!(name, "ben", "{reason}");
        assert!(reason.contains("until Sat 22:00, 4 steps away"), "{reason}");
        // 05:59 on Monday there: Sunday's night shift.
        let monday = saturday() + hours(35) - Span::from_secs(60);
        assert_eq!(who(Some("mechanic"), monday).0, "cem");
        let (name, reason) = who(Some("mechanic"), monday + Span::from_secs(60));
        assert_eq!((name.as_str(), reason.contains("works there")), ("ann", true), "{reason}");
        // 15:00 on Monday: nobody is, ann comes first on Tuesday.
        let (name, reason) = who(Some("mechanic"), saturday() + hours(44));
        assert_eq!(name, "ann");
        assert!(reason.contains("begins on Tue 06:00, before that nobody with the"), "{reason}");
        assert_eq!(who(Some("electric"), saturday()).0, "dee");
        let (name, reason) = who(Some("laser"), saturday());
        assert_eq!((name.as_str(), reason.contains("skill laser works")), ("", true), "{reason}");
        assert_eq!(who(None, saturday()).0, "dee", "who is near and always there");
    }

    /// Who is away is not proposed; the night shift that began before the absence still is.
    #[test]
    fn who_is_away_is_not_proposed() {
        let day = saturday().as_nanos() / 86_400_000_000_000;
        let mut ben = person("ben", "mechanic", "", &[("Fri Sat Sun", 22, 6)]);
        ben.absent = vec![(day, day + 1)];
        let roster = roster(vec![ben]);
        let at = |hour| saturday() + hours(hour);
        let who = |at| roster.propose(Some("mechanic"), Some("hall-2"), at);
        // Saturday, 01:00 there: it began on Friday.
        assert!(who(at(-18)).reason.contains("is on shift until Sat 06:00"));
        let proposal = who(at(0));
        assert!(proposal.reason.contains("begins on Fri 22:00"), "{proposal:?}");
        assert!(proposal.reason.ends_with("how far away is not known"), "{proposal:?}");
        assert_eq!(proposal.who, Some(("ben".into(), "id-ben".into())));
    }

    /// What there is, what is missing, and how old that is.
    #[test]
    fn stock_is_told_with_its_age() {
        let item = |quantity, location: &str, lead: &str| Item {
            quantity,
            location: location.into(),
            lead_time: lead.into(),
        };
        let mut stock = Stock {
            items: BTreeMap::from([
                ("CR-40".into(), item(3.0, "A-12", "5 d")),
                ("S-1".into(), item(0.0, "", "14 d")),
                ("B-2".into(), item(1.0, "", "")),
            ]),
            as_of: saturday(),
            max_age: hours(24),
            trouble: None,
        };
        let part = |reference: &str, quantity| Part {
            reference: reference.into(),
            name: "it".into(),
            quantity,
        };
        let parts = [part("CR-40", 1), part("S-1", 1), part("B-2", 2), part("X", 1)];
        let lines = stock.lines(&parts, saturday() + hours(3), |_| "then".into());
        let expected = [
            "Stock: 1 x it (CR-40): 3 in stock, at A-12, lead time 5 d",
            "Stock: 1 x it (S-1): NOT IN STOCK, lead time 14 d",
            "Stock: 2 x it (B-2): NOT ENOUGH IN STOCK, 1",
            "Stock: 1 x it (X): the stock list does not name it",
            "Stock: as of then, 3 h old",
        ];
        assert_eq!(lines, expected);
        stock.trouble = Some("HTTP 503".into());
        let lines = stock.lines(&[], saturday() + hours(25), |_| "then".into());
        let expected = "Stock: as of then, 25 h old: STALE, look before you rely on it; it could \
                        not be read anew: HTTP 503";
        assert_eq!(lines, [expected]);
    }
}
