//! `trimloop plc import`: a list of tags, from a spreadsheet or another tool, as nodes.
//!
//! Three kinds of list are told by their first line: our own, Kepware's tag export, and a PLC tag
//! table of TIA Portal saved as CSV. Nothing is lost: a row that cannot be used is reported with
//! its place and stands in the result as a remark.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgAction, Args, builder::FalseyValueParser};
use serde_json::json;

use trimloop_recipe::diagnostic::{Diagnostic, Source};
use trimloop_recipe::plc_config::{Address, AddressError, parse_id, parse_path};

use super::super::ui::diagnostic_json;
use super::super::{Exit, Failure, Global, Ui};
use super::csv::{Cell, Row, rows};
use super::tags::{self, Tag};
use super::target::{Aliases, Target, bare, file_of, shown};
use crate::error::{FILE_READ, REQUEST, TAG_COLUMNS, TAG_ROW};
use crate::plc::Scalar;

const EXAMPLES: &str = "\
Examples:
  trimloop plc import tags.csv --namespace press=urn:plant:press-4
  trimloop plc import tags.csv --plc opc.tcp://10.0.0.5:4840 --write-tags plc-configs/press-5.toml
  trimloop plc import kepware.csv --namespace KEPServerEX --prefix Channel1.Press4.
  trimloop plc import PLCTags.csv --namespace http://www.siemens.com/simatic-s7-opcua

Columns: name; id (or node, path, address); type; writable; sampling; queue; unit; comment. An id is
ALIAS:s=TEXT, \"nsu=URI;s=TEXT\", a path, or bare TEXT in the first --namespace. Exports of Kepware
(Tag Name, Address, Data Type, Client Access) and of TIA Portal (Name, Data Type, Logical Address)
are known by their columns. Nothing is asked of the PLC.

Exit: 0 all rows taken, 1 rows were left out (each is reported with its place), 2 usage.";

/// What to import.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ImportArgs {
    /// The list
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// PLC config or address that the nodes belong to
    #[arg(long, env = "TRIMLOOP_PLC", hide_env = true, value_name = "URL|CONFIG")]
    plc: Option<String>,
    /// Namespace of bare ids, then of others by alias
    #[arg(long, env = "TRIMLOOP_NAMESPACE", hide_env = true, value_name = "[ALIAS=]URI")]
    namespace: Vec<String>,
    /// Text before each bare id, such as Channel1.Device1.
    #[arg(
        long,
        env = "TRIMLOOP_PREFIX",
        hide_env = true,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    prefix: String,
    /// Write a PLC config [default: print the node tables]
    #[arg(long, env = "TRIMLOOP_WRITE_TAGS", hide_env = true, value_name = "FILE")]
    write_tags: Option<PathBuf>,
    /// Overwrite that file
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(),
          action = ArgAction::SetTrue)]
    force: bool,
}

/// Which tool made the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Ours,
    Kepware,
    Tia,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Name,
    Id,
    Path,
    Type,
    Writable,
    Sampling,
    Queue,
    Unit,
    Comment,
    /// Whether other tools may see it at all (TIA).
    Visible,
}

/// Words at the head of a column, in small letters without blanks.
const HEADS: &[(&str, Column)] = &[
    ("name", Column::Name),
    ("tag", Column::Name),
    ("tagname", Column::Name),
    ("id", Column::Id),
    ("node", Column::Id),
    ("nodeid", Column::Id),
    ("address", Column::Id),
    ("path", Column::Path),
    ("browsepath", Column::Path),
    ("type", Column::Type),
    ("datatype", Column::Type),
    ("writable", Column::Writable),
    ("writeable", Column::Writable),
    ("access", Column::Writable),
    ("clientaccess", Column::Writable),
    ("sampling", Column::Sampling),
    ("samplingms", Column::Sampling),
    ("scanrate", Column::Sampling),
    ("queue", Column::Queue),
    ("unit", Column::Unit),
    ("units", Column::Unit),
    ("engunits", Column::Unit),
    ("comment", Column::Comment),
    ("description", Column::Comment),
    ("hmiaccessible", Column::Visible),
];

/// Words for types besides those of OPC UA: IEC 61131-3, then Kepware.
const TYPES: &[(&str, Scalar)] = &[
    ("bool", Scalar::Boolean),
    ("sint", Scalar::SByte),
    ("usint", Scalar::Byte),
    ("int", Scalar::Int16),
    ("uint", Scalar::UInt16),
    ("dint", Scalar::Int32),
    ("udint", Scalar::UInt32),
    ("lint", Scalar::Int64),
    ("ulint", Scalar::UInt64),
    ("word", Scalar::UInt16),
    ("dword", Scalar::UInt32),
    ("lword", Scalar::UInt64),
    ("real", Scalar::Float),
    ("lreal", Scalar::Double),
    ("time", Scalar::Int32),
    ("char", Scalar::SByte),
    ("short", Scalar::Int16),
    ("long", Scalar::Int32),
    ("llong", Scalar::Int64),
    ("qword", Scalar::UInt64),
];

/// What became of the list.
struct Imported {
    tags: Vec<Tag>,
    found: Vec<Diagnostic>,
    /// Rows that were left out: line, and why.
    left: Vec<String>,
    origin: Origin,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &ImportArgs) -> Result<Exit, Failure> {
    let name = shown(&args.file);
    let text = std::fs::read(&args.file).map_err(|error| {
        Failure::new(&FILE_READ, format!("cannot read {name}: {error}"), Exit::Usage)
    })?;
    let file = file_of(args.write_tags.as_ref());
    let stem = file.map(tags::plc_name).transpose()?;
    if let Some(file) = file {
        tags::may_write(file, args.force)?;
    }
    let target = args.plc.as_deref().map(|plc| Target::find(global, Some(plc))).transpose()?;
    let mut aliases = target.as_ref().map(|target| target.aliases(&[])).unwrap_or_default();
    let first = namespaces(args, &mut aliases)?;
    let source = Source::new(&name, &decoded(&text));
    let reader = Reader { source, aliases: &aliases, first, prefix: &args.prefix };
    let mut imported =
        reader.read().map_err(|found| Failure::Diagnostics(vec![*found], Exit::Usage))?;
    let plc = target.as_ref().and_then(|target| target.plc.as_ref());
    let taken: BTreeSet<String> = match (plc, file) {
        (Some(plc), None) => plc.nodes.iter().map(|node| node.name.clone()).collect(),
        _ => BTreeSet::new(),
    };
    let aliases = aliases_of(&aliases, &imported.tags);
    tags::name_all(&mut imported.tags, &taken);
    let mut body = tags::tables(&imported.tags, &aliases);
    if !imported.left.is_empty() {
        body.push_str("\n# Rows that were left out:\n");
        for line in &imported.left {
            body.push_str(&format!("#   {line}\n"));
        }
    }
    ui.diagnostics(&imported.found);
    let mut good = imported.left.is_empty();
    let count = imported.tags.len();
    let human = match (file, stem) {
        (Some(file), Some(stem)) => {
            let url = target.as_ref().map_or("opc.tcp://127.0.0.1:4840", |t| t.link.url.as_str());
            let head = format!("# PLC config written by `trimloop plc import` from {name}.\n\n");
            let table = tags::plc_table(plc, &stem, url, &imported.tags, &aliases);
            good &= tags::write(ui, file, &format!("{head}{table}{body}"), args.force)?;
            format!("{}: {count} nodes, {} rows left out\n", shown(file), imported.left.len())
        }
        _ => body.trim_start().to_owned(),
    };
    let mut object = ui.head("trimloop.plc.import/1", good);
    object["list"] = json!(name);
    object["origin"] = json!(match imported.origin {
        Origin::Ours => "columns",
        Origin::Kepware => "Kepware",
        Origin::Tia => "TIA Portal",
    });
    object["file"] = json!(file.map(shown));
    object["nodes"] = json!(count);
    object["left_out"] = json!(imported.left);
    object["diagnostics"] = imported.found.iter().map(diagnostic_json).collect();
    ui.result(&human, &object);
    Ok(if good { Exit::Ok } else { Exit::Failed })
}

/// Spreadsheets on Windows write UTF-16 with a byte order mark ("Unicode text").
fn decoded(bytes: &[u8]) -> String {
    let pairs = |read: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let units = bytes.chunks_exact(2).filter_map(|two| two.try_into().ok().map(read));
        String::from_utf16_lossy(&units.collect::<Vec<u16>>())
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => pairs(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => pairs(u16::from_be_bytes, rest),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Takes `--namespace` in; the first is that of bare ids.
fn namespaces(args: &ImportArgs, aliases: &mut Aliases) -> Result<Option<String>, Failure> {
    let mut first = None;
    for text in &args.namespace {
        let uri = match text.split_once('=') {
            Some((alias, uri)) if !alias.contains(':') => {
                if aliases.uri(alias).is_some_and(|known| known != uri) {
                    let message = format!("the alias {alias} stands for two namespaces");
                    return Err(Failure::new(&REQUEST, message, Exit::Usage));
                }
                if aliases.of(uri).is_none() {
                    aliases.pairs.push((alias.to_owned(), uri.to_owned()));
                }
                uri
            }
            _ => {
                aliases.take(text);
                text.as_str()
            }
        };
        first.get_or_insert_with(|| uri.to_owned());
    }
    Ok(first.or_else(|| match aliases.pairs.as_slice() {
        [(_, uri)] => Some(uri.clone()),
        _ => None,
    }))
}

/// Aliases also for the namespaces that rows name by `nsu=`.
fn aliases_of(aliases: &Aliases, tags: &[Tag]) -> Aliases {
    let mut aliases = aliases.clone();
    for tag in tags {
        if let Address::Id { namespace, .. } = &tag.address
            && namespace != trimloop_recipe::plc_config::OPC_UA
        {
            aliases.take(namespace);
        }
    }
    aliases
}

struct Reader<'a> {
    source: Arc<Source>,
    aliases: &'a Aliases,
    first: Option<String>,
    prefix: &'a str,
}

/// Why a row cannot be used, where, and what to do.
struct Refused {
    span: Range<usize>,
    why: String,
    help: Option<String>,
}

impl Reader<'_> {
    fn error(&self, refused: &Refused) -> Diagnostic {
        let Refused { span, why, help } = refused;
        let found = Diagnostic::error(&TAG_ROW, &self.source, span.clone(), why.clone());
        match help {
            Some(help) => found.help(help.clone()),
            None => found,
        }
    }

    fn read(&self) -> Result<Imported, Box<Diagnostic>> {
        let text = &self.source.text;
        let columns_error = |span: Range<usize>, why: &str| {
            let found = Diagnostic::error(&TAG_COLUMNS, &self.source, span, why);
            Box::new(found.help("the first line names the columns: name;id;type"))
        };
        let all = rows(text).map_err(|at| {
            let why = "a quote is opened here and never closed";
            Box::new(Diagnostic::error(&TAG_ROW, &self.source, at..at + 1, why))
        })?;
        let Some((head, body)) = all.split_first() else {
            return Err(columns_error(0..0, "the list is empty"));
        };
        let (origin, columns) = columns(head);
        let has = |column| columns.contains_key(&column);
        if !has(Column::Name) && !has(Column::Id) && !has(Column::Path) {
            return Err(columns_error(head.span.clone(), "no column is a name or an address"));
        }
        let (mut tags, mut found, mut left) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen: BTreeMap<Address, usize> = BTreeMap::new();
        for row in body {
            let (line, _) = self.source.line_column(row.span.start);
            let tag = self.row(origin, &columns, row).and_then(|(tag, at)| {
                match seen.insert(tag.address.clone(), line) {
                    None => Ok(tag),
                    Some(before) => Err(Refused {
                        span: at,
                        why: format!("line {before} has the same address"),
                        help: None,
                    }),
                }
            });
            match tag {
                Ok(tag) => tags.push(tag),
                Err(refused) => {
                    let raw = text.get(row.span.clone()).unwrap_or_default().trim();
                    let raw: String =
                        raw.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                    left.push(format!("line {line}, {}: {raw}", refused.why));
                    found.push(self.error(&refused));
                }
            }
        }
        Ok(Imported { tags, found, left, origin })
    }

    fn row(
        &self,
        origin: Origin,
        columns: &BTreeMap<Column, usize>,
        row: &Row,
    ) -> Result<(Tag, Range<usize>), Refused> {
        let cell = |column: Column| {
            let cell = columns.get(&column).and_then(|place| row.cells.get(*place));
            cell.filter(|cell| !cell.text.is_empty())
        };
        if let Some(visible) = cell(Column::Visible)
            && yes_or_no(&visible.text) == Some(false)
        {
            return Err(Refused {
                span: visible.span.clone(),
                why: "the PLC does not show it to others".to_owned(),
                help: Some("tick \"Accessible from HMI/OPC UA\" in the PLC project".to_owned()),
            });
        }
        let (address, at) = self.address(origin, &cell, row)?;
        let mut keys = Vec::new();
        if let Some(kind) = cell(Column::Type)
            && let Some(scalar) = scalar(kind)?
        {
            keys.push(("type", toml::Value::String(scalar.name().to_owned())));
        }
        if let Some(sampling) = cell(Column::Sampling) {
            let text = sampling_of(sampling)?;
            // The scan rate of another tool is that tool's own; ours is asked for in our list only.
            if origin == Origin::Ours {
                keys.push(("sampling", toml::Value::String(text)));
            }
        }
        if let Some(queue) = cell(Column::Queue) {
            let number = queue.text.parse().ok().filter(|number| (1..=1000).contains(number));
            let number: i64 = number
                .ok_or_else(|| refused(queue, "a queue is a whole number from 1 to 1000", None))?;
            keys.push(("queue", toml::Value::Integer(number)));
        }
        let mut remarks = Vec::new();
        if let Some(writable) = cell(Column::Writable) {
            let says = yes_or_no(&writable.text).ok_or_else(|| {
                refused(writable, "says neither yes nor no", Some("write true or false, R/W or RO"))
            })?;
            match (origin, says) {
                (Origin::Ours, true) => keys.push(("writable", toml::Value::Boolean(true))),
                (_, true) => remarks.push("(the other tool may write it)".to_owned()),
                (_, false) => {}
            }
        }
        let said = [cell(Column::Unit), cell(Column::Comment)];
        remarks.extend(said.into_iter().flatten().map(|cell| cell.text.clone()));
        let name = cell(Column::Name).map(|cell| cell.text.clone());
        let name = name.unwrap_or_else(|| last_word(&address));
        let mut owners: Vec<&str> = name.split(['.', '/']).collect();
        let last = owners.pop().unwrap_or_default();
        let owners = owners.into_iter().map(str::to_owned).collect();
        // A name of our own list is taken as it is, as far as it can be one.
        let name = if origin == Origin::Ours && is_name(&name) {
            name.clone()
        } else {
            tags::name_of(if last.is_empty() { &name } else { last })
        };
        Ok((Tag { name, owners, address, keys, remarks }, at))
    }

    fn address<'c>(
        &self,
        origin: Origin,
        cell: &impl Fn(Column) -> Option<&'c Cell>,
        row: &Row,
    ) -> Result<(Address, Range<usize>), Refused> {
        let first = |cell: &Cell| {
            self.first.clone().ok_or_else(|| {
                let help = "say it with --namespace URI";
                refused(cell, "it is not said in which namespace this id is", Some(help))
            })
        };
        let nothing =
            |why: &str| Refused { span: row.span.clone(), why: why.to_owned(), help: None };
        match origin {
            // The address column is that of the driver; OPC UA knows the tag by its name.
            Origin::Kepware => {
                let name = cell(Column::Name).ok_or_else(|| nothing("the row has no tag name"))?;
                let text = format!("{}{}", self.prefix, name.text);
                Ok((bare(&first(name)?, &text), name.span.clone()))
            }
            // S7-1500: the name in quotes, `"MeltTemp"`.
            Origin::Tia => {
                let name = cell(Column::Name).ok_or_else(|| nothing("the row has no name"))?;
                let text = format!("{}\"{}\"", self.prefix, name.text);
                Ok((bare(&first(name)?, &text), name.span.clone()))
            }
            Origin::Ours => {
                let (cell, is_path) = match (cell(Column::Id), cell(Column::Path)) {
                    (Some(id), None) => (id, false),
                    (None, Some(path)) => (path, true),
                    (Some(id), Some(_)) => {
                        return Err(refused(id, "the row has an id and a path", None));
                    }
                    (None, None) => match cell(Column::Name) {
                        // A list of bare names is a list of ids.
                        Some(name) => (name, false),
                        None => return Err(nothing("the row has no address")),
                    },
                };
                let address = self.parse(cell, is_path).transpose();
                let address = match address {
                    Some(address) => address?,
                    None => bare(&first(cell)?, &format!("{}{}", self.prefix, cell.text)),
                };
                Ok((address, cell.span.clone()))
            }
        }
    }

    /// `None`: a bare identifier.
    fn parse(&self, cell: &Cell, is_path: bool) -> Result<Option<Address>, Refused> {
        let uri = |alias: &str| self.aliases.uri(alias);
        let text = cell.text.as_str();
        let head = text.split_once('=').map_or("", |(head, _)| head);
        let is_id = matches!(head.rsplit(':').next(), Some("s" | "i" | "g" | "b"));
        let read = if text.starts_with("ns=") {
            let help = "write \"nsu=URI;s=TEXT\", or the bare id with --namespace URI";
            let why = "a namespace index changes with a download";
            return Err(refused(cell, why, Some(help)));
        } else if let Some(rest) = text.strip_prefix("nsu=") {
            match rest.rsplit_once(';') {
                None => Err(AddressError::Shape("has no `;`")),
                Some((namespace, rest)) => match parse_id(rest, uri) {
                    Ok(Address::Id { identifier, .. }) => {
                        Ok(Address::Id { namespace: namespace.to_owned(), identifier })
                    }
                    other => other,
                },
            }
        } else if is_path || text.starts_with("Objects/") {
            parse_path(text, uri)
        } else if is_id {
            parse_id(text, uri)
        } else {
            return Ok(None);
        };
        match read {
            Ok(address) => Ok(Some(address)),
            Err(AddressError::Shape(why)) => {
                Err(refused(cell, &format!("the address {why}"), None))
            }
            Err(AddressError::Alias(alias)) => {
                let help = format!("say it with --namespace {alias}=URI");
                Err(refused(cell, &format!("unknown alias {alias}"), Some(&help)))
            }
        }
    }
}

fn refused(cell: &Cell, why: &str, help: Option<&str>) -> Refused {
    let help = help.map(str::to_owned);
    Refused { span: cell.span.clone(), why: why.to_owned(), help }
}

/// Which tool made the list, and where its columns are; the first of two alike counts.
fn columns(head: &Row) -> (Origin, BTreeMap<Column, usize>) {
    let words: Vec<String> = head
        .cells
        .iter()
        .map(|cell| cell.text.chars().filter(char::is_ascii_alphanumeric).collect::<String>())
        .map(|word| word.to_ascii_lowercase())
        .collect();
    let has = |word: &str| words.iter().any(|known| known == word);
    let origin = if has("tagname") && has("clientaccess") {
        Origin::Kepware
    } else if has("logicaladdress") {
        Origin::Tia
    } else {
        Origin::Ours
    };
    let mut columns = BTreeMap::new();
    for (place, word) in words.iter().enumerate() {
        // The path of a TIA export is the name of its tag table.
        if origin == Origin::Tia && word == "path" {
            continue;
        }
        if let Some((_, column)) = HEADS.iter().find(|(head, _)| head == word) {
            columns.entry(*column).or_insert(place);
        }
    }
    (origin, columns)
}

/// `None`: the tool that made the list leaves it to the PLC.
fn scalar(cell: &Cell) -> Result<Option<Scalar>, Refused> {
    let word = cell.text.to_ascii_lowercase();
    if word == "default" {
        return Ok(None);
    }
    if word.contains("array") || word.contains('[') {
        let why = "an array: a tag holds one value";
        let help = "name the element with `index` in the PLC config";
        return Err(refused(cell, why, Some(help)));
    }
    let opc_ua = Scalar::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(&word));
    let other = TYPES.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind);
    match opc_ua.or(other) {
        // Times are read as milliseconds; `type` has no word for them.
        Some(Scalar::DateTime) => Ok(None),
        Some(scalar) => Ok(Some(scalar)),
        None => {
            let why = format!("no tag can hold a {}", cell.text);
            let names: Vec<&str> = Scalar::ALL.iter().map(|kind| kind.name()).collect();
            let help = format!("types are {}", names.join(", "));
            Err(refused(cell, &why, Some(&help)))
        }
    }
}

/// `100` and `100 ms` are milliseconds.
fn sampling_of(cell: &Cell) -> Result<String, Refused> {
    let text = cell.text.as_str();
    let number = text.strip_suffix("ms").unwrap_or(text).trim();
    if number.parse::<u32>().is_ok_and(|ms| ms <= 3_600_000) {
        return Ok(format!("{number} ms"));
    }
    let seconds = text.strip_suffix('s').map(str::trim);
    if seconds.is_some_and(|number| number.parse::<u32>().is_ok_and(|s| s <= 3600)) {
        return Ok(format!("{} s", seconds.unwrap_or_default()));
    }
    Err(refused(cell, "a sampling interval is a whole number of ms, or of s with its unit", None))
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "r/w" | "rw" | "write" | "w" | "x" => Some(true),
        "false" | "no" | "0" | "ro" | "r" | "read" | "read only" => Some(false),
        _ => None,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= 64
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn last_word(address: &Address) -> String {
    use trimloop_recipe::plc_config::Identifier;
    match address {
        Address::Path(steps) => steps.last().map(|step| step.name.clone()).unwrap_or_default(),
        Address::Id { identifier: Identifier::Text(text), .. } => text.clone(),
        Address::Id { identifier, .. } => identifier.write(),
        Address::Part { of, .. } => last_word(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Imported {
        let mut aliases = Aliases::default();
        aliases.take("urn:plant:press");
        let first = Some("urn:plant:press".to_owned());
        let source = Source::new("tags.csv", text);
        let reader = Reader { source, aliases: &aliases, first, prefix: "Channel1.Press." };
        reader.read().unwrap_or_else(|found| panic!("{}", found.message))
    }

    fn id(tag: &Tag) -> String {
        let alias = |uri: &str| Some(uri.rsplit(':').next()?.to_owned());
        tag.address.write(alias).map(|(_, text)| text).expect("an address")
    }

    /// Each tool's list becomes the ids that its OPC UA server has.
    #[test]
    fn lists_of_other_tools() {
        let kepware = "Tag Name,Address,Data Type,Respect Data Type,Client Access,Scan Rate\r\n\
                       \"Melt.Temp\",\"DB1.DBD0\",Float,1,RO,100\r\n\
                       \"Hold\",\"DB1.DBD4\",Default,1,R/W,100\r\n";
        let imported = read(kepware);
        assert_eq!(imported.origin, Origin::Kepware);
        let ids: Vec<_> = imported.tags.iter().map(id).collect();
        assert_eq!(ids, ["press:s=Channel1.Press.Melt.Temp", "press:s=Channel1.Press.Hold"]);
        assert_eq!(imported.tags[0].keys, [("type", toml::Value::String("Float".to_owned()))]);
        assert!(imported.tags[1].keys.is_empty(), "the driver decides");
        let tia = "Name;Path;Data Type;Logical Address;Comment;Hmi Visible;Hmi Accessible\n\
                   Melt Temp;Default tag table;Real;%MD10;hot;True;True\n\
                   Hidden;Default tag table;Bool;%M0.0;;False;False\n";
        let imported = read(tia);
        assert_eq!(imported.origin, Origin::Tia);
        let ids: Vec<_> = imported.tags.iter().map(id).collect();
        assert_eq!(ids, ["press:s=Channel1.Press.\"Melt Temp\""]);
        assert_eq!(imported.left.len(), 1);
    }

    /// Every row is a tag or is reported at its place.
    #[test]
    fn bad_rows_are_reported_and_kept() {
        let text = "name;id;type;writable;sampling;queue\n\
                    a;press:s=A;Double;true;100;2\n\
                    b;pres:s=B;Double;;;\n\
                    c;press:s=C;Floot;;;\n\
                    d;press:s=A;;;;\n\
                    e;ns=2;;;;\n\
                    f;press:s=F;;maybe;;\n\
                    g;press:s=G;;;fast;\n\
                    h;press:s=H;;;;0\n\
                    ;;Double;;;\n\
                    i;Objects/press:I;int;no;2 s;\n";
        let imported = read(text);
        let names: Vec<_> = imported.tags.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names, ["a", "i"]);
        let places: Vec<_> = imported.found.iter().map(Diagnostic::position).collect();
        let expect = [(3, 3), (4, 13), (5, 3), (6, 3), (7, 14), (8, 15), (9, 16), (10, 1)];
        assert_eq!(places, expect);
        assert_eq!(imported.left.len(), expect.len());
        assert!(imported.left[0].ends_with("b;pres:s=B;Double;;;"), "{}", imported.left[0]);
    }
}
