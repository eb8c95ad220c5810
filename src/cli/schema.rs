//! `trimloop schema recipe|plc-config`: JSON Schema for editors.

use clap::{Args, ValueEnum};

use super::{Exit, Failure, Ui};

const EXAMPLES: &str = "\
Examples:
  trimloop schema recipe > recipe.schema.json
  trimloop schema plc-config > plc-config.schema.json

Editors with a TOML language server complete and check by it: put
  #:schema ./recipe.schema.json
into the first line of a recipe.";

/// Of which format.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct SchemaArgs {
    /// File format
    #[arg(value_enum)]
    of: Of,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// recipes/NAME.toml
    Recipe,
    /// plc-configs/NAME.toml
    PlcConfig,
}

pub(super) fn run(ui: &Ui, args: &SchemaArgs) -> Result<Exit, Failure> {
    let name = match args.of {
        Of::Recipe => "recipe.schema.json",
        Of::PlcConfig => "plc-config.schema.json",
    };
    let files = trimloop_recipe::schema::files();
    let text = files.iter().find(|(file, _)| *file == name).map_or("{}\n", |(_, text)| text);
    // A schema is one JSON object in every format.
    ui.text(text);
    Ok(Exit::Ok)
}
