//! Variables: the process's, and those of a file given with `--env-file`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use report::ReportSettings;
use shared::database::DatabaseSource;
use shared::identity::IdentitySettings;
use shared::kafka::KafkaSource;
use shared::settings::{Settings, SettingsError};
use users::UsersSettings;

/// Why a file of variables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// It cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not `NAME=value`.
    #[error("{}: line {line} should be NAME=value", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// Where settings are read from.
#[derive(Debug, Default)]
pub struct Environment {
    file: HashMap<String, String>,
}

impl Environment {
    /// The process's variables and, where they are not set, the file's.
    ///
    /// A line of the file is `NAME=value`, perhaps after `export`; the value may be quoted. Empty lines and those
    /// that begin with `#` mean nothing.
    ///
    /// # Errors
    /// The file cannot be read, or a line in it is something else.
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

    /// A variable's value; none if it is empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        let value = std::env::var(name).ok().or_else(|| self.file.get(name).cloned());
        value.filter(|value| !value.is_empty())
    }

    /// Settings for this database; the environment says the rest, and how a database knows us that is not ours.
    ///
    /// # Errors
    /// A variable is malformed.
    pub fn settings_for(&self, database_url: &str, is_ours: bool) -> Result<Settings, SettingsError> {
        Settings::read(|name| match name {
            "DATABASE_URL" => Some(database_url.to_owned()),
            "DATABASE_SECRET_ARN" | "DATABASE_AUTH" if is_ours => None,
            _ => self.variable(name),
        })
    }

    /// How these brokers are reached; the environment says how they know us, if they are not ours.
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn kafka_at(&self, bootstrap_servers: &str, is_ours: bool) -> Result<KafkaSource, SettingsError> {
        KafkaSource::read(|name| match name {
            "KAFKA_BOOTSTRAP_SERVERS" => Some(bootstrap_servers.to_owned()),
            _ if is_ours => None,
            _ => self.variable(name),
        })
    }

    /// Who users are, for a gateway on this machine: unless the environment says otherwise, tokens are valid as long as
    /// it runs.
    ///
    /// # Errors
    /// A variable is malformed.
    pub fn identity(&self) -> Result<IdentitySettings, SettingsError> {
        IdentitySettings::read(|name| match name {
            "TOKEN_KEY" => Some(self.variable(name).unwrap_or_else(random_key)),
            _ => self.variable(name),
        })
    }

    /// How users register: unless the environment says otherwise, with common passwords too.
    ///
    /// # Errors
    /// A variable is malformed.
    pub fn users(&self) -> Result<UsersSettings, SettingsError> {
        UsersSettings::read(|name| match name {
            "PASSWORD_BLOCKLIST" => Some(self.variable(name).unwrap_or_else(|| "off".to_owned())),
            _ => self.variable(name),
        })
    }

    /// How reports are mailed: through the SMTP server at `smtp_url`, if one is given. Where that is this machine's sink,
    /// somebody gets them, whatever the environment says.
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn reports(&self, smtp_url: Option<&str>, is_sink: bool) -> Result<ReportSettings, SettingsError> {
        ReportSettings::read(|name| self.of_reports(name, smtp_url, is_sink))
    }

    fn of_reports(&self, name: &str, smtp_url: Option<&str>, is_sink: bool) -> Option<String> {
        match name {
            "SMTP_URL" => smtp_url.map(str::to_owned),
            "REPORT_TO" if is_sink => Some(self.variable(name).unwrap_or_else(|| "reports@localhost".to_owned())),
            "REPORT_FROM" if is_sink => Some(self.variable(name).unwrap_or_else(|| "sluice@localhost".to_owned())),
            _ => self.variable(name),
        }
    }

    /// What the functions are told, beside the process's variables and their servers, where they run in processes of
    /// their own: the file's variables, and what [`Environment::identity`], [`Environment::users`] and
    /// [`Environment::reports`] assume.
    pub fn of_functions(&self, smtp_url: Option<&str>, is_sink: bool) -> Vec<(String, String)> {
        let from_file = self.file.iter().filter(|(name, _)| std::env::var_os(name).is_none());
        let mut variables: Vec<_> = from_file.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut set = |name: &str, value: String| variables.push((name.to_owned(), value));
        set("TOKEN_KEY", self.variable("TOKEN_KEY").unwrap_or_else(random_key));
        set("PASSWORD_BLOCKLIST", self.variable("PASSWORD_BLOCKLIST").unwrap_or_else(|| "off".to_owned()));
        for name in ["SMTP_URL", "REPORT_TO", "REPORT_FROM"] {
            if let Some(value) = self.of_reports(name, smtp_url, is_sink) {
                set(name, value);
            }
        }
        // They run in another folder than this process.
        if let Some(folder) = self.contracts_dir().and_then(|folder| std::path::absolute(folder).ok()) {
            set("CONTRACTS_DIR", folder.display().to_string());
        }
        variables
    }

    /// As [`Environment::kafka_at`], for [`Environment::of_functions`]: an empty variable counts as none.
    pub fn of_broker(&self, bootstrap_servers: &str, is_ours: bool) -> Vec<(String, String)> {
        const ACCESS: [&str; 8] = [
            "MSK_CLUSTER_ARN",
            "KAFKA_AUTH",
            "KAFKA_SSL_CA",
            "KAFKA_SSL_CERT",
            "KAFKA_SSL_KEY",
            "KAFKA_SASL_USERNAME",
            "KAFKA_SASL_PASSWORD",
            "KAFKA_SECRET_ARN",
        ];
        let none = ACCESS.iter().filter(|_| is_ours).map(|name| ((*name).to_owned(), String::new()));
        none.chain([("KAFKA_BOOTSTRAP_SERVERS".to_owned(), bootstrap_servers.to_owned())]).collect()
    }

    /// As [`Environment::settings_for`], for [`Environment::of_functions`]: an empty variable counts as none.
    pub fn of_database(&self, database_url: &str, is_ours: bool) -> Vec<(String, String)> {
        let access = ["DATABASE_SECRET_ARN", "DATABASE_AUTH"].into_iter().filter(|_| is_ours);
        let none = access.map(|name| (name.to_owned(), String::new()));
        none.chain([("DATABASE_URL".to_owned(), database_url.to_owned())]).collect()
    }

    /// How the Kafka is reached that the environment points at.
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn kafka(&self) -> Result<KafkaSource, SettingsError> {
        KafkaSource::read(|name| self.variable(name))
    }

    /// How the database is reached that the environment points at.
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn database(&self) -> Result<DatabaseSource, SettingsError> {
        DatabaseSource::read(|name| self.variable(name))
    }

    /// The folder of contracts, if not the built-in ones.
    pub fn contracts_dir(&self) -> Option<PathBuf> {
        self.variable("CONTRACTS_DIR").map(PathBuf::from)
    }
}

fn random_key() -> String {
    let bytes: [u8; 32] = rand::random();
    base64_simd::STANDARD.encode_to_string(bytes)
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
