//! Column by column: missing, constant, frozen, outliers, quantised, changed units, repeats.

use super::{Finding, Severity, known, median, some_rows};
use crate::export::number_text;
use crate::learn::card::CardTable;
use crate::learn::{Column, Frame, LearnError, Values};

/// Share of missing cells that is a warning, and one that is a problem.
const MISSING: (f64, f64) = (0.05, 0.5);
/// Shortest run of one value that may be a frozen sensor [rows].
const FROZEN_ROWS: usize = 20;
/// A frozen run is so many times as long as the usual one.
const FROZEN_TIMES: f64 = 10.0;
/// Distance of an outlier in robust standard deviations.
const OUTLIER: f64 = 8.0;
/// Resolution from this share of a standard deviation on is coarse.
const COARSE: f64 = 0.25;
/// Correlation from which on a column repeats another.
const REPEAT: f64 = 0.9999;
/// Most columns between which repeats are looked for: pairs grow with the square.
const REPEAT_COLUMNS: usize = 300;
/// What a unit that was changed in the middle multiplies by.
const FACTORS: [(f64, &str); 10] = [
    (10.0, "10 (bar and MPa, mm and cm)"),
    (100.0, "100 (a share and percent, bar and kPa)"),
    (1000.0, "1000 (g and kg, mm and m, ms and s)"),
    (60.0, "60 (s and min)"),
    (3600.0, "3600 (s and h)"),
    (25.4, "25.4 (mm and inch)"),
    (14.503_8, "14.5 (bar and psi)"),
    (6.894_76, "6.89 (psi and kPa)"),
    (4.448_22, "4.45 (lbf and N)"),
    (100_000.0, "100000 (bar and Pa)"),
];

pub(super) fn look(frame: &Frame) -> Result<(Vec<Finding>, CardTable), LearnError> {
    let mut findings = Vec::new();
    let head =
        ["column", "unit", "missing", "lowest", "median", "highest", "sd", "values", "lag-1 r"];
    let head = head.map(str::to_owned).into();
    let mut summary = CardTable { title: "Columns".to_owned(), head, rows: Vec::new() };
    let mut series = Vec::new();
    for column in frame.columns() {
        findings.extend(missing(column, frame.rows()));
        let share = column.missing() as f64 / frame.rows() as f64;
        let share = format!("{:.1} %", 100.0 * share);
        let mut row = vec![column.name.clone(), column.unit.clone(), share];
        match &column.values {
            Values::Text { levels, .. } => {
                row.extend(["", "", "", ""].map(str::to_owned));
                row.push(format!("{} texts", levels.len()));
                row.push(String::new());
                findings.push(finding(
                    (Severity::Note, "text"),
                    &column.name,
                    format!("holds {} different texts", levels.len()),
                    "Monitors and soft sensors take numbers; an id would be learnt by heart.",
                    "leave ids out with --ignore; a classifier can take texts of a few kinds",
                ));
            }
            Values::Number(_) => {
                let facts = Facts::of(column.numbers()?);
                row.extend(facts.cells());
                findings.extend(numbers(frame, column, &facts)?);
                if !facts.constant() {
                    series.push((column.name.as_str(), column.numbers()?, facts.mean, facts.sd));
                }
            }
        }
        summary.rows.push(row);
    }
    findings.extend(repeats(&series));
    findings.extend(no_units(frame));
    Ok((findings, summary))
}

pub(super) fn finding(
    (severity, check): (Severity, &'static str),
    place: &str,
    what: String,
    why: &'static str,
    next: &'static str,
) -> Finding {
    Finding { severity, check, place: place.to_owned(), what, why, next }
}

/// What there is to know about a column of numbers.
struct Facts {
    sorted: Vec<f64>,
    mean: f64,
    sd: f64,
    distinct: usize,
    /// Smallest step between two different values.
    step: f64,
    lag1: f64,
}

impl Facts {
    fn of(values: &[f64]) -> Self {
        let mut sorted: Vec<f64> = known(values).map(|(_, x)| x).collect();
        let n = sorted.len().max(1) as f64;
        let mean = sorted.iter().sum::<f64>() / n;
        let square: f64 = sorted.iter().map(|x| (x - mean) * (x - mean)).sum();
        let pairs = values.iter().zip(values.iter().skip(1));
        let lagged = pairs.map(|(a, b)| (a - mean) * (b - mean)).filter(|x| x.is_finite());
        let lag1 = if square > 0.0 { lagged.sum::<f64>() / square } else { f64::NAN };
        sorted.sort_by(f64::total_cmp);
        let steps = sorted.iter().zip(sorted.iter().skip(1)).map(|(a, b)| b - a);
        let apart = || steps.clone().filter(|step| *step > 0.0);
        let distinct = apart().count() + usize::from(!sorted.is_empty());
        let step = apart().fold(f64::INFINITY, f64::min);
        Self { mean, sd: (square / (n - 1.0).max(1.0)).sqrt(), distinct, step, lag1, sorted }
    }

    fn constant(&self) -> bool {
        self.distinct <= 1
    }

    fn cells(&self) -> [String; 6] {
        let text = |x: f64| if x.is_finite() { format!("{x:.5}") } else { String::new() };
        let ends =
            [self.sorted.first(), self.sorted.last()].map(|x| x.copied().unwrap_or(f64::NAN));
        let [low, high] = ends.map(text);
        let lag1 = if self.lag1.is_finite() { format!("{:.2}", self.lag1) } else { String::new() };
        [low, text(median(&self.sorted)), high, text(self.sd), self.distinct.to_string(), lag1]
    }
}

fn missing(column: &Column, rows: usize) -> Option<Finding> {
    let count = column.missing();
    let share = count as f64 / rows.max(1) as f64;
    let severity = match share {
        0.0 => return None,
        share if share > MISSING.1 => Severity::Problem,
        share if share > MISSING.0 => Severity::Warning,
        _ => Severity::Note,
    };
    Some(finding(
        (severity, "gaps"),
        &column.name,
        format!("{count} of {rows} values are missing ({:.1} %)", 100.0 * share),
        "Rows with a missing value are not learnt from, and not scored.",
        "find out why it is missing; leave the column out with --ignore when it often is",
    ))
}

fn numbers(frame: &Frame, column: &Column, facts: &Facts) -> Result<Vec<Finding>, LearnError> {
    let values = column.numbers()?;
    if facts.constant() {
        let shown = facts.sorted.first().map_or("nothing".to_owned(), |x| number_text(*x));
        return Ok(vec![finding(
            (Severity::Note, "constant"),
            &column.name,
            format!("is {shown} in every row"),
            "What never changed in training tells nothing, and its first change means nothing known.",
            "it is left out of training; check that the signal is connected",
        )]);
    }
    let mut found = Vec::new();
    found.extend(counter(column, values));
    found.extend(frozen(frame, column, values, facts));
    found.extend(outliers(column, values, facts));
    found.extend(quantised(column, facts));
    found.extend(changed_unit(frame, column, values));
    Ok(found)
}

/// A number that only counts the rows.
fn counter(column: &Column, values: &[f64]) -> Option<Finding> {
    let mut steps = values.iter().zip(values.iter().skip(1)).map(|(a, b)| b - a);
    let first = steps.next()?;
    let even = |step: f64| (step - first).abs() <= 1e-9 * first.abs();
    (values.len() >= 20 && first != 0.0 && steps.all(even)).then(|| {
        finding(
            (Severity::Warning, "counter"),
            &column.name,
            format!("goes up by {} with every row", number_text(first)),
            "A running number says when a row was recorded, not why it is good or bad.",
            "leave it out with --ignore; call it `time` if it is one",
        )
    })
}

/// A run of one value within a file. A cell without a value does not end it: a sensor that stands
/// still, and is lost now and then, still stands still.
struct Run {
    /// First row.
    row: usize,
    /// Cells with the value.
    length: usize,
    /// Cells without a value between them.
    holes: usize,
}

fn runs(frame: &Frame, values: &[f64]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (_, rows) in frame.files() {
        let (mut last, mut holes) = (f64::NAN, 0);
        for row in rows.clone() {
            let x = values.get(row).copied().unwrap_or(f64::NAN);
            if !x.is_finite() {
                holes += 1;
                continue;
            }
            match runs.last_mut() {
                Some(run) if x.to_bits() == last.to_bits() => {
                    run.length += 1;
                    run.holes += holes;
                }
                _ => runs.push(Run { row, length: 1, holes: 0 }),
            }
            (last, holes) = (x, 0);
        }
    }
    runs
}

fn frozen(frame: &Frame, column: &Column, values: &[f64], facts: &Facts) -> Option<Finding> {
    // A switch stays where it is for long.
    if facts.distinct <= 5 {
        return None;
    }
    let runs = runs(frame, values);
    let mut lengths: Vec<f64> = runs.iter().map(|run| run.length as f64).collect();
    lengths.sort_by(f64::total_cmp);
    let usual = median(&lengths);
    let long = |run: &&Run| run.length >= FROZEN_ROWS && run.length as f64 >= FROZEN_TIMES * usual;
    let frozen: Vec<&Run> = runs.iter().filter(long).collect();
    let longest = frozen.iter().max_by_key(|run| run.length)?;
    let all: usize = frozen.iter().map(|run| run.length).sum();
    let holes = match longest.holes {
        0 => String::new(),
        holes => format!(", {holes} missing values between them"),
    };
    Some(finding(
        (Severity::Warning, "frozen"),
        &column.name,
        format!(
            "the value stands still {} times, {all} rows in all, the longest from row {} on for \
             {} rows{holes}; as a rule it changes after {usual:.0}",
            frozen.len(),
            longest.row + 1,
            longest.length
        ),
        "A sensor that stands still hides what happens, and makes a model trust it.",
        "check the sensor or the subscription at that time, and leave those rows out",
    ))
}

fn outliers(column: &Column, values: &[f64], facts: &Facts) -> Option<Finding> {
    if facts.distinct <= 10 {
        return None;
    }
    let middle = median(&facts.sorted);
    let mut far: Vec<f64> = facts.sorted.iter().map(|x| (x - middle).abs()).collect();
    far.sort_by(f64::total_cmp);
    // A coarse resolution makes the median distance 0.
    let robust = (1.4826 * median(&far)).max(facts.step);
    let rows: Vec<usize> = known(values)
        .filter(|(_, x)| (x - middle).abs() > OUTLIER * robust)
        .map(|(r, _)| r)
        .collect();
    let share = rows.len() as f64 / facts.sorted.len().max(1) as f64;
    // More than a few are another operating point, not outliers.
    if rows.is_empty() || share > 0.02 {
        return None;
    }
    Some(finding(
        (Severity::Warning, "outliers"),
        &column.name,
        format!(
            "{} values are further than {OUTLIER:.0} robust standard deviations from {middle:.5}: \
             rows {}",
            rows.len(),
            some_rows(&rows)
        ),
        "A few wild values move means, scales and limits more than all others together.",
        "look at these rows: a real event belongs in, a broken reading must go",
    ))
}

fn quantised(column: &Column, facts: &Facts) -> Option<Finding> {
    let coarse = facts.step >= COARSE * facts.sd && facts.distinct > 2 && facts.sorted.len() >= 50;
    coarse.then(|| {
        finding(
            (Severity::Note, "quantised"),
            &column.name,
            format!(
                "has {} different values, {:.5} apart, at a standard deviation of {:.5}",
                facts.distinct, facts.step, facts.sd
            ),
            "With so coarse a resolution small shifts do not show, and charts alarm on one step.",
            "record more digits, or average over a cycle; whole counts are as they must be",
        )
    })
}

/// A level that jumps by what two units differ by.
fn changed_unit(frame: &Frame, column: &Column, values: &[f64]) -> Option<Finding> {
    let parts: Vec<std::ops::Range<usize>> = if frame.files().len() > 1 {
        frame.files().iter().map(|(_, rows)| rows.clone()).collect()
    } else {
        let part = frame.rows().div_ceil(10).max(1);
        (0..10).map(|i| (i * part).min(frame.rows())..((i + 1) * part).min(frame.rows())).collect()
    };
    let middle = |rows: &std::ops::Range<usize>| {
        let mut part: Vec<f64> =
            known(values.get(rows.clone()).unwrap_or_default()).map(|(_, x)| x).collect();
        part.sort_by(f64::total_cmp);
        (part.len() >= 5).then(|| median(&part))
    };
    let levels: Vec<(usize, f64)> =
        parts.iter().filter_map(|rows| Some((rows.start + 1, middle(rows)?))).collect();
    // The unit may change within a part, whose level is then neither: the next but one tells.
    let next = levels.iter().zip(levels.iter().skip(1));
    for ((_, before), (row, after)) in next.chain(levels.iter().zip(levels.iter().skip(2))) {
        let ratio = (after / before).abs();
        let ratio = if ratio < 1.0 { 1.0 / ratio } else { ratio };
        let factor = FACTORS.iter().find(|(factor, _)| (ratio / factor - 1.0).abs() < 0.02);
        let fahrenheit = |celsius: f64, x: f64| (1.8 * celsius + 32.0 - x).abs() < 0.01 * x.abs();
        let kelvin = ((after - before).abs() - 273.15).abs() < 3.0;
        let how = match factor {
            Some((_, how)) => format!("by a factor of {how}"),
            None if kelvin => "by 273 (degC and K)".to_owned(),
            None if fahrenheit(*before, *after) || fahrenheit(*after, *before) => {
                "as degC and degF do".to_owned()
            }
            None => continue,
        };
        return Some(finding(
            (Severity::Problem, "units"),
            &column.name,
            format!("the level goes from {before:.5} to {after:.5} about row {row}, {how}"),
            "A model of two units at once fits neither.",
            "bring all rows to one unit, and write it in the title as `name [unit]`",
        ));
    }
    None
}

fn repeats(series: &[(&str, &[f64], f64, f64)]) -> Vec<Finding> {
    let mut found = Vec::new();
    let series = series.get(..series.len().min(REPEAT_COLUMNS)).unwrap_or_default();
    for (place, (name, values, mean, sd)) in series.iter().enumerate() {
        for (other, others, other_mean, other_sd) in series.iter().take(place) {
            let products = values.iter().zip(*others).map(|(a, b)| (a - mean) * (b - other_mean));
            let (mut sum, mut n) = (0.0, 0.0);
            for product in products.filter(|x| x.is_finite()) {
                sum += product;
                n += 1.0;
            }
            let r = sum / f64::max(n - 1.0, 1.0) / (sd * other_sd);
            if r.abs() >= REPEAT && n >= 10.0 {
                found.push(finding(
                    (Severity::Note, "repeats"),
                    name,
                    format!("repeats {other} (r = {r:.5})"),
                    "Of two columns that say the same neither can be blamed alone.",
                    "leave one of them out with --ignore",
                ));
                break;
            }
        }
    }
    found
}

fn no_units(frame: &Frame) -> Option<Finding> {
    let numbers = || frame.columns().iter().filter(|column| !column.is_text());
    let without = numbers().filter(|column| column.unit.is_empty()).count();
    (without > 0).then(|| {
        finding(
            (Severity::Note, "units"),
            "titles",
            format!("{without} of {} columns of numbers have no unit", numbers().count()),
            "A model whose inputs have units refuses data in another unit; without, it cannot.",
            "write titles as `name [unit]`, or the units in the line below the titles",
        )
    })
}
