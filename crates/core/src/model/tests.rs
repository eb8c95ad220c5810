//! Tests over whole plans, and the noise that the tests of the models share.

use super::*;
use crate::plan::{Chart, ChartPlan, LinearPlan, ModelPlan, MonitorPlan, PcaLimits, PcaPlan};
use alloc::string::String;
use alloc::vec;
use proptest::prelude::*;

/// Seeded noise (`SplitMix64`, Steele et al. 2014; Box-Muller).
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform in (0, 1].
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 11) + 1) as f64 / 9_007_199_254_740_992.0
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        radius * libm::cos(core::f64::consts::TAU * self.uniform())
    }
}

pub(crate) fn value(x: f64) -> FeatureValue {
    FeatureValue { value: Some(x), coverage: 1.0 }
}

pub(crate) fn unknown() -> FeatureValue {
    FeatureValue { value: None, coverage: 0.0 }
}

/// A plan with nothing but these models.
pub(crate) fn plan_of(models: Vec<Model>) -> Plan {
    let named = |model| ModelPlan { name: String::new(), hash: [0; 32], model };
    Plan::of_models(String::from("test"), [0; 32], models.into_iter().map(named).collect())
}

/// A soft sensor before the monitor it asks, then a chart; features 0 and 1.
fn three() -> Plan {
    let inputs = vec![FeatureId(0), FeatureId(1)];
    let s = libm::sqrt(0.5);
    plan_of(vec![
        Model::Linear(LinearPlan {
            inputs: inputs.clone(),
            coefficients: vec![1.0, -3.0],
            mean: vec![0.0, 0.0],
            scale: vec![1.0, 1.0],
            intercept: 5.0,
            half_width: 1.0,
            span: vec![(-100.0, 100.0), (-100.0, 100.0)],
            domain: Some(ModelId(1)),
        }),
        Model::Pca(PcaPlan {
            inputs,
            lags: 0,
            mean: vec![0.0, 0.0],
            scale: vec![1.0, 1.0],
            loadings: vec![s, s],
            eigenvalues: vec![2.0],
            alarm: PcaLimits { t2: 4.0, spe: 2.0 },
            domain_out: PcaLimits { t2: 9.0, spe: 9.0 },
            domain_in: PcaLimits { t2: 4.0, spe: 2.0 },
        }),
        Model::Chart(ChartPlan {
            input: FeatureId(0),
            mean: 0.0,
            deviation: 1.0,
            ar: 0.0,
            kind: Chart::Ewma { lambda: 1.0, width: 3.0 },
        }),
    ])
}

/// A soft sensor sees its monitor leave the domain in the same part, wherever it stands.
#[test]
fn soft_sensor_asks_its_monitor() {
    let plan = three();
    let mut models = Models::new(&plan);
    for part in 1..=4 {
        models.score(&plan, &[value(20.0), value(20.0)]);
        assert_eq!(models.get(ModelId(0)).unwrap().in_domain, part < 3, "part {part}");
        assert_eq!(models.get(ModelId(1)).unwrap().in_domain, part < 3, "part {part}");
    }
    // A domain that is no monitor is never in domain.
    for wrong in [0, 2, 9] {
        let mut plan = three();
        let Model::Linear(linear) = &mut plan.models[0].model else { panic!() };
        linear.domain = Some(ModelId(wrong));
        let mut models = Models::new(&plan);
        models.score(&plan, &[value(0.0), value(0.0)]);
        let score = models.get(ModelId(0)).unwrap();
        assert!(score.known && !score.in_domain);
    }
}

/// A dynamic monitor serves as a domain, as a source and for contributions like the other one.
#[test]
fn dynamic_monitor_in_a_plan() {
    let mut plan = three();
    plan.models[1].model = Model::Monitor(MonitorPlan {
        inputs: vec![FeatureId(0), FeatureId(1)],
        mean: vec![0.0, 0.0],
        scale: vec![1.0, 1.0],
        transition: vec![0.0; 4],
        precision: vec![1.0, 0.0, 0.0, 1.0],
        gap: vec![1.0],
        weight_t2: 1.0,
        weight_spe: 1.0,
        alarm: PcaLimits { t2: 16.0, spe: 8.0 },
    });
    let mut models = Models::new(&plan);
    let mut top = [Contribution::NONE; 2];
    for (features, inside) in [([value(2.0), value(0.0)], true), ([value(1.0), value(-3.0)], false)]
    {
        models.score(&plan, &features);
        assert_eq!(models.get(ModelId(1)).unwrap().alarm, !inside);
        assert_eq!(models.get(ModelId(0)).unwrap().in_domain, inside, "the sensor asks it");
        let spe = models.get(ModelId(1)).unwrap().spe;
        assert_eq!(models.source(&features, Source::Spe(ModelId(1))), Some(spe / 8.0));
        assert_eq!(models.source(&features, Source::T2(ModelId(1))), Some(spe / 16.0));
        assert_eq!(models.source(&features, Source::Chart(ModelId(1))), None);
    }
    let features = [value(1.0), value(-3.0)];
    assert_eq!(models.top(&plan, &features, ModelId(1), &mut top), 2);
    assert_eq!(top[0], Contribution { feature: FeatureId(1), share: 9.0, z: -3.0 });
    models.score(&plan, &[value(1.0), unknown()]);
    assert_eq!(models.source(&features, Source::Spe(ModelId(1))), None);
    assert!(!models.get(ModelId(0)).unwrap().in_domain);
}

/// Each source reads its own kind of model, as a share where it says so.
#[test]
fn sources() {
    let plan = three();
    let mut models = Models::new(&plan);
    let features = [value(2.0), value(0.0)];
    assert_eq!(models.source(&features, Source::T2(ModelId(1))), None, "nothing scored yet");
    models.score(&plan, &features);
    let rows = [
        (Source::Feature(FeatureId(0)), Some(2.0)),
        (Source::Feature(FeatureId(7)), None),
        (Source::Prediction(ModelId(0)), Some(7.0)),
        (Source::T2(ModelId(1)), Some(0.25)),
        (Source::Spe(ModelId(1)), Some(1.0)),
        (Source::Chart(ModelId(2)), Some(2.0 / 3.0)),
        (Source::Chart(ModelId(1)), None),
        (Source::T2(ModelId(0)), None),
        (Source::Spe(ModelId(2)), None),
        (Source::Prediction(ModelId(9)), None),
    ];
    for (source, expect) in rows {
        let found = models.source(&features, source);
        let equal = match (found, expect) {
            (Some(a), Some(b)) => libm::fabs(a - b) < 1e-12,
            (a, b) => a == b,
        };
        assert!(equal, "{source:?}: {found:?} instead of {expect:?}");
    }
    models.score(&plan, &[value(2.0), unknown()]);
    assert_eq!(models.source(&features, Source::T2(ModelId(1))), None);
    assert!(models.source(&features, Source::Chart(ModelId(2))).is_some());
    models.reset_charts();
    assert_eq!(models.source(&features, Source::Chart(ModelId(2))), None);
}

/// The largest contributions come first, whatever room there is.
#[test]
fn top_is_sorted_and_bounded() {
    let plan = three();
    let mut models = Models::new(&plan);
    let features = [value(2.0), value(-1.0)];
    models.score(&plan, &features);
    let mut top = [Contribution::NONE; 3];
    assert_eq!(models.top(&plan, &features, ModelId(0), &mut top), 2);
    assert_eq!(top[0], Contribution { feature: FeatureId(1), share: 3.0, z: -1.0 });
    assert_eq!(top[1], Contribution { feature: FeatureId(0), share: 2.0, z: 2.0 });
    assert_eq!(models.top(&plan, &features, ModelId(0), &mut top[..1]), 1);
    assert_eq!(top[0].feature, FeatureId(1));
    assert_eq!(models.top(&plan, &features, ModelId(0), &mut []), 0);
    assert_eq!(models.top(&plan, &features, ModelId(9), &mut top), 0);
    // Off the plane by (1.5, -1.5): SPE leads and its shares carry the residual's sign.
    assert_eq!(models.top(&plan, &features, ModelId(1), &mut top), 2);
    let shares = [top[0].share, top[1].share];
    assert!(libm::fabs(libm::fabs(shares[0]) - 2.25) < 1e-12, "{shares:?}");
    assert!(shares[0] * shares[1] < 0.0);
    assert_eq!(models.top(&plan, &features, ModelId(2), &mut top), 1);
    assert!(libm::fabs(top[0].share - 2.0 / 3.0) < 1e-12);
    models.score(&plan, &[value(f64::NAN), value(0.0)]);
    assert_eq!(models.top(&plan, &features, ModelId(1), &mut top), 0);
}

/// The eight lanes add up to the plain sum at every length around their edges.
#[test]
fn dot_at_every_length() {
    for n in 0..40_u32 {
        let a: Vec<f64> = (0..n).map(f64::from).collect();
        let expect = (0..n).map(|i| f64::from(i * i)).sum::<f64>();
        assert_eq!(dot(&a, &a), expect);
    }
}

fn anything() -> impl Strategy<Value = FeatureValue> {
    let number = prop_oneof![
        4 => -5.0..5.0,
        1 => proptest::num::f64::ANY,
    ];
    (proptest::option::of(number)).prop_map(|value| FeatureValue { value, coverage: 1.0 })
}

proptest! {
    /// Whatever arrives, a known score is finite and comes from known, finite inputs; an unknown
    /// one alarms nothing, permits nothing and leaves chart and monitor as they were.
    #[test]
    fn not_a_number_is_never_known(
        parts in proptest::collection::vec((anything(), anything()), 1..40)
    ) {
        let plan = three();
        let mut models = Models::new(&plan);
        let mut clean = Models::new(&plan);
        for (a, b) in parts {
            let features = [a, b];
            models.score(&plan, &features);
            let finite = |f: &FeatureValue| f.value.is_some_and(f64::is_finite);
            let both = features.iter().all(finite);
            for (id, needs) in [(0, both), (1, both), (2, finite(&a))] {
                let score = models.get(ModelId(id)).unwrap();
                prop_assert!(needs || !score.known);
                if score.known {
                    for x in [score.t2, score.spe, score.value, score.low, score.high] {
                        prop_assert!(x.is_finite());
                    }
                } else {
                    prop_assert!(!score.alarm && !score.in_domain && score.value.is_nan());
                }
            }
            // The monitor fed only with the parts it could know is in the same state.
            if models.get(ModelId(1)).unwrap().known {
                clean.score(&plan, &features);
                prop_assert_eq!(models.get(ModelId(1)), clean.get(ModelId(1)));
            }
        }
    }
}
