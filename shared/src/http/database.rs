//! Limits how long a request waits for the database, and turns database errors into problems.

use std::time::Duration;

use super::problem::Problem;
use crate::database::error_class::{ErrorClass, classify, describe};

/// PostgreSQL's own timeouts do not help if the server is frozen or has vanished without closing the connection.
const PATIENCE: Duration = Duration::from_secs(9);

/// Waits for the database's answer, up to the time limit.
///
/// # Errors
/// The question's own error, or [`sqlx::Error::PoolTimedOut`] if the answer is late.
pub async fn in_time<T, E: From<sqlx::Error>>(question: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => answer,
        Err(_late) => Err(sqlx::Error::PoolTimedOut.into()),
    }
}

/// Returns the problem that answers a request after this error.
pub fn problem(error: &sqlx::Error) -> Problem {
    match classify(error) {
        // In a query, only a parameter can hold such a value.
        ErrorClass::Value => Problem::malformed("A parameter does not fit its column's type."),
        ErrorClass::Environment => Problem::unavailable("database"),
        ErrorClass::Row | ErrorClass::Operator => Problem::internal(),
    }
}

/// Logs the error's cause, without values.
pub fn log(error: &sqlx::Error) {
    let cause = describe(error);
    match classify(error) {
        ErrorClass::Value => tracing::debug!(%cause, "a parameter does not fit its column's type"),
        ErrorClass::Environment => tracing::warn!(%cause, "the database is not ready"),
        ErrorClass::Row | ErrorClass::Operator => {
            tracing::error!(%cause, "the database refuses a statement: run `cargo local migrate` if migrations are missing");
        }
    }
}
