//! Why an invocation failed.

use std::time::Duration;

use lambda_runtime::Diagnostic;
use shared::aws::LookUpError;
use shared::contract::ContractError;
use shared::database::DatabaseError;
use shared::database::error_class::describe;
use shared::identity::AdminError;
use shared::kafka::topics::TopicError;
use shared::process::settings::SettingsError;

use crate::delivery::DeliveryError;

/// Why an invocation failed. Each message names one thing to fix, and contains no secret.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The payload has neither an operator's format nor CloudFormation's.
    #[error("the payload must be {{}}, {{\"admin\": \"NAME\"}}, or a request of CloudFormation for a custom resource")]
    Payload,
    /// CloudFormation sent a request of an unknown type.
    #[error("RequestType must be Create, Update or Delete")]
    RequestType,
    /// The property `MigrateOnDeploy` in the template is malformed.
    #[error("the property MigrateOnDeploy must be yes or no")]
    MigrateOnDeploy,
    /// A variable is missing or malformed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A secret or the cluster cannot be looked up on AWS.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// A contract is wrong.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The database is not reachable, or a migration failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The database refused a statement.
    #[error("{doing}: {}", describe(.source))]
    Sql {
        /// What the statement was for.
        doing: &'static str,
        /// PostgreSQL's error.
        source: sqlx::Error,
    },
    /// The functions' role cannot be created without a password.
    #[error(
        "the functions' role {0} does not exist, and neither DATABASE_URL nor DATABASE_SECRET_ARN has a password for it"
    )]
    NoPassword(String),
    /// The functions' password contains characters that SASLprep (RFC 4013) prohibits.
    #[error("the functions' password contains characters that a password must not contain (RFC 4013)")]
    Password,
    /// The functions' role cannot log in, although its password has just been set.
    #[error(
        "the database refuses the functions' role {0} with its new password: does pg_hba.conf allow the role to log in?"
    )]
    LoginRefused(String),
    /// The topics are not ready.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The admin was not created.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The work takes longer than an invocation.
    #[error(
        "not finished after {} s: deploy with MigrateOnDeploy=no, and run the function with `aws lambda invoke` instead",
        .0.as_secs()
    )]
    Deadline(Duration),
    /// The work panicked.
    #[error("the function panicked; its log has the details")]
    Panic,
    /// CloudFormation did not get the answer.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

/// The error's type is short and must not change; its message is for people.
impl From<MigrateError> for Diagnostic {
    fn from(error: MigrateError) -> Self {
        let error_type = match &error {
            MigrateError::Payload | MigrateError::RequestType | MigrateError::MigrateOnDeploy => "Sluice.NotAnEvent",
            MigrateError::Settings(_) | MigrateError::LookUp(_) | MigrateError::Contract(_) => "Sluice.Settings",
            MigrateError::Database(_)
            | MigrateError::Sql { .. }
            | MigrateError::NoPassword(_)
            | MigrateError::Password
            | MigrateError::LoginRefused(_) => "Sluice.Database",
            MigrateError::Topic(_) => "Sluice.Topics",
            MigrateError::Admin(_) => "Sluice.Admin",
            MigrateError::Deadline(_) => "Sluice.Deadline",
            MigrateError::Panic => "Sluice.Panic",
            MigrateError::Delivery(_) => "Sluice.Delivery",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}
