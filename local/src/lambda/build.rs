//! The functions' binaries, built when they are wanted.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::LambdaError;

/// Builds with cargo, given `arguments` that choose what and how; answers the folder of the binaries.
///
/// # Errors
/// cargo is not there, or cannot build them.
pub async fn build(arguments: &[&str]) -> Result<PathBuf, LambdaError> {
    let failed = |source| LambdaError::Start { name: "cargo build", source };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--message-format", "json-render-diagnostics"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .map_err(failed)?;
    if !output.status.success() {
        return Err(failed(io::Error::other(output.status.to_string())));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        // Not a dependency's build script.
        let is_ours = message["target"]["kind"] == serde_json::json!(["bin"]);
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    let folder = executable.as_deref().and_then(Path::parent).map(Path::to_owned);
    folder.ok_or_else(|| failed(io::Error::other("it names no binary")))
}
