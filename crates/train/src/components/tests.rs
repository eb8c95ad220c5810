//! Limits on fresh rows, on made-up processes and on the Tennessee Eastman process; lags against a
//! table that is lagged by hand.

use trimloop_core::feature::FeatureValue;
use trimloop_core::model::{Contribution, Models, Score};
use trimloop_core::plan::{Model, ModelId, ModelPlan, Plan};

use super::*;
use crate::noise::Noise;

/// Rows of 8 columns driven by a hidden factor with memory `slow` and one with `fast`, plus noise
/// with memory `fast`; from row `from` on column 2 follows the factors the other way, and twice as far.
fn process(seed: u64, n: usize, (slow, fast): (f64, f64), from: usize) -> Vec<Vec<f64>> {
    // The mixing is the same for every seed; only the course differs.
    let mut fixed = Noise::new(99);
    let mixing: Vec<f64> = (0..16).map(|_| fixed.normal()).collect();
    let mut noise = Noise::new(seed);
    let mut factors = [noise.normal(), noise.normal()];
    let mut own: Vec<f64> = (0..8).map(|_| noise.normal()).collect();
    let mut rows = Vec::new();
    for index in 0..n {
        for (x, rho) in factors.iter_mut().zip([slow, fast]) {
            *x = rho * *x + libm::sqrt(1.0 - rho * rho) * noise.normal();
        }
        for x in &mut own {
            *x = fast * *x + libm::sqrt(1.0 - fast * fast) * noise.normal();
        }
        let row = (0..8).map(|i| {
            let mixed = mixing[2 * i] * factors[0] + mixing[2 * i + 1] * factors[1];
            let follows = if i == 2 && index >= from { -2.0 } else { 1.0 };
            10.0 * (i as f64 + 1.0) + follows * mixed + 0.4 * own[i]
        });
        rows.push(row.collect());
    }
    rows
}

const ALWAYS: usize = usize::MAX;

fn table(rows: &[Vec<f64>]) -> Table {
    let names = (0..rows[0].len()).map(|i| format!("c{i}")).collect();
    Table::new(names, rows).unwrap()
}

fn fitted(rows: &[Vec<f64>], lags: u8) -> ComponentsFit {
    let options = ComponentsOptions { lags, ..ComponentsOptions::default() };
    fit_components(&[table(rows)], &options).unwrap()
}

fn live(fit: &ComponentsFit) -> (Plan, Models) {
    let ids: Vec<_> = (0..).map(FeatureId).take(fit.names.len()).collect();
    let model = Model::Pca(fit.plan(&ids).unwrap());
    let model = ModelPlan { name: String::new(), hash: [0; 32], model };
    let plan = Plan::of_models(String::new(), [0; 32], vec![model]);
    let models = Models::new(&plan);
    (plan, models)
}

/// Scores of rows by the scorer of the live path, rows without history left out.
fn scored(fit: &ComponentsFit, rows: &[Vec<f64>]) -> Vec<Score> {
    let (plan, mut models) = live(fit);
    let score = |row: &Vec<f64>| {
        let features: Vec<_> =
            row.iter().map(|x| FeatureValue { value: Some(*x), coverage: 1.0 }).collect();
        models.score(&plan, &features);
        *models.get(ModelId(0)).unwrap()
    };
    rows.iter().map(score).filter(|score| score.known).collect()
}

fn alarms(scores: &[Score]) -> f64 {
    scores.iter().filter(|s| s.alarm).count() as f64 / scores.len() as f64
}

/// The promise: over eight courses of 400 rows, without memory, all slow, and slow under fast
/// noise, the false alarms on 4 000 fresh rows are on the average no more than was asked for, and
/// on no course twice as many. A relation that breaks is found.
#[test]
fn promise_is_kept_on_fresh_rows() {
    for (memory, lags) in [
        ((0.0, 0.0), 0),
        ((0.9, 0.9), 0),
        ((0.97, 0.2), 0),
        ((0.0, 0.0), 2),
        ((0.9, 0.9), 2),
        ((0.97, 0.2), 2),
    ] {
        let (mut sum, mut worst, mut seen) = (0.0, 0.0_f64, 0.0);
        for seed in 0..8 {
            let fit = fitted(&process(10 + seed, 400, memory, ALWAYS), lags);
            let fresh = alarms(&scored(&fit, &process(50 + seed, 4000, memory, ALWAYS)));
            sum += fresh / 8.0;
            worst = worst.max(fresh);
            let broken = scored(&fit, &process(90 + seed, 300, memory, 50));
            seen += alarms(&broken[60..]) / 8.0;
        }
        eprintln!("{memory:?}, {lags} lags: mean {sum:.4}, worst {worst:.4}, found {seen:.3}");
        assert!(sum <= 0.01 && worst <= 0.02, "{memory:?} {lags}: {sum} {worst}");
        assert!(seen > 0.2, "{memory:?} {lags}: {seen}");
    }
}

/// Lags are a table that is lagged by hand: the same components and, but for the edges of the
/// scaling, the same scores; and the live scorer says of each row what the training did.
#[test]
fn lags_are_a_lagged_table() {
    let rows = process(3, 600, (0.9, 0.3), ALWAYS);
    let by_hand: Vec<Vec<f64>> =
        rows.windows(3).map(|w| [&w[2][..], &w[1], &w[0]].concat()).collect();
    let (dynamic, plain) = (fitted(&rows, 2), fitted(&by_hand, 0));
    assert_eq!(dynamic.report.components, plain.report.components);
    assert_eq!(dynamic.plan.loadings.len(), 24 * dynamic.report.components);
    let (a, b) = (scored(&dynamic, &rows), scored(&plain, &by_hand));
    assert_eq!((a.len(), b.len()), (598, 598));
    let near = |x: f64, y: f64| (x - y).abs() <= 0.03 * (1.0 + y);
    for (a, b) in a.iter().zip(&b) {
        assert!(near(a.t2, b.t2) && near(a.spe, b.spe), "{a:?} {b:?}");
    }
    let lagged = Lagged::new(&[table(&rows)], 2).unwrap();
    let basis =
        Basis::fit(&lagged.table, lagged.tied(&Scaling::of(&lagged.table).unwrap()), |_| true);
    for (row, live) in lagged.table.iter().zip(&a) {
        let own = basis.score(row, dynamic.report.components);
        assert!((own.t2 / live.t2 - 1.0).abs() < 1e-9 && (own.spe / live.spe - 1.0).abs() < 1e-9);
    }
}

/// What breaks is named: the contributions of all lags of a variable together.
#[test]
fn the_cause_is_named() {
    let fit = fitted(&process(1, 500, (0.9, 0.3), ALWAYS), 1);
    let (plan, mut models) = live(&fit);
    let (mut named, mut all) = (0, 0);
    for row in process(2, 400, (0.9, 0.3), 100).into_iter().skip(100) {
        let features: Vec<_> =
            row.iter().map(|x| FeatureValue { value: Some(*x), coverage: 1.0 }).collect();
        models.score(&plan, &features);
        if models.get(ModelId(0)).is_some_and(|score| score.alarm) {
            let mut top = [Contribution::NONE; 1];
            models.top(&plan, &features, ModelId(0), &mut top);
            named += usize::from(top[0].feature == FeatureId(2));
            all += 1;
        }
    }
    assert!(all > 50 && named * 10 > all * 8, "{named} of {all}");
}

/// The same runs give the same bits; a second run is worth more; rows are never set beside rows of
/// another run.
#[test]
fn runs() {
    let (one, two) = (process(1, 300, (0.9, 0.5), ALWAYS), process(2, 300, (0.9, 0.5), ALWAYS));
    let options = ComponentsOptions { lags: 1, ..ComponentsOptions::default() };
    let of = |runs: &[&[Vec<f64>]]| {
        let runs: Vec<Table> = runs.iter().map(|rows| table(rows)).collect();
        fit_components(&runs, &options).unwrap()
    };
    let fit = of(&[&one]);
    assert_eq!(fit, of(&[&one]));
    let both = of(&[&one, &two]);
    assert!(both.report.independent_t2 > 1.4 * fit.report.independent_t2);
    assert_eq!((fit.report.rows, both.report.rows, both.report.scores.len()), (300, 600, 598));
    assert!(both.report.held_out <= 0.01 && both.report.widened >= 1.0);
    // Far apart, so that a row of one run beside one of the other would be the largest score.
    let far: Vec<Vec<f64>> = two.iter().map(|row| row.iter().map(|x| x + 30.0).collect()).collect();
    let apart = of(&[&one, &far]);
    let worst = apart.report.scores.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    assert!(worst.is_some_and(|(row, _)| row != 299), "{worst:?}");
    let plan = &both.plan;
    assert!(plan.domain_out.t2 >= plan.domain_in.t2 && plan.domain_out.spe >= plan.domain_in.spe);
}

/// What cannot be fitted says why.
#[test]
fn refuses() {
    let options = ComponentsOptions::default();
    let error = |rows: &[Vec<f64>], options: &ComponentsOptions| {
        fit_components(&[table(rows)], options).unwrap_err()
    };
    let good = process(1, 120, (0.5, 0.5), ALWAYS);
    assert!(matches!(error(&good[..9], &options), TrainError::TooFewRows { have: 9, .. }));
    let lags = |lags| ComponentsOptions { lags, ..options.clone() };
    let few = error(&good, &lags(9));
    assert!(matches!(few, TrainError::TooFewRows { have: 111, need: 160, .. }), "{few}");
    assert!(matches!(error(&good, &lags(11)), TrainError::Option(_)));
    let wide: Vec<Vec<f64>> =
        (0..700).map(|i| (0..120).map(|j| f64::from((i * 7 + j * 13) % 31)).collect()).collect();
    assert!(matches!(error(&wide, &lags(5)), TrainError::Columns { have: 720, high: 600, .. }));
    for far in [0.0, 0.5, f64::NAN] {
        let options = ComponentsOptions { far, ..options.clone() };
        assert!(matches!(error(&good, &options), TrainError::Option(_)));
    }
    for (blocks, gap) in [(1, 5), (99, 5), (10, 0), (10, 60)] {
        let options = ComponentsOptions { blocks: Some(blocks), gap, ..options.clone() };
        assert!(matches!(error(&good, &options), TrainError::Option(_)));
    }
    let one: Vec<Vec<f64>> = good.iter().map(|row| row[..1].to_vec()).collect();
    assert!(matches!(error(&one, &options), TrainError::Columns { have: 1, .. }));
    let runs = [table(&good), table(&one)];
    assert!(matches!(fit_components(&runs, &options), Err(TrainError::Option(_))));
    let mut flat = good.clone();
    for row in &mut flat {
        row[2] = 0.1;
    }
    assert_eq!(error(&flat, &options), TrainError::Constant(vec!["c2".to_owned()]));
    // All but one column repeat it: nothing is left outside the one component.
    let same: Vec<Vec<f64>> = good.iter().map(|row| vec![row[0], 2.0 * row[0] + 1.0]).collect();
    assert_eq!(error(&same, &options), TrainError::Singular);
    assert!(fitted(&good, 2).plan(&[FeatureId(0)]).is_err());
}

/// Tennessee Eastman: limits from 350 normal rows, false alarms on the 150 after them, detection on
/// the training runs of 18 faults. Run with `--nocapture` for the numbers.
#[test]
fn tennessee_eastman() {
    let Some(folder) = std::env::var_os("TRIMLOOP_REFERENCE_DATA") else {
        eprintln!("skipped: tennessee_eastman: TRIMLOOP_REFERENCE_DATA is not set");
        return;
    };
    let read = |file: &str| -> Vec<Vec<f64>> {
        let path = std::path::Path::new(&folder).join("tennessee_eastman").join(file);
        let text = std::fs::read_to_string(&path).expect("the reference data is complete");
        let row = |line: &str| line.split(',').skip(1).map(|x| x.parse().unwrap()).collect();
        text.lines().skip(1).map(row).collect()
    };
    let normal = read("train_normal.csv");
    // Faults 3, 9 and 15 are left out everywhere in the literature: they hardly show.
    let faults: Vec<Vec<Vec<f64>>> = (1..=21)
        .filter(|number| ![3, 9, 15].contains(number))
        .map(|number| read(&format!("train_fault_{number:02}.csv")))
        .collect();
    for lags in [0, 2] {
        let fit = fitted(&normal[..350], lags);
        let quiet = alarms(&scored(&fit, &normal[350..]));
        let found: f64 = faults.iter().map(|rows| alarms(&scored(&fit, rows)) / 18.0).sum();
        let ComponentsReport { components, independent_t2, independent_spe, .. } = fit.report;
        eprintln!(
            "{lags} lags: {components} components, worth {independent_t2:.0} and \
             {independent_spe:.0}, rows 351-500 {quiet:.4}, 18 faults {found:.3}"
        );
        assert!(quiet <= 0.02, "{lags}: {quiet}");
        assert!(found > 0.62, "{lags}: {found}");
    }
}
