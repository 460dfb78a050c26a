//! Locates PostgreSQL's programs.

use std::fs;
use std::path::PathBuf;

use super::ServerError;

/// Returns the folder with `initdb` and `postgres`. Looks for the newest version in Debian's folder, then in Homebrew's
/// folders, and last for any version in `PATH`.
pub(super) fn folder() -> Result<PathBuf, ServerError> {
    let has_both = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    let versioned =
        [("/usr/lib/postgresql", ""), ("/opt/homebrew/opt", "postgresql@"), ("/usr/local/opt", "postgresql@")];
    let newest = versioned.iter().find_map(|(parent, prefix)| {
        let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
            .ok()?
            .flatten()
            .filter_map(|entry| {
                let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
                Some((version, entry.path().join("bin")))
            })
            .filter(|(_, folder)| has_both(folder))
            .collect();
        found.sort();
        found.pop().map(|(_, folder)| folder)
    });
    newest
        .or_else(|| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).find(has_both)
        })
        .ok_or(ServerError::NotInstalled { what: "PostgreSQL (initdb and postgres)" })
}
