//! Columns that would make a model look good and be useless: those that say the label, and those
//! that count the rows.

use std::ops::Range;

use super::{Column, Values};

/// Share of rows that one column alone must get right to be taken for the label itself.
const SAYS: f64 = 0.995;
/// Fewest rows of a flag that count as a proof.
const FLAGS_MIN: usize = 5;

/// Fewest different values of a column that only rises.
const RISES_MIN: usize = 20;

/// Whether a column numbers the rows: whole numbers, each once, close together.
pub(super) fn is_count(numbers: &[f64]) -> bool {
    let mut known: Vec<f64> = numbers.iter().copied().filter(|x| x.is_finite()).collect();
    if known.len() < 20 || known.iter().any(|x| x.fract().abs() > 0.0) {
        return false;
    }
    known.sort_by(f64::total_cmp);
    let once = known.windows(2).all(|pair| pair.first() < pair.last());
    let span = known.last().copied().unwrap_or(0.0) - known.first().copied().unwrap_or(0.0);
    #[expect(clippy::cast_precision_loss, reason = "rows of a table")]
    let rows = known.len() as f64;
    once && span < 3.0 * rows
}

/// Whether a column only rises from row to row, as a clock, a counter or the number of a batch
/// does: whatever is learnt from it does not hold for the rows after.
///
/// - `files`: rows of each file, in which it may begin anew.
pub(super) fn only_rises(numbers: &[f64], files: &[Range<usize>]) -> bool {
    let mut steps = 0;
    for rows in files {
        let known = numbers.get(rows.clone()).unwrap_or_default().iter().filter(|x| x.is_finite());
        let mut last = f64::NEG_INFINITY;
        for x in known {
            if *x < last {
                return false;
            }
            steps += usize::from(*x > last);
            last = *x;
        }
    }
    // A value that was set once or twice rises too.
    steps >= RISES_MIN.max(2 * files.len())
}

/// A column that says the label.
pub(super) struct Leak {
    /// Its name.
    pub(super) column: String,
    /// What it does.
    pub(super) why: &'static str,
    /// Whether it must be left out; else a person has to say.
    pub(super) sure: bool,
}

/// Columns that say the label.
///
/// - A flag (0 or 1) that, when set, always goes with one class which is not the commonest; with
///   two or more such flags the flags that stand beside them in the table go too, because a block
///   of flags is one thing: modes of the failure that is the label.
/// - A column with hardly more values than there are classes, whose value gives the class of almost
///   every row. One that is measured and parts the classes at thresholds may be just good: it
///   stays, with a warning.
pub(super) fn find(columns: &[&Column], of_row: &[Option<usize>], classes: usize) -> Vec<Leak> {
    let mut rows = vec![0_usize; classes];
    for class in of_row.iter().flatten() {
        if let Some(rows) = rows.get_mut(*class) {
            *rows += 1;
        }
    }
    let common = rows.iter().enumerate().max_by_key(|(_, rows)| **rows).map_or(0, |(at, _)| at);
    let flags: Vec<Option<Flag>> = columns.iter().map(|c| flag(c, of_row, common)).collect();
    let proofs = flags.iter().flatten().filter(|flag| **flag == Flag::Proof).count();
    let mut found = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let why = match flags.get(place).copied().flatten() {
            Some(Flag::Proof) => Some((
                "is a flag that, when set, always goes with one class, as what is known only \
                 afterwards does",
                true,
            )),
            Some(Flag::Open) if proofs >= 2 && beside(&flags, place) => {
                Some(("stands among flags that give the label away", true))
            }
            _ => says(column, of_row, &rows)
                .map(|sure| ("alone gives the class of almost every row", sure)),
        };
        if let Some((why, sure)) = why {
            found.push(Leak { column: column.name.clone(), why, sure });
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    /// Set only in rows of one class that is not the commonest.
    Proof,
    /// Any other column of 0 and 1.
    Open,
}

fn flag(column: &Column, of_row: &[Option<usize>], common: usize) -> Option<Flag> {
    let Values::Number(numbers) = &column.values else { return None };
    let bit = |x: &f64| x.is_nan() || x.abs() <= 0.0 || (x - 1.0).abs() <= 0.0;
    if !numbers.iter().all(bit) {
        return None;
    }
    let set = numbers.iter().zip(of_row).filter(|(x, _)| **x > 0.5);
    let classes: Vec<usize> = set.filter_map(|(_, class)| *class).collect();
    let one = classes.first().copied()?;
    let proof = classes.len() >= FLAGS_MIN && one != common && classes.iter().all(|c| *c == one);
    Some(if proof { Flag::Proof } else { Flag::Open })
}

/// Whether only flags stand between a column and a flag that gives the label away.
fn beside(flags: &[Option<Flag>], place: usize) -> bool {
    let (before, behind) = flags.split_at(place);
    let reaches = |mut side: Box<dyn Iterator<Item = &Option<Flag>> + '_>| {
        side.find(|flag| **flag != Some(Flag::Open)).is_some_and(|f| *f == Some(Flag::Proof))
    };
    reaches(Box::new(before.iter().rev())) || reaches(Box::new(behind.iter().skip(1)))
}

/// Whether a column alone gives the class: `Some(true)` when it has hardly more values than there
/// are classes, `Some(false)` when the classes lie apart in its order.
fn says(column: &Column, of_row: &[Option<usize>], rows: &[usize]) -> Option<bool> {
    let values: Vec<f64> = match &column.values {
        Values::Number(numbers) => numbers.clone(),
        Values::Text { codes, .. } => codes.iter().map(|code| f64::from(*code)).collect(),
    };
    let mut points: Vec<(f64, usize)> = values
        .iter()
        .zip(of_row)
        .filter_map(|(x, class)| class.filter(|_| x.is_finite()).map(|class| (*x, class)))
        .collect();
    if points.len() < 20 || rows.iter().any(|rows| *rows < FLAGS_MIN) {
        return None;
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut distinct, mut runs) = (1, 1);
    for pair in points.windows(2) {
        if let [a, b] = pair {
            distinct += usize::from(a.0 < b.0);
            runs += usize::from(a.1 != b.1);
        }
    }
    if distinct <= rows.len() + 1 {
        return by_value(&points, rows).then_some(true);
    }
    (runs <= rows.len()).then_some(false)
}

/// Whether the commonest class of each value is right for almost all rows of every class.
fn by_value(points: &[(f64, usize)], rows: &[usize]) -> bool {
    let mut right = vec![0_usize; rows.len()];
    for group in points.chunk_by(|a, b| a.0 >= b.0) {
        let mut counts = vec![0_usize; rows.len()];
        for (_, class) in group {
            if let Some(count) = counts.get_mut(*class) {
                *count += 1;
            }
        }
        let most = counts.iter().enumerate().max_by_key(|(_, count)| **count);
        if let Some((class, count)) = most
            && let Some(right) = right.get_mut(class)
        {
            *right += count;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "rows of a table")]
    let share = |(right, rows): (&usize, &usize)| *right as f64 / *rows as f64;
    right.iter().zip(rows).map(share).all(|share| share >= SAYS)
}
