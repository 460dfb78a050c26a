//! Where the servers keep their files.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ServerError;

/// A folder for the servers' files: a temporary one, removed when this is dropped, or one that stays.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl DataFolder {
    /// A fresh folder that is removed at the end.
    ///
    /// # Errors
    /// The system's folder for temporary files cannot be written to.
    pub fn temporary() -> io::Result<Self> {
        let temporary = tempfile::Builder::new().prefix("sluice-").tempdir()?;
        // Passable, as PostgreSQL runs as another user where we are root.
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o711))?;
        Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) })
    }

    /// A folder that is created if it is not there, and stays.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn kept(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self { path: path.canonicalize()?, temporary: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is removed at the end.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// Removes it, if it is temporary, once nothing uses it any more.
    pub async fn remove(self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let Some(temporary) = self.temporary else {
            return;
        };
        // Kept from here on, so that it can be tried again: a process that was killed may have created a last file
        // while we were at it.
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

    /// A server's own place in it.
    pub(super) fn subfolder(&self, name: &str) -> Subfolder {
        Subfolder { path: self.path.join(name), is_temporary: self.is_temporary() }
    }
}

/// A name beside a folder's, with nothing there: what an interrupted start has left is removed.
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
