//! The plans that a journal was recorded under, kept beside it.
//!
//! ```text
//! journal/plans/HASH/                 HASH: the plan's, as in the head records
//!   bundle.json                       version that recorded, names, SHA-256 of each file
//!   recipes/ plc-configs/ models/     a project folder: what the plan was made of
//! ```
//!
//! A journal and its `plans` can be replayed anywhere, years later. A bundle is written once per
//! plan, under a temporary name first, and never changed; reading one binds it anew and holds the
//! hash against its name, so a changed bundle is found.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use trimloop_recipe::{Bound, Color, Project, render};

use super::JournalError;

/// Folder of the bundles, in the folder of the journal.
const FOLDER: &str = "plans";
/// What describes a bundle.
const MANIFEST: &str = "bundle.json";

/// Why a kept plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It is not there.
    #[error("there is no {}", .path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file of it cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its files do not make a plan.
    #[error("the files in {} make no plan:\n{found}", .path.display())]
    Broken {
        /// Which folder.
        path: PathBuf,
        /// What is wrong, rendered.
        found: String,
    },
    /// They make another plan than its name says.
    #[error(
        "the files in {} make plan {found}, not the one they are named after{}",
        .path.display(),
        if *.unchanged {
            "; they are as they were written, so another version of trimloop reads them differently"
        } else {
            ": they were changed after they were written"
        }
    )]
    Other {
        /// Which folder.
        path: PathBuf,
        /// The plan's hash, in short.
        found: String,
        /// Whether the files are what the bundle says.
        unchanged: bool,
    },
}

/// A hash as text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        text
    })
}

/// Keeps the plan of `bound` with the journal in `dir`, unless it is there already.
///
/// # Errors
/// [`JournalError`] when it cannot be written.
pub fn keep_plan(dir: &Path, bound: &Bound) -> Result<(), JournalError> {
    let name = hex(&bound.plan.hash);
    let folder = dir.join(FOLDER);
    let place = folder.join(&name);
    if place.join(MANIFEST).is_file() {
        return Ok(());
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| JournalError::Prepare { path, source }
    };
    let half = folder.join(format!(".{name}.{}", std::process::id()));
    if half.exists() {
        std::fs::remove_dir_all(&half).map_err(failed(&half))?;
    }
    for file in &bound.files {
        write(&half.join(&file.path), &file.bytes)?;
    }
    let files: Vec<_> = bound
        .files
        .iter()
        .map(|file| serde_json::json!({"path": file.path, "sha256": hex(&Sha256::digest(&file.bytes))}))
        .collect();
    let models: Vec<_> = bound
        .plan
        .models
        .iter()
        .filter(|model| model.hash != [0; 32])
        .map(|model| serde_json::json!({"name": model.name, "sha256": hex(&model.hash)}))
        .collect();
    let manifest = serde_json::json!({
        "schema": "trimloop.plan-bundle/1",
        "version": env!("CARGO_PKG_VERSION"),
        "plan": name,
        "recipe": bound.plan.name,
        "revision": bound.plan.revision,
        "plcs": bound.plcs.iter().map(|plc| &plc.name).collect::<Vec<_>>(),
        "models": models,
        "files": files,
    });
    write(&half.join(MANIFEST), format!("{manifest:#}\n").as_bytes())?;
    // A half-written one that stood here without its manifest makes place.
    if place.exists() {
        std::fs::remove_dir_all(&place).map_err(failed(&place))?;
    }
    std::fs::rename(&half, &place).map_err(failed(&place))?;
    std::fs::File::open(&folder).and_then(|f| f.sync_all()).map_err(failed(&folder))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let failed = |source| JournalError::Prepare { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::File::create(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}

/// The plan of hash `hash` that was kept with the journal in `dir`.
///
/// # Errors
/// [`PlanError`] when it is not there, or not what it was.
pub fn kept_plan(dir: &Path, hash: &[u8; 32]) -> Result<Bound, PlanError> {
    let path = dir.join(FOLDER).join(hex(hash));
    if !path.join(MANIFEST).is_file() {
        return Err(PlanError::Missing { path });
    }
    let project =
        Project::read(&path).map_err(|source| PlanError::Read { path: path.clone(), source })?;
    let broken =
        |found: &[_]| PlanError::Broken { path: path.clone(), found: render(found, Color::Never) };
    let recipe = project.recipes.first().ok_or_else(|| broken(&project.diagnostics))?;
    let bound = project.bind(recipe).map_err(|found| broken(&found))?;
    if bound.plan.hash != *hash {
        let found = hex(bound.plan.hash.get(..8).unwrap_or_default());
        let unchanged = is_unchanged(&path);
        return Err(PlanError::Other { path, found, unchanged });
    }
    Ok(bound)
}

/// Whether every file is what the manifest says.
fn is_unchanged(path: &Path) -> bool {
    let manifest = std::fs::read(path.join(MANIFEST)).ok();
    let manifest: Option<serde_json::Value> =
        manifest.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let files = manifest.as_ref().and_then(|m| m.get("files")?.as_array());
    files.is_some_and(|files| {
        files.iter().all(|file| {
            let text = |key: &str| file.get(key).and_then(serde_json::Value::as_str);
            let (Some(name), Some(sha)) = (text("path"), text("sha256")) else { return false };
            std::fs::read(path.join(name)).is_ok_and(|bytes| hex(&Sha256::digest(&bytes)) == sha)
        })
    })
}
