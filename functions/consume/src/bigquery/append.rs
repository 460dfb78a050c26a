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
        let intent = state.intent.as_ref()?;
        let is_same_server = intent.server_started_us == state.server_started_us;
        Some(async move { (index, append_one(step.tables, append, is_same_server).await) })
    });
    join_all(appends).await.into_iter().collect()
}

/// Appends rows. `is_same_server` is false if the database server restarted, as it does in a restore, after the ledger
/// last agreed with BigQuery and before this append was announced.
async fn append_one(tables: &dyn Tables, append: Append<'_>, is_same_server: bool) -> Outcome {
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
        Ok(()) => Outcome::Applied,
        // Only the first attempt can have written rows at this offset.
        Err(TablesError::OffsetExists) if is_same_server => Outcome::Applied,
        // A restored ledger may lack rows that an earlier append wrote at this offset.
        Err(TablesError::OffsetExists) => Outcome::Unclear,
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt as _;
    use futures::future::{BoxFuture, ready};
    use shared::contract::BigQueryTable;

    use super::super::tables::WrittenQuery;
    use super::*;

    /// Answers appends with these results, the last one first.
    #[derive(Debug)]
    struct Answers(Mutex<Vec<Result<(), TablesError>>>);

    impl Tables for Answers {
        fn append<'a>(&'a self, _: Append<'a>) -> BoxFuture<'a, Result<(), TablesError>> {
            ready(self.0.lock().unwrap().pop().unwrap()).boxed()
        }

        fn create_stream<'a>(&'a self, _: &'a BigQueryTable) -> BoxFuture<'a, Result<String, TablesError>> {
            unreachable!("only appends are sent")
        }

        fn is_stream_of(&self, _: &str, _: &BigQueryTable) -> bool {
            unreachable!("only appends are sent")
        }

        fn finalize<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<i64, TablesError>> {
            unreachable!("only appends are sent")
        }

        fn written_offsets<'a>(&'a self, _: WrittenQuery<'a>) -> BoxFuture<'a, Result<Vec<i64>, TablesError>> {
            unreachable!("only appends are sent")
        }
    }

    #[tokio::test]
    async fn after_a_restore_an_occupied_row_offset_does_not_show_that_a_repeated_append_succeeded() {
        for (is_same_server, is_applied) in [(true, true), (false, false)] {
            let lost = Err(TablesError::Failed("no answer".to_owned()));
            let answers = Answers(Mutex::new(vec![Err(TablesError::OffsetExists), lost]));
            let append = Append { stream: "s", offset: 1, columns: &[], rows: Vec::new() };
            let outcome = append_one(&answers, append, is_same_server).await;
            assert_eq!(matches!(outcome, Outcome::Applied), is_applied, "{outcome:?}");
            assert_eq!(matches!(outcome, Outcome::Unclear), !is_applied, "{outcome:?}");
        }
    }
}
