//! Notices against an observer that sees only what goes in and what is delivered.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use trimloop_core::time::{Span, Utc};
use trimloop_work::key::{Fingerprint, Subject};
use trimloop_work::notify::{
    ChannelPlan, Delivery, LINES_MAX, Notice, Notify, NotifyState, REFUSALS_MAX,
};
use trimloop_work::shift::{Shift, Zone};
use trimloop_work::works::{AlarmNews, Heard};

/// 2026-11-28, a Saturday, 18:00 UTC.
fn at(seconds: i64) -> Utc {
    Utc::from_millis(1_795_888_800_000 + 1000 * seconds)
}

fn span(seconds: i64) -> Span {
    Span::from_secs(seconds)
}

fn subject(number: usize) -> Subject {
    Subject {
        site: "north".into(),
        cell: "cell-1".into(),
        asset: "press-4".into(),
        mode: format!("fault_{number}"),
        component: String::new(),
    }
}

fn night() -> Vec<Shift> {
    vec![Shift { days: [true; 7], from: 22 * 60, to: 6 * 60 }]
}

/// A world with channels `desk` -> `shift` -> `boss`.
struct World {
    notify: Notify,
    plans: Vec<ChannelPlan>,
    now: i64,
    /// Delivered, with the time of it.
    got: Vec<(i64, Notice)>,
}

impl World {
    fn new(plans: Vec<ChannelPlan>) -> Self {
        let notify = Notify::new(plans.clone(), NotifyState::default(), at(0));
        Self { notify, plans, now: 0, got: Vec::new() }
    }

    fn tell(&mut self, number: usize, priority: u8, what: Heard) {
        let news = AlarmNews { subject: subject(number), priority, what, at: at(self.now) };
        self.notify.take(&news);
    }

    /// Time passes, step by step of a coarse clock; what may be sent is sent.
    fn pass(&mut self, seconds: i64, answers: &mut impl FnMut() -> Option<Delivery>) {
        let end = self.now + seconds;
        let step = if seconds > 8000 { 60 } else { 10 };
        while self.now < end {
            self.now = (self.now + step).min(end);
            self.step(answers);
        }
    }

    fn step(&mut self, answers: &mut impl FnMut() -> Option<Delivery>) {
        self.notify.tick(at(self.now), |_| Some("cushion 2.1 mm".into()));
        for plan in &self.plans {
            let Some(notice) = self.notify.next(&plan.name, at(self.now)) else { continue };
            if let Some(how) = answers() {
                if how == Delivery::Delivered {
                    self.got.push((self.now, notice.clone()));
                }
                self.notify.sent(&plan.name, &notice.id, &how, at(self.now));
            } else {
                // Killed before the answer; the other side may have it or not.
                let body = serde_json::to_string(self.notify.state()).unwrap();
                let state = serde_json::from_str(&body).unwrap();
                self.notify = Notify::new(self.plans.clone(), state, at(self.now));
            }
        }
    }

    fn calm(&mut self, seconds: i64) {
        self.pass(seconds, &mut || Some(Delivery::Delivered));
    }

    fn of(&self, channel: &str) -> Vec<&Notice> {
        self.got.iter().map(|(_, notice)| notice).filter(|n| n.channel == channel).collect()
    }
}

fn names(notice: &Notice) -> Vec<String> {
    notice
        .lines
        .iter()
        .map(|line| line.text(|t| ((t - at(0)).as_millis() / 1000).to_string()))
        .collect()
}

/// Alarms that come together are one notice, the most urgent first; their ends are another one. An
/// alarm of no interest is in neither.
#[test]
fn what_comes_together_is_told_together() {
    let mut world = World::new(vec![ChannelPlan::new("desk", 2)]);
    for (number, priority) in [(1, 2), (2, 1), (3, 3), (4, 2)] {
        world.tell(number, priority, Heard::Raised);
    }
    world.calm(20);
    assert!(world.got.is_empty(), "it waits for what belongs to it");
    world.tell(4, 2, Heard::Known);
    world.calm(10);
    let told = world.of("desk");
    assert_eq!(
        names(told[0]),
        ["P1 press-4.fault_2 is on since 0", "P2 press-4.fault_1 is on since 0"]
    );
    assert_eq!(told[0].title("cell-1"), "[cell-1] P1 press-4.fault_2 is on, and 1 more");
    let body = told[0].body("cell-1", |_| "18:00".into());
    assert!(
        body.contains("cushion 2.1 mm") && body.contains("events ack press-4.fault_2"),
        "{body}"
    );
    for number in 1..=4 {
        world.tell(number, 2, Heard::Cleared);
    }
    world.calm(600);
    let told = world.of("desk");
    assert_eq!(told.len(), 2);
    assert_eq!(
        names(told[1]),
        ["P1 press-4.fault_2 is over since 30", "P2 press-4.fault_1 is over since 30"]
    );
}

/// Beyond so many an hour alarms wait for a summary, and beyond its lines they are counted. The
/// last notice of an hour is kept for the urgent.
#[test]
fn a_flood_becomes_a_summary() {
    let plan = ChannelPlan { per_hour: 3, ..ChannelPlan::new("desk", 3) };
    let mut world = World::new(vec![plan]);
    for number in 0..LINES_MAX + 38 {
        world.tell(number, 2, Heard::Raised);
        world.calm(40);
    }
    assert_eq!(world.got.len(), 2, "{:?}", world.got);
    world.tell(100, 1, Heard::Raised);
    world.calm(30);
    let summary = world.of("desk")[2];
    assert_eq!(summary.lines.len(), LINES_MAX);
    assert_eq!(names(summary)[0], "P1 press-4.fault_100 is on since 2320");
    // 56 wait, and of the lines one is the urgent one's.
    assert_eq!(summary.more, 37);
    assert!(summary.title("c").ends_with("is on, and 56 more"), "{}", summary.title("c"));
    world.tell(101, 1, Heard::Raised);
    world.calm(3600 - world.now + 20);
    assert_eq!(world.got.len(), 3, "the hour is full");
    world.calm(60);
    assert_eq!(names(world.of("desk")[3]), ["P1 press-4.fault_101 is on since 2350"]);
}

/// At night only the urgent is told; in the morning the rest, but what somebody acknowledged or
/// what has its line already.
#[test]
fn nights_are_quiet() {
    let plan =
        ChannelPlan { quiet: night(), zone: Zone::Fixed(3600), ..ChannelPlan::new("desk", 3) };
    let mut world = World::new(vec![plan]);
    // 22:00 there.
    world.calm(3 * 3600);
    world.tell(1, 3, Heard::Raised);
    world.tell(2, 2, Heard::Raised);
    world.calm(600);
    world.tell(3, 1, Heard::Raised);
    world.tell(2, 2, Heard::Known);
    world.calm(600);
    assert_eq!(world.got.len(), 1);
    assert_eq!(names(&world.got[0].1), ["P1 press-4.fault_3 is on since 11400"]);
    world.tell(1, 3, Heard::Cleared);
    world.calm(8 * 3600 - 1200 - 10);
    assert_eq!(world.got.len(), 1);
    world.calm(60);
    assert_eq!(names(&world.got[1].1), ["P3 press-4.fault_1 was on from 10800 to 12000"]);
}

/// Who does not answer in time is followed by the next one, once; who does is not. The channel that
/// only hears of those is told nothing else.
#[test]
fn what_nobody_acknowledges_escalates_once() {
    let to = |name: &str, next: &str| Some((span(600), next.to_owned())).filter(|_| name != next);
    let plans = vec![
        ChannelPlan { escalate: to("desk", "shift"), ..ChannelPlan::new("desk", 2) },
        ChannelPlan { escalate: to("shift", "boss"), ..ChannelPlan::new("shift", 0) },
        ChannelPlan::new("boss", 1),
    ];
    let mut world = World::new(plans);
    world.tell(1, 2, Heard::Raised);
    world.tell(2, 2, Heard::Raised);
    world.calm(300);
    world.tell(2, 2, Heard::Known);
    world.calm(7200);
    let lines = |channel: &str| world.of(channel).into_iter().flat_map(names).collect::<Vec<_>>();
    assert_eq!(lines("desk").len(), 2);
    assert_eq!(
        lines("shift"),
        ["P2 press-4.fault_1 is on since 0; nobody acknowledged it at desk"]
    );
    assert_eq!(
        lines("boss"),
        ["P2 press-4.fault_1 is on since 0; nobody acknowledged it at shift"]
    );
    assert!(world.of("boss")[0].title("c").ends_with("is not acknowledged"));
    // Desk after 30 s of wait and 600 s, then the same at the shift.
    assert_eq!(world.of("boss")[0].at, at(1290));
}

/// A notice that is refused three times is given up, and what it said is counted in the next one.
#[test]
fn what_is_refused_is_counted() {
    let mut world = World::new(vec![ChannelPlan::new("desk", 4)]);
    world.tell(1, 2, Heard::Raised);
    let mut refused = 0;
    world.pass(3600, &mut || {
        refused += 1;
        let is_bad = refused <= REFUSALS_MAX;
        Some(if is_bad { Delivery::Refused("spam".into()) } else { Delivery::Delivered })
    });
    let (_, notice) = &world.got[0];
    assert_eq!((notice.lines.len(), notice.more), (0, 1));
    world.tell(1, 2, Heard::Cleared);
    world.calm(3600);
    assert_eq!(world.got.len(), 1, "an end without a begin");
    assert_eq!(world.notify.state().shown().next().unwrap().given_up, 1);
}

/// One that comes and goes is told so once.
#[test]
fn chatter_is_told_once() {
    let mut world = World::new(vec![ChannelPlan::new("desk", 4)]);
    world.tell(1, 2, Heard::Raised);
    for _ in 0..2 {
        world.tell(1, 2, Heard::Cleared);
        world.tell(1, 2, Heard::Raised);
    }
    world.tell(1, 2, Heard::Chatters);
    world.calm(3600);
    assert_eq!(world.got.len(), 1);
    let line = &names(&world.got[0].1)[0];
    assert!(line.starts_with("P2 press-4.fault_1 is on since 0, 3 times; it comes and"), "{line}");
}

#[derive(Clone, Debug)]
enum Do {
    Raise(usize),
    Clear(usize),
    Acknowledge(usize),
    Chatter(usize),
    Pass(i64),
    Restart,
}

fn acts(alarms: usize) -> impl Strategy<Value = Vec<Do>> {
    let act = prop_oneof![
        4 => (0..alarms).prop_map(Do::Raise),
        3 => (0..alarms).prop_map(Do::Clear),
        1 => (0..alarms).prop_map(Do::Acknowledge),
        1 => (0..alarms).prop_map(Do::Chatter),
        3 => (1_i64..90).prop_map(Do::Pass),
        1 => (600_i64..20_000).prop_map(Do::Pass),
        1 => Just(Do::Restart),
    ];
    prop::collection::vec(act, 1..120)
}

/// Alarms by number have this priority.
fn priority(number: usize) -> u8 {
    1 + u8::try_from(number % 4).unwrap()
}

/// What the observer knows of an alarm.
#[derive(Default)]
struct Known {
    on: Option<i64>,
    acknowledged: bool,
    /// Begins so far that nobody acknowledged while they were on, or just after.
    open: BTreeSet<i64>,
}

fn plans(per_hour: usize, urgent: u8) -> Vec<ChannelPlan> {
    let base = |name: &str, priority| ChannelPlan {
        per_hour,
        urgent,
        quiet: night(),
        ..ChannelPlan::new(name, priority)
    };
    vec![
        ChannelPlan { escalate: Some((span(600), "shift".into())), ..base("desk", 3) },
        ChannelPlan {
            quiet: Vec::new(),
            escalate: Some((span(900), "boss".into())),
            ..base("shift", 0)
        },
        base("boss", 1),
    ]
}

fn plays(acts: &[Do], answers: &[u8], alarms: usize, per_hour: usize, urgent: u8) {
    let mut world = World::new(plans(per_hour, urgent));
    let mut known: BTreeMap<usize, Known> = BTreeMap::new();
    let mut place = 0;
    let mut answer = move || {
        place += 1;
        match answers[place % answers.len()] {
            0 => None,
            1 | 2 => Some(Delivery::Failed(None, "away".into())),
            _ => Some(Delivery::Delivered),
        }
    };
    for act in acts {
        match act {
            Do::Raise(number) => {
                let it = known.entry(*number).or_default();
                if it.on.is_none() {
                    (it.on, it.acknowledged) = (Some(world.now), false);
                    it.open.insert(world.now);
                    world.tell(*number, priority(*number), Heard::Raised);
                }
            }
            Do::Clear(number) => {
                let it = known.entry(*number).or_default();
                if it.on.take().is_some() {
                    world.tell(*number, priority(*number), Heard::Cleared);
                }
            }
            Do::Acknowledge(number) => {
                let it = known.entry(*number).or_default();
                it.acknowledged = true;
                it.open.clear();
                world.tell(*number, priority(*number), Heard::Known);
            }
            Do::Chatter(number) => {
                if known.get(number).is_some_and(|it| it.on.is_some()) {
                    world.tell(*number, priority(*number), Heard::Chatters);
                }
            }
            Do::Pass(seconds) => world.pass(*seconds, &mut answer),
            Do::Restart => {
                let body = serde_json::to_string(world.notify.state()).unwrap();
                let state = serde_json::from_str(&body).unwrap();
                world.notify = Notify::new(world.plans.clone(), state, at(world.now));
            }
        }
    }
    // Nothing happens any more for two days, and the servers are there.
    world.calm(2 * 86_400);
    judge(&world, &known, alarms);
}

fn judge(world: &World, known: &BTreeMap<usize, Known>, alarms: usize) {
    for plan in &world.plans {
        let all: Vec<&(i64, Notice)> =
            world.got.iter().filter(|(_, notice)| notice.channel == plan.name).collect();
        let ids: BTreeSet<&str> = all.iter().map(|(_, notice)| &*notice.id).collect();
        assert_eq!(ids.len(), all.len(), "one was delivered twice after its answer");
        for (time, _) in &all {
            let hour = all.iter().filter(|(other, _)| other >= time && other - time < 3600);
            assert!(hour.count() <= plan.per_hour, "{}: more than it may at {time}", plan.name);
        }
        let mut on: BTreeSet<Fingerprint> = BTreeSet::new();
        for (_, notice) in &all {
            assert!(notice.lines.len() <= LINES_MAX);
            for line in &notice.lines {
                let by_rank = line.priority <= plan.priority || line.from.is_some();
                let was_on = on.contains(&line.alarm);
                assert!(by_rank || was_on, "{line:?}");
                assert!(line.began.is_some() || was_on, "told of what nobody began: {line:?}");
                let is_quiet = plan.is_quiet(notice.at);
                assert!(!is_quiet || line.priority <= plan.urgent, "at night: {line:?}");
                if line.ended.is_some() {
                    on.remove(&line.alarm);
                } else {
                    on.insert(line.alarm);
                }
            }
        }
        let lines = || all.iter().flat_map(|(_, notice)| &notice.lines);
        for (number, it) in known {
            let alarm = subject(*number).fingerprint();
            let rank = priority(*number);
            let own = || lines().filter(move |line| line.alarm == alarm);
            for (since, from) in escalations(own()) {
                let same = escalations(own()).filter(|one| *one == (since, from)).count();
                assert_eq!(same, 1, "{}: {from} twice for {since:?}", plan.name);
            }
            // With room for all of them nothing is only counted.
            if alarms <= LINES_MAX {
                let counted: u32 = own().map(|line| line.times).sum();
                let wanted = u32::try_from(it.open.len()).unwrap();
                let enough = rank > plan.priority || counted >= wanted;
                assert!(enough, "{}: {number} began {wanted} times, {counted} told", plan.name);
                let stays = it.on.is_some() && !it.acknowledged && rank <= 3;
                let came = own().any(|line| line.from.is_some());
                if stays && plan.name != "desk" {
                    assert!(came, "{}: nobody heard of {number}", plan.name);
                }
            }
        }
        if alarms > LINES_MAX {
            let named: u32 = lines().map(|line| line.times).sum();
            let counted: u32 = all.iter().map(|(_, notice)| notice.more).sum();
            let own = known.iter().filter(|(number, _)| priority(**number) <= plan.priority);
            let wanted: usize = own.map(|(_, it)| it.open.len()).sum();
            let wanted = u32::try_from(wanted).unwrap();
            assert!(named + counted >= wanted, "{}: {named} + {counted} < {wanted}", plan.name);
        }
    }
}

fn escalations<'a>(
    lines: impl Iterator<Item = &'a trimloop_work::notify::Line>,
) -> impl Iterator<Item = (Option<Utc>, &'a str)> {
    lines.filter_map(|line| Some((line.began, line.from.as_deref()?)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Few alarms: each one by name, over kills, dead servers, nights and full hours.
    #[test]
    fn nothing_is_lost_and_nobody_is_flooded(
        acts in acts(12),
        answers in prop::collection::vec(0_u8..8, 1..40),
        per_hour in 1_usize..5,
        urgent in 0_u8..3,
    ) {
        plays(&acts, &answers, 12, per_hour, urgent);
    }

    /// More alarms than lines: what is not named is counted.
    #[test]
    fn what_is_not_named_is_counted(
        acts in acts(60),
        answers in prop::collection::vec(0_u8..8, 1..40),
        per_hour in 1_usize..4,
    ) {
        plays(&acts, &answers, 60, per_hour, 1);
    }
}
