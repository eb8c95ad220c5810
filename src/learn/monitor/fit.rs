//! Trains a monitor: runs without gaps, the learner, and what its card says.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use trimloop_core::plan::{FeatureId, Model, PcaLimits};
use trimloop_recipe::artifact::{Artifact, Kind};
use trimloop_train::{
    ComponentsOptions, MonitorOptions, Prediction, Table, fit_components, fit_monitor,
};

use crate::learn::card::Card;
use crate::learn::kinds::{Learner, TrainRequest, Trained};
use crate::learn::plan::{header_of, training_facts};
use crate::learn::{Column, Frame, Inputs, LearnError, numeric_inputs};

/// Rows before each row that dynamic PCA judges with it, where nobody says how many.
const LAGS: u8 = 2;
/// Rows in a row by which a run is known again.
const STRETCH: usize = 5;
/// Rows that hardly remember one another: they may be parts in no order.
const PREDICTED_MIN: f64 = 0.1;
/// Rows that remember one another well: a MEWMA of them has to be wide.
const REMEMBER_MAX: f64 = 0.3;
/// Rows a variable below which limits may be too narrow for runs livelier than that of training.
const ROWS_PER_INPUT: usize = 10;
/// Independent scores below which limits are wide, and a calibration run helps most.
const INDEPENDENT_FEW: f64 = 100.0;

pub(in crate::learn) fn train(request: &TrainRequest<'_>) -> Result<Trained, LearnError> {
    let steps = if request.calibration.is_some() { 3 } else { 2 };
    step(request, "reading the runs of normal operation", 0, steps)?;
    let inputs = numeric_inputs(request.frame, request.label, request.ignore)?;
    let mut runs = runs(request.frame, &inputs.columns)?;
    if let Some(calibration) = request.calibration {
        runs.extend(self::runs(calibration, &calibrated(&inputs, calibration)?)?);
        step(request, "reading the calibration", 1, steps)?;
    }
    once(&runs)?;
    step(request, "fitting, block by block", steps - 1, steps)?;
    let fit = Learnt::fit(request, &runs)?;
    let mut header = header_of(request, fit.kind, &inputs, &fit.note);
    header.rows = fit.rows as u64;
    let artifact =
        Artifact::new(header, &fit.model).map_err(|error| LearnError::Train(error.to_string()))?;
    let card = card(request, inputs, &fit, runs.len());
    Ok(Trained { unseen: Some(fit.scores), ..Trained::new(artifact, card) })
}

/// A monitor of any learner, with what its card says.
struct Learnt {
    model: Model,
    kind: Kind,
    rows: usize,
    /// Share of the variance of held-out rows that the row before explains.
    predicted: f64,
    /// Independent scores that the held-out rows are worth, of T2 and of SPE.
    independent: (f64, f64),
    widened: f64,
    /// Of held-out rows.
    scores: Vec<f64>,
    /// Of each member.
    limits: Vec<PcaLimits>,
    note: String,
}

impl Learnt {
    fn fit(request: &TrainRequest<'_>, runs: &[Table]) -> Result<Self, LearnError> {
        let p = runs.first().map_or(0, Table::columns);
        let ids: Vec<FeatureId> = (0..).map(FeatureId).take(p).collect();
        match learner(request) {
            Learner::Pca => Self::components(request, runs, &ids, 0),
            Learner::Dpca => Self::components(request, runs, &ids, request.lags.unwrap_or(LAGS)),
            Learner::Mewma => Self::errors(request, runs, &ids, Prediction::Mean),
            Learner::Cva => Self::errors(request, runs, &ids, Prediction::Canonical),
            Learner::Combined => Self::errors(request, runs, &ids, Prediction::Both),
            _ => Self::errors(request, runs, &ids, Prediction::Row),
        }
    }

    /// T2 and SPE of errors of a prediction.
    fn errors(
        request: &TrainRequest<'_>,
        runs: &[Table],
        ids: &[FeatureId],
        prediction: Prediction,
    ) -> Result<Self, LearnError> {
        let options = MonitorOptions { far: request.far, prediction, ..Default::default() };
        let fit = fit_monitor(runs, &options)?;
        let report = &fit.report;
        let from = match (prediction, report.variates) {
            (Prediction::Mean, _) => "could be predicted from the row before".to_owned(),
            (_, Some(variates)) => format!("predicted from {variates} canonical variates"),
            _ => "predicted".to_owned(),
        };
        let how = format!(
            "{:.0} % of the variance of held-out rows {from}; ridge {}",
            100.0 * report.predicted,
            report.ridge
        );
        let independent = (report.independent_t2, report.independent_spe);
        Ok(Self {
            model: fit.plan(ids)?,
            kind: if prediction == Prediction::Both { Kind::Combined } else { Kind::Monitor },
            rows: report.rows,
            predicted: report.predicted,
            independent,
            widened: report.widened,
            limits: fit.limits().collect(),
            note: note(request, report.held_out, &how, independent),
            scores: fit.report.scores,
        })
    }

    /// T2 and SPE of principal components.
    fn components(
        request: &TrainRequest<'_>,
        runs: &[Table],
        ids: &[FeatureId],
        lags: u8,
    ) -> Result<Self, LearnError> {
        let options = ComponentsOptions {
            far: request.far,
            lags,
            seed: request.seed,
            ..ComponentsOptions::default()
        };
        let fit = fit_components(runs, &options)?;
        let report = &fit.report;
        let rows = match lags {
            0 => "rows".to_owned(),
            1 => "rows with the row before".to_owned(),
            lags => format!("rows with the {lags} rows before"),
        };
        let how = format!(
            "{} components hold {:.0} % of the variance of {rows}; {:.0} % of the variance of \
             held-out rows could be predicted from the row before",
            report.components,
            100.0 * report.explained,
            100.0 * report.predicted
        );
        let independent = (report.independent_t2, report.independent_spe);
        Ok(Self {
            model: Model::Pca(fit.plan(ids)?),
            kind: Kind::Pca,
            rows: report.rows,
            predicted: report.predicted,
            independent,
            widened: report.widened,
            limits: vec![report.alarm],
            note: note(request, report.held_out, &how, independent),
            scores: fit.report.scores,
        })
    }
}

/// Refuses rows that are given twice: limits would be taken from rows that the model was fitted
/// to, and be far too narrow. Five in a row that are the same to the last bit are no chance.
fn once(runs: &[Table]) -> Result<(), LearnError> {
    let stretch = |run: &Table, end: usize| -> u64 {
        let mut hasher = DefaultHasher::new();
        for row in (end + 1).saturating_sub(STRETCH)..=end {
            run.row(row).iter().for_each(|x| x.to_bits().hash(&mut hasher));
        }
        hasher.finish()
    };
    let mut seen = HashSet::new();
    for (place, run) in runs.iter().enumerate() {
        let ends = STRETCH - 1..run.rows();
        let twice = ends.clone().filter(|end| seen.contains(&stretch(run, *end))).count();
        if 2 * twice > ends.len() {
            let why = format!(
                "run {} of {} (a stretch of rows without a gap) has rows that a run before it \
                 has too: a file is given twice, or as --data and --calibration; limits have to \
                 come from rows that are there once",
                place + 1,
                runs.len()
            );
            return Err(LearnError::Option(why));
        }
        seen.extend(ends.map(|end| stretch(run, end)));
    }
    Ok(())
}

fn learner(request: &TrainRequest<'_>) -> Learner {
    request.learner.unwrap_or(Learner::Dynamic)
}

fn step(request: &TrainRequest<'_>, what: &str, done: u64, all: u64) -> Result<(), LearnError> {
    if (request.progress)(what, done, all) { Ok(()) } else { Err(LearnError::Interrupted) }
}

/// The columns of the inputs in another frame, in their units.
fn calibrated<'f>(inputs: &Inputs<'_>, frame: &'f Frame) -> Result<Vec<&'f Column>, LearnError> {
    let missing: Vec<String> = inputs
        .columns
        .iter()
        .filter(|column| frame.column(&column.name).is_none())
        .map(|column| column.name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(LearnError::Columns { missing, known: frame.names() });
    }
    let mut columns = Vec::new();
    for column in &inputs.columns {
        let found = frame.need(&column.name)?;
        if !found.unit.is_empty() && found.unit != column.unit {
            return Err(LearnError::Unit {
                column: column.name.clone(),
                model: column.unit.clone(),
                data: found.unit.clone(),
            });
        }
        columns.push(found);
    }
    Ok(columns)
}

/// Stretches of rows without a gap, each within one file.
fn runs(frame: &Frame, columns: &[&Column]) -> Result<Vec<Table>, LearnError> {
    let mut series = Vec::new();
    for column in columns {
        series.push(column.numbers()?);
    }
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut runs = Vec::new();
    for (_, rows) in frame.files() {
        let mut run = Vec::new();
        for row in rows.clone() {
            let value = |x: &&[f64]| x.get(row).copied().unwrap_or(f64::NAN);
            let values: Vec<f64> = series.iter().map(value).collect();
            if values.iter().all(|x| x.is_finite()) {
                run.push(values);
            } else if !run.is_empty() {
                runs.push(Table::new(names.clone(), &std::mem::take(&mut run))?);
            }
        }
        if !run.is_empty() {
            runs.push(Table::new(names.clone(), &run)?);
        }
    }
    Ok(runs)
}

/// - `how`: what the learner found, without its full stop.
fn note(request: &TrainRequest<'_>, held_out: f64, how: &str, (t2, spe): (f64, f64)) -> String {
    format!(
        "{:.2} % false alarms asked for, {:.2} % found on held-out blocks; {how}; the rows are \
         worth {t2:.0} independent scores of T2, {spe:.0} of SPE.",
        100.0 * request.far,
        100.0 * held_out,
    )
}

fn card(request: &TrainRequest<'_>, inputs: Inputs<'_>, fit: &Learnt, runs: usize) -> Card {
    let mut facts = training_facts(request, &inputs);
    if let Some(calibration) = request.calibration {
        facts.push(("rows of calibration".to_owned(), calibration.rows().to_string()));
    }
    facts.extend([
        ("runs without a gap".to_owned(), runs.to_string()),
        ("false alarms asked for".to_owned(), format!("{:.2} %", 100.0 * request.far)),
        ("limits".to_owned(), {
            let limits = fit.limits.iter().map(|l| format!("T2 {:.1}, SPE {:.1}", l.t2, l.spe));
            let limits: Vec<String> = limits.collect();
            format!("{}; widened by {:.2}", limits.join(" and "), fit.widened)
        }),
        ("fit".to_owned(), fit.note.clone()),
    ]);
    let mut warnings = Vec::new();
    let learner = learner(request);
    let predicted = 100.0 * fit.predicted;
    if matches!(learner, Learner::Mewma | Learner::Pca) && fit.predicted > REMEMBER_MAX {
        warnings.push(format!(
            "the rows remember one another ({predicted:.0} % of their variance could be predicted \
             from the row before): --learner dynamic judges what is left of that, and finds more"
        ));
    }
    if !matches!(learner, Learner::Mewma | Learner::Pca) && fit.predicted < PREDICTED_MIN {
        warnings.push(format!(
            "the rows hardly remember one another ({predicted:.0} % predicted): are they in the \
             order of time?"
        ));
    }
    if fit.rows < ROWS_PER_INPUT * inputs.columns.len() {
        warnings.push(format!(
            "{} rows are few for {} variables: a run livelier than these may alarm more often \
             than asked for; {} rows or a calibration run are better",
            fit.rows,
            inputs.columns.len(),
            ROWS_PER_INPUT * inputs.columns.len()
        ));
    }
    let (t2, spe) = fit.independent;
    if t2.min(spe) < INDEPENDENT_FEW {
        warnings.push(format!(
            "slow rows are worth few independent scores ({t2:.0} of T2, {spe:.0} of SPE): the \
             limits are wide so that they hold; another recording of normal operation \
             (--calibration) makes them narrower"
        ));
    }
    Card {
        headline: match learner {
            Learner::Cva => {
                "Monitor (T2 and SPE of the errors of canonical variates, CVA): has the \
                 process left normal operation?"
            }
            Learner::Combined => {
                "Monitor (one-step errors, and a MEWMA of the rows, under limits found \
                 together): has the process left normal operation?"
            }
            Learner::Mewma => {
                "Monitor (MEWMA of the rows, and their smoothed squared distance): has the \
                 process left normal operation?"
            }
            Learner::Pca => {
                "Monitor (T2 and SPE of principal components, PCA): has the process left normal \
                 operation?"
            }
            Learner::Dpca => {
                "Monitor (T2 and SPE of the components of rows with those before them, dynamic \
                 PCA): has the process left normal operation?"
            }
            _ => {
                "Monitor (T2 and SPE of one-step errors): has the process left normal \
                 operation?"
            }
        }
        .to_owned(),
        facts,
        left_out: inputs.left_out,
        warnings,
        ..Card::default()
    }
}
