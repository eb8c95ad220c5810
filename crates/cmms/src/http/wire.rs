//! A connection that notes when the first byte of a request leaves.
//!
//! It stands above encryption: the bytes of a handshake are not those of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};

/// Whether a byte of the newest request has left.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    pub(super) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_sent(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The usual connector, watched.
#[derive(Debug)]
pub(super) struct Watched {
    inner: DefaultConnector,
    sent: Sent,
}

impl Watched {
    pub(super) fn new(sent: Sent) -> Self {
        Self { inner: DefaultConnector::default(), sent }
    }
}

impl Connector<()> for Watched {
    type Out = Wire;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<()>,
    ) -> Result<Option<Wire>, Error> {
        let made = self.inner.connect(details, chained)?;
        Ok(made.map(|inner| Wire { inner: Box::new(inner), sent: self.sent.clone() }))
    }
}

#[derive(Debug)]
pub(super) struct Wire {
    inner: Box<dyn Transport>,
    sent: Sent,
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.sent.0.store(true, Ordering::Relaxed);
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Why nothing was sent.
pub(super) enum Kind {
    /// Nobody there, or not in time; it may be better later.
    Connection,
    /// No encryption that can be trusted; a person must mend it.
    Tls,
    /// The address or a header is none.
    Settings,
}

pub(super) fn kind(error: &Error) -> Kind {
    match error {
        Error::Tls(_) | Error::TlsRequired | Error::Rustls(_) | Error::Pem(_) => Kind::Tls,
        // The handshake runs inside reads and writes, which wrap what it finds.
        Error::Io(io) if io.get_ref().is_some_and(is_tls) => Kind::Tls,
        Error::BadUri(_) | Error::Http(_) | Error::RequireHttpsOnly(_) => Kind::Settings,
        _ => Kind::Connection,
    }
}

fn is_tls(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<rustls::Error>()
}
