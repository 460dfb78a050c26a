//! `cargo local` as a process that ends by itself.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// What a command said, and whether it went well.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) is_well: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Longer than a broker that refuses may be tried, shorter than one that does not answer.
const PATIENCE: Duration = Duration::from_secs(25);

/// Runs a subcommand with these variables and no others that say how servers are reached.
pub(crate) async fn run(subcommand: &str, variables: &[(&str, &str)]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_local"))
        .arg(subcommand)
        .env_remove("DATABASE_URL")
        .env_remove("KAFKA_BOOTSTRAP_SERVERS")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends in time").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { is_well: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Said {
    /// The line that says why it did not go well.
    pub(crate) fn error(&self) -> &str {
        assert!(!self.is_well, "{self:?}");
        self.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default()
    }
}
