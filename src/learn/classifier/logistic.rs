//! Labelled rows into a logistic classifier.

use trimloop_core::plan::Calibration;
use trimloop_recipe::artifact::{Artifact, Kind};
use trimloop_train::{LogisticFit, LogisticOptions, Table, fit_logistic};

use super::fit::Prepared;
use super::formula;
use super::tables::{class_doubts, class_tables, decision, held_out, held_out_note, reliability};
use crate::learn::card::{Card, CardTable};
use crate::learn::kinds::{TrainRequest, Trained};
use crate::learn::label::Labels;
use crate::learn::plan::{header_of, training_facts};
use crate::learn::{Inputs, LearnError};

pub(super) fn train(
    request: &TrainRequest<'_>,
    found: &Labels,
    frame: &Prepared<'_>,
    inputs: Inputs<'_>,
) -> Result<Trained, LearnError> {
    let Some(label) = request.label else {
        let why = "--learner logistic judges each row alone and takes --label; causes of runs \
                   (--label-from-file) need a forest";
        return Err(LearnError::Option(why.to_owned()));
    };
    let names: Vec<String> = inputs.columns.iter().map(|column| column.name.clone()).collect();
    let steps = request.features.iter().map(|text| formula::parse(text, &names));
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    let table = Table::new(names, &inputs.matrix()?)?;
    let class = |row: &usize| found.of_row.get(*row).copied().flatten();
    let classes = inputs.rows.iter().filter_map(class);
    let rows: Vec<u16> = classes.filter_map(|class| u16::try_from(class).ok()).collect();
    let fit = fit_logistic(
        &table,
        &rows,
        &found.classes,
        &LogisticOptions {
            seed: request.seed,
            steps,
            blocked: request.frame.time().is_some(),
            progress: request.progress,
        },
    )?;
    let note = held_out_note(&fit.held_out, fit.blocked);
    let header = header_of(request, Kind::Logistic, &inputs, &note);
    let artifact = Artifact::logistic(header, label, frame.words.clone(), &fit.plan)
        .map_err(|error| LearnError::Train(error.to_string()))?;
    let mut facts = training_facts(request, &inputs);
    facts.push(("tells apart".to_owned(), format!("{label}: {}", found.classes.join(", "))));
    facts.extend(facts_of(&fit));
    let mut warnings = frame.warnings.clone();
    warnings.extend(class_doubts(&fit.held_out));
    let card = Card {
        headline: format!("Logistic regression that tells the classes of {label} apart."),
        facts,
        left_out: inputs.left_out,
        warnings,
        tables: tables(&fit),
        plots: reliability(&fit.held_out),
        ..Card::default()
    };
    Ok(Trained::new(artifact, card))
}

fn facts_of(fit: &LogisticFit) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![fact(
        "penalty",
        format!("{} rows, chosen by log loss on what was held out", fit.penalty),
    )];
    let derived = fit.columns.get(fit.plan.inputs.len()..).unwrap_or_default();
    if !derived.is_empty() {
        facts.push(fact("derived columns", derived.join(", ")));
    }
    facts.extend(held_out(&fit.held_out, fit.blocked));
    let how = match &fit.plan.calibration {
        Calibration::Platt { slope, bias } => {
            format!("Platt scaling on held-out log-odds, slope {slope:.2}, bias {bias:.2}")
        }
        Calibration::Isotonic(points) => {
            format!("isotonic regression on held-out log-odds, {} points", points.len())
        }
        Calibration::Softmax { slope } => {
            format!("one slope for all held-out log-odds, {slope:.2}")
        }
    };
    let (log_loss, brier) = (fit.held_out.log_loss, fit.held_out.brier);
    facts.push(fact(
        "calibration",
        format!("{how}; calibrated without the fold: log loss {log_loss:.3}, Brier {brier:.3}"),
    ));
    facts.push(decision(&fit.plan.classes, &fit.plan.weights));
    let domain = "the training ranges of the inputs, widened by what held-out rows show, and T2 of all \
                  columns up to";
    let few = "which few rows pass that are measured by the other folds";
    facts.push(fact("domain", format!("{domain} {:.1}, {few}", fit.plan.t2_out)));
    facts
}

fn tables(fit: &LogisticFit) -> Vec<CardTable> {
    let texts = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
    let mut tables = class_tables(&fit.held_out, &fit.plan.classes);
    tables.push(if fit.plan.classes.len() == 2 { of_two(fit) } else { of_many(fit) });
    let tried =
        fit.tried.iter().map(|(penalty, loss)| vec![format!("{penalty}"), format!("{loss:.4}")]);
    tables.push(CardTable {
        title: "Penalties tried".to_owned(),
        head: texts(&["penalty [rows]", "log loss held out, not calibrated"]),
        rows: tried.collect(),
    });
    tables
}

/// Most columns that are shown.
const SHOWN: usize = 15;

/// Coefficients of the columns that weigh most.
fn of_two(fit: &LogisticFit) -> CardTable {
    let plan = &fit.plan;
    let columns = plan.coefficients.iter().zip(&plan.scale);
    let mut order: Vec<(&String, f64, f64)> =
        fit.columns.iter().zip(columns).map(|(name, (c, scale))| (name, *c, c * scale)).collect();
    order.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
    let rows = order.iter().take(SHOWN).map(|(name, coefficient, scaled)| {
        vec![(*name).clone(), format!("{coefficient:.4e}"), format!("{scaled:.3}")]
    });
    let second = plan.classes.get(1).map_or("the second class", String::as_str);
    CardTable {
        title: format!("Log-odds of {second}"),
        head: ["column", "per unit", "per standard deviation"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

/// The same for each class, against the mean of the others as contributions are.
fn of_many(fit: &LogisticFit) -> CardTable {
    let plan = &fit.plan;
    let (c, q) = (plan.classes.len(), plan.columns());
    #[expect(clippy::cast_precision_loss, reason = "few classes")]
    let others = (c - 1) as f64;
    let of = |(column, (name, scale)): (usize, (&String, &f64))| {
        let each = plan.coefficients.iter().skip(column).step_by(q.max(1));
        let sum: f64 = each.clone().sum();
        let against = each.map(|own| (own - (sum - own) / others) * scale).collect();
        (name.clone(), against)
    };
    let columns = fit.columns.iter().zip(&plan.scale).enumerate();
    let mut order: Vec<(String, Vec<f64>)> = columns.map(of).collect();
    let most = |of: &[f64]| of.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    order.sort_by(|a, b| most(&b.1).total_cmp(&most(&a.1)));
    let rows = order.into_iter().take(SHOWN).map(|(name, against)| {
        let cells = against.iter().map(|x| format!("{x:.3}"));
        std::iter::once(name).chain(cells).collect()
    });
    let mut head = vec!["column".to_owned()];
    head.extend(plan.classes.iter().cloned());
    CardTable {
        title: "Log-odds of each class against the mean of the others, per standard deviation"
            .to_owned(),
        head,
        rows: rows.collect(),
    }
}
