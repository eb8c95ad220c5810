//! A project folder: recipes/, plc-configs/, models/.

use std::path::{Path, PathBuf};

use crate::bind::{Bound, Models, bind};
use crate::check::{TEXT_MAX, check};
use crate::codes;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::plc_config::{PlcConfig, check_plc_config};
use crate::recipe::Recipe;

/// Everything in a project folder that could be read.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Recipes without errors, by file.
    pub recipes: Vec<Recipe>,
    /// PLC configs without errors, by file.
    pub plc_configs: Vec<PlcConfig>,
    /// Models that the recipes name.
    pub models: Models,
    /// Recipe files that were read, with errors or not.
    pub recipe_files: Vec<String>,
    /// PLC config files that were read, with errors or not.
    pub plc_files: Vec<String>,
    /// What is wrong with single files.
    pub diagnostics: Vec<Diagnostic>,
}

impl Project {
    /// Reads `ROOT/recipes/*.toml`, `ROOT/plc-configs/*.toml` and the models that they name. Files
    /// are named in messages as they stand below `root`.
    ///
    /// # Errors
    /// A file or folder that cannot be read. A folder that is not there counts as empty.
    pub fn read(root: &Path) -> std::io::Result<Self> {
        let mut project = Self::default();
        for (file, text) in files(root, "plc-configs")? {
            let (config, found) = check_plc_config(&file, &text);
            project.plc_configs.extend(config);
            project.diagnostics.extend(found);
            project.plc_files.push(file);
        }
        for (file, text) in files(root, "recipes")? {
            let (recipe, found) = check(&file, &text);
            project.recipes.extend(recipe);
            project.diagnostics.extend(found);
            project.recipe_files.push(file);
        }
        let names = project.recipes.iter().flat_map(Recipe::model_files);
        project.models = Models::read(&root.join("models"), names);
        Ok(project)
    }

    /// A recipe by name.
    pub fn recipe(&self, name: &str) -> Option<&Recipe> {
        self.recipes.iter().find(|recipe| recipe.name() == name)
    }

    /// Binds a recipe to the PLC configs that it names.
    ///
    /// # Errors
    /// See [`bind()`]; also when there is no such PLC config without errors.
    pub fn bind(&self, recipe: &Recipe) -> Result<Bound, Vec<Diagnostic>> {
        let known = |name: &str| self.plc_configs.iter().any(|plc| plc.name == name);
        let missing: Vec<Diagnostic> = recipe
            .plcs()
            .filter(|name| !known(name))
            .map(|name| self.without_config(recipe, name))
            .collect();
        if missing.is_empty() {
            bind(recipe, &self.plc_configs, &self.models)
        } else {
            Err(missing)
        }
    }

    fn without_config(&self, recipe: &Recipe, wanted: &str) -> Diagnostic {
        let stems = self.plc_files.iter().map(|file| stem(file));
        let broken = stems.clone().any(|name| name == wanted);
        let label = if broken {
            format!("plc-configs/{wanted}.toml has errors of its own")
        } else {
            format!("there is no plc-configs/{wanted}.toml")
        };
        let message = if recipe.raw.recipe.plc.as_str() == wanted {
            format!("recipe \"{}\" has no PLC config", recipe.name())
        } else {
            format!("recipe \"{}\" names a PLC without a PLC config: {wanted}", recipe.name())
        };
        let help = if broken { None } else { did_you_mean(wanted, stems) };
        let span = recipe.plc_span(wanted);
        let found = Diagnostic::error(&codes::PLC_UNKNOWN, &recipe.source, span, message);
        found.label(label).maybe_help(help)
    }

    /// Binds every recipe; what is wrong with any, those of single files first.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = self.diagnostics.clone();
        for recipe in &self.recipes {
            match self.bind(recipe) {
                Ok(bound) => found.extend(bound.warnings),
                Err(more) => found.extend(more),
            }
        }
        found
    }
}

fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".toml").unwrap_or(name)
}

/// The TOML files of a folder, by name, with their text.
fn files(root: &Path, folder: &str) -> std::io::Result<Vec<(String, String)>> {
    let entries = match std::fs::read_dir(root.join(folder)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut out = Vec::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        out.push((format!("{folder}/{}", name.unwrap_or_default()), text(&path)?));
    }
    Ok(out)
}

/// The text of one file; more than [`TEXT_MAX`] bytes are read only far enough to be refused.
fn text(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let most = u64::try_from(TEXT_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    // A wrong byte shows as U+FFFD, which no key, name or unit can hold.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads and checks one recipe file.
///
/// # Errors
/// When it cannot be read.
pub fn check_file(path: &Path) -> std::io::Result<(Option<Recipe>, Vec<Diagnostic>)> {
    Ok(check(&path.display().to_string(), &text(path)?))
}
