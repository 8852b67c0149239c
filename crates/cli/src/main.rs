//! The `streamledger` command: the allocator, and the way into the library.

use std::process::ExitCode;

/// Batches and rows come and go on several threads; mimalloc is built for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    streamledger_cli::main()
}
