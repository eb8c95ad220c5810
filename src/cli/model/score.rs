//! `trimloop model score`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::{failure, nobody_reads, open};
use crate::cli::query::Lines;
use crate::cli::{Exit, Failure, Format, Ui};
use crate::export::{CsvSheet, Sheet};
use crate::learn::score::{Summary, columns, score};
use crate::learn::{LearnError, kinds, read};
use crate::output::Zone;

const EXAMPLES: &str = "\
Examples:
  trimloop model score --model models/press-r1 --data today.csv --format csv > scores.csv
  trimloop model score --model models/press-r1 --data a.csv b.csv --output scores.csv
  trimloop model score --model models/press-r1 --data today.csv --format jsonl | jq .score

A row out for each row in. Columns that the model does not know are ignored. domain: in, out (unlike
the rows of training), missing (a value that the model needs is not there; alarm keeps its last
state). Each file is a run of its own: states begin anew.
Exit: 0 done, 1 nothing could be scored, 2 wrong use.";

/// Which rows, with what.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ScoreArgs {
    /// Folder of the model, or its model.tlm
    #[arg(long, env = "TRIMLOOP_MODEL", hide_env = true, value_name = "DIR")]
    model: PathBuf,
    /// Tables (CSV, Parquet), one after the other
    #[arg(long, env = "TRIMLOOP_DATA", hide_env = true, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// File instead of stdout
    #[arg(short, long, env = "TRIMLOOP_OUTPUT", hide_env = true, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    force: bool,
}

pub(super) fn run(ui: &Ui, args: &ScoreArgs) -> Result<Exit, Failure> {
    let summary = match scored(ui, args) {
        Err(error) if nobody_reads(&error) => return Ok(Exit::Ok),
        done => done.map_err(|error| failure(&error))?,
    };
    if summary.missing > 0 {
        ui.warn(&format!(
            "{} of {} rows lack a value that the model needs; their domain is missing",
            summary.missing, summary.rows
        ));
    }
    Ok(Exit::Ok)
}

fn scored(ui: &Ui, args: &ScoreArgs) -> Result<Summary, LearnError> {
    let artifact = open(&args.model)?;
    let mut scorer = kinds::scorer(&artifact)?;
    let frame = read::frame(&args.data)?;
    let Some(path) = &args.output else {
        let mut sheet = sheet(ui, &*scorer, io::stdout().lock())?;
        let summary = score(&frame, &mut *scorer, &mut *sheet)?;
        sheet.finish().map_err(LearnError::Write)?;
        return Ok(summary);
    };
    if path.exists() && !args.force {
        let why = format!("{} is there already; write over it with --force", path.display());
        return Err(LearnError::Option(why));
    }
    let part = path.with_extension("part");
    let file = std::fs::File::create(&part).map_err(LearnError::Write)?;
    let mut sheet = sheet(ui, &*scorer, file)?;
    let summary = score(&frame, &mut *scorer, &mut *sheet)?;
    sheet.finish().map_err(LearnError::Write)?;
    std::fs::rename(&part, path).map_err(LearnError::Write)?;
    Ok(summary)
}

fn sheet<'w>(
    ui: &Ui,
    scorer: &dyn kinds::Scorer,
    out: impl Write + 'w,
) -> Result<Box<dyn Sheet + 'w>, LearnError> {
    let columns = columns(scorer);
    let out = BufWriter::with_capacity(1 << 16, out);
    Ok(match ui.format() {
        Format::Json | Format::Jsonl => Box::new(Lines { out, columns, zone: Zone::Utc }),
        Format::Csv | Format::Human => {
            Box::new(CsvSheet::new(out, &columns, Zone::Utc).map_err(LearnError::Write)?)
        }
    })
}
