//! Every mistake is answered word for word as `tests/recipe_mistakes/NAME.txt` says.
//!
//! Each `NAME.toml` there is a right recipe or PLC config with one thing wrong; its name begins
//! with the code it must get, and no other code may appear. `UPDATE=1` rewrites the texts: read
//! the difference before you commit it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use trimloop_core::plan::{
    Calibration, ForestPlan, LinearPlan, Link, LogisticPlan, Model, ModelId, Node, PcaLimits,
    PcaPlan, Source, Tree,
};
use trimloop_recipe::artifact::{Artifact, FeatureSpec, Header, Kind};
use trimloop_recipe::{
    Color, Diagnostic, Models, PlcConfig, Project, check, check_plc_config, codes, render,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/recipe_mistakes")
}

fn artifact(kind: Kind, inputs: &[(&str, &str)]) -> Vec<u8> {
    let p = inputs.len();
    let features = inputs
        .iter()
        .map(|(name, unit)| FeatureSpec { name: (*name).to_owned(), unit: (*unit).to_owned() });
    let header = Header {
        id: "mistakes-r1".to_owned(),
        kind,
        features: features.collect(),
        recipe: "base r1".to_owned(),
        rows: 1000,
        window: None,
        seed: 1,
        note: String::new(),
    };
    let mut loadings = vec![0.0; p];
    loadings[0] = 1.0;
    let limits = |t2, spe| PcaLimits { t2, spe };
    let model = match kind {
        Kind::Pca => Model::Pca(PcaPlan {
            inputs: Vec::new(),
            lags: 0,
            mean: vec![1.0; p],
            scale: vec![1.0; p],
            loadings,
            eigenvalues: vec![1.0],
            alarm: limits(9.0, 9.0),
            domain_out: limits(12.0, 12.0),
            domain_in: limits(9.0, 9.0),
        }),
        Kind::Linear => Model::Linear(LinearPlan {
            inputs: Vec::new(),
            coefficients: vec![1.0; p],
            mean: vec![1.0; p],
            scale: vec![1.0; p],
            intercept: 0.0,
            half_width: 0.1,
            span: vec![(0.0, 2.0); p],
            domain: None,
        }),
        other => panic!("no mistake needs a model of kind {}", other.word()),
    };
    Artifact::new(header, &model).unwrap().write()
}

/// The header of a model of one pressure.
fn header(kind: Kind) -> Header {
    let feature = FeatureSpec { name: "fill_pressure".to_owned(), unit: "bar".to_owned() };
    Header {
        id: "mistakes-r1".to_owned(),
        kind,
        features: vec![feature],
        recipe: "base r1".to_owned(),
        rows: 1000,
        window: None,
        seed: 1,
        note: String::new(),
    }
}

/// One tree with one split: the first class above 600 bar, the second below.
fn classifier(classes: [&str; 2]) -> Vec<u8> {
    let header = header(Kind::Forest);
    let node = |threshold, left| Node { threshold, column: 0, left };
    let plan = ForestPlan {
        inputs: Vec::new(),
        steps: Vec::new(),
        span: vec![(500.0, 700.0)],
        domain: None,
        trees: vec![Tree { root: 0, depth: 1 }],
        nodes: vec![node(600.0, 1), node(f32::MAX, 1), node(f32::MAX, 2)],
        values: vec![0.5, 0.9, 0.1],
        base: vec![0.0],
        factor: 1.0,
        link: Link::Votes,
        slope: 1.0,
        bias: vec![0.0],
        classes: classes.map(str::to_owned).to_vec(),
        weights: vec![1.0; 2],
        remember: None,
        likeness: None,
        directions: None,
        reach: None,
        linear: None,
        network: None,
        half_width: None,
    };
    Artifact::classifier(header, "quality", Vec::new(), &plan).unwrap().write()
}

/// Log-odds of class 2 that fall with the pressure.
fn logistic() -> Vec<u8> {
    let header = header(Kind::Logistic);
    let plan = LogisticPlan {
        inputs: Vec::new(),
        steps: Vec::new(),
        span: vec![(500.0, 700.0)],
        domain: None,
        coefficients: vec![-0.1],
        intercepts: vec![60.0],
        mean: vec![600.0],
        scale: vec![20.0],
        precision: vec![1.0],
        t2_out: 30.0,
        calibration: Calibration::Platt { slope: 1.0, bias: 0.0 },
        classes: vec!["1".to_owned(), "2".to_owned()],
        weights: vec![1.0; 2],
    };
    Artifact::logistic(header, "quality", Vec::new(), &plan).unwrap().write()
}

/// A logistic classifier stands in a recipe where a forest may: its probability in a signature, its
/// classes by name, and the same words when a class is not there.
#[test]
fn logistic_classifiers_are_bound() {
    let project = project();
    let path = folder().join("tl0516-unknown-class.toml");
    let text = std::fs::read_to_string(path).unwrap().replace("\"quality\"", "\"logistic\"");
    let known = text.replace("\"scrap\"", "\"2\"");
    let (recipe, found) = check("tl0516-unknown-class.toml", &known);
    assert!(found.is_empty(), "{}", render(&found, Color::Never));
    let bound = project.bind(&recipe.unwrap()).unwrap();
    let plan = &bound.plan;
    let place = plan.models.iter().position(|m| matches!(m.model, Model::Logistic(_))).unwrap();
    let wanted = Source::Probability(ModelId(u16::try_from(place).unwrap()), 1);
    let mut sources = plan.signatures.iter().flat_map(|s| &s.clauses).map(|c| c.source);
    assert!(sources.any(|source| source == wanted));
    let unknown = diagnose(&project, "tl0516-unknown-class.toml", &text);
    let codes: Vec<&str> = unknown.iter().map(|found| found.code.code).collect();
    assert_eq!(codes, ["TL0516"]);
}

fn models() -> Models {
    let inputs = [("fill_pressure", "bar"), ("melt_temp", "degC")];
    let good = artifact(Kind::Pca, &inputs);
    let mut models = Models::new();
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    models.insert("damaged", damaged);
    models.insert("cut-short", good[..good.len() - 100].to_vec());
    models.insert("monitor", good);
    models.insert("quality", classifier(["1", "2"]));
    models.insert("words", classifier(["good", "waste"]));
    models.insert("logistic", logistic());
    models.insert("sensor", artifact(Kind::Linear, &inputs));
    models.insert("other-feature", artifact(Kind::Pca, &[("cushion", "mm"), inputs[1]]));
    models.insert("other-unit", artifact(Kind::Pca, &[("fill_pressure", "MPa"), inputs[1]]));
    models
}

fn project() -> Project {
    let mut project = Project::read(&folder()).unwrap();
    let unwanted = render(&project.diagnostics, Color::Never);
    assert!(unwanted.is_empty(), "the PLC configs must be right:\n{unwanted}");
    project.models = models();
    project
}

fn diagnose(project: &Project, file: &str, text: &str) -> Vec<Diagnostic> {
    if text.contains("[plc]") {
        let (config, mut found): (Option<PlcConfig>, _) = check_plc_config(file, text);
        assert_eq!(config.is_none(), trimloop_recipe::has_errors(&found));
        found.truncate(20);
        return found;
    }
    let (recipe, mut found) = check(file, text);
    assert_eq!(recipe.is_none(), trimloop_recipe::has_errors(&found));
    if let Some(recipe) = recipe {
        found.extend(match project.bind(&recipe) {
            Ok(bound) => bound.warnings,
            Err(more) => more,
        });
    }
    found
}

/// Exact texts, and exactly the codes that the file names say.
#[test]
fn texts() {
    let project = project();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 36);
    let mut wrong = String::new();
    let mut seen = BTreeSet::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let found = diagnose(&project, &format!("tests/recipe_mistakes/{name}.toml"), &text);
        let shown = render(&found, Color::Never);
        let got: BTreeSet<_> = found.iter().map(|found| found.code.code).collect();
        seen.extend(got.iter().copied());
        let wanted = name.get(..6).unwrap().to_uppercase();
        let exact = got.len() == 1 && got.contains(wanted.as_str()) && found.len() == 1;
        let codes: Vec<_> = got.into_iter().collect();
        if !(exact || name == "three-mistakes" && found.len() == 3) {
            wrong.extend(["--- ", &name, ": ", &codes.join(" "), "\n", &shown, "\n"]);
        }
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        }
        if std::fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.extend(["--- ", &name, ".txt differs; now:\n", &shown, "\n"]);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    // Codes that need a file too large, a run, a file that only another trimloop writes, or that are
    // about no recipe.
    let unseen = [
        "TL0238", "TL0254", "TL0502", "TL0503", "TL0505", "TL0506", "TL0507", "TL0508", "TL0509",
        "TL0512", "TL0540", "TL0541", "TL0542", "TL0543",
    ];
    let missing: Vec<_> =
        codes::all().map(|c| c.code).filter(|c| !seen.contains(c) && !unseen.contains(c)).collect();
    assert!(missing.is_empty(), "codes without a mistake file: {missing:?}");
}
