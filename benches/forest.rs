//! One row through a random forest (200 trees of depth 8, 50 features) beside onnxruntime and
//! scikit-learn, the same model in one run:
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
use trimloop_core::model::forest::Forest;
use trimloop_core::plan::{FeatureId, ForestPlan, Link, Node, Tree};

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

    let mut each = Vec::new();
    for at in 0..60_000 {
        let row = &rows[at % rows.len()];
        let begin = Instant::now();
        black_box(forest.score(&plan, black_box(row), None));
        each.push(begin.elapsed().as_nanos());
    }
    each.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "microseconds")]
    let ours = each[each.len() / 2] as f64 / 1e3;
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
        linear: None,
        half_width: None,
    }
}
