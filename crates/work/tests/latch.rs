//! Alarms that stay on until a person acknowledges them, and the repairs of what they are about.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use trimloop_core::time::{Span, Utc};
use trimloop_work::alarm::{AlarmPlan, AlarmState};
use trimloop_work::desk::{CaseState, DeskPlan, Mode, OrderState};
use trimloop_work::key::{Fingerprint, Subject};
use trimloop_work::outbox::{Request, Sent, Terms};
use trimloop_work::watch::{Says, Seen, Trigger, Watched};
use trimloop_work::works::Works;

fn at(seconds: i64) -> Utc {
    Utc::from_millis(1_795_341_600_000 + 1000 * seconds)
}

struct Rig {
    works: Works,
    of: Fingerprint,
}

impl Rig {
    fn new(alarm: AlarmPlan) -> Self {
        let subject = Subject {
            site: "north".into(),
            cell: "cell-1".into(),
            asset: "press-4".into(),
            mode: "short".into(),
            component: String::new(),
        };
        let of = subject.fingerprint();
        let watched = Watched {
            subject,
            trigger: Trigger::Signature("short".into()),
            alarm,
            priority: 2,
            order: Mode::Auto,
            proof: Some(Span::from_secs(1800)),
        };
        let plan = DeskPlan::default();
        let works = Works::new(vec![watched], BTreeMap::new(), plan, Terms::default());
        Self { works, of }
    }

    fn says(&mut self, second: i64, word: &str) {
        let says = Says::Event("signature", "short", word);
        self.works.take(&Seen { boot: 1, at: at(second), part: 1, says }, "");
        self.tick(second);
    }

    /// Lets time pass; the other system takes what it is told.
    fn tick(&mut self, second: i64) {
        self.works.tick(at(second));
        while let Some(Request::Send(row)) = self.works.desk.take(at(second)) {
            self.works.desk.sent(row.id, Sent::Delivered, at(second));
        }
    }

    fn state(&mut self) -> AlarmState {
        self.works.watch.alarm(self.of).unwrap().state()
    }

    fn case(&self) -> Option<CaseState> {
        self.works.desk.case(self.of).map(|case| case.state)
    }

    fn done(&mut self, second: i64) {
        let key = self.works.desk.case(self.of).unwrap().key;
        self.works.desk.order_is(key, OrderState::Done, at(second), at(second));
        self.tick(second);
    }
}

fn chatters() -> AlarmPlan {
    AlarmPlan { on_delay: Span::ZERO, off_delay: Span::ZERO, ..AlarmPlan::default() }
}

/// Three returns within a minute: it stays on. Who acknowledges it while it is there has done so:
/// it ends with its condition.
#[test]
fn chatter_that_is_known_ends_with_its_condition() {
    let mut rig = Rig::new(chatters());
    for second in 0..3 {
        rig.says(4 * second, "on");
        rig.says(4 * second + 2, "off");
    }
    assert_eq!(rig.state(), AlarmState::Latched);
    rig.says(20, "on");
    assert_eq!(rig.state(), AlarmState::Unacked);
    assert!(rig.works.acknowledge(rig.of, at(30)));
    assert_eq!(rig.state(), AlarmState::Acked);
    rig.says(60, "off");
    assert_eq!(rig.state(), AlarmState::Normal);
}

/// Nobody acknowledged the alarm, of either kind of latch: the repair is judged by the condition.
#[test]
fn a_repair_is_proven_by_the_condition() {
    for (latches, returns) in [(true, 1), (false, 3)] {
        let mut rig = Rig::new(AlarmPlan { latches, ..chatters() });
        for number in 0..returns {
            rig.says(4 * number, "on");
            rig.says(4 * number + 2, "off");
        }
        rig.says(20, "on");
        rig.tick(60);
        assert_eq!(rig.case(), Some(CaseState::Ordered), "latches {latches}");
        rig.says(100, "off");
        assert_eq!(rig.state(), AlarmState::Latched);
        rig.done(200);
        let proving = CaseState::Verifying { done: at(200), normal: Some(at(200)) };
        assert_eq!(rig.case(), Some(proving), "latches {latches}");
        // It comes once while the press starts again: the proof begins anew.
        rig.says(300, "on");
        rig.says(330, "off");
        let proving = CaseState::Verifying { done: at(200), normal: Some(at(330)) };
        assert_eq!(rig.case(), Some(proving), "latches {latches}");
        rig.tick(330 + 1799);
        assert!(rig.case().is_some());
        rig.tick(330 + 1800);
        assert_eq!(rig.case(), None, "latches {latches}");
        assert_eq!(rig.state(), AlarmState::Latched, "people still have to know");
    }
}

/// What is not repaired is not proven by a latch either.
#[test]
fn a_condition_that_stays_is_not_repaired() {
    let mut rig = Rig::new(AlarmPlan { latches: true, ..chatters() });
    rig.says(0, "on");
    rig.tick(60);
    rig.done(200);
    for minute in 4..300 {
        rig.tick(60 * minute);
    }
    let case = rig.works.desk.case(rig.of).unwrap();
    assert_eq!((case.key.generation, case.after.unwrap().generation), (2, 1));
}
