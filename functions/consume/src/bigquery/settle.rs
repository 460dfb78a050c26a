//! Step 3: stores the outcomes of a batch's records, and advances the watermarks.

use std::collections::HashMap;

use shared::ledger::bigquery_streams::{self, StreamState};
use shared::ledger::{Destination, Rejection, watermarks};
use sqlx::{Connection as _, PgConnection};

use super::announced::Announced;
use super::append::Outcome;
use super::apply::{Settling, settle_in};
use super::sort::Sorted;
use super::step::{Memory, Step};
use super::tables::{BigqueryError, RefusedRow};
use crate::ConsumeError;
use crate::error::failed;

/// Settles the partitions whose rows were appended, or that had no rows to append. Drops the intents of appends that
/// certainly wrote nothing ([`released`]). Returns whether the whole batch is settled.
///
/// # Errors
/// The batch must be delivered again. If BigQuery caused the error, the partitions whose rows were appended are
/// settled.
pub(super) async fn settle(
    connection: &mut PgConnection,
    step: Step<'_, '_>,
    announced: &Announced<'_, '_>,
    outcomes: HashMap<usize, Outcome>,
    memory: &mut Memory,
) -> Result<bool, ConsumeError> {
    let Announced { planned, sorted, states, before, is_whole } = announced;
    let settling = async {
        let mut transaction = connection.begin().await?;
        let keys = step.checked.keys();
        let mut locked = watermarks::lock(&mut transaction, Destination::Bigquery, &keys).await?;
        let found = bigquery_streams::read(&mut transaction, &keys).await?;
        // If the intent or the watermark has changed, another process has found the intent open and taken over the
        // partition.
        let is_own =
            |index: usize| found[index].intent == states[index].intent && locked.watermarks[index] == before[index];
        let own: Vec<bool> = (0..states.len()).map(is_own).collect();
        let is_applied = |index: &usize| own[*index] && matches!(outcomes.get(index), None | Some(Outcome::Applied));
        let applied: Vec<usize> = (0..states.len()).filter(is_applied).collect();
        let released = released(announced, &outcomes, &own, locked.server_started_us);
        bigquery_streams::store(&mut transaction, &released).await?;
        locked.over.retain(|(topic, partition)| {
            applied.iter().any(|index| (before[*index].partition, &before[*index].topic) == (*partition, topic))
        });
        let settling = Settling {
            step,
            planned: applied.iter().map(|index| &planned[*index]).collect(),
            sorted: applied.iter().map(|index| &sorted[*index]).collect(),
            states: applied.iter().map(|index| &states[*index]).collect(),
        };
        let landed = settle_in(&mut transaction, settling, &locked).await?;
        transaction.commit().await?;
        landed.note(step, applied.iter().map(|index| &planned[*index]), locked.server_started_us, memory);
        Ok(applied.len() == states.len())
    };
    let are_all_applied = settling.await.map_err(|error: sqlx::Error| failed(error.into()))?;
    let mut failure = None;
    for (index, outcome) in outcomes {
        match outcome {
            Outcome::Applied | Outcome::Unclear | Outcome::StreamGone => {}
            // Although nothing was written, the intent stays open, so that `recover` finalises the stream. If this
            // intent were dropped, a later intent could append to the same stream at the same row offset. Suppose that
            // the database were then restored to a time when this intent was open. `recover` would count the later
            // intent's rows in the stream, and could take them for the rows of this intent.
            Outcome::RowsRefused(rows) => refuse(memory, index, &sorted[index], &rows),
            Outcome::Refused(error) | Outcome::Unreachable(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) => Err(BigqueryError::from(error).into()),
        None => Ok(are_all_applied && *is_whole),
    }
}

/// Returns the states of partitions whose intents are dropped, because their appends certainly wrote nothing.
fn released(
    announced: &Announced<'_, '_>,
    outcomes: &HashMap<usize, Outcome>,
    own: &[bool],
    server_started_us: i64,
) -> Vec<StreamState> {
    let mut released = Vec::new();
    for (&index, outcome) in outcomes.iter().filter(|(index, _)| own[**index]) {
        let state = StreamState { intent: None, ..announced.states[index].clone() };
        match outcome {
            Outcome::Refused(_) => released.push(state),
            // Without a restart of the database server, there are two reasons why the stream can be gone: it was idle
            // for three days, or an emulator has lost it. After a restart, the database may have been restored. The
            // ledger may then name an old stream, although later rows were appended to later streams. So the intent
            // stays open after a restart, and `recover` asks BigQuery which records are in the table.
            Outcome::StreamGone if state.server_started_us == server_started_us => {
                released.push(StreamState { stream: None, next_row: 0, ..state });
            }
            Outcome::StreamGone
            | Outcome::Applied
            | Outcome::RowsRefused(_)
            | Outcome::Unclear
            | Outcome::Unreachable(_) => {}
        }
    }
    released
}

/// Remembers the rows that BigQuery refuses. In the next round, they become dead letters and are not appended.
fn refuse(memory: &mut Memory, index: usize, sorted: &Sorted<'_>, rows: &[RefusedRow]) {
    for RefusedRow { index: row, reason } in rows {
        if let Some(row) = sorted.rows.get(*row) {
            let rejection = Rejection::new("bigquery_refused", format!("BigQuery refuses the row: {reason}"));
            memory.refused.insert((index, row.record.position.offset), rejection);
        }
    }
}
