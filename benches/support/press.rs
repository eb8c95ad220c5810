//! The shipped press with more tags than it has.

use std::fmt::Write as _;
use std::path::Path;

use trimloop_recipe::{Bound, Models, bind, check, check_plc_config};

/// The shipped recipe and PLC config with so many further tags, which come last in the plan.
pub fn with_further_tags(further: usize) -> Bound {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("a shipped file");
    let mut recipe = read("recipes/housing-lid.toml");
    let mut plc = read("plc-configs/press-4.toml");
    for n in 0..further {
        write!(
            recipe,
            "\n[tag.further_{n}]\nunit = \"bar\"\nrange = [\"0 bar\", \"1000 bar\"]\nwatch = true\n"
        )
        .expect("a String");
        write!(plc, "\n[node.further_{n}]\nid = \"press:s=Further{n}\"\ntype = \"Double\"\n")
            .expect("a String");
    }
    let recipe = check("recipes/housing-lid.toml", &recipe).0.expect("a recipe");
    let plc = check_plc_config("plc-configs/press-4.toml", &plc).0.expect("a PLC config");
    let models = Models::read(&root.join("models"), recipe.model_files());
    bind(&recipe, std::slice::from_ref(&plc), &models).expect("a plan")
}
