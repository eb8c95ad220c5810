//! Monitors: has the process left normal operation?

use trimloop_recipe::artifact::Artifact;

use super::LearnError;
use super::kinds::{Domain, Input, Scorer, top_columns};
use super::plan::CoreModel;
use crate::export::{Cell, Column, Kind};

#[cfg(feature = "train")]
pub(super) use fit::train;

/// Scores with a monitor, dynamic or of principal components.
#[derive(Debug)]
pub struct MonitorScorer {
    model: CoreModel,
    alarm: bool,
}

impl MonitorScorer {
    pub(super) fn new(artifact: &Artifact) -> Result<Self, LearnError> {
        Ok(Self { model: CoreModel::new(artifact)?, alarm: false })
    }
}

impl Scorer for MonitorScorer {
    fn inputs(&self) -> &[Input] {
        self.model.inputs()
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::new("alarm", Kind::Int)];
        let numbers = ["score", "threshold", "t2", "spe"];
        columns.extend(numbers.map(|name| Column::new(name, Kind::Number)));
        columns.push(Column::new("domain", Kind::Text));
        columns.extend(top_columns(self.inputs().len()));
        columns
    }

    fn row(&mut self, inputs: &[f64], cells: &mut Vec<Cell<'_>>) -> Domain {
        let score = self.model.score(inputs);
        let domain = Domain::of(&score);
        // A row that nothing is known of neither raises an alarm nor ends one.
        if score.known {
            self.alarm = score.alarm;
        }
        let number = |x: f64| if score.known { Cell::Float(x) } else { Cell::Null };
        cells.push(Cell::Int(i64::from(self.alarm)));
        // The score is a share of its limit, so its threshold is 1.
        cells.extend([number(score.value), Cell::Float(1.0), number(score.t2), number(score.spe)]);
        cells.push(domain.cell());
        self.model.push_top(cells);
        domain
    }

    fn restart(&mut self) {
        self.model.restart();
        self.alarm = false;
    }
}

#[cfg(feature = "train")]
mod fit {
    use std::collections::HashSet;
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use trimloop_core::plan::FeatureId;
    use trimloop_recipe::artifact::{Artifact, Kind};
    use trimloop_train::{MonitorFit, MonitorOptions, Prediction, Table, fit_monitor};

    use crate::learn::card::Card;
    use crate::learn::kinds::{Learner, TrainRequest, Trained};
    use crate::learn::plan::{header_of, training_facts};
    use crate::learn::{Column, Frame, Inputs, LearnError, numeric_inputs};

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
        let prediction = prediction(request);
        let options = MonitorOptions { far: request.far, prediction, ..Default::default() };
        let fit = fit_monitor(&runs, &options)?;
        let ids: Vec<FeatureId> = (0..).map(FeatureId).take(inputs.columns.len()).collect();
        let kind = if prediction == Prediction::Both { Kind::Combined } else { Kind::Monitor };
        let mut header = header_of(request, kind, &inputs, &note(request, &fit));
        header.rows = fit.report.rows as u64;
        let artifact = Artifact::new(header, &fit.plan(&ids)?)
            .map_err(|error| LearnError::Train(error.to_string()))?;
        let unseen = Some(fit.report.scores.clone());
        let card = card(request, inputs, &fit, runs.len());
        Ok(Trained { unseen, ..Trained::new(artifact, card) })
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

    fn prediction(request: &TrainRequest<'_>) -> Prediction {
        match request.learner {
            Some(Learner::Mewma) => Prediction::Mean,
            Some(Learner::Cva) => Prediction::Canonical,
            Some(Learner::Combined) => Prediction::Both,
            _ => Prediction::Row,
        }
    }

    fn step(request: &TrainRequest<'_>, what: &str, done: u64, all: u64) -> Result<(), LearnError> {
        if (request.progress)(what, done, all) { Ok(()) } else { Err(LearnError::Interrupted) }
    }

    /// The columns of the inputs in another frame, in their units.
    fn calibrated<'f>(
        inputs: &Inputs<'_>,
        frame: &'f Frame,
    ) -> Result<Vec<&'f Column>, LearnError> {
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

    fn note(request: &TrainRequest<'_>, fit: &MonitorFit) -> String {
        let report = &fit.report;
        let from = match (prediction(request), report.variates) {
            (Prediction::Mean, _) => "could be predicted from the row before".to_owned(),
            (_, Some(variates)) => format!("predicted from {variates} canonical variates"),
            _ => "predicted".to_owned(),
        };
        format!(
            "{:.2} % false alarms asked for, {:.2} % found on held-out blocks; {:.0} % of the \
             variance of held-out rows {from}; ridge {}; the rows are worth {:.0} independent \
             scores of T2, {:.0} of SPE.",
            100.0 * request.far,
            100.0 * report.held_out,
            100.0 * report.predicted,
            report.ridge,
            report.independent_t2,
            report.independent_spe,
        )
    }

    fn card(request: &TrainRequest<'_>, inputs: Inputs<'_>, fit: &MonitorFit, runs: usize) -> Card {
        let report = &fit.report;
        let mut facts = training_facts(request, &inputs);
        if let Some(calibration) = request.calibration {
            facts.push(("rows of calibration".to_owned(), calibration.rows().to_string()));
        }
        facts.extend([
            ("runs without a gap".to_owned(), runs.to_string()),
            ("false alarms asked for".to_owned(), format!("{:.2} %", 100.0 * request.far)),
            ("limits".to_owned(), {
                let limits = fit.limits().map(|l| format!("T2 {:.1}, SPE {:.1}", l.t2, l.spe));
                let limits: Vec<String> = limits.collect();
                format!("{}; widened by {:.2}", limits.join(" and "), report.widened)
            }),
            ("fit".to_owned(), note(request, fit)),
        ]);
        let mut warnings = Vec::new();
        let learner = prediction(request);
        if learner == Prediction::Mean && report.predicted > REMEMBER_MAX {
            warnings.push(format!(
                "the rows remember one another ({:.0} % of their variance could be predicted from \
                 the row before): --learner dynamic judges what is left of that, and finds more",
                100.0 * report.predicted
            ));
        }
        if learner != Prediction::Mean && report.predicted < PREDICTED_MIN {
            warnings.push(format!(
                "the rows hardly remember one another ({:.0} % predicted): are they in the order \
                 of time?",
                100.0 * report.predicted
            ));
        }
        if report.rows < ROWS_PER_INPUT * inputs.columns.len() {
            warnings.push(format!(
                "{} rows are few for {} variables: a run livelier than these may alarm more often \
                 than asked for; {} rows or a calibration run are better",
                report.rows,
                inputs.columns.len(),
                ROWS_PER_INPUT * inputs.columns.len()
            ));
        }
        if report.independent_t2.min(report.independent_spe) < INDEPENDENT_FEW {
            warnings.push(format!(
                "slow rows are worth few independent scores ({:.0} of T2, {:.0} of SPE): the \
                 limits are wide so that they hold; another recording of normal operation \
                 (--calibration) makes them narrower",
                report.independent_t2, report.independent_spe
            ));
        }
        Card {
            headline: match learner {
                Prediction::Row => {
                    "Monitor (T2 and SPE of one-step errors): has the process left normal \
                     operation?"
                }
                Prediction::Canonical => {
                    "Monitor (T2 and SPE of the errors of canonical variates, CVA): has the \
                     process left normal operation?"
                }
                Prediction::Both => {
                    "Monitor (one-step errors, and a MEWMA of the rows, under limits found \
                     together): has the process left normal operation?"
                }
                Prediction::Mean => {
                    "Monitor (MEWMA of the rows, and their smoothed squared distance): has the \
                     process left normal operation?"
                }
            }
            .to_owned(),
            facts,
            left_out: inputs.left_out,
            warnings,
            ..Card::default()
        }
    }
}
