//! `trimloop why`: the chain from inputs to effect of one decision.

use clap::Args;
use serde_json::json;

use super::audit::DataArg;
use super::{Exit, Failure, Global, Ui};
use crate::error::{NO_RECORD, PLACE, STORE_OPEN, chain};
use crate::output::{RecordId, moment};
use crate::why::{Question, WhyError, why, why_text};

const EXAMPLES: &str = "\
Examples:
  trimloop why 7-12                                      Write 12 of start 7
  trimloop why e7-33                                     An event, and the decision it belongs to
  trimloop why d7-105                                    A decision, held ones too
  trimloop why --at 2026-11-22T21:09:52 --loop weight    What it decided last, at that time
  trimloop why 7-12 --format json

Ids stand in `trimloop status` and in its events. Works on the data folder alone, whether the
service runs or not. Exit: 0 answered, 2 no such record (the answer says which there are), 4 not
readable.";

/// What is asked about.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct WhyArgs {
    /// Id of a write (7-12), event (e7-33) or decision (d7-105)
    #[arg(required_unless_present = "at", conflicts_with = "at")]
    id: Option<String>,
    /// What was decided last at this UTC time
    #[arg(long, env = "TRIMLOOP_AT", hide_env = true, value_name = "TIME")]
    at: Option<String>,
    /// Only of this loop
    #[arg(long = "loop", env = "TRIMLOOP_LOOP", hide_env = true, value_name = "NAME")]
    loop_name: Option<String>,
    #[command(flatten)]
    data: DataArg,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &WhyArgs) -> Result<Exit, Failure> {
    let usage = |text: &str, error: &dyn std::error::Error| {
        let message = format!("\"{text}\" is no record: {error}");
        Failure::new(&PLACE, message, Exit::Usage)
            .help("ids stand in `trimloop status` and in its events")
    };
    let question = match (&args.id, &args.at) {
        (Some(text), _) => {
            Question::Id(text.trim().parse::<RecordId>().map_err(|error| usage(text, &error))?)
        }
        (None, Some(text)) => {
            let at = moment(text).map_err(|error| {
                let message = format!("\"{text}\" is no time: {error}");
                Failure::new(&PLACE, message, Exit::Usage)
                    .help("a time is written 2026-11-22T21:09:52, in UTC")
            })?;
            Question::At(at, args.loop_name.clone())
        }
        (None, None) => {
            let message = "nothing was asked about";
            return Err(Failure::new(&PLACE, message, Exit::Usage).help("trimloop why 7-12"));
        }
    };
    let answer = why(&args.data.folder(global)?, &question).map_err(|error| {
        let text = chain(&error);
        match error {
            WhyError::Nothing { .. } => Failure::new(&NO_RECORD, text, Exit::Usage)
                .help("ids stand in `trimloop status` and in its events"),
            WhyError::NoStore(_) | WhyError::Read { .. } => {
                Failure::new(&STORE_OPEN, text, Exit::Unreachable)
                    .help("name the folder with --data, or its project with --config")
            }
        }
    })?;
    let mut object = ui.head("trimloop.why/1", true);
    let body = json!(answer);
    if let (Some(object), Some(body)) = (object.as_object_mut(), body.as_object()) {
        object.extend(body.clone());
    }
    ui.result(&why_text(&answer), &object);
    Ok(Exit::Ok)
}
