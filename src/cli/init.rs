//! `trimloop init DIR`: a commented starter project.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Exit, Failure, Ui};
use crate::error::FILE_READ;

const EXAMPLES: &str = "\
Examples:
  trimloop init my-cell
  trimloop check --config my-cell

The starter fits the simulator: `trimloop simulate` in one terminal, `trimloop run --config my-cell`
in another. Nothing that is there is overwritten.";

/// Where to.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct InitArgs {
    /// Folder; made when missing
    dir: PathBuf,
}

const FILES: [(&str, &str); 5] = [
    ("trimloop.toml", include_str!("starter/trimloop.toml")),
    ("plc-configs/press-4.toml", include_str!("starter/press-4.toml")),
    ("recipes/starter.toml", include_str!("starter/starter.toml")),
    ("models/README", "Trained models, one folder each: models/NAME/model.tlm\n"),
    (".gitignore", "/data/\n"),
];

pub(super) fn run(ui: &Ui, args: &InitArgs) -> Result<Exit, Failure> {
    let there: Vec<&str> =
        FILES.iter().map(|(name, _)| *name).filter(|name| args.dir.join(name).exists()).collect();
    if !there.is_empty() {
        let message = format!("{} already has {}", args.dir.display(), there.join(", "));
        return Err(Failure::new(&FILE_READ, message, Exit::Usage)
            .help("give a new folder; nothing was written"));
    }
    for (name, text) in FILES {
        let path = args.dir.join(name);
        write(&path, text).map_err(|error| {
            let message = format!("cannot write {}: {error}", path.display());
            Failure::new(&FILE_READ, message, Exit::Usage).help("give a folder you may write to")
        })?;
    }
    let dir = args.dir.display();
    let mut object = ui.head("trimloop.init/1", true);
    object["dir"] = json!(dir.to_string());
    object["files"] = FILES.iter().map(|(name, _)| *name).collect();
    let mut text: String = FILES.iter().map(|(name, _)| format!(" ok {dir}/{name}\n")).collect();
    text.push_str(&format!("next: trimloop check --config {dir}\n"));
    ui.result(&text, &object);
    Ok(Exit::Ok)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}
