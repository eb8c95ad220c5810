//! Forests on made-up rows, and that what is scored is what was grown.

use super::*;
use crate::noise::Noise;
use crate::table::{Table, TrainError};
use trimloop_core::feature::FeatureValue;
use trimloop_core::model::forest::Forest;

fn options<'a>() -> ForestOptions<'a> {
    ForestOptions {
        trees: 30,
        seed: 7,
        steps: Vec::new(),
        propose: true,
        units: Vec::new(),
        coded: Vec::new(),
        blocked: false,
        runs: None,
        progress: &|_, _, _| true,
    }
}

fn table(names: &[&str], rows: &[Vec<f64>]) -> Table {
    Table::new(names.iter().map(|name| (*name).to_owned()).collect(), rows).unwrap()
}

fn names(classes: &[&str]) -> Vec<String> {
    classes.iter().map(|class| (*class).to_owned()).collect()
}

/// Three classes by two of three inputs, a tenth of the labels wrong.
fn three(seed: u64, n: usize) -> (Table, Vec<u16>) {
    let mut noise = Noise::new(seed);
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    for _ in 0..n {
        let row = vec![noise.normal(), 5.0 + noise.normal(), noise.normal()];
        let class = if row[0] > 0.5 { 2 } else { u16::from(row[1] > 5.0) };
        labels.push(if noise.uniform() < 0.1 { 2 - class } else { class });
        rows.push(row);
    }
    (table(&["a", "b", "c"], &rows), labels)
}

/// What the core says of a row is what the trees voted, for all rows and both numbers of outputs.
#[test]
fn scored_as_grown() {
    for classes in [2_u16, 3] {
        let (table, labels) = three(1, 200);
        let labels: Vec<u16> = labels.iter().map(|label| (*label).min(classes - 1)).collect();
        let columns = derive::columns(&table, &[], &[]).unwrap();
        let ranks = Ranks::new(&columns);
        let data = Labelled { columns, labels, classes: usize::from(classes) };
        for random in [false, true] {
            let growth = Growth { trees: 19, random, ..Growth::default() };
            let all: Vec<u32> = (0..200).collect();
            let trees = grow(&ranks, &data, &growth, (&[0, 1, 2], &all), &|| true).unwrap();
            let k = if classes == 2 { 1 } else { 3 };
            let mut expect = vec![0.0; k];
            let named = (0..classes).map(|class| class.to_string()).collect();
            let plan = plan(trees.clone(), 3, Vec::new(), &[0, 1, 2], named);
            assert!(plan.fits());
            let mut forest = Forest::new(&plan);
            let mut shares = vec![0.0; 3];
            for row in 0..200 {
                let features: Vec<FeatureValue> = table
                    .row(row)
                    .iter()
                    .map(|x| FeatureValue { value: Some(*x), coverage: 1.0 })
                    .collect();
                assert!(forest.score(&plan, &features, None).known);
                vote(&trees, &data.columns, &mut [(row, &mut expect)]);
                for (class, (have, expect)) in forest.outputs().iter().zip(&expect).enumerate() {
                    assert!((have - expect).abs() < 1e-12);
                    let class = if k == 1 { 1 } else { class };
                    let root = forest.contributions(&plan, class, &mut shares);
                    assert!((root + shares.iter().sum::<f64>() - have).abs() < 1e-6);
                }
            }
        }
    }
}

/// Fresh rows are told apart nearly as well as the noise of the labels allows, the held-out rows
/// say so, and probabilities are kept.
#[test]
fn learns_and_knows_how_well() {
    let (train, labels) = three(2, 600);
    let options = ForestOptions { trees: 100, ..options() };
    let fit = fit_forest(&train, &labels, &names(&["x", "y", "z"]), &options).unwrap();
    let (fresh, truth) = three(3, 1000);
    let mut forest = Forest::new(&fit.plan);
    let (mut right, mut said) = (0.0, 0.0);
    for (row, label) in fresh.iter().zip(&truth) {
        let features: Vec<FeatureValue> =
            row.iter().map(|x| FeatureValue { value: Some(*x), coverage: 1.0 }).collect();
        forest.score(&fit.plan, &features, None);
        let best = forest.best();
        right += f64::from(u8::from(best == usize::from(*label)));
        said += forest.probabilities()[best];
    }
    assert!(right / 1000.0 > 0.85, "{right}");
    assert!((fit.held_out.accuracy - right / 1000.0).abs() < 0.04, "{}", fit.held_out.accuracy);
    assert!((said - right).abs() / 1000.0 < 0.06, "said {said}, right {right}");
}

/// Of columns that no split on one input can use, the product is proposed and taken.
#[test]
fn finds_a_product() {
    let mut noise = Noise::new(4);
    let row = |_| vec![10.0 + 3.0 * noise.normal(), 20.0 + 6.0 * noise.normal(), noise.normal()];
    let rows: Vec<Vec<f64>> = (0..500).map(row).collect();
    let labels: Vec<u16> = rows.iter().map(|row| u16::from(row[0] * row[1] > 220.0)).collect();
    let table = table(&["torque", "speed", "other"], &rows);
    let fit = fit_forest(&table, &labels, &names(&["ok", "over"]), &options()).unwrap();
    assert!(fit.columns.iter().any(|column| column == "torque * speed"), "{:?}", fit.columns);
    assert!(fit.held_out.accuracy > 0.97, "{}", fit.held_out.accuracy);
}

/// The same seed gives the same plan; another one another.
#[test]
fn same_seed_same_plan() {
    let (table, labels) = three(5, 150);
    let of = |seed| {
        let options = ForestOptions { seed, ..options() };
        fit_forest(&table, &labels, &names(&["x", "y", "z"]), &options).unwrap().plan
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).values, of(2).values);
}

/// A process that steps to one of three patterns: evidence names it soon after the step, though the
/// run begins as the others do.
#[test]
fn names_a_cause() {
    let run = |seed: u64, cause: usize, from: usize, n: usize| -> Vec<Vec<f64>> {
        let mut noise = Noise::new(seed);
        let row = |at: usize| {
            let on = f64::from(u8::from(at >= from));
            let mut row: Vec<f64> = (0..3).map(|_| noise.normal()).collect();
            match cause {
                0 => row[0] += 1.5 * on,
                1 => row[0] *= 1.0 + 1.5 * on,
                _ => row[1] += 1.5 * on,
            }
            row
        };
        (0..n).map(row).collect()
    };
    let (mut rows, mut labels, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for cause in 0..3_u16 {
        let from = rows.len();
        rows.extend(run(u64::from(cause), usize::from(cause), 0, 300));
        labels.extend([cause; 300]);
        runs.push(from..rows.len());
    }
    let options = ForestOptions { runs: Some(runs), ..options() };
    let table = table(&["a", "b", "c"], &rows);
    let fit = fit_forest(&table, &labels, &names(&["1", "2", "3"]), &options).unwrap();
    let mut forest = Forest::new(&fit.plan);
    for cause in 0..3 {
        forest.reset();
        for row in run(90 + cause as u64, cause, 50, 100) {
            let features: Vec<FeatureValue> =
                row.iter().map(|x| FeatureValue { value: Some(*x), coverage: 1.0 }).collect();
            assert!(forest.score(&fit.plan, &features, None).known);
        }
        assert_eq!(forest.cause(&fit.plan), cause);
    }
}

/// Mean votes by class, also of two classes, where only those of the second are kept.
#[test]
fn likeness_is_the_mean_of_votes() {
    let close = |have: Vec<f64>, expect: &[f64]| {
        assert_eq!(have.len(), expect.len());
        assert!(have.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-12), "{have:?}");
    };
    let two = [vec![0.25], vec![0.75], vec![1.0]];
    let expect = [1.75 / 3.0, 1.25 / 3.0, 1.25 / 4.0, 2.75 / 4.0];
    close(calibrate::likeness(&two, &[0, 1, 1], 2), &expect);
    let three = [vec![0.5, 0.5, 0.0], vec![0.0, 1.0, 0.0]];
    let third = 1.0 / 3.0;
    let expect =
        [1.5 / 4.0, 1.5 / 4.0, 1.0 / 4.0, third, third, third, 1.0 / 4.0, 2.0 / 4.0, 1.0 / 4.0];
    close(calibrate::likeness(&three, &[0, 2], 3), &expect);
}

/// Of a long table every tree has a sample of its own, the same one with the same seed, and no leaf
/// of single rows.
#[test]
fn long_tables_are_sampled() {
    let (table, labels) = three(8, grow::TREE_ROWS_MAX + 5_000);
    let columns = derive::columns(&table, &[], &[]).unwrap();
    let ranks = Ranks::new(&columns);
    let data = Labelled { columns, labels, classes: 3 };
    let all: Vec<u32> = (0..25_000).collect();
    for random in [false, true] {
        let growth = Growth { trees: 4, depth: 6, random, ..Growth::default() };
        let of = || grow(&ranks, &data, &growth, (&[0, 1, 2], &all), &|| true).unwrap();
        let trees = of();
        // The root says the shares of the classes in the sample, in 20,000 parts.
        let mut roots = Vec::new();
        for (tree, again) in trees.iter().zip(of()) {
            assert_eq!((&tree.nodes, &tree.values), (&again.nodes, &again.values));
            let rows = f64::from(tree.values[0]) * grow::TREE_ROWS_MAX as f64;
            assert!((rows - rows.round()).abs() < 0.01, "{rows}");
            roots.push(tree.values[0].to_bits());
        }
        roots.sort_unstable();
        roots.dedup();
        assert_eq!(roots.len(), 4);
    }
}

/// Progress is told after each tree, up to the last one.
#[test]
fn progress_is_told() {
    let (table, labels) = three(9, 60);
    let told = std::sync::Mutex::new((0, 0, 0));
    let progress = |_: &str, done: u64, all: u64| {
        let mut told = told.lock().unwrap();
        *told = (told.0 + 1, told.1.max(done), all);
        true
    };
    let options = ForestOptions { trees: 10, propose: false, progress: &progress, ..options() };
    fit_forest(&table, &labels, &names(&["x", "y", "z"]), &options).unwrap();
    let (times, done, all) = *told.lock().unwrap();
    assert_eq!((times, done), (all, all));
}

/// What cannot be learnt is said, and a request to stop is heard.
#[test]
fn refuses() {
    let (table, mut labels) = three(6, 100);
    let classes = names(&["x", "y", "z"]);
    let few = Table::new(table.names().to_vec(), &[vec![1.0; 3], vec![2.0; 3]]).unwrap();
    let error = fit_forest(&few, &[0, 1], &classes, &options()).unwrap_err();
    assert!(matches!(error, TrainError::TooFewRows { have: 2, .. }), "{error}");
    let error = fit_forest(&table, &labels[1..], &classes, &options()).unwrap_err();
    assert!(matches!(error, TrainError::Labels { labels: 99, rows: 100 }), "{error}");
    let stop = ForestOptions { progress: &|_, _, _| false, ..options() };
    assert_eq!(fit_forest(&table, &labels, &classes, &stop).unwrap_err(), TrainError::Stopped);
    for label in &mut labels {
        *label = (*label).min(1);
    }
    labels[0] = 2;
    let error = fit_forest(&table, &labels, &classes, &options()).unwrap_err();
    assert_eq!(error, TrainError::Class { class: "z".to_owned(), rows: 1, need: 2 });
}

/// Thresholds lie between the values they part, whatever the rounding to `f32` does.
#[test]
fn thresholds_part_neighbours() {
    let a = 1.0_f32;
    let b = a.next_up();
    let ranks = Ranks::new(&[vec![a, b, 3.0]]);
    for (low, high, share) in [(0, 1, 0.5), (0, 1, 1e-9), (0, 1, 1.0), (1, 2, 0.999_999_999)] {
        let threshold = ranks.between(0, low, high, share);
        assert_eq!(ranks.last_left(0, threshold), low, "{threshold}");
    }
    let threshold = ranks.middle(0, 0, 1);
    assert!(a <= threshold && threshold < b);
}
