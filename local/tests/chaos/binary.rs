//! The real binary of `consume`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds it and says where it is. With the features that it has in `cargo test --workspace`, which has built it by
/// then.
pub(crate) fn of_consume() -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--workspace", "--features", "shared/testing", "--bin", "consume"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "cargo could not build consume");
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == "consume";
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    executable.expect("cargo names the executable that it built")
}
