//! The catalogue of the misbehaving PLC, and the pains of other systems' users: what is promised
//! about either has a page and a test.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use trimloop_simulator::CATALOGUE;
use trimloop_simulator::catalogue::Layer;

use super::{assert_none, check_page, read, sources};

/// The pains that are promised as tests.
const PAINS: std::ops::RangeInclusive<u32> = 1..=16;
const PAGE_OF_PAINS: &str = "docs/src/explanation/link-test.md";

/// docs/src/reference/faults.md is the simulator's catalogue.
#[test]
fn page_of_faults() {
    let mut text = String::from(
        "# Faults of the simulated PLC\n\nFor `trimloop fault on NAME` and `trimloop simulate --fault \
         NAME@FROM..TO`; [how to](../how-to/misbehave.md). Each has a test of the same name in \
         `tests/misbehaving/`, with the service in AUTO. One marked *once* happens when it is \
         switched on; the others stay until they are switched off.\n",
    );
    for layer in Layer::ALL {
        writeln!(text, "\n## {}\n", layer.title()).unwrap();
        text.push_str("| name | what the PLC does | what trimloop must do |\n|---|---|---|\n");
        for entry in CATALOGUE.iter().filter(|entry| entry.layer == layer) {
            let once = if entry.lasts { "" } else { " (once)" };
            let (title, must) = (entry.title, entry.must);
            writeln!(text, "| `{}`{once} | {title} | {must} |", entry.name).unwrap();
        }
    }
    check_page("faults", &text);
}

/// Names of tests that begin with `pain_`, in all our sources.
fn pain_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in sources() {
        let text = read(&file);
        for (at, _) in text.match_indices("fn pain_") {
            let name: String = text[at + 3..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            let before = text[..at].trim_end();
            let before = before.strip_suffix("async").unwrap_or(before).trim_end();
            if before.ends_with("#[test]") || before.ends_with("#[tokio::test]") {
                names.insert(name);
            }
        }
    }
    names
}

/// Every pain has a test that is named for it, a row of the page, and the page names tests that are
/// there.
#[test]
fn every_pain_has_a_test() {
    let tests = pain_tests();
    let page = read(PAGE_OF_PAINS);
    let mut found = Vec::new();
    for pain in PAINS {
        let prefix = format!("pain_{pain:02}_");
        if !tests.iter().any(|name| name.starts_with(&prefix)) {
            found.push(format!("pain {pain} has no test"));
        }
        let row = page.lines().find(|line| line.starts_with(&format!("| {pain} |")));
        if !row.is_some_and(|row| row.contains(&prefix)) {
            found.push(format!("{PAGE_OF_PAINS} has no row for pain {pain} with its test"));
        }
    }
    for (at, _) in page.match_indices("`pain_") {
        let name = page[at + 1..].split('`').next().unwrap();
        let there = match name.strip_suffix('*') {
            Some(begin) => tests.iter().any(|test| test.starts_with(begin)),
            None => tests.contains(name),
        };
        if !there {
            found.push(format!("{PAGE_OF_PAINS} names {name}, which is not there"));
        }
    }
    assert_none("pains", &found);
}
