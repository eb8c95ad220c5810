//! Models from elsewhere: an ONNX file becomes an artifact of our own.
//!
//! What the file does not hold, people must say: names and units of the inputs, rows of training for
//! the domain, labelled rows for the interval of a soft sensor. Without the last two the model is
//! never in its domain, so that it can be looked at, but drives no write.

use trimloop_core::feature::FeatureValue;
use trimloop_core::model::forest::Forest;
use trimloop_core::plan::{Activation, ForestPlan, Layer, Link};
use trimloop_recipe::artifact::{Artifact, FeatureSpec, Header, Kind, TrainingWindow};
use trimloop_recipe::onnx::Imported;
use trimloop_train::conformal;

use super::card::Card;
use super::kinds::Trained;
use super::plan::{features_of, window};
use super::{Frame, LearnError, drift, read};

/// Fewest rows that say where a model was trained, and how far it errs.
const ROWS_MIN: usize = 30;
/// Level of the interval.
const LEVEL: f64 = 0.9;

/// What is asked of an import.
pub struct ImportRequest<'a> {
    /// Name of the file, and its SHA-256.
    pub file: (&'a str, &'a str),
    /// Names of the inputs, `name` or `name [unit]`, in the order of training; empty: those of the
    /// file.
    pub inputs: &'a [String],
    /// Units, `name=unit`.
    pub units: &'a [String],
    /// Rows of training.
    pub domain: Option<&'a Frame>,
    /// Labelled rows that the model was not trained on.
    pub calibration: Option<&'a Frame>,
    /// What is predicted: column of the labels.
    pub label: Option<&'a str>,
    /// Name of the model; `None` makes one of kind and inputs.
    pub id: Option<&'a str>,
}

/// Titles of a table as names of inputs: its columns of numbers in their order, without the label.
///
/// # Errors
/// A label that is no column.
pub fn titles(frame: &Frame, label: Option<&str>) -> Result<Vec<String>, LearnError> {
    // The label may be that of another table.
    let is_input =
        |column: &&super::Column| !column.is_text() && Some(column.name.as_str()) != label;
    let title = |column: &super::Column| match column.unit.as_str() {
        "" => column.name.clone(),
        unit => format!("{} [{unit}]", column.name),
    };
    Ok(frame.columns().iter().filter(is_input).map(title).collect())
}

/// Makes an artifact of an ONNX model. The same request gives the same bytes.
///
/// # Errors
/// Names, units or rows that do not fit the model.
pub fn import(mut imported: Imported, request: &ImportRequest<'_>) -> Result<Trained, LearnError> {
    let mut features = features(&imported, request)?;
    let mut facts = facts(&imported, request);
    let mut warnings = imported.notes.clone();
    let mut header_rows = 0;
    match request.domain {
        Some(frame) => {
            let rows = rows(frame, &mut features, None)?;
            header_rows = rows.len() as u64;
            facts.push(("domain".to_owned(), format!("spans of {} rows of training", rows.len())));
            imported.learn(&rows.into_iter().map(|(row, _)| row).collect::<Vec<_>>());
        }
        None => {
            facts.push(("domain".to_owned(), "not known: always out".to_owned()));
            warnings.push(
                "Nobody said where it was trained: it is always out of its domain, and drives no \
                 write. Import it again with --domain and the rows of training."
                    .to_owned(),
            );
        }
    }
    let plan = &mut imported.plan;
    if plan.is_sensor() {
        sensor(plan, request, &mut features, &mut facts, &mut warnings)?;
    } else if request.calibration.is_some() {
        let why = "--calibration is for models that predict a number; the probabilities of this one \
                   stay those of the file, `trimloop model backtest` judges them";
        return Err(LearnError::Option(why.to_owned()));
    } else {
        warnings.push(
            "Its probabilities are those of the file; how well they are calibrated shows only \
             `trimloop model backtest`."
                .to_owned(),
        );
    }
    let frame_window = request.domain.and_then(window);
    let mut header = Header {
        id: String::new(),
        kind: Kind::Forest,
        features,
        recipe: String::new(),
        rows: header_rows,
        window: frame_window.map(|(from, to)| TrainingWindow { from, to }),
        seed: 0,
        note: format!("Imported from {}, SHA-256 {}.", request.file.0, request.file.1),
    };
    let hash = header.schema_hash();
    let short = hash.get(..8).unwrap_or_default();
    header.id = request.id.map_or_else(|| format!("import-{short}"), str::to_owned);
    let label = request.label.unwrap_or(if plan.is_sensor() { "prediction" } else { "class" });
    let names: Vec<String> = header.features.iter().map(|feature| feature.name.clone()).collect();
    let artifact = Artifact::classifier(header, label, Vec::new(), plan)
        .map_err(|error| LearnError::Train(error.to_string()))?;
    let reference =
        request.domain.map(|frame| drift::reference(frame, &names, None)).transpose()?;
    let card = Card {
        headline: headline(plan, label, request.file.0),
        facts,
        warnings,
        level: plan.half_width.map(|_| LEVEL),
        reference,
        ..Card::default()
    };
    Ok(Trained::new(artifact, card))
}

/// The interval of a soft sensor, from labelled rows.
fn sensor(
    plan: &mut ForestPlan,
    request: &ImportRequest<'_>,
    features: &mut [FeatureSpec],
    facts: &mut Vec<(String, String)>,
    warnings: &mut Vec<String>,
) -> Result<(), LearnError> {
    let Some(frame) = request.calibration else {
        facts.push(("interval".to_owned(), "none".to_owned()));
        warnings.push(
            "It was not held against labels: it has no interval, is always out of its domain, and \
             drives no write. Import it again with --calibration and --label."
                .to_owned(),
        );
        return Ok(());
    };
    let Some(label) = request.label else {
        let why = "which column of --calibration holds the labels is not said: --label COLUMN";
        return Err(LearnError::Option(why.to_owned()));
    };
    let mut forest = Forest::new(plan);
    let mut values = vec![FeatureValue::UNKNOWN; features.len()];
    let (mut residuals, mut squares) = (Vec::new(), 0.0);
    for (row, truth) in rows(frame, features, Some(label))? {
        features_of(&row, &mut values);
        let score = forest.score(plan, &values, None);
        if score.known {
            residuals.push((score.value - truth).abs());
            squares += (score.value - truth).powi(2);
        }
    }
    let unit = &frame.need(label)?.unit;
    let n = residuals.len();
    let half = conformal(&mut residuals, LEVEL).filter(|_| n >= ROWS_MIN).ok_or_else(|| {
        LearnError::NoRows(format!(
            "{n} rows of --calibration can be scored, {ROWS_MIN} are needed"
        ))
    })?;
    let rmse = (squares / n.max(1) as f64).sqrt();
    facts.push((
        "interval".to_owned(),
        format!(
            "{:.0} % of half width {half:.4} {unit}, RMSE {rmse:.4} {unit}, on {n} labelled rows",
            100.0 * LEVEL
        ),
    ));
    plan.half_width = Some(half);
    Ok(())
}

/// Names and units of the inputs.
fn features(
    imported: &Imported,
    request: &ImportRequest<'_>,
) -> Result<Vec<FeatureSpec>, LearnError> {
    let p = imported.inputs.len();
    let named: Vec<String> = if request.inputs.is_empty() {
        let Some(named) = imported.inputs.iter().cloned().collect() else {
            let why = format!(
                "the file does not name its {p} inputs; name them in the order of training, by \
                 --inputs NAME,NAME,… or by --inputs with a table whose columns they are"
            );
            return Err(LearnError::Option(why));
        };
        named
    } else {
        request.inputs.to_vec()
    };
    if named.len() != p {
        let why =
            format!("the model has {p} inputs, {} are named: {}", named.len(), named.join(", "));
        return Err(LearnError::Option(why));
    }
    let mut features: Vec<FeatureSpec> = named
        .iter()
        .map(|title| {
            let (name, unit) = read::named(title);
            FeatureSpec { name, unit }
        })
        .collect();
    for given in request.units {
        let wrong = |why: &str| LearnError::Option(format!("--unit {given}: {why}"));
        let Some((name, unit)) = given.split_once('=') else {
            return Err(wrong("write it as NAME=UNIT, such as melt_temp=degC"));
        };
        let feature = features.iter_mut().find(|feature| feature.name == name.trim());
        let feature = feature.ok_or_else(|| wrong("the model has no input of that name"))?;
        unit.trim().clone_into(&mut feature.unit);
    }
    Ok(features)
}

/// Rows in which every input, and the label where one is asked for, has a value. Units that are not
/// known yet are those of the table.
fn rows(
    frame: &Frame,
    features: &mut [FeatureSpec],
    label: Option<&str>,
) -> Result<Vec<(Vec<f64>, f64)>, LearnError> {
    let is_missing = |feature: &&FeatureSpec| frame.column(&feature.name).is_none();
    let missing: Vec<String> =
        features.iter().filter(is_missing).map(|feature| feature.name.clone()).collect();
    if !missing.is_empty() {
        return Err(LearnError::Columns { missing, known: frame.names() });
    }
    let mut columns = Vec::new();
    for feature in features {
        let column = frame.need(&feature.name)?;
        if feature.unit.is_empty() {
            feature.unit.clone_from(&column.unit);
        } else if !super::score::same_unit(&column.unit, &feature.unit) {
            return Err(LearnError::Unit {
                column: feature.name.clone(),
                model: feature.unit.clone(),
                data: column.unit.clone(),
            });
        }
        columns.push(column.numbers()?);
    }
    let labels = label.map(|label| frame.need(label)?.numbers()).transpose()?;
    let at = |numbers: &[f64], row: usize| numbers.get(row).copied().unwrap_or(f64::NAN);
    let kept: Vec<_> = (0..frame.rows())
        .map(|row| {
            let truth = labels.map_or(0.0, |labels| at(labels, row));
            (columns.iter().map(|column| at(column, row)).collect::<Vec<f64>>(), truth)
        })
        .filter(|(row, truth)| truth.is_finite() && row.iter().all(|x| x.is_finite()))
        .collect();
    if kept.len() < ROWS_MIN {
        let why = format!("{} rows are whole, {ROWS_MIN} are needed", kept.len());
        return Err(LearnError::NoRows(why));
    }
    Ok(kept)
}

/// Where it comes from and what it is.
fn facts(imported: &Imported, request: &ImportRequest<'_>) -> Vec<(String, String)> {
    let plan = &imported.plan;
    let deepest = plan.trees.iter().map(|tree| tree.depth).max().unwrap_or(0);
    let made = if let Some(network) = &plan.network {
        let layer = |layer: &Layer| match layer.activation {
            Activation::Identity => layer.units.to_string(),
            activation => format!("{} {}", layer.units, activation.word()),
        };
        let layers: Vec<_> = network.layers.iter().map(layer).collect();
        let (weights, units) = (network.weights.len(), network.bias.len());
        format!(
            "a neural network of layers {}; {weights} weights, {units} units",
            layers.join(", ")
        )
    } else if plan.trees.is_empty() {
        "linear terms".to_owned()
    } else {
        format!(
            "{} trees of {} nodes, {deepest} splits deep at most",
            plan.trees.len(),
            plan.nodes.len()
        )
    };
    let mut facts = vec![
        ("from", request.file.0.to_owned()),
        ("SHA-256 of the file", request.file.1.to_owned()),
        ("written by", imported.producer.clone()),
        ("operators", format!("{}; {}", imported.operator, imported.opsets.join(", "))),
        ("made of", made),
        ("inputs", imported.inputs.len().to_string()),
    ];
    if !plan.is_sensor() {
        facts.push(("classes", plan.classes.join(", ")));
    }
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn headline(plan: &ForestPlan, label: &str, file: &str) -> String {
    let of = match (&plan.network, plan.trees.is_empty()) {
        (Some(_), _) => "a neural network",
        (None, true) => "linear terms",
        (None, false) => "trees",
    };
    match (plan.is_sensor(), plan.link) {
        (true, _) => format!("Soft sensor of {label} made of {of}, imported from {file}."),
        (false, Link::Share) => {
            format!("Classifier of {label} by votes of {of}, imported from {file}.")
        }
        (false, _) => format!("Classifier of {label} by margins of {of}, imported from {file}."),
    }
}
