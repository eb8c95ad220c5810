//! Forecasts of scores and predictions, part by part: where a quality will be, and when it passes its
//! limit.
//!
//! - A model is forecast where the recipe asks for it, from what it says of every part, in or out of
//!   its domain; a part without a score moves the time on.
//! - The time to a limit is told once when it is within the horizon, and once when it no longer is.
//! - **Invariant:** nothing that decides looks at a forecast.
//! - Nothing is allocated after [`Forecasts::new`].

use alloc::vec::Vec;

use super::Cell;
use crate::event::What;
use crate::model::Models;
use crate::model::forecast::{Forecast, Forecaster};
use crate::plan::{ModelId, Plan};
use crate::record::{ForecastRow, Record};

/// Shares of the horizon for which a limit must not be near before that is told: a trend that is
/// only just one comes and goes.
const FAR_SHARE: u32 = 2;
/// Least of them [parts].
const FAR_MIN: u32 = 5;

/// State of all forecasts of a plan.
#[derive(Clone, Debug)]
pub struct Forecasts {
    of: Vec<Course>,
}

#[derive(Clone, Debug)]
struct Course {
    model: ModelId,
    horizon: u16,
    forecaster: Forecaster,
    newest: Option<Forecast>,
    /// Parts in a row for which the limit was not near.
    far: u32,
    near: bool,
    /// Whether the near limit was told.
    told: bool,
}

impl Forecasts {
    /// Allocates everything.
    pub(super) fn new(plan: &Plan) -> Self {
        let course = |of: &crate::plan::ForecastOf| Course {
            model: of.model,
            horizon: of.how.horizon,
            forecaster: Forecaster::new(&of.how),
            newest: None,
            far: 0,
            near: false,
            told: false,
        };
        Self { of: plan.forecasts.iter().map(course).collect() }
    }

    /// Takes in what the models said of the newest part.
    fn observe(&mut self, models: &Models) {
        for course in &mut self.of {
            let score = models.get(course.model).filter(|score| score.known);
            let half = score.map(|score| score.high - score.value).filter(|half| *half > 0.0);
            let forecast = course.forecaster.observe(score.map(|score| score.value));
            course.newest = forecast.map(|forecast| forecast.widened(half.unwrap_or(0.0)));
            let time = course.newest.and_then(|forecast| forecast.to_limit);
            if time.is_some_and(|time| time <= f64::from(course.horizon)) {
                (course.near, course.far) = (true, 0);
            } else {
                course.far = course.far.saturating_add(1);
                let enough = (u32::from(course.horizon) / FAR_SHARE).max(FAR_MIN);
                course.near &= course.far < enough;
            }
        }
    }

    /// The newest forecast of a model; `None` where there is none, or none yet.
    pub fn of_model(&self, model: ModelId) -> Option<&Forecast> {
        self.of.iter().find(|course| course.model == model)?.newest.as_ref()
    }
}

impl Cell {
    /// Forecasts after a part, records it, and tells limits that come near.
    pub(super) fn forecast(&mut self, part: i64) {
        self.forecasts.observe(&self.models);
        for course in &mut self.forecasts.of {
            let model = course.model;
            if let Some(forecast) = course.newest {
                self.out.record(Record::Forecast(ForecastRow { part, model, forecast }));
            }
            if course.near == course.told {
                continue;
            }
            let time = course.newest.and_then(|forecast| forecast.to_limit);
            let what = match (course.near, time) {
                (true, Some(time)) => What::LimitNear(model, time),
                // Room was short when it came near: with the next part that says when.
                (true, None) => continue,
                (false, _) => What::LimitFar(model),
            };
            if self.out.event(what) {
                course.told = course.near;
            }
        }
    }
}
