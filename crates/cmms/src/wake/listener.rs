//! A small HTTP server on a thread of its own: it takes `POST`, looks at the signature, and tells.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Wake;
use crate::when::Clock;

/// Largest body [byte]: those of the products are some kilobytes.
const BODY_MAX: usize = 1024 * 1024;
/// Connections at a time; others wait.
const CONNECTIONS_MAX: usize = 16;
/// Longest time of a connection, whatever it does.
const CONNECTION: Duration = Duration::from_secs(10);
/// Pause after the system gave no connection, such as when there are no more files.
const PAUSE: Duration = Duration::from_secs(1);

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A signed webhook: look what has changed.
    Woken,
    /// One that is not signed as it must be.
    Refused {
        /// Who sent it, or the proxy before us.
        peer: SocketAddr,
        /// Why.
        why: String,
    },
}

/// Told what was heard; it must return soon.
pub type Told = Arc<dyn Fn(Heard) + Send + Sync>;

/// Hears webhooks until it is dropped.
pub struct Listener {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the address is not ours or taken, or the system gives no thread.
    pub fn start(wake: Wake, clock: Clock, told: Told) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(wake.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let of = Arc::new(Hearing { wake, clock, told });
        let thread = std::thread::Builder::new().name("wake".to_owned()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = listen(&listener, &of) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Without its other end the thread ends.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            drop(thread.join());
        }
    }
}

struct Hearing {
    wake: Wake,
    clock: Clock,
    told: Told,
}

async fn listen(listener: &TcpListener, of: &Arc<Hearing>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut talks = JoinSet::new();
    loop {
        while talks.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let of = Arc::clone(of);
                // On the runtime of this thread, which ends with the listener.
                talks.spawn(async move {
                    converse(stream, peer, of).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, of: Arc<Hearing>) {
    let answer = service_fn(move |request| {
        let of = Arc::clone(&of);
        async move { Ok::<_, Infallible>(empty(of.answer(request, peer).await)) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(CONNECTION).keep_alive(false);
    let talk = http.serve_connection(TokioIo::new(stream), answer);
    // Who is slow or breaks off has told nothing; the next poll finds out all the same.
    drop(timeout(CONNECTION, talk).await);
}

impl Hearing {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> StatusCode {
        if request.method() != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED;
        }
        let header = request.headers().get(&self.wake.header);
        let signature = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let Ok(body) = Limited::new(request.into_body(), BODY_MAX).collect().await else {
            return StatusCode::PAYLOAD_TOO_LARGE;
        };
        let now = (self.clock)();
        match self.wake.verify(signature.as_deref(), &body.to_bytes(), now) {
            Ok(()) => {
                (self.told)(Heard::Woken);
                StatusCode::NO_CONTENT
            }
            Err(why) => {
                (self.told)(Heard::Refused { peer, why });
                // Why is for our own people.
                StatusCode::UNAUTHORIZED
            }
        }
    }
}

fn empty(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::path::PathBuf;
    use std::sync::mpsc::{Receiver, sync_channel};

    use trimloop_core::time::Utc;

    use super::super::{Signs, Wake, tests::hex_of, tests::mac};
    use super::*;
    use crate::secret::SecretPlace;

    struct Rig {
        listener: Option<Listener>,
        heard: Receiver<Heard>,
        secret: PathBuf,
    }

    impl Rig {
        fn new(name: &str) -> Self {
            let file = format!("trimloop-listener-{name}-{}", std::process::id());
            let secret = std::env::temp_dir().join(file);
            std::fs::write(&secret, "s3cret\n").unwrap();
            let wake = Wake {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                header: "X-Hub-Signature-256".into(),
                signs: Signs::Body,
                secret: SecretPlace::File(secret.clone()),
            };
            let (tell, heard) = sync_channel(8);
            let told = move |heard| tell.send(heard).unwrap();
            let clock = Arc::new(|| Utc::from_millis(0));
            let listener = Listener::start(wake, clock, Arc::new(told)).unwrap();
            Self { listener: Some(listener), heard, secret }
        }

        fn connect(&self) -> TcpStream {
            TcpStream::connect(self.listener.as_ref().unwrap().address()).unwrap()
        }

        /// Status of an answer.
        fn ask(&self, method: &str, headers: &str, body: &str) -> u16 {
            let mut stream = self.connect();
            let length = body.len();
            let head =
                format!("{method} /hook HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n");
            // A server that has seen enough may close before it has read all.
            let sent = stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes());
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            let word = answer.split(' ').nth(1);
            let word = word.unwrap_or_else(|| panic!("no answer: {sent:?} {read:?} {answer:?}"));
            word.parse().unwrap()
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            drop(self.listener.take());
            drop(std::fs::remove_file(&self.secret));
        }
    }

    fn signed(body: &str) -> String {
        let mac = hex_of(&mac("s3cret", body.as_bytes()));
        format!("x-hub-signature-256: sha256={mac}\r\n")
    }

    #[test]
    fn only_a_signed_post_wakes() {
        let rig = Rig::new("signed");
        let body = "{\"id\": 1}";
        assert_eq!(rig.ask("POST", &signed(body), body), 204);
        assert_eq!(rig.heard.try_recv(), Ok(Heard::Woken));
        for (headers, why) in [
            (String::new(), "no header X-Hub-Signature-256"),
            (signed("{}"), "not made with our secret"),
        ] {
            assert_eq!(rig.ask("POST", &headers, body), 401);
            match rig.heard.try_recv() {
                Ok(Heard::Refused { peer, why: found }) => {
                    assert!(peer.ip().is_loopback() && found.contains(why), "{found}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(rig.ask("GET", &signed(""), ""), 405);
        let large = "x".repeat(BODY_MAX + 1);
        assert_eq!(rig.ask("POST", &signed(&large), &large), 413);
        assert!(rig.heard.try_recv().is_err());
    }

    /// Somebody who says nothing holds nobody up, and an end is an end.
    #[test]
    fn idle_connections_hold_nobody_up() {
        let rig = Rig::new("idle");
        let idle: Vec<TcpStream> = (1..CONNECTIONS_MAX).map(|_| rig.connect()).collect();
        assert_eq!(rig.ask("POST", &signed("{}"), "{}"), 204);
        let address = rig.listener.as_ref().unwrap().address();
        drop(rig);
        assert!(TcpStream::connect(address).is_err(), "still listening");
        drop(idle);
    }

    #[test]
    fn an_address_that_is_taken_is_an_error() {
        let rig = Rig::new("taken");
        let listen = rig.listener.as_ref().unwrap().address();
        let wake = Wake {
            listen,
            header: "x".into(),
            signs: Signs::Body,
            secret: SecretPlace::File(rig.secret.clone()),
        };
        let clock = Arc::new(|| Utc::from_millis(0));
        assert!(Listener::start(wake, clock, Arc::new(|_| ())).is_err());
    }
}
