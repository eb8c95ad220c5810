//! One life of the OPC UA server: from bind to close. The cell outlives it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use opcua::server::{ServerBuilder, ServerHandle};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::address::{CellNodes, cell_nodes, publish};
use crate::nodes::{Batch, NodeValue, label_values, values};
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

/// A running server.
pub(crate) struct Link {
    handle: ServerHandle,
    nodes: Arc<CellNodes>,
    task: JoinHandle<std::result::Result<(), String>>,
    port: u16,
}

impl Link {
    /// Binds `port` (0 for any) on the loopback interface and serves the cell.
    pub(crate) fn open(shared: &Arc<Shared>, port: u16) -> Result<Self> {
        let listener = listen(port).map_err(|source| Error::Bind { port, source })?;
        let port = listener.local_addr().map_err(|source| Error::Bind { port, source })?.port();
        // No certificates are made or read, but the library wants a directory to look into.
        let pki = std::env::temp_dir().join("trimloop-simulator-pki");
        let mut builder = ServerBuilder::new_anonymous("trimloop simulator")
            .application_uri("urn:trimloop:simulator:server")
            .product_uri("urn:trimloop:simulator:server")
            .create_sample_keypair(false)
            .pki_dir(pki)
            .host("127.0.0.1")
            .port(port)
            .subscription_poll_interval_ms(2)
            .max_array_length(ARRAY_LENGTH_MAX)
            .max_message_size(MESSAGE_BYTES_MAX)
            .max_chunk_count(CHUNKS_MAX)
            .with_node_manager(cell_nodes(Arc::clone(shared)));
        let limits = &mut builder.limits_mut().subscriptions;
        limits.min_publishing_interval_ms = 1.0;
        limits.min_sampling_interval_ms = 0.0;
        limits.max_queued_notifications = 1000;
        limits.max_monitored_item_queue_size = 1000;
        let (server, handle) = builder.build().map_err(Error::Server)?;
        let nodes = handle
            .node_managers()
            .get_of_type::<CellNodes>()
            .ok_or_else(|| Error::Server("the node manager is missing".to_owned()))?;
        let link = Self { handle, nodes, task: tokio::spawn(server.run_with(listener)), port };
        let cell = shared.cell();
        let mut all = values(&cell, Batch::Part);
        all.extend(label_values(cell.last_label()));
        link.publish(all, cell.clock_ms());
        drop(cell);
        Ok(link)
    }

    /// Port in use.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Pushes values in one batch. Call it with the cell locked: a write between the look at
    /// the cell and the push would be overwritten with the older value.
    pub(crate) fn publish(&self, values: Vec<NodeValue>, clock_ms: i64) {
        publish(&self.nodes, self.handle.subscriptions(), values, clock_ms);
    }

    /// Closes all connections and frees the port.
    pub(crate) async fn close(self) {
        self.handle.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(CLOSE, self.task).await.is_err() {
            abort.abort();
        }
    }
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
