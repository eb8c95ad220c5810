//! `trimloop data join`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use serde_json::json;

use crate::cli::model::{failure, write_new};
use crate::cli::source::{SourceArgs, kept_labels};
use crate::cli::{Exit, Failure, Global, Ui};
use crate::export::{Cell, Column, CsvSheet, Kind, Sheet};
use crate::labels::{self, Kept};
use crate::learn::join::{By, Joined, LabelColumns, join};
use crate::learn::{Frame, LearnError, Values, read};
use crate::output::{Zone, parse_length};

const EXAMPLES: &str = "\
Examples:
  trimloop data join --data parts.csv --labels lab.csv --by part_id --out joined.csv
  trimloop data join --data parts.csv --labels lab.csv --by part_id \\
      --characteristic what --source station --value result --out joined.csv
  trimloop data join --data line.csv --labels gauge.csv --delay 90s --out joined.csv
  trimloop data join --data line.csv --labels gauge.csv --volume 12.5 --flow throughput --out j.csv
  trimloop data join --data parts.csv --stored --by part_id --out joined.csv

A label is known by part, characteristic and source: given again it changes nothing, given again with
another value the last one counts. With --delay a label goes to the last row at or before its time
less the delay; with --volume to the row since which that much has flowed (integral of --flow, per
second). Labels without a row are counted.";

/// Which rows, which labels, how they meet.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct JoinArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Tables of labels
    #[arg(long, env = "TRIMLOOP_LABELS", hide_env = true, value_name = "FILE", num_args = 1.., required_unless_present = "stored")]
    labels: Vec<PathBuf>,
    /// Labels that were imported (`trimloop data labels`) instead of tables, by part
    #[arg(long, env = "TRIMLOOP_STORED", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue, conflicts_with_all = ["labels", "delay", "volume", "characteristic", "label_source", "value"], requires = "by")]
    stored: bool,
    /// Column of part ids in both
    #[arg(long, env = "TRIMLOOP_BY", hide_env = true, value_name = "COLUMN", conflicts_with_all = ["delay", "volume"])]
    by: Option<String>,
    /// The product is inspected so long after its row: 90s, 5min
    #[arg(
        long,
        env = "TRIMLOOP_DELAY",
        hide_env = true,
        value_name = "LENGTH",
        conflicts_with = "volume"
    )]
    delay: Option<String>,
    /// It is inspected when so much has flowed since its row
    #[arg(long, env = "TRIMLOOP_VOLUME", hide_env = true, requires = "flow")]
    volume: Option<f64>,
    /// Column of the flow, per second
    #[arg(long, env = "TRIMLOOP_FLOW", hide_env = true, value_name = "COLUMN")]
    flow: Option<String>,
    /// Column of the labels that says what is measured [default: each column is one]
    #[arg(long, env = "TRIMLOOP_CHARACTERISTIC", hide_env = true, value_name = "COLUMN")]
    characteristic: Option<String>,
    /// Column that says who measured
    #[arg(
        long = "source",
        id = "label_source",
        env = "TRIMLOOP_SOURCE",
        hide_env = true,
        value_name = "COLUMN"
    )]
    label_source: Option<String>,
    /// Column of the value, with --characteristic [default: value]
    #[arg(long, env = "TRIMLOOP_VALUE", hide_env = true, value_name = "COLUMN")]
    value: Option<String>,
    /// File to write (CSV)
    #[arg(short, long, env = "TRIMLOOP_OUT", hide_env = true, value_name = "FILE")]
    out: PathBuf,
    /// Write over a file that is there
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    force: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &JoinArgs) -> Result<Exit, Failure> {
    let mut frame = args.source.with_parts(ui, global, None)?;
    let kept = if args.stored { kept_labels(global)?.unwrap_or_default() } else { Vec::new() };
    let joined = match &args.by {
        Some(part) if args.stored => stored(&mut frame, &kept, part),
        _ => joined(args, &mut frame),
    };
    let joined = joined.map_err(|error| failure(&error))?;
    let bytes = csv(&frame).map_err(|error| failure(&LearnError::Write(error)))?;
    write_new(&args.out, &bytes, args.force)?;
    if joined.replaced > 0 {
        let count = joined.replaced;
        ui.warn(&format!("{count} labels were given again with another value; the last counts"));
    }
    if joined.hidden > 0 {
        ui.warn(&format!(
            "{} labels fall on a row that a later label has too; the last one counts: the rows come \
             less often than the labels",
            joined.hidden
        ));
    }
    let human = format!(
        "{} of {} rows have a label now, columns {}\n{} labels, {} of them given again, {} \
         replaced, {} without a row\nwritten to {}\n",
        joined.rows,
        frame.rows(),
        joined.columns.join(", "),
        joined.labels,
        joined.again,
        joined.replaced,
        joined.without_row,
        args.out.display()
    );
    let mut object = ui.head("trimloop.data.join/1", true);
    object["columns"] = json!(joined.columns);
    object["rows_labelled"] = json!(joined.rows);
    object["labels"] = json!(joined.labels);
    object["again"] = json!(joined.again);
    object["replaced"] = json!(joined.replaced);
    object["hidden"] = json!(joined.hidden);
    object["without_row"] = json!(joined.without_row);
    ui.result(&human, &object);
    Ok(Exit::Ok)
}

/// Every label that was imported, a column for each characteristic (and source).
fn stored(frame: &mut Frame, kept: &[Kept], part: &str) -> Result<Joined, LearnError> {
    if kept.is_empty() {
        let why = "no label was ever imported; see `trimloop data labels import`";
        return Err(LearnError::Label(why.to_owned()));
    }
    let mut all = Joined::default();
    for name in labels::characteristics(kept) {
        if frame.column(&name).is_some() {
            let why = format!("the rows have a column {name} already; leave it out or rename it");
            return Err(LearnError::Option(why));
        }
        if let Some(joined) = labels::put(frame, kept, &name, part)? {
            all.labels += joined.labels;
            all.without_row += joined.without_row;
            all.columns.push(name);
        }
    }
    let has = |row: &usize| {
        all.columns.iter().any(|name| frame.column(name).is_some_and(|c| c.written(*row).is_some()))
    };
    all.rows = (0..frame.rows()).filter(has).count();
    Ok(all)
}

fn joined(args: &JoinArgs, frame: &mut Frame) -> Result<Joined, LearnError> {
    let by = match (&args.by, &args.delay, args.volume, &args.flow) {
        (Some(part), ..) => By::Part(part.clone()),
        (None, Some(text), ..) => {
            let length = parse_length(text).ok_or_else(|| {
                LearnError::Option(format!("\"{text}\" is no length of time: write 90s or 5min"))
            })?;
            By::Delay(length.as_nanos() as f64 / 1e9)
        }
        (None, None, Some(volume), Some(flow)) if volume >= 0.0 => By::Flow(volume, flow.clone()),
        _ => {
            let why = "how labels find their rows is not said: --by COLUMN, --delay LENGTH, or \
                       --volume V --flow COLUMN";
            return Err(LearnError::Option(why.to_owned()));
        }
    };
    let labels = read::frame(&args.labels)?;
    let columns = LabelColumns {
        characteristic: args.characteristic.clone(),
        source: args.label_source.clone(),
        value: args.value.clone(),
    };
    join(frame, &labels, &by, &columns)
}

/// The rows as CSV, the time first.
fn csv(frame: &Frame) -> std::io::Result<Vec<u8>> {
    let time = frame.time().map(|time| Column::new(&time.name, Kind::Text));
    let mut columns: Vec<Column> = time.into_iter().collect();
    columns.extend(frame.columns().iter().map(|column| {
        let text = column.is_text() || column.is_spelt();
        let kind = if text { Kind::Text } else { Kind::Number };
        Column::of_unit(&column.name, &column.unit, kind)
    }));
    let mut bytes = Vec::new();
    let mut sheet = Box::new(CsvSheet::new(&mut bytes, &columns, Zone::Utc)?);
    for row in 0..frame.rows() {
        let mut cells = Vec::new();
        if frame.time().is_some() {
            cells.push(Cell::Text(frame.shown_time(row).into()));
        }
        for column in frame.columns() {
            cells.push(match &column.values {
                Values::Number(numbers) if !column.is_spelt() => match numbers.get(row) {
                    Some(x) if x.is_finite() => Cell::Float(*x),
                    _ => Cell::Null,
                },
                _ => column.written(row).map_or(Cell::Null, |text| Cell::Text(text.into())),
            });
        }
        sheet.row(&cells)?;
    }
    sheet.finish()?;
    Ok(bytes)
}
