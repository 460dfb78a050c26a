//! Repeats a command in a build with the AWS SDK, if the command's settings name resources at AWS.
//!
//! `local/up` needs no AWS, and without the SDK its first build takes a fifth less time.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use operator::terminal::complain;

/// Replaces this process with the same command line, built with the AWS SDK. Returns only if that fails.
pub(crate) fn repeat() -> io::Error {
    complain("building with the AWS SDK, because the settings name resources at AWS");
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .args(["--features", "aws", "--bin", "local", "--"])
        .args(std::env::args_os().skip(1))
        .exec()
}
