//! The subscription: monitored items, and the callback that feeds the intake.
//!
//! Samples that arrive while items are still being made are kept back, so that the link opens
//! with all of them at once. A steady value sends nothing again: one lost at the start would
//! stay missing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opcua::types::{
    DataChangeFilter, DataChangeTrigger, DataValue, Error, ExtensionObject,
    MonitoredItemCreateRequest, MonitoringMode, MonitoringParameters, NotificationMessage,
    StatusChangeNotification, StatusCode,
};
use tokio::sync::Notify;
use trimloop_core::tag::{Sample, TagId};
use trimloop_core::time::{Mono, Span, Utc};

use super::changes::{Change, Changes, Told};
use super::decode::Decoded;
use super::mutant::{Mutant, broken};
use super::resolve::{Found, Resolution, in_parts};
use super::structure::Taker;
use super::wire::{Ask, Terms, Wire};
use super::{LinkConfig, NodeConfig, Problem, Purpose, Shared, count, decode};
use crate::intake::{SAMPLES_PER_TAG, lock};

/// Silence of a healthy subscription that we ask for; `stale` of a link is 2 s by default.
const KEEP_ALIVE: Duration = Duration::from_millis(400);
/// Life of a subscription that nobody asks about, on the server.
const LIFETIME: Duration = Duration::from_secs(10);
/// Queue on the server when the configuration states none: at least, and at most.
const QUEUE: (u32, u32) = (10, 200);
/// How long a read-back outruns older samples of the same register.
const OUTRUN: Span = Span::from_secs(1);

/// What the callback and the tasks share.
pub(super) struct Feed {
    shared: Arc<Shared>,
    /// What each monitored item feeds, by client handle - 1.
    routes: Vec<Vec<Route>>,
    state: Mutex<FeedState>,
    /// Told at each notification.
    pub(super) heard: Notify,
}

/// A tag that a monitored item feeds; several tags may be parts of one value.
struct Route {
    tag: TagId,
    taker: Option<Taker>,
}

#[derive(Default)]
struct FeedState {
    /// Intake session; `None` before the link opens.
    session: Option<u64>,
    /// Samples of one notification, or all before the link opens.
    buffer: Vec<Sample>,
    last: Option<Mono>,
    /// Source time of the newest sample of each monitored item, by client handle - 1.
    stamps: Vec<Option<Utc>>,
    /// The subscription ended on the server.
    ended: Option<StatusCode>,
    /// Newest read-back by tag: source time, when it came.
    read_back: Vec<(TagId, Utc, Mono)>,
    /// Registers that were written and not read since.
    unread: Vec<Unread>,
}

/// A register that was written and that we have not read since.
struct Unread {
    tag: TagId,
    /// When the write was issued, and when it was handed to the transport.
    issued: Mono,
    sent: Mono,
}

impl Feed {
    pub(super) fn new(shared: Arc<Shared>, found: &[Found]) -> Arc<Self> {
        let mut routes: Vec<Vec<Route>> = shared.config.nodes.iter().map(|_| Vec::new()).collect();
        for (leader, group) in groups(found) {
            let Some(route) = routes.get_mut(leader) else { continue };
            for one in group {
                let tag = shared.config.nodes.get(one.node).and_then(|node| node.tag);
                route.extend(tag.map(|tag| Route { tag, taker: one.taker.clone() }));
            }
        }
        let stamps = vec![None; routes.len()];
        let state = Mutex::new(FeedState { stamps, ..FeedState::default() });
        Arc::new(Self { shared, routes, state, heard: Notify::new() })
    }

    /// When the subscription was last heard of.
    pub(super) fn last(&self) -> Option<Mono> {
        lock(&self.state).last
    }

    /// Why the server ended the subscription, if it did.
    pub(super) fn ended(&self) -> Option<StatusCode> {
        lock(&self.state).ended
    }

    /// Opens the intake with what was kept back; the epoch.
    pub(super) fn open(&self, announce: bool) -> u64 {
        let mut state = lock(&self.state);
        let life = state.last.unwrap_or_else(|| self.shared.clock.mono());
        in_time_order(&mut state.buffer);
        let (session, epoch) = self.shared.intake.open(announce, life, &state.buffer);
        state.buffer.clear();
        state.session = Some(session);
        epoch
    }

    /// A register is being written. Until we have read it ourselves, what the subscription tells of
    /// it may have been taken before the write, however late it comes: it counts as received when
    /// the write was issued, so that it can confirm the write but not say that it was not taken.
    pub(super) fn written(&self, tag: TagId, issued: Mono) {
        let sent = self.shared.clock.mono();
        let mut state = lock(&self.state);
        state.unread.retain(|unread| unread.tag != tag);
        state.unread.push(Unread { tag, issued, sent });
    }

    /// The write was not made.
    pub(super) fn not_written(&self, tag: TagId) {
        lock(&self.state).unread.retain(|unread| unread.tag != tag);
    }

    /// Takes what we read ourselves after a write. It is no newer than when it was asked for.
    pub(super) fn read_back(&self, tag: TagId, data: &DataValue, received: Mono) {
        let sample = decode::decode(tag, data, received).sample;
        let mut state = lock(&self.state);
        state.unread.retain(|unread| unread.tag != tag || unread.sent > received);
        if let Some(source) = sample.source_time {
            state.read_back.retain(|(other, _, _)| *other != tag);
            state.read_back.push((tag, source, received));
        }
        if let Some(session) = state.session {
            let life = broken(Mutant::ReadsAreLife);
            self.shared.intake.samples(session, &[sample], received, life);
        }
    }

    fn take(&self, state: &mut FeedState, change: &Change, received: Mono) {
        let Some(index) = (change.handle as usize).checked_sub(1) else { return };
        let Some(routes) = self.routes.get(index) else { return };
        for route in routes {
            match (&change.told, &route.taker) {
                (Told::Plain(reading), None) => {
                    self.take_one(state, route.tag, received, |at| reading.of(route.tag, at));
                }
                (Told::Plain(reading), Some(_)) => {
                    self.take_whole(state, route, &reading.data(), received);
                }
                (Told::Whole(data), _) => self.take_whole(state, route, data, received),
            }
        }
        let stamp = change.told.source_time();
        let Some(before) = state.stamps.get_mut(index) else { return };
        if change.told.overflow()
            && let (Some(from), Some(to)) = (*before, stamp)
        {
            for route in routes {
                self.shared.book.lost(Some(route.tag), from, to, received);
            }
        }
        *before = stamp.or(*before);
    }

    fn take_whole(&self, state: &mut FeedState, route: &Route, data: &DataValue, received: Mono) {
        self.take_one(state, route.tag, received, |at| {
            decode::decode_part(route.tag, data, route.taker.as_ref(), at)
        });
    }

    fn take_one(
        &self,
        state: &mut FeedState,
        tag: TagId,
        received: Mono,
        decode: impl FnOnce(Mono) -> Decoded,
    ) {
        let unread = state.unread.iter().find(|unread| unread.tag == tag);
        let received = unread.map_or(received, |unread| received.min(unread.issued));
        let decoded = decode(received);
        let counters = &self.shared.counters;
        count(&counters.overflows, u64::from(decoded.overflow));
        count(&counters.undecodable, u64::from(decoded.undecodable));
        if outrun(&state.read_back, &decoded.sample) {
            count(&counters.outrun, 1);
        } else {
            if state.session.is_none() && state.buffer.len() >= self.early_max() {
                let oldest = state.buffer.iter().position(|early| early.tag == tag);
                state.buffer.remove(oldest.unwrap_or(0));
            }
            state.buffer.push(decoded.sample);
        }
    }

    /// Takes one notification of the subscription.
    pub(super) fn notify(&self, message: NotificationMessage) {
        let received = self.shared.clock.mono();
        let mut state = lock(&self.state);
        state.last = Some(received);
        for part in message.notification_data.iter().flatten() {
            if let Some(Changes(changes)) = part.inner_as::<Changes>() {
                for change in changes {
                    self.take(&mut state, change, received);
                }
            } else if let Some(change) = part.inner_as::<StatusChangeNotification>()
                && change.status.is_bad()
            {
                state.ended = Some(change.status);
            }
        }
        if let Some(session) = state.session {
            in_time_order(&mut state.buffer);
            self.shared.intake.samples(session, &state.buffer, received, true);
            state.buffer.clear();
        }
        drop(state);
        count(&self.shared.counters.notifications, 1);
        self.heard.notify_one();
    }

    /// Samples kept back before the link opens.
    fn early_max(&self) -> usize {
        self.routes.len() * SAMPLES_PER_TAG
    }
}

/// Whether a newer value of the register was read while this sample was on its way.
fn outrun(read_back: &[(TagId, Utc, Mono)], sample: &Sample) -> bool {
    let Some(source) = sample.source_time else { return false };
    read_back.iter().any(|(tag, newer, came)| {
        *tag == sample.tag && source < *newer && sample.received - *came < OUTRUN
    })
}

pub(super) async fn subscribe(
    wire: &dyn Wire,
    feed: &Arc<Feed>,
    resolution: &mut Resolution,
) -> Result<Terms, Error> {
    let config = &feed.shared.config;
    let publishing = config.publishing.max(Duration::from_millis(1));
    let counts = |time: Duration| {
        u32::try_from(time.as_millis() / publishing.as_millis().max(1)).unwrap_or(u32::MAX).max(1)
    };
    let keep_alive = counts(KEEP_ALIVE);
    // Part 4, 5.13.2: the lifetime is at least three keep-alives.
    let lifetime = counts(LIFETIME).max(keep_alive.saturating_mul(3));
    let ask = Ask { publishing, lifetime, keep_alive };
    let terms = wire.subscribe(ask, Arc::clone(feed)).await?;
    count(&feed.shared.counters.subscriptions, 1);
    create_items(wire, terms.id, config, resolution).await?;
    Ok(terms)
}

/// The nodes by the node whose monitored item brings their value: the first that asks for the
/// same. Only parts share one; each whole value has its own.
fn groups(found: &[Found]) -> BTreeMap<usize, Vec<&Found>> {
    let mut firsts = HashMap::new();
    let mut groups: BTreeMap<usize, Vec<&Found>> = BTreeMap::new();
    for one in found {
        let leader = match &one.taker {
            None => one.node,
            Some(taker) => {
                let cut = taker.ranged.then(|| taker.index.clone());
                *firsts.entry((&one.id, cut)).or_insert(one.node)
            }
        };
        groups.entry(leader).or_default().push(one);
    }
    groups
}

async fn create_items(
    wire: &dyn Wire,
    subscription: u32,
    config: &LinkConfig,
    resolution: &mut Resolution,
) -> Result<(), Error> {
    let groups = groups(&resolution.found);
    let (places, requests): (Vec<Vec<usize>>, Vec<MonitoredItemCreateRequest>) = groups
        .iter()
        .filter_map(|(leader, group)| {
            let handle = u32::try_from(leader + 1).ok()?;
            let nodes = group.iter().filter_map(|found| config.nodes.get(found.node));
            let nodes = nodes.filter(|node| node.tag.is_some());
            let parameters = nodes.map(|node| parameters(config, node, handle)).reduce(faster)?;
            let item = group.first()?.item();
            let mode = MonitoringMode::Reporting;
            let fed = group.iter().map(|found| found.node).collect();
            Some((fed, MonitoredItemCreateRequest::new(item, mode, parameters)))
        })
        .unzip();
    let results =
        in_parts(&requests, &mut resolution.items_max, |part| wire.monitor(subscription, part))
            .await?;
    for (fed, result) in places.into_iter().zip(results) {
        if !result.status_code.is_bad() {
            continue;
        }
        let status = result.status_code;
        resolution.found.retain(|found| !fed.contains(&found.node));
        for node in fed.iter().filter_map(|node| config.nodes.get(*node)) {
            resolution.problems.push(Problem {
                node: node.name.clone(),
                stops_writes: node.purpose != Purpose::Read,
                what: format!("the server does not let us subscribe to it ({status})"),
            });
        }
    }
    Ok(())
}

/// Of two askings for one item the one that loses less.
fn faster(a: MonitoringParameters, b: MonitoringParameters) -> MonitoringParameters {
    let queue_size = a.queue_size.max(b.queue_size);
    let sampling_interval = a.sampling_interval.min(b.sampling_interval);
    MonitoringParameters { sampling_interval, queue_size, ..a }
}

fn parameters(config: &LinkConfig, node: &NodeConfig, handle: u32) -> MonitoringParameters {
    // A new stamp on the same value counts too: it shows that the source still measures.
    let filter = DataChangeFilter {
        trigger: DataChangeTrigger::StatusValueTimestamp,
        deadband_type: 0,
        deadband_value: 0.0,
    };
    MonitoringParameters {
        client_handle: handle,
        sampling_interval: node.sampling_ms,
        filter: ExtensionObject::from_message(filter),
        queue_size: node.queue.unwrap_or_else(|| queue(config.publishing, node.sampling_ms)),
        discard_oldest: true,
    }
}

/// Twice the samples of one publishing interval, within bounds.
fn queue(publishing: Duration, sampling_ms: f64) -> u32 {
    let ratio = publishing.as_secs_f64() * 1e3 / sampling_ms.max(1.0);
    ((2.0 * ratio).ceil() as u32).clamp(QUEUE.0, QUEUE.1)
}

/// Puts the samples of one notification into the order in which they were taken.
///
/// A notification is in the order of its tags: two parts in one message come as A1 A2 B1 B2, and
/// an edge would cut with the values of the later part. The order of equal stamps is kept; a
/// sample without any stamp stays behind the one before it.
fn in_time_order(samples: &mut Vec<Sample>) {
    let stamps = samples.iter().filter_map(|s| s.source_time.or(s.server_time));
    if stamps.is_sorted() {
        return;
    }
    let mut before = Utc::default();
    let mut keyed: Vec<(Utc, Sample)> = samples
        .drain(..)
        .map(|sample| {
            before = sample.source_time.or(sample.server_time).unwrap_or(before);
            (before, sample)
        })
        .collect();
    keyed.sort_by_key(|(stamp, _)| *stamp);
    samples.extend(keyed.into_iter().map(|(_, sample)| sample));
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimloop_core::tag::Status;

    /// Queues follow the ratio of publishing to sampling.
    #[test]
    fn pain_10_queues_are_sized() {
        for (publishing_ms, sampling_ms, expect) in
            [(10, 0.0, 20), (10, 10.0, 10), (100, 10.0, 20), (1000, 1.0, 200), (10, 1000.0, 10)]
        {
            let publishing = Duration::from_millis(publishing_ms);
            assert_eq!(queue(publishing, sampling_ms), expect, "{publishing_ms}/{sampling_ms}");
        }
    }

    /// A sample that left before a read-back does not undo it; newer ones, other tags and late
    /// clocks pass.
    #[test]
    fn a_read_back_outruns_older_samples() {
        let read_back = [(TagId(1), Utc::from_millis(100), Mono::from_millis(50))];
        let sample = |tag, source: Option<i64>, received| Sample {
            tag: TagId(tag),
            value: None,
            status: Status::Good,
            source_time: source.map(Utc::from_millis),
            server_time: None,
            received: Mono::from_millis(received),
        };
        for (tag, source, received, expect) in [
            (1, Some(99), 60, true),
            (1, Some(100), 60, false),
            (1, Some(101), 60, false),
            (2, Some(99), 60, false),
            (1, None, 60, false),
            (1, Some(99), 1060, false),
        ] {
            assert_eq!(outrun(&read_back, &sample(tag, source, received)), expect);
        }
    }
}
