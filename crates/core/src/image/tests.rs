use alloc::vec::Vec;

use proptest::prelude::*;

use super::fixture::plan;
use super::*;
use crate::plan::PlcId;

const A: TagId = TagId(1);
const GOOD: Status = Status::Good;

fn now(ms: i64) -> Now {
    Now { mono: Mono::from_millis(ms), utc: Utc::from_millis(1_000_000 + ms) }
}

/// A Good sample of tag 1 without stamps.
fn sample(ms: i64, value: f64) -> Sample {
    Sample {
        tag: A,
        value: Some(Value::Float(value)),
        status: GOOD,
        source_time: None,
        server_time: None,
        received: Mono::from_millis(ms),
    }
}

/// An image with the clock it goes by; one scan per call of `at`.
struct Rig {
    plan: Plan,
    clock: ProcessClock,
    image: Image,
}

impl Rig {
    fn new(change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = plan();
        change(&mut plan);
        Self { clock: ProcessClock::new(&plan.links[0]), image: Image::new(&plan), plan }
    }

    fn at(&mut self, ms: i64) -> &mut Self {
        self.scan(ms, None, Some(Mono::from_millis(ms)))
    }

    fn scan(&mut self, ms: i64, clock: Option<i64>, life: Option<Mono>) -> &mut Self {
        self.clock.begin(now(ms));
        if let Some(value) = clock {
            self.clock.on_clock(value);
        }
        self.image.begin(now(ms), [(&self.clock, life)]);
        self
    }

    fn accept(&mut self, sample: &Sample) -> Accepted {
        self.image.accept(&self.plan, sample, true)
    }

    fn quality(&self) -> Quality {
        self.image.quality(&self.plan, A)
    }
}

fn word(quality: Quality) -> &'static str {
    quality.word()
}

/// Status, number, range and Uncertain are judged in the order of the module's table.
#[test]
fn single_samples_are_judged() {
    let uncertain = Status::Uncertain(0x4000_0000);
    let bad = Status::Bad(0x8000_0000);
    let float = |x| Some(Value::Float(x));
    let rows = [
        (float(5.0), GOOD, false, "good"),
        (float(0.0), GOOD, false, "good"),
        (float(10.0), GOOD, false, "good"),
        (float(10.1), GOOD, false, "bad_range"),
        (float(-0.1), uncertain, false, "bad_range"),
        (float(f64::NAN), GOOD, false, "bad_not_a_number"),
        (float(f64::INFINITY), uncertain, true, "bad_not_a_number"),
        (None, GOOD, false, "bad_not_a_number"),
        (None, bad, false, "bad_server"),
        (float(5.0), bad, true, "bad_server"),
        (float(5.0), uncertain, false, "uncertain"),
        (float(5.0), uncertain, true, "good"),
        (Some(Value::Int(11)), GOOD, false, "bad_range"),
        (Some(Value::Bool(true)), GOOD, false, "good"),
    ];
    for (value, status, accept_uncertain, expect) in rows {
        let mut rig = Rig::new(|plan| {
            plan.tags[1].range = Some((0.0, 10.0));
            plan.tags[1].accept_uncertain = accept_uncertain;
        });
        let sample = Sample { value, status, ..sample(0, 0.0) };
        let accepted = rig.at(0).accept(&sample);
        assert_eq!(word(accepted.quality), expect, "{value:?} {status:?}");
        assert_eq!(word(rig.quality()), expect);
        assert_eq!(rig.image.good(&rig.plan, A).is_some(), expect == "good");
    }
}

/// A change is told against the last value that meant something.
#[test]
fn changes_are_told() {
    let mut rig = Rig::new(|_| ());
    let bad = Status::Bad(1);
    let rows = [
        (7.0, GOOD, true),
        (7.0, GOOD, false),
        (8.0, GOOD, true),
        (0.0, bad, false),
        (8.0, GOOD, false),
        (f64::NAN, GOOD, false),
        (8.0, GOOD, false),
        (9.0, GOOD, true),
    ];
    for (i, (x, status, expect)) in (0..).zip(rows) {
        let accepted = rig.at(i).accept(&Sample { status, ..sample(i, x) });
        assert_eq!(accepted.changed, expect, "sample {i}");
    }
    rig.image.forget(&rig.plan, PlcId::LEAD);
    assert!(rig.at(100).accept(&sample(100, 9.0)).changed);
}

/// Rate is per process time, three agreeing samples are a step, and with the spike check on, the
/// step is the new level at once.
#[test]
fn a_step_is_accepted_by_rate_and_spike() {
    let mut rig = Rig::new(|plan| {
        plan.tags[1].rate_max = Some(1.0);
        plan.tags[1].resolution = 0.1;
        plan.tags[1].spike = true;
    });
    let mut words = Vec::new();
    for i in 0..12 {
        let x = if i < 8 { 5.0 } else { 50.0 };
        let accepted = rig.at(i * 1000).accept(&sample(i * 1000, x));
        words.push((word(accepted.quality), accepted.step_accepted));
    }
    let rate = ("suspect_rate", false);
    assert_eq!(words[7..], [("good", false), rate, rate, ("good", true), ("good", false)]);
}

/// Samples of one batch are told apart by their stamps, not taken for an infinite rate.
#[test]
fn rate_uses_source_stamps() {
    let mut rig = Rig::new(|plan| plan.tags[1].rate_max = Some(10.0));
    rig.at(0).accept(&sample(0, 0.0));
    rig.at(1000);
    let mut at = Vec::new();
    for (source, x, expect) in [(100, 1.0, "good"), (600, 5.9, "good"), (700, 9.0, "suspect_rate")]
    {
        let stamp = Some(Utc::from_millis(1_000_000 + source));
        let accepted = rig.accept(&Sample { source_time: stamp, ..sample(1000, x) });
        assert_eq!(word(accepted.quality), expect, "{source}");
        at.push(accepted.at);
    }
    assert_eq!(at, [100, 600, 700].map(Process::from_millis));
}

/// What was too fast, or a spike, and then stands without a sound is believed in the end.
#[test]
fn a_quiet_step_is_believed() {
    let mut rig = Rig::new(|plan| plan.tags[1].rate_max = Some(1.0));
    rig.at(0).accept(&sample(0, 0.0));
    assert_eq!(word(rig.at(1000).accept(&sample(1000, 5.0)).quality), "suspect_rate");
    assert_eq!(
        word({
            rig.at(4_000);
            rig.quality()
        }),
        "suspect_rate"
    );
    assert_eq!(
        word({
            rig.at(5_000);
            rig.quality()
        }),
        "good"
    );

    let mut rig = Rig::new(|plan| {
        plan.tags[1].spike = true;
        plan.tags[1].resolution = 1.0;
    });
    for i in 0..7 {
        rig.at(i * 100).accept(&sample(i * 100, 5.0));
    }
    assert_eq!(word(rig.at(700).accept(&sample(700, 50.0)).quality), "suspect_spike");
    assert_eq!(
        word({
            rig.at(1_000);
            rig.quality()
        }),
        "suspect_spike"
    );
    assert_eq!(
        word({
            rig.at(1_001);
            rig.quality()
        }),
        "good"
    );
}

/// Frozen counts unchanged samples while the machine runs; a stop neither counts nor heals.
#[test]
fn frozen_counts_samples_while_running() {
    let mut rig = Rig::new(|plan| plan.tags[1].frozen_after = 3);
    let rows = [
        (5.0, true, "good"),
        (5.0, true, "good"),
        (5.0, false, "good"),
        (5.0, false, "good"),
        (5.0, true, "good"),
        (5.0, true, "suspect_frozen"),
        (5.0, false, "suspect_frozen"),
        (5.1, true, "good"),
        (5.1, true, "good"),
    ];
    for (i, (x, running, expect)) in (0..).zip(rows) {
        rig.at(i);
        let accepted = rig.image.accept(&rig.plan, &sample(i, x), running);
        assert_eq!(word(accepted.quality), expect, "sample {i}");
    }
    let mut rig = Rig::new(|_| ());
    for i in 0..1000 {
        assert!(rig.at(i).accept(&sample(i, 5.0)).quality.is_good());
    }
}

/// Missing until received; Stale when the link is silent or the tag's own sample too old; a
/// keep-alive is life enough for a steady tag; a lost link makes all Missing.
#[test]
fn age_is_judged_when_read() {
    let mut rig = Rig::new(|plan| plan.tags[2].stale_after = Some(Span::from_secs(5)));
    let read = |rig: &Rig, tag| word(rig.image.quality(&rig.plan, TagId(tag)));
    let life = |ms| Some(Mono::from_millis(ms));
    rig.at(0);
    assert_eq!(read(&rig, 1), "missing");
    assert!(rig.image.reading(&rig.plan, A).value.as_f64().is_nan());
    for tag in [1, 2] {
        rig.accept(&Sample { tag: TagId(tag), ..sample(0, 1.0) });
    }
    // Scan, life, tag 1, tag 2 (limit 5 s); link limit 2 s.
    let rows = [
        (2_000, life(0), "good", "good"),
        (2_001, life(0), "stale", "stale"),
        (2_001, None, "stale", "stale"),
        (5_000, life(4_000), "good", "good"),
        (5_001, life(4_000), "good", "stale"),
        (60_000, life(59_000), "good", "stale"),
    ];
    for (ms, life, one, two) in rows {
        rig.scan(ms, None, life);
        assert_eq!((read(&rig, 1), read(&rig, 2)), (one, two), "at {ms}");
    }
    rig.image.forget(&rig.plan, PlcId::LEAD);
    rig.at(60_001);
    assert_eq!((read(&rig, 1), read(&rig, 2)), ("missing", "missing"));
    assert_eq!(read(&rig, 999), "missing");
    let stranger = rig.accept(&Sample { tag: TagId(999), ..sample(0, 1.0) });
    assert_eq!(stranger.quality, Quality::Missing);
}

/// After a lost link the checks start anew: no rate, spike or frozen verdict from before.
#[test]
fn forget_keeps_filters_clean() {
    let mut rig = Rig::new(|plan| {
        plan.tags[1].rate_max = Some(0.1);
        plan.tags[1].spike = true;
        plan.tags[1].resolution = 0.1;
        plan.tags[1].frozen_after = 5;
    });
    for i in 0..5 {
        rig.at(i).accept(&sample(i, 5.0));
    }
    rig.image.forget(&rig.plan, PlcId::LEAD);
    for i in 5..9 {
        let accepted = rig.at(i).accept(&sample(i, 500.0));
        assert_eq!(word(accepted.quality), "good", "sample {i}");
    }
}

/// Without a clock tag: a source clock that is off for good is Suspect, one late sample is not, and
/// neither are old stamps of a value that stands still.
#[test]
fn source_stamps_are_checked_against_receipt() {
    let mut rig = Rig::new(|_| ());
    let mut check = |ms: i64, stamp_ms: i64, expect: &str| {
        let source_time = Some(Utc::from_millis(1_000_000 + stamp_ms));
        let accepted = rig.at(ms).accept(&Sample { source_time, ..sample(ms, 1.0) });
        assert_eq!(word(accepted.quality), expect, "{ms} {stamp_ms}");
        accepted.new_source_time
    };
    // First sample, value unchanged for an hour; then the same again by periodic reads.
    assert!(check(0, -3_600_000, "good"));
    assert!(!check(1_000, -3_600_000, "good"));
    assert!(check(2_000, 1_990, "good"));
    assert!(check(3_000, -9_000, "good"));
    for ms in [4_000, 5_000, 6_000, 7_000] {
        assert!(check(ms, ms - 10, "good"));
    }
    for (ms, expect) in [(8_000, "good"), (9_000, "good"), (10_000, "suspect_skew")] {
        check(ms, ms - 9_000, expect);
    }
    assert!(!check(11_000, 1_000, "suspect_skew"));
    check(12_000, 12_000, "good");
}

/// A server clock that is off is told once and changes no quality.
#[test]
fn server_skew_is_told_once() {
    let mut rig = Rig::new(|_| ());
    let mut told = Vec::new();
    for i in 0..20 {
        let off = if i < 10 { 5_000 } else { 0 };
        let server_time = Some(Utc::from_millis(1_000_000 + i * 100 + off));
        let accepted = rig.at(i * 100).accept(&Sample { server_time, ..sample(i * 100, 1.0) });
        assert!(accepted.quality.is_good());
        told.push(accepted.skewed);
    }
    assert_eq!(told.iter().filter(|t| **t).count(), 1);
    assert!(told[2]);
}

/// With a clock tag at a thousand times the speed: stamps are judged and placed on the PLC clock, a
/// batch behind or ahead of its own clock sample is not skewed, a clock years off is.
#[test]
fn source_stamps_follow_the_plc_clock() {
    let mut rig = Rig::new(|plan| {
        plan.links[0].clock = Some(TagId(2));
        plan.links[0].clock_step_max = Span::from_secs(3_600);
    });
    for i in 0..100 {
        let ms = i * 24;
        rig.scan(ms, Some(i * 24_000), Some(Mono::from_millis(ms)));
        for ahead in [-23_000, -1, 0, 20_000] {
            let source_time = Some(Utc::from_millis(i * 24_000 + ahead));
            let accepted = rig.accept(&Sample { source_time, ..sample(ms, 1.0) });
            assert_eq!(word(accepted.quality), "good", "{i} {ahead}");
            let wanted = (i * 24_000 + ahead.min(0)).max((i - 1).max(0) * 24_000);
            assert_eq!(accepted.at, Process::from_millis(wanted), "{i} {ahead}");
        }
    }
    let far = Sample { source_time: Some(Utc::from_millis(90_000_000_000)), ..sample(2_376, 1.0) };
    assert_eq!(word(rig.accept(&far).quality), "suspect_skew");
    // Hours old: fine as the first word of a tag that stands still, and when told again; not as a
    // new stamp.
    for (stamp, expect) in [(-9_000_000, "good"), (-9_000_000, "good"), (-8_000_000, "skew")] {
        let source_time = Some(Utc::from_millis(stamp));
        let accepted = rig.accept(&Sample { tag: TagId(3), source_time, ..sample(2_376, 1.0) });
        assert!(word(accepted.quality).ends_with(expect), "{stamp} {accepted:?}");
    }
}

prop_compose! {
    fn any_sample()(
        bits in any::<u64>(), small in -20.0_f64..20.0, kind in 0_u8..6, status in 0_u8..6,
        source in proptest::option::of(-5_000_i64..5_000), gap in 0_i64..500,
    ) -> (Sample, i64) {
        let value = match kind {
            0 => None,
            1 => Some(Value::Float(f64::from_bits(bits))),
            2 => Some(Value::Float(f64::NAN)),
            3 => Some(Value::Int(bits.cast_signed())),
            _ => Some(Value::Float(small)),
        };
        let status = match status {
            0 => Status::Bad(1),
            1 => Status::Uncertain(1),
            _ => Status::Good,
        };
        let source_time = source.map(|ms| Utc::from_millis(1_000_000 + ms));
        (Sample { value, status, source_time, ..sample(0, 0.0) }, gap)
    }
}

proptest! {
    /// Nothing that is not a finite number in its range is ever Good, and per tag the place in
    /// process time never runs backwards nor past the scan.
    #[test]
    fn only_finite_numbers_in_range_are_good(
        samples in proptest::collection::vec(any_sample(), 1..80),
        with_clock in any::<bool>(),
        with_checks in any::<bool>(),
    ) {
        let mut rig = Rig::new(|plan| {
            plan.links[0].clock = with_clock.then_some(TagId(2));
            if with_checks {
                plan.tags[1].range = Some((-15.0, 15.0));
                plan.tags[1].rate_max = Some(30.0);
                plan.tags[1].spike = true;
                plan.tags[1].frozen_after = 2;
            }
        });
        let (mut ms, mut last) = (0, Process::from_nanos(i64::MIN));
        for (sample, gap) in samples {
            ms += gap;
            rig.scan(ms, Some(1_000_000 + ms), Some(Mono::from_millis(ms)));
            let accepted = rig.accept(&Sample { received: Mono::from_millis(ms), ..sample });
            prop_assert!(accepted.at >= last && accepted.at <= rig.clock.now());
            last = accepted.at;
            if accepted.quality.is_good() {
                let x = sample.value.unwrap().as_f64();
                prop_assert!(x.is_finite() && sample.status == Status::Good);
                prop_assert!(!with_checks || libm::fabs(x) <= 15.0);
            }
            prop_assert!(rig.image.good(&rig.plan, A).is_none_or(f64::is_finite));
        }
    }
}
