//! Rows out of the InfluxDB of the settings: what trimloop sent there, or what a query says.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;

use super::{Found, Recorded, Rows, SourceArgs};
use crate::cli::load::settings;
use crate::cli::model::failure;
use crate::cli::select::{bad_length, choose, instant};
use crate::cli::{Exit, Failure, Global, Ui};
use crate::error::{
    CONNECTOR_REFUSED, CONNECTOR_UNKNOWN, CONNECTOR_UNREACHABLE, INFLUX_QUERY, NO_ROWS,
};
use crate::export::{Archive, Cell, Sheet as _, What};
use crate::learn::{Frame, FrameBuilder, FrameCell, LearnError};
use crate::output::{Zone, parse_length};
use crate::settings::InfluxSettings;
use crate::sink::{Block, QueryError, query, quoted};

/// Most cells of an answer: 0.8 GB of numbers.
const CELLS_MAX: usize = 100_000_000;
/// OPC UA: both severity bits of a status code are 10 or 11 where it is Bad.
const BAD: i64 = 2;

/// The server, and which of its rows.
pub(super) struct Influx<'a> {
    args: &'a SourceArgs,
    settings: InfluxSettings,
    data: std::path::PathBuf,
    /// From and before when [ns UTC].
    range: (Option<i64>, Option<i64>),
}

impl<'a> Influx<'a> {
    pub(super) fn new(ui: &Ui, global: &Global, args: &'a SourceArgs) -> Result<Self, Failure> {
        let all = settings(global)?;
        let Some(influx) = all.influx else {
            let message = "the settings do not say which InfluxDB: they have no table [influx]";
            let help = "add [influx] with url, dialect and database to trimloop.toml, or name a \
                        folder whose trimloop.toml has one by --config";
            return Err(
                Failure::new(&CONNECTOR_UNKNOWN, message.to_owned(), Exit::Usage).help(help)
            );
        };
        let at = |text: &Option<String>| {
            text.as_deref().map(|text| instant(text, Zone::Utc)).transpose()
        };
        let mut range = (at(&args.from)?, at(&args.to)?);
        if let Some(text) = &args.last {
            let length = parse_length(text).ok_or_else(|| bad_length(text))?;
            range.0 = Some(ui.clock().utc().as_nanos().saturating_sub(length.as_nanos()));
        }
        Ok(Self { args, settings: influx, data: all.data, range })
    }

    /// What the sink sent: a row for each time or part, a column for each name.
    pub(super) fn recorded(&self, which: Recorded) -> Result<Frame, Failure> {
        match which {
            Recorded::Samples => self.samples(),
            Recorded::Features => self.features(),
        }
    }

    fn samples(&self) -> Result<Frame, Failure> {
        let names = self.names(What::Samples, "trimloop_sample", "tag")?;
        let mut rows = Rows::new("influx", &names, Recorded::Samples).map_err(|e| failure(&e))?;
        let places = places(&names);
        let step = self.args.every.step();
        let mut line = Line::new(names.len());
        let mut cells = 0;
        let q = format!(
            "SELECT \"tag\", \"value\", \"ivalue\", \"bvalue\", \"quality\" FROM \
             \"trimloop_sample\" WHERE {}{}",
            self.which_rows(self.range, step),
            one_of("tag", &names, self.args.tags.is_empty())
        );
        self.ask(&q, &mut |block| {
            let column = |name: &str| block.columns.iter().position(|column| column == name);
            let (time, tag, quality) = (column("time"), column("tag"), column("quality"));
            let values = ["value", "ivalue", "bvalue"].map(column);
            for row in &block.values {
                let at = |place: Option<usize>| place.and_then(|place| row.get(place));
                let Some(utc) = at(time).and_then(Value::as_i64) else { continue };
                let tag = at(tag).and_then(Value::as_str).and_then(|tag| places.get(tag));
                let Some(tag) = tag else { continue };
                let utc = step.map_or(utc, |step| utc - utc.rem_euclid(step));
                if line.begins(utc) {
                    cells += names.len();
                    enough(cells)?;
                    line.end(&mut rows);
                }
                line.utc = Some(utc);
                let quality = at(quality).and_then(Value::as_i64).unwrap_or(0);
                let value = values.into_iter().find_map(|place| at(place).and_then(number));
                if let Some(value) = value.filter(|_| (quality >> 30) & 3 < BAD) {
                    line.take(*tag, value, step.is_some());
                }
            }
            Ok(())
        })?;
        line.end(&mut rows);
        rows.builder.finish().map_err(|_| self.no_rows("samples"))
    }

    fn features(&self) -> Result<Frame, Failure> {
        let names = self.names(What::Features, "trimloop_feature", "feature")?;
        let mut columns = names.clone();
        columns.insert(0, ("part".to_owned(), String::new()));
        let mut rows =
            Rows::new("influx", &columns, Recorded::Features).map_err(|e| failure(&e))?;
        let places = places(&columns);
        let mut line = Line::new(columns.len());
        let mut cells = 0;
        let q = format!(
            "SELECT \"feature\", \"value\", \"part\" FROM \"trimloop_feature\" WHERE {}{}",
            self.which_rows(self.range, None),
            one_of("feature", &names, self.args.tags.is_empty())
        );
        self.ask(&q, &mut |block| {
            let column = |name: &str| block.columns.iter().position(|column| column == name);
            let wanted = ["time", "feature", "value", "part"].map(column);
            for row in &block.values {
                let [time, feature, value, part] =
                    wanted.map(|place| place.and_then(|place| row.get(place)));
                let Some(utc) = time.and_then(Value::as_i64) else { continue };
                let Some(part) = part.and_then(Value::as_f64) else { continue };
                let place = feature.and_then(Value::as_str).and_then(|name| places.get(name));
                if line.begins(utc) {
                    cells += columns.len();
                    enough(cells)?;
                    line.end(&mut rows);
                }
                line.utc = Some(utc);
                line.take(0, part, false);
                if let (Some(place), Some(x)) = (place, value.and_then(Value::as_f64)) {
                    line.take(*place, x, false);
                }
            }
            Ok(())
        })?;
        line.end(&mut rows);
        rows.builder.finish().map_err(|_| self.no_rows("features"))
    }

    /// Labels of a characteristic; they come later than their parts, so the end is left open.
    pub(super) fn labels(&self, label: &str) -> Result<Found, Failure> {
        let mut labels = Vec::new();
        let q = format!(
            "SELECT \"part\", \"value\" FROM \"trimloop_label\" WHERE {} AND \
             \"characteristic\" = {}",
            self.which_rows((self.range.0, None), None),
            quoted(label)
        );
        self.ask(&q, &mut |block| {
            for row in &block.values {
                let part = row.get(1).and_then(Value::as_i64);
                labels.extend(part.zip(row.get(2).and_then(Value::as_f64)));
                enough(labels.len())?;
            }
            Ok(())
        })?;
        if labels.is_empty() {
            let known = self.values_of("trimloop_label", "characteristic")?;
            return Err(failure(&LearnError::Columns { missing: vec![label.to_owned()], known }));
        }
        let units = self.known(What::Labels);
        let unit = units.into_iter().find(|(known, _)| known == label);
        let unit = unit.map(|(_, unit)| unit).unwrap_or_default();
        Ok(Found { unit, labels })
    }

    /// The answer to a query of somebody's own: a column for each field; with `GROUP BY` a tag, one
    /// for each of its values.
    pub(super) fn table(&self, q: &str) -> Result<Frame, Failure> {
        let mut table = Table::default();
        self.ask(q, &mut |block| table.take(block))?;
        table.frame().map_err(|error| match error {
            LearnError::NoRows(_) => self.no_rows("answers to this query"),
            other => failure(&other),
        })
    }

    /// Names of the server that were asked for: this project's order and units where it knows them.
    fn names(
        &self,
        what: What,
        measurement: &str,
        tag: &str,
    ) -> Result<Vec<(String, String)>, Failure> {
        let there = self.values_of(measurement, tag)?;
        if there.is_empty() {
            return Err(self.no_rows(what.word()));
        }
        let ours = self.known(what);
        let place = |name: &String| {
            let at = ours.iter().position(|(known, _)| known == name);
            (at.unwrap_or(usize::MAX), name.clone())
        };
        let mut units: HashMap<String, String> = ours.iter().cloned().collect();
        let mut there = there;
        there.sort_by_key(place);
        let named = |name: String| {
            let unit = units.remove(&name).unwrap_or_default();
            (name, unit)
        };
        let there = there.into_iter().map(named).collect();
        choose(there, &self.args.tags, "the InfluxDB", what)
    }

    fn values_of(&self, measurement: &str, tag: &str) -> Result<Vec<String>, Failure> {
        let q = format!(
            "SHOW TAG VALUES FROM \"{measurement}\" WITH KEY = \"{tag}\" WHERE {}",
            self.origin()
        );
        let mut found = Vec::new();
        self.ask(&q, &mut |block| {
            let text = |row: &Vec<Value>| row.get(1).and_then(Value::as_str).map(str::to_owned);
            found.extend(block.values.iter().filter_map(text));
            Ok(())
        })?;
        Ok(found)
    }

    /// Names of this project's own store, in their order; none where there is no store.
    fn known(&self, what: What) -> Vec<(String, String)> {
        let archive = Archive::open(&self.data).ok();
        archive.and_then(|archive| archive.names(what).ok()).unwrap_or_default()
    }

    /// This cell's rows, as our lines name it.
    fn origin(&self) -> String {
        let mut origin = format!("\"cell\" = {}", quoted(&self.settings.cell));
        if !self.settings.site.is_empty() {
            origin.push_str(&format!(" AND \"site\" = {}", quoted(&self.settings.site)));
        }
        origin
    }

    /// Buckets at the ends of the range are whole ones.
    fn which_rows(&self, range: (Option<i64>, Option<i64>), step: Option<i64>) -> String {
        let mut rows = self.origin();
        if let Some(from) = range.0 {
            let from = step.map_or(from, |step| from - from.rem_euclid(step));
            rows.push_str(&format!(" AND time >= {from}"));
        }
        if let Some(to) = range.1 {
            let over = step.map_or(0, |step| (-to).rem_euclid(step));
            rows.push_str(&format!(" AND time < {}", to.saturating_add(over)));
        }
        rows
    }

    fn ask(
        &self,
        q: &str,
        take: &mut dyn FnMut(Block) -> Result<(), QueryError>,
    ) -> Result<(), Failure> {
        query(&self.settings, q, take).map_err(|error| {
            let text = error.to_string();
            match error {
                QueryError::Local(_) => Failure::new(&CONNECTOR_REFUSED, text, Exit::Usage)
                    .help("make the file readable for this user, or correct its name in [influx]"),
                QueryError::Away { .. } => {
                    Failure::new(&CONNECTOR_UNREACHABLE, text, Exit::Unreachable)
                        .help("see that the server runs and that influx.url is its address")
                }
                QueryError::Refused { .. } => Failure::new(&CONNECTOR_REFUSED, text, Exit::Failed)
                    .help("correct database, bucket, user or token in [influx]"),
                QueryError::Query(_) => Failure::new(&INFLUX_QUERY, text, Exit::Failed)
                    .help("see `trimloop explain TL0717`"),
                QueryError::Stopped(_) => Failure::new(&INFLUX_QUERY, text, Exit::Failed)
                    .help("narrow --from and --to, name fewer --tags, or take means: --every 1m"),
            }
        })
    }

    fn no_rows(&self, what: &str) -> Failure {
        let s = &self.settings;
        let place = if s.database.is_empty() { &s.bucket } else { &s.database };
        let message = format!("there are no {what} in {place} of {}", s.url);
        let help = format!(
            "rows of cell \"{}\" are looked for, in the range that was asked for; `trimloop \
             connector status` says what was sent",
            s.cell
        );
        Failure::new(&NO_ROWS, message, Exit::Failed).help(help)
    }
}

fn places(names: &[(String, String)]) -> HashMap<&str, usize> {
    names.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect()
}

/// A condition for chosen names; none where all are meant.
fn one_of(key: &str, names: &[(String, String)], all: bool) -> String {
    if all {
        return String::new();
    }
    let each: Vec<String> =
        names.iter().map(|(name, _)| format!("\"{key}\" = {}", quoted(name))).collect();
    format!(" AND ({})", each.join(" OR "))
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(f64::from))
}

fn enough(cells: usize) -> Result<(), QueryError> {
    if cells <= CELLS_MAX {
        return Ok(());
    }
    Err(QueryError::Stopped(format!("the answer is larger than {CELLS_MAX} values")))
}

/// The row that is being filled: the last value of each column, or the mean.
struct Line {
    utc: Option<i64>,
    sums: Vec<(f64, f64)>,
}

impl Line {
    fn new(columns: usize) -> Self {
        Self { utc: None, sums: vec![(0.0, 0.0); columns] }
    }

    /// Whether a time is not that of this row.
    fn begins(&self, utc: i64) -> bool {
        self.utc.is_some_and(|at| at != utc)
    }

    fn take(&mut self, column: usize, value: f64, adds: bool) {
        if let Some(slot) = self.sums.get_mut(column) {
            *slot = if adds { (slot.0 + value, slot.1 + 1.0) } else { (value, 1.0) };
        }
    }

    fn end(&mut self, rows: &mut Rows) {
        let Some(utc) = self.utc.take() else { return };
        let mut cells = vec![Cell::Time(utc)];
        for slot in &mut self.sums {
            let (sum, count) = std::mem::take(slot);
            cells.push(if count > 0.0 { Cell::Float(sum / count) } else { Cell::Null });
        }
        // Into memory; nothing can fail.
        rows.row(&cells).unwrap_or_default();
    }
}

/// The answer to a query of somebody's own, on its way.
#[derive(Default)]
struct Table {
    measurement: Option<String>,
    columns: Vec<String>,
    places: HashMap<String, usize>,
    rows: BTreeMap<(i64, usize), Vec<(usize, Value)>>,
    cells: usize,
}

impl Table {
    fn take(&mut self, block: Block) -> Result<(), QueryError> {
        let wrong = |why: &str| Err(QueryError::Query(why.to_owned()));
        let known = self.measurement.get_or_insert_with(|| block.name.clone());
        if *known != block.name {
            return wrong("the answer has rows of several measurements; ask for one");
        }
        if block.columns.first().is_none_or(|title| title != "time") {
            return wrong("the answer has no times; rows to learn from need them");
        }
        let group: Vec<&str> = block.tags.values().map(String::as_str).collect();
        let group = group.join(".");
        let fields = block.columns.get(1..).unwrap_or_default();
        let titles: Vec<String> = fields
            .iter()
            .map(|field| match (group.as_str(), fields.len()) {
                ("", _) => field.clone(),
                (group, 1) => group.to_owned(),
                (group, _) => format!("{group}.{field}"),
            })
            .collect();
        let places: Vec<usize> = titles.iter().map(|title| self.place(title)).collect();
        // Rows of one series that share a time stay apart; those of several meet.
        let mut before = (i64::MIN, 0);
        for row in block.values {
            let Some(utc) = row.first().and_then(Value::as_i64) else {
                return wrong("a row of the answer has no time");
            };
            before = if before.0 == utc { (utc, before.1 + 1) } else { (utc, 0) };
            let cells = self.rows.entry(before).or_default();
            for (place, value) in places.iter().zip(row.into_iter().skip(1)) {
                if !value.is_null() {
                    cells.push((*place, value));
                    self.cells += 1;
                }
            }
            enough(self.cells)?;
        }
        Ok(())
    }

    fn place(&mut self, title: &str) -> usize {
        if let Some(place) = self.places.get(title) {
            return *place;
        }
        let place = self.columns.len();
        self.places.insert(title.to_owned(), place);
        self.columns.push(title.to_owned());
        place
    }

    fn frame(self) -> Result<Frame, LearnError> {
        let mut builder = FrameBuilder::default();
        let columns: Vec<(String, String)> =
            self.columns.into_iter().map(|name| (name, String::new())).collect();
        let places = builder.begin(Path::new("influx"), &columns, Some("time"))?;
        for (line, ((utc, _), cells)) in (1..).zip(self.rows) {
            for (at, value) in cells {
                let Some(place) = places.get(at) else { continue };
                let cell = match (number(&value), &value) {
                    (Some(x), _) => FrameCell::Number(x),
                    (None, Value::String(text)) => FrameCell::Text(text, line, at + 2),
                    _ => FrameCell::Missing,
                };
                builder.cell(*place, cell);
            }
            builder.at(&Zone::Utc.text(utc, 9), utc, f64::NAN);
            builder.end_row();
        }
        builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn block(tags: &[(&str, &str)], columns: &[&str], values: Value) -> Block {
        let tags: serde_json::Map<String, Value> =
            tags.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let object = json!({"name": "m", "tags": tags, "columns": columns, "values": values});
        serde_json::from_value(object).unwrap()
    }

    /// Grouped series become columns that meet by time, floats to the last bit; a block that ends
    /// within a series goes on.
    #[test]
    fn series_become_columns() {
        let mut table = Table::default();
        let x = 0.1_f64 + 0.2;
        table.take(block(&[("tag", "a")], &["time", "mean"], json!([[2, x]]))).unwrap();
        table.take(block(&[("tag", "a")], &["time", "mean"], json!([[5, 1]]))).unwrap();
        table
            .take(block(&[("tag", "b")], &["time", "mean"], json!([[1, true], [5, null]])))
            .unwrap();
        let frame = table.frame().unwrap();
        assert_eq!(frame.names(), ["a", "b"]);
        let a = frame.need("a").unwrap().numbers().unwrap();
        assert!(a[0].is_nan() && a[1].to_bits() == x.to_bits() && a[2] == 1.0, "{a:?}");
        assert_eq!(frame.shown_time(1), "1970-01-01T00:00:00.000000002Z");
        let mut table = Table::default();
        let titles = ["time", "x", "class"];
        table.take(block(&[], &titles, json!([[1, 2, "ok"], [1, 3, "nok"]]))).unwrap();
        let frame = table.frame().unwrap();
        assert_eq!((frame.rows(), frame.need("class").unwrap().is_text()), (2, true));
        let mut table = Table::default();
        assert!(table.take(block(&[], &["key", "value"], json!([["a", "b"]]))).is_err());
        assert!(enough(CELLS_MAX + 1).unwrap_err().to_string().contains("larger"));
    }
}
