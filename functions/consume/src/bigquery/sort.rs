//! Sorts a partition's new records by outcome, before anything is appended.

use std::collections::HashSet;

use shared::ledger::Rejection;
use shared::ledger::bigquery_event_ids::{self, IdClaim};
use shared::ledger::bigquery_streams::StreamState;
use shared::ledger::records::{KeptRecord, LogPosition};
use sqlx::PgConnection;

use super::step::{Memory, Step};
use crate::check::EventId;
use crate::envelope::Envelope;
use crate::land::plan::Planned;

/// The maximum number of bytes in one append. BigQuery's limit is 20 MB
/// (<https://cloud.google.com/bigquery/quotas#write-api-limits>).
pub(super) const APPEND_BYTES: usize = 18_000_000;

/// The new records of a partition, by outcome.
#[derive(Debug, Default)]
pub(super) struct Sorted<'c> {
    /// Records whose rows are to be appended, in order.
    pub(super) rows: Vec<Row<'c>>,
    /// Records that become dead letters.
    pub(super) rejected: Vec<(KeptRecord<'c>, Rejection)>,
    /// Records whose rows are already in the table.
    pub(super) written: Vec<Row<'c>>,
    /// Records whose events repeat an earlier event.
    pub(super) duplicates: Vec<LogPosition<'c>>,
    /// Records without a value.
    pub(super) tombstones: Vec<LogPosition<'c>>,
}

/// A record and its row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'c> {
    pub(super) record: KeptRecord<'c>,
    pub(super) bytes: &'c [u8],
    id: Option<EventId>,
}

/// Sorts the new records of all partitions. Claims the ids of the records whose rows are in the table or are to be
/// appended.
pub(super) async fn sort<'c>(
    connection: &mut PgConnection,
    step: Step<'c, '_>,
    memory: &Memory,
    states: &[StreamState],
    planned: &[Planned<'c, '_>],
) -> Result<Vec<Sorted<'c>>, sqlx::Error> {
    let mut sorted: Vec<Sorted<'c>> = Vec::with_capacity(planned.len());
    for (index, (one, state)) in planned.iter().zip(states).enumerate() {
        sorted.push(sort_one(step, memory, index, state, one));
    }
    for (one, sorted) in planned.iter().zip(&mut sorted) {
        if sorted.rows.iter().chain(&sorted.written).any(|row| row.id.is_some()) {
            claim(connection, &one.partition.contract.stream, step.now_ms, sorted).await?;
        }
    }
    Ok(sorted)
}

fn sort_one<'c>(
    step: Step<'c, '_>,
    memory: &Memory,
    index: usize,
    state: &StreamState,
    planned: &Planned<'c, '_>,
) -> Sorted<'c> {
    let mut sorted = Sorted::default();
    for (partition, range, incarnation) in planned.fresh() {
        for (record, event) in partition.records[range.clone()].iter().zip(&partition.events[range]) {
            let (topic, partition, offset) = record.place();
            let position = LogPosition { topic, partition, offset, incarnation };
            let (Some(record), Some(event)) = (step.checked.batch.kept(record, incarnation), event) else {
                sorted.tombstones.push(position);
                continue;
            };
            match event {
                // Only events that PostgreSQL rejected are replayed. In BigQuery, the original record is settled
                // whether or not PostgreSQL rejected it, so the replay is a duplicate.
                _ if Envelope::for_record(&record).replay().is_some() => sorted.duplicates.push(position),
                Ok(event) => {
                    let bytes = step.checked.rows.get(&event.row);
                    if state.written.contains(incarnation, offset) {
                        sorted.written.push(Row { record, bytes, id: event.id });
                    } else if let Some(rejection) = memory.refused.get(&(index, offset)) {
                        sorted.rejected.push((record, rejection.clone()));
                    } else if bytes.len() > APPEND_BYTES {
                        let reason =
                            format!("the row has more than {APPEND_BYTES} bytes, Sluice's maximum for one append");
                        sorted.rejected.push((record, Rejection::new("too_large", reason)));
                    } else {
                        sorted.rows.push(Row { record, bytes, id: event.id });
                    }
                }
                Err(rejection) => sorted.rejected.push((record, rejection.clone())),
            }
        }
    }
    sorted
}

/// Claims the rows' ids. A row whose id belongs to an earlier event is not appended.
async fn claim(
    connection: &mut PgConnection,
    stream: &str,
    now_ms: i64,
    sorted: &mut Sorted<'_>,
) -> Result<(), sqlx::Error> {
    let mut claimed = HashSet::new();
    // Rows that are already in the table claim their ids again, because a restored database may have lost their claims.
    let claims: Vec<IdClaim<'_>> = sorted
        .written
        .iter()
        .chain(&sorted.rows)
        .filter_map(|row| Some((row, row.id?)))
        .filter(|(_, id)| claimed.insert(id.id))
        .map(|(row, id)| IdClaim { id: id.id, payload_hash: id.payload.stored(), position: row.record.position })
        .collect();
    let holders = bigquery_event_ids::claim(connection, stream, &claims, now_ms).await?;
    for row in std::mem::take(&mut sorted.rows) {
        let LogPosition { partition, offset, incarnation, .. } = row.record.position;
        match row.id.and_then(|id| Some((id, holders.get(&id.id)?))) {
            Some((id, holder)) if holder.place != (partition, offset, incarnation) => {
                sorted.repeat(&row, id.payload.is(holder.payload_hash));
            }
            Some(_) | None => sorted.rows.push(row),
        }
    }
    Ok(())
}

impl<'c> Sorted<'c> {
    /// Sorts a record whose id belongs to an earlier event. The record is a duplicate if the payloads are equal.
    /// Otherwise, it is rejected.
    fn repeat(&mut self, row: &Row<'c>, has_same_payload: bool) {
        if has_same_payload {
            self.duplicates.push(row.record.position);
        } else {
            let conflict =
                Rejection::new("idempotency_conflict", "an earlier event has the same id but a different payload");
            self.rejected.push((row.record, conflict));
        }
    }
}
