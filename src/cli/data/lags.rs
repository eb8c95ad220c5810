//! `trimloop data lags`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::model::{failure, table_text};
use crate::cli::{Exit, Failure, Ui};
use crate::learn::lags::lags;
use crate::learn::read;

const EXAMPLES: &str = "\
Examples:
  trimloop data lags --data line.csv --target thickness
  trimloop data lags --data line.csv --target thickness --max-lag 120 --ignore operator

Both series are filtered by an autoregression of the input before they are correlated (pre-whitening):
what only shares a slow course shows nothing. A lag is in rows, so rows must be evenly spaced. It is a
proposal: a person who knows the line accepts it.";

/// Which tables, which target.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct LagsArgs {
    /// Tables (CSV, Parquet), one after the other
    #[arg(long, env = "TRIMLOOP_DATA", hide_env = true, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// Column that the others may drive
    #[arg(long, env = "TRIMLOOP_TARGET", hide_env = true, value_name = "COLUMN")]
    target: String,
    /// Longest lag [rows]
    #[arg(
        long,
        env = "TRIMLOOP_MAX_LAG",
        hide_env = true,
        value_name = "ROWS",
        default_value_t = 60
    )]
    max_lag: usize,
    /// Columns that are no inputs
    #[arg(long, env = "TRIMLOOP_IGNORE", hide_env = true, value_name = "COLUMNS", value_delimiter = ',', num_args = 1..)]
    ignore: Vec<String>,
}

pub(super) fn run(ui: &Ui, args: &LagsArgs) -> Result<Exit, Failure> {
    let found = read::frame(&args.data)
        .and_then(|frame| lags(&frame, &args.target, &args.ignore, args.max_lag))
        .map_err(|error| failure(&error))?;
    let mut lines = vec![["column", "leads by", "r", "chance"].map(str::to_owned)];
    lines.extend(found.iter().map(|lag| {
        let rows = lag.lag.map_or_else(|| "-".to_owned(), |rows| format!("{rows} rows"));
        [lag.column.clone(), rows, format!("{:+.3}", lag.r), format!("{:.3}", lag.limit)]
    }));
    let mut object = ui.head("trimloop.data.lags/1", true);
    object["target"] = json!(args.target);
    object["lags"] = json!(found);
    ui.result(&table_text(&lines), &object);
    Ok(Exit::Ok)
}
