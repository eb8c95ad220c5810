//! What people should know about a model: as JSON beside it, as a page, and as a report.

use serde::{Deserialize, Serialize};

/// A model card.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Name of the model.
    pub id: String,
    /// SHA-256 of the artifact, hexadecimal.
    pub model: String,
    /// What it is, in a sentence.
    pub headline: String,
    /// Names and values: rows, window, what was held out.
    pub facts: Vec<(String, String)>,
    /// What was left out of the training data, and why.
    pub left_out: Vec<String>,
    /// What an approver must weigh.
    pub warnings: Vec<String>,
    /// Share of false alarms asked for, of a monitor.
    #[serde(default)]
    pub far: Option<f64>,
    /// Level of its interval, of a soft sensor.
    #[serde(default)]
    pub level: Option<f64>,
    /// SHA-256 of each file it was trained on, hexadecimal.
    #[serde(default)]
    pub data: Vec<String>,
    /// Tables.
    pub tables: Vec<CardTable>,
    /// Plots for the report.
    pub plots: Vec<Plot>,
}

/// A table of a card.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardTable {
    /// What it shows.
    pub title: String,
    /// Titles of its columns.
    pub head: Vec<String>,
    /// Its rows, as many cells as `head`.
    pub rows: Vec<Vec<String>>,
}

/// A plot of a report. Coordinates are finite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// Name of the horizontal axis, with its unit.
    pub x: String,
    /// Name of the vertical axis, with its unit.
    pub y: String,
    /// Lines through points, or bars.
    pub series: Vec<Series>,
    /// Horizontal lines, such as limits: name and height.
    pub levels: Vec<(String, f64)>,
}

/// Points of a plot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// How it is drawn.
    pub mark: Mark,
    /// `(x, y)`; for bars x counts from 0.
    pub points: Vec<(f64, f64)>,
    /// For bars the name of each; else empty.
    pub names: Vec<String>,
}

/// How points are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// A line through them.
    #[default]
    Line,
    /// A dot each.
    Dots,
    /// A bar each.
    Bars,
}

impl Card {
    /// The page `card.md`.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n{}\n\n", self.id, self.headline);
        for (name, value) in &self.facts {
            text.push_str(&format!("- {name}: {value}\n"));
        }
        for (title, lines) in [("Left out", &self.left_out), ("To be weighed", &self.warnings)] {
            if !lines.is_empty() {
                text.push_str(&format!("\n## {title}\n\n"));
                for line in lines {
                    text.push_str(&format!("- {line}\n"));
                }
            }
        }
        for table in &self.tables {
            text.push_str(&format!("\n## {}\n\n| {} |\n", table.title, table.head.join(" | ")));
            text.push_str(&format!("|{}\n", "---|".repeat(table.head.len())));
            for row in &table.rows {
                text.push_str(&format!("| {} |\n", row.join(" | ")));
            }
        }
        text.push_str(&format!("\nSHA-256 of model.tlm: `{}`\n", self.model));
        text
    }
}
