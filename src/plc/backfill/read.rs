//! Pages out of a server's history: `HistoryRead` with `ReadRawModifiedDetails`.
//!
//! - A page holds at most so many nodes as the server states (`MaxNodesPerHistoryReadData`,
//!   `MaxHistoryContinuationPoints`) and [`VALUES_MAX`] values; both are halved when it refuses or
//!   is too slow.
//! - A continuation point leads on. A full page without one is not believed to be the last: some
//!   servers cut at the number asked for and say nothing. Then the node is asked again from its last
//!   value on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use opcua::types::{
    ByteString, DataValue, DateTime, Error, HistoryData, HistoryReadResult, HistoryReadValueId,
    QualifiedName, ReadRawModifiedDetails, ReadValueId, StatusCode, TimestampsToReturn, VariableId,
    Variant,
};
use tokio::time::sleep;
use tracing::debug;
use trimloop_core::tag::{Sample, TagId};
use trimloop_core::time::{Span, Utc};

use super::{Gap, History};
use crate::clock::wait_of;
use crate::output::duration_text;
use crate::plc::resolve::{Resolution, in_parts, too_much};
use crate::plc::structure::Taker;
use crate::plc::wire::Wire;
use crate::plc::{LinkConfig, Shared, count, decode};

/// Values of one page, all its nodes together.
const VALUES_MAX: usize = 2000;
/// Nodes of one page, and values of a node, when the server has no smaller limit.
const NODES_MAX: usize = 20;
/// Values of a node below which a page is not halved.
const VALUES_LEAST: usize = 10;
/// How far beyond the gap is read: clocks and stamps are never quite even.
const MARGIN: Span = Span::from_secs(1);
/// A PLC clock farther off than this stamps live samples with our time, and its history with its
/// own: the two would not fit together.
const CLOCK_MAX: Span = Span::from_secs(10);
/// Pause after a page: at least, and at most; between them four times what it took.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Pause after a failed call, and after the store refused.
const FAILED: Duration = Duration::from_secs(1);
pub(super) const REFUSED: Duration = Duration::from_secs(10);
/// Failed calls in a row, and failures of one node, before it is given up.
const FAILURES_MAX: u32 = 5;
/// OPC UA's smallest step of time.
const TICK: Span = Span::from_nanos(100);

/// How a gap ended.
pub(super) enum Outcome {
    /// Read to the end, but for these.
    Filled { refused: Vec<(TagId, String)> },
    /// Nothing could be had, and why.
    Unfilled(String),
    /// Not now.
    Later,
}

/// A session, and which of its registers have a history.
pub(super) struct Source {
    wire: Arc<dyn Wire>,
    tags: Vec<Remembered>,
    /// Tags without one.
    without: Vec<(TagId, String)>,
}

struct Remembered {
    tag: TagId,
    name: String,
    item: ReadValueId,
    taker: Option<Taker>,
}

impl Source {
    pub(super) fn new(wire: &Arc<dyn Wire>, config: &LinkConfig, resolution: &Resolution) -> Self {
        let (mut tags, mut without) = (Vec::new(), Vec::new());
        for found in &resolution.found {
            let Some(node) = config.nodes.get(found.node) else { continue };
            let Some(tag) = node.tag else { continue };
            let name = node.name.clone();
            if found.history {
                let (item, taker) = (found.item(), found.taker.clone());
                tags.push(Remembered { tag, name, item, taker });
            } else {
                without.push((tag, name));
            }
        }
        Self { wire: Arc::clone(wire), tags, without }
    }

    /// Tags with a history that are missing in a gap.
    pub(super) fn wanted<'a>(&'a self, gap: &'a Gap) -> impl Iterator<Item = TagId> + 'a {
        self.tags.iter().map(|one| one.tag).filter(|tag| is_in(gap, *tag))
    }

    /// Names of those without one.
    pub(super) fn without(&self, gap: &Gap) -> Vec<&str> {
        let missing = self.without.iter().filter(|(tag, _)| is_in(gap, *tag));
        missing.map(|(_, name)| name.as_str()).collect()
    }

    pub(super) fn name(&self, tag: TagId) -> Option<&str> {
        let with = self.tags.iter().find(|one| one.tag == tag).map(|one| one.name.as_str());
        let without = || self.without.iter().find(|(other, _)| *other == tag);
        with.or_else(|| without().map(|(_, name)| name.as_str()))
    }

    /// How many nodes and values a page may have, and how far the server's clock is ahead of ours.
    async fn terms(&self, shared: &Shared) -> Result<(usize, Span), Error> {
        let wanted = [
            VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerHistoryReadData,
            VariableId::Server_ServerCapabilities_MaxHistoryContinuationPoints,
            VariableId::Server_ServerStatus_CurrentTime,
        ]
        .map(|id| ReadValueId::new_value(id.into()));
        let mut reads = shared.config.per_call.read;
        let values = in_parts(&wanted, &mut reads, |part| async move {
            self.wire.read(&part, TimestampsToReturn::Neither).await
        })
        .await?;
        let now = shared.clock.utc();
        let value = |at: usize| values.get(at).and_then(|data: &DataValue| data.value.as_ref());
        // 0 means that the server has no limit.
        let limit = |at: usize| match value(at) {
            Some(Variant::UInt32(most)) if *most > 0 => *most as usize,
            Some(Variant::UInt16(most)) if *most > 0 => usize::from(*most),
            _ => NODES_MAX,
        };
        let nodes = NODES_MAX.min(shared.config.per_call.read).min(limit(0)).min(limit(1));
        let ahead = match value(2) {
            Some(Variant::DateTime(time)) => decode::utc_of(time).map(|there| there - now),
            _ => None,
        };
        Ok((nodes.max(1), ahead.unwrap_or(Span::ZERO)))
    }
}

fn is_in(gap: &Gap, tag: TagId) -> bool {
    gap.tags.as_ref().is_none_or(|tags| tags.contains(&tag))
}

/// Where one node's history goes on.
#[derive(Clone, Debug)]
struct Cursor {
    /// Index into [`Source::tags`].
    place: usize,
    /// From where it is asked without a continuation point, by the server's clock.
    from: Utc,
    point: ByteString,
    failures: u32,
}

/// What one node's part of a page means.
#[derive(Debug, PartialEq)]
enum Part {
    /// There is nothing more.
    End,
    /// It goes on; from where if there is no continuation point.
    More(Utc),
    /// It may be asked again.
    Again,
    /// It has none, or not for us.
    Refused(StatusCode),
}

/// Asks for what is left of a gap, until it is filled or cannot be.
pub(super) async fn fill(
    shared: &Shared,
    history: &dyn History,
    source: &Arc<Source>,
    gap: &mut Gap,
    from: Utc,
) -> Outcome {
    let (nodes, ahead) = match source.terms(shared).await {
        Ok(terms) => terms,
        Err(error) => {
            debug!(%error, "The server's limits of its history could not be read.");
            sleep(FAILED).await;
            return Outcome::Later;
        }
    };
    if ahead > CLOCK_MAX || Span::ZERO - ahead > CLOCK_MAX {
        let off = duration_text(ahead.max(Span::ZERO - ahead));
        return Outcome::Unfilled(format!(
            "the server's clock is {off} off ours, so that its history would lie at other times \
             than the live values; set the clock"
        ));
    }
    let window = (from + ahead - MARGIN, gap.to + ahead + MARGIN);
    let mut pages = Pages::new(source, gap, nodes, window);
    let mut refused = Vec::new();
    let mut failures = 0;
    while let Some(asked) = pages.take() {
        let begun = shared.clock.mono();
        let answer = pages.ask(source, &asked).await;
        let took = wait_of(shared.clock.mono() - begun);
        if !shared.book.is_current(source) {
            return Outcome::Later;
        }
        match answer {
            Ok(results) => {
                failures = 0;
                match keep(shared, history, source, gap, &mut pages, asked, results).await {
                    Ok(more) => refused.extend(more),
                    Err(()) => {
                        pages.release(source).await;
                        sleep(REFUSED).await;
                        return Outcome::Later;
                    }
                }
            }
            Err(error) => {
                failures += 1;
                let status = error.status();
                let smaller = (too_much(status) || slow(status)) && pages.halve(asked.len());
                if unsupported(status) || (!smaller && failures >= FAILURES_MAX) {
                    return Outcome::Unfilled(format!(
                        "the server does not answer for its history ({status})"
                    ));
                }
                pages.put_back(asked);
                if !smaller {
                    sleep(FAILED).await;
                }
            }
        }
        shared.book.read(gap);
        sleep(took.saturating_mul(4).clamp(PAUSE.0, PAUSE.1)).await;
    }
    Outcome::Filled { refused }
}

/// Hands a page to the history and notes where its nodes go on; the nodes that were refused.
async fn keep(
    shared: &Shared,
    history: &dyn History,
    source: &Source,
    gap: &mut Gap,
    pages: &mut Pages,
    asked: Vec<Cursor>,
    results: Vec<HistoryReadResult>,
) -> Result<Vec<(TagId, String)>, ()> {
    let most = pages.values(asked.len());
    let mut samples = Vec::new();
    let mut parts = Vec::with_capacity(asked.len());
    for (cursor, result) in asked.into_iter().zip(results) {
        let Some(one) = source.tags.get(cursor.place) else { continue };
        let data = result.history_data.inner_as::<HistoryData>();
        let values = data.and_then(|data| data.data_values.as_deref()).unwrap_or_default();
        samples.extend(values.iter().filter_map(|value| sample(shared, one, value, pages.window)));
        let part = part_of(&cursor, &result, values, most);
        parts.push((cursor, part, result.continuation_point));
    }
    if !samples.is_empty() {
        let new = history.keep(&samples).await.map_err(drop)?;
        count(&shared.counters.backfilled, new.values().sum());
        for (tag, new) in new {
            *gap.filled.entry(tag).or_default() += new;
        }
    }
    let mut refused = Vec::new();
    for (mut cursor, part, point) in parts {
        let Some(tag) = source.tags.get(cursor.place).map(|one| one.tag) else { continue };
        match part {
            Part::End => drop(gap.done.insert(tag)),
            Part::More(from) if from > cursor.from => {
                (cursor.from, cursor.point, cursor.failures) = (from, point, 0);
                pages.put_back(vec![cursor]);
            }
            // Some more of the same time, or a server that promises and never gives.
            Part::More(_) if cursor.failures < FAILURES_MAX => {
                cursor.point = point;
                cursor.failures += 1;
                pages.put_back(vec![cursor]);
            }
            Part::More(_) => {
                gap.done.insert(tag);
                refused.push((tag, "its pages do not go on".to_owned()));
            }
            Part::Again if cursor.failures < FAILURES_MAX => {
                cursor.failures += 1;
                cursor.point = ByteString::null();
                pages.put_back(vec![cursor]);
            }
            Part::Again => {
                gap.done.insert(tag);
                refused.push((tag, "no answer for it".to_owned()));
            }
            Part::Refused(status) => {
                gap.done.insert(tag);
                refused.push((tag, status.to_string()));
            }
        }
    }
    Ok(refused)
}

fn sample(
    shared: &Shared,
    one: &Remembered,
    value: &DataValue,
    window: (Utc, Utc),
) -> Option<Sample> {
    let decoded =
        decode::decode_part(one.tag, value, one.taker.as_ref(), shared.clock.mono()).sample;
    // Without a source time it has no place; beyond the window is what a server adds as bounds.
    decoded.source_time.filter(|time| (window.0..=window.1).contains(time)).map(|_| decoded)
}

/// - `most`: values that were asked for.
fn part_of(cursor: &Cursor, result: &HistoryReadResult, values: &[DataValue], most: usize) -> Part {
    let status = result.status_code;
    match status {
        StatusCode::BadNoData => return Part::End,
        StatusCode::BadContinuationPointInvalid | StatusCode::BadNoContinuationPoints => {
            return Part::Again;
        }
        status if status.is_bad() && slow(status) => return Part::Again,
        status if status.is_bad() => return Part::Refused(status),
        _ => {}
    }
    let stamps = values.iter().filter_map(|value| value.source_timestamp.as_ref());
    let last = stamps.filter_map(decode::utc_of).max();
    if !result.continuation_point.is_null_or_empty() {
        return Part::More(last.unwrap_or(cursor.from));
    }
    match last {
        // Values of one time may be cut, too; after a page of nothing else they are passed over.
        Some(last) if values.len() >= most => {
            Part::More(if last > cursor.from { last } else { cursor.from + TICK })
        }
        _ => Part::End,
    }
}

fn slow(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BadTimeout | StatusCode::BadRequestTimeout | StatusCode::BadTooManyOperations
    )
}

fn unsupported(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BadServiceUnsupported
            | StatusCode::BadNotImplemented
            | StatusCode::BadNotSupported
            | StatusCode::BadHistoryOperationUnsupported
            | StatusCode::BadHistoryOperationInvalid
    )
}

/// What is left to ask.
struct Pages {
    /// By the server's clock.
    window: (Utc, Utc),
    nodes: usize,
    values: usize,
    left: Vec<Cursor>,
}

impl Pages {
    fn new(source: &Source, gap: &Gap, nodes: usize, window: (Utc, Utc)) -> Self {
        let wanted: BTreeSet<TagId> =
            source.wanted(gap).filter(|tag| !gap.done.contains(tag)).collect();
        let places = source.tags.iter().enumerate().filter(|(_, one)| wanted.contains(&one.tag));
        let cursor =
            |(place, _)| Cursor { place, from: window.0, point: ByteString::null(), failures: 0 };
        Self { window, nodes, values: VALUES_MAX, left: places.map(cursor).collect() }
    }

    /// The nodes of the next page: those that go on by a point, or those that are asked from the
    /// same time.
    fn take(&mut self) -> Option<Vec<Cursor>> {
        let last = self.left.last()?;
        let (from, goes_on) = (last.from, !last.point.is_null_or_empty());
        let mut taken = Vec::new();
        while taken.len() < self.nodes
            && let Some(next) = self.left.pop_if(|next| {
                next.point.is_null_or_empty() != goes_on && (goes_on || next.from == from)
            })
        {
            taken.push(next);
        }
        Some(taken)
    }

    /// Asked next, so that points are not held for long.
    fn put_back(&mut self, cursors: Vec<Cursor>) {
        self.left.extend(cursors.into_iter().rev());
    }

    /// Values of each node of a page.
    fn values(&self, nodes: usize) -> usize {
        (self.values / nodes.max(1)).max(VALUES_LEAST)
    }

    /// Makes pages smaller, after one of so many nodes was too much; whether that was possible.
    fn halve(&mut self, nodes: usize) -> bool {
        if nodes > 1 {
            self.nodes = nodes / 2;
            return true;
        }
        let smaller = self.values / 2;
        let possible = smaller >= VALUES_LEAST;
        if possible {
            self.values = smaller;
        }
        possible
    }

    async fn ask(
        &self,
        source: &Source,
        cursors: &[Cursor],
    ) -> Result<Vec<HistoryReadResult>, Error> {
        let from = cursors.first().map_or(self.window.0, |cursor| cursor.from);
        let most = u32::try_from(self.values(cursors.len())).unwrap_or(u32::MAX);
        let results =
            source.wire.history(self.details(from, most), nodes_of(source, cursors), false).await?;
        if results.len() == cursors.len() {
            return Ok(results);
        }
        let what = "the server answered another number of nodes than were asked";
        Err(Error::new(StatusCode::BadUnknownResponse, what))
    }

    fn details(&self, from: Utc, most: u32) -> ReadRawModifiedDetails {
        ReadRawModifiedDetails {
            is_read_modified: false,
            start_time: date_time(from),
            end_time: date_time(self.window.1),
            num_values_per_node: most,
            return_bounds: false,
        }
    }

    /// Gives up what the server holds for us.
    async fn release(&self, source: &Source) {
        let held: Vec<Cursor> =
            self.left.iter().filter(|one| !one.point.is_null_or_empty()).cloned().collect();
        for part in held.chunks(self.nodes.max(1)) {
            let details = self.details(self.window.0, 1);
            if let Err(error) = source.wire.history(details, nodes_of(source, part), true).await {
                debug!(%error, "Continuation points could not be given up; they end with the session.");
                return;
            }
        }
    }
}

fn nodes_of(source: &Source, cursors: &[Cursor]) -> Vec<HistoryReadValueId> {
    let node = |cursor: &Cursor| {
        let one = source.tags.get(cursor.place)?;
        Some(HistoryReadValueId {
            node_id: one.item.node_id.clone(),
            index_range: one.item.index_range.clone(),
            data_encoding: QualifiedName::null(),
            continuation_point: cursor.point.clone(),
        })
    };
    cursors.iter().filter_map(node).collect()
}

fn date_time(utc: Utc) -> DateTime {
    DateTime::from(decode::ticks_of(utc))
}

#[cfg(test)]
#[path = "read_tests.rs"]
pub(super) mod tests_kit;
