//! The OPC UA library behind the seam of [`wire`](super::wire).

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use opcua::client::{
    Client, ClientBuilder, HistoryReadAction, MonitoredItemMap, OnSubscriptionNotificationCore,
    Session, SessionPollResult,
};
use opcua::types::{
    ApplicationDescription, BrowseDescription, BrowsePath, BrowsePathResult, BrowseResult,
    ByteString, DataValue, EndpointDescription, HistoryReadResult, HistoryReadValueId,
    MonitoredItemCreateRequest, MonitoredItemCreateResult, NotificationMessage,
    ReadRawModifiedDetails, ReadValueId, StatusCode, TimestampsToReturn, UserTokenType, WriteValue,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};
use trimloop_core::time::{Mono, Span};
use trimloop_recipe::plc_config::{PerCall, Security, User};

use super::changes;
use super::connector::Target;
use super::security;
use super::session::lost;
use super::subscribe::Feed;
use super::wire::{Answer, Ask, Dial, Ended, News, NewsStream, Opened, Terms, Wire};
use super::{LinkConfig, PlcError};
use crate::clock::Clock;
use crate::error::chain;
use crate::intake::lock;
use crate::notice::Notices;
use crate::pki::{Certificate, Pair, Pki};

/// Deadline of one request.
const REQUEST_MAX: Duration = Duration::from_secs(3);
/// Deadline of asking for the endpoints, connection included.
const DISCOVERY_MAX: Duration = Duration::from_secs(5);
/// Life of a session that nobody uses, on the server [ms]: what a lost one costs it.
const SESSION_LIFE_MS: u32 = 30_000;

/// Largest message [bytes]: [`TAGS_MAX`](trimloop_core::plan::TAGS_MAX) values at once.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Smallest chunk that a server may cut it into [bytes] (OPC 10000-6, 6.7.1).
const CHUNK_BYTES_LEAST: usize = 8192;

/// How long a renewed certificate that the server refused is not shown again.
const NEXT_AGAIN: Span = Span::from_secs(600);

/// The servers at the addresses of one PLC.
#[derive(Clone)]
pub(super) struct Servers(Vec<Arc<Server>>);

impl Servers {
    pub(super) fn new(
        config: &LinkConfig,
        clock: Clock,
        notices: &Notices,
    ) -> Result<Self, PlcError> {
        let urls = std::iter::once(&config.url).chain(&config.standby);
        urls.map(|url| Server::new(config, url, clock, notices.clone()).map(Arc::new))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// For looking around, without a service.
    pub(super) fn alone(config: &LinkConfig) -> Result<Self, PlcError> {
        let clock = Clock::start();
        Self::new(config, clock, &Notices::new(clock, None))
    }

    /// A session with the first that answers; otherwise what the first address said.
    pub(super) async fn first(&self) -> Result<Opened, Ended> {
        let mut said = None;
        for at in 0..self.0.len() {
            match self.open(at).await {
                Ok(opened) => return Ok(opened),
                Err(ended) => said = said.or(Some(ended)),
            }
        }
        Err(said.unwrap_or(Ended::Stopped))
    }

    /// What the servers showed last, each once.
    pub(super) fn certificates(&self) -> Vec<Certificate> {
        let mut all: Vec<Certificate> = Vec::new();
        for certificate in self.0.iter().filter_map(|server| lock(&server.showed).clone()) {
            if !all.contains(&certificate) {
                all.push(certificate);
            }
        }
        all
    }

    /// Waits until one of them shows another certificate.
    pub(super) async fn seen(&self) {
        let seen = self.0.iter().map(|server| Box::pin(server.seen.notified()));
        futures_util::future::select_all(seen).await;
    }
}

impl Dial for Servers {
    fn addresses(&self) -> usize {
        self.0.len()
    }

    fn open(&self, at: usize) -> Pin<Box<dyn Future<Output = Result<Opened, Ended>> + Send + '_>> {
        Box::pin(async move {
            let gone = || Ended::Lost("the PLC has no such address".to_owned());
            let server = self.0.get(at).ok_or_else(gone)?;
            let (session, news, application_uri) = Arc::clone(server).session().await?;
            Ok(Opened { wire: Arc::new(Joined(session)), news, application_uri })
        })
    }

    fn trusts(&self, at: usize) -> Result<(), String> {
        let Some(server) = self.0.get(at) else { return Ok(()) };
        let chosen = lock(&server.chosen).clone();
        chosen.map_or(Ok(()), |endpoint| server.judge(&endpoint))
    }

    fn no_delay(&self, at: usize) -> bool {
        self.0.get(at).is_some_and(|server| server.target.no_delay())
    }
}

/// One server: how it is asked, and what it showed.
pub(super) struct Server {
    config: LinkConfig,
    target: Target,
    pki: Pki,
    clock: Clock,
    notices: Notices,
    /// Asks for endpoints, without encryption.
    discovery: Client,
    showed: Mutex<Option<Certificate>>,
    /// The endpoint of the newest session.
    chosen: Mutex<Option<EndpointDescription>>,
    /// Told when the server showed a certificate.
    pub(super) seen: Notify,
    /// When the server refused our renewed certificate.
    next_refused: Mutex<Option<Mono>>,
}

impl Server {
    /// For looking around, without a service.
    pub(super) fn alone(config: &LinkConfig) -> Result<Arc<Self>, PlcError> {
        let clock = Clock::start();
        Self::new(config, &config.url, clock, Notices::new(clock, None)).map(Arc::new)
    }

    pub(super) fn new(
        config: &LinkConfig,
        url: &str,
        clock: Clock,
        notices: Notices,
    ) -> Result<Self, PlcError> {
        let target = Target::parse(url)?;
        let pki = Pki::new(&config.pki_dir);
        if config.security != Security::None && !pki.own().certificate.exists() {
            let made = pki.create(&application_uri(config), clock.utc()).map_err(PlcError::Pki)?;
            info!(plc = %config.name, certificate = %made, "We had no certificate and made one; the server must trust it.");
        }
        Ok(Self {
            discovery: client(config, None, 0)?,
            // It only needs to know the server.
            config: LinkConfig { nodes: Vec::new(), units: BTreeMap::new(), ..config.clone() },
            target,
            pki,
            clock,
            notices,
            showed: Mutex::default(),
            chosen: Mutex::default(),
            seen: Notify::new(),
            next_refused: Mutex::default(),
        })
    }

    /// What the server says of itself and of those it knows, and its endpoints; without a session.
    pub(super) async fn ask_around(
        &self,
    ) -> Result<(Vec<ApplicationDescription>, Vec<EndpointDescription>), Ended> {
        let endpoints = self.endpoints().await?;
        // Many PLCs leave this service out; their endpoints say who they are.
        let servers = self.discovery.find_servers(self.target.clone(), None, None);
        let servers = match timeout(DISCOVERY_MAX, Box::pin(servers)).await {
            Ok(Ok(servers)) => servers,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        Ok((servers, endpoints))
    }

    async fn endpoints(&self) -> Result<Vec<EndpointDescription>, Ended> {
        let asked = self.discovery.get_server_endpoints_from_url(self.target.clone());
        match timeout(DISCOVERY_MAX, Box::pin(asked)).await {
            Ok(Ok(endpoints)) => Ok(endpoints),
            Ok(Err(error)) => Err(lost("no answer to the question for endpoints", &error)),
            Err(_) => Err(Ended::Lost("no answer to the question for endpoints".to_owned())),
        }
    }

    /// Looks at what both sides will show, before anything secret is sent.
    fn judge(&self, endpoint: &EndpointDescription) -> Result<(), String> {
        if self.config.security == Security::None {
            return Ok(());
        }
        let own = Certificate::read(&self.pki.own().certificate)
            .map_err(|error| format!("our certificate cannot be used: {}", chain(&error)))?;
        let now = self.clock.utc();
        if let Some(why) = security::own_refusal(&own, &application_uri(&self.config), now) {
            return Err(why);
        }
        let shown = shown_by(endpoint);
        if shown.first() != lock(&self.showed).as_ref() {
            *lock(&self.showed) = shown.first().cloned();
            self.seen.notify_one();
        }
        let verdict = self.pki.judge(&shown, now);
        let why = security::refusal(&security::Facts {
            certificate: shown.first(),
            trusted: verdict.trusted,
            distrust: verdict.distrust.as_ref(),
            application_uri: endpoint.server.application_uri.as_ref(),
            host: self.target.host(),
            now,
        });
        if !verdict.trusted {
            // Issuers that were sent along, too, so that a person can trust them by fingerprint.
            for certificate in &shown {
                self.pki.put_aside(certificate).map_err(|error| chain(&error))?;
            }
        }
        if let Some(why) = why.or_else(|| security::unreadable_chain(&shown)) {
            return Err(why);
        }
        for list in verdict.chain.iter().flat_map(|chain| &chain.outdated) {
            warn!(plc = %self.config.name, list = %list.display(), "A revocation list is past its time; it still counts. Replace it with the CA's newest.");
        }
        let Some(leaf) = shown.first() else { return Ok(()) };
        self.pki.accept(leaf).map_err(|error| chain(&error))
    }

    /// The pair to show: a renewed one first, unless the server refused it a short time ago.
    fn pair(&self) -> Option<(Pair, bool)> {
        if self.config.security == Security::None {
            return None;
        }
        let next = self.pki.next();
        let refused = *lock(&self.next_refused);
        let again = refused.is_none_or(|at| self.clock.mono() - at > NEXT_AGAIN);
        let renewed = again && next.certificate.exists() && next.private_key.exists();
        Some(if renewed { (next, true) } else { (self.pki.own(), false) })
    }

    /// What became of showing the renewed certificate.
    fn renewed(&self, news: News) {
        match news {
            News::Connected => match self.pki.activate() {
                Ok(()) => {
                    let said = "The server takes our renewed certificate; it is in force now.";
                    info!(plc = %self.config.name, "{said}");
                    self.notices.tell("certificate_renewed", &self.config.name, said.to_owned());
                }
                Err(error) => {
                    warn!(plc = %self.config.name, error = chain(&error), "The renewed certificate could not be put in force.");
                }
            },
            // The server answered a moment ago, and many close the channel without a reason.
            News::Failed(status) | News::Ended(status) => {
                *lock(&self.next_refused) = Some(self.clock.mono());
                warn!(plc = %self.config.name, %status, "The server does not take our renewed certificate yet; the old one is shown meanwhile. Trust the new one on the server.");
            }
            News::Lost(_) => {}
        }
    }

    /// A session of the library that connects by itself, its news, and the server's application
    /// URI.
    pub(super) async fn session(
        self: Arc<Self>,
    ) -> Result<(Arc<Session>, NewsStream, String), Ended> {
        let endpoints = self.endpoints().await?;
        let endpoint =
            choose(&endpoints, &self.config, self.target.url()).map_err(Ended::Blocked)?;
        self.judge(&endpoint).map_err(Ended::Blocked)?;
        *lock(&self.chosen) = Some(endpoint.clone());
        let application_uri = endpoint.server.application_uri.to_string();
        let identity = security::token(&self.config.user).map_err(Ended::Blocked)?;
        let shown = self.pair();
        let client = client(&self.config, shown.as_ref().map(|(pair, _)| pair), -1)
            .map_err(|error| Ended::Blocked(chain(&error)))?;
        let (session, event_loop) = client
            .session_builder()
            .user_identity_token(identity)
            .with_connector(self.target.clone())
            .connect_to_endpoint_directly(endpoint)
            .and_then(|builder| builder.build(Arc::clone(client.certificate_store())))
            .map_err(|error| lost("no session could be prepared", &error))?;
        *session.encoding_context().write().loaders_mut() = changes::loaders();
        let mut renewed = shown.is_some_and(|(_, renewed)| renewed);
        let news = event_loop.enter().filter_map(move |event| {
            let news = match event {
                Ok(SessionPollResult::Reconnected(_)) => Some(News::Connected),
                Ok(SessionPollResult::ConnectionLost(status)) => Some(News::Lost(status)),
                Ok(SessionPollResult::ReconnectFailed(status)) => Some(News::Failed(status)),
                Ok(_) => None,
                Err(status) => Some(News::Ended(status)),
            };
            if let Some(news) = news.filter(|_| renewed) {
                self.renewed(news);
                renewed = false;
            }
            std::future::ready(news)
        });
        Ok((session, Box::pin(news), application_uri))
    }
}

/// One endpoint of a server, and what we make of it.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Security policy, without its URI.
    pub policy: String,
    /// Security mode.
    pub mode: String,
    /// What the server shows there.
    pub certificate: Option<Certificate>,
    /// The trusted issuers that vouch for it, the next one first.
    pub issuers: Vec<Certificate>,
    /// Why we would not connect; `None` when we would.
    pub refusal: Option<String>,
}

/// Asks a server for its endpoints. `pki` is the folder of certificates.
///
/// # Errors
/// A sentence, when it does not answer.
pub async fn offers(url: &str, pki: &Path, clock: Clock) -> Result<Vec<Offer>, String> {
    let config = LinkConfig {
        name: url.to_owned(),
        url: url.to_owned(),
        publishing: Duration::from_millis(100),
        security: Security::None,
        user: User::Anonymous,
        per_call: PerCall::default(),
        standby: Vec::new(),
        nodes: Vec::new(),
        units: BTreeMap::new(),
        client_name: "look".to_owned(),
        pki_dir: pki.to_owned(),
    };
    let server = Server::alone(&config).map_err(|e| chain(&e))?;
    let endpoints = server.endpoints().await.map_err(|ended| match ended {
        Ended::Stopped => "stopped".to_owned(),
        Ended::Refused(why) | Ended::Blocked(why) | Ended::Lost(why) => format!("{url}: {why}"),
        Ended::Weak(level) => format!("{url}: its service level is {level}"),
    })?;
    Ok(endpoints
        .iter()
        .map(|endpoint| {
            let shown = shown_by(endpoint);
            let policy = endpoint.security_policy_uri.as_ref();
            let verdict = server.pki.judge(&shown, clock.utc());
            let refusal = security::refusal(&security::Facts {
                certificate: shown.first(),
                trusted: verdict.trusted,
                distrust: verdict.distrust.as_ref(),
                application_uri: endpoint.server.application_uri.as_ref(),
                host: server.target.host(),
                now: clock.utc(),
            });
            let known = verdict.chain.map(|chain| chain.issuers).unwrap_or_default();
            Offer {
                policy: policy.rsplit('#').next().unwrap_or(policy).to_owned(),
                mode: format!("{:?}", endpoint.security_mode),
                refusal: refusal.or_else(|| security::unreadable_chain(&shown)),
                issuers: known,
                certificate: shown.into_iter().next(),
            }
        })
        .collect())
}

/// The server's certificate, then those that it sent along.
fn shown_by(endpoint: &EndpointDescription) -> Vec<Certificate> {
    endpoint.server_certificate.value.as_deref().map(Certificate::parse_all).unwrap_or_default()
}

/// The URI that ties our certificate to this service.
#[must_use]
pub fn application_uri_of(client_name: &str) -> String {
    format!("urn:trimloop:{client_name}")
}

fn application_uri(config: &LinkConfig) -> String {
    application_uri_of(&config.client_name)
}

fn client(config: &LinkConfig, pair: Option<&Pair>, retries: i32) -> Result<Client, PlcError> {
    let mut builder = ClientBuilder::new()
        .application_name("trimloop")
        .application_uri(application_uri(config))
        .product_uri("urn:trimloop")
        .session_name(config.client_name.clone())
        .pki_dir(Pki::new(&config.pki_dir).library_dir())
        .create_sample_keypair(false)
        .trust_server_certs(false)
        // Host, application and time are ours to check, with a reason: `security::refusal`.
        .verify_server_certs(false)
        .session_retry_limit(retries)
        // The pauses are ours, see `Backoff`.
        .session_retry_initial(Duration::from_millis(1))
        .session_retry_max(Duration::from_millis(1))
        .session_timeout(SESSION_LIFE_MS)
        .keep_alive_interval(Duration::from_secs(1))
        .max_failed_keep_alive_count(2)
        .request_timeout(REQUEST_MAX)
        .min_publish_interval(tick_of(config.publishing))
        .recreate_subscriptions(false)
        .max_array_length(100_000)
        .max_message_size(MESSAGE_BYTES_MAX)
        // Five where nothing is said: some 12,000 values that change together, and no more come.
        .max_chunk_count(MESSAGE_BYTES_MAX / CHUNK_BYTES_LEAST);
    if let Some(pair) = pair {
        builder = builder
            .certificate_path(pair.certificate.clone())
            .private_key_path(pair.private_key.clone());
    }
    builder.client().map_err(|reasons| PlcError::Client(reasons.join("; ")))
}

/// How often the library looks whether a request for data is missing. It answers each response
/// with the next request and so keeps two under way; only publishing faster than the 10 ms that it
/// takes for the way there and back needs more of them. Otherwise the look costs more than the data.
fn tick_of(publishing: Duration) -> Duration {
    if publishing < Duration::from_millis(10) {
        publishing.max(Duration::from_millis(1))
    } else {
        publishing.max(Duration::from_millis(200))
    }
}

fn choose(
    endpoints: &[EndpointDescription],
    config: &LinkConfig,
    url: &str,
) -> Result<EndpointDescription, String> {
    let (policy, mode) = security::policy(config.security);
    let uri = policy.to_uri();
    let fits =
        |e: &&EndpointDescription| e.security_mode == mode && e.security_policy_uri.as_ref() == uri;
    let mut endpoint = endpoints.iter().find(fits).cloned().ok_or_else(|| {
        let short = |e: &EndpointDescription| {
            let policy = e.security_policy_uri.as_ref();
            format!("{} {:?}", policy.rsplit('#').next().unwrap_or(policy), e.security_mode)
        };
        let offered: Vec<String> = endpoints.iter().map(short).collect();
        format!(
            "the server does not offer {policy} {mode:?}; it offers {}; correct `security` and \
             `security_mode`, or switch it on in the server",
            offered.join(", ")
        )
    })?;
    let kind = security::token_type(&config.user);
    let taken = endpoint.user_identity_tokens.as_deref();
    if taken.is_some_and(|taken| !taken.iter().any(|token| token.token_type == kind)) {
        return Err(format!(
            "the server does not take {kind:?} as identity on this endpoint; correct [plc.user]"
        ));
    }
    // Part 4, 7.37: an empty policy is that of the endpoint. The library (0.19.0) takes it for
    // None, and signs nothing.
    for token in endpoint.user_identity_tokens.iter_mut().flatten() {
        if token.token_type == UserTokenType::Certificate && token.security_policy_uri.is_empty() {
            token.security_policy_uri = endpoint.security_policy_uri.clone();
        }
    }
    // Servers behind a forwarder, or in a container, name addresses that nobody else can reach.
    endpoint.endpoint_url = url.into();
    Ok(endpoint)
}

/// A session of the library.
struct Joined(Arc<Session>);

impl Wire for Joined {
    fn read<'a>(
        &'a self,
        nodes: &'a [ReadValueId],
        stamps: TimestampsToReturn,
    ) -> Answer<'a, Vec<DataValue>> {
        Box::pin(self.0.read(nodes, stamps, 0.0))
    }

    fn write<'a>(&'a self, values: &'a [WriteValue]) -> Answer<'a, Vec<StatusCode>> {
        Box::pin(self.0.write(values))
    }

    fn translate<'a>(&'a self, paths: &'a [BrowsePath]) -> Answer<'a, Vec<BrowsePathResult>> {
        Box::pin(self.0.translate_browse_paths_to_node_ids(paths))
    }

    fn browse<'a>(
        &'a self,
        nodes: &'a [BrowseDescription],
        most: u32,
    ) -> Answer<'a, Vec<BrowseResult>> {
        Box::pin(self.0.browse(nodes, most, None))
    }

    fn browse_next<'a>(
        &'a self,
        release: bool,
        points: &'a [ByteString],
    ) -> Answer<'a, Vec<BrowseResult>> {
        Box::pin(self.0.browse_next(release, points))
    }

    fn history(
        &self,
        details: ReadRawModifiedDetails,
        nodes: Vec<HistoryReadValueId>,
        release: bool,
    ) -> Answer<'_, Vec<HistoryReadResult>> {
        let action = HistoryReadAction::ReadRawModifiedDetails(details);
        Box::pin(async move {
            self.0.history_read(action, TimestampsToReturn::Both, release, &nodes).await
        })
    }

    fn subscribe(&self, ask: Ask, feed: Arc<Feed>) -> Answer<'_, Terms> {
        let Ask { publishing, lifetime, keep_alive } = ask;
        let session = &self.0;
        Box::pin(async move {
            let callback = Callback(feed);
            let id = session
                .create_subscription(publishing, lifetime, keep_alive, 0, 0, true, callback)
                .await?;
            // The call returns the id only.
            let state = session.subscription_state().lock();
            Ok(state.get(id).map_or(
                Terms { id, publishing, keep_alive: publishing.saturating_mul(keep_alive) },
                |revised| {
                    let publishing = revised.publishing_interval();
                    let keep_alive = publishing.saturating_mul(revised.max_keep_alive_count());
                    Terms { id, publishing, keep_alive }
                },
            ))
        })
    }

    fn monitor(
        &self,
        subscription: u32,
        items: Vec<MonitoredItemCreateRequest>,
    ) -> Answer<'_, Vec<MonitoredItemCreateResult>> {
        let stamps = TimestampsToReturn::Both;
        Box::pin(async move {
            let created = self.0.create_monitored_items(subscription, stamps, items).await?;
            Ok(created.into_iter().map(|item| item.result).collect())
        })
    }

    fn unsubscribe(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let old = self.0.subscription_state().lock().subscription_ids();
            if let Some(old) = old {
                self.0.delete_subscriptions(&old).await?;
            }
            Ok(())
        })
    }

    fn ask_for_data(&self) {
        self.0.trigger_publish_now();
    }

    fn give_up(&self) {
        self.0.disable_reconnects();
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(self.0.disconnect())
    }
}

/// The callback that the session owns.
struct Callback(Arc<Feed>);

impl OnSubscriptionNotificationCore for Callback {
    fn on_subscription_notification(
        &mut self,
        message: NotificationMessage,
        _items: MonitoredItemMap<'_>,
    ) {
        self.0.notify(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimloop_recipe::plc_config::{Policy, SecurityMode};

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
            user: User::Anonymous,
            per_call: PerCall::default(),
            standby: Vec::new(),
            nodes: Vec::new(),
            units: BTreeMap::new(),
            client_name: String::new(),
            pki_dir: std::path::PathBuf::new(),
        };
        let chosen = choose(std::slice::from_ref(&plain), &config, url).unwrap();
        assert_eq!(chosen.endpoint_url.as_ref(), url);
        config.security = Security::Policy(Policy::Basic256Sha256, SecurityMode::SignAndEncrypt);
        assert!(choose(&[plain], &config, url).unwrap_err().contains("does not offer"));
    }
}
