//! Finding and reading a project: settings, recipes, PLC configs, models.

use std::io::Read;
use std::path::{Path, PathBuf};

use trimloop_recipe::artifact::Artifact;
use trimloop_recipe::check::TEXT_MAX;
use trimloop_recipe::codes;
use trimloop_recipe::diagnostic::{Diagnostic, Source, has_errors};
use trimloop_recipe::{Bound, Models, Project, Recipe, check, check_plc_config};

use super::{Exit, Failure, Global};
use crate::control::ControlError;
use crate::error::{FILE_READ, FOLDER_MISSING, NO_SERVICE, RECIPE_CHOICE, chain};
use crate::settings::{Environment, Settings};

/// The settings that `--config` and the environment give.
pub(super) fn settings(global: &Global) -> Result<Settings, Failure> {
    Settings::load(global.config.as_deref(), &Environment::of_process())
        .map_err(|found| Failure::Diagnostics(found, Exit::Usage))
}

/// A service that cannot be asked, for people.
pub(super) fn control_failure(error: &ControlError) -> Failure {
    let failure = Failure::new(&NO_SERVICE, chain(error), Exit::Unreachable);
    failure.help("start it with `trimloop run`, or name its folder with --config")
}

/// Reads the folders of a project, or only `files` of it.
pub(super) fn project(settings: &Settings, files: &[PathBuf]) -> Project {
    let mut project = Project::default();
    let (mut recipes, mut plc_configs) = (Vec::new(), Vec::new());
    for path in toml_files(&settings.plc_configs, &mut project.diagnostics) {
        plc_configs.push(path);
    }
    if files.is_empty() {
        recipes = toml_files(&settings.recipes, &mut project.diagnostics);
    }
    for path in files {
        // A recipe says so; everything else that is named is taken for a PLC config.
        match text(path) {
            Ok(text) if is_plc_config(&text) => plc_configs.push(path.clone()),
            _ => recipes.push(path.clone()),
        }
    }
    plc_configs.sort();
    plc_configs.dedup();
    for path in plc_configs {
        let name = shown(&path);
        match text(&path) {
            Ok(text) => {
                let (config, found) = check_plc_config(&name, &text);
                project.plc_configs.extend(config);
                project.diagnostics.extend(found);
            }
            Err(error) => project.diagnostics.push(unreadable(&name, &error)),
        }
        project.plc_files.push(name);
    }
    for path in recipes {
        let name = shown(&path);
        match text(&path) {
            Ok(text) => {
                let (recipe, found) = check(&name, &text);
                project.recipes.extend(recipe);
                project.diagnostics.extend(found);
            }
            Err(error) => project.diagnostics.push(unreadable(&name, &error)),
        }
        project.recipe_files.push(name);
    }
    let names = project.recipes.iter().flat_map(Recipe::model_files);
    project.models = Models::read(&settings.models, names);
    project
}

/// Folders that the settings file names and that are not there, and a recipe that is asked for
/// and is not there: what `run` would say.
pub(super) fn folders_and_choice(settings: &Settings, project: &Project) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let Some(file) = &settings.file else { return found };
    let source = Source::new(&shown(file), &text(file).unwrap_or_default());
    let about = |code, word: &str, message: String| {
        let at = source.text.find(word).map_or(0..0, |at| at..at + word.len());
        Diagnostic::error(code, &source, at, message)
    };
    for (key, folder) in [("recipes", &settings.recipes), ("plc_configs", &settings.plc_configs)] {
        if !folder.is_dir() {
            let message = format!("there is no folder {}", folder.display());
            found.push(about(&FOLDER_MISSING, key, message));
        }
    }
    if let Some(name) = &settings.recipe
        && project.recipe(name).is_none()
        && !has_errors(&project.diagnostics)
    {
        let names: Vec<&str> = project.recipes.iter().map(Recipe::name).collect();
        let message = format!("there is no recipe \"{name}\"");
        let help = format!("the recipes are: {}", names.join(", "));
        found.push(about(&RECIPE_CHOICE, name, message).help(help));
    }
    found
}

/// Damaged models that no recipe names: nobody else would look at them.
pub(super) fn unnamed_models(settings: &Settings, project: &Project) -> Vec<Diagnostic> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&settings.models)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("model.tlm").is_file())
        .collect();
    folders.sort();
    let named: Vec<&str> = project.models.names().collect();
    let unnamed = folders.iter().filter(|path| {
        !path.file_name().is_some_and(|name| named.iter().any(|n| *n == name.to_string_lossy()))
    });
    unnamed
        .filter_map(|path| {
            let file = path.join("model.tlm");
            let read = std::fs::read(&file).map_err(|error| error.to_string());
            let (code, error) = match read.map(|bytes| Artifact::read(&bytes)) {
                Ok(Ok(_)) => return None,
                Ok(Err(error)) => (codes::find(error.code()), error.to_string()),
                Err(error) => (None, error),
            };
            let name = shown(&file);
            let source = Source::new(&name, "");
            let message = format!("{name}: {error}");
            Some(Diagnostic::error(code.unwrap_or(&FILE_READ), &source, 0..0, message))
        })
        .collect()
}

/// The recipe that the settings ask for, bound to its PLC.
pub(super) fn bound(settings: &Settings) -> Result<Bound, Failure> {
    let project = project(settings, &[]);
    let broken = |found: Vec<Diagnostic>| Failure::Diagnostics(found, Exit::Failed);
    let recipe = match &settings.recipe {
        Some(name) => project.recipe(name),
        None if project.recipe_files.len() == 1 => project.recipes.first(),
        None => None,
    };
    let Some(recipe) = recipe else {
        if has_errors(&project.diagnostics) {
            return Err(broken(project.diagnostics));
        }
        let names: Vec<&str> = project.recipes.iter().map(Recipe::name).collect();
        let message = match (&settings.recipe, names.is_empty()) {
            (_, true) => format!("there is no recipe in {}", settings.recipes.display()),
            (Some(name), _) => format!("there is no recipe \"{name}\"; {}", names.join(", ")),
            (None, _) => format!("there are several recipes: {}", names.join(", ")),
        };
        let help = "name one: recipe = \"…\" under [cell] in trimloop.toml";
        return Err(Failure::new(&RECIPE_CHOICE, message, Exit::Usage).help(help));
    };
    project.bind(recipe).map_err(|mut found| {
        found.extend(project.diagnostics.clone());
        broken(found)
    })
}

fn is_plc_config(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("[plc]"))
}

/// TOML files of a folder by name; a folder that is not there is empty.
fn toml_files(folder: &Path, found: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            found.push(unreadable(&shown(folder), &error));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

/// The text of a file; more than the most are read only far enough to be refused.
fn text(path: &Path) -> std::io::Result<String> {
    let most = u64::try_from(TEXT_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    // A wrong byte shows as U+FFFD, which no key, name or unit can hold.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unreadable(name: &str, error: &std::io::Error) -> Diagnostic {
    let source = Source::new(name, "");
    Diagnostic::error(&FILE_READ, &source, 0..0, format!("cannot read {name}: {error}"))
}

fn shown(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).display().to_string()
}
