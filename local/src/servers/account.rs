//! Selects the account for PostgreSQL, which refuses to run as root.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ServerError;

/// A user of this machine.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: &'static str,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// Checks that the account may enter every folder on the path to `folder`.
    ///
    /// # Errors
    /// Names the first folder that the account may not enter.
    pub(super) fn must_enter(&self, folder: &Path) -> Result<(), ServerError> {
        match self.first_closed(folder) {
            Some(folder) => Err(ServerError::ClosedFolder { user: self.name, folder }),
            None => Ok(()),
        }
    }

    /// Returns the first folder on the path from the root to `folder` that the account may not enter.
    fn first_closed(&self, folder: &Path) -> Option<PathBuf> {
        let mut path: Vec<&Path> = folder.ancestors().collect();
        path.reverse();
        path.into_iter().find(|folder| self.is_closed(folder)).map(Path::to_owned)
    }

    /// Returns whether the account may not enter the folder. Starts a program there as the account, so that the kernel
    /// decides: the folder's mode says nothing about access control lists.
    fn is_closed(&self, folder: &Path) -> bool {
        let mut command = Command::new("true");
        command.current_dir(folder).uid(self.uid).gid(self.gid).stdin(Stdio::null());
        command.status().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// Returns the account to use if this process is root: `postgres` if it exists, else `nobody`. Returns `None` if this
/// process is not root.
pub(super) fn to_drop_to() -> Result<Option<Account>, ServerError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    ["postgres", "nobody"].into_iter().find_map(account).map(Some).ok_or(ServerError::NoAccount)
}

/// Runs the program `id` to look up an account, because `id` reads every source of accounts, not only `/etc/passwd`.
fn account(name: &'static str) -> Option<Account> {
    let number = |which: &str| {
        let output = Command::new("id").args([which, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some(Account { name, uid: number("-u")?, gid: number("-g")? })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Returns the account that PostgreSQL would run under: that of `to_drop_to` if this process is root, else the
    /// process's own account.
    fn account() -> Account {
        let own = || Account {
            name: "own",
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        };
        to_drop_to().unwrap().unwrap_or_else(own)
    }

    #[test]
    fn the_first_folder_that_the_account_cannot_enter_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        assert_eq!(account().first_closed(folder.path()), None);

        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        // Nobody but root may enter the folder. Its owner may read it, so that it can be removed.
        fs::set_permissions(&closed, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(account().first_closed(&closed.join("data/postgresql")), Some(closed));
    }

    #[test]
    fn the_error_is_one_line_that_names_the_folder_the_user_and_what_to_do() {
        let error = ServerError::ClosedFolder { user: "postgres", folder: PathBuf::from("/tmp/closed") }.to_string();
        assert!(!error.contains('\n'), "{error}");
        for words in ["the user postgres", "cannot enter /tmp/closed", "`chmod o+x /tmp/closed`", "--data"] {
            assert!(error.contains(words), "{words} is missing: {error}");
        }
    }
}
