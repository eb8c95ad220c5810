//! `trimloop model score`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::{failure, file_of, locate, nobody_reads, read};
use crate::cli::query::Lines;
use crate::cli::source::SourceArgs;
use crate::cli::{Exit, Failure, Format, Global, Ui};
use crate::export::{Column, CsvSheet, Sheet};
use crate::learn::forecast::{ForecastOptions, Forecasting};
use crate::learn::score::{Summary, score};
use crate::learn::{Frame, LearnError, kinds};
use crate::output::Zone;

const EXAMPLES: &str = "\
Examples:
  trimloop model score --model models/press-r1 --data today.csv --format csv > scores.csv
  trimloop model score --model models/press-r1 --data a.csv b.csv --output scores.csv
  trimloop model score --model models/press-r1 --data today.csv --format jsonl | jq .score
  trimloop model score --model models/press-r1 --data today.csv --forecast 20
  trimloop model score --model models/weight-r1 --data today.csv --forecast 50 \\
      --limit-low 18.9 --limit-high 19.4

A row out for each row in. Columns that the model does not know are ignored. domain: in, out (unlike
the rows of training), missing (a value that the model needs is not there; alarm keeps its last
state). Each file is a run of its own: states begin anew.
--forecast N adds at the end: forecast, forecast_low, forecast_high (N rows ahead, 90 %),
time_to_limit (rows; a monitor's limit is its threshold), trend (none, up, down).
Exit: 0 done, 1 nothing could be scored, 2 wrong use.";

/// Which rows, with what.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ScoreArgs {
    /// Folder or name of the model
    #[arg(long, env = "TRIMLOOP_MODEL", hide_env = true, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
    /// Forecast the score or the prediction so many rows ahead
    #[arg(long, env = "TRIMLOOP_FORECAST", hide_env = true, value_name = "ROWS")]
    forecast: Option<u16>,
    /// Lower limit of what is predicted, for the time to it
    #[arg(
        long,
        env = "TRIMLOOP_LIMIT_LOW",
        hide_env = true,
        value_name = "X",
        requires = "forecast",
        allow_negative_numbers = true
    )]
    limit_low: Option<f64>,
    /// Upper limit of what is predicted
    #[arg(
        long,
        env = "TRIMLOOP_LIMIT_HIGH",
        hide_env = true,
        value_name = "X",
        requires = "forecast",
        allow_negative_numbers = true
    )]
    limit_high: Option<f64>,
    /// File instead of stdout
    #[arg(short, long, env = "TRIMLOOP_OUTPUT", hide_env = true, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    force: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &ScoreArgs) -> Result<Exit, Failure> {
    let path = locate(global, &args.model)?;
    let frame = args.source.frame(ui, global, None)?;
    let summary = match scored(ui, &path, &frame, args) {
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

fn scored(ui: &Ui, model: &Path, frame: &Frame, args: &ScoreArgs) -> Result<Summary, LearnError> {
    let artifact = read(&file_of(model))?;
    let mut scorer = kinds::scorer(&artifact)?;
    if let Some(rows) = args.forecast {
        let options = ForecastOptions { rows, low: args.limit_low, high: args.limit_high };
        scorer = Box::new(Forecasting::new(scorer, options)?);
    }
    let Some(path) = &args.output else {
        return score(frame, &mut *scorer, |columns| sheet(ui, columns, io::stdout().lock()));
    };
    if path.exists() && !args.force {
        let why = format!("{} is there already; write over it with --force", path.display());
        return Err(LearnError::Option(why));
    }
    let part = path.with_extension("part");
    let file = std::fs::File::create(&part).map_err(LearnError::Write)?;
    let summary = score(frame, &mut *scorer, |columns| sheet(ui, columns, file));
    match summary {
        Ok(summary) => {
            std::fs::rename(&part, path).map_err(LearnError::Write)?;
            Ok(summary)
        }
        Err(error) => {
            drop(std::fs::remove_file(&part));
            Err(error)
        }
    }
}

fn sheet<'w>(ui: &Ui, columns: &[Column], out: impl Write + 'w) -> io::Result<Box<dyn Sheet + 'w>> {
    let out = BufWriter::with_capacity(1 << 16, out);
    Ok(match ui.format() {
        Format::Json | Format::Jsonl => {
            Box::new(Lines { out, columns: columns.to_vec(), zone: Zone::Utc })
        }
        Format::Csv | Format::Human => Box::new(CsvSheet::new(out, columns, Zone::Utc)?),
    })
}
