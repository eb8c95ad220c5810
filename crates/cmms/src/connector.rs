//! Which system, where, and who we are to it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use trimloop_core::time::Span;
use trimloop_recipe::diagnostic::{Color, Diagnostic, render};

use crate::http::TimeLimits;
use crate::rest::{Rest, SHIPPED};
use crate::secret::SecretPlace;
use crate::wake::Wake;
use crate::when::Clock;
use crate::{WorkSystem, atlas, maintainx, maximo, sap};

/// Which adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `MaintainX`.
    MaintainX,
    /// Maintenance notifications of SAP S/4HANA.
    Sap,
    /// IBM Maximo.
    Maximo,
    /// Atlas CMMS.
    Atlas,
    /// Any product that a preset describes.
    Rest,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::MaintainX, Self::Sap, Self::Maximo, Self::Atlas, Self::Rest];

    /// Word in the settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::MaintainX => "maintainx",
            Self::Sap => "sap",
            Self::Maximo => "maximo",
            Self::Atlas => "atlas",
            Self::Rest => "rest",
        }
    }

    /// What a word in the settings means.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// One connector, as the settings give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector {
    /// Which adapter.
    pub kind: Kind,
    /// `http://` or `https://`, host, port, perhaps a path.
    pub url: String,
    /// Name of the user, client or key, where the login has one.
    pub user: Option<String>,
    /// Password, token or key.
    pub secret: Option<SecretPlace>,
    /// Certificates that the server is judged by (PEM), instead of those of public issuers.
    pub ca_file: Option<PathBuf>,
    /// For [`Kind::Rest`]: a file, or the name of a shipped preset.
    pub preset: Option<PathBuf>,
    /// Between two looks at what has changed; whoever drives the adapter keeps it.
    pub poll: Span,
    /// Where the product's webhooks are heard, which make the next look come at once.
    pub wake: Option<Wake>,
    /// At most so many requests in a minute; the product's own number where there is none.
    pub requests_per_minute: Option<u32>,
    /// What else the product must be told, such as `site` or `queue`.
    pub set: BTreeMap<String, String>,
    /// How long requests may take.
    pub limits: TimeLimits,
}

impl Connector {
    /// With what most need.
    pub fn new(kind: Kind, url: &str) -> Self {
        Self {
            kind,
            url: url.to_owned(),
            user: None,
            secret: None,
            ca_file: None,
            preset: None,
            poll: Span::from_secs(120),
            wake: None,
            requests_per_minute: None,
            set: BTreeMap::new(),
            limits: TimeLimits::default(),
        }
    }

    /// A value of `set` that must be there.
    pub(crate) fn needs(&self, key: &str, what: &str) -> Result<String, ConfigError> {
        let found = self.set.get(key).filter(|value| !value.is_empty()).cloned();
        found.ok_or_else(|| ConfigError::setting(&format!("set.{key}"), format!("missing: {what}")))
    }

    /// Only these keys of `set` mean something.
    pub(crate) fn allows(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.set.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let why = format!("not known here; there is {}", known.join(", "));
                Err(ConfigError::setting(&format!("set.{key}"), why))
            }
        }
    }

    pub(crate) fn wants_secret(&self, what: &str) -> Result<SecretPlace, ConfigError> {
        let why = format!("missing: {what}; name its file or its credential");
        self.secret.clone().ok_or_else(|| ConfigError::setting("secret_file", why))
    }
}

/// Why a connector cannot be used.
#[derive(Debug)]
pub enum ConfigError {
    /// A value of the settings.
    Setting {
        /// Its key below `[cmms]`.
        key: String,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The preset cannot be read.
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The preset has mistakes.
    Preset(Vec<Diagnostic>),
    /// The certificates cannot be used.
    Ca(String),
}

impl ConfigError {
    pub(crate) fn setting(key: &str, why: impl Into<String>) -> Self {
        Self::Setting { key: key.to_owned(), why: why.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { key, why } => write!(f, "cmms.{key}: {why}"),
            Self::Read { path, why } => {
                write!(f, "the preset {} cannot be read: {why}", path.display())
            }
            Self::Preset(found) => f.write_str(render(found, Color::Never).trim_end()),
            Self::Ca(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ConfigError {}

/// An adapter for these settings; nothing is asked yet.
///
/// # Errors
///
/// [`ConfigError`].
pub fn connect(config: &Connector, clock: Clock) -> Result<Box<dyn WorkSystem>, ConfigError> {
    check_url(&config.url)?;
    if config.kind != Kind::Rest && config.preset.is_some() {
        return Err(ConfigError::setting("preset", "only kind = \"rest\" has presets"));
    }
    Ok(match config.kind {
        Kind::MaintainX => Box::new(maintainx::MaintainX::new(config, clock)?),
        Kind::Sap => Box::new(sap::Sap::new(config, clock)?),
        Kind::Maximo => Box::new(maximo::Maximo::new(config, clock)?),
        Kind::Atlas => Box::new(atlas::Atlas::new(config, clock)?),
        Kind::Rest => {
            let (file, text) = preset(config.preset.as_deref())?;
            Box::new(Rest::new(config, &file, &text, clock)?)
        }
    })
}

/// Name and text of a preset.
fn preset(path: Option<&Path>) -> Result<(String, String), ConfigError> {
    let names = SHIPPED.map(|(name, _)| name).join(", ");
    let path = path.ok_or_else(|| {
        ConfigError::setting("preset", format!("missing: a file, or one of {names}"))
    })?;
    let shipped = SHIPPED.iter().find(|(name, _)| Path::new(name) == path);
    if let Some((name, text)) = shipped {
        return Ok((format!("cmms/{name}.toml"), (*text).to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        why: format!("{error}; shipped presets are {names}"),
    })?;
    Ok((path.display().to_string(), text))
}

fn check_url(url: &str) -> Result<(), ConfigError> {
    match url_mistake(url) {
        Some(why) => Err(ConfigError::setting("url", why)),
        None => Ok(()),
    }
}

/// What is wrong with an address, if something is. A secret over an open line is read by anybody on
/// it; on one's own machine there is no line.
pub(crate) fn url_mistake(url: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some("begin it with https://, then the host");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains('@') || rest.contains(['?', '#', ' ']) {
        return Some("host, port and path only; user and secret have keys of their own");
    }
    let name = if host.starts_with('[') {
        host.split(']').next().unwrap_or_default().trim_start_matches('[')
    } else {
        host.split(':').next().unwrap_or_default()
    };
    match scheme {
        "https" => None,
        "http" if is_this_machine(name) => None,
        "http" => Some(
            "use https://: over http:// anybody on the line reads the secret (only this machine \
             itself may be asked so)",
        ),
        _ => Some("begin it with https://"),
    }
}

/// Whether a host, without a port, is this machine itself.
pub fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_encrypted_or_local() {
        for good in [
            "https://api.example/v1",
            "http://127.0.0.1:8080/x",
            "http://localhost",
            "http://[::1]:80/",
        ] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for wrong in [
            "api.example",
            "http://api.example",
            "ftp://127.0.0.1",
            "https://",
            "https://user:pw@api.example",
            "https://api.example/?token=x",
            "http://127.example",
        ] {
            let why = check_url(wrong).unwrap_err().to_string();
            assert!(why.starts_with("cmms.url: "), "{why}");
        }
    }

    #[test]
    fn kinds_have_words() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.word()), Some(kind));
        }
        assert_eq!(Kind::parse("fiix"), None);
    }

    #[test]
    fn shipped_presets_are_found_by_name_and_others_in_files() {
        assert!(preset(Some(Path::new("odoo"))).unwrap().1.contains("maintenance.request"));
        let why = preset(Some(Path::new("no/such.toml"))).unwrap_err().to_string();
        assert!(why.contains("no/such.toml") && why.contains("erpnext"), "{why}");
        assert!(preset(None).unwrap_err().to_string().contains("limble"));
    }
}
