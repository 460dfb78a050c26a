//! Asks Kafka two questions that a batch alone cannot answer. Is Kafka's log still the log whose records were applied?
//! Which records does the log have from the watermark to the batch, and in the batch's holes?

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::contract::Contract;
use shared::kafka::reader::{Chunk, Limits, ReadError};
use shared::ledger::activity::Activity;
use shared::ledger::gaps::Cause;
use shared::ledger::watermarks::{self, Restart, Watermark};
use sqlx::{Connection as _, PgConnection};

use crate::batch::Batch;
use crate::continuity::{self, Continuity};
use crate::error::failed;
use crate::land::{self, Ending, Hold, Partition, Reason, Tally};
use crate::resume::{Contradiction, Trace, Vouched};
use crate::{Consume, ConsumeError};

/// The limits of one read: records, and their bytes. The records of one read land together.
const CHUNK_RECORDS: usize = 10_000;
const CHUNK_BYTES: usize = 6 * 1024 * 1024;
/// The limits of one invocation: records, and their bytes. The next invocation continues where this one stopped.
const MAX_RECORDS: usize = 100_000;
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// The time limit of one read.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// An invocation's remaining limits.
#[derive(Debug)]
pub(crate) struct Budget {
    records: usize,
    bytes: usize,
    until: Instant,
}

impl Budget {
    /// Returns the limits of a whole invocation that may read until this time.
    pub(crate) fn until(until: Instant) -> Self {
        Self { records: MAX_RECORDS, bytes: MAX_BYTES, until }
    }

    /// Returns the time at which the invocation must stop.
    pub(crate) fn time(&self) -> Instant {
        self.until
    }

    /// Returns the limits of the next read, or `None` if one of the invocation's limits is used up.
    fn limits(&self) -> Option<Limits> {
        let left = self.until.saturating_duration_since(Instant::now());
        let is_spent = self.records == 0 || self.bytes == 0 || left.is_zero();
        (!is_spent).then(|| Limits {
            max_records: self.records.min(CHUNK_RECORDS),
            max_bytes: self.bytes.min(CHUNK_BYTES),
            max_time: left.min(READ_TIMEOUT),
        })
    }

    fn spend(&mut self, chunk: &Chunk) {
        let bytes: usize = chunk.records.iter().map(|record| record.size_bytes()).sum();
        self.records = self.records.saturating_sub(chunk.records.len());
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// How the reading of a range ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The whole range has landed.
    End,
    /// The batch itself contains all records that the log still has in the range.
    InBatch(Vouched),
    /// Another process has moved the watermark.
    Moved,
    /// The log ends before the end of the range.
    LogEnd,
}

/// Catches up with Kafka for one invocation, within its budget.
pub(crate) struct CatchUp<'c> {
    pub(crate) consume: &'c Consume,
    pub(crate) connection: &'c mut PgConnection,
    pub(crate) landed: &'c mut Tally,
    pub(crate) budget: Budget,
}

impl CatchUp<'_> {
    /// Asks Kafka the question that `hold` contains (see [`Reason`]). The partition cannot land before Kafka has
    /// answered. The caller then tries the batch again.
    pub(crate) async fn resolve(&mut self, partition: &mut Partition<'_>, hold: &Hold) -> Result<(), ConsumeError> {
        let watermark = &hold.watermark;
        let until = match hold.reason {
            Reason::Unverified => {
                let head = partition.traces.iter().find(|trace| trace.offset >= watermark.next_offset).copied();
                return self.verify_batch(partition, hold, None, head).await;
            }
            Reason::Contradicted(contradiction) => {
                let head = partition.traces.first().copied();
                return self.verify_batch(partition, hold, Some(contradiction), head).await;
            }
            Reason::Behind { until } => until,
        };
        let range = watermark.next_offset..until;
        let contract = Arc::clone(&partition.contract);
        match self.read(&contract, partition.partition, range, &partition.traces).await? {
            Reached::End | Reached::Moved => {}
            Reached::InBatch(vouched) => partition.vouched = vouched,
            Reached::LogEnd => {
                let place = (watermark.topic.as_str(), watermark.partition);
                let high = self.consume.reader.high_watermark(place.0, place.1).await;
                match high {
                    // The missing records belong to a transaction that is still open.
                    Ok(high) if high > watermark.next_offset => return Err(ConsumeError::CatchingUp),
                    Ok(_) | Err(ReadError::UnknownPartition { .. }) => deleted(partition),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Asks Kafka whether its log is the log whose records were applied. Kafka may have a new log instead, because the
    /// old log was deleted. The batch comes from the old log if the new log lacks the batch's record `head`.
    async fn verify_batch(
        &mut self,
        partition: &mut Partition<'_>,
        hold: &Hold,
        contradiction: Option<Contradiction>,
        head: Option<Trace>,
    ) -> Result<(), ConsumeError> {
        let reader = Arc::clone(&self.consume.reader);
        let watermark = &hold.watermark;
        let differs = contradiction == Some(Contradiction::Difference);
        let restart = match continuity::ask(&*reader, watermark).await? {
            Continuity::Same => None,
            Continuity::Unknown if differs => Some(continuity::restart(&*reader, watermark).await?),
            Continuity::Unknown => None,
            Continuity::Restarted(restart) => {
                let is_in_new_log = match head {
                    Some(head) => differs || continuity::has(&*reader, watermark, &head).await?,
                    None => true,
                };
                if !is_in_new_log {
                    deleted(partition);
                    return Ok(());
                }
                Some(restart)
            }
            Continuity::Deleted => {
                deleted(partition);
                return Ok(());
            }
        };
        match restart {
            Some(restart) => {
                let contract = Arc::clone(&partition.contract);
                self.restart(&contract, watermark, restart, hold.server_started_us).await
            }
            None => {
                partition.is_confirmed = true;
                self.consume.trust.note(watermark, hold.server_started_us);
                Ok(())
            }
        }
    }

    /// Starts a new incarnation of a partition, unless another process has moved the partition's watermark.
    pub(crate) async fn restart(
        &mut self,
        contract: &Contract,
        seen: &Watermark,
        restart: Restart,
        server_started_us: i64,
    ) -> Result<(), ConsumeError> {
        let destination = self.consume.destination();
        let restarting = async {
            let mut transaction = self.connection.begin().await?;
            let place = [(seen.topic.clone(), seen.partition)];
            let mut locked = watermarks::lock(&mut transaction, destination, &place).await?.watermarks;
            let Some(watermark) = locked.first_mut().filter(|watermark| *watermark == seen) else {
                transaction.rollback().await?;
                return Ok(None);
            };
            watermark.restart(restart);
            watermarks::advance(&mut transaction, destination, &locked, &place, Activity::default()).await?;
            transaction.commit().await?;
            Ok(locked.pop())
        };
        let restarted = restarting.await.map_err(|error: sqlx::Error| failed(error.into()))?;
        if let Some(watermark) = restarted {
            self.consume.trust.note(&watermark, server_started_us);
            self.landed.for_stream(&contract.stream).incarnations += 1;
            tracing::warn!(
                topic = watermark.topic,
                partition = watermark.partition,
                incarnation = watermark.incarnation(),
                start = restart.start,
                "offsets have restarted: the topic was recreated or its log truncated"
            );
        }
        Ok(())
    }

    /// Reads a range of a partition's log and lands it. `known` lists the batch's own records of this partition. If the
    /// range contains only these records, nothing is landed here, because they can land with the batch.
    pub(crate) async fn read(
        &mut self,
        contract: &Arc<Contract>,
        partition: i32,
        range: Range<i64>,
        known: &[Trace],
    ) -> Result<Reached, ConsumeError> {
        let reader = Arc::clone(&self.consume.reader);
        let mut next = range.start;
        while next < range.end {
            let limits = self.budget.limits().ok_or(ConsumeError::CatchingUp)?;
            let chunk = match reader.read(&contract.topic, partition, next, range.end, limits).await {
                Ok(chunk) => chunk,
                Err(ReadError::UnknownPartition { .. }) => return Ok(Reached::LogEnd),
                Err(error) => return Err(error.into()),
            };
            if chunk.until <= next {
                return Ok(Reached::LogEnd);
            }
            self.budget.spend(&chunk);
            let holes = self.cause_of_holes(&contract.topic, &chunk).await?;
            let (until, log_start) = (chunk.until, chunk.from);
            let vouched = Vouched::ByKafka { from: next, until, log_start, holes };
            let is_known = |record| known.contains(&continuity::trace(record));
            if !known.is_empty() && next == range.start && until >= range.end && chunk.records.iter().all(is_known) {
                return Ok(Reached::InBatch(vouched));
            }
            let batch = Batch::from_log(&contract.topic, partition, chunk.records);
            let mut checked = land::check_log(contract, self.consume.destination(), &batch, partition, vouched);
            self.consume.reject_overtaken(&mut checked).await;
            match self.consume.land_once(self.connection, &checked).await? {
                Ending::Landed(landed) => self.landed.add(landed),
                Ending::Held(_) => return Ok(Reached::Moved),
            }
            next = until;
        }
        Ok(Reached::End)
    }

    /// Returns why offsets are missing between the records of a chunk. If none are missing, the result does not matter.
    async fn cause_of_holes(&self, topic: &str, chunk: &Chunk) -> Result<Cause, ConsumeError> {
        let is_whole = i64::try_from(chunk.records.len()).is_ok_and(|count| count == chunk.until - chunk.from);
        if is_whole {
            return Ok(Cause::Transaction);
        }
        // Kafka may forbid reading a topic's configuration even if it allows reading the topic's records.
        let Some(is_compacted) = self.consume.policies.is_compacted(&*self.consume.reader, topic).await? else {
            return Ok(Cause::Unknown);
        };
        Ok(if is_compacted { Cause::Compaction } else { Cause::Transaction })
    }
}

/// Marks a partition as deleted, because its log was deleted before the batch landed. The batch's records land as if
/// they followed the applied ones, and the records that are missing in between count as lost.
fn deleted(partition: &mut Partition<'_>) {
    tracing::warn!(
        topic = partition.topic,
        partition = partition.partition,
        "Kafka's log no longer has a batch's records: they land under the offsets that they were delivered with"
    );
    partition.vouched = Vouched::Deleted;
    partition.is_confirmed = true;
}
