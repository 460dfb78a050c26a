//! The functions' real binaries.

use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;

/// The folder that they are in: `SLUICE_BINARIES`, such as `target/release` in the workspace, or where they are built
/// now - with the features that they have in `cargo test --workspace`, which has built them by then.
pub async fn folder() -> PathBuf {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    match std::env::var_os("SLUICE_BINARIES") {
        Some(folder) => Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
        None => FOLDER.get_or_init(build).await.clone(),
    }
}

async fn build() -> PathBuf {
    let mut arguments = vec!["--workspace", "--features", "shared/testing"];
    arguments.extend(["--bin", "consume", "--bin", "ingest", "--bin", "report", "--bin", "users"]);
    if !cfg!(debug_assertions) {
        arguments.push("--release");
    }
    local::lambda::build(&arguments).await.unwrap()
}
