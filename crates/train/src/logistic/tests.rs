use trimloop_core::feature::FeatureValue;
use trimloop_core::model::logistic::Logistic;

use super::*;
use crate::noise::Noise;

fn table(rows: &[Vec<f64>]) -> Table {
    Table::new((0..rows[0].len()).map(|i| format!("c{i}")).collect(), rows).unwrap()
}

fn classes() -> Vec<String> {
    vec!["ok".to_owned(), "nok".to_owned()]
}

fn options() -> LogisticOptions<'static> {
    LogisticOptions { seed: 1, steps: Vec::new(), blocked: false, progress: &|_, _, _| true }
}

fn fit(rows: &[Vec<f64>], labels: &[u16]) -> LogisticFit {
    fit_logistic(&table(rows), labels, &classes(), &options()).unwrap()
}

/// `ln odds = bias + 2 a - b`, c says nothing; far from the origin, in other scales.
fn drawn(seed: u64, n: usize, bias: f64) -> (Vec<Vec<f64>>, Vec<u16>) {
    let mut noise = Noise::new(seed);
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (a, b) = noise.normals();
        let logit = bias + 2.0 * a - b;
        rows.push(vec![300.0 + 10.0 * a, 0.01 * b, noise.normal()]);
        labels.push(u16::from(noise.uniform() < sigmoid(logit)));
    }
    (rows, labels)
}

fn score(fit: &LogisticFit, state: &mut Logistic, row: &[f64]) -> (f64, bool) {
    let value = |x: &f64| FeatureValue { value: Some(*x), coverage: 1.0 };
    let features: Vec<FeatureValue> = row.iter().map(value).collect();
    let score = state.score(&fit.plan, &features, None);
    assert!(score.known);
    (state.probabilities()[1], score.in_domain)
}

/// Coefficients of scikit-learn 1.9.1: `LogisticRegression(C=1/(penalty n), tol=1e-12,
/// solver="newton-cholesky")` on columns standardised with `ddof=1`, the data by these formulas.
#[test]
fn reference() {
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    for i in 0..40_u32 {
        let x = f64::from(i);
        let a = libm::sin(0.7 * x);
        rows.push(vec![
            a,
            libm::cos(1.3 * x) + 0.5 * a,
            0.1 * f64::from((7 * i) % 11),
            a + 0.01 * f64::from((5 * i) % 7),
        ]);
        labels.push(u16::from(a + 0.8 * libm::cos(2.9 * x) > 0.2));
    }
    assert_eq!(labels.iter().sum::<u16>(), 17);
    let columns = table(&rows);
    let scaling = Scaling::of(&columns).unwrap();
    let all: Vec<u32> = (0..40).collect();
    let expect = [
        (
            0.1,
            [0.717_876_229_2, 0.416_886_761_8, -0.270_692_705_0, 0.709_822_273_8],
            -0.505_338_553_3,
        ),
        (
            0.01,
            [1.177_454_903_1, 0.646_721_398_8, -0.581_709_641_8, 1.108_619_694_4],
            -0.781_124_511_4,
        ),
    ];
    let lines = path(&columns, &scaling, &labels, &all, &[0.1, 0.01]);
    for (line, (penalty, slopes, intercept)) in lines.iter().zip(expect) {
        for (found, expect) in line.slopes.iter().zip(slopes) {
            assert!((found - expect).abs() < 1e-7, "{penalty}: {line:?}");
        }
        assert!((line.intercept - intercept).abs() < 1e-7, "{penalty}: {line:?}");
    }
}

/// The drawn coefficients come back, probabilities come true as often as they say, below 200 rows
/// of the rarer class by Platt's curve and above by isotonic regression; the same bits twice.
#[test]
fn finds_what_was_drawn() {
    for (n, isotonic) in [(300, false), (2500, true)] {
        let (rows, labels) = drawn(5, n, -0.5);
        let found = fit(&rows, &labels);
        assert_eq!(matches!(found.plan.calibration, Calibration::Isotonic(_)), isotonic);
        let scaled: Vec<f64> =
            found.plan.coefficients.iter().zip([10.0, 0.01, 1.0]).map(|(c, s)| c * s).collect();
        let near = if isotonic { 0.3 } else { 0.7 };
        for (found, expect) in scaled.iter().zip([2.0, -1.0, 0.0]) {
            assert!((found - expect).abs() < near, "{n}: {scaled:?}");
        }
        let (fresh, truth) = drawn(77, 4000, -0.5);
        let mut state = Logistic::new(&found.plan);
        let mut bins = [(0.0, 0.0, 0.0); 5];
        let mut inside = 0.0;
        for (row, label) in fresh.iter().zip(&truth) {
            let (p, in_domain) = score(&found, &mut state, row);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 4")]
            let bin = &mut bins[((p * 5.0) as usize).min(4)];
            *bin = (bin.0 + p, bin.1 + f64::from(*label), bin.2 + 1.0);
            inside += f64::from(u8::from(in_domain)) / 4000.0;
        }
        for (said, came, rows) in bins {
            assert!((said - came).abs() < 0.08 * rows, "{n}: {bins:?}");
        }
        assert!(inside > 0.97 && inside < 0.999, "{n}: {inside}");
        let again = fit(&rows, &labels);
        assert_eq!(again.plan, found.plan);
    }
}

/// Classes that a line parts without a mistake, columns that repeat others, more columns than the
/// rows can bear: finite, right, and no wilder than the penalty allows.
#[test]
fn separable_and_collinear_rows() {
    let (rows, _) = drawn(9, 120, 0.0);
    let parted: Vec<u16> = rows.iter().map(|row| u16::from(row[0] > 301.0)).collect();
    let twice: Vec<Vec<f64>> = rows.iter().map(|r| vec![r[0], 2.0 * r[0] - 7.0, r[1]]).collect();
    let mut noise = Noise::new(3);
    let wide: Vec<Vec<f64>> = rows
        .iter()
        .map(|r| std::iter::once(r[0]).chain((0..150).map(|_| noise.normal())).collect())
        .collect();
    for (what, rows, right) in
        [("parted", &rows, 0.97), ("twice", &twice, 0.97), ("wide", &wide, 0.6)]
    {
        let found = fit(rows, &parted);
        assert!(found.plan.fits(), "{what}");
        assert!(found.plan.coefficients.iter().all(|c| c.abs() < 1e3), "{what}");
        assert!(found.held_out.accuracy >= right, "{what}: {}", found.held_out.accuracy);
        let mut state = Logistic::new(&found.plan);
        let inside = rows.iter().filter(|row| score(&found, &mut state, row).1).count();
        assert!(inside * 100 >= rows.len() * 97, "{what}: {inside} in the domain");
    }
    // What repeats a column exactly shares its coefficient, and a row that breaks the relation is
    // out of the domain though each value is inside its range.
    let found = fit(&twice, &parted);
    let mut state = Logistic::new(&found.plan);
    assert!(!score(&found, &mut state, &[twice[0][0] + 9.0, twice[0][1], 0.0]).1);
}

/// Blocks of time whose other rows are all of one class, and derived columns.
#[test]
fn blocks_and_steps() {
    let (rows, _) = drawn(4, 100, 0.0);
    let labels: Vec<u16> = (0..100).map(|row| u16::from(row < 18)).collect();
    let blocked = LogisticOptions { blocked: true, ..options() };
    let found = fit_logistic(&table(&rows), &labels, &classes(), &blocked).unwrap();
    assert!(found.plan.fits() && found.blocked);

    let mut noise = Noise::new(8);
    let rows: Vec<Vec<f64>> = (0..400)
        .map(|_| vec![1000.0 + 1000.0 * noise.uniform(), 20.0 + 40.0 * noise.uniform()])
        .collect();
    let labels: Vec<u16> = rows.iter().map(|r| u16::from(r[0] * r[1] > 60_000.0)).collect();
    let steps = vec![("power".to_owned(), Step::Product(0, 1))];
    let derived = LogisticOptions { steps, ..options() };
    let found = fit_logistic(&table(&rows), &labels, &classes(), &derived).unwrap();
    assert_eq!(found.columns, ["c0", "c1", "power"]);
    assert!(found.held_out.accuracy > 0.97, "{}", found.held_out.accuracy);
    let zero = vec![vec![0.0, 1.0]; 20];
    let ratio = LogisticOptions { steps: vec![("r".into(), Step::Ratio(1, 0))], ..options() };
    let labels: Vec<u16> = (0..20).map(|i| i % 2).collect();
    let error = fit_logistic(&table(&zero), &labels, &classes(), &ratio).unwrap_err();
    assert_eq!(error, TrainError::NotFinite { row: 1, column: "r".to_owned() });
}

/// Softmax over `(2 a, b, -2 a - b)`, c says nothing; far from the origin, in other scales.
fn three(seed: u64, n: usize) -> (Vec<Vec<f64>>, Vec<u16>) {
    let mut noise = Noise::new(seed);
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (a, b) = noise.normals();
        let p = [2.0 * a, b, -2.0 * a - b].map(libm::exp);
        let (draw, sum) = (noise.uniform() * p.iter().sum::<f64>(), p[0] + p[1]);
        labels.push(u16::from(draw > p[0]) + u16::from(draw > sum));
        rows.push(vec![300.0 + 10.0 * a, 0.01 * b, noise.normal()]);
    }
    (rows, labels)
}

fn letters() -> Vec<String> {
    ["a", "b", "c"].map(str::to_owned).to_vec()
}

/// Coefficients of scikit-learn 1.9.1: `LogisticRegression(C=1/(penalty n), tol=1e-12,
/// solver="newton-cg")` on columns standardised with `ddof=1`, the data by these formulas.
#[test]
fn reference_of_three() {
    let mut rows = Vec::new();
    let mut labels = Vec::new();
    for i in 0..60_u32 {
        let x = f64::from(i);
        let a = libm::sin(0.7 * x);
        let b = libm::cos(1.3 * x) + 0.5 * a;
        rows.push(vec![a, b, 0.1 * f64::from((7 * i) % 11)]);
        let u = a + 0.8 * libm::cos(2.9 * x);
        labels.push(if u > 0.4 { 2 } else { u16::from(b > 0.1) });
    }
    let columns = table(&rows);
    let scaling = Scaling::of(&columns).unwrap();
    let all: Vec<u32> = (0..60).collect();
    let expect = [
        [
            [-0.362_452_7, -0.939_313_3, 0.150_964_1, 0.291_928_7],
            [-0.366_530_9, 0.788_162_5, -0.008_107_9, -0.318_060_4],
            [0.728_983_6, 0.151_150_8, -0.142_856_2, 0.026_131_6],
        ],
        [
            [-0.670_996_0, -3.197_412_8, 0.588_092_7, 0.615_984_3],
            [-0.974_309_3, 3.002_507_6, -0.155_307_2, -1.205_386_4],
            [1.645_305_3, 0.194_905_2, -0.432_785_5, 0.589_402_1],
        ],
    ];
    let found = many::path(&columns, &scaling, (&labels, 3), &all, &[0.1, 0.001]);
    for (lines, expect) in found.iter().zip(expect) {
        for (line, expect) in lines.iter().zip(expect) {
            let found = line.slopes.iter().chain([&line.intercept]);
            for (found, expect) in found.zip(expect) {
                assert!((found - expect).abs() < 1e-5, "{lines:?}");
            }
        }
    }
}

/// The drawn coefficients come back, also through the scorer; probabilities come true as often as
/// they say, fresh rows are in the domain and odd ones are not; the same bits twice.
#[test]
fn finds_three_classes() {
    let (rows, labels) = three(5, 900);
    let fit = |rows: &[Vec<f64>], labels: &[u16]| {
        fit_logistic(&table(rows), labels, &letters(), &options()).unwrap()
    };
    let found = fit(&rows, &labels);
    assert_eq!(fit(&rows, &labels).plan, found.plan);
    let scaled: Vec<f64> = found
        .plan
        .coefficients
        .iter()
        .zip([10.0, 0.01, 1.0].repeat(3))
        .map(|(c, s)| c * s)
        .collect();
    for (found, expect) in scaled.iter().zip([2.0, 0.0, 0.0, 0.0, 1.0, 0.0, -2.0, -1.0, 0.0]) {
        assert!((found - expect).abs() < 0.45, "{scaled:?}");
    }
    let (fresh, truth) = three(77, 3000);
    let mut state = Logistic::new(&found.plan);
    let mut bins = [(0.0, 0.0, 0.0); 5];
    let (mut inside, mut right, mut possible) = (0.0, 0.0, 0.0);
    for (row, label) in fresh.iter().zip(&truth) {
        let (_, in_domain) = score(&found, &mut state, row);
        for (class, p) in state.probabilities().iter().enumerate() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 4")]
            let bin = &mut bins[((p * 5.0) as usize).min(4)];
            let came = f64::from(u8::from(class == usize::from(*label)));
            *bin = (bin.0 + p, bin.1 + came, bin.2 + 1.0);
        }
        inside += f64::from(u8::from(in_domain)) / 3000.0;
        right += f64::from(u8::from(state.best() == usize::from(*label)));
        let (a, b) = ((row[0] - 300.0) / 10.0, 100.0 * row[1]);
        let odds = [2.0 * a, b, -2.0 * a - b];
        let best = (0..3).max_by(|i, j| f64::total_cmp(&odds[*i], &odds[*j])).unwrap();
        possible += f64::from(u8::from(best == usize::from(*label)));
    }
    for (said, came, rows) in bins {
        assert!((said - came).abs() < 0.05 * rows, "{bins:?}");
    }
    assert!(inside > 0.975 && inside < 0.999, "{inside}");
    assert!(right > 0.98 * possible, "{right} of {possible}");
    assert!(found.held_out.reliability.len() > 3 && found.held_out.confusion.len() == 3);
    assert!(!score(&found, &mut state, &[360.0, 0.0, 0.0]).1);
    // Classes that planes part without a mistake, and blocks of time that hold one class alone.
    let parted: Vec<u16> =
        rows.iter().map(|r| u16::from(r[0] > 300.0) + u16::from(r[0] > 308.0)).collect();
    let found = fit(&rows, &parted);
    assert!(found.plan.fits() && found.held_out.accuracy > 0.9, "{}", found.held_out.accuracy);
    let stretches: Vec<u16> = (0..900).map(|row| row / 300).collect();
    let blocked = LogisticOptions { blocked: true, ..options() };
    let found = fit_logistic(&table(&rows), &stretches, &letters(), &blocked).unwrap();
    assert!(found.plan.fits() && found.held_out.log_loss.is_finite());
}

/// Pooled blocks rise, keep off 0 and 1, and are the means of what they hold.
#[test]
fn isotonic_pools() {
    let odds = [-3.0, -2.0, -1.0, 0.0, 0.0, 1.0, 2.0, 3.0];
    let labels = [0, 0, 1, 0, 1, 0, 1, 1];
    // -1 to 1 pool to 2 of 4 rows at the mean log-odds 0; 0 and 1 become 1/6 and 5/6.
    let expect = [(-2.5, 1.0 / 6.0), (0.0, 0.5), (2.5, 5.0 / 6.0)];
    let found = isotonic(&odds, &labels);
    assert_eq!(found.len(), expect.len(), "{found:?}");
    for (found, expect) in found.iter().zip(expect) {
        assert!((found.0 - expect.0).abs() < 1e-12 && (found.1 - expect.1).abs() < 1e-12);
    }
}

/// What cannot be learnt says why.
#[test]
fn refuses() {
    let (rows, labels) = drawn(1, 60, 0.0);
    let error = |rows: &[Vec<f64>], labels: &[u16], classes: &[String]| {
        fit_logistic(&table(rows), labels, classes, &options()).unwrap_err()
    };
    let few = error(&rows[..3], &labels[..3], &classes());
    assert!(matches!(few, TrainError::TooFewRows { have: 3, need: 20, .. }));
    assert!(matches!(error(&rows, &[0; 60], &classes()), TrainError::Class { rows: 0, .. }));
    assert!(matches!(error(&rows, &labels[1..], &classes()), TrainError::Labels { .. }));
    let one = &classes()[..1];
    assert!(error(&rows, &labels, one).to_string().contains("2 to 64 classes"));
    let strange: Vec<u16> = labels.iter().map(|label| 2 * label).collect();
    assert!(error(&rows, &strange, &classes()).to_string().contains("none of the classes"));
    let flat: Vec<Vec<f64>> = rows.iter().map(|r| vec![r[0], 5.0]).collect();
    assert_eq!(error(&flat, &labels, &classes()), TrainError::Constant(vec!["c1".to_owned()]));
    let stop = LogisticOptions { progress: &|_, _, _| false, ..options() };
    let stopped = fit_logistic(&table(&rows), &labels, &classes(), &stop).unwrap_err();
    assert_eq!(stopped, TrainError::Stopped);
}
