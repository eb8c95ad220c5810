//! `trimloop plc browse`: the variables of a server, and nodes made of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{ArgAction, Args, builder::FalseyValueParser};
use serde_json::{Value, json};

use trimloop_recipe::plc_config::{Address, Identifier, OPC_UA, Segment};

use super::super::{Exit, Failure, Format, Global, Ui};
use super::tags::{self, Tag};
use super::target::{Aliases, Target, block_on, file_of, glob, shown};
use crate::plc::{Ask, Browsed, ExploreError, Scalar, Variable, explore};

const EXAMPLES: &str = "\
Examples:
  trimloop plc browse opc.tcp://127.0.0.1:4855                      All of the simulator
  trimloop plc browse opc.tcp://127.0.0.1:4855 --filter '*Temp*'    Only these
  trimloop plc browse press-4 --from Objects/press:Press4 --depth 1
  trimloop plc browse opc.tcp://127.0.0.1:4855 --write-tags plc-configs/press-9.toml
  trimloop plc browse press-4 --filter '*Zone*' --write-tags -      Tables to paste

A pattern fits the browse name or the whole path; * is any text, ? one letter. What is written has
namespace URIs and never an index, and passes `trimloop check`.";

/// What to look for.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct BrowseArgs {
    /// Address or PLC config
    #[arg(value_name = "URL|CONFIG")]
    target: Option<String>,
    /// Where to begin [default: the Objects folder, without the server's own node]
    #[arg(long, env = "TRIMLOOP_FROM", hide_env = true, value_name = "NODE")]
    from: Option<String>,
    /// Only what fits this pattern of * and ?
    #[arg(long, env = "TRIMLOOP_FILTER", hide_env = true, value_name = "GLOB")]
    filter: Option<String>,
    /// Levels below the beginning
    #[arg(long, env = "TRIMLOOP_DEPTH", hide_env = true, default_value_t = 12, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    depth: u16,
    /// Most variables
    #[arg(long, env = "TRIMLOOP_MOST", hide_env = true, default_value_t = 10_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=200_000))]
    most: u32,
    /// Write them as a PLC config; - prints only the node tables
    #[arg(long, env = "TRIMLOOP_WRITE_TAGS", hide_env = true, value_name = "FILE")]
    write_tags: Option<PathBuf>,
    /// Overwrite that file
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(),
          action = ArgAction::SetTrue)]
    force: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &BrowseArgs) -> Result<Exit, Failure> {
    ui.start_logs("error");
    let target = Target::find(global, args.target.as_deref())?;
    target.warn_if_open(ui);
    // Before the walk: it may take minutes.
    let file = file_of(args.write_tags.as_ref());
    if let Some(file) = file {
        tags::plc_name(file)?;
        tags::may_write(file, args.force)?;
    }
    let (mut wrong, mut named) = (None, Aliases::default());
    let browsed = block_on(explore(&target.link, async |explorer| {
        let aliases = target.aliases(explorer.namespaces());
        named = aliases.clone();
        let from = args.from.as_ref().map(|from| aliases.sought(target.plc.as_ref(), from));
        let from = match from.transpose() {
            Ok(from) => from,
            Err(failure) => {
                wrong = Some(failure);
                return Err(ExploreError::NotThere(String::new()));
            }
        };
        let ask = Ask { from, depth: usize::from(args.depth), most: args.most as usize };
        explorer.browse(&ask, |path| fits(args.filter.as_deref(), path, &aliases)).await
    }))?;
    if let Some(failure) = wrong {
        return Err(failure);
    }
    let browsed = browsed.map_err(|error| target.failure(&error))?;
    if let Some(cut) = &browsed.cut {
        ui.note(&format!("cut: {cut}; narrow it with --filter or --from, or raise --most"));
    }
    for closed in &browsed.closed {
        ui.note(&format!("not looked into: {closed}"));
    }
    if args.write_tags.is_some() {
        return write(ui, args, &target, &browsed, &named);
    }
    tell(ui, global, &target, &browsed, &named);
    Ok(Exit::Ok)
}

fn fits(filter: Option<&str>, path: &[Segment], aliases: &Aliases) -> bool {
    let Some(filter) = filter else { return true };
    path.last().is_some_and(|last| glob(filter, &last.name))
        || glob(filter, &plain(path))
        || aliases.text(&Address::Path(path.to_vec())).is_some_and(|text| glob(filter, &text))
}

/// A path without namespaces, for patterns and remarks.
fn plain(path: &[Segment]) -> String {
    path.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join("/")
}

fn tell(ui: &Ui, global: &Global, target: &Target, browsed: &Browsed, aliases: &Aliases) {
    if global.format == Format::Jsonl {
        for variable in &browsed.variables {
            if !ui.row("", &variable_json(variable, aliases)) {
                return;
            }
        }
        return;
    }
    let mut object = ui.head("trimloop.plc.browse/1", true);
    object["url"] = json!(target.link.url);
    object["namespaces"] =
        aliases.pairs.iter().map(|(alias, uri)| (alias.clone(), json!(uri))).collect();
    object["cut"] = json!(browsed.cut);
    object["closed"] = json!(browsed.closed);
    object["variables"] =
        browsed.variables.iter().map(|variable| variable_json(variable, aliases)).collect();
    ui.result(&text(browsed, aliases), &object);
}

fn where_of(variable: &Variable, aliases: &Aliases) -> (Option<String>, Option<String>) {
    let path = (!variable.path.is_empty()).then(|| Address::Path(variable.path.clone()));
    (
        path.and_then(|path| aliases.text(&path)),
        variable.id.as_ref().and_then(|id| aliases.text(id)),
    )
}

fn variable_json(variable: &Variable, aliases: &Aliases) -> Value {
    let (path, id) = where_of(variable, aliases);
    json!({
        "path": path, "id": id, "type": variable.data_type, "rank": variable.rank,
        "tag_type": variable.scalar.map(Scalar::name),
        "readable": variable.readable, "writable": variable.writable,
        "range": variable.range.map(|(low, high)| [low, high]), "unit": variable.unit,
        "value": variable.value.json, "status": variable.status,
    })
}

fn text(browsed: &Browsed, aliases: &Aliases) -> String {
    let rows: Vec<[String; 5]> = browsed
        .variables
        .iter()
        .map(|variable| {
            let (path, id) = where_of(variable, aliases);
            let array = if variable.is_array() { "[]" } else { "" };
            let access = match (variable.readable, variable.writable) {
                (true, true) => "rw",
                (true, false) => "r",
                (false, true) => "w",
                (false, false) => "-",
            };
            [
                path.or_else(|| id.clone()).unwrap_or_default(),
                id.unwrap_or_default(),
                format!("{}{array}", variable.data_type),
                access.to_owned(),
                range_text(variable).unwrap_or_default(),
            ]
        })
        .collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let [w0, w1, w2, w3, w4] = [0, 1, 2, 3, 4].map(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for ([path, id, kind, access, range], variable) in rows.iter().zip(&browsed.variables) {
        let value = if variable.readable { variable.value.text.as_str() } else { "" };
        let bad =
            if variable.status == "Good" || !variable.readable { "" } else { &variable.status };
        let line =
            format!("{path:w0$}  {id:w1$}  {kind:w2$}  {access:w3$}  {range:w4$}  {value}  {bad}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    let count = browsed.variables.len();
    text.push_str(&format!("{count} variable{}\n", if count == 1 { "" } else { "s" }));
    text
}

/// `0 to 400 degC`.
fn range_text(variable: &Variable) -> Option<String> {
    let unit = variable.unit.as_deref().unwrap_or_default();
    match variable.range {
        Some((low, high)) => Some(format!("{low} to {high} {unit}").trim_end().to_owned()),
        None => (!unit.is_empty()).then(|| unit.to_owned()),
    }
}

fn write(
    ui: &Ui,
    args: &BrowseArgs,
    target: &Target,
    browsed: &Browsed,
    aliases: &Aliases,
) -> Result<Exit, Failure> {
    let (mut tags, left): (Vec<_>, Vec<_>) =
        browsed.variables.iter().map(|variable| tag(variable, aliases)).partition(Result::is_ok);
    let mut tags: Vec<Tag> = tags.drain(..).filter_map(Result::ok).collect();
    let left: Vec<String> = left.into_iter().filter_map(Result::err).collect();
    let file = file_of(args.write_tags.as_ref());
    let taken: BTreeSet<String> = match (&target.plc, file) {
        // Tables to paste must not meet those that are there.
        (Some(plc), None) => plc.nodes.iter().map(|node| node.name.clone()).collect(),
        _ => BTreeSet::new(),
    };
    tags::name_all(&mut tags, &taken);
    let mut text = tags::tables(&tags, aliases);
    if !left.is_empty() {
        text.push_str("\n# No tag can hold these:\n");
        for line in &left {
            text.push_str(&format!("#   {line}\n"));
        }
    }
    let Some(file) = file else {
        ui.text(text.trim_start());
        return Ok(Exit::Ok);
    };
    let name = tags::plc_name(file)?;
    let head = format!(
        "# PLC config written by `trimloop plc browse` from {}.\n#\n\
         # Take out what no recipe needs. A node that setpoints may write gets `writable = true`;\n\
         # who adds that answers for it. Heartbeat and enable belong to [heartbeat] and [link].\n\n",
        target.link.url
    );
    let plc = tags::plc_table(target.plc.as_ref(), &name, &target.link.url, &tags, aliases);
    let whole = format!("{head}{plc}{text}");
    let good = tags::write(ui, file, &whole, args.force)?;
    let mut object = ui.head("trimloop.plc.tags/1", good);
    object["file"] = json!(shown(file));
    object["nodes"] = json!(tags.len());
    object["left_out"] = json!(left);
    let more = match left.len() {
        0 => String::new(),
        left => format!("; {left} that no tag can hold stand at its end as remarks"),
    };
    ui.result(&format!("{}: {} nodes{more}\n", shown(file), tags.len()), &object);
    Ok(if good { Exit::Ok } else { Exit::Failed })
}

/// A variable as a node, or why no tag can hold it.
fn tag(variable: &Variable, aliases: &Aliases) -> Result<Tag, String> {
    let (path, id) = where_of(variable, aliases);
    let place = path.clone().or_else(|| id.clone()).unwrap_or_default();
    let array = if variable.is_array() { " array" } else { "" };
    let refused = || format!("{place}: {}{array}", variable.data_type);
    let scalar = variable.scalar.filter(|_| !variable.is_array()).ok_or_else(refused)?;
    // A number as identifier may move with the next download; browse names stay.
    let moves = matches!(
        &variable.id,
        Some(Address::Id { namespace, identifier: Identifier::Numeric(_) | Identifier::Opaque(_) })
            if namespace != OPC_UA
    );
    let by_path = (!variable.path.is_empty()).then(|| Address::Path(variable.path.clone()));
    let address = match (&variable.id, by_path) {
        (Some(id), Some(path)) => {
            if moves {
                path
            } else {
                id.clone()
            }
        }
        (Some(id), None) => id.clone(),
        (None, Some(path)) => path,
        (None, None) => return Err(refused()),
    };
    if address.write(|uri| aliases.of(uri)).is_none() {
        return Err(format!("{place}: its address cannot be written"));
    }
    let last = match (variable.path.last(), &variable.id) {
        (Some(last), _) => last.name.clone(),
        (None, Some(Address::Id { identifier: Identifier::Text(text), .. })) => text.clone(),
        (None, _) => id.unwrap_or_default(),
    };
    let mut keys = Vec::new();
    // Times are read as milliseconds; `type` has no word for them.
    if scalar != Scalar::DateTime {
        keys.push(("type", toml::Value::String(scalar.name().to_owned())));
    }
    let mut remark = if matches!(address, Address::Path(_)) { String::new() } else { place };
    if let Some(range) = range_text(variable) {
        remark = format!("{remark}  {range}");
    }
    if variable.writable {
        remark.push_str("  (the server lets us write it)");
    }
    let remark = remark.trim().to_owned();
    Ok(Tag {
        name: tags::name_of(&last),
        owners: tags::owners(&variable.path),
        address,
        keys,
        remarks: if remark.is_empty() { Vec::new() } else { vec![remark] },
    })
}
