//! What a register was when it was first found, and whether it still is that.
//!
//! A download may put another variable at the same address: a numeric id that moved, a symbol that
//! was renamed, a type that was changed. Found again under its address but as another thing, it is
//! a [`Problem`] that stops all writes, until it is what it was or a person starts the service
//! again and so accepts it. The memory lasts as long as the service runs.
//!
//! Where a PLC has several addresses, all must lead to the server that was met first
//! ([`KnownServer`]).

use std::collections::{BTreeMap, BTreeSet};

use super::resolve::{Found, Resolution};
use super::{LinkConfig, Problem, Scalar};

/// What a register is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    scalar: Scalar,
    /// Namespace URI and browse name; `None` where the server does not tell.
    name: Option<(String, String)>,
}

impl Identity {
    pub(super) fn new(found: &Found) -> Self {
        Self { scalar: found.scalar, name: found.name.clone() }
    }

    /// What changed, for people.
    fn change(&self, now: &Self) -> Option<String> {
        if self.scalar != now.scalar {
            let (was, is) = (self.scalar.name(), now.scalar.name());
            return Some(format!("it was {was} when the service started and is {is} now"));
        }
        match (&self.name, &now.name) {
            (Some(was), Some(is)) if was != is => Some(format!(
                "at this address was \"{}\" when the service started; now it is \"{}\"{}",
                was.1,
                is.1,
                if was.0 == is.0 { "" } else { " of another namespace" }
            )),
            _ => None,
        }
    }
}

/// The server that was met first, by its application URI.
#[derive(Debug, Default)]
pub(super) struct KnownServer {
    uri: Option<String>,
    /// Those that were turned away and told, so that each is told once.
    told: BTreeSet<String>,
    /// The address by which data came last.
    address: Option<String>,
}

impl KnownServer {
    /// Whether a server with this application URI is the one that was met first; if not, why it is
    /// not used, and whether that is new.
    pub(super) fn judge(&mut self, now: &str) -> Result<(), (String, bool)> {
        match &self.uri {
            Some(known) if known != now => {
                let why = format!(
                    "another server is at this address: it calls itself {now}, and the PLC is \
                     {known}; nothing is read from it or written to it. Correct `url`, or, if it \
                     is right, start the service again"
                );
                Err((why, self.told.insert(now.to_owned())))
            }
            _ => Ok(()),
        }
    }

    /// Data come by this address; the one before, if it was another.
    pub(super) fn used(&mut self, address: &str) -> Option<String> {
        let before = self.address.replace(address.to_owned());
        before.filter(|before| before != address)
    }

    /// A session stands with the server of this application URI.
    pub(super) fn meet(&mut self, uri: &str) {
        if self.uri.is_none() {
            self.uri = Some(uri.to_owned());
        }
    }
}

/// Identities by the place of their node.
pub(super) type Known = BTreeMap<usize, Identity>;

/// Takes out of a resolution what is no longer what it was, and remembers what is new.
pub(super) fn judge(config: &LinkConfig, known: &mut Known, resolution: &mut Resolution) {
    let mut changed: Vec<(usize, String)> = Vec::new();
    for found in &resolution.found {
        let now = Identity::new(found);
        let before = known.entry(found.node).or_insert_with(|| now.clone());
        changed.extend(before.change(&now).map(|what| (found.node, what)));
    }
    resolution.found.retain(|found| !changed.iter().any(|(node, _)| *node == found.node));
    for (node, what) in changed {
        let name = config.nodes.get(node).map(|node| node.name.clone()).unwrap_or_default();
        let what = format!(
            "{what}; it is neither read nor is anything written. See what the download changed; \
             if it is right, start the service again"
        );
        resolution.problems.push(Problem { node: name, stops_writes: true, what });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first server is the PLC; another one is turned away, and told once.
    #[test]
    fn another_server_is_not_the_plc() {
        let mut known = KnownServer::default();
        assert_eq!(known.judge("urn:a"), Ok(()));
        // It did not log us in: nobody was met yet.
        assert_eq!(known.judge("urn:b"), Ok(()));
        known.meet("urn:a");
        known.meet("urn:b");
        assert_eq!(known.judge("urn:a"), Ok(()));
        for new in [true, false] {
            let (why, first) = known.judge("urn:b").unwrap_err();
            assert!(first == new && why.contains("itself urn:b") && why.contains("is urn:a"));
        }
    }

    /// A changed type, name or namespace is a change; a server that tells no name is none.
    #[test]
    fn changes_are_told() {
        let of = |scalar, name: Option<(&str, &str)>| Identity {
            scalar,
            name: name.map(|(uri, name)| (uri.to_owned(), name.to_owned())),
        };
        let was = of(Scalar::Double, Some(("urn:x", "Hold")));
        for (now, expect) in [
            (of(Scalar::Double, Some(("urn:x", "Hold"))), None),
            (of(Scalar::Double, None), None),
            (of(Scalar::Float, Some(("urn:x", "Hold"))), Some("is Float now")),
            (of(Scalar::Double, Some(("urn:x", "Speed"))), Some("now it is \"Speed\"")),
            (of(Scalar::Double, Some(("urn:y", "Hold"))), Some("another namespace")),
        ] {
            let change = was.change(&now);
            match expect {
                None => assert_eq!(change, None),
                Some(part) => assert!(change.is_some_and(|change| change.contains(part))),
            }
        }
    }
}
