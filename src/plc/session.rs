//! The one owner of connecting, reconnecting and tearing down.
//!
//! A lost connection is first tried again with the same session (Part 4: resume before rebuild,
//! so no session is leaked on the PLC); after some failures, or when the subscription does not
//! deliver, everything is made anew. Either way addresses, types and the subscription are set up
//! again from the start, and the link comes back under a new epoch.
//!
//! The library's own reconnect leaves subscriptions dead (0.19.0): nothing asks for data any
//! more. Hence `trigger_publish_now`, and a watchdog that believes only in data that came.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use opcua::client::{
    Client, ClientBuilder, IdentityToken, Session, SessionEventLoop, SessionPollResult,
};
use opcua::crypto::SecurityPolicy;
use opcua::types::{
    EndpointDescription, Error, MessageSecurityMode, NodeId, StatusCode, UserTokenType,
};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};
use trimloop_core::tag::TagId;
use trimloop_core::time::{Mono, Span};
use trimloop_core::unit::Grid;

use super::backoff::Backoff;
use super::connector::Target;
use super::handshake::{Blocks, Owned};
use super::resolve::{Resolution, resolve};
use super::subscribe::{Feed, Terms, subscribe};
use super::{
    Identity, LinkConfig, LinkState, PlcError, Problem, Purpose, Scalar, Security, Shared, count,
    stopped,
};
use crate::clock::span_of;
use crate::intake::lock;

/// A link that lived for so long starts again with short pauses.
const SETTLED: Span = Span::from_secs(5);
/// Deadline of one request.
const REQUEST_MAX: Duration = Duration::from_secs(3);
/// Deadline of asking for the endpoints, connection included.
const DISCOVERY_MAX: Duration = Duration::from_secs(5);
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
/// Pause before certificates or registers that were not as expected are looked at again.
const RECHECK: Duration = Duration::from_secs(10);
/// The first such pause for registers; it doubles up to [`RECHECK`].
const RECHECK_FIRST: Duration = Duration::from_millis(500);
/// Life of a session that nobody uses, on the server [ms]: what a lost one costs it.
const SESSION_LIFE_MS: u32 = 30_000;

/// A register that approved writes go to.
pub(super) struct Register {
    pub(super) tag: TagId,
    pub(super) id: NodeId,
    pub(super) scalar: Scalar,
    pub(super) grid: Grid,
    /// Written through a guard block.
    pub(super) guarded: bool,
}

/// One epoch: what may be written, and by which session.
pub(super) struct Live {
    pub(super) session: Arc<Session>,
    pub(super) epoch: u64,
    pub(super) feed: Arc<Feed>,
    pub(super) setpoints: BTreeMap<TagId, Register>,
    pub(super) heartbeat: Option<(NodeId, Scalar)>,
    /// Handshake blocks and our grant, where the PLC has them.
    pub(super) owned: Option<Owned>,
}

/// The library's clients: one that asks once, and one whose session resumes.
pub(super) struct Clients {
    discovery: Client,
    session: Client,
}

impl Clients {
    pub(super) fn new(config: &LinkConfig) -> Result<Self, PlcError> {
        let client = |retries| builder(config, retries).client();
        let failed = |reasons: Vec<String>| PlcError::Client(reasons.join("; "));
        Ok(Self { discovery: client(0).map_err(failed)?, session: client(-1).map_err(failed)? })
    }
}

impl Clients {
    /// For asking once.
    pub(super) fn discovery(&self) -> &Client {
        &self.discovery
    }

    /// For a session.
    pub(super) fn client(&self) -> &Client {
        &self.session
    }
}

fn builder(config: &LinkConfig, retries: i32) -> ClientBuilder {
    // Making keys takes seconds, and without encryption nobody asks for them.
    let keys = config.security != Security::None;
    ClientBuilder::new()
        .application_name("trimloop")
        .application_uri(format!("urn:trimloop:{}", config.client_name))
        .product_uri("urn:trimloop")
        .session_name(config.client_name.clone())
        .pki_dir(config.pki_dir.clone())
        .create_sample_keypair(keys)
        .trust_server_certs(false)
        .session_retry_limit(retries)
        // The pauses are ours, see `Backoff`.
        .session_retry_initial(Duration::from_millis(1))
        .session_retry_max(Duration::from_millis(1))
        .session_timeout(SESSION_LIFE_MS)
        .keep_alive_interval(Duration::from_secs(1))
        .max_failed_keep_alive_count(2)
        .request_timeout(REQUEST_MAX)
        .min_publish_interval(config.publishing.max(Duration::from_millis(1)))
        .recreate_subscriptions(false)
        .max_array_length(100_000)
        .max_message_size(16 * 1024 * 1024)
}

/// How one session ended.
enum Ended {
    Stopped,
    /// The server refuses who we are.
    Refused(String),
    /// Something that a person must set right first; looked at again after [`RECHECK`].
    Blocked(String),
    Lost(String),
}

pub(super) async fn run(shared: Arc<Shared>, clients: Clients, target: Target) {
    let plc = shared.config.name.clone();
    let mut backoff = Backoff::new(shared.clock.utc().as_nanos().unsigned_abs());
    let mut stop = shared.stop.clone();
    loop {
        shared.set_state(LinkState::Connecting);
        let ended = one(&shared, &clients, &target, &mut backoff).await;
        let pause = match ended {
            Ended::Stopped => break,
            Ended::Refused(why) => {
                error!(%plc, why, "The PLC refuses who we are; no further attempts. Correct user and password, then start again.");
                shared.set_trouble(LinkState::Refused, why);
                stopped(&mut stop).await;
                return;
            }
            Ended::Blocked(why) => {
                error!(%plc, why, "The PLC cannot be reached as configured; looked at again every 10 s.");
                shared.set_trouble(LinkState::Down, why);
                RECHECK
            }
            Ended::Lost(why) => {
                warn!(%plc, why, "The PLC link is down.");
                shared.set_trouble(LinkState::Down, why);
                backoff.next()
            }
        };
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

async fn one(
    shared: &Arc<Shared>,
    clients: &Clients,
    target: &Target,
    backoff: &mut Backoff,
) -> Ended {
    let mut stop = shared.stop.clone();
    let asked = clients.discovery.get_server_endpoints_from_url(target.clone());
    let endpoints = tokio::select! {
        () = stopped(&mut stop) => return Ended::Stopped,
        answer = timeout(DISCOVERY_MAX, Box::pin(asked)) => match answer {
            Ok(Ok(endpoints)) => endpoints,
            Ok(Err(error)) => return lost("no answer to the question for endpoints", &error),
            Err(_) => return Ended::Lost("no answer to the question for endpoints".to_owned()),
        },
    };
    let choice = choose(&endpoints, &shared.config, target.url());
    let endpoint = match choice {
        Ok(endpoint) => endpoint,
        Err(why) => return Ended::Blocked(why),
    };
    let identity = match &shared.config.identity {
        Identity::Anonymous => IdentityToken::new_anonymous(),
        Identity::User { name, password } => {
            IdentityToken::new_user_name(name.clone(), password.clone())
        }
    };
    let built = clients
        .session
        .session_builder()
        .user_identity_token(identity)
        .with_connector(target.clone())
        .connect_to_endpoint_directly(endpoint)
        .and_then(|builder| builder.build(Arc::clone(clients.session.certificate_store())));
    let (session, event_loop) = match built {
        Ok(built) => built,
        Err(error) => return lost("no session could be prepared", &error),
    };
    let driver = Driver {
        shared: Arc::clone(shared),
        target: target.clone(),
        session,
        work: None,
        running: None,
        connecting: Some(shared.clock.mono()),
        attempts: 0,
    };
    Box::pin(driver.drive(event_loop, backoff)).await
}

pub(super) fn choose(
    endpoints: &[EndpointDescription],
    config: &LinkConfig,
    url: &str,
) -> Result<EndpointDescription, String> {
    let (policy, mode) = match config.security {
        Security::None => (SecurityPolicy::None, MessageSecurityMode::None),
        Security::Basic256Sha256 => {
            (SecurityPolicy::Basic256Sha256, MessageSecurityMode::SignAndEncrypt)
        }
        Security::Aes128Sha256RsaOaep => {
            (SecurityPolicy::Aes128Sha256RsaOaep, MessageSecurityMode::SignAndEncrypt)
        }
        Security::Aes256Sha256RsaPss => {
            (SecurityPolicy::Aes256Sha256RsaPss, MessageSecurityMode::SignAndEncrypt)
        }
    };
    let uri = policy.to_uri();
    let fits =
        |e: &&EndpointDescription| e.security_mode == mode && e.security_policy_uri.as_ref() == uri;
    let mut endpoint = endpoints.iter().find(fits).cloned().ok_or_else(|| {
        let offered: Vec<&str> = endpoints.iter().map(|e| e.security_policy_uri.as_ref()).collect();
        format!("the server does not offer {uri}; it offers {}", offered.join(", "))
    })?;
    let kind = match config.identity {
        Identity::Anonymous => UserTokenType::Anonymous,
        Identity::User { .. } => UserTokenType::UserName,
    };
    let taken = endpoint.user_identity_tokens.as_deref();
    if taken.is_some_and(|taken| !taken.iter().any(|token| token.token_type == kind)) {
        return Err(format!("the server does not take {kind:?} as identity on this endpoint"));
    }
    // Servers behind a forwarder, or in a container, name addresses that nobody else can reach.
    endpoint.endpoint_url = url.into();
    Ok(endpoint)
}

fn lost(what: &str, error: &Error) -> Ended {
    verdict(what, error.status())
}

/// Whether trying again can help.
fn verdict(what: &str, status: StatusCode) -> Ended {
    let why = format!("{what} ({status})");
    match status {
        StatusCode::BadIdentityTokenInvalid
        | StatusCode::BadIdentityTokenRejected
        | StatusCode::BadUserAccessDenied
        | StatusCode::BadUserSignatureInvalid => Ended::Refused(why),
        StatusCode::BadSecurityChecksFailed
        | StatusCode::BadSecurityPolicyRejected
        | StatusCode::BadApplicationSignatureInvalid => Ended::Blocked(why),
        other if other.to_string().starts_with("BadCertificate") => Ended::Blocked(format!(
            "{why}; an unknown certificate is put aside in `rejected`: look at it, then move it to `trusted`"
        )),
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
    /// Blocks that did not grant us the cell.
    ungranted: Option<Blocks>,
}

struct Driver {
    shared: Arc<Shared>,
    target: Target,
    session: Arc<Session>,
    work: Option<Work>,
    running: Option<Running>,
    /// Since when a connection is being made; `None` while there is one.
    connecting: Option<Mono>,
    attempts: u32,
}

type Event = Option<Result<SessionPollResult, StatusCode>>;

impl Driver {
    async fn drive(mut self, event_loop: SessionEventLoop<Target>, backoff: &mut Backoff) -> Ended {
        let mut events = Box::pin(event_loop.enter());
        let mut stop = self.shared.stop.clone();
        let mut tick = interval(Duration::from_millis(100));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            let next = tokio::select! {
                () = stopped(&mut stop) => Next::End(Ended::Stopped),
                event = events.next() => self.event(event),
                done = work(&mut self.work) => self.done(done),
                _ = tick.tick() => self.watch(backoff),
            };
            match next {
                Next::Go => {}
                Next::Pause if paused(&mut stop, backoff.next()).await => break Ended::Stopped,
                Next::Pause => self.connecting = Some(self.shared.clock.mono()),
                Next::End(ended) => break ended,
            }
        };
        let owned = self.running.as_mut().and_then(|running| running.owned.take());
        self.close();
        if self.connecting.is_none() {
            goodbye(&self.session, events, owned).await;
        }
        ended
    }

    fn event(&mut self, event: Event) -> Next {
        let plc = &self.shared.config.name;
        match event {
            None => Next::End(Ended::Lost("the session ended".to_owned())),
            Some(Err(status)) => Next::End(verdict("the session ended", status)),
            Some(Ok(SessionPollResult::Reconnected(_))) => {
                info!(%plc, "Connected to the PLC; its registers are looked up.");
                self.connecting = None;
                self.attempts = 0;
                count(&self.shared.counters.connects, 1);
                lock(&self.shared.status).no_delay = self.target.no_delay();
                self.session.trigger_publish_now();
                self.prepare();
                Next::Go
            }
            Some(Ok(SessionPollResult::ConnectionLost(status))) => {
                warn!(%plc, %status, "The connection to the PLC was lost.");
                self.close();
                self.connecting = Some(self.shared.clock.mono());
                self.shared.set_trouble(LinkState::Connecting, status.to_string());
                Next::Pause
            }
            Some(Ok(SessionPollResult::ReconnectFailed(status))) => {
                self.attempts += 1;
                match verdict("no connection", status) {
                    Ended::Lost(why) if self.attempts < ATTEMPTS_MAX => {
                        self.shared.set_trouble(LinkState::Connecting, why);
                        Next::Pause
                    }
                    ended => Next::End(ended),
                }
            }
            Some(Ok(_)) => Next::Go,
        }
    }

    fn prepare(&mut self) {
        self.shared.set_state(LinkState::Resolving);
        let shared = Arc::clone(&self.shared);
        self.work = Some(Box::pin(prepare(shared, Arc::clone(&self.session))));
    }

    fn done(&mut self, done: Result<Done, Error>) -> Next {
        self.work = None;
        match done {
            Err(error) => {
                return Next::End(lost("the registers could not be set up", &error));
            }
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
        for problem in &resolution.problems {
            let (node, what) = (&problem.node, &problem.what);
            if problem.stops_writes {
                error!(plc = %config.name, node, what, "A register that is written is not as configured: nothing is written.");
            } else {
                error!(plc = %config.name, node, what, "A tag is not as configured: it is not read.");
            }
        }
        let announce = resolution.may_write();
        let now = self.shared.clock.mono();
        let mut gate = lock(&self.shared.gate);
        let epoch = feed.open(announce);
        if announce {
            *gate = Some(Arc::new(self.live(epoch, &feed, &resolution, owned.clone())));
        }
        drop(gate);
        let keep_alive = span_of(terms.keep_alive);
        self.running = Some(Running {
            silence_max: keep_alive.times(4).max(SILENCE_MIN),
            since: now,
            checked: now,
            whole: resolution.problems.is_empty(),
            ungranted,
            owned,
            owned_checked: now,
            feed,
            seen,
        });
        let mut status = lock(&self.shared.status);
        status.publishing_ms = terms.publishing.as_secs_f64() * 1e3;
        status.keep_alive_ms = terms.keep_alive.as_secs_f64() * 1e3;
        status.problems = resolution.problems;
        drop(status);
        self.shared.set_state(LinkState::Live);
        info!(
            plc = %config.name,
            epoch,
            writable = announce,
            tags = resolution.found.len(),
            publishing_ms = terms.publishing.as_secs_f64() * 1e3,
            "Data flow from the PLC."
        );
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
                    let register = Register { tag, id, scalar, grid, guarded };
                    setpoints.insert(tag, register);
                }
                (Purpose::Heartbeat, _) => heartbeat = Some((found.id.clone(), found.scalar)),
                _ => {}
            }
        }
        let (session, feed) = (Arc::clone(&self.session), Arc::clone(feed));
        Live { session, epoch, feed, setpoints, heartbeat, owned }
    }

    /// Every 100 ms: does the subscription deliver, does the connection come about, is what was
    /// wrong still wrong?
    fn watch(&mut self, backoff: &mut Backoff) -> Next {
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
        if now - heard > running.silence_max {
            return lost("the subscription went silent");
        }
        if now - running.since > SETTLED {
            backoff.reset();
        }
        // Many servers listen first and fill their address space then: look again soon, then less
        // and less often.
        let pause = (running.checked - running.since).max(span_of(RECHECK_FIRST));
        let pause = pause.min(span_of(RECHECK));
        if !running.whole && self.work.is_none() && now - running.checked > pause {
            let (session, shared) = (Arc::clone(&self.session), Arc::clone(&self.shared));
            let ungranted = running.ungranted.clone();
            self.work = Some(Box::pin(async move {
                let resolution = Box::new(resolve(&session, &shared.config).await?);
                let free = match ungranted {
                    Some(blocks) => blocks.free(&session).await,
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
            let session = Arc::clone(&self.session);
            let look = async move { Ok(Done::Owned(owned.holds(&session).await)) };
            self.work = Some(Box::pin(look));
        }
        Next::Go
    }

    /// Closes the gate and the intake; nothing of this epoch is sent or believed any more.
    fn close(&mut self) {
        self.work = None;
        self.running = None;
        *lock(&self.shared.gate) = None;
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

async fn prepare(shared: Arc<Shared>, session: Arc<Session>) -> Result<Done, Error> {
    let old = session.subscription_state().lock().subscription_ids();
    if let Some(old) = old {
        // Forgotten here, and on the server when it still knows them.
        session.delete_subscriptions(&old).await?;
    }
    let seen = resolve(&session, &shared.config).await?;
    let mut resolution = seen.clone();
    let feed = Feed::new(Arc::clone(&shared));
    let terms = subscribe(&session, &feed, &mut resolution).await?;
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
        match blocks.acquire(&shared, &session).await {
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
async fn goodbye(
    session: &Session,
    mut events: Pin<Box<impl Stream<Item = Result<SessionPollResult, StatusCode>>>>,
    owned: Option<Owned>,
) {
    session.disable_reconnects();
    if let Some(owned) = owned {
        // The stream carries the answer.
        tokio::select! {
            () = async { while let Some(Ok(_)) = events.next().await {} } => return,
            () = owned.release(session) => {}
        }
    }
    let drained = async { while let Some(Ok(_)) = events.next().await {} };
    let closed = async {
        tokio::select! {
            () = drained => {}
            result = session.disconnect() => if let Err(error) = result {
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
                Ended::Lost(_) => "lost",
            };
            assert_eq!(got, expect, "{status}");
        }
    }

    /// The endpoint is chosen by its security and reached at the configured address.
    #[test]
    fn the_endpoint_fits_the_security() {
        let plain = EndpointDescription::from("opc.tcp://inside:4840/");
        let url = "opc.tcp://outside:4841";
        let mut config = LinkConfig {
            name: String::new(),
            url: url.to_owned(),
            publishing: Duration::from_millis(10),
            security: Security::None,
            identity: Identity::Anonymous,
            items_per_call: 1000,
            nodes: Vec::new(),
            client_name: String::new(),
            pki_dir: std::path::PathBuf::new(),
        };
        let chosen = choose(std::slice::from_ref(&plain), &config, url).unwrap();
        assert_eq!(chosen.endpoint_url.as_ref(), url);
        config.security = Security::Basic256Sha256;
        assert!(choose(&[plain], &config, url).unwrap_err().contains("does not offer"));
    }
}
