//! The `trimloop` command; everything is in the library.

use std::process::ExitCode;

use libmimalloc_sys::{
    mi_option_eager_commit_delay, mi_option_set, mi_option_t, mi_option_use_numa_nodes,
};

/// Gives memory back that a start with many tags needs once; the system's keeps it (10,000 tags:
/// 62 MB instead of 102 MB, `benches/peers`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, which the crate leaves out of its list.
const PURGE_DELAY: mi_option_t = 15;
const _: () = assert!(
    mi_option_eager_commit_delay + 1 == PURGE_DELAY && PURGE_DELAY + 1 == mi_option_use_numa_nodes
);

fn main() -> ExitCode {
    // Later it gives back only when a thread allocates again, which a steady service hardly does.
    #[expect(unsafe_code, reason = "the allocator is written in C")]
    // SAFETY: it stores one number, and no other thread runs yet.
    unsafe {
        mi_option_set(PURGE_DELAY, 0);
    }
    trimloop::cli::main()
}
