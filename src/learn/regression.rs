//! Soft sensors: a measured number from other columns.

use trimloop_recipe::artifact::Artifact;

use super::LearnError;
use super::kinds::{Domain, Input, Scorer, top_columns};
use super::plan::CoreModel;
use crate::export::{Cell, Column, Kind};

#[cfg(feature = "train")]
pub(super) use fit::train;

/// Scores with a soft sensor, of linear terms or of trees.
#[derive(Debug)]
pub struct LinearScorer(CoreModel);

impl LinearScorer {
    pub(super) fn new(artifact: &Artifact) -> Result<Self, LearnError> {
        CoreModel::new(artifact).map(Self)
    }
}

impl Scorer for LinearScorer {
    fn inputs(&self) -> &[Input] {
        self.0.inputs()
    }

    fn columns(&self) -> Vec<Column> {
        let numbers = ["prediction", "low", "high"];
        let mut columns: Vec<Column> =
            numbers.iter().map(|name| Column::new(name, Kind::Number)).collect();
        columns.push(Column::new("domain", Kind::Text));
        columns.extend(top_columns(self.inputs().len()));
        columns
    }

    fn row(&mut self, inputs: &[f64], cells: &mut Vec<Cell<'_>>) -> Domain {
        let score = self.0.score(inputs);
        let domain = Domain::of(&score);
        // One that was never held against labels has no interval.
        let number = |x: f64| if x.is_finite() { Cell::Float(x) } else { Cell::Null };
        cells.extend([score.value, score.low, score.high].map(number));
        cells.push(domain.cell());
        self.0.push_top(cells);
        domain
    }

    fn restart(&mut self) {}
}

#[cfg(feature = "train")]
mod fit {
    use trimloop_core::plan::{FeatureId, Model};
    use trimloop_recipe::artifact::{Artifact, Kind};
    use trimloop_train::{PlsFit, PlsOptions, RidgeOptions, Table, fit_pls, fit_ridge};

    use crate::learn::card::{Card, CardTable};
    use crate::learn::kinds::{Learner, TrainRequest, Trained};
    use crate::learn::plan::{header_of, training_facts};
    use crate::learn::{LearnError, numeric_inputs};

    pub(in crate::learn) fn train(request: &TrainRequest<'_>) -> Result<Trained, LearnError> {
        let Some(label) = request.label else {
            let why = "what is to be predicted is not said: --label COLUMN";
            return Err(LearnError::Option(why.to_owned()));
        };
        let inputs = numeric_inputs(request.frame, Some(label), request.ignore)?;
        let names = inputs.columns.iter().map(|column| column.name.clone()).collect();
        let table = Table::new(names, &inputs.matrix()?)?;
        let target = request.frame.need(label)?;
        let numbers = target.numbers()?;
        let y: Vec<f64> = inputs.rows.iter().filter_map(|row| numbers.get(*row)).copied().collect();
        let level = RidgeOptions::default().level;
        let (fit, pls) = if request.learner == Some(Learner::Pls) {
            let pls = fit_pls(&table, &y, &PlsOptions { level, ..PlsOptions::default() })?;
            (pls.line.clone(), Some(pls))
        } else {
            (fit_ridge(&table, &y, &RidgeOptions::default())?, None)
        };
        let ids: Vec<FeatureId> = (0..).map(FeatureId).take(inputs.columns.len()).collect();
        let note = format!(
            "Held out: RMSE {:.4} {unit}, R2 {:.3}, RMSE of the last label {:.4} {unit}; {:.0} % \
             interval of half width {:.4} {unit}.",
            fit.rmse_held_out,
            fit.r2_held_out,
            fit.rmse_persistence,
            100.0 * level,
            fit.half_width,
            unit = target.unit,
        );
        let header = header_of(request, Kind::Linear, &inputs, &note);
        let artifact = Artifact::new(header, &Model::Linear(fit.plan(&ids, None)?))
            .map_err(|error| LearnError::Train(error.to_string()))?;
        let mut facts = training_facts(request, &inputs);
        facts.push(("predicts".to_owned(), label.to_owned()));
        facts.push(("fit".to_owned(), note));
        if let Some(pls) = &pls {
            facts.push(("components".to_owned(), pls.components.to_string()));
        }
        let mut warnings = Vec::new();
        if fit.rmse_held_out > 0.8 * fit.rmse_persistence {
            warnings.push(
                "It is hardly better than the last label: RMSE above 0.8 of that of persistence."
                    .to_owned(),
            );
        }
        let card = Card {
            headline: format!(
                "Linear soft sensor of {label}{} with a conformal interval.",
                if pls.is_some() { " by partial least squares" } else { "" }
            ),
            tables: pls.iter().map(|pls| components(pls, &target.unit)).collect(),
            facts,
            left_out: inputs.left_out,
            warnings,
            ..Card::default()
        };
        Ok(Trained::new(artifact, card))
    }

    fn components(fit: &PlsFit, unit: &str) -> CardTable {
        let rows = fit.tried.iter().enumerate();
        CardTable {
            title: "Components, held-out blocks".to_owned(),
            head: vec!["components".to_owned(), format!("RMSE {unit}").trim_end().to_owned()],
            rows: rows.map(|(at, rmse)| vec![(at + 1).to_string(), format!("{rmse:.4}")]).collect(),
        }
    }
}
