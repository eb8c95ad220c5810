//! The generic adapter and its preset against a product that is not ours: django-helpdesk, from
//! PyPI, on SQLite. Where Python or its registry is missing the test is skipped by name, unless
//! `TRIMLOOP_REQUIRE_FOREIGN=1`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]
#![allow(clippy::pedantic, reason = "the tests of the service have fewer lints")]
#![allow(unreachable_pub, reason = "modules of a test are reached by that test")]

#[path = "../../../tests/support/foreign.rs"]
#[allow(clippy::pedantic, reason = "the tests of the service have fewer lints")]
mod foreign;
#[path = "contract/made_up.rs"]
mod made_up;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use trimloop_cmms::{Clock, Connector, Kind, SecretPlace, Trouble, connect};
use trimloop_cmms::{Draft, Part};
use trimloop_core::time::{Span, Utc};
use trimloop_work::desk::OrderState;

use foreign::{Skip, new_scratch, or_skip, python_with};
use made_up::key;

/// 2026-11-28T14:41:16Z; the product has a clock of its own.
const NOW: i64 = 1_795_876_876_000;

/// A running helpdesk, ended when dropped.
struct Helpdesk {
    child: Child,
    url: String,
    queue: i64,
    folder: std::path::PathBuf,
}

impl Helpdesk {
    fn start() -> Result<Self, Skip> {
        let python = python_with("helpdesk", "requirements-helpdesk.txt")?;
        let folder = new_scratch();
        std::fs::create_dir_all(&folder).unwrap();
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/helpdesk_server.py");
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut child = Command::new(python)
            .arg(program)
            .args([folder.as_os_str(), "s3cret-ours".as_ref(), "s3cret-theirs".as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            panic!("the helpdesk did not start: {error}: {line}\n{log}")
        });
        let url = format!("http://127.0.0.1:{}", ready["port"]);
        Ok(Self { child, url, queue: ready["queue"].as_i64().unwrap(), folder })
    }

    fn config(&self, secret: &str) -> Connector {
        let file = self.folder.join("secret");
        std::fs::write(&file, secret).unwrap();
        let mut config = Connector::new(Kind::Rest, &self.url);
        config.preset = Some("django-helpdesk".into());
        config.user = Some("trimloop".into());
        config.secret = Some(SecretPlace::File(file));
        config.requests_per_minute = Some(1000);
        config.set.insert("queue".into(), self.queue.to_string());
        config
    }

    /// What a person does there.
    fn person(&self, method: &str, path: &str, body: &Value) -> u16 {
        // person:s3cret-theirs
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.url))
            .header("Authorization", "Basic cGVyc29uOnMzY3JldC10aGVpcnM=")
            .header("Content-Type", "application/json")
            .body(body.to_string())
            .unwrap();
        ureq::run(request).unwrap().status().as_u16()
    }
}

impl Drop for Helpdesk {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

fn clock() -> Clock {
    Arc::new(|| Utc::from_millis(NOW))
}

fn draft(asset: &str) -> Draft {
    Draft {
        key: key(asset),
        title: format!("Rückstromsperre \"{asset}\" {}", "worn ".repeat(60)),
        body: "Authority used 82 %;\n'hold pressure' + 30 bar <b>of 36</b>.".into(),
        priority: 2,
        asset: asset.into(),
        asset_ref: None,
        due: Some(Utc::from_millis(NOW) + Span::from_secs(86_400)),
        assignee: Some("2".into()),
        parts: vec![Part { reference: "88".into(), name: "Check ring".into(), quantity: 1 }],
        mode: "check_ring_worn".into(),
    }
}

/// One order from its draft to its end, with what a person does in between.
#[test]
fn orders_live_in_a_helpdesk() {
    let Some(helpdesk) = or_skip("orders_live_in_a_helpdesk", Helpdesk::start()) else { return };
    let since = Utc::from_millis(NOW) - Span::from_secs(60);
    let mut system = connect(&helpdesk.config("s3cret-ours"), clock()).unwrap();
    let said = system.check().unwrap();
    assert!(said.contains("2.6.1"), "{said}");
    assert!(system.find(key("press-4"), since).unwrap().is_empty());

    let id = system.create(&draft("press-4"), "TLW-x.1").unwrap();
    let other = system.create(&draft("press-5"), "TLW-y.2").unwrap();
    let found = system.find(key("press-4"), since).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let (first, theirs) = (&found[0], key("press-5"));
    assert_eq!((first.id.as_str(), first.key), (id.as_str(), Some(key("press-4"))));
    assert_eq!((first.state, first.assignee.as_deref()), (OrderState::Open, Some("2")));

    // A comment, and only there; the key is still found after it.
    assert!(!system.has_comment(&id, "tl-7").unwrap());
    system.comment(&id, "The condition is gone. (tl-7)", "tl-7").unwrap();
    assert!(system.has_comment(&id, "tl-7").unwrap());
    assert!(!system.has_comment(&other, "tl-7").unwrap());
    assert_eq!(system.find(key("press-4"), since).unwrap().len(), 1);

    // Ours are found behind the tickets of other people, on any page.
    assert_eq!(system.changed(since).unwrap().len(), 2);

    // A person puts it on hold, then closes it in words of their own; that changes its title.
    let hold = json!({"on_hold": true});
    assert_eq!(helpdesk.person("PATCH", &format!("api/tickets/{id}/"), &hold), 200);
    assert_eq!(system.read(&id).unwrap().unwrap().state, OrderState::OnHold);
    let done = json!({"ticket": id.parse::<i64>().unwrap(), "title": "Ring replaced", "user": 2,
        "comment": "It was worn through.", "public": false, "new_status": 4});
    assert_eq!(helpdesk.person("POST", "api/followups/", &done), 201);
    let read = system.read(&id).unwrap().unwrap();
    assert_eq!((read.state, read.word.as_str()), (OrderState::Done, "4"));
    assert_eq!((read.key, read.is_word_unknown), (Some(key("press-4")), false));
    assert_eq!(read.close.remedy.as_deref(), Some("It was worn through."));
    let changed = system.changed(since).unwrap();
    let state = |key| changed.iter().find(|remote| remote.key == Some(key)).map(|r| r.state);
    assert_eq!(state(key("press-4")), Some(OrderState::Done));
    assert_eq!(state(theirs), Some(OrderState::Open));

    // A person deletes the other one.
    assert_eq!(helpdesk.person("DELETE", &format!("api/tickets/{other}/"), &json!({})), 204);
    assert_eq!(system.read(&other).unwrap(), None);
    assert!(system.find(theirs, since).unwrap().is_empty());

    // What it refuses for what it says, and for who we are.
    let nobody = Draft { assignee: Some("4711".into()), ..draft("press-7") };
    let why = system.create(&nobody, "TLW-w.4").unwrap_err();
    assert!(matches!(&why, Trouble::Refused(why) if why.contains("assigned_to")), "{why:?}");
    let mut stranger = connect(&helpdesk.config("s3cret-wrong"), clock()).unwrap();
    let why = stranger.check().unwrap_err();
    let fits = matches!(&why, Trouble::Paused(why) if why.contains("check user and secret"));
    assert!(fits, "{why:?}");
}
