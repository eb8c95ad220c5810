//! `trimloop plc profiles`: what is known of vendors' servers.

use clap::Args;
use serde_json::{Value, json};
use trimloop_core::time::Span;
use trimloop_recipe::diagnostic::did_you_mean;
use trimloop_recipe::plc_config::{PROFILES, Profile, profile};

use super::super::{Exit, Failure, Ui};
use crate::error::REQUEST;

const EXAMPLES: &str = "\
Examples:
  trimloop plc profiles                All of them
  trimloop plc profiles s7-1500        The file of one, with the source of each number
  trimloop plc profiles --json

A PLC config takes one by `profile = \"s7-1500\"` in [plc]. What it states itself wins; the limits
that the server states win over both where they are lower.";

/// Which profile to show.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ProfilesArgs {
    /// Its name; without it all are listed
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub(super) fn run(ui: &Ui, args: &ProfilesArgs) -> Result<Exit, Failure> {
    let mut object = ui.head("trimloop.plc-profiles/1", true);
    let Some(name) = &args.name else {
        let known = || PROFILES.iter().filter_map(|(name, _)| profile(name));
        let width = known().map(|one| one.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for one in known() {
            text.push_str(&format!("{:width$}  {}\n", one.name, one.title));
        }
        object["profiles"] = known().map(describe).collect::<Vec<_>>().into();
        ui.result(&text, &object);
        return Ok(Exit::Ok);
    };
    let file = PROFILES.iter().find(|(known, _)| known == name);
    let Some(((_, text), found)) = file.zip(profile(name)) else {
        let near = did_you_mean(name, PROFILES.iter().map(|(known, _)| *known));
        let help = near.unwrap_or_else(|| "`trimloop plc profiles` lists them".to_owned());
        let message = format!("there is no profile \"{name}\"");
        return Err(Failure::new(&REQUEST, message, Exit::Usage).help(help));
    };
    object["profiles"] = vec![describe(found)].into();
    ui.result(text, &object);
    Ok(Exit::Ok)
}

fn describe(profile: &Profile) -> Value {
    let millis = |span: Option<Span>| span.map(Span::as_millis);
    let notes = profile.notes.iter().map(|(about, text)| json!({ "about": about, "text": text }));
    json!({
        "name": profile.name,
        "title": profile.title,
        "read_per_call": profile.per_call.read,
        "write_per_call": profile.per_call.write,
        "monitor_per_call": profile.per_call.monitor,
        "other_per_call": profile.per_call.other,
        "publishing_ms": millis(profile.publishing),
        "publishing_min_ms": millis(profile.publishing_min),
        "sampling_min_ms": millis(profile.sampling_min),
        "queue": profile.queue,
        "ids": profile.ids,
        "refuses_status": profile.refuses_status,
        "run_on_hardware": false,
        "notes": notes.collect::<Vec<_>>(),
    })
}
