//! How long the database has to answer a request, and what is answered when it does not.

use std::time::Duration;

use super::problem::Problem;

/// A server that is frozen, or gone without a word, does not even say that a statement took too long.
const PATIENCE: Duration = Duration::from_secs(9);

/// What the database answers within its time.
///
/// # Errors
/// What the question fails with; an answer that is late counts as a pool without a connection.
pub async fn in_time<T, E: From<sqlx::Error>>(question: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => answer,
        Err(_late) => Err(sqlx::Error::PoolTimedOut.into()),
    }
}

/// What a request is answered with after this error.
pub fn problem(error: &sqlx::Error) -> Problem {
    match fate(error) {
        Fate::Parameter => Problem::malformed("A parameter does not fit its column's type."),
        Fate::Unavailable => Problem::unavailable("database"),
        Fate::Fault => Problem::internal(),
    }
}

/// Writes the error's cause into the log.
pub fn log(error: &sqlx::Error) {
    match fate(error) {
        // What PostgreSQL says of it repeats the value.
        Fate::Parameter => tracing::debug!("a parameter does not fit its column's type"),
        Fate::Unavailable => tracing::warn!(%error, "the database does not do its part"),
        Fate::Fault => tracing::error!(%error, "the database refuses: has it been migrated?"),
    }
}

enum Fate {
    Parameter,
    Unavailable,
    Fault,
}

/// Whose fault it is, by SQLSTATE class (PostgreSQL, appendix A).
fn fate(error: &sqlx::Error) -> Fate {
    match error {
        sqlx::Error::Database(error) => match error.code().as_deref().and_then(|code| code.get(..2)) {
            // Data exception: in what we read, only a parameter can cause it.
            Some("22") => Fate::Parameter,
            // Connection, rollback, resources, operator intervention.
            Some("08" | "25" | "40" | "53" | "55" | "57" | "58") => Fate::Unavailable,
            _ => Fate::Fault,
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Fate::Unavailable,
        sqlx::Error::Configuration(_)
        | sqlx::Error::InvalidArgument(_)
        | sqlx::Error::RowNotFound
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Encode(_)
        | sqlx::Error::Decode(_)
        | sqlx::Error::AnyDriverError(_)
        | sqlx::Error::Migrate(_)
        | sqlx::Error::InvalidSavePointStatement
        | _ => Fate::Fault,
    }
}
