//! What the environment says of registration.

use shared::identity::password::Blocklist;
use shared::settings::SettingsError;

/// Who may register users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Everybody.
    Open,
    /// Admins.
    Closed,
}

/// How users register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsersSettings {
    /// `REGISTRATION`: `open` unless told otherwise.
    pub registration: Registration,
    /// `PASSWORD_BLOCKLIST`: `common` unless told otherwise.
    pub blocklist: Blocklist,
}

impl UsersSettings {
    /// Reads variables from wherever `variable` finds them.
    ///
    /// # Errors
    /// The first variable that is malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        Ok(Self {
            registration: match variable("REGISTRATION").as_deref() {
                None | Some("open") => Registration::Open,
                Some("closed") => Registration::Closed,
                Some(_) => return Err(SettingsError::Malformed { name: "REGISTRATION", expected: "open or closed" }),
            },
            blocklist: match variable("PASSWORD_BLOCKLIST").as_deref() {
                None | Some("common") => Blocklist::Common,
                Some("off") => Blocklist::Off,
                Some(_) => {
                    return Err(SettingsError::Malformed { name: "PASSWORD_BLOCKLIST", expected: "common or off" });
                }
            },
        })
    }
}
