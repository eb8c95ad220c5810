use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::image::{ProcessClock, fixture};
use crate::tag::{Sample, Status, Value};
use crate::time::{Mono, Now, Utc};

const A: TagId = TagId(1);

fn feature(take: Take, window_s: Option<i64>) -> FeaturePlan {
    FeaturePlan {
        name: String::new(),
        unit: String::new(),
        tag: A,
        take,
        window: window_s.map(Span::from_secs),
        lag: 0,
        coverage_min: 0.8,
        combine: None,
    }
}

/// Image and features fed together, process time being monotonic time.
struct Rig {
    plan: Plan,
    clock: ProcessClock,
    image: Image,
    features: Features,
}

impl Rig {
    fn new(features: Vec<FeaturePlan>) -> Self {
        let mut plan = fixture::plan();
        plan.features = features;
        let (clock, image) = (ProcessClock::new(&plan.links[0]), Image::new(&plan));
        let mut rig = Self { clock, image, features: Features::new(&plan), plan };
        rig.scan(0, 0);
        rig
    }

    fn scan(&mut self, ms: i64, life_ms: i64) -> Process {
        let now = Now { mono: Mono::from_millis(ms), utc: Utc::from_millis(ms) };
        let process = self.clock.begin(now);
        self.image.begin(now, [(&self.clock, Some(Mono::from_millis(life_ms)))]);
        process
    }

    /// `None` is a Bad sample.
    fn sample(&mut self, ms: i64, x: Option<f64>) {
        self.scan(ms, ms);
        let sample = Sample {
            tag: A,
            value: x.map(Value::Float),
            status: if x.is_some() { Status::Good } else { Status::Bad(1) },
            source_time: None,
            server_time: None,
            received: Mono::from_millis(ms),
        };
        let accepted = self.image.accept(&self.plan, &sample, true);
        self.features.accept(&self.plan, &accepted);
    }

    fn close(&mut self, ms: i64) -> Vec<FeatureValue> {
        let at = self.scan(ms, ms);
        self.features.close(&self.plan, &self.image, at).to_vec()
    }

    fn close_silent(&mut self, ms: i64, life_ms: i64) -> Vec<FeatureValue> {
        let at = self.scan(ms, life_ms);
        self.features.close(&self.plan, &self.image, at).to_vec()
    }
}

const ALL: [Take; 6] = [Take::Last, Take::Mean, Take::Deviation, Take::Min, Take::Max, Take::Slope];

fn part_level() -> Vec<FeaturePlan> {
    ALL.iter().map(|take| feature(*take, None)).collect()
}

fn values(row: &[FeatureValue]) -> Vec<Option<f64>> {
    row.iter().map(|v| v.value).collect()
}

fn near(a: f64, b: f64) -> bool {
    libm::fabs(a - b) <= 1e-9 * (1.0 + libm::fabs(b))
}

/// A part's own samples give hand values; a silent part has the held value, deviation and slope 0;
/// samples of one part do not leak into the next.
#[test]
fn part_features_by_hand() {
    let mut rig = Rig::new(part_level());
    for (ms, x) in [(0, 3.0), (1_000, 1.0), (2_000, 5.0), (3_000, 7.0)] {
        rig.sample(ms, Some(x));
    }
    let row = rig.close(4_000);
    assert!(row.iter().all(|v| v.coverage == 1.0));
    // 3 1 5 7: mean 4, sd sqrt(20/3), slope 8/5.
    let expect = [7.0, 4.0, libm::sqrt(20.0 / 3.0), 1.0, 7.0, 1.6];
    for (got, want) in row.iter().zip(expect) {
        assert!(near(got.value.unwrap(), want), "{row:?}");
    }
    let silent = [7.0, 7.0, 0.0, 7.0, 7.0, 0.0].map(Some);
    assert_eq!(values(&rig.close(8_000)), silent);
    rig.sample(9_000, Some(2.0));
    // One sample has neither spread nor slope.
    let one = [Some(2.0), Some(2.0), None, Some(2.0), Some(2.0), None];
    assert_eq!(values(&rig.close(10_000)), one);
    // A part without duration: covered while Good.
    let empty = rig.close(10_000);
    assert_eq!((empty[0].value, empty[0].coverage), (Some(2.0), 1.0));
}

/// Coverage is the Good share of the part; below the limit a feature is unknown, never 0; a tag
/// not Good at the cut has no last value.
#[test]
fn coverage_is_the_good_share() {
    // Bad from, Good again from [ms of a 10 s part]; coverage, Last known, Mean known.
    let rows = [
        (None, None, 1.0, true, true),
        (Some(9_000), None, 0.9, false, true),
        (Some(7_000), None, 0.7, false, false),
        (Some(4_000), Some(5_000), 0.9, true, true),
        (Some(4_000), Some(7_000), 0.7, false, false),
    ];
    for (bad, again, coverage, last, mean) in rows {
        let mut rig = Rig::new(part_level());
        rig.sample(0, Some(5.0));
        if let Some(ms) = bad {
            rig.sample(ms, None);
        }
        if let Some(ms) = again {
            rig.sample(ms, Some(6.0));
        }
        let row = rig.close(10_000);
        assert!(near(row[0].coverage, coverage), "{bad:?} {row:?}");
        assert_eq!(row[0].value.is_some(), last, "{bad:?}");
        assert_eq!(row[1].value.is_some(), mean, "{bad:?}");
    }
    // Never received.
    let row = Rig::new(part_level()).close(10_000);
    assert!(row.iter().all(|v| *v == FeatureValue::UNKNOWN));
}

/// A tag that goes Stale without a sample is not covered since it was last heard, and covered
/// again from the cut at which the link lives again.
#[test]
fn silent_death_is_seen_at_the_cut() {
    let mut rig = Rig::new(part_level());
    rig.sample(0, Some(5.0));
    assert_eq!(rig.close(10_000)[0].value, Some(5.0));
    rig.sample(18_500, Some(5.0));
    let row = rig.close_silent(22_500, 19_000);
    assert!(near(row[1].coverage, 8.5 / 12.5) && row[1].value.is_none(), "{row:?}");
    let row = rig.close(30_000);
    assert_eq!((row[0].value, row[0].coverage), (None, 0.0));
    assert_eq!(rig.close(40_000)[0], FeatureValue { value: Some(5.0), coverage: 1.0 });
    // A lost link: Missing.
    rig.image.forget(&rig.plan, PlcId::LEAD);
    assert!(values(&rig.close(50_000)).iter().all(Option::is_none));
}

/// Windowed mean and deviation weigh the held value by its time; coverage grows from 0 as
/// `1 - exp(-t/tau)` and a gap fades it.
#[test]
fn windowed_features_by_hand() {
    let mut rig = Rig::new(ALL.iter().map(|take| feature(*take, Some(10))).collect());
    rig.sample(0, Some(2.0));
    let row = rig.close(10_000);
    assert!(near(row[1].coverage, 1.0 - libm::exp(-1.0)) && row[1].value.is_none());
    // Last has no use for a window.
    assert_eq!(row[0], FeatureValue { value: Some(2.0), coverage: 1.0 });
    rig.sample(30_000, Some(8.0));
    let row = rig.close(40_000);
    let (old, new) = (libm::exp(-1.0) - libm::exp(-4.0), 1.0 - libm::exp(-1.0));
    let (w, s, ss) = (old + new, 2.0 * old + 8.0 * new, 4.0 * old + 64.0 * new);
    assert!(near(row[1].coverage, w));
    assert!(near(row[1].value.unwrap(), s / w));
    assert!(near(row[2].value.unwrap(), libm::sqrt(ss / w - (s / w) * (s / w))));
    // 2 stood until 30 s, 10 s ago: just out of the window.
    assert_eq!((row[3].value, row[4].value), (Some(8.0), Some(8.0)));
    rig.sample(45_000, Some(1.0));
    let row = rig.close(54_900);
    assert_eq!((row[3].value, row[4].value), (Some(1.0), Some(8.0)));
    rig.sample(55_000, None);
    assert!(values(&rig.close(65_000)).iter().all(Option::is_none));
}

/// The windowed slope at a cut is weighted least squares over the samples; a ramp that has come
/// to rest and fallen silent loses its slope.
#[test]
fn windowed_slope_rests_with_its_tag() {
    let mut rig = Rig::new(alloc::vec![feature(Take::Slope, Some(20))]);
    for s in 0..100 {
        rig.sample(s * 1_000, Some(0.5 * s as f64));
    }
    assert!(near(rig.close(99_000)[0].value.unwrap(), 0.5));
    let mut last = 0.5;
    for s in 10..40 {
        let slope = rig.close(s * 10_000).first().unwrap().value.unwrap();
        assert!(slope <= last + 1e-12, "{slope} after {last}");
        last = slope;
    }
    assert!(libm::fabs(last) < 1e-4, "{last}");
}

/// A feature with lag n gives the value of n parts ago, unknown until there is one.
#[test]
fn lag_gives_older_parts() {
    let lags = [0, 1, 3].map(|lag| FeaturePlan { lag, ..feature(Take::Last, None) });
    let mut rig = Rig::new(lags.to_vec());
    for part in 0..8_i64 {
        rig.sample(part * 1_000, Some(part as f64));
        let row = rig.close((part + 1) * 1_000 - 1);
        for (got, lag) in row.iter().zip([0, 1, 3]) {
            let want = (part >= lag).then_some((part - lag) as f64);
            assert_eq!(got.value, want, "part {part} lag {lag}");
        }
    }
    rig.features.lose(&rig.plan, PlcId::LEAD);
    assert!(values(rig.features.values()).iter().all(Option::is_none));
    assert!(values(&rig.close(9_000))[1..].iter().all(Option::is_none));
}

/// A lost PLC takes what its own tags told. Where it cuts the parts, nobody knows how many have
/// passed: the lags of all others are unknown, too, while what stands goes on standing.
#[test]
fn a_lost_plc_takes_its_own_features() {
    let features = [0, 1].map(|lag| FeaturePlan { lag, ..feature(Take::Last, None) });
    for (lost, cuts) in [(PlcId(1), false), (PlcId::LEAD, true)] {
        let mut rig = Rig::new(features.to_vec());
        rig.plan.links.push(rig.plan.links[0].clone());
        // The tag lives on the PLC that is not lost; parts are cut by the leading one.
        rig.plan.tags[A.index()].plc = PlcId(1 - lost.0);
        rig.image = Image::new(&rig.plan);
        rig.features = Features::new(&rig.plan);
        let begin = |rig: &mut Rig, ms: i64| {
            let now = Now { mono: Mono::from_millis(ms), utc: Utc::from_millis(ms) };
            rig.clock.begin(now);
            rig.image.begin(now, [(&rig.clock, Some(now.mono)); 2]);
        };
        for (ms, x) in [(100, 1.0), (1_100, 2.0)] {
            begin(&mut rig, ms);
            let sample = Sample {
                tag: A,
                value: Some(Value::Float(x)),
                status: Status::Good,
                source_time: None,
                server_time: None,
                received: Mono::from_millis(ms),
            };
            let accepted = rig.image.accept(&rig.plan, &sample, true);
            rig.features.accept(&rig.plan, &accepted);
            begin(&mut rig, ms + 800);
            rig.features.close(&rig.plan, &rig.image, Process::from_millis(ms + 700));
        }
        rig.image.forget(&rig.plan, lost);
        rig.features.lose(&rig.plan, lost);
        begin(&mut rig, 3_000);
        let got = values(rig.features.close(&rig.plan, &rig.image, Process::from_millis(2_900)));
        let lagged = if cuts { None } else { Some(2.0) };
        assert_eq!(got, [Some(2.0), lagged], "{lost:?}");
        // The same loss on the tag's own PLC.
        rig.image.forget(&rig.plan, PlcId(1 - lost.0));
        rig.features.lose(&rig.plan, PlcId(1 - lost.0));
        begin(&mut rig, 4_000);
        let got = values(rig.features.close(&rig.plan, &rig.image, Process::from_millis(3_900)));
        assert_eq!(got, [None, None], "{lost:?}");
    }
}

/// The index finds the features of a tag whatever their order in the plan.
#[test]
fn tags_find_their_features() {
    let mut features = part_level();
    for (i, f) in (0..).zip(&mut features) {
        f.tag = TagId([2, 1, 2, 1, 1, 2][i]);
        f.take = Take::Last;
    }
    let mut rig = Rig::new(features);
    rig.sample(0, Some(4.0));
    let got = values(&rig.close(1_000));
    assert_eq!(got, [None, Some(4.0), None, Some(4.0), Some(4.0), None]);
}

proptest! {
    /// Whatever comes, a feature is unknown or finite and coverage lies between 0 and 1.
    #[test]
    fn features_are_unknown_or_finite(
        steps in proptest::collection::vec((any::<u64>(), 0_u8..8, 0_i64..3_000), 1..120),
        window in proptest::option::of(1_i64..60),
        coverage_min in 0.0_f64..1.0,
    ) {
        let plan = |take: &Take| FeaturePlan { coverage_min, ..feature(*take, window) };
        let mut rig = Rig::new(ALL.iter().map(plan).collect());
        let mut ms = 0;
        for (bits, what, gap) in steps {
            ms += gap;
            match what {
                0 => rig.sample(ms, None),
                1 | 2 => rig.sample(ms, Some(f64::from_bits(bits))),
                3 => rig.features.lose(&rig.plan, PlcId::LEAD),
                4 | 5 => {
                    for value in rig.close(ms) {
                        prop_assert!(value.value.is_none_or(f64::is_finite));
                        prop_assert!((0.0..=1.0).contains(&value.coverage));
                        prop_assert!(value.value.is_none() || value.coverage >= coverage_min);
                    }
                }
                _ => rig.sample(ms, Some((bits % 100) as f64)),
            }
        }
    }
}
