//! `trimloop check`: settings, PLC configs, recipes with their tests, models.

use std::path::PathBuf;

use clap::{ArgAction, Args, builder::FalseyValueParser};
use serde_json::{Value, json};

use trimloop_recipe::diagnostic::{Diagnostic, Severity};
use trimloop_recipe::{Bound, Recipe, run_checks};

use super::ui::diagnostic_json;
use super::{Exit, Failure, Global, Ui, load};
use crate::error::MODEL_BARS;
use crate::learn::standing::{Standing, Supports};
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  trimloop check                              ./trimloop.toml, else ./recipes and ./plc-configs
  trimloop check recipes/housing-lid.toml     One recipe, with the PLC config it names
  trimloop check --config my-cell             Another folder
  trimloop check --format json --deny-warnings

Exit: 0 all well, 1 a mistake was found, 2 the settings are wrong, 3 warnings with
--deny-warnings. Runs the [[check]] tests of every recipe on the code that runs the machine.";

/// What to check.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// Only these recipes or PLC configs
    files: Vec<PathBuf>,
    /// Exit 3 when there are warnings
    #[arg(long, env = "TRIMLOOP_DENY_WARNINGS", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    deny_warnings: bool,
    /// Do not look at the PLC and the machine (it never does yet)
    #[arg(long, env = "TRIMLOOP_NO_ENVIRONMENT", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    no_environment: bool,
}

/// One line of the report.
struct Item {
    section: &'static str,
    name: String,
    detail: String,
    /// `None` = skipped.
    ok: Option<bool>,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &CheckArgs) -> Result<Exit, Failure> {
    let settings = load::settings(global)?;
    let project = load::project(&settings, &args.files);
    let mut found = project.diagnostics.clone();
    if args.files.is_empty() {
        found.extend(load::folders_and_choice(&settings, &project));
        found.extend(load::unnamed_models(&settings, &project));
    }
    let mut items = vec![settings_item(&settings)];
    let mut tests = 0;
    let mut bounds: Vec<(&Recipe, Bound)> = Vec::new();
    for recipe in &project.recipes {
        match project.bind(recipe) {
            Ok(bound) => {
                found.extend(bound.warnings.iter().cloned());
                found.extend(run_checks(recipe, &bound));
                found.extend(out_of_force(&settings, recipe, &bound));
                tests += recipe.raw().check.len();
                bounds.push((recipe, bound));
            }
            Err(more) => found.extend(more),
        }
    }
    dedup(&mut found);
    let broken =
        |file: &str| found.iter().any(|d| d.severity == Severity::Error && d.source.file == file);
    for file in &project.plc_files {
        let config = project.plc_configs.iter().find(|plc| plc.source().file == *file);
        let detail = config.map_or(String::new(), |plc| {
            let writable = plc.nodes.iter().filter(|node| node.writable).count();
            format!("{} nodes, {writable} writable", plc.nodes.len())
        });
        items.push(Item {
            section: "PLC configs",
            name: file.clone(),
            detail,
            ok: Some(!broken(file)),
        });
    }
    for file in &project.recipe_files {
        let recipe = bounds.iter().find(|(recipe, _)| recipe.source().file == *file);
        let detail = recipe.map_or(String::new(), |(recipe, bound)| {
            let (loops, checks) = (bound.plan.loops.len(), recipe.raw().check.len());
            format!(
                "r{}, {}, {}",
                recipe.revision(),
                plural(loops, "loop"),
                plural(checks, "check")
            )
        });
        items.push(Item {
            section: "recipes",
            name: file.clone(),
            detail,
            ok: Some(!broken(file)),
        });
    }
    for name in project.models.names() {
        let detail = standing(&settings, &bounds, name);
        let name = name.to_owned();
        items.push(Item { section: "models", name, detail, ok: Some(true) });
    }
    if project.models.names().next().is_none() {
        let name = settings.models.display().to_string();
        let detail = "none named by a recipe".to_owned();
        items.push(Item { section: "models", name, detail, ok: None });
    }
    if project.recipe_files.is_empty() && project.plc_files.is_empty() {
        ui.note(&format!(
            "there is nothing to check: no recipes in {}, no PLC configs in {}",
            settings.recipes.display(),
            settings.plc_configs.display()
        ));
    }
    Ok(report(ui, args, &items, &found, tests))
}

/// Models that are not in force, where loops that may act rest on them.
fn out_of_force(settings: &Settings, recipe: &Recipe, bound: &Bound) -> Vec<Diagnostic> {
    let supports = Supports::of(&settings.models, bound);
    let found = supports.iter().filter_map(|support| {
        let bar = support.bar()?;
        let span = recipe.raw().model.get(&support.name)?.1.file.span();
        let loops = support.loops.iter().filter_map(|id| bound.plan.loops.get(id.index()));
        let loops: Vec<&str> = loops.map(|of| of.name.as_str()).collect();
        let standing = support.standing();
        let message = format!("model \"{}\" is {}", support.name, standing.word());
        let found = Diagnostic::error(&MODEL_BARS, recipe.source(), span, message);
        let note =
            format!("the service keeps the loops that rest on it in SHADOW: {}", loops.join(", "));
        let found = found.label(bar.why).note(note).help(bar.way);
        // What cannot be read was damaged or written by hand; a state is for people to change.
        Some(if matches!(standing, Standing::Unknown(_)) { found } else { found.warning() })
    });
    found.collect()
}

/// Where a model stands that a recipe names, in words; of one that cannot be bound, nothing.
fn standing(settings: &Settings, bounds: &[(&Recipe, Bound)], folder: &str) -> String {
    let hash = bounds.iter().find_map(|(_, bound)| {
        let (name, _) = bound.model_folders.iter().find(|(_, of)| *of == folder)?;
        bound.plan.models.iter().find(|model| model.name == *name).map(|model| model.hash)
    });
    hash.map_or(String::new(), |hash| {
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Standing::of(&settings.models.join(folder), &hash).word().to_owned()
    })
}

fn report(ui: &Ui, args: &CheckArgs, items: &[Item], found: &[Diagnostic], tests: usize) -> Exit {
    let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
    let warnings = found.len() - errors;
    let exit = match (errors, warnings) {
        (0, 0) => Exit::Ok,
        (0, _) if args.deny_warnings => Exit::Warnings,
        (0, _) => Exit::Ok,
        _ => Exit::Failed,
    };
    let mut object = ui.head("trimloop.check/1", exit == Exit::Ok);
    object["errors"] = json!(errors);
    object["warnings"] = json!(warnings);
    object["tests"] = json!(tests);
    object["items"] = items.iter().map(item_json).collect();
    object["diagnostics"] = found.iter().map(diagnostic_json).collect();
    ui.diagnostics(found);
    if !found.is_empty() {
        ui.note("");
    }
    ui.result(&text(items, errors, warnings, tests, exit), &object);
    exit
}

/// `1 loop`, `2 loops`.
fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

fn text(items: &[Item], errors: usize, warnings: usize, tests: usize, exit: Exit) -> String {
    let mut text = String::new();
    for item in items {
        let mark = match item.ok {
            Some(true) => "\x1b[32mok\x1b[0m",
            Some(false) => "\x1b[31mx \x1b[0m",
            None => "- ",
        };
        let detail =
            if item.detail.is_empty() { String::new() } else { format!(" ({})", item.detail) };
        text.push_str(&format!(" {mark} {:12} {}{detail}\n", item.section, item.name));
    }
    text.push_str(&format!(
        "{}, {}, {} run  (exit {})\n",
        plural(errors, "error"),
        plural(warnings, "warning"),
        plural(tests, "recipe test"),
        exit as u8
    ));
    text
}

fn item_json(item: &Item) -> Value {
    json!({
        "section": item.section,
        "name": item.name,
        "detail": item.detail,
        "ok": item.ok,
    })
}

fn settings_item(settings: &Settings) -> Item {
    let name = settings
        .file
        .as_ref()
        .map_or("none, defaults stand".to_owned(), |file| file.display().to_string());
    let ok = settings.file.as_ref().map(|_| true);
    Item { section: "settings", name, detail: String::new(), ok }
}

/// A PLC config may be bound to several recipes; what is wrong with it is said once.
fn dedup(found: &mut Vec<Diagnostic>) {
    let mut seen: Vec<Diagnostic> = Vec::with_capacity(found.len());
    for diagnostic in found.drain(..) {
        if !seen.contains(&diagnostic) {
            seen.push(diagnostic);
        }
    }
    *found = seen;
}
