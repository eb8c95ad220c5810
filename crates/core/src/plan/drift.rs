//! How models are watched for drift, and which run beside another one.

use alloc::vec::Vec;

use super::{
    CharacteristicId, Controller, FeatureId, LoopPlan, Model, ModelId, Plan, PlanError, Source,
};

/// Bins over which the spread of an input is compared.
pub const BINS: usize = 10;

/// How one model is watched for drift.
#[derive(Clone, Debug, PartialEq)]
pub struct DriftPlan {
    /// The model; never a chart.
    pub model: ModelId,
    /// Inputs whose spread in training is known; the others are not looked at.
    pub inputs: Vec<InputReference>,
    /// A monitor's score in training. `None`: how often the model is out of its domain is looked
    /// at instead.
    pub score: Option<ScoreReference>,
    /// What says later whether the model was right; `None` = nothing does.
    pub truth: Option<CharacteristicId>,
    /// `[classes]` value that a label has for each class of a classifier; empty for a sensor.
    pub classes: Vec<f64>,
    /// Whether loops that rest on the model go to SHADOW when it drifts.
    pub demotes: bool,
}

/// What one input looked like in training.
#[derive(Clone, Debug, PartialEq)]
pub struct InputReference {
    /// The input.
    pub feature: FeatureId,
    /// Ends of the bins, rising or equal [unit of the feature]; a value at an end is above it.
    pub ends: [f64; BINS - 1],
    /// Share of the training rows in each bin, 0 to 1, sum 1.
    pub shares: [f64; BINS],
    /// Independent rows that the training rows were worth, >= 1.
    pub rows: f64,
    /// Memory from row to row: the lag-1 correlation of a first-order process whose rows are worth
    /// as much, 0 <= x < 1.
    pub memory: f64,
}

/// What the score of a monitor looked like in training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreReference {
    /// Mean, as a share of the alarm limit.
    pub mean: f64,
    /// Standard deviation, > 0.
    pub deviation: f64,
    /// Memory from row to row, as of an input.
    pub memory: f64,
}

/// A model that is scored beside another one and drives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChallengerPlan {
    /// The challenger. No clause, loop, domain or drift watch may name it.
    pub model: ModelId,
    /// The champion.
    pub of: ModelId,
}

impl Source {
    /// The model that is looked at; `None` for a feature.
    pub const fn model(self) -> Option<ModelId> {
        match self {
            Self::Feature(_) => None,
            Self::Chart(model)
            | Self::T2(model)
            | Self::Spe(model)
            | Self::Prediction(model)
            | Self::Probability(model, _) => Some(model),
        }
    }
}

impl Plan {
    /// Whether what a loop does rests on a model: it feeds it forward, a signature of its table
    /// looks at it, or its word counts only in that model's domain.
    pub fn rests_on(&self, of: &LoopPlan, model: ModelId) -> bool {
        let named = |id: ModelId| id == model || self.domain_of(id) == Some(model);
        of.domain == Some(model)
            || match &of.controller {
                Controller::RunToRun(c1) => c1.feed_forward.is_some_and(named),
                Controller::Rules(c0) => c0.rows.iter().any(|(signature, _)| {
                    let signature = self.signatures.get(signature.index());
                    signature.is_some_and(|signature| {
                        let mut sources = signature.clauses.iter().map(|clause| clause.source);
                        sources.any(|source| source.model().is_some_and(named))
                    })
                }),
            }
    }

    /// The model that a challenger runs beside; `None` for a model that is none.
    pub fn champion_of(&self, model: ModelId) -> Option<ModelId> {
        self.challengers.iter().find(|of| of.model == model).map(|of| of.of)
    }

    /// Monitor whose domain a model shares.
    fn domain_of(&self, model: ModelId) -> Option<ModelId> {
        match &self.models.get(model.index())?.model {
            Model::Linear(linear) => linear.domain,
            Model::Forest(forest) => forest.domain,
            Model::Logistic(logistic) => logistic.domain,
            Model::Chart(_) | Model::Pca(_) | Model::Monitor(_) | Model::Combined(_) => None,
        }
    }

    pub(super) fn check_drifts(&self) -> Result<(), PlanError> {
        let need =
            |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(PlanError(why)) };
        for (place, drift) in self.drifts.iter().enumerate() {
            let model = self.models.get(drift.model.index()).map(|model| &model.model);
            let model = model.ok_or(PlanError("a drift watch has no model"))?;
            need(!matches!(model, Model::Chart(_)), "a drift watch over a chart")?;
            let twice = self.drifts.iter().take(place).any(|other| other.model == drift.model);
            need(!twice, "a model is watched twice")?;
            let classes = match model {
                Model::Forest(forest) if drift.truth.is_some() => forest.classes.len(),
                Model::Logistic(logistic) if drift.truth.is_some() => logistic.classes.len(),
                _ => 0,
            };
            need(drift.classes.len() == classes, "a drift watch's classes")?;
            let truth = drift.truth.is_none_or(|c| c.index() < self.characteristics.len());
            need(truth, "a drift watch's label does not exist")?;
            let input = |input: &InputReference| {
                input.feature.index() < self.features.len()
                    && input.rows >= 1.0
                    && (0.0..1.0).contains(&input.memory)
            };
            need(drift.inputs.iter().all(input), "a drift watch's input")?;
            let score = drift.score.is_none_or(|score| {
                score.mean.is_finite()
                    && score.deviation > 0.0
                    && (0.0..1.0).contains(&score.memory)
            });
            need(score, "a drift watch's score")?;
        }
        Ok(())
    }

    /// Nothing that decides may look at a challenger.
    pub(super) fn check_challengers(&self) -> Result<(), PlanError> {
        let need =
            |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(PlanError(why)) };
        let challenges = |model: ModelId| self.champion_of(model).is_some();
        for challenger in &self.challengers {
            let known = [challenger.model, challenger.of];
            let known = known.iter().all(|id| id.index() < self.models.len());
            need(known, "a challenger or its champion does not exist")?;
            need(!challenges(challenger.of), "a challenger challenges another")?;
        }
        let clauses = self.signatures.iter().flat_map(|signature| &signature.clauses);
        let mut looked = clauses.filter_map(|clause| clause.source.model());
        need(!looked.any(challenges), "a clause looks at a challenger")?;
        let loops = self.loops.iter().flat_map(|of| {
            let fed = match &of.controller {
                Controller::RunToRun(c1) => c1.feed_forward,
                Controller::Rules(_) => None,
            };
            [of.domain, fed]
        });
        need(!loops.flatten().any(challenges), "a loop rests on a challenger")?;
        let ids = (0..=u16::MAX).map(ModelId).take(self.models.len());
        let mut domains = ids.filter_map(|id| self.domain_of(id));
        need(!domains.any(challenges), "a model shares the domain of a challenger")?;
        let watched = self.drifts.iter().any(|drift| challenges(drift.model));
        need(!watched, "a challenger is watched for drift")
    }
}
