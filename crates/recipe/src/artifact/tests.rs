//! Every byte counts: round trips, refusals with their codes, and no panic on anything.

#![expect(clippy::cast_precision_loss, reason = "small counts")]

use super::*;
use trimloop_core::plan::{
    Calibration, CombinedPlan, Directions, MonitorPlan, PcaLimits, PcaPlan, Reach,
};

use proptest::prelude::*;
use trimloop_core::plan::{Activation, Layer, LinearTerms, Link, NetworkPlan, Node, Step, Tree};

/// Makes a plan one that cannot be.
type Spoil<P> = fn(&mut P);

fn features(p: usize) -> Vec<FeatureSpec> {
    let spec = |i| FeatureSpec { name: format!("f{i}"), unit: "bar".to_owned() };
    (0..p).map(spec).collect()
}

fn header(kind: Kind, p: usize) -> Header {
    Header {
        id: "weight-r3".to_owned(),
        kind,
        features: features(p),
        recipe: "housing-bore r7".to_owned(),
        rows: 350,
        window: Some(TrainingWindow {
            from: "2026-01-01T00:00:00Z".to_owned(),
            to: "2026-01-02T00:00:00Z".to_owned(),
        }),
        seed: u64::MAX,
        note: "Prüfstand 2".to_owned(),
    }
}

/// A monitor whose components are the first `k` axes.
fn pca(p: usize, k: usize) -> PcaPlan {
    let mut loadings = vec![0.0; k * p];
    for (a, row) in loadings.chunks_exact_mut(p).enumerate() {
        row[a] = 1.0;
    }
    PcaPlan {
        inputs: (0..p).map(|i| FeatureId(u16::try_from(i).unwrap())).collect(),
        lags: 0,
        mean: (0..p).map(|i| 0.1 * i as f64).collect(),
        scale: vec![0.3; p],
        loadings,
        eigenvalues: vec![1.5; k],
        alarm: PcaLimits { t2: 14.13, spe: 16.556 },
        domain_out: PcaLimits { t2: 20.0, spe: 22.0 },
        domain_in: PcaLimits { t2: 14.13, spe: 16.556 },
    }
}

/// The same of rows with their predecessors.
fn lagged(p: usize, lags: u8, k: usize) -> PcaPlan {
    let wide = pca(p * (usize::from(lags) + 1), k);
    PcaPlan { lags, loadings: wide.loadings, eigenvalues: wide.eigenvalues, ..pca(p, 1) }
}

/// A dynamic monitor whose variables keep half of their distance and err independently.
fn monitor(p: usize) -> MonitorPlan {
    let diagonal =
        |x: f64| (0..p * p).map(|i| if i % (p + 1) == 0 { x } else { 0.0 }).collect::<Vec<_>>();
    MonitorPlan {
        inputs: (0..p).map(|i| FeatureId(u16::try_from(i).unwrap())).collect(),
        mean: (0..p).map(|i| 0.1 * i as f64).collect(),
        scale: vec![0.3; p],
        transition: diagonal(0.5),
        precision: diagonal(4.0 / 3.0),
        gap: vec![1.1, 1.2],
        weight_t2: 0.2,
        weight_spe: 0.3,
        alarm: PcaLimits { t2: 30.0, spe: 20.0 },
    }
}

fn linear(p: usize) -> LinearPlan {
    LinearPlan {
        inputs: (0..p).map(|i| FeatureId(u16::try_from(i).unwrap())).collect(),
        coefficients: vec![-0.7; p],
        mean: vec![4.0; p],
        scale: vec![0.5; p],
        intercept: 19.42,
        half_width: 0.03,
        span: vec![(3.0, 5.0); p],
        domain: None,
    }
}

fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&body);
    body.extend_from_slice(&digest);
    body
}

/// The file with one change in its body and a digest that fits.
fn forged(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = Artifact::new(header(Kind::Pca, 3), &Model::Pca(pca(3, 2))).unwrap().body();
    change(&mut body);
    sealed(body)
}

fn code(bytes: &[u8]) -> &'static str {
    Artifact::read(bytes).map_or_else(|error| error.code(), |_| "read")
}

fn replace(body: &mut Vec<u8>, from: &str, to: &str) {
    assert_eq!(from.len(), to.len(), "the header keeps its length");
    let at = body.windows(from.len()).position(|w| w == from.as_bytes()).expect(from);
    body.splice(at..at + from.len(), to.bytes());
}

/// What is bound is what was trained, at this size and alignment, with the digest as hash.
#[test]
fn round_trips() {
    for (model, kind, p) in [
        (Model::Pca(pca(3, 2)), Kind::Pca, 3),
        (Model::Pca(pca(1, 1)), Kind::Pca, 1),
        (Model::Pca(lagged(3, 2, 5)), Kind::Pca, 3),
        (Model::Monitor(monitor(4)), Kind::Monitor, 4),
        (Model::Monitor(monitor(1)), Kind::Monitor, 1),
        (Model::Linear(linear(5)), Kind::Linear, 5),
    ] {
        let artifact = Artifact::new(header(kind, p), &model).unwrap();
        let bytes = artifact.write();
        assert_eq!(bytes, artifact.write());
        assert_eq!(&bytes[..4], b"TLMD");
        assert_eq!(bytes[bytes.len() - 32..], artifact.hash());
        let back = Artifact::read(&bytes).unwrap();
        assert_eq!(back, artifact);
        assert_eq!(back.header().rows, 350);
        let by_name = |name: &str| Some((FeatureId(name[1..].parse().ok()?), "bar"));
        assert_eq!(back.bind(by_name).unwrap(), model);
        // Arrays begin at multiples of 64 bytes of the file.
        let mean = 0.3_f64.to_le_bytes();
        if kind == Kind::Pca {
            let at = bytes.windows(8).position(|w| w == mean).unwrap();
            assert_eq!(at % 64, 0);
        }
    }
}

/// One tree of one split for two classes, with a derived column.
fn forest() -> ForestPlan {
    let node = |threshold, left| Node { threshold, column: 2, left };
    ForestPlan {
        inputs: vec![FeatureId(0), FeatureId(1)],
        steps: vec![Step::Product(0, 1), Step::Mean { of: 0, weight: 0.1 }],
        span: vec![(0.0, 1.0), (2.0, 3.0)],
        domain: None,
        trees: vec![Tree { root: 0, depth: 1 }],
        nodes: vec![node(1.5, 1), node(f32::MAX, 1), node(f32::MAX, 2)],
        values: vec![0.5, 0.25, 1.0],
        base: vec![0.0],
        factor: 1.0,
        link: Link::Votes,
        slope: 1.5,
        bias: vec![-0.25],
        classes: vec!["1".to_owned(), "waste".to_owned()],
        weights: vec![1.0, 2.0],
        remember: Some(0.9),
        likeness: None,
        directions: None,
        reach: None,
        linear: None,
        network: None,
        half_width: None,
    }
}

fn words() -> Vec<Words> {
    vec![Words { feature: "f1".to_owned(), codes: vec!["L".to_owned(), "M".to_owned()] }]
}

/// A classifier comes back as it was, with its label and the codes of its words.
#[test]
fn classifiers_round_trip() {
    let header = header(Kind::Forest, 2);
    let artifact = Artifact::classifier(header.clone(), "quality", words(), &forest()).unwrap();
    let bytes = artifact.write();
    let back = Artifact::read(&bytes).unwrap();
    assert_eq!(back, artifact);
    let about = back.about_classifier().unwrap();
    assert_eq!((about.label.as_str(), &about.words), ("quality", &words()));
    let by_name = |name: &str| Some((FeatureId(name[1..].parse().ok()?), "bar"));
    assert_eq!(back.bind(by_name).unwrap(), Model::Forest(forest()));
    // What votes are like stands beside it where it was learnt; without it the bytes are as ever.
    let likeness = Some(vec![0.75, 0.25, 0.5, 0.5]);
    let directions = Some(Directions {
        calm: vec![1.0, 2.0],
        weights: vec![0.5, -1.0, 0.25, 4.0],
        spread: vec![3.0, 0.5],
        sizes: vec![0.1, 0.3, 1.0],
        counts: 0.4,
        at_most: 4.0,
        worth: 0.2,
    });
    let plan = ForestPlan { likeness, directions: None, ..forest() };
    let reach = Some(Reach { mean: vec![1.0, 2.0], white: vec![3.0, 0.5, 4.0], t2_out: 9.0 });
    let moved = ForestPlan { directions, reach, ..plan.clone() };
    let more = Artifact::classifier(header.clone(), "quality", words(), &moved).unwrap().write();
    assert_eq!(Artifact::read(&more).unwrap().bind(by_name).unwrap(), Model::Forest(moved));
    let more = Artifact::classifier(header.clone(), "quality", words(), &plan).unwrap().write();
    assert!(more.len() > bytes.len());
    assert_eq!(Artifact::read(&more).unwrap().bind(by_name).unwrap(), Model::Forest(plan));
    for cut in 0..bytes.len() {
        assert!(Artifact::read(&bytes[..cut]).is_err());
    }
    let by_hand = Artifact::new(header, &Model::Forest(forest())).unwrap_err();
    assert_eq!(by_hand.code(), "TL0505");
}

/// A soft sensor of trees and linear terms comes back as it was, with and without spans and interval;
/// arrays that only some forests have must fit too.
#[test]
fn sensors_of_trees_round_trip() {
    let sensor = || {
        let mut plan = forest();
        plan.classes.clear();
        plan.weights.clear();
        (plan.link, plan.remember) = (Link::Share, None);
        plan.half_width = Some(0.25);
        let linear = LinearTerms { coefficients: vec![1.0, -2.0, 0.0, 0.5], centre: vec![3.0; 4] };
        plan.linear = Some(linear);
        plan
    };
    let make = |plan: &ForestPlan| {
        Artifact::classifier(header(Kind::Forest, 2), "weight", Vec::new(), plan)
    };
    let changes: [Spoil<ForestPlan>; 4] = [
        |_| (),
        |p| p.span.clear(),
        |p| p.half_width = None,
        |p| {
            p.trees.clear();
            p.nodes.clear();
            p.values.clear();
        },
    ];
    let by_name = |name: &str| Some((FeatureId(name[1..].parse().ok()?), "bar"));
    for change in changes {
        let mut plan = sensor();
        change(&mut plan);
        let bytes = make(&plan).unwrap().write();
        let back = Artifact::read(&bytes).unwrap();
        assert_eq!(back.bind(by_name).unwrap(), Model::Forest(plan));
        assert!(back.about_classifier().unwrap().classes.is_empty());
    }
    let spoilt: [(Spoil<ForestPlan>, &str); 4] = [
        (|p| p.half_width = Some(-1.0), "TL0508"),
        (|p| p.linear.as_mut().unwrap().centre.truncate(2), "TL0506"),
        (|p| p.linear.as_mut().unwrap().coefficients[1] = f64::NAN, "TL0507"),
        (|p| p.link = Link::Margin, "TL0508"),
    ];
    for (spoil, code) in spoilt {
        let mut plan = sensor();
        spoil(&mut plan);
        assert_eq!(make(&plan).unwrap_err().code(), code);
    }
}

/// A neural network comes back as it was; layers that do not fit each other are refused.
#[test]
fn networks_round_trip() {
    let network = || {
        let mut plan = forest();
        plan.trees.clear();
        plan.nodes.clear();
        plan.values.clear();
        plan.link = Link::Margin;
        plan.network = Some(NetworkPlan {
            layers: vec![
                Layer { units: 3, activation: Activation::Tanh },
                Layer { units: 2, activation: Activation::Relu },
                Layer { units: 1, activation: Activation::Identity },
            ],
            weights: (0..20).map(f64::from).collect(),
            bias: vec![0.5; 6],
            centre: vec![1.0; 4],
        });
        plan
    };
    let make = |plan: &ForestPlan| {
        Artifact::classifier(header(Kind::Forest, 2), "quality", Vec::new(), plan)
    };
    let by_name = |name: &str| Some((FeatureId(name[1..].parse().ok()?), "bar"));
    let bytes = make(&network()).unwrap().write();
    let back = Artifact::read(&bytes).unwrap();
    assert_eq!(back.bind(by_name).unwrap(), Model::Forest(network()));
    let spoilt: [(Spoil<NetworkPlan>, &str); 6] = [
        (|n| n.weights.truncate(19), "TL0506"),
        (|n| n.centre.truncate(2), "TL0506"),
        (|n| n.bias[1] = f64::INFINITY, "TL0507"),
        (|n| n.layers[2].activation = Activation::Tanh, "TL0508"),
        (|n| n.layers[0].units = 0, "TL0506"),
        (|n| n.layers.clear(), "TL0506"),
    ];
    for (index, (spoil, code)) in spoilt.into_iter().enumerate() {
        let mut plan = network();
        spoil(plan.network.as_mut().unwrap());
        assert_eq!(make(&plan).unwrap_err().code(), code, "{index}");
    }
}

/// Trees that do not end, classes that are none and words of nothing are refused.
#[test]
fn classifiers_are_checked() {
    let refuse = |spoil: fn(&mut ForestPlan), words: Vec<Words>| {
        let mut plan = forest();
        spoil(&mut plan);
        let made = Artifact::classifier(header(Kind::Forest, 2), "quality", words, &plan);
        made.map_or_else(|error| error.code(), |_| "made")
    };
    assert_eq!(refuse(|_| (), words()), "made");
    let rows: [(Spoil<ForestPlan>, &str); 7] = [
        (|p| p.nodes[0].left = 0, "TL0508"),
        (|p| p.nodes[0].column = 9, "TL0508"),
        (|p| p.trees[0].depth = 3, "TL0508"),
        (|p| p.slope = -1.0, "TL0508"),
        (|p| p.values[1] = f32::NAN, "TL0507"),
        (|p| p.values.truncate(2), "TL0506"),
        (|p| p.classes[1] = "1".to_owned(), "TL0505"),
    ];
    for (spoil, code) in rows {
        assert_eq!(refuse(spoil, Vec::new()), code);
    }
    let strange = vec![Words { feature: "f9".to_owned(), codes: vec!["L".to_owned()] }];
    assert_eq!(refuse(|_| (), strange), "TL0505");
}

/// Members come back as they were; what is none is refused.
#[test]
fn combined_monitors_round_trip() {
    let mut other = monitor(3);
    other.transition = vec![0.0; 9];
    other.alarm.t2 = 44.0;
    let plan = CombinedPlan { members: vec![monitor(3), other] };
    let made =
        |plan: CombinedPlan| Artifact::new(header(Kind::Combined, 3), &Model::Combined(plan));
    let artifact = made(plan.clone()).unwrap();
    let back = Artifact::read(&artifact.write()).unwrap();
    assert_eq!(back, artifact);
    let by_name = |name: &str| Some((FeatureId(name[1..].parse().ok()?), "bar"));
    assert_eq!(back.bind(by_name).unwrap(), Model::Combined(plan.clone()));
    let spoilt: [(Spoil<CombinedPlan>, &str); 5] = [
        (|p| p.members.clear(), "TL0506"),
        (|p| p.members[1].precision[8] = -1.0, "TL0508"),
        (|p| p.members[1].alarm.spe = 0.0, "TL0508"),
        (|p| p.members[1].gap.truncate(1), "TL0506"),
        (|p| p.members[0].transition[1] = f64::NAN, "TL0507"),
    ];
    for (spoil, code) in spoilt {
        let mut plan = plan.clone();
        spoil(&mut plan);
        assert_eq!(made(plan).unwrap_err().code(), code);
    }
}

/// A logistic classifier with a derived column.
fn logistic(calibration: Calibration) -> LogisticPlan {
    LogisticPlan {
        inputs: vec![FeatureId(0), FeatureId(1)],
        steps: vec![Step::Ratio(0, 1)],
        span: vec![(0.0, 1.0), (2.0, 3.0)],
        domain: None,
        coefficients: vec![0.5, -1.0, 2.0],
        intercepts: vec![0.25],
        mean: vec![0.5, 2.5, 0.2],
        scale: vec![0.1, 0.2, 0.3],
        precision: vec![2.0, 0.5, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0],
        t2_out: 16.0,
        calibration,
        classes: vec!["1".to_owned(), "waste".to_owned()],
        weights: vec![1.0, 2.0],
    }
}

/// Logistic classifiers come back as they were, with either calibration; what is none is refused.
#[test]
fn logistic_classifiers_round_trip() {
    let platt = || Calibration::Platt { slope: 1.5, bias: -0.5 };
    let isotonic = Calibration::Isotonic(vec![(-1.0, 0.1), (0.5, 0.4), (2.0, 0.9)]);
    let made = |plan: &LogisticPlan| {
        Artifact::logistic(header(Kind::Logistic, 2), "quality", words(), plan)
    };
    let by_name = |name: &str| Some((FeatureId(name[1..].parse().ok()?), "bar"));
    let three = LogisticPlan {
        coefficients: (0..9).map(|i| 0.5 - f64::from(i)).collect(),
        intercepts: vec![0.25, -0.5, 1.0],
        classes: ["01", "2", "waste"].map(str::to_owned).to_vec(),
        weights: vec![1.0, 2.0, 1.0],
        ..logistic(Calibration::Softmax { slope: 1.25 })
    };
    for plan in [logistic(platt()), logistic(isotonic), three] {
        let artifact = made(&plan).unwrap();
        let bytes = artifact.write();
        let back = Artifact::read(&bytes).unwrap();
        assert_eq!(back, artifact);
        assert_eq!(back.bind(by_name).unwrap(), Model::Logistic(plan));
        for cut in 0..bytes.len() {
            assert!(Artifact::read(&bytes[..cut]).is_err());
        }
    }
    let rows: [(Spoil<LogisticPlan>, &str); 10] = [
        (|p| p.coefficients.truncate(2), "TL0506"),
        (|p| p.calibration = Calibration::Softmax { slope: 1.0 }, "TL0508"),
        (|p| p.precision[3] = f64::NAN, "TL0507"),
        (|p| p.scale[0] = 0.0, "TL0508"),
        (|p| p.t2_out = -1.0, "TL0508"),
        (|p| p.precision[0] = -2.0, "TL0508"),
        (|p| p.steps[0] = Step::Mean { of: 0, weight: 0.1 }, "TL0508"),
        (|p| p.calibration = Calibration::Isotonic(vec![(0.0, 0.9), (1.0, 0.1)]), "TL0508"),
        (|p| p.calibration = Calibration::Platt { slope: -1.0, bias: 0.0 }, "TL0508"),
        (|p| p.classes[1] = "1".to_owned(), "TL0505"),
    ];
    for (spoil, code) in rows {
        let mut plan = logistic(platt());
        spoil(&mut plan);
        assert_eq!(made(&plan).unwrap_err().code(), code);
    }
    let wrong = Artifact::logistic(header(Kind::Forest, 2), "y", Vec::new(), &logistic(platt()));
    assert_eq!(wrong.unwrap_err().code(), "TL0505");
}

/// The bytes of one small file are fixed: a change of the format needs a new format number.
#[test]
fn bytes_are_stable() {
    let artifact = Artifact::new(header(Kind::Linear, 2), &Model::Linear(linear(2))).unwrap();
    assert_eq!(hex(&artifact.hash()), STABLE);
}
const STABLE: &str = "652509fd74e03c8960a4869c5f3c82227d09918b40b7be8263c6048de9040f60";

/// Each kind of damage has its own code.
#[test]
fn refusals() {
    let good = forged(|_| ());
    assert_eq!(code(&good), "read");
    let mut changed = good.clone();
    let middle = changed.len() - 40;
    changed[middle] ^= 1;
    assert_eq!(code(&changed), "TL0504");
    assert_eq!(code(b""), "TL0501");
    assert_eq!(code(b"TLMD"), "TL0501");
    assert_eq!(code(&good[..good.len() - 1]), "TL0501");
    assert_eq!(code(&good[..60]), "TL0501");
    assert_eq!(code(b"PK\x03\x04 something else"), "TL0502");
    assert_eq!(code(&forged(|b| b[4] = 2)), "TL0503");
    assert_eq!(code(&forged(|b| b[6] = 1)), "TL0505");
    assert_eq!(code(&forged(|b| b[12] = b'[')), "TL0505");
    assert_eq!(code(&forged(|b| b[8..12].copy_from_slice(&[255; 4]))), "TL0505");
    assert_eq!(code(&forged(|b| replace(b, "\"rows\":350", "\"r0ws\":350"))), "TL0505");
    assert_eq!(code(&forged(|b| replace(b, "\"name\":\"f1\"", "\"name\":\"f0\""))), "TL0505");
    assert_eq!(code(&forged(|b| b.extend([0; 8]))), "TL0505");
    assert_eq!(code(&forged(|b| replace(b, "\"kind\":\"pca\"", "\"kind\":\"PCA\""))), "TL0505");
    assert_eq!(code(&forged(|b| replace(b, "\"shape\":[2,3]", "\"shape\":[3,2]"))), "TL0506");
    assert_eq!(code(&forged(|b| replace(b, "\"dtype\":\"f64\"", "\"dtype\":\"f32\""))), "TL0506");
    assert_eq!(code(&forged(|b| replace(b, "\"loadings\"", "\"loadingz\""))), "TL0506");
    assert_eq!(code(&forged(|b| b.truncate(b.len() - 8))), "TL0506");
    assert_eq!(code(&forged(|b| replace(b, "\"name\":\"f1\"", "\"name\":\"f7\""))), "TL0512");
    assert_eq!(code(&forged(|b| replace(b, "\"unit\":\"bar\"", "\"unit\":\"psi\""))), "TL0512");
    let last = |x: f64| {
        move |b: &mut Vec<u8>| {
            let at = b.len() - 8;
            b[at..].copy_from_slice(&x.to_le_bytes());
        }
    };
    assert_eq!(code(&forged(last(f64::NAN))), "TL0507");
    assert_eq!(code(&forged(last(f64::INFINITY))), "TL0507");
    assert_eq!(code(&forged(last(-1.0))), "TL0508");
    assert_eq!(code(&vec![b'T'; BYTES_MAX + 1]), "TL0509");
}

/// Models that cannot be right are not even written.
#[test]
fn not_made() {
    let refuse = |kind, p, model: &Model| Artifact::new(header(kind, p), model).unwrap_err().code();
    let spoilt = |change: fn(&mut PcaPlan)| {
        let mut plan = pca(3, 2);
        change(&mut plan);
        refuse(Kind::Pca, 3, &Model::Pca(plan))
    };
    assert_eq!(spoilt(|p| p.scale[1] = 0.0), "TL0508");
    assert_eq!(spoilt(|p| p.eigenvalues[1] = 2.0), "TL0508");
    assert_eq!(spoilt(|p| p.loadings[1] = 0.1), "TL0508");
    assert_eq!(spoilt(|p| p.alarm.t2 = 0.0), "TL0508");
    assert_eq!(spoilt(|p| p.alarm.t2 = f64::NAN), "TL0507");
    assert_eq!(spoilt(|p| p.mean.truncate(1)), "TL0506");
    assert_eq!(spoilt(|p| p.eigenvalues.clear()), "TL0506");
    assert_eq!(spoilt(|p| p.lags = 1), "TL0506");
    assert_eq!(refuse(Kind::Pca, 1, &Model::Pca(lagged(1, 11, 2))), "TL0508");
    // A file of single rows is the one it was before there were lags, and says nothing of them;
    // one that says 0 was not written by trimloop.
    let plain = Artifact::new(header(Kind::Pca, 3), &Model::Pca(pca(3, 2))).unwrap();
    let body = plain.body();
    assert!(!body.windows(4).any(|word| word == b"lags"));
    let lags = Artifact::new(header(Kind::Pca, 3), &Model::Pca(lagged(3, 1, 2))).unwrap();
    let mut body = lags.body();
    let last = body.len();
    body.splice(last - 2..last, [0, 0]);
    assert_eq!(code(&sealed(body)), "TL0506");
    let mut plan = linear(2);
    plan.span[1] = (1.0, 0.0);
    assert_eq!(refuse(Kind::Linear, 2, &Model::Linear(plan)), "TL0508");
    let mut plan = linear(2);
    plan.half_width = -1.0;
    assert_eq!(refuse(Kind::Linear, 2, &Model::Linear(plan)), "TL0508");
    assert_eq!(refuse(Kind::Linear, 3, &Model::Pca(pca(3, 2))), "TL0505");
    assert_eq!(refuse(Kind::Pca, 0, &Model::Pca(pca(3, 2))), "TL0505");
}

/// Dynamic monitors that cannot be right are not written either, each for its own reason.
#[test]
fn monitors_not_made() {
    let spoilt = |change: fn(&mut MonitorPlan)| {
        let mut plan = monitor(3);
        change(&mut plan);
        let made = Artifact::new(header(Kind::Monitor, 3), &Model::Monitor(plan));
        let error = made.unwrap_err();
        (error.code(), error.to_string())
    };
    let shape: [fn(&mut MonitorPlan); 3] =
        [|m| m.transition.truncate(6), |m| m.precision.push(1.0), |m| m.mean.clear()];
    for change in shape {
        assert_eq!(spoilt(change).0, "TL0506");
    }
    assert_eq!(spoilt(|m| m.transition[4] = f64::NAN).0, "TL0507");
    let impossible: [(Spoil<MonitorPlan>, &str); 9] = [
        (|m| m.scale[1] = 0.0, "scale"),
        (|m| m.gap.clear(), "1 to 64 missing rows"),
        (|m| m.gap.resize(65, 2.0), "1 to 64 missing rows"),
        (|m| m.gap[0] = 0.9, "after a gap"),
        (|m| m.weight_t2 = 0.0, "weight"),
        (|m| m.weight_spe = 1.1, "weight"),
        (|m| m.alarm.spe = 0.0, "limit"),
        (|m| m.precision[1] = 0.1, "positive definite"),
        (|m| m.precision[8] = -1.0, "positive definite"),
    ];
    for (change, why) in impossible {
        let (code, text) = spoilt(change);
        assert!(code == "TL0508" && text.contains(why), "{code} {text}: not about {why}");
    }
    // Symmetric, each variance positive, and still the inverse of no covariance.
    let wild = |m: &mut MonitorPlan| (m.precision[1], m.precision[3]) = (2.0, 2.0);
    assert_eq!(spoilt(wild).0, "TL0508");
}

/// Every missing feature is named; a unit is compared letter by letter.
#[test]
fn binding() {
    let artifact = Artifact::new(header(Kind::Pca, 3), &Model::Pca(pca(3, 2))).unwrap();
    let error = artifact.bind(|name| (name == "f1").then_some((FeatureId(4), "bar"))).unwrap_err();
    assert_eq!(error, ArtifactError::MissingFeatures(vec!["f0".to_owned(), "f2".to_owned()]));
    let error = artifact
        .bind(|name| Some((FeatureId(0), if name == "f2" { "psi" } else { "bar" })))
        .unwrap_err();
    assert_eq!(error.code(), "TL0511");
    assert!(error.to_string().contains("f2 in \"bar\""), "{error}");
    let other = |unit: &str| {
        let mut header = header(Kind::Pca, 3);
        header.features[2].unit = unit.to_owned();
        header.schema_hash()
    };
    assert_ne!(other("psi"), artifact.header().schema_hash());
    assert_eq!(other("bar"), artifact.header().schema_hash());
}

/// Codes are unique and messages are sentences without type names.
#[test]
fn codes_are_unique() {
    let text = String::new;
    let all = [
        ArtifactError::Truncated { have: 1, need: Some(2) },
        ArtifactError::Magic,
        ArtifactError::Format(2),
        ArtifactError::Digest,
        ArtifactError::Header(text()),
        ArtifactError::Shape(text()),
        ArtifactError::NotFinite { array: text(), index: 0 },
        ArtifactError::Impossible(text()),
        ArtifactError::TooLarge(1),
        ArtifactError::MissingFeatures(Vec::new()),
        ArtifactError::Unit { feature: text(), model: text(), recipe: text() },
        ArtifactError::Schema,
    ];
    let codes: BTreeSet<_> = all.iter().map(ArtifactError::code).collect();
    let texts: BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!((codes.len(), texts.len()), (all.len(), all.len()));
}

proptest! {
    /// A file with any one byte changed is refused.
    #[test]
    fn any_mutated_byte_is_refused(at in any::<prop::sample::Index>(), bits in 1_u8..) {
        let mut bytes = forged(|_| ());
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        prop_assert!(Artifact::read(&bytes).is_err());
    }

    /// A file cut anywhere is refused as cut short.
    #[test]
    fn any_cut_is_truncation(at in any::<prop::sample::Index>()) {
        let bytes = forged(|_| ());
        prop_assert_eq!(code(&bytes[..at.index(bytes.len())]), "TL0501");
    }

    /// Behind a digest that fits, anything is either refused or exactly what would be written;
    /// nothing panics.
    #[test]
    fn forgeries_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        digits in any::<bool>(),
    ) {
        let bytes = forged(|body| {
            for (at, byte) in &changes {
                let at = at.index(body.len());
                // Digits reach shapes and offsets where random bytes only break the JSON.
                if !digits {
                    body[at] = *byte;
                } else if body[at].is_ascii_digit() {
                    body[at] = b'0' + byte % 10;
                }
            }
        });
        if let Ok(artifact) = Artifact::read(&bytes) {
            prop_assert_eq!(artifact.write(), bytes);
        }
    }

    /// Random bytes are refused.
    #[test]
    fn noise_is_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..400), magic: bool) {
        if magic {
            bytes.splice(0..0, *b"TLMD\x01\0\0\0");
        }
        prop_assert!(Artifact::read(&bytes).is_err());
    }
}

fn reference(p: u16) -> Reference {
    let input = |feature| trimloop_core::plan::InputReference {
        feature: FeatureId(feature),
        ends: std::array::from_fn(|i| f64::from(feature) + i as f64),
        shares: [0.1; 10],
        rows: 300.0,
        memory: 0.25,
    };
    let score = trimloop_core::plan::ScoreReference { mean: 0.3, deviation: 0.1, memory: 0.5 };
    // The second input holds words: it is not watched.
    Reference { inputs: (0..p).filter(|i| *i != 1).map(input).collect(), score: Some(score) }
}

/// What the training rows looked like comes back as it was, whatever the kind; an artifact without
/// it is what it was, byte for byte, and numbers that no rows have are refused.
#[test]
fn a_reference_comes_back() {
    let plain = Artifact::new(header(Kind::Pca, 3), &Model::Pca(pca(3, 2))).unwrap();
    assert_eq!(plain.reference(), None);
    let kept = plain.clone().with_reference(&reference(3)).unwrap();
    let read = Artifact::read(&kept.write()).unwrap();
    assert_eq!(read.reference(), Some(reference(3)));
    assert_ne!(read.hash(), plain.hash());
    let ids = |name: &str| Some((FeatureId(u16::from(name.as_bytes()[1] - b'0')), "bar"));
    assert_eq!(read.bind(ids), plain.bind(ids));
    // A second reference takes the place of the first; without a score it has none.
    let other = Reference { score: None, ..reference(3) };
    let again = kept.with_reference(&other).unwrap();
    assert_eq!(again.reference(), Some(other.clone()));
    let linear = Artifact::new(header(Kind::Linear, 3), &Model::Linear(linear(3))).unwrap();
    let linear = linear.with_reference(&other).unwrap();
    assert_eq!(Artifact::read(&linear.write()).unwrap().reference(), Some(other));

    let refused = |spoil: Spoil<Reference>| {
        let mut reference = reference(3);
        spoil(&mut reference);
        plain.clone().with_reference(&reference).unwrap_err().code()
    };
    let impossible = "TL0508";
    assert_eq!(refused(|r| r.inputs[0].ends[3] = -1.0), impossible);
    assert_eq!(refused(|r| r.inputs[0].shares[3] = 0.2), impossible);
    assert_eq!(
        refused(|r| r.inputs[0].shares = [-0.1, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
        impossible
    );
    assert_eq!(refused(|r| r.inputs[1].memory = 1.0), impossible);
    assert_eq!(refused(|r| r.inputs[1].rows = 0.5), impossible);
    assert_eq!(refused(|r| r.inputs[1].feature = FeatureId(3)), impossible);
    assert_eq!(refused(|r| r.score.as_mut().unwrap().deviation = 0.0), impossible);
    assert_eq!(refused(|r| r.score.as_mut().unwrap().mean = f64::NAN), "TL0507");
}
