//! AWS's own emulation of Lambda, the Runtime Interface Emulator, which contains Lambda's code for the Runtime API and
//! the Extensions API. `local/test` installs the emulator if Go is installed. Without the emulator, the tests that need
//! it print that they are skipped, and pass. <https://github.com/aws/aws-lambda-runtime-interface-emulator>

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::support::binaries;

const PROGRAM: &str = "aws-lambda-rie";
const PATIENCE: Duration = Duration::from_secs(60);

/// A function under the emulator. Dropping this value kills the emulator. [`Emulated::stop`] also ends the function.
pub(crate) struct Emulated {
    emulator: Child,
    url: String,
    http: reqwest::Client,
    folder: TempDir,
}

/// Returns the path of the emulator. If the emulator is not installed, prints that the test is skipped, and returns
/// `None`.
pub(crate) fn installed() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(target.join("tools/bin")).chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(PROGRAM)).find(|program| program.is_file());
    if found.is_none() {
        // A passing test hides the output of `eprintln!`, but not what is written to `stderr` directly.
        let _shown =
            writeln!(std::io::stderr(), "a test under Lambda's emulator: skipped, because {PROGRAM} is not installed");
    }
    found
}

impl Emulated {
    /// Starts the emulator with this environment and timeout. The emulator starts the function at the first invocation.
    pub(crate) async fn start(
        program: &Path,
        name: &'static str,
        environment: &[(&'static str, String)],
        timeout: Duration,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let (address, runtime_api) = (unused_address(), unused_address());
        let emulator = Command::new(program)
            .args(["--runtime-interface-emulator-address", &address, "--runtime-api-address", &runtime_api])
            .arg(binaries::folder().await.join(name))
            .env_clear()
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", timeout.as_secs().to_string())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let url = format!("http://{address}/2015-03-31/functions/function/invocations");
        Self { emulator, url, http: reqwest::Client::new(), folder }
    }

    /// Returns the function's answer to an event.
    pub(crate) async fn invoke(&self, event: &Value) -> Value {
        let asked = async {
            loop {
                match self.http.post(&self.url).body(event.to_string()).send().await {
                    Ok(answer) => break answer,
                    Err(error) if error.is_connect() => tokio::time::sleep(Duration::from_millis(10)).await,
                    Err(error) => panic!("{error}: {}", self.log()),
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{}", self.log()));
        let text = answer.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}: {}", self.log()))
    }

    /// Ends the emulator, which ends the function with SIGTERM, as Lambda does. Returns the log of the emulator and the
    /// function.
    pub(crate) async fn stop(mut self) -> String {
        let emulator = Pid::from_raw(self.emulator.id().unwrap().cast_signed()).unwrap();
        kill_process(emulator, Signal::TERM).unwrap();
        tokio::time::timeout(PATIENCE, self.emulator.wait()).await.expect("the emulator ends").unwrap();
        self.log()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

fn unused_address() -> String {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string()
}
