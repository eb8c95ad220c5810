//! No text makes the checker panic: arbitrary ones, and right files with pieces broken.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    reason = "a test that cannot go on should stop"
)]

use std::path::Path;

use proptest::prelude::*;
use trimloop_recipe::{Color, Models, bind, check, check_plc_config, render};

fn shipped(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap()
}

const RECIPE: &str = "recipes/housing-lid.toml";
const PLC: &str = "plc-configs/press-4.toml";

/// Place, kind of edit, piece.
fn edits() -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    prop::collection::vec((0_usize..5000, 0_usize..4, 0_usize..18), 1..4)
}

/// Pieces that break things: wrong values, odd numbers, brackets, control characters.
const PIECES: [&str; 18] = [
    "\"\"",
    "0",
    "-1",
    "1e308",
    "nan",
    "\"1e18 bar\"",
    "\"-0 s\"",
    "[]",
    "{}",
    "[[check]]",
    "\n",
    "=",
    "\"",
    "\u{7}",
    "\u{1F980}",
    "9223372036854775807",
    "\"340282366920938463463374607431768211455 bar\"",
    "\"1 / 0 s\"",
];

/// Texts that break what a value means, and leave the file well formed.
const TEXTS: [&str; 16] = [
    "",
    "0 bar",
    "-5 bar",
    "1e18 bar",
    "0.000000000000000001 bar",
    "5 bar / 1 s",
    "3 degC",
    "1000000 h",
    "999999999999999999 bar",
    "auto",
    "melt_temp",
    "-273.16 degC",
    "100 %",
    "1 / 1 bar",
    "\u{1F980}",
    "5",
];

/// Replaces quoted texts by others; no comment of the file holds a quote.
fn requote(text: &str, edits: &[(usize, usize)]) -> String {
    let mut parts: Vec<String> = text.split('"').map(str::to_owned).collect();
    let quoted = parts.len() / 2;
    for (place, piece) in edits {
        TEXTS[piece % TEXTS.len()].clone_into(&mut parts[(place % quoted) * 2 + 1]);
    }
    parts.join("\"")
}

fn mutate(text: &str, edits: &[(usize, usize, usize)]) -> String {
    let mut words: Vec<String> = text.split_inclusive([' ', '\n']).map(str::to_owned).collect();
    for (place, kind, piece) in edits {
        let place = place % words.len();
        let piece = PIECES[piece % PIECES.len()];
        match kind % 4 {
            0 => words[place] = format!("{piece} "),
            1 => words[place].clear(),
            2 => words[place].insert_str(0, piece),
            _ => {
                let other = (place * 31 + 7) % words.len();
                words.swap(place, other);
            }
        }
    }
    words.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_text(text in "[\\PC\n\r\t]{0,200}") {
        let (_, found) = check("x.toml", &text);
        prop_assert!(!render(&found, Color::Always).is_empty());
        let (_, found) = check_plc_config("x.toml", &text);
        prop_assert!(!render(&found, Color::Always).is_empty());
    }

    #[test]
    fn broken_recipes(edits in edits()) {
        let text = mutate(&shipped(RECIPE), &edits);
        let (recipe, found) = check(RECIPE, &text);
        let _ = render(&found, Color::Never);
        let (plc, _) = check_plc_config(PLC, &shipped(PLC));
        if let (Some(recipe), Some(plc)) = (recipe, plc)
            && let Ok(bound) = bind(&recipe, std::slice::from_ref(&plc), &Models::new())
        {
            prop_assert_eq!(bound.plan.check(), Ok(()));
        }
    }

    #[test]
    fn wrong_values(edits in prop::collection::vec((0_usize..5000, 0_usize..16), 1..5)) {
        let text = requote(&shipped(RECIPE), &edits);
        let (recipe, found) = check(RECIPE, &text);
        prop_assert_eq!(recipe.is_none(), trimloop_recipe::has_errors(&found));
        let _ = render(&found, Color::Never);
        let (plc, _) = check_plc_config(PLC, &shipped(PLC));
        if let (Some(recipe), Some(plc)) = (recipe, plc)
            && let Ok(bound) = bind(&recipe, std::slice::from_ref(&plc), &Models::new())
        {
            prop_assert_eq!(bound.plan.check(), Ok(()));
        }
    }

    #[test]
    fn broken_plc_configs(edits in edits()) {
        let text = mutate(&shipped(PLC), &edits);
        let (plc, found) = check_plc_config(PLC, &text);
        let _ = render(&found, Color::Never);
        let (recipe, _) = check(RECIPE, &shipped(RECIPE));
        if let (Some(recipe), Some(plc)) = (recipe, plc) {
            let bound = bind(&recipe, std::slice::from_ref(&plc), &Models::new());
            let _ = bound.map_err(|found| render(&found, Color::Never));
        }
    }
}
