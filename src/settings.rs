//! Service settings: `trimloop.toml`, then environment variables `TRIMLOOP_SECTION__KEY`.
//!
//! The only user of the `config` crate. Layers are joined by `config`; what comes out is checked
//! here key by key, so that every mistake says file, key, why and what next, all of them at once.
//! A variable without `__` is the twin of a command-line option (`TRIMLOOP_FORMAT`), never a
//! setting, but for `TRIMLOOP_NAME`.
//!
//! Relative paths count from the folder of `trimloop.toml`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Config, ConfigError, File, FileFormat, Map, Value, ValueKind};

use trimloop_cmms::Connector;
use trimloop_recipe::codes::Code;
use trimloop_recipe::diagnostic::{Diagnostic, Source, did_you_mean};

use crate::error::{
    CMMS_SETTING, INFLUX_SETTING, NOTIFY_SETTING, SETTINGS_KEY, SETTINGS_READ, SETTINGS_SYNTAX,
    SETTINGS_VALUE, WORK_SETTING,
};
use crate::limits::{self, HistoryLimits};
use crate::realtime::RealtimePriority;

mod cmms;
mod influx;
mod notify;
mod work;

pub use influx::{Dialect, InfluxSettings, InfluxUser, SecretPlace};
pub use notify::{Channel, Way};
pub use work::{StockPlace, WorkSettings};

/// File name inside a folder given as `--config`.
pub const FILE_NAME: &str = "trimloop.toml";
/// Where an installed service keeps its settings.
pub const SYSTEM_FILE: &str = "/etc/trimloop/trimloop.toml";
/// First letters of every variable that is a setting.
const PREFIX: &str = "TRIMLOOP_";
/// The one setting outside a table.
const NAME_VARIABLE: &str = "TRIMLOOP_NAME";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Longest control socket path the operating system takes (`sun_path`, less its final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Every setting: its key, and what it takes.
const KEYS: &[(&str, Kind)] = &[
    ("name", Kind::Name),
    ("cell.recipe", Kind::Name),
    ("paths.recipes", Kind::Path),
    ("paths.plc_configs", Kind::Path),
    ("paths.models", Kind::Path),
    ("paths.data", Kind::Path),
    ("control.socket", Kind::Path),
    ("log.level", Kind::Level),
    ("runtime.realtime_priority", Kind::Line),
    ("history.raw_age", Kind::Age),
    ("history.raw_bytes", Kind::Bytes),
    ("history.rollup_age", Kind::Age),
    ("history.rollup_bytes", Kind::Bytes),
    ("history.free_bytes", Kind::Bytes),
    ("history.free_percent", Kind::Percent),
    ("influx.url", Kind::Line),
    ("influx.dialect", Kind::Line),
    ("influx.database", Kind::Line),
    ("influx.retention_policy", Kind::Line),
    ("influx.org", Kind::Line),
    ("influx.bucket", Kind::Line),
    ("influx.user", Kind::Line),
    ("influx.password_file", Kind::Line),
    ("influx.password_credential", Kind::Word),
    ("influx.token_file", Kind::Line),
    ("influx.token_credential", Kind::Word),
    ("influx.ca_file", Kind::Line),
    ("influx.site", Kind::Word),
    ("influx.cell", Kind::Word),
    ("influx.max_age", Kind::Line),
    ("influx.batch", Kind::Line),
    ("cmms.kind", Kind::Word),
    ("cmms.url", Kind::Line),
    ("cmms.user", Kind::Line),
    ("cmms.secret_file", Kind::Line),
    ("cmms.secret_credential", Kind::Word),
    ("cmms.ca_file", Kind::Line),
    ("cmms.preset", Kind::Line),
    ("cmms.poll", Kind::Line),
    ("cmms.requests_per_minute", Kind::Line),
    ("cmms.wake", Kind::Line),
    ("cmms.wake_header", Kind::Word),
    ("cmms.wake_signs", Kind::Word),
    ("cmms.wake_secret_file", Kind::Line),
    ("cmms.wake_secret_credential", Kind::Word),
    ("work.stock", Kind::Line),
    ("work.stock_token_file", Kind::Line),
    ("work.stock_ca_file", Kind::Line),
    ("work.stock_items", Kind::Line),
    ("work.stock_max_age", Kind::Line),
    ("work.people", Kind::Line),
    ("work.assign", Kind::Word),
    ("work.meter_every", Kind::Line),
    ("notify.NAME.to", Kind::Word),
    ("notify.NAME.priority", Kind::Line),
    ("notify.NAME.urgent", Kind::Line),
    ("notify.NAME.per_hour", Kind::Line),
    ("notify.NAME.group_wait", Kind::Line),
    ("notify.NAME.quiet", Kind::Line),
    ("notify.NAME.zone", Kind::Line),
    ("notify.NAME.orders", Kind::Line),
    ("notify.NAME.escalate_after", Kind::Line),
    ("notify.NAME.escalate_to", Kind::Word),
    ("notify.NAME.server", Kind::Line),
    ("notify.NAME.tls", Kind::Word),
    ("notify.NAME.user", Kind::Line),
    ("notify.NAME.secret_file", Kind::Line),
    ("notify.NAME.secret_credential", Kind::Word),
    ("notify.NAME.ca_file", Kind::Line),
    ("notify.NAME.from", Kind::Line),
    ("notify.NAME.recipients", Kind::Line),
    ("notify.NAME.url", Kind::Line),
    ("notify.NAME.file", Kind::Line),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Path,
    Level,
    Age,
    Bytes,
    Percent,
    /// A text of one line; checked where its table is.
    Line,
    /// The same, of few characters.
    Word,
}

/// The checked settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file they came from; `None` when there is none and defaults stand.
    pub file: Option<PathBuf>,
    /// Name of this cell or computer in records.
    pub name: String,
    /// Recipe to run; `None` takes the only one there is.
    pub recipe: Option<String>,
    /// Folder of recipes.
    pub recipes: PathBuf,
    /// Folder of PLC configs.
    pub plc_configs: PathBuf,
    /// Folder of models.
    pub models: PathBuf,
    /// Folder of store, journal and certificates.
    pub data: PathBuf,
    /// Control socket.
    pub socket: PathBuf,
    /// Log level of the service.
    pub log_level: String,
    /// Priority of the threads of the loop; `None` for that of any other.
    pub realtime: Option<RealtimePriority>,
    /// How much history is kept.
    pub history: HistoryLimits,
    /// Where history is sent, if anywhere.
    pub influx: Option<InfluxSettings>,
    /// What keeps the work orders, if not the built-in book.
    pub cmms: Option<Connector>,
    /// Stock, people, and what the plant's own words mean.
    pub work: WorkSettings,
    /// Who is told of alarms away from the page, by name.
    pub notify: Vec<Channel>,
}

/// What the process was started with; handed in, so that tests need not change it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// All variables.
    pub variables: Vec<(String, String)>,
}

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |x: std::ffi::OsString| x.into_string().ok();
        let variables =
            std::env::vars_os().filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect();
        Self { variables }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.variables.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Variables that are settings: key, variable, value.
    fn settings(&self) -> impl Iterator<Item = (String, &str, &str)> {
        self.variables.iter().filter_map(|(variable, value)| {
            let rest = variable.strip_prefix(PREFIX)?;
            let is_setting = rest.contains("__") || variable == NAME_VARIABLE;
            let key = rest.replace("__", ".").to_ascii_lowercase();
            is_setting.then_some((key, variable.as_str(), value.as_str()))
        })
    }
}

impl Settings {
    /// Finds and reads the settings.
    ///
    /// - `given`: what `--config` says: a file, or a folder that holds `trimloop.toml`. `None`
    ///   looks for `./trimloop.toml`, then `/etc/trimloop/trimloop.toml`, then takes defaults.
    ///
    /// # Errors
    /// Every mistake found, as diagnostics.
    pub fn load(given: Option<&Path>, environment: &Environment) -> Result<Self, Vec<Diagnostic>> {
        let file = match given {
            Some(path) if path.is_dir() => Some(path.join(FILE_NAME)),
            Some(path) => Some(path.to_owned()),
            None => [FILE_NAME, SYSTEM_FILE].iter().map(PathBuf::from).find(|p| p.is_file()),
        };
        let text = match &file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                let source = Source::new(&path.display().to_string(), "");
                let message = format!("cannot read the settings file {}: {error}", path.display());
                let help = "give a file, or a folder that holds trimloop.toml; \
                            `trimloop init DIR` writes one";
                vec![Diagnostic::error(&SETTINGS_READ, &source, 0..0, message).help(help)]
            })?,
        };
        Self::from_text(file, &text, environment)
    }

    /// Reads settings from the text of `file`.
    ///
    /// # Errors
    /// Every mistake found, as diagnostics.
    pub fn from_text(
        file: Option<PathBuf>,
        text: &str,
        environment: &Environment,
    ) -> Result<Self, Vec<Diagnostic>> {
        let shown = file.as_ref().map_or("environment".into(), |f| f.display().to_string());
        let mut reader = Reader {
            source: Source::new(&shown, text),
            environment,
            values: Map::new(),
            found: Vec::new(),
        };
        if let Err(diagnostic) = reader.join_layers() {
            return Err(vec![*diagnostic]);
        }
        let settings = reader.settings(file);
        reader.check_keys();
        if reader.found.is_empty() { Ok(settings) } else { Err(reader.found) }
    }
}

struct Reader<'a> {
    source: Arc<Source>,
    environment: &'a Environment,
    /// By dotted key.
    values: Map<String, Value>,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn join_layers(&mut self) -> Result<(), Box<Diagnostic>> {
        let mut builder =
            Config::builder().add_source(File::from_str(&self.source.text, FileFormat::Toml));
        let mut unreadable = None;
        for (key, variable, value) in self.environment.settings() {
            match builder.clone().set_override(&key, value) {
                Ok(next) => builder = next,
                // Such as TRIMLOOP___X: no path at all.
                Err(_) => unreadable = Some(variable.to_owned()),
            }
        }
        if let Some(variable) = unreadable {
            let message = format!("the variable {variable} names no setting");
            self.found.push(self.plain(&SETTINGS_KEY, message).help(known_keys()));
        }
        let joined = builder.build().map_err(|error| Box::new(self.syntax(&error)))?;
        let mut values = Map::new();
        flatten(
            "",
            Value::new(
                None,
                ValueKind::Table(match joined.cache.kind {
                    ValueKind::Table(table) => table,
                    _ => Map::new(),
                }),
            ),
            &mut values,
        );
        self.values = values;
        Ok(())
    }

    fn syntax(&self, error: &ConfigError) -> Diagnostic {
        let text = error.to_string();
        // toml's own text: "TOML parse error at line L, column C", the place drawn, then the cause.
        let number_after = |word: &str| {
            let rest = text.split_once(word)?.1;
            let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<usize>().ok()
        };
        let line = number_after("line").unwrap_or(1);
        let column = number_after("column").unwrap_or(1);
        let start: usize =
            self.source.text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let rest = self.source.text.get(start..).unwrap_or_default();
        let in_line: usize = rest.chars().take(column - 1).map(char::len_utf8).sum();
        let at = (start + in_line).min(self.source.text.len());
        let cause = text.trim_end().lines().rev().find(|l| {
            let l = l.trim_start();
            !l.is_empty() && !l.starts_with('|') && !l.starts_with("in ")
        });
        let end = (at + 1).min(self.source.text.len());
        let message = "the settings file is not TOML";
        Diagnostic::error(&SETTINGS_SYNTAX, &self.source, at..end, message)
            .label(cause.unwrap_or("here").trim())
            .help("texts stand in quotes, a table begins with [name], a key is followed by =")
    }

    /// A diagnostic about no place in the file.
    fn plain(&self, code: &'static Code, message: String) -> Diagnostic {
        Diagnostic::error(code, &Source::new("environment", ""), 0..0, message)
    }

    /// A diagnostic about the value of a key: at its place in the file, or naming its variable.
    fn about(&self, code: &'static Code, key: &str, message: String, label: &str) -> Diagnostic {
        let variable = self.environment.settings().find(|(k, _, _)| k == key);
        if let Some((_, variable, value)) = variable {
            let source = Source::new("environment", &format!("{variable}={value}"));
            let span = variable.len() + 1..variable.len() + 1 + value.len();
            return Diagnostic::error(code, &source, span, message).label(label);
        }
        let of_value =
            [&SETTINGS_VALUE, &INFLUX_SETTING, &CMMS_SETTING, &WORK_SETTING, &NOTIFY_SETTING]
                .iter()
                .any(|known| known.code == code.code);
        let span = find_key(&self.source.text, key, of_value);
        Diagnostic::error(code, &self.source, span, message).label(label)
    }

    fn check_keys(&mut self) {
        let mut found = Vec::new();
        for (key, value) in &self.values {
            let is_own = |table: &str| key.strip_prefix(table).is_some_and(|name| !name.is_empty());
            let is_free = is_own(cmms::SET) || work::TABLES.into_iter().any(is_own);
            // What it lacks is said where it is read.
            let is_empty = is_own(notify::TABLE) && matches!(value.kind, ValueKind::Table(_));
            if !is_free && !is_empty && kind_of(key).is_none() {
                let message = format!("there is no setting `{key}`");
                let near: Vec<String> = KEYS.iter().map(|(known, _)| like(known, key)).collect();
                let help = did_you_mean(key, near.iter().map(String::as_str));
                let diagnostic = self.about(&SETTINGS_KEY, key, message, "unknown");
                found.push(diagnostic.help(known_keys()).maybe_help(help));
            }
        }
        found.sort_by_key(|d| d.primary.span.start);
        self.found.append(&mut found);
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let value = self.values.get(key)?.clone();
        let text = match value.kind {
            ValueKind::String(text) => text,
            other => {
                let message = format!("`{key}` must be a text");
                let label = format!("this is {}", kind_word(&other));
                let diagnostic = self.about(&SETTINGS_VALUE, key, message, &label);
                self.found.push(diagnostic.help("put it in quotes"));
                return None;
            }
        };
        let wrong = match kind_of(key)? {
            Kind::Name => {
                let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                let bad = text.is_empty() || text.len() > 64 || !text.chars().all(fits);
                bad.then_some("use 1 to 64 letters, digits, and - _ .")
            }
            Kind::Path => text.trim().is_empty().then_some("name a folder or file"),
            Kind::Level => {
                let bad = !LEVELS.contains(&text.as_str());
                bad.then_some("use one of off, error, warn, info, debug, trace")
            }
            Kind::Age => {
                let bad = limits::parse_age(&text).is_none();
                bad.then_some("use whole days or hours, such as \"7 d\" or \"36 h\"")
            }
            Kind::Bytes => {
                let bad = limits::parse_bytes(&text).is_none();
                bad.then_some("use a whole number with MiB, GiB or TiB, such as \"20 GiB\"")
            }
            Kind::Percent => {
                let bad = limits::parse_percent(&text).is_none();
                bad.then_some("use 0 to 90 with the sign, such as \"5 %\"")
            }
            Kind::Line | Kind::Word => None,
        };
        if let Some(help) = wrong {
            let message = format!("`{key}` cannot be \"{text}\"");
            let diagnostic = self.about(&SETTINGS_VALUE, key, message, "does not fit");
            self.found.push(diagnostic.help(help));
            return None;
        }
        Some(text)
    }

    fn settings(&mut self, file: Option<PathBuf>) -> Settings {
        let base = file.as_ref().and_then(|f| f.parent()).map(Path::to_owned).unwrap_or_default();
        let mut folder = |key: &str, default: &str| {
            base.join(self.text(key).unwrap_or_else(|| default.to_owned()))
        };
        let recipes = folder("paths.recipes", "recipes");
        let plc_configs = folder("paths.plc_configs", "plc-configs");
        let models = folder("paths.models", "models");
        let data = folder("paths.data", "data");
        let socket = match self.text("control.socket") {
            Some(path) => base.join(path),
            None => default_socket(self.environment, &data, self.text("name").as_deref()),
        };
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            let message = format!("the control socket's path is too long: {}", socket.display());
            let diagnostic = self.about(&SETTINGS_VALUE, "control.socket", message, "too long");
            let help = format!("use a path of at most {SOCKET_PATH_BYTES_MAX} bytes");
            self.found.push(diagnostic.help(help));
        }
        let name = self.text("name").unwrap_or_else(|| "trimloop".to_owned());
        let influx = self.influx(&base, &name);
        let cmms = self.cmms(&base);
        let work = self.work(&base);
        let notify = self.notify(&base);
        Settings {
            file,
            name,
            recipe: self.text("cell.recipe"),
            recipes,
            plc_configs,
            models,
            data,
            socket,
            log_level: self.text("log.level").unwrap_or_else(|| "info".to_owned()),
            realtime: self.realtime(),
            influx,
            cmms,
            work,
            notify,
            history: self.history(),
        }
    }

    fn realtime(&mut self) -> Option<RealtimePriority> {
        let key = "runtime.realtime_priority";
        let value = self.values.get(key)?.clone();
        let number = match &value.kind {
            ValueKind::I64(number) => u8::try_from(*number).ok(),
            // From the environment.
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        };
        let priority = number.and_then(RealtimePriority::new);
        if priority.is_none() {
            let message = format!("`{key}` cannot be {value}");
            let diagnostic = self.about(&SETTINGS_VALUE, key, message, "does not fit");
            self.found
                .push(diagnostic.help("use a number from 1 to 49, without quotes; 20 is usual"));
        }
        priority
    }

    fn history(&mut self) -> HistoryLimits {
        let own = HistoryLimits::default();
        let mut age = |key| self.text(key).as_deref().and_then(limits::parse_age);
        let (raw_age, rollup_age) = (age("history.raw_age"), age("history.rollup_age"));
        let mut bytes = |key| self.text(key).as_deref().and_then(limits::parse_bytes);
        HistoryLimits {
            raw_age: raw_age.unwrap_or(own.raw_age),
            rollup_age: rollup_age.unwrap_or(own.rollup_age),
            raw_bytes: bytes("history.raw_bytes").unwrap_or(own.raw_bytes),
            rollup_bytes: bytes("history.rollup_bytes").unwrap_or(own.rollup_bytes),
            free_bytes: bytes("history.free_bytes").unwrap_or(own.free_bytes),
            free_percent: self
                .text("history.free_percent")
                .as_deref()
                .and_then(limits::parse_percent)
                .unwrap_or(own.free_percent),
        }
    }
}

/// `$XDG_RUNTIME_DIR/trimloop/NAME.sock`, one for each cell, else beside the data.
#[must_use]
fn default_socket(environment: &Environment, data: &Path, name: Option<&str>) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.unwrap_or("control").chars().map(plain).collect();
    match environment.get("XDG_RUNTIME_DIR") {
        Some(dir) => Path::new(dir).join("trimloop").join(format!("{name}.sock")),
        None => data.join("control.sock"),
    }
}

/// What a setting takes; `None` for a key that is none.
fn kind_of(key: &str) -> Option<Kind> {
    KEYS.iter().find(|(known, _)| like(known, key) == key).map(|(_, kind)| *kind)
}

/// A known key with the name that another one gives its channel.
fn like(known: &str, key: &str) -> String {
    let of_channel = known.strip_prefix(notify::NAME);
    let name = key.strip_prefix(notify::TABLE).and_then(|rest| rest.split('.').next());
    match of_channel.zip(name) {
        Some((own, name)) => format!("{}{name}.{own}", notify::TABLE),
        None => known.to_owned(),
    }
}

fn known_keys() -> String {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    format!("the settings are {}", keys.join(", "))
}

fn kind_word(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Boolean(_) => "true or false",
        ValueKind::String(_) => "a text",
        ValueKind::Float(_) => "a number with a fraction",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
        ValueKind::Nil => "nothing",
        _ => "a number",
    }
}

/// Dotted keys of all leaves; an empty table is a leaf too.
fn flatten(prefix: &str, value: Value, out: &mut Map<String, Value>) {
    match value.kind {
        ValueKind::Table(table) if prefix.is_empty() || !table.is_empty() => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&key, value, out);
            }
        }
        ValueKind::Table(_) if KEYS.iter().any(|(k, _)| k.starts_with(&format!("{prefix}."))) => {}
        _ => {
            out.insert(prefix.to_owned(), value);
        }
    }
}

/// Where a key stands in a settings file, or its value. Settings files are simple: one key a line
/// under `[table]` headers; anything cleverer is marked at the begin of the file.
fn find_key(text: &str, key: &str, value: bool) -> Range<usize> {
    let mut table = String::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let begin = offset;
        offset += line.len();
        let trimmed = line.trim();
        if let Some(header) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = header.trim().to_owned();
            if key == table || key.starts_with(&format!("{table}.")) && !key_follows(text, key) {
                let at = begin + line.find('[').unwrap_or(0);
                return at..at + header.len() + 2;
            }
            continue;
        }
        let Some((name, right)) = line.split_once('=') else { continue };
        let bare = name.trim();
        let full = if table.is_empty() { bare.to_owned() } else { format!("{table}.{bare}") };
        if full == key || key.starts_with(&format!("{full}.")) {
            if value {
                let shown = right.split('#').next().unwrap_or(right);
                let lead = right.len() - right.trim_start().len();
                let at = begin + name.len() + 1 + lead;
                return at..at + shown.trim().len();
            }
            let at = begin + name.len() - name.trim_start().len();
            return at..at + bare.len();
        }
    }
    0..0
}

/// Whether the key stands on a line of its own somewhere.
fn key_follows(text: &str, key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    text.lines().any(|line| line.split_once('=').is_some_and(|(name, _)| name.trim() == last))
}

#[cfg(test)]
mod tests {
    use trimloop_recipe::diagnostic::{Color, render};

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Environment { variables: variables.iter().map(own).collect() }
    }

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let file = Some(PathBuf::from("/plant/trimloop.toml"));
        Settings::from_text(file, text, &environment(variables))
            .map_err(|found| render(&found, Color::Never))
    }

    /// Without a file everything has its default, in the current folder.
    #[test]
    fn defaults_stand_alone() {
        let settings = Settings::from_text(None, "", &Environment::default()).unwrap();
        assert_eq!(settings.recipes, Path::new("recipes"));
        assert_eq!(settings.socket, Path::new("data/control.sock"));
        assert_eq!(settings.name, "trimloop");
        assert_eq!(settings.history, HistoryLimits::default());
        let settings = load("[history]\nraw_age = \"36 h\"\nfree_percent = \"0 %\"\n", &[]);
        let history = settings.unwrap().history;
        assert_eq!((history.raw_age.as_millis(), history.free_percent), (129_600_000, 0));
    }

    /// The environment wins over the file; paths count from the file; option twins are no settings.
    #[test]
    fn the_environment_wins_over_the_file() {
        let text = "name = \"cell-1\"\n[paths]\ndata = \"var\"\n[log]\nlevel = \"warn\"\n";
        let settings = load(
            text,
            &[
                ("TRIMLOOP_PATHS__DATA", "/srv/data"),
                ("TRIMLOOP_LOG__LEVEL", "debug"),
                ("TRIMLOOP_FORMAT", "json"),
                ("XDG_RUNTIME_DIR", "/run/user/7"),
            ],
        )
        .unwrap();
        assert_eq!(settings.data, Path::new("/srv/data"));
        assert_eq!(settings.recipes, Path::new("/plant/recipes"));
        assert_eq!(settings.socket, Path::new("/run/user/7/trimloop/cell-1.sock"));
        assert_eq!(settings.log_level, "debug");
        assert_eq!(settings.name, "cell-1");
        assert_eq!(settings.realtime, None);
    }

    #[test]
    fn a_realtime_priority_is_asked_for_in_file_or_environment() {
        let asked = Some(RealtimePriority::new(20).unwrap());
        let file = load("[runtime]\nrealtime_priority = 20\n", &[]).unwrap();
        let variable = load("", &[("TRIMLOOP_RUNTIME__REALTIME_PRIORITY", "20")]).unwrap();
        assert_eq!((file.realtime, variable.realtime), (asked, asked));
    }

    /// Each mistake says where it is, why it is one and what to do; several come together.
    #[test]
    fn mistakes_say_file_key_why_and_what_next() {
        for (text, variables, expected) in [
            (
                "[log]\nlevle = \"info\"\n",
                &[][..],
                &["TL0103", "trimloop.toml:2:1", "log.levle", "did you mean"][..],
            ),
            (
                "[log]\nlevel = \"loud\"  # too loud\n",
                &[],
                &["TL0104", "trimloop.toml:2:9", "\"loud\"", "off, error"],
            ),
            ("name = 5\n", &[], &["TL0104", "trimloop.toml:1:8", "must be a text", "quotes"]),
            ("name = cell 1\n", &[], &["TL0102", "trimloop.toml:1:", "name = cell 1"]),
            (
                "",
                &[("TRIMLOOP_LOG__LEVEL", "loud")],
                &["TL0104", "environment:1:21", "TRIMLOOP_LOG__LEVEL=loud"],
            ),
            (
                "[history]\nraw_age = \"7 days\"\nraw_bytes = 20\n",
                &[],
                &["TL0104", "trimloop.toml:2:11", "\"7 d\"", "trimloop.toml:3:13", "quotes"],
            ),
            ("", &[("TRIMLOOP_LOG__LEVLE", "info")], &["TL0103", "log.levle", "log.level"]),
            ("[log]\nlevel = \"x\"\n[cell]\nrecipe = 1\n", &[], &[":2:9", ":4:10"]),
            (
                "[runtime]\nrealtime_priority = 50\n",
                &[],
                &["TL0104", "trimloop.toml:2:21", "50", "1 to 49"],
            ),
        ] {
            let shown = load(text, variables).unwrap_err();
            for part in expected {
                assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
            }
        }
    }

    /// A missing file is an error, not a default.
    #[test]
    fn a_missing_file_is_said() {
        let path = Path::new("/nonexistent/trimloop.toml");
        let found = Settings::load(Some(path), &Environment::default()).unwrap_err();
        let shown = render(&found, Color::Never);
        assert!(shown.contains("TL0101") && shown.contains("trimloop init"), "{shown}");
    }
}
