use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::image::fixture;
use crate::plan::{FeaturePlan, PlcId, SetpointPlan, Take};
use crate::tag::{Doubt, Fault, Quality, TagId, Value};
use crate::unit::Grid;

const PART: TagId = TagId(0);
const STATE: TagId = TagId(2);
const REGISTER: TagId = TagId(3);

fn plan(cut: Cut, warm_up: u32) -> Plan {
    let mut plan = fixture::plan();
    plan.cycle.cut = cut;
    plan.cycle.warm_up = warm_up;
    plan.features.push(FeaturePlan {
        name: String::new(),
        unit: String::new(),
        tag: TagId(1),
        take: Take::Last,
        window: None,
        lag: 0,
        coverage_min: 0.8,
        combine: None,
    });
    plan.setpoints.push(SetpointPlan {
        name: String::new(),
        unit: String::new(),
        tag: REGISTER,
        grid: Grid::new(5, 1).unwrap(),
        baseline: Ticks::new(700),
        low: Ticks::new(600),
        high: Ticks::new(800),
        trim_max: Ticks::new(50),
        step_up: Ticks::new(5),
        step_down: Ticks::new(5),
        rate: None,
        deadband: Ticks::new(1),
        dwell: Span::ZERO,
        budget: None,
        plc_low: None,
        plc_high: None,
        confirm: Span::from_secs(3),
        ttl: Span::from_secs(2),
    });
    plan
}

fn accepted(tag: TagId, value: Value, quality: Quality) -> Accepted {
    Accepted {
        tag,
        quality,
        value,
        changed: true,
        at: Process::default(),
        new_source_time: true,
        step_accepted: false,
        skewed: false,
    }
}

/// A machine whose register stands at tick 700, unless told otherwise.
struct Rig {
    plan: Plan,
    cycles: Cycles,
    ms: i64,
    ticks: Option<Ticks>,
    running: bool,
}

impl Rig {
    fn new(plan: Plan) -> Self {
        let cycles = Cycles::new(&plan);
        Self { cycles, plan, ms: 0, ticks: Some(Ticks::new(700)), running: true }
    }

    fn see(&mut self, tag: TagId, value: Value, quality: Quality) -> Option<i64> {
        self.ms += 1_000;
        let process = Process::from_millis(self.ms);
        let ended = self.cycles.cut(&self.plan, Some(&accepted(tag, value, quality)), process)?;
        let features = [FeatureValue { value: Some(ended as f64), coverage: 1.0 }];
        self.cycles.store(&self.plan, ended, process, &features, &[self.ticks], self.running);
        Some(ended)
    }

    fn id(&mut self, id: i64) -> Option<i64> {
        self.see(PART, Value::Int(id), Quality::Good)
    }

    /// Flags of the newest part: warm-up, mixed, gap, stopped.
    fn flags(&self) -> [bool; 4] {
        let flags = self.cycles.newest().unwrap().flags;
        assert_eq!(
            flags.clean(),
            ![flags.warm_up, flags.mixed, flags.gap, flags.stopped].contains(&true)
        );
        [flags.warm_up, flags.mixed, flags.gap, flags.stopped]
    }
}

const CLEAN: [bool; 4] = [false; 4];
const GAP: [bool; 4] = [false, false, true, false];

/// Edges: the first id is the reference, repeats and ids that are not Good are none, and the id
/// given is the new one for Finished, the old one for Started.
#[test]
fn edges_end_parts() {
    let good = Quality::Good;
    let bad = Quality::Bad(Fault::Server);
    let suspect = Quality::Suspect(Doubt::Skew);
    let rows = [
        (Value::Int(7), good, None),
        (Value::Int(7), good, None),
        (Value::Int(8), good, Some((8, 7))),
        (Value::Int(9), bad, None),
        (Value::Int(9), suspect, None),
        (Value::Int(9), Quality::Uncertain, None),
        (Value::Float(8.5), good, None),
        (Value::Int(8), good, None),
        (Value::Int(9), good, Some((9, 8))),
        (Value::Float(10.0), good, Some((10, 9))),
        (Value::Int(3), good, Some((3, 10))),
    ];
    let mut finished = Rig::new(plan(Cut::Finished(PART), 0));
    let mut started = Rig::new(plan(Cut::Started(PART), 0));
    for (i, (value, quality, expect)) in rows.into_iter().enumerate() {
        assert_eq!(finished.see(PART, value, quality), expect.map(|e| e.0), "row {i}");
        assert_eq!(started.see(PART, value, quality), expect.map(|e| e.1), "row {i}");
    }
    assert_eq!(finished.see(TagId(1), Value::Int(99), good), None);
}

/// Gap: the first part (its begin was not seen), an id that jumped, an unreadable id, a lost link;
/// a lost link also makes the next id a reference only.
#[test]
fn gaps_are_flagged() {
    let mut rig = Rig::new(plan(Cut::Finished(PART), 0));
    assert!(rig.cycles.newest().is_none() && rig.cycles.find(1).is_none());
    rig.id(1);
    rig.id(2);
    // No read-back was known when the first part began, so it is mixed too.
    assert_eq!(rig.flags(), [false, true, true, false]);
    rig.id(3);
    assert_eq!(rig.flags(), CLEAN);
    rig.id(5);
    assert_eq!(rig.flags(), GAP);
    rig.see(PART, Value::Int(0), Quality::Bad(Fault::Server));
    rig.id(6);
    assert_eq!(rig.flags(), GAP);
    rig.id(7);
    assert_eq!(rig.flags(), CLEAN);
    rig.cycles.link_lost(&rig.plan, PlcId::LEAD);
    assert_eq!(rig.id(12), None);
    let began = rig.ms;
    assert_eq!(rig.id(13), Some(13));
    assert_eq!(rig.flags(), [false, true, true, false]);
    let part = rig.cycles.find(13).unwrap();
    assert_eq!(part.began, Process::from_millis(began));
    assert_eq!(part.setpoints, [None]);
    rig.id(14);
    assert_eq!(rig.flags(), CLEAN);
    assert_eq!(rig.cycles.newest().unwrap().setpoints, [Some(Ticks::new(700))]);
}

/// The loss of another PLC is a gap only where it gives something of the part; it never takes the
/// reference id.
#[test]
fn another_plc_is_a_gap_where_it_has_a_part() {
    const ELSEWHERE: PlcId = PlcId(1);
    // Which tag lives on the other PLC, and the flags of the part in which it was lost.
    let rows = [
        (TagId(2), CLEAN),
        (TagId(1), GAP),
        // Its setpoint is not known for the whole part.
        (REGISTER, [false, true, false, false]),
    ];
    for (tag, flags) in rows {
        let mut plan = plan(Cut::Finished(PART), 0);
        plan.links.push(plan.links[0].clone());
        plan.tags[tag.index()].plc = ELSEWHERE;
        let mut rig = Rig::new(plan);
        for id in 1..=3 {
            rig.id(id);
        }
        assert_eq!(rig.flags(), CLEAN);
        rig.cycles.link_lost(&rig.plan, ELSEWHERE);
        assert_eq!(rig.id(4), Some(4), "the reference stands");
        assert_eq!(rig.flags(), flags, "{tag:?}");
        rig.id(5);
        assert_eq!(rig.flags(), CLEAN);
    }
}

/// Mixed: begin and end differ, or the register was seen elsewhere in between; the part after is
/// clean with the new tick.
#[test]
fn moved_setpoints_make_mixed_parts() {
    let mut rig = Rig::new(plan(Cut::Started(PART), 0));
    let mixed = [false, true, false, false];
    for id in 1..=3 {
        rig.id(id);
    }
    assert_eq!(rig.flags(), CLEAN);
    rig.ticks = Some(Ticks::new(702));
    rig.id(4);
    assert_eq!(rig.flags(), mixed);
    assert_eq!(rig.cycles.find(3).unwrap().setpoints, [None]);
    rig.id(5);
    assert_eq!(rig.flags(), CLEAN);
    assert_eq!(rig.cycles.find(4).unwrap().setpoints, [Some(Ticks::new(702))]);
    // There and back; a REAL's rounding is no move. One tick is 0.5.
    rig.see(REGISTER, Value::Float(351.000_01), Quality::Good);
    rig.id(6);
    assert_eq!(rig.flags(), CLEAN);
    rig.see(REGISTER, Value::Float(351.5), Quality::Good);
    rig.see(REGISTER, Value::Float(351.0), Quality::Good);
    rig.id(7);
    assert_eq!(rig.flags(), mixed);
    rig.id(8);
    assert_eq!(rig.flags(), CLEAN);
    // Never readable: nothing is known, nothing is said to have moved.
    rig.ticks = None;
    rig.id(9);
    assert_eq!(rig.flags(), mixed);
    rig.id(10);
    assert_eq!(rig.flags(), CLEAN);
    assert_eq!(rig.cycles.newest().unwrap().setpoints, [None]);
}

/// Warm-up counts parts after the start, after a stop and after a disturbance; a stop anywhere in
/// a part flags it, and the next until the machine runs at its cut.
#[test]
fn warm_up_follows_start_stop_and_disturbance() {
    let mut plan = plan(Cut::Finished(PART), 2);
    plan.cycle.running = Some((STATE, 6));
    let mut rig = Rig::new(plan);
    let mut warm = Vec::new();
    for id in 1..=5 {
        rig.id(id);
        warm.extend(rig.cycles.newest().map(|p| p.flags.warm_up));
    }
    assert_eq!(warm, [true, true, false, false]);
    rig.see(STATE, Value::Int(9), Quality::Good);
    rig.see(STATE, Value::Int(6), Quality::Good);
    rig.id(6);
    assert_eq!(rig.flags(), [true, false, true, true]);
    for (id, expect) in [(7, true), (8, true), (9, false)] {
        rig.id(id);
        assert_eq!(rig.flags(), [expect, false, false, false], "{id}");
    }
    rig.running = false;
    rig.id(10);
    assert_eq!(rig.flags(), [true, false, true, true]);
    rig.running = true;
    rig.id(11);
    assert_eq!(rig.flags(), [true, false, true, true]);
    for id in 12..=14 {
        rig.id(id);
    }
    assert_eq!(rig.flags(), CLEAN);
    rig.cycles.disturb();
    rig.id(15);
    assert_eq!(rig.flags(), [true, false, false, false]);
}

/// Time cuts stay on their grid, count from 1, and a leap over several is one part with a gap.
#[test]
fn time_cuts_stay_on_their_grid() {
    let mut rig = Rig::new(plan(Cut::Every(Span::from_secs(10)), 0));
    let rows = [
        (500, None),
        (10_400, None),
        (10_600, Some((1, false))),
        (10_700, None),
        (20_500, Some((2, false))),
        (55_000, Some((3, true))),
        (60_499, None),
        (60_500, Some((4, false))),
    ];
    for (ms, expect) in rows {
        let process = Process::from_millis(ms);
        let cut = rig.cycles.cut(&rig.plan, None, process);
        assert_eq!(cut, expect.map(|e| e.0), "{ms}");
        if let Some((id, gap)) = expect {
            rig.cycles.store(&rig.plan, id, process, &[], &[rig.ticks], true);
            let part = rig.cycles.find(id).unwrap();
            assert_eq!((part.flags.gap, part.ended), (gap, process));
            assert_eq!(part.features, [FeatureValue::UNKNOWN]);
        }
    }
    let mut never = Cycles::new(&rig.plan);
    rig.plan.cycle.cut = Cut::Every(Span::ZERO);
    assert_eq!(never.cut(&rig.plan, None, Process::from_millis(1)), None);
}

/// The ring keeps the last parts, the newest of an id wins, and no memory is taken after `new`.
#[test]
fn the_ring_keeps_the_last_parts() {
    let mut rig = Rig::new(plan(Cut::Finished(PART), 0));
    let room = rig.cycles.parts.capacity();
    let keep = i64::try_from(PARTS_MAX).unwrap();
    for id in 0..=3 * keep + 7 {
        rig.id(id);
        let oldest = (id - keep + 1).max(1);
        for known in [id, oldest, oldest + (id - oldest) / 2] {
            if id >= 1 {
                let part = rig.cycles.find(known).unwrap();
                assert_eq!(part.number, u64::try_from(known).unwrap());
                assert_eq!(part.features[0].value, Some(known as f64));
            }
        }
        assert!(rig.cycles.find(oldest - 1).is_none());
    }
    assert_eq!(rig.cycles.parts.capacity(), room);
    let newest = rig.cycles.newest().unwrap().number;
    rig.id(5);
    rig.id(6);
    rig.id(5);
    assert_eq!(rig.cycles.find(5).unwrap().number, newest + 3);
}

proptest! {
    /// `find` returns what was stored, newest first, whatever the ids; numbers count up by one and
    /// parts follow each other in time.
    #[test]
    fn find_returns_what_was_stored(
        ids in proptest::collection::vec((-20_i64..20, 0_u8..20), 1..900),
    ) {
        let mut rig = Rig::new(plan(Cut::Finished(PART), 1));
        let mut stored: Vec<i64> = Vec::new();
        for (id, what) in ids {
            match what {
                0 => rig.cycles.link_lost(&rig.plan, PlcId::LEAD),
                1 => rig.cycles.disturb(),
                _ => {}
            }
            let before = rig.cycles.newest().map_or(Process::default(), |p| p.ended);
            if let Some(ended) = rig.id(id) {
                stored.push(ended);
                let newest = rig.cycles.newest().unwrap();
                prop_assert_eq!(newest.id, ended);
                prop_assert_eq!(newest.number, stored.len() as u64);
                prop_assert!(before <= newest.began && newest.began <= newest.ended);
            }
        }
        for id in -20..20 {
            let from = stored.len().saturating_sub(PARTS_MAX);
            let want = stored.iter().skip(from).rposition(|s| *s == id).map(|i| i + from + 1);
            let got = rig.cycles.find(id);
            prop_assert_eq!(got.map(|p| p.number), want.map(|n| n as u64));
            if let Some(part) = got {
                prop_assert_eq!(part.features[0].value, Some(id as f64));
            }
        }
    }
}
