//! What the tree promises about itself: who may use whom, how long files are, that pages and
//! words are current. `UPDATE=1 cargo test --test tidy` rewrites the generated pages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "tidy/faults.rs"]
mod faults;
#[path = "tidy/links.rs"]
mod links;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use trimloop::error;
use trimloop_core::event::OrderRefusal;
use trimloop_core::guard::{Cut, Reason};
use trimloop_core::mode::{Mode, Rung, TripReason};
use trimloop_core::tag::{Doubt, Fault, Quality};
use trimloop_recipe::codes;
use trimloop_simulator::Scenario;

/// Longest source file.
const LINES_MAX: usize = 800;
/// Begin of every page that a test writes.
const GENERATED: &str = "<!-- Written by tests/tidy.rs: UPDATE=1 cargo test --test tidy -->\n\n";
/// <https://www.apache.org/licenses/LICENSE-2.0.txt>, byte by byte.
const APACHE_SHA256: &str = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30";
const SAFETY: &str = "not a safety system";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Files below a folder that end so, as paths from the root with `/`, sorted.
fn files(folder: &str, end: &str) -> Vec<String> {
    fn walk(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "node_modules", "book", ".git"].contains(&name.as_str()) {
                    walk(&path, end, found);
                }
            } else if name.ends_with(end) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), end, &mut found);
    let short =
        |path: PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
    let mut found: Vec<String> = found.into_iter().map(short).collect();
    found.sort();
    found
}

/// Our own Rust files.
fn sources() -> Vec<String> {
    ["src", "crates", "simulator", "tests", "benches"]
        .iter()
        .flat_map(|folder| files(folder, ".rs"))
        .collect()
}

/// Code that ships: without comment lines and without what is compiled for tests only.
fn shipped_lines(file: &str) -> Vec<(usize, String)> {
    let text = read(file);
    let mut lines = Vec::new();
    let mut skipped: Option<i64> = None;
    let mut waiting = false;
    for (number, line) in (1..).zip(text.lines()) {
        let code = line.trim_start();
        if code.starts_with("//") {
            continue;
        }
        if code.starts_with("#[cfg(test)]") {
            waiting = true;
            continue;
        }
        let depth = count(code, '{') - count(code, '}');
        if waiting {
            if code.starts_with("#[") {
                continue;
            }
            waiting = false;
            if depth > 0 {
                skipped = Some(depth);
            }
            continue;
        }
        if let Some(open) = skipped.as_mut() {
            *open += depth;
            if *open <= 0 {
                skipped = None;
            }
            continue;
        }
        lines.push((number, line.to_owned()));
    }
    lines
}

fn count(text: &str, c: char) -> i64 {
    i64::try_from(text.matches(c).count()).unwrap()
}

fn is_test_file(file: &str) -> bool {
    file.contains("/tests/")
        || file.starts_with("tests/")
        || file.ends_with("/tests.rs")
        || file.ends_with("_tests.rs")
        || file.ends_with("/fixture.rs")
        || file.contains("crates/core/src/properties")
        || file.starts_with("src/plc/fault_sim/")
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// core <- recipe <- train <- root; the simulator depends on none of them.
#[test]
fn crates_depend_in_one_direction() {
    let allowed: [(&str, &[&str]); 8] = [
        ("crates/core/Cargo.toml", &[]),
        ("crates/recipe/Cargo.toml", &["trimloop-core"]),
        ("crates/train/Cargo.toml", &["trimloop-core", "trimloop-recipe"]),
        ("crates/work/Cargo.toml", &["trimloop-core"]),
        ("crates/cmms/Cargo.toml", &["trimloop-core", "trimloop-recipe", "trimloop-work"]),
        ("crates/orders/Cargo.toml", &["trimloop-cmms", "trimloop-core", "trimloop-work"]),
        ("simulator/Cargo.toml", &[]),
        (
            "Cargo.toml",
            &[
                "trimloop-cmms",
                "trimloop-core",
                "trimloop-orders",
                "trimloop-recipe",
                "trimloop-simulator",
                "trimloop-train",
                "trimloop-work",
            ],
        ),
    ];
    for (file, ours) in allowed {
        let manifest: toml::Table = read(file).parse().unwrap();
        for table in ["dependencies", "build-dependencies"] {
            let names = manifest.get(table).and_then(|t| t.as_table()).into_iter().flatten();
            for (name, _) in names.filter(|(name, _)| name.starts_with("trimloop")) {
                assert!(ours.contains(&name.as_str()), "{file} must not depend on {name}");
            }
        }
        if file == "crates/core/Cargo.toml" {
            let names: Vec<&String> = manifest["dependencies"].as_table().unwrap().keys().collect();
            assert_eq!(names, ["libm"], "the core depends on libm only");
        }
    }
}

/// Outside the core an approved write is named only where it is carried out.
#[test]
fn approved_writes_are_named_where_they_are_carried_out() {
    let allowed = ["src/dispatch.rs", "src/scan.rs", "src/plc/mod.rs", "src/plc/write.rs"];
    let mut found = Vec::new();
    for file in sources().iter().filter(|f| !f.starts_with("crates/core/") && !is_test_file(f)) {
        if allowed.contains(&file.as_str()) {
            continue;
        }
        let lines = shipped_lines(file);
        let named = lines.iter().filter(|(_, line)| line.contains("ApprovedWrite"));
        found.extend(named.map(|(number, _)| format!("{file}:{number}")));
    }
    assert_none("ApprovedWrite is named outside core, dispatch, scan and plc", &found);
}

/// Shells do not use one another: each is joined to the others by scan, dispatch and service.
#[test]
fn shells_do_not_use_one_another() {
    let forbidden: [(&str, &[&str]); 14] = [
        ("src/plc", &["store", "journal", "control", "cli", "service", "scan", "dispatch"]),
        ("src/store", &["plc", "journal", "control", "cli", "service", "scan", "dispatch"]),
        ("src/journal", &["plc", "store", "control", "cli", "service", "scan", "dispatch"]),
        ("src/sink", &["plc", "journal", "control", "cli", "service", "scan", "dispatch"]),
        // It follows what the store committed, and never the loop.
        ("src/work", &["plc", "store", "control", "cli", "service", "scan", "dispatch", "intake"]),
        // The control socket queues commands in the service, and audits them in the store.
        ("src/control", &["plc", "journal", "cli", "scan"]),
        // They look at records, never at what acts.
        ("src/seal", &["plc", "control", "cli", "service", "scan", "dispatch"]),
        ("src/replay", &["plc", "store", "control", "cli", "service", "scan", "dispatch"]),
        (
            "src/backtest",
            &["plc", "store", "journal", "control", "cli", "service", "scan", "dispatch"],
        ),
        // Tables in, models and scores out; nothing of it is on the live path.
        (
            "src/learn",
            &["plc", "store", "journal", "control", "cli", "service", "scan", "dispatch"],
        ),
        ("src/why", &["plc", "store", "control", "cli", "service", "scan", "dispatch"]),
        ("src/output", &["plc", "store", "journal", "control", "cli", "service", "scan"]),
        ("src/export", &["plc", "journal", "control", "cli", "service", "scan", "dispatch"]),
        ("src/settings.rs", &["plc", "store", "journal", "control", "cli", "service", "scan"]),
    ];
    let mut found = Vec::new();
    for (place, others) in forbidden {
        let inside = |f: &&String| *f == place || f.starts_with(&format!("{place}/"));
        for file in sources().iter().filter(inside) {
            if is_test_file(file) {
                continue;
            }
            for (number, line) in shipped_lines(file) {
                for other in others {
                    if names_module(&line, other) {
                        found.push(format!("{file}:{number} uses {other}"));
                    }
                }
            }
        }
    }
    assert_none("a shell uses another", &found);
}

fn names_module(line: &str, module: &str) -> bool {
    let path = format!("crate::{module}");
    line.match_indices(&path).any(|(at, _)| {
        !line[at + path.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// One reader of clocks in the service; none in core, recipe and train. The simulator is a
/// machine of its own, with its own clock.
#[test]
fn one_file_reads_clocks() {
    let words = ["Instant::now", "SystemTime::now", ".elapsed()", "Clock::system"];
    let mut found = Vec::new();
    for file in sources() {
        let ours = file.starts_with("src/") || file.starts_with("crates/");
        if !ours || is_test_file(&file) || file == "src/clock.rs" {
            continue;
        }
        for (number, line) in shipped_lines(&file) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{file}:{number}"));
            }
        }
    }
    assert_none("a clock is read outside src/clock.rs", &found);
}

/// Tasks of the runtime are spawned by the service alone; threads by it and by the shells that
/// own one each, under a name.
#[test]
fn few_files_spawn() {
    let threads = [
        "src/service.rs",                   // the scan thread
        "src/journal/sync.rs",              // brings the journal to disk
        "src/store/writer.rs",              // the one writer of the store
        "src/seal/mod.rs",                  // signs the records
        "src/control/server.rs",            // the socket, and one per client
        "src/control/models.rs",            // looks at the states of models
        "src/cli/run.rs",                   // waits for signals
        "src/sink/mod.rs",                  // sends history to InfluxDB
        "src/work/mod.rs",                  // keeps alarms, cases and orders
        "src/work/notices.rs",              // one for each channel of notices
        "src/backtest/mod.rs",              // days side by side
        "crates/cmms/src/wake/listener.rs", // hears webhooks
        "crates/train/src/forest/mod.rs",   // trees side by side
        "crates/train/src/monitor.rs",      // held-out blocks side by side
    ];
    // A PLC's link, and a connection of a webhook.
    let tasks = ["src/service.rs", "crates/cmms/src/wake/listener.rs"];
    let mut found = Vec::new();
    for file in sources() {
        let ours = file.starts_with("src/") || file.starts_with("crates/");
        if !ours || is_test_file(&file) {
            continue;
        }
        let whole: Vec<(usize, String)> = shipped_lines(&file);
        for (number, line) in &whole {
            let task = ["tokio::spawn", "runtime.spawn", "spawn_blocking", "JoinSet"]
                .iter()
                .any(|word| line.contains(word));
            if task && !tasks.contains(&file.as_str()) {
                found.push(format!("{file}:{number} spawns a task"));
            }
            if line.contains("spawn(") && !task && !threads.contains(&file.as_str()) {
                found.push(format!("{file}:{number} spawns a thread"));
            }
            if line.contains("thread::spawn(") || line.contains("unbounded_channel(") {
                found.push(format!("{file}:{number} has no name, or no bound"));
            }
        }
    }
    assert_none("spawned outside the places for it", &found);
}

/// Files stay short enough to be read in one go.
#[test]
fn files_are_short() {
    let long = |file: &String| {
        let lines = read(file).lines().count();
        (lines > LINES_MAX).then(|| format!("{file}: {lines} lines"))
    };
    let found: Vec<String> = sources().iter().filter_map(long).collect();
    assert_none("longer than 800 lines", &found);
}

/// No test is switched off, sleeps, or is tried again.
#[test]
fn tests_neither_sleep_nor_hide() {
    let words = ["#[ignore", "thread::sleep", "time::sleep", "sleep_ms("];
    let mut found = Vec::new();
    for file in sources().iter().filter(|f| *f != "tests/tidy.rs") {
        let shipped: BTreeSet<usize> = if is_test_file(file) {
            BTreeSet::new()
        } else {
            shipped_lines(file).into_iter().map(|(number, _)| number).collect()
        };
        for (number, line) in (1..).zip(read(file).lines()) {
            let code = line.trim_start();
            if code.starts_with("//") || shipped.contains(&number) {
                continue;
            }
            if words.iter().any(|word| code.contains(word)) {
                found.push(format!("{file}:{number} {code}"));
            }
        }
    }
    assert_none("a test sleeps or is ignored", &found);
}

fn all_codes() -> Vec<&'static codes::Code> {
    let mut all: Vec<_> = error::all_codes().collect();
    all.sort_by_key(|code| code.code);
    all
}

/// Codes are unique; every code that a text or source names exists.
#[test]
fn codes_are_unique_and_known() {
    let all = all_codes();
    let known: BTreeSet<&str> = all.iter().map(|code| code.code).collect();
    assert_eq!(known.len(), all.len(), "a code means two things");
    let texts = files("docs", ".md").into_iter().chain(files("src", ".rs"));
    let texts = texts.chain(files("crates/recipe/src", ".rs"));
    let texts = texts.chain(["README.md", "CHANGELOG.md", "ARCHITECTURE.md"].map(str::to_owned));
    let mut found = Vec::new();
    for file in texts {
        for (number, line) in (1..).zip(read(&file).lines()) {
            for (at, _) in line.match_indices("TL") {
                let digits = line.get(at + 2..at + 6).unwrap_or_default();
                let is_code = digits.len() == 4 && digits.chars().all(|c| c.is_ascii_digit());
                // TL9999 stands for one that is not there; TL0402 is kept for "someone else must
                // approve it".
                if is_code
                    && !["9999", "0402"].contains(&digits)
                    && !known.contains(&line[at..at + 6])
                {
                    found.push(format!("{file}:{number} {}", &line[at..at + 6]));
                }
            }
        }
    }
    assert_none("a code that does not exist", &found);
}

// --- Generated pages --------------------------------------------------------------------------

/// Compares a generated page with the one in the book; `UPDATE=1` writes it.
fn check_page(name: &str, text: &str) {
    let file = format!("docs/src/reference/{name}.md");
    let path = root().join(&file);
    let whole = format!("{GENERATED}{}", text.trim_end()) + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &whole).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == whole, "{file} is stale: UPDATE=1 cargo test --test tidy");
}

/// docs/src/reference/codes.md says what `trimloop explain` says.
#[test]
fn page_of_codes() {
    let mut text = String::from(
        "# TL codes\n\nEvery error and warning carries a stable code. `trimloop explain TL0214` \
         prints what stands here.\n",
    );
    let groups = [
        ("01", "Settings"),
        ("02", "Recipes"),
        ("03", "PLC configs"),
        ("04", "Authority"),
        ("05", "Models"),
        ("06", "PLC link"),
        ("07", "Stores and sinks"),
        ("08", "Work orders and CMMS"),
        ("09", "Security, audit, orders"),
    ];
    let all = all_codes();
    for code in &all {
        let known = groups.iter().any(|(group, _)| code.code[2..].starts_with(group));
        assert!(known, "{} is in no group of this page", code.code);
    }
    for (group, title) in groups {
        let inside: Vec<_> = all.iter().filter(|c| c.code[2..].starts_with(group)).collect();
        if inside.is_empty() {
            continue;
        }
        writeln!(text, "\n## {title}").unwrap();
        for code in inside {
            let (means, why) = (one_line(code.means), one_line(code.why));
            writeln!(text, "\n### {}: {}\n\n{means} {why}", code.code, code.title).unwrap();
            let block = |example: &str| example.replace("\n        ", "\n");
            writeln!(text, "\n```text\nwrong: {}", block(code.wrong)).unwrap();
            writeln!(text, "right: {}\n```", block(code.right)).unwrap();
        }
    }
    check_page("codes", &text);
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// docs/src/reference/recipe.md and plc-config.md are what the JSON Schemas say.
#[test]
fn pages_of_file_formats() {
    for (file, json) in trimloop_recipe::schema::files() {
        let schema: Value = serde_json::from_str(&json).unwrap();
        let (page, title, head) = match file {
            "recipe.schema.json" => (
                "recipe",
                "Recipe keys",
                "recipes/NAME.toml. Quantities are texts with their unit (`\"480 bar\"`, \
                 `\"5 bar / 1 min\"`); bare numbers are counts, ratios and standard deviations.",
            ),
            _ => (
                "plc-config",
                "PLC config keys",
                "plc-configs/NAME.toml. Durations are texts with their unit (`\"250 ms\"`).",
            ),
        };
        let mut text = format!(
            "# {title}\n\n{head} For an editor: `trimloop schema {page}`. Keys in **bold** must \
             be there; an unknown key is an error.\n"
        );
        let top = schema["properties"].as_object().unwrap();
        let mut seen = BTreeSet::new();
        for (key, value) in top {
            let (of, shape) = follow(value);
            let Some(of) = of else { continue };
            let head = match shape {
                "list" => format!("[[{key}]]"),
                "map" => format!("[{key}.NAME]"),
                _ => format!("[{key}]"),
            };
            writeln!(text, "\n## `{head}`\n\n{}", description(value)).unwrap();
            tables(&schema, &of, &mut text, &mut seen);
        }
        check_page(page, &text);
    }
}

/// The definition that a property leads to, and how: as a table, a map of tables or a list.
fn follow(value: &Value) -> (Option<String>, &'static str) {
    let name = |v: &Value| {
        let path = v.get("$ref")?.as_str()?;
        path.strip_prefix("#/$defs/").filter(|n| n.starts_with("Raw")).map(str::to_owned)
    };
    if let Some(of) = name(value) {
        return (Some(of), "table");
    }
    if let Some(of) = value.get("anyOf").and_then(|v| v.as_array()?.iter().find_map(name)) {
        return (Some(of), "table");
    }
    if let Some(of) = value.get("additionalProperties").and_then(name) {
        return (Some(of), "map");
    }
    (value.get("items").and_then(name), "list")
}

fn description(value: &Value) -> String {
    let text = value.get("description").and_then(Value::as_str).unwrap_or_default();
    one_line(text).replace('|', "\\|")
}

fn tables(schema: &Value, name: &str, text: &mut String, seen: &mut BTreeSet<String>) {
    if !seen.insert(name.to_owned()) {
        writeln!(text, "\nKeys as above.").unwrap();
        return;
    }
    let of = &schema["$defs"][name];
    let must: BTreeSet<&str> =
        of["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = of["properties"].as_object() else { return };
    text.push_str("\n| key | takes | what it is |\n|---|---|---|\n");
    let mut inner = Vec::new();
    for (key, value) in properties {
        let shown =
            if must.contains(key.as_str()) { format!("**`{key}`**") } else { format!("`{key}`") };
        let (table, shape) = follow(value);
        writeln!(text, "| {shown} | {} | {} |", kind(value, shape), description(value)).unwrap();
        if let Some(table) = table {
            inner.push((key.clone(), table));
        }
    }
    for (key, table) in inner {
        if seen.contains(&table) {
            continue;
        }
        writeln!(text, "\n### `{key}`\n\n{}", description(&schema["$defs"][table.as_str()]))
            .unwrap();
        tables(schema, &table, text, seen);
    }
}

fn kind(value: &Value, shape: &str) -> &'static str {
    if follow(value).0.is_some() {
        return match shape {
            "list" => "list of tables",
            "map" => "tables by name",
            _ => "table",
        };
    }
    let json = value.to_string();
    let has = |word: &str| json.contains(&format!("\"{word}\""));
    match () {
        () if json.contains("$defs/Step") => "quantity, or up and down",
        () if has("additionalProperties") && json.contains("$defs/Quantity") => {
            "quantities by name"
        }
        () if has("array") && json.contains("$defs/Quantity") => "two quantities",
        () if has("array") => "list of texts",
        () if json.contains("$defs/Quantity") => "quantity or number",
        () if has("additionalProperties") => "texts by name",
        () if has("boolean") && has("integer") => "whole number, true or false",
        () if has("integer") => "whole number",
        () if has("boolean") => "true or false",
        () if has("string") => "text",
        () => "value",
    }
}

/// docs/src/reference/scenarios.md is the scenario pack of the simulator.
#[test]
fn page_of_scenarios() {
    let mut text = String::from(
        "# Simulator scenarios\n\nFor `trimloop simulate --scenario NAME` and `trimloop demo \
         --scenario NAME`. Every scenario also has the disturbances of its seed: viscosity lots, \
         ambient temperature, slow wear, sensor noise. Results are those of a simulator, never \
         field claims.\n\n| name | what happens | faults |\n|---|---|---|\n",
    );
    for scenario in Scenario::all() {
        let mut faults: Vec<String> = Vec::new();
        for fault in &scenario.faults {
            let end = match fault.to_part {
                u64::MAX => "on".to_owned(),
                part => format!("to {part}"),
            };
            faults.push(format!("`{:?}` from part {} {end}", fault.kind, fault.from_part));
        }
        let faults = if faults.is_empty() { "none".to_owned() } else { faults.join("; ") };
        writeln!(text, "| `{}` | {} | {faults} |", scenario.name, scenario.title).unwrap();
    }
    let nominal = Scenario::named("nominal").unwrap();
    let (every, delay) = (nominal.inspect_every, nominal.inspect_delay);
    writeln!(
        text,
        "\nOne part in {every} is inspected, its result comes {delay} parts later, unless the \
         scenario says otherwise."
    )
    .unwrap();
    check_page("scenarios", &text);
}

/// docs/src/reference/cli.md is the help of the built command.
#[test]
fn page_of_commands() {
    let help = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_trimloop"))
            .args(args)
            .env("NO_COLOR", "1")
            .env_remove("COLUMNS")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut text = String::from(
        "# Command line\n\nstdout carries the result, stderr progress and logs. With `--format \
         json` stdout holds exactly one JSON object, errors included. Every option has an \
         environment twin: `--deny-warnings` is `TRIMLOOP_DENY_WARNINGS`.\n",
    );
    let verbs = "demo simulate fault init run check status loop why replay backtest audit audit/verify \
                 audit/list audit/show audit/key plc plc/discover plc/browse plc/read \
                 plc/watch plc/import plc/cert plc/conform query export data data/audit data/lags \
                 data/join model model/train model/score model/show model/list model/compare \
                 model/beside \
                 model/backtest model/drift model/challenge model/approve model/promote model/suspend \
                 model/retire model/rollback connector \
                 connector/list connector/test connector/status connector/resend explain schema \
                 completions";
    let top = help(&["-h"]);
    writeln!(text, "\n```text\n{}\n```", top.trim_end()).unwrap();
    for verb in verbs.split(' ') {
        let words: Vec<&str> = verb.split('/').collect();
        let verb = words.join(" ");
        assert!(top.contains(words[0]), "{verb} is no command");
        let with = |option| help(&[words.as_slice(), &[option]].concat());
        let (short, long) = (with("-h"), with("--help"));
        let examples = long.find("Examples:").map_or("", |at| &long[at..]);
        // Of the options only its own: those of every command stand above.
        let shared = ["--config <FILE>", "--format <FORMAT>", "--color <WHEN>", "-q, --quiet"];
        let shared = |line: &str| {
            shared.iter().chain(&["-v, --verbose", "-h, --help"]).any(|o| line.contains(o))
        };
        let mut dropped = false;
        let mut own = String::new();
        for line in short.lines() {
            let goes_on = line.starts_with("            ") && !line.trim_start().starts_with('-');
            dropped = shared(line) || (dropped && goes_on);
            if !dropped {
                own.push_str(line.trim_end());
                own.push('\n');
            }
        }
        let own = own.trim_end().trim_end_matches("Options:").trim_end();
        let whole = format!("{own}\n\n{}", examples.trim_end());
        writeln!(text, "\n## {verb}\n\n```text\n{}\n```", whole.trim_end()).unwrap();
    }
    check_page("cli", &text);
}

// --- Words and links --------------------------------------------------------------------------

/// Every stable word that records, events and JSON may hold is explained.
#[test]
fn words_are_documented() {
    let page = read("docs/src/reference/words.md");
    let mut words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.word()).collect();
    words.extend([Mode::Off, Mode::Shadow, Mode::Advisory, Mode::Auto].map(Mode::word));
    words.extend([Rung::Full, Rung::FeedbackOnly, Rung::Return, Rung::Released].map(Rung::word));
    words.extend(
        [
            TripReason::Clock,
            TripReason::Interlock,
            TripReason::EmptyRange,
            TripReason::NotTaken,
            TripReason::Mismatch,
            TripReason::NoEffect,
            TripReason::Oscillation,
            TripReason::Operator,
        ]
        .map(TripReason::word),
    );
    let cuts = [Cut::Nothing, Cut::Absolute, Cut::Trim, Cut::Authority];
    words.extend(cuts.into_iter().chain([Cut::Plc, Cut::Step, Cut::Rate]).map(Cut::word));
    words.extend(
        [
            OrderRefusal::Unknown,
            OrderRefusal::Tripped,
            OrderRefusal::AboveRecipe,
            OrderRefusal::Superseded,
            OrderRefusal::Expired,
            OrderRefusal::SetpointMoved,
            OrderRefusal::Held,
            OrderRefusal::NotLatched,
        ]
        .map(OrderRefusal::word),
    );
    let doubts = [Doubt::Rate, Doubt::Spike, Doubt::Frozen, Doubt::Skew].map(Quality::Suspect);
    let faults = [Fault::Server, Fault::Range, Fault::NotANumber].map(Quality::Bad);
    let rest = [Quality::Good, Quality::Uncertain, Quality::Stale, Quality::Missing];
    words.extend(doubts.into_iter().chain(faults).chain(rest).map(Quality::word));
    // Lives as long as the test: the words above are static too.
    let names: &str = read("src/output/names.rs").leak();
    for start in ["say(\"", "plain(\"", "say(\n            \"", "plain(\n                \""] {
        for (at, _) in names.match_indices(start) {
            let rest = &names[at + start.len()..];
            words.push(rest.split('"').next().unwrap());
        }
    }
    assert!(words.contains(&"link_up") && words.contains(&"overrun"), "{words:?}");
    let missing: Vec<String> = words
        .iter()
        .filter(|word| !page.contains(&format!("`{word}`")))
        .map(|word| (*word).to_owned())
        .collect();
    assert_none("docs/src/reference/words.md does not explain", &missing);
}

/// Every setting is explained.
#[test]
fn settings_are_documented() {
    let page = read("docs/src/reference/settings.md");
    let source = read("src/settings.rs");
    let keys: Vec<&str> = source
        .lines()
        .filter(|line| line.contains("Kind::") && line.trim_start().starts_with("(\""))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(keys.contains(&"log.level"), "{keys:?}");
    for key in keys {
        assert!(page.contains(&format!("`{key}`")), "settings.md does not explain {key}");
    }
}

/// The book's table of contents names every page.
#[test]
fn every_page_is_in_the_book() {
    let summary = read("docs/src/SUMMARY.md");
    for file in files("docs/src", ".md") {
        let name = file.trim_start_matches("docs/src/");
        let listed = name == "SUMMARY.md" || summary.contains(&format!("({name})"));
        assert!(listed, "docs/src/SUMMARY.md does not list {name}");
    }
}

/// Pages from which somebody might act say first what trimloop is not.
#[test]
fn the_safety_statement_stands_where_people_act() {
    let mut pages = vec!["README.md".to_owned(), "docs/src/introduction.md".to_owned()];
    for folder in ["tutorial", "how-to", "explanation"] {
        let inside = files(&format!("docs/src/{folder}"), ".md");
        assert!(!inside.is_empty(), "no pages in {folder}");
        pages.extend(inside);
    }
    for page in pages {
        let text = read(&page);
        let head: Vec<&str> = text.lines().take(12).collect();
        assert!(head.join(" ").contains(SAFETY), "{page} does not begin with \"{SAFETY}\"");
    }
}

/// The quickstart is two commands, and the licence is the plain text.
#[test]
fn readme_and_licences() {
    let readme = read("README.md");
    let block = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let commands: Vec<&str> =
        block.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    assert_eq!(commands, ["cargo run --release -- demo", "cargo test --workspace"]);
    let licence = Sha256::digest(read("LICENSE-APACHE").as_bytes());
    let hex: String =
        licence.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    assert_eq!(hex, APACHE_SHA256, "LICENSE-APACHE is not the plain licence text");
    let changelog = read("CHANGELOG.md");
    let first = changelog.lines().find(|line| line.starts_with("### "));
    assert_eq!(first, Some("### Safety"), "Safety comes first");
}
