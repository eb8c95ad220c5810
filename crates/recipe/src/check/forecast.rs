//! Forecasts of models, as far as the recipe alone says what is wrong with them.

use trimloop_core::model::forecast::HORIZON_MAX;

use super::Checker;
use super::values::{Meaning, TagUnit};
use crate::codes;
use crate::quantity::Ratio;
use crate::raw::RawForecast;
use crate::recipe::ForecastUse;
use crate::spanned::{At, Literal};

impl Checker<'_> {
    /// - `predicts`: place of the label whose unit the limits have.
    pub(super) fn forecast(
        &mut self,
        forecast: &At<RawForecast>,
        predicts: Option<usize>,
        user: &str,
    ) -> Option<ForecastUse> {
        let raw = forecast.get();
        let what = format!("`ahead` of the forecast of {user}");
        let ahead = self.values.count(&raw.ahead, 1, u32::from(HORIZON_MAX), &what);
        let unit = predicts.and_then(|place| self.label_units.get(place)).cloned();
        let given = [&raw.low, &raw.high].into_iter().flatten().next();
        if let (None, Some(limit)) = (&unit, given) {
            let message = format!("the forecast of {user} has a limit, but no label");
            self.report(&codes::FORECAST, limit.span(), message, |found| {
                found.help("name the label that it predicts (`predicts`), which gives the unit")
            });
            return None;
        }
        let unit = unit.unwrap_or(TagUnit::Broken);
        let mut limit = |key: &str, literal: &Option<At<Literal>>| {
            let what = format!("`{key}` of the forecast of {user}");
            // The outer `None` is a mistake that was told.
            let Some(literal) = literal else { return Some(None) };
            self.values.quantity(literal, &unit, Meaning::Point, &what).map(Some)
        };
        let (low, high) = (limit("low", &raw.low), limit("high", &raw.high));
        let (low, high) = low.zip(high)?;
        if let Some((low, high)) = low.zip(high)
            && low >= high
        {
            let message = format!("the tolerance in the forecast of {user} is empty");
            self.report(&codes::RANGE_REVERSED, forecast.span(), message, |found| {
                found.label("`low` must be below `high`")
            });
            return None;
        }
        Some(ForecastUse {
            ahead: u16::try_from(ahead?).ok()?,
            low: low.map(Ratio::to_f64),
            high: high.map(Ratio::to_f64),
            span: forecast.span(),
        })
    }
}
