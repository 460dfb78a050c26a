//! Reads older contracts: from a folder, or from a commit of the repository that holds the current contracts.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use shared::contract::json;

use super::compare::Documents;

/// Why the older contracts cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A folder or a file cannot be read.
    #[error("--against: {}: {source}", .path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The program `git` cannot be started.
    #[error("--against: git cannot be started: {0}")]
    Git(#[source] io::Error),
    /// The value of `--against` is neither a folder nor a commit.
    #[error("--against: {against:?} should be a folder, or a commit, branch or tag of the repository of {}", .folder.display())]
    Unknown {
        /// The value of `--against`.
        against: String,
        /// The folder of the current contracts.
        folder: PathBuf,
    },
    /// The folder or commit that `--against` names contains no contract.
    #[error("--against: {0} contains no *.json file")]
    Empty(String),
    /// A contract is not JSON.
    #[error("--against: {file}: {error}")]
    NotJson {
        /// The file.
        file: String,
        /// What is wrong.
        error: String,
    },
}

/// Reads the older contracts. `against` is the path of a folder, or names a commit of the repository that holds
/// `folder`.
///
/// # Errors
/// There are no contracts, or they cannot be read.
pub(super) fn read(against: &str, folder: &Path) -> Result<Documents, SourceError> {
    let path = Path::new(against);
    let files = if path.is_dir() { in_folder(path)? } else { in_commit(against, folder)? };
    let documents = files.into_iter().map(|(name, text)| document(&name, &text)).collect::<Result<Documents, _>>()?;
    if documents.is_empty() { Err(SourceError::Empty(against.to_owned())) } else { Ok(documents) }
}

fn document(name: &str, text: &[u8]) -> Result<(String, Value), SourceError> {
    let stream = name.strip_suffix(".json").unwrap_or(name).to_owned();
    match json::parse(text) {
        Ok(document) => Ok((stream, document)),
        Err(error) => Err(SourceError::NotJson { file: name.to_owned(), error: error.to_string() }),
    }
}

type Files = Vec<(String, Vec<u8>)>;

fn in_folder(folder: &Path) -> Result<Files, SourceError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| SourceError::Unreadable { path, source }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".json")) {
            files.push((name.to_owned(), std::fs::read(&path).map_err(unreadable(&path))?));
        }
    }
    Ok(files)
}

fn in_commit(reference: &str, folder: &Path) -> Result<Files, SourceError> {
    let unknown = || SourceError::Unknown { against: reference.to_owned(), folder: folder.to_owned() };
    let commit =
        git(folder, &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{reference}^{{commit}}")])?;
    let commit = commit.and_then(|commit| String::from_utf8(commit).ok()).ok_or_else(unknown)?;
    let commit = commit.trim();
    // Names and paths are relative to the folder.
    let listed = git(folder, &["ls-tree", "-z", "--name-only", commit, "./"])?.ok_or_else(unknown)?;
    let names = listed.split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let mut files = Vec::new();
    for name in names.filter(|name| name.ends_with(".json")) {
        let text = git(folder, &["show", &format!("{commit}:./{name}")])?.ok_or_else(unknown)?;
        files.push((name.to_owned(), text));
    }
    Ok(files)
}

/// Runs git in a folder. Returns git's output, or `None` if git fails.
fn git(folder: &Path, arguments: &[&str]) -> Result<Option<Vec<u8>>, SourceError> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().map_err(SourceError::Git)?;
    Ok(output.status.success().then_some(output.stdout))
}
