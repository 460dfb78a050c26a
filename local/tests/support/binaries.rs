//! Locates the functions' real binaries.

use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;

/// Returns their folder: `SLUICE_BINARIES`, such as `target/release` in the workspace, or the folder of a debug build,
/// which `cargo test --workspace` has made by then.
pub async fn folder() -> PathBuf {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    match std::env::var_os("SLUICE_BINARIES") {
        Some(folder) => Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
        None => FOLDER.get_or_init(build).await.clone(),
    }
}

async fn build() -> PathBuf {
    let mut arguments = vec![
        "--workspace",
        "--bin",
        "console",
        "--bin",
        "consume",
        "--bin",
        "ingest",
        "--bin",
        "report",
        "--bin",
        "users",
    ];
    if !cfg!(debug_assertions) {
        arguments.push("--release");
    }
    local::lambda::build(&arguments).await.unwrap()
}
