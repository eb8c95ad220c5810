//! The one owner of connecting, reconnecting and tearing down.
//!
//! A lost connection is first tried again with the same session (Part 4: resume before rebuild,
//! so no session is leaked on the PLC); after some failures, or when the subscription does not
//! deliver, everything is made anew. Where the PLC has several addresses ([`Route`]), a lost
//! connection is not resumed: the next address is tried at once. Either way addresses, types and
//! the subscription are set up again from the start, and the link comes back under a new epoch.
//!
//! The library's own reconnect leaves subscriptions dead (0.19.0): nothing asks for data any
//! more. Hence `trigger_publish_now`, and a watchdog that believes only in data that came.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::StreamExt;
use opcua::types::{Error, NodeId, StatusCode};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};
use trimloop_core::tag::TagId;
use trimloop_core::time::{Mono, Span};
use trimloop_core::unit::Grid;

use super::backoff::Backoff;
use super::handshake::{Blocks, Owned};
use super::mutant::{Mutant, broken};
use super::resolve::{Found, Resolution, resolve, service_level};
use super::route::{HEALTHY, Left, RECHECK, Route};
use super::security;
use super::subscribe::{Feed, subscribe};
use super::wire::{Dial, Ended, News, NewsStream, Opened, Terms, Wire};
use super::{LinkState, Problem, Purpose, Scalar, Shared, count, identity, stopped};
use crate::clock::span_of;
use crate::intake::lock;

/// A link that lived for so long starts again with short pauses.
const SETTLED: Span = Span::from_secs(5);
/// Deadline of one attempt to connect and log in.
const CONNECT_MAX: Span = Span::from_secs(10);
/// Failed attempts with one session before everything is made anew.
const ATTEMPTS_MAX: u32 = 4;
/// Deadline of the first data after subscribing, besides one keep-alive.
const FIRST_DATA_MAX: Duration = Duration::from_secs(2);
/// Silence after which a subscription counts as dead: four keep-alives, at least this.
const SILENCE_MIN: Span = Span::from_secs(2);
/// Deadline of saying goodbye.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// How often we look whether the cell is still ours.
const OWNED_CHECK: Span = Span::from_millis(300);
/// How often the server is asked how well it serves, where there are other addresses.
const LEVEL_CHECK: Span = Span::from_secs(2);
/// The first pause before registers that were not as expected are looked at again; it doubles up to [`RECHECK`].
const RECHECK_FIRST: Duration = Duration::from_millis(500);

/// A register that approved writes go to.
pub(super) struct Register {
    pub(super) tag: TagId,
    pub(super) id: NodeId,
    pub(super) scalar: Scalar,
    pub(super) grid: Grid,
    /// Written through a guard block.
    pub(super) guarded: bool,
    /// The last write was taken in part only.
    pub(super) clamped: AtomicBool,
}

/// One epoch: what may be written, and by which session.
pub(super) struct Live {
    pub(super) wire: Arc<dyn Wire>,
    pub(super) epoch: u64,
    pub(super) feed: Arc<Feed>,
    pub(super) setpoints: BTreeMap<TagId, Register>,
    pub(super) heartbeat: Option<(NodeId, Scalar)>,
    /// Handshake blocks and our grant, where the PLC has them.
    pub(super) owned: Option<Owned>,
    /// Most values in one write.
    pub(super) write_max: usize,
}

pub(super) async fn run(shared: Arc<Shared>, dial: Box<dyn Dial>) {
    let plc = shared.config.name.clone();
    let backoff = Backoff::new(shared.clock.utc().as_nanos().unsigned_abs());
    let mut route = Route::new(dial.addresses(), backoff);
    let mut stop = shared.stop.clone();
    loop {
        let address = shared.address(route.at()).to_owned();
        lock(&shared.status).address.clone_from(&address);
        shared.set_state(LinkState::Connecting);
        let ended = one(&shared, dial.as_ref(), &mut route).await;
        let left = match ended {
            Ended::Stopped => break,
            Ended::Refused(why) => {
                error!(%plc, address, why, "The PLC refuses who we are; no further attempts. Correct user and password, then start again.");
                shared.set_trouble(LinkState::Refused, why);
                stopped(&mut stop).await;
                return;
            }
            Ended::Blocked(why) => {
                error!(%plc, address, why, "The PLC cannot be reached as configured; looked at again every 10 s.");
                shared.set_trouble(LinkState::Down, why);
                Left::Blocked
            }
            Ended::Lost(why) => {
                warn!(%plc, address, why, "The PLC link is down.");
                shared.set_trouble(LinkState::Down, why);
                Left::Lost
            }
            Ended::Weak(level) => {
                warn!(%plc, address, level, "The server says that it serves badly; the other addresses are tried.");
                shared.set_trouble(LinkState::Down, weak(level));
                Left::Weak(level)
            }
        };
        let pause = route.leave(left, shared.clock.mono());
        if paused(&mut stop, pause).await {
            break;
        }
    }
    shared.set_state(LinkState::Stopped);
}

/// Waits; true when asked to stop.
async fn paused(stop: &mut watch::Receiver<bool>, pause: Duration) -> bool {
    timeout(pause, stopped(stop)).await.is_ok()
}

/// What a low service level means, for people.
fn weak(level: u8) -> String {
    let means = match level {
        0 => "it is under maintenance",
        1 => "it has no data",
        _ => "it serves with restrictions",
    };
    format!("the server states a service level of {level}: {means}")
}

async fn one(shared: &Arc<Shared>, dial: &dyn Dial, route: &mut Route) -> Ended {
    let mut stop = shared.stop.clone();
    let opened = tokio::select! {
        biased;
        () = stopped(&mut stop) => return Ended::Stopped,
        opened = dial.open(route.at()) => opened,
    };
    let Opened { wire, news, application_uri } = match opened {
        Ok(opened) => opened,
        Err(ended) => return ended,
    };
    if route.several()
        && !broken(Mutant::ServerUnchecked)
        && let Err((why, new)) = lock(&shared.server).judge(&application_uri)
    {
        if new {
            let (plc, address) = (&shared.config.name, shared.address(route.at()));
            let sentence = format!("PLC {plc}, {address}: {why}.");
            shared.notices.tell("other_server", plc, sentence);
        }
        return Ended::Blocked(why);
    }
    let driver = Driver {
        shared: Arc::clone(shared),
        dial,
        wire,
        work: None,
        running: None,
        connecting: Some(shared.clock.mono()),
        attempts: 0,
        application_uri,
        level: None,
        at: route.at(),
        several: route.several(),
    };
    Box::pin(driver.drive(news, route)).await
}

pub(super) fn lost(what: &str, error: &Error) -> Ended {
    verdict(what, error.status())
}

/// Whether trying again can help.
pub(super) fn verdict(what: &str, status: StatusCode) -> Ended {
    let why = match security::explain(status) {
        Some(sentence) => format!("{sentence} ({status})"),
        None => format!("{what} ({status})"),
    };
    match status {
        StatusCode::BadIdentityTokenInvalid
        | StatusCode::BadIdentityTokenRejected
        | StatusCode::BadUserAccessDenied
        | StatusCode::BadUserSignatureInvalid => Ended::Refused(why),
        _ if security::explain(status).is_some() => Ended::Blocked(why),
        _ => Ended::Lost(why),
    }
}

/// What is done beside the event loop.
enum Done {
    Prepared(Box<Prepared>),
    Rechecked {
        resolution: Box<Resolution>,
        free: bool,
    },
    /// Whether the cell is still ours.
    Owned(bool),
    /// How well the server serves, if it says so.
    Level(Option<u8>),
}

type Work = Pin<Box<dyn Future<Output = Result<Done, Error>> + Send>>;

struct Prepared {
    feed: Arc<Feed>,
    terms: Terms,
    /// As the server answered, for comparison.
    seen: Resolution,
    /// Without what could not be subscribed.
    resolution: Resolution,
    owned: Option<Owned>,
    ungranted: Option<Blocks>,
}

struct Running {
    feed: Arc<Feed>,
    seen: Resolution,
    silence_max: Span,
    since: Mono,
    checked: Mono,
    whole: bool,
    owned: Option<Owned>,
    owned_checked: Mono,
    level_checked: Mono,
    /// Blocks that did not grant us the cell.
    ungranted: Option<Blocks>,
}

struct Driver<'a> {
    shared: Arc<Shared>,
    dial: &'a dyn Dial,
    wire: Arc<dyn Wire>,
    work: Option<Work>,
    running: Option<Running>,
    /// Since when a connection is being made; `None` while there is one.
    connecting: Option<Mono>,
    attempts: u32,
    /// Of the server.
    application_uri: String,
    /// How well the server served when it was accepted.
    level: Option<u8>,
    /// Place of the address.
    at: usize,
    /// Whether there are other addresses.
    several: bool,
}

impl Driver<'_> {
    async fn drive(mut self, mut news: NewsStream, route: &mut Route) -> Ended {
        let mut stop = self.shared.stop.clone();
        let mut tick = interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            let next = tokio::select! {
                biased;
                () = stopped(&mut stop) => Next::End(Ended::Stopped),
                event = news.next() => self.event(event),
                done = work(&mut self.work) => self.done(done, route),
                _ = tick.tick() => self.watch(route),
            };
            match next {
                Next::Go => {}
                Next::Pause if paused(&mut stop, route.pause()).await => break Ended::Stopped,
                Next::Pause => match self.dial.trusts(self.at) {
                    Ok(()) => self.connecting = Some(self.shared.clock.mono()),
                    Err(why) => break Ended::Blocked(why),
                },
                Next::End(ended) => break ended,
            }
        };
        let owned = self.running.as_mut().and_then(|running| running.owned.take());
        self.close();
        if self.connecting.is_none() && !broken(Mutant::NoGoodbye) {
            goodbye(self.wire.as_ref(), news, owned).await;
        }
        ended
    }

    fn event(&mut self, event: Option<News>) -> Next {
        let plc = &self.shared.config.name;
        match event {
            None => Next::End(Ended::Lost("the session ended".to_owned())),
            Some(News::Ended(status)) => Next::End(verdict("the session ended", status)),
            Some(News::Connected) => {
                info!(%plc, "Connected to the PLC; its registers are looked up.");
                self.connecting = None;
                self.attempts = 0;
                count(&self.shared.counters.connects, 1);
                lock(&self.shared.status).no_delay = self.dial.no_delay(self.at);
                self.wire.ask_for_data();
                if self.several {
                    lock(&self.shared.server).meet(&self.application_uri);
                    self.shared.set_state(LinkState::Resolving);
                    self.work = Some(self.ask_level());
                } else {
                    self.prepare();
                }
                Next::Go
            }
            Some(News::Lost(status)) => {
                warn!(%plc, %status, "The connection to the PLC was lost.");
                self.close();
                self.connecting = Some(self.shared.clock.mono());
                if self.several {
                    let why = format!("the connection was lost ({status})");
                    return Next::End(Ended::Lost(why));
                }
                self.shared.set_trouble(LinkState::Connecting, status.to_string());
                Next::Pause
            }
            Some(News::Failed(status)) => {
                self.attempts += 1;
                match verdict(security::failed(self.shared.config.security, status), status) {
                    Ended::Lost(why) if self.attempts < ATTEMPTS_MAX && !self.several => {
                        self.shared.set_trouble(LinkState::Connecting, why);
                        Next::Pause
                    }
                    ended => Next::End(ended),
                }
            }
        }
    }

    /// Asks the server how well it serves; one that does not say counts as healthy.
    fn ask_level(&self) -> Work {
        let wire = Arc::clone(&self.wire);
        Box::pin(async move { Ok(Done::Level(service_level(wire.as_ref()).await?)) })
    }

    /// Goes on with the server, or leaves it for another address.
    fn judge_level(&mut self, level: Option<u8>, route: &Route) -> Next {
        let Some(running) = self.running.as_mut() else {
            self.level = level;
            if !route.takes(level) {
                return Next::End(Ended::Weak(level.unwrap_or(HEALTHY)));
            }
            self.prepare();
            return Next::Go;
        };
        running.level_checked = self.shared.clock.mono();
        let before = self.level.unwrap_or(u8::MAX);
        match level {
            // Only on the way down, so that two weak servers do not take turns.
            Some(level) if level < HEALTHY && level < before => Next::End(Ended::Weak(level)),
            _ => Next::Go,
        }
    }

    fn prepare(&mut self) {
        self.shared.set_state(LinkState::Resolving);
        let shared = Arc::clone(&self.shared);
        self.work = Some(Box::pin(prepare(shared, Arc::clone(&self.wire))));
    }

    fn done(&mut self, done: Result<Done, Error>, route: &Route) -> Next {
        self.work = None;
        match done {
            Err(error) => {
                return Next::End(lost("the registers could not be set up", &error));
            }
            Ok(Done::Level(level)) => return self.judge_level(level, route),
            Ok(Done::Prepared(prepared)) => self.go_live(*prepared),
            Ok(Done::Owned(true)) => {}
            Ok(Done::Owned(false)) => {
                warn!(plc = %self.shared.config.name, "The cell is no longer ours; nothing is written until the PLC grants it again.");
                self.close();
                self.prepare();
            }
            Ok(Done::Rechecked { resolution, free }) => {
                let changed = self.running.as_mut().is_some_and(|running| {
                    running.checked = self.shared.clock.mono();
                    running.seen != *resolution || free
                });
                if changed {
                    info!(plc = %self.shared.config.name, "Registers of the PLC changed; they are set up again.");
                    self.close();
                    self.prepare();
                }
            }
        }
        Next::Go
    }

    fn go_live(&mut self, prepared: Prepared) {
        let Prepared { feed, terms, seen, resolution, owned, ungranted } = prepared;
        let config = &self.shared.config;
        self.tell(&resolution.problems);
        let whole = |found: &&Found| {
            found.taker.as_ref().is_some_and(|taker| !taker.index.is_empty() && !taker.ranged)
        };
        let wholes = resolution.found.iter().filter(whole).count();
        if wholes > 0 {
            info!(plc = %config.name, tags = wholes, "The PLC sends whole arrays, of which these tags take one element.");
        }
        let announce = resolution.may_write();
        let now = self.shared.clock.mono();
        let mut gate = lock(&self.shared.gate);
        let epoch = feed.open(announce);
        if announce {
            *gate = Some(Arc::new(self.live(epoch, &feed, &resolution, owned.clone())));
        }
        drop(gate);
        let at = self.shared.clock.now();
        self.shared.book.opened(&self.wire, config, &resolution, at);
        let keep_alive = span_of(terms.keep_alive);
        self.running = Some(Running {
            silence_max: keep_alive.times(4).max(SILENCE_MIN),
            since: now,
            checked: now,
            whole: resolution.problems.is_empty(),
            ungranted,
            owned,
            owned_checked: now,
            level_checked: now,
            feed,
            seen,
        });
        let mut status = lock(&self.shared.status);
        status.publishing_ms = terms.publishing.as_secs_f64() * 1e3;
        status.keep_alive_ms = terms.keep_alive.as_secs_f64() * 1e3;
        status.problems = resolution.problems;
        drop(status);
        self.shared.set_state(LinkState::Live);
        self.tell_address();
        info!(
            plc = %config.name,
            address = self.shared.address(self.at),
            epoch,
            writable = announce,
            tags = resolution.found.len(),
            publishing_ms = terms.publishing.as_secs_f64() * 1e3,
            "Data flow from the PLC."
        );
    }

    /// Tells that data come by another address than before.
    fn tell_address(&self) {
        let (plc, address) = (&self.shared.config.name, self.shared.address(self.at));
        let before = lock(&self.shared.server).used(address);
        if let Some(before) = before {
            let sentence =
                format!("PLC {plc} is reached at {address} now, not at {before} any more.");
            self.shared.notices.tell("address_changed", plc, sentence);
        }
    }

    /// Tells the problems that were not there at the last look.
    fn tell(&self, problems: &[Problem]) {
        let plc = &self.shared.config.name;
        let known = lock(&self.shared.status).problems.clone();
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            let (node, what) = (&problem.node, &problem.what);
            let follows = if problem.stops_writes {
                "nothing is written to this PLC"
            } else {
                "its tag is not read"
            };
            error!(%plc, node, what, "A register is not as configured: {follows}.");
            let sentence = format!(
                "Register {node} of PLC {plc} is not as configured: {what}. Until that is mended, \
                 {follows}."
            );
            self.shared.notices.tell("register_problem", node, sentence);
        }
    }

    fn live(
        &self,
        epoch: u64,
        feed: &Arc<Feed>,
        resolution: &Resolution,
        owned: Option<Owned>,
    ) -> Live {
        let mut setpoints = BTreeMap::new();
        let mut heartbeat = None;
        for found in &resolution.found {
            let Some(node) = self.shared.config.nodes.get(found.node) else { continue };
            match (node.purpose, node.tag) {
                (
                    purpose @ (Purpose::Setpoint { grid, .. } | Purpose::Guarded { grid, .. }),
                    Some(tag),
                ) => {
                    let guarded = matches!(purpose, Purpose::Guarded { .. });
                    let (id, scalar) = (found.id.clone(), found.scalar);
                    let clamped = AtomicBool::new(false);
                    let register = Register { tag, id, scalar, grid, guarded, clamped };
                    setpoints.insert(tag, register);
                }
                (Purpose::Heartbeat, _) => heartbeat = Some((found.id.clone(), found.scalar)),
                _ => {}
            }
        }
        let (wire, feed) = (Arc::clone(&self.wire), Arc::clone(feed));
        let write_max = resolution.write_max;
        Live { wire, epoch, feed, setpoints, heartbeat, owned, write_max }
    }

    /// Every 100 ms: does the subscription deliver, does the connection come about, is what was
    /// wrong still wrong?
    fn watch(&mut self, route: &mut Route) -> Next {
        let now = self.shared.clock.mono();
        let lost = |why: &str| Next::End(Ended::Lost(why.to_owned()));
        if self.connecting.is_some_and(|since| now - since > CONNECT_MAX) {
            return lost("the server accepts but does not log us in");
        }
        let Some(running) = self.running.as_mut() else { return Next::Go };
        if let Some(status) = running.feed.ended() {
            return lost(&format!("the server ended the subscription ({status})"));
        }
        let heard = running.feed.last().unwrap_or(running.since);
        if now - heard > running.silence_max && !broken(Mutant::SilenceUnseen) {
            return lost("the subscription went silent");
        }
        if now - running.since > SETTLED {
            route.settled();
        }
        // Many servers listen first and fill their address space then: look again soon, then less
        // and less often.
        let pause = (running.checked - running.since).max(span_of(RECHECK_FIRST));
        let pause = pause.min(span_of(RECHECK));
        if !running.whole && self.work.is_none() && now - running.checked > pause {
            let (wire, shared) = (Arc::clone(&self.wire), Arc::clone(&self.shared));
            let ungranted = running.ungranted.clone();
            self.work = Some(Box::pin(async move {
                let resolution = Box::new(resolve(wire.as_ref(), &shared.config).await?);
                let free = match ungranted {
                    Some(blocks) => blocks.free(wire.as_ref()).await,
                    None => false,
                };
                Ok(Done::Rechecked { resolution, free })
            }));
        }
        if let Some(owned) = running.owned.clone()
            && self.work.is_none()
            && now - running.owned_checked > OWNED_CHECK
        {
            running.owned_checked = now;
            let wire = Arc::clone(&self.wire);
            let look = async move { Ok(Done::Owned(owned.holds(wire.as_ref()).await)) };
            self.work = Some(Box::pin(look));
        }
        let settled = now - running.since > SETTLED;
        if self.several
            && settled
            && self.work.is_none()
            && now - running.level_checked > LEVEL_CHECK
        {
            running.level_checked = now;
            self.work = Some(self.ask_level());
        }
        Next::Go
    }

    /// Closes the gate and the intake; nothing of this epoch is sent or believed any more.
    fn close(&mut self) {
        self.work = None;
        if let Some(running) = self.running.take() {
            let now = self.shared.clock.now();
            let heard = running.feed.last().unwrap_or(running.since);
            self.shared.book.closed(now.utc - (now.mono - heard));
        }
        if !broken(Mutant::GateLeftOpen) {
            *lock(&self.shared.gate) = None;
        }
        self.shared.intake.close();
    }
}

/// What follows an event.
enum Next {
    Go,
    Pause,
    End(Ended),
}

async fn work(work: &mut Option<Work>) -> Result<Done, Error> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

async fn prepare(shared: Arc<Shared>, wire: Arc<dyn Wire>) -> Result<Done, Error> {
    wire.unsubscribe().await?;
    let seen = resolve(wire.as_ref(), &shared.config).await?;
    let mut resolution = seen.clone();
    identity::judge(&shared.config, &mut lock(&shared.known), &mut resolution);
    let feed = Feed::new(Arc::clone(&shared), &resolution.found);
    let terms = subscribe(wire.as_ref(), &feed, &mut resolution).await?;
    shared.set_state(LinkState::Subscribed);
    let made = shared.clock.mono();
    let first = async {
        while feed.last().is_none_or(|heard| heard < made) {
            feed.heard.notified().await;
        }
    };
    if timeout(FIRST_DATA_MAX + terms.keep_alive, first).await.is_err() {
        return Err(Error::new(StatusCode::BadTimeout, "the subscription does not deliver"));
    }
    let (mut owned, mut ungranted) = (None, None);
    if resolution.may_write()
        && let Some(blocks) = Blocks::of(&shared.config, &resolution)
    {
        match blocks.acquire(&shared, wire.as_ref()).await {
            Ok(grant) => owned = Some(Owned { blocks, grant }),
            Err(what) => {
                let node = "owner".to_owned();
                resolution.problems.push(Problem { node, stops_writes: true, what });
                ungranted = Some(blocks);
            }
        }
    }
    Ok(Done::Prepared(Box::new(Prepared { feed, terms, seen, resolution, owned, ungranted })))
}

/// Closes the session, so that the PLC need not wait for it to run out.
pub(super) async fn goodbye(wire: &dyn Wire, mut news: NewsStream, owned: Option<Owned>) {
    wire.give_up();
    if let Some(owned) = owned {
        // The stream carries the answer.
        tokio::select! {
            biased;
            () = async { while news.next().await.is_some() {} } => return,
            () = owned.release(wire) => {}
        }
    }
    let drained = async {
        while let Some(event) = news.next().await {
            if matches!(event, News::Ended(_)) {
                break;
            }
        }
    };
    let closed = async {
        tokio::select! {
            biased;
            () = drained => {}
            result = wire.close() => if let Err(error) = result {
                warn!(%error, "The PLC session could not be closed; it runs out by itself.");
            },
        }
    };
    if timeout(CLOSE_MAX, closed).await.is_err() {
        warn!("The PLC did not answer our goodbye; its session runs out by itself.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who we are is not tried twice, certificates wait for a person, the rest is tried again.
    #[test]
    fn verdicts_follow_the_status() {
        for (status, expect) in [
            (StatusCode::BadIdentityTokenRejected, "refused"),
            (StatusCode::BadUserAccessDenied, "refused"),
            (StatusCode::BadCertificateUntrusted, "blocked"),
            (StatusCode::BadSecurityChecksFailed, "blocked"),
            (StatusCode::BadCommunicationError, "lost"),
            (StatusCode::BadTimeout, "lost"),
        ] {
            let got = match verdict("x", status) {
                Ended::Stopped => "stopped",
                Ended::Refused(_) => "refused",
                Ended::Blocked(_) => "blocked",
                Ended::Lost(_) | Ended::Weak(_) => "lost",
            };
            assert_eq!(got, expect, "{status}");
        }
    }
}
