//! One row through a random forest (200 trees of depth 8, 50 features) beside onnxruntime and
//! scikit-learn, and through a PCA monitor (50 variables, 8 components) beside numpy; the same models
//! in one run:
//!
//! ```console
//! $ python3 -m venv v && v/bin/pip install numpy scikit-learn skl2onnx onnxruntime
//! $ TRIMLOOP_BENCH_PYTHON=v/bin/python cargo bench --bench forest
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench measures, prints, and stops when it cannot go on"
)]

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use trimloop_core::feature::FeatureValue;
use trimloop_core::model::Models;
use trimloop_core::model::forest::Forest;
use trimloop_core::plan::{
    FeatureId, ForestPlan, Link, Model, ModelId, ModelPlan, Node, PcaLimits, PcaPlan, Plan, Tree,
};

#[derive(serde::Deserialize)]
struct Foreign {
    trees: Vec<ForeignTree>,
    rows: Vec<Vec<f32>>,
    answers: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct ForeignTree {
    left: Vec<i64>,
    right: Vec<i64>,
    column: Vec<u16>,
    threshold: Vec<f64>,
    share: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct Times {
    onnxruntime_us: f64,
    onnxruntime_kernel_us: Option<f64>,
    scikit_us: f64,
    numpy_us: f64,
    numpy_many_us: f64,
    numpy_t2: f64,
    numpy_spe: f64,
}

fn main() {
    let python = std::env::var("TRIMLOOP_BENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let folder = std::env::temp_dir().join(format!("trimloop-forest-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/forest.py");
    let done = Command::new(&python).arg(script).arg(&folder).output().expect("no Python");
    if !done.status.success() {
        println!("forest: the foreign side does not run; see the head of benches/forest.rs");
        println!("{}", String::from_utf8_lossy(&done.stderr));
        return;
    }
    let times: Times = serde_json::from_slice(&done.stdout).expect("times");
    let text = std::fs::read_to_string(folder.join("forest.json")).expect("the trees");
    let foreign: Foreign = serde_json::from_str(&text).expect("trees");
    std::fs::remove_dir_all(&folder).unwrap();

    random_forest(&foreign, &times);
    println!();
    monitor(&times);
}

fn random_forest(foreign: &Foreign, times: &Times) {
    let plan = plan(&foreign.trees);
    assert!(plan.fits());
    let mut forest = Forest::new(&plan);
    let rows: Vec<Vec<FeatureValue>> = foreign
        .rows
        .iter()
        .map(|row| {
            let of = |x: &f32| FeatureValue { value: Some(f64::from(*x)), coverage: 1.0 };
            row.iter().map(of).collect()
        })
        .collect();
    let mut far = 0.0_f64;
    for (row, answer) in rows.iter().zip(&foreign.answers) {
        assert!(forest.score(&plan, row, None).known);
        far = far.max((forest.probabilities()[1] - answer).abs());
    }
    assert!(far < 1e-5, "another answer than onnxruntime: {far}");

    let ours = median_us(|at| {
        black_box(forest.score(&plan, black_box(&rows[at % rows.len()]), None));
    });
    println!("random forest, 200 trees of depth 8, 50 features, one row, median [us]");
    println!("trimloop                        {ours:10.2}");
    println!(
        "onnxruntime, called from Python {:10.2}  {:8.1} times",
        times.onnxruntime_us,
        times.onnxruntime_us / ours
    );
    if let Some(kernel) = times.onnxruntime_kernel_us {
        println!(
            "onnxruntime, the kernel alone   {kernel:10.2}  {:8.1} times (whole us)",
            kernel / ours
        );
    }
    println!(
        "scikit-learn predict_proba      {:10.2}  {:8.1} times",
        times.scikit_us,
        times.scikit_us / ours
    );
    println!("largest difference to onnxruntime over {} rows: {far:.1e}", rows.len());
}

/// Median time of a call [us].
fn median_us(mut call: impl FnMut(usize)) -> f64 {
    let mut each = Vec::new();
    for at in 0..60_000 {
        let begin = Instant::now();
        call(at);
        each.push(begin.elapsed().as_nanos());
    }
    each.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "microseconds")]
    let median = each[each.len() / 2] as f64 / 1e3;
    median
}

/// T2 and SPE of one part, with the verdict on domain and alarm that numpy does not give.
fn monitor(times: &Times) {
    let model = ModelPlan { name: "m".to_owned(), hash: [1; 32], model: Model::Pca(pca()) };
    let plan = Plan::of_models("m".to_owned(), [1; 32], vec![model]);
    let mut models = Models::new(&plan);
    let row: Vec<FeatureValue> = (0..50)
        .map(|i| FeatureValue { value: Some(500.0 + f64::from(i % 7) - 3.0), coverage: 1.0 })
        .collect();
    models.score(&plan, &row);
    let score = *models.get(ModelId(0)).expect("a score");
    for (ours, theirs) in [(score.t2, times.numpy_t2), (score.spe, times.numpy_spe)] {
        assert!((ours - theirs).abs() < 1e-9 * theirs, "{ours} instead of {theirs}");
    }
    let ours = median_us(|_| {
        models.score(&plan, black_box(&row));
        black_box(models.get(ModelId(0)).copied());
    });
    println!("PCA, 50 variables, 8 components, T2 and SPE of one row, median [us]");
    println!("trimloop                        {ours:10.2}");
    let per = |us: f64| us / ours;
    println!(
        "numpy, called from Python       {:10.2}  {:8.1} times",
        times.numpy_us,
        per(times.numpy_us)
    );
    println!(
        "numpy, 10,000 rows in one call  {:10.2}  {:8.1} times (a row's share: the call spread over all)",
        times.numpy_many_us,
        per(times.numpy_many_us)
    );
}

fn pca() -> PcaPlan {
    let (p, components) = (50_u16, 8_u16);
    // Rows of a discrete cosine transform are orthonormal.
    let entry = |a: u16, i: u16| {
        let angle = std::f64::consts::PI * (f64::from(i) + 0.5) * (f64::from(a) + 1.0);
        (2.0 / f64::from(p)).sqrt() * (angle / f64::from(p)).cos()
    };
    PcaPlan {
        inputs: (0..p).map(FeatureId).collect(),
        lags: 0,
        mean: vec![500.0; usize::from(p)],
        scale: vec![2.0; usize::from(p)],
        loadings: (0..components).flat_map(|a| (0..p).map(move |i| entry(a, i))).collect(),
        eigenvalues: (0..components).map(|a| 8.0 - f64::from(a) * 0.5).collect(),
        alarm: PcaLimits { t2: 30.0, spe: 120.0 },
        domain_out: PcaLimits { t2: 60.0, spe: 240.0 },
        domain_in: PcaLimits { t2: 40.0, spe: 160.0 },
    }
}

/// The same trees, breadth first, thresholds rounded down.
fn plan(trees: &[ForeignTree]) -> ForestPlan {
    let (mut nodes, mut values, mut roots) = (Vec::new(), Vec::new(), Vec::new());
    for tree in trees {
        let root = nodes.len();
        let mut order = vec![(0_usize, 0_u8)];
        let mut depth = 0;
        let mut at = 0;
        while at < order.len() {
            let (from, level) = order[at];
            depth = depth.max(level);
            #[expect(clippy::cast_possible_truncation, reason = "shares are stored in f32")]
            values.push(tree.share[from] as f32);
            let Ok(left) = usize::try_from(tree.left[from]) else {
                let own = u16::try_from(at).unwrap();
                nodes.push(Node { threshold: f32::MAX, column: 0, left: own });
                at += 1;
                continue;
            };
            #[expect(clippy::cast_possible_truncation, reason = "corrected below")]
            let near = tree.threshold[from] as f32;
            let down = f64::from(near) > tree.threshold[from];
            nodes.push(Node {
                threshold: if down { near.next_down() } else { near },
                column: tree.column[from],
                left: u16::try_from(order.len()).unwrap(),
            });
            order.push((left, level + 1));
            order.push((usize::try_from(tree.right[from]).unwrap(), level + 1));
            at += 1;
        }
        roots.push(Tree { root: u32::try_from(root).unwrap(), depth });
    }
    #[expect(clippy::cast_precision_loss, reason = "200 trees")]
    let factor = 1.0 / trees.len() as f64;
    ForestPlan {
        inputs: (0..).map(FeatureId).take(50).collect(),
        steps: Vec::new(),
        span: vec![(-10.0, 10.0); 50],
        domain: None,
        trees: roots,
        nodes,
        values,
        base: vec![0.0],
        factor,
        link: Link::Share,
        slope: 1.0,
        bias: vec![0.0],
        classes: vec!["0".to_owned(), "1".to_owned()],
        weights: vec![1.0; 2],
        remember: None,
        likeness: None,
        directions: None,
        reach: None,
        linear: None,
        network: None,
        half_width: None,
    }
}
