//! A server's log file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::data_folder::Subfolder;
use super::error::LogTail;

/// A server's log file.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    is_kept: bool,
}

impl Log {
    pub(super) fn in_folder(folder: &Subfolder) -> Self {
        Self { path: folder.path.join("server.log"), is_kept: !folder.is_temporary }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the log for a process to write to.
    pub(super) fn append(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(&self.path)
    }

    /// Returns the position at which the log currently ends, for [`Log::since`].
    pub(super) fn end(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Returns the text that was written after `position`, but at most the last 64 KiB.
    pub(super) fn since(&self, position: u64) -> String {
        const MOST_BYTES: u64 = 64 * 1024;
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(position.max(self.end().saturating_sub(MOST_BYTES))))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok(text)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }

    /// Returns the log's last lines. If the log's folder is permanent, also returns the log's path.
    pub(super) fn tail(&self) -> LogTail {
        const MOST_LINES: usize = 8;
        let text = self.since(0);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        LogTail {
            last_lines: lines[lines.len().saturating_sub(MOST_LINES)..].iter().map(|line| (*line).to_owned()).collect(),
            path: self.is_kept.then(|| self.path.clone()),
        }
    }
}
