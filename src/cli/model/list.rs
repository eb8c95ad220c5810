//! `trimloop model list`.

use clap::Args;
use serde_json::json;

use super::{Opened, table_text};
use crate::cli::load::settings;
use crate::cli::{Exit, Failure, Global, Ui};

const EXAMPLES: &str = "\
Examples:
  trimloop model list
  trimloop model list --format json | jq '.models[] | select(.state == \"active\")'

Models of the project's models folder. A damaged one is listed with what is the matter.";

/// Nothing to choose.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ListArgs {}

pub(super) fn run(ui: &Ui, global: &Global, _args: &ListArgs) -> Result<Exit, Failure> {
    let folder = settings(global)?.models;
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut dirs: Vec<_> = entries.map(|entry| entry.path()).collect();
    dirs.retain(|dir| dir.join("model.tlm").is_file());
    dirs.sort();
    let mut lines = vec![["model", "kind", "state", "inputs", "rows", "what"].map(str::to_owned)];
    let mut rows = Vec::new();
    for dir in &dirs {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match Opened::open(dir) {
            Ok(model) => {
                let header = model.artifact.header();
                lines.push([
                    name.clone(),
                    header.kind.word().to_owned(),
                    model.life.state.word().to_owned(),
                    header.features.len().to_string(),
                    header.rows.to_string(),
                    model.card.headline.clone(),
                ]);
                rows.push(json!({
                    "model": name,
                    "kind": header.kind.word(),
                    "state": model.life.state,
                    "hash": model.life.model,
                    "inputs": header.features.len(),
                    "rows": header.rows,
                    "headline": model.card.headline,
                }));
            }
            Err(error) => {
                let text = error.to_string();
                let blank = || "-".to_owned();
                lines.push([name.clone(), blank(), blank(), blank(), blank(), text.clone()]);
                rows.push(json!({ "model": name, "error": text, "code": error.code().code }));
            }
        }
    }
    let human = if rows.is_empty() {
        format!("no models in {}\n", folder.display())
    } else {
        table_text(&lines)
    };
    let mut object = ui.head("trimloop.model.list/1", true);
    object["models"] = json!(rows);
    ui.result(&human, &object);
    Ok(Exit::Ok)
}
