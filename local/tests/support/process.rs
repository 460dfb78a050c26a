//! `cargo local up` as a process of its own, on servers that are there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::gateway::ADMIN;

/// A running `cargo local up`. Dropped, it is killed.
pub struct UpProcess {
    /// Its address, without a slash at the end.
    pub url: String,
    child: Child,
    folder: TempDir,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl UpProcess {
    /// Starts it on this database and the cluster that all tests share, with these contracts and further variables.
    pub async fn start(database_url: &str, contracts: &Path, variables: &[(&str, &str)]) -> Self {
        let servers = super::from_with_servers("KAFKA_BOOTSTRAP_SERVERS");
        Self::spawn(&servers, database_url, contracts, &[], variables).await
    }

    /// Starts it on this database and another cluster, with these contracts and further arguments.
    pub async fn start_on(servers: &str, database_url: &str, contracts: &Path, arguments: &[&str]) -> Self {
        Self::spawn(servers, database_url, contracts, arguments, &[]).await
    }

    async fn spawn(
        servers: &str,
        database_url: &str,
        contracts: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = |name: &str| Stdio::from(File::create(folder.path().join(name)).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_local"))
            .args(["up", "--port", "0", "--database", database_url])
            .args(["--broker", servers])
            .args(arguments)
            .args(["--admin", &format!("{}:{}", ADMIN.0, ADMIN.1)])
            .env("CONTRACTS_DIR", contracts)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut process = Self { url: String::new(), child, folder };
        let ready = async {
            loop {
                let said = std::fs::read_to_string(process.log("stdout")).unwrap();
                if let Some(line) = said.lines().find_map(|line| line.strip_prefix("Sluice is ready at ")) {
                    break line.trim().to_owned();
                }
                if let Some(status) = process.child.try_wait().unwrap() {
                    let said = std::fs::read_to_string(process.log("stderr")).unwrap();
                    panic!("it ended with {status}: {said}");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let url = tokio::time::timeout(PATIENCE, ready).await.expect("it is ready in time");
        process.url = url;
        process
    }

    /// A file with what it said: `stdout` or `stderr`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A figure of the kernel's about it, in KiB, such as `VmHWM`.
    pub fn kibibytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Has the kernel forget how much memory it has used at most.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id().unwrap()), "5").unwrap();
    }

    /// Stops it as Ctrl-C does.
    pub async fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it stops in time").unwrap();
    }
}
