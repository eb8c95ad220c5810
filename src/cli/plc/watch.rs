//! `trimloop plc watch`: what the service would see of a PLC, line by line.
//!
//! It runs the service's own link with nothing to write, so it reconnects as the service does.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use trimloop_core::tag::{Sample, Status, TagId};
use trimloop_core::time::Span;
use trimloop_recipe::plc_config::Address;

use super::super::run::Signals;
use super::super::{Exit, Failure, Global, Ui};
use super::target::{Target, block_on};
use crate::clock::span_of;
use crate::error::{NODE_NOT_FOUND, PLC_REFUSED, PLC_UNREACHABLE, REQUEST, chain};
use crate::intake::Intake;
use crate::notice::Notices;
use crate::output::utc_text;
use crate::plc::{
    self, ExploreError, LinkState, LinkStatus, NodeConfig, Purpose, Sought, explore, show_tag,
};
use crate::service::{node_config, spawn_link};

const EXAMPLES: &str = "\
Examples:
  trimloop plc watch                            All nodes of the one PLC config
  trimloop plc watch press-4 melt_temp --for 10s
  trimloop plc watch opc.tcp://127.0.0.1:4855 simulator:s=Press4.MeltTemp --count 5
  trimloop plc watch press-4 --format jsonl     One JSON object a line

Numbers, contacts and times only: what a tag can hold. Ends with Ctrl-C (exit 130).";

/// Between two looks at the link when nothing comes.
const LOOK: Span = Span::from_millis(100);

/// What to watch.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct WatchArgs {
    /// PLC (address, PLC config) where there are several, then nodes [default: all of its config]
    #[arg(value_name = "[CONFIG|URL] NODE")]
    words: Vec<String>,
    /// End after so many changes
    #[arg(long, env = "TRIMLOOP_COUNT", hide_env = true, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after this time, such as 10s or 5min
    #[arg(long = "for", env = "TRIMLOOP_FOR", hide_env = true, value_name = "TIME", value_parser = time)]
    within: Option<Duration>,
}

/// Reads `10s`, `500 ms`, `5min`, `1h`.
pub(in crate::cli) fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let ms = match unit.trim() {
        "ms" => 1,
        "s" | "" => 1_000,
        "min" | "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("a whole number with ms, s, min or h".to_owned()),
    };
    let number: u64 =
        number.parse().map_err(|_| "a whole number with ms, s, min or h".to_owned())?;
    match number.checked_mul(ms) {
        Some(ms @ 1..=604_800_000) => Ok(Duration::from_millis(ms)),
        _ => Err("from 1 ms to 168 h".to_owned()),
    }
}

pub(super) fn run(ui: &Ui, global: &Global, args: &WatchArgs) -> Result<Exit, Failure> {
    let internal = |error: &dyn std::error::Error| {
        Failure::new(&PLC_UNREACHABLE, chain(error), Exit::Internal)
    };
    // Before any thread is started, so that none of them takes the signal.
    let signals = Signals::block().map_err(|error| internal(&error))?;
    ui.start_logs("error");
    let (mut target, words) = Target::first_of(global, &args.words)?;
    target.warn_if_open(ui);
    let nodes = nodes(&target, words)?;
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    target.link.nodes = nodes;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("plc")
        .enable_all()
        .build()
        .map_err(|error| internal(&error))?;
    let mut interrupted = signals.into_receiver().map_err(|error| internal(&error))?;
    let clock = ui.clock();
    let (intake, mut batch) = Intake::new(names.len(), clock);
    let link = plc::link(target.link.clone(), intake.clone(), Notices::new(intake.clock(), None))
        .map_err(|error| Failure::new(&REQUEST, chain(&error), Exit::Usage))?;
    let session = spawn_link(link.tasks, runtime.handle());
    let end = args.within.map(|within| clock.mono() + span_of(within));
    let (mut told, mut before) = (0_u64, LinkStatus::default());
    let mut last = clock.mono();
    let exit = 'watch: loop {
        if !intake.wait(&mut batch, Some(last), LOOK) {
            break Ok(Exit::Ok);
        }
        last = clock.mono();
        for sample in &batch.changes {
            if !tell(ui, &names, sample) {
                break 'watch Ok(Exit::Ok);
            }
            told += 1;
            if args.count.is_some_and(|count| told >= count) {
                break 'watch Ok(Exit::Ok);
            }
        }
        let status = link.view.status();
        if let Err(failure) = link_news(ui, &before, &status, names.len()) {
            break Err(failure);
        }
        before = status;
        if interrupted.try_recv().is_ok() {
            break Ok(Exit::Interrupted);
        }
        if end.is_some_and(|end| last >= end) {
            break Ok(Exit::Ok);
        }
    };
    link.stop.send_replace(true);
    runtime.block_on(async {
        let goodbye = futures_util::future::join_all(session);
        drop(tokio::time::timeout(Duration::from_secs(2), goodbye).await);
    });
    exit
}

/// The nodes to watch, each a tag in order.
fn nodes(target: &Target, words: &[String]) -> Result<Vec<NodeConfig>, Failure> {
    if words.is_empty() {
        let all: Vec<NodeConfig> = target
            .plc
            .iter()
            .flat_map(|plc| &plc.nodes)
            .zip(0..)
            .map(|(node, tag)| node_config(node, Some(TagId(tag)), Purpose::Read))
            .collect();
        if !all.is_empty() {
            // Nobody listens where no PLC is: said at once, not after some attempts.
            block_on(explore(&target.link, async |_| Ok(())))?
                .map_err(|error| target.failure(&error))?;
            return Ok(all);
        }
        return Err(Failure::new(&REQUEST, "no node is named", Exit::Usage)
            .help("name nodes; `trimloop plc browse` lists them"));
    }
    let mut wrong = None;
    let found = block_on(explore(&target.link, async |explorer| {
        let aliases = target.aliases(explorer.namespaces());
        let mut addresses = Vec::with_capacity(words.len());
        for word in words {
            match aliases.sought(target.plc.as_ref(), word) {
                Ok(Sought::Address(address)) => addresses.push(address),
                Ok(Sought::Index(index, identifier)) => {
                    let uri = explorer.namespaces().get(usize::from(index)).cloned();
                    let namespace = uri.ok_or_else(|| {
                        let why = format!("{word}: the server has no namespace of this index");
                        ExploreError::NotThere(why)
                    })?;
                    addresses.push(Address::Id { namespace, identifier });
                }
                Err(failure) => {
                    wrong = Some(failure);
                    return Err(ExploreError::NotThere(String::new()));
                }
            }
        }
        Ok(addresses)
    }))?;
    if let Some(failure) = wrong {
        return Err(failure);
    }
    let addresses = found.map_err(|error| target.failure(&error))?;
    let nodes = words.iter().zip(addresses).zip(0..);
    Ok(nodes
        .map(|((name, address), tag)| NodeConfig {
            name: name.clone(),
            tag: Some(TagId(tag)),
            address,
            scalar: None,
            sampling_ms: 0.0,
            queue: None,
            purpose: Purpose::Read,
        })
        .collect())
}

fn tell(ui: &Ui, names: &[String], sample: &Sample) -> bool {
    let name = names.get(usize::from(sample.tag.0)).map_or("", String::as_str);
    let value = sample.value.map(show_tag);
    let status = match sample.status {
        Status::Good => "Good".to_owned(),
        Status::Uncertain(code) => format!("Uncertain 0x{code:08X}"),
        Status::Bad(code) => format!("Bad 0x{code:08X}"),
    };
    let time = sample.source_time.or(sample.server_time);
    let stamp = time.map_or_else(|| "-".to_owned(), utc_text);
    let shown = value.as_ref().map_or("-", |value| value.text.as_str());
    let human = format!("{stamp}  {name}  {shown}  {status}");
    let json = json!({
        "node": name, "value": value.map(|value| value.json), "status": status,
        "source_time": sample.source_time.map(utc_text),
        "server_time": sample.server_time.map(utc_text),
    });
    ui.row(&human, &json)
}

/// Says what changed with the link; fails when nothing can come of it.
fn link_news(ui: &Ui, before: &LinkStatus, now: &LinkStatus, nodes: usize) -> Result<(), Failure> {
    if now.problems != before.problems {
        for problem in &now.problems {
            ui.note(&format!("{}: {}", problem.node, problem.what));
        }
        if now.problems.len() == nodes {
            let why: Vec<String> =
                now.problems.iter().map(|p| format!("{}: {}", p.node, p.what)).collect();
            return Err(Failure::new(&NODE_NOT_FOUND, why.join("; "), Exit::Failed));
        }
    }
    if now.trouble != before.trouble
        && let Some(trouble) = &now.trouble
    {
        ui.note(&format!("link {}: {trouble}", now.state.word()));
        if now.state == LinkState::Refused {
            return Err(Failure::new(&PLC_REFUSED, trouble.clone(), Exit::NotPermitted));
        }
    }
    if now.state == LinkState::Live && before.state != LinkState::Live {
        ui.note("link live");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times as people write them.
    #[test]
    fn times() {
        for (text, ms) in [("10s", 10_000), ("500 ms", 500), ("5min", 300_000), ("2", 2_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "0s", "1.5s", "10 days", "9999999h"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
