//! The shipped recipes and PLC configs are right, and mean what their comments say.

#![expect(clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::path::Path;

use trimloop_core::plan::{Controller, Cut, Take};
use trimloop_core::time::Span;
use trimloop_recipe::{Color, Project, render};

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every shipped file checks and binds without a word.
#[test]
fn no_diagnostics() {
    let project = Project::read(&root()).unwrap();
    assert!(!project.recipe_files.is_empty() && !project.plc_files.is_empty());
    let found = project.check();
    assert!(found.is_empty(), "\n{}", render(&found, Color::Never));
    assert_eq!(project.recipes.len(), project.recipe_files.len());
}

/// The plan of the simulator's cell, number by number where it matters.
#[test]
fn housing_lid() {
    let project = Project::read(&root()).unwrap();
    let bound = project.bind(project.recipe("housing-lid").unwrap()).unwrap();
    let plan = &bound.plan;
    let tag = |name: &str| plan.tags.iter().position(|tag| tag.name == name).unwrap();
    assert_eq!(bound.tag_nodes.len(), plan.tags.len());
    for (tag, node) in plan.tags.iter().zip(&bound.tag_nodes) {
        assert_eq!(tag.name, bound.plcs[0].nodes[*node].name);
    }
    let Cut::Finished(part) = plan.cycle.cut else { panic!("{:?}", plan.cycle) };
    assert_eq!(part.index(), tag("part_id"));

    let hold = plan.setpoints.iter().find(|s| s.name == "hold_pressure").unwrap();
    assert_eq!(hold.tag.index(), tag("hold_pressure_sp"));
    assert_eq!((hold.grid.mantissa(), hold.grid.decimals()), (5, 1));
    let ticks = [hold.baseline, hold.low, hold.high, hold.trim_max, hold.step_up, hold.deadband];
    assert_eq!(ticks.map(trimloop_core::unit::Ticks::count), [720, 580, 860, 120, 10, 2]);
    let rate = hold.rate.unwrap();
    assert_eq!((rate.ticks.count(), rate.per), (40, Span::from_secs(60)));

    let weight = plan.loops.iter().find(|l| l.name == "weight").unwrap();
    let Controller::RunToRun(run) = &weight.controller else { panic!() };
    assert!((run.gain - 0.0019).abs() < 1e-15, "gain rule: 0.0018 + 2 x 0.00005");
    assert!((run.target - 19.42).abs() < 1e-12);
    let cooling = plan.loops.iter().find(|l| l.name == "cooling").unwrap();
    let Controller::Rules(rules) = &cooling.controller else { panic!() };
    assert_eq!((rules.rows[0].1.count(), rules.decay_permille), (5, 100));

    assert_eq!(plan.cycle.latch, Span::from_secs(2));
    let coolant = plan.features.iter().find(|f| f.name == "coolant_temp").unwrap();
    assert_eq!((coolant.take, coolant.window), (Take::Mean, Some(Span::from_secs(60))));
    let heartbeat = plan.links[0].heartbeat.unwrap();
    assert_eq!(heartbeat.echo.index(), tag("heartbeat_out"));
    assert_eq!(plan.links[0].clock.unwrap().index(), tag("clock"));
    assert!(bound.plcs[0].heartbeat.is_some());
    assert_ne!(plan.hash, [0; 32]);
}

/// Comments and spacing do not change a plan's hash; a value does.
#[test]
fn hash_is_of_meaning() {
    let read = |from: &str, to: &str| {
        let text = std::fs::read_to_string(root().join("recipes/housing-lid.toml")).unwrap();
        let plc = std::fs::read_to_string(root().join("plc-configs/press-4.toml")).unwrap();
        let text = text.replace(from, to);
        let (recipe, found) = trimloop_recipe::check("recipes/housing-lid.toml", &text);
        let recipe = recipe.unwrap_or_else(|| panic!("{}", render(&found, Color::Never)));
        let (plc, _) = trimloop_recipe::check_plc_config("plc-configs/press-4.toml", &plc);
        let models = trimloop_recipe::Models::read(
            &root().join("models"),
            ["upstream-r1", "weight-sensor-r1"],
        );
        trimloop_recipe::bind(&recipe, &[plc.unwrap()], &models).unwrap().plan.hash
    };
    let before = read("", "");
    assert_eq!(before, read("# in one write", "# per shot"));
    assert_eq!(before, read("warm_up  = 10", "warm_up=10"));
    assert_ne!(before, read("step     = \"5 bar\"", "step     = \"4.5 bar\""));
}

/// The tests inside the shipped recipes hold on the production core.
#[test]
fn recipe_checks() {
    let project = Project::read(&root()).unwrap();
    for recipe in &project.recipes {
        let bound = project.bind(recipe).unwrap();
        let found = trimloop_recipe::run_checks(recipe, &bound);
        assert!(found.is_empty(), "\n{}", render(&found, Color::Never));
    }
}

/// A check that expects the wrong thing fails, and says what happened instead.
#[test]
fn recipe_checks_can_fail() {
    let text = std::fs::read_to_string(root().join("recipes/housing-lid.toml")).unwrap();
    let project = Project::read(&root()).unwrap();
    for (from, to, said) in [
        ("moves = \"not\" }", "moves = \"up\" }", "never written"),
        ("signature = \"stiff_melt\"", "no_signature = \"stiff_melt\"", "it is on at the end"),
        ("[\"300 bar\", \"420 bar\"]", "[\"300 bar\", \"361 bar\"]", "it was written from"),
        ("moves = \"up\", within", "moves = \"down\", within", "the baseline is 360 bar"),
    ] {
        let (recipe, found) =
            trimloop_recipe::check("recipes/housing-lid.toml", &text.replacen(from, to, 1));
        let recipe = recipe.unwrap_or_else(|| panic!("{}", render(&found, Color::Never)));
        let bound = project.bind(&recipe).unwrap();
        let shown = render(&trimloop_recipe::run_checks(&recipe, &bound), Color::Never);
        assert!(shown.contains("TL0254") && shown.contains(said), "{from}:\n{shown}");
    }
}

/// The shipped cell with its mould temperature and cooling time on a second PLC: each tag finds its
/// node there, the second PLC's own contacts are tags of its own, its config is in the plan's hash,
/// and the recipe's tests hold as before.
#[test]
fn tags_live_on_two_plcs() {
    let elsewhere = ["mould_temp", "cool_time_sp", "cool_time_min", "cool_time_max"];
    let mut text = std::fs::read_to_string(root().join("recipes/housing-lid.toml")).unwrap();
    for tag in elsewhere {
        let table = format!("[tag.{tag}]\n");
        text = text.replace(&table, &format!("{table}plc = \"chiller\"\n"));
    }
    let (recipe, found) = trimloop_recipe::check("recipes/housing-lid.toml", &text);
    let recipe = recipe.unwrap_or_else(|| panic!("{}", render(&found, Color::Never)));
    let press = std::fs::read_to_string(root().join("plc-configs/press-4.toml")).unwrap();
    let config = |name: &str, port: &str, change: (&str, &str)| {
        let text = press.replace("\"press-4\"", &format!("\"{name}\"")).replace("4855", port);
        let file = format!("plc-configs/{name}.toml");
        trimloop_recipe::check_plc_config(&file, &text.replace(change.0, change.1)).0.unwrap()
    };
    let models = Project::read(&root()).unwrap().models;
    let bind = |change| {
        // In whatever order they are found, the one of [recipe] leads.
        let plcs = [config("chiller", "4856", change), config("press-4", "4855", ("", ""))];
        trimloop_recipe::bind(&recipe, &plcs, &models)
    };
    let bound = bind(("", "")).unwrap_or_else(|f| panic!("{}", render(&f, Color::Never)));
    let plan = &bound.plan;
    let names: Vec<_> = plan.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["press-4", "chiller"]);
    assert_eq!(bound.plcs.iter().map(|plc| plc.name.as_str()).collect::<Vec<_>>(), names);
    for (tag, node) in plan.tags.iter().zip(&bound.tag_nodes) {
        let plc = &bound.plcs[tag.plc.index()];
        let own = tag.name.strip_prefix("chiller/").unwrap_or(&tag.name);
        assert_eq!(own, plc.nodes[*node].name);
        let second = elsewhere.contains(&tag.name.as_str()) || own != tag.name;
        assert_eq!(plc.name == "chiller", second, "{}", tag.name);
    }
    let name = |tag: trimloop_core::tag::TagId| plan.tags[tag.index()].name.as_str();
    assert_eq!(name(plan.links[0].enable.unwrap()), "enable");
    assert_eq!(name(plan.links[1].enable.unwrap()), "chiller/enable");
    assert_eq!(name(plan.links[1].heartbeat.unwrap().echo), "chiller/heartbeat_out");
    assert!(trimloop_core::cell::Cell::new(plan.clone()).is_ok());
    let found = trimloop_recipe::run_checks(&recipe, &bound);
    assert!(found.is_empty(), "\n{}", render(&found, Color::Never));
    assert_eq!(plan.hash, bind(("", "")).unwrap().plan.hash);
    assert_ne!(
        plan.hash,
        bind(("period  = \"200 ms\"", "period  = \"100 ms\"")).unwrap().plan.hash
    );
}
