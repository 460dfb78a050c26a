//! Step 1: decides what to append, and commits the intents.

use shared::ledger::Destination;
use shared::ledger::bigquery_streams::{self, Intent, StreamState, Written};
use shared::ledger::watermarks::{self, Watermark};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::announced::Announced;
use super::apply::{Settling, settle_in};
use super::sort::{APPEND_BYTES, Sorted, sort};
use super::step::{Memory, Step, target};
use crate::ConsumeError;
use crate::error::failed;
use crate::land::Hold;
use crate::land::plan::{self, Planned, Plans};

/// How a preparation ended.
pub(super) enum Prepared<'c, 'b> {
    /// Kafka has to be asked about these partitions first.
    Held(Vec<Hold>),
    /// Earlier appends for these partitions have an unknown outcome.
    Open(Vec<OpenIntent>),
    /// The partitions with these indices need a write stream.
    NeedsStreams(Vec<usize>),
    /// Nothing had to be appended, and the planned records are settled. `is_whole` says whether the planned records are
    /// the whole batch.
    Settled { is_whole: bool },
    /// The intents are committed.
    Announced(Announced<'c, 'b>),
}

/// An append whose outcome is unknown.
#[derive(Debug)]
pub(super) struct OpenIntent {
    /// The partition's index in the batch.
    pub(super) index: usize,
    pub(super) state: StreamState,
    /// False if the database server has restarted since BigQuery last agreed with the ledger. The database may then
    /// have been restored to an earlier time.
    pub(super) is_same_server: bool,
}

/// Prepares the append of a batch.
pub(super) async fn prepare<'c, 'b>(
    connection: &mut PgConnection,
    step: Step<'c, 'b>,
    memory: &mut Memory,
) -> Result<Prepared<'c, 'b>, ConsumeError> {
    let prepared = async {
        let mut transaction = connection.begin().await?;
        let keys = step.checked.keys();
        let locked = watermarks::lock(&mut transaction, Destination::Bigquery, &keys).await?;
        let mut states = bigquery_streams::read(&mut transaction, &keys).await?;
        let open = open_intents(&states, locked.server_started_us);
        if !open.is_empty() {
            transaction.rollback().await?;
            return Ok(Prepared::Open(open));
        }
        let planned = plan::plan(&mut transaction, Destination::Bigquery, step.trust, step.checked, &locked).await?;
        let planned = match planned {
            Plans::Ready(planned) => planned,
            Plans::Held(holds) => {
                transaction.rollback().await?;
                return Ok(Prepared::Held(holds));
            }
        };
        let (planned, is_whole) = within_limit(step, planned, &locked.watermarks);
        let sorted = sort(&mut transaction, step, memory, &states, &planned).await?;
        let needs_stream = |(index, state): &(usize, &StreamState)| {
            !sorted[*index].rows.is_empty() && !has_stream(step, *index, state)
        };
        let without: Vec<usize> = states.iter().enumerate().filter(needs_stream).map(|(index, _)| index).collect();
        if !without.is_empty() {
            transaction.rollback().await?;
            return Ok(Prepared::NeedsStreams(without));
        }
        if sorted.iter().all(|sorted| sorted.rows.is_empty()) {
            let settling = Settling {
                step,
                planned: planned.iter().collect(),
                sorted: sorted.iter().collect(),
                states: states.iter().collect(),
            };
            let landed = settle_in(&mut transaction, settling, &locked).await?;
            transaction.commit().await?;
            landed.note(step, planned.iter(), locked.server_started_us, memory);
            return Ok(Prepared::Settled { is_whole });
        }
        for (state, sorted) in states.iter_mut().zip(&sorted) {
            state.intent = intent(sorted, locked.server_started_us);
        }
        let announced: Vec<StreamState> = states.iter().filter(|state| state.intent.is_some()).cloned().collect();
        bigquery_streams::store(&mut transaction, &announced).await?;
        transaction.commit().await?;
        Ok(Prepared::Announced(Announced { planned, sorted, states, before: locked.watermarks, is_whole }))
    };
    prepared.await.map_err(|error: sqlx::Error| failed(error.into()))
}

/// Finds appends whose outcome is unknown.
fn open_intents(states: &[StreamState], server_started_us: i64) -> Vec<OpenIntent> {
    let open = |(index, state): (usize, &StreamState)| OpenIntent {
        index,
        state: state.clone(),
        is_same_server: state.server_started_us == server_started_us,
    };
    states.iter().enumerate().filter(|(_, state)| state.intent.is_some()).map(open).collect()
}

/// Returns whether a partition has a write stream to its table.
pub(super) fn has_stream(step: Step<'_, '_>, index: usize, state: &StreamState) -> bool {
    let Ok((table, _)) = target(&step.checked.partitions[index].contract) else { return false };
    state.stream.as_ref().is_some_and(|stream| step.tables.is_stream_of(stream, table))
}

/// Cuts each plan so that its rows fit into one append and its records belong to one incarnation. The second result is
/// true if no plan had to be cut.
fn within_limit<'c, 'b>(
    step: Step<'c, 'b>,
    planned: Vec<Planned<'c, 'b>>,
    watermarks: &[Watermark],
) -> (Vec<Planned<'c, 'b>>, bool) {
    let mut is_whole = true;
    let cut = planned.into_iter().zip(watermarks).map(|(one, watermark)| match end_within_limit(step, &one) {
        Some(end) => {
            is_whole = false;
            one.cut(watermark, end)
        }
        None => one,
    });
    let cut = cut.collect();
    (cut, is_whole)
}

/// Returns the index of the first record that must be left to a later append, if there is one.
fn end_within_limit(step: Step<'_, '_>, planned: &Planned<'_, '_>) -> Option<usize> {
    let mut bytes = 0;
    let mut first = None;
    for (partition, range, incarnation) in planned.fresh() {
        // An intent contains records of only one incarnation.
        if *first.get_or_insert(incarnation) != incarnation {
            return Some(range.start);
        }
        for index in range {
            let Some(Ok(event)) = &partition.events[index] else { continue };
            let row = step.checked.rows.get(&event.row).len();
            // A row that is too large even for an append of its own becomes a dead letter, so its size does not count.
            bytes += if row > APPEND_BYTES { 0 } else { row + ROW_OVERHEAD };
            if bytes > APPEND_BYTES + ROW_OVERHEAD {
                return Some(index);
            }
        }
    }
    None
}

/// In a request, a tag and a length precede each row. Together, they take at most this many bytes.
const ROW_OVERHEAD: usize = 6;

fn intent(sorted: &Sorted<'_>, server_started_us: i64) -> Option<Intent> {
    let incarnation = sorted.rows.first()?.record.position.incarnation;
    let offsets = sorted.rows.iter().map(|row| row.record.position.offset);
    let records = Written::from_offsets(incarnation, offsets);
    let rows = i64::try_from(sorted.rows.len()).unwrap_or(i64::MAX);
    Some(Intent { id: Uuid::new_v4(), rows, records, server_started_us })
}
