//! `trimloop data capability`.

use clap::Args;
use serde_json::{Value, json};

use trimloop_core::plan::{Controller, Plan};
use trimloop_train::{Capability, Index, Tolerance, capability};

use crate::cli::load::{bound, settings};
use crate::cli::model::failure;
use crate::cli::source::SourceArgs;
use crate::cli::{Exit, Failure, Format, Global, Ui};
use crate::export::{Cell, Column, CsvSheet, Kind, Sheet as _, number_text};
use crate::learn::{Frame, LearnError};
use crate::output::Zone;

const EXAMPLES: &str = "\
Examples:
  trimloop data capability --data parts.csv --column weight --lower 19.3 --upper 19.7
  trimloop data capability --data parts.csv --tolerance 'weight=19.3..19.7' --tolerance 'flash=..0.2'
  trimloop data capability --history features --last 7d --column weight      Tolerance of the recipe

Rows are in the order of time. Cp and Cpk say what the process could do, from the spread within
neighbours; they are withheld where it is not stable, or neighbours resemble one another. Pp and Ppk
say what it did. The intervals count parts that remember one another as fewer.
Exit: 0 done, 1 a column cannot be judged, 2 wrong use.";

/// Which columns, which tolerances.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct CapabilityArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Measured columns
    #[arg(
        long,
        env = "TRIMLOOP_COLUMN",
        hide_env = true,
        value_name = "COLUMN",
        value_delimiter = ',',
        required_unless_present = "tolerance"
    )]
    column: Vec<String>,
    /// Lowest good value of these columns, in their unit
    #[arg(long, env = "TRIMLOOP_LOWER", hide_env = true, allow_negative_numbers = true)]
    lower: Option<f64>,
    /// Highest good value of these columns
    #[arg(long, env = "TRIMLOOP_UPPER", hide_env = true, allow_negative_numbers = true)]
    upper: Option<f64>,
    /// A column with its tolerance, one end may be left out; may be given again
    #[arg(long, env = "TRIMLOOP_TOLERANCE", hide_env = true, value_name = "COLUMN=LOW..HIGH")]
    tolerance: Vec<String>,
    /// Probability that an interval holds the true index
    #[arg(
        long,
        env = "TRIMLOOP_LEVEL",
        hide_env = true,
        value_name = "SHARE",
        default_value_t = 0.95
    )]
    level: f64,
}

/// A column, judged.
struct Judged {
    column: String,
    unit: String,
    tolerance: Tolerance,
    found: Capability,
    /// Rows without a value.
    missing: usize,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &CapabilityArgs) -> Result<Exit, Failure> {
    let wanted = wanted(global, args)?;
    let label = wanted.first().map(|(column, ..)| column.as_str());
    let frame = args.source.frame(ui, global, label)?;
    let judged = wanted
        .into_iter()
        .map(|(column, tolerance, unit)| judge(&frame, column, tolerance, &unit, args.level))
        .collect::<Result<Vec<Judged>, LearnError>>()
        .map_err(|error| failure(&error))?;
    if ui.format() == Format::Csv {
        return csv(&judged).map_err(|error| failure(&LearnError::Write(error)));
    }
    let mut object = ui.head("trimloop.data.capability/1", true);
    object["level"] = json!(args.level);
    object["columns"] = judged.iter().map(object_of).collect();
    ui.result(&judged.iter().map(|one| text(one, args.level)).collect::<String>(), &object);
    Ok(Exit::Ok)
}

/// Columns with their tolerances, and the recipe's unit where the tolerance is the recipe's.
fn wanted(
    global: &Global,
    args: &CapabilityArgs,
) -> Result<Vec<(String, Tolerance, String)>, Failure> {
    let mut wanted = Vec::new();
    for text in &args.tolerance {
        let (column, tolerance) = given(text).ok_or_else(|| {
            let why = format!("\"{text}\" is no tolerance: write weight=19.3..19.7 or flash=..0.2");
            failure(&LearnError::Option(why))
        })?;
        wanted.push((column, tolerance, String::new()));
    }
    let by_hand = args.lower.is_some() || args.upper.is_some();
    let plan = match (args.column.is_empty(), by_hand) {
        (false, false) => Some(bound(&settings(global)?)?.plan),
        _ => None,
    };
    for column in &args.column {
        let (tolerance, unit) = match &plan {
            None => (Tolerance { low: args.lower, high: args.upper }, String::new()),
            Some(plan) => of_recipe(plan, column).ok_or_else(|| {
                let why = format!(
                    "no run_to_run loop of the recipe has a tolerance of {column}; give --lower \
                     and --upper"
                );
                failure(&LearnError::Option(why))
            })?,
        };
        wanted.push((column.clone(), tolerance, unit));
    }
    Ok(wanted)
}

fn given(text: &str) -> Option<(String, Tolerance)> {
    let (column, range) = text.rsplit_once('=')?;
    let (low, high) = range.split_once("..")?;
    let end = |text: &str| match text.trim() {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    };
    Some((column.trim().to_owned(), Tolerance { low: end(low)?, high: end(high)? }))
}

/// Tolerance and unit of a characteristic: the tightest of its loops.
fn of_recipe(plan: &Plan, name: &str) -> Option<(Tolerance, String)> {
    let place = plan.characteristics.iter().position(|known| known.name == name)?;
    let half =
        |target: f64, half: f64| Tolerance { low: Some(target - half), high: Some(target + half) };
    let loops = plan.loops.iter().filter_map(|of_loop| match &of_loop.controller {
        Controller::RunToRun(c1) if c1.characteristic.index() == place => Some(c1),
        _ => None,
    });
    let tightest = loops.min_by(|a, b| a.tolerance.total_cmp(&b.tolerance))?;
    let unit = plan.characteristics.get(place)?.unit.clone();
    Some((half(tightest.target, tightest.tolerance), unit))
}

fn judge(
    frame: &Frame,
    column: String,
    tolerance: Tolerance,
    unit: &str,
    level: f64,
) -> Result<Judged, LearnError> {
    let of = frame.need(&column)?;
    if !unit.is_empty() && !of.unit.is_empty() && of.unit != unit {
        let why = format!(
            "the recipe has the tolerance of {column} in \"{unit}\", the data give it in \"{}\"",
            of.unit
        );
        return Err(LearnError::Option(why));
    }
    let values: Vec<f64> = of.numbers()?.iter().copied().filter(|x| x.is_finite()).collect();
    let missing = frame.rows() - values.len();
    let found = capability(&values, tolerance, level)
        .map_err(|error| LearnError::Train(format!("{column}: {error}")))?;
    let unit = if of.unit.is_empty() { unit.to_owned() } else { of.unit.clone() };
    Ok(Judged { column, unit, tolerance, found, missing })
}

/// Why `cp` and `cpk` are withheld.
fn doubts(found: &Capability) -> Vec<String> {
    let mut doubts = Vec::new();
    if let Some(shift) = found.shift {
        doubts.push(format!(
            "it is not stable: stretch {} of {} has the mean {}, {:.1} standard errors off the \
             others",
            shift.stretch,
            shift.of,
            short(shift.mean),
            shift.errors
        ));
    }
    if found.outliers {
        doubts.push(format!(
            "it is not stable: {} of {} parts are beyond 3 standard deviations",
            found.beyond, found.parts
        ));
    }
    if found.flattered {
        doubts.push(
            "neighbours resemble one another, so their spread is not that of the process"
                .to_owned(),
        );
    }
    doubts
}

fn indices(found: &Capability) -> [(&'static str, Option<Index>); 4] {
    let stable = found.is_stable();
    [
        ("Cp", found.cp.filter(|_| stable)),
        ("Cpk", Some(found.cpk).filter(|_| stable)),
        ("Pp", found.pp),
        ("Ppk", Some(found.ppk)),
    ]
}

fn text(judged: &Judged, level: f64) -> String {
    let Judged { column, unit, tolerance, found, missing } = judged;
    let end = |x: Option<f64>| x.map_or_else(|| "open".to_owned(), number_text);
    let unit = if unit.is_empty() { String::new() } else { format!(" [{unit}]") };
    let mut text = format!(
        "{column}{unit}, tolerance {} to {}\n  parts    {} ({} without a value), worth {:.0} \
         independent ones\n  mean     {}, standard deviation {} within neighbours, {} in all\n  \
         outside  {:.3} %\n",
        end(tolerance.low),
        end(tolerance.high),
        found.parts,
        missing,
        found.independent,
        short(found.mean),
        short(found.within),
        short(found.overall),
        100.0 * found.outside
    );
    for (name, index) in indices(found) {
        let shown = match index {
            Some(Index { value, low, high }) => {
                format!("{value:.2}  ({low:.2} to {high:.2}, {} %)", short(100.0 * level))
            }
            None if name.starts_with('C') && !found.is_stable() => "withheld".to_owned(),
            None => "-  (one limit only)".to_owned(),
        };
        text.push_str(&format!("  {name:<7}  {shown}\n"));
    }
    for doubt in doubts(found) {
        text.push_str(&format!("  note     {doubt}\n"));
    }
    text
}

/// Six digits.
fn short(x: f64) -> String {
    let rounded: f64 = format!("{x:.5e}").parse().unwrap_or(x);
    number_text(rounded)
}

fn object_of(judged: &Judged) -> Value {
    let found = &judged.found;
    let mut object = json!({
        "column": judged.column,
        "unit": judged.unit,
        "lower": judged.tolerance.low,
        "upper": judged.tolerance.high,
        "parts": found.parts,
        "missing": judged.missing,
        "independent": found.independent,
        "mean": found.mean,
        "sd_within": found.within,
        "sd_overall": found.overall,
        "outside": found.outside,
        "stable": found.is_stable(),
        "notes": doubts(found),
    });
    for (name, index) in indices(found) {
        object[name.to_ascii_lowercase()] =
            json!(index.map(|x| json!({ "value": x.value, "low": x.low, "high": x.high })));
    }
    object
}

fn csv(judged: &[Judged]) -> std::io::Result<Exit> {
    let number = |name: &str| Column::new(name, Kind::Number);
    let mut columns = vec![Column::new("column", Kind::Text), Column::new("unit", Kind::Text)];
    let facts = ["lower", "upper", "parts", "independent", "mean", "sd_within", "sd_overall"];
    columns.extend(facts.map(number));
    columns.push(number("outside"));
    columns.push(Column::new("stable", Kind::Bool));
    for name in ["cp", "cpk", "pp", "ppk"] {
        columns.extend(
            [name.to_owned(), format!("{name}_low"), format!("{name}_high")].map(|n| number(&n)),
        );
    }
    let mut sheet = Box::new(CsvSheet::new(std::io::stdout().lock(), &columns, Zone::Utc)?);
    for Judged { column, unit, tolerance, found, .. } in judged {
        let end = |x: Option<f64>| x.map_or(Cell::Null, Cell::Float);
        let mut cells = vec![
            Cell::Text(column.as_str().into()),
            Cell::Text(unit.as_str().into()),
            end(tolerance.low),
            end(tolerance.high),
            Cell::Float(found.parts as f64),
        ];
        let facts = [found.independent, found.mean, found.within, found.overall, found.outside];
        cells.extend(facts.map(Cell::Float));
        cells.push(Cell::Bool(found.is_stable()));
        for (_, index) in indices(found) {
            cells.extend(
                [index.map(|x| x.value), index.map(|x| x.low), index.map(|x| x.high)].map(end),
            );
        }
        sheet.row(&cells)?;
    }
    sheet.finish()?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends, one end, columns with signs in their names.
    #[test]
    fn tolerances_are_read() {
        let both = |low, high| Tolerance { low, high };
        for (text, expect) in [
            ("weight=19.3..19.7", Some(("weight", both(Some(19.3), Some(19.7))))),
            ("a=b = -1 .. ", Some(("a=b", both(Some(-1.0), None)))),
            ("flash=..0.2", Some(("flash", both(None, Some(0.2))))),
            ("weight=19.3", None),
            ("19.3..19.7", None),
            ("w=x..1", None),
        ] {
            let expect = expect.map(|(column, tolerance)| (column.to_owned(), tolerance));
            assert_eq!(given(text), expect, "{text}");
        }
    }
}
