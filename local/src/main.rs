//! `cargo local`: runs Sluice on one machine.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Batches of JSON documents are many small allocations, for which this allocator is faster than that of the C library.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    local::command::run()
}
