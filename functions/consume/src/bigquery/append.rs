//! Step 2: appends the announced rows.

use std::collections::HashMap;

use futures::future::join_all;

use super::announced::Announced;
use super::step::Step;
use super::tables::{Append, RefusedRow, Tables, TablesError};

/// How an append ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The rows are in the table.
    Applied,
    /// Nothing was written, because BigQuery refuses these rows.
    RowsRefused(Vec<RefusedRow>),
    /// Nothing was written, because the stream does not exist.
    StreamGone,
    /// Nothing was written. An operator must act before the rows can be written.
    Refused(TablesError),
    /// It is unclear what was written: the stream is finalised, the stream does not end at the expected offset, or the
    /// first attempt may still be in flight. `recover` must ask BigQuery.
    Unclear,
    /// BigQuery cannot be reached, so it is unknown what was written.
    Unreachable(TablesError),
}

/// Appends the rows of all partitions concurrently. Returns the outcomes by partition index.
pub(super) async fn append(step: Step<'_, '_>, announced: &Announced<'_, '_>) -> HashMap<usize, Outcome> {
    let appends = announced.appends().filter_map(|(index, sorted, state, columns)| {
        let stream = state.stream.as_deref()?;
        let rows = sorted.rows.iter().map(|row| row.bytes).collect();
        let append = Append { stream, offset: state.next_row, columns, rows };
        Some(async move { (index, append_one(step.tables, append).await) })
    });
    join_all(appends).await.into_iter().collect()
}

async fn append_one(tables: &dyn Tables, append: Append<'_>) -> Outcome {
    let failure = match tables.append(append.clone()).await {
        Ok(()) => return Outcome::Applied,
        Err(TablesError::Failed(failure)) => failure,
        Err(TablesError::Rows(rows)) => return Outcome::RowsRefused(rows),
        Err(TablesError::UnknownStream) => return Outcome::StreamGone,
        Err(error @ TablesError::Refused(_)) => return Outcome::Refused(error),
        // Only this partition's rows are appended to the stream. So either another process has found this intent open
        // and finalised the stream, or the database was restored and the ledger does not match the stream.
        Err(TablesError::Finalized | TablesError::OffsetExists | TablesError::OffsetOutOfRange) => {
            return Outcome::Unclear;
        }
    };
    tracing::warn!(stream = append.stream, failure, "an append has an unknown outcome and is repeated");
    match tables.append(append).await {
        // Only the first attempt can have written rows at this offset.
        Ok(()) | Err(TablesError::OffsetExists) => Outcome::Applied,
        Err(error @ TablesError::Failed(_)) => Outcome::Unreachable(error),
        // The first attempt may still be in flight, and the second attempt's error says nothing about the first.
        Err(
            TablesError::Rows(_)
            | TablesError::UnknownStream
            | TablesError::Refused(_)
            | TablesError::Finalized
            | TablesError::OffsetOutOfRange,
        ) => Outcome::Unclear,
    }
}
