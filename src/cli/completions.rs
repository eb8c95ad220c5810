//! `trimloop completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use super::{Exit, Failure, Ui};

const EXAMPLES: &str = "\
Examples:
  trimloop completions bash > trimloop.bash
  trimloop completions zsh > _trimloop";

/// For which shell.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(ui: &Ui, args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "trimloop", &mut script);
    ui.text(&String::from_utf8_lossy(&script));
    Ok(Exit::Ok)
}
