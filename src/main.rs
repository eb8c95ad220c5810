//! The `trimloop` command; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    trimloop::cli::main()
}
