//! Locates the functions' real binaries.

use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;

/// Returns the folder with the binaries. `SLUICE_BINARIES` names this folder, relative to the workspace: for example,
/// `target/release`. Without that variable, builds the binaries, with the same profile as the tests.
pub async fn folder() -> PathBuf {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    match std::env::var_os("SLUICE_BINARIES") {
        Some(folder) => Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder),
        None => FOLDER.get_or_init(build).await.clone(),
    }
}

async fn build() -> PathBuf {
    const BINARIES: [&str; 6] = ["console", "consume", "ingest", "migrate", "report", "users"];
    let mut arguments = vec!["--workspace"];
    arguments.extend(BINARIES.iter().flat_map(|binary| ["--bin", binary]));
    if !cfg!(debug_assertions) {
        arguments.push("--release");
    }
    local::lambda::build(&arguments).await.unwrap()
}
