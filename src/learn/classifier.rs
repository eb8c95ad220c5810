//! Classifiers: which class is a row of, and which cause does a run speak for?

mod columns;
#[cfg(feature = "train")]
mod fit;
#[cfg(feature = "train")]
mod formula;
#[cfg(feature = "train")]
mod logistic;
#[cfg(feature = "train")]
mod tables;

use trimloop_core::feature::FeatureValue;
use trimloop_core::model::Score;
use trimloop_core::model::forest::Forest;
use trimloop_core::model::logistic::Logistic;
use trimloop_core::plan::{ForestPlan, LogisticPlan, Model, Step};
use trimloop_recipe::artifact::Artifact;

use super::LearnError;
use super::kinds::{Domain, Input, Scorer, TOP, number_inputs, top_columns};
use super::plan::{features_of, plan_of};
use crate::export::{Cell, Column, Kind};

#[cfg(feature = "train")]
pub(super) use fit::train;

/// What tells the classes apart.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each run")]
enum Judge {
    Forest(ForestPlan, Forest),
    Logistic(LogisticPlan, Logistic),
}

impl Judge {
    fn of(artifact: &Artifact) -> Result<Option<Self>, LearnError> {
        let model = plan_of(artifact)?.models.into_iter().next().map(|model| model.model);
        Ok(match model {
            Some(Model::Forest(plan)) => {
                let forest = Forest::new(&plan);
                Some(Self::Forest(plan, forest))
            }
            Some(Model::Logistic(plan)) => {
                let logistic = Logistic::new(&plan);
                Some(Self::Logistic(plan, logistic))
            }
            _ => None,
        })
    }

    fn classes(&self) -> &[String] {
        match self {
            Self::Forest(plan, _) => &plan.classes,
            Self::Logistic(plan, _) => &plan.classes,
        }
    }

    fn steps(&self) -> &[Step] {
        match self {
            Self::Forest(plan, _) => &plan.steps,
            Self::Logistic(plan, _) => &plan.steps,
        }
    }

    /// Whether evidence adds up over rows.
    fn remembers(&self) -> bool {
        matches!(self, Self::Forest(plan, _) if plan.remember.is_some())
    }

    fn score(&mut self, features: &[FeatureValue]) -> Score {
        match self {
            Self::Forest(plan, forest) => forest.score(plan, features, None),
            Self::Logistic(plan, logistic) => logistic.score(plan, features, None),
        }
    }

    fn best(&self) -> usize {
        match self {
            Self::Forest(_, forest) => forest.best(),
            Self::Logistic(_, logistic) => logistic.best(),
        }
    }

    /// Best class of a row whose gaps are filled; memory and evidence stay as they are.
    fn guess(&self, features: &[FeatureValue]) -> Option<usize> {
        match self {
            Self::Forest(plan, forest) => {
                let mut apart = forest.clone();
                apart.score(plan, features, None).known.then(|| apart.best())
            }
            Self::Logistic(plan, logistic) => {
                let mut apart = logistic.clone();
                apart.score(plan, features, None).known.then(|| apart.best())
            }
        }
    }

    /// `[p]` what stands in for a missing input: its mean in training; of models that do not know
    /// it the middle of its span, or 0.
    fn usual(&self) -> Vec<f64> {
        match self {
            Self::Logistic(plan, _) => plan.mean.iter().take(plan.inputs.len()).copied().collect(),
            Self::Forest(plan, _) => {
                let middle =
                    |place: usize| plan.span.get(place).map(|(a, b)| f64::midpoint(*a, *b));
                let centre = plan.linear.as_ref().map(|linear| linear.centre.as_slice());
                let mean = plan.reach.as_ref().map(|reach| reach.mean.as_slice());
                let of = |place: usize| {
                    let known = mean.and_then(|mean| mean.get(place)).copied();
                    let known = known.or_else(|| middle(place));
                    known.or_else(|| centre?.get(place).copied()).unwrap_or(0.0)
                };
                (0..plan.inputs.len()).map(of).collect()
            }
        }
    }

    fn cause(&self) -> usize {
        match self {
            Self::Forest(plan, forest) => forest.cause(plan),
            Self::Logistic(_, logistic) => logistic.best(),
        }
    }

    fn probabilities(&self) -> &[f64] {
        match self {
            Self::Forest(_, forest) => forest.probabilities(),
            Self::Logistic(_, logistic) => logistic.probabilities(),
        }
    }

    /// Contributions to the best class, one per column.
    fn contributions(&self, shares: &mut [f64]) {
        match self {
            Self::Forest(plan, forest) => {
                forest.contributions(plan, forest.best(), shares);
            }
            Self::Logistic(plan, logistic) => {
                logistic.contributions(plan, logistic.best(), shares);
            }
        }
    }

    fn reset(&mut self) {
        if let Self::Forest(_, forest) = self {
            forest.reset();
        }
    }
}

/// Scores with a classifier.
#[derive(Debug)]
pub struct ClassScorer {
    judge: Judge,
    inputs: Vec<Input>,
    /// Names of the columns, derived ones behind the inputs.
    columns: Vec<String>,
    features: Vec<FeatureValue>,
    shares: Vec<f64>,
    /// Whether every class is a whole number, and written as one.
    whole: bool,
    /// `[p]` stand-ins for missing inputs.
    usual: Vec<f64>,
    /// The last class that was told.
    class: usize,
    /// The last cause; of a run that has not begun none.
    cause: Option<usize>,
}

impl ClassScorer {
    pub(super) fn new(artifact: &Artifact) -> Result<Self, LearnError> {
        let wrong = || LearnError::Train("the model is no classifier".to_owned());
        let judge = Judge::of(artifact)?.ok_or_else(wrong)?;
        let mut inputs = number_inputs(artifact);
        let about = artifact.about_classifier().ok_or_else(wrong)?;
        for words in &about.words {
            for input in inputs.iter_mut().filter(|input| input.name == words.feature) {
                input.levels.clone_from(&words.codes);
            }
        }
        let names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
        Ok(Self {
            columns: columns::names(&names, judge.steps()),
            features: vec![FeatureValue::UNKNOWN; inputs.len()],
            shares: vec![0.0; inputs.len() + judge.steps().len()],
            whole: judge
                .classes()
                .iter()
                .all(|class| class.parse::<i64>().is_ok_and(|number| number.to_string() == *class)),
            usual: judge.usual(),
            judge,
            inputs,
            class: 0,
            cause: None,
        })
    }

    fn class<'c>(&self, place: usize) -> Cell<'c> {
        let Some(name) = self.judge.classes().get(place) else { return Cell::Null };
        match name.parse::<i64>() {
            Ok(number) if self.whole => Cell::Int(number),
            _ => Cell::Text(name.clone().into()),
        }
    }

    fn push_top(&mut self, cells: &mut Vec<Cell<'_>>) {
        self.judge.contributions(&mut self.shares);
        let mut order: Vec<(usize, f64)> = self.shares.iter().copied().enumerate().collect();
        order.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
        for (place, share) in order.into_iter().take(TOP) {
            let name = self.columns.get(place).cloned().unwrap_or_default();
            cells.push(Cell::Text(name.into()));
            cells.push(Cell::Float(share));
        }
    }
}

impl Scorer for ClassScorer {
    fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    fn columns(&self) -> Vec<Column> {
        let class = if self.whole { Kind::Int } else { Kind::Text };
        let mut columns = vec![Column::new("class", class)];
        if self.judge.remembers() {
            columns.push(Column::new("cause", class));
        }
        let named = |class: &String| Column::new(&format!("p_{class}"), Kind::Number);
        columns.extend(self.judge.classes().iter().map(named));
        columns.push(Column::new("domain", Kind::Text));
        columns.extend(top_columns(self.columns.len()));
        columns
    }

    fn row(&mut self, inputs: &[f64], cells: &mut Vec<Cell<'_>>) -> Domain {
        features_of(inputs, &mut self.features);
        let score = self.judge.score(&self.features);
        if score.known {
            self.cause = Some(self.judge.cause());
            self.class = self.judge.best();
        } else {
            // A row gets a class in any case; `missing` says what it is worth.
            for (feature, usual) in self.features.iter_mut().zip(&self.usual) {
                if feature.value.is_none() {
                    *feature = FeatureValue { value: Some(*usual), coverage: 1.0 };
                }
            }
            self.class = self.judge.guess(&self.features).unwrap_or(self.class);
        }
        cells.push(self.class(self.class));
        if self.judge.remembers() {
            // Evidence does not go away because a sensor does.
            cells.push(self.class(self.cause.unwrap_or(self.class)));
        }
        if !score.known {
            cells.extend(self.judge.classes().iter().map(|_| Cell::Null));
            cells.push(Domain::Missing.cell());
            cells.extend(top_columns(self.columns.len()).iter().map(|_| Cell::Null));
            return Domain::Missing;
        }
        cells.extend(self.judge.probabilities().iter().map(|p| Cell::Float(*p)));
        let domain = Domain::of(&score);
        cells.push(domain.cell());
        self.push_top(cells);
        domain
    }

    fn restart(&mut self) {
        self.judge.reset();
        (self.class, self.cause) = (0, None);
    }
}
