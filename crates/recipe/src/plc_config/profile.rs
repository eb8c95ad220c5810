//! Vendor profiles: what is known of a vendor's OPC UA server before it is asked.
//!
//! A profile is a TOML file under `plc-configs/profiles/`, built into the program. It gives defaults
//! for what a PLC config leaves out. A key of the PLC config wins over the profile; the limits that
//! the server states itself win over both where they are lower.

use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use trimloop_core::time::Span;

use super::PlcChecker;
use crate::check::Values;
use crate::codes;
use crate::diagnostic::Source;
use crate::spanned::{At, Literal};

/// The shipped profiles by name, each as the text of its file.
pub const PROFILES: [(&str, &str); 5] = [
    ("beckhoff", include_str!("../../../../plc-configs/profiles/beckhoff.toml")),
    ("kepware", include_str!("../../../../plc-configs/profiles/kepware.toml")),
    ("rockwell", include_str!("../../../../plc-configs/profiles/rockwell.toml")),
    ("s7-1200", include_str!("../../../../plc-configs/profiles/s7-1200.toml")),
    ("s7-1500", include_str!("../../../../plc-configs/profiles/s7-1500.toml")),
];

/// Most items in one call where nobody says.
const PER_CALL: usize = 1000;
/// Publishing interval where nobody says.
const PUBLISHING: Span = Span::from_millis(100);

/// Most items in one service call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerCall {
    /// Values in a read, and attributes.
    pub read: usize,
    /// Values in a write.
    pub write: usize,
    /// Monitored items made at once.
    pub monitor: usize,
    /// Nodes in any other call, such as browse paths.
    pub other: usize,
}

impl PerCall {
    /// The same for every service.
    #[must_use]
    pub const fn all(most: usize) -> Self {
        Self { read: most, write: most, monitor: most, other: most }
    }
}

impl Default for PerCall {
    fn default() -> Self {
        Self::all(PER_CALL)
    }
}

/// What is known of a vendor's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name, as in `profile = "…"`.
    pub name: &'static str,
    /// Which servers it is about.
    pub title: String,
    /// Most items in one call.
    pub per_call: PerCall,
    /// Publishing interval where the PLC config says none.
    pub publishing: Option<Span>,
    /// Shortest publishing interval that the server serves.
    pub publishing_min: Option<Span>,
    /// Shortest sampling interval that the server serves.
    pub sampling_min: Option<Span>,
    /// Values kept by the server between two messages where the node says none, 1 to 1000.
    pub queue: Option<u32>,
    /// How node ids are written there.
    pub ids: String,
    /// Whether a write with a status or a timestamp is refused; trimloop writes the value only.
    pub refuses_status: bool,
    /// For the engineer: heading and text.
    pub notes: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    title: String,
    per_call: Option<RawPerCall>,
    times: Option<RawTimes>,
    queue: Option<At<i64>>,
    ids: String,
    refuses_status: bool,
    #[serde(default)]
    note: Vec<RawNote>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPerCall {
    read: Option<At<i64>>,
    write: Option<At<i64>>,
    monitor: Option<At<i64>>,
    other: Option<At<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTimes {
    publishing: Option<At<Literal>>,
    publishing_min: Option<At<Literal>>,
    sampling_min: Option<At<Literal>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNote {
    about: String,
    text: String,
}

/// The profile of this name.
#[must_use]
pub fn profile(name: &str) -> Option<&'static Profile> {
    static ALL: OnceLock<Vec<Profile>> = OnceLock::new();
    let all = ALL
        .get_or_init(|| PROFILES.iter().filter_map(|(name, text)| read(name, text).ok()).collect());
    all.iter().find(|profile| profile.name == name)
}

/// Reads a profile; what is wrong with it, if something is.
fn read(name: &'static str, text: &str) -> Result<Profile, String> {
    let raw: RawProfile = toml::from_str(text).map_err(|error| error.to_string())?;
    let source: Arc<Source> = Source::new(&format!("plc-configs/profiles/{name}.toml"), text);
    let mut values = Values::new(&source);
    let mut time = |text: Option<&At<Literal>>, what: &str| {
        text.and_then(|text| values.span(text, false, what))
    };
    let times = raw.times.as_ref();
    let publishing = time(times.and_then(|t| t.publishing.as_ref()), "publishing");
    let publishing_min = time(times.and_then(|t| t.publishing_min.as_ref()), "publishing_min");
    let sampling_min = time(times.and_then(|t| t.sampling_min.as_ref()), "sampling_min");
    let mut per_call = PerCall::default();
    if let Some(raw) = &raw.per_call {
        for (slot, stated) in [
            (&mut per_call.read, &raw.read),
            (&mut per_call.write, &raw.write),
            (&mut per_call.monitor, &raw.monitor),
            (&mut per_call.other, &raw.other),
        ] {
            let stated = stated.as_ref().and_then(|n| values.count(n, 1, 10_000, "per_call"));
            *slot = stated.map_or(*slot, |most| most as usize);
        }
    }
    let queue = raw.queue.as_ref().and_then(|queue| values.count(queue, 1, 1000, "queue"));
    if let Some(found) = values.found.first() {
        return Err(found.message.clone());
    }
    Ok(Profile {
        name,
        title: raw.title,
        per_call,
        publishing,
        publishing_min,
        sampling_min,
        queue,
        ids: raw.ids,
        refuses_status: raw.refuses_status,
        notes: raw.note.into_iter().map(|note| (note.about, note.text)).collect(),
    })
}

impl PlcChecker<'_> {
    /// The profile that the PLC config names.
    #[expect(clippy::option_option, reason = "wrong, or right and absent")]
    pub(super) fn profile(&mut self) -> Option<Option<&'static Profile>> {
        let Some(name) = &self.raw.plc.get().profile else { return Some(None) };
        let words: Vec<(&str, &str)> = PROFILES.iter().map(|(name, _)| (*name, *name)).collect();
        self.values.word(name, &words, "`profile`").map(profile)
    }

    pub(super) fn publishing(&mut self, profile: Option<&Profile>) -> Option<Span> {
        let raw = self.raw;
        let Some(stated) = raw.plc.publishing.as_ref() else {
            let least = profile.and_then(|profile| profile.publishing_min);
            let default = profile.and_then(|profile| profile.publishing).unwrap_or(PUBLISHING);
            return Some(least.map_or(default, |least| default.max(least)));
        };
        let publishing = self.values.span(stated, false, "`publishing`")?;
        if let Some(profile) = profile
            && let Some(least) = profile.publishing_min
            && publishing < least
        {
            self.below("publishing", stated, profile, least);
        }
        Some(publishing)
    }

    /// Warns of nodes that ask for more than the server gives.
    pub(super) fn sampling(&mut self, profile: Option<&Profile>) {
        let Some((profile, least)) = profile.and_then(|p| Some((p, p.sampling_min?))) else {
            return;
        };
        let raw = self.raw;
        for text in raw.node.iter().filter_map(|(_, node)| node.sampling.as_ref()) {
            // What cannot be read is told where the node is.
            let mut quiet = Values::new(&self.values.source);
            let sampling = quiet.span(text, true, "`sampling`");
            if sampling.is_some_and(|sampling| sampling > Span::ZERO && sampling < least) {
                self.below("sampling", text, profile, least);
            }
        }
    }

    fn below(&mut self, key: &str, at: &At<Literal>, profile: &Profile, least: Span) {
        let message = format!("`{key}` is shorter than the profile {} goes", profile.name);
        let found = self
            .values
            .error(&codes::BELOW_FLOOR, at.span(), message)
            .warning()
            .label(format!("the server serves {} ms at best", least.as_millis()))
            .note("the server answers with an interval of its own, and values come later than this")
            .help(format!("use at least \"{} ms\"", least.as_millis()));
        self.push(found);
    }

    /// Most items in one call: stated for the service, stated for all, of the profile, 1000.
    pub(super) fn per_call(&mut self, profile: Option<&Profile>) -> Option<PerCall> {
        let raw = self.raw;
        let known = profile.map(|profile| profile.per_call).unwrap_or_default();
        let Some(limits) = raw.plc.limits.as_ref() else { return Some(known) };
        let mut count = |stated: Option<&At<i64>>, key: &str| match stated {
            None => Some(None),
            Some(stated) => {
                let what = format!("`limits.{key}`");
                self.values.count(stated, 1, 10_000, &what).map(|most| Some(most as usize))
            }
        };
        let all = count(limits.items_per_call.as_ref(), "items_per_call");
        let read = count(limits.read_per_call.as_ref(), "read_per_call");
        let write = count(limits.write_per_call.as_ref(), "write_per_call");
        let monitor = count(limits.monitor_per_call.as_ref(), "monitor_per_call");
        let all = all?;
        Some(PerCall {
            read: read?.or(all).unwrap_or(known.read),
            write: write?.or(all).unwrap_or(known.write),
            monitor: monitor?.or(all).unwrap_or(known.monitor),
            other: all.unwrap_or(known.other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_plc_config;

    /// Every shipped profile can be read, says where the server is switched on and how its
    /// certificates are kept, and that it was not run on the hardware.
    #[test]
    fn shipped_profiles_are_whole() {
        for (name, text) in PROFILES {
            let read = read(name, text).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(profile(name), Some(&read));
            for about in ["switch it on", "certificates"] {
                assert!(read.notes.iter().any(|(known, _)| known == about), "{name}: {about}");
            }
            assert!(text.contains("not run on this hardware by us"), "{name}");
            let numbers = text.lines().filter(|line| {
                let key = line.split('=').next().unwrap_or_default().trim();
                let numbered = [
                    "read",
                    "write",
                    "monitor",
                    "other",
                    "publishing",
                    "publishing_min",
                    "sampling_min",
                    "queue",
                ];
                numbered.contains(&key)
            });
            for line in numbers {
                assert!(line.contains("# "), "{name}: a number without its source: {line}");
            }
        }
        assert_eq!(profile("s7"), None);
    }

    fn config(lines: &str) -> (super::super::PlcConfig, usize) {
        let text = format!(
            "[plc]\nname = \"x\"\nurl = \"opc.tcp://127.0.0.1:4840\"\nsecurity = \"none\"\n\
             namespaces = {{ p = \"urn:p\" }}\n{lines}\n[node.a]\nid = \"p:s=A\"\n"
        );
        let (config, found) = check_plc_config("x.toml", &text);
        (config.unwrap_or_else(|| panic!("{found:?}")), found.len())
    }

    /// Nobody says: 1000 and 100 ms. A profile says: its numbers. The PLC config says: that.
    #[test]
    fn a_key_wins_over_its_profile() {
        let known = profile("s7-1500").unwrap();
        assert!(known.per_call.read < 1000 && known.publishing_min.is_some());
        for (lines, per_call, publishing, queue) in [
            ("", PerCall::all(1000), 100, 1),
            (
                "profile = \"s7-1500\"",
                known.per_call,
                known.publishing.unwrap().as_millis(),
                known.queue.unwrap(),
            ),
            (
                "profile = \"s7-1500\"\npublishing = \"600 ms\"\nlimits = { items_per_call = 7 }",
                PerCall::all(7),
                600,
                known.queue.unwrap(),
            ),
            (
                "profile = \"s7-1500\"\npublishing = \"600 ms\"\nlimits = { read_per_call = 7 }",
                PerCall { read: 7, ..known.per_call },
                600,
                known.queue.unwrap(),
            ),
        ] {
            let (config, found) = config(lines);
            assert_eq!(found, 0, "{lines}");
            assert_eq!(config.per_call, per_call, "{lines}");
            assert_eq!(config.publishing.as_millis(), publishing, "{lines}");
            assert_eq!(config.nodes.first().unwrap().queue, queue, "{lines}");
        }
    }

    /// Several addresses keep their order.
    #[test]
    fn addresses_keep_their_order() {
        let text = "[plc]\nname = \"x\"\nsecurity = \"none\"\nurl = [\"opc.tcp://127.0.0.1:1\", \
                    \"opc.tcp://127.0.0.1:2\", \"opc.tcp://localhost:3\"]\n";
        let (config, found) = check_plc_config("x.toml", text);
        let config = config.unwrap_or_else(|| panic!("{found:?}"));
        assert_eq!(config.url, "opc.tcp://127.0.0.1:1");
        assert_eq!(config.standby, ["opc.tcp://127.0.0.1:2", "opc.tcp://localhost:3"]);
    }
}
