//! How long the database has to answer.

use std::time::Duration;

use crate::error::Error;

/// A server that is frozen, or gone without a word, does not even say that a statement took too long.
const PATIENCE: Duration = Duration::from_secs(9);

/// What the database answers within its time.
pub(crate) async fn in_time<T, E: Into<Error>>(question: impl Future<Output = Result<T, E>>) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_late) => Err(Error::Unhealthy("database")),
    }
}
