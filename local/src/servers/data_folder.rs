//! Manages the folder in which the servers keep their files.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ServerError;

/// A folder for the servers' files: a temporary one that is removed on drop, or a permanent one.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl DataFolder {
    /// Creates a temporary folder.
    ///
    /// # Errors
    /// The system's temporary folder is not writable.
    pub fn temporary() -> io::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("sluice-").tempdir()?;
        // Makes the folder accessible to other users, because PostgreSQL runs as another user if this process is root.
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o711))?;
        Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) })
    }

    /// Opens a permanent folder, and creates it if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn kept(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self { path: path.canonicalize()?, temporary: None })
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the folder is temporary.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Removes the folder if it is temporary. If the removal fails, retries for a few seconds.
    pub async fn remove(self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let Some(temporary) = self.temporary else {
            return;
        };
        // Disables removal on drop, so that the removal can be retried. A removal can fail because a dying process may
        // still create a file.
        let folder = temporary.keep();
        let deadline = Instant::now() + PATIENCE;
        let mut turn = tokio::time::interval(Duration::from_millis(50));
        loop {
            turn.tick().await;
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && Instant::now() < deadline => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!("{} could not be removed: {error}", folder.display());
                    return;
                }
                Ok(()) | Err(_) => return,
            }
        }
    }

    /// Returns a server's own folder within this folder.
    pub(super) fn subfolder(&self, name: &str) -> Subfolder {
        Subfolder { path: self.path.join(name), is_temporary: self.is_temporary() }
    }
}

/// Returns an unused path next to a folder. Removes leftovers of an interrupted start from that path.
pub(super) fn fresh_folder(folder: &Path) -> Result<PathBuf, ServerError> {
    let fresh = folder.with_extension("new");
    match fs::remove_dir_all(&fresh) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ServerError::Folder { path: fresh, source }),
        Ok(()) | Err(_) => Ok(fresh),
    }
}

/// One server's part of a [`DataFolder`].
#[derive(Debug, Clone)]
pub(super) struct Subfolder {
    pub(super) path: PathBuf,
    pub(super) is_temporary: bool,
}
