//! Notices on their way: mail against a server that is not ours (aiosmtpd, from PyPI), events against
//! a server of HTTP that checks their signature, lines in a file.
//!
//! Where Python or its registry is missing the test of mail is skipped by name, unless
//! `TRIMLOOP_REQUIRE_FOREIGN=1`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]
#![allow(clippy::pedantic, reason = "the tests of the service have fewer lints")]
#![allow(unreachable_pub, reason = "modules of a test are reached by that test")]

#[path = "../../../tests/support/foreign.rs"]
#[allow(clippy::pedantic, reason = "the tests of the service have fewer lints")]
mod foreign;
#[path = "contract/server.rs"]
#[allow(dead_code, reason = "each test binary uses a part")]
mod server;

use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use trimloop_cmms::{
    Courier as _, Mail, MailSecurity, NoticeFile, SecretPlace, Sender, TimeLimits, Trouble,
    Webhook, trial,
};
use trimloop_core::time::Utc;
use trimloop_work::key::{ExtKey, Subject};
use trimloop_work::notify::{Digest, Line, Notice, OrderLine, Section};

use foreign::{Skip, new_scratch, or_skip, python_with};
use server::{Answer, Request, Server};

/// 2026-11-28T14:41:16Z.
const NOW: i64 = 1_795_876_876_000;

fn now() -> Utc {
    Utc::from_millis(NOW)
}

fn sender() -> Sender {
    Sender {
        cell: "press-4".into(),
        when: |at| format!("t+{}", (at.as_nanos() / 1_000_000 - NOW) / 1000),
    }
}

fn notice(seen: &str) -> Notice {
    let subject = Subject {
        site: "north".into(),
        cell: "press-4".into(),
        asset: "press-4".into(),
        mode: "check_ring_worn".into(),
        component: "check_ring".into(),
    };
    Notice {
        id: "0123456789abcdef".into(),
        channel: "shift".into(),
        at: now(),
        lines: vec![Line {
            alarm: subject.fingerprint(),
            name: subject.name(),
            priority: 1,
            began: Some(Utc::from_millis(NOW - 30_000)),
            ended: None,
            times: 2,
            chatters: false,
            from: Some("desk".into()),
            seen: seen.into(),
        }],
        more: 37,
        more_ended: 0,
        digest: None,
    }
}

/// Work orders, in a system of its own.
fn orders() -> Notice {
    let of_alarms = notice("");
    let fingerprint = of_alarms.lines[0].alarm;
    let line = OrderLine {
        key: ExtKey { fingerprint, generation: 2 },
        section: Section::Open,
        name: of_alarms.lines[0].name.clone(),
        asset: "press-4".into(),
        fault: "check_ring_worn".into(),
        priority: 1,
        opened: Utc::from_millis(NOW - 3 * 3_600_000),
        is_new: true,
        active: true,
        state: "in_progress".into(),
        assignee: Some("Jürgen".into()),
        number: Some("10004711".into()),
        after: None,
        refused: None,
    };
    let since = Utc::from_millis(NOW - 8 * 3_600_000);
    let digest = Digest::new(since, Some("SAP".into()), vec![line]);
    Notice { lines: Vec::new(), more: 0, digest, ..of_alarms }
}

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract").join(name)
}

/// A running mail server, ended when dropped.
struct MailServer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
    folder: PathBuf,
}

impl MailServer {
    fn start() -> Result<Self, Skip> {
        let python = python_with("smtp", "requirements-smtp.txt")?;
        let folder = new_scratch();
        std::fs::create_dir_all(&folder).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/smtp_server.py");
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut child = Command::new(python)
            .arg(program)
            .args([pem("server.pem"), pem("server.key")])
            .arg("s3cret-ours")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let ready: Value = serde_json::from_str(&first).unwrap_or_else(|error| {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            panic!("the mail server did not start: {error}: {first}\n{log}")
        });
        let port = ready["port"].as_u64().unwrap().try_into().unwrap();
        Ok(Self { child, lines, port, folder })
    }

    fn mail(&self, secret: &str, to: &[&str]) -> Mail {
        let file = self.folder.join("secret");
        std::fs::write(&file, secret).unwrap();
        Mail {
            host: "127.0.0.1".into(),
            port: self.port,
            security: MailSecurity::StartTls,
            ca_file: Some(pem("server.pem")),
            login: Some(("trimloop".into(), SecretPlace::File(file))),
            from: "trimloop <trimloop@plant.example>".into(),
            recipients: to.iter().map(|to| (*to).to_owned()).collect(),
        }
    }

    fn took(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

fn send(mail: &Mail, notice: &Notice) -> Result<(), Trouble> {
    mail.deliver(notice, &sender(), now())
}

/// Encrypted, signed in, to all; the same Message-ID for the same notice; and each way in which a
/// server says no is told apart, without the password.
#[test]
fn mail_arrives_at_a_foreign_server() {
    let name = "mail_arrives_at_a_foreign_server";
    let Some(mut server) = or_skip(name, MailServer::start()) else { return };
    let mail = server.mail("s3cret-ours\n", &["a@plant.example", "Ben <b@plant.example>"]);
    let seen = "Cushion 2.1 mm, „Rückstromsperre“ leaks.";
    assert_eq!(send(&mail, &notice(seen)), Ok(()));
    let took = server.took();
    assert_eq!(took["to"], json!(["a@plant.example", "b@plant.example"]));
    assert_eq!((&took["tls"], &took["user"]), (&json!(true), &json!("trimloop")));
    let headers = &took["headers"];
    let title = "[press-4] P1 press-4.check_ring_worn.check_ring is not acknowledged, and 37 more";
    assert_eq!(headers["subject"], title);
    assert_eq!(headers["message-id"], "<0123456789abcdef.shift@plant.example>");
    assert_eq!(headers["auto-submitted"], "auto-generated");
    assert_eq!(headers["importance"], "high");
    assert_eq!(headers["date"], "Sat, 28 Nov 2026 14:41:16 +0000");
    let text = took["text"].as_str().unwrap();
    let line = "P1 press-4.check_ring_worn.check_ring is on since t+-30, 2 times; nobody \
                acknowledged it at desk";
    for part in [seen, line, "and 37 more alarms", "trimloop is not a safety system"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    // Nobody knew whether it arrived: readers know it by its id.
    assert_eq!(send(&mail, &notice(seen)), Ok(()));
    assert_eq!(server.took()["headers"]["message-id"], headers["message-id"]);
    assert_eq!(send(&mail, &orders()), Ok(()));
    let took = server.took();
    assert_eq!(took["headers"]["subject"], "[press-4] work orders: 1 open, 1 new");
    assert_eq!(took["headers"].get("importance"), None);
    let text = took["text"].as_str().unwrap();
    let line = "P1 press-4.check_ring_worn.check_ring: in progress, since 3 h, new, by Jürgen";
    for part in [line, "-2 is 10004711 in SAP", "Open (1)", "since t+-28800"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    let test = trial("shift", now());
    assert_eq!(send(&mail, &test), Ok(()));
    assert_eq!(server.took()["headers"]["subject"], "[press-4] test of notices");

    let paused = |part: &str, sent: Result<(), Trouble>| match sent {
        Err(Trouble::Paused(why)) => {
            assert!(why.contains(part) && !why.contains("s3cret"), "{part}: {why}");
        }
        other => panic!("{part}: {other:?}"),
    };
    paused("check user and password", send(&server.mail("s3cret-wrong", &["a@b.example"]), &test));
    let stranger = Mail { ca_file: None, ..mail.clone() };
    paused("ca_file", send(&stranger, &test));
    let nobody = Mail { login: None, ..mail.clone() };
    paused("check user and password", send(&nobody, &test));
    let no_secret = SecretPlace::File(server.folder.join("none"));
    let unread = Mail { login: Some(("trimloop".into(), no_secret)), ..mail.clone() };
    paused("cannot be read", send(&unread, &test));
    let unknown = server.mail("s3cret-ours", &["a@plant.example", "nobody@plant.example"]);
    let refused = send(&unknown, &test);
    let is_refused = |why: &str| why.contains("no such mailbox") && why.contains("recipients");
    assert!(matches!(&refused, Err(Trouble::Refused(why)) if is_refused(why)), "{refused:?}");
    let spam = send(&mail, &notice("refuse this"));
    assert!(matches!(&spam, Err(Trouble::Refused(why)) if why.contains("spam")), "{spam:?}");
    let later = server.mail("s3cret-ours", &["later@plant.example"]);
    let first = send(&later, &test);
    assert!(
        matches!(&first, Err(Trouble::Unknown(why)) if why.contains("greylisted")),
        "{first:?}"
    );
    assert_eq!(send(&later, &test), Ok(()));
    assert_eq!(server.took()["to"], json!(["later@plant.example"]));
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let away = send(&mail, &test);
    assert!(matches!(away, Err(Trouble::Unknown(_))), "{away:?}");
}

fn signature(key: &[u8], id: &str, time: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(format!("{id}.{time}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
}

/// An event of CloudEvents 1.0 arrives, signed as Standard Webhooks says; what the server answers
/// decides what becomes of it.
#[test]
fn events_are_signed() {
    // The example of the specification's own libraries.
    let key = BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let body = "{\"test\": 2432232314}";
    let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body);
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");

    let got: Arc<Mutex<Vec<Request>>> = Arc::default();
    let keeps = Arc::clone(&got);
    let mut statuses = [202_u16, 200, 500, 429, 403, 422].into_iter();
    let server = Server::start(move |request| {
        keeps.lock().unwrap().push(request);
        Answer::Full(statuses.next().unwrap_or(200), Vec::new(), String::new())
    });
    let folder = new_scratch();
    std::fs::create_dir_all(&folder).unwrap();
    let secret = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        Some(SecretPlace::File(file))
    };
    let hook = |secret| Webhook {
        url: format!("{}/alerts/trimloop", server.url),
        secret,
        ca_file: None,
        limits: TimeLimits::default(),
    };
    let ask = |hook: &Webhook| hook.deliver(&notice("2.1 mm {body}"), &sender(), now());
    assert_eq!(ask(&hook(secret("a", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"))), Ok(()));
    let plain = hook(secret("b", "plain key"));
    assert_eq!(ask(&plain), Ok(()));
    assert!(matches!(ask(&plain), Err(Trouble::Unknown(why)) if why.contains("under the same id")));
    assert!(matches!(ask(&plain), Err(Trouble::NotDone { .. })));
    assert!(matches!(ask(&plain), Err(Trouble::Paused(_))));
    assert!(matches!(ask(&hook(None)), Err(Trouble::Refused(_))));
    let got = got.lock().unwrap();
    for (request, key) in got.iter().zip([key.as_slice(), b"plain key"]) {
        let header = |name| request.header(name).unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/alerts/trimloop"));
        assert_eq!(header("content-type"), "application/cloudevents+json; charset=utf-8");
        let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
        assert_eq!((id, time), ("0123456789abcdef", "1795876876"));
        assert_eq!(header("webhook-signature"), signature(key, id, time, &request.body));
        let event = request.json();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!((&event["id"], &event["source"]), (&json!(id), &json!("/trimloop/press-4")));
        assert_eq!(event["type"], "trimloop.notice");
        assert_eq!(event["time"], "2026-11-28T14:41:16.000Z");
        let data = &event["data"];
        assert_eq!((&data["priority"], &data["more"]), (&json!(1), &json!(37)));
        let alarm = &data["alarms"][0];
        assert_eq!(alarm["name"], "press-4.check_ring_worn.check_ring");
        assert_eq!((&alarm["on"], &alarm["escalated_from"]), (&json!(true), &json!("desk")));
        assert_eq!(alarm["began"], "2026-11-28T14:40:46.000Z");
    }
    assert_eq!(got.last().unwrap().header("webhook-signature"), None);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// One line each, behind what is there; a folder that is none is told.
#[test]
fn lines_are_added_to_a_file() {
    let folder = new_scratch();
    std::fs::create_dir_all(&folder).unwrap();
    let file = NoticeFile { path: folder.join("notices.jsonl") };
    assert_eq!(file.deliver(&notice("a\nb"), &sender(), now()), Ok(()));
    assert_eq!(file.deliver(&trial("log", now()), &sender(), now()), Ok(()));
    assert_eq!(file.deliver(&orders(), &sender(), now()), Ok(()));
    let text = std::fs::read_to_string(&file.path).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["type"], "trimloop.orders");
    let data = &lines[2]["data"];
    assert_eq!((&data["system"], &data["counts"]["open"]), (&json!("SAP"), &json!(1)));
    let order = &data["orders"][0];
    assert_eq!((&order["state"], &order["assignee"]), (&json!("in_progress"), &json!("Jürgen")));
    assert_eq!(order["opened"], "2026-11-28T11:41:16.000Z");
    assert!(order["key"].as_str().unwrap().starts_with("TLW-"), "{order}");
    assert_eq!((&order["new"], data.get("alarms")), (&json!(true), None));
    assert_eq!(lines[0]["data"]["alarms"][0]["seen"], "a\nb");
    assert_eq!(lines[1]["type"], "trimloop.notice.test");
    std::fs::remove_dir_all(&folder).unwrap();
    let why = file.deliver(&notice(""), &sender(), now());
    assert!(matches!(why, Err(Trouble::Unknown(why)) if why.contains("notices.jsonl")));
}
