//! Models of real exporters against what onnxruntime scored with them, and files that nobody should
//! trust.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use trimloop_core::feature::FeatureValue;
use trimloop_core::model::forest::Forest;
use trimloop_core::plan::Link;

use super::*;

/// Largest difference to onnxruntime, as a share of the score. Where terms cancel, what `f32` sums
/// there leave unsure stays: a tenth of that share, of 1 for a probability, of the mean size of the
/// predictions for a prediction.
const EQUAL: f64 = 1e-5;
const CANCELLED: f64 = 0.1;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/learn/onnx")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name).with_extension("onnx")).unwrap()
}

fn count(rows: usize) -> f64 {
    f64::from(u32::try_from(rows).unwrap())
}

fn known(x: f64) -> FeatureValue {
    FeatureValue { value: Some(x), coverage: 1.0 }
}

/// Largest differences of one model.
struct Found {
    rows: usize,
    /// As a share of the score and of [`CANCELLED`] of the usual size.
    relative: f64,
    /// Share of scores that differ by more than [`EQUAL`] of themselves.
    strict: f64,
    /// As a share of the usual size.
    absolute: f64,
    /// Rows with another best class, where two are not as good as equal.
    classes: usize,
}

/// Scores the rows beside a model and holds them against what stands there.
fn compare(path: &Path) -> Found {
    let imported = Imported::read(&std::fs::read(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (plan, p) = (&imported.plan, imported.inputs.len());
    let text = std::fs::read_to_string(path.with_extension("csv")).unwrap();
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().unwrap().split(',').skip(p).collect();
    let expect: Vec<_> = plan.classes.iter().map(|class| format!("p_{class}")).collect();
    assert_eq!(names, if plan.is_sensor() { vec!["prediction".to_owned()] } else { expect });
    let mut forest = Forest::new(plan);
    let mut shares = vec![0.0; p];
    let mut found = Found { rows: 0, relative: 0.0, strict: 0.0, absolute: 0.0, classes: 0 };
    let cells =
        |line: &str| line.split(',').map(|cell| cell.parse().unwrap()).collect::<Vec<f64>>();
    let rows: Vec<_> = lines.map(cells).collect();
    let size = rows.iter().map(|cells| cells[p].abs()).sum::<f64>() / count(rows.len());
    let size = if plan.is_sensor() { size } else { 1.0 };
    for cells in &rows {
        let features: Vec<_> = cells[..p].iter().copied().map(known).collect();
        let score = forest.score(plan, &features, None);
        assert!(score.known && !score.in_domain, "{}: {cells:?}", path.display());
        let own = if plan.is_sensor() { forest.outputs() } else { forest.probabilities() };
        for (own, theirs) in own.iter().zip(&cells[p..]) {
            let off = (own - theirs).abs();
            found.absolute = found.absolute.max(off / size);
            found.relative = found.relative.max(off / (theirs.abs() + CANCELLED * size));
            found.strict += f64::from(u8::from(off > EQUAL * theirs.abs()));
        }
        for class in 0..plan.classes.len().max(1) {
            let sum = forest.contributions(plan, class, &mut shares) + shares.iter().sum::<f64>();
            let sign = if plan.classes.len() == 2 && class == 0 { -1.0 } else { 1.0 };
            let output = sign * forest.outputs()[if plan.classes.len() > 2 { class } else { 0 }];
            assert!((sum - output).abs() < 1e-9 * output.abs().max(100.0), "{sum} {output}");
        }
        let best = |values: &[f64]| {
            (0..values.len()).rev().max_by(|a, b| values[*a].total_cmp(&values[*b]))
        };
        let mut sorted = cells[p..].to_vec();
        sorted.sort_by(f64::total_cmp);
        let second = sorted.len().checked_sub(2).map_or(f64::INFINITY, |place| sorted[place]);
        let clear = second < sorted[sorted.len() - 1] - 1e-6;
        found.classes += usize::from(clear && best(own) != best(&cells[p..]));
        found.rows += 1;
    }
    found.strict /= count(rows.len() * plan.classes.len().max(1));
    found
}

/// Every model of a folder with rows beside it, by name.
fn models(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "onnx")).collect();
    models.sort();
    models
}

/// Scores are those of onnxruntime, on thresholds and beside them too, for every exporter.
/// `TRIMLOOP_ONNX_MODELS=DIR` holds the models of another folder of `make.py` against it as well, and
/// with `--nocapture` tells the largest difference of each.
#[expect(clippy::print_stdout, reason = "the largest differences, for who asks for them")]
#[test]
fn same_as_onnxruntime() {
    let other = std::env::var_os("TRIMLOOP_ONNX_MODELS").map(PathBuf::from);
    let folders = [Some(fixtures()), other];
    let mut told = String::new();
    let mut off = Vec::new();
    for path in folders.iter().flatten().flat_map(|folder| models(folder)) {
        let found = compare(&path);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        writeln!(
            told,
            "{name} rows {} relative {:.1e} beyond {:.4} absolute {:.1e} classes {}",
            found.rows, found.relative, found.strict, found.absolute, found.classes
        )
        .unwrap();
        if found.relative > EQUAL || found.classes > 0 {
            off.push(name);
        }
    }
    println!("{told}");
    assert!(off.is_empty() && told.lines().count() >= 20, "{off:?}\n{told}");
}

/// What stands in a file of each kind is found: names of inputs, producer, classes, link.
#[test]
fn what_stands_in_files() {
    let of = |name: &str| Imported::read(&fixture(name)).unwrap();
    let named = of("skl-logistic-multi");
    let names = ["x0", "x1", "x2", "x3"].map(|name| Some(name.to_owned()));
    assert_eq!(named.inputs, names);
    assert!(named.producer.starts_with("skl2onnx"), "{}", named.producer);
    assert!(named.opsets.iter().any(|set| set.starts_with("ai.onnx.ml ")), "{:?}", named.opsets);
    assert_eq!((named.plan.link, named.plan.trees.len()), (Link::Margin, 0));
    // The scaler's offset is the mean of training: contributions are counted from there.
    assert!(named.plan.linear.unwrap().centre.iter().all(|x| *x != 0.0));
    let light = of("lgb-bin");
    assert_eq!((light.inputs, light.plan.classes.len()), (vec![None; 4], 2));
    assert!(light.producer.starts_with("OnnxMLTools"), "{}", light.producer);
    assert_eq!(of("skl-rf-multi").plan.link, Link::Share);
    assert!(of("xgb-reg").plan.is_sensor());
}

/// Rows of training give spans and, for contributions, means that weigh each way down by its rows.
#[test]
fn rows_teach_the_domain() {
    let mut imported = Imported::read(&fixture("skl-rf-reg")).unwrap();
    let text = std::fs::read_to_string(fixtures().join("skl-rf-reg.csv")).unwrap();
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').take(4).map(|cell| cell.parse().unwrap()).collect())
        .collect();
    imported.learn(&rows);
    imported.plan.half_width = Some(1.0);
    let plan = &imported.plan;
    assert!(plan.fits());
    let mut forest = Forest::new(plan);
    let mut shares = [0.0; 4];
    let (mut mean, mut roots) = (0.0, Vec::new());
    for row in &rows {
        let features: Vec<_> = row.iter().copied().map(known).collect();
        let score = forest.score(plan, &features, None);
        assert!(score.in_domain && (score.high - score.low - 2.0).abs() < 1e-9);
        mean += score.value / count(rows.len());
        roots.push(forest.contributions(plan, 0, &mut shares));
    }
    // What the roots give is the mean prediction over the rows.
    assert!((roots[0] - mean).abs() < 1e-4 * mean.abs(), "{} {mean}", roots[0]);
    let far = [known(1e6), known(0.0), known(0.0), known(0.0)];
    assert!(!forest.score(plan, &far, None).in_domain);
}

/// Protobuf by hand.
mod make {
    pub(super) fn varint(mut x: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while x >= 0x80 {
            bytes.push(x.to_le_bytes()[0] | 0x80);
            x >>= 7;
        }
        bytes.push(x.to_le_bytes()[0]);
        bytes
    }

    pub(super) fn bytes(number: u64, body: &[u8]) -> Vec<u8> {
        [varint(number << 3 | 2), varint(body.len() as u64), body.to_vec()].concat()
    }

    fn number(field: u64, x: u64) -> Vec<u8> {
        [varint(field << 3), varint(x)].concat()
    }

    pub(super) enum Value {
        Ints(Vec<i64>),
        Floats(Vec<f32>),
        Texts(Vec<&'static str>),
        Text(&'static str),
        Int(i64),
    }

    fn attribute(name: &str, value: &Value) -> Vec<u8> {
        let mut body = bytes(1, name.as_bytes());
        match value {
            Value::Ints(list) => {
                body.extend(list.iter().flat_map(|x| number(8, x.cast_unsigned())));
            }
            Value::Floats(list) => {
                for x in list {
                    body.extend(varint(7 << 3 | 5));
                    body.extend(x.to_le_bytes());
                }
            }
            Value::Texts(list) => body.extend(list.iter().flat_map(|x| bytes(9, x.as_bytes()))),
            Value::Text(text) => body.extend(bytes(4, text.as_bytes())),
            Value::Int(x) => body.extend(number(3, x.cast_unsigned())),
        }
        body
    }

    pub(super) type Attributes = Vec<(&'static str, Value)>;

    pub(super) fn operator(
        kind: &str,
        (inputs, outputs): (&[&str], &[&str]),
        attributes: &Attributes,
    ) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(inputs.iter().flat_map(|name| bytes(1, name.as_bytes())));
        body.extend(outputs.iter().flat_map(|name| bytes(2, name.as_bytes())));
        body.extend(bytes(4, kind.as_bytes()));
        let list = attributes.iter().map(|(name, value)| bytes(5, &attribute(name, value)));
        body.extend(list.flatten());
        let plain = ["Cast", "Identity", "Exp", "Add", "Concat"].contains(&kind);
        body.extend(bytes(7, if plain { b"" } else { b"ai.onnx.ml" }));
        body
    }

    /// A model with the input `x` of three columns of this type, and the output `y`.
    pub(super) fn model(element: u64, operators: &[Vec<u8>]) -> Vec<u8> {
        let dims = [bytes(1, &[]), bytes(1, &number(1, 3))].concat();
        let tensor = [number(1, element), bytes(2, &dims)].concat();
        let input = [bytes(1, b"x"), bytes(2, &bytes(1, &tensor))].concat();
        let mut graph: Vec<u8> = operators.iter().flat_map(|operator| bytes(1, operator)).collect();
        graph.extend(bytes(11, &input));
        graph.extend(bytes(12, &bytes(1, b"y")));
        let set = |domain: &[u8], version| [bytes(1, domain), number(2, version)].concat();
        let sets = [bytes(8, &set(b"", 18)), bytes(8, &set(b"ai.onnx.ml", 3))];
        [bytes(7, &graph), sets.concat()].concat()
    }
}

use make::{Attributes, Value};

/// A regressor of one split on column 1: at most (or what the mode says) 0.5 gives 2, else 5.
fn stump(mode: &'static str) -> Attributes {
    vec![
        ("nodes_treeids", Value::Ints(vec![0, 0, 0])),
        ("nodes_nodeids", Value::Ints(vec![0, 1, 2])),
        ("nodes_featureids", Value::Ints(vec![1, 0, 0])),
        ("nodes_modes", Value::Texts(vec![mode, "LEAF", "LEAF"])),
        ("nodes_values", Value::Floats(vec![0.5, 0.0, 0.0])),
        ("nodes_truenodeids", Value::Ints(vec![1, 0, 0])),
        ("nodes_falsenodeids", Value::Ints(vec![2, 0, 0])),
        ("target_treeids", Value::Ints(vec![0, 0])),
        ("target_nodeids", Value::Ints(vec![1, 2])),
        ("target_ids", Value::Ints(vec![0, 0])),
        ("target_weights", Value::Floats(vec![2.0, 5.0])),
    ]
}

fn regressor(attributes: &Attributes) -> Result<Imported, OnnxError> {
    let operator = make::operator("TreeEnsembleRegressor", (&["x"], &["y"]), attributes);
    Imported::read(&make::model(1, &[operator]))
}

/// The four ways to compare, at the threshold and at its neighbours; a number between two of `f32`
/// goes where the nearest goes.
#[test]
fn modes_at_their_threshold() {
    let (below, above) = (f64::from(0.5_f32.next_down()), f64::from(0.5_f32.next_up()));
    // Just above 0.5, and nearest to it in f32.
    let beside = 0.5 + 1e-9;
    for (mode, expect) in [
        ("BRANCH_LEQ", [2.0, 2.0, 2.0, 5.0]),
        ("BRANCH_LT", [2.0, 5.0, 5.0, 5.0]),
        ("BRANCH_GTE", [5.0, 2.0, 2.0, 2.0]),
        ("BRANCH_GT", [5.0, 5.0, 5.0, 2.0]),
    ] {
        let plan = regressor(&stump(mode)).unwrap().plan;
        let mut forest = Forest::new(&plan);
        for (x, expect) in [below, 0.5, beside, above].into_iter().zip(expect) {
            let score = forest.score(&plan, &[known(9.0), known(x), known(9.0)], None);
            assert!((score.value - expect).abs() < 1e-12, "{mode} {x}: {score:?}");
        }
        let missing = [known(9.0), FeatureValue::UNKNOWN, known(9.0)];
        assert!(!forest.score(&plan, &missing, None).known);
    }
}

/// What networks cannot be folded exactly, and names of their classes, are told with the operator.
#[test]
fn networks_are_named_or_refused() {
    let of = |name: &str| Imported::read(&fixture(name)).unwrap();
    let named = of("skl-mlp-multi");
    assert_eq!((named.plan.classes.join(" ").as_str(), named.notes.len()), ("a b c", 0));
    let network = named.plan.network.unwrap();
    // The offset of the scaler is the mean of training.
    assert!(network.centre.iter().all(|x| *x != 0.0) && network.layers.len() >= 2);
    let numbered = of("gemm-multi");
    assert_eq!(numbered.plan.classes, ["0", "1", "2"]);
    assert!(numbered.notes.concat().contains("numbered"), "{:?}", numbered.notes);
    assert!(of("gemm-reg").plan.is_sensor() && of("skl-mlp-reg").plan.is_sensor());

    // The same file with another operator in the place of an activation.
    let turned = |from: &str, to: &str| {
        let bytes = fixture("gemm-multi");
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut other = bytes.clone();
        other[at..at + to.len()].copy_from_slice(to.as_bytes());
        Imported::read(&other).unwrap_err()
    };
    for (from, to, words) in
        [("Relu", "Selu", "does not know Selu"), ("Softmax", "Softsig", "does not know Softsig")]
    {
        let error = turned(from, to);
        assert!(error.code() == "TL0542" && error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains('/'), "the node is named: {error}");
    }
}

/// With one name changed or one attribute replaced.
fn with(name: &'static str, value: Value) -> Attributes {
    let mut attributes = stump("BRANCH_LEQ");
    attributes.retain(|(known, _)| *known != name);
    attributes.push((name, value));
    attributes
}

/// What cannot be scored the same, or at all, is refused with where and why.
#[test]
fn refusals() {
    let rows: [(Attributes, &str, &str); 14] = [
        (stump("BRANCH_EQ"), "TL0542", "BRANCH_EQ"),
        (stump("BRANCH_NEQ"), "TL0542", "BRANCH_NEQ"),
        (with("post_transform", Value::Text("LOGISTIC")), "TL0542", "LOGISTIC"),
        (with("aggregate_function", Value::Text("MIN")), "TL0542", "MIN"),
        (with("n_targets", Value::Int(2)), "TL0542", "2 numbers"),
        (with("nodes_values_as_tensor", Value::Int(0)), "TL0542", "float64"),
        (with("nodes_featureids", Value::Ints(vec![3, 0, 0])), "TL0543", "column 3"),
        (with("nodes_featureids", Value::Ints(vec![-1, 0, 0])), "TL0543", "column"),
        (with("nodes_values", Value::Floats(vec![0.5])), "TL0543", "lengths"),
        (with("nodes_truenodeids", Value::Ints(vec![7, 0, 0])), "TL0543", "no node 7"),
        (with("nodes_truenodeids", Value::Ints(vec![0, 0, 0])), "TL0543", "no way"),
        (with("nodes_truenodeids", Value::Ints(vec![2, 0, 0])), "TL0543", "two"),
        (with("target_ids", Value::Ints(vec![0, 1])), "TL0543", "output 1"),
        (with("target_weights", Value::Floats(vec![2.0, f32::NAN])), "TL0543", "finite"),
    ];
    for (attributes, code, word) in rows {
        let error = regressor(&attributes).unwrap_err();
        let text = error.to_string();
        assert!(error.code() == code && text.contains(word), "{code} {word}: {text}");
        assert!(text.contains("TreeEnsembleRegressor") && !error.help().is_empty(), "{text}");
    }
    let plain = stump("BRANCH_LEQ");
    let tree =
        |input, output| make::operator("TreeEnsembleRegressor", (&[input], &[output]), &plain);
    let other =
        |kind: &str, input, output| make::operator(kind, (&[input], &[output]), &Vec::new());
    let of = |element, operators: &[Vec<u8>]| Imported::read(&make::model(element, operators));
    for (found, code, word) in [
        (of(11, &[tree("x", "y")]), "TL0542", "float64"),
        (of(8, &[tree("x", "y")]), "TL0542", "no numbers"),
        (of(1, &[tree("x", "a"), other("Exp", "a", "y")]), "TL0542", "Exp"),
        (of(1, &[tree("x", "a"), tree("x", "y")]), "TL0542", "second model"),
        (of(1, &[tree("x", "a")]), "TL0542", "output y"),
        (of(1, &[tree("z", "y")]), "TL0543", "\"z\""),
        (of(1, &[other("Normalizer", "x", "a"), tree("a", "y")]), "TL0542", "norm"),
        (of(1, &[]), "TL0542", "no tree ensemble"),
        (Imported::read(b"\x80\x03abc"), "TL0540", "byte"),
        (Imported::read(b""), "TL0540", "graph"),
    ] {
        let error = found.unwrap_err();
        assert!(error.code() == code && error.to_string().contains(word), "{code} {word}: {error}");
    }
    let model = make::model(1, &[tree("x", "y")]);
    let cut = Imported::read(&model[..model.len() - 16]).unwrap_err();
    assert!(cut.code() == "TL0543" && cut.to_string().contains("version"), "{cut}");
    let mut newer = model.clone();
    *newer.last_mut().unwrap() = 6;
    assert!(Imported::read(&newer).unwrap_err().to_string().contains("ai.onnx.ml 6"));
    // Whole numbers are compared as float32, as a runtime does.
    assert!(of(7, &[tree("x", "y")]).is_ok());
}

/// Two classes by one score each, all for the first, and scores that are no probabilities.
#[test]
fn classes_of_trees() {
    let classifier = |weights: Vec<f32>, ids: Vec<i64>, transform: &'static str| {
        let mut attributes = stump("BRANCH_LEQ");
        attributes.truncate(7);
        attributes.extend([
            ("class_treeids", Value::Ints(vec![0, 0])),
            ("class_nodeids", Value::Ints(vec![1, 2])),
            ("class_ids", Value::Ints(ids)),
            ("class_weights", Value::Floats(weights)),
            ("classlabels_strings", Value::Texts(vec!["good", "bad"])),
            ("post_transform", Value::Text(transform)),
        ]);
        let operator = make::operator("TreeEnsembleClassifier", (&["x"], &["l", "y"]), &attributes);
        Imported::read(&make::model(1, &[operator]))
    };
    let bad = |imported: Imported, x: f64| {
        let mut forest = Forest::new(&imported.plan);
        assert!(forest.score(&imported.plan, &[known(0.0), known(x), known(0.0)], None).known);
        assert_eq!(imported.plan.classes, ["good", "bad"]);
        forest.probabilities()[1]
    };
    // The one score of each leaf is that of the second class.
    let share = classifier(vec![0.25, 0.75], vec![0, 0], "NONE").unwrap();
    assert!((bad(share, 0.0) - 0.25).abs() < 1e-12);
    let margin = classifier(vec![-1.0, 2.0], vec![0, 0], "LOGISTIC").unwrap();
    assert!((bad(margin, 1.0) - 1.0 / (1.0 + (-2.0_f64).exp())).abs() < 1e-12);
    // Scores of their own: e^0 against e^2.
    let own = classifier(vec![1.0, 2.0], vec![0, 1], "SOFTMAX").unwrap();
    assert!((bad(own, 1.0) - 1.0 / (1.0 + (-2.0_f64).exp())).abs() < 1e-12);
    for (weights, ids, transform) in [
        (vec![-0.2, 0.9], vec![0, 0], "NONE"),
        (vec![0.2, 1.9], vec![0, 0], "NONE"),
        (vec![0.2, 0.9], vec![0, 1], "NONE"),
        (vec![0.2, 0.9], vec![0, 1], "LOGISTIC"),
        (vec![0.2, 0.9], vec![0, 0], "SOFTMAX"),
        (vec![0.2, 0.9], vec![0, 0], "PROBIT"),
        (vec![0.2, 0.9], vec![0, 1], "SOFTMAX_ZERO"),
    ] {
        let found = classifier(weights.clone(), ids, transform);
        assert_eq!(found.unwrap_err().code(), "TL0542", "{weights:?} {transform}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A file with bytes changed, taken out or doubled is refused, or is a model that fits; nothing
    /// panics.
    #[test]
    fn mutated_files_never_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..8),
    ) {
        let paths = models(&fixtures());
        let mut bytes = std::fs::read(&paths[which.index(paths.len())]).unwrap();
        for (at, byte, how) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 | 1 => bytes[at] = byte,
                2 => { bytes.remove(at); }
                _ => {
                    let end = bytes.len().min(at + usize::from(byte));
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
            }
        }
        if let Ok(imported) = Imported::read(&bytes) {
            prop_assert!(imported.plan.fits());
            let features = vec![known(0.5); imported.inputs.len()];
            Forest::new(&imported.plan).score(&imported.plan, &features, None);
        }
    }

    /// So is a file that ends anywhere, unless what is missing is nothing that the model is made of.
    #[test]
    fn cut_files_never_panic(at in any::<prop::sample::Index>()) {
        let bytes = fixture("skl-logistic-multi");
        let whole = Imported::read(&bytes).unwrap();
        if let Ok(cut) = Imported::read(&bytes[..at.index(bytes.len())]) {
            prop_assert_eq!(cut.plan, whole.plan);
        }
    }

    /// And noise.
    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Imported::read(&bytes);
    }
}
