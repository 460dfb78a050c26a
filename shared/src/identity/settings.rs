//! The environment variables that configure authentication and lockout.

use std::time::Duration;

use super::lockout::Rule;
use super::token::TokenKeys;
use crate::process::settings::{SettingsError, seconds};

/// The settings of authentication and lockout.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// `TOKEN_KEY`.
    pub token_keys: TokenKeys,
    /// `TOKEN_FOR_SECONDS`: how long a token is valid.
    pub token_for: Duration,
    /// `BLOCK_AFTER`, `BLOCK_WINDOW_SECONDS`, `BLOCK_FOR_SECONDS`.
    pub lockout: Rule,
}

impl IdentitySettings {
    /// Reads the settings through `variable`.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        const NAME: &str = "TOKEN_KEY";
        const EXPECTED: &str = "at least 32 random bytes in hex or base64, or several such keys separated by commas";
        let text = variable(NAME).ok_or(SettingsError::Missing { name: NAME, expected: EXPECTED })?;
        let token_keys = TokenKeys::parse(&text).ok_or(SettingsError::Malformed { name: NAME, expected: EXPECTED })?;
        let milliseconds = |name, default_seconds| {
            let duration = seconds(&variable, name, Duration::from_secs(default_seconds))?;
            Ok(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4))
        };
        Ok(Self {
            token_keys,
            token_for: Duration::from_secs(number(&variable, "TOKEN_FOR_SECONDS", 3_600)? as u64),
            lockout: Rule {
                after: number(&variable, "BLOCK_AFTER", 5)?,
                window_ms: milliseconds("BLOCK_WINDOW_SECONDS", 60)?,
                for_ms: milliseconds("BLOCK_FOR_SECONDS", 900)?,
            },
        })
    }
}

/// Reads a whole number that is at least 1.
fn number(
    variable: impl Fn(&'static str) -> Option<String>,
    name: &'static str,
    default: usize,
) -> Result<usize, SettingsError> {
    let Some(text) = variable(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or(SettingsError::Malformed { name, expected: "a whole number of at least 1" })
}
