//! The default admin on this machine. The command line may name another admin instead.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use operator::credentials::Credentials;

use crate::servers::DataFolder;

/// Returns the demo admin's credentials. The password is random. If `data` is permanent, later runs use the same
/// password.
///
/// # Errors
/// The password cannot be read from `data` or written to it.
pub(super) fn credentials(data: &DataFolder) -> io::Result<Credentials> {
    let password = if data.is_temporary() { random_password() } else { kept_password(data)? };
    Ok(Credentials { name: "demo".to_owned(), password })
}

const PASSWORD_FILE: &str = "demo-password";

fn random_password() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Reads the password that an earlier run left in the folder. If there is none, writes a new password to a file that
/// only its owner can read.
fn kept_password(data: &DataFolder) -> io::Result<String> {
    let path = data.path().join(PASSWORD_FILE);
    let kept = match fs::read_to_string(&path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    if !kept.is_empty() {
        return Ok(kept);
    }
    let password = random_password();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(password.as_bytes())?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_kept_folder_keeps_the_demo_password_in_a_file_that_only_its_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let password = || credentials(&DataFolder::kept(folder.path()).unwrap()).unwrap().password;
        let first = password();
        assert_eq!(password(), first);
        assert_eq!(first.len(), 32);
        let mode = fs::metadata(folder.path().join(PASSWORD_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn each_temporary_folder_has_its_own_demo_password() {
        let password = || credentials(&DataFolder::temporary().unwrap()).unwrap().password;
        assert_ne!(password(), password());
    }
}
