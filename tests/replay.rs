//! Journals of incidents, replayed through the production core: every decision the same, bit by
//! bit, and the report as expected.
//!
//! `UPDATE=1 cargo test --test replay` records the incidents anew, with the simulated press in
//! virtual time, and rewrites the reports. Do that when the core decides otherwise on purpose, and
//! read the difference of the reports before you keep it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/world.rs"]
mod world;

use std::path::{Path, PathBuf};

use trimloop::journal::{JournalHead, JournalWriter, keep_plan};
use trimloop::output::RecordId;
use trimloop::replay::{At, Break, Outcome, ReplaySettings, Report, replay, report_text};
use trimloop_core::time::Utc;
use trimloop_recipe::{Bound, Models, Project};
use trimloop_simulator::Scenario;
use trimloop_simulator::cell::EPOCH_MS;
use world::{World, shipped};

/// Scenario, part of its first fault, parts made.
const INCIDENTS: [(&str, u64, u64); 4] = [
    ("link-loss", 60, 90),
    ("wrong-sign", 60, 150),
    ("operator-override", 60, 80),
    ("plc-rejects", 60, 90),
];
const SEED: u64 = 3;

/// Whether the incidents are recorded anew.
fn is_update() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// The folder of an incident; records all of them anew first, once, when asked to.
fn folder(name: &str) -> PathBuf {
    static RECORDED: std::sync::Once = std::sync::Once::new();
    let journals = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals");
    RECORDED.call_once(|| {
        for (name, at, parts) in INCIDENTS.into_iter().filter(|_| is_update()) {
            let dir = journals.join(name);
            drop(std::fs::remove_dir_all(&dir));
            record(&dir, &shipped(), incident(name, at), parts, 1, u64::MAX);
            std::fs::remove_file(dir.join("lock")).unwrap();
        }
    });
    journals.join(name)
}

/// A folder of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trimloop-replay-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The first fault of a scenario, early, and quality measured often: incidents stay short.
fn incident(name: &str, at: u64) -> Scenario {
    let mut scenario = Scenario::named(name).unwrap();
    scenario.faults.truncate(1);
    for fault in &mut scenario.faults {
        let length = fault.to_part.saturating_sub(fault.from_part).min(30);
        (fault.from_part, fault.to_part) = (at, at + length.max(1));
        if name == "wrong-sign" {
            fault.to_part = u64::MAX;
        }
    }
    (scenario.inspect_every, scenario.inspect_delay) = (2, 2);
    scenario
}

/// Records one start of a service in `dir`.
fn record(dir: &Path, bound: &Bound, scenario: Scenario, parts: u64, boot: u64, bytes_max: u64) {
    let head = JournalHead {
        recipe: bound.plan.name.clone(),
        revision: bound.plan.revision,
        plan_hash: bound.plan.hash,
        node: "press-4".to_owned(),
        boot,
        utc: Utc::from_millis(EPOCH_MS),
    };
    let journal = JournalWriter::open_sized(dir, &head, bytes_max).unwrap();
    keep_plan(dir, bound).unwrap();
    let mut world = World::recorded(bound, scenario, SEED, true, Some(journal));
    world.produce(parts);
}

fn played(dir: &Path, settings: &ReplaySettings) -> Report {
    replay(dir, settings, &mut |_, _| ()).unwrap()
}

/// Every incident is decided again as it was, and its report is the expected one.
#[test]
fn incidents_are_decided_again_as_they_were() {
    for (name, _, _) in INCIDENTS {
        let dir = folder(name);
        let report = played(&dir, &ReplaySettings::default());
        assert!(report.is_equal(), "{name}: {}", report_text(&report, false));
        let text = report_text(&report, true);
        let expected = dir.join("expected.txt");
        if is_update() {
            std::fs::write(&expected, &text).unwrap();
        }
        let there = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(text, there, "{name}: UPDATE=1 cargo test --test replay");
    }
}

/// The incidents are what their names say.
#[test]
fn incidents_hold_what_they_are_named_after() {
    for (name, code) in [
        ("link-loss", "link_down"),
        ("wrong-sign", "tripped"),
        ("operator-override", "external_change"),
        ("plc-rejects", "write_refused"),
    ] {
        let report = played(&folder(name), &ReplaySettings::default());
        assert!(
            report.events.iter().any(|event| event.code == code),
            "{name}: {:?}",
            report.events
        );
        assert!(report.replayed.writes > 5, "{name}: {:?}", report.replayed);
    }
}

/// Starts in one journal are cells of their own, rotation is none; a start whose first file is gone
/// is skipped and told, and the others are replayed all the same.
#[test]
fn starts_are_cells_of_their_own() {
    let scratch = Scratch::new("starts");
    let bound = shipped();
    for boot in 1..=3 {
        record(&scratch.0, &bound, incident("link-loss", 20), 30, boot, 8_000);
    }
    let whole = played(&scratch.0, &ReplaySettings::default());
    assert!(whole.is_equal() && whole.files > 6, "{whole:?}");
    assert_eq!((whole.starts, whole.scans), (3, whole.compared));
    std::fs::remove_file(scratch.0.join("journal-00000001.tlj")).unwrap();
    let rest = played(&scratch.0, &ReplaySettings::default());
    assert!(rest.is_equal(), "{rest:?}");
    assert_eq!(rest.skipped.len(), 1);
    assert_eq!(rest.compared, whole.compared / 3 * 2);
    // A scan alone could be of any start.
    let bare = ReplaySettings {
        until: Some(At::Scan { boot: None, seq: 5 }),
        ..ReplaySettings::default()
    };
    let error = replay(&scratch.0, &bare, &mut |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("starts 1, 2, 3"), "{error}");
}

/// One changed bit ends the replay at its record, wherever it is.
#[test]
fn a_changed_bit_is_located() {
    let scratch = Scratch::new("bit");
    let source = folder("operator-override");
    let bound = shipped();
    keep_plan(&scratch.0, &bound).unwrap();
    let file = scratch.0.join("journal-00000001.tlj");
    let good = std::fs::read(source.join("journal-00000001.tlj")).unwrap();
    for at in [good.len() / 5, good.len() / 2, good.len() - 40] {
        let mut bad = good.clone();
        bad[at] ^= 4;
        std::fs::write(&file, &bad).unwrap();
        let report = played(&scratch.0, &ReplaySettings::default());
        let Outcome::Damaged(damage) = &report.outcome else { panic!("{report:?}") };
        assert_eq!(damage.file, file);
        assert!(damage.offset <= at as u64 && damage.record > 0, "{damage}");
        assert!(at as u64 - damage.offset < 20_000, "{damage}");
        assert!(!report.is_equal());
    }
}

/// A replay stops where it is told to, and shows what went in and out.
#[test]
fn a_replay_stops_where_it_is_told() {
    let dir = folder("wrong-sign");
    let stopped = |settings: &ReplaySettings| match played(&dir, settings).outcome {
        Outcome::Broke(scene) => *scene,
        other => panic!("{other:?}"),
    };
    let on = |stop| ReplaySettings { breaks: vec![stop], ..ReplaySettings::default() };
    let write = stopped(&on(Break::Write));
    assert!(write.actions.iter().any(|line| line.starts_with("WRITE 1-1 ")), "{write:?}");
    let trip = stopped(&on(Break::Trip));
    assert!(trip.actions.iter().any(|line| line.contains("tripped")), "{trip:?}");
    assert!(trip.seq > write.seq);
    let rung = stopped(&on(Break::Event("rung".to_owned())));
    assert!(rung.actions.iter().any(|line| line.contains("rung")), "{rung:?}");

    let at = |seq| Some(At::Scan { boot: None, seq });
    let part = ReplaySettings { from: at(100), until: at(199), ..ReplaySettings::default() };
    let report = played(&dir, &part);
    assert!(report.is_equal() && report.stopped);
    assert_eq!((report.scans, report.compared), (100, 100));
    // From there on the same write is the first that is told, and it has its number.
    let later = ReplaySettings { from: at(write.seq + 1), ..on(Break::Write) };
    assert!(stopped(&later).seq > write.seq);
    let second = stopped(&on(Break::WriteOf(RecordId::write(1, 2))));
    assert!(second.actions.iter().any(|line| line.starts_with("WRITE 1-2 ")), "{second:?}");
    // What lies nowhere is not equal, it is not there.
    let of = |boot, seq| Some(At::Scan { boot: Some(boot), seq });
    for (from, until, says) in [
        (of(9, 1), None, "no start 9; it holds 1"),
        (None, of(9, 1), "no start 9; it holds 1"),
        (at(100), at(50), "nothing was compared"),
        (at(1_000_000), None, "nothing was compared"),
    ] {
        let settings = ReplaySettings { from, until, ..ReplaySettings::default() };
        let error = replay(&dir, &settings, &mut |_, _| ()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let unknown = replay(&dir, &on(Break::Bad("nothing".into())), &mut |_, _| ()).unwrap_err();
    assert!(unknown.to_string().contains("\"nothing\""), "{unknown}");
}

/// The shipped recipe with smaller steps.
fn changed() -> Bound {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = Project::read(root).unwrap();
    let text = std::fs::read_to_string(root.join("recipes/housing-lid.toml")).unwrap();
    let step = text.lines().find(|line| line.starts_with("step")).unwrap();
    let text = text.replacen(step, "step     = \"2 bar\"", 1);
    let (recipe, found) = trimloop_recipe::check("recipes/housing-lid.toml", &text);
    let recipe = recipe.unwrap_or_else(|| panic!("{found:?}"));
    let models = Models::read(&root.join("models"), recipe.model_files());
    trimloop_recipe::bind(&recipe, &project.plc_configs, &models).unwrap()
}

/// Another recipe is another result: the first scan that differs, side by side, and the totals.
#[test]
fn another_plan_is_held_against_the_recorded_one() {
    let settings = ReplaySettings { other: Some(changed()), ..ReplaySettings::default() };
    let report = played(&folder("operator-override"), &settings);
    assert_eq!(report.outcome, Outcome::OtherPlan);
    let first = report.first_difference.clone().unwrap();
    assert!(report.differing > 1 && first.recorded != first.replayed);
    let text = report_text(&report, false);
    assert!(text.contains("cut: step") && text.contains(" | "), "{text}");
    assert!(!report.is_equal());
}

/// A bundle that was changed does not pass for the plan it is named after, and a missing one is
/// told with what is needed.
#[test]
fn a_plan_is_what_its_name_says() {
    let scratch = Scratch::new("plan");
    let bound = shipped();
    let source = folder("operator-override").join("journal-00000001.tlj");
    std::fs::copy(source, scratch.0.join("journal-00000001.tlj")).unwrap();
    let failed = || replay(&scratch.0, &ReplaySettings::default(), &mut |_, _| ()).unwrap_err();
    assert!(trimloop::error::chain(&failed()).contains("there is no "), "{}", failed());
    keep_plan(&scratch.0, &bound).unwrap();
    let plans = scratch.0.join("plans").join(trimloop::journal::hex(&bound.plan.hash));
    let recipe = plans.join("recipes/housing-lid.toml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    let step = text.lines().find(|line| line.starts_with("step")).unwrap();
    std::fs::write(&recipe, text.replacen(step, "step     = \"2 bar\"", 1)).unwrap();
    let error = trimloop::error::chain(&failed());
    assert!(error.contains("they were changed after they were written"), "{error}");
    // A project with just that plan helps out.
    let settings = ReplaySettings { project: Some(bound), ..ReplaySettings::default() };
    assert!(played(&scratch.0, &settings).is_equal());
}

fn command(args: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_trimloop"))
        .args(args)
        .env("NO_COLOR", "1")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// The command says the same, with its exit codes and as one JSON object.
#[test]
fn the_command_replays() {
    let dir = folder("plc-rejects");
    let dir = dir.to_str().unwrap();
    let (code, text) = command(&["replay", dir, "--events"]);
    let expected = std::fs::read_to_string(folder("plc-rejects").join("expected.txt")).unwrap();
    assert_eq!((code, text), (Some(0), expected));
    let args = ["replay", dir, "--break-on", "event=write_refused", "--format", "json"];
    let (code, text) = command(&args);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, json["schema"].as_str()), (Some(0), Some("trimloop.replay/1")));
    assert_eq!(json["outcome"], "stopped");
    assert!(json["scan"]["out"].to_string().contains("refused"), "{json}");
    let (code, text) = command(&["replay", dir, "--other-plan"]);
    // The project's plan is the recorded one: nothing differs.
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(command(&["replay", "recipes"]).0, Some(4));
    assert_eq!(command(&["replay", dir, "--from", "yesterday"]).0, Some(2));
    let scratch = Scratch::new("command");
    keep_plan(&scratch.0, &shipped()).unwrap();
    let mut bytes = std::fs::read(folder("plc-rejects").join("journal-00000001.tlj")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(scratch.0.join("journal-00000001.tlj"), bytes).unwrap();
    let (code, text) = command(&["replay", scratch.0.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(text.contains("DAMAGED") && text.contains(" at byte "), "{text}");
}
