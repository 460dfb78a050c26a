//! Decides whether Kafka's log is still the log whose records were applied. To find out, `consume` asks Kafka for the
//! last applied record.

use std::time::Duration;

use shared::kafka::reader::{Limits, LogRecord, ReadError, Reader};
use shared::ledger::watermarks::{Applied, Restart, Watermark};

use crate::batch;
use crate::resume::Trace;

/// What Kafka shows about a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// The last applied record is still in its place.
    Same,
    /// Nothing shows that the log has changed: nothing was applied yet, retention or compaction may have removed the
    /// last applied record, or an open transaction hides what is at its offset.
    Unknown,
    /// Kafka has another record, or none, at the offset of the last applied record. [`Restart`] says where the new
    /// records begin.
    Restarted(Restart),
    /// The topic or partition no longer exists.
    Deleted,
}

const ONE: Limits = Limits { max_records: 1, max_bytes: 1, max_time: Duration::from_secs(5) };

/// Asks Kafka whether a partition's log is still the log whose records were applied.
pub(crate) async fn ask(reader: &dyn Reader, watermark: &Watermark) -> Result<Continuity, ReadError> {
    match ask_for_last(reader, watermark).await {
        Ok(Last::There) => Ok(Continuity::Same),
        Ok(Last::Unknown) => Ok(Continuity::Unknown),
        Ok(Last::Gone) => Ok(Continuity::Restarted(restart(reader, watermark).await?)),
        Err(ReadError::UnknownPartition { .. }) => Ok(Continuity::Deleted),
        Err(error) => Err(error),
    }
}

/// What the log has at the offset of the last applied record.
enum Last {
    /// The last applied record.
    There,
    /// Another record, or none. The log has changed.
    Gone,
    /// It is not known whether the log has changed: nothing has been applied yet, retention or compaction may have
    /// removed the record, or an open transaction hides what is at this offset.
    Unknown,
}

async fn ask_for_last(reader: &dyn Reader, watermark: &Watermark) -> Result<Last, ReadError> {
    let (topic, partition) = (&watermark.topic, watermark.partition);
    let bounds = reader.bounds(topic, partition).await?;
    // If a transaction is open, `bounds.end` is where the transaction begins, but the log ends at the high watermark.
    if bounds.end < watermark.next_offset && reader.high_watermark(topic, partition).await? < watermark.next_offset {
        return Ok(Last::Gone);
    }
    let Some(applied) = watermark.applied else { return Ok(Last::Unknown) };
    if !(bounds.start..bounds.end).contains(&applied.last_offset) {
        return Ok(Last::Unknown);
    }
    Ok(match record_at(reader, watermark, applied.last_offset).await? {
        Some(record) if trace(&record).hash == applied.last_hash => Last::There,
        Some(_) => Last::Gone,
        None => ask_without_last(reader, watermark, applied).await?,
    })
}

/// Decides whether the log has changed, given that it has no record at the last applied offset. Only compaction removes
/// a record from the middle of a log. So if the topic is not compacted, the log has changed. If the topic is compacted,
/// the first applied record may give the answer.
async fn ask_without_last(reader: &dyn Reader, watermark: &Watermark, applied: Applied) -> Result<Last, ReadError> {
    let is_compacted = match reader.is_compacted(&watermark.topic).await {
        Ok(is_compacted) => is_compacted,
        // Kafka may forbid reading a topic's configuration. The topic is then assumed to be compacted.
        Err(ReadError::Forbidden(_)) => true,
        Err(error) => return Err(error),
    };
    if !is_compacted {
        return Ok(Last::Gone);
    }
    let first = record_at(reader, watermark, applied.first_offset).await?;
    let is_different = first.is_some_and(|record| trace(&record).hash != applied.first_hash);
    Ok(if is_different { Last::Gone } else { Last::Unknown })
}

/// Returns where the new records begin in a log that has changed. A truncated log still has the first applied record,
/// and its new records are those that are newer than every applied record. In a recreated topic, all records are new.
pub(crate) async fn restart(reader: &dyn Reader, watermark: &Watermark) -> Result<Restart, ReadError> {
    const RECREATED: Restart = Restart { start: 0, keeps_first: false };
    let Some(applied) = watermark.applied else { return Ok(RECREATED) };
    let (topic, partition) = (&watermark.topic, watermark.partition);
    let bounds = reader.bounds(topic, partition).await?;
    // If the current incarnation begins above offset 0, the log may have been truncated to an offset below that
    // beginning. The log then still has records of an earlier incarnation. These must not land twice, and only their
    // timestamps distinguish them from new records.
    let begins_at_0 = watermark.starts.last().is_none_or(|start| *start == 0);
    if begins_at_0 && bounds.end <= applied.first_offset {
        return Ok(RECREATED);
    }
    let mut keeps_first = false;
    if applied.first_offset >= bounds.start
        && let Some(record) = record_at(reader, watermark, applied.first_offset).await?
    {
        keeps_first = trace(&record).hash == applied.first_hash;
        if begins_at_0 && !keeps_first {
            return Ok(RECREATED);
        }
    }
    let newer = reader.offset_at_time(topic, partition, applied.max_timestamp_ms + 1).await?;
    Ok(Restart { start: newer.unwrap_or(bounds.end).min(bounds.end).min(watermark.next_offset), keeps_first })
}

/// Returns whether a record is in the log that Kafka has now.
pub(crate) async fn has(reader: &dyn Reader, watermark: &Watermark, expected: &Trace) -> Result<bool, ReadError> {
    let found = match record_at(reader, watermark, expected.offset).await {
        Ok(found) => found,
        Err(ReadError::UnknownPartition { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(found.is_some_and(|record| trace(&record).hash == expected.hash))
}

async fn record_at(reader: &dyn Reader, watermark: &Watermark, offset: i64) -> Result<Option<LogRecord>, ReadError> {
    let chunk = reader.read(&watermark.topic, watermark.partition, offset, offset + 1, ONE).await?;
    Ok(chunk.records.into_iter().next())
}

/// Returns the trace of a record read from a log.
pub(crate) fn trace(record: &LogRecord) -> Trace {
    let hash = batch::hash(record.timestamp_ms, record.key.as_deref(), record.value.as_deref());
    Trace { offset: record.offset, timestamp_ms: record.timestamp_ms, hash }
}
