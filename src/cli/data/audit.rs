//! `trimloop data audit`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};
use serde_json::json;

use crate::cli::model::{failure, write_new};
use crate::cli::source::SourceArgs;
use crate::cli::{Exit, Failure, Global, Ui};
use crate::learn::audit::{Audit, Severity, audit};
use crate::learn::card::{Card, CardTable};
use crate::learn::report;

const EXAMPLES: &str = "\
Examples:
  trimloop data audit --data normal.csv
  trimloop data audit --data parts.csv --label quality --report audit.html
  trimloop data audit --data a.csv b.csv --format json | jq '.findings[] | select(.check == \"gaps\")'

Checks: gaps, frozen sensors, outliers, coarse resolution, clocks, units, duplicate rows, constant and
repeated columns, memory between rows; with --label leakage, class balance, sampling bias.
Exit: 0 no problem, 1 at least one problem, 3 warnings with --deny-warnings.";

/// Which tables.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Column that shall be learnt
    #[arg(long, env = "TRIMLOOP_LABEL", hide_env = true, value_name = "COLUMN")]
    label: Option<String>,
    /// Write the report (HTML)
    #[arg(long, env = "TRIMLOOP_REPORT", hide_env = true, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Fail on warnings too
    #[arg(long, env = "TRIMLOOP_DENY_WARNINGS", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    deny_warnings: bool,
    /// Write over a report that is there
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    force: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &AuditArgs) -> Result<Exit, Failure> {
    let label = args.label.as_deref();
    let frame = args.source.frame(ui, global, label)?;
    let found = audit(&frame, label).map_err(|error| failure(&error))?;
    let names = args.source.name();
    if let Some(path) = &args.report {
        let page = report::html(&card(&found, &names), &[], env!("CARGO_PKG_VERSION"));
        write_new(path, page.as_bytes(), args.force)?;
    }
    let problems = found.count(Severity::Problem);
    let mut object = ui.head("trimloop.data.audit/1", problems == 0);
    object["rows"] = json!(found.rows);
    object["columns"] = json!(found.columns);
    object["recorded"] = json!(found.recorded);
    object["findings"] = json!(found.findings);
    ui.result(&text(&found, &names), &object);
    Ok(match (problems, found.count(Severity::Warning)) {
        (0, warnings) if warnings > 0 && args.deny_warnings => Exit::Warnings,
        (0, _) => Exit::Ok,
        _ => Exit::Failed,
    })
}

fn counts(found: &Audit) -> String {
    let all = [Severity::Problem, Severity::Warning, Severity::Note].map(|severity| {
        let count = found.count(severity);
        format!("{count} {}{}", severity.word(), if count == 1 { "" } else { "s" })
    });
    all.join(", ")
}

fn text(found: &Audit, names: &str) -> String {
    let mut text = format!("{names}: {} rows of {} columns", found.rows, found.columns);
    if !found.recorded.is_empty() {
        text.push_str(&format!(", {}", found.recorded));
    }
    text.push('\n');
    for finding in &found.findings {
        text.push_str(&format!(
            "\n{} [{}] {}: {}\n  why:  {}\n  next: {}\n",
            finding.severity.word(),
            finding.check,
            finding.place,
            finding.what,
            finding.why,
            finding.next
        ));
    }
    text.push_str(&format!("\n{}\n", counts(found)));
    text
}

fn card(found: &Audit, names: &str) -> Card {
    let mut facts = vec![
        ("rows".to_owned(), found.rows.to_string()),
        ("columns".to_owned(), found.columns.to_string()),
    ];
    if !found.recorded.is_empty() {
        facts.push(("recorded".to_owned(), found.recorded.clone()));
    }
    facts.push(("found".to_owned(), counts(found)));
    let head = ["", "check", "where", "what", "why it matters", "what to do"];
    let rows = found.findings.iter().map(|finding| {
        vec![
            finding.severity.word().to_owned(),
            finding.check.to_owned(),
            finding.place.clone(),
            finding.what.clone(),
            finding.why.to_owned(),
            finding.next.to_owned(),
        ]
    });
    let findings = CardTable {
        title: "Findings, worst first".to_owned(),
        head: head.map(str::to_owned).into(),
        rows: rows.collect(),
    };
    Card {
        id: format!("Audit of {names}"),
        headline: "What is wrong with these data, before anything is learnt from them.".to_owned(),
        facts,
        tables: vec![findings, found.summary.clone()],
        ..Card::default()
    }
}
