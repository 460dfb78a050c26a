//! Runs the load generator, `wrk`, in a separate process, so that its CPU time is not counted as the server's.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use local::CommandError;
use serde::Deserialize;
use tokio::process::Command;

/// The measurements of one run of the load generator.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    failed: u64,
    elapsed_us: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

/// Installs the load generator if it is missing.
///
/// # Errors
/// The load generator cannot be installed.
pub(crate) async fn install() -> Result<(), CommandError> {
    let install = "set -euo pipefail; . local/prerequisites.sh; install_for_benchmarks >&2";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let installed = Command::new("bash").args(["-c", install]).current_dir(root).stdin(Stdio::null()).status().await;
    match installed.map_err(|source| CommandError::Command { program: "bash".into(), source })? {
        status if status.success() => Ok(()),
        status => Err(CommandError::Bench(format!("wrk cannot be installed: {status}"))),
    }
}

/// Writes the load generator's script into a folder. Returns the file.
pub(crate) fn write_script(folder: &Path) -> Result<PathBuf, CommandError> {
    let script = folder.join("load.lua");
    std::fs::write(&script, include_str!("load.lua")).map_err(CommandError::Data)?;
    Ok(script)
}

impl Load {
    /// Sends requests over this many connections for this duration. Each connection sends its next request as soon as
    /// its previous request has been answered.
    ///
    /// # Errors
    /// wrk cannot run, or a request failed.
    pub(crate) async fn run(
        script: &Path,
        url: &str,
        authorization: &str,
        connections: u32,
        duration: Duration,
    ) -> Result<Self, CommandError> {
        let output = Command::new("wrk")
            .args(["--threads", "1", "--connections", &connections.to_string()])
            .args(["--duration", &format!("{}s", duration.as_secs()), "--timeout", "10s", "--script"])
            .arg(script)
            .args([url, "--", authorization, &rand::random::<u32>().to_string()])
            .output()
            .await
            .map_err(|source| CommandError::Command { program: "wrk".into(), source })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = |what: &str| CommandError::Bench(format!("{url}: {what}"));
        let figures = text.lines().rev().find(|line| line.starts_with('{')).ok_or_else(|| failed("wrk: no figures"))?;
        let load: Self = serde_json::from_str(figures).map_err(|error| failed(&error.to_string()))?;
        if load.failed > 0 || load.requests == 0 {
            return Err(failed(&format!("{} of {} requests failed", load.failed, load.requests)));
        }
        Ok(load)
    }

    /// Returns the requests per second.
    #[expect(clippy::cast_precision_loss, reason = "request counts are small")]
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / (self.elapsed_us as f64 / 1e6)
    }
}
