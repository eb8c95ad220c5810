//! Rows of the recorder in, cases and requests out.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use trimloop_core::time::{Span, Utc};
use trimloop_work::alarm::{AlarmPlan, AlarmState};
use trimloop_work::desk::{DeskPlan, Mode, OrderState};
use trimloop_work::key::Subject;
use trimloop_work::outbox::{Request, Sent, Terms};
use trimloop_work::watch::{Says, Seen, Trigger, Watched};
use trimloop_work::works::{Relations, Works, WorksState};

fn subject(asset: &str, mode: &str, component: &str) -> Subject {
    Subject {
        site: "north".into(),
        cell: "cell-1".into(),
        asset: asset.into(),
        mode: mode.into(),
        component: component.into(),
    }
}

fn watched(trigger: Trigger, mode: &str, order: Mode) -> Watched {
    Watched {
        subject: subject("press-4", mode, ""),
        trigger,
        alarm: AlarmPlan::default(),
        priority: 3,
        order,
        proof: None,
    }
}

fn faults() -> Vec<Watched> {
    vec![
        watched(Trigger::Link("press-4".into()), "link", Mode::Auto),
        watched(Trigger::Sensor("cushion".into()), "sensor", Mode::Auto),
        watched(Trigger::Drift("upstream".into()), "drift", Mode::Propose),
        watched(Trigger::Signature("short".into()), "short", Mode::Auto),
        Watched {
            alarm: AlarmPlan { on_delay: Span::from_secs(60), ..AlarmPlan::default() },
            ..watched(
                Trigger::AuthorityUsed { of_loop: "weight".into(), percent: 60.0 },
                "worn",
                Mode::Auto,
            )
        },
    ]
}

fn relations() -> Relations {
    let rests = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    [
        ("plc:press-4".to_owned(), rests(&["tag:cushion", "model:upstream"])),
        ("tag:cushion".to_owned(), rests(&["model:upstream", "signature:short"])),
    ]
    .into()
}

fn works() -> Works {
    Works::new(faults(), relations(), DeskPlan::default(), Terms::default())
}

/// Through text and back; what was must be what is.
fn restored(works: &Works, at: Utc) -> Works {
    let text = serde_json::to_string(&works.state()).unwrap();
    let state: WorksState = serde_json::from_str(&text).unwrap();
    let back =
        Works::restore(faults(), relations(), DeskPlan::default(), Terms::default(), state, at);
    let back = back.unwrap();
    assert_eq!(back.state(), works.state());
    back
}

fn event(s: i64, code: &'static str, about: &'static str, detail: &'static str) -> Seen<'static> {
    let says = Says::Event(code, about, detail);
    Seen { boot: 1, at: Utc::from_millis(s * 1000), part: s, says }
}

fn level(s: i64, used: Option<f64>) -> Seen<'static> {
    let says = Says::Level { of_loop: "weight", used_percent: used, at_limit: false };
    Seen { says, ..event(s, "", "", "") }
}

fn state(works: &Works, mode: &str) -> AlarmState {
    let found = works.watch.alarms().find(|(subject, _)| subject.mode == mode);
    found.map(|(_, alarm)| alarm.state()).unwrap()
}

/// Orders that the desk asked for, all delivered at once.
fn deliver(works: &mut Works, at: Utc) -> usize {
    let mut sent = 0;
    while let Some(request) = works.desk.take(at) {
        let Request::Send(row) = request else { continue };
        works.desk.sent(row.id, Sent::Delivered, at);
        sent += 1;
    }
    sent
}

/// A sensor that comes and goes 10,000 times while its PLC's link is down: one case, one order.
#[test]
fn what_an_upstream_fault_explains_makes_no_orders() {
    let mut works = works();
    let mut keys = std::collections::BTreeSet::new();
    let mut orders = 0;
    for n in 0..10_000 {
        let word = if n % 2 == 0 { "bad" } else { "good" };
        works.take(&event(n, "tag_quality", "cushion", word), "");
        if n == 3 {
            works.take(&event(n, "link_down", "press-4", ""), "The link is down.");
        }
        works.tick(Utc::from_millis(n * 1000));
        orders += deliver(&mut works, Utc::from_millis(n * 1000));
        keys.extend(works.desk.cases().map(|case| case.key));
    }
    assert!(keys.len() <= 3, "{keys:?}");
    assert_eq!(orders, 1);
    assert_eq!(state(&works, "sensor"), AlarmState::Latched, "it chatters, and is told once");
}

/// Share of the trim: above for the delay raises, hovering does not end it, well below does.
#[test]
fn a_level_has_its_delay_and_its_hysteresis() {
    let mut works = works();
    for s in 0..60 {
        assert_eq!(works.take(&level(s, Some(61.0)), "").len(), usize::from(s == 0));
        assert_eq!(state(&works, "worn"), AlarmState::Normal);
    }
    works.take(&level(60, Some(58.0)), "");
    assert_eq!(state(&works, "worn"), AlarmState::Unacked);
    let evidence = works.evidence.values().next().unwrap();
    assert_eq!(evidence.at, Utc::from_millis(0), "of the begin");
    works.take(&level(61, Some(56.0)), "");
    assert_eq!(state(&works, "worn"), AlarmState::Unacked);
    works.take(&level(62, None), "");
    assert_eq!(state(&works, "worn"), AlarmState::Unacked, "nobody knows");
    works.take(&level(63, Some(54.9)), "");
    assert_eq!(state(&works, "worn"), AlarmState::ReturnedUnacked);
}

/// A model that drifts by two checks drifts until both are over.
#[test]
fn all_members_must_be_over() {
    let mut works = works();
    works.take(&event(1, "model_drift", "upstream", "inputs melt 0.3 over 0.25"), "");
    works.take(&event(2, "model_drift", "upstream", "loss 2.0 over 1.5"), "");
    works.take(&event(3, "model_drift_over", "upstream", "inputs"), "");
    assert_eq!(state(&works, "drift"), AlarmState::Unacked);
    works.take(&event(4, "model_drift_over", "upstream", "loss"), "");
    assert_eq!(state(&works, "drift"), AlarmState::ReturnedUnacked);
}

/// After a start nothing is known; twenty parts without a word mean that it is gone.
#[test]
fn a_start_forgets_what_held() {
    let mut works = works();
    works.take(&event(1, "signature", "short", "on"), "");
    let again = |s, part| Seen { boot: 2, part, ..event(s, "mode", "weight", "shadow") };
    works.take(&again(10, 0), "");
    works.take(&again(11, 500), "");
    assert_eq!(state(&works, "short"), AlarmState::Unacked);
    works.take(&again(12, 519), "");
    assert_eq!(state(&works, "short"), AlarmState::Unacked);
    works.take(&again(13, 520), "");
    assert_eq!(state(&works, "short"), AlarmState::ReturnedUnacked);
}

/// A fault that the recipe no longer has is over; its case ends as one that is gone.
#[test]
fn a_fault_that_nobody_watches_is_over() {
    let mut works = works();
    works.take(&event(1, "signature", "short", "on"), "");
    let at = Utc::from_millis(2000);
    let fewer: Vec<Watched> = faults().into_iter().filter(|f| f.subject.mode != "short").collect();
    let plan = DeskPlan::default();
    let back = Works::restore(fewer, relations(), plan, Terms::default(), works.state(), at);
    let mut back = back.unwrap();
    assert!(back.desk.cases().all(|case| !case.active));
    back.tick(Utc::from_millis(60_000));
    assert_eq!(back.desk.cases().count(), 0);
}

/// A stored state that contradicts itself is refused, not believed.
#[test]
fn a_broken_state_is_refused() {
    let mut works = works();
    works.take(&event(1, "signature", "short", "on"), "");
    let text = serde_json::to_string(&works.state()).unwrap();
    for (from, to) in [
        ("\"next\":1", "\"next\":0,\"more\":1"),
        ("\"mode\":\"short\"", "\"mode\":\"shorter\""),
        ("\"priority\":3", "\"priority\":9"),
    ] {
        assert!(text.contains(from), "{text}");
        let read = serde_json::from_str::<WorksState>(&text.replace(from, to));
        let plan = DeskPlan::default();
        let back = read.map_err(|error| error.to_string()).and_then(|state| {
            let at = Utc::from_millis(0);
            Works::restore(faults(), relations(), plan, Terms::default(), state, at)
        });
        assert!(back.is_err(), "{from} -> {to}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Event(usize),
    Level(Option<u8>),
    Wait(i64),
    Boot,
    Deliver,
    Lose,
    Done,
    Person(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0_usize..9).prop_map(Step::Event),
        2 => proptest::option::of(40_u8..90).prop_map(Step::Level),
        4 => (1_i64..40_000).prop_map(Step::Wait),
        1 => Just(Step::Boot),
        2 => Just(Step::Deliver),
        1 => Just(Step::Lose),
        1 => Just(Step::Done),
        2 => (0_usize..4).prop_map(Step::Person),
    ];
    proptest::collection::vec(step, 1..60)
}

const EVENTS: [(&str, &str, &str); 9] = [
    ("link_down", "press-4", ""),
    ("link_up", "press-4", "2"),
    ("heartbeat_lost", "press-4", ""),
    ("heartbeat_back", "press-4", ""),
    ("tag_quality", "cushion", "bad"),
    ("tag_quality", "cushion", "good"),
    ("signature", "short", "on"),
    ("signature", "short", "off"),
    ("model_drift", "upstream", "loss 2 over 1"),
];

fn act(works: &mut Works, step: &Step, s: &mut i64, boot: &mut i64) {
    let at = Utc::from_millis(*s * 1000);
    let of = |seen: Seen<'static>, boot: i64| Seen { boot, ..seen };
    match step {
        Step::Event(n) => {
            let (code, about, detail) = EVENTS[*n];
            works.take(&of(event(*s, code, about, detail), *boot), "It happened.");
        }
        Step::Level(used) => {
            works.take(&of(level(*s, used.map(f64::from)), *boot), "");
        }
        Step::Wait(seconds) => {
            *s += seconds;
            works.tick(Utc::from_millis(*s * 1000));
        }
        Step::Boot => *boot += 1,
        Step::Deliver => {
            deliver(works, at);
        }
        Step::Lose => {
            if let Some(Request::Send(row)) = works.desk.take(at) {
                works.desk.sent(row.id, Sent::Unknown("no answer".into()), at);
            }
        }
        Step::Done => {
            let keys: Vec<_> = works.desk.cases().map(|case| case.key).collect();
            for key in keys {
                works.desk.order_is(key, OrderState::Done, at, at);
            }
        }
        Step::Person(what) => {
            let all: Vec<_> = works.watch.faults().map(|(fingerprint, _)| fingerprint).collect();
            for fingerprint in all {
                match what {
                    0 => works.acknowledge(fingerprint, at),
                    1 => works.shelve(fingerprint, at + Span::from_secs(600), at),
                    2 => works.desk.approve(fingerprint, at),
                    _ => works.desk.verify(fingerprint, at),
                };
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Stored and restored after any step, it does from then on what it would have done.
    #[test]
    fn restored_is_the_same(steps in steps()) {
        let (mut stays, mut goes) = (works(), works());
        let (mut s, mut boot) = (0, 1);
        for step in &steps {
            let (mut t, mut b) = (s, boot);
            act(&mut stays, step, &mut s, &mut boot);
            act(&mut goes, step, &mut t, &mut b);
            stays.desk.told();
            goes = restored(&goes, Utc::from_millis(s * 1000));
            prop_assert_eq!(goes.state(), stays.state());
        }
    }
}
