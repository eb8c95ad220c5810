//! The `trimloop` command; everything is in the library.

use std::process::ExitCode;

/// Gives memory back that a start with many tags needs once; the system's keeps it (10,000 tags:
/// 62 MB instead of 102 MB, `benches/peers`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    trimloop::cli::main()
}
