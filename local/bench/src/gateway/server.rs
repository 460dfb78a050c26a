//! Runs a server under load, and measures the CPU time and memory that its process uses.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use local::CommandError;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::serve::{Kind, SERVE};
use crate::process::{peak_bytes, processor_time};

/// A running server. Dropping it kills the process.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    process: Child,
}

/// The broker, the database and the contracts that a server uses.
pub(crate) struct Surroundings<'s> {
    pub(crate) brokers: &'s str,
    pub(crate) database: &'s str,
    pub(crate) contracts: &'s Path,
    /// The mapping's batching window. `None` is the window of template.yaml.
    pub(crate) window: Option<Duration>,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(crate) async fn start(kind: Kind, surroundings: &Surroundings<'_>) -> Result<Self, CommandError> {
        let program: PathBuf = std::env::current_exe().map_err(CommandError::Serve)?;
        let mut process = Command::new(&program)
            .args([SERVE, kind.argument(), "--brokers", surroundings.brokers, "--database", surroundings.database])
            .arg("--contracts")
            .arg(surroundings.contracts)
            .args(surroundings.window.map(|window| format!("--window-ms={}", window.as_millis())))
            // The log has the same level as in production, and goes to a pipe, as the log of a container does.
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| CommandError::Command { program: program.into(), source })?;
        let failed = || CommandError::Bench(format!("the server {} did not start", kind.argument()));
        if let Some(mut log) = process.stderr.take() {
            tokio::spawn(async move { tokio::io::copy(&mut log, &mut tokio::io::sink()).await });
        }
        let mut lines = BufReader::new(process.stdout.take().ok_or_else(failed)?).lines();
        let port: u16 = lines.next_line().await.ok().flatten().and_then(|line| line.parse().ok()).ok_or_else(failed)?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { kind, url: format!("http://127.0.0.1:{port}"), process })
    }

    /// Returns the CPU time that the process has used.
    pub(crate) fn processor_time(&self) -> Result<Duration, CommandError> {
        processor_time(self.pid()?)
    }

    /// Returns the process's peak memory, in bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64, CommandError> {
        peak_bytes(self.pid()?)
    }

    fn pid(&self) -> Result<u32, CommandError> {
        let ended = || CommandError::Bench(format!("the server {} has ended", self.kind.argument()));
        self.process.id().ok_or_else(ended)
    }
}
