//! A proxy before a real server, that fails as real ones do. A test says what happens to the
//! n-th write; everything else goes through.
#![allow(dead_code, reason = "each test binary uses a part")]
#![expect(clippy::panic, reason = "a failed expectation about the proxy fails its test")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::read::GzDecoder;

/// What happens to a request.
pub enum Fault {
    /// It goes through.
    None,
    /// The server never sees it: status, more header lines (each with its line end), body.
    Answer(u16, String, String),
    /// These lines go through instead, then this answer: a server that stores what is good.
    Partial(String, u16, String),
    /// The connection breaks before the server sees it.
    ResetBefore,
    /// The server commits, the answer is lost.
    ResetAfter,
    /// The server commits, the answer stops in its middle.
    SlowBody,
    /// Taken, and never answered: a half-open connection.
    Silence,
}

/// Says what happens: number of the write from 1, and its lines.
pub type Script = Box<dyn FnMut(usize, &str) -> Fault + Send>;

struct Shared {
    /// Behind it; 0 for none.
    server: u16,
    script: Mutex<(usize, Script)>,
    seen: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// A running proxy.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Before the server on this port; 0: it answers by itself, 204 where the script says none.
    pub fn start(server: u16, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("proxy: {e}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let shared = Arc::new(Shared {
            server,
            script: Mutex::new((0, script)),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_thread.stop.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || serve(stream, &shared).unwrap_or_default());
            }
        });
        Self { port, shared, thread: Some(thread) }
    }

    /// Bodies of all writes so far, unpacked.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

struct Request {
    line: String,
    /// As they came, with their line ends.
    headers: Vec<String>,
    body: Vec<u8>,
}

fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        let small = header.to_ascii_lowercase();
        if let Some(value) = small.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        headers.push(header);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { line, headers, body }))
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut client = stream;
    while let Some(request) = read_request(&mut reader)? {
        let fault =
            if request.line.contains("write") { fault(&request, shared) } else { Fault::None };
        match fault {
            Fault::None => {
                let answer = pass(&request, None, shared)?;
                client.write_all(&answer)?;
            }
            Fault::Answer(status, headers, body) => {
                client.write_all(&answer(status, &headers, &body))?;
            }
            Fault::Partial(lines, status, body) => {
                if !lines.is_empty() {
                    pass(&request, Some(lines), shared)?;
                }
                client.write_all(&answer(status, "", &body))?;
            }
            Fault::ResetBefore => return reset(&client),
            Fault::ResetAfter => {
                pass(&request, None, shared)?;
                return reset(&client);
            }
            Fault::SlowBody => {
                pass(&request, None, shared)?;
                client.write_all(b"HTTP/1.1 500 Slow\r\nContent-Length: 1000\r\n\r\n{\"err")?;
                return wait_for_end(&mut reader);
            }
            Fault::Silence => return wait_for_end(&mut reader),
        }
    }
    Ok(())
}

/// The client gives up first.
fn wait_for_end(reader: &mut BufReader<TcpStream>) -> io::Result<()> {
    reader.get_ref().set_read_timeout(Some(Duration::from_secs(30)))?;
    reader.read(&mut [0; 16]).map(|_| ())
}

/// Ends without an answer; with unread bytes or not, the client sees a broken connection.
fn reset(client: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(client).set_linger(Some(Duration::ZERO))?;
    client.shutdown(Shutdown::Both)
}

fn fault(request: &Request, shared: &Shared) -> Fault {
    let mut lines = String::new();
    if GzDecoder::new(&request.body[..]).read_to_string(&mut lines).is_err() {
        lines = String::from_utf8_lossy(&request.body).into_owned();
    }
    let mut script = shared.script.lock().unwrap_or_else(PoisonError::into_inner);
    script.0 += 1;
    let number = script.0;
    let fault = (script.1)(number, &lines);
    shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(lines);
    fault
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} Fault\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// Hands a request to the server behind, with other lines if given; its whole answer.
fn pass(request: &Request, lines: Option<String>, shared: &Shared) -> io::Result<Vec<u8>> {
    if shared.server == 0 {
        return Ok(answer(204, "", ""));
    }
    let mut server = TcpStream::connect(("127.0.0.1", shared.server))?;
    let plain = lines.is_some();
    let body = lines.map_or_else(|| request.body.clone(), String::into_bytes);
    let mut head = request.line.clone();
    for header in &request.headers {
        let name = header.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let replaced = ["content-length", "connection"].contains(&name.as_str());
        if !(replaced || plain && name == "content-encoding") {
            head.push_str(header);
        }
    }
    head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()));
    server.write_all(head.as_bytes())?;
    server.write_all(&body)?;
    let mut whole = Vec::new();
    server.read_to_end(&mut whole)?;
    Ok(whole)
}
