//! Reads variables from the process's environment and from a file given with `--env-file`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use shared::database::DatabaseSource;
use shared::identity::password::Blocklist;
use shared::kafka::KafkaSource;
use shared::process::settings::SettingsError;

/// Why a file of variables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line is not `NAME=value`.
    #[error("{}: line {line} should be NAME=value", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, counted from 1.
        line: usize,
    },
}

/// The variables from which settings are read.
#[derive(Debug, Default)]
pub struct Environment {
    file: HashMap<String, String>,
}

impl Environment {
    /// Combines the process's variables with the file's variables. If both define a variable, the process's value is
    /// used.
    ///
    /// A line of the file is `NAME=value`, optionally after `export`. The value may be quoted. Empty lines and lines
    /// that begin with `#` are skipped.
    ///
    /// # Errors
    /// The file cannot be read, or a line is malformed.
    pub fn with_file(path: Option<&Path>) -> Result<Self, EnvironmentError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path)
            .map_err(|source| EnvironmentError::Unreadable { path: path.to_owned(), source })?;
        let variables = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| {
                variable(line).ok_or_else(|| EnvironmentError::Line { path: path.to_owned(), line: number })
            });
        Ok(Self { file: variables.collect::<Result<_, _>>()? })
    }

    /// Returns a variable's value. `None` if the variable is missing or empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        let value = std::env::var(name).ok().or_else(|| self.file.get(name).cloned());
        value.filter(|value| !value.is_empty())
    }

    /// Returns the file's variables that the process's environment does not contain.
    pub fn only_in_file(&self) -> impl Iterator<Item = (&str, &str)> {
        let from_file = self.file.iter().filter(|(name, _)| std::env::var_os(name).is_none());
        from_file.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns whether common and breached passwords are rejected for admins (`PASSWORD_BLOCKLIST`). Unlike in the
    /// deployed functions, the default is `off`.
    ///
    /// # Errors
    /// The variable is malformed.
    pub fn blocklist(&self) -> Result<Blocklist, SettingsError> {
        Blocklist::read(|name| Some(self.variable(name).unwrap_or_else(|| "off".to_owned())))
    }

    /// Returns the settings of the Kafka cluster that the environment names.
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn kafka(&self) -> Result<KafkaSource, SettingsError> {
        KafkaSource::read(|name| self.variable(name))
    }

    /// Returns the settings of the database that the environment names.
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn database(&self) -> Result<DatabaseSource, SettingsError> {
        DatabaseSource::read(|name| self.variable(name))
    }

    /// Returns the folder of contracts. `None` for the built-in contracts.
    pub fn contracts_dir(&self) -> Option<PathBuf> {
        self.variable("CONTRACTS_DIR").map(PathBuf::from)
    }
}

fn variable(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let value = value.trim();
    let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    is_name.then(|| (name.to_owned(), unquoted.unwrap_or(value).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_name_and_a_value_that_may_be_quoted() {
        let read = |line| variable(line).map(|(name, value)| format!("{name}|{value}"));
        assert_eq!(read("A=b").as_deref(), Some("A|b"));
        assert_eq!(read("export A = 'b c' ").as_deref(), Some("A|b c"));
        assert_eq!(read(r#"URL="postgres://u:p@h/d?a=b""#).as_deref(), Some("URL|postgres://u:p@h/d?a=b"));
        assert_eq!(read("A=").as_deref(), Some("A|"));
        assert_eq!(read("A"), None);
        assert_eq!(read("A B=c"), None);
    }
}
