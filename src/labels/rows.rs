//! Kept labels to rows of a table, by part id.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Kept;
use crate::export::number_text;
use crate::learn::{Column, Frame, LearnError, Values};

/// Largest whole number that a float holds with all digits: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Labels of this column.
    pub labels: usize,
    /// Rows that have one now.
    pub rows: usize,
    /// Labels of parts that the table does not have.
    pub without_row: usize,
}

/// Names under which labels can be asked for: `weight`, or `weight@lab` and `weight@line` where
/// several sources measure it.
#[must_use]
pub fn characteristics(kept: &[Kept]) -> Vec<String> {
    let mut sources = BTreeMap::<&str, BTreeSet<&str>>::new();
    for Kept { label, .. } in kept {
        sources.entry(&label.characteristic).or_default().insert(&label.source);
    }
    let of = |(name, sources): (&str, BTreeSet<&str>)| -> Vec<String> {
        match sources.len() {
            1 => vec![name.to_owned()],
            _ => sources.iter().map(|source| format!("{name}@{source}")).collect(),
        }
    };
    sources.into_iter().flat_map(of).collect()
}

/// Adds the column `name` (one of [`characteristics`]) by the part ids of the column `part`; `None`
/// when no such label is kept.
///
/// # Errors
/// No column `part`; several sources where none is named; part ids that cannot be told apart in
/// this table; no row with a label.
pub fn put(
    frame: &mut Frame,
    kept: &[Kept],
    name: &str,
    part: &str,
) -> Result<Option<Joined>, LearnError> {
    let (bare, source) =
        name.rsplit_once('@').map_or((name, None), |(bare, source)| (bare, Some(source)));
    let whole = |kept: &&Kept| kept.label.characteristic == name;
    let mut found: Vec<&Kept> = kept.iter().filter(whole).collect();
    if found.is_empty() {
        let of = |k: &&Kept| k.label.characteristic == bare && Some(&*k.label.source) == source;
        found = kept.iter().filter(of).collect();
    }
    let Some(first) = found.first() else { return Ok(None) };
    let sources: BTreeSet<&str> = found.iter().map(|kept| kept.label.source.as_str()).collect();
    if sources.len() > 1 {
        let each: Vec<String> = sources.iter().map(|source| format!("{name}@{source}")).collect();
        let why = format!("several sources measured {name}; choose {}", each.join(" or "));
        return Err(LearnError::Option(why));
    }
    let units: BTreeSet<&str> = found.iter().map(|kept| kept.label.unit.as_str()).collect();
    if units.len() > 1 {
        let units: Vec<&str> = units.into_iter().collect();
        let why = format!("the labels {name} are in several units: {}", units.join(", "));
        return Err(LearnError::Label(why));
    }
    let unit = first.label.unit.clone();
    let ids = frame.need(part)?;
    let by_part = by_part(&found, ids)?;
    let texts: Vec<Option<String>> = (0..frame.rows())
        .map(|row| {
            ids.text(row).and_then(|id| by_part.get(&id).map(|kept| kept.label.value.text()))
        })
        .collect();
    let there: BTreeSet<String> = (0..frame.rows()).filter_map(|row| ids.text(row)).collect();
    let joined = Joined {
        labels: found.len(),
        rows: texts.iter().flatten().count(),
        without_row: by_part.keys().filter(|id| !there.contains(*id)).count(),
    };
    if joined.rows == 0 {
        let why = format!(
            "{} labels {name} are kept, but none is of a part in the column {part} of these rows",
            joined.labels
        );
        return Err(LearnError::Label(why));
    }
    let mut column = Column::of_texts(name, &texts);
    column.unit = unit;
    frame.put(column);
    Ok(Some(joined))
}

/// Labels by part id, as the column of ids shows it: in a column of numbers `007` is 7.
fn by_part<'k>(found: &[&'k Kept], ids: &Column) -> Result<HashMap<String, &'k Kept>, LearnError> {
    if let Values::Number(numbers) = &ids.values
        && let Some(x) = numbers.iter().find(|x| x.abs() > EXACT_MAX)
    {
        let why = format!(
            "part ids such as {x:e} have more digits than a number holds; write a letter before \
             them, in the rows and in the labels"
        );
        return Err(LearnError::Option(why));
    }
    let mut by_part = HashMap::<String, &Kept>::new();
    for kept in found {
        let id = kept.label.part.as_str();
        let number = id.parse().ok().filter(|x: &f64| !ids.is_text() && x.abs() <= EXACT_MAX);
        let key = number.map_or_else(|| id.to_owned(), number_text);
        if let Some(other) = by_part.insert(key, kept) {
            let why = format!(
                "the parts \"{}\" and \"{id}\" are the same number in the column {}",
                other.label.part, ids.name
            );
            return Err(LearnError::Option(why));
        }
    }
    Ok(by_part)
}
