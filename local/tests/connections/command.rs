//! Runs `cargo local` with commands that end by themselves.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// The output of a command, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) is_well: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The time limit for a command. A command gives up on refused connections before this limit, but waits longer than
/// this for a silent broker.
const PATIENCE: Duration = Duration::from_secs(25);

/// Runs a subcommand with its arguments. The command gets `variables`, but does not inherit the variables that name
/// servers.
pub(crate) async fn run(subcommand: &str, variables: &[(&str, &str)]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_local"))
        .args(subcommand.split(' '))
        .env_remove("DATABASE_URL")
        .env_remove("KAFKA_BOOTSTRAP_SERVERS")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("the command ends in time").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { is_well: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Said {
    /// Returns the line with the reason for the failure.
    pub(crate) fn error(&self) -> &str {
        assert!(!self.is_well, "{self:?}");
        self.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default()
    }
}
