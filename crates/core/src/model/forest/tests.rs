//! Small forests, by hand.

use super::*;
use crate::model::tests::{unknown, value};
use crate::plan::{Directions, FeatureId, LinearTerms, Reach};
use alloc::string::String;

fn split(threshold: f32, column: u16, left: u16) -> Node {
    Node { threshold, column, left }
}

fn leaf(place: u16) -> Node {
    split(f32::MAX, 0, place)
}

/// Two trees over two inputs and their product, three classes.
fn plan() -> ForestPlan {
    ForestPlan {
        inputs: vec![FeatureId(1), FeatureId(0)],
        steps: vec![Step::Product(0, 1)],
        span: vec![(0.0, 10.0), (0.0, 10.0)],
        domain: None,
        trees: vec![Tree { root: 0, depth: 1 }, Tree { root: 3, depth: 2 }],
        nodes: vec![
            split(2.0, 0, 1),
            leaf(1),
            leaf(2),
            split(6.0, 2, 1),
            leaf(1),
            split(4.0, 1, 3),
            leaf(3),
            leaf(4),
        ],
        values: [
            [0.5, 0.25, 0.25],
            [1.0, 0.0, 0.0],
            [0.0, 0.5, 0.5],
            [0.2, 0.4, 0.4],
            [0.75, 0.25, 0.0],
            [0.0, 0.5, 0.5],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
        ]
        .concat(),
        base: vec![0.0; 3],
        factor: 0.5,
        link: Link::Share,
        slope: 1.0,
        bias: vec![0.0; 3],
        classes: ["a", "b", "c"].map(String::from).to_vec(),
        weights: vec![1.0; 3],
        remember: None,
        likeness: None,
        directions: None,
        reach: None,
        linear: None,
        network: None,
        half_width: None,
    }
}

/// Leaves, derived column, best class, domain and contributions by hand.
#[test]
fn by_hand() {
    let plan = plan();
    assert!(plan.fits());
    let mut forest = Forest::new(&plan);
    // input 0 (feature 1), input 1 (feature 0), outputs, best, in domain
    let rows = [
        (2.0, 3.0, [0.875, 0.125, 0.0], 0, true),
        (2.1, 3.0, [0.0, 0.75, 0.25], 1, true),
        (2.1, 4.5, [0.0, 0.25, 0.75], 2, true),
        (11.0, 0.5, [0.375, 0.375, 0.25], 0, false),
    ];
    for (x, y, expect, best, inside) in rows {
        let score = forest.score(&plan, &[value(y), value(x)], None);
        assert!(score.known);
        for (have, expect) in forest.probabilities().iter().zip(expect) {
            assert!(libm::fabs(have - expect) < 1e-7, "{x} {y}: {:?}", forest.probabilities());
        }
        assert_eq!((forest.best(), score.in_domain), (best, inside), "{x} {y}");
        let mut shares = [0.0; 3];
        for (class, output) in expect.iter().enumerate() {
            let roots = forest.contributions(&plan, class, &mut shares);
            assert!(libm::fabs(roots + shares.iter().sum::<f64>() - output) < 1e-6);
        }
    }
    let before = forest.probabilities().to_vec();
    assert!(!forest.score(&plan, &[value(1.0), unknown()], None).known);
    assert!(!forest.score(&plan, &[value(1e30), value(1e30)], None).known);
    assert_eq!(forest.probabilities(), before);
    assert!(!forest.score(&plan, &[value(3.0), value(2.0)], Some(false)).in_domain);
}

/// Five of ten votes of 0.1 each are a tie, which goes to the first class, as in the runtime that the
/// model is from: the ten numbers of `f32` have a sum above 1. Six win. So with three classes.
#[test]
fn votes_of_a_tenth_tie() {
    let mut plan = plan();
    plan.trees = (0..10).map(|i| Tree { root: 3 * i, depth: 1 }).collect();
    let vote = |i: u8| [split(f32::from(i) + 0.5, 0, 1), leaf(1), leaf(2)];
    plan.nodes = (0..10).flat_map(vote).collect();
    plan.values = [0.05, 0.0, 0.1].repeat(10);
    plan.classes.truncate(2);
    (plan.base, plan.bias, plan.weights) = (vec![0.0], vec![0.0], vec![1.0; 2]);
    plan.factor = 1.0;
    assert!(plan.fits());
    let mut forest = Forest::new(&plan);
    for (x, best) in [(4.0, 0), (5.0, 0), (6.0, 1)] {
        assert!(forest.score(&plan, &[value(1.0), value(x)], None).known);
        assert_eq!(forest.best(), best, "{x}: {:?}", forest.probabilities());
    }
    assert!(forest.probabilities()[1] > 0.6);
    plan.classes.push("c".into());
    (plan.base, plan.bias, plan.weights) = (vec![0.0; 3], vec![0.0; 3], vec![1.0; 3]);
    plan.values = [[0.0; 3], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0]].concat().repeat(10);
    let mut forest = Forest::new(&plan);
    forest.score(&plan, &[value(1.0), value(5.0)], None);
    assert_eq!((forest.best(), forest.probabilities()[2]), (0, 0.0));
}

/// Nine equal trees, eight of which go down together, say what one says.
#[test]
fn groups_agree() {
    let one = plan();
    let mut many = plan();
    let nodes = one.nodes.get(3..).unwrap();
    many.nodes = nodes.repeat(9);
    many.values = one.values.get(9..).unwrap().repeat(9);
    many.trees = (0..9).map(|i| Tree { root: i * 5, depth: 2 }).collect();
    many.factor = 1.0 / 9.0;
    assert!(many.fits());
    let mut forest = Forest::new(&many);
    forest.score(&many, &[value(4.5), value(2.1)], None);
    assert!(libm::fabs(forest.probabilities()[2] - 1.0) < 1e-12);
}

/// Votes and margins through slope and bias, for two classes and for more.
#[test]
fn calibrates() {
    let mut plan = plan();
    plan.link = Link::Votes;
    plan.slope = 2.0;
    let mut forest = Forest::new(&plan);
    forest.score(&plan, &[value(3.0), value(2.0)], None);
    let weights = [0.876_f64, 0.126, 0.001].map(|x| x * x);
    let sum: f64 = weights.iter().sum();
    for (p, weight) in forest.probabilities().iter().zip(weights) {
        assert!(libm::fabs(p - weight / sum) < 1e-9);
    }
    plan.nodes.truncate(3);
    plan.trees.truncate(1);
    plan.classes.truncate(2);
    plan.weights = vec![1.0, 9.0];
    (plan.base, plan.bias, plan.factor) = (vec![-1.0], vec![0.5], 1.0);
    (plan.link, plan.slope) = (Link::Margin, 2.0);
    plan.values = vec![0.0, 0.5, 2.0];
    let mut forest = Forest::new(&plan);
    forest.score(&plan, &[value(3.0), value(1.0)], None);
    let p = 1.0 / (1.0 + libm::exp(0.5));
    assert!(libm::fabs(forest.probabilities()[1] - p) < 1e-12);
    // 0.38 counts nine times.
    assert_eq!(forest.best(), 1);
    let mut shares = [0.0; 3];
    assert!(libm::fabs(forest.contributions(&plan, 1, &mut shares) + 1.0) < 1e-12);
    assert!(libm::fabs(shares[0] - 0.5) < 1e-12);
    forest.contributions(&plan, 0, &mut shares);
    assert!(libm::fabs(shares[0] + 0.5) < 1e-12);
}

/// Linear terms beside trees, of a soft sensor: prediction, interval, domain, contributions.
#[test]
fn predicts() {
    let mut plan = plan();
    plan.classes.clear();
    plan.weights.clear();
    (plan.base, plan.bias) = (vec![0.25], vec![0.0]);
    plan.values = plan.values.chunks(3).map(|row| row[0]).collect();
    plan.linear =
        Some(LinearTerms { coefficients: vec![2.0, -1.0, 0.0], centre: vec![1.0, 3.0, 0.0] });
    plan.half_width = Some(0.5);
    assert!(plan.fits());
    let score = |plan: &ForestPlan, x: f64, y: f64| {
        let mut forest = Forest::new(plan);
        (forest.score(plan, &[value(y), value(x)], None), forest)
    };
    // Trees give 0.875 at (2, 3), of which 0.35 at the roots.
    let (found, forest) = score(&plan, 2.0, 3.0);
    assert!(libm::fabs(found.value - 2.125) < 1e-12, "{found:?}");
    assert!(libm::fabs(found.low - 1.625) < 1e-12 && libm::fabs(found.high - 2.625) < 1e-12);
    assert!(found.in_domain && forest.probabilities().is_empty());
    let mut shares = [0.0; 3];
    let roots = forest.contributions(&plan, 0, &mut shares);
    assert!(libm::fabs(roots - (0.25 + 0.35 + 2.0 - 3.0)) < 1e-7, "{roots}");
    assert!(libm::fabs(roots + shares.iter().sum::<f64>() - 2.125) < 1e-12);
    assert!(!score(&plan, 11.0, 3.0).0.in_domain);
    // Never held against labels, or against rows at all: never in domain.
    plan.half_width = None;
    let (found, _) = score(&plan, 2.0, 3.0);
    assert!(found.known && !found.in_domain && found.low.is_nan() && found.high.is_nan());
    plan.half_width = Some(0.5);
    plan.span.clear();
    assert!(plan.fits());
    let (found, forest) = score(&plan, 2.0, 3.0);
    assert!(found.known && !found.in_domain);
    let mut offered = 0;
    forest.offer(&plan, |c| {
        assert_eq!(c.z, 0.0);
        offered += 1;
    });
    assert_eq!(offered, 2);
    // Linear terms alone.
    plan.trees.clear();
    plan.nodes.clear();
    plan.values.clear();
    assert!(plan.fits());
    assert!(libm::fabs(score(&plan, 2.0, 3.0).0.value - 1.25) < 1e-12);
}

/// Mean, deviation and root mean square of changes follow their recursions from the first part
/// on; a part that is unknown leaves them alone; a reset begins anew.
#[test]
fn steps_remember() {
    let mut plan = plan();
    plan.steps = vec![
        Step::Mean { of: 0, weight: 0.5 },
        Step::Deviation { of: 0, weight: 0.5 },
        Step::Successive { of: 0, weight: 0.5 },
    ];
    let mut forest = Forest::new(&plan);
    let mut columns = |x: f64| {
        let columns = forest.columns_of(&plan, &[x, 1.0]);
        columns.map(|c| [c[2], c[3], c[4]])
    };
    assert_eq!(columns(1.0), Some([1.0, 0.0, 0.0]));
    // Mean 2, variance 0.5 (0 + 0.5 * 4) = 1, mean square 2.
    let [mean, deviation, change] = columns(3.0).unwrap();
    assert_eq!((mean, deviation), (2.0, 1.0));
    assert!(libm::fabs(change - libm::sqrt(2.0)) < 1e-12);
    assert_eq!(columns(f64::NAN), None);
    let [mean, ..] = columns(2.0).unwrap();
    assert_eq!(mean, 2.0);
    forest.reset();
    assert_eq!(forest.columns_of(&plan, &[7.0, 1.0]).unwrap()[2], 7.0);
}

/// Evidence speaks for what came most, and gives way when something else comes.
#[test]
fn evidence_adds_up() {
    let mut plan = plan();
    plan.remember = Some(0.8);
    let mut forest = Forest::new(&plan);
    let mut cause = |x: f64, y: f64, times: usize| {
        for _ in 0..times {
            forest.score(&plan, &[value(y), value(x)], None);
        }
        forest.cause(&plan)
    };
    assert_eq!(cause(2.1, 4.5, 10), 2);
    assert_eq!(cause(1.0, 1.0, 10), 0);
    assert_eq!(cause(2.1, 4.5, 10), 2);
}

/// A plan whose classes b and c are often taken for one another.
fn alike() -> ForestPlan {
    let likeness = Some(vec![0.8, 0.1, 0.1, 0.1, 0.5, 0.4, 0.1, 0.3, 0.6]);
    ForestPlan { link: Link::Votes, remember: Some(0.9), likeness, ..plan() }
}

/// The first parts change the log-odds as the formula says.
#[test]
fn likeness_by_hand() {
    let plan = alike();
    assert!(plan.fits());
    let mut forest = Forest::new(&plan);
    // Votes 0, 0.25, 0.75.
    let part = [value(4.5), value(2.1)];
    let of = |b: f64, c: f64| 0.25 * libm::log(b) + 0.75 * libm::log(c);
    let says = [of(0.1, 0.1), of(0.5, 0.4), of(0.3, 0.6)];
    let mut p = [1.0 / 3.0; 3];
    for _ in 0..3 {
        forest.score(&plan, &part, None);
        let prior = p.map(|p| 0.9 * p + 0.1 / 3.0);
        let mut sum = 0.0;
        for ((p, prior), says) in p.iter_mut().zip(prior).zip(says) {
            *p = prior * libm::exp(says);
            sum += *p;
        }
        p = p.map(|p| p / sum);
        let mut have: Vec<f64> = forest.evidence.clone();
        softmax(&mut have);
        for (have, expect) in have.iter().zip(p) {
            assert!(libm::fabs(have - expect) < 1e-12, "{have} {expect}");
        }
    }
    assert_eq!(forest.cause(&plan), 2);
}

/// Votes that are shared as parts of a class share them speak for that class, though each votes
/// for another; and parts before a change are undone at the same pace however many they were.
#[test]
fn likeness_tells_classes_apart_that_votes_confuse() {
    let mut plan = alike();
    // Parts of class b get more votes for c than for b.
    plan.likeness = Some(vec![0.8, 0.1, 0.1, 0.02, 0.38, 0.6, 0.02, 0.03, 0.95]);
    plan.values[5 * 3..6 * 3].copy_from_slice(&[0.0, 0.3, 0.7]);
    let after = |before: usize| {
        let mut forest = Forest::new(&plan);
        for _ in 0..before {
            forest.score(&plan, &[value(1.0), value(1.0)], None);
        }
        let mut parts = 0;
        while forest.cause(&plan) != 1 || parts == 0 {
            forest.score(&plan, &[value(3.0), value(2.1)], None);
            parts += 1;
            assert!(parts < 100);
        }
        parts
    };
    assert_eq!(after(100), after(10_000));
}

/// A part inside every span is out where it breaks the relation of the inputs; the score tells T2.
#[test]
fn reach_is_the_domain_of_all_inputs() {
    // Both inputs have variance 1 about 5 and a correlation of 0.8.
    let white = vec![1.0, -0.8 / 0.6, 1.0 / 0.6];
    let reach = Some(Reach { mean: vec![5.0, 5.0], white, t2_out: 9.0 });
    let plan = ForestPlan { reach, ..plan() };
    assert!(plan.fits());
    let mut forest = Forest::new(&plan);
    // input 0 (feature 1), input 1 (feature 0), in domain
    for (x, y, inside) in [(5.0, 5.0, true), (7.0, 7.0, true), (7.0, 3.0, false), (9.0, 9.0, false)]
    {
        let score = forest.score(&plan, &[value(y), value(x)], None);
        let (a, b) = (x - 5.0, y - 5.0);
        let t2 = (a * a - 1.6 * a * b + b * b) / 0.36;
        assert!(libm::fabs(score.t2 - t2) < 1e-9, "{} {t2}", score.t2);
        assert_eq!(score.in_domain, inside, "{x} {y}");
    }
    assert!(!forest.score(&plan, &[value(5.0), value(5.0)], Some(false)).in_domain);
    let spoil: [fn(&mut ForestPlan); 5] = [
        |p| p.span.clear(),
        |p| p.reach.as_mut().unwrap().mean.truncate(1),
        |p| p.reach.as_mut().unwrap().white.truncate(2),
        |p| p.reach.as_mut().unwrap().white[0] = f64::NAN,
        |p| p.reach.as_mut().unwrap().t2_out = 0.0,
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut plan = plan.clone();
        spoil(&mut plan);
        assert!(!plan.fits(), "{index}");
    }
}

/// As [`alike`], with one direction of each class: a, b and c move the process along its first
/// input, its second and both.
fn moved() -> ForestPlan {
    let directions = Directions {
        calm: vec![2.0, 2.0],
        weights: vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8],
        spread: vec![9.0, 9.0, 25.0],
        sizes: vec![0.25, 1.0],
        counts: 0.5,
        at_most: 4.0,
        worth: 0.25,
    };
    ForestPlan { directions: Some(directions), ..alike() }
}

/// Likelihoods at the size that fits best, and the evidence of votes and directions, by hand.
#[test]
fn directions_by_hand() {
    let plan = moved();
    assert!(plan.fits());
    let mut forest = Forest::new(&plan);
    // Input 0 is feature 1. Votes 0, 0.25, 0.75.
    forest.score(&plan, &[value(4.5), value(2.1)], None);
    let ratio = |y: f64, spread: f64| {
        let at = |size: f64| {
            let v = 1.0 + size * (spread - 1.0);
            (y * y * (1.0 - 1.0 / v) - libm::log(v)) / 2.0
        };
        at(0.25).max(at(1.0))
    };
    let of = [ratio(0.1, 9.0), ratio(2.5, 9.0), ratio(0.6 * 0.1 + 0.8 * 2.5, 25.0)];
    let have = &forest.likelihoods.as_ref().unwrap().of;
    assert!(have.iter().zip(of).all(|(have, of)| libm::fabs(have - of) < 1e-12), "{have:?}");
    let top = of[0].max(of[1]).max(of[2]);
    let votes = |b: f64, c: f64| 0.25 * libm::log(b) + 0.75 * libm::log(c);
    let votes = [votes(0.1, 0.1), votes(0.5, 0.4), votes(0.3, 0.6)];
    for (evidence, (of, votes)) in forest.evidence.iter().zip(of.iter().zip(votes)) {
        let says = 0.25 * (votes + (0.5 * (of - top)).max(-4.0));
        assert!(libm::fabs(evidence - libm::log(1.0 / 3.0) - says) < 1e-12, "{evidence}");
    }
}

/// A departure is known by its direction, small or large and with either sign, whatever the votes
/// say of parts so near to calm; what is far off says no more than the most.
#[test]
fn directions_know_a_cause_of_any_size() {
    let mut plan = moved();
    plan.likeness = Some(vec![1.0 / 3.0; 9]);
    for off in [-1e15, -40.0, -2.5, 2.5, 40.0, 1e15] {
        for (class, [a, b]) in [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]].into_iter().enumerate() {
            let mut forest = Forest::new(&plan);
            for _ in 0..60 {
                let part = [value(2.0 + b * off), value(2.0 + a * off)];
                assert!(forest.score(&plan, &part, None).known);
            }
            assert_eq!(forest.cause(&plan), class, "{off} {a} {b}");
            assert!(forest.evidence.iter().all(|x| x.is_finite()));
        }
    }
}

/// Arrays that do not fit together, or lead out of their tree, never give a known score.
#[test]
fn bad_plans_stay_unknown() {
    let spoil: [fn(&mut ForestPlan); 20] = [
        |p| p.directions = moved().directions,
        |p| p.likeness = alike().likeness,
        |p| p.half_width = Some(1.0),
        |p| p.span.truncate(1),
        |p| p.classes.truncate(1),
        |p| p.linear = Some(LinearTerms { coefficients: vec![1.0; 3], centre: vec![0.0; 3] }),
        |p| p.values.truncate(3),
        |p| p.values[0] = f32::NAN,
        |p| p.base.truncate(1),
        |p| p.weights[0] = 0.0,
        |p| p.slope = 0.0,
        |p| p.span[0] = (2.0, 1.0),
        |p| p.remember = Some(1.0),
        |p| p.steps[0] = Step::Product(0, 2),
        |p| p.trees[1].root = 4,
        |p| p.trees[1].depth = 1,
        |p| p.nodes[0].left = 0,
        |p| p.nodes[3].left = 3,
        |p| p.nodes[3].column = 3,
        |p| p.nodes[1].threshold = 1.0,
    ];
    for (index, spoil) in spoil.iter().enumerate() {
        let mut plan = plan();
        spoil(&mut plan);
        let mut forest = Forest::new(&plan);
        assert!(!forest.score(&plan, &[value(1.0), value(1.0)], None).known, "{index}");
    }
}

/// Directions that do not fit the inputs, the classes or themselves are never used.
#[test]
fn bad_directions_stay_unknown() {
    let spoil: [fn(&mut Directions); 8] = [
        |d| d.calm.truncate(1),
        |d| d.weights.truncate(5),
        |d| d.spread.truncate(2),
        |d| d.spread[0] = 0.0,
        |d| d.weights[1] = f64::NAN,
        |d| d.sizes.clear(),
        |d| d.sizes[0] = 1.5,
        |d| d.worth = 0.0,
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut plan = moved();
        spoil(plan.directions.as_mut().unwrap());
        assert!(!plan.fits(), "{index}");
        let mut forest = Forest::new(&plan);
        assert!(!forest.score(&plan, &[value(4.5), value(2.1)], None).known, "{index}");
    }
    let plan = ForestPlan { likeness: None, ..moved() };
    assert!(!plan.fits());
}
