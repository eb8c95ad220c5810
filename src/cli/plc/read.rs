//! `trimloop plc read`: values once, with status, times and type.

use clap::Args;
use serde_json::json;

use super::super::{Exit, Failure, Global, Ui};
use super::target::{Target, block_on};
use crate::output::utc_text;
use crate::plc::{ExploreError, ReadRow, Sought, explore};

const EXAMPLES: &str = "\
Examples:
  trimloop plc read melt_temp enable            Names of the one PLC config
  trimloop plc read press-4 melt_temp           Of one of several
  trimloop plc read opc.tcp://127.0.0.1:4855 simulator:s=Press4.MeltTemp
  trimloop plc read opc.tcp://127.0.0.1:4855 'ns=2;s=Press4.MeltTemp' i=2258
  trimloop plc read opc.tcp://127.0.0.1:4855 'nsu=urn:trimloop:simulator;s=Press4.MeltTemp'

Exit: 0 all read, 1 a node is not there or its value is not Good, 4 the PLC is unreachable.";

/// What to read.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ReadArgs {
    /// PLC (address, PLC config) where there are several, then nodes
    #[arg(value_name = "[CONFIG|URL] NODE", required = true)]
    words: Vec<String>,
}

/// A node as it was asked for, and what came.
type Row<'a> = (&'a str, Result<ReadRow, String>);

pub(super) fn run(ui: &Ui, global: &Global, args: &ReadArgs) -> Result<Exit, Failure> {
    ui.start_logs("error");
    let (target, nodes) = Target::first_of(global, &args.words)?;
    target.warn_if_open(ui);
    // A mistake in a node is told with the aliases that the server has, hence inside.
    let mut wrong = None;
    let rows = block_on(explore(&target.link, async |explorer| {
        let aliases = target.aliases(explorer.namespaces());
        let sought: Result<Vec<Sought>, Failure> =
            nodes.iter().map(|node| aliases.sought(target.plc.as_ref(), node)).collect();
        match sought {
            Ok(sought) => explorer.read(&sought).await,
            Err(failure) => {
                wrong = Some(failure);
                Err(ExploreError::NotThere(String::new()))
            }
        }
    }))?;
    if let Some(failure) = wrong {
        return Err(failure);
    }
    let rows = rows.map_err(|error| target.failure(&error))?;
    let rows: Vec<Row> = nodes.iter().map(String::as_str).zip(rows).collect();
    let good = rows.iter().all(|(_, row)| row.as_ref().is_ok_and(|row| row.good));
    let mut object = ui.head("trimloop.plc.read/1", good);
    object["url"] = json!(target.link.url);
    object["nodes"] = rows.iter().map(json_of).collect();
    ui.result(&text(&rows), &object);
    Ok(if good { Exit::Ok } else { Exit::Failed })
}

fn json_of((node, row): &Row) -> serde_json::Value {
    match row {
        Ok(row) => json!({
            "node": node, "value": row.value.json, "status": row.status, "type": row.data_type,
            "source_time": row.source_time.map(utc_text),
            "server_time": row.server_time.map(utc_text),
        }),
        Err(why) => json!({ "node": node, "error": why }),
    }
}

fn text(rows: &[Row]) -> String {
    let names = rows.iter().map(|(node, _)| node.chars().count()).max().unwrap_or(0);
    let values = rows.iter().filter_map(|(_, row)| row.as_ref().ok());
    let values = values.map(|row| row.value.text.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (node, row) in rows {
        match row {
            Ok(row) => {
                let time = |utc: Option<_>| utc.map_or_else(|| "-".to_owned(), utc_text);
                let ReadRow { value, status, data_type, .. } = row;
                text.push_str(&format!(
                    "{node:names$}  {:values$}  {data_type}  {status}  source {}  server {}\n",
                    value.text,
                    time(row.source_time),
                    time(row.server_time)
                ));
            }
            Err(why) => text.push_str(&format!("{node:names$}  {why}\n")),
        }
    }
    text
}
