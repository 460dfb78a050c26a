//! Selects the account for PostgreSQL, which refuses to run as root.

use std::process::Command;

use super::ServerError;

/// A user of this machine.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
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
fn account(name: &str) -> Option<Account> {
    let number = |which: &str| {
        let output = Command::new("id").args([which, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some(Account { uid: number("-u")?, gid: number("-g")? })
}
