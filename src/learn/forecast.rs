//! Forecasts beside the scores of a model.

use trimloop_core::model::forecast::{Forecast, ForecastPlan, Forecaster, HORIZON_MAX};

use super::LearnError;
use super::kinds::{Domain, Input, Scorer};
use crate::export::{Cell, Column, Kind};

/// Share of values inside the interval, that of soft sensors.
const LEVEL: f64 = 0.9;

/// What is asked of a forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ForecastOptions {
    /// Rows ahead.
    pub rows: u16,
    /// Lower end of the tolerance of a predicted quality.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// A scorer that adds `forecast, forecast_low, forecast_high, time_to_limit, trend`.
///
/// For a soft sensor the interval is that of the quality itself: of the prediction to come and of
/// what the prediction misses, as independent of each other.
pub struct Forecasting {
    scorer: Box<dyn Scorer>,
    forecaster: Forecaster,
    /// Place of the forecast column among the scorer's, and of the upper end of its interval.
    value: usize,
    high: Option<usize>,
}

impl Forecasting {
    /// # Errors
    /// A model without a score or a prediction, a horizon or limits that make no sense.
    pub fn new(scorer: Box<dyn Scorer>, options: ForecastOptions) -> Result<Self, LearnError> {
        let wrong = |why: String| Err(LearnError::Option(why));
        if !(1..=HORIZON_MAX).contains(&options.rows) {
            return wrong(format!("--forecast {} must be 1 to {HORIZON_MAX} rows", options.rows));
        }
        let columns = scorer.columns();
        let place = |name: &str| columns.iter().position(|column| column.name == name);
        let (value, high, limits, floor) = match (place("score"), place("prediction")) {
            (Some(score), _) => {
                if options.low.or(options.high).is_some() {
                    let why = "the limit of a monitor's score is its threshold; --limit-low and \
                               --limit-high are for soft sensors";
                    return wrong(why.to_owned());
                }
                (score, None, (None, Some(1.0)), Some(0.0))
            }
            (None, Some(prediction)) => {
                (prediction, place("high"), (options.low, options.high), None)
            }
            (None, None) => {
                let why = "--forecast takes a monitor or a soft sensor: classes have no course";
                return wrong(why.to_owned());
            }
        };
        if let (Some(low), Some(high)) = limits
            && low >= high
        {
            return wrong(format!("--limit-low {low} must be below --limit-high {high}"));
        }
        let plan = ForecastPlan {
            horizon: options.rows,
            level: LEVEL,
            low_limit: limits.0,
            high_limit: limits.1,
            floor,
        };
        Ok(Self { scorer, forecaster: Forecaster::new(&plan), value, high })
    }
}

impl Scorer for Forecasting {
    fn inputs(&self) -> &[Input] {
        self.scorer.inputs()
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = self.scorer.columns();
        let numbers = ["forecast", "forecast_low", "forecast_high", "time_to_limit"];
        columns.extend(numbers.map(|name| Column::new(name, Kind::Number)));
        columns.push(Column::new("trend", Kind::Text));
        columns
    }

    fn row(&mut self, inputs: &[f64], cells: &mut Vec<Cell<'_>>) -> Domain {
        let begin = cells.len();
        let domain = self.scorer.row(inputs, cells);
        let number = |place: usize| match cells.get(begin + place) {
            Some(Cell::Float(x)) => Some(*x),
            _ => None,
        };
        let value = number(self.value);
        let half = self.high.and_then(number).zip(value).map_or(0.0, |(high, value)| high - value);
        match self.forecaster.observe(value) {
            Some(forecast) => push(&forecast.widened(half), cells),
            None => cells.extend([const { Cell::Null }; 5]),
        }
        domain
    }

    fn restart(&mut self) {
        self.scorer.restart();
        self.forecaster.reset();
    }
}

fn push(forecast: &Forecast, cells: &mut Vec<Cell<'_>>) {
    let Forecast { value, low, high, trend, to_limit, .. } = *forecast;
    cells.extend([
        Cell::Float(value),
        Cell::Float(low),
        Cell::Float(high),
        to_limit.map_or(Cell::Null, Cell::Float),
        Cell::Text(trend.word().into()),
    ]);
}
