//! `[influx]` of `trimloop.toml`: where history is sent. Secrets never stand here; what names one
//! in the settings is refused without being shown.

use std::path::{Path, PathBuf};

use config::ValueKind;

use trimloop_core::time::Span;
use trimloop_recipe::codes::Code;
use trimloop_recipe::diagnostic::Diagnostic;

use super::{Kind, Reader, kind_of, kind_word};
use crate::error::{
    CMMS_SETTING, INFLUX_SECRET_SHOWN, INFLUX_SETTING, NOTIFY_SETTING, WORK_SETTING,
};

/// Age after which rows are not sent any more, when nothing else is said.
const MAX_AGE: Span = Span::from_secs(14 * 86_400);
/// Shortest and longest that can be said.
const MAX_AGE_RANGE: [Span; 2] = [Span::from_secs(60), Span::from_secs(400 * 86_400)];
/// Lines a request.
const BATCH_MAX: usize = 5000;
const BATCH_MIN: usize = 1000;
/// Keys that would hold a secret.
const SECRETS: [&str; 3] = ["influx.token", "influx.password", "influx.secret"];

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// InfluxDB 1.x: `/write`.
    V1,
    /// InfluxDB 2.x, VictoriaMetrics: `/api/v2/write`.
    V2,
    /// InfluxDB 3: `/api/v3/write_lp`.
    V3,
}

impl Dialect {
    /// As in the settings.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a file of its own.
    File(PathBuf),
    /// In a credential that systemd hands over (`LoadCredential=`).
    Credential(String),
}

/// Who we are to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InfluxUser {
    /// It asks nobody.
    Nobody,
    /// A token.
    Token(SecretPlace),
    /// A user with a password.
    Password {
        /// User.
        name: String,
        /// Where the password is.
        place: SecretPlace,
    },
}

/// Where history is sent, and under which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfluxSettings {
    /// `http://` or `https://`, host, port, perhaps a path.
    pub url: String,
    /// How the server is spoken to.
    pub dialect: Dialect,
    /// Database of v1 and v3; empty for v2.
    pub database: String,
    /// Retention policy of v1; empty for the server's default.
    pub retention_policy: String,
    /// Organisation of v2.
    pub org: String,
    /// Bucket of v2.
    pub bucket: String,
    /// Who we are.
    pub user: InfluxUser,
    /// PEM certificates that alone vouch for the server; `None` for the public ones.
    pub ca_file: Option<PathBuf>,
    /// Tag `site`; empty for none.
    pub site: String,
    /// Tag `cell`.
    pub cell: String,
    /// Rows older than this are not sent.
    pub max_age: Span,
    /// Most lines a request.
    pub batch: usize,
}

impl Reader<'_> {
    /// The checked table; `None` when there is none, or a mistake in it.
    pub(super) fn influx(&mut self, base: &Path, name: &str) -> Option<InfluxSettings> {
        self.secrets_shown(&SECRETS, str::to_owned);
        if !self.values.keys().any(|key| key.starts_with("influx.")) {
            return None;
        }
        let found = self.found.len();
        let url = self.influx_url();
        let dialect = match self.line("influx.dialect").as_deref() {
            Some("v1") => Some(Dialect::V1),
            Some("v2") => Some(Dialect::V2),
            Some("v3") => Some(Dialect::V3),
            Some(_) => self.wrong("influx.dialect", "use \"v1\", \"v2\" or \"v3\""),
            None => self.lacks("influx.dialect", "v1 for InfluxDB 1, v2 for 2, v3 for 3"),
        };
        let word = |reader: &mut Self, key| reader.line(key).unwrap_or_default();
        let mut settings = InfluxSettings {
            url: url.unwrap_or_default(),
            dialect: dialect.unwrap_or(Dialect::V1),
            database: word(self, "influx.database"),
            retention_policy: word(self, "influx.retention_policy"),
            org: word(self, "influx.org"),
            bucket: word(self, "influx.bucket"),
            user: InfluxUser::Nobody,
            ca_file: self.line("influx.ca_file").map(|file| base.join(file)),
            site: word(self, "influx.site"),
            cell: self.line("influx.cell").unwrap_or_else(|| name.to_owned()),
            max_age: self.max_age(),
            batch: self.batch(),
        };
        if let Some(dialect) = dialect {
            self.fits_dialect(dialect);
            settings.user = self.user(base, dialect);
        }
        (self.found.len() == found).then_some(settings)
    }

    /// Says that a secret stands where everybody may read it, without showing it.
    ///
    /// - `place`: begin of the names of the two keys that name its file or its credential.
    pub(super) fn secrets_shown(&mut self, keys: &[&str], place: impl Fn(&str) -> String) {
        for key in keys {
            if self.values.remove(*key).is_none() {
                continue;
            }
            let place = place(key);
            let last = key.rsplit('.').next().unwrap_or(key);
            let message = format!("`{key}` would show a secret to everybody who reads settings");
            let help = format!(
                "put it into a file of its own (mode 0600) and name that by `{place}_file`, or \
                 into a systemd credential named by `{place}_credential`; then change the {last}, because \
                 it was readable"
            );
            let diagnostic = self.plain(&INFLUX_SECRET_SHOWN, message);
            self.found.push(diagnostic.help(help));
        }
    }

    fn influx_url(&mut self) -> Option<String> {
        let Some(url) = self.line("influx.url") else {
            return self.lacks("influx.url", "such as url = \"http://10.0.0.7:8086\"");
        };
        if url.contains('@') {
            let message = "`influx.url` holds a user or password".to_owned();
            let help = "use `influx.user` with `influx.password_file`, or `influx.token_file`";
            let diagnostic = self.plain(&INFLUX_SECRET_SHOWN, message);
            self.found.push(diagnostic.help(help));
            return None;
        }
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let plain = |c: char| c.is_ascii_graphic() && !"?#\"<>\\^`{|}".contains(c);
        let fits = rest.is_some_and(|rest| {
            let host = rest.split('/').next().unwrap_or_default();
            let port = host.rsplit_once(':').map(|(_, port)| port);
            let port_fits = host.ends_with(']') || port.is_none_or(|p| p.parse::<u16>().is_ok());
            !host.is_empty() && !host.starts_with(':') && port_fits && rest.chars().all(plain)
        });
        if fits {
            return Some(url);
        }
        self.wrong("influx.url", "use http:// or https://, the host and the port, and no query")
    }

    fn max_age(&mut self) -> Span {
        self.span("influx.max_age", MAX_AGE, MAX_AGE_RANGE, "1 min", "400 d")
    }

    /// A time within a range, whose ends are told in words.
    pub(super) fn span(
        &mut self,
        key: &str,
        usual: Span,
        [shortest, longest]: [Span; 2],
        from: &str,
        to: &str,
    ) -> Span {
        let Some(text) = self.line(key) else { return usual };
        let span = text.split_once(' ').and_then(|(number, unit)| {
            let seconds = match unit.trim() {
                "s" => 1,
                "min" => 60,
                "h" => 3600,
                "d" => 86_400,
                _ => return None,
            };
            number.parse::<i64>().ok()?.checked_mul(seconds).map(Span::from_secs)
        });
        match span.filter(|span| (shortest..=longest).contains(span)) {
            Some(span) => span,
            None => self
                .wrong(key, &format!("use a number and s, min, h or d: \"{from}\" to \"{to}\""))
                .unwrap_or(usual),
        }
    }

    fn batch(&mut self) -> usize {
        let count = match self.values.get("influx.batch").map(|value| value.kind.clone()) {
            None => return BATCH_MAX,
            Some(ValueKind::I64(count)) => usize::try_from(count).ok(),
            // From the environment.
            Some(ValueKind::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        match count.filter(|count| (BATCH_MIN..=BATCH_MAX).contains(count)) {
            Some(count) => count,
            None => self
                .wrong("influx.batch", "use a number of lines from 1000 to 5000, without quotes")
                .unwrap_or(BATCH_MAX),
        }
    }

    /// Each dialect has its own words for the place of the data.
    fn fits_dialect(&mut self, dialect: Dialect) {
        let (needed, foreign): (&[&str], &[&str]) = match dialect {
            Dialect::V1 => (&["database"], &["org", "bucket", "token_file", "token_credential"]),
            Dialect::V2 => (
                &["org", "bucket"],
                &["database", "retention_policy", "user", "password_file", "password_credential"],
            ),
            Dialect::V3 => (
                &["database"],
                &[
                    "org",
                    "bucket",
                    "retention_policy",
                    "user",
                    "password_file",
                    "password_credential",
                ],
            ),
        };
        for key in needed {
            let key = format!("influx.{key}");
            if !self.values.contains_key(&key) {
                let help = format!("dialect {} needs it", dialect.word());
                self.lacks::<()>(&key, &help);
            }
        }
        for key in foreign {
            let key = format!("influx.{key}");
            if self.values.contains_key(&key) {
                let message = format!("`{key}` has no meaning in dialect {}", dialect.word());
                let diagnostic = self.about(&INFLUX_SETTING, &key, message, "of another dialect");
                let needs = needed.join("`, `");
                self.found.push(diagnostic.help(format!(
                    "remove it, or choose another `dialect`; this one takes `{needs}`"
                )));
            }
        }
    }

    fn user(&mut self, base: &Path, dialect: Dialect) -> InfluxUser {
        let mut place = |word: &str| {
            let (file, credential) =
                (format!("influx.{word}_file"), format!("influx.{word}_credential"));
            match (self.line(&file), self.line(&credential)) {
                (Some(file), None) => Some(SecretPlace::File(base.join(file))),
                (None, Some(name)) => Some(SecretPlace::Credential(name)),
                (Some(_), Some(_)) => {
                    self.wrong(&credential, &format!("give either it or `{file}`"))
                }
                (None, None) => None,
            }
        };
        if dialect != Dialect::V1 {
            return place("token").map_or(InfluxUser::Nobody, InfluxUser::Token);
        }
        let password = place("password");
        match (self.line("influx.user"), password) {
            (Some(name), Some(place)) => InfluxUser::Password { name, place },
            (None, None) => InfluxUser::Nobody,
            (Some(_), None) => {
                let help = "with `influx.user` goes `influx.password_file` or \
                            `influx.password_credential`";
                self.lacks("influx.password_file", help).unwrap_or(InfluxUser::Nobody)
            }
            (None, Some(_)) => {
                self.lacks("influx.user", "a password needs its user").unwrap_or(InfluxUser::Nobody)
            }
        }
    }

    /// A text of its kind.
    pub(super) fn line(&mut self, key: &str) -> Option<String> {
        let text = match &self.values.get(key)?.kind {
            ValueKind::String(text) => text.clone(),
            other => {
                let label = format!("this is {}", kind_word(other));
                let message = format!("`{key}` must be a text");
                let diagnostic = self.about(code_of(key), key, message, &label);
                self.found.push(diagnostic.help("put it in quotes"));
                return None;
            }
        };
        let is_word = kind_of(key) == Some(Kind::Word);
        let plain = |c: char| !c.is_control();
        if text.trim().is_empty() || text.len() > 512 || !text.chars().all(plain) {
            return self.wrong(key, "use a text of one line, 1 to 512 bytes");
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if is_word && !text.chars().all(fits) {
            return self.wrong(key, "use letters, digits, and - _ .");
        }
        Some(text)
    }

    /// Notes that a value does not fit; always `None`.
    pub(super) fn wrong<T>(&mut self, key: &str, help: &str) -> Option<T> {
        // Said once: a text that is none has been noted.
        let message = format!("`{key}` cannot be this");
        let diagnostic = self.about(code_of(key), key, message, "does not fit");
        self.found.push(diagnostic.help(help.to_owned()));
        None
    }

    /// Notes that a key is missing; always `None`.
    pub(super) fn lacks<T>(&mut self, key: &str, help: &str) -> Option<T> {
        if self.values.contains_key(key) {
            // It is there, and was found wrong.
            return None;
        }
        let message = format!("`{key}` is missing");
        let table = key.rsplit_once('.').map_or(key, |(table, _)| table);
        let diagnostic: Diagnostic = self.about(code_of(key), table, message, "in this table");
        self.found.push(diagnostic.help(help.to_owned()));
        None
    }
}

/// The code of what is wrong in a table.
fn code_of(key: &str) -> &'static Code {
    match key.split('.').next() {
        Some("cmms") => &CMMS_SETTING,
        Some("work") => &WORK_SETTING,
        Some("notify") => &NOTIFY_SETTING,
        _ => &INFLUX_SETTING,
    }
}

#[cfg(test)]
mod tests {
    use trimloop_recipe::diagnostic::{Color, render};

    use super::super::{Environment, Settings};
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        let environment = Environment { variables: variables.iter().map(own).collect() };
        Settings::from_text(Some(PathBuf::from("/plant/trimloop.toml")), text, &environment)
            .map_err(|found| render(&found, Color::Never))
    }

    /// What is left out has its default; paths count from the file; the environment wins.
    #[test]
    fn each_dialect_is_read() {
        let text = "name = \"cell-1\"\n[influx]\nurl = \"http://db:8086\"\ndialect = \"v1\"\n\
                    database = \"plant\"\nuser = \"t\"\npassword_file = \"pw\"\n";
        let influx = load(text, &[("TRIMLOOP_INFLUX__BATCH", "1000")]).unwrap().influx.unwrap();
        assert_eq!((influx.cell.as_str(), influx.site.as_str()), ("cell-1", ""));
        assert_eq!((influx.max_age, influx.batch), (Span::from_secs(14 * 86_400), 1000));
        let place = SecretPlace::File(PathBuf::from("/plant/pw"));
        assert_eq!(influx.user, InfluxUser::Password { name: "t".into(), place });
        let text = "[influx]\nurl = \"https://db\"\ndialect = \"v2\"\norg = \"o\"\nbucket = \"b\"\n\
                    token_credential = \"influx-token\"\nmax_age = \"36 h\"\nbatch = 2000\n";
        let influx = load(text, &[]).unwrap().influx.unwrap();
        assert_eq!((influx.max_age, influx.batch), (Span::from_secs(36 * 3600), 2000));
        let place = SecretPlace::Credential("influx-token".into());
        assert_eq!(influx.user, InfluxUser::Token(place));
        assert_eq!(load("", &[]).unwrap().influx, None);
    }

    /// Each mistake says what, where and what next, and a secret is never shown.
    #[test]
    fn mistakes_are_told_and_secrets_are_not() {
        let v1 = "[influx]\nurl = \"http://db:8086\"\ndialect = \"v1\"\ndatabase = \"d\"\n";
        let with = |more: &str| format!("{v1}{more}\n");
        for (text, expected) in [
            ("[influx]\nsite = \"x\"\n".to_owned(), &["TL0710", "`influx.url` is missing"][..]),
            (with("").replace("http:", "ftp:"), &["TL0710", "influx.url", ":2:7", "http://"]),
            (with("").replace(":8086", ":x"), &["TL0710", "influx.url"]),
            (with("").replace("v1", "v9"), &["TL0710", "influx.dialect", ":3:11"]),
            (with("").replace("database", "bucket"), &["`influx.database` is missing", "bucket"]),
            (with("bucket = \"b\""), &["TL0710", "no meaning in dialect v1", ":5:"]),
            (with("user = \"t\""), &["`influx.password_file` is missing"]),
            (with("max_age = \"2 weeks\""), &["influx.max_age", "400 d"]),
            (with("batch = 10"), &["influx.batch", "1000 to 5000"]),
            (with("site = \"a b\""), &["influx.site"]),
            (with("database = 5").replace("database = \"d\"\n", ""), &["must be a text"]),
            (with("token = \"s3cret\""), &["TL0711", "influx.token", "token_file"]),
            (with("password = \"s3cret\""), &["TL0711", "password_credential"]),
            (with("").replace("db:", "me:s3cret@db:"), &["TL0711", "influx.url"]),
        ] {
            let shown = load(&text, &[]).unwrap_err();
            for part in expected {
                assert!(shown.contains(part), "{part:?} is missing in\n{shown}\nof\n{text}");
            }
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let shown = load(v1, &[("TRIMLOOP_INFLUX__TOKEN", "s3cret")]).unwrap_err();
        assert!(shown.contains("TL0711") && !shown.contains("s3cret"), "{shown}");
    }
}
