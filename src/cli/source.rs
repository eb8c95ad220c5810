//! Where rows to learn from come from: files, the history of this project, or an InfluxDB.

mod influx;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use clap::{Args, ValueEnum};

use super::load::settings;
use super::model::{digests, failure};
use super::select::{SelectArgs, read_failure};
use super::{Exit, Failure, Global, Ui};
use crate::error::{LABELS, chain};
use crate::export::{Cell, Every, Sheet, What, WriteTable};
use crate::labels::{self, Kept, LabelError, LabelStore};
use crate::learn::{self, Frame, FrameBuilder, FrameCell, LearnError};
use crate::output::Zone;

/// Which rows that trimloop recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Recorded {
    /// A row for each part, a column for each feature; labels of the store by --label
    Features,
    /// A row for each time, a column for each tag
    Samples,
}

/// Files, a range of the history, or an InfluxDB.
#[derive(Clone, Debug, Args)]
pub(super) struct SourceArgs {
    /// Tables (CSV, Parquet), one after the other
    #[arg(long, env = "TRIMLOOP_DATA", hide_env = true, value_name = "FILE", num_args = 1.., required_unless_present_any = ["history", "influx", "query"])]
    pub(super) data: Vec<PathBuf>,
    /// Rows of this project's history instead of files
    #[arg(
        long,
        env = "TRIMLOOP_HISTORY",
        hide_env = true,
        value_enum,
        conflicts_with = "data",
        group = "recorded"
    )]
    history: Option<Recorded>,
    /// The same rows out of the InfluxDB of [influx], to which trimloop sent them
    #[arg(
        long,
        env = "TRIMLOOP_INFLUX",
        hide_env = true,
        value_enum,
        conflicts_with_all = ["data", "history"],
        group = "recorded"
    )]
    influx: Option<Recorded>,
    /// Other rows of that InfluxDB: SELECT … in InfluxQL
    #[arg(long, env = "TRIMLOOP_QUERY", hide_env = true, value_name = "SELECT", conflicts_with_all = ["data", "history", "influx"])]
    query: Option<String>,
    /// History from this time on, in UTC
    #[arg(
        long,
        env = "TRIMLOOP_FROM",
        hide_env = true,
        value_name = "TIME",
        requires = "recorded"
    )]
    from: Option<String>,
    /// History before this time
    #[arg(long, env = "TRIMLOOP_TO", hide_env = true, value_name = "TIME", requires = "recorded")]
    to: Option<String>,
    /// The last 1h or 7d of the history
    #[arg(long, env = "TRIMLOOP_LAST", hide_env = true, value_name = "LENGTH", requires = "recorded", conflicts_with_all = ["from", "to"])]
    last: Option<String>,
    /// Only these tags or features of the history; * and ? stand for any text and letter
    #[arg(
        long,
        env = "TRIMLOOP_TAGS",
        hide_env = true,
        value_name = "NAMES",
        value_delimiter = ',',
        requires = "recorded"
    )]
    tags: Vec<String>,
    /// Samples of the history as they came, or means of 1s, 1m, 1h
    #[arg(long, env = "TRIMLOOP_EVERY", hide_env = true, value_enum, default_value_t = Every::Second, hide_default_value = true, hide_possible_values = true)]
    every: Every,
    /// Column of part ids, for labels that were imported [default: part, else part_id]
    #[arg(long, env = "TRIMLOOP_PART", hide_env = true, value_name = "COLUMN")]
    part: Option<String>,
}

impl SourceArgs {
    /// The rows.
    ///
    /// - `label`: a characteristic whose labels are joined by part when the rows have no such
    ///   column: those that were imported, else those of the history.
    pub(super) fn frame(
        &self,
        ui: &Ui,
        global: &Global,
        label: Option<&str>,
    ) -> Result<Frame, Failure> {
        let mut frame = self.with_parts(ui, global, label)?;
        if self.history.or(self.influx) == Some(Recorded::Features) {
            // A number that only counts up would be learnt by heart.
            frame.remove("part");
        }
        Ok(frame)
    }

    /// The same, in which features of the history keep the part that they are of.
    pub(super) fn with_parts(
        &self,
        ui: &Ui,
        global: &Global,
        label: Option<&str>,
    ) -> Result<Frame, Failure> {
        let influx = || influx::Influx::new(ui, global, self);
        if let Some(q) = &self.query {
            return influx()?.table(q);
        }
        let (which, mut frame) = match (self.history, self.influx) {
            (Some(which), _) => (which, self.read(ui, global, which)?),
            (None, Some(which)) => (which, influx()?.recorded(which)?),
            (None, None) => {
                let mut frame = learn::read::frame(&self.data).map_err(|error| failure(&error))?;
                if let Some(label) = label.filter(|label| frame.column(label).is_none()) {
                    self.imported(ui, global, label, &mut frame)?;
                }
                return Ok(frame);
            }
        };
        if which == Recorded::Features
            && let Some(label) = label.filter(|label| frame.column(label).is_none())
            && !self.imported(ui, global, label, &mut frame)?
        {
            let found = match self.influx {
                Some(_) => influx()?.labels(label)?,
                None => self.labels(ui, global, label)?,
            };
            put_labels(&mut frame, label, found).map_err(|error| failure(&error))?;
        }
        Ok(frame)
    }

    /// SHA-256 of the files; of a history nothing, its rows are known by their times.
    pub(super) fn digests(&self) -> Result<Vec<String>, LearnError> {
        digests(&self.data)
    }

    /// What it is, for people.
    pub(super) fn name(&self) -> String {
        match (self.history, self.influx, &self.query) {
            (Some(_), ..) => "the history".to_owned(),
            (_, Some(_), _) | (_, _, Some(_)) => "InfluxDB".to_owned(),
            _ => {
                let names = self.data.iter().map(|path| path.display().to_string());
                names.collect::<Vec<String>>().join(", ")
            }
        }
    }

    fn read(&self, ui: &Ui, global: &Global, history: Recorded) -> Result<Frame, Failure> {
        let (what, every) = match history {
            Recorded::Features => (What::Features, Every::Raw),
            Recorded::Samples => (What::Samples, self.every),
        };
        let range = SelectArgs::wide(&self.from, &self.to, &self.last, every);
        let selected = range.select(ui, global, what, &self.tags, None)?;
        let names = selected.selection.names.clone();
        let mut columns = names;
        if history == Recorded::Features {
            columns.insert(0, ("part".to_owned(), String::new()));
        }
        let mut rows = Rows::new("history", &columns, history).map_err(|error| failure(&error))?;
        let table = WriteTable::new(&selected.selection);
        table.run(&selected.archive, &mut rows).map_err(|error| read_failure(&error))?;
        rows.builder.finish().map_err(|_| selected.no_rows())
    }

    /// Puts labels of `labels.db` to their rows; `false` when it has none of this name, or the
    /// rows have no part ids.
    fn imported(
        &self,
        ui: &Ui,
        global: &Global,
        label: &str,
        frame: &mut Frame,
    ) -> Result<bool, Failure> {
        let part = self
            .part
            .as_deref()
            .or_else(|| ["part", "part_id"].into_iter().find(|name| frame.column(name).is_some()));
        let (Some(part), Some(kept)) = (part, kept_labels(global)?) else { return Ok(false) };
        let joined = labels::put(frame, &kept, label, part).map_err(|error| failure(&error))?;
        let Some(joined) = joined else { return Ok(false) };
        // A number that only counts up would be learnt by heart.
        frame.remove(part);
        ui.note(&format!(
            "{} of {} rows have an imported label {label}; {} labels are of other parts",
            joined.rows,
            frame.rows(),
            joined.without_row
        ));
        Ok(true)
    }

    /// Labels of the store, by part.
    fn labels(&self, ui: &Ui, global: &Global, label: &str) -> Result<Found, Failure> {
        // Labels come later than their parts: the end of the range is left open.
        let range = SelectArgs::long(&self.from, &None, &self.last);
        let selected = range.select(ui, global, What::Labels, &[label.to_owned()], None)?;
        let found = Rc::new(RefCell::new(Vec::new()));
        let table = WriteTable::new(&selected.selection);
        let mut rows = LabelRows(Rc::clone(&found));
        table.run(&selected.archive, &mut rows).map_err(|error| read_failure(&error))?;
        let units = selected.selection.names.first().map(|(_, unit)| unit.clone());
        Ok(Found { unit: units.unwrap_or_default(), labels: found.take() })
    }
}

/// The newest value of every label that was imported; `None` where none ever was.
pub(super) fn kept_labels(global: &Global) -> Result<Option<Vec<Kept>>, Failure> {
    let wrong = |error: LabelError| label_failure(&error);
    let store = LabelStore::read_only(&settings(global)?.data).map_err(wrong)?;
    store.map(|store| store.labels(None, None, false)).transpose().map_err(wrong)
}

/// Labels that cannot be kept or read, for people.
pub(super) fn label_failure(error: &LabelError) -> Failure {
    let exit = match error {
        LabelError::Unit { .. } => Exit::Failed,
        LabelError::Sql { .. } | LabelError::Newer { .. } => Exit::Unreachable,
    };
    let failure = Failure::new(&LABELS, chain(error), exit);
    match error {
        LabelError::Unit { .. } => failure.help("convert the column; nothing was imported"),
        LabelError::Sql { .. } => failure.help("see that the data folder may be written"),
        LabelError::Newer { .. } => failure.help("use the trimloop that wrote it"),
    }
}

/// Labels of one characteristic: part and value, in the order they came.
struct Found {
    unit: String,
    labels: Vec<(i64, f64)>,
}

/// A column of labels by the column `part`; the last one of a part counts.
fn put_labels(frame: &mut Frame, label: &str, found: Found) -> Result<(), LearnError> {
    let by_part: std::collections::HashMap<i64, f64> = found.labels.into_iter().collect();
    #[expect(clippy::cast_possible_truncation, reason = "part ids are whole numbers")]
    let value = |part: &f64| by_part.get(&(*part as i64)).copied().unwrap_or(f64::NAN);
    let values = frame.need("part")?.numbers()?.iter().map(value).collect();
    frame.put(learn::Column::of_numbers(label, &found.unit, values));
    Ok(())
}

/// Rows of a wide table into a frame.
struct Rows {
    builder: FrameBuilder,
    places: Vec<usize>,
    held: Option<Vec<f64>>,
}

impl Rows {
    /// `columns` after the time, as `(name, unit)`.
    fn new(from: &str, columns: &[(String, String)], which: Recorded) -> Result<Self, LearnError> {
        let mut builder = FrameBuilder::default();
        let places = builder.begin(&PathBuf::from(from), columns, Some("time"))?;
        // Between two samples of a tag its last value holds; a feature of a part does not.
        let held = (which == Recorded::Samples).then(|| vec![f64::NAN; columns.len()]);
        Ok(Self { builder, places, held })
    }
}

impl Sheet for Rows {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let Some((Cell::Time(utc), rest)) = cells.split_first() else { return Ok(()) };
        for (index, (place, cell)) in self.places.iter().zip(rest).enumerate() {
            let mut x = cell.as_f64().unwrap_or(f64::NAN);
            if let Some(slot) = self.held.as_mut().and_then(|held| held.get_mut(index)) {
                if x.is_finite() {
                    *slot = x;
                }
                x = *slot;
            }
            let cell = if x.is_finite() { FrameCell::Number(x) } else { FrameCell::Missing };
            self.builder.cell(*place, cell);
        }
        // What is finer than a millisecond would else look like the same time twice.
        let digits = if utc.rem_euclid(1_000_000) == 0 { 3 } else { 9 };
        self.builder.at(&Zone::Utc.text(*utc, digits), *utc, f64::NAN);
        self.builder.end_row();
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// Part and value of labels, in the order they came.
pub(super) struct LabelRows(pub(super) Rc<RefCell<Vec<(i64, f64)>>>);

impl Sheet for LabelRows {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        // time, part, characteristic, unit, value, used
        let value = cells.get(4).and_then(Cell::as_f64);
        if let (Some(Cell::Int(part)), Some(value)) = (cells.get(1), value) {
            self.0.borrow_mut().push((*part, value));
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}
