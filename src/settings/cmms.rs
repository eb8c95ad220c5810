//! `[cmms]` of `trimloop.toml`: the system that keeps the work orders. Without the table they are
//! kept in the built-in book. Secrets never stand here.

use std::collections::BTreeMap;
use std::path::Path;

use config::ValueKind;

use trimloop_cmms::wake::Signs;
use trimloop_cmms::{Connector, Kind, SecretPlace, TimeLimits, Wake};
use trimloop_core::time::Span;

use super::Reader;
use crate::error::INFLUX_SECRET_SHOWN;

/// Between two looks at what has changed, when nothing else is said, and what can be said.
const POLL: Span = Span::from_secs(120);
const POLL_RANGE: [Span; 2] = [Span::from_secs(10), Span::from_secs(3600)];
/// Requests a minute that can be said.
const REQUESTS_MAX: u32 = 6000;
/// Keys that would hold a secret.
const SECRETS: [&str; 5] =
    ["cmms.secret", "cmms.token", "cmms.password", "cmms.key", "cmms.wake_secret"];
/// Keys that mean nothing without `cmms.wake`.
const WAKE: [&str; 4] =
    ["cmms.wake_header", "cmms.wake_signs", "cmms.wake_secret_file", "cmms.wake_secret_credential"];
/// What a product must be told besides; any name may stand behind it.
pub(super) const SET: &str = "cmms.set.";

impl Reader<'_> {
    /// The checked table; `None` when there is none, or a mistake in it.
    pub(super) fn cmms(&mut self, base: &Path) -> Option<Connector> {
        self.secrets_shown(&SECRETS, |key| {
            let of = if key.contains("wake") { "cmms.wake_secret" } else { "cmms.secret" };
            of.to_owned()
        });
        if !self.values.keys().any(|key| key.starts_with("cmms.")) {
            return None;
        }
        let found = self.found.len();
        let words = Kind::ALL.map(Kind::word).join(", ");
        let kind = match self.line("cmms.kind") {
            Some(word) => Kind::parse(&word)
                .or_else(|| self.wrong("cmms.kind", &format!("use one of {words}"))),
            None => self.lacks("cmms.kind", &format!("which product: one of {words}")),
        };
        let url = match self.line("cmms.url") {
            Some(url) if url.contains('@') => {
                let message = "`cmms.url` holds a user or password".to_owned();
                let help = "use `cmms.user` with `cmms.secret_file`";
                let diagnostic = self.plain(&INFLUX_SECRET_SHOWN, message);
                self.found.push(diagnostic.help(help));
                None
            }
            Some(url) => Some(url),
            None => self.lacks("cmms.url", "such as url = \"https://cmms.example\""),
        };
        let connector = Connector {
            kind: kind.unwrap_or(Kind::Rest),
            url: url.unwrap_or_default(),
            user: self.line("cmms.user"),
            secret: self.cmms_secret("", base),
            ca_file: self.line("cmms.ca_file").map(|file| base.join(file)),
            preset: self.line("cmms.preset").map(|name| preset(base, &name)),
            poll: self.span("cmms.poll", POLL, POLL_RANGE, "10 s", "1 h"),
            wake: self.wake(kind, base),
            requests_per_minute: self.requests(),
            set: self.cmms_set(),
            limits: TimeLimits::default(),
        };
        (self.found.len() == found).then_some(connector)
    }

    /// - `of`: what stands before `secret` in the keys.
    fn cmms_secret(&mut self, of: &str, base: &Path) -> Option<SecretPlace> {
        let [file, credential] =
            ["file", "credential"].map(|place| format!("cmms.{of}secret_{place}"));
        match (self.line(&file), self.line(&credential)) {
            (Some(file), None) => Some(SecretPlace::File(base.join(file))),
            (None, Some(name)) => Some(SecretPlace::Credential(name)),
            (Some(_), Some(_)) => self.wrong(&credential, &format!("give either it or `{file}`")),
            (None, None) => None,
        }
    }

    /// Where webhooks are heard.
    fn wake(&mut self, kind: Option<Kind>, base: &Path) -> Option<Wake> {
        let Some(listen) = self.line("cmms.wake") else {
            let alone = WAKE.into_iter().find(|key| self.values.contains_key(*key));
            return alone.and_then(|key| {
                self.wrong(key, "say with `cmms.wake` where webhooks are heard, or leave it out")
            });
        };
        let address = listen.parse().ok();
        let help = "use an address of this machine and a port, such as \"127.0.0.1:8089\"";
        let address = address.or_else(|| self.wrong("cmms.wake", help));
        let known = (kind == Some(Kind::MaintainX)).then_some(Wake::MAINTAINX);
        let header = match self.line("cmms.wake_header") {
            Some(name) => Some(name),
            None => known.map(|(header, _)| header.to_owned()).or_else(|| {
                self.lacks(
                    "cmms.wake_header",
                    "the header in which the product sends its signature",
                )
            }),
        };
        let words = Signs::ALL.map(Signs::word).join(" or ");
        let signs = match self.line("cmms.wake_signs") {
            Some(word) => Signs::parse(&word)
                .or_else(|| self.wrong("cmms.wake_signs", &format!("use {words}"))),
            None => Some(known.map_or(Signs::Body, |(_, signs)| signs)),
        };
        let found = self.found.len();
        let secret = self.cmms_secret("wake_", base).or_else(|| {
            // A mistake in it is told already.
            if self.found.len() > found {
                return None;
            }
            self.lacks("cmms.wake_secret_file", "the file with the secret of the webhooks")
        });
        Some(Wake { listen: address?, header: header?, signs: signs?, secret: secret? })
    }

    fn requests(&mut self) -> Option<u32> {
        let key = "cmms.requests_per_minute";
        let count = match &self.values.get(key)?.kind {
            ValueKind::I64(count) => u32::try_from(*count).ok(),
            // From the environment.
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        };
        let fits = count.filter(|count| (1..=REQUESTS_MAX).contains(count));
        fits.or_else(|| self.wrong(key, "use a number from 1 to 6000, without quotes"))
    }

    fn cmms_set(&mut self) -> BTreeMap<String, String> {
        let keys: Vec<String> =
            self.values.keys().filter(|key| key.starts_with(SET)).cloned().collect();
        let name = |key: &str| key.trim_start_matches(SET).to_owned();
        keys.iter().filter_map(|key| Some((name(key), self.line(key)?))).collect()
    }
}

/// A file beside the settings, else the name of a shipped preset.
fn preset(base: &Path, name: &str) -> std::path::PathBuf {
    let file = base.join(name);
    if file.is_file() || name.contains(['/', '.']) { file } else { name.into() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use trimloop_recipe::diagnostic::{Color, render};

    use super::super::{Environment, Settings};
    use super::*;

    fn load(text: &str) -> Result<Settings, String> {
        let environment = Environment::default();
        Settings::from_text(Some(PathBuf::from("/plant/trimloop.toml")), text, &environment)
            .map_err(|found| render(&found, Color::Never))
    }

    const GOOD: &str = "[cmms]\nkind = \"sap\"\nurl = \"https://sap.example/x\"\n";

    /// What is left out has its default; paths count from the file; `set` takes any name.
    #[test]
    fn a_table_is_read() {
        assert_eq!(load("").unwrap().cmms, None);
        let more = "user = \"TRIM\"\nsecret_file = \"sap-password\"\npoll = \"5 min\"\n\
                    requests_per_minute = 30\nset = { notification_type = \"M1\" }\n";
        let cmms = load(&format!("{GOOD}{more}")).unwrap().cmms.unwrap();
        assert_eq!((cmms.kind, cmms.poll), (Kind::Sap, Span::from_secs(300)));
        assert_eq!(cmms.secret, Some(SecretPlace::File("/plant/sap-password".into())));
        assert_eq!(cmms.requests_per_minute, Some(30));
        assert_eq!(cmms.set, BTreeMap::from([("notification_type".into(), "M1".into())]));
        assert_eq!(load(GOOD).unwrap().cmms.unwrap().poll, POLL);
        for (preset, path) in [("odoo", "odoo"), ("own/my.toml", "/plant/own/my.toml")] {
            let text = format!("{GOOD}preset = \"{preset}\"\n").replace("sap\"", "rest\"");
            assert_eq!(load(&text).unwrap().cmms.unwrap().preset, Some(path.into()), "{preset}");
        }
    }

    /// MaintainX's header and form are known, those of others are told.
    #[test]
    fn webhooks_are_set_up() {
        let secret = "wake = \"127.0.0.1:8089\"\nwake_secret_file = \"hook\"\n";
        let maintainx = GOOD.replace("\"sap\"", "\"maintainx\"");
        let wake = |text: &str| load(text).unwrap().cmms.unwrap().wake.unwrap();
        let found = wake(&format!("{maintainx}{secret}"));
        let (header, signs) = Wake::MAINTAINX;
        assert_eq!((found.header.as_str(), found.signs), (header, signs));
        assert_eq!(found.secret, SecretPlace::File("/plant/hook".into()));
        let found = wake(&format!("{GOOD}{secret}wake_header = \"X-Hub-Signature-256\"\n"));
        assert_eq!((found.header.as_str(), found.signs), ("X-Hub-Signature-256", Signs::Body));
        assert_eq!(load(GOOD).unwrap().cmms.unwrap().wake, None);
    }

    /// Each mistake says what, where and what next, and a secret is never shown.
    #[test]
    fn mistakes_are_told_and_secrets_are_not() {
        let with = |more: &str| format!("{GOOD}{more}\n");
        for (text, expected) in [
            ("[cmms]\npoll = \"1 min\"\n".to_owned(), &["TL0719", "`cmms.kind` is missing"][..]),
            (with("").replace("\"sap\"", "\"fiix\""), &["TL0719", "cmms.kind", ":2:8", "maximo"]),
            (with("poll = \"1 s\""), &["cmms.poll", "10 s"]),
            (with("requests_per_minute = 0"), &["cmms.requests_per_minute"]),
            (with("sekret = \"x\""), &["there is no setting `cmms.sekret`"]),
            (with("set = { a = 1 }"), &["`cmms.set.a` must be a text"]),
            (
                with("secret_file = \"a\"\nsecret_credential = \"b\""),
                &["cmms.secret_credential", "either"],
            ),
            (
                with("wake = \"8089\""),
                &["cmms.wake", "127.0.0.1:8089", "wake_header", "wake_secret"],
            ),
            (with("wake_header = \"a\""), &["cmms.wake_header", "`cmms.wake`"]),
            (
                with("wake = \"[::1]:1\"\nwake_header = \"a:\""),
                &["cmms.wake_header", "letters, digits"],
            ),
            (with("wake_secret = \"s3cret\""), &["TL0711", "cmms.wake_secret"]),
            (with("token = \"s3cret\""), &["TL0711", "cmms.token", "cmms.secret_file"]),
            (with("").replace("sap.", "me:s3cret@sap."), &["TL0711", "cmms.url"]),
        ] {
            let shown = load(&text).unwrap_err();
            for part in expected {
                assert!(shown.contains(part), "{part:?} is missing in\n{shown}\nof\n{text}");
            }
            assert!(!shown.contains("s3cret"), "{shown}");
        }
    }
}
