//! PostgreSQL refuses to run as root: which account it runs under instead.

use std::process::Command;

use super::ServerError;

/// A user of this machine.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The account to run under where we are root: `postgres` if there is one, else `nobody`. None where we are not.
pub(super) fn to_drop_to() -> Result<Option<Account>, ServerError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    ["postgres", "nobody"].into_iter().find_map(account).map(Some).ok_or(ServerError::NoAccount)
}

/// Asks `id`, which knows every source of accounts, not only `/etc/passwd`.
fn account(name: &str) -> Option<Account> {
    let number = |which: &str| {
        let output = Command::new("id").args([which, name]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some(Account { uid: number("-u")?, gid: number("-g")? })
}
