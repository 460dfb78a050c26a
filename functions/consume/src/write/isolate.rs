//! Bulk first, isolate on failure: a slice is written whole; if a row's fault fails it, it is split until the guilty
//! rows stand alone. k guilty rows in n cost about k·log n statements.
//!
//! Most batches have no guilty row. The first attempt at a batch does without savepoints, each of which is two more
//! turns to the database; a row's fault then fails all of it, and the second attempt isolates.

use shared::contract::Contract;
use sqlx::{Executor as _, PgConnection};

use super::{Attempt, Context, Exceptions, WriteError, write};
use crate::candidate::Candidate;
use crate::fate::Fate;

/// Writes records in order within the caller's transaction, all but those that cannot be written.
///
/// # Errors
/// The world's or the operator's fault, and at the first attempt a row's: the whole transaction is to be rolled back.
pub(crate) async fn isolate(
    connection: &mut PgConnection,
    context: &Context<'_>,
    contract: &Contract,
    records: &[Candidate<'_>],
) -> Result<Exceptions, WriteError> {
    match context.attempt {
        Attempt::Whole if records.is_empty() => return Ok(Exceptions::default()),
        Attempt::Whole => return write(connection, context, contract, records).await,
        Attempt::Isolating => {}
    }
    let mut exceptions = Exceptions::default();
    // What is still to be written, the first on top.
    let whole = 0..records.len();
    let mut slices = vec![whole];
    while let Some(slice) = slices.pop() {
        if slice.is_empty() {
            continue;
        }
        connection.execute("savepoint slice").await?;
        match write(connection, context, contract, &records[slice.clone()]).await {
            Ok(written) => {
                connection.execute("release savepoint slice").await?;
                exceptions.add(written, slice.start);
            }
            Err(error) => match error.fate() {
                Fate::Retry | Fate::Stop => return Err(error),
                Fate::Reject(rejection) => {
                    connection.execute("rollback to savepoint slice; release savepoint slice").await?;
                    if slice.len() == 1 {
                        exceptions.rejected.push((slice.start, rejection));
                    } else {
                        let middle = slice.start + slice.len() / 2;
                        slices.push(middle..slice.end);
                        slices.push(slice.start..middle);
                    }
                }
            },
        }
    }
    Ok(exceptions)
}
