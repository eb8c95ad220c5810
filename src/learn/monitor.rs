//! Monitors: has the process left normal operation?

use trimloop_core::feature::FeatureValue;
use trimloop_core::model::{Contribution, Models};
use trimloop_core::plan::{FeatureId, ModelId, Plan};
use trimloop_recipe::artifact::Artifact;

use super::LearnError;
use super::kinds::{Domain, Input, Scorer, TOP, number_inputs, top_columns};
use super::plan::{features_of, plan_of};
use crate::export::{Cell, Column, Kind};

#[cfg(feature = "train")]
pub(super) use fit::train;

/// Scores with a monitor, dynamic or of principal components.
#[derive(Debug)]
pub struct MonitorScorer {
    plan: Plan,
    models: Models,
    inputs: Vec<Input>,
    features: Vec<FeatureValue>,
    alarm: bool,
}

impl MonitorScorer {
    pub(super) fn new(artifact: &Artifact) -> Result<Self, LearnError> {
        let plan = plan_of(artifact)?;
        let models = Models::new(&plan);
        let inputs = number_inputs(artifact);
        let features = vec![FeatureValue::UNKNOWN; inputs.len()];
        Ok(Self { plan, models, inputs, features, alarm: false })
    }
}

impl Scorer for MonitorScorer {
    fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::new("alarm", Kind::Int)];
        let numbers = ["score", "threshold", "t2", "spe"];
        columns.extend(numbers.map(|name| Column::new(name, Kind::Number)));
        columns.push(Column::new("domain", Kind::Text));
        columns.extend(top_columns(self.inputs.len()));
        columns
    }

    fn row(&mut self, inputs: &[f64], cells: &mut Vec<Cell<'_>>) -> Domain {
        features_of(inputs, &mut self.features);
        self.models.score(&self.plan, &self.features);
        let id = ModelId(0);
        let score = self.models.get(id).filter(|score| score.known).copied();
        let domain =
            score.map_or(
                Domain::Missing,
                |score| {
                    if score.in_domain { Domain::In } else { Domain::Out }
                },
            );
        if let Some(score) = score {
            self.alarm = score.alarm;
        }
        cells.push(Cell::Int(i64::from(self.alarm)));
        let number = |x: Option<f64>| x.map_or(Cell::Null, Cell::Float);
        cells.push(number(score.map(|score| score.value)));
        cells.push(Cell::Float(1.0));
        cells.push(number(score.map(|score| score.t2)));
        cells.push(number(score.map(|score| score.spe)));
        cells.push(domain.cell());
        let mut top = [Contribution::NONE; TOP];
        let count = self.models.top(&self.plan, &self.features, id, &mut top);
        push_top(top.iter().take(count), &self.inputs, cells);
        domain
    }

    fn restart(&mut self) {
        self.models = Models::new(&self.plan);
        self.alarm = false;
    }
}

/// Names and shares of the largest contributions; empty cells where there are fewer.
pub(super) fn push_top<'c>(
    top: impl Iterator<Item = &'c Contribution>,
    inputs: &[Input],
    cells: &mut Vec<Cell<'_>>,
) {
    let slots = inputs.len().min(TOP);
    let mut filled = 0;
    for contribution in top.take(slots) {
        let FeatureId(place) = contribution.feature;
        let name = inputs.get(usize::from(place)).map_or("", |input| input.name.as_str());
        cells.push(Cell::Text(name.to_owned().into()));
        cells.push(Cell::Float(contribution.share));
        filled += 1;
    }
    for _ in filled..slots {
        cells.push(Cell::Null);
        cells.push(Cell::Null);
    }
}

#[cfg(feature = "train")]
mod fit {
    use trimloop_core::plan::{FeatureId, Model};
    use trimloop_recipe::artifact::{Artifact, Kind};
    use trimloop_train::{MonitorFit, MonitorOptions, Table, fit_monitor};

    use crate::learn::card::Card;
    use crate::learn::kinds::{TrainRequest, Trained};
    use crate::learn::plan::{header_of, training_facts};
    use crate::learn::{Column, Frame, Inputs, LearnError, numeric_inputs};

    /// Rows that hardly remember one another: they may be parts in no order.
    const PREDICTED_MIN: f64 = 0.1;
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
        step(request, "fitting, block by block", steps - 1, steps)?;
        let fit = fit_monitor(&runs, &MonitorOptions { far: request.far, ..Default::default() })?;
        let ids: Vec<FeatureId> = (0..).map(FeatureId).take(inputs.columns.len()).collect();
        let mut header = header_of(request, Kind::Monitor, &inputs, &note(request, &fit));
        header.rows = fit.report.rows as u64;
        let artifact = Artifact::new(header, &Model::Monitor(fit.plan(&ids)?))
            .map_err(|error| LearnError::Train(error.to_string()))?;
        Ok(Trained::new(artifact, card(request, inputs, &fit, runs.len())))
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
        format!(
            "{:.2} % false alarms asked for, {:.2} % found on held-out blocks; {:.0} % of the \
             variance of held-out rows predicted; ridge {}; the rows are worth {:.0} independent \
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
                let limits = fit.limits();
                format!(
                    "T2 {:.1}, SPE {:.1}; widened by {:.2}",
                    limits.t2, limits.spe, report.widened
                )
            }),
            ("fit".to_owned(), note(request, fit)),
        ]);
        let mut warnings = Vec::new();
        if report.predicted < PREDICTED_MIN {
            warnings.push(format!(
                "the rows hardly remember one another ({:.0} % predicted): are they in the order \
                 of time?",
                100.0 * report.predicted
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
            headline: "Monitor (T2 and SPE of one-step errors): has the process left normal \
                       operation?"
                .to_owned(),
            facts,
            left_out: inputs.left_out,
            warnings,
            ..Card::default()
        }
    }
}
