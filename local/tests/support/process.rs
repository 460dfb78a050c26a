//! Runs `cargo local up` as a separate process, with existing servers or with its own servers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::gateway::ADMIN;

/// A running `cargo local up`. Dropping this value kills the process.
pub struct UpProcess {
    /// The gateway's address, without a trailing slash.
    pub url: String,
    child: Child,
    folder: TempDir,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl UpProcess {
    /// Starts `up` with this database, the cluster that all tests share, these contracts, and additional variables.
    pub async fn start(database_url: &str, contracts: &Path, variables: &[(&str, &str)]) -> Self {
        let servers = super::from_with_servers("KAFKA_BOOTSTRAP_SERVERS");
        Self::spawn(&servers, database_url, contracts, &[], variables).await
    }

    /// Starts `up` with this database, this cluster, these contracts, and additional arguments.
    pub async fn start_on(servers: &str, database_url: &str, contracts: &Path, arguments: &[&str]) -> Self {
        Self::spawn(servers, database_url, contracts, arguments, &[]).await
    }

    /// Starts `up` with the built-in contracts and its own servers, whose files are in this folder.
    pub async fn start_in(data: &Path) -> Self {
        Self::run(&["--data", data.to_str().unwrap()], &[("CONTRACTS_DIR", "")]).await
    }

    async fn spawn(
        servers: &str,
        database_url: &str,
        contracts: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let admin = format!("{}:{}", ADMIN.0, ADMIN.1);
        let fixed = ["--database", database_url, "--broker", servers, "--admin", &admin];
        let contracts = ("CONTRACTS_DIR", contracts.to_str().unwrap());
        Self::run(&[&fixed, arguments].concat(), &[variables, &[contracts]].concat()).await
    }

    async fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = |name: &str| Stdio::from(File::create(folder.path().join(name)).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_local"))
            .args(["up", "--port", "0"])
            .args(arguments)
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
                    panic!("`up` ended with {status}: {said}");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let url = tokio::time::timeout(PATIENCE, ready).await.expect("`up` is ready in time");
        process.url = url;
        process
    }

    /// Returns the rest of the printed line that begins with these words.
    pub fn printed(&self, words: &str) -> String {
        let said = std::fs::read_to_string(self.log("stdout")).unwrap();
        let rest = said.lines().find_map(|line| line.strip_prefix(words));
        rest.unwrap_or_else(|| panic!("no line begins with {words}: {said}")).to_owned()
    }

    /// Returns the file with the process's output: `stdout` or `stderr`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns one of the kernel's figures about the process, such as `VmHWM`, in KiB.
    pub fn kibibytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Resets the kernel's record of the process's peak memory.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id().unwrap()), "5").unwrap();
    }

    /// Returns the process's children and all their descendants.
    pub fn descendants(&self) -> Vec<Descendant> {
        let all: Vec<Descendant> = std::fs::read_dir("/proc").unwrap().filter_map(Descendant::read).collect();
        let mut parents = vec![self.child.id().unwrap()];
        let mut found = Vec::new();
        while let Some(parent) = parents.pop() {
            let children = all.iter().filter(|process| process.parent == parent);
            for child in children {
                parents.push(child.id);
                found.push(child.clone());
            }
        }
        found
    }

    /// Stops the process with SIGTERM, which `up` handles like Ctrl-C.
    pub async fn stop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("`up` stops in time").unwrap();
    }
}

/// A process that `cargo local up` started, directly or through another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descendant {
    /// The name of the process's program.
    pub name: String,
    id: u32,
    parent: u32,
}

impl Descendant {
    fn read(entry: std::io::Result<std::fs::DirEntry>) -> Option<Self> {
        Self::with_id(entry.ok()?.file_name().to_str()?.parse().ok()?)
    }

    fn with_id(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let mut rest = rest.split_ascii_whitespace();
        // A process in state `Z` has ended, but its parent has not yet collected the exit status.
        let is_ended = rest.next()? == "Z";
        let parent = rest.next()?.parse().ok()?;
        (!is_ended).then(|| Self { name: name.to_owned(), id, parent })
    }

    /// Returns whether the process is still running.
    pub fn is_alive(&self) -> bool {
        Self::with_id(self.id).is_some_and(|now| now.name == self.name)
    }
}
