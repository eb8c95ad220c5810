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

/// Scores with a principal-component monitor.
#[derive(Debug)]
pub struct PcaScorer {
    plan: Plan,
    models: Models,
    inputs: Vec<Input>,
    features: Vec<FeatureValue>,
    alarm: bool,
}

impl PcaScorer {
    pub(super) fn new(artifact: &Artifact) -> Result<Self, LearnError> {
        let plan = plan_of(artifact)?;
        let models = Models::new(&plan);
        let inputs = number_inputs(artifact);
        let features = vec![FeatureValue::UNKNOWN; inputs.len()];
        Ok(Self { plan, models, inputs, features, alarm: false })
    }
}

impl Scorer for PcaScorer {
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
    use trimloop_train::{PcaOptions, Table, fit_pca};

    use crate::learn::card::Card;
    use crate::learn::kinds::{TrainRequest, Trained};
    use crate::learn::plan::{header_of, training_facts};
    use crate::learn::{LearnError, numeric_inputs};

    pub(in crate::learn) fn train(request: &TrainRequest<'_>) -> Result<Trained, LearnError> {
        let inputs = numeric_inputs(request.frame, request.label, request.ignore)?;
        let names = inputs.columns.iter().map(|column| column.name.clone()).collect();
        let table = Table::new(names, &inputs.matrix()?)?;
        let options = PcaOptions { alpha: request.far, seed: request.seed, ..Default::default() };
        let fit = fit_pca(&table, &options)?;
        let ids: Vec<FeatureId> = (0..).map(FeatureId).take(inputs.columns.len()).collect();
        let note = format!(
            "{} components, {:.1} % of the variance; held out {:.2} % over the alarm limits.",
            fit.components,
            100.0 * fit.report.explained,
            100.0 * fit.report.held_out,
        );
        let header = header_of(request, Kind::Pca, &inputs, &note);
        let artifact = Artifact::new(header, &Model::Pca(fit.plan(&ids)?))
            .map_err(|error| LearnError::Train(error.to_string()))?;
        let mut facts = training_facts(request, &inputs);
        facts.push(("false alarms asked for".to_owned(), format!("{:.2} %", 100.0 * request.far)));
        facts.push(("fit".to_owned(), note));
        let card = Card {
            headline: "Monitor (T2 and SPE): has the process left normal operation?".to_owned(),
            facts,
            left_out: inputs.left_out,
            ..Card::default()
        };
        Ok(Trained::new(artifact, card))
    }
}
