//! What runs beside the models that drive: the watch over their drift, and their challengers.

use trimloop_core::model::forecast::ForecastPlan;
use trimloop_core::plan::{
    ChallengerPlan, CharacteristicId, DriftPlan, FeatureId, ForecastOf, ForestPlan, LogisticPlan,
    Model, ModelId, ModelPlan,
};

use super::{Binder, ModelFile, Models};
use crate::artifact::Artifact;
use crate::codes;
use crate::recipe::ArtifactUse;

/// Share of values inside the interval of a forecast: that of soft sensors, and of `model score`.
const FORECAST_LEVEL: f64 = 0.9;

impl Binder<'_> {
    /// Watches the model that is bound next, where its artifact says what training looked like, or
    /// the recipe asks for it. An artifact of before drift was watched leaves a plan what it was.
    pub(super) fn watch(&mut self, artifact: &ArtifactUse, read: &Artifact, model: &Model) {
        let reference = read.reference();
        if reference.is_none() && artifact.on_drift.is_none() {
            return;
        }
        let (mut inputs, score) = reference.map_or((Vec::new(), None), |r| (r.inputs, r.score));
        let ids = inputs_of(model);
        for input in &mut inputs {
            // In the artifact inputs are known by their places.
            input.feature = ids.get(input.feature.index()).copied().unwrap_or(input.feature);
        }
        let predicts = artifact.predicts;
        let (truth, classes) = match model {
            Model::Linear(_) => (predicts, Vec::new()),
            // Trees that predict a number.
            Model::Forest(forest) if forest.classes.is_empty() => (predicts, Vec::new()),
            Model::Forest(ForestPlan { classes, .. })
            | Model::Logistic(LogisticPlan { classes, .. }) => match predicts {
                Some(label) => self.measured(artifact, label, classes),
                None => (None, Vec::new()),
            },
            Model::Chart(_) | Model::Pca(_) | Model::Monitor(_) | Model::Combined(_) => {
                (None, Vec::new())
            }
        };
        self.plan.drifts.push(DriftPlan {
            model: next(&self.plan.models),
            inputs,
            score,
            truth,
            classes,
            demotes: artifact.on_drift.unwrap_or(false),
        });
    }

    /// Forecasts the model that is bound next, where the recipe asks for it.
    pub(super) fn forecast(&mut self, artifact: &ArtifactUse, model: &Model) {
        let Some(of) = &artifact.forecast else { return };
        let name = artifact.name.get();
        let limited = of.low.or(of.high).is_some();
        let (limits, floor) = match sort(model) {
            "a monitor" if !limited => ((None, Some(1.0)), Some(0.0)),
            "a soft sensor" => ((of.low, of.high), None),
            is => {
                let message = format!("model \"{name}\" cannot be forecast so");
                let found = self.error(&codes::FORECAST, of.span.clone(), message);
                self.found.push(if limited && is == "a monitor" {
                    found
                        .label("it is a monitor, whose score has a limit of its own: 1")
                        .help("leave `low` and `high` out")
                } else {
                    found
                        .label(format!("it is {is}: classes have no course"))
                        .help("forecast a monitor or a soft sensor")
                });
                return;
            }
        };
        let how = ForecastPlan {
            horizon: of.ahead,
            level: FORECAST_LEVEL,
            low_limit: limits.0,
            high_limit: limits.1,
            floor,
        };
        self.plan.forecasts.push(ForecastOf { model: next(&self.plan.models), how });
    }

    /// Values that labels have for the classes of a classifier.
    fn measured(
        &mut self,
        artifact: &ArtifactUse,
        label: CharacteristicId,
        classes: &[String],
    ) -> (Option<CharacteristicId>, Vec<f64>) {
        let number = |class: &String| class.parse::<f64>().ok().filter(|x| x.is_finite());
        let values: Vec<f64> = classes.iter().filter_map(number).collect();
        if values.len() == classes.len() {
            return (Some(label), values);
        }
        let name = artifact.name.get();
        let odd = classes.iter().find(|class| number(class).is_none());
        let class = odd.map_or("", String::as_str);
        let message = format!("no label can say that a part is \"{class}\"");
        let predicts = self.recipe.raw.model.get(&artifact.name);
        let span = predicts.and_then(|(_, model)| model.predicts.as_ref());
        let span = span.map_or_else(|| artifact.name.span(), crate::spanned::At::span);
        let found = self
            .error(&codes::CLASS_UNMEASURED, span, message)
            .label(format!("a class of model \"{name}\""))
            .help("train it on classes that are numbers, or leave `predicts` out");
        self.found.push(found);
        (None, Vec::new())
    }

    /// Challengers come behind all models that anything may name, so that nothing can name them.
    pub(super) fn challengers(&mut self, models: &Models) {
        let recipe = self.recipe;
        let charts = recipe.plan.models.len();
        for (place, artifact) in recipe.artifacts.iter().enumerate() {
            let Some(file) = &artifact.challenger else { continue };
            // No name of a recipe holds a slash.
            let name = format!("{}/{}", artifact.name.get(), file.get());
            let pin = artifact.challenger_sha256.as_ref();
            let Some((read, mut model)) =
                self.read_model(ModelFile { name: &name, file, pin }, models)
            else {
                continue;
            };
            self.hashes.push(read.hash());
            self.used_features.extend(inputs_of(&model));
            let of = ModelId(u16::try_from(charts + place).unwrap_or(u16::MAX));
            let champion = self.plan.models.get(of.index()).map(|champion| &champion.model);
            if champion.is_some_and(|champion| sort(champion) != sort(&model)) {
                let message =
                    format!("the challenger of \"{}\" is of another kind", artifact.name.get());
                let is = format!("{}, the champion is {}", sort(&model), champion.map_or("", sort));
                let found = self.error(&codes::CHALLENGER, file.span(), message).label(is);
                self.found.push(found);
                continue;
            }
            match &mut model {
                Model::Linear(linear) => linear.domain = artifact.domain,
                Model::Forest(forest) => forest.domain = artifact.domain,
                Model::Logistic(logistic) => logistic.domain = artifact.domain,
                Model::Chart(_) | Model::Pca(_) | Model::Monitor(_) | Model::Combined(_) => {}
            }
            self.plan.challengers.push(ChallengerPlan { model: next(&self.plan.models), of });
            self.plan.models.push(ModelPlan { name, hash: read.hash(), model });
        }
    }
}

fn next(models: &[ModelPlan]) -> ModelId {
    ModelId(u16::try_from(models.len()).unwrap_or(u16::MAX))
}

/// What can be compared with what.
const fn sort(model: &Model) -> &'static str {
    match model {
        Model::Chart(_) => "a chart",
        Model::Pca(_) | Model::Monitor(_) | Model::Combined(_) => "a monitor",
        Model::Linear(_) => "a soft sensor",
        Model::Forest(forest) if forest.classes.is_empty() => "a soft sensor",
        Model::Forest(_) | Model::Logistic(_) => "a classifier",
    }
}

fn inputs_of(model: &Model) -> Vec<FeatureId> {
    match model {
        Model::Chart(chart) => vec![chart.input],
        Model::Pca(pca) => pca.inputs.clone(),
        Model::Monitor(monitor) => monitor.inputs.clone(),
        Model::Linear(linear) => linear.inputs.clone(),
        Model::Forest(forest) => forest.inputs.clone(),
        Model::Logistic(logistic) => logistic.inputs.clone(),
        Model::Combined(combined) => {
            combined.members.first().map_or_else(Vec::new, |first| first.inputs.clone())
        }
    }
}
