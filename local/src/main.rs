//! `cargo local`: runs Sluice on one machine.

use std::process::ExitCode;

fn main() -> ExitCode {
    local::command::run()
}
