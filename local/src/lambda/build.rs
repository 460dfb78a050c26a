//! Builds the functions' binaries on demand.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::LambdaError;

/// Builds binaries with cargo. `arguments` select the packages and the profile. Returns the binaries' folder.
///
/// # Errors
/// cargo is not installed, or the build fails.
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
        // Skips the build scripts of dependencies.
        let is_ours = message["target"]["kind"] == serde_json::json!(["bin"]);
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    });
    let folder = executable.as_deref().and_then(Path::parent).map(Path::to_owned);
    folder.ok_or_else(|| failed(io::Error::other("cargo reported no binary")))
}
