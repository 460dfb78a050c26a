//! What a function is told by its environment.

use std::path::PathBuf;
use std::time::Duration;

use crate::database::DatabaseSource;

/// A variable that is missing or malformed: the start stops with this one line.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SettingsError {
    /// The variable is not set.
    #[error("{name} is not set: it should hold {expected}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// The variable holds something else than it should. Its value is not repeated: it may be a secret.
    #[error("{name} is malformed: it should hold {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
}

/// What every function needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the database is reached.
    pub database: DatabaseSource,
    /// `CONTRACTS_DIR`: a folder of contracts instead of the built-in ones.
    pub contracts_dir: Option<PathBuf>,
    /// `WAIT_FOR_PARENT_SECONDS`: how long a row waits for its parent before it is rejected.
    pub wait_for_parent: Duration,
}

/// How long a row waits for its parent unless told otherwise.
pub const WAIT_FOR_PARENT: Duration = Duration::from_secs(3_600);

/// A variable of the process's environment; an empty one counts as not set.
pub fn from_env(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Settings {
    /// Reads variables from wherever `variable` finds them.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        Ok(Self {
            database: DatabaseSource::read(&variable)?,
            contracts_dir: variable("CONTRACTS_DIR").map(PathBuf::from),
            wait_for_parent: seconds(&variable, "WAIT_FOR_PARENT_SECONDS", WAIT_FOR_PARENT)?,
        })
    }
}

/// Reads a number of seconds.
pub(crate) fn seconds(
    variable: impl Fn(&'static str) -> Option<String>,
    name: &'static str,
    default: Duration,
) -> Result<Duration, SettingsError> {
    match variable(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map(Duration::from_secs)
            .map_err(|_| SettingsError::Malformed { name, expected: "a whole number of seconds" }),
    }
}

/// Reads a number from 1.
pub(crate) fn number(
    variable: impl Fn(&'static str) -> Option<String>,
    name: &'static str,
    default: usize,
) -> Result<usize, SettingsError> {
    match variable(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or(SettingsError::Malformed { name, expected: "a whole number from 1" }),
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
    fn a_malformed_variable_is_named_without_its_value() {
        for (name, value) in [("DATABASE_URL", "mysql://root:secret@localhost"), ("WAIT_FOR_PARENT_SECONDS", "an hour")]
        {
            let error = with(name, value).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(&format!("{name} is malformed")), "{error}");
            assert!(!error.contains(value), "{error}");
        }
    }

    #[test]
    fn a_row_waits_an_hour_for_its_parent_unless_told_otherwise() {
        let waits = |settings: Result<Settings, SettingsError>| settings.ok().map(|s| s.wait_for_parent.as_secs());
        assert_eq!(waits(with("NONE", "")), Some(3_600));
        assert_eq!(waits(with("WAIT_FOR_PARENT_SECONDS", "5")), Some(5));
    }
}
