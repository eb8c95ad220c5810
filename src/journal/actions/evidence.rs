//! Rows that explain a decision, and forecasts.

use trimloop_core::guard::Reason;
use trimloop_core::model::forecast::{Forecast, Trend};
use trimloop_core::plan::{FeatureId, ModelId, SignatureId};
use trimloop_core::record::{Answer, CheckRow, ForecastRow, InputRow, Measure, WishRow};
use trimloop_core::tag::TagId;
use trimloop_core::time::Span;

use super::super::codec::{Get, Malformed, index_of, put_f64, put_u8, put_varint, put_zigzag};
use super::{QUALITIES, get_option, put_option, put_u16};

pub(super) const ANSWERS: [Answer; 3] = [Answer::Passed, Answer::Failed, Answer::NotAsked];
pub(super) const MEASURES: [Measure; 8] = [
    Measure::State,
    Measure::Seconds,
    Measure::Setpoint,
    Measure::Tag,
    Measure::Share,
    Measure::Parts,
    Measure::Writes,
    Measure::Row,
];

pub(super) fn put_check(out: &mut Vec<u8>, row: &CheckRow) {
    put_varint(out, row.decision);
    put_u8(out, index_of(&Reason::ALL, row.check));
    put_u8(out, index_of(&ANSWERS, row.answer));
    put_u8(out, index_of(&MEASURES, row.measure));
    put_option(out, row.measured, put_f64);
    put_option(out, row.limit, put_f64);
    put_option(out, row.margin, put_f64);
    put_option(out, row.subject, put_u16);
}

pub(super) fn get_check(get: &mut Get<'_>) -> Result<CheckRow, Malformed> {
    Ok(CheckRow {
        decision: get.varint()?,
        check: get.one_of(&Reason::ALL)?,
        answer: get.one_of(&ANSWERS)?,
        measure: get.one_of(&MEASURES)?,
        measured: get_option(get, Get::f64)?,
        limit: get_option(get, Get::f64)?,
        margin: get_option(get, Get::f64)?,
        subject: get_option(get, Get::u16)?,
    })
}

pub(super) fn put_input(out: &mut Vec<u8>, row: &InputRow) {
    put_varint(out, row.decision);
    put_u16(out, row.tag.0);
    put_option(out, row.feature, |out, feature| put_u16(out, feature.0));
    put_option(out, row.value, put_f64);
    put_f64(out, row.coverage);
    put_u8(out, index_of(&QUALITIES, row.quality));
    put_option(out, row.age, |out, age| put_zigzag(out, age.as_nanos()));
}

pub(super) fn get_input(get: &mut Get<'_>) -> Result<InputRow, Malformed> {
    Ok(InputRow {
        decision: get.varint()?,
        tag: TagId(get.u16()?),
        feature: get_option(get, |get| Ok(FeatureId(get.u16()?)))?,
        value: get_option(get, Get::f64)?,
        coverage: get.f64()?,
        quality: get.one_of(&QUALITIES)?,
        age: get_option(get, |get| Ok(Span::from_nanos(get.zigzag()?)))?,
    })
}

pub(super) fn put_wish(out: &mut Vec<u8>, row: &WishRow) {
    put_varint(out, row.decision);
    put_option(out, row.target, put_f64);
    put_option(out, row.bias, put_f64);
    put_option(out, row.fed, put_f64);
    put_option(out, row.gain, put_f64);
    put_varint(out, u64::from(row.labels));
    put_option(out, row.signature, |out, signature| put_u16(out, signature.0));
}

pub(super) fn get_wish(get: &mut Get<'_>) -> Result<WishRow, Malformed> {
    Ok(WishRow {
        decision: get.varint()?,
        target: get_option(get, Get::f64)?,
        bias: get_option(get, Get::f64)?,
        fed: get_option(get, Get::f64)?,
        gain: get_option(get, Get::f64)?,
        labels: get.u32()?,
        signature: get_option(get, |get| Ok(SignatureId(get.u16()?)))?,
    })
}

pub(super) fn put_forecast(out: &mut Vec<u8>, row: &ForecastRow) {
    let Forecast { value, low, high, trend, to_limit, to_limit_range } = row.forecast;
    put_zigzag(out, row.part);
    put_u16(out, row.model.0);
    for x in [value, low, high] {
        put_f64(out, x);
    }
    put_u8(out, index_of(&Trend::ALL, trend));
    put_option(out, to_limit, put_f64);
    put_option(out, to_limit_range, |out, (early, late)| {
        put_f64(out, early);
        put_f64(out, late);
    });
}

pub(super) fn get_forecast(get: &mut Get<'_>) -> Result<ForecastRow, Malformed> {
    let (part, model) = (get.zigzag()?, ModelId(get.u16()?));
    let forecast = Forecast {
        value: get.f64()?,
        low: get.f64()?,
        high: get.f64()?,
        trend: get.one_of(&Trend::ALL)?,
        to_limit: get_option(get, Get::f64)?,
        to_limit_range: get_option(get, |get| Ok((get.f64()?, get.f64()?)))?,
    };
    Ok(ForecastRow { part, model, forecast })
}
