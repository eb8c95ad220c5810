//! A model card as one HTML file: tables and plots, nothing from elsewhere, no script.

use std::fmt::Write as _;

use super::card::{Card, CardTable, Mark, Plot, Series};
use crate::output::html_escaped as escaped;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;
/// Height of a bar with its name.
const BAR: f64 = 18.0;
/// Width that names of bars take.
const NAMES: f64 = 200.0;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:66rem;margin:2rem auto;padding:0 1rem;\
color:#1c2024;background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .8rem .15rem 0;text-align:left;\
font-variant-numeric:tabular-nums;vertical-align:top}th{border-bottom:1px solid #999}\
.note{border-left:4px solid #b45309;padding:.3rem .8rem}figure{margin:1rem 0}\
svg{width:100%;max-width:44rem;height:auto}svg text{font:11px system-ui,sans-serif;\
fill:currentColor}.axis{stroke:#999;fill:none}.limit{stroke:#b91c1c;stroke-dasharray:5 3}\
.l0{stroke:#2563eb;fill:#2563eb}.l1{stroke:#d97706;fill:#d97706}.l2{stroke:#15803d;fill:#15803d}\
.l3{stroke:#9333ea;fill:#9333ea}.l4{stroke:#0891b2;fill:#0891b2}.l5{stroke:#6b7280;fill:#6b7280}\
path.line{fill:none;stroke-width:1.4}code{overflow-wrap:anywhere}\
@media(prefers-color-scheme:dark){body{color:#e5e7eb;background:#111418}.l0{stroke:#60a5fa;\
fill:#60a5fa}.limit{stroke:#f87171}}";

/// The report of a card.
///
/// - `state`: names and values about its life: state, since when, who.
#[must_use]
pub fn html(card: &Card, state: &[(String, String)], version: &str) -> String {
    // A card without a model is that of data.
    let title = if card.model.is_empty() { card.id.clone() } else { format!("Model {}", card.id) };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n<p>{1}</p>\n",
        escaped(&title),
        escaped(&card.headline)
    );
    for warning in &card.warnings {
        put(&mut page, &format!("<p class=\"note\">{}</p>\n", escaped(warning)));
    }
    let rows = card.facts.iter().chain(state);
    let rows = rows.map(|(name, value)| vec![name.clone(), value.clone()]).collect();
    put(&mut page, &table(&CardTable { title: String::new(), head: Vec::new(), rows }));
    for plot in &card.plots {
        put(&mut page, &figure(plot));
    }
    for of_card in &card.tables {
        put(&mut page, &table(of_card));
    }
    if !card.left_out.is_empty() {
        page.push_str("<h2>Left out</h2>\n<ul>\n");
        for line in &card.left_out {
            put(&mut page, &format!("<li>{}</li>\n", escaped(line)));
        }
        page.push_str("</ul>\n");
    }
    if !card.model.is_empty() {
        let hash = escaped(&card.model);
        put(&mut page, &format!("<p>SHA-256 of model.tlm: <code>{hash}</code></p>\n"));
    }
    put(&mut page, &format!("<p>trimloop {}</p>\n</body></html>\n", escaped(version)));
    page
}

fn put(page: &mut String, text: &str) {
    page.push_str(text);
}

fn table(table: &CardTable) -> String {
    let mut out = String::new();
    if !table.title.is_empty() {
        put(&mut out, &format!("<h2>{}</h2>\n", escaped(&table.title)));
    }
    out.push_str("<table>\n");
    let row = |cells: &[String], cell: &str| {
        let cells = cells.iter().map(|text| format!("<{cell}>{}</{cell}>", escaped(text)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    if !table.head.is_empty() {
        out.push_str(&row(&table.head, "th"));
    }
    for cells in &table.rows {
        out.push_str(&row(cells, "td"));
    }
    out.push_str("</table>\n");
    out
}

fn figure(plot: &Plot) -> String {
    let bars = plot.series.iter().find(|series| series.mark == Mark::Bars);
    let (height, inside) = match bars {
        Some(series) => (series.points.len() as f64 * BAR + 10.0, bars_of(series)),
        None => (HEIGHT, lines(plot)),
    };
    let says = format!("{}: {} over {}; the numbers are in card.json", plot.title, plot.y, plot.x);
    format!(
        "<h2>{}</h2>\n<figure><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{}\">\n{inside}</svg></figure>\n",
        escaped(&plot.title),
        escaped(&says)
    )
}

/// Lowest and highest of finite values, never equal.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let found = values.filter(|x| x.is_finite()).fold(None, |ends: Option<(f64, f64)>, x| {
        let (low, high) = ends.unwrap_or((x, x));
        Some((low.min(x), high.max(x)))
    });
    let (low, high) = found.unwrap_or((0.0, 1.0));
    if high - low > 1e-12 * high.abs().max(low.abs()) {
        (low, high)
    } else {
        (low - 0.5, high + 0.5)
    }
}

fn lines(plot: &Plot) -> String {
    let points = || plot.series.iter().flat_map(|series| series.points.iter());
    let (left, right) = ends(points().map(|(x, _)| *x));
    let levels = plot.levels.iter().map(|(_, y)| *y);
    let (low, high) = ends(points().map(|(_, y)| *y).chain(levels).chain([0.0]));
    let x = |value: f64| LEFT + (value - left) / (right - left) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP);
    let mut out = String::new();
    for (name, level) in &plot.levels {
        let at = y(*level);
        put(
            &mut out,
            &format!(
                "<path class=\"limit\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text x=\"{:.1}\" \
                 y=\"{:.1}\" text-anchor=\"end\">{} {level:.4}</text>\n",
                WIDTH - RIGHT,
                WIDTH - RIGHT,
                at - 3.0,
                escaped(name)
            ),
        );
    }
    for (place, series) in plot.series.iter().enumerate() {
        let class = place.min(5);
        put(&mut out, &of_series(series, class, &x, &y));
        if plot.series.len() > 1 {
            put(
                &mut out,
                &format!(
                    "<text class=\"l{class}\" stroke=\"none\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
                    LEFT + 8.0,
                    TOP + 12.0 * (place as f64 + 1.0),
                    escaped(&series.name)
                ),
            );
        }
    }
    let (bottom, middle) = (HEIGHT - BOTTOM, (HEIGHT - BOTTOM) / 2.0);
    put(
        &mut out,
        &format!(
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{end}\"/>\
             <text x=\"{tick}\" y=\"{top}\" text-anchor=\"end\">{high:.4}</text>\
             <text x=\"{tick}\" y=\"{bottom}\" text-anchor=\"end\">{low:.4}</text>\
             <text x=\"{LEFT}\" y=\"{below}\">{left:.4}</text>\
             <text x=\"{end}\" y=\"{below}\" text-anchor=\"end\">{right:.4}</text>\
             <text x=\"{half}\" y=\"{name}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(12 {middle}) rotate(-90)\" text-anchor=\"middle\">{}\
             </text>\n",
            escaped(&plot.x),
            escaped(&plot.y),
            end = WIDTH - RIGHT,
            tick = LEFT - 6.0,
            top = TOP + 8.0,
            below = bottom + 14.0,
            half = f64::midpoint(LEFT, WIDTH),
            name = HEIGHT - 6.0,
        ),
    );
    out
}

fn of_series(
    series: &Series,
    class: usize,
    x: &impl Fn(f64) -> f64,
    y: &impl Fn(f64) -> f64,
) -> String {
    let mut out = String::new();
    if series.mark == Mark::Dots {
        for (px, py) in &series.points {
            let (cx, cy) = (x(*px), y(*py));
            put(
                &mut out,
                &format!("<circle class=\"l{class}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"1.8\"/>"),
            );
        }
        return out;
    }
    let mut path = String::new();
    for (place, (px, py)) in series.points.iter().enumerate() {
        let letter = if place == 0 { 'M' } else { 'L' };
        if write!(path, "{letter}{:.1} {:.1}", x(*px), y(*py)).is_err() {
            break;
        }
    }
    format!("<path class=\"line l{class}\" d=\"{path}\"/>\n")
}

fn bars_of(series: &Series) -> String {
    let (low, high) = ends(series.points.iter().map(|(_, y)| *y).chain([0.0]));
    let x = |value: f64| NAMES + (value - low) / (high - low) * (WIDTH - NAMES - 70.0);
    let mut out = String::new();
    for (place, (_, value)) in series.points.iter().enumerate() {
        let top = place as f64 * BAR + 4.0;
        let (from, to) = (x(value.min(0.0)), x(value.max(0.0)));
        let name = series.names.get(place).map_or("", String::as_str);
        put(
            &mut out,
            &format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect class=\"l0\" \
                 stroke=\"none\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{value:.4}</text>\n",
                NAMES - 6.0,
                top + 11.0,
                escaped(name),
                (to - from).max(0.5),
                BAR - 5.0,
                to + 4.0,
                top + 11.0,
            ),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are escaped, coordinates are numbers, and a card without plots is a page too.
    #[test]
    fn pages_are_whole() {
        let mut card = Card { id: "<b>".to_owned(), model: "aa".to_owned(), ..Card::default() };
        card.facts.push(("rows".to_owned(), "5 & 6".to_owned()));
        let one = Series { name: "s".to_owned(), points: vec![(1.0, 2.0)], ..Series::default() };
        card.plots.push(Plot {
            series: vec![one],
            levels: vec![("limit".to_owned(), 1.0)],
            ..Plot::default()
        });
        card.plots.push(super::super::plots::bars("b", "u", vec![("x<y".to_owned(), -2.0)]));
        let page = html(&card, &[("state".to_owned(), "ACTIVE".to_owned())], "1");
        for part in ["Model &lt;b&gt;", "5 &amp; 6", "ACTIVE", "x&lt;y", "</html>"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
        assert!(html(&Card::default(), &[], "1").ends_with("</html>\n"));
    }
}
