//! Errors that occur while the process connects to the database or prepares it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;

use super::error_class::{ErrorClass, classify};
use crate::aws::LookUpError;
use crate::process::settings::SettingsError;

/// Why the database is not ready.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The address cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The login could not be looked up at AWS.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// The server does not answer, or its name does not resolve.
    #[error("DATABASE_URL: cannot connect to {address}: {}", cause(.source))]
    Unreachable {
        /// The server's host and port, or its socket.
        address: String,
        /// The cause.
        source: sqlx::Error,
    },
    /// The server refuses the login, or the process refuses the server's certificate.
    #[error("DATABASE_URL: the connection is refused: {0}")]
    Refused(#[source] sqlx::Error),
    /// A migration failed, or a migration that was applied has changed since.
    #[error("migrations{}: {source}{}", in_folder(.folder.as_deref()), remedy(.folder.as_deref(), .source))]
    Migration {
        /// The migrations' folder; `None` for the built-in ones.
        folder: Option<PathBuf>,
        /// What went wrong.
        source: MigrateError,
    },
    /// A migration in the contracts' folder has the number of a built-in one.
    #[error("migrations in {}: number {version} is taken by one of Sluice's own migrations; give your migrations numbers of 1000 or more", .folder.display())]
    NumberTaken {
        /// The migrations' folder.
        folder: PathBuf,
        /// The number.
        version: i64,
    },
    /// A `*.sql` file in the contracts' folder is not named like a migration.
    #[error("migrations in {}: {file} is not named like 1000_orders.sql: its name must be a number of 1000 or more, then _, then a description", .folder.display())]
    OtherName {
        /// The migrations' folder.
        folder: PathBuf,
        /// The file's name.
        file: String,
    },
}

fn in_folder(folder: Option<&Path>) -> String {
    folder.map(|folder| format!(" in {}", folder.display())).unwrap_or_default()
}

/// Returns what to do about a failed migration from the contracts' folder, if that is not obvious.
fn remedy(folder: Option<&Path>, source: &MigrateError) -> &'static str {
    match (folder, source) {
        (Some(_), MigrateError::VersionMismatch(_)) => {
            ": restore it, and put the change into a new migration with a higher number"
        }
        _ => "",
    }
}

/// Returns sqlx's message, except that a timeout of its pool is reworded.
fn cause(error: &sqlx::Error) -> String {
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return "no connection could be opened in time".to_owned();
    }
    error.to_string()
}

impl DatabaseError {
    /// Classifies an error that occurred while a connection to the server in `options` was being opened.
    pub(super) fn from_connect(error: sqlx::Error, options: &PgConnectOptions) -> Self {
        let is_refused = matches!(&error, sqlx::Error::Database(_)) && classify(&error) != ErrorClass::Environment;
        // The server has no TLS, or its certificate is not trusted. In the second case, rustls wraps the error in an
        // I/O error.
        let is_untrusted = matches!(&error, sqlx::Error::Tls(_))
            || matches!(&error, sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData);
        let is_refusal = is_refused || is_untrusted;
        if is_refusal { Self::Refused(error) } else { Self::unreachable(error, options) }
    }

    pub(super) fn unreachable(source: sqlx::Error, options: &PgConnectOptions) -> Self {
        let address = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Self::Unreachable { address, source }
    }

    /// Returns whether the error may go away by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::LookUp(error) => error.is_temporary(),
            Self::Settings(_)
            | Self::Refused(_)
            | Self::Migration { .. }
            | Self::NumberTaken { .. }
            | Self::OtherName { .. } => false,
        }
    }
}
