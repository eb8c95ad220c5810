//! JSON Schemas of the file formats, for editors and the recipe form.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use crate::plc_config::RawPlcConfig;
use crate::raw::RawRecipe;

/// JSON Schema of a recipe.
pub fn recipe() -> Schema {
    schema_of::<RawRecipe>("trimloop recipe")
}

/// JSON Schema of a PLC config.
pub fn plc_config() -> Schema {
    schema_of::<RawPlcConfig>("trimloop PLC config")
}

/// Each schema with its file name under `schema/`, as text with a final newline.
pub fn files() -> Vec<(&'static str, String)> {
    let text = |schema: &Schema| {
        // A schema is JSON already; turning it into text cannot fail.
        let mut text = serde_json::to_string_pretty(schema).unwrap_or_default();
        text.push('\n');
        text
    };
    vec![("plc-config.schema.json", text(&plc_config())), ("recipe.schema.json", text(&recipe()))]
}

fn schema_of<T: JsonSchema>(title: &str) -> Schema {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files under schema/ are what the code says; `UPDATE=1` rewrites them.
    #[test]
    fn files_are_current() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema");
        for (name, text) in files() {
            let path = folder.join(name);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let there = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(there == text, "{name} is stale; run with UPDATE=1");
        }
    }
}
