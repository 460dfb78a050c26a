//! Limits how long a request waits for the database, and turns database errors into problems.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::breaker::Breaker;
use super::problem::Problem;
use crate::database::error_class::{ErrorClass, classify, describe};

/// The maximum time that a request waits for the database. PostgreSQL's own timeouts do not help if the server is
/// frozen, or has vanished without closing the connection.
const PATIENCE: Duration = Duration::from_secs(9);
/// The time within which a working database answers. If a query has a shorter limit, a late answer does not show that
/// the database is out of reach.
const SOON: Duration = Duration::from_secs(1);

/// An error that a database query may end with.
pub trait FromDatabase: From<sqlx::Error> {
    /// Returns the sqlx error that this error is or contains, if any.
    fn database_error(&self) -> Option<&sqlx::Error>;
}

impl FromDatabase for sqlx::Error {
    fn database_error(&self) -> Option<&sqlx::Error> {
        Some(self)
    }
}

/// Waits for the database's answer for at most 9 s. No query is sent if the function could not reach its database a
/// moment ago.
///
/// # Errors
/// The query's own error, or [`sqlx::Error::PoolTimedOut`] if the answer is late or the query was not sent.
pub async fn in_time<T, E: FromDatabase>(question: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    within(PATIENCE, question).await
}

/// Like [`in_time`], but with a shorter limit. Do not put a timeout around [`in_time`] instead, because the breaker
/// would then not notice a late answer.
///
/// # Errors
/// Those of [`in_time`].
pub async fn within<T, E: FromDatabase>(limit: Duration, question: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let (breaker, deadline) = (Breaker::current(), Instant::now() + limit.min(PATIENCE));
    if let Some(breaker) = &breaker
        && timeout_at(deadline, breaker.lets_through()).await != Ok(true)
    {
        return Err(sqlx::Error::PoolTimedOut.into());
    }
    let answer = timeout_at(deadline, question).await;
    if let Some(breaker) = &breaker {
        match &answer {
            Ok(Err(error)) if error.database_error().is_some_and(is_unreachable) => breaker.note_failure(),
            Err(_late) if limit >= SOON => breaker.note_late(),
            Ok(_) | Err(_) => {}
        }
    }
    answer.unwrap_or_else(|_late| Err(sqlx::Error::PoolTimedOut.into()))
}

/// Runs a part of a request in its own task, which continues if the caller hangs up. The task's queries use the
/// request's breaker.
pub fn spawn<T: Send + 'static>(part: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    match Breaker::current() {
        Some(breaker) => tokio::spawn(breaker.watch(part)),
        None => tokio::spawn(part),
    }
}

/// Returns whether the current function's database could not be reached a moment ago.
pub fn is_out_of_reach() -> bool {
    Breaker::current().is_some_and(|breaker| breaker.is_open())
}

fn is_unreachable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut)
}

/// Returns the problem with which a request is answered after this error.
pub fn problem(error: &sqlx::Error) -> Problem {
    match classify(error) {
        // In a query, an invalid value can only come from a parameter.
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
