//! The report for people.

use trimloop_core::time::Span;

use super::report::{Comparison, LoopReport, RecipeReport, Report};
use crate::output::duration_text;

/// What every report says of itself.
pub(super) const NOT_CAUSAL: &str = "Not causal: the parts were made with the setpoints that were \
    recorded. Had anything been written, later parts, labels and wishes would have been others.";
/// The same of safety.
pub(super) const NOT_SAFETY: &str = "trimloop is not a safety system.";

/// A table of two or three columns: what, the recipe, the other.
pub(super) type Rows = Vec<(String, Vec<String>)>;

/// The report as text.
#[must_use]
pub fn report_text(report: &Report) -> String {
    let recipes: Vec<&RecipeReport> =
        std::iter::once(&report.recipe).chain(&report.other).collect();
    let head = |r: &RecipeReport| format!("{} r{}", r.name, r.revision);
    let mut rows: Rows = vec![(String::new(), recipes.iter().map(|r| head(r)).collect())];
    rows.extend(summary(&recipes));
    let mut rest = notes(report);
    if let Some(comparison) = &report.comparison {
        rest.splice(0..0, beside(comparison));
    }
    let mut text =
        format!("{}\n{} to {}\n\n{}\n", report.data, report.from, report.to, table(&rows));
    for note in rest {
        text.push_str(&note);
        text.push('\n');
    }
    text
}

/// Left-aligned names, right-aligned values.
pub(super) fn table(rows: &Rows) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let columns = rows.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            let cells = rows.iter().filter_map(|(_, values)| values.get(c));
            cells.map(|value| value.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for (name, values) in rows {
        let mut line = format!("{name:width$}");
        for (value, width) in values.iter().zip(&widths) {
            line.push_str(&format!("  {value:>width$}"));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The figures of one or two recipes, side by side.
pub(super) fn summary(recipes: &[&RecipeReport]) -> Rows {
    let row = |name: &str, value: &dyn Fn(&RecipeReport) -> String| {
        (name.to_owned(), recipes.iter().map(|r| value(r)).collect::<Vec<String>>())
    };
    let mut rows = vec![
        row("parts", &|r| r.parts.to_string()),
        row("hours recorded", &|r| format!("{:.1}", r.hours)),
        row("labels good / bad", &|r| format!("{} / {}", r.findings.good, r.findings.bad)),
    ];
    let judged = recipes.iter().any(|r| r.findings.no_labels_because.is_empty());
    if judged {
        let of = |r: &RecipeReport, count: u64| share(count, r.findings.defects);
        rows.push(row("defects (runs of bad labels)", &|r| r.findings.defects.to_string()));
        rows.push(row("  detected before the label", &|r| of(r, r.findings.detected)));
        rows.push(row("  of them before the part", &|r| of(r, r.findings.early)));
        rows.push(row("  detected late", &|r| of(r, r.findings.late)));
        rows.push(row("  missed", &|r| of(r, r.findings.missed)));
        rows.push(row("  how early, median", &early));
        rows.push(row("alarms", &|r| r.findings.alarms.to_string()));
        rows.push(row("  false", &|r| r.findings.false_alarms.to_string()));
        rows.push(row("  false per 1000 good parts", &|r| {
            r.findings.false_per_1000_good.map_or("-".to_owned(), |x| format!("{x:.2}"))
        }));
    } else {
        rows.push(row("alarms", &|r| r.findings.alarms.to_string()));
    }
    let mut names: Vec<&str> = Vec::new();
    for of_loop in recipes.iter().flat_map(|r| &r.loops) {
        if !names.contains(&of_loop.name.as_str()) {
            names.push(&of_loop.name);
        }
    }
    for name in names {
        let of = |r: &RecipeReport, value: &dyn Fn(&LoopReport) -> String| {
            let found = r.loops.iter().find(|l| l.name == name);
            found.map_or_else(|| "-".to_owned(), value)
        };
        rows.push(row(&format!("loop {name}: decisions"), &|r| {
            of(r, &|l| l.decisions.to_string())
        }));
        rows.push(row("  would have written", &|r| of(r, &|l| l.would_write.to_string())));
        rows.push(row("  writes per hour", &|r| of(r, &|l| format!("{:.1}", l.writes_per_hour))));
        rows.push(row("  at a limit", &|r| of(r, &|l| percent(l.at_limit_share))));
        rows.push(row("  times at a limit", &|r| of(r, &|l| l.times_at_limit.to_string())));
        rows.push(row("  held most by", &|r| {
            of(r, &|l| l.holds.first().map_or("-", |hold| hold.reason).to_owned())
        }));
    }
    rows
}

fn early(r: &RecipeReport) -> String {
    match (r.findings.parts_before_median, r.findings.seconds_before_median) {
        (Some(parts), Some(seconds)) => {
            format!("{parts} parts, {}", duration_text(span(seconds)))
        }
        _ => "-".to_owned(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn span(seconds: f64) -> Span {
    Span::from_nanos((seconds * 1e9) as i64)
}

fn share(count: u64, of: u64) -> String {
    if of == 0 {
        return count.to_string();
    }
    format!("{count} ({})", percent(count as f64 / of as f64))
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// What must be known to read the figures.
pub(super) fn notes(report: &Report) -> Vec<String> {
    let recipe = &report.recipe;
    let mut notes = vec![NOT_CAUSAL.to_owned()];
    if !recipe.findings.no_labels_because.is_empty() {
        notes.push(format!(
            "Nothing is said about detections and false alarms: {}.",
            recipe.findings.no_labels_because
        ));
    }
    let joins = &recipe.joins;
    notes.push(format!(
        "Each day began anew {} before its midnight, uncounted.{}",
        duration_text(span(report.lead_in_s)),
        if joins.midnights == 0 {
            String::new()
        } else {
            format!(
                " Of {} decisions in the last hour before {} midnights, {} were the same on both \
                 sides, {} made on one side only.",
                joins.compared, joins.midnights, joins.same, joins.only_once
            )
        }
    ));
    if recipe.silences > 0 {
        notes.push(format!(
            "{} silences longer than {:.0} s counted as a lost link.",
            recipe.silences, report.gap_s
        ));
    }
    if !report.empty_days.is_empty() {
        notes.push(format!("Days without samples: {}.", report.empty_days.join(", ")));
    }
    if !recipe.never.is_empty() {
        notes.push(format!("Tags without any value: {}.", recipe.never.join(", ")));
    }
    if recipe.labels_unmatched > 0 {
        notes.push(format!(
            "{} labels named a part that is not in the data, or was made before the warm-up of \
             their day; a longer --lead-in finds those.",
            recipe.labels_unmatched
        ));
    }
    notes.push(NOT_SAFETY.to_owned());
    notes
}

/// The paired difference, in sentences.
fn beside(comparison: &Comparison) -> Vec<String> {
    let [both, own, other, neither] = comparison.defects;
    let chance = comparison.defects_p.map_or_else(String::new, |p| {
        format!(" A split like this or more uneven comes by chance with probability {p:.3}.")
    });
    let mut lines = vec![format!(
        "Paired: of the same defects both detect {both}, only the recipe {own}, only the other \
         {other}, neither {neither}.{chance}"
    )];
    for l in &comparison.loops {
        let [both, own, other, neither] = l.would_write;
        let mut line = format!(
            "Paired, loop {}: of {} decisions on the same part both would have written {both}, only \
             the recipe {own}, only the other {other}, neither {neither}.",
            l.name, l.pairs
        );
        if let (Some(mean), Some(most)) = (l.difference_mean, l.difference_max) {
            let deviation = l.difference_deviation.unwrap_or(0.0);
            line.push_str(&format!(
                " The recipe's wish less the other's: mean {mean:.3} {0}, deviation {deviation:.3} \
                 {0}, at most {most:.3} {0}.",
                l.unit
            ));
        }
        lines.push(line);
    }
    lines
}
