//! What lies between clients and the server: a relay that can be slow, silent or dead.
//!
//! It stands in front of the server, in the same process, and passes bytes both ways. Three faults
//! of the catalogue are made here, because no server does them to itself: answers that take long,
//! a connection that stands while nothing passes, and a subscription that says nothing while all
//! other calls are answered.
//!
//! For the last one it reads the chunks of unencrypted channels (OPC 10000-6, 6.7.2), leaves out
//! publish responses, and renumbers what follows, because clients check the sequence numbers.
//! Encrypted channels pass as they are.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::catalogue::{Fault, Faults};

/// How much longer an answer takes with [`Fault::ServerSlow`].
const SLOW: Duration = Duration::from_millis(1500);
/// Bytes taken at once.
const BUFFER: usize = 65_536;
/// Answers that may wait; then no more are taken from the server.
const WAITING_MAX: usize = 10_000;
/// Largest chunk that is waited for \[bytes]; what claims to be larger is no OPC UA.
const CHUNK_MAX: usize = 16 * 1024 * 1024;
/// Numeric id of the binary encoding of a publish response (OPC 10000-6, `NodeIds.csv`).
const PUBLISH_RESPONSE: u16 = 829;

/// How the wire behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Manner {
    half_open: bool,
    delay: Duration,
    no_publish: bool,
}

/// The wire of one simulator; it outlives the server's restarts.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    manner: watch::Sender<Manner>,
    made: AtomicU64,
    open: AtomicU64,
}

impl Wire {
    /// Behaves as the faults say, from now on.
    pub(crate) fn follow(&self, faults: Faults) {
        let manner = Manner {
            half_open: faults.has(Fault::HalfOpen),
            delay: if faults.has(Fault::ServerSlow) { SLOW } else { Duration::ZERO },
            no_publish: faults.has(Fault::PublishStalled),
        };
        self.manner.send_if_modified(|now| std::mem::replace(now, manner) != manner);
    }

    /// Connections taken since the start.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Connections that stand now.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

/// Takes connections from `listener` and passes them to `server`, until it is dropped.
pub(crate) async fn relay(listener: TcpListener, server: SocketAddr, wire: Arc<Wire>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                // A connection that broke while it was being taken is its client's matter.
                if let Ok((client, _)) = accepted {
                    wire.made.fetch_add(1, Ordering::Relaxed);
                    let standing = Standing::new(&wire);
                    connections.spawn(pass(client, server, standing));
                }
            }
        }
    }
}

/// Counts one connection for as long as it stands.
struct Standing(Arc<Wire>);

impl Standing {
    fn new(wire: &Arc<Wire>) -> Self {
        wire.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(wire))
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Passes one connection until either side ends it, or it is half-open: then both ends are held
/// and nothing passes, also no end, until the fault is over; it is dead all the same.
async fn pass(mut client: TcpStream, server: SocketAddr, standing: Standing) {
    let mut manner = standing.0.manner.subscribe();
    let mut far_end = None;
    if !manner.borrow().half_open {
        let Ok(server) = TcpStream::connect(server).await else { return };
        let server = far_end.insert(server);
        // A socket that is already broken ends at once below.
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let of_answers = manner.clone();
        tokio::select! {
            () = up(from_client, to_server) => return,
            () = down(from_server, to_client, of_answers) => return,
            gone = manner.wait_for(|m| m.half_open) => if gone.is_err() {
                return;
            }
        }
    }
    // Both ends are still in hand here; they are closed when this is over.
    manner.wait_for(|m| !m.half_open).await.ok();
}

async fn up(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn down(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut manner: watch::Receiver<Manner>) {
    let mut inbox = Vec::new();
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut channel = Channel::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let due = waiting.front().map(|(due, _)| *due);
        tokio::select! {
            biased;
            changed = manner.changed() => {
                if changed.is_err() {
                    return;
                }
                if manner.borrow().delay.is_zero() {
                    waiting.iter_mut().for_each(|(due, _)| *due = Instant::now());
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some((_, chunk)) = waiting.pop_front() else { continue };
                if to.write_all(&chunk).await.is_err() {
                    return;
                }
            }
            read = from.read(&mut buffer), if waiting.len() < WAITING_MAX => {
                let Ok(count @ 1..) = read else { return };
                inbox.extend_from_slice(&buffer[..count]);
                let Manner { delay, no_publish, .. } = *manner.borrow();
                let mut ready = Vec::new();
                while let Some(chunk) = next_chunk(&mut inbox) {
                    ready.extend(channel.pass(chunk, no_publish));
                }
                if ready.is_empty() {
                    continue;
                }
                if delay.is_zero() && waiting.is_empty() {
                    if to.write_all(&ready).await.is_err() {
                        return;
                    }
                } else {
                    waiting.push_back((Instant::now() + delay, ready));
                }
            }
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// Takes the first whole chunk out. What is no OPC UA passes as it is.
fn next_chunk(inbox: &mut Vec<u8>) -> Option<Vec<u8>> {
    let size = number(inbox, 4)? as usize;
    if !(8..=CHUNK_MAX).contains(&size) {
        return (!inbox.is_empty()).then(|| std::mem::take(inbox));
    }
    (inbox.len() >= size).then(|| inbox.drain(..size).collect())
}

/// What is known of one connection's answers.
#[derive(Debug, Default)]
struct Channel {
    /// Whether its chunks can be read: the channel is open, without encryption.
    plain: bool,
    /// Chunks left out so far.
    left_out: u32,
    /// The request whose answer is being left out.
    leaving_out: Option<u32>,
}

impl Channel {
    /// The chunk as it goes on; empty when it is left out.
    fn pass(&mut self, mut chunk: Vec<u8>, no_publish: bool) -> Vec<u8> {
        let sequence = match chunk.get(..3) {
            Some(b"OPN") => {
                let end_of_policy = after_text(&chunk, 12);
                let policy = end_of_policy.and_then(|end| chunk.get(16..end));
                self.plain = policy.is_some_and(|uri| uri.ends_with(b"#None"));
                end_of_policy
                    .and_then(|end| after_text(&chunk, end))
                    .and_then(|end| after_text(&chunk, end))
            }
            Some(b"MSG" | b"CLO") => Some(16),
            _ => None,
        };
        let Some(at) = sequence.filter(|_| self.plain) else { return chunk };
        let (Some(counted), Some(request)) = (number(&chunk, at), number(&chunk, at + 4)) else {
            return chunk;
        };
        let publish = chunk.starts_with(b"MSG")
            && chunk.get(at + 8..at + 10) == Some(&[1, 0])
            && chunk.get(at + 10..at + 12) == Some(&PUBLISH_RESPONSE.to_le_bytes());
        let goes_on = self.leaving_out == Some(request);
        if goes_on || (publish && no_publish) {
            self.leaving_out = (chunk.get(3) != Some(&b'F')).then_some(request);
            self.left_out = self.left_out.wrapping_add(1);
            return Vec::new();
        }
        let renumbered = counted.wrapping_sub(self.left_out).to_le_bytes();
        chunk[at..at + 4].copy_from_slice(&renumbered);
        chunk
    }
}

/// Where a byte string that begins at `at` ends; one of length -1 is absent.
fn after_text(chunk: &[u8], at: usize) -> Option<usize> {
    let length = number(chunk, at)?;
    let length = if length == u32::MAX { 0 } else { length as usize };
    at.checked_add(4)?.checked_add(length).filter(|end| *end <= chunk.len())
}

#[cfg(test)]
mod tests {
    use super::{Channel, PUBLISH_RESPONSE, next_chunk};

    fn open(policy: &str) -> Vec<u8> {
        let mut chunk = b"OPNF\0\0\0\0\x01\0\0\0".to_vec();
        chunk.extend(u32::try_from(policy.len()).unwrap().to_le_bytes());
        chunk.extend(policy.as_bytes());
        // No certificates.
        chunk.extend([0xFF; 8]);
        chunk.extend([1, 0, 0, 0, 7, 0, 0, 0]);
        sized(chunk)
    }

    fn sized(mut chunk: Vec<u8>) -> Vec<u8> {
        let size = u32::try_from(chunk.len()).unwrap().to_le_bytes();
        chunk[4..8].copy_from_slice(&size);
        chunk
    }

    fn message(end: u8, sequence: u32, request: u32, kind: u16) -> Vec<u8> {
        let mut chunk = vec![b'M', b'S', b'G', end, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
        chunk.extend(sequence.to_le_bytes());
        chunk.extend(request.to_le_bytes());
        chunk.extend([1, 0]);
        chunk.extend(kind.to_le_bytes());
        sized(chunk)
    }

    /// Publish responses are left out whole, and what follows is numbered without a gap.
    #[test]
    fn publish_responses_are_left_out() {
        let uri = "http://opcfoundation.org/UA/SecurityPolicy#None";
        let mut channel = Channel::default();
        assert_eq!(channel.pass(open(uri), true), open(uri));
        let rows = [
            (message(b'F', 2, 10, 634), message(b'F', 2, 10, 634)),
            (message(b'C', 3, 11, PUBLISH_RESPONSE), vec![]),
            (message(b'F', 4, 11, 634), vec![]),
            (message(b'F', 5, 12, 634), message(b'F', 3, 12, 634)),
            (message(b'F', 6, 13, PUBLISH_RESPONSE), vec![]),
        ];
        for (given, expect) in rows {
            assert_eq!(channel.pass(given, true), expect);
        }
        let publish = message(b'F', 7, 14, PUBLISH_RESPONSE);
        let renumbered = message(b'F', 4, 14, PUBLISH_RESPONSE);
        assert_eq!(channel.pass(publish, false), renumbered, "the fault is over");
    }

    /// What is encrypted cannot be read, and passes.
    #[test]
    fn encrypted_channels_pass() {
        let uri = "http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256";
        let mut channel = Channel::default();
        assert_eq!(channel.pass(open(uri), true), open(uri));
        let publish = message(b'F', 2, 10, PUBLISH_RESPONSE);
        assert_eq!(channel.pass(publish.clone(), true), publish);
    }

    /// Chunks are taken whole, however they arrive; what is no OPC UA passes.
    #[test]
    fn chunks_are_taken_whole() {
        let mut inbox = message(b'F', 2, 10, 634);
        let whole = inbox.clone();
        let rest = inbox.split_off(20);
        assert_eq!(next_chunk(&mut inbox), None);
        inbox.extend(rest);
        inbox.extend(b"MSG");
        assert_eq!(next_chunk(&mut inbox), Some(whole));
        assert_eq!((next_chunk(&mut inbox), inbox.len()), (None, 3));
        let mut other = b"GET / HTTP/1.1\r\n".to_vec();
        assert!(next_chunk(&mut other).is_some() && other.is_empty());
    }
}
