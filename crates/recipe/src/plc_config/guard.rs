//! The handshake blocks of a PLC config: `[owner]` and `[guard.NAME]`.
//!
//! A block is one address; its members are found by their names: below a text id as
//! `TEXT.Member`, below a browse path as its child. `members` names those that lie elsewhere.

use super::address::{Address, AddressError, Identifier, Segment, parse_id, parse_path};
use super::raw::{RawGuard, RawOwner};
use super::{NodeConfig, PlcChecker};
use crate::codes;
use crate::diagnostic::did_you_mean;
use crate::spanned::{At, Named};

/// Members of an owner that are used, without those of the slots.
const OWNER: [&str; 4] = ["OwnerAlive", "EpochNow", "OwnerSlot", "Granted"];
/// Members of a slot, by slot.
const SLOTS: [[&str; 2]; 2] = [["A_NodeId", "A_Request"], ["B_NodeId", "B_Request"]];
/// Members of a guard that are used.
const GUARD: [&str; 12] = [
    "VExt", "TtlMs", "Epoch", "ModelId", "Stamp", "Seq", "AckSeq", "AckCode", "LastSeq", "ClockMs",
    "TtlMaxMs", "Test",
];

/// One of the two places for controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Members `A_...`.
    A,
    /// Members `B_...`.
    B,
}

/// A member of a block: its name in the specification, and where it is.
pub type Member = (&'static str, Address);

/// The `TL_Owner` block of the cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerConfig {
    /// Ours.
    pub slot: Slot,
    /// Members that are read, then those of our slot that are written.
    pub members: Vec<Member>,
}

/// A `TL_Guard` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// Index into `PlcConfig::nodes`: the node of the setpoint, which reads `VOut`.
    pub node: usize,
    /// Members.
    pub members: Vec<Member>,
}

impl PlcChecker<'_> {
    #[expect(clippy::option_option, reason = "absent, or present and wrong")]
    pub(super) fn owner(&mut self) -> Option<Option<OwnerConfig>> {
        let Some(raw) = &self.raw.owner else { return Some(None) };
        let RawOwner { block, slot, members } = raw.get();
        let slot = self.values.word(slot, &[("A", Slot::A), ("B", Slot::B)], "`owner.slot`");
        if self.raw.heartbeat.is_none() {
            let found = self
                .values
                .error(&codes::GUARD_BLOCK, raw.span(), "[owner] without [heartbeat]")
                .note("who sends no sign of life is never granted")
                .help(
                    "add [heartbeat] with the slot's Heartbeat as `write` and its Echo as `echo`",
                );
            self.push(found);
        }
        let slot = slot?;
        let [a, b] = SLOTS;
        let ours = if slot == Slot::A { a } else { b };
        let wanted: Vec<_> = OWNER.into_iter().chain(ours).collect();
        let members = self.members(block, members, &wanted, "[owner]")?;
        Some(Some(OwnerConfig { slot, members }))
    }

    pub(super) fn guards(&mut self, nodes: &[Option<NodeConfig>]) -> Option<Vec<GuardConfig>> {
        let raw = self.raw;
        let mut all = Vec::with_capacity(raw.guard.len());
        for (name, guard) in raw.guard.iter() {
            all.push(self.guard(name, guard, nodes));
        }
        if let Some((name, _)) = raw.guard.iter().next()
            && raw.owner.is_none()
        {
            let message = format!("guard \"{}\" without [owner]", name.get());
            let found = self
                .values
                .error(&codes::GUARD_BLOCK, name.span(), message)
                .note("a guard takes requests from its owner only")
                .help("add [owner] with the TL_Owner block of the cell");
            self.push(found);
        }
        all.into_iter().collect()
    }

    fn guard(
        &mut self,
        name: &At<String>,
        raw: &RawGuard,
        nodes: &[Option<NodeConfig>],
    ) -> Option<GuardConfig> {
        let user = format!("guard \"{}\"", name.get());
        let node = self.named_node(name, &user);
        let members = self.members(&raw.block, &raw.members, &GUARD, &user);
        let declared = node.and_then(|place| nodes.get(place)?.as_ref());
        if let Some(declared) = declared.filter(|node| node.writable) {
            let message = format!("the node of {user} is writable");
            let found = self
                .values
                .error(&codes::GUARD_BLOCK, name.span(), message)
                .also(declared.span.0..declared.span.1, "declared here")
                .note("behind a guard the node shows VOut, and only the guard moves it")
                .help("remove `writable` from the node");
            self.push(found);
        }
        Some(GuardConfig { node: node?, members: members? })
    }

    /// Addresses of the members of a block.
    fn members(
        &mut self,
        block: &At<String>,
        elsewhere: &Named<At<String>>,
        wanted: &[&'static str],
        user: &str,
    ) -> Option<Vec<Member>> {
        for (name, _) in elsewhere.iter() {
            if !wanted.contains(&name.as_str()) {
                let message = format!("{user} has no member \"{}\"", name.get());
                let found = self
                    .values
                    .error(&codes::GUARD_BLOCK, name.span(), message)
                    .maybe_help(did_you_mean(name, wanted.iter().copied()));
                self.push(found);
            }
        }
        let base = self.block_address(block, user)?;
        let mut members = Vec::with_capacity(wanted.len());
        for name in wanted {
            let address = if let Some((_, text)) = elsewhere.get(name) {
                self.block_address(text, &format!("{name} of {user}"))?
            } else if let Some(address) = below(&base, name) {
                address
            } else {
                let message = format!("{user} does not say where its members are");
                let found = self
                    .values
                    .error(&codes::GUARD_BLOCK, block.span(), message)
                    .label("members are found by name only below `s=` or a browse path")
                    .help(format!("name each in `members`; {name} is missing"));
                self.push(found);
                return None;
            };
            members.push((*name, address));
        }
        Some(members)
    }

    /// An id, or a browse path where it does not read like an id.
    fn block_address(&mut self, text: &At<String>, user: &str) -> Option<Address> {
        let table: &Named<At<String>> = &self.raw.plc.get().namespaces;
        let uri = |alias: &str| table.get(alias).map(|(_, uri)| uri.get().clone());
        let head = text.split_once('=').map_or("", |(head, _)| head);
        let is_id = matches!(head.rsplit(':').next(), Some("s" | "i" | "g" | "b"));
        let read = if is_id { parse_id(text, uri) } else { parse_path(text, uri) };
        let found = match read {
            Ok(address) => return Some(address),
            Err(AddressError::Alias(alias)) => self
                .values
                .error(
                    &codes::UNKNOWN_ALIAS,
                    text.span(),
                    format!("{user} is in a namespace that is not declared: {alias}"),
                )
                .maybe_help(did_you_mean(&alias, table.names())),
            Err(AddressError::Shape(why)) => self
                .values
                .error(
                    &codes::BAD_NODE,
                    text.span(),
                    format!("the address of {user} cannot be read"),
                )
                .label(why)
                .help("write it as \"ALIAS:s=TEXT\" or as a browse path"),
        };
        self.push(found);
        None
    }
}

/// Address of a member by its name; `None` below ids that are no text.
fn below(block: &Address, member: &str) -> Option<Address> {
    match block {
        Address::Id { namespace, identifier: Identifier::Text(text) } => {
            let identifier = Identifier::Text(format!("{text}.{member}"));
            Some(Address::Id { namespace: namespace.clone(), identifier })
        }
        Address::Id { .. } | Address::Part { .. } => None,
        Address::Path(segments) => {
            let namespace = segments.last()?.namespace.clone();
            let last = Segment { namespace, name: member.to_owned() };
            Some(Address::Path(segments.iter().cloned().chain([last]).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Slot, below};
    use crate::plc_config::{Address, Identifier, check_plc_config, parse_path};

    const TEXT: &str = r#"
[plc]
name = "p"
url = "opc.tcp://127.0.0.1:4840"
security = "none"
namespaces = { press = "urn:press" }
[heartbeat]
write = "beat"
echo = "echo"
[owner]
block = "Objects/press:Press4/press:Owner"
slot = "B"
[guard.hold]
block = "press:s=Press4.HoldGuard"
members = { VExt = "press:i=7" }
[node.beat]
id = "press:s=B"
writable = true
[node.echo]
id = "press:s=E"
[node.hold]
id = "press:s=Press4.HoldGuard.VOut"
"#;

    /// Members are found below their block by name, or where the config says.
    #[test]
    fn members_are_found() {
        let (config, found) = check_plc_config("p.toml", TEXT);
        let config = config.unwrap_or_else(|| panic!("{found:?}"));
        let guard = &config.guards[0];
        assert_eq!(config.nodes[guard.node].name, "hold");
        let member = |name| guard.members.iter().find(|(n, _)| *n == name).map(|(_, a)| a.clone());
        let id = |identifier| Address::Id { namespace: "urn:press".to_owned(), identifier };
        assert_eq!(member("VExt"), Some(id(Identifier::Numeric(7))));
        let seq = Identifier::Text("Press4.HoldGuard.Seq".to_owned());
        assert_eq!(member("Seq"), Some(id(seq)));
        let owner = config.owner.as_ref().expect("an owner");
        assert_eq!(owner.slot, Slot::B);
        let uri = |_: &str| Some("urn:press".to_owned());
        let request = parse_path("Objects/press:Press4/press:Owner/press:B_Request", uri);
        assert!(owner.members.contains(&("B_Request", request.expect("a path"))));
        assert_eq!(below(&id(Identifier::Numeric(7)), "Seq"), None);
    }
}
