//! The OPC UA library behind the seam of [`wire`](super::wire).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use opcua::client::{
    Client, ClientBuilder, IdentityToken, MonitoredItemMap, OnSubscriptionNotificationCore,
    Session, SessionPollResult,
};
use opcua::crypto::SecurityPolicy;
use opcua::types::{
    ApplicationDescription, BrowseDescription, BrowsePath, BrowsePathResult, BrowseResult,
    ByteString, DataValue, EndpointDescription, MessageSecurityMode, MonitoredItemCreateRequest,
    MonitoredItemCreateResult, NotificationMessage, ReadValueId, StatusCode, TimestampsToReturn,
    UserTokenType, WriteValue,
};
use tokio::time::timeout;

use super::connector::Target;
use super::session::lost;
use super::subscribe::Feed;
use super::wire::{Answer, Ask, Dial, Ended, News, Opened, Terms, Wire};
use super::{Identity, LinkConfig, PlcError, Security};

/// Deadline of one request.
const REQUEST_MAX: Duration = Duration::from_secs(3);
/// Deadline of asking for the endpoints, connection included.
const DISCOVERY_MAX: Duration = Duration::from_secs(5);
/// Life of a session that nobody uses, on the server [ms]: what a lost one costs it.
const SESSION_LIFE_MS: u32 = 30_000;

/// The library's clients: one that asks once, and one whose session resumes.
pub(super) struct Server {
    discovery: Client,
    session: Client,
    config: LinkConfig,
    target: Target,
}

impl Server {
    pub(super) fn new(config: &LinkConfig) -> Result<Self, PlcError> {
        let target = Target::parse(&config.url)?;
        let client = |retries| builder(config, retries).client();
        let failed = |reasons: Vec<String>| PlcError::Client(reasons.join("; "));
        Ok(Self {
            discovery: client(0).map_err(failed)?,
            session: client(-1).map_err(failed)?,
            config: config.clone(),
            target,
        })
    }

    async fn session(&self) -> Result<Opened, Ended> {
        let asked = self.discovery.get_server_endpoints_from_url(self.target.clone());
        let endpoints = match timeout(DISCOVERY_MAX, Box::pin(asked)).await {
            Ok(Ok(endpoints)) => endpoints,
            Ok(Err(error)) => return Err(lost("no answer to the question for endpoints", &error)),
            Err(_) => {
                return Err(Ended::Lost("no answer to the question for endpoints".to_owned()));
            }
        };
        let endpoint =
            choose(&endpoints, &self.config, self.target.url()).map_err(Ended::Blocked)?;
        let identity = match &self.config.identity {
            Identity::Anonymous => IdentityToken::new_anonymous(),
            Identity::User { name, password } => {
                IdentityToken::new_user_name(name.clone(), password.clone())
            }
        };
        let (session, event_loop) = self
            .session
            .session_builder()
            .user_identity_token(identity)
            .with_connector(self.target.clone())
            .connect_to_endpoint_directly(endpoint)
            .and_then(|builder| builder.build(Arc::clone(self.session.certificate_store())))
            .map_err(|error| lost("no session could be prepared", &error))?;
        let news = event_loop.enter().filter_map(|event| async move {
            match event {
                Ok(SessionPollResult::Reconnected(_)) => Some(News::Connected),
                Ok(SessionPollResult::ConnectionLost(status)) => Some(News::Lost(status)),
                Ok(SessionPollResult::ReconnectFailed(status)) => Some(News::Failed(status)),
                Ok(_) => None,
                Err(status) => Some(News::Ended(status)),
            }
        });
        Ok((Arc::new(Joined(session)), Box::pin(news)))
    }
}

impl Server {
    /// What the server says of itself and of those it knows, and its endpoints; without a session.
    pub(super) async fn ask_around(
        &self,
    ) -> Result<(Vec<ApplicationDescription>, Vec<EndpointDescription>), Ended> {
        let endpoints = self.discovery.get_server_endpoints_from_url(self.target.clone());
        let endpoints = match timeout(DISCOVERY_MAX, Box::pin(endpoints)).await {
            Ok(Ok(endpoints)) => endpoints,
            Ok(Err(error)) => return Err(lost("no answer to the question for endpoints", &error)),
            Err(_) => {
                return Err(Ended::Lost("no answer to the question for endpoints".to_owned()));
            }
        };
        // Many PLCs leave this service out; their endpoints say who they are.
        let servers = self.discovery.find_servers(self.target.clone(), None, None);
        let servers = match timeout(DISCOVERY_MAX, Box::pin(servers)).await {
            Ok(Ok(servers)) => servers,
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        Ok((servers, endpoints))
    }
}

impl Dial for Server {
    fn open(&self) -> Pin<Box<dyn Future<Output = Result<Opened, Ended>> + Send + '_>> {
        Box::pin(self.session())
    }

    fn no_delay(&self) -> bool {
        self.target.no_delay()
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

fn choose(
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
            units: std::collections::BTreeMap::new(),
            client_name: String::new(),
            pki_dir: std::path::PathBuf::new(),
        };
        let chosen = choose(std::slice::from_ref(&plain), &config, url).unwrap();
        assert_eq!(chosen.endpoint_url.as_ref(), url);
        config.security = Security::Basic256Sha256;
        assert!(choose(&[plain], &config, url).unwrap_err().contains("does not offer"));
    }
}
