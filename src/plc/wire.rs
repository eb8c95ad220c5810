//! The seam between the link's logic and the OPC UA library: [`Dial`] makes sessions, [`Wire`] is
//! one session, [`News`] is what happens to it.
//!
//! Everything that decides (connecting, epochs, the gate, what a write's answer means) stands on
//! our side of the seam and runs unchanged against a seeded network in virtual time. [`client`] is
//! the other side for real servers.
//!
//! [`client`]: super::client

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use opcua::types::{
    BrowseDescription, BrowsePath, BrowsePathResult, BrowseResult, ByteString, DataValue, Error,
    HistoryReadResult, HistoryReadValueId, MonitoredItemCreateRequest, MonitoredItemCreateResult,
    ReadRawModifiedDetails, ReadValueId, StatusCode, TimestampsToReturn, WriteValue,
};

use super::subscribe::Feed;

/// An answer of the server, or what the library makes of none.
pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;
/// What happens to one session, until it ends.
pub(super) type NewsStream = Pin<Box<dyn Stream<Item = News> + Send>>;

/// A session that is being made, and its news.
pub(super) struct Opened {
    pub(super) wire: Arc<dyn Wire>,
    pub(super) news: NewsStream,
    /// Application URI of the server, as its endpoint says. With certificates it is that of the
    /// server's certificate.
    pub(super) application_uri: String,
}

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Logged in, for the first time or again.
    Connected,
    /// The connection is gone; the session tries again by itself.
    Lost(StatusCode),
    /// An attempt failed.
    Failed(StatusCode),
    /// It is over.
    Ended(StatusCode),
}

/// How one session ended, or why none came about.
#[derive(Debug)]
pub(super) enum Ended {
    /// We were asked to stop.
    Stopped,
    /// The server refuses who we are.
    Refused(String),
    /// Something that a person must set right first; looked at again later.
    Blocked(String),
    /// Anything that another attempt may mend.
    Lost(String),
    /// The server answers and says that it serves badly, and another address is to be tried; its
    /// level.
    Weak(u8),
}

/// A subscription as it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) publishing: Duration,
    /// Life and keep-alive in publishing intervals.
    pub(super) lifetime: u32,
    pub(super) keep_alive: u32,
}

/// A subscription as the server revised it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) id: u32,
    pub(super) publishing: Duration,
    /// Longest silence while it lives.
    pub(super) keep_alive: Duration,
}

/// Makes sessions with one PLC.
pub(super) trait Dial: Send + Sync {
    /// Addresses of the PLC, at least one.
    fn addresses(&self) -> usize;

    /// Looks for the endpoint at the address of this place and prepares a session, which then
    /// connects by itself.
    fn open(&self, at: usize) -> Pin<Box<dyn Future<Output = Result<Opened, Ended>> + Send + '_>>;

    /// Whether the endpoint that a session was prepared for may still be talked to. The session
    /// connects again by itself, and people may have withdrawn their trust meanwhile.
    ///
    /// # Errors
    /// A sentence that says why not.
    fn trusts(&self, at: usize) -> Result<(), String>;

    /// Whether the last socket to the address of this place sends without delay.
    fn no_delay(&self, at: usize) -> bool;
}

/// One session. Futures do nothing before they are polled; a request is on its way to the
/// transport after the first poll.
pub(super) trait Wire: Send + Sync {
    /// Reads attributes, from the device.
    fn read<'a>(
        &'a self,
        nodes: &'a [ReadValueId],
        stamps: TimestampsToReturn,
    ) -> Answer<'a, Vec<DataValue>>;

    /// Writes values.
    fn write<'a>(&'a self, values: &'a [WriteValue]) -> Answer<'a, Vec<StatusCode>>;

    /// Follows browse paths.
    fn translate<'a>(&'a self, paths: &'a [BrowsePath]) -> Answer<'a, Vec<BrowsePathResult>>;

    /// Follows references; at most `most` of each node.
    fn browse<'a>(
        &'a self,
        nodes: &'a [BrowseDescription],
        most: u32,
    ) -> Answer<'a, Vec<BrowseResult>>;

    /// Goes on where an answer to [`Wire::browse`] was cut; `release` gives the rest up.
    ///
    /// Only people who look around need it, so a wire that is made for the link alone may leave it.
    fn browse_next<'a>(
        &'a self,
        release: bool,
        points: &'a [ByteString],
    ) -> Answer<'a, Vec<BrowseResult>> {
        let _ = (release, points);
        Box::pin(std::future::ready(Err(Error::new(
            StatusCode::BadServiceUnsupported,
            "this wire does not go on browsing",
        ))))
    }

    /// Reads raw values out of the server's own history; `release` gives up what the continuation
    /// points hold.
    ///
    /// A wire that is made for the link alone may leave it.
    fn history(
        &self,
        details: ReadRawModifiedDetails,
        nodes: Vec<HistoryReadValueId>,
        release: bool,
    ) -> Answer<'_, Vec<HistoryReadResult>> {
        let _ = (details, nodes, release);
        Box::pin(std::future::ready(Err(Error::new(
            StatusCode::BadServiceUnsupported,
            "this wire reads no history",
        ))))
    }

    /// Makes a subscription that tells `feed`.
    fn subscribe(&self, ask: Ask, feed: Arc<Feed>) -> Answer<'_, Terms>;

    /// Adds monitored items.
    fn monitor(
        &self,
        subscription: u32,
        items: Vec<MonitoredItemCreateRequest>,
    ) -> Answer<'_, Vec<MonitoredItemCreateResult>>;

    /// Forgets all subscriptions, here and on the server when it still knows them.
    fn unsubscribe(&self) -> Answer<'_, ()>;

    /// Asks for data. The library's own reconnect leaves subscriptions dead (0.19.0): nothing asks
    /// any more.
    fn ask_for_data(&self);

    /// No more attempts to connect.
    fn give_up(&self);

    /// Closes the session on the server.
    fn close(&self) -> Answer<'_, ()>;
}
