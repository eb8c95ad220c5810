//! Nodes of a PLC config as text: names, tables, a whole file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use trimloop_recipe::diagnostic::{Diagnostic, has_errors};
use trimloop_recipe::plc_config::{Address, OPC_UA, Segment};
use trimloop_recipe::{PlcConfig, check_plc_config};

use super::super::{Exit, Failure, Ui};
use super::target::{Aliases, shown};
use crate::error::TAG_FILE;

/// Longest name of a node.
const NAME_MAX: usize = 64;

/// One node to be written.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    /// Wanted name; made unique by [`name_all`].
    pub(super) name: String,
    /// Names of what it belongs to, nearest last: for a name that is taken.
    pub(super) owners: Vec<String>,
    /// Where it is.
    pub(super) address: Address,
    /// Keys besides the address, as TOML.
    pub(super) keys: Vec<(&'static str, toml::Value)>,
    /// What stands above the table.
    pub(super) remarks: Vec<String>,
}

/// Turns a browse name into one that a node may have: `MeltTemp` to `melt_temp`.
pub(super) fn name_of(text: &str) -> String {
    let mut name = String::new();
    let mut before = ' ';
    let letters: Vec<char> = text.chars().collect();
    for (at, letter) in letters.iter().copied().enumerate() {
        let next_is_small = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if letter.is_ascii_alphanumeric() {
            let begins = letter.is_ascii_uppercase()
                && (before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && next_is_small));
            if begins && !name.ends_with('_') && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        } else if !name.ends_with('_') && !name.is_empty() {
            name.push('_');
        }
        before = letter;
    }
    let name = name.trim_end_matches('_');
    let name = if name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.to_owned()
    } else {
        format!("n{name}")
    };
    name.chars().take(NAME_MAX).collect::<String>().trim_end_matches('_').to_owned()
}

/// Makes all names unique: a name that several want is led by the name of what each belongs to,
/// then numbered.
pub(super) fn name_all(tags: &mut [Tag], taken: &BTreeSet<String>) {
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for tag in tags.iter() {
        *wanted.entry(tag.name.clone()).or_default() += 1;
    }
    for tag in tags.iter_mut() {
        if wanted.get(&tag.name).is_some_and(|times| *times > 1) || taken.contains(&tag.name) {
            let owner = tag.owners.last().map_or_else(String::new, |owner| format!("{owner}_"));
            tag.name = name_of(&format!("{owner}{}", tag.name));
        }
    }
    let mut used = taken.clone();
    for tag in tags.iter_mut() {
        let base = tag.name.clone();
        let mut number = 2;
        while !used.insert(tag.name.clone()) {
            let end = format!("_{number}");
            let kept: String = base.chars().take(NAME_MAX - end.len()).collect();
            tag.name = format!("{kept}{end}");
            number += 1;
        }
    }
}

/// The tables of nodes, with remarks.
pub(super) fn tables(tags: &[Tag], aliases: &Aliases) -> String {
    let mut text = String::new();
    for tag in tags {
        let Some((key, address)) = tag.address.write(|uri| aliases.of(uri)) else { continue };
        text.push('\n');
        for remark in &tag.remarks {
            text.push_str(&format!("# {}\n", one_line(remark)));
        }
        text.push_str(&format!("[node.{}]\n", tag.name));
        text.push_str(&format!("{key} = {}\n", toml::Value::String(address)));
        for (key, value) in &tag.keys {
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    text
}

/// The `[plc]` table: that of `plc` with another name, or a new one.
pub(super) fn plc_table(
    plc: Option<&PlcConfig>,
    name: &str,
    url: &str,
    tags: &[Tag],
    aliases: &Aliases,
) -> String {
    let old: Option<toml::Table> =
        plc.and_then(|plc| plc.source().text.parse().ok()).and_then(|mut table: toml::Table| {
            match table.remove("plc") {
                Some(toml::Value::Table(table)) => Some(table),
                _ => None,
            }
        });
    let word = |text: &str| toml::Value::String(text.to_owned());
    let mut table = old.unwrap_or_else(|| {
        let mut table = toml::Table::new();
        table.insert("url".to_owned(), word(url));
        table.insert("security".to_owned(), word("none"));
        table
    });
    table.insert("name".to_owned(), word(name));
    let mut namespaces = match table.remove("namespaces") {
        Some(toml::Value::Table(namespaces)) => namespaces,
        _ => toml::Table::new(),
    };
    for uri in tags.iter().flat_map(|tag| uris(&tag.address)).filter(|uri| *uri != OPC_UA) {
        if let Some(alias) = aliases.of(uri) {
            namespaces.insert(alias, word(uri));
        }
    }
    let mut text = String::from("[plc]\n");
    for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
        text.push_str(&format!("{key} = {value}\n"));
    }
    let others = table.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_table()?)));
    for (key, part) in others.chain([("namespaces", &namespaces)]) {
        if !part.is_empty() {
            text.push_str(&format!("\n[plc.{key}]\n"));
            for (key, value) in part {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
    }
    text
}

fn uris(address: &Address) -> Vec<&str> {
    match address {
        Address::Id { namespace, .. } => vec![namespace],
        Address::Path(steps) => steps.iter().map(|step| step.namespace.as_str()).collect(),
        Address::Part { of, .. } => uris(of),
    }
}

/// Names of the folders that hold a node, for a name that is taken.
pub(super) fn owners(path: &[Segment]) -> Vec<String> {
    let above = path.len().saturating_sub(1);
    path.iter().take(above).map(|step| step.name.clone()).collect()
}

/// The name that a PLC config in this file must have.
pub(super) fn plc_name(file: &Path) -> Result<String, Failure> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let end = file.extension().is_some_and(|end| end == "toml");
    let good = |stem: &String| {
        stem.starts_with(|c: char| c.is_ascii_alphabetic())
            && stem.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
            && stem.len() <= NAME_MAX
    };
    stem.filter(|stem| end && good(stem)).ok_or_else(|| {
        let message = format!("{} cannot be the file of a PLC config", shown(file));
        Failure::new(&TAG_FILE, message, Exit::Usage)
            .help("a letter, then letters, digits, _ and -, then .toml: plc-configs/press-5.toml")
    })
}

/// Refuses a file that is there, before anything is asked.
pub(super) fn may_write(file: &Path, force: bool) -> Result<(), Failure> {
    if !force && file.exists() {
        let message = format!("{} is there already", shown(file));
        return Err(Failure::new(&TAG_FILE, message, Exit::Usage)
            .help("name another file, or overwrite this one with --force"));
    }
    Ok(())
}

/// Writes a PLC config and says what `trimloop check` would say of it. True when it has no error.
pub(super) fn write(ui: &Ui, file: &Path, text: &str, force: bool) -> Result<bool, Failure> {
    may_write(file, force)?;
    let failed = |error: &std::io::Error| {
        let message = format!("cannot write {}: {error}", shown(file));
        Failure::new(&TAG_FILE, message, Exit::Usage)
            .help("make its folder first, and see that you may write there")
    };
    // Whole or not at all: a half-written list would pass for a list.
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, file))
        .map_err(|error| failed(&error))?;
    let found = check(&shown(file), text);
    ui.diagnostics(&found);
    Ok(!has_errors(&found))
}

fn check(name: &str, text: &str) -> Vec<Diagnostic> {
    check_plc_config(name, text).1
}

/// A remark cannot leave its line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plc::target::bare;

    /// Browse names become names that a node may have.
    #[test]
    fn names_are_made_from_browse_names() {
        for (text, name) in [
            ("MeltTemp", "melt_temp"),
            ("PVActual2Max", "pv_actual2_max"),
            ("DB_Press.Zone[3].Temp", "db_press_zone_3_temp"),
            ("Ölstand °C", "lstand_c"),
            ("4711", "n4711"),
            ("", "n"),
            ("already_good", "already_good"),
        ] {
            assert_eq!(name_of(text), name, "{text}");
        }
        assert!(name_of(&"x".repeat(200)).len() <= NAME_MAX);
    }

    /// Names that meet are told apart, first by what they belong to; none is longer than allowed.
    #[test]
    fn names_are_unique() {
        let tag = |name: &str, owner: &str| Tag {
            name: name.to_owned(),
            owners: vec![owner.to_owned()],
            address: bare("urn:x", name),
            keys: Vec::new(),
            remarks: Vec::new(),
        };
        let long = "x".repeat(NAME_MAX);
        let mut tags = vec![
            tag("temp", "Zone1"),
            tag("temp", "Zone2"),
            tag("speed", "Drive"),
            tag("enable", "Drive"),
            tag(&long, ""),
            tag(&long, ""),
        ];
        name_all(&mut tags, &BTreeSet::from(["enable".to_owned()]));
        let names: Vec<&str> = tags.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names[..4], ["zone1_temp", "zone2_temp", "speed", "drive_enable"]);
        assert_ne!(names[4], names[5]);
        assert!(names.iter().all(|name| name.len() <= NAME_MAX));
    }
}
