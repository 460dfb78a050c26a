//! Step 2: appends the announced rows.

use std::collections::HashMap;

use futures::future::join_all;

use super::announced::Announced;
use super::step::Step;
use super::tables::{Append, RefusedRow, Tables, TablesError};

/// How an append ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Its rows are in the table.
    Applied,
    /// Nothing was written, because of these rows.
    RowsRefused(Vec<RefusedRow>),
    /// Nothing was written, because the stream does not exist.
    StreamGone,
    /// Nothing was written, and nothing will be until an operator acts.
    Refused(TablesError),
    /// The stream is not where it should be, or it is unknown what was written: BigQuery has to be asked.
    Unclear,
    /// BigQuery cannot be reached, so it cannot be asked either.
    Unreachable(TablesError),
}

/// Appends the rows of all partitions at once. Returns the outcomes by the partitions' indices.
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
        // Nobody else appends to the stream, so the ledger is behind, or somebody has asked about this very intent.
        Err(TablesError::Finalized | TablesError::OffsetExists | TablesError::OffsetOutOfRange) => {
            return Outcome::Unclear;
        }
    };
    tracing::warn!(stream = append.stream, failure, "an append has an unknown outcome and is repeated");
    match tables.append(append).await {
        // Only the first attempt can have written rows at this offset.
        Ok(()) | Err(TablesError::OffsetExists) => Outcome::Applied,
        Err(error @ TablesError::Failed(_)) => Outcome::Unreachable(error),
        // The first attempt may still be on its way, so these answers say nothing about it.
        Err(
            TablesError::Rows(_)
            | TablesError::UnknownStream
            | TablesError::Refused(_)
            | TablesError::Finalized
            | TablesError::OffsetOutOfRange,
        ) => Outcome::Unclear,
    }
}
