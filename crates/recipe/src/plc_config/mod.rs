//! PLC configs: where the tags of recipes are found in one PLC, and which nodes may be written.

mod address;
mod guard;
mod profile;
mod raw;
mod security;
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;

use trimloop_core::plan::TAGS_MAX;
use trimloop_core::time::Span;

pub use address::{
    Address, AddressError, Identifier, OPC_UA, Part, Segment, Step, parse_field, parse_id,
    parse_index, parse_path,
};
pub use guard::{GuardConfig, Member, OwnerConfig, Slot};
pub use profile::{PROFILES, PerCall, Profile, profile};
pub use raw::{
    RawAsset, RawGuard, RawHeartbeat, RawLink, RawNode, RawOwner, RawPlc, RawPlcConfig,
    RawPlcLimits, RawTemplate, RawUrls, RawUser,
};
pub use security::{Policy, Secret, Security, SecurityMode, User};

use crate::check::{Values, parse};
use crate::codes;
use crate::diagnostic::{Diagnostic, Source, did_you_mean, has_errors, sort};
use crate::spanned::{At, Literal, Named};

/// A PLC config without errors.
#[derive(Clone, Debug)]
pub struct PlcConfig {
    pub(crate) source: Arc<Source>,
    /// Name.
    pub name: String,
    /// Address: `opc.tcp://HOST:PORT`.
    pub url: String,
    /// Further addresses of the same PLC, in the order in which they are tried.
    pub standby: Vec<String>,
    /// What is known of the vendor's server, if it was named.
    pub profile: Option<&'static Profile>,
    /// How the connection is protected.
    pub security: Security,
    /// Who we are to the server.
    pub user: User,
    /// Interval at which the server sends changes.
    pub publishing: Span,
    /// Most items in one call; the server's own limits win when they are lower.
    pub per_call: PerCall,
    /// Alias and URI, by alias.
    pub namespaces: Vec<(String, String)>,
    /// Life signs both ways.
    pub heartbeat: Option<HeartbeatConfig>,
    /// Times and signals of the link.
    pub link: LinkConfig,
    /// The block that grants ownership of the cell.
    pub owner: Option<OwnerConfig>,
    /// Guards of setpoints.
    pub guards: Vec<GuardConfig>,
    /// Nodes, by name. [`Self::node`] finds one.
    pub nodes: Vec<NodeConfig>,
}

/// Life signs both ways. Indices into [`PlcConfig::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Node into which our counter is written.
    pub write: usize,
    /// Node in which the PLC echoes it.
    pub echo: usize,
    /// Time between two beats.
    pub period: Span,
    /// Age of the echo after which nothing is written.
    pub timeout: Span,
}

/// Times and signals of the link. Indices into [`PlcConfig::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Silence after which every tag is Stale.
    pub stale: Span,
    /// Contact by which the PLC permits writes.
    pub enable: Option<usize>,
    /// The PLC's clock.
    pub clock: Option<usize>,
    /// Largest believable step of that clock.
    pub clock_step: Span,
    /// Largest believable difference between a stamp and our clock.
    pub skew: Span,
    /// How much of a gap is read from the PLC's own history at most; zero reads nothing.
    pub backfill: Span,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Name of its tag.
    pub name: String,
    /// Where it is found.
    pub address: Address,
    /// Its type, if stated; checked at connect.
    pub kind: Option<NodeType>,
    /// Sampling interval; zero is as fast as the server can.
    pub sampling: Span,
    /// Values kept by the server between two messages, 1 to 1000.
    pub queue: u32,
    /// Whether setpoints and the heartbeat may write it.
    pub writable: bool,
    /// Where its table begins in the file.
    pub(crate) span: (usize, usize),
}

/// The built-in types of OPC UA that trimloop reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of OPC UA")]
pub enum NodeType {
    Boolean,
    SByte,
    Byte,
    Int16,
    UInt16,
    Int32,
    UInt32,
    Int64,
    UInt64,
    Float,
    Double,
}

const TYPES: [(&str, NodeType); 11] = [
    ("Boolean", NodeType::Boolean),
    ("SByte", NodeType::SByte),
    ("Byte", NodeType::Byte),
    ("Int16", NodeType::Int16),
    ("UInt16", NodeType::UInt16),
    ("Int32", NodeType::Int32),
    ("UInt32", NodeType::UInt32),
    ("Int64", NodeType::Int64),
    ("UInt64", NodeType::UInt64),
    ("Float", NodeType::Float),
    ("Double", NodeType::Double),
];

impl NodeType {
    /// Its name in OPC UA.
    pub fn word(self) -> &'static str {
        TYPES.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// Whether it is Float or Double.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Double)
    }
}

impl PlcConfig {
    /// Place of a node by name.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.binary_search_by(|node| node.name.as_str().cmp(name)).ok()
    }

    /// The guard before a node, by the node's place.
    pub fn guard(&self, node: usize) -> Option<&GuardConfig> {
        self.guards.iter().find(|guard| guard.node == node)
    }

    /// The file it was read from.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }
}

/// Reads and checks a PLC config. `file` is its name for messages; its stem must be its name.
///
/// Returns it unless there is an error, and everything worth saying.
pub fn check_plc_config(file: &str, text: &str) -> (Option<PlcConfig>, Vec<Diagnostic>) {
    let source = Source::new(file, text);
    let mut raw: RawPlcConfig = match parse(&source) {
        Ok(raw) => raw,
        Err(diagnostic) => return (None, vec![*diagnostic]),
    };
    let mut values = Values::new(&source);
    template::expand(&mut raw, &mut values);
    let mut checker = PlcChecker { raw: &raw, values };
    let config = checker.config();
    let mut found = checker.values.found;
    sort(&mut found);
    (config.filter(|_| !has_errors(&found)), found)
}

struct PlcChecker<'a> {
    raw: &'a RawPlcConfig,
    values: Values,
}

impl PlcChecker<'_> {
    fn config(&mut self) -> Option<PlcConfig> {
        let raw = self.raw;
        self.values.check_names(&raw.node, "node", TAGS_MAX);
        self.name();
        let urls = self.addresses();
        let security = self.security(urls.as_deref());
        let user = self.user();
        let namespaces = self.namespaces();
        let profile = self.profile();
        let of_profile = profile.flatten();
        let publishing = self.publishing(of_profile);
        let per_call = self.per_call(of_profile);
        self.sampling(of_profile);
        let nodes: Vec<_> =
            raw.node.iter().map(|(name, node)| self.node(name, node, of_profile)).collect();
        self.twice(&nodes);
        let owner = self.owner();
        let guards = self.guards(&nodes);
        let heartbeat = self.heartbeat();
        let link = self.link(publishing);
        let mut urls = urls?.into_iter().map(|(url, _)| url);
        Some(PlcConfig {
            source: Arc::clone(&self.values.source),
            name: raw.plc.name.get().clone(),
            url: urls.next()?,
            standby: urls.collect(),
            profile: profile?,
            security: security?,
            user: user?,
            publishing: publishing?,
            per_call: per_call?,
            namespaces: namespaces?,
            heartbeat: heartbeat?,
            link: link?,
            owner: owner?,
            guards: guards?,
            nodes: nodes.into_iter().collect::<Option<_>>()?,
        })
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.values.push(diagnostic);
    }

    fn name(&mut self) {
        let name = &self.raw.plc.name;
        let stem = self.values.source.stem().to_owned();
        if self.values.check_name(name) && stem != name.as_str() {
            let message = format!("PLC config \"{}\" is in a file named {stem}.toml", name.get());
            let found = self
                .values
                .error(&codes::FILE_NAME, name.span(), message)
                .help(format!("call the file {}.toml", name.get()));
            self.push(found);
        }
    }

    fn time(&mut self, text: Option<&At<Literal>>, default_ms: i64, key: &str) -> Option<Span> {
        match text {
            None => Some(Span::from_millis(default_ms)),
            Some(text) => self.values.span(text, false, &format!("`{key}`")),
        }
    }

    fn namespaces(&mut self) -> Option<Vec<(String, String)>> {
        let raw = self.raw;
        let mut good = true;
        let mut seen: BTreeMap<&str, &At<String>> = BTreeMap::new();
        self.values.check_names(&raw.plc.namespaces, "namespace", 64);
        for (_, uri) in raw.plc.namespaces.iter() {
            let twice = seen.insert(uri.as_str(), uri).map(At::span);
            if uri.is_empty() || twice.is_some() {
                good = false;
                let message = if uri.is_empty() {
                    "a namespace URI is empty".to_owned()
                } else {
                    format!("two aliases stand for {}", uri.get())
                };
                let mut found = self.values.error(&codes::BAD_NAMESPACE, uri.span(), message);
                if let Some(span) = twice {
                    found = found.also(span, "also here");
                }
                self.push(found);
            }
        }
        let all = raw.plc.namespaces.iter();
        good.then(|| all.map(|(alias, uri)| (alias.get().clone(), uri.get().clone())).collect())
    }

    fn node(
        &mut self,
        name: &At<String>,
        raw: &RawNode,
        profile: Option<&Profile>,
    ) -> Option<NodeConfig> {
        let user = format!("node \"{}\"", name.get());
        let address = self.address(name, raw, &user);
        let address = self.part(raw, &user).and_then(|part| {
            let of = address?;
            Some(match part {
                Some(part) => Address::Part { of: Box::new(of), part },
                None => of,
            })
        });
        let values = &mut self.values;
        let kind = match &raw.kind {
            None => Some(None),
            Some(word) => values.word(word, &TYPES, &format!("`type` of {user}")).map(Some),
        };
        let sampling = match &raw.sampling {
            None => Some(Span::ZERO),
            Some(text) => values.span(text, true, &format!("`sampling` of {user}")),
        };
        let queue = match &raw.queue {
            None => Some(profile.and_then(|profile| profile.queue).unwrap_or(1)),
            Some(queue) => values.count(queue, 1, 1000, &format!("`queue` of {user}")),
        };
        let span = name.span();
        Some(NodeConfig {
            name: name.get().clone(),
            address: address?,
            kind: kind?,
            sampling: sampling?,
            queue: queue?,
            writable: raw.writable.as_ref().is_some_and(|writable| *writable.get()),
            span: (span.start, span.end),
        })
    }

    fn address(&mut self, name: &At<String>, raw: &RawNode, user: &str) -> Option<Address> {
        let table: &Named<At<String>> = &self.raw.plc.get().namespaces;
        let uri = |alias: &str| table.get(alias).map(|(_, uri)| uri.get().clone());
        let (text, read) = match (&raw.id, &raw.path) {
            (Some(id), None) => (id, parse_id(id, uri)),
            (None, Some(path)) => (path, parse_path(path, uri)),
            (id, _) => {
                let said = if id.is_some() { "two addresses" } else { "no address" };
                let found = self
                    .values
                    .error(&codes::NODE_ADDRESS, name.span(), format!("{user} has {said}"))
                    .help("give exactly one of `id`, `path`");
                self.push(found);
                return None;
            }
        };
        match read {
            Ok(address) => Some(address),
            Err(AddressError::Alias(alias)) => {
                let message = format!("{user} is in a namespace that is not declared: {alias}");
                let found = self
                    .values
                    .error(&codes::UNKNOWN_ALIAS, text.span(), message)
                    .label("the word before the colon is not in `namespaces`")
                    .maybe_help(did_you_mean(&alias, table.names()));
                self.push(found);
                None
            }
            Err(AddressError::Shape(why)) => {
                let found = self
                    .values
                    .error(
                        &codes::BAD_NODE,
                        text.span(),
                        format!("the address of {user} cannot be read"),
                    )
                    .label(why)
                    .help("write it as \"ALIAS:s=TEXT\" or \"ALIAS:i=NUMBER\"");
                self.push(found);
                None
            }
        }
    }

    /// The part of the node's value that is meant, if not all of it.
    #[expect(clippy::option_option, reason = "wrong, or right and absent")]
    fn part(&mut self, raw: &RawNode, user: &str) -> Option<Option<Part>> {
        let mut part = Part::default();
        let mut good = true;
        for (key, text) in [("index", &raw.index), ("field", &raw.field)] {
            let Some(text) = text else { continue };
            let read = if key == "index" {
                parse_index(text).map(|index| part.index = index)
            } else {
                parse_field(text).map(|field| part.field = field)
            };
            if let Err(AddressError::Shape(why)) = read {
                good = false;
                let found = self
                    .values
                    .error(
                        &codes::BAD_PART,
                        text.span(),
                        format!("`{key}` of {user} cannot be read"),
                    )
                    .label(why)
                    .help("write index = \"3\", index = \"1,2\" or field = \"Zones[2].Temp\"");
                self.push(found);
            }
        }
        if let (Some(writable), Some(at)) =
            (&raw.writable, raw.field.as_ref().or(raw.index.as_ref()))
            && *writable.get()
        {
            good = false;
            let found = self
                .values
                .error(
                    &codes::PART_WRITABLE,
                    writable.span(),
                    format!("{user} is part of a value and cannot be writable"),
                )
                .also(at.span(), "only this part is meant")
                .note("the whole value would have to be written, with parts that others change")
                .help("let the PLC offer the setpoint as a variable of its own");
            self.push(found);
        }
        good.then(|| (!part.index.is_empty() || !part.field.is_empty()).then_some(part))
    }

    fn twice(&mut self, nodes: &[Option<NodeConfig>]) {
        let mut seen: BTreeMap<&Address, &NodeConfig> = BTreeMap::new();
        for node in nodes.iter().flatten() {
            if let Some(other) = seen.insert(&node.address, node) {
                let message =
                    format!("nodes \"{}\" and \"{}\" have one address", other.name, node.name);
                let found = self
                    .values
                    .error(&codes::NODE_TWICE, node.span.0..node.span.1, message)
                    .also(other.span.0..other.span.1, "the other")
                    .help("was one copied from the other and not changed?");
                self.values.push(found);
            }
        }
    }

    fn named_node(&mut self, name: &At<String>, user: &str) -> Option<usize> {
        let raw = self.raw;
        let place = raw.node.position(name);
        if place.is_none() {
            let message = format!("{user} names a node that is not declared: {}", name.get());
            let found = self
                .values
                .error(&codes::UNKNOWN_NODE, name.span(), message)
                .label("no [node.…] table has this name")
                .maybe_help(did_you_mean(name, raw.node.names()));
            self.push(found);
        }
        place
    }

    fn kind_of(&self, place: Option<usize>) -> Option<NodeType> {
        let (_, node) = self.raw.node.at(place?)?;
        let word = node.kind.as_ref()?;
        TYPES.iter().find(|(known, _)| *known == word.as_str()).map(|(_, kind)| *kind)
    }

    fn wrong_kind(&mut self, name: &At<String>, place: Option<usize>, user: &str, wanted: &str) {
        let Some(kind) = self.kind_of(place) else { return };
        let message = format!("{user} cannot use a node of type {}", kind.word());
        let found = self
            .values
            .error(&codes::NODE_TYPE, name.span(), message)
            .help(format!("it needs {wanted}"));
        self.push(found);
    }

    #[expect(clippy::option_option, reason = "absent, or present and wrong")]
    fn heartbeat(&mut self) -> Option<Option<HeartbeatConfig>> {
        let Some(raw) = &self.raw.heartbeat else { return Some(None) };
        let write = self.named_node(&raw.write, "`heartbeat.write`");
        let echo = self.named_node(&raw.echo, "`heartbeat.echo`");
        for (name, place) in [(&raw.write, write), (&raw.echo, echo)] {
            let whole = self.kind_of(place).is_none_or(|kind| {
                matches!(
                    kind,
                    NodeType::UInt32 | NodeType::Int32 | NodeType::Int64 | NodeType::UInt64
                )
            });
            if !whole {
                self.wrong_kind(name, place, "the heartbeat", "a whole number of 32 bits or more");
            }
        }
        let node = write.and_then(|place| self.raw.node.at(place));
        if let Some((declared, node)) = node
            && !node.writable.as_ref().is_some_and(|writable| *writable.get())
        {
            let found = self
                .values
                .error(
                    &codes::NOT_WRITABLE,
                    raw.write.span(),
                    "the heartbeat's node is not writable",
                )
                .also(declared.span(), "declared here")
                .help("add `writable = true` to the node");
            self.push(found);
        }
        let period = self.time(raw.period.as_ref(), 200, "heartbeat.period");
        let timeout = self.time(raw.timeout.as_ref(), 1000, "heartbeat.timeout");
        let (period, timeout) = period.zip(timeout)?;
        if timeout < period.times(2) {
            let at = raw.timeout.as_ref().or(raw.period.as_ref()).map_or(raw.span(), At::span);
            let found = self
                .values
                .error(
                    &codes::HEARTBEAT_TIMEOUT,
                    at,
                    "the heartbeat's timeout is less than two periods",
                )
                .note("one late beat would drop the link again and again")
                .help(format!("use at least \"{} ms\"", period.times(2).as_millis()));
            self.push(found);
        }
        Some(Some(HeartbeatConfig { write: write?, echo: echo?, period, timeout }))
    }

    fn link(&mut self, publishing: Option<Span>) -> Option<LinkConfig> {
        let raw = self.raw.link.as_ref().map(At::get);
        let given = |text: Option<&At<Literal>>, default, key: &str, this: &mut Self| {
            this.time(text, default, &format!("link.{key}"))
        };
        let stale_at = raw.and_then(|raw| raw.stale.as_ref());
        let stale = given(stale_at, 2000, "stale", self);
        let step = given(raw.and_then(|raw| raw.clock_step.as_ref()), 600_000, "clock_step", self);
        let skew = given(raw.and_then(|raw| raw.skew.as_ref()), 2000, "skew", self);
        let backfill = match raw.and_then(|raw| raw.backfill.as_ref()) {
            None => Some(Span::from_secs(24 * 3600)),
            Some(text) => self.values.span(text, true, "`link.backfill`"),
        };
        let mut named = |name: Option<&At<String>>, key: &str| match name {
            None => Some(None),
            Some(name) => self.named_node(name, &format!("`link.{key}`")).map(Some),
        };
        let enable_at = raw.and_then(|raw| raw.enable.as_ref());
        let clock_at = raw.and_then(|raw| raw.clock.as_ref());
        let (enable, clock) = (named(enable_at, "enable"), named(clock_at, "clock"));
        if let (Some(name), Some(place)) = (enable_at, enable.flatten())
            && self.kind_of(Some(place)).is_some_and(|kind| kind != NodeType::Boolean)
        {
            self.wrong_kind(name, Some(place), "`link.enable`", "Boolean");
        }
        if let (Some(name), Some(place)) = (clock_at, clock.flatten())
            && self
                .kind_of(Some(place))
                .is_some_and(|kind| !matches!(kind, NodeType::Int64 | NodeType::UInt64))
        {
            self.wrong_kind(name, Some(place), "`link.clock`", "Int64: milliseconds since 1970");
        }
        let (stale, publishing) = stale.zip(publishing)?;
        if stale < publishing.times(3) {
            let at = stale_at.or(self.raw.plc.publishing.as_ref()).map_or(0..0, At::span);
            let found = self
                .values
                .error(&codes::LINK_TIMES, at, "the link is stale before three messages can arrive")
                .help(format!(
                    "use at least \"{} ms\" for `link.stale`",
                    publishing.times(3).as_millis()
                ));
            self.push(found);
        }
        Some(LinkConfig {
            stale,
            enable: enable?,
            clock: clock?,
            clock_step: step?,
            skew: skew?,
            backfill: backfill?,
        })
    }
}
