//! A TCP proxy that cuts and freezes.

#![allow(dead_code, reason = "each test binary uses a part; `expect` fails in one that uses all")]
#![allow(clippy::unwrap_used, reason = "a test ends where its assumptions do")]

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Forwards to a server, until told to cut or to freeze.
pub struct Proxy {
    pub port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
    frozen: Arc<AtomicBool>,
    shut: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let frozen = Arc::new(AtomicBool::new(false));
        let shut = Arc::new(AtomicBool::new(false));
        let proxy = Self {
            port,
            open: Arc::clone(&open),
            frozen: Arc::clone(&frozen),
            shut: Arc::clone(&shut),
        };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let pairs = [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server.try_clone().unwrap(), client.try_clone().unwrap()),
                ];
                open.lock().unwrap().extend([client, server]);
                for (from, into) in pairs {
                    let frozen = Arc::clone(&frozen);
                    std::thread::spawn(move || forward(from, into, &frozen));
                }
            }
        });
        proxy
    }

    /// Breaks every connection; new ones are taken.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // The other end may be gone already.
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Breaks every connection and takes none, until told otherwise.
    pub fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::SeqCst);
        self.cut();
    }

    /// Swallows everything, connections stay open.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }
}

fn forward(mut from: TcpStream, mut into: TcpStream, frozen: &AtomicBool) {
    use std::io::{Read, Write};
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !frozen.load(Ordering::SeqCst) && into.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    into.shutdown(Shutdown::Both).ok();
}
