//! What the cards of all classifiers say of held-out rows.

use trimloop_train::HeldOut;

use crate::learn::card::{CardTable, Mark, Plot, Series};

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The sentence in the header of the model.
pub(super) fn held_out_note(held_out: &HeldOut, blocked: bool) -> String {
    let how = if blocked { "time-blocked" } else { "stratified" };
    format!(
        "Held out, {how} 5-fold: accuracy {}, log loss {:.3}, Brier {:.3}.",
        percent(held_out.accuracy),
        held_out.log_loss,
        held_out.brier,
    )
}

/// How rows were held out, and how many of them were taken for their own class.
pub(super) fn held_out(held_out: &HeldOut, blocked: bool) -> [(String, String); 2] {
    let how = if blocked { "blocks of time" } else { "rows, stratified by class" };
    let folds: Vec<String> = held_out.folds.iter().map(|share| percent(*share)).collect();
    [
        ("held out".to_owned(), format!("{how}, 5 folds: accuracy {}", folds.join(", "))),
        ("accuracy held out".to_owned(), percent(held_out.accuracy)),
    ]
}

/// How the class follows from the probabilities.
pub(super) fn decision(classes: &[String], weights: &[f64]) -> (String, String) {
    let weights: Vec<String> = classes
        .iter()
        .zip(weights)
        .filter(|(_, weight)| (**weight - 1.0).abs() > 1e-9)
        .map(|(class, weight)| format!("{class} counts {weight:.2} times"))
        .collect();
    let text = if weights.is_empty() {
        "the class of the largest probability".to_owned()
    } else {
        format!("probabilities weighed for the F1 of the rarer class: {}", weights.join(", "))
    };
    ("decision".to_owned(), text)
}

/// No better than a guess, or classes of few rows.
pub(super) fn class_doubts(held_out: &HeldOut) -> Vec<String> {
    let mut doubts = Vec::new();
    let total: usize = held_out.classes.iter().map(|class| class.rows).sum();
    let most = held_out.classes.iter().map(|class| class.rows).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "rows of a table")]
    let blind = most as f64 / total.max(1) as f64;
    if held_out.accuracy <= blind {
        doubts.push(format!(
            "it is no better than always saying the commonest class ({} right)",
            percent(blind)
        ));
    }
    for class in &held_out.classes {
        if class.rows < 10 {
            doubts.push(format!(
                "class {} has {} rows only: what is said of it rests on little",
                class.class, class.rows
            ));
        }
    }
    doubts
}

/// Each class, what it was taken for, and how reliable the probabilities are.
pub(super) fn class_tables(held_out: &HeldOut, names: &[String]) -> Vec<CardTable> {
    let texts = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
    let classes = held_out.classes.iter().map(|class| {
        vec![
            class.class.clone(),
            class.rows.to_string(),
            class.precision.map_or_else(|| "-".to_owned(), |p| format!("{p:.3}")),
            format!("{:.3}", class.recall),
            format!("{:.3}", class.f1),
        ]
    });
    let mut tables = vec![CardTable {
        title: "Classes, held out".to_owned(),
        head: texts(&["class", "rows", "precision", "recall", "F1"]),
        rows: classes.collect(),
    }];
    let mut head = vec!["is \\ taken for".to_owned()];
    head.extend(names.iter().cloned());
    let confusion = held_out.confusion.iter().zip(names).map(|(row, class)| {
        let mut cells = vec![class.clone()];
        cells.extend(row.iter().map(ToString::to_string));
        cells
    });
    tables.push(CardTable {
        title: "Confusion, held out".to_owned(),
        head,
        rows: confusion.collect(),
    });
    let reliability = held_out.reliability.iter().map(|bin| {
        vec![format!("{:.3}", bin.said), format!("{:.3}", bin.came), bin.rows.to_string()]
    });
    tables.push(CardTable {
        title: "Reliability, held out".to_owned(),
        head: texts(&["probability said", "share that came true", "rows"]),
        rows: reliability.collect(),
    });
    tables
}

/// Probability said against share that came true.
pub(super) fn reliability(held_out: &HeldOut) -> Vec<Plot> {
    let dots = held_out.reliability.iter().map(|bin| (bin.said, bin.came)).collect();
    let series = |name: &str, mark, points| Series {
        name: name.to_owned(),
        mark,
        points,
        names: Vec::new(),
    };
    vec![Plot {
        title: "Reliability, held out".to_owned(),
        x: "probability said".to_owned(),
        y: "share that came true".to_owned(),
        series: vec![
            series("as promised", Mark::Line, vec![(0.0, 0.0), (1.0, 1.0)]),
            series("held out", Mark::Dots, dots),
        ],
        levels: Vec::new(),
    }]
}
