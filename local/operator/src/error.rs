//! Why a command ended early.

use std::io;

use shared::aws::LookUpError;
use shared::contract::ContractError;
use shared::database::DatabaseError;
use shared::identity::AdminError;
use shared::kafka::reader::ReadError;
use shared::kafka::topics::TopicError;
use shared::process::settings::SettingsError;

use crate::contracts::source::SourceError;

/// Why a command ended early. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// A variable is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A resource that the environment names was not found on AWS.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// A contract is invalid.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The contracts that `--against` names cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The topics cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database is not ready.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The database's catalogue cannot be read.
    #[error("the contracts cannot be compared with their tables: {0}")]
    Compare(#[source] sqlx::Error),
    /// The topics are not ready.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The password cannot be read.
    #[error("the password cannot be read: {0}")]
    Password(#[source] io::Error),
    /// The admin was not created.
    #[error(transparent)]
    Admin(#[from] AdminError),
}
