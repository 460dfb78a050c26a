//! The fast path: a batch with nothing unusual lands with one statement, in one round trip.
//!
//! The statement advances the watermarks if they are exactly where the batch begins, and writes the rows only if it has
//! advanced the watermarks. It decides nothing else. In each of these cases, it changes nothing, and the transaction of
//! `land` takes over:
//!
//! - a watermark is elsewhere or of another incarnation
//! - a watermark still has the counts of an earlier minute, which must be moved to `activity` first
//! - the server has restarted
//! - the statement fails because of a row, because of something that an operator must repair, or because deferred
//!   checks are pending (see `needs_checks`)

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use shared::contract::Contract;
use shared::ledger::activity::Activity;
use shared::ledger::records::LogPosition;
use shared::ledger::watermarks::{self, Step};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::{CheckedBatch, Partition, Tally};
use crate::candidate::Candidate;
use crate::resume::Vouched;
use crate::trust::{Seen, Trust};
use crate::verdict::Verdict;
use crate::write::{Conditional, WriteError};

/// If the statement fails, but not because of the environment, this many of the stream's next batches skip the fast
/// path. Their rows probably have the same fault, such as an id that already exists, and a failed statement is wasted
/// work.
const PAUSE: u32 = 20;

/// The streams that skip the fast path for now, each with the number of batches that will still skip it.
#[derive(Debug, Default)]
pub(crate) struct Pauses(Mutex<HashMap<String, u32>>);

impl Pauses {
    fn begin(&self, stream: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(stream.to_owned(), PAUSE);
    }

    /// Returns whether a stream's next batch skips the fast path, and counts that batch.
    fn includes(&self, stream: &str) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = left.get_mut(stream).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }
}

/// A batch with nothing unusual, as far as this process can tell.
struct Plain<'c> {
    contract: &'c Contract,
    records: Vec<Candidate<'c>>,
    steps: Vec<Step<'c>>,
    server_started_us: i64,
}

/// Lands a batch with nothing unusual. If the batch needs the transaction, writes nothing and returns `None`.
///
/// # Errors
/// An environment fault.
pub(super) async fn land(
    connection: &mut PgConnection,
    trust: &Trust,
    pauses: &Pauses,
    checked: &CheckedBatch<'_>,
) -> Result<Option<Tally>, WriteError> {
    let Some(plain) = plain(trust, checked).filter(|plain| !pauses.includes(&plain.contract.stream)) else {
        return Ok(None);
    };
    let Some(insert) = Conditional::new(plain.contract, &plain.records, "exists (select from advanced)") else {
        return Ok(None);
    };
    match execute(connection, &plain, &insert).await {
        Ok(true) => {
            plain.note(trust);
            Ok(Some(plain.tally()))
        }
        Ok(false) => Ok(None),
        Err(error) => match WriteError::from(error) {
            // An outage ends the attempt. SQLSTATE 55006 is different, although its verdict is `Retry`, too: a trigger
            // tried to truncate or alter a table, and PostgreSQL refuses that while deferred checks of the table's rows
            // are pending (see `needs_checks`). The transaction can land such a batch, because it can run the deferred
            // checks before COMMIT.
            error if error.verdict() == Verdict::Retry && !error.needs_checks() => Err(error),
            _of_a_row_or_an_operator => {
                pauses.begin(&plain.contract.stream);
                Ok(None)
            }
        },
    }
}

/// Returns the batch if nothing about it is unusual: all records belong to one stream, are valid and carry no ids. In
/// each partition, the records follow each other without a hole, and do not begin below the watermark that this process
/// last saw. The statement itself decides whether they begin exactly at the watermark.
fn plain<'c>(trust: &Trust, checked: &'c CheckedBatch<'_>) -> Option<Plain<'c>> {
    let contract = &*checked.partitions.first()?.contract;
    let mut records = Vec::with_capacity(checked.batch.records.len());
    let mut steps = Vec::with_capacity(checked.partitions.len());
    let mut server_started_us = None;
    for partition in &checked.partitions {
        let seen = trust.last_seen(partition.topic, partition.partition)?;
        if partition.contract.stream != contract.stream
            || *server_started_us.get_or_insert(seen.server_started_us) != seen.server_started_us
        {
            return None;
        }
        steps.push(step(partition, seen)?);
        for (record, event) in partition.records.iter().zip(&partition.events) {
            let Some(Ok(event)) = event else { return None };
            if event.id.is_some() {
                return None;
            }
            let record = checked.batch.kept(record, seen.incarnation)?;
            records.push(Candidate::new(record, event, &checked.rows));
        }
    }
    Some(Plain { contract, records, steps, server_started_us: server_started_us? })
}

/// Returns a partition's step, if the partition's records are as `plain` requires: without a hole, and not below the
/// watermark that was last seen.
fn step<'c>(partition: &'c Partition<'_>, seen: Seen) -> Option<Step<'c>> {
    let (first, last) = (partition.traces.first()?, partition.traces.last()?);
    let is_whole = i64::try_from(partition.traces.len()).is_ok_and(|count| last.offset - first.offset + 1 == count);
    let times = || partition.traces.iter().map(|trace| trace.timestamp_ms);
    let step = Step {
        topic: partition.topic,
        partition: partition.partition,
        incarnation: seen.incarnation,
        first_offset: first.offset,
        last_offset: last.offset,
        last_hash: last.hash,
        newest_ms: times().max()?,
        oldest_ms: times().min()?,
    };
    (is_whole && first.offset >= seen.next_offset && partition.vouched == Vouched::No).then_some(step)
}

/// Executes the statement. Returns whether it has advanced the watermarks and written the rows.
async fn execute(
    connection: &mut PgConnection,
    plain: &Plain<'_>,
    insert: &Conditional<'_>,
) -> Result<bool, sqlx::Error> {
    // If a row was not written, this expression divides by zero. The statement then fails, so it changes nothing.
    const ALL: &str = "1 / case (select count(*) from written)
        when (select sum(last_offset + 1 - first_offset) from step) then 1 else 0 end";
    let advance = watermarks::advance_steps(insert.parameters() + 1);
    let (sql, written) = (&insert.sql, if insert.returns_rows { ALL } else { "1" });
    let statement = format!(
        "{advance}, written as ({sql}) select case when exists (select from advanced) then {written} else 0 end"
    );
    let query = watermarks::bind_steps(insert.bind(&statement), &plain.steps, plain.server_started_us);
    let advanced: i32 = query.try_map(|row: PgRow| row.try_get(0)).fetch_one(connection).await?;
    Ok(advanced == 1)
}

impl Plain<'_> {
    /// Remembers how far the partitions have advanced.
    fn note(&self, trust: &Trust) {
        for step in &self.steps {
            let Step { topic, partition, incarnation, last_offset, .. } = *step;
            let (server_started_us, next_offset) = (self.server_started_us, last_offset + 1);
            trust.note_advance(topic, partition, Seen { server_started_us, incarnation, next_offset });
        }
    }

    fn tally(&self) -> Tally {
        let stream = &self.contract.stream;
        let (mut landed, mut activity) = (Tally::default(), Activity::default());
        for step in &self.steps {
            let Step { topic, partition, incarnation, first_offset, last_offset, oldest_ms, .. } = *step;
            let position = LogPosition { topic, partition, incarnation, offset: last_offset };
            activity.counts(position).written += last_offset + 1 - first_offset;
            landed.note_time(stream, oldest_ms);
        }
        landed.count_records(stream, &activity);
        let summary = landed.for_stream(stream);
        summary.records += self.records.len();
        summary.fast_path += self.records.len();
        landed
    }
}
