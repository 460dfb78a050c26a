//! Finds out, by asking BigQuery, what an append with an unknown outcome has written.

use shared::contract::Meta;
use shared::ledger::Destination;
use shared::ledger::bigquery_streams::{self, StreamState, Written};
use shared::ledger::watermarks;
use sqlx::{Connection as _, PgConnection};

use super::prepare::OpenIntent;
use super::step::{Step, target};
use super::tables::{Append, BigqueryError, TablesError, WrittenQuery};
use crate::ConsumeError;
use crate::error::failed;

/// Finds out which rows of an open intent were written, and stores the result. The stream is finalised, so late appends
/// are refused, and the next append needs a new stream.
///
/// # Errors
/// BigQuery cannot be reached or refuses a request, or there is no way to decide what was written.
pub(super) async fn recover(
    connection: &mut PgConnection,
    step: Step<'_, '_>,
    open: &OpenIntent,
) -> Result<(), ConsumeError> {
    let state = &open.state;
    let (Some(stream), Some(intent)) = (&state.stream, &state.intent) else { return Ok(()) };
    // A restored ledger may name an old stream. This stream was in use at the time to which the database was restored,
    // but had been finalised and replaced before the restore. The row count of an old stream proves nothing.
    let is_current = open.is_same_server || is_open(step, open.index, stream).await?;
    let count = match step.tables.finalize(stream).await {
        Ok(count) => Some(count),
        Err(TablesError::UnknownStream) => None,
        Err(error) => return Err(BigqueryError::from(error).into()),
    };
    // A restored ledger may have forgotten an append. The rows of that append begin at the same row offset as the
    // intent's rows would. So if the intent was committed after the restore, a row count that fits the intent may
    // come from the forgotten append.
    let is_own = open.is_same_server || intent.server_started_us == state.server_started_us;
    let by_count = match count.filter(|_| is_current).map(|count| count - state.next_row) {
        Some(0) => Some(Written::default()),
        Some(rows) if rows == intent.rows && is_own => Some(intent.records.clone()),
        Some(_) | None => None,
    };
    let written = match by_count {
        Some(written) if open.is_same_server => written,
        by_count => {
            let from = intent.records.runs.first().map_or(0, |run| *run.start());
            let detail = detail(state, stream, intent.rows, count, open.is_same_server);
            let compared = compare_table(step, open.index, state, intent.records.incarnation, from, detail).await;
            match (compared, by_count) {
                (Err(ConsumeError::Bigquery(BigqueryError::Undecided { .. })), Some(written)) => written,
                (compared, _) => compared?,
            }
        }
    };
    tracing::warn!(
        topic = state.topic,
        partition = state.partition,
        stream,
        records = written.runs.iter().map(|run| run.end() - run.start() + 1).sum::<i64>(),
        "found out how many records an append to BigQuery with an unknown outcome had written"
    );
    store(connection, step, open, written).await
}

/// Says why the write stream does not show what was written.
fn detail(state: &StreamState, stream: &str, rows: i64, count: Option<i64>, is_same_server: bool) -> String {
    match count {
        None => format!("an append to write stream {stream} had an unknown outcome, and the stream is gone"),
        Some(_) if !is_same_server => "the database may have been restored to an earlier time".to_owned(),
        Some(count) => format!(
            "write stream {stream} has {count} rows, although {} were applied and {rows} were to follow",
            state.next_row
        ),
    }
}

/// Returns whether a stream is known to be open, that is, not finalised. Tries an append far beyond the end of the
/// stream. The append always fails, and only the error `OffsetOutOfRange` proves that the stream is open.
async fn is_open(step: Step<'_, '_>, index: usize, stream: &str) -> Result<bool, ConsumeError> {
    const BEYOND: i64 = i64::MAX / 2;
    let (_, columns) = target(&step.checked.partitions[index].contract)?;
    match step.tables.append(Append { stream, offset: BEYOND, columns, rows: vec![&[]] }).await {
        Err(TablesError::OffsetOutOfRange) => Ok(true),
        Err(error @ TablesError::Failed(_)) => Err(BigqueryError::from(error).into()),
        Ok(())
        | Err(
            TablesError::UnknownStream
            | TablesError::Finalized
            | TablesError::OffsetExists
            | TablesError::Rows(_)
            | TablesError::Refused(_),
        ) => Ok(false),
    }
}

/// Returns which of a partition's records are in the table. Records below the offset `from` are left out.
///
/// # Errors
/// The query failed, the table has no columns for partition and offset, or the offsets of the topic have restarted, so
/// that they are not unique.
pub(super) async fn compare_table(
    step: Step<'_, '_>,
    index: usize,
    state: &StreamState,
    incarnation: i32,
    from: i64,
    detail: String,
) -> Result<Written, ConsumeError> {
    let contract = &step.checked.partitions[index].contract;
    let (table, _) = target(contract)?;
    let bigquery = contract.bigquery.as_ref();
    let column = |meta| bigquery.and_then(|bigquery| bigquery.target.column_of(meta));
    let (Some(partition_column), Some(offset_column), 1) = (column(Meta::Partition), column(Meta::Offset), incarnation)
    else {
        return Err(BigqueryError::Undecided {
            topic: state.topic.clone(),
            partition: state.partition,
            from,
            table: table.to_string(),
            detail,
        }
        .into());
    };
    let query = WrittenQuery { table, partition_column, offset_column, partition: state.partition, from };
    let mut offsets = step.tables.written_offsets(query).await.map_err(BigqueryError::from)?;
    offsets.sort_unstable();
    Ok(Written::from_offsets(incarnation, offsets))
}

/// Stores what was written, unless another process has already settled the intent.
async fn store(
    connection: &mut PgConnection,
    step: Step<'_, '_>,
    open: &OpenIntent,
    written: Written,
) -> Result<(), ConsumeError> {
    let storing = async {
        let mut transaction = connection.begin().await?;
        let key = [step.checked.keys().swap_remove(open.index)];
        let locked = watermarks::lock(&mut transaction, Destination::Bigquery, &key).await?;
        let found = bigquery_streams::read(&mut transaction, &key).await?;
        let Some(mut state) = found.into_iter().next().filter(|found| found.intent == open.state.intent) else {
            return transaction.rollback().await;
        };
        state.written.add(written);
        let server_started_us = locked.server_started_us;
        let state = StreamState { stream: None, next_row: 0, intent: None, server_started_us, ..state };
        bigquery_streams::store(&mut transaction, &[state]).await?;
        transaction.commit().await
    };
    storing.await.map_err(|error: sqlx::Error| failed(error.into()))
}
