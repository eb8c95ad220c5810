//! The running cell as the control socket sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use trimloop_core::cell::LoopStatus as CoreLoop;
use trimloop_core::drift::Drift;
use trimloop_core::event::What;
use trimloop_core::mode::{Owner, Trip};
use trimloop_core::model::forecast::Forecast;
use trimloop_core::plan::{LoopId, ModelId};
use trimloop_core::record::{Outcome, Record};
use trimloop_core::scan::Command;
use trimloop_core::time::{Mono, Span, Utc};

use super::server::{OrderOutcome, Port};
use crate::dispatch::{OrderResult, Seen};
use crate::learn::standing::{Bar, Supports};
use crate::output::dto::{
    DriftLine, EventLine, ForecastLine, Latency, LinkStatus, LoopStatus, NoticeLine,
    ProposalStatus, SinkLine, Status, TagStatus,
};
use crate::output::{Names, RecordId, event_text, forecast_text, utc_text};
use crate::service::{CellHandle, CellStatus, LoopState, PlcStatus};
use crate::sink::{SinkState, SinkView};
use crate::store::StoreSender;
use crate::work::DeskHandle;

/// Longest silence of a watched stream, after which the client is asked whether it is there.
const BEAT: Duration = Duration::from_secs(1);

/// The port of a running cell.
pub struct CellPort {
    cell: CellHandle,
    store: StoreSender,
    names: Names,
    name: String,
    sink: Option<SinkView>,
    supports: Arc<Supports>,
    work: Option<DeskHandle>,
}

impl CellPort {
    /// Of a cell under the service's name.
    #[must_use]
    pub fn new(cell: CellHandle, store: StoreSender, name: &str) -> Self {
        let names = Names::of(cell.plan());
        let name = name.to_owned();
        Self { cell, store, names, name, sink: None, supports: Arc::default(), work: None }
    }

    /// The same with the sink of its history.
    #[must_use]
    pub fn with_sink(self, sink: Option<SinkView>) -> Self {
        Self { sink, ..self }
    }

    /// The same with the models that its loops rest on.
    #[must_use]
    pub fn with_models(self, supports: Arc<Supports>) -> Self {
        Self { supports, ..self }
    }

    /// The same with a work desk.
    #[must_use]
    pub fn with_work(self, work: Option<DeskHandle>) -> Self {
        Self { work, ..self }
    }

    fn loop_status(&self, index: usize, state: &LoopState, now: Mono) -> LoopStatus {
        let id = u16::try_from(index).map_or(LoopId(u16::MAX), LoopId);
        let setpoint = self.cell.plan().loops.get(id.index()).map(|l| l.setpoint.index());
        let named = setpoint.and_then(|place| self.names.setpoints.get(place));
        let mut out = LoopStatus {
            name: state.name.clone(),
            setpoint: state.setpoint.clone(),
            unit: named.map_or(String::new(), |s| s.unit.clone()),
            decimals: named.map_or(0, |s| s.grid.decimals()),
            mode: "shadow".to_owned(),
            asked: "shadow".to_owned(),
            owner: "unknown".to_owned(),
            trip: "clear".to_owned(),
            ..LoopStatus::default()
        };
        let Some(status) = &state.status else { return out };
        let value = |ticks| named.map(|s| s.grid.value(ticks));
        out.mode = status.in_force.word().to_owned();
        out.asked = status.asked.word().to_owned();
        out.owner = owner_word(status.owner).to_owned();
        out.rung = status.rung.word().to_owned();
        out.read_back = status.read_back.and_then(value);
        out.desired = status.desired;
        out.limited = status.limited.and_then(value);
        out.held = status.held.map(|reason| reason.word().to_owned());
        out.authority_used_percent = status.authority_used;
        out.authority_percent = status.authority_permille as f64 / 10.0;
        out.writes = status.writes;
        out.last_write =
            status.last_write.map(|n| RecordId::write(self.store.boot(), n).to_string());
        set_trip(&mut out, status);
        out.proposal = status.open_proposal.map(|proposal| ProposalStatus {
            id: proposal.id,
            from: value(proposal.from).unwrap_or_default(),
            to: value(proposal.to).unwrap_or_default(),
            from_ticks: proposal.from.count(),
            expires_ms: Some(millis(proposal.expires - now)),
        });
        out
    }

    /// Those of a sink stand here too, as `sink_influx_rows_dead`, for who reads numbers only.
    fn counters(&self, status: &CellStatus) -> BTreeMap<String, u64> {
        let store = self.store.counts();
        let intake = status.counts.intake;
        [
            ("samples", intake.samples),
            ("samples_dropped", intake.dropped),
            ("samples_stray", intake.stray),
            ("orders_refused", intake.orders_refused),
            ("orders_expired", intake.orders_expired),
            ("scans", status.counts.scan.scans),
            ("overruns", status.counts.scan.overruns),
            ("scan_longest_us", status.counts.scan.longest.as_nanos().unsigned_abs() / 1000),
            ("writes", status.counts.dispatch.writes),
            ("writes_held_back", status.counts.dispatch.writes_held_back),
            ("writes_confirmed", status.counts.dispatch.confirmed),
            ("holds", status.counts.dispatch.holds),
            ("watchers_lost", status.counts.watchers_lost),
            ("connects", status.of_links(|link| link.connects)),
            ("resubscriptions", status.of_links(|link| link.resubscriptions)),
            ("notifications", status.of_links(|link| link.notifications)),
            ("overflows", status.of_links(|link| link.overflows)),
            ("undecodable", status.of_links(|link| link.undecodable)),
            ("writes_refused", status.of_links(|link| link.writes_refused)),
            ("writes_unknown", status.of_links(|link| link.writes_unknown)),
            ("heartbeats", status.of_links(|link| link.heartbeats)),
            ("gaps_filled", status.of_links(|link| link.gaps_filled)),
            ("gaps_unfilled", status.of_links(|link| link.gaps_unfilled)),
            ("backfilled", status.of_links(|link| link.backfilled)),
            ("history_samples_dropped", store.samples_dropped),
            ("history_samples_doubled", store.samples_doubled),
            ("history_rows_unsent", store.rows_unsent),
            ("history_stopped", u64::from(store.history_stopped)),
            ("records_lost", store.rows_lost),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .chain(self.sink.iter().flat_map(|sink| sink_counters(&sink_line(sink))))
        .collect()
    }

    /// A line for people and machines; parts, features and waiting ledger rows say nothing here.
    fn line(&self, seen: Seen) -> Option<EventLine> {
        match seen {
            Seen::Event(number, event) => {
                let text = event_text(&event.what, &self.names);
                Some(EventLine {
                    id: RecordId::event(self.store.boot(), number).to_string(),
                    utc: utc_text(event.at.utc),
                    part: event.part,
                    code: text.code.to_owned(),
                    subject: text.subject,
                    detail: text.detail,
                    sentence: text.sentence,
                })
            }
            Seen::Record(utc, Record::Decision(row)) => {
                let name = self.names.loop_name(row.loop_id.index());
                let setpoint = self.names.setpoint_of(row.loop_id.index());
                let to = row
                    .limited
                    .zip(setpoint)
                    .map_or(String::new(), |(ticks, place)| self.names.setpoint_text(place, ticks));
                let boot = self.store.boot();
                let decision = RecordId::decision(boot, row.number);
                let (code, id, sentence) = match row.outcome {
                    Outcome::Write(n) => {
                        ("write", RecordId::write(boot, n), format!("{name} writes {to}."))
                    }
                    Outcome::Return(n) => {
                        ("return", RecordId::write(boot, n), format!("{name} returns to {to}."))
                    }
                    Outcome::WouldWrite => {
                        ("would_write", decision, format!("{name} would write {to}."))
                    }
                    Outcome::Asked(id) => {
                        ("asked", decision, format!("{name} proposes {to} (proposal {id})."))
                    }
                    Outcome::Hold(_) | Outcome::Trip(_) => return None,
                };
                Some(EventLine {
                    id: id.to_string(),
                    utc: utc_text(utc),
                    part: row.part,
                    code: code.to_owned(),
                    subject: name,
                    detail: to,
                    sentence,
                })
            }
            Seen::Record(..) | Seen::Ask(..) => None,
        }
    }
}

fn drift_line((model, drift): (ModelId, Drift), names: &Names) -> DriftLine {
    let text = event_text(&What::Drift(model, drift), names);
    let feature = drift.feature.and_then(|f| names.features.get(f.index()));
    DriftLine {
        model: text.subject,
        check: drift.check.word().to_owned(),
        feature: feature.map(|feature| feature.name.clone()),
        value: drift.value,
        limit: drift.limit,
        sentence: text.sentence,
    }
}

fn forecast_line((model, made): (ModelId, Forecast), names: &Names) -> ForecastLine {
    let (name, sentence) = forecast_text(model, &made, names);
    let (p10, p90) = made.to_limit_range.unzip();
    ForecastLine {
        model: name,
        forecast: made.value,
        low: made.low,
        high: made.high,
        trend: made.trend.word().to_owned(),
        time_to_limit: made.to_limit,
        time_to_limit_p10: p10,
        time_to_limit_p90: p90,
        sentence,
    }
}

fn link_status(plc: &PlcStatus, now: Mono) -> LinkStatus {
    let problems = plc.plc.problems.iter();
    LinkStatus {
        plc: plc.name.clone(),
        up: plc.link.up,
        epoch: plc.link.epoch,
        age_ms: plc.link.life.map(|life| millis(now - life)),
        state: plc.plc.state.word().to_owned(),
        address: plc.plc.address.clone(),
        addresses: plc.plc.addresses,
        trouble: plc.plc.trouble.clone(),
        problems: problems.map(|p| format!("{}: {}", p.node, p.what)).collect(),
        backfill: plc.plc.filling.map(|filling| filling.to_string()),
    }
}

fn sink_line(sink: &SinkView) -> SinkLine {
    let status = sink.status();
    let rows = [
        ("rows_sent", status.rows_sent),
        ("rows_resent", status.rows_resent),
        ("rows_dead", status.rows_dead),
        ("rows_quarantined", status.rows_quarantined),
        ("rows_expired", status.rows_expired),
    ];
    let rows = rows.into_iter().map(|(name, count)| (name.to_owned(), count));
    let requests =
        status.requests.into_iter().map(|(word, count)| (format!("requests_{word}"), count));
    SinkLine {
        name: sink.name.to_owned(),
        url: sink.url.clone(),
        state: status.state.word().to_owned(),
        why: status.why,
        behind_rows: status.behind_rows,
        behind_seconds: status.behind.as_secs_f64(),
        counters: rows.chain(requests).collect(),
    }
}

/// Counters and lag of a sink under its name; `held` is 1 while a person must set something right.
fn sink_counters(sink: &SinkLine) -> Vec<(String, u64)> {
    let lag = [
        ("behind_rows", sink.behind_rows),
        ("behind_seconds", sink.behind_seconds as u64),
        ("held", u64::from(sink.state == SinkState::Held.word())),
    ];
    let lag = lag.into_iter().map(|(name, value)| (name.to_owned(), value));
    let all = lag.chain(sink.counters.clone());
    all.map(|(name, value)| (format!("sink_{}_{name}", sink.name), value)).collect()
}

fn owner_word(owner: Owner) -> &'static str {
    match owner {
        Owner::Unknown => "unknown",
        Owner::Ours => "ours",
        Owner::Operator => "operator",
    }
}

fn set_trip(out: &mut LoopStatus, status: &CoreLoop) {
    let (word, reason) = match status.trip {
        Trip::Clear => ("clear", None),
        Trip::Returning(reason) => ("returning", Some(reason)),
        Trip::Latched(reason) => ("latched", Some(reason)),
    };
    out.trip = word.to_owned();
    out.trip_reason = reason.map(|reason| reason.word().to_owned());
}

fn millis(span: Span) -> f64 {
    span.as_secs_f64() * 1e3
}

impl Port for CellPort {
    fn status(&self) -> Status {
        let status = self.cell.status();
        let now = self.cell.clock().now();
        let tags = status.tags.iter().map(|tag| TagStatus {
            name: tag.name.clone(),
            unit: tag.unit.clone(),
            value: tag.reading.map(|reading| reading.value.as_f64()),
            quality: tag.reading.map_or("missing", |reading| reading.quality.word()).to_owned(),
            age_ms: tag.age.map(millis),
        });
        let loops: Vec<LoopStatus> = (0..)
            .zip(&status.loops)
            .map(|(index, state)| self.loop_status(index, state, now.mono))
            .collect();
        let records_sound = self.store.sound() && !status.counts.scan.journal_poisoned;
        let some = |x: f64| (status.latency.count > 0).then_some(x);
        Status {
            schema: "trimloop.status/2".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generated: utc_text(now.utc),
            ok: status.all_up() && records_sound && loops.iter().all(|l| l.trip == "clear"),
            cell: self.name.clone(),
            recipe: status.recipe.clone(),
            revision: status.revision,
            plcs: status.plcs.iter().map(|plc| link_status(plc, now.mono)).collect(),
            part: status.part,
            writes: status.counts.dispatch.confirmed,
            loops,
            drifts: status.drifts.iter().map(|of| drift_line(*of, &self.names)).collect(),
            forecasts: status.forecasts.iter().map(|of| forecast_line(*of, &self.names)).collect(),
            tags: tags.collect(),
            sinks: self.sink.iter().map(sink_line).collect(),
            counters: self.counters(&status),
            latency_ms: Latency {
                p50: some(status.latency.p50_ms),
                p99: some(status.latency.p99_ms),
            },
            records_sound,
            notices: status
                .notices
                .iter()
                .map(|notice| NoticeLine {
                    at: utc_text(notice.at),
                    code: notice.code.to_owned(),
                    subject: notice.subject.clone(),
                    sentence: notice.sentence.clone(),
                })
                .collect(),
        }
    }

    fn order(&self, command: Command) -> Result<u64, String> {
        self.cell.order(command).map_err(|error| crate::error::chain(&error))
    }

    fn wait(&self, order: u64, longest: Duration) -> OrderOutcome {
        match self.cell.wait_order(order, longest) {
            OrderResult::Done => OrderOutcome::Done,
            OrderResult::Refused(why) => OrderOutcome::Refused(why.word().to_owned()),
            OrderResult::Expired | OrderResult::Waiting => OrderOutcome::Expired,
        }
    }

    fn bar(&self, of: LoopId) -> Option<Bar> {
        self.supports.bar(of)
    }

    fn backfill(&self, plc: Option<&str>, from: Utc, to: Utc) -> Result<Vec<String>, String> {
        self.cell.backfill(plc, from, to)
    }

    fn work(&self) -> Option<DeskHandle> {
        self.work.clone()
    }

    fn watch(&self, each: &mut dyn FnMut(Option<EventLine>) -> bool) {
        let seen = self.cell.events();
        loop {
            let go_on = match seen.recv_timeout(BEAT) {
                Ok(seen) => self.line(seen).is_none_or(|line| each(Some(line))),
                Err(RecvTimeoutError::Timeout) => each(None),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if !go_on {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lag and losses of a sink are counters like others.
    #[test]
    fn a_sink_is_counted() {
        let sink = SinkLine {
            name: "influx".into(),
            state: "held".into(),
            behind_rows: 1200,
            behind_seconds: 61.7,
            counters: BTreeMap::from([("rows_dead".into(), 2), ("requests_401".into(), 5)]),
            ..SinkLine::default()
        };
        let counters: BTreeMap<String, u64> = sink_counters(&sink).into_iter().collect();
        let expect = [
            ("sink_influx_behind_rows", 1200),
            ("sink_influx_behind_seconds", 61),
            ("sink_influx_held", 1),
            ("sink_influx_requests_401", 5),
            ("sink_influx_rows_dead", 2),
        ];
        assert_eq!(counters, expect.map(|(name, value)| (name.to_owned(), value)).into());
    }
}
