//! Alarms by hand: each line is a time [s], what happens, and the state and change after it.

#![allow(clippy::unwrap_used, clippy::panic)]

use trimloop_core::time::{Span, Utc};
use trimloop_work::alarm::{Alarm, AlarmPlan, AlarmState, Change};

use AlarmState::{
    Acked, Latched, Normal, OutOfService, ReturnedUnacked, Shelved, Suppressed, Unacked,
};
use Change::{Chatters, Cleared, Raised};
use Do::{Ack, Good, Out, Shelve, Suppress, Tick, Unknown, Unshelve};

#[derive(Clone, Copy, Debug)]
enum Do {
    Good(bool),
    Unknown,
    Tick,
    Ack,
    Shelve(i64),
    Unshelve,
    Suppress(bool),
    Out(bool),
}

fn at(seconds: i64) -> Utc {
    Utc::from_millis(1_795_341_600_000 + 1000 * seconds)
}

fn plays(name: &str, plan: AlarmPlan, lines: &[(i64, Do, AlarmState, Option<Change>)]) {
    let mut alarm = Alarm::new(plan);
    for (seconds, act, state, change) in lines {
        let at = at(*seconds);
        let found = match act {
            Good(abnormal) => alarm.observe(Some(*abnormal), at),
            Unknown => alarm.observe(None, at),
            Tick => alarm.tick(at),
            Ack => alarm.acknowledge(),
            Shelve(until) => {
                alarm.shelve(self::at(*until));
                None
            }
            Unshelve => alarm.unshelve(),
            Suppress(on) => alarm.suppress(*on),
            Out(on) => alarm.take_out_of_service(*on),
        };
        assert_eq!((alarm.state(), found), (*state, *change), "{name}, {seconds} s, {act:?}");
    }
}

#[test]
fn states_follow_the_condition_and_people() {
    let plain = AlarmPlan::default();
    plays(
        "seen in time",
        plain.clone(),
        &[
            (0, Good(false), Normal, None),
            (1, Good(true), Unacked, Some(Raised)),
            (2, Good(true), Unacked, None),
            (3, Ack, Acked, None),
            (4, Good(false), Normal, Some(Cleared)),
        ],
    );
    plays(
        "gone before anybody knew",
        plain.clone(),
        &[
            (0, Good(true), Unacked, Some(Raised)),
            (1, Good(false), ReturnedUnacked, Some(Cleared)),
            (2, Ack, Normal, None),
        ],
    );
    let delays =
        AlarmPlan { on_delay: Span::from_secs(10), off_delay: Span::from_secs(5), ..plain.clone() };
    plays(
        "delays",
        delays.clone(),
        &[
            (0, Good(true), Normal, None),
            (9, Good(true), Normal, None),
            (10, Tick, Unacked, Some(Raised)),
            (11, Good(false), Unacked, None),
            (13, Good(true), Unacked, None),
            (20, Good(false), Unacked, None),
            (24, Tick, Unacked, None),
            (25, Tick, ReturnedUnacked, Some(Cleared)),
        ],
    );
    plays(
        "what is unknown starts a delay anew",
        delays,
        &[
            (0, Good(true), Normal, None),
            (8, Unknown, Normal, None),
            (20, Tick, Normal, None),
            (21, Good(true), Normal, None),
            (30, Tick, Normal, None),
            (31, Tick, Unacked, Some(Raised)),
            (32, Good(false), Unacked, None),
            (33, Unknown, Unacked, None),
            (99, Tick, Unacked, None),
        ],
    );
    let latch = AlarmPlan { latches: true, ..plain.clone() };
    plays(
        "latch",
        latch,
        &[
            (0, Good(true), Unacked, Some(Raised)),
            (1, Good(false), Latched, None),
            (2, Good(true), Unacked, None),
            (3, Good(false), Latched, None),
            (4, Ack, Normal, Some(Cleared)),
        ],
    );
    plays(
        "chatter is told once, and waits for a person",
        plain,
        &[
            (0, Good(true), Unacked, Some(Raised)),
            (1, Good(false), ReturnedUnacked, Some(Cleared)),
            (2, Good(true), Unacked, Some(Raised)),
            (3, Good(false), ReturnedUnacked, Some(Cleared)),
            (4, Good(true), Unacked, Some(Raised)),
            (5, Good(false), Latched, Some(Chatters)),
            (6, Good(true), Unacked, None),
            (7, Good(false), Latched, None),
            (8, Ack, Normal, Some(Cleared)),
            (90, Good(true), Unacked, Some(Raised)),
            (91, Good(false), ReturnedUnacked, Some(Cleared)),
        ],
    );
}

#[test]
fn silence_by_people_and_by_design() {
    plays(
        "shelved until a time",
        AlarmPlan::default(),
        &[
            (0, Shelve(100), Shelved, None),
            (1, Good(true), Shelved, None),
            (50, Tick, Shelved, None),
            (100, Tick, Unacked, Some(Raised)),
        ],
    );
    plays(
        "shelved, then taken back",
        AlarmPlan::default(),
        &[
            (0, Good(true), Unacked, Some(Raised)),
            (1, Shelve(100), Shelved, None),
            (2, Good(false), Shelved, Some(Cleared)),
            (3, Good(true), Shelved, None),
            (4, Unshelve, Unacked, Some(Raised)),
        ],
    );
    plays(
        "suppressed while stopped",
        AlarmPlan::default(),
        &[
            (0, Suppress(true), Suppressed, None),
            (1, Good(true), Suppressed, None),
            (2, Suppress(false), Unacked, Some(Raised)),
        ],
    );
    plays(
        "out of service goes first",
        AlarmPlan::default(),
        &[
            (0, Out(true), OutOfService, None),
            (1, Good(true), OutOfService, None),
            (2, Suppress(true), OutOfService, None),
            (3, Out(false), Suppressed, None),
            (4, Good(false), Suppressed, None),
            (5, Suppress(false), ReturnedUnacked, None),
        ],
    );
}
