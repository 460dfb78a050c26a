//! The settings that every function except `migrate` reads from its environment.

use std::path::PathBuf;
use std::time::Duration;

use crate::database::DatabaseSource;
use crate::process::settings::{SettingsError, days, seconds};

/// The settings that every function except `migrate` needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach the database.
    pub database: DatabaseSource,
    /// `CONTRACTS_DIR`: a folder with contracts that are used instead of the built-in ones.
    pub contracts_dir: Option<PathBuf>,
    /// `WAIT_FOR_PARENT_SECONDS`: the time after which an event that waits for its parent is rejected.
    pub wait_for_parent: Duration,
    /// How long login attempts and the contents of dead letters are kept.
    pub retention: Retention,
}

/// The times for which old data is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// `DEAD_LETTERS_FOR_DAYS`: how long dead letters keep their key, headers and payload. `None` keeps them forever.
    pub dead_letters_days: Option<i32>,
    /// `LOGIN_ATTEMPTS_FOR_DAYS`: how long login attempts are kept. `None` keeps them forever.
    pub login_attempts_days: Option<i32>,
}

/// The maximum time that an event waits for its parent, by default.
pub const WAIT_FOR_PARENT: Duration = Duration::from_secs(3_600);

impl Settings {
    /// Reads the settings through `variable`.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        Ok(Self {
            database: DatabaseSource::read(&variable)?,
            contracts_dir: variable("CONTRACTS_DIR").map(PathBuf::from),
            wait_for_parent: seconds(&variable, "WAIT_FOR_PARENT_SECONDS", WAIT_FOR_PARENT)?,
            retention: Retention {
                dead_letters_days: days(&variable, "DEAD_LETTERS_FOR_DAYS")?,
                login_attempts_days: days(&variable, "LOGIN_ATTEMPTS_FOR_DAYS")?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(changed: &'static str, value: &'static str) -> Result<Settings, SettingsError> {
        Settings::read(|name| match name {
            _ if name == changed => Some(value.to_owned()).filter(|value| !value.is_empty()),
            "DATABASE_URL" => Some("postgres://localhost/sluice".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn the_error_names_the_malformed_variable_but_does_not_show_its_value() {
        for (name, value) in [
            ("DATABASE_URL", "mysql://root:secret@localhost"),
            ("WAIT_FOR_PARENT_SECONDS", "an hour"),
            ("DEAD_LETTERS_FOR_DAYS", "-1"),
            ("DEAD_LETTERS_FOR_DAYS", "36501"),
            ("LOGIN_ATTEMPTS_FOR_DAYS", "a week"),
        ] {
            let error = with(name, value).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(&format!("{name} is malformed")), "{error}");
            assert!(!error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_retention_of_zero_days_is_refused() {
        assert!(with("DEAD_LETTERS_FOR_DAYS", "0").is_err());
        assert!(with("LOGIN_ATTEMPTS_FOR_DAYS", "0").is_err());
    }

    #[test]
    fn old_data_is_kept_forever_by_default() {
        let retention = |settings: Result<Settings, SettingsError>| settings.ok().map(|settings| settings.retention);
        assert_eq!(retention(with("NONE", "")), Some(Retention::default()));
        let days = retention(with("DEAD_LETTERS_FOR_DAYS", "30"));
        assert_eq!(days, Some(Retention { dead_letters_days: Some(30), login_attempts_days: None }));
        let days = retention(with("LOGIN_ATTEMPTS_FOR_DAYS", "1"));
        assert_eq!(days, Some(Retention { dead_letters_days: None, login_attempts_days: Some(1) }));
    }

    #[test]
    fn an_event_waits_an_hour_for_its_parent_by_default() {
        let waits = |settings: Result<Settings, SettingsError>| settings.ok().map(|s| s.wait_for_parent.as_secs());
        assert_eq!(waits(with("NONE", "")), Some(3_600));
        assert_eq!(waits(with("WAIT_FOR_PARENT_SECONDS", "5")), Some(5));
    }
}
