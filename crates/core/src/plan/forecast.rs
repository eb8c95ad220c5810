//! Which scores and predictions a cell forecasts.

use super::{Model, ModelId, Plan, PlanError};
use crate::model::forecast::ForecastPlan;

/// A model whose course is carried on with every part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastOf {
    /// The model: a monitor or a soft sensor, no challenger.
    pub model: ModelId,
    /// How; of a monitor the upper limit is 1, that of its score, and the floor 0.
    pub how: ForecastPlan,
}

impl Plan {
    pub(super) fn check_forecasts(&self) -> Result<(), PlanError> {
        let need =
            |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(PlanError(why)) };
        for (place, forecast) in self.forecasts.iter().enumerate() {
            let model = self.models.get(forecast.model.index()).map(|model| &model.model);
            let model = model.ok_or(PlanError("a forecast has no model"))?;
            let course = match model {
                Model::Pca(_) | Model::Monitor(_) | Model::Combined(_) | Model::Linear(_) => true,
                Model::Forest(forest) => forest.is_sensor(),
                Model::Chart(_) | Model::Logistic(_) => false,
            };
            need(course, "a forecast of classes or of a chart")?;
            let twice =
                self.forecasts.iter().take(place).any(|other| other.model == forecast.model);
            need(!twice, "a model is forecast twice")?;
            need(self.champion_of(forecast.model).is_none(), "a challenger is forecast")?;
            need(forecast.how.fits(), "a forecast's horizon, level or limits")?;
        }
        Ok(())
    }
}
