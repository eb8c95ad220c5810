//! Links between our texts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{assert_none, files, read, root};

fn texts() -> Vec<String> {
    let mut all = files("docs", ".md");
    let names = ["README", "CHANGELOG", "CONTRIBUTING", "SECURITY", "ARCHITECTURE"];
    all.extend(names.map(|name| format!("{name}.md")));
    all
}

/// As GitHub and mdBook make it from a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

/// Lines outside fenced blocks.
fn prose(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line);
        }
    }
    lines
}

/// Links between our texts lead somewhere, headings included.
#[test]
fn links_resolve() {
    let mut anchors: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in texts() {
        let text = read(&file);
        let headings = prose(&text).into_iter().filter(|line| line.starts_with('#'));
        let found = headings.map(|line| anchor(line.trim_start_matches('#'))).collect();
        anchors.insert(file, found);
    }
    let mut broken = Vec::new();
    for file in texts() {
        let text = read(&file);
        for line in prose(&text) {
            for (at, _) in line.match_indices("](") {
                let target = line[at + 2..].split([')', ' ']).next().unwrap_or_default();
                if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, heading) = target.split_once('#').unwrap_or((target, ""));
                let place = if path.is_empty() {
                    file.clone()
                } else {
                    normal(&Path::new(&file).parent().unwrap().join(path))
                };
                if !root().join(&place).exists() {
                    broken.push(format!("{file}: {target}"));
                } else if !heading.is_empty()
                    && anchors.get(&place).is_some_and(|known| !known.contains(heading))
                {
                    broken.push(format!("{file}: no heading for {target}"));
                }
            }
        }
    }
    assert_none("links that lead nowhere", &broken);
}

/// `a/b/../c` as `a/c`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part.as_os_str().to_string_lossy().as_ref() {
            ".." => {
                parts.pop();
            }
            "." => {}
            name => parts.push(name.to_owned()),
        }
    }
    parts.join("/")
}
