//! `trimloop work`: cases and work orders.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use trimloop_core::time::Utc;
use trimloop_orders::base::{Base, BaseError, ClosedCase, Stored};
use trimloop_orders::book::{Book, Order};
use trimloop_orders::findings::{Precision, precision};
use trimloop_work::desk::{Case, CaseState};
use trimloop_work::key::ExtKey;
use trimloop_work::outbox::{Row, refused_create};

use super::audit::DataArg;
use super::load::{control_failure, settings};
use super::model::table_text;
use super::status::result;
use super::{Exit, Failure, Global, Ui};
use crate::control::{Client, Request};
use crate::error::{REQUEST, WORK_READ, WORK_REFUSED, chain};
use crate::output::utc_text;
use crate::work::faults;
use crate::work::message::WorkAsk;

const EXAMPLES: &str = "\
Examples:
  trimloop work list                                       Open cases, and their orders
  trimloop work show TLW-3QH7K0M2B9XE-1                    Evidence, parts, comments
  trimloop work approve TLW-3QH7K0M2B9XE-1 --reason \"seen it\"
  trimloop work assign TLW-3QH7K0M2B9XE-1 --to ben --reason \"early shift\"
  trimloop work done TLW-3QH7K0M2B9XE-1 --remedy replaced --reason \"new ring fitted\"

  trimloop work precision                                  How often the orders for a fault are right

After `done` the condition must stay normal for the proof window; then the case closes by itself.
The running service does it and writes the audit trail; `list` and `show` read work.db alone.";

const LIST_EXAMPLES: &str = "\
Examples:
  trimloop work list
  trimloop work list --closed --limit 20
  trimloop work list --data /backup/cell-1 --format json";

const SHOW_EXAMPLES: &str = "\
Examples:
  trimloop work show TLW-3QH7K0M2B9XE-1
  trimloop work show TLW-3QH7K0M2B9XE-1 --format json";

const PRECISION_EXAMPLES: &str = "\
Examples:
  trimloop work precision
  trimloop work precision --data /backup/cell-1 --format json

An order counts as confirmed, no_fault_found or other_fault by the codes it was closed with; [work.codes]
in trimloop.toml says what the plant's own codes mean. The interval is Wilson's, of 95 %.";

const METERS_EXAMPLES: &str = "\
Examples:
  trimloop work meters
  trimloop work meters --data /backup/cell-1 --format json

They are stored once a minute; the running service may be as much ahead. [work.meter] in
trimloop.toml names those that the CMMS keeps.";

const ACT_EXAMPLES: &str = "\
Examples:
  trimloop work start TLW-3QH7K0M2B9XE-1 --reason \"on it\"
  trimloop work comment TLW-3QH7K0M2B9XE-1 --text \"ring is worn\" --reason \"inspected\"
  trimloop work done TLW-3QH7K0M2B9XE-1 --problem leak --cause wear --remedy replaced \\
      --part CR-40:1 --reason \"done\"
  trimloop work verify TLW-3QH7K0M2B9XE-1 --reason \"twenty good shots\"";

/// What to do with cases and orders.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct WorkArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Open cases and their orders
    List(ListArgs),
    /// One case with its order
    Show(ShowArgs),
    /// A draft becomes an order; or one that was called off is ordered again
    Approve(ActArgs),
    /// Things stay as they are: the case ends without an order, also one that the CMMS refused
    Accept(ActArgs),
    /// Who shall work on it (--to)
    Assign(ActArgs),
    /// A remark (--text)
    Comment(ActArgs),
    /// Work begins
    Start(ActArgs),
    /// Work waits
    Hold(ActArgs),
    /// Work is done (--problem, --cause, --remedy, --part)
    Done(ActArgs),
    /// The order is called off
    Cancel(ActArgs),
    /// The repair helped: the proof ends early
    Verify(ActArgs),
    /// By fault: how often its orders were right, and its repairs held
    Precision(PrecisionArgs),
    /// Parts made, hours run, share of each trim in use; and what the CMMS was told of them
    Meters(MetersArgs),
}

#[derive(Debug, Args)]
#[command(after_long_help = METERS_EXAMPLES)]
struct MetersArgs {
    #[command(flatten)]
    data: DataArg,
}

#[derive(Debug, Args)]
#[command(after_long_help = PRECISION_EXAMPLES)]
struct PrecisionArgs {
    #[command(flatten)]
    data: DataArg,
}

#[derive(Debug, Args)]
#[command(after_long_help = LIST_EXAMPLES)]
struct ListArgs {
    #[command(flatten)]
    data: DataArg,
    /// Closed cases instead of open ones
    #[arg(long, env = "TRIMLOOP_CLOSED", hide_env = true, value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    closed: bool,
    /// Most closed cases
    #[arg(long, env = "TRIMLOOP_LIMIT", hide_env = true, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, Args)]
#[command(after_long_help = SHOW_EXAMPLES)]
struct ShowArgs {
    /// Key of the case, as `work list` shows it
    key: String,
    #[command(flatten)]
    data: DataArg,
}

#[derive(Debug, Args)]
#[command(after_long_help = ACT_EXAMPLES)]
struct ActArgs {
    /// Key of the case, as `work list` shows it
    key: String,
    /// Why; goes into the audit trail
    #[arg(long, env = "TRIMLOOP_REASON", hide_env = true, value_name = "TEXT")]
    reason: Option<String>,
    /// Who shall work on it
    #[arg(long, env = "TRIMLOOP_TO", hide_env = true, value_name = "NAME")]
    to: Option<String>,
    /// The remark
    #[arg(long, env = "TRIMLOOP_TEXT", hide_env = true, value_name = "TEXT")]
    text: Option<String>,
    /// What was wrong
    #[arg(long, env = "TRIMLOOP_PROBLEM", hide_env = true, value_name = "CODE")]
    problem: Option<String>,
    /// Why it was
    #[arg(long, env = "TRIMLOOP_CAUSE", hide_env = true, value_name = "CODE")]
    cause: Option<String>,
    /// What was done
    #[arg(long, env = "TRIMLOOP_REMEDY", hide_env = true, value_name = "CODE")]
    remedy: Option<String>,
    /// For `done`: a spare part that was used, and how many; may be given again
    #[arg(long = "part", env = "TRIMLOOP_PART", hide_env = true, value_name = "REF[:N]", value_delimiter = ',', value_parser = part)]
    parts: Vec<(String, u32)>,
}

/// `CR-40` or `CR-40:2`.
fn part(text: &str) -> Result<(String, u32), String> {
    let (reference, quantity) = match text.rsplit_once(':') {
        Some((reference, quantity)) => (reference, quantity.parse().ok()),
        None => (text, Some(1)),
    };
    match quantity.filter(|quantity| (1..=999).contains(quantity)) {
        Some(quantity) if !reference.trim().is_empty() => Ok((reference.to_owned(), quantity)),
        _ => Err("write the part's reference, and behind : how many, 1 to 999".to_owned()),
    }
}

pub(super) fn run(ui: &Ui, global: &Global, args: &WorkArgs) -> Result<Exit, Failure> {
    let act = |args: &ActArgs, make: fn(String) -> WorkAsk| {
        ask(ui, global, make(args.key.clone()), args.reason.as_deref())
    };
    match &args.what {
        What::List(args) => list(ui, &args.data.folder(global)?, args),
        What::Show(args) => show(ui, &args.data.folder(global)?, &args.key),
        What::Precision(args) => found(ui, global, &args.data.folder(global)?),
        What::Meters(args) => meters(ui, &args.data.folder(global)?),
        What::Approve(args) => act(args, |key| WorkAsk::Approve { key }),
        What::Accept(args) => act(args, |key| WorkAsk::Accept { key }),
        What::Verify(args) => act(args, |key| WorkAsk::Verify { key }),
        What::Start(args) => act(args, |key| WorkAsk::Start { key }),
        What::Hold(args) => act(args, |key| WorkAsk::Hold { key }),
        What::Cancel(args) => act(args, |key| WorkAsk::Cancel { key }),
        What::Assign(args) => {
            let to = needed(args.to.as_ref(), "--to NAME")?;
            ask(ui, global, WorkAsk::Assign { key: args.key.clone(), to }, args.reason.as_deref())
        }
        What::Comment(args) => {
            let text = needed(args.text.as_ref(), "--text TEXT")?;
            let of = WorkAsk::Comment { key: args.key.clone(), text };
            ask(ui, global, of, args.reason.as_deref())
        }
        What::Done(args) => {
            let of = WorkAsk::Done {
                key: args.key.clone(),
                problem: args.problem.clone(),
                cause: args.cause.clone(),
                remedy: args.remedy.clone(),
                parts: args.parts.clone(),
            };
            ask(ui, global, of, args.reason.as_deref())
        }
    }
}

fn needed(text: Option<&String>, option: &str) -> Result<String, Failure> {
    text.cloned().ok_or_else(|| {
        let message = format!("{option} is missing");
        Failure::new(&REQUEST, message, Exit::Usage).help(format!("add {option}"))
    })
}

/// Has the running service do it.
pub(super) fn ask(
    ui: &Ui,
    global: &Global,
    ask: WorkAsk,
    reason: Option<&str>,
) -> Result<Exit, Failure> {
    let Some(reason) = reason.filter(|reason| !reason.trim().is_empty()) else {
        let failure = Failure::new(&REQUEST, "it needs a reason", Exit::Usage);
        return Err(failure.help("add --reason \"…\""));
    };
    let settings = settings(global)?;
    let mut client = Client::of_service(&settings.data, &settings.socket)
        .map_err(|error| control_failure(&error))?;
    let request = Request::Work { ask, reason: reason.to_owned() };
    let value = result(client.ask(&request).map_err(|error| control_failure(&error))?)?;
    let message = value.get("message").and_then(|m| m.as_str()).unwrap_or("done").to_owned();
    ui.result(&format!("{message}\n"), &value);
    Ok(Exit::Ok)
}

/// A file that cannot be read, for people.
pub(super) fn unreadable(error: &BaseError) -> Failure {
    Failure::new(&WORK_READ, chain(error), Exit::Unreachable)
}

/// What the desk of a folder stored last; empty before its first round.
pub(super) fn stored(data: &Path) -> Result<(Option<Base>, Option<Stored>), Failure> {
    let Some(mut base) = Base::look(data).map_err(|error| unreadable(&error))? else {
        return Ok((None, None));
    };
    let stored = base.stored().map_err(|error| unreadable(&error))?;
    Ok((Some(base), stored))
}

fn state_text(case: &Case) -> String {
    match case.state {
        CaseState::Waiting(until) => format!("waiting until {}", utc_text(until)),
        CaseState::Verifying { normal: Some(normal), .. } => {
            format!("verifying, normal since {}", utc_text(normal))
        }
        CaseState::Refused(how) => format!("order {}: approve or accept", how.word()),
        state => state.word().to_owned(),
    }
}

fn case_json(case: &Case) -> Value {
    json!({
        "key": case.key.to_string(),
        "site": case.subject.site,
        "cell": case.subject.cell,
        "asset": case.subject.asset,
        "fault": case.subject.mode,
        "component": case.subject.component,
        "state": case.state.word(),
        "priority": case.priority,
        "opened": utc_text(case.opened),
        "active": case.active,
        "alarms": case.occurrences,
        "after": case.after.map(|key| key.to_string()),
        "order": case.order.map(|(state, _)| state.word()),
    })
}

fn case_line(case: &Case) -> String {
    let component = match case.subject.component.as_str() {
        "" => String::new(),
        component => format!(" {component}"),
    };
    let order =
        case.order.map_or_else(String::new, |(state, _)| format!(", order {}", state.word()));
    let again = case.after.map_or_else(String::new, |key| format!(", {key} did not help"));
    let active = if case.active { "there" } else { "gone" };
    format!(
        "{}  P{}  {}{component}: {}  {active}, {}{order}{again}\n",
        case.key,
        case.priority,
        case.subject.asset,
        case.subject.mode.replace('_', " "),
        state_text(case),
    )
}

/// What to do about an order that the other system refused; empty where it did not.
fn refused_line(rows: &[Row], case: &Case) -> String {
    let refused = refused_create(rows.iter(), case.key);
    refused.map_or_else(String::new, |row| {
        let (key, id) = (case.key, row.id);
        format!(
            "    nobody has this order, request {id} was refused: {}\n    mend that, then `trimloop \
             connector retry {id} --reason \"…\"`; or `trimloop work accept {key} --reason \"…\"`\n",
            row.error.as_deref().unwrap_or("no reason was given"),
        )
    })
}

fn list(ui: &Ui, data: &Path, args: &ListArgs) -> Result<Exit, Failure> {
    let (base, stored) = stored(data)?;
    let mut object = ui.head("trimloop.work/1", true);
    if args.closed {
        let closed = match &base {
            Some(base) => base.closed(args.limit).map_err(|error| unreadable(&error))?,
            None => Vec::new(),
        };
        let line =
            |of: &ClosedCase| format!("{}  {}  {}", utc_text(of.at), of.how, case_line(&of.case));
        let text: String = closed.iter().map(line).collect();
        let each = closed.iter().map(|of| {
            let mut value = case_json(&of.case);
            value["closed"] = utc_text(of.at).into();
            value["how"] = of.how.clone().into();
            value
        });
        object["closed"] = each.collect();
        ui.result(if text.is_empty() { "no case was closed yet\n" } else { &text }, &object);
        return Ok(Exit::Ok);
    }
    let mut cases: Vec<&Case> = stored.iter().flat_map(|stored| stored.works.cases()).collect();
    cases.sort_by_key(|case| (case.priority, case.opened));
    let rows = stored.as_ref().map_or(&[][..], |stored| stored.works.rows());
    let line = |case: &&Case| case_line(case) + &refused_line(rows, case);
    let text: String = cases.iter().map(line).collect();
    let each = cases.iter().map(|case| {
        let mut value = case_json(case);
        value["refused"] = json!(refused_create(rows.iter(), case.key).map(|row| row.id));
        value
    });
    object["cases"] = each.collect();
    ui.result(if text.is_empty() { "no case is open\n" } else { &text }, &object);
    Ok(Exit::Ok)
}

fn show(ui: &Ui, data: &Path, key: &str) -> Result<Exit, Failure> {
    let unknown = |message: String| {
        Failure::new(&WORK_REFUSED, message, Exit::Usage)
            .help("`trimloop work list` shows the keys")
    };
    let key =
        ExtKey::parse(key).ok_or_else(|| unknown(format!("\"{key}\" is no key of a case")))?;
    let (base, stored) = stored(data)?;
    let open = stored.iter().flat_map(|stored| stored.works.cases()).find(|case| case.key == key);
    let mut object = ui.head("trimloop.work-case/1", true);
    let mut text = String::new();
    if let Some(case) = open {
        object["case"] = case_json(case);
        text.push_str(&case_line(case));
        let rows = stored.as_ref().map_or(&[][..], |stored| stored.works.rows());
        text.push_str(&refused_line(rows, case));
    }
    let Some(base) = base else { return Err(unknown(format!("there is no case {key}"))) };
    let closed = base.closed(u32::MAX).map_err(|error| unreadable(&error))?;
    if let Some(of) = closed.iter().find(|of| of.case.key == key) {
        object["case"] = case_json(&of.case);
        object["closed"] = utc_text(of.at).into();
        object["how"] = of.how.clone().into();
        text.push_str(&format!("{}closed {}: {}\n", case_line(&of.case), utc_text(of.at), of.how));
    }
    if text.is_empty() {
        return Err(unknown(format!("there is no case {key}")));
    }
    let book = Book::look(data).map_err(|error| unreadable(&error))?;
    let order = book.map(|book| book.order(key)).transpose();
    let order = order.map_err(|error| {
        Failure::new(&WORK_READ, format!("cannot read the orders: {error}"), Exit::Unreachable)
    })?;
    if let Some(order) = order.flatten() {
        order_text(&order, &mut text);
        object["order"] = order_json(&order);
    }
    let told = base.told(Some(&key.to_string()), 100).map_err(|error| unreadable(&error))?;
    for line in told.iter().rev() {
        let at = utc_text(Utc::from_nanos(line.utc));
        text.push_str(format!("{at}  {} {}", line.what, line.detail).trim_end());
        text.push('\n');
    }
    object["told"] = json!(told);
    ui.result(&text, &object);
    Ok(Exit::Ok)
}

fn meters(ui: &Ui, data: &Path) -> Result<Exit, Failure> {
    let (_, stored) = stored(data)?;
    let shown = stored.map_or_else(Vec::new, |stored| stored.meters.shown());
    let mut lines = vec![["meter", "value", "told to the CMMS", ""].map(str::to_owned)];
    lines.extend(shown.iter().map(|of| {
        let value = format!("{} {}", of.value, of.unit).trim().to_owned();
        let sent = of.sent.map(|(value, at)| format!("{value} at {}", utc_text(at)));
        let error = of.error.clone().unwrap_or_default();
        [of.meter.clone(), value, sent.unwrap_or_else(|| "-".to_owned()), error]
    }));
    let mut object = ui.head("trimloop.work-meters/1", true);
    object["meters"] = shown
        .iter()
        .map(|of| {
            json!({
                "meter": of.meter, "value": of.value, "unit": of.unit, "error": of.error,
                "told": of.sent.map(|(value, at)| json!({"value": value, "at": utc_text(at)})),
            })
        })
        .collect();
    let text = table_text(&lines);
    ui.result(if shown.is_empty() { "nothing was counted yet\n" } else { &text }, &object);
    Ok(Exit::Ok)
}

/// How often the orders for a fault were right.
fn found(ui: &Ui, global: &Global, data: &Path) -> Result<Exit, Failure> {
    let base = Base::look(data).map_err(|error| unreadable(&error))?;
    let outcomes = base.map_or_else(|| Ok(Vec::new()), |base| base.outcomes());
    let outcomes = outcomes.map_err(|error| unreadable(&error))?;
    let all = precision(&outcomes, &settings(global)?.work.codes);
    let mut object = ui.head("trimloop.work-precision/1", true);
    object["interval"] = "wilson 95 %".into();
    object["faults"] = all.iter().map(precision_json).collect();
    let head = [
        "fault",
        "orders",
        "confirmed",
        "not found",
        "other",
        "unsaid",
        "called off",
        "precision",
        "95 % (Wilson)",
        "did not help",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(all.iter().map(|of| {
        let share = of.share();
        let percent = |x: f64| format!("{:.0} %", 100.0 * x);
        [
            faults::name(&of.subject),
            of.orders.to_string(),
            of.confirmed.to_string(),
            of.not_found.to_string(),
            of.other_fault.to_string(),
            (of.unsaid + of.deferred).to_string(),
            of.called_off.to_string(),
            share.map_or_else(|| "-".to_owned(), |(share, _)| percent(share)),
            share.map_or_else(
                || "-".to_owned(),
                |(_, [low, high])| format!("{} to {}", percent(low), percent(high)),
            ),
            of.ineffective.to_string(),
        ]
    }));
    let text = table_text(&lines);
    ui.result(if all.is_empty() { "no order was made yet\n" } else { &text }, &object);
    Ok(Exit::Ok)
}

fn precision_json(of: &Precision) -> Value {
    json!({
        "fault": faults::name(&of.subject),
        "fingerprint": of.subject.fingerprint().to_string(),
        "orders": of.orders,
        "confirmed": of.confirmed,
        "no_fault_found": of.not_found,
        "other_fault": of.other_fault,
        "deferred": of.deferred,
        "unsaid": of.unsaid,
        "called_off": of.called_off,
        "precision": of.share().map(|(share, _)| share),
        "low": of.share().map(|(_, [low, _])| low),
        "high": of.share().map(|(_, [_, high])| high),
        "ineffective": of.ineffective,
    })
}

fn order_text(order: &Order, text: &mut String) {
    let who = order.assignee.as_deref().unwrap_or("nobody yet");
    text.push_str(&format!(
        "\nOrder {}: {}, {who}\n{}\n",
        order.id,
        order.state.word(),
        order.title
    ));
    text.push_str(&order.body);
    for part in &order.parts {
        text.push_str(&format!("Part: {} x {} ({})\n", part.quantity, part.name, part.reference));
    }
    for (reference, quantity) in &order.used {
        text.push_str(&format!("Used: {quantity} x {reference}\n"));
    }
    let close = [
        ("Problem", &order.close.problem),
        ("Cause", &order.close.cause),
        ("Remedy", &order.close.remedy),
    ];
    for (word, code) in close {
        if let Some(code) = code {
            text.push_str(&format!("{word}: {code}\n"));
        }
    }
    for (at, actor, said) in &order.comments {
        text.push_str(&format!("{}  {actor}: {said}\n", utc_text(*at)));
    }
    text.push('\n');
}

fn order_json(order: &Order) -> Value {
    json!({
        "id": order.id,
        "title": order.title,
        "body": order.body,
        "priority": order.priority,
        "asset": order.asset,
        "state": order.state.word(),
        "assignee": order.assignee,
        "made": utc_text(order.made),
        "updated": utc_text(order.updated),
        "problem": order.close.problem,
        "cause": order.close.cause,
        "remedy": order.close.remedy,
        "parts": order.parts.iter().map(|part| json!({
            "name": part.name, "ref": part.reference, "quantity": part.quantity,
        })).collect::<Value>(),
        "used": order.used.iter().map(|(reference, quantity)| json!({
            "ref": reference, "quantity": quantity,
        })).collect::<Value>(),
        "comments": order.comments.iter().map(|(at, actor, text)| json!({
            "at": utc_text(*at), "actor": actor, "text": text,
        })).collect::<Value>(),
    })
}
