//! The report as one HTML file: tables and plots, nothing from elsewhere, no script.

use trimloop_core::time::{Span, Utc};

use super::gate::GateLine;
use super::report::{CharacteristicPlot, LoopPlot, RecipeReport, Report};
use super::text::{NOT_CAUSAL, NOT_SAFETY, Rows, notes, percent, summary};
use crate::output::{duration_text, html_escaped as escaped, utc_text};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 10.0;
/// Defects and days that are listed.
const ROWS: usize = 100;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;\
color:#1c2024;background:#fff}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .8rem .15rem 0;text-align:right;\
font-variant-numeric:tabular-nums}td:first-child,th:first-child{text-align:left;white-space:pre}\
th{border-bottom:1px solid #999}.note{border-left:4px solid #b45309;padding:.3rem .8rem}\
.bad{color:#b91c1c;font-weight:600}.good{color:#15803d}svg{width:100%;height:auto}\
svg text{font:11px system-ui,sans-serif;fill:currentColor}.axis{stroke:#999}\
.recorded{stroke:#6b7280}.wish{stroke:#2563eb}.line{fill:none;stroke-width:1.2}\
.write{fill:#d97706}.ok{fill:#15803d}.out{fill:#b91c1c}.band{fill:#15803d;opacity:.12}\
.alarm{fill:#b91c1c;opacity:.16}\
@media(prefers-color-scheme:dark){body{color:#e5e7eb;background:#111418}.bad{color:#f87171}\
.good{color:#4ade80}.recorded{stroke:#9ca3af}.wish{stroke:#60a5fa}}";

/// The report.
#[must_use]
pub fn report_html(report: &Report, gates: &[GateLine], version: &str) -> String {
    let recipes: Vec<&RecipeReport> =
        std::iter::once(&report.recipe).chain(&report.other).collect();
    let title = format!("Backtest of {} r{}", report.recipe.name, report.recipe.revision);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n<p>{1}<br>{2} to {3}</p>\n\
         <p class=\"note\"><b>{NOT_CAUSAL}</b><br>{NOT_SAFETY}</p>\n",
        escaped(&title),
        escaped(&report.data),
        report.from,
        report.to
    );
    let heads = recipes.iter().map(|r| format!("{} r{}", r.name, r.revision)).collect();
    let mut rows: Rows = vec![(String::new(), heads)];
    rows.extend(summary(&recipes));
    page.push_str(&table(&rows));
    page.push_str(&gate_table(gates));
    for recipe in &recipes {
        page.push_str(&of_recipe(recipe, recipes.len() > 1));
    }
    page.push_str(&comparison(report));
    page.push_str("<h2>How to read it</h2>\n<ul>\n");
    for note in notes(report) {
        page.push_str(&format!("<li>{}</li>\n", escaped(&note)));
    }
    page.push_str(&format!("</ul>\n<p>trimloop {}</p>\n</body></html>\n", escaped(version)));
    page
}

fn table(rows: &Rows) -> String {
    let mut out = String::from("<table>\n");
    for (place, (name, values)) in rows.iter().enumerate() {
        let cell = if place == 0 { "th" } else { "td" };
        out.push_str(&format!("<tr><{cell}>{}</{cell}>", escaped(name)));
        for value in values {
            out.push_str(&format!("<{cell}>{}</{cell}>", escaped(value)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
    out
}

fn gate_table(gates: &[GateLine]) -> String {
    if gates.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<h2>Gates</h2>\n<table>\n<tr><th>gate</th><th>value</th><th>limit</th><th></th></tr>\n",
    );
    for line in gates {
        let value = line.value.map_or_else(|| line.because.clone(), |x| format!("{x:.3}"));
        let (class, word) = if line.passed { ("good", "passed") } else { ("bad", "not passed") };
        out.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{:.3}</td><td class=\"{class}\">{word}</td></tr>\n",
            escaped(&line.gate),
            escaped(&value),
            line.limit
        ));
    }
    out.push_str("</table>\n");
    out
}

fn of_recipe(recipe: &RecipeReport, named: bool) -> String {
    let of = if named { format!(", {} r{}", recipe.name, recipe.revision) } else { String::new() };
    let of = escaped(&of);
    let mut out = String::new();
    let range = range(recipe);
    for plot in recipe.plots.iter().filter(|plot| !plot.points.is_empty()) {
        out.push_str(&format!(
            "<h2>Loop {}{of}</h2>\n<p>Grey: setpoint as recorded. Blue: what the recipe wanted. \
             Orange: what it would have written next. Red: a signature was on.</p>\n{}",
            escaped(&plot.title),
            loop_plot(plot, recipe, range)
        ));
    }
    for (place, characteristic) in recipe.characteristics.iter().enumerate() {
        if recipe.labels.iter().any(|(_, of, _)| *of == place) {
            out.push_str(&format!(
                "<h2>Label {}{of}</h2>\n<p>Green: within tolerance (band). Red: not. Red bars: a \
                 signature was on.</p>\n{}",
                escaped(&characteristic.name),
                label_plot(place, characteristic, recipe, range)
            ));
        }
    }
    out.push_str(&signature_table(recipe, &of));
    out.push_str(&defect_table(recipe, &of));
    out.push_str(&day_table(recipe, &of));
    out
}

fn signature_table(recipe: &RecipeReport, of: &str) -> String {
    let heads = ["came on", "detected", "false", "unjudged"].map(str::to_owned).into();
    let mut rows: Rows = vec![("signature".to_owned(), heads)];
    rows.extend(recipe.findings.signatures.iter().map(|s| {
        let counts = [s.alarms, s.true_alarms, s.false_alarms, s.unjudged];
        (s.name.clone(), counts.map(|count| count.to_string()).into())
    }));
    format!("<h2>Signatures{of}</h2>\n{}", table(&rows))
}

fn defect_table(recipe: &RecipeReport, of: &str) -> String {
    let list = &recipe.findings.list;
    if list.is_empty() {
        return String::new();
    }
    let heads =
        ["part", "finished", "bad labels", "found", "signature", "parts before", "before label"];
    let mut rows: Rows = vec![("label".to_owned(), heads.map(str::to_owned).into())];
    rows.extend(list.iter().take(ROWS).map(|d| {
        let before = d.label_seconds_before.map_or_else(String::new, |seconds| {
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            let nanos = (seconds.abs() * 1e9) as i64;
            let sign = if seconds < 0.0 { "-" } else { "" };
            format!("{sign}{}", duration_text(Span::from_nanos(nanos)))
        });
        let values = vec![
            d.part.to_string(),
            d.part_utc.clone(),
            d.bad.to_string(),
            d.detected.replace('_', " "),
            d.signature.clone().unwrap_or_default(),
            d.parts_before.map_or_else(String::new, |n| n.to_string()),
            before,
        ];
        (d.characteristic.clone(), values)
    }));
    let first = if recipe.findings.defects > ROWS as u64 { ", the first 100" } else { "" };
    format!("<h2>Defects{first}{of}</h2>\n{}", table(&rows))
}

fn day_table(recipe: &RecipeReport, of: &str) -> String {
    let heads = ["parts", "good", "bad", "alarms", "would write", "writes", "at limit"];
    let mut rows: Rows = vec![("day".to_owned(), heads.map(str::to_owned).into())];
    rows.extend(recipe.days.iter().map(|d| {
        let counts = [d.parts, d.good, d.bad, d.alarms, d.would_write, d.writes, d.at_limit];
        (d.day.clone(), counts.map(|count| count.to_string()).into())
    }));
    format!("<h2>Day by day{of}</h2>\n{}", table(&rows))
}

fn comparison(report: &Report) -> String {
    let Some(comparison) = &report.comparison else { return String::new() };
    let mut rows: Rows = vec![(
        "paired".to_owned(),
        ["both", "only the recipe", "only the other", "neither"].map(str::to_owned).into(),
    )];
    rows.push((
        "defects detected".to_owned(),
        comparison.defects.map(|count| count.to_string()).into(),
    ));
    for l in &comparison.loops {
        let name = format!("loop {}: would have written", l.name);
        rows.push((name, l.would_write.map(|count| count.to_string()).into()));
    }
    format!("<h2>Beside the other recipe</h2>\n{}", table(&rows))
}

/// First and last time that is drawn.
fn range(recipe: &RecipeReport) -> (i64, i64) {
    let points = recipe.plots.iter().flat_map(|plot| &plot.points).map(|point| point.ts);
    let times = points.chain(recipe.labels.iter().map(|(ts, _, _)| *ts));
    let all = times.fold(None, |range: Option<(i64, i64)>, ts| {
        let (first, last) = range.unwrap_or((ts, ts));
        Some((first.min(ts), last.max(ts)))
    });
    all.unwrap_or((0, 1))
}

/// Where values lie in a plot.
struct Scale {
    range: (i64, i64),
    low: f64,
    high: f64,
}

impl Scale {
    fn of(range: (i64, i64), values: impl Iterator<Item = f64>) -> Self {
        let finite = values.filter(|x| x.is_finite());
        let ends = finite.fold(None, |ends: Option<(f64, f64)>, x| {
            let (low, high) = ends.unwrap_or((x, x));
            Some((low.min(x), high.max(x)))
        });
        let (low, high) = ends.unwrap_or((0.0, 1.0));
        let room = ((high - low) * 0.05).max(high.abs() * 1e-6).max(1e-9);
        Self { range, low: low - room, high: high + room }
    }

    fn x(&self, ts: i64) -> f64 {
        let (first, last) = self.range;
        let whole = (last as f64 - first as f64).max(1.0);
        let share = (ts as f64 - first as f64) / whole;
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - BOTTOM - TOP)
    }

    fn frame(&self, unit: &str, inside: &str) -> String {
        let (left, bottom) = (LEFT, HEIGHT - BOTTOM);
        let text = |ts: i64| {
            let text = utc_text(Utc::from_nanos(ts));
            text.chars().take(16).collect::<String>().replace('T', " ")
        };
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n{inside}\
             <path class=\"axis line\" d=\"M{left} {TOP}V{bottom}H{WIDTH}\"/>\
             <text x=\"{tick}\" y=\"{top}\" text-anchor=\"end\">{:.4}</text>\
             <text x=\"{tick}\" y=\"{bottom}\" text-anchor=\"end\">{:.4}</text>\
             <text x=\"{tick}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\
             <text x=\"{left}\" y=\"{below}\">{}</text>\
             <text x=\"{WIDTH}\" y=\"{below}\" text-anchor=\"end\">{} UTC</text>\n</svg>\n",
            self.high,
            self.low,
            escaped(unit),
            text(self.range.0),
            text(self.range.1),
            tick = left - 6.0,
            top = TOP + 8.0,
            middle = HEIGHT / 2.0,
            below = HEIGHT - 6.0,
        )
    }

    /// Bars while a signature was on.
    fn alarms(&self, recipe: &RecipeReport) -> String {
        let mut out = String::new();
        for (signature, from, to) in recipe.alarms.iter().take(2000) {
            let (x, end) = (self.x(*from), self.x(*to));
            let name = recipe.findings.signatures.get(*signature).map_or("", |s| s.name.as_str());
            out.push_str(&format!(
                "<rect class=\"alarm\" x=\"{x:.1}\" y=\"{TOP}\" width=\"{:.1}\" \
                 height=\"{:.1}\"><title>{}</title></rect>\n",
                (end - x).max(1.0),
                HEIGHT - BOTTOM - TOP,
                escaped(name)
            ));
        }
        out
    }

    /// A line that breaks where there is no value.
    fn line(&self, class: &str, points: impl Iterator<Item = (i64, Option<f64>)>) -> String {
        let mut path = String::new();
        let mut broken = true;
        for (ts, value) in points {
            let Some(value) = value.filter(|x| x.is_finite()) else {
                broken = true;
                continue;
            };
            let letter = if broken { 'M' } else { 'L' };
            path.push_str(&format!("{letter}{:.1} {:.1}", self.x(ts), self.y(value)));
            broken = false;
        }
        format!("<path class=\"line {class}\" d=\"{path}\"/>\n")
    }

    fn dot(&self, class: &str, ts: i64, value: f64) -> String {
        let (x, y) = (self.x(ts), self.y(value));
        format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.6\"/>")
    }
}

fn loop_plot(plot: &LoopPlot, recipe: &RecipeReport, range: (i64, i64)) -> String {
    let values = plot.points.iter().flat_map(|p| [p.desired, p.limited, p.recorded]);
    let scale = Scale::of(range, values.flatten());
    let mut inside = scale.alarms(recipe);
    inside.push_str(&scale.line("recorded", plot.points.iter().map(|p| (p.ts, p.recorded))));
    inside.push_str(&scale.line("wish", plot.points.iter().map(|p| (p.ts, p.desired))));
    for point in &plot.points {
        if let Some(value) = point.limited {
            inside.push_str(&scale.dot("write", point.ts, value));
        }
    }
    scale.frame(&plot.unit, &inside)
}

fn label_plot(
    place: usize,
    characteristic: &CharacteristicPlot,
    recipe: &RecipeReport,
    range: (i64, i64),
) -> String {
    let own = || recipe.labels.iter().filter(|(_, of, _)| *of == place);
    let band = characteristic.tolerance.map(|(target, tol)| (target - tol, target + tol));
    let ends = band.into_iter().flat_map(|(low, high)| [low, high]);
    let scale = Scale::of(range, own().map(|(_, _, value)| *value).chain(ends));
    let mut inside = scale.alarms(recipe);
    if let Some((low, high)) = band {
        let (top, bottom) = (scale.y(high), scale.y(low));
        inside.push_str(&format!(
            "<rect class=\"band\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
            WIDTH - LEFT,
            bottom - top
        ));
    }
    for (ts, _, value) in own() {
        let good = band.is_none_or(|(low, high)| low <= *value && *value <= high);
        inside.push_str(&scale.dot(if good { "ok" } else { "out" }, *ts, *value));
    }
    let share =
        recipe.findings.bad as f64 / (recipe.findings.good + recipe.findings.bad).max(1) as f64;
    let frame = scale.frame(&characteristic.unit, &inside);
    format!("{frame}<p>{} of the measured parts were out of tolerance.</p>\n", percent(share))
}
