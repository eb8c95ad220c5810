//! The link's side of the seam: sessions with the simulated server.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use opcua::types::{
    BrowseDescription, BrowsePath, BrowsePathResult, BrowseResult, DataValue, Error,
    MonitoredItemCreateRequest, MonitoredItemCreateResult, ReadValueId, StatusCode,
    TimestampsToReturn, WriteValue,
};
use tokio::time::{sleep, timeout};

use super::faults::Fault;
use super::world::{Hub, Phase, Reply, Request};
use crate::plc::subscribe::Feed;
use crate::plc::wire::{Answer, Ask, Dial, Ended, News, Opened, Terms, Wire};

/// As the library behind the real seam.
const REQUEST_MAX: Duration = Duration::from_secs(3);

/// Lets virtual time pass [ms]; nobody waits for it.
pub(super) async fn pass(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

/// Opens sessions for one life of the service.
pub(super) struct SimDial(pub(super) Hub);

impl Dial for SimDial {
    fn addresses(&self) -> usize {
        self.0.lock().kit.addresses()
    }

    fn open(&self, at: usize) -> Pin<Box<dyn Future<Output = Result<Opened, Ended>> + Send + '_>> {
        Box::pin(async move {
            let (pause, outcome) = {
                let mut world = self.0.lock();
                let pause = world.rng.range(1, 20);
                world.attempt();
                let outcome = if world.active(Fault::Blocked) {
                    Err(Ended::Blocked("not the endpoint we know".to_owned()))
                } else if world.unreachable(at) {
                    Err(Ended::Lost("no answer to the question for endpoints".to_owned()))
                } else {
                    Ok(())
                };
                (if world.active(Fault::Partition) { 1000 } else { pause }, outcome)
            };
            sleep(Duration::from_millis(pause)).await;
            outcome?;
            let (conn, application_uri) = self.0.lock().open(at);
            let wire: Arc<dyn Wire> = Arc::new(SimWire { hub: self.0.clone(), conn });
            let news = SimNews { hub: self.0.clone(), conn };
            Ok(Opened { wire, news: Box::pin(news), application_uri })
        })
    }

    fn trusts(&self, _at: usize) -> Result<(), String> {
        if self.0.lock().active(Fault::Blocked) {
            return Err("it is no longer trusted".to_owned());
        }
        Ok(())
    }

    fn no_delay(&self, _at: usize) -> bool {
        true
    }
}

struct SimNews {
    hub: Hub,
    conn: usize,
}

impl Stream for SimNews {
    type Item = News;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<News>> {
        let mut world = self.hub.lock();
        if let Some(news) = world.news(self.conn) {
            return Poll::Ready(Some(news));
        }
        let conn = &mut world.conns[self.conn];
        match conn.phase {
            Phase::Over => return Poll::Ready(None),
            Phase::Idle if conn.gave_up => {
                conn.phase = Phase::Over;
                return Poll::Ready(Some(News::Ended(StatusCode::BadNotConnected)));
            }
            Phase::Idle => world.connect(self.conn),
            Phase::Connecting | Phase::Up => {}
        }
        world.conns[self.conn].waker = Some(context.waker().clone());
        Poll::Pending
    }
}

struct SimWire {
    hub: Hub,
    conn: usize,
}

impl SimWire {
    async fn call(&self, request: Request) -> Result<Reply, Error> {
        let error = |status| Error::new(status, "simulated");
        let answer = self.hub.lock().call(self.conn, request).map_err(error)?;
        match timeout(REQUEST_MAX, answer).await {
            Ok(Ok(answer)) => answer.map_err(error),
            Ok(Err(_)) => Err(error(StatusCode::BadConnectionClosed)),
            Err(_) => Err(error(StatusCode::BadTimeout)),
        }
    }
}

impl Drop for SimWire {
    fn drop(&mut self) {
        self.hub.lock().hang_up(self.conn);
    }
}

fn odd<T>() -> Result<T, Error> {
    Err(Error::new(StatusCode::BadUnknownResponse, "simulated"))
}

impl Wire for SimWire {
    fn read<'a>(
        &'a self,
        nodes: &'a [ReadValueId],
        _stamps: TimestampsToReturn,
    ) -> Answer<'a, Vec<DataValue>> {
        Box::pin(async {
            match self.call(Request::Read(nodes.to_vec())).await? {
                Reply::Values(values) => Ok(values),
                _ => odd(),
            }
        })
    }

    fn write<'a>(&'a self, values: &'a [WriteValue]) -> Answer<'a, Vec<StatusCode>> {
        Box::pin(async {
            match self.call(Request::Write(values.to_vec())).await? {
                Reply::Statuses(statuses) => Ok(statuses),
                _ => odd(),
            }
        })
    }

    fn translate<'a>(&'a self, paths: &'a [BrowsePath]) -> Answer<'a, Vec<BrowsePathResult>> {
        Box::pin(async {
            match self.call(Request::Translate(paths.len())).await? {
                Reply::Paths(paths) => Ok(paths),
                _ => odd(),
            }
        })
    }

    fn browse<'a>(
        &'a self,
        _nodes: &'a [BrowseDescription],
        _most: u32,
    ) -> Answer<'a, Vec<BrowseResult>> {
        // All types of the simulated server are built in.
        Box::pin(async { odd() })
    }

    fn subscribe(&self, ask: Ask, feed: Arc<Feed>) -> Answer<'_, Terms> {
        Box::pin(async move {
            match self.call(Request::Subscribe(ask)).await? {
                Reply::Terms(terms) => {
                    self.hub.lock().conns[self.conn].feeds.insert(terms.id, feed);
                    Ok(terms)
                }
                _ => odd(),
            }
        })
    }

    fn monitor(
        &self,
        subscription: u32,
        items: Vec<MonitoredItemCreateRequest>,
    ) -> Answer<'_, Vec<MonitoredItemCreateResult>> {
        Box::pin(async move {
            match self.call(Request::Monitor(subscription, items)).await? {
                Reply::Items(items) => Ok(items),
                _ => odd(),
            }
        })
    }

    fn unsubscribe(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let old: Vec<u32> = self.hub.lock().conns[self.conn].feeds.keys().copied().collect();
            if !old.is_empty() {
                self.call(Request::Unsubscribe(old)).await?;
                let feeds = std::mem::take(&mut self.hub.lock().conns[self.conn].feeds);
                drop(feeds);
            }
            Ok(())
        })
    }

    fn ask_for_data(&self) {
        self.hub.lock().conns[self.conn].asking = true;
    }

    fn give_up(&self) {
        self.hub.lock().conns[self.conn].gave_up = true;
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async {
            self.call(Request::Close).await?;
            self.hub.lock().closed(self.conn);
            Ok(())
        })
    }
}
