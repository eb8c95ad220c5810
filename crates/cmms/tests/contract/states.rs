//! What each adapter makes of answers that are none.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use trimloop_cmms::{Clock, Connector, Trouble, WorkSystem, connect};
use trimloop_core::time::{Span, Utc};

use super::server::{Answer, Server, serve};
use super::world::{draft, locked};
use super::{atlas, maintainx, maximo, plain, sap};

const NOW: i64 = 1_795_876_876_000;

fn clock() -> Clock {
    Arc::new(|| Utc::from_millis(NOW))
}

/// Each adapter by name, for an address.
fn all(url: &str) -> Vec<(&'static str, Connector)> {
    vec![
        ("MaintainX", maintainx::config(url)),
        ("SAP", sap::config(url)),
        ("Maximo", maximo::config(url)),
        ("Atlas CMMS", atlas::config(url)),
        ("Plain", plain::config(url, "states", "kind = \"basic\"")),
    ]
}

fn system(config: &Connector) -> Box<dyn WorkSystem> {
    connect(config, clock()).unwrap_or_else(|error| panic!("{error}"))
}

/// What a create becomes when it is answered so. SAP's read for a token goes well.
fn created(answer: &Answer, check: impl Fn(&str, Trouble)) {
    let answer = answer.clone();
    let server = Server::start(move |request| {
        if request.header("x-csrf-token") == Some("Fetch") {
            return Answer::json(200, &json!({})).with("x-csrf-token", "t");
        }
        answer.clone()
    });
    for (name, config) in all(&server.url) {
        match system(&config).create(&draft("press-4"), "TLW-x.1") {
            Ok(id) => panic!("{name}: created {id}"),
            Err(trouble) => {
                let text = match &trouble {
                    Trouble::NotDone { why, .. } => why,
                    Trouble::Unknown(why) | Trouble::Refused(why) | Trouble::Paused(why) => why,
                };
                assert!(text.starts_with(&format!("{name}: ")), "{name}: {text}");
                assert!(!text.contains("s3cret"), "{text}");
                check(name, trouble.clone());
            }
        }
    }
}

fn is_paused(part: &'static str) -> impl Fn(&str, Trouble) {
    move |name, trouble| {
        let fits = matches!(&trouble, Trouble::Paused(why) if why.contains(part));
        assert!(fits, "{name}: {trouble:?} is not paused with {part}");
    }
}

fn is_unknown(name: &str, trouble: Trouble) {
    assert!(matches!(trouble, Trouble::Unknown(_)), "{name}: {trouble:?}");
}

fn said(status: u16, words: &str) -> Answer {
    Answer::json(status, &json!({"message": words}))
}

#[test]
fn a_wrong_secret_pauses_and_is_not_repeated() {
    created(&said(401, "the key s3cret-token is not known"), is_paused("check user and secret"));
    created(&said(401, "the key s3cret-token is not known"), is_paused("the key [secret] is not"));
    created(&said(403, "needs a licence"), is_paused("needs a licence"));
    created(&Answer::Cut(401, "{\"mess".to_owned()), is_paused("did not arrive"));
}

#[test]
fn a_wrong_address_pauses() {
    created(&said(404, "no such path"), is_paused("check the address"));
    let moved =
        Answer::Full(301, Vec::new(), String::new()).with("Location", "https://other.example/x");
    created(&moved, is_paused("https://other.example/x"));
}

#[test]
fn what_is_refused_for_what_it_says_is_dead() {
    for status in [400, 406, 409, 413, 422] {
        created(&said(status, "title: must not be blank"), |name, trouble| {
            // Maximo says so of what it has taken before.
            if (name, status) == ("Maximo", 409) {
                return is_unknown(name, trouble);
            }
            let fits = matches!(&trouble, Trouble::Refused(why)
                if why.contains("must not be blank") && why.contains(&status.to_string()));
            assert!(fits, "{name}: {trouble:?}");
        });
    }
}

#[test]
fn too_many_requests_wait_as_long_as_is_asked() {
    let wait = |answer: Answer, seconds: i64| {
        created(&answer, move |name, trouble| {
            let at = Utc::from_millis(NOW) + Span::from_secs(seconds);
            let fits =
                matches!(&trouble, Trouble::NotDone { not_before, .. } if *not_before == Some(at));
            assert!(fits, "{name}: {trouble:?} is not in {seconds} s");
        });
    };
    wait(said(429, "slow down").with("Retry-After", "30"), 30);
    wait(said(429, "slow down").with("Retry-After", "Sat, 28 Nov 2026 14:42:16 GMT"), 60);
    wait(said(429, "slow down").with("Retry-After", "86400"), 600);
    wait(said(429, "slow down"), 10);
    wait(said(503, "busy").with("Retry-After", "45"), 45);
}

/// A product that says no time may have begun; so may what a gateway stands before.
#[test]
fn after_the_first_byte_nobody_knows() {
    for status in [500, 502, 503, 504, 408] {
        created(&said(status, "oops"), is_unknown);
    }
    created(&Answer::Vanish, is_unknown);
    created(&Answer::Cut(200, "{\"id\": 1".to_owned()), is_unknown);
    created(&Answer::Full(200, Vec::new(), "<html>welcome</html>".to_owned()), is_unknown);
    created(&Answer::json(200, &json!({"something": "else"})), is_unknown);
    created(&Answer::Full(201, Vec::new(), "x".repeat(9 * 1024 * 1024)), is_unknown);
}

/// Only the time for the body is short, and the body never comes: how fast the machine is does not
/// matter.
#[test]
fn a_body_that_never_ends_is_given_up() {
    let server = Server::start(|request| {
        if request.header("x-csrf-token") == Some("Fetch") {
            return Answer::json(200, &json!({})).with("x-csrf-token", "t");
        }
        Answer::Stall(200)
    });
    for (name, mut config) in all(&server.url) {
        config.limits.body = Duration::from_millis(50);
        config.limits.answer = Duration::from_secs(600);
        // SAP's token comes with a short body, which must not be what takes too long.
        if name == "SAP" {
            continue;
        }
        let trouble = system(&config).create(&draft("press-4"), "TLW-x.1").unwrap_err();
        let fits = matches!(&trouble, Trouble::Unknown(why) if why.contains("timeout"));
        assert!(fits, "{name}: {trouble:?}");
    }
}

/// Nobody listens: surely nothing was done.
#[test]
fn without_a_connection_nothing_was_done() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (name, config) in all(&url) {
        let trouble = system(&config).create(&draft("press-4"), "TLW-x.1").unwrap_err();
        assert!(matches!(trouble, Trouble::NotDone { .. }), "{name}: {trouble:?}");
    }
}

/// A secret that is not there is a person's affair, and nothing is sent without it.
#[test]
fn without_its_secret_nothing_is_sent() {
    let server = Server::start(|request| panic!("sent {request:?}"));
    for (name, mut config) in all(&server.url) {
        config.secret = Some(trimloop_cmms::SecretPlace::File("/no/such/secret".into()));
        let trouble = system(&config).create(&draft("press-4"), "TLW-x.1").unwrap_err();
        let fits = matches!(&trouble, Trouble::Paused(why) if why.contains("/no/such/secret"));
        assert!(fits, "{name}: {trouble:?}");
    }
}

/// A page of a gateway is not an order that was deleted.
#[test]
fn a_page_of_a_gateway_is_no_deleted_order() {
    let page = "<html><h1>404 Not Found</h1></html>".to_owned();
    let server = Server::start(move |_| Answer::Full(404, Vec::new(), page.clone()));
    for (name, config) in all(&server.url) {
        let trouble = system(&config).read("4711").unwrap_err();
        assert!(matches!(trouble, Trouble::Paused(_)), "{name}: {trouble:?}");
    }
}

/// The next page of a list may not lead to another place: the secret would go there.
#[test]
fn pages_stay_at_their_place() {
    let server = Server::start(|_| {
        let next = json!({"nextPage": {"href": "http://127.0.0.1:9/maximo/api/os/mxapisr"}});
        let one = json!({"ticketid": "1", "description": "x", "status": "NEW",
            "changedate": "2026-11-28T14:41:16Z"});
        Answer::json(200, &json!({"member": [one], "responseInfo": next}))
    });
    let trouble = system(&maximo::config(&server.url)).changed(Utc::from_millis(NOW)).unwrap_err();
    let fits = matches!(&trouble, Trouble::Paused(why) if why.contains("http://127.0.0.1:9"));
    assert!(fits, "{trouble:?}");
}

/// Encryption: not there, not trusted, and trusted by the file that the settings name.
#[test]
fn encryption_is_there_and_trusted() {
    let plain = Server::start(|_| said(200, "hello"));
    let url = plain.url.replace("http:", "https:");
    for (name, config) in all(&url) {
        let trouble = system(&config).create(&draft("press-4"), "TLW-x.1").unwrap_err();
        is_paused("ca_file")(name, trouble);
    }
    let seen = Arc::new(Mutex::new(0));
    let tls = Tls::start(Arc::clone(&seen));
    for (name, config) in all(&tls.url) {
        let trouble = system(&config).check().unwrap_err();
        is_paused("certificate")(name, trouble);
    }
    assert_eq!(*locked(&seen), 0, "a request left before the certificate was judged");
    let mut config = atlas::config(&tls.url);
    config.ca_file = Some(pem("server.pem"));
    system(&config).check().unwrap();
    assert_eq!(*locked(&seen), 1);
}

fn pem(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract").join(name)
}

/// A server with a certificate of its own.
struct Tls {
    url: String,
    port: u16,
    stop: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Tls {
    fn start(seen: Arc<Mutex<u32>>) -> Self {
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let certificate = CertificateDer::from_pem_file(pem("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(pem("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(std::sync::atomic::Ordering::SeqCst) {
                    return;
                }
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream);
                let mut handler = |_: super::server::Request| {
                    *locked(&seen) += 1;
                    Answer::json(200, &json!({"content": []}))
                };
                serve(&mut stream, &mut handler).unwrap_or_default();
                stream.conn.send_close_notify();
                stream.flush().unwrap_or_default();
            }
        });
        Self { url: format!("https://127.0.0.1:{port}"), port, stop, thread: Some(thread) }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::SeqCst);
        drop(std::net::TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}
