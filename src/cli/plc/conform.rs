//! `trimloop plc conform`: the conformance test of the handshake blocks, as a report.

use clap::Args;
use serde_json::json;

use crate::cli::{Exit, Failure, Ui};
use crate::error::{CONFORM_LINK, CONFORM_MODE};
use crate::output::utc_text;
use crate::plc::conform::{Conform, ConformError, Report, conform};

const EXAMPLES: &str = "\
Examples:
  trimloop plc conform opc.tcp://127.0.0.1:4855
  trimloop plc conform opc.tcp://127.0.0.1:4855 --only Press4.HoldPressureGuard
  trimloop plc conform opc.tcp://127.0.0.1:4855 --format json > report.json

It writes only while every guard of the cell shows Test = TRUE, and takes about 15 s a guard.
Exit: 0 every check passed, 1 one failed, 4 no connection or no blocks, 5 not in test mode.
The report shows what the blocks did. It is no safety certificate.";

/// What to test.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ConformArgs {
    /// Address of the PLC: opc.tcp://HOST:PORT
    url: String,
    /// Only this guard, by its path below Objects; may be given again
    #[arg(long, env = "TRIMLOOP_ONLY", hide_env = true, value_name = "GUARD")]
    only: Vec<String>,
}

pub(super) fn run(ui: &Ui, args: &ConformArgs) -> Result<Exit, Failure> {
    ui.start_logs("warn");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(&CONFORM_LINK, error.to_string(), Exit::Unreachable))?;
    let setup = Conform {
        url: args.url.clone(),
        only: args.only.clone(),
        pki_dir: std::env::temp_dir().join("trimloop-conform-pki"),
    };
    ui.note(&format!("Testing the handshake blocks of {}.", args.url));
    let report = runtime.block_on(conform(&setup, ui.clock())).map_err(|error| failure(&error))?;
    let exit = if report.passed() { Exit::Ok } else { Exit::Failed };
    let mut object = ui.head("trimloop.conform/1", report.passed());
    let head = &report.server;
    object["url"] = json!(report.url);
    object["server"] = json!({
        "uri": head.uri, "product": head.product,
        "manufacturer": head.manufacturer, "version": head.version,
    });
    object["owner"] = json!(report.owner);
    object["guards"] = json!(report.guards);
    object["passed"] = json!(report.checks.len() - report.failed().count());
    object["failed"] = json!(report.failed().count());
    object["safety"] = json!(SAFETY);
    object["checks"] = report
        .checks
        .iter()
        .map(|check| {
            json!({
                "id": check.id, "block": check.block, "rules": check.rules, "done": check.done,
                "expected": check.expected, "seen": check.seen, "passed": check.passed,
            })
        })
        .collect();
    ui.result(&text(&report, &utc_text(ui.clock().utc())), &object);
    Ok(exit)
}

const SAFETY: &str = "This is no safety certificate: it shows what the blocks did in this test, \
                      on this day, and nothing about the machine.";

fn text(report: &Report, when: &str) -> String {
    let server = &report.server;
    let mut out = format!(
        "Conformance of the handshake blocks\n\
         date      {when}, trimloop {}\n\
         PLC       {}\n\
         server    {} {} ({}), {}\n\
         blocks    {}, {}\n",
        env!("CARGO_PKG_VERSION"),
        report.url,
        server.product,
        server.version,
        server.manufacturer,
        server.uri,
        report.owner,
        report.guards.join(", "),
    );
    let mut block = "";
    for check in &report.checks {
        if block != check.block {
            block = &check.block;
            out.push_str(&format!("\n{block}\n"));
        }
        let mark = if check.passed { "\x1b[32mpass\x1b[0m" } else { "\x1b[31mFAIL\x1b[0m" };
        out.push_str(&format!(
            " {mark}  {} ({})\n       done      {}\n       expected  {}\n       seen      {}\n",
            check.id, check.rules, check.done, check.expected, check.seen
        ));
    }
    let failed = report.failed().count();
    let passed = report.checks.len() - failed;
    out.push_str(&format!("\n{passed} passed, {failed} failed. {SAFETY}\n"));
    out
}

fn failure(error: &ConformError) -> Failure {
    let message = error.to_string();
    match error {
        ConformError::Setup(_) => Failure::new(&CONFORM_LINK, message, Exit::Usage)
            .help("write the address as opc.tcp://HOST:PORT"),
        ConformError::Link(_) => Failure::new(&CONFORM_LINK, message, Exit::Unreachable)
            .help("is the server running, and does it take anonymous sessions on this address?"),
        ConformError::Blocks(_) => Failure::new(&CONFORM_LINK, message, Exit::Unreachable)
            .help("publish the instances of TL_Owner and TL_Guard with all their members"),
        ConformError::NotInTest(_) => Failure::new(&CONFORM_MODE, message, Exit::NotPermitted)
            .help("bring the machine to a safe state, then let the PLC program set Test"),
        ConformError::Owned(_) => Failure::new(&CONFORM_MODE, message, Exit::NotPermitted)
            .help("stop that controller first: the test must be the only one that writes"),
    }
}
