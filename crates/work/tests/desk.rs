//! Cases by hand.

#![allow(clippy::unwrap_used, clippy::panic)]

use trimloop_core::time::{Span, Utc};
use trimloop_work::alarm::{Alarm as Condition, AlarmPlan, Change};
use trimloop_work::desk::{
    Alarm, CaseState, Closing, Desk, DeskPlan, Mode, OrderState, STORM, Told,
};
use trimloop_work::key::{ExtKey, Subject};
use trimloop_work::outbox::{Operation, Request, Sent, Terms};

fn at(seconds: i64) -> Utc {
    Utc::from_millis(1_795_341_600_000 + 1000 * seconds)
}

fn subject(asset: &str, mode: &str) -> Subject {
    Subject {
        site: "north".into(),
        cell: "press-4".into(),
        asset: asset.into(),
        mode: mode.into(),
        component: String::new(),
    }
}

fn alarm(asset: &str, mode: &str) -> Alarm {
    Alarm { subject: subject(asset, mode), priority: 3, mode: Mode::Auto, proof: None }
}

/// The dryer explains what the press feels of its material.
fn upstream(source: &Subject, target: &Subject) -> bool {
    source.asset == "dryer" && target.asset == "press"
}

fn desk() -> Desk {
    Desk::new(DeskPlan::default(), Terms::default(), upstream)
}

/// Sends what waits to a system that takes it.
fn deliver(desk: &mut Desk, at: Utc) -> Vec<(ExtKey, Operation)> {
    let mut all = Vec::new();
    while let Some(Request::Send(row)) = desk.take(at) {
        desk.sent(row.id, Sent::Delivered, at);
        all.push((row.key, row.operation));
    }
    all
}

fn creates(delivered: &[(ExtKey, Operation)]) -> usize {
    delivered.iter().filter(|(_, operation)| *operation == Operation::Create).count()
}

/// Repair, proof, recurrence: each generation follows the one before it.
#[test]
fn an_order_must_prove_itself() {
    let (mut desk, worn) = (desk(), alarm("press", "check_ring_worn"));
    let fingerprint = worn.subject.fingerprint();
    let key = |generation| ExtKey { fingerprint, generation };
    desk.raised(&worn, at(0));
    desk.tick(at(29));
    assert_eq!(desk.case(fingerprint).unwrap().state, CaseState::Waiting(at(30)));
    desk.tick(at(30));
    assert_eq!(deliver(&mut desk, at(31)), [(key(1), Operation::Create)]);
    desk.order_is(key(1), OrderState::InProgress, at(100), at(101));
    desk.order_is(key(1), OrderState::Done, at(3600), at(3601));
    // Old news does not open it again.
    desk.order_is(key(1), OrderState::InProgress, at(100), at(3602));
    // Still abnormal while it starts again; then it is not repaired.
    desk.tick(at(3601 + 599));
    assert!(matches!(desk.case(fingerprint).unwrap().state, CaseState::Verifying { .. }));
    desk.tick(at(3601 + 600));
    let case = desk.case(fingerprint).unwrap();
    assert_eq!((case.key, case.after), (key(2), Some(key(1))));
    desk.tick(at(3601 + 630));
    assert_eq!(deliver(&mut desk, at(4300)), [(key(2), Operation::Create)]);
    desk.cleared(&worn.subject, at(5000));
    let comments = deliver(&mut desk, at(5001));
    assert!(matches!(&comments[..], [(k, Operation::Comment(_))] if *k == key(2)), "{comments:?}");
    desk.order_is(key(2), OrderState::Done, at(6000), at(6001));
    desk.tick(at(6001 + 8 * 3600 - 1));
    assert!(desk.case(fingerprint).is_some());
    desk.tick(at(6001 + 8 * 3600));
    assert!(desk.case(fingerprint).is_none());
    let told = desk.told();
    assert!(told.contains(&Told::Closed(key(1), Closing::Ineffective)), "{told:?}");
    assert!(told.contains(&Told::Closed(key(2), Closing::Proven)), "{told:?}");
    // Back within 30 days: linked; later it is a fault like another.
    for (days, after) in [(20, Some(key(2))), (40, None)] {
        let mut later = desk.clone();
        later.raised(&worn, at(days * 86_400));
        let case = later.case(fingerprint).unwrap();
        assert_eq!((case.key, case.after), (key(3), after), "{days} days");
    }
}

/// What was called off or not accepted is a person's to decide, and never silently asked again.
#[test]
fn refused_orders_wait_for_a_person() {
    for state in [OrderState::Cancelled, OrderState::Rejected, OrderState::Lost] {
        let (mut desk, worn) = (desk(), alarm("press", "check_ring_worn"));
        let fingerprint = worn.subject.fingerprint();
        let key = |generation| ExtKey { fingerprint, generation };
        desk.raised(&worn, at(0));
        desk.tick(at(30));
        deliver(&mut desk, at(31));
        desk.order_is(key(1), state, at(60), at(61));
        for minute in 2..100 {
            desk.cleared(&worn.subject, at(60 * minute));
            desk.raised(&worn, at(60 * minute + 30));
            desk.tick(at(60 * minute + 31));
            assert_eq!(deliver(&mut desk, at(60 * minute + 32)), [], "{state:?}");
        }
        assert!(desk.approve(fingerprint, at(7000)));
        assert_eq!(deliver(&mut desk, at(7001)), [(key(2), Operation::Create)], "{state:?}");
    }
}

/// A draft is nobody's order: approved it is sent, accepted or gone it is not.
#[test]
fn proposals_wait_for_a_person() {
    let worn = Alarm { mode: Mode::Propose, ..alarm("press", "check_ring_worn") };
    let fingerprint = worn.subject.fingerprint();
    let mut desk = desk();
    desk.raised(&worn, at(0));
    desk.tick(at(30));
    assert_eq!(desk.case(fingerprint).unwrap().state, CaseState::Proposed);
    assert_eq!(deliver(&mut desk, at(9999)), []);
    let mut accepted = desk.clone();
    assert!(accepted.accept(fingerprint, at(60)) && !accepted.approve(fingerprint, at(61)));
    assert_eq!(deliver(&mut accepted, at(62)), []);
    assert!(desk.approve(fingerprint, at(60)) && !desk.approve(fingerprint, at(61)));
    assert_eq!(creates(&deliver(&mut desk, at(62))), 1);
}

/// 10,000 raw alarms of a chattering sensor, explained by a fault upstream of it.
#[test]
fn a_chattering_sensor_that_is_explained_makes_no_flood() {
    let mut desk = desk();
    let (wet, feels) = (alarm("dryer", "wet_material"), alarm("press", "viscosity_low"));
    let mut condition = Condition::new(AlarmPlan::default());
    let (mut raw, mut delivered) = (0, Vec::new());
    for second in 0..40_000 {
        if second == 10 {
            desk.raised(&wet, at(second));
        }
        if second == 39_999 {
            desk.cleared(&wet.subject, at(second));
        }
        // On for 2 s, off for 2 s: 10,000 times.
        let abnormal = second % 4 < 2;
        raw += u32::from(second % 4 == 0);
        match condition.observe(Some(abnormal), at(second)) {
            Some(Change::Raised) => desk.raised(&feels, at(second)),
            Some(Change::Cleared) => desk.cleared(&feels.subject, at(second)),
            Some(Change::Chatters) | None => {}
        }
        // Somebody acknowledges it every ten minutes, so it never just stays latched.
        if second % 600 == 599 && condition.acknowledge() == Some(Change::Cleared) {
            desk.cleared(&feels.subject, at(second));
        }
        desk.tick(at(second));
        delivered.extend(deliver(&mut desk, at(second)));
    }
    let cases = desk.told().iter().filter(|told| matches!(told, Told::Opened(_))).count();
    assert_eq!(raw, 10_000);
    assert!(cases <= 3, "{cases} cases");
    assert_eq!(creates(&delivered), 1, "{delivered:?}");
}

/// A symptom that outlasts its explanation stands for itself.
#[test]
fn what_outlasts_its_explanation_is_raised() {
    let mut desk = desk();
    let (wet, feels) = (alarm("dryer", "wet_material"), alarm("press", "viscosity_low"));
    let target = feels.subject.fingerprint();
    // The symptom may come first: the group wait finds out.
    desk.raised(&feels, at(0));
    desk.raised(&wet, at(10));
    desk.tick(at(31));
    assert!(desk.case(target).is_none());
    desk.tick(at(41));
    desk.cleared(&wet.subject, at(100));
    for second in [101, 130] {
        desk.tick(at(second));
        assert!(desk.case(target).is_none(), "{second}");
    }
    desk.tick(at(131));
    assert_eq!(desk.case(target).unwrap().state, CaseState::Waiting(at(161)));
    desk.tick(at(161));
    assert_eq!(creates(&deliver(&mut desk, at(162))), 2);
}

/// The sixth new fault of a cell within an hour, and those after it, are one case.
#[test]
fn a_storm_is_one_case() {
    let mut desk = desk();
    for fault in 0..50 {
        desk.raised(&alarm(&format!("asset-{fault}"), "tripped"), at(fault));
    }
    desk.tick(at(100));
    assert_eq!(creates(&deliver(&mut desk, at(100))), 6);
    let storm = subject("press-4", STORM).fingerprint();
    let case = desk.case(storm).unwrap();
    assert_eq!((case.active, case.occurrences), (true, 45 + 45));
    for fault in 5..50 {
        desk.cleared(&subject(&format!("asset-{fault}"), "tripped"), at(200));
    }
    assert!(!desk.case(storm).unwrap().active);
}

/// A day without the other system: everything once after it, in order.
#[test]
fn a_day_without_the_other_system() {
    let mut desk = desk();
    let mut lost = 0;
    for hour in 0..24 {
        let asset = format!("asset-{hour}");
        desk.raised(&alarm(&asset, "worn"), at(hour * 3600));
        for minute in 0..60 {
            let now = at(hour * 3600 + minute * 60);
            desk.tick(now);
            while let Some(request) = desk.take(now) {
                let Request::Send(row) = request else { panic!("nothing was ever unknown") };
                desk.sent(row.id, Sent::NotDone(now + Span::from_secs(60), "away".into()), now);
                lost += 1;
            }
        }
        desk.cleared(&subject(&asset, "worn"), at(hour * 3600 + 3599));
    }
    assert!(lost > 1000, "{lost}");
    let delivered = deliver(&mut desk, at(90_000));
    assert_eq!((creates(&delivered), delivered.len()), (24, 48));
    for (place, (key, operation)) in delivered.iter().enumerate() {
        let create = delivered.iter().position(|(k, o)| k == key && *o == Operation::Create);
        assert!(*operation == Operation::Create || create.unwrap() < place);
    }
}

/// Planned work is due again and again: that is no repair that did not help. It does not come in
/// storms, and is not lost in one.
#[test]
fn planned_work_neither_recurs_nor_storms() {
    let plan = Alarm { proof: Some(Span::ZERO), ..alarm("press", "grease") };
    let fingerprint = plan.subject.fingerprint();
    let mut desk = desk();
    for number in 0..20 {
        desk.raised(&alarm("press", &format!("fault_{number}")), at(number));
    }
    assert!(desk.cases().any(|case| case.subject.mode == STORM));
    for (generation, begin) in [(1, 100), (2, 200_000)] {
        let key = ExtKey { fingerprint, generation };
        desk.raised(&plan, at(begin));
        desk.tick(at(begin + 30));
        let case = desk.case(fingerprint).unwrap();
        assert_eq!((case.key, case.state, case.after), (key, CaseState::Ordered, None));
        deliver(&mut desk, at(begin + 31));
        desk.cleared(&plan.subject, at(begin + 60));
        desk.order_is(key, OrderState::Done, at(begin + 60), at(begin + 61));
        desk.tick(at(begin + 62));
        assert!(desk.told().contains(&Told::Closed(key, Closing::Proven)));
    }
}

/// An order that the other system refused is nobody's: a person sends it again, or accepts things as
/// they are.
#[test]
fn a_refused_request_is_no_dead_end() {
    let (mut desk, worn) = (desk(), alarm("press", "check_ring_worn"));
    let fingerprint = worn.subject.fingerprint();
    desk.raised(&worn, at(0));
    desk.tick(at(30));
    let key = desk.case(fingerprint).unwrap().key;
    assert!(!desk.accept(fingerprint, at(31)), "somebody may have it");
    let Some(Request::Send(row)) = desk.take(at(31)) else { panic!("nothing to send") };
    desk.sent(row.id, Sent::Refused("no such queue".into()), at(32));
    assert_eq!(desk.refused_create(key), Some(row.id));
    let mut again = desk.clone();
    assert!(again.retry(row.id, at(40)) && again.refused_create(key).is_none());
    assert_eq!(creates(&deliver(&mut again, at(41))), 1);
    assert!(!again.accept(fingerprint, at(42)), "somebody has it");
    assert!(desk.accept(fingerprint, at(50)) && desk.case(fingerprint).is_none());
    // What comes later is the next order, under a key of its own.
    desk.cleared(&worn.subject, at(60));
    desk.raised(&worn, at(70));
    assert_eq!(desk.case(fingerprint).unwrap().key, key.next());
}
