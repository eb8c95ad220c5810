//! Our own TCP connector: `TCP_NODELAY` and a deadline.
//!
//! async-opcua 0.19.0 sets neither. Without no-delay, Nagle's algorithm and the peer's delayed
//! acknowledgement add about 40 ms to a write (measured, `opcua.md`). Test `socket_has_no_delay`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opcua::client::ConnectionSource;
use opcua::client::transport::{
    Connector, ConnectorBuilder, RequestRecv, SecureChannelState, StreamConnection,
    StreamConnector, StreamTransport, TransportConfiguration,
};
use opcua::core::comms::tcp_codec::TcpCodec;
use opcua::core::comms::url::{hostname_port_from_url, is_opc_ua_binary_url};
use opcua::types::{DecodingOptions, EndpointDescription, Error, StatusCode};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

use super::PlcError;

/// Deadline of the TCP connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// Deadline of connection and hello together: a port that accepts and then says nothing.
const HELLO_MAX: Duration = Duration::from_secs(4);
const PORT_DEFAULT: u16 = 4840;

/// Where the server is. Clones share what was learned about the socket.
#[derive(Clone, Debug)]
pub(super) struct Target {
    url: String,
    host: String,
    port: u16,
    no_delay: Arc<AtomicBool>,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, PlcError> {
        let parts = hostname_port_from_url(url, PORT_DEFAULT);
        match parts {
            Ok((host, port)) if is_opc_ua_binary_url(url) => {
                Ok(Self { url: url.to_owned(), host, port, no_delay: Arc::default() })
            }
            _ => Err(PlcError::Url(url.to_owned())),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Whether the last socket sends without delay, as the operating system answered.
    pub(super) fn no_delay(&self) -> bool {
        self.no_delay.load(Ordering::Relaxed)
    }
}

/// Connects with `TCP_NODELAY` within two seconds; tries every address of the host.
///
/// # Errors
/// The last address's error, or `TimedOut`.
pub async fn connect_tcp(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let attempt = async {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in tokio::net::lookup_host((host, port)).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    timeout(CONNECT_MAX, attempt).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

type Halves = StreamConnection<ReadHalf<TcpStream>, WriteHalf<TcpStream>>;

async fn open(target: Target, options: DecodingOptions) -> Result<Halves, Error> {
    let stream = connect_tcp(&target.host, target.port).await.map_err(|error| {
        Error::new(StatusCode::BadCommunicationError, format!("no connection: {error}"))
    })?;
    target.no_delay.store(stream.nodelay().unwrap_or(false), Ordering::Relaxed);
    let (reader, writer) = tokio::io::split(stream);
    Ok(StreamConnection::new(FramedRead::new(reader, TcpCodec::new(options)), writer, target.url))
}

impl Connector for Target {
    type Transport = StreamTransport<ReadHalf<TcpStream>, WriteHalf<TcpStream>>;

    async fn connect(
        &self,
        channel: Arc<SecureChannelState>,
        outgoing: RequestRecv,
        config: TransportConfiguration,
    ) -> Result<Self::Transport, Error> {
        let stream = StreamConnector::new(
            |_url: String, options: DecodingOptions| open(self.clone(), options),
            self.url.clone(),
        );
        timeout(HELLO_MAX, stream.connect(channel, outgoing, config)).await.unwrap_or_else(|_| {
            Err(Error::new(StatusCode::BadTimeout, "the server accepts but does not answer"))
        })
    }

    fn default_endpoint(&self) -> EndpointDescription {
        EndpointDescription::from(self.url.as_str())
    }
}

impl ConnectionSource for Target {
    type Builder = Self;

    fn get_connector(&self, _endpoint: &EndpointDescription) -> Result<Self, Error> {
        Ok(self.clone())
    }
}

// `Target` builds itself by the library's blanket implementation for connectors.
const _: fn(Target) -> Result<Target, Error> = <Target as ConnectorBuilder>::build;

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses that are none are refused before anything is tried.
    #[test]
    fn urls_are_checked() {
        assert!(Target::parse("opc.tcp://127.0.0.1:4855").is_ok());
        assert_eq!(Target::parse("opc.tcp://plc/x").map(|t| t.port).ok(), Some(PORT_DEFAULT));
        for bad in ["http://plc:4840", "plc:4840", ""] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    /// Regression: the library leaves Nagle's algorithm on.
    #[tokio::test]
    async fn socket_has_no_delay() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(connect_tcp("127.0.0.1", port).await.unwrap().nodelay().unwrap());
    }
}
