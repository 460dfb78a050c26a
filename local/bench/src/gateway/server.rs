//! A server under load, and what its process used.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use local::CommandError;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::serve::{Kind, SERVE};

/// The kernel counts CPU time in ticks of 10 ms on every machine that Linux runs on today (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server. It is killed when this is dropped.
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) url: String,
    process: Child,
}

/// What a server runs with.
pub(super) struct Surroundings<'s> {
    pub(super) brokers: &'s str,
    pub(super) database: &'s str,
    pub(super) contracts: &'s Path,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(super) async fn start(kind: Kind, surroundings: &Surroundings<'_>) -> Result<Self, CommandError> {
        let program: PathBuf = std::env::current_exe().map_err(CommandError::Serve)?;
        let mut process = Command::new(&program)
            .args([SERVE, kind.argument(), "--brokers", surroundings.brokers, "--database", surroundings.database])
            .arg("--contracts")
            .arg(surroundings.contracts)
            // As users run it. The lines go to a pipe that is read, as a container's would.
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

    /// Returns the CPU time that the process has used, in seconds.
    pub(super) fn cpu_seconds(&self) -> Result<f64, CommandError> {
        let stat = self.read("stat")?;
        // The fields follow the program's name in parentheses; utime and stime are the 14th and the 15th (proc_pid_stat(5)).
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_ascii_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        Ok(ticks.sum::<f64>() / TICKS_PER_SECOND)
    }

    /// Returns the most memory that the process has had, in bytes.
    pub(super) fn peak_memory_bytes(&self) -> Result<u64, CommandError> {
        let status = self.read("status")?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Ok(kilobytes.unwrap_or_default() * 1_024)
    }

    fn read(&self, file: &str) -> Result<String, CommandError> {
        let failed = |error: &dyn std::fmt::Display| CommandError::Bench(format!("/proc/PID/{file}: {error}"));
        let id = self.process.id().ok_or_else(|| failed(&"the server has ended"))?;
        std::fs::read_to_string(format!("/proc/{id}/{file}")).map_err(|error| failed(&error))
    }
}
