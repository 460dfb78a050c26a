//! The environment variables that configure registration.

use shared::identity::password::Blocklist;
use shared::process::settings::SettingsError;

/// Who may register users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Everyone.
    Open,
    /// Only admins.
    Closed,
}

/// How users register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsersSettings {
    /// `REGISTRATION`: `open` by default.
    pub registration: Registration,
    /// `PASSWORD_BLOCKLIST`: `common` by default.
    pub blocklist: Blocklist,
}

impl UsersSettings {
    /// Reads the settings through `variable`.
    ///
    /// # Errors
    /// A variable is malformed. The error names the first such variable.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        Ok(Self {
            registration: match variable("REGISTRATION").as_deref() {
                None | Some("open") => Registration::Open,
                Some("closed") => Registration::Closed,
                Some(_) => return Err(SettingsError::Malformed { name: "REGISTRATION", expected: "open or closed" }),
            },
            blocklist: Blocklist::read(&variable)?,
        })
    }
}
