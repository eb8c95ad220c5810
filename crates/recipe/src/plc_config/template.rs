//! Templates: the nodes of one kind of asset, written once and filled in for each.
//!
//! ```toml
//! [template.zone.node.temp]
//! id   = "press:s={asset}.Zone{n}.Temp"
//! type = "Double"
//!
//! [asset.zone_1]
//! template = "zone"
//! with     = { asset = "Press4", n = "1" }
//! ```
//!
//! makes the node `zone_1_temp`. Words in braces stand in `id`, `path`, `index` and `field`; `{{`
//! and `}}` are braces themselves. From then on the node is like any other: a mistake in it is
//! shown where the template says it, with the node's own name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::check::Values;
use crate::codes;
use crate::diagnostic::did_you_mean;
use crate::spanned::{At, Literal, Named};

use super::raw::{RawAsset, RawNode, RawPlcConfig};

/// Adds the nodes of all assets to those that are written out.
pub(super) fn expand(raw: &mut RawPlcConfig, values: &mut Values) {
    let mut expander = Expander { raw, values, made: Vec::new() };
    expander.templates();
    for (name, asset) in raw.asset.iter() {
        expander.asset(name, asset);
    }
    let mut made = expander.made;
    let mut all: Vec<(At<String>, RawNode)> = raw.node.iter().cloned().collect();
    let names = all.iter().map(|(name, _)| (name.get().clone(), name.span()));
    let mut names: BTreeMap<String, Range<usize>> = names.collect();
    for (name, node) in made.drain(..) {
        if let Some(other) = names.get(name.get()) {
            let message = format!("two nodes are called \"{}\"", name.get());
            let found = values
                .error(&codes::ASSET_NODE_TWICE, name.span(), message)
                .label("made for this asset")
                .also(other.clone(), "the other")
                .help("rename the asset, or the node");
            values.push(found);
        } else {
            names.insert(name.get().clone(), name.span());
            all.push((name, node));
        }
    }
    raw.node = Named::of(all);
}

struct Expander<'a> {
    raw: &'a RawPlcConfig,
    values: &'a mut Values,
    made: Vec<(At<String>, RawNode)>,
}

/// What a text holds.
enum Piece {
    Text(String),
    /// A word in braces.
    Word(String),
}

impl Expander<'_> {
    /// Each template is used, and its texts can be read.
    fn templates(&mut self) {
        for (name, template) in self.raw.template.iter() {
            let used = |asset: &RawAsset| asset.template.get() == name.get();
            if !self.raw.asset.iter().any(|(_, asset)| used(asset)) {
                let message = format!("no asset is made from template \"{}\"", name.get());
                let found = self
                    .values
                    .error(&codes::UNUSED_TEMPLATE, name.span(), message)
                    .warning()
                    .help("add an [asset.NAME] with this template, or remove it");
                self.values.push(found);
            }
            for (node, raw) in template.node.iter() {
                for text in texts(raw) {
                    if let Err(why) = pieces(text) {
                        let user =
                            format!("node \"{}\" of template \"{}\"", node.get(), name.get());
                        let message = format!("a text of {user} cannot be read");
                        let found = self
                            .values
                            .error(&codes::PLACEHOLDER, text.span(), message)
                            .label(why)
                            .help("a word in braces, such as {n}; write {{ for a brace itself");
                        self.values.push(found);
                    }
                }
            }
        }
    }

    fn asset(&mut self, name: &At<String>, asset: &RawAsset) {
        let templates = &self.raw.template;
        let Some((_, template)) = templates.get(&asset.template) else {
            let message = format!(
                "asset \"{}\" is made from a template that is not declared: {}",
                name.get(),
                asset.template.get()
            );
            let found = self
                .values
                .error(&codes::UNKNOWN_TEMPLATE, asset.template.span(), message)
                .label("no [template.…] table has this name")
                .maybe_help(did_you_mean(&asset.template, templates.names()));
            self.values.push(found);
            return;
        };
        // What cannot be read is told once, at the template.
        if template.node.iter().flat_map(|(_, raw)| texts(raw)).any(|t| pieces(t).is_err()) {
            return;
        }
        let mut used: BTreeSet<&str> = BTreeSet::new();
        let mut words: BTreeSet<String> = BTreeSet::new();
        let mut missing: BTreeSet<String> = BTreeSet::new();
        for (part, raw) in template.node.iter() {
            let mut node = raw.clone();
            for text in texts_mut(&mut node) {
                let Ok(pieces) = pieces(text) else { continue };
                let mut filled = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => filled.push_str(&text),
                        Piece::Word(word) => {
                            match values_of(asset).get(&word) {
                                Some((known, value)) => {
                                    used.insert(known.as_str());
                                    filled.push_str(&value.text);
                                }
                                None if missing.insert(word.clone()) => {
                                    let found =
                                        missing_value(self.values, name, asset, &word, text);
                                    self.values.push(found);
                                }
                                None => {}
                            }
                            words.insert(word);
                        }
                    }
                }
                *text = At::new(filled, text.span());
            }
            let full = format!("{}_{}", name.get(), part.get());
            self.made.push((At::new(full, name.span()), node));
        }
        for (given, _) in
            values_of(asset).iter().filter(|(given, _)| !used.contains(given.as_str()))
        {
            let message = format!(
                "template \"{}\" has no place for {{{}}}",
                asset.template.get(),
                given.get()
            );
            let near = did_you_mean(given, words.iter().map(String::as_str));
            let found = self
                .values
                .error(&codes::UNUSED_VALUE, given.span(), message)
                .label(format!("given for asset \"{}\"", name.get()))
                .maybe_help(near);
            self.values.push(found);
        }
        // Nodes with a hole would only add mistakes that follow from it.
        if !missing.is_empty() {
            let begin = self.made.len().saturating_sub(template.node.len());
            self.made.truncate(begin);
        }
    }
}

fn missing_value(
    values: &Values,
    name: &At<String>,
    asset: &RawAsset,
    word: &str,
    text: &At<String>,
) -> crate::diagnostic::Diagnostic {
    let message = format!("asset \"{}\" gives no value for {{{word}}}", name.get());
    let at = asset.with.as_ref().map_or_else(|| name.span(), At::span);
    values
        .error(&codes::PLACEHOLDER, at, message)
        .also(text.span(), "wanted here")
        .maybe_help(did_you_mean(word, values_of(asset).names()))
}

fn values_of(asset: &RawAsset) -> &Named<At<Literal>> {
    static NONE: Named<At<Literal>> = Named::none();
    asset.with.as_ref().map_or(&NONE, At::get)
}

fn texts(node: &RawNode) -> impl Iterator<Item = &At<String>> {
    [&node.id, &node.path, &node.index, &node.field].into_iter().flatten()
}

fn texts_mut(node: &mut RawNode) -> impl Iterator<Item = &mut At<String>> {
    [&mut node.id, &mut node.path, &mut node.index, &mut node.field].into_iter().flatten()
}

fn pieces(text: &str) -> Result<Vec<Piece>, &'static str> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '{' | '}' if letters.peek() == Some(&letter) => {
                letters.next();
                plain.push(letter);
            }
            '{' => {
                let mut word = String::new();
                loop {
                    match letters.next() {
                        Some('}') => break,
                        Some(c) if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                            word.push(c);
                        }
                        Some(_) => return Err("a word in braces has letters, digits, _ and -"),
                        None => return Err("a brace is opened and never closed"),
                    }
                }
                if word.is_empty() {
                    return Err("there is no word in the braces");
                }
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(Piece::Word(word));
            }
            '}' => return Err("a brace is closed that was never opened"),
            other => plain.push(other),
        }
    }
    pieces.push(Piece::Text(plain));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use crate::check_plc_config;
    use crate::plc_config::{Address, Identifier};

    /// Assets become nodes with their own addresses, beside those that are written out.
    #[test]
    fn assets_become_nodes() {
        let text = r#"
            [plc]
            name = "p"
            url = "opc.tcp://127.0.0.1"
            security = "none"
            namespaces = { press = "urn:press" }
            [heartbeat]
            write = "zone_2_on"
            echo = "alone"
            [template.zone.node.temp]
            id = "press:s={machine}.Zone{n}.{{Temp}}"
            type = "Double"
            [template.zone.node.on]
            path = "Objects/press:{machine}/press:On{n}"
            type = "UInt32"
            writable = true
            [asset.zone_2]
            template = "zone"
            with = { machine = "Press4", n = 2 }
            [asset.zone_1]
            template = "zone"
            with = { machine = "Press4", n = "1" }
            [node.alone]
            id = "press:s={n}"
        "#;
        let (config, found) = check_plc_config("p.toml", text);
        let config = config.unwrap_or_else(|| panic!("{found:?}"));
        let names: Vec<&str> = config.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["alone", "zone_1_on", "zone_1_temp", "zone_2_on", "zone_2_temp"]);
        let address = |name: &str| config.nodes[config.node(name).unwrap()].address.clone();
        let text = |text: &str| Address::Id {
            namespace: "urn:press".to_owned(),
            identifier: Identifier::Text(text.to_owned()),
        };
        assert_eq!(address("zone_2_temp"), text("Press4.Zone2.{Temp}"));
        assert_eq!(address("alone"), text("{n}"), "braces are plain outside of templates");
        assert!(matches!(address("zone_1_on"), Address::Path(steps) if steps[2].name == "On1"));
        assert_eq!(config.heartbeat.map(|beat| beat.write), config.node("zone_2_on"));
    }
}
