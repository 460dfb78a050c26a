//! The functions' real binaries.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FUNCTIONS: [&str; 3] = ["consume", "ingest", "users"];

/// The folder that they are in: `SLUICE_BINARIES`, such as `target/release` in the workspace, or where they are built now - with the
/// features that they have in `cargo test --workspace`, which has built them by then.
pub async fn folder() -> PathBuf {
    match std::env::var_os("SLUICE_BINARIES") {
        Some(folder) => Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
        None => tokio::task::spawn_blocking(build).await.unwrap(),
    }
}

fn build() -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--workspace", "--features", "shared/testing"]);
    command.args(FUNCTIONS.iter().flat_map(|function| ["--bin", function]));
    command.args(["--message-format", "json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "cargo could not build the functions");
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = FUNCTIONS.iter().any(|function| message["target"]["name"] == *function);
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    executable.as_deref().and_then(|executable| executable.parent()).unwrap().to_owned()
}
