//! Signatures held against labels, by hand: the shipped recipe wants 19.42 g within 0.084 g.

use std::path::Path;

use trimloop_recipe::Project;

use super::*;

const SECOND: i64 = 1_000_000_000;
const GOOD: f64 = 19.42;
const BAD: f64 = 19.30;

fn plan() -> Plan {
    let project = Project::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    project.bind(project.recipe("housing-lid").unwrap()).unwrap().plan
}

/// Labels of every fifth part of 10 s, each told 100 s after its part.
fn labels(values: &[f64]) -> Vec<LabelSeen> {
    (1..)
        .map(|n| 5 * n)
        .zip(values)
        .map(|(part, value)| LabelSeen {
            ts: (part * 10 + 100) * SECOND,
            id: 1000 + part,
            part_ts: part * 10 * SECOND,
            part,
            characteristic: 0,
            value: *value,
        })
        .collect()
}

/// One signature: on at these parts, off at those.
fn switched(parts: &[(i64, bool)]) -> Vec<Alarm> {
    let switches: Vec<Switch> = parts
        .iter()
        .map(|(part, on)| Switch { ts: part * 10 * SECOND, part: *part, signature: 0, on: *on })
        .collect();
    alarms(&switches, 0, &[false])
}

fn found(labels: &[LabelSeen], alarms: &[Alarm]) -> Findings {
    findings(&plan(), &["stiff_melt".to_owned()], alarms, labels)
}

/// Early, in time, late, missed: by when the signature came on.
#[test]
fn detections_are_told_by_when_they_came() {
    // Parts 5, 10, 15, 20, 25: bad are 15 and 20; the label of 15 comes with part 25.
    let labels = labels(&[GOOD, GOOD, BAD, BAD, GOOD]);
    for (on, off, word, parts, seconds) in [
        (12, 30, "early", Some(3), Some(130.0)),
        (2, 30, "early", Some(13), Some(230.0)),
        (11, 13, "early", Some(4), Some(140.0)),
        (16, 30, "in_time", Some(-1), Some(90.0)),
        (25, 30, "missed", None, None),
        (3, 11, "missed", None, None),
    ] {
        let found = found(&labels, &switched(&[(on, true), (off, false)]));
        let defect = &found.list[0];
        assert_eq!(found.defects, 1);
        assert_eq!((defect.detected, defect.bad, defect.part), (word, 2, 1015), "{on} to {off}");
        assert_eq!((defect.parts_before, defect.label_seconds_before), (parts, seconds), "{on}");
        assert_eq!(found.detected, u64::from(parts.is_some()), "{on}");
        assert_eq!(found.early, u64::from(word == "early"), "{on}");
    }
    let long = self::labels(&[GOOD, BAD, BAD, BAD, BAD, BAD, BAD, GOOD]);
    let late = found(&long, &switched(&[(30, true)]));
    assert_eq!((late.list[0].detected, late.late, late.detected), ("late", 1, 0));
}

/// False is an alarm with good parts only up to the next measured one; unjudged, with none.
#[test]
fn false_alarms_are_those_with_good_parts_only() {
    let labels = labels(&[GOOD, GOOD, BAD, GOOD, GOOD]);
    for (on, off, expected) in [
        (2, 3, [0, 1, 0]),
        (22, 24, [0, 1, 0]),
        (26, 28, [0, 0, 1]),
        (11, 12, [1, 0, 0]),
        // It ends before the last good label, so the bad part after it is not its own.
        (7, 9, [0, 1, 0]),
    ] {
        let found = found(&labels, &switched(&[(on, true), (off, false)]));
        let of = &found.signatures[0];
        let seen = [of.true_alarms, of.false_alarms, of.unjudged];
        assert_eq!((of.alarms, seen), (1, expected), "{on} to {off}");
        assert_eq!(found.false_per_1000_good, Some(250.0 * expected[1] as f64));
    }
}

/// Without labels nothing is said, and why.
#[test]
fn without_labels_nothing_is_said() {
    let alarms = switched(&[(3, true), (5, false)]);
    let silent = found(&[], &alarms);
    assert!(silent.no_labels_because.contains("no label found its part"), "{silent:?}");
    assert_eq!((silent.alarms, silent.false_alarms), (1, 0));
    assert_eq!((silent.false_per_1000_good, silent.signatures[0].unjudged), (None, 1));
    let mut plan = plan();
    plan.characteristics.clear();
    let none = findings(&plan, &[], &[], &[]);
    assert!(none.no_labels_because.contains("has no label"));
}

/// What is on at the begin is an alarm from there; one that stays on has no end.
#[test]
fn alarms_begin_and_end_with_the_range() {
    let off = Switch { ts: 50, part: 5, signature: 0, on: false };
    let on = Switch { ts: 70, part: 7, signature: 1, on: true };
    let all = alarms(&[off, on], 10, &[true, false]);
    let ends: Vec<_> = all.iter().map(|a| (a.signature, a.from_ts, a.to_part)).collect();
    assert_eq!(ends, [(0, 10, 5), (1, 70, i64::MAX)]);
}
