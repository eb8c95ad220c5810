//! Digests of work orders against an observer that sees only what closes and what is delivered.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use trimloop_core::time::{Span, Utc};
use trimloop_work::key::{ExtKey, Subject};
use trimloop_work::notify::{
    ChannelPlan, Delivery, Digest, Notice, Notify, NotifyState, ORDERS_MAX, OrderLine, Section,
};
use trimloop_work::shift::{DAY_MINUTES, Zone};
use trimloop_work::works::{AlarmNews, Heard};

/// 06:30 and 14:30, an hour ahead of UTC.
const TIMES: [u16; 2] = [390, 870];

/// Minutes after 2026-11-28 00:00 UTC.
fn at(minutes: i64) -> Utc {
    Utc::from_millis(1_795_824_000_000 + 60_000 * minutes)
}

fn subject(number: usize) -> Subject {
    Subject {
        site: "north".into(),
        cell: "cell-1".into(),
        asset: format!("press-{number}"),
        mode: "worn".into(),
        component: String::new(),
    }
}

fn line(number: usize, section: Section, priority: u8, opened: Utc) -> OrderLine {
    let subject = subject(number);
    OrderLine {
        key: ExtKey { fingerprint: subject.fingerprint(), generation: 1 },
        section,
        name: subject.name(),
        asset: subject.asset.clone(),
        fault: subject.mode,
        priority,
        opened,
        is_new: false,
        active: true,
        state: if section == Section::Closed { "proven" } else { "open" }.into(),
        assignee: None,
        number: None,
        after: None,
        refused: None,
    }
}

fn plan() -> ChannelPlan {
    let zone = Zone::Fixed(3600);
    ChannelPlan { zone, orders: TIMES.into(), per_hour: 1, ..ChannelPlan::new("shift", 2) }
}

struct World {
    notify: Notify,
    now: i64,
    /// An order is open all the time.
    is_open: bool,
    /// When cases were closed, by number.
    closed: Vec<i64>,
    /// Delivered.
    got: Vec<Notice>,
}

impl World {
    fn new(is_open: bool) -> Self {
        let notify = Notify::new(vec![plan()], NotifyState::default(), at(0));
        Self { notify, now: 0, is_open, closed: Vec::new(), got: Vec::new() }
    }

    fn restart(&mut self) {
        let body = serde_json::to_string(self.notify.state()).unwrap();
        let state = serde_json::from_str(&body).unwrap();
        self.notify = Notify::new(vec![plan()], state, at(self.now));
    }

    /// `None` for an answer: killed before it.
    fn step(&mut self, minutes: i64, answer: Option<Delivery>) {
        self.now += minutes;
        let now = at(self.now);
        self.notify.tick(now, |_| None);
        for (channel, since) in self.notify.digests_due(now) {
            let mut lines = Vec::new();
            if self.is_open {
                lines.push(line(9999, Section::Open, 2, at(0)));
            }
            for (number, closed) in self.closed.iter().enumerate() {
                if (since..now).contains(&at(*closed)) {
                    lines.push(line(number, Section::Closed, 2, at(0)));
                }
            }
            self.notify.digest(&channel, Digest::new(since, None, lines), now);
        }
        let Some(notice) = self.notify.next("shift", now) else { return };
        match answer {
            None => self.restart(),
            Some(how) => {
                self.notify.sent("shift", &notice.id, &how, now);
                if how == Delivery::Delivered {
                    self.got.push(notice);
                }
            }
        }
    }
}

/// The time of the day that came last, in minutes of the zone.
fn slot(now: i64) -> i64 {
    let local = now + 60;
    let day = local.div_euclid(DAY_MINUTES);
    let all = [day - 1, day].map(|day| TIMES.map(|time| day * DAY_MINUTES + i64::from(time)));
    all.into_iter().flatten().filter(|slot| *slot <= local).max().unwrap()
}

fn digests(world: &World) -> Vec<(i64, &Digest)> {
    let minutes = |notice: &Notice| (notice.at - at(0)).as_millis() / 60_000;
    world.got.iter().map(|n| (minutes(n), n.digest.as_ref().unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Over restarts and looks at any times: one digest for each time that came since the last look
    /// and is less than 12 h ago, none for any other.
    #[test]
    fn one_for_each_time(steps in prop::collection::vec((1_i64..900, any::<bool>()), 1..80)) {
        let mut world = World::new(true);
        world.step(0, Some(Delivery::Delivered));
        let (mut last, mut expected) = (slot(0), Vec::new());
        for (minutes, restarts) in steps {
            if restarts {
                world.restart();
            }
            world.step(minutes, Some(Delivery::Delivered));
            let newest = slot(world.now);
            if newest > last && world.now + 60 - newest < 720 {
                expected.push(world.now);
            }
            last = newest;
        }
        let got: Vec<i64> = digests(&world).into_iter().map(|(at, _)| at).collect();
        prop_assert_eq!(got, expected);
    }

    /// Over kills, dead servers and refusals: no two for one time, and each case that closes is in
    /// exactly one that arrived.
    #[test]
    fn what_closed_is_told_once(
        steps in prop::collection::vec((1_i64..600, 0_u8..6, any::<bool>()), 1..80),
        is_open in any::<bool>(),
    ) {
        let mut world = World::new(is_open);
        world.step(0, Some(Delivery::Delivered));
        for (minutes, answer, closes) in steps {
            if closes {
                world.closed.push(world.now + minutes / 2);
            }
            world.step(minutes, match answer {
                0 => None,
                1 => Some(Delivery::Failed(None, "away".into())),
                2 => Some(Delivery::Refused("spam".into())),
                _ => Some(Delivery::Delivered),
            });
        }
        for _ in 0..300 {
            world.step(10, Some(Delivery::Delivered));
        }
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        let mut slots = Vec::new();
        for (at, digest) in digests(&world) {
            slots.push(slot(at));
            for line in digest.lines.iter().filter(|line| line.section == Section::Closed) {
                *times.entry(line.asset.clone()).or_default() += 1;
            }
        }
        prop_assert!(slots.is_sorted_by(|one, next| one < next), "{:?}", slots);
        prop_assert_eq!(times.len(), world.closed.len());
        prop_assert!(times.values().all(|count| *count == 1), "{:?}", times);
    }
}

/// It lists by section and priority, at most so many, says what acts on each, and fits a subject;
/// where the orders are somewhere else it names their numbers there.
#[test]
fn a_list_is_read_from_its_top() {
    let hours = |hours: i64| at(-60 * hours);
    let mut all = vec![
        OrderLine { assignee: Some("ben".into()), ..line(1, Section::Open, 2, hours(3)) },
        OrderLine { is_new: true, ..line(2, Section::Open, 1, hours(1)) },
        line(3, Section::Closed, 3, hours(100)),
        OrderLine { state: "proposed".into(), ..line(4, Section::Person, 4, hours(2)) },
        OrderLine { active: false, ..line(5, Section::Proof, 2, hours(30)) },
    ];
    let notice = |digest| {
        let mut notify = Notify::new(vec![plan()], NotifyState::default(), at(0));
        notify.digests_due(at(0));
        notify.digest("shift", Some(digest), at(0));
        notify.next("shift", at(0)).unwrap()
    };
    let first = notice(Digest::new(hours(8), None, all.clone()).unwrap());
    assert_eq!(
        first.title("cell-1"),
        "[cell-1] work orders: 1 waiting for a person, 2 open, 1 to be proven, 1 closed, 1 new"
    );
    let key = |number: usize| format!("TLW-{}-1", subject(number).fingerprint());
    let (draft, open) = (key(4), key(2));
    let body = first.body("cell-1", |at| format!("{}", at.as_nanos() % 7));
    let parts = [
        "Waiting for a person (1)\n",
        "  P4 press-4.worn: a draft waits for approval, since 2 h\n",
        &format!("work show {draft}; trimloop work approve {draft} --reason TEXT\n"),
        "\nOpen (2)\n",
        "  P1 press-2.worn: open, since 60 min, new\n",
        &format!("      trimloop work show {open}\n"),
        "  P2 press-1.worn: open, since 3 h, by ben\n",
        "Done, waiting for proof (1)\n",
        "  P2 press-5.worn: done, and the condition is gone, since 30 h\n",
        "Closed since the last list (1)\n",
        "  P3 press-3.worn: proven: the repair helped, began 4 d ago\n",
    ];
    let mut place = 0;
    for part in parts {
        let found = body[place..].find(part);
        place += found.unwrap_or_else(|| panic!("{part:?} is missing in\n{body}"));
    }
    all.extend((10..10 + ORDERS_MAX).map(|number| line(number, Section::Open, 3, hours(4))));
    all.push(OrderLine {
        refused: Some(17),
        number: Some("4711".into()),
        ..line(8, Section::Person, 1, hours(1))
    });
    let there = notice(Digest::new(hours(8), Some("SAP".into()), all).unwrap());
    let body = there.body("cell-1", |_| "06:30".into());
    assert!(body.contains("\nand 6 more\n"), "{body}");
    assert_eq!(body.matches("\n  P").count(), ORDERS_MAX);
    assert!(body.contains(&format!(
        "{} is 4711 in SAP; trimloop connector retry 17 --reason TEXT",
        key(8)
    )));
    assert!(!body.contains("work show"), "{body}");
    assert_eq!(Digest::new(hours(8), None, Vec::new()), None);
}

/// A digest neither takes a place among the notices of an hour nor holds up an alarm: one that the
/// server refuses is passed by it. A digest that waits for a dead server becomes the next one.
#[test]
fn alarms_go_first() {
    let mut world = World::new(true);
    world.step(0, None);
    // 06:30 there.
    let refused = || Some(Delivery::Refused("no".into()));
    world.step(330, refused());
    let news =
        AlarmNews { subject: subject(1), priority: 1, what: Heard::Raised, at: at(world.now) };
    world.notify.take(&news);
    // The digest is due for its second try, too.
    world.step(1, Some(Delivery::Delivered));
    assert_eq!((world.got.len(), world.got[0].lines.len()), (1, 1));
    world.step(1, Some(Delivery::Delivered));
    assert_eq!(world.got.len(), 2, "one an hour is for alarms");
    assert!(world.got[1].digest.is_some());
    let since = world.got[1].at;
    for _ in 0..20 {
        world.step(60, Some(Delivery::Failed(None, "away".into())));
    }
    world.step(60, Some(Delivery::Delivered));
    world.step(60, Some(Delivery::Delivered));
    assert_eq!(world.got.len(), 3);
    let last = world.got[2].digest.as_ref().unwrap();
    assert_eq!(last.since, since);
    // What waits for it goes with the settings; alarms do not.
    world.step(14 * 60, Some(Delivery::Failed(None, "away".into())));
    let body = serde_json::to_string(world.notify.state()).unwrap();
    let state = serde_json::from_str(&body).unwrap();
    let plan = ChannelPlan { orders: Vec::new(), ..plan() };
    let mut notify = Notify::new(vec![plan], state, at(world.now));
    assert_eq!(notify.next("shift", at(world.now) + Span::from_secs(7200)), None);
}
