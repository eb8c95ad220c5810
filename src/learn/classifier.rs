//! Classifiers: which class is a row of, and which cause does a run speak for?

mod columns;
#[cfg(feature = "train")]
mod fit;
#[cfg(feature = "train")]
mod formula;

use trimloop_core::feature::FeatureValue;
use trimloop_core::model::forest::Forest;
use trimloop_core::plan::{ForestPlan, Model};
use trimloop_recipe::artifact::Artifact;

use super::LearnError;
use super::kinds::{Domain, Input, Scorer, TOP, number_inputs, top_columns};
use super::plan::{features_of, plan_of};
use crate::export::{Cell, Column, Kind};

#[cfg(feature = "train")]
pub(super) use fit::train;

/// Scores with a forest.
#[derive(Debug)]
pub struct ForestScorer {
    plan: ForestPlan,
    forest: Forest,
    inputs: Vec<Input>,
    /// Names of the columns, derived ones behind the inputs.
    columns: Vec<String>,
    features: Vec<FeatureValue>,
    shares: Vec<f64>,
    /// Whether every class is a whole number.
    whole: bool,
    /// The last cause; of a run that has not begun none.
    cause: Option<usize>,
}

impl ForestScorer {
    pub(super) fn new(artifact: &Artifact) -> Result<Self, LearnError> {
        let wrong = || LearnError::Train("the model is no classifier".to_owned());
        let model = plan_of(artifact)?.models.into_iter().next().map(|model| model.model);
        let Some(Model::Forest(plan)) = model else { return Err(wrong()) };
        let mut inputs = number_inputs(artifact);
        let about = artifact.about_classifier().ok_or_else(wrong)?;
        for words in &about.words {
            for input in inputs.iter_mut().filter(|input| input.name == words.feature) {
                input.levels.clone_from(&words.codes);
            }
        }
        let names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
        Ok(Self {
            forest: Forest::new(&plan),
            columns: columns::names(&names, &plan.steps),
            features: vec![FeatureValue::UNKNOWN; inputs.len()],
            shares: vec![0.0; plan.columns()],
            whole: plan.classes.iter().all(|class| class.parse::<i64>().is_ok()),
            plan,
            inputs,
            cause: None,
        })
    }

    fn class<'c>(&self, place: usize) -> Cell<'c> {
        let Some(name) = self.plan.classes.get(place) else { return Cell::Null };
        match name.parse::<i64>() {
            Ok(number) if self.whole => Cell::Int(number),
            _ => Cell::Text(name.clone().into()),
        }
    }

    fn push_top(&mut self, cells: &mut Vec<Cell<'_>>) {
        let best = self.forest.best();
        self.forest.contributions(&self.plan, best, &mut self.shares);
        let mut order: Vec<(usize, f64)> = self.shares.iter().copied().enumerate().collect();
        order.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        for (place, share) in order.into_iter().take(TOP) {
            let name = self.columns.get(place).cloned().unwrap_or_default();
            cells.push(Cell::Text(name.into()));
            cells.push(Cell::Float(share));
        }
    }
}

impl Scorer for ForestScorer {
    fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    fn columns(&self) -> Vec<Column> {
        let class = if self.whole { Kind::Int } else { Kind::Text };
        let mut columns = vec![Column::new("class", class)];
        if self.plan.remember.is_some() {
            columns.push(Column::new("cause", class));
        }
        let named = |class: &String| Column::new(&format!("p_{class}"), Kind::Number);
        columns.extend(self.plan.classes.iter().map(named));
        columns.push(Column::new("domain", Kind::Text));
        columns.extend(top_columns(self.plan.columns()));
        columns
    }

    fn row(&mut self, inputs: &[f64], cells: &mut Vec<Cell<'_>>) -> Domain {
        features_of(inputs, &mut self.features);
        let score = self.forest.score(&self.plan, &self.features, None);
        if score.known {
            self.cause = Some(self.forest.cause(&self.plan));
            cells.push(self.class(self.forest.best()));
        } else {
            cells.push(Cell::Null);
        }
        if self.plan.remember.is_some() {
            // Evidence does not go away because a sensor does.
            cells.push(self.cause.map_or(Cell::Null, |cause| self.class(cause)));
        }
        if !score.known {
            cells.extend(self.plan.classes.iter().map(|_| Cell::Null));
            cells.push(Domain::Missing.cell());
            cells.extend(top_columns(self.plan.columns()).iter().map(|_| Cell::Null));
            return Domain::Missing;
        }
        cells.extend(self.forest.probabilities().iter().map(|p| Cell::Float(*p)));
        let domain = Domain::of(&score);
        cells.push(domain.cell());
        self.push_top(cells);
        domain
    }

    fn restart(&mut self) {
        self.forest.reset();
        self.cause = None;
    }
}
