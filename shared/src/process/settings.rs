//! A function's environment variables.

use std::time::Duration;

/// A variable that is missing or malformed. Startup fails, and the log shows this error.
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
    /// The variable is malformed. Its value is not shown, because it may be a secret.
    #[error("{name} is malformed: it should hold {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
}

/// Returns a variable of the process's environment. An empty variable counts as not set.
pub fn from_env(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads a number of days.
pub(crate) fn days(
    variable: impl Fn(&'static str) -> Option<String>,
    name: &'static str,
) -> Result<Option<i32>, SettingsError> {
    const A_CENTURY: i32 = 36_500;
    let days = |text: String| text.parse().ok().filter(|days| (1..=A_CENTURY).contains(days));
    variable(name)
        .map(|text| {
            days(text).ok_or(SettingsError::Malformed { name, expected: "a whole number of days from 1 to 36500" })
        })
        .transpose()
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
