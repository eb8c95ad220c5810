//! Labels to rows: by part, or by the time the product takes from the sensor to the inspection.
//!
//! A label is known by part, characteristic and source; the same one given again changes nothing,
//! so a file may be joined as often as it comes. One given again with another value replaces it and
//! is told.

use std::collections::BTreeMap;

use super::{Clock, Column, Frame, LearnError};

/// How labels find their rows.
#[derive(Clone, Debug, PartialEq)]
pub enum By {
    /// The column of part ids, the same in both tables.
    Part(String),
    /// The product is inspected so long after its row [s, or the unit of a time of its own].
    Delay(f64),
    /// The product is inspected when so much has flowed since its row: the volume, and the column
    /// of the flow per second (or per unit of a time of its own).
    Flow(f64, String),
}

/// How the label table says what is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelColumns {
    /// Column of the characteristic; without it every other column of the table is one.
    pub characteristic: Option<String>,
    /// Column of the source; labels of several sources become columns of their own.
    pub source: Option<String>,
    /// Column of the value, with `characteristic`.
    pub value: Option<String>,
}

/// What came of a join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// Names of the new columns.
    pub columns: Vec<String>,
    /// Labels that are different from one another.
    pub labels: usize,
    /// Labels that were given again with the same value.
    pub again: usize,
    /// Labels that were given again with another value; the last one counts.
    pub replaced: usize,
    /// Labels for which there is no row.
    pub without_row: usize,
    /// Labels behind which a later one of the same characteristic has the same row, by time; the
    /// last one counts.
    pub hidden: usize,
    /// Rows with a label.
    pub rows: usize,
}

/// A label on its way: column, and text or number.
type Found = BTreeMap<(String, String), String>;

/// Adds labels to the rows of `frame`, a column for each characteristic (and source).
///
/// # Errors
/// Columns that are not there or are in both tables, times that are not given in both tables, a
/// flow that is negative.
pub fn join(
    frame: &mut Frame,
    labels: &Frame,
    by: &By,
    columns: &LabelColumns,
) -> Result<Joined, LearnError> {
    let key = match by {
        By::Part(part) => Some(labels.need(part)?),
        By::Delay(_) | By::Flow(..) => None,
    };
    let mut joined = Joined::default();
    let found = collect(labels, key, columns, &mut joined)?;
    let places = match by {
        By::Part(part) => parts(frame.need(part)?, frame.rows()),
        By::Delay(delay) => times(frame, labels, |at| at - delay)?,
        By::Flow(volume, flow) => {
            let passed = passed(frame, flow)?;
            times(frame, labels, |at| passed.before(at, *volume))?
        }
    };
    let mut texts = BTreeMap::<String, Vec<Option<String>>>::new();
    let mut found: Vec<((String, String), String)> = found.into_iter().collect();
    if !matches!(by, By::Part(_)) {
        // Items are rows of the label table: the last of them is to count.
        found.sort_by_key(|((item, _), _)| item.parse::<usize>().unwrap_or(usize::MAX));
    }
    for ((item, name), value) in found {
        if frame.column(&name).is_some() && !texts.contains_key(&name) {
            let why = format!("both tables have a column {name}; rename one of them");
            return Err(LearnError::Option(why));
        }
        let column = texts.entry(name).or_insert_with(|| vec![None; frame.rows()]);
        match places.get(&item) {
            Some(rows) => {
                for row in rows {
                    if let Some(slot) = column.get_mut(*row) {
                        joined.hidden += usize::from(slot.replace(value.clone()).is_some());
                    }
                }
            }
            None => joined.without_row += 1,
        }
    }
    joined.rows = (0..frame.rows())
        .filter(|row| texts.values().any(|column| column.get(*row).is_some_and(Option::is_some)))
        .count();
    for (name, column) in texts {
        frame.put(Column::of_texts(&name, &column));
        joined.columns.push(name);
    }
    Ok(joined)
}

/// Labels by item (part id, or row of the label table) and name of the new column.
fn collect(
    labels: &Frame,
    key: Option<&Column>,
    columns: &LabelColumns,
    joined: &mut Joined,
) -> Result<Found, LearnError> {
    let named = |name: &Option<String>| name.as_ref().map(|name| labels.need(name)).transpose();
    let (of, source) = (named(&columns.characteristic)?, named(&columns.source)?);
    let value = columns.value.as_deref().unwrap_or("value");
    let values: Vec<(&Column, Option<&str>)> = match of {
        Some(_) => vec![(labels.need(value)?, None)],
        None => labels
            .columns()
            .iter()
            .filter(|column| key.is_none_or(|key| key.name != column.name))
            .filter(|column| source.is_none_or(|source| source.name != column.name))
            .map(|column| (column, Some(column.name.as_str())))
            .collect(),
    };
    // A characteristic that several sources measure gets a column for each of them.
    let mut sources = BTreeMap::<String, std::collections::BTreeSet<String>>::new();
    let mut given = Vec::new();
    for row in 0..labels.rows() {
        let item = match key {
            Some(key) => key.text(row),
            None => Some(row.to_string()),
        };
        let from = source.and_then(|source| source.written(row)).unwrap_or_default();
        for (column, name) in &values {
            let name = name.map(str::to_owned).or_else(|| of.and_then(|of| of.written(row)));
            let (Some(item), Some(name), Some(text)) = (item.clone(), name, column.written(row))
            else {
                continue;
            };
            sources.entry(name.clone()).or_default().insert(from.clone());
            given.push((item, name, from.clone(), text));
        }
    }
    let mut found = Found::new();
    for (item, name, from, text) in given {
        let several = sources.get(&name).is_some_and(|sources| sources.len() > 1);
        let column = if several { format!("{name}@{from}") } else { name };
        match found.insert((item, column), text.clone()) {
            None => joined.labels += 1,
            Some(before) if before == text => joined.again += 1,
            Some(_) => joined.replaced += 1,
        }
    }
    Ok(found)
}

/// Rows of each item.
type Places = BTreeMap<String, Vec<usize>>;

fn parts(column: &Column, rows: usize) -> Places {
    let mut places = Places::new();
    for row in 0..rows {
        if let Some(part) = column.text(row) {
            places.entry(part).or_default().push(row);
        }
    }
    places
}

/// Times of the rows [s, or their own unit], NaN where there is none.
fn clock(frame: &Frame, which: &str) -> Result<Vec<f64>, LearnError> {
    let Some(time) = frame.time() else {
        let why = format!("{which} have no column of times; join by part, or name it `time`");
        return Err(LearnError::Option(why));
    };
    Ok(match &time.clock {
        Clock::Number(numbers) => numbers.clone(),
        Clock::Utc(utc) => utc
            .iter()
            .map(|utc| if *utc == i64::MIN { f64::NAN } else { *utc as f64 / 1e9 })
            .collect(),
    })
}

/// The last row at or before the time at which each label's product was at the sensor; labels
/// whose row is further back than two usual steps have none.
fn times(
    frame: &Frame,
    labels: &Frame,
    at_sensor: impl Fn(f64) -> f64,
) -> Result<Places, LearnError> {
    let rows = sorted(&clock(frame, "the rows")?);
    let steps = rows.iter().zip(rows.iter().skip(1)).map(|(a, b)| b.0 - a.0);
    let mut steps: Vec<f64> = steps.filter(|step| *step > 0.0).collect();
    steps.sort_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(f64::INFINITY);
    let mut places = Places::new();
    for (label, time) in clock(labels, "the labels")?.into_iter().enumerate() {
        let at = at_sensor(time);
        let behind = rows.partition_point(|(row, _)| *row <= at);
        let found = behind.checked_sub(1).and_then(|place| rows.get(place));
        if let Some((_, index)) = found.filter(|(row, _)| at - row <= 2.0 * usual) {
            places.insert(label.to_string(), vec![*index]);
        }
    }
    Ok(places)
}

/// `(time, row)` in the order of time.
fn sorted(times: &[f64]) -> Vec<(f64, usize)> {
    let rows = times.iter().enumerate().filter(|(_, t)| t.is_finite());
    let mut rows: Vec<(f64, usize)> = rows.map(|(row, t)| (*t, row)).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows
}

/// How much has flowed up to each time: `(time, volume)`.
struct Passed(Vec<(f64, f64)>);

fn passed(frame: &Frame, flow: &str) -> Result<Passed, LearnError> {
    let flows = frame.need(flow)?.numbers()?;
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut before: Option<(f64, f64)> = None;
    for (time, row) in sorted(&clock(frame, "the rows")?) {
        let Some(q) = flows.get(row).copied().filter(|q| q.is_finite()) else { continue };
        if q < 0.0 {
            let why = format!("the flow {flow} is {q} in row {}; it must not be negative", row + 1);
            return Err(LearnError::Option(why));
        }
        let volume = points.last().map_or(0.0, |(_, volume)| *volume);
        let more = before.map_or(0.0, |(t, last)| (time - t) * f64::midpoint(last, q));
        points.push((time, volume + more));
        before = Some((time, q));
    }
    Ok(Passed(points))
}

impl Passed {
    /// When the product that leaves at `at` was at the sensor: `volume` has flowed since; NaN
    /// before the rows begin.
    fn before(&self, at: f64, volume: f64) -> f64 {
        let wanted = self.at(at, |point| point.0, |point| point.1) - volume;
        self.at(wanted, |point| point.1, |point| point.0)
    }

    /// Linear between two points; NaN outside.
    fn at(&self, x: f64, of: impl Fn(&(f64, f64)) -> f64, to: impl Fn(&(f64, f64)) -> f64) -> f64 {
        let behind = self.0.partition_point(|point| of(point) < x);
        let after = self.0.get(behind);
        let before = behind.checked_sub(1).and_then(|place| self.0.get(place));
        match (before, after) {
            (_, Some(after)) if of(after) <= x => to(after),
            (Some(before), Some(after)) => {
                let share = (x - of(before)) / (of(after) - of(before));
                to(before) + share * (to(after) - to(before))
            }
            _ => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::learn::FrameBuilder;
    use crate::learn::frame::Cell;

    fn table(columns: &[&str], rows: &[&[&str]], time: &[f64]) -> Frame {
        let mut builder = FrameBuilder::default();
        let titles: Vec<(String, String)> =
            columns.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        let timed = (!time.is_empty()).then_some("time");
        let places = builder.begin(Path::new("t.csv"), &titles, timed).unwrap();
        for (row, cells) in rows.iter().enumerate() {
            for (place, text) in places.iter().zip(*cells) {
                let cell = match text.parse::<f64>() {
                    Ok(x) => Cell::Number(x),
                    Err(_) if text.is_empty() => Cell::Missing,
                    Err(_) => Cell::Text(text, 1, 1),
                };
                builder.cell(*place, cell);
            }
            if let Some(t) = time.get(row) {
                builder.at(&t.to_string(), i64::MIN, *t);
            }
            builder.end_row();
        }
        builder.finish().unwrap()
    }

    fn texts(frame: &Frame, name: &str) -> Vec<Option<String>> {
        (0..frame.rows()).map(|row| frame.column(name).unwrap().text(row)).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|t| (!t.is_empty()).then(|| (*t).to_owned())).collect()
    }

    /// By part: given again changes nothing, another value replaces, a stranger is counted.
    #[test]
    fn by_part_and_idempotent() {
        let parts = || table(&["part", "x"], &[&["1", "5"], &["2", "6"], &["3", "7"]], &[]);
        let rows: &[&[&str]] = &[
            &["1", "weight", "scale", "19.5"],
            &["1", "weight", "scale", "19.5"],
            &["2", "weight", "scale", "19.1"],
            &["2", "weight", "scale", "19.2"],
            &["9", "weight", "scale", "1"],
        ];
        let labels = table(&["part", "what", "from", "value"], rows, &[]);
        let columns = LabelColumns {
            characteristic: Some("what".to_owned()),
            source: Some("from".to_owned()),
            value: None,
        };
        let by = By::Part("part".to_owned());
        let mut frame = parts();
        let joined = join(&mut frame, &labels, &by, &columns).unwrap();
        assert_eq!(texts(&frame, "weight"), some(&["19.5", "19.2", ""]));
        let counts = (joined.labels, joined.again, joined.replaced, joined.without_row);
        assert_eq!((counts, joined.rows), ((3, 1, 1, 1), 2));
        // Two sources of one characteristic do not overwrite one another.
        let rows: &[&[&str]] = &[&["1", "weight", "a", "1"], &["1", "weight", "b", "2"]];
        let labels = table(&["part", "what", "from", "value"], rows, &[]);
        let mut frame = parts();
        join(&mut frame, &labels, &by, &columns).unwrap();
        assert_eq!(texts(&frame, "weight@a"), some(&["1", "", ""]));
        assert_eq!(texts(&frame, "weight@b"), some(&["2", "", ""]));
    }

    /// By a fixed delay, and by flow: at twice the flow the product takes half the time.
    #[test]
    fn by_delay_and_by_flow() {
        let flow: Vec<[&str; 1]> =
            (0..40).map(|row| if row < 20 { ["1"] } else { ["2"] }).collect();
        let rows: Vec<&[&str]> = flow.iter().map(<[&str; 1]>::as_slice).collect();
        let times: Vec<f64> = (0..40).map(f64::from).collect();
        let labels = table(&["ok"], &[&["1"], &["2"], &["3"]], &[15.0, 35.0, 500.0]);
        let place = |by: &By| {
            let mut frame = table(&["q"], &rows, &times);
            let joined = join(&mut frame, &labels, by, &LabelColumns::default()).unwrap();
            assert_eq!(joined.without_row, 1);
            let found = texts(&frame, "ok");
            [Some("1"), Some("2")].map(|w| found.iter().position(|t| t.as_deref() == w))
        };
        assert_eq!(place(&By::Delay(10.0)), [Some(5), Some(25)]);
        assert_eq!(place(&By::Flow(10.0, "q".to_owned())), [Some(5), Some(30)]);
        // Labels faster than rows: the last one in time counts, also the tenth after the ninth.
        let many: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        let cells: Vec<[&str; 1]> = many.iter().map(|n| [n.as_str()]).collect();
        let cells: Vec<&[&str]> = cells.iter().map(<[&str; 1]>::as_slice).collect();
        let fast: Vec<f64> = (0..12).map(|n| 15.0 + f64::from(n) / 20.0).collect();
        let labels = table(&["ok"], &cells, &fast);
        let mut frame = table(&["q"], &rows, &times);
        let joined = join(&mut frame, &labels, &By::Delay(10.0), &LabelColumns::default()).unwrap();
        assert_eq!((joined.labels, joined.hidden, joined.rows), (12, 11, 1));
        assert_eq!(texts(&frame, "ok")[5].as_deref(), Some("11"));
        let mut frame = table(&["q"], &[&["-1"], &["1"]], &[0.0, 1.0]);
        let by = By::Flow(1.0, "q".to_owned());
        assert!(join(&mut frame, &labels, &by, &LabelColumns::default()).is_err());
    }
}
