//! Creates write streams.

use shared::ledger::Destination;
use shared::ledger::bigquery_streams::{self, StreamState, Written};
use shared::ledger::watermarks;
use sqlx::{Connection as _, PgConnection};

use super::prepare::has_stream;
use super::recover::compare_table;
use super::step::{Step, target};
use super::tables::BigqueryError;
use crate::ConsumeError;
use crate::error::failed;

/// Creates write streams for the partitions with these indices.
///
/// # Errors
/// BigQuery cannot create a stream, or the table may have rows that the ledger lacks.
pub(super) async fn create_streams(
    connection: &mut PgConnection,
    step: Step<'_, '_>,
    indices: &[usize],
) -> Result<(), ConsumeError> {
    for &index in indices {
        let (table, _) = target(&step.checked.partitions[index].contract)?;
        let seen = look(connection, step, index, None).await?;
        let state = &seen.state;
        if state.intent.is_some() || has_stream(step, index, state) {
            continue;
        }
        let written = unsettled(step, index, &seen).await?;
        let stream = step.tables.create_stream(table).await.map_err(BigqueryError::from)?;
        let mut new = StreamState {
            stream: Some(stream),
            next_row: 0,
            intent: None,
            server_started_us: seen.server_started_us,
            ..state.clone()
        };
        new.written.add(written);
        look(connection, step, index, Some((state, &new))).await?;
    }
    Ok(())
}

/// Finds rows that are in the table but not in the ledger, because the database was restored to an earlier time. A
/// write stream cannot reveal such rows here: the partition has no stream, or its stream writes to another table.
async fn unsettled(step: Step<'_, '_>, index: usize, seen: &Seen) -> Result<Written, ConsumeError> {
    let Seen { state, server_started_us, incarnation, next_offset } = seen;
    if state.server_started_us == *server_started_us {
        return Ok(Written::default());
    }
    let is_first = state.server_started_us == 0;
    let undecided = |detail: &str| BigqueryError::Undecided {
        topic: state.topic.clone(),
        partition: state.partition,
        from: *next_offset,
        table: target(&step.checked.partitions[index].contract)
            .map_or_else(|_| String::new(), |(table, _)| table.to_string()),
        detail: detail.to_owned(),
    };
    let detail = "the database may have been restored to an earlier time".to_owned();
    match compare_table(step, index, state, *incarnation, *next_offset, detail).await {
        Ok(found) if is_first && !found.runs.is_empty() => {
            Err(undecided("the ledger knows of no earlier append, but the table already has rows with these offsets")
                .into())
        }
        // The table cannot be compared. Before a partition's first append, the table is assumed to have none of the
        // partition's rows.
        Err(ConsumeError::Bigquery(BigqueryError::Undecided { .. })) if is_first => Ok(Written::default()),
        found => found,
    }
}

/// A partition's state, and the position of its watermark.
#[derive(Debug)]
struct Seen {
    state: StreamState,
    server_started_us: i64,
    incarnation: i32,
    next_offset: i64,
}

/// Reads a partition's state. `replace` contains an expected state and a new state. If the partition's state is the
/// expected state, it is replaced by the new state.
async fn look(
    connection: &mut PgConnection,
    step: Step<'_, '_>,
    index: usize,
    replace: Option<(&StreamState, &StreamState)>,
) -> Result<Seen, ConsumeError> {
    let looking = async {
        let mut transaction = connection.begin().await?;
        let key = [step.checked.keys().swap_remove(index)];
        let locked = watermarks::lock(&mut transaction, Destination::Bigquery, &key).await?;
        let mut found = bigquery_streams::read(&mut transaction, &key).await?;
        let state = found.pop().unwrap_or_else(|| StreamState::new(&key[0].0, key[0].1));
        if let Some((expected, new)) = replace
            && state == *expected
        {
            bigquery_streams::store(&mut transaction, std::slice::from_ref(new)).await?;
        }
        transaction.commit().await?;
        let (incarnation, next_offset) =
            locked.watermarks.first().map_or((1, 0), |watermark| (watermark.incarnation(), watermark.next_offset));
        Ok(Seen { state, server_started_us: locked.server_started_us, incarnation, next_offset })
    };
    looking.await.map_err(|error: sqlx::Error| failed(error.into()))
}
