//! One life of the OPC UA server: from bind to close. The cell outlives it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opcua::server::diagnostics::NamespaceMetadata;
use opcua::server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua::server::{ANONYMOUS_USER_TOKEN_ID, ServerBuilder, ServerEndpoint, ServerHandle};
use opcua::types::{VariableId, Variant};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::address::{CellNodes, Moment, add_strays, cell_nodes, publish};
use crate::catalogue::{Fault, Faults};
use crate::nodes::{Batch, NodeValue, label_values, values};
use crate::relay::{Wire, relay};
use crate::shared::Shared;
use crate::{Error, Result};

/// How long connections may take to close before they are dropped.
const CLOSE: Duration = Duration::from_millis(500);
/// Largest array the server takes or makes.
const ARRAY_LENGTH_MAX: usize = 100_000;
/// Largest message \[bytes].
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most chunks of a message.
const CHUNKS_MAX: usize = 512;

/// Name of the server; its certificate is bound to it.
const APPLICATION_URI: &str = "urn:trimloop:simulator:server";
/// Namespace that [`Fault::NamespacesMoved`] puts where ours was.
const STRAY_URI: &str = "urn:trimloop:simulator:other";
/// The server's certificate and key, below its folder.
const KEYS: [&str; 2] = ["own/cert.der", "private/private.pem"];
/// Faults that show in the next life of the server only.
pub(crate) const OF_A_LIFE: [Fault; 3] =
    [Fault::SessionLimit, Fault::NamespacesMoved, Fault::RegisterRetyped];

/// How the server is made.
#[derive(Clone, Default)]
pub(crate) struct Terms {
    /// The faults that are on.
    pub(crate) faults: Faults,
    /// The relay before it; `None` for a server that clients reach directly.
    pub(crate) wire: Option<Arc<Wire>>,
    /// Folder of certificates; with one, encrypted endpoints are offered too.
    pub(crate) pki: Option<PathBuf>,
    /// Most values in one read and in one write.
    pub(crate) per_call: Option<(usize, usize)>,
}

impl Terms {
    /// Throws the server's certificate away; the next life makes a new one.
    pub(crate) fn forget_certificate(&self) {
        for file in self.pki.iter().flat_map(|pki| KEYS.map(|key| pki.join(key))) {
            // What is not there need not go.
            std::fs::remove_file(file).ok();
        }
    }
}

/// A running server.
pub(crate) struct Link {
    handle: ServerHandle,
    nodes: Arc<CellNodes>,
    task: JoinHandle<std::result::Result<(), String>>,
    relay: Option<JoinHandle<()>>,
    port: u16,
}

impl Link {
    /// Binds `port` (0 for any) on the loopback interface and serves the cell.
    pub(crate) fn open(shared: &Arc<Shared>, port: u16, terms: &Terms) -> Result<Self> {
        let failed = |source| Error::Bind { port, source };
        let listener = listen(port).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        // With the relay before it the server itself listens elsewhere.
        let (listener, front) = match &terms.wire {
            Some(wire) => (listen(0).map_err(failed)?, Some((listener, wire))),
            None => (listener, None),
        };
        let behind = listener.local_addr().map_err(failed)?;
        let moved = terms.faults.has(Fault::NamespacesMoved);
        let mut builder = builder(terms, port);
        if moved {
            let other = NamespaceMetadata {
                namespace_uri: STRAY_URI.to_owned(),
                ..NamespaceMetadata::default()
            };
            builder = builder.with_node_manager(simple_node_manager(other, "other"));
        }
        let retyped = terms.faults.has(Fault::RegisterRetyped);
        let mut builder = builder.with_node_manager(cell_nodes(Arc::clone(shared), retyped));
        let limits = &mut builder.limits_mut().subscriptions;
        limits.min_publishing_interval_ms = 1.0;
        limits.min_sampling_interval_ms = 0.0;
        limits.max_queued_notifications = 1000;
        limits.max_monitored_item_queue_size = 1000;
        if let Some((read, write)) = terms.per_call {
            let limits = &mut builder.limits_mut().operational;
            (limits.max_nodes_per_read, limits.max_nodes_per_write) = (read, write);
        }
        let (server, handle) = builder.build().map_err(Error::Server)?;
        let nodes = handle
            .node_managers()
            .get_of_type::<CellNodes>()
            .ok_or_else(|| Error::Server("the node manager is missing".to_owned()))?;
        let strays = handle.node_managers().get_by_name::<SimpleNodeManager>("other");
        if let (Some(strays), Some(at)) = (strays, handle.get_namespace_index(STRAY_URI)) {
            add_strays(&strays, at, shared);
        }
        let task = tokio::spawn(server.run_with(listener));
        let relay = front.map(|(front, wire)| {
            let (handle, wire) = (handle.clone(), Arc::clone(wire));
            tokio::spawn(async move {
                // The server names the port on which it listens; clients must come by the front.
                while handle.info().port.load(Ordering::Relaxed) != behind.port() {
                    tokio::task::yield_now().await;
                }
                handle.info().port.store(port, Ordering::Relaxed);
                relay(front, behind, wire).await;
            })
        });
        let link = Self { handle, nodes, task, relay, port };
        let cell = shared.cell();
        let mut all = values(&cell, Batch::Part);
        all.extend(label_values(cell.last_label()));
        let moment = Moment { clock_ms: cell.clock_ms(), speed: 1.0, faults: terms.faults };
        link.publish(all, moment);
        drop(cell);
        Ok(link)
    }

    /// Port in use.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Pushes values in one batch. Call it with the cell locked: a write between the look at
    /// the cell and the push would be overwritten with the older value.
    pub(crate) fn publish(&self, values: Vec<NodeValue>, moment: Moment) {
        publish(&self.nodes, self.handle.subscriptions(), values, moment);
    }

    /// Sessions that the server holds.
    pub(crate) fn sessions(&self) -> u32 {
        let count =
            VariableId::Server_ServerDiagnostics_ServerDiagnosticsSummary_CurrentSessionCount;
        match self.handle.info().diagnostics.get(count).and_then(|data| data.value) {
            Some(Variant::UInt32(count)) => count,
            _ => 0,
        }
    }

    /// Closes all connections and frees the port.
    pub(crate) async fn close(self) {
        if let Some(relay) = self.relay {
            relay.abort();
        }
        self.handle.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(CLOSE, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// What is the same in every life of the server.
fn builder(terms: &Terms, port: u16) -> ServerBuilder {
    // Without encrypted endpoints no certificates are made or read, but the library wants a
    // directory to look into.
    let nowhere = || std::env::temp_dir().join("trimloop-simulator-pki");
    let mut builder = ServerBuilder::new_anonymous("trimloop simulator")
        .application_uri(APPLICATION_URI)
        .product_uri(APPLICATION_URI)
        .create_sample_keypair(terms.pki.is_some())
        .pki_dir(terms.pki.clone().unwrap_or_else(nowhere))
        .host("127.0.0.1")
        .port(port)
        .subscription_poll_interval_ms(2)
        .max_array_length(ARRAY_LENGTH_MAX)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_chunk_count(CHUNKS_MAX)
        .diagnostics_enabled(true);
    if terms.faults.has(Fault::SessionLimit) {
        builder = builder.max_sessions(0);
    }
    if terms.pki.is_none() {
        return builder;
    }
    let anyone = [ANONYMOUS_USER_TOKEN_ID.to_owned()];
    let [certificate, key] = KEYS;
    builder
        .certificate_path(certificate)
        .private_key_path(key)
        .trust_client_certs(true)
        .add_endpoint(
            "basic256sha256",
            ServerEndpoint::new_basic256sha256_sign_encrypt("/", &anyone),
        )
        .add_endpoint(
            "aes128",
            ServerEndpoint::new_aes128_sha256_rsaoaep_sign_encrypt("/", &anyone),
        )
        .add_endpoint("aes256", ServerEndpoint::new_aes256_sha256_rsapss_sign_encrypt("/", &anyone))
}

/// A listener without Nagle's delay; accepted sockets inherit that. The stack itself never sets
/// it, and Nagle with delayed acknowledgement adds some 40 ms to every answer.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // A restart on the same port must not wait for the connections of the last life.
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(64)?;
    TcpListener::from_std(socket.into())
}
