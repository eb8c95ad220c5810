//! `trimloop export`: rows of the store into a file.

use std::cell::RefCell;
use std::io::{BufWriter, ErrorKind, stdout};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::{ArgAction, Args, builder::FalseyValueParser};
use serde_json::json;
use tokio::sync::oneshot::Receiver;

use super::run::Signals;
use super::select::{Progress, SelectArgs, Selected, read_failure};
use super::{Exit, Failure, Global, Ui};
use crate::error::{EXPORT_FEATURE, EXPORT_FILE, chain};
use crate::export::{
    Column, CsvSheet, FileError, FileFormat, OutputFile, ReadError, Sheet, What, WriteTable,
};
use crate::limits::bytes_text;

const EXAMPLES: &str = "\
Examples:
  trimloop export --out all.csv                            All samples there are
  trimloop export --last 7d --every 1m --out week.csv      Minimum, maximum, mean of each minute
  trimloop export --tags 'melt_*,hold_pressure' --from 2026-11-20 --to 2026-11-21 --out day.csv
  trimloop export --wide --every 1s --last 1h --out hour.xlsx
  trimloop export features --wide --out parts.parquet      A row for each part
  trimloop export decisions --last 1d --out - | less       - is stdout, as CSV
  trimloop export --data /backup/cell-1 --out all.csv      Of another data folder

The end of the name says the format: .csv, and in builds with these features .xlsx and .parquet.
The service may run. A file is there whole or not at all. Times are UTC unless --local.";

/// What to export, and where to.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ExportArgs {
    /// Which rows
    #[arg(value_enum, default_value_t)]
    what: What,
    /// File to write; - is stdout
    #[arg(short, long, env = "TRIMLOOP_OUT", hide_env = true, value_name = "FILE")]
    out: PathBuf,
    /// Only these tags (features, models, loops, …); * and ? stand for any text and letter
    #[arg(
        long,
        env = "TRIMLOOP_TAGS",
        hide_env = true,
        value_name = "NAMES",
        value_delimiter = ','
    )]
    tags: Vec<String>,
    #[command(flatten)]
    select: SelectArgs,
    /// Write over a file that is there
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    force: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &ExportArgs) -> Result<Exit, Failure> {
    let to_stdout = args.out == Path::new("-");
    let format = match FileFormat::of(&args.out) {
        Some(format) => format,
        None if to_stdout => FileFormat::Csv,
        None => {
            let message = format!("the end of {} names no format", args.out.display());
            let failure = Failure::new(&EXPORT_FILE, message, Exit::Usage);
            return Err(failure.help("end it with .csv, .xlsx or .parquet; - is stdout, as CSV"));
        }
    };
    if let Some(feature) = format.missing_feature() {
        return Err(file_failure(&FileError::Feature { feature }));
    }
    // Before the work begins, so that Ctrl-C leaves no part of a file behind.
    let signals = Signals::block().and_then(|s| s.into_receiver().map_err(|_| nix::Error::EAGAIN));
    let (selected, progress) =
        watched(ui, args.select.select(ui, global, args.what, &args.tags, None)?, signals.ok());
    let table = WriteTable::new(&selected.selection);
    let columns = table.columns();
    let title = selected.selection.what.word();
    if to_stdout {
        let out = BufWriter::with_capacity(1 << 16, stdout().lock());
        let sheet = CsvSheet::new(out, &columns, selected.zone).map(Box::new);
        let sheet = sheet.map_err(|error| read_failure(&ReadError::Write(error)))?;
        write(&selected, table, sheet, &progress)?;
        return Ok(Exit::Ok);
    }
    let file = OutputFile::begin(&args.out, args.force).map_err(|error| file_failure(&error))?;
    let sheet =
        file.sheet(format, &columns, selected.zone, title).map_err(|error| file_failure(&error))?;
    let rows = write(&selected, table, sheet, &progress)?;
    let bytes = file.keep().map_err(|error| file_failure(&error))?;
    report(ui, &args.out, &selected, &columns, rows, bytes);
    Ok(Exit::Ok)
}

/// The selection, whose reading tells its progress and ends on Ctrl-C.
fn watched(
    ui: &Ui,
    selected: Selected,
    stop: Option<Receiver<()>>,
) -> (Selected, Rc<RefCell<Progress>>) {
    let progress = Rc::new(RefCell::new(Progress::new(ui, &selected.selection)));
    let (shown, stop, zone) = (Rc::clone(&progress), RefCell::new(stop), selected.zone);
    let archive = selected.archive.watched(move |at| {
        shown.borrow_mut().at(at, zone);
        stop.borrow_mut().as_mut().is_none_or(|stop| stop.try_recv().is_err())
    });
    (Selected { archive, ..selected }, progress)
}

/// All rows into the sheet; their number, which is not 0.
fn write(
    selected: &Selected,
    table: WriteTable<'_>,
    mut sheet: Box<dyn Sheet + '_>,
    progress: &RefCell<Progress>,
) -> Result<u64, Failure> {
    let written = table.run(&selected.archive, sheet.as_mut());
    progress.borrow().end();
    let rows = match written {
        // Nobody reads stdout any more, such as `head`: that is no failure.
        Err(ReadError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(0),
        other => other.map_err(|error| read_failure(&error))?,
    };
    if rows == 0 {
        return Err(selected.no_rows());
    }
    match sheet.finish() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(read_failure(&ReadError::Write(error)))
        }
        _ => Ok(rows),
    }
}

fn report(ui: &Ui, path: &Path, selected: &Selected, columns: &[Column], rows: u64, bytes: u64) {
    let what = selected.selection.what.word();
    let text = |nanos| selected.zone.text(nanos, 0);
    let (from, to) = (text(selected.selection.from), text(selected.selection.to));
    let human = format!(
        "{rows} rows of {what} from {from} to {to}, {} columns, {}: {}\n",
        columns.len(),
        bytes_text(bytes),
        path.display()
    );
    let mut object = ui.head("trimloop.export/1", true);
    object["what"] = json!(what);
    object["file"] = json!(path.display().to_string());
    object["rows"] = json!(rows);
    object["bytes"] = json!(bytes);
    object["from"] = json!(from);
    object["to"] = json!(to);
    object["columns"] = columns.iter().map(|column| json!(column.title())).collect();
    ui.result(&human, &object);
}

pub(super) fn file_failure(error: &FileError) -> Failure {
    match error {
        FileError::Exists { .. } => Failure::new(&EXPORT_FILE, chain(error), Exit::Usage)
            .help("name another file, or add --force"),
        FileError::Feature { feature } => Failure::new(&EXPORT_FEATURE, chain(error), Exit::Usage)
            .help(format!(
                "write .csv, or build with `cargo build --release --features {feature}`"
            )),
        FileError::Write { .. } => Failure::new(&EXPORT_FILE, chain(error), Exit::Failed),
    }
}
