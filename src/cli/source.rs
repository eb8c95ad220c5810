//! Where rows to learn from come from: files, or the history of this project.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use clap::{Args, ValueEnum};

use super::model::{digests, failure};
use super::select::{SelectArgs, read_failure};
use super::{Failure, Global, Ui};
use crate::export::{Cell, Every, Sheet, What, WriteTable};
use crate::learn::{self, Frame, FrameBuilder, FrameCell, LearnError};
use crate::output::Zone;

/// Which rows of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum History {
    /// A row for each part, a column for each feature; labels of the store by --label
    Features,
    /// A row for each time, a column for each tag
    Samples,
}

/// Files, or a range of the history.
#[derive(Clone, Debug, Args)]
pub(super) struct SourceArgs {
    /// Tables (CSV, Parquet), one after the other
    #[arg(long, env = "TRIMLOOP_DATA", hide_env = true, value_name = "FILE", num_args = 1.., required_unless_present = "history")]
    pub(super) data: Vec<PathBuf>,
    /// Rows of this project's history instead of files
    #[arg(long, env = "TRIMLOOP_HISTORY", hide_env = true, value_enum, conflicts_with = "data")]
    history: Option<History>,
    /// History from this time on, in UTC
    #[arg(long, env = "TRIMLOOP_FROM", hide_env = true, value_name = "TIME", requires = "history")]
    from: Option<String>,
    /// History before this time
    #[arg(long, env = "TRIMLOOP_TO", hide_env = true, value_name = "TIME", requires = "history")]
    to: Option<String>,
    /// The last 1h or 7d of the history
    #[arg(long, env = "TRIMLOOP_LAST", hide_env = true, value_name = "LENGTH", requires = "history", conflicts_with_all = ["from", "to"])]
    last: Option<String>,
    /// Only these tags or features of the history; * and ? stand for any text and letter
    #[arg(
        long,
        env = "TRIMLOOP_TAGS",
        hide_env = true,
        value_name = "NAMES",
        value_delimiter = ',',
        requires = "history"
    )]
    tags: Vec<String>,
    /// Samples of the history as they came, or means of 1s, 1m, 1h
    #[arg(long, env = "TRIMLOOP_EVERY", hide_env = true, value_enum, default_value_t = Every::Second, hide_default_value = true, hide_possible_values = true)]
    every: Every,
}

impl SourceArgs {
    /// The rows.
    ///
    /// - `label`: a characteristic of the store whose labels are joined by part, when the rows
    ///   have no such column.
    pub(super) fn frame(
        &self,
        ui: &Ui,
        global: &Global,
        label: Option<&str>,
    ) -> Result<Frame, Failure> {
        let Some(history) = self.history else {
            return learn::read::frame(&self.data).map_err(|error| failure(&error));
        };
        let mut frame = self.read(ui, global, history)?;
        if history == History::Features {
            if let Some(label) = label.filter(|label| frame.column(label).is_none()) {
                self.labels(ui, global, label, &mut frame)?;
            }
            // A number that only counts up would be learnt by heart.
            frame.remove("part");
        }
        Ok(frame)
    }

    /// SHA-256 of the files; of a history nothing, its rows are known by their times.
    pub(super) fn digests(&self) -> Result<Vec<String>, LearnError> {
        digests(&self.data)
    }

    /// What it is, for people.
    pub(super) fn name(&self) -> String {
        match self.history {
            Some(_) => "the history".to_owned(),
            None => {
                let names = self.data.iter().map(|path| path.display().to_string());
                names.collect::<Vec<String>>().join(", ")
            }
        }
    }

    fn read(&self, ui: &Ui, global: &Global, history: History) -> Result<Frame, Failure> {
        let (what, every) = match history {
            History::Features => (What::Features, Every::Raw),
            History::Samples => (What::Samples, self.every),
        };
        let range = SelectArgs::wide(&self.from, &self.to, &self.last, every);
        let selected = range.select(ui, global, what, &self.tags, None)?;
        let names = selected.selection.names.clone();
        let mut columns = names;
        if history == History::Features {
            columns.insert(0, ("part".to_owned(), String::new()));
        }
        let mut builder = FrameBuilder::default();
        let places = builder
            .begin(&PathBuf::from("history"), &columns, Some("time"))
            .map_err(|error| failure(&error))?;
        // Between two samples of a tag its last value holds; a feature of a part does not.
        let held = (history == History::Samples).then(|| vec![f64::NAN; columns.len()]);
        let mut rows = Rows { builder, places, held };
        let table = WriteTable::new(&selected.selection);
        table.run(&selected.archive, &mut rows).map_err(|error| read_failure(&error))?;
        rows.builder.finish().map_err(|_| selected.no_rows())
    }

    /// Labels of the store, by part; the last one of a part counts.
    fn labels(
        &self,
        ui: &Ui,
        global: &Global,
        label: &str,
        frame: &mut Frame,
    ) -> Result<(), Failure> {
        // Labels come later than their parts: the end of the range is left open.
        let range = SelectArgs::long(&self.from, &None, &self.last);
        let selected = range.select(ui, global, What::Labels, &[label.to_owned()], None)?;
        let found = Rc::new(RefCell::new(Vec::new()));
        let table = WriteTable::new(&selected.selection);
        let mut rows = LabelRows(Rc::clone(&found));
        table.run(&selected.archive, &mut rows).map_err(|error| read_failure(&error))?;
        let units = selected.selection.names.first().map(|(_, unit)| unit.clone());
        let by_part: std::collections::HashMap<i64, f64> = found.borrow().iter().copied().collect();
        let parts = frame.need("part").and_then(|column| column.numbers().map(<[f64]>::to_vec));
        let parts = parts.map_err(|error| failure(&error))?;
        #[expect(clippy::cast_possible_truncation, reason = "part ids are whole numbers")]
        let value = |part: &f64| by_part.get(&(*part as i64)).copied().unwrap_or(f64::NAN);
        let values = parts.iter().map(value).collect();
        frame.put(learn::Column::of_numbers(label, &units.unwrap_or_default(), values));
        Ok(())
    }
}

/// Rows of a wide table into a frame.
struct Rows {
    builder: FrameBuilder,
    places: Vec<usize>,
    held: Option<Vec<f64>>,
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
        self.builder.at(&Zone::Utc.text(*utc, 3), *utc, f64::NAN);
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
