//! `trimloop data labels`: measured quality that people, laboratories and other programs bring.

use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Subcommand};
use serde_json::json;

use crate::cli::load::settings;
use crate::cli::model::{audit, failure, table_text};
use crate::cli::source::label_failure;
use crate::cli::{Exit, Failure, Format, Global, Ui};
use crate::control::{actor, own_user};
use crate::error::{CONNECTOR_REFUSED, CONNECTOR_UNREACHABLE, EXPORT_FILE, NO_ROWS};
use crate::export::{Cell, Column, CsvSheet, Kind, Sheet as _};
use crate::labels::{
    FetchError, Imported, Kept, LabelStore, LabelValue, Origin, Request, Titles, fetch, labels_of,
};
use crate::learn::LearnError;
use crate::learn::read::texts;
use crate::output::Zone;
use crate::sink::is_loopback;

const EXAMPLES: &str = "\
Examples:
  trimloop data labels import lab.csv --part part_id
  trimloop data labels import --from-url https://lims.plant/labels --token-file lims-token
  trimloop data labels list --characteristic weight --all
  trimloop model train --kind regression --history features --label weight --out models/weight-r1";

const IMPORT_EXAMPLES: &str = "\
Examples:
  trimloop data labels import lab.csv --part part_id                  A column for each characteristic
  trimloop data labels import results.csv --part id --characteristic what --value result
  trimloop data labels import --from-url https://lims.plant/labels --token-file lims-token --items /data

A label is known by part, characteristic and source. Given again it changes nothing; given with another
value it is a correction, and the old value is kept behind it. A value that was corrected and comes
back with an old file is not taken again, unless --reinstate says so. All of a table, or nothing.
From an address comes CSV or a JSON array of objects, one GET, at most 64 MiB.";

const LIST_EXAMPLES: &str = "\
Examples:
  trimloop data labels list
  trimloop data labels list --part 4711 --all          With what was corrected, by whom, from where
  trimloop data labels list --characteristic weight --format csv > weight.csv";

/// What to do.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct LabelsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take labels from tables or an address
    Import(ImportArgs),
    /// Labels that are kept
    List(ListArgs),
}

#[derive(Debug, Args)]
#[command(after_long_help = IMPORT_EXAMPLES)]
struct ImportArgs {
    /// Tables (CSV, or JSON: an array of objects)
    #[arg(value_name = "FILE", required_unless_present = "from_url")]
    files: Vec<PathBuf>,
    /// Address that answers with such a table
    #[arg(
        long,
        env = "TRIMLOOP_FROM_URL",
        hide_env = true,
        value_name = "URL",
        conflicts_with = "files"
    )]
    from_url: Option<String>,
    /// File with the bearer token for it
    #[arg(
        long,
        env = "TRIMLOOP_TOKEN_FILE",
        hide_env = true,
        value_name = "FILE",
        requires = "from_url"
    )]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) that alone vouch for it
    #[arg(
        long,
        env = "TRIMLOOP_CA_FILE",
        hide_env = true,
        value_name = "FILE",
        requires = "from_url"
    )]
    ca_file: Option<PathBuf>,
    /// Where in the JSON the array stands: /data/labels
    #[arg(long, env = "TRIMLOOP_ITEMS", hide_env = true, value_name = "POINTER")]
    items: Option<String>,
    /// Column of part ids [default: part, else part_id]
    #[arg(long, env = "TRIMLOOP_PART", hide_env = true, value_name = "COLUMN")]
    part: Option<String>,
    /// Column that says what is measured [default: characteristic, else each column is one]
    #[arg(long, env = "TRIMLOOP_CHARACTERISTIC", hide_env = true, value_name = "COLUMN")]
    characteristic: Option<String>,
    /// Column that says who measured [default: source]
    #[arg(long, env = "TRIMLOOP_SOURCE", hide_env = true, value_name = "COLUMN")]
    source: Option<String>,
    /// Who measured, where no column says so
    #[arg(
        long,
        env = "TRIMLOOP_SOURCE_NAME",
        hide_env = true,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    source_name: String,
    /// Column of the value, beside a characteristic [default: value]
    #[arg(long, env = "TRIMLOOP_VALUE", hide_env = true, value_name = "COLUMN")]
    value: Option<String>,
    /// Values that were corrected before count again
    #[arg(long, env = "TRIMLOOP_REINSTATE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    reinstate: bool,
}

#[derive(Debug, Args)]
#[command(after_long_help = LIST_EXAMPLES)]
struct ListArgs {
    /// Only of this part
    #[arg(long, env = "TRIMLOOP_PART", hide_env = true, value_name = "ID")]
    part: Option<String>,
    /// Only this characteristic
    #[arg(long, env = "TRIMLOOP_CHARACTERISTIC", hide_env = true, value_name = "NAME")]
    characteristic: Option<String>,
    /// Earlier values too
    #[arg(long, env = "TRIMLOOP_ALL", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    all: bool,
}

impl LabelsArgs {
    /// Whether its result can be CSV.
    pub(super) fn has_rows(&self) -> bool {
        matches!(self.verb, Verb::List(_))
    }
}

pub(super) fn run(ui: &Ui, global: &Global, args: &LabelsArgs) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::Import(args) => import(ui, global, args),
        Verb::List(args) => list(ui, global, args),
    }
}

fn import(ui: &Ui, global: &Global, args: &ImportArgs) -> Result<Exit, Failure> {
    let tables = tables(ui, args)?;
    let titles = Titles {
        part: args.part.clone(),
        characteristic: args.characteristic.clone(),
        source: args.source.clone(),
        value: args.value.clone(),
        source_name: args.source_name.clone(),
    };
    // First everything is read: a table that is wrong leaves those before it out too.
    let mut given = Vec::new();
    for (name, bytes) in &tables {
        let path = Path::new(name);
        let labels = texts(path, bytes, args.items.as_deref())
            .and_then(|table| labels_of(path, &table, &titles))
            .map_err(|error| failure(&error))?;
        given.push((name, labels));
    }
    let data = settings(global)?.data;
    std::fs::create_dir_all(&data).map_err(|error| {
        let message = format!("cannot make {}: {error}", data.display());
        Failure::new(&EXPORT_FILE, message, Exit::Failed)
    })?;
    let mut store = LabelStore::open(&data).map_err(|error| label_failure(&error))?;
    let (mut human, mut rows) = (String::new(), Vec::new());
    for (name, labels) in given {
        audit(ui, global, &format!("import of {} labels from {name}", labels.len()), "")?;
        let origin = Origin {
            place: name.clone(),
            actor: actor(own_user()),
            utc: ui.clock().utc().as_nanos(),
            reinstate: args.reinstate,
        };
        let done = store.import(&labels, &origin).map_err(|error| label_failure(&error))?;
        let Imported { added, same, changed, outdated, repeated } = done;
        human.push_str(&format!("{name}: {added} added, {same} same, {changed} changed"));
        if repeated > 0 {
            human.push_str(&format!(", {repeated} given again in the same table"));
        }
        human.push('\n');
        if outdated > 0 {
            ui.warn(&format!(
                "{name}: {outdated} values were corrected before and not taken again; --reinstate \
                 takes them"
            ));
        }
        rows.push(json!({
            "from": name, "added": added, "same": same, "changed": changed,
            "outdated": outdated, "repeated": repeated,
        }));
    }
    let mut object = ui.head("trimloop.data.labels/1", true);
    object["imported"] = json!(rows);
    ui.result(&human, &object);
    Ok(Exit::Ok)
}

/// Names and bytes of the tables.
fn tables(ui: &Ui, args: &ImportArgs) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let Some(url) = &args.from_url else {
        let read = |path: &PathBuf| {
            let wrong = |error: std::io::Error| {
                failure(&LearnError::File { path: path.clone(), what: error.to_string() })
            };
            Ok((path.display().to_string(), std::fs::read(path).map_err(wrong)?))
        };
        return args.files.iter().map(read).collect();
    };
    if args.token_file.is_some() && url.starts_with("http://") && !is_loopback(url) {
        ui.warn("not encrypted: the token and the labels can be read on the way");
    }
    let request =
        Request { url, token_file: args.token_file.as_deref(), ca_file: args.ca_file.as_deref() };
    let bytes = fetch(&request).map_err(|error| {
        let text = error.to_string();
        match error {
            FetchError::Local(_) => Failure::new(&CONNECTOR_REFUSED, text, Exit::Usage),
            FetchError::Away(_) => Failure::new(&CONNECTOR_UNREACHABLE, text, Exit::Unreachable)
                .help("see that the server runs; nothing was imported"),
            FetchError::Refused(_) | FetchError::TooLarge => {
                Failure::new(&CONNECTOR_REFUSED, text, Exit::Failed)
                    .help("correct the address or the token; nothing was imported")
            }
        }
    })?;
    // A query string may hold a secret.
    let name = url.split('?').next().unwrap_or(url);
    Ok(vec![(name.to_owned(), bytes)])
}

fn list(ui: &Ui, global: &Global, args: &ListArgs) -> Result<Exit, Failure> {
    let data = settings(global)?.data;
    let store = LabelStore::read_only(&data).map_err(|error| label_failure(&error))?;
    let (part, characteristic) = (args.part.as_deref(), args.characteristic.as_deref());
    let kept = match &store {
        Some(store) => store.labels(part, characteristic, args.all),
        None => Ok(Vec::new()),
    };
    let kept = kept.map_err(|error| label_failure(&error))?;
    if kept.is_empty() {
        let message = format!("no such label is kept in {}", data.display());
        return Err(Failure::new(&NO_ROWS, message, Exit::Failed)
            .help("labels come by `trimloop data labels import`"));
    }
    if ui.format() == Format::Csv {
        return csv(&kept).map_err(|error| failure(&LearnError::Write(error)));
    }
    let time = |ns: i64| Zone::Utc.text(ns, 0);
    let head =
        ["part", "characteristic", "source", "value", "unit", "revision", "imported", "from"];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(kept.iter().map(|kept| {
        let label = &kept.label;
        [
            label.part.clone(),
            label.characteristic.clone(),
            if label.source.is_empty() { "-".to_owned() } else { label.source.clone() },
            label.value.text(),
            if label.unit.is_empty() { "-".to_owned() } else { label.unit.clone() },
            kept.revision.to_string(),
            time(kept.imported),
            kept.origin.clone(),
        ]
    }));
    let mut object = ui.head("trimloop.data.labels/1", true);
    object["labels"] = kept.iter().map(of_label).collect();
    ui.result(&table_text(&lines), &object);
    Ok(Exit::Ok)
}

fn of_label(kept: &Kept) -> serde_json::Value {
    let label = &kept.label;
    json!({
        "part": label.part,
        "characteristic": label.characteristic,
        "source": label.source,
        "value": match &label.value {
            LabelValue::Number(x) => json!(x),
            LabelValue::Text(text) => json!(text),
        },
        "unit": label.unit,
        "measured": label.measured.map(|ns| Zone::Utc.text(ns, 9)),
        "revision": kept.revision,
        "imported": Zone::Utc.text(kept.imported, 3),
        "from": kept.origin,
        "by": kept.actor,
    })
}

/// What [`import`] reads again.
fn csv(kept: &[Kept]) -> std::io::Result<Exit> {
    let text = |name: &str| Column::new(name, Kind::Text);
    let columns = [
        text("part"),
        text("characteristic"),
        text("source"),
        text("value"),
        text("unit"),
        Column::new("time", Kind::Time(9)),
        Column::new("revision", Kind::Int),
        Column::new("imported", Kind::Time(3)),
        text("from"),
        text("by"),
    ];
    let mut sheet = Box::new(CsvSheet::new(std::io::stdout().lock(), &columns, Zone::Utc)?);
    for Kept { label, revision, imported, origin, actor } in kept {
        sheet.row(&[
            Cell::Text(label.part.as_str().into()),
            Cell::Text(label.characteristic.as_str().into()),
            Cell::Text(label.source.as_str().into()),
            Cell::Text(label.value.text().into()),
            Cell::Text(label.unit.as_str().into()),
            label.measured.map_or(Cell::Null, Cell::Time),
            Cell::Int(*revision),
            Cell::Time(*imported),
            Cell::Text(origin.as_str().into()),
            Cell::Text(actor.as_str().into()),
        ])?;
    }
    sheet.finish()?;
    Ok(Exit::Ok)
}
