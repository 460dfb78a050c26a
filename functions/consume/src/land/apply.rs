//! Writes a batch's records, stream by stream.

use sqlx::PgConnection;

use super::release::release;
use super::settle::{BatchResult, StreamRecords, settle};
use super::summary::Tally;
use crate::write::{Context, WriteError};

/// Writes the streams' records in order. After each stream's records, writes the commands that were waiting for the
/// entities that these records created.
pub(super) async fn apply(
    connection: &mut PgConnection,
    context: &Context<'_>,
    streams: &[StreamRecords<'_>],
    landed: Tally,
) -> Result<BatchResult, WriteError> {
    let mut outcome = BatchResult { landed, refused: Vec::new() };
    for StreamRecords { contract, candidates } in streams {
        let mut settled = settle(connection, context, contract, candidates).await?;
        settled.add_to(&mut outcome.landed, contract);
        outcome.refused.append(&mut settled.refused);
        release(connection, context, contract, settled.created, &mut outcome).await?;
    }
    Ok(outcome)
}
