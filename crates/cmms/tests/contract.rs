//! Each adapter against a double of its product: what it sends, what it makes of answers, and that
//! an outbox in front of it neither loses an order nor makes two, whatever goes wrong on the way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its assumptions do")]
#![allow(clippy::pedantic, reason = "the tests of the service have fewer lints")]
#![allow(unreachable_pub, reason = "modules of a test are reached by that test")]

#[path = "contract/atlas.rs"]
mod atlas;
#[path = "contract/made_up.rs"]
mod made_up;
#[path = "contract/maintainx.rs"]
mod maintainx;
#[path = "contract/maximo.rs"]
mod maximo;
#[path = "contract/plain.rs"]
mod plain;
#[path = "contract/sap.rs"]
mod sap;
#[path = "contract/schema.rs"]
mod schema;
#[path = "contract/server.rs"]
mod server;
#[path = "contract/states.rs"]
mod states;
#[path = "contract/world.rs"]
mod world;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, SecondsFormat};
use trimloop_cmms::{
    Clock, ConfigError, Connector, Kind, Reading, SHIPPED, SecretPlace, Trouble, connect,
};
use trimloop_core::time::{Span, Utc};
use trimloop_work::desk::OrderState;

use world::{Product, World, draft, key, locked, survive};

/// So many worlds of faults for each adapter.
const SEEDS: u64 = 8;

/// A folder for this process.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cmms-contract");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The secret that every double knows. Written once by each process: others read it meanwhile.
fn token() -> SecretPlace {
    static MADE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let file = MADE.get_or_init(|| {
        let file = folder().join(format!("token-{}", std::process::id()));
        std::fs::write(&file, "s3cret-token\n").unwrap();
        file
    });
    SecretPlace::File(file.clone())
}

/// For what asks nothing.
fn no_clock() -> Clock {
    Arc::new(|| -> Utc { panic!("nothing is asked") })
}

fn time(seconds: i64) -> String {
    let time = DateTime::from_timestamp(seconds, 0).unwrap();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn seconds(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}")).timestamp()
}

/// Each adapter, in worlds where nearly every second request goes wrong.
fn survives<P: Product>(make: impl Fn() -> P, config: impl Fn(&str) -> Connector) {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 1..=SEEDS {
        let world = World::new(make(), seed);
        survive(&world, &config(&world.server.url), seed);
        for (name, count) in &locked(&world.faults).seen {
            *seen.entry(*name).or_insert(0) += count;
        }
    }
    // Every kind of fault took its turn, or nothing was shown.
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[test]
fn maintainx_survives_faults() {
    survives(|| maintainx::double("maintainx_survives_faults"), maintainx::config);
}

#[test]
fn sap_survives_faults() {
    survives(|| sap::double("sap_survives_faults"), sap::config);
}

#[test]
fn maximo_survives_faults() {
    survives(maximo::double, maximo::config);
}

#[test]
fn atlas_survives_faults() {
    survives(atlas::double, atlas::config);
}

#[test]
fn a_preset_survives_faults() {
    survives(
        || plain::double(plain::basic),
        |url| plain::config(url, "survives", "kind = \"basic\""),
    );
}

/// One order from its draft to its end by a person, over the adapter and the double.
fn lives<P: Product>(product: P, config: impl Fn(&str) -> Connector, words: &[(&str, OrderState)]) {
    let world = World::new(product, 0);
    let mut system = world.connect(&config(&world.server.url));
    let (begin, ours) = (world.at(), draft("press-4"));
    system.check().unwrap();
    assert!(system.find(ours.key, begin).unwrap().is_empty());
    let id = system.create(&ours, "TLW-x.1").unwrap();
    world.pass(30);
    // One of somebody else, and one of ours of another fault.
    world.book(|book| {
        let (status, now) = (book.orders[0].status.clone(), book.orders[0].created + 30);
        book.create("Oil the hinges", &status, now);
    });
    let other = system.create(&draft("press-5"), "TLW-y.2").unwrap();
    let found = system.find(ours.key, begin).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].id.as_str(), found[0].key), (id.as_str(), Some(ours.key)));
    assert!(!system.has_comment(&id, "tl-7").unwrap());
    system
        .comment(&id, &format!("{} (tl-7)", "The condition is gone. ".repeat(3)), "tl-7")
        .unwrap();
    assert!(system.has_comment(&id, "tl-7").unwrap());
    assert!(!system.has_comment(&other, "tl-7").unwrap());
    for (word, state) in words {
        world.pass(60);
        let now = world.at();
        world.book(|book| {
            let order = book.one_mut(&id).unwrap();
            order.status = (*word).to_owned();
            order.updated = now.as_nanos() / 1_000_000_000;
        });
        let read = system.read(&id).unwrap().unwrap();
        assert_eq!(
            (read.state, read.is_word_unknown, read.updated),
            (*state, false, now),
            "{word}"
        );
        let changed = system.changed(now - Span::from_secs(1)).unwrap();
        assert!(changed.iter().all(|remote| remote.key.is_some()), "{changed:?}");
        assert!(changed.contains(&read), "{word}: {changed:?}");
    }
    // A word that nobody told us of is open, and said to be unknown.
    world.book(|book| book.one_mut(&id).unwrap().status = "Warten auf Teile".to_owned());
    let read = system.read(&id).unwrap().unwrap();
    assert_eq!((read.state, read.is_word_unknown), (OrderState::Open, true));
    assert!(read.word.contains("Warten auf Teile"), "{}", read.word);
    // Deleted.
    world.book(|book| book.orders.retain(|order| order.id.to_string() != id));
    assert_eq!(system.read(&id).unwrap(), None);
    assert_eq!(system.has_comment(&id, "tl-7"), Ok(false));
    let why = system.comment(&id, "Still there? (tl-8)", "tl-8").unwrap_err();
    assert!(matches!(&why, Trouble::Refused(why) if why.contains("any more")), "{why:?}");
    world.book(|book| assert!(book.complaints.is_empty(), "{:?}", book.complaints));
}

#[test]
fn an_order_lives_in_maintainx() {
    let words = [
        ("OPEN", OrderState::Open),
        ("IN_PROGRESS", OrderState::InProgress),
        ("ON_HOLD", OrderState::OnHold),
        ("DONE", OrderState::Done),
        ("SKIPPED", OrderState::Cancelled),
        ("CANCELED", OrderState::Cancelled),
    ];
    lives(maintainx::double("an_order_lives_in_maintainx"), maintainx::config, &words);
}

#[test]
fn a_notification_lives_in_sap() {
    let words = [
        ("1", OrderState::Requested),
        ("3", OrderState::InProgress),
        ("2", OrderState::OnHold),
        ("4", OrderState::Done),
        ("5", OrderState::Cancelled),
    ];
    lives(sap::double("a_notification_lives_in_sap"), sap::config, &words);
}

#[test]
fn a_request_lives_in_maximo() {
    let words = [
        ("NEW", OrderState::Requested),
        ("QUEUED", OrderState::Open),
        ("INPROG", OrderState::InProgress),
        ("PENDING", OrderState::OnHold),
        ("RESOLVED", OrderState::Done),
        ("CLOSED", OrderState::Done),
    ];
    lives(maximo::double(), maximo::config, &words);
}

#[test]
fn an_order_lives_in_atlas() {
    let words = [
        ("OPEN", OrderState::Open),
        ("IN_PROGRESS", OrderState::InProgress),
        ("ON_HOLD", OrderState::OnHold),
        ("COMPLETE", OrderState::Done),
    ];
    lives(atlas::double(), atlas::config, &words);
}

#[test]
fn an_order_lives_by_a_preset() {
    let words = [
        ("open", OrderState::Open),
        ("Running", OrderState::InProgress),
        ("finished", OrderState::Done),
        ("dropped", OrderState::Cancelled),
        ("refused", OrderState::Rejected),
    ];
    let config = |url: &str| plain::config(url, "lives", "kind = \"basic\"");
    lives(plain::double(plain::basic), config, &words);
}

/// Every kind of login of a preset.
#[test]
fn a_preset_says_who_we_are() {
    let signed: plain::Check = |request| {
        use hmac::{Hmac, KeyInit, Mac};
        let time = request.header("x-time").unwrap_or_default();
        let target: Vec<String> =
            request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let question = if target.is_empty() { "" } else { "?" };
        let text = format!(
            "{}\n{}{question}{}\n{time}\n{}",
            request.method,
            request.path,
            target.join("&"),
            request.body
        );
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"s3cret-token").unwrap();
        mac.update(text.as_bytes());
        let bytes = mac.finalize().into_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        request.header("x-sign") == Some(hex.as_str())
            && request.header("x-key") == Some("trimloop")
            && time == "1795876876"
    };
    let cases: [(&str, &str, plain::Check); 5] = [
        ("bearer", "kind = \"bearer\"", |r| {
            r.header("authorization") == Some("Bearer s3cret-token")
        }),
        ("header", "kind = \"header\"\nheader = \"X-Token\"", |r| {
            r.header("x-token") == Some("s3cret-token")
        }),
        ("pair", "kind = \"pair\"\nword = \"token\"", |r| {
            r.header("authorization") == Some("token trimloop:s3cret-token")
        }),
        (
            "hmac",
            "kind = \"hmac\"\nheader = \"X-Sign\"\nkey_header = \"X-Key\"\ntime_header = \"X-Time\"\n\
             text = \"{method}\\n{path}\\n{time}\\n{body}\"",
            signed,
        ),
        ("oauth2", "kind = \"oauth2\"\ntoken_url = \"token\"\nscope = \"orders.write\"", |r| {
            r.header("authorization") == Some("Bearer token-1")
        }),
    ];
    for (name, login, is_known) in cases {
        let world = World::new(plain::double(is_known), 0);
        let mut system = world.connect(&plain::config(&world.server.url, name, login));
        system.check().unwrap_or_else(|trouble| panic!("{name}: {trouble:?}"));
        system.create(&draft("press-4"), "TLW-x.1").unwrap();
        world.book(|book| assert!(book.complaints.is_empty(), "{:?}", book.complaints));
    }
}

/// A token that is no longer taken is asked for again, once: one that is refused when it is new is
/// a person's affair.
#[test]
fn a_session_that_is_over_begins_anew() {
    static REVOKED: AtomicBool = AtomicBool::new(false);
    let is_known: plain::Check = |request| {
        !REVOKED.load(Ordering::SeqCst) && request.header("authorization") == Some("Bearer token-2")
    };
    let world = World::new(plain::double(is_known), 0);
    let login = "kind = \"oauth2\"\ntoken_url = \"token\"\nscope = \"orders.write\"";
    let mut system = world.connect(&plain::config(&world.server.url, "session", login));
    // The first token is refused although it is new.
    assert!(matches!(system.check(), Err(Trouble::Paused(_))));
    system.check().unwrap();
    assert_eq!(locked(&world.product).tokens, 2);
    // One that was taken before and is no longer: another one may be.
    REVOKED.store(true, Ordering::SeqCst);
    let over = system.check().unwrap_err();
    assert!(matches!(over, Trouble::NotDone { not_before: None, .. }), "{over:?}");
    assert!(matches!(system.check(), Err(Trouble::Paused(_))));
    assert_eq!(locked(&world.product).tokens, 3);
    // One that has run out is not sent, though this product would still take it.
    let one: plain::Check = |request| request.header("authorization") == Some("Bearer token-1");
    let world = World::new(plain::double(one), 0);
    let mut system = world.connect(&plain::config(&world.server.url, "run-out", login));
    system.check().unwrap();
    world.pass(3600);
    assert!(matches!(system.check(), Err(Trouble::Paused(_))));
    assert_eq!(locked(&world.product).tokens, 2);
}

/// SAP's token for changes ends with its session: nothing was done, and the next try has a new one.
#[test]
fn a_token_of_sap_that_is_over_is_asked_for_again() {
    let world = World::new(sap::double("a_token_of_sap_that_is_over_is_asked_for_again"), 0);
    let mut system = world.connect(&sap::config(&world.server.url));
    system.create(&draft("press-4"), "TLW-x.1").unwrap();
    // Somebody else's session of the same user.
    let mut other = world.connect(&sap::config(&world.server.url));
    other.check().unwrap();
    let trouble = system.create(&draft("press-5"), "TLW-x.2").unwrap_err();
    assert!(matches!(trouble, Trouble::NotDone { not_before: None, .. }), "{trouble:?}");
    system.create(&draft("press-5"), "TLW-x.2").unwrap();
    world.book(|book| assert_eq!(book.orders.len(), 2));
}

/// A create that Maximo says it has taken before is looked up, not sent again.
#[test]
fn a_transaction_that_was_taken_is_looked_up() {
    let world = World::new(maximo::double(), 0);
    let mut system = world.connect(&maximo::config(&world.server.url));
    let id = system.create(&draft("press-4"), "TLW-x.1").unwrap();
    let trouble = system.create(&draft("press-4"), "TLW-x.1").unwrap_err();
    assert!(matches!(&trouble, Trouble::Unknown(why) if why.contains("before")), "{trouble:?}");
    let found = system.find(key("press-4"), world.at()).unwrap();
    assert_eq!(found.iter().map(|remote| &remote.id).collect::<Vec<_>>(), [&id]);
}

/// Two orders of one key, however they came about: both are found, the older one first.
#[test]
fn orders_are_found_oldest_first() {
    let world = World::new(maintainx::double("orders_are_found_oldest_first"), 0);
    let mut system = world.connect(&maintainx::config(&world.server.url));
    world.pass(7);
    for n in 0..7 {
        world.book(|book| {
            let key = if n % 3 == 0 { key("press-4") } else { key("press-5") };
            book.create(&format!("Worn [{key}]"), "OPEN", 1_795_876_876 + n);
        });
    }
    let found = system.find(key("press-4"), world.at()).unwrap();
    let ids: Vec<&str> = found.iter().map(|remote| remote.id.as_str()).collect();
    assert_eq!(ids, ["4700", "4703", "4706"]);
}

/// As many requests as are agreed, by the clock that is handed in; then the outbox is told when.
#[test]
fn no_more_requests_than_agreed() {
    let world = World::new(atlas::double(), 0);
    let mut config = atlas::config(&world.server.url);
    config.requests_per_minute = Some(8);
    let mut system = world.connect(&config);
    system.check().unwrap();
    system.check().unwrap();
    let trouble = system.check().unwrap_err();
    let Trouble::NotDone { not_before: Some(next), why } = trouble else { panic!("{trouble:?}") };
    assert!(next > world.at() && next <= world.at() + Span::from_secs(10), "{next:?} {why}");
    world.pass(10);
    system.check().unwrap();
}

/// Readings arrive as they are, a meter that is not there is told, and an adapter that knows no
/// meters says so.
#[test]
fn readings_of_meters() {
    fn tell<P: Product>(product: P, config: impl Fn(&str) -> Connector, meter: &str, other: &str) {
        let world = World::new(product, 0);
        let mut system = world.connect(&config(&world.server.url));
        let reading = |meter: &str, value| Reading {
            meter: meter.to_owned(),
            name: "cycles".to_owned(),
            value,
            at: world.at(),
        };
        for value in [1204.0, 1310.5] {
            assert_eq!(system.reading(&reading(meter, value)), Ok(()), "{}", system.name());
        }
        let said = system.reading(&reading(other, 1.0));
        assert!(matches!(&said, Err(Trouble::Refused(why)) if why.contains("meter")), "{said:?}");
        let now = world.now.load(Ordering::SeqCst);
        world.book(|book| {
            let values: Vec<(f64, i64)> =
                book.readings.iter().map(|(_, value, at)| (*value, *at)).collect();
            assert_eq!(values, [(1204.0, now), (1310.5, now)]);
            assert!(book.complaints.is_empty(), "{:?}", book.complaints);
        });
    }
    tell(maintainx::double("readings_of_meters"), maintainx::config, "88", "89");
    tell(maintainx::double("readings_of_meters"), maintainx::config, "88", "cycles");
    tell(maximo::double(), maximo::config, "P4:CYCLES", "P9:CYCLES");
    tell(maximo::double(), maximo::config, "P4:CYCLES", "CYCLES");
    let config = |url: &str| plain::config(url, "readings", "kind = \"basic\"");
    tell(plain::double(plain::basic), config, "88", "89");
    let world = World::new(atlas::double(), 0);
    let mut system = world.connect(&atlas::config(&world.server.url));
    let (meter, name, at) = ("1".to_owned(), "cycles".to_owned(), world.at());
    let said = system.reading(&Reading { meter, name, value: 1.0, at });
    assert!(matches!(&said, Err(Trouble::Refused(why)) if why.contains("not told")), "{said:?}");
}

/// What is wrong in a preset is told with its place.
#[test]
fn mistakes_in_a_preset_have_a_place() {
    let good = format!("{}\n[login]\nkind = \"none\"\n", plain::PRESET);
    let cases = [
        ("path = \"orders\"\nbody", "paht = \"orders\"\nbody", "TL0850", ":8:1"),
        ("id = \"/made/number\"", "id = \"made/number\"", "TL0852", ":19:6"),
        ("{{ order.titled | tojson }}", "{{ order.titel | tojson }}", "TL0851", ":11:1"),
        ("{{ order.titled | tojson }}", "{{ order.titled }}", "TL0851", ":9:8"),
        ("[\"finished\"]", "[\"finished\", \"OPEN\"]", "TL0852", "already means open"),
        ("done = [\"finished\"]", "", "TL0852", "no word means"),
        ("path = \"orders/{{ id }}\"\n", "path = \"/orders/{{ id }}\"\n", "TL0852", ":32:8"),
        ("kind = \"none\"", "kind = \"kerberos\"", "TL0852", "kerberos"),
        ("set.queue", "set.queu", "TL0851", "[cmms.set]"),
        ("title_max = 60", "title_max = 20", "TL0852", ":4:13"),
        ("text = \"/note\"\n", "", "TL0852", "[comments] lacks `text`"),
        ("[changed]\n", "[changed]\ntext = \"/x\"\n", "TL0852", "`text` is of [comments]"),
    ];
    for (index, (from, to, code, place)) in cases.into_iter().enumerate() {
        assert!(good.contains(from), "{from}");
        let file = folder().join(format!("mistake-{index}.toml"));
        std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let mut config = Connector::new(Kind::Rest, "http://127.0.0.1:1");
        config.preset = Some(file);
        config.set.insert("queue".into(), "presses".into());
        let Err(ConfigError::Preset(found)) = connect(&config, no_clock()) else {
            panic!("{to}: taken")
        };
        let text = ConfigError::Preset(found).to_string();
        assert!(text.contains(code) && text.contains(place), "{to}:\n{text}");
    }
}

/// Shipped presets can be used, with settings that their heads name.
#[test]
fn shipped_presets_are_right() {
    let settings =
        [("queue", "1"), ("location", "7"), ("database", "plant"), ("company", "Moulds")];
    for (name, _) in SHIPPED {
        let mut config = Connector::new(Kind::Rest, "https://cmms.example");
        config.preset = Some(name.into());
        config.user = Some("trimloop".into());
        config.secret = Some(token());
        config.set = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let system =
            connect(&config, no_clock()).unwrap_or_else(|error| panic!("{name}:\n{error}"));
        assert_eq!((system.name(), system.can_search()), (name, true));
    }
}

/// Settings that are missing or mean nothing are named.
#[test]
fn settings_are_checked() {
    let wrong = |config: &Connector, part: &str| match connect(config, no_clock()) {
        Ok(_) => panic!("taken, though {part}"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(part), "{text} lacks {part}");
        }
    };
    let url = "https://cmms.example";
    wrong(&Connector::new(Kind::MaintainX, url), "cmms.secret_file: missing");
    let mut config = maintainx::config(url);
    config.set.insert("organisation".into(), "7".into());
    wrong(&config, "cmms.set.organisation: not known here; there is organization");
    let mut config = sap::config(url);
    config.set.remove("notification_type");
    wrong(&config, "cmms.set.notification_type: missing");
    let mut config = sap::config(url);
    config.set.insert("planning_plant".into(), "10101".into());
    wrong(&config, "more than 4 characters");
    let mut config = maximo::config(url);
    config.set.clear();
    wrong(&config, "cmms.set.site: missing");
    let mut config = atlas::config(url);
    config.preset = Some("odoo".into());
    wrong(&config, "cmms.preset");
    let mut config = atlas::config(url);
    config.ca_file = Some(folder().join("no-such.pem"));
    wrong(&config, "no-such.pem cannot be used");
    wrong(&Connector::new(Kind::Rest, url), "django-helpdesk, erpnext");
}
