//! `trimloop audit`: who asked for what, and whether the records are whole.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::{Value, json};

use trimloop_core::time::Utc;

use super::load::settings;
use super::{Exit, Failure, Global, Ui};
use crate::error::{AUDIT_KEY, CHAIN_BROKEN, NO_RECORD, PLACE, STORE_OPEN, chain};
use crate::journal::hex;
use crate::output::{moment, utc_text};
use crate::seal::{
    ChainReport, VerifyReport, fingerprint, heads_path, key_from_text, public_key, verify,
};

const EXAMPLES: &str = "\
Examples:
  trimloop audit list --limit 20                  The newest orders and changes
  trimloop audit list --actor anna --since 2026-11-20
  trimloop audit show 48122                       One entry, with its hash
  trimloop audit verify                           Every chain, held against the signed heads
  trimloop audit key > /media/usb/cell-1.pub      Keep the public key elsewhere
  trimloop audit verify --key /media/usb/cell-1.pub --copy /media/usb/heads.log";

const VERIFY_EXAMPLES: &str = "\
Examples:
  trimloop audit verify
  trimloop audit verify --data /backup/cell-1 --format json
  trimloop audit verify --key /media/usb/cell-1.pub --copy /media/usb/heads.log

Checks the audit trail, the write ledger and the journal entry by entry, and holds each against the
heads that the service signs every minute and at its end. Exit: 0 whole, 1 something is not (the
first entry of each chain is named), 4 not readable. The service may run meanwhile.";

const LIST_EXAMPLES: &str = "\
Examples:
  trimloop audit list
  trimloop audit list --actor anna --since 2026-11-20 --limit 100
  trimloop audit list --about \"loop auto\" --format jsonl";

const SHOW_EXAMPLES: &str = "\
Examples:
  trimloop audit show 48122
  trimloop audit show 48122 --format json";

const KEY_EXAMPLES: &str = "\
Examples:
  trimloop audit key
  trimloop audit key > /media/usb/cell-1.pub";

/// What to do with the audit trail.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check every chain against its hashes and the signed heads
    Verify(VerifyArgs),
    /// Entries of the audit trail, newest first
    List(ListArgs),
    /// One entry of the audit trail
    Show(ShowArgs),
    /// The public key of the signed heads
    Key(KeyArgs),
}

/// Which folder.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct DataArg {
    /// Data folder [default: that of the service]
    #[arg(long, env = "TRIMLOOP_DATA", hide_env = true, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl DataArg {
    pub(super) fn folder(&self, global: &Global) -> Result<PathBuf, Failure> {
        match &self.data {
            Some(folder) => Ok(folder.clone()),
            None => Ok(settings(global)?.data),
        }
    }
}

#[derive(Debug, Args)]
#[command(after_long_help = VERIFY_EXAMPLES)]
struct VerifyArgs {
    #[command(flatten)]
    data: DataArg,
    /// Public key that must have signed, as `audit key` printed it [default: the one in the folder]
    #[arg(long, env = "TRIMLOOP_KEY", hide_env = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// An older copy of heads.log, kept elsewhere
    #[arg(long, env = "TRIMLOOP_COPY", hide_env = true, value_name = "FILE")]
    copy: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_long_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    data: DataArg,
    /// Most entries
    #[arg(
        long,
        env = "TRIMLOOP_LIMIT",
        hide_env = true,
        default_value_t = 50,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    limit: u32,
    /// From this UTC time on
    #[arg(long, env = "TRIMLOOP_SINCE", hide_env = true, value_name = "TIME")]
    since: Option<String>,
    /// Only of actors that contain this
    #[arg(long, env = "TRIMLOOP_ACTOR", hide_env = true, value_name = "TEXT")]
    actor: Option<String>,
    /// Only what contains this
    #[arg(long, env = "TRIMLOOP_ABOUT", hide_env = true, value_name = "TEXT")]
    about: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_long_help = SHOW_EXAMPLES)]
struct ShowArgs {
    /// Number of the entry
    entry: i64,
    #[command(flatten)]
    data: DataArg,
}

#[derive(Debug, Args)]
#[command(after_long_help = KEY_EXAMPLES)]
struct KeyArgs {
    #[command(flatten)]
    data: DataArg,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &AuditArgs) -> Result<Exit, Failure> {
    match &args.what {
        What::Verify(args) => verify_all(ui, &args.data.folder(global)?, args),
        What::List(args) => list(ui, &args.data.folder(global)?, args),
        What::Show(args) => show(ui, &args.data.folder(global)?, args.entry),
        What::Key(args) => key(ui, &args.data.folder(global)?),
    }
}

fn key(ui: &Ui, data: &Path) -> Result<Exit, Failure> {
    let key = public_key(data).map_err(|error| {
        Failure::new(&AUDIT_KEY, chain(&error), Exit::Unreachable)
            .help("the service makes it at its first start")
    })?;
    let mut object = ui.head("trimloop.audit-key/1", true);
    object["key"] = json!(hex(&key));
    object["fingerprint"] = json!(fingerprint(&key));
    ui.result(&format!("trimloop-ed25519-public {}\n", hex(&key)), &object);
    ui.note(&format!("fingerprint {}", fingerprint(&key)));
    Ok(Exit::Ok)
}

fn verify_all(ui: &Ui, data: &Path, args: &VerifyArgs) -> Result<Exit, Failure> {
    let key = args.key.as_deref().map(given_key).transpose()?;
    let bar = ui.has_bars().then(|| {
        let style = ProgressStyle::with_template("journal {bytes} checked");
        let bar = ProgressBar::no_length();
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar
    });
    let report = verify(data, key, args.copy.as_deref(), &mut |bytes| {
        if let Some(bar) = &bar {
            bar.set_position(bytes);
        }
    });
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let report =
        report.map_err(|error| Failure::new(&STORE_OPEN, chain(&error), Exit::Unreachable))?;
    let ok = report.findings.is_empty();
    let mut object = ui.head("trimloop.audit-verify/1", ok);
    let more = json!({
        "data": data,
        "code": if ok { Value::Null } else { json!(CHAIN_BROKEN.code) },
        "audit": report.audit,
        "ledger": report.ledger,
        "journal": report.journal,
        "heads": {
            "file": heads_path(data),
            "count": report.heads,
            "last": report.last_head,
            "keys": report.keys,
            "not_kept": report.not_kept,
        },
        "findings": report.findings,
        "notes": report.notes,
    });
    if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
    ui.result(&verify_text(&report), &object);
    Ok(if ok { Exit::Ok } else { Exit::Failed })
}

fn given_key(path: &Path) -> Result<[u8; 32], Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(&AUDIT_KEY, message, Exit::Usage)
    })?;
    key_from_text(&text).ok_or_else(|| {
        let message = format!("{} holds no public key of trimloop", path.display());
        Failure::new(&AUDIT_KEY, message, Exit::Usage).help("`trimloop audit key` prints one")
    })
}

fn verify_text(report: &VerifyReport) -> String {
    let broken = |chain: &str| report.findings.iter().any(|finding| finding.chain == chain);
    let mark = |chain: &str| if broken(chain) { " x " } else { " ok" };
    let line = |name: &str, of: &ChainReport, what: &str| {
        let unsigned = match of.unsigned {
            0 => String::new(),
            n => format!(", {n} of them not yet signed"),
        };
        format!("{} {name:<8} {} {what}{unsigned}\n", mark(name), of.entries)
    };
    let mut text = line("audit", &report.audit, "entries");
    text.push_str(&line("ledger", &report.ledger, "entries"));
    let megabytes = report.journal.bytes as f64 / 1e6;
    text.push_str(&line("journal", &report.journal, &format!("records in {megabytes:.1} MB")));
    let last = report.last_head.as_deref().map_or(String::new(), |utc| format!(", last {utc}"));
    let keys = match report.keys.as_slice() {
        [] => String::new(),
        keys => format!(", key {}", keys.join(", ")),
    };
    text.push_str(&format!(
        "{} {:<8} {} signed{last}{keys}\n",
        mark("heads"),
        "heads",
        report.heads
    ));
    if report.not_kept > 0 {
        text.push_str(&format!(
            "    {} heads are about journal files that are no longer kept\n",
            report.not_kept
        ));
    }
    for finding in &report.findings {
        text.push_str(&format!(
            "error[{}]: {}: {} {}\n",
            CHAIN_BROKEN.code, finding.chain, finding.place, finding.what
        ));
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    let end = if report.findings.is_empty() { "every chain is whole" } else { "NOT WHOLE" };
    text.push_str(&format!("{end}\n"));
    text
}

/// `state.db` for reading.
pub(super) fn open_state(data: &Path) -> Result<Connection, Failure> {
    let path = data.join("state.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(&path, flags).map_err(|error| {
        let message = format!("cannot open {}: {error}", path.display());
        Failure::new(&STORE_OPEN, message, Exit::Unreachable)
            .help("name the folder with --data, or its project with --config")
    })
}

pub(super) fn sql_failure(error: &rusqlite::Error) -> Failure {
    let message = format!("cannot read state.db: {error}");
    Failure::new(&STORE_OPEN, message, Exit::Unreachable)
}

/// An entry as it is shown.
struct Entry {
    seq: i64,
    utc: String,
    boot: i64,
    order: i64,
    actor: String,
    what: String,
    reason: String,
    hash: String,
}

const COLUMNS: &str = "seq, utc, boot, orders, actor, what, reason, hash";

impl Entry {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            utc: utc_text(Utc::from_nanos(row.get(1)?)),
            boot: row.get(2)?,
            order: row.get(3)?,
            actor: row.get(4)?,
            what: row.get(5)?,
            reason: row.get(6)?,
            hash: hex(&row.get::<_, Vec<u8>>(7)?),
        })
    }

    fn json(&self) -> Value {
        json!({
            "entry": self.seq, "utc": self.utc, "start": self.boot, "order": self.order,
            "actor": self.actor, "what": self.what, "reason": self.reason, "hash": self.hash,
        })
    }

    fn line(&self) -> String {
        let Self { seq, utc, actor, what, reason, .. } = self;
        format!("{seq:>6}  {utc}  {actor}: {what} ({reason})")
    }
}

fn list(ui: &Ui, data: &Path, args: &ListArgs) -> Result<Exit, Failure> {
    let since = match &args.since {
        None => i64::MIN,
        Some(text) => moment(text)
            .map_err(|error| Failure::new(&PLACE, format!("\"{text}\": {error}"), Exit::Usage))?
            .as_nanos(),
    };
    let db = open_state(data)?;
    let entries = || -> rusqlite::Result<Vec<Entry>> {
        let mut statement = db.prepare(&format!(
            "SELECT {COLUMNS} FROM audit
             WHERE utc >= ?1 AND instr(lower(actor), lower(?2)) > 0
               AND instr(lower(what), lower(?3)) > 0
             ORDER BY seq DESC LIMIT ?4"
        ))?;
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        statement
            .query_map((since, of(&args.actor), of(&args.about), args.limit), Entry::of)?
            .collect()
    };
    let entries = entries().map_err(|error| sql_failure(&error))?;
    let mut text: String = entries.iter().map(|entry| format!("{}\n", entry.line())).collect();
    if text.is_empty() {
        text = "no such entries\n".to_owned();
    }
    let mut object = ui.head("trimloop.audit/1", true);
    object["entries"] = entries.iter().map(Entry::json).collect();
    ui.result(&text, &object);
    Ok(Exit::Ok)
}

fn show(ui: &Ui, data: &Path, seq: i64) -> Result<Exit, Failure> {
    let db = open_state(data)?;
    let found =
        db.query_row(&format!("SELECT {COLUMNS} FROM audit WHERE seq = ?"), [seq], Entry::of);
    let entry = match found {
        Ok(entry) => entry,
        Err(rusqlite::Error::QueryReturnedNoRows) => {
            let last: i64 = db
                .query_row("SELECT coalesce(max(seq), 0) FROM audit", [], |row| row.get(0))
                .map_err(|error| sql_failure(&error))?;
            let message = format!("there is no audit entry {seq}; there are 1 to {last}");
            return Err(Failure::new(&NO_RECORD, message, Exit::Usage)
                .help("`trimloop audit list` shows the newest"));
        }
        Err(error) => return Err(sql_failure(&error)),
    };
    let order = if entry.order == 0 { "none".to_owned() } else { entry.order.to_string() };
    let text = format!(
        "entry   {}\nwhen    {}\nstart   {}\nwho     {}\nwhat    {}\nwhy     {}\norder   {order}\n\
         hash    {}\n",
        entry.seq, entry.utc, entry.boot, entry.actor, entry.what, entry.reason, entry.hash
    );
    let mut object = ui.head("trimloop.audit/1", true);
    object["entries"] = json!([entry.json()]);
    ui.result(&text, &object);
    Ok(Exit::Ok)
}
