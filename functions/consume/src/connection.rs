//! An invocation's connection to the database, and its deadline.

use std::time::Instant;

use shared::database;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::time::timeout_at;

use crate::ConsumeError;
use crate::error::failed;

/// Takes a connection from the pool.
pub(crate) async fn connect(pool: &PgPool, deadline: Instant) -> Result<PoolConnection<Postgres>, ConsumeError> {
    in_time(deadline, async { pool.acquire().await.map_err(|error| failed(error.into())) }).await
}

/// Stops work at the deadline.
pub(crate) async fn in_time<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, ConsumeError>>,
) -> Result<T, ConsumeError> {
    timeout_at(deadline.into(), work).await.unwrap_or(Err(ConsumeError::Deadline))
}

/// Gives a connection back to its pool, unless something failed.
pub(crate) async fn finish(connection: PoolConnection<Postgres>, result: &Result<(), ConsumeError>) {
    if result.is_err() {
        // The connection itself may be the cause: its server may have become a standby, or its prepared statements may be for
        // a table that has changed. The next batch opens a new one. It is closed right now, because the function may be
        // frozen once it has answered, and its transaction must not hold up the retry.
        database::end(connection).await;
    }
}
