//! Runs a command again in a build with the AWS SDK, if the command's settings name resources at AWS.
//!
//! By default, builds leave the SDK out: `local/up` does not need it, and the first build then takes a fifth less time.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use operator::terminal::complain;

/// Replaces this process with a build that contains the AWS SDK, and passes on the arguments. Returns only if that
/// fails.
pub(crate) fn repeat() -> io::Error {
    complain("building with the AWS SDK, because the settings name resources at AWS");
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .args(["--features", "aws", "--bin", "local", "--"])
        .args(std::env::args_os().skip(1))
        .exec()
}
