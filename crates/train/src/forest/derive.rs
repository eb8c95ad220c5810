//! Columns that are proposed: differences, products and ratios of two inputs.

use trimloop_core::model::forest::Forest;
use trimloop_core::plan::{COLUMNS_MAX, Step};

use super::{Grown, fit::ForestOptions};
use crate::table::{Table, TrainError};

/// A derived column with its name, such as `torque * speed`.
pub(crate) type Named = (String, Step);

/// Most columns that a screening keeps.
const KEPT_MAX: usize = 80;
/// Every pair of up to so many inputs is tried; of more, those that split best.
const PAIRED_MAX: usize = 18;

/// Differences of columns in one unit, products, and ratios whose denominator keeps away from 0.
pub(super) fn proposals(table: &Table, options: &ForestOptions<'_>, order: &[usize]) -> Vec<Named> {
    let coded = |input: usize| options.coded.get(input).copied().unwrap_or(false);
    let unit = |input: usize| options.units.get(input).map_or("", String::as_str);
    let numbers: Vec<usize> = order.iter().copied().filter(|i| !coded(*i)).collect();
    let mut inputs: Vec<usize> = numbers.into_iter().take(PAIRED_MAX).collect();
    inputs.sort_unstable();
    let room = COLUMNS_MAX.saturating_sub(table.columns() + options.steps.len());
    let mut found = Vec::new();
    for (place, a) in inputs.iter().copied().enumerate() {
        for b in inputs.iter().skip(place + 1).copied() {
            let (x, y) = (&table.names()[a], &table.names()[b]);
            let (i, j) = (small(a), small(b));
            if unit(a) == unit(b) && comparable(x, y, unit(a)) {
                found.push((format!("{x} - {y}"), Step::Difference(i, j)));
            }
            found.push((format!("{x} * {y}"), Step::Product(i, j)));
            if away_from_zero(table, b) {
                found.push((format!("{x} / {y}"), Step::Ratio(i, j)));
            } else if away_from_zero(table, a) {
                found.push((format!("{y} / {x}"), Step::Ratio(j, i)));
            }
        }
    }
    found.truncate(room);
    found
}

/// Whether a difference can mean anything: with a unit yes, without one unless the ends of the names
/// are units that differ, as in `force_n` and `stroke_mm`.
fn comparable(x: &str, y: &str, unit: &str) -> bool {
    let end = |name: &str| name.rsplit_once('_').map(|(_, end)| end.to_owned());
    match (end(x), end(y)) {
        (Some(x), Some(y)) if unit.is_empty() => x == y,
        _ => true,
    }
}

/// One sign throughout, and no value that is small beside the others: a ratio would be all noise.
fn away_from_zero(table: &Table, column: usize) -> bool {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for x in table.column(column) {
        (low, high) = (low.min(x), high.max(x));
    }
    let (near, far) = if low > 0.0 { (low, high) } else { (-high, -low) };
    near > 1e-3 * far
}

/// Columns of every row, inputs first, as the scorer will see them, `[q][n]`.
///
/// - `starts`: rows at which memories begin anew.
pub(super) fn columns(
    table: &Table,
    steps: &[Named],
    starts: &[usize],
) -> Result<Vec<Vec<f32>>, TrainError> {
    let p = table.columns();
    let all = steps.iter().map(|(_, step)| *step).collect();
    let plan = super::plan(vec![leaf()], p, all, &[0], vec!["0".to_owned(), "1".to_owned()]);
    let mut scorer = Forest::new(&plan);
    let mut columns = vec![Vec::with_capacity(table.rows()); p + steps.len()];
    for (index, row) in table.iter().enumerate() {
        if starts.contains(&index) {
            scorer.reset();
        }
        let Some(values) = scorer.columns_of(&plan, row) else {
            return Err(not_finite(table, steps, index, row));
        };
        for (column, x) in columns.iter_mut().zip(values) {
            #[expect(clippy::cast_possible_truncation, reason = "as the scorer rounds")]
            column.push(*x as f32);
        }
    }
    Ok(columns)
}

fn not_finite(table: &Table, steps: &[Named], row: usize, values: &[f64]) -> TrainError {
    let of = |place: u16| values.get(usize::from(place)).copied().unwrap_or(1.0);
    let zero =
        steps.iter().find(|(_, step)| matches!(step, Step::Ratio(_, b) if of(*b).abs() <= 0.0));
    let column = zero.map_or_else(|| table.names().join(", "), |(name, _)| name.clone());
    TrainError::NotFinite { row: row + 1, column }
}

fn leaf() -> Grown {
    let node = trimloop_core::plan::Node { threshold: f32::MAX, column: 0, left: 0 };
    Grown { nodes: vec![node], values: vec![0.5], depth: 0, gains: Vec::new() }
}

pub(super) fn small(place: usize) -> u16 {
    u16::try_from(place).unwrap_or(u16::MAX)
}

/// Places of `candidates` by what their splits gave, most first. One that orders the rows as a
/// better one does is left out.
pub(super) fn ranked(trees: &[Grown], columns: &[Vec<f32>], candidates: &[usize]) -> Vec<usize> {
    let gain = |column: usize| -> f64 { trees.iter().map(|tree| tree.gains[column]).sum() };
    let mut order: Vec<(usize, f64)> = candidates.iter().map(|c| (*c, gain(*c))).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut kept: Vec<usize> = Vec::new();
    for (column, gain) in order {
        if kept.len() >= KEPT_MAX {
            break;
        }
        let twin = kept.iter().any(|other| alike(&columns[*other], &columns[column]));
        if gain > 0.0 && !twin {
            kept.push(column);
        }
    }
    kept
}

/// Whether two columns are nearly one line of each other.
fn alike(a: &[f32], b: &[f32]) -> bool {
    let n = a.len() as f64;
    let mean = |x: &[f32]| x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let (ma, mb) = (mean(a), mean(b));
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(*x) - ma, f64::from(*y) - mb);
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    ab * ab > 0.995 * aa * bb
}
