//! `trimloop query`: rows of the store on the terminal.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};

use clap::Args;
use serde_json::{Map, Value, json};

use trimloop_core::time::Span;

use super::select::{SelectArgs, Selected, read_failure};
use super::{Exit, Failure, Format, Global, Ui};
use crate::export::{Cell, Column, CsvSheet, Kind, ReadError, Sheet, What, WriteTable, cell_text};
use crate::output::Zone;

/// Rows that a table for people, or one JSON object, has at most unless asked for more.
const ROWS_SHOWN: usize = 1000;
/// Without a range, what came last.
const LENGTH: Span = Span::from_secs(3600);

const EXAMPLES: &str = "\
Examples:
  trimloop query melt_temp --last 1h --every 1m      Minutes of the last hour
  trimloop query melt_temp hold_pressure --wide --every 1s --last 5min
  trimloop query 'zone*' --from 2026-11-22T10:00 --to 2026-11-22T10:05
  trimloop query --what decisions --last 1d
  trimloop query --what events link_down tripped --last 7d --local
  trimloop query melt_temp --last 1d --format csv > melt.csv
  trimloop query --what decisions --data demo/data   Of another folder, such as a demo's

Without a range: the last hour. A table shows the last 1000 rows; --rows 0 shows all. CSV and
jsonl always have all. The service may run.";

/// What to show.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct QueryArgs {
    /// Only these tags (features, models, loops, …); * and ? stand for any text and letter
    names: Vec<String>,
    /// Which rows
    #[arg(long, env = "TRIMLOOP_WHAT", hide_env = true, value_enum, default_value_t)]
    what: What,
    #[command(flatten)]
    select: SelectArgs,
    /// Show at most the last N rows; 0 = all [default: 1000, CSV and jsonl: all]
    #[arg(long, env = "TRIMLOOP_ROWS", hide_env = true, value_name = "N")]
    rows: Option<usize>,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &QueryArgs) -> Result<Exit, Failure> {
    let selected = args.select.select(ui, global, args.what, &args.names, Some(LENGTH))?;
    let table = WriteTable::new(&selected.selection);
    let columns = table.columns();
    match global.format {
        Format::Csv => {
            let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
            let sheet = CsvSheet::new(out, &columns, selected.zone).map(Box::new);
            let sheet = sheet.map_err(|error| read_failure(&ReadError::Write(error)))?;
            fill(&selected, table, sheet)?;
        }
        Format::Jsonl => {
            let out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
            fill(&selected, table, Box::new(Lines { out, columns, zone: selected.zone }))?;
        }
        Format::Human | Format::Json => {
            let most = match args.rows {
                Some(0) => usize::MAX,
                most => most.unwrap_or(ROWS_SHOWN),
            };
            let mut last = Last { rows: VecDeque::new(), most, columns, zone: selected.zone };
            let all =
                table.run(&selected.archive, &mut last).map_err(|error| read_failure(&error))?;
            if all == 0 {
                return Err(selected.no_rows());
            }
            last.show(ui, all);
        }
    }
    Ok(Exit::Ok)
}

fn fill(
    selected: &Selected,
    table: WriteTable<'_>,
    mut sheet: Box<dyn Sheet + '_>,
) -> Result<(), Failure> {
    let rows = match table.run(&selected.archive, sheet.as_mut()) {
        // Nobody reads any more, such as `head`: that is no failure.
        Err(ReadError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        other => other.map_err(|error| read_failure(&error))?,
    };
    match sheet.finish() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(read_failure(&ReadError::Write(error)))
        }
        _ if rows == 0 => Err(selected.no_rows()),
        _ => Ok(()),
    }
}

fn cell_json(cell: &Cell<'_>, kind: Kind, zone: Zone) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Int(i) => json!(i),
        Cell::Bool(b) => json!(b),
        Cell::Float(x) if x.is_finite() => json!(x),
        cell => Value::String(cell_text(cell, kind, zone)),
    }
}

/// One JSON object a row.
pub(super) struct Lines<W> {
    pub(super) out: W,
    pub(super) columns: Vec<Column>,
    pub(super) zone: Zone,
}

impl<W: Write> Sheet for Lines<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let pairs = self.columns.iter().zip(cells);
        let object: Map<String, Value> = pairs
            .map(|(column, cell)| (column.title(), cell_json(cell, column.kind, self.zone)))
            .collect();
        serde_json::to_writer(&mut self.out, &object)?;
        self.out.write_all(b"\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// The last rows.
struct Last {
    rows: VecDeque<Vec<Value>>,
    most: usize,
    columns: Vec<Column>,
    zone: Zone,
}

impl Sheet for Last {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        if self.rows.len() >= self.most {
            self.rows.pop_front();
        }
        let pairs = self.columns.iter().zip(cells);
        self.rows.push_back(
            pairs.map(|(column, cell)| cell_json(cell, column.kind, self.zone)).collect(),
        );
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl Last {
    fn show(self, ui: &Ui, all: u64) {
        let left_out = all - self.rows.len() as u64;
        let columns: Vec<Value> = self
            .columns
            .iter()
            .map(|column| json!({ "name": column.name, "unit": column.unit }))
            .collect();
        let human = self.table();
        let mut object = ui.head("trimloop.query/1", true);
        object["columns"] = json!(columns);
        object["left_out"] = json!(left_out);
        object["rows"] = json!(self.rows);
        ui.result(&human, &object);
        if left_out > 0 {
            let shown = self.rows.len();
            ui.note(&format!("the last {shown} of {all} rows; --rows 0 shows all"));
        }
    }

    fn table(&self) -> String {
        let text = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.replace(['\n', '\r'], " "),
            other => other.to_string(),
        };
        let titles: Vec<String> = self.columns.iter().map(Column::title).collect();
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(text).collect()).collect();
        let mut widths: Vec<usize> = titles.iter().map(|title| title.chars().count()).collect();
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut out = String::new();
        for row in std::iter::once(&titles).chain(&rows) {
            let mut line = String::new();
            for ((cell, width), column) in row.iter().zip(&widths).zip(&self.columns) {
                let is_number = matches!(column.kind, Kind::Int | Kind::Number);
                line.push_str(&if is_number {
                    format!("{cell:>width$}  ")
                } else {
                    format!("{cell:width$}  ")
                });
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}
