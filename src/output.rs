//! How things are said: names for index types, sentences for events, times as text, JSON shapes.
//!
//! One text for every face: store, control socket, CLI and pages all take their words from here.

pub mod dto;
mod ids;
mod instant;
mod metrics;
mod names;
mod text;
mod time;

pub use ids::{NoRecordId, RecordId, RecordKind};
pub use instant::{NoMoment, Zone, moment, parse_instant, parse_length};
pub use metrics::metrics_text;
pub use names::{EventText, Named, Names, SetpointName, event_text, forecast_text};
pub(crate) use text::html_escaped;
pub use text::status_table;
pub use time::{day_text, duration_text, utc_text};
