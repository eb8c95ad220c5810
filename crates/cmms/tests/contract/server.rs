//! A server of HTTP on this machine, one request after the other.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Without its query.
    pub path: String,
    pub query: Vec<(String, String)>,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub fn asks(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What the server does with one.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers it.
    Full(u16, Vec<(String, String)>, String),
    /// Closes without a word.
    Vanish,
    /// Begins a body, and lets the client wait for the rest until it gives up.
    Stall(u16),
    /// Closes in the middle of a body.
    Cut(u16, String),
}

impl Answer {
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let kind = ("Content-Type".to_owned(), "application/json".to_owned());
        Self::Full(status, vec![kind], body.to_string())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Full(_, headers, _) = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// A running server, ended when dropped.
pub struct Server {
    pub url: String,
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(mut handler: impl FnMut(Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // One that breaks off is the client's affair.
                serve(stream, &mut handler).unwrap_or_default();
            }
        });
        Self { url: format!("http://127.0.0.1:{port}"), port, stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

/// One request and its answer over any stream.
pub fn serve<S: Read + Write>(
    mut stream: S,
    handler: &mut impl FnMut(Request) -> Answer,
) -> std::io::Result<()> {
    let Some(request) = read(&mut stream)? else { return Ok(()) };
    match handler(request) {
        Answer::Vanish => {}
        Answer::Full(status, headers, body) => {
            write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\n")?;
            for (name, value) in headers {
                write!(stream, "{name}: {value}\r\n")?;
            }
            write!(stream, "Content-Length: {}\r\n\r\n{body}", body.len())?;
            stream.flush()?;
        }
        Answer::Stall(status) => {
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 1000\r\n\r\n{{")?;
            stream.flush()?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest)?;
        }
        Answer::Cut(status, body) => {
            let promised = body.len() + 10;
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {promised}\r\n\r\n{body}")?;
            stream.flush()?;
        }
    }
    Ok(())
}

fn read<S: Read + Write>(stream: &mut S) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut block = [0; 4096];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        let count = stream.read(&mut block)?;
        if count == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&block[..count]);
        // A handshake of TLS, which servers without it answer as they can.
        if bytes.first() == Some(&0x16) {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<(String, String)> = lines.filter_map(pair).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        let count = stream.read(&mut block)?;
        if count == 0 {
            return Ok(None);
        }
        body.extend_from_slice(&block[..count]);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    });
    Ok(Some(Request {
        method,
        path: decoded(path),
        query: query.collect(),
        headers,
        body: String::from_utf8(body).unwrap_or_default(),
    }))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
