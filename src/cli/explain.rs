//! `trimloop explain TLnnnn`.

use clap::Args;
use serde_json::json;

use super::{Exit, Failure, Ui};
use crate::error::{all_codes, find_code};

const EXAMPLES: &str = "\
Examples:
  trimloop explain TL0103
  trimloop explain --list";

/// What to explain.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    /// Code as printed in an error, such as TL0214
    #[arg(required_unless_present = "list")]
    code: Option<String>,
    /// List all codes
    #[arg(long, env = "TRIMLOOP_LIST", hide_env = true, value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    list: bool,
}

pub(super) fn run(ui: &Ui, args: &ExplainArgs) -> Result<Exit, Failure> {
    let mut all: Vec<_> = all_codes().collect();
    all.sort_by_key(|code| code.code);
    if args.list {
        let text: String =
            all.iter().map(|code| format!("{}  {}\n", code.code, code.title)).collect();
        let mut object = ui.head("trimloop.codes/1", true);
        object["codes"] =
            all.iter().map(|code| json!({ "code": code.code, "title": code.title })).collect();
        ui.result(&text, &object);
        return Ok(Exit::Ok);
    }
    let asked = args.code.as_deref().unwrap_or_default();
    let Some(code) = find_code(asked) else {
        return Err(Failure::Coded {
            code: "TL0103".into(),
            message: format!("there is no code {asked}"),
            help: "codes are TL and four digits; `trimloop explain --list` lists them".into(),
            exit: Exit::Usage as u8,
        });
    };
    let mut object = ui.head("trimloop.code/1", true);
    object["code"] = json!(code.code);
    object["title"] = json!(code.title);
    object["means"] = json!(code.means);
    object["why"] = json!(code.why);
    object["wrong"] = json!(code.wrong);
    object["right"] = json!(code.right);
    ui.result(&code.page(), &object);
    Ok(Exit::Ok)
}
