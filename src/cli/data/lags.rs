//! `trimloop data lags`.

use clap::Args;
use serde_json::json;

use crate::cli::model::{failure, table_text};
use crate::cli::source::SourceArgs;
use crate::cli::{Exit, Failure, Global, Ui};
use crate::learn::lags::lags;

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
    #[command(flatten)]
    source: SourceArgs,
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

pub(super) fn run(ui: &Ui, global: &Global, args: &LagsArgs) -> Result<Exit, Failure> {
    let frame = args.source.frame(ui, global, None)?;
    let found = lags(&frame, &args.target, &args.ignore, args.max_lag);
    let found = found.map_err(|error| failure(&error))?;
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
