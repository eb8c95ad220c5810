//! Notices of alarms and lists of work orders, over kills.

use trimloop_cmms::CloseCodes;
use trimloop_core::time::{Span, Utc};
use trimloop_orders::book::Act;
use trimloop_orders::engine::{Ask, Engine, Setup};
use trimloop_work::notify::{ChannelPlan, Delivery};

use super::{Folder, setup};

/// A notice is on disk before it leaves: after a kill the same one goes out again, and after its
/// delivery none does. The log tells what was heard, and an end is told to who heard of the begin.
#[test]
fn a_notice_outlives_a_kill() {
    let mut folder = Folder::new("notices");
    let start = Utc::from_millis(1_795_876_876_000);
    let at = |seconds| start + Span::from_secs(seconds);
    let setup = || Setup { channels: vec![ChannelPlan::new("shift", 2)], ..setup() };
    let mut engine = Engine::with_book(&folder.path, setup(), at(0)).unwrap();
    engine.round(at(0)).unwrap();
    folder.event(at(1), "signature", "short", "on");
    while engine.round(at(2)).unwrap() {}
    assert_eq!(engine.notices().unwrap(), [], "it waits for its group");
    engine.round(at(40)).unwrap();
    let first = engine.notices().unwrap();
    assert_eq!((first.len(), first[0].lines.len()), (1, 1));
    assert_eq!(first[0].lines[0].seen, "signature short on.");
    assert_eq!(engine.notices().unwrap(), [], "it is under way");
    // Killed: nobody knows whether it arrived.
    let mut engine = Engine::with_book(&folder.path, setup(), at(50)).unwrap();
    engine.round(at(50)).unwrap();
    assert_eq!(engine.notices().unwrap(), first);
    engine.noticed("shift", &first[0].id, &Delivery::Delivered);
    engine.round(at(51)).unwrap();
    let mut engine = Engine::with_book(&folder.path, setup(), at(60)).unwrap();
    engine.round(at(3600)).unwrap();
    assert_eq!(engine.notices().unwrap(), []);
    folder.event(at(3601), "signature", "short", "off");
    while engine.round(at(3602)).unwrap() {}
    engine.round(at(3640)).unwrap();
    let last = engine.notices().unwrap();
    assert_eq!((last[0].lines[0].began, last[0].lines[0].ended), (None, Some(at(3601))));
    drop(engine);
    let base = trimloop_orders::base::Base::look(&folder.path).unwrap().unwrap();
    let log = base.alarm_log(at(0), at(7200)).unwrap();
    let words: Vec<&str> = log.iter().map(|line| line.what.word()).collect();
    assert_eq!((words, log[0].name.as_str()), (vec!["raised", "cleared"], "press-4.short"));
    assert_eq!(base.alarm_log_extent().unwrap(), Some((at(1), at(3601))));
    // A channel that is gone takes what it had to tell with it.
    let mut engine = Engine::with_book(&folder.path, super::setup(), at(3700)).unwrap();
    engine.round(at(3700)).unwrap();
    assert_eq!(engine.notices().unwrap(), []);
}

/// The work orders at times of the day: one that was due while the desk was away is written once
/// after its start, is on disk before it leaves, and is not written again. It tells who works on an
/// order, what became of the repair, and nothing where there is nothing.
#[test]
fn a_digest_outlives_a_kill() {
    let mut folder = Folder::new("digest");
    // 2026-11-28 00:00 UTC.
    let at = |minutes: i64| Utc::from_millis(1_795_824_000_000 + 60_000 * minutes);
    let orders = vec![390, 870];
    let channels = vec![ChannelPlan { orders, ..ChannelPlan::new("office", 0) }];
    let setup = || Setup { channels: channels.clone(), ..setup() };
    let open = |folder: &Folder, now| Engine::with_book(&folder.path, setup(), now).unwrap();
    let mut engine = open(&folder, at(300));
    engine.round(at(300)).unwrap();
    // Nothing is open at 06:30.
    engine.round(at(391)).unwrap();
    assert_eq!(engine.notices().unwrap(), []);
    folder.event(at(392), "signature", "short", "on");
    while engine.round(at(392)).unwrap() {}
    engine.round(at(400)).unwrap();
    let key = engine.works().desk.cases().next().unwrap().key;
    let ask = |engine: &mut Engine, act, now| {
        engine.ask(&Ask::Order(key, act), "uid:7 (ben)", now).unwrap();
    };
    ask(&mut engine, Act::Assign("ben".into()), at(401));
    drop(engine);
    // Away at 14:30.
    let mut engine = open(&folder, at(930));
    engine.round(at(930)).unwrap();
    let first = engine.notices().unwrap();
    let digest = first[0].digest.clone().unwrap();
    assert_eq!((digest.since, digest.counts, digest.new), (at(391), [0, 1, 0, 0], 1));
    let line = &digest.lines[0];
    assert_eq!((line.key, line.fault.as_str(), line.state.as_str()), (key, "short", "open"));
    assert_eq!((line.assignee.as_deref(), line.is_new, line.active), (Some("ben"), true, true));
    let body = first[0].body("cell-1", |_| String::new());
    assert!(body.contains(&format!("trimloop work show {key}\n")), "{body}");
    // Killed: nobody knows whether it arrived.
    drop(engine);
    let mut engine = open(&folder, at(931));
    engine.round(at(931)).unwrap();
    assert_eq!(engine.notices().unwrap(), first);
    engine.noticed("office", &first[0].id, &Delivery::Delivered);
    engine.round(at(932)).unwrap();
    drop(engine);
    let mut engine = open(&folder, at(933));
    engine.round(at(933)).unwrap();
    assert_eq!(engine.notices().unwrap(), []);
    // Done, and it did not help: the next order is open, and the last one is told with its end.
    ask(&mut engine, Act::Done(CloseCodes::default(), Vec::new()), at(940));
    engine.round(at(941)).unwrap();
    engine.round(at(960)).unwrap();
    engine.round(at(961)).unwrap();
    drop(engine);
    let mut engine = open(&folder, at(1440 + 390));
    engine.round(at(1440 + 390)).unwrap();
    let next = engine.notices().unwrap();
    let digest = next[0].digest.clone().unwrap();
    assert_eq!((digest.since, digest.counts, digest.new), (at(930), [0, 1, 0, 1], 1));
    let told = |place: usize| (digest.lines[place].key, digest.lines[place].state.as_str());
    assert_eq!(told(1), (key, "ineffective"));
    assert_eq!((told(0).0, digest.lines[0].after), (key.next(), Some(key)));
    assert_ne!(next[0].id, first[0].id);
}
