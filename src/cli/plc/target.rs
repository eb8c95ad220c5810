//! Which PLC, and which of its nodes: from words on the command line.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trimloop_recipe::diagnostic::{did_you_mean, has_errors};
use trimloop_recipe::plc_config::{
    Address, AddressError, Identifier, OPC_UA, PerCall, Security, User, parse_id, parse_path,
};
use trimloop_recipe::{PlcConfig, check_plc_config};

use super::super::{Exit, Failure, Global, Ui, load};
use crate::error::{FILE_READ, NODE_NOT_FOUND, PLC_BLOCKED, PLC_REFUSED, PLC_UNREACHABLE, REQUEST};
use crate::plc::{ExploreError, LinkConfig, Sought};
use crate::service::plc_link;
use crate::settings::Settings;

/// Port of OPC UA where none is said.
const PORT: u16 = 4840;
/// Publishing interval for people, where no PLC config says another.
const PUBLISHING: Duration = Duration::from_millis(100);

/// A PLC to ask.
pub(super) struct Target {
    /// How it is reached; without nodes.
    pub(super) link: LinkConfig,
    /// Its PLC config, if it is named by one.
    pub(super) plc: Option<PlcConfig>,
}

impl Target {
    /// By address, by name or file of a PLC config, or the only one there is.
    pub(super) fn find(global: &Global, named: Option<&str>) -> Result<Self, Failure> {
        let settings = load::settings(global)?;
        match named {
            Some(url) if is_url(url) => Ok(Self::at(&settings, url)),
            Some(file) if file.ends_with(".toml") => Self::of(&settings, from_file(file)?),
            named => Self::of(&settings, from_project(&settings, named)?),
        }
    }

    /// The same, for words of which only the first may name the PLC.
    pub(super) fn first_of<'a>(
        global: &Global,
        words: &'a [String],
    ) -> Result<(Self, &'a [String]), Failure> {
        let Some((first, rest)) = words.split_first() else {
            return Ok((Self::find(global, None)?, words));
        };
        let settings = load::settings(global)?;
        let config = || settings.plc_configs.join(format!("{first}.toml")).is_file();
        if is_url(first) || first.ends_with(".toml") || config() {
            return Ok((Self::find(global, Some(first))?, rest));
        }
        Ok((Self::find(global, None)?, words))
    }

    /// An address, with or without scheme and port; no PLC config.
    pub(super) fn address(global: &Global, text: &str) -> Result<Self, Failure> {
        let settings = load::settings(global)?;
        if is_url(text) {
            return Ok(Self::at(&settings, text));
        }
        let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
            !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':')
        });
        let port = if has_port { String::new() } else { format!(":{PORT}") };
        Ok(Self::at(&settings, &format!("opc.tcp://{text}{port}")))
    }

    fn at(settings: &Settings, url: &str) -> Self {
        let link = LinkConfig {
            name: url.to_owned(),
            url: url.to_owned(),
            publishing: PUBLISHING,
            security: Security::None,
            user: User::Anonymous,
            per_call: PerCall::default(),
            standby: Vec::new(),
            nodes: Vec::new(),
            units: BTreeMap::new(),
            client_name: settings.name.clone(),
            pki_dir: settings.data.join("pki"),
        };
        Self { link, plc: None }
    }

    fn of(settings: &Settings, plc: PlcConfig) -> Result<Self, Failure> {
        let pki = settings.data.join("pki");
        let link = plc_link(&plc, Vec::new(), &settings.name, &pki, &settings.plc_configs);
        Ok(Self { link, plc: Some(plc) })
    }

    /// Says so when an address alone leads over a network without protection.
    pub(super) fn warn_if_open(&self, ui: &Ui) {
        let host = self.link.url.split("://").nth(1).unwrap_or_default();
        let host = host.split('/').next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        let here = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if self.plc.is_none() && !here {
            ui.note(
                "note: an address alone is asked without protection; anyone on that network could \
                 read along, or answer in the PLC's place",
            );
        }
    }

    /// Aliases of the PLC config, then those made from the server's own namespaces.
    pub(super) fn aliases(&self, namespaces: &[String]) -> Aliases {
        let mut aliases = Aliases::default();
        for (alias, uri) in self.plc.iter().flat_map(|plc| &plc.namespaces) {
            aliases.pairs.push((alias.clone(), uri.clone()));
        }
        for uri in namespaces.iter().filter(|uri| *uri != OPC_UA) {
            aliases.take(uri);
        }
        aliases
    }

    /// Turns a failure of looking around into one of the command line.
    pub(super) fn failure(&self, error: &ExploreError) -> Failure {
        let at = format!("{} at {}", self.link.name, self.link.url);
        let at = if self.plc.is_some() { at } else { self.link.url.clone() };
        let message = format!("{at}: {error}");
        match error {
            ExploreError::Unreachable(_) => {
                Failure::new(&PLC_UNREACHABLE, message, Exit::Unreachable).help(
                    "is it switched on, is the address right, does a firewall stand between? \
                     `trimloop plc discover` asks for less",
                )
            }
            ExploreError::Refused(_) => Failure::new(&PLC_REFUSED, message, Exit::NotPermitted),
            ExploreError::Blocked(_) => Failure::new(&PLC_BLOCKED, message, Exit::Unreachable),
            ExploreError::NotThere(_) => Failure::new(&NODE_NOT_FOUND, message, Exit::Failed),
            ExploreError::Config(_) => Failure::new(&REQUEST, message, Exit::Usage)
                .help("write the address as opc.tcp://HOST:PORT"),
        }
    }
}

fn is_url(text: &str) -> bool {
    text.contains("://")
}

fn from_file(file: &str) -> Result<PlcConfig, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(&FILE_READ, format!("cannot read {file}: {error}"), Exit::Usage)
    })?;
    let (config, found) = check_plc_config(file, &text);
    config.ok_or(Failure::Diagnostics(found, Exit::Failed))
}

fn from_project(settings: &Settings, named: Option<&str>) -> Result<PlcConfig, Failure> {
    let found = load::project(settings, &[]);
    let names: Vec<String> = found.plc_configs.iter().map(|plc| plc.name.clone()).collect();
    let chosen = match named {
        Some(name) => found.plc_configs.into_iter().find(|plc| plc.name == name),
        None if found.plc_files.len() == 1 => found.plc_configs.into_iter().next(),
        None => None,
    };
    if let Some(plc) = chosen {
        return Ok(plc);
    }
    let folder = settings.plc_configs.display();
    if has_errors(&found.diagnostics) {
        return Err(Failure::Diagnostics(found.diagnostics, Exit::Failed));
    }
    let message = match named {
        Some(name) => format!("there is no PLC config \"{name}\" in {folder}"),
        None if names.is_empty() => format!("no PLC is named, and {folder} holds no PLC config"),
        None => format!("no PLC is named, and there are several: {}", names.join(", ")),
    };
    let near = named.and_then(|name| did_you_mean(name, names.iter().map(String::as_str)));
    let help = near.unwrap_or_else(|| {
        "name an address (opc.tcp://HOST:PORT), a PLC config, or its folder with --config"
            .to_owned()
    });
    Err(Failure::new(&REQUEST, message, Exit::Usage).help(help))
}

/// Short words for namespaces.
#[derive(Clone, Debug, Default)]
pub(super) struct Aliases {
    /// Alias and URI.
    pub(super) pairs: Vec<(String, String)>,
}

impl Aliases {
    /// The alias of a URI.
    pub(super) fn of(&self, uri: &str) -> Option<String> {
        self.pairs.iter().find(|(_, known)| known == uri).map(|(alias, _)| alias.clone())
    }

    /// The URI of an alias.
    pub(super) fn uri(&self, alias: &str) -> Option<String> {
        self.pairs.iter().find(|(known, _)| known == alias).map(|(_, uri)| uri.clone())
    }

    /// Gives a namespace an alias: the last word of its URI that can be one.
    pub(super) fn take(&mut self, uri: &str) -> String {
        if let Some(known) = self.of(uri) {
            return known;
        }
        let mut words = uri.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        // Version numbers, hosts' top levels and the like say nothing.
        let dull = ["", "http", "https", "urn", "UA", "com", "org", "de", "www"];
        let good = |word: &&str| {
            word.starts_with(|c: char| c.is_ascii_alphabetic()) && !dull.contains(word)
        };
        let word = words.rfind(good).unwrap_or("ns");
        let word: String = word.to_ascii_lowercase().chars().take(24).collect();
        let mut alias = word.clone();
        let mut number = 2;
        while self.uri(&alias).is_some() {
            alias = format!("{word}{number}");
            number += 1;
        }
        self.pairs.push((alias.clone(), uri.to_owned()));
        alias
    }

    /// An address as text, `press:s=MeltTemp` or a path.
    pub(super) fn text(&self, address: &Address) -> Option<String> {
        address.write(|uri| self.of(uri)).map(|(_, text)| text)
    }

    /// A node by its name in the PLC config, `ALIAS:s=TEXT`, `nsu=URI;s=TEXT`, `ns=2;s=TEXT` or a
    /// browse path.
    pub(super) fn sought(&self, plc: Option<&PlcConfig>, text: &str) -> Result<Sought, Failure> {
        if let Some(plc) = plc
            && let Some(node) = plc.node(text).and_then(|place| plc.nodes.get(place))
        {
            return Ok(Sought::Address(node.address.clone()));
        }
        let uri = |alias: &str| self.uri(alias);
        let parsed = if let Some(rest) = text.strip_prefix("nsu=") {
            let (namespace, rest) =
                rest.rsplit_once(';').ok_or_else(|| no_node(text, "has no `;`"))?;
            match parse_id(rest, uri) {
                Ok(Address::Id { identifier, .. }) => {
                    Ok(Address::Id { namespace: namespace.to_owned(), identifier })
                }
                other => other,
            }
        } else if let Some(rest) = text.strip_prefix("ns=") {
            let (index, rest) = rest.split_once(';').ok_or_else(|| no_node(text, "has no `;`"))?;
            let index = index.parse().map_err(|_| no_node(text, "`ns=` takes a number"))?;
            return match parse_id(rest, uri) {
                Ok(Address::Id { identifier, .. }) => Ok(Sought::Index(index, identifier)),
                Ok(_) | Err(_) => Err(no_node(text, "after the `;` comes s=, i=, g= or b=")),
            };
        } else if is_id(text) {
            parse_id(text, uri)
        } else if text.contains('/') {
            parse_path(text, uri)
        } else if let Some(plc) = plc {
            let names = plc.nodes.iter().map(|node| node.name.as_str());
            let failure = no_node(text, "is no node of this PLC config");
            return Err(match did_you_mean(text, names) {
                Some(near) => failure.help(near),
                None => failure,
            });
        } else {
            return Err(no_node(text, "is neither an id nor a path"));
        };
        match parsed {
            Ok(address) => Ok(Sought::Address(address)),
            Err(AddressError::Shape(why)) => Err(no_node(text, why)),
            Err(AddressError::Alias(alias)) => {
                let known: Vec<&str> = self.pairs.iter().map(|(alias, _)| alias.as_str()).collect();
                let why = format!("has an unknown alias {alias}");
                let help = format!("the aliases are: {}", known.join(", "));
                Err(no_node(text, &why).help(help))
            }
        }
    }
}

/// Whether a text has the shape of `s=..` or `ALIAS:s=..`.
fn is_id(text: &str) -> bool {
    let head = text.split_once('=').map_or("", |(head, _)| head);
    let kind = head.rsplit(':').next().unwrap_or_default();
    matches!(kind, "s" | "i" | "g" | "b") && !head.contains('/')
}

fn no_node(text: &str, why: &str) -> Failure {
    Failure::new(&REQUEST, format!("{text}: {why}"), Exit::Usage).help(
        "write a node as its name in the PLC config, ALIAS:s=TEXT, \"nsu=URI;s=TEXT\", \
         \"ns=2;s=TEXT\", or a path such as Objects/press:Press4/press:MeltTemp",
    )
}

/// Runs one thing that waits for a server, on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&PLC_UNREACHABLE, error.to_string(), Exit::Internal))?;
    Ok(runtime.block_on(work))
}

/// Whether `text` fits a pattern of `*`, `?` and letters; case does not matter.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.to_lowercase().chars().collect(), text.to_lowercase().chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star stands, and how far it reaches so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    p = at + 1;
                    t = reach + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

/// A path for messages.
pub(super) fn shown(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).display().to_string()
}

/// Whether a text is an identifier without kind or namespace, as exports of other tools have it.
pub(super) fn bare(namespace: &str, text: &str) -> Address {
    Address::Id { namespace: namespace.to_owned(), identifier: Identifier::Text(text.to_owned()) }
}

/// `--write-tags` as a path, or nothing for `-`.
pub(super) fn file_of(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path).filter(|path| *path != Path::new("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patterns fit what people expect of them.
    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("*temp*", "MeltTemp", true),
            ("*Temp", "MeltTempMax", false),
            ("melt?emp", "MeltTemp", true),
            ("Objects/*/MeltTemp", "Objects/Press4/Zone1/MeltTemp", true),
            ("*a*b*c*", "xxaxxbxx", false),
            ("*a*b*c*", "aabbcc", true),
            ("", "", true),
            ("", "a", false),
            ("**", "anything", true),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    /// Aliases are short, and no two are the same.
    #[test]
    fn aliases_are_made_from_uris() {
        let mut aliases = Aliases::default();
        for (uri, alias) in [
            ("urn:trimloop:simulator", "simulator"),
            ("http://www.siemens.com/simatic-s7-opcua", "simatic-s7-opcua"),
            ("http://opcfoundation.org/UA/DI/", "di"),
            ("KEPServerEX", "kepserverex"),
            ("urn:other:simulator", "simulator2"),
            ("urn:1:2", "ns"),
            ("urn:trimloop:simulator", "simulator"),
        ] {
            assert_eq!(aliases.take(uri), alias, "{uri}");
        }
    }

    /// Nodes are found in every way of writing them.
    #[test]
    fn nodes_as_people_write_them() {
        let mut aliases = Aliases::default();
        aliases.take("urn:x:press");
        let text = |text: &str| Identifier::Text(text.to_owned());
        let melt = || Sought::Address(bare("urn:x:press", "A.B/C"));
        for (word, expect) in [
            ("press:s=A.B/C", melt()),
            ("nsu=urn:x:press;s=A.B/C", melt()),
            ("ns=2;s=A.B/C", Sought::Index(2, text("A.B/C"))),
        ] {
            assert_eq!(aliases.sought(None, word).expect(word), expect);
        }
        assert!(matches!(
            aliases.sought(None, "Objects/press:A").expect("a path"),
            Sought::Address(Address::Path(steps)) if steps.len() == 2
        ));
        for word in ["melt_temp", "pres:s=A", "ns=x;s=A", "nsu=urn", "ns=2"] {
            assert!(aliases.sought(None, word).is_err(), "{word}");
        }
    }
}
